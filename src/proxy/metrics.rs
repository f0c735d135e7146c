//! What the proxy shows over HTTP: `/metrics`, `/healthz`, `/readyz`, and a status page.
//!
//! One thread with a loop of its own, so that whoever asks disturbs no client of the proxy. It asks
//! the handlers what they have, five times a second at most, whatever it is asked itself. In reading
//! order: `http` is the little of the protocol that is needed, `snapshot` what is shown,
//! `history` what it was before, `readiness` whether clients may come, `prometheus`, `page` and
//! `terminal` how it looks. Connections, requests and replies are bounded, and so is their time.

mod history;
mod http;
mod page;
mod prometheus;
mod readiness;
mod snapshot;
mod terminal;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};

use super::shared::Shared;
use crate::base::slab::{Id, Slab};
use crate::logger::Log;
use crate::sys::thread::{self, Join};
use crate::sys::{Event, ListenSocket, Multiplexor, Progress, Socket, Token, Waker, clock};
use crate::{log_error, log_warn};
use history::History;
use http::{Body, Request, Status};
use readiness::{Readiness, Wanted};
use snapshot::Snapshot;

pub use snapshot::{HandlerView, SLOW_MAX};

/// The thread that answers over HTTP; it ends when this is stopped.
pub struct Metrics {
    control: Arc<Control>,
    join: Join,
}

struct Control {
    waker: Waker,
    stopping: AtomicBool,
}

