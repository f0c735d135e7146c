//! The operating system, made safe: sockets, readiness, time, chance, threads, signals, names.
//!
//! This is the only place with system calls: one call, one proof, one safe function. It knows
//! nothing of Redis and decides nothing; it says what happened. Platforms differ by file: epoll
//! for Linux, kqueue for the BSDs and macOS, poll for any other Unix, and, with the feature `sim`,
//! a world in memory that one seed drives, in which the same handlers run unchanged. The features
//! `kqueue` and `poll` make Linux use what the others use, for tests.

#![cfg_attr(
    not(feature = "sim"),
    expect(unsafe_code, reason = "system calls are made here and nowhere else")
)]

mod shapes;
#[cfg_attr(feature = "sim", path = "sys/sim/socket.rs")]
mod socket;
#[cfg_attr(feature = "sim", path = "sys/sim/listen_socket.rs")]
mod listen_socket;
#[cfg_attr(feature = "sim", path = "sys/sim/connect_socket.rs")]
mod connect_socket;
#[cfg_attr(feature = "sim", path = "sys/sim/waker.rs")]
mod waker;
#[cfg_attr(feature = "sim", path = "sys/sim/multiplexor.rs")]
mod multiplexor;
#[cfg_attr(feature = "sim", path = "sys/sim/clock.rs")]
pub mod clock;
#[cfg_attr(feature = "sim", path = "sys/sim/random.rs")]
pub mod random;
#[cfg_attr(feature = "sim", path = "sys/sim/thread.rs")]
pub mod thread;
#[cfg_attr(feature = "sim", path = "sys/sim/signal.rs")]
pub mod signal;
#[cfg_attr(feature = "sim", path = "sys/sim/resolver.rs")]
pub mod resolver;
#[cfg_attr(feature = "sim", path = "sys/sim/resource.rs")]
pub mod resource;
#[cfg_attr(feature = "sim", path = "sys/sim/memory.rs")]
pub mod memory;
#[cfg_attr(feature = "sim", path = "sys/sim/handover.rs")]
pub mod handover;
#[cfg_attr(feature = "sim", path = "sys/sim/service.rs")]
pub mod service;
#[cfg_attr(feature = "sim", path = "sys/sim/terminal.rs")]
pub mod terminal;
#[cfg_attr(feature = "sim", path = "sys/sim/privileges.rs")]
pub mod privileges;
#[cfg(feature = "sim")]
pub mod sim;

#[cfg(all(small, target_env = "musl", not(feature = "sim")))]
mod no_backtrace;

// What the real platforms are made of.
#[cfg(not(feature = "sim"))]
mod call;
#[cfg(not(feature = "sim"))]
mod raw_address;
#[cfg(not(feature = "sim"))]
#[cfg_attr(
    all(target_os = "linux", not(any(feature = "kqueue", feature = "poll"))),
    path = "sys/platform/linux.rs"
)]
#[cfg_attr(
    all(target_os = "linux", feature = "kqueue", not(feature = "poll")),
    path = "sys/platform/linux_as_bsd.rs"
)]
#[cfg_attr(all(target_os = "linux", feature = "poll"), path = "sys/platform/linux_as_other.rs")]
#[cfg_attr(target_os = "freebsd", path = "sys/platform/freebsd.rs")]
#[cfg_attr(target_os = "dragonfly", path = "sys/platform/dragonfly.rs")]
#[cfg_attr(target_os = "netbsd", path = "sys/platform/netbsd.rs")]
#[cfg_attr(target_os = "openbsd", path = "sys/platform/openbsd.rs")]
#[cfg_attr(target_os = "macos", path = "sys/platform/macos.rs")]
#[cfg_attr(any(target_os = "illumos", target_os = "solaris"), path = "sys/platform/illumos.rs")]
#[cfg_attr(
    not(any(
        target_os = "linux",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "macos",
        target_os = "illumos",
        target_os = "solaris"
    )),
    path = "sys/platform/other.rs"
)]
mod platform;

// What the C library does with memory that is given back to it is not a matter of the system.
#[cfg(not(feature = "sim"))]
#[cfg_attr(all(target_os = "linux", target_env = "gnu"), path = "sys/release_glibc.rs")]
#[cfg_attr(all(target_os = "linux", target_env = "musl"), path = "sys/release_musl.rs")]
#[cfg_attr(
    not(all(target_os = "linux", any(target_env = "gnu", target_env = "musl"))),
    path = "sys/release_nothing.rs"
)]
mod release;

#[cfg(not(feature = "sim"))]
use platform::{attempts, descriptor, transfer};

#[cfg(test)]
mod contract;

pub use connect_socket::connect;
pub use listen_socket::{ListenGuard, ListenSocket};
pub use multiplexor::Multiplexor;
pub use shapes::{Endpoint, Event, Peer, Places, Progress, SocketAccess, Token};
pub use socket::Socket;
pub use waker::Waker;
