//! Who is subscribed to what.
//!
//! A *topic* is a channel, a pattern or a sharded channel that somebody is subscribed to, or is
//! about to be. Its members are clients; each client's own list names its topics, so that either
//! can leave without a search. A member counts, and gets messages, from the moment on when its
//! confirmation is written; before that its request waits until the servers have confirmed the
//! topic, behind the client's earlier requests of this kind. All of it is data: servers are asked
//! and clients are answered elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::rc::Rc;

use super::request::ClientId;
use super::seats::Seats;
use crate::base::slab::{Id, Slab};
use crate::buffer::Outbox;
use crate::resp::writer::{Protocol, Sink};

/// Names a topic, for as long as it has members.
pub type TopicId = Id<Topic>;

/// What a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `SUBSCRIBE`.
    Channel,
    /// `PSUBSCRIBE`.
    Pattern,
    /// `SSUBSCRIBE`.
    Shard,
}

/// Something that clients are subscribed to.
pub struct Topic {
    /// What it is.
    pub kind: Kind,
    /// Its name, or the pattern.
    pub name: Rc<[u8]>,
    /// Where it is subscribed to.
    pub seats: Seats,
    /// By when it has to be ready again, in microseconds of the monotonic clock; `u64::MAX` while
    /// it is.
    pub deadline_us: u64,
    /// Why some server did not agree, in its own words, when it was last asked.
    pub refusal: Option<Box<[u8]>>,
    members: Vec<Member>,
    active: usize,
}

/// A client that is subscribed, or is about to be.
#[derive(Clone, Copy)]
pub struct Member {
    /// Who it is.
    pub client: ClientId,
    /// Its subscription was confirmed: it gets messages.
    pub is_active: bool,
}

/// All subscriptions of the clients of one handler.
#[derive(Default)]
pub struct Subscriptions {
    topics: Slab<Topic>,
    names: [BTreeMap<Rc<[u8]>, TopicId>; Kind::ALL.len()],
    subscribers: BTreeMap<ClientId, Subscriber>,
    /// Those of them whose requests wait for confirmations.
    waiting: BTreeSet<ClientId>,
}

/// What one client is subscribed to.
#[derive(Default)]
struct Subscriber {
    /// Its topics, with its place among their members.
    topics: BTreeMap<TopicId, usize>,
    /// Confirmed subscriptions of each kind.
    counts: [usize; Kind::ALL.len()],
    /// What its topics cost.
    bytes: usize,
    /// Requests whose topics are not all confirmed, and those behind them.
    pending: VecDeque<Pending>,
    /// How many names are in them.
    awaited: usize,
    /// Messages that must not be put into the reply that is on its way to it just now.
    held: Outbox,
}

/// A request to be subscribed.
struct Pending {
    sequence: u32,
    topics: Vec<TopicId>,
    /// So many of them, from the first on, are known to be ready.
    ready: usize,
}

/// Who is told that a topic cannot be had.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Failed {
    /// Clients that were subscribed, and have missed something.
    pub cut: Vec<ClientId>,
    /// Requests that fail.
    pub refused: Vec<(ClientId, u32)>,
}

/// What a topic costs beside its name, in bytes.
const TOPIC_BYTES: usize = 512;

