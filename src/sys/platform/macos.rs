//! What macOS is made of, and what has another name, or another unit, there.

#[path = "../kqueue_multiplexor.rs"]
pub(in crate::sys) mod multiplexor;
#[path = "../descriptor_fcntl.rs"]
pub(in crate::sys) mod descriptor;
#[path = "../transfer_libc.rs"]
pub(in crate::sys) mod transfer;
#[path = "../no_attempts.rs"]
pub(in crate::sys) mod attempts;
#[path = "../confine_nothing.rs"]
pub(in crate::sys) mod confine;

/// A write to a broken connection is to be an error, not a signal.
pub(in crate::sys) const SEND_FLAGS: libc::c_int = 0;

/// The option of a socket that says the same, for a system without such a flag.
pub(in crate::sys) const NO_SIGNAL: Option<libc::c_int> = Some(libc::SO_NOSIGPIPE);

/// How many seconds a connection is idle before the first keep-alive probe.
pub(in crate::sys) const KEEP_IDLE: Option<libc::c_int> = Some(libc::TCP_KEEPALIVE);

/// How many seconds lie between probes, and how many go unanswered before the end.
pub(in crate::sys) const KEEP_INTERVAL_AND_COUNT: Option<(libc::c_int, libc::c_int)> =
    Some((libc::TCP_KEEPINTVL, libc::TCP_KEEPCNT));

/// How many bytes are one of `ru_maxrss`.
pub(in crate::sys) const RESIDENT_UNIT_BYTES: u64 = 1;

/// Where this thread's `errno` lives.
pub(in crate::sys) fn errno_location() -> *mut libc::c_int {
    // SAFETY: takes nothing, and gives a pointer that is good for as long as the thread lives.
    unsafe { libc::__error() }
}
