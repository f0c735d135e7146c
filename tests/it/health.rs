//! Servers that are not well: that do not answer, that refuse for a while, that are not there yet.
//! What cannot be had from a real one is had from the scripted one.

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::support::{
    Answer, Client, FakeServer, Heard, Process, Proxy, SOON, Value, bulk, error, free_port,
    key_in_slots, nodes_line, ok, original_differs, slot_of, wait_until, wire,
};

/// Nothing of the request was sent.
const NEVER_SENT: &str = "ERR no server connection avaliable";
/// The server may have executed it.
const MAYBE_DONE: &str = "ERR server connection close";

/// What a server says that will do better soon.
const PASSING: [&str; 5] = [
    "LOADING Redis is loading the dataset in memory",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "READONLY You can't write against a read only replica.",
];

/// A key of the first half of the slots, and one of the second.
fn keys() -> [String; 2] {
    [key_in_slots(0..8192, "k"), key_in_slots(8192..16384, "k")]
}

/// What a server that is well says.
fn fine(heard: &Heard) -> Answer {
    match heard.name().as_str() {
        "GET" => Answer::bulk("fine"),
        "SET" => Answer::text("+OK\r\n"),
        _ => Answer::Usual,
    }
}

/// The order in which the values of `SET key value` came to a server.
fn values_set(fake: &FakeServer) -> Vec<String> {
    fake.heard_named("SET").iter().map(|heard| heard.word(2)).collect()
}

/// A server that is well, which says that another at `port` owns the first half of the slots.
fn with_absent(port: u16) -> FakeServer {
    let other = FakeServer::start(fine);
    let nodes =
        nodes_line(1, &format!("127.0.0.1:{port}@{}", port + 10_000), "master", "-", "0-8191")
            + &nodes_line(2, &other.bus_address(), "master", "-", "8192-16383");
    other.set_nodes(&nodes);
    other
}

#[test]
fn a_server_that_never_ends_the_handshake_is_given_up() {
    if original_differs("D-68: waits for ever") {
        return;
    }
    for hold in ["0", "300ms"] {
        let fakes = FakeServer::start_cluster(2, |index, heard| match index {
            0 => Answer::Silence,
            _ => fine(heard),
        });
        let lines = format!("    ConnectTimeout 200ms\n    FailoverHold {hold}");
        let proxy = Proxy::start(&FakeServer::conf(&fakes[1..], &lines));
        proxy.wait_for_servers(2);
        let [first, second] = keys();
        let (mut client, mut other) = (proxy.client(), proxy.client());
        for _ in 0..3 {
            client.send(wire(&["SET", &first, "v"]));
            assert_eq!(other.cmd(&["SET", &second, "v"]), ok());
            assert_eq!(client.reply(), error(NEVER_SENT));
        }
        assert_eq!(values_set(&fakes[0]), [""; 0], "nothing goes before the handshake");
    }
}

#[test]
fn a_master_that_has_become_a_replica_is_not_read_from() {
    if original_differs("sends READONLY on every connection") {
        return;
    }
    for (policy, reply) in [("", "fine"), ("    DynamicSlaveReadPriority 50", "old")] {
        let fakes: Arc<OnceLock<Vec<FakeServer>>> = Arc::default();
        let all = Arc::clone(&fakes);
        let readers = Mutex::new(HashSet::new());
        let started = FakeServer::start_cluster(2, move |index, heard| {
            match (index, heard.name().as_str()) {
                (0, "READONLY") => drop(readers.lock().unwrap().insert(heard.connection)),
                // As a replica does; the proxy has not heard of the failover yet.
                (0, "GET") if readers.lock().unwrap().contains(&heard.connection) => {
                    return Answer::bulk("old");
                }
                (0, "GET") => {
                    let to = all.get().unwrap()[1].address();
                    let slot = slot_of(&heard.words[1]);
                    return Answer::text(format!("-MOVED {slot} {to}\r\n"));
                }
                _ => {}
            }
            fine(heard)
        });
        let proxy = Proxy::start(&FakeServer::conf(&started, policy));
        proxy.wait_for_servers(2);
        assert!(fakes.set(started).is_ok());
        assert_eq!(proxy.client().cmd(&["GET", &keys()[0]]), bulk(reply), "{policy}");
    }
}

