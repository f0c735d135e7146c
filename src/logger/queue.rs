//! The way of a line from the thread that logs it to the thread that writes it.
//!
//! Lines lie one behind the other in one text, which the writer takes away whole and gives back
//! empty. It grows with what is logged, up to a bound in lines; what is not needed is given back.

use std::mem;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::line::Head;
use super::log_file_sink::LogFileSink;

/// As many lines may be on their way.
const LINES_MAX: usize = 1024;

/// As often a thread that must not wait looks whether another one has done with the queue.
const TRIES_MAX: u32 = 100;

/// As much memory stays for the next lines.
const KEPT_LINES: usize = 64;
const KEPT_TEXT: usize = 8192;

/// Lines, oldest first.
#[derive(Debug, Default)]
pub struct Batch {
    heads: Vec<(Head, usize)>,
    text: String,
}

impl Batch {
    fn push(&mut self, head: Head, message: &str) {
        self.text.push_str(message);
        self.heads.push((head, self.text.len()));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// The lines: what stands before each message, and the message.
    pub fn lines(&self) -> impl Iterator<Item = (&Head, &str)> {
        let mut begin = 0;
        self.heads.iter().map(move |(head, end)| {
            let message = self.text.get(begin..*end).unwrap_or_default();
            begin = *end;
            (head, message)
        })
    }

    fn clear(&mut self) {
        self.heads.clear();
        self.heads.shrink_to(KEPT_LINES);
        self.text.clear();
        self.text.shrink_to(KEPT_TEXT);
    }
}

/// What the writer is told besides lines.
#[derive(Debug)]
pub enum Order {
    /// The file may have been moved away: open it again by its name.
    Reopen,
    /// Write here from now on.
    Use(Box<LogFileSink>),
}

/// What the writer has to do next.
#[derive(Debug)]
pub struct Work {
    /// To be followed before the lines are written.
    pub order: Option<Order>,
    /// Lines that were dropped since the last time.
    pub missed: u64,
    /// After this, there is nothing more to do.
    pub last: bool,
}

/// Lines on their way.
#[derive(Debug, Default)]
pub struct LogQueue {
    state: Mutex<State>,
    /// Tells the writer that there is work.
    work: Condvar,
    /// Tells those who wait that there is room again.
    room: Condvar,
    /// Tells whoever closes that all is written.
    done: Condvar,
    missed: AtomicU64,
    /// Lines under way, for a look without the lock.
    under_way: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    /// Lines that the writer has taken and not yet written.
    writing: usize,
    order: Option<Order>,
    writer_sleeps: bool,
    waiting: usize,
    closing: bool,
    done: bool,
}

impl LogQueue {
    /// Whether a line would be dropped; if so it is counted as such. To be asked before a message
    /// is formed for nothing.
    pub fn drops(&self) -> bool {
        let full = self.under_way.load(Relaxed) >= LINES_MAX;
        if full {
            self.miss();
        }
        full
    }

    /// Takes a line if that is possible without waiting, or else drops and counts it.
    pub fn offer(&self, head: Head, message: &str) {
        match self.try_lock() {
            Some(state) if state.has_room() => self.push(state, head, message),
            _ => self.miss(),
        }
    }

    /// Takes a line, and waits for room if there is none.
    pub fn put(&self, head: Head, message: &str) {
        let mut state = self.lock();
        while !state.has_room() {
            if state.closing {
                return self.miss();
            }
            state.waiting += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        self.push(state, head, message);
    }

    /// Gives the writer an order. One that it has not yet seen is replaced, but a new file is not
    /// by its being opened again.
    pub fn command(&self, order: Order) {
        let mut state = self.lock();
        if !matches!((&state.order, &order), (Some(Order::Use(_)), Order::Reopen)) {
            state.order = Some(order);
        }
        self.wake_writer(state);
    }

    /// Waits until all lines are written, though not longer than `patience`, and takes no more.
    /// Tells whether they are.
    pub fn close(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        state.closing = true;
        self.room.notify_all();
        if mem::take(&mut state.writer_sleeps) {
            self.work.notify_one();
        }
        while !state.done {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let (after, _) =
                self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = after;
        }
        state.done
    }

    /// The writer's part: gives back `batch`, which it has written, and sleeps until there is
    /// work. Then `batch` holds the lines.
    pub fn take(&self, batch: &mut Batch) -> Work {
        batch.clear();
        let mut state = self.lock();
        state.writing = 0;
        self.under_way.store(state.batch.len(), Relaxed);
        if state.waiting > 0 {
            self.room.notify_all();
        }
        while state.batch.len() == 0
            && state.order.is_none()
            && !state.closing
            && self.missed.load(Relaxed) == 0
        {
            state.writer_sleeps = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.writer_sleeps = false;
        mem::swap(&mut state.batch, batch);
        state.writing = batch.len();
        let missed = self.missed.swap(0, Relaxed);
        Work { order: state.order.take(), missed, last: state.closing }
    }

    /// The writer's last word: all is written.
    pub fn finish(&self) {
        self.lock().done = true;
        self.done.notify_all();
    }

    fn push(&self, mut state: MutexGuard<'_, State>, head: Head, message: &str) {
        if state.closing {
            return self.miss();
        }
        state.batch.push(head, message);
        self.under_way.store(state.batch.len() + state.writing, Relaxed);
        self.wake_writer(state);
    }

    /// Costs a system call only when it sleeps.
    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let sleeps = mem::take(&mut state.writer_sleeps);
        drop(state);
        if sleeps {
            self.work.notify_one();
        }
    }

    fn miss(&self) {
        self.missed.fetch_add(1, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue is never held for long, so a few looks nearly always suffice.
    fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        for _ in 0..TRIES_MAX {
            match self.state.try_lock() {
                Ok(state) => return Some(state),
                Err(TryLockError::Poisoned(state)) => return Some(state.into_inner()),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        None
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.batch.len() + self.writing < LINES_MAX
    }
}
