//! Who the servers are and who owns what, at one moment.
//!
//! A topology never changes once a handler sees it; the pools make a draft of the next one, and
//! `settle` derives from it what choosing needs. Everything a request asks is a table look-up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::draft::Kind;
use super::rules::{Rules, Shape};
use super::server::{Role, Server, ServerId, Standing};
use super::server_group::{GroupId, ServerGroup};
use super::slot::{SLOTS, Slot};
use crate::base::address::Address;
use crate::base::random::Random;
use crate::conf::{DataCenterConf, PoolConf};

/// Who the servers are and who owns what, at one moment.
#[derive(Clone, Debug)]
pub struct Topology {
    pub(super) version: u64,
    pub(super) rules: Arc<Rules>,
    pub(super) servers: Vec<Option<Arc<Server>>>,
    pub(super) groups: Vec<ServerGroup>,
    pub(super) slots: Option<Arc<SlotTable>>,
    /// Every address that ever had an id, so that it gets the same one when it comes back.
    pub(super) ids: Arc<BTreeMap<(Kind, Address), ServerId>>,

    // What follows is derived by `settle`.
    pub(super) by_address: BTreeMap<Address, ServerId>,
    pub(super) routed: Vec<ServerId>,
    pub(super) contacts: Vec<ServerId>,
    pub(super) sentinels: Vec<ServerId>,
    pub(super) scannable: Vec<(GroupId, ServerId)>,
    pub(super) reads_go_to_masters: bool,
}

/// Where a request belongs. Requests of one place can be one request, or one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A slot of the cluster.
    Slot(Slot),
    /// A group of a pool of groups.
    Group(GroupId),
    /// Any group: `Distribution random`.
    AnyGroup,
}

impl Place {
    /// A number that two different places of one topology never share.
    #[must_use]
    #[inline]
    pub fn rank(self) -> u32 {
        match self {
            Place::Slot(slot) => u32::from(slot.number()),
            Place::Group(group) => u32::from(group.0),
            Place::AnyGroup => u32::MAX,
        }
    }
}

/// Why there is no server for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoServer {
    /// Nobody owns the slot (D-65): what Redis calls CLUSTERDOWN.
    SlotNotServed,
    /// The group has no master, or none yet.
    NoMaster,
    /// The read policy leaves nobody in the group.
    NoCandidate,
}

/// Who serves each slot: the masters apart, because all that most requests need is one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotTable {
    pub(super) masters: [u32; SLOTS],
    pub(super) groups: [u16; SLOTS],
}

impl SlotTable {
    pub(super) const NO_GROUP: u16 = u16::MAX;
    pub(super) const NOBODY: u32 = u32::MAX;

    pub(super) fn new() -> SlotTable {
        SlotTable { masters: [SlotTable::NOBODY; SLOTS], groups: [SlotTable::NO_GROUP; SLOTS] }
    }
}

impl Topology {
    /// The most servers in one topology; what is told beyond them is left out.
    pub const SERVERS_MAX: usize = 2048;
    /// The most addresses that get an id while the process runs. It bounds what a server can make
    /// us remember; no honest pool comes near it.
    pub const IDS_MAX: usize = 1 << 18;

    /// What is known before anybody was asked.
    #[must_use]
    pub fn from_conf(conf: &PoolConf, centers: Option<&DataCenterConf>) -> Topology {
        let empty = Topology {
            version: 0,
            rules: Arc::new(Rules::new(conf, centers)),
            servers: Vec::new(),
            groups: Vec::new(),
            slots: None,
            ids: Arc::default(),
            by_address: BTreeMap::new(),
            routed: Vec::new(),
            contacts: Vec::new(),
            sentinels: Vec::new(),
            scannable: Vec::new(),
            reads_go_to_masters: false,
        };
        empty.reconfigured(conf, centers)
    }

    /// The same servers under a new configuration: priorities, passwords, data centres and listed
    /// servers change, what was discovered stays.
    #[must_use]
    pub fn reconfigured(&self, conf: &PoolConf, centers: Option<&DataCenterConf>) -> Topology {
        let mut draft = self.draft();
        draft.rules = Arc::new(Rules::new(conf, centers));
        let rules = Arc::clone(&draft.rules);
        match &rules.shape {
            Shape::Cluster { seeds } => draft.apply_seeds(seeds),
            Shape::Groups(groups) => draft.apply_groups(groups),
        }
        draft.settle();
        draft
    }

