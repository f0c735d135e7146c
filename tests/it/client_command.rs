//! CLIENT, READONLY and READWRITE: what clients learn of each other and do to each other.

use std::time::{Duration, Instant};

use crate::support::{
    Answer, AnyPool, Client, FakeServer, Lost, Proxy, RedisServer, SOON, Value, array, bulk, error,
    groups_conf, int, key_in_slots, nodes_line, ok, original_differs, server_has,
    servers_are_valkey, simple, wait_until, wire,
};

const MISSING: &str = "D-36: no CLIENT";

/// The fields of the line of one client.
#[track_caller]
fn fields(line: &str) -> Vec<(String, String)> {
    let pair = |field: &str| {
        let (name, value) = field.split_once('=').unwrap_or_else(|| panic!("{field} in {line}"));
        (name.to_owned(), value.to_owned())
    };
    line.trim_end().split(' ').map(pair).collect()
}

/// A field of what CLIENT INFO says of this client.
#[track_caller]
fn own(client: &mut Client, name: &str) -> String {
    field(&client.line("CLIENT INFO").text(), name)
}

#[track_caller]
fn field(line: &str, name: &str) -> String {
    let found = fields(line).into_iter().find(|(field, _)| field == name);
    found.unwrap_or_else(|| panic!("no {name} in {line}")).1
}

/// The line of one client in CLIENT LIST, as somebody else sees it.
#[track_caller]
fn line_of(witness: &mut Client, id: i64) -> String {
    witness.line(&format!("CLIENT LIST ID {id}")).text()
}

/// Waits until a command of this client blocks.
#[track_caller]
fn wait_until_blocked(witness: &mut Client, id: i64) {
    wait_until(SOON, "the command to block", || {
        field(&line_of(witness, id), "flags").contains('b')
    });
}

fn one_server() -> (RedisServer, Proxy) {
    let server = RedisServer::start();
    let pool = groups_conf(&[server.address()]);
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{pool}"));
    (server, proxy)
}

/// Whether it was closed, or will be at once.
#[track_caller]
fn expect_lost(client: &mut Client) {
    assert_eq!(client.try_reply(), Err(Lost::Closed));
}

/// What Valkey 9 tells in its own words or takes, where the words here are those of Redis.
const VALKEYS_OWN: &[&str] = &[
    "CLIENT LIST ID a",
    "CLIENT KILL ID x",
    "CLIENT PAUSE 1 write x",
    "client pause 1 write x",
    "CLIENT UNBLOCK 1 ERROR x",
    "client Unblock 1 ERROR x",
];

