//! What a client knows of its keys: what it wrote, how that went, and so what a read may give.
//!
//! Each key belongs to one client. What the servers executed is in the cluster's history; the
//! ledger checks that it fits to what the client was told. A write is done, or was never sent, or
//! may have been executed, once, and late. A write that is done was executed after all that this
//! client had sent for the key before, and a read gives what was there after the last write that
//! is done, unless it is something that may have been executed.

use std::collections::BTreeMap;

use super::cluster::{Cluster, Entry, Tag};
use super::wire::shown;

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// There is no reply yet.
    Pending,
    /// It was executed, once.
    Done,
    /// It was executed once or not at all, and may still be.
    Maybe,
    /// It is not and will not be executed.
    Never,
}

/// All keys of one client.
pub struct Ledger {
    client: usize,
    keys: Vec<Key>,
    /// Nothing can have happened that the client was not told.
    pub is_strict: bool,
}

/// One key.
pub struct Key {
    pub name: Vec<u8>,
    pub hash_tag: String,
    pub kind: Kind,
    writes: BTreeMap<u32, Write>,
    /// The place in the history of the last write that is done.
    floor: Option<usize>,
    /// For what only counts: the last number that it was told, and how often it was.
    counted: i64,
    done: i64,
    /// Its requests may have been executed in another order than they were sent.
    is_loose: bool,
}

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SET, MSET and DEL.
    Register,
    /// APPEND.
    Log,
    /// INCR.
    Counter,
}

struct Write {
    fate: Fate,
    /// Something that the client sent before has seen it.
    was_overtaken: bool,
}