    /// Whether both were made under the same configuration. If not, a group of the one is not
    /// the group of the same id of the other.
    #[must_use]
    pub fn is_under_rules_of(&self, other: &Topology) -> bool {
        Arc::ptr_eq(&self.rules, &other.rules)
    }

    /// Grows with each topology that is made from another.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether slots decide, rather than groups.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.rules.shape, Shape::Cluster { .. })
    }

    /// Whether Sentinels say who is in the groups.
    #[must_use]
    pub fn is_by_sentinel(&self) -> bool {
        matches!(&self.rules.shape, Shape::Groups(groups) if groups.by_sentinel)
    }

    /// The server of this id, unless it is gone.
    #[must_use]
    #[inline]
    pub fn server(&self, id: ServerId) -> Option<&Arc<Server>> {
        self.servers.get(id.index())?.as_ref()
    }

    /// Every server there is, Sentinels too, in the order of their ids.
    pub fn servers(&self) -> impl Iterator<Item = &Arc<Server>> {
        self.servers.iter().flatten()
    }

    /// The servers that INFO lists: no Sentinels, nobody whom no Sentinel has named yet, and
    /// seeds that are no part of the cluster only while nobody is.
    pub fn listed(&self) -> impl Iterator<Item = &Arc<Server>> {
        let is_learned = !self.routed.is_empty();
        self.servers().filter(move |server| match server.standing {
            Standing::Routed => server.role != Role::Sentinel,
            Standing::Contact => !is_learned,
            Standing::Offline => false,
        })
    }

    /// One more than the highest id so far: the size of a table by id.
    #[must_use]
    pub fn ids(&self) -> usize {
        self.servers.len()
    }

    /// The groups, in the order of their ids.
    #[must_use]
    pub fn groups(&self) -> &[ServerGroup] {
        &self.groups
    }

    /// The group of this id, unless it is gone.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&ServerGroup> {
        // Ids without gaps, the usual case, are places in the list.
        if let Some(group) = self.groups.get(id.index()).filter(|group| group.id == id) {
            return Some(group);
        }
        let place = self.groups.binary_search_by_key(&id, |group| group.id).ok()?;
        self.groups.get(place)
    }

    /// The group that owns a slot.
    #[must_use]
    pub fn group_of_slot(&self, slot: Slot) -> Option<GroupId> {
        let group = self.slots.as_ref()?.groups[slot.index()];
        (group != SlotTable::NO_GROUP).then_some(GroupId(group))
    }

    /// The master that owns a slot.
    #[must_use]
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn master_of_slot(&self, slot: Slot) -> Option<ServerId> {
        let master = self.slots.as_ref()?.masters[slot.index()];
        (master != SlotTable::NOBODY).then_some(ServerId(master))
    }

    /// Where a key belongs.
    #[must_use]
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn place(&self, key: &[u8]) -> Place {
        match &self.rules.shape {
            Shape::Cluster { .. } => Place::Slot(Slot::of_key(key)),
            Shape::Groups(groups) => {
                match groups.of_key(key, u64::try_from(self.groups.len()).unwrap_or(u64::MAX)) {
                    Some(group) => Place::Group(GroupId(u16::try_from(group).unwrap_or(u16::MAX))),
                    None => Place::AnyGroup,
                }
            }
        }
    }

    /// The master that gets a request with one key, if that is told by a table alone, as in a
    /// cluster whose replicas are not read from.
    #[must_use]
    #[inline(always)]
    pub fn master_of_key(&self, key: &[u8], write: bool) -> Option<ServerId> {
        let slots = self.slots.as_ref().filter(|_| write || self.reads_go_to_masters)?;
        let master = slots.masters[Slot::of_key(key).index()];
        (master != SlotTable::NOBODY).then_some(ServerId(master))
    }

    /// The same for all keys of a place.
    #[must_use]
    #[inline(always)]
    pub fn master_of_place(&self, place: Place, write: bool) -> Option<ServerId> {
        match place {
            Place::Slot(slot) if write || self.reads_go_to_masters => self.master_of_slot(slot),
            _ => None,
        }
    }

    /// The server at an address, by any name that it has. Sentinels are not meant.
    #[must_use]
    pub fn find(&self, address: &Address) -> Option<ServerId> {
        self.by_address.get(address).copied()
    }

    /// The server for one request, or why there is none.
    ///
    /// A write gets the master, failed or not: whether to wait for a new one is the caller's
    /// decision. `pending` is how many requests the caller has in flight at a server.
    ///
    /// # Errors
    ///
    /// [`NoServer`] says what is missing.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn choose(
        &self,
        place: Place,
        write: bool,
        pending: impl Fn(ServerId) -> u32,
        random: &mut Random,
    ) -> Result<ServerId, NoServer> {
        match place {
            Place::Slot(slot) if write || self.reads_go_to_masters => {
                self.master_of_slot(slot).ok_or(NoServer::SlotNotServed)
            }
            _ => self.choose_except(place, write, None, pending, random),
        }
    }

    /// Like [`Topology::choose`], but never this server: for a read that it failed to answer.
    ///
    /// # Errors
    ///
    /// [`NoServer`] says what is missing.
    pub fn choose_except(
        &self,
        place: Place,
        write: bool,
        except: Option<ServerId>,
        pending: impl Fn(ServerId) -> u32,
        random: &mut Random,
    ) -> Result<ServerId, NoServer> {
        match place {
            Place::Slot(slot) => {
                let group = self.group_of_slot(slot).and_then(|group| self.group(group));
                let group = group.ok_or(NoServer::SlotNotServed)?;
                self.choose_in(group, write, except, pending, random)
            }
            Place::Group(group) => {
                let group = self.group(group).ok_or(NoServer::NoMaster)?;
                self.choose_in(group, write, except, pending, random)
            }
            Place::AnyGroup => {
                let start = random.index(self.groups.len());
                self.choose_around(start, |group| {
                    self.choose_in(group, write, except, &pending, random)
                })
            }
        }
    }

    /// Some server, for a request that any can answer: a healthy one if there is one. Seeds that
    /// are in no answer yet only count while there is nobody else.
    #[must_use]
    pub fn any(&self, random: &mut Random) -> Option<ServerId> {
        let some = if self.routed.is_empty() { &self.contacts } else { &self.routed };
        self.healthy_first(some, random)
    }

    /// The master of some group that has keys, for a request that any of them can answer: a
    /// healthy one if there is one.
    #[must_use]
    pub fn any_master(&self, random: &mut Random) -> Option<ServerId> {
        let masters: Vec<ServerId> = self.masters().collect();
        self.healthy_first(&masters, random)
    }

    /// Some server to ask about the topology of the cluster: any, seeds included.
    #[must_use]
    pub fn contact(&self, random: &mut Random) -> Option<ServerId> {
        let routed = self.healthy_first(&self.routed, random);
        let seed = self.healthy_first(&self.contacts, random);
        let (Some(routed), Some(seed)) = (routed, seed) else { return routed.or(seed) };
        // Seeds that are in no answer matter when no node answers, because all may have moved, and
        // when slots have no owner: who was asked first may be a node that nobody else knows.
        let lost = self.is_failed(routed) || !self.is_whole();
        let seed_answers = self.is_failed(routed) && !self.is_failed(seed);
        let seed_is_better = seed_answers || (lost && random.one_in(2));
        Some(if seed_is_better { seed } else { routed })
    }

    /// Whether every read goes to the master of its place, whatever else is known.
    #[must_use]
    pub fn reads_go_to_masters(&self) -> bool {
        self.reads_go_to_masters
    }

    /// Whether every slot has an owner.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.groups.iter().map(|group| group.slots).sum::<usize>() == SLOTS
    }

    /// Some Sentinel.
    #[must_use]
    pub fn any_sentinel(&self, random: &mut Random) -> Option<ServerId> {
        self.healthy_first(&self.sentinels, random)
    }

    /// The Sentinels, in the order of their ids.
    #[must_use]
    pub fn sentinels(&self) -> &[ServerId] {
        &self.sentinels
    }

    /// The servers that get requests, in the order of their ids.
    #[must_use]
    pub fn routed(&self) -> &[ServerId] {
        &self.routed
    }

    /// The masters that have keys, each once, in the order of their groups: for requests that go
    /// to all of them. A master without slots has none.
    pub fn masters(&self) -> impl Iterator<Item = ServerId> {
        self.scannable.iter().map(|(_, master)| *master)
    }

    /// The groups of [`Topology::masters`], with them. A group's id stays when its master changes.
    #[must_use]
    pub fn scannable(&self) -> &[(GroupId, ServerId)] {
        &self.scannable
    }

    /// The slots whose master is another one in `new`; those that nobody owns there included.
    pub fn changed_slots<'a>(&'a self, new: &'a Topology) -> impl Iterator<Item = Slot> + 'a {
        let same = match (&self.slots, &new.slots) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        let slots = (!same).then(Slot::all).into_iter().flatten();
        slots.filter(|slot| self.master_of_slot(*slot) != new.master_of_slot(*slot))
    }

    /// The groups of a pool of groups whose master is another one in `new`.
    pub fn changed_groups<'a>(&'a self, new: &'a Topology) -> impl Iterator<Item = GroupId> + 'a {
        let groups = self.groups.iter().filter(|_| !self.is_cluster());
        groups
            .filter(|group| group.master != new.group(group.id).and_then(ServerGroup::master))
            .map(ServerGroup::id)
    }

    /// The name of the data centre that a server is in; empty if it is in none.
    #[must_use]
    pub fn center_name(&self, server: &Server) -> &str {
        server.center.and_then(|center| self.rules.centers.name(center)).unwrap_or("")
    }

    fn choose_in(
        &self,
        group: &ServerGroup,
        write: bool,
        except: Option<ServerId>,
        pending: impl Fn(ServerId) -> u32,
        random: &mut Random,
    ) -> Result<ServerId, NoServer> {
        if write {
            return group.master.filter(|id| Some(*id) != except).ok_or(NoServer::NoMaster);
        }
        group.readers.choose(except, pending, random).ok_or(NoServer::NoCandidate)
    }

    /// The first healthy choice among the groups, going round once; else the first choice at all.
    fn choose_around(
        &self,
        start: usize,
        mut choose_in: impl FnMut(&ServerGroup) -> Result<ServerId, NoServer>,
    ) -> Result<ServerId, NoServer> {
        let (before, after) = self.groups.split_at(start.min(self.groups.len()));
        let mut second_best = Err(NoServer::NoMaster);
        for group in after.iter().chain(before) {
            let choice = choose_in(group);
            match choice {
                Ok(server) if !self.is_failed(server) => return choice,
                Ok(_) if second_best.is_err() => second_best = choice,
                Err(_) if second_best == Err(NoServer::NoMaster) => second_best = choice,
                _ => {}
            }
        }
        second_best
    }

    /// A healthy one of these, else one of these; `None` only of none (D-05).
    fn healthy_first(&self, servers: &[ServerId], random: &mut Random) -> Option<ServerId> {
        let (before, after) = servers.split_at(random.index(servers.len()));
        let mut ring = after.iter().chain(before).copied();
        let first = ring.clone().next();
        ring.find(|id| !self.is_failed(*id)).or(first)
    }

    fn is_failed(&self, id: ServerId) -> bool {
        self.server(id).is_none_or(|server| server.is_down || server.health.is_failed())
    }
}

