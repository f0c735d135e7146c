//! Clients that do not read, send too slowly, close by halves, or come in great numbers: the others
//! are served and the process stays small.

use std::time::{Duration, Instant};

use crate::support::{
    Answer, Client, FakeServer, Heard, Lost, Proxy, RedisCluster, SOON, bulk, error, ok,
    original_differs, shared_cluster, simple, wait_until, wire,
};

fn proxy() -> Proxy {
    Proxy::for_cluster(shared_cluster())
}

/// Sends requests for a megabyte each and reads nothing, until nothing more is taken from us.
fn ask_without_reading(client: &mut Client, key: &str, count: usize) {
    client.set_deadline(Duration::from_millis(500));
    let request = wire(&["GET", key]);
    for _ in 0..count {
        if client.try_send(&request).is_err() {
            return;
        }
    }
}

/// What it holds at most while others are being served for a while.
fn peak_kb_while_serving(proxy: &mut Proxy) -> u64 {
    let mut witness = proxy.client();
    let (mut peak, until) = (0, Instant::now() + Duration::from_secs(3));
    while Instant::now() < until {
        assert_eq!(witness.line("SET slow:w 1"), ok());
        assert_eq!(witness.line("GET slow:w"), bulk("1"));
        peak = peak.max(proxy.process().resident_kb());
    }
    peak
}

/// A node and a proxy that do not share their pain with other tests, and a key that holds a megabyte.
fn private(lines: &str) -> (RedisCluster, Proxy, &'static str) {
    let cluster = RedisCluster::start(1, 0);
    let proxy = Proxy::start(&format!("{lines}\n{}", cluster.conf()));
    proxy.wait_for_servers(1);
    assert_eq!(proxy.client().cmd(&["SET", "megabyte", &"m".repeat(1 << 20)]), ok());
    (cluster, proxy, "megabyte")
}

#[test]
fn d47_a_client_that_never_reads_does_not_fill_the_memory() {
    if original_differs("D-47: buffers without end") {
        return;
    }
    let (_cluster, mut proxy, key) = private("");
    let mut deaf = proxy.client();
    ask_without_reading(&mut deaf, key, 600);
    let peak_kb = peak_kb_while_serving(&mut proxy);
    assert!(peak_kb < 400 * 1024, "{peak_kb} KB for one client that does not read");
}

#[test]
fn d47_the_limit_of_a_client_that_never_reads_can_be_set() {
    if original_differs("D-47: has no such limit") {
        return;
    }
    let (_cluster, mut proxy, key) = private("ClientOutputLimit 4M");
    let mut deaf: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut deaf {
        ask_without_reading(client, key, 60);
    }
    let peak_kb = peak_kb_while_serving(&mut proxy);
    assert!(peak_kb < 100 * 1024, "{peak_kb} KB for four clients with a limit of 4 MB");
}

#[test]
fn a_client_that_reads_late_gets_everything_in_order() {
    let proxy = proxy();
    let mut client = proxy.client();
    let values: Vec<String> = (0..30).map(|number| format!("{number}:").repeat(100_000)).collect();
    for (number, value) in values.iter().enumerate() {
        assert_eq!(client.cmd(&["SET", &format!("late:{number}"), value]), ok());
    }
    let requests: Vec<u8> =
        (0..30).flat_map(|number| wire(&["GET", &format!("late:{number}")])).collect();
    client.send(requests);
    // The proxy has all requests before we read the first reply.
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
    for value in &values {
        assert!(client.reply() == bulk(value));
    }
}

#[test]
fn a_client_that_sends_byte_by_byte_is_served() {
    let proxy = proxy();
    let (mut client, mut witness) = (proxy.client(), proxy.client());
    for request in
        [wire(&["SET", "bytewise:a", "value"]), wire(&["MGET", "bytewise:a", "bytewise:b"])]
    {
        for byte in &request {
            client.send([*byte]);
            assert_eq!(witness.line("PING"), simple("PONG"));
        }
    }
    assert_eq!(client.reply(), ok());
    assert_eq!(client.reply().elements()[0], bulk("value"));
}

