//! What a simulated client makes of the replies. Knows the ledger of its keys.

use predixy::sys::sim::World;

use super::asking::Expect;
use super::client::Client;
use super::commands::{DIGEST, elements, timeout_us};
use super::ledger::{Fate, Found};
use super::model::Model;
use super::plan::Plan;
use super::wire::{Value, shown};

/// A request that waits for its reply.
pub(super) struct Request {
    pub number: u32,
    /// Where it ends in all that was queued on this connection.
    pub end: u64,
    pub keys: Vec<usize>,
    pub expect: Expect,
    /// When it was made.
    pub since_us: u64,
    /// Its keys are in several slots.
    pub is_split: bool,
}

/// While a slot changes hands the proxy does not wait longer than this for what is under way to
/// its old owner; what comes back later is given back.
const ORDER_US: u64 = 500_000;
/// What EXEC says when a command could not be queued.
const EXEC_ABORT: &str = "EXECABORT Transaction discarded because of previous errors.";

impl Client {
    pub(super) fn check(&mut self, model: &Model, plan: &Plan, request: &Request, value: &Value) {
        let number = request.number;
        self.hear(request, value);
        let wrong = || panic!("client {} got {value:?} for {number}", self.index);
        if let (Value::Error(text), true) = (value, request.expect.is_served()) {
            return self.take_error(model, plan, request, text);
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
                self.settle(model, request, Fate::Done);
            }
            (Expect::Append, Value::Integer(length)) => {
                self.settle(model, request, Fate::Done);
                let entry = self.ledger.execution(&model.data, request.keys[0], number);
                let want =
                    entry.and_then(|entry| entry.value.as_ref()).map_or(0, |value| value.len());
                assert_eq!(*length, i64::try_from(want).unwrap_or(0), "APPEND {number}");
            }
            (Expect::Count, Value::Integer(count)) => {
                let (key, since_us) = (request.keys[0], request.since_us);
                self.ledger.check_count(&model.data, key, number, since_us, *count);
            }
            (Expect::Delete, Value::Integer(count)) => {
                self.settle(model, request, Fate::Done);
                let removed = |key: &&usize| {
                    self.ledger
                        .execution(&model.data, **key, number)
                        .is_some_and(|entry| entry.removed)
                };
                let want = request.keys.iter().filter(removed).count();
                assert_eq!(*count, i64::try_from(want).unwrap_or(0), "DEL {number}");
            }
            (Expect::Read, got) => self.check_read(model, request.keys[0], request, got),
            (Expect::ReadMany, Value::Array(values)) => {
                assert_eq!(values.len(), request.keys.len(), "MGET {number}");
                for (key, got) in request.keys.iter().zip(values) {
                    self.check_read(model, *key, request, got);
                }
            }
            (Expect::Watch | Expect::Multi, Value::Status(text)) if text == b"OK" => {}
            (Expect::Queued, Value::Status(text)) if text == b"QUEUED" => {}
            (Expect::Outside, got) => self.check_read(model, request.keys[0], request, got),
            (Expect::Exec(pact), got) => self.check_exec(model, plan, request, pact, got),
            (Expect::Discard(pact), Value::Status(text)) if text == b"OK" => {
                self.settle_pact(model, pact, Fate::Never);
            }
            (Expect::Push, Value::Integer(length)) => {
                self.settle(model, request, Fate::Done);
                let entry = self.ledger.execution(&model.data, request.keys[0], number);
                let want = elements(entry.and_then(|entry| entry.value.as_deref())).len();
                assert_eq!(usize::try_from(*length), Ok(want), "RPUSH {number}");
            }
            (Expect::List, Value::Array(values)) => {
                let list = values.iter().flat_map(|value| match value {
                    Value::Bulk(element) => [element.as_slice(), b"\n"].concat(),
                    other => panic!("client {} got {other:?} for {number}", self.index),
                });
                let list = Some(list.collect::<Vec<u8>>()).filter(|list| !list.is_empty());
                self.check_bytes(model, request.keys[0], request, list.as_deref());
            }
            (Expect::Pop { .. }, Value::Array(values)) => {
                self.settle(model, request, Fate::Done);
                let name = self.key_name(request.keys[0]);
                let entry = self.ledger.execution(&model.data, request.keys[0], number);
                let taken = entry.and_then(|entry| entry.taken.clone()).unwrap_or_default();
                let want = [Value::Bulk(name), Value::Bulk(taken)];
                assert!(values[..] == want, "client {} got {values:?}, not {want:?}", self.index);
            }
            (Expect::Pop { timeout }, Value::Null) => {
                self.settle(model, request, Fate::Never);
                let (timeout_us, waited_us) =
                    (timeout_us(timeout), World::now_us() - request.since_us);
                let is_over = timeout_us > 0 && waited_us >= timeout_us;
                assert!(is_over, "client {}: {number} blocked for {waited_us} us", self.index);
            }
            (Expect::Fields, Value::Array(fields) | Value::Map(fields)) => {
                self.check_protocol(value);
                let got = match &fields[..] {
                    [] => None,
                    [Value::Bulk(name), Value::Bulk(bytes)] if name == b"value" => {
                        Some(bytes.as_slice())
                    }
                    _ => return wrong(),
                };
                self.check_bytes(model, request.keys[0], request, got);
            }
            (Expect::Published, Value::Integer(count)) => {
                self.settle_published(model, number, Fate::Done);
                let place = model.radio.find((self.index, number));
                let want = place.map(|place| model.radio.publication(place).count);
                assert_eq!(Some(*count), want, "PUBLISH {number}");
            }
            (Expect::Pong(text), got) => self.check_pong(plan, number, text, got),
            (Expect::Hello(version), Value::Array(fields) | Value::Map(fields)) => {
                self.speak_resp3(*version == 3);
                self.check_protocol(value);
                let is_named = |pair: &&[Value]| pair[0] == Value::Bulk(b"proto".to_vec());
                let spoken = fields.chunks_exact(2).find(is_named).map(|pair| &pair[1]);
                assert_eq!(spoken, Some(&Value::Integer(i64::from(*version))), "HELLO {number}");
            }
            (Expect::Reset, Value::Status(text)) if text == b"RESET" => {
                self.speak_resp3(false);
                if let Some(open) = &mut self.connection {
                    open.ear.close();
                }
            }
            (Expect::Loaded, Value::Bulk(digest)) if digest == DIGEST.as_bytes() => {}
            (Expect::Scanned, got) => self.check_scan(plan, got),
            (Expect::Length, Value::Integer(length)) => {
                let found =
                    self.ledger.possible(&model.data, request.keys[0], number, request.since_us);
                let fits = |found: &Found<'_>| found.value.map_or(0, <[u8]>::len) as i64 == *length;
                assert!(found.iter().any(fits), "STRLEN {number} gave {length}");
            }
            (Expect::Presence, Value::Integer(count)) => {
                let (mut least, mut most) = (0, 0);
                for key in &request.keys {
                    let found = self.ledger.possible(&model.data, *key, number, request.since_us);
                    assert!(!found.is_empty(), "EXISTS {number} was not asked");
                    least += i64::from(found.iter().all(|found| found.value.is_some()));
                    most += i64::from(found.iter().any(|found| found.value.is_some()));
                }
                let fits = (least..=most).contains(count);
                assert!(fits, "EXISTS {number} gave {count}, not {least} to {most}");
            }
            _ => wrong(),
        }
    }

    /// Maps are for those who know them.
    fn check_protocol(&self, value: &Value) {
        let is_map = matches!(value, Value::Map(_));
        let speaks_resp3 = self.connection.as_ref().is_some_and(|open| open.ear.speaks_resp3);
        assert_eq!(is_map, speaks_resp3, "client {} got {value:?}", self.index);
    }

    fn speak_resp3(&mut self, speaks_resp3: bool) {
        if let Some(open) = &mut self.connection {
            open.ear.speaks_resp3 = speaks_resp3;
        }
    }

    fn check_pong(&self, plan: &Plan, number: u32, text: &[u8], got: &Value) {
        let pong = Value::Bulk(b"pong".to_vec());
        let as_subscriber = Value::Array(vec![pong, Value::Bulk(text.to_vec())]);
        // As to anybody else, if what it wanted to be subscribed to was refused.
        let as_others = match text {
            [] => Value::Status(b"PONG".to_vec()),
            text => Value::Bulk(text.to_vec()),
        };
        let fits = *got == as_subscriber || plan.allows.lossy && *got == as_others;
        assert!(fits, "client {} got {got:?} for {number}", self.index);
    }

    fn check_read(&mut self, model: &Model, key: usize, request: &Request, got: &Value) {
        let got = match got {
            Value::Bulk(bytes) => Some(bytes.as_slice()),
            Value::Null => None,
            other => panic!("client {} got {other:?} for {}", self.index, request.number),
        };
        self.check_bytes(model, key, request, got);
    }

    fn check_bytes(&mut self, model: &Model, key: usize, request: &Request, got: Option<&[u8]>) {
        let Request { number, since_us, .. } = *request;
        self.ledger.check_read(&model.data, key, number, since_us, got);
        if self.is_auditing {
            let name = self.key_name(key);
            assert!(model.value(&name) == got, "{} is not what is there", shown(&name));
        }
    }

    /// An error in the place of a reply of a server: whether it may be, and what follows.
    fn take_error(&mut self, model: &Model, plan: &Plan, request: &Request, text: &[u8]) {
        let name = String::from_utf8_lossy(text).into_owned();
        let lossy = plan.allows.lossy && !self.is_auditing;
        let (allowed, fate) = match &*name {
            "ERR server connection close" => (lossy, Fate::Maybe),
            // The order could not be kept for so long.
            "ERR no server connection avaliable" => {
                let is_late = World::now_us() > request.since_us + ORDER_US;
                (lossy || (plan.allows.moved_slots && is_late && !self.is_auditing), Fate::Never)
            }
            "ERR no server avaliable"
            | "CLUSTERDOWN Hash slot not served"
            | "CLUSTERDOWN The cluster is down"
            | "READONLY You can't write against a read only replica."
            | "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
            | "LOADING Redis is loading the dataset in memory" => (lossy, Fate::Never),
            EXEC_ABORT => {
                let was_refused = std::mem::take(&mut self.hearing().refused);
                let is_spoiled = matches!(&request.expect, Expect::Exec(pact) if pact.is_spoiled);
                (was_refused || is_spoiled || lossy, Fate::Never)
            }
            _ if name.starts_with("EXECABORT Transaction discarded because of: ") => {
                (lossy || plan.allows.split_slots, Fate::Never)
            }
            _ if name.starts_with("NOSCRIPT ") => {
                (lossy || plan.allows.forgotten_scripts, Fate::Never)
            }
            _ if name.starts_with("UNBLOCKED ") => (plan.allows.role_changes, Fate::Never),
            "ERR the request takes more memory than MaxMemory leaves" => {
                (plan.allows.scarce_memory && !self.is_auditing, Fate::Never)
            }
            "ERR Protocol error: too big for me" => (plan.allows.early_errors, Fate::Never),
            _ if name.starts_with("TRYAGAIN ") => {
                let several = request.keys.len() > 1 || self.is_in_session(request);
                (several && plan.allows.split_slots && !self.is_auditing, Fate::Never)
            }
            // The way that it shows could not be followed.
            _ if name.starts_with("MOVED ") => (lossy, Fate::Never),
            // A transaction does not follow.
            _ if name.starts_with("ASK ") => {
                (lossy || plan.allows.split_slots && self.is_in_session(request), Fate::Never)
            }
            _ => (false, Fate::Maybe),
        };
        assert!(allowed, "client {} got an error for {}: {name}", self.index, request.number);
        self.tally.errors += 1;
        // Of a request that was split, other parts may have been executed.
        let fate = if request.is_split { Fate::Maybe } else { fate };
        self.settle(model, request, fate);
    }

    /// Whether it is a step of something that has a connection to a server of its own.
    fn is_in_session(&self, request: &Request) -> bool {
        matches!(request.expect, Expect::Queued | Expect::Exec(_) | Expect::Watch)
    }

    pub(super) fn settle(&mut self, model: &Model, request: &Request, fate: Fate) {
        match &request.expect {
            Expect::Exec(pact) => return self.settle_pact(model, pact, fate),
            Expect::Discard(pact) => return self.settle_pact(model, pact, Fate::Never),
            Expect::Scanned => self.give_up_scan(),
            // Nobody has said that servers know it.
            Expect::Loaded => self.has_loaded = false,
            Expect::Published => return self.settle_published(model, request.number, fate),
            _ => {}
        }
        if request.expect.is_write() {
            for key in &request.keys {
                self.ledger.settle(&model.data, *key, request.number, fate);
            }
        }
    }
}
