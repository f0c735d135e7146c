//! What time asks for: topology, deadlines, probes.

use std::io;
use std::sync::Arc;

use super::super::accept_connection::Intake;
use super::super::connect_connection::LinkState;
use super::super::lane::Lane;
use super::super::replies;
use super::super::request::{Awaiting, Errand, LinkId};
use super::Handler;
use super::loss::Loss;
use crate::base::order;
use crate::pool::{Failure, HostChoice, NodeLine, Older, ServerId, parse_nodes};
use crate::resp::reply::Reply;
use crate::resp::writer::Sink;
use crate::sys::memory;
use crate::{log_debug, log_error, log_info, log_notice};

/// What a handler does when its time has come.
#[derive(Clone, Copy)]
pub(super) enum Chore {
    /// The first client may have been idle for too long.
    Clients,
    /// The first link may have taken too long.
    Links,
    /// Somebody in the waiting room is to be looked after.
    Room,
    /// The topology is to be asked for.
    Refresh,
    /// A failed server is to be tried again.
    Probe,
    /// Servers that were asked about themselves have had their time.
    Report,
    /// Clients that seemed to leave while they were blocked are to be looked at.
    Leaving,
    /// A pause that CLIENT PAUSE has begun is over.
    ClientPause,
    /// Links to be told messages on, and topics that wait for one, are to be looked at.
    Channels,
    /// Accepting, which was paused, goes on.
    Accept,
    /// The first client may have waited too long for the header of its proxy.
    Headers,
    /// Memory was short.
    Memory,
    /// More memory is spare than is worth keeping.
    Spare,
    /// A pause is over.
    Resume,
    /// During a pause: what was under way may be done.
    Quiet,
    /// During a stop: commands that wait at servers are called back.
    Unblock,
    /// Another process goes on: clients are to be sent over.
    Bequeath,
    /// The topology was to be known by now.
    Known,
    /// Whoever is still there is abandoned.
    Stop,
    /// Lines are handed in again that the log could not take at once.
    Log,
}

/// When there is something to do although nothing happens, in microseconds of the monotonic
/// clock; `u64::MAX` is never.
pub(super) struct Deadlines {
    by_chore: [u64; Chore::Log as usize + 1],
    /// The first of them: asked twice a turn, changed seldom.
    next_us: u64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines { by_chore: [u64::MAX; Chore::Log as usize + 1], next_us: u64::MAX }
    }
}

impl Deadlines {
    /// The first of all.
    #[inline]
    pub fn next_us(&self) -> u64 {
        self.next_us
    }

    /// When this one is due.
    pub fn of(&self, chore: Chore) -> u64 {
        self.by_chore[chore as usize]
    }

    /// It is due then, whatever was said before.
    pub fn set(&mut self, chore: Chore, due_us: u64) {
        self.by_chore[chore as usize] = due_us;
        self.next_us = self.by_chore.into_iter().min().unwrap_or(u64::MAX);
    }

    /// It is due then, if not earlier.
    pub fn advance(&mut self, chore: Chore, due_us: u64) {
        if due_us < self.of(chore) {
            self.set(chore, due_us);
        }
    }

    /// Links are to be looked at by then.
    pub fn links_by(&mut self, due_us: u64) {
        self.advance(Chore::Links, due_us);
    }
}

/// The same for every node that sees the same: not who said it, nor in which order.
fn view_of(nodes: &[NodeLine]) -> Vec<NodeLine> {
    let mut view = nodes.to_vec();
    view.iter_mut().for_each(|node| node.flags.myself = false);
    order::sort_by(&mut view, |one, other| one.id.cmp(&other.id));
    view
}

/// A topology that has just been asked for is not asked for again so soon, whatever happens.
pub(super) const REFRESH_PAUSE_US: u64 = 100_000;
/// So many servers, picked at random, are considered before nobody is asked this time.
const CONTACTS_MAX: usize = 8;
/// A process that has just been started is ready although it does not know the topology after so
/// long.
const KNOWN_US: u64 = 2_000_000;
/// How soon lines are handed in again.
const LOG_AGAIN_US: u64 = 1_000;
/// Spare buffers are given back at these intervals, half of them each time.
const THINNING_US: u64 = 1_000_000;
/// So many bytes are worth asking the allocator for.
const WORTHWHILE: usize = 1 << 20;
/// Links to servers that are gone are given this long to get their last answers.
const RETIRE_US: u64 = 1_000_000;
/// For so long a cluster may tell only what is older than what is known before that is believed:
/// nodes hear of each other within their `cluster-node-timeout`, which is rarely more.
const OLDER_PATIENCE_US: u64 = 15_000_000;

