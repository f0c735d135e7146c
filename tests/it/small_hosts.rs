//! Hosts that lack something: no `/proc`, nothing to write to, no names, no IPv6, little memory, and
//! a user who may do little.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use crate::support::{
    Answer, Client, FakeServer, Proxy, RedisCluster, RedisServer, SOON, Scratch, Value, binary,
    bulk, free_port, ok, original_differs, wait_until,
};

const SOME_POOL: &str = "ClusterServerPool {\n    Servers {\n        + 127.0.0.1:1\n    }\n}\n";

/// A client for whoever cannot be reached by its network; answers that need no server come.
#[track_caller]
fn check_alive(proxy: &Proxy) {
    let mut client = proxy.client();
    assert_eq!(client.cmd(&["ECHO", "here"]), bulk("here"));
    assert!(client.line("INFO").text().contains("# Proxy"));
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout.trim_ascii() == b"0"
}

/// What the kernel says of a process.
fn status_of(id: u32, what: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the status of a process");
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn without_proc_nothing_is_missed() {
    let conf = format!("Bind {{dir}}/socket\n{SOME_POOL}");
    let Some(start) = Proxy::with(&conf).in_world("mount -t tmpfs none /proc") else {
        eprintln!("skipped: no namespaces");
        return;
    };
    let proxy = start.start();
    check_alive(&proxy);
    assert!(proxy.figure("MaxRSS") > 100_000, "getrusage knows it without /proc");
}

#[test]
fn where_nothing_can_be_written_it_runs_or_says_what_it_cannot_write() {
    if original_differs("D-50: it ends with a backtrace") {
        return;
    }
    let read_only = "mount --bind / / && mount -o remount,ro,bind / && cd \"$PWD\"";
    let log = "Bind 127.0.0.1:{port}\nLog {dir}/predixy.log\n";
    for (lines, complaint) in [(log, "set log file"), ("Bind {dir}/socket\n", "socket bind to")] {
        let conf = format!("{lines}{SOME_POOL}");
        let Some(start) = Proxy::with(&conf).in_world(read_only) else {
            eprintln!("skipped: no namespaces");
            return;
        };
        let Err(said) = start.try_start() else { panic!("it starts without {complaint}") };
        assert!(said.contains(complaint) && said.contains("Read-only file system"), "{said}");
    }
}

#[test]
fn a_name_that_nothing_can_look_up_is_one_server_that_cannot_be_reached() {
    let world = "mount -t tmpfs none /etc";
    let conf = "Bind {dir}/socket\nClusterServerPool {\n    Servers {\n        + redis.example:6379\n    }\n}\n";
    let Some(start) = Proxy::with(conf).in_world(world) else {
        eprintln!("skipped: no namespaces");
        return;
    };
    let proxy = start.start();
    check_alive(&proxy);
    wait_until(SOON, "the log to say why", || proxy.log().contains("redis.example"));
}

#[test]
fn without_ipv6_a_star_is_every_ipv4_address_and_an_ipv6_address_an_error() {
    let world = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && \
                 echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6";
    let conf = format!("Bind *:{{port}}\nBind {{dir}}/socket\n{SOME_POOL}");
    let Some(start) = Proxy::with(&conf).in_world(world) else {
        eprintln!("skipped: no namespaces, or no IPv6 to switch off");
        return;
    };
    check_alive(&start.start());
    let conf = format!("Bind [::1]:{{port}}\n{SOME_POOL}");
    let start = Proxy::with(&conf).in_world(world).expect("the same again");
    let Err(said) = start.try_start() else { panic!("it listens where there is nothing") };
    assert!(said.contains("socket bind to [::1]:"), "{said}");
}

#[test]
fn eight_megabytes_are_enough_to_work_with() {
    // Each large request makes a connection, which a server that others keep busy may not accept soon.
    let cluster = RedisCluster::start(3, 0);
    let pool = cluster.conf_with("    RefreshInterval 100ms\n    ConnectTimeout 20s");
    let proxy = Proxy::start(&format!("MaxMemory 8M\n{pool}"));
    proxy.wait_for_servers(cluster.len());
    let mut clients: Vec<Client> = (0..50).map(|_| proxy.client()).collect();
    let value = "x".repeat(100_000);
    for (number, client) in clients.iter_mut().enumerate() {
        let key = format!("small:{number}");
        assert_eq!(client.cmd(&["SET", &key, &value]), ok());
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let key = format!("small:{number}");
        assert_eq!(client.cmd(&["GET", &key]), bulk(&value));
        assert_eq!(client.cmd(&["DEL", &key]), Value::Int(1));
    }
}

#[test]
fn a_clock_before_1970_or_after_2038_is_only_a_strange_date() {
    let Some(library) = faketime() else {
        eprintln!("skipped: no faketime");
        return;
    };
    let server = RedisServer::start();
    for (date, want) in [("1960-02-03 04:05:06", "19"), ("2040-02-03 04:05:06", "2040-02-03")] {
        let scratch = Scratch::new("clock");
        let socket = scratch.path().join("socket");
        let conf = format!(
            "Bind {}\nLog {}/log\nStandaloneServerPool {{\n    RefreshMethod fixed\n    Group a {{\n        \
             + 127.0.0.1:{}\n    }}\n}}\n",
            socket.display(),
            scratch.path().display(),
            server.port()
        );
        let path = scratch.write("conf", &conf);
        let mut command = Command::new(binary());
        command.arg(path).env("LD_PRELOAD", &library).env("FAKETIME", format!("@{date}"));
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("TZ", "UTC");
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut process = crate::support::Process::start(&mut command);
        let address = crate::support::Address::Unix(socket);
        wait_until(SOON, "an answer", || {
            assert_eq!(process.ended(), None, "{date}: {}", scratch.read("log"));
            Client::try_connect(&address).is_ok()
        });
        let mut client = Client::connect(&address);
        assert_eq!(client.cmd(&["SET", "clock", date]), ok());
        assert_eq!(client.cmd(&["GET", "clock"]), bulk(date));
        wait_until(SOON, "a line in the log", || scratch.read("log").contains("running"));
        let log = scratch.read("log");
        assert!(log.starts_with(want), "{date}: {log}");
        process.signal("TERM");
        assert!(process.wait(SOON).is_some_and(|status| status.success()));
    }
}

#[test]
fn d44_a_clock_that_is_set_back_stops_nothing() {
    let Some(library) = faketime() else {
        eprintln!("skipped: no faketime");
        return;
    };
    if original_differs("D-44: asks nobody anything until it is as late as before") {
        return;
    }
    let start = |port: u16| {
        FakeServer::start_at(port, |heard| match heard.name().as_str() {
            "GET" => Answer::bulk("well"),
            _ => Answer::Usual,
        })
    };
    let port = free_port();
    let fake = start(port);
    let scratch = Scratch::new("set-back");
    let clock = scratch.write("clock", "+0");
    let lines = "    ServerFailureLimit 1\n    ServerRetryTimeout 50ms\n";
    let proxy = Proxy::with(&FakeServer::conf(std::slice::from_ref(&fake), lines))
        .variable("LD_PRELOAD", library.as_str())
        .variable("FAKETIME_TIMESTAMP_FILE", clock.to_string_lossy())
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.line("GET k"), bulk("well"));
    // What time it is there, a watcher is told with every request.
    let mut watcher = proxy.client();
    assert_eq!(watcher.line("MONITOR"), ok());
    let mut time = || {
        client.line("GET k");
        let told = watcher.reply().text();
        told.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok()).expect("a time")
    };
    let before = time();
    scratch.write("clock", "-10d");
    wait_until(SOON, "it to be ten days ago", || time() + 9 * 86_400 < before);

    let asked = fake.heard_named("CLUSTER").len();
    wait_until(SOON, "nodes to be asked for", || fake.heard_named("CLUSTER").len() > asked + 3);
    drop(fake);
    wait_until(SOON, "it to be failed", || proxy.servers().iter().any(|one| one.is_failed));
    let _again = start(port);
    wait_until(SOON, "it to be well", || proxy.client().line("GET k") == bulk("well"));
}

