//! A waker that is one eventfd.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::sys::call::{check, check_size};

/// Any thread may wake; who was woken drains, and then looks for what it was woken for.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// One that nobody has used yet.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Waker> {
        // SAFETY: takes and gives integers only.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        // SAFETY: the kernel has just given us this number, so nobody else owns it.
        Ok(Waker(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Wakes whoever waits for it, now or as soon as it waits. Many wakes may arrive as one.
    pub fn wake(&self) {
        let (fd, one) = (self.0.as_raw_fd(), 1u64);
        let (start, size) = ((&raw const one).cast(), size_of::<u64>());
        // SAFETY: `start` points at `one`, which outlives the call and is `size` bytes long.
        let written = check_size(unsafe { libc::write(fd, start, size) });
        // It can only be refused when the counter is full, and then the sleeper is awake.
        debug_assert!(written.is_ok() || would_block(&written), "{written:?}");
    }

    /// Forgets the wakes so far. To be called before looking for what they were for.
    pub fn drain(&self) {
        let (fd, mut count) = (self.0.as_raw_fd(), 0u64);
        let (start, size) = ((&raw mut count).cast(), size_of::<u64>());
        // SAFETY: `start` points at `count`, which outlives the call and is `size` bytes long.
        let read = check_size(unsafe { libc::read(fd, start, size) });
        debug_assert!(read.is_ok() || would_block(&read), "{read:?}");
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn would_block(result: &io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
