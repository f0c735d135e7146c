//! kqueue(2) and kevent(2) for Linux, made of epoll: with the feature `kqueue` the back end of
//! the BSDs and macOS runs on it. For tests only.
//!
//! It has the names, the layout and the meaning of FreeBSD's manual page, as far as our back end
//! goes and a little further. It is no BSD: who misreads the manual does so in both places.
//! Not modelled: the error in `fflags`, the size in `data` of listeners and writers, other
//! filters than these four, the order of events, timers finer than a millisecond, and copies of a
//! descriptor, which epoll keeps watching until the last one is closed.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::{c_int, c_void, timespec};

use crate::sys::call::check;
use crate::sys::clock::monotonic_us;
use crate::sys::platform::errno_location;

/// A change that is asked for, or an event that came.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(in crate::sys) struct kevent {
    pub(in crate::sys) ident: usize,
    pub(in crate::sys) filter: i16,
    pub(in crate::sys) flags: u16,
    pub(in crate::sys) fflags: u32,
    pub(in crate::sys) data: i64,
    pub(in crate::sys) udata: *mut c_void,
    pub(in crate::sys) ext: [u64; 4],
}

pub(in crate::sys) const EVFILT_READ: i16 = -1;
pub(in crate::sys) const EVFILT_WRITE: i16 = -2;
pub(in crate::sys) const EVFILT_TIMER: i16 = -7;
pub(in crate::sys) const EVFILT_USER: i16 = -11;

pub(in crate::sys) const EV_ADD: u16 = 0x1;
pub(in crate::sys) const EV_DELETE: u16 = 0x2;
pub(in crate::sys) const EV_ENABLE: u16 = 0x4;
pub(in crate::sys) const EV_DISABLE: u16 = 0x8;
pub(in crate::sys) const EV_ONESHOT: u16 = 0x10;
pub(in crate::sys) const EV_CLEAR: u16 = 0x20;
pub(in crate::sys) const EV_RECEIPT: u16 = 0x40;
pub(in crate::sys) const EV_DISPATCH: u16 = 0x80;
pub(in crate::sys) const EV_ERROR: u16 = 0x4000;
pub(in crate::sys) const EV_EOF: u16 = 0x8000;
pub(in crate::sys) const NOTE_TRIGGER: u32 = 0x0100_0000;

/// The filters that watch descriptors, by the epoll set that does it for them: epoll knows a
/// descriptor once, kqueue once for each filter.
const WATCHING: [i16; 2] = [EVFILT_READ, EVFILT_WRITE];
const INCOMING: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP).cast_unsigned();
const OUTGOING: u32 = libc::EPOLLOUT.cast_unsigned();
const EDGE: u32 = libc::EPOLLET.cast_unsigned();
const BROKEN: u32 = (libc::EPOLLHUP | libc::EPOLLERR).cast_unsigned();
const ENDED: u32 = libc::EPOLLRDHUP.cast_unsigned() | BROKEN;

/// All queues of the process, by the number that stands for each.
static QUEUES: Mutex<Option<HashMap<RawFd, Queue>>> = Mutex::new(None);

struct Queue {
    /// One for each filter in [`WATCHING`]. The number of the first one names the queue and
    /// belongs to whoever asked for it; the second one goes when that number is given again.
    sets: [RawFd; 2],
    _second: OwnedFd,
    notes: HashMap<Key, Note>,
}

/// What the kernel calls a knote, and what tells it from others.
type Key = (usize, i16);

#[derive(Clone, Copy)]
struct Note {
    udata: *mut c_void,
    flags: u16,
    enabled: bool,
    triggered: bool,
    due_ms: u64,
    period_ms: u64,
}

// SAFETY: the pointer is a number that somebody wants back, and is never followed.
unsafe impl Send for Note {}

/// A new queue: its number, or -1 and `errno`.
///
/// # Safety
///
/// None is needed: it is unsafe because the real one is.
pub(in crate::sys) unsafe fn kqueue() -> c_int {
    let opened = new_set().and_then(|first| Ok((first, new_set()?)));
    let (first, second) = match opened {
        Ok((first, second)) => (first.into_raw_fd(), second),
        Err(error) => return fail(&error),
    };
    let queue = Queue { sets: [first, second.as_raw_fd()], _second: second, notes: HashMap::new() };
    queues().get_or_insert_default().insert(first, queue);
    first
}

