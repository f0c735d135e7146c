//! A simulated world has no service manager.

use std::io;

/// Tells nobody.
///
/// # Errors
///
/// None here.
pub fn tell(_message: &str) -> io::Result<()> {
    Ok(())
}

/// Tells nobody.
///
/// # Errors
///
/// None here.
pub fn remark(_message: &str) -> io::Result<()> {
    Ok(())
}

/// Nobody wants to know.
#[must_use]
pub fn watchdog_us() -> Option<u64> {
    None
}
