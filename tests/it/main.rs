//! Integration tests: the binary against real servers, and against a scripted one for what those
//! cannot be made to do. One file per feature; `support` is what they stand on.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on stops and says why"
)]
#![allow(clippy::cast_possible_truncation, reason = "test data is cut to a byte on purpose")]

mod support;

mod command_line;
mod command_table;
mod conf;
mod connection;
mod errors;
mod fan_out;
mod house;
mod inline;
mod isolation;
mod long_keys;
mod malformed;
mod multi_key;
mod protocol;
mod redirect;
mod replies;
mod resharding;
mod scan;
mod scripts;
mod shutdown;
mod single_key;
mod slow_clients;
mod timeouts;
mod tools;
mod topology;
mod user_of_2022;