#[test]
fn a_client_that_takes_long_to_say_something_is_not_idle() {
    let pool = shared_cluster().conf();
    let proxy = Proxy::start(&format!("ClientTimeout 1\n{pool}"));
    proxy.wait_for_servers(shared_cluster().len());
    let (mut client, mut witness) = (proxy.client(), proxy.client());
    let long = "x".repeat(100_000);
    for request in [wire(&["SET", "slow:a", "v"]), wire(&["SET", "slow:b", &long])] {
        let piece = request.len().div_ceil(8);
        for part in request.chunks(piece) {
            client.send(part);
            let begun = Instant::now();
            wait_until(SOON, "a third of a second to pass", || {
                assert_eq!(witness.line("PING"), simple("PONG"));
                begun.elapsed() > Duration::from_millis(330)
            });
        }
        assert_eq!(client.reply(), ok());
    }
}

#[test]
fn d31_a_client_that_closes_its_half_gets_its_replies_and_the_end() {
    if original_differs("D-31: does not see the end that comes with the last data") {
        return;
    }
    let proxy = proxy();
    let before = proxy.figure("ClientConnections");
    let mut clients: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(wire(&["SET", "half:close", "1"]).repeat(50));
        client.send(wire(&["GET", "half:close"]));
        client.shut_down_write();
    }
    for client in &mut clients {
        (0..50).for_each(|_| assert_eq!(client.reply(), ok()));
        assert_eq!(client.reply(), bulk("1"));
        client.expect_closed();
    }
    wait_until(SOON, "all of them to be gone", || proxy.figure("ClientConnections") <= before);
}

#[test]
fn a_client_that_leaves_in_the_middle_is_forgotten() {
    let proxy = proxy();
    let before = proxy.figure("ClientConnections");
    for count in 1..50 {
        let mut client = proxy.client();
        client.send(wire(&["GET", "leaves:a"]).repeat(count));
        client.send("*3\r\n$3\r\nSET\r\n$8\r\nlea");
    }
    wait_until(SOON, "all of them to be gone", || proxy.figure("ClientConnections") <= before);
}

#[test]
fn ten_thousand_idle_clients_disturb_nobody() {
    const COUNT: usize = 10_000;
    let limit = predixy::sys::resource::raise_descriptor_limit();
    if limit < (COUNT + 500) as u64 {
        eprintln!("skipped: this account may open {limit} descriptors only");
        return;
    }
    let mut proxy = proxy();
    let before_kb = proxy.process().resident_kb();
    let mut idle: Vec<Client> = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let mut client = proxy.client();
        client.send("PING\r\n");
        idle.push(client);
    }
    for client in &mut idle {
        assert_eq!(client.reply(), simple("PONG"));
    }
    let mut witness = proxy.client();
    for _ in 0..100 {
        assert_eq!(witness.line("SET idle:a 1"), ok());
        assert_eq!(witness.line("GET idle:a"), bulk("1"));
    }
    let each = (proxy.process().resident_kb().saturating_sub(before_kb)) * 1024 / COUNT as u64;
    assert!(each < 8192, "{each} bytes for each idle client");
    assert_eq!(idle[COUNT / 2].line("GET idle:a"), bulk("1"));
}

