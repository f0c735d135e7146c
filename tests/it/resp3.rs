//! RESP3: what a client that has said HELLO 3 gets is, byte for byte, what one Redis would say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{
    Answer, AnyPool, Client, FakeServer, Lost, Proxy, RedisCluster, RedisServer, SOON, Value, bulk,
    error, groups_conf, int, key_in_slots, ok, original_differs, server_has, simple, wait_until,
    wire,
};

const MISSING: &str = "D-36: no HELLO and no RESP3";
/// What a fake answers to HELLO 3.
const HELLO: &str = "%2\r\n$7\r\nversion\r\n$5\r\n1.2.3\r\n$5\r\nproto\r\n:3\r\n";

/// A client that speaks RESP3.
#[track_caller]
fn resp3(mut client: Client) -> Client {
    let hello = client.line("HELLO 3");
    assert!(matches!(hello, Value::Map(_)), "{hello:?}");
    client
}

/// The same asked from the proxy and from one server of its own.
struct Twins {
    _server: RedisServer,
    direct: Client,
    proxied: Client,
    version: &'static str,
}

impl Twins {
    /// Both speak this version of the protocol.
    #[track_caller]
    fn new(proxy: &Proxy, version: &'static str) -> Twins {
        let server = RedisServer::start();
        let (mut direct, mut proxied) = (server.client(), proxy.client());
        for client in [&mut direct, &mut proxied] {
            client.line(&format!("HELLO {version}"));
        }
        Twins { _server: server, direct, proxied, version }
    }

    /// They answer with the same bytes.
    #[track_caller]
    fn same(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let want = raw(&mut self.direct, &words);
        assert_eq!(raw(&mut self.proxied, &words), want, "RESP{}: {line}", self.version);
    }

    /// They answer with the same elements, in any order.
    #[track_caller]
    fn same_elements(&mut self, line: &str) {
        let (want, got) = (self.direct.line(line), self.proxied.line(line));
        assert_eq!(std::mem::discriminant(&got), std::mem::discriminant(&want), "{line}: {got:?}");
        let sorted = |value: &Value| {
            let mut elements: Vec<String> =
                value.elements().iter().map(|element| format!("{element:?}")).collect();
            elements.sort();
            elements
        };
        assert_eq!(sorted(&got), sorted(&want), "RESP{}: {line}", self.version);
    }
}

/// The bytes of one reply.
#[track_caller]
fn raw<A: AsRef<[u8]>>(client: &mut Client, words: &[A]) -> String {
    client.send(wire(words));
    client.raw_reply().escape_ascii().to_string()
}

/// A field of a reply to HELLO.
#[track_caller]
fn field(hello: &Value, name: &str) -> Value {
    let flat: Vec<Value> = match hello {
        Value::Map(pairs) => {
            pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect()
        }
        other => other.elements().to_vec(),
    };
    let at = flat.iter().step_by(2).position(|key| *key == bulk(name));
    flat[2 * at.unwrap_or_else(|| panic!("no {name} in {hello:?}")) + 1].clone()
}

