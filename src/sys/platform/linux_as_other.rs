//! Linux with what any other Unix is made of, for tests: the feature `poll`.

#[path = "../poll_multiplexor.rs"]
pub(in crate::sys) mod multiplexor;
#[path = "../descriptor_fcntl.rs"]
pub(in crate::sys) mod descriptor;
#[path = "../transfer_libc.rs"]
pub(in crate::sys) mod transfer;
#[path = "../attempts.rs"]
pub(in crate::sys) mod attempts;
#[path = "../confine_linux.rs"]
pub(in crate::sys) mod confine;

#[path = "linux_names.rs"]
mod names;

pub(in crate::sys) use names::*;
