//! Moving bytes on Linux, without the C library's wrappers.
//!
//! Those are cancellation points: in a program with threads each call announces and takes back
//! that it may be cancelled, which measured 45 instructions a call, of about 650 that an
//! unpipelined request costs in four such calls. Nothing here is ever cancelled.

use std::os::fd::RawFd;

/// `recv` without flags: how many bytes came, or -1 and `errno`.
#[cfg_attr(small, optimize(speed))]
pub(in crate::sys) fn receive(fd: RawFd, room: &mut [u8]) -> libc::ssize_t {
    let (start, size) = (room.as_mut_ptr(), room.len());
    let nobody = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: `start` and `size` are those of `room`, which is ours to write for the call; no
    // address is asked for.
    let answer = unsafe { libc::syscall(libc::SYS_recvfrom, fd, start, size, 0, nobody, nobody) };
    narrow(answer)
}

/// `send` that never signals: how many bytes went, or -1 and `errno`.
#[cfg_attr(small, optimize(speed))]
pub(in crate::sys) fn send(fd: RawFd, bytes: &[u8]) -> libc::ssize_t {
    let (start, size) = (bytes.as_ptr(), bytes.len());
    let (flags, nobody) = (libc::MSG_NOSIGNAL, std::ptr::null::<libc::c_void>());
    // SAFETY: `start` and `size` are those of `bytes`, which outlive the call; no address is
    // given.
    let answer = unsafe { libc::syscall(libc::SYS_sendto, fd, start, size, flags, nobody, 0) };
    narrow(answer)
}

/// A `long`, which is as wide as a `ssize_t` on every Linux.
#[expect(clippy::cast_possible_truncation, reason = "it is cut on no platform")]
fn narrow(answer: libc::c_long) -> libc::ssize_t {
    answer as libc::ssize_t
}
