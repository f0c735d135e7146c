//! `CustomCommand` and `DisabledCommands`: what the file adds to the command table, and what it
//! takes away.

use super::block::{self, Seen};
use super::conf_error::Report;
use super::conf_parser::Node;
use super::setting::CUSTOM_COMMAND;
use crate::resp::command::{CommandTable, CustomCommand, Rights};

/// What holds for a command without a block.
pub(super) const DEFAULT: CustomCommand =
    CustomCommand { rights: Rights::Write, key_at: 1, min_args: 2, max_args: 2 };

/// Reads a `CustomCommand` block into the table.
pub(super) fn read(node: &Node, commands: &mut CommandTable, report: &mut Report) {
    block::require_scope(node, "CustomCommand", report);
    for child in &node.scope {
        let mut custom = DEFAULT;
        let mut seen = Seen::default();
        for node in &child.scope {
            if !block::read_setting(CUSTOM_COMMAND, &mut custom, node, &mut seen, report) {
                block::unknown_key(node, report);
            }
        }
        if custom.max_args < custom.min_args {
            report.error(Some(&child.place), "must be MaxArgs >= MinArgs");
        } else {
            add(child, custom, commands, report);
        }
    }
}

fn add(node: &Node, custom: CustomCommand, commands: &mut CommandTable, report: &mut Report) {
    let key_at = custom.key_at;
    if key_at > 1 && custom.min_args <= key_at.into() {
        let message = format_args!("{} may come without the key at {key_at}", node.key_text());
        report.warn(&node.place, message);
    }
    let known = commands.lookup(&node.key).is_some();
    match commands.add_custom(&node.key, custom) {
        Err(message) => report.error(Some(&node.place), message),
        // Files of predixy's users define what predixy lacks.
        Ok(_) if known => {
            let name = node.key_text();
            let message =
                format_args!("{name} needs no CustomCommand, and does less with it than without");
            report.warn(&node.place, message);
        }
        Ok(_) => {}
    }
}

/// Reads a `DisabledCommands` block. If the file is not `complete`, a command may be missing
/// because of that.
pub(super) fn read_disabled(
    node: &Node,
    commands: &mut CommandTable,
    disabled: &mut Vec<String>,
    complete: bool,
    report: &mut Report,
) {
    block::require_scope(node, "DisabledCommands", report);
    for item in &node.scope {
        if &*item.key != b"+" {
            report.error(Some(&item.place), "invalid DisabledCommands; want + command");
        } else if commands.disable(&item.value) {
            disabled.push(item.text().to_ascii_lowercase());
        } else if complete {
            report.error(Some(&item.place), format!("unknown Command \"{}\"", item.text()));
        }
    }
}
