//! MULTI, EXEC, DISCARD, WATCH and UNWATCH, compared with what Redis itself says.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::support::{
    Answer, Client, FakeServer, Heard, Proxy, RedisCluster, RedisServer, SOON, Value, array, bulk,
    error, in_words_of_today, int, key_in_slots, ok, original_differs, servers_are_valkey,
    shared_cluster, simple, slot_of, wait_until, wire,
};

/// A proxy in front of one server, and that server.
fn single() -> (RedisServer, Proxy) {
    let server = RedisServer::start();
    let proxy = Proxy::start(&single_conf(&server));
    wait_until(SOON, "the server to be reached", || proxy.client().line("GET up") == Value::Nil);
    (server, proxy)
}

fn single_conf(server: &RedisServer) -> String {
    let address = server.address();
    format!("StandaloneServerPool {{\nRefreshMethod fixed\nGroup one {{\n+ {address}\n}}\n}}\n")
}

const QUEUED: &str = "QUEUED";
const ABORT: &str = "EXECABORT Transaction discarded because of previous errors.";
const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// What clients do with transactions; every script leaves none behind.
const SCRIPTS: &[&[&str]] = &[
    &["MULTI", "SET {t}a 1", "INCR {t}a", "GET {t}a", "EXEC", "GET {t}a"],
    &["MULTI", "EXEC", "MULTI", "DISCARD"],
    &["MULTI", "PING", "EXEC"],
    &["MULTI", "PING", "ECHO x", "SET {t}k v", "PING x", "GET {t}k", "EXEC"],
    &["MULTI", "SET {t}d 1", "DISCARD", "GET {t}d", "EXEC", "DISCARD"],
    &["EXEC", "DISCARD", "UNWATCH"],
    &["MULTI", "MULTI", "WATCH {t}a", "SET {t}a 2", "EXEC"],
    &["MULTI", "SET {t}a 1", "NOSUCH x", "SET {t}a 2", "EXEC", "GET {t}a", "EXEC"],
    &["MULTI", "GET", "EXEC"],
    &["MULTI", "GET", "SET {t}a 3", "DISCARD", "MULTI", "SET {t}a 4", "EXEC"],
    &["MULTI", "SET {t}a x", "INCR {t}a", "LPUSH {t}a 1", "SET {t}a y", "EXEC", "GET {t}a"],
    &["MULTI", "SET {t}a 1", "EXEC x", "EXEC", "GET {t}a"],
    &["MULTI", "MSET {t}m 1 {t}n 2", "MGET {t}n {t}m", "DEL {t}m {t}n", "EXISTS {t}m {t}n", "EXEC"],
    &["WATCH {t}w", "GET {t}w", "MULTI", "INCR {t}w", "EXEC", "GET {t}w"],
    &["WATCH {t}w", "INCR {t}w", "MULTI", "INCR {t}w", "EXEC", "GET {t}w"],
    &["WATCH {t}w", "INCR {t}w", "MULTI", "EXEC", "MULTI", "INCR {t}w", "EXEC"],
    &["WATCH {t}w", "INCR {t}w", "UNWATCH", "MULTI", "INCR {t}w", "EXEC", "GET {t}w"],
    &["WATCH {t}w", "MULTI", "DISCARD", "INCR {t}w", "MULTI", "INCR {t}w", "EXEC"],
    &["WATCH {t}w {t}x", "WATCH {t}y", "SET {t}y 1", "MULTI", "PING", "EXEC"],
    &["WATCH {t}w", "EXEC", "SET {t}w 1", "MULTI", "INCR {t}w", "EXEC"],
    &["WATCH", "MULTI x", "UNWATCH x", "DISCARD x"],
    &["WATCH {t}w", "MULTI", "UNWATCH", "INCR {t}w", "EXEC"],
    &["MULTI", "BLPOP {t}none 0", "RPUSH {t}l 1", "BLPOP {t}l 0", "EXEC", "LLEN {t}l"],
    &["MULTI", "XADD {t}s 1-1 f v", "XREAD BLOCK 0 STREAMS {t}s 0", "DEL {t}s", "EXEC"],
    &["MULTI", "EVAL return{KEYS[1],1} 1 {t}a", "EVAL return{2} 0", "EXEC"],
    &["MULTI", "PUBLISH {t}channel hello", "SET {t}a 1", "PUBLISH {t}channel hello", "EXEC"],
    &["MULTI", "SET {t}a 1", "EXEC", "MULTI", "SET {t}a 2", "EXEC", "GET {t}a"],
];