impl Metrics {
    /// Answers on `listener` from now on.
    ///
    /// # Errors
    ///
    /// The system has no room for another thread.
    pub fn start(shared: &Arc<Shared>, listener: ListenSocket) -> io::Result<Metrics> {
        let control = Arc::new(Control { waker: Waker::new()?, stopping: AtomicBool::new(false) });
        let server = Server::new(Arc::clone(shared), Arc::clone(&control), listener)?;
        let log = Log::new(Arc::clone(&shared.logger));
        let join = thread::spawn("metrics", move || {
            if let Err(error) = server.run() {
                log_error!(log, "metrics stopped:{}", error);
            }
        })?;
        Ok(Metrics { control, join })
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// It had ended in a panic.
    pub fn stop(self) -> io::Result<()> {
        self.control.stopping.store(true, Release);
        self.control.waker.wake();
        self.join.join()
    }
}

/// Everything that the thread owns.
struct Server {
    shared: Arc<Shared>,
    control: Arc<Control>,
    log: Log,
    listener: ListenSocket,
    multiplexor: Multiplexor,
    connections: Slab<Connection>,
    /// Not asked for again within [`SNAPSHOT_US`].
    snapshot: Option<Arc<Snapshot>>,
    history: History,
    now_us: u64,
    /// When the next sample for the history is taken.
    sample_us: u64,
    /// Until then somebody is likely to look again.
    watched_until_us: u64,
    /// Until then nobody is accepted, as no descriptor is left; 0 is not at all.
    paused_until_us: u64,
}

struct Connection {
    socket: Socket,
    stage: Stage,
    /// When the stage has taken too long, in microseconds of the monotonic clock.
    deadline_us: u64,
}

enum Stage {
    /// What has come of a request so far.
    Reading(Vec<u8>),
    /// It wants to know whether the proxy is ready, which it may become in a moment.
    Deciding { request: Request, decide_us: u64 },
    /// What is left to be sent.
    Writing { reply: Vec<u8>, sent: usize },
    /// All is sent; what still comes is thrown away, so that closing does not cut the reply off.
    Draining,
}

const LISTENER: Token = Token(u64::MAX);
const WAKER: Token = Token(u64::MAX - 1);
/// So many at a time are served; then the one that has dallied longest has to go.
const CONNECTIONS_MAX: usize = 64;
/// So long a request may take to come, and a reply to be read.
const PATIENCE_US: u64 = 5_000_000;
/// So long we wait for the other side to close.
const DRAIN_US: u64 = 1_000_000;
/// Handlers are not asked more often than this.
const SNAPSHOT_US: u64 = 200_000;
/// So often the history is written while somebody looks, and when nobody does.
const SAMPLE_US: u64 = 1_000_000;
const IDLE_SAMPLE_US: u64 = 5_000_000;
/// Somebody who has looked is likely to look again within this time.
const WATCHED_US: u64 = 30_000_000;
/// So long who asks for readiness waits for links that are being made.
const DECIDE_US: u64 = 700_000;
const DECIDE_STEP_US: u64 = 25_000;
/// How long accepting pauses when there are no descriptors left.
const ACCEPT_PAUSE_US: u64 = 100_000;

impl Server {
    fn new(
        shared: Arc<Shared>,
        control: Arc<Control>,
        listener: ListenSocket,
    ) -> io::Result<Server> {
        let multiplexor = Multiplexor::new()?;
        multiplexor.add_listener(&listener, LISTENER)?;
        multiplexor.add_waker(&control.waker, WAKER)?;
        let log = Log::new(Arc::clone(&shared.logger));
        let now_us = clock::monotonic_us();
        Ok(Server {
            shared,
            control,
            log,
            listener,
            multiplexor,
            connections: Slab::new(),
            snapshot: None,
            history: History::default(),
            now_us,
            sample_us: now_us,
            watched_until_us: 0,
            paused_until_us: 0,
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::new();
        while !self.control.stopping.load(Acquire) {
            let timeout_us = self.next_us().saturating_sub(self.now_us);
            self.multiplexor.wait(&mut events, Some(timeout_us))?;
            self.now_us = clock::monotonic_us();
            for event in &events {
                match event.token {
                    WAKER => self.control.waker.drain(),
                    LISTENER => self.accept(),
                    Token(id) => self.go_on(Id::from_u64(id)),
                }
            }
            self.do_upkeep();
        }
        Ok(())
    }

    fn next_us(&self) -> u64 {
        let deadlines = self.connections.iter().map(|(_, connection)| match &connection.stage {
            Stage::Deciding { .. } => self.now_us + DECIDE_STEP_US,
            _ => connection.deadline_us,
        });
        let pause = [self.paused_until_us].into_iter().filter(|until_us| *until_us > 0);
        deadlines.chain(pause).min().unwrap_or(u64::MAX).min(self.sample_us)
    }

    fn do_upkeep(&mut self) {
        let now_us = self.now_us;
        if now_us >= self.sample_us {
            let is_watched = now_us < self.watched_until_us;
            self.sample_us = now_us + if is_watched { SAMPLE_US } else { IDLE_SAMPLE_US };
            self.history.take(&self.shared, now_us);
        }
        if self.paused_until_us > 0 && now_us >= self.paused_until_us {
            self.paused_until_us = 0;
            if self.multiplexor.add_listener(&self.listener, LISTENER).is_err() {
                self.paused_until_us = now_us + ACCEPT_PAUSE_US;
            }
        }
        for id in self.connections.ids() {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            if matches!(connection.stage, Stage::Deciding { .. }) {
                self.decide(id);
            } else if now_us >= connection.deadline_us {
                self.connections.remove(id);
            }
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok(Some((socket, _))) => self.adopt(socket),
                Ok(None) => return,
                Err(error) => {
                    log_warn!(self.log, "metrics accept fail {}", error);
                    let _ = self.multiplexor.remove_listener(&self.listener);
                    self.paused_until_us = self.now_us + ACCEPT_PAUSE_US;
                    return;
                }
            }
        }
    }

    fn adopt(&mut self, socket: Socket) {
        if self.connections.len() >= CONNECTIONS_MAX {
            let oldest = self.connections.iter().min_by_key(|(_, other)| other.deadline_us);
            if let Some(id) = oldest.map(|(id, _)| id) {
                self.connections.remove(id);
            }
        }
        let stage = Stage::Reading(Vec::new());
        let deadline_us = self.now_us + PATIENCE_US;
        let id = self.connections.insert(Connection { socket, stage, deadline_us });
        let Some(connection) = self.connections.get(id) else { return };
        if self.multiplexor.add(&connection.socket, Token(id.to_u64())).is_err() {
            self.connections.remove(id);
        }
    }

    /// Something may be read or written.
    fn go_on(&mut self, id: Id<Connection>) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let is_open = match &mut connection.stage {
            Stage::Reading(head) => match read_head(&connection.socket, head) {
                Ok(None) => true,
                Ok(Some(request)) => return self.take_request(id, request),
                Err(_) => false,
            },
            Stage::Deciding { .. } => true,
            Stage::Writing { reply, sent } => match write_on(&connection.socket, reply, sent) {
                Ok(false) => true,
                Ok(true) => return self.end(id),
                Err(_) => false,
            },
            Stage::Draining => discard(&connection.socket),
        };
        if !is_open {
            self.connections.remove(id);
        }
    }

    fn take_request(&mut self, id: Id<Connection>, request: Request) {
        if request.status == Status::Ok && request.path == "/readyz" {
            if let Some(connection) = self.connections.get_mut(id) {
                let decide_us = self.now_us + DECIDE_US;
                connection.stage = Stage::Deciding { request, decide_us };
            }
            return self.decide(id);
        }
        let (status, body) = self.answer(&request);
        self.reply(id, &request, status, &body);
    }

