//! What a simulated client is subscribed to, and what it makes of messages.
//!
//! A client that speaks RESP2 does nothing else while it is subscribed; one that speaks RESP3 goes on
//! as before. Every message is held against the servers' `Radio`: it is one, for somebody who is
//! subscribed, in the order of its channel, and once. When everything has come to rest, whoever is
//! still connected has heard all that was published since it was confirmed, unless the servers that
//! tell about it have changed meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use super::asking::Expect;
use super::client::Client;
use super::commands::{tag_of_value, tagged_value};
use super::ledger::Fate;
use super::model::Model;
use super::plan::Plan;
use super::radio::{Kind, Topic};
use super::session::Session;
use super::wire::{Value, shown};

/// What a connection is subscribed to.
#[derive(Default)]
pub(super) struct Ear {
    /// What is confirmed.
    topics: BTreeMap<Topic, Heard>,
    /// What will be, once everything that was sent is answered; less if something is refused.
    planned: BTreeSet<Topic>,
    pub speaks_resp3: bool,
}

/// What was heard of a topic.
struct Heard {
    /// From this message on everything has to be.
    from: usize,
    all: BTreeSet<usize>,
    /// The last on each channel.
    last: BTreeMap<Vec<u8>, usize>,
}

/// Channels and sharded channels, of all clients.
const CHANNELS: usize = 6;

/// The channels that are published on.
pub fn channel(number: usize, sharded: bool) -> Vec<u8> {
    let kind = if sharded { "shard" } else { "channel" };
    format!("{kind}{}", number % CHANNELS).into_bytes()
}

/// All of them.
pub fn all_channels() -> impl Iterator<Item = (Vec<u8>, bool)> {
    let numbers = (0..CHANNELS).flat_map(|number| [(number, false), (number, true)]);
    numbers.map(|(number, sharded)| (channel(number, sharded), sharded))
}

impl Ear {
    /// Whether it is subscribed to anything, or will be.
    pub fn listens(&self) -> bool {
        !self.planned.is_empty() || !self.topics.is_empty()
    }

    /// What it is subscribed to.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.keys()
    }

    /// How many subscriptions a confirmation of this kind tells.
    fn count(&self, kind: Kind) -> usize {
        self.topics.keys().filter(|(other, _)| other.counts_with(kind)).count()
    }

    fn of_kind(&self, kind: Kind) -> usize {
        self.topics.keys().filter(|(other, _)| *other == kind).count()
    }

    /// It is subscribed to nothing any more.
    pub fn close(&mut self) {
        self.topics.clear();
    }

    /// It will be subscribed to nothing.
    pub fn plan_to_close(&mut self) {
        self.planned.clear();
    }

    /// What was published so far need not have been heard.
    fn forgive(&mut self, model: &Model, is_forgiven: impl Fn(Kind) -> bool) {
        for ((kind, _), heard) in &mut self.topics {
            if is_forgiven(*kind) {
                heard.from = model.radio.len();
            }
        }
    }

    /// A message that should have been heard and was not.
    fn missing(&self, model: &Model) -> Option<String> {
        self.topics.iter().find_map(|(topic, heard)| {
            let mut due = model.radio.since(heard.from);
            let missed = due.find(|(number, one)| one.is_for(topic) && !heard.all.contains(number));
            let (number, one) = missed?;
            Some(format!("{number} on {} for {topic:?}", shown(&one.channel)))
        })
    }
}

impl Client {
    fn ear(&mut self) -> &mut Ear {
        match &mut self.connection {
            Some(open) => &mut open.ear,
            None => panic!("there is no connection"),
        }
    }

    fn any_topic(&mut self) -> Topic {
        let kind = Kind::ALL[self.random.index(3)];
        let number = self.random.index(CHANNELS);
        let patterns = ["channel*", "channel1*", "chan*", "*", "c*", "nothing*"];
        match kind {
            Kind::Pattern => (kind, patterns[number].as_bytes().to_vec()),
            Kind::Channel | Kind::Shard => (kind, channel(number, kind == Kind::Shard)),
        }
    }

    /// Subscribes to some more of a kind.
    pub(super) fn subscribe(&mut self) {
        let (kind, name) = self.any_topic();
        let mut names = vec![name];
        while self.random.one_in(2) {
            let (other, name) = self.any_topic();
            if other == kind {
                names.push(name);
            }
        }
        let ear = self.ear();
        ear.planned.extend(names.iter().map(|name| (kind, name.clone())));
        let is_limited = !ear.speaks_resp3;
        let mut words = vec![kind.subscribe().as_bytes().to_vec()];
        words.extend(names.iter().cloned());
        self.request(&words, Vec::new(), Expect::Subscribed { kind, names, confirmed: 0 });
        if is_limited {
            self.be_in(Some(Session::Listening));
        }
    }

