//! Configuration files: every message, every repaired defect, files as people have them, and
//! files that are none.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use predixy::conf::{
    Conf, Distribution, Hash, Override, PoolCommon, PoolKind, RefreshMethod, Rotation, Secret,
    StandaloneConf,
};
use predixy::resp::command::Rights;

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

fn standalone(conf: &Conf) -> &StandaloneConf {
    match &conf.pool.kind {
        PoolKind::Standalone(pool) => pool,
        PoolKind::Cluster { .. } => panic!("a cluster"),
    }
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
            "./main.conf:3 read file ./inc error",
            "./main.conf:4 filename is empty",
            "./main.conf:5 filename is empty",
            "./main.conf:6 unknown key Nonsense",
        ]
    );
    let want = "open file ./none fail No such file or directory";
    assert_eq!(folder.load("none").unwrap_err(), [want]);
    assert_eq!(folder.load("inc").unwrap_err(), ["read file ./inc error"]);
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
    let conf = good_global("Bind 127.0.0.1:1\nBind [::1]:1 ProxyProtocol\nBind \"/tmp/a b\"");
    let binds: Vec<_> =
        conf.binds.iter().map(|bind| (bind.address.to_string(), bind.proxy_protocol)).collect();
    let want = [("127.0.0.1:1", false), ("[::1]:1", true), ("/tmp/a b", false)];
    assert_eq!(binds, want.map(|(address, proxy)| (address.to_owned(), proxy)));
    assert_eq!(good_global("Bind 127.0.0.1:1\nBind 127.0.0.1:1").binds.len(), 1);
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

// Authority.

#[test]
fn authority_is_read() {
    let conf = good_global(
        "Authority {\nAuth {\nMode READ\n}\nAuth \"#a b#\" {\nMode write\nKeyPrefix a b\n\
         KeyPrefix c\nReadKeyPrefix d\n}\nAuth pw {\nUser alice\nMode admin\nWriteKeyPrefix e\n}\n}",
    );
    let identities = conf.authority.unwrap().identities;
    let list = |words: &str| Some(words.split(' ').map(|word| word.as_bytes().to_vec()).collect());
    assert_eq!(identities[0].mode, Rights::Read);
    assert!(identities[0].password.is_empty() && identities[0].key_prefixes.is_none());
    assert_eq!(identities[1].password, Secret::new(b"#a b#"));
    assert_eq!(identities[1].mode, Rights::Write);
    assert_eq!(identities[1].key_prefixes, list("a b c"));
    assert_eq!(identities[1].read_key_prefixes, list("d"));
    assert_eq!(identities[1].write_key_prefixes, None);
    assert_eq!(identities[2].user.as_deref(), Some("alice"));
    assert_eq!(identities[2].mode, Rights::Admin);
}

#[test]
fn mistakes_in_authority_are_told() {
    bad_global("Authority", 1, "Authority require scope value");
    bad_global("Authority {\n}", 1, "Authority require scope value");
    bad_global("Authority {\nUser a\n}", 2, "Authority allow only Auth element");
    bad_global("Authority {\nAuth a\n}", 2, "Auth require scope value");
    let mode = "Auth Mode must be read or write; want read, write or admin";
    bad_global("Authority {\nAuth a {\nMode rw\n}\n}", 3, mode);
    bad_global("Authority {\nAuth a {\nMode read\nReadPrefix x\n}\n}", 4, "unknown key ReadPrefix");
    bad_global("Authority {\nAuth a {\nMode read\nUser\n}\n}", 4, "User require a name");
}

#[test]
fn d54_an_identity_without_a_mode_is_a_mistake() {
    let want = "Auth require Mode; want Mode read, write or admin";
    bad_global("Authority {\nAuth a {\nKeyPrefix x\n}\n}", 2, want);
}

