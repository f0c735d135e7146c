//! What a client has yet to read.
//!
//! Small replies are copied together, so that one write sends them all. When a client reads
//! slower than it asks, the outbox becomes a chain. It knows sockets only to write to them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::{Buffer, BufferPool};
use crate::sys::{Progress, Socket};

/// Replies in the order in which they will be sent.
#[derive(Default)]
pub struct Outbox {
    // Nearly always one buffer is enough, and a chain of one would be an allocation of its own.
    first: Option<Buffer>,
    rest: VecDeque<Buffer>,
    length: usize,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Everything is with the kernel.
    All,
    /// The peer reads slowly; go on when the socket is writable.
    Blocked,
}

/// Links of a chain are this large; a shorter outbox is one smaller buffer.
const LINK: usize = 64 << 10;
/// More slices than this do not make a write cheaper.
const SLICES_MAX: usize = 64;

impl Outbox {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many buffers it takes.
    pub fn buffers(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Puts `bytes` at the end.
    #[inline]
    pub fn append(&mut self, pool: &BufferPool, bytes: &[u8]) {
        self.length += bytes.len();
        match &mut self.first {
            Some(first) if self.rest.is_empty() && bytes.len() <= first.room() => {
                first.push(bytes);
            }
            None if bytes.len() <= LINK => {
                let mut first = pool.take(bytes.len());
                first.push(bytes);
                self.first = Some(first);
            }
            _ => self.append_slowly(pool, bytes),
        }
    }

    #[cold]
    fn append_slowly(&mut self, pool: &BufferPool, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let last = match self.rest.back_mut() {
                Some(last) => last,
                None => self.first.get_or_insert_with(|| pool.take(bytes.len().min(LINK))),
            };
            if last.room() < bytes.len() && last.capacity() < LINK {
                let wanted = bytes.len().min(LINK - last.len());
                last.reserve(wanted);
            }
            let length = last.room().min(bytes.len());
            last.push(&bytes[..length]);
            bytes = &bytes[length..];
            if !bytes.is_empty() {
                self.rest.push_back(pool.take(LINK));
            }
        }
    }

    /// Moves all of `other` to the end of this one, without copying what is long.
    pub fn append_outbox(&mut self, pool: &BufferPool, other: Outbox) {
        for buffer in other.first.into_iter().chain(other.rest) {
            if buffer.len() < LINK / 4 {
                self.append(pool, buffer.filled());
            } else if self.first.is_none() {
                self.length += buffer.len();
                self.first = Some(buffer);
            } else {
                self.length += buffer.len();
                self.rest.push_back(buffer);
            }
        }
    }

    /// Sends `bytes` after everything that waits; what the kernel does not take waits in turn.
    ///
    /// For pieces of large replies: while the client keeps up they are never copied.
    ///
    /// # Errors
    ///
    /// As the socket reports them: the connection is lost.
    pub fn send_through(
        &mut self,
        pool: &BufferPool,
        socket: &Socket,
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut sent = 0;
        if self.flush(socket)? == Flushed::All
            && let Progress::Moved(length) = socket.write(bytes)?
        {
            sent = length;
        }
        if sent < bytes.len() {
            self.append(pool, &bytes[sent..]);
        }
        Ok(())
    }

    /// Writes as much as the kernel takes.
    ///
    /// # Errors
    ///
    /// As the socket reports them: the connection is lost.
    pub fn flush(&mut self, socket: &Socket) -> io::Result<Flushed> {
        while let Some(first) = &self.first {
            let progress = if self.rest.is_empty() {
                socket.write(first.filled())?
            } else {
                let waiting = self.first.iter().chain(&self.rest).take(SLICES_MAX);
                let slices: Vec<_> = waiting.map(|buffer| IoSlice::new(buffer.filled())).collect();
                socket.write_vectored(&slices)?
            };
            match progress {
                Progress::Moved(length) => self.sent(length),
                Progress::WouldBlock => return Ok(Flushed::Blocked),
                Progress::Closed => return Err(io::ErrorKind::WriteZero.into()),
            }
        }
        Ok(Flushed::All)
    }

    fn sent(&mut self, mut length: usize) {
        self.length -= length;
        while let Some(first) = &mut self.first {
            if length < first.len() {
                first.consume(length);
                return;
            }
            length -= first.len();
            self.first = self.rest.pop_front();
        }
        if self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(outbox: &Outbox) -> Vec<u8> {
        outbox
            .first
            .iter()
            .chain(&outbox.rest)
            .flat_map(|buffer| buffer.filled().to_vec())
            .collect()
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect()
    }

    #[test]
    fn what_is_appended_comes_out_in_order() {
        let pool = BufferPool::new(Default::default());
        let bytes = pattern(300_000);
        for step in [1, 7, 1000, 4096, 65_536, 70_000, 300_000] {
            let mut outbox = Outbox::default();
            for piece in bytes.chunks(step) {
                outbox.append(&pool, piece);
            }
            assert_eq!(outbox.len(), bytes.len());
            assert!(contents(&outbox) == bytes, "in steps of {step}");
            let mut seen = 0;
            while !outbox.is_empty() {
                let length = outbox.len().min(33_333);
                outbox.sent(length);
                seen += length;
                assert!(contents(&outbox) == bytes[seen..], "in steps of {step}");
            }
            assert!(outbox.first.is_none() && outbox.rest.capacity() == 0, "holds memory");
        }
    }

    #[test]
    fn outboxes_are_joined() {
        let pool = BufferPool::new(Default::default());
        for (one, two) in [(0, 5), (5, 0), (5, 5), (100_000, 70_000), (10, 200_000)] {
            let (first, second) = (pattern(one), pattern(two));
            let (mut outbox, mut other) = (Outbox::default(), Outbox::default());
            outbox.append(&pool, &first);
            other.append(&pool, &second);
            outbox.append_outbox(&pool, other);
            outbox.append(&pool, b"end");
            assert_eq!(outbox.len(), one + two + 3);
            assert!(contents(&outbox) == [&first[..], &second, b"end"].concat());
        }
    }
}
