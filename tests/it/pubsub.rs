//! SUBSCRIBE, PUBLISH and the like, as clients see them, on every kind of pool.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::support::{
    Answer, AnyPool, Client, FakeServer, Proxy, RedisServer, SOON, Value, array, bulk, error,
    groups_conf, int, key_in_group, ok, original_differs, server_has, simple, wait_until, wire,
};

/// A confirmation, as `confirmed("subscribe", "a", 1)`.
fn confirmed(word: &str, name: &str, count: i64) -> Value {
    array([bulk(word), bulk(name), int(count)])
}

fn message(channel: &str, text: &str) -> Value {
    array([bulk("message"), bulk(channel), bulk(text)])
}

fn pmessage(pattern: &str, channel: &str, text: &str) -> Value {
    array([bulk("pmessage"), bulk(pattern), bulk(channel), bulk(text)])
}

/// A client that is subscribed to these.
#[track_caller]
fn subscriber(proxy: &Proxy, word: &str, names: &[&str]) -> Client {
    let mut client = proxy.client();
    subscribe(&mut client, word, names);
    client
}

#[track_caller]
fn subscribe(client: &mut Client, word: &str, names: &[&str]) {
    client.send(wire(&[&[word], names].concat()));
    for name in names {
        let reply = client.reply();
        assert_eq!(reply.elements()[1], bulk(name), "{word} {name}: {reply:?}");
    }
}

/// A name that begins so and belongs to this one of two groups.
fn in_group(group: usize, prefix: &str) -> String {
    key_in_group(group, 2, prefix)
}

