//! Subscribers in an upgrade: they hear every message, each once, or the end of their connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::support::{
    AnyPool, Client, Proxy, RedisServer, SOON, Value, array, bulk, error, groups_conf, int,
    key_in_group, ok, original_differs, simple, wait_until, wire,
};

const LACKS: &str = "SIGUSR2 kills it";

/// Publishes numbers on one channel, one after the other, straight at a server.
struct Publisher {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl Publisher {
    fn start(mut server: Client, word: &'static str, channel: &str) -> Publisher {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (channel, told, counted) = (channel.to_owned(), Arc::clone(&stop), Arc::clone(&count));
        let thread = thread::spawn(move || {
            while !told.load(Ordering::SeqCst) {
                let number = counted.load(Ordering::SeqCst);
                assert!(server.cmd(&[word, &channel, &number.to_string()]).number() >= 0);
                counted.store(number + 1, Ordering::SeqCst);
            }
        });
        Publisher { stop, count, thread }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// How many numbers there were.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("a publisher without errors");
        self.count.load(Ordering::SeqCst)
    }
}

#[track_caller]
fn subscribe(client: &mut Client, word: &str, name: &str) {
    client.send(wire(&[word, name]));
    assert_eq!(client.reply().elements()[1], bulk(name));
}

/// The number in a message, of whatever kind.
#[track_caller]
fn number_in(message: &Value) -> u64 {
    let text = message.elements().last().expect("a payload").text();
    text.parse().unwrap_or_else(|_| panic!("no number in {message:?}"))
}

#[test]
fn three_upgrades_in_a_row_lose_and_repeat_no_message() {
    if original_differs(LACKS) {
        return;
    }
    let check = |pool: &mut AnyPool, names: &[String]| {
        for (index, name) in names.iter().enumerate() {
            let event = format!("__keyspace@0__:{name}");
            let mut readers: Vec<(Client, u64)> = Vec::new();
            // The kinds of subscription, by both protocols, in both threads.
            let kinds = [("SUBSCRIBE", name.clone()), ("PSUBSCRIBE", format!("{name}*"))];
            for (word, what) in kinds {
                for protocol in ["2", "3", "2", "3"] {
                    let mut reader = pool.proxy.client();
                    reader.line(&format!("HELLO {protocol}"));
                    subscribe(&mut reader, word, &what);
                    // Others that nothing comes from must not matter.
                    subscribe(&mut reader, "SUBSCRIBE", &event);
                    readers.push((reader, 0));
                }
            }
            let server = pool.masters().remove(index);
            let publisher = Publisher::start(server, "PUBLISH", name);
            for _ in 0..3 {
                let before = publisher.count();
                wait_until(SOON, "messages", || publisher.count() > before + 200);
                pool.proxy.upgrade();
            }
            let before = publisher.count();
            wait_until(SOON, "messages", || publisher.count() > before + 200);
            let total = publisher.end();
            let mut first_seen = Vec::new();
            for (reader, next) in &mut readers {
                *next = number_in(&reader.reply());
                first_seen.push(*next);
                while *next + 1 < total {
                    assert_eq!(number_in(&reader.reply()), *next + 1, "of {total}");
                    *next += 1;
                }
            }
            // All were subscribed before the first was published.
            assert!(first_seen.iter().all(|first| *first == 0), "{first_seen:?}");
            // They are clients like any other still.
            for (reader, _) in &mut readers {
                assert!(!reader.has_something(), "something came twice");
                subscribe(reader, "SUBSCRIBE", "upgrade:more");
            }
            let numsub = pool.proxy.client().line("PUBSUB NUMSUB upgrade:more");
            assert_eq!(numsub, array([bulk("upgrade:more"), int(8)]));
        }
    };
    check(&mut AnyPool::cluster(), &["upgrade:news".into()]);
    let groups = [0, 1].map(|group| key_in_group(group, 2, "upgrade:"));
    check(&mut AnyPool::groups(2, ""), &groups);
}

#[test]
fn sharded_channels_and_events_of_keys_go_over_as_well() {
    if original_differs(LACKS) || !crate::support::server_has(7, 0) {
        return;
    }
    let mut pool = AnyPool::cluster();
    let mut shard = pool.proxy.client();
    subscribe(&mut shard, "SSUBSCRIBE", "upgrade:shard");
    let mut events = pool.proxy.client();
    subscribe(&mut events, "PSUBSCRIBE", "__keyspace@0__:upgrade:*");
    for master in &mut pool.masters() {
        assert_eq!(master.line("CONFIG SET notify-keyspace-events KA"), ok());
    }
    for _ in 0..2 {
        pool.proxy.upgrade();
    }
    let mut client = pool.proxy.client();
    assert_eq!(client.line("SPUBLISH upgrade:shard x").number(), 1);
    assert_eq!(shard.reply(), array([bulk("smessage"), bulk("upgrade:shard"), bulk("x")]));
    // Keys on both masters: each tells of its own.
    for number in 0..10 {
        assert_eq!(client.cmd(&["SET", &format!("upgrade:{number}"), "v"]), ok());
        let key = format!("__keyspace@0__:upgrade:{number}");
        let want = ["pmessage", "__keyspace@0__:upgrade:*", &key, "set"].map(bulk);
        assert_eq!(events.reply(), array(want));
    }
    assert!(!shard.has_something() && !events.has_something());
    assert_eq!(shard.line("SUNSUBSCRIBE").elements()[2], int(0));
    assert_eq!(shard.line("PING"), simple("PONG"));
}

#[test]
fn subscribers_go_on_as_who_they_were_with_what_they_have_not_read() {
    if original_differs(LACKS) {
        return;
    }
    let mut pool = AnyPool::groups(
        1,
        "Authority {\nAuth w {\nMode write\nKeyPrefix upgrade\n}\nAuth a {\nMode admin\n}\n}",
    );
    let mut reader = pool.proxy.client();
    assert_eq!(reader.line("AUTH w"), ok());
    assert_eq!(reader.line("CLIENT SETNAME listener"), ok());
    let id = reader.line("CLIENT ID").number();
    subscribe(&mut reader, "SUBSCRIBE", "upgrade:a");
    subscribe(&mut reader, "PSUBSCRIBE", "upgrade:b*");
    // More than the kernel takes, so that some is with the old process still.
    let text = "x".repeat(100_000);
    let mut master = pool.masters().remove(0);
    let messages = 60;
    for _ in 0..messages {
        assert_eq!(master.cmd(&["PUBLISH", "upgrade:a", &text]), int(1));
    }
    // The beginning of a request, which only the new process can finish.
    reader.send(b"*2\r\n$4\r\nPING\r\n$5\r\nhe");
    let mut admin = pool.proxy.client();
    assert_eq!(admin.line("AUTH a"), ok());
    wait_until(SOON, "the kernel to take no more", || {
        !admin.line(&format!("CLIENT LIST ID {id}")).text().contains(" omem=0 ")
    });
    let proxy = &mut pool.proxy;
    proxy.process().signal("USR2");
    wait_until(SOON, "another process to take over", || proxy.log().contains("takes over"));
    for _ in 0..messages {
        assert_eq!(reader.reply(), array(["message", "upgrade:a", &text].map(bulk)));
    }
    proxy.follow_upgrade();
    reader.send(b"llo\r\n");
    assert_eq!(reader.reply(), array([bulk("pong"), bulk("hello")]));
    let listed = admin.line(&format!("CLIENT LIST ID {id}")).text();
    assert!(listed.contains("name=listener"), "{listed}");
    assert_eq!(admin.line("PUBSUB NUMPAT"), int(1));
    assert_eq!(master.line("PUBLISH upgrade:b2 x"), int(1));
    assert_eq!(reader.reply().elements()[2], bulk("upgrade:b2"));
    assert_eq!(reader.line("SUBSCRIBE other"), error("ERR auth permission deny"));
}

#[test]
fn who_subscribes_in_the_very_moment_is_subscribed() {
    if original_differs(LACKS) {
        return;
    }
    let mut pool = AnyPool::cluster();
    let mut keeper = pool.proxy.client();
    subscribe(&mut keeper, "SUBSCRIBE", "upgrade:moment");
    let stop = Arc::new(AtomicBool::new(false));
    let comers: Vec<_> = (0..3)
        .map(|number| {
            let (address, stop) = (pool.proxy.address().clone(), Arc::clone(&stop));
            thread::spawn(move || {
                let (mut count, mut last) = (0, None);
                while !stop.load(Ordering::SeqCst) {
                    let mut client = last.take().unwrap_or_else(|| Client::connect(&address));
                    let channel = format!("upgrade:moment:{number}:{count}");
                    subscribe(&mut client, "SUBSCRIBE", &channel);
                    subscribe(&mut client, "PSUBSCRIBE", &format!("{channel}*"));
                    let mut other = Client::connect(&address);
                    assert!(other.cmd(&["PUBLISH", &channel, "x"]).number() >= 1);
                    // By way of two nodes, perhaps, and so in any order.
                    let mut kinds = [(); 2].map(|()| client.reply().elements()[0].text());
                    kinds.sort();
                    assert_eq!(kinds, ["message", "pmessage"]);
                    subscribe(&mut client, "UNSUBSCRIBE", &channel);
                    count += 1;
                    last = (count % 3 > 0).then_some(client);
                }
                count
            })
        })
        .collect();
    for _ in 0..3 {
        pool.proxy.upgrade();
    }
    stop.store(true, Ordering::SeqCst);
    for comer in comers {
        assert!(comer.join().expect("nobody was lost") > 0);
    }
    assert!(pool.proxy.client().line("PUBLISH upgrade:moment x").number() >= 1);
    assert_eq!(keeper.reply().elements()[2], bulk("x"));
}

#[test]
fn who_cannot_go_over_is_told_by_the_end_of_its_connection() {
    if original_differs(LACKS) {
        return;
    }
    let server = RedisServer::start();
    let pool = groups_conf(&[server.address()]);
    let mut proxy = Proxy::start(&format!("WorkerThreads 4\n{pool}"));
    let mut readers: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    readers.iter_mut().for_each(|reader| subscribe(reader, "SUBSCRIBE", "upgrade:few"));
    // In the middle of a transaction, as RESP3 allows.
    let mut busy = proxy.client();
    busy.line("HELLO 3");
    subscribe(&mut busy, "SUBSCRIBE", "upgrade:few");
    assert_eq!(busy.line("WATCH upgrade:k"), ok());
    // One thread cannot listen for four.
    proxy.write_conf(&format!("WorkerThreads 1\n{pool}"));
    proxy.upgrade();
    busy.expect_closed();
    let mut direct = server.client();
    wait_until(SOON, "one connection to listen", || {
        direct.line("PUBSUB NUMSUB upgrade:few").elements()[1] == int(1)
    });
    assert_eq!(direct.line("PUBLISH upgrade:few x"), int(1));
    let (mut stayed, mut told) = (0, 0);
    for reader in &mut readers {
        match reader.try_reply() {
            Ok(message) => {
                assert_eq!(message, array(["message", "upgrade:few", "x"].map(bulk)));
                stayed += 1;
            }
            Err(_) => told += 1,
        }
    }
    assert!(stayed >= 1 && stayed + told == 8, "{stayed} {told}");
}
