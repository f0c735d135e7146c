//! `PUBSUB NUMSUB`, `SHARDNUMSUB` and `NUMPAT`: how many are subscribed.
//!
//! Servers count connections, and one of ours stands for all clients of a handler. So what they
//! count of ours is taken away, and our clients are added: the numbers are of those who are
//! subscribed through us, and of all other connections to the servers. While somebody comes or
//! goes the two need not be of the same moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Handler;
use super::super::dispatch::Request;
use crate::base::sorted_map::SortedSet;
use crate::pool::{Place, ServerGroup, ServerId};
use crate::proxy::replies;
use crate::proxy::subscriptions::Kind;
use crate::proxy::whole::{Purpose, Whole};
use crate::resp::command::Merge;
use crate::resp::reply::Reply;
use crate::resp::writer::Sink;

/// What one handler has of one channel.
#[derive(Clone, Copy, Default)]
struct Share {
    clients: i64,
    /// Connections that the servers in question count.
    connections: i64,
}

/// The patterns of a handler, each with the servers that know it.
type Patterns = Vec<(Box<[u8]>, Vec<ServerId>)>;

/// What one server says.
struct Said {
    server: Option<ServerId>,
    reply: Vec<u8>,
}

impl Handler {
    /// Asks all masters first.
    pub(super) fn count_subscribers(&mut self, kind: Kind, request: &Request<'_>) {
        let groups = self.key_groups();
        if groups.is_empty() {
            return self.answer_own(request.client, request.sequence, replies::NO_SERVER);
        }
        let bytes = request.message.bytes;
        self.scatter(Merge::Same, Purpose::Census(kind), groups, request, bytes);
    }

    /// They have answered: now all handlers are asked.
    pub(in super::super) fn finish_census(&mut self, whole: &Whole, kind: Kind) {
        let asker = (whole.client, whole.sequence);
        if let Some(error) = whole.replies().find(|reply| Reply::new(reply).is_error()) {
            let error = error.to_vec();
            return self.answer(asker.0, asker.1, &error);
        }
        let said = (0..).zip(whole.replies()).map(|(part, reply)| {
            let group = match whole.place_of(part) {
                Some(Place::Group(group)) => self.topology.group(group),
                _ => None,
            };
            Said { server: group.and_then(ServerGroup::master), reply: reply.to_vec() }
        });
        let said: Vec<Said> = said.collect();
        if kind == Kind::Pattern {
            let is_cluster = self.topology.is_cluster();
            let finish = move |_: &mut Handler, own| count_patterns(&said, own, is_cluster);
            return self.ask_all(asker, |handler| handler.own_patterns(), finish);
        }
        let names: Vec<Box<[u8]>> = said.first().map_or_else(Vec::new, |said| names(&said.reply));
        let servers: SortedSet<ServerId> = said.iter().filter_map(|said| said.server).collect();
        let (names, servers) = (Arc::new(names), Arc::new(servers));
        let asked = Arc::clone(&names);
        self.ask_all(
            asker,
            move |handler| handler.own_shares(kind, &asked, &servers),
            move |_, own| count_by_name(&names, &said, &own),
        );
    }

    fn own_shares(
        &mut self,
        kind: Kind,
        names: &[Box<[u8]>],
        servers: &SortedSet<ServerId>,
    ) -> Vec<Share> {
        let share = |name: &[u8]| {
            let id = self.pubsub.book.find(kind, name)?;
            let topic = self.pubsub.book.topic(id)?;
            let counted = topic.seats.confirmed().filter(|server| servers.contains(server));
            Some(Share {
                clients: i64::try_from(topic.active()).unwrap_or(i64::MAX),
                connections: i64::try_from(counted.count()).unwrap_or(i64::MAX),
            })
        };
        names.iter().map(|name| share(name).unwrap_or_default()).collect()
    }

    fn own_patterns(&mut self) -> Patterns {
        let topics = self.pubsub.book.of_kind(Kind::Pattern).filter(|topic| topic.active() > 0);
        topics.map(|topic| (topic.name[..].into(), topic.seats.confirmed().collect())).collect()
    }
}

