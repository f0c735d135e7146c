//! One thread, its loop, and everything that thread owns.
//!
//! A turn of the loop takes every event first and writes afterwards, so that all the small
//! messages of a turn leave in one write per connection. The parts, in the order in which a
//! request meets them: `intake` accepts and reads clients, `header` learns from a proxy in front of
//! us who they are, `dispatch` decides where a request
//! goes, `transaction` takes those of a client that has said MULTI or WATCH, `blocking`
//! those that may take their time, `fan_out` sends what concerns everything to every master,
//! `scan` goes from one to the next, `scripts` loads scripts where they are missing,
//! `cluster_command` answers those who think that this is a cluster, `command_command` those
//! who ask which commands there are,
//! `waiting_room` keeps those that cannot go yet, `local` answers what needs no server,
//! `hello` changes how a client is spoken to, `client_command` tells of clients and
//! ends them, `client_pause` lets them wait, `round` asks the other handlers, `report` writes
//! INFO, `config` shows and changes settings, `follow` goes by other ones, `links` sends, pairs
//! replies with their requests and follows redirections, `giants` keeps large replies from piling
//! up, `loss` says what becomes of the requests on a link that is lost,
//! `pubsub` subscribes clients and gives them their messages, `upkeep` does
//! what time asks for, `sentinel` follows what Sentinels say.
//!
//! `scarcity` sees to it that memory is never spent.
//!
//! `insight`, `slow` and `monitor` look at all that from the side: top keys, slow requests, MONITOR.
//!
//! `pause` lets requests wait, `bequest` sends clients over to the process that takes our place, and
//! `access_log` logs each request.

mod access_log;
mod answers;
mod bequest;
mod blocking;
mod client_command;
mod client_pause;
mod cluster_command;
mod command_command;
mod config;
mod dispatch;
mod fan_out;
mod follow;
mod giants;
mod header;
mod hello;
mod insight;
mod intake;
mod links;
mod local;
mod monitor;
mod pause;
mod proxy_commands;
mod redirects;
mod report;
mod round;
mod scan;
mod scarcity;
mod scripts;
mod slow;
mod streams;
mod transaction;
mod loss;
mod pubsub;
mod sentinel;
mod upkeep;
mod uploads;
mod waiting_room;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::accept_connection::{AcceptConnection, Line};
use super::connect_connection::ConnectConnection;
use super::connect_connection_pool::ConnectConnectionPool;
use super::giants::Giants;
use super::request::{ClientId, LinkId, Ticket};
use super::settings::Settings;
use super::shared::{Mail, Shared};
use super::whole::Whole;
use crate::base::random::Random;
use crate::base::slab::{Id, Slab};
use crate::buffer::BufferPool;
use crate::logger::Log;
use crate::pool::{NodeLine, Topology};
use crate::resp::request_parser::Arguments;
use crate::stats::Recorder;
use crate::sys::{Event, ListenSocket, Multiplexor, Token, clock, random};
use client_pause::ClientPause;
use dispatch::Spare;
pub use hello::Introduction;
use insight::Insight;
use intake::Reader;
use pause::Pause;
use pubsub::PubSub;
use report::Reports;
use scarcity::Budget;
use sentinel::SentinelWatch;
use upkeep::{Chore, Deadlines};
use waiting_room::WaitingRoom;

