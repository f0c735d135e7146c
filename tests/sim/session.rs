//! What a simulated client does over several requests: transactions with and without WATCH,
//! commands that block, scripts, and iterations with SCAN.
//!
//! A transaction is told to the servers' `Pacts` as it grows. What becomes of its writes is settled
//! when EXEC is answered, or will never be sent.

use std::collections::BTreeSet;

use predixy::sys::sim::World;

use super::asking::Expect;
use super::checking::Request;
use super::client::Client;
use super::commands::{DIGEST, SCRIPT, marker, tagged_value};
use super::ledger::{Fate, Kind};
use super::model::Model;
use super::plan::{Kind as Pool, Plan};
use super::wire::{Value, shown};

/// What a client is in the middle of, as far as it has sent it.
pub(super) enum Session {
    Transaction(Pact),
    Scan(Scan),
    /// It is subscribed, and speaks RESP2.
    Listening,
}

/// A transaction that waits for its EXEC.
pub(super) struct Pact {
    /// The number of its MULTI.
    number: u32,
    hash_tag: String,
    commands: Vec<Request>,
    /// Some command is one that cannot be queued.
    pub is_spoiled: bool,
    /// What it watches.
    watches: Option<usize>,
}

/// An iteration over all keys of a database.
pub(super) struct Scan {
    cursor: Vec<u8>,
    /// What has to be found.
    wanted: BTreeSet<Vec<u8>>,
    is_asked: bool,
}

/// What has been heard of the transaction that is under way.
#[derive(Default)]
pub(super) struct Hearing {
    /// WATCH was confirmed.
    is_watching: bool,
    /// What the watched key was after that.
    watched: Option<Option<Vec<u8>>>,
    /// Some command was refused.
    pub refused: bool,
}

impl Client {
    /// Goes on with what it is in the middle of, or begins something. False if it does neither.
    pub(super) fn take_a_step(&mut self, model: &mut Model, plan: &Plan) -> bool {
        let begins = self.random.one_in(if plan.has_channels { 4 } else { 8 });
        match self.session() {
            Some(Session::Transaction(_)) => self.go_on_with_transaction(model, plan),
            Some(Session::Scan(_)) => self.go_on_with_scan(),
            Some(Session::Listening) => self.go_on_listening(plan),
            None if !begins => return false,
            None => match self.random.below(8) {
                0 if plan.has_transactions => self.begin_transaction(),
                1 if plan.has_blocking => self.use_queue(),
                2 if plan.has_scripts => self.call_script(plan),
                3 if plan.has_scans => self.begin_scan(model),
                4 | 5 if plan.has_channels => self.publish(plan),
                6 if plan.has_channels => self.subscribe(),
                7 if plan.has_channels && self.is_subscribed() => match self.random.one_in(4) {
                    true => self.unsubscribe_all(),
                    false => self.unsubscribe_some(),
                },
                _ => return false,
            },
        }
        true
    }

    fn session(&mut self) -> &mut Option<Session> {
        match &mut self.connection {
            Some(open) => &mut open.session,
            None => panic!("there is no connection"),
        }
    }

    /// It is in the middle of something, or of nothing.
    pub(super) fn be_in(&mut self, session: Option<Session>) {
        *self.session() = session;
    }

    fn is_subscribed(&self) -> bool {
        self.connection.as_ref().is_some_and(|open| open.ear.listens())
    }

    /// Whether it must stay in the database that it is in.
    pub(super) fn is_settled(&self) -> bool {
        self.connection.as_ref().is_some_and(|open| open.session.is_some())
    }

    fn begin_transaction(&mut self) {
        let some = self.any_key();
        let hash_tag = self.ledger.key(some).hash_tag.clone();
        let mut watches = None;
        if self.random.one_in(2) {
            let key = self.key_in(&hash_tag, Kind::Watched);
            let name = self.key_name(key);
            self.request(&[&b"WATCH"[..], &name], vec![], Expect::Watch);
            self.request(&[&b"GET"[..], &name], vec![key], Expect::Outside);
            watches = Some(key);
        }
        let number = self.next_number;
        self.request(&[b"MULTI"], vec![], Expect::Multi);
        let pact = Pact { number, hash_tag, commands: Vec::new(), is_spoiled: false, watches };
        *self.session() = Some(Session::Transaction(pact));
        if let Some(key) = watches {
            // So that what EXEC sees can be compared with what was seen outside.
            self.must_read_inside = Some(key);
        }
    }

