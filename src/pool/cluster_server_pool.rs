//! The next topology of a cluster, from CLUSTER NODES and from MOVED.
//!
//! An answer is one node's view, and not every view may be believed: see [`Refused`]. What is
//! believed replaces everything: a node that is not in it is gone (D-21), unless the file lists
//! it; then it can still be asked, but gets no requests.
//!
//! A node is the server that has its address. A seed that the file calls by another address than
//! the one its node announces (a host name, an address on the other side of a NAT) is recognised
//! when it answers: the line marked `myself` is its own. From then on both addresses are one
//! server.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use super::cluster_nodes_parser::{HostChoice, Link, NodeLine};
use super::draft::Kind;
use super::server::{Role, Server, ServerId, Standing};
use super::server_group::{GroupId, ServerGroup};
use super::slot::{SLOTS, Slot};
use super::topology::{SlotTable, Topology};
use crate::base::address::Address;
use crate::base::order;
use crate::base::sorted_map::{SortedMap, SortedSet};

/// What an answer to CLUSTER NODES led to.
#[derive(Debug)]
pub struct Refreshed {
    /// The next topology; `None` if the answer says nothing new.
    pub topology: Option<Topology>,
    /// What was left out of it, for the log.
    pub notes: Vec<Note>,
}

/// Why an answer to CLUSTER NODES is not believed. The old topology stays; another node knows
/// better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are no slots in this pool.
    NoCluster,
    /// Slots that are served now have no owner in it, and the node that says so has no slots
    /// itself: it was reset, or has just joined and does not know everybody.
    Partial,
    /// The node reaches only a minority of the masters: it is cut off, and its view is old.
    Minority,
    /// Not one node of it is known, and the file does not list the node that was asked: another
    /// cluster has got its address.
    OtherCluster,
    /// Some slot has another owner than we know, by a claim from before that one's: the node has
    /// not heard of a failover or a migration yet, or is cut off and has not noticed.
    Older,
}

/// What is done with a view that is [`Refused::Older`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// It is not believed: others know better.
    Refuse,
    /// It is believed: nobody has known better for long. The cluster was set up anew perhaps.
    Believe,
}

/// What was left out of a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Nobody knows the address of this node.
    NoAddress {
        /// The node's id.
        node: Box<str>,
    },
    /// Another node is at the same address; this one has failed or is older.
    SameAddress {
        /// The node's id.
        node: Box<str>,
    },
    /// There are more nodes than [`Topology::SERVERS_MAX`].
    TooMany {
        /// The node's id.
        node: Box<str>,
    },
}

impl Topology {
    /// What is known after `asked` answered CLUSTER NODES with these lines.
    ///
    /// # Errors
    ///
    /// [`Refused`] says why the answer is not believed.
    pub fn refreshed(
        &self,
        nodes: &[NodeLine],
        asked: ServerId,
        choice: HostChoice,
        older: Older,
    ) -> Result<Refreshed, Refused> {
        self.believe(nodes, asked)?;
        if older == Older::Refuse && self.is_newer_than(nodes) {
            return Err(Refused::Older);
        }
        let mut refresh = Refresh::new(self, nodes, asked, choice);
        refresh.match_nodes();
        refresh.update_servers();
        refresh.regroup();
        let Refresh { draft, notes, .. } = refresh;
        Ok(Refreshed { topology: draft.finish(self), notes })
    }

    /// What is known after MOVED named the owner of a slot; `None` if that was known.
    ///
    /// If the owner is a replica of the group that had the slot, it has become its master, and all
    /// the group's slots go with it: one MOVED is enough to see a failover.
    #[must_use]
    pub fn with_moved(&self, slot: Slot, owner: &Address) -> Option<Topology> {
        self.slots.as_ref()?;
        let mut draft = self.draft();
        let owner = draft.discover(owner)?;
        if self.master_of_slot(slot) == Some(owner) {
            return None;
        }
        let losing = self.group_of_slot(slot);
        let promoted =
            |group: &&mut ServerGroup| Some(group.id) == losing && group.replicas.contains(&owner);
        if let Some(group) = draft.groups.iter_mut().find(promoted) {
            let old = group.master.replace(owner);
            group.replicas.retain(|id| *id != owner);
            group.replicas.extend(old);
            group.name = self.group_name(owner);
            if let Some(old) = old.and_then(|old| draft.edit(old)) {
                old.role = Role::Slave;
            }
        } else {
            let group = draft.group_of_master(owner)?;
            if let Some(table) = &mut draft.slots {
                Arc::make_mut(table).groups[slot.index()] = group.0;
            }
        }
        let server = draft.edit(owner)?;
        server.role = Role::Master;
        server.standing = Standing::Routed;
        server.is_down = false;
        draft.finish(self)
    }

    /// What is known after ASK named a node; `None` if it is known already. The next answer to
    /// CLUSTER NODES decides whether it stays.
    #[must_use]
    pub fn with_asked(&self, node: &Address) -> Option<Topology> {
        self.slots.as_ref()?;
        let mut draft = self.draft();
        draft.discover(node)?;
        draft.finish(self)
    }

    /// Decides whether a view may replace the topology.
    fn believe(&self, nodes: &[NodeLine], asked: ServerId) -> Result<(), Refused> {
        let table = self.slots.as_ref().ok_or(Refused::NoCluster)?;
        let served = table.groups.iter().filter(|group| **group != SlotTable::NO_GROUP).count();
        if served == 0 {
            return Ok(());
        }
        let known: SortedSet<&str> = self.servers().filter_map(|server| server.node_id()).collect();
        let is_listed = self.server(asked).is_some_and(|server| server.is_static);
        let is_strange = !nodes.iter().any(|node| known.contains(&*node.id));
        if is_strange && !is_listed && !known.is_empty() {
            return Err(Refused::OtherCluster);
        }
        let owners = || nodes.iter().filter(|node| node.flags.master && !node.slots.is_empty());
        let mut owned = [false; SLOTS];
        for range in owners().flat_map(|node| &node.slots) {
            owned[usize::from(*range.start())..=usize::from(*range.end())].fill(true);
        }
        let mut slots = table.groups.iter().zip(&owned);
        let loses = slots.any(|(group, owned)| *group != SlotTable::NO_GROUP && !owned);
        if loses && !owners().any(|node| node.flags.myself) {
            return Err(Refused::Partial);
        }
        let cut_off =
            |node: &&NodeLine| node.flags.fail || node.flags.may_fail || node.flags.no_address;
        let (all, lost) = (owners().count(), owners().filter(cut_off).count());
        if all > 0 && (all - lost) * 2 <= all {
            return Err(Refused::Minority);
        }
        Ok(())
    }

    /// Whether some slot's owner has a better claim to it than all those who claim it in a view.
    ///
    /// Whoever takes slots over, in a failover or a migration, takes a higher configuration epoch
    /// than all that it knows of, and of two claims to a slot the nodes themselves follow that of
    /// the higher epoch; see the Redis Cluster specification, "Hash slots configuration
    /// propagation". Equal epochs prove nothing, and neither do those of a node that is in the
    /// cluster no more.
    fn is_newer_than(&self, nodes: &[NodeLine]) -> bool {
        let Some(table) = &self.slots else { return false };
        let members: SortedSet<&str> = nodes.iter().map(|node| &*node.id).collect();
        // What is claimed, and what is claimed with right as far as we know.
        let (mut claimed, mut rightly) = ([false; SLOTS], [false; SLOTS]);
        for node in nodes.iter().filter(|node| node.flags.master) {
            // The owner of one slot is that of many, so it is looked up once for a row of them.
            let mut last = (SlotTable::NO_GROUP, true);
            for slot in node.slots.iter().flat_map(|range| range.clone()).map(usize::from) {
                let group = table.groups[slot];
                if group != last.0 {
                    last = (group, self.may_take_from(node, GroupId(group), &members));
                }
                claimed[slot] = true;
                rightly[slot] |= last.1;
            }
        }
        claimed.iter().zip(&rightly).any(|(claimed, rightly)| *claimed && !*rightly)
    }

