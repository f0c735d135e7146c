//! A simulated client: its connection, and how it behaves and misbehaves. What it asks is in
//! `asking.rs`, what it makes of the replies in `checking.rs`. Knows the ledger of its keys, and of
//! the servers only the history that the ledger is checked against.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use predixy::base::random::Random;
use predixy::sys::sim::World;
use predixy::sys::{Endpoint, Progress, Socket};

use super::asking::Expect;
use super::checking::Request;
use super::ledger::{Fate, Ledger, Rules};
use super::listening::Ear;
use super::model::Model;
use super::plan::{Deed, Plan};
use super::session::{Hearing, Session};
use super::wire::{self, Value};

/// One client, over all its connections.
pub struct Client {
    pub(super) index: usize,
    pub ledger: Ledger,
    pub(super) random: Random,
    /// How many requests it still wants to make.
    pub left: u32,
    pub(super) next_number: u32,
    connections: u16,
    pub(super) connection: Option<Connection>,
    /// It does nothing new until then.
    next_us: u64,
    /// It reads all its keys, and tolerates nothing.
    pub(super) is_auditing: bool,
    /// It has loaded the script.
    pub(super) has_loaded: bool,
    /// The transaction that it begins has to read this first.
    pub(super) must_read_inside: Option<usize>,
    /// What became of what it has published.
    pub(super) published: BTreeMap<u32, Fate>,
    pub tally: Tally,
    /// Where it reads.
    room: Box<[u8]>,
}

/// What a client got.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub replies: u64,
    pub errors: u64,
    pub losses: u64,
}

pub(super) struct Connection {
    socket: Socket,
    pub(super) outbox: Vec<u8>,
    /// Bytes given to the socket, and bytes ever put into the outbox.
    written: u64,
    pub(super) queued: u64,
    inbox: Vec<u8>,
    pub(super) expected: VecDeque<Request>,
    manner: Manner,
    deaf_until_us: u64,
    slow_until_us: u64,
    /// When something was written last.
    spoke_us: u64,
    /// It was silent for longer than a client may be.
    was_silent: bool,
    pub(super) name: Vec<u8>,
    /// The database that it has selected.
    pub(super) database: u32,
    pub(super) session: Option<Session>,
    pub(super) hearing: Hearing,
    pub(super) ear: Ear,
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

impl Client {
    pub fn new(index: usize, plan: &Plan) -> Client {
        let rules = Rules {
            is_strict: !plan.allows.lossy,
            reads_replicas: plan.may_read_replicas(),
            roles_change: plan.allows.role_changes,
            keeps_order: !plan.deeds.contains(&Deed::Loop),
            read_your_writes_us: plan.read_your_writes_ms * 1_000,
        };
        World::alarm(World::now_us() + plan.begin_us);
        Client {
            index,
            ledger: Ledger::new(index, plan.tags, plan.databases, rules),
            random: World::random(),
            left: plan.requests,
            next_number: 1,
            connections: 0,
            connection: None,
            next_us: World::now_us() + plan.begin_us,
            is_auditing: false,
            has_loaded: false,
            must_read_inside: None,
            published: BTreeMap::new(),
            tally: Tally::default(),
            room: vec![0; 16_384].into(),
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
    pub fn leave(&mut self, model: &Model) {
        self.drop_session(model);
        self.connection = None;
    }

    /// Connects anew and reads every key.
    pub fn begin_audit(&mut self, model: &Model) {
        self.leave(model);
        self.is_auditing = true;
        self.next_us = 0;
        self.left = u32::try_from(self.ledger.len()).unwrap_or(0);
    }

    /// Does what it can now.
    pub fn turn(&mut self, model: &mut Model, plan: &Plan, proxy: &Endpoint) {
        let now_us = World::now_us();
        if self.connection.is_none() {
            if self.left == 0 || now_us < self.next_us {
                return;
            }
            self.connect(proxy);
        }
        if now_us >= self.next_us && self.left > 0 {
            self.make_requests(model, plan);
        }
        self.write(plan);
        self.read(model, plan);
    }

    fn connect(&mut self, proxy: &Endpoint) {
        self.connections += 1;
        let host = u8::try_from(self.index).unwrap_or(0);
        let source = SocketAddr::from(([10, 0, 2, host], 10_000 + self.connections));
        let socket = World::connect_from(source, proxy).expect("somebody listens");
        World::note(format_args!("client {}: connects as #{}", self.index, socket.number()));
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
            database: 0,
            session: None,
            hearing: Hearing::default(),
            ear: Ear::default(),
        });
        self.ledger.connect();
    }

    /// Puts off what it does next.
    fn pause(&mut self, us: u64) {
        self.next_us = World::now_us() + us;
        World::alarm(self.next_us);
    }

    fn make_requests(&mut self, model: &mut Model, plan: &Plan) {
        let Some(open) = &self.connection else { return };
        if open.manner != Manner::Talks || open.expected.len() >= plan.window {
            return;
        }
        // What it may say next depends on the protocol that it speaks then.
        if open.expected.iter().any(|request| request.expect.changes_protocol()) {
            return;
        }
        let is_new = open.queued == 0;
        if !self.is_auditing && self.misbehave(model, plan) {
            return;
        }
        if is_new && plan.has_resp3 && !self.is_auditing && self.random.one_in(2) {
            return self.say_hello(3);
        }
        let burst = 1 + self.random.index(plan.window);
        for _ in 0..burst.min(self.left as usize) {
            let is_greeting = |open: &Connection| {
                open.expected.back().is_some_and(|last| last.expect.changes_protocol())
            };
            if self.connection.as_ref().is_some_and(is_greeting) {
                break;
            }
            if self.is_auditing {
                let key = self.left as usize - 1;
                self.read_one(key);
            } else {
                self.make_request(model, plan);
            }
            self.left -= 1;
        }
        let pause_us = self.random.below(plan.pause_us + 1);
        self.pause(pause_us);
    }

