//! What a simulated client asks for. Knows nothing of replies but what they have to be.

use predixy::sys::sim::World;

use super::checking::Request;
use super::client::{Client, Connection};
use super::cluster::slot_of;
use super::commands::{marker, tagged_value};
use super::ledger::Kind;
use super::model::Model;
use super::plan::Plan;
use super::radio::Kind as Listens;
use super::session::Pact;
use super::wire::{self, Value, shown};

/// What the reply has to be.
pub(super) enum Expect {
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
    Watch,
    /// A read of what is watched, outside the transaction.
    Outside,
    Multi,
    Queued,
    Exec(Pact),
    Discard(Pact),
    Push,
    List,
    Pop {
        timeout: &'static str,
    },
    Loaded,
    Scanned,
    /// A read that gives a map of one field, or of none.
    Fields,
    /// So many of the names are confirmed.
    Subscribed {
        kind: Listens,
        names: Vec<Vec<u8>>,
        confirmed: usize,
    },
    /// Without a name it is all of the kind, of which so many are left, once that is known.
    Unsubscribed {
        kind: Listens,
        name: Option<Vec<u8>>,
        left: usize,
    },
    Published,
    /// What PING says to who is subscribed.
    Pong(Vec<u8>),
    /// The protocol that is spoken from then on.
    Hello(u8),
    Reset,
}

