//! Links to servers: opened, fed, greeted. What comes on them is for `answers.rs`.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use super::super::connect_connection::{ConnectConnection, LinkState};
use super::super::lane::Lane;
use super::super::replies;
use super::super::request::{Errand, LinkId, Ticket};
use super::super::shared::Mail;
use super::dispatch::Message;
use super::loss::Loss;
use super::{Handler, LINK_BIT};
use crate::base::address::Address;
use crate::buffer::Buffer;
use crate::pool::{Server, ServerId};
use crate::resp::reply::{Kind, Reply};
use crate::resp::writer::{Protocol, Sink};
use crate::sys::{self, Endpoint, Event, Socket, Token};
use crate::{log_info, log_notice, log_warn};

/// A request that is larger travels on a link of its own, so that it holds up nobody else's.
pub(super) const ELEPHANT: usize = 64 << 10;
/// So many links of a handler keep memory for the next request when they are idle. With more, it
/// would add up: 64 handlers and 1000 servers are 64,000 links.
pub(super) const ROOMY_LINKS: usize = 64;
/// A server that has refused RESP3 is not asked again so soon.
const RESP3_PAUSE_US: u64 = 1_000_000;

impl Handler {
    /// Sends a request to a server, and tells on which link.
    ///
    /// # Errors
    ///
    /// The reply that says that there is no connection: nothing was sent then.
    // By itself the compiler leaves it apart: 40 instructions of each request.
    #[inline(always)]
    #[cfg_attr(small, optimize(speed))]
    pub(super) fn send(
        &mut self,
        server: ServerId,
        lane: Lane,
        message: Message<'_>,
        ticket: Ticket,
    ) -> Result<LinkId, &'static [u8]> {
        let link = if self.goes_alone(message, ticket.origin) {
            self.private_link(server, lane)
        } else {
            self.shared_link(server, lane)
        };
        let Some((id, link)) = link.and_then(|id| Some((id, self.links.get_mut(id)?))) else {
            return Err(self.why_no_link(server, lane));
        };
        if message.is_large {
            self.large_goes_to = Some((id, ticket));
            return Ok(id);
        }
        link.send(&self.buffers, message.bytes, ticket);
        if !link.listed {
            link.listed = true;
            self.busy_links.push(id);
        }
        Ok(id)
    }

    /// Sends the large request that has just been dispatched, if it was not answered at once.
    pub(super) fn send_large(&mut self, request: Buffer) {
        if let Some((id, ticket)) = self.large_goes_to.take()
            && let Some(link) = self.links.get_mut(id)
        {
            link.send_buffer(request, ticket);
            self.list_link(id);
        }
    }

    /// The link that the requests of a lane travel on to a server; opened if there is none.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub(super) fn shared_link(&mut self, server: ServerId, lane: Lane) -> Option<LinkId> {
        let open = self.pools.get(server.index()).and_then(|pool| pool.shared(lane));
        match open {
            Some(link) if self.links.get(link).is_some() => Some(link),
            _ if self.topology.server(server)?.health().is_failed() => {
                self.want_probe(server);
                None
            }
            _ => self.open_shared_link(server, lane),
        }
    }

    /// What a client is told that gets no link.
    #[cold]
    pub(super) fn why_no_link(&self, server: ServerId, lane: Lane) -> &'static [u8] {
        if self.is_resp3_refused(server, lane) {
            replies::NO_RESP3
        } else {
            replies::NO_SERVER_CONNECTION
        }
    }

    /// Whether a server has said just now that it does not speak the protocol of a lane.
    fn is_resp3_refused(&self, server: ServerId, lane: Lane) -> bool {
        let refused_us = self.pools.get(server.index()).map_or(0, |pool| pool.resp3_refused_us);
        lane.protocol() == Protocol::Resp3
            && refused_us > 0
            && self.now_us < refused_us.saturating_add(RESP3_PAUSE_US)
    }

    /// Opens the link that the requests of a lane travel on to a server, also to one that
    /// has failed.
    #[cold]
    #[inline(never)]
    pub(super) fn open_shared_link(&mut self, server: ServerId, lane: Lane) -> Option<LinkId> {
        let link = self.open_link(server, lane)?;
        self.pools[server.index()].share(lane, link);
        Some(link)
    }

    /// A link that nobody else uses, until its last request is answered.
    pub(super) fn private_link(&mut self, server: ServerId, lane: Lane) -> Option<LinkId> {
        if let Some(pool) = self.pools.get_mut(server.index()) {
            while let Some(id) = pool.borrow_private(lane) {
                // It may have been lost since it came back.
                if self.links.get(id).is_some() {
                    return Some(id);
                }
            }
        }
        if self.topology.server(server)?.health().is_failed() {
            self.want_probe(server);
            return None;
        }
        let id = self.open_link(server, lane)?;
        self.links.get_mut(id)?.is_private = true;
        Some(id)
    }

    /// A private link that stays with its borrower when all is answered.
    ///
    /// # Errors
    ///
    /// The reply that says that there is no connection.
    pub(super) fn lend_link(
        &mut self,
        server: ServerId,
        lane: Lane,
    ) -> Result<LinkId, &'static [u8]> {
        let link = self.private_link(server, lane);
        let Some((id, link)) = link.and_then(|id| Some((id, self.links.get_mut(id)?))) else {
            return Err(self.why_no_link(server, lane));
        };
        link.is_lent = true;
        Ok(id)
    }

    /// The last request on a private link is answered.
    pub(super) fn give_back(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.is_fed {
            // It was answered before it was there; the server waits for the rest.
            return self.lose_link(id, Loss::Retired);
        }
        link.log.trim();
        link.timed = false;
        let (server, lane) = (link.server, link.lane);
        let is_kept = !link.is_outdated
            && (self.topology.server(server).is_some())
            && (self.pools.get_mut(server.index())).is_some_and(|pool| pool.give_back(lane, id));
        if !is_kept {
            self.lose_link(id, Loss::Retired);
        }
    }

    /// Begins to connect. Requests can be put in line at once.
    #[cold]
    pub(super) fn open_link(&mut self, server: ServerId, lane: Lane) -> Option<LinkId> {
        if self.is_resp3_refused(server, lane) {
            return None;
        }
        let target = Arc::clone(self.topology.server(server)?);
        let common = &self.settings.conf.pool.common;
        let deadline_us = self.now_us + common.connect_timeout_us;
        let mut link = ConnectConnection::new(server, lane, deadline_us);
        link.addresses = target.endpoints().cloned().collect();
        link.addresses.reverse();
        self.put_handshake(&mut link, &target);
        let id = self.links.insert(link);
        if self.pools.len() <= server.index() {
            self.pools.resize_with(server.index() + 1, Default::default);
        }
        self.recorder.server(server.index()).connect.increment();
        self.recorder.server(server.index()).connections.increment();
        self.deadlines.links_by(deadline_us);
        self.connect_next(id, io::ErrorKind::NotFound.into());
        self.links.get(id).map(|_| id)
    }

    /// Goes on with a connection that the process before us has made, to be told messages on.
    pub(super) fn adopt_link(&mut self, server: ServerId, socket: Socket) -> Option<LinkId> {
        let mut link = ConnectConnection::new(server, Lane::default(), u64::MAX);
        (link.is_private, link.is_lent, link.listens) = (true, true, true);
        link.state = LinkState::Ready;
        link.heard_us = self.now_us;
        let id = self.links.insert(link);
        if let Err(error) = self.multiplexor.add(&socket, Token(id.to_u64() | LINK_BIT)) {
            log_warn!(self.log, "h {} s #{} add to event loop fail:{}", self.index, server, error);
            self.links.remove(id);
            return None;
        }
        let link = self.links.get_mut(id)?;
        link.socket = Some(socket);
        if self.pools.len() <= server.index() {
            self.pools.resize_with(server.index() + 1, Default::default);
        }
        self.recorder.server(server.index()).connections.increment();
        Some(id)
    }

    /// The first requests on every link: who we are, and what we want.
    fn put_handshake(&self, link: &mut ConnectConnection, server: &Server) {
        let mut steps = Vec::new();
        if let Some(credentials) = server.credentials() {
            let password = &*credentials.password;
            steps.push(match &credentials.username {
                Some(user) => (Errand::Auth, vec![&b"AUTH"[..], user.as_bytes(), password]),
                None => (Errand::Auth, vec![&b"AUTH"[..], password]),
            });
        }
        if link.lane.protocol() == Protocol::Resp3 {
            steps.push((Errand::Hello, vec![&b"HELLO"[..], b"3"]));
        }
        // Where masters get all the reads, one that has just become a replica, and may be empty
        // still, must not answer: it says MOVED.
        if self.topology.is_cluster() && !self.topology.reads_go_to_masters() {
            steps.push((Errand::Readonly, vec![&b"READONLY"[..]]));
        }
        let database = link.lane.database().to_string();
        if link.lane.database() != 0 {
            steps.push((Errand::Select, vec![&b"SELECT"[..], database.as_bytes()]));
        }
        // A server that is loading its data, or shut in a failed disk, says so here.
        steps.push((Errand::Ping, vec![&b"PING"[..]]));
        let mut request = Vec::new();
        for (errand, words) in &steps {
            request.clear();
            request.command(words);
            link.send_errand(&self.buffers, *errand, &request, self.now_us);
        }
        link.log.raise_barrier();
    }

    /// Has a host name looked up; [`Handler::resolved`] goes on.
    fn resolve(&mut self, id: LinkId, name: &str, port: u16) {
        let deadline_us = self.now_us + self.settings.conf.pool.common.connect_timeout_us;
        self.deadlines.links_by(deadline_us);
        if let Some(link) = self.links.get_mut(id) {
            link.state = LinkState::Resolving { deadline_us };
        }
        let (shared, index) = (Arc::clone(&self.shared), self.index);
        self.shared.resolver.resolve(
            name,
            port,
            Box::new(move |addresses| {
                shared.handlers[index].post(Mail::Resolved { link: id, addresses });
            }),
        );
    }

    /// A host name has been looked up for a link.
    #[cold]
    #[inline(never)]
    pub(super) fn resolved(&mut self, id: LinkId, addresses: io::Result<Vec<SocketAddr>>) {
        let Some(link) = self.links.get_mut(id) else { return };
        if !matches!(link.state, LinkState::Resolving { .. }) {
            // It took too long, and another address is being tried.
            return;
        }
        match addresses {
            Ok(addresses) => {
                // In front of what else is known of the server; the next one stands last.
                link.addresses.extend(addresses.into_iter().rev().map(Address::Ip));
                self.connect_next(id, io::ErrorKind::NotFound.into());
            }
            Err(error) => self.connect_next(id, error),
        }
    }

    /// Tries the next address of a server; `error` is how the one before went.
    #[cold]
    #[inline(never)]
    pub(super) fn connect_next(&mut self, id: LinkId, mut error: io::Error) {
        loop {
            let Some(link) = self.links.get_mut(id) else { return };
            let endpoint = match link.addresses.pop() {
                Some(Address::Ip(address)) => Endpoint::Ip(address),
                Some(Address::Unix(path)) => Endpoint::Unix(path),
                Some(Address::Host { name, port }) => return self.resolve(id, &name, port),
                None => return self.lose_link(id, Loss::Connect(error)),
            };
            match self.connect(id, &endpoint) {
                Ok(()) => return,
                Err(failed) => error = failed,
            }
        }
    }

    fn connect(&mut self, id: LinkId, endpoint: &Endpoint) -> io::Result<()> {
        let socket = sys::connect(endpoint)?;
        if matches!(endpoint, Endpoint::Ip(_)) {
            socket.set_no_delay()?;
            let idle_s = self.settings.conf.pool.common.keep_alive_s;
            if idle_s > 0 {
                self.keep_alive(&socket, idle_s);
            }
        }
        self.multiplexor.add(&socket, Token(id.to_u64() | LINK_BIT))?;
        let deadline_us = self.now_us + self.settings.conf.pool.common.connect_timeout_us;
        self.deadlines.links_by(deadline_us);
        if let Some(link) = self.links.get_mut(id) {
            link.socket = Some(socket);
            link.state = LinkState::Connecting { deadline_us };
        }
        Ok(())
    }

    fn keep_alive(&self, socket: &Socket, idle_s: u32) {
        if let Err(error) = socket.set_keep_alive(idle_s) {
            log_warn!(self.log, "h {} settcpkeepalive({}) fail {}", self.index, idle_s, error);
        }
    }

    #[cfg_attr(small, optimize(speed))]
    pub(super) fn take_link_event(&mut self, id: LinkId, event: &Event) {
        let Some(link) = self.links.get(id) else { return };
        if matches!(link.state, LinkState::Connecting { .. }) {
            if !(event.writable || event.hang_up) || !self.has_connected(id) {
                return;
            }
        } else if event.writable && link.log.unsent() > 0 {
            self.list_link(id);
        }
        if event.readable || event.hang_up {
            self.read_link(id, event.hang_up);
        }
    }

    /// The kernel has finished connecting, well or not.
    #[cold]
    #[inline(never)]
    fn has_connected(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        let Some(socket) = &link.socket else { return false };
        if let Err(error) = socket.connect_error() {
            link.socket = None;
            self.connect_next(id, error);
            return false;
        }
        log_info!(
            self.log,
            "h {} s {} {} connect succ",
            self.index,
            self.topology
                .server(link.server)
                .map(|server| server.address().to_string())
                .unwrap_or_default(),
            socket.number()
        );
        let deadline_us = self.now_us + self.settings.conf.pool.common.connect_timeout_us;
        let steps = u32::try_from(link.handshake_steps()).unwrap_or(u32::MAX);
        link.state = LinkState::Handshaking { steps, deadline_us };
        link.addresses = Vec::new();
        self.deadlines.links_by(deadline_us);
        self.list_link(id);
        true
    }

    /// Sends what waits.
    #[cfg_attr(small, optimize(speed))]
    pub(super) fn flush_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.listed = false;
        let (LinkState::Handshaking { .. } | LinkState::Ready, Some(socket)) =
            (link.state, &link.socket)
        else {
            return;
        };
        let before = link.log.sent();
        let flushed = link.log.flush(socket);
        let sent = link.log.sent() - before;
        link.note_flush(before, self.now_us);
        let server = link.server.index();
        let queued = u64::from(mem::take(&mut link.queued));
        let (own, of_server) = self.recorder.with_server(server);
        own.total_requests.add(queued);
        own.total_send_server_bytes.add(sent);
        of_server.requests.add(queued);
        of_server.send_bytes.add(sent);
        if !link.timed {
            // From now on somebody must look whether the answer comes in time.
            link.timed = true;
            let timeout_us = self.settings.conf.pool.common.server_timeout_us;
            if timeout_us > 0 {
                self.deadlines.links_by(self.now_us + timeout_us);
            }
        }
        let is_fed = link.is_fed;
        if let Err(error) = flushed {
            return self.lose_link(id, Loss::Error(error));
        }
        if is_fed {
            self.feed_on(id, sent > 0);
        }
    }

    pub(super) fn take_handshake_step(&mut self, id: LinkId, errand: Errand, reply: &[u8]) {
        let Some(link) = self.links.get_mut(id) else { return };
        let LinkState::Handshaking { steps, deadline_us } = link.state else { return };
        let is_accepted = match errand {
            Errand::Hello => Reply::new(reply).kind() == Kind::Map,
            _ => reply[0] == b'+',
        };
        if !is_accepted {
            let text = String::from_utf8_lossy(reply).trim_end().to_owned();
            // A server that wants a password says so to everybody; what else it does not like
            // about HELLO concerns nobody who speaks RESP2.
            let is_about_resp3 = errand == Errand::Hello && !reply.starts_with(b"-NOAUTH");
            let loss =
                if is_about_resp3 { Loss::NoResp3(text) } else { Loss::Refused(errand, text) };
            return self.lose_link(id, loss);
        }
        if steps > 1 {
            link.state = LinkState::Handshaking { steps: steps - 1, deadline_us };
            return;
        }
        link.state = LinkState::Ready;
        link.log.lower_barrier();
        let server = link.server.index();
        if let Some(pool) = self.pools.get_mut(server) {
            pool.down_since_us = 0;
        }
        self.list_link(id);
    }

    /// A server has answered.
    #[cfg_attr(small, optimize(speed))]
    pub(super) fn is_alive(&self, server: ServerId) {
        if let Some(target) = self.topology.server(server)
            && target.health().succeed()
        {
            log_notice!(self.log, "h {} s {} mark server alive", self.index, target.address());
        }
    }
}
