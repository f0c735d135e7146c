//! Commands that wait at the server, and the order of all that a client sends around them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::support::{
    Answer, Client, FakeServer, Lost, Proxy, RedisCluster, RedisServer, SOON, Value, array, bulk,
    error, int, key_in_slots, ok, original_differs, server_has, shared_cluster, simple, slot_of,
    wait_until, wire,
};

fn single_with(server: &RedisServer, lines: &str) -> Proxy {
    let address = server.address();
    let pool = format!(
        "StandaloneServerPool {{\nRefreshMethod fixed\n{lines}\nGroup one {{\n+ {address}\n}}\n}}\n"
    );
    Proxy::start(&pool)
}

/// Each with what the other client does while it waits.
const BLOCKING: &[(&str, &str)] = &[
    ("BLPOP {b}l 0", "RPUSH {b}l 1"),
    ("BRPOP {b}none {b}l 0", "RPUSH {b}l 1"),
    ("BLMOVE {b}l {b}m LEFT RIGHT 0", "RPUSH {b}l 1"),
    ("BRPOPLPUSH {b}l {b}m 0", "RPUSH {b}l 1"),
    ("BLMPOP 0 1 {b}l LEFT", "RPUSH {b}l 1"),
    ("BZPOPMIN {b}z 0", "ZADD {b}z 1 one"),
    ("BZPOPMAX {b}z 0", "ZADD {b}z 1 one"),
    ("BZMPOP 0 1 {b}z MIN", "ZADD {b}z 1 one"),
    ("XREAD BLOCK 0 STREAMS {b}s $", "XADD {b}s 9-1 f v"),
    ("XREADGROUP GROUP g c BLOCK 0 STREAMS {b}t >", "XADD {b}t 9-1 f v"),
];

/// Waits until this many clients wait at the server.
fn wait_for_blocked(servers: &[&RedisServer], count: usize) {
    wait_until(SOON, "clients to wait", || {
        let blocked = servers.iter().map(|server| {
            let info = server.client().line("INFO clients").text();
            let line = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
            line.and_then(|count| count.parse::<usize>().ok()).unwrap_or(0)
        });
        blocked.sum::<usize>() == count
    });
}

#[test]
fn blocking_commands_wait_and_are_woken() {
    let direct = RedisServer::start();
    let server = RedisServer::start();
    let single = single_with(&server, "");
    let cluster = RedisCluster::start(2, 0);
    let of_cluster = Proxy::for_cluster(&cluster);
    let nodes = [cluster.node(0), cluster.node(1)];
    let ways: [(Client, Client, &[&RedisServer]); 3] = [
        (direct.client(), direct.client(), &[&direct]),
        (single.client(), single.client(), &[&server]),
        (of_cluster.client(), of_cluster.client(), &nodes),
    ];
    let mut wants: Vec<Vec<Value>> = Vec::new();
    for (mut client, mut other, servers) in ways {
        other.line("XGROUP CREATE {b}t g $ MKSTREAM");
        let mut got = Vec::new();
        for (blocking, waking) in BLOCKING {
            if blocking.contains("MPOP") && !server_has(7, 0) {
                continue;
            }
            other.line("DEL {b}l {b}m {b}z {b}s");
            let words: Vec<&str> = blocking.split(' ').collect();
            client.send(wire(&words));
            wait_for_blocked(servers, 1);
            client.set_deadline(Duration::from_millis(1));
            assert_eq!(client.try_reply(), Err(Lost::TimedOut), "{blocking}");
            client.set_deadline(SOON);
            other.line(waking);
            got.push(client.reply());
            // Data that is there is had at once.
            other.line("DEL {b}l");
            other.line("RPUSH {b}l 1 2");
            got.push(client.line("BLPOP {b}l 0"));
            // And a wait that is over in time.
            got.push(client.line("BLPOP {b}none 0.01"));
        }
        for line in [
            "BLPOP {b}l x",
            "BLPOP {b}l",
            "XREAD BLOCK x STREAMS {b}s 0",
            // Those whose keys cannot be told.
            "BLMPOP 0 x {b}l LEFT",
            "BLMPOP 0 2 {b}l",
            "BZMPOP 0 0 {b}z MIN",
            "XREAD BLOCK 0 STREAMS {b}s",
            "XREAD BLOCK 0 {b}s 0",
        ] {
            if line.contains("MPOP") && !server_has(7, 0) {
                continue;
            }
            got.push(client.line(line));
        }
        other.line("DEL {b}t");
        wants.push(got);
    }
    assert_eq!(wants[1], wants[0]);
    assert_eq!(wants[2], wants[0]);
}

