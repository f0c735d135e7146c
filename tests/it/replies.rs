//! Replies that a server may give, or should not: passed on unchanged, or an end for those who wait
//! for them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{
    Answer, Client, FakeServer, Lost, Proxy, Value, bulk, error, key_in_slots, original_differs,
    simple,
};

/// A proxy before two fakes: the first answers `GET` as it is told, the second always with `fine`.
fn start(answer: impl Fn() -> Answer + Send + Sync + 'static) -> (Vec<FakeServer>, Proxy) {
    let fakes =
        FakeServer::start_cluster(2, move |index, heard| match (heard.name().as_str(), index) {
            ("GET", 0) => answer(),
            ("GET", _) => Answer::bulk("fine"),
            _ => Answer::Usual,
        });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    (fakes, proxy)
}

/// A key of the first and one of the second fake.
fn keys() -> [String; 2] {
    [key_in_slots(0..8192, "k"), key_in_slots(8192..16384, "k")]
}

/// The reply of the first fake, and of the second afterwards on the same connection.
#[track_caller]
fn check_passed_on(reply: &'static [u8]) {
    let (_fakes, proxy) = start(move || Answer::Bytes(reply.to_vec()));
    let mut client = proxy.client();
    let [first, second] = keys();
    client.send(crate::support::wire(&["GET", &first]));
    assert_eq!(client.raw_reply().escape_ascii().to_string(), reply.escape_ascii().to_string());
    assert_eq!(client.cmd(&["GET", &second]), bulk("fine"));
}

/// The second fake and a new connection serve whatever the first has done.
#[track_caller]
fn expect_others_are_served(proxy: &Proxy, witness: &mut Client) {
    let [_, second] = keys();
    assert_eq!(witness.cmd(&["GET", &second]), bulk("fine"));
    assert_eq!(proxy.client().cmd(&["GET", &second]), bulk("fine"));
}

#[test]
fn every_form_of_resp2_is_passed_on() {
    for reply in [
        b"+\r\n".as_slice(),
        b"-ERR something of its own\r\n",
        b"-\r\n",
        b":-9223372036854775808\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"$4\r\n\r\n\r\n\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*3\r\n$-1\r\n*0\r\n*2\r\n:1\r\n-ERR inside\r\n",
    ] {
        check_passed_on(reply);
    }
}

#[test]
fn d04_nil_arrays_inside_arrays_are_passed_on() {
    if !original_differs("D-04: ends the connection") {
        check_passed_on(b"*3\r\n*-1\r\n$1\r\nx\r\n*-1\r\n");
    }
}

#[test]
fn d04_a_reply_nested_twenty_deep_is_passed_on() {
    const NESTED: &str = "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n\
                          *1\r\n*1\r\n*1\r\n*1\r\n*2\r\n:1\r\n$1\r\nx\r\n";
    if original_differs("D-04: eight at most") {
        return;
    }
    assert_eq!(NESTED.matches('*').count(), 20);
    check_passed_on(NESTED.as_bytes());
}

#[test]
fn an_absurd_depth_is_no_harm() {
    let (_fakes, proxy) = start(|| Answer::Bytes(b"*1\r\n".repeat(200_000)));
    let mut witness = proxy.client();
    let mut client = proxy.client();
    client.set_deadline(Duration::from_secs(1));
    // It never ends, so that nobody can be given the whole of it: refused, or passed on so far.
    let reply = client.try_cmd(&["GET", &keys()[0]]);
    assert!(matches!(reply, Ok(Value::Error(_)) | Err(_)), "{reply:?}");
    expect_others_are_served(&proxy, &mut witness);
}

#[test]
fn what_is_not_a_reply_costs_only_those_who_wait_for_it() {
    for garbage in [
        b"hello\r\n".as_slice(),
        b"\0\0\0\0",
        b"$x\r\n",
        b":1x\r\n",
        b"*99999999999999999999\r\n",
        b"$-2\r\n",
    ] {
        if crate::support::is_original() && garbage[0] != b'h' && garbage[0] != 0 {
            continue;
        }
        let (_fakes, proxy) = start(move || Answer::Bytes(garbage.to_vec()));
        let mut witness = proxy.client();
        let mut client = proxy.client();
        let reply = client.try_cmd(&["GET", &keys()[0]]);
        let name = garbage.escape_ascii().to_string();
        assert!(matches!(reply, Ok(Value::Error(_)) | Err(Lost::Closed)), "{name}: {reply:?}");
        expect_others_are_served(&proxy, &mut witness);
    }
}

