//! Commands that wait at the server until something happens: BLPOP and its like.
//!
//! One that waited on a shared link would hold up everybody behind it, so it gets a link to
//! itself for as long as it takes. What its client sends behind it waits, because it may depend
//! on it. No time-out but its own applies; a client that leaves takes it along.

use std::mem;

use super::super::accept_connection::Intake;
use super::super::connect_connection::ConnectConnection;
use super::super::replies;
use super::super::request::{ClientId, Errand, HOPS_MAX, LinkId, Step, Ticket};
use super::super::session::Session;
use super::Handler;
use super::dispatch::{Common, Request, Taken, no_server_reply};
use super::transaction::Answer;
use super::upkeep::Chore;
use crate::resp::redirect::Redirect;
use crate::resp::writer::Sink;

/// How often it is looked whether what a client that is leaving has asked for is sent.
const LOOK_US: u64 = 10_000;
/// A client that is leaving is let go after this time, if its server does not say a word.
const GONE_US: u64 = 10_000_000;

/// A command that has been blocked somewhere for so long has not been sent in a circle.
const SETTLED_US: u64 = 100_000;

impl Handler {
    /// A command that may block, outside a transaction.
    pub(super) fn block(&mut self, request: &Request<'_>) -> Taken {
        if self.must_wait(request) {
            return Taken::Later;
        }
        let (id, sequence) = (request.client, request.sequence);
        let place = match self.place_of_keys(request) {
            Ok(Common::One(place)) => Some(place),
            // It is wrong, and the server will say how; but in no case may it block others.
            Ok(Common::None) => None,
            Ok(Common::Several) => {
                self.answer_own(id, sequence, replies::CROSS_SLOT);
                return Taken::Now;
            }
            Err(error) => {
                self.refuse_keys(error, request);
                return Taken::Now;
            }
        };
        let mut master = request.needs_master();
        if self.read_your_writes_us > 0
            && let Some(place) = place
        {
            master |= self.reads_own_writes(id, place, request.command.needs_master());
        }
        let server = match place {
            Some(place) => self.choose(place, master).map_err(no_server_reply),
            None => self.any_server(master).ok_or(replies::NO_SERVER),
        };
        let link = server.and_then(|server| self.lend_link(server, request.lane));
        match link {
            Ok(link) => {
                self.set_blocked(id, link);
                let ticket = request.ticket(self.now_us);
                self.send_step(Some(link), id, Step::Block, request.message.bytes, ticket);
                self.let_wait(id);
                self.suspect(id);
            }
            Err(error) => self.answer_own(id, sequence, error),
        }
        Taken::Now
    }

    fn set_blocked(&mut self, id: ClientId, link: LinkId) {
        let watch = self.watch_of(id);
        if let Some(client) = self.clients.get_mut(id) {
            client.session = Some(Box::new(Session::Blocked { link, watch, unblock: None }));
        }
        self.ask_for_own_id(link);
    }

    /// The answer to a command that may have blocked.
    pub(super) fn take_unblocked(&mut self, answer: &Answer<'_>) {
        let Answer { link, client, sequence, reply, is_error, .. } = *answer;
        if is_error && Redirect::is_at_head(reply) && self.move_block(answer) {
            return;
        }
        self.log_reply(link, answer.awaiting, Some(reply));
        self.end_session(link, client);
        self.answer(client, sequence, reply);
    }

    /// The slot has moved: the command waits at the new owner, on a link of its own there.
    fn move_block(&mut self, answer: &Answer<'_>) -> bool {
        let Answer { link, client, awaiting, .. } = *answer;
        let request = self.links.get(link).and_then(|link| {
            let request = link.log.request(awaiting.offset, awaiting.length as usize)?;
            Some((request.to_vec(), link.lane))
        });
        // Who waits for days may have to move every now and then.
        let is_old = self.now_us >= awaiting.asked_us().saturating_add(SETTLED_US);
        let may_move = is_old || awaiting.redirects() < HOPS_MAX;
        let Some((request, lane)) = request.filter(|_| may_move) else {
            return false;
        };
        let held_us = self.now_us.saturating_sub(awaiting.since_us);
        let held_us = u32::try_from(held_us).unwrap_or(u32::MAX);
        let ticket = if is_old { awaiting.anew() } else { awaiting.again() };
        let ticket = Ticket { held_us, ..ticket };
        let Some((server, ask)) = self.read_redirect(link, answer.reply) else { return false };
        if !self.lives_on(client, link) {
            return false;
        }
        let Ok(new) = self.lend_link(server, lane) else { return false };
        self.end_session(link, client);
        self.set_blocked(client, new);
        if ask && let Some(link) = self.links.get_mut(new) {
            let mut asking = Vec::new();
            asking.command(&[b"ASKING"]);
            link.send_errand(&self.buffers, Errand::Asking, &asking, self.now_us);
        }
        self.send_step(Some(new), client, Step::Block, &request, ticket);
        self.suspect(client);
        true
    }

    /// A client that is blocked, or waits for the end of a pause, has closed its sending side, or
    /// has gone, which looks the same.
    ///
    /// The server that blocks it is told as the client has told us: it answers if the command did
    /// not have to wait, and else closes without having done anything. No time would be the right
    /// one to wait for that, and what an element was taken for must not be thrown away.
    pub(super) fn suspect(&mut self, id: ClientId) {
        let has_hung_up = self.clients.get(id).is_some_and(|client| client.hung_up);
        if has_hung_up && (self.is_held(id) || self.blocked_on(id).is_some()) {
            self.leaving.push((id, self.now_us + GONE_US));
            self.deadlines.advance(Chore::Leaving, self.now_us);
        }
    }

    /// The link on which a command of this client blocks.
    fn blocked_on(&self, id: ClientId) -> Option<LinkId> {
        match self.clients.get(id)?.session.as_deref() {
            Some(Session::Blocked { link, .. }) => Some(*link),
            _ => None,
        }
    }

    /// Whether a client waits for the end of a pause.
    fn is_held(&self, id: ClientId) -> bool {
        self.clients.get(id).is_some_and(|client| client.intake == Intake::Held)
    }

    /// Lets go of those who left while there was a pause, as Redis does, and calls back the commands
    /// of those who were blocked when they left, as soon as they are sent.
    pub(super) fn see_off_leaving(&mut self) {
        self.deadlines.set(Chore::Leaving, u64::MAX);
        for (id, until_us) in mem::take(&mut self.leaving) {
            if self.is_held(id) {
                self.drop_client(id, "gone during a pause");
                continue;
            }
            let Some(link) = self.blocked_on(id) else { continue };
            if self.now_us >= until_us {
                self.drop_client(id, "gone while blocked");
                continue;
            }
            let is_sent = self.links.get(link).is_none_or(ConnectConnection::has_sent_all);
            if is_sent {
                self.call_back(link);
            }
            self.leaving.push((id, until_us));
            let next_us = if is_sent { until_us } else { self.now_us + LOOK_US };
            self.deadlines.advance(Chore::Leaving, next_us);
        }
    }
}
