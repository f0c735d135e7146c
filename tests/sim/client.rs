//! A simulated client: asks, pipelines, misbehaves, and checks every reply. Knows the ledger of
//! its keys, and of the cluster only the history that the ledger is checked against.

use std::collections::VecDeque;
use std::net::SocketAddr;

use predixy::base::random::Random;
use predixy::sys::sim::World;
use predixy::sys::{Endpoint, Progress, Socket};

use super::cluster::{Cluster, marker, slot_of, tagged_value};
use super::ledger::{Fate, Kind, Ledger};
use super::plan::Plan;
use super::wire::{self, Value, shown};

/// One client, over all its connections.
pub struct Client {
    index: usize,
    pub ledger: Ledger,
    random: Random,
    /// How many requests it still wants to make.
    pub left: u32,
    next_number: u32,
    connections: u16,
    connection: Option<Connection>,
    /// It does nothing new until then.
    next_us: u64,
    /// It reads all its keys, and tolerates nothing.
    is_auditing: bool,
    pub tally: Tally,
}

/// What a client got.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub replies: u64,
    pub errors: u64,
    pub losses: u64,
}

struct Connection {
    socket: Socket,
    outbox: Vec<u8>,
    /// Bytes given to the socket, and bytes ever put into the outbox.
    written: u64,
    queued: u64,
    inbox: Vec<u8>,
    expected: VecDeque<Request>,
    manner: Manner,
    deaf_until_us: u64,
    slow_until_us: u64,
    /// When something was written last.
    spoke_us: u64,
    /// It was silent for longer than a client may be.
    was_silent: bool,
    name: Vec<u8>,
}

/// What a client intends with its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Talks,
    /// It has said QUIT, and waits for the end.
    HasQuit,
    /// It has said nonsense, and waits for the end; it may come before all that it said arrived,
    /// and then as a reset that overtakes the last replies.
    HasErred,
    /// It has shut down its half.
    HasShutDown,
}

struct Request {
    number: u32,
    /// Where it ends in all that was queued on this connection.
    end: u64,
    keys: Vec<usize>,
    expect: Expect,
    /// When it was made.
    since_us: u64,
    /// Its keys are in several slots.
    is_split: bool,
}

/// What the reply has to be.
enum Expect {
    Exactly(Value),
    ErrorLike(&'static str),
    AnyBulk,
    AnyInteger,
    Set,
    Append,
    Count,
    Delete,
    Read,
    Length,
    Presence,
    ReadMany,
}

/// While a slot changes hands the proxy does not wait longer than this for what is under way to
/// its old owner, and lets later requests pass.
const ORDER_US: u64 = 500_000;

impl Client {
    pub fn new(index: usize, plan: &Plan) -> Client {
        Client {
            index,
            ledger: Ledger::new(index, plan.tags, !plan.allows.lossy),
            random: World::random(),
            left: plan.requests,
            next_number: 1,
            connections: 0,
            connection: None,
            next_us: 0,
            is_auditing: false,
            tally: Tally::default(),
        }
    }

    /// Whether it waits for nothing and wants nothing.
    pub fn is_content(&self) -> bool {
        let is_content =
            |open: &Connection| open.expected.is_empty() && open.manner == Manner::Talks;
        self.left == 0 && self.connection.as_ref().is_none_or(is_content)
    }

    /// What it waits for, for whoever wonders why.
    pub fn complaint(&self) -> String {
        let Some(open) = &self.connection else {
            return format!("client {} is not connected", self.index);
        };
        let first = open.expected.front().map(|request| request.number);
        format!(
            "client {} waits for {} replies or the end, first {first:?}, wrote {} of {}, has {} bytes, \
             wants {} more",
            self.index,
            open.expected.len(),
            open.written,
            open.queued,
            open.inbox.len(),
            self.left
        )
    }

