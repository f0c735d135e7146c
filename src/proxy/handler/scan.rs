//! SCAN and RANDOMKEY: one master after the other, as if there were one.
//!
//! Where a client is in its iteration is in its cursor and nowhere else. Groups are visited in
//! the order of their ids, which stay when masters change.

use std::mem;

use super::super::replies;
use super::super::request::{ClientId, Origin, Ticket};
use super::super::scan_cursor::ScanCursor;
use super::super::whole::{KeySearch, Purpose, Whole};
use super::Handler;
use super::dispatch::Request;
use super::fan_out::LARGE;
use super::waiting_room::Parcel;
use crate::pool::{GroupId, Place, ServerId};
use crate::resp::command::Merge;
use crate::resp::reply::{Kind, Reply};
use crate::resp::writer::Sink;

/// The request that RANDOMKEY becomes.
const RANDOM_KEY: &[u8] = b"*1\r\n$9\r\nRANDOMKEY\r\n";

impl Handler {
    /// One step of an iteration over all keys.
    pub(super) fn scan(&mut self, request: &Request<'_>) {
        let (client, sequence) = (request.client, request.sequence);
        let Some(cursor) = ScanCursor::decode(request.argument(1)) else {
            return self.answer_own(client, sequence, replies::INVALID_CURSOR);
        };
        let groups = self.key_groups();
        if groups.is_empty() {
            return self.answer_own(client, sequence, replies::NO_SERVER);
        }
        self.shared.generations.observe(&self.topology);
        let Some(group) = groups.iter().find(|group| group.index() >= cursor.group).copied() else {
            // It may have been there when the cursor was given.
            let was_there = self.shared.generations.has_come_to(cursor.group);
            let reply = if was_there { replies::SCAN_END } else { replies::INVALID_CURSOR };
            return self.answer(client, sequence, reply);
        };
        let generation = self.shared.generations.of(group).map_or(0, |(_, generation)| generation);
        // What is for another group, or for another master of this one, is worth nothing here.
        let is_for_it = cursor.group == group.index() && cursor.generation == generation;
        let at = if is_for_it { cursor.at } else { 0 };
        let rewritten = rewrite(request, at);
        let purpose = Purpose::Scan { group, generation, answered_by: None };
        self.scatter(Merge::Same, purpose, vec![group], request, &rewritten);
    }

    /// A step of SCAN is answered: what the client gets has its own cursor.
    pub(super) fn finish_scan(
        &mut self,
        whole: &Whole,
        (group, generation): (GroupId, u8),
        answered_by: Option<ServerId>,
    ) {
        let reply = whole.replies().next().unwrap_or_default();
        let Some((at, keys)) = step_of(reply) else {
            let is_error = Reply::new(reply).is_error();
            let reply = if is_error { reply } else { replies::UNEXPECTED_SCAN };
            return self.answer(whole.client, whole.sequence, reply);
        };
        // It may have waited, and gone to a master for whom its cursor was not made.
        let now = self.shared.generations.of(group);
        if now.is_some_and(|(master, now)| now != generation || answered_by != Some(master)) {
            // Not 0, with which the cursor of the first group would say that this is the end.
            let generation = now.map_or(1, |(_, generation)| generation.max(1));
            let again = ScanCursor { group: group.index(), generation, at: 0 };
            return self.answer_scan(whole, again, EMPTY);
        }
        let next = if at == 0 {
            let next = self.key_groups().into_iter().find(|next| *next > group);
            let index = next.map_or(0, GroupId::index);
            ScanCursor { group: index, generation: 0, at: 0 }
        } else {
            ScanCursor { group: group.index(), generation, at }
        };
        self.answer_scan(whole, next, keys);
    }

    fn answer_scan(&mut self, whole: &Whole, next: ScanCursor, keys: &[u8]) {
        let Ok(cursor) = next.encode() else {
            return self.answer(whole.client, whole.sequence, replies::CURSOR_TOO_LARGE);
        };
        let mut reply = mem::take(&mut self.spare.reply);
        reply.clear();
        reply.array(2).bulk(cursor.to_string().as_bytes());
        if keys.len() < LARGE {
            reply.put(keys);
            self.answer(whole.client, whole.sequence, &reply);
        } else {
            self.answer_piece(whole.client, whole.sequence, &reply);
            self.answer(whole.client, whole.sequence, keys);
        }
        self.spare.keep_reply(reply);
    }

    /// Asks one master after the other, in an order that chance decides, until one has a key.
    pub(super) fn random_key(&mut self, request: &Request<'_>) {
        let rest = self.key_groups();
        if rest.is_empty() {
            return self.answer(request.client, request.sequence, replies::NO_SERVER);
        }
        let ticket = request.ticket(self.now_us);
        let search = KeySearch { rest, lane: request.lane, ticket };
        if search.rest.len() > 1 {
            // It may take several steps, and what comes after it must not get between them.
            self.take_no_more(request.client);
        }
        self.ask_for_random_key(request.client, request.sequence, search);
    }

    fn ask_for_random_key(&mut self, client: ClientId, sequence: u32, mut search: KeySearch) {
        let group = search.rest.swap_remove(self.random.index(search.rest.len()));
        let KeySearch { lane, ticket, .. } = search;
        let mut whole = Whole::for_groups(client, sequence, Merge::Same, vec![group]);
        whole.purpose = Purpose::RandomKey(search);
        let origin = Origin::Part { whole: self.wholes.insert(whole), part: 0 };
        self.send_or_wait(Parcel {
            place: Place::Group(group),
            master: true,
            lane,
            ticket: Ticket { origin, ..ticket },
            request: RANDOM_KEY,
        });
    }

    /// A master has answered RANDOMKEY: that is the reply, unless it has no key and others may.
    pub(super) fn finish_random_key(&mut self, whole: &Whole, search: KeySearch) {
        let reply = whole.replies().next().unwrap_or_default();
        if Reply::new(reply).kind() == Kind::Null && !search.rest.is_empty() {
            self.ask_for_random_key(whole.client, whole.sequence, search);
        } else {
            self.answer(whole.client, whole.sequence, reply);
        }
    }
}

/// No keys.
const EMPTY: &[u8] = b"*0\r\n";

/// The same request with the server's own cursor.
fn rewrite(request: &Request<'_>, at: u64) -> Vec<u8> {
    let (bytes, arguments) = (request.message.bytes, request.arguments);
    let mut rewritten = Vec::with_capacity(bytes.len() + 20);
    rewritten.array(arguments.count());
    rewritten.put(&bytes[arguments.encoded_range(0)]);
    rewritten.bulk(at.to_string().as_bytes());
    for index in 2..arguments.count() {
        rewritten.put(&bytes[arguments.encoded_range(index)]);
    }
    rewritten
}

/// The cursor and the keys of a reply to SCAN.
fn step_of(reply: &[u8]) -> Option<(u64, &[u8])> {
    let mut elements = Reply::new(reply).elements()?;
    if elements.left() != 2 {
        return None;
    }
    let cursor = elements.next()?.text()?;
    let keys = elements.next()?;
    let at = std::str::from_utf8(cursor).ok()?.parse().ok()?;
    matches!(keys.kind(), Kind::Array | Kind::Set).then_some((at, keys.bytes()))
}
