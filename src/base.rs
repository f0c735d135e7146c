//! What std lacks: ids that go stale, addresses as values, a small random generator.
//!
//! Knows no operating system and no Redis.

pub mod address;
pub mod random;
pub mod slab;