#[cfg(test)]
mod tests {
    use super::super::predixy_keys::KEYS;
    use super::super::test_support::{
        address, centers, chi_square, cluster, fixed, fixed_conf, seed, sentinel_conf,
    };
    use super::*;
    use crate::conf::{Distribution, Hash, PoolKind, StandaloneConf};

    fn choose(topology: &Topology, place: Place, write: bool) -> Result<ServerId, NoServer> {
        topology.choose(place, write, |_| 0, &mut Random::new(1))
    }

    /// A pool of `groups` groups of one server each.
    fn groups(groups: usize, change: impl Fn(&mut StandaloneConf)) -> Topology {
        let names: Vec<_> = (0..groups).map(|index| format!("10.0.0.1:{}", 7000 + index)).collect();
        let servers: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
        let list: Vec<(&str, &[&str])> =
            servers.iter().map(|servers| ("g", &servers[..])).collect();
        let mut conf = fixed_conf(&list);
        if let PoolKind::Standalone(standalone) = &mut conf.kind {
            change(standalone);
        }
        Topology::from_conf(&conf, None)
    }

    #[track_caller]
    fn check_group(topology: &Topology, key: &[u8], group: usize) {
        assert_eq!(
            topology.place(key),
            Place::Group(GroupId::from_index(group).unwrap()),
            "{key:?}"
        );
    }

