//! Readiness by kqueue.
//!
//! The fields of a `kevent` have other types on each system, so nothing here names them: `as _`
//! lets each pick its own. A socket has one entry per direction, so one wait may bring two
//! events for it.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

#[cfg(not(feature = "kqueue"))]
use libc as system;

use crate::sys::call::check;
use crate::sys::multiplexor::EVENTS_MAX;
#[cfg(feature = "kqueue")]
use crate::sys::platform::kqueue_stand_in as system;
use crate::sys::{Event, ListenSocket, Socket, Token, Waker};

/// What one thread waits for.
#[derive(Debug)]
pub struct Multiplexor {
    queue: OwnedFd,
    /// Where the kernel writes what happened; kept, so that a wait allocates nothing.
    buffer: RefCell<Box<[Entry]>>,
    /// By the number of the descriptor: a pointer, which is what kqueue would keep for us, is not
    /// wide enough for a token everywhere.
    tokens: RefCell<Vec<Token>>,
}

/// A `kevent`, whose pointer nobody uses.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct Entry(system::kevent);

// SAFETY: the only pointer in it is null.
unsafe impl Send for Entry {}

impl Multiplexor {
    /// One that waits for nothing yet.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Multiplexor> {
        // SAFETY: takes nothing and gives an integer.
        let fd = check(unsafe { system::kqueue() })?;
        // SAFETY: the kernel has just given us this number, so nobody else owns it.
        let queue = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: with this command fcntl takes and gives integers only.
        check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
        let buffer = vec![Entry::nothing(); EVENTS_MAX].into_boxed_slice();
        Ok(Multiplexor { queue, buffer: RefCell::new(buffer), tokens: RefCell::default() })
    }

    /// Watches both directions of a socket, edge by edge, until it is closed.
    ///
    /// # Errors
    ///
    /// The system has no room for another.
    pub fn add(&self, socket: &Socket, token: Token) -> io::Result<()> {
        let (fd, how) = (socket.as_fd(), system::EV_ADD | system::EV_CLEAR);
        let read = Entry::change(fd, system::EVFILT_READ as _, how as _);
        let write = Entry::change(fd, system::EVFILT_WRITE as _, how as _);
        self.name(fd, token);
        self.control(&mut [read, write])
    }

    /// No longer watches a socket that another process goes on with.
    ///
    /// # Errors
    ///
    /// It was not watched.
    pub fn remove(&self, socket: &Socket) -> io::Result<()> {
        let (fd, how) = (socket.as_fd(), system::EV_DELETE);
        let read = Entry::change(fd, system::EVFILT_READ as _, how as _);
        let write = Entry::change(fd, system::EVFILT_WRITE as _, how as _);
        self.control(&mut [read, write])
    }

    /// Reports a listener as readable for as long as connections wait.
    ///
    /// # Errors
    ///
    /// The system has no room for another.
    pub fn add_listener(&self, listener: &ListenSocket, token: Token) -> io::Result<()> {
        let (fd, how) = (listener.as_fd(), system::EV_ADD);
        self.name(fd, token);
        self.control(&mut [Entry::change(fd, system::EVFILT_READ as _, how as _)])
    }

    /// No longer watches a listener, for instance while no descriptor is left to accept with.
    ///
    /// # Errors
    ///
    /// It was not watched.
    pub fn remove_listener(&self, listener: &ListenSocket) -> io::Result<()> {
        let (fd, how) = (listener.as_fd(), system::EV_DELETE);
        self.control(&mut [Entry::change(fd, system::EVFILT_READ as _, how as _)])
    }

    /// Reports a waker as readable from its wake until it is drained.
    ///
    /// # Errors
    ///
    /// The system has no room for another.
    pub fn add_waker(&self, waker: &Waker, token: Token) -> io::Result<()> {
        let (fd, how) = (waker.as_fd(), system::EV_ADD);
        self.name(fd, token);
        self.control(&mut [Entry::change(fd, system::EVFILT_READ as _, how as _)])
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
        let waited = unsafe { system::kevent(queue, nothing, 0, start, number(room), timeout) };
        let count = match check(waited) {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        let tokens = self.tokens.borrow();
        let known = |entry: &Entry| Some(entry.event(*tokens.get(entry.number())?));
        events.extend(buffer[..count].iter().filter_map(known));
        Ok(())
    }

    /// Remembers what a descriptor is called. Whoever had its number before has closed it.
    fn name(&self, fd: BorrowedFd<'_>, token: Token) {
        let Ok(at) = usize::try_from(fd.as_raw_fd()) else { return };
        let mut tokens = self.tokens.borrow_mut();
        if tokens.len() <= at {
            tokens.resize(at + 1, token);
        }
        tokens[at] = token;
    }

    /// Makes the changes, and looks at the answer to each of them.
    fn control(&self, changes: &mut [Entry]) -> io::Result<()> {
        let (queue, count, at_once) = (self.queue.as_raw_fd(), changes.len(), time_span(0));
        let (what, answers) = (changes.as_ptr().cast(), changes.as_mut_ptr().cast());
        // SAFETY: both pointers are those of `changes`, which holds `count`; the kernel takes
        // changes in before it writes answers, and kevent(2) allows both to be one place.
        let answered = check(unsafe {
            system::kevent(queue, what, number(count), answers, number(count), &raw const at_once)
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
    #[expect(clippy::cast_possible_truncation, reason = "constants go back to their own type")]
    fn change(fd: BorrowedFd<'_>, filter: i64, how: u64) -> Entry {
        let mut entry = Entry::nothing();
        entry.0.ident = fd.as_raw_fd() as _;
        entry.0.filter = filter as _;
        entry.0.flags = (how | system::EV_RECEIPT as u64) as _;
        entry
    }

    /// Whose event it is.
    fn number(&self) -> usize {
        self.0.ident as _
    }

    fn event(&self, token: Token) -> Event {
        let read = self.0.filter == system::EVFILT_READ as _;
        let hang_up = self.has(system::EV_EOF as _) || self.has(system::EV_ERROR as _);
        Event { token, readable: read || hang_up, writable: !read || hang_up, hang_up }
    }

    fn error(&self) -> Option<io::Error> {
        let code = i32::try_from(self.0.data).unwrap_or(libc::EINVAL);
        let failed = self.has(system::EV_ERROR as _) && code != 0;
        failed.then(|| io::Error::from_raw_os_error(code))
    }

    fn has(&self, flag: u64) -> bool {
        u64::from(self.0.flags) & flag != 0
    }
}

/// A count in the type that the system has for it; there are never many.
fn number<T: From<u16>>(count: usize) -> T {
    u16::try_from(count).unwrap_or(u16::MAX).into()
}

/// Rounded up where the type is too small.
fn time_span(us: u64) -> libc::timespec {
    let seconds = i32::try_from(us / 1_000_000).unwrap_or(i32::MAX);
    libc::timespec { tv_sec: seconds.into(), tv_nsec: (us % 1_000_000 * 1000) as _ }
}
