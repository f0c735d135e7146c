//! ClientTimeout, ServerTimeout, and connections to servers that go away.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{
    Answer, Client, FakeServer, Proxy, RedisCluster, SOON, Value, bulk, key_in_slots, nodes_line,
    ok, original_differs, shared_cluster, simple, wait_until, wire,
};

#[test]
fn an_idle_client_is_closed_and_a_busy_one_is_not() {
    let pool = shared_cluster().conf();
    let proxy = Proxy::start(&format!("ClientTimeout 1\n{pool}"));
    proxy.wait_for_servers(6);
    let (mut idle, mut busy) = (proxy.client(), proxy.client());
    let began = Instant::now();
    assert_eq!(idle.line("PING"), simple("PONG"));
    wait_until(SOON, "the idle client to be closed", || {
        assert_eq!(busy.line("PING"), simple("PONG"));
        idle.has_something()
    });
    idle.expect_closed();
    assert!(began.elapsed() >= Duration::from_millis(900), "closed after {:?}", began.elapsed());
    assert_eq!(busy.line("PING"), simple("PONG"));
}

/// Two fakes of which the first never answers GET.
fn one_is_mute(lines: &str) -> (Vec<FakeServer>, Proxy) {
    let fakes = FakeServer::start_cluster(2, |index, heard| match (heard.name().as_str(), index) {
        ("GET" | "SET", 0) => Answer::Silence,
        ("GET", _) => Answer::bulk("fine"),
        ("SET", _) => Answer::text("+OK\r\n"),
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, lines));
    proxy.wait_for_servers(2);
    (fakes, proxy)
}

fn keys() -> [String; 2] {
    [key_in_slots(0..8192, "k"), key_in_slots(8192..16384, "k")]
}

#[test]
fn a_server_that_does_not_answer_in_time_costs_that_request() {
    let (_fakes, proxy) = one_is_mute("    ServerTimeout 500ms");
    let [first, second] = keys();
    let mut client = proxy.client();
    for name in ["SET", "GET"] {
        let words = if name == "SET" { vec![name, &first, "v"] } else { vec![name, &first] };
        let reply = client.cmd(&words);
        assert!(reply.error_text().is_some(), "{name}: {reply:?}");
        assert_eq!(client.cmd(&["GET", &second]), bulk("fine"));
    }
}

#[test]
fn a_pipeline_over_a_mute_server_keeps_its_order() {
    let (_fakes, proxy) = one_is_mute("    ServerTimeout 500ms");
    let [first, second] = keys();
    let mut client = proxy.client();
    let (mute, fine) = (wire(&["GET", &first]), wire(&["GET", &second]));
    client.send([&fine, &mute, &fine, &mute, &fine].map(Vec::as_slice).concat());
    assert_eq!(client.reply(), bulk("fine"));
    for _ in 0..2 {
        assert!(client.reply().error_text().is_some());
        assert_eq!(client.reply(), bulk("fine"));
    }
}

#[test]
fn without_a_time_out_others_are_served_while_one_waits() {
    let (fakes, proxy) = one_is_mute("");
    let [first, second] = keys();
    let mut waiting = proxy.client();
    waiting.send(wire(&["GET", &first]));
    wait_until(SOON, "the mute server to have it", || !fakes[0].heard_named("GET").is_empty());
    let mut witness = proxy.client();
    for _ in 0..100 {
        assert_eq!(witness.cmd(&["GET", &second]), bulk("fine"));
    }
    assert!(!waiting.has_something());
    drop(waiting);
    assert_eq!(witness.cmd(&["GET", &second]), bulk("fine"));
}

#[test]
fn a_paused_server_costs_its_own_requests_only() {
    let cluster = RedisCluster::start(3, 0);
    let proxy = Proxy::start(&cluster.conf_with("    RefreshInterval 100ms\n    ServerTimeout 1"));
    proxy.wait_for_servers(3);
    let keys: Vec<String> = (0..3).map(|master| cluster.key_on(master, "paused:")).collect();
    let mut client = proxy.client();
    for key in &keys {
        assert_eq!(client.cmd(&["SET", key, key]), ok());
    }
    cluster.node(0).pause();
    let mut waiting = proxy.client();
    waiting.send(wire(&["GET", &keys[0]]));
    for _ in 0..50 {
        assert_eq!(client.cmd(&["GET", &keys[1]]), bulk(&keys[1]));
        assert_eq!(client.cmd(&["GET", &keys[2]]), bulk(&keys[2]));
    }
    let reply = waiting.reply();
    assert!(reply.error_text().is_some(), "{reply:?}");
    cluster.node(0).resume();
    wait_until(SOON, "the server to be used again", || {
        client.cmd(&["GET", &keys[0]]) == bulk(&keys[0])
    });
}