#[test]
fn d56_with_64_descriptors_old_clients_are_served_and_new_ones_wait_or_are_told() {
    if original_differs("D-56: forgets those who wait") {
        return;
    }
    let pool = shared_cluster().conf_with("    RefreshInterval 100ms");
    let conf = format!("WorkerThreads 1\n{pool}");
    let proxy = Proxy::with(&conf).descriptor_limit(64).start();
    proxy.wait_for_servers(6);
    let mut old = proxy.client();
    // All server connections that will be needed are there before the crowd is.
    for master in 0..3 {
        let key = shared_cluster().key_on(master, "limit:");
        assert_eq!(old.cmd(&["SET", &key, "1"]), ok());
    }
    let mut crowd: Vec<Client> = Vec::new();
    let (mut served, mut turned_away) = (0, 0);
    while turned_away < 5 && crowd.len() < 200 {
        let mut client = proxy.client();
        client.set_deadline(Duration::from_millis(300));
        match client.try_cmd(&["PING"]) {
            Ok(reply) if reply == simple("PONG") => served += 1,
            Ok(reply) => {
                assert!(
                    reply.error_text().is_some_and(|text| text.contains("max number of clients")),
                    "{reply:?}"
                );
                turned_away += 1;
            }
            Err(Lost::Closed | Lost::TimedOut) => turned_away += 1,
            Err(lost) => panic!("{lost:?}"),
        }
        crowd.push(client);
    }
    assert!(served >= 10, "only {served} clients with 64 descriptors");
    assert_eq!(turned_away, 5, "64 descriptors cannot serve {served} clients");
    for master in 0..3 {
        let key = shared_cluster().key_on(master, "limit:");
        assert_eq!(old.cmd(&["GET", &key]), bulk("1"));
    }
    crowd.clear();
    wait_until(SOON, "new clients to be served again", || {
        let mut client = proxy.client();
        client.set_deadline(Duration::from_secs(1));
        client.try_cmd(&["PING"]) == Ok(simple("PONG"))
    });
    assert_eq!(old.line("PING"), simple("PONG"));
}

#[test]
fn a_client_has_at_most_4096_requests_under_way() {
    if original_differs("no limit") {
        return;
    }
    const MOST: usize = 4096;
    let silence = |heard: &Heard| match heard.name().as_str() {
        "SET" => Answer::Silence,
        _ => Answer::Usual,
    };
    let fake = FakeServer::start(silence);
    let proxy = Proxy::start(&FakeServer::conf(std::slice::from_ref(&fake), ""));
    proxy.wait_for_servers(1);
    let (mut client, mut other) = (proxy.client(), proxy.client());
    let count = MOST + 1500;
    client.send(wire(&["SET", "k", "v"]).repeat(count));
    wait_until(SOON, "the server to have what it may have", || {
        fake.heard_named("SET").len() >= MOST
    });
    // There is one thread: it has been through all that it reads several times by now.
    for _ in 0..50 {
        assert_eq!(other.line("PING"), simple("PONG"));
    }
    assert_eq!(fake.heard_named("SET").len(), MOST);
    fake.cut_connections();
    (0..MOST).for_each(|_| assert_eq!(client.reply(), error("ERR server connection close")));
    wait_until(SOON, "the server to have the rest", || fake.heard_named("SET").len() == count);
    fake.cut_connections();
    (MOST..count).for_each(|_| assert_eq!(client.reply(), error("ERR server connection close")));
}

#[test]
fn what_a_burst_has_taken_goes_back_to_the_system() {
    if original_differs("it keeps what it has") {
        return;
    }
    const MEGABYTE: u64 = 1 << 20;
    let (_cluster, proxy, _) = private("");
    let mut witness = proxy.client();
    assert_eq!(witness.cmd(&["SET", "k", &"x".repeat(60_000)]), ok());
    let mut used = || {
        let info = witness.line("INFO SystemResource").text();
        let line = info.lines().find_map(|line| line.strip_prefix("UsedMemory:"));
        line.and_then(|bytes| bytes.trim().parse::<u64>().ok()).expect("a number of bytes")
    };
    let before = used();
    let mut clients: Vec<Client> = (0..40).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(wire(&["GET", "k"]).repeat(150));
    }
    wait_until(SOON, "much to be used", || used() > before + 4 * MEGABYTE);
    let value = bulk("x".repeat(60_000));
    for client in &mut clients {
        (0..150).for_each(|_| assert_eq!(client.reply(), value));
    }
    wait_until(SOON, "it to be given back", || used() < before + MEGABYTE);
}
