//! Where a request goes: one match lists the fates.

use std::mem;

use super::super::auth::{self, IdentityId, Verdict};
use super::super::connect_connection::ConnectConnection;
use super::super::connect_connection_pool::ConnectConnectionPool;
use super::super::lane::Lane;
use super::super::replies;
use super::super::request::{ClientId, Origin, Ticket, WholeId};
use super::super::whole::{Memory, Whole};
use super::links::ELEPHANT;
use super::waiting_room::Parcel;
use super::{Handler, config};
use crate::base::slab::Slab;
use crate::pool::{NoServer, Place, ServerId};
use crate::resp::command::{
    Command, CommandTable, ConfigCommand, Family, KeysError, LocalCommand, Merge, Unresolved,
    error_text,
};
use crate::resp::request_parser::Arguments;
use crate::resp::scan::CRLF;
use crate::resp::writer::Sink;

/// The bytes of one request, in multi-bulk form.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    pub bytes: &'a [u8],
    /// They have a buffer of their own, which whoever calls hands on instead of copying it.
    pub is_large: bool,
}

impl<'a> Message<'a> {
    /// Bytes that are copied by whoever wants to keep them.
    pub fn passing(bytes: &'a [u8]) -> Self {
        Message { bytes, is_large: false }
    }
}

/// Memory that is needed for the time of one call only, and kept for the next.
#[derive(Default)]
pub(super) struct Spare {
    pub reply: Vec<u8>,
    pub request: Vec<u8>,
    keys: Vec<u32>,
    /// Where each key of a request lives, with the place of the key among them.
    places: Vec<(Place, u32)>,
    wholes: Vec<Memory>,
}

/// Spare memory beyond this, in bytes, is given back.
const SPARE_MAX: usize = 64 << 10;
/// Memory for more keys than this is given back, and asked for before it is taken.
const KEYS_KEPT: usize = 4096;
/// What a key takes that is on its way in a part: its place, its part, its order.
const DIVIDED_KEY: usize = 64;
/// The memory of so many split requests is kept.
const SPARE_WHOLES_MAX: usize = 32;

impl Spare {
    pub fn keep_reply(&mut self, reply: Vec<u8>) {
        if reply.capacity() <= SPARE_MAX {
            self.reply = reply;
        }
    }

    pub fn keep_whole(&mut self, memory: Memory) {
        if memory.is_small() && self.wholes.len() < SPARE_WHOLES_MAX {
            self.wholes.push(memory);
        }
    }

    pub fn keep_request(&mut self, request: Vec<u8>) {
        if request.capacity() <= SPARE_MAX {
            self.request = request;
        }
    }
}

/// Whether a request was taken from its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Now,
    /// Not before the client has got all it is owed, or before the end of a pause: it stays where
    /// it is.
    Later,
}

/// One request of a client, and what is known of it.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub client: ClientId,
    /// Its number among the requests of the client.
    pub sequence: u32,
    /// The client's database and protocol.
    pub lane: Lane,
    /// It watches keys: what it reads must not be older than that.
    pub is_watching: bool,
    /// The client reads from masters, because it watches keys or wants it so.
    pub from_master: bool,
    pub command: &'a Command,
    pub arguments: &'a Arguments,
    pub message: Message<'a>,
}

impl Request<'_> {
    #[inline]
    pub fn argument(&self, index: usize) -> &[u8] {
        self.arguments.of(self.message.bytes, index)
    }

    /// What is needed to send it later.
    pub fn parcel(&self, place: Place, now_us: u64) -> Parcel<'_> {
        Parcel {
            place,
            master: self.needs_master(),
            lane: self.lane,
            ticket: self.ticket(now_us),
            request: self.message.bytes,
        }
    }

    /// Whether only a master may execute it.
    #[inline]
    pub fn needs_master(&self) -> bool {
        self.command.needs_master() || self.from_master
    }

    #[inline]
    pub fn ticket(&self, now_us: u64) -> Ticket {
        Ticket {
            origin: Origin::Client { client: self.client, sequence: self.sequence },
            since_us: now_us,
            held_us: 0,
            command: Some(self.command.id()),
            hops: 0,
            repeatable: self.command.retry_safe() && !self.is_watching,
        }
    }
}