#[test]
fn a_server_connection_that_is_cut_costs_its_own_requests_only() {
    let (fakes, proxy) = one_is_mute("");
    let [first, second] = keys();
    let (mut lost, mut other) = (proxy.client(), proxy.client());
    lost.send(wire(&["SET", &first, "v"]));
    wait_until(SOON, "the server to have it", || !fakes[0].heard_named("SET").is_empty());
    fakes[0].cut_connections();
    // A write whose fate is unknown is not repeated.
    let reply = lost.reply();
    assert!(reply.error_text().is_some(), "{reply:?}");
    assert_eq!(fakes[0].heard_named("SET").len(), 1);
    for client in [&mut lost, &mut other] {
        assert_eq!(client.cmd(&["GET", &second]), bulk("fine"));
        assert_eq!(client.cmd(&["SET", &second, "v"]), ok());
    }
}

#[test]
fn d49_killed_connections_of_a_real_server_come_back_at_once() {
    if original_differs("D-10, D-49: takes the server for failed") {
        return;
    }
    let cluster = RedisCluster::start(3, 0);
    let proxy = Proxy::for_cluster(&cluster);
    let key = cluster.key_on(1, "killed:");
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    for round in 0..20 {
        assert!(cluster.node(1).kill_client_connections() >= 0);
        for client in &mut clients {
            // At most the request that was under way is lost, and its client knows.
            let value = round.to_string();
            let reply = client.cmd(&["SET", &key, &value]);
            if reply != ok() {
                assert!(matches!(reply, Value::Error(_)), "{reply:?}");
                assert_eq!(
                    client.cmd(&["SET", &key, &value]),
                    ok(),
                    "round {round}: the second try"
                );
            }
            assert_eq!(client.cmd(&["GET", &key]), bulk(&value));
        }
    }
}

#[test]
fn d09_a_server_that_is_gone_is_an_error_and_no_more() {
    let mut cluster = RedisCluster::start(3, 0);
    let proxy = Proxy::start(&cluster.conf_with("    RefreshInterval 100ms\n    ServerTimeout 1"));
    proxy.wait_for_servers(3);
    let keys: Vec<String> = (0..3).map(|master| cluster.key_on(master, "gone:")).collect();
    let mut client = proxy.client();
    for key in &keys {
        assert_eq!(client.cmd(&["SET", key, "1"]), ok());
    }
    cluster.node_mut(0).kill();
    for _ in 0..20 {
        let reply = client.try_cmd(&["GET", &keys[0]]);
        assert!(matches!(reply, Ok(Value::Error(_))), "{reply:?}");
        assert_eq!(client.cmd(&["GET", &keys[1]]), bulk("1"));
    }
    cluster.node_mut(0).restart();
    wait_until(SOON, "the server to be used again", || client.cmd(&["SET", &keys[0], "2"]) == ok());
    assert_eq!(client.cmd(&["GET", &keys[0]]), bulk("2"));
}

#[test]
fn a_cut_and_mute_server_is_an_error_each_time() {
    let (fakes, proxy) = one_is_mute("    ServerTimeout 300ms");
    let [first, second] = keys();
    let mut client = proxy.client();
    for _ in 0..5 {
        fakes[0].cut_connections();
        let reply = client.cmd(&["SET", &first, "v"]);
        assert!(matches!(reply, Value::Error(_)), "{reply:?}");
        assert_eq!(client.cmd(&["GET", &second]), bulk("fine"));
    }
}

#[test]
fn d68_a_connect_that_nobody_accepts_ends_in_time() {
    if original_differs("D-68: waits for ever") {
        return;
    }
    let Some((listener, _crowd)) = full_listener() else {
        eprintln!("skipped: this system takes connections that nobody accepts");
        return;
    };
    let fakes = FakeServer::start_cluster(2, |_, heard| match heard.name().as_str() {
        "GET" => Answer::bulk("fine"),
        _ => Answer::Usual,
    });
    let full = listener.local_addr().unwrap();
    let nodes = nodes_line(1, &format!("{full}@1"), "master", "-", "0-8191")
        + &nodes_line(2, &fakes[1].bus_address(), "master", "-", "8192-16383");
    fakes[1].set_nodes(&nodes);
    // Without a ServerTimeout, so that nothing but the time-out for connects ends it.
    let proxy = Proxy::start(&FakeServer::conf(&fakes[1..], ""));
    proxy.wait_for_servers(2);
    let [first, second] = keys();
    let mut client = proxy.client();
    let reply = client.cmd(&["SET", &first, "v"]);
    assert!(matches!(reply, Value::Error(_)), "{reply:?}");
    assert_eq!(client.cmd(&["GET", &second]), bulk("fine"));
}

/// A listener whose queue is full: further connects are neither accepted nor refused.
fn full_listener() -> Option<(TcpListener, Vec<TcpStream>)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut crowd = Vec::new();
    for _ in 0..5000 {
        match TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            Ok(stream) => crowd.push(stream),
            Err(_) => return Some((listener, crowd)),
        }
    }
    None
}
