//! The next topology of a pool of groups, from what a Sentinel answers.
//!
//! `SENTINEL get-master-addr-by-name` decides who the master is, and nothing else does: a group
//! never has two (D-22). `SENTINEL replicas` and `SENTINEL sentinels` list everybody there is:
//! whoever is not listed is gone. Answers come in already split into fields.

use super::draft::Kind;
use super::server::{Role, ServerId, Standing};
use super::server_group::{GroupId, ServerGroup};
use super::topology::Topology;
use crate::base::address::Address;
use crate::base::order;

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

/// What a message of the channel `+switch-master` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterSwitch<'a> {
    /// The group, by the name under which Sentinel knows its master.
    pub group: &'a str,
    /// Who was its master, if that is an address.
    pub old: Option<Address>,
    /// Who is it now.
    pub new: Address,
}

impl MasterSwitch<'_> {
    /// Reads `name old-host old-port new-host new-port`.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<MasterSwitch<'_>> {
        let mut words = message.split(|byte| *byte == b' ');
        let group = std::str::from_utf8(words.next()?).ok()?;
        let old = host_and_port(words.next()?, words.next()?);
        let new = host_and_port(words.next()?, words.next()?)?;
        Some(MasterSwitch { group, old, new })
    }
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
        order::sort(&mut ids);
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
        order::sort(&mut ids);
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

#[cfg(test)]
mod tests {
    use super::super::test_support::{address, sentinel_conf};
    use super::super::topology::{NoServer, Place};
    use super::*;
    use crate::base::random::Random;

    const G0: GroupId = GroupId(0);
    const G1: GroupId = GroupId(1);

    fn up(at: &str) -> Peer {
        Peer { address: address(at), is_down: false, has_master: true }
    }

    fn down(at: &str) -> Peer {
        Peer { is_down: true, ..up(at) }
    }

    /// Two groups; of the first a master and two replicas are known, and one is in the file.
    fn pool() -> Topology {
        let conf = sentinel_conf(&[&["own@10.0.0.2:1"], &[]]);
        let topology = Topology::from_conf(&conf, None);
        let topology = topology.with_master(G0, &address("10.0.0.1:1")).unwrap();
        topology.with_replicas(G0, &[up("10.0.0.2:1"), up("10.0.0.3:1")]).unwrap()
    }

    fn write(topology: &Topology, group: GroupId) -> Result<String, NoServer> {
        let id = topology.choose(Place::Group(group), true, |_| 0, &mut Random::new(1))?;
        Ok(topology.server(id).unwrap().address().to_string())
    }

    /// The addresses that reads of a group go to.
    fn reads(topology: &Topology, group: GroupId) -> Vec<String> {
        let mut random = Random::new(1);
        let mut all: Vec<_> = (0..200)
            .filter_map(|_| topology.choose(Place::Group(group), false, |_| 0, &mut random).ok())
            .map(|id| topology.server(id).unwrap().address().to_string())
            .collect();
        all.sort();
        all.dedup();
        all
    }

    fn listed(topology: &Topology) -> Vec<String> {
        let lines = topology.listed().map(|server| {
            format!("{} {} {}", server.address(), server.role(), server.group_name())
        });
        lines.collect()
    }

    fn password(topology: &Topology, id: ServerId) -> Option<&[u8]> {
        topology.server(id)?.credentials().map(|credentials| &*credentials.password)
    }

