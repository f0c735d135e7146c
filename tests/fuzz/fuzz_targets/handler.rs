//! The handler in a simulated world, with the bytes of clients and servers chosen by the fuzzer: it
//! never panics, never turns without end, sends clients nothing but whole replies, leaves nothing
//! behind, and serves again once the servers are well.
//!
//! An input chooses the pool and the roughness of the world with its first two bytes; what follows
//! are deeds: a byte, its upper half saying to whom, and what the deed needs.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use predixy::base::address::Address;
use predixy::conf::Conf;
use predixy::logger::Logger;
use predixy::proxy::handler::Handler;
use predixy::proxy::share;
use predixy::sys::sim::{Faults, World};
use predixy::sys::{Endpoint, ListenSocket, Progress, Socket};

#[path = "../reference.rs"]
#[allow(dead_code, reason = "each target uses its half")]
mod reference;
#[path = "../world/servers.rs"]
mod servers;

use servers::{Lie, Server};

const PROXY: &str = "10.0.0.1:7617";
/// Where it expects somebody to be in front of it, who says who clients are.
const BEHIND: &str = "10.0.0.1:7618";
const SECOND: u64 = 1_000_000;

/// What clients ask for, when the fuzzer does not say it byte by byte.
const REQUESTS: [&str; 50] = [
    "PING", "GET a", "GET b", "SET a 1", "SET b 1", "MGET a b c d", "MSET a 1 b 2 c 3", "DEL a b c", "MULTI", "EXEC",
    "DISCARD", "WATCH a", "UNWATCH", "BLPOP a 0", "BLPOP b 1", "SUBSCRIBE c", "UNSUBSCRIBE", "PSUBSCRIBE p*",
    "PUNSUBSCRIBE", "SSUBSCRIBE s", "PUBLISH c m", "HELLO 3", "HELLO 2", "RESET", "SCAN 0", "KEYS *", "DBSIZE",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 1 a", "SCRIPT LOAD x", "EVAL x 1 b", "SELECT 1", "SELECT 0",
    "CLIENT REPLY OFF", "CLIENT REPLY ON", "CLIENT REPLY SKIP", "CLIENT LIST", "CLIENT SETNAME n", "INFO", "QUIT",
    "CLUSTER SLOTS", "COMMAND COUNT", "RANDOMKEY", "FLUSHALL", "XREAD BLOCK 0 STREAMS a $", "CLIENT KILL ID 1",
    "AUTH secret", "MONITOR", "ECHO x", "PROXY TCP4 10.0.7.1 10.0.7.2 1 2", "PROXY UNKNOWN",
];

/// What servers say, when the fuzzer does not say it byte by byte.
const ANSWERS: [&str; 32] = [
    "-MOVED 15495 10.0.0.3:7000\r\n", "-MOVED 3300 10.0.0.2:7000\r\n", "-MOVED 1 10.0.0.9:1\r\n", "-MOVED 1 :7000\r\n",
    "-ASK 15495 10.0.0.3:7000\r\n", "-ASK 3300 10.0.0.2:7000\r\n", "-ASK 1 nowhere:1\r\n", "-TRYAGAIN x\r\n",
    "-CLUSTERDOWN x\r\n", "-LOADING x\r\n", "-READONLY x\r\n", "-MASTERDOWN x\r\n", "-NOSCRIPT x\r\n", "-NOAUTH x\r\n",
    "-EXECABORT x\r\n", "-ERR x\r\n", "*-1\r\n", "$-1\r\n", "$2000000\r\nab", "$70000\r\nab", "*2\r\n$1\r\n0\r\n*0\r\n",
    "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n", ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n", "%1\r\n+a\r\n_\r\n",
    "*2\r\n+OK\r\n:1\r\n", "+QUEUED\r\n", ":1\r\n:2\r\n", "?\r\n", "$5\r\nabcdefg\r\n", "|1\r\n+a\r\n+b\r\n+c\r\n", "*?\r\n",
    "-MOVED 99999 x:1\r\n",
];

