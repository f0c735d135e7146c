//! A long time of everything at once, at a rate that a small part of a core can bear: every reply is
//! the right one, memory and descriptors stay where they were, and nothing is logged that somebody
//! would have to look at.
//!
//! `make soak MINUTES=30` goes on so long; without `MINUTES` it is a few seconds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::support::{
    Proxy, RedisCluster, SOON, StopAtEnd, Value, array, bulk, int, ok, original_differs, simple,
    wait_until, wire,
};

/// What the proxy has at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    resident_kb: u64,
    descriptors: usize,
    buffers: u64,
}

/// The most there was in some time.
fn most(samples: &[Sample]) -> Sample {
    samples.iter().fold(Sample::default(), |most, sample| Sample {
        resident_kb: most.resident_kb.max(sample.resident_kb),
        descriptors: most.descriptors.max(sample.descriptors),
        buffers: most.buffers.max(sample.buffers),
    })
}

fn sample(id: u32, proxy: &Proxy) -> Sample {
    let folder = format!("/proc/{id}");
    let status = fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
    Sample {
        resident_kb: resident.unwrap_or_default(),
        descriptors: fs::read_dir(format!("{folder}/fd")).map_or(0, Iterator::count),
        buffers: proxy.figure("UsedMemory"),
    }
}

/// Clients of one kind at work, once every `pause`, until they are told to stop.
struct Worker<'a> {
    proxy: &'a Proxy,
    stop: &'a AtomicBool,
    done: &'a AtomicU64,
    name: String,
}

impl Worker<'_> {
    fn repeat(&self, pause: Duration, mut round: impl FnMut(u64)) {
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            number += 1;
            round(number);
            self.done.fetch_add(1, Ordering::Relaxed);
            thread::sleep(pause);
        }
    }

    fn key(&self, what: &str) -> String {
        format!("soak:{}:{what}", self.name)
    }

    /// Pipelines of small requests, some of them divided.
    fn pipelines(&self) {
        let mut client = self.proxy.client();
        let keys: Vec<String> = (0..8).map(|number| self.key(&number.to_string())).collect();
        self.repeat(Duration::from_millis(20), |round| {
            let value = round.to_string();
            let mut all = vec!["MSET"];
            all.extend(keys.iter().flat_map(|key| [key.as_str(), value.as_str()]));
            let mut bytes = wire(&all);
            all = vec!["MGET"];
            all.extend(keys.iter().map(String::as_str));
            bytes.extend(wire(&all));
            bytes.extend(wire(&["INCR", &keys[0]]));
            bytes.extend(wire(&["LPUSH", &keys[0], "x"]));
            all[0] = "DEL";
            bytes.extend(wire(&all));
            client.send(bytes);
            assert_eq!(client.reply(), ok());
            assert_eq!(client.reply(), array(keys.iter().map(|_| bulk(&value))));
            assert_eq!(client.reply(), int(i64::try_from(round + 1).expect("a small number")));
            assert!(client.reply().error_text().is_some_and(|text| text.starts_with("WRONGTYPE ")));
            assert_eq!(client.reply(), int(8));
        });
    }

    /// Values of many sizes, up to a giant.
    fn large_values(&self) {
        let (mut client, key) = (self.proxy.client(), self.key("large"));
        let sizes = [0, 100, 5_000, 20_000, 100_000, 1_100_000];
        self.repeat(Duration::from_millis(150), |round| {
            let at = usize::try_from(round).expect("a small number");
            let value = vec![b'a' + u8::try_from(round % 26).expect("a letter"); sizes[at % 6]];
            assert_eq!(client.cmd(&[b"SET", key.as_bytes(), &value]), ok());
            assert_eq!(client.cmd(&["GET", &key]), bulk(value));
        });
    }

    /// Transactions, scripts, what asks all masters, the other protocol.
    fn the_rest(&self) {
        let mut client = self.proxy.client();
        let (key, script) = (self.key("rest"), "return redis.call('INCR', KEYS[1])");
        let digest = client.cmd(&["SCRIPT", "LOAD", script]).text();
        self.repeat(Duration::from_millis(100), |round| {
            let protocol = if round % 2 == 0 { "HELLO 2" } else { "HELLO 3" };
            assert!(client.line(protocol).error_text().is_none());
            let lines = [format!("SET {key} 1"), "MULTI".to_owned(), format!("INCR {key}")];
            client.send(lines.iter().flat_map(|line| in_words(line)).collect::<Vec<u8>>());
            client.send(in_words("EXEC"));
            let replies: Vec<Value> = (0..4).map(|_| client.reply()).collect();
            assert_eq!(replies, [ok(), ok(), simple("QUEUED"), array([int(2)])]);
            assert_eq!(client.cmd(&["EVALSHA", &digest, "1", &key]), int(3));
            let nothing = client.cmd(&["BLPOP", &self.key("none"), "0.01"]);
            assert!(matches!(nothing, Value::NilArray | Value::Null), "{nothing:?}");
            assert!(client.line("DBSIZE").number() >= 1);
            assert_eq!(client.line("SCAN 0 COUNT 10").elements().len(), 2);
            assert!(client.line("INFO").text().contains("# Proxy"));
            assert!(client.line("NONSENSE").error_text().is_some());
        });
    }

    /// People who come and go, some of them in the middle of something.
    fn visitors(&self) {
        let key = self.key("visit");
        self.repeat(Duration::from_millis(50), |round| {
            let mut client = self.proxy.client();
            match round % 4 {
                0 => client.send(&wire(&["GET", &key])[..9]),
                1 => client.send([wire(&["WATCH", &key]), wire(&["MULTI"])].concat()),
                2 => client.send(wire(&["BLPOP", &self.key("never"), "0"])),
                _ => assert_eq!(client.cmd(&["SET", &key, "1"]), ok()),
            }
        });
    }

    /// A subscriber that hears everything that is said, in order.
    fn messages(&self) {
        let (mut speaks, mut hears) = (self.proxy.client(), self.proxy.client());
        let channel = self.key("channel");
        assert_eq!(hears.cmd(&["SUBSCRIBE", &channel]).elements()[2], int(1));
        self.repeat(Duration::from_millis(50), |round| {
            let text = round.to_string();
            assert_eq!(speaks.cmd(&["PUBLISH", &channel, &text]), int(1));
            assert_eq!(hears.reply(), array([bulk("message"), bulk(&channel), bulk(text)]));
        });
    }
}

