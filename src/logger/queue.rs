//! The way of a line from the thread that logs it to the thread that writes it.
//!
//! Lines lie one behind the other in one text, which the writer takes away whole and gives back
//! empty. It grows with what is logged, up to a bound in lines; what is not needed is given back.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::Format;
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
pub struct Order {
    /// Write here from now on; `None` is the same file as before, opened by its name again, as it
    /// may have been moved away.
    pub sink: Option<Box<LogFileSink>>,
    /// What lines look like from now on.
    pub format: Format,
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
    /// No line may be lost.
    keeps_all: AtomicBool,
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
    /// Whether no line may be lost.
    pub fn keeps_all(&self) -> bool {
        self.keeps_all.load(Relaxed)
    }

    /// Lets no line be lost, or some.
    pub fn keep_all(&self, all: bool) {
        self.keeps_all.store(all, Relaxed);
    }

    /// Whether a line would be dropped; if so it is counted as such. To be asked before a message
    /// is formed for nothing.
    pub fn drops(&self) -> bool {
        let full = self.under_way.load(Relaxed) >= LINES_MAX;
        if full {
            self.miss(1);
        }
        full
    }

    /// Takes a line if there is room, or else drops and counts it. Waits for somebody else who is
    /// just handing in one.
    pub fn offer(&self, head: Head, message: &str) {
        self.take_in(self.lock(), &mut Batch::default(), Some((head, message)));
    }

    /// As [`LogQueue::offer`], for a thread that must not wait: while somebody else has the queue,
    /// the line stays with those that are `held` already. The next call takes them along.
    pub fn offer_or_hold(&self, held: &mut Batch, head: Head, message: &str) {
        match self.try_lock() {
            Some(state) => self.take_in(state, held, Some((head, message))),
            None if held.len() < LINES_MAX => held.push(head, message),
            None => self.miss(1),
        }
    }

    /// Takes what was `held`, unless somebody else has the queue still.
    pub fn try_take(&self, held: &mut Batch) {
        if let Some(state) = self.try_lock() {
            self.take_in(state, held, None);
        }
    }

    /// Takes what was `held`, and may wait for it.
    pub fn take_held(&self, held: &mut Batch) {
        self.take_in(self.lock(), held, None);
    }

