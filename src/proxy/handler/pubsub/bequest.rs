//! Subscribers that change processes: sent over here, taken up there.
//!
//! Here nobody is asked for anything new, until every topic is ready and every link is quiet but
//! for messages. Then the links are read no more, whoever is subscribed gets what has come, and all
//! of it goes over: clients, links, and who hears what from where. There it is put together again
//! as it was before a byte more is read. What a server tells meanwhile waits in the kernel.
//!
//! Who cannot go over in time, because it is in the middle of something or does not read, would
//! miss messages, and is told by the end of its connection.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::super::Handler;
use super::super::bequest::INBOX_MAX;
use super::super::upkeep::Chore;
use crate::base::address::Address;
use crate::log_notice;
use crate::pool::ServerId;
use crate::proxy::accept_connection::{AcceptConnection, Intake};
use crate::proxy::connect_connection::{ConnectConnection, LinkState};
use crate::proxy::legacy::Legacy;
use crate::proxy::request::{ClientId, LinkId};
use crate::proxy::shared::Order;
use crate::proxy::subscriptions::{Kind, TopicId};
use crate::proxy::succession::{LIST_MAX, Part, What};
use crate::sys::Socket;

/// How far subscribers have come on their way from one process to another.
#[derive(Default)]
pub(super) enum Succession {
    /// They are here to stay.
    #[default]
    Settled,
    /// Those of the process before are on their way, and nobody is subscribed before them.
    Awaited(Box<Awaited>),
    /// They are to go over: what was asked of servers is waited for, until then.
    Leaving {
        /// In microseconds of the monotonic clock.
        until_us: u64,
    },
    /// Their links are not read any more: they are to get what has come, until then.
    Frozen {
        /// In microseconds of the monotonic clock.
        until_us: u64,
        links: Vec<(Address, ConnectConnection)>,
        seats: SeatsByServer,
    },
    /// They are with the other process.
    Gone,
}

/// What has come so far from the process before.
pub(super) struct Awaited {
    /// Nothing is waited for any longer, in microseconds of the monotonic clock.
    until_us: u64,
    /// By the number of the handler that had it.
    estates: BTreeMap<usize, Estate>,
    /// The handlers that have sent all they had.
    complete: BTreeSet<usize>,
}

/// What one handler of the process before has left.
#[derive(Default)]
struct Estate {
    subscribers: Vec<(Socket, Legacy)>,
    topics: BTreeMap<u64, Vec<(Kind, Vec<u8>)>>,
    links: Vec<(Address, Socket, Vec<u8>)>,
    seats: SeatsByTopic,
}

/// What each server tells about, and whether its word alone counts about what clients publish there.
type SeatsByServer = BTreeMap<Address, Vec<(Kind, bool, Vec<u8>)>>;

/// The same the other way round.
type SeatsByTopic = BTreeMap<(Kind, Vec<u8>), Vec<(Address, bool)>>;

/// How long what was asked of servers is waited for, and then what clients have not read.
const PATIENCE_US: u64 = 1_000_000;
/// How long the process before may take to send its subscribers.
const AWAIT_US: u64 = 10_000_000;
/// What a client has not read goes over with it if it is no more than this.
const UNREAD_MAX: usize = 512 << 10;
/// A longer name does not fit into a message.
const NAME_MAX: usize = 512 << 10;

impl Handler {
    /// Whether nobody may be subscribed yet, because those of the process before come first.
    pub(in super::super) fn awaits_subscribers(&self) -> bool {
        matches!(self.pubsub.succession, Succession::Awaited(_))
    }

    /// Whether subscribers are on their way to another process, or have gone.
    pub(super) fn lets_subscribers_go(&self) -> bool {
        use Succession::{Frozen, Gone, Leaving};
        matches!(self.pubsub.succession, Leaving { .. } | Frozen { .. } | Gone)
    }

