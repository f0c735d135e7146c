//! New descriptors, born non-blocking and closed on exec: Linux and the BSDs.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::call::check;
use super::raw_address::RawAddress;

const SOCKET_FLAGS: libc::c_int = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

/// A stream socket that nothing has been done with yet.
pub(super) fn open_socket(family: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes and gives integers only.
    let fd = check(unsafe { libc::socket(family, libc::SOCK_STREAM | SOCKET_FLAGS, 0) })?;
    // SAFETY: the kernel has just given us this number, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next connection that waits at `listener`; who it is from goes into `peer`.
pub(super) fn accept(listener: BorrowedFd<'_>, peer: &mut RawAddress) -> io::Result<OwnedFd> {
    let (address, length) = peer.pointers_mut();
    // SAFETY: `address` has the room that `length` says, and both outlive the call.
    let fd = check(unsafe { libc::accept4(listener.as_raw_fd(), address, length, SOCKET_FLAGS) })?;
    // SAFETY: the kernel has just given us this number, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The reading and the writing end of a pipe.
pub(super) fn open_pipe() -> io::Result<[OwnedFd; 2]> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two numbers that are written.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    // SAFETY: the kernel has just given us both numbers, so nobody else owns them.
    Ok(ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
}
