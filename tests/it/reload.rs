//! The configuration is read again while everything goes on: SIGHUP and CONFIG RELOAD.

use crate::support::{
    Answer, Client, FakeServer, Load, Proxy, RedisServer, SOON, Value, Watched, array, bulk, error,
    groups_conf, key_in_group, nodes_line, ok, original_differs, shared_cluster, simple,
    wait_until,
};

const LACKS: &str = "never reads its file again";

/// Writes `conf` and has it read.
#[track_caller]
fn reload(proxy: &Proxy, client: &mut Client, conf: &str) {
    proxy.write_conf(conf);
    assert_eq!(client.line("CONFIG RELOAD"), ok(), "{}", proxy.log());
}

#[track_caller]
fn value(client: &mut Client, name: &str) -> String {
    client.cmd(&["CONFIG", "GET", name]).elements()[1].text()
}

fn denied() -> Value {
    error("ERR auth permission deny")
}

fn no_auth() -> Value {
    error("NOAUTH Authentication required.")
}

#[test]
fn what_the_file_says_now_is_in_effect_on_connections_that_are_open() {
    if original_differs(LACKS) {
        return;
    }
    let server = RedisServer::start();
    let pool = groups_conf(&[server.address()]);
    let proxy = Proxy::start(&format!("WorkerThreads 2\nName before\n{pool}"));
    let (mut client, mut other) = (proxy.client(), proxy.client());
    assert_eq!(client.line("ECHO x"), bulk("x"));
    assert_eq!(other.line("SET reload:k v"), ok());
    let conf = "WorkerThreads 2\nName after\nMaxClients 17\nClientTimeout 900\nLogInfoSample 3\n\
                DisabledCommands {\n+ append\n}\nCustomCommand {\nmy.read {\nMode read\nMinArgs 3\n\
                MaxArgs 3\n}\n}\nLatencyMonitor sets {\nCommands {\n+ set\n}\nTimeSpan {\n\
                + 1000000000\n}\n}\n";
    reload(&proxy, &mut client, &format!("{conf}{pool}"));
    for (name, want) in
        [("Name", "after"), ("MaxClients", "17"), ("ClientTimeout", "900"), ("LogInfoSample", "3")]
    {
        assert_eq!(value(&mut client, name), want, "{name}");
    }
    assert!(client.line("INFO proxy").text().contains("Name:after\n"));
    for client in [&mut client, &mut other] {
        let disabled = client.line("APPEND reload:k x");
        assert!(disabled.error_text().is_some_and(|text| text.contains("append")), "{disabled:?}");
        let arity = error("ERR wrong number of arguments for 'my.read' command");
        assert_eq!(client.line("MY.READ x"), arity);
        assert_eq!(client.line("SET reload:k w"), ok());
        assert_eq!(client.line("GET reload:k"), bulk("w"));
    }
    let table = client.line("INFO Latency sets").text();
    assert!(table.contains("LatencyMonitorName:sets\n"), "{table}");
    // Two SETs, by clients of two threads.
    assert!(table.lines().any(|line| line.starts_with("T ") && line.ends_with(" 2")), "{table}");
    reload(&proxy, &mut client, &pool);
    assert_eq!(client.line("APPEND reload:k x").number(), 2);
    assert!(client.line("MY.READ x y").error_text().is_some_and(|text| text.contains("unknown")));
    assert_eq!(value(&mut client, "Name"), "");
    assert_eq!(value(&mut client, "MaxClients"), "auto");
}

