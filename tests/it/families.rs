//! What people used predixy for: every family of commands, one request after the other and again
//! in one pipeline, on every kind of pool. The replies are those of one server.

use std::collections::BTreeSet;

use crate::support::{
    Client, EveryPool, Proxy, RedisServer, Value, bulk, error, int, ok, original_differs, wire,
};

/// Families of commands. `K` in them is a tag, so that keys can be where one command needs
/// them; `~` says that of the reply only the kind is certain, because time goes by.
const FAMILIES: &[(&str, &[&str])] = &[
    (
        "keyspace",
        &[
            "PING",
            "ECHO hello",
            "SET {K}a 1",
            "DUMP {K}a",
            "DUMP {K}none",
            "EXISTS {K}a",
            "EXISTS {K}none",
            "DEL {K}a",
            "SET {K}a 1",
            "RENAME {K}a {K}b",
            "GET {K}b",
            "SET {K}a 2",
            "RENAMENX {K}a {K}b",
            "RENAMENX {K}a {K}c",
            "RENAME {K}none {K}d",
            "EXPIRE {K}b 1000",
            "~TTL {K}b",
            "~PTTL {K}b",
            "PERSIST {K}b",
            "PERSIST {K}b",
            "TTL {K}b",
            "PTTL {K}none",
            "PEXPIRE {K}b 1000000",
            "EXPIREAT {K}b 4000000000",
            "PEXPIREAT {K}b 4000000000000",
            "EXPIRE {K}b 0",
            "EXISTS {K}b",
            "TYPE {K}c",
            "TYPE {K}none",
            "RPUSH {K}list 3 10 2 1",
            "SORT {K}list",
            "SORT {K}list DESC LIMIT 1 2",
            "SORT {K}list ALPHA STORE {K}sorted",
            "LRANGE {K}sorted 0 -1",
            "TOUCH {K}list {K}none {K}c",
            "UNLINK {K}c {K}sorted",
            "SCAN nonsense",
            "GET",
            "DEL",
        ],
    ),
    (
        "strings",
        &[
            "APPEND {K}s abc",
            "APPEND {K}s def",
            "BITCOUNT {K}s",
            "BITCOUNT {K}s 1 2",
            "BITFIELD {K}f INCRBY i5 100 1 GET u4 0",
            "SET {K}t foobar",
            "BITOP AND {K}u {K}s {K}t",
            "GET {K}u",
            "BITPOS {K}s 1",
            "BITPOS {K}s 0 2",
            "SET {K}n 10",
            "DECR {K}n",
            "DECRBY {K}n 5",
            "GETBIT {K}s 3",
            "GETRANGE {K}s 1 3",
            "GETSET {K}s new",
            "GET {K}s",
            "INCR {K}n",
            "INCRBY {K}n 90",
            "INCRBYFLOAT {K}n 1.5",
            "INCR {K}s",
            "MSET {K}s 1 {K}t 2",
            "MGET {K}s {K}t {K}none {K}s",
            "MSETNX {K}s 1 {K}v 2",
            "MSETNX {K}v 1 {K}w 2",
            "PSETEX {K}s 1000000 x",
            "SETEX {K}s 1000 y",
            "SET {K}s z EX 1000 NX",
            "SET {K}s z XX",
            "SETBIT {K}s 9 1",
            "SETNX {K}s no",
            "SETRANGE {K}s 3 range",
            "STRLEN {K}s",
            "STRLEN {K}none",
        ],
    ),
    (
        "scripts",
        &[
            "EVAL return{ARGV[1],ARGV[2]} 0 a b",
            "EVAL return{redis.call('SET',KEYS[1],ARGV[1])} 1 {K}s v",
            "EVAL return{redis.call('GET',KEYS[1]),KEYS[2],KEYS[3]} 3 {K}s {K}t {K}u",
            "SCRIPT LOAD return{redis.call('GET',KEYS[1])}",
            "EVALSHA f7950e9369d4d16094de818752fe91c8b1d9436c 1 {K}s",
            "SCRIPT EXISTS 0123456789012345678901234567890123456789",
            "EVALSHA 0123456789012345678901234567890123456789 1 {K}s",
            "EVAL return(redis.error_reply('MINE')) 1 {K}s",
            "EVAL nonsense 1 {K}s",
        ],
    ),
    (
        "hashes",
        &[
            "HSET {K}h a 1 b 2",
            "HSET {K}h a 3",
            "HMSET {K}h c 4 d 5",
            "HGET {K}h a",
            "HGET {K}h none",
            "HMGET {K}h a none c",
            "HGETALL {K}h",
            "HKEYS {K}h",
            "HVALS {K}h",
            "HLEN {K}h",
            "HEXISTS {K}h a",
            "HINCRBY {K}h a 5",
            "HINCRBYFLOAT {K}h a 0.5",
            "HSETNX {K}h a 1",
            "HSETNX {K}h e 1",
            "HSTRLEN {K}h a",
            "HSCAN {K}h 0",
            "HDEL {K}h a b none",
            "HGETALL {K}none",
            "GET {K}h",
        ],
    ),
    (
        "lists",
        &[
            "LPUSH {K}l a b c",
            "RPUSH {K}l d e",
            "LPUSHX {K}none x",
            "RPUSHX {K}l f",
            "LRANGE {K}l 0 -1",
            "LINDEX {K}l 2",
            "LINSERT {K}l BEFORE a x",
            "LLEN {K}l",
            "LREM {K}l 1 x",
            "LSET {K}l 0 first",
            "LSET {K}l 100 never",
            "LTRIM {K}l 0 4",
            "LPOP {K}l",
            "RPOP {K}l",
            "RPOPLPUSH {K}l {K}m",
            "BLPOP {K}none {K}m 1",
            "BRPOP {K}l 1",
            "BRPOPLPUSH {K}l {K}m 1",
            "BLPOP {K}none 0.01",
            "LRANGE {K}m 0 -1",
        ],
    ),
    (
        "sets",
        &[
            "SADD {K}s 1 2 3",
            "SADD {K}t 2 3 4",
            "SCARD {K}s",
            "SDIFF {K}s {K}t",
            "SINTER {K}s {K}t",
            "SUNION {K}s {K}t",
            "SDIFFSTORE {K}d {K}s {K}t",
            "SINTERSTORE {K}d {K}s {K}t",
            "SUNIONSTORE {K}d {K}s {K}t",
            "SMEMBERS {K}d",
            "SISMEMBER {K}s 1",
            "SISMEMBER {K}s 9",
            "SMOVE {K}s {K}t 1",
            "~SPOP {K}d",
            "~SRANDMEMBER {K}d",
            "~SRANDMEMBER {K}d 2",
            "SREM {K}t 1 2",
            "SSCAN {K}t 0",
        ],
    ),
    (
        "sorted sets",
        &[
            "ZADD {K}z 1 a 2 b 3 c 4 d",
            "ZADD {K}z XX CH 5 a",
            "ZADD {K}y 1 a 9 z",
            "ZCARD {K}z",
            "ZCOUNT {K}z 2 (4",
            "ZINCRBY {K}z 1.5 b",
            "ZINTERSTORE {K}x 2 {K}z {K}y WEIGHTS 2 3",
            "ZUNIONSTORE {K}x 2 {K}z {K}y AGGREGATE MAX",
            "ZRANGE {K}x 0 -1 WITHSCORES",
            "ZREVRANGE {K}x 0 1",
            "ZRANGEBYSCORE {K}z -inf +inf LIMIT 1 2",
            "ZREVRANGEBYSCORE {K}z +inf -inf",
            "ZRANK {K}z c",
            "ZREVRANK {K}z c",
            "ZRANK {K}z none",
            "ZSCORE {K}z a",
            "ZSCORE {K}z none",
            "ZSCAN {K}z 0",
            "ZPOPMIN {K}x",
            "ZPOPMAX {K}x 2",
            "ZREM {K}z a none",
            "DEL {K}z",
            "ZADD {K}z 0 a 0 b 0 c 0 d 0 e",
            "ZLEXCOUNT {K}z - +",
            "ZRANGEBYLEX {K}z [b (d",
            "ZREVRANGEBYLEX {K}z + [c",
            "ZREMRANGEBYLEX {K}z [a [b",
            "ZREMRANGEBYRANK {K}z 0 0",
            "ZREMRANGEBYSCORE {K}z 0 0",
        ],
    ),
    (
        "hyperloglogs",
        &[
            "PFADD {K}p a b c",
            "PFADD {K}p a",
            "PFADD {K}q c d",
            "PFCOUNT {K}p",
            "PFCOUNT {K}p {K}q",
            "PFMERGE {K}r {K}p {K}q",
            "PFCOUNT {K}r",
        ],
    ),
    (
        "geo",
        &[
            "GEOADD {K}g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
            "GEODIST {K}g Palermo Catania km",
            "GEOHASH {K}g Palermo none",
            "GEOPOS {K}g Palermo none Catania",
            "GEORADIUS {K}g 15 37 200 km WITHDIST ASC",
            "GEORADIUS {K}g 15 37 200 km STORE {K}near",
            "ZCARD {K}near",
            "GEORADIUSBYMEMBER {K}g Palermo 500 km",
        ],
    ),
    (
        "transactions",
        &[
            "MULTI",
            "SET {K}s 1",
            "GET {K}s",
            "EXEC",
            "MULTI",
            "SET {K}s 2",
            "DISCARD",
            "GET {K}s",
            "WATCH {K}s",
            "SET {K}s 3",
            "MULTI",
            "GET {K}s",
            "EXEC",
            "WATCH {K}s {K}t",
            "MULTI",
            "INCR {K}s",
            "GEOPOS {K}none a",
            "EXEC",
            "WATCH {K}s",
            "UNWATCH",
            "EXEC",
        ],
    ),
];

