//! What belongs to the connection and not to a server: PING, ECHO, SELECT, QUIT, CLIENT, and
//! COMMAND, which clients ask before anything else.

use crate::support::{
    Proxy, RedisServer, SOON, Value, array, bulk, error, int, ok, original_differs, shared_cluster,
    simple, wait_until,
};

fn proxy() -> Proxy {
    Proxy::for_cluster(shared_cluster())
}

#[test]
fn ping_and_echo() {
    let proxy = proxy();
    let mut client = proxy.client();
    assert_eq!(client.line("PING"), simple("PONG"));
    assert_eq!(client.line("ping hello"), bulk("hello"));
    assert_eq!(client.line("ECHO hello"), bulk("hello"));
}

#[test]
fn d12_echo_is_not_cut() {
    if original_differs("D-12: cuts it to 512 bytes") {
        return;
    }
    let proxy = proxy();
    let mut client = proxy.client();
    let long = "x".repeat(100_000);
    assert_eq!(client.cmd(&["ECHO", &long]), bulk(&long));
    assert_eq!(client.cmd(&["PING", &long]), bulk(&long));
}

#[test]
fn ping_and_echo_of_nothing() {
    if original_differs("answers PONG to ECHO of an empty string") {
        return;
    }
    let proxy = proxy();
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["ECHO", ""]), bulk(""));
    assert_eq!(client.cmd(&["PING", ""]), bulk(""));
}

#[test]
fn select_knows_the_one_database_of_a_cluster() {
    let proxy = proxy();
    let mut client = proxy.client();
    assert_eq!(client.line("SELECT 0"), ok());
    for wrong in ["1", "16", "-1", "x", "99999999999999999999"] {
        let reply = client.cmd(&["SELECT", wrong]);
        assert!(
            reply.error_text().is_some_and(|text| text.starts_with("ERR ")),
            "{wrong}: {reply:?}"
        );
    }
    assert_eq!(client.line("SET select:a 1"), ok());
}

#[test]
fn d69_select_of_nothing_is_not_database_0() {
    if original_differs("D-69: takes it for 0") {
        return;
    }
    let proxy = proxy();
    assert!(proxy.client().cmd(&["SELECT", ""]).error_text().is_some());
}

#[test]
fn quit_answers_what_came_before_it_and_nothing_after() {
    let proxy = proxy();
    let mut client = proxy.client();
    client.line("DEL quit:a");
    let replies = client.pipeline(&["SET quit:a 1", "GET quit:a", "QUIT"]);
    assert_eq!(replies, [ok(), bulk("1"), ok()]);
    client.expect_closed();

    let mut client = proxy.client();
    client.send("*1\r\n$4\r\nQUIT\r\n*3\r\n$3\r\nSET\r\n$6\r\nquit:a\r\n$1\r\n2\r\n");
    assert_eq!(client.reply(), ok());
    client.expect_closed();
    assert_eq!(proxy.client().line("GET quit:a"), bulk("1"));
}

#[test]
fn command_is_passed_on() {
    if original_differs("answers COMMAND with an empty array") {
        return;
    }
    let proxy = proxy();
    let (mut client, mut server) = (proxy.client(), shared_cluster().node(0).client());
    assert_eq!(client.line("COMMAND COUNT"), server.line("COMMAND COUNT"));
    assert_eq!(client.line("COMMAND INFO get"), server.line("COMMAND INFO get"));
    assert_eq!(client.line("COMMAND").elements().len(), server.line("COMMAND").elements().len());
    let docs = server.line("COMMAND DOCS get set");
    if docs.error_text().is_none() {
        assert_eq!(client.line("COMMAND DOCS get set"), docs);
    }
}

