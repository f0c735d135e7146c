//! Subscribers that speak RESP3: messages are pushes, and whatever else they ask is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{
    Answer, AnyPool, Client, FakeServer, Proxy, RedisServer, SOON, Value, array, bulk, groups_conf,
    int, ok, original_differs, server_has, simple, wait_until, wire,
};

/// A connection that speaks RESP3.
fn resp3(mut client: Client) -> Client {
    assert!(matches!(client.line("HELLO 3"), Value::Map(_)));
    client
}

fn push(parts: &[&str], last: Value) -> Value {
    Value::Push(parts.iter().map(bulk).chain([last]).collect())
}

fn subscribe(client: &mut Client, word: &str, name: &str) {
    client.send(wire(&[word, name]));
    let reply = client.reply();
    assert_eq!(reply.elements()[1], bulk(name), "{word} {name}: {reply:?}");
}

#[test]
fn what_a_subscriber_hears_is_what_redis_says_byte_for_byte() {
    if original_differs("D-36: does not know RESP3") {
        return;
    }
    if !server_has(7, 0) {
        return eprintln!("skipped: the server has no sharded channels");
    }
    let server = RedisServer::start();
    let proxy = Proxy::start(&groups_conf(&[server.address()]));
    let steps: &[(&str, usize)] = &[
        ("SUBSCRIBE a b a", 3),
        ("PSUBSCRIBE a*", 1),
        ("SSUBSCRIBE s", 1),
        ("!PUBLISH a text", 2),
        ("!SPUBLISH s text", 1),
        ("!PUBLISH b ", 1),
        ("GET none", 1),
        ("SET k v", 1),
        ("PING", 1),
        ("PING text", 1),
        ("ECHO x", 1),
        ("MULTI", 1),
        ("SET k w", 1),
        ("!PUBLISH a inside", 2),
        ("EXEC", 1),
        ("nonsense", 1),
        ("SUBSCRIBE", 1),
        ("UNSUBSCRIBE c", 1),
        ("UNSUBSCRIBE a b", 2),
        ("UNSUBSCRIBE", 1),
        ("PUNSUBSCRIBE", 1),
        ("PUNSUBSCRIBE", 1),
        ("SUNSUBSCRIBE s", 1),
        ("SUNSUBSCRIBE", 1),
        ("GET k", 1),
        ("DEL k", 1),
    ];
    let talk = |connect: &dyn Fn() -> Client| {
        let (mut client, mut publisher) = (resp3(connect()), connect());
        let mut said = Vec::new();
        for (line, replies) in steps {
            match line.strip_prefix('!') {
                Some(line) => drop(publisher.line(line)),
                None => client.send(wire(&line.split(' ').collect::<Vec<_>>())),
            }
            for _ in 0..*replies {
                said.push((line, client.raw_reply().escape_ascii().to_string()));
            }
        }
        assert!(!client.has_something());
        said
    };
    assert_eq!(talk(&|| proxy.client()), talk(&|| server.client()));
}

#[test]
fn both_protocols_hear_the_same() {
    if original_differs("D-36: does not know RESP3") {
        return;
    }
    AnyPool::each(|pool| {
        let mut old: Vec<Client> = (0..3).map(|_| pool.proxy.client()).collect();
        let mut new: Vec<Client> = (0..3).map(|_| resp3(pool.proxy.client())).collect();
        for client in old.iter_mut().chain(&mut new) {
            subscribe(client, "SUBSCRIBE", "both");
            subscribe(client, "PSUBSCRIBE", "bo*");
        }
        let mut publisher = pool.proxy.client();
        // Short ones, many at once, and long ones, which are shared.
        let texts: Vec<String> = (0..60)
            .map(|number| "m".repeat(if number % 20 == 0 { 90_000 } else { number }))
            .collect();
        for burst in texts.chunks(15) {
            publisher.send(
                burst.iter().flat_map(|text| wire(&["PUBLISH", "both", text])).collect::<Vec<u8>>(),
            );
            burst.iter().for_each(|_| assert!(publisher.reply().number() > 0));
        }
        let is_push = |message: &Value| matches!(message, Value::Push(_));
        for (client, pushed) in
            old.iter_mut().map(|one| (one, false)).chain(new.iter_mut().map(|one| (one, true)))
        {
            let (mut plain, mut by_pattern) = (texts.iter(), texts.iter());
            for _ in 0..2 * texts.len() {
                let message = client.reply();
                assert_eq!(is_push(&message), pushed);
                let parts = message.elements();
                let want = if parts.len() == 3 { plain.next() } else { by_pattern.next() };
                assert!(*parts.last().unwrap() == bulk(want.unwrap()));
            }
            assert!(!client.has_something());
        }
    });
}

