//! The counters as Prometheus reads them: the text format 0.0.4.
//!
//! Each family has its HELP and its TYPE, names say their units, counters end in `_total` and
//! never go back while the process runs, also at a RESETSTAT.

use std::fmt::{self, Write as _};

use super::snapshot::Snapshot;
use crate::proxy::hot_keys::ONE;
use crate::stats::Distribution;

/// All families.
pub fn write(snapshot: &Snapshot) -> String {
    let mut text = Text::default();
    process(snapshot, &mut text);
    traffic(snapshot, &mut text);
    handlers(snapshot, &mut text);
    servers(snapshot, &mut text);
    commands(snapshot, &mut text);
    latencies(snapshot, &mut text);
    text.0
}

fn process(snapshot: &Snapshot, text: &mut Text) {
    let conf = &snapshot.settings.conf;
    text.family("predixy_build_info", "gauge", "Always 1; the version is in the label.");
    text.sample("", &[("version", env!("CARGO_PKG_VERSION")), ("name", &conf.name)], 1);
    text.gauge(
        "predixy_start_time_seconds",
        "When the process started, in seconds since 1970.",
        snapshot.started_s,
    );
    text.gauge("predixy_worker_threads", "How many threads serve clients.", snapshot.views.len());
    if let Some(usage) = snapshot.usage {
        text.family("predixy_cpu_seconds_total", "counter", "Processor time that was used.");
        text.sample("", &[("mode", "user")], Seconds(usage.user_us));
        text.sample("", &[("mode", "system")], Seconds(usage.system_us));
        text.gauge(
            "predixy_resident_memory_max_bytes",
            "The most memory that was ever resident.",
            usage.max_resident_bytes,
        );
    }
    let memory: u64 = snapshot.memory.iter().sum();
    text.gauge("predixy_buffer_bytes", "Memory for requests and replies in transit.", memory);
    text.gauge(
        "predixy_buffer_limit_bytes",
        "MaxMemory of the configuration; 0 is no limit.",
        conf.max_memory,
    );
    text.gauge(
        "predixy_stopping",
        "1 while the process finishes what is under way before it ends.",
        u8::from(snapshot.is_stopping),
    );
}

fn traffic(snapshot: &Snapshot, text: &mut Text) {
    let totals = snapshot.totals();
    text.gauge("predixy_clients", "Clients that are connected.", totals.client_connections);
    text.gauge(
        "predixy_clients_max",
        "Clients that may be connected at a time.",
        snapshot.settings.clients_max,
    );
    let counters = [
        ("connections_accepted", "Connections that clients have made.", totals.accept),
        (
            "requests",
            "Requests taken, each part of a split one, and the proxy's own.",
            totals.total_requests,
        ),
        ("responses", "Replies that came or were made here.", totals.total_responses),
        ("client_received_bytes", "Bytes from clients.", totals.total_recv_client_bytes),
        ("client_sent_bytes", "Bytes to clients.", totals.total_send_client_bytes),
        ("servers_received_bytes", "Bytes from all servers.", totals.total_recv_server_bytes),
        ("servers_sent_bytes", "Bytes to all servers.", totals.total_send_server_bytes),
        (
            "slow_requests",
            "Requests that took longer than SlowlogLogSlowerThan.",
            snapshot.answered().map(|view| view.slow_seen).sum(),
        ),
    ];
    for (name, help, value) in counters {
        text.family(&format!("predixy_{name}_total"), "counter", help);
        text.sample("", &[], value);
    }
    text.gauge(
        "predixy_in_flight_requests",
        "Requests that servers have yet to answer.",
        snapshot.in_flight(),
    );
    text.gauge(
        "predixy_waiting_requests",
        "Requests that wait for a server, or for others.",
        snapshot.answered().map(|view| view.waiting).sum::<usize>(),
    );
    text.gauge(
        "predixy_monitoring_clients",
        "Clients that have said MONITOR.",
        snapshot.answered().map(|view| view.monitors).sum::<usize>(),
    );
}