#[test]
fn later_requests_wait_and_other_clients_do_not() {
    let server = RedisServer::start();
    let proxy = single_with(&server, "");
    let (mut client, mut other) = (proxy.client(), proxy.client());
    let large = "v".repeat(100_000);
    client.send(wire(&["SET", "order", "1"]));
    client.send([wire(&["BLPOP", "wait", "0"]), wire(&["GET", "order"])].concat());
    client.send([wire(&["SET", "order", &large]), wire(&["STRLEN", "order"])].concat());
    client.send([wire(&["MULTI"]), wire(&["GET", "order"]), wire(&["EXEC"])].concat());
    wait_for_blocked(&[&server], 1);
    assert_eq!(client.reply(), ok());
    assert_eq!(other.line("GET order"), bulk("1"));
    assert_eq!(other.line("APPEND order 2"), int(2));
    assert_eq!(other.line("RPUSH wait x"), int(1));
    assert_eq!(client.reply(), array([bulk("wait"), bulk("x")]));
    assert_eq!(client.reply(), bulk("12"));
    assert_eq!([client.reply(), client.reply()], [ok(), int(100_000)]);
    assert_eq!([client.reply(), client.reply()], [ok(), simple("QUEUED")]);
    assert_eq!(client.reply(), array([bulk(&large)]));
}

#[test]
fn keys_of_two_slots_are_refused() {
    let proxy = Proxy::for_cluster(shared_cluster());
    let mut client = proxy.client();
    let cross = || error("CROSSSLOT Keys in request don't hash to the same slot");
    assert_eq!(client.line("BLPOP {a}x {b}x 0"), cross());
    assert_eq!(client.line("XREAD BLOCK 0 STREAMS {a}x {b}x 0 0"), cross());
}

#[test]
fn d43_a_client_that_leaves_takes_its_command_along() {
    let server = RedisServer::start();
    let proxy = single_with(&server, "");
    for round in 0..10 {
        let clients: Vec<Client> = (0..10).map(|_| proxy.client()).collect();
        for mut client in clients {
            let watch = if round % 2 == 0 { wire(&["WATCH", "gone"]) } else { Vec::new() };
            client.send(
                [watch, wire(&["BLPOP", "gone", "0"]), wire(&["SET", "gone:2", "1"])].concat(),
            );
            if round < 5 {
                continue;
            }
            wait_for_blocked(&[&server], 1);
            drop(client);
            wait_for_blocked(&[&server], 0);
        }
        wait_for_blocked(&[&server], 0);
    }
    let mut client = proxy.client();
    assert_eq!(client.line("RPUSH gone x"), int(1));
    assert_eq!(client.line("LLEN gone"), int(1));
    let list = server.client().line("CLIENT LIST TYPE normal").text();
    assert!(list.lines().count() < 8, "{list}");
}

#[test]
fn who_has_closed_his_side_gets_what_is_there() {
    let server = RedisServer::start();
    let proxy = single_with(&server, "");
    let mut client = proxy.client();
    client.send([wire(&["RPUSH", "half", "x"]), wire(&["BLPOP", "half", "0"])].concat());
    client.shut_down_write();
    assert_eq!(client.reply(), int(1));
    assert_eq!(client.reply(), array([bulk("half"), bulk("x")]));
    client.expect_closed();
}

#[test]
fn who_has_closed_his_side_gets_what_the_server_has_decided() {
    if original_differs("D-31: never lets go of who has closed its half") {
        return;
    }
    // However long that takes: it answers when it has read to the end of what we say.
    let fake = FakeServer::start(|heard| match heard.name().as_str() {
        "BLPOP" if heard.word(1) == "full" => Answer::WhenLeft(b"*1\r\n$1\r\nx\r\n".to_vec()),
        "BLPOP" => Answer::WhenLeft(Vec::new()),
        "GET" => Answer::bulk("well"),
        _ => Answer::Usual,
    });
    let address = fake.address();
    let proxy = Proxy::start(&format!(
        "StandaloneServerPool {{\nRefreshMethod fixed\nServerFailureLimit 2\n\
         Group one {{\n+ {address}\n}}\n}}\n"
    ));
    for key in ["full", "empty"].repeat(3) {
        let mut client = proxy.client();
        client.send([wire(&["GET", "before"]), wire(&["BLPOP", key, "0"])].concat());
        client.shut_down_write();
        assert_eq!(client.reply(), bulk("well"));
        if key == "full" {
            assert_eq!(client.reply(), array([bulk("x")]));
        }
        client.expect_closed();
        // That is nothing that the server could be blamed for, and no link that anybody could use.
        assert_eq!(proxy.client().line("GET k"), bulk("well"));
    }
    let said = fake.heard_named("BLPOP");
    let mut connections: Vec<usize> = said.iter().map(|heard| heard.connection).collect();
    connections.dedup();
    assert_eq!(connections.len(), 6);
}

