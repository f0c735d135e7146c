//! CLIENT PAUSE: requests wait where they are, in the order in which they came.
//!
//! A client whose next request has to wait is not read from until the pause is over; what it
//! has sent before goes on. Each handler pauses its own clients.

use super::super::accept_connection::Intake;
use super::super::client_list::integer;
use super::super::replies;
use super::Handler;
use super::client_command::too_many_words;
use super::dispatch::Request;
use super::upkeep::Chore;
use crate::resp::command::{
    ClientCommand, Command, Family, LocalCommand, PubSubCommand, Rights, TransactionCommand,
};
use crate::resp::writer::Sink;

/// A pause that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientPause {
    /// It is over then, in microseconds of the monotonic clock.
    until_us: u64,
    /// Requests that change nothing go on.
    writes_only: bool,
}

impl Handler {
    pub(super) fn pause_clients(&mut self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let count = request.arguments.count();
        let writes_only = match count {
            3 => false,
            4 if request.argument(3).eq_ignore_ascii_case(b"all") => false,
            4 if request.argument(3).eq_ignore_ascii_case(b"write") => true,
            4 => return reply.put(replies::PAUSE_MODE),
            _ => return too_many_words(request, reply),
        };
        let Some(timeout_ms) = integer(request.argument(2)) else {
            return reply.put(replies::TIMEOUT_NOT_AN_INTEGER);
        };
        let Ok(timeout_ms) = u64::try_from(timeout_ms) else {
            return reply.put(replies::TIMEOUT_NEGATIVE);
        };
        let until_us = self.now_us.saturating_add(timeout_ms.saturating_mul(1000));
        let pause = ClientPause { until_us, writes_only };
        self.ask_all(
            (request.client, request.sequence),
            move |handler| handler.hold_clients(Some(pause)),
            |_, _| replies::OK.into(),
        );
    }

    /// Begins another pause, or ends it.
    pub(super) fn hold_clients(&mut self, pause: Option<ClientPause>) {
        self.client_pause = pause;
        self.deadlines.set(Chore::ClientPause, pause.map_or(u64::MAX, |pause| pause.until_us));
        self.set_open();
        self.release_clients();
    }

    /// Whether a request has to wait for the end of a pause; then it stays where it is.
    pub(super) fn is_held_by_clients(&mut self, request: &Request<'_>) -> bool {
        let Some(pause) = self.client_pause else { return false };
        let command = request.command;
        let Some(client) = self.clients.get_mut(request.client) else { return false };
        let is_queued = client.session.as_ref().is_some_and(|session| session.is_transaction());
        let is_meant = match command.family() {
            Family::Transaction(TransactionCommand::Exec) => true,
            // What is queued is executed by EXEC.
            _ if pause.writes_only => may_write(command) && !is_queued,
            // Whoever began it must be able to end it.
            family => family != Family::Local(LocalCommand::Client(ClientCommand::Unpause)),
        };
        if !is_meant {
            return false;
        }
        client.expect_later();
        client.intake = Intake::Held;
        true
    }
}

/// Whether a command may change something, or reach others.
fn may_write(command: &Command) -> bool {
    match command.family() {
        Family::Transaction(TransactionCommand::Exec)
        | Family::PubSub(PubSubCommand::Publish | PubSubCommand::ShardPublish) => true,
        Family::Transaction(_)
        | Family::PubSub(_)
        | Family::Local(_)
        | Family::Cluster(_)
        | Family::Container
        | Family::Refused(_)
        | Family::AnyServer
        | Family::OneMaster
        | Family::Listing(_) => false,
        Family::Keyed
        | Family::Split(_)
        | Family::FanOut(_)
        | Family::Undivided
        | Family::Scan
        | Family::RandomKey
        | Family::Script(_)
        | Family::Blocking
        | Family::StreamRead => command.rights() != Rights::Read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::command::CommandTable;

    #[test]
    fn what_changes_nothing_does_not_wait_for_writes() {
        let table = CommandTable::new();
        let check = |line: &str, want: bool| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let command = table.resolve(words.len(), |index| words[index]).unwrap();
            assert_eq!(may_write(command), want, "{line}");
        };
        for line in ["GET k", "MGET k", "SCAN 0", "PING", "MULTI", "WATCH k", "XREAD STREAMS k 0"] {
            check(line, false);
        }
        for line in ["SET k v", "DEL k", "EVAL s 0", "EXEC", "PUBLISH c m", "BLPOP k 0", "FLUSHALL"]
        {
            check(line, true);
        }
    }
}
