//! What the proxy shows over HTTP: the format of Prometheus, readiness, the status page, and that
//! nobody who speaks HTTP can do it harm.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::support::http::{METRICS, ask, get, metrics_of};
use crate::support::{
    FakeServer, Proxy, RedisServer, SOON, free_port, groups_conf, ok, original_differs,
    shared_cluster, simple, wait_until, wire,
};

const MONITORS: &str = "LatencyMonitor all {\nCommands {\n+ all\n}\nTimeSpan {\n+ 100\n+ 1000\n+ 10000\n}\n}\n\
                        LatencyMonitor get \"it\\\" {\nCommands {\n+ get\n}\nTimeSpan {\n+ 500\n}\n}\n";

/// A family of /metrics.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    /// With its suffix.
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads the text format 0.0.4, strictly.
#[track_caller]
fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    assert!(text.ends_with('\n'), "the last line has no end");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("HELP name text");
            assert!(!help.is_empty() && !families.contains_key(name), "{line}");
            name.clone_into(&mut current);
            families.insert(current.clone(), Family { help: help.into(), ..Family::default() });
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("TYPE name kind");
            assert_eq!(name, current, "TYPE belongs behind its HELP");
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
            let family = families.get_mut(name).unwrap();
            assert!(family.kind.is_empty() && family.samples.is_empty(), "{line}");
            kind.clone_into(&mut family.kind);
        } else {
            assert!(seen.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "twice: {line}");
            let sample = parse_sample(line);
            let family = families.get_mut(&current).expect("a sample before any family");
            let suffix = sample.name.strip_prefix(&current).expect("a sample of another family");
            let allowed: &[&str] = match &family.kind[..] {
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line}");
            family.samples.push(sample);
        }
    }
    families
}

#[track_caller]
fn parse_sample(line: &str) -> Sample {
    let is_name = |name: &str| {
        let mut characters = name.chars();
        characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && characters.all(|other| other.is_ascii_alphanumeric() || other == '_')
    };
    let (name, rest) = line.split_at(line.find(['{', ' ']).expect("a name and a value"));
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").expect("label=\"value\"");
            assert!(is_name(label), "{line}");
            let (mut value, mut characters) = (String::new(), after.chars());
            loop {
                match characters.next().expect("the end of a label") {
                    '"' => break,
                    '\\' => match characters.next() {
                        Some('n') => value.push('\n'),
                        Some(other @ ('\\' | '"')) => value.push(other),
                        other => panic!("\\{other:?} in {line}"),
                    },
                    other => value.push(other),
                }
            }
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = characters.as_str();
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect("}");
    }
    let value = rest.strip_prefix(' ').expect("a blank before the value");
    Sample { name: name.to_owned(), labels, value: value.parse().expect("a number") }
}

impl Family {
    #[track_caller]
    fn value(&self, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|v| v == value))
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).sum()
    }
}

/// What promtool would complain about.
fn lint(families: &BTreeMap<String, Family>) {
    for (name, family) in families {
        assert!(name.starts_with("predixy_"), "{name}");
        assert!(!family.kind.is_empty() && !family.help.is_empty(), "{name}");
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name}");
        for unit in ["_ms", "_us", "_milliseconds", "_kilobytes", "_percent"] {
            assert!(!name.contains(unit), "{name}: not a base unit");
        }
        assert!(
            !["_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix)),
            "{name}"
        );
        let has_le = family.samples.iter().any(|sample| sample.labels.contains_key("le"));
        assert_eq!(has_le, family.kind == "histogram" && !family.samples.is_empty(), "{name}");
        if family.kind == "histogram" {
            check_buckets(family);
        }
    }
}

/// Bounds rise, counts add up, and the last bucket is the count.
fn check_buckets(family: &Family) {
    let monitors: BTreeSet<&String> =
        family.samples.iter().map(|sample| &sample.labels["monitor"]).collect();
    for monitor in monitors {
        let of = |suffix: &'static str| {
            let samples = family.samples.iter().filter(move |sample| {
                sample.labels["monitor"] == *monitor && sample.name.ends_with(suffix)
            });
            samples.collect::<Vec<&Sample>>()
        };
        let buckets = of("_bucket");
        let bounds = buckets.iter().map(|bucket| bucket.labels["le"].parse::<f64>().unwrap());
        assert!(bounds.is_sorted_by(|one, next| one < next));
        assert!(buckets.is_sorted_by(|one, next| one.value <= next.value));
        assert_eq!(buckets.last().unwrap().labels["le"], "+Inf");
        assert_eq!(buckets.last().unwrap().value, of("_count")[0].value);
        assert_eq!(of("_sum").len(), 1);
    }
}

