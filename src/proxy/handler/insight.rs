//! What passes through, looked at from the side: top keys and commands, from a sample.
//!
//! A request costs one subtraction and one branch here. Each is as large as its bytes and a little
//! more, and how much passes between two that are looked at is drawn at random (`hot_keys::Gap`),
//! so large ones are met more often, and count less. Replies are sampled by their bytes alone,
//! while the request that they answer still lies in the log of its link and can tell its keys.
//! While somebody monitors (`monitor.rs`) every request is looked at.

use std::cmp::Ordering;
use std::ops::Range;

use super::super::connect_connection::LinkState;
use super::super::hot_keys::{self, Gap, Keys, ONE, Window};
use super::super::lane::Lane;
use super::super::metrics::{HandlerView, SLOW_MAX};
use super::super::replies;
use super::super::request::LinkId;
use super::super::slow_log::SlowLog;
use super::Handler;
use super::dispatch::Request;
use super::monitor::Monitors;
use crate::base::random::Random;
use crate::pool::ServerId;
use crate::resp::command::{Command, Family, LocalCommand};
use crate::resp::request_parser::Arguments;
use crate::resp::writer::Sink;

/// What a handler has seen.
pub(super) struct Insight {
    /// So much may pass before a request is looked at; below zero one is due.
    budget: isize,
    /// The same while every request is looked at, because somebody monitors.
    sample_budget: isize,
    /// So many bytes of replies may come before one is looked at.
    reply_budget: usize,
    random: Random,
    gap: Gap,
    reply_gap: Gap,
    by_requests: Window,
    by_bytes: Window,
    /// How often each command came, as far as samples tell, in parts of [`ONE`].
    commands: Vec<u64>,
    keys: Vec<u32>,
    pub monitors: Monitors,
    pub slow: SlowLog,
    /// Requests that take so long are slow.
    pub slower_than_us: u64,
    pub slow_entries_max: usize,
}

/// What looking at a request costs does not depend on its size; this makes small ones rarer
/// among the samples than their bytes would.
const REQUEST_SIZE: usize = 64;
/// How much passes between two samples of requests, in bytes and as many more for each.
const REQUEST_GAPS: &[u64] = &[0, 512, 4 << 10, 64 << 10];
/// How many bytes of replies pass between two samples.
const REPLY_GAPS: &[u64] = &[0, 2 << 10, 16 << 10, 128 << 10];
/// So many keys of one request are looked at.
const KEYS_PER_REQUEST: usize = 64;
/// So many top keys are told if nobody says how many.
const COUNT_DEFAULT: usize = 10;

impl Insight {
    /// One that has seen nothing; `seed` is for its choice of samples.
    pub fn new(seed: u64) -> Self {
        Insight {
            budget: 0,
            sample_budget: 0,
            reply_budget: 0,
            random: Random::new(seed),
            gap: Gap::new(REQUEST_GAPS),
            reply_gap: Gap::new(REPLY_GAPS),
            by_requests: Window::default(),
            by_bytes: Window::default(),
            commands: Vec::new(),
            keys: Vec::new(),
            monitors: Monitors::default(),
            slow: SlowLog::default(),
            slower_than_us: u64::MAX,
            slow_entries_max: 0,
        }
    }

    /// A request of so many bytes passes; whether it is to be looked at.
    #[inline]
    pub fn meets(&mut self, length: usize) -> bool {
        self.budget -= signed(REQUEST_SIZE + length);
        self.budget < 0
    }

    /// So many bytes of replies have come; whether some of them are to be looked at.
    #[inline]
    pub fn replies_come(&mut self, length: usize) -> bool {
        let is_due = length > self.reply_budget;
        if !is_due {
            self.reply_budget -= length;
        }
        is_due
    }

    /// A request that took so long is slow.
    #[inline]
    pub fn is_slow(&self, elapsed_us: u64) -> bool {
        elapsed_us >= self.slower_than_us
    }

    /// Every request is looked at from now on, or no longer.
    pub fn watch_all(&mut self, is_watching: bool) {
        match (self.monitors.is_watching, is_watching) {
            (false, true) => (self.sample_budget, self.budget) = (self.budget, -1),
            (true, false) => self.budget = self.sample_budget,
            _ => {}
        }
        self.monitors.is_watching = is_watching;
    }

    /// A minute is over: few are few again.
    fn turn(&mut self, now_us: u64) {
        if self.by_requests.turn(now_us) {
            self.gap.restart();
        }
        if self.by_bytes.turn(now_us) {
            self.reply_gap.restart();
        }
    }

