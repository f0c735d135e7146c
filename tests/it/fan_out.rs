//! Commands that concern everything: KEYS, DBSIZE, FLUSHALL and the like go to every master, and
//! their replies become one.

use std::collections::BTreeSet;

use crate::support::{
    Answer, AnyPool, FakeServer, Proxy, RedisServer, SOON, Value, array, bulk, error, groups_conf,
    int, key_in_slots, ok, original_differs, server_has, simple, wait_until,
};

const NEVER_HAD: &str = "never had these commands";

fn set_of(reply: &Value) -> BTreeSet<String> {
    reply.elements().iter().map(Value::text).collect()
}

#[test]
fn keys_and_dbsize_see_the_keys_of_all_masters() {
    if original_differs(NEVER_HAD) {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        assert_eq!(client.line("DBSIZE"), int(0));
        assert_eq!(client.line("KEYS *"), array([]));
        let names: BTreeSet<String> = (0..100).map(|number| format!("key:{number}")).collect();
        for name in &names {
            assert_eq!(client.cmd(&["SET", name, "v"]), ok());
        }
        assert_eq!(client.line("DBSIZE"), int(100));
        let keys = client.line("KEYS *");
        assert_eq!((keys.elements().len(), set_of(&keys)), (100, names));
        assert_eq!(client.line("KEYS key:7?").elements().len(), 10);
    });
}

#[test]
fn flushall_empties_all_masters_and_keeps_its_place_in_a_pipeline() {
    if original_differs(NEVER_HAD) {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        let names: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
        for flush in ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC", "FLUSHDB SYNC"] {
            let mut lines: Vec<String> = names.iter().map(|name| format!("SET {name} 1")).collect();
            lines.extend(["DBSIZE", flush, "DBSIZE", "SET after 1", "DBSIZE"].map(str::to_owned));
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let replies = client.pipeline(&lines);
            assert_eq!(replies[40..], [int(40), ok(), int(0), ok(), int(1)], "{flush}");
            assert_eq!(client.line("DEL after"), int(1));
        }
        assert!(pool.masters().iter_mut().all(|master| master.line("DBSIZE") == int(0)));
    });
}

#[test]
fn they_are_for_the_database_that_was_selected() {
    if original_differs(NEVER_HAD) {
        return;
    }
    let pool = AnyPool::groups(2, "");
    let [mut first, mut third] = [pool.proxy.client(), pool.proxy.client()];
    assert_eq!(third.line("SELECT 3"), ok());
    for number in 0..20 {
        assert_eq!(first.line(&format!("SET k{number} 1")), ok());
        assert_eq!(third.line(&format!("SET third:k{number} 1")), ok());
    }
    assert_eq!(third.line("DBSIZE"), int(20));
    assert!(third.line("KEYS *").elements().iter().all(|key| key.text().starts_with("third")));
    assert_eq!(third.line("FLUSHDB"), ok());
    assert_eq!((first.line("DBSIZE"), third.line("DBSIZE")), (int(20), int(0)));
    assert_eq!(first.line("FLUSHALL"), ok());
    assert_eq!(first.line("DBSIZE"), int(0));
}

#[test]
fn functions_are_the_same_on_all_masters() {
    if original_differs(NEVER_HAD) || !server_has(7, 0) {
        return;
    }
    let library = "#!lua name=lib\nredis.register_function('f', function(keys) return redis.call('INCR', keys[1]) end)";
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        assert_eq!(client.cmd(&["FUNCTION", "LOAD", library]), bulk("lib"));
        for number in 0..20 {
            assert_eq!(client.line(&format!("FCALL f 1 key{number}")), int(1));
        }
        let again = client.cmd(&["FUNCTION", "LOAD", library]);
        assert_eq!(again, error("ERR Library 'lib' already exists"));
        assert_eq!(client.line("FUNCTION DELETE lib"), ok());
        for number in 0..20 {
            let gone = client.line(&format!("FCALL f 1 key{number}"));
            assert_eq!(gone, error("ERR Function not found"));
        }
        let idle = client.line("FUNCTION KILL");
        assert!(idle.error_text().is_some_and(|text| text.starts_with("NOTBUSY")), "{idle:?}");
        assert_eq!(client.line("FUNCTION FLUSH"), ok());
    });
}