    /// Makes no more requests than it has begun, and reads from now on.
    pub fn calm_down(&mut self) {
        self.left = 0;
        if let Some(open) = &mut self.connection {
            (open.deaf_until_us, open.slow_until_us) = (0, 0);
        }
    }

    /// Closes, politely or not. What it was owed it has got.
    pub fn leave(&mut self) {
        self.connection = None;
    }

    /// Connects anew and reads every key.
    pub fn begin_audit(&mut self) {
        self.leave();
        self.is_auditing = true;
        self.next_us = 0;
        self.left = u32::try_from(self.ledger.len()).unwrap_or(0);
    }

    /// Does what it can now.
    pub fn turn(&mut self, cluster: &Cluster, plan: &Plan, proxy: &Endpoint) {
        let now_us = World::now_us();
        if self.connection.is_none() {
            if self.left == 0 || now_us < self.next_us {
                return;
            }
            self.connect(proxy);
        }
        if now_us >= self.next_us && self.left > 0 {
            self.make_requests(cluster, plan);
        }
        self.write(plan);
        self.read(cluster, plan);
    }

    fn connect(&mut self, proxy: &Endpoint) {
        self.connections += 1;
        let host = u8::try_from(self.index).unwrap_or(0);
        let source = SocketAddr::from(([10, 0, 2, host], 10_000 + self.connections));
        let socket = World::connect_from(source, proxy).expect("somebody listens");
        World::note(&format!("client {}: connects as #{}", self.index, socket.number()));
        self.connection = Some(Connection {
            socket,
            outbox: Vec::new(),
            written: 0,
            queued: 0,
            inbox: Vec::new(),
            expected: VecDeque::new(),
            manner: Manner::Talks,
            deaf_until_us: 0,
            slow_until_us: 0,
            spoke_us: World::now_us(),
            was_silent: false,
            name: Vec::new(),
        });
    }

    /// Puts off what it does next.
    fn pause(&mut self, us: u64) {
        self.next_us = World::now_us() + us;
        World::alarm(self.next_us);
    }

    fn make_requests(&mut self, cluster: &Cluster, plan: &Plan) {
        let Some(open) = &self.connection else { return };
        if open.manner != Manner::Talks || open.expected.len() >= plan.window {
            return;
        }
        if !self.is_auditing && self.misbehave(cluster, plan) {
            return;
        }
        let burst = 1 + self.random.index(plan.window);
        for _ in 0..burst.min(self.left as usize) {
            if self.is_auditing {
                let key = self.left as usize - 1;
                self.request(&[&b"GET"[..], &self.key_name(key)], vec![key], Expect::Read);
            } else {
                self.make_request(plan);
            }
            self.left -= 1;
        }
        let pause_us = self.random.below(plan.pause_us + 1);
        self.pause(pause_us);
    }

    /// Whether it does something else than to ask.
    fn misbehave(&mut self, cluster: &Cluster, plan: &Plan) -> bool {
        let chances = plan.client.clone();
        let mut chance = |chances: u64| chances != 0 && self.random.one_in(chances);
        let (leaves, halves, quits) =
            (chance(chances.leave), chance(chances.half_close), chance(chances.quit));
        let (errs, deaf, idle) =
            (chance(chances.protocol_error), chance(chances.deaf), chance(chances.idle));
        let Some(open) = &mut self.connection else { return false };
        if deaf {
            open.deaf_until_us = World::now_us() + (1_000 << self.random.below(12));
            World::alarm(open.deaf_until_us);
        }
        if leaves {
            World::note(&format!("client {}: leaves", self.index));
            self.lose(cluster);
        } else if halves && open.written > 0 {
            World::note(&format!(
                "client {}: shuts down at {} of {}",
                self.index, open.written, open.queued
            ));
            open.outbox.clear();
            open.manner = Manner::HasShutDown;
            let shut_down = open.socket.shut_down_write();
            self.settle_unwritten(cluster);
            if shut_down.is_err() {
                self.check_loss(plan, "cannot shut down");
                self.lose(cluster);
            }
        } else if quits {
            self.request(&[b"QUIT"], Vec::new(), exactly_ok());
            self.be(Manner::HasQuit);
        } else if errs {
            let kinds = [
                &b"*1\r\n$x\r\n"[..],
                b"*zz\r\n",
                b"*1\r\n+GET\r\n",
                b"*2\r\n$3\r\nGET\r\n$-1\r\n",
            ];
            let nonsense = kinds[self.random.index(kinds.len())];
            self.raw_request(nonsense, Vec::new(), Expect::ErrorLike("ERR Protocol error"));
            self.be(Manner::HasErred);
        } else if idle && plan.client_timeout_s > 0 {
            self.pause(plan.client_timeout_s * 1_000_000 * 2);
        } else {
            return false;
        }
        true
    }

