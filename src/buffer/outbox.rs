//! What a client has yet to read.
//!
//! Small replies are copied together, so that one write sends them all. When a client reads
//! slower than it asks, the outbox becomes a chain. What many clients get, and is long, is a link
//! that all their chains share. It knows sockets only to write to them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use super::{Buffer, BufferPool};
use crate::sys::{Progress, Socket};

/// Replies in the order in which they will be sent.
#[derive(Default)]
pub struct Outbox {
    // Nearly always one buffer is enough, and a chain of one would be an allocation of its own.
    first: Option<Buffer>,
    rest: VecDeque<Piece>,
    length: usize,
}

/// Bytes that several outboxes send; the memory goes back with the last of them.
pub type SharedBlock = Rc<Buffer>;

/// One link of the chain.
enum Piece {
    Own(Buffer),
    /// Where in the block the unsent bytes begin; they go on to its end.
    Shared(SharedBlock, usize),
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

/// How much memory to begin with for something that is so long when so many more like it may come.
#[inline]
pub(super) fn room_for(length: usize, more: usize) -> usize {
    const MOST: usize = LINK / 2;
    length.max((length * (1 + more)).min(MOST))
}

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

    /// All that waits, copied.
    pub fn contents(&self) -> Vec<u8> {
        let first = self.first.iter().map(Buffer::filled);
        first.chain(self.rest.iter().map(Piece::bytes)).flatten().copied().collect()
    }