/// The requests of a family for the keys of one tag.
fn requests(lines: &[&str], tag: &str) -> Vec<(bool, Vec<u8>)> {
    let of = |line: &str| {
        let (about, line) = line.strip_prefix('~').map_or((false, line), |line| (true, line));
        (about, wire(&line.replace("{K}", tag).split(' ').collect::<Vec<_>>()))
    };
    lines.iter().map(|line| of(line)).collect()
}

/// Runs a family one by one, then anew in one pipeline.
fn run(client: &mut Client, lines: &[&str], tag: &str) -> Vec<Value> {
    let mut replies = Vec::new();
    for (about, request) in requests(lines, &format!("{{{tag}}}one:")) {
        client.send(request);
        replies.push(seen(about, client.reply()));
    }
    let pipeline = requests(lines, &format!("{{{tag}}}many:"));
    client.send(pipeline.iter().flat_map(|(_, request)| request.clone()).collect::<Vec<u8>>());
    replies.extend(pipeline.iter().map(|(about, _)| seen(*about, client.reply())));
    replies
}

/// What is certain of a reply.
fn seen(about: bool, reply: Value) -> Value {
    match reply {
        _ if !about => reply,
        Value::Int(number) => int(i64::from(number > 0)),
        Value::Bulk(_) => bulk("something"),
        Value::Array(elements) => int(elements.len() as i64),
        other => other,
    }
}