    /// Whether a claim to slots of a group is not older than that of its master, if that is one of
    /// the members still.
    fn may_take_from(
        &self,
        claimant: &NodeLine,
        group: GroupId,
        members: &SortedSet<&str>,
    ) -> bool {
        let master = self.group(group).and_then(ServerGroup::master);
        let Some(master) = master.and_then(|master| self.server(master)) else { return true };
        let Some(id) = master.node_id().filter(|id| members.contains(id)) else { return true };
        *id == *claimant.id || claimant.epoch >= master.epoch
    }

    /// The server at an address, created if nobody knows it.
    fn discover(&mut self, address: &Address) -> Option<ServerId> {
        if let Some(id) = self.find(address) {
            return Some(id);
        }
        if self.count() >= Topology::SERVERS_MAX {
            return None;
        }
        let credentials = self.rules.credentials.clone();
        let server = self.enlist(Kind::Data, address, Standing::Contact)?;
        server.credentials = credentials;
        Some(server.id)
    }

    /// The group of this master, created if it has none; it leaves any other.
    fn group_of_master(&mut self, master: ServerId) -> Option<GroupId> {
        if let Some(group) = self.groups.iter().find(|group| group.master == Some(master)) {
            return Some(group.id);
        }
        for group in &mut self.groups {
            group.replicas.retain(|id| *id != master);
        }
        let id = Topology::free_group_id(&self.groups)?;
        let mut group = ServerGroup::new(id, &self.group_name(master));
        group.master = Some(master);
        self.groups.push(group);
        Some(id)
    }

    /// A group is called by its master's node id, and until that is known by its address.
    fn group_name(&self, master: ServerId) -> Arc<str> {
        let Some(server) = self.server(master) else { return Arc::from("") };
        server.node_id.clone().unwrap_or_else(|| server.address.to_string().into())
    }
}

/// The making of one topology from one answer.
struct Refresh<'a> {
    old: &'a Topology,
    draft: Topology,
    asked: ServerId,
    /// The lines that mean somebody, and whom.
    nodes: Vec<Node<'a>>,
    /// Who is meant by some line already.
    taken: SortedMap<ServerId, usize>,
    notes: Vec<Note>,
}

struct Node<'a> {
    line: &'a NodeLine,
    /// Where the line says that it is; `None` if it does not know its own address.
    address: Option<Address>,
    server: Option<ServerId>,
}

impl<'a> Refresh<'a> {
    fn new(
        old: &'a Topology,
        lines: &'a [NodeLine],
        asked: ServerId,
        choice: HostChoice,
    ) -> Refresh<'a> {
        let mut refresh = Refresh {
            old,
            draft: old.draft(),
            asked,
            nodes: Vec::new(),
            taken: SortedMap::new(),
            notes: Vec::new(),
        };
        for line in lines {
            // A handshake is about a node that is not in the cluster yet, under an id of its own.
            if line.flags.handshake {
                continue;
            }
            let address = line.address.endpoint(choice).filter(|_| !line.flags.no_address);
            if address.is_none() && !line.flags.myself && old.node(&line.id).is_none() {
                refresh.notes.push(Note::NoAddress { node: line.id.clone() });
                continue;
            }
            refresh.nodes.push(Node { line, address, server: None });
        }
        // Where two lines mean the same server the first of them gets it.
        order::sort_by_key(&mut refresh.nodes, |node| {
            let flags = node.line.flags;
            let dead = flags.fail || flags.no_address;
            (dead, node.line.link == Link::Disconnected, Reverse(node.line.epoch))
        });
        refresh
    }

    /// Finds the server that each line means. Servers of the file come first: whoever finds their
    /// node must not create it anew.
    fn match_nodes(&mut self) {
        let old = self.old;
        let ids: SortedSet<&str> = self.nodes.iter().map(|node| &*node.line.id).collect();
        let listed = |test: &dyn Fn(&Server) -> bool| {
            let mut servers = old.servers().filter(|server| server.is_static);
            servers.find(|server| test(server)).map(|server| server.id)
        };

        // The address, or the host name that it announces, is in the file.
        self.match_by(|node| {
            let address = node.address.as_ref()?;
            listed(&|server| server.address == *address)
        });
        self.match_by(|node| {
            let name = node.line.address.named()?;
            listed(&|server| server.address == name)
        });
        // A server of the file that was this node, under another address, still is; it may have
        // moved.
        self.match_by(|node| {
            listed(&|server| server.announced.is_some() && server.node_id() == Some(&*node.line.id))
        });
        // The one that answered, unless it is known to be another node of this answer: then its
        // name led to a node that it does not stand for.
        let asked = old.server(self.asked);
        let is_other = |id: &str| {
            asked
                .and_then(|asked| asked.node_id())
                .is_some_and(|own| own != id && ids.contains(own))
        };
        self.match_by(|node| {
            let unknown_address = node.address.is_none();
            let may_be = unknown_address || asked.is_some_and(|asked| asked.is_static);
            (node.line.flags.myself && may_be && !is_other(&node.line.id))
                .then(|| asked.map(|asked| asked.id))?
        });
        // A new node where a server of the file was last seen.
        self.match_by(|node| {
            listed(&|server| server.announced == node.address && node.address.is_some())
        });
        // Discovered before, or a redirection named it by its host name.
        self.match_by(|node| {
            let address = node.address.as_ref()?;
            old.discovered(address)
        });
        self.match_by(|node| old.discovered(&node.line.address.named()?));
        // The file had it under a name, and has it no more.
        self.match_by(|node| old.last_seen_at(node.address.as_ref()?));
        // Its address is lost, but it was in this cluster before.
        self.match_by(|node| match node.address {
            None => old.node(&node.line.id),
            Some(_) => None,
        });
        self.create_the_rest();
    }

    /// Gives each line that has no server the one that `find` says, if that is free.
    fn match_by(&mut self, find: impl Fn(&Node<'_>) -> Option<ServerId>) {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if node.server.is_none()
                && let Some(id) = find(node)
                && !self.taken.contains_key(&id)
            {
                self.taken.insert(id, index);
                node.server = Some(id);
            }
        }
    }

    fn create_the_rest(&mut self) {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if node.server.is_some() {
                continue;
            }
            let note = |node: &Node<'_>| node.line.id.clone();
            let Some(address) = &node.address else {
                self.notes.push(Note::NoAddress { node: note(node) });
                continue;
            };
            let id = (self.taken.len() < Topology::SERVERS_MAX)
                .then(|| self.draft.id_of(Kind::Data, address))
                .flatten();
            let Some(id) = id else {
                self.notes.push(Note::TooMany { node: note(node) });
                continue;
            };
            if self.taken.contains_key(&id) {
                self.notes.push(Note::SameAddress { node: note(node) });
                continue;
            }
            self.taken.insert(id, index);
            node.server = Some(id);
        }
    }

    /// Writes what the lines say into their servers, and takes out who is in none.
    fn update_servers(&mut self) {
        let credentials = self.draft.rules.credentials.clone();
        for node in &self.nodes {
            let Some(id) = node.server else { continue };
            if self.draft.server(id).is_none()
                && let Some(address) = &node.address
                && let Some(server) = self.draft.enlist(Kind::Data, address, Standing::Routed)
            {
                server.credentials.clone_from(&credentials);
            }
            if let Some(server) = self.draft.edit(id) {
                node.update(server);
            }
        }
        let absent: Vec<ServerId> = self
            .draft
            .servers()
            .map(|server| server.id)
            .filter(|id| !self.taken.contains_key(id))
            .collect();
        for id in absent {
            match self.draft.edit(id) {
                Some(server) if server.is_static => become_contact(server),
                _ => self.draft.remove(id),
            }
        }
    }

    /// Makes the groups and gives them their slots.
    fn regroup(&mut self) {
        let masters = self.masters();
        let ids = self.group_ids(&masters);
        let names: SortedMap<&str, &Node<'_>> =
            self.nodes.iter().map(|node| (&*node.line.id, node)).collect();
        let mut groups: SortedMap<ServerId, ServerGroup> = SortedMap::new();
        for ((node, server), id) in masters.iter().zip(&ids) {
            let Some(id) = id else { continue };
            let mut group = ServerGroup::new(*id, &node.line.id);
            group.master = Some(*server);
            groups.insert(*server, group);
        }
        for node in self.nodes.iter().filter(|node| !node.is_master()) {
            let (Some(server), Some(master)) = (node.server, master_of(node, &names)) else {
                continue;
            };
            if let Some(group) = groups.get_mut(&master) {
                group.replicas.push(server);
            }
        }
        let mut table = SlotTable::new();
        for (node, server) in &masters {
            let Some(group) = groups.get(server) else { continue };
            for range in &node.line.slots {
                let range = usize::from(*range.start())..=usize::from(*range.end());
                table.groups[range].fill(group.id.0);
            }
        }
        for group in groups.values_mut() {
            order::sort(&mut group.replicas);
        }
        self.draft.groups = groups.into_iter().map(|(_, group)| group).collect();
        self.draft.slots = Some(Arc::new(table));
    }

    /// The masters; of two that claim the same slot the one whose claim counts comes later: that
    /// of the later epoch, and of the smaller id, which is what the nodes themselves settle on
    /// when two epochs are equal.
    fn masters(&self) -> Vec<(&Node<'a>, ServerId)> {
        let masters = self.nodes.iter().filter(|node| node.is_master());
        let mut masters: Vec<_> = masters.filter_map(|node| Some((node, node.server?))).collect();
        order::sort_by_key(&mut masters, |(node, _)| (node.line.epoch, Reverse(&*node.line.id)));
        masters
    }

    /// Whose group goes on as which: the groups keep their order across failovers.
    fn group_ids(&self, masters: &[(&Node<'a>, ServerId)]) -> Vec<Option<GroupId>> {
        let old = &self.old.groups;
        let mut ids: Vec<Option<GroupId>> = vec![None; masters.len()];
        let mut inherit = |has_slots: bool, find: &dyn Fn(&ServerGroup, ServerId) -> bool| {
            for (index, (node, server)) in masters.iter().enumerate() {
                if ids[index].is_some() || node.line.slots.is_empty() == has_slots {
                    continue;
                }
                let mut heirs = old.iter().filter(|group| find(group, *server));
                let id = heirs.find(|group| !ids.contains(&Some(group.id)));
                ids[index] = id.map(|group| group.id);
            }
        };
        inherit(true, &|group, server| group.master == Some(server));
        inherit(true, &|group, server| group.replicas.contains(&server));
        inherit(false, &|group, server| group.master == Some(server));
        // New ones in the order of their slots, so that it does not depend on who was asked.
        let mut new: Vec<usize> = (0..ids.len()).filter(|index| ids[*index].is_none()).collect();
        order::sort_by_key(&mut new, |index| {
            let line = masters[*index].0.line;
            let first = line.slots.iter().map(|range| *range.start()).min();
            (first.is_none(), first, &line.id)
        });
        let mut used: SortedSet<GroupId> = ids.iter().flatten().copied().collect();
        for group in old {
            used.insert(group.id);
        }
        let mut free = (0..SlotTable::NO_GROUP).map(GroupId).filter(|id| !used.contains(id));
        for index in new {
            ids[index] = free.next();
        }
        ids
    }
}

impl Node<'_> {
    fn is_master(&self) -> bool {
        self.line.flags.master && !self.line.flags.slave
    }

    /// Writes what the line says into its server.
    fn update(&self, server: &mut Server) {
        server.role = match (self.is_master(), self.line.flags.slave) {
            (true, _) => Role::Master,
            (_, true) => Role::Slave,
            _ => Role::Unknown,
        };
        server.standing = Standing::Routed;
        server.is_down = self.line.flags.fail || self.line.flags.no_address;
        if server.node_id() != Some(&*self.line.id) {
            server.node_id = Some(Arc::from(&*self.line.id));
        }
        server.epoch = self.line.epoch;
        // Who does not know its own address is where it was.
        if let Some(address) = &self.address {
            server.announced = Some(address.clone()).filter(|address| *address != server.address);
        }
        let hostname = self.line.address.named();
        server.hostname = hostname
            .filter(|name| *name != server.address && server.announced.as_ref() != Some(name));
    }
}

