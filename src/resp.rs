//! The protocol that clients and servers speak, pure: bytes and values in, values out.

pub mod command;
