//! PROXY PAUSE and PROXY RESUME: nothing more is sent to servers, and nobody is disconnected.
//!
//! What is under way is finished. Requests that come meanwhile stay where they are, first in our
//! memory and then in their clients', and are taken up in their order when it goes on. What the
//! proxy answers itself it goes on answering, so that an operator can look around, and resume.

use super::super::accept_connection::Intake;
use super::super::replies;
use super::super::request::{ClientId, Origin, Step};
use super::Handler;
use super::dispatch::Request;
use super::upkeep::Chore;
use crate::log_notice;
use crate::resp::command::{Family, ProxyCommand};
use crate::resp::writer::Sink;

/// A pause, in one handler.
#[derive(Default)]
pub(super) struct Pause {
    /// When it goes on by itself, in microseconds of the monotonic clock; 0 is no pause.
    until_us: u64,
    /// Who wants to know when nothing is under way any more: clients with their requests.
    curious: Vec<(ClientId, u32)>,
}

/// A pause that is not told how long it may last, in milliseconds.
const USUAL_MS: u64 = 60_000;
/// No pause is longer.
const LONGEST_MS: u64 = 3_600_000;
/// How often it is looked whether something is still under way.
const LOOK_US: u64 = 2_000;

const HELP: &[&str] = &[
    "PROXY <subcommand> [<arg>]. Subcommands are:",
    "PAUSE [<milliseconds>]",
    "    Send nothing more to servers, and answer when what was under way is done. Requests wait",
    "    until PROXY RESUME, or until the time is over: 60000 if not given.",
    "RESUME",
    "    Go on after a pause.",
    "HELP",
    "    Print this help.",
];

impl Handler {
    pub(super) fn proxy_command(
        &mut self,
        command: ProxyCommand,
        request: &Request<'_>,
        reply: &mut Vec<u8>,
    ) {
        let asker = (request.client, request.sequence);
        match command {
            ProxyCommand::Pause => match pause_ms(request) {
                Some(pause_ms) => {
                    log_notice!(self.log, "h {} pause for {} ms", self.index, pause_ms);
                    self.ask_round(
                        move |handler| handler.pause(pause_ms),
                        move |handler, _| handler.answer_when_quiet(asker),
                    );
                }
                None => {
                    reply.error(&format!("ERR PROXY PAUSE wants milliseconds, 1 to {LONGEST_MS}"));
                }
            },
            ProxyCommand::Resume => {
                log_notice!(self.log, "h {} resume", self.index);
                self.ask_all(asker, Handler::resume, |_, _| replies::OK.to_vec());
            }
            ProxyCommand::Help => {
                reply.array(HELP.len());
                for line in HELP {
                    reply.simple(line);
                }
            }
            ProxyCommand::Commands => self.describe_commands(reply),
        }
    }

    fn pause(&mut self, pause_ms: u64) {
        if self.draining {
            return;
        }
        self.pause.until_us = self.now_us + pause_ms * 1000;
        self.deadlines.set(Chore::Resume, self.pause.until_us);
        self.set_open();
    }

    /// Goes on after a pause.
    pub(super) fn resume(&mut self) {
        self.pause.until_us = 0;
        self.deadlines.set(Chore::Resume, u64::MAX);
        self.set_open();
        self.release_clients();
    }

    /// Takes up the requests that wait for the end of a pause. Those that have to wait for
    /// another one are held again.
    pub(super) fn release_clients(&mut self) {
        for id in self.clients.ids() {
            if let Some(client) = self.clients.get_mut(id)
                && client.intake == Intake::Held
            {
                client.intake = Intake::Open;
                client.active_us = self.now_us;
                self.eager_clients.push(id);
            }
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pause.until_us > 0
    }

    /// Notes whether requests may go on without a closer look.
    pub(super) fn set_open(&mut self) {
        let is_paused = self.is_paused() || self.client_pause.is_some();
        self.is_open = self.settings.authority.is_open() && !is_paused;
    }

    /// Whether this request, which has just been read, has to wait for the end of a pause.
    pub(super) fn is_held_back(&mut self, request: &Request<'_>) -> bool {
        let is_ours = matches!(request.command.family(), Family::Local(_) | Family::Refused(_));
        if !self.is_paused() || is_ours {
            return false;
        }
        if let Some(client) = self.clients.get_mut(request.client) {
            client.expect_later();
            client.intake = Intake::Held;
        }
        true
    }

    /// Answers a PAUSE when no handler has anything under way, or when it is over.
    fn answer_when_quiet(&mut self, asker: (ClientId, u32)) {
        let tell = move |handler: &mut Handler, counts: Vec<usize>| {
            let (client, sequence) = asker;
            match counts.iter().sum::<usize>() {
                0 => handler.answer_own(client, sequence, replies::OK),
                _ if handler.is_paused() => {
                    handler.pause.curious.push(asker);
                    handler.deadlines.advance(Chore::Quiet, handler.now_us + LOOK_US);
                }
                left => {
                    let text = format!("the pause is over and {left} requests are still under way");
                    handler.answer_own(client, sequence, format!("-ERR {text}\r\n").as_bytes());
                }
            }
        };
        self.ask_round(Handler::under_way, tell);
    }

    /// It is time to look whether something is still under way.
    pub(super) fn look_for_quiet(&mut self) {
        self.deadlines.set(Chore::Quiet, u64::MAX);
        for asker in std::mem::take(&mut self.pause.curious) {
            self.answer_when_quiet(asker);
        }
    }

    /// Requests of clients that some server has yet to answer; not those that may block.
    fn under_way(&mut self) -> usize {
        let is_asked = |origin: Origin| match origin {
            Origin::Session { step, .. } => step != Step::Block,
            Origin::Client { .. } | Origin::Part { .. } => true,
            Origin::Proxy(_) | Origin::Nobody => false,
        };
        let links = self.links.iter().map(|(_, link)| {
            link.awaiting.iter().filter(|awaiting| is_asked(awaiting.origin)).count()
        });
        links.sum::<usize>() + self.room.len()
    }
}

/// How long the pause is to be.
fn pause_ms(request: &Request<'_>) -> Option<u64> {
    if request.arguments.count() < 3 {
        return Some(USUAL_MS);
    }
    let digits = std::str::from_utf8(request.argument(2)).ok()?;
    digits.parse().ok().filter(|pause_ms| (1..=LONGEST_MS).contains(pause_ms))
}
