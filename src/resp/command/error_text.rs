//! The errors that Redis itself gives for commands it cannot execute, word for word, because
//! client libraries match on them.
//!
//! A text is without the `-` in front and the line end behind. What a client wrote may appear
//! in it, but never a line end, so that no client can make up a reply.

use super::{Command, Refusal};

/// Appends what Redis says to a command that does not exist, and shows how it began.
///
/// `argument(0)` is the command word, and `count` is the number of arguments with it.
pub fn unknown_command<'a>(count: usize, argument: impl Fn(usize) -> &'a [u8], text: &mut Vec<u8>) {
    text.extend_from_slice(b"ERR unknown command '");
    push_shown(if count > 0 { argument(0) } else { b"" }, SHOWN_MAX, text);
    text.extend_from_slice(b"', with args beginning with: ");
    let arguments = text.len();
    for index in 1..count {
        let shown = text.len() - arguments;
        if shown >= SHOWN_MAX {
            break;
        }
        text.push(b'\'');
        push_shown(argument(index), SHOWN_MAX - shown, text);
        text.extend_from_slice(b"' ");
    }
}

/// Appends what Redis says to a sub-command that does not exist.
pub fn unknown_subcommand(container: &Command, word: &[u8], text: &mut Vec<u8>) {
    text.extend_from_slice(b"ERR unknown subcommand '");
    push_shown(word, SHOWN_MAX, text);
    text.extend_from_slice(b"'. Try ");
    text.extend(container.name().bytes().map(|byte| byte.to_ascii_uppercase()));
    text.extend_from_slice(b" HELP.");
}

/// Appends what Redis says to too few or too many arguments.
pub fn wrong_arity(command: &Command, text: &mut Vec<u8>) {
    text.extend_from_slice(b"ERR wrong number of arguments for '");
    text.extend_from_slice(command.name().as_bytes());
    text.extend_from_slice(b"' command");
}

/// Appends why a command is refused.
pub fn refused(command: &Command, refusal: Refusal, text: &mut Vec<u8>) {
    let (before, after): (&[u8], &[u8]) = match refusal {
        Refusal::NotThroughProxy => (b"ERR command '", b"' is not available through the proxy"),
        Refusal::Tracking => {
            (b"ERR command '", b"' is not available: the proxy does not do client-side caching")
        }
        Refusal::Disabled => (b"ERR command '", b"' is disabled in the configuration of the proxy"),
    };
    text.extend_from_slice(before);
    text.extend(command.name().bytes().map(|byte| if byte == b'|' { b' ' } else { byte }));
    text.extend_from_slice(after);
}

/// How many bytes of what a client wrote Redis repeats.
const SHOWN_MAX: usize = 128;

/// Appends the beginning of what a client wrote as C prints it: until the first NUL.
fn push_shown(bytes: &[u8], max: usize, text: &mut Vec<u8>) {
    let printed = bytes.iter().take(max).take_while(|&&byte| byte != 0);
    text.extend(printed.map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
}