    /// Whether it does something else than to ask.
    fn misbehave(&mut self, model: &Model, plan: &Plan) -> bool {
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
            World::note(format_args!("client {}: leaves", self.index));
            self.lose(model);
        } else if halves && open.written > 0 {
            World::note(format_args!(
                "client {}: shuts down at {} of {}",
                self.index, open.written, open.queued
            ));
            open.outbox.clear();
            open.manner = Manner::HasShutDown;
            let shut_down = open.socket.shut_down_write();
            self.settle_unwritten(model);
            if shut_down.is_err() {
                self.check_loss(plan, "cannot shut down");
                self.lose(model);
            }
        } else if quits {
            if let Some(open) = &mut self.connection {
                open.ear.plan_to_close();
            }
            self.request(&[b"QUIT"], Vec::new(), Expect::ok());
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

    fn read(&mut self, model: &Model, plan: &Plan) {
        loop {
            let Some(open) = &mut self.connection else { return };
            if World::now_us() < open.deaf_until_us || !World::has_news(&open.socket) {
                return;
            }
            match open.socket.read(&mut self.room) {
                Ok(Progress::Moved(length)) => {
                    open.inbox.extend_from_slice(&self.room[..length]);
                    self.take_replies(model, plan);
                }
                Ok(Progress::WouldBlock) => return,
                Ok(Progress::Closed) => {
                    let is_due = open.manner != Manner::Talks && open.expected.is_empty();
                    if !is_due {
                        self.check_loss(plan, "the end");
                    }
                    self.lose(model);
                }
                Err(error) => {
                    self.check_loss(plan, &error.to_string());
                    self.lose(model);
                }
            }
        }
    }

    fn take_replies(&mut self, model: &Model, plan: &Plan) {
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
            let front = open.expected.front().map(|request| &request.expect);
            let resp3 = match (front, &value) {
                // The answer is in the new protocol already.
                (Some(Expect::Hello(version)), Value::Map(_) | Value::Array(_)) => *version == 3,
                _ => open.ear.speaks_resp3,
            };
            assert!(value.suits(resp3), "client {} got {value:?} in another protocol", self.index);
            let value = value.plain();
            if self.take_news(model, &value) {
                World::note(format_args!("client {}: is told {value:?}", self.index));
                continue;
            }
            let Some(open) = &mut self.connection else { return };
            let Some(request) = open.expected.pop_front() else {
                panic!("client {} got a reply to nothing: {value:?}", self.index);
            };
            World::note(format_args!("client {}: reply {}: {value:?}", self.index, request.number));
            assert!(
                request.end <= open.written || open.manner == Manner::HasErred,
                "client {} got a reply to {} before it was sent: {value:?}",
                self.index,
                request.number
            );
            self.tally.replies += 1;
            self.check(model, plan, &request, &value);
        }
    }

    /// Whether the connection may have ended now.
    fn check_loss(&mut self, plan: &Plan, what: &str) {
        self.tally.losses += 1;
        let Some(open) = &self.connection else { return };
        let timed_out = plan.client_timeout_s > 0 && open.was_silent;
        // A large reply of which the server sent only a part. The reset may overtake what came before.
        let overtakes = plan.platform.overtaking_resets > 0;
        let mut first = open.expected.iter().take(if overtakes { usize::MAX } else { 1 });
        let reads = first.any(|request| request.expect.may_be_large());
        let cut_short = plan.allows.lossy && plan.value_max > 1_000 && reads;
        let erred = open.manner == Manner::HasErred;
        // Who has shut down its half while it is blocked looks like who is gone.
        let blocks =
            open.expected.iter().any(|request| matches!(request.expect, Expect::Pop { .. }));
        let is_gone = open.manner == Manner::HasShutDown && blocks;
        // Whoever may have missed messages is told so by this.
        // It may know by now only what it was before, and have asked for the end of it already.
        let listened =
            open.expected.iter().any(|request| matches!(request.expect, Expect::Subscribed { .. }));
        let is_deaf = plan.allows.lossy && (open.ear.listens() || listened);
        let is_cut_off = plan.allows.scarce_memory;
        let allowed = plan.allows.resets
            || timed_out
            || cut_short
            || erred
            || is_gone
            || is_deaf
            || is_cut_off;
        assert!(
            allowed && !self.is_auditing,
            "client {} lost its connection: {what}; it was owed {} replies",
            self.index,
            open.expected.len()
        );
    }

    /// The connection is gone, whoever closed it: what was sent may have been executed.
    fn lose(&mut self, model: &Model) {
        self.drop_session(model);
        World::note(format_args!("client {}: has no connection", self.index));
        self.settle_unwritten(model);
        let Some(open) = self.connection.take() else { return };
        for request in &open.expected {
            self.settle(model, request, Fate::Maybe);
        }
        let pause_us = self.random.below(20_000);
        self.pause(pause_us);
    }

    /// What was not written to the end will never be executed.
    fn settle_unwritten(&mut self, model: &Model) {
        while let Some(open) = &mut self.connection
            && open.expected.back().is_some_and(|last| last.end > open.written)
            && let Some(last) = open.expected.pop_back()
        {
            self.settle(model, &last, Fate::Never);
        }
    }
}
