//! SLOWLOG: which requests took long, and where the time went.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{
    Answer, Client, FakeServer, Proxy, RedisCluster, RedisServer, SOON, Value, bulk, error,
    groups_conf, int, ok, original_differs, shared_cluster, wait_until,
};

fn entries(client: &mut Client, line: &str) -> Vec<Vec<Value>> {
    client.line(line).elements().iter().map(|entry| entry.elements().to_vec()).collect()
}

/// The words of an entry, between blanks.
fn words(entry: &[Value]) -> String {
    entry[3].elements().iter().map(Value::text).collect::<Vec<String>>().join(" ")
}

#[test]
fn slow_requests_are_told_with_who_and_where() {
    if original_differs("no SLOWLOG") {
        return;
    }
    // Of its own: since Redis 7.2 the clock stands still in a script until it counts as busy, after 5 s.
    let cluster = RedisCluster::start(1, 0);
    let conf = cluster.conf();
    let proxy = Proxy::start(&format!("SlowlogLogSlowerThan 400ms\nWorkerThreads 2\n{conf}"));
    proxy.wait_for_servers(1);
    let mut client = proxy.client();
    client.line("CLIENT SETNAME me");
    client.line("GET slow:quick");
    // Redis itself is slow: a script that is busy for a while.
    let busy = "local t=redis.call('TIME') local s=t[1]*1000000+t[2] \
                repeat t=redis.call('TIME') until t[1]*1000000+t[2]-s>600000 return 1";
    client.cmd(&["EVAL", busy, "1", "slow:busy", &"y".repeat(200)]);
    assert_eq!(client.line("SLOWLOG LEN"), int(1));
    let entries = entries(&mut client, "SLOWLOG GET");
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(entry.len(), 9);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(entry[1].number() as u64 <= now && entry[1].number() as u64 + 60 > now);
    assert!(entry[2].number() >= 600_000, "{entry:?}");
    let shown = words(entry);
    assert!(shown.starts_with("EVAL local t=") && shown.contains(" return 1 1 slow:busy yyy"));
    assert!(shown.ends_with("... (72 more bytes)"), "{shown}");
    assert!(entry[4].text().starts_with("127.0.0.1:"), "{entry:?}");
    assert_eq!(entry[5], bulk("me"));
    // It was sent at once; all the time is the server's, and that is one of the cluster's.
    assert!(entry[6].number() < 400_000 && entry[7].number() >= 400_000, "{entry:?}");
    assert_eq!(entry[6].number() + entry[7].number(), entry[2].number());
    assert!(proxy.servers().iter().any(|server| server.address == entry[8].text()));

    assert_eq!(client.line("SLOWLOG RESET"), ok());
    assert_eq!(client.line("SLOWLOG LEN"), int(0));
    assert_eq!(client.line("SLOWLOG GET").elements(), []);
    let help = client.line("SLOWLOG HELP");
    assert!(help.elements().iter().any(|line| line.text().starts_with("GET")), "{help:?}");
}

