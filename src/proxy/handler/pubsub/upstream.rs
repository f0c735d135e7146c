//! The links on which a handler is told messages, and how topics come to them.
//!
//! Each server that some topic needs has one link, on which nothing else travels. When it is lost,
//! or the servers change, its topics are asked for again, on a new link or elsewhere, until
//! `ServerTimeout` is over (1 s without): then those who are subscribed have missed something for
//! certain, and are disconnected. A link that is silent is asked for a sign of life.

use super::super::Handler;
use super::super::loss::Loss;
use super::super::upkeep::Chore;
use crate::base::sorted_map::SortedSet;
use crate::pool::ServerId;
use crate::proxy::connect_connection::{ConnectConnection, LinkState};
use crate::proxy::lane::Lane;
use crate::proxy::request::{Errand, LinkId};
use crate::proxy::subscriptions::{Kind, Topic, TopicId};
use crate::resp::redirect::ErrorKind;
use crate::resp::reply::Reply;
use crate::resp::writer::Sink;

/// The link to one server.
#[derive(Default)]
pub(super) struct Upstream {
    pub link: Option<LinkId>,
    /// It is not opened again before, in microseconds of the monotonic clock.
    retry_us: u64,
    /// Others are preferred until then, in microseconds of the monotonic clock.
    pub shunned_until_us: u64,
    /// Since when no topic needs it, in microseconds of the monotonic clock; 0 while one does.
    pub idle_us: u64,
}

/// A server that has told nothing for so long is asked whether it is still there.
pub(super) const QUIET_US: u64 = 1_000_000;
/// How long a topic may be without its server, where `ServerTimeout` does not say.
const PATIENCE_US: u64 = 1_000_000;
/// What could not be had is tried again this often.
const RETRY_US: u64 = 50_000;
/// A link that no topic needs is kept so long for the next one.
const IDLE_US: u64 = 5_000_000;
/// A node of a cluster that did not answer is avoided for so long, if any other will do.
const SHUNNED_US: u64 = 10_000_000;

impl Handler {
    /// Finds out which servers have to tell about a topic, and asks those that were not asked.
    pub(super) fn seat(&mut self, id: TopicId) {
        if self.has_let_topics_go() {
            return;
        }
        let Some(topic) = self.pubsub.book.topic(id) else { return };
        let targets = self.targets(topic);
        let Some(topic) = self.pubsub.book.topic_mut(id) else { return };
        let (kind, name) = (topic.kind, topic.name.clone());
        let in_vain = topic.seats.aim(&targets);
        let wanted: Vec<_> = topic.seats.wanted().collect();
        for server in in_vain {
            self.give_up_topic(server, kind, &name);
        }
        for server in wanted {
            if self.ask_for_topic(server, id, kind, &name)
                && let Some(topic) = self.pubsub.book.topic_mut(id)
            {
                topic.seats.ask(server);
            }
        }
        self.look_at_topic(id);
    }

    /// The seats of a topic have changed: it may be ready now, or no longer.
    fn look_at_topic(&mut self, id: TopicId) {
        let patience_us = self.patience_us();
        let Some(topic) = self.pubsub.book.topic_mut(id) else { return };
        let obsolete = topic.seats.give_up_obsolete();
        let is_ready = topic.seats.is_ready();
        if is_ready {
            topic.deadline_us = u64::MAX;
            topic.refusal = None;
        } else if topic.deadline_us == u64::MAX {
            topic.deadline_us = self.now_us.saturating_add(patience_us);
        }
        let (kind, name) = (topic.kind, topic.name.clone());
        for server in obsolete {
            self.give_up_topic(server, kind, &name);
        }
        if !is_ready {
            return self.deadlines.advance(Chore::Channels, self.now_us + RETRY_US);
        }
        for client in self.pubsub.book.waiting_for(id) {
            self.confirm_subscriptions(client);
        }
    }

    /// The servers are other ones than before.
    pub(in super::super) fn follow_channels(&mut self) {
        for id in self.pubsub.book.topics() {
            self.seat(id);
        }
    }

    /// Asks a server to tell about a topic. False when there is no link to it.
    fn ask_for_topic(&mut self, server: ServerId, topic: TopicId, kind: Kind, name: &[u8]) -> bool {
        let Some(id) = self.upstream_link(server) else { return false };
        self.send_to_upstream(id, Errand::Listen(topic), kind.subscribe(), name);
        true
    }

    /// Tells a server that a topic is no longer of interest.
    pub(super) fn give_up_topic(&mut self, server: ServerId, kind: Kind, name: &[u8]) {
        if self.has_let_topics_go() {
            return;
        }
        let link = self.pubsub.upstreams.get(&server).and_then(|upstream| upstream.link);
        if let Some(id) = link {
            self.send_to_upstream(id, Errand::Unlisten, kind.unsubscribe(), name);
            self.deadlines.advance(Chore::Channels, self.now_us + QUIET_US);
        }
    }

