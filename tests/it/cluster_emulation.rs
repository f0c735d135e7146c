//! CLUSTER, as clients that know clusters ask it: one master, the proxy, owns every slot.

use std::collections::BTreeSet;
use std::net::TcpStream;

use crate::support::{
    Address, AnyPool, Client, FakeServer, Proxy, RedisCluster, SOON, Value, array, bulk, error,
    int, nodes_line, ok, original_differs, shared_cluster, slot_of, wait_until,
};

fn skip() -> bool {
    original_differs("knows no CLUSTER")
}

/// Host, port and id of the one node in CLUSTER SLOTS.
#[track_caller]
fn node_of(client: &mut Client) -> (String, i64, String) {
    let slots = client.line("CLUSTER SLOTS");
    let [range] = slots.elements() else { panic!("several ranges: {slots:?}") };
    let [first, last, node] = range.elements() else { panic!("several nodes: {slots:?}") };
    assert_eq!((first.number(), last.number()), (0, 16383));
    let [host, port, id, more] = node.elements() else { panic!("no node: {slots:?}") };
    assert_eq!(more, &array([]));
    (host.text(), port.number(), id.text())
}

/// Checks that all ways of asking agree on where the node is.
#[track_caller]
fn check_node(client: &mut Client, host: &str, port: u16) {
    let (said_host, said_port, id) = node_of(client);
    assert_eq!((said_host.as_str(), said_port), (host, i64::from(port)));
    assert_eq!(client.line("CLUSTER MYID"), bulk(&id));
    let is_name = host.bytes().any(|byte| byte.is_ascii_alphabetic());
    let name = if is_name { format!(",{host}") } else { String::new() };
    let line = format!("{id} {host}:{port}@0{name} myself,master - 0 0 0 connected 0-16383\n");
    assert_eq!(client.line("CLUSTER NODES"), bulk(line));
    let shards = client.line("CLUSTER SHARDS");
    let shard = shards.elements()[0].elements();
    assert_eq!(&shard[..3], [bulk("slots"), array([int(0), int(16383)]), bulk("nodes")]);
    let node = shard[3].elements()[0].elements();
    let field = |name: &str| node.chunks(2).find(|pair| pair[0] == bulk(name)).unwrap()[1].clone();
    assert_eq!(field("id"), bulk(&id));
    assert_eq!(field("endpoint"), bulk(host));
    assert_eq!(field("port"), int(port.into()));
    assert_eq!(field("role"), bulk("master"));
    assert_eq!(client.line("CLUSTER MYSHARDID").text().len(), 40);
    for name in ["REPLICAS", "SLAVES"] {
        assert_eq!(client.line(&format!("CLUSTER {name} {id}")), array([]));
    }
    assert_eq!(client.line(&format!("CLUSTER COUNT-FAILURE-REPORTS {id}")), int(0));
}

#[test]
fn all_slots_are_at_the_address_that_the_client_has_used() {
    if skip() {
        return;
    }
    AnyPool::each(|pool| {
        check_node(&mut pool.proxy.client(), "127.0.0.1", pool.proxy.port());
    });
}

#[test]
fn who_comes_by_another_address_is_told_that_one() {
    if skip() {
        return;
    }
    let pool = shared_cluster().conf();
    let proxy = Proxy::start(&format!("Bind *:{{port}}\n{pool}"));
    let port = proxy.port();
    check_node(&mut proxy.client(), "127.0.0.1", port);
    for host in ["127.0.0.2", "::1"] {
        let place = std::net::SocketAddr::new(host.parse().unwrap(), port);
        // Not every system has these.
        if TcpStream::connect(place).is_ok() {
            check_node(&mut Client::connect(&Address::At(place)), host, port);
        }
    }
}