fn handlers(snapshot: &Snapshot, text: &mut Text) {
    let numbered = |index: usize| index.to_string();
    text.family("predixy_handler_clients", "gauge", "Clients of each thread.");
    for (index, handler) in snapshot.handlers.iter().enumerate() {
        text.sample("", &[("handler", &numbered(index))], handler.client_connections);
    }
    text.family("predixy_handler_requests_total", "counter", "Requests taken by each thread.");
    for (index, handler) in snapshot.handlers.iter().enumerate() {
        text.sample("", &[("handler", &numbered(index))], handler.total_requests);
    }
    text.family("predixy_handler_buffer_bytes", "gauge", "Memory of the buffers of each thread.");
    for (index, bytes) in snapshot.memory.iter().enumerate() {
        text.sample("", &[("handler", &numbered(index))], bytes);
    }
    text.family("predixy_handler_up", "gauge", "1 if the thread has answered just now.");
    for (index, view) in snapshot.views.iter().enumerate() {
        text.sample("", &[("handler", &numbered(index))], u8::from(view.is_some()));
    }
}

fn servers(snapshot: &Snapshot, text: &mut Text) {
    text.family("predixy_server_info", "gauge", "Always 1; what a server is stands in the labels.");
    for view in &snapshot.servers {
        let address = view.server.address().to_string();
        let labels = [
            ("server", &address[..]),
            ("role", view.server.role().name()),
            ("group", view.server.group_name()),
            ("dc", &view.center),
        ];
        text.sample("", &labels, 1);
    }
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(usize) -> u64| {
        text.family(&format!("predixy_server_{name}"), kind, help);
        for (index, view) in snapshot.servers.iter().enumerate() {
            text.sample("", &[("server", &view.server.address().to_string())], value(index));
        }
    };
    let (gauge, counter) = ("gauge", "counter");
    let view = |index: usize| &snapshot.servers[index];
    let totals = |index: usize| &snapshot.servers[index].totals;
    let count = |count: usize| count as u64;
    family("up", gauge, "0 if the server is taken for dead.", &|index| {
        u64::from(!view(index).is_failed)
    });
    family("connections", gauge, "Connections to it that are open or being made.", &|index| {
        totals(index).connections
    });
    family("ready_connections", gauge, "Connections on which requests flow.", &|index| {
        count(view(index).ready_links)
    });
    family("in_flight_requests", gauge, "Requests that it has yet to answer.", &|index| {
        count(view(index).in_flight)
    });
    family("connects_total", counter, "Attempts to connect to it.", &|index| totals(index).connect);
    family("requests_total", counter, "Requests for it.", &|index| totals(index).requests);
    family("responses_total", counter, "Replies from it.", &|index| totals(index).responses);
    family("sent_bytes_total", counter, "Bytes to it.", &|index| totals(index).send_bytes);
    family("received_bytes_total", counter, "Bytes from it.", &|index| totals(index).recv_bytes);
    let topology = &snapshot.topology;
    text.gauge(
        "predixy_topology_complete",
        "1 if every slot of the cluster has an owner, or every group a master.",
        u8::from(match topology.is_cluster() {
            true => topology.is_whole(),
            false => topology.groups().iter().all(|group| group.master().is_some()),
        }),
    );
}

fn commands(snapshot: &Snapshot, text: &mut Text) {
    text.family(
        "predixy_command_requests_total",
        "counter",
        "Requests by command, estimated from samples.",
    );
    for command in snapshot.settings.conf.commands.iter() {
        let index = command.id().index();
        let counts = snapshot.answered().filter_map(|view| view.commands.get(index));
        let count: u64 = counts.sum();
        if count > 0 {
            text.sample("", &[("command", command.name())], count.div_ceil(ONE));
        }
    }
}