#[test]
fn no_timeout_but_its_own() {
    let server = RedisServer::start();
    let address = server.address();
    let proxy = Proxy::start(&format!(
        "ClientTimeout 1\nStandaloneServerPool {{\nRefreshMethod fixed\nServerTimeout 100ms\n\
         Group one {{\n+ {address}\n}}\n}}\n"
    ));
    let mut client = proxy.client();
    let begun = Instant::now();
    assert_eq!(client.line("BLPOP patience 2.5"), Value::NilArray);
    assert!(begun.elapsed() >= Duration::from_millis(2400), "{:?}", begun.elapsed());
    // The link is as good as any other afterwards.
    assert_eq!(client.pipeline(&["MULTI", "SET patience 1", "EXEC"])[2], array([ok()]));
    assert_eq!(client.line("GET patience"), bulk("1"));
    server.pause();
    assert_eq!(client.line("GET patience"), error("ERR server connection close"));
    server.resume();
}

#[test]
fn a_lost_link_is_told() {
    let server = RedisServer::start();
    let proxy = single_with(&server, "");
    let mut client = proxy.client();
    client.send([wire(&["BLPOP", "lost", "0"]), wire(&["PING"])].concat());
    wait_for_blocked(&[&server], 1);
    server.kill_client_connections();
    assert_eq!(client.reply(), error("ERR server connection close"));
    assert_eq!(client.reply(), simple("PONG"));
}

#[test]
fn d16_a_command_that_waits_follows_its_slot() {
    if original_differs("D-16: asks the old owner again and again") {
        return;
    }
    let cluster = RedisCluster::start(2, 0);
    let proxy = Proxy::for_cluster(&cluster);
    let slot = 55;
    let key = key_in_slots(slot..slot + 1, "d16");
    let (mut client, mut other) = (proxy.client(), proxy.client());
    for round in 0..4 {
        client.send([wire(&["BLPOP", &key, "0"]), wire(&["EXISTS", &key])].concat());
        wait_for_blocked(&[cluster.node(round % 2)], 1);
        cluster.migrate_slot(slot, round % 2, 1 - round % 2);
        wait_for_blocked(&[cluster.node(1 - round % 2)], 1);
        assert_eq!(other.cmd(&["RPUSH", &key, "x"]), int(1));
        assert_eq!(client.reply(), array([bulk(&key), bulk("x")]));
        assert_eq!(client.reply(), int(0));
    }
}

#[test]
fn d16_moved_and_ask_are_followed_on_a_link_of_its_own() {
    if original_differs("D-16: asks the old owner again and again") {
        return;
    }
    for kind in ["MOVED", "ASK"] {
        let key = key_in_slots(0..8192, "k");
        let slot = slot_of(key.as_bytes());
        let port = Arc::new(OnceLock::<u16>::new());
        let for_script = Arc::clone(&port);
        let fakes = FakeServer::start_cluster(2, move |index, heard| {
            match (heard.name().as_str(), index) {
                ("BLPOP", 0) => {
                    Answer::text(format!("-{kind} {slot} 127.0.0.1:{}\r\n", for_script.wait()))
                }
                ("BLPOP", _) => Answer::bulk("popped"),
                _ => Answer::Usual,
            }
        });
        port.set(fakes[1].port()).unwrap();
        let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
        proxy.wait_for_servers(2);
        assert_eq!(proxy.client().cmd(&["BLPOP", &key, "0"]), bulk("popped"), "{kind}");
        let heard = fakes[1].heard();
        let at = heard.iter().position(|heard| heard.name() == "BLPOP").unwrap();
        let before = heard[..at].iter().rev().find(|one| one.connection == heard[at].connection);
        let before = before.map(|heard| heard.name());
        assert_eq!(before.as_deref() == Some("ASKING"), kind == "ASK", "{before:?}");
    }
}