    /// Whether a client that asks to be subscribed has to wait for those of the process before, or
    /// goes over to ask there.
    pub(super) fn is_for_another_process(&mut self, id: ClientId) -> bool {
        let (awaits, lets_go) = (self.awaits_subscribers(), self.lets_subscribers_go());
        if !awaits && !lets_go {
            return false;
        }
        let Some(client) = self.clients.get_mut(id) else { return false };
        if lets_go && client.session.is_some() {
            // It finishes what it does here, and would miss what is told there.
            self.drop_client(id, "upgrade");
            return true;
        }
        client.expect_later();
        client.intake = if awaits { Intake::Held } else { Intake::Leaving };
        self.list_client(id);
        true
    }

    /// Whether topics and links are no longer this handler's to look after.
    pub(super) fn has_let_topics_go(&self) -> bool {
        matches!(self.pubsub.succession, Succession::Frozen { .. } | Succession::Gone)
    }

    /// Goes on sending subscribers over, as far as it is time for that.
    pub(in super::super) fn bequeath_subscribers(&mut self) {
        loop {
            match &self.pubsub.succession {
                Succession::Settled => {
                    let until_us = self.now_us + PATIENCE_US;
                    self.pubsub.succession = Succession::Leaving { until_us };
                }
                // They go over when they are here.
                Succession::Awaited(_) => return,
                Succession::Leaving { until_us } => {
                    let is_late = self.now_us >= *until_us;
                    self.hush_subscribers();
                    if !is_late && !self.is_quiet() {
                        return;
                    }
                    self.freeze();
                }
                Succession::Frozen { until_us, .. } => {
                    let is_late = self.now_us >= *until_us;
                    let subscribers = self.pubsub.book.subscribers();
                    if !is_late && !subscribers.iter().all(|id| self.can_go_over(*id)) {
                        return;
                    }
                    self.send_over(subscribers);
                    return;
                }
                Succession::Gone => return,
            }
        }
    }

    /// Takes no more requests of subscribers, but for those that are in the middle of something.
    fn hush_subscribers(&mut self) {
        for id in self.pubsub.book.subscribers() {
            if let Some(client) = self.clients.get_mut(id)
                && client.session.is_none()
                && client.held.is_none()
                && !client.intake.is_ending()
            {
                client.intake = Intake::Leaving;
            }
        }
    }

    /// Whether nobody waits for a server to answer, and no topic for its seats.
    fn is_quiet(&self) -> bool {
        let topics = self.pubsub.book.topics();
        let mut topics = topics.into_iter().filter_map(|id| self.pubsub.book.topic(id));
        topics.all(|topic| topic.seats.is_settled() && topic.active() == topic.members().len())
            && self.needed_upstreams().into_iter().all(|server| self.is_quiet_link(server))
    }

    /// Whether nothing has come on the link to this server but messages, and no long part of one.
    fn is_quiet_link(&self, server: ServerId) -> bool {
        let link = self.pubsub.upstreams.get(&server).and_then(|upstream| upstream.link);
        link.and_then(|id| self.links.get(id)).is_some_and(|link| {
            let is_short = link.inbox.as_ref().is_none_or(|inbox| inbox.len() <= INBOX_MAX);
            link.state == LinkState::Ready && link.awaiting.is_empty() && is_short
        })
    }

    /// Reads no more of what servers tell. Who hears something that cannot go over is let go.
    fn freeze(&mut self) {
        let needed = self.needed_upstreams();
        let quiet: BTreeSet<ServerId> =
            needed.into_iter().filter(|server| self.is_quiet_link(*server)).collect();
        let lost: BTreeSet<ClientId> = (self.pubsub.book.topics().into_iter())
            .filter_map(|id| self.pubsub.book.topic(id))
            .filter(|topic| {
                !topic.seats.is_settled()
                    || topic.active() < topic.members().len()
                    || topic.name.len() > NAME_MAX
                    || !topic.seats.servers().all(|server| quiet.contains(&server))
            })
            .flat_map(|topic| topic.members().iter().map(|member| member.client))
            .collect();
        let seats = self.seats_at(&quiet);
        let mut links = Vec::new();
        for server in quiet {
            let upstream = self.pubsub.upstreams.get_mut(&server);
            let Some(id) = upstream.and_then(|upstream| upstream.link.take()) else { continue };
            let Some(link) = self.links.remove(id) else { continue };
            self.recorder.server(server.index()).connections.decrement();
            // Should it fail, its events name a link that is gone.
            let _ = link.socket.as_ref().map(|socket| self.multiplexor.remove(socket));
            if let Some(target) = self.topology.server(server) {
                links.push((target.address().clone(), link));
            }
        }
        let until_us = self.now_us + PATIENCE_US;
        self.pubsub.succession = Succession::Frozen { until_us, links, seats };
        self.let_down(lost, "what they hear");
    }

