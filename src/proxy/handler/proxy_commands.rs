//! `PROXY COMMANDS`: the command table as the proxy applies it.

use super::Handler;
use crate::resp::command::Family;
use crate::resp::writer::Sink;

impl Handler {
    /// A line for each command and sub-command, in the order of their names; custom and disabled
    /// ones as the configuration has them.
    pub(super) fn describe_commands(&self, reply: &mut Vec<u8>) {
        let is_one = |family| family != Family::Container;
        let commands = &self.settings.conf.commands;
        let mut lines: Vec<String> = commands
            .iter()
            .filter(|command| is_one(command.family()))
            .map(|command| command.line())
            .collect();
        lines.sort_unstable();
        reply.array(lines.len());
        for line in lines {
            reply.bulk(line.as_bytes());
        }
    }
}