/// Makes `changes_len` changes and then waits for up to `events_len` events: how many came, or -1
/// and `errno`.
///
/// # Safety
///
/// As for kevent(2): each pointer is good for as many entries as the count behind it says, and
/// `timeout` is null or good for the call.
pub(in crate::sys) unsafe fn kevent(
    queue: c_int,
    changes: *const kevent,
    changes_len: c_int,
    events: *mut kevent,
    events_len: c_int,
    timeout: *const timespec,
) -> c_int {
    let room = usize::try_from(events_len).unwrap_or(0);
    let wanted = (0..usize::try_from(changes_len).unwrap_or(0)).map(|index| {
        // SAFETY: within the count that the caller gave with the pointer.
        let place = unsafe { changes.add(index) };
        // SAFETY: as above; it may be unaligned for all we know.
        unsafe { place.read_unaligned() }
    });
    // All are taken in before the first answer is written: both may be in one place.
    let wanted: Vec<kevent> = wanted.collect();
    // SAFETY: the caller gives null or something good.
    let timeout_ms = unsafe { timeout.as_ref() }.map(milliseconds);
    let mut found = Vec::new();
    let outcome = change(queue, &wanted, room, &mut found)
        .and_then(|()| if found.is_empty() { collect(queue, room, timeout_ms) } else { Ok(found) });
    let found = match outcome {
        Ok(found) => found,
        Err(error) => return fail(&error),
    };
    for (index, event) in found.iter().enumerate() {
        // SAFETY: no more were collected than the caller has room for.
        let place = unsafe { events.add(index) };
        // SAFETY: as above.
        unsafe { place.write_unaligned(*event) };
    }
    c_int::try_from(found.len()).unwrap_or(c_int::MAX)
}

/// Makes the changes. Each that fails, or wants a receipt, is answered in `answers`; one that
/// fails without room for an answer ends the call.
fn change(
    number: RawFd,
    wanted: &[kevent],
    room: usize,
    answers: &mut Vec<kevent>,
) -> io::Result<()> {
    let mut queues = queues();
    let queue = queue_of(&mut queues, number)?;
    for entry in wanted {
        let code = queue.apply(entry).err().map_or(0, |error| code_of(&error));
        if code == 0 && entry.flags & EV_RECEIPT == 0 {
            continue;
        }
        if answers.len() < room {
            answers.push(kevent { flags: EV_ERROR, data: code.into(), ..*entry });
        } else if code != 0 {
            return Err(io::Error::from_raw_os_error(code));
        }
    }
    Ok(())
}

/// Waits for events, without the lock, so that others can make changes meanwhile.
fn collect(number: RawFd, room: usize, timeout_ms: Option<u64>) -> io::Result<Vec<kevent>> {
    let deadline_ms = timeout_ms.map_or(u64::MAX, |timeout_ms| now_ms().saturating_add(timeout_ms));
    let mut found = Vec::new();
    loop {
        let (sets, due_ms) = {
            let mut queues = queues();
            let queue = queue_of(&mut queues, number)?;
            queue.harvest(&mut found, room)?;
            (queue.sets, queue.next_due_ms())
        };
        let now_ms = now_ms();
        if !found.is_empty() || room == 0 || now_ms >= deadline_ms {
            return Ok(found);
        }
        let until_ms = deadline_ms.min(due_ms);
        let patience_ms = if until_ms == u64::MAX {
            -1
        } else {
            c_int::try_from(until_ms.saturating_sub(now_ms)).unwrap_or(c_int::MAX)
        };
        let mut entries = sets.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        // A signal ends it, as it ends kevent(2).
        // SAFETY: there are two entries, as the count says, and they outlive the call.
        check(unsafe { libc::poll(entries.as_mut_ptr(), 2, patience_ms) })?;
    }
}

