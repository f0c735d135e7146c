//! `ClusterServerPool`, `StandaloneServerPool` and `SentinelServerPool`: reads the blocks.

use std::collections::HashSet;

use super::block::{self, Seen};
use super::conf_error::Report;
use super::conf_parser::Node;
use super::pool_conf::{
    Distribution, GroupConf, Hash, PoolCommon, PoolConf, PoolKind, RefreshMethod, ServerConf,
    StandaloneConf,
};
use super::secret::Secret;
use super::setting::{POOL, STANDALONE};
use super::value;
use crate::base::address::Address;

/// A standalone pool while it is read.
#[derive(Clone, Debug, Default)]
pub struct StandaloneDraft {
    /// `RefreshMethod`; `None` is predixy's `none`.
    pub refresh: Option<RefreshMethod>,
    /// `Distribution`.
    pub distribution: Option<Distribution>,
    /// `Hash`.
    pub hash: Option<Hash>,
    /// `HashTag`.
    pub hash_tag: Option<(u8, u8)>,
    /// All `Sentinels` blocks.
    pub sentinels: Vec<ServerConf>,
    /// The value of the last `Sentinels` block.
    pub sentinel_password: Option<Secret>,
    /// All `Group` blocks.
    pub groups: Vec<GroupConf>,
}

/// Reads a `ClusterServerPool`.
pub(super) fn read_cluster(node: &Node, report: &mut Report) -> PoolConf {
    let errors_before = report.errors.len();
    let mut common = PoolCommon::default();
    let mut servers = Vec::new();
    let mut seen = Seen::default();
    block::require_scope(node, "ClusterServerPool", report);
    for child in &node.scope {
        if block::read_setting(POOL, &mut common, child, &mut seen, report) {
        } else if child.is("Servers") {
            if block::require_scope(child, "Servers", report) {
                read_servers(child, &mut servers, report);
            }
        } else {
            block::unknown_key(child, report);
        }
    }
    if common.databases != 1 {
        report.error(Some(&node.place), "ClusterServerPool Databases must be 1");
    }
    // What could not be read is not missing.
    if servers.is_empty() && report.errors.len() == errors_before {
        report.error(Some(&node.place), "ClusterServerPool no server");
    }
    finish(&mut common, &seen, report);
    PoolConf { common, kind: PoolKind::Cluster { servers } }
}

/// Reads a `StandaloneServerPool`, or a `SentinelServerPool`, which differs in one default.
pub(super) fn read_standalone(node: &Node, report: &mut Report) -> PoolConf {
    let errors_before = report.errors.len();
    let mut common = PoolCommon::default();
    let mut draft = StandaloneDraft::default();
    if node.is("SentinelServerPool") {
        draft.refresh = Some(RefreshMethod::Sentinel);
    }
    let mut seen = Seen::default();
    let mut names = HashSet::new();
    block::require_scope(node, "StandaloneServerPool", report);
    for child in &node.scope {
        if block::read_setting(POOL, &mut common, child, &mut seen, report)
            || block::read_setting(STANDALONE, &mut draft, child, &mut seen, report)
        {
        } else if child.is("Sentinels") {
            if block::require_scope(child, "Sentinels", report) {
                read_servers(child, &mut draft.sentinels, report);
            }
            draft.sentinel_password = Secret::unless_empty(&child.value);
        } else if child.is("Group") {
            let mut servers = Vec::new();
            read_servers(child, &mut servers, report);
            if !names.insert(&child.value) {
                let name = child.text();
                report.warn(&child.place, format_args!("there is a Group {name} already"));
            }
            draft.groups.push(GroupConf { name: child.text(), servers });
        } else {
            block::unknown_key(child, report);
        }
    }
    // What could not be read is not missing.
    if report.errors.len() == errors_before {
        for problem in problems(&draft) {
            report.error(Some(&node.place), problem);
        }
    }
    finish(&mut common, &seen, report);
    let kind = PoolKind::Standalone(StandaloneConf {
        refresh: draft.refresh.unwrap_or(RefreshMethod::Fixed),
        distribution: draft.distribution,
        hash: draft.hash,
        hash_tag: draft.hash_tag,
        sentinels: draft.sentinels,
        sentinel_password: draft.sentinel_password,
        groups: draft.groups,
    });
    PoolConf { common, kind }
}

