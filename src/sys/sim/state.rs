//! Everything that a simulated world holds: its time, its chance, its names and its trace.
//!
//! What takes time stands in a queue, ordered by when it happens and by when it was decided. All
//! maps are ordered, so that a seed replays exactly.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::ends::Ends;
use super::events::Watcher;
use super::network::Listener;
use super::{Fate, Faults};
use crate::base::random::Random;
use crate::sys::Endpoint;
use crate::sys::resolver::Done;

/// What the clock on the wall shows when the monotonic one shows 0: in November 2023.
const WALL_US: i64 = 1_700_000_000_000_000;
/// When a world begins. Not 0, so that a time that was forgotten stands out.
const BEGIN_US: u64 = 1_000_000_000;
/// How many lines of trace are kept if nobody wants more.
const TRACE_MAX: usize = 4096;

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State::new(0, 1, Faults::none()));
}

/// Works on this thread's world.
pub(in crate::sys) fn with<R>(work: impl FnOnce(&mut State) -> R) -> R {
    STATE.with_borrow_mut(work)
}

/// Does what is due, and calls whoever waits for a name. They may come back to the world, so
/// they are called outside it.
pub(in crate::sys) fn settle() {
    while let Some((done, answer)) = with(State::next_answer) {
        done(answer);
    }
}

/// Closes something of this thread's world, if the thread still has one.
pub(in crate::sys) fn leave(work: impl FnOnce(&mut State)) {
    // While a thread ends, its world may be gone before the last socket is; then nobody looks.
    let _ = STATE.try_with(|state| {
        if let Ok(mut state) = state.try_borrow_mut() {
            work(&mut state);
        }
    });
}

/// Everything that a world holds.
pub(in crate::sys) struct State {
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(in crate::sys) now_us: u64,
    pub(super) wall_shift_us: i64,
    /// Numbers are never used again, not even in the next world, so that what is left of one
    /// world cannot disturb another.
    first_id: u32,
    next_id: u32,
    next_order: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    /// When the first of them happens.
    due_us: u64,
    pub(super) ends: Ends,
    pub(super) listeners: BTreeMap<u32, Listener>,
    pub(super) watchers: BTreeMap<u32, Watcher>,
    pub(super) names: BTreeMap<String, (Vec<SocketAddr>, u64)>,
    answers: VecDeque<(Done, io::Result<Vec<SocketAddr>>)>,
    pub(super) fates: Vec<(Endpoint, Fate)>,
    pub(super) accepts_to_fail: u32,
    pub(super) moves: u64,
    /// Memory for the line that is being written.
    line: String,
    pub(super) trace: VecDeque<String>,
    pub(super) trace_max: usize,
    pub(super) fingerprint: u64,
}

/// Something that takes time.
pub(super) enum Happening {
    /// A connect arrives where it wants to go.
    Knock { client: u32, endpoint: Endpoint, source: SocketAddr },
    /// A connect has failed.
    Failure { client: u32, code: i32 },
    /// Bytes arrive.
    Bytes { from: u32, to: u32, bytes: Vec<u8> },
    /// The peer has sent its last byte, and it arrives.
    Finish { to: u32 },
    /// The peer is gone and did not want what was sent.
    Reset { to: u32 },
    /// A sender learns that there is room again.
    Room { to: u32 },
    /// A name is resolved.
    Answer { done: Done, answer: io::Result<Vec<SocketAddr>> },
    /// The test wants to be there.
    Alarm,
}

impl State {
    fn new(seed: u64, first_id: u32, faults: Faults) -> State {
        State {
            random: Random::new(seed),
            faults,
            now_us: BEGIN_US,
            wall_shift_us: 0,
            first_id,
            next_id: first_id,
            next_order: 0,
            queue: BTreeMap::new(),
            due_us: u64::MAX,
            ends: Ends::default(),
            listeners: BTreeMap::new(),
            watchers: BTreeMap::new(),
            names: BTreeMap::new(),
            answers: VecDeque::new(),
            fates: Vec::new(),
            accepts_to_fail: 0,
            moves: 0,
            line: String::new(),
            trace: VecDeque::new(),
            trace_max: TRACE_MAX,
            fingerprint: 0xCBF2_9CE4_8422_2325,
        }
    }

    /// The world that follows this one.
    pub(super) fn successor(&self, seed: u64, faults: Faults) -> State {
        State { trace_max: self.trace_max, ..State::new(seed, self.next_id, faults) }
    }

