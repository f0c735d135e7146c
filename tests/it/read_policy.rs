//! Which server gets a read: priorities, data centres, weights, and a client's own writes.

use crate::support::{
    Client, Group, Proxy, RedisServer, SOON, Value, Watched, bulk, error, key_in_group, ok,
    original_differs, wait_until, wire,
};

/// A pool of one fixed group.
fn proxy_for(group: &Group, head: &str, lines: &str) -> Proxy {
    let servers: String =
        group.servers.iter().map(|server| format!("        + {}\n", server.address())).collect();
    Proxy::start(&format!(
        "{head}\nStandaloneServerPool {{\n    RefreshMethod fixed\n    ServerFailureLimit 1\n    ServerRetryTimeout 50ms\n{lines}\n    Group g0 {{\n{servers}    }}\n}}\n"
    ))
}

fn priorities(master: u32, replica: u32) -> String {
    format!("    MasterReadPriority {master}\n    StaticSlaveReadPriority {replica}")
}

/// How many GETs a server has had.
fn reads(server: &RedisServer) -> u64 {
    let stats = server.client().line("INFO commandstats").text();
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

/// Where `count` reads go, one after the other.
fn spread(group: &Group, client: &mut Client, count: usize) -> Vec<u64> {
    let before: Vec<u64> = group.servers.iter().map(reads).collect();
    for _ in 0..count {
        assert_eq!(client.line("GET nothing"), Value::Nil);
    }
    group.servers.iter().zip(before).map(|(server, before)| reads(server) - before).collect()
}

/// Checks counts against shares. By chance the limit is passed less than once in a million times.
#[track_caller]
fn check_shares(counts: &[u64], shares: &[u64]) {
    let float = |number: u64| f64::from(u32::try_from(number).unwrap());
    let (all, total) = (float(counts.iter().sum()), float(shares.iter().sum()));
    let mut distance = 0.0;
    for (count, share) in counts.iter().zip(shares) {
        if *share == 0 {
            assert_eq!(*count, 0, "{counts:?} for {shares:?}");
        } else {
            let wanted = all * float(*share) / total;
            distance += (float(*count) - wanted).powi(2) / wanted;
        }
    }
    let freedom = float(shares.iter().filter(|share| **share > 0).count() as u64) - 1.0;
    let limit = freedom + 8.0 * (2.0 * freedom).sqrt() + 13.0;
    assert!(distance < limit, "{counts:?} for {shares:?}: {distance}");
}

#[test]
fn priorities_decide_who_is_read_from() {
    let group = Group::start(0, 3, None);
    for (master, replica, shares) in [
        (50, 0, [1, 0, 0]),
        (60, 50, [1, 0, 0]),
        (50, 50, [1, 1, 1]),
        (0, 50, [0, 1, 1]),
        (10, 50, [0, 1, 1]),
    ] {
        let proxy = proxy_for(&group, "", &priorities(master, replica));
        let counts = spread(&group, &mut proxy.client(), 300);
        assert_eq!(counts.iter().sum::<u64>(), 300);
        check_shares(&counts, &shares);
    }
    let none = proxy_for(&group, "", &priorities(0, 0));
    assert!(none.client().line("GET k").error_text().is_some());
    assert_eq!(none.client().line("SET k 1"), ok(), "writes are not concerned");
}

#[test]
fn the_next_priority_takes_over_while_the_first_is_down() {
    let mut group = Group::start(0, 2, None);
    let proxy = proxy_for(&group, "", &priorities(60, 50));
    let mut client = proxy.client();
    assert_eq!(client.line("SET k 1"), ok());
    let mut replica = group.servers[1].client();
    wait_until(SOON, "the replica to have it", || replica.line("GET k") == bulk("1"));
    group.servers[0].kill();
    wait_until(SOON, "the replica to answer", || client.line("GET k") == bulk("1"));
    for _ in 0..20 {
        assert_eq!(client.line("GET k"), bulk("1"));
    }
    assert!(client.line("SET k 2").error_text().is_some());
    group.servers[0].restart();
    wait_until(SOON, "the master to be used again", || client.line("SET k 3") == ok());
    wait_until(SOON, "it to be read from", || client.line("GET k") == bulk("3"));
}

#[test]
fn fewest_pending_requests_decide_among_equals() {
    let group = Group::start(0, 3, None);
    let proxy = proxy_for(&group, "", &priorities(0, 50));
    let mut client = proxy.client();
    // A pipeline is dispatched before any of it is answered, so the counts alternate.
    let lines = vec!["GET nothing"; 100];
    let before: Vec<u64> = group.servers.iter().map(reads).collect();
    client.pipeline(&lines);
    let counts: Vec<u64> =
        group.servers.iter().zip(before).map(|(server, before)| reads(server) - before).collect();
    assert_eq!(counts[0], 0);
    assert!(counts[1].abs_diff(counts[2]) <= 20, "{counts:?}");
}

#[test]
fn d42_requests_that_were_lost_or_abandoned_are_not_pending() {
    let group = Group::start(0, 3, None);
    let proxy = proxy_for(&group, "", &priorities(0, 50));
    let replicas = &group.servers[1..];
    for round in 0..3 {
        replicas.iter().for_each(RedisServer::pause);
        let clients: Vec<Client> = (0..4)
            .map(|_| {
                let mut client = proxy.client();
                client.send(wire(&["GET", "nothing"]).repeat(50));
                client
            })
            .collect();
        wait_until(SOON, "the requests to be under way", || {
            let counts = proxy.figure("TotalRequests");
            counts >= (round + 1) * 200
        });
        // All are abandoned, and those to one server lose their connection, too.
        drop(clients);
        replicas.iter().for_each(RedisServer::resume);
        replicas[0].kill_client_connections();
        wait_until(SOON, "both to be well", || {
            spread(&group, &mut proxy.client(), 20)[1..].iter().all(|count| *count > 0)
        });
    }
    let before: Vec<u64> = replicas.iter().map(reads).collect();
    proxy.client().pipeline(&["GET nothing"; 100]);
    let counts: Vec<u64> =
        replicas.iter().zip(before).map(|(server, before)| reads(server) - before).collect();
    assert!(counts[0].abs_diff(counts[1]) <= 20, "{counts:?}");
}

#[test]
fn replicas_of_the_file_and_discovered_ones_have_their_own_priorities() {
    let watched = Watched::start(1, 1, 3);
    let listed = watched.groups[0].servers[1].address();
    for (fixed, dynamic, shares) in [(50, 0, [0, 1, 0]), (0, 50, [0, 0, 1]), (50, 50, [0, 1, 1])] {
        let lines = format!(
            "    RefreshInterval 200ms\n    MasterReadPriority 0\n    StaticSlaveReadPriority {fixed}\n    DynamicSlaveReadPriority {dynamic}"
        );
        let conf = watched
            .conf(&lines)
            .replace("Group g0 {\n", &format!("Group g0 {{\n        + {listed}\n"));
        let proxy = Proxy::start(&conf);
        proxy.wait_for_servers(3);
        let counts = spread(&watched.groups[0], &mut proxy.client(), 200);
        check_shares(&counts, &shares);
    }
}

/// Data centres of one server each, with the policy of the first for each: priority and weight.
fn centers(group: &Group, policy: &[(u32, u32)]) -> String {
    let policy: Vec<String> = policy
        .iter()
        .enumerate()
        .map(|(index, (priority, weight))| {
            format!("            dc{index} \"{priority} {weight}\"\n")
        })
        .collect();
    let blocks = group.servers.iter().enumerate().map(|(index, server)| {
        // Every centre needs a policy, but only that of ours counts.
        let policy = if index == 0 { policy.concat() } else { "            dc0 50\n".to_owned() };
        format!(
            "    DC dc{index} {{\n        AddrPrefix {{\n            + {}\n        }}\n        ReadPolicy {{\n{policy}        }}\n    }}\n",
            server.address()
        )
    });
    format!("LocalDC dc0\nDataCenter {{\n{}}}", blocks.collect::<String>())
}

#[test]
fn d24_data_centres_share_reads_by_weight() {
    if original_differs("D-24: off by one") {
        return;
    }
    let group = Group::start(0, 2, None);
    for (weights, shares) in
        [([1, 1], [1, 1]), ([5, 2], [5, 2]), ([1, 9], [1, 9]), ([0, 3], [0, 1])]
    {
        let policy = weights.map(|weight| (50, weight));
        let proxy = proxy_for(&group, &centers(&group, &policy), &priorities(50, 50));
        let counts = spread(&group, &mut proxy.client(), 700);
        check_shares(&counts, &shares);
    }
}

#[test]
fn the_centre_that_the_proxy_is_in_may_change_while_it_runs() {
    if original_differs("CONFIG SET knows no LocalDC") {
        return;
    }
    let group = Group::start(0, 2, None);
    let head = centers(&group, &[(0, 1), (50, 1)]);
    let proxy = proxy_for(&group, &head, &priorities(50, 50));
    let mut client = proxy.client();
    check_shares(&spread(&group, &mut client, 50), &[0, 1]);
    // What is no centre changes nothing.
    for wrong in ["dc2", ""] {
        let refused = client.cmd(&["CONFIG", "SET", "LocalDC", wrong]);
        assert_eq!(refused, error("ERR argument wrong"), "{wrong:?}");
    }
    check_shares(&spread(&group, &mut client, 50), &[0, 1]);
    // From there the first is to be read from.
    assert_eq!(client.line("CONFIG SET LocalDC dc1"), ok());
    assert_eq!(client.line("CONFIG GET LocalDC").elements()[1], bulk("dc1"));
    check_shares(&spread(&group, &mut client, 50), &[1, 0]);
}

#[test]
fn a_data_centre_of_lower_priority_waits_until_the_first_is_down() {
    let mut group = Group::start(0, 3, None);
    let head = centers(&group, &[(20, 1), (50, 1), (0, 1)]);
    let proxy = proxy_for(&group, &head, &priorities(60, 50));
    let mut client = proxy.client();
    check_shares(&spread(&group, &mut client, 50), &[0, 1, 0]);
    group.servers[1].kill();
    wait_until(SOON, "the other to answer", || client.line("GET nothing") == Value::Nil);
    for _ in 0..20 {
        assert_eq!(client.line("GET nothing"), Value::Nil);
    }
    assert!(reads(&group.servers[0]) >= 20);
    assert_eq!(reads(&group.servers[2]), 0, "priority 0 is never");
    assert_eq!(client.line("SET k 1"), ok());
}

/// Two groups whose replicas have stopped following, with a key on each.
fn stale() -> (Vec<Group>, [String; 2]) {
    let groups: Vec<Group> = (0..2).map(|index| Group::start(index, 2, None)).collect();
    for group in &groups {
        assert_eq!(group.servers[1].client().line("REPLICAOF NO ONE"), ok());
    }
    (groups, [key_in_group(0, 2, "k"), key_in_group(1, 2, "k")])
}

fn stale_proxy(groups: &[Group], lines: &str) -> Proxy {
    let blocks = groups.iter().map(|group| {
        let servers =
            group.servers.iter().map(|server| format!("        + {}\n", server.address()));
        format!("    Group {} {{\n{}    }}\n", group.name, servers.collect::<String>())
    });
    Proxy::start(&format!(
        "StandaloneServerPool {{\n    RefreshMethod fixed\n    Hash crc16\n    Distribution modula\n{}\n{lines}\n{}}}\n",
        priorities(0, 50),
        blocks.collect::<String>()
    ))
}

#[test]
fn a_client_may_read_what_it_wrote() {
    if original_differs("no ReadYourWrites") {
        return;
    }
    let (groups, [key, other]) = stale();
    let proxy = stale_proxy(&groups, "    ReadYourWrites 600");
    let (mut writer, mut reader) = (proxy.client(), proxy.client());
    assert_eq!(groups[1].servers[0].client().cmd(&["SET", &other, "master"]), ok());
    assert_eq!(writer.cmd(&["GET", &key]), Value::Nil);
    assert_eq!(
        writer.pipeline(&[&format!("SET {key} 1"), &format!("GET {key}")]),
        [ok(), bulk("1")]
    );
    assert_eq!(reader.cmd(&["GET", &key]), Value::Nil, "others read from the replica");
    assert_eq!(writer.cmd(&["GET", &other]), Value::Nil, "and so does it elsewhere");
    let both = writer.cmd(&["MGET", &key, &other]);
    assert_eq!(both, crate::support::array([bulk("1"), Value::Nil]));
    // A write that was divided counts where each part went.
    assert_eq!(reader.cmd(&["MSET", &key, "2", &other, "2"]), ok());
    let both = reader.cmd(&["MGET", &key, &other]);
    assert_eq!(both, crate::support::array([bulk("2"), bulk("2")]));
}

#[test]
fn reading_what_one_wrote_ends_with_its_time() {
    if original_differs("no ReadYourWrites") {
        return;
    }
    let (groups, [key, _]) = stale();
    let proxy = stale_proxy(&groups, "    ReadYourWrites 300ms");
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["SET", &key, "1"]), ok());
    wait_until(SOON, "the replica to be asked", || client.cmd(&["GET", &key]) == Value::Nil);
    let off = stale_proxy(&groups, "");
    let mut client = off.client();
    assert_eq!(client.cmd(&["SET", &key, "1"]), ok());
    assert_eq!(client.cmd(&["GET", &key]), Value::Nil, "it is off unless it is asked for");
}
