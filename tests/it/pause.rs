//! PROXY PAUSE and RESUME: requests wait, clients stay.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{
    Answer, AnyPool, Client, FakeServer, Proxy, RedisServer, SOON, Value, array, bulk, error,
    groups_conf, int, ok, original_differs, shared_cluster, simple, wait_until,
};

const LACKS: &str = "has no PROXY command";

#[test]
fn requests_wait_and_are_answered_in_their_order_afterwards() {
    if original_differs(LACKS) {
        return;
    }
    AnyPool::each(|pool| {
        let mut admin = pool.proxy.client();
        let mut clients: Vec<Client> = (0..6).map(|_| pool.proxy.client()).collect();
        for client in &mut clients {
            assert_eq!(client.line("SET pause:k 0"), ok());
        }
        assert_eq!(admin.line("PROXY PAUSE"), ok());
        for (number, client) in clients.iter_mut().enumerate() {
            // What we answer ourselves is answered; what comes behind a request that waits is not.
            assert_eq!(client.line("ECHO here"), bulk("here"));
            let key = format!("pause:{number}");
            client.send(crate::support::wire(&["SET", &key, "1"]));
            client.send(crate::support::wire(&["INCR", &key]));
            client.send(crate::support::wire(&["PING"]));
            let large = "x".repeat(200_000);
            client.send(crate::support::wire(&["APPEND", &format!("{key}:large"), &large]));
            client.send(crate::support::wire(&["MGET", &key, "pause:none"]));
            client.send(crate::support::wire(&["MULTI"]));
            client.send(crate::support::wire(&["INCR", &key]));
            client.send(crate::support::wire(&["EXEC"]));
        }
        let seen =
            pool.masters().iter_mut().map(|master| master.line("DBSIZE").number()).sum::<i64>();
        assert_eq!(seen, 1, "nothing reaches a server");
        assert!(clients.iter_mut().all(|client| !client.has_something()));
        assert_eq!(admin.line("PROXY RESUME"), ok());
        for client in &mut clients {
            let replies: Vec<Value> = (0..8).map(|_| client.reply()).collect();
            assert_eq!(replies[..4], [ok(), int(2), simple("PONG"), int(200_000)]);
            assert_eq!(replies[4], array([bulk("2"), Value::Nil]));
            assert_eq!(replies[5..], [ok(), simple("QUEUED"), array([int(3)])]);
        }
    });
}

#[test]
fn a_pause_ends_by_itself() {
    if original_differs(LACKS) {
        return;
    }
    let proxy = Proxy::for_cluster(shared_cluster());
    let (mut admin, mut client) = (proxy.client(), proxy.client());
    let before = Instant::now();
    assert_eq!(admin.line("PROXY PAUSE 300"), ok());
    assert_eq!(client.line("SET pause:time 1"), ok());
    assert!(before.elapsed() >= Duration::from_millis(300), "{:?}", before.elapsed());
    for wrong in ["PROXY PAUSE 0", "PROXY PAUSE x", "PROXY PAUSE -1", "PROXY PAUSE 3600001"] {
        let want = error("ERR PROXY PAUSE wants milliseconds, 1 to 3600000");
        assert_eq!(admin.line(wrong), want, "{wrong}");
    }
    assert!(admin.line("PROXY PAUSE 1 2").error_text().is_some());
    assert_eq!(admin.line("PROXY RESUME"), ok(), "also without a pause");
    assert!(admin.line("PROXY HELP").elements().len() > 3);
}

