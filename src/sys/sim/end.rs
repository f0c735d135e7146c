//! One end of a simulated connection: what has arrived, what it may send, how it is.
//!
//! It answers as a Linux socket would. What travels between two ends is the state's business.

use std::collections::VecDeque;
use std::io;

use super::events::Watch;
use super::state::Happening;
use crate::sys::{Peer, Progress};

/// One end of a connection, or of what is to become one.
pub(super) struct End {
    pub(super) life: Life,
    /// The other end, until it is closed.
    pub(super) peer: Option<u32>,
    /// Who connected, as the one who accepts this end is told.
    pub(super) from: Peer,
    /// Whether somebody holds the socket; otherwise it waits to be accepted.
    pub(super) is_held: bool,
    /// What has arrived and was not read.
    pub(super) inbound: VecDeque<u8>,
    /// The peer's end has arrived.
    pub(super) heard_all: bool,
    /// Our own end was sent.
    pub(super) said_all: bool,
    /// The peer is told by a reset when it is closed.
    pub(super) resets: bool,
    /// How many bytes were sent that the peer has not read, and how many may be.
    pub(super) unread_by_peer: usize,
    pub(super) capacity: usize,
    /// A write found no room, so an event is owed when there is some.
    pub(super) wants_room: bool,
    /// That event is on its way.
    pub(super) room_coming: bool,
    /// When the last that was sent arrives; nothing overtakes it.
    pub(super) last_arrival_us: u64,
    /// What went wrong and was not told yet.
    pub(super) error: Option<i32>,
    /// What arrived while the network was held.
    pub(super) held_back: Option<Vec<Happening>>,
    pub(super) watch: Option<Watch>,
}

/// What an end is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// The connect is not decided.
    Connecting,
    /// Bytes may flow.
    Open,
    /// Nothing flows any more.
    Broken,
}

/// What epoll would say about a socket now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Readiness {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) hang_up: bool,
}

impl End {
    pub(super) fn new(life: Life, from: Peer, capacity: usize) -> End {
        End {
            life,
            peer: None,
            from,
            is_held: true,
            inbound: VecDeque::new(),
            heard_all: false,
            said_all: false,
            resets: false,
            unread_by_peer: 0,
            capacity,
            wants_room: false,
            room_coming: false,
            last_arrival_us: 0,
            error: None,
            held_back: None,
            watch: None,
        }
    }

    /// Moves what has arrived into `room`, at most `most` bytes.
    pub(super) fn take(&mut self, room: &mut [u8], most: usize) -> io::Result<Progress> {
        let size = room.len().min(most).min(self.inbound.len());
        if size > 0 {
            let (front, back) = self.inbound.as_slices();
            let of_front = front.len().min(size);
            room[..of_front].copy_from_slice(&front[..of_front]);
            room[of_front..size].copy_from_slice(&back[..size - of_front]);
            self.inbound.drain(..size);
            return Ok(Progress::Moved(size));
        }
        self.tell_error()?;
        match self.life {
            Life::Broken => Ok(Progress::Closed),
            Life::Open if self.heard_all => Ok(Progress::Closed),
            Life::Open | Life::Connecting => Ok(Progress::WouldBlock),
        }
    }

    /// How many bytes a write may hand over now; `None` when there is no connection yet.
    pub(super) fn room(&mut self) -> io::Result<Option<usize>> {
        self.tell_error()?;
        match self.life {
            Life::Connecting => Ok(None),
            Life::Open if !self.said_all => {
                Ok(Some(self.capacity.saturating_sub(self.unread_by_peer)))
            }
            Life::Open | Life::Broken => Err(io::Error::from_raw_os_error(libc::EPIPE)),
        }
    }

    /// Gives an error that was not told yet, once.
    pub(super) fn tell_error(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }

    /// From now on nothing flows; `code` is told once what has arrived was read.
    pub(super) fn break_with(&mut self, code: i32) {
        self.life = Life::Broken;
        self.error = Some(code);
        self.held_back = None;
    }

    /// Linux calls a socket writable when a third of its room is free.
    pub(super) fn has_much_room(&self) -> bool {
        self.unread_by_peer <= self.capacity - self.capacity.div_ceil(3)
    }

    pub(super) fn readiness(&self) -> Readiness {
        match self.life {
            Life::Connecting => Readiness { readable: false, writable: false, hang_up: false },
            Life::Broken => Readiness { readable: true, writable: true, hang_up: true },
            Life::Open => Readiness {
                readable: self.heard_all || !self.inbound.is_empty(),
                writable: self.said_all || self.has_much_room(),
                hang_up: self.heard_all,
            },
        }
    }
}