#[test]
fn a_request_that_is_late_costs_nobody_else_a_reply() {
    if original_differs("gives up the whole connection") {
        return;
    }
    let released = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&released);
    let fakes = FakeServer::start_cluster(2, move |_, heard| {
        if heard.word(1).ends_with("slow") {
            // Later ones on this connection stand behind it.
            wait_until(SOON, "the client to be told", || gate.load(Ordering::SeqCst));
        }
        fine(heard)
    });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, "    ServerTimeout 600ms"));
    proxy.wait_for_servers(2);
    let [first, second] = keys();
    let slow = format!("{{{first}}}slow");
    let (mut late, mut behind, mut other) = (proxy.client(), proxy.client(), proxy.client());
    let began = Instant::now();
    late.send(wire(&["SET", &slow, "v"]));
    wait_until(SOON, "the server to be at it", || !fakes[0].heard_named("SET").is_empty());
    while began.elapsed() < Duration::from_millis(400) {
        assert_eq!(other.cmd(&["SET", &second, "v"]), ok());
    }
    behind.send(wire(&["GET", &first]));
    assert_eq!(late.reply(), error(MAYBE_DONE));
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    released.store(true, Ordering::SeqCst);
    assert_eq!(behind.reply(), bulk("fine"));
    assert_eq!(late.cmd(&["GET", &first]), bulk("fine"), "not what came too late");
    let connections: Vec<usize> = ["SET", "GET"]
        .iter()
        .flat_map(|name| fakes[0].heard_named(name))
        .map(|heard| heard.connection)
        .collect();
    assert!(connections.iter().all(|connection| *connection == connections[0]), "{connections:?}");
}

/// A server that refuses the first `times` requests with `text`.
fn refusing(times: usize, text: &'static str) -> FakeServer {
    let count = AtomicUsize::new(0);
    FakeServer::start(move |heard| match heard.name().as_str() {
        "GET" | "SET" if count.fetch_add(1, Ordering::SeqCst) < times => {
            Answer::text(format!("-{text}\r\n"))
        }
        _ => fine(heard),
    })
}

fn before(fakes: FakeServer, lines: &str) -> (FakeServer, Proxy) {
    let fakes = [fakes];
    let proxy = Proxy::start(&FakeServer::conf(&fakes, lines));
    proxy.wait_for_servers(1);
    let [fake] = fakes;
    (fake, proxy)
}

#[test]
fn a_refusal_that_passes_is_not_seen() {
    if original_differs("passes it on") {
        return;
    }
    for text in PASSING {
        for (words, reply) in [(vec!["GET", "k"], bulk("fine")), (vec!["SET", "k", "v"], ok())] {
            let (fake, proxy) = before(refusing(3, text), "    FailoverHold 5s");
            assert_eq!(proxy.client().cmd(&words), reply, "{text}");
            assert_eq!(fake.heard_named(words[0]).len(), 4, "{text}");
        }
    }
}

#[test]
fn a_refusal_that_stays_is_the_reply() {
    for text in PASSING {
        let (fake, proxy) = before(refusing(usize::MAX, text), "    FailoverHold 200ms");
        let mut client = proxy.client();
        for words in [vec!["GET", "k"], vec!["SET", "k", "v"]] {
            assert_eq!(client.cmd(&words), error(text));
            assert!(fake.heard_named(words[0]).len() > 1, "{text}: it was tried again");
        }
    }
}

