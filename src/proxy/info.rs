//! INFO as text.
//!
//! `query` tells what was asked for; the other functions turn values into the text of the bulk
//! reply. Whoever asks for the values may leave out those of sections that are not shown.
//!
//! predixy's sections are here, Redis's in `redis`, for which `figures` adds up what servers say;
//! `section` has the names of both.
//!
//! predixy's exporters read this, so its sections and fields keep their names, their order, their
//! lone line feeds and their empty lines. Fields of our own come after predixy's in a section.

mod figures;
mod redis;
mod section;

use std::fmt::{self, Write as _};

pub use figures::Figures;
pub use redis::{Rates, RedisInfo, concerns_replicas, question, sections as redis_sections};
pub use section::{Section, Sections};

use super::request::ClientId;
use crate::stats::{Distribution, HandlerTotals, ServerTotals};
use crate::sys::clock::LocalTime;
use crate::sys::resource::Usage;

/// The reply to a latency query with too few or too many words.
pub const ARGUMENT_WRONG: &str = "ERR argument wrong";

/// Of a name that is repeated in an error, no more is shown.
const SHOWN_MAX: usize = 128;

/// What an INFO asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query<'a> {
    /// Sections, for `sections`.
    Sections(Sections),
    /// One latency monitor, for `latency`.
    Latency {
        /// Its name.
        monitor: &'a [u8],
    },
    /// The latency monitors of one server, for `server_latency`.
    ServerLatency {
        /// The address of the server.
        server: &'a [u8],
        /// The only one that is wanted.
        monitor: Option<&'a [u8]>,
    },
    /// Everything counted is to begin again at zero. This changes something, so it is for admins.
    ResetStats,
    /// It is no INFO: the reply is `ARGUMENT_WRONG`.
    Wrong,
}

/// What these arguments, those after the command word, ask for.
///
/// Of several sections each is shown, once. What is no section is decided by the first word.
pub fn query<'a>(arguments: impl IntoIterator<Item = &'a [u8]>) -> Query<'a> {
    let mut arguments = arguments.into_iter();
    let Some(what) = arguments.next() else { return Query::Sections(Sections::DEFAULT) };
    let is = |name: &str| what.eq_ignore_ascii_case(name.as_bytes());
    if is("latency") {
        return match (arguments.next(), arguments.next()) {
            (Some(monitor), None) => Query::Latency { monitor },
            _ => Query::Wrong,
        };
    }
    if is("serverlatency") {
        return match (arguments.next(), arguments.next(), arguments.next()) {
            (Some(server), monitor, None) => Query::ServerLatency { server, monitor },
            _ => Query::Wrong,
        };
    }
    if is("resetstats") {
        return Query::ResetStats;
    }
    let named = Sections::named(what);
    Query::Sections(arguments.fold(named, |all, name| all.and(Sections::named(name))))
}

/// One INFO whose answer has to be put together first.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Who asked.
    pub client: ClientId,
    /// The number of the request among those of that client.
    pub sequence: u32,
    /// What is to be shown.
    pub sections: Sections,
    /// Clients that wait for a command that blocks.
    pub blocked_clients: u64,
    /// Clients that watch keys.
    pub watching_clients: u64,
    /// How many masters were asked; they are the first parts.
    pub masters_asked: usize,
}

/// All there is to show.
#[derive(Clone, Debug)]
pub struct Info<'a> {
    /// Who we are.
    pub proxy: ProxyInfo<'a>,
    /// What we use.
    pub resource: ResourceInfo,
    /// What we have done.
    pub stats: HandlerTotals,
    /// Fields of our own for that section, by name.
    pub more_stats: Vec<(&'static str, u64)>,
    /// The servers, in the order in which they were discovered.
    pub servers: Vec<ServerInfo<'a>>,
    /// The latency monitors by name, in the order of the configuration.
    pub latencies: Vec<(&'a str, Distribution)>,
}

/// Who we are.
#[derive(Clone, Debug)]
pub struct ProxyInfo<'a> {
    /// Our version.
    pub version: &'a str,
    /// Our name, from the configuration.
    pub name: &'a str,
    /// Where we listen.
    pub bind: &'a str,
    /// How many handlers there are.
    pub worker_threads: usize,
    /// When we started, in seconds since 1970.
    pub started_s: i64,
    /// The same for readers.
    pub started: LocalTime,
    /// For how long we have been up.
    pub uptime_s: u64,
}