#[test]
fn transactions_are_as_in_redis() {
    let direct = RedisServer::start();
    let (_server, single) = single();
    let cluster = Proxy::for_cluster(shared_cluster());
    cluster.client().line("DEL {t}a {t}w {t}l {t}d {t}k {t}x {t}y");
    let mut want = direct.client();
    let mut clients = [single.client(), cluster.client()];
    for script in SCRIPTS {
        // Valkey fails the transaction for that.
        if script.starts_with(&["MULTI", "MULTI"]) && servers_are_valkey() {
            continue;
        }
        let words: Vec<Vec<&str>> =
            script.iter().map(|line| line.split(' ').collect::<Vec<&str>>()).collect();
        // One by one, then all in one write.
        let wants: Vec<Value> =
            words.iter().map(|words| in_words_of_today(want.cmd(words))).collect();
        for client in &mut clients {
            let got: Vec<Value> = words.iter().map(|words| client.cmd(words)).collect();
            assert_eq!(got, wants, "{script:?}");
        }
        let wants: Vec<Value> = want.pipeline(script).into_iter().map(in_words_of_today).collect();
        for client in &mut clients {
            assert_eq!(client.pipeline(script), wants, "pipelined {script:?}");
        }
    }
}

#[test]
fn d03_what_cannot_be_in_a_transaction_is_refused_and_fails_it() {
    if original_differs("D-03: passes everything on, and closes the connection on SELECT") {
        return;
    }
    let (server, single) = single();
    let cluster = Proxy::for_cluster(shared_cluster());
    for proxy in [&single, &cluster] {
        let mut client = proxy.client();
        for line in [
            "SELECT 1",
            "SUBSCRIBE c",
            "PSUBSCRIBE c",
            "CLIENT GETNAME",
            "CLIENT KILL x",
            "AUTH x",
            "CONFIG GET maxmemory",
            "INFO",
            "SCAN 0",
            "SCRIPT LOAD x",
            "CLUSTER NODES",
            "READONLY",
            "SHUTDOWN",
            "DEBUG SLEEP 0",
        ] {
            assert_eq!(client.line("MULTI"), ok());
            assert_eq!(client.line("SET {t}d03 1"), simple(QUEUED));
            let reply = client.line(line);
            assert!(reply.error_text().is_some(), "{line}: {reply:?}");
            assert_eq!(client.line("EXEC"), error(ABORT), "{line}");
            assert_eq!(client.line("GET {t}d03"), Value::Nil, "{line}");
        }
        // While watching, what is not for a server does not reach one either.
        assert_eq!(client.line("WATCH {t}d03"), ok());
        for line in ["SHUTDOWN", "DEBUG SLEEP 0", "SELECT 1"] {
            assert!(client.line(line).error_text().is_some(), "{line}");
        }
        assert_eq!(client.pipeline(&["MULTI", "PING", "EXEC"])[2], array([simple("PONG")]));
    }
    let mut client = cluster.client();
    let reply = client.pipeline(&["MULTI", "DBSIZE", "EXEC"]);
    assert!(reply[1].error_text().is_some() && reply[2] == error(ABORT), "{reply:?}");
    // One server has all keys.
    let reply = single.client().pipeline(&["MULTI", "DBSIZE", "EXEC"]);
    assert_eq!(reply[1..], [simple(QUEUED), array([int(0)])]);
    assert_eq!(server.client().line("PING"), simple("PONG"));
}

