//! A real Redis Cluster on loopback, and the things that happen to one.

use std::time::Duration;

use super::{Client, RedisServer, SOON, Value, wait_until, wait_until_told};

/// Masters first, in the order of their slots, then the replicas of the first, of the second and so
/// on.
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    ids: Vec<String>,
    masters: usize,
    replicas_each: usize,
    node_timeout: Duration,
}

impl RedisCluster {
    /// Starts a cluster that does not fail over by itself while a test runs.
    pub fn start(masters: usize, replicas_each: usize) -> RedisCluster {
        RedisCluster::start_with(masters, replicas_each, Duration::from_secs(60))
    }

    /// Starts a cluster whose nodes are given up after `node_timeout`.
    pub fn start_with(
        masters: usize,
        replicas_each: usize,
        node_timeout: Duration,
    ) -> RedisCluster {
        let count = masters * (1 + replicas_each);
        let nodes: Vec<RedisServer> = (0..count).map(|_| start_node(node_timeout)).collect();
        let ids = nodes.iter().map(|node| node.client().line("CLUSTER MYID").text()).collect();
        let cluster = RedisCluster { nodes, ids, masters, replicas_each, node_timeout };
        cluster.join();
        cluster
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node by its place.
    pub fn node(&self, index: usize) -> &RedisServer {
        &self.nodes[index]
    }

    /// A node by its place, to kill or restart it.
    pub fn node_mut(&mut self, index: usize) -> &mut RedisServer {
        &mut self.nodes[index]
    }

    /// The id of a node.
    pub fn id(&self, index: usize) -> &str {
        &self.ids[index]
    }

    /// The place of the first replica of a master.
    pub fn replica_of(&self, master: usize) -> usize {
        self.masters + master * self.replicas_each
    }

    /// The slots that a master was given, end excluded.
    pub fn slots_of(&self, master: usize) -> std::ops::Range<u16> {
        range(master, self.masters)
    }

    /// A key that begins with `prefix` and belongs to this master.
    pub fn key_on(&self, master: usize, prefix: &str) -> String {
        key_in_slots(self.slots_of(master), prefix)
    }

    /// A configuration for it with all nodes as seeds, as little as is needed.
    pub fn conf(&self) -> String {
        self.conf_with("")
    }

    /// The same with more lines inside the pool.
    pub fn conf_with(&self, lines: &str) -> String {
        let servers: String =
            self.nodes.iter().map(|node| format!("        + {}\n", node.address())).collect();
        format!("ClusterServerPool {{\n{lines}\n    Servers {{\n{servers}    }}\n}}\n")
    }

    /// Moves one slot with its keys to another master, step by step as `redis-cli --cluster
    /// reshard` does.
    pub fn migrate_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_migration(slot, from, to);
        while self.migrate_keys(slot, from, to, 10) > 0 {}
        self.end_migration(slot, from, to);
    }

    /// Marks a slot as being on its way.
    pub fn begin_migration(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (&self.ids[from], &self.ids[to]);
        expect_ok(
            &mut self.nodes[to].client(),
            &format!("CLUSTER SETSLOT {slot} IMPORTING {source}"),
        );
        expect_ok(
            &mut self.nodes[from].client(),
            &format!("CLUSTER SETSLOT {slot} MIGRATING {target}"),
        );
    }

    /// Moves up to `count` keys of a slot, and tells how many there were.
    pub fn migrate_keys(&self, slot: u16, from: usize, to: usize, count: usize) -> usize {
        let mut source = self.nodes[from].client();
        let keys = source.line(&format!("CLUSTER GETKEYSINSLOT {slot} {count}"));
        let keys: Vec<String> = keys.elements().iter().map(Value::text).collect();
        if !keys.is_empty() {
            let port = self.nodes[to].port().to_string();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "10000", "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            let reply = source.cmd(&words);
            assert!(matches!(reply, Value::Simple(_)), "MIGRATE: {reply:?}");
        }
        keys.len()
    }