/// What we use.
#[derive(Clone, Debug)]
pub struct ResourceInfo {
    /// Bytes that buffers take.
    pub used_memory: u64,
    /// As many they may take; 0 is any.
    pub max_memory: u64,
    /// What the system says; `None` if it does not.
    pub usage: Option<Usage>,
}

/// One server.
#[derive(Clone, Debug)]
pub struct ServerInfo<'a> {
    /// Its address.
    pub address: &'a str,
    /// `unknown`, `master`, `slave` or `sentinel`.
    pub role: &'a str,
    /// The name of its group, or nothing.
    pub group: &'a str,
    /// The name of its data centre, or nothing.
    pub dc: &'a str,
    /// Whether it is taken for dead.
    pub is_fail: bool,
    /// What we have done with it.
    pub totals: ServerTotals,
}

/// The text of those of these sections that are predixy's.
#[must_use]
pub fn sections(sections: Sections, info: &Info<'_>) -> String {
    let mut text = Text::default();
    if sections.has(Section::Proxy) {
        text.proxy(&info.proxy);
    }
    if sections.has(Section::SystemResource) {
        text.resource(&info.resource);
    }
    if sections.has(Section::Stats) {
        text.stats(&info.stats, &info.more_stats);
    }
    if sections.has(Section::Servers) {
        text.servers(&info.servers);
    }
    if sections.has(Section::LatencyMonitor) {
        text.heading("LatencyMonitor");
        for (name, distribution) in &info.latencies {
            text.monitor("LatencyMonitorName", name, distribution);
        }
    }
    text.0
}

/// The text of `INFO Latency`: one monitor, for all requests and then for each server by address.
#[must_use]
pub fn latency(name: &str, all: &Distribution, servers: &[(&str, Distribution)]) -> String {
    let mut text = Text::default();
    text.heading("LatencyMonitor");
    text.monitor("LatencyMonitorName", name, all);
    text.heading("ServerLatencyMonitor");
    for (address, distribution) in servers {
        text.monitor("ServerLatencyMonitorName", format_args!("{address} {name}"), distribution);
    }
    text.0
}

/// The text of `INFO ServerLatency`: these monitors, by name, for one server.
#[must_use]
pub fn server_latency(address: &str, monitors: &[(&str, Distribution)]) -> String {
    let mut text = Text::default();
    text.heading("ServerLatencyMonitor");
    for (name, distribution) in monitors {
        text.monitor("ServerLatencyMonitorName", format_args!("{address} {name}"), distribution);
    }
    text.0
}

/// The error for a latency monitor that does not exist.
#[must_use]
pub fn unknown_latency(name: &[u8]) -> Vec<u8> {
    [b"ERR latency \"", shown(name).as_slice(), b"\" no exists"].concat()
}

/// The error for a server that does not exist.
#[must_use]
pub fn unknown_server(address: &[u8]) -> Vec<u8> {
    [b"ERR server \"", shown(address).as_slice(), b"\" no exists"].concat()
}

