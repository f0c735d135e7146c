//! SCAN and RANDOMKEY over all masters: every key comes, whatever happens meanwhile.

use std::collections::BTreeSet;

use crate::support::{
    Answer, AnyPool, Client, FakeServer, Proxy, RedisCluster, SOON, Value, bulk, error, int,
    nodes_line, ok, original_differs, slot_of, wait_until,
};

/// One step of an iteration: the next cursor and the keys.
#[track_caller]
fn step(client: &mut Client, cursor: &str, more: &str) -> (String, Vec<String>) {
    let reply = client.line(format!("SCAN {cursor} {more}").trim_end());
    let [next, keys] = reply.elements() else { panic!("not a step: {reply:?}") };
    (next.text(), keys.elements().iter().map(Value::text).collect())
}

/// A whole iteration, during which `meanwhile` is told how many steps were made.
#[track_caller]
fn scan(client: &mut Client, more: &str, mut meanwhile: impl FnMut(usize)) -> Vec<String> {
    let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
    for count in 1..10_000 {
        let (next, some) = step(client, &cursor, more);
        assert!(next.parse::<u64>().is_ok_and(|next| i64::try_from(next).is_ok()), "{next}");
        keys.extend(some);
        if next == "0" {
            return keys;
        }
        cursor = next;
        meanwhile(count);
    }
    panic!("no end");
}

/// Sets so many keys and tells their names.
fn fill(client: &mut Client, count: usize) -> BTreeSet<String> {
    let names: BTreeSet<String> = (0..count).map(|number| format!("key:{number}")).collect();
    let pairs = names.iter().flat_map(|name| [name.as_str(), "v"]);
    let words: Vec<&str> = ["MSET"].into_iter().chain(pairs).collect();
    assert_eq!(client.cmd(&words), ok());
    names
}

#[test]
fn a_scan_returns_every_key_once_while_nothing_changes() {
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        assert_eq!(scan(&mut client, "", |_| ()), Vec::<String>::new());
        let names = fill(&mut client, 500);
        for more in ["", "COUNT 1", "COUNT 77", "COUNT 100000"] {
            let keys = scan(&mut client, more, |_| ());
            assert_eq!(
                (keys.len(), keys.into_iter().collect::<BTreeSet<_>>()),
                (500, names.clone())
            );
        }
    });
}

#[test]
fn every_form_of_scan_is_understood_by_all_masters() {
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        fill(&mut client, 100);
        for number in 0..30 {
            assert_eq!(client.line(&format!("SADD set:{number} m")), int(1));
        }
        let count = |client: &mut Client, more: &str| scan(client, more, |_| ()).len();
        assert_eq!(count(&mut client, "MATCH key:7*"), 11);
        assert_eq!(count(&mut client, "TYPE set"), 30);
        assert_eq!(count(&mut client, "COUNT 3 MATCH *:1? TYPE string"), 10);
        assert_eq!(client.line("SCAN 0 COUNT x").error_text(), Some(NOT_AN_INTEGER));
        assert_eq!(client.line("SCAN 0 NONSENSE 1").error_text(), Some("ERR syntax error"));
    });
}

const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

#[test]
fn steps_of_a_scan_keep_their_place_in_a_pipeline() {
    let pool = AnyPool::cluster();
    let mut client = pool.proxy.client();
    let replies =
        client.pipeline(&["SET a 1", "SCAN 0 COUNT 1000", "GET a", "SCAN 1 COUNT 1000", "GET a"]);
    assert_eq!(replies[0], ok());
    assert_eq!((&replies[2], &replies[4]), (&bulk("1"), &bulk("1")));
    let counts = [1, 3].map(|at: usize| replies[at].elements()[1].elements().len());
    assert_eq!(counts.iter().sum::<usize>(), 1);
}

#[test]
fn the_keys_of_one_step_may_be_many() {
    let pool = AnyPool::cluster();
    let mut client = pool.proxy.client();
    let names = fill(&mut client, 20_000);
    let keys = scan(&mut client, "COUNT 1000000", |_| ());
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), names);
}

/// Fakes that answer each step with the same cursor, and remember what they were asked.
fn cursors(answers: &'static [&'static str]) -> (Vec<FakeServer>, Proxy) {
    let fakes = FakeServer::start_cluster(answers.len(), |index, heard| {
        if heard.name() == "SCAN" {
            let cursor = answers[index];
            Answer::text(format!("*2\r\n${}\r\n{cursor}\r\n*1\r\n$1\r\nk\r\n", cursor.len()))
        } else {
            Answer::Usual
        }
    });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(answers.len());
    (fakes, proxy)
}

