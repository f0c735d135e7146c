//! What a handler does when the memory that `MaxMemory` allows is nearly spent.
//!
//! All threads draw from one budget, which counts everything that the process has. From one half of
//! it on, clients that have something under way or something to read are not read any more, and
//! the others little at a time: what is begun can be finished. From seven eighths on, whoever holds
//! most of it is cut off until there is less. Where that is another handler's client, and that
//! handler does not come to it, a little later the largest of one's own has to go instead. So it is
//! never spent entirely; whoever reads what it asks for, and asks for little at a time, is served
//! all the while.
//!
//! The price is one comparison for each read, and nothing for a request.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use super::super::accept_connection::Intake;
use super::super::replies;
use super::super::request::{ClientId, LinkId, WholeId};
use super::super::settings::{self, Settings};
use super::super::shared::Mail;
use super::Handler;
use super::intake::SCRATCH;
use super::loss::Loss;
use super::upkeep::Chore;
use crate::sys::memory;
use crate::{log_notice, log_warn};

/// How much memory there may be, as one handler goes by it; all in bytes.
pub(super) struct Budget {
    /// From here on memory is short.
    pub short_at: usize,
    /// From here on no clients are accepted.
    pub full_at: usize,
    /// From here on somebody has to go.
    pub spent_at: usize,
    /// From here on a handler waits for no other one: of its own clients some have to go.
    last_at: usize,
    /// A client with so much to read is not read from until it has taken most of it.
    pub unread_max: usize,
    /// What a handler keeps for later, of one sort, may take so much.
    pub queue_max: usize,
    /// Nobody was found who could go; it is no use looking again before this.
    patient_until_us: u64,
    /// Unless so much is in use by then, in bytes.
    patient_to: usize,
    /// When free memory was last handed back to the system while memory was short.
    tidied_us: u64,
    /// Since when it has been spent and nobody could go.
    spent_since_us: u64,
}

/// A client with so many bytes to read is not read from until it has taken most of them.
const UNREAD_MAX: usize = 1 << 20;
/// Whoever holds less than this is never cut off: that would help nobody.
const HOLDS_MIN: usize = 1 << 10;
/// Nor for the sake of a new client.
const HOLDS_MUCH: usize = 16 << 10;
/// However short memory is, so much is read of a client.
const READ_MIN: usize = 1 << 10;
/// A queue of a link with less memory than for so many requests is left alone.
const QUEUE_KEPT: usize = 256;
/// How often it is looked whether memory is still short while somebody waits for it.
const TICK_US: u64 = 10_000;
/// The same while nobody does.
const SLOW_TICK_US: u64 = 250_000;
/// When nobody could go it is no use looking again so soon, unless so many bytes more are in use.
const PATIENCE_US: u64 = 2_000;
const PATIENCE: usize = 128 << 10;
/// A server that does not answer for so long while memory is spent loses its link.
const STUCK_US: u64 = 1_000_000;

impl Budget {
    /// What the settings allow, for one of so many handlers.
    pub fn new(settings: &Settings, handlers: usize) -> Budget {
        let max = settings::memory_max(settings.conf.max_memory, handlers);
        if max.is_some() {
            memory::be_thrifty();
        }
        Budget::of(max, handlers)
    }

    /// Of so many bytes; `None` is no limit.
    fn of(max: Option<u64>, handlers: usize) -> Budget {
        let max = max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        Budget {
            short_at: if max == usize::MAX { max } else { max / 2 },
            full_at: if max == usize::MAX { max } else { max / 16 * 11 },
            spent_at: if max == usize::MAX { max } else { max / 8 * 7 },
            last_at: if max == usize::MAX { max } else { max / 64 * 59 },
            unread_max: (max / 32).min(UNREAD_MAX),
            queue_max: max / 8 / handlers.max(1),
            patient_until_us: 0,
            patient_to: 0,
            tidied_us: 0,
            spent_since_us: u64::MAX,
        }
    }

    /// Whether memory is short.
    #[inline]
    pub fn is_short(&self) -> bool {
        memory::used() >= self.short_at
    }

    /// Whether somebody has to go.
    #[inline]
    pub fn is_spent(&self) -> bool {
        memory::used() >= self.spent_at
    }

    /// Whether there is room for so many bytes more.
    pub fn affords(&self, bytes: usize) -> bool {
        memory::used().saturating_add(bytes) <= self.spent_at
    }

