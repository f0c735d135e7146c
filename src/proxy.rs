//! The moving parts, and how they start and stop.
//!
//! [`Proxy`] builds what all threads share, starts one thread for each handler and waits for
//! signals; a handler does everything else. In reading order: `shared` is what crosses threads,
//! `lane` which connections a client's requests travel on, `greeting` what servers say to HELLO, `request` what is in flight, `recent_writes` what a client may not read from a replica,
//! `session` what a client is in the middle of, `profile` what few of them say about themselves,
//! `proxy_header` what a proxy in front of us says of them,
//! `subscriptions` who is subscribed to what and `seats` where we are for them, `accept_connection` a client, `connect_connection` and its pool
//! the links to servers, `whole` a request that was sent in parts and `merge` how their replies
//! become one, `cluster_view` the cluster as which we present ourselves, `command_filter` hides
//! what is disabled, `giants` what is too large to share a link, `handler` the loop that moves
//! them all.

pub mod auth;
pub mod info;
pub mod cluster_view;
pub mod command_filter;
pub mod replies;
pub mod lane;
pub mod greeting;
pub mod request;
pub mod recent_writes;
pub mod session;
pub mod profile;
pub mod proxy_header;
pub mod seats;
pub mod subscriptions;
pub mod merge;
pub mod whole;
pub mod accept_connection;
pub mod client_list;
pub mod connect_connection;
pub mod connect_connection_pool;
pub mod scan_cursor;
pub mod script_cache;
pub mod settings;
pub mod reload;
mod rights;
pub mod hot_keys;
pub mod slow_log;
pub mod legacy;
pub mod succession;
pub mod upgrade;
pub mod watchdog;
pub mod metrics;
pub mod ask;
pub mod top;
pub mod explain;
pub mod memory_bound;
pub mod shared;
pub mod giants;
pub mod handler;

use std::io;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::{Arc, mpsc};

use crate::base::address::Address;
use crate::conf::{Bind, Conf, ConfError};
use crate::logger::{self, Log, Logger};
use crate::pool::{Current, Topology};
use crate::stats::{Recorder, Stats};
use crate::sys::signal::{Signal, Signals};
use crate::sys::{ListenGuard, ListenSocket, clock, resource, service, thread};
use crate::{log_error, log_notice, log_warn};
use handler::Handler;
use legacy::Legacy;
use metrics::Metrics;
use settings::CurrentSettings;
use shared::{Mail, Neighbour, Order, Parts, Shared};
use upgrade::{Predecessor, Upgrade};
use watchdog::Watchdog;

/// A proxy that listens and is about to serve.
pub struct Proxy {
    shared: Arc<Shared>,
    log: Log,
    signals: Signals,
    listeners: Vec<(Address, ListenSocket)>,
    metrics: Option<(Address, ListenSocket)>,
    recorders: Vec<Recorder>,
    predecessor: Option<Predecessor>,
    upgrade: Upgrade,
}

/// While a stop is under way the main thread looks this often whether it is done.
const STOP_POLL_US: u64 = 20_000;

impl Proxy {
    /// Opens the log and the listeners that `conf` asks for, but for those that the process has
    /// whose place this one is to take. No server is contacted: one that cannot be reached never
    /// prevents a start.
    ///
    /// # Errors
    ///
    /// Says what could not be opened, in predixy's words.
    pub fn new(conf: Conf, mut predecessor: Option<Predecessor>) -> Result<Self, ConfError> {
        let start = Proxy::start(conf, &mut predecessor);
        if let (Err(error), Some(predecessor)) = (&start, &predecessor) {
            predecessor.give_up(&error.to_string());
        }
        start.map(|proxy| Proxy { predecessor, ..proxy })
    }

