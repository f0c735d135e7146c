//! A client, and the replies it is owed.
//!
//! Each request gets a number and a place in line. Its reply goes to the outbox when all
//! before it have gone; one that comes early waits on the shelf. Knows nothing of servers.

use std::collections::BTreeMap;
use std::mem;
use std::net::SocketAddr;

use super::auth::IdentityId;
use super::lane::Lane;
use super::profile::{Profile, Replies};
use super::recent_writes::RecentWrites;
use super::request::LinkId;
use super::session::{Session, Watch};
use crate::base::ring::Ring;
use crate::buffer::{Buffer, BufferPool, Outbox, Shelf, ShelfRange};
use crate::resp::command::CommandId;
use crate::resp::request_parser::RequestParser;
use crate::sys::{Peer, Progress, Socket};

/// One connection that a client made to us.
pub struct AcceptConnection {
    /// Its socket.
    pub socket: Socket,
    /// Who is at the other end.
    pub peer: Peer,
    /// Its number in `CLIENT ID` and in the log; never used twice in the life of the process.
    pub number: u64,
    /// The database it selected, and how it wants to be spoken to.
    pub lane: Lane,
    /// Who it has shown itself to be; an index of the Authority.
    pub identity: Option<IdentityId>,
    /// What it has said about itself and its wishes.
    pub profile: Option<Box<Profile>>,
    /// Its profile has something that concerns each of its requests.
    pub is_odd: bool,
    /// The last command that it has sent.
    pub command: Option<CommandId>,
    /// Where it has written lately, if that matters.
    pub writes: Option<Box<RecentWrites>>,
    /// Where in a request the bytes in `inbox` end.
    pub parser: RequestParser,
    /// The beginning of a request that is not complete, or requests that wait for their turn.
    pub inbox: Option<Buffer>,
    /// What it is in the middle of; most clients never are.
    pub session: Option<Box<Session>>,
    /// A large request that is complete and waits for its turn.
    pub held: Option<Box<Buffer>>,
    /// A request that is passed on while it comes.
    pub upload: Option<Box<Upload>>,
    /// The links that wait until this client has read some of a large reply, or until its turn.
    pub fed_by: Vec<LinkId>,
    /// Replies in order, on their way out.
    pub outbox: Outbox,
    /// Bytes of large replies to parts of its requests, which wait for the other parts.
    pub merging: usize,
    /// When it came, in microseconds of the monotonic clock.
    pub since_us: u64,
    /// When it was last given something to read, in microseconds of the monotonic clock.
    pub active_us: u64,
    /// Whether requests are taken from it.
    pub intake: Intake,
    /// The kernel may have more bytes from it: readiness is told once only.
    pub readable: bool,
    /// The kernel has announced the end of what it says, or that it is gone.
    pub hung_up: bool,
    /// It has closed its side: there is nothing more to read, ever.
    pub ended: bool,
    /// It is on the handler's list of clients to look after at the end of the turn.
    pub listed: bool,
    /// It is subscribed to something, or about to be, see `subscriptions.rs`.
    pub subscribes: bool,
    pending: Ring<Pending>,
    /// The number of the request whose reply is first in line.
    first: u32,
    shelf: Shelf,
    /// Large replies that came before their turn, if there are any.
    parked: Option<Box<Parking>>,
}

/// A request that is passed on while it comes; see `handler/uploads.rs`.
pub struct Upload {
    /// Where it goes. If that is gone it is answered, and the rest is thrown away.
    pub link: Option<LinkId>,
    /// Its number among the requests of the client.
    pub sequence: u32,
    /// The server has to take some first.
    pub is_held_up: bool,
}

/// Large replies that came before their turn, by the numbers of their requests.
#[derive(Default)]
struct Parking(BTreeMap<u32, Parked>);

// There may be very many of them, most of them idle.
const _: () = assert!(size_of::<AcceptConnection>() <= 448);