impl Handler {
    /// Takes one complete request of a client.
    #[inline(always)]
    pub(super) fn dispatch(
        &mut self,
        commands: &CommandTable,
        arguments: &Arguments,
        id: ClientId,
        message: Message<'_>,
    ) -> Taken {
        let argument = |index| arguments.of(message.bytes, index);
        let resolved = commands.resolve_inlined(arguments.count(), argument);
        if let Ok(command) = resolved
            && command.is_direct()
            && self.send_directly(command, arguments, id, message)
        {
            return Taken::Now;
        }
        self.dispatch_resolved(resolved, arguments, id, message)
    }

    /// Nothing has to be looked at before a request is taken, whatever it is: nobody waits, and
    /// there is nothing to remember about it.
    #[inline(always)]
    fn is_usual(&self) -> bool {
        self.is_open
            && self.read_your_writes_us == 0
            && self.giants.is_empty()
            && self.room.is_open()
    }

    /// Sends a request with one key, of a client that has no wishes, while nothing is out of the
    /// ordinary and its link is there: what nearly all requests are. It saves a quarter of what
    /// the general way costs. False, with nothing done, if it is to go that way.
    #[inline(always)]
    fn send_directly(
        &mut self,
        command: &Command,
        arguments: &Arguments,
        id: ClientId,
        message: Message<'_>,
    ) -> bool {
        if message.is_large || message.bytes.len() >= ELEPHANT || !self.is_usual() {
            return false;
        }
        let key = arguments.of(message.bytes, 1);
        let Some(server) = self.topology.master_of_key(key, command.needs_master()) else {
            return false;
        };
        let Some(client) = self.clients.get_mut(id) else { return false };
        if !client.is_plain() {
            return false;
        }
        let open = self.pools.get(server.index()).and_then(|pool| pool.shared(client.lane));
        let Some((link_id, link)) = open.and_then(|id| Some((id, self.links.get_mut(id)?))) else {
            return false;
        };
        if client.needs_line()
            && let Some(line) = self.lines.pop()
        {
            client.give_line(line);
        }
        let sequence = client.expect();
        client.active_us = self.now_us;
        client.command = Some(command.id());
        let ticket = Ticket {
            origin: Origin::Client { client: id, sequence },
            since_us: self.now_us,
            held_us: 0,
            command: Some(command.id()),
            hops: 0,
            repeatable: command.retry_safe(),
        };
        link.send_now(&self.buffers, message.bytes, ticket);
        if !link.listed {
            link.listed = true;
            self.busy_links.push(link_id);
        }
        if self.insight.meets(message.bytes.len()) {
            let (client, lane) = (id, client.lane);
            let (is_watching, from_master) = (false, false);
            let request = Request {
                client,
                sequence,
                lane,
                is_watching,
                from_master,
                command,
                arguments,
                message,
            };
            self.look_at(&request);
        }
        true
    }

    /// Takes one request of which it is known what it is, or that it is nothing.
    #[inline(never)]
    fn dispatch_resolved(
        &mut self,
        resolved: Result<&Command, Unresolved<'_>>,
        arguments: &Arguments,
        id: ClientId,
        message: Message<'_>,
    ) -> Taken {
        let argument = |index| arguments.of(message.bytes, index);
        let Some(client) = self.clients.get_mut(id) else { return Taken::Now };
        if client.needs_line()
            && let Some(line) = self.lines.pop()
        {
            client.give_line(line);
        }
        let sequence = client.expect();
        let (lane, identity) = (client.lane, client.identity);
        let is_plain = client.session.is_none();
        let subscribes = client.subscribes;
        client.active_us = self.now_us;
        client.command = resolved.as_ref().ok().map(|command| command.id());
        let is_watching = !is_plain;
        let from_master = (client.is_odd && client.take_oddly()) || is_watching;
        let command = match resolved {
            Ok(command) => command,
            Err(unresolved) => {
                self.log_unresolved(&unresolved, argument(0), arguments.count());
                self.refuse(id, sequence, |text| {
                    unresolved.write(arguments.count(), argument, text);
                });
                if !is_plain {
                    self.spoil_by(id, &unresolved);
                }
                return Taken::Now;
            }
        };
        let client = id;
        let request = Request {
            client,
            sequence,
            lane,
            is_watching,
            from_master,
            command,
            arguments,
            message,
        };
        if !self.is_open {
            if self.is_held_back(&request) || self.is_held_by_clients(&request) {
                return Taken::Later;
            }
            if !self.is_permitted(&request, identity) {
                if !is_plain {
                    self.spoil(id);
                }
                return Taken::Now;
            }
        }
        if subscribes && let Some(taken) = self.take_from_subscriber(&request) {
            return taken;
        }
        if self.insight.meets(message.bytes.len()) {
            return self.take_and_look(&request);
        }
        self.take(request)
    }

