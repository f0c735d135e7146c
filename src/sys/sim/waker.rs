//! A simulated waker: a flag that its multiplexor looks at.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Any thread may wake; who was woken drains, and then looks for what it was woken for.
#[derive(Debug)]
pub struct Waker(Arc<AtomicBool>);

impl Waker {
    /// One that nobody has used yet.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn new() -> io::Result<Waker> {
        Ok(Waker(Arc::default()))
    }

    /// Wakes whoever waits for it, now or as soon as it waits. Many wakes may arrive as one.
    pub fn wake(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Forgets the wakes so far. To be called before looking for what they were for.
    pub fn drain(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// What the multiplexor looks at.
    pub(in crate::sys) fn woken(&self) -> Weak<AtomicBool> {
        Arc::downgrade(&self.0)
    }
}
