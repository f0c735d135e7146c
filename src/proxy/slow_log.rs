//! The requests that took long, and where the time went.
//!
//! Each handler keeps its own newest ones; SLOWLOG and the status page put them together. What an
//! entry keeps of a request is cut as Redis cuts it, so that its size is bounded. It knows no
//! connections and reads no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::order;
use crate::pool::Server;
use crate::sys::Peer;

/// One slow request.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number in the life of the process: later ones have higher ones.
    pub id: u64,
    /// When it was answered, in seconds since the beginning of 1970.
    pub time_s: i64,
    /// How long it took, from being taken from the client to its reply.
    pub total_us: u64,
    /// How much of that passed before it was sent.
    pub queued_us: u64,
    /// Its words, cut.
    pub arguments: Vec<Box<[u8]>>,
    /// Where the client is, if it is still there.
    pub client: Option<Peer>,
    /// What the client calls itself.
    pub client_name: Box<[u8]>,
    /// Who answered.
    pub server: Option<Arc<Server>>,
}

impl Entry {
    /// How long the server, and the way there and back, took.
    #[must_use]
    pub fn server_us(&self) -> u64 {
        self.total_us.saturating_sub(self.queued_us)
    }

    /// Where the client is; nothing if it has left.
    #[must_use]
    pub fn client_address(&self) -> String {
        self.client.map(|peer| peer.to_string()).unwrap_or_default()
    }

    /// The address of the server.
    #[must_use]
    pub fn server_address(&self) -> String {
        self.server.as_ref().map(|server| server.address().to_string()).unwrap_or_default()
    }
}

/// The newest slow requests of one handler.
#[derive(Debug, Default)]
pub struct SlowLog {
    entries: VecDeque<Entry>,
    /// How many there were since the start.
    seen: u64,
}

/// So many words of a request are kept, as in Redis.
const ARGUMENTS_MAX: usize = 32;
/// So many bytes of each, as in Redis.
const ARGUMENT_MAX: usize = 128;

impl SlowLog {
    /// Adds one, and forgets the oldest beyond `entries_max`.
    pub fn push(&mut self, entry: Entry, entries_max: usize) {
        self.seen += 1;
        self.trim(entries_max.saturating_sub(1));
        if entries_max > 0 {
            self.entries.push_back(entry);
        }
    }

    /// Forgets the oldest beyond `entries_max`.
    pub fn trim(&mut self, entries_max: usize) {
        let surplus = self.entries.len().saturating_sub(entries_max);
        self.entries.drain(..surplus);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many there were since the start.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The newest ones, the newest first.
    #[must_use]
    pub fn newest(&self, count: usize) -> Vec<Entry> {
        self.entries.iter().rev().take(count).cloned().collect()
    }
}

/// The newest ones of what all handlers have, the newest first.
#[must_use]
pub fn newest(parts: Vec<Vec<Entry>>, count: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = parts.into_iter().flatten().collect();
    order::sort_by(&mut entries, |one, other| other.id.cmp(&one.id));
    entries.truncate(count);
    entries
}

/// The words of a request as they are kept: `count` of them, got by `argument`.
pub fn cut<'a>(count: usize, argument: impl Fn(usize) -> &'a [u8]) -> Vec<Box<[u8]>> {
    let kept = if count > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { count };
    let mut arguments: Vec<Box<[u8]>> = (0..kept).map(|index| cut_one(argument(index))).collect();
    if count > kept {
        arguments.push(format!("... ({} more arguments)", count - kept).into_bytes().into());
    }
    arguments
}

fn cut_one(argument: &[u8]) -> Box<[u8]> {
    match argument.split_at_checked(ARGUMENT_MAX) {
        Some((kept, rest)) if !rest.is_empty() => {
            [kept, format!("... ({} more bytes)", rest.len()).as_bytes()].concat().into()
        }
        _ => argument.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64) -> Entry {
        Entry {
            id,
            time_s: 0,
            total_us: 30,
            queued_us: 10,
            arguments: Vec::new(),
            client: None,
            client_name: Box::default(),
            server: None,
        }
    }

    fn ids(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn the_newest_are_kept() {
        let mut log = SlowLog::default();
        (1..=5).for_each(|id| log.push(entry(id), 3));
        assert_eq!((ids(&log.newest(10)), log.len(), log.seen()), (vec![5, 4, 3], 3, 5));
        assert_eq!(ids(&log.newest(2)), [5, 4]);
        log.trim(1);
        assert_eq!(ids(&log.newest(10)), [5]);
        log.push(entry(6), 0);
        assert!(log.is_empty());
        log.push(entry(7), 1);
        log.clear();
        assert_eq!((log.len(), log.seen()), (0, 7));
    }

    #[test]
    fn handlers_are_put_together_by_age() {
        let parts = vec![vec![entry(9), entry(2)], vec![], vec![entry(8), entry(4)]];
        assert_eq!(ids(&newest(parts, 3)), [9, 8, 4]);
        assert_eq!(entry(1).server_us(), 20);
    }

    #[test]
    fn long_requests_are_cut_as_redis_cuts_them() {
        let shown = |words: &[String]| -> Vec<String> {
            let cut = cut(words.len(), |index| words[index].as_bytes());
            cut.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
        };
        let words = |count: usize| -> Vec<String> { (0..count).map(|n| n.to_string()).collect() };
        assert_eq!(shown(&words(32)), words(32));
        let many = shown(&words(40));
        assert_eq!((many.len(), &many[31][..]), (32, "... (9 more arguments)"));
        assert_eq!(shown(&["x".repeat(128)])[0], "x".repeat(128));
        assert_eq!(shown(&["x".repeat(130)])[0], "x".repeat(128) + "... (2 more bytes)");
    }
}