/// A client's words for an error, which is one line.
fn shown(words: &[u8]) -> Vec<u8> {
    let in_line = |&byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
    words.iter().take(SHOWN_MAX).map(in_line).collect()
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn proxy(&mut self, proxy: &ProxyInfo<'_>) {
        self.heading("Proxy");
        self.field("Version", proxy.version);
        self.field("Name", proxy.name);
        self.field("Bind", proxy.bind);
        self.field("RedisMode", "proxy");
        self.field("SingleThread", false);
        self.field("WorkerThreads", proxy.worker_threads);
        // predixy gives the time of its start here, which is now `StartTime`. No exporter known to
        // us reads either.
        self.field("Uptime", proxy.uptime_s);
        let LocalTime { year, month, day, hour, minute, second } = proxy.started;
        let since = format_args!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
        self.field("UptimeSince", since);
        self.field("StartTime", proxy.started_s);
        self.end();
    }

    fn resource(&mut self, resource: &ResourceInfo) {
        self.heading("SystemResource");
        self.field("UsedMemory", resource.used_memory);
        self.field("MaxMemory", resource.max_memory);
        if let Some(usage) = resource.usage {
            self.field("MaxRSS", usage.max_resident_bytes);
            self.field("UsedCpuSys", Seconds(usage.system_us));
            self.field("UsedCpuUser", Seconds(usage.user_us));
        }
        self.end();
    }

    fn stats(&mut self, stats: &HandlerTotals, more: &[(&'static str, u64)]) {
        self.heading("Stats");
        self.field("Accept", stats.accept);
        self.field("ClientConnections", stats.client_connections);
        self.field("TotalRequests", stats.total_requests);
        self.field("TotalResponses", stats.total_responses);
        self.field("TotalRecvClientBytes", stats.total_recv_client_bytes);
        self.field("TotalSendServerBytes", stats.total_send_server_bytes);
        self.field("TotalRecvServerBytes", stats.total_recv_server_bytes);
        self.field("TotalSendClientBytes", stats.total_send_client_bytes);
        for &(name, value) in more {
            self.field(name, value);
        }
        self.end();
    }

    fn servers(&mut self, servers: &[ServerInfo<'_>]) {
        self.heading("Servers");
        for server in servers {
            self.field("Server", server.address);
            self.field("Role", server.role);
            self.field("Group", server.group);
            self.field("DC", server.dc);
            self.field("CurrentIsFail", u8::from(server.is_fail));
            self.field("Connections", server.totals.connections);
            self.field("Connect", server.totals.connect);
            self.field("Requests", server.totals.requests);
            self.field("Responses", server.totals.responses);
            self.field("SendBytes", server.totals.send_bytes);
            self.field("RecvBytes", server.totals.recv_bytes);
            self.end();
        }
        self.end();
    }

    fn monitor(&mut self, kind: &str, name: impl fmt::Display, distribution: &Distribution) {
        self.field(kind, name);
        self.write(format_args!("{distribution}"));
        self.end();
    }

    fn heading(&mut self, name: &str) {
        self.write(format_args!("# {name}\n"));
    }

    fn field(&mut self, name: &str, value: impl fmt::Display) {
        let begin = self.0.len();
        self.write(format_args!("{name}:{value}"));
        // A name that came from a server must not look like fields of ours.
        if self.0[begin..].contains(char::is_control) {
            let clean = self.0[begin..].replace(char::is_control, " ");
            self.0.truncate(begin);
            self.0.push_str(&clean);
        }
        self.end();
    }

    fn end(&mut self) {
        self.0.push('\n');
    }

    /// A String takes everything.
    fn write(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(text);
    }
}

/// Microseconds that are shown as seconds with three decimals.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.saturating_add(500) / 1000;
        write!(out, "{}.{:03}", millis / 1000, millis % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Bucket;
    use std::collections::BTreeMap;

    fn distribution(bounds_us: &[u64], buckets: &[(u64, u64)]) -> Distribution {
        let buckets = buckets.iter().map(|&(sum_us, count)| Bucket { count, sum_us }).collect();
        Distribution { bounds_us: bounds_us.into(), buckets }
    }

    fn all() -> Distribution {
        distribution(&[100, 1000, 10_000], &[(776, 30), (179, 1), (0, 0), (0, 0)])
    }

    fn get() -> Distribution {
        distribution(&[], &[(776, 30)])
    }

    fn server(address: &str) -> ServerInfo<'_> {
        let totals = ServerTotals {
            connections: 1,
            connect: 2,
            requests: 32,
            responses: 31,
            send_bytes: 641,
            recv_bytes: 222,
        };
        ServerInfo { address, role: "master", group: "g1", dc: "", is_fail: false, totals }
    }

    /// What the C++ predixy answered, but for its version, and with the start 75 seconds ago.
    fn info() -> Info<'static> {
        Info {
            proxy: ProxyInfo {
                version: "1.0.5",
                name: "Test",
                bind: "127.0.0.1:7617",
                worker_threads: 2,
                started_s: 1_795_394_020,
                started: LocalTime {
                    year: 2026,
                    month: 11,
                    day: 23,
                    hour: 0,
                    minute: 33,
                    second: 40,
                },
                uptime_s: 75,
            },
            resource: ResourceInfo {
                used_memory: 30_152,
                max_memory: 104_857_600,
                usage: Some(Usage { user_us: 2499, system_us: 0, max_resident_bytes: 14_884_864 }),
            },
            stats: HandlerTotals {
                accept: 3,
                client_connections: 1,
                total_requests: 33,
                total_responses: 32,
                total_recv_client_bytes: 641,
                total_send_server_bytes: 642,
                total_recv_server_bytes: 222,
                total_send_client_bytes: 215,
            },
            more_stats: Vec::new(),
            servers: vec![server("127.0.0.1:6380")],
            latencies: vec![("all", all()), ("get", get())],
        }
    }

    const PROXY: &str = "# Proxy\nVersion:1.0.5\nName:Test\nBind:127.0.0.1:7617\nRedisMode:proxy\n\
        SingleThread:false\nWorkerThreads:2\nUptime:75\nUptimeSince:2026-11-23 00:33:40\n\
        StartTime:1795394020\n\n";
    const RESOURCE: &str = "# SystemResource\nUsedMemory:30152\nMaxMemory:104857600\nMaxRSS:14884864\n\
        UsedCpuSys:0.000\nUsedCpuUser:0.002\n\n";
    const STATS: &str = "# Stats\nAccept:3\nClientConnections:1\nTotalRequests:33\nTotalResponses:32\n\
        TotalRecvClientBytes:641\nTotalSendServerBytes:642\nTotalRecvServerBytes:222\n\
        TotalSendClientBytes:215\n\n";
    const SERVERS: &str = "# Servers\nServer:127.0.0.1:6380\nRole:master\nGroup:g1\nDC:\nCurrentIsFail:0\n\
        Connections:1\nConnect:2\nRequests:32\nResponses:31\nSendBytes:641\nRecvBytes:222\n\n\n";
    const LATENCY: &str = concat!(
        "# LatencyMonitor\nLatencyMonitorName:all\n",
        "<=          100                  776               30 96.77%\n",
        "<=         1000                  179                1 100.00%\n",
        "T            30                  955               31\n\n",
        "LatencyMonitorName:get\n",
        ">             0                  776               30 100.00%\n",
        "T            25                  776               30\n\n",
    );

    #[track_caller]
    fn check_query(words: &[&str], want: Query<'_>) {
        assert_eq!(query(words.iter().map(|word| word.as_bytes())), want);
    }

    #[track_caller]
    fn check(section: Section, want: &str) {
        assert_eq!(sections(Sections::of(&[section]), &info()), want);
    }

    #[test]
    fn each_section_reads_as_predixys() {
        check(Section::Proxy, PROXY);
        check(Section::SystemResource, RESOURCE);
        check(Section::Stats, STATS);
        check(Section::Servers, SERVERS);
        check(Section::LatencyMonitor, LATENCY);
        assert_eq!(sections(Sections::NONE, &info()), "");
    }

    #[test]
    fn all_sections_follow_each_other() {
        let want = [PROXY, RESOURCE, STATS, SERVERS, LATENCY].concat();
        assert_eq!(sections(Sections::ALL, &info()), want);
    }

    #[test]
    fn what_there_is_none_of_leaves_its_heading() {
        let info = Info { servers: vec![], latencies: vec![], ..info() };
        assert_eq!(sections(Sections::of(&[Section::Servers]), &info), "# Servers\n\n");
        assert_eq!(sections(Sections::of(&[Section::LatencyMonitor]), &info), "# LatencyMonitor\n");
    }

    #[test]
    fn an_unused_monitor_leaves_its_name() {
        let unused = distribution(&[100], &[(0, 0), (0, 0)]);
        let info = Info { latencies: vec![("get", unused)], ..info() };
        let text = sections(Sections::of(&[Section::LatencyMonitor]), &info);
        assert_eq!(text, "# LatencyMonitor\nLatencyMonitorName:get\n\n");
    }

    #[test]
    fn what_the_system_does_not_tell_is_left_out() {
        let mut info = info();
        info.resource.usage = None;
        let want = "# SystemResource\nUsedMemory:30152\nMaxMemory:104857600\n\n";
        assert_eq!(sections(Sections::of(&[Section::SystemResource]), &info), want);
    }

    #[test]
    fn servers_are_told_apart() {
        let failed = ServerInfo { role: "slave", dc: "bj", is_fail: true, ..server("10.0.0.1:1") };
        let info = Info { servers: vec![server("127.0.0.1:6380"), failed], ..info() };
        let text = sections(Sections::of(&[Section::Servers]), &info);
        let want =
            "RecvBytes:222\n\nServer:10.0.0.1:1\nRole:slave\nGroup:g1\nDC:bj\nCurrentIsFail:1\n";
        assert!(text.contains(want) && text.ends_with("RecvBytes:222\n\n\n"), "{text}");
    }

    #[test]
    fn our_own_fields_come_last() {
        let info = Info { more_stats: vec![("Refused", 7)], ..info() };
        let text = sections(Sections::of(&[Section::Stats]), &info);
        assert!(text.ends_with("TotalSendClientBytes:215\nRefused:7\n\n"), "{text}");
    }

    #[test]
    fn a_name_cannot_pretend_to_be_a_field() {
        let named = ServerInfo { group: "g\nAccept:1\r", ..server("127.0.0.1:6380") };
        let text =
            sections(Sections::of(&[Section::Servers]), &Info { servers: vec![named], ..info() });
        assert!(text.contains("\nGroup:g Accept:1 \nDC:\n"), "{text}");
    }

    #[test]
    fn seconds_are_rounded_to_three_decimals() {
        let shown = |us| Seconds(us).to_string();
        assert_eq!(
            (shown(0), shown(1_499), shown(1_500)),
            ("0.000".into(), "0.001".into(), "0.002".into())
        );
        assert_eq!((shown(999_999), shown(12_345_678_900)), ("1.000".into(), "12345.679".into()));
    }

    #[test]
    fn sections_are_selected_as_by_predixy() {
        check_query(&[], Query::Sections(Sections::DEFAULT));
        for (name, section) in [
            ("proxy", Section::Proxy),
            ("SYSTEMRESOURCE", Section::SystemResource),
            ("servers", Section::Servers),
            ("LatencyMonitor", Section::LatencyMonitor),
        ] {
            check_query(&[name], Query::Sections(Sections::of(&[section])));
        }
        check_query(&["All"], Query::Sections(Sections::ALL));
        check_query(&["bogus"], Query::Sections(Sections::NONE));
        check_query(&[""], Query::Sections(Sections::NONE));
        check_query(&["ResetStats", "x"], Query::ResetStats);
    }

    #[test]
    fn names_of_redis_add_to_those_of_predixy() {
        let both = |one, other| Query::Sections(Sections::of(&[one, other]));
        check_query(&["Server"], both(Section::Proxy, Section::RedisServer));
        check_query(&["stats"], both(Section::Stats, Section::RedisStats));
        check_query(&["keyspace", "CPU"], both(Section::Cpu, Section::Keyspace));
        check_query(&["keyspace", "bogus", "cpu"], both(Section::Cpu, Section::Keyspace));
        check_query(&["default"], Query::Sections(Sections::DEFAULT));
        check_query(&["cpu", "everything"], Query::Sections(Sections::ALL));
    }

    #[test]
    fn latency_queries_are_counted_by_their_words() {
        check_query(&["Latency", "all"], Query::Latency { monitor: b"all" });
        check_query(&["latency"], Query::Wrong);
        check_query(&["latency", "all", "get"], Query::Wrong);
        check_query(
            &["ServerLatency", "h:1"],
            Query::ServerLatency { server: b"h:1", monitor: None },
        );
        let monitor = Some(b"get".as_slice());
        check_query(
            &["serverlatency", "h:1", "get"],
            Query::ServerLatency { server: b"h:1", monitor },
        );
        check_query(&["serverlatency"], Query::Wrong);
        check_query(&["serverlatency", "h:1", "get", "all"], Query::Wrong);
    }

    #[test]
    fn a_monitor_is_shown_for_all_and_for_each_server() {
        let want = concat!(
            "# LatencyMonitor\nLatencyMonitorName:all\n",
            "<=          100                  776               30 96.77%\n",
            "<=         1000                  179                1 100.00%\n",
            "T            30                  955               31\n\n",
            "# ServerLatencyMonitor\nServerLatencyMonitorName:127.0.0.1:6380 all\n",
            ">             0                  776               30 100.00%\n",
            "T            25                  776               30\n\n",
            "ServerLatencyMonitorName:127.0.0.1:6381 all\n\n",
        );
        let servers = [("127.0.0.1:6380", get()), ("127.0.0.1:6381", distribution(&[], &[(0, 0)]))];
        assert_eq!(latency("all", &all(), &servers), want);
    }

    #[test]
    fn a_server_is_shown_with_its_monitors() {
        let want = concat!(
            "# ServerLatencyMonitor\nServerLatencyMonitorName:127.0.0.1:6380 all\n",
            "<=          100                  776               30 96.77%\n",
            "<=         1000                  179                1 100.00%\n",
            "T            30                  955               31\n\n",
            "ServerLatencyMonitorName:127.0.0.1:6380 get\n",
            ">             0                  776               30 100.00%\n",
            "T            25                  776               30\n\n",
        );
        assert_eq!(server_latency("127.0.0.1:6380", &[("all", all()), ("get", get())]), want);
    }

    #[test]
    fn errors_repeat_the_name_in_one_line() {
        assert_eq!(unknown_latency(b"x"), b"ERR latency \"x\" no exists");
        assert_eq!(unknown_server(b"h\r\n+OK"), b"ERR server \"h  +OK\" no exists");
        assert_eq!(unknown_server(&[b'h'; 1000]).len(), b"ERR server \"\" no exists".len() + 128);
    }

    /// What the upstream Prometheus exporter makes of a text, by the rules that it has for it.
    #[derive(Default)]
    struct Scraped {
        global: BTreeMap<String, f64>,
        servers: Vec<(String, BTreeMap<String, f64>)>,
        latencies: Vec<(String, usize)>,
    }

    fn scrape(text: &str) -> Scraped {
        let mut scraped = Scraped::default();
        let (mut lines, mut section) = (text.split('\n').peekable(), "");
        while let Some(line) = lines.next() {
            if line.starts_with("# Servers") || line.starts_with("# LatencyMonitor") {
                section = line;
                continue;
            }
            let parts: Vec<&str> = line.split(':').collect();
            let value = parts.get(1).and_then(|value| value.parse().ok());
            match (section, value) {
                ("", Some(value)) if parts.len() == 2 => {
                    scraped.global.insert(parts[0].into(), value);
                }
                ("# Servers", _) if parts[0] == "Server" => {
                    assert_eq!(parts.len(), 3, "the exporter would crash");
                    scraped.servers.push((format!("{}:{}", parts[1], parts[2]), BTreeMap::new()));
                }
                ("# Servers", Some(value)) if parts.len() >= 2 => {
                    scraped.servers.last_mut().unwrap().1.insert(parts[0].into(), value);
                }
                ("# LatencyMonitor", _) if parts[0] == "LatencyMonitorName" => {
                    let mut buckets = 0;
                    for line in lines.by_ref() {
                        let fields: Vec<&str> = line.split_whitespace().collect();
                        assert!(fields.len() >= 4, "cut short: {line:?}");
                        assert!(
                            fields[1..4].iter().all(|field| field.parse::<u64>().is_ok()),
                            "{line:?}"
                        );
                        if fields[0] == "T" {
                            break;
                        }
                        assert!(matches!(fields[0], "<=" | ">"), "{line:?}");
                        buckets += 1;
                    }
                    scraped.latencies.push((parts[1].into(), buckets));
                }
                _ => {}
            }
        }
        scraped
    }

    #[test]
    fn the_exporter_of_predixy_can_read_it() {
        let info = Info { more_stats: vec![("Refused", 7)], ..info() };
        let scraped = scrape(&sections(Sections::ALL, &info));
        for (name, want) in [
            ("UsedMemory", 30_152.0),
            ("MaxMemory", 104_857_600.0),
            ("MaxRSS", 14_884_864.0),
            ("UsedCpuSys", 0.0),
            ("UsedCpuUser", 0.002),
            ("Accept", 3.0),
            ("ClientConnections", 1.0),
            ("TotalRequests", 33.0),
            ("TotalResponses", 32.0),
            ("TotalRecvClientBytes", 641.0),
            ("TotalSendServerBytes", 642.0),
            ("TotalRecvServerBytes", 222.0),
            ("TotalSendClientBytes", 215.0),
        ] {
            assert_eq!(scraped.global.get(name), Some(&want), "{name}");
        }
        let [(address, fields)] = scraped.servers.as_slice() else { panic!("one server") };
        assert_eq!(address, "127.0.0.1:6380");
        let names = ["Connections", "Connect", "Requests", "Responses", "SendBytes", "RecvBytes"];
        let values: Vec<f64> = names.iter().filter_map(|name| fields.get(*name).copied()).collect();
        assert_eq!(values, [1.0, 2.0, 32.0, 31.0, 641.0, 222.0]);
        assert_eq!(scraped.latencies, [("all".to_owned(), 2), ("get".to_owned(), 1)]);
    }
}