    /// Makes the new owner known: first to itself, then to the old one, then to the others.
    pub fn end_migration(&self, slot: u16, from: usize, to: usize) {
        let owner = format!("CLUSTER SETSLOT {slot} NODE {}", self.ids[to]);
        let is_other = |node: &usize| *node != from && *node != to && self.is_master(*node);
        for master in [to, from].into_iter().chain((0..self.len()).filter(is_other)) {
            let reply = self.nodes[master].client().line(&owner);
            // Whoever has lost its last slot has become a replica of the new owner by now.
            let knows = master == from && reply == super::error(REPLICA);
            assert!(knows || reply == super::ok(), "{owner}: {reply:?}");
        }
        self.wait_until_epoch_is_known(to, from);
    }

    /// Waits until a node knows the configuration epoch of another. Who takes a slot back takes a
    /// greater epoch than all that it knows of: without this wait perhaps none than that of the owner
    /// from whom it takes it, which then wins the slot again as soon as the two hear of each other.
    fn wait_until_epoch_is_known(&self, of: usize, by: usize) {
        let epoch = |node: usize| {
            let nodes = self.nodes[node].client().line("CLUSTER NODES").text();
            let line = nodes.lines().find(|line| line.starts_with(self.id(of)));
            line.and_then(|line| line.split(' ').nth(6)).map(str::to_owned)
        };
        let own = epoch(of);
        wait_until_told(SOON, "the old owner to know the epoch of the new one", || {
            let known = epoch(by);
            if known == own { Ok(()) } else { Err(format!("{known:?} instead of {own:?}")) }
        });
    }

    /// Makes a replica take over from its master, both alive, and waits until it has.
    pub fn fail_over_to(&self, replica: usize) {
        let mut client = self.nodes[replica].client();
        wait_until(SOON, "the replica to be in step", || {
            client.line("INFO replication").text().contains("master_link_status:up")
        });
        // A master that does not know that it is its replica would not listen to it.
        let is_replica = |line: &str| line.starts_with(self.id(replica)) && line.contains("slave");
        for node in &self.nodes {
            let mut client = node.client();
            wait_until(SOON, "all to know that it is a replica", || {
                client.line("CLUSTER NODES").text().lines().any(is_replica)
            });
        }
        expect_ok(&mut client, "CLUSTER FAILOVER");
        wait_until(SOON, "the replica to be master", || is_master(&mut client));
    }

    /// Starts one more master, without slots, and waits until all know it; tells its place.
    pub fn add_master(&mut self) -> usize {
        let node = start_node(self.node_timeout);
        let mut client = node.client();
        let id = client.line("CLUSTER MYID").text();
        expect_ok(&mut client, &format!("CLUSTER SET-CONFIG-EPOCH {}", self.len() + 100));
        expect_ok(&mut client, &format!("CLUSTER MEET 127.0.0.1 {}", self.nodes[0].port()));
        self.nodes.push(node);
        self.ids.push(id);
        for node in &self.nodes {
            let mut client = node.client();
            wait_until(SOON, "every node to know the new one", || {
                let nodes = client.line("CLUSTER NODES").text();
                nodes.lines().count() == self.len()
                    && !nodes.contains("handshake")
                    && client.line("CLUSTER INFO").text().contains("cluster_state:ok")
            });
        }
        self.len() - 1
    }

    /// Makes all others forget the node that came last, and ends it.
    pub fn forget_last(&mut self) {
        let (Some(mut node), Some(id)) = (self.nodes.pop(), self.ids.pop()) else { return };
        for other in &self.nodes {
            expect_ok(&mut other.client(), &format!("CLUSTER FORGET {id}"));
        }
        node.kill();
    }

    /// Whether a node, which must be there, is a master now.
    pub fn is_master(&self, node: usize) -> bool {
        is_master(&mut self.nodes[node].client())
    }