/// One thread's share of the proxy.
pub struct Handler {
    index: usize,
    shared: Arc<Shared>,
    /// What it goes by, until it is told that there is something new.
    settings: Arc<Settings>,
    log: Log,
    multiplexor: Multiplexor,
    events: Vec<Event>,
    /// Some latency monitor is configured.
    measures: bool,
    /// Requests are logged, each or some.
    is_logged: bool,
    /// One that is to be logged is among the replies that are being taken, or all are.
    is_logging: bool,
    /// How long a client that wrote reads from the master, in microseconds; 0 is not at all.
    read_your_writes_us: u64,
    /// Nothing has to be looked at before a request is taken: everybody may do everything, and
    /// there is no pause.
    is_open: bool,
    pause: Pause,
    client_pause: Option<ClientPause>,
    listeners: Vec<ListenSocket>,
    listening: bool,
    reader: Option<Box<Reader>>,
    spare: Spare,
    buffers: BufferPool,
    /// How much memory there may be.
    budget: Budget,
    clients: Slab<AcceptConnection>,
    links: Slab<ConnectConnection>,
    wholes: Slab<Whole>,
    pools: Vec<ConnectConnectionPool>,
    topology: Arc<Topology>,
    /// What a server said about the cluster the last time, and the topology that it led to.
    last_view: Option<(u64, Vec<NodeLine>)>,
    /// What Sentinels have said, if there are any.
    sentinels: SentinelWatch,
    random: Random,
    /// The time at the top of this turn: the only clock that requests see.
    now_us: u64,
    deadlines: Deadlines,
    reports: Reports,
    room: WaitingRoom,
    pubsub: PubSub,
    draining: bool,
    /// Who must be looked after before the turn ends: something to send, or something to end.
    busy_clients: Vec<ClientId>,
    busy_links: Vec<LinkId>,
    /// Who has more to say than one turn takes.
    eager_clients: Vec<ClientId>,
    eager_links: Vec<LinkId>,
    /// Who seemed to leave while a command of theirs was blocked.
    leaving: Vec<(ClientId, u64)>,
    /// Memory of empty reply queues, for whoever needs one next.
    lines: Vec<Line>,
    arguments_again: Arguments,
    /// Where the large request that is being dispatched goes; whoever holds its buffer sends it.
    large_goes_to: Option<(LinkId, Ticket)>,
    /// What has been answered with something very large.
    giants: Giants,
    /// Until then no large request is passed on while it comes, in microseconds of the monotonic
    /// clock.
    uploads_from_us: u64,
    /// What has passed through: top keys, slow requests, and who watches.
    insight: Insight,
    recorder: Recorder,
}

/// Tells links and clients apart in a token: no slab has this many slots.
const LINK_BIT: u64 = 1 << 31;
/// The token of the mailbox.
const WAKER: Token = Token(u64::MAX);
/// The token of the first listener; further ones count down from it.
const LISTENER: u64 = u64::MAX - 1;
/// How many tokens at the top are not ids.
const LISTENERS_MAX: u64 = 1000;

impl Handler {
    /// The handler number `index` of `shared`; it accepts from `listeners`, if it has any.
    ///
    /// # Errors
    ///
    /// When the process may not open any more descriptors.
    pub fn new(
        shared: Arc<Shared>,
        index: usize,
        listeners: Vec<ListenSocket>,
        recorder: Recorder,
    ) -> io::Result<Self> {
        let multiplexor = Multiplexor::new()?;
        multiplexor.add_waker(shared.handlers[index].waker(), WAKER)?;
        let now_us = clock::monotonic_us();
        let settings = shared.settings.load();
        let mut handler = Handler {
            index,
            log: Log::for_handler(Arc::clone(&shared.logger)),
            multiplexor,
            events: Vec::new(),
            read_your_writes_us: settings.conf.pool.common.read_your_writes_us,
            is_open: settings.authority.is_open(),
            pause: Pause::default(),
            client_pause: None,
            measures: false,
            is_logged: false,
            is_logging: false,
            listeners,
            listening: false,
            reader: Some(Box::new(Reader::new(&settings))),
            spare: Spare::default(),
            buffers: BufferPool::new(Arc::clone(&shared.handlers[index].memory)),
            budget: Budget::new(&settings, shared.handlers.len()),
            clients: Slab::new(),
            links: Slab::new(),
            wholes: Slab::new(),
            pools: Vec::new(),
            topology: shared.current.load(),
            last_view: None,
            sentinels: SentinelWatch::default(),
            random: Random::new(random::seed()),
            now_us,
            deadlines: Deadlines::default(),
            reports: Reports::default(),
            room: WaitingRoom::default(),
            pubsub: PubSub::default(),
            draining: false,
            busy_clients: Vec::new(),
            busy_links: Vec::new(),
            eager_clients: Vec::new(),
            eager_links: Vec::new(),
            leaving: Vec::new(),
            lines: Vec::new(),
            arguments_again: Arguments::default(),
            large_goes_to: None,
            giants: Giants::default(),
            uploads_from_us: 0,
            insight: Insight::new(index as u64),
            recorder,
            settings,
            shared,
        };
        handler.set_measures();
        handler.listen()?;
        handler.follow_slow_log_settings();
        handler.follow_monitors();
        handler.begin_upkeep();
        if handler.shared.expects_subscribers() {
            handler.await_subscribers();
        }
        Ok(handler)
    }

