//! Requests that are too large to be kept: passed on while they come.
//!
//! A request is kept until it is answered, because it may have to be sent again: after a
//! redirection, or when its server was away. For one of many megabytes that would take its size in
//! memory. So it gets a private link as soon as it is known where it belongs, what has come goes
//! out, what has gone is forgotten, and its client is not read while the server does not.
//!
//! The price: such a request cannot be sent again. When a server redirects one, its client is told
//! so, and for some seconds large requests are kept whole, so that its next attempt gets through.
//!
//! Only what is out of the ordinary in nothing else travels like this: one key, which comes first,
//! of a client that is in the middle of nothing. The rest is read whole, as ever.
//!
//! An upload ends with its last byte; then its client waits for the answer. Or before: its link is
//! lost or answers early, and the rest is read and thrown away; or its client leaves or talks
//! nonsense, and the link is closed, as its server waits for more.

use super::super::accept_connection::{Intake, Upload};
use super::super::auth::Verdict;
use super::super::replies;
use super::super::request::{Awaiting, ClientId, LinkId, Origin};
use super::Handler;
use super::dispatch::{Message, Request};
use super::intake::{Next, Reader};
use super::loss::Loss;
use crate::base::address::Address;
use crate::pool::{ServerId, Slot};
use crate::resp::command::CommandTable;
use crate::resp::request_parser::{Arguments, Parsed};
use crate::resp::writer::Sink;
use crate::sys::Progress;

/// A request of so many bytes and more is not kept.
pub(super) const UPLOAD: usize = 4 << 20;
/// A client whose server has yet to take so many bytes is not read.
/// It is read again when a quarter is left.
const UNSENT_MAX: usize = 1 << 20;
/// How long large requests are kept whole after one could not be sent again.
const KEEP_US: u64 = 10_000_000;

/// What the beginning of a request says.
struct Head<'a> {
    /// How many arguments there will be, the command's name included.
    count: usize,
    /// The command's name and the argument behind it.
    words: [&'a [u8]; 2],
}

impl<'a> Head<'a> {
    /// Reads what has come of a request in multi-bulk form, which a parser has accepted so far;
    /// `None` if that is not enough.
    fn of(bytes: &'a [u8]) -> Option<Head<'a>> {
        let (count, mut rest) = number_line(bytes, b'*')?;
        let mut words = [&[][..]; 2];
        for word in &mut words {
            let (length, body) = number_line(rest, b'$')?;
            *word = body.get(..length)?;
            rest = body.get(length + 2..)?;
        }
        Some(Head { count, words })
    }

    fn word(&self, index: usize) -> &'a [u8] {
        self.words.get(index).copied().unwrap_or_default()
    }
}

/// The number in a line that begins with `kind`, and what follows the line.
fn number_line(bytes: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    let line = bytes.strip_prefix(&[kind])?;
    let end = line.iter().take(20).position(|byte| *byte == b'\r')?;
    let number = std::str::from_utf8(&line[..end]).ok()?.parse().ok()?;
    Some((number, line.get(end + 2..)?))
}

impl Handler {
    /// Begins to pass on the request of which a client has sent the beginning, if it may be. True
    /// if it is passed on from now on, or if the client is not to be read until it has got what it
    /// is owed.
    pub(super) fn begin_upload(&mut self, commands: &CommandTable, id: ClientId) -> bool {
        let is_ordinary = self.room.is_open()
            && !self.is_paused()
            && self.client_pause.is_none()
            && !self.insight.monitors.is_watching
            && self.now_us >= self.uploads_from_us;
        let Some(client) = self.clients.get_mut(id) else { return false };
        let Some(inbox) = client.inbox.as_ref().filter(|_| is_ordinary && client.is_plain()) else {
            return false;
        };
        let Some(head) = Head::of(inbox.filled()) else { return false };
        let argument = |index| head.word(index);
        let Ok(command) = commands.resolve_inlined(head.count, argument) else { return false };
        if !(command.is_direct() && command.needs_master()) {
            return false;
        }
        let authority = &self.settings.authority;
        let verdict = authority.permit_request(client.identity, command, head.count, argument);
        if !matches!(verdict, Ok(Verdict::Allowed)) {
            return false;
        }
        if client.owed() > 0 {
            // It leaves the shared link, so it must not overtake what is under way there.
            client.intake = Intake::Waiting;
            return true;
        }
        let place = self.topology.place(head.word(1));
        let lane = client.lane;
        let length = inbox.len() + client.parser.wanted();
        // What is known of it, in the form of a request of its own.
        let (mut known, mut arguments) = (Vec::new(), Arguments::default());
        known.command(&head.words);
        arguments.index(&known);
        let Ok(server) = self.choose(place, true) else { return false };
        let Some(link) = self.private_link(server, lane) else { return false };
        if self.read_your_writes_us > 0 {
            self.reads_own_writes(id, place, true);
        }
        let request = Request {
            client: id,
            sequence: 0,
            lane,
            is_watching: false,
            from_master: false,
            command,
            arguments: &arguments,
            message: Message::passing(&known),
        };
        self.start_upload(request, link);
        if self.insight.meets(length) {
            self.look_at_length(&request, length);
        }
        true
    }