/// Tags that live in different places on every pool that has several.
const TAGS: [&str; 3] = ["1x", "2y", "3z"];

#[test]
fn every_family_answers_on_every_pool_as_one_server_does() {
    let every = EveryPool::start();
    let server = RedisServer::start();
    for (family, lines) in FAMILIES {
        for tag in TAGS {
            let want = run(&mut server.client(), lines, tag);
            for (name, proxy) in &every.pools {
                let is_new = *family == "transactions" && *name != "one group";
                if (is_new || *family == "scripts" || *name == "two groups by atol")
                    && original_differs("no transactions there; NOSCRIPT of some servers")
                {
                    continue;
                }
                let got = run(&mut proxy.client(), lines, tag);
                for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                    let line = lines[at % lines.len()].replace("{K}", tag);
                    assert_eq!(got, want, "{name}, {family}, request {at}: {line}");
                }
            }
        }
    }
}

/// What names no key, what names several, and what concerns everything, where there are several
/// places and where there is one.
#[test]
fn every_pool_does_what_has_no_single_place() {
    if original_differs("D-02 and others: some of these end the process") {
        return;
    }
    let every = EveryPool::start();
    for (name, proxy) in &every.pools {
        let mut client = proxy.client();
        let keys: Vec<String> = (0..60).map(|number| format!("{number}key")).collect();
        let pairs: Vec<&str> = keys.iter().flat_map(|key| [key.as_str(), "v"]).collect();
        let all = |command| -> Vec<&str> {
            [command].into_iter().chain(keys.iter().map(String::as_str)).collect()
        };
        assert_eq!(client.line("RANDOMKEY"), Value::Nil, "{name}");
        assert_eq!(client.cmd(&[["MSET"].as_slice(), &pairs].concat()), ok(), "{name}");
        assert_eq!(client.cmd(&all("EXISTS")), int(60), "{name}");
        assert_eq!(client.cmd(&all("MGET")).elements(), vec![bulk("v"); 60], "{name}");
        assert_eq!(client.line("DBSIZE"), int(60), "{name}");
        assert_eq!(client.line("KEYS *").elements().len(), 60, "{name}");
        let random = client.line("RANDOMKEY").text();
        assert!(keys.contains(&random), "{name}: {random}");
        assert_eq!(scan(&mut client), keys.iter().cloned().collect(), "{name}");

        let digest = client.cmd(&["SCRIPT", "LOAD", "return KEYS[1]"]).text();
        let words = |key| ["EVALSHA", digest.as_str(), "1", key];
        for key in &keys {
            assert_eq!(client.cmd(&words(key)), bulk(key), "{name}");
        }
        assert_eq!(client.cmd(&["EVAL", "return 7", "0"]), int(7), "{name}");
        assert_eq!(client.cmd(&["EVALSHA", &digest, "0"]), Value::Nil, "{name}");

        // Keyless all of them, and none of them in a transaction.
        assert_eq!(client.line("UNWATCH"), ok(), "{name}");
        assert_eq!(client.line("EXEC"), error("ERR EXEC without MULTI"), "{name}");
        assert_eq!(client.line("DISCARD"), error("ERR DISCARD without MULTI"), "{name}");
        assert_eq!(client.pipeline(&["MULTI", "PING", "EXEC"])[1], Value::Simple("QUEUED".into()));
        let replies = client.pipeline(&["MULTI", "INCR {1}n", "GET {1}n", "EXEC"]);
        assert_eq!(replies[3].elements(), [int(1), bulk("1")], "{name}");
        assert_eq!(client.line("WATCH {1}n {1}m"), ok(), "{name}");
        assert_eq!(client.line("UNWATCH"), ok(), "{name}");

        let crosses = client.line("SUNIONSTORE {1}d {1}a {2}b");
        let want = match *name {
            "one group" => int(0),
            _ => error("CROSSSLOT Keys in request don't hash to the same slot"),
        };
        assert_eq!(crosses, want, "{name}");
        assert_eq!(client.cmd(&all("DEL")), int(60), "{name}");
        assert_eq!(client.line("FLUSHALL"), ok(), "{name}");
        assert_eq!(client.line("DBSIZE"), int(0), "{name}");
    }
}

