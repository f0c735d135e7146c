//! A platform in memory: sockets, time, names and chance, all driven by one seed.
//!
//! Each thread has a world of its own. In it the handlers run unchanged, and the test that drives
//! them uses the same sockets for its clients and servers. Nothing blocks and nothing happens by
//! itself: a wait gives what is ready now and notes until when the caller would have slept, and
//! the driver moves the clock when [`World::is_quiet`]. All that could go either way is drawn
//! from the seed, so a seed replays exactly; [`World::fingerprint`] tells whether it did.
//!
//! ```text
//! World::reset(seed, Faults::rough());
//! loop {
//!     handler.turn();
//!     let moved = clients.turn() | servers.turn();
//!     if !moved && World::is_quiet() && !World::advance() { break }
//! }
//! ```

mod faults;
mod end;
mod ends;
mod events;
mod network;
mod state;

use std::fmt;
use std::io;
use std::net::SocketAddr;

pub use faults::Faults;
pub(in crate::sys) use state::{State, leave, settle, with};

use crate::base::random::Random;
use crate::sys::{Endpoint, ListenSocket, Socket};

/// What becomes of those who connect to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Whoever listens there answers; nobody does if nobody listens.
    Answer,
    /// Refused, even if somebody listens.
    Refuse,
    /// Never answered: the system gives up after two minutes.
    Silence,
}

/// The world of this thread, and what a test may do with it.
#[derive(Debug)]
pub struct World;

impl World {
    /// Begins anew. What was open in the world before is gone, and using it an error.
    pub fn reset(seed: u64, faults: Faults) {
        let old = with(|state| {
            let new = state.successor(seed, faults);
            std::mem::replace(state, new)
        });
        // Only now: what hangs in the old world may own sockets, which close themselves.
        drop(old);
        super::memory::reset();
    }

    /// Replaces the faults from now on, for instance by none, to let everything come to rest.
    pub fn set_faults(faults: Faults) {
        with(|state| state.faults = faults);
    }

    /// A generator of the test's own, so that its draws do not change the world's.
    pub fn random() -> Random {
        with(|state| Random::new(state.random.next_u64()))
    }

    /// Microseconds on the monotonic clock.
    pub fn now_us() -> u64 {
        with(|state| state.now_us)
    }

    /// True when nothing can happen unless the clock moves: no event waits to be reported, no
    /// answer is due, and every multiplexor's last wait found nothing and would sleep on. What
    /// the test itself could still read or write is for the test to know.
    pub fn is_quiet() -> bool {
        settle();
        with(|state| state.is_quiet())
    }

    /// Moves the clock to the next thing that will happen, or to the earliest deadline of a wait.
    /// False when there is neither, so that everybody would sleep for ever.
    pub fn advance() -> bool {
        let moved = with(State::advance);
        settle();
        moved
    }

    /// Moves the clock by so many microseconds; what falls due on the way happens in its order.
    pub fn advance_by(us: u64) {
        with(|state| state.advance_to(state.now_us.saturating_add(us)));
        settle();
    }

    /// Makes [`World::advance`] stop at this moment, for what the test itself does at a time.
    pub fn alarm(at_us: u64) {
        with(|state| state.alarm(at_us));
    }

    /// Sets the clock on the wall forward or back, as an administrator may.
    pub fn shift_wall(us: i64) {
        with(|state| state.wall_shift_us = state.wall_shift_us.saturating_add(us));
    }

    /// What the resolver answers for a name; an empty list is a failure.
    pub fn name(name: &str, addresses: &[SocketAddr]) {
        Self::slow_name(name, addresses, 0);
    }

    /// The same, where each answer takes `delay_us`.
    pub fn slow_name(name: &str, addresses: &[SocketAddr], delay_us: u64) {
        with(|state| state.set_name(name, addresses, delay_us));
    }

    /// What becomes of connects to an endpoint from now on.
    pub fn set_fate(endpoint: &Endpoint, fate: Fate) {
        with(|state| state.set_fate(endpoint, fate));
    }

    /// Connects for the test: the peer sees `source`, and no random fault refuses it.
    ///
    /// # Errors
    ///
    /// Nobody listens at the path of a Unix socket.
    pub fn connect_from(source: SocketAddr, endpoint: &Endpoint) -> io::Result<Socket> {
        with(|state| state.connect(endpoint, Some(source))).map(Socket::from_id)
    }

    /// Lets the next `count` accepts of watched listeners fail: no descriptor is left.
    pub fn fail_accepts(count: u32) {
        with(|state| state.accepts_to_fail = count);
    }

    /// From now on something that is no buffer takes so many bytes of memory.
    pub fn take_memory(bytes: usize) {
        super::memory::take_elsewhere(bytes);
    }

    /// Breaks a connection: both ends lose what is on its way and get ECONNRESET.
    pub fn cut(socket: &Socket) {
        with(|state| state.cut(socket.id()));
    }

    /// Holds back all that is on its way through a connection, as a network that has failed.
    pub fn hold(socket: &Socket) {
        with(|state| state.hold(socket.id()));
    }

    /// Lets through what was held back.
    pub fn release(socket: &Socket) {
        with(|state| state.release(socket.id()));
    }

    /// How many sockets are held by somebody, the test included. Listeners are not counted.
    pub fn open_sockets() -> usize {
        with(|state| state.open_sockets())
    }

    /// How many listeners are open.
    pub fn open_listeners() -> usize {
        with(|state| state.listeners.len())
    }

    /// Grows with everything that happens, so that a driver can see whether something did.
    pub fn moves() -> u64 {
        with(|state| state.moves)
    }

    /// Keeps so many lines of trace, in this world and in those that follow. With 0 nothing is
    /// written at all, and there is no sum over it either.
    pub fn keep_trace(lines: usize) {
        with(|state| state.trace_max = lines);
    }

    /// Whether a read from a socket would give bytes, the end or an error.
    pub fn has_news(socket: &Socket) -> bool {
        with(|state| state.has_news(socket.id()))
    }

    /// Whether somebody waits to be accepted.
    pub fn is_awaited(listener: &ListenSocket) -> bool {
        with(|state| state.is_awaited(listener.id()))
    }

    /// The last things that happened, oldest first.
    pub fn trace() -> Vec<String> {
        with(|state| state.trace.iter().cloned().collect())
    }

    /// A line of the test's own in the trace.
    pub fn note(text: fmt::Arguments<'_>) {
        with(|state| state.note(text));
    }

    /// A sum over all that ever happened: equal for two runs that were equal, if a trace is kept.
    pub fn fingerprint() -> u64 {
        with(|state| state.fingerprint)
    }
}

#[cfg(test)]
mod tests;
