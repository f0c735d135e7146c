//! INFO: predixy's sections as predixy shows them, and those of Redis under Redis's names.

use std::collections::BTreeMap;

use crate::support::{
    AnyPool, Client, Proxy, RedisServer, SOON, Value, array, bulk, error, groups_conf, ok,
    original_differs, simple, wait_until,
};

fn skip() -> bool {
    original_differs("knows its own sections only")
}

/// The fields of a section by their names.
fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect()
}

#[track_caller]
fn number(fields: &BTreeMap<String, String>, name: &str) -> u64 {
    let value = fields.get(name).unwrap_or_else(|| panic!("no {name} in {fields:?}"));
    value.parse().unwrap_or_else(|_| panic!("{name} is {value}"))
}

#[track_caller]
fn info(client: &mut Client, sections: &str) -> String {
    client.line(format!("INFO {sections}").trim_end()).text()
}

/// What predixy shows comes first, as predixy shows it; nothing of Redis is between.
#[test]
fn predixys_sections_come_first_and_are_as_they_were() {
    if skip() {
        return;
    }
    let pool = AnyPool::groups(
        1,
        "LatencyMonitor all {\n    Commands {\n        + all\n    }\n    TimeSpan {\n        + 100\n    }\n}\n",
    );
    let mut client = pool.proxy.client();
    client.line("SET k v");
    for everything in ["", "all", "default", "everything"] {
        let text = info(&mut client, everything);
        let (predixys, redis) = text.split_once("# Server\r\n").unwrap();
        assert!(!predixys.contains('\r'), "{predixys}");
        let headings: Vec<&str> =
            predixys.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        assert_eq!(headings, ["Proxy", "SystemResource", "Stats", "Servers", "LatencyMonitor"]);
        assert!(redis.split_inclusive('\n').all(|line| line.ends_with("\r\n")), "{redis}");
    }
    for own in ["proxy", "systemresource", "servers", "latencymonitor"] {
        assert!(!info(&mut client, own).contains('\r'), "{own}");
    }
    let proxy = info(&mut client, "proxy");
    let server = info(&mut client, "server");
    let without_time = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with("Uptime")).map(str::to_owned).collect()
    };
    let begin = without_time(&proxy);
    assert_eq!(without_time(&server)[..begin.len()], begin, "INFO server begins as INFO proxy");
    assert_eq!(info(&mut client, "nonsense"), "");
}

#[test]
fn the_keyspace_is_that_of_all_masters() {
    if skip() {
        return;
    }
    AnyPool::each(|pool| {
        let mut client = pool.proxy.client();
        for i in 0..50 {
            assert_eq!(client.cmd(&["SET", &format!("k{i}"), "v"]), ok());
        }
        client.line("EXPIRE k1 1000");
        client.line("EXPIRE k2 1000");
        let text = info(&mut client, "keyspace");
        assert!(text.starts_with("# Keyspace\r\ndb0:keys=50,expires=2,avg_ttl="), "{text}");
        let parts: u64 = (pool.masters().iter_mut())
            .map(|master| {
                let text = master.line("INFO keyspace").text();
                let keys =
                    text.split("keys=").nth(1).map_or("0", |rest| rest.split(',').next().unwrap());
                keys.parse::<u64>().unwrap()
            })
            .sum();
        assert_eq!(parts, 50);
    });
    let pool = AnyPool::groups(2, "");
    let mut client = pool.proxy.client();
    assert_eq!(info(&mut client, "keyspace"), "# Keyspace\r\n");
    for line in ["SELECT 3", "SET k v"] {
        assert_eq!(client.line(line), ok());
    }
    assert!(info(&mut client, "keyspace").starts_with("# Keyspace\r\ndb3:keys=1,expires=0,"));
}

#[test]
fn the_version_is_that_of_the_servers() {
    if skip() {
        return;
    }
    AnyPool::each(|pool| {
        let want = fields(&pool.masters()[0].line("INFO server").text())["redis_version"].clone();
        for sections in ["server", ""] {
            let got = fields(&info(&mut pool.proxy.client(), sections));
            assert_eq!(got["redis_version"], want);
            assert_eq!(got["redis_mode"], "standalone");
            assert_eq!(number(&got, "tcp_port"), pool.proxy.port().into());
            assert_eq!(got["run_id"].len(), 40);
        }
    });
}

