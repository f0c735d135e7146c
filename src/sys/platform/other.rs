//! What a Unix is made of that has no file here, and as much as can be known of it.

use std::sync::atomic::AtomicI32;

#[path = "../poll_multiplexor.rs"]
pub(in crate::sys) mod multiplexor;
#[path = "../descriptor_fcntl.rs"]
pub(in crate::sys) mod descriptor;
#[path = "../transfer_libc.rs"]
pub(in crate::sys) mod transfer;
#[path = "../attempts.rs"]
pub(in crate::sys) mod attempts;
#[path = "../confine_nothing.rs"]
pub(in crate::sys) mod confine;

/// A write to a broken connection is to be an error, not a signal: SIGPIPE is ignored anyway.
pub(in crate::sys) const SEND_FLAGS: libc::c_int = 0;

/// The option of a socket that says the same, for a system without such a flag.
pub(in crate::sys) const NO_SIGNAL: Option<libc::c_int> = None;

/// How many seconds a connection is idle before the first keep-alive probe.
pub(in crate::sys) const KEEP_IDLE: Option<libc::c_int> = None;

/// How many seconds lie between probes, and how many go unanswered before the end.
pub(in crate::sys) const KEEP_INTERVAL_AND_COUNT: Option<(libc::c_int, libc::c_int)> = None;

/// How many bytes are one of `ru_maxrss`.
pub(in crate::sys) const RESIDENT_UNIT_BYTES: u64 = 1024;

/// Where the handler of a signal puts `errno` back; here nobody knows the place of the real one.
pub(in crate::sys) fn errno_location() -> *mut libc::c_int {
    static NOWHERE: AtomicI32 = AtomicI32::new(0);
    NOWHERE.as_ptr()
}
