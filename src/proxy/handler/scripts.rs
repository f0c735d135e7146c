//! Scripts: loaded into every master, and once more into a server that does not know them.

use std::sync::Arc;

use super::super::replies;
use super::super::request::{Awaiting, Errand, LinkId, Origin};
use super::super::whole::{Purpose, Whole};
use super::Handler;
use super::dispatch::Request;
use crate::pool::Place;
use crate::resp::command::{Family, Merge, ScriptCommand};
use crate::resp::reply::Reply;
use crate::resp::writer::Sink;

/// What a server says that does not know the script of an EVALSHA; nothing was executed.
///
/// More than the first word, which a script that has been executed may say as well.
const NO_SCRIPT: &[u8] = b"-NOSCRIPT No matching script.";

/// A script that is longer is not sent along with each call in a transaction.
const CARRIED_MAX: usize = 64 << 10;

impl Handler {
    /// What concerns scripts, on one server or all.
    pub(super) fn take_script_command(&mut self, command: ScriptCommand, request: &Request<'_>) {
        match command {
            ScriptCommand::Eval | ScriptCommand::EvalSha => self.forward_by_keys(request),
            ScriptCommand::Load => self.load_script(request),
            ScriptCommand::Flush => {
                self.shared.scripts.clear();
                self.fan_out(Merge::AllOk, request);
            }
        }
    }

    fn load_script(&mut self, request: &Request<'_>) {
        let groups = self.key_groups();
        if groups.is_empty() {
            return self.answer_own(request.client, request.sequence, replies::NO_SERVER);
        }
        let purpose = Purpose::LoadScript { body: request.argument(2).into() };
        self.scatter(Merge::Same, purpose, groups, request, request.message.bytes);
    }

    /// All masters have answered SCRIPT LOAD. One that knows the script is enough to remember it.
    pub(super) fn finish_load_script(&mut self, whole: Whole, body: &[u8]) {
        let good = whole.replies().map(Reply::new).find(|reply| !reply.is_error());
        if let Some(digest) = good.and_then(|reply| reply.text()) {
            self.shared.scripts.remember(digest, body, self.budget.queue_max);
        }
        self.answer_merged(whole);
    }

    /// A server has said that it does not know a script. If it is remembered here the server is
    /// told, and the call repeated behind that, once. True when it is.
    ///
    /// The call is not repeated if its client has sent others since, which it would come after
    /// then; but the server is told all the same.
    pub(super) fn cure_no_script(&mut self, id: LinkId, awaiting: &Awaiting, reply: &[u8]) -> bool {
        if awaiting.was_cured() || !reply.starts_with(NO_SCRIPT) || !self.is_evalsha(awaiting) {
            return false;
        }
        let Some(link) = self.links.get(id) else { return false };
        let Some(request) = link.log.request(awaiting.offset, awaiting.length as usize) else {
            return false;
        };
        let request = request.to_vec();
        let Some(body) = self.script_of(&request) else { return false };
        let Origin::Client { client, sequence } = awaiting.origin else { return false };
        let is_last = self.clients.get(client).is_some_and(|client| client.is_last(sequence));
        // A server to which its slot is on its way takes the call as it took it before: after ASKING.
        let came_by_ask = awaiting.redirects() > 0
            && matches!(self.place_of(awaiting.origin, &request), Some((Place::Slot(slot), _))
                if self.topology.master_of_slot(slot) != self.links.get(id).map(|link| link.server));
        let mut load = Vec::with_capacity(body.len() + 64);
        load.command(&[b"SCRIPT", b"LOAD", &body]);
        let Some(link) = self.links.get_mut(id) else { return false };
        link.send_errand(&self.buffers, Errand::LoadScript, &load, self.now_us);
        if is_last && came_by_ask {
            load.clear();
            load.command(&[b"ASKING"]);
            link.send_errand(&self.buffers, Errand::Asking, &load, self.now_us);
        }
        if is_last {
            link.send(&self.buffers, &request, awaiting.cured());
        }
        self.list_link(id);
        is_last
    }

    /// An EVALSHA for a transaction, as the EVAL that does the same, if the script is remembered.
    ///
    /// What is queued cannot be repeated when EXEC finds that the server does not know the script,
    /// because the commands around it have been executed then.
    pub(super) fn with_its_script(&self, request: &Request<'_>) -> Option<Vec<u8>> {
        if request.command.family() != Family::Script(ScriptCommand::EvalSha) {
            return None;
        }
        let body = self.shared.scripts.find(request.argument(1))?;
        if body.len() > CARRIED_MAX {
            return None;
        }
        let name = if request.command.name().ends_with("_ro") { &b"EVAL_RO"[..] } else { b"EVAL" };
        let rest = (2..request.arguments.count()).map(|index| request.argument(index));
        let words: Vec<&[u8]> = [name, &body].into_iter().chain(rest).collect();
        let mut eval = Vec::with_capacity(request.message.bytes.len() + body.len() + 64);
        eval.command(&words);
        Some(eval)
    }

    fn is_evalsha(&self, awaiting: &Awaiting) -> bool {
        let command = awaiting.command.and_then(|id| self.settings.conf.commands.command(id));
        command.is_some_and(|command| command.family() == Family::Script(ScriptCommand::EvalSha))
    }

    /// The text of the script that an EVALSHA names, if it is remembered.
    fn script_of(&mut self, request: &[u8]) -> Option<Arc<[u8]>> {
        self.arguments_again.index(request);
        let digest = self.arguments_again.of(request, 1);
        self.shared.scripts.find(digest)
    }
}
