//! CLUSTER: what a client of a cluster asks to find its way, answered for the proxy as a whole.
//!
//! `cluster_view.rs` has the words. What concerns the keys of one slot is asked from its owner.

use super::super::accept_connection::AcceptConnection;
use super::super::cluster_view::{self, Coverage, Node};
use super::super::replies;
use super::super::request::ClientId;
use super::Handler;
use super::dispatch::Request;
use super::waiting_room::Parcel;
use crate::conf::{Bind, ProxyProtocol};
use crate::pool::{Place, SLOTS, ServerGroup, Slot};
use crate::resp::command::ClusterCommand;
use crate::resp::writer::{Protocol, Sink};

const HELP: &[&str] = &[
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "COUNT-FAILURE-REPORTS <node-id>",
    "    Return number of failure reports for <node-id>.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored in a slot.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "LINKS",
    "    Return information about all network links to other nodes: there are none.",
    "MYID",
    "    Return the node id.",
    "MYSHARDID",
    "    Return the node's shard id.",
    "NODES",
    "    Return the cluster as clients of the proxy see it. Output format:",
    "    <id> <ip:port@bus-port[,hostname]> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
    "REPLICAS <node-id>",
    "    Return <node-id> replicas.",
    "SLOTS",
    "    Return information about slots range mappings. Each range is made of:",
    "    start, end, master and replicas IP addresses, ports and ids",
    "SHARDS",
    "    Return information about slot range mappings and the nodes associated with them.",
    "HELP",
    "    Print this help.",
];

impl Handler {
    pub(super) fn cluster_command(&mut self, command: ClusterCommand, request: &Request<'_>) {
        match command {
            ClusterCommand::CountKeysInSlot | ClusterCommand::GetKeysInSlot => {
                return self.ask_owner_of_slot(command, request);
            }
            _ => {}
        }
        self.recorder.handler().total_requests.increment();
        self.recorder.handler().total_responses.increment();
        let mut reply = Vec::new();
        self.write_cluster_reply(command, request, &mut reply);
        self.answer_own(request.client, request.sequence, &reply);
    }

    fn write_cluster_reply(
        &self,
        command: ClusterCommand,
        request: &Request<'_>,
        reply: &mut Vec<u8>,
    ) {
        let client = self.clients.get(request.client);
        let protocol = client.map_or(Protocol::Resp2, |client| client.lane.protocol());
        match command {
            ClusterCommand::KeySlot => {
                reply.integer(Slot::of_key(request.argument(2)).number().into());
            }
            ClusterCommand::Help => {
                reply.array(HELP.len());
                for line in HELP {
                    reply.simple(line);
                }
            }
            ClusterCommand::Info => {
                reply.text(cluster_view::info(self.coverage()).as_bytes(), protocol);
            }
            ClusterCommand::Links => reply.put(replies::EMPTY_ARRAY),
            _ => match self.own_node(request.client) {
                Some(node) => write_node_reply(&node, command, request, protocol, reply),
                None => {
                    reply.error(NO_ADDRESS);
                }
            },
        }
    }

    /// How the proxy looks to a client: under the address that is announced, or else under the
    /// one that the client has reached us by. Who came through a Unix socket is on this host,
    /// and is told where it could reach us by TCP, if it could.
    pub(super) fn own_node(&self, client: ClientId) -> Option<Node> {
        let conf = &self.settings.conf;
        if let Some(address) = &conf.announce {
            return Node::at(address);
        }
        let reached = self.clients.get(client).and_then(AcceptConnection::reached_at);
        reached.map(Node::at_ip).or_else(|| {
            // Where a header comes first only proxies are welcome.
            let is_open = |bind: &&Bind| bind.proxy_protocol == ProxyProtocol::No;
            let binds = conf.binds.iter().filter(is_open);
            binds.filter_map(|bind| cluster_view::reachable_here(&bind.address)).next()
        })
    }

    /// How many of the slots somebody serves. In a pool of groups slots mean nothing: all are
    /// served as long as some group is.
    fn coverage(&self) -> Coverage {
        let is_well = |group: &&ServerGroup| {
            let master = group.master().and_then(|master| self.topology.server(master));
            master.is_some_and(|master| !master.is_down() && !master.health().is_failed())
        };
        let groups = self.topology.groups();
        if !self.topology.is_cluster() {
            let failed = if groups.iter().any(|group| is_well(&group)) { 0 } else { SLOTS };
            return Coverage { assigned: SLOTS, failed };
        }
        let assigned = groups.iter().map(ServerGroup::slots).sum();
        let served: usize = groups.iter().filter(is_well).map(ServerGroup::slots).sum();
        Coverage { assigned, failed: assigned - served }
    }

    /// CLUSTER COUNTKEYSINSLOT and GETKEYSINSLOT.
    fn ask_owner_of_slot(&mut self, command: ClusterCommand, request: &Request<'_>) {
        let (client, sequence) = (request.client, request.sequence);
        let number = |index| integer(request.argument(index));
        let is_count = command == ClusterCommand::CountKeysInSlot;
        let (slot, most) = match (number(2), if is_count { Some(0) } else { number(3) }) {
            (Some(slot), Some(most)) => (slot, most),
            _ => return self.answer(client, sequence, replies::NOT_AN_INTEGER),
        };
        let slot = u64::try_from(slot).ok().and_then(Slot::new).filter(|_| most >= 0);
        let Some(slot) = slot else {
            let error = if is_count { INVALID_SLOT } else { INVALID_SLOT_OR_COUNT };
            return self.answer(client, sequence, error);
        };
        if !self.topology.is_cluster() {
            return self.refuse(client, sequence, |text| text.put(NO_CLUSTER));
        }
        let parcel = request.parcel(Place::Slot(slot), self.now_us);
        self.send_or_wait(Parcel { master: true, ..parcel });
    }
}

/// What concerns the one node that there is.
fn write_node_reply(
    node: &Node,
    command: ClusterCommand,
    request: &Request<'_>,
    protocol: Protocol,
    reply: &mut Vec<u8>,
) {
    let id = node.id();
    match command {
        ClusterCommand::Slots => node.slots(protocol, reply),
        ClusterCommand::Shards => node.shards(protocol, reply),
        ClusterCommand::Nodes => {
            reply.text(node.nodes().as_bytes(), protocol);
        }
        ClusterCommand::MyId => {
            reply.bulk(id.as_bytes());
        }
        ClusterCommand::MyShardId => {
            reply.bulk(node.shard_id().as_bytes());
        }
        _ if request.argument(2) != id.as_bytes() => {
            reply.error_bytes(&[b"ERR Unknown node ", request.argument(2)].concat());
        }
        ClusterCommand::CountFailureReports => {
            reply.integer(0);
        }
        _ => reply.put(replies::EMPTY_ARRAY),
    }
}

/// There is no address that a client of a cluster could connect to.
const NO_ADDRESS: &str = "ERR the proxy has no TCP address that it could tell: set AnnounceAddr in \
                          its configuration";
/// Slots are a matter of clusters.
const NO_CLUSTER: &[u8] =
    b"ERR the servers behind the proxy are no cluster: nobody keeps keys by slot";
const INVALID_SLOT: &[u8] = b"-ERR Invalid slot\r\n";
const INVALID_SLOT_OR_COUNT: &[u8] = b"-ERR Invalid slot or number of keys\r\n";

/// A number as Redis reads it: no blanks, no plus, no leading zeros.
fn integer(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = text.strip_prefix('-').unwrap_or(text);
    let is_plain =
        plain.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !plain.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}