#[test]
fn sighup_reads_the_file_as_well() {
    if original_differs(LACKS) {
        return;
    }
    let mut proxy = Proxy::start(&format!("Name before\n{}", shared_cluster().conf()));
    let mut client = proxy.client();
    assert_eq!(client.line("PING"), simple("PONG"));
    proxy.write_conf(&format!("Name after\n{}", shared_cluster().conf()));
    proxy.process().signal("HUP");
    wait_until(SOON, "the new name", || value(&mut client, "Name") == "after");
    assert_eq!(client.line("PING"), simple("PONG"));
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_the_mistake_is_told() {
    if original_differs(LACKS) {
        return;
    }
    let pool = shared_cluster().conf();
    let mut proxy = Proxy::start(&format!("Name before\nLog {{dir}}/predixy.log\n{pool}"));
    let mut client = proxy.client();
    let path = proxy.scratch().path().join("predixy.conf").display().to_string();
    // The Bind line is the first.
    let wrong =
        "Name after\nMaxClients 5\nClientTimeout soon\nLogFormat xml\nLog {dir}/predixy.log";
    proxy.write_conf(&format!("{wrong}\n{pool}"));
    let reply = client.line("CONFIG RELOAD");
    let text = reply.error_text().unwrap_or_default().to_owned();
    assert!(text.starts_with(&format!("ERR reload: {path}:4 ClientTimeout soon ")), "{text}");
    assert!(text.ends_with(" (and 1 more, see the log)"), "{text}");
    let log = || proxy.log();
    wait_until(SOON, "the log to tell", || log().contains("reload fail, nothing has changed"));
    for line in [4, 5] {
        assert!(log().contains(&format!("reload fail {path}:{line} ")), "{}", log());
    }
    assert_eq!(
        (value(&mut client, "Name"), value(&mut client, "MaxClients")),
        ("before".into(), "auto".into())
    );
    for (text, want) in [
        (format!("Log /nonexistent/x/y.log\nName after\n{pool}"), "/nonexistent/x/y.log"),
        (format!("Bind 127.0.0.1:1 UserFromCertificate\n{pool}"), "UserFromCertificate"),
        ("Name after\n".to_owned(), "Must define a server pool"),
        (format!("Include none.conf\n{pool}"), "none.conf"),
    ] {
        proxy.write_conf(&text);
        let reply = client.line("CONFIG RELOAD");
        assert!(reply.error_text().is_some_and(|text| text.contains(want)), "{want}: {reply:?}");
        assert_eq!(value(&mut client, "Name"), "before", "{want}");
    }
    // The file may have been moved away, whatever the configuration is like.
    let folder = proxy.scratch().path().to_owned();
    std::fs::rename(folder.join("predixy.log"), folder.join("predixy.log.1")).expect("a log");
    proxy.process().signal("HUP");
    wait_until(SOON, "a new log", || {
        std::fs::read_to_string(folder.join("predixy.log"))
            .is_ok_and(|log| log.contains("none.conf"))
    });
    assert_eq!(client.line("PING"), simple("PONG"));
}

#[test]
fn what_cannot_change_while_it_runs_is_kept_and_named() {
    if original_differs(LACKS) {
        return;
    }
    let servers = [RedisServer::start(), RedisServer::start()];
    let addresses: Vec<String> = servers.iter().map(RedisServer::address).collect();
    let pool = groups_conf(&addresses);
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{pool}"));
    let mut client = proxy.client();
    let bind = value(&mut client, "Bind");
    let other = pool.replace("Hash crc16", "Hash atol").replace("Databases 4", "Databases 9");
    reload(&proxy, &mut client, &format!("Bind 127.0.0.1:1\nWorkerThreads 3\nName n\n{other}"));
    let log = || proxy.log();
    let want = "reload keeps Bind, WorkerThreads, Databases, Hash until the next start";
    wait_until(SOON, "the log to name them", || log().contains(want));
    assert_eq!((value(&mut client, "Bind"), value(&mut client, "Name")), (bind, "n".to_owned()));
    assert_eq!(value(&mut client, "WorkerThreads"), "2");
    assert!(client.line("SELECT 4").error_text().is_some());
    let key = key_in_group(1, 2, "reload:");
    assert_eq!(client.cmd(&["SET", &key, "v"]), ok());
    assert_eq!(servers[1].client().cmd(&["GET", &key]), bulk("v"));
    // A pool of another kind is not begun to be taken over.
    reload(&proxy, &mut client, &shared_cluster().conf());
    wait_until(SOON, "the log to name it", || log().contains("StandaloneServerPool until"));
    assert_eq!(client.cmd(&["GET", &key]), bulk("v"));
}

#[test]
fn a_reload_ends_what_config_set_has_begun() {
    if original_differs(LACKS) {
        return;
    }
    let conf = format!("ClientTimeout 50\n{}", shared_cluster().conf());
    let proxy = Proxy::start(&conf);
    let mut client = proxy.client();
    assert_eq!(client.line("CONFIG SET ClientTimeout 60 MaxClients 9 LogInfoSample 5"), ok());
    reload(&proxy, &mut client, &conf);
    let values =
        ["ClientTimeout", "MaxClients", "LogInfoSample"].map(|name| value(&mut client, name));
    assert_eq!(values, ["50", "auto", "0"]);
}

#[test]
fn clients_stay_who_they_are_while_their_passwords_do() {
    if original_differs(LACKS) {
        return;
    }
    let server = RedisServer::start();
    let pool = groups_conf(&[server.address()]);
    let conf = |auth: &str| format!("WorkerThreads 2\nAuthority {{\n{auth}}}\n{pool}");
    let admin = "Auth root {\nMode admin\n}\n";
    let both = "Auth stays {\nMode write\n}\nAuth goes {\nMode write\n}\n";
    let proxy = Proxy::start(&conf(&format!("{admin}{both}")));
    let mut root = proxy.client();
    assert_eq!(root.line("AUTH root"), ok());
    let mut clients: Vec<(Client, &str)> =
        ["stays", "goes", "stays", "goes"].map(|password| (proxy.client(), password)).into();
    for (client, password) in &mut clients {
        assert_eq!(client.cmd(&["AUTH", password]), ok());
        assert_eq!(client.line("SET reload:auth 1"), ok());
        // Those with a transaction open, whose rights change, execute nothing of it.
        assert_eq!(client.line("MULTI"), ok());
        assert_eq!(client.line("INCR reload:auth").text(), "QUEUED");
    }
    let fewer = "Auth other {\nMode read\n}\nAuth stays {\nMode write\n}\n";
    reload(&proxy, &mut root, &conf(&format!("{fewer}{admin}")));
    for (client, password) in &mut clients {
        if *password == "stays" {
            assert!(matches!(client.line("EXEC"), Value::Array(_)));
        } else {
            assert_eq!(client.line("EXEC"), no_auth());
            assert_eq!(client.line("GET reload:auth"), no_auth());
            assert!(client.line("AUTH goes").error_text().is_some());
            assert_eq!(client.line("AUTH other"), ok());
        }
    }
    assert_eq!(root.line("GET reload:auth"), bulk("3"));
    // The same password with fewer rights, and with other keys.
    let (client, _) = &mut clients[0];
    assert_eq!(client.line("MULTI"), ok());
    assert_eq!(client.line("SET reload:auth 9").text(), "QUEUED");
    let less = "Auth stays {\nMode write\nReadKeyPrefix other\n}\n";
    reload(&proxy, &mut root, &conf(&format!("{less}{admin}")));
    assert!(client.line("EXEC").error_text().is_some_and(|text| text.starts_with("EXECABORT")));
    assert_eq!(client.line("GET reload:auth"), denied());
    assert_eq!(client.line("SET reload:auth 5"), ok());
    // Without an Authority everybody may do everything again.
    reload(&proxy, &mut root, &format!("WorkerThreads 2\n{pool}"));
    for (client, _) in &mut clients {
        assert_eq!(client.line("CONFIG GET Name"), array([bulk("Name"), bulk("")]));
    }
}

#[test]
fn servers_come_and_go_and_groups_change_places() {
    if original_differs(LACKS) {
        return;
    }
    let servers: Vec<RedisServer> = (0..3).map(|_| RedisServer::start()).collect();
    let at = |indices: &[usize]| -> Vec<String> {
        indices.iter().map(|index| servers[*index].address()).collect()
    };
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{}", groups_conf(&at(&[0, 1]))));
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    let orders: [&[usize]; 6] = [&[0, 1], &[1, 0], &[2, 1, 0], &[2], &[0, 2], &[0, 1]];
    for (round, order) in orders.iter().enumerate() {
        reload(&proxy, &mut clients[0], &groups_conf(&at(order)));
        for (group, server) in order.iter().enumerate() {
            let key = key_in_group(group, order.len(), &format!("reload:{round}:"));
            for client in &mut clients {
                let value = format!("{round}");
                assert_eq!(client.cmd(&["SET", &key, &value]), ok());
                let mut direct = servers[*server].client();
                assert_eq!(direct.cmd(&["GETDEL", &key]), bulk(value), "{order:?} {group}");
            }
        }
        assert_eq!(proxy.servers().len(), order.len());
    }
}

#[test]
fn new_passwords_reach_servers_on_the_links_that_are_open() {
    if original_differs(LACKS) {
        return;
    }
    let fakes = [FakeServer::start(|heard| match heard.name().as_str() {
        "GET" => Answer::bulk("v"),
        "AUTH" if heard.word(2) == "wrong" => Answer::text("-WRONGPASS no\r\n"),
        _ => Answer::Usual,
    })];
    let conf = |lines: &str| FakeServer::conf(&fakes, lines);
    let proxy = Proxy::start(&conf("Password one\nUsername u"));
    proxy.wait_for_servers(1);
    let mut client = proxy.client();
    assert_eq!(client.line("GET k"), bulk("v"));
    let connections = || fakes[0].heard().iter().map(|heard| heard.connection).max();
    let before = connections();
    let logins = || -> Vec<String> {
        fakes[0]
            .heard_named("AUTH")
            .iter()
            .map(|heard| heard.word(1) + ":" + &heard.word(2))
            .collect()
    };
    assert_eq!(logins(), ["u:one"]);
    reload(&proxy, &mut client, &conf("Password two\nUsername u"));
    assert_eq!(client.line("GET k"), bulk("v"));
    assert_eq!(logins(), ["u:one", "u:two"]);
    // The login came before the request that followed.
    let names: Vec<String> = fakes[0].heard().iter().map(|heard| heard.name()).collect();
    let last = |name: &str| names.iter().rposition(|other| other == name);
    assert!(last("AUTH") < last("GET"), "{names:?}");
    reload(&proxy, &mut client, &conf("Password two\nUsername u"));
    reload(&proxy, &mut client, &conf("Password wrong\nUsername u"));
    assert_eq!(client.line("GET k"), bulk("v"), "who is let in stays so");
    assert_eq!(logins().last().map(String::as_str), Some("u:wrong"));
    assert_eq!(logins().len(), 3);
    let log = || proxy.log();
    wait_until(SOON, "the refusal to be logged", || {
        log().contains("refuses new settings: -WRONGPASS")
    });
    assert!(!log().contains(":two"), "{}", log());
    // By CONFIG SET as well; two settings that belong together are one change.
    assert_eq!(client.line("CONFIG SET Password three Username v"), ok());
    assert_eq!(client.line("GET k"), bulk("v"));
    assert_eq!(logins().last().map(String::as_str), Some("v:three"));
    assert_eq!(logins().len(), 4);
    assert_eq!(client.line("CONFIG GET Password"), array([]));
    assert_eq!(client.line("CONFIG GET Username").elements()[1], bulk("v"));
    assert!(!log().contains("three"), "{}", log());
    assert_eq!(connections(), before, "nobody had to connect again");
}

#[test]
fn replicas_are_told_to_answer_when_the_policy_begins_to_ask_them() {
    if original_differs(LACKS) {
        return;
    }
    let fakes: Vec<FakeServer> = (0..2)
        .map(|index| {
            FakeServer::start(move |heard| match heard.name().as_str() {
                "GET" => Answer::bulk(["master", "replica"][index]),
                _ => Answer::Usual,
            })
        })
        .collect();
    let master = nodes_line(1, &fakes[0].bus_address(), "master", "-", "0-16383");
    let replica = nodes_line(2, &fakes[1].bus_address(), "slave", &format!("{:040x}", 1), "");
    fakes.iter().for_each(|fake| fake.set_nodes(&format!("{master}{replica}")));
    let masters = FakeServer::conf(&fakes, "");
    let replicas = FakeServer::conf(
        &fakes,
        "MasterReadPriority 0\nDynamicSlaveReadPriority 50\nStaticSlaveReadPriority 50",
    );
    let proxy = Proxy::start(&masters);
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    assert_eq!(client.line("GET k"), bulk("master"));
    let told = |word: &str| fakes[1].heard_named(word).len();
    // There is a link to the replica, for CLUSTER NODES.
    wait_until(SOON, "a link to the replica", || !fakes[1].heard_named("CLUSTER").is_empty());
    assert_eq!(told("READONLY"), 0);
    reload(&proxy, &mut client, &replicas);
    assert_eq!(client.line("GET k"), bulk("replica"));
    assert_eq!((told("READONLY"), told("READWRITE")), (1, 0));
    let names: Vec<String> = fakes[1].heard().iter().map(|heard| heard.name()).collect();
    let first = |name: &str| names.iter().position(|other| other == name);
    assert!(first("READONLY") < first("GET"), "{names:?}");
    reload(&proxy, &mut client, &masters);
    assert_eq!(client.line("GET k"), bulk("master"));
    wait_until(SOON, "the replica to be told", || told("READWRITE") == 1);
}

#[test]
fn groups_of_sentinels_may_change_places_while_sentinels_are_asked() {
    if original_differs(LACKS) {
        return;
    }
    let mut watched = Watched::start(1, 2, 1);
    let conf = |watched: &Watched| watched.conf("    RefreshInterval 10ms");
    let orders = {
        let straight = conf(&watched);
        watched.groups.swap(0, 1);
        let crossed = conf(&watched);
        watched.groups.swap(0, 1);
        [straight, crossed]
    };
    let proxy = Proxy::start(&format!("WorkerThreads 2\n{}", orders[0]));
    proxy.wait_for_servers(2);
    let mut client = proxy.client();
    for round in 0..60 {
        let order = round % 2;
        reload(&proxy, &mut client, &orders[order]);
        for group in 0..2 {
            let key = watched.key_on(group, &format!("r{round}:"));
            let value = round.to_string();
            assert_eq!(client.cmd(&["SET", &key, &value]), ok());
            let home = if order == 0 { group } else { 1 - group };
            let mut direct = watched.groups[home].servers[0].client();
            assert_eq!(direct.cmd(&["GET", &key]), bulk(value), "round {round} group {group}");
        }
    }
    assert_eq!(proxy.servers().len(), 2);
}

#[test]
fn ten_reloads_under_load_cost_nobody_an_error() {
    if original_differs(LACKS) {
        return;
    }
    let cluster = shared_cluster();
    let conf = |round: u64| {
        let (slave, timeout) = (50 * (round % 2), 5 + round);
        let monitor = format!(
            "LatencyMonitor m{round} {{\nCommands {{\n+ all\n}}\nTimeSpan {{\n+ {}\n}}\n}}\n",
            100 + round
        );
        // Reads stay with the masters, or a client might not find what it has just written.
        let pool = cluster.conf_with(&format!(
            "RefreshInterval 50ms\nServerTimeout {timeout}\nDynamicSlaveReadPriority {slave}\n\
             ReadYourWrites 60s\nFailoverHold 2s"
        ));
        format!(
            "WorkerThreads 2\nMaxClients {}\nClientTimeout {}\n{monitor}{pool}",
            100 + round,
            900 + round
        )
    };
    let mut proxy = Proxy::start(&conf(0));
    proxy.wait_for_servers(cluster.len());
    let load = Load::start(&proxy, 4);
    let mut admin = proxy.client();
    for round in 1..=10 {
        let before = load.done();
        wait_until(SOON, "the load to go on", || load.done() > before + 500);
        proxy.write_conf(&conf(round));
        if round % 2 == 0 {
            proxy.process().signal("HUP");
            let want = (100 + round).to_string();
            wait_until(SOON, "the reload", || value(&mut admin, "MaxClients") == want);
        } else {
            assert_eq!(admin.line("CONFIG RELOAD"), ok());
        }
    }
    let before = load.done();
    wait_until(SOON, "the load to go on", || load.done() > before + 500);
    load.end();
    assert!(admin.line("INFO Latency m10").text().contains("m10"));
}
