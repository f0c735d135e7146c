//! INFO as those read it who have always read predixy's: dashboards, scripts, the exporter.

use std::collections::BTreeMap;

use crate::support::{
    AnyPool, Client, Proxy, SOON, bulk, error, ok, original_differs, shared_cluster, wait_until,
};

/// What predixy's exporter for Prometheus makes of INFO: numbers by their names, for each server
/// too, and the latencies of each monitor.
#[derive(Debug, Default)]
struct Scraped {
    figures: BTreeMap<String, f64>,
    servers: Vec<BTreeMap<String, String>>,
    monitors: BTreeMap<String, Monitor>,
}

/// The lines of a latency monitor.
#[derive(Clone, Debug, Default, PartialEq)]
struct Monitor {
    /// Bound, sum of microseconds, count, and the share of all up to there.
    buckets: Vec<(u64, u64, u64, f64)>,
    /// Average, sum of microseconds, count.
    total: Option<(u64, u64, u64)>,
}

/// Where the exporter is in INFO. It never goes back.
#[derive(PartialEq)]
enum Scope {
    Global,
    Servers,
    Latency,
}

/// Reads it as the exporter does: split at line feeds; fields of two parts; from `# Servers` on those
/// of servers, each of which begins with an address of two parts; from `# LatencyMonitor` on nothing
/// but monitors, each of which goes on as far as lines have four columns, up to that with `T`.
fn scrape(info: &str) -> Scraped {
    let mut scraped = Scraped::default();
    let mut scope = Scope::Global;
    let mut lines = info.split('\n');
    while let Some(line) = lines.next() {
        let parts: Vec<&str> = line.split(':').collect();
        let is_monitors = line.starts_with("# LatencyMonitor");
        if let Some(name) = line.strip_prefix("ServerLatencyMonitorName:") {
            scraped.read_monitor(name, &mut lines);
            continue;
        }
        match scope {
            Scope::Global if line.starts_with("# Servers") => scope = Scope::Servers,
            Scope::Global | Scope::Servers if is_monitors => scope = Scope::Latency,
            Scope::Global => {
                if let [name, value] = parts[..]
                    && let Ok(number) = value.parse()
                {
                    // What comes twice would overwrite what came before.
                    let known = scraped.figures.insert(name.to_owned(), number);
                    assert_eq!(known, None, "{line}");
                }
            }
            Scope::Servers if parts[0] == "Server" => {
                assert_eq!(parts.len(), 3, "{line}");
                let address = format!("{}:{}", parts[1], parts[2]);
                scraped.servers.push([("Server".to_owned(), address)].into());
            }
            Scope::Servers => {
                if let [name, value] = parts[..] {
                    let server = scraped.servers.last_mut().expect("a server");
                    assert_eq!(server.insert(name.to_owned(), value.to_owned()), None, "{line}");
                }
            }
            Scope::Latency => {
                if let Some(name) = line.strip_prefix("LatencyMonitorName:") {
                    scraped.read_monitor(name, &mut lines);
                }
            }
        }
    }
    scraped
}

impl Scraped {
    fn read_monitor<'a>(&mut self, name: &str, lines: &mut impl Iterator<Item = &'a str>) {
        let mut monitor = Monitor::default();
        for line in lines {
            if line.split_ascii_whitespace().count() < 4 {
                break;
            }
            read_bucket(line, &mut monitor);
            if monitor.total.is_some() {
                break;
            }
        }
        assert_eq!(self.monitors.insert(name.to_owned(), monitor), None, "{name}");
    }
}

fn read_bucket(line: &str, monitor: &mut Monitor) {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let number = |at: usize| words[at].parse::<u64>().unwrap_or_else(|_| panic!("{line:?}"));
    // The widths of predixy, whatever the numbers.
    let (bound, sum, count) = (number(1), number(2), number(3));
    let head = format!("{:<2} {bound:>12} {sum:>20} {count:>16}", words[0]);
    match words[0] {
        "<=" | ">" => {
            let share: f64 = words[4].strip_suffix('%').expect(line).parse().expect(line);
            assert_eq!(line, format!("{head} {share:.2}%"));
            assert!(monitor.total.is_none(), "the total comes last");
            monitor.buckets.push((bound, sum, count, share));
        }
        "T" => {
            assert_eq!(line, head);
            monitor.total = Some((bound, sum, count));
        }
        _ => panic!("{line:?}"),
    }
}

fn info(client: &mut Client, line: &str) -> Scraped {
    scrape(&client.line(line).text())
}

const MONITORS: &str = "LatencyMonitor all {\nCommands {\n+ all\n- info\n- config\n}\nTimeSpan {\n\
                        + 1\n+ 100\n+ 10000\n+ 1000000000\n}\n}\n\
                        LatencyMonitor get {\nCommands {\n+ get\n}\nTimeSpan {\n+ 1000000000\n}\n}\n";