    #[test]
    fn d05_nobody_is_an_answer_and_not_a_division_by_zero() {
        let mut random = Random::new(1);
        let empty = Topology::from_conf(&sentinel_conf(&[&[]]), None);
        assert_eq!(empty.any(&mut random), None);
        assert_eq!(empty.contact(&mut random), None);
        assert_eq!(empty.masters().count(), 0);
        let group = empty.place(b"key");
        assert_eq!(choose(&empty, group, true), Err(NoServer::NoMaster));
        assert_eq!(choose(&empty, group, false), Err(NoServer::NoCandidate));
        let none = Topology::from_conf(&sentinel_conf(&[]), None);
        assert_eq!(choose(&none, none.place(b"key"), true), Err(NoServer::NoMaster));
        assert_eq!(choose(&none, Place::AnyGroup, true), Err(NoServer::NoMaster));
    }

    #[test]
    fn d65_a_slot_without_owner_is_not_served() {
        let topology = cluster(&["10.0.0.1:7000"]);
        let place = topology.place(b"foo");
        assert_eq!(place, Place::Slot(Slot::new(12182).unwrap()));
        for write in [true, false] {
            assert_eq!(choose(&topology, place, write), Err(NoServer::SlotNotServed));
        }
        assert_eq!(topology.any(&mut Random::new(1)).map(ServerId::index), Some(0), "the seed");
    }

