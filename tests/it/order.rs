//! Promises about order: whatever a client sends in one pipeline is executed as it was sent, and
//! answered in that order, whichever roads its requests travel.
//!
//! Random programs run on every kind of pool and on a real server, and must say the same.
//! `PIPELINES=n` asks for more of them, `SEED=n` for one; a failure names its seed.

mod program;

use std::env;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{
    Address, Chance, Client, EveryPool, Lost, Value, in_words_of_today, ok, original_differs,
};
use program::{Program, SCRIPTS};

/// How many pipelines there are unless somebody asks for more.
const PIPELINES: u64 = 4_000;
/// After this time it is enough, unless somebody has asked for more.
const ENOUGH: Duration = Duration::from_secs(20);
/// So many clients are at it at once, each with keys of its own.
const CLIENTS: usize = 6;
/// How long one pipeline may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place to run a program.
struct Way {
    name: &'static str,
    address: Address,
    /// The server that must say the same.
    oracle: usize,
}

#[test]
fn random_pipelines_are_executed_as_they_were_sent() {
    if original_differs("gives wrong values in up to 14 of 100") {
        return;
    }
    let every = EveryPool::start();
    // How many databases there are is part of what a program sees.
    let oracles = ["", "cluster"].map(EveryPool::oracle_for);
    let ways: Vec<Way> = every
        .pools
        .iter()
        .map(|(name, proxy)| Way {
            name,
            address: proxy.address().clone(),
            oracle: usize::from(*name == "cluster"),
        })
        .collect();
    let oracles: Vec<Address> = oracles.iter().map(|one| Address::Tcp(one.port())).collect();
    run_all(&ways, &oracles);
    // Whatever became of the clients, the servers' connections are as good as before.
    for way in &ways {
        assert_eq!(Client::connect(&way.address).line("SET afterwards 1"), ok(), "{}", way.name);
    }
}

