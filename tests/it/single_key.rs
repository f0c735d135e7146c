//! Commands with one key, of every type, through a cluster: what Redis answers is what the client
//! gets.

use crate::support::{
    Client, Proxy, Value, array, bulk, error, int, ok, original_differs, server_has,
    shared_cluster, simple,
};

fn proxy() -> Proxy {
    Proxy::for_cluster(shared_cluster())
}

/// Sends each line and compares each reply.
#[track_caller]
fn check(client: &mut Client, exchanges: &[(&str, Value)]) {
    for (line, want) in exchanges {
        assert_eq!(&client.line(line), want, "{line}");
    }
}

fn bulks(words: &str) -> Value {
    array(words.split(' ').map(bulk))
}

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn strings() {
    let proxy = proxy();
    let c = &mut proxy.client();
    check(
        c,
        &[
            ("DEL str:a", int(0)),
            ("GET str:a", Value::Nil),
            ("SET str:a 10", ok()),
            ("SET str:a 11 XX GET", bulk("10")),
            ("INCR str:a", int(12)),
            ("INCRBYFLOAT str:a 0.5", bulk("12.5")),
            ("APPEND str:a xyz", int(7)),
            ("GETRANGE str:a 0 3", bulk("12.5")),
            ("SETRANGE str:a 7 !", int(8)),
            ("STRLEN str:a", int(8)),
            ("TYPE str:a", simple("string")),
            ("EXPIRE str:a 1000", int(1)),
            ("PERSIST str:a", int(1)),
            ("TTL str:a", int(-1)),
            ("SETNX str:a 1", int(0)),
            ("GETSET str:a abc", bulk("12.5xyz!")),
            ("LPUSH str:a 1", error(WRONG_TYPE)),
            ("INCR str:a", error("ERR value is not an integer or out of range")),
            ("DEL str:a", int(1)),
        ],
    );
}

#[test]
fn newer_string_commands() {
    if original_differs("D-37, D-38: does not know them") {
        return;
    }
    let proxy = proxy();
    let c = &mut proxy.client();
    check(
        c,
        &[
            ("SET new:a 1", ok()),
            ("GETEX new:a EX 100", bulk("1")),
            ("COPY new:a {new:a}b", int(1)),
            ("OBJECT ENCODING {new:a}b", bulk("int")),
            ("GETDEL new:a", bulk("1")),
            ("EXISTS new:a", int(0)),
        ],
    );
    if server_has(7, 0) {
        let requests = [
            ("SET new:a 1", ok()),
            ("EXPIRE new:a 100", int(1)),
            ("EXPIRE new:a 50 LT", int(1)),
            ("DEL new:a", int(1)),
        ];
        check(c, &requests);
    }
}

#[test]
fn hashes() {
    let proxy = proxy();
    let c = &mut proxy.client();
    check(
        c,
        &[
            ("DEL hash", int(0)),
            ("HSET hash a 1 b 2", int(2)),
            ("HGET hash a", bulk("1")),
            ("HGET hash none", Value::Nil),
            ("HMGET hash b none a", array([bulk("2"), Value::Nil, bulk("1")])),
            ("HGETALL hash", bulks("a 1 b 2")),
            ("HINCRBY hash a 5", int(6)),
            ("HLEN hash", int(2)),
            ("HEXISTS hash b", int(1)),
            ("HKEYS hash", bulks("a b")),
            ("HDEL hash a b c", int(2)),
            ("HGETALL hash", array([])),
        ],
    );
    assert_eq!(c.line("HSCAN hash 0"), array([bulk("0"), array([])]));
}

#[test]
fn lists() {
    let proxy = proxy();
    let c = &mut proxy.client();
    check(
        c,
        &[
            ("DEL list", int(0)),
            ("RPUSH list a b c", int(3)),
            ("LPUSH list z", int(4)),
            ("LRANGE list 0 -1", bulks("z a b c")),
            ("LINDEX list 1", bulk("a")),
            ("LINSERT list BEFORE b x", int(5)),
            ("LREM list 1 x", int(1)),
            ("LSET list 0 y", ok()),
            ("LPOP list", bulk("y")),
            ("RPOPLPUSH list {list}2", bulk("c")),
            ("LLEN list", int(2)),
            ("LTRIM list 5 6", ok()),
            ("LPOP list", Value::Nil),
            ("DEL {list}2", int(1)),
        ],
    );
}

#[test]
fn sets() {
    let proxy = proxy();
    let c = &mut proxy.client();
    check(
        c,
        &[
            ("DEL set", int(0)),
            ("SADD set 1 2 3", int(3)),
            ("SISMEMBER set 2", int(1)),
            ("SMEMBERS set", bulks("1 2 3")),
            ("SADD {set}2 2 3 4", int(3)),
            ("SINTER set {set}2", bulks("2 3")),
            ("SUNIONSTORE {set}3 set {set}2", int(4)),
            ("SCARD {set}3", int(4)),
            ("SMOVE set {set}2 1", int(1)),
            ("SREM set 2 9", int(1)),
            ("SPOP set", bulk("3")),
            ("DEL {set}2", int(1)),
            ("DEL {set}3", int(1)),
        ],
    );
}

