//! Subscribers whose server is lost: killed, stopped, replaced, or without the slot any more.

use std::time::{Duration, Instant};

use crate::support::{
    Answer, Client, FakeServer, Lost, Proxy, RedisCluster, RedisServer, SOON, Value, Watched,
    array, bulk, groups_conf, int, ok, original_differs, server_has, slot_of, wait_until, wire,
};

fn subscribe(client: &mut Client, word: &str, names: &[&str]) {
    client.send(wire(&[&[word], names].concat()));
    for name in names {
        let reply = client.reply();
        assert_eq!(reply.elements()[1], bulk(name), "{word} {name}: {reply:?}");
    }
}

/// Publishes until it is heard: after a loss somebody has to be subscribed again first. Whoever
/// hears it is still subscribed.
#[track_caller]
fn publish_until_heard(publish: &mut dyn FnMut() -> Option<Value>, reader: &mut Client) {
    let until = Instant::now() + SOON;
    reader.set_deadline(Duration::from_millis(50));
    loop {
        publish();
        match reader.try_reply() {
            Ok(_) => break,
            Err(Lost::TimedOut) => assert!(Instant::now() < until, "nothing is heard"),
            Err(lost) => panic!("no longer subscribed: {lost:?}"),
        }
    }
    // The others that were published before, if they were only slow.
    while reader.has_something() {
        reader.reply();
    }
    reader.set_deadline(SOON);
}

