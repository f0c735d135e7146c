//! Which servers there are: what CLUSTER NODES says, in every form, and nothing else.

use std::collections::BTreeSet;

use crate::support::{
    Answer, FakeServer, Proxy, RedisCluster, SOON, bulk, key_in_slots, nodes_line, ok,
    original_differs, wait_until,
};

/// Fakes that answer GET with their index.
fn fakes(count: usize) -> Vec<FakeServer> {
    FakeServer::start_cluster(count, |index, heard| match heard.name().as_str() {
        "GET" => Answer::bulk(index.to_string()),
        _ => Answer::Usual,
    })
}

/// Makes all of them say this.
fn tell(fakes: &[FakeServer], nodes: &str) {
    fakes.iter().for_each(|fake| fake.set_nodes(nodes));
}

fn addresses(proxy: &Proxy) -> BTreeSet<String> {
    proxy.servers().into_iter().map(|server| server.address).collect()
}

/// A line with half of the slots.
fn half(number: usize, address: &str) -> String {
    nodes_line(number, address, "master", "-", if number == 1 { "0-8191" } else { "8192-16383" })
}

#[test]
fn one_seed_is_enough() {
    let fakes = fakes(3);
    let proxy = Proxy::start(&FakeServer::conf(&fakes[1..2], ""));
    proxy.wait_for_servers(3);
    let mut client = proxy.client();
    for (index, slots) in [0..5461, 5461..10922, 10922..16384].into_iter().enumerate() {
        assert_eq!(client.cmd(&["GET", &key_in_slots(slots, "k")]), bulk(index.to_string()));
    }
}

#[test]
fn seeds_that_are_down_do_no_harm() {
    let fakes = fakes(1);
    let nobody = crate::support::free_port();
    let conf = FakeServer::conf(&fakes, "")
        .replace("Servers {\n", &format!("Servers {{\n        + 127.0.0.1:{nobody}\n"));
    let proxy = Proxy::start(&conf);
    wait_until(SOON, "a reply", || proxy.client().line("GET k") == bulk("0"));
}

#[test]
fn a_seed_may_be_a_host_name() {
    let fakes = fakes(2);
    let conf = FakeServer::conf(&fakes, "").replace("127.0.0.1", "localhost");
    let proxy = Proxy::start(&conf);
    let mut client = proxy.client();
    wait_until(SOON, "both halves to be served", || {
        [(0..8192, "0"), (8192..16384, "1")]
            .into_iter()
            .all(|(slots, want)| client.cmd(&["GET", &key_in_slots(slots, "k")]) == bulk(want))
    });
}

#[test]
fn d18_long_host_names_and_more_fields_are_read() {
    if original_differs("D-18: 32 bytes for an address") {
        return;
    }
    let fakes = fakes(2);
    let name = "a-very-long-name-of-a-node.in-some-zone.of-a-large-company.example";
    let lines = fakes.iter().enumerate().map(|(at, fake)| {
        half(
            at + 1,
            &format!(
                "{},{name}-{at},shard-id=0123456789abcdef0123456789abcdef01234567",
                fake.bus_address()
            ),
        )
    });
    tell(&fakes, &lines.collect::<String>());
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["GET", &key_in_slots(0..8192, "k")]), bulk("0"));
    assert_eq!(client.cmd(&["GET", &key_in_slots(8192..16384, "k")]), bulk("1"));
}

#[test]
fn the_form_of_redis_3_is_read() {
    let fakes = fakes(2);
    let lines = fakes.iter().enumerate().map(|(at, fake)| half(at + 1, &fake.address()));
    tell(&fakes, &lines.collect::<String>());
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    assert_eq!(proxy.client().cmd(&["GET", &key_in_slots(8192..16384, "k")]), bulk("1"));
}

#[test]
fn d20_a_replica_that_never_takes_over_is_used() {
    if original_differs("D-20: takes nofailover for fail") {
        return;
    }
    let fakes = fakes(2);
    let master = nodes_line(1, &fakes[0].bus_address(), "master", "-", "0-16383");
    let replica =
        nodes_line(2, &fakes[1].bus_address(), "slave,nofailover", &format!("{:040x}", 1), "");
    tell(&fakes, &(master + &replica));
    let lines =
        "    MasterReadPriority 0\n    StaticSlaveReadPriority 50\n    DynamicSlaveReadPriority 50";
    let proxy = Proxy::start(&FakeServer::conf(&fakes[..1], lines));
    proxy.wait_for_servers(2);
    assert_eq!(proxy.client().line("GET k"), bulk("1"));
}

#[test]
fn d21_a_node_that_was_removed_is_dropped() {
    if original_differs("D-21: keeps everything") {
        return;
    }
    let fakes = fakes(3);
    // Seeds stay, to be asked again; the third is none.
    let proxy = Proxy::start(&FakeServer::conf(&fakes[..2], ""));
    proxy.wait_for_servers(3);
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["GET", &key_in_slots(10922..16384, "k")]), bulk("2"));
    let nodes: String = (0..2).map(|at| half(at + 1, &fakes[at].bus_address())).collect();
    tell(&fakes, &nodes);
    let left: BTreeSet<String> = fakes[..2].iter().map(FakeServer::address).collect();
    wait_until(SOON, "the third to be dropped", || addresses(&proxy) == left);
    assert_eq!(client.cmd(&["GET", &key_in_slots(10922..16384, "k")]), bulk("1"));
    let asked = fakes[2].heard().len();
    assert_eq!(client.cmd(&["GET", &key_in_slots(0..8192, "k")]), bulk("0"));
    assert_eq!(fakes[2].heard().len(), asked, "a dropped server is left alone");
}

