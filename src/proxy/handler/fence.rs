//! Keeps the order of requests for a slot or a group while it changes hands.
//!
//! When the topology gives a slot or a group to another master, requests for it may still be under way to
//! the old one, and may come back with MOVED. Until they have, new requests for that place wait
//! here; otherwise a later one could overtake an earlier one on the other road. A fence stands
//! for the requests that one link had in flight at the moment of the change, and falls when they
//! are answered, when the link is lost, or when it has stood for too long. In the same way
//! requests wait for the first topology after a start, and for the first master of a group that
//! Sentinel is to name.

use std::collections::VecDeque;
use std::mem;

use super::super::replies;
use super::super::request::{LinkId, Origin, Ticket};
use super::Handler;
use super::dispatch::{Message, no_server_reply};
use super::upkeep::Chore;
use crate::pool::{Place, SLOTS, ServerGroup, Topology};

/// The fences of one handler, and who waits behind them.
#[derive(Default)]
pub(super) struct Fences {
    standing: Vec<Fence>,
    /// Until then, in microseconds of the monotonic clock, no slot at all is known; 0 is over.
    unlearned_until_us: u64,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
}

struct Fence {
    link: LinkId,
    /// Offset in the link's log behind the last request that it stands for.
    until: u64,
    /// It falls then in any case, in microseconds of the monotonic clock.
    deadline_us: u64,
    places: Box<[bool; SLOTS]>,
}

struct Waiting {
    place: Place,
    master: bool,
    database: u32,
    ticket: Ticket,
    request: Vec<u8>,
}

/// A link that answers nothing for this long does not hold up the slots it has lost.
const PATIENCE_US: u64 = 500_000;
/// A proxy that has just started waits so long for somebody to tell it who owns what.
const LEARNING_US: u64 = 1_000_000;
/// Most bytes that wait behind fences; beyond, a request is refused, as it was never sent.
const WAITING_MAX: usize = 16 << 20;

impl Fences {
    /// Whether there are none: the only question that is asked for each request.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.standing.is_empty() && self.unlearned_until_us == 0
    }

    /// The first moment at which one falls by itself; `u64::MAX` is never.
    pub fn deadline_us(&self) -> u64 {
        let unlearned = [self.unlearned_until_us].into_iter().filter(|until_us| *until_us > 0);
        let standing = self.standing.iter().map(|fence| fence.deadline_us);
        standing.chain(unlearned).min().unwrap_or(u64::MAX)
    }

    fn holds(&self, place: Place, topology: &Topology) -> bool {
        (self.unlearned_until_us > 0 && !is_learned(place, topology))
            || self.standing.iter().any(|fence| mark(place).is_some_and(|mark| fence.places[mark]))
    }
}

/// Where a fence has marked this place. Groups whose numbers are far apart may share a mark: then
/// one waits longer than it has to.
fn mark(place: Place) -> Option<usize> {
    match place {
        Place::Slot(slot) => Some(slot.index()),
        Place::Group(group) => Some(group.index() % SLOTS),
        Place::AnyGroup => None,
    }
}

/// Whether somebody has told who is master there. Slots are told all at once.
fn is_learned(place: Place, topology: &Topology) -> bool {
    match place {
        Place::Group(group) => topology.group(group).is_some_and(|group| group.master().is_some()),
        Place::Slot(_) | Place::AnyGroup => !topology.scannable().is_empty(),
    }
}

/// Whether there is nothing more to wait for after a start.
fn is_all_learned(topology: &Topology) -> bool {
    let is_known = |group: &ServerGroup| group.master().is_some();
    match topology.is_cluster() {
        true => !topology.scannable().is_empty(),
        false => topology.groups().iter().all(is_known),
    }
}

impl Handler {
    /// Lets requests wait while nobody has told yet who owns what.
    pub(super) fn await_topology(&mut self) {
        if !is_all_learned(&self.topology) {
            self.fences.unlearned_until_us = self.now_us + LEARNING_US;
            self.deadlines.set(Chore::Fences, self.fences.deadline_us());
        }
    }