    /// What these servers tell about.
    fn seats_at(&self, servers: &BTreeSet<ServerId>) -> SeatsByServer {
        let mut seats = SeatsByServer::new();
        for id in self.pubsub.book.topics() {
            let Some(topic) = self.pubsub.book.topic(id) else { continue };
            let home = topic.seats.home();
            for server in topic.seats.confirmed().filter(|server| servers.contains(server)) {
                if let Some(target) = self.topology.server(server) {
                    let seat = (topic.kind, home == Some(server), topic.name.to_vec());
                    seats.entry(target.address().clone()).or_default().push(seat);
                }
            }
        }
        seats
    }

    /// Whether all that is known of a subscriber fits into a message.
    fn can_go_over(&self, id: ClientId) -> bool {
        self.clients.get(id).is_none_or(|client: &AcceptConnection| {
            client.intake == Intake::Leaving
                && client.owed() == 0
                && client.session.is_none()
                && client.held.is_none()
                && client.merging == 0
                && client.outbox.len() <= UNREAD_MAX
                && client.inbox.as_ref().is_none_or(|inbox| inbox.len() <= INBOX_MAX)
                && !self.insight.monitors.has(id)
        })
    }

    /// Sends over who can go, with all that it hears, and lets the others go.
    fn send_over(&mut self, subscribers: Vec<ClientId>) {
        let (able, unable): (Vec<_>, Vec<_>) =
            subscribers.into_iter().partition(|id| self.can_go_over(*id));
        self.let_down(unable.into_iter().collect(), "what they are doing, or have not read");
        let frozen = mem::replace(&mut self.pubsub.succession, Succession::Gone);
        let Succession::Frozen { links, seats, .. } = frozen else { return };
        for id in able {
            let topics = self.pubsub.book.topics_of(id);
            let topics: Vec<_> = topics.map(|topic| (topic.kind, topic.name.to_vec())).collect();
            // Nobody is told: the links go on hearing it.
            self.pubsub.book.end(id);
            let Some((socket, legacy)) = self.part_with(id) else { continue };
            for topics in lists(topics, |(_, name)| name.len()) {
                self.hand_over(What::Topics(legacy.number, topics), None);
            }
            self.hand_over(What::Subscriber(legacy.to_message()), Some(socket));
        }
        for (server, link) in links {
            let Some(socket) = link.socket else { continue };
            let begun = link.inbox.map_or_else(Vec::new, |inbox| inbox.filled().to_vec());
            self.hand_over(What::Link(server, begun), Some(socket));
        }
        for (server, topics) in seats {
            for topics in lists(topics, |(_, _, name)| name.len()) {
                self.hand_over(What::Seats(server.clone(), topics), None);
            }
        }
        self.hand_over(What::Complete(self.shared.handlers.len()), None);
    }

    fn hand_over(&self, what: What, socket: Option<Socket>) {
        let part = Part { handler: self.index, what };
        self.shared.order(Order::Succession(part, socket));
    }

    /// Lets go who would miss messages.
    fn let_down(&mut self, clients: BTreeSet<ClientId>, why: &str) {
        if clients.is_empty() {
            return;
        }
        let count = clients.len();
        log_notice!(self.log, "h {} upgrade lost {} subscribers:{}", self.index, count, why);
        for id in clients {
            self.drop_client(id, "upgrade");
        }
    }
}

