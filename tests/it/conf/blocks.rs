//! What stands in blocks: Authority, pools, data centres, latency monitors, custom commands.

use predixy::conf::{
    Conf, Distribution, Hash, PoolCommon, PoolKind, RefreshMethod, Secret, StandaloneConf,
};
use predixy::resp::command::Rights;

use super::{POOL, bad, bad_global, bad_pool, good, good_global, warned};

fn standalone(conf: &Conf) -> &StandaloneConf {
    match &conf.pool.kind {
        PoolKind::Standalone(pool) => pool,
        PoolKind::Cluster { .. } => panic!("a cluster"),
    }
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
    let all = "RefreshMethod fixed\nGroup a\nGroup b\nSentinels {\n+ a:1\n}";
    super::bad(
        &format!("StandaloneServerPool {{\n{all}\n}}"),
        &[
            "/c.conf:1 StandaloneServerPool with Sentinels but RefreshMethod is not sentinel",
            "/c.conf:1 Group(a) must add servers",
            "/c.conf:1 Group(b) must add servers",
            "/c.conf:1 StandaloneServerPool must define Dsitribution in multi groups",
            "/c.conf:1 StandaloneServerPool must define Hash in multi groups",
        ],
    );
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
fn a_weight_beyond_all_numbers_is_the_largest() {
    let text = "LocalDC a\nDataCenter {\nDC a {\nReadPolicy {\na 1 99999999999\n}\n}\n}";
    let policy = &good_global(text).data_center.unwrap().centers[0].read_policy;
    assert_eq!(policy[0].weight, i32::MAX.cast_unsigned());
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
    super::bad(
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
fn a_latency_monitor_can_take_all_commands_away() {
    let lines = "+ all\n- all\n+ set";
    let conf = good_global(&format!("LatencyMonitor m {{\nCommands {{\n{lines}\n}}\n}}"));
    assert_eq!(conf.latency_monitors[0].commands.len(), 1);
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
fn a_word_of_a_mode_may_be_said_twice() {
    let conf = good_global(
        "CustomCommand {\na.b {\nMode read|read|keyAt2|keyAt2\nMinArgs 3\nMaxArgs 3\n}\n}",
    );
    assert_eq!(conf.commands.lookup(b"a.b").unwrap().rights(), Rights::Read);
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
