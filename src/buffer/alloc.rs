//! Buffers, and the pool that they come from and go back to.
//!
//! Buffers come in a few sizes. One that is dropped goes back to its handler's pool, which
//! keeps some of each size for the next taker and counts every byte that it has from the
//! system. Knows no sockets and no messages.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys::memory;

/// How much memory the pools of one handler have from the system, in bytes.
///
/// The handler alone writes it; everybody may read.
#[derive(Default)]
pub struct MemoryGauge {
    bytes: AtomicU64,
}

impl MemoryGauge {
    /// Bytes taken from the system and not given back: buffers in use and spare ones.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    fn grow(&self, bytes: usize) {
        self.bytes.store(self.bytes() + bytes as u64, Relaxed);
        memory::hold(bytes);
    }

    fn shrink(&self, bytes: usize) {
        self.bytes.store(self.bytes() - bytes as u64, Relaxed);
        memory::release(bytes);
    }
}

/// A handler's supply of buffers. Cloning gives another handle to the same supply.
#[derive(Clone)]
pub struct BufferPool {
    supply: Rc<Supply>,
}

struct Supply {
    gauge: Arc<MemoryGauge>,
    spare: RefCell<[Vec<Box<[u8]>>; SIZES.len()]>,
    plenty: Cell<Plenty>,
    /// Bytes given back since there was plenty.
    thinned: Cell<usize>,
    /// Something was taken from the allocator since it was thinned out last.
    has_fetched: Cell<bool>,
}

/// Whether more is spare than is worth keeping for long.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Plenty {
    #[default]
    No,
    /// Since a moment ago.
    New,
    /// Since [`BufferPool::has_new_plenty`] was told so.
    Known,
}

/// Sizes that are kept for the next taker, in bytes, and how many of each.
///
/// The large ones are for values of the order of 100 KB: handing such memory back to the
/// system after each request would cost more than all else that is done with it.
const SIZES: [(usize, usize); 8] = [
    (1 << 10, 256),
    (4 << 10, 128),
    (16 << 10, 16),
    (32 << 10, 8),
    (64 << 10, 8),
    (128 << 10, 2),
    (256 << 10, 1),
    (512 << 10, 1),
];

/// So many of the smallest size are always kept.
const AT_HAND: usize = 64;

/// Sizes above the largest kept one are multiples of this.
const JUMBO_STEP: usize = 64 << 10;

impl BufferPool {
    /// An empty pool that counts on `gauge`.
    pub fn new(gauge: Arc<MemoryGauge>) -> Self {
        BufferPool {
            supply: Rc::new(Supply {
                gauge,
                spare: RefCell::default(),
                plenty: Cell::default(),
                thinned: Cell::default(),
                has_fetched: Cell::default(),
            }),
        }
    }

    /// An empty buffer with room for at least `room` bytes.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn take(&self, room: usize) -> Buffer {
        // Nearly all are of the smallest size, and of those some are spare.
        if room <= SIZES[0].0
            && let Some(bytes) = self.supply.spare.borrow_mut()[0].pop()
        {
            return Buffer { bytes, start: 0, end: 0, supply: Rc::clone(&self.supply) };
        }
        self.take_slowly(room)
    }

    #[inline(never)]
    fn take_slowly(&self, room: usize) -> Buffer {
        let bytes = match SIZES.iter().position(|(size, _)| room <= *size) {
            Some(class) => match self.supply.spare.borrow_mut()[class].pop() {
                Some(bytes) => bytes,
                None => self.supply.fetch(SIZES[class].0),
            },
            None => self.supply.fetch(room.next_multiple_of(JUMBO_STEP)),
        };
        Buffer { bytes, start: 0, end: 0, supply: Rc::clone(&self.supply) }
    }

    /// Gives all spare memory back to the system.
    pub fn trim(&self) {
        for class in self.supply.spare.borrow_mut().iter_mut() {
            for bytes in class.drain(..) {
                self.supply.gauge.shrink(bytes.len());
            }
            class.shrink_to_fit();
        }
    }

    /// Whether more has become spare than is worth keeping for long: true once, then false until
    /// [`BufferPool::thin_out`] has been called.
    #[inline]
    pub fn has_new_plenty(&self) -> bool {
        self.supply.plenty.get() == Plenty::New
    }

    /// Takes note of it.
    pub fn note_plenty(&self) {
        self.supply.plenty.set(Plenty::Known);
    }

    /// Gives half of what is spare back to the allocator, but for a few of the smallest: so what a
    /// burst has left goes soon, and what is needed all the time is seldom taken anew. `None` when
    /// it is to be called again after a while, because there is more or because the burst goes on;
    /// else how many bytes have gone altogether, of these and of those that nobody kept.
    pub fn thin_out(&self) -> Option<usize> {
        let (mut is_plenty, mut thinned) = (false, self.supply.thinned.get());
        for (index, class) in self.supply.spare.borrow_mut().iter_mut().enumerate() {
            let kept = if index == 0 { AT_HAND } else { 0 };
            let left = kept + class.len().saturating_sub(kept) / 2;
            for bytes in class.drain(left.min(class.len())..) {
                self.supply.gauge.shrink(bytes.len());
                thinned += bytes.len();
            }
            is_plenty |= class.len() > kept;
        }
        is_plenty |= self.supply.has_fetched.replace(false);
        self.supply.plenty.set(if is_plenty { Plenty::Known } else { Plenty::No });
        self.supply.thinned.set(if is_plenty { thinned } else { 0 });
        (!is_plenty).then_some(thinned)
    }

    /// Bytes that lie ready for the next taker.
    pub fn spare_bytes(&self) -> usize {
        self.supply.spare.borrow().iter().flatten().map(|bytes| bytes.len()).sum()
    }

    /// Bytes taken from the system: in use, and spare.
    pub fn bytes(&self) -> u64 {
        self.supply.gauge.bytes()
    }
}

