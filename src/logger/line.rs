//! One event as one line of text.
//!
//! The thread that logs only forms the message, in which nothing can break the line; the thread
//! that writes puts date, level and place before it, so that the calendar is asked once a second.

use std::fmt::{self, Write as _};

use super::{Format, Level};
use crate::sys::clock::LocalTime;

/// The longest line, without its end.
pub const LINE_MAX: usize = 1023;

/// When, how grave and where: what stands before the message.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Microseconds since the epoch.
    pub wall_us: u64,
    /// How grave.
    pub level: Level,
    /// The source file, as the compiler names it.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
}

/// Bytes of a client or a server, to be shown in a message: printable ASCII as it is, the rest
/// as `\xNN`.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'\\' => out.write_str("\\\\")?,
                b'\n' => out.write_str("\\n")?,
                b'\r' => out.write_str("\\r")?,
                b' '..=b'~' => out.write_char(char::from(byte))?,
                _ => write!(out, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

/// Forms `message` at the end of `text`: what would break or disguise a line is escaped, and
/// what no line could hold is cut off.
pub fn compose(text: &mut String, message: fmt::Arguments<'_>) {
    let end = text.len() + LINE_MAX;
    // The error says that the rest would be cut off; there is nobody to be told.
    let _ = Composer { text, end }.write_fmt(message);
}

struct Composer<'a> {
    text: &'a mut String,
    end: usize,
}

impl fmt::Write for Composer<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.end - self.text.len();
        if piece.len() <= room && piece.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.text.push_str(piece);
            return Ok(());
        }
        for character in piece.chars() {
            match character {
                '\n' => self.put("\\n")?,
                '\r' => self.put("\\r")?,
                '\t' => self.put("\\t")?,
                // Line and paragraph separator end a line for some readers.
                '\u{2028}' | '\u{2029}' => self.put(&character.escape_unicode().to_string())?,
                _ if character.is_control() => {
                    self.put(&format!("\\x{:02x}", u32::from(character)))?
                }
                _ => self.put(character.encode_utf8(&mut [0; 4]))?,
            }
        }
        Ok(())
    }
}

impl Composer<'_> {
    /// All of `piece` or nothing.
    fn put(&mut self, piece: &str) -> fmt::Result {
        if self.text.len() + piece.len() > self.end {
            return Err(fmt::Error);
        }
        self.text.push_str(piece);
        Ok(())
    }
}

/// Makes lines of messages; keeps the date of the last one, as most have the same.
#[derive(Debug)]
pub struct Renderer {
    local_time: fn(i64) -> LocalTime,
    second: Option<i64>,
    date: String,
}

impl Renderer {
    /// A renderer that asks `local_time` for the date.
    pub fn new(local_time: fn(i64) -> LocalTime) -> Renderer {
        Renderer { local_time, second: None, date: String::new() }
    }

    /// Makes `line` the whole line for `message`, with its end, and tells the second in which it
    /// was logged.
    pub fn render(&mut self, line: &mut String, format: Format, head: &Head, message: &str) -> i64 {
        let second = i64::try_from(head.wall_us / 1_000_000).unwrap_or(i64::MAX);
        if self.second.replace(second) != Some(second) {
            let LocalTime { year, month, day, hour, minute, second } = (self.local_time)(second);
            self.date.clear();
            // Here and below: a String takes whatever is written to it.
            let _ = write!(
                self.date,
                "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
            );
        }
        line.clear();
        match format {
            Format::Text => self.render_text(line, head, message),
            Format::Json => self.render_json(line, head, message),
        }
        line.push('\n');
        second
    }

    fn render_text(&self, line: &mut String, head: &Head, message: &str) {
        let (date, micros, level) = (&self.date, head.wall_us % 1_000_000, head.level.letter());
        let _ =
            write!(line, "{date}.{micros:06} {level} {}:{} {message}", head.file_name(), head.line);
        let mut end = LINE_MAX.min(line.len());
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
    }

    fn render_json(&self, line: &mut String, head: &Head, message: &str) {
        let (date, micros, level) = (&self.date, head.wall_us % 1_000_000, head.level.letter());
        let (file, number) = (head.file_name(), head.line);
        let _ = write!(
            line,
            r#"{{"time":"{date}.{micros:06}","level":"{level}","source":"{file}:{number}","message":""#
        );
        const END: &str = "\"}";
        for character in message.chars() {
            let escape = if matches!(character, '"' | '\\') { "\\" } else { "" };
            if line.len() + escape.len() + character.len_utf8() + END.len() > LINE_MAX {
                break;
            }
            line.push_str(escape);
            line.push(character);
        }
        line.push_str(END);
    }
}

