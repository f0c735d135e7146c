//! Requests of many megabytes: passed on while they come, and what can go wrong meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::support::{
    Answer, AnyPool, Client, FakeServer, Lost, Proxy, RedisCluster, SOON, Value, bulk, error,
    key_in_slots, ok, original_differs, simple, slot_of, wait_until,
};

const SIZE: usize = 32 << 20;

/// A value in which no two places look alike.
fn value(size: usize) -> Vec<u8> {
    (0u32..)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(size)
        .collect()
}

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A request of which all but the last bytes were sent, and those.
fn halves(key: &str, size: usize) -> (Vec<u8>, Vec<u8>) {
    let mut begun = request(&[b"SET", key.as_bytes(), &value(size)]);
    let rest = begun.split_off(begun.len() / 2);
    (begun, rest)
}

/// Sends bytes from a thread of its own, for the other side may not read them yet.
struct Sending {
    sent: Arc<AtomicUsize>,
    thread: JoinHandle<Result<(), Lost>>,
}

impl Sending {
    fn begin(client: &Client, bytes: Vec<u8>) -> Sending {
        let (mut client, sent) = (client.second_handle(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&sent);
        let send = move || {
            bytes.chunks(64 << 10).try_for_each(|piece| {
                client.try_send(piece)?;
                counted.fetch_add(piece.len(), Relaxed);
                Ok(())
            })
        };
        Sending { sent, thread: thread::spawn(send) }
    }

    /// Waits until the other side has read what it will for now.
    fn wait_until_held_up(&self) {
        let (mut last, mut same) = (0, 0);
        wait_until(SOON, "nothing more to be read", || {
            let sent = self.sent.load(Relaxed);
            same = if sent == last { same + 1 } else { 0 };
            last = sent;
            sent > 1 << 20 && same > 100
        });
    }

    fn end(self) -> Result<(), Lost> {
        self.thread.join().expect("a thread")
    }
}

/// A node, and a proxy with more lines, for one test alone.
fn alone(globals: &str, lines: &str) -> (RedisCluster, Proxy) {
    let cluster = RedisCluster::start(1, 0);
    let conf = cluster.conf_with(&format!("    ConnectTimeout 20s\n{lines}"));
    let proxy = Proxy::start(&format!("WorkerThreads 1\n{globals}\n{conf}"));
    if !globals.contains("Auth") {
        proxy.wait_for_servers(1);
    }
    (cluster, proxy)
}

#[test]
fn what_is_large_arrives_as_it_was_sent_and_in_order() {
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        let large = value(SIZE);
        let tail = value(5 << 20);
        client.send(
            [
                request(&[b"SET", b"upload:small", b"1"]),
                request(&[b"SET", b"upload:large", &large, b"EX", b"1000"]),
                request(&[b"GET", b"upload:small"]),
                request(&[b"APPEND", b"upload:large", &tail]),
                request(&[b"STRLEN", b"upload:large"]),
                request(&[b"TTL", b"upload:large"]),
            ]
            .concat(),
        );
        let whole = large.len() + tail.len();
        assert_eq!((client.reply(), client.reply(), client.reply()), (ok(), ok(), bulk("1")));
        assert_eq!(client.reply().number(), i64::try_from(whole).unwrap());
        assert_eq!(client.reply().number(), i64::try_from(whole).unwrap());
        assert!((900..=1000).contains(&client.reply().number()));
        let got = client.cmd(&["GET", "upload:large"]);
        assert!(got == Value::Bulk([large, tail].concat()), "not what was sent");
        assert_eq!(client.cmd(&["DEL", "upload:large", "upload:small"]).number(), 2);
    });
}

#[test]
fn what_the_server_does_not_take_is_not_read() {
    if original_differs("reads it whole") {
        return;
    }
    let (cluster, mut proxy) = alone("", "");
    let mut witness = proxy.client();
    assert_eq!(witness.line("SET small 1"), ok());
    let before_kb = proxy.process().resident_kb();
    cluster.node(0).pause();
    let mut clients: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
    let large = value(SIZE);
    let names: Vec<String> = (0..3).map(|number| format!("held:{number}")).collect();
    let bytes = |name: &String| request(&[b"SET", name.as_bytes(), &large]);
    let pairs = clients.iter().zip(&names);
    let sending: Vec<_> = pairs.map(|(client, name)| Sending::begin(client, bytes(name))).collect();
    sending.iter().for_each(Sending::wait_until_held_up);
    let grown_kb = proxy.process().resident_kb().saturating_sub(before_kb);
    cluster.node(0).resume();
    assert!(grown_kb < 8 * 1024, "{grown_kb} KB for three requests of {SIZE} bytes");
    for sending in sending {
        assert_eq!(sending.end(), Ok(()));
    }
    for client in &mut clients {
        assert_eq!(client.reply(), ok());
    }
    let grown_kb = proxy.process().resident_kb().saturating_sub(before_kb);
    assert!(grown_kb < 8 * 1024, "{grown_kb} KB for three requests of {SIZE} bytes");
    for name in &names {
        assert!(witness.cmd(&["GET", name]) == Value::Bulk(large.clone()), "not what was sent");
    }
}

