//! The next topology of a pool of groups, from what a Sentinel answers.
//!
//! `SENTINEL get-master-addr-by-name` decides who the master is, and nothing else does: a group
//! never has two (D-22). `SENTINEL replicas` and `SENTINEL sentinels` list everybody there is:
//! whoever is not listed is gone. Answers come in already split into fields.

use super::server::{Role, ServerId, Standing};
use super::server_group::{GroupId, ServerGroup};
use super::topology::{Kind, Topology};
use crate::base::address::Address;

/// A replica or a Sentinel, as a Sentinel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: Address,
    /// The Sentinel cannot use it: `s_down`, `o_down`, `disconnected` or `master_down`.
    pub is_down: bool,
    /// It has a connection to its master.
    pub has_master: bool,
}

impl Peer {
    /// Reads one entry of `SENTINEL replicas` or `SENTINEL sentinels`: names and values in turn.
    /// `None` if there is no usable address in it.
    #[must_use]
    pub fn from_fields(fields: &[&[u8]]) -> Option<Peer> {
        let value = |name: &[u8]| {
            let (pairs, _) = fields.as_chunks::<2>();
            pairs.iter().find(|[key, _]| *key == name).map(|[_, value]| *value)
        };
        let flags = value(b"flags").unwrap_or_default();
        let is_down = flags
            .split(|byte| *byte == b',')
            .any(|flag| matches!(flag, b"s_down" | b"o_down" | b"disconnected" | b"master_down"));
        Some(Peer {
            address: host_and_port(value(b"ip")?, value(b"port")?)?,
            is_down,
            has_master: value(b"master-link-status").is_none_or(|status| status == b"ok"),
        })
    }
}

/// Reads the answer to `SENTINEL get-master-addr-by-name`: host and port. `None` for a nil answer
/// (no fields) and for anything else that is no address.
#[must_use]
pub fn master_address(fields: &[&[u8]]) -> Option<Address> {
    match fields {
        [host, port] => host_and_port(host, port),
        _ => None,
    }
}

/// Reads a message of the channel `+switch-master`, `name old-host old-port new-host new-port`:
/// the name, and the new master.
#[must_use]
pub fn switched_master(message: &[u8]) -> Option<(&str, Address)> {
    let mut words = message.split(|byte| *byte == b' ');
    let (name, _old_host, _old_port) = (words.next()?, words.next()?, words.next()?);
    let new = host_and_port(words.next()?, words.next()?)?;
    Some((std::str::from_utf8(name).ok()?, new))
}

impl Topology {
    /// The most Sentinels of a pool; those beyond are left out.
    pub const SENTINELS_MAX: usize = 64;

    /// The group of this name.
    #[must_use]
    pub fn group_named(&self, name: &str) -> Option<GroupId> {
        self.groups.iter().find(|group| &*group.name == name).map(|group| group.id)
    }

    /// What is known after a Sentinel named a group's master; `None` if that was known.
    ///
    /// The one before it counts as a replica that is down until Sentinel lists it as one.
    #[must_use]
    pub fn with_master(&self, group: GroupId, master: &Address) -> Option<Topology> {
        if !self.is_by_sentinel() {
            return None;
        }
        let mut draft = self.draft();
        let master = draft.member(master)?;
        let old = draft.group_to_change(group)?.master.replace(master);
        let old = old.filter(|old| *old != master);
        for other in &mut draft.groups {
            other.replicas.retain(|id| *id != master);
        }
        let is_master_elsewhere = |id| draft.groups.iter().any(|group| group.master == Some(id));
        if let Some(old) = old.filter(|old| !is_master_elsewhere(*old)) {
            draft.group_to_change(group)?.replicas.push(old);
            let server = draft.edit(old)?;
            server.role = Role::Slave;
            server.is_down = true;
        }
        let server = draft.edit(master)?;
        server.role = Role::Master;
        server.is_down = false;
        draft.finish(self)
    }

