//! The Redis protocol, pure: bytes in, positions and values out.
//!
//! Nothing here knows a socket, a client or a server. In reading order: what the proxy knows
//! about every command, how a request is found, how a reply is found, what an error reply
//! means, and how both are written.

pub mod command;
pub mod scan;
pub mod request_parser;
pub mod response_parser;
pub mod reply;
pub mod redirect;
pub mod writer;

#[cfg(test)]
#[path = "../tests/fuzz/reference.rs"]
#[allow(clippy::cast_possible_truncation, reason = "plain beats exact here: lengths were checked")]
mod reference;