    /// Takes a sample of `size`, of which `beyond` is left over when the gap before it is over.
    /// What is left of the next gap, and how many samples fall on this one thing: none if it is
    /// larger than any gap, so that its own size says it all.
    fn hit(gap: &mut Gap, random: &mut Random, size: u64, beyond: u64) -> (u64, Hits) {
        let mean = gap.mean();
        let (mut left, mut hits) = (beyond, 0);
        loop {
            let next = gap.next(random);
            hits += 1;
            if mean == 0 || gap.mean() == 0 {
                return (next, Hits { mean, hits, is_all: true });
            }
            match next.cmp(&left) {
                Ordering::Less => left -= next,
                _ => return (next - left, Hits { mean, hits, is_all: size >= 2 * mean }),
            }
        }
    }
}

/// What samples say about a thing.
struct Hits {
    mean: u64,
    hits: u64,
    is_all: bool,
}

impl Hits {
    /// For how much a thing of `size` stands of which there is `amount`, in parts of [`ONE`].
    fn weight(&self, amount: u64, size: u64) -> u64 {
        if self.is_all {
            return amount.saturating_mul(ONE);
        }
        let scaled = u128::from(amount) * u128::from(self.hits * self.mean) * u128::from(ONE);
        u64::try_from(scaled / u128::from(size.max(1))).unwrap_or(u64::MAX)
    }
}

fn signed(length: usize) -> isize {
    // No request is half as large as the memory.
    length.cast_signed()
}

/// The keys of a request, as indexes of its arguments, or some of them if there are many.
struct Named<'a> {
    indexes: &'a [u32],
    /// How many keys there are in all.
    count: u64,
    /// For how many of them each stands.
    share: u64,
}

/// Finds out which keys a request names.
fn named<'a, 'b>(
    command: &Command,
    count: usize,
    argument: impl Fn(usize) -> &'a [u8],
    (indexes, random): (&'b mut Vec<u32>, &mut Random),
) -> Named<'b> {
    indexes.clear();
    if command.key_at_1() {
        indexes.push(1);
    } else if !matches!(command.family(), Family::PubSub(_) | Family::Refused(_)) {
        // What is no key, or malformed, has none.
        let _ = command.keys().keys(count, argument, indexes);
    }
    let count = indexes.len();
    let share = count.div_ceil(KEYS_PER_REQUEST).max(1);
    if share > 1 {
        let first = random.index(share);
        let mut index = 0;
        indexes.retain(|_| {
            index += 1;
            index % share == first
        });
    }
    Named { indexes, count: (count as u64).max(1), share: share as u64 }
}

impl Handler {
    /// A request was taken that is to be looked at.
    #[cold]
    #[inline(never)]
    pub(super) fn look_at(&mut self, request: &Request<'_>) {
        self.look_at_length(request, request.message.bytes.len());
    }

    /// The same for a request of so many bytes, of which not all are there.
    pub(super) fn look_at_length(&mut self, request: &Request<'_>, length: usize) {
        let size = REQUEST_SIZE + length;
        let is_watching = self.insight.monitors.is_watching;
        if is_watching {
            self.tell_monitors(request);
            self.insight.sample_budget -= signed(size);
        } else {
            self.insight.sample_budget = self.insight.budget;
        }
        if self.insight.sample_budget < 0 {
            self.sample_request(request, length as u64);
        }
        self.insight.budget = if is_watching { -1 } else { self.insight.sample_budget };
    }

    #[inline(never)]
    fn sample_request(&mut self, request: &Request<'_>, length: u64) {
        let size = REQUEST_SIZE as u64 + length;
        let insight = &mut self.insight;
        insight.turn(self.now_us);
        let beyond = insight.sample_budget.unsigned_abs() as u64;
        let Insight { gap, random, by_requests, by_bytes, commands, keys, .. } = insight;
        let (left, hits) = Insight::hit(gap, random, size, beyond);
        insight.sample_budget = isize::try_from(left).unwrap_or(isize::MAX);
        let command = request.command.id().index();
        if commands.len() <= command {
            commands.resize(self.settings.conf.commands.len().max(command + 1), 0);
        }
        let weight = hits.weight(1, size);
        commands[command] = commands[command].saturating_add(weight);
        let bytes = hits.weight(length, size);
        let count = request.arguments.count();
        let argument = |index| request.argument(index);
        let named = named(request.command, count, argument, (keys, random));
        for index in named.indexes {
            let key = request.argument(*index as usize);
            by_requests.add(key, weight * named.share, 1);
            by_bytes.add(key, bytes / named.count * named.share, length / named.count);
        }
    }

