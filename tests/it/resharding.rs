//! Slots that move from master to master while clients write: no acknowledged write is lost, no
//! reply is wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::support::{
    Client, Proxy, RedisCluster, Value, array, bulk, int, key_in_slots, ok, slot_of,
};

/// Keys of one writer, all in slots that move.
fn keys_of(writer: usize, slots: &[u16]) -> Vec<String> {
    let keys = slots.iter().flat_map(|&slot| {
        let prefix = format!("reshard:{writer}:{slot}:");
        let first = key_in_slots(slot..slot + 1, &prefix);
        // Two keys of the same slot: while it moves, one may be here and the other there.
        [first.clone(), format!("{{{first}}}twin")]
    });
    keys.collect()
}

/// Writes and reads its own keys until told to stop; tells what was acknowledged last, key by key.
fn write(mut client: Client, keys: &[String], stop: &AtomicBool, count: &AtomicU64) -> Vec<i64> {
    let mut acknowledged = vec![0; keys.len()];
    while !stop.load(Ordering::Relaxed) {
        for (key, number) in keys.iter().zip(&mut acknowledged) {
            *number += 1;
            // INCR tells at once if one was lost or done twice.
            assert_eq!(client.cmd(&["INCR", key]), int(*number), "INCR {key}");
            assert_eq!(client.cmd(&["GET", key]), bulk(number.to_string()), "GET {key}");
            count.fetch_add(1, Ordering::Relaxed);
        }
        let replies =
            keys.iter().map(|key| crate::support::wire(&["GET", key])).collect::<Vec<_>>().concat();
        client.send(replies);
        for (key, number) in keys.iter().zip(&acknowledged) {
            assert_eq!(client.reply(), bulk(number.to_string()), "pipelined GET {key}");
        }
    }
    acknowledged
}

#[test]
fn slots_that_move_under_load_lose_nothing() {
    const WRITERS: usize = 6;
    let cluster = RedisCluster::start(3, 0);
    let proxy = Proxy::for_cluster(&cluster);
    let slots: Vec<u16> = vec![7, 100, 2000, 5000];
    let keys: Vec<Vec<String>> = (0..WRITERS).map(|writer| keys_of(writer, &slots)).collect();
    // Ballast, so that a slot takes several steps.
    let mut client = proxy.client();
    for &slot in &slots {
        let tag = key_in_slots(slot..slot + 1, "tag");
        for number in 0..100 {
            assert_eq!(client.cmd(&["SET", &format!("{{{tag}}}{number}"), "ballast"]), ok());
        }
    }
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let writers: Vec<_> = keys
            .iter()
            .map(|keys| {
                let (client, stop, count) = (proxy.client(), &stop, &count);
                scope.spawn(move || write(client, keys, stop, count))
            })
            .collect();
        for round in 0..3 {
            for &slot in &slots {
                move_slowly(&cluster, slot, round % 3, (round + 1) % 3, &count, &|| {
                    writers.iter().any(|writer| writer.is_finished())
                });
            }
        }
        stop.store(true, Ordering::Relaxed);
        let acknowledged: Vec<Vec<i64>> =
            writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        for (keys, numbers) in keys.iter().zip(acknowledged) {
            for (key, number) in keys.iter().zip(numbers) {
                // Every slot is back where it came from: the first master.
                assert_eq!(cluster.node(0).client().cmd(&["GET", key]), bulk(number.to_string()));
            }
        }
    });
}

/// Moves a slot in steps, each after some more writes have been done.
fn move_slowly(
    cluster: &RedisCluster,
    slot: u16,
    from: usize,
    to: usize,
    count: &AtomicU64,
    somebody_gave_up: &dyn Fn() -> bool,
) {
    let a_few_writes = || {
        let goal = count.load(Ordering::Relaxed) + 30;
        crate::support::wait_until(crate::support::SOON, "some writes", || {
            count.load(Ordering::Relaxed) >= goal || somebody_gave_up()
        });
    };
    cluster.begin_migration(slot, from, to);
    a_few_writes();
    while cluster.migrate_keys(slot, from, to, 40) > 0 {
        a_few_writes();
    }
    cluster.end_migration(slot, from, to);
    a_few_writes();
}

#[test]
fn a_slot_that_is_half_moved_serves_the_old_and_the_new_keys() {
    let cluster = RedisCluster::start(2, 0);
    let proxy = Proxy::for_cluster(&cluster);
    let mut client = proxy.client();
    let tag = cluster.key_on(0, "half:");
    let slot = slot_of(tag.as_bytes());
    let keys: Vec<String> = (0..20).map(|number| format!("{{{tag}}}{number}")).collect();
    for key in &keys {
        assert_eq!(client.cmd(&["SET", key, key]), ok());
    }
    cluster.begin_migration(slot, 0, 1);
    assert_eq!(cluster.migrate_keys(slot, 0, 1, 10), 10);
    for key in &keys {
        assert_eq!(client.cmd(&["GET", key]), bulk(key));
        assert_eq!(client.cmd(&["APPEND", key, ""]), int(i64::try_from(key.len()).unwrap()));
    }
    let new = format!("{{{tag}}}new");
    assert_eq!(client.cmd(&["GET", &new]), Value::Nil);
    assert_eq!(client.cmd(&["SET", &new, "1"]), ok());
    cluster.migrate_slot(slot, 0, 1);
    let all: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    assert_eq!(client.cmd(&all), array(keys.iter().map(bulk)));
    assert_eq!(cluster.node(1).client().cmd(&["GET", &new]), bulk("1"));
}
