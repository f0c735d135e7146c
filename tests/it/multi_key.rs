//! MGET, MSET, DEL, UNLINK, TOUCH and EXISTS over slots of all masters, as if there were one
//! server.

use crate::support::{
    Answer, FakeServer, Lost, Proxy, Value, array, bulk, error, int, key_in_slots, ok,
    original_differs, shared_cluster,
};

fn proxy() -> Proxy {
    Proxy::for_cluster(shared_cluster())
}

/// So many keys over all slots.
fn keys(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}:{number}")).collect()
}

fn command<'a>(name: &'a str, keys: &'a [String]) -> Vec<&'a str> {
    [name].into_iter().chain(keys.iter().map(String::as_str)).collect()
}

#[test]
fn mget_answers_in_the_order_of_the_keys() {
    let proxy = proxy();
    let mut client = proxy.client();
    let keys = keys("mget", 300);
    let pairs: Vec<&str> = keys.iter().flat_map(|key| [key.as_str(), &key[5..]]).collect();
    assert_eq!(client.cmd(&[["MSET"].as_slice(), &pairs].concat()), ok());
    let backwards: Vec<String> = keys.iter().rev().cloned().collect();
    let want = array(backwards.iter().map(|key| bulk(&key[5..])));
    assert_eq!(client.cmd(&command("MGET", &backwards)), want);
}

#[test]
fn mget_takes_keys_that_repeat_and_keys_that_are_missing() {
    let proxy = proxy();
    let mut client = proxy.client();
    assert_eq!(client.line("MSET rep:a 1 rep:b 2 rep:c 3"), ok());
    let reply = client.line("MGET rep:b rep:none rep:a rep:b rep:b rep:c rep:a rep:none");
    let [one, two, three] = ["1", "2", "3"].map(bulk);
    let nil = Value::Nil;
    assert_eq!(
        reply,
        array([two.clone(), nil.clone(), one.clone(), two.clone(), two, three, one, nil])
    );
    assert_eq!(client.line("MGET rep:a"), array([bulk("1")]));
}

#[test]
fn mget_gives_nil_for_another_type_as_redis_does() {
    let proxy = proxy();
    let mut client = proxy.client();
    assert_eq!(client.line("DEL types:list types:hash types:string"), int(0));
    client.line("RPUSH types:list 1");
    client.line("HSET types:hash f v");
    client.line("SET types:string s");
    let reply = client.line("MGET types:list types:string types:hash");
    assert_eq!(reply, array([Value::Nil, bulk("s"), Value::Nil]));
}

#[test]
fn mset_keeps_the_last_of_repeated_keys() {
    let proxy = proxy();
    let mut client = proxy.client();
    assert_eq!(client.line("MSET last:a 1 last:b 2 last:a 3 last:b 4 last:a 5"), ok());
    assert_eq!(client.line("MGET last:a last:b"), array([bulk("5"), bulk("4")]));
}

#[test]
fn counting_commands_add_up() {
    let proxy = proxy();
    let mut client = proxy.client();
    let keys = keys("count", 50);
    for key in &keys {
        client.cmd(&["SET", key, "v"]);
    }
    let missing: Vec<String> = keys.iter().map(|key| format!("{key}:not")).collect();
    let both = [keys.clone(), missing].concat();
    assert_eq!(client.cmd(&command("EXISTS", &both)), int(50));
    assert_eq!(client.cmd(&command("TOUCH", &both)), int(50));
    assert_eq!(client.cmd(&command("UNLINK", &both[..20])), int(20));
    assert_eq!(client.cmd(&command("DEL", &both)), int(30));
    assert_eq!(client.cmd(&command("EXISTS", &both)), int(0));
}

#[test]
fn exists_counts_a_repeated_key_each_time_and_del_once() {
    let proxy = proxy();
    let mut client = proxy.client();
    assert_eq!(client.line("MSET twice:a 1 twice:b 2"), ok());
    assert_eq!(client.line("EXISTS twice:a twice:b twice:a twice:none"), int(3));
    assert_eq!(client.line("DEL twice:a twice:b twice:a twice:none"), int(2));
}

#[test]
fn replies_of_split_commands_keep_their_place_in_a_pipeline() {
    let proxy = proxy();
    let mut client = proxy.client();
    let replies = client.pipeline(&[
        "MSET pipe:a 1 pipe:b 2 pipe:c 3",
        "GET pipe:b",
        "MGET pipe:c pipe:b pipe:a",
        "DEL pipe:a pipe:c",
        "MGET pipe:a pipe:b pipe:c",
        "PING",
    ]);
    let want = [
        ok(),
        bulk("2"),
        array(["3", "2", "1"].map(bulk)),
        int(2),
        array([Value::Nil, bulk("2"), Value::Nil]),
        crate::support::simple("PONG"),
    ];
    assert_eq!(replies, want);
}