    fn be(&mut self, manner: Manner) {
        if let Some(open) = &mut self.connection {
            open.manner = manner;
        }
    }

    fn make_request(&mut self, plan: &Plan) {
        let number = self.next_number;
        let text = format!("c{}.{number}", self.index);
        let tag = text.as_bytes();
        match self.random.below(100) {
            0..24 => {
                let key = self.any_key();
                self.request(&[&b"GET"[..], &self.key_name(key)], vec![key], Expect::Read);
            }
            24..48 => {
                let key = self.key_of(Kind::Register);
                let value = self.value(plan, key);
                self.request(&[&b"SET"[..], &self.key_name(key), &value], vec![key], Expect::Set);
            }
            48..57 => {
                let key = self.key_of(Kind::Counter);
                self.request(&[&b"INCR"[..], &self.key_name(key)], vec![key], Expect::Count);
            }
            57..63 => {
                let key = self.key_of(Kind::Log);
                let length = self.random.index(200);
                let value = tagged_value((self.index, number), &self.key_name(key), length);
                self.request(
                    &[&b"Append"[..], &self.key_name(key), &value],
                    vec![key],
                    Expect::Append,
                );
            }
            63..71 => {
                let keys = self.some_keys(None);
                self.request_keys(b"MGET", keys, Expect::ReadMany);
            }
            71..78 => {
                let keys = self.some_keys(Some(Kind::Register));
                let mut words = vec![b"mset".to_vec()];
                for key in &keys {
                    words.push(self.key_name(*key));
                    words.push(self.value(plan, *key));
                }
                self.request(&words, keys, Expect::Set);
            }
            78..84 => {
                let keys = self.some_keys(Some(Kind::Register));
                let name: &[u8] = if self.random.one_in(2) { b"DEL" } else { b"UNLINK" };
                let mut words = vec![name.to_vec()];
                for key in &keys {
                    words.push(self.key_name(*key));
                    words.push(marker(&self.ledger.key(*key).hash_tag, (self.index, number)));
                }
                self.request(&words, keys, Expect::Delete);
            }
            84..88 => {
                let keys = self.some_keys(None);
                let name: &[u8] = if self.random.one_in(2) { b"EXISTS" } else { b"TOUCH" };
                self.request_keys(name, keys, Expect::Presence);
            }
            88..90 => {
                let key = self.any_key();
                self.request(&[&b"STRLEN"[..], &self.key_name(key)], vec![key], Expect::Length);
            }
            90..93 => self.make_inline_request(plan, &text),
            _ => self.make_local_request(tag),
        }
    }

    /// A line of words, sometimes after an empty one.
    fn make_inline_request(&mut self, plan: &Plan, tag: &str) {
        let key = self.key_of(Kind::Register);
        let name = String::from_utf8_lossy(&self.key_name(key)).into_owned();
        let number = self.next_number;
        let (line, keys, expect) = match self.random.below(3) {
            0 => (format!("ECHO \"{tag}\"\r\n"), vec![], exactly_bulk(tag.as_bytes())),
            1 => (format!("get {name}\n"), vec![key], Expect::Read),
            _ => {
                // Printable, so that it needs no quotes.
                let value = tagged_value((self.index, number), name.as_bytes(), 0);
                let value = String::from_utf8_lossy(&value).into_owned();
                (format!("SET {name} {value}\r\n"), vec![key], Expect::Set)
            }
        };
        let before = ["", "\r\n", "*0\r\n", "*-1\r\n"];
        let line = format!("{}{line}", before[self.random.index(before.len())]);
        debug_assert!(plan.window > 0);
        self.raw_request(line.as_bytes(), keys, expect);
    }

