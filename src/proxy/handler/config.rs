//! CONFIG: the proxy's settings, asked for and changed.

use super::super::info::ARGUMENT_WRONG;
use super::super::replies;
use super::Handler;
use super::dispatch::{Request, not_yet};
use crate::base::glob;
use crate::conf::setting::GLOBAL;
use crate::log_notice;
use crate::resp::command::{ConfigCommand, error_text};
use crate::resp::writer::Sink;

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern> [<pattern> ...]",
    "    Return the settings whose names match any of the patterns, with their values.",
    "SET <name> <value> [<name> <value> ...]",
    "    Change settings while the proxy runs; the file keeps what it says.",
    "RESETSTAT",
    "    Reset the statistics reported by the INFO command.",
    "HELP",
    "    Print this help.",
];

impl Handler {
    pub(super) fn config(
        &mut self,
        command: ConfigCommand,
        request: &Request<'_>,
        reply: &mut Vec<u8>,
    ) {
        match command {
            ConfigCommand::Get => self.show_settings(request, reply),
            ConfigCommand::Set => self.change_settings(request, reply),
            ConfigCommand::ResetStat => {
                self.shared.stats.reset();
                reply.put(replies::OK);
            }
            ConfigCommand::Help => {
                reply.array(HELP.len());
                for line in HELP {
                    reply.simple(line);
                }
            }
            ConfigCommand::Reload => {
                reply.put(b"-");
                not_yet(request.command, reply);
                reply.put(b"\r\n");
            }
        }
    }

    fn show_settings(&self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let is_asked_for = |name: &str| {
            let mut patterns = (2..request.arguments.count()).map(|index| request.argument(index));
            patterns.any(|pattern| glob::matches(pattern, name.as_bytes()))
        };
        let shared = &self.shared;
        shared.live.look(&shared.conf, |conf| {
            let asked = || GLOBAL.iter().filter(|setting| is_asked_for(setting.name));
            reply.array(2 * asked().count());
            for setting in asked() {
                reply.bulk(setting.name.as_bytes()).bulk(setting.show(conf).as_bytes());
            }
        });
    }

    fn change_settings(&mut self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let count = request.arguments.count();
        if !count.is_multiple_of(2) {
            reply.put(b"-");
            error_text::wrong_arity(request.command, reply);
            return reply.put(b"\r\n");
        }
        let pairs = (2..count).step_by(2);
        let changes = pairs.map(|index| (request.argument(index), request.argument(index + 1)));
        let shared = &self.shared;
        match shared.live.change(&shared.conf, &shared.logger, changes) {
            Ok(()) => {
                shared.tell_settings();
                reply.put(replies::OK);
            }
            Err(why) => {
                log_notice!(self.log, "h {} config set refused: {}", self.index, why);
                reply.error(ARGUMENT_WRONG);
            }
        }
    }

    /// Settings have changed: takes over those that it does not ask for each time.
    pub(super) fn follow_settings(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.set_limits();
        }
        self.watch_clients_anew();
    }
}
