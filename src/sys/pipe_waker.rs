//! A waker that is a pipe.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::sys::call::{check_size, retry};
use crate::sys::descriptor;

/// Any thread may wake; who was woken drains, and then looks for what it was woken for.
#[derive(Debug)]
pub struct Waker {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Waker {
    /// One that nobody has used yet.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Waker> {
        let [reader, writer] = descriptor::open_pipe()?;
        Ok(Waker { reader, writer })
    }

    /// Wakes whoever waits for it, now or as soon as it waits. Many wakes may arrive as one.
    pub fn wake(&self) {
        let (fd, byte) = (self.writer.as_raw_fd(), 1u8);
        let start = (&raw const byte).cast();
        // It can only be refused when the pipe is full, and then the sleeper is awake.
        // SAFETY: `start` points at `byte`, which outlives the call.
        let _ = retry(|| check_size(unsafe { libc::write(fd, start, 1) }));
    }

    /// Forgets the wakes so far. To be called before looking for what they were for.
    pub fn drain(&self) {
        let (fd, mut bytes) = (self.reader.as_raw_fd(), [0u8; 256]);
        let (start, size) = (bytes.as_mut_ptr().cast(), bytes.len());
        // SAFETY: `start` and `size` are those of `bytes`, which outlive the call.
        while retry(|| check_size(unsafe { libc::read(fd, start, size) })).is_ok_and(|n| n == size)
        {
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
