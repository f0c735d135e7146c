//! Simulated chance: it follows from the seed of the world.

use crate::sys::sim::with;

/// Another number each time: for seeding a generator.
pub fn seed() -> u64 {
    with(|state| state.seed())
}
