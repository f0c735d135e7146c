//! Messages: read where they come in, passed on to everybody who is subscribed.
//!
//! Messages on one channel that come in one read are passed on together, byte for byte as they came
//! for clients that speak RESP2; for RESP3 they are written anew once for all. What is long is kept
//! once, in a block that all its readers share. A client gets everything of a turn in one write. One
//! that does not read is no longer written to, and is cut off at its limit.

use std::ops::Range;

use super::super::Handler;
use super::super::answers::STREAMED;
use super::super::loss::Loss;
use super::reach::is_event;
use super::upstream::{is_word, name_in};
use crate::buffer::{Buffer, BufferPool, Outbox, SharedBlock};
use crate::pool::ServerId;
use crate::proxy::request::{ClientId, Errand, LinkId, Origin};
use crate::proxy::subscriptions::{Kind, TopicId};
use crate::resp::writer::Protocol;
use crate::sys::Progress;

/// What is as long as this is shared by those who get it, instead of copied for each.
const SHARED_MIN: usize = 4 << 10;
/// When so much was copied for clients, it is written before more is read.
const UNWRITTEN_MAX: usize = 1 << 20;

/// Messages on one topic that lie behind each other.
struct Run {
    topic: TopicId,
    /// All bytes up to the one behind the topic's name, which all of them begin with.
    head: Range<usize>,
    /// Where they begin.
    starts: Vec<usize>,
    end: usize,
    /// The next one need not be for the same clients, although it begins alike.
    is_closed: bool,
}

/// A run on its way to its readers, in all the forms that somebody needs.
struct Batch<'a> {
    bytes: &'a [u8],
    starts: &'a [usize],
    is_shared: bool,
    block: Option<SharedBlock>,
    /// All of it in the words of RESP3, where that takes more than another first byte.
    pushes: &'a mut Vec<u8>,
    push_block: Option<SharedBlock>,
}

/// How messages of a kind begin.
const HEADS: [(&[u8], Kind); 3] = [
    (b"*3\r\n$7\r\nmessage\r\n", Kind::Channel),
    (b"*4\r\n$8\r\npmessage\r\n", Kind::Pattern),
    (b"*3\r\n$8\r\nsmessage\r\n", Kind::Shard),
];

impl Handler {
    /// Handles what has come on a link to be told messages on: `scratch[..total]`, of which the
    /// parser knows the first `fed` bytes. What is left is put away.
    pub(in super::super) fn take_messages(
        &mut self,
        scratch: &[u8],
        id: LinkId,
        fed: usize,
        total: usize,
    ) {
        let (mut begin, mut at, mut count) = (0, fed, 0);
        let mut run: Option<Run> = None;
        while at < total {
            let Some(link) = self.links.get_mut(id) else { return };
            let server = link.server;
            let end = match link.parser.feed_piece(&scratch[at..total]) {
                Ok(Some(end)) => at + end,
                Ok(None) => break,
                Err(error) => {
                    self.hand_out(scratch, run.take());
                    return self.lose_link(id, Loss::Protocol(error.to_string()));
                }
            };
            count += 1;
            let message = &scratch[begin..end];
            match &mut run {
                Some(run) if run.takes(scratch, message) => run.starts.push(begin),
                _ => {
                    self.hand_out(scratch, run.take());
                    match head_of(message) {
                        Some((kind, name)) => run = self.begin_run(server, kind, message, name),
                        None if self.take_answer(id, message) => {}
                        None => return,
                    }
                    if let Some(run) = &mut run {
                        run.head = begin + run.head.start..begin + run.head.end;
                        run.starts.push(begin);
                    }
                }
            }
            if let Some(run) = &mut run {
                run.end = end;
            }
            begin = end;
            at = end;
        }
        self.hand_out(scratch, run);
        let Some(link) = self.links.get_mut(id) else { return };
        let released = link.awaiting.front().map_or(link.log.end(), |front| front.offset);
        link.log.release(released, false);
        let server = link.server;
        if begin < total {
            let mut inbox = self.buffers.take(total - begin);
            inbox.push(&scratch[begin..total]);
            link.inbox = Some(inbox);
        }
        self.recorder.server(server.index()).responses.add(count);
    }