#[test]
fn more_than_the_memory_of_the_proxy_passes_through_it() {
    if original_differs("has no limit") {
        return;
    }
    let (cluster, mut proxy) = alone("MaxMemory 16M", "");
    let large = value(6 << 20);
    assert_eq!(proxy.client().line("SET small 1"), ok());
    let before_kb = proxy.process().resident_kb();
    cluster.node(0).pause();
    let mut clients: Vec<Client> = (0..40).map(|_| proxy.client()).collect();
    let request = request(&[b"SET", b"large", &large]);
    let sending: Vec<_> =
        clients.iter().map(|client| Sending::begin(client, request.clone())).collect();
    sending.iter().for_each(Sending::wait_until_held_up);
    let grown_kb = proxy.process().resident_kb().saturating_sub(before_kb);
    cluster.node(0).resume();
    assert!(grown_kb < 16 * 1024, "{grown_kb} KB for forty requests of 6 MB");
    for (client, sending) in clients.iter_mut().zip(sending) {
        assert_eq!(client.reply(), ok());
        assert_eq!(sending.end(), Ok(()));
    }
    assert!(proxy.client().line("GET large") == Value::Bulk(large), "not what was sent");
}

/// Who is in the middle of one when memory becomes short has to come to its end: nothing else
/// gives that memory back.
#[test]
fn memory_may_become_short_in_the_middle() {
    if original_differs("has no limit") {
        return;
    }
    let (cluster, proxy) = alone("", "");
    let mut admin = proxy.client();
    let large = value(6 << 20);
    assert_eq!(admin.line("SET small 1"), ok());
    cluster.node(0).pause();
    let mut clients: Vec<Client> = (0..12).map(|_| proxy.client()).collect();
    let request = request(&[b"SET", b"large", &large]);
    let sending: Vec<_> =
        clients.iter().map(|client| Sending::begin(client, request.clone())).collect();
    sending.iter().for_each(Sending::wait_until_held_up);
    assert_eq!(admin.line("CONFIG SET MaxMemory 16777216"), ok());
    cluster.node(0).resume();
    for (client, sending) in clients.iter_mut().zip(sending) {
        assert_eq!(client.reply(), ok());
        assert_eq!(sending.end(), Ok(()));
    }
}

#[test]
fn a_server_that_dies_in_the_middle_costs_that_request_only() {
    if original_differs("reads it whole") {
        return;
    }
    let (mut cluster, proxy) = alone("", "");
    let mut client = proxy.client();
    cluster.node(0).pause();
    let sending = Sending::begin(&client, request(&[b"SET", b"large", &value(SIZE)]));
    sending.wait_until_held_up();
    cluster.node_mut(0).kill();
    let reply = client.reply();
    assert_eq!(reply, error("ERR no server connection avaliable"));
    assert_eq!(sending.end(), Ok(()), "the rest is read all the same");
    assert_eq!(client.line("PING"), simple("PONG"));
    cluster.node_mut(0).restart();
    wait_until(SOON, "it to be served again", || client.line("SET small 1") == ok());
    assert_eq!(client.line("EXISTS large").number(), 0);
    client.send(request(&[b"SET", b"large", &value(SIZE)]));
    assert_eq!(client.reply(), ok());
}

#[test]
fn who_does_not_finish_leaves_nothing_behind() {
    let (cluster, proxy) = alone("", "");
    let mut direct = cluster.node(0).client();
    let mut connected = || {
        let list = direct.line("CLIENT LIST").text();
        list.lines().filter(|line| line.contains("qbuf=")).count()
    };
    assert_eq!(proxy.client().line("SET small 1"), ok());
    let before = connected();
    let (begun, _) = halves("large", SIZE);
    // One leaves, one closes its half, one talks nonsense.
    let mut leaves = proxy.client();
    leaves.send(&begun);
    drop(leaves);
    let mut ends = proxy.client();
    ends.send(&begun);
    ends.shut_down_write();
    let reply = ends.try_reply();
    assert!(reply.is_err() || reply.is_ok_and(|reply| reply.error_text().is_some()));
    let mut errs = proxy.client();
    let mut wrong = request(&[b"SET", b"large", &value(SIZE)]);
    let end = wrong.len();
    wrong[end - 2..].copy_from_slice(b"xx");
    wrong.extend_from_slice(&request(&[b"PING"]));
    errs.send(&wrong);
    if !crate::support::is_original() {
        let text = errs.reply().error_text().expect("an error").to_owned();
        assert!(text.starts_with("ERR Protocol error"), "{text}");
    }
    errs.expect_closed();
    wait_until(SOON, "its links to be gone", || connected() <= before + 1);
    assert_eq!(proxy.client().line("EXISTS large").number(), 0);
    assert_eq!(proxy.client().line("GET small"), bulk("1"));
}