#[test]
fn rights_are_those_outside() {
    let server = RedisServer::start();
    let authority = "Authority {\nAuth reader {\nMode read\n}\nAuth writer {\nMode write\nKeyPrefix {t}own\n}\n}\n";
    let proxy = Proxy::start(&format!("{authority}{}", single_conf(&server)));
    let mut client = proxy.client();
    assert_eq!(client.line("MULTI"), error("NOAUTH Authentication required."));
    assert_eq!(client.line("AUTH writer"), ok());
    let replies = client.pipeline(&["MULTI", "SET {t}own 1", "SET {t}other 1", "EXEC"]);
    assert_eq!(replies[1], simple(QUEUED));
    assert!(replies[2].error_text().is_some(), "{replies:?}");
    assert_eq!(replies[3], error(ABORT));
    assert!(client.line("WATCH {t}other").error_text().is_some());
    assert_eq!(client.pipeline(&["MULTI", "SET {t}own 1", "EXEC"])[2], array([ok()]));
}

#[test]
fn keys_of_two_slots_are_refused_and_fail_the_transaction() {
    let proxy = Proxy::for_cluster(shared_cluster());
    let mut client = proxy.client();
    let replies = client.pipeline(&["MULTI", "SET {t}x 1", "SET {u}x 1", "MGET {t}x {u}x", "EXEC"]);
    let cross = || error(CROSS_SLOT);
    assert_eq!(replies, [ok(), simple(QUEUED), cross(), cross(), error(ABORT)]);
    assert_eq!(client.line("GET {u}x"), Value::Nil);
    assert_eq!(client.line("WATCH {t}x {u}x"), cross());
    assert_eq!(client.pipeline(&["WATCH {t}x", "WATCH {u}x"]), [ok(), cross()]);
    assert_eq!(client.pipeline(&["MULTI", "SET {u}x 1"])[1], cross());
    assert_eq!(client.line("EXEC"), error(ABORT));
}

#[test]
fn a_change_by_somebody_else_is_seen() {
    let (_server, single) = single();
    let cluster = Proxy::for_cluster(shared_cluster());
    for proxy in [&single, &cluster] {
        let (mut client, mut other) = (proxy.client(), proxy.client());
        assert_eq!(client.line("SET {t}seen 1"), ok());
        assert_eq!(client.pipeline(&["WATCH {t}seen", "GET {t}seen"]), [ok(), bulk("1")]);
        assert_eq!(other.line("INCR {t}seen"), int(2));
        let replies = client.pipeline(&["MULTI", "SET {t}seen 10", "EXEC"]);
        assert_eq!(replies, [ok(), simple(QUEUED), Value::NilArray]);
        // The watch is over.
        assert_eq!(client.pipeline(&["MULTI", "SET {t}seen 10", "EXEC"])[2], array([ok()]));
        // Nobody else's transaction is between ours.
        assert_eq!(client.pipeline(&["MULTI", "INCR {t}seen"]), [ok(), simple(QUEUED)]);
        assert_eq!(other.line("SET {t}seen 20"), ok());
        assert_eq!(client.line("EXEC"), array([int(21)]));
        other.line("DEL {t}seen");
    }
}

#[test]
fn increments_by_watch_are_never_lost() {
    const CLIENTS: usize = 8;
    const ROUNDS: i64 = 40;
    let proxy = Proxy::for_cluster(shared_cluster());
    proxy.client().line("SET {watch}n 0");
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = proxy.client();
                for _ in 0..ROUNDS {
                    loop {
                        // Pipelined, so that GET would overtake WATCH if anything could.
                        let replies = client.pipeline(&["WATCH {watch}n", "GET {watch}n"]);
                        let next: i64 = replies[1].text().parse::<i64>().unwrap() + 1;
                        let set = format!("SET {{watch}}n {next}");
                        match &client.pipeline(&["MULTI", &set, "EXEC"])[2] {
                            Value::NilArray => {}
                            done => {
                                assert_eq!(done, &array([ok()]));
                                break;
                            }
                        }
                    }
                }
            });
        }
    });
    let want = i64::try_from(CLIENTS).unwrap() * ROUNDS;
    assert_eq!(proxy.client().line("GET {watch}n"), bulk(want.to_string()));
}