#[test]
fn clients_are_those_of_the_proxy() {
    if skip() {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let mut client = pool.proxy.client();
    let mut others: Vec<Client> = (0..6).map(|_| pool.proxy.client()).collect();
    for other in &mut others {
        assert_eq!(other.line("PING"), simple("PONG"));
    }
    // Clients of both threads: of two in each pair one is blocked and the other watches.
    for pair in others.chunks_mut(3) {
        pair[0].send("BLPOP never 0\r\n");
        assert_eq!(pair[1].line("WATCH k"), ok());
    }
    wait_until(SOON, "two clients to be blocked and two to watch", || {
        let clients = fields(&info(&mut client, "clients"));
        number(&clients, "blocked_clients") == 2 && number(&clients, "watching_clients") == 2
    });
    let clients = fields(&info(&mut client, "clients"));
    assert_eq!(number(&clients, "connected_clients"), 7);
    assert!(number(&clients, "maxclients") > 100);
}

#[test]
fn memory_and_commands_are_those_of_the_servers() {
    if skip() {
        return;
    }
    let pool = AnyPool::groups(2, "");
    let mut client = pool.proxy.client();
    for i in 0..20 {
        client.cmd(&["SETRANGE", &format!("k{i}"), "100000", "x"]);
    }
    for i in 0..10 {
        client.cmd(&["GET", &format!("none{i}")]);
    }
    let memory = fields(&info(&mut client, "memory"));
    assert!(number(&memory, "used_memory") > 2_000_000, "{memory:?}");
    assert!(memory["used_memory_human"].ends_with('M'));
    assert_eq!(memory["maxmemory_policy"], "noeviction");
    assert_eq!((number(&memory, "masters_asked"), number(&memory, "masters_answered")), (2, 2));
    let stats = fields(&info(&mut client, "stats"));
    assert_eq!(number(&stats, "keyspace_misses"), 10);
    assert!(number(&stats, "total_commands_processed") >= 30);
    assert!(number(&stats, "TotalRequests") >= 30);
    let commands = info(&mut client, "commandstats");
    assert!(commands.contains("cmdstat_setrange:calls=20,"), "{commands}");
    let persistence = fields(&info(&mut client, "persistence"));
    assert_eq!(persistence["loading"], "0");
    client.line("LPUSH k0 x");
    let errors = info(&mut client, "errorstats");
    // 6.2 has them as well.
    assert!(errors.contains("errorstat_WRONGTYPE:count=1\r\n"), "{errors}");
}

#[test]
fn several_sections_are_shown_once_each() {
    if skip() {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let mut client = pool.proxy.client();
    let headings = |text: String| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect()
    };
    assert_eq!(headings(info(&mut client, "keyspace cpu KEYSPACE")), ["CPU", "Keyspace"]);
    assert_eq!(headings(info(&mut client, "cluster nonsense")), ["Cluster"]);
    assert_eq!(
        headings(info(&mut client, "replication server")),
        ["Proxy", "Server", "Replication"]
    );
    assert!(matches!(client.line("HELLO 3"), Value::Map(_)));
    assert!(matches!(client.line("INFO keyspace"), Value::Verbatim(_)));
    assert!(matches!(client.line("INFO cluster"), Value::Verbatim(_)));
    let replication = fields(&info(&mut client, "replication"));
    assert_eq!(replication["role"], "master");
    assert_eq!(replication["connected_slaves"], "0");
    assert_eq!(fields(&info(&mut client, "cluster"))["cluster_enabled"], "0");
}

/// INFO is what people look at when something is wrong: it must not wait for what is.
#[test]
fn servers_that_are_away_are_left_out() {
    if skip() {
        return;
    }
    let mut servers: Vec<RedisServer> = (0..2).map(|_| RedisServer::start()).collect();
    let addresses: Vec<String> = servers.iter().map(RedisServer::address).collect();
    let proxy = Proxy::start(&groups_conf(&addresses));
    let mut client = proxy.client();
    for server in &servers {
        assert_eq!(server.client().line("SET k v"), ok());
    }
    assert!(info(&mut client, "keyspace").contains("db0:keys=2,"));
    servers[0].kill();
    wait_until(SOON, "one answer less", || info(&mut client, "keyspace").contains("db0:keys=1,"));
    servers[1].pause();
    // Whether the connection stands or not, nobody answers on it.
    let text = info(&mut client, "");
    assert!(text.starts_with("# Proxy\n") && text.contains("masters_answered:0\r\n"), "{text}");
    assert!(text.contains("# Clients\r\nconnected_clients:"), "{text}");
    // What was asked before it comes first, and what comes after it last.
    let replies = client.pipeline(&["PING", "INFO keyspace", "INFO proxy", "PING"]);
    assert_eq!((&replies[0], &replies[3]), (&simple("PONG"), &simple("PONG")));
    assert_eq!(replies[1], bulk("# Keyspace\r\n"));
    servers[1].resume();
    wait_until(SOON, "the answer again", || info(&mut client, "keyspace").contains("db0:keys=1,"));
}

#[test]
fn a_few_settings_of_the_servers_are_told() {
    if skip() {
        return;
    }
    AnyPool::each(|pool| {
        let (mut client, mut real) = (pool.proxy.client(), pool.masters().remove(0));
        for line in [
            "CONFIG GET save",
            "CONFIG GET appendonly",
            "CONFIG GET MaxMemory-Policy",
            "CONFIG GET notify-keyspace-events",
        ] {
            let got = client.line(line);
            assert_eq!(got.elements().len(), 2);
            assert_eq!(got, real.line(line), "{line}");
        }
        for line in ["CONFIG GET requirepass", "CONFIG GET sav*", "CONFIG GET port"] {
            assert_eq!(client.line(line), array([]), "{line}");
        }
        assert_eq!(client.line("CONFIG SET save x"), error("ERR argument wrong"));
    });
    let databases = |pool: &AnyPool| pool.proxy.client().line("CONFIG GET databases");
    assert_eq!(databases(&AnyPool::groups(1, "")), array([bulk("databases"), bulk("4")]));
    assert_eq!(databases(&AnyPool::cluster()), array([bulk("databases"), bulk("1")]));
}

/// Who has no keys of its own must still be able to ask.
#[test]
fn who_may_only_read_some_keys_may_ask() {
    if skip() {
        return;
    }
    let authority =
        "Authority {\n    Auth {\n        Mode read\n        KeyPrefix mine:\n    }\n}\n";
    let pool = AnyPool::groups(1, authority);
    let mut client = pool.proxy.client();
    assert!(info(&mut client, "").contains("redis_version:"));
    assert_eq!(client.line("CONFIG GET save"), error("ERR auth permission deny"));
    let replies = client.pipeline(&["INFO keyspace", "GET mine:none"]);
    assert_eq!(replies[1], Value::Nil);
}
