//! Makes a `Conf` of a tree: the keys and blocks outside of all others, and what must fit
//! together.

use std::collections::HashSet;

use super::block::{self, Seen};
use super::conf_error::{ConfError, Report};
use super::conf_parser::{Node, Tree};
use super::setting::{self, GLOBAL};
use super::{
    Bind, Conf, Override, PoolConf, ProxyProtocol, authority, custom_command, data_center,
    latency_monitor, server_pool,
};
use crate::base::address::Address;
use crate::resp::command::CommandTable;

/// Checks what the file says, with the command line's word over it.
///
/// Looks at things in predixy's order, so that the first mistake is the one that predixy names.
pub(super) fn check(
    tree: &Tree,
    overrides: &[Override],
    commands: CommandTable,
    report: &mut Report,
) -> Conf {
    let mut conf = Conf { commands, ..Conf::unconfigured() };
    let mut seen = Seen::default();
    let blocks = read_globals(tree, &mut conf, &mut seen, report);
    conf.authority = blocks.authority.map(|node| authority::read(node, report));
    if let Some(pool) = read_pool(&blocks, tree.complete, report) {
        conf.pool = pool;
    }
    let centers = blocks.data_center.map(|node| data_center::read(node, report));
    let mut monitor_names = HashSet::new();
    for node in &blocks.latency_monitors {
        let monitor = latency_monitor::read(node, &conf.commands, tree.complete, report);
        if !monitor_names.insert(monitor.name.clone()) {
            let message = format!("LatencyMonitor \"{}\" duplicate", monitor.name);
            report.error(Some(&node.place), message);
        }
        conf.latency_monitors.push(monitor);
    }
    for node in &blocks.disabled_commands {
        let (commands, disabled) = (&mut conf.commands, &mut conf.disabled_commands);
        custom_command::read_disabled(node, commands, disabled, tree.complete, report);
    }
    apply(overrides, &mut conf, report);
    if conf.binds.is_empty() {
        conf.binds.push(default_bind());
    }
    if tree.complete {
        let local = conf.local_dc.as_deref();
        let place = seen.place("LocalDC");
        conf.data_center = data_center::resolve(centers.unwrap_or_default(), local, place, report);
    }
    if let (1..MEMORY_SENSIBLE, Some(place)) = (conf.max_memory, seen.place("MaxMemory")) {
        let bytes = conf.max_memory;
        report.warn(place, format_args!("MaxMemory is {bytes} bytes only; 512M are megabytes"));
    }
    warn_of_nobody_to_name(tree, &conf, report);
    conf
}

/// Certificates are to tell who is who, and nobody has a name.
fn warn_of_nobody_to_name(tree: &Tree, conf: &Conf, report: &mut Report) {
    let names_users = |bind: &Bind| bind.proxy_protocol == ProxyProtocol::Users;
    let has_users = conf.authority.iter().flat_map(|authority| &authority.identities);
    if !conf.binds.iter().any(names_users) || has_users.into_iter().any(|auth| auth.user.is_some())
    {
        return;
    }
    let word = b"userfromcertificate";
    let says_so = |node: &&Node| node.is("Bind") && node.value.to_ascii_lowercase().ends_with(word);
    if let Some(node) = tree.nodes.iter().find(says_so) {
        report.warn(&node.place, "UserFromCertificate names nobody: no Auth block has a User");
    }
}

/// With less the proxy works only one small request at a time.
const MEMORY_SENSIBLE: u64 = 1 << 20;

/// The blocks that count, in the words of the file.
#[derive(Default)]
struct Blocks<'t> {
    authority: Option<&'t Node>,
    cluster: Option<&'t Node>,
    standalone: Option<&'t Node>,
    data_center: Option<&'t Node>,
    latency_monitors: Vec<&'t Node>,
    disabled_commands: Vec<&'t Node>,
}

fn read_globals<'t>(
    tree: &'t Tree,
    conf: &mut Conf,
    seen: &mut Seen,
    report: &mut Report,
) -> Blocks<'t> {
    let mut blocks = Blocks::default();
    for node in &tree.nodes {
        if block::read_setting(GLOBAL, conf, node, seen, report) {
        } else if node.is("LatencyMonitor") {
            blocks.latency_monitors.push(node);
        } else if node.is("Authority") {
            take_last(&mut blocks.authority, node, report);
        } else if node.is("ClusterServerPool") {
            take_last(&mut blocks.cluster, node, report);
        } else if node.is("SentinelServerPool") || node.is("StandaloneServerPool") {
            take_last(&mut blocks.standalone, node, report);
        } else if node.is("DataCenter") {
            take_last(&mut blocks.data_center, node, report);
        } else if node.is("CustomCommand") {
            custom_command::read(node, &mut conf.commands, report);
        } else if node.is("DisabledCommands") {
            blocks.disabled_commands.push(node);
        } else {
            block::unknown_key(node, report);
        }
    }
    blocks
}

/// Of several blocks predixy uses the last; so do we, but we say so.
fn take_last<'t>(slot: &mut Option<&'t Node>, node: &'t Node, report: &mut Report) {
    if let Some(earlier) = slot.replace(node) {
        let (key, earlier_key) = (node.key_text(), earlier.key_text());
        let place = &earlier.place;
        let message = format_args!("{key} is used, and {earlier_key} of {place} is ignored");
        report.warn(&node.place, message);
    }
}

fn read_pool(blocks: &Blocks<'_>, complete: bool, report: &mut Report) -> Option<PoolConf> {
    match (blocks.cluster, blocks.standalone) {
        (Some(_), Some(node)) => {
            let message = "Can't define ClusterServerPool/StandaloneServerPool at the same time";
            report.error(Some(&node.place), message);
            None
        }
        (Some(node), None) => Some(server_pool::read_cluster(node, report)),
        (None, Some(node)) => Some(server_pool::read_standalone(node, report)),
        (None, None) => {
            // With a file missing, the pool may be in that.
            if complete {
                report.error(None, "Must define a server pool");
            }
            None
        }
    }
}

fn apply(overrides: &[Override], conf: &mut Conf, report: &mut Report) {
    for Override { name, value } in overrides {
        let Some(setting) = setting::find(GLOBAL, name.as_bytes()) else { continue };
        if setting.is_list() {
            conf.binds.clear();
        }
        if let Err(message) = setting.set(conf, value) {
            let value = String::from_utf8_lossy(value);
            let message = format!("invalid argument \"--{name}={value}\": {message}");
            report.push(ConfError::new(None, message));
        }
    }
}

fn default_bind() -> Bind {
    let address = Address::Ip(([0, 0, 0, 0], 7617).into());
    Bind { address, proxy_protocol: ProxyProtocol::No }
}
