//! New descriptors, made non-blocking and closed on exec right after their birth: for systems
//! that have no call that does it at once, such as macOS. A fork of another thread in between
//! would inherit them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::sys::call::{check, length_of};
use crate::sys::platform::NO_SIGNAL;
use crate::sys::raw_address::RawAddress;

/// A stream socket that nothing has been done with yet.
pub(in crate::sys) fn open_socket(family: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes and gives integers only.
    let fd = check(unsafe { libc::socket(family, libc::SOCK_STREAM, 0) })?;
    // SAFETY: the kernel has just given us this number, so nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set_flags(&socket)?;
    silence(&socket)?;
    Ok(socket)
}

/// The next connection that waits at `listener`; who it is from goes into `peer`.
pub(in crate::sys) fn accept(
    listener: BorrowedFd<'_>,
    peer: &mut RawAddress,
) -> io::Result<OwnedFd> {
    let (address, length) = peer.pointers_mut();
    // SAFETY: `address` has the room that `length` says, and both outlive the call.
    let fd = check(unsafe { libc::accept(listener.as_raw_fd(), address, length) })?;
    // SAFETY: the kernel has just given us this number, so nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set_flags(&socket)?;
    // It fails for a connection that is gone already, which the first read will find out.
    let _ = silence(&socket);
    Ok(socket)
}

/// The reading and the writing end of a pipe.
pub(in crate::sys) fn open_pipe() -> io::Result<[OwnedFd; 2]> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two numbers that are written.
    check(unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    // SAFETY: the kernel has just given us both numbers, so nobody else owns them.
    let ends = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    ends.iter().try_for_each(set_flags)?;
    Ok(ends)
}

/// A descriptor that counts what is written to it: not here.
pub(in crate::sys) fn open_event() -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

fn set_flags(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: with this command fcntl takes and gives integers only.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: with this command fcntl takes and gives integers only.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: with this command fcntl takes and gives integers only.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// A write to a broken connection is to be an error, not a signal. Where no option of the socket
/// says so, a flag of each write does.
fn silence(socket: &OwnedFd) -> io::Result<()> {
    let Some(option) = NO_SIGNAL else { return Ok(()) };
    let (fd, on, size) = (socket.as_raw_fd(), 1i32, length_of::<i32>());
    let value = (&raw const on).cast();
    // SAFETY: `value` points at `on`, which outlives the call and is `size` bytes long.
    check(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, value, size) }).map(drop)
}
