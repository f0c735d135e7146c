//! MONITOR: admins see what all clients ask for.

use crate::support::{
    AnyPool, Client, Lost, Proxy, RedisServer, SOON, Value, bulk, groups_conf, ok,
    original_differs, shared_cluster, simple, wait_until, wire,
};

/// The next line, without its time.
fn line(client: &mut Client) -> String {
    let Value::Simple(line) = client.reply() else { panic!("no line") };
    let (time, rest) = line.split_once(' ').unwrap();
    let (seconds, micros) = time.split_once('.').unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(seconds.parse::<u64>().unwrap().abs_diff(now) < 60 && micros.len() == 6, "{time}");
    rest.to_owned()
}

/// The lines that come until one ends with `last`, that one included; only what comes after the
/// address of the client.
fn lines_until(client: &mut Client, last: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = line(client);
        let (who, what) = line.split_once("] ").unwrap();
        assert!(who.starts_with("[0 127.0.0.1:"), "{line}");
        lines.push(what.to_owned());
        if what == last {
            return lines;
        }
    }
}

#[test]
fn lines_are_redis_s_word_for_word() {
    let server = RedisServer::start();
    let proxy = Proxy::start(&groups_conf(&[server.address()]));
    if original_differs("no MONITOR") {
        return;
    }
    let requests: [&[&[u8]]; 5] = [
        &[b"SET", b"k", b"a b\"\\\r\n\t\x07\x08\x00\x7f\xff~"],
        &[b"get", b""],
        &[b"SELECT", b"2"],
        &[b"MGET", b"a", b"b"],
        &[b"PING", b"the end"],
    ];
    let watch = |mut watcher: Client, mut client: Client| -> Vec<String> {
        assert_eq!(watcher.line("MONITOR"), ok());
        requests.iter().for_each(|words| drop(client.cmd(words)));
        requests.iter().map(|_| line(&mut watcher)).collect()
    };
    // The addresses differ, all else does not.
    let without_port = |lines: Vec<String>| -> Vec<String> {
        let cut = |line: String| {
            let (database, rest) = line.split_once(" 127.0.0.1:").unwrap();
            format!("{database} {}", rest.split_once(']').unwrap().1)
        };
        lines.into_iter().map(cut).collect()
    };
    let mut ours = without_port(watch(proxy.client(), proxy.client()));
    let mut theirs = without_port(watch(server.client(), server.client()));
    // Servers do not agree whether SELECT is in the database before it or after it.
    assert_eq!(ours.remove(2), "[2  \"SELECT\" \"2\"");
    theirs.remove(2);
    assert_eq!(ours, theirs);
    assert_eq!(ours[3], "[2  \"PING\" \"the end\"");
}

#[test]
fn all_threads_are_watched_by_several() {
    if original_differs("no MONITOR") {
        return;
    }
    let proxy = Proxy::for_cluster(shared_cluster());
    let mut watchers: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
    let mut clients: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
    for watcher in &mut watchers {
        assert_eq!(watcher.line("MONITOR"), ok());
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.line(&format!("GET monitor:{number}"));
    }
    clients[0].line("ECHO done");
    let mut want: Vec<String> =
        (0..6).map(|number| format!("\"GET\" \"monitor:{number}\"")).collect();
    want.push("\"ECHO\" \"done\"".to_owned());
    want.sort();
    for watcher in &mut watchers {
        // Lines of different threads are in no order.
        let mut seen: Vec<String> = Vec::new();
        while seen.len() < want.len() {
            let line = line(watcher);
            seen.push(line.split_once("] ").unwrap().1.to_owned());
        }
        seen.sort();
        assert_eq!(seen, want);
        assert!(!watcher.has_something());
    }
}

