//! A Redis Cluster: who owns which slot, who follows whom, and who knows it already.
//!
//! It follows the rules of Redis Cluster for MOVED, ASK, ASKING, TRYAGAIN and READONLY. Every node
//! has a view of its own, and may be late to learn.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use predixy::sys::sim::World;

use super::model::{Model, Standing};
use super::plan::Plan;
use super::wire;

pub const SLOTS: usize = 16384;

/// What is so, and what each node believes.
pub struct Slots {
    truth: View,
    views: Vec<View>,
    migrating: BTreeMap<u16, Migration>,
    /// The highest that was given.
    epoch: u64,
    /// The slots of each node as they were described last, and who owned them then.
    described: RefCell<(Rc<Vec<u8>>, Vec<String>)>,
}

#[derive(Clone)]
struct View {
    owners: Rc<Vec<u8>>,
    follows: Vec<Option<usize>>,
    epochs: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Migration {
    from: usize,
    to: usize,
}

/// The slot of a key.
pub fn slot_of(key: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(tag_of(key)) % 16384
}

/// What of a key is hashed.
pub fn tag_of(key: &[u8]) -> &[u8] {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let length = rest.iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &rest[..length])
    });
    tag.unwrap_or(key)
}

impl View {
    /// The slots of each node, in ranges.
    fn slots(&self, nodes: usize) -> Vec<String> {
        let mut slots = vec![String::new(); nodes];
        let mut first = 0;
        for end in 1..=SLOTS {
            let owner = self.owners[first];
            if end == SLOTS || self.owners[end] != owner {
                slots[usize::from(owner)] += &match end - first {
                    1 => format!(" {first}"),
                    _ => format!(" {first}-{}", end - 1),
                };
                first = end;
            }
        }
        slots
    }
}

impl Slots {
    /// The masters share the slots; the others follow them or have not joined.
    pub fn new(servers: usize, plan: &Plan) -> Slots {
        let owner = |slot| u8::try_from(slot * plan.masters / SLOTS).unwrap_or(0);
        let follows = (0..servers).map(|node| {
            (plan.masters..plan.members()).contains(&node).then(|| plan.master_of(node))
        });
        let truth = View {
            owners: Rc::new((0..SLOTS).map(owner).collect()),
            follows: follows.collect(),
            epochs: (0..servers as u64).map(|node| node + 1).collect(),
        };
        let views = vec![truth.clone(); servers];
        let described = RefCell::default();
        Slots { truth, views, migrating: BTreeMap::new(), epoch: servers as u64, described }
    }

    pub fn owner(&self, slot: u16) -> usize {
        usize::from(self.truth.owners[usize::from(slot)])
    }

    /// Who owns a slot, as a node believes.
    pub fn believed_owner(&self, node: usize, slot: u16) -> usize {
        usize::from(self.views[node].owners[usize::from(slot)])
    }

    /// Whether a node is a master, as all will know in the end.
    pub fn is_master(&self, node: usize) -> bool {
        self.truth.follows[node].is_none()
    }

    pub fn is_migrating(&self, slot: u16) -> bool {
        self.migrating.contains_key(&slot)
    }

    /// The slots that migrate.
    pub fn migrations(&self) -> Vec<u16> {
        self.migrating.keys().copied().collect()
    }

    /// Whether a node may hold a key rightly.
    pub fn may_hold(&self, node: usize, key: &[u8]) -> bool {
        let slot = slot_of(key);
        let takes = |migration: &Migration| migration.to == node;
        self.owner(slot) == node || self.migrating.get(&slot).is_some_and(takes)
    }

    /// Who holds a key.
    pub fn holder(&self, model: &Model, key: &[u8]) -> usize {
        let slot = slot_of(key);
        let has = |node: &usize| model.data.peek(*node, key).is_some();
        match self.migrating.get(&slot) {
            Some(Migration { to, .. }) if has(to) => *to,
            _ => self.owner(slot),
        }
    }

    /// Each of two nodes believes that the other one has a slot.
    pub fn confuse(&mut self, slot: u16, one: usize, other: usize) {
        for (node, owner) in [(one, other), (other, one)] {
            let owners = Rc::make_mut(&mut self.views[node].owners);
            owners[usize::from(slot)] = u8::try_from(owner).unwrap_or(0);
        }
    }

    fn give(&mut self, slot: u16, to: usize) {
        let new = u8::try_from(to).unwrap_or(0);
        Rc::make_mut(&mut self.truth.owners)[usize::from(slot)] = new;
        self.epoch += 1;
        self.truth.epochs[to] = self.epoch;
    }

