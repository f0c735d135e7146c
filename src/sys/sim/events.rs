//! What a simulated multiplexor watches, and which events it owes.

use std::collections::VecDeque;
use std::io;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};

use super::end::Readiness;
use super::network::bad_number;
use super::state::State;
use crate::base::random::Random;
use crate::sys::{Event, Token};

/// The most events that one wait brings; as on the real platforms.
const EVENTS_MAX: usize = 1024;

/// Everything that one multiplexor knows.
#[derive(Default)]
pub(super) struct Watcher {
    /// Sockets to which something happened since they were last reported, in that order.
    ready: VecDeque<u32>,
    pub(super) listeners: Vec<(u32, Token)>,
    wakers: Vec<(Weak<AtomicBool>, Token)>,
    /// Until when the last wait would have slept; `None` for ever.
    pub(super) deadline_us: Option<u64>,
    /// The last wait found nothing to do.
    is_idle: bool,
}

/// What a socket owes to the multiplexor that it was added to.
#[derive(Clone, Copy)]
pub(super) struct Watch {
    watcher: u32,
    token: Token,
    /// It stands in the list of those that are ready.
    is_listed: bool,
    /// Something happened for reading, and for writing.
    read_edge: bool,
    write_edge: bool,
}

impl State {
    pub(in crate::sys) fn new_watcher(&mut self) -> u32 {
        let id = self.new_id();
        self.watchers.insert(id, Watcher::default());
        id
    }

    pub(in crate::sys) fn close_watcher(&mut self, id: u32) {
        self.watchers.remove(&id);
        for end in self.ends.iter_mut() {
            end.watch = end.watch.filter(|watch| watch.watcher != id);
        }
    }