#[test]
fn who_goes_from_proxy_to_proxy_does_not_notice() {
    if skip() {
        return;
    }
    // Each knows another node at first, and all call themselves by the one name before them.
    let cluster = RedisCluster::start(3, 0);
    let proxies: Vec<Proxy> = (0..3)
        .map(|index| {
            let seed = cluster.node(index).address();
            let pool = format!("ClusterServerPool {{\nServers {{\n+ {seed}\n}}\n}}\n");
            let proxy = Proxy::start(&format!("AnnounceAddr cache.example:7000\n{pool}"));
            proxy.wait_for_servers(3);
            proxy
        })
        .collect();
    let mut turn = 0;
    let mut next = || {
        turn += 1;
        proxies[turn % proxies.len()].client()
    };
    let shown = ["CLUSTER MYID", "CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES"];
    for line in shown {
        let seen: BTreeSet<String> = (0..3).map(|_| format!("{:?}", next().line(line))).collect();
        assert!(seen.len() == 1, "{line}: {seen:?}");
    }
    let keys: BTreeSet<String> = (0..300).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        assert_eq!(next().cmd(&["SET", key, key]), ok());
    }
    // An iteration goes on wherever the next step is asked for.
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let step = next().line(&format!("SCAN {cursor} COUNT 7"));
        let [at, some] = step.elements() else { panic!("no step: {step:?}") };
        found.extend(some.elements().iter().map(Value::text));
        cursor = at.text();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!((found.len(), found.into_iter().collect()), (300, keys));
    let mut listener = next();
    listener.line("SUBSCRIBE channel");
    for _ in 0..3 {
        assert_eq!(next().line("PUBLISH channel hello"), int(1));
        let heard = listener.reply();
        assert_eq!(heard, array([bulk("message"), bulk("channel"), bulk("hello")]));
    }
    let digest = next().cmd(&["SCRIPT", "LOAD", "return 7"]).text();
    for number in 0..9 {
        assert_eq!(next().line(&format!("EVALSHA {digest} 1 key:{number}")), int(7));
    }
}

#[test]
fn an_announced_address_is_told_to_everybody() {
    if skip() {
        return;
    }
    let pool = shared_cluster().conf();
    let mut ids = BTreeSet::new();
    for _ in 0..2 {
        let proxy = Proxy::start(&format!("AnnounceAddr Cache.example:7000\n{pool}"));
        check_node(&mut proxy.client(), "cache.example", 7000);
        ids.insert(node_of(&mut proxy.client()).2);
    }
    assert_eq!(ids.len(), 1, "two proxies behind one address are one node");
    let proxy = Proxy::start(&format!("AnnounceAddr 10.1.2.3:7000\n{pool}"));
    check_node(&mut proxy.client(), "10.1.2.3", 7000);
    assert!(ids.insert(node_of(&mut proxy.client()).2), "another address is another node");
}

#[test]
fn who_comes_through_a_unix_socket_is_told_where_tcp_is() {
    if skip() {
        return;
    }
    let pool = shared_cluster().conf();
    let proxy = Proxy::start(&format!("Bind {{dir}}/predixy.sock\n{pool}"));
    let told = "ERR the proxy has no TCP address that it could tell: set AnnounceAddr in its \
                configuration";
    assert_eq!(proxy.client().line("CLUSTER SLOTS"), error(told));
    wait_until(SOON, "the cluster to be known", || {
        proxy.client().line("CLUSTER INFO").text().contains("cluster_state:ok")
    });
    let proxy = Proxy::start(&format!("Bind 0.0.0.0:{{port}}\nBind {{dir}}/predixy.sock\n{pool}"));
    let (host, port, _) = node_of(&mut proxy.client());
    assert_eq!(host, "127.0.0.1");
    let port = u16::try_from(port).unwrap();
    check_node(&mut Client::connect(&Address::Tcp(port)), "127.0.0.1", port);
}

