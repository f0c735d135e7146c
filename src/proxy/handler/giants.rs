//! Large replies whose clients read slowly, and links that wait for them.
//!
//! A reply is passed on while it comes, so what its client does not read would pile up here. A
//! link that nobody else needs is not read until that client has: the server keeps the rest, as
//! it would without a proxy. A shared link is needed by others. So the first giant that comes on
//! one takes it for itself: others get a new link, those whose clients have something under way
//! on it wait until that is answered, and reads behind the giant are sent anew. Who asks for the
//! same again gets a private link at once (`giants.rs`).

use std::mem;

use super::super::connect_connection::ConnectConnection;
use super::super::request::{Awaiting, ClientId, Errand, LinkId, Origin};
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
    #[cfg_attr(small, optimize(speed))]
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

    /// A piece of a large reply has gone to its client, to its outbox, or to where it waits for its
    /// turn: if too much lies there, the link is not read for now.
    pub(super) fn slow_down(&mut self, id: LinkId, asker: (ClientId, u32)) {
        let unread = self.unread_before(asker);
        let most = self.budget.share_of(UNREAD_MAX.min(self.budget.unread_max));
        let is_needed = match self.links.get(id) {
            Some(link) if unread > most => !link.is_private || is_needed(link, asker),
            _ => return,
        };
        if is_needed && !self.make_way(id, asker) {
            return;
        }
        if let (Some(link), Some(client)) = (self.links.get_mut(id), self.clients.get_mut(asker.0))
        {
            link.is_paused = true;
            client.fed_by.push(id);
        }
    }

    /// What a client has to read before it needs more of this reply. What comes behind a reply must
    /// not hold up what it waits for.
    fn unread_before(&self, (id, sequence): (ClientId, u32)) -> usize {
        match self.clients.get(id) {
            Some(client) if !client.has_to_wait(sequence) => client.outbox.len(),
            _ => self.unread_replies(id),
        }
    }

    /// Sends everything that waits behind the reply at the head of a link anew, elsewhere; who owns
    /// which slots is asked from any server. False when that is not safe: somebody waits for more
    /// than a pure read.
    fn make_way(&mut self, id: LinkId, asker: (ClientId, u32)) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        let is_safe = |awaiting: &Awaiting| match awaiting.origin {
            Origin::Nobody | Origin::Proxy(Errand::ClusterNodes) => true,
            Origin::Client { .. } => awaiting.repeatable && awaiting.hops == 0,
            _ => false,
        };
        if !link.is_private || !link.awaiting.iter().skip(1).all(is_safe) {
            return false;
        }
        let (mut moved, mut asks_again) = (Vec::new(), false);
        for awaiting in link.awaiting.iter_mut().skip(1) {
            if awaiting.is_errand(Errand::ClusterNodes) {
                asks_again = true;
                awaiting.origin = Origin::Nobody;
                continue;
            }
            let request = link.log.request(awaiting.offset, awaiting.length as usize);
            if let (Origin::Client { .. }, Some(request), true) =
                (awaiting.origin, request, must_not_wait(awaiting, asker))
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
        if asks_again {
            self.refresh_soon();
        }
        true
    }

    /// A client has read what it had not: the link that waits for that goes on. Those that are to
    /// feed it later wait for their turn.
    #[cold]
    pub(super) fn speed_up(&mut self, id: ClientId) {
        let few = self.budget.share_of(4 * UNREAD_FEW) / 4;
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.outbox.len() > few {
            return;
        }
        for feeding in mem::take(&mut client.fed_by) {
            let Some(link) = self.links.get_mut(feeding) else { continue };
            let asked = link.awaiting.front().and_then(|awaiting| asked_by(awaiting.origin));
            if let Some((asker, sequence)) = asked
                && asker == id
                && let Some(client) = self.clients.get_mut(id)
                && client.has_to_wait(sequence)
            {
                client.fed_by.push(feeding);
                continue;
            }
            link.is_paused = false;
            // It was not for the server to speak.
            link.heard_us = self.now_us;
            link.timed = false;
            self.list_link(feeding);
            self.eager_links.push(feeding);
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

/// Whether somebody waits for something on this link who must not wait for a reply to `asker`.
fn is_needed(link: &ConnectConnection, asker: (ClientId, u32)) -> bool {
    link.awaiting.iter().skip(1).any(|awaiting| must_not_wait(awaiting, asker))
}

/// Whether this must not wait for a reply to `asker`: it is for somebody else, or comes before it.
fn must_not_wait(awaiting: &Awaiting, (client, sequence): (ClientId, u32)) -> bool {
    match (awaiting.origin, asked_by(awaiting.origin)) {
        (Origin::Nobody, _) => false,
        (_, Some((asker, other))) => asker != client || is_before(other, sequence),
        (_, None) => true,
    }
}

/// Which request of which client this is about, if it is about one alone.
fn asked_by(origin: Origin) -> Option<(ClientId, u32)> {
    match origin {
        Origin::Client { client, sequence } | Origin::Session { client, sequence, .. } => {
            Some((client, sequence))
        }
        Origin::Part { .. } | Origin::Proxy(_) | Origin::Nobody => None,
    }
}

/// Whether a request of a client was sent before another one; numbers begin anew after the last.
fn is_before(one: u32, other: u32) -> bool {
    one != other && other.wrapping_sub(one) < 1 << 31
}
