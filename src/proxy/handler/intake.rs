//! Clients: accepted, read, given what they are owed, let go.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::super::accept_connection::{AcceptConnection, Intake};
use super::super::legacy::Legacy;
use super::super::replies;
use super::super::request::ClientId;
use super::super::settings::{self, Settings};
use super::super::shared::Mail;
use super::dispatch::{Message, Taken};
use super::links::ELEPHANT;
use super::upkeep::Chore;
use super::uploads::UPLOAD;
use super::{Handler, LISTENER};
use crate::buffer::{Buffer, Flushed};
use crate::resp::request_parser::{Arguments, Limits, Parsed, ProtocolError};
use crate::sys::{Event, Peer, Progress, Socket, Token};
use crate::{log_debug, log_info, log_notice, log_warn};

/// What all connections of a handler read with.
pub(super) struct Reader {
    pub scratch: Box<[u8]>,
    pub arguments: Arguments,
    /// Those of the handler; here for the time when the handler itself is busy.
    pub settings: Arc<Settings>,
    pub limits: Limits,
    /// For clients that must log in first.
    pub stranger_limits: Limits,
}

/// All connections share one buffer of this size to read into.
pub(super) const SCRATCH: usize = 64 << 10;
/// A request of which more than this has come gets a buffer of its own to be read into.
const LARGE: usize = 16 << 10;
/// A client with much to say lets others have their turn after this many reads.
const READS_PER_TURN: usize = 4;
/// So much of `MaxMemory` must stand behind each argument of a request.
const MEMORY_OF_ARGUMENT: u64 = 64;
/// At most so many clients are accepted before others have their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// A client with so many requests in flight is not read until half of them are answered.
const IN_FLIGHT_MAX: usize = 4096;
/// Empty reply queues are kept for the next client if they are no longer than this.
const LINE_KEPT: usize = 256;
/// Empty reply queues kept at a time.
const LINES_KEPT: usize = 64;
/// How long accepting pauses when there are no descriptors left.
const ACCEPT_PAUSE_US: u64 = 100_000;

impl Reader {
    pub fn new(settings: &Arc<Settings>) -> Self {
        let mut reader = Reader {
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            arguments: Arguments::default(),
            settings: Arc::clone(settings),
            limits: Limits::default(),
            stranger_limits: Limits { unauthenticated: true, ..Limits::default() },
        };
        reader.follow(settings);
        reader
    }

    /// Goes by these settings from now on.
    pub fn follow(&mut self, settings: &Arc<Settings>) {
        self.settings = Arc::clone(settings);
        let most = usize::try_from(settings.client_query_limit()).unwrap_or(usize::MAX);
        self.limits.request_max = most;
        self.stranger_limits.request_max = most;
        // Where each argument is takes memory too.
        let memory = settings::memory_max(settings.conf.max_memory, 1).unwrap_or(u64::MAX);
        let most = usize::try_from(memory / MEMORY_OF_ARGUMENT).unwrap_or(usize::MAX);
        self.limits.arguments_max = most.min(Limits::default().arguments_max);
    }
}

