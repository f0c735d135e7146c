//! EVAL, EVALSHA and SCRIPT, as if there were one server that knows every script.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::support::{
    Answer, AnyPool, Client, FakeServer, Proxy, RedisCluster, SOON, Value, array, bulk, error, int,
    key_in_slots, ok, original_differs, server_has, simple, slot_of, wait_until,
};

const INCR: &str = "return redis.call('INCR', KEYS[1])";
const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";

/// Whether a server says that it does not know a script; Valkey is brief about it.
fn is_no_script(reply: &Value) -> bool {
    reply.error_text().is_some_and(|text| text.starts_with("NOSCRIPT No matching script."))
}

#[track_caller]
fn load(client: &mut Client, body: &str) -> String {
    let reply = client.cmd(&["SCRIPT", "LOAD", body]);
    assert!(reply.error_text().is_none(), "{reply:?}");
    reply.text()
}

#[test]
fn eval_goes_to_the_owner_of_its_keys() {
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        for number in 0..20 {
            let key = format!("key:{number}");
            assert_eq!(client.cmd(&["EVAL", INCR, "1", &key]), int(1));
            assert_eq!(client.cmd(&["GET", &key]), bulk("1"));
            let read = "return redis.call('GET', KEYS[1])";
            if server_has(7, 0) && !original_differs("has no EVAL_RO") {
                assert_eq!(client.cmd(&["EVAL_RO", read, "1", &key]), bulk("1"));
            }
        }
        assert_eq!(client.cmd(&["EVAL", "return ARGV[1]", "0", "x"]), bulk("x"));
    });
}

#[test]
fn a_script_that_was_loaded_is_known_to_all_masters() {
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        let digest = load(&mut client, INCR);
        for number in 0..20 {
            assert_eq!(client.cmd(&["EVALSHA", &digest, "1", &format!("key:{number}")]), int(1));
        }
        for master in &mut pool.masters() {
            assert_eq!(master.cmd(&["SCRIPT", "EXISTS", &digest]), array([int(1)]));
        }
        if original_differs("knows SCRIPT LOAD only") {
            return;
        }
        let none = "0".repeat(40);
        let exists = client.cmd(&["SCRIPT", "EXISTS", &digest, &none, &digest]);
        assert_eq!(exists, array([int(1), int(0), int(1)]));
        let wrong = client.cmd(&["SCRIPT", "LOAD", "return ("]);
        assert!(wrong.error_text().is_some_and(|text| text.contains("compiling")), "{wrong:?}");
    });
}

#[test]
fn a_script_that_was_flushed_is_known_to_nobody() {
    if original_differs("knows SCRIPT LOAD only") {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        let digest = load(&mut client, INCR);
        for flush in ["SCRIPT FLUSH", "SCRIPT FLUSH ASYNC", "SCRIPT FLUSH SYNC"] {
            assert_eq!(client.line(flush), ok());
            for number in 0..10 {
                let reply = client.cmd(&["EVALSHA", &digest, "1", &format!("key:{number}")]);
                assert!(is_no_script(&reply), "{reply:?}");
            }
            assert_eq!(client.cmd(&["SCRIPT", "EXISTS", &digest]), array([int(0)]));
            assert_eq!(load(&mut client, INCR), digest);
        }
    });
}

#[test]
fn d66_a_server_that_does_not_know_a_script_is_told() {
    if original_differs("D-66: passes NOSCRIPT on") {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        let digest = load(&mut client, INCR);
        // As if all servers were new.
        for master in &mut pool.masters() {
            assert_eq!(master.line("SCRIPT FLUSH"), ok());
        }
        for number in 0..10 {
            let upper = digest.to_uppercase();
            assert_eq!(client.cmd(&["EVALSHA", &upper, "1", &format!("key:{number}")]), int(1));
        }
        for master in &mut pool.masters() {
            assert_eq!(master.cmd(&["SCRIPT", "EXISTS", &digest]), array([int(1)]));
        }
        let none = "0".repeat(40);
        let reply = client.cmd(&["EVALSHA", &none, "1", "key"]);
        assert!(is_no_script(&reply), "{reply:?}");
    });
}

