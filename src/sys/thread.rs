//! Threads: a name, a function, and an end that can be waited for.

use std::io;
use std::thread::{Builder, JoinHandle};

/// A thread that was started. Dropped, it goes on alone.
#[derive(Debug)]
pub struct Join(JoinHandle<()>);

impl Join {
    /// Waits for the end of the thread.
    ///
    /// # Errors
    ///
    /// It ended in a panic.
    pub fn join(self) -> io::Result<()> {
        self.0.join().map_err(|_| io::Error::other("the thread panicked"))
    }
}

/// Starts a thread that runs `body`.
///
/// # Errors
///
/// The system has no room for another.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Join> {
    Builder::new().name(name.to_owned()).spawn(body).map(Join)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_thread_has_its_name_and_can_be_waited_for() {
        let (sender, receiver) = mpsc::channel();
        let body = move || {
            let name = std::thread::current().name().map(str::to_owned);
            sender.send(name).unwrap();
        };
        spawn("handler-1", body).unwrap().join().unwrap();
        assert_eq!(receiver.recv().unwrap().as_deref(), Some("handler-1"));
    }
}