    /// How much of `most` one may have, while memory is short: a part of what is left, so that
    /// however many take theirs something is left.
    pub fn share_of(&self, most: usize) -> usize {
        if !self.is_short() {
            return most;
        }
        (self.spent_at.saturating_sub(memory::used()) / 16).clamp(READ_MIN, most.max(READ_MIN))
    }
}

impl Handler {
    /// How many bytes may be read from a client while memory is short; `None` is nothing for now.
    #[cold]
    pub(super) fn ration(&mut self, id: ClientId) -> Option<usize> {
        self.watch_memory(TICK_US);
        if self.budget.is_spent() {
            self.relieve(self.budget.spent_at);
        }
        let is_spent = self.budget.is_spent();
        let client = self.clients.get_mut(id)?;
        if client.intake != Intake::Open {
            // Nothing is taken from it anyway.
            return Some(SCRATCH);
        }
        let is_owed = client.owed() > 0 && client.upload.is_none();
        if is_owed || !client.outbox.is_empty() {
            // It goes on when it has got something. For an upload it gets nothing before its end.
            client.intake = Intake::Paused;
            return None;
        }
        if is_spent {
            client.intake = Intake::Starved;
            return None;
        }
        Some(self.budget.share_of(SCRATCH))
    }

    /// Makes sure that there is room for so many bytes of a request that is coming. False when its
    /// client has to wait for them, or is gone.
    pub(super) fn make_room_for(&mut self, id: ClientId, bytes: usize) -> bool {
        if self.make_way_for(bytes) {
            return self.clients.get(id).is_some();
        }
        let Some(client) = self.clients.get_mut(id) else { return false };
        if bytes <= self.budget.spent_at / 2 {
            client.intake = Intake::Starved;
            return false;
        }
        log_warn!(
            self.log,
            "h {} c {} {} sends a request that takes {} bytes, more than half of MaxMemory",
            self.index,
            client.peer,
            client.socket.number(),
            bytes
        );
        self.drop_client(id, "MaxMemory");
        false
    }

    /// Whether a request may take so many bytes more than it has come in; if not its client is told.
    #[cold]
    pub(super) fn may_take(&mut self, (client, sequence): (ClientId, u32), bytes: usize) -> bool {
        let may = self.make_way_for(bytes);
        if !may {
            self.answer(client, sequence, replies::TOO_MUCH_MEMORY);
        }
        may
    }

    /// Whether so many bytes can be had at once. Whoever holds about as much may have to go for
    /// them, as long as they are not more than anybody may have.
    fn make_way_for(&mut self, bytes: usize) -> bool {
        if self.budget.affords(bytes) {
            return true;
        }
        if bytes > self.budget.spent_at / 2 {
            return false;
        }
        self.watch_memory(TICK_US);
        self.buffers.trim();
        self.cut_off_holders(self.budget.spent_at - bytes, (bytes / 4).max(HOLDS_MIN));
        self.budget.affords(bytes)
    }

    /// Whether a new client can be afforded; whoever holds much may have to go for it.
    pub(super) fn has_room_for_clients(&mut self) -> bool {
        if memory::used() < self.budget.full_at {
            return true;
        }
        self.watch_memory(SLOW_TICK_US);
        self.buffers.trim();
        self.cut_off_holders(self.budget.full_at, HOLDS_MUCH);
        let has_room = memory::used() < self.budget.full_at;
        if !has_room {
            // In whole megabytes, so that what goes on is told once.
            let megabytes = |bytes: usize| (bytes + (1 << 19)) >> 20;
            let holders = self.holders(HOLDS_MIN);
            log_notice!(
                self.log,
                "h {} accept waits for memory: {} MB are in use, {} of them for {} clients of this thread",
                self.index,
                megabytes(memory::used()),
                megabytes(holders.iter().map(|(bytes, _)| bytes).sum()),
                holders.len()
            );
        }
        has_room
    }

    /// Cuts off whoever holds most until less than `goal` bytes are in use, or nobody is left who
    /// holds anything.
    #[cold]
    pub(super) fn relieve(&mut self, goal: usize) {
        if self.now_us < self.budget.patient_until_us && memory::used() < self.budget.patient_to {
            return;
        }
        self.buffers.trim();
        self.cut_off_holders(goal, HOLDS_MIN);
        if memory::used() >= self.budget.last_at {
            // Who was asked to act does not, or has not got a processor.
            self.flush_clients();
            self.cut_off_own(self.budget.last_at);
        }
        let used = memory::used();
        if used >= goal {
            self.budget.patient_until_us = self.now_us + PATIENCE_US;
            self.budget.patient_to = self.budget.last_at.max(used.saturating_add(PATIENCE));
        }
        self.watch_memory(TICK_US);
    }

