//! New descriptors, born non-blocking and closed on exec: Linux and the BSDs.
//!
//! A kernel, or a sandbox, that does not know these calls gets the older ones.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::sys::call::check;
use crate::sys::platform;
use crate::sys::raw_address::RawAddress;

#[path = "descriptor_fcntl.rs"]
mod afterwards;

const SOCKET_FLAGS: libc::c_int = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

/// A stream socket that nothing has been done with yet.
pub(in crate::sys) fn open_socket(family: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes and gives integers only.
    match check(unsafe { libc::socket(family, libc::SOCK_STREAM | SOCKET_FLAGS, 0) }) {
        // SAFETY: the kernel has just given us this number, so nobody else owns it.
        Ok(fd) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        // So says a kernel that does not know the flags.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => afterwards::open_socket(family),
        Err(error) => Err(error),
    }
}

/// The next connection that waits at `listener`; who it is from goes into `peer`.
pub(in crate::sys) fn accept(
    listener: BorrowedFd<'_>,
    peer: &mut RawAddress,
) -> io::Result<OwnedFd> {
    let (fd, (address, length)) = (listener.as_raw_fd(), peer.pointers_mut());
    // SAFETY: `address` has the room that `length` says, and both outlive the call.
    match check(unsafe { libc::accept4(fd, address, length, SOCKET_FLAGS) }) {
        // SAFETY: the kernel has just given us this number, so nobody else owns it.
        Ok(fd) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Err(error) if is_unknown(&error) => afterwards::accept(listener, peer),
        Err(error) => Err(error),
    }
}

/// The reading and the writing end of a pipe.
pub(in crate::sys) fn open_pipe() -> io::Result<[OwnedFd; 2]> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two numbers that are written.
    match check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) }) {
        // SAFETY: the kernel has just given us both numbers, so nobody else owns them.
        Ok(_) => Ok(ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(error) if is_unknown(&error) => afterwards::open_pipe(),
        Err(error) => Err(error),
    }
}

/// A descriptor that counts what is written to it, where there is such a thing.
pub(in crate::sys) fn open_event() -> io::Result<Option<OwnedFd>> {
    let Some(answer) = platform::open_event() else { return afterwards::open_event() };
    match check(answer) {
        // SAFETY: the kernel has just given us this number, so nobody else owns it.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(error) if is_unknown(&error) => afterwards::open_event(),
        Err(error) => Err(error),
    }
}

fn is_unknown(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOSYS)
}
