//! MONITOR: what all clients ask for, told to those who want to watch.
//!
//! Each handler writes a line for each request that it takes, as long as somebody watches
//! anywhere, and gives the lines of a turn to the handlers that have watching clients. There they
//! are put behind what the client is owed already. A client that does not read them is cut off
//! like any other, and so is one whose handler cannot keep up: no line is left out unnoticed.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::super::replies;
use super::super::request::ClientId;
use super::super::shared::Mail;
use super::Handler;
use super::dispatch::Request;
use crate::log_warn;
use crate::resp::command::{Family, LocalCommand, Rights};
use crate::sys::clock;

/// Who watches.
#[derive(Default)]
pub(super) struct Monitors {
    /// Somebody does, anywhere.
    pub is_watching: bool,
    /// The lines of this turn.
    lines: Vec<u8>,
    /// The handlers that have clients who watch.
    targets: Vec<usize>,
    clients: Vec<Watcher>,
    /// For which turn the clock on the wall was read, and what it is ahead of the other.
    read_us: u64,
    ahead_us: u64,
}

struct Watcher {
    client: ClientId,
    /// Lines that wait until the client has got the replies that are under way.
    backlog: Vec<u8>,
}

/// No more of a request than this, in bytes, is shown.
const SHOWN_MAX: usize = 16 << 10;
/// So many bytes of lines may be on their way to one handler.
const UNDER_WAY_MAX: usize = 16 << 20;

impl Monitors {
    /// Whether a turn ends with lines to be given to somebody.
    #[inline]
    pub fn have_news(&self) -> bool {
        self.is_watching
    }

    /// How many clients of this handler watch.
    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// Whether this client watches.
    pub fn has(&self, id: ClientId) -> bool {
        self.clients.iter().any(|watcher| watcher.client == id)
    }
}

impl Handler {
    /// MONITOR. The reply comes when every handler knows of it, and before the first line.
    pub(super) fn monitor(&mut self, request: &Request<'_>) {
        let (client, sequence) = (request.client, request.sequence);
        if self.insight.monitors.has(client) {
            return self.answer_own(client, sequence, replies::OK);
        }
        // Until the reply is out, lines are kept behind it.
        self.insight.monitors.clients.push(Watcher { client, backlog: Vec::new() });
        self.show_monitors();
        self.ask_all((client, sequence), Handler::follow_monitors, |_, _| replies::OK.to_vec());
    }

    /// A client no longer wants to watch.
    pub(super) fn stop_monitoring(&mut self, id: ClientId) {
        if self.insight.monitors.has(id) {
            self.insight.monitors.clients.retain(|watcher| watcher.client != id);
            self.monitors_changed();
        }
    }

    /// Takes over who has clients that watch.
    pub(super) fn follow_monitors(&mut self) {
        let handlers = self.shared.handlers.iter().enumerate();
        let targets = handlers.filter(|(_, handler)| handler.monitors.load(Relaxed) > 0);
        self.insight.monitors.targets = targets.map(|(index, _)| index).collect();
        let is_watching = !self.insight.monitors.targets.is_empty();
        self.insight.watch_all(is_watching);
    }

    fn show_monitors(&self) {
        let count = self.insight.monitors.clients.len();
        self.shared.handlers[self.index].monitors.store(count, Relaxed);
    }

    /// Somebody has left; the others need not write lines for nobody.
    fn monitors_changed(&mut self) {
        self.show_monitors();
        self.follow_monitors();
        for (index, handler) in self.shared.handlers.iter().enumerate() {
            if index != self.index {
                handler.post(Mail::Run(Box::new(Handler::follow_monitors)));
            }
        }
    }

    /// Writes the line of a request.
    pub(super) fn tell_monitors(&mut self, request: &Request<'_>) {
        let Some(client) = self.clients.get(request.client) else { return };
        let command = request.command;
        // What is for admins alone is not shown, as in Redis, nor what nobody executes.
        let is_local = matches!(command.family(), Family::Local(_));
        let is_refused = matches!(command.family(), Family::Refused(_));
        if (is_local && command.rights() == Rights::Admin) || is_refused {
            return;
        }
        let monitors = &mut self.insight.monitors;
        if monitors.read_us != self.now_us {
            monitors.read_us = self.now_us;
            monitors.ahead_us = clock::wall_us().saturating_sub(self.now_us);
        }
        let wall_us = self.now_us + monitors.ahead_us;
        let lines = &mut monitors.lines;
        let (seconds, micros) = (wall_us / 1_000_000, wall_us % 1_000_000);
        // A Vec takes everything.
        let _ =
            write!(lines, "+{seconds}.{micros:06} [{} {}]", client.lane.database(), client.peer);
        let arguments = (0..request.arguments.count()).map(|index| request.argument(index));
        write_words(lines, arguments, |index| is_secret(command.family(), request, index));
        lines.extend_from_slice(b"\r\n");
    }