/// The last SCAN that any of them was asked.
fn asked(fakes: &[FakeServer]) -> Vec<String> {
    let asked = fakes.iter().flat_map(|fake| fake.heard_named("SCAN"));
    asked.map(|heard| heard.word(1)).collect()
}

#[test]
fn the_cursor_is_the_servers_shifted_with_the_group_in_it() {
    let (fakes, proxy) = cursors(&["20"]);
    let mut client = proxy.client();
    assert_eq!(step(&mut client, "0", "").0, "20480");
    assert_eq!(step(&mut client, "7168", "").0, "20480");
    assert_eq!(asked(&fakes), ["0", "7"]);
    let (fakes, proxy) = cursors(&["0", "0"]);
    let mut client = proxy.client();
    assert_eq!(step(&mut client, "0", "").0, "1");
    assert_eq!(step(&mut client, "1024", "").0, "1");
    assert_eq!(step(&mut client, "1", "").0, "0");
    assert_eq!(step(&mut client, "1025", "").0, "0");
    let mut asked = asked(&fakes);
    asked.sort();
    assert_eq!(asked, ["0", "0", "1", "1"]);
}

#[test]
fn what_is_no_cursor_is_refused() {
    let pool = AnyPool::groups(2, "");
    let mut client = pool.proxy.client();
    for cursor in ["x", "-1", "1023", "2", "1026", "0.5"] {
        assert_eq!(client.line(&format!("SCAN {cursor}")), error("ERR invalid cursor"), "{cursor}");
    }
    if !original_differs("takes them modulo 2 to the 64") {
        for cursor in ["99999999999999999999", "18446744073709551615", "9223372036854775808"] {
            let reply = client.line(&format!("SCAN {cursor}"));
            assert_eq!(reply, error("ERR invalid cursor"), "{cursor}");
        }
    }
    let no_cursor = error("ERR wrong number of arguments for 'scan' command");
    assert_eq!(client.line("SCAN"), no_cursor);
}

#[test]
fn a_cursor_that_does_not_fit_is_an_error_and_never_a_wrong_one() {
    if original_differs("loses the upper bits") {
        return;
    }
    for cursor in [&["1125899906842624"], &["18446744073709551615"]] {
        let (_fakes, proxy) = cursors(cursor);
        let too_large =
            error("ERR the cursor of the server is too large to be passed on by the proxy");
        assert_eq!(proxy.client().line("SCAN 0"), too_large);
    }
    let (fakes, proxy) = cursors(&["1125899906842623"]);
    let mut client = proxy.client();
    let next = step(&mut client, "0", "").0;
    step(&mut client, &next, "");
    assert_eq!(asked(&fakes), ["0", "1125899906842623"]);
}

#[test]
fn a_reply_that_is_none_to_scan_is_an_error() {
    for answer in ["+OK\r\n", "*2\r\n$1\r\nx\r\n*0\r\n", "*1\r\n*0\r\n", "*2\r\n$1\r\n0\r\n:1\r\n"]
    {
        let fakes = [FakeServer::start(move |heard| match heard.name().as_str() {
            "SCAN" => Answer::text(answer),
            _ => Answer::Usual,
        })];
        let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
        let mut client = proxy.client();
        if !original_differs("passes it on") {
            proxy.wait_for_servers(1);
            let reply = client.line("SCAN 0");
            assert_eq!(reply, error("ERR unexpected reply of a server to SCAN"), "{answer:?}");
        }
    }
}

#[test]
fn a_group_that_is_gone_is_skipped() {
    if original_differs("D-21: never forgets a group") {
        return;
    }
    let (fakes, proxy) = cursors(&["0", "0", "0"]);
    let mut client = proxy.client();
    assert_eq!(step(&mut client, "0", "").0, "1");
    // The second group hands all it has to the first, and leaves.
    let mut nodes = nodes_line(1, &fakes[0].bus_address(), "master", "-", "0-10921");
    nodes += &nodes_line(3, &fakes[2].bus_address(), "master", "-", "10922-16383");
    fakes.iter().for_each(|fake| fake.set_nodes(&nodes));
    proxy.wait_for_servers(2);
    let cursor = step(&mut client, "0", "").0;
    assert!(["1", "2"].contains(&cursor.as_str()), "{cursor}");
    let (last, keys) = step(&mut client, "1", "");
    assert_eq!(keys.len(), 1);
    assert_eq!(step(&mut client, "2", "").0, "0");
    assert!(["0", "2"].contains(&last.as_str()), "{last}");
    assert_eq!(client.line("SCAN 3"), error("ERR invalid cursor"));
}