    fn go_on_with_transaction(&mut self, model: &mut Model, plan: &Plan) {
        if let Some(key) = self.must_read_inside.take() {
            let words = vec![b"GET".to_vec(), self.key_name(key)];
            return self.queue(model, words, vec![key], Expect::Read);
        }
        match self.random.below(20) {
            0..4 => self.end_transaction(true),
            4 => self.end_transaction(false),
            5 => self.spoil(plan),
            6 => {
                let want = "ERR MULTI calls can not be nested";
                self.request(&[b"MULTI"], vec![], Expect::error(want));
            }
            _ => self.queue_any(model, plan),
        }
    }

    fn pact(&mut self) -> &mut Pact {
        match self.session() {
            Some(Session::Transaction(pact)) => pact,
            _ => panic!("there is no transaction"),
        }
    }

    fn key_in(&mut self, hash_tag: &str, kind: Kind) -> usize {
        let is_it = |key: &usize| {
            let key = self.ledger.key(*key);
            key.hash_tag == hash_tag && key.kind == kind
        };
        let keys: Vec<usize> = (0..self.ledger.len()).filter(is_it).collect();
        keys[self.random.index(keys.len())]
    }

    fn queue_any(&mut self, model: &mut Model, plan: &Plan) {
        let hash_tag = self.pact().hash_tag.clone();
        let tag = (self.index, self.next_number);
        let register = self.key_in(&hash_tag, Kind::Register);
        let name = self.key_name(register);
        match self.random.below(7) {
            0 => {
                let value = self.value(plan, register);
                let words = vec![b"SET".to_vec(), name, value];
                self.queue(model, words, vec![register], Expect::Set);
            }
            1 | 2 => {
                let key = self.key_in(&hash_tag, Kind::Apart);
                let words = vec![b"INCR".to_vec(), self.key_name(key)];
                self.queue(model, words, vec![key], Expect::Count);
            }
            3 => {
                let key = self.key_in(&hash_tag, Kind::Log);
                let name = self.key_name(key);
                let length = self.random.index(100);
                let value = tagged_value(tag, &name, length);
                self.queue(model, vec![b"append".to_vec(), name, value], vec![key], Expect::Append);
            }
            4 => {
                let words = vec![b"DEL".to_vec(), name, marker(&hash_tag, tag)];
                self.queue(model, words, vec![register], Expect::Delete);
            }
            5 => {
                let words = vec![b"PING".to_vec()];
                self.queue(model, words, vec![], Expect::Exactly(Value::Status(b"PONG".to_vec())));
            }
            _ => {
                let keys = vec![register, self.key_in(&hash_tag, Kind::Counter)];
                let mut words = vec![b"MGET".to_vec()];
                words.extend(keys.iter().map(|key| self.key_name(*key)));
                self.queue(model, words, keys, Expect::ReadMany);
            }
        }
    }

    /// Says something that is to be executed with EXEC.
    fn queue(&mut self, model: &mut Model, words: Vec<Vec<u8>>, keys: Vec<usize>, expect: Expect) {
        let number = self.next_number;
        let pact = (self.index, self.pact().number);
        model.pacts.join(pact, (self.index, number));
        if expect.is_write() {
            for key in &keys {
                self.ledger.begin(*key, number);
            }
        }
        self.request(&words, vec![], Expect::Queued);
        let since_us = World::now_us();
        let command = Request { number, end: 0, keys, expect, since_us, is_split: false };
        self.pact().commands.push(command);
    }

