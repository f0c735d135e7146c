//! The configuration as one typed, checked value.
//!
//! In reading order: `conf_parser` knows lines, blocks and Include; `setting` knows which keys
//! there are and what their values look like; what is left makes a [`Conf`] of them. Nothing
//! here opens a socket, reads a clock or prints.

mod command_names;
mod conf_error;
mod pool_conf;
mod secret;

use std::path::PathBuf;

use crate::base::address::Address;

pub use command_names::Rights;
pub use conf_error::{ConfError, Place};
pub use pool_conf::{
    Distribution, GroupConf, Hash, PoolCommon, PoolConf, PoolKind, RefreshMethod, ServerConf,
    StandaloneConf,
};
pub use secret::Secret;

/// Everything that a configuration file and the command line say, checked.
#[derive(Clone, Debug)]
pub struct Conf {
    /// `Name`, shown in INFO, CONFIG GET and the log.
    pub name: String,
    /// Where to listen; at least one.
    pub binds: Vec<Bind>,
    /// How many handlers; 0 is one for each core.
    pub worker_threads: usize,
    /// Cap on the memory for traffic in bytes; 0 is none.
    pub max_memory: u64,
    /// Most clients at a time; `None` is what the limit on open files allows.
    pub max_clients: Option<u64>,
    /// Close a client that is idle this long; 0 is never.
    pub client_timeout_us: u64,
    /// Most bytes of replies that wait for one client.
    pub client_output_limit: u64,
    /// Most bytes of requests that wait for one client.
    pub client_query_limit: u64,
    /// `BufSize`: bytes of one buffer block, predixy's 16 bytes of header included.
    pub buf_size: u32,
    /// Where the log goes and what gets into it.
    pub log: LogConf,
    /// The data centre that the proxy is in.
    pub local_dc: Option<String>,
    /// The address that CLUSTER SLOTS and its kin give for the proxy; `None` is the one that the client reached.
    pub announce: Option<Address>,
    /// Where to answer `GET /metrics`; `None` is nowhere.
    pub metrics_bind: Option<Address>,
    /// How long a stop waits for what is in flight.
    pub shutdown_timeout_us: u64,
    /// Requests that took longer get into the slow log; `None` switches it off.
    pub slowlog_slower_than_us: Option<u64>,
    /// Most entries in the slow log.
    pub slowlog_max_len: usize,
    /// Who may do what; `None` is everybody everything.
    pub authority: Option<AuthorityConf>,
    /// The servers.
    pub pool: PoolConf,
    /// The data centres; `None` where the file defines none.
    pub data_center: Option<DataCenterConf>,
    /// The latency monitors in the order of the file.
    pub latency_monitors: Vec<LatencyMonitorConf>,
    /// What was accepted and yet is probably not meant, each with file and line.
    pub warnings: Vec<String>,
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// Where.
    pub address: Address,
    /// Whether each connection begins with a PROXY protocol header.
    pub proxy_protocol: bool,
}

/// Where the log goes and what gets into it.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConf {
    /// The file; `None` is the standard output.
    pub path: Option<PathBuf>,
    /// When a new file is begun.
    pub rotation: Rotation,
    /// Whether lines are dropped rather than waited for.
    pub allow_miss: bool,
    /// One line of so many is logged, Verb, Debug, Info, Notice, Warn, Error; 0 or less is none.
    pub samples: [i32; 6],
    /// Whether a line is a JSON object instead of predixy's text.
    pub json: bool,
}

/// When a new log file is begun; both parts 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Seconds of one file, counted from local midnight; 0 is any time. At most a day.
    pub period_s: u32,
    /// Bytes of one file; 0 is any size.
    pub size: u64,
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthorityConf {
    /// No two have the same user and password.
    pub identities: Vec<IdentityConf>,
}

/// One `Auth` block.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityConf {
    /// For `AUTH user password`; `None` is `AUTH password`.
    pub user: Option<String>,
    /// Empty together with no user is the identity that a client has before AUTH.
    pub password: Secret,
    /// What it may do.
    pub mode: Rights,
    /// Keys it may touch, where the two lists below do not say otherwise; `None` is all.
    pub key_prefixes: Option<Vec<Vec<u8>>>,
    /// Keys it may read; `None` is what `key_prefixes` says.
    pub read_key_prefixes: Option<Vec<Vec<u8>>>,
    /// Keys it may write; `None` is what `key_prefixes` says.
    pub write_key_prefixes: Option<Vec<Vec<u8>>>,
}

/// The data centres, and which of them is ours.
#[derive(Clone, Debug, PartialEq)]
pub struct DataCenterConf {
    /// Index of the data centre that the proxy is in.
    pub local: usize,
    /// All of them, each name once.
    pub centers: Vec<DcConf>,
}

/// One data centre.
#[derive(Clone, Debug, PartialEq)]
pub struct DcConf {
    /// Its name.
    pub name: String,
    /// What the text of its servers' addresses begins with; no two centres share one.
    pub address_prefixes: Vec<String>,
    /// From where it reads; centres that are not listed are not read from.
    pub read_policy: Vec<ReadPolicyConf>,
}

/// How much one data centre wants to read from another.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadPolicyConf {
    /// Index of the other in [`DataCenterConf::centers`].
    pub center: usize,
    /// The highest is read from; 0 never.
    pub priority: u32,
    /// The share among centres of the same priority.
    pub weight: u32,
}

/// One `LatencyMonitor` block.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyMonitorConf {
    /// Its name, each once.
    pub name: String,
    /// Names of the commands that it measures, in lower case.
    pub commands: Vec<String>,
    /// Upper bounds of its buckets in rising order.
    pub bounds_us: Vec<u64>,
}