    fn send_to_upstream(&mut self, id: LinkId, errand: Errand, word: &[u8], name: &[u8]) {
        let Some(link) = self.links.get_mut(id) else { return };
        let mut request = std::mem::take(&mut self.spare.request);
        request.clear();
        request.command(&[word, name]);
        link.send_errand(&self.buffers, errand, &request, self.now_us);
        self.spare.keep_request(request);
        self.list_link(id);
    }

    /// The link to a server, opened if there is none and it is time to try.
    fn upstream_link(&mut self, server: ServerId) -> Option<LinkId> {
        let now_us = self.now_us;
        let upstream = self.pubsub.upstreams.get_or_insert_with(server, Upstream::default);
        if let Some(id) = upstream.link {
            return Some(id);
        }
        if now_us < upstream.retry_us {
            return None;
        }
        upstream.retry_us = now_us + RETRY_US;
        if self.topology.server(server)?.health().is_failed() {
            self.want_probe(server);
            return None;
        }
        let id = self.open_link(server, Lane::default())?;
        let link = self.links.get_mut(id)?;
        // Nobody else may use it.
        (link.is_private, link.is_lent, link.listens) = (true, true, true);
        if let Some(upstream) = self.pubsub.upstreams.get_mut(&server) {
            upstream.link = Some(id);
            upstream.idle_us = 0;
        }
        self.deadlines.advance(Chore::Channels, now_us + QUIET_US);
        Some(id)
    }

    /// A link to be told messages on is lost.
    pub(in super::super) fn lose_upstream(
        &mut self,
        id: LinkId,
        link: &ConnectConnection,
        loss: &Loss,
    ) {
        let (now_us, patience_us) = (self.now_us, self.patience_us());
        let Some(upstream) = self.pubsub.upstreams.get_mut(&link.server) else { return };
        if upstream.link != Some(id) {
            return;
        }
        upstream.link = None;
        if matches!(loss, Loss::TimeOut | Loss::Connect(_) | Loss::Refused(..)) {
            upstream.shunned_until_us = now_us + SHUNNED_US;
        }
        let retry_us = upstream.retry_us;
        let mut is_missed = false;
        for topic in self.pubsub.book.topics() {
            let Some(topic) = self.pubsub.book.topic_mut(topic) else { continue };
            if topic.seats.lose(link.server) && !topic.seats.is_ready() {
                is_missed = true;
                topic.deadline_us = topic.deadline_us.min(now_us.saturating_add(patience_us));
            }
        }
        if is_missed {
            self.deadlines.advance(Chore::Channels, retry_us);
        }
    }

    /// A server has said whether it will tell about a topic.
    pub(in super::super) fn take_listen_answer(
        &mut self,
        id: LinkId,
        topic: TopicId,
        reply: &[u8],
    ) {
        let Some(server) = self.links.get(id).map(|link| link.server) else { return };
        // Everybody may have lost interest.
        let Some(asked) = self.pubsub.book.topic_mut(topic) else { return };
        if is_word(reply, asked.kind.subscribe()) {
            asked.seats.confirm(server);
            return self.look_at_topic(topic);
        }
        asked.seats.refuse(server);
        let error = if reply.starts_with(b"-") { reply } else { UNEXPECTED };
        match ErrorKind::of(error) {
            Some(ErrorKind::Moved) => {
                // Who follows the servers asks the right one, if it is another one now.
                self.read_redirect(id, reply);
                self.deadlines.advance(Chore::Channels, self.now_us + RETRY_US);
            }
            Some(
                ErrorKind::ClusterDown
                | ErrorKind::TryAgain
                | ErrorKind::Ask
                | ErrorKind::Loading
                | ErrorKind::MasterDown
                | ErrorKind::ReadOnly,
            ) => {
                asked.refusal = Some(error.into());
                self.refresh_soon();
                self.look_at_topic(topic);
            }
            _ => self.fail_topic(topic, error),
        }
    }

    /// A server does not tell about a sharded channel any more: its slot has moved.
    pub(super) fn lose_seat(&mut self, server: ServerId, name: &[u8]) {
        let Some(id) = self.pubsub.book.find(Kind::Shard, name) else { return };
        let Some(topic) = self.pubsub.book.topic_mut(id) else { return };
        if topic.seats.accepts(server, || true) && topic.seats.lose(server) {
            self.refresh_soon();
            self.seat(id);
        }
    }

    /// Looks after links and topics that wait for one.
    pub(in super::super) fn check_channels(&mut self) {
        self.deadlines.set(Chore::Channels, u64::MAX);
        if self.now_us >= self.await_deadline_us() {
            self.await_no_subscribers();
        }
        if self.has_let_topics_go() {
            return;
        }
        self.check_upstreams();
        let mut due_us = self.await_deadline_us();
        for id in self.pubsub.book.topics() {
            let Some(topic) = self.pubsub.book.topic(id) else { continue };
            if topic.deadline_us == u64::MAX {
                continue;
            }
            // In a pause servers may be away for longer, and nobody publishes through us.
            let is_late = self.now_us >= topic.deadline_us && !self.is_coming(topic);
            if is_late && !self.is_paused() {
                let error = self.no_seat_reply(topic);
                self.fail_topic(id, &error);
                continue;
            }
            due_us = due_us.min(topic.deadline_us.max(self.now_us + RETRY_US));
            self.seat(id);
        }
        self.deadlines.advance(Chore::Channels, due_us);
    }

