//! The sections of INFO under the names that Redis has for them and their fields.
//!
//! Health checks, libraries and tools for people read these. Lines end as Redis ends them, with
//! CR LF. `Server`, `Clients`, `Replication` and `CPU` are about the proxy; `Memory`,
//! `Persistence`, `Modules`, `Commandstats`, `Errorstats` and `Keyspace` about its servers,
//! together; `Stats` is about both. What nobody knows is left out.

use std::fmt::{self, Write as _};

use super::figures::Figures;
use super::{Section, Sections};
use crate::stats::HandlerTotals;
use crate::sys::resource::Usage;

/// What the sections show of the proxy.
#[derive(Clone, Debug, Default)]
pub struct RedisInfo<'a> {
    /// Our version.
    pub version: &'a str,
    /// A name for this run of the proxy: 40 hexadecimal digits.
    pub run_id: &'a str,
    /// The port that the client has reached us by; 0 if by none.
    pub port: u16,
    /// For how long we have been up.
    pub uptime_s: u64,
    /// How many clients there are.
    pub clients: u64,
    /// As many there may be.
    pub clients_max: u64,
    /// Clients that wait for a command that blocks.
    pub blocked_clients: u64,
    /// Clients that watch keys.
    pub watching_clients: u64,
    /// What we have done.
    pub totals: HandlerTotals,
    /// How much of that in a second, lately.
    pub rates: Rates,
    /// What the system says that we have used; `None` if it does not.
    pub usage: Option<Usage>,
    /// How many masters were asked.
    pub masters_asked: usize,
}

/// What is done in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Requests.
    pub requests: u64,
    /// Bytes that clients send.
    pub bytes_in: u64,
    /// Bytes that clients get.
    pub bytes_out: u64,
}

impl Rates {
    /// Those from one moment to another, `elapsed_us` later.
    #[must_use]
    pub fn between(before: &HandlerTotals, after: &HandlerTotals, elapsed_us: u64) -> Rates {
        let rate = |figure: fn(&HandlerTotals) -> u64| {
            // A reset in between makes them smaller.
            let more = figure(after).saturating_sub(figure(before));
            let rate = u128::from(more) * 1_000_000 / u128::from(elapsed_us.max(1));
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        Rates {
            requests: rate(|totals| totals.total_requests),
            bytes_in: rate(|totals| totals.total_recv_client_bytes),
            bytes_out: rate(|totals| totals.total_send_client_bytes),
        }
    }
}

/// The sections that are about servers, so that they have to be asked.
const OF_SERVERS: &[Section] = &[
    Section::RedisServer,
    Section::Memory,
    Section::Persistence,
    Section::RedisStats,
    Section::Modules,
    Section::CommandStats,
    Section::ErrorStats,
    Section::Keyspace,
];

/// The words of the INFO that servers have to answer for these sections to be shown; `None` if
/// they need not be asked.
#[must_use]
pub fn question(sections: Sections) -> Option<&'static [&'static [u8]]> {
    let mut needed = OF_SERVERS.iter().filter(|section| sections.has(**section));
    let (first, second) = (needed.next()?, needed.next());
    // Before 7.0 servers take no more than one name.
    Some(match (first, second) {
        (Section::CommandStats, None) => &[b"INFO", b"commandstats"],
        _ if sections.has(Section::CommandStats) => &[b"INFO", b"everything"],
        (_, Some(_)) => &[b"INFO"],
        (Section::RedisServer, None) => &[b"INFO", b"server"],
        (Section::Memory, None) => &[b"INFO", b"memory"],
        (Section::Persistence, None) => &[b"INFO", b"persistence"],
        (Section::RedisStats, None) => &[b"INFO", b"stats"],
        (Section::Modules, None) => &[b"INFO", b"modules"],
        (Section::ErrorStats, None) => &[b"INFO", b"errorstats"],
        (_, None) => &[b"INFO", b"keyspace"],
    })
}

/// Whether what replicas have done counts in these sections.
#[must_use]
pub fn concerns_replicas(sections: Sections) -> bool {
    sections.has_any(&[Section::RedisStats, Section::CommandStats, Section::ErrorStats])
}

/// The text of these sections.
#[must_use]
pub fn sections(sections: Sections, info: &RedisInfo<'_>, figures: &Figures) -> String {
    let mut text = Text::default();
    for (section, write) in WRITERS {
        if sections.has(*section) {
            if !text.0.is_empty() {
                text.0.push_str("\r\n");
            }
            write(&mut text, info, figures);
        }
    }
    text.0
}