    /// Lets a node know who owns one slot.
    fn tell(&mut self, node: usize, slot: u16) {
        let (owner, epochs) = (self.truth.owners[usize::from(slot)], &self.truth.epochs);
        let view = &mut self.views[node];
        Rc::make_mut(&mut view.owners)[usize::from(slot)] = owner;
        view.epochs.clone_from(epochs);
    }
}

impl Model {
    /// Gives a slot and its keys to another node at once. The two know, the others do not.
    pub fn move_slot(&mut self, slot: u16, to: usize) {
        let from = self.slots().owner(slot);
        let migration = self.slots_mut().migrating.remove(&slot);
        for source in [Some(from), migration.map(|migration| migration.to)].into_iter().flatten() {
            if source == to {
                continue;
            }
            for key in self.data.known_keys(source, |key| slot_of(key) == slot) {
                self.data.move_key(&key, source, to);
            }
        }
        let slots = self.slots_mut();
        slots.give(slot, to);
        for node in [from, to] {
            slots.tell(node, slot);
        }
    }

    /// Begins to give a slot to another node.
    pub fn begin_migration(&mut self, slot: u16, to: usize) {
        let from = self.slots().owner(slot);
        if from != to && !self.nodes[from].is_failed {
            let slots = self.slots_mut();
            slots.tell(to, slot);
            slots.migrating.insert(slot, Migration { from, to });
        }
    }

    /// Migrates one more key of a slot; false when there is none.
    pub fn migrate_key(&mut self, slot: u16) -> bool {
        let Some(Migration { from, to }) = self.slots().migrating.get(&slot).copied() else {
            return false;
        };
        let key = self.data.keys(from).find(|key| slot_of(key) == slot).map(<[u8]>::to_vec);
        let Some(key) = key else { return false };
        self.data.move_key(&key, from, to);
        true
    }

    /// Ends a migration whose keys have all gone.
    pub fn finish_migration(&mut self, slot: u16) {
        if let Some(Migration { to, .. }) = self.slots().migrating.get(&slot).copied() {
            self.move_slot(slot, to);
        }
    }

    /// Breaks off the migrations in which a node takes part: the owner gets back what has gone.
    pub fn break_off_migrations(&mut self, node: usize) {
        let migrating = self.slots().migrating.clone();
        for (slot, Migration { from, to }) in migrating {
            if from == node || to == node {
                self.slots_mut().migrating.remove(&slot);
                for key in self.data.known_keys(to, |key| slot_of(key) == slot) {
                    self.data.move_key(&key, to, from);
                }
            }
        }
    }

    /// Lets a node know what is so; if it has been made a replica it begins to be one.
    pub fn enlighten(&mut self, node: usize) {
        self.nodes[node].is_isolated = false;
        let slots = self.slots_mut();
        slots.views[node] = slots.truth.clone();
        let master = slots.truth.follows[node];
        if let Some(master) = master.filter(|_| self.data.master_of(node) != master) {
            self.data.follow(node, master, self.sync_us);
        }
    }

    /// Gives all that a dead node without replicas had to another master, without loss.
    pub fn inherit(&mut self, dead: usize, heir: usize) {
        self.break_off_migrations(dead);
        self.nodes[dead].is_failed = true;
        for slot in (0..16384).filter(|slot| self.slots().owner(*slot) == dead).collect::<Vec<_>>()
        {
            let slots = self.slots_mut();
            slots.give(slot, heir);
            slots.tell(heir, slot);
        }
        for key in self.data.known_keys(dead, |_| true) {
            self.data.move_key(&key, dead, heir);
        }
    }

    /// Makes a replica the master in place of its own. What it does not have is lost.
    pub fn promote_in_cluster(&mut self, old: usize, heir: usize) {
        self.break_off_migrations(old);
        let owned: Vec<u16> = (0..16384).filter(|slot| self.slots().owner(*slot) == old).collect();
        let owners = Rc::clone(&self.slots().truth.owners);
        let is_owned = |key: &[u8]| usize::from(owners[usize::from(slot_of(key))]) == old;
        self.data.take_over(old, heir, is_owned);
        let slots = self.slots_mut();
        for slot in owned {
            slots.give(slot, heir);
        }
        for node in 0..slots.views.len() {
            if node == old || slots.truth.follows[node] == Some(old) {
                slots.truth.follows[node] = Some(heir);
            }
        }
        slots.truth.follows[heir] = None;
        self.enlighten(heir);
    }

    /// The same at the wish of an administrator: nothing is lost, and both know.
    pub fn swap_in_cluster(&mut self, old: usize, heir: usize) {
        self.data.catch_up_fully(heir);
        self.promote_in_cluster(old, heir);
        self.enlighten(old);
        self.data.catch_up_fully(old);
    }