    fn answer(&mut self, request: &Request) -> (Status, Body) {
        if request.status != Status::Ok {
            return (request.status, Body::text(request.status.explanation()));
        }
        match &request.path[..] {
            "/healthz" => (Status::Ok, Body::text("ok\n")),
            "/metrics" => (Status::Ok, Body::metrics(prometheus::write(&self.snapshot()))),
            "/" => {
                let snapshot = self.snapshot_to_look_at();
                let nonce = page::nonce();
                let page = page::write(&snapshot, &self.history, &nonce);
                (Status::Ok, Body::page(page, &nonce))
            }
            "/top" => {
                let snapshot = self.snapshot_to_look_at();
                let screen = terminal::Screen::of(&request.query);
                (Status::Ok, Body::text(terminal::write(&snapshot, &self.history, screen)))
            }
            _ => (Status::NotFound, Body::text(http::WHAT_THERE_IS)),
        }
    }

    /// Says whether the proxy is ready, or waits a moment for links that are being made.
    fn decide(&mut self, id: Id<Connection>) {
        let wanted = match self.connections.get(id).map(|connection| &connection.stage) {
            Some(Stage::Deciding { request, .. }) => readiness::masters_wanted(&request.query),
            _ => return,
        };
        let snapshot = self.snapshot_within(DECIDE_STEP_US);
        let readiness = Readiness::of(&snapshot, self.shared.is_stopping(), wanted);
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Stage::Deciding { request, decide_us } = &mut connection.stage else { return };
        if !readiness.unknown.is_empty() && !readiness.is_ready && self.now_us < *decide_us {
            return readiness.find_out(&self.shared);
        }
        let request = std::mem::take(request);
        let status = if readiness.is_ready { Status::Ok } else { Status::Unavailable };
        self.reply(id, &request, status, &Body::text(readiness.text));
    }

    fn reply(&mut self, id: Id<Connection>, request: &Request, status: Status, body: &Body) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let reply = http::reply(status, body, request.is_head);
        connection.stage = Stage::Writing { reply, sent: 0 };
        connection.deadline_us = self.now_us + PATIENCE_US;
        self.go_on(id);
    }

    /// All is sent.
    fn end(&mut self, id: Id<Connection>) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.stage = Stage::Draining;
        connection.deadline_us = self.now_us + DRAIN_US;
        if connection.socket.shut_down_write().is_err() || !discard(&connection.socket) {
            self.connections.remove(id);
        }
    }

    /// For somebody who is likely to look again, and wants to know about masters that nobody has
    /// needed so far.
    fn snapshot_to_look_at(&mut self) -> Arc<Snapshot> {
        self.watched_until_us = self.now_us + WATCHED_US;
        self.sample_us = self.sample_us.min(self.now_us + SAMPLE_US);
        let snapshot = self.snapshot();
        let readiness = Readiness::of(&snapshot, self.shared.is_stopping(), Wanted::All);
        if !readiness.unknown.is_empty() {
            readiness.find_out(&self.shared);
        }
        snapshot
    }

    fn snapshot(&mut self) -> Arc<Snapshot> {
        self.snapshot_within(SNAPSHOT_US)
    }

    /// What there is to show, no older than this.
    fn snapshot_within(&mut self, age_us: u64) -> Arc<Snapshot> {
        match &self.snapshot {
            Some(snapshot) if self.now_us < snapshot.at_us.saturating_add(age_us) => {
                Arc::clone(snapshot)
            }
            _ => {
                let snapshot = Arc::new(Snapshot::take(&self.shared));
                // Handlers may have taken a while to answer.
                self.now_us = clock::monotonic_us();
                self.snapshot = Some(Arc::clone(&snapshot));
                snapshot
            }
        }
    }
}

/// Reads what has come. The request when it is complete, or what is wrong with it.
fn read_head(socket: &Socket, head: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let mut room = [0; 2048];
    loop {
        match socket.read(&mut room)? {
            Progress::Moved(length) => {
                head.extend_from_slice(&room[..length]);
                if let Some(request) = http::parse(head) {
                    return Ok(Some(request));
                }
            }
            Progress::WouldBlock => return Ok(None),
            Progress::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Writes as much as goes. True when that was the last of it.
fn write_on(socket: &Socket, reply: &[u8], sent: &mut usize) -> io::Result<bool> {
    while *sent < reply.len() {
        match socket.write(&reply[*sent..])? {
            Progress::Moved(length) => *sent += length,
            Progress::WouldBlock => return Ok(false),
            Progress::Closed => return Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
    Ok(true)
}

/// Throws away what comes. False when the other side has closed.
fn discard(socket: &Socket) -> bool {
    let mut room = [0; 4096];
    // Whoever sends without end has its time, not ours.
    for _ in 0..16 {
        match socket.read(&mut room) {
            Ok(Progress::Moved(_)) => {}
            Ok(Progress::WouldBlock) => return true,
            Ok(Progress::Closed) | Err(_) => return false,
        }
    }
    false
}
