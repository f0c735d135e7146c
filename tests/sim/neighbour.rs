//! Somebody else who uses the same servers, and not through the proxy: writes to keys that clients
//! watch, and puts something into the queues that they wait for.

use predixy::base::random::Random;
use predixy::sys::sim::World;

use super::ledger::{Kind, Ledger};
use super::model::Model;

/// It leaves a queue alone that has so many elements: who waits for one finds one.
const QUEUE_MAX: usize = 20;

pub struct Neighbour {
    random: Random,
    /// Names, and whether they are lists.
    keys: Vec<(Vec<u8>, bool)>,
    next_us: u64,
    every_us: u64,
    count: u32,
    has_stopped: bool,
}

impl Neighbour {
    pub fn new<'a>(ledgers: impl Iterator<Item = &'a Ledger>, every_us: u64) -> Neighbour {
        let mut keys = Vec::new();
        for ledger in ledgers {
            let all = (0..ledger.len()).map(|key| ledger.key(key));
            let shared = all.filter(|key| matches!(key.kind, Kind::Watched | Kind::Queue));
            keys.extend(shared.map(|key| (key.name.clone(), key.kind == Kind::Queue)));
        }
        let random = World::random();
        Neighbour { random, keys, next_us: 0, every_us, count: 0, has_stopped: false }
    }

    /// Writes, if it is time.
    pub fn turn(&mut self, model: &mut Model) {
        if self.has_stopped || World::now_us() < self.next_us {
            return;
        }
        if self.next_us > 0 {
            self.count += 1;
            let (name, is_list) = &self.keys[self.random.index(self.keys.len())];
            World::note(format_args!("neighbour: {} {}", self.count, name.escape_ascii()));
            if !*is_list || model.length(name) < QUEUE_MAX {
                model.interfere(name, &format!("neighbour{}", self.count), *is_list);
            }
        }
        self.next_us = World::now_us() + 1 + self.random.below(2 * self.every_us);
        World::alarm(self.next_us);
    }

    /// Writes nothing any more.
    pub fn stop(&mut self) {
        self.has_stopped = true;
    }
}