#[test]
fn pause_answers_when_what_was_under_way_is_done() {
    if original_differs(LACKS) {
        return;
    }
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waits = Arc::clone(&gate);
    let fakes = [FakeServer::start(move |heard| match heard.name().as_str() {
        "GET" => {
            let open = waits.0.lock().expect("the gate");
            drop(waits.1.wait_while(open, |open| !*open).expect("the gate"));
            Answer::bulk("v")
        }
        _ => Answer::Usual,
    })];
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{}", FakeServer::conf(&fakes, "")));
    proxy.wait_for_servers(1);
    let mut slow = proxy.client();
    slow.send(crate::support::wire(&["GET", "k"]));
    wait_until(SOON, "the request to arrive", || !fakes[0].heard_named("GET").is_empty());
    let (mut admin, mut other) = (proxy.client(), proxy.client());
    admin.send(crate::support::wire(&["PROXY", "PAUSE"]));
    // The pause has begun when a request waits.
    let wait = thread::spawn(move || {
        let reply = other.line("GET other");
        (other, reply)
    });
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
    assert!(!admin.has_something(), "a request is under way");
    *gate.0.lock().expect("the gate") = true;
    gate.1.notify_all();
    assert_eq!(slow.reply(), bulk("v"));
    assert_eq!(admin.reply(), ok());
    assert_eq!(admin.line("PROXY RESUME"), ok());
    let (mut other, reply) = wait.join().expect("the other client");
    assert_eq!(reply, bulk("v"));
    assert_eq!(other.line("GET k"), bulk("v"));
}

#[test]
fn a_server_can_be_restarted_during_a_pause_and_nobody_notices() {
    if original_differs(LACKS) {
        return;
    }
    let mut server = RedisServer::start();
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{}", groups_conf(&[server.address()])));
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.line("SET pause:k 1"), ok()));
    let mut admin = proxy.client();
    assert_eq!(admin.line("PROXY PAUSE"), ok());
    for client in &mut clients {
        client.send(crate::support::wire(&["SET", "pause:k", "2"]));
    }
    server.kill();
    server.restart();
    assert_eq!(admin.line("PROXY RESUME"), ok());
    clients.iter_mut().for_each(|client| assert_eq!(client.reply(), ok()));
}

#[test]
fn who_leaves_during_a_pause_has_asked_nothing() {
    if original_differs(LACKS) {
        return;
    }
    AnyPool::each(|pool| {
        let mut admin = pool.proxy.client();
        assert_eq!(admin.line("PROXY PAUSE"), ok());
        let mut leaving: Vec<Client> = (0..4).map(|_| pool.proxy.client()).collect();
        for client in &mut leaving {
            client.send(crate::support::wire(&["SET", "pause:left", "1"]));
        }
        let received = pool.proxy.figure("TotalRecvClientBytes");
        let mut stays = pool.proxy.client();
        stays.send(crate::support::wire(&["SET", "pause:stays", "1"]));
        wait_until(SOON, "all requests to arrive", || {
            pool.proxy.figure("TotalRecvClientBytes") > received + 30
        });
        drop(leaving);
        wait_until(SOON, "the clients to be gone", || pool.proxy.figure("ClientConnections") == 3);
        assert_eq!(admin.line("PROXY RESUME"), ok());
        assert_eq!(stays.reply(), ok());
        assert_eq!(stays.line("EXISTS pause:left pause:stays"), int(1));
    });
}

#[test]
fn only_admins_may_pause_and_a_stop_does_not_wait_for_the_end_of_it() {
    if original_differs(LACKS) {
        return;
    }
    let authority = "Authority {\nAuth w {\nMode write\n}\nAuth a {\nMode admin\n}\n}\n";
    let conf = format!("{authority}ClientTimeout 1\n{}", shared_cluster().conf());
    let mut proxy = Proxy::start(&conf);
    let mut client = proxy.client();
    assert_eq!(client.line("AUTH w"), ok());
    assert_eq!(client.line("PROXY PAUSE"), error("ERR auth permission deny"));
    let mut admin = proxy.client();
    assert_eq!(admin.line("AUTH a"), ok());
    assert_eq!(admin.line("PROXY PAUSE"), ok());
    client.send(crate::support::wire(&["SET", "pause:auth", "1"]));
    // Who waits is not idle; who looks around is not kept waiting.
    let begin = Instant::now();
    wait_until(SOON, "more time than a client may be idle", || {
        assert_eq!(admin.line("PING"), simple("PONG"));
        begin.elapsed() > Duration::from_millis(1500)
    });
    assert!(!client.has_something(), "it is still there");
    assert!(proxy.terminate().success());
    client.expect_closed();
}
