//! Making the next topology: a copy of the last one, changed, and then settled.
//!
//! The pools change servers, groups and the groups of slots; everything that choosing needs is
//! derived from these here, once, so that no two parts of a topology can disagree.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::server::{Role, Server, ServerId, Standing};
use super::server_group::{GroupId, Reader, Readers, ServerGroup};
use super::topology::{SlotTable, Topology};
use crate::base::address::Address;
use crate::base::order;
use crate::base::sorted_map::{SortedMap, SortedSet};

/// What kind of server an id was given to: the same address can be listed as both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Data,
    Sentinel,
}

impl Topology {
    /// A copy to change; `settle` or `finish` it afterwards.
    pub(super) fn draft(&self) -> Topology {
        let mut draft = self.clone();
        draft.version += 1;
        draft
    }

    /// Derives what choosing needs, and returns the draft if it says anything that `old` does not.
    pub(super) fn finish(mut self, old: &Topology) -> Option<Topology> {
        self.settle();
        if self.slots == old.slots {
            // Who compares slots can see at once that nothing moved.
            self.slots.clone_from(&old.slots);
        }
        let same_servers = self.servers.len() == old.servers.len()
            && self.servers.iter().zip(&old.servers).all(|pair| match pair {
                (Some(new), Some(old)) => Arc::ptr_eq(new, old) || new.says_the_same(old),
                (None, None) => true,
                _ => false,
            });
        let same_groups = self.groups.len() == old.groups.len()
            && self.groups.iter().zip(&old.groups).all(|(new, old)| new.says_the_same(old));
        let same = same_servers && same_groups && self.slots == old.slots;
        (!same).then_some(self)
    }

    /// The id of an address: the one that it has or had, else a new one. `None` when there are
    /// too many.
    pub(super) fn id_of(&mut self, kind: Kind, address: &Address) -> Option<ServerId> {
        let key = (kind, address.clone());
        if let Some(id) = self.ids.get(&key) {
            return Some(*id);
        }
        if self.servers.len() >= Topology::IDS_MAX {
            return None;
        }
        let id = ServerId::from_index(self.servers.len())?;
        self.servers.push(None);
        Arc::make_mut(&mut self.ids).insert(key, id);
        Some(id)
    }

    /// The server at an address, as a draft to change: the one there is, or a new one. `None` when
    /// there are too many.
    pub(super) fn enlist(
        &mut self,
        kind: Kind,
        address: &Address,
        standing: Standing,
    ) -> Option<&mut Server> {
        let id = self.id_of(kind, address)?;
        let place = self.servers.get_mut(id.index())?;
        let server = place.get_or_insert_with(|| {
            let mut server = Server::new(id, address.clone(), standing);
            if kind == Kind::Sentinel {
                server.role = Role::Sentinel;
            }
            Arc::new(server)
        });
        Some(Arc::make_mut(server))
    }

    /// A server to change.
    pub(super) fn edit(&mut self, id: ServerId) -> Option<&mut Server> {
        Some(Arc::make_mut(self.servers.get_mut(id.index())?.as_mut()?))
    }

    /// Takes a server out; its id stays taken.
    pub(super) fn remove(&mut self, id: ServerId) {
        if let Some(place) = self.servers.get_mut(id.index()) {
            *place = None;
        }
    }

    /// How many servers there are.
    pub(super) fn count(&self) -> usize {
        self.servers().count()
    }

    /// The smallest group id that nobody has. Ids are small because SCAN's cursor carries them.
    pub(super) fn free_group_id(groups: &[ServerGroup]) -> Option<GroupId> {
        (0..SlotTable::NO_GROUP).map(GroupId).find(|id| groups.iter().all(|group| group.id != *id))
    }

    /// Derives what choosing needs.
    pub(super) fn settle(&mut self) {
        order::sort_by_key(&mut self.groups, |group| group.id);
        self.settle_servers();
        self.settle_readers();
        self.settle_slots();
        self.settle_scannable();
        self.settle_lists();
        self.reads_go_to_masters = self.rules.reads_go_to_masters();
    }

    /// Tells every server its group and its data centre.
    fn settle_servers(&mut self) {
        let mut groups: SortedMap<ServerId, (GroupId, Arc<str>)> = SortedMap::new();
        for group in &self.groups {
            for id in group.servers() {
                groups.get_or_insert_with(id, || (group.id, Arc::clone(&group.name)));
            }
        }
        let nameless: Arc<str> = Arc::from("");
        let rules = Arc::clone(&self.rules);
        for server in self.servers.iter_mut().flatten() {
            let group = groups.get(&server.id);
            let id = group.map(|(id, _)| *id);
            let name = group.map_or(&nameless, |(_, name)| name);
            let center = [&server.address]
                .into_iter()
                .chain(server.aliases())
                .find_map(|address| rules.centers.of(address));
            let same = server.group == id && server.group_name == *name && server.center == center;
            if !same {
                let server = Arc::make_mut(server);
                server.group = id;
                server.group_name = Arc::clone(name);
                server.center = center;
            }
        }
    }

