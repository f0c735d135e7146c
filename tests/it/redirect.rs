//! MOVED and ASK, as a scripted cluster says them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{
    Answer, FakeServer, Heard, Proxy, SOON, bulk, error, key_in_slots, nodes_line, ok,
    original_differs, simple, slot_of, wait_until, wire,
};

/// A key of the first half of the slots.
fn key() -> String {
    key_in_slots(0..8192, "k")
}

/// Two masters; `script` says what the one at an index answers to GET and SET.
fn start(
    script: impl Fn(usize, &Heard) -> Answer + Send + Sync + 'static,
) -> (Vec<FakeServer>, Proxy) {
    let script = move |index, heard: &Heard| match heard.name().as_str() {
        "GET" | "SET" | "MGET" | "ZMPOP" => script(index, heard),
        _ => Answer::Usual,
    };
    start_with(script, "")
}

/// Two masters that answer everything as `script` says, in a pool with more lines.
fn start_with(
    script: impl Fn(usize, &Heard) -> Answer + Send + Sync + 'static,
    lines: &str,
) -> (Vec<FakeServer>, Proxy) {
    let fakes = FakeServer::start_cluster(2, script);
    let proxy = Proxy::start(&FakeServer::conf(&fakes, lines));
    proxy.wait_for_servers(2);
    (fakes, proxy)
}

/// What is told to whom in a redirect; the address is not known before the fakes run.
fn redirected(kind: &str, to: u16) -> Answer {
    Answer::text(format!("-{kind} {} 127.0.0.1:{to}\r\n", slot_of(key().as_bytes())))
}

/// The port of the second of two fakes, for the script of the first.
fn shared_port() -> (Arc<std::sync::OnceLock<u16>>, Arc<std::sync::OnceLock<u16>>) {
    let port = Arc::new(std::sync::OnceLock::new());
    (Arc::clone(&port), port)
}

#[test]
fn moved_is_followed() {
    let (port, for_script) = shared_port();
    let (fakes, proxy) = start(move |index, _| match index {
        0 => redirected("MOVED", *for_script.wait()),
        _ => Answer::bulk("from the second"),
    });
    port.set(fakes[1].port()).unwrap();
    let mut client = proxy.client();
    for _ in 0..5 {
        assert_eq!(client.cmd(&["GET", &key()]), bulk("from the second"));
    }
}

/// Nobody else can tell the keys of such a request, so any master is asked at first.
#[test]
fn moved_is_followed_for_keys_that_only_a_server_sees() {
    if original_differs("does not know the command") {
        return;
    }
    let (port, for_script) = shared_port();
    let (fakes, proxy) = start(move |index, _| match index {
        0 => redirected("MOVED", *for_script.wait()),
        _ => Answer::text("-ERR no such number\r\n"),
    });
    port.set(fakes[1].port()).unwrap();
    let mut client = proxy.client();
    for _ in 0..20 {
        let reply = client.cmd(&["ZMPOP", "1.5", &key(), "MIN"]);
        assert_eq!(reply, error("ERR no such number"));
    }
    assert!(!fakes[0].heard_named("ZMPOP").is_empty());
}

#[test]
fn moved_is_remembered() {
    if original_differs("D-15: forgets it") {
        return;
    }
    let (port, for_script) = shared_port();
    let (fakes, proxy) = start(move |index, _| match index {
        0 => redirected("MOVED", *for_script.wait()),
        _ => Answer::bulk("from the second"),
    });
    port.set(fakes[1].port()).unwrap();
    // From now on the nodes say what MOVED says, so that a refresh does not undo it.
    let lines = [("0-100", &fakes[0]), ("101-16383", &fakes[1])]
        .map(|(slots, fake)| (slots, fake.bus_address()));
    let lines = lines.iter().enumerate();
    let nodes: String =
        lines.map(|(at, (slots, bus))| nodes_line(at + 1, bus, "master", "-", slots)).collect();
    fakes.iter().for_each(|fake| fake.set_nodes(&nodes));
    let mut client = proxy.client();
    for _ in 0..20 {
        assert_eq!(client.cmd(&["GET", &key()]), bulk("from the second"));
    }
    assert!(fakes[0].heard_named("GET").len() <= 1, "asked the old owner again");
}

