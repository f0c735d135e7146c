//! The cursor of SCAN as clients see it, and which masters it is good for.
//!
//! A client's cursor is predixy's: the server's own, shifted by ten bits, and the group that is
//! visited in these. A server's cursor means nothing to another server, because each orders its
//! keys by a secret of its own. So when a group has got another master, a cursor that is still
//! for the old one must not be sent to it: it would miss keys. Three more bits tell which master
//! of its group, counted since the start, a cursor is for; they are zero while it is the first,
//! and the highest bit always is, for clients that take cursors for signed numbers.

use std::sync::{Mutex, PoisonError};

use crate::base::sorted_map::SortedMap;
use crate::pool::{GroupId, ServerId, Topology};

/// Where a client is in its iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanCursor {
    /// The index of the group that is visited.
    pub group: usize,
    /// Which of the group's masters `at` is for; of no meaning if that is 0.
    pub generation: u8,
    /// The server's own cursor.
    pub at: u64,
}

/// A server's cursor, or a group, is too large to be part of a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

const GROUP_BITS: u32 = 10;
const AT_BITS: u32 = 50;
const GENERATIONS: u8 = 8;

impl ScanCursor {
    /// Reads what a client sent. `None` if no cursor of ours can look so.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<ScanCursor> {
        if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        let group = usize::try_from(number & low_bits(GROUP_BITS)).ok()?;
        let generation = u8::try_from(number >> (GROUP_BITS + AT_BITS)).ok()?;
        let at = number >> GROUP_BITS & low_bits(AT_BITS);
        (generation < GENERATIONS).then_some(ScanCursor { group, generation, at })
    }

    /// The number that the client is to send next.
    ///
    /// # Errors
    ///
    /// When there is no such number.
    pub fn encode(self) -> Result<u64, TooLarge> {
        let group = self.group as u64;
        if group > low_bits(GROUP_BITS) || self.at > low_bits(AT_BITS) {
            return Err(TooLarge);
        }
        let generation = u64::from(self.generation % GENERATIONS);
        Ok(generation << (GROUP_BITS + AT_BITS) | self.at << GROUP_BITS | group)
    }
}

const fn low_bits(count: u32) -> u64 {
    (1 << count) - 1
}

/// Counts the masters that each group has had.
#[derive(Default)]
pub struct MasterGenerations(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// The topology that was looked at last.
    version: Option<u64>,
    groups: SortedMap<GroupId, (ServerId, u8)>,
}

impl MasterGenerations {
    /// Takes note of who is master, unless that is known already.
    pub fn observe(&self, topology: &Topology) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.version.is_some_and(|version| version >= topology.version()) {
            return;
        }
        seen.version = Some(topology.version());
        for (group, master) in topology.scannable() {
            let (known, generation) = seen.groups.get_or_insert_with(*group, || (*master, 0));
            if known != master {
                *known = *master;
                // Once it was another, it is never again as if it had always been the first.
                *generation = *generation % (GENERATIONS - 1) + 1;
            }
        }
    }

    /// The master of a group and which one it is. `None` for a group that was never seen.
    #[must_use]
    pub fn of(&self, group: GroupId) -> Option<(ServerId, u8)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).groups.get(&group).copied()
    }

    /// Whether a group of this index or a later one has ever been seen.
    #[must_use]
    pub fn has_come_to(&self, index: usize) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.groups.last_key_value().is_some_and(|(last, _)| last.index() >= index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(group: usize, generation: u8, at: u64, number: u64) {
        let cursor = ScanCursor { group, generation, at };
        assert_eq!(cursor.encode(), Ok(number));
        assert_eq!(ScanCursor::decode(number.to_string().as_bytes()), Some(cursor));
    }

    #[test]
    fn a_cursor_is_predixys_while_no_master_has_changed() {
        check(0, 0, 0, 0);
        check(0, 0, 20, 20480);
        check(2, 0, 0, 2);
        check(1023, 0, 7, 7 * 1024 + 1023);
        check(1, 0, (1 << 50) - 1, (1 << 60) - 1024 + 1);
    }

    #[test]
    fn it_tells_which_master_it_is_for_and_stays_positive() {
        check(0, 1, 0, 1 << 60);
        check(1023, 7, (1 << 50) - 1, u64::MAX >> 1);
    }

    #[test]
    fn what_is_too_large_is_no_cursor() {
        let cursor = ScanCursor { group: 0, generation: 0, at: 0 };
        assert_eq!(ScanCursor { at: 1 << 50, ..cursor }.encode(), Err(TooLarge));
        assert_eq!(ScanCursor { at: u64::MAX, ..cursor }.encode(), Err(TooLarge));
        assert_eq!(ScanCursor { group: 1024, ..cursor }.encode(), Err(TooLarge));
    }

    #[test]
    fn what_is_no_number_of_ours_is_no_cursor() {
        for text in ["", "x", "-1", "+1", " 1", "1 ", "0x1", "1.0", "99999999999999999999"] {
            assert_eq!(ScanCursor::decode(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(ScanCursor::decode(b"9223372036854775808"), None);
        assert_eq!(ScanCursor::decode(b"000"), ScanCursor::decode(b"0"));
    }
}
