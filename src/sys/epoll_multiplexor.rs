//! Readiness by epoll.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::sys::call::{check, poll_timeout_ms};
use crate::sys::multiplexor::EVENTS_MAX;
use crate::sys::{Event, ListenSocket, Socket, Token, Waker};

/// The flags are positive in the kernel and negative in C when they use the highest bit.
const EDGES: u32 =
    (libc::EPOLLET | libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP).cast_unsigned();
const LEVEL: u32 = libc::EPOLLIN.cast_unsigned();
const HANG_UP: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR).cast_unsigned();
const READABLE: u32 = libc::EPOLLIN.cast_unsigned() | HANG_UP;
const WRITABLE: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR).cast_unsigned();

/// What one thread waits for.
#[derive(Debug)]
pub struct Multiplexor {
    epoll: OwnedFd,
    /// Where the kernel writes what happened; kept, so that a wait allocates nothing.
    buffer: RefCell<Box<[libc::epoll_event]>>,
}

impl Multiplexor {
    /// One that waits for nothing yet.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Multiplexor> {
        // SAFETY: takes and gives integers only.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just given us this number, so nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let nothing = libc::epoll_event { events: 0, u64: 0 };
        let buffer = vec![nothing; EVENTS_MAX].into_boxed_slice();
        Ok(Multiplexor { epoll, buffer: RefCell::new(buffer) })
    }

    /// Watches both directions of a socket, edge by edge, until it is closed.
    ///
    /// # Errors
    ///
    /// The system has no room for another.
    pub fn add(&self, socket: &Socket, token: Token) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket.as_fd(), EDGES, token)
    }

    /// No longer watches a socket that another process goes on with.
    ///
    /// # Errors
    ///
    /// It was not watched.
    pub fn remove(&self, socket: &Socket) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, socket.as_fd(), 0, Token(0))
    }

    /// Reports a listener as readable for as long as connections wait.
    ///
    /// # Errors
    ///
    /// The system has no room for another.
    pub fn add_listener(&self, listener: &ListenSocket, token: Token) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, listener.as_fd(), LEVEL, token)
    }

    /// No longer watches a listener, for instance while no descriptor is left to accept with.
    ///
    /// # Errors
    ///
    /// It was not watched.
    pub fn remove_listener(&self, listener: &ListenSocket) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, listener.as_fd(), 0, Token(0))
    }

    /// Reports a waker as readable from its wake until it is drained.
    ///
    /// # Errors
    ///
    /// The system has no room for another.
    pub fn add_waker(&self, waker: &Waker, token: Token) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, waker.as_fd(), LEVEL, token)
    }

    /// Waits until something happens, `timeout_us` have passed, or a signal arrives. What
    /// happened replaces what is in `events`.
    ///
    /// # Errors
    ///
    /// None that a correct program can meet.
    #[cfg_attr(small, optimize(speed))]
    pub fn wait(&self, events: &mut Vec<Event>, timeout_us: Option<u64>) -> io::Result<()> {
        events.clear();
        let mut buffer = self.buffer.borrow_mut();
        let (epoll, start) = (self.epoll.as_raw_fd(), buffer.as_mut_ptr());
        let room = i32::try_from(buffer.len()).unwrap_or(i32::MAX);
        let timeout_ms = poll_timeout_ms(timeout_us);
        // Without the C library's wrapper, as in `transfer_raw.rs`; the older call is not there
        // on every processor.
        // A size fills its register: of a shorter number the rest would be left to chance.
        let (mask, mask_size) = (std::ptr::null::<libc::sigset_t>(), 8_usize);
        // SAFETY: `start` and `room` are those of `buffer`, which is ours to write for the call;
        // without a mask its size is not looked at.
        let waited = unsafe {
            libc::syscall(libc::SYS_epoll_pwait, epoll, start, room, timeout_ms, mask, mask_size)
        };
        let waited = libc::c_int::try_from(waited).unwrap_or(-1);
        let count = match check(waited) {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        events.extend(buffer[..count].iter().map(event));
        Ok(())
    }

    fn control(&self, how: i32, fd: BorrowedFd<'_>, flags: u32, token: Token) -> io::Result<()> {
        let mut entry = libc::epoll_event { events: flags, u64: token.0 };
        let (epoll, fd) = (self.epoll.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: `entry` outlives the call, which copies it.
        check(unsafe { libc::epoll_ctl(epoll, how, fd, &raw mut entry) }).map(drop)
    }
}

fn event(entry: &libc::epoll_event) -> Event {
    let flags = entry.events;
    Event {
        token: Token(entry.u64),
        readable: flags & READABLE != 0,
        writable: flags & WRITABLE != 0,
        hang_up: flags & HANG_UP != 0,
    }
}
