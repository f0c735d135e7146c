//! Requests that go to every master, and what becomes of the replies to their parts.
//!
//! A part belongs to a group, not to a server: if a master changes while a part waits to be
//! sent, or is lost with its link before it was sent, it finds the new one.

use std::mem;

use super::super::accept_connection::Intake;
use super::super::replies;
use super::super::request::{ClientId, Origin, Ticket, WholeId};
use super::super::whole::{Purpose, Whole};
use super::Handler;
use super::dispatch::Request;
use super::waiting_room::Parcel;
use crate::log_warn;
use crate::pool::{GroupId, Place, ServerId};
use crate::resp::command::{Family, Merge, error_text};

/// From so many bytes on, a merged reply is handed to its client in pieces.
pub(super) const LARGE: usize = 64 << 10;

/// Whether there is memory for so many bytes of copies need not be asked.
const COPIES_MANY: usize = 64 << 10;

impl Handler {
    /// Sends a request to every master. Where there is only one, what it says is the reply.
    pub(super) fn fan_out(&mut self, merge: Merge, request: &Request<'_>) {
        let groups = self.key_groups();
        match groups[..] {
            [] => self.answer_own(request.client, request.sequence, replies::NO_SERVER),
            [group] => self.send_or_wait(self.parcel_for(group, request)),
            _ => self.scatter(merge, Purpose::Merge, groups, request, request.message.bytes),
        }
    }

    /// Asks the first master for what is not quite the same everywhere, so that who asks again
    /// gets an answer that goes with the first.
    pub(super) fn ask_one_master(&mut self, request: &Request<'_>) {
        match self.key_groups().first() {
            None => self.answer_own(request.client, request.sequence, replies::NO_SERVER),
            Some(group) => self.send_or_wait(self.parcel_for(*group, request)),
        }
    }

    /// Passes on what concerns all keys at once and cannot be put together from parts.
    pub(super) fn pass_undivided(&mut self, request: &Request<'_>) {
        match self.key_groups()[..] {
            [] => self.answer_own(request.client, request.sequence, replies::NO_SERVER),
            [group] => self.send_or_wait(self.parcel_for(group, request)),
            _ => self.refuse(request.client, request.sequence, |text| {
                error_text::undivided(request.command, text);
            }),
        }
    }

    /// Sends the same `bytes` to each of `groups`; their replies serve `purpose`.
    pub(super) fn scatter(
        &mut self,
        merge: Merge,
        purpose: Purpose,
        groups: Vec<GroupId>,
        request: &Request<'_>,
        bytes: &[u8],
    ) {
        // It is copied for each of them.
        let copies = bytes.len().saturating_mul(groups.len());
        if copies > COPIES_MANY && !self.may_take((request.client, request.sequence), copies) {
            return;
        }
        let mut whole = Whole::for_groups(request.client, request.sequence, merge, groups.clone());
        whole.purpose = purpose;
        let whole = self.wholes.insert(whole);
        let waiting = self.room.len();
        for (part, group) in (0..).zip(groups) {
            let parcel = self.parcel_for(group, request);
            let ticket = Ticket { origin: Origin::Part { whole, part }, ..parcel.ticket };
            self.send_or_wait(Parcel { ticket, request: bytes, ..parcel });
        }
        // What comes after it may be for a slot of the master that its part waits for, and must
        // not overtake it.
        if self.room.len() > waiting {
            self.take_no_more(request.client);
        }
    }

    /// Takes no more requests of a client until those that were taken are answered.
    pub(super) fn take_no_more(&mut self, client: ClientId) {
        if let Some(client) = self.clients.get_mut(client)
            && client.intake == Intake::Open
            && client.owed() > 0
        {
            client.intake = Intake::Waiting;
        }
    }

    /// What is needed to send a request to the master of a group.
    pub(super) fn parcel_for<'a>(&self, group: GroupId, request: &'a Request<'_>) -> Parcel<'a> {
        let place = Place::Group(group);
        Parcel { master: true, ..request.parcel(place, self.now_us) }
    }

