//! Links that are lost: who is told what, and who gets another try.

use std::io;
use std::mem;

use super::super::connect_connection::{ConnectConnection, LinkState};
use super::super::replies;
use super::super::request::{Awaiting, Errand, LinkId, Origin, Step, Ticket, WholeId};
use super::Handler;
use super::waiting_room::Parcel;
use crate::pool::{Failure, HealthRules, Place, ServerId};
use crate::{log_info, log_notice, log_warn};

/// Why a link ends.
pub(super) enum Loss {
    /// The server closed it, or the network did.
    Closed,
    /// The kernel says so.
    Error(io::Error),
    /// It could not be made.
    Connect(io::Error),
    /// The server refused a step of the handshake; the text is its reply.
    Refused(Errand, String),
    /// The server does not speak the protocol that the link is for; the text is its reply.
    NoResp3(String),
    /// It took too long: to connect, or to answer.
    TimeOut,
    /// What came is not a reply, or nobody had asked.
    Protocol(String),
    /// Its server is no longer part of the topology.
    Retired,
}

impl Handler {
    /// Ends a link. Every request on it gets its one reply, or another try where that is
    /// provably safe: nothing of it was sent, or it is a read.
    pub(super) fn lose_link(&mut self, id: LinkId, loss: Loss) {
        let Some(mut link) = self.links.remove(id) else { return };
        let loss = if link.is_called_back { Loss::Retired } else { loss };
        // Who waits for an answer is told something else now. What the server has not got yet must
        // not be executed after what is sent next, on another link.
        if let Some(socket) = link.socket.as_ref().filter(|_| !link.awaiting.is_empty()) {
            socket.discard_undelivered();
        }
        self.room.begin_loss();
        let was_listening = self.stop_listening(id);
        self.recorder.server(link.server.index()).connections.decrement();
        self.tell_loss(&link, &loss);
        if let Loss::NoResp3(_) = loss
            && let Some(pool) = self.pools.get_mut(link.server.index())
        {
            pool.resp3_refused_us = self.now_us;
        }
        let was_ready = link.state == LinkState::Ready;
        if was_ready && matches!(loss, Loss::Closed | Loss::Error(_)) {
            self.shared.greetings.doubt();
        }
        self.count_failure(&link, &loss);
        let mut awaiting = mem::take(&mut link.awaiting);
        if link.is_fed {
            self.wake_uploader(awaiting.back_mut().map(|awaiting| awaiting.origin));
        }
        if link.listens {
            self.lose_upstream(id, &link, &loss);
        }
        let was_shared = !link.is_private && !was_listening;
        if was_ready && was_shared && !awaiting.is_empty() && !matches!(loss, Loss::Retired) {
            // Whether the server is well is found out at once, not by the next client.
            self.open_shared_link(link.server, link.lane);
        }
        if link.streaming
            && let Some(cut) = awaiting.pop_front()
        {
            self.cut_short(id, cut.origin);
        }
        for awaiting in awaiting.iter() {
            if matches!(awaiting.origin, Origin::Proxy(_) | Origin::Nobody) {
                continue;
            }
            let is_unsent = link.never_sent(awaiting);
            let error = match loss {
                Loss::NoResp3(_) => replies::NO_RESP3,
                // What is not there whole is not executed.
                _ if is_unsent || link.is_fed => replies::NO_SERVER_CONNECTION,
                _ => replies::SERVER_CONNECTION_CLOSE,
            };
            if let Origin::Session { client, sequence, step } = awaiting.origin {
                if step == Step::Block && self.draining {
                    let request = link.log.request(awaiting.offset, awaiting.length as usize);
                    self.end_blocked(id, client, sequence, request);
                    continue;
                }
                if step == Step::Block && link.is_called_back {
                    self.drop_client(client, "gone while blocked");
                    continue;
                }
                self.lose_step((id, step), (client, sequence), is_unsent, error);
                continue;
            }
            if let Loss::NoResp3(_) = loss {
                // Nor does it speak it to those who wait a little.
                self.deliver(awaiting.origin, error);
                continue;
            }
            let is_first = awaiting.redirects() == 0 && !awaiting.was_cured();
            let is_safe = is_unsent || (awaiting.repeatable && is_first);
            match link.log.request(awaiting.offset, awaiting.length as usize) {
                Some(request) if is_safe && !awaiting.is_late() => {
                    let ticket = if is_unsent { awaiting.ticket() } else { awaiting.again() };
                    if awaiting.redirects() > 0
                        && self.would_be_late(link.server, awaiting, request)
                    {
                        self.deliver(awaiting.origin, replies::NO_SERVER_CONNECTION);
                        continue;
                    }
                    self.send_again(&link, request, ticket);
                }
                _ => self.deliver(awaiting.origin, error),
            }
        }
        self.room.end_loss();
        if !self.room.is_open() {
            self.lower_fences();
        }
    }

