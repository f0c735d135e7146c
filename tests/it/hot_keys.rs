//! HOTKEYS and BIGKEYS: the keys that are asked for most, and that move most bytes.

use crate::support::{
    AnyPool, Client, Proxy, Value, error, original_differs, shared_cluster, wire,
};

/// Key and count of what HOTKEYS or BIGKEYS says.
fn top(client: &mut Client, line: &str) -> Vec<(String, i64)> {
    let reply = client.line(line);
    let entry = |entry: &Value| (entry.elements()[0].text(), entry.elements()[1].number());
    reply.elements().iter().map(entry).collect()
}

/// Sends a command so many times, a thousand at once.
fn repeat(client: &mut Client, words: &[&str], times: usize) {
    for _ in 0..times.div_ceil(1000) {
        client.send(wire(words).repeat(1000));
        (0..1000).for_each(|_| drop(client.reply()));
    }
}

#[test]
fn few_requests_are_counted_one_by_one() {
    if original_differs("no HOTKEYS") {
        return;
    }
    let proxy = Proxy::for_cluster(shared_cluster());
    // Two threads: each has clients of its own, and all are counted together.
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for client in &mut clients {
        for _ in 0..5 {
            client.line("GET hot:a");
        }
        client.line("MGET hot:b hot:c hot:b");
        client.line("EVAL return{KEYS[1]} 1 hot:script");
        client.line("PING");
    }
    let client = &mut clients[0];
    let mut found = top(client, "HOTKEYS");
    found[1..].sort();
    let want = [("hot:a", 20), ("hot:b", 8), ("hot:c", 4), ("hot:script", 4)];
    assert_eq!(found, want.map(|(key, count)| (key.to_owned(), count)));
    assert_eq!(top(client, "HOTKEYS 1"), [("hot:a".to_owned(), 20)]);
    assert_eq!(top(client, "hotkeys 0"), []);
    for wrong in ["HOTKEYS x", "HOTKEYS -1", "BIGKEYS 1.5"] {
        assert_eq!(client.line(wrong), error("ERR value is not an integer or out of range"));
    }
    assert!(client.line("HOTKEYS 1 2").error_text().is_some());
}

#[test]
fn bytes_are_counted_with_the_largest_at_once() {
    if original_differs("no BIGKEYS") {
        return;
    }
    let proxy = Proxy::for_cluster(shared_cluster());
    let mut client = proxy.client();
    let value = "x".repeat(300_000);
    client.cmd(&["SET", "big:written", &value]);
    client.line("GET big:written");
    client.line("SET big:small x");
    let reply = client.line("BIGKEYS");
    let entry = |index: usize| reply.elements()[index].elements();
    assert_eq!(entry(0)[0].text(), "big:written");
    assert!((600_000..601_000).contains(&entry(0)[1].number()), "{reply:?}");
    assert!((300_000..300_100).contains(&entry(0)[3].number()), "{reply:?}");
    assert_eq!(entry(1)[0].text(), "big:small");
    // `*3 $3 SET $9 big:small $1 x` and `+OK`
    assert_eq!(entry(1)[1].number(), 4 + 9 + 4 + 11 + 4 + 3 + 5);
}

/// The more there is, the fewer are looked at; those that are stand for the others.
#[test]
fn many_requests_are_estimated() {
    if original_differs("no HOTKEYS") {
        return;
    }
    let pool = AnyPool::groups(2, "");
    let mut client = pool.proxy.client();
    let value = "x".repeat(1000);
    client.cmd(&["SET", "much:big", &value]);
    for _ in 0..10 {
        repeat(&mut client, &["GET", "much:1"], 6000);
        repeat(&mut client, &["GET", "much:2"], 3000);
        repeat(&mut client, &["GET", "much:big"], 1000);
    }
    let near = |count: i64, want: i64| (want * 3 / 4..want * 5 / 4).contains(&count);
    let found = top(&mut client, "HOTKEYS 3");
    let names: Vec<&str> = found.iter().map(|(key, _)| &key[..]).collect();
    assert_eq!(names, ["much:1", "much:2", "much:big"]);
    assert!(near(found[0].1, 60_000) && near(found[1].1, 30_000), "{found:?}");
    let found = top(&mut client, "BIGKEYS 1");
    assert_eq!(found[0].0, "much:big");
    // Request and reply.
    assert!(near(found[0].1, 10_000 * (1007 + 28)), "{found:?}");
}

/// However many keys there are, and however long they are, memory is bounded.
#[test]
fn keys_without_number_take_no_memory() {
    if original_differs("no HOTKEYS") {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let mut client = pool.proxy.client();
    let long = "k".repeat(3000);
    for batch in 0..20 {
        let keys: Vec<String> =
            (0..1000).map(|number| format!("{batch}:{number}:{long}")).collect();
        let requests: Vec<u8> = keys.iter().flat_map(|key| wire(&["GET", key])).collect();
        client.send(requests);
        (0..1000).for_each(|_| drop(client.reply()));
    }
    assert_eq!(top(&mut client, "HOTKEYS 1000000").len(), 128);
    let key = top(&mut client, "HOTKEYS 1").remove(0).0;
    assert!(key.len() < 160 && key.ends_with("bytes)"), "{key}");
}

#[test]
fn only_admins_may_ask() {
    if original_differs("no HOTKEYS") {
        return;
    }
    let auth = "Authority {\n Auth {\n Mode write\n }\n Auth boss {\n Mode admin\n }\n}";
    let proxy = Proxy::start(&format!("{auth}\n{}", shared_cluster().conf()));
    let mut client = proxy.client();
    for line in ["HOTKEYS", "BIGKEYS", "SLOWLOG GET", "SLOWLOG RESET", "MONITOR"] {
        assert_eq!(client.line(line), error("ERR auth permission deny"), "{line}");
    }
    client.line("AUTH boss");
    assert_eq!(top(&mut client, "HOTKEYS"), []);
}
