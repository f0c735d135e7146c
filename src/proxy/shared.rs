//! What crosses threads, all of it.
//!
//! A handler owns everything it touches; what is here is what the others may see of it, and
//! what belongs to the process. Counters have one writer each, the topology is replaced whole.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, mem};

use super::accept_connection::Intake;
use super::greeting::Greetings;
use super::handler::Handler;
use super::legacy::Legacy;
use super::request::{ClientId, LinkId};
use super::scan_cursor::MasterGenerations;
use super::script_cache::ScriptCache;
use super::settings::CurrentSettings;
use super::succession::Part;
use crate::buffer::MemoryGauge;
use crate::logger::Logger;
use crate::pool::Current;
use crate::stats::Stats;
use crate::sys::handover::Successor;
use crate::sys::resolver::Resolver;
use crate::sys::signal::Signals;
use crate::sys::{Peer, Socket, Waker, clock};

/// What all handlers and the main thread share.
pub struct Shared {
    /// What the proxy goes by. A handler has its own reference.
    pub settings: CurrentSettings,
    /// Where log lines go.
    pub logger: Arc<Logger>,
    /// The topology of now.
    pub current: Current,
    /// How often groups have changed their masters: SCAN must know.
    pub generations: MasterGenerations,
    /// The scripts that clients have loaded.
    pub scripts: ScriptCache,
    /// What servers say to HELLO.
    pub greetings: Greetings,
    /// Looks up host names, away from the handlers.
    pub resolver: Resolver,
    /// Counters of handlers and servers.
    pub stats: Stats,
    /// One for each handler.
    pub handlers: Vec<Neighbour>,
    /// When the process started, in seconds since the epoch.
    pub started_s: i64,
    /// The same in microseconds of the monotonic clock.
    pub started_us: u64,
    orders: Mutex<Vec<Order>>,
    stopping: AtomicBool,
    abandoned: AtomicBool,
    bequeathing: AtomicBool,
    /// The process before us may have subscribers.
    expecting: AtomicBool,
    /// How many handlers have said that they are ready.
    ready: AtomicUsize,
    next_client: AtomicU64,
    next_slow_request: AtomicU64,
    refreshed_us: AtomicU64,
    confirmed_us: AtomicU64,
}

/// What one handler shows to the others.
pub struct Neighbour {
    /// How many clients it has.
    pub clients: AtomicUsize,
    /// How many of them watch what all clients ask for.
    pub monitors: AtomicUsize,
    /// Bytes of what they are to see that are on their way to it.
    pub lines_under_way: AtomicUsize,
    /// How much memory its buffers have.
    pub memory: Arc<MemoryGauge>,
    /// The most that one of its clients holds, while memory is short.
    pub most_held: AtomicUsize,
    waker: Waker,
    mailbox: Mutex<Vec<Mail>>,
}

/// What the main thread is asked to do, because it may take its time.
pub enum Order {
    /// Read the configuration again, and answer a client's request.
    Reload {
        /// The handler of the client.
        handler: usize,
        /// The client.
        client: ClientId,
        /// The number of its request.
        sequence: u32,
    },
    /// All handlers are ready to serve.
    Running,
    /// The process that is to take the place of this one is ready.
    Succeeded(Successor),
    /// It is not, and why.
    Failed(String),
    /// Send it a client.
    Bequeath(Socket, Box<Legacy>),
    /// Send it some of what subscribers hear.
    Succession(Part, Option<Socket>),
}

/// What a handler is told by others.
pub enum Mail {
    /// Here is a client to serve, and what comes first from it.
    Client(Socket, Peer, Intake),
    /// Here is one whom the process before us has served so far.
    Heir(Socket, Box<Legacy>),
    /// Here is some of what subscribers hear whom the process before us has served so far.
    Part(Part, Option<Socket>),
    /// Nothing more comes from the process before us.
    Orphaned,
    /// Settings have changed.
    Settings,
    /// This is what a host name stands for.
    Resolved {
        /// The link that asked.
        link: LinkId,
        /// All addresses, or why there are none.
        addresses: io::Result<Vec<SocketAddr>>,
    },
    /// Sentinels are to be asked: something has happened.
    Refresh,
    /// Something that only it can do or tell, see `handler/round.rs`.
    Run(Box<dyn FnOnce(&mut Handler) + Send>),
}

