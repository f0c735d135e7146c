//! The configuration as one typed, checked value.
//!
//! In reading order: `conf_parser` knows lines, blocks and Include; `setting` knows which keys
//! there are and what their values look like; what is left makes a [`Conf`] of them. Nothing
//! here opens a socket, reads a clock or prints.

pub mod command_line;
pub mod conf_parser;
pub mod setting;
mod value;
mod block;
mod checker;
mod authority;
mod server_pool;
mod data_center;
mod latency_monitor;
mod custom_command;
mod pool_conf;
mod conf_error;
mod restart;
mod secret;

use std::path::{Path, PathBuf};

use crate::base::address::Address;
pub use crate::logger::Rotation;
use crate::resp::command::CommandTable;
use conf_parser::Tree;

pub use authority::{AuthorityConf, IdentityConf};
pub use conf_error::{ConfError, Place, Report};
pub use data_center::{DataCenterConf, DcConf, ReadPolicyConf};
pub use latency_monitor::LatencyMonitorConf;
pub use pool_conf::{
    Distribution, GroupConf, Hash, PoolCommon, PoolConf, PoolKind, RefreshMethod, ServerConf,
    StandaloneConf,
};
pub use secret::Secret;

/// Everything that a configuration file and the command line say, checked.
#[derive(Clone, Debug)]
pub struct Conf {
    /// Where all of this was read.
    pub source: Source,
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
    /// Most bytes of replies that wait for one client; 0 is no limit.
    pub client_output_limit: u64,
    /// Most bytes of one client's requests; 0 is no limit.
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
    /// The permissions of Unix sockets in `binds`; `None` is what the umask leaves.
    pub unix_socket_perm: Option<u32>,
    /// The group of their files, a name or a number.
    pub unix_socket_group: Option<String>,
    /// Who to become once everything is listened at, `user` or `user:group`.
    pub user: Option<String>,
    /// How long a stop waits for what is in flight.
    pub shutdown_timeout_us: u64,
    /// Requests that took longer get into the slow log; `None` switches it off.
    pub slowlog_slower_than_us: Option<u64>,
    /// Most entries in the slow log.
    pub slowlog_max_len: u32,
    /// Who may do what; `None` is everybody everything.
    pub authority: Option<AuthorityConf>,
    /// The servers.
    pub pool: PoolConf,
    /// The data centres; `None` where the file defines none.
    pub data_center: Option<DataCenterConf>,
    /// The latency monitors in the order of the file.
    pub latency_monitors: Vec<LatencyMonitorConf>,
    /// The commands there are, those of `CustomCommand` included.
    pub commands: CommandTable,
    /// The commands that nobody may use, as the file names them; the table knows them too.
    pub disabled_commands: Vec<String>,
    /// What was accepted and yet is probably not meant, each with file and line.
    pub warnings: Vec<String>,
}

/// Where a configuration comes from, so that it can be read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// What the command line sets instead.
    pub overrides: Vec<Override>,
}

/// A setting of the command line, which overrules the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key.
    pub name: &'static str,
    /// The value as written.
    pub value: Vec<u8>,
}

impl Conf {
    /// Takes `LocalDC` for the centre that the proxy is in, after it has been changed by name.
    ///
    /// # Errors
    ///
    /// There is no such centre, or none is named although there are some.
    pub fn relocate(&mut self) -> Result<(), String> {
        data_center::relocate(self.data_center.as_mut(), self.local_dc.as_deref())
    }

    /// Reads and checks the file at `path`, with `overrides` over it.
    ///
    /// # Errors
    ///
    /// All mistakes there are, first the one that predixy would name.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Conf, Vec<ConfError>> {
        let mut report = Report::default();
        let tree = conf_parser::load(path, &mut report);
        let source = Source { path: path.to_owned(), overrides: overrides.to_vec() };
        Conf::check(&tree, source, CommandTable::new(), report)
    }

    /// Reads and checks the same file again. No number of a command of this configuration means
    /// another one in the new one.
    ///
    /// # Errors
    ///
    /// As [`Conf::load`].
    pub fn read_again(&self) -> Result<Conf, Vec<ConfError>> {
        let mut report = Report::default();
        let tree = conf_parser::load(&self.source.path, &mut report);
        Conf::check(&tree, self.source.clone(), self.commands.successor(), report)
    }

    /// Checks `text` as if it were the file at `path`.
    ///
    /// # Errors
    ///
    /// As [`Conf::load`].
    pub fn parse(path: &Path, text: &[u8], overrides: &[Override]) -> Result<Conf, Vec<ConfError>> {
        let mut report = Report::default();
        let tree = conf_parser::parse(path, text, &mut report);
        let source = Source { path: path.to_owned(), overrides: overrides.to_vec() };
        Conf::check(&tree, source, CommandTable::new(), report)
    }

    fn check(
        tree: &Tree,
        source: Source,
        commands: CommandTable,
        mut report: Report,
    ) -> Result<Conf, Vec<ConfError>> {
        let overrides = &source.overrides;
        let conf = tree.sound.then(|| checker::check(tree, overrides, commands, &mut report));
        match conf {
            Some(conf) if report.errors.is_empty() => {
                Ok(Conf { source, warnings: report.warnings, ..conf })
            }
            _ => Err(report.errors),
        }
    }

    /// All defaults; no address to listen on, and no server.
    fn unconfigured() -> Conf {
        Conf {
            source: Source::default(),
            name: String::new(),
            binds: Vec::new(),
            worker_threads: 1,
            max_memory: 0,
            max_clients: None,
            client_timeout_us: 0,
            client_output_limit: 256 << 20,
            client_query_limit: 1 << 30,
            buf_size: 4_096,
            log: LogConf {
                path: None,
                rotation: Rotation::default(),
                allow_miss: true,
                samples: [0, 0, 0, 1, 1, 1],
                json: false,
            },
            local_dc: None,
            announce: None,
            metrics_bind: None,
            unix_socket_perm: None,
            unix_socket_group: None,
            user: None,
            shutdown_timeout_us: 10_000_000,
            slowlog_slower_than_us: Some(10_000),
            slowlog_max_len: 128,
            authority: None,
            pool: PoolConf {
                common: PoolCommon::default(),
                kind: PoolKind::Cluster { servers: Vec::new() },
            },
            data_center: None,
            latency_monitors: Vec::new(),
            commands: CommandTable::new(),
            disabled_commands: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// Where.
    pub address: Address,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
}

/// Whether each connection to an address begins with a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// It does not: clients speak at once.
    No,
    /// It does, and the header tells the address of the client.
    Addresses,
    /// The same, and the certificate that the proxy has verified tells who the client is.
    Users,
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