    fn start(conf: Conf, predecessor: &mut Option<Predecessor>) -> Result<Self, ConfError> {
        let failed = |what: String| ConfError::new(None, what);
        let upgrade = Upgrade::new(upgrade::Origin::find());
        let signals = Signals::install().map_err(|error| failed(format!("signal {error}")))?;
        let descriptors = resource::raise_descriptor_limit();
        let access = rights::socket_access(&conf)?;
        let mut listeners = Vec::new();
        for Bind { address, .. } in &conf.binds {
            let inherited = predecessor.as_mut().and_then(|old| old.take_listener(address));
            let listener = match inherited {
                Some(listener) => listener.grant(access).map(|()| listener),
                None => ListenSocket::bind_for(address, access),
            };
            let listener = listener
                .map_err(|error| failed(format!("socket bind to {address} fail {error}")))?;
            listeners.push((address.clone(), listener));
        }
        let mut metrics = None;
        if let Some(address) = &conf.metrics_bind {
            let inherited = predecessor.as_mut().and_then(|old| old.take_listener(address));
            let listener = match inherited {
                Some(listener) => listener,
                None => ListenSocket::bind(address)
                    .map_err(|error| failed(format!("MetricsBind to {address} fail {error}")))?,
            };
            metrics = Some((address.clone(), listener));
        }
        let confined = rights::give_up(&conf, access)?;
        let logger = Logger::new(&log_settings(&conf)).map_err(|error| {
            let path = conf.log.path.as_deref().unwrap_or("stdout".as_ref());
            failed(format!("set log file {} fail {error}", path.display()))
        })?;
        let log = Log::new(Arc::clone(&logger));
        for warning in &conf.warnings {
            log_warn!(log, "{}", warning);
        }
        if let Err(error) = confined {
            log_warn!(log, "predixy could not give up what it does not need:{}", error);
        }
        for bind in &conf.binds {
            log_notice!(log, "predixy listen in {}", bind.address);
        }
        let (shared, recorders) = share(conf, logger, descriptors)
            .map_err(|error| failed(format!("handler waker fail {error}")))?;
        if let Some(predecessor) = predecessor {
            shared.reserve_client(predecessor.last_number());
            shared.expect_subscribers();
        }
        let predecessor = None;
        Ok(Proxy { shared, log, signals, listeners, metrics, recorders, predecessor, upgrade })
    }

    /// Serves until a signal asks to stop and what was in flight is done, or until another
    /// process has taken over.
    ///
    /// # Errors
    ///
    /// When the threads cannot be started.
    pub fn run(self) -> Result<(), ConfError> {
        let Proxy { shared, log, signals, listeners, metrics, recorders, predecessor, upgrade } =
            self;
        let threads = recorders.len();
        let running = Arc::new(AtomicUsize::new(threads));
        let mut joins = Vec::new();
        let (tell, outcomes) = mpsc::channel();
        let (mut guards, mut sockets) = (Vec::new(), Vec::new());
        for (address, mut listener) in listeners {
            let guard = listener.guard();
            let guard = guard.map_err(|error| {
                ConfError::new(None, format!("socket bind to {address} fail {error}"))
            })?;
            guards.push((address, guard));
            sockets.push(listener);
        }
        let metrics = metrics.map(|(address, mut listener)| {
            guards.push((address, listener.guard()?));
            Metrics::start(&shared, listener)
        });
        let metrics = metrics.transpose();
        let metrics = metrics
            .map_err(|error| ConfError::new(None, format!("metrics thread fail {error}")))?;
        for (index, recorder) in recorders.into_iter().enumerate() {
            let (shared, running) = (Arc::clone(&shared), Arc::clone(&running));
            let outcomes = tell.clone();
            // One handler accepts for all: a new client goes to the one with the fewest anyway.
            let sockets = std::mem::take(&mut sockets);
            let body = move || {
                // The main thread listens until all are told.
                let _ = outcomes.send(serve(&shared, index, sockets, recorder));
                running.fetch_sub(1, AcqRel);
            };
            let join = thread::spawn(&format!("handler {index}"), body)
                .map_err(|error| ConfError::new(None, format!("handler thread fail {error}")))?;
            joins.push(join);
        }
        let name = &shared.settings.load().conf.name;
        log_notice!(log, "predixy running with Name:{} Workers:{}", name, threads);
        let mut overseer =
            Overseer { shared, log, guards, metrics, predecessor, upgrade, is_stopping: false };
        let mut watchdog = Watchdog::find();
        while running.load(Acquire) > 0 {
            let mut patience = if overseer.is_stopping { Some(STOP_POLL_US) } else { None };
            if let Some(watchdog) = &mut watchdog {
                if watchdog.look(&overseer.shared)
                    && let Err(error) = service::remark("WATCHDOG=1")
                {
                    log_warn!(overseer.log, "service manager cannot be told WATCHDOG=1:{}", error);
                }
                patience = Some(patience.unwrap_or(u64::MAX).min(watchdog.patience_us()));
            }
            if let Some(signal) = signals.wait(patience) {
                overseer.heed(signal);
            }
        }
        // To the end it says that the proxy is stopping.
        overseer.stop_metrics();
        for join in joins {
            if let Err(error) = join.join() {
                log_error!(overseer.log, "handler thread fail {}", error);
            }
        }
        overseer.send_latecomers();
        overseer.shared.logger.close();
        // Whoever looks after the process has to know that nobody has asked it to end.
        match outcomes.try_iter().find_map(Result::err) {
            Some(error) => Err(ConfError::new(None, format!("handler fail {error}"))),
            None => Ok(()),
        }
    }
}

