//! Keeps the order of requests for a slot while the slot changes hands.
//!
//! When the topology gives a slot to another master, requests for it may still be under way to
//! the old one, and may come back with MOVED. Until they have, new requests for that slot wait
//! here; otherwise a later one could overtake an earlier one on the other road. A fence stands
//! for the requests that one link had in flight at the moment of the change, and falls when they
//! are answered, when the link is lost, or when it has stood for too long. In the same way
//! requests wait for the first topology after a start.

use std::collections::VecDeque;
use std::mem;

use super::super::replies;
use super::super::request::{LinkId, Origin, Ticket};
use super::Handler;
use super::dispatch::{Message, no_server_reply};
use super::upkeep::Chore;
use crate::pool::{Place, SLOTS, Slot, Topology};

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
    slots: Box<[bool; SLOTS]>,
}

struct Waiting {
    slot: Slot,
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

    fn holds(&self, slot: Slot) -> bool {
        self.unlearned_until_us > 0 || self.standing.iter().any(|fence| fence.slots[slot.index()])
    }
}

impl Handler {
    /// Lets requests wait while nobody has told yet who owns what.
    pub(super) fn await_topology(&mut self) {
        if self.topology.is_cluster() && self.topology.scannable().is_empty() {
            self.fences.unlearned_until_us = self.now_us + LEARNING_US;
            self.deadlines.set(Chore::Fences, self.fences.deadline_us());
        }
    }

    /// Puts up fences for the slots whose master is another one now.
    pub(super) fn raise_fences(&mut self, before: &Topology) {
        let mut changed = Vec::new();
        for slot in before.changed_slots(&self.topology) {
            if let Some(master) = before.master_of_slot(slot) {
                changed.push((master, slot));
            }
        }
        changed.sort_unstable_by_key(|(master, _)| *master);
        for group in changed.chunk_by(|one, next| one.0 == next.0) {
            let Some(pool) = self.pools.get(group[0].0.index()) else { continue };
            let Some(id) = pool.shared(0) else { continue };
            let Some(link) = self.links.get(id) else { continue };
            if link.awaiting.is_empty() {
                continue;
            }
            let mut slots = Box::new([false; SLOTS]);
            for (_, slot) in group {
                slots[slot.index()] = true;
            }
            let deadline_us = self.now_us + PATIENCE_US;
            self.fences.standing.push(Fence {
                link: id,
                until: link.log.end(),
                deadline_us,
                slots,
            });
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
        let Place::Slot(slot) = place else { return false };
        if !self.fences.holds(slot) {
            return false;
        }
        if self.fences.waiting_bytes + request.len() > WAITING_MAX {
            self.deliver(ticket.origin, replies::NO_SERVER_CONNECTION);
            return true;
        }
        self.fences.waiting_bytes += request.len();
        let request = request.to_vec();
        self.fences.waiting.push_back(Waiting { slot, master, database, ticket, request });
        true
    }

    /// Takes down the fences that have served, and lets go who waited behind them.
    pub(super) fn lower_fences(&mut self) {
        let before = (self.fences.standing.len(), self.fences.unlearned_until_us);
        let Handler { fences, links, topology, now_us, .. } = self;
        if !topology.scannable().is_empty() || *now_us >= fences.unlearned_until_us {
            fences.unlearned_until_us = 0;
        }
        fences.standing.retain(|fence| {
            let is_under_way = links.get(fence.link).is_some_and(|link| {
                link.awaiting.front().is_some_and(|front| front.offset < fence.until)
            });
            is_under_way && *now_us < fence.deadline_us
        });
        self.deadlines.set(Chore::Fences, self.fences.deadline_us());
        if (self.fences.standing.len(), self.fences.unlearned_until_us) == before {
            return;
        }
        // In the order in which they came; those of other fences go on waiting.
        for waiting in mem::take(&mut self.fences.waiting) {
            if self.fences.holds(waiting.slot) {
                self.fences.waiting.push_back(waiting);
                continue;
            }
            self.fences.waiting_bytes -= waiting.request.len();
            let Waiting { slot, master, database, ticket, request } = waiting;
            let sent = match self.choose(Place::Slot(slot), master) {
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