#[test]
fn d15_moved_to_a_stranger_is_followed() {
    if original_differs("D-15: passes the error on") {
        return;
    }
    let stranger = FakeServer::start(|heard| match heard.name().as_str() {
        "GET" => Answer::bulk("from the stranger"),
        _ => Answer::Usual,
    });
    for kind in ["MOVED", "ASK"] {
        let port = stranger.port();
        let (_fakes, proxy) = start(move |_, _| redirected(kind, port));
        assert_eq!(proxy.client().cmd(&["GET", &key()]), bulk("from the stranger"), "{kind}");
    }
    assert_eq!(stranger.heard_named("ASKING").len(), 1);
}

#[test]
fn moved_without_a_host_means_the_one_who_says_it() {
    if original_differs("D-15: passes the error on") {
        return;
    }
    let (port, for_script) = shared_port();
    let (fakes, proxy) = start(move |index, _| match index {
        0 => {
            Answer::text(format!("-MOVED {} :{}\r\n", slot_of(key().as_bytes()), for_script.wait()))
        }
        _ => Answer::bulk("from the second"),
    });
    port.set(fakes[1].port()).unwrap();
    assert_eq!(proxy.client().cmd(&["GET", &key()]), bulk("from the second"));
}

#[test]
fn moved_to_a_host_name_is_followed() {
    if original_differs("D-15: passes the error on") {
        return;
    }
    let (port, for_script) = shared_port();
    let (fakes, proxy) = start(move |index, _| match index {
        0 => Answer::text(format!(
            "-MOVED {} localhost:{}\r\n",
            slot_of(key().as_bytes()),
            for_script.wait()
        )),
        _ => Answer::bulk("from the second"),
    });
    port.set(fakes[1].port()).unwrap();
    assert_eq!(proxy.client().cmd(&["GET", &key()]), bulk("from the second"));
}

#[test]
fn ask_is_followed_behind_an_asking_each_time() {
    let (port, for_script) = shared_port();
    let (fakes, proxy) = start(move |index, _| match index {
        0 => redirected("ASK", *for_script.wait()),
        _ => Answer::text("+OK\r\n"),
    });
    port.set(fakes[1].port()).unwrap();
    let mut client = proxy.client();
    let request = wire(&["SET", &key(), "v"]);
    client.send(request.repeat(5));
    (0..5).for_each(|_| assert_eq!(client.reply(), ok()));
    assert_eq!(fakes[0].heard_named("SET").len(), 5, "ASK changes nothing about the owner");
    let heard = fakes[1].heard();
    for (at, set) in heard.iter().enumerate().filter(|(_, heard)| heard.name() == "SET") {
        let before = heard[..at].iter().rev().find(|earlier| earlier.connection == set.connection);
        assert_eq!(before.map(Heard::name).as_deref(), Some("ASKING"));
    }
}

/// Of a migration that is broken off while a request is on its way to where the slot was to go.
#[test]
fn what_followed_ask_and_is_sent_back_does_not_go_behind_later_ones() {
    if original_differs("sends it behind them") {
        return;
    }
    let ports = Arc::new(std::sync::OnceLock::<[u16; 2]>::new());
    let is_broken_off = Arc::new(AtomicBool::new(false));
    let (for_script, is_over) = (Arc::clone(&ports), Arc::clone(&is_broken_off));
    let (fakes, proxy) = start(move |index, heard| match (index, &*heard.word(2)) {
        (0, "early") => redirected("ASK", for_script.wait()[1]),
        (0, _) => Answer::text("+OK\r\n"),
        (_, _) => {
            wait_until(SOON, "the migration to be broken off", || is_over.load(Ordering::SeqCst));
            redirected("MOVED", for_script.wait()[0])
        }
    });
    ports.set([fakes[0].port(), fakes[1].port()]).unwrap();
    let mut client = proxy.client();
    client.send(wire(&["SET", &key(), "early"]));
    wait_until(SOON, "ASK to be followed", || fakes[1].heard_named("SET").len() == 1);
    client.send(wire(&["SET", &key(), "late"]));
    wait_until(SOON, "the next one", || fakes[0].heard_named("SET").len() == 2);
    is_broken_off.store(true, Ordering::SeqCst);
    assert_eq!(client.reply(), error("ERR no server connection avaliable"));
    assert_eq!(client.reply(), ok());
    let values: Vec<String> = fakes[0].heard_named("SET").iter().map(|set| set.word(2)).collect();
    assert_eq!(values, ["early", "late"], "nothing was sent behind what came later");
}