impl Handler {
    /// What is to be done for the first time at once.
    pub(super) fn begin_upkeep(&mut self) {
        if self.index == 0 && (self.topology.is_cluster() || self.topology.is_by_sentinel()) {
            self.deadlines.set(Chore::Refresh, self.now_us);
        }
        self.await_topology();
        if self.index == 0 && !self.is_informed() {
            self.deadlines.set(Chore::Known, self.now_us + KNOWN_US);
        } else {
            self.shared.report_ready();
        }
    }

    /// Whether it is known where requests go.
    fn is_informed(&self) -> bool {
        match self.topology.is_cluster() {
            true => !self.topology.scannable().is_empty(),
            false => self.topology.groups().iter().all(|group| group.master().is_some()),
        }
    }

    /// It is known where requests go, or nobody has told for so long that it does not matter.
    fn report_known(&mut self) {
        self.deadlines.set(Chore::Known, u64::MAX);
        self.shared.report_ready();
    }

    #[cold]
    #[inline(never)]
    pub(super) fn do_upkeep(&mut self) {
        let now_us = self.now_us;
        if now_us >= self.deadlines.of(Chore::Refresh) {
            self.refresh();
        }
        if now_us >= self.deadlines.of(Chore::Links) {
            self.check_links();
        }
        if now_us >= self.deadlines.of(Chore::Probe) {
            self.probe();
        }
        if now_us >= self.deadlines.of(Chore::Clients) {
            self.check_clients();
        }
        if now_us >= self.deadlines.of(Chore::Report) {
            self.check_reports();
        }
        if now_us >= self.deadlines.of(Chore::Leaving) {
            self.see_off_leaving();
        }
        if now_us >= self.deadlines.of(Chore::ClientPause) {
            self.hold_clients(None);
        }
        if now_us >= self.deadlines.of(Chore::Channels) {
            self.check_channels();
        }
        if now_us >= self.deadlines.of(Chore::Accept) {
            self.resume_listening();
        }
        if now_us >= self.deadlines.of(Chore::Headers) {
            self.check_headers();
        }
        if now_us >= self.deadlines.of(Chore::Memory) {
            self.check_memory();
        }
        if now_us >= self.deadlines.of(Chore::Spare) {
            self.thin_out();
        }
        if now_us >= self.deadlines.of(Chore::Room) {
            self.check_room();
        }
        if now_us >= self.deadlines.of(Chore::Resume) {
            self.resume();
        }
        if now_us >= self.deadlines.of(Chore::Quiet) {
            self.look_for_quiet();
        }
        if now_us >= self.deadlines.of(Chore::Unblock) {
            self.deadlines.set(Chore::Unblock, u64::MAX);
            self.call_back_blocked();
        }
        if now_us >= self.deadlines.of(Chore::Bequeath) {
            self.bequeath_clients();
        }
        if now_us >= self.deadlines.of(Chore::Known) {
            self.report_known();
        }
        if now_us >= self.deadlines.of(Chore::Stop) {
            self.abandon_clients();
        }
        if now_us >= self.deadlines.of(Chore::Log) {
            // The end of the turn does it.
            self.deadlines.set(Chore::Log, u64::MAX);
        }
    }

    /// Hands in the lines that the log could not take at once. It may still not: then soon again.
    #[cold]
    pub(super) fn hand_in_log(&mut self) {
        self.log.hand_in();
        if self.log.holds() {
            self.deadlines.advance(Chore::Log, self.now_us + LOG_AGAIN_US);
        }
    }

    /// A burst has left more buffers than are worth keeping for the next one.
    #[cold]
    #[inline(never)]
    pub(super) fn plan_thinning(&mut self) {
        self.buffers.note_plenty();
        self.deadlines.set(Chore::Spare, self.now_us + THINNING_US);
    }

    fn thin_out(&mut self) {
        let Some(thinned) = self.buffers.thin_out() else {
            return self.deadlines.set(Chore::Spare, self.now_us + THINNING_US);
        };
        self.deadlines.set(Chore::Spare, u64::MAX);
        // The allocator may keep it; to make it give it away takes time, so not for a little.
        if thinned >= WORTHWHILE {
            memory::give_back();
        }
    }