    #[test]
    fn keys_land_where_predixy_puts_them() {
        for (tag, hash_tag) in [None, Some((b'{', b'}')), Some((b'|', b'|'))].iter().enumerate() {
            for (index, hash) in [Hash::Crc16, Hash::Atol].into_iter().enumerate() {
                for (place, count) in [2, 3, 5].into_iter().enumerate() {
                    let pool = groups(count, |conf| {
                        (conf.hash, conf.hash_tag) = (Some(hash), *hash_tag);
                    });
                    for (key, groups) in KEYS.iter().filter(|row| !row.1[tag].is_empty()) {
                        let digit = groups[tag].as_bytes()[4 * index + place];
                        check_group(&pool, key, usize::from(digit - b'0'));
                    }
                }
            }
        }
    }

    #[test]
    fn modula_takes_the_hash_as_an_unsigned_number() {
        let atol = groups(3, |conf| conf.hash = Some(Hash::Atol));
        check_group(&atol, b"0", 0);
        check_group(&atol, b"7", 1);
        // 2^64 is 1 modulo 3.
        check_group(&atol, b"-1", 0);
        check_group(&atol, b"-2", 2);
        check_group(&atol, b"-3", 1);
        check_group(&atol, b"70000", 1);
        let crc16 = groups(7, |_| ());
        // 0x31c3 is 12739; its lower 14 bits are the same, those of 0xfff0 are not.
        check_group(&crc16, b"123456789", 12739 % 7);
        let key = (0u32..).map(|number| number.to_string());
        let high =
            key.into_iter().find(|key| super::super::hash_func::crc16(key.as_bytes()) > 0xC000);
        let high = high.unwrap().into_bytes();
        check_group(&crc16, &high, usize::from(super::super::hash_func::crc16(&high)) % 7);
    }

    #[test]
    fn d02_every_key_has_a_place() {
        for hash in [Hash::Atol, Hash::Crc16] {
            let topology = groups(3, |conf| conf.hash = Some(hash));
            check_group(&topology, b"", 0);
        }
        check_group(&groups(1, |conf| (conf.hash, conf.distribution) = (None, None)), b"x", 0);
        check_group(&groups(1, |conf| conf.distribution = Some(Distribution::Random)), b"x", 0);
    }

    #[test]
    fn only_the_tag_is_hashed_if_there_is_one() {
        let topology = groups(5, |conf| conf.hash_tag = Some((b'[', b']')));
        for key in [&b"a[user]b"[..], b"[user]", b"user"] {
            assert_eq!(topology.place(key), topology.place(b"user"));
        }
        let untagged = groups(5, |_| ());
        assert_ne!(untagged.place(b"{user}b"), untagged.place(b"user"));
    }

    #[test]
    fn random_distribution_spreads_reads_and_writes() {
        let topology = groups(4, |conf| conf.distribution = Some(Distribution::Random));
        let place = topology.place(b"key");
        assert_eq!(place, topology.place(b"another"));
        for write in [true, false] {
            let seed = seed();
            let (mut random, mut counts) = (Random::new(seed), [0; 4]);
            for _ in 0..10_000 {
                let id = topology.choose(place, write, |_| 0, &mut random).unwrap();
                counts[id.index()] += 1;
            }
            assert!(chi_square(&counts, &[1; 4]) < 40.0, "seed {seed}: {counts:?}");
        }
    }

