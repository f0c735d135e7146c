//! What the file lists: the seeds of a cluster, and groups.
//!
//! Fixed groups are complete with this: the first server of each is its master, for ever. In a
//! Sentinel pool it only says who may log in where, until a Sentinel has named them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::rules::{Groups, Listed};
use super::server::{Role, ServerId, Standing};
use super::server_group::{GroupId, ServerGroup};
use super::topology::{Kind, SlotTable, Topology};

impl Topology {
    /// Makes the file's servers the seeds of this cluster. Those that are part of it stay so.
    pub(super) fn apply_seeds(&mut self, seeds: &[Listed]) {
        if self.slots.is_none() {
            self.groups.clear();
            self.servers.iter_mut().for_each(|place| *place = None);
            self.slots = Some(Arc::new(SlotTable::new()));
        }
        let listed = self.list(Kind::Data, seeds, Standing::Contact);
        self.forget_listing(&listed);
        let gone: Vec<ServerId> = self
            .servers()
            .filter(|server| server.standing == Standing::Contact && !server.is_static)
            .map(|server| server.id)
            .collect();
        gone.into_iter().for_each(|id| self.remove(id));
    }

    /// Makes the file's groups those of this pool. A group that Sentinel told us about keeps what
    /// it said, if it still has its name.
    pub(super) fn apply_groups(&mut self, groups: &Groups) {
        self.slots = None;
        let mut old = std::mem::take(&mut self.groups);
        let mut listed = self.list(Kind::Sentinel, &groups.sentinels, Standing::Routed);
        let standing = if groups.by_sentinel { Standing::Offline } else { Standing::Routed };
        for (index, (name, servers)) in groups.groups.iter().enumerate() {
            let Some(id) = GroupId::from_index(index) else { break };
            let ids = self.list(Kind::Data, servers, standing);
            let place = old.iter().position(|group| &*group.name == name.as_str());
            let group = match place.filter(|_| groups.by_sentinel) {
                Some(place) => ServerGroup { id, ..old.swap_remove(place) },
                None => ServerGroup::new(id, name),
            };
            self.groups.push(group);
            listed.extend(ids);
        }
        if !groups.by_sentinel {
            self.fix(groups);
        }
        self.forget_listing(&listed);
        self.drop_the_unnamed();
    }

    /// Takes servers out that neither the file nor any group names, and sends home those that only
    /// the file does.
    pub(super) fn drop_the_unnamed(&mut self) {
        let named: BTreeSet<ServerId> = self
            .groups
            .iter()
            .flat_map(|group| group.servers().chain(group.sentinels.iter().copied()))
            .collect();
        let unnamed: Vec<_> = self
            .servers()
            .filter(|server| !named.contains(&server.id))
            .map(|server| (server.id, server.is_static, server.role))
            .collect();
        for (id, is_static, role) in unnamed {
            if !is_static {
                self.remove(id);
            } else if role != Role::Sentinel
                && let Some(server) = self.edit(id)
            {
                server.role = Role::Unknown;
                server.standing = Standing::Offline;
                server.is_down = false;
            }
        }
    }

    /// Enlists what the file lists, and returns it without repetitions.
    fn list(&mut self, kind: Kind, servers: &[Listed], standing: Standing) -> Vec<ServerId> {
        let mut ids = Vec::new();
        for listed in servers {
            let Some(server) = self.enlist(kind, &listed.address, standing) else { break };
            server.is_static = true;
            server.credentials.clone_from(&listed.credentials);
            if !ids.contains(&server.id) {
                ids.push(server.id);
            }
        }
        ids
    }

    /// Whoever the file does not list (any more) counts as discovered.
    fn forget_listing(&mut self, listed: &[ServerId]) {
        let rules = Arc::clone(&self.rules);
        let listed: BTreeSet<ServerId> = listed.iter().copied().collect();
        for server in self.servers.iter_mut().flatten() {
            if !listed.contains(&server.id) {
                let server = Arc::make_mut(server);
                server.is_static = false;
                server.credentials.clone_from(match server.role {
                    Role::Sentinel => &rules.sentinel_credentials,
                    _ => &rules.credentials,
                });
            }
        }
    }

    /// Makes the file's servers those of the groups: the first of each its master, for ever.
    fn fix(&mut self, conf: &Groups) {
        for server in self.servers.iter_mut().flatten() {
            if server.role != Role::Sentinel {
                let server = Arc::make_mut(server);
                server.role = Role::Slave;
                server.is_down = false;
                server.standing = Standing::Routed;
            }
        }
        let mut groups = std::mem::take(&mut self.groups);
        for (group, (_, servers)) in groups.iter_mut().zip(&conf.groups) {
            let mut ids = Vec::new();
            for listed in servers {
                ids.extend(self.id_of(Kind::Data, &listed.address).filter(|id| !ids.contains(id)));
            }
            group.replicas = ids.split_off(ids.len().min(1));
            group.master = ids.first().copied();
            // Who is listed in two groups is a master if it is one in any.
            if let Some(master) = group.master.and_then(|master| self.edit(master)) {
                master.role = Role::Master;
            }
        }
        self.groups = groups;
    }
}
