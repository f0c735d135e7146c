//! Client libraries as people use them, against the proxy in front of every kind of pool.
//!
//! `make test-clients` runs these; `make test` does not, because each library is installed by
//! its own package manager first, or by the system's. Each test copies the programs of one folder here to the target
//! folder, has the package manager fetch what they need there, and runs them. They find the
//! ports of the proxies in their environment:
//!
//! - `SINGLE`: in front of one server
//! - `TWO_GROUPS`: in front of two servers
//! - `CLUSTER`: in front of a cluster of three masters
//!
//! Every program goes through the same list: connections in both protocols, values of all types,
//! pipelines, transactions, scripts, blocking reads, scans, streams with consumer groups,
//! subscriptions, and a client that takes the proxy for a cluster.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on stops and says why"
)]
#![allow(clippy::cast_possible_truncation, reason = "of the helpers of the other tests")]

#[allow(dead_code, reason = "these tests need less of it than the others")]
#[allow(unused_imports, reason = "these tests need less of it than the others")]
#[path = "../it"]
mod it {
    pub mod support;
}

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use it::support::{AnyPool, Proxy, RedisCluster, RedisServer, groups_conf, program_exists};

/// The proxies that all programs use, each with keys of its own.
struct Pools {
    // Dropped in this order: the proxies before the servers.
    single: AnyPool,
    groups: Proxy,
    cluster: Proxy,
    _servers: Vec<RedisServer>,
    _nodes: RedisCluster,
}

impl Pools {
    fn start() -> Pools {
        let nodes = RedisCluster::start(3, 0);
        let cluster = Proxy::for_cluster(&nodes);
        let servers: Vec<RedisServer> = (0..2).map(|_| RedisServer::start()).collect();
        let addresses: Vec<String> = servers.iter().map(RedisServer::address).collect();
        // Keys with the same tag live together, as in a cluster.
        let conf = groups_conf(&addresses).replace("Hash crc16", "Hash crc16\n    HashTag {}");
        let groups = Proxy::start(&format!("WorkerThreads 2\n{conf}"));
        let single = AnyPool::groups(1, "");
        Pools { single, groups, cluster, _servers: servers, _nodes: nodes }
    }

    fn ports(&self) -> [(&'static str, String); 3] {
        [
            ("SINGLE", self.single.proxy.port().to_string()),
            ("TWO_GROUPS", self.groups.port().to_string()),
            ("CLUSTER", self.cluster.port().to_string()),
        ]
    }

    /// Runs a program; it says what is wrong and fails, or prints `done` at its end.
    #[track_caller]
    fn run(&self, command: &mut Command) {
        let shown = format!("{command:?}");
        let output = command.envs(self.ports()).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("{shown}: {error}"));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        eprintln!("{printed}");
        assert!(output.status.success(), "{shown}: {}\n{printed}", output.status);
        assert!(printed.contains("done\n"), "{shown} has not come to its end\n{printed}");
    }
}

/// The folder of one language in the target folder, with its programs as they are now.
fn folder(language: &str) -> PathBuf {
    let target = env!("CARGO_TARGET_TMPDIR");
    let folder = Path::new(target).parent().unwrap().join("clients").join(language);
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(language), &folder);
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder in the target folder");
    for entry in fs::read_dir(from).expect("the programs").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).expect("to copy a program");
        }
    }
}

/// Has a package manager do its work, or says why that is not possible.
#[track_caller]
fn install(command: &mut Command) {
    let shown = format!("{command:?}");
    let status = command.stdin(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{shown} fails");
}

/// The Python with the libraries that `requirements.txt` names.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = folder("py");
        let python = folder.join("venv/bin/python");
        if !python.exists() {
            install(Command::new("python3").args(["-m", "venv", "venv"]).current_dir(&folder));
        }
        let words = ["-m", "pip", "install", "--quiet", "-r", "requirements.txt"];
        install(Command::new(&python).args(words).current_dir(&folder));
        python
    })
}

#[track_caller]
fn run_python(program: &str, arguments: &[&str]) {
    let python = python();
    let pools = Pools::start();
    pools.run(Command::new(python).arg(folder("py").join(program)).args(arguments));
}

#[test]
fn redis_py() {
    run_python("redis_py.py", &["2"]);
}

#[test]
fn redis_py_in_resp3() {
    run_python("redis_py.py", &["3"]);
}

#[test]
fn redis_py_with_asyncio() {
    run_python("redis_py_async.py", &[]);
}

#[test]
fn celery() {
    run_python("celery_app.py", &[]);
}

/// The folder with the packages that `package.json` names.
fn node() -> &'static Path {
    static NODE: OnceLock<PathBuf> = OnceLock::new();
    NODE.get_or_init(|| {
        let folder = folder("js");
        let words = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"];
        install(Command::new("npm").args(words).current_dir(&folder));
        folder
    })
}

#[track_caller]
fn run_node(program: &str, arguments: &[&str]) {
    let node = node();
    let pools = Pools::start();
    pools.run(Command::new("node").arg(program).args(arguments).current_dir(node));
}

#[test]
fn ioredis() {
    run_node("ioredis.mjs", &[]);
}

#[test]
fn node_redis() {
    run_node("node_redis.mjs", &["2"]);
}

#[test]
fn node_redis_in_resp3() {
    run_node("node_redis.mjs", &["3"]);
}

#[test]
fn redis_rs() {
    let folder = folder("rs");
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let build = |command: &str| {
        let mut cargo = Command::new(cargo);
        cargo.args([command, "--quiet"]).current_dir(&folder);
        cargo.env("CARGO_TARGET_DIR", folder.join("target"));
        cargo
    };
    install(&mut build("build"));
    let pools = Pools::start();
    pools.run(&mut build("run"));
}

/// What Prometheus is told by way of redis_exporter.
#[test]
fn redis_exporter() {
    if has("prometheus-redis-exporter", &["--version"]) {
        run_python("exporter.py", &[]);
    }
}

#[test]
fn hiredis() {
    if !has("cc", &["-E", "-include", "hiredis/async.h", "-x", "c", "/dev/null"]) {
        return;
    }
    let folder = folder("c");
    let words = ["-std=gnu99", "-Wall", "-Werror", "-o", "hiredis", "hiredis.c", "-lhiredis"];
    install(Command::new("cc").args(words).current_dir(&folder));
    Pools::start().run(&mut Command::new(folder.join("hiredis")));
}

#[test]
fn phpredis() {
    if has("php", &["-r", "new Redis();"]) {
        Pools::start().run(Command::new("php").arg(folder("php").join("redis.php")));
    }
}

#[test]
fn redis_rb() {
    if has("ruby", &["-e", "require 'redis'"]) {
        Pools::start().run(Command::new("ruby").arg(folder("ruby").join("redis.rb")));
    }
}

/// Whether a library or tool is there that only the system's own packages have.
fn has(program: &str, words: &[&str]) -> bool {
    let mut command = Command::new(program);
    let status = command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let is_there = status.is_ok_and(|status| status.success());
    if !is_there {
        eprintln!("skipped: {program} {words:?} fails");
    }
    is_there
}

/// redis-cli as people and scripts use it.
#[test]
fn redis_cli() {
    assert!(program_exists("redis-cli"), "redis-cli is missing");
    let pools = Pools::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/redis_cli.sh");
    pools.run(Command::new("sh").arg(script));
}
