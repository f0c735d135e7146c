//! An allocator that hands memory back to the system by itself.

/// They do anyway.
pub(in crate::sys) fn keep_no_large_blocks() {}

/// There is nothing to be done.
pub(in crate::sys) fn release_free_memory() {}
