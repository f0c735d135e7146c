//! Chance, from the system.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number that nobody outside can guess, another one each time: for seeding a generator.
pub fn seed() -> u64 {
    // std keys its hash maps from the system's generator, with new keys for each map.
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_differ() {
        assert_ne!(seed(), seed());
    }
}
