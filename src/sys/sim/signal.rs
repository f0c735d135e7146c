//! Nobody sends signals in a simulated world.

use std::io;

pub use crate::sys::shapes::Signal;

/// The signals that this process has taken over.
#[derive(Debug)]
pub struct Signals(());

impl Signals {
    /// Catches and ignores signals from now on.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn install() -> io::Result<Signals> {
        Ok(Signals(()))
    }

    /// Nobody waits for signals here, so nothing happens.
    pub fn raise_terminate() {}

    /// Nobody waits for calls here, so nothing happens.
    pub fn call() {}

    /// The next signal: none, and without waiting for it.
    pub fn wait(&self, _timeout_us: Option<u64>) -> Option<Signal> {
        None
    }
}