    /// Takes a request that is to be looked at.
    #[cold]
    #[inline(never)]
    fn take_and_look(&mut self, request: &Request<'_>) -> Taken {
        let taken = self.take(*request);
        if taken == Taken::Now {
            self.look_at(request);
        }
        taken
    }

    /// Every fate of a request that is permitted.
    #[inline(always)]
    fn take(&mut self, request: Request<'_>) -> Taken {
        let Request { client: id, sequence, is_watching, command, arguments, message, .. } =
            request;
        let argument = |index| arguments.of(message.bytes, index);
        if is_watching && self.take_in_session(&request) {
            return Taken::Now;
        }
        if !self.giants.is_empty() && self.giant_must_wait(&request) {
            return Taken::Later;
        }
        match command.family() {
            Family::Keyed if command.key_at_1() => self.forward_by_first_argument(&request),
            Family::Blocking | Family::StreamRead
                if command.blocks(arguments.count(), argument) =>
            {
                return self.block(&request);
            }
            Family::StreamRead if !command.needs_master() => self.divide(Merge::Named, &request),
            Family::Keyed | Family::Blocking | Family::StreamRead => self.forward_by_keys(&request),
            Family::Script(command) => self.take_script_command(command, &request),
            Family::Split(merge) => self.divide(merge, &request),
            Family::FanOut(merge) => self.fan_out(merge, &request),
            Family::Undivided => self.pass_undivided(&request),
            Family::Scan => self.scan(&request),
            Family::RandomKey => self.random_key(&request),
            Family::AnyServer => self.forward_anywhere(&request),
            Family::OneMaster => self.ask_one_master(&request),
            Family::Listing(listing) => self.list_commands(listing, &request),
            Family::Cluster(command) => self.cluster_command(command, &request),
            Family::Local(LocalCommand::Config(ConfigCommand::Get))
                if config::is_for_servers(&request) =>
            {
                self.ask_one_master(&request);
            }
            Family::Local(LocalCommand::Hello) => return self.hello(&request),
            // Other databases are reached on other links, and some commands reach into two.
            Family::Local(LocalCommand::Select)
                if self.changes_database(&request) && self.must_wait(&request) =>
            {
                return Taken::Later;
            }
            Family::Local(LocalCommand::Reset) => return self.reset(&request),
            Family::Local(local) => self.answer_locally(local, &request),
            Family::Transaction(command) => {
                return self.take_transaction_command(command, &request);
            }
            Family::PubSub(command) => return self.take_pub_sub_command(command, &request),
            Family::Refused(refusal) => {
                self.refuse(id, sequence, |text| error_text::refused(command, refusal, text));
            }
            _ => self.refuse(id, sequence, |text| not_yet(command, text)),
        }
        Taken::Now
    }