type Writer = fn(&mut Text, &RedisInfo<'_>, &Figures);

const WRITERS: &[(Section, Writer)] = &[
    (Section::RedisServer, Text::server),
    (Section::Clients, Text::clients),
    (Section::Memory, Text::memory),
    (Section::Persistence, Text::persistence),
    (Section::RedisStats, Text::stats),
    (Section::Replication, Text::replication),
    (Section::Cpu, Text::cpu),
    (Section::Modules, Text::modules),
    (Section::CommandStats, Text::command_stats),
    (Section::ErrorStats, Text::error_stats),
    (Section::Cluster, Text::cluster),
    (Section::Keyspace, Text::keyspace),
];

#[derive(Default)]
struct Text(String);

impl Text {
    fn server(&mut self, info: &RedisInfo<'_>, figures: &Figures) {
        self.heading("Server");
        self.known("redis_version", figures.lowest_version("redis_version"));
        self.known("server_name", figures.unless("server_name", ""));
        self.known("valkey_version", figures.lowest_version("valkey_version"));
        self.field("predixy_version", info.version);
        self.field("redis_mode", "standalone");
        self.field("os", format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
        self.field("arch_bits", usize::BITS);
        self.field("process_id", std::process::id());
        self.field("run_id", info.run_id);
        self.field("tcp_port", info.port);
        self.field("uptime_in_seconds", info.uptime_s);
        self.field("uptime_in_days", info.uptime_s / 86_400);
    }

    fn clients(&mut self, info: &RedisInfo<'_>, _: &Figures) {
        self.heading("Clients");
        self.field("connected_clients", info.clients);
        self.field("maxclients", info.clients_max);
        self.field("blocked_clients", info.blocked_clients);
        self.field("watching_clients", info.watching_clients);
        self.field("tracking_clients", 0);
    }

    fn memory(&mut self, info: &RedisInfo<'_>, figures: &Figures) {
        self.heading("Memory");
        let used = figures.sum("used_memory");
        let resident = figures.sum("used_memory_rss");
        self.bytes("used_memory", used);
        self.bytes("used_memory_rss", resident);
        self.bytes("used_memory_peak", figures.sum("used_memory_peak"));
        for name in ["used_memory_overhead", "used_memory_startup", "used_memory_dataset"] {
            self.known(name, figures.sum(name));
        }
        self.bytes("used_memory_scripts", figures.sum("used_memory_scripts"));
        self.bytes("maxmemory", figures.sum_of_limits("maxmemory"));
        self.known("maxmemory_policy", figures.unless("maxmemory_policy", "noeviction"));
        if let (Some(used), Some(resident)) = (used, resident) {
            self.field("mem_fragmentation_ratio", Hundredths::ratio(resident, used));
        }
        self.known("mem_allocator", figures.unless("mem_allocator", ""));
        for name in ["lazyfree_pending_objects", "lazyfreed_objects"] {
            self.known(name, figures.sum(name));
        }
        self.answered(info, figures);
    }

    fn persistence(&mut self, info: &RedisInfo<'_>, figures: &Figures) {
        self.heading("Persistence");
        for name in ["loading", "async_loading"] {
            self.known(name, figures.max(name));
        }
        self.known("rdb_changes_since_last_save", figures.sum("rdb_changes_since_last_save"));
        self.known("rdb_bgsave_in_progress", figures.max("rdb_bgsave_in_progress"));
        self.known("rdb_last_save_time", figures.min("rdb_last_save_time"));
        self.known("rdb_last_bgsave_status", figures.unless("rdb_last_bgsave_status", "ok"));
        for name in ["aof_enabled", "aof_rewrite_in_progress"] {
            self.known(name, figures.max(name));
        }
        for name in ["aof_last_bgrewrite_status", "aof_last_write_status"] {
            self.known(name, figures.unless(name, "ok"));
        }
        self.answered(info, figures);
    }

    fn stats(&mut self, info: &RedisInfo<'_>, figures: &Figures) {
        let (totals, rates) = (&info.totals, &info.rates);
        self.heading("Stats");
        self.field("total_connections_received", totals.accept);
        self.field("total_commands_processed", totals.total_requests);
        self.field("instantaneous_ops_per_sec", rates.requests);
        self.field("total_net_input_bytes", totals.total_recv_client_bytes);
        self.field("total_net_output_bytes", totals.total_send_client_bytes);
        self.field("instantaneous_input_kbps", Hundredths::ratio(rates.bytes_in, 1024));
        self.field("instantaneous_output_kbps", Hundredths::ratio(rates.bytes_out, 1024));
        for name in ["expired_keys", "evicted_keys"] {
            self.known(name, figures.sum(name));
        }
        for name in ["keyspace_hits", "keyspace_misses", "total_error_replies"] {
            self.known(name, figures.sum_of_all(name));
        }
    }

    fn replication(&mut self, info: &RedisInfo<'_>, _: &Figures) {
        self.heading("Replication");
        self.field("role", "master");
        self.field("connected_slaves", 0);
        self.field("master_failover_state", "no-failover");
        self.field("master_replid", info.run_id);
        self.field("master_replid2", format_args!("{:040}", 0));
        self.field("master_repl_offset", 0);
        self.field("second_repl_offset", -1);
        self.field("repl_backlog_active", 0);
    }

    fn cpu(&mut self, info: &RedisInfo<'_>, _: &Figures) {
        self.heading("CPU");
        if let Some(usage) = info.usage {
            self.field("used_cpu_sys", Micros(usage.system_us));
            self.field("used_cpu_user", Micros(usage.user_us));
        }
    }

    fn modules(&mut self, _: &RedisInfo<'_>, figures: &Figures) {
        self.heading("Modules");
        for module in figures.modules() {
            self.field("module", module);
        }
    }

    fn command_stats(&mut self, _: &RedisInfo<'_>, figures: &Figures) {
        self.heading("Commandstats");
        for (name, calls) in figures.commands() {
            self.field(format_args!("cmdstat_{name}"), calls);
        }
    }

    fn error_stats(&mut self, _: &RedisInfo<'_>, figures: &Figures) {
        self.heading("Errorstats");
        for (name, count) in figures.errors() {
            self.field(format_args!("errorstat_{name}"), format_args!("count={count}"));
        }
    }

    fn cluster(&mut self, _: &RedisInfo<'_>, _: &Figures) {
        self.heading("Cluster");
        self.field("cluster_enabled", 0);
    }

    fn keyspace(&mut self, _: &RedisInfo<'_>, figures: &Figures) {
        self.heading("Keyspace");
        for (database, keys) in figures.keyspace() {
            self.field(format_args!("db{database}"), keys);
        }
    }

    /// How many masters the figures are of; more may be away.
    fn answered(&mut self, info: &RedisInfo<'_>, figures: &Figures) {
        self.field("masters_asked", info.masters_asked);
        self.field("masters_answered", figures.masters());
    }

    /// A number of bytes, and the same for people.
    fn bytes(&mut self, name: &str, bytes: Option<u64>) {
        if let Some(bytes) = bytes {
            self.field(name, bytes);
            self.field(format_args!("{name}_human"), Human(bytes));
        }
    }

    fn known(&mut self, name: &str, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    fn heading(&mut self, name: &str) {
        self.write(format_args!("# {name}\r\n"));
    }

    fn field(&mut self, name: impl fmt::Display, value: impl fmt::Display) {
        self.write(format_args!("{name}:{value}\r\n"));
    }

    /// A String takes everything.
    fn write(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(text);
    }
}

/// Bytes as Redis writes them for people: `1.50K`.
struct Human(u64);

impl fmt::Display for Human {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut unit, mut size) = ("B", 1);
        for next in ["K", "M", "G", "T", "P"] {
            if self.0 / size < 1024 {
                break;
            }
            (unit, size) = (next, size * 1024);
        }
        match unit {
            "B" => write!(out, "{}B", self.0),
            _ => write!(out, "{}{unit}", Hundredths::ratio(self.0, size)),
        }
    }
}

/// A number with two decimals.
struct Hundredths(u128);

impl Hundredths {
    fn ratio(one: u64, other: u64) -> Hundredths {
        let other = u128::from(other.max(1));
        Hundredths((u128::from(one) * 100 + other / 2) / other)
    }
}

impl fmt::Display for Hundredths {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// Microseconds that are shown as seconds with six decimals.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> RedisInfo<'static> {
        RedisInfo {
            version: "0.1.0",
            run_id: "0123456789abcdef0123456789abcdef01234567",
            port: 7617,
            uptime_s: 200_000,
            clients: 3,
            clients_max: 1000,
            blocked_clients: 1,
            watching_clients: 2,
            totals: HandlerTotals {
                accept: 5,
                total_requests: 100,
                total_recv_client_bytes: 2000,
                total_send_client_bytes: 3000,
                ..HandlerTotals::default()
            },
            rates: Rates { requests: 7, bytes_in: 1536, bytes_out: 0 },
            usage: Some(Usage { user_us: 2_000_499, system_us: 1, max_resident_bytes: 0 }),
            masters_asked: 2,
        }
    }

    fn figures() -> Figures {
        let mut figures = Figures::default();
        figures.add(
            true,
            b"redis_version:7.0.15\r\nused_memory:1024\r\nused_memory_rss:3072\r\n\
            maxmemory:0\r\nmaxmemory_policy:noeviction\r\nloading:0\r\nrdb_last_save_time:20\r\n\
            rdb_last_bgsave_status:ok\r\nkeyspace_hits:3\r\ndb0:keys=2,expires=0,avg_ttl=0\r\n",
        );
        figures.add(false, b"redis_version:6.2.0\r\nused_memory:1024\r\nkeyspace_hits:4\r\n");
        figures
    }

    fn one(section: Section) -> String {
        sections(Sections::of(&[section]), &info(), &figures())
    }

    #[test]
    fn sections_are_those_that_were_asked_for_in_the_order_of_redis() {
        let text = sections(Sections::ALL, &info(), &figures());
        let headings: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        let want = "Server Clients Memory Persistence Stats Replication CPU Modules Commandstats \
                    Errorstats Cluster Keyspace";
        assert_eq!(headings.join(" "), want);
        assert!(text.contains("\r\n\r\n# Clients\r\n") && !text.ends_with("\r\n\r\n"));
        assert_eq!(sections(Sections::of(&[Section::Proxy]), &info(), &figures()), "");
    }

    #[test]
    fn each_line_ends_as_in_redis() {
        let text = sections(Sections::ALL, &info(), &figures());
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    }

    #[test]
    fn the_version_is_that_of_the_servers() {
        let text = one(Section::RedisServer);
        assert!(text.starts_with("# Server\r\nredis_version:7.0.15\r\npredixy_version:0.1.0\r\n"));
        assert!(text.contains("uptime_in_seconds:200000\r\nuptime_in_days:2\r\n"), "{text}");
        let text = sections(Sections::of(&[Section::RedisServer]), &info(), &Figures::default());
        assert!(!text.contains("redis_version"), "{text}");
    }

    #[test]
    fn memory_is_that_of_the_masters() {
        let text = one(Section::Memory);
        assert!(text.contains("used_memory:1024\r\nused_memory_human:1.00K\r\n"), "{text}");
        assert!(text.contains("maxmemory:0\r\nmaxmemory_human:0B\r\n"), "{text}");
        assert!(text.contains("mem_fragmentation_ratio:3.00\r\n"), "{text}");
        assert!(text.ends_with("masters_asked:2\r\nmasters_answered:1\r\n"), "{text}");
    }

    #[test]
    fn what_is_read_from_replicas_counts_as_read() {
        let text = one(Section::RedisStats);
        assert!(text.contains("keyspace_hits:7\r\n"), "{text}");
        assert!(text.contains("instantaneous_ops_per_sec:7\r\n"), "{text}");
        assert!(text.contains("instantaneous_input_kbps:1.50\r\n"), "{text}");
        assert!(text.contains("total_commands_processed:100\r\n"), "{text}");
    }

    #[test]
    fn the_rest_is_as_in_redis() {
        assert_eq!(one(Section::Keyspace), "# Keyspace\r\ndb0:keys=2,expires=0,avg_ttl=0\r\n");
        assert_eq!(one(Section::Cluster), "# Cluster\r\ncluster_enabled:0\r\n");
        assert_eq!(
            one(Section::Cpu),
            "# CPU\r\nused_cpu_sys:0.000001\r\nused_cpu_user:2.000499\r\n"
        );
        assert!(
            one(Section::Replication)
                .starts_with("# Replication\r\nrole:master\r\nconnected_slaves:0\r\n")
        );
        assert!(
            one(Section::Persistence)
                .starts_with("# Persistence\r\nloading:0\r\nrdb_last_save_time:20\r\n")
        );
        let clients =
            "# Clients\r\nconnected_clients:3\r\nmaxclients:1000\r\nblocked_clients:1\r\n";
        assert!(one(Section::Clients).starts_with(clients));
    }

    #[test]
    fn servers_are_asked_for_no_more_than_is_needed() {
        let asked = |sections: Sections| {
            question(sections).map(|words| words.join(&b' ').escape_ascii().to_string())
        };
        let of = |section| asked(Sections::of(&[section]));
        assert_eq!(of(Section::Clients), None);
        assert_eq!(of(Section::Proxy), None);
        assert_eq!(of(Section::Keyspace).as_deref(), Some("INFO keyspace"));
        assert_eq!(of(Section::CommandStats).as_deref(), Some("INFO commandstats"));
        assert_eq!(asked(Sections::named(b"server")).as_deref(), Some("INFO server"));
        assert_eq!(asked(Sections::DEFAULT).as_deref(), Some("INFO"));
        assert_eq!(asked(Sections::ALL).as_deref(), Some("INFO everything"));
    }

    #[test]
    fn sizes_are_shown_for_people_as_redis_does() {
        for (bytes, want) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_161_352, "1.11M"),
            (25_276_502_016, "23.54G"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(Human(bytes).to_string(), want);
        }
    }

    #[test]
    fn a_reset_makes_no_rate() {
        let before = HandlerTotals { total_requests: 100, ..HandlerTotals::default() };
        let after = HandlerTotals { total_requests: 50, total_recv_client_bytes: 10, ..before };
        let rates = Rates::between(&before, &after, 2_000_000);
        assert_eq!(rates, Rates { requests: 0, bytes_in: 5, bytes_out: 0 });
    }
}