impl Kind {
    /// All there are.
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];

    /// The first word of a confirmation, and of the request to a server.
    pub fn subscribe(self) -> &'static [u8] {
        match self {
            Kind::Channel => b"subscribe",
            Kind::Pattern => b"psubscribe",
            Kind::Shard => b"ssubscribe",
        }
    }

    /// The same for the end of a subscription.
    pub fn unsubscribe(self) -> &'static [u8] {
        match self {
            Kind::Channel => b"unsubscribe",
            Kind::Pattern => b"punsubscribe",
            Kind::Shard => b"sunsubscribe",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Topic {
    /// One that nobody is subscribed to.
    fn new(kind: Kind, name: Rc<[u8]>) -> Topic {
        Topic {
            kind,
            name,
            seats: Seats::default(),
            deadline_us: u64::MAX,
            refusal: None,
            members: Vec::new(),
            active: 0,
        }
    }

    /// Everybody who is subscribed or about to be.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many are subscribed.
    pub fn active(&self) -> usize {
        self.active
    }
}

impl Subscriptions {
    /// Whether nobody is subscribed to anything.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// A topic, unless everybody has left it.
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(id)
    }

    /// The same, to be changed.
    pub fn topic_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.topics.get_mut(id)
    }

    /// All topics, for walks that end some of them.
    pub fn topics(&self) -> Vec<TopicId> {
        self.topics.ids()
    }

    /// The topic of this name, if anybody is subscribed to it.
    pub fn find(&self, kind: Kind, name: &[u8]) -> Option<TopicId> {
        self.names[kind.index()].get(name).copied()
    }

    /// All topics of a kind, by name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Topic> {
        self.names[kind.index()].values().filter_map(|id| self.topics.get(*id))
    }

    /// Everybody of whom something is known.
    pub fn subscribers(&self) -> Vec<ClientId> {
        self.subscribers.keys().copied().collect()
    }

    /// All that a client is subscribed to, or about to be.
    pub fn topics_of(&self, client: ClientId) -> impl Iterator<Item = &Topic> {
        let topics = self.subscribers.get(&client).into_iter().flat_map(|one| one.topics.keys());
        topics.filter_map(|id| self.topics.get(*id))
    }

    /// How many subscriptions a client has: to channels, patterns and sharded channels.
    pub fn counts(&self, client: ClientId) -> [usize; Kind::ALL.len()] {
        self.subscribers.get(&client).map_or_else(Default::default, |one| one.counts)
    }

    /// How many requests of a client wait for confirmations.
    pub fn pending(&self, client: ClientId) -> usize {
        self.subscribers.get(&client).map_or(0, |one| one.pending.len())
    }

    /// The clients that have requests which wait for a topic, whether they are subscribed to it
    /// already or not.
    pub fn waiting_for(&self, topic: TopicId) -> Vec<ClientId> {
        self.waiting.iter().copied().filter(|client| self.is_pending(*client, topic)).collect()
    }

    /// Whether nothing is known of a client.
    pub fn is_stranger(&self, client: ClientId) -> bool {
        !self.subscribers.contains_key(&client)
    }

    /// A client wants to be subscribed to these, by its request `sequence`: it is told so by
    /// [`Subscriptions::confirm_next`]. Returns the topics that nobody was subscribed to so far;
    /// nothing at all if what it is subscribed to would cost more than `most` bytes.
    pub fn join<'a>(
        &mut self,
        client: ClientId,
        sequence: u32,
        kind: Kind,
        names: impl Iterator<Item = &'a [u8]> + Clone,
        most: u64,
    ) -> Option<Vec<TopicId>> {
        let known = self.subscribers.get(&client).map_or(0, Subscriber::cost);
        // More than it will cost, if some are named twice or are known already.
        let more: usize = names.clone().map(cost).sum();
        if known.saturating_add(more) as u64 > most {
            return None;
        }
        let subscriber = self.subscribers.entry(client).or_default();
        let (mut topics, mut new) = (Vec::new(), Vec::new());
        for name in names {
            let id = match self.names[kind.index()].get(name) {
                Some(id) => *id,
                None => {
                    let id = self.topics.insert(Topic::new(kind, name.into()));
                    if let Some(topic) = self.topics.get(id) {
                        self.names[kind.index()].insert(Rc::clone(&topic.name), id);
                    }
                    new.push(id);
                    id
                }
            };
            topics.push(id);
            let Some(topic) = self.topics.get_mut(id) else { continue };
            subscriber.topics.entry(id).or_insert_with(|| {
                subscriber.bytes += cost(name);
                topic.members.push(Member { client, is_active: false });
                topic.members.len() - 1
            });
        }
        subscriber.awaited += topics.len();
        subscriber.pending.push_back(Pending { sequence, topics, ready: 0 });
        self.waiting.insert(client);
        Some(new)
    }

    /// A client is subscribed to this, and knows it already.
    pub fn adopt(&mut self, client: ClientId, kind: Kind, name: &[u8]) -> TopicId {
        let names = &mut self.names[kind.index()];
        let id = match names.get(name) {
            Some(id) => *id,
            None => {
                let name: Rc<[u8]> = name.into();
                let id = self.topics.insert(Topic::new(kind, Rc::clone(&name)));
                names.insert(name, id);
                id
            }
        };
        let subscriber = self.subscribers.entry(client).or_default();
        if let Some(topic) = self.topics.get_mut(id)
            && !subscriber.topics.contains_key(&id)
        {
            subscriber.topics.insert(id, topic.members.len());
            subscriber.bytes += cost(name);
            subscriber.counts[kind.index()] += 1;
            topic.members.push(Member { client, is_active: true });
            topic.active += 1;
        }
        id
    }

    /// Writes the confirmations to a client's next request, if all that it asks for is ready, and
    /// returns the number of that request.
    pub fn confirm_next(
        &mut self,
        client: ClientId,
        protocol: Protocol,
        reply: &mut Vec<u8>,
    ) -> Option<u32> {
        let subscriber = self.subscribers.get_mut(&client)?;
        let next = subscriber.pending.front_mut()?;
        while let Some(id) = next.topics.get(next.ready) {
            if self.topics.get(*id).is_some_and(|topic| !topic.seats.is_ready()) {
                return None;
            }
            next.ready += 1;
        }
        let next = subscriber.pending.pop_front()?;
        if subscriber.pending.is_empty() {
            self.waiting.remove(&client);
        }
        subscriber.awaited -= next.topics.len();
        for id in next.topics {
            let (Some(topic), Some(place)) = (self.topics.get_mut(id), subscriber.topics.get(&id))
            else {
                continue;
            };
            if !mem::replace(&mut topic.members[*place].is_active, true) {
                topic.active += 1;
                subscriber.counts[topic.kind.index()] += 1;
            }
            let count = subscriber.count_to_tell(topic.kind);
            confirm(topic.kind.subscribe(), Some(&topic.name), count, protocol, reply);
        }
        Some(next.sequence)
    }

    /// Ends a client's subscriptions to these and writes the confirmations. Returns the topics that
    /// nobody is subscribed to any more.
    pub fn leave<'a>(
        &mut self,
        client: ClientId,
        kind: Kind,
        names: impl Iterator<Item = &'a [u8]>,
        protocol: Protocol,
        reply: &mut Vec<u8>,
    ) -> Vec<Topic> {
        let mut over = Vec::new();
        for name in names {
            if let Some(id) = self.find(kind, name) {
                over.extend(self.part(client, id));
            }
            let count = self.count_to_tell(client, kind);
            confirm(kind.unsubscribe(), Some(name), count, protocol, reply);
        }
        self.forget_stranger(client);
        over
    }

    /// The same for all that a client is subscribed to.
    pub fn leave_all(
        &mut self,
        client: ClientId,
        kind: Kind,
        protocol: Protocol,
        reply: &mut Vec<u8>,
    ) -> Vec<Topic> {
        let mut names = self.names_of(client, kind);
        names.sort_unstable();
        if names.is_empty() {
            let count = self.count_to_tell(client, kind);
            confirm(kind.unsubscribe(), None, count, protocol, reply);
        }
        self.leave(client, kind, names.iter().map(|name| &**name), protocol, reply)
    }

    /// Ends everything that is known of a client, without a word. Returns the topics that nobody is
    /// subscribed to any more.
    pub fn end(&mut self, client: ClientId) -> Vec<Topic> {
        let Some(subscriber) = self.subscribers.get(&client) else { return Vec::new() };
        let topics: Vec<TopicId> = subscriber.topics.keys().copied().collect();
        let over = topics.into_iter().filter_map(|id| self.part(client, id)).collect();
        self.subscribers.remove(&client);
        self.waiting.remove(&client);
        over
    }

    /// A topic cannot be had. The requests that need it are taken back whole; who was subscribed to
    /// it stays so until it is ended. Returns too the topics that nobody is subscribed to any more.
    pub fn fail(&mut self, id: TopicId) -> (Failed, Vec<Topic>) {
        let (mut failed, mut over) = (Failed::default(), Vec::new());
        let members = self.topics.get(id).map_or_else(Vec::new, |topic| topic.members.clone());
        for member in members {
            if member.is_active {
                failed.cut.push(member.client);
            } else {
                for sequence in self.take_back(member.client, id, &mut over) {
                    failed.refused.push((member.client, sequence));
                }
            }
        }
        (failed, over)
    }

    /// Keeps a message until the reply that is on its way to a client is complete.
    pub fn hold(&mut self, client: ClientId, hold: impl FnOnce(&mut Outbox)) {
        if let Some(subscriber) = self.subscribers.get_mut(&client) {
            hold(&mut subscriber.held);
        }
    }

    /// What a client's subscriptions cost, in bytes.
    pub fn cost_of(&self, client: ClientId) -> usize {
        self.subscribers.get(&client).map_or(0, Subscriber::cost)
    }

    /// How many bytes are kept for a client.
    pub fn held_bytes(&self, client: ClientId) -> usize {
        self.subscribers.get(&client).map_or(0, |one| one.held.len())
    }

    /// The messages that were kept for a client.
    pub fn take_held(&mut self, client: ClientId) -> Outbox {
        let held = (self.subscribers.get_mut(&client))
            .map_or_else(Outbox::default, |one| mem::take(&mut one.held));
        self.forget_stranger(client);
        held
    }

    /// Forgets a client of which there is nothing left to know.
    fn forget_stranger(&mut self, client: ClientId) {
        let is_over = |one: &Subscriber| {
            one.topics.is_empty() && one.pending.is_empty() && one.held.is_empty()
        };
        if self.subscribers.get(&client).is_some_and(is_over) {
            self.subscribers.remove(&client);
        }
    }

    /// Takes back the requests of a client that need this topic.
    fn take_back(&mut self, client: ClientId, id: TopicId, over: &mut Vec<Topic>) -> Vec<u32> {
        let Some(subscriber) = self.subscribers.get_mut(&client) else { return Vec::new() };
        let (mut sequences, mut dropped) = (Vec::new(), Vec::new());
        subscriber.pending.retain_mut(|pending| {
            let is_needed = pending.topics.contains(&id);
            if is_needed {
                sequences.push(pending.sequence);
                subscriber.awaited -= pending.topics.len();
                dropped.append(&mut pending.topics);
            }
            !is_needed
        });
        if subscriber.pending.is_empty() {
            self.waiting.remove(&client);
        }
        dropped.sort_unstable();
        dropped.dedup();
        for id in dropped {
            let is_kept = self.is_active(client, id) || self.is_pending(client, id);
            if !is_kept {
                over.extend(self.part(client, id));
            }
        }
        self.forget_stranger(client);
        sequences
    }

    fn is_active(&self, client: ClientId, id: TopicId) -> bool {
        let place = self.subscribers.get(&client).and_then(|one| one.topics.get(&id));
        let topic = self.topics.get(id);
        topic.zip(place).is_some_and(|(topic, place)| topic.members[*place].is_active)
    }

    fn is_pending(&self, client: ClientId, id: TopicId) -> bool {
        let pending = self.subscribers.get(&client).into_iter().flat_map(|one| &one.pending);
        pending.into_iter().any(|pending| pending.topics.contains(&id))
    }

    /// A client is no member any more. Returns the topic if it has none now.
    fn part(&mut self, client: ClientId, id: TopicId) -> Option<Topic> {
        let topic = self.topics.get_mut(id)?;
        let subscriber = self.subscribers.get_mut(&client)?;
        let place = subscriber.topics.remove(&id)?;
        subscriber.bytes -= cost(&topic.name);
        if topic.members.swap_remove(place).is_active {
            topic.active -= 1;
            subscriber.counts[topic.kind.index()] -= 1;
        }
        // The last one has taken its place.
        if let Some(moved) = topic.members.get(place)
            && let Some(other) = self.subscribers.get_mut(&moved.client)
        {
            other.topics.insert(id, place);
        }
        if !topic.members.is_empty() {
            return None;
        }
        let topic = self.topics.remove(id)?;
        self.names[topic.kind.index()].remove(&topic.name);
        Some(topic)
    }

    fn names_of(&self, client: ClientId, kind: Kind) -> Vec<Rc<[u8]>> {
        let topics = self.topics_of(client).filter(|topic| topic.kind == kind);
        topics.map(|topic| Rc::clone(&topic.name)).collect()
    }

    fn count_to_tell(&self, client: ClientId, kind: Kind) -> usize {
        self.subscribers.get(&client).map_or(0, |one| one.count_to_tell(kind))
    }
}

