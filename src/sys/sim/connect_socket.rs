//! Begins a connection to somebody in the same simulated world.

use std::io;

use crate::sys::sim::with;
use crate::sys::{Endpoint, Socket};

/// Begins to connect. The socket becomes writable when it is decided, and
/// [`Socket::connect_error`] then tells how it went.
///
/// # Errors
///
/// It is already known that there will be no connection.
pub fn connect(endpoint: &Endpoint) -> io::Result<Socket> {
    with(|state| state.connect(endpoint, None)).map(Socket::from_id)
}
