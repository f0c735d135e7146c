//! The configuration that a user published in 2022, and what they saw.

use std::collections::BTreeMap;

use crate::support::{Proxy, bulk, ok, shared_cluster};

const PREDIXY_CONF: &str = "\
Name PredixyExample
Bind 0.0.0.0:{port}
WorkerThreads 4
ClientTimeout 300
Log ./predixy.log
LogVerbSample 0
LogDebugSample 0
LogInfoSample 10000
LogNoticeSample 1
LogWarnSample 1
LogErrorSample 1
Include auth.conf
Include cluster.conf
Include latency.conf
";

const AUTH_CONF: &str = "\
Authority {
    Auth {
        Mode write
    }
    Auth \"#a complex password#\" {
        Mode admin
    }
}
";

const LATENCY_CONF: &str = "\
LatencyMonitor all {
    Commands {
        + all
        - blpop
        - brpop
        - brpoplpush
    }
    TimeSpan {
        + 100
        + 500
        + 1000
        + 10000
        + 100000
        + 1000000
    }
}
LatencyMonitor get {
    Commands {
        + get
    }
    TimeSpan {
        + 100
        + 1000
    }
}
";

const POOL: &str = "    MasterReadPriority 60
    StaticSlaveReadPriority 50
    DynamicSlaveReadPriority 50
    RefreshInterval 1
    ServerTimeout 1
    ServerFailureLimit 10
    ServerRetryTimeout 1";

fn start() -> Proxy {
    Proxy::with(PREDIXY_CONF)
        .file("auth.conf", AUTH_CONF)
        .file("cluster.conf", shared_cluster().conf_with(POOL))
        .file("latency.conf", LATENCY_CONF)
        .start()
}

#[test]
fn info_lists_the_six_servers_with_role_and_group() {
    let cluster = shared_cluster();
    let proxy = start();
    proxy.wait_for_servers(6);
    let seen: BTreeMap<String, (String, String)> = proxy
        .servers()
        .into_iter()
        .map(|server| (server.address, (server.role, server.group)))
        .collect();
    let want = (0..6).map(|index| {
        let (role, master) = if index < 3 { ("master", index) } else { ("slave", index - 3) };
        (cluster.node(index).address(), (role.to_owned(), cluster.id(master).to_owned()))
    });
    assert_eq!(seen, want.collect());
}

#[test]
fn info_has_the_five_sections_in_order() {
    let proxy = start();
    // What comes after them is Redis's, for those who know no predixy.
    let info = proxy.client().line("INFO").text();
    let info = info.split("# Server\r\n").next().unwrap();
    let sections: Vec<&str> = info.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(
        sections,
        ["# Proxy", "# SystemResource", "# Stats", "# Servers", "# LatencyMonitor"]
    );
    assert!(info.contains("\nName:PredixyExample\n"), "{info}");
    assert!(info.contains("\nWorkerThreads:4\n"), "{info}");
    assert!(!info.contains('\r'), "INFO ends its lines as predixy does");
}

#[test]
fn it_serves_and_writes_its_log() {
    let proxy = start();
    proxy.wait_for_servers(6);
    let mut client = proxy.client();
    for number in 0..100 {
        let (key, value) = (format!("2022:{number}"), number.to_string());
        assert_eq!(client.cmd(&["SET", &key, &value]), ok());
        assert_eq!(client.cmd(&["GET", &key]), bulk(&value));
    }
    assert_ne!(proxy.scratch().read("predixy.log"), "");
}
