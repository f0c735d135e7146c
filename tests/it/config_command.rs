//! CONFIG: predixy's settings by name and pattern, and changes that take effect at once.

use std::time::{Duration, Instant};

use crate::support::{
    AnyPool, Client, FakeServer, Proxy, SOON, array, bulk, error, ok, original_differs,
    shared_cluster, simple, wait_until,
};

const PREDIXYS: [&str; 14] = [
    "Name",
    "Bind",
    "WorkerThreads",
    "BufSize",
    "LocalDC",
    "MaxMemory",
    "ClientTimeout",
    "AllowMissLog",
    "LogVerbSample",
    "LogDebugSample",
    "LogInfoSample",
    "LogNoticeSample",
    "LogWarnSample",
    "LogErrorSample",
];

fn proxy(lines: &str) -> Proxy {
    Proxy::start(&format!("{lines}\n{}", shared_cluster().conf()))
}

#[track_caller]
fn names(client: &mut Client, line: &str) -> Vec<String> {
    let reply = client.line(line);
    reply.elements().chunks(2).map(|pair| pair[0].text()).collect()
}

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn value(client: &mut Client, name: &str) -> String {
    let reply = client.cmd(&["CONFIG", "GET", name]);
    let [_, value] = reply.elements() else { panic!("{name}: {reply:?}") };
    value.text()
}

#[test]
fn config_get_shows_predixys_settings_first_and_in_its_order() {
    let proxy = proxy("Name example\nMaxMemory 1G\nClientTimeout 300\nLogInfoSample 7\nLog x.log");
    let mut client = proxy.client();
    assert_eq!(names(&mut client, "CONFIG GET *")[..14], PREDIXYS);
    assert_eq!(client.line("CONFIG GET name"), array([bulk("Name"), bulk("example")]));
    let want = [
        ("Bind", format!("127.0.0.1:{}", proxy.port())),
        ("WorkerThreads", "1".to_owned()),
        ("BufSize", "4096".to_owned()),
        ("LocalDC", String::new()),
        ("MaxMemory", "1073741824".to_owned()),
        ("ClientTimeout", "300".to_owned()),
        ("AllowMissLog", "true".to_owned()),
        ("loginfosample", "7".to_owned()),
        ("LOGERRORSAMPLE", "1".to_owned()),
    ];
    for (name, want) in want {
        assert_eq!(value(&mut client, name), want, "{name}");
    }
}

#[test]
fn config_get_takes_patterns_and_several_of_them() {
    if original_differs("knows * only") {
        return;
    }
    let proxy = proxy("");
    let mut client = proxy.client();
    assert_eq!(names(&mut client, "CONFIG GET log*sample"), PREDIXYS[8..]);
    assert_eq!(names(&mut client, "CONFIG GET n?me [b]ind"), PREDIXYS[..2]);
    assert_eq!(names(&mut client, "CONFIG GET bufsize none Name name"), ["Name", "BufSize"]);
    let limits = names(&mut client, "CONFIG GET client*limit");
    assert_eq!(limits, ["ClientOutputLimit", "ClientQueryLimit"]);
}

#[test]
fn what_is_no_setting_is_an_empty_array() {
    let proxy = proxy("");
    let mut client = proxy.client();
    for name in ["port", "requirepass", "Password", "masterauth"] {
        assert_eq!(client.cmd(&["CONFIG", "GET", name]), array([]), "{name}");
    }
}

#[test]
fn config_set_changes_what_config_get_shows() {
    let proxy = proxy("");
    let mut client = proxy.client();
    let changes = [
        ("ClientTimeout", "300", "300"),
        ("allowmisslog", "false", "false"),
        ("LogVerbSample", "3", "3"),
        ("LogInfoSample", "10000", "10000"),
        ("LogErrorSample", "0", "0"),
    ];
    for (name, new, shown) in changes {
        assert_eq!(client.cmd(&["CONFIG", "SET", name, new]), ok(), "{name}");
        assert_eq!(value(&mut client, name), shown, "{name}");
    }
    if original_differs("has none of these") {
        return;
    }
    let line = "CONFIG SET MaxClients 50 ClientOutputLimit 10M ShutdownTimeout 2s";
    assert_eq!(client.line(line), ok());
    assert_eq!(value(&mut client, "MaxClients"), "50");
    assert_eq!(value(&mut client, "ClientOutputLimit"), "10485760");
    assert_eq!(value(&mut client, "ShutdownTimeout"), "2s");
    assert_eq!(value(&mut client, "ClientTimeout"), "300");
}