#[test]
fn of_two_identities_with_one_password_the_last_counts() {
    let auth = "Auth a {\nMode read\n}\nAuth a {\nMode admin\n}\nAuth a {\nUser b\nMode write\n}";
    let conf = good_global(&format!("Authority {{\n{auth}\n}}"));
    let modes: Vec<_> =
        conf.authority.as_ref().unwrap().identities.iter().map(|one| one.mode).collect();
    assert_eq!(modes, [Rights::Admin, Rights::Write]);
    let want = "/c.conf:5 Auth has the user and password of an earlier one, which is ignored";
    warned(&conf, want);
}

#[test]
fn no_password_is_shown() {
    let conf = good(
        "Authority {\nAuth hunter2 {\nMode read\n}\n}\nSentinelServerPool {\nPassword hunter2\n\
         Sentinels hunter2 {\n+ hunter2@a:1\n}\nGroup a {\n}\n}",
    );
    assert!(!format!("{conf:?}").contains("hunter2"));
    let server = |text: &str| format!("Servers {{\n+ {text}\n}}");
    let want = "invalid server define ***@; want + [password@]host:port or + [password@]/path";
    bad_pool("ClusterServerPool", &server("hunter2@"), 3, want);
    let want = "invalid server define ***@a; it has no port: expected host:port or /path";
    bad_pool("ClusterServerPool", &server("hunter2@a"), 3, want);
}

// Pools.

#[test]
fn a_cluster_is_read() {
    let conf = good(
        "ClusterServerPool {\nPassword a@b\nUsername proxy\nMasterReadPriority 60\n\
         StaticSlaveReadPriority 40\nDynamicSlaveReadPriority 30\nRefreshInterval 300ms\n\
         ServerTimeout 1500m\nConnectTimeout 700ms\nServerFailureLimit 2\nServerRetryTimeout 5u\n\
         KeepAlive 120\nFailoverHold 2\nReadYourWrites 1s\nServers {\n+ pw@127.0.0.1:1\n}\n\
         Servers {\n+ @/tmp/redis\n}\n}",
    );
    let common = PoolCommon {
        password: Some(Secret::new(b"a@b")),
        username: Some("proxy".to_owned()),
        master_read_priority: 60,
        static_slave_read_priority: 40,
        dynamic_slave_read_priority: 30,
        refresh_interval_us: 300_000,
        server_timeout_us: 1_500_000,
        connect_timeout_us: 700_000,
        server_failure_limit: 2,
        server_retry_timeout_us: 5,
        keep_alive_s: 120,
        databases: 1,
        failover_hold_us: 2_000_000,
        read_your_writes_us: 1_000_000,
    };
    assert_eq!(conf.pool.common, common);
    let PoolKind::Cluster { servers } = conf.pool.kind else { panic!("no cluster") };
    let servers: Vec<_> = servers
        .iter()
        .map(|server| (server.address.to_string(), server.password.as_deref()))
        .collect();
    assert_eq!(servers[0], ("127.0.0.1:1".to_owned(), Some(&b"pw"[..])));
    assert_eq!(servers[1], ("/tmp/redis".to_owned(), None));
    assert_eq!(servers.len(), 2);
}

#[test]
fn the_password_of_a_server_ends_at_the_first_at_sign() {
    let message = "invalid server define ***@w@[::1]:2; it has neither an IP address nor a host name before the port";
    bad_pool("ClusterServerPool", "Servers {\n+ p@w@[::1]:2\n}", 3, message);
}

#[test]
fn mistakes_in_a_cluster_are_told() {
    let bad = |lines: &str, line: u32, want: &str| bad_pool("ClusterServerPool", lines, line, want);
    let want_server = "want + [password@]host:port or + [password@]/path";
    bad("", 1, "ClusterServerPool require scope value");
    bad("Name a\nServers {\n+ a:1\n}", 2, "unknown key Name");
    bad("Hash crc16\nServers {\n+ a:1\n}", 2, "unknown key Hash");
    bad("Servers", 2, "Servers require scope value");
    bad("Servers {\n}", 2, "Servers require scope value");
    bad("Servers {\n- a:1\n}", 3, &format!("invalid server define; {want_server}"));
    bad("Servers {\n+\n}", 3, &format!("invalid server define ; {want_server}"));
    bad("Databases 2\nServers {\n+ a:1\n}", 1, "ClusterServerPool Databases must be 1");
    bad("RefreshInterval 1", 1, "ClusterServerPool no server");
    bad("Databases 129\nServers {\n+ a:1\n}", 2, "Databases 129 not in range [1, 128]");
    bad(
        "MasterReadPriority 101\nServers {\n+ a:1\n}",
        2,
        "MasterReadPriority 101 not in range [0, 100]",
    );
    bad(
        "ServerFailureLimit 0\nServers {\n+ a:1\n}",
        2,
        "ServerFailureLimit 0 not in range [1, 2147483647]",
    );
    bad(
        "ServerTimeout 1h\nServers {\n+ a:1\n}",
        2,
        "ServerTimeout invalid duration value \"1h\"; want seconds, or a number above 0 with s, ms or us, as in 300ms",
    );
}