    /// Something that needs no server.
    fn make_local_request(&mut self, tag: &[u8]) {
        let none = Vec::new;
        let error = |text: String| Expect::Exactly(Value::Error(text.into_bytes()));
        let text = String::from_utf8_lossy(tag).into_owned();
        match self.random.below(11) {
            0 => self.request(&[b"PING"], none(), Expect::Exactly(Value::Status(b"PONG".to_vec()))),
            1 => self.request(&[b"ping", tag], none(), exactly_bulk(tag)),
            2 => self.request(&[b"ECHO", tag], none(), exactly_bulk(tag)),
            3 => {
                let want =
                    format!("ERR unknown command 'no{text}', with args beginning with: '{text}' ");
                self.request(&[format!("no{text}").as_bytes(), tag], none(), error(want));
            }
            4 => {
                let want = "ERR wrong number of arguments for 'get' command".into();
                self.request(&[b"GET"], none(), error(want));
            }
            5 => {
                let want = "ERR wrong number of arguments for 'mset' command".into();
                self.request(&[&b"MSET"[..], b"one"], none(), error(want));
            }
            6 => self.request(&[&b"SELECT"[..], b"0"], none(), exactly_ok()),
            7 => {
                let want = "ERR DB index is out of range".into();
                self.request(&[&b"SELECT"[..], b"7"], none(), error(want));
            }
            8 => {
                if let Some(open) = &mut self.connection {
                    open.name = tag.to_vec();
                }
                self.request(&[&b"CLIENT"[..], b"SETNAME", tag], none(), exactly_ok());
            }
            9 => {
                let name =
                    self.connection.as_ref().map(|open| open.name.clone()).unwrap_or_default();
                let want = if name.is_empty() {
                    Expect::Exactly(Value::Null)
                } else {
                    exactly_bulk(&name)
                };
                self.request(&[&b"CLIENT"[..], b"GETNAME"], none(), want);
            }
            _ if self.random.one_in(2) => {
                self.request(&[&b"CLIENT"[..], b"ID"], none(), Expect::AnyInteger);
            }
            _ => self.request(&[b"INFO"], none(), Expect::AnyBulk),
        }
    }

    fn key_name(&self, key: usize) -> Vec<u8> {
        self.ledger.key(key).name.clone()
    }

    fn any_key(&mut self) -> usize {
        self.random.index(self.ledger.len())
    }

    fn key_of(&mut self, kind: Kind) -> usize {
        loop {
            let key = self.any_key();
            if self.ledger.key(key).kind == kind {
                return key;
            }
        }
    }

    /// Some different keys for writing, or any keys for reading.
    fn some_keys(&mut self, kind: Option<Kind>) -> Vec<usize> {
        let mut keys = Vec::new();
        for _ in 0..=self.random.below(7) {
            match kind {
                None => keys.push(self.any_key()),
                Some(kind) => {
                    let key = self.key_of(kind);
                    if !keys.contains(&key) {
                        keys.push(key);
                    }
                }
            }
        }
        keys
    }

    fn value(&mut self, plan: &Plan, key: usize) -> Vec<u8> {
        let most = if self.random.one_in(4) { plan.value_max } else { 200 };
        let length = match self.random.one_in(8) {
            true => most,
            false => self.random.index(most),
        };
        tagged_value((self.index, self.next_number), &self.key_name(key), length)
    }

