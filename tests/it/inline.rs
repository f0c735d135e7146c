//! Commands typed by hand, as in `nc` or telnet.

use crate::support::{
    Proxy, Value, array, bulk, error, int, ok, original_differs, shared_cluster, simple,
};

fn proxy() -> Proxy {
    Proxy::for_cluster(shared_cluster())
}

/// Sends each line through the proxy and to a server itself: both must say `want`.
#[track_caller]
fn check(exchanges: &[(&str, Value)]) {
    let proxy = proxy();
    let mut client = proxy.client();
    for (line, want) in exchanges {
        client.send(line);
        assert_eq!(&client.reply(), want, "{line:?}");
    }
}

#[test]
fn the_commands_that_predixy_knows_inline() {
    check(&[
        ("PING\r\n", simple("PONG")),
        ("ping\n", simple("PONG")),
        ("  ECHO \t hello  \r\n", bulk("hello")),
        ("echo 'two words'\r\n", bulk("two words")),
        ("echo \"two\\nlines\"\r\n", bulk("two\nlines")),
        ("select 0\r\n", ok()),
    ]);
}

#[test]
fn d34_every_command_works_inline() {
    if original_differs("D-34: five commands only, and little quoting") {
        return;
    }
    check(&[
        ("SET inline:a \"a b\"\r\n", ok()),
        ("GET inline:a\r\n", bulk("a b")),
        ("set inline:a 'it\\'s'\n", ok()),
        ("get inline:a\n", bulk("it's")),
        ("SET inline:a \"\\x00\\xff\\r\\n\\t\\b\\a\\\"\\\\\"\r\n", ok()),
        ("GET inline:a\r\n", bulk(b"\x00\xff\r\n\t\x08\x07\"\\")),
        ("SET inline:a ''\r\n", ok()),
        ("GET \"inline:a\"\r\n", bulk("")),
        ("echo \"x\"\r\n", bulk("x")),
        ("MSET inline:a 1 inline:b 2\r\n", ok()),
        ("MGET inline:b   inline:a\r\n", array([bulk("2"), bulk("1")])),
        ("DEL inline:a inline:b\r\n", int(2)),
        ("GET\r\n", error("ERR wrong number of arguments for 'get' command")),
        ("ECHO a b\r\n", error("ERR wrong number of arguments for 'echo' command")),
    ]);
}

#[test]
fn empty_lines_say_nothing() {
    check(&[("\r\n\n  \r\nPING\r\n", simple("PONG"))]);
}

#[test]
fn d33_an_empty_line_before_an_array_does_no_harm() {
    if original_differs("D-33: stays in inline mode") {
        return;
    }
    check(&[
        ("\r\n*2\r\n$3\r\nGET\r\n$11\r\ninline:none\r\n", Value::Nil),
        ("PING\r\n", simple("PONG")),
        ("*2\r\n$3\r\nGET\r\n$11\r\ninline:none\r\n", Value::Nil),
    ]);
}

#[test]
fn inline_and_arrays_mix_in_one_packet() {
    check(&[("*1\r\n$4\r\nPING\r\n", simple("PONG"))]);
    let proxy = proxy();
    let mut client = proxy.client();
    client.send("PING\r\n*2\r\n$4\r\nECHO\r\n$1\r\na\r\nECHO b\r\n*1\r\n$4\r\nPING\r\n");
    let want = [simple("PONG"), bulk("a"), bulk("b"), simple("PONG")];
    assert_eq!([client.reply(), client.reply(), client.reply(), client.reply()], want);
}

#[test]
fn d34_a_quote_that_does_not_end_is_told_before_the_end() {
    if original_differs("D-32: closes without a word") {
        return;
    }
    for line in ["ECHO \"open\r\n", "ECHO 'open\r\n", "ECHO \"a\"b\r\n", "ECHO 'a'b\r\n"] {
        let proxy = proxy();
        let mut client = proxy.client();
        client.send(line);
        assert_eq!(
            client.reply(),
            error("ERR Protocol error: unbalanced quotes in request"),
            "{line:?}"
        );
        client.expect_closed();
    }
}

#[test]
fn a_line_without_end_is_told_before_the_end() {
    if original_differs("D-48: has no limit") {
        return;
    }
    let proxy = proxy();
    let mut client = proxy.client();
    let _ = client.try_send("x".repeat(70_000).as_bytes());
    assert_eq!(client.reply(), error("ERR Protocol error: too big inline request"));
    client.expect_closed();
}
