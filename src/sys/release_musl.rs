//! The allocator of musl. It serves blocks of less than 128 KB from groups of slots of a few sizes,
//! and a group goes back to the system when none of its slots is in use, and not before.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Blocks from this size on, in bytes, are mapped one by one and unmapped when they are given back.
const MAPPED: usize = 128 << 10;
/// Of blocks from this size on, in bytes, the pages can be had back without the slot.
const LARGE: usize = 16 << 10;
/// No page is larger than this on what we run on; where they are smaller a little is left behind.
const PAGE: usize = 4 << 10;

static THRIFTY: AtomicBool = AtomicBool::new(false);

/// From now on the pages of large blocks go back to the system as soon as nobody uses them. That
/// takes more of its time than to keep them.
pub(in crate::sys) fn keep_no_large_blocks() {
    THRIFTY.store(true, Relaxed);
}

/// There is nothing to be done.
pub(in crate::sys) fn release_free_memory() {}

/// What a block of so many bytes takes: slots come in steps of about a fifth, and with a block that is
/// mapped by itself goes a page for the allocator's notes.
#[inline]
pub(in crate::sys) fn cost(size: usize) -> usize {
    size + if size < MAPPED { size / 8 } else { PAGE }
}

/// Whether the pages of a block of so many bytes are to be let go.
#[inline]
pub(in crate::sys) fn is_let_go(size: usize) -> bool {
    (LARGE..MAPPED).contains(&size) && THRIFTY.load(Relaxed)
}

/// Lets the pages go that lie inside a block which is about to be given back to the allocator. What
/// that notes of its slots stands before and behind them.
///
/// # Safety
///
/// The block must be the caller's, and nobody may read what is in it any more.
#[cold]
pub(in crate::sys) unsafe fn let_go(memory: *mut u8, size: usize) {
    let address = memory.addr();
    let begin = address.next_multiple_of(PAGE);
    let end = (address + size) / PAGE * PAGE;
    if begin < end {
        // SAFETY: the pages lie inside the caller's block, whose bytes nobody reads any more. A
        // refusal, of pages that are larger for one, changes nothing.
        unsafe {
            libc::madvise(memory.add(begin - address).cast(), end - begin, libc::MADV_DONTNEED)
        };
    }
}
