//! Takes no notice of who reads and writes: epoll and kqueue know by themselves what is new.

use std::io::{self, IoSlice};
use std::os::fd::RawFd;

use crate::sys::Progress;

/// See `attempts.rs`.
#[inline(always)]
pub(in crate::sys) fn note_read(_: RawFd) {}

/// See `attempts.rs`.
#[inline(always)]
pub(in crate::sys) fn note_write(_: RawFd, _: usize, _: &io::Result<Progress>) {}

/// See `attempts.rs`.
#[inline(always)]
pub(in crate::sys) fn note_write_vectored(_: RawFd, _: &[IoSlice<'_>], _: &io::Result<Progress>) {}
