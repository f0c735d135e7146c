//! In a simulated world there is one process, and nobody to take its place.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::sys::{ListenGuard, Socket};

/// The way to another process, of which there is none.
#[derive(Debug)]
pub struct Channel(());

impl Channel {
    /// Finds none.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn inherit(_number: i32) -> io::Result<Channel> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reaches nobody.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn send(&self, _message: &[u8], _socket: Option<&Socket>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Nothing.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Option<Socket>)>> {
        Ok(None)
    }
}

/// A process that is to take the place of this one: never.
#[derive(Debug)]
pub struct Successor {
    channel: Channel,
}

/// What a successor is given.
#[derive(Debug)]
pub struct Estate {
    /// The listening sockets.
    pub listeners: Vec<i32>,
    /// The channel to this process.
    pub channel: i32,
}

impl Successor {
    /// Starts nothing.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn start<'a>(
        _program: &Path,
        _arguments: &[OsString],
        _listeners: impl Iterator<Item = &'a ListenGuard>,
        _name: &str,
        _describe: impl FnOnce(&Estate) -> String,
    ) -> io::Result<Successor> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// No process has this number.
    #[must_use]
    pub fn id(&self) -> u32 {
        0
    }

    /// The way to it.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Nothing.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn first_word(&self, _patience: Duration) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// There is nobody to end.
    pub fn end(self) -> String {
        String::new()
    }

    /// There is nobody to wait for.
    pub fn wait(self) -> String {
        String::new()
    }
}

/// Nobody has started this world.
#[must_use]
pub fn parent() -> u32 {
    0
}
