//! Moving bytes through the C library.

use std::os::fd::RawFd;

use crate::sys::platform::SEND_FLAGS;

/// `recv` without flags: how many bytes came, or -1 and `errno`.
#[cfg_attr(small, optimize(speed))]
pub(in crate::sys) fn receive(fd: RawFd, room: &mut [u8]) -> libc::ssize_t {
    let (start, size) = (room.as_mut_ptr().cast(), room.len());
    // SAFETY: `start` and `size` are those of `room`, which is ours to write for the call.
    unsafe { libc::recv(fd, start, size, 0) }
}

/// `send` that never signals: how many bytes went, or -1 and `errno`.
#[cfg_attr(small, optimize(speed))]
pub(in crate::sys) fn send(fd: RawFd, bytes: &[u8]) -> libc::ssize_t {
    let (start, size) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: `start` and `size` are those of `bytes`, which outlive the call.
    unsafe { libc::send(fd, start, size, SEND_FLAGS) }
}