#[test]
fn what_is_wrong_is_told_as_a_server_tells_it() {
    if original_differs(MISSING) {
        return;
    }
    if !server_has(7, 0) {
        return eprintln!("skipped: older servers have other words and fewer sub-commands");
    }
    let (server, proxy) = one_server();
    let (mut direct, mut proxied) = (server.client(), proxy.client());
    let mut different = String::new();
    for line in [
        "CLIENT",
        "CLIENT NOPE",
        "CLIENT ID x",
        "CLIENT INFO x",
        "CLIENT LIST ID",
        "CLIENT LIST ID a",
        "CLIENT LIST ID 99999",
        "CLIENT LIST TYPE master",
        "CLIENT LIST TYPE nope",
        "CLIENT LIST nope",
        "CLIENT KILL",
        "CLIENT KILL 1.2.3.4:5",
        "CLIENT KILL ID 0",
        "CLIENT KILL ID x",
        "CLIENT KILL ID 99999",
        "CLIENT KILL TYPE nope",
        "CLIENT KILL USER nobody",
        "CLIENT KILL ADDR 1.2.3.4:5 SKIPME maybe",
        "CLIENT KILL ADDR",
        "CLIENT KILL a b c",
        "CLIENT REPLY",
        "CLIENT REPLY x",
        "CLIENT REPLY on",
        "CLIENT PAUSE",
        "CLIENT PAUSE x",
        "CLIENT PAUSE -1",
        "CLIENT PAUSE 1 x",
        "CLIENT PAUSE 1 write x",
        "client pause 1 write x",
        "CLIENT UNPAUSE x",
        "CLIENT UNPAUSE",
        "CLIENT NO-EVICT x",
        "CLIENT NO-EVICT on",
        "CLIENT NO-EVICT off",
        "CLIENT UNBLOCK",
        "CLIENT UNBLOCK x",
        "CLIENT UNBLOCK 1 x",
        "CLIENT UNBLOCK 1 ERROR x",
        "client Unblock 1 ERROR x",
        "CLIENT UNBLOCK 99999",
        "CLIENT CACHING",
        "CLIENT CACHING yes",
        "CLIENT GETREDIR",
        "CLIENT TRACKINGINFO",
        "HELLO 3 NOPE",
        "CLIENT SETNAME",
        "CLIENT GETNAME",
        "CLIENT SETNAME me",
        "CLIENT GETNAME",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        direct.send(wire(&words));
        proxied.send(wire(&words));
        let shown = |bytes: Vec<u8>| bytes.escape_ascii().to_string();
        let (ours, theirs) = (shown(proxied.raw_reply()), shown(direct.raw_reply()));
        if ours != theirs && !(servers_are_valkey() && VALKEYS_OWN.contains(&line)) {
            different += &format!("{line}: {ours} instead of {theirs}\n");
        }
    }
    assert!(different.is_empty(), "{different}");
    for client in [&mut direct, &mut proxied] {
        assert!(matches!(client.line("HELLO 3"), Value::Map(_)));
    }
    for line in ["CLIENT TRACKINGINFO", "CLIENT LIST ID 99999", "CLIENT GETREDIR"] {
        assert_eq!(proxied.line(line), direct.line(line), "{line}");
    }
    let tracking = proxied.line("CLIENT TRACKING on");
    assert!(tracking.error_text().unwrap().contains("client-side caching"), "{tracking:?}");
    assert!(proxied.line("CLIENT HELP").elements().len() > 20);
    assert_eq!(proxied.line("CLIENT NO-TOUCH on"), ok());
    assert_eq!(proxied.line("CLIENT CAPA redirect"), ok());
}