    /// Puts up fences for the slots and groups whose master is another one now.
    pub(super) fn raise_fences(&mut self, before: &Topology) {
        let mut changed = Vec::new();
        for slot in before.changed_slots(&self.topology) {
            if let Some(master) = before.master_of_slot(slot) {
                changed.push((master, Place::Slot(slot)));
            }
        }
        for group in before.changed_groups(&self.topology) {
            if let Some(master) = before.group(group).and_then(ServerGroup::master) {
                changed.push((master, Place::Group(group)));
            }
        }
        changed.sort_unstable_by_key(|(master, _)| *master);
        for places in changed.chunk_by(|one, next| one.0 == next.0) {
            let Some(pool) = self.pools.get(places[0].0.index()) else { continue };
            for id in pool.links() {
                let Some(link) = self.links.get(id) else { continue };
                if link.awaiting.is_empty() {
                    continue;
                }
                let mut marks = Box::new([false; SLOTS]);
                for mark in places.iter().filter_map(|(_, place)| mark(*place)) {
                    marks[mark] = true;
                }
                let deadline_us = self.now_us + PATIENCE_US;
                self.fences.standing.push(Fence {
                    link: id,
                    until: link.log.end(),
                    deadline_us,
                    places: marks,
                });
            }
        }
        self.deadlines.set(Chore::Fences, self.fences.deadline_us());
    }

    /// Whether a request for a place has to wait behind a fence. If so, it is put there.
    pub(super) fn waits_behind_fence(
        &mut self,
        place: Place,
        master: bool,
        database: u32,
        request: &[u8],
        ticket: Ticket,
    ) -> bool {
        if !self.fences.holds(place, &self.topology) {
            return false;
        }
        if self.fences.waiting_bytes + request.len() > WAITING_MAX {
            self.deliver(ticket.origin, replies::NO_SERVER_CONNECTION);
            return true;
        }
        self.fences.waiting_bytes += request.len();
        let request = request.to_vec();
        self.fences.waiting.push_back(Waiting { place, master, database, ticket, request });
        true
    }

    /// Takes down the fences that have served, and lets go who waited behind them.
    pub(super) fn lower_fences(&mut self) {
        let before = (self.fences.standing.len(), self.fences.unlearned_until_us);
        let Handler { fences, links, topology, now_us, .. } = self;
        if is_all_learned(topology) || *now_us >= fences.unlearned_until_us {
            fences.unlearned_until_us = 0;
        }
        fences.standing.retain(|fence| {
            let is_under_way = links.get(fence.link).is_some_and(|link| {
                link.awaiting.front().is_some_and(|front| front.offset < fence.until)
            });
            is_under_way && *now_us < fence.deadline_us
        });
        self.deadlines.set(Chore::Fences, self.fences.deadline_us());
        let same = (self.fences.standing.len(), self.fences.unlearned_until_us) == before;
        if same && self.fences.unlearned_until_us == 0 {
            return;
        }
        // In the order in which they came; those of other fences go on waiting.
        for waiting in mem::take(&mut self.fences.waiting) {
            if self.fences.holds(waiting.place, &self.topology) {
                self.fences.waiting.push_back(waiting);
                continue;
            }
            self.fences.waiting_bytes -= waiting.request.len();
            let Waiting { place, master, database, ticket, request } = waiting;
            let sent = match self.choose(place, master) {
                Ok(server) => self.send(server, database, Message::passing(&request), ticket),
                Err(error) => Err(no_server_reply(error)),
            };
            if let Err(error) = sent {
                self.deliver(ticket.origin, error);
            }
        }
    }

    /// How many requests wait behind fences.
    pub(super) fn fenced(&self) -> usize {
        let asked = |waiting: &&Waiting| waiting.ticket.origin != Origin::Nobody;
        self.fences.waiting.iter().filter(asked).count()
    }
}
