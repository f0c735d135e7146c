//! Configuration files: every message, every repaired defect, files as people have them, and
//! files that are none. Here the format and the keys outside of blocks.

mod blocks;
mod files;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use predixy::conf::{Conf, Override, PoolCommon, PoolKind, ProxyProtocol, Rotation, Secret};

/// A pool, for files that are about something else.
const POOL: &str = "ClusterServerPool {\n Servers {\n + 127.0.0.1:6379\n }\n}\n";

fn read(text: &str, overrides: &[Override]) -> Result<Conf, Vec<String>> {
    let conf = Conf::parse(Path::new("/c.conf"), text.as_bytes(), overrides);
    conf.map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// What `text` says. It must say the same with carriage returns and a byte order mark.
#[track_caller]
fn good(text: &str) -> Conf {
    let conf = read(text, &[]).unwrap_or_else(|errors| panic!("{text}\n{errors:#?}"));
    let other = read(&format!("\u{feff}{}", text.replace('\n', "\r\n")), &[]);
    let other = other.unwrap_or_else(|errors| panic!("with CR: {text}\n{errors:#?}"));
    assert_eq!(format!("{conf:?}"), format!("{other:?}"));
    conf
}

/// As [`good`], of lines that stand before a pool.
#[track_caller]
fn good_global(lines: &str) -> Conf {
    good(&format!("{lines}\n{POOL}"))
}

/// The mistakes of `text`, which must be the same with carriage returns.
#[track_caller]
fn bad(text: &str, want: &[&str]) {
    for text in [text, &text.replace('\n', "\r\n")] {
        match read(text, &[]) {
            Ok(_) => panic!("accepted, instead of {want:?}:\n{text}"),
            Err(errors) => assert_eq!(errors, want, "{text}"),
        }
    }
}

/// As [`bad`], of lines that stand before a pool; each message is of the line given.
#[track_caller]
fn bad_global(lines: &str, line: u32, want: &str) {
    bad(&format!("{lines}\n{POOL}"), &[&format!("/c.conf:{line} {want}")]);
}

/// As [`bad`], of lines in a pool that begins at line 1.
#[track_caller]
fn bad_pool(kind: &str, lines: &str, line: u32, want: &str) {
    bad(&format!("{kind} {{\n{lines}\n}}\n"), &[&format!("/c.conf:{line} {want}")]);
}

/// What the first warning is about, and that it is the only one.
#[track_caller]
fn warned(conf: &Conf, want: &str) {
    assert_eq!(conf.warnings, [want]);
}

/// A folder with files, gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("predixy-conf-{}-{count}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir_all(folder.0.join("inc")).unwrap();
        for (name, text) in files {
            fs::write(folder.0.join(name), text).unwrap();
        }
        folder
    }

    fn load(&self, name: &str) -> Result<Conf, Vec<String>> {
        let conf = Conf::load(&self.0.join(name), &[]);
        conf.map_err(|errors| errors.iter().map(|error| self.shorten(&error.to_string())).collect())
    }

    /// With `.` for the folder.
    fn shorten(&self, text: &str) -> String {
        text.replace(self.0.to_str().unwrap(), ".")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

// The file format.

#[test]
fn include_stands_for_the_lines_of_a_file() {
    let folder = Folder::new(&[
        ("main.conf", "Name a\nInclude inc/pool.conf\n"),
        ("inc/pool.conf", "ClusterServerPool {\nInclude servers.conf\n}\n"),
        ("inc/servers.conf", "Servers {\n+ 127.0.0.1:1\nInclude \"../more servers.conf\"\n"),
        ("more servers.conf", "+ 127.0.0.1:2\n}\nServerTimeout 2"),
    ]);
    let conf = folder.load("main.conf").unwrap();
    assert_eq!(conf.pool.common.server_timeout_us, 2_000_000);
    let PoolKind::Cluster { servers } = conf.pool.kind else { panic!("no cluster") };
    assert_eq!(servers.len(), 2);
}

#[test]
fn a_file_may_be_included_twice_but_not_in_itself() {
    let folder = Folder::new(&[
        ("twice.conf", "Include inc/x\nInclude inc/x\nInclude pool.conf"),
        ("pool.conf", POOL),
        ("inc/x", "LogInfoSample 1"),
        ("own.conf", "Include pool.conf\nInclude ./inc/../own.conf\n"),
        ("a.conf", "Include pool.conf\nInclude inc/b.conf\n"),
        ("inc/b.conf", "\nInclude ../a.conf\n"),
    ]);
    assert_eq!(folder.load("twice.conf").unwrap().log.samples[2], 1);
    let want = "include file ././inc/../own.conf duplicate in ./own.conf:2";
    assert_eq!(folder.load("own.conf").unwrap_err(), [want]);
    let want = "include file ./inc/../a.conf duplicate in ./inc/b.conf:2";
    assert_eq!(folder.load("a.conf").unwrap_err(), [want]);
}

#[test]
fn d64_an_include_that_cannot_be_read_names_its_line() {
    let folder = Folder::new(&[
        (
            "main.conf",
            "Name a\nInclude none.conf\nInclude inc\nInclude\nInclude \"\"\nNonsense 1\n",
        ),
        ("empty", ""),
    ]);
    assert_eq!(
        folder.load("main.conf").unwrap_err(),
        [
            "./main.conf:2 open file ./none.conf fail No such file or directory",
            "./main.conf:3 read file ./inc error: Is a directory",
            "./main.conf:4 filename is empty",
            "./main.conf:5 filename is empty",
            "./main.conf:6 unknown key Nonsense",
        ]
    );
    let want = "open file ./none fail No such file or directory";
    assert_eq!(folder.load("none").unwrap_err(), [want]);
    assert_eq!(folder.load("inc").unwrap_err(), ["read file ./inc error: Is a directory"]);
    assert_eq!(folder.load("empty").unwrap_err(), ["Must define a server pool"]);
    let errors = Conf::load(Path::new(""), &[]).unwrap_err();
    assert_eq!(errors[0].to_string(), "filename is empty");
}

#[test]
fn files_that_include_each_other_without_end_do_end() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let line = "# a comment of some length, so that it does not take too many files\n";
    let files: Vec<(&str, String)> = names
        .iter()
        .zip(names.iter().skip(1))
        .map(|(name, next)| (*name, format!("Include {next}\n").repeat(10) + line))
        .collect();
    let mut files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let last = line.repeat(1_000);
    files.push(("j", &last));
    let errors = Folder::new(&files).load("a").unwrap_err();
    assert!(errors[0].contains("makes the configuration longer than 8388608 bytes"), "{errors:?}");
}

