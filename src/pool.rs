//! Who the servers are, and which of them gets a request: data, no I/O.
//!
//! A [`Topology`] is built whole and replaced whole. In reading order: `server` and `health` are
//! one server; `server_group` is a master and its replicas, and which of them gets a read; `dc`
//! and `hash_func` are what it is chosen by; `topology` is all of it at one moment, and `draft`
//! the way to the next one; the three pools (`cluster_server_pool`, `sentinel_server_pool`,
//! `standalone_server_pool`) make that from the last one and what was learned; `sentinel_views`
//! decides whom to believe when Sentinels disagree; `server_pool` is how threads follow it.
//!
//! Nothing here connects, sleeps or reads a clock: who asks the servers hands in the answers and
//! the time.

mod hash_func;
mod slot;
mod health;
mod server;
mod dc;
mod server_group;
mod rules;
mod topology;
mod draft;
mod standalone_server_pool;
mod cluster_nodes_parser;
#[cfg(test)]
mod cluster_nodes_samples;
#[cfg(test)]
mod predixy_keys;
#[cfg(test)]
mod test_support;
mod cluster_server_pool;
mod sentinel_server_pool;
mod sentinel_views;
mod server_pool;

pub use cluster_nodes_parser::{
    HostChoice, Link, NodeAddress, NodeFlags, NodeLine, NodesError, parse_nodes,
};
pub use cluster_server_pool::{Note, Older, Refreshed, Refused};
pub use health::{Failure, Health, HealthRules};
pub use sentinel_server_pool::{MasterSwitch, Peer, master_address};
pub use sentinel_views::{Said, SentinelViews, Verdict};
pub use server::{Credentials, Role, Server, ServerId, Standing};
pub use server_group::{GroupId, ServerGroup};
pub use server_pool::{Current, View};
pub use slot::{SLOTS, Slot};
pub use topology::{NoServer, Place, Topology};
