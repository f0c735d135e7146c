//! Channels, patterns and their messages: what clients ask, and what they are told.
//!
//! Clients do not have connections of their own for this. A handler keeps one link to each server
//! that must tell it something, subscribes there once to each topic that any of its clients wants,
//! and gives every message to all of them. Who wants what is in `subscriptions.rs`, where that was
//! asked for in `seats.rs`. The parts: `upstream` keeps the links and moves topics when servers
//! change, `messages` reads what comes and passes it on, `census` counts for PUBSUB, `bequest` lets
//! all of it change processes.
//!
//! A request to be subscribed is answered when all that it asks for is confirmed by the servers, so
//! that whatever is published after the answer is seen. Until then its client may ask for more of
//! that kind, but everything else that it sends waits.

mod bequest;
mod census;
mod messages;
mod reach;
mod upstream;

use std::collections::BTreeMap;
use std::mem;

use super::super::auth::Verdict;
use super::super::replies;
use super::super::request::ClientId;
use super::super::subscriptions::{Kind, Subscriptions, Topic, TopicId};
use super::Handler;
use super::dispatch::{Request, Taken};
use crate::log_notice;
use crate::pool::{NoServer, Place, ServerId};
use crate::resp::command::{Access, Command, Family, LocalCommand, PubSubCommand, Rights};
use crate::resp::writer::{Protocol, Sink};
use bequest::Succession;
use upstream::Upstream;

/// What a handler knows about subscriptions.
#[derive(Default)]
pub(super) struct PubSub {
    book: Subscriptions,
    /// The links to be told messages on, at most one to each server.
    upstreams: BTreeMap<ServerId, Upstream>,
    /// Bytes that were copied to clients and not written yet.
    unwritten: usize,
    /// Memory for messages in the words of RESP3, kept for the next.
    pushes: Vec<u8>,
    /// Whether subscribers are on their way from one process to another.
    succession: Succession,
}

impl Handler {
    /// SUBSCRIBE, PUBLISH and the like.
    pub(super) fn take_pub_sub_command(
        &mut self,
        command: PubSubCommand,
        request: &Request<'_>,
    ) -> Taken {
        match command {
            PubSubCommand::Publish | PubSubCommand::ShardPublish => self.publish(request),
            PubSubCommand::NumSub => self.count_subscribers(Kind::Channel, request),
            PubSubCommand::ShardNumSub => self.count_subscribers(Kind::Shard, request),
            PubSubCommand::NumPat => self.count_subscribers(Kind::Pattern, request),
            PubSubCommand::Subscribe => return self.subscribe(Kind::Channel, request),
            PubSubCommand::PatternSubscribe => return self.subscribe(Kind::Pattern, request),
            PubSubCommand::ShardSubscribe => return self.subscribe(Kind::Shard, request),
            PubSubCommand::Unsubscribe => return self.unsubscribe(Kind::Channel, request),
            PubSubCommand::PatternUnsubscribe => return self.unsubscribe(Kind::Pattern, request),
            PubSubCommand::ShardUnsubscribe => return self.unsubscribe(Kind::Shard, request),
        }
        Taken::Now
    }

    /// A request of a client that is subscribed, or is about to be. `None` when that changes
    /// nothing.
    pub(super) fn take_from_subscriber(&mut self, request: &Request<'_>) -> Option<Taken> {
        let id = request.client;
        let family = request.command.family();
        if is_subscribe(family) {
            return None;
        }
        if self.pubsub.book.pending(id) > 0 && self.must_wait(request) {
            return Some(Taken::Later);
        }
        let is_limited = (self.clients.get(id))
            .is_some_and(|client| client.lane.protocol() == Protocol::Resp2)
            && self.has_subscribed(id);
        if !is_limited {
            return None;
        }
        match family {
            Family::PubSub(
                PubSubCommand::Unsubscribe
                | PubSubCommand::PatternUnsubscribe
                | PubSubCommand::ShardUnsubscribe,
            )
            | Family::Local(LocalCommand::Quit | LocalCommand::Reset | LocalCommand::Http) => None,
            Family::Local(LocalCommand::Ping) => {
                self.count_own(request.command, 1);
                let text = if request.arguments.count() > 1 { request.argument(1) } else { b"" };
                let mut reply = mem::take(&mut self.spare.reply);
                reply.clear();
                reply.array(2).bulk(b"pong").bulk(text);
                self.answer_own(id, request.sequence, &reply);
                self.spare.keep_reply(reply);
                Some(Taken::Now)
            }
            _ => {
                self.refuse(id, request.sequence, |text| {
                    text.put(b"ERR Can't execute '");
                    text.put(request.command.name().as_bytes());
                    text.put(ONLY_THESE);
                });
                Some(Taken::Now)
            }
        }
    }