    /// Puts `bytes` at the end.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn append(&mut self, pool: &BufferPool, bytes: &[u8]) {
        self.append_before(pool, bytes, 0);
    }

    /// The same, when so many more replies are to come, probably soon and as long as this one: the
    /// memory is made for them too. To make it larger again and again, and copy what is there, is
    /// what a pipeline's replies cost most.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn append_before(&mut self, pool: &BufferPool, bytes: &[u8], more: usize) {
        self.length += bytes.len();
        match &mut self.first {
            Some(first) if self.rest.is_empty() && bytes.len() <= first.room() => {
                first.push(bytes);
            }
            // The length is that of these bytes: nothing stands before them.
            None if bytes.len() <= LINK && self.length == bytes.len() => {
                let mut first = pool.take(room_for(bytes.len(), more));
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
                Some(Piece::Own(last)) => last,
                None if self.first.is_some() || self.length == bytes.len() => {
                    self.first.get_or_insert_with(|| pool.take(bytes.len().min(LINK)))
                }
                _ => {
                    self.rest.push_back(Piece::Own(pool.take(bytes.len().min(LINK))));
                    continue;
                }
            };
            if last.room() < bytes.len() && last.capacity() < LINK {
                let wanted = bytes.len().min(LINK - last.len());
                last.reserve(wanted);
            }
            let length = last.room().min(bytes.len());
            last.push(&bytes[..length]);
            bytes = &bytes[length..];
            if !bytes.is_empty() {
                self.rest.push_back(Piece::Own(pool.take(LINK)));
            }
        }
    }

    /// Puts what is in `block` from `from` on at the end, without copying it.
    pub fn append_shared(&mut self, block: &SharedBlock, from: usize) {
        if from < block.len() {
            self.length += block.len() - from;
            self.rest.push_back(Piece::Shared(Rc::clone(block), from));
        }
    }

    /// Moves all of `other` to the end of this one, without copying what is long.
    pub fn append_outbox(&mut self, pool: &BufferPool, other: Outbox) {
        for piece in other.first.into_iter().map(Piece::Own).chain(other.rest) {
            match piece {
                Piece::Own(buffer) if buffer.len() < LINK / 4 => {
                    self.append(pool, buffer.filled());
                }
                Piece::Own(buffer) if self.length == 0 => {
                    self.length = buffer.len();
                    self.first = Some(buffer);
                }
                piece => {
                    self.length += piece.bytes().len();
                    self.rest.push_back(piece);
                }
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
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn flush(&mut self, socket: &Socket) -> io::Result<Flushed> {
        match &self.first {
            Some(first) if self.rest.is_empty() => match socket.write(first.filled())? {
                Progress::Moved(length) if length == self.length => {
                    (self.first, self.length) = (None, 0);
                    Ok(Flushed::All)
                }
                Progress::Moved(length) => {
                    self.sent(length);
                    self.flush_chain(socket)
                }
                Progress::WouldBlock => Ok(Flushed::Blocked),
                Progress::Closed => Err(io::ErrorKind::WriteZero.into()),
            },
            None if self.rest.is_empty() => Ok(Flushed::All),
            _ => self.flush_chain(socket),
        }
    }

    #[cold]
    fn flush_chain(&mut self, socket: &Socket) -> io::Result<Flushed> {
        while self.length > 0 {
            match self.write_chain(socket)? {
                Progress::Moved(length) => self.sent(length),
                Progress::WouldBlock => return Ok(Flushed::Blocked),
                Progress::Closed => return Err(io::ErrorKind::WriteZero.into()),
            }
        }
        Ok(Flushed::All)
    }

    fn write_chain(&self, socket: &Socket) -> io::Result<Progress> {
        let first = self.first.as_ref().map(Buffer::filled);
        let waiting = first.into_iter().chain(self.rest.iter().map(Piece::bytes));
        let slices: Vec<_> = waiting.take(SLICES_MAX).map(IoSlice::new).collect();
        socket.write_vectored(&slices)
    }

    fn sent(&mut self, mut length: usize) {
        self.length -= length;
        if let Some(first) = &mut self.first {
            if length < first.len() {
                return first.consume(length);
            }
            length -= first.len();
            self.first = None;
        }
        while let Some(piece) = self.rest.front_mut() {
            let waiting = piece.bytes().len();
            if length < waiting {
                match piece {
                    Piece::Own(buffer) => buffer.consume(length),
                    Piece::Shared(_, from) => *from += length,
                }
                break;
            }
            length -= waiting;
            self.rest.pop_front();
        }
        if let Some(Piece::Own(_)) = self.rest.front()
            && let Some(Piece::Own(buffer)) = self.rest.pop_front()
        {
            self.first = Some(buffer);
        }
        if self.rest.is_empty() && self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
    }
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Own(buffer) => buffer.filled(),
            Piece::Shared(block, from) => &block.filled()[*from..],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(outbox: &Outbox) -> Vec<u8> {
        outbox.contents()
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect()
    }

    #[test]
    fn what_is_appended_comes_out_in_order() {
        let pool = BufferPool::new(Default::default());
        let bytes = pattern(if cfg!(miri) { 80_000 } else { 300_000 });
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

    #[test]
    fn a_shared_block_is_sent_by_all_and_copied_by_none() {
        let pool = BufferPool::new(Default::default());
        let (size, readers) = if cfg!(miri) { (10_000, 3) } else { (100_000, 50) };
        let bytes = pattern(size);
        let mut block = pool.take(bytes.len());
        block.push(&bytes);
        let block = SharedBlock::new(block);
        let held = pool.bytes();
        let mut want = b"head".to_vec();
        want.extend_from_slice(&bytes[1..]);
        want.extend_from_slice(b"tail");
        want.extend_from_slice(&bytes);
        let mut outboxes: Vec<Outbox> = (0..readers).map(|_| Outbox::default()).collect();
        for outbox in &mut outboxes {
            outbox.append(&pool, b"head");
            outbox.append_shared(&block, 1);
            outbox.append(&pool, b"tail");
            outbox.append_shared(&block, 0);
            assert_eq!(outbox.len(), want.len());
            assert!(contents(outbox) == want);
        }
        assert!(pool.bytes() - held <= readers * 2 * 1024, "only the small pieces are copied");
        for (step, outbox) in (1..).zip(&mut outboxes) {
            let mut seen = 0;
            while !outbox.is_empty() {
                let length = outbox.len().min(step * 1999);
                outbox.sent(length);
                seen += length;
                assert!(contents(outbox) == want[seen..], "in steps of {step} * 1999");
            }
            assert!(outbox.first.is_none() && outbox.rest.capacity() == 0, "holds memory");
        }
        drop(block);
        assert_eq!(pool.bytes(), pool.spare_bytes() as u64);
    }

    #[test]
    fn what_comes_behind_a_shared_block_stays_behind_it() {
        let pool = BufferPool::new(Default::default());
        let mut block = pool.take(10);
        block.push(b"shared");
        let block = SharedBlock::new(block);
        for long in [1, 70_000] {
            let (mut outbox, mut other) = (Outbox::default(), Outbox::default());
            let own = pattern(long);
            other.append_shared(&block, 0);
            other.append(&pool, &own);
            other.append_shared(&block, 6);
            outbox.append_outbox(&pool, other);
            outbox.append(&pool, &own);
            assert!(contents(&outbox) == [&b"shared"[..], &own, &own].concat());
            outbox.sent(3);
            outbox.append(&pool, b"end");
            assert!(contents(&outbox) == [&b"red"[..], &own, &own, b"end"].concat());
        }
    }
}
