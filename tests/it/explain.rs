//! `--explain`: it says what the proxy then does.

use std::process::Command;

use crate::support::{
    AnyPool, Client, Proxy, RedisServer, Scratch, Watched, binary, free_port, groups_conf,
    original_differs, shared_cluster, slot_of,
};

/// What it says about a request under a configuration.
#[track_caller]
fn explain(conf: &str, words: &[&str]) -> String {
    let scratch = Scratch::new("explain");
    let path = scratch.write("predixy.conf", conf);
    let output = Command::new(binary()).arg("--explain").arg(path).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What stands behind a word at the beginning of a line.
#[track_caller]
fn line<'a>(text: &'a str, what: &str) -> &'a str {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(what));
    lines.next().unwrap_or_else(|| panic!("no {what} in\n{text}")).trim()
}

#[test]
fn a_key_goes_where_it_says() {
    if original_differs("no --explain") {
        return;
    }
    let cluster = shared_cluster();
    let proxy = Proxy::for_cluster(cluster);
    let mut client = proxy.client();
    for number in 0..5 {
        let key = format!("explain:{number}");
        client.cmd(&["SET", &key, "x"]);
        let text = explain(&cluster.conf(), &["SET", &key, "x"]);
        let goes_to = line(&text, "goes to");
        let (server, why) = goes_to.split_once(": ").unwrap();
        assert!(why.contains("only a master"), "{text}");
        assert_eq!(line(&text, "key"), format!("{key}: slot {}", slot_of(key.as_bytes())));
        // Past the proxy: the server that was named has it and does not say MOVED.
        let port = server.rsplit(':').next().unwrap().parse().unwrap();
        assert_eq!(Client::to_port(port).cmd(&["GET", &key]).text(), "x", "{text}");
        assert!(line(&text, "topology").contains("3 masters"), "{text}");
    }
}

#[test]
fn each_sort_of_command_is_explained() {
    if original_differs("no --explain") {
        return;
    }
    let conf = shared_cluster().conf();
    let check = |words: &[&str], what: &str, want: &str| {
        let text = explain(&conf, words);
        assert!(line(&text, what).contains(want), "{words:?}: no {want:?} in\n{text}");
    };
    check(&["get", "k"], "command", "get: goes to the owner of its keys; needs the right to read");
    check(&["MGET", "a", "b", "c"], "divided", "one array of all");
    check(&["DEL", "a", "b", "c"], "divided", "the reply is the sum");
    check(&["SUNION", "a", "b"], "answer", "CROSSSLOT");
    check(&["SUNION", "{t}a", "{t}b"], "goes to", "read priority");
    check(&["DBSIZE"], "goes to", "every master; the reply is the sum");
    check(&["SCAN", "0"], "goes to", "one master after the other");
    check(&["PING"], "answer", "by the proxy itself");
    check(&["SHUTDOWN"], "answer", "not available through the proxy");
    check(&["NOSUCH", "x"], "answer", "unknown command 'NOSUCH'");
    check(&["GET"], "answer", "wrong number of arguments");
    check(&["BLPOP", "k", "0"], "travels", "a connection of its own");
    check(&["MULTI"], "answer", "the first key");
    check(&["EVAL", "return 1", "1", "k"], "key", "k: slot");
    check(&["EVAL", "return 1", "x"], "answer", "-ERR");
    check(&["SUBSCRIBE", "c"], "answer", "shares");
}