    fn request_keys(&mut self, name: &[u8], keys: Vec<usize>, expect: Expect) {
        let mut words = vec![name.to_vec()];
        words.extend(keys.iter().map(|key| self.key_name(*key)));
        self.request(&words, keys, expect);
    }

    fn request<W: AsRef<[u8]>>(&mut self, words: &[W], keys: Vec<usize>, expect: Expect) {
        self.raw_request(&wire::command(words), keys, expect);
    }

    fn raw_request(&mut self, bytes: &[u8], keys: Vec<usize>, expect: Expect) {
        let number = self.next_number;
        self.next_number += 1;
        if expect.is_write() {
            for key in &keys {
                self.ledger.begin(*key, number);
            }
        }
        let slots: Vec<u16> = keys.iter().map(|key| slot_of(&self.ledger.key(*key).name)).collect();
        let is_split = slots.iter().any(|slot| *slot != slots[0]);
        World::note(&format!("client {}: request {number}: {}", self.index, shown(bytes)));
        let Some(open) = &mut self.connection else { return };
        open.outbox.extend_from_slice(bytes);
        open.queued += bytes.len() as u64;
        let (end, since_us) = (open.queued, World::now_us());
        open.expected.push_back(Request { number, end, keys, expect, since_us, is_split });
    }

    fn write(&mut self, plan: &Plan) {
        let Some(open) = &mut self.connection else { return };
        open.was_silent |= World::now_us() - open.spoke_us >= plan.client_timeout_s * 1_000_000;
        if open.outbox.is_empty() || World::now_us() < open.slow_until_us {
            return;
        }
        if self.random.one_in(20) {
            open.slow_until_us = World::now_us() + self.random.below(5_000);
            World::alarm(open.slow_until_us);
            return;
        }
        let most = if self.random.one_in(2) {
            open.outbox.len()
        } else {
            1 + self.random.index(open.outbox.len())
        };
        // An error is for the read to see, behind the replies that came before.
        if let Ok(Progress::Moved(length)) = open.socket.write(&open.outbox[..most]) {
            open.outbox.drain(..length);
            open.written += length as u64;
            open.spoke_us = World::now_us();
        }
    }

    fn read(&mut self, cluster: &Cluster, plan: &Plan) {
        let mut room = [0; 16_384];
        loop {
            let Some(open) = &mut self.connection else { return };
            if World::now_us() < open.deaf_until_us {
                return;
            }
            match open.socket.read(&mut room) {
                Ok(Progress::Moved(length)) => {
                    open.inbox.extend_from_slice(&room[..length]);
                    self.take_replies(cluster, plan);
                }
                Ok(Progress::WouldBlock) => return,
                Ok(Progress::Closed) => {
                    let is_due = open.manner != Manner::Talks && open.expected.is_empty();
                    if !is_due {
                        self.check_loss(plan, "the end");
                    }
                    self.lose(cluster);
                }
                Err(error) => {
                    self.check_loss(plan, &error.to_string());
                    self.lose(cluster);
                }
            }
        }
    }

    fn take_replies(&mut self, cluster: &Cluster, plan: &Plan) {
        let mut at = 0;
        loop {
            let Some(open) = &mut self.connection else { return };
            let taken = wire::take_value(&open.inbox[at..]);
            let taken =
                taken.unwrap_or_else(|error| panic!("client {} got nonsense: {error}", self.index));
            let Some((value, length)) = taken else {
                open.inbox.drain(..at);
                return;
            };
            at += length;
            let Some(request) = open.expected.pop_front() else {
                panic!("client {} got a reply to nothing: {value:?}", self.index);
            };
            World::note(&format!("client {}: reply {}: {value:?}", self.index, request.number));
            assert!(
                request.end <= open.written || open.manner == Manner::HasErred,
                "client {} got a reply to {} before it was sent: {value:?}",
                self.index,
                request.number
            );
            self.tally.replies += 1;
            self.check(cluster, plan, &request, &value);
        }
    }

