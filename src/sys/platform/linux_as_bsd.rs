//! Linux with what BSDs and macOS are made of, for tests: the feature `kqueue`.

#[path = "../kqueue_multiplexor.rs"]
pub(in crate::sys) mod multiplexor;
#[path = "../descriptor_fcntl.rs"]
pub(in crate::sys) mod descriptor;
#[path = "../transfer_libc.rs"]
pub(in crate::sys) mod transfer;
#[path = "../no_attempts.rs"]
pub(in crate::sys) mod attempts;
#[path = "../confine_linux.rs"]
pub(in crate::sys) mod confine;
#[path = "../kqueue_stand_in.rs"]
pub(in crate::sys) mod kqueue_stand_in;

#[path = "linux_names.rs"]
mod names;

pub(in crate::sys) use names::*;
