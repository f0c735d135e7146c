//! One line for each request, at Info, in predixy's words: who asked what, who answered, with
//! what, and how long it took.

use std::fmt;

use super::super::request::{Awaiting, ClientId, LinkId};
use super::Handler;
use crate::log_notice;
use crate::logger::{Level, Shown};
use crate::resp::command::{CommandId, Unresolved};

/// A longer key is cut off in the log.
const KEY_MAX: usize = 256;

impl Handler {
    /// Notes whether somebody wants to know of each reply: a latency monitor, or this log.
    pub(super) fn set_measures(&mut self) {
        self.is_logged = self.shared.logger.sample(Level::Info) > 0;
        self.measures = !self.recorder.monitors().monitors().is_empty();
    }

    /// Logs the reply of a server; its end only, if it was large.
    pub(super) fn log_reply(&mut self, id: LinkId, awaiting: &Awaiting, reply: Option<&[u8]>) {
        if !self.is_logging || !self.log.wants(Level::Info) {
            return;
        }
        let asker = self.asker_of(awaiting.origin);
        let (Some((client, sequence)), Some(command)) = (asker, awaiting.command) else { return };
        let Some(link) = self.links.get(id) else { return };
        let request = link.log.request(awaiting.offset, awaiting.length as usize);
        let arguments = &mut self.arguments_again;
        let mut key = &b""[..];
        let commands = &self.settings.conf.commands;
        let Some(command) = commands.command(command) else { return };
        if let Some(request) = request {
            arguments.index(request);
            let argument = |index| arguments.of(request, index);
            let place = command.keys().first_key(arguments.count(), argument);
            key = place.map_or(key, argument);
        }
        let Some((peer, fd)) = self.address_of(client) else { return };
        let server = self.topology.server(link.server);
        let server = server.map(|server| server.address().to_string()).unwrap_or_default();
        let elapsed_us = self.now_us.saturating_sub(awaiting.since_us);
        self.write_response(format_args!(
            "RESP h {} c {} {} req {} {} {} s {} {} res {} {} t {}",
            self.index,
            peer,
            fd,
            sequence,
            command.name(),
            Shown(&key[..key.len().min(KEY_MAX)]),
            server,
            link.socket.as_ref().map_or(-1, |socket| socket.number()),
            sequence,
            reply.map_or("Str", kind_of),
            elapsed_us
        ));
    }

    /// The reply to a request that no server was asked for: the last one that its client has sent,
    /// or nobody knows what it was.
    pub(super) fn answer_own(&mut self, id: ClientId, sequence: u32, reply: &[u8]) {
        if self.is_logged {
            let last = self.clients.get(id).filter(|client| client.is_last(sequence));
            self.log_own_reply(id, sequence, last.and_then(|client| client.command), reply);
        }
        self.answer(id, sequence, reply);
    }

    /// Logs a reply of our own. What was asked is not shown: it may be a password.
    pub(super) fn log_own_reply(
        &self,
        id: ClientId,
        sequence: u32,
        command: Option<CommandId>,
        reply: &[u8],
    ) {
        if !self.log.wants(Level::Info) {
            return;
        }
        let Some((peer, fd)) = self.address_of(id) else { return };
        let command = command.and_then(|command| self.settings.conf.commands.command(command));
        self.write_response(format_args!(
            "RESP h {} c {} {} req {} {}  s None -1 res {} {} t 0",
            self.index,
            peer,
            fd,
            sequence,
            command.map_or("", |command| command.name()),
            sequence,
            kind_of(reply)
        ));
    }

    /// Logs a request that is none, in predixy's words.
    #[cold]
    pub(super) fn log_unresolved(&self, unresolved: &Unresolved<'_>, word: &[u8], count: usize) {
        let shown = Shown(&word[..word.len().min(KEY_MAX)]);
        match unresolved {
            Unresolved::WrongArity(_) => {
                log_notice!(self.log, "request argument is invalid cmd {} argnum {}", shown, count);
            }
            Unresolved::UnknownCommand | Unresolved::UnknownSubcommand(_) => {
                log_notice!(self.log, "unknown request cmd:{}", shown);
            }
        }
    }

    /// After somebody has found that it is the turn of a line.
    fn write_response(&self, message: fmt::Arguments<'_>) {
        self.log.write(Level::Info, file!(), line!(), message);
    }

    fn address_of(&self, client: ClientId) -> Option<(String, i32)> {
        let client = self.clients.get(client)?;
        Some((client.peer.to_string(), client.socket.number()))
    }
}

/// What a reply is, in predixy's words.
fn kind_of(reply: &[u8]) -> &'static str {
    match reply {
        [b'+', ..] => "Status",
        [b'-' | b'!', ..] => "Err",
        [b':' | b'#' | b',' | b'(', ..] => "Int",
        [b'$' | b'=', ..] => "Str",
        [b'*' | b'%' | b'~' | b'>', ..] => "Array",
        _ => "None",
    }
}
