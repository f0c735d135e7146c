//! What is in flight, as plain records.
//!
//! A request has no object of its own. The client it came from keeps a place for its reply in
//! line (`Pending`, in `accept_connection.rs`), the link it went to keeps an [`Awaiting`], and
//! each names the other by id. So every fate is one match, and whoever leaves takes its own
//! records along: a reply for somebody who has left finds a stale id and is dropped.

use super::accept_connection::AcceptConnection;
use super::connect_connection::ConnectConnection;
use super::subscriptions::TopicId;
use super::whole::Whole;
use crate::base::slab::Id;
use crate::pool::GroupId;
use crate::resp::command::CommandId;

/// Names a client of one handler.
pub type ClientId = Id<AcceptConnection>;
/// Names a connection to a server of one handler.
pub type LinkId = Id<ConnectConnection>;
/// Names a request that was split by key.
pub type WholeId = Id<Whole>;

/// Who gets the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The request `sequence` of a client, see `AcceptConnection::expect`.
    Client {
        /// Who sent it.
        client: ClientId,
        /// Its number among the requests of that client.
        sequence: u32,
    },
    /// One part of a split request.
    Part {
        /// What it is a part of.
        whole: WholeId,
        /// Its number among the parts.
        part: u32,
    },
    /// A step of what a client does on a link of its own, see `session.rs`.
    Session {
        /// Whose session it is.
        client: ClientId,
        /// The number of its request, if the reply is for it; see [`Step`].
        sequence: u32,
        /// What was asked.
        step: Step,
    },
    /// The proxy itself.
    Proxy(Errand),
    /// Whoever asked has been told already that the reply comes too late.
    Nobody,
}

// Every request in flight has one.
const _: () = assert!(size_of::<Origin>() == 16);

/// What the proxy asks of servers on its own behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// `AUTH`, the first step of a handshake.
    Auth,
    /// `HELLO 3`, on links for clients that speak RESP3.
    Hello,
    /// `READONLY`: replicas of a cluster answer reads.
    Readonly,
    /// `SELECT`: all requests of a link are for one database.
    Select,
    /// `PING`, the last step of a handshake.
    Ping,
    /// `ASKING`, before a request that follows an ASK redirection.
    Asking,
    /// `SCRIPT LOAD`, before a call of the script that the server did not know.
    LoadScript,
    /// `CLIENT ID`, before a command that blocks: by that number it can be ended.
    OwnId,
    /// `CLIENT UNBLOCK` of the command that blocks this link.
    Unblock(LinkId),
    /// `CLUSTER NODES`: who owns which slots.
    ClusterNodes,
    /// `SENTINEL`, about a group.
    Sentinel(Question, GroupId),
    /// `SUBSCRIBE`: a Sentinel is to tell what happens.
    Subscribe,
    /// `AUTH`, `READONLY` or `READWRITE` on a link that is open: the configuration has changed.
    Instruct,
    /// `SUBSCRIBE` and its like: clients are to be told about a topic.
    Listen(TopicId),
    /// `UNSUBSCRIBE` and its like: no client is interested any more.
    Unlisten,
}

/// What a Sentinel is asked about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// How sure it is who the master is.
    Master,
    /// Where the master is.
    Address,
    /// Who follows it.
    Replicas,
    /// Which other Sentinels watch it.
    Sentinels,
}

/// What is sent on a link that is lent to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// MULTI. The client has its OK already.
    Multi,
    /// A command to be queued, which the client knows to be queued already.
    Acknowledged,
    /// A command to be queued.
    Queued,
    /// EXEC.
    Exec,
    /// DISCARD or UNWATCH, so that the link can go back. The client has its OK already.
    Clean,
    /// WATCH.
    Watch,
    /// A command that may block.
    Block,
}

/// A request that a server has yet to answer; they wait in the order they were sent.
#[derive(Clone, Copy, Debug)]
pub struct Awaiting {
    /// Who gets the reply.
    pub origin: Origin,
    /// Where its bytes lie in the link's request log.
    pub offset: u64,
    /// How many bytes they are.
    pub length: u32,
    /// When the request was taken from the client, in microseconds of the monotonic clock.
    pub since_us: u64,
    /// How much of the time since then it spent in the waiting room, which is not the server's.
    pub held_us: u32,
    /// Which command of a client it is, for the latency monitors.
    pub command: Option<CommandId>,
    /// How often it was sent somewhere else already.
    pub hops: u8,
    /// Whether it may be sent again although a server may have executed it: a pure read.
    pub repeatable: bool,
}