#[test]
fn d66_a_server_that_does_not_know_a_script_executes_it_in_a_transaction() {
    if original_differs("D-66: passes NOSCRIPT on") {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        let read = "return redis.call('GET', KEYS[1])";
        let (incr, get) = (load(&mut client, INCR), load(&mut client, read));
        let forget = || {
            for master in &mut pool.masters() {
                assert_eq!(master.line("SCRIPT FLUSH"), ok());
            }
        };
        for number in 0..4 {
            let key = format!("key:{number}");
            let read_only = if server_has(7, 0) { "EVALSHA_RO" } else { "EVALSHA" };
            forget();
            let lines = [
                "MULTI".to_owned(),
                format!("EVALSHA {} 1 {key}", incr.to_uppercase()),
                format!("INCR {key}"),
                format!("{read_only} {get} 1 {key}"),
                "EXEC".to_owned(),
            ];
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(client.pipeline(&lines)[4], array([int(1), int(2), bulk("2")]));
            // Before the first key it is not known who will be asked.
            forget();
            assert_eq!(client.line("MULTI"), ok());
            assert_eq!(client.line(&format!("EVALSHA {get} 0")), simple("QUEUED"));
            assert_eq!(client.line(&format!("GET {key}")), simple("QUEUED"));
            let replies = client.line("EXEC").elements().to_vec();
            assert!(!is_no_script(&replies[0]) && replies[1] == bulk("2"), "{replies:?}");
        }
        // A script that is too long to be sent along is said to be missing, as by a server.
        let long = format!("return 1 --{}", "x".repeat(70_000));
        let digest = load(&mut client, &long);
        let exec = |client: &mut Client| {
            let call = format!("EVALSHA {digest} 1 key");
            client.pipeline(&["MULTI", &call, "EXEC"])[2].elements()[0].clone()
        };
        assert_eq!(exec(&mut client), int(1));
        forget();
        assert!(is_no_script(&exec(&mut client)));
    });
}

#[test]
fn d66_a_master_that_comes_later_and_one_that_is_away_change_nothing() {
    if original_differs("D-66: one dead server fails it") {
        return;
    }
    let mut cluster = RedisCluster::start(2, 1);
    let proxy = Proxy::for_cluster(&cluster);
    let mut client = proxy.client();
    // A dead replica is nobody's business.
    let dead = cluster.replica_of(1);
    cluster.node_mut(dead).kill();
    let digest = load(&mut client, INCR);
    let key = cluster.key_on(0, "key");
    assert_eq!(client.cmd(&["EVALSHA", &digest, "1", &key]), int(1));
    let replica = cluster.replica_of(0);
    assert_eq!(cluster.node(0).client().line("WAIT 1 10000"), int(1));
    let mut later = cluster.node(replica).client();
    assert_eq!(later.line("SCRIPT FLUSH"), ok());
    assert_eq!(later.line("CLUSTER FAILOVER TAKEOVER"), ok());
    let address = cluster.node(replica).address();
    wait_until(SOON, "the proxy to know the new master", || {
        proxy.servers().iter().any(|server| server.address == address && server.role == "master")
    });
    assert_eq!(client.cmd(&["EVALSHA", &digest, "1", &key]), int(2));
}

/// A fake that never knows a script, and one that knows those that it was told.
fn fake(learns: bool, known: &'static str) -> (Vec<FakeServer>, Proxy) {
    let told = AtomicUsize::new(0);
    let fakes = vec![FakeServer::start(move |heard| match heard.name().as_str() {
        "SCRIPT" => {
            told.fetch_add(1, Ordering::SeqCst);
            Answer::bulk("e0e1f9fabfc9d4800c877a703b823ac0578ff8db")
        }
        "EVALSHA" if learns && told.load(Ordering::SeqCst) > 1 => Answer::text(":7\r\n"),
        "EVALSHA" => Answer::text(known),
        "GET" => Answer::bulk("v"),
        _ => Answer::Usual,
    })];
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(1);
    (fakes, proxy)
}

const DIGEST: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
const NO_SCRIPT_LINE: &str = "-NOSCRIPT No matching script. Please use EVAL.\r\n";

#[test]
fn a_call_is_repeated_once_and_only_if_it_was_not_executed() {
    if original_differs("D-66: passes NOSCRIPT on") {
        return;
    }
    let (fakes, proxy) = fake(true, NO_SCRIPT_LINE);
    let mut client = proxy.client();
    load(&mut client, "return 7");
    assert_eq!(client.cmd(&["EVALSHA", DIGEST, "1", "k"]), int(7));
    let heard: Vec<String> = fakes[0].heard().iter().map(|heard| heard.word(0)).collect();
    assert!(heard.ends_with(&["EVALSHA", "SCRIPT", "EVALSHA"].map(str::to_owned)), "{heard:?}");

    let (fakes, proxy) = fake(false, NO_SCRIPT_LINE);
    let mut client = proxy.client();
    load(&mut client, "return 7");
    assert_eq!(client.cmd(&["EVALSHA", DIGEST, "1", "k"]), error(NO_SCRIPT));
    assert_eq!(fakes[0].heard_named("EVALSHA").len(), 2);

    // Words of a script, which has been executed.
    let (fakes, proxy) = fake(true, "-NOSCRIPT of the play\r\n");
    let mut client = proxy.client();
    load(&mut client, "return 7");
    assert_eq!(client.cmd(&["EVALSHA", DIGEST, "1", "k"]), error("NOSCRIPT of the play"));
    assert_eq!(fakes[0].heard_named("EVALSHA").len(), 1);
}