#[test]
fn config_set_refuses_what_is_wrong_and_changes_nothing() {
    let proxy = proxy("ClientTimeout 5");
    let mut client = proxy.client();
    let wrong = error("ERR argument wrong");
    for line in [
        "CONFIG SET nonsense 1",
        "CONFIG SET WorkerThreads 2",
        "CONFIG SET Log x.log",
        "CONFIG SET Databases 9",
        "CONFIG SET RefreshInterval -1",
        "CONFIG SET ClientTimeout x",
        "CONFIG SET ClientTimeout -1",
        "CONFIG SET AllowMissLog perhaps",
    ] {
        assert_eq!(client.line(line), wrong, "{line}");
    }
    assert_eq!(value(&mut client, "ClientTimeout"), "5");
    if original_differs("takes one setting only") {
        return;
    }
    assert_eq!(client.line("CONFIG SET ClientTimeout 9 Nonsense 1"), wrong);
    assert_eq!(value(&mut client, "ClientTimeout"), "5");
    let arity = error("ERR wrong number of arguments for 'config|set' command");
    assert_eq!(client.line("CONFIG SET ClientTimeout 9 Name"), arity);
    wait_until(SOON, "the log to say so", || proxy.log().contains("config set refused"));
}

#[test]
fn other_subcommands_are_answered_as_by_a_server() {
    let proxy = proxy("");
    let mut client = proxy.client();
    assert_eq!(client.line("CONFIG RESETSTAT"), ok());
    if original_differs("says 'CONFIG subcommand must be one of GET, SET', and 'config'") {
        return;
    }
    let unknown = |word: &str| error(&format!("ERR unknown subcommand '{word}'. Try CONFIG HELP."));
    assert_eq!(client.line("CONFIG NONSENSE"), unknown("NONSENSE"));
    assert_eq!(client.line("CONFIG nonsense a"), unknown("nonsense"));
    let arity = |name: &str| error(&format!("ERR wrong number of arguments for '{name}' command"));
    assert_eq!(client.line("CONFIG"), arity("config"));
    assert_eq!(client.line("CONFIG GET"), arity("config|get"));
    assert_eq!(client.line("CONFIG SET Name"), arity("config|set"));
    assert!(client.line("CONFIG HELP").elements().len() > 3);
}

#[test]
fn config_takes_the_rights_of_an_admin() {
    let authority = "Authority {\nAuth w {\nMode write\n}\nAuth a {\nMode admin\n}\n}";
    let pool = AnyPool::groups(1, authority);
    let mut client = pool.proxy.client();
    assert_eq!(client.line("AUTH w"), ok());
    for line in ["CONFIG GET *", "CONFIG SET ClientTimeout 1", "CONFIG RESETSTAT"] {
        assert_eq!(client.line(line), error("ERR auth permission deny"), "{line}");
    }
    assert_eq!(client.line("AUTH a"), ok());
    assert_eq!(client.line("CONFIG GET name"), array([bulk("Name"), bulk("")]));
}

#[test]
fn a_new_client_timeout_is_in_effect_at_once_and_can_be_taken_back() {
    let proxy = proxy("WorkerThreads 2");
    let mut idle: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    idle.iter_mut().for_each(|client| assert_eq!(client.line("PING"), simple("PONG")));
    let mut admin = proxy.client();
    assert_eq!(admin.line("CONFIG SET ClientTimeout 1"), ok());
    idle.iter_mut().for_each(Client::expect_closed);
    let mut admin = proxy.client();
    assert_eq!(admin.line("CONFIG SET ClientTimeout 0"), ok());
    let mut other = proxy.client();
    assert_eq!(other.line("PING"), simple("PONG"));
    let start = Instant::now();
    wait_until(SOON, "more time to pass than was allowed", || start.elapsed() >= 2 * SECOND);
    assert_eq!(other.line("PING"), simple("PONG"));
}