#[test]
fn a_list_has_the_fields_of_redis_with_true_figures() {
    if original_differs(MISSING) {
        return;
    }
    let (server, proxy) = one_server();
    let mut client = proxy.client();
    let mut others: Vec<Client> = (0..5).map(|_| proxy.client()).collect();
    let ids: Vec<i64> = others.iter_mut().map(|other| other.line("CLIENT ID").number()).collect();
    let list = client.line("CLIENT LIST").text();
    assert!(list.ends_with('\n'));
    // In the order of their numbers, whichever thread serves them.
    let listed: Vec<i64> = list.lines().map(|line| field(line, "id").parse().unwrap()).collect();
    assert!(listed.is_sorted() && ids.iter().all(|id| listed.contains(id)), "{list}");
    let threads: std::collections::BTreeSet<String> =
        list.lines().map(|line| field(line, "io-thread")).collect();
    assert_eq!(threads.len(), 2, "{list}");
    // Every field of a server is there, in its order; it may have more.
    let names =
        |line: &str| -> Vec<String> { fields(line).into_iter().map(|(name, _)| name).collect() };
    let ours = names(list.lines().next().unwrap());
    let theirs = names(&server.client().line("CLIENT INFO").text());
    let in_theirs: Vec<String> = ours.into_iter().filter(|name| theirs.contains(name)).collect();
    let in_ours: Vec<&String> = theirs.iter().filter(|name| in_theirs.contains(name)).collect();
    assert_eq!(in_theirs.iter().collect::<Vec<_>>(), in_ours);
    for name in ["id", "addr", "laddr", "fd", "name", "age", "idle", "flags", "db", "cmd", "user"] {
        assert!(in_theirs.iter().any(|own| own == name), "no {name}");
    }

    let other = &mut others[0];
    let local = format!("127.0.0.1:{}", proxy.port());
    assert_eq!(own(other, "laddr"), local);
    assert!(own(other, "addr").starts_with("127.0.0.1:"));
    assert_eq!(own(other, "id"), ids[0].to_string());
    let plain = [
        ("name", ""),
        ("flags", "N"),
        ("db", "0"),
        ("multi", "-1"),
        ("watch", "0"),
        ("resp", "2"),
        ("cmd", "client|info"),
        ("user", "default"),
        ("events", "r"),
        ("redir", "-1"),
        ("lib-name", ""),
        ("lib-ver", ""),
        ("omem", "0"),
        ("qbuf", "0"),
    ];
    for (name, value) in plain {
        assert_eq!(own(other, name), value, "{name}");
    }
    assert!(own(other, "tot-mem").parse::<u64>().unwrap() > 100);

    for line in [
        "SELECT 2",
        "CLIENT SETNAME joe",
        "CLIENT SETINFO LIB-NAME lib",
        "CLIENT SETINFO lib-ver 1.0",
    ] {
        assert_eq!(other.line(line), ok());
    }
    assert_eq!(other.line("GET x"), Value::Nil);
    let seen = line_of(&mut client, ids[0]);
    let known =
        [("db", "2"), ("name", "joe"), ("lib-name", "lib"), ("lib-ver", "1.0"), ("cmd", "get")];
    for (name, value) in known {
        assert_eq!(field(&seen, name), value, "{name}");
    }
    for line in ["CLIENT NO-EVICT on", "CLIENT NO-TOUCH on"] {
        assert_eq!(other.line(line), ok());
    }
    assert_eq!(own(other, "flags"), "eT");
    assert!(matches!(other.line("HELLO 3"), Value::Map(_)));
    assert_eq!(own(other, "resp"), "3");
    assert_eq!(other.line("WATCH a b"), ok());
    assert_eq!(own(other, "watch"), "2");
    assert_eq!(other.line("MULTI"), ok());
    assert_eq!(other.line("SET a 1"), simple("QUEUED"));
    assert_eq!(other.line("PING"), simple("QUEUED"));
    let seen = line_of(&mut client, ids[0]);
    for (name, value) in [("flags", "xeT"), ("multi", "2"), ("watch", "2"), ("cmd", "ping")] {
        assert_eq!(field(&seen, name), value, "{name}");
    }
    assert_eq!(other.line("RESET"), simple("RESET"));
    let seen = line_of(&mut client, ids[0]);
    let left = [
        ("flags", "N"),
        ("multi", "-1"),
        ("watch", "0"),
        ("name", ""),
        ("lib-name", "lib"),
        ("resp", "2"),
        ("db", "0"),
    ];
    for (name, value) in left {
        assert_eq!(field(&seen, name), value, "{name}");
    }

    let mut watcher = proxy.client();
    assert_eq!(own(&mut watcher, "flags"), "N");
    let id = watcher.line("CLIENT ID").number();
    assert_eq!(watcher.line("MONITOR"), ok());
    assert_eq!(field(&line_of(&mut client, id), "flags"), "O");
    drop(watcher);
    wait_until(SOON, "it has gone", || line_of(&mut client, id).is_empty());

    let mut listener = proxy.client();
    let id = listener.line("CLIENT ID").number();
    listener.send("SUBSCRIBE a b\r\nPSUBSCRIBE c*\r\n");
    (0..3).for_each(|_| drop(listener.reply()));
    let shards = if server_has(7, 0) { "1" } else { "0" };
    if shards == "1" {
        listener.line("SSUBSCRIBE d");
    }
    let seen = line_of(&mut client, id);
    for (name, value) in [("flags", "P"), ("sub", "2"), ("psub", "1"), ("ssub", shards)] {
        assert_eq!(field(&seen, name), value, "{name}");
    }
    let some = client.line("CLIENT LIST TYPE pubsub").text();
    assert_eq!((some.lines().count(), field(&some, "id")), (1, id.to_string()));
    drop(listener);
    wait_until(SOON, "it has gone", || line_of(&mut client, id).is_empty());

    // Part of a request, and what it has not read.
    other.send("*2\r\n$3\r\nGET\r\n$100\r\nabc");
    wait_until(SOON, "the bytes to arrive", || {
        field(&line_of(&mut client, ids[0]), "qbuf") == "22"
    });
    others[1].send("BLPOP none 0\r\n");
    wait_until_blocked(&mut client, ids[1]);
    others.remove(1);
    wait_until(SOON, "it has gone", || line_of(&mut client, ids[1]).is_empty());
    let some = client.line(&format!("CLIENT LIST ID {} {} {}", ids[3], ids[2], ids[1])).text();
    let listed: Vec<String> = some.lines().map(|line| field(line, "id")).collect();
    // Two threads number those who come at the same time.
    let (first, second) = (ids[2].min(ids[3]), ids[2].max(ids[3]));
    assert_eq!(listed, [first.to_string(), second.to_string()]);
    assert_eq!(client.line("CLIENT LIST TYPE normal").text().lines().count(), 5);
}