#[test]
fn d40_a_server_needs_a_port() {
    let message = "invalid server define 127.0.0.1; it has no port: expected host:port or /path";
    bad_pool("ClusterServerPool", "Servers {\n+ 127.0.0.1\n}", 3, message);
    let message =
        "invalid server define a:99999; it has no valid port: expected a number from 0 to 65535";
    bad_pool("ClusterServerPool", "Servers {\n+ a:99999\n}", 3, message);
}

#[test]
fn what_follows_a_server_is_ignored() {
    let conf = good("ClusterServerPool {\nServers {\n+ a:1 master\n}\n}");
    warned(&conf, "/c.conf:3 what follows the address is ignored");
}

#[test]
fn d45_a_refresh_without_a_pause_gets_one() {
    let conf = good("ClusterServerPool {\nRefreshInterval 0\nServers {\n+ a:1\n}\n}");
    assert_eq!(conf.pool.common.refresh_interval_us, PoolCommon::REFRESH_INTERVAL_MIN_US);
    warned(&conf, "/c.conf:2 RefreshInterval is raised to 10ms, the least there is");
}

#[test]
fn a_connect_takes_as_long_as_an_answer_unless_told() {
    let timeout = |lines: &str| {
        let conf = good(&format!("ClusterServerPool {{\n{lines}\nServers {{\n+ a:1\n}}\n}}"));
        conf.pool.common.connect_timeout_us
    };
    assert_eq!(timeout(""), 1_000_000);
    assert_eq!(timeout("ServerTimeout 300ms"), 300_000);
    assert_eq!(timeout("ServerTimeout 300ms\nConnectTimeout 2"), 2_000_000);
    assert_eq!(timeout("ConnectTimeout 0"), 1_000_000);
}

#[test]
fn d67_a_pool_may_have_a_user() {
    let conf = good("ClusterServerPool {\nUsername proxy\nPassword x\nServers {\n+ a:1\n}\n}");
    assert_eq!(conf.pool.common.username.as_deref(), Some("proxy"));
}

#[test]
fn groups_are_read() {
    let conf = good(
        "StandaloneServerPool {\nDatabases 16\nHash CRC16\nHashTag \"{}\"\nDistribution modula\n\
         RefreshMethod fixed\nGroup a {\n+ 127.0.0.1:1\n+ 127.0.0.1:2\n}\nGroup b {\n+ pw@c:3\n}\n}",
    );
    assert_eq!(conf.pool.common.databases, 16);
    let pool = standalone(&conf);
    assert_eq!(pool.refresh, RefreshMethod::Fixed);
    assert_eq!((pool.hash, pool.hash_tag), (Some(Hash::Crc16), Some((b'{', b'}'))));
    assert_eq!(pool.distribution, Some(Distribution::Modula));
    let groups: Vec<_> =
        pool.groups.iter().map(|group| (group.name.as_str(), group.servers.len())).collect();
    assert_eq!(groups, [("a", 2), ("b", 1)]);
}