#[test]
fn a_reply_that_nobody_asked_for_is_given_to_nobody() {
    let count = AtomicUsize::new(0);
    let fakes =
        FakeServer::start_cluster(2, move |index, heard| match (heard.name().as_str(), index) {
            ("GET", 0) if count.fetch_add(1, Ordering::SeqCst) == 0 => {
                Answer::text("$4\r\nmine\r\n$6\r\nsecret\r\n")
            }
            ("GET", _) => Answer::bulk("fine"),
            _ => Answer::Usual,
        });
    // Nothing of the proxy's own is under way to which the second reply could seem to belong.
    let conf =
        FakeServer::conf(&fakes, "").replace("RefreshInterval 100ms", "RefreshInterval 1000");
    let proxy = Proxy::start(&conf);
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    let [first, second] = keys();
    assert_eq!(client.cmd(&["GET", &first]), bulk("mine"));
    for _ in 0..20 {
        assert_eq!(client.cmd(&["GET", &second]), bulk("fine"));
        let reply = client.cmd(&["GET", &first]);
        assert!(reply == bulk("fine") || reply.error_text().is_some(), "{reply:?}");
    }
    assert_eq!(client.cmd(&["GET", &first]), bulk("fine"));
}

/// A reply that ends in the middle: the client is told, or cut off, but is never given a whole
/// reply.
#[track_caller]
fn check_cut(beginning: Vec<u8>) {
    let (_fakes, proxy) = start(move || Answer::Last(beginning.clone()));
    let (mut client, mut witness) = (proxy.client(), proxy.client());
    let [first, second] = keys();
    assert_eq!(client.cmd(&["GET", &second]), bulk("fine"));
    match client.try_cmd(&["GET", &first]) {
        Ok(Value::Error(_)) => assert_eq!(client.cmd(&["GET", &second]), bulk("fine")),
        Err(Lost::Closed) => {}
        other => panic!("{other:?}"),
    }
    expect_others_are_served(&proxy, &mut witness);
}

#[test]
fn a_small_reply_that_ends_in_the_middle() {
    for beginning in ["$", "$10\r\n", "$10\r\nabc", "$3\r\nabc\r", "*2\r\n$1\r\na\r\n", "+half"] {
        check_cut(beginning.as_bytes().to_vec());
    }
}

#[test]
fn a_large_reply_that_ends_in_the_middle() {
    check_cut([b"$10000000\r\n".as_slice(), &b"x".repeat(5_000_000)].concat());
    check_cut(
        [b"*2\r\n$3000000\r\n".as_slice(), &b"x".repeat(3_000_000), b"\r\n$3000000\r\n"].concat(),
    );
}

#[test]
fn d48_a_reply_of_two_gigabytes_is_only_long() {
    if original_differs("D-48: counts in 32 bits") {
        return;
    }
    for header in ["$2147483648\r\n", "$4294967296\r\n", "*1\r\n$4294967301\r\n"] {
        check_cut([header.as_bytes(), &b"x".repeat(100_000)].concat());
    }
}

#[test]
fn requests_behind_a_lost_reply_are_all_told() {
    let count = AtomicUsize::new(0);
    let (_fakes, proxy) = start(move || match count.fetch_add(1, Ordering::SeqCst) {
        2 => Answer::Last(b"$10\r\nabc".to_vec()),
        _ => Answer::bulk("first"),
    });
    let mut client = proxy.client();
    let [first, second] = keys();
    let request = crate::support::wire(&["GET", &first]);
    client.send([request.repeat(5), crate::support::wire(&["GET", &second])].concat());
    assert_eq!(client.reply(), bulk("first"));
    assert_eq!(client.reply(), bulk("first"));
    // Reads may be repeated on a new connection; whoever is not served is told so, and the order is
    // kept.
    for _ in 0..3 {
        match client.try_reply() {
            Ok(Value::Error(_)) => {}
            Ok(value) => assert_eq!(value, bulk("first")),
            Err(lost) => return assert_eq!(lost, Lost::Closed),
        }
    }
    assert_eq!(client.reply(), bulk("fine"));
}

#[test]
fn an_error_of_the_server_reaches_only_its_client() {
    let (_fakes, proxy) =
        start(|| Answer::text("-LOADING Redis is loading the dataset in memory\r\n"));
    let mut client = proxy.client();
    let [first, second] = keys();
    let reply = client.cmd(&["GET", &first]);
    assert_eq!(reply, error("LOADING Redis is loading the dataset in memory"));
    assert_eq!(client.cmd(&["GET", &second]), bulk("fine"));
    assert_eq!(client.line("PING"), simple("PONG"));
}
