//! What is published: every message that some server was given, and which servers pass it on.
//!
//! In a cluster all nodes pass on what one of them is given, and a sharded channel lives with its
//! slot; in groups a server has its own channels, and its replicas hear them too. Nothing is on its
//! way between servers: whoever is connected hears a message at once or never, so that there is one
//! order of all messages. Who is subscribed is the business of the connections.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::cluster::slot_of;
use super::commands::tag_of_value;
use super::data::Tag;
use super::model::{Model, Shape};
use super::wire::{self, shown};

/// What somebody can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Channel,
    Pattern,
    Shard,
}

/// A channel, a pattern or a sharded channel.
pub type Topic = (Kind, Vec<u8>);

/// One message. Its number is its place among all of them.
pub struct Publication {
    pub channel: Vec<u8>,
    pub is_sharded: bool,
    pub payload: Rc<[u8]>,
    /// What its publisher was told.
    pub count: i64,
    tag: Tag,
}

/// Everything that was ever published.
#[derive(Default)]
pub struct Radio {
    all: Vec<Publication>,
    by_tag: BTreeMap<Tag, usize>,
    /// What each server has heard, in its order.
    heard: Vec<Vec<usize>>,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];

    /// The word that begins a subscription.
    pub fn subscribe(self) -> &'static str {
        ["subscribe", "psubscribe", "ssubscribe"][self as usize]
    }

    /// The word that ends it.
    pub fn unsubscribe(self) -> &'static str {
        ["unsubscribe", "punsubscribe", "sunsubscribe"][self as usize]
    }

    /// How a message begins.
    pub fn message(self) -> &'static str {
        ["message", "pmessage", "smessage"][self as usize]
    }

    /// Whether the confirmations of two kinds count together.
    pub fn counts_with(self, other: Kind) -> bool {
        (self == Kind::Shard) == (other == Kind::Shard)
    }
}

impl Publication {
    /// Whether who is subscribed to this hears it.
    pub fn is_for(&self, (kind, name): &Topic) -> bool {
        match kind {
            Kind::Channel => !self.is_sharded && self.channel == *name,
            Kind::Shard => self.is_sharded && self.channel == *name,
            Kind::Pattern => !self.is_sharded && matches(name, &self.channel),
        }
    }

    /// The message for who is subscribed to this.
    pub fn message(&self, (kind, name): &Topic) -> Vec<u8> {
        let word = kind.message().as_bytes();
        match kind {
            Kind::Pattern => wire::command(&[word, name, &self.channel, &self.payload]),
            Kind::Channel | Kind::Shard => wire::command(&[word, &self.channel, &self.payload]),
        }
    }
}

/// Whether a channel is one of a pattern's, which ends with its only star.
fn matches(pattern: &[u8], channel: &[u8]) -> bool {
    pattern.strip_suffix(b"*").is_some_and(|prefix| channel.starts_with(prefix))
}

impl Radio {
    pub fn new(servers: usize) -> Radio {
        Radio { heard: vec![Vec::new(); servers], ..Radio::default() }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn publication(&self, number: usize) -> &Publication {
        &self.all[number]
    }

    /// The messages from a number on.
    pub fn since(&self, number: usize) -> impl Iterator<Item = (usize, &Publication)> {
        self.all.iter().enumerate().skip(number)
    }

    /// The message of a request.
    pub fn find(&self, tag: Tag) -> Option<usize> {
        self.by_tag.get(&tag).copied()
    }

    /// How many messages a server has heard.
    pub fn heard(&self, node: usize) -> usize {
        self.heard[node].len()
    }

    /// What a server has heard as its `place`th.
    pub fn heard_at(&self, node: usize, place: usize) -> Option<&Publication> {
        self.heard[node].get(place).map(|number| &self.all[*number])
    }

    /// Panics if a client has sent something later for the same channel that is out before this.
    pub fn check_order(&self, (client, number): Tag, place: usize) {
        let this = &self.all[place];
        let is_early = |other: &&Publication| {
            let (of, later) = other.tag;
            of == client
                && later > number
                && other.channel == this.channel
                && other.is_sharded == this.is_sharded
        };
        if let Some(early) = self.all[..place].iter().find(is_early) {
            panic!("{:?} was published before {:?}", early.tag, this.tag);
        }
    }
}

impl Model {
    /// A server is told to publish something: how many are said to have heard it.
    pub fn publish(&mut self, node: usize, channel: &[u8], payload: &[u8], sharded: bool) -> i64 {
        let tag = tag_of_value(channel, payload);
        let radio = &mut self.radio;
        let number = radio.all.len();
        let twice = radio.by_tag.insert(tag, number);
        assert!(twice.is_none(), "{tag:?} was published twice on {}", shown(channel));
        let hears = |other: &usize| match &self.shape {
            _ if *other == node => true,
            Shape::Cluster(_) => {
                !sharded && !self.nodes[node].is_isolated && !self.nodes[*other].is_isolated
            }
            Shape::Groups(_) => {
                self.data.master_of(*other) == Some(node) && self.data.is_linked(*other)
            }
        };
        for other in (0..self.nodes.len()).filter(hears).collect::<Vec<_>>() {
            radio.heard[other].push(number);
        }
        // Any number that nobody else is told.
        let count = i64::try_from(number).unwrap_or(0) * 3 + 1;
        let (channel, payload) = (channel.to_vec(), Rc::from(payload));
        radio.all.push(Publication { channel, is_sharded: sharded, payload, count, tag });
        count
    }

    /// What keeps a server from having to do with a sharded channel.
    pub fn refer_shard(&self, node: usize, channel: &[u8]) -> Option<Vec<u8>> {
        let Shape::Cluster(slots) = &self.shape else { return None };
        if !self.nodes[node].is_member {
            return Some(b"-CLUSTERDOWN Hash slot not served\r\n".to_vec());
        }
        if self.nodes[node].is_isolated {
            return Some(b"-CLUSTERDOWN The cluster is down\r\n".to_vec());
        }
        let slot = slot_of(channel);
        let owner = slots.believed_owner(node, slot);
        let is_here = owner == node && self.data.master_of(node).is_none();
        let address = self.nodes[owner].address;
        (!is_here).then(|| format!("-MOVED {slot} {address}\r\n").into_bytes())
    }

    /// Panics if a channel does not belong to the group of this server.
    pub fn check_channel(&self, node: usize, channel: &[u8]) {
        if let Shape::Groups(groups) = &self.shape {
            let group = groups.group_of(channel);
            let is_here = group.members.contains(&node);
            assert!(is_here, "{} came to another group than {}", shown(channel), group.name);
        }
    }

    /// Where somebody else can publish on a channel, if `any` says nothing against it.
    pub fn stations(&self, channel: &[u8], sharded: bool) -> Vec<usize> {
        match &self.shape {
            Shape::Groups(groups) => vec![groups.group_of(channel).master],
            Shape::Cluster(slots) if sharded => vec![slots.owner(slot_of(channel))],
            Shape::Cluster(_) => {
                let is_well = |node: &usize| {
                    let node = &self.nodes[*node];
                    node.is_member && !node.is_isolated && !node.is_failed
                };
                (0..self.nodes.len()).filter(is_well).collect()
            }
        }
    }
}
