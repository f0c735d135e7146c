//! Requests that cannot be sent now, and must not be overtaken.
//!
//! There are four reasons to wait, and one room for all, because whoever waits for a place (a
//! slot, or a group) keeps its turn before everybody who comes later for the same place:
//!
//! - **Order.** When the topology gives a slot or a group to another master, requests for it may still be
//!   under way to the old one, and may come back with MOVED. A *fence* stands for the requests
//!   that one link had in flight at that moment. It falls when they are answered, when the link
//!   is lost, or when it has stood for too long; what comes back after that is not sent anywhere
//!   else, as others have taken its place.
//! - **Not now.** A server refuses a request for a reason that may pass. It is sent again after a
//!   while, and as long as it is on *trial* nobody else follows it.
//! - **Nobody is there.** A request of which not one byte was sent waits for a new master, or for
//!   the old one to come back, for as long as `FailoverHold` allows.
//! - **Nothing is known.** After a start, until somebody has told who owns what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;

use super::super::lane::Lane;
use super::super::replies;
use super::super::request::{LinkId, Ticket};
use super::Handler;
use super::dispatch::{Message, no_server_reply};
use super::upkeep::Chore;
use crate::base::order;
use crate::base::sorted_map::SortedMap;
use crate::pool::{NoServer, Place, SLOTS, ServerGroup, ServerId, Topology};

/// Who waits, and behind what.
#[derive(Default)]
pub(super) struct WaitingRoom {
    fences: Vec<Fence>,
    trials: SortedMap<Place, Trial>,
    /// Until then, in microseconds of the monotonic clock, no slot at all is known; 0 is over.
    unlearned_until_us: u64,
    /// In the order in which their clients sent them, once it is tidy.
    waiting: VecDeque<Waiting>,
    /// Somebody has come in who may be older than those before.
    is_untidy: bool,
    /// How many wait for each place.
    places: BTreeMap<Place, usize>,
    bytes: usize,
    /// How many links are lost just now, one while the other is.
    losses: usize,
}

struct Fence {
    link: LinkId,
    /// Offset in the link's log behind the last request that it stands for.
    until: u64,
    /// It falls then in any case, in microseconds of the monotonic clock.
    deadline_us: u64,
    marks: Box<[bool; SLOTS]>,
    /// The marks are slots, rather than groups.
    of_slots: bool,
}

/// A request that was refused before is under way again.
struct Trial {
    link: LinkId,
    /// Offset in the link's log behind it.
    until: u64,
    /// Others may follow then in any case, in microseconds of the monotonic clock.
    deadline_us: u64,
}

/// A request that belongs to one place, with what is needed to send it.
#[derive(Clone, Copy)]
pub(super) struct Parcel<'a> {
    pub place: Place,
    /// Only a master may get it.
    pub master: bool,
    pub lane: Lane,
    pub ticket: Ticket,
    pub request: &'a [u8],
}

struct Waiting {
    place: Place,
    master: bool,
    lane: Lane,
    ticket: Ticket,
    /// Its number among the requests of its client.
    sequence: u32,
    request: Vec<u8>,
    /// What its client is told if its time runs out.
    error: &'static [u8],
    /// A server has refused it; nobody may follow it until one has taken it.
    was_refused: bool,
    /// It is not tried before, unless something has changed for the better.
    not_before_us: u64,
    /// It is tried for the last time then.
    deadline_us: u64,
}

/// A link that answers nothing for this long does not hold up the slots it has lost.
const PATIENCE_US: u64 = 500_000;
/// A proxy that has just started waits so long for somebody to tell it who owns what.
const LEARNING_US: u64 = 1_000_000;
/// Who waits is tried again this often although nothing seems to have changed.
const RETRY_US: u64 = 20_000;
/// Most bytes that wait; beyond, a request is refused, as it was never sent.
const BYTES_MAX: usize = 16 << 20;

