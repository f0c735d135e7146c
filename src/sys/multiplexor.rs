//! Tells which sockets have something to do: epoll on Linux, kqueue on the BSDs and macOS.
//!
//! The back ends share a shape, not a trait. Sockets are edge-triggered for both directions,
//! join once and leave by being closed; listeners and wakers are level-triggered.

#[cfg_attr(target_os = "linux", path = "epoll_multiplexor.rs")]
#[cfg_attr(not(target_os = "linux"), path = "kqueue_multiplexor.rs")]
mod backend;

pub use backend::Multiplexor;

/// The most events that one wait brings.
const EVENTS_MAX: usize = 1024;