#[test]
fn pushes_come_between_replies_and_never_inside_one() {
    if original_differs("D-36: does not know RESP3") {
        return;
    }
    let pool = AnyPool::groups(2, "ClientOutputLimit 0");
    const MESSAGES: usize = 3000;
    // So long that they are passed on while they come.
    let values: Vec<String> = (0..6).map(|number| number.to_string().repeat(700_000)).collect();
    let mut client = resp3(pool.proxy.client());
    for (number, value) in values.iter().enumerate() {
        assert_eq!(client.cmd(&["SET", &format!("inside:{number}"), value]), ok());
    }
    subscribe(&mut client, "SUBSCRIBE", "inside");
    let mut publisher = pool.proxy.client();
    let publishing = thread::spawn(move || {
        for number in 0..MESSAGES {
            let text = format!("{number}").repeat(1 + number % 50);
            assert_eq!(publisher.cmd(&["PUBLISH", "inside", &text]), int(1));
        }
    });
    let (mut heard, mut answered) = (0, 0);
    const ROUNDS: usize = 10;
    for _ in 0..ROUNDS {
        let requests: Vec<u8> =
            (0..6).flat_map(|number| wire(&["GET", &format!("inside:{number}")])).collect();
        client.send(requests);
        let mut missing = values.iter();
        while missing.len() > 0 {
            match client.reply() {
                Value::Push(message) => {
                    let text = format!("{heard}").repeat(1 + heard % 50);
                    assert_eq!(message[2], bulk(text));
                    heard += 1;
                }
                reply => {
                    assert!(
                        missing.next().is_some_and(|value| reply == bulk(value)),
                        "another reply"
                    );
                    answered += 1;
                }
            }
        }
    }
    while heard < MESSAGES {
        let text = format!("{heard}").repeat(1 + heard % 50);
        assert_eq!(client.reply(), push(&["message", "inside"], bulk(text)));
        heard += 1;
    }
    publishing.join().unwrap();
    assert_eq!(answered, ROUNDS * values.len());
    assert_eq!(client.line("UNSUBSCRIBE"), push(&["unsubscribe", "inside"], int(0)));
    assert_eq!(client.line("PING"), simple("PONG"));
}

#[test]
fn what_a_client_publishes_itself_it_hears_if_it_was_subscribed_before() {
    if original_differs("D-36: does not know RESP3") {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = resp3(pool.proxy.client());
        for round in 0..50 {
            let name = format!("own:{round}");
            let lines = [
                format!("PUBLISH {name} early"),
                format!("SUBSCRIBE {name}"),
                format!("PUBLISH {name} heard"),
                format!("GET {name}"),
            ];
            let all: Vec<u8> =
                lines.iter().flat_map(|line| wire(&line.split(' ').collect::<Vec<_>>())).collect();
            client.send(all);
            assert_eq!(client.reply(), int(0));
            assert_eq!(client.reply(), push(&["subscribe", &name], int(1)));
            let mut rest: Vec<Value> = (0..3).map(|_| client.reply()).collect();
            let place = rest.iter().position(|reply| matches!(reply, Value::Push(_))).unwrap();
            assert_eq!(rest.remove(place), push(&["message", &name], bulk("heard")));
            assert_eq!(rest, [int(1), Value::Null]);
            assert_eq!(client.cmd(&["UNSUBSCRIBE", &name]), push(&["unsubscribe", &name], int(0)));
        }
    });
}

#[test]
fn reset_ends_all_subscriptions_without_a_word() {
    if original_differs("D-36: does not know RESET") {
        return;
    }
    let pool = AnyPool::groups(2, "");
    for client in [pool.proxy.client(), resp3(pool.proxy.client())] {
        let (mut client, mut publisher) = (client, pool.proxy.client());
        subscribe(&mut client, "SUBSCRIBE", "reset");
        subscribe(&mut client, "PSUBSCRIBE", "re*");
        if server_has(7, 0) {
            subscribe(&mut client, "SSUBSCRIBE", "reset");
            assert_eq!(publisher.line("SPUBLISH reset x"), int(1));
            client.reply();
        }
        assert_eq!(client.line("RESET"), simple("RESET"));
        assert_eq!(publisher.line("PUBLISH reset x"), int(0));
        if server_has(7, 0) {
            assert_eq!(publisher.line("SPUBLISH reset x"), int(0));
        }
        assert_eq!(client.line("GET reset"), Value::Nil, "it speaks RESP2 and is free again");
        assert_eq!(client.line("UNSUBSCRIBE"), array([bulk("unsubscribe"), Value::Nil, int(0)]));
    }
}