#[test]
fn an_included_block_is_an_unknown_key() {
    bad_global("Include x {\n+ y\n}", 1, "unknown key Include");
}

#[test]
fn mistakes_in_the_format_are_told() {
    bad("Name {", &["parse error some scope no end /c.conf:1"]);
    bad("\n}\n", &["parse error unmatched end scope in /c.conf:2"]);
    let text = format!("{}{}{POOL}", "A {\n".repeat(11), "}\n".repeat(11));
    bad(&text, &["node depth limit 10 in /c.conf:11", "/c.conf:1 unknown key A"]);
    bad(
        &format!("Name \"a\" b\nLog \"x\n{POOL}"),
        &[
            "parse error in /c.conf:1: only { or a comment may follow the closing \"; write \\\" for a quote inside",
            "parse error in /c.conf:2: the value has no closing \"",
        ],
    );
}

#[test]
fn d23_values_keep_their_last_characters() {
    let conf = good_global(
        "Name the first one  # of two\nLogRotate 1d 2G\n\
         Authority {\nAuth a b {\nMode read\nKeyPrefix ab cd\n}\n}",
    );
    assert_eq!(conf.name, "the first one");
    assert_eq!(conf.log.rotation, Rotation { period_s: 86_400, size: 2 << 30 });
    let identity = &conf.authority.unwrap().identities[0];
    assert_eq!(identity.password, Secret::new(b"a b"));
    assert_eq!(identity.key_prefixes, Some(vec![b"ab".to_vec(), b"cd".to_vec()]));
}

#[test]
fn d25_blocks_begin_with_blanks_comments_and_carriage_returns() {
    good("ClusterServerPool { # the cluster\n Servers {  \t\n + 127.0.0.1:1\n }\n}\n");
}

#[test]
fn every_mistake_is_told_in_order() {
    bad(
        "Nonsense 1\nMaxMemory x\nAuthority {\nAuth {\n}\n}\nStandaloneServerPool {\nHash x\nX\n}\n",
        &[
            "/c.conf:1 unknown key Nonsense",
            "/c.conf:2 MaxMemory invalid memory value \"x\"; want bytes, or a number above 0 with K, M or G, as in 100M",
            "/c.conf:4 Auth require scope value",
            "/c.conf:8 unknown Hash; want atol or crc16",
            "/c.conf:9 unknown key X",
        ],
    );
}

