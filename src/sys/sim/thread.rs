//! There are no threads in a simulated world: its driver gives everybody their turns.

use std::io;

/// A thread that was started, of which there is none here.
#[derive(Debug)]
pub struct Join(());

impl Join {
    /// Waits for the end of the thread.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn join(self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts no thread.
///
/// # Errors
///
/// Always.
pub fn spawn(name: &str, _body: impl FnOnce() + Send + 'static) -> io::Result<Join> {
    let text = format!("there is no thread for {name} in a simulated world");
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}