    /// Cuts off clients of this handler, from the one that holds most on. Where another handler has
    /// one that holds more, that is asked to do so.
    fn cut_off_holders(&mut self, goal: usize, least: usize) {
        if memory::used() < goal {
            return;
        }
        let mut holders = self.holders(least);
        let all: usize = holders.iter().map(|(bytes, _)| bytes).sum();
        if memory::used().saturating_sub(all) >= goal {
            // It would not be enough if all of them went; then those who hold little may stay.
            holders.retain(|(bytes, _)| *bytes >= HOLDS_MUCH);
        }
        // Who holds most stands last.
        holders.sort_unstable_by_key(|(bytes, _)| *bytes);
        let (most_elsewhere, where_else) = self.most_elsewhere();
        let before = holders.len();
        while memory::used() >= goal {
            let Some((bytes, id)) = holders.pop_if(|(bytes, _)| *bytes >= most_elsewhere) else {
                if most_elsewhere >= least {
                    let ask = move |handler: &mut Handler| handler.relieve(goal);
                    self.shared.handlers[where_else].post(Mail::Run(Box::new(ask)));
                }
                break;
            };
            self.cut_off_holder(id, bytes);
        }
        if holders.len() < before {
            // What is free in one thread's part of the memory is of no use to the others.
            memory::give_back();
        }
        self.publish_most(holders.last().map_or(0, |(bytes, _)| *bytes));
    }

    /// Cuts off those clients of this handler that hold much, from the largest on, until less than
    /// `goal` bytes are in use.
    fn cut_off_own(&mut self, goal: usize) {
        let mut holders = self.holders(HOLDS_MUCH);
        holders.sort_unstable_by_key(|(bytes, _)| *bytes);
        while memory::used() >= goal
            && let Some((bytes, id)) = holders.pop()
        {
            self.cut_off_holder(id, bytes);
        }
        memory::give_back();
    }

    fn cut_off_holder(&mut self, id: ClientId, bytes: usize) {
        if let Some(client) = self.clients.get(id) {
            let (peer, number) = (client.peer, client.socket.number());
            log_warn!(
                self.log,
                "h {} c {} {} holds {} bytes, the most of all, and MaxMemory is spent",
                self.index,
                peer,
                number,
                bytes
            );
        }
        self.drop_client(id, "MaxMemory");
        // What was to become its reply waits for nobody.
        let of_client = self.wholes.iter().filter(|(_, whole)| whole.client == id);
        let wholes: Vec<WholeId> = of_client.map(|(whole, _)| whole).collect();
        for whole in wholes {
            self.wholes.remove(whole);
        }
    }

    /// What each client holds that goes when it goes, if it is as much as `least`.
    fn holders(&self, least: usize) -> Vec<(usize, ClientId)> {
        let mut gathering: HashMap<u64, usize> = HashMap::new();
        for (_, whole) in self.wholes.iter() {
            *gathering.entry(whole.client.to_u64()).or_default() += whole.memory_bytes();
        }
        let holders = self.clients.iter().map(|(id, client)| {
            let gathered = gathering.get(&id.to_u64()).copied().unwrap_or(0);
            let subscribed = if client.subscribes { self.subscriptions_cost(id) } else { 0 };
            let link = client.upload.as_ref().and_then(|upload| self.links.get(upload.link?));
            let fed = link.map_or(0, |link| link.log.held_bytes());
            (client.held_bytes() + gathered + subscribed + fed, id)
        });
        holders.filter(|(bytes, _)| *bytes >= least).collect()
    }

    /// The most that a client of another handler holds, as that has said lately, and which one
    /// that is.
    fn most_elsewhere(&self) -> (usize, usize) {
        let others = self.shared.handlers.iter().enumerate();
        let others = others.filter(|(index, _)| *index != self.index);
        others.map(|(index, other)| (other.most_held.load(Relaxed), index)).max().unwrap_or((0, 0))
    }

    fn publish_most(&self, most: usize) {
        self.shared.handlers[self.index].most_held.store(most, Relaxed);
    }