/// Commands whose replies are the same whoever has the keys.
const ALIKE: &[&str] = &[
    "SET {t}s value",
    "GET {t}s",
    "GET {t}none",
    "GETDEL {t}none",
    "SET {t}s 10 XX GET",
    "INCRBYFLOAT {t}s 0.5",
    "STRLEN {t}s",
    "HSET {t}h a 1 b 2 c 3",
    "HGETALL {t}h",
    "HGETALL {t}none",
    "HMGET {t}h a none c",
    "HRANDFIELD {t}none 2 WITHVALUES",
    "HSCAN {t}h 0",
    "SADD {t}n 1 2 3",
    "SMEMBERS {t}n",
    "SMEMBERS {t}none",
    "SINTER {t}n {t}n",
    "SMISMEMBER {t}n 1 9",
    "SPOP {t}none 2",
    "ZADD {t}z 1.5 a 2 b inf c",
    "ZRANGE {t}z 0 -1",
    "ZRANGE {t}z 0 -1 WITHSCORES",
    "ZSCORE {t}z a",
    "ZSCORE {t}z none",
    "ZMSCORE {t}z a none c",
    "ZADD {t}z INCR 2 a",
    "ZINCRBY {t}z -1 b",
    "ZRANK {t}z none",
    "ZPOPMIN {t}z 2",
    "ZPOPMAX {t}none",
    "RPUSH {t}l a b c",
    "LPOP {t}none",
    "LPOP {t}l 2",
    "LPOP {t}none 2",
    "LPOS {t}l none",
    "GEOADD {t}g 13.361389 38.115556 p",
    "GEOPOS {t}g p none",
    "GEODIST {t}g p none",
    "GEOSEARCH {t}g FROMMEMBER p BYRADIUS 1 km WITHCOORD WITHDIST",
    "XADD {t}x 1-1 a b",
    "XADD {t}x 1-2 c d",
    "XRANGE {t}x - +",
    "XREAD COUNT 5 STREAMS {t}x 0",
    "XREAD COUNT 5 STREAMS {t}x 9",
    "XGROUP CREATE {t}x g 0",
    "XREADGROUP GROUP g c COUNT 1 STREAMS {t}x >",
    "XPENDING {t}x g",
    "XINFO STREAM {t}x",
    "XINFO GROUPS {t}x",
    "XAUTOCLAIM {t}x g c 0 0",
    "MGET {t}s {t}none {t}h",
    "DEL {t}none",
    "EXISTS {t}s {t}s",
    "TYPE {t}none",
    "OBJECT ENCODING {t}none",
    "EXPIRETIME {t}none",
    "DUMP {t}none",
    "LCS {t}s {t}s IDX",
    "GET {t}h",
    "HGETALL {t}s",
    "NOPE {t}s",
    "GET",
    "EVAL return(1==1) 1 {t}s",
    "EVAL return(false) 1 {t}s",
    "EVAL return{double=3.25} 1 {t}s",
    "EVAL return{map={a=1}} 1 {t}s",
    "EVAL return{set={a=true}} 1 {t}s",
    "EVAL return{big_number='1234567999999999999999999999999999'} 1 {t}s",
    "EVAL return{verbatim_string={string='abc',format='txt'}} 1 {t}s",
    "EVAL return{ok='fine'} 1 {t}s",
    "EVAL return{err='MINE'} 1 {t}s",
    "EVAL redis.setresp(3);return(redis.call('HGETALL',KEYS[1])) 1 {t}h",
    "EVAL redis.setresp(3);return(redis.call('ZSCORE',KEYS[1],'c')) 1 {t}z",
    "EVAL redis.setresp(3);return(redis.call('GET',KEYS[1])) 1 {t}none",
    "EVAL redis.setresp(2);return(redis.call('HGETALL',KEYS[1])) 1 {t}h",
    "PING",
    "PING x",
    "ECHO x",
    "CLIENT GETNAME",
    "CLIENT SETNAME x",
    "CLIENT GETNAME",
    "EXEC",
    "MULTI",
    "HGETALL {t}h",
    "HGET {t}h none",
    "HSET {t}h d 4",
    "EVAL return{double=0.5} 1 {t}h",
    "EVAL return{map={a={1,false}}} 1 {t}h",
    "EXEC",
    "WATCH {t}s",
    "SET {t}s changed",
    "MULTI",
    "GET {t}s",
    "EXEC",
    "MULTI",
    "EXEC",
    "BLPOP {t}l 0.01",
    "BLPOP {t}none 0.01",
    "BZPOPMIN {t}z 1",
    "BLMOVE {t}none {t}none LEFT LEFT 0.01",
    "XREAD BLOCK 10 STREAMS {t}x 9",
    "XREAD BLOCK 10 STREAMS {t}x 1-1",
    "SELECT 0",
    "SELECT x",
    "SELECT 1000",
];

#[test]
fn replies_are_those_of_one_server_in_either_protocol() {
    if original_differs(MISSING) {
        return;
    }
    AnyPool::each(|pool| {
        for version in ["2", "3"] {
            let mut twins = Twins::new(&pool.proxy, version);
            for tag in ["{one}", "{another}"] {
                // Older servers quote otherwise what they do not know.
                let known = |line: &&&str| server_has(7, 0) || !line.starts_with("NOPE");
                for line in ALIKE.iter().filter(known) {
                    twins.same(&line.replace("{t}", &format!("{tag}{version}")));
                }
            }
        }
    });
}