    /// Waits until all nodes are there and know it, and all replicas are in step.
    #[track_caller]
    pub fn wait_until_well(&self) {
        for node in &self.nodes {
            let mut client = node.client();
            wait_until_told(SOON, "every node to know that all is well", || {
                let nodes = client.line("CLUSTER NODES").text();
                let is_well = self.is_settled(&mut client)
                    && !nodes.contains("fail")
                    && !nodes.contains("disconnected");
                if is_well { Ok(()) } else { Err(format!("port {}: {nodes}", node.port())) }
            });
            wait_until_told(SOON, "every replica to be in step", || {
                let told = client.line("INFO replication").text();
                let is_well =
                    told.contains("role:master") || told.contains("master_link_status:up");
                if is_well { Ok(()) } else { Err(format!("port {}: {told}", node.port())) }
            });
        }
    }

    fn join(&self) {
        let mut clients: Vec<Client> = self.nodes.iter().map(RedisServer::client).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            expect_ok(client, &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1));
            if index < self.masters {
                let slots = range(index, self.masters).map(|slot| slot.to_string());
                let words: Vec<String> =
                    ["CLUSTER", "ADDSLOTS"].map(str::to_owned).into_iter().chain(slots).collect();
                assert_eq!(client.cmd(&words), super::ok());
            }
        }
        for node in &self.nodes[1..] {
            expect_ok(&mut clients[0], &format!("CLUSTER MEET 127.0.0.1 {}", node.port()));
        }
        for (index, client) in clients.iter_mut().enumerate().skip(self.masters) {
            let master = (index - self.masters) / self.replicas_each;
            let replicate = format!("CLUSTER REPLICATE {}", self.ids[master]);
            wait_until(SOON, "the replica to know its master", || {
                client.line(&replicate) == super::ok()
            });
        }
        for client in &mut clients {
            wait_until(SOON, "every node to know the whole cluster", || self.is_settled(client));
        }
        for client in &mut clients[self.masters..] {
            let online =
                || client.line("INFO replication").text().contains("master_link_status:up");
            wait_until(SOON, "the replica to be in step", online);
        }
    }

    fn is_settled(&self, client: &mut Client) -> bool {
        let nodes = client.line("CLUSTER NODES").text();
        let replicas = nodes.lines().filter(|line| line.contains("slave")).count();
        client.line("CLUSTER INFO").text().contains("cluster_state:ok")
            && nodes.lines().count() == self.len()
            && replicas == self.len() - self.masters
            && !nodes.contains("handshake")
    }
}

const REPLICA: &str = "ERR Please use SETSLOT only with masters.";

/// The slot of a key.
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let length = key[open + 1..].iter().position(|&byte| byte == b'}')?;
        (length > 0).then(|| &key[open + 1..open + 1 + length])
    });
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key)) % 16384
}

/// A key that begins with `prefix` and falls into one of these slots.
pub fn key_in_slots(slots: std::ops::Range<u16>, prefix: &str) -> String {
    let mut keys = (0..).map(|number| format!("{prefix}{number}"));
    keys.find(|key| slots.contains(&slot_of(key.as_bytes()))).expect("endless numbers")
}

fn start_node(timeout: Duration) -> RedisServer {
    let timeout = timeout.as_millis().to_string();
    let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", &timeout];
    let more = ["--cluster-replica-validity-factor", "0", "--repl-ping-replica-period", "1"];
    RedisServer::start_with(&[options, more].concat())
}

fn range(master: usize, masters: usize) -> std::ops::Range<u16> {
    let cut = |index: usize| u16::try_from(16384 * index / masters).expect("a slot number");
    cut(master)..cut(master + 1)
}

fn is_master(client: &mut Client) -> bool {
    client.line("ROLE").elements()[0] == super::bulk("master")
}

#[track_caller]
fn expect_ok(client: &mut Client, line: &str) {
    assert_eq!(client.line(line), super::ok(), "{line}");
}