#[test]
fn the_exporter_reads_what_there_is_to_read() {
    let proxy = Proxy::start(&format!("WorkerThreads 1\n{MONITORS}{}", shared_cluster().conf()));
    proxy.wait_for_servers(shared_cluster().len());
    let mut client = proxy.client();
    for number in 0..40 {
        assert_eq!(client.cmd(&["SET", &format!("info:{number}"), "v"]), ok());
        assert_eq!(client.cmd(&["GET", &format!("info:{number}")]), bulk("v"));
    }
    let all = info(&mut client, "INFO");
    for name in [
        "WorkerThreads",
        "Uptime",
        "UsedMemory",
        "MaxMemory",
        "MaxRSS",
        "UsedCpuSys",
        "UsedCpuUser",
        "Accept",
        "ClientConnections",
        "TotalRequests",
        "TotalResponses",
        "TotalRecvClientBytes",
        "TotalSendServerBytes",
        "TotalRecvServerBytes",
        "TotalSendClientBytes",
    ] {
        assert!(all.figures.contains_key(name), "{name}: {all:?}");
    }
    assert_eq!(all.servers.len(), shared_cluster().len());
    let fields = [
        "CurrentIsFail",
        "Connections",
        "Connect",
        "Requests",
        "Responses",
        "SendBytes",
        "RecvBytes",
    ];
    for server in &all.servers {
        for field in fields {
            assert!(server[field].parse::<u64>().is_ok(), "{field}: {server:?}");
        }
        assert!(["master", "slave"].contains(&server["Role"].as_str()), "{server:?}");
        assert!(!server["Group"].is_empty() && server["DC"].is_empty());
    }
    let monitor = &all.monitors["get"];
    let (average, sum, count) = monitor.total.expect("40 GET");
    assert_eq!((count, average), (40, sum / 40));
    assert_eq!(monitor.buckets, [(1_000_000_000, sum, 40, 100.0)]);
    let monitor = &all.monitors["all"];
    assert!(monitor.buckets.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].3 <= two[1].3));
    assert_eq!(monitor.buckets.last().map(|bucket| bucket.3), Some(100.0));
    let counts: u64 = monitor.buckets.iter().map(|bucket| bucket.2).sum();
    assert_eq!(monitor.total.map(|total| total.2), Some(counts));
    assert!(counts >= 80, "{counts}");
    // Then it asks each server; together they have answered all of it.
    let mut answered = 0;
    for server in &all.servers {
        let address = &server["Server"];
        let of_server = info(&mut client, &format!("INFO ServerLatency {address}"));
        assert_eq!(of_server.monitors.len(), 2, "{of_server:?}");
        let one = info(&mut client, &format!("INFO ServerLatency {address} get"));
        let name = format!("{address} get");
        assert_eq!(one.monitors.keys().collect::<Vec<_>>(), [&name]);
        answered += one.monitors[&name].total.map_or(0, |total| total.2);
    }
    assert_eq!(answered, 40);
    let of_get = info(&mut client, "INFO Latency get");
    assert_eq!(of_get.monitors.len(), 1 + all.servers.len());
    assert_eq!(client.line("INFO Latency none"), error("ERR latency \"none\" no exists"));
    assert_eq!(client.line("INFO ServerLatency none"), error("ERR server \"none\" no exists"));
    assert_eq!(client.line("INFO Latency"), error("ERR argument wrong"));
}

#[test]
fn d51_uptime_is_how_long_it_has_been_up() {
    if original_differs("D-51: it is the time of the start") {
        return;
    }
    let proxy = Proxy::start(&shared_cluster().conf());
    let up = proxy.figure("Uptime");
    assert!(up < 60, "{up}");
    wait_until(SOON, "time to pass", || proxy.figure("Uptime") > up);
}

#[test]
fn d52_each_request_and_each_connection_counts_once() {
    if original_differs("D-52: connections only grow, some requests count twice") {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let proxy = &pool.proxy;
    let mut client = proxy.client();
    assert_eq!(client.line("SET info:d52 1"), ok());
    let server = |name: &str| -> u64 {
        let all = info(&mut proxy.client(), "INFO servers");
        all.servers[0][name].parse().expect("a number")
    };
    assert_eq!((server("Connections"), server("Connect")), (1, 1));
    assert_eq!(client.line("CONFIG RESETSTAT"), ok());
    // Among them a cursor, a script and errors, which the original counts twice or not at all.
    for line in ["GET info:d52", "SCAN 0", "LPUSH info:d52 x", "EVAL return(1) 0"] {
        client.line(line);
    }
    for line in ["PING", "NONSENSE", "GET"] {
        client.line(line);
    }
    assert_eq!((server("Requests"), server("Responses")), (4, 4));
    // What the servers were asked counts for them as well, also what INFO itself asks.
    let own = |all: &Scraped, name: &str| {
        let of_servers: f64 =
            all.servers.iter().map(|server| server[name].parse::<f64>().expect("a number")).sum();
        all.figures[&format!("Total{name}")] - of_servers
    };
    let before = info(&mut client, "INFO");
    client.line("PING");
    let after = info(&mut client, "INFO");
    for name in ["Requests", "Responses"] {
        assert_eq!(own(&after, name) - own(&before, name), 2.0, "{name}: PING and INFO");
    }
    // A connection that is lost is no connection; the next one is one more attempt.
    let mut master = pool.masters().remove(0);
    assert!(master.line("CLIENT KILL TYPE normal SKIPME yes").number() >= 1);
    wait_until(SOON, "the loss to be noticed", || server("Connections") == 0);
    assert!(client.line("GET info:d52").error_text().is_none());
    assert_eq!((server("Connections"), server("Connect")), (1, 1), "attempts since the reset");
}

#[test]
fn info_resetstats_begins_anew_as_config_resetstat_does() {
    let proxy = Proxy::start(&format!("{MONITORS}{}", shared_cluster().conf()));
    let mut client = proxy.client();
    assert_eq!(client.line("SET info:reset 1"), ok());
    assert_eq!(client.line("GET info:reset"), bulk("1"));
    for line in ["INFO ResetStats", "CONFIG RESETSTAT"] {
        assert_eq!(client.line("GET info:reset"), bulk("1"));
        assert_eq!(client.line(line), ok());
        wait_until(SOON, "all to be forgotten", || {
            let all = info(&mut client, "INFO");
            all.monitors["get"].total.is_none() && all.figures["TotalRequests"] < 10.0
        });
        assert_eq!(info(&mut client, "INFO").figures["ClientConnections"], 1.0);
    }
}