fn run_all(ways: &[Way], oracles: &[Address]) {
    let digests: Vec<String> = SCRIPTS
        .iter()
        .map(|script| {
            let everywhere = ways.iter().map(|way| &way.address).chain(oracles);
            let digests: Vec<String> = everywhere
                .map(|address| Client::connect(address).cmd(&["SCRIPT", "LOAD", script]).text())
                .collect();
            digests[0].clone()
        })
        .collect();
    let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let asked = number("PIPELINES");
    let (first, count) = match number("SEED") {
        Some(seed) => (seed, 1),
        None => (1, asked.unwrap_or(PIPELINES).div_ceil(ways.len() as u64)),
    };
    let begun = Instant::now();
    let (next, done, failed) = (AtomicU64::new(first), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_enough = asked.is_none() && begun.elapsed() > ENOUGH;
                    if seed >= first + count || is_enough || failed.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Err(why) = run(seed, ways, oracles, &digests) {
                        failed.store(true, Ordering::Relaxed);
                        panic!("SEED={seed}: {why}");
                    }
                    done.fetch_add(ways.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    eprintln!("{} pipelines in {:?}", done.load(Ordering::Relaxed), begun.elapsed());
}

/// Runs one program everywhere.
fn run(seed: u64, ways: &[Way], oracles: &[Address], digests: &[String]) -> Result<(), String> {
    let program = Program::of(seed, digests);
    let mut cuts = Chance::new(!seed);
    let mut wants = Vec::new();
    for oracle in oracles {
        let outcome = play(oracle, &program, Cuts::none(), false);
        let want = outcome.map_err(|why| format!("the server itself: {why}"))?;
        wants.push(want.into_iter().map(in_words_of_today).collect::<Vec<Value>>());
        clean(oracle, &program);
    }
    for way in ways {
        let cuts = Cuts::of(&program, &mut cuts);
        let got = play(&way.address, &program, cuts, program.shuts_down);
        let got = got.map_err(|why| format!("{}: {why}\n{}", way.name, listing(&program, None)))?;
        let got: Vec<Value> = got.into_iter().map(in_words_of_today).collect();
        let want = &wants[way.oracle];
        if let Some(at) = (0..want.len()).find(|&at| got[at] != want[at]) {
            return Err(format!(
                "{}, request {at}: {:?} instead of {:?}\n{}",
                way.name,
                got[at],
                want[at],
                listing(&program, Some(want))
            ));
        }
        clean(&way.address, &program);
    }
    Ok(())
}

/// Where the bytes of a program are cut into several writes.
struct Cuts {
    /// Behind which byte, and how many replies have to come before it goes on.
    places: Vec<(usize, usize)>,
}

impl Cuts {
    fn none() -> Cuts {
        Cuts { places: Vec::new() }
    }

    fn of(program: &Program, chance: &mut Chance) -> Cuts {
        let ends: Vec<usize> = program
            .requests
            .iter()
            .scan(0, |end, request| {
                *end += request.bytes().len();
                Some(*end)
            })
            .collect();
        let total = ends.last().copied().unwrap_or(0);
        let mut places: Vec<usize> =
            (0..chance.below(9)).map(|_| chance.below(total.max(1))).collect();
        places.sort_unstable();
        let replies = |at: usize| ends.iter().take_while(|end| **end <= at).count();
        // Some pieces come alone, when everything before them is answered.
        let places = places.into_iter().map(|at| {
            let alone = chance.percent(40);
            (at, if alone { replies(at) } else { 0 })
        });
        Cuts { places: places.collect() }
    }
}

/// Sends a program and tells the replies.
fn play(
    address: &Address,
    program: &Program,
    cuts: Cuts,
    shuts_down: bool,
) -> Result<Vec<Value>, String> {
    let mut client = Client::connect(address);
    client.set_deadline(PATIENCE);
    let mut bytes: Vec<u8> = program.requests.iter().flat_map(|request| request.bytes()).collect();
    if program.quits {
        bytes.extend(b"*1\r\n$4\r\nPING\r\n");
    }
    // Read while it is written: who does not read is not read from.
    let (seen, news, mut writer) = (Mutex::new(0), Condvar::new(), client.second_handle());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = 0;
            for (at, replies) in cuts.places {
                // A connection that is lost is noticed by whoever reads.
                let _ = writer.try_send(&bytes[sent..at]);
                sent = at;
                let seen = seen.lock().unwrap();
                let waited = news.wait_timeout_while(seen, PATIENCE, |seen| *seen < replies);
                drop(waited.unwrap());
            }
            let _ = writer.try_send(&bytes[sent..]);
            if shuts_down {
                writer.shut_down_write();
            }
        });
        let mut replies = Vec::new();
        for (at, request) in program.requests.iter().enumerate() {
            let reply = client.try_reply();
            // Nobody has to be waited for any more when nothing comes.
            *seen.lock().unwrap() = if reply.is_ok() { at + 1 } else { usize::MAX };
            news.notify_all();
            match reply {
                Ok(Value::Array(mut elements)) if request.unordered => {
                    elements.sort_by_key(|element| format!("{element:?}"));
                    replies.push(Value::Array(elements));
                }
                Ok(reply) => replies.push(reply),
                Err(lost) => {
                    return Err(format!("no reply to request {at}, {}: {lost:?}", request.shown()));
                }
            }
        }
        if program.quits || shuts_down {
            match client.try_reply() {
                Err(Lost::Closed) => {}
                more => return Err(format!("after the last reply: {more:?}")),
            }
        } else if client.has_something() {
            return Err(format!("one reply too many: {:?}", client.try_reply()));
        }
        Ok(replies)
    })
}

/// Removes what a program may have left.
fn clean(address: &Address, program: &Program) {
    let mut client = Client::connect(address);
    for database in &program.databases {
        if client.line(&format!("SELECT {database}")) == ok() {
            let words: Vec<&str> =
                ["UNLINK"].into_iter().chain(program.keys.iter().map(String::as_str)).collect();
            client.cmd(&words);
        }
    }
}

/// A program to be read by people.
fn listing(program: &Program, replies: Option<&[Value]>) -> String {
    let mut text = String::new();
    for (at, request) in program.requests.iter().enumerate() {
        let kind = if request.inline { "inline" } else { "" };
        let _ = write!(text, "{at:3} {kind:6} {}", request.shown());
        if let Some(reply) = replies.and_then(|replies| replies.get(at)) {
            let reply = format!("{reply:?}").replace('\n', " ");
            let _ = write!(text, "  -> {}", reply.chars().take(80).collect::<String>());
        }
        text.push('\n');
    }
    text
}
