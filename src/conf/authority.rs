//! `Authority`: who may do what. Reads the block; whom a client is, the proxy asks later.

use std::collections::HashMap;

use super::block::{self, Seen};
use super::conf_error::Report;
use super::conf_parser::Node;
use super::secret::Secret;
use super::setting::AUTH;
use crate::resp::command::Rights;

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

/// An `Auth` block while it is read.
#[derive(Clone, Debug, Default)]
pub struct IdentityDraft {
    /// `User`.
    pub user: Option<String>,
    /// `Mode`.
    pub mode: Option<Rights>,
    /// All `KeyPrefix` lines.
    pub key_prefixes: Vec<Vec<u8>>,
    /// All `ReadKeyPrefix` lines.
    pub read_key_prefixes: Vec<Vec<u8>>,
    /// All `WriteKeyPrefix` lines.
    pub write_key_prefixes: Vec<Vec<u8>>,
}

/// Reads the block.
pub(super) fn read(node: &Node, report: &mut Report) -> AuthorityConf {
    let mut identities: Vec<IdentityConf> = Vec::new();
    let mut known = HashMap::new();
    block::require_scope(node, "Authority", report);
    for auth in &node.scope {
        if !auth.is("Auth") {
            report.error(Some(&auth.place), "Authority allow only Auth element");
            continue;
        }
        let Some(new) = read_identity(auth, report) else { continue };
        let key = (new.user.clone(), new.password.clone());
        if let Some(earlier) = known.get(&key).and_then(|at: &usize| identities.get_mut(*at)) {
            report.warn(
                &auth.place,
                "Auth has the user and password of an earlier one, which is ignored",
            );
            *earlier = new;
        } else {
            known.insert(key, identities.len());
            identities.push(new);
        }
    }
    AuthorityConf { identities }
}

fn read_identity(auth: &Node, report: &mut Report) -> Option<IdentityConf> {
    if !block::require_scope(auth, "Auth", report) {
        return None;
    }
    let mut draft = IdentityDraft::default();
    let mut seen = Seen::default();
    for node in &auth.scope {
        if !block::read_setting(AUTH, &mut draft, node, &mut seen, report) {
            block::unknown_key(node, report);
        } else if node.value.is_empty() && !node.is("Mode") && !node.is("User") {
            let key = node.key_text();
            report.warn(
                &node.place,
                format_args!("{key} without a prefix does not restrict anything"),
            );
        }
    }
    if seen.place("Mode").is_none() {
        report.error(Some(&auth.place), "Auth require Mode; want Mode read, write or admin");
    }
    let unless_empty = |prefixes: Vec<Vec<u8>>| (!prefixes.is_empty()).then_some(prefixes);
    Some(IdentityConf {
        user: draft.user,
        password: Secret::new(&auth.value),
        mode: draft.mode?,
        key_prefixes: unless_empty(draft.key_prefixes),
        read_key_prefixes: unless_empty(draft.read_key_prefixes),
        write_key_prefixes: unless_empty(draft.write_key_prefixes),
    })
}
