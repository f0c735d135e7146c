//! A link: one connection to a server, and the replies that server owes us.
//!
//! Requests go into the log, their records into `awaiting`; the server answers in that order,
//! and this pairing is the whole of the bookkeeping. Knows nothing of clients.

use std::collections::VecDeque;
use std::mem;

use super::lane::Lane;
use super::request::{Awaiting, Errand, Origin, Step, Ticket};
use crate::base::address::Address;
use crate::base::ring::Ring;
use crate::buffer::{Buffer, BufferPool, RequestLog};
use crate::pool::ServerId;
use crate::resp::response_parser::ResponseParser;
use crate::sys::Socket;

/// One connection that we made, or are about to make, to a server.
pub struct ConnectConnection {
    /// Whose it is.
    pub server: ServerId,
    /// The database that all its requests are for, and the protocol they are answered in.
    pub lane: Lane,
    /// Its socket, once a connect has begun.
    pub socket: Option<Socket>,
    /// Lent to one request at a time, instead of shared by all.
    pub is_private: bool,
    /// Lent to a client for longer than a request: it does not go back when all is answered.
    pub is_lent: bool,
    /// What its server was told about us is no longer so: it is closed when it is given back.
    pub is_outdated: bool,
    /// Our half of it is closed: nothing more is asked there, and its server is about to close the other.
    pub is_called_back: bool,
    /// By which number the server knows us there.
    pub own_id: OwnId,
    /// A server that knows MULTI is behind it.
    pub is_proven: bool,
    /// MULTI was sent for the first time, and holds back what comes behind it.
    pub is_proving: bool,
    /// It is the handler's own, to be told messages on, see `handler/pubsub.rs`.
    pub listens: bool,
    /// How far it has come.
    pub state: LinkState,
    /// What the server has yet to be sent, and to answer.
    pub log: RequestLog,
    /// Who waits for the replies, in the order they will come.
    pub awaiting: Ring<Awaiting>,
    /// Where in a reply the bytes in `inbox` end.
    pub parser: ResponseParser,
    /// The beginning of a reply that is not complete.
    pub inbox: Option<Buffer>,
    /// The reply at the head is large and is passed on while it comes.
    pub streaming: bool,
    /// That reply is very large.
    pub is_giant: bool,
    /// The last request on it is passed on while it comes, and has not come whole; see
    /// `handler/uploads.rs`.
    pub is_fed: bool,
    /// It is not read until its client has read what came before.
    pub is_paused: bool,
    /// It is on the handler's list of links to flush at the end of the turn.
    pub listed: bool,
    /// When the server last sent something, in microseconds of the monotonic clock.
    pub heard_us: u64,
    /// The pieces of a large reply to the proxy itself.
    pub collected: Vec<u8>,
    /// Where its server may be reached and has not been tried, the next one last.
    pub addresses: Vec<Address>,
    /// Requests put in line since somebody counted them.
    pub queued: u32,
    /// Somebody will look whether the reply at the head comes in time.
    pub timed: bool,
    /// When somebody was last given up, in microseconds of the monotonic clock.
    pub late_us: u64,
    /// Since when its server is known to be gone, in microseconds of the monotonic clock; 0 is
    /// not at all.
    pub retired_us: u64,
    /// What could not be sent at once, and when it was; there is seldom any.
    pub delays: Option<Box<Delays>>,
}

/// When the kernel has taken what it did not take at once.
#[derive(Debug, Default)]
pub struct Delays {
    /// Offsets in the log, and when what lies before them was sent, in microseconds of the
    /// monotonic clock. What lies before the first was sent at once.
    marks: VecDeque<(u64, u64)>,
    /// What lies before this offset, and behind the first mark, was not sent at once.
    until: u64,
}

/// So many marks are kept; what was sent before is answered soon.
const MARKS_MAX: usize = 32;

impl Delays {
    /// What lies before `offset` is sent by now.
    fn mark(&mut self, offset: u64, now_us: u64) {
        match self.marks.back() {
            // The first mark: what lies before it was not delayed.
            None => self.marks.push_back((offset, 0)),
            Some((last, _)) if *last < offset => self.marks.push_back((offset, now_us)),
            Some(_) => {}
        }
        if self.marks.len() > MARKS_MAX {
            self.marks.pop_front();
        }
    }

    /// When what lies before `offset` was sent; 0 is at once.
    fn sent_us(&self, offset: u64) -> u64 {
        let mark = self.marks.iter().find(|(sent, _)| offset <= *sent);
        mark.map_or(0, |(_, sent_us)| *sent_us)
    }
}

/// The number that a server gives a link, as far as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnId {
    /// It was not asked for, or the server does not tell.
    Unknown,
    /// The answer is on its way.
    Asked,
    /// This.
    Known(i64),
}

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Its host name is being looked up.
    Resolving {
        /// Then it has failed, in microseconds of the monotonic clock.
        deadline_us: u64,
    },
    /// The kernel is connecting.
    Connecting {
        /// Then it has failed, in microseconds of the monotonic clock.
        deadline_us: u64,
    },
    /// Connected; requests wait until the server has accepted who we are and what we want.
    Handshaking {
        /// How many answers of the handshake are still to come.
        steps: u32,
        /// Then it has failed, in microseconds of the monotonic clock.
        deadline_us: u64,
    },
    /// Requests flow.
    Ready,
}