#[test]
fn settings_take_effect_at_once_and_counts_are_redis_s() {
    if original_differs("no SLOWLOG") {
        return;
    }
    let proxy = Proxy::start(&format!(
        "SlowlogLogSlowerThan -1\nWorkerThreads 2\n{}",
        shared_cluster().conf()
    ));
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    clients[0].line("GET slow:x");
    assert_eq!(clients[0].line("SLOWLOG GET -1").elements(), []);
    assert_eq!(clients[0].line("CONFIG SET SlowlogLogSlowerThan 0"), ok());
    // The other thread is told, too, but later.
    wait_until(SOON, "every thread to log", || {
        clients[0].line("SLOWLOG RESET");
        clients.iter_mut().for_each(|client| drop(client.line("GET slow:x")));
        clients[0].line("SLOWLOG LEN") == int(4)
    });
    for number in 0..20 {
        for client in &mut clients {
            client.line(&format!("SET slow:{number} x"));
        }
    }
    let client = &mut clients[0];
    let first = entries(client, "SLOWLOG GET");
    assert_eq!(first.len(), 10);
    let last = ["SET slow:19 x", "SET slow:18 x", "SET slow:17 x"];
    assert!(first.iter().all(|entry| last.contains(&&words(entry)[..])), "{first:?}");
    let ids: Vec<i64> = entries(client, "SLOWLOG GET -1").iter().map(|e| e[0].number()).collect();
    assert!(ids.len() >= 84 && ids.is_sorted_by(|one, next| one > next), "{ids:?}");
    assert_eq!(entries(client, "SLOWLOG GET 3").len(), 3);
    assert_eq!(
        client.line("SLOWLOG GET -2"),
        error("ERR count should be greater than or equal to -1")
    );
    assert_eq!(client.line("SLOWLOG GET x"), error("ERR value is not an integer or out of range"));
    assert_eq!(client.line("CONFIG SET SlowlogMaxLen 7"), ok());
    wait_until(SOON, "a shorter log", || client.line("SLOWLOG LEN") == int(7));
    assert_eq!(entries(client, "SLOWLOG GET -1").len(), 7);
    assert_eq!(client.line("CONFIG SET SlowlogLogSlowerThan -1"), ok());
    wait_until(SOON, "nobody to log", || {
        client.line("SLOWLOG RESET");
        client.line("GET slow:x");
        client.line("SLOWLOG LEN") == int(0)
    });
}

/// What waits for a server to come is not that server's fault.
#[test]
fn the_time_before_it_was_sent_is_told_apart() {
    if original_differs("no SLOWLOG") {
        return;
    }
    // The handshake takes a while: PING is answered when the test says so.
    let may_go = Arc::new(AtomicBool::new(false));
    let waits = Arc::clone(&may_go);
    let server = FakeServer::start(move |heard| {
        if heard.words[0] == b"PING" {
            let until = std::time::Instant::now() + SOON;
            while !waits.load(Ordering::Relaxed) && std::time::Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
            return Answer::Bytes(b"+PONG\r\n".to_vec());
        }
        if heard.words[0] == b"GET" {
            Answer::Bytes(b"$1\r\nx\r\n".to_vec())
        } else {
            Answer::Usual
        }
    });
    let conf = groups_conf(&[server.address()]);
    let conf = conf.replace("Databases", "ConnectTimeout 30\n    Databases");
    let proxy = Proxy::start(&format!("SlowlogLogSlowerThan 100ms\n{conf}"));
    let mut client = proxy.client();
    client.send(b"GET slow:held\r\n");
    wait_until(SOON, "the handshake to begin", || !server.heard_named("PING").is_empty());
    let held = std::time::Instant::now();
    wait_until(SOON, "some time to pass", || held.elapsed() > Duration::from_millis(150));
    may_go.store(true, Ordering::Relaxed);
    assert_eq!(client.reply(), bulk("x"));
    let entries = entries(&mut client, "SLOWLOG GET");
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(words(entry), "GET slow:held");
    assert!(entry[2].number() >= 150_000 && entry[6].number() >= 140_000, "{entry:?}");
    assert_eq!(entry[8], bulk(server.address()));
}

/// Nobody calls it slow that a client wants to wait.
#[test]
fn blocking_is_not_slow_and_transactions_are() {
    if original_differs("no SLOWLOG") {
        return;
    }
    let server = RedisServer::start();
    let proxy =
        Proxy::start(&format!("SlowlogLogSlowerThan 0\n{}", groups_conf(&[server.address()])));
    let mut client = proxy.client();
    client.line("BLPOP slow:list 0.05");
    client.line("MULTI");
    client.line("SET slow:t 1");
    client.line("EXEC");
    client.line("PING");
    let seen: Vec<String> =
        entries(&mut client, "SLOWLOG GET").iter().rev().map(|entry| words(entry)).collect();
    assert!(seen.contains(&"EXEC".to_owned()), "{seen:?}");
    assert!(!seen.iter().any(|words| words.starts_with("BLPOP")), "{seen:?}");
}
