//! What the file lists: the seeds of a cluster, and groups.
//!
//! Fixed groups are complete with this: the first server of each is its master, for ever. In a
//! Sentinel pool it only says who may log in where, until a Sentinel has named them.

use std::sync::Arc;

use super::draft::Kind;
use super::rules::{Groups, Listed};
use super::server::{Role, ServerId, Standing};
use super::server_group::{GroupId, ServerGroup};
use super::topology::{SlotTable, Topology};
use crate::base::sorted_map::SortedSet;

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
        let named: SortedSet<ServerId> = self
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
        let listed: SortedSet<ServerId> = listed.iter().copied().collect();
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

#[cfg(test)]
mod tests {
    use super::super::test_support::{
        address, cluster, cluster_conf, fixed, fixed_conf, sentinel_conf,
    };
    use super::*;

    fn role(topology: &Topology, at: &str) -> Role {
        let id = topology.find(&address(at)).unwrap();
        topology.server(id).unwrap().role()
    }

    fn password(topology: &Topology, at: &str) -> Option<Vec<u8>> {
        let id = topology.find(&address(at)).unwrap();
        let credentials = topology.server(id).unwrap().credentials()?;
        Some(credentials.password.to_vec())
    }

    #[test]
    fn the_first_server_of_a_fixed_group_is_its_master() {
        let topology = fixed(&[("a", &["10.0.0.1:1", "own@10.0.0.1:2"]), ("b", &["10.0.0.2:1"])]);
        let listed: Vec<_> = topology
            .listed()
            .map(|server| (server.address().to_string(), server.role().name(), server.group_name()))
            .collect();
        assert_eq!(
            listed,
            [
                ("10.0.0.1:1".to_owned(), "master", "a"),
                ("10.0.0.1:2".to_owned(), "slave", "a"),
                ("10.0.0.2:1".to_owned(), "master", "b"),
            ]
        );
        assert!(topology.servers().all(|server| server.is_static()));
        assert_eq!(password(&topology, "10.0.0.1:1").as_deref(), Some(&b"pool"[..]));
        assert_eq!(password(&topology, "10.0.0.1:2").as_deref(), Some(&b"own"[..]));
    }

    #[test]
    fn a_server_is_in_its_group_once() {
        let topology = fixed(&[("a", &["10.0.0.1:1", "10.0.0.1:1", "10.0.0.2:1", "10.0.0.2:1"])]);
        assert_eq!(topology.groups()[0].servers().map(ServerId::index).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_user_name_goes_with_every_password() {
        let mut conf = fixed_conf(&[("a", &["own@10.0.0.1:1"])]);
        conf.common.username = Some("proxy".to_owned());
        let topology = Topology::from_conf(&conf, None);
        let server = topology.servers().next().unwrap();
        let credentials = server.credentials().unwrap();
        assert_eq!(credentials.username.as_deref(), Some("proxy"));
        conf.common.password = None;
        conf.kind = fixed_conf(&[("a", &["10.0.0.1:1"])]).kind;
        let topology = topology.reconfigured(&conf, None);
        assert_eq!(password(&topology, "10.0.0.1:1"), None);
    }

    #[test]
    fn a_new_configuration_keeps_ids_and_health() {
        let old = fixed(&[("a", &["10.0.0.1:1", "10.0.0.1:2"]), ("b", &["10.0.0.2:1"])]);
        let conf = fixed_conf(&[("b", &["10.0.0.2:1", "10.0.0.1:1"]), ("c", &["10.0.0.3:1"])]);
        let new = old.reconfigured(&conf, None);
        assert_eq!(new.version(), old.version() + 1);
        for at in ["10.0.0.1:1", "10.0.0.2:1"] {
            let id = old.find(&address(at)).unwrap();
            assert_eq!(new.find(&address(at)), Some(id));
            let (old, new) = (old.server(id).unwrap(), new.server(id).unwrap());
            assert!(Arc::ptr_eq(old.health(), new.health()));
        }
        assert_eq!(new.find(&address("10.0.0.1:2")), None);
        assert_eq!(new.find(&address("10.0.0.3:1")).map(ServerId::index), Some(3));
        assert_eq!(role(&new, "10.0.0.1:1"), Role::Slave);
        let names: Vec<_> = new.groups().iter().map(ServerGroup::name).collect();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(old.changed_groups(&new).count(), 2);
        // Who comes back has the id that it had.
        let back = new.reconfigured(&fixed_conf(&[("a", &["10.0.0.1:2"])]), None);
        assert_eq!(back.find(&address("10.0.0.1:2")).map(ServerId::index), Some(1));
        assert_eq!(back.servers().count(), 1);
    }

    #[test]
    fn seeds_are_contacts_and_nothing_else() {
        let old = cluster(&["10.0.0.1:1", "redis.example:1"]);
        assert!(old.servers().all(|server| server.standing() == Standing::Contact));
        assert_eq!(old.listed().count(), 2, "INFO lists them from the start");
        assert!(old.routed().is_empty());
        let new = old.reconfigured(&cluster_conf(&["redis.example:1", "own@10.0.0.3:1"]), None);
        assert_eq!(new.find(&address("10.0.0.1:1")), None);
        assert_eq!(new.find(&address("redis.example:1")).map(ServerId::index), Some(1));
        assert_eq!(password(&new, "10.0.0.3:1").as_deref(), Some(&b"own"[..]));
    }

    #[test]
    fn a_pool_may_even_change_its_kind() {
        let old = fixed(&[("a", &["10.0.0.1:1"]), ("b", &["10.0.0.2:1"])]);
        let new = old.reconfigured(&cluster_conf(&["10.0.0.2:1"]), None);
        assert!(new.is_cluster() && new.groups().is_empty());
        assert_eq!(new.servers().map(|server| server.id().index()).collect::<Vec<_>>(), [1]);
        let new = new.reconfigured(&sentinel_conf(&[&["10.0.0.2:1"]]), None);
        assert!(new.is_by_sentinel());
        assert_eq!(new.listed().count(), 0);
        assert_eq!(new.sentinels().len(), 2);
        let new = new.reconfigured(&fixed_conf(&[("a", &["10.0.0.1:1"])]), None);
        assert_eq!(new.servers().map(|server| server.id().index()).collect::<Vec<_>>(), [0]);
    }
}