#[test]
fn channels_of_all_masters_are_told() {
    if original_differs("asks one server only") {
        return;
    }
    AnyPool::each(|pool| {
        let mut subscribers = pool.masters();
        for (index, subscriber) in subscribers.iter_mut().enumerate() {
            subscriber.line(&format!("SUBSCRIBE all own:{index}"));
            subscriber.reply();
            subscriber.line("PSUBSCRIBE p*");
        }
        let count = subscribers.len();
        let mut client = pool.proxy.client();
        let want: BTreeSet<String> =
            (0..count).map(|index| format!("own:{index}")).chain(["all".to_owned()]).collect();
        let channels = client.line("PUBSUB CHANNELS");
        assert_eq!((channels.elements().len(), set_of(&channels)), (count + 1, want));
        let all = i64::try_from(count).unwrap();
        let want = array([bulk("own:0"), int(1), bulk("all"), int(all), bulk("none"), int(0)]);
        assert_eq!(client.line("PUBSUB NUMSUB own:0 all none"), want);
        // Each has one, and tests that run beside this one may have more.
        assert!(client.line("PUBSUB NUMPAT").number() >= 1);
    });
}

#[test]
fn other_things_that_every_master_has() {
    if original_differs(NEVER_HAD) {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        let saved = pool.masters().iter_mut().map(|master| master.line("LASTSAVE").number()).min();
        assert_eq!(Some(client.line("LASTSAVE").number()), saved);
        assert_eq!(client.line("MEMORY PURGE"), ok());
        let idle = client.line("SCRIPT KILL");
        assert!(idle.error_text().is_some_and(|text| text.starts_with("NOTBUSY")), "{idle:?}");
    });
}

#[test]
fn what_cannot_be_put_together_is_for_one_master_only() {
    if original_differs(NEVER_HAD) {
        return;
    }
    let refused = error(
        "ERR command 'swapdb' is not available through the proxy: several servers share the keys",
    );
    for pool in [AnyPool::cluster(), AnyPool::groups(2, "")] {
        assert_eq!(pool.proxy.client().line("SWAPDB 0 1"), refused);
    }
    let pool = AnyPool::groups(1, "");
    let mut client = pool.proxy.client();
    assert_eq!(client.line("SET a 1"), ok());
    assert_eq!(client.line("SWAPDB 0 2"), ok());
    assert_eq!(client.line("DBSIZE"), int(0));
    assert_eq!(client.line("SELECT 2"), ok());
    assert_eq!(client.line("GET a"), bulk("1"));
}

#[test]
fn emptying_a_database_takes_the_rights_of_an_admin() {
    if original_differs(NEVER_HAD) {
        return;
    }
    let authority = "Authority {\nAuth w {\nMode write\n}\nAuth a {\nMode admin\n}\n\
                     Auth k {\nMode admin\nKeyPrefix mine\n}\n}";
    let pool = AnyPool::groups(2, authority);
    let mut client = pool.proxy.client();
    assert_eq!(client.line("AUTH w"), ok());
    assert_eq!(client.line("SET k 1"), ok());
    for line in ["FLUSHALL", "FLUSHDB", "MEMORY PURGE"] {
        assert_eq!(client.line(line), error("ERR auth permission deny"), "{line}");
    }
    assert_eq!(client.line("DBSIZE"), int(1));
    assert_eq!(client.line("AUTH k"), ok());
    for line in ["KEYS *", "DBSIZE", "SCAN 0", "RANDOMKEY"] {
        assert_eq!(client.line(line), error("ERR auth permission deny"), "{line}");
    }
    assert_eq!(client.line("AUTH a"), ok());
    assert_eq!(client.line("FLUSHALL"), ok());
    assert_eq!(client.line("DBSIZE"), int(0));
}