#[test]
fn what_is_put_together_is_what_one_server_says() {
    if original_differs(MISSING) {
        return;
    }
    AnyPool::each(|pool| {
        for version in ["2", "3"] {
            let mut twins = Twins::new(&pool.proxy, version);
            twins.same("FLUSHALL");
            let pairs: String = (0..20).map(|index| format!(" k{index} v{index}")).collect();
            for line in [
                &format!("MSET{pairs}"),
                "MGET k1 none k2 k3 k1 k4 none2 k5",
                "EXISTS k1 k2 k3 none k1",
                "TOUCH k1 k2 k3 none",
                "DEL k1 k2 none",
                "UNLINK k3 k4 none",
                "DBSIZE",
                "XADD x1 1-1 a b",
                "XADD x2 1-1 a b",
                "XADD x3 1-1 a b",
                "XREAD STREAMS x1 x2 x3 none 0 0 0 0",
                "XREAD STREAMS x1 x2 x3 9 9 9",
                "SCRIPT LOAD return(1)",
                "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db x",
                "PUBSUB NUMSUB a b",
                "PUBSUB NUMSUB",
                "PUBSUB NUMPAT",
                "PUBSUB CHANNELS",
                "SCRIPT FLUSH",
                "FUNCTION FLUSH",
            ] {
                twins.same(line);
            }
            twins.same_elements("KEYS *");
            twins.same_elements("KEYS none*");
            let Twins { proxied, direct, .. } = &mut twins;
            let (mut found, mut cursor) = (BTreeSet::new(), "0".to_owned());
            loop {
                let step = proxied.cmd(&["SCAN", &cursor, "COUNT", "5"]);
                let [next, keys] = step.elements() else { panic!("{step:?}") };
                found.extend(keys.elements().iter().map(Value::text));
                cursor = next.text();
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(int(i64::try_from(found.len()).unwrap()), direct.line("DBSIZE"));
            assert!(found.contains(&proxied.line("RANDOMKEY").text()));
            assert_eq!(proxied.line("FLUSHALL"), ok());
            let nothing = if version == "3" { Value::Null } else { Value::Nil };
            assert_eq!(proxied.line("RANDOMKEY"), nothing);
        }
    });
}

/// What HELLO refuses, where a login is not asked for.
const REFUSED: &[&str] = &[
    "HELLO 4",
    "HELLO 1",
    "HELLO x",
    "HELLO 03",
    "HELLO 9223372036854775808",
    "HELLO 3 NOPE",
    "HELLO 3 NOPE x",
    "HELLO 3 AUTH",
    "HELLO 3 AUTH default",
    "HELLO 3 AUTH nobody x",
    "HELLO 3 SETNAME",
    "HELLO 3 AUTH default x SETNAME",
    "HELLO 4 NOPE",
];

#[test]
fn hello_says_what_a_server_says() {
    if original_differs(MISSING) {
        return;
    }
    AnyPool::each(|pool| {
        let mut twins = Twins::new(&pool.proxy, "2");
        REFUSED.iter().for_each(|line| twins.same(line));
        let name = [&b"HELLO"[..], b"3", b"SETNAME", b"a b"];
        assert_eq!(raw(&mut twins.proxied, &name), raw(&mut twins.direct, &name));
        // Nothing of that has changed anything.
        twins.same("GET none");
        twins.same("CLIENT GETNAME");
        let id = twins.proxied.line("CLIENT ID");
        for line in [
            "HELLO",
            "HELLO 2",
            "HELLO 3",
            "HELLO",
            "HELLO 3 SETNAME me",
            "HELLO 3 AUTH default any",
            "hello 3 setname other auth default any",
            "HELLO 2",
        ] {
            let (want, got) = (twins.direct.line(line), twins.proxied.line(line));
            assert_eq!(std::mem::discriminant(&got), std::mem::discriminant(&want), "{line}");
            for name in ["server", "version", "proto", "mode", "role", "modules"] {
                assert_eq!(field(&got, name), field(&want, name), "{line}: {name}");
            }
            assert_eq!(field(&got, "id"), id, "{line}");
            twins.same("CLIENT GETNAME");
            twins.same("GET none");
        }
    });
}

const AUTHORITY: &str = "Authority {\n    Auth secret {\n        Mode write\n    }\n\
    Auth word {\n        User joe\n        Mode admin\n    }\n}\n";

#[test]
fn hello_and_reset_with_passwords() {
    if original_differs(MISSING) {
        return;
    }
    if !server_has(7, 0) {
        return eprintln!("skipped: older servers let nobody say RESET before login");
    }
    let pool = AnyPool::groups(1, AUTHORITY);
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let (mut direct, mut proxied) = (server.client(), pool.proxy.client());
    let mut same = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        // Redis 7.0 leaves a word out.
        let want = raw(&mut direct, &words).replace("the HELLO AUTH", "the HELLO <proto> AUTH");
        assert_eq!(raw(&mut proxied, &words), want, "{line}");
    };
    for line in [
        "HELLO",
        "HELLO 3",
        "HELLO 3 SETNAME x",
        "HELLO 4",
        "HELLO 3 AUTH default wrong",
        "GET k",
        "RESET",
        "GET k",
    ] {
        same(line);
    }
    assert_eq!(field(&proxied.line("HELLO 3 AUTH default secret"), "proto"), int(3));
    assert_eq!(proxied.line("GET k"), Value::Null);
    // A login that fails leaves everything as it was.
    let error = proxied.line("HELLO 2 AUTH default wrong SETNAME y");
    assert!(error.error_text().unwrap().starts_with("WRONGPASS "), "{error:?}");
    assert_eq!(proxied.line("CLIENT GETNAME"), Value::Null);
    assert_eq!(proxied.line("GET k"), Value::Null);
    assert_eq!(field(&proxied.line("HELLO 3 AUTH joe word SETNAME y"), "proto"), int(3));
    assert!(matches!(proxied.line("CONFIG GET maxmemory"), Value::Map(_)));
    assert_eq!(proxied.line("RESET"), simple("RESET"));
    assert_eq!(proxied.line("GET k"), self::error("NOAUTH Authentication required."));
    assert_eq!(field(&proxied.line("HELLO 2 AUTH joe word"), "proto"), int(2));
    assert_eq!(proxied.line("CLIENT GETNAME"), Value::Nil);
}