#[test]
fn who_watches_reads_from_masters() {
    let cluster = RedisCluster::start(1, 1);
    let lines = "MasterReadPriority 0\nStaticSlaveReadPriority 50\nDynamicSlaveReadPriority 50";
    let proxy = Proxy::start(&cluster.conf_with(lines));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    assert_eq!(client.line("SET {t}fresh 1"), ok());
    // A replica may know less than the watch has seen; this one knows nothing any more.
    cluster.node(1).pause();
    assert_eq!(client.pipeline(&["WATCH {t}fresh", "GET {t}fresh"]), [ok(), bulk("1")]);
    assert_eq!(client.pipeline(&["MULTI", "GET {t}fresh", "EXEC"])[2], array([bulk("1")]));
    cluster.node(1).resume();
}

#[test]
fn large_requests_and_replies_are_part_of_it() {
    let (_server, single) = single();
    let cluster = Proxy::for_cluster(shared_cluster());
    let values = [70_000, 300_000, 1_200_000, 20_000].map(|length| "v".repeat(length));
    for proxy in [&single, &cluster] {
        let mut client = proxy.client();
        let mut bytes = wire(&["MULTI"]);
        for value in &values {
            bytes.extend(wire(&["SET", "{t}large", value]));
            bytes.extend(wire(&["GET", "{t}large"]));
        }
        bytes.extend(wire(&["EXEC"]));
        bytes.extend(wire(&["STRLEN", "{t}large"]));
        client.send(bytes);
        assert_eq!(client.reply(), ok());
        (0..8).for_each(|_| assert_eq!(client.reply(), simple(QUEUED)));
        assert_eq!(client.reply(), array(values.iter().flat_map(|value| [ok(), bulk(value)])));
        assert_eq!(client.reply(), int(20_000));
        // Longer than anything before its first key may be.
        client.send([wire(&["MULTI"]), wire(&["ECHO", &values[2]]), wire(&["EXEC"])].concat());
        assert_eq!(client.reply(), ok());
        assert!(client.reply().error_text().is_some());
        assert_eq!(client.reply(), error(ABORT));
        client.line("DEL {t}large");
    }
}

#[test]
fn a_value_that_looks_like_an_error_is_none() {
    let proxy = Proxy::for_cluster(shared_cluster());
    let mut client = proxy.client();
    // It comes in pieces; whatever their length is, some of them begin with the error.
    for offset in 0..48 {
        let value = "x".repeat(offset) + &"-LOADING x\r\n".repeat(9000);
        assert_eq!(client.cmd(&["SET", "{t}looks", &value]), ok());
        assert_eq!(client.line("GET {t}looks"), bulk(&value));
        let replies = client.pipeline(&["MULTI", "GET {t}looks", "EXEC"]);
        assert_eq!(replies[2], array([bulk(&value)]));
    }
    client.line("DEL {t}looks");
}

#[test]
fn d43_who_leaves_frees_everything_and_nothing_is_executed() {
    let (server, proxy) = single();
    for lines in [
        &["MULTI", "SET left 1"][..],
        &["WATCH left"],
        &["WATCH left", "MULTI", "SET left 1"],
        &["MULTI", "SET left 1", "QUIT"],
        &["MULTI", "SET left 1", "BOGUS"],
    ] {
        for _ in 0..20 {
            let mut client = proxy.client();
            client.pipeline(lines);
        }
    }
    wait_until(SOON, "the links to be closed", || {
        connections(&server, "multi=").iter().all(|multi| multi == "-1")
            && connections(&server, "id=").len() < 10
    });
    assert_eq!(server.client().line("GET left"), Value::Nil);
    // Those that end well are kept for the next, and not more of them than were in use at a time.
    for _ in 0..50 {
        let mut client = proxy.client();
        client.pipeline(&["MULTI", "SET left 1", "EXEC", "MULTI", "SET left 1", "DISCARD"]);
        client.pipeline(&["WATCH left", "UNWATCH", "WATCH left", "MULTI", "BOGUS", "EXEC"]);
    }
    assert!(connections(&server, "id=").len() < 10);
}

