//! Every kind of pool at once, each with servers of its own, and with two threads.

use super::{Proxy, RedisCluster, RedisServer, Watched, groups_conf};

/// One proxy for each kind of pool. Keys with a hash tag go by it on all of them.
pub struct EveryPool {
    /// Each with the name of its kind.
    pub pools: Vec<(&'static str, Proxy)>,
    // Dropped in this order: the proxies before their servers.
    _servers: (Vec<RedisServer>, Watched, RedisCluster),
}

/// How many databases a pool has that is no cluster.
pub const DATABASES: &str = "4";

impl EveryPool {
    /// Starts a cluster of three masters, one group, two groups that are found by `crc16` and by
    /// `atol`, and two groups behind a Sentinel.
    pub fn start() -> EveryPool {
        let servers: Vec<RedisServer> =
            (0..5).map(|_| RedisServer::start_with(&["--databases", DATABASES])).collect();
        let watched = Watched::start(1, 2, 1);
        let cluster = RedisCluster::start(3, 0);
        let addresses: Vec<String> = servers.iter().map(RedisServer::address).collect();
        let start = |conf: &str| Proxy::start(&format!("WorkerThreads 2\n{conf}"));
        let groups = |range: std::ops::Range<usize>, hash: &str| {
            let conf = groups_conf(&addresses[range]).replace("Hash crc16", hash);
            start(&conf.replace("Databases 4", "Databases 4\n    HashTag \"{}\""))
        };
        let pools = vec![
            ("cluster", Proxy::for_cluster(&cluster)),
            ("one group", groups(0..1, "Hash crc16")),
            ("two groups", groups(1..3, "Hash crc16")),
            ("two groups by atol", groups(3..5, "Hash atol")),
            ("Sentinel", start(&watched.conf("    Databases 4"))),
        ];
        pools[4].1.wait_for_servers(2);
        EveryPool { pools, _servers: (servers, watched, cluster) }
    }

    /// The proxy of one kind of pool.
    #[track_caller]
    pub fn proxy(&self, name: &str) -> &Proxy {
        &self.pools.iter().find(|(known, _)| *known == name).expect("a kind of pool").1
    }

    /// A server that sees as many databases as clients of this pool.
    pub fn oracle_for(name: &str) -> RedisServer {
        let databases = if name == "cluster" { "1" } else { DATABASES };
        RedisServer::start_with(&["--databases", databases])
    }
}
