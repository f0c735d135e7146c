//! Tells which sockets have something to do: by epoll on Linux, kqueue on the BSDs and macOS, poll
//! on any other Unix.
//!
//! The back ends share a shape, not a trait. Sockets are edge-triggered for both directions,
//! join once and leave by being closed or handed to another process; listeners and wakers are level-triggered. What is new is
//! told at the latest after a read that did not fill its room, or a write that was not taken
//! whole; the end of a stream, when all before it has been read.

pub use super::platform::multiplexor::Multiplexor;

/// The most events that one wait brings.
pub(super) const EVENTS_MAX: usize = 1024;