impl WaitingRoom {
    /// Whether nobody need wait: the only question that is asked for each request.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn is_open(&self) -> bool {
        self.fences.is_empty()
            && self.waiting.is_empty()
            && self.trials.is_empty()
            && self.unlearned_until_us == 0
    }

    /// Whether a request for this place has to wait for others.
    pub fn is_closed_for(&self, place: Place) -> bool {
        self.is_fenced(place) || self.places.contains_key(&place) || self.is_after_slots(place)
    }

    /// What concerns a whole group of a cluster comes after what waits for slots: some may be
    /// of that group.
    fn is_after_slots(&self, place: Place) -> bool {
        let first = self.places.first_key_value().map(|(place, _)| *place);
        !matches!(place, Place::Slot(_)) && matches!(first, Some(Place::Slot(_)))
    }

    /// A link is gone, and what was on it is about to be sent elsewhere, or to come in here. Until
    /// that is done its fences stand: others must not go in the meantime.
    pub fn begin_loss(&mut self) {
        self.losses += 1;
    }

    /// It is done.
    pub fn end_loss(&mut self) {
        self.losses -= 1;
    }

    /// Whether somebody waits for this place.
    pub fn has_waiting_for(&self, place: Place) -> bool {
        self.places.contains_key(&place)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    fn is_fenced(&self, place: Place) -> bool {
        if self.unlearned_until_us > 0 || self.trials.contains_key(&place) {
            return true;
        }
        let Some(mark) = mark(place) else { return false };
        // What concerns a whole group of a cluster waits for all, as some may be of that group.
        let is_slot = matches!(place, Place::Slot(_));
        self.fences.iter().any(|fence| fence.marks[mark] || fence.of_slots != is_slot)
    }

    /// Whether who waits stands behind a fence, itself or behind others who do, so that its time
    /// does not run out: fences fall soon. To be asked of all who wait, in their order.
    fn is_held_back(&self, place: Place, slots_are_fenced: &mut bool) -> bool {
        let is_slot = matches!(place, Place::Slot(_));
        let is_fenced = self.is_fenced(place);
        *slots_are_fenced |= is_slot && is_fenced;
        is_fenced || (!is_slot && *slots_are_fenced)
    }

    /// When somebody must look next; `u64::MAX` is never.
    fn deadline_us(&self) -> u64 {
        let unlearned = [self.unlearned_until_us].into_iter().filter(|until_us| *until_us > 0);
        let fences = self.fences.iter().map(|fence| fence.deadline_us);
        let fences = fences.chain(self.trials.values().map(|trial| trial.deadline_us));
        let (mut led, mut slots_are_fenced) = (BTreeSet::new(), false);
        let waiting = (self.waiting.iter())
            .filter(|waiting| !self.is_held_back(waiting.place, &mut slots_are_fenced))
            .map(|waiting| waiting.due_us(led.insert(waiting.place)));
        unlearned.chain(fences).chain(waiting).min().unwrap_or(u64::MAX)
    }

    fn push(&mut self, waiting: Waiting) {
        let last = self.waiting.back();
        self.is_untidy |= last.is_some_and(|last| waiting.ticket.since_us <= last.ticket.since_us);
        self.bytes += waiting.size();
        *self.places.entry(waiting.place).or_default() += 1;
        self.waiting.push_back(waiting);
    }

    /// Puts everybody into line. Who was under way, and has to wait now, may have been sent
    /// before others who wait already. Only requests of one client have an order among them.
    fn tidy(&mut self) {
        if mem::take(&mut self.is_untidy) {
            let age = |waiting: &Waiting| (waiting.ticket.since_us, waiting.sequence);
            order::sort_by_key(self.waiting.make_contiguous(), age);
        }
    }

    /// Somebody leaves the room.
    fn strike_out(&mut self, waiting: &Waiting) {
        self.bytes -= waiting.size();
        if let Some(count) = self.places.get_mut(&waiting.place) {
            *count -= 1;
            if *count == 0 {
                self.places.remove(&waiting.place);
            }
        }
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

impl Handler {
    /// Lets requests wait while nobody has told yet who owns what.
    pub(super) fn await_topology(&mut self) {
        if self.topology.is_cluster() && self.topology.scannable().is_empty() {
            self.room.unlearned_until_us = self.now_us + LEARNING_US;
            self.set_room_deadline();
        }
    }

    /// Sends a request to the server of its place; if it has to wait, it waits.
    #[cfg_attr(small, optimize(speed))]
    pub(super) fn send_or_wait(&mut self, parcel: Parcel<'_>) {
        if !self.room.is_open() && self.room.is_closed_for(parcel.place) {
            return self.keep(parcel, replies::NO_SERVER_CONNECTION, None);
        }
        if let Err((server, error)) = self.try_to_send(parcel, None) {
            self.wait_for_server(parcel, server, error);
        }
    }

    /// Sends a request to the server of its place, but to none that is `except`, if possible.
    ///
    /// # Errors
    ///
    /// Who could not be reached, if it is known, and what a client would be told.
    #[cfg_attr(small, optimize(speed))]
    pub(super) fn try_to_send(
        &mut self,
        parcel: Parcel<'_>,
        except: Option<ServerId>,
    ) -> Result<LinkId, (Option<ServerId>, &'static [u8])> {
        let Parcel { place, master, lane, ticket, request } = parcel;
        let ticket = if master { ticket.pinned() } else { ticket };
        let server = match except.map(|except| self.choose_another(place, master, except)) {
            Some(Ok(server)) => Ok(server),
            _ => self.choose(place, master),
        };
        let server = server.map_err(|error| (None, no_server_reply(error)))?;
        self.send(server, lane, Message::passing(request), ticket)
            .map_err(|error| (Some(server), error))
    }

    /// A request was not sent because its server, or any, is missing: it waits for better times
    /// if they may come soon, else its client is told.
    #[cold]
    #[inline(never)]
    pub(super) fn wait_for_server(
        &mut self,
        parcel: Parcel<'_>,
        server: Option<ServerId>,
        error: &'static [u8],
    ) {
        let hold_us = self.settings.conf.pool.common.failover_hold_us;
        let deadline_us = parcel.ticket.since_us.saturating_add(hold_us);
        let is_unowned = error == no_server_reply(NoServer::SlotNotServed);
        let is_resp2_only = error == replies::NO_RESP3;
        let down_since_us = server
            .and_then(|server| self.pools.get(server.index()))
            .map_or(0, |pool| pool.down_since_us);
        // Who has been away for longer than anybody is held will not be waited for.
        let is_given_up = down_since_us > 0 && self.now_us >= down_since_us.saturating_add(hold_us);
        self.refresh_soon();
        if is_unowned || is_resp2_only || is_given_up || self.now_us >= deadline_us {
            return self.deliver(parcel.ticket.origin, error);
        }
        self.keep(parcel, error, Some(Pause::Absent));
    }

    /// A server has refused a request without executing it, for a reason that may pass. False
    /// when its client has waited long enough.
    pub(super) fn try_later(&mut self, parcel: Parcel<'_>) -> bool {
        let hold_us = self.settings.conf.pool.common.failover_hold_us;
        if self.now_us + RETRY_US >= parcel.ticket.since_us.saturating_add(hold_us) {
            return false;
        }
        self.keep(parcel, replies::NO_SERVER_CONNECTION, Some(Pause::Refused));
        true
    }

    /// Puts a request into the room.
    #[cold]
    #[inline(never)]
    fn keep(&mut self, parcel: Parcel<'_>, error: &'static [u8], pause: Option<Pause>) {
        let Parcel { place, master, lane, ticket, request } = parcel;
        if self.room.bytes + request.len() + mem::size_of::<Waiting>()
            > BYTES_MAX.min(self.budget.queue_max)
        {
            return self.deliver(ticket.origin, error);
        }
        let hold_us = self.settings.conf.pool.common.failover_hold_us;
        let waiting = Waiting {
            place,
            master,
            lane,
            ticket,
            sequence: self.asker_of(ticket.origin).map_or(0, |(_, sequence)| sequence),
            request: request.to_vec(),
            error,
            was_refused: pause == Some(Pause::Refused),
            not_before_us: self.now_us + pause.map_or(0, |_| RETRY_US),
            deadline_us: ticket.since_us.saturating_add(hold_us),
        };
        if !self.room.is_fenced(place) {
            let is_first = !self.room.places.contains_key(&place);
            self.deadlines.advance(Chore::Room, waiting.due_us(is_first));
        }
        self.room.push(waiting);
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
        order::sort_by_key(&mut changed, |(master, _)| *master);
        for places in changed.chunk_by(|one, next| one.0 == next.0) {
            self.fence_off(places[0].0, places.iter().map(|(_, place)| *place));
        }
        self.set_room_deadline();
    }

    /// Puts up a fence for these places, all slots or all groups, at each link to a server on which
    /// something is under way.
    fn fence_off(&mut self, server: ServerId, places: impl Iterator<Item = Place> + Clone) {
        let Some(pool) = self.pools.get(server.index()) else { return };
        // One for each lane.
        for id in pool.links() {
            let Some(link) = self.links.get(id) else { continue };
            if link.awaiting.is_empty() {
                continue;
            }
            let mut marks = Box::new([false; SLOTS]);
            for mark in places.clone().filter_map(mark) {
                marks[mark] = true;
            }
            let (until, deadline_us) = (link.log.end(), self.now_us + PATIENCE_US);
            let of_slots = places.clone().any(|place| matches!(place, Place::Slot(_)));
            self.room.fences.push(Fence { link: id, until, deadline_us, marks, of_slots });
        }
    }

    /// Takes down the fences that have served, and lets go who waited behind them.
    #[cold]
    #[inline(never)]
    pub(super) fn lower_fences(&mut self) {
        if self.room.losses > 0 {
            return;
        }
        let before = (self.room.fences.len(), self.room.unlearned_until_us);
        let trials_before = self.room.trials.len();
        if before == (0, 0) && trials_before == 0 {
            return;
        }
        let Handler { room, links, topology, now_us, .. } = self;
        if !topology.scannable().is_empty() || *now_us >= room.unlearned_until_us {
            room.unlearned_until_us = 0;
        }
        let is_under_way = |link: LinkId, until: u64| {
            let front = links.get(link).and_then(|link| link.awaiting.front());
            front.is_some_and(|front| front.offset < until)
        };
        let mut outlasted = Vec::new();
        room.fences.retain(|fence| {
            let stands = is_under_way(fence.link, fence.until);
            if stands && *now_us >= fence.deadline_us {
                outlasted.push(Fence { marks: fence.marks.clone(), ..*fence });
            }
            stands && *now_us < fence.deadline_us
        });
        room.trials.retain(|_, trial| {
            is_under_way(trial.link, trial.until) && *now_us < trial.deadline_us
        });
        for fence in outlasted {
            self.let_overtake(&fence);
        }
        if (self.room.fences.len(), self.room.unlearned_until_us) != before {
            self.retry_waiting(true);
        } else if self.room.trials.len() != trials_before {
            // Who was refused once more is not sent again at once.
            self.retry_waiting(false);
        }
    }

    /// Places mean something else now: `place` says what. Who waits for one that is gone is told.
    pub(super) fn readdress_waiting(&mut self, place: impl Fn(Place) -> Option<Place>) {
        self.room.trials.clear();
        self.room.places.clear();
        self.room.bytes = 0;
        for mut waiting in mem::take(&mut self.room.waiting) {
            match place(waiting.place) {
                Some(place) => {
                    waiting.place = place;
                    self.room.push(waiting);
                }
                None => self.deliver(waiting.ticket.origin, waiting.error),
            }
        }
        self.set_room_deadline();
    }

    /// A fence falls although not all have come back for whom it stood: from now on others pass
    /// them, so they must not be sent again behind those.
    fn let_overtake(&mut self, fence: &Fence) {
        let Some(link) = self.links.get(fence.link) else { return };
        let awaiting = link.awaiting.iter().take_while(|awaiting| awaiting.offset < fence.until);
        let requests = awaiting.map(|awaiting| {
            let request = link.log.request(awaiting.offset, awaiting.length as usize);
            (awaiting.origin, request.map(<[u8]>::to_vec))
        });
        let requests: Vec<_> = requests.collect();
        for (index, (origin, request)) in requests.into_iter().enumerate() {
            let place = request.and_then(|request| self.place_of(origin, &request));
            // What concerns a whole group of a cluster may be of any slot.
            let is_marked = match place.map(|(place, _)| (place, mark(place))) {
                Some((place, Some(mark))) => {
                    fence.marks[mark] || fence.of_slots != matches!(place, Place::Slot(_))
                }
                _ => true,
            };
            let link = self.links.get_mut(fence.link).filter(|_| is_marked);
            if let Some(awaiting) = link.and_then(|link| link.awaiting.get_mut(index)) {
                awaiting.give_up_order();
            }
        }
    }

    /// Its time has come for a fence, or for somebody who waits.
    pub(super) fn check_room(&mut self) {
        self.lower_fences();
        self.retry_waiting(false);
    }

    /// Tries to send what waits, in its order; `eager` also what was tried just now, because
    /// something has changed for the better.
    #[cold]
    #[inline(never)]
    pub(super) fn retry_waiting(&mut self, eager: bool) {
        self.room.tidy();
        // Whoever comes after one that stays has to stay too, if it is for the same place.
        let (mut stuck, mut slots_are_fenced) = (BTreeSet::new(), false);
        for mut waiting in mem::take(&mut self.room.waiting) {
            let (place, now_us) = (waiting.place, self.now_us);
            let is_last_try = now_us >= waiting.deadline_us;
            let is_due = eager || is_last_try || now_us >= waiting.not_before_us;
            let is_after = |stuck: &BTreeSet<Place>| {
                stuck.contains(&place)
                    || (!matches!(place, Place::Slot(_))
                        && matches!(stuck.first(), Some(Place::Slot(_))))
            };
            let is_held_back = self.room.is_held_back(place, &mut slots_are_fenced);
            if is_held_back || (is_after(&stuck) && !is_last_try) || !is_due {
                if is_due && stuck.insert(place) {
                    // The first for its place, behind a fence or behind what waits for slots.
                    waiting.not_before_us = now_us + RETRY_US;
                }
                stuck.insert(place);
                self.room.waiting.push_back(waiting);
                continue;
            }
            let failed = if is_after(&stuck) {
                Err((None, waiting.error))
            } else {
                self.try_to_send(waiting.parcel(now_us), None)
            };
            match failed {
                Ok(link) => {
                    self.room.strike_out(&waiting);
                    if waiting.was_refused {
                        self.begin_trial(place, link);
                    }
                }
                Err((_, error)) if is_last_try => {
                    self.room.strike_out(&waiting);
                    self.deliver(waiting.ticket.origin, error);
                }
                Err((_, error)) => {
                    waiting.error = error;
                    waiting.not_before_us = now_us + RETRY_US;
                    stuck.insert(place);
                    self.room.waiting.push_back(waiting);
                }
            }
        }
        self.set_room_deadline();
    }

    /// A request that was refused before has been sent again.
    fn begin_trial(&mut self, place: Place, link: LinkId) {
        let until = self.links.get(link).map_or(0, |link| link.log.end());
        let deadline_us = self.now_us + PATIENCE_US;
        self.room.trials.insert(place, Trial { link, until, deadline_us });
    }

    fn set_room_deadline(&mut self) {
        self.deadlines.set(Chore::Room, self.room.deadline_us());
    }
}

/// Why a request is not to be tried at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// Its server is not there.
    Absent,
    /// Its server has refused it.
    Refused,
}

impl Waiting {
    /// How much memory it takes, more or less.
    fn size(&self) -> usize {
        self.request.len() + mem::size_of::<Waiting>()
    }

    /// When somebody must look after it. Who stands behind others for the same place is tried
    /// when they have gone; until then its time can only run out.
    fn due_us(&self, is_first: bool) -> u64 {
        if is_first { self.not_before_us.min(self.deadline_us) } else { self.deadline_us }
    }

    /// The request as it leaves the room.
    fn parcel(&self, now_us: u64) -> Parcel<'_> {
        let held_us = now_us.saturating_sub(self.ticket.since_us);
        let held_us = u32::try_from(held_us).unwrap_or(u32::MAX);
        Parcel {
            place: self.place,
            master: self.master,
            lane: self.lane,
            ticket: Ticket { held_us, ..self.ticket },
            request: &self.request,
        }
    }
}