    fn check(&mut self, cluster: &Cluster, plan: &Plan, request: &Request, value: &Value) {
        let number = request.number;
        if plan.allows.moved_slots && World::now_us() > request.since_us + ORDER_US {
            request.keys.iter().for_each(|key| self.ledger.loosen(*key));
        }
        let wrong = || panic!("client {} got {value:?} for {number}", self.index);
        if let (Value::Error(text), true) = (value, request.expect.is_served()) {
            return self.take_error(cluster, plan, request, text);
        }
        match (&request.expect, value) {
            (Expect::Exactly(want), got) => {
                assert!(
                    want == got,
                    "client {} got {got:?} for {number}, not {want:?}",
                    self.index
                );
            }
            (Expect::ErrorLike(want), Value::Error(text)) => {
                assert!(text.starts_with(want.as_bytes()), "client {} got {value:?}", self.index);
            }
            (Expect::AnyBulk, Value::Bulk(_)) | (Expect::AnyInteger, Value::Integer(_)) => {}
            (Expect::Set, Value::Status(text)) if text == b"OK" => {
                self.settle(cluster, request, Fate::Done);
            }
            (Expect::Append, Value::Integer(length)) => {
                self.settle(cluster, request, Fate::Done);
                let entry = self.ledger.execution(cluster, request.keys[0], number);
                let want =
                    entry.and_then(|entry| entry.value.as_ref()).map_or(0, |value| value.len());
                assert_eq!(*length, i64::try_from(want).unwrap_or(0), "APPEND {number}");
            }
            (Expect::Count, Value::Integer(count)) => {
                self.ledger.check_count(request.keys[0], number, *count);
            }
            (Expect::Delete, Value::Integer(count)) => {
                self.settle(cluster, request, Fate::Done);
                let removed = |key: &&usize| {
                    self.ledger.execution(cluster, **key, number).is_some_and(|entry| entry.removed)
                };
                let want = request.keys.iter().filter(removed).count();
                assert_eq!(*count, i64::try_from(want).unwrap_or(0), "DEL {number}");
            }
            (Expect::Read, got) => self.check_read(cluster, request.keys[0], number, got),
            (Expect::ReadMany, Value::Array(values)) => {
                assert_eq!(values.len(), request.keys.len(), "MGET {number}");
                for (key, got) in request.keys.iter().zip(values) {
                    self.check_read(cluster, *key, number, got);
                }
            }
            (Expect::Length, Value::Integer(length)) => {
                if self.ledger.key(request.keys[0]).kind != Kind::Counter {
                    let lengths = self.ledger.possible_lengths(cluster, request.keys[0], number);
                    let fits =
                        usize::try_from(*length).is_ok_and(|length| lengths.contains(&length));
                    assert!(fits, "STRLEN {number} gave {length}, not one of {lengths:?}");
                }
            }
            (Expect::Presence, Value::Integer(count)) => {
                let presence = |key: &usize| self.ledger.possible_presence(cluster, *key, number);
                let all: Vec<(bool, bool)> = request.keys.iter().map(presence).collect();
                let (least, most) = (
                    all.iter().filter(|(missing, _)| !missing).count(),
                    all.iter().filter(|(_, there)| *there).count(),
                );
                let fits =
                    usize::try_from(*count).is_ok_and(|count| (least..=most).contains(&count));
                assert!(fits, "EXISTS {number} gave {count}, not {least} to {most}");
            }
            _ => wrong(),
        }
    }

    fn check_read(&mut self, cluster: &Cluster, key: usize, number: u32, got: &Value) {
        let got = match got {
            Value::Bulk(bytes) => Some(bytes.as_slice()),
            Value::Null => None,
            other => panic!("client {} got {other:?} for {number}", self.index),
        };
        self.ledger.check_read(cluster, key, number, got);
        if self.is_auditing {
            let name = self.key_name(key);
            assert!(cluster.value(&name) == got, "{} is not what is there", shown(&name));
        }
    }