    /// Takes a line, and waits for room if there is none.
    pub fn put(&self, head: Head, message: &str) {
        let mut state = self.lock();
        while !state.has_room() {
            if state.closing {
                return self.miss(1);
            }
            state.waiting += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        self.take_in(state, &mut Batch::default(), Some((head, message)));
    }

    /// Gives the writer an order. It replaces one that the writer has not yet seen, but for the
    /// sink, if it has none of its own.
    pub fn command(&self, order: Order) {
        let mut state = self.lock();
        let unseen = state.order.take().and_then(|unseen| unseen.sink);
        state.order = Some(Order { sink: order.sink.or(unseen), ..order });
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
    /// work, or for as long as its `patience`. Then `batch` holds the lines.
    pub fn take(&self, batch: &mut Batch, patience: Option<Duration>) -> Work {
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
            let Some(patience) = patience else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let woken = self.work.wait_timeout(state, patience);
            let (after, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
            state = after;
            if timeout.timed_out() {
                break;
            }
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

    /// Takes what was held and then what is new, as far as there is room.
    fn take_in(
        &self,
        mut state: MutexGuard<'_, State>,
        held: &mut Batch,
        new: Option<(Head, &str)>,
    ) {
        let mut missed = 0;
        for (head, message) in held.lines() {
            missed += u64::from(!state.admit(*head, message));
        }
        if let Some((head, message)) = new {
            missed += u64::from(!state.admit(head, message));
        }
        if held.len() > 0 {
            held.clear();
        }
        if missed > 0 {
            self.miss(missed);
        }
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

    fn miss(&self, lines: u64) {
        self.missed.fetch_add(lines, Relaxed);
    }

    /// As long as this lives, somebody else is just handing in a line.
    #[cfg(all(test, not(feature = "sim")))]
    pub fn in_use(&self) -> impl Sized {
        self.lock()
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

    /// Takes a line if there is room for it, and somebody who will write it.
    fn admit(&mut self, head: Head, message: &str) -> bool {
        let admitted = self.has_room() && !self.closing;
        if admitted {
            self.batch.push(head, message);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logger::Level;
    use std::sync::Arc;

    const HEAD: Head = Head { wall_us: 0, level: Level::Info, file: "", line: 0 };

    fn full() -> LogQueue {
        let queue = LogQueue::default();
        (0..LINES_MAX).for_each(|_| queue.offer(HEAD, "line"));
        queue
    }

    fn messages(batch: &Batch) -> Vec<&str> {
        batch.lines().map(|(_, message)| message).collect()
    }

    #[track_caller]
    fn until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "it never came true");
            std::thread::yield_now();
        }
    }

    #[test]
    fn lines_come_out_as_they_went_in() {
        let (queue, mut batch) = (LogQueue::default(), Batch::default());
        queue.offer(HEAD, "one");
        queue.put(Head { line: 7, ..HEAD }, "");
        queue.put(HEAD, "three");
        let work = queue.take(&mut batch, None);
        assert_eq!(messages(&batch), ["one", "", "three"]);
        assert_eq!(batch.lines().nth(1).map(|(head, _)| head.line), Some(7));
        assert!(work.missed == 0 && work.order.is_none() && !work.last);
    }

    #[test]
    fn lines_that_are_being_written_take_room_as_well() {
        let (queue, mut batch) = (full(), Batch::default());
        queue.take(&mut batch, None);
        assert!(queue.drops());
        queue.offer(HEAD, "no room");
        assert_eq!(queue.take(&mut batch, None).missed, 2);
        assert!(!queue.drops());
        queue.offer(HEAD, "room");
        queue.take(&mut batch, None);
        assert_eq!(messages(&batch), ["room"]);
    }

    #[test]
    fn who_must_not_wait_keeps_the_line_while_the_queue_is_in_use() {
        let (queue, mut batch, mut held) =
            (LogQueue::default(), Batch::default(), Batch::default());
        let in_use = queue.lock();
        queue.offer_or_hold(&mut held, HEAD, "first");
        queue.offer_or_hold(&mut held, HEAD, "second");
        queue.try_take(&mut held);
        assert_eq!(held.len(), 2);
        drop(in_use);
        queue.offer_or_hold(&mut held, HEAD, "third");
        assert_eq!(held.len(), 0);
        assert_eq!(queue.take(&mut batch, None).missed, 0);
        assert_eq!(messages(&batch), ["first", "second", "third"]);
    }

    #[test]
    fn what_was_held_is_taken_without_a_further_line() {
        let (queue, mut batch, mut held) =
            (LogQueue::default(), Batch::default(), Batch::default());
        for take in [LogQueue::try_take, LogQueue::take_held] {
            let in_use = queue.lock();
            queue.offer_or_hold(&mut held, HEAD, "held");
            drop(in_use);
            take(&queue, &mut held);
            assert_eq!(held.len(), 0);
            assert_eq!(queue.take(&mut batch, None).missed, 0);
            assert_eq!(messages(&batch), ["held"]);
        }
    }

    #[test]
    fn no_more_is_held_than_there_could_be_room_for() {
        let (queue, mut batch, mut held) =
            (LogQueue::default(), Batch::default(), Batch::default());
        let in_use = queue.lock();
        (0..LINES_MAX + 2).for_each(|_| queue.offer_or_hold(&mut held, HEAD, "line"));
        drop(in_use);
        queue.offer(HEAD, "in between");
        queue.try_take(&mut held);
        assert_eq!(queue.take(&mut batch, None).missed, 3);
        assert_eq!(batch.len(), LINES_MAX);
        assert_eq!(messages(&batch)[0], "in between");
        assert!(held.heads.capacity() <= KEPT_LINES && held.text.capacity() <= KEPT_TEXT);
    }

    #[test]
    fn who_may_waits_for_who_is_just_handing_in() {
        let (queue, mut batch) = (Arc::new(LogQueue::default()), Batch::default());
        let held = queue.lock();
        let (offering, begun) = (Arc::clone(&queue), Arc::new(AtomicBool::new(false)));
        let has_begun = Arc::clone(&begun);
        let thread = std::thread::spawn(move || {
            has_begun.store(true, Relaxed);
            offering.offer(HEAD, "kept");
        });
        until(|| begun.load(Relaxed));
        drop(held);
        thread.join().unwrap();
        assert_eq!(queue.take(&mut batch, None).missed, 0);
        assert_eq!(messages(&batch), ["kept"]);
    }

    #[test]
    fn whoever_must_not_miss_a_line_waits_for_room() {
        let (queue, mut batch) = (Arc::new(full()), Batch::default());
        let waiting = Arc::clone(&queue);
        let thread = std::thread::spawn(move || waiting.put(HEAD, "waited"));
        until(|| queue.lock().waiting == 1);
        queue.take(&mut batch, None);
        assert_eq!(queue.lock().waiting, 1);
        // Only what is written makes room.
        queue.command(Order { sink: None, format: Format::Text });
        queue.take(&mut batch, None);
        thread.join().unwrap();
        queue.take(&mut batch, None);
        assert_eq!(messages(&batch), ["waited"]);
    }

    #[test]
    fn whoever_waits_for_room_is_let_go_when_it_closes() {
        let queue = Arc::new(full());
        let waiting = Arc::clone(&queue);
        let thread = std::thread::spawn(move || waiting.put(HEAD, "waited"));
        until(|| queue.lock().waiting == 1);
        assert!(!queue.close(Duration::ZERO));
        thread.join().unwrap();
    }

    #[test]
    fn closing_gives_up_on_a_writer_that_does_not_come() {
        let queue = full();
        let before = Instant::now();
        assert!(!queue.close(Duration::from_millis(20)));
        assert!(before.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn the_writer_sleeps_until_there_is_a_line() {
        let queue = Arc::new(LogQueue::default());
        let writers = Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            let mut batch = Batch::default();
            writers.take(&mut batch, None);
            batch.len()
        });
        until(|| queue.lock().writer_sleeps);
        queue.offer(HEAD, "wake up");
        assert_eq!(thread.join().unwrap(), 1);
    }

    #[test]
    fn memory_is_given_back_after_a_burst() {
        let (queue, mut batch) = (LogQueue::default(), Batch::default());
        let message = "x".repeat(1000);
        (0..LINES_MAX).for_each(|_| queue.offer(HEAD, &message));
        queue.take(&mut batch, None);
        assert!(batch.text.capacity() >= 1_000_000);
        queue.close(Duration::ZERO);
        queue.take(&mut batch, None);
        let state = queue.lock();
        assert!(batch.text.capacity() <= KEPT_TEXT && state.batch.text.capacity() <= KEPT_TEXT);
        assert!(batch.heads.capacity() <= KEPT_LINES && state.batch.heads.capacity() <= KEPT_LINES);
    }

    #[test]
    fn an_order_to_open_again_does_not_undo_a_new_file() {
        let queue = LogQueue::default();
        let sink = LogFileSink::stdout(crate::logger::testing::utc).unwrap();
        queue.command(Order { sink: Some(Box::new(sink)), format: Format::Text });
        queue.command(Order { sink: None, format: Format::Json });
        let order = queue.take(&mut Batch::default(), None).order.unwrap();
        assert!(order.sink.is_some() && order.format == Format::Json);
    }
}