#[test]
fn who_changes_the_protocol_stays_subscribed() {
    if original_differs("D-36: does not know HELLO") {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let mut client = resp3(pool.proxy.client());
    subscribe(&mut client, "SUBSCRIBE", "change");
    assert!(matches!(client.line("HELLO 2"), Value::Array(_)));
    assert_eq!(pool.proxy.client().line("PUBLISH change x"), int(1));
    assert_eq!(client.reply(), array([bulk("message"), bulk("change"), bulk("x")]));
    let refused = client.line("GET k");
    assert!(refused.error_text().is_some_and(|text| text.contains("in this context")));
    assert_eq!(client.line("PING"), array([bulk("pong"), bulk("")]));
}

#[test]
fn what_waited_for_the_end_of_a_reply_comes_before_what_comes_after() {
    if original_differs("D-36: does not know RESP3") {
        return;
    }
    let (rest, second) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let written = Arc::new(AtomicBool::new(false));
    let (open_rest, open_second, told) =
        (Arc::clone(&rest), Arc::clone(&second), Arc::clone(&written));
    let fakes = [FakeServer::start(move |heard| {
        let name = heard.word(1);
        let confirmed = format!("*3\r\n$9\r\nsubscribe\r\n$1\r\n{name}\r\n:1\r\n");
        let message = |text| format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n{text}\r\n");
        let wait = |gate: &AtomicBool| {
            wait_until(SOON, "a gate to open", || gate.load(Ordering::SeqCst));
        };
        let half = "x".repeat(50_000);
        match (heard.name().as_str(), name.as_str()) {
            ("HELLO", _) => Answer::text("%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n"),
            ("SUBSCRIBE", "d") => Answer::text(message(1) + &confirmed),
            ("SUBSCRIBE", "e") => {
                wait(&second);
                Answer::text(message(2) + &confirmed)
            }
            ("SUBSCRIBE", last) => {
                told.store(last == "f", Ordering::SeqCst);
                Answer::text(confirmed)
            }
            ("GET", "begin") => Answer::text(format!("$100000\r\n{half}")),
            ("GET", "rest") => {
                wait(&rest);
                Answer::text(format!("{half}\r\n$1\r\nr\r\n"))
            }
            ("GET", _) => {
                // By now the rest is on its way.
                second.store(true, Ordering::SeqCst);
                Answer::bulk("a")
            }
            _ => Answer::Usual,
        }
    })];
    let mut proxy = Proxy::start(&format!("WorkerThreads 1\n{}", FakeServer::conf(&fakes, "")));
    proxy.wait_for_servers(1);
    let mut client = resp3(proxy.client());
    subscribe(&mut client, "SUBSCRIBE", "c");
    client
        .send([wire(&["GET", "begin"]), wire(&["GET", "rest"]), wire(&["GET", "after"])].concat());
    wait_until(SOON, "the beginning of a reply", || client.has_something());
    let mut other = proxy.client();
    subscribe(&mut other, "SUBSCRIBE", "d");
    // The end of the reply and the next message come to the proxy at once, in this order.
    other.send([wire(&["SUBSCRIBE", "e"]), wire(&["SUBSCRIBE", "f"])].concat());
    wait_until(SOON, "both to be asked for", || {
        fakes[0].heard_named("SUBSCRIBE").iter().any(|heard| heard.word(1) == "e")
            && fakes[0].heard_named("GET").iter().any(|heard| heard.word(1) == "rest")
    });
    proxy.process().signal("STOP");
    open_rest.store(true, Ordering::SeqCst);
    wait_until(SOON, "both to be written", || {
        assert!(open_second.load(Ordering::SeqCst) || !written.load(Ordering::SeqCst));
        written.load(Ordering::SeqCst)
    });
    proxy.process().signal("CONT");
    let all: Vec<Value> = (0..5).map(|_| client.reply()).collect();
    let (pushes, replies): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|one| matches!(one, Value::Push(_)));
    assert_eq!(replies, [bulk("x".repeat(100_000)), bulk("r"), bulk("a")]);
    let want = ["1", "2"].map(|text| push(&["message", "c"], bulk(text)));
    assert_eq!(pushes, want);
}