#[test]
fn a_pipeline_behind_a_refusal_keeps_its_order() {
    if original_differs("passes it on") {
        return;
    }
    let (fake, proxy) = before(refusing(4, PASSING[0]), "    FailoverHold 10s");
    let mut client = proxy.client();
    client.send(wire(&["SET", "k", "0"]));
    wait_until(SOON, "it to be refused", || fake.heard_named("SET").len() > 1);
    let values: Vec<String> = (1..50).map(|number| number.to_string()).collect();
    client.send(values.iter().flat_map(|value| wire(&["SET", "k", value])).collect::<Vec<u8>>());
    // Who has others of its client behind it is not sent again, because it would come after them.
    let replies: Vec<Value> = (0..50).map(|_| client.reply()).collect();
    assert!(replies.iter().all(|reply| *reply == ok() || *reply == error(PASSING[0])));
    assert_eq!(replies[49], ok());
    let set = values_set(&fake);
    let taken = (0..50).filter(|at| replies[*at] == ok());
    let order: Vec<_> = taken
        .map(|number| set.iter().rposition(|value| *value == number.to_string()).unwrap())
        .collect();
    assert!(order.is_sorted(), "{set:?}");
}

#[test]
fn without_a_hold_a_refusal_is_the_reply_at_once() {
    for text in PASSING {
        let (fake, proxy) = before(refusing(1, text), "    FailoverHold 0");
        let mut client = proxy.client();
        assert_eq!(client.line("SET k v"), error(text));
        assert_eq!(client.line("SET k v"), ok());
        assert_eq!(fake.heard_named("SET").len(), 2);
    }
}

#[test]
fn what_is_refused_for_a_while_keeps_its_place() {
    if original_differs("passes it on") {
        return;
    }
    let (fake, proxy) = before(refusing(5, PASSING[0]), "    FailoverHold 5s");
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.send(wire(&["SET", "k", "1"]));
    wait_until(SOON, "it to be refused", || fake.heard_named("SET").len() > 1);
    second.send(wire(&["SET", "k", "2"]));
    assert_eq!((first.reply(), second.reply()), (ok(), ok()));
    let values = values_set(&fake);
    assert_eq!(values.last().map(String::as_str), Some("2"), "{values:?}");
    assert_eq!(values.iter().filter(|value| *value == "2").count(), 1, "{values:?}");
}

#[test]
fn time_in_the_waiting_room_is_not_the_servers() {
    if original_differs("no FailoverHold") {
        return;
    }
    let began = Instant::now();
    let fake = FakeServer::start(move |heard| match heard.name().as_str() {
        "GET" if began.elapsed() < Duration::from_secs(2) => {
            Answer::text(format!("-{}\r\n", PASSING[0]))
        }
        "GET" => {
            // Slow, but in time; the next one comes into line behind it.
            std::thread::sleep(Duration::from_millis(150));
            Answer::bulk("fine")
        }
        _ => fine(heard),
    });
    let (_fake, proxy) = before(fake, "    FailoverHold 20s\n    ServerTimeout 700ms");
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.send(wire(&["GET", "k"]));
    second.send(wire(&["GET", "k"]));
    assert_eq!((first.reply(), second.reply()), (bulk("fine"), bulk("fine")));
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    if original_differs("no FailoverHold") {
        return;
    }
    let port = free_port();
    let other = [with_absent(port)];
    let proxy = Proxy::start(&FakeServer::conf(&other, "    FailoverHold 10s"));
    proxy.wait_for_servers(2);
    let [first, second] = keys();
    let mut clients: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
    let began = Instant::now();
    let mut sent = Vec::new();
    for (number, client) in clients.iter_mut().enumerate() {
        for part in 0..3 {
            let value = format!("{number}{part}");
            client.send(wire(&["SET", &first, &value]));
            sent.push(value);
        }
        // Handled once this is answered, behind what is held.
        assert_eq!(proxy.client().line("PING"), Value::Simple("PONG".to_owned()));
    }
    let mut witness = proxy.client();
    while began.elapsed() < Duration::from_millis(200) {
        assert_eq!(witness.cmd(&["SET", &second, "v"]), ok());
    }
    let late = FakeServer::start_at(port, fine);
    for client in &mut clients {
        assert_eq!([client.reply(), client.reply(), client.reply()], [ok(), ok(), ok()]);
    }
    let mut last = proxy.client();
    assert_eq!(last.cmd(&["SET", &first, "last"]), ok());
    sent.push("last".to_owned());
    let values = values_set(&late);
    for number in 0..3 {
        let of = |values: &[String]| -> Vec<String> {
            values.iter().filter(|value| value.starts_with(&number.to_string())).cloned().collect()
        };
        assert_eq!(of(&values), of(&sent));
    }
    assert_eq!(values.len(), sent.len());
    assert_eq!(values.last(), sent.last());
}