/// What the main thread does while handlers serve.
struct Overseer {
    shared: Arc<Shared>,
    log: Log,
    /// What keeps listening sockets open, and their files in place, until a stop.
    guards: Vec<(Address, ListenGuard)>,
    metrics: Option<Metrics>,
    predecessor: Option<Predecessor>,
    upgrade: Upgrade,
    is_stopping: bool,
}

impl Overseer {
    fn heed(&mut self, signal: Signal) {
        match signal {
            Signal::Terminate | Signal::Interrupt if self.is_stopping => self.shared.abandon(),
            Signal::Terminate | Signal::Interrupt => self.stop(),
            Signal::Hangup => {
                // Why it fails stands in the log.
                let _ = self.reload();
            }
            Signal::User2 if self.is_stopping => {}
            Signal::User2 => self.upgrade.begin(&self.shared, &self.log, &self.guards),
            Signal::Call => self.follow_orders(),
        }
    }

    fn stop(&mut self) {
        self.is_stopping = true;
        self.guards.clear();
        self.tell_service("STOPPING=1");
        self.shared.stop();
    }

    fn reload(&self) -> Result<(), Vec<ConfError>> {
        let now_us = clock::monotonic_us();
        self.tell_service(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}"));
        let outcome = reload::reload(&self.shared, &self.log);
        self.tell_service("READY=1");
        outcome
    }

    /// Does what other threads have asked for.
    fn follow_orders(&mut self) {
        for order in self.shared.take_orders() {
            match order {
                Order::Reload { handler, client, sequence } => {
                    let outcome = self.reload();
                    reload::answer(&self.shared, handler, (client, sequence), outcome);
                }
                Order::Running => {
                    let predecessor = self.predecessor.take();
                    match predecessor.map(|old| old.take_over(&self.shared, &self.log)) {
                        // It was stopped meanwhile, and so whoever should take its place.
                        Some(false) => self.stop(),
                        Some(true) | None => self.tell_service("READY=1"),
                    }
                }
                Order::Failed(why) => self.upgrade.fail(&self.log, &why),
                Order::Succeeded(successor) if self.is_stopping => drop(successor.end()),
                Order::Succeeded(successor) => {
                    self.is_stopping = true;
                    self.tell_service(&format!("MAINPID={}", successor.id()));
                    let Overseer { shared, log, guards, upgrade, .. } = self;
                    upgrade.succeed(shared, log, successor, guards);
                    // From now on the new process answers who asks.
                    self.stop_metrics();
                }
                Order::Bequeath(socket, legacy) => self.upgrade.send(&self.log, &socket, &legacy),
                Order::Succession(part, socket) => self.upgrade.send_part(&self.log, &part, socket),
            }
        }
    }