#[test]
fn unread_replies_show_in_the_list() {
    if original_differs(MISSING) {
        return;
    }
    let (_server, proxy) = one_server();
    let (mut client, mut lazy) = (proxy.client(), proxy.client());
    let id = lazy.line("CLIENT ID").number();
    assert_eq!(client.cmd(&["SET", "large", &"x".repeat(4 << 20)]), ok());
    lazy.send(wire(&["GET", "large"]).repeat(4));
    wait_until(SOON, "it leaves something unread", || {
        let line = line_of(&mut client, id);
        let number = |name| field(&line, name).parse::<u64>().unwrap();
        number("omem") > 100_000
            && number("tot-mem") > number("omem")
            && number("oll") > 0
            && field(&line, "events") == "rw"
    });
}

#[test]
fn a_client_may_be_killed_in_every_way() {
    if original_differs(MISSING) {
        return;
    }
    let (_server, proxy) = one_server();
    let mut client = proxy.client();
    // Two of each, so that there is one on each thread.
    let pair = || [proxy.client(), proxy.client()];
    let address = |other: &mut Client| own(other, "addr");

    for mut other in pair() {
        assert_eq!(client.line(&format!("CLIENT KILL {}", address(&mut other))), ok());
        expect_lost(&mut other);
    }
    for mut other in pair() {
        assert_eq!(client.line(&format!("CLIENT KILL ADDR {}", address(&mut other))), int(1));
        expect_lost(&mut other);
    }
    for mut other in pair() {
        let id = other.line("CLIENT ID").number();
        assert_eq!(client.line(&format!("CLIENT KILL ID {id} TYPE pubsub")), int(0));
        assert_eq!(client.line(&format!("CLIENT KILL ID {id} MAXAGE 1000")), int(0));
        assert_eq!(other.line("PING"), simple("PONG"));
        assert_eq!(client.line(&format!("CLIENT KILL ID {id} USER default SKIPME yes")), int(1));
        expect_lost(&mut other);
    }
    let [mut one, mut two] = pair();
    assert_eq!(client.line(&format!("CLIENT KILL LADDR 127.0.0.1:{}", proxy.port())), int(2));
    expect_lost(&mut one);
    expect_lost(&mut two);
    assert_eq!(client.line("CLIENT KILL LADDR 127.0.0.1:1"), int(0));
    let [mut one, mut two] = pair();
    assert_eq!(client.line("CLIENT KILL TYPE pubsub"), int(0));
    for (other, line) in [(&mut one, "SUBSCRIBE a"), (&mut two, "PSUBSCRIBE a*")] {
        other.line(line);
    }
    assert_eq!(client.line("CLIENT KILL TYPE normal"), int(0));
    assert_eq!(client.line("CLIENT KILL TYPE pubsub"), int(2));
    expect_lost(&mut one);
    expect_lost(&mut two);
    let [mut one, mut two] = pair();
    assert_eq!(client.line("CLIENT KILL TYPE normal"), int(2));
    expect_lost(&mut one);
    expect_lost(&mut two);
    let [mut one, mut two] = pair();
    for other in [&mut one, &mut two] {
        wait_until(SOON, "both are old", || own(other, "age").parse::<u32>().unwrap() >= 3);
    }
    let young = proxy.client().line("CLIENT ID").number();
    assert!(young > 0);
    let mut young = proxy.client();
    assert_eq!(young.line("PING"), simple("PONG"));
    assert!(client.line("CLIENT KILL MAXAGE 3").number() >= 2);
    expect_lost(&mut one);
    expect_lost(&mut two);
    assert_eq!(young.line("PING"), simple("PONG"));

    // Oneself: the reply comes first.
    let mut own_address = proxy.client();
    let line = format!("CLIENT KILL {}", address(&mut own_address));
    assert_eq!(own_address.line(&line), ok());
    expect_lost(&mut own_address);
    let id = client.line("CLIENT ID").number();
    assert_eq!(client.line(&format!("CLIENT KILL ID {id}")), int(0));
    client.send(format!("CLIENT KILL ID {id} SKIPME no\r\nSET after 1\r\n"));
    assert_eq!(client.reply(), int(1));
    expect_lost(&mut client);
    assert_eq!(proxy.client().line("GET after"), Value::Nil);
}

