//! Subscribers that do not read, and messages that are long: what it costs, and who pays.

use crate::support::{
    Client, Lost, Proxy, RedisServer, SOON, array, bulk, groups_conf, int, ok, original_differs,
    wait_until, wire,
};

/// A server that does not mind if we read slowly, and a proxy with these lines.
fn start(lines: &str) -> (RedisServer, Proxy) {
    let server = RedisServer::start();
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0"];
    assert_eq!(server.client().cmd(&limit), ok());
    let proxy = Proxy::start(&format!("{lines}\n{}", groups_conf(&[server.address()])));
    (server, proxy)
}

fn subscribers(proxy: &Proxy, count: usize, channel: &str) -> Vec<Client> {
    let subscribed = |_| {
        let mut client = proxy.client();
        assert_eq!(client.cmd(&["SUBSCRIBE", channel]).elements()[1], bulk(channel));
        client
    };
    (0..count).map(subscribed).collect()
}

#[test]
fn a_long_message_is_kept_once_for_all() {
    if original_differs("keeps one for each") {
        return;
    }
    const READERS: usize = 50;
    let (_server, mut proxy) = start("WorkerThreads 1");
    let mut readers = subscribers(&proxy, READERS, "long");
    let mut publisher = proxy.client();
    let text: Vec<u8> = (0..8 << 20).map(|index: u32| (index % 251) as u8).collect();
    // Lengths around those at which messages are treated otherwise.
    for length in [4_000, 4_096, 16_300, 16_384, 65_450, 65_536, 70_000, 1 << 20] {
        assert_eq!(publisher.cmd(&[&b"PUBLISH"[..], b"long", &text[..length]]), int(1));
        publisher.line("PUBLISH long end");
        for reader in &mut readers {
            let want = array([bulk("message"), bulk("long"), bulk(&text[..length])]);
            assert!(reader.reply() == want, "{length} bytes");
            assert_eq!(reader.reply().elements()[2], bulk("end"));
        }
    }
    let before_kb = proxy.process().resident_kb();
    assert_eq!(publisher.cmd(&[&b"PUBLISH"[..], b"long", &text]), int(1));
    // Nobody reads yet. What the kernel does not take waits once, and not fifty times.
    let mut peak_kb = 0;
    for _ in 0..200 {
        assert_eq!(publisher.line("SET long:k v"), ok());
        peak_kb = peak_kb.max(proxy.process().resident_kb());
    }
    let more_kb = peak_kb.saturating_sub(before_kb);
    assert!(more_kb < 100 << 10, "{more_kb} KB more for one message of 8 MB");
    for reader in &mut readers {
        let want = array([bulk("message"), bulk("long"), bulk(&text)]);
        assert!(reader.reply() == want);
    }
    drop(readers);
    wait_until(SOON, "its memory to be given back", || proxy.figure("UsedMemory") < 4 << 20);
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off_and_harms_nobody() {
    let (_server, mut proxy) = start("WorkerThreads 1\nClientOutputLimit 2M");
    let mut reader = subscribers(&proxy, 1, "slow").remove(0);
    let mut deaf = subscribers(&proxy, 3, "slow");
    let mut publisher = proxy.client();
    let text = "s".repeat(1000);
    let before_kb = proxy.process().resident_kb();
    let (mut peak_kb, mut published) = (0, 0);
    // As much as the kernel keeps for each of them, and more than the limit.
    while proxy.figure("ClientConnections") > 3 {
        let burst: Vec<u8> = (0..500).flat_map(|_| wire(&["PUBLISH", "slow", &text])).collect();
        publisher.send(burst);
        for _ in 0..500 {
            assert_eq!(publisher.reply(), int(1));
            assert_eq!(reader.reply().elements()[2], bulk(&text));
        }
        published += 500;
        assert!(published < 100_000, "they are still there");
        peak_kb = peak_kb.max(proxy.process().resident_kb());
    }
    let more_kb = peak_kb.saturating_sub(before_kb);
    assert!(more_kb < 40 << 10, "{more_kb} KB for three clients with a limit of 2 MB");
    for client in &mut deaf {
        let (mut heard, mut last) = (0, client.try_reply());
        while let Ok(message) = last {
            assert_eq!(message.elements()[2], bulk(&text));
            heard += 1;
            last = client.try_reply();
        }
        assert!(last == Err(Lost::Closed) && heard < published, "{last:?} after {heard}");
    }
    publisher.line("PUBLISH slow still");
    assert_eq!(reader.reply().elements()[2], bulk("still"));
}

#[test]
fn a_subscriber_that_reads_late_gets_everything() {
    let (_server, proxy) = start("WorkerThreads 2");
    let mut readers = subscribers(&proxy, 4, "late");
    let mut publisher = proxy.client();
    let texts: Vec<String> = (0..300).map(|number| format!("{number}:").repeat(5_000)).collect();
    for text in &texts {
        assert!(publisher.cmd(&["PUBLISH", "late", text]).number() >= 1);
    }
    for reader in &mut readers {
        for text in &texts {
            assert!(reader.reply().elements()[2] == bulk(text), "not the message that is next");
        }
        assert!(!reader.has_something());
    }
}

#[test]
fn nobody_may_be_subscribed_to_without_end() {
    if original_differs("has no such limit") {
        return;
    }
    let (server, proxy) = start("WorkerThreads 1\nClientOutputLimit 4M");
    let mut client = proxy.client();
    let name = |number: usize| format!("{number:03}").repeat(33_333);
    for number in 0..42 {
        let reply = client.cmd(&["SUBSCRIBE", &name(number)]);
        let is_last = number == 41;
        assert_eq!(reply.error_text().is_some(), is_last, "{number}");
        if is_last {
            assert_eq!(reply.error_text(), Some("ERR too many subscriptions of one client"));
        }
    }
    assert_eq!(client.cmd(&["UNSUBSCRIBE", &name(0)]).elements()[2], int(40));
    assert_eq!(client.cmd(&["SUBSCRIBE", &name(400)]).elements()[2], int(41));
    drop(client);
    let mut master = server.client();
    wait_until(SOON, "the server to forget all", || {
        master.line("PUBSUB CHANNELS").elements().is_empty()
    });
}
