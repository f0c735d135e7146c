//! What a client knows of its keys: what it wrote, how that went, and so what a read may give.
//!
//! Each key belongs to one client. What the servers executed is in their history; the ledger
//! checks that it fits to what the client was told. A write is done, or was never sent, or may
//! have been executed, once, and late. A write that is done was executed after all that this
//! client had sent for the key before. A read gives what a server had when it executed that read:
//! on a master that is what was there after the last write that is done, or something later; only
//! what the servers themselves have lost in a failover may be missing. On a replica it may be
//! older, where reads may go there.

use std::collections::{BTreeMap, BTreeSet};

use super::data::{Data, Entry, Sight, Tag};
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
    rules: Rules,
}

/// What reads may show.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Nothing can have happened that the client was not told.
    pub is_strict: bool,
    /// Replicas are read from.
    pub reads_replicas: bool,
    /// Roles change, so that who was a master may get a read for one.
    pub roles_change: bool,
    /// What is sent for a key is executed in that order. It is not while a slot changes hands there
    /// and back in a round trip, as when nodes refer those who ask to each other.
    pub keeps_order: bool,
    /// For so long after a write reads go to the master.
    pub read_your_writes_us: u64,
}

/// One key.
pub struct Key {
    pub name: Vec<u8>,
    pub hash_tag: String,
    pub database: u32,
    pub kind: Kind,
    writes: BTreeMap<u32, Fate>,
    /// The versions that were written by what is done.
    done: BTreeSet<usize>,
    /// The latest version that a master has shown.
    seen: usize,
    /// When which write for any key of the same hash tag was sent on this connection.
    wrote_us: BTreeMap<u32, u64>,
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
    /// INCR, and only in transactions.
    Apart,
    /// Others write it; it is only read, and watched.
    Watched,
    /// RPUSH and BLPOP; others put something in, too.
    Queue,
}

/// What a read may have found.
pub struct Found<'a> {
    pub value: Option<&'a [u8]>,
    sight: Sight,
    /// It proves nothing about the order of things.
    is_free: bool,
}