impl Neighbour {
    /// A handler that is about to start.
    ///
    /// # Errors
    ///
    /// When the process may not open any more descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Neighbour {
            clients: AtomicUsize::new(0),
            monitors: AtomicUsize::new(0),
            lines_under_way: AtomicUsize::new(0),
            memory: Arc::default(),
            most_held: AtomicUsize::new(0),
            waker: Waker::new()?,
            mailbox: Mutex::default(),
        })
    }

    /// What wakes it.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Tells it something and wakes it.
    pub fn post(&self, mail: Mail) {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
        self.waker.wake();
    }

    /// All that it was told since it last looked.
    pub fn collect(&self) -> Vec<Mail> {
        self.waker.drain();
        mem::take(&mut *self.mailbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What [`Shared`] is made of.
pub struct Parts {
    /// See [`Shared::settings`].
    pub settings: CurrentSettings,
    /// See [`Shared::logger`].
    pub logger: Arc<Logger>,
    /// See [`Shared::current`].
    pub current: Current,
    /// See [`Shared::stats`].
    pub stats: Stats,
    /// See [`Shared::handlers`].
    pub handlers: Vec<Neighbour>,
    /// See [`Shared::started_s`].
    pub started_s: i64,
}

impl Shared {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Shared {
            settings: parts.settings,
            logger: parts.logger,
            current: parts.current,
            generations: MasterGenerations::default(),
            scripts: ScriptCache::default(),
            greetings: Greetings::default(),
            resolver: Resolver::new(),
            stats: parts.stats,
            handlers: parts.handlers,
            started_s: parts.started_s,
            started_us: clock::monotonic_us(),
            orders: Mutex::default(),
            stopping: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            bequeathing: AtomicBool::new(false),
            expecting: AtomicBool::new(false),
            ready: AtomicUsize::new(0),
            next_client: AtomicU64::new(1),
            next_slow_request: AtomicU64::new(0),
            refreshed_us: AtomicU64::new(0),
            confirmed_us: AtomicU64::new(0),
        }
    }

    /// Asks all handlers to finish what is in flight and stop.
    pub fn stop(&self) {
        self.stopping.store(true, Release);
        self.wake_all();
    }

    /// Whether [`Shared::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Acquire)
    }

    /// Asks all handlers to stop and send their clients over to the process that takes our place.
    pub fn bequeath(&self) {
        self.bequeathing.store(true, Release);
        self.stop();
    }

    /// Whether [`Shared::bequeath`] was called.
    pub fn is_bequeathing(&self) -> bool {
        self.bequeathing.load(Acquire)
    }

    /// Lets handlers that start wait for the subscribers of the process before us.
    pub fn expect_subscribers(&self) {
        self.expecting.store(true, Release);
    }

    /// Whether [`Shared::expect_subscribers`] was called.
    pub fn expects_subscribers(&self) -> bool {
        self.expecting.load(Acquire)
    }

    /// A handler is ready to serve; when all are the main thread is told.
    pub fn report_ready(&self) {
        if self.ready.fetch_add(1, Relaxed) + 1 == self.handlers.len() {
            self.order(Order::Running);
        }
    }

    /// Asks all handlers to stop without waiting for what is in flight.
    pub fn abandon(&self) {
        self.abandoned.store(true, Release);
        self.stop();
    }

    /// Whether [`Shared::abandon`] was called.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Acquire)
    }

    /// Makes every handler look at what has changed.
    pub fn wake_all(&self) {
        for handler in &self.handlers {
            handler.waker.wake();
        }
    }

    /// Tells every handler that settings have changed.
    pub fn tell_settings(&self) {
        for handler in &self.handlers {
            handler.post(Mail::Settings);
        }
    }

    /// Asks the main thread to do something.
    pub fn order(&self, order: Order) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        Signals::call();
    }

    /// What the main thread was asked to do since it last looked.
    pub fn take_orders(&self) -> Vec<Order> {
        mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.handlers.iter().map(|handler| handler.clients.load(Relaxed)).sum()
    }

    /// No other client gets this number, nor one before it.
    pub fn reserve_client(&self, number: u64) {
        self.next_client.fetch_max(number.saturating_add(1), Relaxed);
    }

    /// The number of the next client.
    pub fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Relaxed)
    }

    /// The number of the next slow request.
    pub fn next_slow_request(&self) -> u64 {
        self.next_slow_request.fetch_add(1, Relaxed)
    }

    /// Whether the caller may ask for the topology now: true for one of all handlers, and not
    /// again before `pause_us` have passed.
    pub fn claim_refresh(&self, now_us: u64, pause_us: u64) -> bool {
        let last = self.refreshed_us.load(Relaxed);
        let is_due = last == 0 || now_us >= last.saturating_add(pause_us);
        is_due && self.refreshed_us.compare_exchange(last, now_us.max(1), Relaxed, Relaxed).is_ok()
    }

    /// What a server says of a cluster is believed, or is what was believed already.
    pub fn confirm(&self, now_us: u64) {
        self.confirmed_us.store(now_us, Relaxed);
    }

    /// When a server last said something of a cluster that was believed, in microseconds of the
    /// monotonic clock; 0 is never.
    pub fn confirmed_us(&self) -> u64 {
        self.confirmed_us.load(Relaxed)
    }

    /// When the topology was last asked for, in microseconds of the monotonic clock; 0 is never.
    pub fn refreshed_us(&self) -> u64 {
        self.refreshed_us.load(Relaxed)
    }
}