    /// A number for something new.
    pub(super) fn new_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1).max(1);
        id
    }

    /// The number under which a thing is shown: the same whatever worlds there were before.
    pub(in crate::sys) fn shown(&self, id: u32) -> u32 {
        id.wrapping_sub(self.first_id).wrapping_add(1)
    }

    /// True once in `chances` times; never for 0.
    pub(super) fn chance(&mut self, chances: u64) -> bool {
        chances != 0 && self.random.one_in(chances)
    }

    /// A time from `range`.
    pub(super) fn draw_us(&mut self, range: RangeInclusive<u64>) -> u64 {
        let width = range.end().saturating_sub(*range.start()).saturating_add(1);
        range.start() + self.random.below(width)
    }

    /// A random number for whoever asks the system for one.
    pub(in crate::sys) fn seed(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// Microseconds since 1970.
    pub(in crate::sys) fn wall_us(&self) -> u64 {
        (WALL_US.saturating_add(self.wall_shift_us).max(0).unsigned_abs()) + self.now_us
    }

    /// Writes a line into the trace and into the sum over all lines.
    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        self.moves += 1;
        if self.trace_max > 0 {
            self.write_down(what);
        }
    }

    fn write_down(&mut self, what: fmt::Arguments<'_>) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        // Writing into memory does not fail.
        let _ = writeln!(line, "{} {what}", self.now_us - BEGIN_US);
        // FNV-1a, eight bytes at a time.
        let (words, rest) = line.as_bytes().as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        for word in words.chain(rest.iter().map(|byte| u64::from(*byte))) {
            self.fingerprint = (self.fingerprint ^ word).wrapping_mul(0x0100_0000_01B3);
            self.fingerprint ^= self.fingerprint >> 29;
        }
        if self.trace.len() >= self.trace_max {
            self.trace.pop_front();
        }
        self.trace.push_back(line.trim_end().to_owned());
        self.line = line;
    }

    /// Lets something happen at a time, after all else that happens at that time.
    pub(super) fn schedule(&mut self, at_us: u64, happening: Happening) {
        self.next_order += 1;
        let at_us = at_us.max(self.now_us);
        self.due_us = self.due_us.min(at_us);
        self.queue.insert((at_us, self.next_order), happening);
    }

    /// How long something that begins now is on its way: when it arrives.
    pub(super) fn arrival_us(&mut self) -> u64 {
        self.now_us.saturating_add(self.draw_us(self.faults.delay_us.clone()))
    }

    pub(super) fn alarm(&mut self, at_us: u64) {
        self.schedule(at_us, Happening::Alarm);
    }

    /// Lets everything happen that is due.
    #[inline]
    pub(super) fn run_due(&mut self) {
        if self.due_us <= self.now_us {
            self.run_queue();
        }
    }

    fn run_queue(&mut self) {
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.now_us
        {
            match entry.remove() {
                Happening::Answer { done, answer } => self.answers.push_back((done, answer)),
                Happening::Alarm => self.note(format_args!("alarm")),
                happening => self.happen(happening),
            }
        }
        self.due_us = self.queue.first_key_value().map_or(u64::MAX, |(key, _)| key.0);
    }

    fn next_answer(&mut self) -> Option<(Done, io::Result<Vec<SocketAddr>>)> {
        self.run_due();
        self.answers.pop_front()
    }

    pub(super) fn is_quiet(&mut self) -> bool {
        self.run_due();
        self.answers.is_empty() && self.watchers.keys().all(|id| self.is_asleep(*id))
    }

    pub(super) fn advance_to(&mut self, until_us: u64) {
        while let Some(at_us) = self.queue.first_key_value().map(|(key, _)| key.0)
            && at_us <= until_us
        {
            self.now_us = self.now_us.max(at_us);
            self.run_due();
        }
        self.now_us = self.now_us.max(until_us);
    }

    /// On to the next thing that happens, or to who wakes first; false when there is neither.
    pub(super) fn advance(&mut self) -> bool {
        let happens_us = self.queue.first_key_value().map(|(key, _)| key.0);
        let wakes_us = self.watchers.values().filter_map(|watcher| watcher.deadline_us).min();
        let next_us = match (happens_us, wakes_us) {
            (Some(happens_us), Some(wakes_us)) if wakes_us < happens_us => {
                wakes_us.saturating_add(self.draw_us(self.faults.late_us.clone()))
            }
            (None, Some(wakes_us)) => {
                wakes_us.saturating_add(self.draw_us(self.faults.late_us.clone()))
            }
            (Some(happens_us), _) => happens_us,
            (None, None) => return false,
        };
        self.advance_to(next_us);
        true
    }

    pub(super) fn set_name(&mut self, name: &str, addresses: &[SocketAddr], delay_us: u64) {
        self.names.insert(name.to_ascii_lowercase(), (addresses.to_vec(), delay_us));
    }

    pub(super) fn set_fate(&mut self, endpoint: &Endpoint, fate: Fate) {
        self.fates.retain(|(known, _)| known != endpoint);
        self.fates.push((endpoint.clone(), fate));
    }

    /// Asks for the addresses of a name; the answer comes when the world is settled.
    pub(in crate::sys) fn resolve(&mut self, name: &str, port: u16, done: Done) {
        let (addresses, delay_us) = self.look_up(name);
        let answer = if addresses.is_empty() {
            Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
        } else {
            Ok(addresses.iter().map(|address| SocketAddr::new(address.ip(), port)).collect())
        };
        let count = addresses.len();
        self.note(format_args!("resolve {name}: {count} addresses in {delay_us} us"));
        self.schedule(self.now_us.saturating_add(delay_us), Happening::Answer { done, answer });
    }

    /// The addresses of a name, and how long it takes to find them.
    pub(super) fn look_up(&self, name: &str) -> (Vec<SocketAddr>, u64) {
        match name.parse::<IpAddr>() {
            Ok(ip) => (vec![SocketAddr::new(ip, 0)], 0),
            Err(_) => self.names.get(&name.to_ascii_lowercase()).cloned().unwrap_or_default(),
        }
    }
}
