//! A proxy that gives any Redis client one address for a Redis Cluster, for
//! Sentinel-managed groups, or for plain servers.
//!
//! The modules are in reading order, and each uses only itself and those above it.
//! They are public for the binary, the tests and the fuzzers; there is no library API.

// `make static` compiles for size, and this lets it except what each request runs through.
#![cfg_attr(small, feature(optimize_attribute))]

pub mod base;
pub mod sys;
pub mod logger;
pub mod buffer;
pub mod resp;
pub mod conf;
pub mod pool;
pub mod stats;
pub mod proxy;
