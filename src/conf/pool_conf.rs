//! What a configuration says about the servers behind the proxy.
//!
//! Values only: who is up, who is master and who owns which slot is the pool's business.

use super::secret::Secret;
use crate::base::address::Address;

/// The server pool: which servers there are, and how they are treated.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolConf {
    /// The settings that every kind of pool has.
    pub common: PoolCommon,
    /// Which kind of pool it is, with what only that kind has.
    pub kind: PoolKind,
}

/// The settings that every kind of pool has.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolCommon {
    /// For servers that have no password of their own; `None` sends no AUTH.
    pub password: Option<Secret>,
    /// The ACL user that goes with the password; `None` is Redis's default user.
    pub username: Option<String>,
    /// How much a master is wanted for reads, 0 to 100.
    pub master_read_priority: u32,
    /// How much a replica that the file lists is wanted for reads, 0 to 100.
    pub static_slave_read_priority: u32,
    /// How much a replica that was discovered is wanted for reads, 0 to 100.
    pub dynamic_slave_read_priority: u32,
    /// Time between two looks at the topology; at least [`PoolCommon::REFRESH_INTERVAL_MIN_US`].
    pub refresh_interval_us: u64,
    /// How long a server may take to answer on a shared connection; 0 is for ever.
    pub server_timeout_us: u64,
    /// How long a connect may take; never 0.
    pub connect_timeout_us: u64,
    /// Consecutive failures after which a server counts as failed; at least 1.
    pub server_failure_limit: u32,
    /// Time between two probes of a failed server.
    pub server_retry_timeout_us: u64,
    /// Idle seconds before TCP keep-alive probes a server; 0 leaves keep-alive off.
    pub keep_alive_s: u32,
    /// How many databases a client may SELECT; 1 for clusters.
    pub databases: u32,
    /// How long a request that was not sent may wait for a new master; 0 is not at all.
    pub failover_hold_us: u64,
    /// How long a client that wrote reads from the master; 0 is not at all.
    pub read_your_writes_us: u64,
}

impl PoolCommon {
    /// A shorter `RefreshInterval`, also 0, is raised to this: predixy asks without a pause then.
    pub const REFRESH_INTERVAL_MIN_US: u64 = 10_000;
}

/// Where the servers of a pool come from.
#[derive(Clone, Debug, PartialEq)]
pub enum PoolKind {
    /// `ClusterServerPool`: a Redis Cluster, discovered from any of its nodes.
    Cluster {
        /// The nodes that the file lists; at least one.
        servers: Vec<ServerConf>,
    },
    /// `StandaloneServerPool` or `SentinelServerPool`.
    Standalone(StandaloneConf),
}

/// A pool of groups that know nothing of each other.
#[derive(Clone, Debug, PartialEq)]
pub struct StandaloneConf {
    /// How the servers of the groups are found.
    pub refresh: RefreshMethod,
    /// How a hash chooses a group; `None` only where there is one group.
    pub distribution: Option<Distribution>,
    /// How a key is hashed; `None` only where there is one group.
    pub hash: Option<Hash>,
    /// The two characters around the part of a key that is hashed.
    pub hash_tag: Option<(u8, u8)>,
    /// The Sentinels to ask; empty exactly where `refresh` is fixed.
    pub sentinels: Vec<ServerConf>,
    /// For Sentinels that have no password of their own.
    pub sentinel_password: Option<Secret>,
    /// The groups, in the order of the file, on which the distribution depends; at least one.
    pub groups: Vec<GroupConf>,
}

/// How the servers of the groups are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshMethod {
    /// The file lists them, the master first, for ever.
    Fixed,
    /// Sentinel knows them.
    Sentinel,
}

/// How a hash chooses a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// The hash modulo the number of groups.
    Modula,
    /// Any group.
    Random,
}

/// How a key is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// The number that the key begins with.
    Atol,
    /// CRC16, as Redis Cluster has it.
    Crc16,
}

/// A master and its replicas under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupConf {
    /// The name by which Sentinel knows its master.
    pub name: String,
    /// The servers that the file lists; with a fixed pool the master first, and never empty.
    pub servers: Vec<ServerConf>,
}

/// One server that the file lists.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConf {
    /// Where it is.
    pub address: Address,
    /// Its own password, written before an `@`; `None` uses the one of the pool.
    pub password: Option<Secret>,
}

impl Default for PoolCommon {
    fn default() -> PoolCommon {
        PoolCommon {
            password: None,
            username: None,
            master_read_priority: 50,
            static_slave_read_priority: 0,
            dynamic_slave_read_priority: 0,
            refresh_interval_us: 1_000_000,
            server_timeout_us: 0,
            connect_timeout_us: 1_000_000,
            server_failure_limit: 10,
            server_retry_timeout_us: 1_000_000,
            keep_alive_s: 0,
            databases: 1,
            failover_hold_us: 500_000,
            read_your_writes_us: 0,
        }
    }
}