    fn start_upload(&mut self, request: Request<'_>, link_id: LinkId) {
        let client = self.clients.get_mut(request.client);
        let (Some(client), Some(link)) = (client, self.links.get_mut(link_id)) else { return };
        let Some(beginning) = client.inbox.take() else { return };
        if client.needs_line()
            && let Some(line) = self.lines.pop()
        {
            client.give_line(line);
        }
        let sequence = client.expect();
        client.active_us = self.now_us;
        client.command = Some(request.command.id());
        client.upload = Some(Box::new(Upload { link: Some(link_id), sequence, is_held_up: false }));
        link.is_fed = true;
        link.heard_us = self.now_us;
        link.log.begin_passing();
        link.send_buffer(beginning, Request { sequence, ..request }.ticket(self.now_us));
        self.list_link(link_id);
    }

    /// Reads more of a request that is passed on.
    #[inline(never)]
    pub(super) fn read_upload(&mut self, reader: &mut Reader, id: ClientId, most: usize) -> Next {
        let Some(client) = self.clients.get_mut(id) else { return Next::Enough };
        let Some(upload) = &client.upload else { return Next::Enough };
        if upload.is_held_up || !client.readable {
            return Next::Enough;
        }
        let most = most.min(reader.scratch.len());
        let length = match client.socket.read(&mut reader.scratch[..most]) {
            Ok(Progress::Moved(length)) => length,
            Ok(Progress::WouldBlock) => {
                client.readable = false;
                return Next::Enough;
            }
            Ok(Progress::Closed) => return self.client_ended(id),
            Err(error) => {
                self.drop_client(id, &error);
                return Next::Enough;
            }
        };
        client.readable = length == most || client.hung_up;
        client.active_us = self.now_us;
        self.recorder.handler().total_recv_client_bytes.add(length as u64);
        let limits =
            if client.identity.is_some() { &reader.limits } else { &reader.stranger_limits };
        let piece = &reader.scratch[..length];
        match client.parser.feed_piece(piece, limits, &mut reader.arguments) {
            Ok(Parsed::Incomplete) => {
                self.feed(id, piece);
                Next::More
            }
            Ok(Parsed::Request { end } | Parsed::Inline { end } | Parsed::Nothing { end }) => {
                let rest = &piece[end..];
                if !rest.is_empty() {
                    let mut inbox = self.buffers.take(rest.len());
                    inbox.push(rest);
                    client.inbox = Some(inbox);
                }
                self.feed(id, &piece[..end]);
                self.finish_upload(id);
                Next::More
            }
            Err(error) => {
                self.protocol_error(id, &error);
                Next::Enough
            }
        }
    }

    /// How many bytes may wait for a server: less, while memory is short.
    fn unsent_max(&self) -> u64 {
        self.budget.share_of(UNSENT_MAX.min(self.budget.unread_max)) as u64
    }

    /// Passes on a piece of a request; if nobody waits for it any more, it is forgotten.
    fn feed(&mut self, id: ClientId, piece: &[u8]) {
        let most = self.unsent_max();
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(upload) = &mut client.upload else { return };
        let link = upload.link.and_then(|link| Some((link, self.links.get_mut(link)?)));
        let Some((link_id, link)) = link else {
            upload.link = None;
            return;
        };
        link.log.append(&self.buffers, piece);
        if let Some(awaiting) = link.awaiting.back_mut() {
            let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            awaiting.length = awaiting.length.saturating_add(length);
        }
        upload.is_held_up = link.log.unsent() >= most;
        self.list_link(link_id);
    }