/// Whether requests are taken from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// As they come.
    Open,
    /// What comes first is the header of a proxy in front of us, which says who the client is.
    Header,
    /// The same, and the header may name a user.
    HeaderWithUser,
    /// Not until it has read some of its replies.
    Paused,
    /// Not until there is memory again.
    Starved,
    /// Not until it has got all it is owed: what comes next travels another road, or what is
    /// under way does, and must not overtake or be overtaken.
    Waiting,
    /// Not until a pause is over.
    Held,
    /// Not here: another process goes on when it has got what it is owed.
    Leaving,
    /// Never again: it is closed when it has got what it is owed.
    Closed,
}

impl Intake {
    /// Whether it goes when it has got what it is owed.
    #[inline]
    pub fn is_ending(self) -> bool {
        matches!(self, Intake::Leaving | Intake::Closed)
    }

    /// Whether the header of a proxy has yet to say who the client is.
    pub fn wants_header(self) -> bool {
        matches!(self, Intake::Header | Intake::HeaderWithUser)
    }
}

/// How much of a reply was sent at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtOnce {
    /// So many bytes; the rest waits in the outbox.
    Sent(usize),
    /// Nothing, and nothing has changed.
    Nothing,
}

/// A place in line for one reply.
#[derive(Clone, Copy)]
enum Pending {
    /// The reply has yet to come.
    Waiting,
    /// The same, but the client does not want it.
    Muted,
    /// It came before its turn, and the client does not want it.
    Dropped,
    /// It is the first in line, and parts of the reply have gone already.
    Begun,
    /// It came before its turn.
    OnShelf(ShelfRange),
    /// It came, or is coming, before its turn, and is large: it is among `parked`.
    Parked,
}

#[derive(Default)]
struct Parked {
    replies: Outbox,
    complete: bool,
}

impl AcceptConnection {
    /// A client that has just been accepted.
    pub fn new(socket: Socket, peer: Peer, number: u64, now_us: u64) -> Self {
        AcceptConnection {
            socket,
            peer,
            number,
            lane: Lane::default(),
            identity: None,
            profile: None,
            is_odd: false,
            command: None,
            writes: None,
            parser: RequestParser::new(),
            inbox: None,
            session: None,
            held: None,
            upload: None,
            fed_by: Vec::new(),
            outbox: Outbox::default(),
            merging: 0,
            since_us: now_us,
            active_us: now_us,
            intake: Intake::Open,
            readable: false,
            hung_up: false,
            ended: false,
            listed: false,
            subscribes: false,
            pending: Ring::new(),
            first: 0,
            shelf: Shelf::default(),
            parked: None,
        }
    }