    /// Reads more of a message that is too long for the buffer that all connections share. True when
    /// there may be more.
    pub(in super::super) fn read_large_message(&mut self, id: LinkId, hung_up: bool) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        let (Some(socket), Some(inbox)) = (&link.socket, &mut link.inbox) else { return false };
        let fed = inbox.len();
        // Memory grows as it comes, not as it is announced.
        let wanted = usize::try_from(link.parser.wanted()).unwrap_or(usize::MAX);
        inbox.reserve(wanted.clamp(STREAMED, fed.max(4 * STREAMED)));
        let room = inbox.room_mut();
        // Of what follows the message only little may come into its memory.
        let most = room.len().min(wanted.max(STREAMED));
        let length = match socket.read(&mut room[..most]) {
            Ok(Progress::Moved(length)) => length,
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
        inbox.filled_more(length);
        link.heard_us = self.now_us;
        let server = link.server;
        self.recorder.handler().total_recv_server_bytes.add(length as u64);
        self.recorder.server(server.index()).recv_bytes.add(length as u64);
        let more = length == most || hung_up;
        let Some(link) = self.links.get_mut(id) else { return false };
        let Some(inbox) = &link.inbox else { return false };
        let end = match link.parser.feed_piece(&inbox.filled()[fed..]) {
            Ok(Some(end)) => fed + end,
            Ok(None) => return more,
            Err(error) => {
                self.lose_link(id, Loss::Protocol(error.to_string()));
                return false;
            }
        };
        let Some(mut message) = link.inbox.take() else { return false };
        let rest = message.filled()[end..].to_vec();
        message.truncate(end);
        self.recorder.server(server.index()).responses.increment();
        self.take_large_message(id, message);
        self.take_messages(&rest, id, 0, rest.len());
        more
    }

    fn take_large_message(&mut self, id: LinkId, message: Buffer) {
        let Some(server) = self.links.get(id).map(|link| link.server) else { return };
        let bytes = message.filled();
        let Some((kind, name)) = head_of(bytes) else {
            self.take_answer(id, bytes);
            return;
        };
        let Some(run) = self.begin_run(server, kind, bytes, name) else { return };
        let topic = run.topic;
        let block = SharedBlock::new(message);
        let batch = Batch {
            bytes: block.filled(),
            starts: &[0],
            is_shared: true,
            block: Some(SharedBlock::clone(&block)),
            pushes: &mut Vec::new(),
            push_block: None,
        };
        self.give(topic, batch);
    }

    /// Whose message this is, if anybody's: what the others of its run have in common with it.
    fn begin_run(
        &mut self,
        server: ServerId,
        kind: Kind,
        message: &[u8],
        name: Range<usize>,
    ) -> Option<Run> {
        let now_us = self.now_us;
        let topic = self.pubsub.book.find(kind, &message[name.clone()])?;
        let seats = &mut self.pubsub.book.topic_mut(topic)?.seats;
        let behind_name = name.end + 2;
        let channel = || bulk_at(message, behind_name).map_or(&[][..], |range| &message[range]);
        // Some messages may be for its readers, and others told by another server.
        let is_closed = seats.home().is_some() || seats.is_overlapping();
        if !seats.accepts(server, || !is_event(channel())) {
            return None;
        }
        if seats.is_overlapping() {
            // What happens to a key is told by one server alone, and twice if it happens twice.
            let is_published = match kind {
                Kind::Pattern => !is_event(channel()),
                Kind::Channel | Kind::Shard => !is_event(&message[name]),
            };
            if is_published && !seats.is_new(server, &message[behind_name..], now_us) {
                return None;
            }
        }
        Some(Run { topic, head: 0..behind_name, starts: Vec::new(), end: 0, is_closed })
    }

    /// Passes a run on.
    fn hand_out(&mut self, scratch: &[u8], run: Option<Run>) {
        let Some(run) = run else { return };
        let begin = run.starts.first().copied().unwrap_or(run.end);
        let mut pushes = std::mem::take(&mut self.pubsub.pushes);
        pushes.clear();
        let batch = Batch {
            bytes: &scratch[begin..run.end],
            starts: &run.starts,
            is_shared: run.end - begin >= SHARED_MIN,
            block: None,
            pushes: &mut pushes,
            push_block: None,
        };
        self.give(run.topic, batch);
        if pushes.capacity() <= SHARED_MIN {
            self.pubsub.pushes = pushes;
        }
    }

