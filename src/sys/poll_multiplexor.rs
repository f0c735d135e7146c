//! Readiness by poll(2), for every Unix that has neither epoll nor kqueue.
//!
//! poll tells what is, and not what is new. So an event is told once, and the next one for the
//! same direction of the same socket only when somebody has tried to read, or has found it full,
//! since then (`attempts.rs`). Two things come later than elsewhere: more bytes behind unread
//! ones are no event, and the end of the stream is one only when all before it has been read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::sys::attempts::{self, Attempts};
use crate::sys::call::{check, poll_timeout_ms};
use crate::sys::multiplexor::EVENTS_MAX;
use crate::sys::{Event, ListenSocket, Socket, Token, Waker};

const BROKEN: libc::c_short = libc::POLLHUP | libc::POLLERR;

/// What one thread waits for.
#[derive(Debug)]
pub struct Multiplexor {
    watched: RefCell<Watched>,
}

/// Two lists in step, since poll wants its own alone.
#[derive(Debug, Default)]
struct Watched {
    entries: Vec<libc::pollfd>,
    whom: Vec<Whom>,
    places: HashMap<RawFd, usize>,
    /// Where the next wait begins to collect, so that whoever is last is not always last.
    first: usize,
}

#[derive(Clone, Copy, Debug)]
struct Whom {
    fd: RawFd,
    token: Token,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// Told for as long as it is so.
    Level,
    /// Told once, and again after an attempt that came later than these.
    Edge { told: Attempts, reading: bool, writing: bool, breaking: bool },
}

impl Multiplexor {
    /// One that waits for nothing yet.
    ///
    /// # Errors
    ///
    /// Never: poll keeps nothing in the system.
    pub fn new() -> io::Result<Multiplexor> {
        Ok(Multiplexor { watched: RefCell::default() })
    }

    /// Watches both directions of a socket, edge by edge, until it is closed.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn add(&self, socket: &Socket, token: Token) -> io::Result<()> {
        let told = attempts::of(socket.as_fd().as_raw_fd());
        let how = How::Edge { told, reading: true, writing: true, breaking: true };
        self.join(socket.as_fd(), token, how)
    }

    /// Reports a listener as readable for as long as connections wait.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn add_listener(&self, listener: &ListenSocket, token: Token) -> io::Result<()> {
        self.join(listener.as_fd(), token, How::Level)
    }

    /// No longer watches a listener, for instance while no descriptor is left to accept with.
    ///
    /// # Errors
    ///
    /// It was not watched.
    pub fn remove_listener(&self, listener: &ListenSocket) -> io::Result<()> {
        self.part_with(listener.as_fd())
    }

    /// No longer watches a socket that another process goes on with.
    ///
    /// # Errors
    ///
    /// It was not watched.
    pub fn remove(&self, socket: &Socket) -> io::Result<()> {
        self.part_with(socket.as_fd())
    }

    /// Reports a waker as readable from its wake until it is drained.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn add_waker(&self, waker: &Waker, token: Token) -> io::Result<()> {
        self.join(waker.as_fd(), token, How::Level)
    }

    /// Waits until something happens, `timeout_us` have passed, or a signal arrives. What
    /// happened replaces what is in `events`.
    ///
    /// # Errors
    ///
    /// None that a correct program can meet.
    pub fn wait(&self, events: &mut Vec<Event>, timeout_us: Option<u64>) -> io::Result<()> {
        events.clear();
        let mut watched = self.watched.borrow_mut();
        watched.ask();
        let (start, count) = (watched.entries.as_mut_ptr(), watched.entries.len());
        let timeout_ms = poll_timeout_ms(timeout_us);
        // SAFETY: `start` and `count` are those of `entries`, which is ours for the call.
        match check(unsafe { libc::poll(start, count as _, timeout_ms) }) {
            Ok(0) => Ok(()),
            Ok(_) => {
                watched.collect(events);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whoever had the number before has closed it.
    fn part_with(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut watched = self.watched.borrow_mut();
        match watched.places.get(&fd.as_raw_fd()).copied() {
            Some(place) => watched.remove(place),
            None => return Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
        Ok(())
    }

    fn join(&self, fd: BorrowedFd<'_>, token: Token, how: How) -> io::Result<()> {
        let (mut watched, fd) = (self.watched.borrow_mut(), fd.as_raw_fd());
        if let Some(place) = watched.places.get(&fd).copied() {
            watched.remove(place);
        }
        let place = watched.whom.len();
        watched.places.insert(fd, place);
        watched.whom.push(Whom { fd, token, how });
        watched.entries.push(libc::pollfd { fd, events: 0, revents: 0 });
        Ok(())
    }
}

impl Watched {
    /// Fills in what is to be waited for.
    fn ask(&mut self) {
        for (entry, whom) in self.entries.iter_mut().zip(&mut self.whom) {
            // That it is broken is told without being asked for, so whoever knows it already is
            // left out: poll passes over what is negative.
            let wanted = whom.wants();
            let fd = if wanted.is_some() { whom.fd } else { -1 };
            *entry = libc::pollfd { fd, events: wanted.unwrap_or(0), revents: 0 };
        }
    }

    /// Takes what came, as much as one wait may bring; the rest is still so at the next.
    fn collect(&mut self, events: &mut Vec<Event>) {
        let (count, mut closed) = (self.entries.len(), Vec::new());
        let first = if self.first < count { self.first } else { 0 };
        for place in (first..count).chain(0..first) {
            let came = self.entries[place].revents;
            if came == 0 {
                continue;
            }
            if came & libc::POLLNVAL != 0 {
                closed.push(self.whom[place].fd);
            } else if events.len() < EVENTS_MAX {
                events.push(self.whom[place].event(came));
            } else {
                self.first = place;
                break;
            }
        }
        for fd in closed {
            if let Some(place) = self.places.get(&fd).copied() {
                self.remove(place);
            }
        }
    }

    fn remove(&mut self, place: usize) {
        self.entries.swap_remove(place);
        let gone = self.whom.swap_remove(place);
        self.places.remove(&gone.fd);
        if let Some(moved) = self.whom.get(place) {
            self.places.insert(moved.fd, place);
        }
    }
}

impl Whom {
    /// What is worth waiting for, now that somebody has tried to read or write, or has not.
    fn wants(&mut self) -> Option<libc::c_short> {
        let How::Edge { told, reading, writing, breaking } = &mut self.how else {
            return Some(libc::POLLIN);
        };
        let now = attempts::of(self.fd);
        *reading |= now.reads != told.reads;
        *writing |= now.blocked_writes != told.blocked_writes;
        *breaking |= now != *told;
        let incoming = if *reading { libc::POLLIN } else { 0 };
        let outgoing = if *writing { libc::POLLOUT } else { 0 };
        let wanted = incoming | outgoing;
        (wanted != 0 || *breaking).then_some(wanted)
    }

    fn event(&mut self, came: libc::c_short) -> Event {
        let broken = came & BROKEN != 0;
        let readable = came & libc::POLLIN != 0 || broken;
        let mut event = Event { token: self.token, readable, writable: false, hang_up: false };
        if let How::Edge { told, reading, writing, breaking } = &mut self.how {
            event.writable = came & libc::POLLOUT != 0 || broken;
            event.hang_up = broken || (readable && attempts::is_at_end(self.fd));
            *told = attempts::of(self.fd);
            *reading &= !event.readable;
            *writing &= !event.writable;
            *breaking &= !broken;
        }
        event
    }
}