#[test]
fn a_watching_client_gets_its_replies_too_and_quit_ends_it() {
    if original_differs("no MONITOR") {
        return;
    }
    let proxy = Proxy::for_cluster(shared_cluster());
    let (mut watcher, mut other) = (proxy.client(), proxy.client());
    assert_eq!(watcher.line("MONITOR"), ok());
    assert_eq!(watcher.line("MONITOR"), ok());
    other.line("SET monitor:big x");
    assert_eq!(lines_until(&mut watcher, "\"SET\" \"monitor:big\" \"x\"").len(), 1);
    // What it asks itself comes back as a reply and as a line.
    watcher.send(b"GET monitor:big\r\n");
    let both = [watcher.reply(), watcher.reply()];
    assert!(both.contains(&bulk("x")), "{both:?}");
    watcher.send(b"QUIT\r\n");
    while watcher.try_reply().is_ok() {}
    // Nobody is left to watch, and nothing goes wrong.
    assert_eq!(other.line("PING"), simple("PONG"));
}

#[test]
fn passwords_are_not_shown_and_neither_is_what_admins_do() {
    if original_differs("no MONITOR") {
        return;
    }
    let auth = "Authority {\n Auth {\n Mode read\n }\n Auth topsecret {\n Mode admin\n }\n}";
    let proxy = Proxy::start(&format!("{auth}\n{}", shared_cluster().conf()));
    let (mut watcher, mut other) = (proxy.client(), proxy.client());
    watcher.line("AUTH topsecret");
    assert_eq!(watcher.line("MONITOR"), ok());
    other.line("AUTH topsecret");
    other.line("AUTH default topsecret");
    other.line("HELLO 2 AUTH default topsecret");
    other.line("CONFIG GET name");
    other.line("SHUTDOWN");
    other.line("NOSUCHCOMMAND");
    other.line("SET monitor:a x");
    let mut late = proxy.client();
    late.line("SET monitor:not-allowed x");
    late.line("ECHO done");
    let lines = lines_until(&mut watcher, "\"ECHO\" \"done\"");
    let want = [
        "\"AUTH\" \"(redacted)\"",
        "\"AUTH\" \"(redacted)\" \"(redacted)\"",
        "\"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\"",
        "\"SET\" \"monitor:a\" \"x\"",
        "\"ECHO\" \"done\"",
    ];
    assert_eq!(lines, want);
}

/// Like anybody who does not read.
#[test]
fn a_watcher_that_does_not_read_is_cut_off() {
    if original_differs("no MONITOR") {
        return;
    }
    let pool = AnyPool::groups(1, "ClientOutputLimit 1M\n");
    let mut watcher = pool.proxy.client();
    assert_eq!(watcher.line("MONITOR"), ok());
    let mut other = pool.proxy.client();
    let value = "v".repeat(10_000);
    let batch = wire(&["SET", "k", &value]).repeat(100);
    wait_until(SOON, "the watcher to be cut off", || {
        other.send(&batch);
        (0..100).for_each(|_| assert_eq!(other.reply(), ok()));
        pool.proxy.log().contains("monitor is cut off")
            || pool.proxy.log().contains("does not read")
    });
    // It finds what was on the way, and then the end.
    let end = loop {
        match watcher.try_reply() {
            Ok(_) => {}
            Err(lost) => break lost,
        }
    };
    assert_eq!(end, Lost::Closed);
    assert_eq!(other.line("GET k"), bulk(&value));
}

/// A command that waits for its turn is one line, not one for each try.
#[test]
fn what_waits_for_its_turn_is_told_once() {
    if original_differs("no MONITOR") {
        return;
    }
    let proxy = Proxy::for_cluster(shared_cluster());
    let (mut watcher, mut other) = (proxy.client(), proxy.client());
    assert_eq!(watcher.line("MONITOR"), ok());
    let replies = other.pipeline(&[
        "RPUSH monitor:list a",
        "BLPOP monitor:list 1",
        "MULTI",
        "SET monitor:in x",
        "EXEC",
        "ECHO done",
    ]);
    assert_eq!(replies.len(), 6);
    let lines = lines_until(&mut watcher, "\"ECHO\" \"done\"");
    let want = [
        "\"RPUSH\" \"monitor:list\" \"a\"",
        "\"BLPOP\" \"monitor:list\" \"1\"",
        "\"MULTI\"",
        "\"SET\" \"monitor:in\" \"x\"",
        "\"EXEC\"",
        "\"ECHO\" \"done\"",
    ];
    assert_eq!(lines, want);
}
