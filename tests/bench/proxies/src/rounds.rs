//! CPU time per request, in short rounds in which the contenders take turns.
//!
//! The time is the scheduler's own, for all threads of the proxy. On a machine that does other
//! things the absolute figures mean little; the ratios of one round mean much, and their median
//! more.

use std::process::{Command, Stdio};

use crate::Outcome;
use crate::stage::{Contender, Proxy, Servers, Shape};
use crate::streams::fill;

/// One load, as `redis-benchmark` makes it.
struct Load {
    name: &'static str,
    connections: u32,
    pipeline: u32,
    requests: u32,
    threads: usize,
    words: &'static [&'static str],
}

const VALUE: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
const KEY: &str = "k64:__rand_int__";
const GET: &[&str] = &["GET", KEY];
const SET: &[&str] = &["SET", KEY, VALUE];
const MGET: &[&str] = &["MGET", KEY, KEY, KEY, KEY, KEY, KEY, KEY, KEY, KEY, KEY];

const LOADS: &[Load] = &[
    load("GET c50 P1", 50, 1, 10_000, GET),
    load("SET c50 P1", 50, 1, 10_000, SET),
    load("GET c50 P16", 50, 16, 60_000, GET),
    load("GET c50 P64", 50, 64, 120_000, GET),
    load("SET c50 P64", 50, 64, 120_000, SET),
    load("MGET 10 c50 P16", 50, 16, 16_000, MGET),
    Load { threads: 2, ..load("GET c50 P64, 2 threads", 50, 64, 120_000, GET) },
];

const fn load(
    name: &'static str,
    connections: u32,
    pipeline: u32,
    requests: u32,
    words: &'static [&'static str],
) -> Load {
    Load { name, connections, pipeline, requests, threads: 1, words }
}

/// Prints what each contender needs for each load, beside the last one.
pub fn table(contenders: &[Contender], rounds: usize) -> Outcome<()> {
    let servers = Servers::start(Shape::Cluster)?;
    let contenders: Vec<_> =
        contenders.iter().filter(|contender| contender.takes(Shape::Cluster)).collect();
    println!("\n## CPU time per request, microseconds; median of {rounds} rounds\n");
    let names: Vec<_> = contenders.iter().map(|contender| contender.name.clone()).collect();
    println!("| load | {} | first / last (least to most) |", names.join(" | "));
    println!("|---|{}--:|", "--:|".repeat(names.len()));
    let mut logs = 0.0;
    for load in LOADS {
        let start = |contender: &&Contender| contender.start(&servers, load.threads, &[]);
        let proxies = contenders.iter().map(start).collect::<Outcome<Vec<Proxy>>>()?;
        fill(proxies[0].port)?;
        let mut times = vec![Vec::new(); proxies.len()];
        for round in 0..=rounds {
            for turn in 0..proxies.len() {
                // A B C, then B C A: nobody is always the first.
                let place = (turn + round) % proxies.len();
                let spent = load.run(&proxies[place])?;
                // The first round warms up.
                if round > 0 {
                    times[place].push(spent);
                }
            }
        }
        let last = times.last().cloned().unwrap_or_default();
        let ratios: Vec<f64> = times[0].iter().zip(&last).map(|(one, two)| one / two).collect();
        let cells: Vec<_> = times.iter().map(|times| format!("{:.2}", median(times))).collect();
        let (least, most) = ratios
            .iter()
            .fold((f64::MAX, 0f64), |(least, most), ratio| (least.min(*ratio), most.max(*ratio)));
        let ratio = median(&ratios);
        logs += ratio.ln();
        let cells = cells.join(" | ");
        println!("| {} | {cells} | {ratio:.2} ({least:.2} to {most:.2}) |", load.name);
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let mean = (logs / LOADS.len() as f64).exp();
    println!("\nGeometric mean of the ratios: {mean:.2}");
    Ok(())
}

impl Load {
    /// Microseconds of CPU time per request.
    fn run(&self, proxy: &Proxy) -> Outcome<f64> {
        let before = proxy.cpu_ns();
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-p", &proxy.port.to_string(), "-q", "-r", "1000"]);
        command.args(["-n", &self.requests.to_string(), "-c", &self.connections.to_string()]);
        command.args(["-P", &self.pipeline.to_string()]).args(self.words).stdin(Stdio::null());
        let output = command.output().map_err(|error| format!("redis-benchmark: {error}"))?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() || !told.contains("requests per second") {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("redis-benchmark: {told}{error}"));
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let spent = (proxy.cpu_ns() - before) as f64;
        Ok(spent / 1000.0 / f64::from(self.requests))
    }
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
