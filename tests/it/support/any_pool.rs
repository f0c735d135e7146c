//! The same test on every kind of pool: a cluster, two groups, and one server by itself.

use super::{Client, Proxy, RedisCluster, RedisServer};

/// A proxy with servers of its own behind it, so that a test may count or drop all keys.
pub struct AnyPool {
    // Dropped in this order: the proxy before its servers.
    /// The proxy, with two threads.
    pub proxy: Proxy,
    servers: Servers,
}

enum Servers {
    Cluster(RedisCluster),
    Groups(Vec<RedisServer>),
}

impl AnyPool {
    /// Two masters of a cluster.
    pub fn cluster() -> AnyPool {
        let cluster = RedisCluster::start(2, 0);
        AnyPool { proxy: Proxy::for_cluster(&cluster), servers: Servers::Cluster(cluster) }
    }

    /// So many groups of one server each, with more lines in front of the pool.
    pub fn groups(count: usize, lines: &str) -> AnyPool {
        let servers: Vec<RedisServer> = (0..count).map(|_| RedisServer::start()).collect();
        let addresses: Vec<String> = servers.iter().map(RedisServer::address).collect();
        let proxy = Proxy::start(&format!("WorkerThreads 2\n{lines}\n{}", groups_conf(&addresses)));
        AnyPool { proxy, servers: Servers::Groups(servers) }
    }

    /// Each kind there is, one after the other.
    pub fn each(check: impl Fn(&AnyPool)) {
        check(&AnyPool::cluster());
        check(&AnyPool::groups(2, ""));
        check(&AnyPool::groups(1, ""));
    }

    /// A connection to each master, past the proxy.
    pub fn masters(&self) -> Vec<Client> {
        match &self.servers {
            Servers::Cluster(cluster) => (0..2).map(|index| cluster.node(index).client()).collect(),
            Servers::Groups(servers) => servers.iter().map(RedisServer::client).collect(),
        }
    }
}

/// A pool with one group for each of these addresses, with four databases.
pub fn groups_conf(addresses: &[String]) -> String {
    let blocks = addresses
        .iter()
        .enumerate()
        .map(|(index, address)| format!("    Group g{index} {{\n        + {address}\n    }}\n"));
    let blocks: String = blocks.collect();
    format!(
        "StandaloneServerPool {{\n    RefreshMethod fixed\n    Databases 4\n    \
         Hash crc16\n    Distribution modula\n{blocks}}}\n"
    )
}
