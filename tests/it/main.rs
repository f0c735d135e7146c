//! Integration tests: the binary against real servers, and against a scripted one for what those cannot be made
//! to do. One file per feature; `support` is what they stand on.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on stops and says why")]

mod support;

mod user_of_2022;
