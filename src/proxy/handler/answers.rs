//! What servers say: replies find those who wait for them.

use std::mem;

use super::super::accept_connection::AtOnce;
use super::super::connect_connection::LinkState;
use super::super::giants::GIANT;
use super::super::request::{Awaiting, ClientId, Errand, LinkId, Origin};
use super::Handler;
use super::intake::Reader;
use super::links::ROOMY_LINKS;
use super::loss::Loss;
use super::transaction::Answer;
use super::waiting_room::Parcel;
use crate::log_notice;
use crate::logger::Level;
use crate::resp::redirect::ErrorKind;
use crate::resp::reply::{self, Kind, Reply};
use crate::sys::Progress;

/// A link that has much to say lets others have their turn after this many reads.
const READS_PER_TURN: usize = 16;
/// A reply that is larger is passed on while it comes.
pub(super) const STREAMED: usize = 16 << 10;

impl Handler {
    #[cfg_attr(small, optimize(speed))]
    pub(super) fn read_link(&mut self, id: LinkId, hung_up: bool) {
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
    #[cfg_attr(small, optimize(speed))]
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
    #[cfg_attr(small, optimize(speed))]
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
    #[cfg_attr(small, optimize(speed))]
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
    #[inline(never)]
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
        if let Origin::Client { client, sequence } | Origin::Session { client, sequence, .. } =
            origin
        {
            self.slow_down(id, (client, sequence));
        }
    }

    /// Takes a push out of the replies: it answers nothing. True when it is one.
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
    #[cfg_attr(small, optimize(speed))]
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
    #[cfg_attr(small, optimize(speed))]
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
    #[cfg_attr(small, optimize(speed))]
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
    #[cold]
    #[inline(never)]
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
        if !self.is_last(awaiting.origin) {
            return false;
        }
        let Some(request) = link.log.request(awaiting.offset, awaiting.length as usize) else {
            self.keep_requests_whole();
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
    #[cfg_attr(small, optimize(speed))]
    pub(super) fn client_of(&self, origin: Origin) -> Option<ClientId> {
        self.asker_of(origin).map(|(client, _)| client)
    }

    /// Whether the client has sent nothing after the request that is answered.
    pub(super) fn is_last(&self, origin: Origin) -> bool {
        let asker = self.asker_of(origin);
        asker.is_some_and(|(client, sequence)| {
            self.clients.get(client).is_some_and(|client| client.is_last(sequence))
        })
    }

    /// The same with the number of its request.
    #[cfg_attr(small, optimize(speed))]
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

    /// A reply to something that the proxy asked on its own behalf.
    #[cold]
    #[inline(never)]
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
}