    #[test]
    fn servers_are_used_from_when_a_sentinel_names_them() {
        let conf = sentinel_conf(&[&["own@10.0.0.2:1"], &[]]);
        let topology = Topology::from_conf(&conf, None);
        assert_eq!(listed(&topology), [""; 0]);
        assert_eq!(write(&topology, G0), Err(NoServer::NoMaster));
        let topology = pool();
        assert_eq!(
            listed(&topology),
            ["10.0.0.2:1 slave g0", "10.0.0.1:1 master g0", "10.0.0.3:1 slave g0",]
        );
        assert_eq!(write(&topology, G0).as_deref(), Ok("10.0.0.1:1"));
        assert_eq!(reads(&topology, G0), ["10.0.0.2:1", "10.0.0.3:1"]);
        assert_eq!(write(&topology, G1), Err(NoServer::NoMaster));
        assert_eq!(topology.masters().count(), 1);
        let own = topology.find(&address("10.0.0.2:1")).unwrap();
        assert_eq!(password(&topology, own), Some(&b"own"[..]));
        let discovered = topology.find(&address("10.0.0.3:1")).unwrap();
        assert_eq!(password(&topology, discovered), Some(&b"pool"[..]));
    }

    #[test]
    fn what_is_known_is_nothing_new() {
        let topology = pool();
        assert!(topology.with_master(G0, &address("10.0.0.1:1")).is_none());
        let same = [up("10.0.0.3:1"), up("10.0.0.2:1"), up("10.0.0.2:1"), up("10.0.0.1:1")];
        assert!(topology.with_replicas(G0, &same).is_none());
    }

    #[test]
    fn d22_the_named_master_is_the_only_one() {
        let old = pool();
        let new = old.with_master(G0, &address("10.0.0.3:1")).unwrap();
        assert_eq!(write(&new, G0).as_deref(), Ok("10.0.0.3:1"));
        assert_eq!(old.changed_groups(&new).collect::<Vec<_>>(), [G0]);
        // The one before is not read from until Sentinel says that it follows the new one.
        assert_eq!(reads(&new, G0), ["10.0.0.2:1"]);
        let old_master = new.server(new.find(&address("10.0.0.1:1")).unwrap()).unwrap();
        assert_eq!((old_master.role(), old_master.is_down()), (Role::Slave, true));
        let back = new.with_replicas(G0, &[up("10.0.0.1:1"), up("10.0.0.2:1")]).unwrap();
        assert_eq!(reads(&back, G0), ["10.0.0.1:1", "10.0.0.2:1"]);
        // And if Sentinel forgets it, it is gone.
        let gone = new.with_replicas(G0, &[up("10.0.0.2:1")]).unwrap();
        assert_eq!(gone.find(&address("10.0.0.1:1")), None);
        assert_eq!(write(&gone, G0).as_deref(), Ok("10.0.0.3:1"));
    }

    #[test]
    fn d22_a_replica_list_from_before_the_failover_changes_no_master() {
        let new = pool().with_master(G0, &address("10.0.0.3:1")).unwrap();
        let late = [up("10.0.0.2:1"), up("10.0.0.3:1")];
        let new = new.with_replicas(G0, &late).unwrap();
        assert_eq!(write(&new, G0).as_deref(), Ok("10.0.0.3:1"));
        assert_eq!(new.group(G0).unwrap().replicas().len(), 1);
    }

    #[test]
    fn d22_replicas_that_are_down_are_not_read_from() {
        let topology = pool();
        let one_down = topology.with_replicas(G0, &[down("10.0.0.2:1"), up("10.0.0.3:1")]).unwrap();
        assert_eq!(reads(&one_down, G0), ["10.0.0.3:1"]);
        let both = topology.with_replicas(G0, &[down("10.0.0.2:1"), down("10.0.0.3:1")]).unwrap();
        assert_eq!(reads(&both, G0), ["10.0.0.1:1"], "the master is left");
        assert_eq!(listed(&both).len(), 3);
    }

    #[test]
    fn a_replica_alone_without_its_master_is_not_read_from() {
        let lost = |at| Peer { has_master: false, ..up(at) };
        let topology = pool();
        let one = topology.with_replicas(G0, &[lost("10.0.0.2:1"), up("10.0.0.3:1")]).unwrap();
        assert_eq!(reads(&one, G0), ["10.0.0.3:1"]);
        let both = one.with_replicas(G0, &[lost("10.0.0.2:1"), lost("10.0.0.3:1")]).unwrap();
        assert_eq!(reads(&both, G0), ["10.0.0.2:1", "10.0.0.3:1"], "the master is gone");
    }