#[test]
fn who_is_killed_in_the_middle_of_something_leaves_nothing() {
    if original_differs(MISSING) {
        return;
    }
    let (server, proxy) = one_server();
    let mut client = proxy.client();
    let [mut blocked, mut queues] = [proxy.client(), proxy.client()];
    let id = blocked.line("CLIENT ID").number();
    blocked.send("BLPOP list 0\r\n");
    assert_eq!(queues.line("MULTI"), ok());
    assert_eq!(queues.line("SET k 1"), simple("QUEUED"));
    wait_until_blocked(&mut client, id);
    assert_eq!(client.line("CLIENT KILL TYPE normal"), int(2));
    expect_lost(&mut blocked);
    expect_lost(&mut queues);
    wait_until(SOON, "the server has heard of it", || {
        !server.client().line("CLIENT LIST").text().contains("flags=b")
    });
    assert_eq!(client.line("RPUSH list a"), int(1));
    assert_eq!(client.line("LLEN list"), int(1));
    assert_eq!(client.line("GET k"), Value::Nil);
}

#[test]
fn replies_that_are_not_wanted_do_not_come() {
    if original_differs(MISSING) {
        return;
    }
    AnyPool::each(|pool| {
        for version in ["2", "3"] {
            let mut client = pool.proxy.client();
            client.line(&format!("HELLO {version}"));
            let large = "x".repeat(100_000);
            assert_eq!(client.cmd(&["SET", "large", &large]), ok());
            assert_eq!(client.line("SET n 0"), ok());
            // All at once, to several servers.
            let mut sent = Vec::new();
            let lines = [
                "ECHO before",
                "CLIENT REPLY OFF",
                "INCR n",
                "INCR m",
                "MGET a b c d",
                "GET large",
                "NOPE",
                "PING",
                "CLIENT REPLY SKIP",
                "CLIENT REPLY nope",
                "CLIENT ID",
                "CLIENT LIST",
                "INCR n",
                "CLIENT REPLY ON",
                "GET n",
                "CLIENT REPLY SKIP",
                "INCR n",
                "GET n",
                "CLIENT REPLY SKIP",
                "GET large",
                "CLIENT REPLY SKIP",
                "CLIENT REPLY SKIP",
                "NOPE",
                "ECHO after",
            ];
            for line in lines {
                sent.extend(wire(&line.split(' ').collect::<Vec<_>>()));
            }
            client.send(&sent);
            assert_eq!(client.reply(), bulk("before"));
            assert_eq!(client.reply(), ok());
            assert_eq!(client.reply(), bulk("2"));
            assert_eq!(client.reply(), bulk("3"));
            assert_eq!(client.reply(), bulk("after"));
            // One by one.
            client.line("PING");
            client.send("CLIENT REPLY SKIP\r\n");
            client.send("MULTI\r\n");
            assert_eq!(client.line("INCR n"), simple("QUEUED"));
            assert_eq!(client.line("EXEC"), array([int(4)]));
            client.send("CLIENT REPLY OFF\r\n");
            for line in ["MULTI", "INCR n", "EXEC", "BLPOP none 0.01", "WATCH n", "UNWATCH"] {
                client.send(format!("{line}\r\n"));
            }
            assert_eq!(client.line("RESET"), simple("RESET"));
            assert_eq!(client.line("GET n"), bulk("5"));
            client.send("CLIENT REPLY SKIP\r\nRESET\r\n");
            assert_eq!(client.line("GET n"), bulk("5"));
            assert!(!client.has_something());
        }
    });
}