    /// Says something that cannot be queued.
    fn spoil(&mut self, plan: &Plan) {
        let text = format!("c{}.{}", self.index, self.next_number);
        self.pact().is_spoiled = true;
        match self.random.below(3) {
            0 => {
                let want = "ERR wrong number of arguments for 'get' command";
                self.request(&[b"GET"], vec![], Expect::error(want));
            }
            1 => {
                let want =
                    format!("ERR unknown command 'no{text}', with args beginning with: 'it' ");
                let name = format!("no{text}");
                self.request(&[name.as_bytes(), b"it"], vec![], Expect::error(&want));
            }
            _ if plan.kind == Pool::Cluster => {
                let keys = ["{a}k", "{b}k"];
                let want = "CROSSSLOT Keys in request don't hash to the same slot";
                self.request(&["MGET", keys[0], keys[1]], vec![], Expect::error(want));
            }
            _ => {
                let want = "ERR wrong number of arguments for 'append' command";
                self.request(&["APPEND", "k"], vec![], Expect::error(want));
            }
        }
    }

    fn end_transaction(&mut self, executes: bool) {
        let Some(Session::Transaction(pact)) = self.session().take() else { return };
        self.must_read_inside = None;
        if executes {
            self.request(&[b"EXEC"], vec![], Expect::Exec(pact));
        } else {
            self.request(&[b"discard"], vec![], Expect::Discard(pact));
        }
    }

    /// The connection ends, or will: what was not said to the end will not happen.
    pub(super) fn drop_session(&mut self, model: &Model) {
        self.must_read_inside = None;
        let session = self.connection.as_mut().and_then(|open| open.session.take());
        if let Some(Session::Transaction(pact)) = session {
            self.settle_pact(model, &pact, Fate::Never);
        }
    }

    pub(super) fn settle_pact(&mut self, model: &Model, pact: &Pact, fate: Fate) {
        for command in &pact.commands {
            self.settle(model, command, fate);
        }
    }

    /// WATCH or MULTI was answered with OK, or something was not queued.
    pub(super) fn hear(&mut self, request: &Request, value: &Value) {
        let Some(open) = &mut self.connection else { return };
        let hearing = &mut open.hearing;
        match (&request.expect, value) {
            (Expect::Watch, Value::Status(_)) => {
                *hearing = Hearing { is_watching: true, ..Hearing::default() };
            }
            // What an earlier one, whose transaction was discarded, has seen does not count.
            (Expect::Watch, _) => (hearing.is_watching, hearing.watched) = (false, None),
            (Expect::Outside, Value::Bulk(bytes)) => hearing.watched = Some(Some(bytes.clone())),
            (Expect::Outside, Value::Null) => hearing.watched = Some(None),
            (Expect::Multi, Value::Status(_)) => hearing.refused = false,
            (Expect::Queued, Value::Error(_)) => hearing.refused = true,
            _ => {}
        }
    }

    pub(super) fn hearing(&mut self) -> &mut Hearing {
        match &mut self.connection {
            Some(open) => &mut open.hearing,
            None => panic!("there is no connection"),
        }
    }

    /// EXEC was answered, and not with an error of another kind.
    pub(super) fn check_exec(
        &mut self,
        model: &Model,
        plan: &Plan,
        request: &Request,
        pact: &Pact,
        value: &Value,
    ) {
        let index = self.index;
        let hearing = match &mut self.connection {
            Some(open) => std::mem::take(&mut open.hearing),
            None => return,
        };
        match value {
            Value::Array(values) => {
                assert!(
                    !(pact.is_spoiled || hearing.refused),
                    "client {index}: {} executed although a command was refused",
                    request.number
                );
                assert_eq!(values.len(), pact.commands.len(), "EXEC {}", request.number);
                if let (Some(_), Some(watched), true) =
                    (pact.watches, &hearing.watched, hearing.is_watching)
                    && let Some(inside) = values.first()
                {
                    let inside = match inside {
                        Value::Bulk(bytes) => Some(bytes),
                        _ => None,
                    };
                    assert_eq!(
                        inside.map(|bytes| shown(bytes)),
                        watched.as_ref().map(|bytes| shown(bytes)),
                        "client {index}: {} was executed though what it watches has changed",
                        request.number
                    );
                }
                for (command, value) in pact.commands.iter().zip(values) {
                    assert!(!matches!(value, Value::Error(_)), "EXEC {value:?}");
                    if command.expect.is_write() {
                        for key in &command.keys {
                            self.ledger.note_write(*key, request.number, request.since_us);
                        }
                    }
                    self.check(model, plan, command, value);
                }
            }
            Value::Null => {
                assert!(pact.watches.is_some(), "client {index}: nil to {}", request.number);
                self.settle_pact(model, pact, Fate::Never);
            }
            other => panic!("client {index} got {other:?} for {}", request.number),
        }
    }