    #[test]
    fn d22_flags_are_read_from_the_answer() {
        let entry = |flags: &'static [u8], link: &'static [u8]| {
            let fields: [&[u8]; 10] = [
                b"name",
                b"10.0.0.2:1",
                b"ip",
                b"10.0.0.2",
                b"port",
                b"1",
                b"flags",
                flags,
                b"master-link-status",
                link,
            ];
            Peer::from_fields(&fields).unwrap()
        };
        assert_eq!(entry(b"slave", b"ok"), up("10.0.0.2:1"));
        assert!(!entry(b"slave", b"err").has_master);
        for flags in
            [&b"s_down,slave"[..], b"slave,o_down", b"slave,disconnected", b"slave,master_down"]
        {
            assert!(entry(flags, b"ok").is_down, "{flags:?}");
        }
        for flags in [&b"slave,promoted"[..], b"slave,reconf_sent", b"", b"s_downy"] {
            assert!(!entry(flags, b"ok").is_down, "{flags:?}");
        }
    }

    #[test]
    fn entries_without_a_usable_address_are_none() {
        let none: [&[&[u8]]; 7] = [
            &[],
            &[b"ip"],
            &[b"ip", b"10.0.0.1"],
            &[b"ip", b"10.0.0.1", b"port", b"0"],
            &[b"ip", b"10.0.0.1", b"port", b"65536"],
            &[b"ip", b"", b"port", b"1"],
            &[b"ip", b"\xff", b"port", b"1"],
        ];
        for fields in none {
            assert_eq!(Peer::from_fields(fields), None, "{fields:?}");
        }
        let named = Peer::from_fields(&[b"port", b"26379", b"ip", b"guard.example"]).unwrap();
        assert_eq!(named, up("guard.example:26379"));
    }

    #[test]
    fn answers_about_the_master_are_read() {
        assert_eq!(master_address(&[b"10.0.0.1", b"6379"]), Some(address("10.0.0.1:6379")));
        assert_eq!(master_address(&[b"::1", b"6379"]), Some(address("[::1]:6379")));
        assert_eq!(
            master_address(&[b"redis.example", b"6379"]),
            Some(address("redis.example:6379"))
        );
        let none: [&[&[u8]]; 4] = [&[], &[b"10.0.0.1"], &[b"10.0.0.1", b"x"], &[b"a", b"1", b"2"]];
        for fields in none {
            assert_eq!(master_address(fields), None, "{fields:?}");
        }
        let message = MasterSwitch::parse(b"g1 10.0.0.1 6379 10.0.0.2 6380");
        let switch = MasterSwitch {
            group: "g1",
            old: Some(address("10.0.0.1:6379")),
            new: address("10.0.0.2:6380"),
        };
        assert_eq!(message, Some(switch));
        for message in [&b""[..], b"g1 a 1 b", b"g1 a 1 b x", b"\xff a 1 b 1"] {
            assert_eq!(MasterSwitch::parse(message), None, "{message:?}");
        }
        assert_eq!(pool().group_named("g1"), Some(G1));
        assert_eq!(pool().group_named("g2"), None);
    }

    #[test]
    fn d22_sentinels_get_their_own_password() {
        let topology = pool();
        let asked = topology.sentinels()[0];
        let new = topology.with_sentinels(G0, asked, &[up("10.9.0.3:26379")]).unwrap();
        let passwords: Vec<_> = new.sentinels().iter().map(|id| password(&new, *id)).collect();
        assert_eq!(passwords, [Some(&b"guard"[..]), Some(b"own"), Some(b"guard")]);
        assert_eq!(new.find(&address("10.9.0.3:26379")), None, "it keeps no data");
        assert_eq!(new.listed().count(), 3);
        assert!(new.with_sentinels(G0, asked, &[up("10.9.0.3:26379")]).is_none());
    }

