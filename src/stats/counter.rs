//! A counter with one writer and any number of readers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one thread changes and all may read.
///
/// Adding is a plain load and a plain store, without a locked instruction; two writers would
/// lose counts, though never tear them.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `amount` more.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// Counts one more.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts one less: for gauges, which say how many there are now.
    #[inline]
    pub fn decrement(&self) {
        let value = self.0.load(Relaxed);
        debug_assert_ne!(value, 0, "a gauge went below zero");
        self.0.store(value.saturating_sub(1), Relaxed);
    }

    /// There are so many now: for gauges that the writer knows by heart.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The number now.
    #[inline]
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_up_and_a_gauge_also_down() {
        let counter = Counter::default();
        counter.add(5);
        counter.increment();
        counter.decrement();
        assert_eq!(counter.value(), 5);
    }
}