impl Supply {
    fn fetch(&self, size: usize) -> Box<[u8]> {
        self.gauge.grow(size);
        self.has_fetched.set(true);
        vec![0; size].into_boxed_slice()
    }

    #[inline]
    #[cfg_attr(small, optimize(speed))]
    fn give_back(&self, bytes: Box<[u8]>) {
        if bytes.len() == SIZES[0].0 {
            let spare = &mut self.spare.borrow_mut()[0];
            if spare.len() < AT_HAND {
                return spare.push(bytes);
            }
        }
        self.give_back_slowly(bytes);
    }

    #[inline(never)]
    fn give_back_slowly(&self, bytes: Box<[u8]>) {
        if self.plenty.get() == Plenty::No {
            self.plenty.set(Plenty::New);
        }
        if let Some(class) = SIZES.iter().position(|(size, _)| bytes.len() == *size) {
            let spare = &mut self.spare.borrow_mut()[class];
            if spare.len() < SIZES[class].1 {
                spare.push(bytes);
                return;
            }
        }
        self.thinned.set(self.thinned.get() + bytes.len());
        self.gauge.shrink(bytes.len());
    }
}

impl Drop for Supply {
    #[cfg_attr(small, optimize(speed))]
    fn drop(&mut self) {
        for bytes in self.spare.get_mut().iter().flatten() {
            self.gauge.shrink(bytes.len());
        }
    }
}

/// A stretch of memory that is filled at its end and emptied at its start.
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    supply: Rc<Supply>,
}

impl Buffer {
    /// What was put in and not yet taken out.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// How many bytes [`Buffer::filled`] has.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many bytes fit behind what is in.
    #[inline]
    pub fn room(&self) -> usize {
        self.bytes.len() - self.end
    }

    /// How many bytes it holds at most.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// The free memory behind what is in, to be read into; then say how much by
    /// [`Buffer::filled_more`].
    pub fn room_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// Counts `length` bytes of [`Buffer::room_mut`] as put in.
    ///
    /// # Panics
    ///
    /// When there is less room than that.
    pub fn filled_more(&mut self, length: usize) {
        assert!(length <= self.room(), "filled more than there was room for");
        self.end += length;
    }

    /// Puts `bytes` behind what is in.
    ///
    /// # Panics
    ///
    /// When they do not fit: ask [`Buffer::room`] first.
    #[inline(always)]
    #[cfg_attr(small, optimize(speed))]
    pub fn push(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        self.bytes[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }

    /// Takes `length` bytes out at the start.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn consume(&mut self, length: usize) {
        assert!(length <= self.len(), "consumed more than was in");
        self.start += length;
    }