#[test]
fn a_node_that_joins_is_used() {
    let fakes = fakes(2);
    tell(&fakes, &nodes_line(1, &fakes[0].bus_address(), "master", "-", "0-16383"));
    let proxy = Proxy::start(&FakeServer::conf(&fakes[..1], ""));
    proxy.wait_for_servers(1);
    let mut client = proxy.client();
    let key = key_in_slots(8192..16384, "k");
    assert_eq!(client.cmd(&["GET", &key]), bulk("0"));
    tell(&fakes, &(0..2).map(|at| half(at + 1, &fakes[at].bus_address())).collect::<String>());
    wait_until(SOON, "the second to be asked", || client.cmd(&["GET", &key]) == bulk("1"));
}

#[test]
fn d19_a_list_of_nodes_that_is_nonsense_changes_nothing() {
    if original_differs("D-19: believes it") {
        return;
    }
    let fakes = fakes(2);
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    let bus = fakes[0].bus_address();
    for nonsense in [
        String::new(),
        "nonsense\n".to_owned(),
        "\n\n \n".to_owned(),
        nodes_line(1, &bus, "master", "-", "0-99999"),
        nodes_line(1, &bus, "master", "-", "70000"),
        nodes_line(1, "no-port", "master", "-", "0-16383"),
        "x".repeat(1 << 20),
    ] {
        let polls = |fake: &FakeServer| fake.heard_named("CLUSTER").len();
        let before = polls(&fakes[0]) + polls(&fakes[1]);
        tell(&fakes, &nonsense);
        wait_until(SOON, "it to be read", || polls(&fakes[0]) + polls(&fakes[1]) >= before + 2);
        for (slots, want) in [(0..8192, "0"), (8192..16384, "1")] {
            let reply = client.cmd(&["GET", &key_in_slots(slots, "k")]);
            let shown = &nonsense[..nonsense.len().min(80)];
            assert!(reply == bulk(want) || reply.error_text().is_some(), "{shown:?}: {reply:?}");
        }
    }
    tell(&fakes, &(0..2).map(|at| half(at + 1, &fakes[at].bus_address())).collect::<String>());
    wait_until(SOON, "all to be well again", || {
        client.cmd(&["GET", &key_in_slots(8192..16384, "k")]) == bulk("1")
            && client.cmd(&["GET", &key_in_slots(0..8192, "k")]) == bulk("0")
    });
}

#[test]
fn who_has_not_heard_of_a_failover_yet_is_not_believed() {
    if original_differs("knows no epochs") {
        return;
    }
    let fakes = fakes(2);
    let say = |epochs: [u64; 2], slots: [&str; 2]| -> String {
        let lines = (0..2).map(|at| {
            let (bus, epoch, slots) = (fakes[at].bus_address(), epochs[at], slots[at]);
            format!("{:040x} {bus} master - 0 0 {epoch} connected {slots}\n", at + 1)
        });
        lines.collect()
    };
    tell(&fakes, &say([1, 5], ["0-8191", "8192-16383"]));
    let proxy = Proxy::start(&FakeServer::conf(&fakes, "RefreshInterval 100ms"));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    let key = key_in_slots(8192..16384, "k");
    wait_until(SOON, "the owner to be known", || client.cmd(&["GET", &key]) == bulk("1"));
    // As it was before the second took half of the slots over, with a greater epoch.
    tell(&fakes, &say([1, 0], ["0-16383", ""]));
    wait_until(SOON, "it to be refused", || {
        proxy.log().contains("refused: it does not know yet who has taken slots over")
    });
    assert_eq!(client.cmd(&["GET", &key]), bulk("1"));
    // When nobody says anything else for long, the cluster was set up anew.
    wait_until(SOON * 3, "it to be believed", || client.cmd(&["GET", &key]) == bulk("0"));
}

#[test]
fn a_server_that_is_no_cluster_is_an_error_and_no_more() {
    let fake = FakeServer::start(|heard| match heard.name().as_str() {
        "CLUSTER" => Answer::text("-ERR This instance has cluster support disabled\r\n"),
        _ => Answer::Usual,
    });
    let fakes = [fake];
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    wait_until(SOON, "it to be asked for its nodes", || {
        !fakes[0].heard_named("CLUSTER").is_empty()
    });
    assert!(proxy.client().line("GET k").error_text().is_some());
    assert_eq!(proxy.client().line("PING"), crate::support::simple("PONG"));
}

#[test]
fn a_failover_is_followed() {
    let cluster = RedisCluster::start(3, 1);
    let proxy = Proxy::for_cluster(&cluster);
    let key = cluster.key_on(0, "failover:");
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["SET", &key, "1"]), ok());
    let replica = cluster.replica_of(0);
    cluster.fail_over_to(replica);
    let new_master = cluster.node(replica).address();
    wait_until(SOON, "INFO to tell the new master", || {
        proxy.servers().iter().any(|server| server.address == new_master && server.role == "master")
    });
    wait_until(SOON, "a write to succeed", || client.cmd(&["SET", &key, "2"]) == ok());
    assert_eq!(client.cmd(&["GET", &key]), bulk("2"));
    assert_eq!(cluster.node(replica).client().cmd(&["GET", &key]), bulk("2"));
}