#[test]
fn the_start_prints_the_first_mistake_as_predixy_does() {
    let errors = Conf::parse(Path::new("/c.conf"), b"Nonsense", &[]).unwrap_err();
    let line = errors[0].running_exception();
    let rest = line.strip_prefix("predixy running exception:checker.rs:").unwrap();
    let (number, message) = rest.split_once(' ').unwrap();
    assert!(number.parse::<u32>().is_ok(), "{line}");
    assert_eq!(message, "/c.conf:1 unknown key Nonsense");
}

// Keys outside of blocks.

#[test]
fn what_is_not_given_has_predixys_default() {
    let conf = good(POOL);
    assert_eq!(conf.binds.len(), 1);
    assert_eq!(conf.binds[0].address.to_string(), "0.0.0.0:7617");
    assert_eq!((conf.worker_threads, conf.buf_size, conf.max_memory), (1, 4_096, 0));
    assert_eq!(conf.client_timeout_us, 0);
    assert_eq!(conf.log.samples, [0, 0, 0, 1, 1, 1]);
    assert!(conf.log.allow_miss && conf.log.path.is_none() && conf.authority.is_none());
    assert_eq!(conf.pool.common, PoolCommon::default());
    assert!(conf.warnings.is_empty());
}

#[test]
fn keys_values_and_blocks_are_read_in_any_case() {
    let conf = good("NAME x\nallowmisslog FALSE\nclusterserverPOOL {\nSERVERS {\n+ a:1\n}\n}");
    assert_eq!(conf.name, "x");
    assert!(!conf.log.allow_miss);
}

#[test]
fn d57_numbers_are_read_to_their_end() {
    let want_seconds = "want whole seconds, as in 300";
    let long = |value| format!("ClientTimeout {value} is not an long integer; {want_seconds}");
    bad_global("ClientTimeout 300ms", 1, &long("300ms"));
    bad_global("ClientTimeout x", 1, &long("x"));
    bad_global("ClientTimeout -1", 1, "ClientTimeout -1 not in range [0, 9223372036854775807]");
    bad_global("BufSize 4096x", 1, "BufSize 4096x is not an integer; want a whole number");
    bad_global("BufSize 16", 1, "BufSize 16 not in range [17, 2147483647]");
    bad_global("BufSize 4294967313", 1, "BufSize 4294967313 not in range [17, 2147483647]");
    bad_global("LogInfoSample", 1, "LogInfoSample  is not an integer; want a whole number");
    bad_global(
        "LogInfoSample 2147483648",
        1,
        "LogInfoSample 2147483648 not in range [-2147483648, 2147483647]",
    );
    let pool = |line| format!("{line}\nServers {{\n+ a:1\n}}");
    let keep_alive = "KeepAlive 120ms is not an integer; want whole seconds, as in 300";
    bad_pool("ClusterServerPool", &pool("KeepAlive 120ms"), 2, keep_alive);
}

#[test]
fn seconds_may_be_written_as_the_manual_of_predixy_writes_them() {
    let conf =
        good("ClientTimeout 300s\nClusterServerPool {\nKeepAlive 120s\nServers {\n+ a:1\n}\n}");
    assert_eq!(conf.client_timeout_us, 300_000_000);
    assert_eq!(conf.pool.common.keep_alive_s, 120);
}

#[test]
fn a_client_timeout_beyond_all_time_is_for_ever() {
    let conf = good_global("ClientTimeout 9223372036854775807");
    assert_eq!(conf.client_timeout_us, u64::MAX);
}

#[test]
fn other_values_are_checked_too() {
    bad_global("AllowMissLog yes", 1, "AllowMissLog expect true or false");
    bad_global("LogFormat xml", 1, "unknown LogFormat xml; want text or json");
    let want = "want bytes, or a number above 0 with K, M or G, as in 100M";
    for wrong in ["x", "1T", "0M", "-1", "1.5G", "9223372036854775807G"] {
        let message = format!("MaxMemory invalid memory value \"{wrong}\"; {want}");
        bad_global(&format!("MaxMemory {wrong}"), 1, &message);
    }
    for wrong in ["2d", "25h", "1441m", "1g", "0G", "1", "h", "1x", "1d 2", "-1h"] {
        let message = format!(
            "invalid LogRotate \"{wrong}\"; want 1d, 1h to 24h or 1m to 1440m, and a size in G or M, as in 1d 2G"
        );
        bad_global(&format!("LogRotate {wrong}"), 1, &message);
    }
    let want = "want seconds, or a number above 0 with s, ms or us, as in 300ms";
    let message = format!("ShutdownTimeout invalid duration value \"1h\"; {want}");
    bad_global("ShutdownTimeout 1h", 1, &message);
    bad_global(
        "SlowlogLogSlowerThan soon",
        1,
        "SlowlogLogSlowerThan invalid duration value \"soon\"; want microseconds, a number above 0 with s, ms or us, or -1",
    );
    bad_global("MaxClients 0", 1, "MaxClients 0 not in range [1, 9223372036854775807]");
    bad_global("MaxClients all", 1, "MaxClients all is not an integer; want a number or auto");
}