#[test]
fn what_is_published_reaches_all_who_are_subscribed() {
    AnyPool::each(|pool| {
        let names: Vec<String> = (0..6).map(|number| format!("all:{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // More than one of them in each of the two threads.
        let mut readers: Vec<Client> =
            (0..5).map(|_| subscriber(&pool.proxy, "SUBSCRIBE", &names)).collect();
        let mut one = subscriber(&pool.proxy, "SUBSCRIBE", &["all:3"]);
        let mut publisher = pool.proxy.client();
        for name in &names {
            let receivers = publisher.cmd(&["PUBLISH", name, &format!("to {name}")]).number();
            // One for each thread that has subscribers.
            assert!((1..=2).contains(&receivers), "{receivers} for {name}");
        }
        for reader in &mut readers {
            let got: BTreeSet<String> =
                names.iter().map(|_| format!("{:?}", reader.reply())).collect();
            let want =
                names.iter().map(|name| format!("{:?}", message(name, &format!("to {name}"))));
            assert_eq!(got, want.collect());
        }
        assert_eq!(one.reply(), message("all:3", "to all:3"));
        assert_eq!(publisher.line("PUBLISH all:none x"), int(0));
        assert!(!one.has_something() && !readers[0].has_something());
    });
}

#[test]
fn d28_every_channel_is_heard_with_several_groups() {
    if original_differs("D-28: a client listens on one group only") {
        return;
    }
    let pool = AnyPool::groups(2, "");
    let (first, second) = (in_group(0, "d28:"), in_group(1, "d28:"));
    let mut both = subscriber(&pool.proxy, "SUBSCRIBE", &[&first, &second]);
    let mut pattern = subscriber(&pool.proxy, "PSUBSCRIBE", &["d28:*"]);
    let mut publisher = pool.proxy.client();
    for name in [&first, &second] {
        assert!(publisher.cmd(&["PUBLISH", name, "x"]).number() >= 1);
        assert_eq!(both.reply(), message(name, "x"));
        assert_eq!(pattern.reply(), pmessage("d28:*", name, "x"));
    }
    assert!(!both.has_something() && !pattern.has_something(), "something came twice");
}

#[test]
fn a_pattern_gets_each_message_once() {
    AnyPool::each(|pool| {
        // The first two may also mean what servers tell of their keys, and listen everywhere.
        for pattern in ["*", "_*", "once:*"] {
            let mut reader = subscriber(&pool.proxy, "PSUBSCRIBE", &[pattern]);
            let mut publisher = pool.proxy.client();
            let names: Vec<String> =
                (0..20)
                    .map(|number| {
                        if pattern == "_*" {
                            format!("_{number}")
                        } else {
                            format!("once:{number}")
                        }
                    })
                    .collect();
            for name in &names {
                assert!(publisher.cmd(&["PUBLISH", name, "x"]).number() >= 0);
            }
            let got: BTreeSet<String> =
                names.iter().map(|_| reader.reply().elements()[2].text()).collect();
            assert_eq!(got, names.iter().cloned().collect(), "{pattern}");
            assert!(!reader.has_something(), "{pattern}: something came twice");
        }
    });
}

#[test]
fn d06_unsubscribe_without_arguments_ends_all() {
    if original_differs("D-06: it is cut off") {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = subscriber(&pool.proxy, "SUBSCRIBE", &["d06:b", "d06:a"]);
        subscribe(&mut client, "PSUBSCRIBE", &["d06:*"]);
        client.send(wire(&["UNSUBSCRIBE"]));
        assert_eq!(client.reply(), confirmed("unsubscribe", "d06:a", 2));
        assert_eq!(client.reply(), confirmed("unsubscribe", "d06:b", 1));
        assert_eq!(client.line("UNSUBSCRIBE"), array([bulk("unsubscribe"), Value::Nil, int(1)]));
        assert_eq!(client.line("PUNSUBSCRIBE"), confirmed("punsubscribe", "d06:*", 0));
        assert_eq!(client.line("PUNSUBSCRIBE"), array([bulk("punsubscribe"), Value::Nil, int(0)]));
        // It is a client like any other again.
        assert_eq!(client.line("SET d06:k 1"), ok());
        assert_eq!(client.line("PING"), simple("PONG"));
        assert_eq!(client.line("PUBLISH d06:a x"), int(0));
    });
}

#[test]
fn d02_unsubscribe_has_no_key_whatever_chooses_the_group() {
    if original_differs("D-02: dies") {
        return;
    }
    let servers = [RedisServer::start(), RedisServer::start()];
    let groups: String = (0..2)
        .map(|index| {
            format!("    Group g{index} {{\n        + {}\n    }}\n", servers[index].address())
        })
        .collect();
    for distribution in ["modula", "random"] {
        let proxy = Proxy::start(&format!(
            "StandaloneServerPool {{\n    RefreshMethod fixed\n    Hash atol\n    \
             Distribution {distribution}\n{groups}}}\n"
        ));
        let mut client = proxy.client();
        for line in ["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"] {
            let want = array([bulk(line.to_lowercase()), Value::Nil, int(0)]);
            assert_eq!(client.line(line), want);
        }
        // With chance as the judge a message may be published anywhere, and is heard nevertheless.
        subscribe(&mut client, "SUBSCRIBE", &["", "1", "x"]);
        let mut publisher = proxy.client();
        for _ in 0..10 {
            for name in ["", "1", "x"] {
                assert_eq!(publisher.cmd(&["PUBLISH", name, "m"]), int(1));
                assert_eq!(client.reply(), message(name, "m"));
            }
        }
        assert!(!client.has_something());
    }
}

#[test]
fn d29_a_subscribed_client_may_say_what_redis_lets_it_say() {
    if original_differs("D-29: PING, ECHO, SELECT and the like are answered as if nothing was") {
        return;
    }
    if !server_has(7, 0) {
        return eprintln!(
            "skipped: older servers know no sharded channels, and say so in their words"
        );
    }
    let server = RedisServer::start();
    let proxy = Proxy::start(&groups_conf(&[server.address()]));
    let requests: &[&[&str]] = &[
        &["PING"],
        &["PING", ""],
        &["PING", "text"],
        &["GET", "k"],
        &["SET", "k", "v"],
        &["MGET", "k", "l"],
        &["ECHO", "x"],
        &["SELECT", "1"],
        &["INFO"],
        &["CONFIG", "GET", "port"],
        &["COMMAND"],
        &["PUBLISH", "x", "y"],
        &["PUBSUB", "CHANNELS"],
        &["MULTI"],
        &["WATCH", "k"],
        &["EVAL", "return 1", "0"],
        &["BLPOP", "k", "0"],
        &["CLIENT", "ID"],
        &["AUTH", "x"],
        &["GET"],
        &["PUBLISH", "x"],
        &["nonsense", "x"],
        &["UNSUBSCRIBE", "other"],
        &["PUNSUBSCRIBE", "other", "another"],
        &["SUBSCRIBE", "d29", "second"],
        &["UNSUBSCRIBE", "d29", "second"],
        &["SSUBSCRIBE", "shard"],
        &["GET", "k"],
        &["SUNSUBSCRIBE", "shard"],
        &["GET", "k"],
        &["PING", "text"],
        &["PING"],
    ];
    let answers = |mut client: Client| {
        subscribe(&mut client, "SUBSCRIBE", &["d29"]);
        let mut said = Vec::new();
        for words in requests {
            client.send(wire(words));
            let parts = if words[0].ends_with("SUBSCRIBE") { words.len() - 1 } else { 1 };
            (0..parts)
                .for_each(|_| said.push((words, client.raw_reply().escape_ascii().to_string())));
        }
        assert_eq!(client.line("QUIT"), ok());
        client.expect_closed();
        said
    };
    assert_eq!(answers(proxy.client()), answers(server.client()));
}

#[test]
fn d30_a_subscriber_may_be_silent_for_ever() {
    if original_differs("D-30: is closed by ClientTimeout") {
        return;
    }
    let server = RedisServer::start();
    let conf = groups_conf(&[server.address()]);
    let proxy = Proxy::start(&format!("ClientTimeout 1\n{conf}"));
    let mut reader = subscriber(&proxy, "SUBSCRIBE", &["d30"]);
    // Whoever came after it is closed before it could be.
    proxy.client().expect_closed();
    assert_eq!(proxy.client().line("PUBLISH d30 x"), int(1));
    assert_eq!(reader.reply(), message("d30", "x"));
    assert_eq!(reader.line("UNSUBSCRIBE"), confirmed("unsubscribe", "d30", 0));
    reader.expect_closed();
}

#[test]
fn confirmations_and_replies_come_in_the_order_of_the_requests() {
    if original_differs("D-06 and D-29") {
        return;
    }
    if !server_has(7, 0) {
        return eprintln!(
            "skipped: older servers know no sharded channels, and say so in their words"
        );
    }
    let server = RedisServer::start();
    let proxy = Proxy::start(&groups_conf(&[server.address()]));
    let lines = [
        "SET order:k v",
        "SUBSCRIBE order:a order:b order:a",
        "PSUBSCRIBE order:*",
        "PING",
        "GET order:k",
        "UNSUBSCRIBE order:c",
        "SUBSCRIBE order:d",
        "nonsense",
        "SUBSCRIBE",
        "SSUBSCRIBE order:s",
        "UNSUBSCRIBE order:a order:b order:d",
        "PUNSUBSCRIBE",
        "GET order:k",
        "SUNSUBSCRIBE",
        "GET order:k",
        "PING",
    ];
    let bytes: Vec<u8> =
        lines.iter().flat_map(|line| wire(&line.split(' ').collect::<Vec<_>>())).collect();
    let said = |mut client: Client, cut: usize| {
        for piece in bytes.chunks(cut) {
            client.send(piece);
        }
        let mut said = Vec::new();
        while said.len() < 20 {
            said.push(client.raw_reply().escape_ascii().to_string());
        }
        assert!(!client.has_something());
        said
    };
    let want = said(server.client(), usize::MAX);
    for cut in [usize::MAX, 7, 100] {
        assert_eq!(said(proxy.client(), cut), want, "in pieces of {cut}");
    }
}

#[test]
fn what_is_published_after_the_confirmation_is_seen() {
    AnyPool::each(|pool| {
        let mut publisher = pool.proxy.client();
        // The second is in the other thread, and neither is the first there.
        let mut readers = [pool.proxy.client(), pool.proxy.client(), pool.proxy.client()];
        for round in 0..100 {
            let name = format!("after:{round}");
            let (word, pushed) = match round % 3 {
                0 => ("SUBSCRIBE", 2),
                1 => ("PSUBSCRIBE", 3),
                _ if server_has(7, 0) => ("SSUBSCRIBE", 2),
                _ => ("SUBSCRIBE", 2),
            };
            let publish = if word == "SSUBSCRIBE" { "SPUBLISH" } else { "PUBLISH" };
            let end = word.replace("SUB", "UNSUB");
            // All at once: those who come later wait for what the first has asked for.
            readers.iter_mut().for_each(|reader| reader.send(wire(&[word, &name])));
            for (number, reader) in readers.iter_mut().enumerate() {
                assert_eq!(reader.reply(), confirmed(&word.to_lowercase(), &name, 1));
                let text = format!("{round} for {number}");
                publisher.cmd(&[publish, &name, &text]);
                // What was meant for those before it may come first.
                while reader.reply().elements()[pushed] != bulk(&text) {}
                assert_eq!(reader.cmd(&[&*end, &name]).elements()[2], int(0));
            }
            for reader in &mut readers {
                assert!(!reader.has_something(), "a message after the end");
            }
        }
    });
}

#[test]
fn no_message_comes_before_its_confirmation() {
    AnyPool::each(|pool| {
        let mut publisher = pool.proxy.client();
        // Somebody else is subscribed already, in both threads, so that there is nothing to wait for
        // but that.
        let _others: Vec<Client> =
            (0..4).map(|_| subscriber(&pool.proxy, "SUBSCRIBE", &["before"])).collect();
        for _ in 0..100 {
            let mut client = pool.proxy.client();
            let requests =
                [wire(&["PUBLISH", "before", "early"]), wire(&["SUBSCRIBE", "before"])].concat();
            client.send(requests);
            assert_eq!(client.reply(), int(2));
            assert_eq!(client.reply(), confirmed("subscribe", "before", 1));
            assert_eq!(publisher.line("PUBLISH before late"), int(2));
            // The early one may still have been on its way to the others.
            while client.reply() != message("before", "late") {}
        }
    });
}

/// A server that confirms nothing before somebody subscribes to `go`.
fn reluctant() -> FakeServer {
    let held = Mutex::new(Vec::new());
    FakeServer::start(move |heard| match heard.name().as_str() {
        "SUBSCRIBE" => {
            let mut held = held.lock().unwrap();
            let name = heard.word(1);
            let confirm = format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{name}\r\n:1\r\n", name.len());
            held.push(confirm);
            if name == "go" {
                Answer::text(held.drain(..).collect::<String>())
            } else {
                Answer::text("")
            }
        }
        "UNSUBSCRIBE" => Answer::text("*3\r\n$11\r\nunsubscribe\r\n$1\r\nx\r\n:0\r\n"),
        _ => Answer::Usual,
    })
}

#[test]
fn nobody_is_told_before_the_server_has_confirmed() {
    if original_differs("knows nothing of the others") {
        return;
    }
    let server = reluctant();
    let pool = groups_conf(&[server.address()]).replace("fixed", "fixed\n    ServerTimeout 60");
    let proxy = Proxy::start(&format!("WorkerThreads 1\n{pool}"));
    let mut first = proxy.client();
    // What comes behind waits, but for more of the same.
    first.send(wire(&["SUBSCRIBE", "a", "b"]));
    first.send(wire(&["SUBSCRIBE", "a", "c"]));
    first.send(wire(&["PING"]));
    first.send(wire(&["UNSUBSCRIBE", "a"]));
    wait_until(SOON, "the server to be asked", || server.heard_named("SUBSCRIBE").len() == 3);
    let mut second = proxy.client();
    second.send(wire(&["SUBSCRIBE", "c", "b"]));
    let mut leaves = proxy.client();
    leaves.send(wire(&["SUBSCRIBE", "b", "d"]));
    wait_until(SOON, "the server to be asked", || server.heard_named("SUBSCRIBE").len() == 4);
    drop(leaves);
    assert!(!first.has_something() && !second.has_something());
    let mut third = proxy.client();
    third.send(wire(&["SUBSCRIBE", "go"]));
    for (name, count) in [("a", 1), ("b", 2), ("a", 2), ("c", 3)] {
        assert_eq!(first.reply(), confirmed("subscribe", name, count));
    }
    assert_eq!(first.reply(), array([bulk("pong"), bulk("")]));
    assert_eq!(first.reply(), confirmed("unsubscribe", "a", 2));
    assert_eq!(second.reply(), confirmed("subscribe", "c", 1));
    assert_eq!(second.reply(), confirmed("subscribe", "b", 2));
    assert_eq!(third.reply(), confirmed("subscribe", "go", 1));
    wait_until(SOON, "the server to hear that nobody wants it any more", || {
        server.heard_named("UNSUBSCRIBE").iter().any(|heard| heard.word(1) == "d")
    });
    // Each was asked for once, whoever wanted it.
    let mut asked: Vec<String> =
        server.heard_named("SUBSCRIBE").iter().map(|heard| heard.word(1)).collect();
    asked.sort();
    assert_eq!(asked, ["a", "b", "c", "d", "go"]);
}

#[test]
fn a_server_that_refuses_is_quoted_and_leaves_nothing_behind() {
    if original_differs("passes on whatever comes") {
        return;
    }
    let server = FakeServer::start(|heard| match (heard.name().as_str(), heard.word(1).as_str()) {
        ("SUBSCRIBE", "bad") => Answer::text("-NOPERM no permissions to access a channel\r\n"),
        ("SUBSCRIBE", "odd") => Answer::text("+OK\r\n"),
        ("SUBSCRIBE", name) => {
            Answer::text(format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{name}\r\n:1\r\n", name.len()))
        }
        ("UNSUBSCRIBE", name) => {
            Answer::text(format!("*3\r\n$11\r\nunsubscribe\r\n${}\r\n{name}\r\n:0\r\n", name.len()))
        }
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&format!("WorkerThreads 1\n{}", groups_conf(&[server.address()])));
    let mut client = proxy.client();
    assert_eq!(client.line("SUBSCRIBE good"), confirmed("subscribe", "good", 1));
    let refused = error("NOPERM no permissions to access a channel");
    assert_eq!(client.line("SUBSCRIBE new bad newer"), refused);
    assert_eq!(client.line("SUBSCRIBE good"), confirmed("subscribe", "good", 1));
    assert_eq!(
        client.line("SUBSCRIBE odd"),
        error("ERR unexpected reply of a server to a subscription")
    );
    assert_eq!(client.line("UNSUBSCRIBE"), confirmed("unsubscribe", "good", 0));
    assert_eq!(client.line("SUBSCRIBE bad"), refused);
    assert_eq!(client.line("PING"), simple("PONG"), "it is subscribed to nothing");
    for name in ["new", "newer", "good"] {
        wait_until(SOON, "the server to hear that nobody wants it any more", || {
            server.heard_named("UNSUBSCRIBE").iter().any(|heard| heard.word(1) == name)
        });
    }
}

#[test]
fn thousands_of_channels_of_one_client() {
    let pool = AnyPool::groups(2, "");
    if !original_differs("it waits for a busy server as long as that takes") {
        assert_eq!(pool.proxy.client().line("CONFIG SET ServerTimeout 20s"), ok());
    }
    const COUNT: usize = 10_000;
    let names: Vec<String> = (0..COUNT).map(|number| format!("many:{number:05}")).collect();
    let mut client = pool.proxy.client();
    // Some in one large request, the others one by one in one go.
    let (some, others) = names.split_at(COUNT / 2);
    let words: Vec<&str> =
        ["SUBSCRIBE"].into_iter().chain(some.iter().map(String::as_str)).collect();
    client.send(wire(&words));
    let each: Vec<u8> = others.iter().flat_map(|name| wire(&["SUBSCRIBE", name])).collect();
    client.send(each);
    for (count, name) in (1..).zip(&names) {
        assert_eq!(client.reply(), confirmed("subscribe", name, count));
    }
    let mut publisher = pool.proxy.client();
    for name in names.iter().step_by(997) {
        assert_eq!(publisher.cmd(&["PUBLISH", name, "x"]), int(1));
        assert_eq!(client.reply(), message(name, "x"));
    }
    let known = || {
        let counts = pool.masters().into_iter().map(|mut master| {
            i64::try_from(master.line("PUBSUB CHANNELS many:*").elements().len()).unwrap()
        });
        counts.sum::<i64>()
    };
    assert_eq!(known(), COUNT as i64);
    if original_differs("D-06: is cut off") {
        return;
    }
    client.send(wire(&["UNSUBSCRIBE"]));
    for (left, name) in (0..COUNT as i64).rev().zip(&names) {
        assert_eq!(client.reply(), confirmed("unsubscribe", name, left));
    }
    wait_until(SOON, "the servers to forget them", || known() == 0);
    subscribe(&mut client, "SUBSCRIBE", &["many:again"]);
    drop(client);
    wait_until(SOON, "the servers to forget the last one", || known() == 0);
}

#[test]
fn a_hundred_subscribers_are_one_for_the_server() {
    if original_differs("has a connection for each") {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let mut readers: Vec<Client> =
        (0..100).map(|_| subscriber(&pool.proxy, "SUBSCRIBE", &["hundred"])).collect();
    let mut master = pool.masters().remove(0);
    // One for each thread.
    assert_eq!(master.line("PUBSUB NUMSUB hundred").elements()[1], int(2));
    let mut publisher = pool.proxy.client();
    let texts: Vec<String> = (0..500).map(|number| format!("{number}:").repeat(number)).collect();
    let all: Vec<u8> = texts.iter().flat_map(|text| wire(&["PUBLISH", "hundred", text])).collect();
    publisher.send(all);
    texts.iter().for_each(|_| assert_eq!(publisher.reply(), int(2)));
    for reader in &mut readers {
        for text in &texts {
            assert_eq!(reader.reply(), message("hundred", text));
        }
        assert!(!reader.has_something());
    }
    // Whoever leaves is missed by nobody, and the last one takes the subscription along.
    readers.truncate(1);
    assert!(publisher.line("PUBLISH hundred x").number() >= 1);
    assert_eq!(readers[0].reply(), message("hundred", "x"));
    drop(readers);
    wait_until(SOON, "the server to be told", || {
        master.line("PUBSUB NUMSUB hundred").elements()[1] == int(0)
    });
}

#[test]
fn pubsub_counts_clients() {
    if original_differs("asks one server") {
        return;
    }
    if !server_has(7, 0) {
        return eprintln!("skipped: the server has no sharded channels");
    }
    AnyPool::each(|pool| {
        let mut readers: Vec<Client> = (0..5)
            .map(|_| {
                let mut reader = subscriber(&pool.proxy, "SUBSCRIBE", &["count:a", "count:b"]);
                subscribe(&mut reader, "PSUBSCRIBE", &["count:*", "*"]);
                subscribe(&mut reader, "SSUBSCRIBE", &["count:s"]);
                reader
            })
            .collect();
        subscribe(&mut readers[0], "SUBSCRIBE", &["__keyspace@0__:count"]);
        let mut direct: Vec<Client> = pool.masters();
        for client in &mut direct {
            subscribe(client, "SUBSCRIBE", &["count:b"]);
        }
        subscribe(&mut direct[0], "PSUBSCRIBE", &["count:other*"]);
        let more = direct.len() as i64;
        let mut client = pool.proxy.client();
        let numbers = |reply: Value| -> Vec<Value> { reply.elements().to_vec() };
        assert_eq!(
            numbers(client.line("PUBSUB NUMSUB count:a count:b count:none __keyspace@0__:count")),
            [
                bulk("count:a"),
                int(5),
                bulk("count:b"),
                int(5 + more),
                bulk("count:none"),
                int(0),
                bulk("__keyspace@0__:count"),
                int(1)
            ]
        );
        assert_eq!(client.line("PUBSUB NUMSUB"), array([]));
        assert_eq!(numbers(client.line("PUBSUB SHARDNUMSUB count:s")), [bulk("count:s"), int(5)]);
        assert_eq!(client.line("PUBSUB NUMPAT"), int(3));
        let channels = |reply: Value| -> BTreeSet<String> {
            reply.elements().iter().map(Value::text).collect()
        };
        let want = |names: &[&str]| -> BTreeSet<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        assert_eq!(channels(client.line("PUBSUB CHANNELS count:*")), want(&["count:a", "count:b"]));
        assert_eq!(channels(client.line("PUBSUB SHARDCHANNELS")), want(&["count:s"]));
        drop(readers);
        wait_until(SOON, "all to be forgotten", || {
            client.line("PUBSUB NUMSUB count:a").elements()[1] == int(0)
                && client.line("PUBSUB NUMPAT") == int(1)
                && client.line("PUBSUB SHARDCHANNELS") == array([])
        });
        assert_eq!(numbers(client.line("PUBSUB NUMSUB count:b")), [bulk("count:b"), int(more)]);
    });
}

#[test]
fn d27_channels_are_judged_like_keys() {
    if original_differs("D-27") {
        return;
    }
    let server = RedisServer::start();
    let authority = "Authority {\n\
        Auth reader {\nMode read\n}\n\
        Auth writer {\nMode write\nKeyPrefix news. {t}own\nReadKeyPrefix old.\n}\n\
        Auth admin {\nMode admin\n}\n}\n";
    let proxy = Proxy::start(&format!("{authority}{}", groups_conf(&[server.address()])));
    let as_who = |password: &str| {
        let mut client = proxy.client();
        assert_eq!(client.cmd(&["AUTH", password]), ok());
        client
    };
    let denied = error("ERR auth permission deny");
    let no_auth = error("NOAUTH Authentication required.");
    for line in ["SUBSCRIBE a", "PSUBSCRIBE a", "SSUBSCRIBE a", "UNSUBSCRIBE", "PUBLISH a b"] {
        assert_eq!(proxy.client().line(line), no_auth, "{line}");
        assert_eq!(as_who("reader").line(line), denied, "{line}");
    }
    let mut writer = as_who("writer");
    for line in [
        "SUBSCRIBE other",
        "SUBSCRIBE news.a other",
        "SUBSCRIBE old.a",
        "SSUBSCRIBE other",
        "PSUBSCRIBE *",
        "PSUBSCRIBE news*",
        "PSUBSCRIBE [n]ews.*",
        "PUBLISH other x",
        "SPUBLISH news x",
        "PUBSUB NUMSUB news.a",
    ] {
        assert_eq!(writer.line(line), denied, "{line}");
    }
    assert_eq!(writer.line("PUBSUB NUMSUB old.a"), array([bulk("old.a"), int(0)]));
    subscribe(&mut writer, "SUBSCRIBE", &["news.a", "{t}own.b"]);
    subscribe(&mut writer, "PSUBSCRIBE", &["news.*"]);
    assert_eq!(writer.line("SUBSCRIBE other"), denied);
    assert_eq!(as_who("admin").line("PUBLISH other x"), int(0));
    assert_eq!(as_who("writer").line("PUBLISH news.a x"), int(2));
    assert_eq!(writer.reply(), message("news.a", "x"));
    assert_eq!(writer.reply(), pmessage("news.*", "news.a", "x"));
    assert_eq!(writer.line("PUNSUBSCRIBE"), confirmed("punsubscribe", "news.*", 2));
    assert!(!writer.has_something());
}

#[test]
fn who_may_no_longer_hear_what_it_is_subscribed_to_is_disconnected() {
    if original_differs("never reads its file again") {
        return;
    }
    let server = RedisServer::start();
    let pool = groups_conf(&[server.address()]);
    let conf = |prefixes: &str| {
        let auth = format!("Auth root {{\nMode admin\n}}\nAuth w {{\nMode write\n{prefixes}}}\n");
        format!("WorkerThreads 2\nAuthority {{\n{auth}}}\n{pool}")
    };
    let proxy = Proxy::start(&conf(""));
    let reader = |word: &str, name: &str| {
        let mut client = proxy.client();
        assert_eq!(client.line("AUTH w"), ok());
        subscribe(&mut client, word, &[name]);
        client
    };
    let mut fine = [reader("SUBSCRIBE", "news.a"), reader("PSUBSCRIBE", "news.*")];
    let mut others = vec![reader("SUBSCRIBE", "a"), reader("PSUBSCRIBE", "n*")];
    if server_has(7, 0) {
        others.push(reader("SSUBSCRIBE", "n"));
    }
    let mut root = proxy.client();
    assert_eq!(root.line("AUTH root"), ok());
    proxy.write_conf(&conf("KeyPrefix news.\n"));
    assert_eq!(root.line("CONFIG RELOAD"), ok());
    others.iter_mut().for_each(Client::expect_closed);
    root.line("PUBLISH news.a x");
    assert_eq!(fine[0].reply(), message("news.a", "x"));
    assert_eq!(fine[1].reply(), pmessage("news.*", "news.a", "x"));
}

#[test]
fn subscribing_inside_a_transaction_fails_it() {
    if original_differs("disconnects") {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let mut client = pool.proxy.client();
    for line in ["SUBSCRIBE a", "PSUBSCRIBE a", "SSUBSCRIBE a", "UNSUBSCRIBE", "PUNSUBSCRIBE a"] {
        assert_eq!(client.line("MULTI"), ok());
        let name = line.split(' ').next().unwrap().to_lowercase();
        let want =
            format!("ERR command '{name}' is not available inside a transaction through the proxy");
        assert_eq!(client.line(line), error(&want));
        let aborted = "EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(client.line("EXEC"), error(aborted));
    }
    // A message can be published there, and whoever is subscribed may watch before.
    let mut reader = pool.proxy.client();
    assert_eq!(reader.line("WATCH tx:k"), ok());
    subscribe(&mut reader, "SUBSCRIBE", &["tx:c"]);
    let replies = client.pipeline(&["MULTI", "SET tx:k 1", "PUBLISH tx:c x", "EXEC"]);
    assert_eq!(replies[3], array([ok(), int(1)]));
    assert_eq!(reader.reply(), message("tx:c", "x"));
    assert_eq!(reader.line("UNSUBSCRIBE"), confirmed("unsubscribe", "tx:c", 0));
    let replies = reader.pipeline(&["MULTI", "SET tx:k 2", "EXEC"]);
    assert_eq!(replies[2], Value::NilArray, "the key has changed");
}

#[test]
fn what_happens_to_keys_is_told_by_every_master() {
    if original_differs("D-28: listens to one of them") {
        return;
    }
    AnyPool::each(|pool| {
        for mut master in pool.masters() {
            assert_eq!(master.line("CONFIG SET notify-keyspace-events KEA"), ok());
        }
        let keys: Vec<String> = (0..8).map(|number| format!("event:{number}")).collect();
        let channels: Vec<String> =
            keys.iter().map(|key| format!("__keyspace@0__:{key}")).collect();
        let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
        let mut by_key = subscriber(&pool.proxy, "SUBSCRIBE", &channels);
        let mut by_event = subscriber(&pool.proxy, "SUBSCRIBE", &["__keyevent@0__:set"]);
        let mut by_pattern = subscriber(&pool.proxy, "PSUBSCRIBE", &["__keyspace@*__:event:*"]);
        let mut everything = subscriber(&pool.proxy, "PSUBSCRIBE", &["*"]);
        let mut client = pool.proxy.client();
        for key in &keys {
            assert_eq!(client.cmd(&["SET", key, "1"]), ok());
        }
        client.line("PUBLISH event:news x");
        let seen = |reader: &mut Client, count: usize, part: usize| -> BTreeSet<String> {
            (0..count).map(|_| reader.reply().elements()[part].text()).collect()
        };
        let want: BTreeSet<String> = channels.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(seen(&mut by_key, 8, 1), want);
        assert_eq!(seen(&mut by_event, 8, 2), keys.iter().cloned().collect());
        assert_eq!(seen(&mut by_pattern, 8, 2), want);
        let mut all = want;
        all.extend(["__keyevent@0__:set", "event:news"].map(str::to_owned));
        assert_eq!(seen(&mut everything, 17, 2), all);
        for reader in [&mut by_key, &mut by_event, &mut by_pattern, &mut everything] {
            assert!(!reader.has_something(), "something came twice");
        }
    });
}

#[test]
fn sharded_channels_live_with_their_slot() {
    if original_differs("has none") {
        return;
    }
    if !server_has(7, 0) {
        return eprintln!("skipped: the server has no sharded channels");
    }
    AnyPool::each(|pool| {
        let names: Vec<String> = (0..10).map(|number| format!("shard:{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut reader = subscriber(&pool.proxy, "SSUBSCRIBE", &names);
        let mut plain = subscriber(&pool.proxy, "SUBSCRIBE", &names);
        let mut publisher = pool.proxy.client();
        for name in &names {
            assert_eq!(publisher.cmd(&["SPUBLISH", name, "x"]), int(1));
            assert_eq!(reader.reply(), array([bulk("smessage"), bulk(name), bulk("x")]));
        }
        assert!(!plain.has_something() && !reader.has_something());
        for (left, name) in (0..names.len() as i64).rev().zip(&names) {
            assert_eq!(reader.cmd(&["SUNSUBSCRIBE", name]), confirmed("sunsubscribe", name, left));
        }
        assert_eq!(reader.line("PING"), simple("PONG"));
    });
}

#[test]
fn names_may_be_anything() {
    let pool = AnyPool::groups(2, "");
    let names: [&[u8]; 6] = [b"", b"\r\n:1\r\n", b"\0\xff", b"{}", b"*", &[b'n'; 70_000]];
    let mut client = pool.proxy.client();
    let words: Vec<&[u8]> = [&b"SUBSCRIBE"[..]].into_iter().chain(names).collect();
    client.send(wire(&words));
    for (count, name) in (1..).zip(names) {
        assert_eq!(client.reply(), array([bulk("subscribe"), bulk(name), int(count)]));
    }
    let mut publisher = pool.proxy.client();
    for name in names {
        assert_eq!(publisher.cmd(&[b"PUBLISH", name, name]), int(1));
        assert_eq!(client.reply(), array([bulk("message"), bulk(name), bulk(name)]));
    }
}
