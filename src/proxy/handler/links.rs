//! Links to servers: opened, fed, listened to, lost.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use super::super::accept_connection::AtOnce;
use super::super::connect_connection::{ConnectConnection, LinkState};
use super::super::giants::GIANT;
use super::super::lane::Lane;
use super::super::replies;
use super::super::request::{
    Awaiting, ClientId, Errand, HOPS_AT_ONCE, HOPS_MAX, LinkId, Origin, Ticket,
};
use super::super::shared::Mail;
use super::dispatch::Message;
use super::intake::Reader;
use super::loss::Loss;
use super::transaction::Answer;
use super::waiting_room::Parcel;
use super::{Handler, LINK_BIT};
use crate::base::address::Address;
use crate::buffer::Buffer;
use crate::logger::Level;
use crate::pool::{Place, Server, ServerId, Slot};
use crate::resp::redirect::{ErrorKind, Redirect};
use crate::resp::reply::{self, Kind, Reply};
use crate::resp::writer::{Protocol, Sink};
use crate::sys::{self, Endpoint, Event, Progress, Socket, Token};
use crate::{log_info, log_notice, log_warn};

/// A link that has much to say lets others have their turn after this many reads.
const READS_PER_TURN: usize = 16;
/// A request that is larger travels on a link of its own, so that it holds up nobody else's.
pub(super) const ELEPHANT: usize = 64 << 10;
/// A reply that is larger is passed on while it comes.
pub(super) const STREAMED: usize = 16 << 10;
/// So many links of a handler keep memory for the next request when they are idle. With more, it
/// would add up: 64 handlers and 1000 servers are 64,000 links.
const ROOMY_LINKS: usize = 64;
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
    fn why_no_link(&self, server: ServerId, lane: Lane) -> &'static [u8] {
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
    pub(super) fn open_shared_link(&mut self, server: ServerId, lane: Lane) -> Option<LinkId> {
        let link = self.open_link(server, lane)?;
        self.pools[server.index()].share(lane, link);
        Some(link)
    }

    /// A link that nobody else uses, until its last request is answered.
    fn private_link(&mut self, server: ServerId, lane: Lane) -> Option<LinkId> {
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
    fn give_back(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
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
        if let Err(error) = flushed {
            self.lose_link(id, Loss::Error(error));
        }
    }

    fn read_link(&mut self, id: LinkId, hung_up: bool) {
        // Taken out for the time of reading, so that replies can be handled where they lie.
        let Some(mut reader) = self.reader.take() else { return };
        for _ in 0..READS_PER_TURN {
            if self.budget.is_spent() {
                self.relieve(self.budget.spent_at);
            }
            if !self.read_link_once(&mut reader, id, hung_up) {
                self.put_back(reader);
                return;
            }
        }
        self.put_back(reader);
        self.eager_links.push(id);
    }

    /// Goes on with links that were not read to the end last turn.
    pub(super) fn read_eager_links(&mut self) {
        if self.eager_links.is_empty() {
            return;
        }
        for id in mem::take(&mut self.eager_links) {
            // Whether the server has hung up is not remembered; reading on finds out.
            self.read_link(id, true);
        }
    }

    /// Reads once and takes the replies that came. True when there may be more.
    fn read_link_once(&mut self, reader: &mut Reader, id: LinkId, hung_up: bool) -> bool {
        let scratch = &mut reader.scratch;
        let Some(link) = self.links.get_mut(id) else { return false };
        if link.is_paused {
            return false;
        }
        let Some(socket) = &link.socket else { return false };
        let held = link.inbox.as_ref().map_or(0, |inbox| inbox.len());
        if held >= STREAMED && link.listens {
            return self.read_large_message(id, hung_up);
        }
        let total = match socket.read(&mut scratch[held..]) {
            Ok(Progress::Moved(length)) => {
                if let Some(inbox) = link.inbox.take() {
                    scratch[..held].copy_from_slice(inbox.filled());
                }
                link.heard_us = self.now_us;
                let server = link.server.index();
                let (own, of_server) = self.recorder.with_server(server);
                own.total_recv_server_bytes.add(length as u64);
                of_server.recv_bytes.add(length as u64);
                held + length
            }
            Ok(Progress::WouldBlock) => return false,
            Ok(Progress::Closed) => {
                self.lose_link(id, Loss::Closed);
                return false;
            }
            Err(error) => {
                self.lose_link(id, Loss::Error(error));
                return false;
            }
        };
        let more = total == scratch.len() || hung_up;
        if link.listens {
            self.take_messages(scratch, id, held, total);
        } else {
            self.take_replies(scratch, id, held, total);
        }
        more
    }

    /// Handles the replies in `scratch[..total]`, of which the parser knows the first `fed`
    /// bytes, and puts away what is left.
    fn take_replies(&mut self, scratch: &[u8], id: LinkId, fed: usize, total: usize) {
        if self.insight.replies_come(total - fed) {
            self.look_at_replies(id, &scratch[..total], fed);
        }
        let (mut begin, mut at, mut replies) = (0, fed, 0u32);
        // No reply is shorter than three bytes.
        self.is_logging = self.is_logged && self.log.is_turn_within(Level::Info, (total - fed) / 3);
        let notable_since_us = self.notable_since_us();
        while at < total {
            let Some(link) = self.links.get_mut(id) else { return };
            let parsed = link.parser.feed(&scratch[at..total]);
            let end = match parsed {
                Ok(Some(end)) => at + end,
                Ok(None) => break,
                Err(error) => {
                    return self.lose_link(id, Loss::Protocol(error.to_string()));
                }
            };
            let reply = &scratch[begin..end];
            // What nearly all replies are: passed on to the client that has asked, and that is all.
            // No error, no push, nothing that was passed on while it came.
            if let Some(front) = link.awaiting.front()
                && matches!(reply[0], b'$' | b'+' | b':' | b'*')
                && !link.streaming
                && front.since_us > notable_since_us
                && link.has_sent(front)
            {
                match front.origin {
                    Origin::Client { client, sequence } => {
                        link.awaiting.pop_front();
                        replies += 1;
                        (begin, at) = (end, end);
                        let Some(asker) = self.clients.get_mut(client) else { continue };
                        match asker.answer_at_once(&self.buffers, sequence, reply) {
                            AtOnce::Sent(sent) => {
                                asker.active_us = self.now_us;
                                self.recorder.handler().total_send_client_bytes.add(sent as u64);
                                if sent == reply.len() {
                                    continue;
                                }
                            }
                            AtOnce::Nothing => asker.answer(&self.buffers, sequence, reply),
                        }
                        if !asker.listed {
                            asker.listed = true;
                            self.busy_clients.push(client);
                        }
                        continue;
                    }
                    Origin::Part { whole, part } => {
                        let server = link.server;
                        link.awaiting.pop_front();
                        replies += 1;
                        self.answer_part(whole, part, reply, Some(server));
                        (begin, at) = (end, end);
                        continue;
                    }
                    _ => {}
                }
            }
            match self.take_unusual_reply(id, reply) {
                Some(taken) => replies += taken,
                None => return,
            }
            (begin, at) = (end, end);
        }
        if self.is_logged && !self.is_logging {
            self.log.skip(Level::Info, replies);
        }
        let may_keep = self.links.len() <= ROOMY_LINKS;
        let Some(link) = self.links.get_mut(id) else { return };
        let released = link.awaiting.front().map_or(link.log.end(), |front| front.offset);
        link.log.release(released, may_keep);
        let (server, ends_giant) = (link.server, link.is_giant && !link.streaming);
        let (own, of_server) = self.recorder.with_server(server.index());
        own.total_responses.add(u64::from(replies));
        of_server.responses.add(u64::from(replies));
        let is_done = link.is_private
            && !link.is_lent
            && link.state == LinkState::Ready
            && link.awaiting.is_empty();
        if replies > 0 {
            self.is_alive(server);
        }
        if ends_giant {
            self.end_giant(id);
        }
        if begin < total {
            self.put_away(id, &scratch[begin..total]);
        } else if is_done && replies > 0 {
            self.give_back(id);
        }
        if !self.room.is_open() {
            self.lower_fences();
        }
    }

    /// Takes a reply that is more than something to pass on, or less than a reply. How many that
    /// makes, if the link is still there.
    #[inline(never)]
    fn take_unusual_reply(&mut self, id: LinkId, reply: &[u8]) -> Option<u32> {
        // No reply of RESP2 begins with such a byte, and few of RESP3. The last piece of a reply
        // that was passed on while it came begins with any byte.
        let streaming = self.links.get(id)?.streaming;
        if reply[0] > b':' && !streaming && self.take_push(id, reply) {
            return Some(0);
        }
        let link = self.links.get_mut(id)?;
        let Some(awaiting) = link.awaiting.front().copied() else {
            if self.take_message(id, reply) {
                return Some(0);
            }
            self.lose_link(id, Loss::Protocol("a reply that nobody waits for".into()));
            return None;
        };
        if !link.has_sent(&awaiting) {
            self.lose_link(id, Loss::Protocol("a reply before its request".into()));
            return None;
        }
        link.awaiting.pop_front();
        let is_whole = !mem::replace(&mut link.streaming, false);
        match awaiting.origin {
            Origin::Client { client, sequence } if reply[0] != b'-' => {
                if awaiting.since_us <= self.notable_since_us() {
                    self.measure(id, &awaiting, is_whole.then_some(reply));
                }
                self.answer(client, sequence, reply);
            }
            _ => self.take_reply(id, &awaiting, reply, is_whole),
        }
        Some(1)
    }

    /// Keeps the beginning of a reply for when the rest comes; a large one goes on at once.
    fn put_away(&mut self, id: LinkId, piece: &[u8]) {
        let Some(link) = self.links.get_mut(id) else { return };
        let wanted = usize::try_from(link.parser.wanted()).unwrap_or(usize::MAX);
        // An error may be a redirection, and a push is no reply at all: they must be read whole.
        // There are no large ones; one that does not fit the scratch buffer ends the link.
        let is_large = || piece.len().saturating_add(wanted) >= STREAMED;
        let may_stream = || !matches!(reply::marker(piece), Some(b'-' | b'>') | None);
        let streams = link.streaming || (is_large() && may_stream());
        if !streams {
            let mut inbox = self.buffers.take(piece.len());
            inbox.push(piece);
            link.inbox = Some(inbox);
            return;
        }
        link.streaming = true;
        let is_giant = link.parser.fed() + link.parser.wanted() >= GIANT;
        let Some(awaiting) = link.awaiting.front() else {
            return self.lose_link(id, Loss::Protocol("a reply that nobody waits for".into()));
        };
        let origin = awaiting.origin;
        match origin {
            Origin::Client { client, sequence } => self.answer_piece(client, sequence, piece),
            Origin::Part { whole, part } => self.answer_part_piece(whole, part, piece),
            Origin::Session { client, sequence, step } if step.is_answered() => {
                self.answer_piece(client, sequence, piece);
            }
            Origin::Proxy(_) => link.collected.extend_from_slice(piece),
            Origin::Session { .. } | Origin::Nobody => {}
        }
        if is_giant {
            self.meet_giant(id);
        }
        if let Origin::Client { client, .. } | Origin::Session { client, .. } = origin {
            self.slow_down(id, client);
        }
    }

    /// Takes a push out of the replies: it answers nothing. True when it is one.
    #[cold]
    fn take_push(&mut self, id: LinkId, reply: &[u8]) -> bool {
        if Reply::new(reply).kind() != Kind::Push {
            return false;
        }
        if !self.take_message(id, reply)
            && let Some(link) = self.links.get(id)
        {
            // Nothing was subscribed to here, so nobody misses it.
            let shown = reply[..reply.len().min(64)].escape_ascii();
            log_notice!(self.log, "h {} s #{} unasked push {}", self.index, link.server, shown);
        }
        true
    }

    pub(super) fn answer_piece(&mut self, id: ClientId, sequence: u32, piece: &[u8]) {
        if self.budget.is_spent() {
            self.relieve(self.budget.spent_at);
        }
        let Some(client) = self.clients.get_mut(id) else { return };
        let before = client.outbox.len();
        match client.answer_piece(&self.buffers, sequence, piece) {
            Ok(()) => {
                let sent = (before + piece.len()).saturating_sub(client.outbox.len());
                self.recorder.handler().total_send_client_bytes.add(sent as u64);
                self.list_client(id);
            }
            Err(error) => self.drop_client(id, &error),
        }
    }

    /// A reply that is more than something to pass on; of a large one the last piece.
    fn take_reply(&mut self, id: LinkId, awaiting: &Awaiting, reply: &[u8], is_whole: bool) {
        if let Origin::Proxy(errand) = awaiting.origin {
            if errand == Errand::Ping && self.take_message(id, reply) {
                // It came in between; the answer is still to come.
                if let Some(link) = self.links.get_mut(id) {
                    link.awaiting.push_front(*awaiting);
                }
                return;
            }
            return self.take_errand_reply(id, errand, awaiting.since_us, reply);
        }
        let is_error = is_whole && reply[0] == b'-';
        if let Origin::Session { client, sequence, step } = awaiting.origin {
            let answer = Answer { link: id, client, sequence, awaiting, reply, is_error };
            return self.take_session_reply(step, &answer);
        }
        if is_error && self.take_error(id, awaiting, reply) {
            return;
        }
        if awaiting.since_us <= self.notable_since_us() {
            self.measure(id, awaiting, is_whole.then_some(reply));
        }
        match (awaiting.origin, self.links.get(id)) {
            (Origin::Part { whole, part }, Some(link)) => {
                self.answer_part(whole, part, reply, Some(link.server));
            }
            (origin, _) => self.deliver(origin, reply),
        }
    }

    /// Whoever was taken then or earlier is to be measured.
    #[inline]
    pub(super) fn notable_since_us(&self) -> u64 {
        match self.measures || self.is_logging {
            true => u64::MAX,
            false => self.now_us.saturating_sub(self.insight.slower_than_us),
        }
    }

    /// Tells the latency monitors how long a command took, the slow log if it took too long, and
    /// the log what the reply was, if all of it is there.
    pub(super) fn measure(&mut self, id: LinkId, awaiting: &Awaiting, reply: Option<&[u8]>) {
        self.log_reply(id, awaiting, reply);
        let elapsed_us = self.now_us.saturating_sub(awaiting.since_us);
        if self.measures
            && let (Some(command), Some(link)) = (awaiting.command, self.links.get(id))
        {
            let feeds = self.recorder.monitors().feeds(command.index());
            self.recorder.record_server_latency(feeds, link.server.index(), elapsed_us);
        }
        if self.insight.is_slow(elapsed_us) {
            self.note_slow(id, awaiting);
        }
    }

    /// Gives a reply, or the end of it, to whoever asked.
    pub(super) fn deliver(&mut self, origin: Origin, reply: &[u8]) {
        match origin {
            Origin::Client { client, sequence } => self.answer(client, sequence, reply),
            Origin::Part { whole, part } => self.answer_part(whole, part, reply, None),
            Origin::Session { client, sequence, step } if step.is_answered() => {
                self.answer(client, sequence, reply);
            }
            Origin::Session { .. } | Origin::Proxy(_) | Origin::Nobody => {}
        }
    }

    /// An error that a server gave. True when it was not the last word.
    fn take_error(&mut self, id: LinkId, awaiting: &Awaiting, reply: &[u8]) -> bool {
        match ErrorKind::of(reply) {
            Some(ErrorKind::Moved | ErrorKind::Ask) => self.redirect(id, awaiting, reply),
            Some(
                ErrorKind::ClusterDown
                | ErrorKind::ReadOnly
                | ErrorKind::MasterDown
                | ErrorKind::Loading
                | ErrorKind::TryAgain,
            ) => {
                self.refresh_soon();
                self.try_refused_later(id, awaiting)
            }
            Some(ErrorKind::NoScript) => self.cure_no_script(id, awaiting, reply),
            _ => false,
        }
    }

    /// The server has refused a request for a reason that may pass. Nothing was executed, so it
    /// may be sent again, unless its client has sent others since, which it would come after
    /// then. True when it is.
    fn try_refused_later(&mut self, id: LinkId, awaiting: &Awaiting) -> bool {
        let Some(link) = self.links.get(id) else { return false };
        let Some((client, sequence)) = self.asker_of(awaiting.origin) else { return false };
        if !self.clients.get(client).is_some_and(|client| client.is_last(sequence)) {
            return false;
        }
        let Some(request) = link.log.request(awaiting.offset, awaiting.length as usize) else {
            return false;
        };
        let (request, lane) = (request.to_vec(), link.lane);
        let Some((place, master)) = self.place_of(awaiting.origin, &request) else { return false };
        // Time bounds how often it is tried, not the redirections on the way of each try.
        let ticket = awaiting.anew();
        let master = master
            || ticket.is_pinned()
            || self.is_in_session(ticket.origin)
            || self.has_written(ticket.origin, place);
        self.try_later(Parcel { place, master, lane, ticket, request: &request })
    }

    /// The client that gets the reply, directly or as a part of a larger one.
    pub(super) fn client_of(&self, origin: Origin) -> Option<ClientId> {
        self.asker_of(origin).map(|(client, _)| client)
    }

    /// The same with the number of its request.
    pub(super) fn asker_of(&self, origin: Origin) -> Option<(ClientId, u32)> {
        match origin {
            Origin::Client { client, sequence } | Origin::Session { client, sequence, .. } => {
                Some((client, sequence))
            }
            Origin::Part { whole, .. } => {
                self.wholes.get(whole).map(|whole| (whole.client, whole.sequence))
            }
            Origin::Proxy(_) | Origin::Nobody => None,
        }
    }

    /// Whether the client that gets the reply watches keys, or the like: it reads from masters.
    pub(super) fn is_in_session(&self, origin: Origin) -> bool {
        let client = self.client_of(origin).and_then(|id| self.clients.get(id));
        client.is_some_and(|client| client.session.is_some())
    }

    /// Follows MOVED and ASK. False when the redirection itself has to be the reply.
    fn redirect(&mut self, id: LinkId, awaiting: &Awaiting, reply: &[u8]) -> bool {
        let Some((address, slot, ask)) = self.parse_redirect(id, reply) else { return false };
        let is_tossed = !ask && awaiting.redirects() >= HOPS_AT_ONCE;
        if awaiting.redirects() >= HOPS_MAX && !is_tossed {
            return false;
        }
        if awaiting.is_late() {
            // Its place is behind others now, which have not waited for it.
            self.deliver(awaiting.origin, replies::NO_SERVER_CONNECTION);
            self.refresh_soon();
            return true;
        }
        let Some(link) = self.links.get(id) else { return false };
        let Some(request) = link.log.request(awaiting.offset, awaiting.length as usize) else {
            return false;
        };
        let (request, lane) = (request.to_vec(), link.lane);
        // A server may see keys in what is no request to anybody else.
        let place = self.place_of(awaiting.origin, &request);
        let (place, master) = place.unwrap_or((Place::Slot(slot), true));
        let ticket = awaiting.again();
        let master = master || ticket.is_pinned();
        let parcel = Parcel { place, master, lane, ticket, request: &request };
        if is_tossed {
            // Also a read goes to the master next time: replicas may be the last to learn.
            let ticket = awaiting.calmed();
            if self.try_later(Parcel { master: true, ticket, ..parcel }) {
                self.server_at(&address, slot, ask);
                self.refresh_soon();
                return true;
            }
            if awaiting.redirects() >= HOPS_MAX {
                return false;
            }
        }
        if self.room.has_waiting_for(place) {
            // Some of them may be older: it takes its place among them, and goes with them.
            self.send_or_wait(parcel);
            self.server_at(&address, slot, ask);
        } else {
            let Some(server) = self.server_at(&address, slot, ask) else { return false };
            if let Err(error) = self.follow(server, ask, parcel) {
                self.wait_for_server(parcel, Some(server), error);
            }
        }
        if !ask {
            self.refresh_soon();
        }
        true
    }

    /// Where MOVED or ASK of a server points, and whether it is ASK.
    fn parse_redirect(&self, id: LinkId, reply: &[u8]) -> Option<(Address, Slot, bool)> {
        if !self.topology.is_cluster() {
            return None;
        }
        let redirect = Redirect::parse(reply)?;
        let answered = self.topology.server(self.links.get(id)?.server)?;
        let answered = answered.endpoints().next().unwrap_or(answered.address());
        let (ask, slot) = (redirect.ask, Slot::new(u64::from(redirect.slot))?);
        Some((redirect.address(answered), slot, ask))
    }

    /// Who is meant by MOVED or ASK, and whether it is ASK. MOVED is remembered.
    pub(super) fn read_redirect(&mut self, id: LinkId, reply: &[u8]) -> Option<(ServerId, bool)> {
        let (address, slot, ask) = self.parse_redirect(id, reply)?;
        let server = self.server_at(&address, slot, ask)?;
        if !ask {
            self.refresh_soon();
        }
        Some((server, ask))
    }

    /// The server that a redirection names, which may be new; MOVED also makes it the owner.
    fn server_at(&mut self, address: &Address, slot: Slot, ask: bool) -> Option<ServerId> {
        let known = self.topology.find(address);
        match known {
            Some(server) if ask || self.topology.master_of_slot(slot) == Some(server) => {
                return Some(server);
            }
            _ => {}
        }
        self.shared.current.update(|topology| {
            if ask { topology.with_asked(address) } else { topology.with_moved(slot, address) }
        });
        self.shared.wake_all();
        self.follow_topology();
        self.topology.find(address)
    }

    /// Sends a request once more, elsewhere.
    fn follow(
        &mut self,
        server: ServerId,
        ask: bool,
        Parcel { lane, ticket, request, .. }: Parcel<'_>,
    ) -> Result<(), &'static [u8]> {
        let link = if request.len() < ELEPHANT {
            self.shared_link(server, lane)
        } else {
            self.private_link(server, lane)
        };
        let Some((id, link)) = link.and_then(|id| Some((id, self.links.get_mut(id)?))) else {
            return Err(self.why_no_link(server, lane));
        };
        if ask {
            let mut asking = Vec::new();
            asking.command(&[b"ASKING"]);
            link.send_errand(&self.buffers, Errand::Asking, &asking, self.now_us);
        }
        link.send(&self.buffers, request, ticket);
        self.list_link(id);
        Ok(())
    }

    /// Sends a request that was sent already to the same server on another link.
    pub(super) fn send_elsewhere(
        &mut self,
        (server, lane): (ServerId, Lane),
        request: &[u8],
        ticket: Ticket,
        alone: bool,
    ) {
        let link =
            if alone { self.private_link(server, lane) } else { self.shared_link(server, lane) };
        match link.and_then(|id| Some((id, self.links.get_mut(id)?))) {
            Some((id, link)) => {
                link.send(&self.buffers, request, ticket);
                self.list_link(id);
            }
            None => self.deliver(ticket.origin, replies::SERVER_CONNECTION_CLOSE),
        }
    }

    /// A reply to something that the proxy asked on its own behalf.
    pub(super) fn take_errand_reply(
        &mut self,
        id: LinkId,
        errand: Errand,
        asked_us: u64,
        reply: &[u8],
    ) {
        let Some(link) = self.links.get_mut(id) else { return };
        let server = link.server;
        let mut whole = mem::take(&mut link.collected);
        let reply = if whole.is_empty() {
            reply
        } else {
            whole.extend_from_slice(reply);
            &whole
        };
        match errand {
            Errand::Auth | Errand::Hello | Errand::Readonly | Errand::Select | Errand::Ping => {
                self.take_handshake_step(id, errand, reply);
            }
            // What a server thinks of it, the call behind it will tell.
            Errand::Asking | Errand::LoadScript => {}
            Errand::Instruct => self.take_instructed(id, reply),
            Errand::OwnId => self.take_own_id(id, reply),
            Errand::Unblock(blocked) => self.take_unblock_answer(blocked, reply),
            Errand::ClusterNodes => self.take_cluster_nodes(server, reply),
            Errand::Sentinel(question, group) => {
                self.take_sentinel_answer(id, (question, group), asked_us, reply);
            }
            Errand::Subscribe => self.take_subscription(id, reply),
            Errand::Listen(topic) => self.take_listen_answer(id, topic, reply),
            Errand::Unlisten => {}
        }
    }

    fn take_handshake_step(&mut self, id: LinkId, errand: Errand, reply: &[u8]) {
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
    pub(super) fn is_alive(&self, server: ServerId) {
        if let Some(target) = self.topology.server(server)
            && target.health().succeed()
        {
            log_notice!(self.log, "h {} s {} mark server alive", self.index, target.address());
        }
    }
}
