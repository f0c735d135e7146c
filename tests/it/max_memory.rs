//! MaxMemory: a ceiling that holds, whatever clients do, and that only those pay for who ask for
//! more than they take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::{
    Address, Client, Process, Proxy, RedisServer, SOON, bulk, error, groups_conf, key_in_group, ok,
    original_differs, shared_cluster, simple, wait_until, wire,
};

const MIB: u64 = 1 << 20;

/// What the system says of a process, in kilobytes.
fn status_kb(process: &Process, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.id())).expect("a status");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

/// A client that asks for little and reads what it gets, while others do what they do.
struct Witness {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Witness {
    fn start(address: &Address, name: usize) -> Witness {
        Witness::of(address, &format!("memory:witness:{name}"))
    }

    /// One that writes and reads this key.
    fn of(address: &Address, key: &str) -> Witness {
        let key = key.to_owned();
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, count) = (Arc::clone(&stop), Arc::clone(&served));
        let mut client = Client::connect(address);
        let thread = thread::spawn(move || {
            while !until.load(Ordering::SeqCst) {
                let number = count.load(Ordering::SeqCst).to_string();
                assert_eq!(client.cmd(&["SET", &key, &number]), ok());
                assert_eq!(client.cmd(&["GET", &key]), bulk(&number));
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Witness { stop, served, thread }
    }

    /// Waits until it has been served a few times more.
    fn wait(&self) {
        let before = self.served.load(Ordering::SeqCst);
        wait_until(SOON, "the witness to be served", || {
            self.served.load(Ordering::SeqCst) > before + 20 || self.thread.is_finished()
        });
        assert!(!self.thread.is_finished(), "the witness was not served");
    }

    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("a witness that was served all the while");
    }
}

/// Two groups, so that requests are divided, behind a proxy with so much memory.
struct Hostile {
    proxy: Proxy,
    servers: Vec<RedisServer>,
    /// What it takes when nothing has happened yet.
    idle_kb: u64,
    max_kb: u64,
}

impl Hostile {
    #[track_caller]
    fn start(max: u64, threads: usize) -> Hostile {
        let servers: Vec<RedisServer> = (0..2).map(|_| RedisServer::start()).collect();
        let addresses: Vec<String> = servers.iter().map(RedisServer::address).collect();
        let mut proxy = Proxy::start(&format!(
            "MaxMemory {max}\nWorkerThreads {threads}\n{}",
            groups_conf(&addresses)
        ));
        let mut client = proxy.client();
        for number in 0..40 {
            let key = format!("memory:{number}");
            assert_eq!(client.cmd(&["SET", &key, &"v".repeat(50_000)]), ok());
        }
        assert_eq!(client.cmd(&["SET", "memory:half", &"v".repeat(500_000)]), ok());
        // What is as large as this no proxy of this size could pass on otherwise than in pieces.
        for part in ["SETRANGE memory:huge 99999999 x", "SETRANGE memory:other 99999999 x"] {
            assert_eq!(client.line(part).number(), 100_000_000);
        }
        let idle_kb = status_kb(proxy.process(), "VmHWM");
        Hostile { proxy, servers, idle_kb, max_kb: max / 1024 }
    }

    fn clients(&self, count: usize) -> Vec<Client> {
        let mut clients: Vec<Client> = (0..count).map(|_| self.proxy.client()).collect();
        for client in &mut clients {
            client.set_deadline(Duration::from_millis(50));
        }
        clients
    }