    /// Takes a place in line for the reply to the next request, and returns its number.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn expect(&mut self) -> u32 {
        let sequence = self.first.wrapping_add(u32::try_from(self.pending.len()).unwrap_or(0));
        self.pending.push_back(Pending::Waiting);
        sequence
    }

    /// Gives back the place in line that was taken last: the request has to wait and will ask for
    /// one again.
    pub fn expect_later(&mut self) {
        if let Some(Pending::Muted) = self.pending.pop_back() {
            self.skip_again();
        }
    }

    /// Whether its requests are like anybody's: it is in the middle of nothing and has no wishes.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.session.is_none() && !self.is_odd && !self.subscribes
    }

    /// What `CLIENT SETNAME` said; nothing if it did not.
    pub fn name(&self) -> &[u8] {
        self.profile.as_ref().map_or(&[], |profile| &profile.name)
    }

    /// The address that it has reached us by, or the proxy in front of us; `None` is a Unix socket.
    pub fn reached_at(&self) -> Option<SocketAddr> {
        let told = self.profile.as_ref().and_then(|profile| profile.reached);
        told.or_else(|| self.socket.local_address())
    }

    /// What it has said about itself, if anything.
    pub fn profile_mut(&mut self) -> &mut Profile {
        self.profile.get_or_insert_default()
    }

    /// What it watches, outside a transaction.
    pub fn watch_mut(&mut self) -> Option<&mut Watch> {
        self.session.as_mut()?.watch()
    }

    /// Takes over what its profile says now.
    pub fn follow_profile(&mut self) {
        self.is_odd = self.profile.as_ref().is_some_and(|profile| profile.is_odd());
    }

    /// A request has been taken from a client that is odd. It may not want the reply; true if it
    /// wants to read from masters.
    #[cold]
    pub fn take_oddly(&mut self) -> bool {
        let Some(profile) = &mut self.profile else { return false };
        let reads_masters = profile.reads_masters;
        if profile.replies != Replies::All {
            if profile.replies == Replies::NotNext {
                profile.replies = Replies::All;
            }
            self.mute_last();
            self.follow_profile();
        }
        reads_masters
    }

    /// The client does not want the reply to what it has sent last.
    pub fn mute_last(&mut self) {
        if let Some(last) = self.pending.back_mut() {
            *last = Pending::Muted;
        }
    }

    /// The client gets the reply to request `sequence`, whether it wants replies or not.
    pub fn unmute(&mut self, sequence: u32) {
        let place = sequence.wrapping_sub(self.first) as usize;
        if let Some(muted @ Pending::Muted) = self.pending.get_mut(place) {
            *muted = Pending::Waiting;
        }
    }

    /// The request whose reply was not wanted will come again.
    fn skip_again(&mut self) {
        let profile = self.profile_mut();
        if profile.replies == Replies::All {
            profile.replies = Replies::NotNext;
        }
        self.follow_profile();
    }

    /// How many replies it is owed.
    pub fn owed(&self) -> usize {
        self.pending.len()
    }

    /// Whether it has sent nothing after request `sequence`.
    pub fn is_last(&self, sequence: u32) -> bool {
        sequence.wrapping_sub(self.first) as usize + 1 == self.pending.len()
    }

    /// Whether the reply to request `sequence` waits for those to earlier ones.
    pub fn has_to_wait(&self, sequence: u32) -> bool {
        (1..self.pending.len()).contains(&(sequence.wrapping_sub(self.first) as usize))
    }

    /// Whether it has got a part of a reply, and nothing else may be sent to it before the rest.
    pub fn is_mid_reply(&self) -> bool {
        matches!(self.pending.front(), Some(Pending::Begun))
    }

    /// Whether nothing is in flight for it and nothing waits to be read by it.
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.outbox.is_empty()
    }

    /// The reply, or the last piece of it, to request `sequence` has come.
    #[inline(always)]
    #[cfg_attr(small, optimize(speed))]
    pub fn answer(&mut self, pool: &BufferPool, sequence: u32, reply: &[u8]) {
        if sequence == self.first
            && let Some(Pending::Waiting) = self.pending.front()
        {
            self.next_in_line();
            self.outbox.append_before(pool, reply, self.pending.len());
            if !self.pending.is_empty() {
                self.settle(pool);
            }
            return;
        }
        self.answer_otherwise(pool, sequence, reply);
    }

    /// Writes the reply to the only request under way, from where it lies: who sends one request at
    /// a time has nothing else to be sent in this turn, so it makes no write more, and saves the
    /// outbox and looking after the client at the end of the turn, 200 instructions of 2000.
    #[inline(always)]
    pub fn answer_at_once(&mut self, pool: &BufferPool, sequence: u32, reply: &[u8]) -> AtOnce {
        let is_alone = self.pending.capacity() <= LINE_KEPT
            && self.pending.len() == 1
            && sequence == self.first
            && matches!(self.pending.front(), Some(Pending::Waiting));
        let is_usual = self.outbox.is_empty()
            && self.intake == Intake::Open
            && !self.listed
            && !self.subscribes
            && self.fed_by.is_empty();
        if !is_alone || !is_usual {
            return AtOnce::Nothing;
        }
        // What goes wrong will go wrong again when the outbox is flushed.
        let Ok(Progress::Moved(sent)) = self.socket.write(reply) else { return AtOnce::Nothing };
        self.next_in_line();
        if sent < reply.len() {
            self.outbox.append(pool, &reply[sent..]);
        }
        AtOnce::Sent(sent)
    }

    /// The reply is not wanted, or the end of one, or comes before its turn.
    #[inline(never)]
    fn answer_otherwise(&mut self, pool: &BufferPool, sequence: u32, reply: &[u8]) {
        let place = sequence.wrapping_sub(self.first) as usize;
        if place == 0
            && let Some(first) = self.next_in_line()
        {
            if !matches!(first, Pending::Muted) {
                self.outbox.append(pool, reply);
            }
            return self.settle(pool);
        }
        let more = self.pending.len();
        match self.pending.get_mut(place) {
            Some(waiting @ Pending::Waiting) => {
                *waiting = Pending::OnShelf(self.shelf.put(pool, reply, more));
            }
            Some(Pending::Parked) => {
                let parked = self.parked.get_or_insert_default().0.entry(sequence).or_default();
                parked.replies.append(pool, reply);
                parked.complete = true;
            }
            Some(muted @ Pending::Muted) => *muted = Pending::Dropped,
            Some(waiting) => *waiting = Pending::OnShelf(self.shelf.put(pool, reply, more)),
            None => debug_assert!(false, "an answer to a question that nobody asked"),
        }
        if self.shelf.is_untidy() {
            self.tidy_shelf(pool);
        }
    }

    #[cold]
    #[inline(never)]
    fn tidy_shelf(&mut self, pool: &BufferPool) {
        let on_shelf = self.pending.iter_mut().filter_map(|pending| match pending {
            Pending::OnShelf(range) => Some(range),
            _ => None,
        });
        self.shelf.tidy(pool, on_shelf);
    }

    /// A piece of a large reply to request `sequence` has come; [`Self::answer`] brings the end.
    ///
    /// # Errors
    ///
    /// When the client is lost.
    pub fn answer_piece(
        &mut self,
        pool: &BufferPool,
        sequence: u32,
        piece: &[u8],
    ) -> std::io::Result<()> {
        let place = sequence.wrapping_sub(self.first) as usize;
        if let Some(Pending::Muted) = self.pending.get(place) {
            return Ok(());
        }
        if place == 0 {
            if let Some(pending) = self.pending.front_mut() {
                *pending = Pending::Begun;
            }
            return self.outbox.send_through(pool, &self.socket, piece);
        }
        if let Some(pending) = self.pending.get_mut(place) {
            *pending = Pending::Parked;
            let parking = self.parked.get_or_insert_default();
            parking.0.entry(sequence).or_default().replies.append(pool, piece);
        }
        Ok(())
    }

    /// Puts another reply in the place of what has come so far of a large one.
    ///
    /// False when some of that is with the client already; then only closing is left.
    pub fn replace_pieces(&mut self, pool: &BufferPool, sequence: u32, reply: &[u8]) -> bool {
        let place = sequence.wrapping_sub(self.first) as usize;
        if let Some(Pending::Muted) = self.pending.get(place) {
            self.answer(pool, sequence, reply);
            return true;
        }
        if place == 0 {
            return false;
        }
        if let Some(pending) = self.pending.get_mut(place) {
            if let Some(parking) = &mut self.parked {
                parking.0.remove(&sequence);
            }
            *pending = Pending::OnShelf(self.shelf.put(pool, reply, 0));
        }
        true
    }

    /// Bytes of replies that it has not read: sent to its outbox, or waiting for their turn, or
    /// for what belongs to them.
    pub fn unread_bytes(&self) -> usize {
        let parked = self.parked.iter().flat_map(|parking| parking.0.values());
        let parked = parked.map(|parked| parked.replies.len());
        self.outbox.len() + self.merging + parked.sum::<usize>()
    }

    /// Bytes of requests that are not complete, or wait for their turn.
    pub fn requests_len(&self) -> usize {
        let buffers = self.inbox.iter().chain(self.held.as_deref());
        buffers.map(Buffer::len).sum()
    }

    /// Bytes of memory that are there again when it is not, more or less.
    pub fn held_bytes(&self) -> usize {
        let buffers = self.inbox.iter().chain(self.held.as_deref());
        let buffers: usize = buffers.map(Buffer::capacity).sum();
        let queued = self.session.as_ref().map_or(0, |session| session.queued_bytes());
        let places = self.pending.capacity() * mem::size_of::<Pending>();
        self.unread_bytes() + self.shelf.held_bytes() + buffers + queued + places
    }

    /// How much memory it takes, more or less.
    pub fn memory(&self) -> usize {
        let buffers = self.inbox.iter().chain(self.held.as_deref());
        let buffers: usize = buffers.map(Buffer::capacity).sum();
        let places = self.pending.capacity() * mem::size_of::<Pending>();
        mem::size_of::<AcceptConnection>() + buffers + self.unread_bytes() + places
    }

    /// Lends the queue of places, when it is empty, to whoever needs one next: an idle client
    /// owns little memory. A short queue stays, for those who send one request at a time.
    #[inline]
    pub fn take_spare_line(&mut self) -> Option<Line> {
        if self.pending.capacity() > LINE_KEPT && self.pending.is_empty() {
            return Some(Line(mem::take(&mut self.pending)));
        }
        None
    }

    /// Whether it has filled the short queue of its own: a [`Line`] saves it the making of a longer
    /// one.
    #[inline]
    pub fn needs_line(&self) -> bool {
        self.pending.len() == LINE_KEPT && self.pending.capacity() == LINE_KEPT
    }

    /// Gives it the queue that another client no longer needs.
    #[inline(never)]
    pub fn give_line(&mut self, Line(mut line): Line) {
        line.clear();
        self.pending.iter().for_each(|pending| line.push_back(*pending));
        self.pending = line;
    }

    #[inline(always)]
    #[cfg_attr(small, optimize(speed))]
    fn next_in_line(&mut self) -> Option<Pending> {
        let first = self.pending.pop_front()?;
        self.first = self.first.wrapping_add(1);
        Some(first)
    }

    /// Sends on whatever has come before its turn and is first in line now.
    #[inline]
    fn settle(&mut self, pool: &BufferPool) {
        while let Some(front) = self.pending.front() {
            match *front {
                Pending::Waiting | Pending::Begun | Pending::Muted => return,
                Pending::Dropped => {}
                Pending::OnShelf(range) => {
                    self.outbox.append(pool, self.shelf.at(range));
                    self.shelf.forget(range);
                }
                Pending::Parked => {
                    if !self.fetch_parked(pool) {
                        return;
                    }
                }
            }
            self.next_in_line();
        }
    }

    /// Sends on what is there of a large reply that is first in line now. False if more is to
    /// come; that goes straight to the outbox then.
    #[cold]
    #[inline(never)]
    fn fetch_parked(&mut self, pool: &BufferPool) -> bool {
        let parked = self.parked.as_mut().and_then(|parking| parking.0.remove(&self.first));
        if self.parked.as_ref().is_some_and(|parking| parking.0.is_empty()) {
            self.parked = None;
        }
        let Parked { replies, complete } = parked.unwrap_or_default();
        self.outbox.append_outbox(pool, replies);
        if !complete && let Some(front) = self.pending.front_mut() {
            *front = Pending::Begun;
        }
        complete
    }
}

/// A queue of so many places is not worth lending.
const LINE_KEPT: usize = 4;

/// The memory of an empty queue of places, on its way from one client to another.
pub struct Line(Ring<Pending>);

impl Line {
    /// How many places it has memory for.
    pub fn places(&self) -> usize {
        self.0.capacity()
    }
}
