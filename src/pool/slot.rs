//! The 16384 slots of a Redis Cluster.
//!
//! Knows how a key gets its slot; who serves it is the topology's business.

use std::fmt;

use super::hash_func::{crc16, crc16_without, tagged};

/// How many slots a cluster has.
pub const SLOTS: usize = 16384;

/// One slot; always less than [`SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// The slot of this number, if there is one.
    #[must_use]
    pub fn new(number: u64) -> Option<Slot> {
        let number = u16::try_from(number).ok()?;
        (usize::from(number) < SLOTS).then_some(Slot(number))
    }

    /// The slot of a key: its hash tag in `{}`, or all of it.
    #[must_use]
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn of_key(key: &[u8]) -> Slot {
        let sum = crc16_without(key, b'{').unwrap_or_else(|| sum_of_tagged(key));
        Slot(sum & 0x3FFF)
    }

    /// The slot's number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// The slot's place in a table of [`SLOTS`] entries.
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0) & (SLOTS - 1)
    }

    /// Every slot, in order.
    pub fn all() -> impl Iterator<Item = Slot> {
        (0..0x4000).map(Slot)
    }
}

/// Of a key that may have a tag.
#[inline(never)]
fn sum_of_tagged(key: &[u8]) -> u16 {
    crc16(tagged(key, b'{', b'}'))
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_slots_that_redis_gives_them() {
        for (key, slot) in [
            (&b""[..], 0),
            (b"foo", 12182),
            (b"{foo}.bar", 12182),
            (b"a{foo}b{bar}", 12182),
            (b"123456789", 0x31c3 & 0x3FFF),
        ] {
            assert_eq!(Slot::of_key(key).number(), slot, "{key:?}");
        }
    }

    #[test]
    fn there_are_16384_slots() {
        assert_eq!(Slot::new(16383).map(Slot::number), Some(16383));
        assert_eq!(Slot::new(16384), None);
        assert_eq!(Slot::new(u64::MAX), None);
        assert_eq!(Slot::all().count(), SLOTS);
    }
}