#[test]
fn an_error_of_one_master_is_the_reply() {
    if original_differs(NEVER_HAD) {
        return;
    }
    let fakes = FakeServer::start_cluster(3, |index, heard| match (heard.name().as_str(), index) {
        ("DBSIZE" | "KEYS" | "FLUSHALL", 1) => Answer::text("-ERR not today\r\n"),
        ("DBSIZE", _) => Answer::text(":1\r\n"),
        ("KEYS", _) => Answer::text("*1\r\n$1\r\nk\r\n"),
        ("FLUSHALL", _) => Answer::text("+OK\r\n"),
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(3);
    let mut client = proxy.client();
    for line in ["DBSIZE", "KEYS *", "FLUSHALL"] {
        assert_eq!(client.line(line), error("ERR not today"), "{line}");
    }
    for fake in &fakes {
        assert_eq!(fake.heard_named("FLUSHALL").len(), 1);
    }
    assert_eq!(client.line("PING"), simple("PONG"));
}

#[test]
fn a_master_that_is_away_is_an_error_and_not_a_smaller_number() {
    if original_differs(NEVER_HAD) {
        return;
    }
    let mut servers = [RedisServer::start(), RedisServer::start()];
    let addresses: Vec<String> = servers.iter().map(RedisServer::address).collect();
    let proxy = Proxy::start(&groups_conf(&addresses));
    let mut client = proxy.client();
    assert_eq!(client.line("DBSIZE"), int(0));
    servers[1].kill();
    // The first one may be told that the connection, which had been idle, is closed.
    let no_connection = error("ERR no server connection avaliable");
    wait_until(SOON, "the proxy to notice", || client.line("DBSIZE") == no_connection);
    assert_eq!(client.line("FLUSHALL"), no_connection);
    servers[1].restart();
    wait_until(SOON, "the proxy to notice", || client.line("DBSIZE") == int(0));
}

#[test]
fn a_pool_of_which_nobody_is_known_has_no_server() {
    if original_differs(NEVER_HAD) {
        return;
    }
    let fakes = [FakeServer::start(|_| Answer::text("-ERR cluster support disabled\r\n"))];
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    let mut client = proxy.client();
    for line in ["DBSIZE", "KEYS *", "SCRIPT EXISTS x", "SWAPDB 0 1"] {
        assert_eq!(client.line(line), error("ERR no server avaliable"), "{line}");
    }
}

/// Two fakes of which the first has a million keys, so to speak; a connection to the proxy.
fn many_keys(limit: &str) -> (Vec<FakeServer>, Proxy) {
    let fakes = FakeServer::start_cluster(2, |index, heard| match (heard.name().as_str(), index) {
        ("KEYS", 0) => Answer::text(format!(
            "*200000\r\n{}",
            "$20\r\na-key-of-20-bytes-xx\r\n".repeat(200_000)
        )),
        ("KEYS", _) => Answer::text("*1\r\n$4\r\nlast\r\n"),
        ("GET", _) => Answer::bulk("v"),
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&format!("{limit}\n{}", FakeServer::conf(&fakes, "")));
    proxy.wait_for_servers(2);
    (fakes, proxy)
}

#[test]
fn a_reply_of_millions_of_bytes_comes_whole() {
    if original_differs(NEVER_HAD) {
        return;
    }
    let (_fakes, proxy) = many_keys("");
    let mut client = proxy.client();
    let key = key_in_slots(0..8192, "k");
    client.send(crate::support::wire(&["GET", &key]));
    for _ in 0..3 {
        client.send(crate::support::wire(&["KEYS", "*"]));
    }
    client.send(crate::support::wire(&["GET", &key]));
    assert_eq!(client.reply(), bulk("v"));
    for _ in 0..3 {
        let keys = client.reply();
        assert_eq!(keys.elements().len(), 200_001);
        assert_eq!(keys.elements().last(), Some(&bulk("last")));
    }
    assert_eq!(client.reply(), bulk("v"));
}

#[test]
fn whoever_asks_for_more_than_the_limit_is_cut_off_alone() {
    if original_differs(NEVER_HAD) {
        return;
    }
    let (_fakes, proxy) = many_keys("ClientOutputLimit 3M");
    let (mut greedy, mut other) = (proxy.client(), proxy.client());
    let key = key_in_slots(0..8192, "k");
    assert_eq!(other.cmd(&["GET", &key]), bulk("v"));
    greedy.send(crate::support::wire(&["KEYS", "*"]));
    greedy.expect_closed();
    assert_eq!(other.cmd(&["GET", &key]), bulk("v"));
    assert!(proxy.log().contains("asked for more than"), "{}", proxy.log());
}
