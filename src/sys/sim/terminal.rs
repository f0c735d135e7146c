//! Nobody sits at a simulated terminal.

use std::io;

/// There is none.
#[derive(Debug)]
pub struct Terminal(());

impl Terminal {
    /// Always `None`.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn take() -> io::Result<Option<Terminal>> {
        Ok(None)
    }

    /// Unknown.
    #[must_use]
    pub fn size(&self) -> Option<(u16, u16)> {
        None
    }

    /// Never any.
    ///
    /// # Errors
    ///
    /// Always: there will be no keys.
    pub fn key(&self, _: u64) -> io::Result<Option<u8>> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