impl Client {
    pub(super) fn make_request(&mut self, model: &mut Model, plan: &Plan) {
        if !self.is_settled() {
            self.select_any();
        }
        if self.take_a_step(model, plan) {
            return;
        }
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
                let (key, is_map) = (self.any_key(), self.random.one_in(2));
                let (word, expect): (&[u8], _) = match is_map {
                    true => (b"hgetall", Expect::Fields),
                    false => (b"STRLEN", Expect::Length),
                };
                self.request(&[word, &self.key_name(key)], vec![key], expect);
            }
            90..93 => self.make_inline_request(plan, &text),
            93 if plan.has_resp3 && self.may_change_protocol() => {
                let version = if self.random.one_in(2) { 2 } else { 3 };
                self.say_hello(version);
            }
            94 if plan.has_resp3 && !self.is_settled() => self.say_reset(),
            _ => self.make_local_request(tag),
        }
    }

    /// Whether nothing hangs on the protocol that it speaks.
    fn may_change_protocol(&self) -> bool {
        let is_free = |open: &Connection| !open.ear.listens();
        !self.is_settled() && self.connection.as_ref().is_some_and(is_free)
    }

    /// Begins to speak a protocol.
    pub(super) fn say_hello(&mut self, version: u8) {
        let text = version.to_string();
        self.request(&["HELLO", &text], Vec::new(), Expect::Hello(version));
    }

    /// Wants to be as it was when it came.
    fn say_reset(&mut self) {
        if let Some(open) = &mut self.connection {
            open.database = 0;
            open.name.clear();
            open.ear.plan_to_close();
        }
        self.request(&["RESET"], Vec::new(), Expect::Reset);
    }

    /// A line of words, sometimes after an empty one.
    fn make_inline_request(&mut self, plan: &Plan, tag: &str) {
        let key = self.key_of(Kind::Register);
        let name = String::from_utf8_lossy(&self.key_name(key)).into_owned();
        let number = self.next_number;
        let (line, keys, expect) = match self.random.below(3) {
            0 => (format!("ECHO \"{tag}\"\r\n"), vec![], Expect::bulk(tag.as_bytes())),
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
            1 => self.request(&[b"ping", tag], none(), Expect::bulk(tag)),
            2 => self.request(&[b"ECHO", tag], none(), Expect::bulk(tag)),
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
            6 => {
                let text = self.connection.as_ref().map_or(0, |open| open.database).to_string();
                self.request(&["SELECT", &text], none(), Expect::ok());
            }
            7 => {
                let want = "ERR DB index is out of range".into();
                self.request(&[&b"SELECT"[..], b"7"], none(), error(want));
            }
            8 => {
                if let Some(open) = &mut self.connection {
                    open.name = tag.to_vec();
                }
                self.request(&[&b"CLIENT"[..], b"SETNAME", tag], none(), Expect::ok());
            }
            9 => {
                let name =
                    self.connection.as_ref().map(|open| open.name.clone()).unwrap_or_default();
                let want = if name.is_empty() {
                    Expect::Exactly(Value::Null)
                } else {
                    Expect::bulk(&name)
                };
                self.request(&[&b"CLIENT"[..], b"GETNAME"], none(), want);
            }
            _ if self.random.one_in(2) => {
                self.request(&[&b"CLIENT"[..], b"ID"], none(), Expect::AnyInteger);
            }
            _ => self.request(&[b"INFO"], none(), Expect::AnyBulk),
        }
    }

    pub(super) fn key_name(&self, key: usize) -> Vec<u8> {
        self.ledger.key(key).name.clone()
    }

    /// Sometimes, or when it has no key where it is, goes to another database.
    fn select_any(&mut self) {
        let key = self.random.index(self.ledger.len());
        if self.random.one_in(8) || !self.is_here(key) {
            self.select(self.ledger.key(key).database);
        }
    }

    fn select(&mut self, database: u32) {
        let Some(open) = &mut self.connection else { return };
        if open.database != database {
            open.database = database;
            let text = database.to_string();
            self.request(&["SELECT", &text], Vec::new(), Expect::ok());
        }
    }

    /// Reads one key, wherever it is.
    pub(super) fn read_one(&mut self, key: usize) {
        self.select(self.ledger.key(key).database);
        let name = self.key_name(key);
        match self.ledger.key(key).kind {
            Kind::Queue => {
                self.request(&[&b"LRANGE"[..], &name, b"0", b"-1"], vec![key], Expect::List);
            }
            _ => self.request(&[&b"GET"[..], &name], vec![key], Expect::Read),
        }
    }

    pub(super) fn is_here(&self, key: usize) -> bool {
        let database = self.connection.as_ref().map_or(0, |open| open.database);
        self.ledger.key(key).database == database
    }

    /// A key where it is, but no list.
    pub(super) fn any_key(&mut self) -> usize {
        loop {
            let key = self.random.index(self.ledger.len());
            if self.is_here(key) && self.ledger.key(key).kind != Kind::Queue {
                return key;
            }
        }
    }

    pub(super) fn key_of(&mut self, kind: Kind) -> usize {
        loop {
            let key = self.random.index(self.ledger.len());
            if self.is_here(key) && self.ledger.key(key).kind == kind {
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

    pub(super) fn value(&mut self, plan: &Plan, key: usize) -> Vec<u8> {
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

    pub(super) fn request<W: AsRef<[u8]>>(
        &mut self,
        words: &[W],
        keys: Vec<usize>,
        expect: Expect,
    ) {
        self.raw_request(&wire::command(words), keys, expect);
    }

    pub(super) fn raw_request(&mut self, bytes: &[u8], keys: Vec<usize>, expect: Expect) {
        let number = self.next_number;
        self.next_number += 1;
        if expect.is_write() {
            for key in &keys {
                self.ledger.begin(*key, number);
                self.ledger.note_write(*key, number, World::now_us());
            }
        }
        let slots: Vec<u16> = keys.iter().map(|key| slot_of(&self.ledger.key(*key).name)).collect();
        let is_split = slots.iter().any(|slot| *slot != slots[0]);
        World::note(format_args!("client {}: request {number}: {}", self.index, shown(bytes)));
        let Some(open) = &mut self.connection else { return };
        open.outbox.extend_from_slice(bytes);
        open.queued += bytes.len() as u64;
        let (end, since_us) = (open.queued, World::now_us());
        open.expected.push_back(Request { number, end, keys, expect, since_us, is_split });
    }
}

impl Expect {
    pub(super) fn is_write(&self) -> bool {
        matches!(
            self,
            Expect::Set
                | Expect::Append
                | Expect::Count
                | Expect::Delete
                | Expect::Push
                | Expect::Pop { .. }
        )
    }

    /// Whether its reply decides which protocol is spoken.
    pub(super) fn changes_protocol(&self) -> bool {
        matches!(self, Expect::Hello(_) | Expect::Reset)
    }

    /// Whether a server has to answer.
    pub(super) fn is_served(&self) -> bool {
        !matches!(
            self,
            Expect::Exactly(_)
                | Expect::ErrorLike(_)
                | Expect::AnyBulk
                | Expect::AnyInteger
                | Expect::Multi
                | Expect::Discard(_)
                | Expect::Pong(_)
                | Expect::Reset
                | Expect::Unsubscribed { .. }
        )
    }

    /// Whether the reply may be so large that it is passed on in pieces.
    pub(super) fn may_be_large(&self) -> bool {
        matches!(
            self,
            Expect::Read
                | Expect::ReadMany
                | Expect::List
                | Expect::Outside
                | Expect::Fields
                | Expect::Exec(_)
                | Expect::Scanned
        )
    }

    pub(super) fn ok() -> Expect {
        Expect::Exactly(Value::Status(b"OK".to_vec()))
    }

    pub(super) fn error(text: &str) -> Expect {
        Expect::Exactly(Value::Error(text.as_bytes().to_vec()))
    }

    fn bulk(bytes: &[u8]) -> Expect {
        Expect::Exactly(Value::Bulk(bytes.to_vec()))
    }
}