    #[test]
    fn random_distribution_goes_round_failed_groups() {
        let topology = groups(3, |conf| conf.distribution = Some(Distribution::Random));
        fail(&topology, 0);
        fail(&topology, 2);
        let mut random = Random::new(1);
        for _ in 0..100 {
            let id = topology.choose(Place::AnyGroup, true, |_| 0, &mut random);
            assert_eq!(id.unwrap().index(), 1);
        }
        fail(&topology, 1);
        assert!(topology.choose(Place::AnyGroup, true, |_| 0, &mut random).is_ok());
    }

    fn fail(topology: &Topology, index: usize) {
        use super::super::health::{Failure, HealthRules};
        let rules = HealthRules { failure_limit: 1, retry_timeout_us: 1, probe_timeout_us: 1 };
        let server = topology.server(ServerId::from_index(index).unwrap()).unwrap();
        server.health().fail(Failure::Reset, 0, &rules);
    }

    #[test]
    fn any_prefers_the_healthy() {
        let topology = fixed(&[("g", &["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"])]);
        fail(&topology, 0);
        fail(&topology, 2);
        let mut random = Random::new(3);
        for _ in 0..100 {
            assert_eq!(topology.any(&mut random).map(ServerId::index), Some(1));
        }
        fail(&topology, 1);
        assert!(topology.any(&mut random).is_some(), "a failed one is better than none");
    }

    #[test]
    fn any_takes_everybody_in_turn() {
        let topology = fixed(&[("g", &["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3"])]);
        let seed = seed();
        let (mut random, mut counts) = (Random::new(seed), [0; 3]);
        for _ in 0..10_000 {
            counts[topology.any(&mut random).unwrap().index()] += 1;
        }
        assert!(chi_square(&counts, &[1; 3]) < 40.0, "seed {seed}: {counts:?}");
    }

    #[test]
    fn reads_follow_priorities_and_data_centres() {
        let conf = fixed_conf(&[("g", &["10.1.0.1:1", "10.2.0.1:1", "10.3.0.1:1"])]);
        let centers = centers(&[("a", "10.1", 0, 1), ("b", "10.2", 9, 1)]);
        let topology = Topology::from_conf(&conf, Some(&centers));
        let place = topology.place(b"key");
        for _ in 0..100 {
            assert_eq!(choose(&topology, place, false).map(ServerId::index), Ok(1));
            assert_eq!(choose(&topology, place, true).map(ServerId::index), Ok(0));
        }
        let names: Vec<_> = topology.servers().map(|server| topology.center_name(server)).collect();
        assert_eq!(names, ["a", "b", ""]);
        let mut unwanted = centers.clone();
        for center in &mut unwanted.centers {
            center.read_policy.iter_mut().for_each(|line| line.priority = 0);
        }
        let topology = Topology::from_conf(&conf, Some(&unwanted));
        assert_eq!(choose(&topology, place, false), Err(NoServer::NoCandidate));
        let mut none = conf.clone();
        none.common.static_slave_read_priority = 0;
        none.common.master_read_priority = 0;
        let topology = Topology::from_conf(&none, None);
        assert_eq!(choose(&topology, place, false), Err(NoServer::NoCandidate));
    }

    #[test]
    fn addresses_and_ids_are_given_once() {
        let topology = fixed(&[("a", &["10.0.0.1:1", "10.0.0.1:2"]), ("b", &["10.0.0.1:2"])]);
        assert_eq!(topology.servers().count(), 2);
        let second = topology.find(&address("10.0.0.1:2")).unwrap();
        assert_eq!(second.index(), 1);
        assert_eq!(topology.find(&address("10.0.0.1:3")), None);
        assert_eq!(
            topology.server(ServerId::from_index(2).unwrap()).map(|server| server.id()),
            None
        );
        // It is the master of one of its groups, so that is what INFO shows.
        assert_eq!(topology.server(second).unwrap().role(), Role::Master);
        let masters: Vec<_> = topology.masters().map(ServerId::index).collect();
        assert_eq!(masters, [0, 1]);
    }

    #[test]
    fn a_master_of_two_groups_is_asked_once() {
        let topology = fixed(&[("a", &["10.0.0.1:1"]), ("b", &["10.0.0.1:1"])]);
        assert_eq!(topology.masters().count(), 1);
    }
}
