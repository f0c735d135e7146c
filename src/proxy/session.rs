//! What a client is in the middle of: a transaction, a watch, a command that blocks.
//!
//! Most clients never are, and have no [`Session`]. Whoever has one has a link to itself, or is
//! about to: it is lent until the session ends, and then goes back clean or is closed. What is
//! here remembers and decides; it knows no sockets and sends nothing.

use super::request::LinkId;
use crate::buffer::{Buffer, BufferPool};
use crate::pool::Place;

/// What a client is in the middle of.
pub enum Session {
    /// It watches keys, and is not in a transaction.
    Watching(Watch),
    /// It has said MULTI, and not heard what became of EXEC.
    Queueing(Transaction),
    /// It waits for the reply to a command that may block, and watched keys when it sent it.
    Blocked {
        /// Where that command is.
        link: LinkId,
        /// What it watches.
        watch: Option<Watch>,
        /// How it is to be ended, and how often that may still be tried.
        unblock: Option<(Unblock, u8)>,
    },
}

/// How a command that blocks is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblock {
    /// As if its time were over.
    TimeOut,
    /// With an error.
    Error,
}

/// The keys that a client watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Where they live.
    pub place: Place,
    /// The link that knows about them. Once it is lost nobody can say that they have not changed.
    pub link: LinkId,
    /// The server has confirmed at least one WATCH.
    pub is_confirmed: bool,
    /// How many keys were named.
    pub keys: u32,
}

/// What a client wants to be executed at once.
#[derive(Default)]
pub struct Transaction {
    /// Where all its keys live; `None` until the first is named.
    pub place: Option<Place>,
    /// The link that is lent for it.
    pub link: Option<LinkId>,
    /// MULTI was sent on that link.
    pub is_begun: bool,
    /// Keys were watched before it.
    pub is_watching: bool,
    /// How many.
    pub watched: u32,
    /// How many commands are queued.
    pub queued: u32,
    /// Some command could not be queued: EXEC fails.
    pub is_spoiled: bool,
    /// The error that spoiled it, if its client was told by then that the command was queued: a
    /// whole reply, which EXEC passes on.
    pub cause: Option<Box<[u8]>>,
    /// It cannot be proved that what it watches has not changed: EXEC answers nil.
    pub is_void: bool,
    /// The commands, as long as they may have to be sent again.
    pub queue: Queue,
    /// The number of EXEC among the client's requests, when it is under way.
    pub executing: Option<u32>,
    /// How often it was begun anew, elsewhere.
    pub hops: u8,
}

/// What EXEC leads to, as far as it can be told without a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An error, because some command could not be queued.
    Abort,
    /// Nil, because what was watched may have changed.
    Nil,
    /// There is nothing to execute.
    Empty,
    /// A server has to say.
    Server,
}

/// The commands of a transaction, word for word, in the order they came.
#[derive(Default)]
pub struct Queue {
    bytes: Option<Buffer>,
    commands: Vec<Queued>,
    /// How many of them, from the first on, the client knows to be queued.
    answered: usize,
    is_given_up: bool,
}

struct Queued {
    end: usize,
    sequence: u32,
}

/// A transaction of more bytes than this is not begun anew when its slot moves; it fails then.
const QUEUE_MAX: usize = 1 << 20;

impl Session {
    /// The links that are lent for it.
    pub fn links(&self) -> [Option<LinkId>; 2] {
        match self {
            Session::Watching(watch) => [Some(watch.link), None],
            Session::Queueing(transaction) => [transaction.link, None],
            Session::Blocked { link, watch, .. } => [Some(*link), watch.map(|watch| watch.link)],
        }
    }

    /// The transaction, if it is one.
    pub fn transaction(&mut self) -> Option<&mut Transaction> {
        match self {
            Session::Queueing(transaction) => Some(transaction),
            Session::Watching(_) | Session::Blocked { .. } => None,
        }
    }

    /// Bytes of the commands that are queued.
    pub fn queued_bytes(&self) -> usize {
        match self {
            Session::Queueing(transaction) => transaction.queue.bytes(),
            Session::Watching(_) | Session::Blocked { .. } => 0,
        }
    }

    /// Whether commands are being queued.
    pub fn is_transaction(&self) -> bool {
        matches!(self, Session::Queueing(_))
    }

    /// What is being watched, outside a transaction.
    pub fn watch(&mut self) -> Option<&mut Watch> {
        match self {
            Session::Watching(watch) => Some(watch),
            Session::Queueing(_) | Session::Blocked { .. } => None,
        }
    }

    /// Whether nobody expects to hear from this client for a long time.
    pub fn may_idle(&self) -> bool {
        match self {
            Session::Watching(_) | Session::Blocked { .. } => true,
            Session::Queueing(transaction) => transaction.is_watching,
        }
    }
}

impl Transaction {
    /// One that has just begun.
    pub fn new(watch: Option<Watch>) -> Self {
        Transaction {
            place: watch.map(|watch| watch.place),
            link: watch.map(|watch| watch.link),
            is_watching: watch.is_some(),
            watched: watch.map_or(0, |watch| watch.keys),
            ..Transaction::default()
        }
    }