impl Head {
    fn file_name(&self) -> &'static str {
        self.file.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logger::testing::utc;

    /// 2026-11-22 10:16:44.532853
    const HEAD: Head = Head {
        wall_us: 1_795_342_604_532_853,
        level: Level::Notice,
        file: "src/proxy/proxy.rs",
        line: 112,
    };

    #[track_caller]
    fn check(format: Format, message: &str, want: &str) {
        let mut line = String::from("what was before");
        assert_eq!(Renderer::new(utc).render(&mut line, format, &HEAD, message), 1_795_342_604);
        assert_eq!(line, want);
    }

    fn composed(message: fmt::Arguments<'_>) -> String {
        let mut text = String::new();
        compose(&mut text, message);
        text
    }

    #[test]
    fn a_line_is_predixys() {
        let want = "2026-11-22 10:16:44.532853 N proxy.rs:112 predixy listen in 127.0.0.1:7617\n";
        check(Format::Text, "predixy listen in 127.0.0.1:7617", want);
    }

    #[test]
    fn a_line_can_be_json() {
        let want = concat!(
            r#"{"time":"2026-11-22 10:16:44.532853","level":"N","source":"proxy.rs:112","#,
            r#""message":"key \"a\\x00\""}"#,
            "\n"
        );
        check(Format::Json, r#"key "a\x00""#, want);
    }

    #[test]
    fn the_date_follows_the_clock() {
        let (mut renderer, mut line) = (Renderer::new(utc), String::new());
        renderer.render(&mut line, Format::Text, &HEAD, "");
        let later = Head { wall_us: HEAD.wall_us + 500_000, ..HEAD };
        renderer.render(&mut line, Format::Text, &later, "");
        assert_eq!(line, "2026-11-22 10:16:45.032853 N proxy.rs:112 \n");
        renderer.render(&mut line, Format::Json, &later, "");
        assert!(line.starts_with(r#"{"time":"2026-11-22 10:16:45.032853","#), "{line}");
    }

    #[test]
    fn a_line_is_never_longer_than_1023_bytes_and_its_end() {
        for (format, last) in [(Format::Text, "\u{20ac}\n"), (Format::Json, "\u{20ac}\"}\n")] {
            for lead in ["", "x", "xx", "xxx"] {
                let (mut line, message) =
                    (String::new(), format!("{lead}{}", "\u{20ac}".repeat(1000)));
                Renderer::new(utc).render(&mut line, format, &HEAD, &message);
                assert!((1021..=1024).contains(&line.len()), "{}", line.len());
                assert!(line.ends_with(last), "{line}");
            }
        }
    }

    #[test]
    fn a_cut_json_line_does_not_end_in_half_an_escape() {
        for lead in ["", "x"] {
            let mut line = String::new();
            let message = format!("{lead}{}", "\"".repeat(2000));
            Renderer::new(utc).render(&mut line, Format::Json, &HEAD, &message);
            assert!((1023..=1024).contains(&line.len()), "{}", line.len());
            assert!(line.ends_with("\\\"\"}\n"), "{line}");
        }
    }

    #[test]
    fn nothing_in_a_message_breaks_its_line() {
        let nasty = "a\r\nb\tc\0d\x1b[31m\x7f\u{85}\u{2028}\u{20ac}";
        let want = r"a\r\nb\tc\x00d\x1b[31m\x7f\x85\u{2028}";
        assert_eq!(composed(format_args!("{nasty}")), format!("{want}\u{20ac}"));
    }

    #[test]
    fn a_message_is_cut_where_no_line_could_hold_it() {
        assert_eq!(composed(format_args!("{}{}", "x".repeat(1022), "yz")).len(), 1023);
        // An escape is not cut in half.
        assert_eq!(composed(format_args!("{}\n", "x".repeat(1022))), "x".repeat(1022));
    }

    #[test]
    fn bytes_are_shown_readably_and_unmistakably() {
        assert_eq!(
            composed(format_args!("{}", Shown(b"k\\x\r\n\x00\xff~ "))),
            r"k\\x\r\n\x00\xff~ "
        );
    }
}
