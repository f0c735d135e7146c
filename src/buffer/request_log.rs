//! What a server has yet to be sent, and what it has yet to answer.
//!
//! Requests are copied in once, behind each other, and leave in one write per turn. They stay
//! until they are answered, because a redirection or a lost connection may ask for them again.
//! A request is named by its offset in the stream of all bytes ever appended. The log knows
//! sockets only to write to them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use super::{Buffer, BufferPool, Flushed};
use crate::sys::{Progress, Socket};

/// The requests of one connection to a server, from the oldest unanswered to the newest.
#[derive(Default)]
pub struct RequestLog {
    // In order, without gaps: a block's offset plus its length is the next one's offset. As in
    // the outbox, a chain of one would be an allocation of its own.
    blocks: VecDeque<Block>,
    /// Offset behind the last byte appended.
    end: u64,
    /// Offset behind the last byte that the kernel took.
    sent: u64,
    /// Nothing behind this offset may be sent yet.
    barrier: Option<u64>,
    /// The same, once that one is down.
    next_barrier: Option<u64>,
    /// What lies before this offset is passed on, and not there to be read again.
    passed: u64,
}

struct Block {
    offset: u64,
    buffer: Buffer,
}

/// Requests share blocks of this size, in bytes; a longer one has a block of its own.
const BLOCK: usize = 16 << 10;
/// More slices than this do not make a write cheaper.
const SLICES_MAX: usize = 64;

impl RequestLog {
    /// Copies one request in and returns its offset. It stays in one piece.
    #[inline(always)]
    #[cfg_attr(small, optimize(speed))]
    pub fn append(&mut self, pool: &BufferPool, request: &[u8]) -> u64 {
        let offset = self.end;
        match self.blocks.back_mut() {
            Some(last) if request.len() <= last.buffer.room() => last.buffer.push(request),
            _ => self.append_block(pool, [request, &[]]),
        }
        self.end += request.len() as u64;
        offset
    }

    /// The same for a request that is put together of two pieces.
    #[inline(always)]
    #[cfg_attr(small, optimize(speed))]
    pub fn append_joined(&mut self, pool: &BufferPool, pieces: [&[u8]; 2]) -> u64 {
        let (offset, length) = (self.end, pieces[0].len() + pieces[1].len());
        match self.blocks.back_mut() {
            Some(last) if length <= last.buffer.room() => {
                last.buffer.push(pieces[0]);
                last.buffer.push(pieces[1]);
            }
            _ => self.append_block(pool, pieces),
        }
        self.end += length as u64;
        offset
    }

    #[cold]
    #[inline(never)]
    fn append_block(&mut self, pool: &BufferPool, [one, two]: [&[u8]; 2]) {
        let mut buffer = pool.take((one.len() + two.len()).max(BLOCK));
        buffer.push(one);
        buffer.push(two);
        self.blocks.push_back(Block { offset: self.end, buffer });
    }

    /// Takes over a buffer that holds just one long request, without copying it.
    pub fn append_buffer(&mut self, request: Buffer) -> u64 {
        let offset = self.end;
        self.end += request.len() as u64;
        self.blocks.push_back(Block { offset, buffer: request });
        offset
    }

    /// The bytes of the request at `offset`, while it is not released, and unless it is only
    /// passed on.
    #[cfg_attr(small, optimize(speed))]
    pub fn request(&self, offset: u64, length: usize) -> Option<&[u8]> {
        if offset < self.passed {
            return None;
        }
        let block = self.blocks.iter().rev().find(|block| block.offset <= offset)?;
        let start = usize::try_from(offset - block.offset).ok()?;
        block.buffer.filled().get(start..start + length)
    }

    /// What is appended from now on is one request, in pieces, and is not kept: it is passed on.
    pub fn begin_passing(&mut self) {
        self.passed = u64::MAX;
    }

    /// That request is complete.
    pub fn end_passing(&mut self) {
        self.passed = self.end;
    }

    /// Forgets what the kernel has taken, answered or not.
    pub fn forget_sent(&mut self) {
        while self.blocks.front().is_some_and(|block| block.end() <= self.sent) {
            self.blocks.pop_front();
        }
    }

