//! Who has tried to read or write lately, for a multiplexor that cannot ask the system what is new.
//!
//! A socket stays in its thread, so each thread counts for itself, by the number of the socket.
//! With another multiplexor nobody asks, and `no_attempts.rs` takes this one's place.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::RawFd;

use crate::sys::Progress;
use crate::sys::call::{check_size, retry};

thread_local! {
    static ATTEMPTS: RefCell<Vec<Attempts>> = const { RefCell::new(Vec::new()) };
}

/// How often somebody has tried; the counts wrap, and only whether they differ is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sys) struct Attempts {
    /// Reads of any outcome.
    pub(in crate::sys) reads: u32,
    /// Writes that were not taken whole.
    pub(in crate::sys) blocked_writes: u32,
}

/// Somebody has read.
pub(in crate::sys) fn note_read(fd: RawFd) {
    change(fd, |attempts| attempts.reads = attempts.reads.wrapping_add(1));
}

/// Somebody has written `wanted` bytes, or tried to.
pub(in crate::sys) fn note_write(fd: RawFd, wanted: usize, outcome: &io::Result<Progress>) {
    if !matches!(outcome, Ok(Progress::Moved(moved)) if *moved == wanted) {
        change(fd, |attempts| attempts.blocked_writes = attempts.blocked_writes.wrapping_add(1));
    }
}

/// Somebody has written these, or tried to.
pub(in crate::sys) fn note_write_vectored(
    fd: RawFd,
    slices: &[IoSlice<'_>],
    outcome: &io::Result<Progress>,
) {
    note_write(fd, slices.iter().map(|slice| slice.len()).sum(), outcome);
}

/// The counts of this thread.
pub(in crate::sys) fn of(fd: RawFd) -> Attempts {
    ATTEMPTS.with_borrow(|all| index(fd).and_then(|at| all.get(at)).copied().unwrap_or_default())
}

/// Whether the next read would say that the peer has sent its last byte.
pub(in crate::sys) fn is_at_end(fd: RawFd) -> bool {
    let mut byte = 0u8;
    let (start, how) = ((&raw mut byte).cast(), libc::MSG_PEEK);
    // SAFETY: `start` points at `byte`, which outlives the call and is one byte long.
    matches!(retry(|| check_size(unsafe { libc::recv(fd, start, 1, how) })), Ok(0))
}

fn change(fd: RawFd, how: impl FnOnce(&mut Attempts)) {
    let Some(at) = index(fd) else { return };
    ATTEMPTS.with_borrow_mut(|all| {
        if all.len() <= at {
            all.resize(at + 1, Attempts::default());
        }
        how(&mut all[at]);
    });
}

fn index(fd: RawFd) -> Option<usize> {
    usize::try_from(fd).ok()
}
