//! Simulated readiness: it never sleeps, and says what a real one would have said.

use std::io;

use crate::sys::sim::{leave, settle, with};
use crate::sys::{Event, ListenSocket, Socket, Token, Waker};

/// What one handler waits for.
#[derive(Debug)]
pub struct Multiplexor {
    id: u32,
}

impl Multiplexor {
    /// One that waits for nothing yet.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn new() -> io::Result<Multiplexor> {
        Ok(Multiplexor { id: with(|state| state.new_watcher()) })
    }

    /// Watches both directions of a socket, edge by edge, until it is closed.
    ///
    /// # Errors
    ///
    /// It is watched already.
    pub fn add(&self, socket: &Socket, token: Token) -> io::Result<()> {
        with(|state| state.watch(self.id, socket.id(), token))
    }

    /// No longer watches a socket that another process goes on with.
    ///
    /// # Errors
    ///
    /// It was not watched.
    pub fn remove(&self, _socket: &Socket) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reports a listener as readable for as long as connections wait.
    ///
    /// # Errors
    ///
    /// It is watched already.
    pub fn add_listener(&self, listener: &ListenSocket, token: Token) -> io::Result<()> {
        with(|state| state.watch_listener(self.id, listener.id(), token))
    }

    /// No longer watches a listener, for instance while no descriptor is left to accept with.
    ///
    /// # Errors
    ///
    /// It was not watched.
    pub fn remove_listener(&self, listener: &ListenSocket) -> io::Result<()> {
        with(|state| state.unwatch_listener(self.id, listener.id()))
    }

    /// Reports a waker as readable from its wake until it is drained.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn add_waker(&self, waker: &Waker, token: Token) -> io::Result<()> {
        with(|state| state.watch_waker(self.id, waker.woken(), token))
    }

    /// Says what is ready now; when nothing is, the driver moves the clock up to `timeout_us`
    /// before the next turn. What happened replaces what is in `events`.
    ///
    /// # Errors
    ///
    /// The world that this was made in is gone.
    pub fn wait(&self, events: &mut Vec<Event>, timeout_us: Option<u64>) -> io::Result<()> {
        events.clear();
        settle();
        with(|state| state.wait(self.id, events, timeout_us))
    }
}

impl Drop for Multiplexor {
    fn drop(&mut self) {
        leave(|state| state.close_watcher(self.id));
    }
}