#[test]
fn worker_threads_may_be_left_to_the_machine() {
    assert_eq!(good_global("WorkerThreads 0").worker_threads, 0);
    assert_eq!(good_global("WorkerThreads Auto").worker_threads, 0);
    assert_eq!(good_global("WorkerThreads 4").worker_threads, 4);
    let want = "WorkerThreads 2x is not an integer; want a number or auto";
    bad_global("WorkerThreads 2x", 1, want);
    bad_global("WorkerThreads -1", 1, "WorkerThreads -1 not in range [0, 1024]");
}

#[test]
fn d26_a_size_of_2_gib_and_more_is_a_size() {
    let size = |text: &str| good_global(&format!("LogRotate {text}")).log.rotation.size;
    assert_eq!(size("2G"), 2 << 30);
    assert_eq!(size("2048M"), 2 << 30);
    assert_eq!(size("1h 4G"), 4 << 30);
    assert_eq!(size("30m"), 0);
    assert_eq!(size(""), 0);
}

#[test]
fn d40_addresses_are_checked_while_the_file_is_read() {
    let bind = |text: &str| good_global(&format!("Bind {text}")).binds[0].address.to_string();
    assert_eq!(bind("127.0.0.1:7617"), "127.0.0.1:7617");
    assert_eq!(bind("::1:7617"), "[::1]:7617");
    assert_eq!(bind("[::1]:7617"), "[::1]:7617");
    assert_eq!(bind("/tmp/predixy"), "/tmp/predixy");
    assert_eq!(bind("*:7617"), "*:7617");
    for (wrong, why) in [
        ("127.0.0.1", "has no port: expected host:port or /path"),
        ("", "has no port: expected host:port or /path"),
        ("127.0.0.1:65536", "has no valid port: expected a number from 0 to 65535"),
        (":7617", "has no host before the port"),
        ("a b:7617", "has neither an IP address nor a host name before the port"),
    ] {
        let message = format!("Bind invalid addr {wrong}: it {why}");
        bad_global(&format!("Bind {wrong}"), 1, &message);
    }
    let message = "AnnounceAddr invalid addr /tmp/x: it is no host:port";
    bad_global("AnnounceAddr /tmp/x", 1, message);
}

#[test]
fn bind_may_be_given_several_times() {
    let conf = good_global(
        "Bind 127.0.0.1:1\nBind [::1]:1 ProxyProtocol\nBind \"/tmp/a b\"\n\
         Bind /tmp/b  proxyprotocol userfromcertificate",
    );
    let binds: Vec<_> =
        conf.binds.iter().map(|bind| (bind.address.to_string(), bind.proxy_protocol)).collect();
    let want = [
        ("127.0.0.1:1", ProxyProtocol::No),
        ("[::1]:1", ProxyProtocol::Addresses),
        ("/tmp/a b", ProxyProtocol::No),
        ("/tmp/b", ProxyProtocol::Users),
    ];
    assert_eq!(binds, want.map(|(address, proxy)| (address.to_owned(), proxy)));
    assert_eq!(good_global("Bind 127.0.0.1:1\nBind 127.0.0.1:1").binds.len(), 1);
    let many: String = (1..=65).map(|port| format!("Bind 127.0.0.1:{port}\n")).collect();
    bad_global(&many, 65, "Bind may be given 64 times at most");
    let message = "Bind UserFromCertificate without ProxyProtocol before it: certificates are told \
                   by the header of the PROXY protocol";
    bad_global("Bind 127.0.0.1:1 UserFromCertificate", 1, message);
    let nobody = "UserFromCertificate names nobody: no Auth block has a User";
    for (authority, is_warned) in [
        ("", true),
        ("Authority {\nAuth a {\nMode read\n}\n}\n", true),
        ("Authority {\nAuth a {\nUser u\nMode read\n}\n}\n", false),
    ] {
        let lines = format!("Bind 127.0.0.1:1 ProxyProtocol UserFromCertificate\n{authority}");
        let warnings = good_global(&lines).warnings;
        assert_eq!(warnings.iter().any(|line| line.ends_with(nobody)), is_warned, "{warnings:?}");
    }
}

