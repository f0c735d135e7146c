//! it
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops and says why")]

mod command_table;
