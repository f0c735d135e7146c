//! Readiness by kqueue.
//!
//! The fields of a `kevent` have other types on each system, so nothing here names them: `as _`
//! lets each pick its own. A socket has one entry per direction, so one wait may bring two
//! events for it.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::EVENTS_MAX;
use crate::sys::call::check;
use crate::sys::{Event, ListenSocket, Socket, Token, Waker};

/// What one thread waits for.
#[derive(Debug)]
pub struct Multiplexor {
    queue: OwnedFd,
    /// Where the kernel writes what happened; kept, so that a wait allocates nothing.
    buffer: RefCell<Box<[Entry]>>,
}

/// A `kevent`, whose pointer is only a number of ours.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct Entry(libc::kevent);

// SAFETY: the only pointer in it carries a token and is never followed.
unsafe impl Send for Entry {}

impl Multiplexor {
    /// One that waits for nothing yet.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Multiplexor> {
        // SAFETY: takes nothing and gives an integer.
        let fd = check(unsafe { libc::kqueue() })?;
        // SAFETY: the kernel has just given us this number, so nobody else owns it.
        let queue = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: with this command fcntl takes and gives integers only.
        check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        let buffer = vec![Entry::nothing(); EVENTS_MAX].into_boxed_slice();
        Ok(Multiplexor { queue, buffer: RefCell::new(buffer) })
    }

    /// Watches both directions of a socket, edge by edge, until it is closed.
    ///
    /// # Errors
    ///
    /// The system has no room for another.
    pub fn add(&self, socket: &Socket, token: Token) -> io::Result<()> {
        let (fd, how) = (socket.as_fd(), libc::EV_ADD | libc::EV_CLEAR);
        let read = Entry::change(fd, libc::EVFILT_READ as _, how as _, token);
        let write = Entry::change(fd, libc::EVFILT_WRITE as _, how as _, token);
        self.control(&mut [read, write])
    }

    /// Reports a listener as readable for as long as connections wait.
    ///
    /// # Errors
    ///
    /// The system has no room for another.
    pub fn add_listener(&self, listener: &ListenSocket, token: Token) -> io::Result<()> {
        let (fd, how) = (listener.as_fd(), libc::EV_ADD);
        self.control(&mut [Entry::change(fd, libc::EVFILT_READ as _, how as _, token)])
    }

    /// No longer watches a listener, for instance while no descriptor is left to accept with.
    ///
    /// # Errors
    ///
    /// It was not watched.
    pub fn remove_listener(&self, listener: &ListenSocket) -> io::Result<()> {
        let (fd, how) = (listener.as_fd(), libc::EV_DELETE);
        self.control(&mut [Entry::change(fd, libc::EVFILT_READ as _, how as _, Token(0))])
    }

    /// Reports a waker as readable from its wake until it is drained.
    ///
    /// # Errors
    ///
    /// The system has no room for another.
    pub fn add_waker(&self, waker: &Waker, token: Token) -> io::Result<()> {
        let (fd, how) = (waker.as_fd(), libc::EV_ADD);
        self.control(&mut [Entry::change(fd, libc::EVFILT_READ as _, how as _, token)])
    }

    /// Waits until something happens, `timeout_us` have passed, or a signal arrives. What
    /// happened replaces what is in `events`.
    ///
    /// # Errors
    ///
    /// None that a correct program can meet.
    pub fn wait(&self, events: &mut Vec<Event>, timeout_us: Option<u64>) -> io::Result<()> {
        events.clear();
        let mut buffer = self.buffer.borrow_mut();
        let timeout = timeout_us.map(time_span);
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let (queue, start, room) = (self.queue.as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
        let (start, nothing) = (start.cast(), std::ptr::null());
        // SAFETY: `start` and `room` are those of `buffer`, which is ours to write for the call;
        // there are no changes, and the timeout is null or outlives the call.
        let waited = unsafe { libc::kevent(queue, nothing, 0, start, room as _, timeout) };
        let count = match check(waited) {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        events.extend(buffer[..count].iter().map(|entry| entry.event()));
        Ok(())
    }

    /// Makes the changes, and looks at the answer to each of them.
    fn control(&self, changes: &mut [Entry]) -> io::Result<()> {
        let (queue, count, at_once) = (self.queue.as_raw_fd(), changes.len(), time_span(0));
        let (what, answers) = (changes.as_ptr().cast(), changes.as_mut_ptr().cast());
        // SAFETY: both pointers are those of `changes`, which holds `count`; the kernel takes
        // changes in before it writes answers, and kevent(2) allows both to be one place.
        let answered = check(unsafe {
            libc::kevent(queue, what, count as _, answers, count as _, &raw const at_once)
        })?;
        let answers = &changes[..usize::try_from(answered).unwrap_or(0)];
        answers.iter().find_map(Entry::error).map_or(Ok(()), Err)
    }
}

impl Entry {
    fn nothing() -> Entry {
        // SAFETY: a C struct of integers and a pointer, for which all bits zero is a value.
        Entry(unsafe { std::mem::zeroed() })
    }

    /// A change that is answered on its own, so that it does not hide another's error.
    fn change(fd: BorrowedFd<'_>, filter: i64, how: u64, token: Token) -> Entry {
        let mut entry = Entry::nothing();
        entry.0.ident = fd.as_raw_fd() as _;
        entry.0.filter = filter as _;
        entry.0.flags = (how | libc::EV_RECEIPT as u64) as _;
        entry.0.udata = token.0 as _;
        entry
    }

    fn event(&self) -> Event {
        let read = self.0.filter == libc::EVFILT_READ as _;
        let hang_up = self.has(libc::EV_EOF as _) || self.has(libc::EV_ERROR as _);
        Event {
            token: Token(self.0.udata as _),
            readable: read || hang_up,
            writable: !read || hang_up,
            hang_up,
        }
    }

    fn error(&self) -> Option<io::Error> {
        let code = i32::try_from(self.0.data).unwrap_or(libc::EINVAL);
        let failed = self.has(libc::EV_ERROR as _) && code != 0;
        failed.then(|| io::Error::from_raw_os_error(code))
    }

    fn has(&self, flag: u64) -> bool {
        u64::from(self.0.flags) & flag != 0
    }
}

/// Rounded up where the type is too small.
fn time_span(us: u64) -> libc::timespec {
    let seconds = i32::try_from(us / 1_000_000).unwrap_or(i32::MAX);
    libc::timespec { tv_sec: seconds.into(), tv_nsec: (us % 1_000_000 * 1000) as _ }
}
