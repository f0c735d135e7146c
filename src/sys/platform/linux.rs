//! What Linux is made of.

#[path = "../epoll_multiplexor.rs"]
pub(in crate::sys) mod multiplexor;
#[path = "../descriptor_flags.rs"]
pub(in crate::sys) mod descriptor;
#[path = "../transfer_raw.rs"]
pub(in crate::sys) mod transfer;
#[path = "../no_attempts.rs"]
pub(in crate::sys) mod attempts;
#[path = "../confine_linux.rs"]
pub(in crate::sys) mod confine;

#[path = "linux_names.rs"]
mod names;

pub(in crate::sys) use names::*;

/// A new descriptor that counts what is written to it, or -1 and `errno`.
pub(in crate::sys) fn open_event() -> Option<libc::c_int> {
    // SAFETY: takes and gives integers only.
    Some(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })
}