impl Ledger {
    /// A client with keys of every kind for each of some hash tags, which are spread over the
    /// databases.
    pub fn new(client: usize, tags: usize, databases: u32, rules: Rules) -> Ledger {
        let kinds = [
            ("r", Kind::Register),
            ("s", Kind::Register),
            ("l", Kind::Log),
            ("n", Kind::Counter),
            ("x", Kind::Apart),
            ("w", Kind::Watched),
            ("q", Kind::Queue),
        ];
        let mut keys = Vec::new();
        for tag in 0..tags {
            let database = u32::try_from(client + tag).unwrap_or(0) % databases;
            for (suffix, kind) in kinds {
                let hash_tag = format!("c{client}t{tag}d{database}");
                let name = format!("{{{hash_tag}}}{suffix}").into_bytes();
                keys.push(Key {
                    name,
                    hash_tag,
                    database,
                    kind,
                    writes: BTreeMap::new(),
                    done: BTreeSet::new(),
                    seen: 0,
                    wrote_us: BTreeMap::new(),
                });
            }
        }
        Ledger { client, keys, rules }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn key(&self, key: usize) -> &Key {
        &self.keys[key]
    }

    /// A write is about to be sent.
    pub fn begin(&mut self, key: usize, number: u32) {
        self.keys[key].writes.insert(number, Fate::Pending);
    }

    /// From now on reads of the place have to be the master's, for a while.
    pub fn note_write(&mut self, key: usize, number: u32, now_us: u64) {
        let hash_tag = self.keys[key].hash_tag.clone();
        for same in self.keys.iter_mut().filter(|same| same.hash_tag == hash_tag) {
            same.wrote_us.insert(number, now_us);
        }
    }

    /// The client has a new connection, of which the proxy knows nothing yet.
    pub fn connect(&mut self) {
        self.keys.iter_mut().for_each(|key| key.wrote_us.clear());
    }

    /// It is known how a write went.
    pub fn settle(&mut self, data: &Data, key: usize, number: u32, fate: Fate) {
        let tag = (self.client, number);
        let keeps_order = self.rules.keeps_order;
        let key = &mut self.keys[key];
        let Some(write) = key.writes.get_mut(&number) else { return };
        *write = fate;
        if key.is_counter() {
            return;
        }
        let history = data.history(&key.name);
        let at = history.iter().position(|entry| entry.tag == Some(tag));
        match fate {
            Fate::Done => {
                let Some(at) = at else { panic!("{tag:?} is said to be done and was not") };
                if history[at].is_lost || !keeps_order {
                    key.done.insert(at + 1);
                    return;
                }
                let is_late = |entry: &&Entry| numbered(entry) > Some(number) && !entry.is_lost;
                if let Some(entry) = history[..at].iter().find(is_late) {
                    panic!("{:?} was executed before {tag:?}, which was sent before it", entry.tag);
                }
                key.check_unseen(at + 1, tag);
                key.done.insert(at + 1);
            }
            Fate::Never => {
                assert!(at.is_none(), "{tag:?} is said to be never sent but was executed")
            }
            Fate::Maybe | Fate::Pending => {}
        }
    }

    /// Whether there is no write of which nobody knows how it went, or whether it will last.
    pub fn is_certain(&self, key: usize) -> bool {
        let mut fates = self.keys[key].writes.values();
        fates.all(|fate| matches!(fate, Fate::Done | Fate::Never))
    }

    /// The execution of a write that is done.
    pub fn execution<'a>(&self, data: &'a Data, key: usize, number: u32) -> Option<&'a Entry> {
        let tag: Tag = (self.client, number);
        data.history(&self.keys[key].name).iter().find(|entry| entry.tag == Some(tag))
    }

    /// INCR has given a number. Nobody can tell executions apart but by what they gave and when:
    /// one that gave this number must be there, and is this one's from now on.
    pub fn check_count(&mut self, data: &Data, key: usize, number: u32, since_us: u64, count: i64) {
        let tag = (self.client, number);
        let keeps_order = self.rules.keeps_order;
        let key = &mut self.keys[key];
        let text = count.to_string().into_bytes();
        let history = data.history(&key.name);
        let is_it = |version: &usize| {
            let entry = &history[*version - 1];
            entry.value.as_deref() == Some(&text) && entry.at_us >= since_us
        };
        let version = (1..=history.len())
            .filter(|version| !key.done.contains(version))
            .find(is_it)
            .unwrap_or_else(|| panic!("INCR {tag:?} gave {count}, which nobody counted"));
        if keeps_order && !history[version - 1].is_lost {
            let later = key.done.range(version..).find(|later| !history[**later - 1].is_lost);
            assert!(
                later.is_none(),
                "INCR {tag:?} was executed before one that was sent before it"
            );
            key.check_unseen(version, tag);
        }
        key.done.insert(version);
        key.writes.insert(number, Fate::Done);
    }

    /// A read that was sent as `number` gave this.
    pub fn check_read(
        &mut self,
        data: &Data,
        key: usize,
        number: u32,
        since_us: u64,
        got: Option<&[u8]>,
    ) {
        let found = self.possible(data, key, number, since_us);
        // If several fit, the one that proves least counts.
        let fits = found.iter().filter(|found| found.value == got);
        let Some(best) = fits.min_by_key(|found| (!found.is_free, found.sight.version)) else {
            panic!(
                "{} gave {} to {number} where one of {:?} was; {}",
                shown(&self.keys[key].name),
                shown(got.unwrap_or(b"nothing")),
                found.iter().map(|found| found.value.map(shown)).collect::<Vec<_>>(),
                self.explain(data, key, since_us),
            );
        };
        if !best.is_free {
            let version = best.sight.version;
            let is_lost = version > 0 && data.history(&self.keys[key].name)[version - 1].is_lost;
            if !is_lost {
                self.keys[key].seen = self.keys[key].seen.max(version);
            }
        }
    }

    fn explain(&self, data: &Data, key: usize, since_us: u64) -> String {
        let key = &self.keys[key];
        let sights = data.sights(&key.name).iter().filter(|sight| sight.at_us >= since_us);
        format!("done are {:?}, seen were {:?}", key.done, sights.collect::<Vec<_>>())
    }

    /// What a read that was sent as `number` may have found.
    pub fn possible<'a>(
        &self,
        data: &'a Data,
        key: usize,
        number: u32,
        since_us: u64,
    ) -> Vec<Found<'a>> {
        let key = &self.keys[key];
        let sights = data.sights(&key.name).iter().filter(|sight| sight.at_us >= since_us);
        let allowed = sights.filter(|sight| self.allows(data, key, number, sight));
        let found = allowed.map(|sight| Found {
            value: data.value_of(&key.name, sight.version),
            sight: *sight,
            is_free: self.is_free(key, number, sight),
        });
        found.collect()
    }

    /// Whether a read that was sent as `number` may have seen this.
    fn allows(&self, data: &Data, key: &Key, number: u32, sight: &Sight) -> bool {
        if self.is_free(key, number, sight) {
            return true;
        }
        if sight.at_replica {
            return false;
        }
        let history = data.history(&key.name);
        let mut newer = key.done.range(sight.version + 1..);
        let is_old = self.rules.keeps_order && newer.any(|done| !history[done - 1].is_lost);
        let latest = sight.version.checked_sub(1).map(|at| &history[at]);
        let is_early = self.rules.is_strict && latest.and_then(numbered) > Some(number);
        !is_old && !is_early
    }

    /// Whether a read may be out of step with the writes of its client: where replicas are read
    /// from it may go to one first, even if that sends it on to a master.
    fn is_free(&self, key: &Key, number: u32, sight: &Sight) -> bool {
        let Rules { reads_replicas, roles_change, read_your_writes_us, .. } = self.rules;
        let wrote = key.wrote_us.range(..number).next_back();
        let has_written =
            wrote.is_some_and(|(_, wrote_us)| sight.at_us < wrote_us + read_your_writes_us);
        // Who was a master may be taken for one a little longer.
        let by_role = roles_change && sight.at_replica && sight.at_former_master;
        by_role || (reads_replicas && !has_written)
    }

    /// When everything is over: what was executed is what the client was told.
    pub fn check_end(&self, data: &Data) {
        for key in &self.keys {
            let history = data.history(&key.name);
            let fates = key.writes.values();
            if key.is_counter() {
                let unclaimed = history.len() - key.done.len();
                let maybe = fates.filter(|fate| **fate == Fate::Maybe).count();
                assert!(
                    unclaimed <= maybe,
                    "{unclaimed} INCRs of {} were executed that failed, of {maybe} at most",
                    shown(&key.name)
                );
                continue;
            }
            for (number, fate) in &key.writes {
                let tag = Some((self.client, *number));
                let times = history.iter().filter(|entry| entry.tag == tag).count();
                let fits = match fate {
                    Fate::Done => times == 1,
                    Fate::Never => times == 0,
                    Fate::Maybe => times <= 1,
                    Fate::Pending => false,
                };
                assert!(fits, "{tag:?} was executed {times} times and is {fate:?}");
            }
            for entry in history {
                let number = numbered(entry);
                if number.is_none() && matches!(key.kind, Kind::Watched | Kind::Queue) {
                    continue;
                }
                let is_own = number.is_some_and(|number| key.writes.contains_key(&number));
                assert!(is_own, "{:?} is nobody's", entry.tag);
            }
        }
    }
}

impl Key {
    fn is_counter(&self) -> bool {
        matches!(self.kind, Kind::Counter | Kind::Apart)
    }

    /// A write that is done must not have been seen by a read that was sent before it.
    fn check_unseen(&self, version: usize, tag: Tag) {
        assert!(version > self.seen, "{tag:?} was seen by a read that was sent before it");
    }
}

fn numbered(entry: &Entry) -> Option<u32> {
    entry.tag.map(|(_, number)| number)
}