    /// All of a request has come.
    fn finish_upload(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let link = client.upload.take().and_then(|upload| upload.link);
        let Some(link) = link.and_then(|link| self.links.get_mut(link)) else { return };
        link.is_fed = false;
        link.log.end_passing();
        // The server has all the time for its answer from now on.
        if let Some(awaiting) = link.awaiting.back_mut() {
            awaiting.since_us = self.now_us;
        }
        let timeout_us = self.settings.conf.pool.common.server_timeout_us;
        if timeout_us > 0 {
            self.deadlines.links_by(self.now_us + timeout_us);
        }
        if client.owed() > 0 && client.intake == Intake::Open {
            client.intake = Intake::Waiting;
        }
    }

    /// The kernel has taken some of what a link is fed with: that is forgotten, and the client may
    /// go on.
    #[cold]
    pub(super) fn feed_on(&mut self, id: LinkId, has_moved: bool) {
        let few = self.unsent_max() / 4;
        let Some(link) = self.links.get_mut(id) else { return };
        link.log.forget_sent();
        if has_moved {
            link.heard_us = self.now_us;
        }
        if link.log.unsent() <= few {
            let origin = link.awaiting.back_mut().map(|awaiting| awaiting.origin);
            self.wake_uploader(origin);
        }
    }

    /// Lets whoever feeds a link go on: its server has taken some, or the link is gone and the rest
    /// is for nobody.
    pub(super) fn wake_uploader(&mut self, origin: Option<Origin>) {
        if let Some(Origin::Client { client: id, .. }) = origin
            && let Some(client) = self.clients.get_mut(id)
            && let Some(upload) = &mut client.upload
            && std::mem::replace(&mut upload.is_held_up, false)
        {
            client.active_us = self.now_us;
            self.eager_clients.push(id);
        }
    }

    /// A client will not send the rest of what it has begun. The number of that request, if it is
    /// not answered.
    #[cold]
    pub(super) fn break_off_upload(&mut self, id: ClientId) -> Option<u32> {
        let upload = self.clients.get_mut(id)?.upload.take()?;
        self.abandon_upload(&upload).then_some(upload.sequence)
    }

    /// The same for a client that is not read any more; it is told that its request was not sent.
    #[cold]
    pub(super) fn cut_upload_short(&mut self, id: ClientId) {
        if let Some(sequence) = self.break_off_upload(id) {
            self.answer(id, sequence, replies::NO_SERVER_CONNECTION);
        }
    }

    /// Closes the link of an upload whose rest will not come; nobody gets an answer. Whether there
    /// was one to be got.
    pub(super) fn abandon_upload(&mut self, upload: &Upload) -> bool {
        let link = upload.link.and_then(|id| Some((id, self.links.get_mut(id)?)));
        let Some((id, link)) = link else { return false };
        link.is_fed = false;
        if let Some(awaiting) = link.awaiting.back_mut() {
            awaiting.origin = Origin::Nobody;
        }
        self.lose_link(id, Loss::Retired);
        true
    }

    /// A request that was not kept would have to be sent again. Those that come next are kept.
    pub(super) fn keep_requests_whole(&mut self) {
        self.uploads_from_us = self.now_us.saturating_add(KEEP_US);
    }

    /// A server has redirected a request that was not kept. True when its client is told so.
    #[cold]
    pub(super) fn redirect_upload(
        &mut self,
        awaiting: &Awaiting,
        (address, slot, ask): (&Address, Slot, bool),
    ) -> bool {
        let _: Option<ServerId> = self.server_at(address, slot, ask);
        self.keep_requests_whole();
        self.deliver(awaiting.origin, replies::MOVED_UPLOAD);
        self.refresh_soon();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &str) -> Option<(usize, String)> {
        let head = Head::of(bytes.as_bytes())?;
        let words = head.words.map(|word| String::from_utf8_lossy(word).into_owned());
        Some((head.count, words.join(" ")))
    }

    #[test]
    fn a_head_is_read_when_it_is_there() {
        let whole = "*3\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$5000000\r\nxx";
        assert_eq!(head(whole), Some((3, "SET a\r\nb".to_owned())));
        let enough = whole.find("$50").unwrap();
        for end in 0..enough {
            assert_eq!(head(&whole[..end]), None, "{end}");
        }
        assert_eq!(head(&whole[..enough]), Some((3, "SET a\r\nb".to_owned())));
    }

    #[test]
    fn what_is_no_head_is_none() {
        for bytes in [
            "SET a 1\r\n",
            "*-1\r\n",
            "*1\r\n$4\r\nPING\r\n",
            "*3\r\n$x\r\n",
            "*99999999999999999999999\r\n",
        ] {
            assert_eq!(head(bytes), None, "{bytes:?}");
        }
    }
}