    /// Forgets all requests before `offset`: they are answered. If those were all, the last block
    /// may be kept for the next one, which is cheaper but takes memory.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn release(&mut self, offset: u64, may_keep: bool) {
        if offset == self.end {
            // Nothing is under way, the usual end of a turn.
            debug_assert_eq!(self.sent, self.end, "an answer came before its request was sent");
            if self.blocks.len() > 1 {
                self.blocks.truncate(1);
            }
            if let Some(last) = self.blocks.front_mut() {
                if may_keep && last.buffer.capacity() == BLOCK {
                    last.buffer.clear();
                    last.offset = offset;
                } else {
                    self.blocks.clear();
                }
            }
            return;
        }
        while let Some(second) = self.blocks.get(1) {
            if second.offset > offset {
                return;
            }
            self.blocks.pop_front();
        }
    }

    /// Gives back the block that is kept for the next request, if nothing is under way.
    pub fn trim(&mut self) {
        if self.blocks.iter().all(|block| block.buffer.is_empty()) {
            self.blocks.clear();
        }
    }

    /// Offset behind the last byte appended.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Offset behind the last byte that the kernel took: a request that begins there or later
    /// was never sent, not even in part.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes that wait to be sent, those behind the barrier too.
    pub fn unsent(&self) -> u64 {
        self.end - self.sent
    }

    /// Bytes of memory that the requests occupy.
    pub fn held_bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.buffer.capacity()).sum()
    }

    /// Bytes of memory that are kept for the next request while there is none.
    pub fn kept_bytes(&self) -> usize {
        let is_idle = self.blocks.iter().all(|block| block.buffer.is_empty());
        if is_idle { self.held_bytes() } else { 0 }
    }

    /// Holds back what is appended from now on. There may be two at a time.
    pub fn raise_barrier(&mut self) {
        match self.barrier {
            None => self.barrier = Some(self.end),
            Some(_) => self.next_barrier = Some(self.end),
        }
    }

    /// Lets everything go, up to the next barrier if there is one.
    pub fn lower_barrier(&mut self) {
        self.barrier = self.next_barrier.take();
    }

    /// Writes as much as may be sent and the kernel takes.
    ///
    /// # Errors
    ///
    /// As the socket reports them: the connection is lost.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn flush(&mut self, socket: &Socket) -> io::Result<Flushed> {
        // Nearly always all that is unsent may go, and lies in the last block.
        if self.barrier.is_none()
            && self.sent < self.end
            && let Some(last) = self.blocks.back()
            && self.sent >= last.offset
        {
            match socket.write(last.from(self.sent))? {
                Progress::Moved(length) => self.sent += length as u64,
                Progress::WouldBlock => return Ok(Flushed::Blocked),
                Progress::Closed => return Err(io::ErrorKind::WriteZero.into()),
            }
            if self.sent == self.end {
                return Ok(Flushed::All);
            }
        }
        self.flush_slowly(socket)
    }

    #[inline(never)]
    fn flush_slowly(&mut self, socket: &Socket) -> io::Result<Flushed> {
        loop {
            let goal = self.barrier.unwrap_or(self.end);
            if self.sent >= goal {
                return Ok(Flushed::All);
            }
            match self.write(socket, goal)? {
                Progress::Moved(length) => self.sent += length as u64,
                Progress::WouldBlock => return Ok(Flushed::Blocked),
                Progress::Closed => return Err(io::ErrorKind::WriteZero.into()),
            }
        }
    }

    #[cfg_attr(small, optimize(speed))]
    fn write(&self, socket: &Socket, goal: u64) -> io::Result<Progress> {
        match self.blocks.back() {
            // What is unsent lies nearly always in the last block.
            Some(last) if self.sent >= last.offset => socket.write(last.part(self.sent, goal)),
            _ => self.write_blocks(socket, goal),
        }
    }

    #[cold]
    fn write_blocks(&self, socket: &Socket, goal: u64) -> io::Result<Progress> {
        let first = self.blocks.partition_point(|block| block.end() <= self.sent);
        let unsent = self.blocks.range(first..).map(|block| block.part(self.sent, goal));
        let slices: Vec<_> = unsent.take(SLICES_MAX).map(IoSlice::new).collect();
        socket.write_vectored(&slices)
    }
}