    /// Takes out what lies behind the first `length` bytes.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn truncate(&mut self, length: usize) {
        assert!(length <= self.len(), "truncated to more than was in");
        self.end = self.start + length;
    }

    /// Takes everything out, so that the whole of it is room again.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Makes room for `length` more bytes, in larger memory if need be.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn reserve(&mut self, length: usize) {
        if length > self.room() {
            self.grow(length);
        }
    }

    /// The same without making room for what may come after that.
    pub fn reserve_exact(&mut self, length: usize) {
        if length > self.room() {
            let mut larger =
                BufferPool { supply: Rc::clone(&self.supply) }.take(self.len() + length);
            larger.push(self.filled());
            *self = larger;
        }
    }

    #[cold]
    fn grow(&mut self, length: usize) {
        let mut larger = BufferPool { supply: Rc::clone(&self.supply) }
            .take((self.len() + length).max(self.capacity() * 2));
        larger.push(self.filled());
        *self = larger;
    }
}

impl Drop for Buffer {
    #[cfg_attr(small, optimize(speed))]
    fn drop(&mut self) {
        self.supply.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> (BufferPool, Arc<MemoryGauge>) {
        let gauge = Arc::new(MemoryGauge::default());
        (BufferPool::new(Arc::clone(&gauge)), gauge)
    }

    #[test]
    fn a_buffer_goes_back_and_comes_again() {
        let (pool, gauge) = pool();
        drop(pool.take(100));
        assert_eq!(gauge.bytes(), 1 << 10);
        let again = pool.take(1000);
        assert_eq!((gauge.bytes(), pool.spare_bytes()), (1 << 10, 0));
        assert!(again.is_empty());
    }

    #[test]
    fn the_gauge_counts_what_the_system_gave() {
        let (pool, gauge) = pool();
        let jumbo = pool.take(3_000_000);
        assert!(gauge.bytes() >= 3_000_000);
        drop(jumbo);
        assert_eq!(gauge.bytes(), 0, "what is too large to keep goes back at once");
        let held = pool.take(10);
        drop(pool.take(5000));
        pool.trim();
        assert_eq!(gauge.bytes(), 1 << 10);
        drop(held);
        drop(pool);
        assert_eq!(gauge.bytes(), 0);
    }

    #[test]
    fn a_burst_is_not_kept_whole() {
        let (pool, _) = pool();
        let burst: Vec<_> = (0..1000).map(|_| pool.take(64 << 10)).collect();
        drop(burst);
        assert_eq!(pool.spare_bytes(), 8 * (64 << 10));
    }

    #[test]
    fn what_a_burst_has_left_goes_by_and_by() {
        let (pool, gauge) = pool();
        let few: Vec<_> = (0..AT_HAND).map(|_| pool.take(1)).collect();
        drop(few);
        assert!(!pool.has_new_plenty(), "that is the steady state");
        let taken = Cell::new(gauge.bytes());
        for room in [1, 5000, 64 << 10] {
            let before = gauge.bytes();
            let many: Vec<_> = (0..200).map(|_| pool.take(room)).collect();
            taken.set(taken.get() + gauge.bytes() - before);
            drop(many);
        }
        assert!(pool.has_new_plenty());
        pool.note_plenty();
        drop(pool.take(5000));
        assert!(!pool.has_new_plenty(), "it is known");
        let (mut rounds, before) = (1, taken.get());
        let thinned = loop {
            match pool.thin_out() {
                Some(bytes) => break bytes as u64,
                None => rounds += 1,
            }
        };
        assert!(rounds > 4, "{rounds}");
        assert_eq!(gauge.bytes(), (AT_HAND as u64) << 10);
        assert_eq!(thinned, before - gauge.bytes(), "those too that were not even kept");
        assert!(!pool.has_new_plenty());
        drop(pool.take(5000));
        assert!(pool.has_new_plenty(), "and so on");
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let (pool, _) = pool();
        let mut buffer = pool.take(1);
        buffer.push(b"hello ");
        buffer.room_mut()[..5].copy_from_slice(b"world");
        buffer.filled_more(5);
        buffer.consume(2);
        assert_eq!(buffer.filled(), b"llo world");
        buffer.reserve(100_000);
        assert!(buffer.room() >= 100_000);
        buffer.truncate(3);
        assert_eq!(buffer.filled(), b"llo");
        buffer.clear();
        assert!(buffer.is_empty());
        buffer.push(&[7; 100]);
        buffer.reserve_exact(200_000);
        assert!(buffer.room() >= 200_000 && buffer.capacity() < 200_100 + JUMBO_STEP);
        assert_eq!(buffer.filled(), [7; 100]);
    }
}
