//! Making way for a new binary without losing a connection.
//!
//! The old process starts the new one and gives it the listening sockets. The new one says that
//! it is ready, or why it cannot be; until then the old one serves as if nothing were. Then it
//! accepts nobody any more, and sends over each client as soon as that is owed nothing, with what
//! is known of it. Who is in the middle of something stays until that is done.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::legacy::Legacy;
use super::shared::{Mail, Order, Shared};
use super::succession::{Part, What};
use crate::base::address::Address;
use crate::logger::Log;
use crate::sys::handover::{self, Channel, Estate, Successor};
use crate::sys::{ListenGuard, ListenSocket, Socket, thread};
use crate::{log_error, log_notice, log_warn};

/// What tells a process that it is to take the place of another, and what it is given.
const VARIABLE: &str = "PREDIXY_UPGRADE";
/// What a process says that is ready to take over.
const READY: &[u8] = b"ready";
/// So many clients may come while a new process starts, or their numbers are given out twice.
const NUMBERS_MAX: u64 = 1 << 20;
/// A new process that has said nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How this process was started, so that its successor can be started in the same way.
pub struct Origin {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Origin {
    /// Looks at this process. To be asked for at the start: a file may be replaced later, and
    /// then it is the new one that is meant.
    #[must_use]
    pub fn find() -> Origin {
        let mut arguments = env::args_os();
        let name = PathBuf::from(arguments.next().unwrap_or_default());
        Origin { program: program(&name), arguments: arguments.collect() }
    }
}

/// The file of the program that was called by this name.
fn program(name: &Path) -> PathBuf {
    if name.components().count() > 1 {
        return std::path::absolute(name).unwrap_or_else(|_| name.to_owned());
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let mut files = env::split_paths(&folders).map(|folder| folder.join(name));
    match files.find(|file| file.is_file()) {
        Some(file) => file,
        None => env::current_exe().unwrap_or_else(|_| name.to_owned()),
    }
}

/// The process whose place this one is to take.
pub struct Predecessor {
    /// The clients of this process have higher numbers.
    last_number: u64,
    channel: Channel,
    listeners: Vec<(Address, ListenSocket)>,
}

impl Predecessor {
    /// Who has started this process for that, if anybody.
    #[must_use]
    pub fn find() -> Option<Predecessor> {
        let text = env::var(VARIABLE).ok()?;
        Predecessor::read(&text, handover::parent())
    }

    /// What is said of it counts only for the child of the process that says it.
    fn read(text: &str, parent: u32) -> Option<Predecessor> {
        let mut lines = text.lines();
        if lines.next()?.parse::<u32>().ok()? != parent {
            return None;
        }
        let last_number = lines.next()?.parse().ok()?;
        let channel = Channel::inherit(lines.next()?.parse().ok()?).ok()?;
        let listeners = lines.filter_map(|line| {
            let (number, address) = line.split_once(' ')?;
            let address = Address::parse(address).ok()?;
            let listener = ListenSocket::inherit(number.parse().ok()?, &address).ok()?;
            Some((address, listener))
        });
        Some(Predecessor { listeners: listeners.collect(), last_number, channel })
    }

    /// No client of the old process has a higher number.
    #[must_use]
    pub fn last_number(&self) -> u64 {
        self.last_number
    }

    /// The socket that listens at this address already.
    pub fn take_listener(&mut self, address: &Address) -> Option<ListenSocket> {
        let place = self.listeners.iter().position(|(at, _)| at == address)?;
        Some(self.listeners.swap_remove(place).1)
    }

    /// Says that this process will not take over.
    pub fn give_up(&self, why: &str) {
        // Should it be gone, nobody needs to know.
        let _ = self.channel.send(why.as_bytes(), None);
    }

    /// Says that this process takes over, and takes up the clients that are sent. False when there
    /// is nobody any more to take over from.
    pub fn take_over(mut self, shared: &Arc<Shared>, log: &Log) -> bool {
        if let Err(error) = self.channel.send(READY, None) {
            log_error!(log, "upgrade fail, the old process is gone:{}", error);
            return false;
        }
        for (_, mut unused) in self.listeners.drain(..) {
            // Nobody listens there any more: its file goes with it.
            drop(unused.guard());
        }
        let (shared, channel) = (Arc::clone(shared), self.channel);
        let body = move || {
            while let Ok(Some((message, socket))) = channel.receive() {
                if let Some(part) = Part::from_message(&message) {
                    shared.inherit_part(part, socket);
                } else if let (Some(legacy), Some(socket)) =
                    (Legacy::from_message(&message), socket)
                {
                    shared.inherit(socket, legacy);
                }
            }
            for handler in &shared.handlers {
                handler.post(Mail::Orphaned);
            }
        };
        if let Err(error) = thread::spawn("predecessor", body) {
            log_error!(log, "upgrade thread fail {}", error);
        }
        true
    }
}

/// What the main thread knows of upgrades.
pub struct Upgrade {
    origin: Origin,
    is_under_way: bool,
    successor: Option<Successor>,
}

impl Upgrade {
    /// There is none under way.
    #[must_use]
    pub fn new(origin: Origin) -> Upgrade {
        Upgrade { origin, is_under_way: false, successor: None }
    }

    /// Starts a process that is to take the place of this one; an [`Order`] tells what became of
    /// it.
    pub fn begin(&mut self, shared: &Arc<Shared>, log: &Log, listeners: &[(Address, ListenGuard)]) {
        if self.is_under_way {
            return log_warn!(log, "upgrade is under way already");
        }
        let Origin { program, arguments } = &self.origin;
        log_notice!(log, "upgrade start {}", program.display());
        let guards = listeners.iter().map(|(_, guard)| guard);
        let addresses = listeners.iter().map(|(address, _)| address);
        // Until the new one is ready more may come.
        let last_number = shared.next_client().saturating_add(NUMBERS_MAX);
        let describe = |estate: &Estate| describe(estate, last_number, addresses);
        let started = Successor::start(program, arguments, guards, VARIABLE, describe);
        let waited = started.and_then(|successor| await_first_word(shared, successor));
        match waited {
            Ok(()) => self.is_under_way = true,
            Err(error) => {
                log_error!(log, "upgrade fail start {}:{}", program.display(), error);
            }
        }
    }

    /// The new process will not take over.
    pub fn fail(&mut self, log: &Log, why: &str) {
        self.is_under_way = false;
        log_error!(log, "upgrade fail, nothing has changed:{}", why);
    }

    /// The new process is ready: this one lets it have everything.
    pub fn succeed(
        &mut self,
        shared: &Shared,
        log: &Log,
        successor: Successor,
        listeners: &mut Vec<(Address, ListenGuard)>,
    ) {
        log_notice!(log, "upgrade succ, process {} takes over", successor.id());
        for (_, mut guard) in listeners.drain(..) {
            guard.leave_file();
        }
        self.successor = Some(successor);
        shared.bequeath();
    }

    /// The number of the process that takes over.
    #[must_use]
    pub fn heir(&self) -> Option<u32> {
        self.successor.as_ref().map(Successor::id)
    }

    /// Sends a client over.
    pub fn send(&self, log: &Log, socket: &Socket, legacy: &Legacy) {
        let Some(successor) = &self.successor else { return };
        if let Err(error) = successor.channel().send(&legacy.to_message(), Some(socket)) {
            log_warn!(log, "upgrade lost c {}:{}", legacy.peer, error);
        }
    }

    /// Sends some of what subscribers hear over.
    pub fn send_part(&self, log: &Log, part: &Part, socket: Option<Socket>) {
        let Some(successor) = &self.successor else { return };
        if let Err(error) = successor.channel().send(&part.to_message(), socket.as_ref()) {
            log_warn!(log, "upgrade lost subscribers of h {}:{}", part.handler, error);
        }
    }
}

/// The value of [`VARIABLE`].
fn describe<'a>(
    estate: &Estate,
    last_number: u64,
    addresses: impl Iterator<Item = &'a Address>,
) -> String {
    let mut text = format!("{}\n{last_number}\n{}", std::process::id(), estate.channel);
    for (number, address) in estate.listeners.iter().zip(addresses) {
        text += &format!("\n{number} {address}");
    }
    text
}

/// Waits, in a thread, for what the new process says.
fn await_first_word(shared: &Arc<Shared>, successor: Successor) -> io::Result<()> {
    let shared = Arc::clone(shared);
    let body = move || {
        let order = match successor.first_word(PATIENCE) {
            Ok(Some(word)) if word == READY => Order::Succeeded(successor),
            Ok(Some(word)) => {
                let why = String::from_utf8_lossy(&word).into_owned();
                Order::Failed(format!("{why} ({})", successor.wait()))
            }
            Ok(None) => Order::Failed(successor.wait()),
            Err(error) => Order::Failed(format!("{error} ({})", successor.end())),
        };
        shared.order(order);
    };
    thread::spawn("successor", body).map(drop)
}

impl Shared {
    /// Gives a client of the process before to the handler with the fewest.
    fn inherit(&self, socket: Socket, legacy: Legacy) {
        use std::sync::atomic::Ordering::Relaxed;
        let clients = |index: &usize| self.handlers[*index].clients.load(Relaxed);
        let Some(index) = (0..self.handlers.len()).min_by_key(clients) else { return };
        // Counted at once, or all would go to one.
        self.handlers[index].clients.fetch_add(1, Relaxed);
        self.handlers[index].post(Mail::Heir(socket, Box::new(legacy)));
    }

    /// Gives some of what subscribers hear to the handler that goes on with all of it.
    fn inherit_part(&self, part: Part, socket: Option<Socket>) {
        if let What::Complete(_) = part.what {
            // Each knows for whose it has to wait.
            return self.handlers.iter().for_each(|one| one.post(Mail::Part(part.clone(), None)));
        }
        self.handlers[part.handler % self.handlers.len()].post(Mail::Part(part, socket));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_where_it_was_found_at_the_start() {
        assert_eq!(program(Path::new("/a/b")), Path::new("/a/b"));
        assert!(program(Path::new("./b")).is_absolute());
        let shell = program(Path::new("sh"));
        assert!(shell.is_absolute() && shell.is_file(), "{}", shell.display());
        assert!(program(Path::new("no such program")).is_absolute(), "then it is this one");
    }

    #[test]
    fn what_is_said_to_another_process_is_not_for_this_one() {
        for text in ["", "7", "7\n1", "7\n1\nx", "x\n1\n3", "8\n1\n3", "7\n1\n1000000"] {
            assert!(Predecessor::read(text, 7).is_none(), "{text:?}");
        }
    }
}