    /// Gives the lines of this turn to whoever wants them.
    #[cold]
    pub(super) fn share_lines(&mut self) {
        let lines = std::mem::take(&mut self.insight.monitors.lines);
        let targets = std::mem::take(&mut self.insight.monitors.targets);
        let mut shared_lines = None;
        for target in &targets {
            if *target == self.index {
                self.take_lines(&lines);
                continue;
            }
            if lines.is_empty() {
                continue;
            }
            let handler = &self.shared.handlers[*target];
            let length = lines.len();
            if handler.lines_under_way.fetch_add(length, Relaxed) + length
                > UNDER_WAY_MAX.min(self.budget.queue_max)
            {
                handler.lines_under_way.fetch_sub(length, Relaxed);
                handler.post(Mail::Run(Box::new(Handler::cut_off_monitors)));
                continue;
            }
            let lines = Arc::clone(shared_lines.get_or_insert_with(|| Arc::<[u8]>::from(&*lines)));
            handler.post(Mail::Run(Box::new(move |handler| {
                let under_way = &handler.shared.handlers[handler.index].lines_under_way;
                under_way.fetch_sub(lines.len(), Relaxed);
                handler.take_lines(&lines);
            })));
        }
        // Posts to others change nothing here, but a client of ours may have left.
        if self.insight.monitors.targets.is_empty() && self.insight.monitors.is_watching {
            self.insight.monitors.targets = targets;
        }
        let mut lines = lines;
        lines.clear();
        lines.shrink_to(SHOWN_MAX);
        self.insight.monitors.lines = lines;
    }

    /// Lines have come for the clients of this handler that watch.
    fn take_lines(&mut self, lines: &[u8]) {
        let limit = self.settings.client_output_limit();
        let mut watchers = std::mem::take(&mut self.insight.monitors.clients);
        let before = watchers.len();
        watchers.retain_mut(|watcher| self.put_lines(watcher, lines, limit));
        self.insight.monitors.clients = watchers;
        if self.insight.monitors.clients.len() != before {
            self.monitors_changed();
        }
    }

    /// Puts lines behind what a client is owed. False when it is gone, or has to go.
    fn put_lines(&mut self, watcher: &mut Watcher, lines: &[u8], limit: u64) -> bool {
        let Some(client) = self.clients.get_mut(watcher.client) else { return false };
        watcher.backlog.extend_from_slice(lines);
        if client.owed() == 0 && !watcher.backlog.is_empty() {
            client.outbox.append(&self.buffers, &watcher.backlog);
            watcher.backlog.clear();
            watcher.backlog.shrink_to(SHOWN_MAX);
            self.list_client(watcher.client);
            return true;
        }
        let unread = (watcher.backlog.len() + client.unread_bytes()) as u64;
        if unread > limit {
            self.cut_off(watcher.client, "output limit");
            return false;
        }
        true
    }

    /// Lines came faster than this handler could take them.
    fn cut_off_monitors(&mut self) {
        for watcher in std::mem::take(&mut self.insight.monitors.clients) {
            self.cut_off(watcher.client, "too much to watch");
        }
        self.monitors_changed();
    }

    fn cut_off(&mut self, id: ClientId, why: &str) {
        if let Some(client) = self.clients.get(id) {
            log_warn!(self.log, "h {} c {} monitor is cut off: {}", self.index, client.peer, why);
        }
        self.drop_client(id, why);
    }
}

/// Whether a word must not be shown: it is, or may be, a password.
fn is_secret(family: Family, request: &Request<'_>, index: usize) -> bool {
    match family {
        Family::Local(LocalCommand::Auth) => index > 0,
        Family::Local(LocalCommand::Hello) => {
            // HELLO 3 AUTH user password
            let says_auth = |at: usize| request.argument(at).eq_ignore_ascii_case(b"AUTH");
            (index >= 2 && says_auth(index - 1)) || (index >= 3 && says_auth(index - 2))
        }
        _ => false,
    }
}

/// Writes words as Redis shows them, each between quotes.
fn write_words<'a>(
    line: &mut Vec<u8>,
    words: impl Iterator<Item = &'a [u8]>,
    is_secret: impl Fn(usize) -> bool,
) {
    let most = line.len() + SHOWN_MAX;
    for (index, word) in words.enumerate() {
        line.extend_from_slice(b" \"");
        let shown = if is_secret(index) { b"(redacted)" } else { word };
        for (at, byte) in shown.iter().enumerate() {
            if line.len() >= most {
                let _ = write!(line, "\"... ({} more bytes)", shown.len() - at);
                return;
            }
            match byte {
                b'"' | b'\\' => line.extend_from_slice(&[b'\\', *byte]),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                b'\t' => line.extend_from_slice(b"\\t"),
                0x07 => line.extend_from_slice(b"\\a"),
                0x08 => line.extend_from_slice(b"\\b"),
                b' '..=b'~' => line.push(*byte),
                _ => drop(write!(line, "\\x{byte:02x}")),
            }
        }
        line.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&[u8]], want: &str) {
        let mut line = Vec::new();
        write_words(&mut line, words.iter().copied(), |index| index == 9);
        assert_eq!(String::from_utf8(line).unwrap(), want);
    }

    #[test]
    fn words_are_quoted_as_redis_quotes_them() {
        check(&[b"set", b"a b", b""], r#" "set" "a b" """#);
        check(&[b"\"\\\n\r\t\x07\x08\x00\x7f\xff~"], r#" "\"\\\n\r\t\a\b\x00\x7f\xff~""#);
        check(&[&b"x"[..]; 10], r#" "x" "x" "x" "x" "x" "x" "x" "x" "x" "(redacted)""#);
    }

    #[test]
    fn a_long_request_is_cut() {
        let mut line = b"+0 [0 unix]".to_vec();
        let long = vec![b'x'; 1 << 20];
        write_words(&mut line, [&b"set"[..], &long].into_iter(), |_| false);
        assert!(line.len() < SHOWN_MAX + 100);
        assert!(line.ends_with(b" more bytes)"), "{}", line[line.len() - 40..].escape_ascii());
    }
}
