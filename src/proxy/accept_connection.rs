//! A client, and the replies it is owed.
//!
//! Each request gets a number and a place in line. Its reply goes to the outbox when all
//! before it have gone; one that comes early waits on the shelf. Knows nothing of servers.

use std::collections::VecDeque;
use std::mem;
use std::net::SocketAddr;

use super::auth::IdentityId;
use super::lane::Lane;
use super::profile::{Profile, Replies};
use super::recent_writes::RecentWrites;
use super::request::LinkId;
use super::session::{Session, Watch};
use crate::buffer::{Buffer, BufferPool, Outbox, Shelf, ShelfRange};
use crate::resp::command::CommandId;
use crate::resp::request_parser::RequestParser;
use crate::sys::{Peer, Socket};

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
    pub held: Option<Buffer>,
    /// The link that waits until this client has read some of a large reply.
    pub fed_by: Option<LinkId>,
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
    pending: VecDeque<Pending>,
    /// The number of the request whose reply is first in line.
    first: u32,
    shelf: Shelf,
}

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

/// A place in line for one reply.
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
    /// It came, or is coming, before its turn, and is large.
    Parked(Box<Parked>),
}

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
            fed_by: None,
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
            pending: VecDeque::new(),
            first: 0,
            shelf: Shelf::default(),
        }
    }

    /// Takes a place in line for the reply to the next request, and returns its number.
    #[inline]
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

    /// The client wants the reply to what it has sent last after all.
    pub fn unmute_last(&mut self) {
        if let Some(last) = self.pending.back_mut() {
            *last = Pending::Waiting;
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

    /// Whether it has got a part of a reply, and nothing else may be sent to it before the rest.
    pub fn is_mid_reply(&self) -> bool {
        matches!(self.pending.front(), Some(Pending::Begun))
    }

    /// Whether nothing is in flight for it and nothing waits to be read by it.
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.outbox.is_empty()
    }

    /// The reply, or the last piece of it, to request `sequence` has come.
    #[inline]
    pub fn answer(&mut self, pool: &BufferPool, sequence: u32, reply: &[u8]) {
        let place = sequence.wrapping_sub(self.first) as usize;
        if place == 0
            && let Some(first) = self.next_in_line()
        {
            if !matches!(first, Pending::Muted) {
                self.outbox.append(pool, reply);
            }
            if !self.pending.is_empty() {
                self.settle(pool);
            }
            return;
        }
        match self.pending.get_mut(place) {
            Some(Pending::Parked(parked)) => {
                parked.replies.append(pool, reply);
                parked.complete = true;
            }
            Some(muted @ Pending::Muted) => *muted = Pending::Dropped,
            Some(waiting) => *waiting = Pending::OnShelf(self.shelf.put(pool, reply)),
            None => debug_assert!(false, "an answer to a question that nobody asked"),
        }
        if self.shelf.is_untidy() {
            let on_shelf = self.pending.iter_mut().filter_map(|pending| match pending {
                Pending::OnShelf(range) => Some(range),
                _ => None,
            });
            self.shelf.tidy(pool, on_shelf);
        }
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
            if !matches!(pending, Pending::Parked(_)) {
                let parked = Parked { replies: Outbox::default(), complete: false };
                *pending = Pending::Parked(Box::new(parked));
            }
            if let Pending::Parked(parked) = pending {
                parked.replies.append(pool, piece);
            }
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
            *pending = Pending::OnShelf(self.shelf.put(pool, reply));
        }
        true
    }

    /// Bytes of replies that it has not read: sent to its outbox, or waiting for their turn, or
    /// for what belongs to them.
    pub fn unread_bytes(&self) -> usize {
        let parked = self.pending.iter().map(|pending| match pending {
            Pending::Parked(parked) => parked.replies.len(),
            _ => 0,
        });
        self.outbox.len() + self.merging + parked.sum::<usize>()
    }

    /// Bytes of requests that are not complete, or wait for their turn.
    pub fn requests_len(&self) -> usize {
        let buffers = self.inbox.iter().chain(&self.held);
        buffers.map(Buffer::len).sum()
    }

    /// Bytes of memory that are there again when it is not, more or less.
    pub fn held_bytes(&self) -> usize {
        let buffers = self.inbox.iter().chain(&self.held);
        let buffers: usize = buffers.map(Buffer::capacity).sum();
        let queued = self.session.as_ref().map_or(0, |session| session.queued_bytes());
        let places = self.pending.capacity() * mem::size_of::<Pending>();
        self.unread_bytes() + self.shelf.held_bytes() + buffers + queued + places
    }

    /// How much memory it takes, more or less.
    pub fn memory(&self) -> usize {
        let buffers = self.inbox.iter().chain(&self.held);
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

    /// Whether it needs a [`Line`] before it can [`Self::expect`] without an allocation.
    #[inline]
    pub fn needs_line(&self) -> bool {
        self.pending.capacity() == 0
    }

    /// Gives it the queue that another client no longer needs.
    pub fn give_line(&mut self, line: Line) {
        if self.needs_line() {
            self.pending = line.0;
        }
    }

    #[inline]
    fn next_in_line(&mut self) -> Option<Pending> {
        let first = self.pending.pop_front()?;
        self.first = self.first.wrapping_add(1);
        Some(first)
    }

    /// Sends on whatever has come before its turn and is first in line now.
    fn settle(&mut self, pool: &BufferPool) {
        loop {
            match self.pending.front_mut() {
                None | Some(Pending::Waiting | Pending::Begun | Pending::Muted) => return,
                Some(Pending::Dropped) => {}
                Some(Pending::OnShelf(range)) => {
                    let range = *range;
                    self.outbox.append(pool, self.shelf.at(range));
                    self.shelf.forget(range);
                }
                Some(Pending::Parked(parked)) => {
                    let complete = parked.complete;
                    let replies = mem::take(&mut parked.replies);
                    self.outbox.append_outbox(pool, replies);
                    if !complete {
                        // The rest goes straight to the outbox from now on.
                        self.pending[0] = Pending::Begun;
                        return;
                    }
                }
            }
            self.next_in_line();
        }
    }
}

/// A queue of so many places is not worth lending.
const LINE_KEPT: usize = 4;

/// The memory of an empty queue of places, on its way from one client to another.
pub struct Line(VecDeque<Pending>);

impl Line {
    /// How many places it has memory for.
    pub fn places(&self) -> usize {
        self.0.capacity()
    }
}
