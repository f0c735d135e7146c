//! COMMAND: which commands there are, asked from a server.
//!
//! Where nothing is disabled a server's words are passed on as they come. Otherwise they wait until
//! they are whole, and what is disabled is taken out.

use super::super::command_filter;
use super::super::replies;
use super::super::whole::{Purpose, Whole};
use super::Handler;
use super::dispatch::Request;
use crate::resp::command::{Listing, Merge};
use crate::resp::reply::Reply;
use crate::resp::writer::Protocol;

/// What COMMAND COUNT becomes where some of them do not count.
const COMMAND: &[u8] = b"*1\r\n$7\r\nCOMMAND\r\n";

impl Handler {
    pub(super) fn list_commands(&mut self, listing: Listing, request: &Request<'_>) {
        if !self.settings.conf.commands.has_disabled() {
            return self.forward_anywhere(request);
        }
        let Some(group) = self.key_groups().into_iter().next() else {
            return self.answer_own(request.client, request.sequence, replies::NO_SERVER);
        };
        let is_count = listing == Listing::Count && request.arguments.count() == 2;
        let question = if is_count { COMMAND } else { request.message.bytes };
        self.scatter(Merge::Same, Purpose::Listing(listing), vec![group], request, question);
    }

    /// A server has said which commands there are.
    pub(super) fn finish_listing(&mut self, whole: &Whole, listing: Listing) {
        let reply = whole.replies().next().unwrap_or_default();
        if Reply::new(reply).is_error() {
            return self.answer(whole.client, whole.sequence, reply);
        }
        let commands = &self.settings.conf.commands;
        let client = self.clients.get(whole.client);
        let protocol = client.map_or(Protocol::Resp2, |client| client.lane.protocol());
        let is_hidden = |name: &[u8]| commands.is_disabled(name);
        match command_filter::filter(listing, protocol, reply, is_hidden) {
            Some(rest) => self.answer(whole.client, whole.sequence, &rest),
            None => self.answer(whole.client, whole.sequence, UNEXPECTED),
        }
    }
}

/// A server has answered COMMAND with something else than commands.
const UNEXPECTED: &[u8] = b"-ERR unexpected reply of a server to COMMAND\r\n";