#[test]
fn a_circle_of_redirects_ends() {
    let ports = Arc::new(std::sync::OnceLock::<[u16; 2]>::new());
    let for_script = Arc::clone(&ports);
    let (fakes, proxy) = start(move |index, _| redirected("MOVED", for_script.wait()[1 - index]));
    ports.set([fakes[0].port(), fakes[1].port()]).unwrap();
    let reply = proxy.client().cmd(&["GET", &key()]);
    assert!(reply.error_text().is_some_and(|text| text.starts_with("MOVED ")), "{reply:?}");
    let asked = fakes[0].heard_named("GET").len() + fakes[1].heard_named("GET").len();
    // Again and again for FailoverHold, with a pause each time.
    assert!((2..=1000).contains(&asked), "asked {asked} times");
}

#[test]
fn a_malformed_redirect_is_an_error_like_any_other() {
    for text in [
        "MOVED",
        "MOVED x y",
        "MOVED 99999 127.0.0.1:1",
        "ASK 1",
        "MOVED 1 nowhere",
        "MOVED 1 127.0.0.1:99999",
    ] {
        let (_fakes, proxy) = start(move |_, _| Answer::text(format!("-{text}\r\n")));
        assert_eq!(proxy.client().cmd(&["GET", &key()]), error(text));
    }
}

#[test]
fn moved_to_where_nobody_listens_is_an_error_in_time() {
    let nobody = crate::support::free_port();
    let (_fakes, proxy) = start(move |_, _| redirected("MOVED", nobody));
    let reply = proxy.client().cmd(&["GET", &key()]);
    assert!(reply.error_text().is_some(), "{reply:?}");
}

#[test]
fn parts_of_a_split_command_are_redirected_one_by_one() {
    let (port, for_script) = shared_port();
    let (fakes, proxy) = start(move |index, heard| match index {
        0 => redirected("MOVED", *for_script.wait()),
        _ => {
            let keys = (1..heard.words.len()).map(|at| heard.word(at));
            let values: String = keys.map(|key| format!("${}\r\n{key}\r\n", key.len())).collect();
            Answer::text(format!("*{}\r\n{values}", heard.words.len() - 1))
        }
    });
    port.set(fakes[1].port()).unwrap();
    let keys = [key_in_slots(8192..16384, "a"), key(), key_in_slots(8192..16384, "b")];
    let reply = proxy.client().cmd(&["MGET", &keys[0], &keys[1], &keys[2]]);
    assert_eq!(reply, crate::support::array(keys.iter().map(bulk)));
}

#[test]
fn d65_a_slot_without_owner_is_told_so() {
    if original_differs("D-65: asks somebody") {
        return;
    }
    let fakes = FakeServer::start_cluster(2, |_, heard| match heard.name().as_str() {
        "GET" => Answer::bulk("wrong"),
        _ => Answer::Usual,
    });
    let lines = ["0-100", "8192-16383"].iter().zip(&fakes).enumerate();
    let nodes: String = lines
        .map(|(at, (slots, fake))| nodes_line(at + 1, &fake.bus_address(), "master", "-", slots))
        .collect();
    fakes.iter().for_each(|fake| fake.set_nodes(&nodes));
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    let orphan = key_in_slots(101..8192, "orphan");
    assert_eq!(client.cmd(&["GET", &orphan]), error("CLUSTERDOWN Hash slot not served"));
    assert_eq!(client.cmd(&["GET", &key_in_slots(8192..16384, "k")]), bulk("wrong"));
}