impl Subscriber {
    /// What it costs to know all this, in bytes.
    fn cost(&self) -> usize {
        self.bytes + self.awaited * size_of::<TopicId>()
    }

    /// The number in a confirmation: channels and patterns are counted together.
    fn count_to_tell(&self, kind: Kind) -> usize {
        let [channels, patterns, shards] = self.counts;
        match kind {
            Kind::Channel | Kind::Pattern => channels + patterns,
            Kind::Shard => shards,
        }
    }
}

fn cost(name: &[u8]) -> usize {
    name.len() + TOPIC_BYTES
}

fn confirm(
    word: &[u8],
    name: Option<&[u8]>,
    count: usize,
    protocol: Protocol,
    reply: &mut Vec<u8>,
) {
    reply.push_head(3, protocol).bulk(word);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(protocol),
    };
    reply.integer(i64::try_from(count).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::pool::ServerId;
    use crate::proxy::seats::Targets;

    const R2: Protocol = Protocol::Resp2;

    fn client(number: u64) -> ClientId {
        Id::from_u64(number)
    }

    fn server() -> ServerId {
        ServerId::from_index(0).unwrap()
    }

    /// The servers agree to a topic.
    fn make_ready(all: &mut Subscriptions, id: TopicId) {
        let seats = &mut all.topic_mut(id).unwrap().seats;
        seats.aim(&Targets { servers: vec![server()], ..Targets::default() });
        seats.ask(server());
        seats.confirm(server());
    }

    fn join(
        all: &mut Subscriptions,
        number: u64,
        sequence: u32,
        kind: Kind,
        names: &[&str],
    ) -> Vec<TopicId> {
        let names = names.iter().map(|name| name.as_bytes());
        all.join(client(number), sequence, kind, names, u64::MAX).unwrap()
    }

    /// The next confirmations as words: `subscribe a 1`.
    #[track_caller]
    fn confirmed(all: &mut Subscriptions, number: u64) -> Option<(u32, String)> {
        let mut reply = Vec::new();
        let sequence = all.confirm_next(client(number), R2, &mut reply)?;
        Some((sequence, words(&reply)))
    }

    /// What a reply says, without lengths.
    fn words(reply: &[u8]) -> String {
        let text = String::from_utf8_lossy(reply);
        let lines = text.split("\r\n").filter(|line| !line.is_empty());
        let is_length = |line: &&str| line.starts_with(['$', '*', '>']) && *line != "$-1";
        lines.filter(|line| !is_length(line)).collect::<Vec<_>>().join(" ")
    }

    fn left(all: &mut Subscriptions, number: u64, kind: Kind, names: &[&str]) -> (String, usize) {
        let mut reply = Vec::new();
        let names = names.iter().map(|name| name.as_bytes());
        let over = all.leave(client(number), kind, names, R2, &mut reply);
        (words(&reply), over.len())
    }

    fn left_all(all: &mut Subscriptions, number: u64, kind: Kind) -> (String, usize) {
        let mut reply = Vec::new();
        let over = all.leave_all(client(number), kind, R2, &mut reply);
        (words(&reply), over.len())
    }

    #[test]
    fn who_knows_already_is_subscribed_without_a_word() {
        let mut all = Subscriptions::default();
        let a = all.adopt(client(1), Kind::Channel, b"a");
        assert_eq!(all.adopt(client(1), Kind::Channel, b"a"), a, "said twice");
        assert_eq!(all.adopt(client(2), Kind::Channel, b"a"), a);
        all.adopt(client(2), Kind::Pattern, b"a");
        assert_eq!((all.counts(client(1)), all.counts(client(2))), ([1, 0, 0], [1, 1, 0]));
        assert_eq!(all.topic(a).unwrap().active(), 2);
        assert_eq!(all.subscribers(), [client(1), client(2)]);
        assert_eq!(left(&mut all, 2, Kind::Channel, &["a"]), ("unsubscribe a :1".into(), 0));
        assert_eq!(left(&mut all, 1, Kind::Channel, &["a"]), ("unsubscribe a :0".into(), 1));
        assert_eq!(all.end(client(2)).len(), 1);
        assert!(all.is_empty());
    }

    #[test]
    fn a_confirmation_waits_for_the_servers_and_for_those_before_it() {
        let mut all = Subscriptions::default();
        let ids = join(&mut all, 1, 10, Kind::Channel, &["a", "b"]);
        let late = join(&mut all, 1, 11, Kind::Pattern, &["c*"]);
        assert_eq!((ids.len(), late.len(), all.pending(client(1))), (2, 1, 2));
        make_ready(&mut all, late[0]);
        make_ready(&mut all, ids[1]);
        assert_eq!(confirmed(&mut all, 1), None);
        assert_eq!(all.topic(late[0]).unwrap().active(), 0, "no message before its confirmation");
        make_ready(&mut all, ids[0]);
        assert_eq!(confirmed(&mut all, 1), Some((10, "subscribe a :1 subscribe b :2".into())));
        assert_eq!(confirmed(&mut all, 1), Some((11, "psubscribe c* :3".into())));
        assert_eq!(confirmed(&mut all, 1), None);
        assert_eq!(all.counts(client(1)), [2, 1, 0]);
    }

    #[test]
    fn somebody_elses_topic_is_there_at_once() {
        let mut all = Subscriptions::default();
        let ids = join(&mut all, 1, 1, Kind::Channel, &["a"]);
        assert!(join(&mut all, 2, 1, Kind::Channel, &["a", "a"]).is_empty());
        assert_eq!(confirmed(&mut all, 2), None, "the server has yet to confirm it");
        make_ready(&mut all, ids[0]);
        assert_eq!(confirmed(&mut all, 2), Some((1, "subscribe a :1 subscribe a :1".into())));
        assert_eq!(all.topic(ids[0]).unwrap().active(), 1);
        // The same name is something else as a pattern, or in a shard.
        assert_eq!(join(&mut all, 2, 2, Kind::Pattern, &["a"]).len(), 1);
        assert_eq!(join(&mut all, 2, 3, Kind::Shard, &["a"]).len(), 1);
    }

    #[test]
    fn whoever_asks_once_more_waits_like_the_others() {
        let mut all = Subscriptions::default();
        let ids = join(&mut all, 1, 1, Kind::Channel, &["a"]);
        make_ready(&mut all, ids[0]);
        confirmed(&mut all, 1).unwrap();
        assert_eq!(all.waiting_for(ids[0]), []);
        // The server is lost, and nobody has told the client yet.
        assert!(all.topic_mut(ids[0]).unwrap().seats.lose(server()));
        assert!(join(&mut all, 1, 2, Kind::Channel, &["a"]).is_empty());
        assert_eq!(confirmed(&mut all, 1), None);
        assert_eq!(all.waiting_for(ids[0]), [client(1)]);
        make_ready(&mut all, ids[0]);
        assert_eq!(confirmed(&mut all, 1), Some((2, "subscribe a :1".into())));
        assert_eq!(all.waiting_for(ids[0]), []);
    }

    #[test]
    fn sharded_channels_are_counted_by_themselves() {
        let mut all = Subscriptions::default();
        for (sequence, kind) in (0..).zip(Kind::ALL) {
            let ids = join(&mut all, 1, sequence, kind, &["x", "y"]);
            ids.into_iter().for_each(|id| make_ready(&mut all, id));
        }
        let mut said = Vec::new();
        while let Some((_, words)) = confirmed(&mut all, 1) {
            said.push(words);
        }
        let want = [
            "subscribe x :1 subscribe y :2",
            "psubscribe x :3 psubscribe y :4",
            "ssubscribe x :1 ssubscribe y :2",
        ];
        assert_eq!(said, want);
        assert_eq!(left_all(&mut all, 1, Kind::Channel).0, "unsubscribe x :3 unsubscribe y :2");
        assert_eq!(left_all(&mut all, 1, Kind::Channel).0, "unsubscribe $-1 :2");
        assert_eq!(left_all(&mut all, 1, Kind::Shard).0, "sunsubscribe x :1 sunsubscribe y :0");
        assert_eq!(
            left(&mut all, 1, Kind::Pattern, &["y", "z"]).0,
            "punsubscribe y :1 punsubscribe z :1"
        );
        assert_eq!(left(&mut all, 1, Kind::Pattern, &["x"]), ("punsubscribe x :0".into(), 1));
        assert!(all.is_empty() && all.is_stranger(client(1)));
    }

    #[test]
    fn a_topic_ends_with_its_last_member() {
        let mut all = Subscriptions::default();
        let ids = join(&mut all, 1, 1, Kind::Channel, &["a"]);
        make_ready(&mut all, ids[0]);
        join(&mut all, 2, 1, Kind::Channel, &["a"]);
        assert!(confirmed(&mut all, 1).is_some() && confirmed(&mut all, 2).is_some());
        assert_eq!(left(&mut all, 1, Kind::Channel, &["a"]), ("unsubscribe a :0".into(), 0));
        let over = all.end(client(2));
        assert_eq!(over.len(), 1);
        assert_eq!(over[0].seats.confirmed().count(), 1, "somebody has to be told");
        assert!(all.topic(ids[0]).is_none() && all.find(Kind::Channel, b"a").is_none());
    }

    #[test]
    fn a_request_fails_whole() {
        let mut all = Subscriptions::default();
        let kept = join(&mut all, 1, 1, Kind::Channel, &["kept"]);
        make_ready(&mut all, kept[0]);
        assert!(confirmed(&mut all, 1).is_some());
        let ids = join(&mut all, 1, 2, Kind::Channel, &["kept", "b", "c"]);
        let others = join(&mut all, 1, 3, Kind::Channel, &["d", "b"]);
        let other = join(&mut all, 1, 4, Kind::Channel, &["c"]);
        join(&mut all, 2, 9, Kind::Channel, &["b"]);
        assert_eq!((ids.len(), others.len(), other.len()), (2, 1, 0));
        let (failed, over) = all.fail(ids[0]);
        let refused = vec![(client(1), 2), (client(1), 3), (client(2), 9)];
        assert_eq!(failed, Failed { cut: vec![], refused });
        let mut names: Vec<_> = over.iter().map(|topic| topic.name.to_vec()).collect();
        names.sort();
        assert_eq!(names, [b"b", b"d"], "c is still asked for");
        make_ready(&mut all, ids[1]);
        assert_eq!(confirmed(&mut all, 1), Some((4, "subscribe c :2".into())));
        assert!(all.is_stranger(client(2)));
        // Who was subscribed is named, and ends with what is done about it.
        let (failed, over) = all.fail(kept[0]);
        assert_eq!((failed.cut, over.len()), (vec![client(1)], 0));
        assert_eq!(all.end(client(1)).len(), 2);
    }

    #[test]
    fn nobody_may_have_too_many() {
        let mut all = Subscriptions::default();
        let long = [b'x'; 60_000];
        let mut may = |number, names: &[&[u8]]| {
            all.join(client(number), 1, Kind::Channel, names.iter().copied(), 100_000).is_some()
        };
        assert!(may(1, &[&long, b"a"]));
        assert!(!may(1, &[&long, b"a"]));
        assert!(may(1, &[b"b"]) && may(2, &[&long, b"a"]));
        // Those that are known already cost nothing once they are confirmed, and little before.
        assert!((0..10).all(|_| may(1, &[&b"a"[..]; 50])));
        assert!(!may(1, &[&b"a"[..]; 80]));
        let taken_back: usize =
            all.topics().into_iter().map(|id| all.fail(id).0.refused.len()).sum();
        assert_eq!((taken_back, all.is_empty()), (13, true), "what was refused is not there");
    }

    #[test]
    fn confirmations_are_pushes_for_those_who_know_them() {
        let mut all = Subscriptions::default();
        let id = join(&mut all, 1, 1, Kind::Channel, &["a"])[0];
        make_ready(&mut all, id);
        let mut reply = Vec::new();
        all.confirm_next(client(1), Protocol::Resp3, &mut reply);
        all.leave_all(client(1), Kind::Channel, Protocol::Resp3, &mut reply);
        all.leave_all(client(1), Kind::Channel, Protocol::Resp3, &mut reply);
        let want = ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n>3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n\
                    >3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n";
        assert_eq!(String::from_utf8_lossy(&reply), want);
    }

    /// Whether both sides tell the same.
    fn check(all: &Subscriptions) {
        let mut memberships = 0;
        for (id, topic) in all.topics.iter() {
            assert!(!topic.members.is_empty());
            assert_eq!(all.find(topic.kind, &topic.name), Some(id));
            assert_eq!(topic.active, topic.members.iter().filter(|one| one.is_active).count());
            for (place, member) in topic.members.iter().enumerate() {
                assert_eq!(all.subscribers[&member.client].topics.get(&id), Some(&place));
                assert!(member.is_active || all.is_pending(member.client, id));
                memberships += 1;
            }
        }
        let waits = |client: &ClientId| !all.subscribers[client].pending.is_empty();
        assert!(all.waiting.iter().all(waits));
        let mut listed = 0;
        for (client, subscriber) in &all.subscribers {
            listed += subscriber.topics.len();
            let topics = subscriber.topics.iter().map(|(id, place)| {
                let topic = all.topic(*id).unwrap();
                assert_eq!(topic.members[*place].client, *client);
                (topic.kind, topic.members[*place].is_active, cost(&topic.name))
            });
            let topics: Vec<_> = topics.collect();
            let awaited: usize = subscriber.pending.iter().map(|one| one.topics.len()).sum();
            assert_eq!(subscriber.awaited, awaited);
            assert_eq!(all.waiting.contains(client), !subscriber.pending.is_empty());
            assert_eq!(subscriber.bytes, topics.iter().map(|(_, _, cost)| cost).sum::<usize>());
            for kind in Kind::ALL {
                let active = topics.iter().filter(|(of, active, _)| *of == kind && *active);
                assert_eq!(subscriber.counts[kind.index()], active.count());
            }
        }
        assert_eq!(memberships, listed);
        assert_eq!(all.names.iter().map(BTreeMap::len).sum::<usize>(), all.topics.len());
    }

    #[test]
    fn both_sides_agree_whatever_happens() {
        let seed = 0x5eed;
        let mut random = Random::new(seed);
        let names: Vec<String> = (0..12).map(|number| format!("n{number}")).collect();
        for _ in 0..30 {
            let mut all = Subscriptions::default();
            for sequence in 0..400 {
                let one = random.index(8) as u64;
                let kind = Kind::ALL[random.index(3)];
                let chosen: Vec<&str> =
                    (0..1 + random.index(4)).map(|_| &*names[random.index(12)]).collect();
                let mut reply = Vec::new();
                match random.index(12) {
                    0..4 => drop(join(&mut all, one, sequence, kind, &chosen)),
                    4 if all.pending(client(one)) == 0 => drop(left(&mut all, one, kind, &chosen)),
                    5 if all.pending(client(one)) == 0 => drop(left_all(&mut all, one, kind)),
                    6 => drop(all.end(client(one))),
                    7 => {
                        if let Some(id) = all.find(kind, chosen[0].as_bytes()) {
                            let (failed, _) = all.fail(id);
                            failed.cut.into_iter().for_each(|one| drop(all.end(one)));
                            assert!(all.topic(id).is_none(), "seed {seed}");
                        }
                    }
                    8 => {
                        let id = all.find(kind, chosen[0].as_bytes());
                        let seats = id.and_then(|id| all.topic_mut(id)).map(|one| &mut one.seats);
                        assert!(
                            seats.is_none_or(
                                |seats| seats.asked().count() == 0 || seats.lose(server())
                            )
                        );
                    }
                    _ => {
                        if let Some(id) = all.find(kind, chosen[0].as_bytes()) {
                            make_ready(&mut all, id);
                        }
                        for number in 0..8 {
                            while all.confirm_next(client(number), R2, &mut reply).is_some() {}
                        }
                    }
                }
                check(&all);
            }
        }
    }
}
