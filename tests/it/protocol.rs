//! What the request parser refuses, and in which words, beside what a real server says to the same bytes.
//!
//! This is about the parser, not the proxy: it shows that the words in it are Redis's own.

use std::io::{Read, Write};
use std::net::TcpStream;

use predixy::resp::request_parser::{Arguments, Limits, Parsed, RequestParser};

use crate::support::{RedisServer, SOON, servers_are_valkey};

/// Follows every sample, to learn whether the server still listens, and where it thinks the sample ends.
const PROBE: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// What `server` says to `wire`, once it is certain that it has said everything: it closed the connection,
/// or it answered the PING at the end.
fn ask(server: &RedisServer, wire: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // It may close while we are still speaking.
    let _ = stream.write_all(wire);
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"+PONG\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
        }
    }
    answer
}

/// What the parser makes of the same bytes: the error reply, or `+PONG` when it gets to the PING.
fn parse(wire: &[u8], limits: &Limits) -> Vec<u8> {
    let (mut parser, mut arguments, mut at) = (RequestParser::new(), Arguments::new(), 0);
    let mut answer = Vec::new();
    while at < wire.len() {
        match parser.feed(&wire[at..], limits, &mut arguments) {
            Ok(Parsed::Request { end }) => {
                let name = arguments.of(&wire[at..], 0).to_ascii_uppercase();
                answer.extend_from_slice(if name == b"PING" { b"+PONG\r\n" } else { b"?" });
                at += end;
            }
            Ok(Parsed::Inline { end }) => {
                let words = (1..arguments.count()).map(|i| arguments.of(arguments.rewritten(), i));
                for word in words {
                    answer.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                    answer.extend_from_slice(word);
                    answer.extend_from_slice(b"\r\n");
                }
                at += end;
            }
            Ok(Parsed::Nothing { end }) => at += end,
            Ok(Parsed::Incomplete) => break,
            Err(error) => {
                error.reply(&mut answer);
                break;
            }
        }
    }
    answer
}

#[track_caller]
fn check(server: &RedisServer, sample: &[u8], limits: &Limits) {
    check_alone(server, &[sample, PROBE].concat(), limits);
}

#[track_caller]
fn check_alone(server: &RedisServer, wire: &[u8], limits: &Limits) {
    let (theirs, ours) = (ask(server, wire), parse(wire, limits));
    let shown = wire[..wire.len().min(60)].escape_ascii();
    assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{shown}");
}

#[test]
fn malformed_requests_are_refused_in_the_words_of_a_real_server() {
    let server = RedisServer::start();
    for count in [
        "x",
        "",
        "01",
        "-0",
        "+1",
        "-",
        " 1",
        "1 ",
        "0",
        "-1",
        "-9223372036854775808",
        "-9223372036854775809",
        "2147483648",
        "99999999999999999999",
    ] {
        check(&server, format!("*{count}\r\n").as_bytes(), &Limits::default());
    }
    for length in ["x", "", "01", "-1", "+1", "1 ", "536870913", "9223372036854775808"] {
        check(&server, format!("*1\r\n${length}\r\n").as_bytes(), &Limits::default());
    }
    for head in [b"P".as_slice(), b"", b"\n", b"\xff", b"*1", b"4\r\nPING"] {
        check(&server, &[b"*1\r\n", head, b"\r\n"].concat(), &Limits::default());
    }
}

#[test]
fn endless_lines_are_refused_in_the_words_of_a_real_server() {
    let server = RedisServer::start();
    // With the last byte it is too long, and no byte is left that nobody reads: the server's close would
    // then throw away its own reply.
    let endless = |bytes: usize| "1".repeat(bytes);
    for sample in [
        format!("*{}", endless(1 << 16)),
        format!("*1\r\n${}", endless(1 << 16)),
        format!("*1\r\n{}", endless((1 << 16) + 1)),
        endless((1 << 16) + 1),
    ] {
        check_alone(&server, sample.as_bytes(), &Limits::default());
    }
}

#[test]
fn lines_of_words_are_read_as_a_real_server_reads_them() {
    let server = RedisServer::start();
    for words in [
        r#""a b""#,
        r#"'a b'"#,
        r#""\x41\xg\"\n\r\t\b\a\q""#,
        r#"'it\'s'"#,
        r#"'a\\''"#,
        r#"a"b c""#,
        r#""""#,
        "a\\nb",
        "\x0ba",
        r#""a"#,
        r#""a"b"#,
        "'a",
        r#"'a\'"#,
        r#""a\"#,
        r#""a\""#,
        r#"'a'"b""#,
    ] {
        // Valkey takes quotes in the middle of a word, and quotes that do not end, for something.
        let is_odd =
            words.starts_with("'a") || words.starts_with(r#""a"b"#) || words.ends_with(r#"\""#);
        if is_odd && servers_are_valkey() {
            continue;
        }
        for end in ["\r\n", "\n", " \r\n"] {
            check(&server, format!("ECHO {words}{end}").as_bytes(), &Limits::default());
        }
    }
    check(&server, b" \t\x0b\x0c\r\n\n\r\n", &Limits::default());
}

#[test]
fn strangers_are_refused_in_the_words_of_a_real_server() {
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let limits = Limits { unauthenticated: true, ..Limits::default() };
    check(&server, b"*11\r\n", &limits);
    check(&server, b"*1\r\n$16385\r\n", &limits);
}
