//! `CustomCommand`: commands of modules, which become rows of the command table.

use super::Rights;
use super::block::{self, Seen};
use super::command_names::{self, CommandTable};
use super::conf_error::Report;
use super::conf_parser::Node;
use super::setting::CUSTOM_COMMAND;

/// One command of a `CustomCommand` block.
#[derive(Clone, Debug)]
pub struct CustomCommand {
    /// Its name in lower case.
    pub name: Vec<u8>,
    /// What a client must be allowed to do.
    pub rights: Rights,
    /// Which argument is the key, 1 to 3.
    pub key_at: u32,
    /// Fewest words, the command itself included.
    pub min_args: u32,
    /// Most words, the command itself included.
    pub max_args: u32,
}

impl CustomCommand {
    fn named(name: &[u8]) -> CustomCommand {
        CustomCommand {
            name: name.to_ascii_lowercase(),
            rights: Rights::Write,
            key_at: 1,
            min_args: 2,
            max_args: 2,
        }
    }
}

/// Reads the block into the table.
pub(super) fn read(node: &Node, commands: &mut CommandTable, report: &mut Report) {
    block::require_scope(node, "CustomCommand", report);
    for child in &node.scope {
        let mut command = CustomCommand::named(&child.key);
        let mut seen = Seen::default();
        for node in &child.scope {
            if !block::read_setting(CUSTOM_COMMAND, &mut command, node, &mut seen, report) {
                block::unknown_key(node, report);
            }
        }
        if command.max_args < command.min_args {
            report.error(Some(&child.place), "must be MaxArgs >= MinArgs");
        } else if let Err(message) = command_names::add_custom(commands, &command) {
            report.error(Some(&child.place), message);
        }
    }
}
