//! The handler under simulation: simulated clients on one side, a simulated cluster on the other,
//! everything from one seed. See README.md beside this file.
//!
//! `SEEDS=n` runs so many seeds, `FROM=x` from another one on, and `SEED=x` one. `SURVEY=1`
//! goes on after a failure and only names the seeds that fail.

mod plan;
mod wire;
mod cluster;
mod server;
mod script;
mod ledger;
mod client;
mod run;

use std::cell::{Cell, RefCell};
use std::env;
use std::panic;
use std::sync::Once;

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
    let cause = match failure_of(seed, false) {
        Ok(outcome) => return outcome,
        Err(cause) => cause,
    };
    let lines = variable("LINES").and_then(|lines| usize::try_from(lines).ok()).unwrap_or(SHOWN);
    World::keep_trace(lines);
    let replays = if failure_of(seed, true).is_err() { "" } else { "(it did not fail again!)" };
    let trace = World::trace();
    let shown = trace.join("\n");
    panic!(
        "{shown}\n\nseed {seed} fails: {cause} {replays}\n\
         replay it with SEED={seed} cargo test --features sim --test sim; LINES=n shows more trace"
    );
}

#[test]
fn every_seed_gets_one_right_reply_for_each_request() {
    if let Some(seed) = variable("SEED") {
        println!("{:?}", check(seed));
        return;
    }
    let (from, seeds) = (variable("FROM").unwrap_or(1), variable("SEEDS").unwrap_or(SEEDS));
    if variable("SURVEY").is_some() {
        let mut failed = 0;
        for seed in from..from + seeds {
            if let Err(cause) = failure_of(seed, false) {
                failed += 1;
                println!("seed {seed}: {}", cause.replace('\n', " "));
            }
        }
        assert_eq!(failed, 0, "seeds have failed");
        return;
    }
    let (mut replies, mut errors, mut losses, mut lossy) = (0, 0, 0, 0);
    for seed in from..from + seeds {
        let Outcome { tally, is_lossy, .. } = check(seed);
        replies += tally.replies;
        errors += tally.errors;
        losses += tally.losses;
        lossy += u64::from(is_lossy);
    }
    println!(
        "{seeds} seeds, {lossy} of them with lossy servers: {replies} replies, {errors} errors, \
         {losses} lost connections"
    );
    assert!(seeds < 100 || errors * 10 < replies, "most of what the clients got were errors");
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 2, 3, 5, 8, 13, 21] {
        let (one, two) = (check(seed).fingerprint, check(seed).fingerprint);
        assert_eq!(one, two, "seed {seed}");
    }
}
