//! Values of many megabytes: whoever reads them slowly has them kept by the server, and not by
//! the proxy, and nobody else waits for that.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::support::{
    Answer, Client, FakeServer, Proxy, RedisCluster, RedisServer, SOON, bulk, groups_conf,
    key_in_group, nodes_line, ok, original_differs, shared_cluster, simple, wait_until, wire,
};

const SIZE: usize = 16 << 20;

/// A value in which no two places look alike.
fn value() -> String {
    (0u32..).map(|number| format!("{number:07x}.")).take(SIZE / 8).collect()
}

/// A node with a giant, and a proxy, both for one test alone.
fn giant() -> (RedisCluster, Proxy, String) {
    let cluster = RedisCluster::start(1, 0);
    // Each giant has a connection of its own, which a busy server may not accept for a second.
    let conf = cluster.conf_with("    ConnectTimeout 20s");
    let proxy = Proxy::start(&format!("WorkerThreads 1\n{conf}"));
    proxy.wait_for_servers(1);
    let value = value();
    // Not through the proxy, whose memory is looked at.
    assert_eq!(cluster.node(0).client().cmd(&["SET", "giant", &value]), ok());
    (cluster, proxy, value)
}

/// Asks for the giant and reads its beginning.
fn begin(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.send(wire(&["GET", "giant"]));
    wait_until(SOON, "the first bytes", || client.has_something());
    client
}

#[test]
fn slow_readers_of_a_giant_leave_it_with_the_server() {
    if original_differs("buffers it whole for each of them") {
        return;
    }
    let (_cluster, mut proxy, value) = giant();
    let mut witness = proxy.client();
    assert_eq!(witness.line("SET small 1"), ok());
    let before_kb = proxy.process().resident_kb();
    let mut readers: Vec<Client> = (0..4).map(|_| begin(&proxy)).collect();
    let until = Instant::now() + Duration::from_millis(700);
    let mut peak_kb = 0;
    while Instant::now() < until {
        assert_eq!(witness.line("GET small"), bulk("1"));
        peak_kb = peak_kb.max(proxy.process().resident_kb());
    }
    for reader in &mut readers {
        assert!(reader.reply() == bulk(&value), "not what was stored");
        assert_eq!(reader.line("GET small"), bulk("1"));
    }
    peak_kb = peak_kb.max(proxy.process().resident_kb());
    let grown_kb = peak_kb.saturating_sub(before_kb);
    assert!(grown_kb < 24 * 1024, "{grown_kb} KB for four readers of {SIZE} bytes");
}

#[test]
fn what_stands_behind_a_giant_is_answered() {
    if original_differs("lets them wait for the slow reader") {
        return;
    }
    let (_cluster, proxy, value) = giant();
    let mut others: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    assert_eq!(others[0].line("SET small 1"), ok());
    let mut reader = proxy.client();
    reader.send(wire(&["GET", "giant"]));
    for (number, other) in others.iter_mut().enumerate() {
        // Reads are asked for elsewhere, writes are not; both come.
        let write = ["SET", &format!("written:{number}"), "1"].map(str::to_owned);
        let lines = [wire(&["GET", "small"]), wire(&write), wire(&["GET", "small"])].concat();
        other.send(if number % 2 == 0 { lines } else { wire(&["GET", "small"]) });
    }
    for (number, other) in others.iter_mut().enumerate() {
        assert_eq!(other.reply(), bulk("1"));
        if number % 2 == 0 {
            assert_eq!((other.reply(), other.reply()), (ok(), bulk("1")));
        }
    }
    assert!(reader.reply() == bulk(&value), "not what was stored");
    for (number, other) in others.iter_mut().enumerate().step_by(2) {
        assert_eq!(other.cmd(&["GET", &format!("written:{number}")]), bulk("1"));
    }
}

/// What the proxy itself has asked behind a giant is no reason to read it whole: it asks again.
#[test]
fn what_the_proxy_asks_for_itself_does_not_hurry_a_giant() {
    if original_differs("buffers it whole") {
        return;
    }
    let (value, nodes) = (Arc::new(value()), Arc::new(OnceLock::new()));
    let (large, lines, asked_on) = (Arc::clone(&value), Arc::clone(&nodes), OnceLock::new());
    let fake = FakeServer::start(move |heard| match heard.name().as_str() {
        "GET" if heard.word(1) == "giant" => {
            // Not before there is something behind it.
            asked_on.get_or_init(|| heard.connection);
            Answer::text("")
        }
        "CLUSTER" if asked_on.get() == Some(&heard.connection) => {
            let lines: &String = lines.wait();
            let giant = format!("${}\r\n{large}\r\n", large.len());
            Answer::text(format!("{giant}${}\r\n{lines}\r\n", lines.len()))
        }
        "GET" => Answer::bulk("1"),
        _ => Answer::Usual,
    });
    nodes.set(nodes_line(1, &fake.bus_address(), "myself,master", "-", "0-16383")).expect("once");
    let fakes = [fake];
    let conf = FakeServer::conf(&fakes, "");
    let mut proxy = Proxy::start(&format!("WorkerThreads 1\n{conf}"));
    proxy.wait_for_servers(1);
    let mut witness = proxy.client();
    assert_eq!(witness.line("GET small"), bulk("1"));
    let before_kb = proxy.process().resident_kb();
    let mut reader = begin(&proxy);
    let polls = || fakes[0].heard_named("CLUSTER").len();
    let polled = polls();
    wait_until(SOON, "it to ask again", || polls() > polled + 10);
    assert_eq!(witness.line("GET small"), bulk("1"));
    let grown_kb = proxy.process().resident_kb().saturating_sub(before_kb);
    assert!(grown_kb < 8 * 1024, "{grown_kb} KB for a reader of {SIZE} bytes");
    assert!(reader.reply() == bulk(&*value), "not what was stored");
}

