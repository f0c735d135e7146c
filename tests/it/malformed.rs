//! Clients that break the protocol: what they sent before is answered, then the error as Redis
//! words it, then the connection ends; and it ends for nobody else.

use crate::support::{
    Client, Proxy, Value, bulk, error, ok, original_differs, shared_cluster, simple,
};

fn proxy() -> Proxy {
    Proxy::for_cluster(shared_cluster())
}

/// Requests that are refused, and how. `None`: Redis says nothing and goes on.
const SAMPLES: &[(&str, Option<&str>)] = &[
    ("*x\r\n", Some("invalid multibulk length")),
    ("*1x\r\n", Some("invalid multibulk length")),
    ("*\r\n", Some("invalid multibulk length")),
    ("*+1\r\n", Some("invalid multibulk length")),
    ("*99999999999999999999\r\n", Some("invalid multibulk length")),
    ("*1\r\n:1\r\n", Some("expected '$', got ':'")),
    ("*2\r\n$3\r\nGET\r\n+a\r\n", Some("expected '$', got '+'")),
    ("*1\r\n$-1\r\n", Some("invalid bulk length")),
    ("*1\r\n$x\r\n", Some("invalid bulk length")),
    ("*2\r\n$3\r\nGET\r\n$2147483648\r\n", Some("invalid bulk length")),
    ("*2\r\n$3\r\nGET\r\n$99999999999999999999\r\n", Some("invalid bulk length")),
    ("*0\r\n", None),
    ("*-1\r\n", None),
    ("*-10\r\n", None),
];

/// Sends good requests, then `sample` in the same packet, and compares all that comes back.
#[track_caller]
fn check(client: &mut Client, sample: &str, refusal: Option<&str>) {
    let key = "malformed:a";
    client.send(format!("SET {key} 1\r\nGET {key}\r\n{sample}"));
    assert_eq!(client.reply(), ok(), "{sample:?}");
    assert_eq!(client.reply(), bulk("1"), "{sample:?}");
    if let Some(refusal) = refusal {
        assert_eq!(client.reply(), error(&format!("ERR Protocol error: {refusal}")), "{sample:?}");
        client.expect_closed();
    } else {
        assert_eq!(client.line("PING"), simple("PONG"), "{sample:?}");
    }
}

#[test]
fn d32_earlier_replies_then_the_error_then_the_end() {
    if original_differs("D-32: closes without a word") {
        return;
    }
    let proxy = proxy();
    let mut witness = proxy.client();
    for (sample, refusal) in SAMPLES {
        check(&mut proxy.client(), sample, *refusal);
        assert_eq!(witness.line("PING"), simple("PONG"));
    }
}

#[test]
fn a_billion_arguments_are_refused_at_once() {
    if original_differs("D-48: has no limit") {
        return;
    }
    // Redis 7 would wait for them; its limit of before, 1024 * 1024, is ours.
    let proxy = proxy();
    for count in ["1048577", "1000000000", "2147483647"] {
        check(&mut proxy.client(), &format!("*{count}\r\n"), Some("invalid multibulk length"));
    }
}

#[test]
fn redis_itself_says_the_same() {
    let server = crate::support::RedisServer::start();
    for (sample, refusal) in SAMPLES {
        check(&mut server.client(), sample, *refusal);
    }
}

#[test]
fn a_malformed_request_costs_nobody_else_anything() {
    let proxy = proxy();
    let mut witness = proxy.client();
    assert_eq!(witness.line("SET witness:a 1"), ok());
    for (sample, _) in SAMPLES {
        let mut client = proxy.client();
        client.send(sample);
        assert_eq!(witness.line("GET witness:a"), bulk("1"), "{sample:?}");
    }
    for length in 1..40_usize {
        let garbage: Vec<u8> = (0..200_usize).map(|at| (at * length * 37 % 256) as u8).collect();
        let mut client = proxy.client();
        let _ = client.try_send(&garbage);
        let _ = client.try_send(&garbage);
        assert_eq!(witness.line("GET witness:a"), bulk("1"));
    }
}

#[test]
fn a_promise_of_a_million_arguments_takes_no_memory() {
    let mut proxy = proxy();
    let mut clients: Vec<Client> = (0..50).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send("*1000000\r\n$4\r\nMGET\r\n$500000000\r\nbeginning");
    }
    let mut witness = proxy.client();
    assert_eq!(witness.line("PING"), simple("PONG"));
    let resident_kb = proxy.process().resident_kb();
    assert!(resident_kb < 64 * 1024, "{resident_kb} KB for 50 beginnings of requests");
}

#[test]
fn nothing_is_sent_for_half_a_request() {
    let proxy = proxy();
    assert!(matches!(proxy.client().line("DEL half:a"), Value::Int(_)));
    let mut client = proxy.client();
    client.send("*3\r\n$3\r\nSET\r\n$6\r\nhalf:a\r\n$5\r\nval");
    drop(client);
    let mut witness = proxy.client();
    assert_eq!(witness.line("GET half:a"), Value::Nil);
}