#[test]
fn metrics_are_what_prometheus_reads_and_true() {
    if original_differs("no MetricsBind") {
        return;
    }
    let cluster = shared_cluster();
    let conf = format!(
        "Name a\"b\\c\nWorkerThreads 2\nSlowlogLogSlowerThan 0\n{METRICS}{MONITORS}{}",
        cluster.conf_with("    RefreshInterval 100ms")
    );
    let proxy = Proxy::start(&conf);
    proxy.wait_for_servers(cluster.len());
    let reply = get(&proxy, "/metrics");
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("Content-Type: text/plain; version=0.0.4"), "{}", reply.head);
    let before = parse(&reply.body);
    lint(&before);
    let mut client = proxy.client();
    for number in 0..50 {
        client.line(&format!("SET metrics:{number} x"));
        client.line(&format!("GET metrics:{number}"));
    }
    wait_until(SOON, "the numbers to be old enough", || {
        let now = parse(&get(&proxy, "/metrics").body);
        now["predixy_command_requests_total"].value(&[("command", "get")]) == 50.0
    });
    let after = parse(&get(&proxy, "/metrics").body);
    lint(&after);
    let names = |families: &BTreeMap<String, Family>| families.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    assert_eq!(after["predixy_build_info"].samples[0].labels["name"], "a\"b\\c");
    assert_eq!(after["predixy_server_up"].value(&[]), cluster.len() as f64);
    assert_eq!(after["predixy_server_info"].value(&[("role", "master")]), 3.0);
    assert_eq!(after["predixy_command_requests_total"].value(&[("command", "set")]), 50.0);
    assert!(after["predixy_requests_total"].value(&[]) >= 100.0);
    let requests = after["predixy_server_requests_total"].value(&[]);
    assert!(requests >= 100.0, "{requests}");
    let handlers = after["predixy_handler_requests_total"].value(&[]);
    assert_eq!(handlers, after["predixy_requests_total"].value(&[]));
    assert!(after["predixy_slow_requests_total"].value(&[]) >= 100.0);
    let latency = &after["predixy_latency_seconds"];
    let counted = |monitor: &str| {
        let of =
            latency.samples.iter().filter(|sample| sample.labels["monitor"].starts_with(monitor));
        of.filter(|sample| sample.name.ends_with("_count")).map(|sample| sample.value).sum::<f64>()
    };
    assert!(counted("all") >= 100.0 && counted("get") == 50.0, "{latency:?}");
    // A reset is for INFO; counters of Prometheus never go back.
    client.line("CONFIG RESETSTAT");
    wait_until(SOON, "another look", || {
        let now = parse(&get(&proxy, "/metrics").body);
        now["predixy_requests_total"].value(&[]) > after["predixy_requests_total"].value(&[])
            && now["predixy_server_requests_total"].value(&[]) >= requests
    });
}

/// The ready-made dashboard asks for nothing that is not there.
#[test]
fn each_panel_of_the_dashboard_asks_for_what_there_is() {
    if original_differs("no MetricsBind") {
        return;
    }
    let conf = format!("{METRICS}{MONITORS}{}", shared_cluster().conf());
    let proxy = Proxy::start(&conf);
    let mut client = proxy.client();
    client.line("GET metrics:dashboard");
    let mut families = BTreeMap::new();
    wait_until(SOON, "a page with everything", || {
        families = parse(&get(&proxy, "/metrics").body);
        !families["predixy_command_requests_total"].samples.is_empty()
    });
    let known: BTreeMap<String, BTreeSet<String>> = families
        .values()
        .flat_map(|family| &family.samples)
        .map(|sample| (sample.name.clone(), sample.labels.keys().cloned().collect()))
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/grafana-dashboard.json");
    let dashboard = std::fs::read_to_string(path).unwrap();
    let queries: Vec<String> = dashboard
        .lines()
        .filter_map(|line| line.trim().strip_prefix("\"expr\": \"")?.strip_suffix("\","))
        .map(|query| query.replace("\\\"", "\""))
        .collect();
    assert!(queries.len() >= 12, "{queries:?}");
    for query in queries {
        for (name, labels) in metrics_in(&query) {
            let has = known.get(&name).unwrap_or_else(|| panic!("{name} of {query}: unknown"));
            for label in labels {
                // What Prometheus itself adds.
                let is_there =
                    has.contains(&label) || ["instance", "job"].contains(&label.as_str());
                assert!(is_there, "{query}: {name} has no label {label}");
            }
        }
    }
}