/// What is known of a request when it is sent: an [`Awaiting`] without its place in a log.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// Who gets the reply.
    pub origin: Origin,
    /// When the request was taken from the client, in microseconds of the monotonic clock.
    pub since_us: u64,
    /// How much of the time since then it spent in the waiting room.
    pub held_us: u32,
    /// Which command of a client it is.
    pub command: Option<CommandId>,
    /// How often it was sent somewhere else already.
    pub hops: u8,
    /// Whether it may be executed twice.
    pub repeatable: bool,
}

/// This bit of `hops` says that the script of the request was loaded for its sake: it is sent
/// again for that reason once.
const CURED: u8 = 1 << 7;
/// This one that only a master may get it, although it is a read.
const PINNED: u8 = 1 << 6;
/// This one that later requests of its client may have overtaken it: it is not sent anywhere else.
const LATE: u8 = 1 << 5;

/// How often a request follows MOVED and ASK before the redirection is the reply.
///
/// A cluster in the middle of a failover can bounce a request between two nodes for ever.
pub const HOPS_MAX: u8 = 5;
/// How often it follows MOVED at once. Then the nodes contradict each other, and get time to agree.
pub const HOPS_AT_ONCE: u8 = 2;

impl Errand {
    /// The command as it appears in the log.
    pub fn name(self) -> &'static str {
        match self {
            Errand::Auth => "auth",
            Errand::Hello => "hello",
            Errand::Readonly => "readonly",
            Errand::Select => "db select",
            Errand::Ping => "ping",
            Errand::Asking => "asking",
            Errand::LoadScript => "script load",
            Errand::OwnId => "client id",
            Errand::Unblock(_) => "client unblock",
            Errand::ClusterNodes => "cluster nodes",
            Errand::Sentinel(..) => "sentinel",
            Errand::Subscribe | Errand::Listen(_) => "subscribe",
            Errand::Unlisten => "unsubscribe",
            Errand::Instruct => "settings",
        }
    }

    /// Whether it is a step of the handshake of a new link.
    pub fn is_handshake(self) -> bool {
        matches!(
            self,
            Errand::Auth | Errand::Hello | Errand::Readonly | Errand::Select | Errand::Ping
        )
    }
}

impl Step {
    /// Whether the client waits for the reply.
    pub fn is_answered(self) -> bool {
        match self {
            Step::Queued | Step::Exec | Step::Watch | Step::Block => true,
            Step::Multi | Step::Acknowledged | Step::Clean => false,
        }
    }
}

impl Question {
    /// In the order in which they are asked.
    pub const ALL: [Question; 4] =
        [Question::Master, Question::Address, Question::Replicas, Question::Sentinels];
}

impl Awaiting {
    /// How often it was sent somewhere else.
    pub fn redirects(&self) -> u8 {
        self.hops & !(CURED | PINNED | LATE)
    }

    /// Whether later requests of its client may have overtaken it.
    pub fn is_late(&self) -> bool {
        self.hops & LATE != 0
    }

    /// Whoever waited for this one waits no longer.
    pub fn give_up_order(&mut self) {
        self.hops |= LATE;
    }

    /// What is needed to send it once more as if it had not been redirected yet.
    pub fn anew(&self) -> Ticket {
        Ticket { hops: self.hops & PINNED, ..self.again() }
    }

    /// Whether its script was loaded for its sake.
    pub fn was_cured(&self) -> bool {
        self.hops & CURED != 0
    }

    /// What is needed to send it once more as if it had followed MOVED as often as at once.
    pub fn calmed(&self) -> Ticket {
        let flags = self.hops & (CURED | PINNED);
        Ticket { hops: flags | HOPS_AT_ONCE, ..self.again() }
    }

    /// What is needed to send it again behind its script.
    pub fn cured(&self) -> Ticket {
        let ticket = self.again();
        Ticket { hops: ticket.hops | CURED, ..ticket }
    }

    /// When the server was asked, in microseconds of the monotonic clock: its time runs from then.
    pub fn asked_us(&self) -> u64 {
        self.since_us.saturating_add(u64::from(self.held_us))
    }

    /// Whether the proxy itself asked this.
    pub fn is_errand(&self, errand: Errand) -> bool {
        self.origin == Origin::Proxy(errand)
    }

    /// Whether the proxy asked a Sentinel about some group.
    pub fn is_question(&self) -> bool {
        matches!(self.origin, Origin::Proxy(Errand::Sentinel(..)))
    }
}

impl Ticket {
    /// The same for a master only, whatever becomes of it.
    #[must_use]
    pub fn pinned(self) -> Self {
        Ticket { hops: self.hops | PINNED, ..self }
    }

    /// Whether only a master may get it, although it may be a read.
    pub fn is_pinned(&self) -> bool {
        self.hops & PINNED != 0
    }
}