impl ConnectConnection {
    /// A link that has not begun to connect.
    pub fn new(server: ServerId, lane: Lane, deadline_us: u64) -> Self {
        ConnectConnection {
            server,
            lane,
            socket: None,
            is_private: false,
            is_lent: false,
            is_outdated: false,
            is_called_back: false,
            own_id: OwnId::Unknown,
            is_proven: false,
            is_proving: false,
            listens: false,
            state: LinkState::Resolving { deadline_us },
            log: RequestLog::default(),
            awaiting: Ring::new(),
            parser: ResponseParser::new(),
            inbox: None,
            streaming: false,
            is_giant: false,
            is_fed: false,
            is_paused: false,
            listed: false,
            heard_us: 0,
            collected: Vec::new(),
            addresses: Vec::new(),
            queued: 0,
            timed: false,
            late_us: 0,
            retired_us: 0,
            delays: None,
        }
    }

    /// Puts a request in line. It leaves with the next flush, once the link is ready.
    #[inline(always)]
    pub fn send_now(&mut self, pool: &BufferPool, request: &[u8], ticket: Ticket) {
        self.queued += 1;
        let offset = self.log.append(pool, request);
        self.awaiting.push_back(ticket.at(offset, request.len()));
    }

    /// The same, for whoever is in no hurry.
    #[cfg_attr(small, optimize(speed))]
    pub fn send(&mut self, pool: &BufferPool, request: &[u8], ticket: Ticket) {
        self.send_now(pool, request, ticket);
    }

    /// The same for one that is put together of two pieces.
    #[inline(always)]
    pub fn send_joined(&mut self, pool: &BufferPool, pieces: [&[u8]; 2], ticket: Ticket) {
        self.queued += 1;
        let offset = self.log.append_joined(pool, pieces);
        let length = pieces[0].len() + pieces[1].len();
        self.awaiting.push_back(ticket.at(offset, length));
    }

    /// The same for a request that has a buffer of its own, which is not copied.
    pub fn send_buffer(&mut self, request: Buffer, ticket: Ticket) {
        self.queued += 1;
        let length = request.len();
        let offset = self.log.append_buffer(request);
        self.awaiting.push_back(ticket.at(offset, length));
    }

    /// Puts a request of the proxy itself in line.
    pub fn send_errand(&mut self, pool: &BufferPool, errand: Errand, request: &[u8], now_us: u64) {
        self.send(pool, request, Ticket::errand(errand, now_us));
    }

    /// Puts MULTI in line. What comes behind it is held back until this server has accepted one:
    /// where it is renamed or forbidden, the commands would be executed one by one.
    pub fn send_multi(&mut self, pool: &BufferPool, request: &[u8], ticket: Ticket) {
        self.send(pool, request, ticket);
        if !self.is_proven {
            self.is_proving = true;
            self.log.raise_barrier();
        }
    }

    /// The server has accepted MULTI.
    pub fn prove(&mut self) {
        if !self.is_proven {
            self.is_proven = true;
            self.is_proving = false;
            self.log.lower_barrier();
        }
    }

    /// Whether a command on it may take as long as it likes.
    pub fn is_blocked(&self) -> bool {
        let step = self.awaiting.front().map(|front| front.origin);
        matches!(step, Some(Origin::Session { step: Step::Block, .. }))
    }

    /// Whether somebody has a transaction or the like on it, or has just had.
    pub fn is_in_session(&self) -> bool {
        self.awaiting.iter().any(|awaiting| matches!(awaiting.origin, Origin::Session { .. }))
    }

    /// How many answers the handshake is to get.
    pub fn handshake_steps(&self) -> usize {
        let is_step = |awaiting: &&Awaiting| matches!(awaiting.origin, Origin::Proxy(errand) if errand.is_handshake());
        self.awaiting.iter().take_while(is_step).count()
    }

    /// When the first who waits for an answer has waited for `timeout_us`; `u64::MAX` is never.
    pub fn answer_deadline_us(&mut self, timeout_us: u64) -> u64 {
        self.timed = !self.awaiting.is_empty();
        if self.is_paused {
            return u64::MAX;
        }
        if self.is_fed {
            return self.heard_us.saturating_add(timeout_us);
        }
        let waits = |awaiting: &&Awaiting| awaiting.origin != Origin::Nobody;
        let first = self.awaiting.iter().filter(waits).map(Awaiting::asked_us).min();
        let first_us = first.map_or(u64::MAX, |since_us| since_us.saturating_add(timeout_us));
        match self.awaiting.front() {
            Some(front) if front.origin == Origin::Nobody || self.streaming => {
                let stalled_us = self.heard_us.max(self.late_us).saturating_add(timeout_us);
                if self.streaming { stalled_us } else { stalled_us.min(first_us) }
            }
            _ => first_us,
        }
    }