/// The metrics that a query names, each with the labels that it must have: those in braces, and
/// those that the sum around it is by.
fn metrics_in(query: &str) -> Vec<(String, Vec<String>)> {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut found = Vec::new();
    let by: Vec<String> = query
        .split("by (")
        .skip(1)
        .flat_map(|rest| rest.split(')').next().unwrap().split(','))
        .map(|label| label.trim().to_owned())
        .collect();
    let mut rest = query;
    while let Some(at) = rest.find("predixy_") {
        let end = rest[at..].find(|c| !is_word(c)).map_or(rest.len(), |end| at + end);
        let name = rest[at..end].to_owned();
        let mut labels = by.clone();
        if let Some(inner) = rest[end..].strip_prefix('{') {
            let inner = &inner[..inner.find('}').unwrap()];
            let pairs = inner.split(',').filter(|pair| !pair.trim().is_empty());
            labels
                .extend(pairs.map(|pair| pair.split(['=', '!']).next().unwrap().trim().to_owned()));
        }
        found.push((name, labels));
        rest = &rest[end..];
    }
    assert!(!found.is_empty(), "{query} asks for nothing of ours");
    found
}

#[test]
fn ready_is_who_reaches_all_masters() {
    if original_differs("no MetricsBind") {
        return;
    }
    let mut servers = [RedisServer::start(), RedisServer::start()];
    let conf = groups_conf(&[servers[0].address(), servers[1].address()]);
    let conf = conf.replace("Databases", "ServerFailureLimit 1\n    Databases");
    let mut proxy = Proxy::start(&format!("WorkerThreads 2\n{METRICS}{conf}"));
    // Nobody has sent a request: it finds out by itself.
    let reply = get(&proxy, "/readyz");
    assert_eq!((reply.status, &reply.body[..]), (200, "ready\n"));
    assert_eq!(get(&proxy, "/healthz").status, 200);
    servers[1].kill();
    let mut reply = get(&proxy, "/readyz");
    wait_until(SOON, "it to notice", || {
        reply = get(&proxy, "/readyz");
        reply.status == 503
    });
    let lost = servers[1].address();
    assert!(reply.body.starts_with("not ready\n") && reply.body.contains(&lost), "{reply:?}");
    // Half of the keys are better than none, for who thinks so.
    assert_eq!(get(&proxy, "/readyz?masters=1").status, 200);
    assert_eq!(get(&proxy, "/readyz?masters=2").status, 503);
    assert_eq!(get(&proxy, "/healthz").status, 200);
    wait_until(SOON, "the page to say so", || get(&proxy, "/").body.contains("<b>down</b>"));
    servers[1].restart();
    wait_until(SOON, "it to be ready again", || get(&proxy, "/readyz").status == 200);
    assert!(proxy.terminate().success());
}

#[test]
fn a_pool_that_nobody_answers_for_is_not_ready() {
    if original_differs("no MetricsBind") {
        return;
    }
    let nobody = format!("127.0.0.1:{}", free_port());
    let conf = format!("{METRICS}ClusterServerPool {{\nServers {{\n+ {nobody}\n}}\n}}\n");
    let proxy = Proxy::start(&conf);
    let reply = get(&proxy, "/readyz");
    assert_eq!(reply.status, 503);
    assert!(reply.body.contains("no server has told yet who owns what"), "{reply:?}");
    assert_eq!(get(&proxy, "/healthz").body, "ok\n");
    // A part of the slots is not the whole.
    let fakes = FakeServer::start_cluster(1, |_, _| crate::support::Answer::Usual);
    fakes[0].set_nodes(&crate::support::nodes_line(
        1,
        &fakes[0].bus_address(),
        "master",
        "-",
        "0-100",
    ));
    let proxy = Proxy::start(&format!("{METRICS}{}", FakeServer::conf(&fakes, "")));
    wait_until(SOON, "the topology", || {
        get(&proxy, "/readyz").body.contains("some slots of the cluster have no owner")
    });
    assert_eq!(get(&proxy, "/readyz?masters=1").status, 200);
}

#[test]
fn an_upgrade_answers_all_the_time() {
    if original_differs("no MetricsBind") {
        return;
    }
    let mut proxy = Proxy::start(&format!("{METRICS}{}", shared_cluster().conf()));
    assert_eq!(get(&proxy, "/healthz").status, 200);
    for _ in 0..2 {
        proxy.upgrade();
        assert_eq!(get(&proxy, "/healthz").status, 200);
        wait_until(SOON, "the new process to be ready", || get(&proxy, "/readyz").status == 200);
    }
    let uptime = get(&proxy, "/top").body;
    assert!(uptime.contains("ready"), "{uptime}");
}

