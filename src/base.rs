//! What std lacks: ids that go stale, addresses as values, patterns, small sorting and maps, a random generator.
//!
//! Knows no operating system and no Redis.

pub mod address;
pub mod glob;
pub mod order;
pub mod random;
pub mod ring;
pub mod slab;
pub mod sorted_map;
