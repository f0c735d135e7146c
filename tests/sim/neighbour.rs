//! Somebody else who uses the same servers, and not through the proxy: writes to keys that clients
//! watch, and puts something into the queues that they wait for.

use predixy::base::random::Random;
use predixy::sys::sim::World;

use super::commands::tagged_value;
use super::ledger::{Kind, Ledger};
use super::listening::{all_channels, channel};
use super::model::Model;
use super::plan::Plan;

/// It leaves a queue alone that has so many elements: who waits for one finds one.
const QUEUE_MAX: usize = 20;

pub struct Neighbour {
    random: Random,
    /// Names, and whether they are lists.
    keys: Vec<(Vec<u8>, bool)>,
    next_us: u64,
    every_us: u64,
    count: u32,
    publishes: bool,
    /// It publishes nothing until then: the network has to carry it, for everybody.
    publishes_us: u64,
    is_narrow: bool,
    /// The key that was written last, when all have their turn; else which one is chance.
    next_in_turn: Option<usize>,
    has_stopped: bool,
}

/// The number of the client that it is in what it publishes.
const SELF: usize = 99;

impl Neighbour {
    pub fn new<'a>(ledgers: impl Iterator<Item = &'a Ledger>, plan: &Plan) -> Neighbour {
        let mut keys = Vec::new();
        for ledger in ledgers {
            let all = (0..ledger.len()).map(|key| ledger.key(key));
            let shared = all.filter(|key| matches!(key.kind, Kind::Watched | Kind::Queue));
            keys.extend(shared.map(|key| (key.name.clone(), key.kind == Kind::Queue)));
        }
        Neighbour {
            random: World::random(),
            keys,
            next_us: 0,
            every_us: plan.neighbour_us,
            count: 0,
            publishes: plan.has_channels,
            publishes_us: 0,
            is_narrow: plan.is_narrow(),
            next_in_turn: None,
            has_stopped: false,
        }
    }

    /// Writes, if it is time.
    pub fn turn(&mut self, model: &mut Model) {
        if self.has_stopped || World::now_us() < self.next_us {
            return;
        }
        if self.publishes && self.random.one_in(2) && World::now_us() >= self.publishes_us {
            self.publishes_us = World::now_us() + if self.is_narrow { 1_000_000 } else { 4_000 };
            let (number, sharded) = (self.random.index(64), self.random.one_in(3));
            self.publish(model, &channel(number, sharded), sharded);
        } else if self.next_us > 0 {
            self.count += 1;
            let place = match &mut self.next_in_turn {
                Some(next) => {
                    *next = (*next + 1) % self.keys.len();
                    *next
                }
                None => self.random.index(self.keys.len()),
            };
            let (name, is_list) = &self.keys[place];
            World::note(format_args!("neighbour: {} {}", self.count, name.escape_ascii()));
            if !*is_list || model.length(name) < QUEUE_MAX {
                model.interfere(name, &format!("neighbour{}", self.count), *is_list);
            }
        }
        self.next_us = World::now_us() + 1 + self.random.below(2 * self.every_us);
        World::alarm(self.next_us);
    }

    /// From now on takes one key after the other, so that whoever waits for a queue gets something.
    pub fn take_turns(&mut self) {
        self.next_in_turn = Some(0);
    }

    /// Publishes something, somewhere where that is possible.
    fn publish(&mut self, model: &mut Model, channel: &[u8], sharded: bool) {
        let stations = model.stations(channel, sharded);
        let Some(node) = stations.get(self.random.index(stations.len())).copied() else { return };
        self.count += 1;
        let length = match (self.is_narrow, self.random.one_in(20)) {
            (true, _) => 0,
            (false, true) => 5_000,
            (false, false) => self.random.index(100),
        };
        let payload = tagged_value((SELF, self.count), channel, length);
        World::note(format_args!(
            "neighbour: publishes {} on {} at {node}",
            self.count,
            channel.escape_ascii()
        ));
        model.publish(node, channel, &payload, sharded);
    }

    /// Publishes something on every channel.
    pub fn publish_everywhere(&mut self, model: &mut Model) {
        for (channel, sharded) in all_channels() {
            self.publish(model, &channel, sharded);
        }
    }

    /// Writes nothing any more.
    pub fn stop(&mut self) {
        self.has_stopped = true;
    }
}
