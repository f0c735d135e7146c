//! The snapshot, and how threads follow it.
//!
//! Whoever learned something makes the next topology from the current one, under a lock that only
//! such writers take. A handler looks at one number a turn and fetches the snapshot when it has
//! changed. It wakes nobody: that is for who publishes.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::topology::Topology;

/// The topology of this moment, shared by all threads.
#[derive(Debug)]
pub struct Current {
    /// Version of what `topology` holds; written while its lock is held.
    version: AtomicU64,
    topology: Mutex<Arc<Topology>>,
    /// Held from the look at the old topology to the publishing of the new one, so that no two
    /// writers start from the same one and lose each other's work (D-46). Readers do not wait
    /// for it.
    writer: Mutex<()>,
}

impl Current {
    /// Starts with this topology.
    #[must_use]
    pub fn new(topology: Topology) -> Current {
        Current {
            version: AtomicU64::new(topology.version),
            topology: Mutex::new(Arc::new(topology)),
            writer: Mutex::new(()),
        }
    }

    /// Grows with everything that is published: one load.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// The topology of this moment.
    #[must_use]
    pub fn load(&self) -> Arc<Topology> {
        Arc::clone(&lock(&self.topology))
    }

    /// Replaces the topology whatever it is. To build on it, use [`Current::update`].
    pub fn publish(&self, topology: Topology) -> Arc<Topology> {
        let _writer = lock(&self.writer);
        self.replace(topology)
    }

    /// Makes the next topology from the current one and publishes it; `None` leaves all as it is.
    /// Nobody else publishes in between.
    pub fn update(
        &self,
        next: impl FnOnce(&Topology) -> Option<Topology>,
    ) -> Option<Arc<Topology>> {
        let _writer = lock(&self.writer);
        let old = self.load();
        let new = next(&old)?;
        Some(self.replace(new))
    }

    fn replace(&self, mut topology: Topology) -> Arc<Topology> {
        let mut current = lock(&self.topology);
        topology.version = topology.version.max(current.version + 1);
        let topology = Arc::new(topology);
        *current = Arc::clone(&topology);
        self.version.store(topology.version, Release);
        topology
    }
}

/// One handler's reference to the topology, as of the last time it looked.
#[derive(Debug)]
pub struct View {
    current: Arc<Current>,
    topology: Arc<Topology>,
}

impl View {
    /// Looks for the first time.
    #[must_use]
    pub fn new(current: Arc<Current>) -> View {
        let topology = current.load();
        View { current, topology }
    }

    /// What was seen last.
    #[must_use]
    #[inline]
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Where it comes from.
    #[must_use]
    pub fn current(&self) -> &Arc<Current> {
        &self.current
    }

    /// Looks again. Returns what was seen before if it is another one now, so that both can be
    /// compared.
    pub fn catch_up(&mut self) -> Option<Arc<Topology>> {
        if self.current.version() == self.topology.version {
            return None;
        }
        let now = self.current.load();
        Some(std::mem::replace(&mut self.topology, now))
    }
}

/// A writer that panicked left the old topology in place, which is still a good one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