#[test]
fn the_keys_that_predixy_lacks_are_read() {
    let conf = good_global(
        "MaxClients 100\nClientOutputLimit 1M\nClientQueryLimit 2M\nShutdownTimeout 1500ms\n\
         AnnounceAddr proxy:7617\nMetricsBind 127.0.0.1:9100\nSlowlogLogSlowerThan 5ms\n\
         SlowlogMaxLen 10\nLogFormat JSON\nDisabledCommands {\n+ KEYS\n+ flushall\n}",
    );
    assert_eq!(conf.max_clients, Some(100));
    assert_eq!((conf.client_output_limit, conf.client_query_limit), (1 << 20, 2 << 20));
    assert_eq!(conf.shutdown_timeout_us, 1_500_000);
    assert_eq!(conf.announce.unwrap().to_string(), "proxy:7617");
    assert_eq!(conf.metrics_bind.unwrap().to_string(), "127.0.0.1:9100");
    assert_eq!((conf.slowlog_slower_than_us, conf.slowlog_max_len), (Some(5_000), 10));
    assert!(conf.log.json);
    assert_eq!(conf.disabled_commands, ["keys", "flushall"]);
    assert_eq!(good_global("SlowlogLogSlowerThan -1").slowlog_slower_than_us, None);
    assert_eq!(good_global("SlowlogLogSlowerThan 20").slowlog_slower_than_us, Some(20));
    bad_global("DisabledCommands {\n+ nonsense\n}", 2, "unknown Command \"nonsense\"");
    bad_global("DisabledCommands {\nkeys\n}", 2, "invalid DisabledCommands; want + command");
    bad_global("DisabledCommands", 1, "DisabledCommands require scope value");
}

#[test]
fn of_a_key_given_twice_the_last_counts() {
    let conf = good_global("Name a\nLogInfoSample 1\nname b");
    assert_eq!(conf.name, "b");
    warned(&conf, "/c.conf:3 Name is given again, /c.conf:1 is ignored");
    let conf = good_global("Name a\nName b\nName c");
    assert_eq!(conf.warnings[1], "/c.conf:3 Name is given again, /c.conf:2 is ignored");
}

#[test]
fn of_a_block_given_twice_the_last_counts() {
    let conf = good(&format!(
        "Authority {{\nNonsense\n}}\nAuthority {{\nAuth {{\nMode read\n}}\n}}\n{POOL}"
    ));
    assert_eq!(conf.authority.as_ref().unwrap().identities.len(), 1);
    warned(&conf, "/c.conf:4 Authority is used, and Authority of /c.conf:1 is ignored");
}

#[test]
fn what_is_accepted_but_hardly_meant_is_warned_of() {
    warned(
        &good_global("MaxMemory 512"),
        "/c.conf:1 MaxMemory is 512 bytes only; 512M are megabytes",
    );
    warned(&good_global("Name a {\nb\n}"), "/c.conf:1 the block of Name is ignored");
    warned(
        &good_global("Name \"a\\b\""),
        "/c.conf:1 only \\\" and \\\\ are escapes; other backslashes stand for themselves",
    );
}

// The command line.

#[test]
fn the_command_line_overrules_the_file() {
    let set = |name, value: &str| Override { name, value: value.as_bytes().to_vec() };
    let text = format!("Name a\nBind 127.0.0.1:1\nBind 127.0.0.1:2\n{POOL}");
    let overrides =
        [set("Name", "b"), set("Bind", "/a"), set("Bind", "/b"), set("WorkerThreads", "3")];
    let conf = read(&text, &overrides).unwrap();
    assert_eq!((conf.name.as_str(), conf.worker_threads), ("b", 3));
    assert_eq!(conf.binds.len(), 1);
    assert_eq!(conf.binds[0].address.to_string(), "/b");
    for (name, value, want) in [
        ("WorkerThreads", "x", "WorkerThreads x is not an integer; want a number or auto"),
        (
            "Bind",
            "a:70000",
            "Bind invalid addr a:70000: it has no valid port: expected a number from 0 to 65535",
        ),
    ] {
        let errors = read(POOL, &[set(name, value)]).unwrap_err();
        assert_eq!(errors, [format!("invalid argument \"--{name}={value}\": {want}")]);
    }
    let errors = read(POOL, &[set("LocalDC", "bj")]).unwrap_err();
    assert_eq!(errors, ["LocalDC \"bj\" no exists in DataCenter"]);
}
