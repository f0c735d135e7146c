//! Turns names into addresses by the table of the simulated world.

use std::io;
use std::net::SocketAddr;

use crate::sys::sim::with;

/// What to call with the answer.
pub type Done = Box<dyn FnOnce(io::Result<Vec<SocketAddr>>) + Send>;

/// Looks names up.
#[derive(Debug, Default)]
pub struct Resolver(());

impl Resolver {
    /// A resolver of this thread's world.
    pub fn new() -> Resolver {
        Resolver(())
    }

    /// Asks for the addresses of `name`, which get `port`. `done` is called once, from within a
    /// wait or while the driver works on the world, and never from within this call.
    pub fn resolve(&self, name: &str, port: u16, done: Done) {
        with(|state| state.resolve(name, port, done));
    }
}