#[test]
fn mset_with_a_key_too_many_changes_nothing() {
    let proxy = proxy();
    let mut client = proxy.client();
    client.line("DEL odd:a odd:b");
    let reply = client.line("MSET odd:a 1 odd:b");
    assert_eq!(reply, error("ERR wrong number of arguments for 'mset' command"));
    assert_eq!(client.line("EXISTS odd:a odd:b"), int(0));
}

#[test]
fn d14_msetnx_across_slots_is_refused_before_it_does_anything() {
    if original_differs("D-14: sets those it can") {
        return;
    }
    let proxy = proxy();
    let mut client = proxy.client();
    client.line("DEL nx:a nx:b {nx}a {nx}b");
    let refused = error("CROSSSLOT Keys in request don't hash to the same slot");
    assert_eq!(client.line("MSETNX nx:a 1 nx:b 2"), refused);
    assert_eq!(client.line("EXISTS nx:a nx:b"), int(0));
    assert_eq!(client.line("MSETNX {nx}a 1 {nx}b 2"), int(1));
    assert_eq!(client.line("MSETNX {nx}a 3 {nx}c 4"), int(0));
    assert_eq!(client.line("DEL {nx}a {nx}b"), int(2));
}

#[test]
fn other_commands_with_keys_of_two_slots_are_refused() {
    let proxy = proxy();
    let mut client = proxy.client();
    let refused = error("CROSSSLOT Keys in request don't hash to the same slot");
    client.line("SET cross:a 1");
    for line in ["RENAME cross:a cross:b", "SUNION cross:a cross:b", "BITOP NOT cross:a cross:b"] {
        assert_eq!(client.line(line), refused, "{line}");
    }
    assert_eq!(client.line("GET cross:a"), bulk("1"));
}

/// Two fake masters of which the second answers everything that has a key with an error.
fn half_broken() -> Vec<FakeServer> {
    FakeServer::start_cluster(2, |index, heard| match (heard.name().as_str(), index) {
        ("MGET" | "MSET" | "DEL" | "UNLINK" | "TOUCH" | "EXISTS", 1) => {
            Answer::text("-OOM the second is full\r\n")
        }
        ("MGET", _) => {
            let count = heard.words.len() - 1;
            Answer::text(format!("*{count}\r\n{}", "$1\r\nv\r\n".repeat(count)))
        }
        ("MSET", _) => Answer::text("+OK\r\n"),
        ("DEL" | "UNLINK" | "TOUCH" | "EXISTS", _) => {
            Answer::text(format!(":{}\r\n", heard.words.len() - 1))
        }
        _ => Answer::Usual,
    })
}

#[test]
fn d13_an_error_in_one_part_is_the_reply_of_the_whole() {
    if original_differs("D-13: counts an error as a missing key") {
        return;
    }
    let fakes = half_broken();
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    let [first, second] = [key_in_slots(0..8192, "k"), key_in_slots(8192..16384, "k")];
    for name in ["MGET", "DEL", "UNLINK", "TOUCH", "EXISTS"] {
        assert_eq!(client.cmd(&[name, &first, &second]), error("OOM the second is full"), "{name}");
        assert_eq!(client.cmd(&[name, &second, &first]), error("OOM the second is full"), "{name}");
        assert!(client.cmd(&[name, &first]).error_text().is_none(), "{name}");
    }
    let reply = client.cmd(&["MSET", &first, "1", &second, "2"]);
    assert_eq!(reply, error("OOM the second is full"));
    assert_eq!(client.line("PING"), crate::support::simple("PONG"));
}

#[test]
fn one_lost_part_is_an_error_and_not_a_hang() {
    if original_differs("D-13: a lost part is a nil") {
        return;
    }
    let fakes = FakeServer::start_cluster(2, |index, heard| match (heard.name().as_str(), index) {
        ("MGET", 0) => Answer::text("*1\r\n$1\r\nv\r\n"),
        ("MGET", _) => Answer::Last(b"*1\r\n".to_vec()),
        _ => Answer::Usual,
    });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    let [first, second] = [key_in_slots(0..8192, "k"), key_in_slots(8192..16384, "k")];
    match client.try_cmd(&["MGET", &first, &second]) {
        Ok(Value::Error(_)) => assert_eq!(client.line("PING"), crate::support::simple("PONG")),
        Err(Lost::Closed) => {}
        other => panic!("{other:?}"),
    }
}