    /// Something has happened that makes the topology doubtful.
    pub(super) fn refresh_soon(&mut self) {
        if self.topology.is_cluster() {
            let earliest_us = self.shared.refreshed_us() + REFRESH_PAUSE_US;
            let due_us = earliest_us.max(self.now_us);
            self.deadlines.advance(Chore::Refresh, due_us);
        } else if self.topology.is_by_sentinel() {
            self.doubt_sentinels();
        }
    }

    /// Asks one server who owns what. One handler does it at intervals; any may do it when it
    /// has a reason.
    fn refresh(&mut self) {
        let interval_us = self.settings.conf.pool.common.refresh_interval_us;
        let next_us = if self.index == 0 { self.now_us + interval_us } else { u64::MAX };
        self.deadlines.set(Chore::Refresh, next_us);
        if !self.draining && self.topology.is_by_sentinel() {
            return self.ask_sentinels();
        }
        let pause_us = REFRESH_PAUSE_US.min(interval_us);
        if self.draining || !self.shared.claim_refresh(self.now_us, pause_us) {
            return;
        }
        // A server that has not answered the last time is not asked again, but another one.
        let mut server = None;
        for _ in 0..CONTACTS_MAX {
            server = self.topology.contact(&mut self.random);
            if !server.is_some_and(|server| self.owes_cluster_nodes(server)) {
                break;
            }
        }
        let Some(server) = server.filter(|server| !self.owes_cluster_nodes(*server)) else {
            return;
        };
        let link = self.pools.get(server.index()).and_then(|pool| pool.shared(Lane::default()));
        let link = match link {
            Some(id) if self.links.get(id).is_some() => Some(id),
            _ => self.open_shared_link(server, Lane::default()),
        };
        if let Some(id) = link
            && let Some(link) = self.links.get_mut(id)
        {
            let mut request = Vec::new();
            request.command(&[b"CLUSTER", b"NODES"]);
            link.send_errand(&self.buffers, Errand::ClusterNodes, &request, self.now_us);
            self.list_link(id);
        }
    }

    /// Whether a server has yet to say who owns what.
    fn owes_cluster_nodes(&self, server: ServerId) -> bool {
        let link = self.pools.get(server.index()).and_then(|pool| pool.shared(Lane::default()));
        link.and_then(|id| self.links.get(id)).is_some_and(|link| {
            link.awaiting.iter().any(|awaiting| awaiting.is_errand(Errand::ClusterNodes))
        })
    }

    /// A server has said who owns what.
    pub(super) fn take_cluster_nodes(&mut self, server: ServerId, reply: &[u8]) {
        let Some(text) = Reply::new(reply).text().filter(|_| reply[0] != b'-') else {
            log_error!(self.log, "redis cluster nodes parse error: {}", reply.escape_ascii());
            return;
        };
        let nodes = match parse_nodes(text) {
            Ok(nodes) => nodes,
            Err(error) => {
                log_error!(self.log, "redis cluster nodes parse error: {}", error);
                return;
            }
        };
        // What a server said the last time is not worked through again, whichever says it now.
        let view = view_of(&nodes);
        if self
            .last_view
            .as_ref()
            .is_some_and(|(version, last)| *version == self.topology.version() && *last == view)
        {
            return self.shared.confirm(self.now_us);
        }
        let interval_us = self.settings.conf.pool.common.refresh_interval_us;
        let patience_us = OLDER_PATIENCE_US.max(interval_us.saturating_mul(3));
        let older = match self.now_us < self.shared.confirmed_us().saturating_add(patience_us) {
            true => Older::Refuse,
            false => Older::Believe,
        };
        let mut is_believed = true;
        let published = self.shared.current.update(|topology| {
            match topology.refreshed(&nodes, server, HostChoice::default(), older) {
                Ok(refreshed) => {
                    for note in &refreshed.notes {
                        log_debug!(self.log, "redis cluster nodes {}", note);
                    }
                    refreshed.topology
                }
                Err(refused) => {
                    log_notice!(self.log, "redis cluster nodes of a server refused: {}", refused);
                    is_believed = false;
                    None
                }
            }
        });
        if is_believed {
            self.shared.confirm(self.now_us);
        }
        if published.is_some() {
            self.shared.wake_all();
            self.follow_topology();
        }
        self.last_view = is_believed.then(|| (self.topology.version(), view));
    }

