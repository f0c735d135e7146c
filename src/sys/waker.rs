//! Wakes a thread that waits in its multiplexor: by an eventfd where there is one, else by a pipe.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::call::{check_size, retry};
use super::descriptor;

/// Any thread may wake; who was woken drains, and then looks for what it was woken for.
#[derive(Debug)]
pub struct Waker {
    reader: OwnedFd,
    /// The other end, if it is a pipe.
    writer: Option<OwnedFd>,
}

impl Waker {
    /// One that nobody has used yet.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Waker> {
        if let Some(reader) = descriptor::open_event()? {
            return Ok(Waker { reader, writer: None });
        }
        let [reader, writer] = descriptor::open_pipe()?;
        Ok(Waker { reader, writer: Some(writer) })
    }

    /// Wakes whoever waits for it, now or as soon as it waits. Many wakes may arrive as one.
    pub fn wake(&self) {
        let fd = self.writer.as_ref().unwrap_or(&self.reader).as_raw_fd();
        // An eventfd takes a number of this size, and a pipe anything.
        let (one, size) = (1u64, size_of::<u64>());
        let start = (&raw const one).cast();
        // A full pipe, or a full counter, wakes as well as one more would.
        // SAFETY: `start` points at `one`, which outlives the call and is `size` bytes long.
        let _ = retry(|| check_size(unsafe { libc::write(fd, start, size) }));
    }

    /// Forgets the wakes so far. To be called before looking for what they were for.
    pub fn drain(&self) {
        let (fd, mut bytes) = (self.reader.as_raw_fd(), [0u64; 32]);
        let (start, size) = (bytes.as_mut_ptr().cast(), size_of_val(&bytes));
        // An eventfd gives one number for them all.
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