    /// Watches a socket; what is so already counts as having just happened.
    pub(in crate::sys) fn watch(&mut self, id: u32, socket: u32, token: Token) -> io::Result<()> {
        self.run_due();
        if !self.watchers.contains_key(&id) {
            return Err(bad_number());
        }
        let end = self.ends.get_mut(socket).ok_or_else(bad_number)?;
        if end.watch.is_some() {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        end.watch = Some(Watch::new(id, token));
        self.trigger(socket, true, true);
        Ok(())
    }

    pub(in crate::sys) fn watch_listener(
        &mut self,
        id: u32,
        listener: u32,
        token: Token,
    ) -> io::Result<()> {
        self.listeners.get_mut(&listener).ok_or_else(bad_number)?.is_watched = true;
        let watcher = self.watchers.get_mut(&id).ok_or_else(bad_number)?;
        if watcher.listeners.iter().any(|(known, _)| *known == listener) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        watcher.listeners.push((listener, token));
        Ok(())
    }

    pub(in crate::sys) fn unwatch_listener(&mut self, id: u32, listener: u32) -> io::Result<()> {
        let watcher = self.watchers.get_mut(&id).ok_or_else(bad_number)?;
        let before = watcher.listeners.len();
        watcher.listeners.retain(|(known, _)| *known != listener);
        if watcher.listeners.len() == before {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        Ok(())
    }

    pub(in crate::sys) fn watch_waker(
        &mut self,
        id: u32,
        waker: Weak<AtomicBool>,
        token: Token,
    ) -> io::Result<()> {
        let watcher = self.watchers.get_mut(&id).ok_or_else(bad_number)?;
        watcher.wakers.retain(|(known, _)| known.strong_count() > 0);
        watcher.wakers.push((waker, token));
        Ok(())
    }

    /// Reports what is ready, and notes until when the caller would have slept.
    pub(in crate::sys) fn wait(
        &mut self,
        id: u32,
        events: &mut Vec<Event>,
        timeout_us: Option<u64>,
    ) -> io::Result<()> {
        self.run_due();
        if self.chance(self.faults.spurious_events) {
            self.trigger_any(id);
        }
        let watcher = self.watchers.get_mut(&id).ok_or_else(bad_number)?;
        let mut watcher = std::mem::take(watcher);
        let levels = self.levels(&watcher);
        events.extend(levels.map(|token| Event {
            token,
            readable: true,
            writable: false,
            hang_up: false,
        }));
        let small = self.chance(self.faults.small_batches);
        // The level-triggered come first, so a small batch must leave room for the others.
        let most = if small { events.len() + 1 + self.random.index(4) } else { EVENTS_MAX };
        if self.faults.shuffled_events {
            shuffle(&mut self.random, watcher.ready.make_contiguous());
        }
        // Two for one socket must fit.
        while events.len() + 1 < most.max(2)
            && let Some(socket) = watcher.ready.pop_front()
        {
            self.report(socket, events);
        }
        if self.faults.shuffled_events {
            shuffle(&mut self.random, events);
        }
        watcher.is_idle = events.is_empty();
        watcher.deadline_us = timeout_us.map(|us| self.now_us.saturating_add(us));
        if let Some(place) = self.watchers.get_mut(&id) {
            *place = watcher;
        }
        for event in events.iter() {
            let Event { token, readable, writable, hang_up } = event;
            let (reader, writer) =
                (if *readable { "r" } else { "" }, if *writable { "w" } else { "" });
            let hang_up = if *hang_up { "h" } else { "" };
            self.note(format_args!("event for {:#x}: {reader}{writer}{hang_up}", token.0));
        }
        Ok(())
    }

    /// Something happened to a socket: whoever watches it owes an event.
    pub(super) fn trigger(&mut self, id: u32, read: bool, write: bool) {
        let Some(end) = self.ends.get_mut(id) else { return };
        let Some(watch) = end.watch.as_mut() else { return };
        watch.read_edge |= read;
        watch.write_edge |= write;
        if !watch.is_listed
            && let Some(watcher) = self.watchers.get_mut(&watch.watcher)
        {
            watch.is_listed = true;
            watcher.ready.push_back(id);
        }
    }

    /// True when a wait would find nothing and sleep on, as the last one did.
    pub(super) fn is_asleep(&self, id: u32) -> bool {
        let Some(watcher) = self.watchers.get(&id) else { return true };
        let owes = |socket: &u32| {
            let end = self.ends.get(*socket);
            end.is_some_and(|end| {
                end.watch.is_some_and(|watch| watch.owes(end.readiness(), self.faults.split_events))
            })
        };
        watcher.is_idle
            && watcher.deadline_us.is_none_or(|deadline_us| deadline_us > self.now_us)
            && !watcher.listeners.iter().any(|(id, _)| self.is_awaited(*id))
            && !watcher.wakers.iter().any(|(waker, _)| is_woken(waker))
            && !watcher.ready.iter().any(owes)
    }

    /// The listeners at which somebody waits, and the wakers that were woken and not drained.
    fn levels(&self, watcher: &Watcher) -> impl Iterator<Item = Token> {
        let listeners = watcher.listeners.iter().filter(|(id, _)| self.is_awaited(*id));
        let wakers = watcher.wakers.iter().filter(|(waker, _)| is_woken(waker));
        listeners.map(|(_, token)| *token).chain(wakers.map(|(_, token)| *token))
    }

    /// Whether somebody waits to be accepted at a listener.
    pub(super) fn is_awaited(&self, listener: u32) -> bool {
        self.listeners.get(&listener).is_some_and(|known| !known.waiting.is_empty())
    }

    fn report(&mut self, socket: u32, events: &mut Vec<Event>) {
        let Some(end) = self.ends.get_mut(socket) else { return };
        let is = end.readiness();
        // As in the kernel: who is told that there is no room is owed an event when there is.
        end.wants_room |= !is.writable;
        if let Some(watch) = end.watch.as_mut() {
            watch.report(is, self.faults.split_events, events);
        }
    }

    /// An event without a cause for some socket.
    fn trigger_any(&mut self, id: u32) {
        let watches = |watch: Option<Watch>| watch.is_some_and(|watch| watch.watcher == id);
        let watched = self.ends.iter().filter(|(_, end)| watches(end.watch));
        let watched: Vec<u32> = watched.map(|(socket, _)| socket).collect();
        if let Some(socket) = watched.get(self.random.index(watched.len())) {
            self.trigger(*socket, true, true);
        }
    }
}

impl Watch {
    fn new(watcher: u32, token: Token) -> Watch {
        Watch { watcher, token, is_listed: false, read_edge: false, write_edge: false }
    }

    /// Takes the events that are owed.
    fn report(&mut self, is: Readiness, split: bool, events: &mut Vec<Event>) {
        events.extend(self.owed(is, split).into_iter().flatten());
        *self = Watch::new(self.watcher, self.token);
    }

    fn owes(&self, is: Readiness, split: bool) -> bool {
        self.owed(is, split).iter().any(Option::is_some)
    }

    /// One event with all that is so, as from epoll, or one for each direction in which something
    /// happened, as from kqueue.
    fn owed(&self, is: Readiness, split: bool) -> [Option<Event>; 2] {
        let token = self.token;
        let Readiness { readable, writable, hang_up } = is;
        if !split {
            let is_owed = readable || writable;
            return [is_owed.then_some(Event { token, readable, writable, hang_up }), None];
        }
        let read = Event { token, readable: true, writable: false, hang_up };
        let write = Event { token, readable: false, writable: true, hang_up: false };
        [
            (self.read_edge && readable).then_some(read),
            (self.write_edge && writable).then_some(write),
        ]
    }
}

fn is_woken(waker: &Weak<AtomicBool>) -> bool {
    waker.upgrade().is_some_and(|woken| woken.load(Ordering::SeqCst))
}

fn shuffle<T>(random: &mut Random, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.index(last + 1));
    }
}
