//! Replies that came before their turn.
//!
//! A pipeline that goes to several servers is answered out of order. What cannot go to the
//! client yet is put down here, copied together in one buffer, and picked up when its turn
//! comes. Whoever put it down keeps the range.

use super::outbox::room_for;
use super::{Buffer, BufferPool};

/// One client's replies that wait for earlier ones.
#[derive(Default)]
pub struct Shelf {
    buffer: Option<Buffer>,
    live: usize,
}

/// Where one reply lies on the shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShelfRange {
    start: u32,
    length: u32,
}

/// Tidying is worth it from here on, in bytes that nobody wants any more.
const TIDY_MIN: usize = 16 << 10;

impl Shelf {
    /// Puts `bytes` down, when so many replies are to come, probably as long as this one. They must
    /// be fewer than 2^31 bytes in all: large replies have a chain of their own.
    #[cfg_attr(small, optimize(speed))]
    pub fn put(&mut self, pool: &BufferPool, bytes: &[u8], more: usize) -> ShelfRange {
        let buffer = self.buffer.get_or_insert_with(|| pool.take(room_for(bytes.len(), more)));
        buffer.reserve(bytes.len());
        let start = buffer.len();
        buffer.push(bytes);
        self.live += bytes.len();
        ShelfRange::new(start, bytes.len())
    }

    /// What lies at `range`.
    #[cfg_attr(small, optimize(speed))]
    pub fn at(&self, range: ShelfRange) -> &[u8] {
        let start = range.start as usize;
        self.buffer
            .as_ref()
            .map_or(&[], |buffer| &buffer.filled()[start..start + range.length as usize])
    }

    /// Forgets what lies at `range`; when nothing is left the memory goes back.
    pub fn forget(&mut self, range: ShelfRange) {
        self.live -= range.length as usize;
        if self.live == 0 {
            self.buffer = None;
        }
    }

    /// Bytes of memory that it takes.
    pub fn held_bytes(&self) -> usize {
        self.buffer.as_ref().map_or(0, Buffer::capacity)
    }

    /// Whether so much is forgotten that [`Shelf::tidy`] should be called.
    pub fn is_untidy(&self) -> bool {
        let forgotten = self.buffer.as_ref().map_or(0, |buffer| buffer.len() - self.live);
        forgotten > TIDY_MIN && forgotten > self.live
    }

    /// Moves what is still wanted together; `ranges` are all that are, and are corrected.
    pub fn tidy<'a>(
        &mut self,
        pool: &BufferPool,
        ranges: impl Iterator<Item = &'a mut ShelfRange>,
    ) {
        let mut tidied = pool.take(self.live);
        for range in ranges {
            let start = tidied.len();
            tidied.push(self.at(*range));
            *range = ShelfRange::new(start, range.length as usize);
        }
        debug_assert_eq!(tidied.len(), self.live, "a reply on the shelf was forgotten");
        self.buffer = Some(tidied);
    }
}

impl ShelfRange {
    #[expect(clippy::cast_possible_truncation, reason = "a shelf holds less than 2^32 bytes")]
    fn new(start: usize, length: usize) -> Self {
        debug_assert!(start + length <= u32::MAX as usize, "too large for the shelf");
        ShelfRange { start: start as u32, length: length as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_found_again_and_forgotten() {
        let pool = BufferPool::new(Default::default());
        let mut shelf = Shelf::default();
        let one = shelf.put(&pool, b"+one\r\n", 0);
        let two = shelf.put(&pool, &[b'2'; 5000], 0);
        assert_eq!(shelf.at(one), b"+one\r\n");
        assert_eq!(shelf.at(two), [b'2'; 5000]);
        shelf.forget(one);
        assert_eq!(shelf.at(two).len(), 5000);
        shelf.forget(two);
        assert!(shelf.buffer.is_none(), "an empty shelf holds memory");
    }

    #[test]
    fn a_shelf_that_is_never_empty_does_not_grow() {
        let pool = BufferPool::new(Default::default());
        let mut shelf = Shelf::default();
        let mut kept = shelf.put(&pool, b"kept", 0);
        for round in 0..if cfg!(miri) { 500 } else { 10_000u32 } {
            let passing = shelf.put(&pool, &round.to_le_bytes().repeat(25), 0);
            shelf.forget(passing);
            if shelf.is_untidy() {
                shelf.tidy(&pool, std::iter::once(&mut kept));
            }
        }
        assert_eq!(shelf.at(kept), b"kept");
        assert!(shelf.buffer.unwrap().capacity() <= 64 << 10);
    }
}