    fn publish(&mut self, request: &Request<'_>) {
        let place = self.topology.place(request.argument(1));
        let is_sharded = request.command.family() == Family::PubSub(PubSubCommand::ShardPublish);
        // In a cluster every node passes messages on to all others, whoever owns the slot.
        let is_unowned = !is_sharded
            && matches!(place, Place::Slot(slot) if self.topology.master_of_slot(slot).is_none());
        if is_unowned && self.room.is_open() {
            self.forward_anywhere(request);
        } else {
            self.forward_to_place(place, request);
        }
    }

    fn subscribe(&mut self, kind: Kind, request: &Request<'_>) -> Taken {
        let (id, sequence) = (request.client, request.sequence);
        if self.is_for_another_process(id) {
            return Taken::Later;
        }
        let Some(client) = self.clients.get(id) else { return Taken::Now };
        // Nothing but more of the same may be under way: messages come behind all that was asked
        // before, and before all that is asked later.
        if client.owed() > 1 + self.pubsub.book.pending(id) && self.must_wait(request) {
            return Taken::Later;
        }
        self.count_own(request.command, request.arguments.count() - 1);
        let names = (1..request.arguments.count()).map(|index| request.argument(index));
        let most = self.settings.client_output_limit();
        let Some(new) = self.pubsub.book.join(id, sequence, kind, names, most) else {
            self.answer_own(id, sequence, replies::TOO_MANY_SUBSCRIPTIONS);
            return Taken::Now;
        };
        if let Some(client) = self.clients.get_mut(id) {
            client.subscribes = true;
        }
        for topic in new {
            self.seat(topic);
        }
        self.confirm_subscriptions(id);
        Taken::Now
    }

    fn unsubscribe(&mut self, kind: Kind, request: &Request<'_>) -> Taken {
        if self.must_wait(request) {
            return Taken::Later;
        }
        let (id, count) = (request.client, request.arguments.count());
        let Some(client) = self.clients.get(id) else { return Taken::Now };
        let protocol = client.lane.protocol();
        self.count_own(request.command, count - 1);
        let mut reply = Vec::new();
        let over = if count == 1 {
            self.pubsub.book.leave_all(id, kind, protocol, &mut reply)
        } else {
            let names = (1..count).map(|index| request.argument(index));
            self.pubsub.book.leave(id, kind, names, protocol, &mut reply)
        };
        over.iter().for_each(|topic| self.end_topic(topic));
        self.note_subscriber(id);
        self.tell_subscriptions(id, request.sequence, &reply);
        Taken::Now
    }