    /// Whether the server has said nothing for `timeout_us` although somebody has been given up
    /// since, or in the middle of a reply.
    pub fn is_stalled(&self, now_us: u64, timeout_us: u64) -> bool {
        let is_late = match self.awaiting.front() {
            Some(front) => front.origin == Origin::Nobody || self.streaming,
            None => false,
        };
        is_late
            && !self.is_paused
            && now_us >= self.heard_us.max(self.late_us).saturating_add(timeout_us)
    }

    /// Takes out of the list who has waited for `timeout_us`; the answers, should they come, are
    /// for nobody then. Not who is getting its answer just now.
    pub fn give_up_late(&mut self, now_us: u64, timeout_us: u64) -> Vec<Origin> {
        let mut late = Vec::new();
        let begun = usize::from(self.streaming);
        for awaiting in self.awaiting.iter_mut().skip(begun) {
            let is_late = now_us >= awaiting.asked_us().saturating_add(timeout_us);
            if is_late && awaiting.origin != Origin::Nobody {
                late.push(mem::replace(&mut awaiting.origin, Origin::Nobody));
            }
        }
        if !late.is_empty() {
            self.late_us = now_us;
        }
        late
    }

    /// Whether the kernel has taken all that was put in line.
    pub fn has_sent_all(&self) -> bool {
        self.state == LinkState::Ready && self.log.unsent() == 0
    }

    /// Whether the kernel has taken the whole of this request.
    #[inline]
    pub fn has_sent(&self, awaiting: &Awaiting) -> bool {
        awaiting.offset + u64::from(awaiting.length) <= self.log.sent()
    }

    /// The link has been flushed: notes what the kernel did not take, and when it has.
    #[inline]
    pub fn note_flush(&mut self, before: u64, now_us: u64) {
        if self.log.unsent() > 0 || self.delays.is_some() {
            self.note_delay(before, now_us);
        }
    }

    #[cold]
    fn note_delay(&mut self, before: u64, now_us: u64) {
        let delays = self.delays.get_or_insert_with(|| {
            let mut delays = Box::new(Delays::default());
            delays.mark(before, 0);
            delays
        });
        if self.log.unsent() > 0 {
            delays.mark(self.log.sent(), now_us);
            delays.until = self.log.end();
            return;
        }
        if before < delays.until {
            return delays.mark(self.log.sent(), now_us);
        }
        let answered = self.awaiting.front().map_or(self.log.end(), |front| front.offset);
        if delays.marks.back().is_none_or(|(last, _)| *last <= answered) {
            self.delays = None;
        }
    }

    /// When the kernel had taken the whole of this request, in microseconds of the monotonic
    /// clock; 0 is in the turn in which it came.
    pub fn sent_us(&self, awaiting: &Awaiting) -> u64 {
        let end = awaiting.offset + u64::from(awaiting.length);
        self.delays.as_ref().map_or(0, |delays| delays.sent_us(end))
    }

    /// Whether the kernel has taken nothing of this request: it is safe to send it elsewhere.
    pub fn never_sent(&self, awaiting: &Awaiting) -> bool {
        awaiting.offset >= self.log.sent()
    }
}

impl Ticket {
    /// The ticket of something the proxy asks on its own behalf.
    pub fn errand(errand: Errand, now_us: u64) -> Self {
        Ticket {
            origin: Origin::Proxy(errand),
            since_us: now_us,
            held_us: 0,
            command: None,
            hops: 0,
            repeatable: false,
        }
    }

    #[inline]
    fn at(self, offset: u64, length: usize) -> Awaiting {
        // Requests are limited to less than 4 GiB by the parser.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let Ticket { origin, since_us, held_us, command, hops, repeatable } = self;
        Awaiting { origin, offset, length, since_us, held_us, command, hops, repeatable }
    }
}

impl Awaiting {
    /// What is needed to send it for the first time, when nothing of it was sent.
    #[cfg_attr(small, optimize(speed))]
    pub fn ticket(&self) -> Ticket {
        Ticket { hops: self.hops, ..self.again() }
    }

    /// What is needed to send it again: its ticket, with one more hop.
    pub fn again(&self) -> Ticket {
        Ticket {
            origin: self.origin,
            since_us: self.since_us,
            held_us: self.held_us,
            command: self.command,
            hops: self.hops.saturating_add(1),
            repeatable: self.repeatable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_up_is_known_by_its_place() {
        let mut delays = Delays::default();
        // Up to 100 all went at once; then some at 5, the rest at 9.
        [(100, 0), (100, 3), (150, 5), (150, 6), (300, 9)]
            .iter()
            .for_each(|(offset, now_us)| delays.mark(*offset, *now_us));
        let sent = [50, 100, 101, 150, 151, 300, 301].map(|offset| delays.sent_us(offset));
        assert_eq!(sent, [0, 0, 5, 5, 9, 9, 0]);
        (301..400).for_each(|offset| delays.mark(offset, offset));
        assert_eq!((delays.marks.len(), delays.sent_us(399)), (MARKS_MAX, 399));
    }
}