/// The library that tells a program another time, if it is installed.
fn faketime() -> Option<String> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let mut places = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    places.find(|path| path.exists()).map(|path| path.to_string_lossy().into_owned())
}

#[test]
fn root_becomes_the_user_that_it_is_told_to_and_nobody_gains_rights() {
    if original_differs("it has no User") {
        return;
    }
    if !is_root() {
        let conf = format!("User root\n{SOME_POOL}");
        let Err(said) = Proxy::with(&conf).try_start() else { panic!("it starts") };
        assert!(said.contains("User root: only root can become another user"), "{said}");
        return;
    }
    let folder = Scratch::new("user");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let log = folder.path().join("log");
    let conf = format!(
        "User 4711:4712\nUnixSocketGroup 4713\nBind {}\nLog {}\nWorkerThreads 2\n{SOME_POOL}",
        folder.path().join("socket").display(),
        log.display()
    );
    let mut proxy = Proxy::start(&conf);
    check_alive(&proxy);
    let id = proxy.process().id();
    assert_eq!(status_of(id, "Uid"), "4711 4711 4711 4711");
    assert_eq!(status_of(id, "Gid"), "4712 4712 4712 4712");
    assert_eq!(status_of(id, "Groups"), "4712");
    for task in fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        assert!(status.contains("Uid:\t4711\t4711\t4711\t4711\n"), "{status}");
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
    }
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    assert_eq!(owner(&log), 4711);
    assert_eq!(owner(&folder.path().join("socket")), 4711);
    assert_eq!(fs::metadata(folder.path().join("socket")).unwrap().gid(), 4713);
    assert!(proxy.terminate().success());
    assert!(!folder.path().join("socket").exists(), "its own socket it can remove");
}

#[test]
fn a_user_that_is_not_there_is_an_error() {
    if original_differs("it has no User") {
        return;
    }
    let conf = format!("User no-such-user\n{SOME_POOL}");
    let Err(said) = Proxy::with(&conf).try_start() else {
        panic!("it starts as nobody knows whom")
    };
    assert!(said.contains("User no-such-user: there is no user no-such-user"), "{said}");
}
