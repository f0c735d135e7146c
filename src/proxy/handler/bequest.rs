//! Clients that change processes: sent over here, taken up there.

use super::super::accept_connection::{AcceptConnection, Intake};
use super::super::lane::Lane;
use super::super::legacy::Legacy;
use super::super::replies;
use super::super::request::{ClientId, LinkId};
use super::super::session::Session;
use super::super::shared::Order;
use super::Handler;
use super::loss::Loss;
use super::upkeep::Chore;
use crate::resp::request_parser::RequestParser;
use crate::sys::{Socket, Token};
use crate::{log_debug, log_warn};

/// How often it is looked whether clients are ready to be sent over.
const SWEEP_US: u64 = 5_000;
/// A client of which more has come, and not been looked at, is not sent over yet.
pub(super) const INBOX_MAX: usize = 64 << 10;

impl Handler {
    /// Takes no more requests of clients that are in the middle of nothing: as soon as they are
    /// owed nothing, they go over.
    pub(super) fn bequeath_clients(&mut self) {
        for id in self.clients.ids() {
            let Some(client) = self.clients.get_mut(id) else { continue };
            let is_watching = self.insight.monitors.has(id);
            if client.intake.wants_header() {
                // Nothing is owed to it, and nothing but what has come is known of it.
                self.let_go(id);
                continue;
            }
            if client.intake.is_ending() || is_watching || !is_movable(client) {
                continue;
            }
            client.intake = Intake::Leaving;
            self.list_client(id);
        }
        self.deadlines.set(Chore::Bequeath, self.now_us + SWEEP_US);
        self.bequeath_subscribers();
    }