#[test]
fn without_a_hold_a_server_that_is_not_there_is_an_error_at_once() {
    let port = free_port();
    let other = [with_absent(port)];
    let proxy = Proxy::start(&FakeServer::conf(&other, "    FailoverHold 0"));
    proxy.wait_for_servers(2);
    let [first, second] = keys();
    let mut client = proxy.client();
    for _ in 0..30 {
        assert_eq!(client.cmd(&["SET", &first, "v"]), error(NEVER_SENT));
        assert_eq!(client.cmd(&["SET", &second, "v"]), ok());
    }
}

#[test]
fn the_waiting_room_is_bounded() {
    if original_differs("no FailoverHold") {
        return;
    }
    const EACH: usize = 60_000;
    const ALL: usize = 400;
    let port = free_port();
    let other = [with_absent(port)];
    let proxy = Proxy::start(&FakeServer::conf(&other, "    FailoverHold 15s"));
    proxy.wait_for_servers(2);
    let [first, second] = keys();
    let request = wire(&["SET", &first, &"v".repeat(EACH)]);
    // One each, so that the refused ones need not stand behind those that are held.
    let mut clients: Vec<Client> = (0..ALL).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send(&request));
    let most = (16 << 20) / EACH;
    let mut refused = vec![false; ALL];
    wait_until(SOON, "the others to be refused", || {
        for (client, refused) in clients.iter_mut().zip(&mut refused) {
            if !*refused && client.has_something() {
                assert_eq!(client.reply(), error(NEVER_SENT));
                *refused = true;
            }
        }
        refused.iter().filter(|refused| **refused).count() >= ALL - most
    });
    let held = refused.iter().filter(|refused| !**refused).count();
    assert!((most - 20..=most).contains(&held), "{held} of {most}");
    assert_eq!(proxy.client().cmd(&["GET", &second]), bulk("fine"));
    let late = FakeServer::start_at(port, fine);
    for (client, refused) in clients.iter_mut().zip(refused) {
        if !refused {
            assert_eq!(client.reply(), ok());
        }
    }
    assert_eq!(values_set(&late).len(), held);
}

/// A real server behind a link of its own, in a network of its own, where the proxy's packets can
/// be made to vanish. Everything is gone when it is dropped.
struct Walled {
    name: String,
    device: String,
    address: String,
    server: Option<Process>,
}

