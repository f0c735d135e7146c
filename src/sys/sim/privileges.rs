//! In the simulated world everybody may do everything.

use std::io;
use std::path::Path;

pub use crate::sys::shapes::Places;

/// Somebody to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity;

impl Identity {
    /// Anybody will do.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn find(_: &str) -> io::Result<Identity> {
        Ok(Identity)
    }

    /// Stays what it is.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn assume(&self) -> io::Result<()> {
        Ok(())
    }

    /// There are no files.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn own(&self, _: &Path, _: Option<u32>) -> io::Result<()> {
        Ok(())
    }
}

/// Any group will do.
///
/// # Errors
///
/// Never.
pub fn find_group(_: &str) -> io::Result<u32> {
    Ok(0)
}

/// Gives up nothing.
///
/// # Errors
///
/// Never.
pub fn confine(_: &Places<'_>) -> io::Result<()> {
    Ok(())
}