    /// Sends over who has come to a handler that had stopped already.
    fn send_latecomers(&mut self) {
        self.follow_orders();
        for handler in &self.shared.handlers {
            for mail in handler.collect() {
                match mail {
                    Mail::Client(socket, peer, intake) => {
                        let number = self.shared.next_client();
                        let legacy = Legacy { intake, ..Legacy::new(peer, number) };
                        self.upgrade.send(&self.log, &socket, &legacy);
                    }
                    Mail::Heir(socket, legacy) => self.upgrade.send(&self.log, &socket, &legacy),
                    Mail::Part(..)
                    | Mail::Orphaned
                    | Mail::Settings
                    | Mail::Resolved { .. }
                    | Mail::Refresh
                    | Mail::Run(_) => {}
                }
            }
        }
    }

    fn stop_metrics(&mut self) {
        if let Some(Err(error)) = self.metrics.take().map(Metrics::stop) {
            log_error!(self.log, "metrics thread fail {}", error);
        }
    }

    fn tell_service(&self, message: &str) {
        if let Err(error) = service::tell(message) {
            log_warn!(self.log, "service manager cannot be told {}:{}", message, error);
        }
    }
}

/// The life of one handler, in its own thread.
fn serve(
    shared: &Arc<Shared>,
    index: usize,
    listeners: Vec<ListenSocket>,
    recorder: Recorder,
) -> io::Result<()> {
    let log = Log::new(Arc::clone(&shared.logger));
    let outcome = Handler::new(Arc::clone(shared), index, listeners, recorder)
        .and_then(|mut handler| handler.run());
    match &outcome {
        Ok(()) => log_notice!(log, "handler {} stopped", index),
        Err(error) => {
            log_error!(log, "handler {} stopped:{}", index, error);
            // The others could go on, but whoever is assigned to this one would wait for ever.
            shared.stop();
            Signals::raise_terminate();
        }
    }
    outcome
}

/// What all handlers of a proxy with this configuration share, and each one's own recorder.
///
/// # Errors
///
/// When the process may not open any more descriptors.
pub fn share(
    conf: Conf,
    logger: Arc<Logger>,
    descriptors: u64,
) -> io::Result<(Arc<Shared>, Vec<Recorder>)> {
    let threads = threads(&conf);
    let current = Current::new(Topology::from_conf(&conf.pool, conf.data_center.as_ref()));
    let settings = CurrentSettings::new(conf, clients_max(descriptors, threads as u64));
    let (stats, recorders) = Stats::new(threads, &settings.load().monitors);
    let handlers = (0..threads).map(|_| Neighbour::new()).collect::<Result<_, _>>()?;
    let shared = Shared::new(Parts {
        settings,
        current,
        started_s: i64::try_from(clock::wall_us() / 1_000_000).unwrap_or(0),
        logger,
        stats,
        handlers,
    });
    Ok((Arc::new(shared), recorders))
}

/// How many handlers a configuration asks for.
#[must_use]
pub fn threads(conf: &Conf) -> usize {
    match conf.worker_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// How many clients there may be when the configuration does not say: what the limit on open
/// files allows, less what links to servers, the log and the like need.
#[must_use]
pub fn clients_max(descriptors: u64, threads: u64) -> u64 {
    let reserve = 32 + 16 * threads;
    descriptors - reserve.min(descriptors / 2)
}

pub(crate) fn log_settings(conf: &Conf) -> logger::Settings {
    let target = match &conf.log.path {
        None => logger::Target::Stdout,
        Some(path) => logger::Target::File { path: path.clone(), rotation: conf.log.rotation },
    };
    let format = if conf.log.json { logger::Format::Json } else { logger::Format::Text };
    logger::Settings {
        target,
        format,
        samples: conf.log.samples,
        allow_miss_log: conf.log.allow_miss,
    }
}