    /// Puts something into a queue, looks what is there, or waits for something.
    fn use_queue(&mut self) {
        let key = self.key_of(Kind::Queue);
        let (name, tag) = (self.key_name(key), (self.index, self.next_number));
        match self.random.below(5) {
            0 => {
                let element = tagged_value(tag, &name, 0);
                self.request(&[&b"RPUSH"[..], &name, &element], vec![key], Expect::Push);
            }
            1 => self.request(&[&b"LRANGE"[..], &name, b"0", b"-1"], vec![key], Expect::List),
            way => {
                let verb: &[u8] = if way == 2 { b"BRPOP" } else { b"blpop" };
                let timeouts = ["0.02", "0.3", "1", "0"];
                let timeout = timeouts[self.random.index(timeouts.len())];
                let marker = marker(&self.ledger.key(key).hash_tag, tag);
                let words = [verb, &name, &marker, timeout.as_bytes()];
                self.request(&words, vec![key], Expect::Pop { timeout });
            }
        }
    }

    /// Loads the script, or calls it by its name or by its text.
    fn call_script(&mut self, plan: &Plan) {
        if !self.has_loaded {
            self.has_loaded = true;
            return self.request(&[&b"script"[..], b"load", SCRIPT], vec![], Expect::Loaded);
        }
        let key = self.key_of(Kind::Register);
        let (name, value) = (self.key_name(key), self.value(plan, key));
        let (verb, script) = match self.random.one_in(4) {
            true => (&b"EVAL"[..], SCRIPT),
            false => (&b"evalsha"[..], DIGEST.as_bytes()),
        };
        self.request(&[verb, script, b"1", &name, &value], vec![key], Expect::Set);
    }

    /// Begins to look at all keys. It changes nothing meanwhile, so that what it has must be found.
    fn begin_scan(&mut self, model: &Model) {
        let Some(open) = &self.connection else { return };
        if !open.expected.is_empty() {
            return;
        }
        let mut wanted = BTreeSet::new();
        for key in (0..self.ledger.len()).filter(|key| self.is_here(*key)) {
            let name = self.key_name(key);
            let is_own = matches!(self.ledger.key(key).kind, Kind::Register | Kind::Counter);
            if is_own && self.ledger.is_certain(key) && model.value(&name).is_some() {
                wanted.insert(name);
            }
        }
        *self.session() =
            Some(Session::Scan(Scan { cursor: b"0".to_vec(), wanted, is_asked: false }));
    }

    fn go_on_with_scan(&mut self) {
        let Some(Session::Scan(scan)) = self.session() else { return };
        if !scan.is_asked {
            scan.is_asked = true;
            let cursor = scan.cursor.clone();
            self.request(&[&b"SCAN"[..], &cursor], vec![], Expect::Scanned);
        }
    }

    /// A step of an iteration is answered.
    pub(super) fn check_scan(&mut self, plan: &Plan, value: &Value) {
        let index = self.index;
        let Value::Array(parts) = value else { panic!("client {index} got {value:?} for SCAN") };
        let [Value::Bulk(cursor), Value::Array(keys)] = &parts[..] else {
            panic!("client {index} got {value:?} for SCAN")
        };
        let Some(Session::Scan(scan)) = self.session() else { return };
        scan.cursor.clone_from(cursor);
        scan.is_asked = false;
        for key in keys {
            let Value::Bulk(key) = key else { panic!("client {index} got {key:?} for a key") };
            scan.wanted.remove(key);
        }
        if cursor == b"0" {
            let missed: Vec<_> =
                scan.wanted.iter().map(|key| key.escape_ascii().to_string()).collect();
            let is_complete = missed.is_empty() || plan.may_miss_keys();
            assert!(is_complete, "client {index}: SCAN has not found {missed:?}");
            *self.session() = None;
        }
    }

    /// A step of an iteration has failed: it is given up.
    pub(super) fn give_up_scan(&mut self) {
        if let Some(open) = &mut self.connection {
            open.session = open.session.take().filter(|known| !matches!(known, Session::Scan(_)));
        }
    }
}
