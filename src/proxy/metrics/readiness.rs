//! Whether clients may come: there is a topology, and its masters can be reached.
//!
//! A master is reached when some handler has a link to it on which requests flow. Of one that
//! nobody has needed so far that is not known, so a link is opened to find out.

use std::fmt::Write as _;

use super::http;
use super::snapshot::Snapshot;
use crate::pool::ServerId;
use crate::proxy::handler::Handler;
use crate::proxy::shared::{Mail, Shared};

/// What is known about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Readiness {
    pub is_ready: bool,
    /// The reply: `ready`, or what is missing, one thing on a line.
    pub text: String,
    /// Masters of whom it is not known whether they can be reached.
    pub unknown: Vec<ServerId>,
}

/// How many masters have to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    All,
    AtLeast(usize),
}

/// So many reasons are told one by one.
const REASONS_MAX: usize = 20;

/// `masters=1` in a query wants one at least: part of the keys is better than none.
pub fn masters_wanted(query: &str) -> Wanted {
    let count = http::parameter(query, "masters").and_then(|count| count.parse().ok());
    count.map_or(Wanted::All, Wanted::AtLeast)
}

impl Readiness {
    /// What a snapshot says about it.
    pub fn of(snapshot: &Snapshot, is_stopping: bool, wanted: Wanted) -> Readiness {
        let topology = &snapshot.topology;
        let mut reasons = Vec::new();
        if is_stopping {
            reasons.push("the proxy is stopping".to_owned());
        }
        let mute = snapshot.views.iter().filter(|view| view.is_none()).count();
        if mute > 0 && !is_stopping {
            reasons.push(format!("{mute} threads do not answer"));
        }
        let groups: Vec<_> = if topology.is_cluster() {
            let ids = topology.scannable().iter().map(|(group, _)| *group);
            ids.filter_map(|group| topology.group(group)).collect()
        } else {
            topology.groups().iter().collect()
        };
        if groups.is_empty() {
            reasons.push("no server has told yet who owns what".to_owned());
        } else if topology.is_cluster() && !topology.is_whole() && wanted == Wanted::All {
            reasons.push("some slots of the cluster have no owner".to_owned());
        }
        let is_doomed = !reasons.is_empty();
        let (mut reached, mut unknown) = (0, Vec::new());
        for group in &groups {
            let master = group.master().and_then(|id| topology.server(id));
            let Some(master) = master else {
                reasons.push(format!("group {} has no master", clean(group.name())));
                continue;
            };
            let index = master.id().index();
            let links = snapshot.answered().flat_map(|view| &view.links);
            let mut links = links.filter(|(server, ..)| *server == index);
            if master.health().is_failed() {
                reasons.push(format!("master {} does not answer", master.address()));
            } else if links.any(|(_, is_ready, _)| *is_ready) {
                reached += 1;
            } else {
                unknown.push(master.id());
                reasons.push(format!("master {} is not connected", master.address()));
            }
        }
        let is_enough = match wanted {
            Wanted::All => reasons.is_empty(),
            Wanted::AtLeast(count) => !is_doomed && reached >= count.clamp(1, groups.len().max(1)),
        };
        if is_doomed {
            unknown.clear();
        }
        Readiness { is_ready: is_enough, text: text_of(is_enough, &reasons), unknown }
    }

    /// Nothing is wrong, but nobody has needed all masters so far.
    pub fn is_idle(&self, snapshot: &Snapshot) -> bool {
        let all_well = snapshot.servers.iter().all(|view| !view.is_failed);
        !self.is_ready && !self.unknown.is_empty() && all_well
    }

    /// Has links opened to those of whom nothing is known.
    pub fn find_out(&self, shared: &Shared) {
        let unknown = self.unknown.clone();
        if let Some(handler) = shared.handlers.first() {
            handler.post(Mail::Run(Box::new(move |handler: &mut Handler| {
                unknown.into_iter().for_each(|server| handler.reach(server));
            })));
        }
    }
}

fn text_of(is_ready: bool, reasons: &[String]) -> String {
    let mut text = if is_ready { "ready\n" } else { "not ready\n" }.to_owned();
    for reason in reasons.iter().take(REASONS_MAX) {
        // A String takes everything.
        let _ = writeln!(text, "{reason}");
    }
    if reasons.len() > REASONS_MAX {
        let _ = writeln!(text, "and {} more", reasons.len() - REASONS_MAX);
    }
    text
}

/// A name that servers have given, fit for a line.
fn clean(name: &str) -> String {
    name.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_masters_are_wanted_is_in_the_query() {
        assert_eq!(masters_wanted(""), Wanted::All);
        assert_eq!(masters_wanted("masters=1"), Wanted::AtLeast(1));
        assert_eq!(masters_wanted("a=b&masters=30"), Wanted::AtLeast(30));
        assert_eq!(masters_wanted("masters=all"), Wanted::All);
    }

    #[test]
    fn there_may_be_many_reasons_and_not_all_are_told() {
        let reasons: Vec<String> = (0..25).map(|number| format!("reason {number}")).collect();
        let text = text_of(false, &reasons);
        assert!(text.starts_with("not ready\nreason 0\nreason 1\n"));
        assert!(text.ends_with("reason 19\nand 5 more\n"));
        assert_eq!(text_of(true, &[]), "ready\n");
        assert_eq!(clean("a\nb\x1b"), "a b ");
    }
}