/// The names in a map, at any depth, in their order; of text the names before the colons.
fn shape(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(shape).collect::<Vec<_>>().join(" "))
        }
        Value::Bulk(text) if text.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'-') => {
            value.text()
        }
        Value::Bulk(_) => "text".to_owned(),
        Value::Verbatim(_) => "text for people".to_owned(),
        Value::Int(_) => "number".to_owned(),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| format!("{}:{}", shape(key), shape(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn replies_have_the_shape_of_those_of_a_real_cluster() {
    if skip() {
        return;
    }
    let pool = AnyPool::cluster();
    let (mut client, mut real) = (pool.proxy.client(), pool.masters().remove(0));
    let names = |text: String| -> Vec<String> {
        text.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect()
    };
    let line = "CLUSTER INFO";
    let (want, got) = (names(real.line(line).text()), names(client.line(line).text()));
    // Which messages were sent depends on what has happened.
    let is_of_all = |name: &String| !name.contains("_messages_") || name.ends_with("sent");
    let want: Vec<_> =
        want.into_iter().filter(is_of_all).filter(|name| got.contains(name)).collect();
    assert!(want.len() >= 9, "{want:?}");
    for name in ["cluster_state", "cluster_slots_assigned", "cluster_size", "cluster_my_epoch"] {
        assert!(want.iter().any(|known| known == name), "{name}");
    }
    let slots = real.line("CLUSTER SLOTS");
    if slots.elements()[0].elements()[2].elements().len() < 4 {
        // Before 7.0 a node had no more than three fields, and there were no shards.
        return;
    }
    assert_eq!(shape(&client.line("CLUSTER SLOTS").elements()[0]), shape(&slots.elements()[0]));
    let shards = shape(&real.line("CLUSTER SHARDS").elements()[0]);
    // Valkey tells the id of the shard as well.
    let shards = shards.replace(" id text]", "]");
    assert_eq!(shape(&client.line("CLUSTER SHARDS").elements()[0]), shards);
    // The same in RESP3, with maps and text.
    for client in [&mut client, &mut real] {
        assert!(matches!(client.line("HELLO 3"), Value::Map(_)));
    }
    for line in ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES", "CLUSTER INFO"] {
        let want = match (line, real.line(line)) {
            ("CLUSTER SLOTS" | "CLUSTER SHARDS", all) => shape(&all.elements()[0]),
            (_, text) => shape(&text),
        };
        let got = match (line, client.line(line)) {
            ("CLUSTER SLOTS" | "CLUSTER SHARDS", all) => shape(&all.elements()[0]),
            (_, text) => shape(&text),
        };
        assert_eq!(got, want.replace(" id:text}", "}"), "{line}");
    }
}

#[test]
fn errors_are_those_of_a_real_cluster() {
    if skip() {
        return;
    }
    let proxy = Proxy::for_cluster(shared_cluster());
    let (mut client, mut real) = (proxy.client(), shared_cluster().node(0).client());
    if real.line("CLUSTER NOPE").error_text()
        != Some("ERR unknown subcommand 'NOPE'. Try CLUSTER HELP.")
    {
        // 6.2 has other words.
        return;
    }
    for line in [
        "CLUSTER",
        "CLUSTER NOPE",
        "CLUSTER COUNTKEYSINSLOT",
        "CLUSTER COUNTKEYSINSLOT 16384",
        "CLUSTER COUNTKEYSINSLOT -1",
        "CLUSTER COUNTKEYSINSLOT x",
        "CLUSTER COUNTKEYSINSLOT 01",
        "CLUSTER COUNTKEYSINSLOT +1",
        "CLUSTER COUNTKEYSINSLOT -",
        "CLUSTER COUNTKEYSINSLOT -0",
        "CLUSTER GETKEYSINSLOT 1",
        "CLUSTER GETKEYSINSLOT 16384 1",
        "CLUSTER GETKEYSINSLOT 1 -1",
        "CLUSTER GETKEYSINSLOT 1 x",
        "CLUSTER GETKEYSINSLOT x 1",
        "CLUSTER REPLICAS nobody",
        "CLUSTER SLAVES nobody",
        "CLUSTER COUNT-FAILURE-REPORTS nobody",
        "CLUSTER KEYSLOT",
        "CLUSTER MYID x",
        "CLUSTER SLOTS x",
        "ASKING x",
        "ROLE x",
    ] {
        let want = real.line(line);
        assert!(want.error_text().is_some(), "{line}: {want:?}");
        assert_eq!(client.line(line), want, "{line}");
    }
}

#[test]
fn keys_of_a_slot_are_asked_from_its_owner() {
    if skip() {
        return;
    }
    let proxy = Proxy::for_cluster(shared_cluster());
    let mut client = proxy.client();
    for master in 0..3 {
        let tag = shared_cluster().key_on(master, "in-slot");
        let keys: BTreeSet<String> = (0..5).map(|i| format!("{{{tag}}}{i}")).collect();
        for key in &keys {
            assert_eq!(client.cmd(&["SET", key, "x"]), ok());
        }
        let slot = slot_of(tag.as_bytes());
        assert_eq!(client.line(&format!("CLUSTER KEYSLOT {{{tag}}}9")), int(slot.into()));
        assert_eq!(client.line(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), int(5));
        let got = client.line(&format!("CLUSTER GETKEYSINSLOT {slot} 100"));
        assert_eq!(got.elements().iter().map(Value::text).collect::<BTreeSet<_>>(), keys);
        let got = client.line(&format!("CLUSTER GETKEYSINSLOT {slot} 2"));
        assert_eq!(got.elements().len(), 2);
    }
    let pool = AnyPool::groups(1, "");
    let told = "ERR the servers behind the proxy are no cluster: nobody keeps keys by slot";
    assert_eq!(pool.proxy.client().line("CLUSTER COUNTKEYSINSLOT 1"), error(told));
    assert_eq!(pool.proxy.client().line("CLUSTER KEYSLOT foo"), int(12182));
}

#[test]
fn who_may_touch_some_keys_only_may_not_list_those_of_a_slot() {
    if skip() {
        return;
    }
    let authority =
        "Authority {\n    Auth {\n        Mode write\n        KeyPrefix mine:\n    }\n}\n";
    let proxy = Proxy::start(&format!("{authority}{}", shared_cluster().conf()));
    let mut client = proxy.client();
    for line in ["CLUSTER GETKEYSINSLOT 1 10", "CLUSTER COUNTKEYSINSLOT 1"] {
        assert_eq!(client.line(line), error("ERR auth permission deny"), "{line}");
    }
    assert_eq!(client.line("CLUSTER KEYSLOT foo"), int(12182));
    assert_eq!(client.line("CLUSTER SLOTS").elements().len(), 1);
}

#[test]
fn a_cluster_with_an_unserved_slot_is_not_well() {
    if skip() {
        return;
    }
    let fakes = FakeServer::start_cluster(1, |_, heard| {
        let _ = heard;
        crate::support::Answer::Usual
    });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, "    RefreshInterval 20ms"));
    let state = || proxy.client().line("CLUSTER INFO").text();
    wait_until(SOON, "all slots to be served", || state().contains("cluster_slots_ok:16384\r\n"));
    assert!(state().starts_with("cluster_state:ok\r\n"), "{}", state());
    let line = nodes_line(0, &fakes[0].bus_address(), "myself,master", "-", "0-16382");
    fakes[0].set_nodes(&line);
    wait_until(SOON, "one slot to be missed", || {
        state().contains("cluster_slots_assigned:16383\r\n")
    });
    assert!(state().starts_with("cluster_state:fail\r\n"), "{}", state());
}