fn latencies(snapshot: &Snapshot, text: &mut Text) {
    text.family(
        "predixy_latency_seconds",
        "histogram",
        "How long commands took, for each LatencyMonitor.",
    );
    for (name, distribution) in &snapshot.latencies {
        text.histogram(name, distribution);
    }
    text.family(
        "predixy_server_latency_seconds",
        "summary",
        "How long commands took at each server, for each LatencyMonitor.",
    );
    for view in &snapshot.servers {
        let address = view.server.address().to_string();
        for ((name, _), distribution) in snapshot.latencies.iter().zip(&view.latencies) {
            let labels = [("server", &address[..]), ("monitor", name)];
            let total = distribution.total();
            text.sample("_sum", &labels, Seconds(total.sum_us));
            text.sample("_count", &labels, total.count);
        }
    }
}

/// The text so far, and the family that is being written.
#[derive(Default)]
struct Text(String, String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        name.clone_into(&mut self.1);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl fmt::Display) {
        self.family(name, "gauge", help);
        self.sample("", &[], value);
    }

    /// One line of the family; `suffix` is for those that have several kinds of lines.
    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        let name = std::mem::take(&mut self.1);
        self.write(format_args!("{name}{suffix}"));
        self.1 = name;
        for (number, (label, text)) in labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            self.write(format_args!("{before}{label}=\"{}\"", Label(text)));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.write(format_args!("{end} {value}\n"));
    }

    fn histogram(&mut self, monitor: &str, distribution: &Distribution) {
        let total = distribution.total();
        let mut count = 0;
        for (bound_us, bucket) in distribution.bounds_us.iter().zip(&distribution.buckets) {
            count += bucket.count;
            let bound = Seconds(*bound_us).to_string();
            self.sample("_bucket", &[("monitor", monitor), ("le", &bound)], count);
        }
        self.sample("_bucket", &[("monitor", monitor), ("le", "+Inf")], total.count);
        self.sample("_sum", &[("monitor", monitor)], Seconds(total.sum_us));
        self.sample("_count", &[("monitor", monitor)], total.count);
    }

    /// A String takes everything.
    fn write(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(text);
    }
}

/// The text of a label, which may come from anywhere.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => out.write_str("\\\\")?,
                '"' => out.write_str("\\\"")?,
                '\n' => out.write_str("\\n")?,
                _ => out.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// Microseconds, shown as seconds without anything lost.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if micros == 0 {
            return write!(out, "{seconds}");
        }
        let decimals = format!("{micros:06}");
        write!(out, "{seconds}.{}", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Bucket;

    #[test]
    fn times_are_seconds_to_the_last_digit() {
        let shown = [0, 1, 100, 1500, 1_000_000, 12_000_030].map(|us| Seconds(us).to_string());
        assert_eq!(shown, ["0", "0.000001", "0.0001", "0.0015", "1", "12.00003"]);
    }

    #[test]
    fn labels_cannot_break_out() {
        let mut text = Text::default();
        text.family("a", "gauge", "H.");
        text.sample("", &[("x", "a\"b\\c\nd"), ("y", "")], 7);
        assert_eq!(text.0, "# HELP a H.\n# TYPE a gauge\na{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 7\n");
    }

    #[test]
    fn buckets_of_a_histogram_add_up() {
        let buckets = [(3, 30), (2, 300), (1, 5_000_000)];
        let distribution = Distribution {
            bounds_us: [100, 1000].into(),
            buckets: buckets.map(|(count, sum_us)| Bucket { count, sum_us }).into(),
        };
        let mut text = Text(String::new(), "h".to_owned());
        text.histogram("all", &distribution);
        let want = "h_bucket{monitor=\"all\",le=\"0.0001\"} 3\n\
                    h_bucket{monitor=\"all\",le=\"0.001\"} 5\n\
                    h_bucket{monitor=\"all\",le=\"+Inf\"} 6\n\
                    h_sum{monitor=\"all\"} 5.00033\nh_count{monitor=\"all\"} 6\n";
        assert_eq!(text.0, want);
    }
}