#[test]
fn one_client_gets_its_giants_and_the_rest_in_order() {
    let (_cluster, proxy, value) = giant();
    let mut client = proxy.client();
    for round in 0..3 {
        let number = round.to_string();
        client.send(
            [
                wire(&["SET", "small", &number]),
                wire(&["GET", "giant"]),
                wire(&["GET", "small"]),
                wire(&["APPEND", "small", "x"]),
                wire(&["GET", "giant"]),
                wire(&["GET", "small"]),
            ]
            .concat(),
        );
        assert_eq!(client.reply(), ok());
        assert!(client.reply() == bulk(&value));
        assert_eq!(client.reply(), bulk(&number));
        assert_eq!(client.reply().number(), 2);
        assert!(client.reply() == bulk(&value));
        assert_eq!(client.reply(), bulk(format!("{number}x")));
    }
}

/// What comes behind a giant, from another server, is there before its end and waits for that: it
/// must not be waited for.
#[test]
fn a_giant_goes_on_although_large_replies_wait_behind_it() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let addresses: Vec<String> = servers.iter().map(RedisServer::address).collect();
    let proxy = Proxy::start(&format!("WorkerThreads 1\n{}", groups_conf(&addresses)));
    let value = value();
    // One that is read whole, and one whose server has to wait as well. Keys of their own, because
    // what is known to be a giant is waited for.
    // With two giants the second may be stopped at its first bytes.
    let rounds = [("b".repeat(900_000), 800_000), (value.to_uppercase(), 540_000)];
    for (round, (large, enough)) in rounds.into_iter().enumerate() {
        let giant = key_in_group(0, 2, &format!("giant:{round}:"));
        let behind = key_in_group(1, 2, &format!("behind:{round}:"));
        assert_eq!(servers[0].client().cmd(&["SET", &giant, &value]), ok());
        assert_eq!(servers[1].client().cmd(&["SET", &behind, &large]), ok());
        let mut client = proxy.client();
        let id = client.line("CLIENT ID").number();
        client.send([wire(&["GET", &giant]), wire(&["GET", &behind])].concat());
        // Not INFO, which servers are asked for, and have to be read from.
        let mut witness = proxy.client();
        wait_until(SOON, "both to wait", || {
            let line = witness.line(&format!("CLIENT LIST ID {id}")).text();
            let unread = line.split(' ').find_map(|field| field.strip_prefix("omem="));
            unread.and_then(|unread| unread.parse().ok()).is_some_and(|unread: u64| unread > enough)
        });
        assert!(client.reply() == bulk(&value), "not what was stored");
        assert!(client.reply() == bulk(&large), "not what was stored");
    }
}

#[test]
fn who_leaves_in_the_middle_of_a_giant_is_forgotten() {
    let (_cluster, proxy, value) = giant();
    let before = proxy.figure("ClientConnections");
    for _ in 0..10 {
        // Several at once: one is read from, others wait behind it.
        let _readers = [begin(&proxy), begin(&proxy), begin(&proxy)];
    }
    wait_until(SOON, "all of them to be gone", || proxy.figure("ClientConnections") <= before);
    let mut client = proxy.client();
    assert!(client.cmd(&["GET", "giant"]) == bulk(&value));
    assert_eq!(client.line("SET small 1"), ok());
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_giant_ends_its_readers_only() {
    if original_differs("buffers it whole for each of them") {
        return;
    }
    let (mut cluster, proxy, _) = giant();
    // The kernels between us can hold twenty megabytes, and deliver them after its death.
    let larger = "x".repeat(SIZE * 4);
    assert_eq!(cluster.node(0).client().cmd(&["SET", "giant", &larger]), ok());
    let mut idle = proxy.client();
    let mut readers: Vec<Client> = (0..3).map(|_| begin(&proxy)).collect();
    cluster.node_mut(0).kill();
    for reader in &mut readers {
        // What it has got cannot be taken back, so the end of the connection has to tell.
        let reply = reader.try_reply();
        assert!(reply.is_err(), "the connection goes on behind {} bytes", larger.len());
    }
    assert_eq!(idle.line("PING"), simple("PONG"));
}

#[test]
fn arrays_without_end_are_giants_too() {
    let proxy = Proxy::for_cluster(shared_cluster());
    let mut client = proxy.client();
    let element = "e".repeat(1000);
    for _ in 0..40 {
        let mut words = vec!["RPUSH", "giants:list"];
        words.resize(102, &element);
        client.cmd(&words);
    }
    let mut slow = proxy.client();
    for _ in 0..3 {
        slow.send(wire(&["LRANGE", "giants:list", "0", "-1"]));
    }
    wait_until(SOON, "the first bytes", || slow.has_something());
    assert_eq!(client.cmd(&["LLEN", "giants:list"]).number(), 4000);
    for _ in 0..3 {
        assert_eq!(slow.reply().elements().len(), 4000);
    }
    assert_eq!(client.cmd(&["DEL", "giants:list"]).number(), 1);
}