    /// Goes on with being subscribed.
    pub(super) fn go_on_listening(&mut self, plan: &Plan) {
        let text = format!("c{}.{}", self.index, self.next_number).into_bytes();
        match self.random.below(12) {
            0..3 => self.subscribe(),
            3..6 => self.unsubscribe_some(),
            6 => self.unsubscribe_all(),
            7 if !plan.allows.lossy => {
                let want = "ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING \
                            / QUIT / RESET are allowed in this context";
                self.request(&[&b"GET"[..], b"k"], vec![], Expect::error(want));
            }
            8 => self.request(&[b"PING"], vec![], Expect::Pong(Vec::new())),
            _ => self.request(&[&b"PING"[..], &text], vec![], Expect::Pong(text.clone())),
        }
        if self.ear().planned.is_empty() {
            self.be_in(None);
        }
    }

    /// Ends one subscription, or another one that it does not have.
    pub(super) fn unsubscribe_some(&mut self) {
        let planned = &self.ear().planned;
        let known = planned.iter().next().cloned();
        let (kind, name) = match known {
            Some(known) if !self.random.one_in(4) => known,
            _ => self.any_topic(),
        };
        self.ear().planned.remove(&(kind, name.clone()));
        let words = [kind.unsubscribe().as_bytes(), &name];
        let expect = Expect::Unsubscribed { kind, name: Some(name.clone()), left: 1 };
        self.request(&words, Vec::new(), expect);
    }

    /// Ends all subscriptions of a kind, or of all kinds.
    pub(super) fn unsubscribe_all(&mut self) {
        let some = self.random.index(4);
        let kinds: &[Kind] = if some < 3 { &Kind::ALL[some..=some] } else { &Kind::ALL };
        for kind in kinds {
            self.ear().planned.retain(|(other, _)| other != kind);
            let expect = Expect::Unsubscribed { kind: *kind, name: None, left: 0 };
            self.request(&[kind.unsubscribe()], Vec::new(), expect);
        }
    }

    /// Publishes something.
    pub(super) fn publish(&mut self, plan: &Plan) {
        let sharded = self.random.one_in(3);
        let channel = channel(self.random.index(CHANNELS), sharded);
        let most = match (plan.is_narrow(), self.random.one_in(6)) {
            (true, _) => 20,
            (false, true) => plan.value_max.min(20_000),
            (false, false) => 100,
        };
        let length = self.random.index(most);
        let payload = tagged_value((self.index, self.next_number), &channel, length);
        let word: &[u8] = if sharded { b"SPUBLISH" } else { b"publish" };
        self.published.insert(self.next_number, Fate::Pending);
        self.request(&[word, &channel, &payload], Vec::new(), Expect::Published);
    }

    /// It is known how a message went.
    pub(super) fn settle_published(&mut self, model: &Model, number: u32, fate: Fate) {
        self.published.insert(number, fate);
        let place = model.radio.find((self.index, number));
        match (fate, place) {
            (Fate::Done, Some(place)) => model.radio.check_order((self.index, number), place),
            (Fate::Done, None) => panic!("{number} is said to be published and was not"),
            (Fate::Never, Some(_)) => panic!("{number} is said to be never sent but was published"),
            (Fate::Never | Fate::Maybe | Fate::Pending, _) => {}
        }
    }

    /// When everything is over: what was published is what the client was told.
    pub fn check_published(&self, model: &Model) {
        for (number, fate) in &self.published {
            let is_out = model.radio.find((self.index, *number)).is_some();
            let fits = match fate {
                Fate::Done => is_out,
                Fate::Never => !is_out,
                Fate::Maybe => true,
                Fate::Pending => false,
            };
            assert!(fits, "client {}: {number} is {fate:?}, published: {is_out}", self.index);
        }
    }