/// The next byte of an input.
fn next(more: &mut std::slice::Iter<'_, u8>) -> u8 {
    more.next().copied().unwrap_or_default()
}

/// Some bytes of an input, the first of which says how many.
fn some(more: &mut std::slice::Iter<'_, u8>) -> Vec<u8> {
    let size = next(more);
    more.by_ref().take(usize::from(size)).copied().collect()
}

struct Run {
    handlers: Vec<Handler>,
    servers: Vec<Server>,
    clients: Vec<Option<Client>>,
    passes: u32,
    spins: u32,
}

struct Client {
    socket: Socket,
    outbox: Vec<u8>,
    /// What came after the last whole reply.
    inbox: Vec<u8>,
    last_reply: Option<Vec<u8>>,
    /// It has asked, and waits for the reply.
    is_waiting: bool,
    /// It does not read.
    is_deaf: bool,
}

fuzz_target!(|input: &[u8]| {
    let [kind, seed, deeds @ ..] = input else { return };
    let faults = match kind >> 2 & 3 {
        0 | 1 => Faults::none(),
        2 => Faults::bumpy(),
        _ => Faults::rough(),
    };
    World::reset(u64::from(*seed) + 1, faults);
    World::keep_trace(0);
    let mut run = Run::new(*kind);
    let mut deeds = deeds.iter();
    while let Some(deed) = deeds.next() {
        run.act(*deed, &mut deeds);
        run.pass();
    }
    run.come_to_rest();
});

impl Run {
    fn new(kind: u8) -> Run {
        let servers = ["10.0.0.2:7000", "10.0.0.3:7000", "10.0.0.4:26379"];
        let servers = servers.map(|address| Server::start(address, address.ends_with("26379")));
        let common = "RefreshInterval 200ms\nServerTimeout 500ms\nConnectTimeout 300ms\nServerRetryTimeout 100ms\n\
            FailoverHold 300ms\nMasterReadPriority 50\nDynamicSlaveReadPriority 50\n";
        let groups = "Group g0 {\n+ 10.0.0.2:7000\n}\nGroup g1 {\n+ 10.0.0.3:7000\n}\n";
        let hash = "Databases 2\nHash crc16\nDistribution modula\n";
        let pool = match kind & 3 {
            0 | 1 => {
                format!("ClusterServerPool {{\n{common}Servers {{\n+ 10.0.0.2:7000\n+ 10.0.0.3:7000\n}}\n}}\n")
            }
            2 => format!("StandaloneServerPool {{\nRefreshMethod fixed\n{common}{hash}{groups}}}\n"),
            _ => format!(
                "SentinelServerPool {{\n{common}{hash}Sentinels {{\n+ 10.0.0.4:26379\n}}\nGroup g0 {{\n}}\nGroup g1 {{\n}}\n}}\n"
            ),
        };
        let threads = 1 + (kind >> 4 & 1);
        let limits = "ClientOutputLimit 3000000\nClientQueryLimit 300000\n";
        let authority = "Authority {\nAuth {\nMode write\n}\nAuth secret {\nMode write\nKeyPrefix a\n}\n}\n";
        let binds = format!("Bind {PROXY}\nBind {BEHIND} ProxyProtocol UserFromCertificate\n");
        let text = format!("{binds}WorkerThreads {threads}\n{limits}{authority}{pool}");
        let conf = Conf::parse(Path::new("fuzz.conf"), text.as_bytes(), &[]);
        let conf = conf.unwrap_or_else(|errors| panic!("{errors:?}"));
        let listen = |address: &str| {
            let address = Address::parse(address).expect("an address");
            ListenSocket::bind(&address).expect("it is free")
        };
        let mut listeners = [PROXY, BEHIND].map(listen).into_iter().collect::<Vec<_>>();
        let (shared, recorders) = share(conf, Logger::nowhere(), 1000).expect("wakers");
        let handlers = recorders.into_iter().enumerate().map(|(index, recorder)| {
            let listeners = std::mem::take(&mut listeners);
            Handler::new(shared.clone(), index, listeners, recorder).expect("a multiplexor")
        });
        let handlers = handlers.collect();
        let clients = (0..4).map(|_| None).collect();
        Run { handlers, servers: servers.into(), clients, passes: 0, spins: 0 }
    }

