//! Large replies whose clients read slowly, and links that wait for them.
//!
//! A reply is passed on while it comes, so what its client does not read would pile up here. A
//! link that nobody else needs is not read until that client has: the server keeps the rest, as
//! it would without a proxy. A shared link is needed by others. So the first giant that comes on
//! one takes it for itself: others get a new link, those whose clients have something under way
//! on it wait until that is answered, and reads behind the giant are sent anew. Who asks for the
//! same again gets a private link at once (`giants.rs`).

use super::super::connect_connection::ConnectConnection;
use super::super::request::{Awaiting, ClientId, LinkId, Origin};
use super::Handler;
use super::dispatch::{Message, Request};
use super::links::ELEPHANT;
use super::loss::Loss;

/// A client that has not read so many bytes is not sent more: its link is not read.
const UNREAD_MAX: usize = 512 << 10;
/// Then it has read enough for the link to go on.
const UNREAD_FEW: usize = 64 << 10;

impl Handler {
    /// Whether a request must wait because its reply will probably be a giant, and travels on a
    /// link of its own, which it may not do with others of its client under way elsewhere.
    #[cold]
    pub(super) fn giant_must_wait(&mut self, request: &Request<'_>) -> bool {
        self.giants.knows(request.message.bytes, self.now_us) && self.must_wait(request)
    }

    /// Whether a request travels on a link of its own.
    #[inline]
    pub(super) fn goes_alone(&mut self, message: Message<'_>, origin: Origin) -> bool {
        message.bytes.len() >= ELEPHANT
            || (!self.giants.is_empty() && self.giant_goes_alone(message.bytes, origin))
    }

    #[cold]
    fn giant_goes_alone(&mut self, request: &[u8], origin: Origin) -> bool {
        let Origin::Client { client: id, .. } = origin else { return false };
        // It was let wait for this, unless it has become known since.
        let alone = self.clients.get(id).is_some_and(|client| client.owed() == 1)
            && self.giants.knows(request, self.now_us);
        if alone {
            self.let_wait(id);
        }
        alone
    }

    /// The reply at the head of a link is known to be a giant.
    pub(super) fn meet_giant(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(front) = link.awaiting.front() else { return };
        if link.is_giant || !matches!(front.origin, Origin::Client { .. }) {
            return;
        }
        link.is_giant = true;
        if let Some(request) = link.log.request(front.offset, front.length as usize) {
            self.giants.meet(request, self.now_us);
        }
        // Who waits to be sent would find another link, and come before what is under way here.
        if !link.is_private && self.room.is_open() {
            self.take_link_apart(id);
        }
    }

    /// Makes a shared link one that is used by nobody but those who have something on it already.
    fn take_link_apart(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.is_private = true;
        let (server, lane) = (link.server, link.lane);
        let askers: Vec<Origin> = link.awaiting.iter().map(|awaiting| awaiting.origin).collect();
        for origin in askers {
            if let Some(client) = self.client_of(origin) {
                self.let_wait(client);
            }
        }
        let Some(pool) = self.pools.get_mut(server.index()) else { return };
        if pool.shared(lane) != Some(id) {
            return;
        }
        pool.unshare(lane);
        while let Some(idle) = self.pools[server.index()].borrow_private(lane) {
            if let Some(link) = self.links.get_mut(idle) {
                link.is_private = false;
                self.pools[server.index()].share(lane, idle);
                return;
            }
        }
    }

    /// A piece of a large reply has gone to its client, or to its outbox: if too much lies there,
    /// the link is not read for now.
    pub(super) fn slow_down(&mut self, id: LinkId, client: ClientId) {
        let unread = self.unread_replies(client);
        let most = self.budget.share_of(UNREAD_MAX.min(self.budget.unread_max));
        let is_needed = match self.links.get(id) {
            Some(link) if unread > most => !link.is_private || is_needed(link, client),
            _ => return,
        };
        if is_needed && !self.make_way(id, client) {
            return;
        }
        if let (Some(link), Some(client)) = (self.links.get_mut(id), self.clients.get_mut(client)) {
            link.is_paused = true;
            client.fed_by = Some(id);
        }
    }

    /// Sends everything that waits behind the reply at the head of a link anew, elsewhere. False
    /// when that is not safe: somebody waits for more than a pure read.
    fn make_way(&mut self, id: LinkId, client: ClientId) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        let is_safe = |awaiting: &Awaiting| match awaiting.origin {
            Origin::Nobody => true,
            Origin::Client { .. } => awaiting.repeatable && awaiting.hops == 0,
            _ => false,
        };
        if !link.is_private || !link.awaiting.iter().skip(1).all(is_safe) {
            return false;
        }
        let mut moved = Vec::new();
        for awaiting in link.awaiting.iter_mut().skip(1) {
            let request = link.log.request(awaiting.offset, awaiting.length as usize);
            let is_own =
                matches!(awaiting.origin, Origin::Client { client: asker, .. } if asker == client);
            if let (Origin::Client { .. }, Some(request), false) =
                (awaiting.origin, request, is_own)
            {
                moved.push((awaiting.again(), request.to_vec()));
                awaiting.origin = Origin::Nobody;
            }
        }
        let (server, lane) = (link.server, link.lane);
        for (ticket, request) in moved {
            // The same request will have the same reply: it would be the next to be in the way.
            let alone = self.giants.knows(&request, self.now_us);
            self.send_elsewhere((server, lane), &request, ticket, alone);
        }
        true
    }

    /// A client has read what it had not: the link that waits for that goes on.
    #[cold]
    pub(super) fn speed_up(&mut self, id: ClientId) {
        if self.unread_replies(id) > self.budget.share_of(4 * UNREAD_FEW) / 4 {
            return;
        }
        let Some(client) = self.clients.get_mut(id) else { return };
        if let Some(id) = client.fed_by.take()
            && let Some(link) = self.links.get_mut(id)
        {
            link.is_paused = false;
            // It was not for the server to speak.
            link.heard_us = self.now_us;
            link.timed = false;
            self.list_link(id);
            self.eager_links.push(id);
        }
    }

    /// The client that a link was waiting for has left: what comes on it is for nobody.
    pub(super) fn abandon_giant(&mut self, link: LinkId) {
        self.lose_link(link, Loss::Retired);
    }

    /// The giant at the head of a link has come to its end. Those whose requests stood behind it
    /// and were sent elsewhere are not waiting for the replies, which may be as large.
    pub(super) fn end_giant(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.is_giant = false;
        let is_over = |awaiting: &Awaiting| awaiting.origin == Origin::Nobody;
        if !link.awaiting.is_empty() && link.is_private && link.awaiting.iter().all(is_over) {
            self.lose_link(id, Loss::Retired);
        }
    }
}

/// Whether somebody else waits for something on this link.
fn is_needed(link: &ConnectConnection, client: ClientId) -> bool {
    link.awaiting.iter().skip(1).any(|awaiting| match awaiting.origin {
        Origin::Nobody => false,
        Origin::Client { client: asker, .. } | Origin::Session { client: asker, .. } => {
            asker != client
        }
        Origin::Part { .. } | Origin::Proxy(_) => true,
    })
}
