//! What has to be true of every topology, whatever it was made of.

use std::collections::HashSet;

use predixy::pool::{Slot, Topology};

/// Who is named is there, nobody of a cluster is in two groups, and bounds hold.
pub fn check(topology: &Topology) {
    let mut members = HashSet::new();
    for group in topology.groups() {
        assert_eq!(topology.group(group.id()).map(|found| found.id()), Some(group.id()));
        for id in group.servers() {
            let server = topology.server(id).expect("a member of a group is there");
            let is_new = members.insert(id);
            assert!(is_new || !topology.is_cluster(), "{} is in two groups", server.address());
        }
        if let Some(master) = group.master() {
            assert!(!group.replicas().contains(&master), "a replica of itself");
        }
    }
    for server in topology.servers() {
        assert!(server.id().index() < topology.ids());
        assert_eq!(topology.server(server.id()).map(|found| found.id()), Some(server.id()));
        if let Some(group) = server.group() {
            assert!(topology.group(group).is_some(), "it is in a group that is not there");
        }
    }
    let named = topology.routed().iter().chain(topology.sentinels()).copied();
    for id in named.chain(topology.masters()) {
        assert!(topology.server(id).is_some(), "somebody is named who is not there");
    }
    assert!(topology.routed().len() <= Topology::SERVERS_MAX);
    assert!(topology.sentinels().len() <= Topology::SENTINELS_MAX);
    let mut served = 0;
    for slot in Slot::all() {
        let group = topology.group_of_slot(slot).map(|group| topology.group(group));
        let master = group.map(|group| group.expect("the group of a slot is there").master());
        assert_eq!(topology.master_of_slot(slot), master.flatten());
        served += usize::from(topology.master_of_slot(slot).is_some());
    }
    assert_eq!(topology.groups().iter().map(|group| group.slots()).sum::<usize>(), served);
}