    /// Turns until it is told to stop and has finished.
    ///
    /// # Errors
    ///
    /// When the multiplexor itself fails; there is no going on then.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn()? {}
        Ok(())
    }

    /// One pass of the loop. False when there is nothing left to do for ever.
    ///
    /// # Errors
    ///
    /// When the multiplexor itself fails.
    #[cfg_attr(small, optimize(speed))]
    pub fn turn(&mut self) -> io::Result<bool> {
        let sleep_us = self.sleep_us();
        self.multiplexor.wait(&mut self.events, sleep_us)?;
        self.now_us = clock::monotonic_us();
        self.catch_up();
        let mut next = 0;
        while let Some(event) = self.events.get(next).copied() {
            self.take_event(&event);
            next += 1;
        }
        self.read_eager_clients();
        self.read_eager_links();
        if self.now_us >= self.deadlines.next_us() {
            self.do_upkeep();
        }
        self.finish_turn();
        if self.buffers.has_new_plenty() {
            self.plan_thinning();
        }
        if self.log.holds() {
            self.hand_in_log();
        }
        Ok(!self.has_finished())
    }

    /// Whether there is nothing left to do for ever. Subscribers of the process before may have to
    /// be passed on still.
    fn has_finished(&self) -> bool {
        let awaits = self.awaits_subscribers() && self.shared.is_bequeathing();
        self.draining && self.clients.is_empty() && !awaits
    }

    /// How many clients it serves.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Bytes of buffers in use; not those that are spare, or kept for a link's next request. At
    /// rest there are none.
    pub fn buffered_bytes(&self) -> u64 {
        let kept: usize = self.links.iter().map(|(_, link)| link.log.kept_bytes()).sum();
        self.buffers.bytes() - self.buffers.spare_bytes() as u64 - kept as u64
    }

    /// Requests that some server has yet to answer.
    pub fn in_flight(&self) -> usize {
        let awaiting = self.links.iter().map(|(_, link)| link.awaiting.len());
        awaiting.sum::<usize>() + self.room.len()
    }

    /// Links that are lent to a client, or to a request. At rest there are none.
    pub fn lent_links(&self) -> usize {
        let private = self.links.iter().filter(|(_, link)| link.is_private).count();
        let idle = self.pools.iter().flat_map(|pool| pool.idle());
        private - idle.filter(|id| self.links.get(*id).is_some()).count()
    }

    /// Requests that were split and wait for some part.
    pub fn split(&self) -> usize {
        self.wholes.len()
    }

    /// When it wants to be turned although nothing happens, in microseconds of the monotonic
    /// clock; `u64::MAX` is never.
    pub fn deadline_us(&self) -> u64 {
        self.deadlines.next_us()
    }

    #[cfg_attr(small, optimize(speed))]
    fn sleep_us(&self) -> Option<u64> {
        if !(self.eager_clients.is_empty() && self.eager_links.is_empty()) {
            return Some(0);
        }
        match self.deadlines.next_us() {
            u64::MAX => None,
            next => Some(next.saturating_sub(self.now_us)),
        }
    }

    #[cfg_attr(small, optimize(speed))]
    fn take_event(&mut self, event: &Event) {
        match event.token {
            WAKER => self.read_mail(),
            Token(token) if token > LISTENER - LISTENERS_MAX => {
                self.accept(usize::try_from(LISTENER - token).unwrap_or(usize::MAX));
            }
            Token(token) if token & LINK_BIT != 0 => {
                self.take_link_event(Id::from_u64(token & !LINK_BIT), event);
            }
            Token(token) => self.take_client_event(Id::from_u64(token), event),
        }
    }

    #[cold]
    #[inline(never)]
    fn read_mail(&mut self) {
        for mail in self.shared.handlers[self.index].collect() {
            match mail {
                Mail::Client(socket, peer, intake) => self.adopt(socket, peer, intake),
                Mail::Heir(socket, legacy) => self.take_up(socket, *legacy),
                Mail::Part(part, socket) => self.take_part(part, socket),
                Mail::Orphaned => self.await_no_subscribers(),
                Mail::Settings => self.follow_settings(),
                Mail::Resolved { link, addresses } => self.resolved(link, addresses),
                Mail::Refresh => self.refresh_soon(),
                Mail::Run(errand) => {
                    errand(self);
                    if self.budget.is_spent() {
                        // What goes round may bring much, to many.
                        self.flush_clients();
                        self.relieve(self.budget.spent_at);
                    }
                }
            }
        }
    }

    /// Takes over what others have changed: for the price of two loads when nothing was.
    #[cfg_attr(small, optimize(speed))]
    fn catch_up(&mut self) {
        if self.shared.current.version() != self.topology.version() {
            self.follow_topology();
        }
        if self.shared.is_stopping() {
            if !self.draining {
                self.drain();
            }
            if self.shared.is_abandoned() {
                self.deadlines.set(Chore::Stop, self.now_us);
            }
        }
    }

    /// Writes what the turn has gathered. A lost link answers its clients, so links go first,
    /// and again while there is more.
    #[cfg_attr(small, optimize(speed))]
    fn finish_turn(&mut self) {
        if self.insight.monitors.have_news() {
            self.share_lines();
        }
        loop {
            // By index, because looking after one may put others on the lists.
            let mut links = 0;
            while let Some(id) = self.busy_links.get(links) {
                self.flush_link(*id);
                links += 1;
            }
            self.busy_links.clear();
            self.flush_clients();
            if self.busy_links.is_empty() {
                return;
            }
        }
    }

    /// Writes what clients are owed by now.
    #[cfg_attr(small, optimize(speed))]
    fn flush_clients(&mut self) {
        let mut clients = 0;
        while let Some(id) = self.busy_clients.get(clients) {
            self.flush_client(*id);
            clients += 1;
        }
        self.busy_clients.clear();
    }

    /// Puts a client on the list of those to look after before the turn ends.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    fn list_client(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id)
            && !client.listed
        {
            client.listed = true;
            self.busy_clients.push(id);
        }
    }

    #[inline]
    #[cfg_attr(small, optimize(speed))]
    fn list_link(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(id)
            && !link.listed
        {
            link.listed = true;
            self.busy_links.push(id);
        }
    }

    /// The reply, or the end of it, to one request of a client.
    #[cfg_attr(small, optimize(speed))]
    fn answer(&mut self, id: ClientId, sequence: u32, reply: &[u8]) {
        // Whoever asked may have left; then the reply goes nowhere.
        if let Some(client) = self.clients.get_mut(id) {
            client.answer(&self.buffers, sequence, reply);
            self.list_client(id);
        }
    }

    fn set_load(&self) {
        self.shared.handlers[self.index].clients.store(self.clients.len(), Relaxed);
        self.recorder.handler().client_connections.set(self.clients.len() as u64);
    }
}