/// One field of each line of CLIENT LIST.
fn connections(server: &RedisServer, field: &str) -> Vec<String> {
    let list = server.client().line("CLIENT LIST TYPE normal").text();
    let fields = list.lines().filter_map(|line| {
        line.split(' ').find_map(|word| word.strip_prefix(field)).map(str::to_owned)
    });
    fields.collect()
}

#[test]
fn d07_two_clients_never_share_a_link() {
    let (server, proxy) = single();
    for _ in 0..20 {
        let mut clients: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
        for client in &mut clients {
            assert_eq!(client.pipeline(&["MULTI", "SET d07 1", "EXEC"])[2], array([ok()]));
        }
        // The links that wait for the next one who needs one are cut.
        server.kill_client_connections();
        for (number, client) in clients.iter_mut().enumerate() {
            client.send([wire(&["MULTI"]), wire(&["SET", &format!("d07:{number}"), "1"])].concat());
        }
        for client in &mut clients {
            assert_eq!(client.reply(), ok());
            let reply = client.reply();
            assert!(reply == simple(QUEUED) || reply.error_text().is_some(), "{reply:?}");
        }
        for client in &mut clients {
            let reply = client.line("EXEC");
            assert!(reply == array([ok()]) || reply == error(ABORT), "{reply:?}");
        }
    }
}

#[test]
fn a_lost_link_fails_the_transaction_and_nothing_is_executed() {
    let (server, proxy) = single();
    let mut client = proxy.client();
    assert_eq!(client.pipeline(&["MULTI", "SET lost 1"]), [ok(), simple(QUEUED)]);
    server.kill_client_connections();
    wait_until(SOON, "the proxy to notice", || proxy.client().line("GET lost") == Value::Nil);
    let reply = client.line("SET lost 2");
    assert!(reply.error_text().is_some(), "{reply:?}");
    assert_eq!(client.line("EXEC"), error(ABORT));
    // While watching nobody can say that nothing has changed.
    assert_eq!(client.line("WATCH lost"), ok());
    server.kill_client_connections();
    wait_until(SOON, "the proxy to notice", || proxy.client().line("GET lost") == Value::Nil);
    assert_eq!(client.line("WATCH lost"), ok());
    let replies = client.pipeline(&["MULTI", "SET lost 3", "PING", "EXEC"]);
    assert_eq!(replies, [ok(), simple(QUEUED), simple(QUEUED), Value::NilArray]);
    assert_eq!(client.pipeline(&["MULTI", "SET lost 4", "EXEC"])[2], array([ok()]));
    // Lost between MULTI and EXEC.
    assert_eq!(client.pipeline(&["WATCH lost", "MULTI", "SET lost 5"])[2], simple(QUEUED));
    server.kill_client_connections();
    wait_until(SOON, "the proxy to notice", || proxy.client().line("GET lost") == bulk("4"));
    assert_eq!(client.line("EXEC"), Value::NilArray);
    assert_eq!(client.line("GET lost"), bulk("4"));
}

#[test]
fn exec_whose_reply_is_lost_may_have_been_executed() {
    let (server, proxy) = fake(|heard| match heard.name().as_str() {
        "EXEC" => Answer::Last(Vec::new()),
        _ => Answer::Usual,
    });
    let mut client = proxy.client();
    let replies = client.pipeline(&["MULTI", "SET k 1", "EXEC", "PING"]);
    assert_eq!(replies[2], error("ERR server connection close"));
    assert_eq!(replies[3], simple("PONG"));
    assert_eq!(server.heard_named("EXEC").len(), 1);
    assert_eq!(client.line("EXEC"), error("ERR EXEC without MULTI"));
}

#[test]
fn a_server_without_multi_executes_nothing() {
    let (server, proxy) = fake(|heard| match heard.name().as_str() {
        "MULTI" => Answer::text("-ERR unknown command 'MULTI'\r\n"),
        _ => Answer::Usual,
    });
    let mut client = proxy.client();
    let replies = client.pipeline(&["MULTI", "SET k 1", "SET k 2", "EXEC"]);
    let unknown = || error("ERR unknown command 'MULTI'");
    assert_eq!(replies, [ok(), unknown(), unknown(), error(ABORT)]);
    let heard = server.heard();
    assert!(heard.iter().all(|heard| heard.name() != "SET" && heard.name() != "EXEC"), "{heard:?}");
}

