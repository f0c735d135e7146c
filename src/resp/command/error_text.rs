//! The errors that Redis itself gives for commands it cannot execute, word for word, because
//! client libraries match on them.
//!
//! A text is without the `-` in front and the line end behind. What a client wrote may appear
//! in it, but never a line end, so that no client can make up a reply.

use super::{Command, Family, Refusal, TransactionCommand};

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
///
/// EXEC has words of its own, because in a transaction it ends it nevertheless.
pub fn wrong_arity(command: &Command, text: &mut Vec<u8>) {
    let is_exec = command.family() == Family::Transaction(TransactionCommand::Exec);
    let before: &[u8] =
        if is_exec { b"EXECABORT Transaction discarded because of: " } else { b"ERR " };
    text.extend_from_slice(before);
    text.extend_from_slice(b"wrong number of arguments for '");
    text.extend_from_slice(command.name().as_bytes());
    text.extend_from_slice(b"' command");
}

/// Appends why a command is refused.
pub fn refused(command: &Command, refusal: Refusal, text: &mut Vec<u8>) {
    let why: &[u8] = match refusal {
        Refusal::OneServer => {
            b"' is not available through the proxy: it concerns one server, \
              which has to be asked directly"
        }
        Refusal::OneConnection => {
            b"' is not available through the proxy: it concerns the connection to a server, \
              which clients share"
        }
        Refusal::ClusterChange => {
            b"' is not available through the proxy: the servers of a cluster have to be told \
              directly"
        }
        Refusal::OwnFile => {
            b"' is not available through the proxy: it does not write to its configuration, \
              which CONFIG RELOAD reads again"
        }
        Refusal::Tracking => b"' is not available: the proxy does not do client-side caching",
        Refusal::Disabled => b"' is disabled in the configuration of the proxy",
    };
    text.extend_from_slice(b"ERR command '");
    text.extend(command.name().bytes().map(|byte| if byte == b'|' { b' ' } else { byte }));
    text.extend_from_slice(why);
}

/// Appends why a command that concerns all keys at once is refused where several servers share
/// them.
pub fn undivided(command: &Command, text: &mut Vec<u8>) {
    text.extend_from_slice(b"ERR command '");
    text.extend(command.name().bytes().map(|byte| if byte == b'|' { b' ' } else { byte }));
    text.extend_from_slice(b"' is not available through the proxy: several servers share the keys");
}

/// How many bytes of what a client wrote Redis repeats.
const SHOWN_MAX: usize = 128;

/// Appends the beginning of what a client wrote as C prints it: until the first NUL.
pub fn push_shown(bytes: &[u8], max: usize, text: &mut Vec<u8>) {
    let printed = bytes.iter().take(max).take_while(|&&byte| byte != 0);
    text.extend(printed.map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
}

#[cfg(test)]
mod tests {
    use super::super::CommandTable;
    use super::*;

    #[track_caller]
    fn check_unknown(words: &[&[u8]], want: &[u8]) {
        let mut text = Vec::new();
        unknown_command(words.len(), |index| words[index], &mut text);
        assert_eq!(text.escape_ascii().to_string(), want.escape_ascii().to_string());
    }

    #[test]
    fn an_unknown_command_is_repeated() {
        check_unknown(&[b"foo"], b"ERR unknown command 'foo', with args beginning with: ");
        check_unknown(
            &[b"Foo", b"a", b"", b"b'c"],
            b"ERR unknown command 'Foo', with args beginning with: 'a' '' 'b'c' ",
        );
        check_unknown(&[], b"ERR unknown command '', with args beginning with: ");
    }

    #[test]
    fn no_more_than_128_bytes_of_it_are() {
        let long = [b'x'; 200];
        let mut want = b"ERR unknown command '".to_vec();
        want.extend_from_slice(&long[..128]);
        want.extend_from_slice(b"', with args beginning with: '");
        want.extend_from_slice(&long[..128]);
        want.extend_from_slice(b"' ");
        check_unknown(&[&long, &long, b"more"], &want);

        // What was shown counts with its quotes and blank.
        let mut want = b"ERR unknown command 'f', with args beginning with: '".to_vec();
        want.extend_from_slice(&long[..100]);
        want.extend_from_slice(b"' '");
        want.extend_from_slice(&long[..25]);
        want.extend_from_slice(b"' ");
        check_unknown(&[b"f", &long[..100], &long, &long], &want);
    }

    #[test]
    fn no_client_can_make_up_a_reply() {
        check_unknown(
            &[b"a\r\n+OK", b"\r\n:1"],
            b"ERR unknown command 'a  +OK', with args beginning with: '  :1' ",
        );
        check_unknown(
            &[b"a\0b", b"\0", b"c\0\n"],
            b"ERR unknown command 'a', with args beginning with: '' 'c' ",
        );
        let table = CommandTable::new();
        let mut text = Vec::new();
        unknown_subcommand(table.lookup(b"object").unwrap(), b"x\r\n+OK", &mut text);
        assert_eq!(text, b"ERR unknown subcommand 'x  +OK'. Try OBJECT HELP.");
    }

    #[test]
    fn a_refused_command_is_named() {
        let table = CommandTable::new();
        let text = |refusal| {
            let mut text = Vec::new();
            let client = table.lookup(b"client").unwrap();
            refused(table.subcommand(client, b"tracking").unwrap(), refusal, &mut text);
            String::from_utf8(text).unwrap()
        };
        for (refusal, why) in [
            (Refusal::OneServer, "which has to be asked directly"),
            (Refusal::OneConnection, "which clients share"),
            (Refusal::ClusterChange, "have to be told directly"),
        ] {
            let text = text(refusal);
            let begin = "ERR command 'client tracking' is not available through the proxy: ";
            assert!(text.starts_with(begin) && text.ends_with(why), "{text}");
        }
        assert!(text(Refusal::Tracking).contains("client-side caching"));
        assert!(text(Refusal::Disabled).contains("disabled"));
    }
}
