//! How much memory this process has from its allocator, counted where it is taken and given back.
//!
//! Everything counts that is made while the process runs, whoever makes it: a ceiling that leaves
//! something out is none. The steady state takes nothing and gives nothing back, so that it costs
//! nothing there; what is not steady pays one addition.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::release::{cost, is_let_go, keep_no_large_blocks, let_go, release_free_memory};

/// The allocator of the system, and the sum of what it has given.
struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

static USED: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are in use at this moment.
#[inline]
pub fn used() -> usize {
    USED.load(Relaxed)
}

/// Nothing: each byte was counted when the allocator gave it. The simulated platform counts here.
#[inline]
pub fn hold(_bytes: usize) {}

/// As [`hold`].
#[inline]
pub fn release(_bytes: usize) {}

/// Has large blocks go back to the system as soon as nobody uses them, because what the process has
/// is not to be much more than what it uses.
pub fn be_thrifty() {
    keep_no_large_blocks();
}

/// Hands memory that nobody uses any more back to the system, where the allocator keeps it.
pub fn give_back() {
    release_free_memory();
}

// SAFETY: each call goes to `System` with the arguments as they came, and so does its answer;
// counting touches no memory but the counter. A block that is resized in three steps has the bytes
// of the old one, as far as both reach.
unsafe impl GlobalAlloc for Counted {
    #[cfg_attr(not(small), inline)]
    #[cfg_attr(small, inline(never))]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises that `System` asks for, which are the same.
        taken(unsafe { System.alloc(layout) }, layout.size())
    }

    #[cfg_attr(not(small), inline)]
    #[cfg_attr(small, inline(never))]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        taken(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    #[cfg_attr(not(small), inline)]
    #[cfg_attr(small, inline(never))]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        USED.fetch_sub(cost(layout.size()), Relaxed);
        if is_let_go(layout.size()) {
            // SAFETY: the caller gives the block up.
            unsafe { let_go(memory, layout.size()) };
        }
        // SAFETY: `memory` is from `alloc` above, and so from `System`, with the same layout.
        unsafe { System.dealloc(memory, layout) }
    }

    #[cfg_attr(not(small), inline)]
    #[cfg_attr(small, inline(never))]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if is_let_go(layout.size()) {
            // SAFETY: the caller keeps the same promises.
            return unsafe { self.move_block(memory, layout, size) };
        }
        // SAFETY: as above.
        let moved = unsafe { System.realloc(memory, layout, size) };
        if !moved.is_null() {
            // By turns, because the sum of both must fit, and the difference may be negative.
            USED.fetch_add(cost(size), Relaxed);
            USED.fetch_sub(cost(layout.size()), Relaxed);
        }
        moved
    }
}

impl Counted {
    /// `realloc` for blocks whose pages are to be let go, which `System` would not do.
    #[cold]
    unsafe fn move_block(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` with this alignment is a layout.
        let new_layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: nor is it zero.
        let moved = unsafe { self.alloc(new_layout) };
        if !moved.is_null() {
            // SAFETY: both blocks are at least as long, and the new one is nobody else's.
            unsafe { ptr::copy_nonoverlapping(memory, moved, layout.size().min(size)) };
            // SAFETY: the caller gives the old one up.
            unsafe { self.dealloc(memory, layout) };
        }
        moved
    }
}

#[inline]
fn taken(memory: *mut u8, size: usize) -> *mut u8 {
    if !memory.is_null() {
        USED.fetch_add(cost(size), Relaxed);
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_counts_until_it_is_given_back() {
        // Other tests take memory at this moment, but not as much.
        const MUCH: usize = 1 << 28;
        let before = used();
        let mut much = vec![0u8; MUCH];
        assert!(used() >= before + MUCH / 2);
        much.reserve_exact(MUCH * 2);
        assert!(used() >= before + MUCH * 2);
        much.truncate(1);
        much.shrink_to_fit();
        assert!(used() < before + MUCH);
        drop(much);
        give_back();
        assert!(used() < before + MUCH / 2);
    }
}