impl Handler {
    /// Joins the listeners to the multiplexor.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        for (listener, token) in self.listeners.iter().zip((0..=LISTENER).rev()) {
            self.multiplexor.add_listener(listener, Token(token))?;
        }
        self.listening = !self.listeners.is_empty();
        Ok(())
    }

    /// Leaves new clients to wait in the kernel's queue.
    fn pause_listening(&mut self) {
        for listener in &self.listeners {
            // It fails for one that is not joined, which is what is wanted.
            let _ = self.multiplexor.remove_listener(listener);
        }
        self.listening = false;
        self.deadlines.set(Chore::Accept, self.now_us + ACCEPT_PAUSE_US);
    }

    /// Listens again after a pause.
    pub(super) fn resume_listening(&mut self) {
        self.deadlines.set(Chore::Accept, u64::MAX);
        if !self.listening
            && !self.draining
            && let Err(error) = self.listen()
        {
            log_warn!(self.log, "h {} listen again fail {}", self.index, error);
            self.pause_listening();
        }
    }

    /// Stops taking requests, finishes what is in flight, lets the clients go.
    #[cold]
    #[inline(never)]
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.resume();
        self.listeners.clear();
        self.listening = false;
        self.deadlines.set(Chore::Accept, u64::MAX);
        self.deadlines.set(Chore::Stop, self.now_us + self.settings.conf.shutdown_timeout_us);
        self.deadlines.set(Chore::Unblock, self.now_us);
        if self.shared.is_bequeathing() {
            return self.bequeath_clients();
        }
        for id in self.clients.ids() {
            if let Some(client) = self.clients.get_mut(id) {
                client.intake = Intake::Closed;
            }
            self.list_client(id);
            self.cut_upload_short(id);
        }
    }

    /// Lets go of the clients that are still there when the time to stop has come.
    pub(super) fn abandon_clients(&mut self) {
        self.deadlines.set(Chore::Stop, u64::MAX);
        let ids = self.clients.ids();
        log_warn!(self.log, "h {} stop with {} clients in flight", self.index, ids.len());
        for id in ids {
            self.drop_client(id, "stop");
        }
    }

    #[inline(never)]
    pub(super) fn accept(&mut self, listener: usize) {
        if !self.has_room_for_clients() {
            return self.pause_listening();
        }
        let intake = self.intake_at(listener);
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(listener) else { return };
            match listener.accept() {
                Ok(Some((socket, peer))) => self.assign(socket, peer, intake),
                Ok(None) => return,
                Err(error) => {
                    // No descriptors or no memory left. Whoever waits in the kernel's queue is
                    // accepted when somebody leaves.
                    log_warn!(self.log, "h {} accept fail {}", self.index, error);
                    return self.pause_listening();
                }
            }
        }
    }

    /// Gives a new client to the handler with the fewest.
    fn assign(&mut self, socket: Socket, peer: Peer, intake: Intake) {
        self.recorder.handler().accept.increment();
        if self.shared.clients() as u64 >= self.settings.clients_max {
            log_notice!(self.log, "h {} refuse c {} with max number of clients", self.index, peer);
            // One small write to a new connection always fits; if not, closing says enough.
            let _ = socket.write(replies::TOO_MANY_CLIENTS);
            return;
        }
        let own = self.clients.len();
        let least = (self.shared.handlers.iter().enumerate())
            .map(|(index, handler)| (handler.clients.load(Relaxed), index))
            .min();
        match least {
            Some((clients, index)) if clients < own && index != self.index => {
                // Counted at once, or a burst would all go to one.
                self.shared.handlers[index].clients.fetch_add(1, Relaxed);
                self.shared.handlers[index].post(Mail::Client(socket, peer, intake));
            }
            _ => self.adopt(socket, peer, intake),
        }
    }

    /// Begins to serve a client.
    pub(super) fn adopt(&mut self, socket: Socket, peer: Peer, intake: Intake) {
        if self.draining {
            let number = self.shared.next_client();
            self.pass_on(socket, Legacy { intake, ..Legacy::new(peer, number) });
            return self.set_load();
        }
        if matches!(peer, Peer::Ip(_))
            && let Err(error) = socket.set_no_delay()
        {
            // The peer has reset the connection already.
            log_info!(self.log, "h {} ignore c {} settcpnodelay fail:{}", self.index, peer, error);
            return self.set_load();
        }
        let number = self.shared.next_client();
        log_info!(self.log, "h {} accept c {} {}", self.index, peer, socket.number());
        let mut client = AcceptConnection::new(socket, peer, number, self.now_us);
        client.identity = self.settings.authority.default_identity();
        client.intake = intake;
        let id = self.clients.insert(client);
        let Some(client) = self.clients.get(id) else { return };
        if let Err(error) = self.multiplexor.add(&client.socket, Token(id.to_u64())) {
            log_warn!(
                self.log,
                "h {} add c {} to event loop fail:{}",
                self.index,
                client.peer,
                error
            );
            self.clients.remove(id);
        }
        self.set_load();
        self.watch_clients();
        self.watch_headers(intake);
    }

    #[cfg_attr(small, optimize(speed))]
    pub(super) fn take_client_event(&mut self, id: ClientId, event: &Event) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if event.writable && !client.outbox.is_empty() {
            self.list_client(id);
        }
        if event.readable || event.hang_up {
            if let Some(client) = self.clients.get_mut(id) {
                client.readable = true;
                client.hung_up |= event.hang_up;
            }
            if event.hang_up {
                self.suspect(id);
            }
            self.read_client(id);
        }
    }

    /// Goes on with those who were not read to the end, or not read at all, last turn.
    #[cfg_attr(small, optimize(speed))]
    pub(super) fn read_eager_clients(&mut self) {
        if self.eager_clients.is_empty() {
            return;
        }
        for id in mem::take(&mut self.eager_clients) {
            self.read_client(id);
        }
    }

    /// Puts back what was taken out for the time of reading.
    #[inline]
    pub(super) fn put_back(&mut self, reader: Box<Reader>) {
        let taken = self.reader.replace(reader);
        debug_assert!(taken.is_none(), "two read at the same time");
        // There is nothing to be dropped, which the compiler does not know.
        mem::forget(taken);
    }

    #[cfg_attr(small, optimize(speed))]
    fn read_client(&mut self, id: ClientId) {
        // Taken out for the time of reading, so that requests can be handled where they lie.
        let Some(mut reader) = self.reader.take() else { return };
        for _ in 0..READS_PER_TURN {
            let mut most = SCRATCH;
            if self.budget.is_short() {
                match self.ration(id) {
                    Some(ration) => most = ration,
                    None => {
                        self.reader = Some(reader);
                        return;
                    }
                }
            }
            match self.read_client_once(&mut reader, id, most) {
                Next::More => {}
                Next::Enough => {
                    self.put_back(reader);
                    return;
                }
            }
        }
        self.put_back(reader);
        self.eager_clients.push(id);
    }

    /// Takes the requests that lie ready, or reads once, `most` bytes or less, and takes what came.
    #[cfg_attr(small, optimize(speed))]
    fn read_client_once(&mut self, reader: &mut Reader, id: ClientId, most: usize) -> Next {
        let Some(client) = self.clients.get_mut(id) else { return Next::Enough };
        if client.intake != Intake::Open {
            if client.intake.wants_header() {
                return self.read_header(reader, id);
            }
            // A client that leaves is noticed also while it is not read from.
            return self.watch_for_hang_up(reader, id);
        }
        if let Some(request) = client.held.take() {
            self.dispatch_large(reader, id, *request);
            return Next::More;
        }
        if client.upload.is_some() {
            return self.read_upload(reader, id, most);
        }
        let held = client.inbox.as_ref().map_or(0, |inbox| inbox.len());
        let fed = client.parser.fed();
        if held == fed {
            if !client.readable {
                return Next::Enough;
            }
            if held >= LARGE {
                return self.read_large(reader, id);
            }
        }
        let mut total = held;
        if let Some(inbox) = client.inbox.take() {
            reader.scratch[..held].copy_from_slice(inbox.filled());
        }
        if held == fed {
            let end = (held + most).min(SCRATCH);
            match client.socket.read(&mut reader.scratch[held..end]) {
                Ok(Progress::Moved(length)) => {
                    total += length;
                    self.recorder.handler().total_recv_client_bytes.add(length as u64);
                    // A short read has emptied the kernel's buffer, and the next arrival is a
                    // new event; but the end of the stream may have been announced already.
                    client.readable = total == end || client.hung_up;
                }
                Ok(Progress::WouldBlock) => client.readable = false,
                Ok(Progress::Closed) => return self.client_ended(id),
                Err(error) => {
                    self.drop_client(id, &error);
                    return Next::Enough;
                }
            }
        }
        self.take_requests(reader, id, fed, total)
    }

    /// Handles the requests in `scratch[..total]`, of which the parser knows the first `fed`
    /// bytes, and puts away what is left.
    #[cfg_attr(small, optimize(speed))]
    fn take_requests(
        &mut self,
        reader: &mut Reader,
        id: ClientId,
        fed: usize,
        total: usize,
    ) -> Next {
        let Reader { scratch, arguments, settings, limits, stranger_limits } = reader;
        let commands = &settings.conf.commands;
        let (mut begin, mut at) = (0, fed);
        loop {
            let Some(client) = self.clients.get_mut(id) else { return Next::Enough };
            if client.intake == Intake::Open
                && (client.owed() >= IN_FLIGHT_MAX || client.outbox.len() >= self.budget.unread_max)
            {
                // `flush_client` goes on when it has less under way.
                client.intake = Intake::Paused;
            }
            if client.intake == Intake::Closed {
                // What it says after its last request is nobody's business.
                client.inbox = None;
                return Next::Enough;
            }
            if at == total || client.intake != Intake::Open {
                if begin < total {
                    let mut inbox = self.buffers.take(total - begin);
                    inbox.push(&scratch[begin..total]);
                    client.inbox = Some(inbox);
                }
                let more = client.intake == Intake::Open && client.readable;
                return if more { Next::More } else { Next::Enough };
            }
            let limits = if client.identity.is_some() { &*limits } else { &*stranger_limits };
            let end = match client.parser.feed(&scratch[at..total], limits, arguments) {
                Ok(Parsed::Incomplete) => {
                    // Whoever takes long to say something is not idle.
                    client.active_us = self.now_us;
                    at = total;
                    continue;
                }
                Ok(Parsed::Request { end }) => {
                    let message = &scratch[begin..at + end];
                    if begin != at {
                        arguments.index(message);
                    }
                    if self.dispatch(commands, arguments, id, Message::passing(message))
                        == Taken::Later
                    {
                        continue;
                    }
                    end
                }
                Ok(Parsed::Inline { end }) => {
                    if begin != at {
                        arguments.index(&scratch[begin..at + end]);
                    }
                    let message = arguments.rewritten();
                    if self.dispatch(commands, arguments, id, Message::passing(message))
                        == Taken::Later
                    {
                        continue;
                    }
                    end
                }
                Ok(Parsed::Nothing { end }) => end,
                Err(error) => {
                    self.protocol_error(id, &error);
                    continue;
                }
            };
            at += end;
            begin = at;
        }
    }

    /// Reads more of a large request straight into its own buffer.
    #[inline(never)]
    fn read_large(&mut self, reader: &mut Reader, id: ClientId) -> Next {
        let Some(client) = self.clients.get_mut(id) else { return Next::Enough };
        let Some(inbox) = &mut client.inbox else { return Next::Enough };
        let fed = inbox.len();
        let wanted = client.parser.wanted();
        if fed + wanted >= UPLOAD && self.begin_upload(&reader.settings.conf.commands, id) {
            return Next::More;
        }
        let Some(client) = self.clients.get_mut(id) else { return Next::Enough };
        let Some(inbox) = &mut client.inbox else { return Next::Enough };
        if inbox.room() < wanted.clamp(1, LARGE) {
            // Whoever announces much gets memory as it comes, not as it is announced.
            let more = wanted.clamp(LARGE, fed.max(4 * LARGE));
            if !self.make_room_for(id, fed + more) {
                return Next::Enough;
            }
            let Some(client) = self.clients.get_mut(id) else { return Next::Enough };
            let Some(inbox) = &mut client.inbox else { return Next::Enough };
            inbox.reserve_exact(more);
        }
        let Some(client) = self.clients.get_mut(id) else { return Next::Enough };
        let Some(inbox) = &mut client.inbox else { return Next::Enough };
        let room = inbox.room_mut();
        // Of what follows the request no more may come than the scratch buffer has room for.
        let most = room.len().min(wanted.max(LARGE));
        match client.socket.read(&mut room[..most]) {
            Ok(Progress::Moved(length)) => {
                client.readable = length == most || client.hung_up;
                client.active_us = self.now_us;
                inbox.filled_more(length);
                self.recorder.handler().total_recv_client_bytes.add(length as u64);
            }
            Ok(Progress::WouldBlock) => {
                client.readable = false;
                return Next::Enough;
            }
            Ok(Progress::Closed) => return self.client_ended(id),
            Err(error) => {
                self.drop_client(id, &error);
                return Next::Enough;
            }
        }
        let arguments = &mut reader.arguments;
        let limits =
            if client.identity.is_some() { &reader.limits } else { &reader.stranger_limits };
        let end = match client.parser.feed_piece(&inbox.filled()[fed..], limits, arguments) {
            Ok(Parsed::Incomplete) => return Next::More,
            Ok(Parsed::Request { end }) => fed + end,
            Ok(Parsed::Nothing { end }) => {
                inbox.consume(fed + end);
                return Next::More;
            }
            // A long line; its words are put into a request that is copied like any other.
            Ok(Parsed::Inline { end }) => {
                let Some(mut line) = client.inbox.take() else { return Next::Enough };
                arguments.index(&line.filled()[..fed + end]);
                line.consume(fed + end);
                client.inbox = Some(line).filter(|rest| !rest.is_empty());
                let Reader { settings, arguments, .. } = reader;
                let message = Message::passing(arguments.rewritten());
                let taken = self.dispatch(&settings.conf.commands, arguments, id, message);
                if taken == Taken::Later
                    && let Some(client) = self.clients.get_mut(id)
                {
                    let mut held = self.buffers.take(message.bytes.len());
                    held.push(message.bytes);
                    client.held = Some(Box::new(held));
                }
                return Next::More;
            }
            Err(error) => {
                self.protocol_error(id, &error);
                return Next::Enough;
            }
        };
        let Some(mut request) = client.inbox.take() else { return Next::Enough };
        if end < request.len() {
            let mut rest = self.buffers.take(request.len() - end);
            rest.push(&request.filled()[end..]);
            client.inbox = Some(rest);
            request.truncate(end);
        }
        if request.len() >= ELEPHANT && client.owed() > 0 {
            // It leaves the shared link, so it must not overtake what is under way there.
            client.intake = Intake::Waiting;
            client.held = Some(Box::new(request));
            return Next::Enough;
        }
        self.dispatch_large(reader, id, request);
        Next::More
    }

    /// Handles a large request; if it travels on a link of its own, what comes after it waits.
    #[inline(never)]
    fn dispatch_large(&mut self, reader: &mut Reader, id: ClientId, request: Buffer) {
        let Reader { settings, arguments, .. } = reader;
        arguments.index(request.filled());
        let length = request.len();
        let message = Message { bytes: request.filled(), is_large: true };
        if self.dispatch(&settings.conf.commands, arguments, id, message) == Taken::Later {
            if let Some(client) = self.clients.get_mut(id) {
                client.held = Some(Box::new(request));
            }
            return;
        }
        self.send_large(request);
        if let Some(client) = self.clients.get_mut(id)
            && length >= ELEPHANT
            && client.owed() > 0
            && client.intake == Intake::Open
        {
            client.intake = Intake::Waiting;
        }
    }

    /// The client has closed its side. It still gets what it is owed.
    #[inline(never)]
    pub(super) fn client_ended(&mut self, id: ClientId) -> Next {
        if let Some(client) = self.clients.get_mut(id) {
            client.readable = false;
            client.ended = true;
            client.intake = Intake::Closed;
            client.inbox = None;
            let is_cut_short = client.upload.is_some();
            self.list_client(id);
            if is_cut_short {
                self.cut_upload_short(id);
            }
        }
        Next::Enough
    }

    /// Whether somebody who is not read from is still there, as far as it can be told without
    /// reading what it says.
    #[inline(never)]
    fn watch_for_hang_up(&mut self, reader: &mut Reader, id: ClientId) -> Next {
        let Some(client) = self.clients.get_mut(id) else { return Next::Enough };
        if client.intake == Intake::Closed && client.readable && !client.ended {
            // It gets no more answers; what it says is thrown away, so that closing does not
            // throw away the last reply on its way to it.
            match client.socket.read(&mut reader.scratch) {
                Ok(Progress::Moved(length)) => {
                    client.readable = length == reader.scratch.len() || client.hung_up;
                    return if client.readable { Next::More } else { Next::Enough };
                }
                Ok(Progress::WouldBlock) => client.readable = false,
                Ok(Progress::Closed) => return self.client_ended(id),
                Err(error) => self.drop_client(id, &error),
            }
        }
        Next::Enough
    }

    /// Says what is wrong, after the replies to what was right, and takes no more.
    #[cold]
    #[inline(never)]
    pub(super) fn protocol_error(&mut self, id: ClientId, error: &ProtocolError) {
        let begun = self.break_off_upload(id);
        let Some(client) = self.clients.get_mut(id) else { return };
        log_notice!(
            self.log,
            "h {} c {} {} {}",
            self.index,
            client.peer,
            client.socket.number(),
            error
        );
        let mut reply = Vec::new();
        error.reply(&mut reply);
        let sequence = begun.unwrap_or_else(|| client.expect());
        client.intake = Intake::Closed;
        client.inbox = None;
        self.answer(id, sequence, &reply);
    }

    /// Sends a client what is ready for it; ends it when nothing is left to be done for it.
    #[cfg_attr(small, optimize(speed))]
    pub(super) fn flush_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.listed = false;
        let client = if client.subscribes {
            self.release_held(id);
            let Some(client) = self.clients.get_mut(id) else { return };
            client
        } else {
            client
        };
        let before = client.outbox.len();
        let flushed = client.outbox.flush(&client.socket);
        let sent = before - client.outbox.len();
        self.recorder.handler().total_send_client_bytes.add(sent as u64);
        if sent > 0 {
            client.active_us = self.now_us;
        }
        match flushed {
            Ok(Flushed::All) => {
                if client.intake.is_ending() && client.owed() == 0 {
                    return self.let_go(id);
                }
            }
            Ok(Flushed::Blocked) => {
                if client.unread_bytes() as u64 > self.settings.client_output_limit() {
                    return self.cut_off_reader(id);
                }
            }
            Err(error) => return self.drop_client(id, &error),
        }
        let may_go_on = match client.intake {
            Intake::Paused => {
                client.owed() <= IN_FLIGHT_MAX / 2
                    && client.outbox.len() <= self.budget.unread_max / 4
            }
            Intake::Waiting => client.owed() == 0,
            Intake::Open
            | Intake::Header
            | Intake::HeaderWithUser
            | Intake::Starved
            | Intake::Held
            | Intake::Leaving
            | Intake::Closed => false,
        };
        if may_go_on {
            client.intake = Intake::Open;
            self.eager_clients.push(id);
        }
        let is_fed = !client.fed_by.is_empty();
        if let Some(line) = client.take_spare_line()
            && line.places() <= LINE_KEPT
            && self.lines.len() < LINES_KEPT
        {
            self.lines.push(line);
        }
        if is_fed {
            self.speed_up(id);
        }
    }

    /// Lets a client go that does not read what it is sent.
    pub(super) fn cut_off_reader(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id) else { return };
        log_warn!(
            self.log,
            "h {} c {} {} does not read {} bytes",
            self.index,
            client.peer,
            client.socket.number(),
            client.unread_bytes()
        );
        self.drop_client(id, "output limit");
    }

    /// Lets a client go. Its requests go on; their replies find a stale id.
    pub(super) fn drop_client(&mut self, id: ClientId, why: impl std::fmt::Display) {
        if let Some(client) = self.clients.remove(id) {
            log_debug!(
                self.log,
                "h {} remove c {} {} with {}",
                self.index,
                client.peer,
                client.socket.number(),
                why
            );
            if let Some(session) = client.session {
                self.close_session(&session);
            }
            for link in client.fed_by {
                self.abandon_giant(link);
            }
            if let Some(upload) = client.upload {
                self.abandon_upload(&upload);
            }
            if client.subscribes {
                self.end_topics_of(id);
            }
            self.set_load();
        }
    }
}

/// Whether a client has more to say now.
pub(super) enum Next {
    More,
    Enough,
}
