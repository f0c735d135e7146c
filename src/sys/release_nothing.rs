//! An allocator that hands memory back to the system by itself.

/// They do anyway.
pub(in crate::sys) fn keep_no_large_blocks() {}

/// There is nothing to be done.
pub(in crate::sys) fn release_free_memory() {}

/// What a block of so many bytes takes.
#[inline]
pub(in crate::sys) fn cost(size: usize) -> usize {
    size
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
