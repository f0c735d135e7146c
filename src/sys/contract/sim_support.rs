//! The contract on the simulated platform: the driver moves the clock, and there are no files.

use std::io;
use std::path::PathBuf;

use super::*;
use crate::sys::sim::World;

pub(super) fn let_time_pass() {
    World::advance_by(1000);
}

pub(super) const SEES_BEHIND_UNREAD_BYTES: bool = true;

pub(super) fn has_ipv6() -> bool {
    true
}

pub(super) fn know_localhost() {
    World::name("localhost", &[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]);
}

pub(super) fn check_second_join(result: io::Result<()>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

/// Paths need no folder where there are no files.
pub(super) struct Folder;

impl Folder {
    pub(super) fn new() -> Folder {
        Folder
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/run").join(name)
    }
}