#[test]
fn order_is_kept_while_the_owner_changes() {
    let (port, for_script) = shared_port();
    let count = AtomicUsize::new(0);
    // The old owner still takes the first few; what comes after them must not overtake them.
    let (fakes, proxy) = start(move |index, _| match index {
        0 if count.fetch_add(1, Ordering::SeqCst) >= 10 => redirected("MOVED", *for_script.wait()),
        _ => Answer::text("+OK\r\n"),
    });
    port.set(fakes[1].port()).unwrap();
    let mut client = proxy.client();
    let key = key();
    for number in 0..500 {
        client.send(wire(&["SET", &key, &number.to_string()]));
    }
    (0..500).for_each(|_| assert_eq!(client.reply(), ok()));
    let heard: Vec<String> =
        fakes[1].heard_named("SET").iter().map(|heard| heard.word(2)).collect();
    assert_eq!(heard, (10..500).map(|number| number.to_string()).collect::<Vec<String>>());
}

#[test]
fn what_comes_after_moved_does_not_overtake_what_is_still_at_the_old_owner() {
    let (port, for_script) = shared_port();
    let released = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&released);
    let (fakes, proxy) = start(move |index, heard| match index {
        0 => {
            // The first is sent on at once; the next ones hang here for as long as the test wants.
            let goes_on = || heard.word(2) == "0" || seen.load(Ordering::SeqCst);
            wait_until(SOON, "the test to go on", goes_on);
            redirected("MOVED", *for_script.wait())
        }
        _ => Answer::text("+OK\r\n"),
    });
    port.set(fakes[1].port()).unwrap();
    let (mut client, mut witness) = (proxy.client(), proxy.client());
    let key = key();
    let set = |number: u32| wire(&["SET", &key, &number.to_string()]);
    client.send((0..10).flat_map(set).collect::<Vec<u8>>());
    assert_eq!(client.reply(), ok());
    client.send((10..20).flat_map(set).collect::<Vec<u8>>());
    // There is one thread: once it has answered this, it has read the rest.
    assert_eq!(witness.line("PING"), simple("PONG"));
    released.store(true, Ordering::SeqCst);
    (1..20).for_each(|_| assert_eq!(client.reply(), ok()));
    let heard: Vec<String> =
        fakes[1].heard_named("SET").iter().map(|heard| heard.word(2)).collect();
    assert_eq!(heard, (0..20).map(|number| number.to_string()).collect::<Vec<String>>());
}

#[test]
fn without_a_hold_fences_are_waited_for_all_the_same() {
    let (port, for_script) = shared_port();
    let released = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&released);
    let script = move |index, heard: &Heard| match (index, &*heard.name()) {
        (0, "SET") => {
            let goes_on = || heard.word(2) == "0" || seen.load(Ordering::SeqCst);
            wait_until(SOON, "the test to go on", goes_on);
            redirected("MOVED", *for_script.wait())
        }
        (_, "SET") => Answer::text("+OK\r\n"),
        (_, "HELLO") => Answer::text("*2\r\n$6\r\nserver\r\n$5\r\nredis\r\n"),
        _ => Answer::Usual,
    };
    let (fakes, proxy) = start_with(script, "    FailoverHold 0");
    port.set(fakes[1].port()).unwrap();
    let (mut client, mut witness) = (proxy.client(), proxy.client());
    let key = key();
    let set = |number: u32| wire(&["SET", &key, &number.to_string()]);
    client.send((0..10).flat_map(set).collect::<Vec<u8>>());
    assert_eq!(client.reply(), ok());
    client.send((10..20).flat_map(set).collect::<Vec<u8>>());
    let mut another = proxy.client();
    let mut go_round = || {
        // There is one thread: in the meantime it has done what it has to do several times.
        for _ in 0..20 {
            assert_eq!(another.line("PING"), simple("PONG"));
        }
    };
    go_round();
    // What any server can answer comes after what waits for a slot, and is not given up for that.
    witness.send(wire(&["HELLO", "2"]));
    go_round();
    released.store(true, Ordering::SeqCst);
    (1..20).for_each(|_| assert_eq!(client.reply(), ok()));
    assert_eq!(witness.reply().elements()[..2], [bulk("server"), bulk("redis")]);
}
