//! The first promise: no reply reaches the wrong client, or the right client in the wrong order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::{
    Answer, Client, FakeServer, Proxy, RedisCluster, Value, array, bulk, key_in_slots, ok,
    shared_cluster, simple, wire,
};

/// Numbers that look random and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }
}

/// A request whose reply nobody else can get.
fn tagged(client: &str, number: usize, chance: &mut Chance) -> (Vec<u8>, Value) {
    let key = format!("tag:{client}:{}", number % 5);
    let value = format!("{client}:{number}:{}", "v".repeat(chance.below(300)));
    match chance.below(8) {
        0 => (wire(&["PING"]), simple("PONG")),
        1 => (wire(&["ECHO", &value]), bulk(&value)),
        2 => (wire(&["SET", &key, &value, "GET"]), Value::Null),
        3 => {
            // Written and read back over several masters in one request each.
            let keys = [0, 1, 2].map(|part| format!("{key}:{part}"));
            let values = [0, 1, 2].map(|part| format!("{value}:{part}"));
            let write =
                wire(&["MSET", &keys[0], &values[0], &keys[1], &values[1], &keys[2], &values[2]]);
            let read = wire(&["MGET", &keys[2], &keys[0], &keys[1]]);
            let want = [&values[2], &values[0], &values[1]].map(bulk);
            ([write, read].concat(), array([ok(), array(want)]))
        }
        _ => (
            [wire(&["SET", &key, &value]), wire(&["GET", &key])].concat(),
            array([ok(), bulk(&value)]),
        ),
    }
}

/// One client: pipelines of any length, cut anywhere, now and then a connection dropped in the
/// middle.
fn run(proxy: &Proxy, number: usize, rounds: usize) {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ ((number as u64 + 1) << 20));
    let (mut client, mut lives) = (proxy.client(), 0);
    for round in 0..rounds {
        let name = format!("{number}.{lives}");
        let (mut bytes, mut wants) = (Vec::new(), Vec::new());
        for at in 0..=chance.below(40) {
            let (request, want) = tagged(&name, round * 100 + at, &mut chance);
            bytes.extend_from_slice(&request);
            wants.push(want);
        }
        while !bytes.is_empty() {
            let cut = 1 + chance.below(bytes.len());
            client.send(&bytes[..cut]);
            bytes.drain(..cut);
        }
        if chance.below(10) == 0 {
            // Leaves without its replies; nobody else may get them. What it has sent may still be
            // executed at any time, so that it comes back with keys of its own.
            client = proxy.client();
            lives += 1;
            continue;
        }
        wants.iter().for_each(|want| expect(&mut client, want, &name));
    }
}

/// Compares what was asked by one call of `tagged` with what comes.
#[track_caller]
fn expect(client: &mut Client, want: &Value, name: &str) {
    match want {
        Value::Array(wants) => wants.iter().for_each(|want| assert_eq!(&client.reply(), want)),
        Value::Null => match client.reply() {
            Value::Nil => {}
            reply => {
                let own = format!("{name}:");
                assert!(reply.text().starts_with(&own), "client {name} got {reply:?}");
            }
        },
        want => assert_eq!(&client.reply(), want),
    }
}

#[test]
fn tagged_values_reach_their_clients_in_order() {
    const CLIENTS: usize = 40;
    let proxy = Proxy::for_cluster(shared_cluster());
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let proxy = &proxy;
            scope.spawn(move || run(proxy, number, 60));
        }
    });
}

#[test]
fn many_threads_and_many_clients_on_one_key_each() {
    let pool = shared_cluster().conf_with("    RefreshInterval 100ms");
    let proxy = Proxy::start(&format!("WorkerThreads 4\n{pool}"));
    proxy.wait_for_servers(6);
    let mut clients: Vec<Client> = (0..200).map(|_| proxy.client()).collect();
    for round in 0..20 {
        for (number, client) in clients.iter_mut().enumerate() {
            let (key, value) = (format!("one:{number}"), format!("{number}-{round}"));
            client.send([wire(&["SET", &key, &value]), wire(&["GET", &key])].concat());
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.reply(), ok());
            assert_eq!(client.reply(), bulk(format!("{number}-{round}")));
        }
    }
}

#[test]
fn clients_that_come_and_go_are_all_answered() {
    let proxy = Proxy::for_cluster(shared_cluster());
    thread::scope(|scope| {
        for number in 0..8 {
            let proxy = &proxy;
            scope.spawn(move || {
                for round in 0..400 {
                    let (key, value) = (format!("come:{number}"), format!("{number}-{round}"));
                    let mut client = proxy.client();
                    assert_eq!(client.cmd(&["SET", &key, &value]), ok());
                    assert_eq!(client.line("PING"), simple("PONG"));
                    assert_eq!(client.cmd(&["GET", &key]), bulk(&value));
                    if round % 3 == 0 {
                        // Goes with a reply on its way.
                        client.send(wire(&["GET", &key]));
                    }
                }
            });
        }
    });
}

#[test]
fn replies_that_come_late_find_their_place() {
    // Three masters; the first answers only after the two others have answered many requests behind
    // it.
    let released = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&released);
    let fakes =
        FakeServer::start_cluster(3, move |index, heard| match (heard.name().as_str(), index) {
            ("GET", 0) => {
                crate::support::wait_until(crate::support::SOON, "the test", || {
                    seen.load(Ordering::SeqCst) > 0
                });
                Answer::bulk(heard.word(1))
            }
            ("GET", _) => Answer::bulk(heard.word(1)),
            _ => Answer::Usual,
        });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(3);
    let keys: Vec<String> =
        [0..5461, 5461..10922, 10922..16384].map(|slots| key_in_slots(slots, "k")).to_vec();
    let mut clients: Vec<Client> = (0..10).map(|_| proxy.client()).collect();
    for client in &mut clients {
        for key in keys.iter().cycle().take(30) {
            client.send(wire(&["GET", key]));
        }
    }
    crate::support::wait_until(crate::support::SOON, "the others to have answered", || {
        fakes[1].heard_named("GET").len() == 100 && fakes[2].heard_named("GET").len() == 100
    });
    assert!(
        clients.iter_mut().all(|client| !client.has_something()),
        "a reply overtook an earlier one"
    );
    released.store(1, Ordering::SeqCst);
    for client in &mut clients {
        for key in keys.iter().cycle().take(30) {
            assert_eq!(client.reply(), bulk(key));
        }
    }
}

#[test]
fn replies_are_not_mixed_up_while_server_connections_are_killed() {
    let cluster = RedisCluster::start(3, 0);
    let proxy = Proxy::for_cluster(&cluster);
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..8_usize {
            let (proxy, done) = (&proxy, &done);
            scope.spawn(move || {
                let mut client = proxy.client();
                for round in 0..300 {
                    let words = [format!("kill:{number}:{round}"), format!("{number}-{round}")];
                    let written = client.cmd(&["SET", &words[0], &words[1]]);
                    let read = client.cmd(&["GET", &words[0]]);
                    // An error is honest; another's value, or an old one after OK, is not.
                    assert!(written == ok() || written.error_text().is_some(), "{written:?}");
                    let missing = read == Value::Nil && written != ok();
                    assert!(
                        read == bulk(&words[1]) || read.error_text().is_some() || missing,
                        "{words:?}: {read:?}"
                    );
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        let mut node = 0;
        while done.load(Ordering::SeqCst) < 8 {
            cluster.node(node % 3).kill_client_connections();
            node += 1;
        }
    });
}
