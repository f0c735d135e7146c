//! How much memory a simulated process has: what its buffers take, and what the test says that
//! everything else does. The machine's own is not simulated.

use std::cell::Cell;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static ELSEWHERE: Cell<usize> = const { Cell::new(0) };
}

/// Bytes that are in use at this moment.
#[inline]
pub fn used() -> usize {
    HELD.get() + ELSEWHERE.get()
}

/// A pool of buffers takes so many bytes.
pub fn hold(bytes: usize) {
    HELD.set(HELD.get() + bytes);
}

/// A pool of buffers gives so many bytes back.
pub fn release(bytes: usize) {
    HELD.set(HELD.get().saturating_sub(bytes));
}

/// From now on everything but buffers takes so many bytes.
pub(in crate::sys) fn take_elsewhere(bytes: usize) {
    ELSEWHERE.set(bytes);
}

/// A world begins: nobody has anything.
pub(in crate::sys) fn reset() {
    HELD.set(0);
    ELSEWHERE.set(0);
}

/// There is nothing to be thrifty with.
pub fn be_thrifty() {}

/// There is nothing to hand back.
pub fn give_back() {}