#[test]
fn sorted_sets() {
    let proxy = proxy();
    let c = &mut proxy.client();
    check(
        c,
        &[
            ("DEL zset", int(0)),
            ("ZADD zset 1 a 2.5 b 3 c", int(3)),
            ("ZSCORE zset b", bulk("2.5")),
            ("ZINCRBY zset 2 a", bulk("3")),
            ("ZRANGE zset 0 -1 WITHSCORES", bulks("b 2.5 a 3 c 3")),
            ("ZRANGEBYSCORE zset (2.5 +inf LIMIT 0 1", bulks("a")),
            ("ZRANK zset c", int(2)),
            ("ZCOUNT zset 3 3", int(2)),
            ("ZREM zset a", int(1)),
            ("ZPOPMIN zset", bulks("b 2.5")),
            ("ZCARD zset", int(1)),
            ("DEL zset", int(1)),
        ],
    );
}

#[test]
fn streams() {
    if original_differs("D-38: knows no streams") {
        return;
    }
    let proxy = proxy();
    let c = &mut proxy.client();
    let entry = array([bulk("1-1"), bulks("f v")]);
    check(
        c,
        &[
            ("DEL stream", int(0)),
            ("XADD stream 1-1 f v", bulk("1-1")),
            ("XLEN stream", int(1)),
            ("XRANGE stream - +", array([entry.clone()])),
            ("XGROUP CREATE stream group 0", ok()),
            (
                "XREADGROUP GROUP group me STREAMS stream >",
                array([array([bulk("stream"), array([entry.clone()])])]),
            ),
            ("XACK stream group 1-1", int(1)),
            ("XREAD COUNT 1 STREAMS stream 0", array([array([bulk("stream"), array([entry])])])),
            (
                "XADD stream 1-1 f v",
                error(
                    "ERR The ID specified in XADD is equal or smaller than the target stream top item",
                ),
            ),
            ("XTRIM stream MAXLEN 0", int(1)),
            ("DEL stream", int(1)),
        ],
    );
}

#[test]
fn geo() {
    let proxy = proxy();
    let c = &mut proxy.client();
    check(
        c,
        &[
            ("DEL geo", int(0)),
            ("GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", int(2)),
            ("GEODIST geo Palermo Catania", bulk("166274.1516")),
            ("GEOHASH geo Palermo", bulks("sqc8b49rny0")),
            ("GEORADIUS geo 15 37 100 km", bulks("Catania")),
        ],
    );
}

#[test]
fn d04_a_missing_member_inside_an_array_is_passed_on() {
    if original_differs("D-04: closes the shared connection") {
        return;
    }
    let proxy = proxy();
    let c = &mut proxy.client();
    assert_eq!(c.line("DEL geo:missing"), int(0));
    assert_eq!(c.line("GEOADD geo:missing 13.361389 38.115556 Palermo"), int(1));
    let reply = c.line("GEOPOS geo:missing nobody Palermo nobody");
    let [first, second, third] = reply.elements() else { panic!("{reply:?}") };
    assert_eq!((first, third), (&Value::NilArray, &Value::NilArray));
    assert_eq!(second.elements().len(), 2);
    assert_eq!(c.line("GEOPOS geo:missing nobody"), array([Value::NilArray]));
}

#[test]
fn hyperloglogs() {
    let proxy = proxy();
    let c = &mut proxy.client();
    check(
        c,
        &[
            ("DEL hll", int(0)),
            ("PFADD hll a b c a", int(1)),
            ("PFCOUNT hll", int(3)),
            ("PFADD {hll}2 c d", int(1)),
            ("PFMERGE {hll}3 hll {hll}2", ok()),
            ("PFCOUNT {hll}3", int(4)),
        ],
    );
}

#[test]
fn bitmaps() {
    let proxy = proxy();
    let c = &mut proxy.client();
    check(
        c,
        &[
            ("DEL bits", int(0)),
            ("SETBIT bits 7 1", int(0)),
            ("GETBIT bits 7", int(1)),
            ("BITCOUNT bits", int(1)),
            ("BITPOS bits 1", int(7)),
            ("BITFIELD bits INCRBY u8 0 1", array([int(2)])),
            ("BITOP NOT {bits}2 bits", int(1)),
            ("GET {bits}2", bulk([0xfd])),
        ],
    );
}

#[test]
fn any_bytes_are_a_key_and_a_value() {
    let proxy = proxy();
    let mut client = proxy.client();
    let all: Vec<u8> = (0..=255).collect();
    for key in
        [b"bytes:\r\n".as_slice(), b"bytes:\0", b"bytes:{", b"bytes:}{", b"bytes:{}x", b"", &all]
    {
        assert_eq!(client.cmd(&[b"SET", key, all.as_slice()]), ok());
        assert_eq!(client.cmd(&[b"GET".as_slice(), key]), bulk(&all));
        assert_eq!(client.cmd(&[b"DEL".as_slice(), key]), int(1));
    }
}

#[test]
fn values_of_every_size_come_back_whole() {
    let proxy = proxy();
    let mut client = proxy.client();
    for size in
        [0, 1, 511, 512, 513, 4095, 4096, 16_383, 65_535, 65_536, 65_537, 200_000, 1 << 20, 5 << 20]
    {
        let value: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        assert_eq!(client.cmd(&[b"SET", b"size".as_slice(), &value]), ok(), "{size}");
        assert_eq!(client.line("STRLEN size"), int(i64::from(size)));
        assert!(client.line("GET size") == Value::Bulk(value), "{size} bytes came back different");
    }
    assert_eq!(client.line("DEL size"), int(1));
}
