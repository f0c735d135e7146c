//! Begins a connection without waiting for it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::call::check;
use super::raw_address::RawAddress;
use super::{Endpoint, Socket, descriptor};

/// Begins to connect. The socket becomes writable when it is decided, and
/// [`Socket::connect_error`] then tells how it went.
///
/// # Errors
///
/// It is already known that there will be no connection.
pub fn connect(endpoint: &Endpoint) -> io::Result<Socket> {
    let address = RawAddress::new(endpoint)?;
    let socket = Socket::from_descriptor(descriptor::open_socket(address.family())?);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the pointer and the length are those of `address`, which outlives the call.
    let result = check(unsafe { libc::connect(fd, address.pointer(), address.length()) });
    match result.map_err(|error| (error.raw_os_error(), error)) {
        // An interrupted connect goes on by itself, as one that is in progress.
        Ok(_) | Err((Some(libc::EINPROGRESS | libc::EINTR), _)) => Ok(socket),
        Err((_, error)) => Err(error),
    }
}
