//! What the configuration says about the pool, in the shape in which choosing needs it.
//!
//! Made once for each configuration and shared by all topologies under it.

use std::sync::Arc;

use super::dc::DataCenters;
use super::hash_func::{atol, crc16, tagged};
use super::server::{Credentials, Role};
use crate::base::address::Address;
use crate::conf::{
    DataCenterConf, Distribution, Hash, PoolConf, PoolKind, RefreshMethod, Secret, ServerConf,
    StandaloneConf,
};

/// Everything that stays the same from one topology to the next.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where the servers come from.
    pub shape: Shape,
    /// The data centres.
    pub centers: DataCenters,
    /// For servers that are discovered.
    pub credentials: Option<Arc<Credentials>>,
    /// For Sentinels that are discovered.
    pub sentinel_credentials: Option<Arc<Credentials>>,
    master_priority: u32,
    static_slave_priority: u32,
    dynamic_slave_priority: u32,
}

/// Where the servers come from.
#[derive(Clone, Debug)]
pub enum Shape {
    /// From any node of a Redis Cluster.
    Cluster {
        /// Those to ask first.
        seeds: Vec<Listed>,
    },
    /// From the file, or from Sentinel.
    Groups(Groups),
}

/// A pool of groups that know nothing of each other.
#[derive(Clone, Debug)]
pub struct Groups {
    /// Whether Sentinel knows who is in them.
    pub by_sentinel: bool,
    /// The Sentinels of the file.
    pub sentinels: Vec<Listed>,
    /// The groups of the file, in its order.
    pub groups: Vec<(String, Vec<Listed>)>,
    distribution: Option<Distribution>,
    hash: Option<Hash>,
    hash_tag: Option<(u8, u8)>,
}

/// A server that the file lists.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Where it is.
    pub address: Address,
    /// How to log in there.
    pub credentials: Option<Arc<Credentials>>,
}

impl Rules {
    /// What the file says.
    pub fn new(conf: &PoolConf, centers: Option<&DataCenterConf>) -> Rules {
        let common = &conf.common;
        let user = common.username.as_ref();
        let (shape, sentinel_password) = match &conf.kind {
            PoolKind::Cluster { servers } => {
                let seeds = listed(servers, user, common.password.as_ref());
                (Shape::Cluster { seeds }, None)
            }
            PoolKind::Standalone(conf) => {
                let groups = Groups::new(conf, user, common.password.as_ref());
                (Shape::Groups(groups), conf.sentinel_password.as_ref())
            }
        };
        Rules {
            shape,
            centers: DataCenters::new(centers),
            credentials: credentials(user, common.password.as_ref()),
            sentinel_credentials: credentials(None, sentinel_password),
            master_priority: common.master_read_priority,
            static_slave_priority: common.static_slave_read_priority,
            dynamic_slave_priority: common.dynamic_slave_read_priority,
        }
    }

    /// Whether every read goes to the master, whatever else is known.
    pub fn reads_go_to_masters(&self) -> bool {
        self.master_priority > 0
            && self.static_slave_priority == 0
            && self.dynamic_slave_priority == 0
            && !self.centers.are_used()
    }

    /// How much a server of this role is wanted for reads; 0 never.
    pub fn priority(&self, role: Role, is_static: bool) -> u32 {
        match role {
            Role::Master => self.master_priority,
            Role::Slave if is_static => self.static_slave_priority,
            Role::Slave => self.dynamic_slave_priority,
            Role::Unknown | Role::Sentinel => 0,
        }
    }
}

impl Groups {
    fn new(conf: &StandaloneConf, user: Option<&String>, password: Option<&Secret>) -> Groups {
        let groups = conf.groups.iter();
        Groups {
            by_sentinel: conf.refresh == RefreshMethod::Sentinel,
            sentinels: listed(&conf.sentinels, None, conf.sentinel_password.as_ref()),
            groups: groups
                .map(|group| (group.name.clone(), listed(&group.servers, user, password)))
                .collect(),
            distribution: conf.distribution,
            hash: conf.hash,
            hash_tag: conf.hash_tag,
        }
    }

    /// The group of a key among so many; `None` is any of them. Total: every key, also the empty
    /// one, has a place (D-02).
    pub fn of_key(&self, key: &[u8], groups: u64) -> Option<u64> {
        if groups < 2 {
            return Some(0);
        }
        if self.distribution == Some(Distribution::Random) {
            return None;
        }
        let key = self.hash_tag.map_or(key, |(open, close)| tagged(key, open, close));
        let hash = match self.hash {
            Some(Hash::Atol) => atol(key),
            // predixy takes all 16 bits here, not the 14 of a slot.
            Some(Hash::Crc16) | None => u64::from(crc16(key)),
        };
        Some(hash % groups)
    }
}

fn listed(servers: &[ServerConf], user: Option<&String>, password: Option<&Secret>) -> Vec<Listed> {
    let servers = servers.iter().map(|server| Listed {
        address: server.address.clone(),
        credentials: credentials(user, server.password.as_ref().or(password)),
    });
    servers.collect()
}

fn credentials(user: Option<&String>, password: Option<&Secret>) -> Option<Arc<Credentials>> {
    let password = password?.clone();
    Some(Arc::new(Credentials { username: user.cloned(), password }))
}