#[test]
fn sentinels_are_read() {
    let text = "Hash atol\nDistribution random\nSentinels secret {\n+ 127.0.0.1:1\n+ own@b:2\n}\n\
                Group a {\n}\nGroup b\n}";
    let conf = good(&format!("SentinelServerPool {{\n{text}"));
    let pool = standalone(&conf);
    assert_eq!(pool.refresh, RefreshMethod::Sentinel);
    assert_eq!(pool.sentinel_password, Some(Secret::new(b"secret")));
    assert_eq!(pool.sentinels[0].password, None);
    assert_eq!(pool.sentinels[1].password, Some(Secret::new(b"own")));
    assert_eq!(pool.hash_tag, None);
    assert_eq!(pool.groups.len(), 2);
    let same = good(&format!("StandaloneServerPool {{\nRefreshMethod Sentinel\n{text}"));
    assert_eq!(same.pool, conf.pool);
    let fixed = good("SentinelServerPool {\nRefreshMethod fixed\nGroup a {\n+ a:1\n}\n}");
    assert_eq!(standalone(&fixed).refresh, RefreshMethod::Fixed);
}

#[test]
fn mistakes_in_groups_are_told() {
    let bad =
        |lines: &str, line: u32, want: &str| bad_pool("StandaloneServerPool", lines, line, want);
    let group = "Group a {\n+ a:1\n}";
    let two = "Group a {\n+ a:1\n}\nGroup b {\n+ b:1\n}\nRefreshMethod fixed\n";
    bad("", 1, "StandaloneServerPool require scope value");
    bad("RefreshMethod x", 2, "unknown RefreshMethod:x; want fixed or sentinel");
    bad("Distribution none", 2, "unknown Distribution; want modula or random");
    bad("Hash md5", 2, "unknown Hash; want atol or crc16");
    bad("HashTag x", 2, "HashTag invalid; want two characters, as in \"{}\"");
    bad("Sentinels", 2, "Sentinels require scope value");
    bad("Servers {\n+ a:1\n}", 2, "unknown key Servers");
    bad("RefreshMethod fixed", 1, "StandaloneServerPool no server group");
    bad(group, 1, "StandaloneServerPool must define RefreshMethod");
    bad(
        &format!("{group}\nRefreshMethod sentinel"),
        1,
        "StandaloneServerPool with RefreshMethod(sentinel) but no sentinel servers",
    );
    bad(
        &format!("{group}\nRefreshMethod fixed\nSentinels {{\n+ a:1\n}}"),
        1,
        "StandaloneServerPool with Sentinels but RefreshMethod is not sentinel",
    );
    bad("Group a {\n}\nRefreshMethod fixed", 1, "Group(a) must add servers");
    bad(
        &format!("{two}Hash crc16"),
        1,
        "StandaloneServerPool must define Dsitribution in multi groups",
    );
    bad(
        &format!("{two}Distribution modula"),
        1,
        "StandaloneServerPool must define Hash in multi groups",
    );
}

#[test]
fn there_must_be_one_pool() {
    bad("Name a", &["Must define a server pool"]);
    let text = format!("{POOL}StandaloneServerPool {{\nx\n}}");
    let want = "/c.conf:6 Can't define ClusterServerPool/StandaloneServerPool at the same time";
    bad(&text, &[want]);
}

// Data centres.

const CENTERS: &str = "LocalDC bj\nDataCenter {\nDC bj {\nAddrPrefix {\n+ 10.1\n}\nReadPolicy {\n\
                       bj 50\nsh 20 5\nsz -1\n}\n}\nDC sh {\nAddrPrefix {\n+ 10.2\n}\n}\nDC sz {\n\
                       ReadPolicy {\nsz \"50 2\"\nsz 40\n}\n}\n}";

#[test]
fn data_centres_are_read() {
    let conf = good_global(CENTERS);
    let centers = conf.data_center.unwrap();
    assert_eq!((centers.local, centers.centers.len()), (0, 3));
    let policy = |center: usize| -> Vec<_> {
        let policy = centers.centers[center].read_policy.iter();
        policy.map(|one| (one.center, one.priority, one.weight)).collect()
    };
    assert_eq!(policy(0), [(0, 50, 1), (1, 20, 5), (2, 0, 1)]);
    assert_eq!(policy(1), []);
    assert_eq!(policy(2), [(2, 40, 1)]);
    assert_eq!(centers.centers[1].address_prefixes, ["10.2"]);
}