    /// Its peak since the start is bounded by what it had at rest and what it may have.
    #[track_caller]
    fn check_peak(&mut self, what: &str) {
        let peak_kb = status_kb(self.proxy.process(), "VmHWM");
        let (idle_kb, max_kb) = (self.idle_kb, self.max_kb);
        eprintln!("{what}: peak {peak_kb} KB, idle {idle_kb} KB, MaxMemory {max_kb} KB");
        assert!(peak_kb <= idle_kb + max_kb, "{what}: {peak_kb} KB, {idle_kb} KB when idle");
    }
}

/// Sends as much as is taken, and reads nothing.
fn push(clients: &mut [Client], bytes: &[u8], times: usize) {
    for client in clients {
        for _ in 0..times {
            if client.try_send(bytes).is_err() {
                break;
            }
        }
    }
}

/// Does the worst that can be done, one thing after the other.
#[track_caller]
fn besiege(hostile: &mut Hostile, witnesses: &[Witness]) {
    type Siege = fn(&Hostile) -> Vec<Client>;
    let sieges: [(&str, Siege); 8] = [
        ("replies of half a megabyte that nobody reads", |hostile| {
            let mut clients = hostile.clients(12);
            push(&mut clients, &wire(&["GET", "memory:half"]).repeat(40), 1);
            clients
        }),
        ("divided requests whose replies nobody reads", |hostile| {
            let mut words = vec!["MGET".to_owned()];
            words.extend((0..40).map(|number| format!("memory:{number}")));
            let mut clients = hostile.clients(8);
            push(&mut clients, &wire(&words).repeat(10), 1);
            clients
        }),
        ("huge requests by halves", |hostile| {
            let mut clients = hostile.clients(100);
            let begin = b"*3\r\n$3\r\nSET\r\n$6\r\nmemory\r\n$100000000\r\n";
            let large = [&begin[..], &vec![b'x'; 2 << 20]].concat();
            push(&mut clients[..50], &large, 1);
            push(&mut clients[50..], &large[..15 << 10], 1);
            clients
        }),
        ("requests of very many words", |hostile| {
            let mut clients = hostile.clients(10);
            let words =
                [&b"*300000\r\n$4\r\nMGET\r\n"[..], &b"$1\r\nk\r\n".repeat(299_990)].concat();
            push(&mut clients, &words, 1);
            clients
        }),
        ("messages that subscribers do not read", |hostile| {
            let mut clients = hostile.clients(50);
            push(&mut clients, &wire(&["SUBSCRIBE", "memory:news"]), 1);
            let mut teller = hostile.proxy.client();
            for number in 0..1500u64 {
                let text = "n".repeat(if number.is_multiple_of(2) { 1000 } else { 9000 });
                teller.cmd(&["PUBLISH", "memory:news", &text]);
            }
            clients
        }),
        ("giant transactions", |hostile| {
            let mut clients = hostile.clients(20);
            push(&mut clients, &wire(&["MULTI"]), 1);
            let set = wire(&["SET", "memory:t", &"t".repeat(4_000)]);
            push(&mut clients, &set.repeat(50), 10);
            push(&mut clients, &wire(&["GET", "memory:half"]).repeat(10), 1);
            push(&mut clients, &wire(&["EXEC"]), 1);
            clients
        }),
        ("large scripts", |hostile| {
            let mut clients = hostile.clients(10);
            for (number, client) in clients.iter_mut().enumerate() {
                let script = format!("return '{number}{}'", "s".repeat(1_500_000));
                push(std::slice::from_mut(client), &wire(&["SCRIPT", "LOAD", &script]), 3);
            }
            clients
        }),
        ("values of a hundred megabytes that are read slowly", |hostile| {
            let mut clients = hostile.clients(4);
            push(&mut clients[..2], &wire(&["GET", "memory:huge"]), 1);
            push(&mut clients[2..], &wire(&["MGET", "memory:huge", "memory:other"]), 1);
            let until = Instant::now() + Duration::from_millis(500);
            while Instant::now() < until {
                for client in &mut clients {
                    client.has_something();
                }
            }
            clients
        }),
    ];
    let mut there = Vec::new();
    for (what, siege) in sieges {
        there.push(siege(hostile));
        witnesses.iter().for_each(Witness::wait);
        hostile.check_peak(what);
    }
    // Whoever comes now is served as well.
    assert_eq!(hostile.proxy.client().line("PING"), simple("PONG"));
    hostile.check_peak("all together");
}

/// When all of them are gone the memory is there again.
#[track_caller]
fn check_aftermath(hostile: &mut Hostile) {
    wait_until(SOON, "its memory to be there again", || {
        hostile.proxy.figure("UsedMemory") < 4 * MIB
    });
    let few_kb = hostile.idle_kb + 6 * 1024;
    wait_until(SOON, "the system to have it again", || {
        status_kb(hostile.proxy.process(), "VmRSS") < few_kb
    });
}

#[test]
fn d58_memory_has_a_ceiling_and_nobody_pays_who_takes_what_he_asks_for() {
    if original_differs("D-58: whoever comes next pays") {
        return;
    }
    let mut hostile = Hostile::start(32 * MIB, 2);
    let address = hostile.proxy.address().clone();
    let witnesses: Vec<Witness> = (0..4).map(|name| Witness::start(&address, name)).collect();
    besiege(&mut hostile, &witnesses);
    witnesses.into_iter().for_each(Witness::end);
    check_aftermath(&mut hostile);
    let log = hostile.proxy.log();
    assert!(log.contains("bytes, the most of all, and MaxMemory is spent"), "{log}");
    hostile.check_peak("in the end");
}

#[test]
fn the_ceiling_holds_while_threads_wait_for_each_other() {
    if original_differs("D-58: whoever comes next pays") {
        return;
    }
    // With more threads than cores the one whose client holds most is often not the one that runs.
    let mut hostile = Hostile::start(32 * MIB, 8);
    for round in 0..5 {
        let mut clients = hostile.clients(64);
        push(&mut clients, &wire(&["GET", "memory:half"]).repeat(40), 1);
        wait_until(SOON, "most to be cut off", || {
            let log = hostile.proxy.log();
            log.matches("the most of all, and MaxMemory is spent").count() >= (round + 1) * 50
        });
        hostile.check_peak(&format!("round {round}"));
    }
}

#[test]
fn eight_megabytes_are_enough_to_be_served() {
    if original_differs("D-58: whoever comes next pays") {
        return;
    }
    let mut hostile = Hostile::start(8 * MIB, 1);
    let address = hostile.proxy.address().clone();
    let witnesses: Vec<Witness> = (0..2).map(|name| Witness::start(&address, name)).collect();
    besiege(&mut hostile, &witnesses);
    witnesses.into_iter().for_each(Witness::end);
    check_aftermath(&mut hostile);
}

#[test]
fn the_limit_changes_while_it_runs() {
    if original_differs("it gives nothing back") {
        return;
    }
    let mut hostile = Hostile::start(0, 2);
    let mut admin = hostile.proxy.client();
    // Many hold much, as they may.
    let mut deaf = hostile.clients(10);
    push(&mut deaf, &wire(&["GET", "memory:half"]).repeat(20), 1);
    wait_until(SOON, "replies to wait", || hostile.proxy.figure("UsedMemory") > 20 * MIB);
    assert_eq!(admin.line("CONFIG GET MaxMemory").elements()[1], bulk("0"));
    assert_eq!(admin.line("CONFIG SET MaxMemory 8M"), ok());
    assert_eq!(admin.line("CONFIG GET MaxMemory").elements()[1], bulk("8388608"));
    assert_eq!(hostile.proxy.figure("MaxMemory"), 8 << 20);
    wait_until(SOON, "those who hold most to be gone", || {
        hostile.proxy.figure("UsedMemory") < 7 * MIB
    });
    // A value that no proxy could live with is no reason to die, nor to serve nobody.
    assert_eq!(admin.line("CONFIG SET MaxMemory 1"), ok());
    for _ in 0..100 {
        assert_eq!(admin.line("SET memory:least 1"), ok());
        assert_eq!(hostile.proxy.client().line("GET memory:least"), bulk("1"));
    }
    // What is larger than that it can say.
    assert_eq!(admin.line("CONFIG SET MaxMemory 8M"), ok());
    let words: Vec<String> = (0..60_000).map(|number| format!("memory:{number}")).collect();
    let many = [vec!["MGET".to_owned()], words].concat();
    let reply = admin.cmd(&many);
    let refused = error("ERR the request takes more memory than MaxMemory leaves");
    assert!(reply == refused || reply.elements().len() == 60_000, "{:?}", reply.error_text());
    assert_eq!(admin.line("CONFIG RELOAD"), ok());
    assert_eq!(admin.line("CONFIG GET MaxMemory").elements()[1], bulk("0"));
    hostile.max_kb = u64::MAX / 4096;
}

#[test]
fn a_server_that_does_not_answer_takes_no_memory_from_others() {
    if original_differs("D-58: whoever comes next pays") {
        return;
    }
    let mut hostile = Hostile::start(8 * MIB, 1);
    let address = hostile.proxy.address().clone();
    let witness = Witness::of(&address, &key_in_group(1, 2, "memory:witness:"));
    witness.wait();
    hostile.servers[0].pause();
    let key = key_in_group(0, 2, "memory:stalled:");
    let mut clients = hostile.clients(100);
    push(&mut clients, &wire(&["SET", &key, &"s".repeat(1000)]).repeat(500), 1);
    push(&mut clients, &wire(&["GET", &key]).repeat(20_000), 1);
    witness.wait();
    hostile.check_peak("requests that nobody answers");
    hostile.servers[0].resume();
    drop(clients);
    witness.wait();
    witness.end();
    check_aftermath(&mut hostile);
}

#[test]
fn a_request_that_could_never_fit_costs_its_client_the_connection() {
    if original_differs("D-58: whoever comes next pays") {
        return;
    }
    let proxy = Proxy::start(&format!("MaxMemory 8M\n{}", shared_cluster().conf()));
    let mut client = proxy.client();
    // With one key it would be passed on while it comes.
    client.send(b"*5\r\n$4\r\nMSET\r\n$5\r\nother\r\n$1\r\n1\r\n$6\r\nmemory\r\n$100000000\r\n");
    let piece = vec![b'x'; 1 << 20];
    client.set_deadline(Duration::from_secs(2));
    let sent = (0..100).take_while(|_| client.try_send(&piece).is_ok()).count();
    assert!(sent < 50, "{sent} MB were taken");
    wait_until(SOON, "the log to tell", || {
        proxy.log().contains("bytes, more than half of MaxMemory")
    });
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
}
