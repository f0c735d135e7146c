//! The cluster as which the proxy presents itself: one master that owns every slot.
//!
//! A client that knows clusters asks any node who owns what, and goes there. Here the answer is
//! always the same: everything is at one address, the proxy's own. It knows values only; which
//! address that is, and how the servers are, others find out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::address::Address;
use crate::base::random::Random;
use crate::pool::SLOTS;
use crate::resp::writer::{Protocol, Sink};

/// The one node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    host: String,
    port: u16,
    /// The host is a name, not a number.
    is_name: bool,
}

/// How many of the slots have an owner, and how many of those owners are taken for dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Slots that somebody owns.
    pub assigned: usize,
    /// Those of them whose owner has failed.
    pub failed: usize,
}

impl Node {
    /// The node at an address that clients can connect to; none for the path of a Unix socket.
    #[must_use]
    pub fn at(address: &Address) -> Option<Node> {
        match address {
            Address::Ip(address) => Some(Node::at_ip(*address)),
            Address::Host { name, port } => {
                Some(Node { host: name.to_string(), port: *port, is_name: true })
            }
            Address::Unix(_) => None,
        }
    }

    /// The node at a numeric address.
    #[must_use]
    pub fn at_ip(address: SocketAddr) -> Node {
        Node { host: address.ip().to_string(), port: address.port(), is_name: false }
    }

    /// What names it. It follows from the address, so that all proxies behind one announced
    /// address are the same node, also after a restart, and those at different ones are not.
    #[must_use]
    pub fn id(&self) -> String {
        self.digest(0)
    }

    /// What names its shard, which nobody else is in.
    #[must_use]
    pub fn shard_id(&self) -> String {
        self.digest(1)
    }

    /// CLUSTER SLOTS.
    pub fn slots(&self, protocol: Protocol, reply: &mut Vec<u8>) {
        reply.array(1).array(3).integer(0).integer(LAST_SLOT);
        reply.array(4).bulk(self.host.as_bytes()).integer(self.port.into());
        reply.bulk(self.id().as_bytes()).map(0, protocol);
    }

    /// CLUSTER SHARDS.
    pub fn shards(&self, protocol: Protocol, reply: &mut Vec<u8>) {
        let host = self.host.as_bytes();
        reply.array(1).map(2, protocol);
        reply.bulk(b"slots").array(2).integer(0).integer(LAST_SLOT);
        reply.bulk(b"nodes").array(1).map(7 + usize::from(self.is_name), protocol);
        reply.bulk(b"id").bulk(self.id().as_bytes());
        reply.bulk(b"port").integer(self.port.into());
        reply.bulk(b"ip").bulk(host);
        reply.bulk(b"endpoint").bulk(host);
        if self.is_name {
            reply.bulk(b"hostname").bulk(host);
        }
        reply.bulk(b"role").bulk(b"master");
        reply.bulk(b"replication-offset").integer(0);
        reply.bulk(b"health").bulk(b"online");
    }

    /// CLUSTER NODES. The bus port is 0, because there is no bus.
    pub fn nodes(&self) -> String {
        let Node { host, port, is_name } = self;
        let name = if *is_name { format!(",{host}") } else { String::new() };
        format!(
            "{} {host}:{port}@0{name} myself,master - 0 0 0 connected 0-{LAST_SLOT}\n",
            self.id()
        )
    }

    fn digest(&self, salt: u64) -> String {
        // FNV-1a: the same everywhere and for ever, which the hashes of std do not promise.
        let text = format!("{}:{}", self.host, self.port);
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Random::new(hash.wrapping_add(salt)).hex(ID_DIGITS)
    }
}

/// Where a process on this host reaches a listener; none for a Unix socket. Every address of the
/// host is also its loopback.
#[must_use]
pub fn reachable_here(bind: &Address) -> Option<Node> {
    match bind {
        Address::Host { name, port } if &**name == "*" => {
            Some(Node::at_ip((Ipv4Addr::LOCALHOST, *port).into()))
        }
        Address::Ip(address) if address.ip().is_unspecified() => {
            let loopback: IpAddr = match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            Some(Node::at_ip((loopback, address.port()).into()))
        }
        other => Node::at(other),
    }
}

/// CLUSTER INFO.
#[must_use]
pub fn info(coverage: Coverage) -> String {
    let Coverage { assigned, failed } = coverage;
    let state = if assigned == SLOTS && failed == 0 { "ok" } else { "fail" };
    let ok = assigned.saturating_sub(failed);
    format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{ok}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:{failed}\r\ncluster_known_nodes:1\r\n\
         cluster_size:1\r\ncluster_current_epoch:0\r\ncluster_my_epoch:0\r\n\
         cluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n"
    )
}

/// The number of the last slot.
const LAST_SLOT: i64 = SLOTS as i64 - 1;

/// The length of an id, in hexadecimal digits.
pub const ID_DIGITS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(address: &str) -> Node {
        Node::at(&Address::parse(address).unwrap()).unwrap()
    }

    #[test]
    fn an_id_follows_from_the_address() {
        let (one, other) = (node("10.0.0.1:7617"), node("10.0.0.1:7618"));
        assert_eq!(one.id(), node("10.0.0.1:7617").id());
        assert_eq!(one.id(), "a5ca24ae720c82240a491bd9b53b6c5508068b62");
        assert_ne!(one.id(), other.id());
        assert_ne!(one.id(), one.shard_id());
        for id in [one.id(), one.shard_id(), other.id()] {
            assert!(id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }

    #[test]
    fn all_slots_are_at_one_address() {
        let node = node("[::1]:7617");
        let (id, mut reply) = (node.id(), Vec::new());
        node.slots(Protocol::Resp2, &mut reply);
        let want = format!(
            "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$3\r\n::1\r\n:7617\r\n$40\r\n{id}\r\n*0\r\n"
        );
        assert_eq!(String::from_utf8(reply).unwrap(), want);
        assert_eq!(
            node.nodes(),
            format!("{id} ::1:7617@0 myself,master - 0 0 0 connected 0-16383\n")
        );
    }

    #[test]
    fn a_name_is_announced_as_a_name() {
        let node = node("Cache.example:6379");
        assert!(node.nodes().contains(" cache.example:6379@0,cache.example myself,master "));
        let mut reply = Vec::new();
        node.shards(Protocol::Resp3, &mut reply);
        let reply = String::from_utf8(reply).unwrap();
        assert!(reply.contains("$8\r\nhostname\r\n$13\r\ncache.example\r\n"), "{reply}");
        assert!(reply.contains("%8\r\n"), "{reply}");
        assert_eq!(Node::at(&Address::parse("/run/predixy").unwrap()), None);
    }

    #[test]
    fn a_cluster_is_well_when_all_slots_are_served() {
        let state = |assigned, failed| {
            let text = info(Coverage { assigned, failed });
            text.lines().next().unwrap().to_owned()
        };
        assert_eq!(state(SLOTS, 0), "cluster_state:ok");
        assert_eq!(state(SLOTS - 1, 0), "cluster_state:fail");
        assert_eq!(state(SLOTS, 1), "cluster_state:fail");
        let text = info(Coverage { assigned: 16000, failed: 1000 });
        assert!(text.contains(
            "cluster_slots_ok:15000\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:1000"
        ));
    }
}
