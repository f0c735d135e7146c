//! `predixy --top ADDR`: what a running proxy shows at `/top`, for a terminal.
//!
//! It asks over HTTP and checks what comes, so that nobody who answers instead of a proxy can
//! do more to the terminal than colour it. It prints nothing itself.

use super::ask::ask;
use crate::base::address::Address;

/// Of the answer nothing else is waited for after this time.
const PATIENCE_US: u64 = 3_000_000;

/// The status as it looks on a terminal of this size; without one it is plain and whole.
///
/// # Errors
///
/// Says why there is none, and what would have helped.
pub fn look(address: &Address, size: Option<(u16, u16)>) -> Result<String, String> {
    let query = match size {
        Some((columns, rows)) => {
            format!("?width={columns}&height={}&color=1", rows.saturating_sub(1))
        }
        None => "?width=160".to_owned(),
    };
    let question = format!("GET /top{query} HTTP/1.1\r\nHost: predixy\r\n\r\n");
    let answer = ask(address, question.as_bytes(), PATIENCE_US, is_no_http)
        .map_err(|error| format!("{address} does not answer: {error}"))?;
    let wrong = || {
        format!(
            "{address} answers, but not as a proxy: give the address of MetricsBind, not of Bind"
        )
    };
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(wrong)?;
    let mut words = head.split(' ');
    match (words.next(), words.next()) {
        (Some(version), Some("200")) if version.starts_with("HTTP/1.") => Ok(clean(body)),
        _ => Err(wrong()),
    }
}

/// Whoever does not speak HTTP, such as Redis, need not be listened to any longer.
fn is_no_http(answer: &[u8]) -> bool {
    let length = answer.len().min(5);
    answer[..length] != b"HTTP/"[..length]
}

/// Leaves of all control sequences only colours.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|character: char| character.is_control()) {
        clean.push_str(&rest[..at]);
        rest = &rest[at..];
        let colour = colour_at(rest);
        if let Some(length) = colour {
            clean.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        let mut characters = rest.chars();
        if characters.next() == Some('\n') {
            clean.push('\n');
        }
        rest = characters.as_str();
    }
    clean + rest
}

/// The length of the sequence for a colour that `text` begins with.
fn colour_at(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("\x1b[")?;
    let end = inner.find(|character: char| !character.is_ascii_digit() && character != ';')?;
    inner[end..].starts_with('m').then_some("\x1b[".len() + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_and_line_ends_reach_the_terminal() {
        let text = "a\x1b[1;31mb\x1b[0m\nc\x1b[2J\x1b]0;title\x07d\r\t\u{9b}31me\x1b";
        assert_eq!(clean(text), "a\x1b[1;31mb\x1b[0m\nc[2J]0;titled31me");
    }

    #[test]
    fn who_speaks_something_else_is_recognised_at_once() {
        for answer in ["-", "-ERR", "HTTQ", "+OK\r\n"] {
            assert!(is_no_http(answer.as_bytes()), "{answer}");
        }
        for answer in ["", "H", "HTTP/", "HTTP/1.1 200"] {
            assert!(!is_no_http(answer.as_bytes()), "{answer}");
        }
    }
}