    /// Lets a client go that is owed nothing any more and asks for nothing here.
    #[cold]
    pub(super) fn let_go(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id) else { return };
        if client.intake == Intake::Closed {
            return self.drop_client(id, "done");
        }
        if client.subscribes {
            // It goes over with all others who hear the same.
            return;
        }
        if let Some((socket, legacy)) = self.part_with(id) {
            self.shared.order(Order::Bequeath(socket, Box::new(legacy)));
            self.set_load();
        }
    }

    /// Takes a client out that is to go over, with all that is known of it.
    pub(super) fn part_with(&mut self, id: ClientId) -> Option<(Socket, Legacy)> {
        let client = self.clients.get(id)?;
        if let Err(error) = self.multiplexor.remove(&client.socket) {
            self.drop_client(id, error);
            return None;
        }
        let login = client.identity.and_then(|id| self.settings.authority.login_of(id));
        let client = self.clients.remove(id)?;
        let inbox = client.inbox.map_or_else(Vec::new, |inbox| inbox.filled().to_vec());
        log_debug!(self.log, "h {} bequeath c {}", self.index, client.peer);
        let legacy = Legacy {
            peer: client.peer,
            number: client.number,
            age_us: self.now_us.saturating_sub(client.since_us),
            profile: client.profile,
            protocol: client.lane.protocol(),
            database: client.lane.database(),
            login,
            inbox,
            unread: client.outbox.contents(),
            intake: if client.intake.wants_header() { client.intake } else { Intake::Open },
        };
        Some((client.socket, legacy))
    }

    /// Sends a client over that has come too late. If there is no other process it is let go.
    pub(super) fn pass_on(&self, socket: Socket, legacy: Legacy) {
        if self.shared.is_bequeathing() {
            self.shared.order(Order::Bequeath(socket, Box::new(legacy)));
        }
    }

    /// Goes on with a client of the process whose place this one has taken.
    pub(super) fn take_up(&mut self, socket: Socket, legacy: Legacy) {
        if self.draining {
            self.pass_on(socket, legacy);
        } else {
            self.welcome(socket, legacy);
        }
        self.set_load();
    }

    /// Makes a client of this handler of one of the process before.
    pub(super) fn welcome(&mut self, socket: Socket, legacy: Legacy) -> Option<ClientId> {
        if legacy.database >= self.settings.conf.pool.common.databases {
            let (peer, database) = (legacy.peer, legacy.database);
            log_warn!(self.log, "upgrade lost c {}:there is no database {} now", peer, database);
            return None;
        }
        self.shared.reserve_client(legacy.number);
        let mut client = AcceptConnection::new(socket, legacy.peer, legacy.number, self.now_us);
        client.since_us = self.now_us.saturating_sub(legacy.age_us);
        client.profile = legacy.profile;
        client.follow_profile();
        client.lane = Lane::new(legacy.database, legacy.protocol);
        let authority = &self.settings.authority;
        let login = legacy
            .login
            .and_then(|(user, password)| authority.login(Some(user.as_slice()), &password).ok());
        client.identity = login.or(authority.default_identity());
        client.intake = legacy.intake;
        if !legacy.inbox.is_empty() {
            let mut inbox = self.buffers.take(legacy.inbox.len());
            inbox.push(&legacy.inbox);
            client.inbox = Some(inbox);
        }
        client.outbox.append(&self.buffers, &legacy.unread);
        let id = self.clients.insert(client);
        let client = self.clients.get(id)?;
        if let Err(error) = self.multiplexor.add(&client.socket, Token(id.to_u64())) {
            self.drop_client(id, error);
            return None;
        }
        self.eager_clients.push(id);
        self.list_client(id);
        self.watch_clients();
        self.watch_headers(legacy.intake);
        Some(id)
    }

    /// Commands that wait at a server are called back: it answers what it has decided, or ends
    /// the connection without having done anything.
    pub(super) fn call_back_blocked(&mut self) {
        for id in self.clients.ids() {
            let session = self.clients.get(id).and_then(|client| client.session.as_deref());
            if let Some(Session::Blocked { link, .. }) = session {
                self.call_back(*link);
            }
        }
    }

    /// Nothing was executed of what has not been sent: that link just ends.
    pub(super) fn call_back(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.is_called_back {
            return;
        }
        let is_told = link.has_sent_all()
            && link.socket.as_ref().is_some_and(|socket| socket.shut_down_write().is_ok());
        if !is_told {
            return self.lose_link(id, Loss::Retired);
        }
        link.is_called_back = true;
        // Nobody can be lent it any more.
        link.is_outdated = true;
    }

    /// A command that waited at a server was called back, and nothing was done. Its client goes
    /// over with it if there is another process, and is told otherwise.
    pub(super) fn end_blocked(
        &mut self,
        link: LinkId,
        id: ClientId,
        sequence: u32,
        request: Option<&[u8]>,
    ) {
        self.end_session(link, id);
        if !request.is_some_and(|request| self.take_back(id, sequence, request)) {
            self.answer(id, sequence, replies::UNBLOCKED);
        }
    }

    /// Has a client send a request again, to the other process.
    fn take_back(&mut self, id: ClientId, sequence: u32, request: &[u8]) -> bool {
        if !self.shared.is_bequeathing() || self.waits_for_what_is_new(request) {
            return false;
        }
        let Some(client) = self.clients.get_mut(id) else { return false };
        let rest = client.inbox.as_ref().map_or(0, |inbox| inbox.len());
        if !client.is_last(sequence) || !is_movable(client) || rest + request.len() > INBOX_MAX {
            return false;
        }
        client.expect_later();
        let mut inbox = self.buffers.take(request.len() + rest);
        inbox.push(request);
        if let Some(rest) = &client.inbox {
            inbox.push(rest.filled());
        }
        client.inbox = Some(inbox);
        client.parser = RequestParser::new();
        client.intake = Intake::Leaving;
        self.list_client(id);
        true
    }
}

impl Handler {
    /// Whether it is an XREAD from now on: said again later, it would miss what came in between.
    fn waits_for_what_is_new(&mut self, request: &[u8]) -> bool {
        self.arguments_again.index(request);
        let argument = |index| self.arguments_again.of(request, index);
        let mut words = (1..self.arguments_again.count()).map(argument);
        argument(0).eq_ignore_ascii_case(b"XREAD") && words.any(|word| word == b"$")
    }
}

/// Whether nothing is known of a client that cannot be sent over, but for what it is owed.
fn is_movable(client: &AcceptConnection) -> bool {
    client.session.is_none()
        && !client.subscribes
        && client.held.is_none()
        && client.upload.is_none()
        && client.inbox.as_ref().is_none_or(|inbox| inbox.len() <= INBOX_MAX)
}