    /// Whether the client may send this request; if not it is told.
    fn is_permitted(&mut self, request: &Request<'_>, identity: Option<IdentityId>) -> bool {
        let (authority, count) = (&self.settings.authority, request.arguments.count());
        let argument = |index| request.argument(index);
        let error = match authority.permit_request(identity, request.command, count, argument) {
            Ok(Verdict::Allowed) => return true,
            Ok(Verdict::NoAuth) => auth::NO_AUTH,
            Ok(Verdict::Denied) => auth::DENIED,
            Err(error) => {
                self.refuse_keys(error, request);
                return false;
            }
        };
        self.refuse(request.client, request.sequence, |text| text.put(error.as_bytes()));
        false
    }

    /// Answers with an error; `write` writes its text, without `-` and line end.
    pub(super) fn refuse(&mut self, id: ClientId, sequence: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let mut reply = mem::take(&mut self.spare.reply);
        reply.clear();
        reply.put(b"-");
        write(&mut reply);
        reply.put(b"\r\n");
        self.answer_own(id, sequence, &reply);
        self.spare.keep_reply(reply);
    }

    #[inline]
    fn forward_by_first_argument(&mut self, request: &Request<'_>) {
        let place = self.topology.place(request.argument(1));
        self.forward_to_place(place, request);
    }

    pub(super) fn forward_by_keys(&mut self, request: &Request<'_>) {
        let (client, sequence) = (request.client, request.sequence);
        match self.place_of_keys(request) {
            Ok(Common::One(place)) => self.forward_to_place(place, request),
            Ok(Common::None) => self.forward_anywhere(request),
            Ok(Common::Several) => self.answer_own(client, sequence, replies::CROSS_SLOT),
            Err(error) => self.refuse_keys(error, request),
        }
    }

    /// Where the keys of a request live.
    pub(super) fn place_of_keys(&mut self, request: &Request<'_>) -> Result<Common, KeysError> {
        let mut keys = mem::take(&mut self.spare.keys);
        let found = (request.command.keys()).keys(
            request.arguments.count(),
            |index| request.argument(index),
            &mut keys,
        );
        let place = match found {
            Ok(()) => Ok(self.common_place(request, &keys)),
            // Whose keys nobody can tell is executed by nobody, and any server has the words for
            // it. A client with keys of its own was told already.
            Err(error) if error != KeysError::Incomplete => Ok(Common::None),
            Err(error) => Err(error),
        };
        self.spare.keys = keys;
        place
    }

    /// The place that all keys share.
    fn common_place(&mut self, request: &Request<'_>, keys: &[u32]) -> Common {
        let mut common = Common::None;
        for key in keys {
            let place = self.topology.place(request.argument(*key as usize));
            match common {
                Common::None => common = Common::One(place),
                Common::One(first) if first == place => {}
                _ => return Common::Several,
            }
        }
        common
    }

    /// The keys of a request could not be told.
    pub(super) fn refuse_keys(&mut self, error: KeysError, request: &Request<'_>) {
        self.refuse(request.client, request.sequence, |text| match error.text() {
            Some(words) => text.put(words.as_bytes()),
            None if error == KeysError::Incomplete => {
                error_text::wrong_arity(request.command, text)
            }
            None => text.put(b"ERR syntax error"),
        });
    }

    #[inline]
    pub(super) fn forward_to_place(&mut self, place: Place, request: &Request<'_>) {
        let (mut master, mut is_pinned) = (request.needs_master(), request.from_master);
        if self.read_your_writes_us > 0 {
            let writes = request.command.needs_master();
            master |= self.reads_own_writes(request.client, place, writes);
            is_pinned = master;
        }
        if !self.room.is_open() {
            return self.send_or_wait(Parcel { master, ..request.parcel(place, self.now_us) });
        }
        let (server, error) = match self.choose(place, master) {
            Ok(server) => {
                let ticket = request.ticket(self.now_us);
                let ticket = if is_pinned { ticket.pinned() } else { ticket };
                match self.send(server, request.lane, request.message, ticket) {
                    Ok(_) => return,
                    Err(error) => (Some(server), error),
                }
            }
            Err(error) => (None, no_server_reply(error)),
        };
        let parcel = Parcel { master, ..request.parcel(place, self.now_us) };
        self.wait_for_server(parcel, server, error);
    }