    #[test]
    fn sentinels_stay_while_they_watch_some_group() {
        let topology = pool();
        let first = topology.sentinels()[0];
        let third = [up("10.9.0.3:26379")];
        let new = topology.with_sentinels(G0, first, &third).unwrap();
        let new = new.with_sentinels(G1, first, &[]).unwrap();
        assert_eq!(new.sentinels().len(), 3);
        // The third is asked: it does not list itself, but it is there.
        let asked = new.sentinels()[2];
        let new = new.with_sentinels(G0, asked, &[down("10.9.0.1:26379")]).unwrap();
        assert_eq!(new.sentinels().len(), 3);
        let mut random = Random::new(1);
        assert!((0..100).all(|_| new.any_sentinel(&mut random) != Some(first)), "it is down");
        let new = new.with_sentinels(G0, first, &[]).unwrap();
        assert_eq!(new.sentinels().len(), 2, "those of the file");
        assert!((0..100).any(|_| new.any_sentinel(&mut random) == Some(first)), "it answered");
    }

    #[test]
    fn there_is_a_limit_to_the_sentinels() {
        let many: Vec<_> = (0..100).map(|number| up(&format!("10.8.0.{number}:26379"))).collect();
        let topology = pool();
        let new = topology.with_sentinels(G0, topology.sentinels()[0], &many).unwrap();
        assert_eq!(new.sentinels().len(), Topology::SENTINELS_MAX);
    }

    #[test]
    fn a_server_serves_one_group() {
        let topology = pool();
        let new = topology.with_master(G1, &address("10.0.0.3:1")).unwrap();
        assert_eq!(reads(&new, G0), ["10.0.0.2:1"]);
        assert_eq!(write(&new, G1).as_deref(), Ok("10.0.0.3:1"));
        let new = new.with_replicas(G1, &[up("10.0.0.2:1"), up("10.0.0.1:1")]).unwrap();
        assert_eq!(reads(&new, G1), ["10.0.0.2:1"]);
        assert_eq!(reads(&new, G0), ["10.0.0.1:1"]);
        assert_eq!(write(&new, G0).as_deref(), Ok("10.0.0.1:1"), "a master is nobody's replica");
    }

    #[test]
    fn health_and_ids_outlive_a_failover() {
        let old = pool();
        let new = old.with_master(G0, &address("10.0.0.3:1")).unwrap();
        for server in old.servers() {
            let now = new.server(server.id()).unwrap();
            assert_eq!(now.address(), server.address());
            assert!(std::sync::Arc::ptr_eq(now.health(), server.health()));
        }
    }

    #[test]
    fn a_new_configuration_keeps_what_sentinel_said() {
        let old = pool();
        let asked = old.sentinels()[0];
        let old = old.with_sentinels(G0, asked, &[up("10.9.0.3:26379")]).unwrap();
        let new = old.reconfigured(&sentinel_conf(&[&[], &["10.0.0.4:1"], &[]]), None);
        assert_eq!(listed(&new), listed(&old));
        assert_eq!(write(&new, G0).as_deref(), Ok("10.0.0.1:1"));
        assert_eq!(new.groups().len(), 3);
        let id = new.find(&address("10.0.0.2:1")).unwrap();
        assert_eq!(password(&new, id), Some(&b"pool"[..]), "the file lists it no more");
        assert_eq!(new.sentinels().len(), 3);
        assert_eq!(password(&new, new.sentinels()[2]), Some(&b"guard"[..]));
    }

    #[test]
    fn other_pools_ask_no_sentinel() {
        let fixed = super::super::test_support::fixed(&[("a", &["10.0.0.1:1"])]);
        assert!(fixed.with_master(G0, &address("10.0.0.2:1")).is_none());
        assert!(fixed.with_replicas(G0, &[]).is_none());
        assert!(fixed.with_sentinels(G0, ServerId(0), &[up("10.9.0.3:1")]).is_none());
        assert!(pool().with_master(GroupId(7), &address("10.0.0.2:1")).is_none());
    }
}
