//! What is told to the service manager that has started this process, if there is one: systemd's
//! `NOTIFY_SOCKET`, a datagram and no library.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::call::{check, check_size};
use super::platform::SEND_FLAGS;
use super::raw_address::RawAddress;

/// Tells the service manager something, such as `READY=1`; without one it does nothing.
///
/// # Errors
///
/// There should be one, and it cannot be told.
pub fn tell(message: &str) -> io::Result<()> {
    match env::var_os("NOTIFY_SOCKET") {
        Some(name) => send(&name, message.as_bytes(), PATIENCE),
        None => Ok(()),
    }
}

/// The same for what is told again and again, and is not worth waiting for.
///
/// # Errors
///
/// There should be one, and it cannot be told at once.
pub fn remark(message: &str) -> io::Result<()> {
    match env::var_os("NOTIFY_SOCKET") {
        Some(name) => send(&name, message.as_bytes(), Duration::ZERO),
        None => Ok(()),
    }
}

/// How long a manager that does not listen just now is waited for: it must learn who we are, and
/// must not hold us up for ever.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the service manager wants to be told that all is well, in microseconds; it ends us
/// if it is not.
#[must_use]
pub fn watchdog_us() -> Option<u64> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|period_us| is_ours && *period_us > 0)
}

fn send(name: &OsStr, message: &[u8], patience: Duration) -> io::Result<()> {
    let address = RawAddress::of_name(name.as_bytes())?;
    // SAFETY: takes and gives integers only.
    let fd = check(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) })?;
    // SAFETY: the kernel has just given us this number, so nobody else owns it.
    let socket = UnixDatagram::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let mut flags = SEND_FLAGS;
    match patience {
        Duration::ZERO => flags |= libc::MSG_DONTWAIT,
        patience => socket.set_write_timeout(Some(patience))?,
    }
    let (start, size) = (message.as_ptr().cast(), message.len());
    let (place, length) = (address.pointer(), address.length());
    // SAFETY: `start` and `size` are those of `message`, `place` and `length` those of `address`,
    // and both outlive the call.
    check_size(unsafe { libc::sendto(socket.as_raw_fd(), start, size, flags, place, length) })
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reaches_a_socket_in_the_file_system() {
        let path = env::temp_dir().join(format!("predixy-notify-{}", std::process::id()));
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), b"READY=1", PATIENCE).unwrap();
        let mut room = [0; 20];
        let size = manager.recv(&mut room).unwrap();
        assert_eq!(&room[..size], b"READY=1");
        std::fs::remove_file(&path).unwrap();
        assert!(send(path.as_os_str(), b"READY=1", PATIENCE).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_message_reaches_a_socket_without_a_file() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("predixy-notify-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{name}")), b"STOPPING=1", PATIENCE).unwrap();
        let mut room = [0; 20];
        let size = manager.recv(&mut room).unwrap();
        assert_eq!(&room[..size], b"STOPPING=1");
    }
}