    /// Whether a request has to go to the master of a place: because it writes, which is
    /// remembered, or because its client has written there lately.
    #[cold]
    pub(super) fn reads_own_writes(&mut self, id: ClientId, place: Place, writes: bool) -> bool {
        let Some(client) = self.clients.get_mut(id) else { return writes };
        if writes {
            let until_us = self.now_us.saturating_add(self.read_your_writes_us);
            client.writes.get_or_insert_default().note(place, self.now_us, until_us);
            return true;
        }
        client.writes.as_ref().is_some_and(|writes| writes.covers(place, self.now_us))
    }

    /// Whether who asked has written to a place lately, and has to read it from the master.
    pub(super) fn has_written(&self, origin: Origin, place: Place) -> bool {
        if self.read_your_writes_us == 0 {
            return false;
        }
        let client = self.client_of(origin).and_then(|client| self.clients.get(client));
        let writes = client.and_then(|client| client.writes.as_ref());
        writes.is_some_and(|writes| writes.covers(place, self.now_us))
    }

    /// Sends a request that does not depend on a key to any server that may take it.
    pub(super) fn forward_anywhere(&mut self, request: &Request<'_>) {
        match self.any_server(request.needs_master()) {
            Some(server) => self.forward(server, request),
            None => self.answer_own(request.client, request.sequence, replies::NO_SERVER),
        }
    }

    #[inline]
    fn forward(&mut self, server: ServerId, request: &Request<'_>) {
        let ticket = request.ticket(self.now_us);
        let (client, sequence) = (request.client, request.sequence);
        if let Err(error) = self.send(server, request.lane, request.message, ticket) {
            self.answer_own(client, sequence, error);
        }
    }

    /// Divides a request by key, one part for each place that its keys live in.
    fn divide(&mut self, merge: Merge, request: &Request<'_>) {
        if request.arguments.count() > KEYS_KEPT && !self.may_divide(request) {
            return;
        }
        let mut keys = mem::take(&mut self.spare.keys);
        let mut places = mem::take(&mut self.spare.places);
        let found = (request.command.keys()).keys(
            request.arguments.count(),
            |index| request.argument(index),
            &mut keys,
        );
        places.clear();
        for (index, key) in (0..).zip(&keys) {
            let place = self.topology.place(request.argument(*key as usize));
            places.push((place, index));
        }
        let first = places.first().map(|(place, _)| *place);
        match (found, first) {
            (Err(KeysError::Incomplete), _) => {
                self.refuse_keys(KeysError::Incomplete, request);
            }
            (Err(_), _) => self.forward_anywhere(request),
            (Ok(()), None) => self.refuse_keys(KeysError::Incomplete, request),
            (Ok(()), Some(first)) if places.iter().all(|(place, _)| *place == first) => {
                self.forward_to_place(first, request);
            }
            (Ok(()), Some(_)) if merge == Merge::Named => {
                self.send_stream_parts(request, &keys, &mut places);
            }
            (Ok(()), Some(_)) => self.send_parts(merge, request, &keys, &mut places),
        }
        if places.capacity() <= KEYS_KEPT {
            self.spare.keys = keys;
            self.spare.places = places;
        }
    }

    /// Whether there is memory for what it takes to divide a request with so many keys.
    #[cold]
    fn may_divide(&mut self, request: &Request<'_>) -> bool {
        let bytes = request.message.bytes.len() + request.arguments.count() * DIVIDED_KEY;
        self.may_take((request.client, request.sequence), bytes)
    }