#[test]
fn d36_a_client_has_an_id_and_a_name() {
    if original_differs("D-36: knows no CLIENT") {
        return;
    }
    let proxy = proxy();
    let (mut one, mut two) = (proxy.client(), proxy.client());
    assert_ne!(one.line("CLIENT ID").number(), two.line("CLIENT ID").number());
    assert_eq!(one.line("CLIENT ID"), one.line("CLIENT ID"));
    assert!(matches!(one.line("CLIENT GETNAME"), Value::Nil | Value::Bulk(_)));
    assert_eq!(one.line("CLIENT SETNAME first"), ok());
    assert_eq!(two.line("CLIENT SETNAME second"), ok());
    assert_eq!(one.line("CLIENT GETNAME"), bulk("first"));
    assert_eq!(two.line("client getname"), bulk("second"));
    assert_eq!(one.line("CLIENT SETINFO LIB-NAME test"), ok());
    assert_eq!(one.line("CLIENT SETINFO lib-ver 1.0"), ok());
    let refused = error("ERR Client names cannot contain spaces, newlines or special characters.");
    assert_eq!(one.cmd(&["CLIENT", "SETNAME", "with blank"]), refused);
    assert_eq!(one.line("CLIENT GETNAME"), bulk("first"));
    assert!(one.line("CLIENT NONSENSE").error_text().is_some());
    assert!(one.line("CLIENT").error_text().is_some());
}

#[test]
fn local_replies_wait_their_turn() {
    let proxy = proxy();
    let mut client = proxy.client();
    let replies = client.pipeline(&[
        "SET turn:a 1",
        "PING",
        "GET turn:a",
        "ECHO x",
        "DEL turn:a",
        "SELECT 0",
    ]);
    assert_eq!(replies, [ok(), simple("PONG"), bulk("1"), bulk("x"), int(1), ok()]);
}

#[test]
fn info_answers_by_section() {
    let proxy = proxy();
    let mut client = proxy.client();
    let all = client.line("INFO").text();
    let of_predixy = all.split("# Server\r\n").next().unwrap();
    assert_eq!(of_predixy.matches("\n# ").count() + 1, 5, "{all}");
    assert!(client.line("INFO proxy").text().starts_with("# Proxy\nVersion:"));
    for (name, title) in [("SystemResource", "# SystemResource"), ("servers", "# Servers")] {
        let section = client.cmd(&["INFO", name]).text();
        assert!(section.starts_with(title), "{section}");
        assert_eq!(section.matches("# ").count(), 1, "{section}");
    }
    assert!(all.contains("\nRedisMode:proxy\n"), "{all}");
    assert_eq!(client.line("MGET info:a info:b"), array([Value::Nil, Value::Nil]));
}

#[test]
fn every_request_is_counted_even_if_no_server_sees_it() {
    let proxy = proxy();
    let before = proxy.figure("TotalRequests");
    let mut client = proxy.client();
    (0..10).for_each(|_| assert_eq!(client.line("PING"), simple("PONG")));
    client.line("MGET counted:a counted:b");
    let now = || proxy.figure("TotalRequests");
    wait_until(SOON, "ten requests and two parts to be counted", || now() >= before + 12);
}

/// The timers that the kernel runs for connections to this port of loopback: 2 is that of keep-alive.
fn timers_towards(port: u16) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the connections of this host");
    let towards = format!("0100007F:{port:04X}");
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Of those that are established, and only our end: the other has another port there.
    let ours = rows.filter(|row| row.get(2) == Some(&&*towards) && row.get(3) == Some(&"01"));
    ours.filter_map(|row| Some(row.get(5)?.split(':').next()?.to_owned())).collect()
}

#[test]
fn servers_that_are_silent_are_looked_after_if_keep_alive_says_so() {
    if !cfg!(target_os = "linux") {
        return;
    }
    for (lines, timer) in [("    KeepAlive 100", "02"), ("    KeepAlive 0", "00"), ("", "00")] {
        let server = RedisServer::start();
        let group = format!("    Group g {{\n        + {}\n    }}", server.address());
        let proxy = Proxy::start(&format!(
            "StandaloneServerPool {{\n    RefreshMethod fixed\n{lines}\n{group}\n}}\n"
        ));
        assert_eq!(proxy.client().line("SET k v"), ok());
        // A moment later nothing is under way, and no other timer runs.
        wait_until(SOON, "the link to have the right timer", || {
            let timers = timers_towards(server.port());
            !timers.is_empty() && timers.iter().all(|running| running == timer)
        });
    }
}