impl Handler {
    /// The process before has subscribers, perhaps: nobody is subscribed before they are here.
    pub(in super::super) fn await_subscribers(&mut self) {
        let until_us = self.now_us + AWAIT_US;
        self.pubsub.succession = Succession::Awaited(Box::new(Awaited {
            until_us,
            estates: BTreeMap::new(),
            complete: BTreeSet::new(),
        }));
        self.deadlines.advance(Chore::Channels, until_us);
    }

    /// Something has come from the process before.
    pub(in super::super) fn take_part(&mut self, part: Part, socket: Option<Socket>) {
        let (index, threads) = (self.index, self.shared.handlers.len());
        let Succession::Awaited(awaited) = &mut self.pubsub.succession else { return };
        if let What::Complete(handlers) = part.what {
            awaited.complete.insert(part.handler);
            let mut ours = (0..handlers).filter(|number| number % threads == index);
            if ours.all(|number| awaited.complete.contains(&number)) {
                self.enter_on_estates();
            }
            return;
        }
        let estate = awaited.estates.entry(part.handler).or_default();
        match (part.what, socket) {
            (What::Subscriber(legacy), Some(socket)) => {
                if let Some(legacy) = Legacy::from_message(&legacy) {
                    estate.subscribers.push((socket, legacy));
                }
            }
            (What::Topics(client, mut topics), _) => {
                estate.topics.entry(client).or_default().append(&mut topics);
            }
            (What::Link(server, begun), Some(socket)) => estate.links.push((server, socket, begun)),
            (What::Seats(server, topics), _) => {
                for (kind, is_home, name) in topics {
                    let seats = estate.seats.entry((kind, name)).or_default();
                    seats.push((server.clone(), is_home));
                }
            }
            (What::Subscriber(_) | What::Link(..) | What::Complete(_), _) => {}
        }
    }

    /// Nothing more comes from the process before, or it is not waited for any longer.
    pub(in super::super) fn await_no_subscribers(&mut self) {
        if self.awaits_subscribers() {
            self.enter_on_estates();
        }
    }

    /// When subscribers of the process before are awaited no longer, in microseconds of the
    /// monotonic clock.
    pub(super) fn await_deadline_us(&self) -> u64 {
        match &self.pubsub.succession {
            Succession::Awaited(awaited) => awaited.until_us,
            _ => u64::MAX,
        }
    }

    /// Goes on with all that has come, and takes requests to be subscribed from now on.
    fn enter_on_estates(&mut self) {
        let awaited = mem::take(&mut self.pubsub.succession);
        let Succession::Awaited(awaited) = awaited else { return };
        let Awaited { estates, complete, .. } = *awaited;
        for (handler, estate) in estates {
            // Of one that has not come whole nobody knows what is missing.
            if complete.contains(&handler) {
                self.enter_on(estate);
            } else {
                self.tell_of_lost(estate.subscribers.len(), "the old process is gone");
            }
        }
        self.release_clients();
        self.set_load();
    }

    fn tell_of_lost(&self, count: usize, why: &str) {
        if count > 0 {
            log_notice!(self.log, "h {} upgrade lost {} subscribers:{}", self.index, count, why);
        }
    }