    /// Takes what is no reply of its own: a message, or one confirmation of several. False if it is
    /// something else.
    pub(super) fn take_news(&mut self, model: &Model, value: &Value) -> bool {
        let index = self.index;
        let Some(open) = &mut self.connection else { return false };
        let (items, is_push) = match value {
            Value::Push(items) => (items, true),
            Value::Array(items) => (items, false),
            _ => return false,
        };
        let Some(Value::Bulk(word)) = items.first() else { return false };
        let kind_of = |word_of: fn(Kind) -> &'static str| {
            Kind::ALL.into_iter().find(|kind| word_of(*kind).as_bytes() == word)
        };
        let is_message = kind_of(Kind::message);
        let confirms = kind_of(Kind::subscribe).or(kind_of(Kind::unsubscribe));
        if is_message.is_none() && confirms.is_none() {
            assert!(!is_push, "client {index} was told {value:?}");
            return false;
        }
        let speaks_resp3 = open.ear.speaks_resp3;
        assert_eq!(is_push, speaks_resp3, "client {index} got {value:?} in the wrong protocol");
        match is_message {
            Some(kind) => self.hear_message(model, kind, items),
            None => self.hear_confirmation(model, items),
        }
        true
    }

    fn hear_message(&mut self, model: &Model, kind: Kind, items: &[Value]) {
        let index = self.index;
        let words: Vec<&[u8]> = items[1..].iter().filter_map(Value::bytes).collect();
        let (name, channel, payload) = match (kind, &words[..]) {
            (Kind::Pattern, [name, channel, payload]) => (*name, *channel, *payload),
            (Kind::Channel | Kind::Shard, [channel, payload]) => (*channel, *channel, *payload),
            _ => panic!("client {index} got the message {items:?}"),
        };
        let topic = (kind, name.to_vec());
        let Some(heard) = self.ear().topics.get_mut(&topic) else {
            panic!("client {index} got {items:?} and is not subscribed to it");
        };
        let number = model.radio.find(tag_of_value(channel, payload));
        let number = number.unwrap_or_else(|| panic!("client {index}: nobody published {items:?}"));
        let publication = model.radio.publication(number);
        let fits = publication.is_for(&topic) && publication.channel == channel;
        assert!(fits, "client {index} got {items:?}, which is not for {topic:?}");
        let is_new = heard.all.insert(number);
        assert!(is_new, "client {index} got {number} twice for {topic:?}");
        let last = heard.last.insert(channel.to_vec(), number);
        assert!(
            last.is_none_or(|last| last < number),
            "client {index} got {number} after {last:?} for {topic:?}"
        );
    }

    fn hear_confirmation(&mut self, model: &Model, items: &[Value]) {
        let index = self.index;
        let Some(open) = &mut self.connection else { return };
        let [Value::Bulk(word), name, Value::Integer(count)] = items else {
            panic!("client {index} was confirmed {items:?}");
        };
        let name = name.bytes().map(<[u8]>::to_vec);
        let Some(front) = open.expected.front_mut() else {
            panic!("client {index} was confirmed {items:?}, which it did not ask for");
        };
        let (kind, is_over) = match &mut front.expect {
            Expect::Subscribed { kind, names, confirmed } => {
                assert_eq!(kind.subscribe().as_bytes(), word, "client {index}: {}", front.number);
                let want = &names[*confirmed];
                assert_eq!(name.as_ref(), Some(want), "client {index}: {}", front.number);
                let from = model.radio.len();
                let heard = || Heard { from, all: BTreeSet::new(), last: BTreeMap::new() };
                open.ear.topics.entry((*kind, want.clone())).or_insert_with(heard);
                *confirmed += 1;
                (*kind, *confirmed == names.len())
            }
            Expect::Unsubscribed { kind, name: want, left } => {
                assert_eq!(kind.unsubscribe().as_bytes(), word, "client {index}: {}", front.number);
                if want.is_none() && *left == 0 {
                    *left = open.ear.of_kind(*kind).max(1);
                }
                match (want, name) {
                    (Some(want), name) => {
                        assert_eq!(Some(&*want), name.as_ref(), "client {index}: {}", front.number);
                        open.ear.topics.remove(&(*kind, want.clone()));
                    }
                    (None, Some(name)) => {
                        let known = open.ear.topics.remove(&(*kind, name));
                        assert!(known.is_some(), "client {index} did not have {items:?}");
                    }
                    (None, None) => {
                        let had = open.ear.of_kind(*kind);
                        assert_eq!(had, 0, "client {index} had more than {items:?}");
                    }
                }
                *left -= 1;
                (*kind, *left == 0)
            }
            _ => panic!("client {index} got {items:?} for {}", front.number),
        };
        let want = i64::try_from(open.ear.count(kind)).unwrap_or(0);
        assert_eq!(*count, want, "client {index}: {items:?}");
        if is_over {
            open.expected.pop_front();
            self.tally.replies += 1;
        }
    }

    /// It may have missed what was published so far, of the kinds that are forgiven.
    pub fn forgive(&mut self, model: &Model, is_forgiven: impl Fn(Kind) -> bool) {
        if let Some(open) = &mut self.connection {
            open.ear.forgive(model, is_forgiven);
        }
    }

    /// What it should have heard and has not.
    pub fn missing(&self, model: &Model) -> Option<String> {
        let missing = self.connection.as_ref()?.ear.missing(model)?;
        Some(format!("client {} has not heard {missing}", self.index))
    }

    /// What it is subscribed to.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.connection.iter().flat_map(|open| open.ear.topics())
    }
}
