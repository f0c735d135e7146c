//! A connected stream socket: reads, gathered writes, options.
//!
//! Knows no protocol and no readiness; it says at once what came of a try.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::Progress;
use super::call::{check, check_size, length_of, retry};
use super::platform::{KEEP_IDLE, KEEP_INTERVAL_AND_COUNT, SEND_FLAGS};
use super::raw_address::RawAddress;
use super::{attempts, transfer};

/// The most slices that one write may gather; all systems take as many.
const SLICES_MAX: usize = 1024;

/// An open connection, or one that is being made. It never blocks, and closes when dropped.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Takes over a stream socket that is already non-blocking.
    pub(super) fn from_descriptor(fd: OwnedFd) -> Socket {
        Socket(fd)
    }

    /// Reads what has arrived, as far as it fits into `room`, which must not be empty.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    #[cfg_attr(small, optimize(speed))]
    pub fn read(&self, room: &mut [u8]) -> io::Result<Progress> {
        debug_assert!(!room.is_empty(), "the end could not be told from no room");
        let fd = self.0.as_raw_fd();
        let outcome = match retry(|| check_size(transfer::receive(fd, room))) {
            Ok(0) => Ok(Progress::Closed),
            other => progress(other),
        };
        attempts::note_read(fd);
        outcome
    }

    /// Hands as many of `bytes` to the system as it takes now.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    #[cfg_attr(small, optimize(speed))]
    pub fn write(&self, bytes: &[u8]) -> io::Result<Progress> {
        let fd = self.0.as_raw_fd();
        let outcome = progress(retry(|| check_size(transfer::send(fd, bytes))));
        attempts::note_write(fd, bytes.len(), &outcome);
        outcome
    }

    /// Hands the bytes of `slices` to the system in their order, as many as it takes now.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<Progress> {
        let slices = &slices[..slices.len().min(SLICES_MAX)];
        // SAFETY: a C struct of integers and pointers, for which all bits zero is a value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        // An IoSlice is laid out like an iovec, by the promise of std.
        message.msg_iov = slices.as_ptr().cast_mut().cast();
        message.msg_iovlen = slices.len() as _;
        let fd = self.0.as_raw_fd();
        // SAFETY: `message` names `slices`, which outlive the call and are only read.
        let sent =
            retry(|| check_size(unsafe { libc::sendmsg(fd, &raw const message, SEND_FLAGS) }));
        let outcome = progress(sent);
        attempts::note_write_vectored(fd, slices, &outcome);
        outcome
    }

    /// Sends small replies at once instead of waiting to fill a packet. A Unix socket always does.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_no_delay(&self) -> io::Result<()> {
        only_for_tcp(self.set_option(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1))
    }

    /// Lets the system ask whether the peer is still there once nothing was heard of it for
    /// `idle_s` seconds, and three times more, `idle_s / 3` apart, before it gives up. A system
    /// that has no such choice uses its own times. A Unix socket needs none of this.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn set_keep_alive(&self, idle_s: u32) -> io::Result<()> {
        let idle_s = i32::try_from(idle_s).unwrap_or(i32::MAX).max(1);
        self.set_option(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
        if let Some(idle) = KEEP_IDLE {
            only_for_tcp(self.set_option(libc::IPPROTO_TCP, idle, idle_s))?;
        }
        if let Some((interval, count)) = KEEP_INTERVAL_AND_COUNT {
            only_for_tcp(self.set_option(libc::IPPROTO_TCP, interval, (idle_s / 3).max(1)))?;
            only_for_tcp(self.set_option(libc::IPPROTO_TCP, count, 3))?;
        }
        Ok(())
    }

    /// How a connect went, to be asked after the first writable event. The answer is given once.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub fn connect_error(&self) -> io::Result<()> {
        let (fd, mut code, mut size) = (self.0.as_raw_fd(), 0i32, length_of::<i32>());
        let (level, name, value) = (libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut code).cast());
        // SAFETY: `value` points at `code`, which outlives the call and is `size` bytes long.
        check(unsafe { libc::getsockopt(fd, level, name, value, &raw mut size) })?;
        if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
    }

    /// Tells the peer that nothing more will come; reading goes on.
    ///
    /// # Errors
    ///
    /// There is no connection (any more).
    pub fn shut_down_write(&self) -> io::Result<()> {
        // SAFETY: takes and gives integers only.
        check(unsafe { libc::shutdown(self.0.as_raw_fd(), libc::SHUT_WR) }).map(drop)
    }

    /// Has whatever was not delivered by then thrown away when this is closed, and the peer told so:
    /// it must not arrive later than what is sent on another connection.
    pub fn discard_undelivered(&self) {
        let (fd, size) = (self.0.as_raw_fd(), length_of::<libc::linger>());
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let place = (&raw const linger).cast();
        // Where that fails, such as after a reset, nothing is left to be discarded.
        // SAFETY: `place` points at `linger`, which outlives the call and is `size` bytes long.
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, place, size) };
    }

    /// The address of this end: of an accepted connection, the one that its peer has reached us
    /// by. `None` of a Unix socket.
    pub fn local_address(&self) -> Option<SocketAddr> {
        let mut address = RawAddress::room();
        let (place, length) = address.pointers_mut();
        // SAFETY: `place` has the room that `length` says, and both outlive the call.
        check(unsafe { libc::getsockname(self.0.as_raw_fd(), place, length) }).ok()?;
        address.ip()
    }

    /// The number that the system knows this socket by, for logs.
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Sets an option whose value is an integer.
    pub(super) fn set_option(&self, level: i32, name: i32, value: i32) -> io::Result<()> {
        let (fd, size) = (self.0.as_raw_fd(), length_of::<i32>());
        let place = (&raw const value).cast();
        // SAFETY: `place` points at `value`, which outlives the call and is `size` bytes long.
        check(unsafe { libc::setsockopt(fd, level, name, place, size) }).map(drop)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg_attr(small, optimize(speed))]
fn progress(moved: io::Result<usize>) -> io::Result<Progress> {
    match moved {
        Ok(size) => Ok(Progress::Moved(size)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Progress::WouldBlock),
        Err(error) => Err(error),
    }
}

/// A Unix socket answers TCP's options with one of these, and has no need of them.
fn only_for_tcp(result: io::Result<()>) -> io::Result<()> {
    match result.as_ref().map_err(io::Error::raw_os_error) {
        Err(Some(libc::EOPNOTSUPP | libc::ENOPROTOOPT)) => Ok(()),
        _ => result,
    }
}