/// A server of the file that is in no answer: it can be asked, and that is all.
fn become_contact(server: &mut Server) {
    server.role = Role::Unknown;
    server.standing = Standing::Contact;
    server.is_down = false;
    server.node_id = None;
    server.epoch = 0;
    server.announced = None;
    server.hostname = None;
}

/// The master that a replica follows, maybe by way of other replicas.
fn master_of(replica: &Node<'_>, nodes: &SortedMap<&str, &Node<'_>>) -> Option<ServerId> {
    const STEPS_MAX: usize = 8;
    let mut node = replica;
    for _ in 0..STEPS_MAX {
        node = nodes.get(node.line.master.as_deref()?)?;
        if node.is_master() {
            return node.server;
        }
    }
    None
}

impl Topology {
    /// The server that is this node of the cluster.
    fn node(&self, id: &str) -> Option<ServerId> {
        self.servers().find(|server| server.node_id() == Some(id)).map(|server| server.id)
    }

    /// The server that the file does not list, and that was here when a node told last.
    fn last_seen_at(&self, address: &Address) -> Option<ServerId> {
        let mut servers = self.servers().filter(|server| !server.is_static);
        servers.find(|server| server.announced.as_ref() == Some(address)).map(|server| server.id)
    }

    /// The server of this address that the file does not list.
    fn discovered(&self, address: &Address) -> Option<ServerId> {
        let mut servers = self.servers().filter(|server| !server.is_static);
        servers.find(|server| server.address == *address).map(|server| server.id)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::NoCluster => "the pool is no cluster",
            Refused::Partial => "it leaves slots without an owner and has none itself",
            Refused::Minority => "it does not reach the majority of the masters",
            Refused::OtherCluster => "it is in another cluster",
            Refused::Older => "it does not know yet who has taken slots over",
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::NoAddress { node } => write!(f, "node {node} has no address"),
            Note::SameAddress { node } => write!(f, "node {node} has the address of another"),
            Note::TooMany { node } => {
                write!(f, "node {node} is one more than {}", Topology::SERVERS_MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::cluster_nodes_parser::parse_nodes;
    use super::super::cluster_nodes_samples as samples;
    use super::super::test_support::{address, cluster, cluster_conf, seed};
    use super::super::topology::Place;
    use super::*;
    use crate::base::random::Random;

    fn id(number: usize) -> ServerId {
        ServerId::from_index(number).unwrap()
    }

    fn slot(number: u64) -> Slot {
        Slot::new(number).unwrap()
    }

    /// One line for each `(id, address, flags, master, epoch, slots)`.
    fn text(nodes: &[(&str, &str, &str, &str, u64, &str)]) -> String {
        let lines = nodes.iter().map(|(id, address, flags, master, epoch, slots)| {
            format!("{id} {address} {flags} {master} 0 0 {epoch} connected {slots}\n")
        });
        lines.collect()
    }

    fn try_refresh(old: &Topology, asked: usize, text: &str) -> Result<Refreshed, Refused> {
        let nodes = parse_nodes(text.as_bytes()).unwrap();
        old.refreshed(&nodes, id(asked), HostChoice::Ip, Older::Refuse)
    }

    #[track_caller]
    fn refresh(old: &Topology, asked: usize, text: &str) -> Topology {
        try_refresh(old, asked, text).unwrap().topology.unwrap()
    }

    /// Who owns a slot, by address.
    fn owner(topology: &Topology, number: u64) -> Option<String> {
        let master = topology.master_of_slot(slot(number))?;
        Some(topology.server(master)?.address().to_string())
    }

    #[track_caller]
    fn check_owner(topology: &Topology, number: u64, want: &str) {
        assert_eq!(owner(topology, number).as_deref(), Some(want), "slot {number}");
    }

    fn server<'a>(topology: &'a Topology, at: &str) -> &'a Arc<Server> {
        topology.server(topology.find(&address(at)).unwrap()).unwrap()
    }

    /// Everything that must be true of any topology.
    #[track_caller]
    fn check_sound(topology: &Topology) {
        for slot in Slot::all() {
            let group = topology.group_of_slot(slot).map(|id| topology.group(id).unwrap());
            let master = topology.master_of_slot(slot);
            assert_eq!(group.and_then(ServerGroup::master), master);
            if let Some(master) = master {
                let server = topology.server(master).unwrap();
                assert_eq!(server.standing(), Standing::Routed);
                assert_eq!(server.role(), Role::Master);
            }
        }
        let mut seen = BTreeSet::new();
        for group in topology.groups() {
            for id in group.servers() {
                assert!(seen.insert(id), "{id} is in two groups");
                assert_eq!(topology.server(id).unwrap().group(), Some(group.id()));
            }
        }
        for server in topology.servers() {
            assert_eq!(topology.server(server.id()).unwrap().id(), server.id());
            if server.standing() == Standing::Routed {
                assert_eq!(topology.find(server.address()), Some(server.id()));
            }
        }
        let slots: usize = topology.groups().iter().map(ServerGroup::slots).sum();
        assert_eq!(slots, Slot::all().filter_map(|slot| topology.master_of_slot(slot)).count());
    }

    const THREE: &[(&str, &str, &str, &str, u64, &str)] = &[
        ("aaa", "10.0.0.1:7000", "myself,master", "-", 1, "0-5460"),
        ("bbb", "10.0.0.2:7000", "master", "-", 2, "5461-10922"),
        ("ccc", "10.0.0.3:7000", "master", "-", 3, "10923-16383"),
        ("ddd", "10.0.0.4:7000", "slave", "aaa", 1, ""),
        ("eee", "10.0.0.5:7000", "slave", "bbb", 2, ""),
        ("fff", "10.0.0.6:7000", "slave", "ccc", 3, ""),
    ];

    /// Three masters and three replicas, learned from the first.
    fn three() -> Topology {
        refresh(&cluster(&["10.0.0.1:7000"]), 0, &text(THREE))
    }

    /// `THREE`, with other lines for some ids.
    fn three_but(
        changes: &[(&'static str, &'static str, &'static str, &'static str, u64, &'static str)],
    ) -> String {
        let mut nodes = THREE.to_vec();
        for change in changes {
            nodes.retain(|node| node.0 != change.0);
            if !change.1.is_empty() {
                nodes.push(*change);
            }
        }
        text(&nodes)
    }

    #[test]
    fn an_answer_becomes_groups_and_slots() {
        let topology = three();
        check_sound(&topology);
        check_owner(&topology, 0, "10.0.0.1:7000");
        check_owner(&topology, 5461, "10.0.0.2:7000");
        check_owner(&topology, 16383, "10.0.0.3:7000");
        let groups: Vec<_> =
            topology.groups().iter().map(|group| (group.name(), group.slots())).collect();
        assert_eq!(groups, [("aaa", 5461), ("bbb", 5462), ("ccc", 5461)]);
        let replica = server(&topology, "10.0.0.5:7000");
        assert_eq!((replica.role(), replica.group_name()), (Role::Slave, "bbb"));
        assert!(!replica.is_static() && server(&topology, "10.0.0.1:7000").is_static());
        assert!(topology.is_whole());
        assert_eq!(topology.masters().count(), 3);
    }

    #[test]
    fn the_same_answer_again_is_nothing_new() {
        let topology = three();
        assert!(try_refresh(&topology, 0, &text(THREE)).unwrap().topology.is_none());
        // Another node sees the same.
        let other = three_but(&[
            ("aaa", "10.0.0.1:7000", "master", "-", 1, "0-5460"),
            ("bbb", "10.0.0.2:7000", "myself,master", "-", 2, "5461-10922"),
        ]);
        let asked = topology.find(&address("10.0.0.2:7000")).unwrap();
        assert!(try_refresh(&topology, asked.index(), &other).unwrap().topology.is_none());
    }

    #[test]
    fn real_answers_become_topologies() {
        for (name, text) in samples::WHOLE {
            let topology = refresh(&cluster(&["seed.example:7000"]), 0, text);
            check_sound(&topology);
            assert!(topology.is_whole(), "{name}");
            assert_eq!(topology.masters().count(), 3, "{name}");
            let mut random = Random::new(1);
            assert!(topology.any(&mut random).is_some(), "{name}");
        }
    }

    #[test]
    fn d18_a_node_with_a_long_name_is_learned() {
        let long = "redis-node-1.a-rather-long-zone.example.internal";
        let nodes = three_but(&[
            (
                "bbb",
                "2001:db8:1111:2222:3333:4444:5555:6666:7000@17000",
                "master",
                "-",
                2,
                "5461-10922",
            ),
            ("ccc", &*format!(":7000@17000,{long}").leak(), "master", "-", 3, "10923-16383"),
        ]);
        let topology = refresh(&cluster(&["10.0.0.1:7000"]), 0, &nodes);
        check_owner(&topology, 6000, "[2001:db8:1111:2222:3333:4444:5555:6666]:7000");
        check_owner(&topology, 16000, &format!("{long}:7000"));
    }

    #[test]
    fn d20_a_replica_that_must_not_take_over_is_read_from() {
        let conf = {
            let mut conf = cluster_conf(&["10.0.0.1:7000"]);
            conf.common.dynamic_slave_read_priority = 100;
            conf
        };
        let text = three_but(&[("ddd", "10.0.0.4:7000", "slave,nofailover", "aaa", 1, "")]);
        let topology = refresh(&Topology::from_conf(&conf, None), 0, &text);
        let read = |topology: &Topology| {
            let place = Place::Slot(slot(0));
            let id = topology.choose(place, false, |_| 0, &mut Random::new(1)).unwrap();
            topology.server(id).unwrap().address().to_string()
        };
        assert_eq!(read(&topology), "10.0.0.4:7000");
        // One that has failed is not; one that only one node cannot reach is.
        let failed = three_but(&[("ddd", "10.0.0.4:7000", "slave,fail", "aaa", 1, "")]);
        let topology = refresh(&topology, 0, &failed);
        assert_eq!(read(&topology), "10.0.0.1:7000");
        assert!(server(&topology, "10.0.0.4:7000").is_down());
        let doubted = three_but(&[("ddd", "10.0.0.4:7000", "slave,fail?", "aaa", 1, "")]);
        assert_eq!(read(&refresh(&topology, 0, &doubted)), "10.0.0.4:7000");
    }

    #[test]
    fn d21_what_is_gone_is_gone() {
        let old = three();
        let new = refresh(&old, 0, &three_but(&[("ddd", "", "", "", 0, "")]));
        check_sound(&new);
        assert_eq!(new.find(&address("10.0.0.4:7000")), None);
        assert_eq!(
            new.server(old.find(&address("10.0.0.4:7000")).unwrap()).map(|server| server.id()),
            None
        );
        assert_eq!(new.servers().count(), 5);
        // Its id waits for it.
        let back = refresh(&new, 0, &text(THREE));
        assert_eq!(back.find(&address("10.0.0.4:7000")), old.find(&address("10.0.0.4:7000")));
    }

    #[test]
    fn d21_a_failover_leaves_no_group_without_a_master() {
        let old = refresh(&cluster(&["127.0.0.1:31600"]), 0, samples::REDIS_6_2_MAY_FAIL);
        check_owner(&old, 6000, "127.0.0.1:31601");
        let new = refresh(&old, 0, samples::REDIS_6_2_FAILED_OVER);
        check_sound(&new);
        check_owner(&new, 6000, "127.0.0.1:31605");
        let masters: Vec<_> =
            new.masters().map(|id| new.server(id).unwrap().address().to_string()).collect();
        assert_eq!(masters, ["127.0.0.1:31600", "127.0.0.1:31605", "127.0.0.1:31602"]);
        // SCAN goes on in the place where the old master was.
        assert_eq!(new.group_of_slot(slot(6000)), old.group_of_slot(slot(6000)));
        assert!(server(&new, "127.0.0.1:31601").is_down());
        let changed: Vec<_> = old.changed_slots(&new).collect();
        assert_eq!(changed.len(), 1 + 10923 - 5461);
        assert_eq!(changed[0], slot(100));
        assert!(new.changed_slots(&new.clone()).next().is_none());
    }

    #[test]
    fn a_failed_master_keeps_its_slots_until_somebody_takes_over() {
        let topology = refresh(&cluster(&["127.0.0.1:31700"]), 0, samples::REDIS_7_0_FAILED);
        check_owner(&topology, 6000, "127.0.0.1:31701");
        assert!(server(&topology, "127.0.0.1:31701").is_down());
        let mut random = Random::new(1);
        for _ in 0..200 {
            let any = topology.server(topology.any(&mut random).unwrap()).unwrap();
            assert!(!any.is_down(), "{}", any.address());
        }
    }

    #[test]
    fn a_failover_before_the_old_master_has_given_up_its_slots_is_decided_by_epoch() {
        let text = three_but(&[
            ("aaa", "10.0.0.1:7000", "myself,master", "-", 1, "0-5460"),
            ("ddd", "10.0.0.4:7000", "master", "-", 9, "0-5460"),
        ]);
        let new = refresh(&three(), 0, &text);
        check_sound(&new);
        check_owner(&new, 0, "10.0.0.4:7000");
        let before = three_but(&[("ddd", "10.0.0.4:7000", "master", "-", 0, "0-5460")]);
        check_owner(&refresh(&three(), 0, &before), 0, "10.0.0.1:7000");
        // Of equal epochs the smaller id will have the later one in a moment.
        let tie = three_but(&[("ddd", "10.0.0.4:7000", "master", "-", 1, "0-5460")]);
        check_owner(&refresh(&three(), 0, &tie), 0, "10.0.0.1:7000");
    }

    #[test]
    fn who_has_not_heard_of_a_failover_is_not_believed() {
        let failed_over = three_but(&[
            ("aaa", "10.0.0.1:7000", "myself,slave", "ddd", 9, ""),
            ("ddd", "10.0.0.4:7000", "master", "-", 9, "0-5460"),
        ]);
        let new = refresh(&three(), 0, &failed_over);
        check_owner(&new, 0, "10.0.0.4:7000");
        assert_eq!(try_refresh(&new, 0, &text(THREE)).unwrap_err(), Refused::Older);
        // One slot is enough, and of two claims in a view the better one counts.
        let one = three_but(&[
            ("aaa", "10.0.0.1:7000", "myself,master", "-", 1, "5460"),
            ("ddd", "10.0.0.4:7000", "master", "-", 9, "0-5459"),
        ]);
        assert_eq!(try_refresh(&new, 0, &one).unwrap_err(), Refused::Older);
        let both = three_but(&[("ddd", "10.0.0.4:7000", "master", "-", 9, "0-5460")]);
        check_owner(&refresh(&new, 0, &both), 0, "10.0.0.4:7000");
        // The next failover has a higher epoch again.
        let back = three_but(&[("aaa", "10.0.0.1:7000", "myself,master", "-", 10, "0-5460")]);
        check_owner(&refresh(&new, 0, &back), 0, "10.0.0.1:7000");
        // Who has not heard of a migration has not heard of its epoch either.
        let migrated = three_but(&[
            ("aaa", "10.0.0.1:7000", "myself,master", "-", 10, "0-5461"),
            ("bbb", "10.0.0.2:7000", "master", "-", 2, "5462-10922"),
        ]);
        let new = refresh(&three(), 0, &migrated);
        assert_eq!(try_refresh(&new, 0, &text(THREE)).unwrap_err(), Refused::Older);
    }

    #[test]
    fn the_claim_of_who_was_forgotten_counts_no_more() {
        let failed_over = three_but(&[
            ("aaa", "10.0.0.1:7000", "myself,slave", "ddd", 9, ""),
            ("ddd", "10.0.0.4:7000", "master", "-", 9, "0-5460"),
        ]);
        let new = refresh(&three(), 0, &failed_over);
        let forgotten = three_but(&[
            ("ddd", "", "", "", 0, ""),
            ("bbb", "10.0.0.2:7000", "master", "-", 2, "0-10922"),
        ]);
        check_owner(&refresh(&new, 0, &forgotten), 0, "10.0.0.2:7000");
    }

    #[test]
    fn when_nobody_knows_better_an_older_view_is_believed() {
        let failed_over = three_but(&[
            ("aaa", "10.0.0.1:7000", "myself,slave", "ddd", 9, ""),
            ("ddd", "10.0.0.4:7000", "master", "-", 9, "0-5460"),
        ]);
        let new = refresh(&three(), 0, &failed_over);
        let nodes = parse_nodes(text(THREE).as_bytes()).unwrap();
        let back = new.refreshed(&nodes, id(0), HostChoice::Ip, Older::Believe).unwrap();
        check_owner(&back.topology.unwrap(), 0, "10.0.0.1:7000");
    }

    #[test]
    fn equal_epochs_prove_nothing() {
        // Servers that only look like a cluster may have one epoch for all, or none.
        let even: Vec<_> =
            THREE.iter().map(|node| (node.0, node.1, node.2, node.3, 0, node.5)).collect();
        let old = refresh(&cluster(&["10.0.0.1:7000"]), 0, &text(&even));
        let mut moved = even.clone();
        (moved[0].5, moved[1].5) = ("0-5461", "5462-10922");
        let new = refresh(&old, 0, &text(&moved));
        check_owner(&new, 5461, "10.0.0.1:7000");
        check_owner(&refresh(&new, 0, &text(&even)), 5461, "10.0.0.2:7000");
        // Who is only known by a redirection has no epoch.
        let new = three().with_moved(slot(7), &address("10.0.0.9:7000")).unwrap();
        check_owner(&refresh(&new, 0, &text(THREE)), 7, "10.0.0.1:7000");
    }

    #[test]
    fn d15_moved_to_an_unknown_node_creates_it() {
        let old = three();
        let new = old.with_moved(slot(7), &address("10.0.0.9:7000")).unwrap();
        check_sound(&new);
        check_owner(&new, 7, "10.0.0.9:7000");
        check_owner(&new, 8, "10.0.0.1:7000");
        assert_eq!(old.changed_slots(&new).collect::<Vec<_>>(), [slot(7)]);
        let created = server(&new, "10.0.0.9:7000");
        assert_eq!(created.group_name(), "10.0.0.9:7000");
        assert_eq!(&*created.credentials().unwrap().password, b"pool");
        assert!(new.with_moved(slot(7), &address("10.0.0.9:7000")).is_none(), "known by now");
        let more = new.with_moved(slot(8), &address("10.0.0.9:7000")).unwrap();
        assert_eq!(more.group_of_slot(slot(8)), more.group_of_slot(slot(7)));
        // The next answer knows its id, and it is the same server.
        let known = three_but(&[
            ("aaa", "10.0.0.1:7000", "myself,master", "-", 1, "0-6 9-5460"),
            ("ggg", "10.0.0.9:7000", "master", "-", 9, "7-8"),
        ]);
        let next = refresh(&more, 0, &known);
        check_sound(&next);
        assert_eq!(next.find(&address("10.0.0.9:7000")), Some(created.id()));
        assert_eq!(next.group_of_slot(slot(8)), more.group_of_slot(slot(8)));
        assert!(more.changed_slots(&next).next().is_none());
        // Or it does not know it, and it is gone.
        let next = refresh(&more, 0, &text(THREE));
        check_sound(&next);
        assert_eq!(next.find(&address("10.0.0.9:7000")), None);
        check_owner(&next, 7, "10.0.0.1:7000");
    }

    #[test]
    fn d15_moved_works_before_anything_else_is_known() {
        let old = cluster(&["10.0.0.1:7000"]);
        let new = old.with_moved(slot(7), &address("10.0.0.1:7000")).unwrap();
        check_sound(&new);
        check_owner(&new, 7, "10.0.0.1:7000");
        assert_eq!(new.servers().count(), 1);
    }

    #[test]
    fn moved_to_its_replica_is_a_failover_of_the_whole_group() {
        let old = three();
        let new = old.with_moved(slot(7), &address("10.0.0.4:7000")).unwrap();
        check_sound(&new);
        check_owner(&new, 0, "10.0.0.4:7000");
        check_owner(&new, 5460, "10.0.0.4:7000");
        assert_eq!(old.changed_slots(&new).count(), 5461);
        assert_eq!(server(&new, "10.0.0.1:7000").role(), Role::Slave);
        assert_eq!(server(&new, "10.0.0.4:7000").group_name(), "ddd");
        // The answer that follows says the same, and by which epoch.
        let text = three_but(&[
            ("aaa", "10.0.0.1:7000", "myself,slave", "ddd", 9, ""),
            ("ddd", "10.0.0.4:7000", "master", "-", 9, "0-5460"),
        ]);
        let next = refresh(&new, 0, &text);
        assert_eq!(new.changed_slots(&next).count(), 0);
        assert_eq!(server(&next, "10.0.0.4:7000").group_name(), "ddd");
        assert!(try_refresh(&next, 0, &text).unwrap().topology.is_none());
    }

    #[test]
    fn moved_to_a_replica_of_another_group_moves_one_slot() {
        let new = three().with_moved(slot(7), &address("10.0.0.5:7000")).unwrap();
        check_sound(&new);
        check_owner(&new, 7, "10.0.0.5:7000");
        check_owner(&new, 8, "10.0.0.1:7000");
        check_owner(&new, 6000, "10.0.0.2:7000");
    }

    #[test]
    fn ask_makes_a_node_known_and_gives_it_nothing() {
        let old = three();
        let new = old.with_asked(&address("10.0.0.9:7000")).unwrap();
        check_sound(&new);
        let created = new.find(&address("10.0.0.9:7000")).unwrap();
        assert!(!new.routed().contains(&created));
        let (Some(before), Some(now)) = (&old.slots, &new.slots) else { panic!("no cluster") };
        assert!(Arc::ptr_eq(before, now), "so that nobody has to look for what has moved");
        assert!(old.changed_slots(&new).next().is_none());
        assert!(new.with_asked(&address("10.0.0.9:7000")).is_none());
        assert!(new.with_asked(&address("10.0.0.1:7000")).is_none());
    }

    #[test]
    fn a_seed_with_a_host_name_and_its_node_are_one_server() {
        let old = cluster(&["redis-1.example:7000"]);
        let new = refresh(&old, 0, &text(THREE));
        check_sound(&new);
        assert_eq!(new.servers().count(), 6);
        let seed = new.server(id(0)).unwrap();
        assert_eq!(
            (seed.role(), seed.node_id(), seed.is_static()),
            (Role::Master, Some("aaa"), true)
        );
        for name in ["redis-1.example:7000", "10.0.0.1:7000"] {
            assert_eq!(new.find(&address(name)), Some(id(0)), "{name}");
        }
        check_owner(&new, 0, "redis-1.example:7000");
        let endpoints: Vec<_> = seed.endpoints().map(ToString::to_string).collect();
        assert_eq!(endpoints, ["10.0.0.1:7000", "redis-1.example:7000"]);
        assert!(new.with_moved(slot(0), &address("10.0.0.1:7000")).is_none());
        // Another node's answer does not change that.
        let other = three_but(&[
            ("aaa", "10.0.0.1:7000", "master", "-", 1, "0-5460"),
            ("bbb", "10.0.0.2:7000", "myself,master", "-", 2, "5461-10922"),
        ]);
        let asked = new.find(&address("10.0.0.2:7000")).unwrap();
        assert!(try_refresh(&new, asked.index(), &other).unwrap().topology.is_none());
    }

    #[test]
    fn seeds_with_host_names_find_their_nodes_one_by_one() {
        let old = cluster(&["redis-1.example:7000", "redis-2.example:7000", "10.0.0.3:7000"]);
        let one = refresh(&old, 0, &text(THREE));
        check_sound(&one);
        check_owner(&one, 6000, "10.0.0.2:7000");
        assert_eq!(one.server(id(1)).unwrap().standing(), Standing::Contact);
        assert_eq!(one.find(&address("10.0.0.3:7000")), Some(id(2)));
        let other = three_but(&[
            ("aaa", "10.0.0.1:7000", "master", "-", 1, "0-5460"),
            ("bbb", "10.0.0.2:7000", "myself,master", "-", 2, "5461-10922"),
        ]);
        let two = refresh(&one, 1, &other);
        check_sound(&two);
        check_owner(&two, 6000, "redis-2.example:7000");
        assert_eq!(two.find(&address("10.0.0.2:7000")), Some(id(1)));
        assert_eq!(two.servers().count(), 6);
    }

    #[test]
    fn a_name_for_all_nodes_stays_with_the_one_that_it_meant_first() {
        let one = refresh(&cluster(&["redis.example:7000"]), 0, &text(THREE));
        let from_bbb = three_but(&[
            ("aaa", "10.0.0.1:7000", "master", "-", 1, "0-5460"),
            ("bbb", "10.0.0.2:7000", "myself,master", "-", 2, "5461-10922"),
        ]);
        assert!(try_refresh(&one, 0, &from_bbb).unwrap().topology.is_none());
        // Until that node is gone: then whoever answers is meant.
        let from_bbb = three_but(&[
            ("aaa", "", "", "", 0, ""),
            ("bbb", "10.0.0.2:7000", "myself,master", "-", 2, "5461-10922"),
            ("ddd", "10.0.0.4:7000", "master", "-", 9, "0-5460"),
        ]);
        let two = refresh(&one, 0, &from_bbb);
        check_sound(&two);
        check_owner(&two, 6000, "redis.example:7000");
        check_owner(&two, 0, "10.0.0.4:7000");
    }

    #[test]
    fn a_seed_whose_node_moved_follows_it() {
        let one = refresh(&cluster(&["redis-1.example:7000"]), 0, &text(THREE));
        let moved = three_but(&[("aaa", "10.0.7.7:7000", "myself,master", "-", 1, "0-5460")]);
        let two = refresh(&one, 0, &moved);
        check_sound(&two);
        assert_eq!(two.find(&address("10.0.7.7:7000")), Some(id(0)));
        assert_eq!(two.find(&address("10.0.0.1:7000")), None);
        assert!(one.changed_slots(&two).next().is_none());
    }

    const FROM_BBB: (&str, &str, &str, &str, u64, &str) =
        ("bbb", "10.0.0.2:7000", "myself,master", "-", 2, "5461-10922");

    #[test]
    fn others_may_tell_where_the_node_of_a_seed_is_now() {
        let one = refresh(&cluster(&["redis-1.example:7000"]), 0, &text(THREE));
        let asked = one.find(&address("10.0.0.2:7000")).unwrap().index();
        let moved = ("aaa", "10.0.7.7:7000", "master", "-", 1, "0-5460");
        let two = refresh(&one, asked, &three_but(&[FROM_BBB, moved]));
        check_sound(&two);
        assert_eq!(two.find(&address("10.0.7.7:7000")), Some(id(0)));
        // A new node at the old address is the seed's, too.
        let replaced = [
            FROM_BBB,
            ("aaa", "", "", "", 0, ""),
            ("zzz", "10.0.0.1:7000", "master", "-", 1, "0-5460"),
        ];
        let two = refresh(&one, asked, &three_but(&replaced));
        check_sound(&two);
        check_owner(&two, 0, "redis-1.example:7000");
        assert_eq!(two.server(id(0)).unwrap().node_id(), Some("zzz"));
    }

    #[test]
    fn a_seed_that_turns_out_to_be_another_node_is_not_mistaken_for_it() {
        let one = three();
        let moved = ("aaa", "10.0.7.7:7000", "master", "-", 1, "0-5460");
        let two = refresh(&one, 0, &three_but(&[FROM_BBB, moved]));
        check_sound(&two);
        check_owner(&two, 0, "10.0.7.7:7000");
        check_owner(&two, 6000, "10.0.0.2:7000");
        assert_eq!(two.server(id(0)).unwrap().standing(), Standing::Contact);
    }

    #[test]
    fn a_node_that_the_file_lists_twice_is_the_one_with_its_address() {
        let old = cluster(&["10.0.0.1:7000", "redis-1.example:7000"]);
        let new = refresh(&old, 1, &text(THREE));
        check_sound(&new);
        check_owner(&new, 0, "10.0.0.1:7000");
        assert_eq!(new.server(id(1)).unwrap().standing(), Standing::Contact);
    }

    #[test]
    fn a_seed_is_recognised_by_the_host_name_that_its_node_announces() {
        let old = cluster(&["10.0.0.1:7000", "redis-2.example:7000"]);
        let named = three_but(&[(
            "bbb",
            "10.0.0.2:7000@17000,redis-2.example",
            "master",
            "-",
            2,
            "5461-10922",
        )]);
        let new = refresh(&old, 0, &named);
        check_owner(&new, 6000, "redis-2.example:7000");
        assert_eq!(new.find(&address("10.0.0.2:7000")), Some(id(1)));
    }

    #[test]
    fn redirections_may_name_an_announced_host() {
        let named = three_but(&[(
            "bbb",
            "10.0.0.2:7000@17000,redis-2.example",
            "master",
            "-",
            2,
            "5461-10922",
        )]);
        let new = refresh(&three(), 0, &named);
        assert_eq!(new.find(&address("Redis-2.example:7000")), new.find(&address("10.0.0.2:7000")));
        assert!(new.with_moved(slot(6000), &address("redis-2.example:7000")).is_none());
        // A name that two nodes announce means neither.
        let named = three_but(&[
            ("bbb", "10.0.0.2:7000@17000,redis.example", "master", "-", 2, "5461-10922"),
            ("ccc", "10.0.0.3:7000@17000,redis.example", "master", "-", 3, "10923-16383"),
        ]);
        let new = refresh(&three(), 0, &named);
        assert_eq!(new.find(&address("redis.example:7000")), None);
    }

    #[test]
    fn a_node_that_does_not_know_its_address_is_the_one_that_was_asked() {
        let lost = three_but(&[("aaa", ":7000@17000", "myself,master", "-", 1, "0-5460")]);
        let topology = refresh(&cluster(&["redis-1.example:7000"]), 0, &lost);
        check_owner(&topology, 0, "redis-1.example:7000");
        assert_eq!(topology.servers().count(), 6);
        // It announces an address later, and is still the same; and it may forget it again.
        let next = refresh(&topology, 0, &text(THREE));
        assert_eq!(next.find(&address("10.0.0.1:7000")), Some(id(0)));
        assert!(try_refresh(&next, 0, &lost).unwrap().topology.is_none());
        // So is a node that only MOVED has named.
        let moved = cluster(&["10.0.0.8:7000"]);
        let moved = moved.with_moved(slot(0), &address("10.0.0.1:7000")).unwrap();
        let next = refresh(&moved, 1, &lost);
        check_owner(&next, 0, "10.0.0.1:7000");
        assert_eq!(next.master_of_slot(slot(0)), Some(id(1)));
    }

    #[test]
    fn nodes_that_cannot_be_used_are_left_out() {
        let odd = three_but(&[
            ("ggg", "10.0.0.7:7000", "handshake", "-", 0, ""),
            ("hhh", ":0@0", "slave,noaddr", "aaa", 0, ""),
            ("iii", ":0@0", "master,fail,noaddr", "-", 0, ""),
        ]);
        let refreshed = try_refresh(&cluster(&["10.0.0.1:7000"]), 0, &odd).unwrap();
        let topology = refreshed.topology.unwrap();
        check_sound(&topology);
        assert_eq!(topology.servers().count(), 6);
        let notes: Vec<_> = refreshed.notes.iter().map(ToString::to_string).collect();
        assert_eq!(notes, ["node hhh has no address", "node iii has no address"]);
    }

    #[test]
    fn a_node_whose_address_was_lost_keeps_its_slots_and_its_server() {
        let lost = three_but(&[("bbb", ":0@0", "master,fail,noaddr", "-", 2, "5461-10922")]);
        let new = refresh(&three(), 0, &lost);
        check_sound(&new);
        check_owner(&new, 6000, "10.0.0.2:7000");
        assert!(server(&new, "10.0.0.2:7000").is_down());
    }

    #[test]
    fn of_two_nodes_at_one_address_the_living_one_counts() {
        let twice = three_but(&[
            ("bbb", "10.0.0.2:7000", "master,fail", "-", 2, ""),
            ("bb2", "10.0.0.2:7000", "master", "-", 8, "5461-10922"),
        ]);
        let refreshed = try_refresh(&three(), 0, &twice).unwrap();
        let new = refreshed.topology.unwrap();
        check_sound(&new);
        check_owner(&new, 6000, "10.0.0.2:7000");
        assert_eq!(server(&new, "10.0.0.2:7000").node_id(), Some("bb2"));
        assert_eq!(refreshed.notes, [Note::SameAddress { node: "bbb".into() }]);
    }

    #[test]
    fn a_replica_of_a_replica_belongs_to_the_master_of_both() {
        let chain = three_but(&[("ggg", "10.0.0.7:7000", "slave", "ddd", 0, "")]);
        let topology = refresh(&three(), 0, &chain);
        check_sound(&topology);
        assert_eq!(server(&topology, "10.0.0.7:7000").group_name(), "aaa");
        let circle = three_but(&[
            ("ggg", "10.0.0.7:7000", "slave", "hhh", 0, ""),
            ("hhh", "10.0.0.8:7000", "slave", "ggg", 0, ""),
        ]);
        let topology = refresh(&three(), 0, &circle);
        assert_eq!(server(&topology, "10.0.0.7:7000").group(), None);
    }

    #[test]
    fn a_view_that_knows_only_itself_does_not_replace_a_good_one() {
        let old = refresh(
            &cluster(&["127.0.0.1:31600", "127.0.0.1:31606"]),
            0,
            samples::REDIS_6_2_STABLE,
        );
        let refused = try_refresh(&old, 1, samples::REDIS_6_2_FRESH).unwrap_err();
        assert_eq!(refused, Refused::Partial);
        let reset = text(&[("zzz", "127.0.0.1:31600", "myself,master", "-", 0, "")]);
        assert_eq!(try_refresh(&old, 0, &reset).unwrap_err(), Refused::Partial);
        // A node that has just joined knows some, not all.
        let joined = "\
            zzz 127.0.0.1:31606 myself,master - 0 0 0 connected\n\
            06cc5599588db6e11f5144907d3ecc5f682ff855 127.0.0.1:31600 master - 0 0 1 connected 0-5460\n";
        assert_eq!(try_refresh(&old, 1, joined).unwrap_err(), Refused::Partial);
    }

    #[test]
    fn whoever_has_slots_may_say_that_others_are_not_served() {
        let less = three_but(&[("ccc", "", "", "", 0, ""), ("fff", "", "", "", 0, "")]);
        let new = refresh(&three(), 0, &less);
        check_sound(&new);
        assert_eq!(owner(&new, 16000), None);
        assert!(!new.is_whole());
    }

    #[test]
    fn a_node_that_is_cut_off_is_not_believed() {
        let old = three();
        let cut_off = three_but(&[
            ("bbb", "10.0.0.2:7000", "master,fail?", "-", 2, "5461-10922"),
            ("ccc", "10.0.0.3:7000", "master,fail?", "-", 3, "10923-16383"),
        ]);
        assert_eq!(try_refresh(&old, 0, &cut_off).unwrap_err(), Refused::Minority);
        let one_lost = three_but(&[("bbb", "10.0.0.2:7000", "master,fail?", "-", 2, "5461-10922")]);
        assert!(try_refresh(&old, 0, &one_lost).is_ok());
        // Where nothing is known it is better than nothing.
        check_owner(&refresh(&cluster(&["10.0.0.1:7000"]), 0, &cut_off), 0, "10.0.0.1:7000");
    }

    #[test]
    fn another_cluster_at_an_old_address_is_not_believed_unless_the_file_says_so() {
        let old = three();
        let strange = |myself| {
            text(&[
                ("xxx", myself, "myself,master", "-", 1, "0-8000"),
                ("yyy", "10.5.0.2:7000", "master", "-", 1, "8001-16383"),
            ])
        };
        let asked = old.find(&address("10.0.0.4:7000")).unwrap().index();
        let refused = try_refresh(&old, asked, &strange("10.0.0.4:7000")).unwrap_err();
        assert_eq!(refused, Refused::OtherCluster);
        let listed = refresh(&old, 0, &strange("10.0.0.1:7000"));
        check_sound(&listed);
        check_owner(&listed, 0, "10.0.0.1:7000");
        check_owner(&listed, 9000, "10.5.0.2:7000");
    }

    #[test]
    fn a_lonely_first_seed_does_not_keep_us_from_asking_the_others() {
        let old = cluster(&["127.0.0.1:31606", "10.0.0.1:7000"]);
        let lonely = refresh(&old, 0, samples::REDIS_6_2_FRESH);
        let mut random = Random::new(1);
        let contacts: BTreeSet<_> = (0..100).filter_map(|_| lonely.contact(&mut random)).collect();
        assert_eq!(contacts.len(), 2);
        let whole = refresh(&lonely, 1, &text(THREE));
        check_sound(&whole);
        assert_eq!(whole.server(id(0)).unwrap().standing(), Standing::Contact);
        for _ in 0..100 {
            let contact = whole.contact(&mut random).unwrap();
            assert_ne!(contact, id(0), "it is only asked when all else fails");
        }
    }

    #[test]
    fn seeds_are_asked_when_every_node_has_failed() {
        use super::super::health::{Failure, HealthRules};
        let rules = HealthRules { failure_limit: 1, retry_timeout_us: 1, probe_timeout_us: 1 };
        let topology = refresh(&cluster(&["10.0.0.1:7000", "redis.example:7000"]), 0, &text(THREE));
        let mut random = Random::new(1);
        for id in topology.routed() {
            topology.server(*id).unwrap().health().fail(Failure::ConnectRefused, 0, &rules);
        }
        let seed = topology.find(&address("redis.example:7000"));
        assert!((0..10).all(|_| topology.contact(&mut random) == seed));
        // And when the seeds have failed too, everybody in turn.
        let server = topology.server(seed.unwrap()).unwrap();
        server.health().fail(Failure::ConnectRefused, 0, &rules);
        let asked: BTreeSet<_> = (0..500).filter_map(|_| topology.contact(&mut random)).collect();
        assert_eq!(asked.len(), 7);
    }

    #[test]
    fn groups_keep_their_order_whoever_is_asked() {
        let old = three();
        let mut nodes = THREE.to_vec();
        nodes.reverse();
        assert!(try_refresh(&old, 0, &text(&nodes)).unwrap().topology.is_none());
        let fresh = refresh(&cluster(&["10.0.0.1:7000"]), 0, &text(&nodes));
        let names = |topology: &Topology| {
            topology.groups().iter().map(|group| group.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&fresh), names(&old));
        // A new master comes after the others, wherever its slots are.
        let grown = three_but(&[
            ("aaa", "10.0.0.1:7000", "myself,master", "-", 1, "100-5460"),
            ("000", "10.0.0.9:7000", "master", "-", 9, "0-99"),
        ]);
        assert_eq!(names(&refresh(&old, 0, &grown)), ["aaa", "bbb", "ccc", "000"]);
        // One without slots has a place as well, and keeps it.
        let spare = ("ggg", "10.0.0.7:7000", "master", "-", 0, "");
        let other = ("hhh", "10.0.0.8:7000", "master", "-", 0, "");
        let both = refresh(&old, 0, &three_but(&[spare, other]));
        let group = |topology: &Topology| server(topology, "10.0.0.8:7000").group();
        assert_eq!(group(&both), Some(GroupId(4)));
        assert_eq!(group(&refresh(&both, 0, &three_but(&[other]))), Some(GroupId(4)));
    }

    #[test]
    fn there_is_a_limit_to_the_servers() {
        let lines = (0..3000).map(|number| {
            let (high, low) = (number / 250, number % 250);
            format!("n{number} 10.1.{high}.{low}:7000 slave aaa 0 0 1 connected\n")
        });
        let text = text(THREE) + &lines.collect::<String>();
        let refreshed = try_refresh(&cluster(&["10.0.0.1:7000"]), 0, &text).unwrap();
        let topology = refreshed.topology.unwrap();
        check_sound(&topology);
        assert_eq!(topology.routed().len(), Topology::SERVERS_MAX);
        assert_eq!(refreshed.notes.len(), 3006 - Topology::SERVERS_MAX);
        assert!(topology.with_moved(slot(0), &address("10.9.9.9:1")).is_none());
    }

    #[test]
    fn a_new_configuration_keeps_what_was_discovered() {
        let old = three();
        let mut conf = cluster_conf(&["10.0.0.4:7000", "redis.example:7000"]);
        conf.common.static_slave_read_priority = 60;
        let new = old.reconfigured(&conf, None);
        check_sound(&new);
        assert!(old.changed_slots(&new).next().is_none());
        assert!(!server(&new, "10.0.0.1:7000").is_static());
        let read = new.choose(Place::Slot(slot(0)), false, |_| 0, &mut Random::new(1));
        assert_eq!(read.ok(), new.find(&address("10.0.0.4:7000")), "it is static now");
        assert_eq!(server(&new, "redis.example:7000").standing(), Standing::Contact);
    }

    /// It was known by the name that the file has; its links, and who is blocked on one, stay.
    #[test]
    fn a_node_that_the_file_lists_no_more_is_the_same_as_long_as_the_cluster_has_it() {
        let old = refresh(
            &cluster(&["10.0.0.1:7000", "redis-2.example:7000"]),
            1,
            &three_but(&[
                ("aaa", "10.0.0.1:7000", "master", "-", 1, "0-5460"),
                ("bbb", "10.0.0.2:7000", "myself,master", "-", 2, "5461-10922"),
            ]),
        );
        assert_eq!(old.master_of_slot(slot(6000)), Some(id(1)));
        let unlisted = old.reconfigured(&cluster_conf(&["10.0.0.1:7000"]), None);
        assert_eq!(unlisted.master_of_slot(slot(6000)), Some(id(1)));
        let new = try_refresh(&unlisted, 0, &text(THREE)).unwrap().topology.unwrap_or(unlisted);
        check_sound(&new);
        assert_eq!(new.master_of_slot(slot(6000)), Some(id(1)));
    }

    #[test]
    fn other_pools_have_no_slots() {
        let pool = super::super::test_support::fixed(&[("a", &["10.0.0.1:7000"])]);
        assert_eq!(try_refresh(&pool, 0, &text(THREE)).unwrap_err(), Refused::NoCluster);
        assert!(pool.with_moved(slot(0), &address("10.0.0.1:7000")).is_none());
        assert!(pool.with_asked(&address("10.0.0.9:7000")).is_none());
        assert_eq!(pool.master_of_slot(slot(0)), None);
    }

    #[test]
    fn any_history_leaves_a_sound_topology() {
        let seed = seed();
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "", "?", "::1"];
        let names = ["", ",a.example", ",b.example", ",,shard-id=x"];
        let flags = [
            "master",
            "slave",
            "master,fail",
            "slave,fail",
            "handshake",
            "master,fail?",
            "noaddr",
            "master,noaddr",
            "slave,nofailover",
            "master,slave",
            "noflags",
        ];
        let mut topology =
            cluster(&["10.0.0.1:7000", "a.example:7000", "lb.example:7000", "10.0.0.2:7001"]);
        for _ in 0..1500 {
            let mut lines = String::new();
            let nodes = 1 + random.index(8);
            let myself = random.index(nodes);
            for number in 0..nodes {
                let host = hosts[random.index(hosts.len())];
                let name = names[random.index(names.len())];
                let flag = flags[random.index(flags.len())];
                let me = if number == myself { "myself," } else { "" };
                let (id, master) = (random.index(12), random.index(12));
                let (port, epoch) = (7000 + random.index(2), random.index(4));
                let first = random.index(SLOTS);
                let last = first + random.index(SLOTS - first);
                let slots =
                    if random.one_in(3) { String::new() } else { format!("{first}-{last}") };
                lines += &format!(
                    "n{id} {host}:{port}@1{port}{name} {me}{flag} n{master} 0 0 {epoch} connected {slots}\n"
                );
            }
            let asked = id(random.index(topology.ids()));
            let nodes = parse_nodes(lines.as_bytes()).unwrap();
            let choice = if random.one_in(4) { HostChoice::Hostname } else { HostChoice::Ip };
            let next = match random.index(6) {
                0 => topology.with_moved(slot(random.below(16384)), &address("10.0.0.3:7000")),
                1 => topology.with_moved(slot(random.below(16384)), &address("c.example:7000")),
                2 => topology.with_asked(&address("10.0.0.8:7000")),
                _ => topology
                    .refreshed(&nodes, asked, choice, Older::Refuse)
                    .ok()
                    .and_then(|new| new.topology),
            };
            let Some(next) = next else { continue };
            check_sound(&next);
            for server in next.servers() {
                if let Some(before) = topology.server(server.id()) {
                    assert_eq!(before.address(), server.address());
                    assert!(Arc::ptr_eq(before.health(), server.health()));
                }
            }
            assert_eq!(next.servers().filter(|server| server.is_static()).count(), 4);
            topology = next;
        }
    }
}
