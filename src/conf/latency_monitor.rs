//! `LatencyMonitor`: which commands are measured, and in which buckets.

use super::block;
use super::conf_error::Report;
use super::conf_parser::Node;
use super::value;
use crate::resp::command::{Command, CommandId, CommandTable};

/// One `LatencyMonitor` block.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyMonitorConf {
    /// Its name, each once.
    pub name: String,
    /// The commands and sub-commands that it measures, in the order of the command table.
    pub commands: Vec<CommandId>,
    /// Upper bounds of its buckets in rising order, without the open one.
    pub bounds_us: Vec<u64>,
}

/// Reads the block. If the file is not `complete`, a command may be missing because of that.
pub(super) fn read(
    node: &Node,
    commands: &CommandTable,
    complete: bool,
    report: &mut Report,
) -> LatencyMonitorConf {
    let mut monitor =
        LatencyMonitorConf { name: node.text(), commands: Vec::new(), bounds_us: Vec::new() };
    let mut measured = vec![false; commands.len()];
    block::require_scope(node, "LatencyMonitor", report);
    for child in &node.scope {
        if child.is("Commands") {
            read_commands(child, commands, complete, &mut measured, report);
        } else if child.is("TimeSpan") {
            read_bounds(child, &mut monitor.bounds_us, report);
        } else {
            block::unknown_key(child, report);
        }
    }
    let ids = commands.iter().map(Command::id);
    monitor.commands = ids.filter(|id| measured.get(id.index()) == Some(&true)).collect();
    monitor
}

/// The lines count one after the other: `+ all` and then `- blpop`.
fn read_commands(
    node: &Node,
    commands: &CommandTable,
    complete: bool,
    measured: &mut [bool],
    report: &mut Report,
) {
    for item in &node.scope {
        let add = match &*item.key {
            b"+" => true,
            b"-" => false,
            _ => {
                report.error(
                    Some(&item.place),
                    "invalid Command assign; want + command or - command",
                );
                continue;
            }
        };
        if item.value.eq_ignore_ascii_case(b"all") {
            measured.fill(add);
        } else if let Some(command) = commands.lookup(&item.value) {
            let parts = commands.subcommands(command).iter();
            for id in parts.map(Command::id).chain([command.id()]) {
                if let Some(measured) = measured.get_mut(id.index()) {
                    *measured = add;
                }
            }
        } else if complete {
            report.error(Some(&item.place), format!("unknown Command \"{}\"", item.text()));
        }
    }
}

fn read_bounds(node: &Node, bounds: &mut Vec<u64>, report: &mut Report) {
    let mut last = 0i64;
    for item in &node.scope {
        let text = item.text();
        if &*item.key != b"+" {
            report.error(Some(&item.place), "invalid TimeSpan; want + microseconds");
            continue;
        }
        let Some(bound) = value::integer(&item.value) else {
            let message = format!("+ {text} is not an long integer; want microseconds");
            report.error(Some(&item.place), message);
            continue;
        };
        match u64::try_from(bound) {
            Ok(bound_us) if bound > last => {
                bounds.push(bound_us);
                last = bound;
            }
            _ => {
                let least = last.saturating_add(1);
                let message = format!("+ {text} not in range [{least}, {}]", i64::MAX);
                report.error(Some(&item.place), message);
            }
        }
    }
}