    /// Takes over the topology that somebody has published.
    #[cold]
    #[inline(never)]
    pub(super) fn follow_topology(&mut self) {
        let topology = self.shared.current.load();
        if topology.version() == self.topology.version() {
            return;
        }
        let before = std::mem::replace(&mut self.topology, topology);
        self.shared.generations.observe(&self.topology);
        if self.index == 0 {
            for server in self.topology.servers() {
                if before.server(server.id()).is_none() {
                    log_notice!(self.log, "create new server {}", server.address());
                }
            }
            for server in before.servers() {
                if self.topology.server(server.id()).is_none() {
                    log_notice!(self.log, "server {} is gone", server.address());
                }
            }
        }
        if !self.topology.is_under_rules_of(&before) {
            self.follow_rules(&before);
        }
        self.raise_fences(&before);
        self.lower_fences();
        self.retry_waiting(true);
        self.retire_links();
        self.watch_failed_servers();
        if self.deadlines.of(Chore::Known) != u64::MAX && self.is_informed() {
            self.report_known();
        }
        self.follow_channels();
    }

    /// Closes links to servers that are gone, once they have answered. From servers that are said
    /// to be down nobody waits for an answer for ever.
    fn retire_links(&mut self) {
        for id in self.links.ids() {
            let Some(link) = self.links.get_mut(id) else { continue };
            let front_us = link.awaiting.front().map(Awaiting::asked_us);
            let patience_from_us = match (self.topology.server(link.server), front_us) {
                (Some(server), Some(since_us)) if server.is_down() => since_us,
                (Some(_), _) => continue,
                (None, _) => {
                    if link.retired_us == 0 {
                        link.retired_us = self.now_us;
                    }
                    link.retired_us
                }
            };
            let due_us = patience_from_us.max(link.heard_us).saturating_add(RETIRE_US);
            if link.awaiting.is_empty() || self.now_us >= due_us {
                self.lose_link(id, Loss::Retired);
            } else {
                self.deadlines.links_by(due_us);
            }
        }
    }

    /// Ends links that have taken too long.
    fn check_links(&mut self) {
        self.deadlines.set(Chore::Links, u64::MAX);
        let timeout_us = self.settings.conf.pool.common.server_timeout_us;
        let now_us = self.now_us;
        for id in self.links.ids() {
            let Some(link) = self.links.get_mut(id) else { continue };
            let deadline_us = match link.state {
                LinkState::Resolving { deadline_us }
                | LinkState::Connecting { deadline_us }
                | LinkState::Handshaking { deadline_us, .. } => deadline_us,
                // It is for the client to go on.
                LinkState::Ready if timeout_us > 0 && link.is_fed && link.log.unsent() == 0 => {
                    link.heard_us = now_us;
                    now_us.saturating_add(timeout_us)
                }
                // Who listens for messages looks after its links itself.
                LinkState::Ready if timeout_us > 0 && !link.is_blocked() && !link.listens => {
                    link.answer_deadline_us(timeout_us)
                }
                LinkState::Ready => u64::MAX,
            };
            if now_us < deadline_us {
                self.deadlines.links_by(deadline_us);
                continue;
            }
            match link.state {
                LinkState::Connecting { .. } => {
                    link.socket = None;
                    self.connect_next(id, io::ErrorKind::TimedOut.into());
                }
                LinkState::Resolving { .. } => {
                    self.connect_next(id, io::ErrorKind::TimedOut.into());
                }
                LinkState::Handshaking { .. } => {
                    self.lose_link(id, Loss::Connect(io::ErrorKind::TimedOut.into()));
                }
                LinkState::Ready => self.tell_late(id, timeout_us),
            }
        }
        self.retire_links();
    }

    /// Tells those whose answer does not come in time. The link lives on, for the sake of the
    /// others on it, unless the server has said nothing at all for that long since.
    fn tell_late(&mut self, id: LinkId, timeout_us: u64) {
        let now_us = self.now_us;
        let Some(link) = self.links.get_mut(id) else { return };
        // Who has a link alone cannot go on there without this answer.
        if link.is_stalled(now_us, timeout_us) || link.is_in_session() || link.is_fed {
            return self.lose_link(id, Loss::TimeOut);
        }
        let late = link.give_up_late(now_us, timeout_us);
        self.deadlines.links_by(link.answer_deadline_us(timeout_us));
        let server = link.server;
        log_notice!(self.log, "h {} s #{} {} requests timed out", self.index, server, late.len());
        if let Some(target) = self.topology.server(server).cloned()
            && target.health().fail(Failure::Timeout, now_us, &self.health_rules())
        {
            log_notice!(self.log, "server {} mark failure", target.address());
            self.watch_failed_servers();
        }
        for origin in late {
            self.deliver(origin, replies::SERVER_CONNECTION_CLOSE);
        }
    }