impl Walled {
    /// Builds it, or tells why that cannot be done here.
    fn build() -> Result<Walled, String> {
        let number = std::process::id() % 60_000;
        let net = format!("10.{}.{}", 64 + number / 256 % 64, number % 256);
        let mut walled = Walled {
            name: format!("predixy-it-{number}"),
            device: format!("pxit{number}"),
            address: format!("{net}.2"),
            server: None,
        };
        let (name, device) = (walled.name.clone(), walled.device.clone());
        run(&format!("ip netns add {name}"))?;
        run(&format!("ip link add {device} type veth peer name inside netns {name}"))?;
        run(&format!("ip addr add {net}.1/24 dev {device}"))?;
        run(&format!("ip link set {device} up"))?;
        run(&format!("ip netns exec {name} ip addr add {net}.2/24 dev inside"))?;
        run(&format!("ip netns exec {name} ip link set inside up"))?;
        let mut command = Command::new("ip");
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        command.args(["netns", "exec", &name, &program, "--bind", &walled.address]);
        command.args(["--port", "6379", "--save", "", "--protected-mode", "no"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        walled.server = Some(Process::start(&mut command));
        let address = format!("{}:6379", walled.address);
        wait_until(SOON, "the server behind the wall", || {
            std::net::TcpStream::connect(&address).is_ok()
        });
        Ok(walled)
    }

    /// From now on packets leave for nowhere, and nobody says so.
    fn close(&self) -> Result<(), String> {
        let (address, device) = (&self.address, &self.device);
        run(&format!(
            "ip neigh replace {address} lladdr 02:00:00:00:00:01 nud permanent dev {device}"
        ))
    }

    fn open(&self) -> Result<(), String> {
        run(&format!("ip neigh del {} dev {}", self.address, self.device))
    }
}

impl Drop for Walled {
    fn drop(&mut self) {
        self.server = None;
        // The other end goes with it.
        let _ = run(&format!("ip link del {}", self.device));
        let _ = run(&format!("ip netns del {}", self.name));
    }
}

fn run(line: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap_or_default()).args(words).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{line}: {error}")),
    }
}

/// How many connections to this address are closed, and still have something to deliver.
fn undelivered(address: &str) -> usize {
    const FIN_WAIT_1: &str = "04";
    let address: std::net::Ipv4Addr = address.parse().expect("an address");
    let shown = format!("{:08X}:", u32::from_le_bytes(address.octets()));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the connections of this host");
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<&str>>());
    lines.filter(|fields| fields[2].starts_with(&shown) && fields[3] == FIN_WAIT_1).count()
}

#[test]
fn a_wall_that_swallows_everything_costs_what_is_behind_it() {
    if original_differs("D-68: waits for ever for a connect") {
        return;
    }
    let walled = match Walled::build() {
        Ok(walled) => walled,
        Err(why) => return eprintln!("skipped: no network of our own: {why}"),
    };
    let other = FakeServer::start(fine);
    let nodes = nodes_line(1, &format!("{}:6379@16379", walled.address), "master", "-", "0-8191")
        + &nodes_line(2, &other.bus_address(), "master", "-", "8192-16383");
    other.set_nodes(&nodes);
    let other = [other];
    let lines = "    ServerTimeout 300ms\n    ConnectTimeout 300ms\n    FailoverHold 200ms";
    let proxy = Proxy::start(&FakeServer::conf(&other, lines));
    proxy.wait_for_servers(2);
    let [first, second] = keys();
    let (mut client, mut witness) = (proxy.client(), proxy.client());
    wait_until(SOON, "the server to be used", || client.cmd(&["SET", &first, "1"]) == ok());
    walled.close().unwrap();
    client.send(wire(&["SET", &first, "2"]));
    let mut slowest = Duration::ZERO;
    while !client.has_something() {
        let began = Instant::now();
        assert_eq!(witness.cmd(&["SET", &second, "v"]), ok());
        slowest = slowest.max(began.elapsed());
    }
    assert_eq!(client.reply(), error(MAYBE_DONE));
    // After a while the connection is given up, and then nothing is sent any more.
    wait_until(SOON, "requests to be refused unsent", || {
        let reply = client.cmd(&["SET", &first, "3"]);
        assert!([NEVER_SENT, MAYBE_DONE].contains(&reply.error_text().unwrap()), "{reply:?}");
        assert_eq!(witness.cmd(&["SET", &second, "v"]), ok());
        reply == error(NEVER_SENT)
    });
    // What may not have arrived is not on its way any more: it would come after what is sent next.
    assert_eq!(undelivered(&walled.address), 0);
    walled.open().unwrap();
    let began = Instant::now();
    wait_until(SOON, "the server to be used again", || client.cmd(&["SET", &first, "4"]) == ok());
    eprintln!("a wall: others served within {slowest:?}; used again after {:?}", began.elapsed());
    assert_eq!(client.cmd(&["GET", &first]), bulk("4"));
}