    /// Sends one part for each place, with the keys that live there in the order given.
    fn send_parts(
        &mut self,
        merge: Merge,
        request: &Request<'_>,
        keys: &[u32],
        places: &mut [(Place, u32)],
    ) {
        let mut memory = self.spare.wholes.pop().unwrap_or_default();
        let parts = gather(places, &mut memory.part_of_key);
        let whole = Whole::new(request.client, request.sequence, merge, parts as usize, memory);
        let whole = self.wholes.insert(whole);
        // Each key brings the arguments up to the next one: none, or the value of MSET.
        let step = match keys {
            [first, second, ..] => (second - first) as usize,
            _ => 1,
        };
        if parts as usize == places.len() && self.is_usual() {
            return self.send_single_parts(whole, request, keys, (places, step));
        }
        let (bytes, arguments) = (request.message.bytes, request.arguments);
        let mut part_request = mem::take(&mut self.spare.request);
        let parcel = request.parcel(Place::AnyGroup, self.now_us);
        // Nearly all parts have one key and so the same head.
        let mut head = 0;
        let mut rest = &*places;
        let mut part = 0;
        while let Some((place, _)) = rest.first() {
            let count = rest.iter().take_while(|(other, _)| other == place).count();
            let (group, later) = rest.split_at(count);
            if count > 1 || head == 0 {
                part_request.clear();
                part_request.array(1 + count * step);
                part_request.put(&bytes[arguments.encoded_range(0)]);
                head = if count > 1 { 0 } else { part_request.len() };
            }
            part_request.truncate(if count > 1 { part_request.len() } else { head });
            for (_, index) in group {
                let key = keys[*index as usize] as usize;
                let start = arguments.encoded_range(key).start;
                let end = arguments.range(key + step - 1).end + CRLF.len();
                part_request.put(&bytes[start..end]);
            }
            let mut master = parcel.master;
            if self.read_your_writes_us > 0 {
                let writes = request.command.needs_master();
                master |= self.reads_own_writes(request.client, *place, writes);
            }
            let ticket = Ticket { origin: Origin::Part { whole, part }, ..parcel.ticket };
            let place = *place;
            self.send_or_wait(Parcel { place, master, ticket, request: &part_request, ..parcel });
            part += 1;
            rest = later;
        }
        self.spare.keep_request(part_request);
    }

    /// The same while nothing is out of the ordinary, for parts of one key each, as in nearly every
    /// request to a cluster.
    fn send_single_parts(
        &mut self,
        whole: WholeId,
        request: &Request<'_>,
        keys: &[u32],
        (places, step): (&[(Place, u32)], usize),
    ) {
        let (bytes, arguments) = (request.message.bytes, request.arguments);
        let mut part_request = mem::take(&mut self.spare.request);
        part_request.clear();
        part_request.array(1 + step);
        part_request.put(&bytes[arguments.encoded_range(0)]);
        let head = part_request.len();
        let mut parcel = request.parcel(Place::AnyGroup, self.now_us);
        if parcel.master {
            parcel.ticket = parcel.ticket.pinned();
        }
        for (part, (place, index)) in (0..).zip(places) {
            let (place, key) = (*place, keys[*index as usize] as usize);
            let start = arguments.encoded_range(key).start;
            let end = arguments.range(key + step - 1).end + CRLF.len();
            let ticket = Ticket { origin: Origin::Part { whole, part }, ..parcel.ticket };
            let pieces = [&part_request[..], &bytes[start..end]];
            if !self.send_part_directly(place, &parcel, pieces, ticket) {
                part_request.put(&bytes[start..end]);
                self.send_or_wait(Parcel { place, ticket, request: &part_request, ..parcel });
                part_request.truncate(head);
            }
        }
        self.spare.keep_request(part_request);
    }

    /// Sends a part to the master of its slot, if its link is there. False, with nothing done, if
    /// there is more to it. `parcel` is what the parts have in common.
    #[inline(always)]
    fn send_part_directly(
        &mut self,
        place: Place,
        parcel: &Parcel<'_>,
        pieces: [&[u8]; 2],
        ticket: Ticket,
    ) -> bool {
        // Some part before this one may have to wait.
        if !self.room.is_open() || pieces[0].len() + pieces[1].len() >= ELEPHANT {
            return false;
        }
        let server = self.topology.master_of_place(place, parcel.master);
        let pool = server.and_then(|server| self.pools.get(server.index()));
        let open = pool.and_then(|pool| pool.shared(parcel.lane));
        let Some((id, link)) = open.and_then(|id| Some((id, self.links.get_mut(id)?))) else {
            return false;
        };
        link.send_joined(&self.buffers, pieces, ticket);
        if !link.listed {
            link.listed = true;
            self.busy_links.push(id);
        }
        true
    }

