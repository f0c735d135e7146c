//! SLOWLOG: which requests took long, and where the time went.
//!
//! Nothing is measured for it: a reply comes in a turn, whose time is known, and so is the time
//! at which the request was taken. When it was sent is known from the link: at once, unless the
//! link says that something was held up (`connect_connection::Delays`).

use super::super::replies;
use super::super::request::{Awaiting, LinkId};
use super::super::slow_log::{self, Entry};
use super::Handler;
use super::dispatch::Request;
use crate::resp::command::SlowlogCommand;
use crate::resp::writer::{Protocol, Sink};
use crate::sys::clock;

const HELP: &[&str] = &[
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    Return top <count> entries from the slow log (default: 10, -1 means all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name; over RESP2 also: microseconds before it was sent, microseconds",
    "    that the server took, the server's address",
    "LEN",
    "    Return the length of the slow log.",
    "RESET",
    "    Reset the slow log.",
    "HELP",
    "    Print this help.",
];

/// So many entries are told if nobody says how many, as in Redis.
const COUNT_DEFAULT: i64 = 10;

impl Handler {
    /// Takes over what the settings say.
    pub(super) fn follow_slow_log_settings(&mut self) {
        let conf = &self.settings.conf;
        self.insight.slower_than_us = conf.slowlog_slower_than_us.unwrap_or(u64::MAX);
        let most = usize::try_from(conf.slowlog_max_len).unwrap_or(usize::MAX);
        self.insight.slow_entries_max = most;
        self.insight.slow.trim(most);
    }

    /// A request is answered that took too long.
    #[cold]
    #[inline(never)]
    pub(super) fn note_slow(&mut self, id: LinkId, awaiting: &Awaiting) {
        let Some(link) = self.links.get(id) else { return };
        let Some(request) = link.log.request(awaiting.offset, awaiting.length as usize) else {
            return;
        };
        if awaiting.command.is_none() {
            return;
        }
        let sent_us = link.sent_us(awaiting).max(awaiting.asked_us());
        self.arguments_again.index(request);
        let arguments = &self.arguments_again;
        let words = slow_log::cut(arguments.count(), |index| arguments.of(request, index));
        let client = self.client_of(awaiting.origin).and_then(|client| self.clients.get(client));
        let server = self.topology.server(link.server);
        let entry = Entry {
            id: self.shared.next_slow_request(),
            time_s: i64::try_from(clock::wall_us() / 1_000_000).unwrap_or(0),
            total_us: self.now_us.saturating_sub(awaiting.since_us),
            queued_us: sent_us.min(self.now_us).saturating_sub(awaiting.since_us),
            arguments: words,
            client: client.map(|client| client.peer),
            client_name: client.map(|client| client.name().into()).unwrap_or_default(),
            server: server.cloned(),
        };
        self.insight.slow.push(entry, self.insight.slow_entries_max);
    }

    /// SLOWLOG and a sub-command.
    pub(super) fn slow_log(&mut self, command: SlowlogCommand, request: &Request<'_>) {
        let to = (request.client, request.sequence);
        match command {
            SlowlogCommand::Get => self.tell_slow_requests(request),
            SlowlogCommand::Len => {
                let count = |handler: &mut Handler| handler.insight.slow.len();
                self.ask_all(to, count, |handler, counts| {
                    let most = handler.insight.slow_entries_max;
                    let mut reply = Vec::new();
                    let length = counts.into_iter().sum::<usize>().min(most);
                    reply.integer(i64::try_from(length).unwrap_or(i64::MAX));
                    reply
                });
            }
            SlowlogCommand::Reset => {
                let clear = |handler: &mut Handler| handler.insight.slow.clear();
                self.ask_all(to, clear, |_, _| replies::OK.to_vec());
            }
            SlowlogCommand::Help => {
                let mut reply = Vec::new();
                reply.array(HELP.len());
                for line in HELP {
                    reply.simple(line);
                }
                self.answer_own(to.0, to.1, &reply);
            }
        }
    }

    fn tell_slow_requests(&mut self, request: &Request<'_>) {
        let to = (request.client, request.sequence);
        let count = match request.arguments.count() {
            2 => Some(COUNT_DEFAULT),
            _ => std::str::from_utf8(request.argument(2)).ok().and_then(|text| text.parse().ok()),
        };
        let count = match count {
            None => return self.answer_own(to.0, to.1, replies::NOT_AN_INTEGER),
            Some(-1) => usize::MAX,
            Some(count) => match usize::try_from(count) {
                Ok(count) => count,
                Err(_) => return self.answer_own(to.0, to.1, replies::WRONG_COUNT),
            },
        };
        let protocol =
            self.clients.get(to.0).map(|client| client.lane.protocol()).unwrap_or_default();
        let most = self.insight.slow_entries_max.min(count);
        self.ask_all(
            to,
            move |handler| handler.insight.slow.newest(most),
            move |_, parts| {
                let entries = slow_log::newest(parts, most);
                let mut reply = Vec::new();
                reply.array(entries.len());
                entries.iter().for_each(|entry| write_entry(entry, protocol, &mut reply));
                reply
            },
        );
    }
}

/// Redis's six fields, then ours. Not over RESP3: a widespread client library, go-redis 9, speaks
/// it by default and cannot read entries of another length.
fn write_entry(entry: &Entry, protocol: Protocol, reply: &mut Vec<u8>) {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    reply.array(if protocol == Protocol::Resp2 { 9 } else { 6 });
    reply.integer(number(entry.id)).integer(entry.time_s).integer(number(entry.total_us));
    reply.array(entry.arguments.len());
    for argument in &entry.arguments {
        reply.bulk(argument);
    }
    reply.bulk(entry.client_address().as_bytes()).bulk(&entry.client_name);
    if protocol == Protocol::Resp2 {
        reply.integer(number(entry.queued_us)).integer(number(entry.server_us()));
        reply.bulk(entry.server_address().as_bytes());
    }
}
