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
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;
use std::sync::Arc;

use super::cluster_nodes_parser::{HostChoice, Link, NodeLine};
use super::server::{Role, Server, ServerId, Standing};
use super::server_group::{GroupId, ServerGroup};
use super::slot::{SLOTS, Slot};
use super::topology::{Kind, SlotTable, Topology};
use crate::base::address::Address;

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
    ) -> Result<Refreshed, Refused> {
        self.believe(nodes, asked)?;
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
        let known: BTreeSet<&str> = self.servers().filter_map(|server| server.node_id()).collect();
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
    taken: BTreeMap<ServerId, usize>,
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
            taken: BTreeMap::new(),
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
        refresh.nodes.sort_by_key(|node| {
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
        let ids: BTreeSet<&str> = self.nodes.iter().map(|node| &*node.line.id).collect();
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
                && let Entry::Vacant(free) = self.taken.entry(id)
            {
                free.insert(index);
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
        let names: BTreeMap<&str, &Node<'_>> =
            self.nodes.iter().map(|node| (&*node.line.id, node)).collect();
        let mut groups: BTreeMap<ServerId, ServerGroup> = BTreeMap::new();
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
            group.replicas.sort_unstable();
        }
        self.draft.groups = groups.into_values().collect();
        self.draft.slots = Some(Arc::new(table));
    }

    /// The masters; of two that claim the same slot the one whose claim counts comes later: that
    /// of the later epoch, and of the smaller id, which is what the nodes themselves settle on
    /// when two epochs are equal.
    fn masters(&self) -> Vec<(&Node<'a>, ServerId)> {
        let masters = self.nodes.iter().filter(|node| node.is_master());
        let mut masters: Vec<_> = masters.filter_map(|node| Some((node, node.server?))).collect();
        masters.sort_by_key(|(node, _)| (node.line.epoch, Reverse(&*node.line.id)));
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
        new.sort_by_key(|index| {
            let line = masters[*index].0.line;
            let first = line.slots.iter().map(|range| *range.start()).min();
            (first.is_none(), first, &line.id)
        });
        let mut used: BTreeSet<GroupId> = ids.iter().flatten().copied().collect();
        used.extend(old.iter().map(|group| group.id));
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
    server.announced = None;
    server.hostname = None;
}

/// The master that a replica follows, maybe by way of other replicas.
fn master_of(replica: &Node<'_>, nodes: &BTreeMap<&str, &Node<'_>>) -> Option<ServerId> {
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