    /// A command with keys at `place` is to be queued. False when they live elsewhere than those
    /// before them.
    pub fn admits(&self, place: Option<Place>) -> bool {
        match (self.place, place) {
            (Some(own), Some(place)) => own == place,
            _ => true,
        }
    }

    /// Nothing is known any more of what was sent: the link is lost, or the keys have moved.
    /// Nothing was executed.
    pub fn lose(&mut self) {
        if self.is_watching {
            self.is_void = true;
        } else {
            self.is_spoiled = true;
        }
    }

    /// What EXEC leads to.
    pub fn outcome(&self) -> Outcome {
        if self.is_spoiled {
            Outcome::Abort
        } else if self.is_void {
            Outcome::Nil
        } else if self.link.is_none() && self.queue.commands.is_empty() {
            Outcome::Empty
        } else {
            Outcome::Server
        }
    }

    /// Whether it can be begun anew: everything that was sent is still known, and nothing else
    /// depends on the link.
    pub fn is_repeatable(&self) -> bool {
        !(self.is_spoiled || self.is_watching || self.queue.is_given_up)
    }
}

impl Queue {
    /// Keeps a command. False when that would be too much; then none is kept any more.
    pub fn push(&mut self, pool: &BufferPool, request: &[u8], sequence: u32) -> bool {
        let length = self.bytes.as_ref().map_or(0, Buffer::len);
        if self.is_given_up || length + request.len() > QUEUE_MAX {
            self.give_up();
            return false;
        }
        let bytes = self.bytes.get_or_insert_with(|| pool.take(request.len()));
        bytes.reserve(request.len());
        bytes.push(request);
        self.commands.push(Queued { end: bytes.len(), sequence });
        true
    }

    /// Bytes of the commands that it keeps.
    pub fn bytes(&self) -> usize {
        self.bytes.as_ref().map_or(0, Buffer::len)
    }

    /// Keeps nothing any more: it will not be asked for, or it is too much.
    pub fn give_up(&mut self) {
        *self = Queue { is_given_up: true, ..Queue::default() };
    }

    /// The client knows that the next command is queued.
    pub fn answer_next(&mut self) {
        self.answered += 1;
    }

    /// The commands with their numbers among the client's requests; no number for those that it
    /// knows to be queued.
    pub fn commands(&self) -> impl Iterator<Item = (&[u8], Option<u32>)> {
        let bytes = self.bytes.as_ref().map_or(&[][..], Buffer::filled);
        let mut begin = 0;
        self.commands.iter().enumerate().map(move |(index, command)| {
            let request = &bytes[begin..command.end];
            begin = command.end;
            (request, (index >= self.answered).then_some(command.sequence))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slab::Id;
    use crate::pool::Slot;

    fn place(key: &[u8]) -> Place {
        Place::Slot(Slot::of_key(key))
    }

    fn watch() -> Watch {
        Watch { place: place(b"k"), link: Id::from_u64(1), is_confirmed: true, keys: 1 }
    }

    #[test]
    fn a_queue_tells_what_is_answered_from_what_is_not() {
        let pool = BufferPool::new(Default::default());
        let mut queue = Queue::default();
        for (sequence, request) in (7..).zip([&b"one"[..], b"two", b"three"]) {
            assert!(queue.push(&pool, request, sequence));
        }
        queue.answer_next();
        let commands: Vec<_> = queue.commands().collect();
        let want = [(&b"one"[..], None), (b"two", Some(8)), (b"three", Some(9))];
        assert_eq!(commands, want);
    }

    #[test]
    fn a_queue_keeps_no_more_than_it_may() {
        let pool = BufferPool::new(Default::default());
        let mut transaction = Transaction::new(None);
        assert!(transaction.queue.push(&pool, &vec![b'x'; QUEUE_MAX - 3], 0));
        assert!(transaction.queue.push(&pool, b"xxx", 1) && transaction.is_repeatable());
        assert!(!transaction.queue.push(&pool, b"x", 2) && !transaction.is_repeatable());
        assert!(!transaction.queue.push(&pool, b"x", 3));
        assert_eq!(
            (transaction.queue.commands().count(), pool.bytes() - pool.spare_bytes() as u64),
            (0, 0)
        );
    }

    #[test]
    fn exec_without_a_server() {
        let mut transaction = Transaction::new(None);
        assert_eq!(transaction.outcome(), Outcome::Empty);
        transaction.link = Some(Id::from_u64(1));
        assert_eq!(transaction.outcome(), Outcome::Server);
        transaction.lose();
        assert_eq!(transaction.outcome(), Outcome::Abort);
        let mut transaction = Transaction::new(Some(watch()));
        assert_eq!(transaction.outcome(), Outcome::Server);
        transaction.lose();
        assert_eq!(transaction.outcome(), Outcome::Nil);
        transaction.is_spoiled = true;
        assert_eq!(transaction.outcome(), Outcome::Abort);
    }

    #[test]
    fn the_first_key_decides_where() {
        let mut transaction = Transaction::new(None);
        assert!(transaction.admits(None) && transaction.admits(Some(place(b"a"))));
        transaction.place = Some(place(b"a"));
        assert!(transaction.admits(None) && transaction.admits(Some(place(b"{a}b"))));
        assert!(!transaction.admits(Some(place(b"b"))));
        assert!(!Transaction::new(Some(watch())).admits(Some(place(b"b"))));
    }
}
