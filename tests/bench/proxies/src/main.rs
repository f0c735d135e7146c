//! Measures proxies side by side: what a request costs, and how long it takes.
//!
//! ```text
//! predixy-bench table   --ours PATH [--rivals "NAME=PATH..."]   instructions and CPU time per request
//! predixy-bench latency --ours PATH [--rivals "NAME=PATH..."]   at fixed rates, whatever the answers do
//! predixy-bench gate    --ours PATH --recorded FILE [--update]
//! predixy-bench profile --ours PATH --case NAME --out FILE      for callgrind_annotate
//! ```
//!
//! It needs `redis-server` and `redis-benchmark`, and for instructions `valgrind`. Rivals read
//! predixy's configuration; one whose program is called `nutcracker` gets its own. A machine that
//! does other things at the same time disturbs times, so contenders take turns in many short
//! rounds and only ratios of one round are compared. Instructions it does not disturb.

mod count;
mod gate;
mod latency;
mod rounds;
mod stage;
mod streams;

use std::path::PathBuf;
use std::process::ExitCode;

use stage::Contender;

/// What goes wrong here ends the run, with a sentence.
pub type Outcome<T> = Result<T, String>;

/// What was asked for.
struct Order {
    ours: PathBuf,
    rivals: Vec<Contender>,
    rounds: usize,
    recorded: Option<PathBuf>,
    is_update: bool,
    case: String,
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let outcome = order(words).and_then(|order| {
        let mut contenders = vec![Contender::new("ours", order.ours.clone())];
        contenders.extend(order.rivals.iter().cloned());
        match command.as_str() {
            "table" => {
                count::table(&contenders)?;
                rounds::table(&contenders, order.rounds)
            }
            "latency" => latency::table(&contenders, order.rounds),
            "gate" => {
                let recorded = order.recorded.ok_or("gate: --recorded is missing")?;
                gate::check(&contenders[0], &recorded, order.is_update)
            }
            "profile" => {
                let out = order.out.ok_or("profile: --out is missing")?;
                count::profile(&contenders[0], &order.case, &out)
            }
            other => Err(format!("no such command: {other:?}; table, latency, gate or profile")),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn order(mut words: impl Iterator<Item = String>) -> Outcome<Order> {
    let mut order = Order {
        ours: PathBuf::from("target/release/predixy"),
        rivals: Vec::new(),
        rounds: 5,
        recorded: None,
        is_update: false,
        case: String::new(),
        out: None,
    };
    while let Some(word) = words.next() {
        if word == "--update" {
            order.is_update = true;
            continue;
        }
        let value = words.next().ok_or(format!("{word}: a value is missing"))?;
        match word.as_str() {
            "--ours" => order.ours = PathBuf::from(value),
            "--recorded" => order.recorded = Some(PathBuf::from(value)),
            "--case" => order.case = value,
            "--out" => order.out = Some(PathBuf::from(value)),
            "--rounds" => {
                order.rounds = value.parse().map_err(|_| format!("{value}: no number"))?
            }
            "--rivals" => {
                for rival in value.split_whitespace() {
                    let (name, path) =
                        rival.split_once('=').ok_or(format!("{rival}: NAME=PATH"))?;
                    order.rivals.push(Contender::new(name, PathBuf::from(path)));
                }
            }
            _ => return Err(format!("no such option: {word}")),
        }
    }
    Ok(order)
}