    /// What is known after a Sentinel listed a group's replicas; `None` if that was known.
    ///
    /// A replica without its master counts as down only while another one has it: if nobody has,
    /// the master is gone, and the replicas are all there is to read from.
    #[must_use]
    pub fn with_replicas(&self, group: GroupId, replicas: &[Peer]) -> Option<Topology> {
        if !self.is_by_sentinel() {
            return None;
        }
        let mut draft = self.draft();
        let master_is_there = replicas.iter().any(|peer| peer.has_master && !peer.is_down);
        let mut ids = Vec::new();
        for peer in replicas {
            let Some(id) = draft.member(&peer.address) else { break };
            // Who takes over is listed as a replica a moment longer; it is the master that counts.
            let is_master = draft.groups.iter().any(|group| group.master == Some(id));
            if is_master || ids.contains(&id) {
                continue;
            }
            let server = draft.edit(id)?;
            server.role = Role::Slave;
            server.is_down = peer.is_down || (master_is_there && !peer.has_master);
            ids.push(id);
        }
        for other in &mut draft.groups {
            other.replicas.retain(|id| !ids.contains(id));
        }
        ids.sort_unstable();
        draft.group_to_change(group)?.replicas = ids;
        draft.drop_the_unnamed();
        draft.finish(self)
    }

    /// What is known after `asked` listed the other Sentinels of a group; `None` if that was
    /// known. A Sentinel stays as long as it watches any group, or is in the file.
    #[must_use]
    pub fn with_sentinels(
        &self,
        group: GroupId,
        asked: ServerId,
        others: &[Peer],
    ) -> Option<Topology> {
        if !self.is_by_sentinel() {
            return None;
        }
        let mut draft = self.draft();
        let credentials = draft.rules.sentinel_credentials.clone();
        let mut ids = Vec::from_iter(draft.edit(asked).map(|asked| {
            // It answers, whatever the others think of it.
            asked.is_down = false;
            asked.id
        }));
        for peer in others {
            let is_full = draft.sentinel_count() >= Topology::SENTINELS_MAX;
            let known = draft.id_of(Kind::Sentinel, &peer.address);
            let Some(id) = known.filter(|id| !is_full || draft.server(*id).is_some()) else {
                continue;
            };
            if draft.server(id).is_none() {
                let new = draft.enlist(Kind::Sentinel, &peer.address, Standing::Routed)?;
                new.credentials.clone_from(&credentials);
            }
            draft.edit(id)?.is_down = peer.is_down;
            ids.push(id);
        }
        ids.sort_unstable();
        ids.dedup();
        draft.group_to_change(group)?.sentinels = ids;
        draft.drop_the_unnamed();
        draft.finish(self)
    }

    /// The server at an address, created if nobody knows it, and in use from now on.
    fn member(&mut self, address: &Address) -> Option<ServerId> {
        let id = self.id_of(Kind::Data, address)?;
        if self.server(id).is_none() {
            if self.count() >= Topology::SERVERS_MAX {
                return None;
            }
            let credentials = self.rules.credentials.clone();
            self.enlist(Kind::Data, address, Standing::Routed)?.credentials = credentials;
        }
        self.edit(id)?.standing = Standing::Routed;
        Some(id)
    }

    fn group_to_change(&mut self, id: GroupId) -> Option<&mut ServerGroup> {
        self.groups.iter_mut().find(|group| group.id == id)
    }

    fn sentinel_count(&self) -> usize {
        self.servers().filter(|server| server.role == Role::Sentinel).count()
    }
}

/// An address in two fields; port 0 is none.
fn host_and_port(host: &[u8], port: &[u8]) -> Option<Address> {
    let port: u16 = std::str::from_utf8(port).ok()?.parse().ok()?;
    if port == 0 {
        return None;
    }
    Address::from_host(std::str::from_utf8(host).ok()?, port).ok()
}