    /// Gives all members of a topic what has come for it.
    fn give(&mut self, topic: TopicId, mut batch: Batch<'_>) {
        let Handler { pubsub, clients, buffers, busy_clients, .. } = self;
        let Some(topic) = pubsub.book.topic(topic) else { return };
        let limit = self.settings.client_output_limit();
        // A block for one reader would be a copy like any other.
        batch.is_shared |= self.budget.is_short();
        batch.is_shared &= batch.block.is_some() || topic.active() > 1;
        let (mut in_the_middle, mut too_slow) = (Vec::new(), Vec::new());
        for member in topic.members() {
            if !member.is_active {
                continue;
            }
            let Some(client) = clients.get_mut(member.client) else { continue };
            // What is kept comes first, also when its reply has just come to its end.
            let keeps = client.merging > 0 && pubsub.book.held_bytes(member.client) > 0;
            if client.is_mid_reply() || keeps {
                in_the_middle.push((member.client, client.lane.protocol()));
                continue;
            }
            // Whoever has not read what it was sent before is told when it can be written to.
            let is_slow = !client.outbox.is_empty() && !client.listed;
            if self.budget.is_spent() {
                // Whoever reads makes room at once, and whoever does not makes way.
                if is_slow {
                    too_slow.push(member.client);
                    continue;
                }
                let before = client.outbox.len();
                // An error is met again when what is appended now is written.
                let _ = client.outbox.flush(&client.socket);
                let sent = before - client.outbox.len();
                self.recorder.handler().total_send_client_bytes.add(sent as u64);
            }
            batch.append_to(&mut client.outbox, client.lane.protocol(), buffers);
            if is_slow {
                if client.unread_bytes() as u64 > limit {
                    too_slow.push(member.client);
                }
            } else if !client.listed {
                client.listed = true;
                busy_clients.push(member.client);
            }
        }
        let (readers, copied) = (topic.active(), batch.copied_bytes());
        self.recorder.handler().total_responses.add((readers * batch.starts.len()) as u64);
        for (client, protocol) in in_the_middle {
            self.hold_back(client, protocol, &mut batch);
        }
        for client in too_slow {
            self.cut_off_reader(client);
        }
        self.pubsub.unwritten += copied * readers;
        if self.pubsub.unwritten > UNWRITTEN_MAX {
            self.pubsub.unwritten = 0;
            self.flush_clients();
        }
    }

    /// Keeps messages for a client that is getting the pieces of a long reply.
    fn hold_back(&mut self, id: ClientId, protocol: Protocol, batch: &mut Batch<'_>) {
        let Handler { pubsub, clients, buffers, .. } = self;
        let Some(client) = clients.get_mut(id) else { return };
        pubsub.book.hold(id, |held| {
            let before = held.len();
            batch.append_to(held, protocol, buffers);
            client.merging += held.len() - before;
        });
        if client.unread_bytes() as u64 > self.settings.client_output_limit() {
            self.cut_off_reader(id);
        }
    }

    /// Sends a client the messages that were kept for it, if no reply is on its way any more.
    pub(in super::super) fn release_held(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.merging == 0 || client.is_mid_reply() {
            return;
        }
        let held = self.pubsub.book.take_held(id);
        client.merging = client.merging.saturating_sub(held.len());
        client.outbox.append_outbox(&self.buffers, held);
        self.note_subscriber(id);
    }

    /// Bytes of replies that a client has not read, without the messages that wait for the end of
    /// one: they must not hold up what they wait for.
    pub(in super::super) fn unread_replies(&self, id: ClientId) -> usize {
        let Some(client) = self.clients.get(id) else { return 0 };
        client.unread_bytes().saturating_sub(self.pubsub.book.held_bytes(id))
    }

    /// Something that is no message. False when the link is lost.
    fn take_answer(&mut self, id: LinkId, reply: &[u8]) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        let front = link.awaiting.front().copied();
        if is_word(reply, Kind::Shard.unsubscribe()) {
            let name = name_in(reply).unwrap_or_default();
            let asked = front.filter(|front| front.is_errand(Errand::Unlisten));
            let asked =
                asked.and_then(|asked| link.log.request(asked.offset, asked.length as usize));
            if asked.and_then(name_in) != Some(name) {
                let server = link.server;
                self.lose_seat(server, name);
                return true;
            }
        }
        let Some(front) = front else {
            self.lose_link(id, Loss::Protocol("a reply that nobody waits for".into()));
            return false;
        };
        if !link.has_sent(&front) {
            self.lose_link(id, Loss::Protocol("a reply before its request".into()));
            return false;
        }
        link.awaiting.pop_front();
        let server = link.server;
        if let Origin::Proxy(errand) = front.origin {
            self.take_errand_reply(id, errand, front.since_us, reply);
        }
        self.is_alive(server);
        self.links.get(id).is_some()
    }
}

impl Run {
    /// Whether a message is on the same topic, and for the same clients.
    fn takes(&self, scratch: &[u8], message: &[u8]) -> bool {
        !self.is_closed && message.starts_with(&scratch[self.head.clone()])
    }
}

