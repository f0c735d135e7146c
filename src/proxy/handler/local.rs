//! Commands that the proxy answers itself.

use std::mem;

use super::super::accept_connection::Intake;
use super::super::replies;
use super::super::request::ClientId;
use super::Handler;
use super::dispatch::{Request, not_yet};
use crate::resp::command::LocalCommand;
use crate::resp::writer::Sink;

impl Handler {
    pub(super) fn answer_locally(&mut self, local: LocalCommand, request: &Request<'_>) {
        let mut reply = mem::take(&mut self.spare.reply);
        reply.clear();
        self.count_local(request);
        if self.ask_handlers(local, request) {
            return self.spare.keep_reply(reply);
        }
        self.write_local_reply(local, request, &mut reply);
        // Without a reply somebody else has to be asked first, and will see to it.
        if !reply.is_empty() {
            self.answer_own(request.client, request.sequence, &reply);
        }
        self.spare.keep_reply(reply);
    }

    /// Counts a request that no server was asked for.
    pub(super) fn count_local(&mut self, request: &Request<'_>) {
        self.recorder.handler().total_requests.increment();
        self.recorder.handler().total_responses.increment();
        if self.measures {
            let feeds = self.recorder.monitors().feeds(request.command.id().index());
            self.recorder.record_latency(feeds, 0);
        }
    }

    fn write_local_reply(
        &mut self,
        local: LocalCommand,
        request: &Request<'_>,
        reply: &mut Vec<u8>,
    ) {
        match local {
            LocalCommand::Ping if request.arguments.count() == 1 => reply.put(replies::PONG),
            LocalCommand::Ping | LocalCommand::Echo => {
                reply.bulk(request.argument(1));
            }
            LocalCommand::Select => self.select(request, reply),
            LocalCommand::Quit => {
                if let Some(client) = self.clients.get_mut(request.client) {
                    client.intake = Intake::Closed;
                }
                reply.put(replies::OK);
            }
            // A browser, or something that pretends to be one, was led here: it gets no answer
            // and no second chance, as in Redis.
            LocalCommand::Http => self.drop_client(request.client, "HTTP"),
            LocalCommand::Auth => self.authenticate(request, reply),
            LocalCommand::Readonly => self.read_from_masters(request.client, false, reply),
            LocalCommand::Readwrite => self.read_from_masters(request.client, true, reply),
            LocalCommand::Asking => reply.put(replies::OK),
            LocalCommand::Role => {
                reply.array(3).bulk(b"master").integer(0).array(0);
            }
            LocalCommand::WhoAmI => {
                let identity = self.clients.get(request.client).and_then(|client| client.identity);
                reply.bulk(self.settings.authority.user_of(identity));
            }
            LocalCommand::Client(command) => self.client_command(command, request, reply),
            LocalCommand::Info => self.info(request, reply),
            LocalCommand::Config(command) => self.config(command, request, reply),
            LocalCommand::Proxy(command) => self.proxy_command(command, request, reply),
            _ => {
                reply.put(b"-");
                not_yet(request.command, reply);
                reply.put(b"\r\n");
            }
        }
    }

    /// Whether it is something that all handlers have to answer; then the reply comes later.
    fn ask_handlers(&mut self, local: LocalCommand, request: &Request<'_>) -> bool {
        match local {
            LocalCommand::HotKeys | LocalCommand::BigKeys => self.tell_top_keys(local, request),
            LocalCommand::Slowlog(command) => self.slow_log(command, request),
            LocalCommand::Monitor => self.monitor(request),
            _ => return false,
        }
        true
    }

    /// Whether SELECT leads anywhere.
    pub(super) fn changes_database(&self, request: &Request<'_>) -> bool {
        number(request.argument(1)) != Some(i64::from(request.lane.database()))
    }

    fn select(&mut self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let Some(number) = number(request.argument(1)) else {
            return reply.put(replies::NOT_AN_INTEGER);
        };
        if i32::try_from(number).is_err() {
            return reply.put(replies::BEYOND_32_BITS);
        }
        let most = self.settings.conf.pool.common.databases;
        let Some(database) = u32::try_from(number).ok().filter(|database| *database < most) else {
            return reply.put(replies::DB_OUT_OF_RANGE);
        };
        if let Some(client) = self.clients.get_mut(request.client) {
            client.lane = client.lane.with_database(database);
        }
        reply.put(replies::OK);
    }

    /// READONLY and READWRITE: whether the reads of a client go to masters, whatever the
    /// configuration says.
    fn read_from_masters(&mut self, id: ClientId, wanted: bool, reply: &mut Vec<u8>) {
        if let Some(client) = self.clients.get_mut(id)
            && (wanted || client.profile.is_some())
        {
            client.profile_mut().reads_masters = wanted;
            client.follow_profile();
        }
        reply.put(replies::OK);
    }

    /// AUTH. A login that fails leaves the client who it was.
    fn authenticate(&mut self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let (user, password) = match request.arguments.count() {
            2 => (None, request.argument(1)),
            3 => (Some(request.argument(1)), request.argument(2)),
            _ => return reply.put(replies::SYNTAX_ERROR),
        };
        match self.log_in(request.client, user, password) {
            Ok(()) => reply.put(replies::OK),
            Err(error) => _ = reply.error(error),
        }
    }
}

/// A number as Redis reads it: no blanks, no plus, no leading zeros.
fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !digits.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}