#[test]
fn who_wants_no_replies_is_told_of_subscriptions_all_the_same() {
    if original_differs(MISSING) {
        return;
    }
    AnyPool::each(|pool| {
        for version in ["2", "3"] {
            let mut client = pool.proxy.client();
            client.line(&format!("HELLO {version}"));
            let push = |word: &str, name: &str, count: i64| {
                let words = vec![bulk(word), bulk(name), int(count)];
                if version == "2" { Value::Array(words) } else { Value::Push(words) }
            };
            client.send("CLIENT REPLY OFF\r\nPING\r\nSUBSCRIBE a b\r\nPSUBSCRIBE c*\r\nPING\r\n");
            assert_eq!(client.reply(), push("subscribe", "a", 1));
            assert_eq!(client.reply(), push("subscribe", "b", 2));
            assert_eq!(client.reply(), push("psubscribe", "c*", 3));
            pool.proxy.client().line("PUBLISH a hello");
            let message = vec![bulk("message"), bulk("a"), bulk("hello")];
            let got = client.reply();
            assert!(got == Value::Array(message.clone()) || got == Value::Push(message), "{got:?}");
            client.send("UNSUBSCRIBE a\r\nNOPE\r\nPUNSUBSCRIBE\r\n");
            assert_eq!(client.reply(), push("unsubscribe", "a", 2));
            assert_eq!(client.reply(), push("punsubscribe", "c*", 1));
            assert_eq!(client.line("RESET"), simple("RESET"));
            assert!(!client.has_something());
        }
    });
}

#[test]
fn a_pause_holds_everybody_up() {
    if original_differs(MISSING) {
        return;
    }
    let (_server, proxy) = one_server();
    let mut admin = proxy.client();
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    assert_eq!(admin.line("CLIENT PAUSE 60000 WRITE"), ok());
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.line("GET k"), Value::Nil);
        assert_eq!(client.line("MULTI"), ok());
        assert_eq!(client.line(&format!("SET {index} x")), simple("QUEUED"));
        client.send(format!("EXEC\r\nSET k{index} y\r\nGET k{index}\r\n"));
    }
    // They do not get through; who reads does.
    assert_eq!(admin.line("EXISTS 0 1 2 3 k0 k1 k2 k3"), int(0));
    assert_eq!(admin.line("GET k0"), Value::Nil);
    assert!(clients.iter_mut().all(|client| !client.has_something()));
    assert_eq!(admin.line("CLIENT UNPAUSE"), ok());
    for client in &mut clients {
        assert_eq!(client.reply(), array([ok()]));
        assert_eq!(client.reply(), ok());
        assert_eq!(client.reply(), bulk("y"));
    }

    assert_eq!(admin.line("CLIENT PAUSE 60000"), ok());
    let large = "x".repeat(100_000);
    for client in &mut clients {
        client.send("PING\r\nECHO a\r\nGET k0\r\n");
        client.send(wire(&["SET", "large", &large]));
        client.send("STRLEN large\r\n");
    }
    assert!(clients.iter_mut().all(|client| !client.has_something()));
    assert_eq!(admin.line("CLIENT UNPAUSE"), ok());
    for client in &mut clients {
        assert_eq!(client.reply(), simple("PONG"));
        assert_eq!(client.reply(), bulk("a"));
        assert_eq!(client.reply(), bulk("y"));
        assert_eq!(client.reply(), ok());
        assert_eq!(client.reply(), int(100_000));
    }

    // It ends by itself, and who leaves meanwhile is let go.
    let begun = Instant::now();
    assert_eq!(admin.line("CLIENT PAUSE 300 ALL"), ok());
    clients[0].send("SET k0 gone\r\n");
    drop(clients.remove(0));
    assert_eq!(clients[0].line("INCR n"), int(1));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    wait_until(SOON, "the one that left to be let go", || {
        clients[0].line("CLIENT LIST").text().lines().count() == 4
    });
    // A new pause replaces the one before.
    assert_eq!(admin.line("CLIENT PAUSE 60000 WRITE"), ok());
    clients[0].send("INCR n\r\n");
    assert_eq!(admin.line("CLIENT PAUSE 0"), ok());
    assert_eq!(clients[0].reply(), int(2));
}