#[test]
fn mistakes_in_data_centres_are_told() {
    let block = |lines: &str| format!("LocalDC a\nDataCenter {{\n{lines}\n}}");
    let bad = |lines: &str, line: u32, want: &str| bad_global(&block(lines), line, want);
    let ok = "DC a {\nAddrPrefix {\n+ 10.\n}\n}\n";
    bad_global(
        "DataCenter {\nDC a {\nAddrPrefix {\n+ 1\n}\n}\n}",
        1,
        "conf define DataCenter but not define LocalDC",
    );
    bad_global("LocalDC a", 1, "LocalDC \"a\" no exists in DataCenter");
    bad_global(&block(ok).replace("DC a {", "DC b {"), 1, "LocalDC \"a\" no exists in DataCenter");
    bad(&format!("{ok}Center b"), 8, "DataCenter allow only DC element");
    bad("DC a", 3, "DC require scope value");
    bad("DC a {\nAddrPrefix\n}", 4, "AddrPrefix require scope value");
    bad("DC a {\nAddrPrefix {\n10.1\n}\n}", 5, "invalid AddrPrefix; want + prefix");
    bad("DC a {\nReadPolicy {\n}\n}", 4, "ReadPolicy require scope value");
    bad("DC a {\nNonsense\n}", 4, "unknown key Nonsense");
    for wrong in ["", "x", "1 x", "1 2 3", "20%"] {
        let lines = format!("DC a {{\nReadPolicy {{\na {wrong}\n}}\n}}");
        let want = "want a priority and perhaps a weight, as in 20 5";
        bad(&lines, 5, &format!("invalid ReadPolicy \"{wrong}\"; {want}"));
    }
    bad("DC a {\nReadPolicy {\nb 1\n}\n}", 5, "DC \"a\" ReadPolicy \"b\" no eixsts in DataCenter");
    bad(&format!("{ok}DC a {{\nAddrPrefix {{\n+ 11.\n}}\n}}"), 8, "DC \"a\" duplicate define");
    bad(
        &format!("{ok}DC b {{\nAddrPrefix {{\n+ 10.\n}}\n}}"),
        8,
        "DC \"b\" AddrPrefix \"10.\" collision with DC \"a\"",
    );
    crate::conf::bad(
        &format!("DataCenter\n{POOL}"),
        &[
            "/c.conf:1 DataCenter require scope value",
            "/c.conf:1 conf define DataCenter but not define LocalDC",
        ],
    );
}

// Latency monitors.

#[test]
fn latency_monitors_are_read() {
    let conf = good_global(
        "LatencyMonitor all {\nCommands {\n+ ALL\n- blpop\n- GET\n}\nTimeSpan {\n+ 100\n+ 200\n}\n}\n\
         LatencyMonitor one {\nCommands {\n+ get\n+ my.cmd\n}\n}\nLatencyMonitor none {\nCommands\n\
         TimeSpan\n}\nCustomCommand {\nmy.cmd\n}",
    );
    let [all, one, none] = conf.latency_monitors.as_slice() else { panic!("not three") };
    assert_eq!(all.bounds_us, [100, 200]);
    assert_eq!(all.commands.len(), conf.commands.len() - 2);
    let names: Vec<_> =
        one.commands.iter().map(|id| conf.commands.command(*id).unwrap().name()).collect();
    assert_eq!(names, ["get", "my.cmd"]);
    assert!(none.commands.is_empty() && none.bounds_us.is_empty());
}

#[test]
fn mistakes_in_latency_monitors_are_told() {
    let bad = |lines: &str, line: u32, want: &str| {
        bad_global(&format!("LatencyMonitor m {{\n{lines}\n}}"), line, want);
    };
    bad_global("LatencyMonitor m", 1, "LatencyMonitor require scope value");
    bad("Commands {\nget\n}", 3, "invalid Command assign; want + command or - command");
    bad("Commands {\n+ nonsense\n}", 3, "unknown Command \"nonsense\"");
    bad("TimeSpan {\n- 1\n}", 3, "invalid TimeSpan; want + microseconds");
    bad("TimeSpan {\n+ 1ms\n}", 3, "+ 1ms is not an long integer; want microseconds");
    bad("TimeSpan {\n+ 0\n}", 3, "+ 0 not in range [1, 9223372036854775807]");
    bad("TimeSpan {\n+ 5\n+ 5\n}", 4, "+ 5 not in range [6, 9223372036854775807]");
    let twice = "LatencyMonitor m {\nCommands\n}\nLatencyMonitor m {\nCommands\n}";
    bad_global(twice, 4, "LatencyMonitor \"m\" duplicate");
}