#[test]
fn a_command_that_the_server_refuses_fails_the_transaction() {
    let (server, proxy) = fake(|heard| match heard.name().as_str() {
        "SET" => Answer::text("-OOM command not allowed\r\n"),
        _ => Answer::Usual,
    });
    let mut client = proxy.client();
    // What comes while nobody knows yet is for the server to refuse; later it is not even asked.
    assert_eq!(client.pipeline(&["MULTI", "SET k 1"])[1], error("OOM command not allowed"));
    assert_eq!(client.pipeline(&["GET k", "EXEC"]), [simple(QUEUED), error(ABORT)]);
    wait_until(SOON, "the link to be cleaned", || server.heard_named("DISCARD").len() == 1);
    assert!(server.heard_named("EXEC").is_empty());
}

/// A single scripted node that knows transactions, unless the script says otherwise.
fn fake(script: impl Fn(&Heard) -> Answer + Send + Sync + 'static) -> (FakeServer, Proxy) {
    let server = FakeServer::start(move |heard| match script(heard) {
        Answer::Usual => queueing(heard),
        answer => answer,
    });
    let proxy = Proxy::start(&FakeServer::conf(std::slice::from_ref(&server), ""));
    proxy.wait_for_servers(1);
    (server, proxy)
}

fn queueing(heard: &Heard) -> Answer {
    match heard.name().as_str() {
        "MULTI" | "DISCARD" | "WATCH" | "UNWATCH" => Answer::text("+OK\r\n"),
        "GET" | "SET" | "ECHO" => Answer::text("+QUEUED\r\n"),
        "EXEC" => Answer::text("*0\r\n"),
        _ => Answer::Usual,
    }
}

/// Two scripted masters, of which the first says MOVED to the second for `commands` from their
/// `after`th on.
fn moving(commands: &'static [&'static str], after: usize) -> (Vec<FakeServer>, Proxy, String) {
    let key = key_in_slots(0..8192, "{k}");
    let slot = slot_of(key.as_bytes());
    let port = Arc::new(OnceLock::<u16>::new());
    let (for_script, seen) = (Arc::clone(&port), AtomicUsize::new(0));
    let fakes = FakeServer::start_cluster(2, move |index, heard| {
        let is_moved = index == 0 && commands.contains(&heard.name().as_str());
        if is_moved && seen.fetch_add(1, Ordering::SeqCst) >= after {
            Answer::text(format!("-MOVED {slot} 127.0.0.1:{}\r\n", for_script.wait()))
        } else if index == 0 && heard.name() == "EXEC" && seen.load(Ordering::SeqCst) > after {
            // It has not queued all it was told to.
            Answer::text(format!("-{ABORT}\r\n"))
        } else {
            queueing(heard)
        }
    });
    port.set(fakes[1].port()).unwrap();
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    (fakes, proxy, key)
}

/// The commands of transactions that a fake was told, as text.
fn told(fake: &FakeServer) -> Vec<String> {
    let names = ["MULTI", "SET", "GET", "ECHO", "EXEC", "DISCARD", "WATCH"];
    let heard = fake.heard().into_iter().filter(|heard| names.contains(&heard.name().as_str()));
    heard.map(|heard| format!("{} {}", heard.name(), heard.word(2)).trim().to_owned()).collect()
}