    /// Memory is short: it is to be looked at again, by all.
    fn watch_memory(&mut self, pause_us: u64) {
        if self.deadlines.of(Chore::Memory) == u64::MAX {
            for (index, other) in self.shared.handlers.iter().enumerate() {
                if index != self.index {
                    let look = |handler: &mut Handler| handler.look_at_memory_soon();
                    other.post(Mail::Run(Box::new(look)));
                }
            }
        }
        self.deadlines.advance(Chore::Memory, self.now_us + pause_us);
    }

    fn look_at_memory_soon(&mut self) {
        if self.budget.is_short() {
            self.deadlines.advance(Chore::Memory, self.now_us);
        }
    }

    /// Whoever waits for memory gets it, if there is some again.
    pub(super) fn check_memory(&mut self) {
        self.deadlines.set(Chore::Memory, u64::MAX);
        if !self.budget.is_short() {
            self.budget.spent_since_us = u64::MAX;
            self.publish_most(0);
            self.buffers.trim();
            self.shrink_queues();
            memory::give_back();
            self.release_starved();
            return;
        }
        if self.budget.is_spent() {
            self.relieve(self.budget.spent_at);
        } else {
            let most = self.holders(HOLDS_MIN).into_iter().map(|(bytes, _)| bytes).max();
            self.publish_most(most.unwrap_or(0));
        }
        if self.now_us >= self.budget.tidied_us + SLOW_TICK_US {
            self.budget.tidied_us = self.now_us;
            // What one thread keeps for later others may need now.
            self.buffers.trim();
            memory::give_back();
        }
        let is_spent = self.budget.is_spent();
        if !is_spent {
            self.budget.spent_since_us = u64::MAX;
        } else if self.budget.spent_since_us == u64::MAX {
            self.budget.spent_since_us = self.now_us;
        } else if self.now_us >= self.budget.spent_since_us.saturating_add(STUCK_US) {
            self.budget.spent_since_us = u64::MAX;
            self.lose_fullest_link();
        }
        let somebody_waits = self.release_starved();
        let pause_us = if is_spent || somebody_waits { TICK_US } else { SLOW_TICK_US };
        self.deadlines.set(Chore::Memory, self.now_us + pause_us);
    }

    /// Lets those try again who wait for memory. Whether there are any.
    fn release_starved(&mut self) -> bool {
        let mut somebody = false;
        for id in self.clients.ids() {
            if let Some(client) = self.clients.get_mut(id)
                && client.intake == Intake::Starved
            {
                client.intake = Intake::Open;
                self.eager_clients.push(id);
                somebody = true;
            }
        }
        somebody
    }

    /// All memory is spent on requests that some server does not answer: those on the link that
    /// holds most of them will never be.
    fn lose_fullest_link(&mut self) {
        let links = self.links.iter().map(|(id, link)| (link.log.held_bytes(), id));
        let fullest: Option<(usize, LinkId)> = links.max_by_key(|(bytes, _)| *bytes);
        let Some((bytes, id)) = fullest.filter(|(bytes, _)| *bytes >= HOLDS_MUCH) else { return };
        let server = self.links.get(id).map(|link| link.server);
        if let Some(server) = server {
            log_warn!(
                self.log,
                "h {} s #{} does not answer {} bytes of requests, and MaxMemory is spent",
                self.index,
                server,
                bytes
            );
        }
        self.lose_link(id, Loss::TimeOut);
    }

    /// Gives back the memory of queues that were long and are not.
    fn shrink_queues(&mut self) {
        for id in self.links.ids() {
            if let Some(link) = self.links.get_mut(id)
                && link.awaiting.capacity() > QUEUE_KEPT.max(4 * link.awaiting.len())
            {
                link.awaiting.shrink();
            }
        }
        self.lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_memory_is_never_short() {
        let budget = Budget::of(None, 1);
        assert!(!budget.is_short() && !budget.is_spent() && budget.affords(usize::MAX / 2));
        assert_eq!((budget.share_of(1 << 16), budget.unread_max), (1 << 16, UNREAD_MAX));
    }

    #[test]
    fn the_marks_stand_in_their_order() {
        for max in [4 << 20, 8 << 20, 32 << 20, 1 << 40] {
            let budget = Budget::of(Some(max), 2);
            assert!(budget.short_at < budget.full_at && budget.full_at < budget.spent_at);
            assert!(budget.spent_at < budget.last_at && (budget.last_at as u64) < max);
            assert!(budget.unread_max <= UNREAD_MAX);
        }
    }
}