    /// Whether nobody misses anything of a topic yet, and the servers that have yet to confirm it
    /// are busy answering: they may have been asked for thousands of others before it.
    fn is_coming(&self, topic: &Topic) -> bool {
        let patience_us = self.patience_us();
        let is_answering = |server: ServerId| {
            let link = self.pubsub.upstreams.get(&server).and_then(|upstream| upstream.link);
            link.and_then(|link| self.links.get(link)).is_some_and(|link| {
                let is_ready = link.state == LinkState::Ready;
                is_ready && self.now_us < link.heard_us.saturating_add(patience_us)
            })
        };
        let seats = &topic.seats;
        let mut pending = seats.pending().peekable();
        topic.active() == 0
            && seats.wanted().next().is_none()
            && pending.peek().is_some()
            && pending.all(is_answering)
    }

    /// Asks silent servers for a sign of life, gives up those that do not give one, and closes
    /// links that nobody needs.
    fn check_upstreams(&mut self) {
        let (now_us, patience_us) = (self.now_us, self.patience_us());
        let needed = self.needed_upstreams();
        let servers: Vec<_> = self.pubsub.upstreams.keys().copied().collect();
        let mut due_us = u64::MAX;
        for server in servers {
            let Some(upstream) = self.pubsub.upstreams.get_mut(&server) else { continue };
            let Some((id, link)) = upstream.link.and_then(|id| Some((id, self.links.get(id)?)))
            else {
                if !needed.contains(&server) && now_us >= upstream.shunned_until_us {
                    self.pubsub.upstreams.remove(&server);
                }
                continue;
            };
            if needed.contains(&server) {
                upstream.idle_us = 0;
            } else if upstream.idle_us == 0 {
                upstream.idle_us = now_us;
            }
            let idle_us = upstream.idle_us;
            if idle_us > 0 && now_us >= idle_us.saturating_add(IDLE_US) {
                self.lose_link(id, Loss::Retired);
                self.pubsub.upstreams.remove(&server);
                continue;
            }
            due_us = due_us.min(if idle_us > 0 { idle_us + IDLE_US } else { u64::MAX });
            if link.state != LinkState::Ready {
                // Whoever looks after links that are being made does it for these as well.
                continue;
            }
            let heard_us = link.heard_us;
            let Some(front) = link.awaiting.front() else {
                if self.lets_subscribers_go() {
                    // Nothing but messages is to come on it any more.
                } else if now_us >= heard_us.saturating_add(QUIET_US) && idle_us == 0 {
                    self.ping(id);
                    due_us = due_us.min(now_us + patience_us);
                } else if idle_us == 0 {
                    due_us = due_us.min(heard_us.saturating_add(QUIET_US));
                }
                continue;
            };
            let overdue_us = front.since_us.max(heard_us).saturating_add(patience_us);
            if now_us >= overdue_us {
                self.lose_link(id, Loss::TimeOut);
            } else {
                due_us = due_us.min(overdue_us);
            }
        }
        self.deadlines.advance(Chore::Channels, due_us);
    }

    /// The servers that some topic has a seat at, or wants one.
    pub(super) fn needed_upstreams(&self) -> SortedSet<ServerId> {
        let topics = self.pubsub.book.topics();
        let topics = topics.into_iter().filter_map(|id| self.pubsub.book.topic(id));
        topics.flat_map(|topic| topic.seats.servers()).collect()
    }

    /// How long a topic may be without its server.
    fn patience_us(&self) -> u64 {
        match self.settings.conf.pool.common.server_timeout_us {
            0 => PATIENCE_US,
            timeout_us => timeout_us,
        }
    }
}

/// The answer to a client whose server says something else than it should.
const UNEXPECTED: &[u8] = b"-ERR unexpected reply of a server to a subscription\r\n";

/// Whether a reply is an array that begins with this word.
pub(super) fn is_word(reply: &[u8], word: &[u8]) -> bool {
    let first = Reply::new(reply).elements().and_then(|mut elements| elements.next());
    first.and_then(|first| first.text()) == Some(word)
}

/// The name that a confirmation, or the request for one, is about.
pub(super) fn name_in(message: &[u8]) -> Option<&[u8]> {
    Reply::new(message).elements()?.nth(1)?.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmations_are_read() {
        let reply = b"*3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n";
        assert!(is_word(reply, b"ssubscribe") && !is_word(reply, b"subscribe"));
        assert!(!is_word(b"+OK\r\n", b"ssubscribe"));
        assert_eq!(name_in(reply), Some(&b"a"[..]));
        assert_eq!(name_in(b"*2\r\n$12\r\nSUNSUBSCRIBE\r\n$2\r\nab\r\n"), Some(&b"ab"[..]));
        assert_eq!(name_in(b"-ERR\r\n"), None);
    }
}