    /// Answers the requests of a client that have nothing more to wait for.
    fn confirm_subscriptions(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id) else { return };
        let protocol = client.lane.protocol();
        let mut reply = mem::take(&mut self.spare.reply);
        loop {
            reply.clear();
            match self.pubsub.book.confirm_next(id, protocol, &mut reply) {
                Some(sequence) => self.tell_subscriptions(id, sequence, &reply),
                None => break,
            }
        }
        self.spare.keep_reply(reply);
    }

    /// Ends all subscriptions of a client without a word.
    pub(super) fn end_subscriptions(&mut self, id: ClientId) {
        let held = self.pubsub.book.take_held(id);
        if let Some(client) = self.clients.get_mut(id) {
            client.subscribes = false;
            client.merging = client.merging.saturating_sub(held.len());
        }
        self.end_topics_of(id);
    }

    /// The same for a client that has left already.
    pub(super) fn end_topics_of(&mut self, id: ClientId) {
        for topic in self.pubsub.book.end(id) {
            self.end_topic(&topic);
        }
    }

    /// Nobody is subscribed to a topic any more.
    fn end_topic(&mut self, topic: &Topic) {
        for server in topic.seats.asked() {
            self.give_up_topic(server, topic.kind, &topic.name);
        }
    }

    /// A client may do other things now than when it was subscribed. If it may not hear all that it
    /// is subscribed to it is disconnected, as in Redis.
    pub(super) fn judge_subscriber(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id) else { return };
        let names = self.pubsub.book.topics_of(id).map(|topic| {
            let access = if topic.kind == Kind::Pattern { Access::Glob } else { Access::Name };
            (&topic.name, access)
        });
        let authority = &self.settings.authority;
        if authority.permit(client.identity, Some(Rights::Write), names) != Verdict::Allowed {
            self.drop_client(id, "may no longer hear what it is subscribed to");
        }
    }

    /// A topic cannot be had: who waits for it is told so, and who has it has missed something,
    /// and is told by the end of its connection.
    fn fail_topic(&mut self, id: TopicId, error: &[u8]) {
        let (failed, over) = self.pubsub.book.fail(id);
        over.iter().for_each(|topic| self.end_topic(topic));
        for (client, sequence) in failed.refused {
            self.answer_own(client, sequence, error);
            self.note_subscriber(client);
            // What was behind it may be ready.
            self.confirm_subscriptions(client);
        }
        if !failed.cut.is_empty() {
            let text = error.strip_suffix(b"\r\n").unwrap_or(error).escape_ascii();
            let count = failed.cut.len();
            log_notice!(self.log, "h {} {} subscribers lost: {}", self.index, count, text);
        }
        for client in failed.cut {
            self.drop_client(client, "subscription lost");
        }
    }

    /// Notes whether a client is still somebody to be careful with.
    fn note_subscriber(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id) {
            client.subscribes = !self.pubsub.book.is_stranger(id);
        }
    }

    /// What a client's subscriptions cost, in bytes.
    pub(super) fn subscriptions_cost(&self, id: ClientId) -> usize {
        self.pubsub.book.cost_of(id)
    }

    /// How many subscriptions a client has: to channels, patterns and sharded channels.
    pub(super) fn subscription_counts(&self, id: ClientId) -> [usize; Kind::ALL.len()] {
        self.pubsub.book.counts(id)
    }

    /// Whether a client is subscribed to anything.
    pub(super) fn has_subscribed(&self, id: ClientId) -> bool {
        self.subscription_counts(id) != [0; Kind::ALL.len()]
    }

    /// Tells a client what it is subscribed to now. That is a push, which also gets who wants no
    /// replies.
    fn tell_subscriptions(&mut self, id: ClientId, sequence: u32, pushes: &[u8]) {
        if let Some(client) = self.clients.get_mut(id) {
            client.unmute(sequence);
        }
        self.answer_own(id, sequence, pushes);
    }

    /// Counts a request that is answered here.
    fn count_own(&self, command: &Command, responses: usize) {
        self.recorder.handler().total_requests.increment();
        self.recorder.handler().total_responses.add(responses as u64);
        if self.measures {
            let feeds = self.recorder.monitors().feeds(command.id().index());
            self.recorder.record_latency(feeds, 0);
        }
    }

    /// What a client is told whose topic nobody can tell it about.
    fn no_seat_reply(&self, topic: &Topic) -> Vec<u8> {
        if let Some(refusal) = &topic.refusal {
            return refusal.to_vec();
        }
        let is_unowned = topic.kind == Kind::Shard
            && matches!(self.topology.place(&topic.name), Place::Slot(slot)
                if self.topology.master_of_slot(slot).is_none());
        if is_unowned {
            super::dispatch::no_server_reply(NoServer::SlotNotServed).to_vec()
        } else {
            replies::NO_SERVER_CONNECTION.to_vec()
        }
    }
}

/// What else a client that speaks RESP2 may send while it is subscribed, in the words of Redis.
const ONLY_THESE: &[u8] = b"': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
                            are allowed in this context";

fn is_subscribe(family: Family) -> bool {
    matches!(
        family,
        Family::PubSub(
            PubSubCommand::Subscribe
                | PubSubCommand::PatternSubscribe
                | PubSubCommand::ShardSubscribe
        )
    )
}