#[test]
fn servers_with_passwords_are_greeted() {
    if original_differs(MISSING) {
        return;
    }
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    let acl = "ACL SETUSER joe on >word ~* +@all";
    let mut admin = server.client();
    assert_eq!(admin.line("AUTH secret"), ok());
    assert_eq!(admin.line(acl), ok());
    for login in ["    Password secret\n", "    Username joe\n    Password word\n"] {
        let pool = groups_conf(&[server.address()]);
        let pool = pool.replacen("    Databases 4\n", &format!("    Databases 4\n{login}"), 1);
        let proxy = Proxy::start(&pool);
        let mut client = resp3(proxy.client());
        assert_eq!(client.line("GET none"), Value::Null);
        assert_eq!(client.line("SELECT 3"), ok());
        assert_eq!(client.line("INCR k"), int(1));
        assert_eq!(client.line("SELECT 0"), ok());
        assert_eq!(client.line("GET k"), Value::Null);
        assert_eq!(admin.line("SELECT 3"), ok());
        assert_eq!(admin.line("DEL k"), int(1));
    }
}

#[test]
fn reset_makes_a_client_new() {
    if original_differs(MISSING) {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let server = RedisServer::start();
    let (mut direct, mut proxied) = (server.client(), pool.proxy.client());
    for client in [&mut direct, &mut proxied] {
        assert!(matches!(client.line("HELLO 3 SETNAME x"), Value::Map(_)));
    }
    for line in [
        "SELECT 2",
        "SET k there",
        "RESET",
        "GET k",
        "CLIENT GETNAME",
        "RESET x",
        // A transaction is over, and nothing of it was executed.
        "MULTI",
        "INCR n",
        "RESET",
        "EXEC",
        "GET n",
        // So is a watch.
        "SET w 1",
        "WATCH w",
        "RESET",
        "SET w 2",
        "MULTI",
        "GET w",
        "EXEC",
        // One that cannot succeed any more.
        "MULTI",
        "NOPE",
        "RESET",
        "MULTI",
        "EXEC",
    ] {
        if line == "NOPE" && !server_has(7, 0) {
            // They quote it otherwise.
            assert!(proxied.line(line).error_text().is_some());
            assert!(direct.line(line).error_text().is_some());
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(raw(&mut proxied, &words), raw(&mut direct, &words), "{line}");
    }
}

#[test]
fn reset_ends_monitor() {
    if original_differs(MISSING) {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let (mut watcher, mut other) = (pool.proxy.client(), pool.proxy.client());
    assert_eq!(watcher.line("MONITOR"), ok());
    assert_eq!(other.line("GET seen"), Value::Nil);
    assert!(watcher.reply().text().contains("\"seen\""));
    watcher.send("RESET\r\n");
    wait_until(SOON, "the end of it", || watcher.reply() == simple("RESET"));
    assert_eq!(other.line("GET unseen"), Value::Nil);
    assert_eq!(watcher.line("GET k"), Value::Nil);
    assert!(!watcher.has_something());
}

#[test]
fn a_pipeline_may_change_the_protocol_in_the_middle() {
    if original_differs(MISSING) {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        for round in 0..50 {
            let key = format!("{{{round}}}k");
            let lines = [
                &format!("DEL {key}"),
                &format!("SET {key} 1"),
                &format!("GET {key}none"),
                "HELLO 3",
                &format!("INCR {key}"),
                &format!("GET {key}none"),
                "RESET",
                &format!("INCR {key}"),
                &format!("GET {key}none"),
                "HELLO 3",
                "HELLO 2",
                &format!("GET {key}"),
            ];
            let replies = client.pipeline(&lines);
            assert_eq!(replies[1..3], [ok(), Value::Nil]);
            assert_eq!(replies[4..6], [int(2), Value::Null]);
            assert_eq!(replies[6..9], [simple("RESET"), int(3), Value::Nil]);
            assert_eq!(replies[11], bulk("3"));
        }
    });
}

#[test]
fn clients_of_both_protocols_do_not_get_each_others_replies() {
    if original_differs(MISSING) {
        return;
    }
    AnyPool::each(|pool| {
        let proxy = &pool.proxy;
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    let mut client = proxy.client();
                    let (version, null) =
                        if number % 2 == 0 { (2, Value::Nil) } else { (3, Value::Null) };
                    client.line(&format!("HELLO {version}"));
                    for round in 0..60 {
                        let lines: Vec<String> = (0..20)
                            .flat_map(|index| {
                                let key = format!("m{number}:{round}:{index}");
                                [
                                    format!("SET {key} {key}"),
                                    format!("GET {key}"),
                                    format!("GET no{key}"),
                                ]
                            })
                            .collect();
                        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                        let replies = client.pipeline(&lines);
                        for (index, replies) in replies.chunks(3).enumerate() {
                            let key = format!("m{number}:{round}:{index}");
                            assert_eq!(replies, [ok(), bulk(key), null.clone()]);
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn what_the_proxy_says_itself_has_the_right_form() {
    if original_differs(MISSING) {
        return;
    }
    let pool = AnyPool::groups(2, "");
    let mut client = resp3(pool.proxy.client());
    let config = client.line("CONFIG GET maxmemory");
    assert_eq!(config, Value::Map(vec![(bulk("MaxMemory"), bulk("0"))]));
    for line in ["INFO", "INFO proxy", "INFO nope"] {
        let info = client.line(line);
        assert!(matches!(&info, Value::Verbatim(text) if text.starts_with(b"txt:")), "{info:?}");
    }
    assert_eq!(client.line("CLIENT GETNAME"), Value::Null);
    let crossed = client.line("SUNION a b c d e f");
    assert!(matches!(&crossed, Value::Error(text) if text.starts_with("CROSSSLOT")), "{crossed:?}");
}

#[test]
fn transactions_are_answered_in_the_protocol_of_the_client() {
    if original_differs(MISSING) {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = resp3(pool.proxy.client());
        let mut other = pool.proxy.client();
        assert_eq!(client.line("HSET {t}h a 1"), int(1));
        for _ in 0..3 {
            // By turns, so that a link goes from one to the other.
            for (client, null, is_new) in
                [(&mut client, Value::Null, true), (&mut other, Value::Nil, false)]
            {
                assert_eq!(client.line("MULTI"), ok());
                assert_eq!(client.line("HGETALL {t}h"), simple("QUEUED"));
                assert_eq!(client.line("HGET {t}h none"), simple("QUEUED"));
                let executed = client.line("EXEC");
                let [map, nothing] = executed.elements() else { panic!("{executed:?}") };
                assert_eq!(matches!(map, Value::Map(_)), is_new, "{map:?}");
                assert_eq!(*nothing, null);
            }
        }
        // What is watched has changed.
        for (client, null) in [(&mut client, Value::Null), (&mut other, Value::NilArray)] {
            assert_eq!(client.line("WATCH {t}w"), ok());
            assert!(pool.proxy.client().line("INCR {t}w").number() > 0);
            assert_eq!(client.line("MULTI"), ok());
            assert_eq!(client.line("GET {t}w"), simple("QUEUED"));
            assert_eq!(client.line("EXEC"), null);
        }
        // The link that watches speaks one protocol.
        assert_eq!(client.line("WATCH {t}w"), ok());
        assert!(client.line("HELLO 2").error_text().unwrap().contains("watched"));
        assert!(matches!(client.line("HELLO 3"), Value::Map(_)));
        assert_eq!(client.line("UNWATCH"), ok());
        assert!(matches!(client.line("HELLO 2"), Value::Array(_)));
    });
}

#[test]
fn a_watch_that_is_lost_is_nil_in_either_protocol() {
    if original_differs(MISSING) {
        return;
    }
    let server = RedisServer::start();
    let proxy = Proxy::start(&groups_conf(&[server.address()]));
    for (version, nil) in [("2", Value::NilArray), ("3", Value::Null)] {
        let mut client = proxy.client();
        client.line(&format!("HELLO {version}"));
        assert_eq!(client.line("WATCH k"), ok());
        assert!(server.kill_client_connections() > 0);
        assert_eq!(client.line("MULTI"), ok());
        wait_until(SOON, "the loss to be seen", || client.line("GET k") == simple("QUEUED"));
        assert_eq!(client.line("EXEC"), nil);
    }
}

#[test]
fn large_requests_and_replies_in_both_protocols() {
    if original_differs(MISSING) {
        return;
    }
    AnyPool::each(|pool| {
        let mut new = resp3(pool.proxy.client());
        let mut old = pool.proxy.client();
        let body = "x".repeat(300_000);
        for (client, null) in [(&mut new, Value::Null), (&mut old, Value::Nil)] {
            for round in 0..3 {
                let key = format!("large{round}");
                assert_eq!(client.cmd(&["SET", &key, &body]), ok());
                assert!(client.cmd(&["GET", &key]) == bulk(&body));
                let none = format!("none{body}");
                assert_eq!(client.cmd(&["GET", &none]), null);
            }
            let fields: Vec<String> = (0..3000).map(|index| format!("f{index}")).collect();
            let mut words = vec!["HSET", "largehash"];
            fields.iter().for_each(|field| words.extend([field.as_str(), "value"]));
            client.cmd(&words);
            let all = client.line("HGETALL largehash");
            match all {
                Value::Map(pairs) => assert!(null == Value::Null && pairs.len() == 3000),
                Value::Array(flat) => assert!(null == Value::Nil && flat.len() == 6000),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn clients_follow_a_failover_in_either_protocol() {
    if original_differs(MISSING) {
        return;
    }
    let cluster = RedisCluster::start(2, 1);
    let proxy = Proxy::for_cluster(&cluster);
    let (mut old, mut new) = (proxy.client(), resp3(proxy.client()));
    let key = cluster.key_on(0, "failover");
    assert_eq!(new.cmd(&["HSET", &key, "f", "1"]), int(1));
    cluster.fail_over_to(cluster.replica_of(0));
    for round in 2..40 {
        let value = round.to_string();
        let client = if round % 2 == 0 { &mut new } else { &mut old };
        assert_eq!(client.cmd(&["HSET", &key, "f", &value]), int(0));
        let want = Value::Map(vec![(bulk("f"), bulk(&value))]);
        assert_eq!(new.cmd(&["HGETALL", &key]), want);
    }
}

#[test]
fn redirections_are_followed_in_the_protocol_of_the_client() {
    if original_differs(MISSING) {
        return;
    }
    let cluster = RedisCluster::start(2, 0);
    let proxy = Proxy::for_cluster(&cluster);
    let (mut old, mut new) = (proxy.client(), resp3(proxy.client()));
    let slot = cluster.slots_of(0).start;
    let tag = key_in_slots(slot..slot + 1, "moves");
    let (here, gone) = (format!("{{{tag}}}here"), format!("{{{tag}}}gone"));
    assert_eq!(new.cmd(&["HSET", &here, "a", "1"]), int(1));
    // ASK: the slot is on its way, and this key has arrived already or is nowhere.
    cluster.begin_migration(slot, 0, 1);
    assert_eq!(new.cmd(&["HGETALL", &gone]), Value::Map(vec![]));
    assert_eq!(old.cmd(&["GET", &gone]), Value::Nil);
    assert_eq!(new.cmd(&["GET", &gone]), Value::Null);
    while cluster.migrate_keys(slot, 0, 1, 10) > 0 {}
    cluster.end_migration(slot, 0, 1);
    // MOVED
    assert_eq!(new.cmd(&["HGETALL", &here]), Value::Map(vec![(bulk("a"), bulk("1"))]));
    assert_eq!(old.cmd(&["HGETALL", &here]), Value::Array(vec![bulk("a"), bulk("1")]));
    assert_eq!(new.cmd(&["BLPOP", &gone, "0.01"]), Value::Null);
    assert_eq!(old.cmd(&["BLPOP", &gone, "0.01"]), Value::NilArray);
}

/// A proxy before one fake that knows HELLO, and answers GET with these bytes.
fn before_fake(reply: impl Fn() -> Vec<u8> + Send + Sync + 'static) -> (FakeServer, Proxy) {
    let fake = FakeServer::start(move |heard| match (heard.name().as_str(), heard.word(1)) {
        ("HELLO", _) => Answer::text(HELLO),
        ("GET", _) => Answer::Bytes(reply()),
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&groups_conf(&[fake.address()]));
    (fake, proxy)
}

#[test]
fn every_type_of_resp3_is_passed_on() {
    if original_differs(MISSING) {
        return;
    }
    const TYPES: &[&str] = &[
        "_\r\n",
        "#t\r\n",
        "#f\r\n",
        ",1.5\r\n",
        ",-inf\r\n",
        ",nan\r\n",
        "(3492890328409238509324850943850943825024385\r\n",
        "!21\r\nSYNTAX invalid syntax\r\n",
        "=15\r\ntxt:Some string\r\n",
        "%2\r\n+k\r\n:1\r\n_\r\n~1\r\n#t\r\n",
        "~2\r\n_\r\n*1\r\n%0\r\n",
        "*2\r\n$-1\r\n*-1\r\n",
        "|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n",
        "|1\r\n+a\r\n%1\r\n+b\r\n_\r\n|1\r\n+c\r\n:1\r\n*2\r\n|1\r\n+d\r\n#f\r\n:1\r\n:2\r\n",
        "|1\r\n+a\r\n:1\r\n-ERR with an attribute\r\n",
    ];
    let turn = Arc::new(AtomicUsize::new(0));
    let next = Arc::clone(&turn);
    let (_fake, proxy) = before_fake(move || TYPES[next.load(Ordering::SeqCst)].into());
    let mut client = resp3(proxy.client());
    for (index, reply) in TYPES.iter().enumerate() {
        turn.store(index, Ordering::SeqCst);
        let want = reply.as_bytes().escape_ascii().to_string();
        assert_eq!(raw(&mut client, &["GET", "k"]), want);
        client.send(wire(&["GET", "k"]).repeat(3));
        for _ in 0..3 {
            assert_eq!(client.raw_reply().escape_ascii().to_string(), want);
        }
    }
    assert_eq!(client.line("PING"), simple("PONG"));
}

#[test]
fn a_push_that_nobody_asked_for_answers_nothing() {
    if original_differs(MISSING) {
        return;
    }
    let pushes: [String; 4] = [
        ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n".into(),
        "|1\r\n+a\r\n:1\r\n>1\r\n+x\r\n".into(),
        format!(">2\r\n+message\r\n$30000\r\n{}\r\n", "x".repeat(30_000)),
        format!(">1\r\n>1\r\n*2\r\n+a\r\n{}:1\r\n", ">1\r\n".repeat(2000)),
    ];
    for push in pushes {
        let reply = format!("{push}$4\r\nfine\r\n{push}");
        let (_fake, proxy) = before_fake(move || reply.clone().into_bytes());
        let mut client = resp3(proxy.client());
        for _ in 0..20 {
            assert_eq!(client.line("GET k"), bulk("fine"));
        }
        client.send(wire(&["GET", "k"]).repeat(20));
        (0..20).for_each(|_| assert_eq!(client.reply(), bulk("fine")));
        assert!(!client.has_something());
        assert!(proxy.log().contains("unasked push"));
    }
}

#[test]
fn a_server_without_resp3_serves_resp2_and_says_so_to_others() {
    if original_differs(MISSING) {
        return;
    }
    for refusal in [
        "-ERR unknown command 'HELLO', with args beginning with: '3'\r\n",
        "-NOPROTO unsupported protocol version\r\n",
        "-NOPERM this user has no permissions to run the 'hello' command\r\n",
        "+OK\r\n",
    ] {
        let fake = FakeServer::start(move |heard| match heard.name().as_str() {
            "HELLO" => Answer::text(refusal),
            "GET" => Answer::bulk("fine"),
            _ => Answer::Usual,
        });
        let proxy = Proxy::start(&groups_conf(&[fake.address()]));
        let (mut client, mut witness) = (proxy.client(), proxy.client());
        assert_eq!(witness.line("GET k"), bulk("fine"));
        for _ in 0..10 {
            let error = client.line("HELLO 3 SETNAME x");
            assert!(error.error_text().unwrap().starts_with("NOPROTO "), "{error:?}");
            // It goes on in RESP2.
            assert_eq!(client.line("CLIENT GETNAME"), Value::Nil);
            assert_eq!(client.line("GET k"), bulk("fine"));
            assert_eq!(witness.line("GET k"), bulk("fine"));
        }
        assert!(!proxy.servers()[0].is_failed);
        // It was not asked for each client anew.
        assert!(fake.heard_named("HELLO").len() < 5, "{:?}", fake.heard_named("HELLO").len());
        assert!(proxy.log().contains("does not speak RESP3"));
    }
}

#[test]
fn one_server_of_several_may_lack_resp3() {
    if original_differs(MISSING) {
        return;
    }
    let fakes = FakeServer::start_cluster(2, |index, heard| match heard.name().as_str() {
        "HELLO" if index == 0 => Answer::text(HELLO),
        "HELLO" => Answer::text("-ERR unknown command 'HELLO'\r\n"),
        "GET" | "BLPOP" | "WATCH" => Answer::bulk("fine"),
        "MGET" => Answer::text("*1\r\n$4\r\nfine\r\n"),
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    // Whom HELLO asks is left to chance.
    wait_until(SOON, "the one that knows HELLO is asked", || {
        matches!(client.line("HELLO 3"), Value::Map(_))
    });
    let [here, there] = [key_in_slots(0..8192, "k"), key_in_slots(8192..16384, "k")];
    let large = "x".repeat(100_000);
    let refused = "ERR the server does not speak RESP3, which this client asked for; try HELLO 2";
    for _ in 0..3 {
        assert_eq!(client.cmd(&["GET", &here]), bulk("fine"));
        assert_eq!(client.cmd(&["GET", &there]), error(refused));
        assert_eq!(client.cmd(&["GET", &there, &large]), error(refused));
        assert_eq!(client.cmd(&["BLPOP", &there, "0"]), error(refused));
        assert_eq!(client.cmd(&["WATCH", &there]), error(refused));
        assert_eq!(client.cmd(&["MGET", &here, &there]), error(refused));
    }
    assert_eq!(field(&client.line("HELLO 3"), "proto"), int(3));
    let mut old = proxy.client();
    assert_eq!(old.cmd(&["GET", &there]), bulk("fine"));
    assert!(proxy.servers().iter().all(|server| !server.is_failed));
}

#[test]
fn hello_is_answered_while_servers_are_away() {
    if original_differs(MISSING) {
        return;
    }
    let mut server = RedisServer::start();
    let proxy = Proxy::start(&groups_conf(&[server.address()]));
    let mut early = resp3(proxy.client());
    let version = field(&early.line("HELLO"), "version");
    server.kill();
    wait_until(SOON, "the loss to be seen", || early.line("GET k").error_text().is_some());
    // What was known before is better than nothing.
    let mut late = resp3(proxy.client());
    assert_eq!(field(&late.line("HELLO"), "version"), version);
    server.restart();
    wait_until(SOON, "the server to be back", || late.line("GET k") == Value::Null);
}

#[test]
fn hello_without_any_server_is_an_error() {
    if original_differs(MISSING) {
        return;
    }
    let proxy = Proxy::start(&groups_conf(&["127.0.0.1:1".to_owned()]));
    let mut client = proxy.client();
    client.set_deadline(Duration::from_secs(10));
    let refused = client.try_cmd(&["HELLO", "3"]);
    assert!(matches!(&refused, Ok(Value::Error(text)) if text.contains("server")), "{refused:?}");
    assert_ne!(client.try_cmd(&["PING"]), Err(Lost::Closed));
}

#[test]
fn the_version_is_asked_for_again_when_servers_were_started_again() {
    if original_differs(MISSING) {
        return;
    }
    let version = Arc::new(AtomicUsize::new(1));
    let now = Arc::clone(&version);
    let fake = FakeServer::start(move |heard| match heard.name().as_str() {
        "HELLO" => {
            let version = now.load(Ordering::SeqCst);
            Answer::text(format!("%1\r\n$7\r\nversion\r\n$1\r\n{version}\r\n"))
        }
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&groups_conf(&[fake.address()]));
    let mut client = proxy.client();
    assert_eq!(field(&client.line("HELLO 3"), "version"), bulk("1"));
    version.store(2, Ordering::SeqCst);
    assert_eq!(field(&client.line("HELLO 3"), "version"), bulk("1"));
    fake.cut_connections();
    wait_until(SOON, "the new version", || field(&client.line("HELLO 3"), "version") == bulk("2"));
}
