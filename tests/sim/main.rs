//! The handler under simulation: simulated clients on one side, simulated servers and Sentinels on
//! the other, everything from one seed. See README.md beside this file.
//!
//! `SEEDS=n` runs so many seeds, `FROM=x` from another one on, and `SEED=x` one. `SURVEY=1`
//! goes on after a failure and only names the seeds that fail. `THREADS=n` says how many run at
//! a time.

#![allow(clippy::print_stdout, reason = "a survey names the seeds that fail")]

mod plan;
mod wire;
mod data;
mod model;
mod cluster;
mod groups;
mod sentinel;
mod commands;
mod pacts;
mod radio;
mod talk;
mod server;
mod script;
mod ledger;
mod asking;
mod checking;
mod session;
mod listening;
mod client;
mod neighbour;
mod run;

use std::cell::{Cell, RefCell};
use std::env;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use predixy::sys::sim::World;
use run::{Outcome, run};

/// How many seeds a test run takes when nobody says otherwise.
const SEEDS: u64 = 100;
/// How much of the trace a failing seed shows.
const SHOWN: usize = 150;

fn variable(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// What went wrong in a run, and where.
fn failure_of(seed: u64, logs: bool) -> Result<Outcome, String> {
    thread_local! {
        static CAUSE: RefCell<Option<String>> = const { RefCell::new(None) };
        static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        // What a run says is said once, by whoever reports the run.
        panic::set_hook(Box::new(move |info| match IS_RUNNING.get() {
            true => CAUSE.set(Some(info.to_string())),
            false => usual(info),
        }));
    });
    CAUSE.set(None);
    IS_RUNNING.set(true);
    let outcome = panic::catch_unwind(|| run(seed, logs));
    IS_RUNNING.set(false);
    outcome.map_err(|_| CAUSE.take().unwrap_or_default())
}

/// Runs a seed; if it fails, once more to tell how it came.
fn check(seed: u64) -> Outcome {
    match failure_of(seed, false) {
        Ok(outcome) => outcome,
        Err(cause) => tell(seed, &cause),
    }
}

/// Runs a seed that has failed once more, and panics with its trace.
fn tell(seed: u64, cause: &str) -> ! {
    let lines = variable("LINES").and_then(|lines| usize::try_from(lines).ok()).unwrap_or(SHOWN);
    World::keep_trace(lines);
    // What is logged may take another way through the proxy, on which all is well.
    let replays = failure_of(seed, true).is_err() || failure_of(seed, false).is_err();
    let replays = if replays { "" } else { "(it did not fail again!)" };
    let trace = World::trace();
    let shown = trace.join("\n");
    panic!(
        "{shown}\n\nseed {seed} fails: {cause} {replays}\n\
         replay it with SEED={seed} cargo test --features sim --test sim; LINES=n shows more trace"
    );
}

/// What many seeds came to.
#[derive(Default)]
struct Total {
    seeds: u64,
    lossy: u64,
    replies: u64,
    errors: u64,
    losses: u64,
    failures: Vec<(u64, String)>,
}

impl Total {
    fn add(&mut self, seed: u64, outcome: Result<Outcome, String>) {
        self.seeds += 1;
        match outcome {
            Ok(Outcome { tally, is_lossy, .. }) => {
                self.replies += tally.replies;
                self.errors += tally.errors;
                self.losses += tally.losses;
                self.lossy += u64::from(is_lossy);
            }
            Err(cause) => self.failures.push((seed, cause)),
        }
    }
}

/// Runs seeds on several threads, each of which has a world of its own. Goes on after a failure
/// if it is to `survey`.
fn run_seeds(from: u64, seeds: u64, survey: bool) -> Total {
    let threads = variable("THREADS").unwrap_or_else(|| {
        thread::available_parallelism().map_or(1, |threads| threads.get() as u64)
    });
    let next = AtomicU64::new(from);
    let total = Mutex::new(Total::default());
    let work = || {
        // Nobody looks at it: who fails is run again.
        World::keep_trace(0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                return;
            }
            let outcome = failure_of(seed, false);
            if let Err(cause) = &outcome {
                if survey {
                    println!("seed {seed}: {}", cause.replace('\n', " "));
                } else {
                    next.store(from + seeds, Ordering::Relaxed);
                }
            }
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            total.add(seed, outcome);
            if survey && total.seeds.is_multiple_of(1_000) {
                println!("{} seeds so far, {} have failed", total.seeds, total.failures.len());
            }
        }
    };
    thread::scope(|scope| {
        (0..threads.max(1)).for_each(|_| drop(scope.spawn(work)));
    });
    let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    total.failures.sort_unstable();
    total
}

#[test]
fn every_seed_gets_one_right_reply_for_each_request() {
    if let Some(seed) = variable("SEED") {
        println!("{:?}", check(seed));
        return;
    }
    let (from, seeds) = (variable("FROM").unwrap_or(1), variable("SEEDS").unwrap_or(SEEDS));
    let is_survey = variable("SURVEY").is_some();
    let total = run_seeds(from, seeds, is_survey);
    println!(
        "{} seeds, {} of them with lossy servers: {} replies, {} errors, {} lost connections",
        total.seeds, total.lossy, total.replies, total.errors, total.losses
    );
    if let Some((seed, cause)) = total.failures.first() {
        assert!(!is_survey, "{} seeds have failed", total.failures.len());
        tell(*seed, cause);
    }
    let has_sense = total.errors * 10 < total.replies;
    assert!(seeds < 100 || has_sense, "most of what the clients got were errors");
}

#[test]
fn a_seed_replays_exactly() {
    if variable("SEED").is_some() || variable("SURVEY").is_some() {
        return;
    }
    for seed in [1, 2, 3, 5, 8, 13, 21] {
        let (one, two) = (check(seed).fingerprint, check(seed).fingerprint);
        assert_eq!(one, two, "seed {seed}");
    }
}