/// All keys that SCAN tells.
fn scan(client: &mut Client) -> BTreeSet<String> {
    let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
    for _ in 0..1000 {
        let reply = client.line(&format!("SCAN {cursor} COUNT 7"));
        found.extend(reply.elements()[1].elements().iter().map(Value::text));
        cursor = reply.elements()[0].text();
        if cursor == "0" {
            return found;
        }
    }
    panic!("no end");
}

/// A Sentinel that knows nothing of any group, and none at all.
#[test]
fn a_pool_in_which_nothing_was_found_answers_everything() {
    if original_differs("D-05: RANDOMKEY ends the process") {
        return;
    }
    let sentinel = crate::support::RedisSentinel::start("", None);
    let conf = format!(
        "SentinelServerPool {{\nFailoverHold 0\nHash crc16\nHashTag \"{{}}\"\nDistribution modula\nSentinels {{\n+ {}\n}}\n\
         Group one {{\n}}\nGroup two {{\n}}\n}}\n",
        sentinel.address()
    );
    let proxy = Proxy::start(&conf);
    let mut client = proxy.client();
    for line in [
        "GET a",
        "SET a 1",
        "MGET a b c d",
        "DEL a b c d",
        "SUNION {a}x {a}y",
        "RANDOMKEY",
        "KEYS *",
        "DBSIZE",
        "SCAN 0",
        "SCRIPT LOAD x",
        "EVAL x 0",
        "EVALSHA x 0",
        "EVAL x 1 a",
        "WATCH a",
        "BLPOP a 1",
        "COMMAND COUNT",
        "XREAD STREAMS a b 0 0",
        "FLUSHALL",
    ] {
        let reply = client.line(line);
        let is_error = reply.error_text().is_some_and(|text| text.starts_with("ERR no server"));
        assert!(is_error, "{line}: {reply:?}");
    }
    let replies =
        client.pipeline(&["MULTI", "SET a 1", "EXEC", "MULTI", "EXEC", "UNWATCH", "PING"]);
    assert_eq!(replies[0], ok());
    assert!(replies[1].text().starts_with("ERR no server"), "{replies:?}");
    assert!(replies[2].text().starts_with("EXECABORT"), "{replies:?}");
    assert_eq!(replies[4].elements(), []);
    assert_eq!([replies[5].clone(), replies[6].clone()], [ok(), Value::Simple("PONG".into())]);
}