    fn act(&mut self, deed: u8, more: &mut std::slice::Iter<'_, u8>) {
        let who = usize::from(deed >> 4);
        match deed & 15 {
            0 | 1 => {
                let said = some(more);
                self.client(who).outbox.extend(said);
            }
            2..=4 => {
                let line = REQUESTS[usize::from(next(more)) % REQUESTS.len()];
                let words: Vec<&str> = line.split(' ').collect();
                let outbox = &mut self.client(who).outbox;
                if words[0] == "PROXY" {
                    return outbox.extend(format!("{line}\r\n").bytes());
                }
                outbox.extend(format!("*{}\r\n", words.len()).bytes());
                words.iter().for_each(|word| {
                    outbox.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
                });
            }
            5 => {
                // Large, and more than a turn can take.
                let size = 1_usize << (10 + next(more) % 10);
                let outbox = &mut self.client(who).outbox;
                outbox.extend(format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${size}\r\n").bytes());
                outbox.extend(std::iter::repeat_n(b'x', size));
                outbox.extend(b"\r\n");
            }
            6 => drop(self.clients[who % 4].take()),
            7 => {
                if let Some(client) = &self.clients[who % 4] {
                    let _ = client.socket.shut_down_write();
                }
            }
            8 => {
                let client = self.client(who);
                client.is_deaf = !client.is_deaf;
            }
            9 => {
                let said = some(more);
                self.server(who).lie(Lie::Bytes(said));
            }
            10 => {
                let said = ANSWERS[usize::from(next(more)) % ANSWERS.len()];
                self.server(who).lie(Lie::Bytes(said.into()));
            }
            11 => {
                let lie = if next(more) & 1 == 0 { Lie::Silence } else { Lie::Close };
                self.server(who).lie(lie);
            }
            12 => {
                let which = usize::from(next(more));
                self.server(which).blurt(which >> 4, &some(more));
            }
            13 => match who & 3 {
                0 => self.server(who >> 2).toggle(),
                1 => self.server(who >> 2).is_mute ^= true,
                _ => self.server(who >> 2).cut(usize::from(next(more))),
            },
            14 => World::advance_by(u64::from(next(more)) * 5_000),
            _ => (0..=who).for_each(|_| self.pass()),
        }
    }

    fn server(&mut self, which: usize) -> &mut Server {
        let count = self.servers.len();
        &mut self.servers[which % count]
    }

    /// A client that is there, and new if it was not.
    fn client(&mut self, which: usize) -> &mut Client {
        let address = if which % 4 == 3 { BEHIND } else { PROXY };
        self.clients[which % 4].get_or_insert_with(|| Client::connect(address))
    }

    /// Everybody has a turn; the clock moves on if nobody could do anything.
    fn pass(&mut self) {
        let before = World::moves();
        for handler in &mut self.handlers {
            assert!(handler.turn().expect("a turn"), "a handler has stopped");
        }
        self.servers.iter_mut().for_each(Server::turn);
        for client in &mut self.clients {
            if client.as_mut().is_some_and(|client| !client.turn()) {
                *client = None;
            }
        }
        self.passes += 1;
        assert!(self.passes < 200_000, "it does not come to an end");
        if World::moves() != before {
            self.spins = 0;
        } else if World::is_quiet() {
            self.spins = 0;
            // Who has nothing to do and nothing to wait for sleeps for ever.
            if !World::advance() {
                World::advance_by(10_000);
            }
        } else {
            self.spins += 1;
            assert!(self.spins < 100, "a handler turns and turns though nothing happens");
        }
    }

    /// Passes for at most so long, until something is so; whether it is.
    fn until(&mut self, within_us: u64, done: impl Fn(&mut Run) -> bool) -> bool {
        let deadline_us = World::now_us() + within_us;
        World::alarm(deadline_us);
        while World::now_us() < deadline_us {
            if done(self) {
                return true;
            }
            self.pass();
        }
        done(self)
    }

    fn come_to_rest(mut self) {
        World::set_faults(Faults::none());
        self.clients.iter_mut().for_each(|client| *client = None);
        self.servers.iter_mut().for_each(Server::heal);
        let is_clean = self.until(60 * SECOND, |run| run.left_over().is_none());
        assert!(is_clean, "something is left: {:?}", self.left_over());
        // And it works.
        for key in ["a", "b"] {
            let is_served = self.until(60 * SECOND, |run| {
                let client = run.client(0);
                if !std::mem::replace(&mut client.is_waiting, true) {
                    client.outbox.extend(format!("GET {key}\r\n").bytes());
                }
                client.last_reply.take().is_some_and(|reply| {
                    client.is_waiting = false;
                    reply == b"$1\r\nv\r\n"
                })
            });
            assert!(is_served, "{key} is not served");
            self.clients[0] = None;
        }
        // Whoever subscribed and left before it was accepted has a link that is kept for a while.
        let is_clean = self.until(60 * SECOND, |run| run.left_over().is_none());
        assert!(is_clean, "something is left: {:?}", self.left_over());
        self.handlers.clear();
        for _ in 0..1000 {
            self.servers.iter_mut().for_each(Server::turn);
            if World::open_sockets() == 0 {
                return;
            }
            World::advance_by(10_000);
        }
        panic!("{} sockets are left open", World::open_sockets());
    }

    fn left_over(&self) -> Option<String> {
        self.handlers.iter().find_map(|handler| {
            let (clients, split) = (handler.clients(), handler.split());
            let (in_flight, bytes) = (handler.in_flight(), handler.buffered_bytes());
            let lent = handler.lent_links();
            (clients + split + in_flight + lent > 0 || bytes > 0).then(|| {
                format!("{clients} clients, {in_flight} in flight, {split} split, {lent} links lent, {bytes} bytes")
            })
        })
    }
}

impl Client {
    fn connect(address: &str) -> Client {
        let source = "10.0.1.1:1000".parse().expect("an address");
        let proxy = Endpoint::Ip(address.parse().expect("an address"));
        let socket = World::connect_from(source, &proxy).expect("a socket");
        Client {
            socket,
            outbox: Vec::new(),
            inbox: Vec::new(),
            last_reply: None,
            is_waiting: false,
            is_deaf: false,
        }
    }

    /// False when its connection has ended.
    fn turn(&mut self) -> bool {
        while !self.outbox.is_empty() {
            match self.socket.write(&self.outbox) {
                Ok(Progress::Moved(size)) => drop(self.outbox.drain(..size)),
                Ok(Progress::WouldBlock) => break,
                Ok(Progress::Closed) | Err(_) => {
                    // What it was told before may still be read.
                    self.outbox.clear();
                }
            }
        }
        let mut room = [0; 4096];
        while !self.is_deaf {
            match self.socket.read(&mut room) {
                Ok(Progress::Moved(size)) => self.inbox.extend_from_slice(&room[..size]),
                Ok(Progress::WouldBlock) => break,
                Ok(Progress::Closed) | Err(_) => return false,
            }
            self.take_replies();
        }
        true
    }

    /// Nothing but whole replies, as far as they have come.
    fn take_replies(&mut self) {
        loop {
            match reference::reply(&self.inbox, 0) {
                Ok(end) => self.last_reply = Some(self.inbox.drain(..end).collect()),
                Err(reference::Stopped::Incomplete) => return,
                Err(reference::Stopped::Broken) => {
                    panic!("a client got what is no reply: {}", self.inbox.escape_ascii());
                }
            }
        }
    }
}