/// What does not fit together, in predixy's order.
fn problems(draft: &StandaloneDraft) -> Vec<String> {
    let sentinel = draft.refresh == Some(RefreshMethod::Sentinel);
    let fixed = draft.refresh == Some(RefreshMethod::Fixed);
    let several = draft.groups.len() > 1;
    let pool = |wrong: bool, text: &str| wrong.then(|| format!("StandaloneServerPool {text}"));
    let mut problems = vec![
        pool(draft.groups.is_empty(), "no server group"),
        pool(draft.refresh.is_none(), "must define RefreshMethod"),
        pool(
            sentinel && draft.sentinels.is_empty(),
            "with RefreshMethod(sentinel) but no sentinel servers",
        ),
        pool(
            fixed && !draft.sentinels.is_empty(),
            "with Sentinels but RefreshMethod is not sentinel",
        ),
    ];
    let empty = draft.groups.iter().filter(|group| fixed && group.servers.is_empty());
    problems.extend(empty.map(|group| Some(format!("Group({}) must add servers", group.name))));
    problems.extend([
        pool(several && draft.distribution.is_none(), "must define Dsitribution in multi groups"),
        pool(several && draft.hash.is_none(), "must define Hash in multi groups"),
    ]);
    problems.into_iter().flatten().collect()
}

/// Settles what depends on more than one setting.
fn finish(common: &mut PoolCommon, seen: &Seen, report: &mut Report) {
    if seen.place("ConnectTimeout").is_none() || common.connect_timeout_us == 0 {
        common.connect_timeout_us = match common.server_timeout_us {
            0 => PoolCommon::default().connect_timeout_us,
            timeout_us => timeout_us,
        };
    }
    let least_us = PoolCommon::REFRESH_INTERVAL_MIN_US;
    if common.refresh_interval_us < least_us {
        common.refresh_interval_us = least_us;
        if let Some(place) = seen.place("RefreshInterval") {
            let least = value::show_duration(least_us);
            report.warn(
                place,
                format_args!("RefreshInterval is raised to {least}, the least there is"),
            );
        }
    }
}

fn read_servers(node: &Node, servers: &mut Vec<ServerConf>, report: &mut Report) {
    for item in &node.scope {
        if &*item.key != b"+" {
            report.error(Some(&item.place), format!("invalid server define; {WANT_SERVER}"));
            continue;
        }
        match read_server(item, report) {
            Ok(server) => servers.push(server),
            Err(message) => report.error(Some(&item.place), message),
        }
    }
}

/// `[password@]address`; what follows the address is not looked at, as in predixy.
fn read_server(item: &Node, report: &mut Report) -> Result<ServerConf, String> {
    let (password, rest) = match item.value.iter().position(|byte| *byte == b'@') {
        Some(at) => (Secret::unless_empty(&item.value[..at]), &item.value[at + 1..]),
        None => (None, &*item.value),
    };
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    // The password is nobody's business, not even in a message.
    let hidden = if password.is_some() { "***@" } else { "" };
    let text = String::from_utf8_lossy(&rest[..end]);
    if text.is_empty() {
        return Err(format!("invalid server define {hidden}; {WANT_SERVER}"));
    }
    if !rest[end..].trim_ascii().is_empty() {
        report.warn(&item.place, "what follows the address is ignored");
    }
    let address = Address::parse(&text)
        .map_err(|error| format!("invalid server define {hidden}{text}; it {error}"))?;
    Ok(ServerConf { address, password })
}

const WANT_SERVER: &str = "want + [password@]host:port or + [password@]/path";