/// It cannot be sent again, but the next one can.
#[test]
fn a_redirection_is_told_and_the_next_attempt_is_kept() {
    if original_differs("keeps it whole") {
        return;
    }
    let key = key_in_slots(0..8192, "k");
    let slot = slot_of(key.as_bytes());
    let second = Arc::new(OnceLock::new());
    let port = Arc::clone(&second);
    let fakes = FakeServer::start_cluster(2, move |index, heard| match heard.name().as_str() {
        "SET" if index == 0 => Answer::text(format!("-MOVED {slot} 127.0.0.1:{}\r\n", port.wait())),
        "SET" => Answer::text(format!("+{}\r\n", heard.words[2].len())),
        _ => Answer::Usual,
    });
    second.set(fakes[1].port()).expect("once");
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    let large = request(&[b"SET", key.as_bytes(), &value(6 << 20)]);
    client.send(&large);
    let text = client.reply().error_text().expect("an error").to_owned();
    assert!(text.starts_with("TRYAGAIN the slot of this large request has moved"), "{text}");
    for _ in 0..3 {
        client.send(&large);
        assert_eq!(client.reply(), simple(&(6 << 20).to_string()));
    }
}

#[test]
fn who_may_not_write_writes_nothing() {
    let (cluster, proxy) = alone(
        "Authority {\nAuth reads {\nMode read\n}\nAuth writes {\nMode write\nKeyPrefix w:\n}\n}",
        "",
    );
    for (password, key) in [("reads", "w:large"), ("writes", "large")] {
        let mut client = proxy.client();
        assert_eq!(client.cmd(&["AUTH", password]), ok());
        client.send(request(&[b"SET", key.as_bytes(), &value(6 << 20)]));
        assert!(client.reply().error_text().is_some());
        assert_eq!(client.line("PING"), simple("PONG"));
    }
    assert_eq!(cluster.node(0).client().line("DBSIZE").number(), 0);
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["AUTH", "writes"]), ok());
    wait_until(SOON, "the server to be known", || client.line("SET w:small 1") == ok());
    client.send(request(&[b"SET", b"w:large", &value(6 << 20)]));
    assert_eq!(client.reply(), ok());
}

#[test]
fn what_a_server_refuses_from_the_beginning_is_an_error() {
    let (cluster, proxy) = alone("", "");
    let mut direct = cluster.node(0).client();
    assert_eq!(direct.line("CONFIG SET proto-max-bulk-len 1048576"), ok());
    let mut client = proxy.client();
    for _ in 0..2 {
        client.send(request(&[b"SET", b"large", &value(SIZE)]));
        assert!(client.reply().error_text().is_some());
        assert_eq!(client.line("SET small 1"), ok());
    }
    assert_eq!(client.line("EXISTS large").number(), 0);
}

/// The time of the server begins when it has got everything.
#[test]
fn who_is_slow_has_the_time_that_it_has_elsewhere() {
    if original_differs("reads it whole") {
        return;
    }
    let (_cluster, proxy) = alone("", "    ServerTimeout 2s");
    let mut slow = proxy.client();
    let (begun, rest) = halves("slow", SIZE);
    let pieces: Vec<&[u8]> = begun.chunks(begun.len() / 8 + 1).collect();
    let since = Instant::now();
    for (number, piece) in (1u32..).zip(pieces) {
        slow.send(piece);
        wait_until(SOON, "some time to pass", || {
            since.elapsed().as_millis() > u128::from(number * 400)
        });
    }
    slow.send(&rest);
    assert_eq!(slow.reply(), ok());
}

#[test]
fn who_stops_in_the_middle_is_idle() {
    let (_cluster, proxy) = alone("ClientTimeout 1", "");
    let mut silent = proxy.client();
    let (begun, _) = halves("silent", SIZE);
    // It may be over before all of it is sent, on a busy machine.
    let _ = silent.try_send(&begun);
    assert!(silent.try_reply().is_err());
    assert_eq!(proxy.client().line("EXISTS silent").number(), 0);
}

#[test]
fn a_server_that_stands_still_is_noticed() {
    if original_differs("reads it whole") {
        return;
    }
    let (cluster, proxy) = alone("", "    ServerTimeout 300ms");
    let mut client = proxy.client();
    cluster.node(0).pause();
    let sending = Sending::begin(&client, request(&[b"SET", b"large", &value(SIZE)]));
    assert!(client.reply().error_text().is_some());
    assert_eq!(sending.end(), Ok(()));
    cluster.node(0).resume();
    wait_until(SOON, "it to be served again", || client.line("SET small 1") == ok());
    assert_eq!(cluster.node(0).client().line("EXISTS large").number(), 0);
}