fn in_words(line: &str) -> Vec<u8> {
    wire(&line.split(' ').collect::<Vec<_>>())
}

#[test]
fn nothing_grows_and_nothing_goes_wrong_in_a_long_time() {
    if original_differs("no transactions on a cluster, no BLPOP, and it grows") {
        return;
    }
    let minutes: Option<u64> = env::var("MINUTES").ok().map(|text| text.parse().expect("a number"));
    let (long, every) = match minutes {
        Some(minutes) => (Duration::from_secs(minutes * 60), Duration::from_secs(5)),
        None => (Duration::from_secs(6), Duration::from_millis(200)),
    };
    let cluster = RedisCluster::start(3, 0);
    let log = "Log {dir}/predixy.log\nLogInfoSample 0\n";
    let pool = cluster.conf_with("    RefreshInterval 1s");
    let mut proxy = Proxy::start(&format!("WorkerThreads 2\n{log}{pool}"));
    proxy.wait_for_servers(3);
    let id = proxy.process().id();
    let before = sample(id, &proxy);
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut samples = Vec::new();
    let began = Instant::now();
    thread::scope(|scope| {
        let guard = StopAtEnd(&stop);
        let (proxy, stop, done) = (&proxy, &stop, &done);
        let kinds =
            ["pipelines", "more pipelines", "large values", "the rest", "visitors", "messages"];
        let start = |kind: &'static str| {
            let worker = Worker { proxy, stop, done, name: kind.replace(' ', "-") };
            scope.spawn(move || match kind {
                "large values" => worker.large_values(),
                "the rest" => worker.the_rest(),
                "visitors" => worker.visitors(),
                "messages" => worker.messages(),
                _ => worker.pipelines(),
            })
        };
        let workers = kinds.map(start);
        while began.elapsed() < long && !workers.iter().any(|worker| worker.is_finished()) {
            thread::sleep(every);
            samples.push(sample(id, proxy));
            if samples.len() % 12 == 0 {
                let sample = samples.last();
                let (after, done) = (began.elapsed(), done.load(Ordering::Relaxed));
                eprintln!("soak: after {after:.0?}: {sample:?}, {done} rounds");
            }
        }
        drop(guard);
    });
    // The first quarter is for everything to have happened once.
    let quarter = samples.len() / 4;
    let (early, late) = (most(&samples[quarter..2 * quarter]), most(&samples[3 * quarter..]));
    eprintln!("soak: before {before:?}, second quarter {early:?}, last quarter {late:?}");
    assert!(samples.len() >= 8, "it has not gone on for long");
    assert!(
        late.resident_kb <= early.resident_kb + early.resident_kb / 10 + 512,
        "memory has grown: {early:?}, then {late:?}"
    );
    assert!(late.descriptors <= early.descriptors + 4, "{early:?}, then {late:?}");
    // Private links are kept for a while, and some buffers; what clients had is gone at once.
    wait_until(SOON, "all clients to be gone", || proxy.figure("ClientConnections") == 1);
    let last = sample(id, &proxy);
    eprintln!("soak: at rest {last:?}");
    assert!(last.descriptors < late.descriptors && last.buffers <= late.buffers, "{last:?}");
    let log = proxy.log();
    let complaints: Vec<&str> = log.lines().filter(|line| is_complaint(line)).collect();
    assert_eq!(complaints, [""; 0], "nothing has gone wrong, and it complains");
}

/// Lines of the levels W and E.
fn is_complaint(line: &str) -> bool {
    line.split(' ').nth(2).is_some_and(|level| level == "W" || level == "E")
}