#[test]
fn d57_an_unknown_key_in_a_latency_monitor_is_a_mistake() {
    bad_global("LatencyMonitor m {\nTimespans {\n+ 1\n}\n}", 2, "unknown key Timespans");
}

// Custom commands.

#[test]
fn d53_custom_commands_may_be_many_in_many_blocks_and_any_case() {
    let mut lines = String::from(
        "CustomCommand {\nHello.World {\nMode read|keyAt3\nMinArgs 4\nMaxArgs 9\n}\n}\n",
    );
    for number in 0..40 {
        lines += &format!(
            "CustomCommand {{\ncmd.{number} {{\nMode \"keyAt2 | admin\"\nMinArgs 3\nMaxArgs 3\n}}\n}}\n"
        );
    }
    lines += "CustomCommand {\nplain\nnone {\nMinArgs 1\n}\n}\n";
    let conf = good_global(&lines);
    assert!(conf.warnings.is_empty(), "{:?}", conf.warnings);
    let find = |name: &str| conf.commands.lookup(name.as_bytes()).unwrap();
    assert_eq!(find("HELLO.world").name(), "hello.world");
    assert_eq!(find("hello.world").rights(), Rights::Read);
    assert_eq!((find("hello.world").min_args(), find("hello.world").max_args()), (4, Some(9)));
    assert_eq!(find("cmd.39").rights(), Rights::Admin);
    assert_eq!((find("plain").rights(), find("plain").min_args()), (Rights::Write, 2));
    assert_eq!(find("none").min_args(), 1);
}

#[test]
fn mistakes_in_custom_commands_are_told() {
    let bad = |lines: &str, line: u32, want: &str| {
        bad_global(&format!("CustomCommand {{\na.b {{\n{lines}\n}}\n}}"), line, want);
    };
    let want_mode = "want read, write or admin, and keyAt1 to keyAt3, joined by |";
    bad_global("CustomCommand", 1, "CustomCommand require scope value");
    bad("Arity 1", 3, "unknown key Arity");
    bad("Mode rw", 3, &format!("unknown mode rw; {want_mode}"));
    bad("Mode |read", 3, &format!("unknown mode ; {want_mode}"));
    bad("Mode keyAt2|keyAt3", 3, "Mode require exclusive key pos");
    bad("Mode read|write", 3, "Mode require exclusive mode");
    bad("MinArgs 0", 3, "MinArgs 0 not in range [1, 2147483647]");
    bad("MaxArgs 10000", 3, "MaxArgs 10000 not in range [1, 9999]");
    bad("MinArgs 3", 2, "must be MaxArgs >= MinArgs");
    bad_global("CustomCommand {\na.b\nA.B\n}", 3, "custom command A.B is duplicated");
    bad_global("CustomCommand {\nget\n}", 2, "custom command get is duplicated");
}

#[test]
fn a_custom_command_that_predixy_lacks_keeps_its_meaning() {
    let conf = good_global("CustomCommand {\nxlen {\nMode admin\n}\n}");
    assert_eq!(conf.commands.lookup(b"xlen").unwrap().rights(), Rights::Admin);
    let want = "/c.conf:2 xlen needs no CustomCommand, and does less with it than without";
    warned(&conf, want);
}

#[test]
fn a_key_that_may_be_missing_is_warned_of() {
    let conf = good_global("CustomCommand {\na.b {\nMode keyAt2\n}\n}");
    warned(&conf, "/c.conf:2 a.b may come without the key at 2");
}

// Whole files.

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

// Files that are none.

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
