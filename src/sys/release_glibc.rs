//! An allocator that keeps what was given back to it, and lets it go when it is asked.

/// Blocks from this size on, in bytes, can be had so that they go back by themselves.
const LARGE: libc::c_int = 64 << 10;

/// From now on large blocks go back to the system as soon as nobody uses them. That takes more of
/// its time than to keep them.
pub(in crate::sys) fn keep_no_large_blocks() {
    // SAFETY: takes and gives integers only; what it sets is read whenever a block is taken, and
    // any value is good there.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Hands what nobody uses any more back to the system.
pub(in crate::sys) fn release_free_memory() {
    // SAFETY: takes and gives integers only; the allocator locks what it touches.
    unsafe { libc::malloc_trim(0) };
}

/// What a block of so many bytes takes: a little for the allocator's notes, and where that is mapped
/// by itself, a page for them.
#[inline]
pub(in crate::sys) fn cost(size: usize) -> usize {
    const PAGE: usize = 4 << 10;
    const NOTES: usize = 16;
    size + if size < LARGE as usize { NOTES } else { PAGE }
}

/// The allocator does it by itself.
#[inline]
pub(in crate::sys) fn is_let_go(_size: usize) -> bool {
    false
}

/// Is not called.
///
/// # Safety
///
/// There is nothing to look after.
pub(in crate::sys) unsafe fn let_go(_memory: *mut u8, _size: usize) {}