    /// Clients are to be looked at when the first of them may have been idle for too long.
    pub(super) fn watch_clients(&mut self) {
        let timeout_us = self.settings.conf.client_timeout_us;
        if timeout_us > 0 && self.deadlines.of(Chore::Clients) == u64::MAX {
            self.deadlines.set(Chore::Clients, self.now_us.saturating_add(timeout_us));
        }
    }

    /// Clients may be idle for another time now than before.
    pub(super) fn watch_clients_anew(&mut self) {
        let is_limited = self.settings.conf.client_timeout_us > 0 && !self.clients.is_empty();
        self.deadlines.set(Chore::Clients, if is_limited { self.now_us } else { u64::MAX });
    }

    /// Lets go of clients that have been idle for too long.
    fn check_clients(&mut self) {
        let timeout_us = self.settings.conf.client_timeout_us;
        if timeout_us == 0 {
            return self.deadlines.set(Chore::Clients, u64::MAX);
        }
        let mut next_us = u64::MAX;
        for id in self.clients.ids() {
            let Some(client) = self.clients.get_mut(id) else { continue };
            let may_idle = client.session.as_ref().is_some_and(|session| session.may_idle())
                || client.subscribes
                || self.insight.monitors.has(id)
                || client.intake == Intake::Held;
            // Who has just been given what it waited for is written to at the end of this turn.
            // Whose server is slow is not idle, but who does not finish what it has begun may be.
            let is_owed = match &client.upload {
                Some(upload) => upload.is_held_up,
                None => client.owed() > 0,
            };
            if is_owed || client.listed || may_idle {
                client.active_us = self.now_us;
            }
            let deadline_us = client.active_us.saturating_add(timeout_us);
            if self.now_us >= deadline_us {
                log_info!(self.log, "h {} c {} idle for too long", self.index, client.peer);
                self.drop_client(id, "timeout");
            } else {
                next_us = next_us.min(deadline_us);
            }
        }
        self.deadlines.set(Chore::Clients, next_us);
    }

    /// Failed servers are to be tried again when the first of them is due.
    pub(super) fn watch_failed_servers(&mut self) {
        let due = self.topology.servers().filter_map(|server| server.health().next_probe_us());
        let next_us = due.min();
        self.deadlines.set(Chore::Probe, next_us.unwrap_or(u64::MAX));
    }

    /// A failed server is needed: the next try may not be far away.
    #[cold]
    pub(super) fn want_probe(&mut self, server: ServerId) {
        if let Some(target) = self.topology.server(server) {
            let due_us = target.health().hasten_probe(self.now_us, &self.health_rules());
            self.deadlines.advance(Chore::Probe, due_us);
        }
    }

    /// Tries failed servers again. A handshake that succeeds is the proof of life.
    fn probe(&mut self) {
        let failed: Vec<_> = (self.topology.servers())
            .filter(|server| server.health().is_failed())
            .map(Arc::clone)
            .collect();
        let rules = self.health_rules();
        for server in failed {
            if server.health().claim_probe(self.now_us, &rules) {
                let open = self
                    .pools
                    .get(server.id().index())
                    .and_then(|pool| pool.shared(Lane::default()));
                let is_open = open.is_some_and(|id| self.links.get(id).is_some());
                match open {
                    Some(id) if is_open => self.ping(id),
                    _ => drop(self.open_shared_link(server.id(), Lane::default())),
                }
            }
        }
        self.watch_failed_servers();
    }

    /// Asks for a sign of life on a link that is open; any reply is one.
    pub(super) fn ping(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.state == LinkState::Ready && link.awaiting.is_empty() {
            let mut request = Vec::new();
            request.command(&[b"PING"]);
            link.send_errand(&self.buffers, Errand::Ping, &request, self.now_us);
            self.list_link(id);
        }
    }
}