    /// Puts a loss to the account of the server.
    fn count_failure(&mut self, link: &ConnectConnection, loss: &Loss) {
        let Some(failure) = failure_of(loss, !link.awaiting.is_empty()) else { return };
        let Some(target) = self.topology.server(link.server).cloned() else { return };
        if target.health().fail(failure, self.now_us, &self.health_rules()) {
            log_notice!(self.log, "server {} mark failure", target.address());
            self.watch_failed_servers();
        }
        if link.state != LinkState::Ready
            && let Some(pool) = self.pools.get_mut(link.server.index())
            && pool.down_since_us == 0
        {
            pool.down_since_us = self.now_us;
        }
        self.refresh_soon();
    }

    /// Part of a large reply has come, and the rest will not.
    fn cut_short(&mut self, link: LinkId, origin: Origin) {
        if let Origin::Session { client, .. } = origin {
            self.end_session(link, client);
        }
        match origin {
            Origin::Client { client, sequence } | Origin::Session { client, sequence, .. } => {
                let error = replies::SERVER_CONNECTION_CLOSE;
                let Some(asker) = self.clients.get_mut(client) else { return };
                if asker.replace_pieces(&self.buffers, sequence, error) {
                    self.list_client(client);
                } else {
                    // It has some of the bytes already: nothing but the end of the connection
                    // can tell it that the rest is missing.
                    self.drop_client(client, "a reply cut short");
                }
            }
            Origin::Part { whole, part } => self.cut_part_short(whole, part),
            Origin::Proxy(_) | Origin::Nobody => {}
        }
    }

    fn cut_part_short(&mut self, id: WholeId, part: u32) {
        if let Some(whole) = self.wholes.get_mut(id) {
            whole.forget_pieces(part);
            self.answer_part(id, part, replies::SERVER_CONNECTION_CLOSE, None);
        }
    }

    /// Whether a request that had followed ASK to a server, and was not executed there, comes too late
    /// for the owner of its slot: what its client has sent since is on its way there, or has been
    /// executed.
    pub(super) fn would_be_late(
        &mut self,
        server: ServerId,
        awaiting: &Awaiting,
        request: &[u8],
    ) -> bool {
        let Some((place, _)) = self.place_of(awaiting.origin, request) else { return false };
        let Place::Slot(slot) = place else { return false };
        // After MOVED either it is the owner, or a fence holds the later ones back.
        self.topology.master_of_slot(slot) != Some(server)
            && !self.room.is_closed_for(place)
            && !self.is_last(awaiting.origin)
    }

    /// Routes a request of a lost link anew: a read to another server, if there is one.
    fn send_again(&mut self, lost: &ConnectConnection, request: &[u8], ticket: Ticket) {
        let Some((place, master)) = self.place_of(ticket.origin, request) else {
            return self.deliver(ticket.origin, replies::NO_SERVER_CONNECTION);
        };
        let master = master
            || ticket.is_pinned()
            || self.is_in_session(ticket.origin)
            || self.has_written(ticket.origin, place);
        let parcel = Parcel { place, master, lane: lost.lane, ticket, request };
        if !self.room.is_open() && self.room.is_closed_for(place) {
            return self.send_or_wait(parcel);
        }
        // A link that never came to be leaves no hope that the next one will, for now.
        let outcome = if lost.state == LinkState::Ready || !master {
            self.try_to_send(parcel, Some(lost.server))
        } else {
            Err((Some(lost.server), replies::NO_SERVER_CONNECTION))
        };
        if let Err((server, error)) = outcome {
            self.wait_for_server(parcel, server, error);
        }
    }