    /// An error in the place of a reply of a server: whether it may be, and what follows.
    fn take_error(&mut self, cluster: &Cluster, plan: &Plan, request: &Request, text: &[u8]) {
        let name = String::from_utf8_lossy(text).into_owned();
        let lossy = plan.allows.lossy && !self.is_auditing;
        let (allowed, fate) = match &*name {
            "ERR server connection close" => (lossy, Fate::Maybe),
            "ERR no server connection avaliable"
            | "ERR no server avaliable"
            | "CLUSTERDOWN Hash slot not served" => (lossy, Fate::Never),
            "ERR Protocol error: too big for me" => (plan.allows.early_errors, Fate::Never),
            _ if name.starts_with("TRYAGAIN ") => {
                let several = request.keys.len() > 1;
                (several && plan.allows.split_slots && !self.is_auditing, Fate::Never)
            }
            // The way that it shows could not be followed.
            _ if name.starts_with("MOVED ") || name.starts_with("ASK ") => (lossy, Fate::Never),
            _ => (false, Fate::Maybe),
        };
        assert!(allowed, "client {} got an error for {}: {name}", self.index, request.number);
        self.tally.errors += 1;
        // Of a request that was split, other parts may have been executed.
        let fate = if request.is_split { Fate::Maybe } else { fate };
        self.settle(cluster, request, fate);
    }

    fn settle(&mut self, cluster: &Cluster, request: &Request, fate: Fate) {
        if request.expect.is_write() {
            for key in &request.keys {
                self.ledger.settle(cluster, *key, request.number, fate);
            }
        }
    }

    /// Whether the connection may have ended now.
    fn check_loss(&mut self, plan: &Plan, what: &str) {
        self.tally.losses += 1;
        let Some(open) = &self.connection else { return };
        let timed_out = plan.client_timeout_s > 0 && open.was_silent;
        // A large reply of which the server sent only a part.
        let first = open.expected.front();
        let reads =
            first.is_some_and(|first| matches!(first.expect, Expect::Read | Expect::ReadMany));
        let cut_short = plan.allows.lossy && plan.value_max > 1_000 && reads;
        let erred = open.manner == Manner::HasErred;
        let allowed = plan.allows.resets || timed_out || cut_short || erred;
        assert!(
            allowed && !self.is_auditing,
            "client {} lost its connection: {what}; it was owed {} replies",
            self.index,
            open.expected.len()
        );
    }

    /// The connection is gone, whoever closed it: what was sent may have been executed.
    fn lose(&mut self, cluster: &Cluster) {
        World::note(&format!("client {}: has no connection", self.index));
        self.settle_unwritten(cluster);
        let Some(open) = self.connection.take() else { return };
        for request in &open.expected {
            self.settle(cluster, request, Fate::Maybe);
        }
        let pause_us = self.random.below(20_000);
        self.pause(pause_us);
    }

    /// What was not written to the end will never be executed.
    fn settle_unwritten(&mut self, cluster: &Cluster) {
        while let Some(open) = &mut self.connection
            && open.expected.back().is_some_and(|last| last.end > open.written)
            && let Some(last) = open.expected.pop_back()
        {
            self.settle(cluster, &last, Fate::Never);
        }
    }
}

impl Expect {
    fn is_write(&self) -> bool {
        matches!(self, Expect::Set | Expect::Append | Expect::Count | Expect::Delete)
    }

    /// Whether a server has to answer.
    fn is_served(&self) -> bool {
        !matches!(
            self,
            Expect::Exactly(_) | Expect::ErrorLike(_) | Expect::AnyBulk | Expect::AnyInteger
        )
    }
}

fn exactly_ok() -> Expect {
    Expect::Exactly(Value::Status(b"OK".to_vec()))
}

fn exactly_bulk(bytes: &[u8]) -> Expect {
    Expect::Exactly(Value::Bulk(bytes.to_vec()))
}