#[test]
fn new_limits_are_in_effect_at_once() {
    if original_differs("has no such limits") {
        return;
    }
    let fakes = [FakeServer::start(|heard| match heard.name().as_str() {
        "GET" => crate::support::Answer::bulk(vec![b'x'; 30 << 20]),
        "SET" => crate::support::Answer::text("+OK\r\n"),
        _ => crate::support::Answer::Usual,
    })];
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(1);
    let mut admin = proxy.client();
    // Of a large reply more than this is read before the rest is left to the server.
    assert_eq!(admin.line("CONFIG SET ClientQueryLimit 20K ClientOutputLimit 100K"), ok());
    let mut large = proxy.client();
    let refused = large.cmd(&["SET", "k", &"x".repeat(30_000)]);
    assert!(
        refused.error_text().is_some_and(|text| text.starts_with("ERR Protocol")),
        "{refused:?}"
    );
    let mut slow = proxy.client();
    slow.send(crate::support::wire(&["GET", "k"]));
    let log = || proxy.log();
    wait_until(SOON, "the client that does not read to be cut off", || {
        log().contains("does not read")
    });
    assert_eq!(admin.line("CONFIG SET MaxClients 1"), ok());
    let mut refused = proxy.client();
    let reply = refused.try_reply();
    assert_eq!(reply, Ok(error("ERR max number of clients reached")));
    assert_eq!(admin.line("CONFIG SET MaxClients auto ClientQueryLimit 0"), ok());
    let mut large = proxy.client();
    assert_eq!(large.cmd(&["SET", "k", &"x".repeat(30_000)]), ok());
}

#[test]
fn log_samples_are_in_effect_at_once() {
    let proxy = proxy("Log {dir}/predixy.log");
    let mut admin = proxy.client();
    assert!(!proxy.log().contains("RESP h "));
    assert_eq!(admin.line("CONFIG SET LogInfoSample 1"), ok());
    wait_until(SOON, "a request to be logged", || {
        assert_eq!(admin.line("PING"), simple("PONG"));
        proxy.log().contains("RESP h ")
    });
}

#[test]
fn settings_of_the_pool_can_be_changed_too() {
    if original_differs("has none of these") {
        return;
    }
    let fakes: Vec<FakeServer> = (0..2)
        .map(|index| {
            FakeServer::start(move |heard| match heard.name().as_str() {
                "GET" => crate::support::Answer::bulk(["master", "replica"][index]),
                "INCR" => crate::support::Answer::Silence,
                _ => crate::support::Answer::Usual,
            })
        })
        .collect();
    let line = crate::support::nodes_line;
    let master = line(1, &fakes[0].bus_address(), "master", "-", "0-16383");
    let replica = line(2, &fakes[1].bus_address(), "slave", &format!("{:040x}", 1), "");
    fakes.iter().for_each(|fake| fake.set_nodes(&format!("{master}{replica}")));
    let proxy = Proxy::start(&format!(
        "WorkerThreads 2\nLog {{dir}}/predixy.log\n{}",
        FakeServer::conf(&fakes, "")
    ));
    proxy.wait_for_servers(2);
    let (mut admin, mut client) = (proxy.client(), proxy.client());
    assert_eq!(client.line("GET k"), bulk("master"));
    let change = "CONFIG SET MasterReadPriority 0 StaticSlaveReadPriority 50 ServerTimeout 300ms";
    assert_eq!(admin.line(change), ok());
    assert_eq!(value(&mut admin, "ServerTimeout"), "300ms");
    assert_eq!(names(&mut admin, "CONFIG GET *ReadPriority").len(), 3);
    wait_until(SOON, "the replica to be read from", || client.line("GET k") == bulk("replica"));
    assert_eq!(client.line("INCR k"), error("ERR server connection close"));
    assert_eq!(admin.line("CONFIG SET Name another LogFormat json"), ok());
    assert!(client.line("INFO proxy").text().contains("Name:another\n"));
    wait_until(SOON, "a line of JSON", || {
        assert_eq!(admin.line("CONFIG SET Log x"), error("ERR argument wrong"));
        proxy.log().lines().any(|line| line.starts_with("{\"time\""))
    });
    assert_eq!(names(&mut admin, "CONFIG GET *password*"), [""; 0]);
}

#[test]
fn resetstat_begins_to_count_anew() {
    let proxy = proxy("");
    let mut client = proxy.client();
    client.line("SET config:reset 1");
    assert!(proxy.figure("TotalRequests") > 0);
    assert_eq!(client.line("CONFIG RESETSTAT"), ok());
    wait_until(SOON, "the counters to begin anew", || proxy.figure("TotalRequests") < 20);
}
