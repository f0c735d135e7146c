//! Wakes a thread that waits in its multiplexor: an eventfd on Linux, a pipe elsewhere.

#[cfg_attr(target_os = "linux", path = "event_waker.rs")]
#[cfg_attr(not(target_os = "linux"), path = "pipe_waker.rs")]
mod backend;

pub use backend::Waker;
