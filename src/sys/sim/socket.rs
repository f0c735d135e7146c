//! A simulated stream socket, with the shape and the answers of a real one.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::num::NonZeroU32;

use crate::sys::Progress;
use crate::sys::sim::{State, leave, with};

/// An open connection, or one that is being made. It never blocks, and closes when dropped.
#[derive(Debug)]
pub struct Socket(NonZeroU32);

impl Socket {
    /// The socket with a number that the world has just given.
    pub(in crate::sys) fn from_id(id: u32) -> Socket {
        Socket(NonZeroU32::new(id).unwrap_or(NonZeroU32::MAX))
    }

    /// The world's number for this socket.
    pub(in crate::sys) fn id(&self) -> u32 {
        self.0.get()
    }

    /// Reads what has arrived, as far as it fits into `room`, which must not be empty.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn read(&self, room: &mut [u8]) -> io::Result<Progress> {
        debug_assert!(!room.is_empty(), "the end could not be told from no room");
        with(|state| state.read(self.id(), room))
    }

    /// Hands as many of `bytes` to the system as it takes now.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn write(&self, bytes: &[u8]) -> io::Result<Progress> {
        with(|state| state.write(self.id(), bytes.len(), std::iter::once(bytes)))
    }

    /// Hands the bytes of `slices` to the system in their order, as many as it takes now.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<Progress> {
        let total = slices.iter().map(|slice| slice.len()).sum();
        with(|state| state.write(self.id(), total, slices.iter().map(|slice| &**slice)))
    }

    /// Sends small replies at once instead of waiting to fill a packet. A Unix socket always does.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn set_no_delay(&self) -> io::Result<()> {
        Ok(())
    }

    /// Lets the system ask whether the peer is still there; not simulated.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn set_keep_alive(&self, _idle_s: u32) -> io::Result<()> {
        Ok(())
    }

    /// How a connect went, to be asked after the first writable event. The answer is given once.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub fn connect_error(&self) -> io::Result<()> {
        with(|state| state.take_error(self.id()))
    }

    /// Tells the peer that nothing more will come; reading goes on.
    ///
    /// # Errors
    ///
    /// There is no connection (any more).
    pub fn shut_down_write(&self) -> io::Result<()> {
        with(|state| state.shut_down_write(self.id()))
    }

    /// Has the peer told by a reset when this is closed. What is on its way still arrives here.
    pub fn discard_undelivered(&self) {
        with(|state| state.close_with_reset(self.id()));
    }

    /// The address of this end: not simulated.
    pub fn local_address(&self) -> Option<SocketAddr> {
        None
    }

    /// The number that the trace knows this socket by.
    pub fn number(&self) -> i32 {
        i32::try_from(with(|state| State::shown(state, self.id()))).unwrap_or(i32::MAX)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        leave(|state| state.close(self.id()));
    }
}