    /// Puts together again what one handler of the process before had.
    fn enter_on(&mut self, estate: Estate) {
        let Estate { subscribers, mut topics, links, seats } = estate;
        let mut servers: BTreeMap<Address, ServerId> = BTreeMap::new();
        for (address, ..) in &links {
            let server = self.topology.find(address);
            // Two links to one server would tell everything twice.
            let is_free = |server: &ServerId| {
                self.pubsub.upstreams.get(server).is_none_or(|upstream| upstream.link.is_none())
            };
            if let Some(server) = server.filter(is_free) {
                servers.insert(address.clone(), server);
            }
        }
        let is_whole = |kind: Kind, name: &Vec<u8>| {
            let at = seats.get(&(kind, name.clone()));
            let is_heard =
                at.is_some_and(|at| at.iter().all(|(address, _)| servers.contains_key(address)));
            is_heard && self.pubsub.book.find(kind, name).is_none()
        };
        let (mut welcome, mut lost) = (Vec::new(), 0);
        for (socket, legacy) in subscribers {
            let topics = topics.remove(&legacy.number).unwrap_or_default();
            if topics.iter().all(|(kind, name)| is_whole(*kind, name)) {
                welcome.push((socket, legacy, topics));
            } else {
                lost += 1;
            }
        }
        self.tell_of_lost(lost, "too few threads, or a server that is not known");
        let (mut clients, mut adopted) = (Vec::new(), BTreeMap::new());
        for (socket, legacy, topics) in welcome {
            let Some(id) = self.welcome(socket, legacy) else { continue };
            for (kind, name) in topics {
                let topic = self.pubsub.book.adopt(id, kind, &name);
                adopted.insert((kind, name), topic);
            }
            self.note_subscriber(id);
            clients.push(id);
        }
        let mut begun = Vec::new();
        for (address, socket, bytes) in links {
            if let Some(server) = servers.get(&address)
                && let Some(link) = self.adopt_upstream(*server, socket)
            {
                begun.push((link, bytes));
            }
        }
        self.adopt_seats(&servers, seats, &adopted);
        for id in clients {
            self.judge_subscriber(id);
        }
        for (link, bytes) in begun {
            self.take_messages(&bytes, link, 0, bytes.len());
            self.eager_links.push(link);
        }
    }

    /// Who tells about what goes on as it was, until somebody else is found to be right.
    fn adopt_seats(
        &mut self,
        servers: &BTreeMap<Address, ServerId>,
        seats: SeatsByTopic,
        adopted: &BTreeMap<(Kind, Vec<u8>), TopicId>,
    ) {
        for ((kind, name), at) in seats {
            let at =
                at.iter().filter_map(|(address, is_home)| Some((*servers.get(address)?, *is_home)));
            let at: Vec<(ServerId, bool)> = at.collect();
            let topic = adopted.get(&(kind, name.clone()));
            match topic.and_then(|topic| Some((*topic, self.pubsub.book.topic_mut(*topic)?))) {
                Some((id, topic)) => {
                    at.iter().for_each(|(server, is_home)| topic.seats.adopt(*server, *is_home));
                    self.seat(id);
                }
                // Everybody who heard it was left behind.
                None => at.iter().for_each(|(server, _)| self.give_up_topic(*server, kind, &name)),
            }
        }
    }

    /// Goes on being told messages on a connection of the process before.
    fn adopt_upstream(&mut self, server: ServerId, socket: Socket) -> Option<LinkId> {
        let id = self.adopt_link(server, socket)?;
        let upstream = self.pubsub.upstreams.get_or_insert_with(server, Default::default);
        upstream.link = Some(id);
        upstream.idle_us = 0;
        self.deadlines.advance(Chore::Channels, self.now_us + super::upstream::QUIET_US);
        Some(id)
    }
}

/// A list in pieces, none of which takes much more than [`LIST_MAX`] bytes.
fn lists<T>(all: Vec<T>, length: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut lists, mut list, mut bytes) = (Vec::new(), Vec::new(), 0);
    for one in all {
        bytes += length(&one) + 64;
        list.push(one);
        if bytes >= LIST_MAX {
            lists.push(mem::take(&mut list));
            bytes = 0;
        }
    }
    if !list.is_empty() {
        lists.push(list);
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_go_in_pieces_and_nothing_is_left_out() {
        assert!(lists(Vec::<u8>::new(), |_| 0).is_empty());
        let all: Vec<usize> = (0..10).map(|n| n * LIST_MAX / 5).collect();
        let pieces = lists(all.clone(), |n| *n);
        assert!(pieces.len() > 3);
        assert!(pieces.iter().all(|piece| {
            let but_the_last: usize = piece[..piece.len() - 1].iter().map(|n| n + 64).sum();
            but_the_last < LIST_MAX
        }));
        assert_eq!(pieces.concat(), all);
    }
}
