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

    /// Like [`Current::update`], for what was learned about the groups of the topology that was
    /// `seen`: after a new configuration that says nothing about those of now.
    pub fn update_since(
        &self,
        seen: &Topology,
        next: impl FnOnce(&Topology) -> Option<Topology>,
    ) -> Option<Arc<Topology>> {
        self.update(|topology| topology.is_under_rules_of(seen).then(|| next(topology)).flatten())
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

#[cfg(test)]
mod tests {
    use super::super::server::ServerId;
    use super::super::slot::Slot;
    use super::super::test_support::{address, cluster};
    use super::*;

    #[test]
    fn a_view_sees_what_was_published_and_what_was_before() {
        let current = Arc::new(Current::new(cluster(&["10.0.0.1:1"])));
        let mut view = View::new(Arc::clone(&current));
        assert!(view.catch_up().is_none());
        let slot = Slot::new(7).unwrap();
        let moved = current.update(|old| old.with_moved(slot, &address("10.0.0.2:1"))).unwrap();
        assert_eq!(view.topology().master_of_slot(slot), None, "not before it looks");
        let before = view.catch_up().unwrap();
        assert!(Arc::ptr_eq(view.topology(), &moved));
        assert_eq!(before.changed_slots(view.topology()).collect::<Vec<_>>(), [slot]);
        assert!(view.catch_up().is_none());
        assert!(current.update(|old| old.with_moved(slot, &address("10.0.0.2:1"))).is_none());
        assert!(view.catch_up().is_none(), "nothing new is nothing to see");
    }

    #[test]
    fn publishing_always_counts_up() {
        let current = Current::new(cluster(&["10.0.0.1:1"]));
        let before = current.version();
        current.publish(cluster(&["10.0.0.2:1"]));
        assert!(current.version() > before);
        assert_eq!(current.load().version(), current.version());
    }

    #[test]
    fn d46_writers_do_not_lose_each_others_work() {
        const THREADS: u64 = 4;
        const EACH: u64 = 50;
        let current = Arc::new(Current::new(cluster(&["10.0.0.1:1"])));
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let current = Arc::clone(&current);
                std::thread::spawn(move || {
                    for number in 0..EACH {
                        let slot = Slot::new(thread * EACH + number).unwrap();
                        let owner = address(&format!("10.0.1.{thread}:1"));
                        current.update(|old| old.with_moved(slot, &owner));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let topology = current.load();
        let owned = Slot::all().filter_map(|slot| topology.master_of_slot(slot));
        assert_eq!(owned.count() as u64, THREADS * EACH);
        assert_eq!(topology.version(), current.version());
        let mut ids: Vec<_> = topology.servers().map(|server| server.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 5);
        assert_eq!(ids.last().copied().map(ServerId::index), Some(4));
    }
}
