//! What the blocks have in common: settings are read by their tables, the rest is refused.

use super::conf_error::{Place, Report};
use super::conf_parser::Node;
use super::setting::{self, Setting};

/// The keys that one block has given so far.
#[derive(Default)]
pub(super) struct Seen(Vec<(&'static str, Place)>);

impl Seen {
    /// Notes a key, and warns if this is its second time: the last one counts, as in predixy.
    fn note(&mut self, name: &'static str, place: &Place, report: &mut Report) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, first)) => {
                report.warn(place, format_args!("{name} is given again, {first} is ignored"));
                *first = place.clone();
            }
            None => self.0.push((name, place.clone())),
        }
    }

    /// Where the key was given last.
    pub(super) fn place(&self, name: &str) -> Option<&Place> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, place)| place)
    }
}

/// Reads the value of a key that is in `table`. Says whether it is.
#[track_caller]
pub(super) fn read_setting<T>(
    table: &'static [Setting<T>],
    holder: &mut T,
    node: &Node,
    seen: &mut Seen,
    report: &mut Report,
) -> bool {
    let Some(setting) = setting::find(table, &node.key) else { return false };
    if !setting.is_list() {
        seen.note(setting.name, &node.place, report);
    }
    if let Err(message) = setting.set(holder, &node.value) {
        report.error(Some(&node.place), message);
    }
    ignore_scope(node, report);
    true
}

/// Whether there is anything in the block; if not that is a mistake.
#[track_caller]
pub(super) fn require_scope(node: &Node, name: &str, report: &mut Report) -> bool {
    if node.scope.is_empty() {
        report.error(Some(&node.place), format!("{name} require scope value"));
    }
    !node.scope.is_empty()
}

/// Warns of a block where none belongs; predixy does not look at it either.
pub(super) fn ignore_scope(node: &Node, report: &mut Report) {
    if !node.scope.is_empty() {
        report.warn(&node.place, format_args!("the block of {} is ignored", node.key_text()));
    }
}

/// Refuses a key that the block does not have.
#[track_caller]
pub(super) fn unknown_key(node: &Node, report: &mut Report) {
    report.error(Some(&node.place), format!("unknown key {}", node.key_text()));
}