impl Queue {
    fn apply(&mut self, entry: &kevent) -> io::Result<()> {
        let (key, how) = ((entry.ident, entry.filter), entry.flags);
        let set = WATCHING.iter().position(|filter| *filter == entry.filter);
        if set.is_none() && !matches!(entry.filter, EVFILT_TIMER | EVFILT_USER) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let fd = RawFd::try_from(entry.ident).unwrap_or(-1);
        if let Some(set) = set {
            self.forget_if_closed(fd, key, set)?;
        }
        if how & EV_DELETE != 0 {
            return self.delete(key);
        }
        let known = self.notes.contains_key(&key);
        if !known && how & EV_ADD == 0 {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let note = self.notes.entry(key).or_insert(Note::new(entry.udata));
        note.change(entry);
        let (note, op) = (*note, if known { libc::EPOLL_CTL_MOD } else { libc::EPOLL_CTL_ADD });
        let Some(set) = set else { return Ok(()) };
        control(self.sets[set], op, fd, note.epoll_flags(entry.filter)).inspect_err(|_| {
            self.notes.remove(&key);
        })
    }

    /// A descriptor takes its notes along when it is closed, also when its number is used again.
    fn forget_if_closed(&mut self, fd: RawFd, key: Key, set: usize) -> io::Result<()> {
        // SAFETY: with this command fcntl takes and gives integers only.
        let open = check(unsafe { libc::fcntl(fd, libc::F_GETFD) });
        let note = self.notes.get(&key).copied();
        let is_watched = |note: Note| {
            control(self.sets[set], libc::EPOLL_CTL_MOD, fd, note.epoll_flags(key.1)).is_ok()
        };
        if open.is_err() || !note.is_some_and(is_watched) {
            self.notes.remove(&key);
        }
        open.map(drop)
    }

    fn delete(&mut self, key: Key) -> io::Result<()> {
        if self.notes.remove(&key).is_none() {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        match WATCHING.iter().position(|filter| *filter == key.1) {
            Some(set) => {
                let fd = RawFd::try_from(key.0).unwrap_or(-1);
                control(self.sets[set], libc::EPOLL_CTL_DEL, fd, 0)
            }
            None => Ok(()),
        }
    }

    /// Adds what has happened, as far as there is room; the rest stays.
    fn harvest(&mut self, found: &mut Vec<kevent>, room: usize) -> io::Result<()> {
        for (set, filter) in WATCHING.into_iter().enumerate() {
            let left = room - found.len();
            if left == 0 {
                return Ok(());
            }
            for ready in ready_in(self.sets[set], left)? {
                let key = (usize::try_from(ready.u64).unwrap_or(usize::MAX), filter);
                let Some(note) = self.notes.get(&key).filter(|note| note.enabled) else { continue };
                let mut event = note.event(key);
                if filter == EVFILT_READ {
                    event.data = bytes_waiting(key.0);
                }
                if ready.events & (if filter == EVFILT_READ { ENDED } else { BROKEN }) != 0 {
                    event.flags |= EV_EOF;
                }
                self.deliver(found, key, event)?;
            }
        }
        let now_ms = now_ms();
        let due = self.notes.iter().filter(|(key, note)| note.is_due(key.1, now_ms));
        for key in due.map(|(key, _)| *key).collect::<Vec<_>>() {
            let Some(note) = self.notes.get_mut(&key).filter(|_| found.len() < room) else { break };
            let mut event = note.event(key);
            if key.1 == EVFILT_TIMER {
                let times = (now_ms - note.due_ms) / note.period_ms + 1;
                note.due_ms += note.period_ms * times;
                event.data = times.cast_signed();
            }
            note.triggered &= note.flags & EV_CLEAR == 0;
            self.deliver(found, key, event)?;
        }
        Ok(())
    }

    /// Hands an event over, and does what its note wants done after that.
    fn deliver(&mut self, found: &mut Vec<kevent>, key: Key, event: kevent) -> io::Result<()> {
        found.push(event);
        if event.flags & EV_ONESHOT != 0 {
            self.delete(key)?;
        } else if event.flags & EV_DISPATCH != 0 {
            self.apply(&kevent { flags: EV_DISABLE, ..event })?;
        }
        Ok(())
    }

    /// When the next timer ends.
    fn next_due_ms(&self) -> u64 {
        let timers = self.notes.iter().filter(|(key, note)| key.1 == EVFILT_TIMER && note.enabled);
        timers.map(|(_, note)| note.due_ms).min().unwrap_or(u64::MAX)
    }
}

impl Note {
    fn new(udata: *mut c_void) -> Note {
        Note { udata, flags: 0, enabled: true, triggered: false, due_ms: 0, period_ms: 1 }
    }

    fn change(&mut self, entry: &kevent) {
        if entry.flags & EV_ADD != 0 {
            self.udata = entry.udata;
            self.flags = entry.flags & (EV_ONESHOT | EV_CLEAR | EV_DISPATCH);
            self.enabled = true;
            if entry.filter == EVFILT_TIMER {
                self.period_ms = entry.data.max(1).cast_unsigned();
                self.due_ms = now_ms() + self.period_ms;
            }
        }
        if entry.flags & EV_ENABLE != 0 {
            self.enabled = true;
        }
        if entry.flags & EV_DISABLE != 0 {
            self.enabled = false;
        }
        self.triggered |= entry.filter == EVFILT_USER && entry.fflags & NOTE_TRIGGER != 0;
    }

    fn epoll_flags(&self, filter: i16) -> u32 {
        let events = if filter == EVFILT_READ { INCOMING } else { OUTGOING };
        match (self.enabled, self.flags & EV_CLEAR != 0) {
            (true, true) => events | EDGE,
            (true, false) => events,
            // epoll always tells of a broken connection; as an edge it does so once.
            (false, _) => EDGE,
        }
    }

    fn is_due(&self, filter: i16, now_ms: u64) -> bool {
        match filter {
            EVFILT_TIMER => self.enabled && self.due_ms <= now_ms,
            EVFILT_USER => self.enabled && self.triggered,
            _ => false,
        }
    }

    fn event(&self, (ident, filter): Key) -> kevent {
        let (flags, udata) = (self.flags, self.udata);
        kevent { ident, filter, flags, fflags: 0, data: 0, udata, ext: [0; 4] }
    }
}

fn queues() -> MutexGuard<'static, Option<HashMap<RawFd, Queue>>> {
    QUEUES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn queue_of(queues: &mut Option<HashMap<RawFd, Queue>>, number: RawFd) -> io::Result<&mut Queue> {
    let queue = queues.as_mut().and_then(|queues| queues.get_mut(&number));
    queue.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
}

fn new_set() -> io::Result<OwnedFd> {
    // SAFETY: takes and gives integers only.
    let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: the kernel has just given us this number, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn control(set: RawFd, op: c_int, fd: RawFd, events: u32) -> io::Result<()> {
    let ident = u64::try_from(fd).unwrap_or(u64::MAX);
    let mut entry = libc::epoll_event { events, u64: ident };
    // SAFETY: `entry` outlives the call, which copies it.
    check(unsafe { libc::epoll_ctl(set, op, fd, &raw mut entry) }).map(drop)
}

/// What is ready in one epoll set, without waiting.
fn ready_in(set: RawFd, most: usize) -> io::Result<Vec<libc::epoll_event>> {
    let mut ready = vec![libc::epoll_event { events: 0, u64: 0 }; most];
    let (start, room) = (ready.as_mut_ptr(), c_int::try_from(most).unwrap_or(c_int::MAX));
    // SAFETY: `start` and `room` are those of `ready`, which is ours to write for the call.
    let count = check(unsafe { libc::epoll_wait(set, start, room, 0) })?;
    ready.truncate(usize::try_from(count).unwrap_or(0));
    Ok(ready)
}

/// How much can be read; a listener gives an error, and counts as 1.
fn bytes_waiting(ident: usize) -> i64 {
    let (fd, mut size) = (RawFd::try_from(ident).unwrap_or(-1), 0 as c_int);
    // SAFETY: `size` is what this request writes, and outlives the call.
    match check(unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut size) }) {
        Ok(_) => size.into(),
        Err(_) => 1,
    }
}

fn milliseconds(time: &timespec) -> u64 {
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + nanoseconds.div_ceil(1_000_000)
}

fn now_ms() -> u64 {
    monotonic_us() / 1000
}

fn code_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn fail(error: &io::Error) -> c_int {
    // SAFETY: the pointer is this thread's own `errno`.
    unsafe { errno_location().write(code_of(error)) };
    -1
}

#[cfg(test)]
#[path = "kqueue_stand_in/tests.rs"]
mod tests;