    /// Lists each group's candidates for reads.
    fn settle_readers(&mut self) {
        let mut groups = std::mem::take(&mut self.groups);
        for group in &mut groups {
            let readers = group.servers().filter_map(|id| {
                let role = if group.master == Some(id) { Role::Master } else { Role::Slave };
                self.reader(id, role)
            });
            let readers = Readers::new(readers.collect());
            group.readers = readers;
        }
        self.groups = groups;
    }

    fn reader(&self, id: ServerId, role: Role) -> Option<Reader> {
        let server = self.server(id)?;
        let priority = self.rules.priority(role, server.is_static);
        // A master that is down is all there is until somebody takes over.
        if priority == 0 || (server.is_down && role == Role::Slave) {
            return None;
        }
        let mut center = None;
        if self.rules.centers.are_used() {
            let wish = self.rules.centers.wish(server.center?);
            if wish.priority == 0 {
                return None;
            }
            center = server.center.map(|center| (center, wish));
        }
        Some(Reader { server: id, priority, center, health: Arc::clone(&server.health) })
    }

    /// Writes each slot's master beside its group, and counts the slots of each group.
    fn settle_slots(&mut self) {
        let Some(table) = &mut self.slots else { return };
        let table = Arc::make_mut(table);
        let ids = self.groups.last().map_or(0, |group| group.id.index() + 1);
        let mut masters = vec![SlotTable::NOBODY; ids];
        let mut counts = vec![0usize; ids];
        for group in &self.groups {
            masters[group.id.index()] = group.master.map_or(SlotTable::NOBODY, |master| master.0);
        }
        for (master, group) in table.masters.iter_mut().zip(&mut table.groups) {
            let index = usize::from(*group);
            *master = masters.get(index).copied().unwrap_or(SlotTable::NOBODY);
            match counts.get_mut(index) {
                Some(count) => *count += 1,
                None => *group = SlotTable::NO_GROUP,
            }
        }
        for group in &mut self.groups {
            group.slots = counts[group.id.index()];
        }
    }

    /// Lists the masters that have keys. The same server may be listed in two fixed groups.
    fn settle_scannable(&mut self) {
        let mut seen = SortedSet::new();
        let is_cluster = self.is_cluster();
        let serving = self.groups.iter().filter(|group| group.slots > 0 || !is_cluster);
        let masters = serving.filter_map(|group| Some((group.id, group.master?)));
        self.scannable = masters.filter(|(_, master)| seen.insert(*master)).collect();
    }

    /// Sorts the servers by what they are good for, and by all of their names.
    fn settle_lists(&mut self) {
        let mut lists = [const { Vec::new() }; 3];
        let mut by_address = BTreeMap::new();
        for server in self.servers() {
            let [routed, contacts, sentinels] = &mut lists;
            match (server.role, server.standing) {
                (Role::Sentinel, _) => sentinels.push(server.id),
                (_, Standing::Routed) => routed.push(server.id),
                (_, Standing::Contact) => contacts.push(server.id),
                (_, Standing::Offline) => {}
            }
        }
        let data = || self.servers().filter(|server| server.role != Role::Sentinel);
        // What a node is reached by counts before what another one was once listed as.
        for server in data().filter(|server| server.standing == Standing::Routed) {
            by_address.entry(server.address.clone()).or_insert(server.id);
        }
        for server in data() {
            if let Some(announced) = &server.announced {
                by_address.entry(announced.clone()).or_insert(server.id);
            }
        }
        for server in data() {
            by_address.entry(server.address.clone()).or_insert(server.id);
        }
        // A host name that several nodes announce names none of them.
        let mut names: SortedMap<&Address, Option<ServerId>> = SortedMap::new();
        for server in data() {
            if let Some(name) = &server.hostname {
                let is_taken = names.contains_key(&name);
                names.insert(name, (!is_taken).then_some(server.id));
            }
        }
        let names: Vec<_> =
            names.into_iter().filter_map(|(name, id)| Some((name.clone(), id?))).collect();
        for (name, id) in names {
            by_address.entry(name).or_insert(id);
        }
        let [routed, contacts, sentinels] = lists;
        self.by_address = by_address;
        self.routed = routed;
        self.contacts = contacts;
        self.sentinels = sentinels;
    }
}
