//! What a wrong command is answered: Redis's own words, because client libraries match on them.

use crate::support::{
    Proxy, error, in_words_of_today, ok, original_differs, server_has, shared_cluster, simple,
};

fn proxy() -> Proxy {
    Proxy::for_cluster(shared_cluster())
}

#[test]
fn wrong_arity_is_told_as_redis_tells_it() {
    let proxy = proxy();
    let (mut client, mut server) = (proxy.client(), shared_cluster().node(0).client());
    for line in [
        "GET",
        "get a b",
        "SET a",
        "ECHO",
        "HSET a b",
        "ZADD a",
        "MGET",
        "DEL",
        "PING a b",
        "SETEX a 1",
    ] {
        let reply = client.line(line);
        assert_eq!(reply, server.line(line), "{line}");
        assert!(
            reply
                .error_text()
                .is_some_and(|text| text.starts_with("ERR wrong number of arguments")),
            "{line}"
        );
    }
    assert_eq!(client.line("PING"), simple("PONG"));
}

#[test]
fn unknown_commands_are_told_as_redis_tells_it() {
    if original_differs("leaves out the arguments") {
        return;
    }
    let proxy = proxy();
    let (mut client, mut server) = (proxy.client(), shared_cluster().node(0).client());
    let long = "x".repeat(300);
    let many = ["nonsense"; 60];
    for words in [
        ["nonsense"].as_slice(),
        &["NONSENSE", "a", "b c", ""],
        &["nonsense", &long, "b"],
        &["nonsense", "with\nnewline", "and\rreturn"],
        &[&long, "a"],
        &["", "a"],
        &many,
    ] {
        if words.concat().len() > 100 && !server_has(7, 0) {
            // They cut it short elsewhere, if at all.
            continue;
        }
        let reply = client.cmd(words);
        assert_eq!(reply, in_words_of_today(server.cmd(words)), "{words:?}");
        assert!(
            reply.error_text().is_some_and(|text| text.starts_with("ERR unknown command")),
            "{reply:?}"
        );
    }
    assert_eq!(client.line("PING"), simple("PONG"));
}

#[test]
fn d01_a_command_word_of_forty_bytes_is_one_more_unknown_command() {
    if original_differs("D-01: dies of it") {
        return;
    }
    let proxy = proxy();
    let mut client = proxy.client();
    for length in [1, 31, 32, 33, 40, 127, 128, 129, 5000, 100_000] {
        let word = "q".repeat(length);
        for words in [vec![word.as_str()], vec![&word, "argument"], vec![&word, "a", "b", "c"]] {
            let reply = client.cmd(&words);
            assert!(
                reply.error_text().is_some_and(|text| text.starts_with("ERR unknown command 'q")),
                "{reply:?}"
            );
        }
    }
    assert_eq!(client.line("SET d01:a 1"), ok());
}

#[test]
fn d35_a_wrong_request_may_have_many_arguments() {
    if original_differs("D-35: closes") {
        return;
    }
    let proxy = proxy();
    let mut client = proxy.client();
    let many = vec!["argument"; 5000];
    for name in ["nonsense", "GET"] {
        let words = [[name].as_slice(), &many].concat();
        assert!(client.cmd(&words).error_text().is_some());
    }
    assert_eq!(client.line("PING"), simple("PONG"));
}

#[test]
fn what_cannot_work_through_a_proxy_is_refused_with_its_name() {
    if original_differs("calls them unknown") {
        return;
    }
    let proxy = proxy();
    let mut client = proxy.client();
    for (line, name) in [
        ("SHUTDOWN NOSAVE", "shutdown"),
        ("REPLICAOF a 1", "replicaof"),
        ("DEBUG SEGFAULT", "debug"),
    ] {
        let want = format!(
            "ERR command '{name}' is not available through the proxy: it concerns one server, \
             which has to be asked directly"
        );
        assert_eq!(client.line(line), error(&want));
    }
    for node in 0..6 {
        assert_eq!(shared_cluster().node(node).client().line("PING"), simple("PONG"));
    }
}