#[test]
fn what_changes_a_cluster_is_refused_with_the_reason() {
    if skip() {
        return;
    }
    let proxy = Proxy::for_cluster(shared_cluster());
    let mut client = proxy.client();
    for line in [
        "CLUSTER ADDSLOTS 1",
        "CLUSTER FAILOVER",
        "CLUSTER MEET 127.0.0.1 1",
        "CLUSTER RESET HARD",
        "CLUSTER SETSLOT 1 STABLE",
        "CLUSTER SAVECONFIG",
    ] {
        let name = line.split(' ').nth(1).unwrap().to_lowercase();
        let told = format!(
            "ERR command 'cluster {name}' is not available through the proxy: the servers of a \
             cluster have to be told directly"
        );
        assert_eq!(client.line(line), error(&told));
    }
}

#[test]
fn the_proxy_looks_like_a_master() {
    if skip() {
        return;
    }
    let proxy = Proxy::for_cluster(shared_cluster());
    let mut client = proxy.client();
    assert_eq!(client.line("ROLE"), array([bulk("master"), int(0), array([])]));
    for line in ["READONLY", "READWRITE", "ASKING"] {
        assert_eq!(client.line(line), ok());
    }
    assert_eq!(client.line("CLUSTER LINKS"), array([]));
    let help = client.line("CLUSTER HELP");
    assert!(help.elements()[0].text().starts_with("CLUSTER <subcommand> [<arg> "));
}

/// A proxy is a cluster also to another proxy.
#[test]
fn a_proxy_in_front_of_a_proxy() {
    if skip() {
        return;
    }
    let behind = AnyPool::groups(2, "");
    let pool = format!(
        "ClusterServerPool {{\n    Servers {{\n        + {}\n    }}\n}}\n",
        behind.proxy.address()
    );
    let front = Proxy::start(&pool);
    front.wait_for_servers(1);
    let mut client = front.client();
    for i in 0..20 {
        assert_eq!(client.cmd(&["SET", &format!("chain:{i}"), &i.to_string()]), ok());
        assert_eq!(client.cmd(&["GET", &format!("chain:{i}")]), bulk(i.to_string()));
    }
    assert_eq!(client.line("DBSIZE"), int(20));
}