/// The names in the reply to NUMSUB.
fn names(reply: &[u8]) -> Vec<Box<[u8]>> {
    let elements = Reply::new(reply).elements().into_iter().flatten();
    elements.step_by(2).filter_map(|name| Some(name.text()?.into())).collect()
}

fn count_by_name(names: &[Box<[u8]>], said: &[Said], own: &[Vec<Share>]) -> Vec<u8> {
    let mut counts = vec![0_i64; names.len()];
    for said in said {
        let elements = Reply::new(&said.reply).elements().into_iter().flatten();
        let numbers = elements.skip(1).step_by(2).map(|number| number.integer().unwrap_or(0));
        counts.iter_mut().zip(numbers).for_each(|(count, number)| *count += number);
    }
    let mut reply = Vec::new();
    reply.array(2 * names.len());
    for (index, (name, count)) in names.iter().zip(counts).enumerate() {
        let shares = own.iter().filter_map(|shares| shares.get(index));
        let (clients, connections) = shares.fold((0, 0), |(clients, connections), share| {
            (clients + share.clients, connections + share.connections)
        });
        reply.bulk(name).integer((count - connections).max(0) + clients);
    }
    reply
}

/// A server tells how many different patterns it knows, and not which. In a cluster a pattern is
/// known to one node; elsewhere to all groups.
fn count_patterns(said: &[Said], own: Vec<Patterns>, is_cluster: bool) -> Vec<u8> {
    let mut patterns: BTreeMap<Box<[u8]>, SortedSet<ServerId>> = BTreeMap::new();
    for (pattern, servers) in own.into_iter().flatten() {
        let known = patterns.entry(pattern).or_default();
        for server in servers {
            known.insert(server);
        }
    }
    let others = said.iter().map(|said| {
        let ours = patterns
            .values()
            .filter(|servers| said.server.is_some_and(|server| servers.contains(&server)));
        let ours = i64::try_from(ours.count()).unwrap_or(i64::MAX);
        (Reply::new(&said.reply).integer().unwrap_or(0) - ours).max(0)
    });
    let others: i64 = if is_cluster { others.sum() } else { others.max().unwrap_or(0) };
    let mut reply = Vec::new();
    reply.integer(others + i64::try_from(patterns.len()).unwrap_or(i64::MAX));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(index: usize) -> ServerId {
        ServerId::from_index(index).unwrap()
    }

    fn said(index: usize, reply: &str) -> Said {
        Said { server: Some(server(index)), reply: reply.as_bytes().to_vec() }
    }

    #[test]
    fn clients_are_counted_and_not_our_connections() {
        let said = [
            said(1, "*4\r\n$1\r\na\r\n:3\r\n$1\r\nb\r\n:0\r\n"),
            said(2, "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:0\r\n"),
        ];
        let share = |clients, connections| Share { clients, connections };
        let own = [vec![share(10, 1), share(0, 0)], vec![share(5, 2), share(2, 1)]];
        let names = names(&said[0].reply);
        let counted = count_by_name(&names, &said, &own);
        let want = "*4\r\n$1\r\na\r\n:16\r\n$1\r\nb\r\n:2\r\n";
        assert_eq!(String::from_utf8_lossy(&counted), want);
        assert_eq!(count_by_name(&[], &said, &own), b"*0\r\n");
    }

    #[test]
    fn patterns_are_counted_once() {
        let pattern = |name: &str, servers: &[usize]| {
            (name.as_bytes().into(), servers.iter().copied().map(server).collect())
        };
        let own = || {
            vec![vec![pattern("a*", &[1, 2]), pattern("b*", &[1, 2])], vec![pattern("a*", &[1, 2])]]
        };
        let said = [said(1, ":2\r\n"), said(2, ":5\r\n")];
        assert_eq!(count_patterns(&said, own(), false), b":5\r\n");
        assert_eq!(count_patterns(&said, own(), true), b":5\r\n");
        assert_eq!(count_patterns(&said, Vec::new(), false), b":5\r\n");
        assert_eq!(count_patterns(&said, Vec::new(), true), b":7\r\n");
    }
}
