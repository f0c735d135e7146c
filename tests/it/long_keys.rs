//! D-12: a key is hashed whole, however long it is and however the network cuts it.

use crate::support::{Answer, FakeServer, Proxy, Value, ok, original_differs, slot_of, wire};

/// Keys of 600 bytes that belong to the second half of the slots, while their first 512 bytes
/// belong to the first.
fn misleading_keys(count: usize) -> Vec<String> {
    let keys = (0..).map(|number| format!("{number:0>512}{number:x>88}"));
    let misleads =
        |key: &String| slot_of(&key.as_bytes()[..512]) < 8192 && slot_of(key.as_bytes()) >= 8192;
    keys.filter(misleads).take(count).collect()
}

/// Two masters with half of the slots each, which take every SET without a word about its slot.
fn careless_cluster() -> (Vec<FakeServer>, Proxy) {
    let fakes = FakeServer::start_cluster(2, |_, heard| match heard.name().as_str() {
        "SET" | "MSET" => Answer::text("+OK\r\n"),
        "DEL" => Answer::text(":1\r\n"),
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    (fakes, proxy)
}

#[test]
fn d12_a_long_key_cut_anywhere_lands_on_its_shard() {
    if original_differs("D-12: hashes the first 512 bytes of a key that was cut") {
        return;
    }
    let (fakes, proxy) = careless_cluster();
    let key = &misleading_keys(1)[0];
    let bytes = wire(&["SET", key, "value"]);
    let (mut client, mut witness) = (proxy.client(), proxy.client());
    for cut in 1..bytes.len() {
        client.send(&bytes[..cut]);
        // There is one thread: once it has answered this, it has read the first piece.
        witness.line("PING");
        client.send(&bytes[cut..]);
        assert_eq!(client.reply(), ok(), "cut at {cut}");
    }
    assert_eq!(fakes[0].heard_named("SET").len(), 0);
    assert_eq!(fakes[1].heard_named("SET").len(), bytes.len() - 1);
}

#[test]
fn d12_a_stream_of_long_keys_lands_on_their_shard() {
    if original_differs("D-12: hashes the first 512 bytes of a key that was cut") {
        return;
    }
    let (fakes, proxy) = careless_cluster();
    let keys = misleading_keys(500);
    let mut client = proxy.client();
    let bytes: Vec<u8> = keys.iter().flat_map(|key| wire(&["SET", key, "v"])).collect();
    client.send(bytes);
    for _ in &keys {
        assert_eq!(client.reply(), ok());
    }
    assert_eq!(fakes[0].heard_named("SET").len(), 0);
    let heard: Vec<String> =
        fakes[1].heard_named("SET").iter().map(|heard| heard.word(1)).collect();
    assert_eq!(heard, keys, "each once, and in the order they were sent");
}

#[test]
fn d12_split_commands_hash_long_keys_whole_too() {
    if original_differs("D-12: hashes the first 512 bytes of a key that was cut") {
        return;
    }
    let (fakes, proxy) = careless_cluster();
    let mut keys = misleading_keys(300);
    let reply =
        proxy.client().cmd(&[vec!["DEL"], keys.iter().map(String::as_str).collect()].concat());
    assert!(matches!(reply, Value::Int(_)), "{reply:?}");
    assert_eq!(fakes[0].heard_named("DEL").len(), 0);
    let heard = fakes[1].heard_named("DEL");
    let mut heard: Vec<String> =
        heard.iter().flat_map(|heard| (1..heard.words.len()).map(|at| heard.word(at))).collect();
    keys.sort();
    heard.sort();
    assert_eq!(heard, keys);
}