    /// Some reply in `bytes`, of which the parser of the link knows the first `fed`, is to be
    /// looked at. It is found here, on the side, so that those who take replies need not look.
    #[cold]
    #[inline(never)]
    pub(super) fn look_at_replies(&mut self, id: LinkId, bytes: &[u8], fed: usize) {
        self.insight.turn(self.now_us);
        let mut sample_at = fed + self.insight.reply_budget;
        let Some(mut parser) = self.links.get(id).map(|link| link.parser.clone()) else { return };
        let (mut begin, mut at) = (fed, fed);
        for number in 0.. {
            let end = match parser.feed_piece(&bytes[at..]) {
                Ok(Some(end)) => at + end,
                Ok(None) => bytes.len(),
                // Whoever takes them will notice.
                Err(_) => return,
            };
            if end > sample_at {
                sample_at = self.sample_reply(id, number, begin..end, sample_at);
            }
            (begin, at) = (end, end);
            if at == bytes.len() {
                break;
            }
        }
        self.insight.reply_budget = sample_at - bytes.len();
    }

    /// Takes a sample of reply `number` of those to come, of which these bytes are here; the gap
    /// was over at `at`. Where the next gap is over.
    #[inline(never)]
    fn sample_reply(&mut self, id: LinkId, number: usize, came: Range<usize>, at: usize) -> usize {
        let Handler { insight, links, settings, arguments_again, .. } = self;
        let Insight { reply_gap, random, by_bytes, keys, .. } = insight;
        let (length, beyond) = (came.len() as u64, came.end.saturating_sub(at.max(came.start)));
        let (left, hits) = Insight::hit(reply_gap, random, length, beyond as u64);
        let link = links.get(id);
        let awaiting = link.and_then(|link| link.awaiting.get(number));
        let of_client = awaiting.filter(|awaiting| awaiting.command.is_some());
        if let (Some(link), Some(awaiting)) = (link, of_client)
            && let Some(request) = link.log.request(awaiting.offset, awaiting.length as usize)
        {
            arguments_again.index(request);
            let arguments: &Arguments = arguments_again;
            let argument = |index| arguments.of(request, index);
            if let Ok(command) = settings.conf.commands.resolve(arguments.count(), argument) {
                let named = named(command, arguments.count(), argument, (keys, random));
                let bytes = hits.weight(length, length);
                for index in named.indexes {
                    let key = argument(*index as usize);
                    by_bytes.add(key, bytes / named.count * named.share, length / named.count);
                }
            }
        }
        came.end.saturating_add(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// `HOTKEYS [count]` and `BIGKEYS [count]`.
    pub(super) fn tell_top_keys(&mut self, local: LocalCommand, request: &Request<'_>) {
        let (id, sequence) = (request.client, request.sequence);
        let count = match request.arguments.count() {
            1 => Some(COUNT_DEFAULT),
            _ => std::str::from_utf8(request.argument(1)).ok().and_then(|text| text.parse().ok()),
        };
        let Some(count) = count else {
            return self.answer_own(id, sequence, replies::NOT_AN_INTEGER);
        };
        let by_bytes = local == LocalCommand::BigKeys;
        self.ask_all(
            (id, sequence),
            move |handler| handler.top_keys(by_bytes),
            move |_, parts| {
                let top = hot_keys::top(&parts, count);
                let mut reply = Vec::new();
                reply.array(top.len());
                for key in &top {
                    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
                    reply.array(if by_bytes { 4 } else { 3 }).bulk(&key.key);
                    reply.integer(number(key.count)).integer(number(key.per_second));
                    if by_bytes {
                        reply.integer(number(key.largest));
                    }
                }
                reply
            },
        );
    }

    /// The top keys of this handler.
    pub(super) fn top_keys(&mut self, by_bytes: bool) -> Keys {
        self.insight.turn(self.now_us);
        let window = if by_bytes { &self.insight.by_bytes } else { &self.insight.by_requests };
        window.keys(self.now_us)
    }

    /// What there is to show of this handler.
    pub fn view(&mut self) -> HandlerView {
        let links = self.links.iter().map(|(_, link)| {
            (link.server.index(), link.state == LinkState::Ready, link.awaiting.len())
        });
        HandlerView {
            index: self.index,
            links: links.collect(),
            waiting: self.room.len(),
            monitors: self.insight.monitors.count(),
            hot_keys: self.top_keys(false),
            big_keys: self.top_keys(true),
            slow: self.insight.slow.newest(SLOW_MAX),
            slow_seen: self.insight.slow.seen(),
            commands: self.insight.commands.clone(),
        }
    }

    /// Makes sure that there is a link to a server, or that one is being made.
    pub fn reach(&mut self, server: ServerId) {
        let lane = Lane::default();
        let open = self.pools.get(server.index()).and_then(|pool| pool.shared(lane));
        let is_open = open.is_some_and(|id| self.links.get(id).is_some());
        if !is_open && !self.draining && self.topology.server(server).is_some() {
            self.open_shared_link(server, lane);
        }
    }
}
