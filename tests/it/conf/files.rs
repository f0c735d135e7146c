//! Whole files: as people have them, as we ship them, and such as nobody would write.

use std::fs;
use std::path::{Path, PathBuf};

use predixy::conf::{Conf, PoolKind};

use super::{Folder, POOL};

#[test]
fn the_files_of_2022_load() {
    let pool = "ClusterServerPool {\n    MasterReadPriority 60\n    StaticSlaveReadPriority 50\n    \
                DynamicSlaveReadPriority 50\n    RefreshInterval 1\n    ServerTimeout 1\n    \
                ServerFailureLimit 10\n    ServerRetryTimeout 1\n    Servers {\n        \
                + 10.0.0.1:7001\n        + 10.0.0.2:7001\n        + 10.0.0.3:7001\n        \
                + 10.0.0.1:7002\n        + 10.0.0.2:7002\n        + 10.0.0.3:7002\n    }\n}\n";
    let folder = Folder::new(&[
        (
            "predixy.conf",
            "Name shop\nBind 0.0.0.0:7617\nWorkerThreads 4\nClientTimeout 300\n\
             Log ./predixy.log\nLogVerbSample 0\nLogDebugSample 0\nLogInfoSample 10000\n\
             LogNoticeSample 1\nLogWarnSample 1\nLogErrorSample 1\nInclude auth.conf\n\
             Include cluster.conf\nInclude latency.conf\n",
        ),
        (
            "auth.conf",
            "Authority {\n    Auth {\n        Mode write\n    }\n    Auth \"#a complex password#\" {\n        \
             Mode admin\n    }\n}\n",
        ),
        ("cluster.conf", pool),
        (
            "latency.conf",
            "LatencyMonitor all {\n    Commands {\n        + all\n        - blpop\n        - brpop\n        \
             - brpoplpush\n    }\n    TimeSpan {\n        + 100\n        + 1000\n    }\n}\n",
        ),
    ]);
    let conf = folder.load("predixy.conf").unwrap();
    assert!(conf.warnings.is_empty(), "{:?}", conf.warnings);
    assert_eq!((conf.name.as_str(), conf.worker_threads), ("shop", 4));
    assert_eq!(conf.client_timeout_us, 300_000_000);
    assert_eq!(conf.log.path.as_deref(), Some(Path::new("./predixy.log")));
    assert_eq!(conf.log.samples, [0, 0, 10_000, 1, 1, 1]);
    assert_eq!(conf.pool.common.master_read_priority, 60);
    let PoolKind::Cluster { servers } = &conf.pool.kind else { panic!("no cluster") };
    assert_eq!(servers.len(), 6);
    assert_eq!(conf.latency_monitors.len(), 1);
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf")
}

#[test]
fn the_sample_file_loads_and_listens_for_a_local_cluster() {
    let conf = Conf::load(&samples().join("predixy.conf"), &[]).unwrap();
    assert!(conf.warnings.is_empty(), "{:?}", conf.warnings);
    let PoolKind::Cluster { servers } = conf.pool.kind else { panic!("no cluster") };
    assert_eq!(servers[0].address.to_string(), "127.0.0.1:6379");
}

/// With each example switched on: those lines begin with one `#`, text begins with two.
fn with_examples(text: &str) -> String {
    let line = |line: &str| match line.trim_start().strip_prefix('#') {
        Some(rest) if !rest.starts_with('#') => rest.to_owned(),
        _ => line.to_owned(),
    };
    // A proxy has one pool.
    let other_pool = |line: &String| {
        ["cluster", "sentinel", "standalone"]
            .iter()
            .any(|pool| line.ends_with(&format!(" {pool}.conf")))
    };
    text.lines().map(line).filter(|line| !other_pool(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_examples_of_the_sample_files_are_true() {
    let mut files = Vec::new();
    for entry in fs::read_dir(samples()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "conf") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        for text in [text.clone(), with_examples(&text)] {
            let mut whole = text.clone();
            if !text.contains("ServerPool {") && !text.contains("\nInclude") {
                whole += "\n";
                whole += POOL;
            }
            if name == "dc.conf" {
                whole += "LocalDC bj";
            }
            let conf = Conf::parse(&path, whole.as_bytes(), &[]);
            let errors = conf.err().unwrap_or_default();
            assert!(errors.is_empty(), "{name}: {errors:#?}\n{whole}");
        }
        files.push(name);
    }
    files.sort();
    let predixys = "auth cluster command dc latency predixy sentinel standalone try";
    let predixys: Vec<_> = predixys.split(' ').map(|name| format!("{name}.conf")).collect();
    assert_eq!(files, predixys);
}

/// Bytes that come again with the same seed.
struct Soup(u64);

impl Soup {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// Pieces that take a file further than bytes by chance would.
const PIECES: &[&str] = &[
    "\n",
    "\n",
    "\n",
    "\r\n",
    " ",
    "\t",
    "#",
    "\"",
    "\\",
    "{",
    " {\n",
    "\n}\n",
    "}",
    "+",
    "+ ",
    "- ",
    "0",
    "1",
    "-1",
    "99999999999999999999",
    "ms",
    "G",
    ":",
    "@",
    "/",
    "[",
    "]",
    "|",
    "all",
    "get",
    "read",
    "Include ",
    "Include soup\n",
    "Bind ",
    "127.0.0.1:7617",
    "MaxMemory ",
    "LogRotate ",
    "WorkerThreads ",
    "Authority {\n",
    "Auth x {\n",
    "Mode ",
    "KeyPrefix ",
    "ClusterServerPool {\n",
    "Servers {\n",
    "+ 127.0.0.1:6379\n",
    "StandaloneServerPool {\n",
    "SentinelServerPool {\n",
    "Sentinels p {\n",
    "Group g {\n",
    "RefreshMethod ",
    "HashTag ",
    "Hash ",
    "Distribution ",
    "DataCenter {\n",
    "DC a {\n",
    "AddrPrefix {\n",
    "ReadPolicy {\n",
    "LocalDC a\n",
    "LatencyMonitor m {\n",
    "Commands {\n",
    "TimeSpan {\n",
    "CustomCommand {\n",
    "MinArgs ",
    "MaxArgs ",
    "keyAt2",
    "DisabledCommands {\n",
    "RefreshInterval ",
    "\u{feff}",
    "\0",
];

#[test]
fn no_file_is_too_odd() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = u64::from(now.subsec_nanos()) | 1;
    eprintln!("seed {seed}");
    let mut soup = Soup(seed);
    for _ in 0..20_000 {
        let mut text = Vec::new();
        for _ in 0..soup.next(60) {
            match soup.next(8) {
                0 => text.push(u8::try_from(soup.next(256)).unwrap()),
                _ => text.extend_from_slice(PIECES[soup.next(PIECES.len())].as_bytes()),
            }
        }
        if let Err(errors) = Conf::parse(Path::new("/nowhere/soup.conf"), &text, &[]) {
            assert!(!errors.is_empty(), "refused without a word: {}", text.escape_ascii());
            errors.iter().for_each(|error| assert!(!error.to_string().is_empty()));
        }
    }
}