    /// The groups that have keys, in the order of their ids; also those that have no master at
    /// the moment, because their keys are missing in a reply without them.
    pub(super) fn key_groups(&self) -> Vec<GroupId> {
        if self.topology.is_cluster() {
            self.topology.scannable().iter().map(|(group, _)| *group).collect()
        } else {
            self.topology.groups().iter().map(|group| group.id()).collect()
        }
    }

    /// Where a request belongs that names no key but concerns all, if there is only one place.
    pub(super) fn place_of_all(&self, family: Family) -> Option<Place> {
        match (family, &self.key_groups()[..]) {
            (Family::FanOut(_) | Family::Undivided, [group]) => Some(Place::Group(*group)),
            _ => None,
        }
    }

    /// A piece of a large reply to one part has come. It waits for the others at the expense of
    /// its client, whose limit holds here too.
    pub(super) fn answer_part_piece(&mut self, id: WholeId, part: u32, piece: &[u8]) {
        let Some(whole) = self.wholes.get_mut(id) else { return };
        let Some(client) = self.clients.get_mut(whole.client) else {
            // Nobody waits for it any more; what comes of the other parts finds a stale id.
            self.wholes.remove(id);
            return;
        };
        whole.answer_piece(part, piece);
        whole.charged += piece.len();
        client.merging += piece.len();
        let unread = client.unread_bytes() as u64;
        if unread > self.settings.client_output_limit() {
            log_warn!(
                self.log,
                "h {} c {} {} asked for more than {} bytes at once",
                self.index,
                client.peer,
                client.socket.number(),
                unread
            );
            let client = whole.client;
            self.wholes.remove(id);
            self.drop_client(client, "output limit");
        }
    }

    /// The reply, or the end of it, to one part of a request; `server` is who gave it.
    #[inline]
    pub(super) fn answer_part(
        &mut self,
        id: WholeId,
        part: u32,
        reply: &[u8],
        server: Option<ServerId>,
    ) {
        let Some(whole) = self.wholes.get_mut(id) else { return };
        if let Purpose::Scan { answered_by, .. } = &mut whole.purpose
            && server.is_some()
        {
            *answered_by = server;
        }
        if whole.answer(part, reply) {
            self.complete(id);
        }
    }

    /// All parts of a request are answered, or nobody waits for the rest.
    pub(super) fn complete(&mut self, id: WholeId) {
        let Some(mut whole) = self.wholes.remove(id) else { return };
        if let Some(client) = self.clients.get_mut(whole.client) {
            client.merging = client.merging.saturating_sub(whole.charged);
        }
        match mem::replace(&mut whole.purpose, Purpose::Merge) {
            Purpose::Merge => self.answer_merged(whole),
            Purpose::Scan { group, generation, answered_by } => {
                self.finish_scan(&whole, (group, generation), answered_by);
            }
            Purpose::Report(report) => self.finish_report(id, &whole, &report),
            Purpose::Listing(listing) => self.finish_listing(&whole, listing),
            Purpose::Census(kind) => self.finish_census(&whole, kind),
            Purpose::LoadScript { body } => self.finish_load_script(whole, &body),
            Purpose::Hello(introduction) => self.finish_hello(&whole, introduction),
            Purpose::RandomKey(search) => self.finish_random_key(&whole, search),
        }
    }

    /// Gives a client what the parts make.
    pub(super) fn answer_merged(&mut self, whole: Whole) {
        let (client, sequence) = (whole.client, whole.sequence);
        if whole.held_bytes() >= LARGE {
            whole.merge_by_piece(|piece| self.answer_piece(client, sequence, piece));
            return self.answer(client, sequence, b"");
        }
        let mut merged = mem::take(&mut self.spare.reply);
        merged.clear();
        whole.merge_into(&mut merged);
        self.spare.keep_whole(whole.into_memory());
        self.answer(client, sequence, &merged);
        self.spare.keep_reply(merged);
    }
}