#[test]
fn subscribers_outlive_connections_that_are_killed() {
    if original_differs("subscribers have connections of their own, which end") {
        return;
    }
    let servers = [RedisServer::start(), RedisServer::start()];
    let proxy = Proxy::start(&format!(
        "WorkerThreads 2\n{}",
        groups_conf(&servers.each_ref().map(RedisServer::address))
    ));
    let names: Vec<String> = (0..50).map(|number| format!("kill:{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut readers = [proxy.client(), proxy.client(), proxy.client()];
    for reader in &mut readers {
        subscribe(reader, "SUBSCRIBE", &names);
        subscribe(reader, "PSUBSCRIBE", &["other:*"]);
    }
    for round in 0..5 {
        for server in &servers {
            let killed = server.client().line("CLIENT KILL TYPE pubsub");
            assert!(killed.number() >= 1, "round {round}: nobody is subscribed");
        }
        // All is as before as soon as the servers know all of it.
        for server in &servers {
            let mut client = server.client();
            wait_until(SOON, "both threads to be subscribed again", || {
                client.line("CLIENT LIST TYPE pubsub").text().matches(" psub=1").count() == 2
            });
        }
        let known = || {
            let all = servers.iter().map(|server| {
                let reply = server.client().line("PUBSUB CHANNELS kill:*");
                reply.elements().len()
            });
            all.sum::<usize>()
        };
        wait_until(SOON, "all channels to be known again", || known() == names.len());
        let mut publisher = proxy.client();
        for name in &names {
            wait_until(SOON, "both threads to hear", || {
                publisher.cmd(&["PUBSUB", "NUMSUB", name]).elements()[1].number() == 3
            });
        }
        for name in ["kill:7", "kill:8", "other:9"] {
            publisher.cmd(&["PUBLISH", name, &format!("{round}")]);
        }
        for reader in &mut readers {
            for _ in 0..3 {
                let text = reader.reply().elements().last().unwrap().text();
                assert_eq!(text, round.to_string());
            }
        }
    }
}

#[test]
fn a_server_that_comes_back_at_once_is_subscribed_to_again() {
    if original_differs("subscribers have connections of their own, which end") {
        return;
    }
    let mut server = RedisServer::start();
    let pool = groups_conf(&[server.address()]).replace("fixed", "fixed\n    ServerTimeout 20");
    let proxy = Proxy::start(&pool);
    let mut reader = proxy.client();
    subscribe(&mut reader, "SUBSCRIBE", &["back"]);
    server.restart();
    let mut publisher = proxy.client();
    publish_until_heard(&mut || Some(publisher.line("PUBLISH back x")), &mut reader);
}

#[test]
fn a_server_may_take_its_time_as_long_as_it_goes_on() {
    if original_differs("waits for ever") {
        return;
    }
    // A tenth of a second for each, which makes three seconds for the last.
    let fake = FakeServer::start(|heard| match heard.name().as_str() {
        "SUBSCRIBE" => {
            std::thread::sleep(Duration::from_millis(100));
            let name = heard.word(1);
            let length = name.len();
            Answer::text(format!("*3\r\n$9\r\nsubscribe\r\n${length}\r\n{name}\r\n:1\r\n"))
        }
        _ => Answer::Usual,
    });
    let conf = groups_conf(&[fake.address()]);
    let proxy = Proxy::start(&conf.replace("Databases", "ServerTimeout 2\n    Databases"));
    let mut client = proxy.client();
    let names: Vec<String> = (0..30).map(|number| format!("many:{number}")).collect();
    client.send(wire(&[vec!["SUBSCRIBE"], names.iter().map(String::as_str).collect()].concat()));
    for (count, name) in (1..).zip(&names) {
        assert_eq!(client.reply(), array([bulk("subscribe"), bulk(name), int(count)]));
    }
}

#[test]
fn in_a_pause_a_server_may_be_away_for_as_long_as_it_likes() {
    if original_differs("knows no pause") {
        return;
    }
    let mut server = RedisServer::start();
    let pool = groups_conf(&[server.address()]).replace("fixed", "fixed\n    ServerTimeout 100ms");
    let proxy = Proxy::start(&format!("WorkerThreads 1\n{pool}"));
    let mut reader = proxy.client();
    subscribe(&mut reader, "SUBSCRIBE", &["pause"]);
    let mut admin = proxy.client();
    assert_eq!(admin.line("PROXY PAUSE"), ok());
    server.kill();
    let failures = || proxy.log().matches("connect fail").count();
    wait_until(SOON, "much more time to pass than it would have otherwise", || failures() > 5);
    server.restart();
    wait_until(SOON, "it to be subscribed to again", || {
        server.client().line("PUBLISH pause x").number() == 1
    });
    assert_eq!(reader.reply().elements()[2], bulk("x"));
    assert_eq!(admin.line("PROXY RESUME"), ok());
}

#[test]
fn who_has_missed_too_much_is_disconnected() {
    if original_differs("subscribers have connections of their own, which end") {
        return;
    }
    let mut servers = [RedisServer::start(), RedisServer::start()];
    let conf = groups_conf(&servers.each_ref().map(RedisServer::address));
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{conf}"));
    let there = crate::support::key_in_group(0, 2, "missed:");
    let gone = crate::support::key_in_group(1, 2, "missed:");
    let mut unhurt = proxy.client();
    subscribe(&mut unhurt, "SUBSCRIBE", &[&there]);
    let mut hurt: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
    for (number, client) in hurt.iter_mut().enumerate() {
        subscribe(client, "SUBSCRIBE", &[&there]);
        // A pattern needs all groups.
        let (word, name) =
            if number % 2 == 0 { ("SUBSCRIBE", &*gone) } else { ("PSUBSCRIBE", "x*") };
        subscribe(client, word, &[name]);
    }
    servers[1].kill();
    hurt.iter_mut().for_each(Client::expect_closed);
    // Who wants to be subscribed there now is told that nobody is there; nothing else is harmed.
    let mut late = proxy.client();
    late.send(wire(&["SUBSCRIBE", &*there, &*gone]));
    late.send(wire(&["PING"]));
    let refused = late.reply();
    assert_eq!(refused.error_text(), Some("ERR no server connection avaliable"));
    assert_eq!(late.reply(), crate::support::simple("PONG"));
    let mut publisher = proxy.client();
    assert_eq!(publisher.cmd(&["PUBLISH", &there, "x"]).number(), 1);
    assert_eq!(unhurt.reply().elements()[2], bulk("x"));
    servers[1].restart();
    wait_until(SOON, "it to be possible again", || {
        late.cmd(&["SUBSCRIBE", &gone]).error_text().is_none()
    });
}

#[test]
fn a_server_that_stops_is_noticed_although_nobody_asks_it_anything() {
    if original_differs("subscribers have connections of their own") {
        return;
    }
    let servers = [RedisServer::start(), RedisServer::start()];
    let conf = groups_conf(&servers.each_ref().map(RedisServer::address));
    let proxy = Proxy::start(&conf);
    let mut reader = proxy.client();
    let name = crate::support::key_in_group(0, 2, "stops:");
    subscribe(&mut reader, "SUBSCRIBE", &[&name]);
    servers[0].pause();
    reader.expect_closed();
    servers[0].resume();
    let mut reader = proxy.client();
    wait_until(SOON, "it to be possible again", || {
        reader.cmd(&["SUBSCRIBE", &name]).error_text().is_none()
    });
    let mut publisher = proxy.client();
    assert_eq!(publisher.cmd(&["PUBLISH", &name, "x"]).number(), 1);
    assert_eq!(reader.reply().elements()[2], bulk("x"));
}

#[test]
fn subscribers_follow_a_failover_of_sentinel() {
    if original_differs("subscribers have connections of their own") {
        return;
    }
    let mut watched = Watched::start(3, 1, 2);
    for server in &watched.groups[0].servers {
        assert_eq!(server.client().line("CONFIG SET notify-keyspace-events KEA"), ok());
    }
    let conf = watched.conf("    RefreshInterval 200ms\n    ServerTimeout 60");
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{conf}"));
    proxy.wait_for_servers(2);
    let mut reader = proxy.client();
    let mut events = proxy.client();
    subscribe(&mut reader, "SUBSCRIBE", &["news"]);
    subscribe(&mut events, "PSUBSCRIBE", &["__keyspace@0__:*"]);
    watched.groups[0].servers[0].kill();
    watched.wait_for_new_master(0, 0);
    let mut client = proxy.client();
    client.set_deadline(Duration::from_secs(60));
    publish_until_heard(&mut || client.try_cmd(&["PUBLISH", "news", "x"]).ok(), &mut reader);
    publish_until_heard(&mut || client.try_cmd(&["SET", "key", "x"]).ok(), &mut events);
    // The old one comes back as a replica, which tells the same; nobody hears it twice.
    watched.groups[0].servers[0].restart();
    let old = watched.groups[0].servers[0].address();
    wait_until(Duration::from_secs(60), "it to be a replica", || {
        proxy.servers().iter().any(|server| server.address == old && server.role == "slave")
    });
    assert_eq!(client.line("PUBLISH news y").number(), 1);
    assert_eq!(reader.reply().elements()[2], bulk("y"));
    assert_eq!(client.line("SET key2 y"), ok());
    assert_eq!(events.reply().elements()[2], bulk("__keyspace@0__:key2"));
    assert!(!reader.has_something() && !events.has_something());
}

/// What a cluster of three masters, and a replica of each, goes through.
#[test]
fn subscribers_follow_slots_and_masters_of_a_cluster() {
    if original_differs("subscribers have connections of their own") {
        return;
    }
    if !server_has(7, 0) {
        return eprintln!("skipped: the server has no sharded channels");
    }
    let mut cluster = RedisCluster::start_with(3, 1, Duration::from_secs(2));
    for index in 0..cluster.len() {
        let mut node = cluster.node(index).client();
        assert_eq!(node.line("CONFIG SET notify-keyspace-events KEA"), ok());
    }
    // Nobody asks who owns what unless there is a reason.
    let pool = cluster.conf_with("    RefreshInterval 600\n    ServerTimeout 60");
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{pool}"));
    proxy.wait_for_servers(cluster.len());
    let name = cluster.key_on(0, "follow:");
    let key = cluster.key_on(0, "followed:");
    let mut sharded = proxy.client();
    let mut plain = proxy.client();
    let mut events = proxy.client();
    subscribe(&mut sharded, "SSUBSCRIBE", &[&name]);
    subscribe(&mut plain, "SUBSCRIBE", &[&name]);
    subscribe(&mut plain, "PSUBSCRIBE", &["*"]);
    subscribe(&mut events, "SUBSCRIBE", &[&format!("__keyspace@0__:{key}")]);
    let mut client = proxy.client();
    client.set_deadline(Duration::from_secs(60));

    // A slot moves: nobody who has only plain channels notices anything at all.
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        cluster.migrate_slot(slot_of(name.as_bytes()), from, to);
        let mut owner = cluster.node(to).client();
        publish_until_heard(&mut || owner.try_cmd(&["SPUBLISH", &name, "x"]).ok(), &mut sharded);
        client.cmd(&["PUBLISH", &name, "x"]);
        assert_eq!(plain.reply().elements()[0], bulk("message"));
        assert_eq!(plain.reply().elements()[0], bulk("pmessage"));
        assert!(!plain.has_something() && !sharded.has_something());
    }
    assert_eq!(client.cmd(&["SET", &key, "1"]), ok());
    assert_eq!(events.reply().elements()[2], bulk("set"));
    wait_until(SOON, "the events for the pattern", || {
        plain.reply().elements()[2] == bulk("__keyevent@0__:set")
    });
    assert!(!plain.has_something());

    // A master gives its place to its replica, and then that one dies and the old one takes over.
    let replica = cluster.replica_of(0);
    cluster.fail_over_to(replica);
    publish_until_heard(&mut || client.try_cmd(&["SPUBLISH", &name, "y"]).ok(), &mut sharded);
    publish_until_heard(&mut || client.try_cmd(&["SET", &key, "2"]).ok(), &mut events);
    // The old master tells of the keys as well, as a replica: one of the two is enough.
    let is_known_at = |node: usize| {
        let channels = cluster.node(node).client().line("PUBSUB CHANNELS __keyspace*");
        !channels.elements().is_empty()
    };
    wait_until(SOON, "the new one alone to be listened to", || {
        is_known_at(replica) && !is_known_at(0)
    });
    cluster.node_mut(replica).kill();
    publish_until_heard(&mut || client.try_cmd(&["SPUBLISH", &name, "z"]).ok(), &mut sharded);
    publish_until_heard(&mut || client.try_cmd(&["SET", &key, "3"]).ok(), &mut events);
    publish_until_heard(&mut || client.try_cmd(&["PUBLISH", &name, "z"]).ok(), &mut plain);
}