#[test]
fn the_authority_is_asked_for_every_user_or_for_one() {
    if original_differs("no --explain") {
        return;
    }
    let auth = "Authority {\n Auth {\n Mode read\n KeyPrefix pub:\n }\n Auth apass {\n User web\n Mode write\n \
                KeyPrefix web:\n }\n Auth bpass {\n Mode admin\n }\n}\n";
    let pool = AnyPool::groups(1, auth);
    let address = pool.masters().len();
    assert_eq!(address, 1);
    let conf = format!("{auth}{}", groups_conf(&["127.0.0.1:1".to_owned()]));
    let text = explain(&conf, &["SET", "web:1", "x"]);
    let verdicts: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("allowed") || line.contains("refused"))
        .map(|line| line.strip_prefix("authority").unwrap_or(line).trim())
        .collect();
    let want = [
        "before AUTH: refused: ERR auth permission deny",
        "Auth 2, user web, Mode write: allowed",
        "Auth 3, user default, Mode admin: allowed",
    ];
    assert_eq!(verdicts, want);
    assert!(!text.contains("apass") && !text.contains("bpass"), "{text}");
    let one = explain(&conf, &["--User=web", "GET", "pub:1"]);
    assert_eq!(
        line(&one, "authority"),
        "Auth 2, user web, Mode write: refused: ERR auth permission deny"
    );
    let none = explain(&conf, &["--User=nobody", "GET", "pub:1"]);
    assert_eq!(line(&none, "authority"), "nobody has the user nobody");
    // The running proxy says the same.
    let mut client = pool.proxy.client();
    assert_eq!(client.line("SET web:1 x").error_text(), Some("ERR auth permission deny"));
    client.line("AUTH web apass");
    assert_eq!(client.line("SET web:1 x").text(), "OK");
    assert_eq!(client.line("GET pub:1").error_text(), Some("ERR auth permission deny"));
}

#[test]
fn groups_need_nobody_and_a_cluster_that_is_away_is_said_to_be() {
    if original_differs("no --explain") {
        return;
    }
    let servers = [RedisServer::start(), RedisServer::start()];
    let addresses = [servers[0].address(), servers[1].address()];
    let conf = groups_conf(&addresses);
    let proxy = Proxy::start(&conf);
    let mut client = proxy.client();
    for number in 0..8 {
        let key = format!("explain:{number}");
        client.cmd(&["SET", &key, "x"]);
        let text = explain(&conf, &["GET", &key]);
        let holder =
            servers.iter().find(|server| server.client().cmd(&["EXISTS", &key]).number() == 1);
        let holder = holder.map(RedisServer::address).unwrap();
        assert!(line(&text, "goes to").starts_with(&format!("{holder}:")), "{text}");
        assert!(line(&text, "key").starts_with(&format!("{key}: group g")), "{text}");
    }
    let nobody = format!("127.0.0.1:{}", free_port());
    let conf = format!("ClusterServerPool {{\nServers {{\n+ {nobody}\n}}\n}}\n");
    let text = explain(&conf, &["GET", "foo"]);
    assert!(line(&text, "topology").contains("nobody could be asked"), "{text}");
    assert_eq!(line(&text, "key"), "foo: slot 12182");
    assert!(line(&text, "goes to").contains("who owns the slot is not known"), "{text}");
}

#[test]
fn mistakes_are_told() {
    if original_differs("no --explain") {
        return;
    }
    let run = |arguments: &[&str]| Command::new(binary()).args(arguments).output().unwrap();
    let missing = run(&["--explain", "/nonexistent.conf", "GET", "k"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stdout).contains("/nonexistent.conf"));
    let empty = run(&["--explain", "/nonexistent.conf"]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&empty.stderr).contains("--explain wants a command"));
}

/// Sentinels know who the master is, whatever the file says.
#[test]
fn a_sentinel_is_asked_for_masters() {
    if original_differs("no --explain") {
        return;
    }
    let watched = Watched::start(1, 2, 2);
    let conf = watched.conf("");
    let master = |group: &str| watched.sentinels[0].master_of(group).unwrap();
    for number in 0..4 {
        let key = format!("explain:{number}");
        let text = explain(&conf, &["SET", &key, "x"]);
        let group = line(&text, "key").rsplit(' ').next().unwrap().to_owned();
        let want = format!("127.0.0.1:{}: the master", master(&group));
        assert!(line(&text, "goes to").starts_with(&want), "{text}");
        assert!(line(&text, "topology").starts_with("Sentinel 127.0.0.1:"), "{text}");
        assert!(text.contains("slave, read priority"), "{text}");
    }
}