impl Batch<'_> {
    fn append_to(&mut self, outbox: &mut Outbox, protocol: Protocol, pool: &BufferPool) {
        match (protocol, self.is_shared) {
            (Protocol::Resp2, false) => outbox.append(pool, self.bytes),
            (Protocol::Resp2, true) => {
                let block = self.block.get_or_insert_with(|| shared(pool, self.bytes));
                outbox.append_shared(block, 0);
            }
            // A message differs in its first byte only.
            (Protocol::Resp3, _) if self.starts.len() == 1 => {
                outbox.append(pool, b">");
                if self.is_shared {
                    let block = self.block.get_or_insert_with(|| shared(pool, self.bytes));
                    outbox.append_shared(block, 1);
                } else {
                    outbox.append(pool, &self.bytes[1..]);
                }
            }
            (Protocol::Resp3, is_shared) => {
                self.write_pushes();
                if is_shared {
                    let block = self.push_block.get_or_insert_with(|| shared(pool, self.pushes));
                    outbox.append_shared(block, 0);
                } else {
                    outbox.append(pool, self.pushes);
                }
            }
        }
    }

    fn write_pushes(&mut self) {
        if self.pushes.is_empty() {
            self.pushes.extend_from_slice(self.bytes);
            let first = self.starts.first().copied().unwrap_or_default();
            for start in self.starts {
                self.pushes[start - first] = b'>';
            }
        }
    }

    /// What each of its readers costs.
    fn copied_bytes(&self) -> usize {
        if self.is_shared { 0 } else { self.bytes.len() }
    }
}

fn shared(pool: &BufferPool, bytes: &[u8]) -> SharedBlock {
    let mut block = pool.take(bytes.len());
    block.push(bytes);
    SharedBlock::new(block)
}

/// What kind of message this is, and where in it the name of its topic lies; `None` if it is none.
fn head_of(message: &[u8]) -> Option<(Kind, Range<usize>)> {
    let (head, kind) = HEADS.iter().find(|(head, _)| message.starts_with(head))?;
    Some((*kind, bulk_at(message, head.len())?))
}

/// Where the text of the bulk at `at` lies.
fn bulk_at(message: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = message.get(at..)?.strip_prefix(b"$")?;
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let length: usize = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let start = at + 1 + digits + 2;
    let end = start.checked_add(length)?;
    (end + 2 <= message.len()).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_from_answers() {
        let check = |wire: &[u8], want: Option<(Kind, &[u8])>| {
            let found = head_of(wire).map(|(kind, name)| (kind, &wire[name]));
            assert_eq!(found, want, "{}", wire.escape_ascii());
        };
        check(
            b"*3\r\n$7\r\nmessage\r\n$3\r\na\r\n\r\n$1\r\nx\r\n",
            Some((Kind::Channel, b"a\r\n")),
        );
        check(
            b"*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$2\r\nab\r\n$0\r\n\r\n",
            Some((Kind::Pattern, b"a*")),
        );
        check(b"*3\r\n$8\r\nsmessage\r\n$0\r\n\r\n$1\r\nx\r\n", Some((Kind::Shard, b"")));
        check(b"*3\r\n$9\r\nsubscribe\r\n$7\r\nmessage\r\n:1\r\n", None);
        check(b"*3\r\n$7\r\nmessage\r\n$-1\r\n$1\r\nx\r\n", None);
        check(b"*3\r\n$7\r\nmessage\r\n$9\r\nx\r\n", None);
        check(b"+PONG\r\n", None);
    }

    /// What a reader gets, whether the run is copied or shared.
    fn given(bytes: &[u8], starts: &[usize], protocol: Protocol) -> Vec<Vec<u8>> {
        let pool = BufferPool::new(Default::default());
        [false, true]
            .map(|is_shared| {
                let mut pushes = Vec::new();
                let mut batch = Batch {
                    bytes,
                    starts,
                    is_shared,
                    block: None,
                    pushes: &mut pushes,
                    push_block: None,
                };
                let (mut first, mut second) = (Outbox::default(), Outbox::default());
                batch.append_to(&mut first, protocol, &pool);
                batch.append_to(&mut second, protocol, &pool);
                assert_eq!(first.contents(), second.contents());
                second.contents()
            })
            .into()
    }

    #[test]
    fn for_resp3_each_message_is_a_push() {
        let one = b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n*\r\n";
        let (two, length) = (one.repeat(2), one.len());
        let push = [b">", &one[1..]].concat();
        let offset = 40;
        assert_eq!(given(one, &[offset], Protocol::Resp2), [one, one]);
        assert_eq!(given(one, &[offset], Protocol::Resp3), [&*push, &*push]);
        let starts = [offset, offset + length];
        assert_eq!(given(&two, &starts, Protocol::Resp2), [&*two, &*two]);
        assert_eq!(given(&two, &starts, Protocol::Resp3), [push.repeat(2), push.repeat(2)]);
    }
}
