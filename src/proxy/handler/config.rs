//! CONFIG: the proxy's settings, asked for and changed.

use super::super::info::ARGUMENT_WRONG;
use super::super::shared::Order;
use super::super::{log_settings, reload, replies};
use super::Handler;
use super::dispatch::Request;
use crate::base::glob;
use crate::conf::Conf;
use crate::conf::setting::{GLOBAL, Kind, POOL};
use crate::log_notice;
use crate::resp::command::{ConfigCommand, error_text};
use crate::resp::writer::Sink;

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern> [<pattern> ...]",
    "    Return the settings whose names match any of the patterns, with their values.",
    "SET <name> <value> [<name> <value> ...]",
    "    Change settings while the proxy runs; the file keeps what it says.",
    "RELOAD",
    "    Read the configuration file again and go by it; with a mistake in it nothing changes.",
    "RESETSTAT",
    "    Reset the statistics reported by the INFO command.",
    "HELP",
    "    Print this help.",
];

/// How many databases there are: tools for people ask by this name.
const DATABASES: &str = "databases";

/// Settings of servers that clients and tools want to know, and that are no secret. The proxy has
/// none of these names.
const OF_SERVERS: &[&str] = &["save", "appendonly", "maxmemory-policy", "notify-keyspace-events"];

/// Whether a CONFIG GET asks for settings of the servers and nothing else. Patterns are for those
/// of the proxy.
pub(super) fn is_for_servers(request: &Request<'_>) -> bool {
    let mut names = (2..request.arguments.count()).map(|index| request.argument(index));
    let is_of_servers =
        |name: &[u8]| OF_SERVERS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    names.all(is_of_servers)
}

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
            // The main thread reads the file, and sees to the reply.
            ConfigCommand::Reload => self.shared.order(Order::Reload {
                handler: self.index,
                client: request.client,
                sequence: request.sequence,
            }),
        }
    }

    fn show_settings(&self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let is_asked_for = |name: &str| {
            let mut patterns = (2..request.arguments.count()).map(|index| request.argument(index));
            patterns.any(|pattern| glob::matches(pattern, name.as_bytes()))
        };
        // Not those that this handler goes by: somebody else may just have changed some.
        let settings = self.shared.settings.load();
        let conf = &settings.conf;
        let protocol = request.lane.protocol();
        if request.arguments.count() == 3
            && request.argument(2).eq_ignore_ascii_case(DATABASES.as_bytes())
        {
            let databases = i64::from(conf.pool.common.databases);
            reply.map(1, protocol).bulk(DATABASES.as_bytes()).bulk_number(databases);
            return;
        }
        let global = GLOBAL.iter().map(|row| (row.name, row.show(conf)));
        // A password is not shown, nor whether there is one.
        let of_pool = POOL.iter().filter(|row| !matches!(row.kind, Kind::Password(_)));
        let of_pool = of_pool.map(|row| (row.name, row.show(&conf.pool.common)));
        let asked: Vec<_> = global.chain(of_pool).filter(|(name, _)| is_asked_for(name)).collect();
        reply.map(asked.len(), protocol);
        for (name, value) in asked {
            reply.bulk(name.as_bytes()).bulk(value.as_bytes());
        }
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
        // Only another LogRotate makes this open a file.
        let accept = |conf: &Conf| {
            let changed = self.shared.logger.change(&log_settings(conf));
            changed.map_err(|error| format!("set log file fail {error}"))
        };
        match self.shared.settings.change(changes, accept) {
            Ok((before, now)) => {
                reload::take_effect(&self.shared, &before, &now);
                reply.put(replies::OK);
            }
            Err(why) => {
                log_notice!(self.log, "h {} config set refused: {}", self.index, why);
                reply.error(ARGUMENT_WRONG);
            }
        }
    }
}