    /// Where a request of which only the bytes are left belongs, and whether only to a master.
    pub(super) fn place_of(&mut self, origin: Origin, request: &[u8]) -> Option<(Place, bool)> {
        if let Origin::Part { whole, part } = origin
            && let Some(place) = self.wholes.get(whole).and_then(|whole| whole.place_of(part))
        {
            return Some((place, true));
        }
        let mut arguments = mem::take(&mut self.arguments_again);
        arguments.index(request);
        let argument = |index| arguments.of(request, index);
        let commands = &self.settings.conf.commands;
        let found = commands.resolve(arguments.count(), argument).ok().and_then(|command| {
            match command.keys().first_key(arguments.count(), argument) {
                Some(key) => Some((self.topology.place(argument(key)), command.needs_master())),
                None => self.place_of_all(command.family()).map(|place| (place, true)),
            }
        });
        self.arguments_again = arguments;
        found
    }

    /// What the health of a server depends on.
    pub(super) fn health_rules(&self) -> HealthRules {
        let common = &self.settings.conf.pool.common;
        HealthRules {
            failure_limit: common.server_failure_limit,
            retry_timeout_us: common.server_retry_timeout_us,
            // To connect, and to get through the handshake.
            probe_timeout_us: 2 * common.connect_timeout_us,
        }
    }

    fn tell_loss(&self, link: &ConnectConnection, loss: &Loss) {
        let address = match self.topology.server(link.server) {
            Some(server) => server.address().to_string(),
            None => format!("#{}", link.server.index()),
        };
        let number = link.socket.as_ref().map_or(-1, |socket| socket.number());
        let (log, index) = (&self.log, self.index);
        match loss {
            Loss::Closed if link.awaiting.is_empty() => {
                log_info!(log, "h {} s {} {} closed by the server", index, address, number);
            }
            Loss::Closed => log_notice!(
                log,
                "h {} s {} {} closed by the server with {} requests in flight",
                index,
                address,
                number,
                link.awaiting.len()
            ),
            Loss::Error(error) => log_warn!(
                log,
                "h {} s {} {} fail {} with {} requests in flight",
                index,
                address,
                number,
                error,
                link.awaiting.len()
            ),
            Loss::Connect(error) => {
                log_warn!(log, "h {} s {} {} connect fail {}", index, address, number, error);
            }
            Loss::Refused(errand, text) => log_warn!(
                log,
                "h {} s {} {} {} fail {}",
                index,
                address,
                number,
                errand.name(),
                text
            ),
            Loss::NoResp3(text) => {
                log_warn!(
                    log,
                    "h {} s {} {} does not speak RESP3: {}",
                    index,
                    address,
                    number,
                    text
                );
            }
            Loss::TimeOut => log_warn!(
                log,
                "h {} s {} {} timed out with {} requests in flight",
                index,
                address,
                number,
                link.awaiting.len()
            ),
            Loss::Protocol(text) => {
                log_warn!(log, "h {} s {} {} response parse error:{}", index, address, number, text)
            }
            Loss::Retired => {
                log_info!(log, "h {} s {} {} is no longer used", index, address, number);
            }
        }
    }
}

/// What a loss says about the health of the server; an idle connection may be closed any time.
fn failure_of(loss: &Loss, in_flight: bool) -> Option<Failure> {
    match loss {
        Loss::Closed | Loss::Error(_) if in_flight => Some(Failure::Reset),
        Loss::Closed | Loss::Error(_) | Loss::Retired | Loss::NoResp3(_) => None,
        Loss::Connect(error) if error.kind() == io::ErrorKind::TimedOut => {
            Some(Failure::ConnectTimeout)
        }
        Loss::Connect(_) => Some(Failure::ConnectRefused),
        Loss::Refused(..) | Loss::Protocol(_) => Some(Failure::Protocol),
        Loss::TimeOut => Some(Failure::Timeout),
    }
}
