//! `DataCenter`: which data centres there are, and from which each reads.

use std::collections::HashMap;

use super::block;
use super::conf_error::{Place, Report};
use super::conf_parser::Node;
use super::value;

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
    /// From where it reads, each centre once; those that are not listed are not read from.
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

/// The centres as the file names them, before anybody knows whether the names fit together.
#[derive(Default)]
pub(super) struct Draft {
    centers: Vec<DcDraft>,
    place: Option<Place>,
}

struct DcDraft {
    name: String,
    place: Place,
    address_prefixes: Vec<String>,
    read_policy: Vec<PolicyDraft>,
}

struct PolicyDraft {
    name: String,
    place: Place,
    priority: u32,
    weight: u32,
}

/// Makes `local` the centre that the proxy is in, of those that there are.
///
/// # Errors
///
/// There is no such centre, or none is named although there are some.
pub(super) fn relocate(
    centers: Option<&mut DataCenterConf>,
    local: Option<&str>,
) -> Result<(), String> {
    match (centers, local) {
        (None, None) => Ok(()),
        (Some(_), None) => Err("conf define DataCenter but not define LocalDC".to_owned()),
        (centers, Some(local)) => {
            let place = centers.and_then(|centers| {
                let at = centers.centers.iter().position(|center| center.name == local)?;
                centers.local = at;
                Some(())
            });
            place.ok_or_else(|| format!("LocalDC \"{local}\" no exists in DataCenter"))
        }
    }
}

/// Reads the block.
pub(super) fn read(node: &Node, report: &mut Report) -> Draft {
    let mut draft = Draft { place: Some(node.place.clone()), centers: Vec::new() };
    block::require_scope(node, "DataCenter", report);
    for child in &node.scope {
        if child.is("DC") {
            draft.centers.push(read_center(child, report));
        } else {
            report.error(Some(&child.place), "DataCenter allow only DC element");
        }
    }
    draft
}

fn read_center(node: &Node, report: &mut Report) -> DcDraft {
    let mut center = DcDraft {
        name: node.text(),
        place: node.place.clone(),
        address_prefixes: Vec::new(),
        read_policy: Vec::new(),
    };
    block::require_scope(node, "DC", report);
    for child in &node.scope {
        if child.is("AddrPrefix") {
            block::require_scope(child, "AddrPrefix", report);
            for item in &child.scope {
                match &*item.key {
                    b"+" => center.address_prefixes.push(item.text()),
                    _ => report.error(Some(&item.place), "invalid AddrPrefix; want + prefix"),
                }
            }
        } else if child.is("ReadPolicy") {
            block::require_scope(child, "ReadPolicy", report);
            center
                .read_policy
                .extend(child.scope.iter().filter_map(|item| read_policy(item, report)));
        } else {
            block::unknown_key(child, report);
        }
    }
    center
}

fn read_policy(node: &Node, report: &mut Report) -> Option<PolicyDraft> {
    let numbers = node.value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let numbers: Option<Vec<i64>> = numbers.map(value::integer).collect();
    let (priority, weight) = match numbers.as_deref() {
        Some([priority]) => (*priority, 1),
        Some([priority, weight]) => (*priority, *weight),
        _ => {
            let value = node.text();
            let message = format!(
                "invalid ReadPolicy \"{value}\"; want a priority and perhaps a weight, as in 20 5"
            );
            report.error(Some(&node.place), message);
            return None;
        }
    };
    if priority < 0 || weight < 0 {
        report.warn(&node.place, "a priority or weight below 0 means the same as 0");
    }
    Some(PolicyDraft {
        name: node.key_text(),
        place: node.place.clone(),
        priority: clamp(priority),
        weight: clamp(weight),
    })
}

/// Below 0 nothing is read, as with 0.
fn clamp(number: i64) -> u32 {
    let most = i64::from(i32::MAX);
    u32::try_from(number.clamp(0, most)).unwrap_or(0)
}

/// Checks that the names fit together. `local` is LocalDC, and where the file gives it.
pub(super) fn resolve(
    draft: Draft,
    local: Option<&str>,
    local_place: Option<&Place>,
    report: &mut Report,
) -> Option<DataCenterConf> {
    let Some(local) = local else {
        if draft.place.is_some() {
            report.error(draft.place.as_ref(), "conf define DataCenter but not define LocalDC");
        }
        return None;
    };
    let mut indices = HashMap::new();
    for (at, center) in draft.centers.iter().enumerate() {
        let name = center.name.as_str();
        if indices.contains_key(name) {
            report.error(Some(&center.place), format!("DC \"{name}\" duplicate define"));
        }
        indices.entry(name).or_insert(at);
    }
    let local_index = indices.get(local).copied();
    if local_index.is_none() {
        report.error(local_place, format!("LocalDC \"{local}\" no exists in DataCenter"));
    }
    let mut owners = HashMap::new();
    let mut centers = Vec::new();
    for center in &draft.centers {
        let name = center.name.as_str();
        for prefix in &center.address_prefixes {
            if let Some(owner) = owners.insert(prefix, name) {
                let message =
                    format!("DC \"{name}\" AddrPrefix \"{prefix}\" collision with DC \"{owner}\"");
                report.error(Some(&center.place), message);
            }
        }
        let mut read_policy: Vec<ReadPolicyConf> = Vec::new();
        for policy in &center.read_policy {
            let other = &policy.name;
            let Some(&other) = indices.get(other.as_str()) else {
                let message =
                    format!("DC \"{name}\" ReadPolicy \"{other}\" no eixsts in DataCenter");
                report.error(Some(&policy.place), message);
                continue;
            };
            read_policy.retain(|known| known.center != other);
            let (priority, weight) = (policy.priority, policy.weight);
            read_policy.push(ReadPolicyConf { center: other, priority, weight });
        }
        let address_prefixes = center.address_prefixes.clone();
        centers.push(DcConf { name: name.to_owned(), address_prefixes, read_policy });
    }
    Some(DataCenterConf { local: local_index?, centers })
}