#[test]
fn a_transaction_follows_its_slot() {
    for after in 0..3 {
        let (fakes, proxy, key) = moving(&["SET"], after);
        let mut client = proxy.client();
        let sets: Vec<String> = (0..4).map(|number| format!("SET {key} {number}")).collect();
        let lines: Vec<&str> = ["MULTI", "ECHO first"]
            .into_iter()
            .chain(sets.iter().map(String::as_str))
            .chain(["EXEC"])
            .collect();
        let replies = if after == 1 {
            // One by one.
            lines.iter().map(|line| client.line(line)).collect()
        } else {
            client.pipeline(&lines)
        };
        assert_eq!(replies[0], ok());
        assert!(replies[1..6].iter().all(|reply| *reply == simple(QUEUED)), "{replies:?}");
        assert_eq!(replies[6], array([]));
        let want = ["MULTI", "ECHO", "SET 0", "SET 1", "SET 2", "SET 3", "EXEC"];
        assert_eq!(told(&fakes[1]), want, "after {after}");
        assert_eq!(client.line("PING"), simple("PONG"));
    }
}

#[test]
fn a_transaction_follows_its_slot_when_exec_is_told() {
    let (fakes, proxy, key) = moving(&["EXEC"], 0);
    let replies = proxy.client().pipeline(&["MULTI", &format!("SET {key} 1"), "EXEC", "PING"]);
    assert_eq!(replies, [ok(), simple(QUEUED), array([]), simple("PONG")]);
    assert_eq!(told(&fakes[1]), ["MULTI", "SET 1", "EXEC"]);
}

#[test]
fn a_watch_follows_its_slot_but_not_what_it_has_seen() {
    let (fakes, proxy, key) = moving(&["WATCH"], 0);
    let (watch, set) = (format!("WATCH {key}"), format!("SET {key} 1"));
    let replies = proxy.client().pipeline(&[&watch, "MULTI", &set, "EXEC"]);
    assert_eq!(replies, [ok(), ok(), simple(QUEUED), array([])]);
    assert_eq!(told(&fakes[1]), ["WATCH", "MULTI", "SET 1", "EXEC"]);
    // What was watched at the old owner may have changed since.
    for commands in [&["SET"][..], &["EXEC"], &["WATCH"]] {
        let after = usize::from(commands == ["WATCH"]);
        let (fakes, proxy, key) = moving(commands, after);
        let (watch, set) = (format!("WATCH {key}"), format!("SET {key} 1"));
        let replies =
            proxy.client().pipeline(&[&watch, &watch, "MULTI", &set, &set, "EXEC", "PING"]);
        assert_eq!(replies[..3], [ok(), ok(), ok()], "{commands:?}");
        assert_eq!(replies[3..5], [simple(QUEUED), simple(QUEUED)], "{commands:?}");
        assert_eq!(replies[5..], [Value::NilArray, simple("PONG")], "{commands:?}");
        assert!(told(&fakes[1]).is_empty(), "{commands:?}");
    }
}

#[test]
fn ask_and_tryagain_fail_the_transaction() {
    for text in ["ASK 1 127.0.0.1:1", "TRYAGAIN Multiple keys request during rehashing of slot"] {
        let (_fakes, proxy) = fake(move |heard| match heard.name().as_str() {
            "SET" => Answer::text(format!("-{text}\r\n")),
            "EXEC" => Answer::text(format!("-{ABORT}\r\n")),
            _ => Answer::Usual,
        });
        let replies = proxy.client().pipeline(&["MULTI", "SET k 1", "EXEC", "PING"]);
        assert_eq!(replies, [ok(), error(text), error(ABORT), simple("PONG")]);
        // Together with a watch it is the same as a change.
        let replies = proxy.client().pipeline(&["WATCH k", "MULTI", "SET k 1", "EXEC", "PING"]);
        assert_eq!(replies[4], simple("PONG"));
        assert!(replies[3] == Value::NilArray || replies[3] == error(ABORT), "{replies:?}");
    }
}