#[test]
fn whoever_speaks_http_badly_harms_nobody() {
    if original_differs("no MetricsBind") {
        return;
    }
    let proxy = Proxy::start(&format!("{METRICS}{}", shared_cluster().conf()));
    let socket = metrics_of(&proxy);
    assert_eq!(get(&proxy, "/nothing").status, 404);
    assert_eq!(ask(&socket, b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").status, 405);
    assert_eq!(ask(&socket, b"GET / HTTP/3\r\n\r\n").status, 400);
    assert_eq!(ask(&socket, b"*1\r\n$4\r\nPING\r\n").status, 400);
    let head = ask(&socket, b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.status == 200 && head.body.is_empty() && head.head.contains("Content-Length: "));
    // Headers without end, more than anybody has.
    let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'x'; 100_000]].concat();
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // It may be cut off before it has said all.
    let _ = stream.write_all(&long);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    assert!(reply.starts_with(b"HTTP/1.1 431 ") || reply.is_empty());
    // Many who say nothing, and some who say half of it, keep nobody else waiting.
    let idle: Vec<UnixStream> = (0..200)
        .map(|number| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            if number % 2 == 0 {
                stream.write_all(b"GET /metr").unwrap();
            }
            stream
        })
        .collect();
    assert_eq!(get(&proxy, "/healthz").status, 200);
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
    // In time those are gone who have not finished.
    let mut last = idle.into_iter().next_back().unwrap();
    last.set_read_timeout(Some(SOON)).unwrap();
    let mut rest = Vec::new();
    assert_eq!(last.read_to_end(&mut rest).unwrap_or(0), 0, "{rest:?}");
}

#[test]
fn the_page_needs_nothing_else_and_shows_no_secrets() {
    if original_differs("no MetricsBind") {
        return;
    }
    let server = RedisServer::start_with(&["--requirepass", "topsecret"]);
    let conf = groups_conf(&[server.address()]);
    let conf = conf.replace("Databases", "Password topsecret\n    Databases");
    let auth = "Authority {\nAuth {\nMode write\n}\nAuth alsosecret {\nMode admin\n}\n}\n";
    let proxy = Proxy::start(&format!(
        "Name <script>alert(1)</script>\nSlowlogLogSlowerThan 0\n{METRICS}{MONITORS}{auth}{conf}"
    ));
    let mut client = proxy.client();
    let evil = "page:<img src=x onerror=alert(1)>\"'&\r\n\u{1b}[31m\u{202e}";
    client.cmd(&["CLIENT", "SETNAME", "<b>me</b>"]);
    client.line("AUTH alsosecret");
    client.send(wire(&["GET", evil]).repeat(30));
    (0..30).for_each(|_| drop(client.reply()));
    assert_eq!(client.cmd(&["SET", evil, "the-value-of-it"]), ok());
    let mut reply = get(&proxy, "/");
    wait_until(SOON, "the last request to be shown", || {
        reply = get(&proxy, "/");
        reply.body.contains("SET page:")
    });
    let page = &reply.body;
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("Content-Security-Policy: default-src 'none'"), "{}", reply.head);
    for never in ["<img", "<script>", "<b>me", "alert(1)</script>\u{0}", "\u{1b}", "\u{202e}"] {
        assert!(!page.contains(never), "{never:?} in the page");
    }
    for secret in ["topsecret", "alsosecret", "the-value-of-it"] {
        assert!(!page.contains(secret), "{secret} in the page");
        assert!(!get(&proxy, "/top").body.contains(secret), "{secret} in the text");
        assert!(!get(&proxy, "/metrics").body.contains(secret), "{secret} in the metrics");
    }
    // It is whole by itself, looks again without JavaScript, and fits a phone.
    for outside in ["http://", "https://", "<link rel=\"stylesheet", "@import", " src=\""] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
    assert!(page.contains("<noscript><meta http-equiv=\"refresh\""));
    assert!(page.contains("name=\"viewport\"") && page.contains("prefers-color-scheme:dark"));
    for shown in ["Servers", &server.address(), "master", "Slow requests", "<svg", "page:&lt;img"] {
        assert!(page.contains(shown), "no {shown} in the page");
    }
    let text = get(&proxy, "/top").body;
    assert!(text.contains(&server.address()) && !text.contains('\u{1b}'), "{text}");
}