impl Ledger {
    /// A client with keys of every kind for each of some hash tags.
    pub fn new(client: usize, tags: usize, is_strict: bool) -> Ledger {
        let kinds =
            [("r", Kind::Register), ("s", Kind::Register), ("l", Kind::Log), ("n", Kind::Counter)];
        let mut keys = Vec::new();
        for tag in 0..tags {
            for (suffix, kind) in kinds {
                let hash_tag = format!("c{client}t{tag}");
                let name = format!("{{{hash_tag}}}{suffix}").into_bytes();
                let writes = BTreeMap::new();
                keys.push(Key {
                    name,
                    hash_tag,
                    kind,
                    writes,
                    floor: None,
                    counted: 0,
                    done: 0,
                    is_loose: false,
                });
            }
        }
        Ledger { client, keys, is_strict }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn key(&self, key: usize) -> &Key {
        &self.keys[key]
    }

    /// A request was under way for longer than the proxy keeps the order while slots move: from
    /// now on it only counts that everything was executed as often as it should be.
    pub fn loosen(&mut self, key: usize) {
        self.keys[key].is_loose = true;
    }

    /// A write is about to be sent.
    pub fn begin(&mut self, key: usize, number: u32) {
        let write = Write { fate: Fate::Pending, was_overtaken: false };
        self.keys[key].writes.insert(number, write);
    }

    /// It is known how a write went.
    pub fn settle(&mut self, cluster: &Cluster, key: usize, number: u32, fate: Fate) {
        let tag = (self.client, number);
        let key = &mut self.keys[key];
        let history = cluster.history(&key.name);
        let Some(write) = key.writes.get_mut(&number) else { return };
        write.fate = fate;
        let at = history.iter().position(|entry| entry.tag == Some(tag));
        match fate {
            Fate::Done => {
                let was_overtaken = write.was_overtaken && !key.is_loose;
                assert!(!was_overtaken, "{tag:?} was seen by a read that was sent before it");
                let Some(at) = at else {
                    assert!(key.kind == Kind::Counter, "{tag:?} is said to be done and was not");
                    return;
                };
                let early = history[..at].iter().find(|entry| numbered(entry) > Some(number));
                if let Some(entry) = early.filter(|_| !key.is_loose) {
                    panic!("{:?} was executed before {tag:?}, which was sent before it", entry.tag);
                }
                key.floor = key.floor.max(Some(at));
            }
            Fate::Never => {
                assert!(at.is_none(), "{tag:?} is said to be never sent but was executed")
            }
            Fate::Maybe | Fate::Pending => {}
        }
    }

    /// The execution of a write that is done.
    pub fn execution<'a>(
        &self,
        cluster: &'a Cluster,
        key: usize,
        number: u32,
    ) -> Option<&'a Entry> {
        let tag: Tag = (self.client, number);
        cluster.history(&self.keys[key].name).iter().find(|entry| entry.tag == Some(tag))
    }

    /// INCR has given a number.
    pub fn check_count(&mut self, key: usize, number: u32, count: i64) {
        self.settle_count(key, number);
        let maybe = self.maybe(key, number);
        let key = &mut self.keys[key];
        assert!(
            key.is_loose || count > key.counted && count - key.done <= maybe,
            "INCR gave {count} after {}: {} are done and {maybe} may be",
            key.counted,
            key.done
        );
        key.counted = count;
    }

    fn settle_count(&mut self, key: usize, number: u32) {
        let key = &mut self.keys[key];
        key.done += 1;
        if let Some(write) = key.writes.get_mut(&number) {
            write.fate = Fate::Done;
        }
    }

    /// How many writes before `number` may have been executed.
    fn maybe(&self, key: usize, number: u32) -> i64 {
        let before = self.keys[key].writes.range(..number);
        before.map(|(_, write)| i64::from(write.fate == Fate::Maybe)).sum()
    }

    /// A read that was sent as `number` gave this.
    pub fn check_read(&mut self, cluster: &Cluster, key: usize, number: u32, got: Option<&[u8]>) {
        if self.keys[key].kind == Kind::Counter {
            return self.check_counter(key, number, got);
        }
        let states = self.possible(cluster, key, number);
        let fits = |state: &&State<'_>| state.value == got;
        let found = states.iter().find(|state| fits(state) && state.later.is_none());
        match found.or_else(|| states.iter().find(fits)) {
            Some(State { later: None, .. }) => {}
            Some(State { later: Some(later), .. }) => {
                let later = *later;
                let is_loose = self.keys[key].is_loose;
                if let Some(write) = self.keys[key].writes.get_mut(&later) {
                    let fate = write.fate;
                    assert!(
                        is_loose || fate != Fate::Done,
                        "a read saw {later}, which was sent after it"
                    );
                    write.was_overtaken = true;
                }
            }
            None => panic!(
                "{} gave {} where one of {:?} was",
                shown(&self.keys[key].name),
                got.map_or("nothing".into(), shown),
                states.iter().map(|state| state.value.map(shown)).collect::<Vec<_>>()
            ),
        }
    }

    fn check_counter(&mut self, key: usize, number: u32, got: Option<&[u8]>) {
        let text = got.map_or("0".into(), String::from_utf8_lossy);
        let count: i64 = text.parse().unwrap_or(-1);
        if self.keys[key].is_loose {
            return;
        }
        let most = match self.is_strict {
            true => self.keys[key].done + self.maybe(key, number),
            false => self.keys[key].done + self.maybe(key, u32::MAX) + self.pending(key),
        };
        let least = self.keys[key].counted;
        assert!((least..=most).contains(&count), "a counter is {count}, not {least} to {most}");
    }

    fn pending(&self, key: usize) -> i64 {
        let writes = self.keys[key].writes.values();
        writes.map(|write| i64::from(write.fate == Fate::Pending)).sum()
    }

    /// The lengths that a key may have had for a read; 0 is also that it was not there.
    pub fn possible_lengths(&self, cluster: &Cluster, key: usize, number: u32) -> Vec<usize> {
        let states = self.possible(cluster, key, number);
        states.iter().map(|state| state.value.map_or(0, <[u8]>::len)).collect()
    }

    /// Whether a key may have been missing, and whether it may have been there.
    pub fn possible_presence(&self, cluster: &Cluster, key: usize, number: u32) -> (bool, bool) {
        let states = self.possible(cluster, key, number);
        let is_there = |state: &State<'_>| state.value.is_some();
        (!states.iter().all(is_there), states.iter().any(is_there))
    }

    /// What a read that was sent as `number` may have found.
    fn possible<'a>(&self, cluster: &'a Cluster, key: usize, number: u32) -> Vec<State<'a>> {
        let key = &self.keys[key];
        let history = cluster.history(&key.name);
        let floor = key.floor.filter(|_| !key.is_loose);
        let first = match floor {
            Some(floor) => State { value: history[floor].value.as_deref(), later: None },
            None => State { value: None, later: None },
        };
        let mut states = vec![first];
        for entry in &history[floor.map_or(0, |floor| floor + 1)..] {
            let later = numbered(entry).filter(|executed| *executed > number);
            if later.is_none() || !self.is_strict || key.is_loose {
                states.push(State { value: entry.value.as_deref(), later });
            }
        }
        states
    }

    /// When everything is over: what was executed is what the client was told.
    pub fn check_end(&self, cluster: &Cluster) {
        for (index, key) in self.keys.iter().enumerate() {
            let history = cluster.history(&key.name);
            if key.kind == Kind::Counter {
                let count = i64::try_from(history.len()).unwrap_or(i64::MAX);
                let most = key.done + self.maybe(index, u32::MAX);
                assert!(
                    (key.done..=most).contains(&count),
                    "{} INCRs were executed, not {} to {most}",
                    count,
                    key.done
                );
                continue;
            }
            for (number, write) in &key.writes {
                let tag = Some((self.client, *number));
                let times = history.iter().filter(|entry| entry.tag == tag).count();
                let fits = match write.fate {
                    Fate::Done => times == 1,
                    Fate::Never => times == 0,
                    Fate::Maybe => times <= 1,
                    Fate::Pending => false,
                };
                assert!(fits, "{tag:?} was executed {times} times and is {:?}", write.fate);
            }
            for entry in history {
                let number = numbered(entry);
                let is_own = number.is_some_and(|number| key.writes.contains_key(&number));
                assert!(is_own, "{:?} is nobody's", entry.tag);
            }
        }
    }
}

struct State<'a> {
    value: Option<&'a [u8]>,
    /// The write that made it so, if it was sent after the read.
    later: Option<u32>,
}

fn numbered(entry: &Entry) -> Option<u32> {
    entry.tag.map(|(_, number)| number)
}