impl Block {
    fn end(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// What of this block lies behind an offset of the stream that is not before it.
    #[expect(clippy::cast_possible_truncation, reason = "a difference within one block")]
    #[inline]
    fn from(&self, offset: u64) -> &[u8] {
        self.buffer.filled().get((offset - self.offset) as usize..).unwrap_or_default()
    }

    /// What of this block lies between two offsets of the stream.
    #[expect(clippy::cast_possible_truncation, reason = "differences within one block")]
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    fn part(&self, from: u64, to: u64) -> &[u8] {
        let start = from.clamp(self.offset, self.end()) - self.offset;
        let end = to.clamp(self.offset, self.end()) - self.offset;
        &self.buffer.filled()[start as usize..(end as usize).max(start as usize)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> BufferPool {
        BufferPool::new(Default::default())
    }

    /// What a flush would write, if the kernel took it all.
    fn unsent(log: &RequestLog) -> Vec<u8> {
        let goal = log.barrier.unwrap_or(log.end);
        log.blocks.iter().flat_map(|block| block.part(log.sent, goal).to_vec()).collect()
    }

    #[test]
    fn a_request_is_there_until_it_is_answered() {
        let (pool, mut log) = (pool(), RequestLog::default());
        let offsets: Vec<_> = (0..2000)
            .map(|n| log.append(&pool, format!("request {n:04} {}", "x".repeat(50)).as_bytes()))
            .collect();
        log.sent = log.end;
        for (n, offset) in offsets.iter().enumerate() {
            let text = log.request(*offset, 12).unwrap();
            assert_eq!(text, format!("request {n:04}").as_bytes());
            log.release(*offset, true);
        }
        assert!(log.blocks.len() <= 1, "answered requests are kept");
        log.release(log.end(), true);
        assert_eq!(log.held_bytes(), BLOCK);
        log.trim();
        assert_eq!(log.held_bytes(), 0);
    }

    #[test]
    fn nothing_is_kept_of_an_idle_log_unless_it_may_be() {
        let (pool, mut log) = (pool(), RequestLog::default());
        log.append(&pool, b"request");
        log.sent = log.end;
        log.release(log.end(), false);
        assert_eq!(log.held_bytes(), 0);
    }

    #[test]
    fn sending_goes_on_where_it_stopped() {
        let (pool, mut log) = (pool(), RequestLog::default());
        let mut all = Vec::new();
        for n in 0..3000u32 {
            let request = n.to_le_bytes().repeat(9);
            log.append(&pool, &request);
            all.extend(request);
        }
        while log.sent < log.end {
            assert!(unsent(&log) == all[usize::try_from(log.sent).unwrap()..]);
            log.sent = (log.sent + 7777).min(log.end);
        }
        assert!(unsent(&log).is_empty());
    }

    #[test]
    fn a_long_request_is_taken_over() {
        let (pool, mut log) = (pool(), RequestLog::default());
        log.append(&pool, b"short");
        let mut long = pool.take(200_000);
        long.push(&[b'l'; 200_000]);
        let offset = log.append_buffer(long);
        let last = log.append(&pool, b"last");
        assert_eq!(log.request(offset, 200_000).unwrap(), [b'l'; 200_000]);
        assert_eq!(log.request(last, 4).unwrap(), b"last");
        assert_eq!(unsent(&log).len(), 200_009);
    }

    #[test]
    fn what_is_passed_on_is_not_kept() {
        let (pool, mut log) = (pool(), RequestLog::default());
        log.append(&pool, b"before");
        log.sent = log.end;
        log.release(log.end, true);
        log.begin_passing();
        let offset = log.end;
        let mut all = Vec::new();
        for piece in 0..100u8 {
            let piece = [piece; 40_000];
            log.append(&pool, &piece);
            all.extend(piece);
            assert!(log.request(offset, 6).is_none());
            assert!(unsent(&log) == all[usize::try_from(log.sent - offset).unwrap()..]);
            log.sent = (log.sent + 39_990).min(log.end);
            log.forget_sent();
            assert!(log.held_bytes() <= 2 * 65_536, "{}", log.held_bytes());
        }
        log.end_passing();
        let next = log.append(&pool, b"next");
        assert!(log.request(offset, 6).is_none());
        assert_eq!(log.request(next, 4).unwrap(), b"next");
        log.sent = log.end;
        log.forget_sent();
        log.release(log.end, true);
        log.append(&pool, b"last");
        assert_eq!(unsent(&log), b"last");
    }

    #[test]
    fn nothing_passes_the_barrier() {
        let (pool, mut log) = (pool(), RequestLog::default());
        log.append(&pool, b"hello");
        log.raise_barrier();
        log.append(&pool, b"later");
        assert_eq!(unsent(&log), b"hello");
        log.sent = 5;
        assert_eq!(unsent(&log), b"");
        log.lower_barrier();
        assert_eq!(unsent(&log), b"later");
    }

    #[test]
    fn one_barrier_does_not_move_another() {
        let (pool, mut log) = (pool(), RequestLog::default());
        log.append(&pool, b"hello");
        log.raise_barrier();
        log.append(&pool, b"multi");
        log.raise_barrier();
        log.append(&pool, b"set");
        assert_eq!(unsent(&log), b"hello");
        log.lower_barrier();
        assert_eq!(unsent(&log), b"hellomulti");
        log.lower_barrier();
        assert_eq!(unsent(&log), b"hellomultiset");
    }
}