#[test]
fn rights_are_asked_for_before_others_are_touched() {
    if original_differs(MISSING) {
        return;
    }
    let authority = "Authority {\n    Auth r {\n        Mode write\n    }\n    Auth a {\n        \
                     User joe\n        Mode admin\n    }\n}\n";
    let pool = AnyPool::groups(1, authority);
    let (mut client, mut admin) = (pool.proxy.client(), pool.proxy.client());
    assert_eq!(client.line("AUTH r"), ok());
    assert_eq!(admin.line("AUTH joe a"), ok());
    let id = client.line("CLIENT ID").number();
    for line in [
        "CLIENT LIST",
        "CLIENT KILL ID 1",
        "CLIENT PAUSE 10",
        "CLIENT UNPAUSE",
        "CLIENT UNBLOCK 1",
        "CLIENT NO-EVICT on",
    ] {
        assert_eq!(client.line(line), error("ERR auth permission deny"), "{line}");
    }
    for line in ["CLIENT INFO", "CLIENT REPLY on", "CLIENT TRACKINGINFO", "CLIENT NO-TOUCH on"] {
        assert_eq!(client.line(line).error_text(), None, "{line}");
    }
    assert_eq!(own(&mut client, "user"), "default");
    assert_eq!(own(&mut admin, "user"), "joe");
    // A pause leaves rights as they are.
    assert_eq!(admin.line("CLIENT PAUSE 60000 WRITE"), ok());
    assert_eq!(client.line("CONFIG GET x"), error("ERR auth permission deny"));
    assert_eq!(admin.line("CLIENT UNPAUSE"), ok());
    assert_eq!(admin.line("CLIENT KILL USER nobody"), error("ERR No such user 'nobody'"));
    assert_eq!(admin.line("CLIENT KILL USER joe"), int(0));
    assert_eq!(admin.line(&format!("CLIENT KILL USER default ID {id}")), int(1));
    expect_lost(&mut client);
}

#[test]
fn a_blocked_client_is_unblocked_by_its_server() {
    if original_differs(MISSING) {
        return;
    }
    AnyPool::each(|pool| {
        let mut admin = pool.proxy.client();
        for version in ["2", "3"] {
            let mut client = pool.proxy.client();
            client.line(&format!("HELLO {version}"));
            let id = client.line("CLIENT ID").number();
            assert_eq!(admin.line(&format!("CLIENT UNBLOCK {id}")), int(0));
            let nothing = if version == "3" { Value::Null } else { Value::NilArray };
            for _ in 0..3 {
                client.send("BLPOP {t}none 0\r\n");
                wait_until_blocked(&mut admin, id);
                assert_eq!(admin.line(&format!("CLIENT UNBLOCK {id}")), int(1));
                assert_eq!(client.reply(), nothing);
                client.send("XREAD BLOCK 0 STREAMS {t}x $\r\n");
                wait_until_blocked(&mut admin, id);
                assert_eq!(admin.line(&format!("CLIENT UNBLOCK {id} ERROR")), int(1));
                let unblocked = error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
                assert_eq!(client.reply(), unblocked);
                // Nothing is left of it.
                assert_eq!(
                    client.line("GET {t}none"),
                    if version == "3" { Value::Null } else { Value::Nil }
                );
                assert_eq!(admin.line(&format!("CLIENT UNBLOCK {id} TIMEOUT")), int(0));
            }
        }
    });
}