#[test]
fn who_was_told_queued_is_told_at_exec_what_was_in_the_way() {
    let key = key_in_slots(0..8192, "{k}");
    let port = Arc::new(OnceLock::<u16>::new());
    let for_script = Arc::clone(&port);
    let ask = "ASK 1 127.0.0.1:1";
    // The new owner is about to lose the slot again.
    let fakes = FakeServer::start_cluster(2, move |index, heard| match (index, &*heard.name()) {
        (0, "SET") if heard.word(2) == "1" => {
            Answer::text(format!("-MOVED 1 127.0.0.1:{}\r\n", for_script.wait()))
        }
        (1, "SET") if heard.word(2) == "0" => Answer::text(format!("-{ask}\r\n")),
        (1, "EXEC") => Answer::text(format!("-{ABORT}\r\n")),
        _ => queueing(heard),
    });
    port.set(fakes[1].port()).unwrap();
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    let lines = ["MULTI", &format!("SET {key} 0"), &format!("SET {key} 1"), "EXEC", "PING"];
    let told = error(&format!("EXECABORT Transaction discarded because of: {ask}"));
    let want = [ok(), simple(QUEUED), simple(QUEUED), told, simple("PONG")];
    let mut client = proxy.client();
    // EXEC is sent together with the rest, or after the answers.
    assert_eq!(client.pipeline(&lines), want);
    assert_eq!(lines.map(|line| client.line(line)), want);
}

#[test]
fn transactions_while_their_slot_moves() {
    let cluster = RedisCluster::start(2, 0);
    let proxy = Proxy::for_cluster(&cluster);
    let slot = 77;
    let tag = key_in_slots(slot..slot + 1, "tag");
    let stop = AtomicBool::new(false);
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..4 {
            let (proxy, stop, tag, done) = (&proxy, &stop, &tag, &done);
            scope.spawn(move || {
                let mut client = proxy.client();
                let keys = [format!("{{{tag}}}{number}a"), format!("{{{tag}}}{number}b")];
                let mut last = 0;
                while !stop.load(Ordering::Relaxed) {
                    let lines = keys.each_ref().map(|key| format!("INCR {key}"));
                    let replies = client.pipeline(&["MULTI", &lines[0], &lines[1], "EXEC"]);
                    // Whoever is no client of a cluster would not know what to do with it.
                    let is_moved = |reply: &Value| {
                        reply.error_text().is_some_and(|text| text.starts_with("MOVED"))
                    };
                    assert!(!replies.iter().any(is_moved), "{replies:?}");
                    match &replies[3] {
                        Value::Array(both) => {
                            // Both or none, each exactly once.
                            assert_eq!(both[..], [int(last + 1), int(last + 1)], "{replies:?}");
                            last += 1;
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Value::Error(text) => {
                            assert!(text.starts_with("EXECABORT "), "{replies:?}");
                        }
                        _ => panic!("{replies:?}"),
                    }
                }
            });
        }
        for round in 0..8 {
            let before = done.load(Ordering::Relaxed);
            wait_until(SOON, "some transactions", || done.load(Ordering::Relaxed) > before + 20);
            cluster.migrate_slot(slot, round % 2, 1 - round % 2);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn d30_who_watches_may_be_idle() {
    let server = RedisServer::start();
    let proxy = Proxy::start(&format!("ClientTimeout 1\n{}", single_conf(&server)));
    let (mut watching, mut idle) = (proxy.client(), proxy.client());
    assert_eq!(watching.line("WATCH idle"), ok());
    assert_eq!(idle.pipeline(&["MULTI", "SET idle 1"])[1], simple(QUEUED));
    idle.expect_closed();
    let mut second = proxy.client();
    assert_eq!(second.line("PING"), simple("PONG"));
    second.expect_closed();
    assert_eq!(watching.pipeline(&["MULTI", "SET idle 1", "EXEC"])[2], array([ok()]));
}

#[test]
fn a_server_that_does_not_answer_in_time_fails_the_transaction() {
    let server = FakeServer::start(|heard| match heard.name().as_str() {
        "EXEC" => Answer::Silence,
        _ => queueing(heard),
    });
    let conf = FakeServer::conf(std::slice::from_ref(&server), "ServerTimeout 200ms");
    let proxy = Proxy::start(&conf);
    proxy.wait_for_servers(1);
    let mut client = proxy.client();
    let replies = client.pipeline(&["MULTI", "SET k 1", "EXEC", "PING"]);
    assert_eq!(replies[2..], [error("ERR server connection close"), simple("PONG")]);
}