#[test]
fn d21_an_iteration_survives_the_death_of_a_master() {
    if original_differs("D-21: asks the dead master for ever") {
        return;
    }
    for victim in 0..2 {
        let mut cluster = RedisCluster::start(2, 1);
        let proxy = Proxy::for_cluster(&cluster);
        let mut client = proxy.client();
        let names = fill(&mut client, 2000);
        for master in 0..2 {
            assert_eq!(cluster.node(master).client().line("WAIT 1 10000"), int(1));
        }
        let replica = cluster.replica_of(victim);
        let keys = scan(&mut client, "COUNT 50", |steps| {
            // In the midst of the first group, and with the other victim before the second.
            if steps == 8 {
                cluster.node_mut(victim).kill();
                let mut replica = cluster.node(replica).client();
                assert_eq!(replica.line("CLUSTER FAILOVER TAKEOVER"), ok());
            }
        });
        let keys: BTreeSet<String> = keys.into_iter().collect();
        assert_eq!(keys.len(), names.len());
    }
}

#[test]
fn a_cursor_of_the_old_master_is_not_for_the_new_one() {
    if original_differs("loses keys") {
        return;
    }
    let cluster = RedisCluster::start(1, 1);
    let proxy = Proxy::for_cluster(&cluster);
    let mut client = proxy.client();
    let names = fill(&mut client, 2000);
    assert_eq!(cluster.node(0).client().line("WAIT 1 10000"), int(1));
    for replica in [1, 0] {
        let info = || cluster.node(replica).client().line("INFO replication").text();
        wait_until(SOON, "the replica to be in step", || info().contains("link_status:up"));
        let address = cluster.node(replica).address();
        let keys = scan(&mut client, "COUNT 100", |steps| {
            if steps == 10 {
                let mut replica = cluster.node(replica).client();
                assert_eq!(replica.line("CLUSTER FAILOVER TAKEOVER"), ok());
                wait_until(SOON, "the proxy to know", || {
                    let servers = proxy.servers();
                    servers.iter().any(|one| one.address == address && one.role == "master")
                });
            }
        });
        let keys: BTreeSet<String> = keys.into_iter().collect();
        assert_eq!(keys.len(), names.len());
    }
}

#[test]
fn an_iteration_survives_a_slot_that_moves_on() {
    let cluster = RedisCluster::start(2, 0);
    let proxy = Proxy::for_cluster(&cluster);
    let mut client = proxy.client();
    let mut names = fill(&mut client, 500);
    // Many keys of one slot of whichever master is visited first.
    let (_, some) = step(&mut client, "0", "COUNT 1");
    let tag = some.first().cloned().unwrap_or_else(|| cluster.key_on(0, "none"));
    let slot = slot_of(tag.as_bytes());
    let from = (0..2).find(|master| cluster.slots_of(*master).contains(&slot)).unwrap();
    for number in 0..200 {
        let name = format!("{{{tag}}}{number}");
        assert_eq!(client.cmd(&["SET", &name, "v"]), ok());
        names.insert(name);
    }
    let keys = scan(&mut client, "COUNT 20", |steps| {
        if steps == 5 {
            cluster.migrate_slot(slot, from, 1 - from);
        }
    });
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), names);
}

#[test]
fn randomkey_finds_the_only_key_there_is() {
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        assert_eq!(client.line("RANDOMKEY"), Value::Nil);
        for name in ["a", "b", "c", "d"] {
            assert_eq!(client.cmd(&["SET", name, "1"]), ok());
            if !original_differs("asks one server, which may have none") {
                for _ in 0..30 {
                    assert_eq!(client.line("RANDOMKEY"), bulk(name));
                }
            }
            assert_eq!(client.cmd(&["DEL", name]), int(1));
        }
        let lines = ["SET a 1", "RANDOMKEY", "DEL a", "RANDOMKEY", "RANDOMKEY", "PING"];
        let replies = client.pipeline(&lines);
        let pong = crate::support::simple("PONG");
        if !original_differs("asks one server, which may have none") {
            assert_eq!(replies, [ok(), bulk("a"), int(1), Value::Nil, Value::Nil, pong]);
        }
    });
}

#[test]
fn randomkey_comes_from_all_masters() {
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        let names = fill(&mut client, 10);
        let mut seen = BTreeSet::new();
        wait_until(SOON, "every key to come once", || {
            seen.insert(client.line("RANDOMKEY").text());
            seen == names
        });
    });
}