    /// Sends one part of a request.
    pub(super) fn send_part(
        &mut self,
        request: &Request<'_>,
        place: Place,
        origin: Origin,
        part: &[u8],
    ) {
        let mut parcel = request.parcel(place, self.now_us);
        if self.read_your_writes_us > 0 {
            let writes = request.command.needs_master();
            parcel.master |= self.reads_own_writes(request.client, place, writes);
        }
        let ticket = Ticket { origin, ..parcel.ticket };
        self.send_or_wait(Parcel { ticket, request: part, ..parcel });
    }

    /// The server for one request to a place.
    #[inline]
    pub(super) fn choose(&mut self, place: Place, master: bool) -> Result<ServerId, NoServer> {
        let Handler { topology, random, pools, links, .. } = self;
        let pending = |server: ServerId| pending_at(server, pools, links);
        topology.choose(place, master, pending, random)
    }

    /// Another server than `except` for one request to a place.
    pub(super) fn choose_another(
        &mut self,
        place: Place,
        master: bool,
        except: ServerId,
    ) -> Result<ServerId, NoServer> {
        let Handler { topology, random, pools, links, .. } = self;
        let pending = |server: ServerId| pending_at(server, pools, links);
        topology.choose_except(place, master, Some(except), pending, random)
    }

    /// A server for a request that does not depend on a key.
    pub(super) fn any_server(&mut self, master: bool) -> Option<ServerId> {
        if master {
            self.topology.any_master(&mut self.random)
        } else {
            self.topology.any(&mut self.random)
        }
    }
}

/// Makes keys of one place neighbours, in the order given among themselves, and says of each key
/// to which of the parts it belongs. Returns how many parts there are.
fn gather(places: &mut [(Place, u32)], part_of_key: &mut Vec<u32>) -> u32 {
    part_of_key.clear();
    // A few keys nearly always live in different places, which is seen faster than sorted.
    let mut seen = [0u64; 16];
    let is_new = |(place, _): &(Place, u32)| {
        let rank = place.rank();
        let word = &mut seen[rank as usize / 64 % 16];
        mem::replace(word, *word | 1 << (rank % 64)) & 1 << (rank % 64) == 0
    };
    if places.iter().all(is_new) {
        let parts = u32::try_from(places.len()).unwrap_or(0);
        part_of_key.extend(0..parts);
        return parts;
    }
    places.sort_unstable();
    part_of_key.resize(places.len(), 0);
    let mut parts = 0;
    for group in places.chunk_by(|one, next| one.0 == next.0) {
        for (_, index) in group {
            part_of_key[*index as usize] = parts;
        }
        parts += 1;
    }
    parts
}

/// How many requests a server has yet to answer on its shared links.
fn pending_at(
    server: ServerId,
    pools: &[ConnectConnectionPool],
    links: &Slab<ConnectConnection>,
) -> u32 {
    let links_to = pools.get(server.index()).into_iter().flat_map(|pool| pool.links());
    let awaiting = links_to.filter_map(|id| links.get(id)).map(|link| link.awaiting.len());
    u32::try_from(awaiting.sum::<usize>()).unwrap_or(u32::MAX)
}

/// Where the keys of one request live.
pub(super) enum Common {
    /// It has no keys.
    None,
    /// All in one place.
    One(Place),
    /// In different places.
    Several,
}

/// What a client is told when no server may take its request.
pub(super) fn no_server_reply(error: NoServer) -> &'static [u8] {
    match error {
        NoServer::SlotNotServed => replies::SLOT_NOT_SERVED,
        NoServer::NoMaster | NoServer::NoCandidate => replies::NO_SERVER,
    }
}

/// A command whose family is still to be built says so, and does nothing.
pub(super) fn not_yet(command: &Command, text: &mut Vec<u8>) {
    text.put(b"ERR command '");
    text.put(command.name().as_bytes());
    text.put(b"' is not supported by this version of the proxy");
}
