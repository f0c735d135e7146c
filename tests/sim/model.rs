//! The servers behind the proxy, as one: which there are, what they hold, who may answer what.
//! Knows no connections.
//!
//! There are two shapes: a Redis Cluster (`cluster.rs`), and groups that know nothing of each
//! other (`groups.rs`), which Sentinels may look after (`sentinel.rs`). What a command does to the
//! keys is the same in both (`commands.rs`).

use std::net::SocketAddr;

use super::cluster::Slots;
use super::data::Data;
use super::groups::Groups;
use super::pacts::Pacts;
use super::plan::{Kind, Plan};
use super::radio::Radio;
use super::sentinel::Sentinels;

/// All servers.
pub struct Model {
    pub nodes: Vec<Node>,
    pub data: Data,
    pub shape: Shape,
    pub sentinels: Sentinels,
    pub pacts: Pacts,
    pub radio: Radio,
    /// Replicas that have lost their master answer all the same.
    pub serves_stale: bool,
    /// How long a replica needs to get all that its master has.
    pub sync_us: u64,
}

/// How the keys are spread.
pub enum Shape {
    Cluster(Slots),
    Groups(Groups),
}

/// One server.
pub struct Node {
    pub address: SocketAddr,
    /// The others know it.
    pub is_member: bool,
    /// It is dead, and the others have noticed.
    pub is_failed: bool,
    /// It reaches none of the others and has noticed, or has just been started.
    pub is_isolated: bool,
    /// It was told the script since it was started.
    pub knows_script: bool,
}

/// How a connection stands when a request comes.
#[derive(Clone, Copy, Default)]
pub struct Standing {
    /// ASKING came before it.
    pub asking: bool,
    /// READONLY was said.
    pub readonly: bool,
    pub database: u32,
}

impl Model {
    /// The servers of a plan: masters, then the replicas of each, then those that may join.
    pub fn new(plan: &Plan) -> Model {
        let address =
            |host: usize| SocketAddr::from(([10, 0, 1, 1 + u8::try_from(host).unwrap_or(0)], 7001));
        let servers = plan.servers();
        let node = |index| Node {
            address: address(index),
            is_member: index < plan.members(),
            is_failed: false,
            is_isolated: false,
            knows_script: false,
        };
        let nodes: Vec<Node> = (0..servers).map(node).collect();
        let mut data = Data::new(servers);
        for replica in plan.masters..plan.members() {
            data.was_never_master(replica);
            data.follow(replica, plan.master_of(replica), 0);
            data.set_lag(replica, plan.lag_us);
            data.catch_up(replica);
        }
        let shape = match plan.kind {
            Kind::Cluster => Shape::Cluster(Slots::new(servers, plan)),
            Kind::Sentinel | Kind::Standalone => Shape::Groups(Groups::new(plan)),
        };
        Model {
            nodes,
            data,
            shape,
            sentinels: Sentinels::new(plan),
            pacts: Pacts::default(),
            radio: Radio::new(servers),
            serves_stale: plan.serves_stale,
            sync_us: plan.lag_us,
        }
    }

    /// The cluster, which it is.
    pub fn slots(&self) -> &Slots {
        match &self.shape {
            Shape::Cluster(slots) => slots,
            Shape::Groups(_) => panic!("there are no slots here"),
        }
    }

    pub fn slots_mut(&mut self) -> &mut Slots {
        match &mut self.shape {
            Shape::Cluster(slots) => slots,
            Shape::Groups(_) => panic!("there are no slots here"),
        }
    }

    /// The groups, which they are.
    pub fn groups(&self) -> &Groups {
        match &self.shape {
            Shape::Groups(groups) => groups,
            Shape::Cluster(_) => panic!("there are no groups here"),
        }
    }

    pub fn groups_mut(&mut self) -> &mut Groups {
        match &mut self.shape {
            Shape::Groups(groups) => groups,
            Shape::Cluster(_) => panic!("there are no groups here"),
        }
    }

    pub fn is_cluster(&self) -> bool {
        matches!(self.shape, Shape::Cluster(_))
    }

    /// Where a server or a Sentinel, which are counted after the servers, can be reached.
    pub fn address(&self, server: usize) -> SocketAddr {
        match self.nodes.get(server) {
            Some(node) => node.address,
            None => self.sentinels.address(server - self.nodes.len()),
        }
    }

    /// Whether a server is a master, as all will know in the end.
    pub fn is_master(&self, node: usize) -> bool {
        match &self.shape {
            Shape::Cluster(slots) => slots.is_master(node),
            Shape::Groups(groups) => groups.all[groups.group_with(node)].master == node,
        }
    }

    /// Whether what a server writes to a key lasts, unless a failover loses it.
    pub fn is_durable(&self, node: usize, key: &[u8]) -> bool {
        match &self.shape {
            Shape::Cluster(slots) => slots.may_hold(node, key),
            Shape::Groups(groups) => groups.group_of(key).master == node,
        }
    }

    /// The server that a key belongs to.
    pub fn home_of(&self, key: &[u8]) -> usize {
        match &self.shape {
            Shape::Cluster(slots) => slots.holder(self, key),
            Shape::Groups(groups) => groups.group_of(key).master,
        }
    }

    /// What a key holds now, where it belongs.
    pub fn value(&self, key: &[u8]) -> Option<&[u8]> {
        let node = self.home_of(key);
        let value = self.data.peek(node, key).map(|value| &**value);
        let last = self.data.history(key).iter().rfind(|entry| !entry.is_lost);
        let want = last.and_then(|entry| entry.value.as_deref());
        let holders = self.data.holders(key);
        let shown = super::wire::shown(key);
        assert!(value == want, "the model contradicts itself about {shown}: {node}, {holders:?}");
        value
    }

    /// The answer that refers a request elsewhere, or refuses it; `None` when the server executes
    /// it. Panics if the request should not be here at all.
    pub fn refer(
        &mut self,
        node: usize,
        standing: Standing,
        keys: &[&[u8]],
        real: &[&[u8]],
        writes: bool,
    ) -> Option<Vec<u8>> {
        self.data.catch_up(node);
        if self.is_cluster() {
            let elsewhere = self.refer_by_slot(node, standing, keys, real, writes);
            if elsewhere.is_none() {
                self.fetch_removed(node, real);
            }
            elsewhere
        } else {
            self.refer_by_group(node, standing, keys, writes)
        }
    }

    /// What a replica that has lost its master says to reads.
    pub fn master_down(&self, node: usize) -> Option<Vec<u8>> {
        let is_down = !self.serves_stale && !self.data.is_linked(node);
        let text =
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n";
        is_down.then(|| text.as_bytes().to_vec())
    }

    /// A server no longer hears from the others, nor they from it.
    pub fn lose_touch(&mut self, node: usize) {
        if self.is_cluster() {
            self.break_off_migrations(node);
        }
        self.data.sever(node);
    }

    /// Everything is as it should be, everybody knows, and nothing lags.
    pub fn settle(&mut self) {
        for node in 0..self.nodes.len() {
            self.nodes[node].is_isolated = false;
            self.nodes[node].is_failed = false;
        }
        match &self.shape {
            Shape::Cluster(_) => self.settle_cluster(),
            Shape::Groups(_) => self.settle_groups(),
        }
        for node in 0..self.nodes.len() {
            self.data.set_lag(node, 0);
            self.data.mend(node, 0);
            self.data.catch_up_fully(node);
        }
    }
}