#[test]
fn an_unblock_that_comes_early_is_not_lost() {
    if original_differs(MISSING) {
        return;
    }
    let (_server, proxy) = one_server();
    let (mut client, mut admin) = (proxy.client(), proxy.client());
    let id = client.line("CLIENT ID").number();
    for _ in 0..100 {
        client.send("BLPOP none 0\r\n");
        // As soon as the proxy has seen it; the server may not have.
        wait_until(SOON, "it is blocked", || admin.line(&format!("CLIENT UNBLOCK {id}")) == int(1));
        assert_eq!(client.reply(), Value::NilArray);
    }
}

#[test]
fn a_server_that_does_not_tell_numbers_cannot_unblock() {
    if original_differs(MISSING) {
        return;
    }
    let fake = FakeServer::start(|heard| match heard.name().as_str() {
        "BLPOP" => Answer::Silence,
        "CLIENT" => Answer::text("-NOPERM no\r\n"),
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&groups_conf(&[fake.address()]));
    let (mut client, mut admin) = (proxy.client(), proxy.client());
    let id = client.line("CLIENT ID").number();
    client.send("BLPOP none 0\r\n");
    wait_until(SOON, "it was asked", || !fake.heard_named("BLPOP").is_empty());
    wait_until(SOON, "the answer has come", || {
        admin.line(&format!("CLIENT UNBLOCK {id}")) == int(0)
    });
}

#[test]
fn readwrite_reads_from_the_master() {
    if original_differs(MISSING) {
        return;
    }
    let fakes = FakeServer::start_cluster(2, |index, heard| match heard.name().as_str() {
        "GET" => Answer::bulk(["master", "replica"][index]),
        "MGET" => Answer::text(["*1\r\n$6\r\nmaster\r\n", "*1\r\n$7\r\nreplica\r\n"][index]),
        _ => Answer::Usual,
    });
    let [master, replica] = [&fakes[0], &fakes[1]].map(FakeServer::bus_address);
    let nodes = nodes_line(1, &master, "master", "-", "0-16383")
        + &nodes_line(2, &replica, "slave", &format!("{:040x}", 1), "");
    fakes.iter().for_each(|fake| fake.set_nodes(&nodes));
    let lines =
        "    MasterReadPriority 0\n    StaticSlaveReadPriority 50\n    DynamicSlaveReadPriority 50";
    let proxy = Proxy::start(&FakeServer::conf(&fakes, lines));
    proxy.wait_for_servers(2);
    let (mut client, mut other) = (proxy.client(), proxy.client());
    let (one, two) = (key_in_slots(0..100, "a"), key_in_slots(200..300, "b"));
    let mut check = |client: &mut Client, want: &str| {
        assert_eq!(client.cmd(&["GET", &one]), bulk(want));
        assert_eq!(client.cmd(&["MGET", &one, &two]), array([bulk(want), bulk(want)]));
        assert_eq!(other.cmd(&["GET", &one]), bulk("replica"));
    };
    check(&mut client, "replica");
    assert_eq!(client.line("READWRITE"), ok());
    check(&mut client, "master");
    assert_eq!(client.line("READONLY"), ok());
    check(&mut client, "replica");
    assert_eq!(client.line("READWRITE"), ok());
    check(&mut client, "master");
    assert_eq!(client.line("RESET"), simple("RESET"));
    check(&mut client, "replica");
}
