//! Which servers must tell about a topic.
//!
//! In a pool of groups a channel lives in the group of its name, for SUBSCRIBE and PUBLISH alike,
//! and a pattern in all of them. In a cluster every node passes on what is published, so that any
//! one will do; sharded channels live with their slot. What happens to keys is told only by the
//! server that has them, so whoever wants to know that needs them all.

use super::super::Handler;
use crate::base::glob;
use crate::pool::{GroupId, Place, ServerGroup, ServerId, Slot};
use crate::proxy::seats::Targets;
use crate::proxy::subscriptions::{Kind, Topic};

/// What the names of the channels begin with on which servers tell what happens to keys.
const EVENTS: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

/// Whether what comes on a channel is what a server tells of its own keys.
pub(super) fn is_event(channel: &[u8]) -> bool {
    EVENTS.iter().any(|prefix| channel.starts_with(prefix))
}

impl Handler {
    /// Where a topic should be subscribed to, as the servers are now.
    pub(super) fn targets(&self, topic: &Topic) -> Targets {
        if self.topology.is_cluster() {
            self.targets_in_cluster(topic)
        } else {
            self.targets_in_groups(topic)
        }
    }

    fn targets_in_groups(&self, topic: &Topic) -> Targets {
        let groups = self.topology.groups();
        let place = self.topology.place(&topic.name);
        match (topic.kind, place) {
            (Kind::Channel, Place::Group(group)) if !is_event(&topic.name) => {
                one(self.topology.group(group).and_then(ServerGroup::master))
            }
            (Kind::Shard, Place::Group(group)) => {
                one(self.topology.group(group).and_then(ServerGroup::master))
            }
            _ => {
                let masters = groups.iter().filter_map(|group| Some((group.id(), group.master()?)));
                let is_incomplete = groups.iter().any(|group| group.master().is_none());
                Targets { is_incomplete, ..masters_of(masters) }
            }
        }
    }

    fn targets_in_cluster(&self, topic: &Topic) -> Targets {
        let slot = Slot::of_key(&topic.name);
        match topic.kind {
            Kind::Shard => one(self.topology.master_of_slot(slot)),
            Kind::Channel if is_event(&topic.name) => self.every_master(None),
            Kind::Pattern if may_be_event(&topic.name) => {
                self.every_master(self.home_in_cluster(topic, slot))
            }
            Kind::Channel | Kind::Pattern => one(self.home_in_cluster(topic, slot)),
        }
    }

    fn every_master(&self, home: Option<ServerId>) -> Targets {
        let masters = self.topology.scannable();
        let is_incomplete = masters.is_empty();
        Targets { is_incomplete, home, ..masters_of(masters.iter().copied()) }
    }

    /// The node of a cluster that tells what is published: the one that does already, else the
    /// owner of the slot, where messages are published through us too, else any that is well.
    fn home_in_cluster(&self, topic: &Topic, slot: Slot) -> Option<ServerId> {
        let masters: Vec<_> = self.topology.masters().collect();
        let is_up =
            |server: ServerId| self.topology.server(server).is_some_and(|server| !server.is_down());
        let is_kept = |server: &ServerId| match topic.seats.home() {
            Some(home) => *server == home && masters.contains(server),
            None => is_up(*server),
        };
        if let Some(kept) = topic.seats.asked().find(is_kept) {
            return Some(kept);
        }
        let owner = self.topology.master_of_slot(slot);
        let start = slot.index() % masters.len().max(1);
        let others = masters.iter().cycle().skip(start).take(masters.len()).copied();
        let mut candidates = owner.into_iter().chain(others);
        candidates.find(|server| self.seems_well(*server)).or(owner).or(masters.first().copied())
    }

    fn seems_well(&self, server: ServerId) -> bool {
        let is_down =
            |target: &crate::pool::Server| target.is_down() || target.health().is_failed();
        let was_down = self.pools.get(server.index()).is_some_and(|pool| pool.down_since_us > 0);
        let is_shunned = (self.pubsub.upstreams.get(&server))
            .is_some_and(|upstream| self.now_us < upstream.shunned_until_us);
        let target = self.topology.server(server);
        target.is_some_and(|target| !is_down(target)) && !was_down && !is_shunned
    }
}

/// Whether a pattern may mean channels on which servers tell what happens to keys.
fn may_be_event(pattern: &[u8]) -> bool {
    EVENTS.iter().any(|prefix| glob::may_begin_with(pattern, prefix))
}

fn masters_of(masters: impl Iterator<Item = (GroupId, ServerId)>) -> Targets {
    let (groups, servers) = masters.unzip();
    Targets { servers, groups, ..Targets::default() }
}

fn one(server: Option<ServerId>) -> Targets {
    let servers = server.into_iter().collect();
    Targets { servers, is_incomplete: server.is_none(), ..Targets::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_may_mean_events_are_known() {
        for pattern in
            ["*", "__key*", "__keyspace@*__:*", "__keyevent@0__:expired", "__k???????@*", "_*"]
        {
            assert!(may_be_event(pattern.as_bytes()), "{pattern}");
        }
        for pattern in ["news.*", "__keys", "_?", "[a-z]*", "__key_*x"] {
            assert!(!may_be_event(pattern.as_bytes()), "{pattern}");
        }
        assert!(is_event(b"__keyspace@0__:k") && !is_event(b"__keyspace"));
    }
}