#[test]
fn a_call_is_not_repeated_behind_what_its_client_has_sent_after_it() {
    if original_differs("D-66: passes NOSCRIPT on") {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let mut client = pool.proxy.client();
    let digest = load(&mut client, INCR);
    assert_eq!(pool.masters()[0].line("SCRIPT FLUSH"), ok());
    let call = format!("EVALSHA {digest} 1 k");
    let replies = client.pipeline(&[&call, "SET k 5", "GET k"]);
    assert!(replies[0] == int(1) || is_no_script(&replies[0]), "{replies:?}");
    assert_eq!(replies[1..], [ok(), bulk("5")]);
    assert_eq!(client.line("GET k"), bulk("5"));
    // The server knows it now in any case.
    assert_eq!(client.pipeline(&[&call, "GET k", &call]), [int(6), bulk("6"), int(7)]);
}

#[test]
fn d08_a_client_that_leaves_while_its_script_is_loaded_harms_nobody() {
    if original_differs("D-08: dies") {
        return;
    }
    let fakes = FakeServer::start_cluster(3, |index, heard| match (heard.name().as_str(), index) {
        ("SCRIPT", 1) => {
            thread::sleep(std::time::Duration::from_millis(30));
            Answer::bulk(DIGEST)
        }
        ("SCRIPT", _) => Answer::bulk(DIGEST),
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{}", FakeServer::conf(&fakes, "")));
    proxy.wait_for_servers(3);
    let wire = crate::support::wire(&["SCRIPT", "LOAD", "return 7"]);
    for _ in 0..20 {
        let mut client = proxy.client();
        client.send(wire.repeat(3));
        drop(client);
    }
    let heard = || fakes.iter().map(|fake| fake.heard_named("SCRIPT").len()).min();
    wait_until(SOON, "all to be sent", || heard() == Some(60));
    let mut client = proxy.client();
    assert_eq!(load(&mut client, "return 7"), DIGEST);
    assert_eq!(client.line("PING"), simple("PONG"));
}

#[test]
fn an_error_of_one_master_is_the_reply_to_script_load() {
    let fakes = FakeServer::start_cluster(2, |index, heard| match (heard.name().as_str(), index) {
        ("SCRIPT", 0) => Answer::bulk(DIGEST),
        ("SCRIPT", _) => Answer::text("-ERR no room\r\n"),
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["SCRIPT", "LOAD", "return 7"]), error("ERR no room"));
}

#[test]
fn a_call_that_followed_ask_follows_it_once_more_when_it_is_repeated() {
    if original_differs("D-66: passes NOSCRIPT on") {
        return;
    }
    let key = key_in_slots(0..8192, "k");
    let slot = slot_of(key.as_bytes());
    let port = Arc::new(OnceLock::<u16>::new());
    let (for_script, asked, knows) =
        (Arc::clone(&port), AtomicBool::new(false), AtomicBool::new(false));
    let fakes = FakeServer::start_cluster(2, move |index, heard| {
        let name = heard.name();
        let was_asked = index == 1 && asked.swap(name == "ASKING", Ordering::SeqCst);
        match (&*name, index) {
            ("SCRIPT", _) => Answer::bulk(DIGEST),
            ("ASKING", _) => Answer::text("+OK\r\n"),
            ("EVALSHA", 0) => {
                Answer::text(format!("-ASK {slot} 127.0.0.1:{}\r\n", for_script.wait()))
            }
            ("EVALSHA", _) if !was_asked => Answer::text(format!("-MOVED {slot} 127.0.0.1:1\r\n")),
            ("EVALSHA", _) if !knows.swap(true, Ordering::SeqCst) => Answer::text(NO_SCRIPT_LINE),
            ("EVALSHA", _) => Answer::text(":7\r\n"),
            _ => Answer::Usual,
        }
    });
    port.set(fakes[1].port()).unwrap();
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    load(&mut client, "return 7");
    assert_eq!(client.cmd(&["EVALSHA", DIGEST, "1", &key]), int(7));
    let names = ["ASKING", "EVALSHA", "SCRIPT"].map(str::to_owned);
    let heard = fakes[1].heard().into_iter().map(|heard| heard.name());
    let heard: Vec<String> = heard.filter(|name| names.contains(name)).collect();
    assert_eq!(heard[1..], ["ASKING", "EVALSHA", "SCRIPT", "ASKING", "EVALSHA"]);
}
