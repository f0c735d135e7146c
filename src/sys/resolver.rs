//! Turns names into addresses on a thread of its own, because the system may take its time.
//!
//! Who asks twice for a name that is still being looked up shares the answer.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::thread;

/// How many names may wait. One look-up can take half a minute, so more would only grow old.
const NAMES_MAX: usize = 1024;

/// What to call with the answer; it runs on the resolver's thread and should be short.
pub type Done = Box<dyn FnOnce(io::Result<Vec<SocketAddr>>) + Send>;

/// Looks names up, one after the other.
#[derive(Debug)]
pub struct Resolver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    look_up: fn(&str) -> io::Result<Vec<SocketAddr>>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The first may be the one that is being looked up; it stays until it is answered.
    names: VecDeque<Name>,
    started: bool,
    closed: bool,
}

struct Name {
    name: Box<str>,
    waiting: Vec<(u16, Done)>,
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} for {}", self.name, self.waiting.len())
    }
}

impl Resolver {
    /// A resolver whose thread starts with the first question.
    pub fn new() -> Resolver {
        Self::with(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    fn with(look_up: fn(&str) -> io::Result<Vec<SocketAddr>>) -> Resolver {
        let (queue, changed) = (Mutex::default(), Condvar::new());
        Resolver { shared: Arc::new(Shared { queue, changed, look_up }) }
    }

    /// Asks for the addresses of `name`, which get `port`. `done` is called once: on the
    /// resolver's thread, or here if there is no room to wait. A name without any address is an
    /// error. Questions that still wait when the resolver is dropped are dropped with it.
    pub fn resolve(&self, name: &str, port: u16, done: Done) {
        if let Err((done, error)) = self.ask(name, port, done) {
            done(Err(error));
        }
    }

    fn ask(&self, name: &str, port: u16, done: Done) -> Result<(), (Done, io::Error)> {
        let mut queue = self.shared.lock();
        if let Some(known) = queue.names.iter_mut().find(|known| *known.name == *name) {
            known.waiting.push((port, done));
            return Ok(());
        }
        if queue.names.len() >= NAMES_MAX {
            return Err((done, io::Error::other("too many names wait to be resolved")));
        }
        if !queue.started {
            let shared = Arc::clone(&self.shared);
            if let Err(error) = thread::spawn("resolver", move || shared.run()) {
                return Err((done, error));
            }
            queue.started = true;
        }
        queue.names.push_back(Name { name: name.into(), waiting: vec![(port, done)] });
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Resolver {
    /// The thread ends after the name it is at; nobody waits for that.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    /// The thread's whole life.
    fn run(&self) {
        while let Some(name) = self.next_name() {
            let answer = (self.look_up)(&name).and_then(at_least_one);
            // Only now: who asked during the look-up shares it.
            let Some(name) = self.lock().names.pop_front() else { return };
            for (port, done) in name.waiting {
                done(with_port(&answer, port));
            }
        }
    }

    /// The first name in the queue, which it stays in; `None` when it is time to end.
    fn next_name(&self) -> Option<Box<str>> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(first) = queue.names.front() {
                return Some(first.name.clone());
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing is left half done under the lock, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn at_least_one(addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// A copy of the answer for one of those who asked.
fn with_port(answer: &io::Result<Vec<SocketAddr>>, port: u16) -> io::Result<Vec<SocketAddr>> {
    match answer {
        Ok(addresses) => {
            Ok(addresses.iter().map(|address| SocketAddr::new(address.ip(), port)).collect())
        }
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}
