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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    /// Long enough for a busy machine; only a test that fails waits for it.
    const PATIENCE: Duration = Duration::from_secs(10);

    type Answers = Receiver<Result<Vec<String>, String>>;

    /// Asks, and gives the place where the answer will be.
    fn ask(resolver: &Resolver, name: &str, port: u16) -> Answers {
        let (sender, receiver) = channel();
        let done = move |answer: io::Result<Vec<SocketAddr>>| {
            let shown = |addresses: Vec<SocketAddr>| {
                addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
            };
            sender.send(answer.map(shown).map_err(|error| error.to_string())).unwrap();
        };
        resolver.resolve(name, port, Box::new(done));
        receiver
    }

    fn wait_for(gate: &AtomicBool) {
        while !gate.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_numeric_name_is_its_own_address() {
        let resolver = Resolver::new();
        let answer = ask(&resolver, "127.0.0.1", 6379).recv_timeout(PATIENCE).unwrap();
        assert_eq!(answer, Ok(vec!["127.0.0.1:6379".to_owned()]));
        let answer = ask(&resolver, "::1", 1).recv_timeout(PATIENCE).unwrap();
        assert_eq!(answer, Ok(vec!["[::1]:1".to_owned()]));
    }

    #[test]
    fn a_failure_is_told_to_whoever_asked() {
        let resolver = Resolver::with(|name| match name {
            "empty" => Ok(Vec::new()),
            _ => Err(io::Error::other("the name servers are on strike")),
        });
        let answer = ask(&resolver, "any", 1).recv_timeout(PATIENCE).unwrap();
        assert_eq!(answer, Err("the name servers are on strike".to_owned()));
        let answer = ask(&resolver, "empty", 1).recv_timeout(PATIENCE).unwrap();
        assert_eq!(answer, Err("the name has no address".to_owned()));
    }

    #[test]
    fn who_asks_for_the_same_name_shares_one_look_up() {
        static BEGUN: AtomicBool = AtomicBool::new(false);
        static OPEN: AtomicBool = AtomicBool::new(false);
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let resolver = Resolver::with(|_| {
            BEGUN.store(true, Ordering::SeqCst);
            wait_for(&OPEN);
            let count = COUNT.fetch_add(1, Ordering::SeqCst);
            Ok(vec![SocketAddr::from((Ipv4Addr::from(count), 0))])
        });
        let before = ask(&resolver, "redis-1", 1);
        wait_for(&BEGUN);
        let during = ask(&resolver, "redis-1", 2);
        let other = ask(&resolver, "redis-2", 3);
        OPEN.store(true, Ordering::SeqCst);
        let answers = [before, during, other].map(|answers| answers.recv_timeout(PATIENCE));
        let want =
            ["0.0.0.0:1", "0.0.0.0:2", "0.0.0.1:3"].map(|text| Ok(Ok(vec![text.to_owned()])));
        assert_eq!(answers, want);
        let answer = ask(&resolver, "redis-1", 4).recv_timeout(PATIENCE).unwrap();
        assert_eq!(answer, Ok(vec!["0.0.0.2:4".to_owned()]), "what was answered is not kept");
    }

    #[test]
    fn too_many_names_are_refused_and_a_known_one_is_not() {
        static OPEN: AtomicBool = AtomicBool::new(false);
        let resolver = Resolver::with(|_| {
            wait_for(&OPEN);
            Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
        });
        let ask_number = |number: usize| ask(&resolver, &format!("redis-{number}"), 1);
        let waiting: Vec<_> = (0..NAMES_MAX).map(ask_number).collect();
        let refused = ask(&resolver, "one-too-many", 1).recv_timeout(PATIENCE).unwrap();
        assert_eq!(refused, Err("too many names wait to be resolved".to_owned()));
        let known = ask(&resolver, "redis-7", 7);
        OPEN.store(true, Ordering::SeqCst);
        assert_eq!(known.recv_timeout(PATIENCE).unwrap(), Ok(vec!["127.0.0.1:7".to_owned()]));
        for answers in waiting {
            assert!(answers.recv_timeout(PATIENCE).unwrap().is_ok());
        }
    }

    #[test]
    fn questions_go_with_the_resolver() {
        static BEGUN: AtomicBool = AtomicBool::new(false);
        static OPEN: AtomicBool = AtomicBool::new(false);
        let resolver = Resolver::with(|_| {
            BEGUN.store(true, Ordering::SeqCst);
            wait_for(&OPEN);
            Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
        });
        let begun = ask(&resolver, "begun", 1);
        let waiting = ask(&resolver, "waiting", 1);
        wait_for(&BEGUN);
        drop(resolver);
        OPEN.store(true, Ordering::SeqCst);
        assert!(begun.recv_timeout(PATIENCE).unwrap().is_ok());
        assert!(waiting.recv_timeout(PATIENCE).is_err(), "nobody is there to be told");
    }
}