    pub fn settle_cluster(&mut self) {
        for slot in self.slots().migrations() {
            self.finish_migration(slot);
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_member {
                self.enlighten(node);
            }
        }
    }

    /// The answer of a node to CLUSTER NODES.
    pub fn describe(&self, asked: usize) -> String {
        let mut text = String::new();
        let view = &self.slots().views[asked];
        let mut described = self.slots().described.borrow_mut();
        if !Rc::ptr_eq(&described.0, &view.owners) {
            *described = (Rc::clone(&view.owners), view.slots(self.nodes.len()));
        }
        let slots = &described.1;
        for (index, node) in self.nodes.iter().enumerate() {
            let is_myself = index == asked;
            // Who is no member was reset, and knows itself only.
            if !(is_myself || self.nodes[asked].is_member && node.is_member) {
                continue;
            }
            let follows = match is_myself {
                true => self.data.master_of(index),
                false => view.follows[index].filter(|_| !node.is_failed),
            };
            let mut flags = String::new();
            if is_myself {
                flags += "myself,";
            }
            flags += if follows.is_some() { "slave" } else { "master" };
            if node.is_failed && !is_myself {
                flags += ",fail";
            }
            let is_away = node.is_failed || self.nodes[asked].is_isolated;
            let link = if is_away && !is_myself { "disconnected" } else { "connected" };
            let address = node.address;
            let port = u32::from(address.port()) + 10_000;
            let master =
                follows.map_or("-".to_owned(), |master| format!("{:040x}", master + 0xabc));
            let epoch = view.epochs[follows.unwrap_or(index)];
            text += &format!(
                "{:040x} {address}@{port} {flags} {master} 0 0 {epoch} {link}",
                index + 0xabc
            );
            if node.is_member {
                text += &slots[index];
            }
            text.push('\n');
        }
        text
    }

    /// Where else a request has to go, as the node says it.
    pub fn refer_by_slot(
        &self,
        node: usize,
        standing: Standing,
        keys: &[&[u8]],
        real: &[&[u8]],
        writes: bool,
    ) -> Option<Vec<u8>> {
        let slot = slot_of(keys[0]);
        if let Some(other) = keys.iter().find(|key| slot_of(key) != slot) {
            panic!("one request for two slots: {} {}", wire::shown(keys[0]), wire::shown(other));
        }
        let here = &self.nodes[node];
        let view = &self.slots().views[node];
        let owner = usize::from(view.owners[usize::from(slot)]);
        let missing = real.iter().filter(|key| self.data.peek(node, key).is_none()).count();
        let migration = self.slots().migrating.get(&slot);
        let try_again =
            || Some(b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n".to_vec());
        let to = |word: &str, node: usize| {
            Some(format!("-{word} {slot} {}\r\n", self.nodes[node].address).into_bytes())
        };
        if !here.is_member {
            return Some(b"-CLUSTERDOWN Hash slot not served\r\n".to_vec());
        }
        if here.is_isolated {
            return Some(b"-CLUSTERDOWN The cluster is down\r\n".to_vec());
        }
        if let Some(master) = self.data.master_of(node) {
            if standing.readonly && !writes && owner == master {
                return self.master_down(node);
            }
            assert_ne!(owner, node, "a replica owns a slot");
            return to("MOVED", owner);
        }
        if owner == node {
            return match migration {
                Some(migration) if migration.from == node && missing == real.len() => {
                    to("ASK", migration.to)
                }
                Some(migration) if migration.from == node && missing > 0 => try_again(),
                _ => None,
            };
        }
        match migration {
            Some(migration) if migration.to == node && standing.asking => {
                if real.len() > 1 && missing > 0 { try_again() } else { None }
            }
            _ => to("MOVED", owner),
        }
    }

    /// What was removed at the old owner of a slot is known at the new one when it is asked.
    pub fn fetch_removed(&mut self, node: usize, keys: &[&[u8]]) {
        for key in keys {
            let migration = self.slots().migrating.get(&slot_of(key)).copied();
            if let Some(Migration { from, .. }) = migration.filter(|migration| migration.to == node)
                && !self.data.knows(node, key)
            {
                self.data.move_key(key, from, node);
            }
        }
    }

    /// For the trace.
    pub fn note_roles(&self) {
        let roles: Vec<_> = (0..self.nodes.len()).map(|node| self.data.master_of(node)).collect();
        World::note(format_args!("script: who follows whom is {roles:?}"));
    }
}
