//! The values that go in and come out of every platform, the simulated one included.
//!
//! They are plain data: nothing here makes a system call.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What came of reading from a socket or writing to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes went through, perhaps fewer than there was room for.
    Moved(usize),
    /// Nothing can move now; an event tells when it is worth trying again.
    WouldBlock,
    /// The peer has sent its last byte, and all of them have been read.
    Closed,
}

/// The number under which a socket was added, and under which its events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What happened to a socket since its last event. One wait may bring two events for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who it happened to.
    pub token: Token,
    /// There is something to read: bytes, their end, an error, or a connection to accept.
    pub readable: bool,
    /// There is room to write, or a connect has come to its end.
    pub writable: bool,
    /// The peer closed its half, or the connection is broken: read to the end. It implies
    /// `readable`.
    pub hang_up: bool,
}

/// Where to connect: what an address is once its name has been resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// TCP over IPv4 or IPv6.
    Ip(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Ip(address) => write!(f, "{address}"),
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Who connected to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// From this address. A peer that reached an IPv6 listener over IPv4 appears as IPv4.
    Ip(SocketAddr),
    /// Through a Unix socket, so from this host.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(address) => write!(f, "{address}"),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

/// Who may connect to a Unix socket, where that is not left to the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketAccess {
    /// The permissions of its file, 0 to 0o777: connecting takes the right to write.
    pub mode: Option<u32>,
    /// The group of its file, by number.
    pub group: Option<u32>,
}

/// A moment as the clock on the wall shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The year, such as 2026.
    pub year: i32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60: there are leap seconds.
    pub second: u32,
}

/// Who asked for this process to change its ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: stop in good order.
    Terminate,
    /// SIGINT: the same, from a terminal.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Hangup,
    /// SIGUSR2: make way for a new binary.
    User2,
    /// No signal: another thread of this process has something to be done.
    Call,
}

/// What this process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time spent in our own code, in microseconds.
    pub user_us: u64,
    /// Time spent in the kernel for us, in microseconds.
    pub system_us: u64,
    /// The most memory that was ever resident.
    pub max_resident_bytes: u64,
}

/// Where in the file system a process has something to do.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Folders that it makes files in.
    pub written: &'a [&'a Path],
}
