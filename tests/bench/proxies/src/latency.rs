//! How long requests take at a fixed rate.
//!
//! Each request is due at a moment that was fixed beforehand, and its time runs from that moment,
//! whether or not earlier ones have been answered: a proxy that stops for a while is charged for
//! all that was due meanwhile. The client itself is late now and then, alike for everybody.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::rounds::median;
use crate::stage::{Contender, Servers, Shape};
use crate::streams::{command, fill};

/// Requests per second.
const RATES: &[u32] = &[1000, 4000, 10_000];
/// How long one run takes.
const RUN: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 16;
/// The length of a reply with 64 bytes.
const REPLY: usize = 71;

/// What is told of one run, in milliseconds.
type Times = [f64; 3];

/// Prints p50, p99 and p99.9 of each contender at each rate, beside a server without a proxy.
pub fn table(contenders: &[Contender], rounds: usize) -> Outcome<()> {
    let servers = Servers::start(Shape::Standalone)?;
    let start = |contender: &Contender| contender.start(&servers, 1, &[]);
    let proxies = contenders.iter().map(start).collect::<Outcome<Vec<_>>>()?;
    let mut names = vec!["direct".to_owned()];
    names.extend(contenders.iter().map(|contender| contender.name.clone()));
    let mut ports = vec![servers.direct()];
    ports.extend(proxies.iter().map(|proxy| proxy.port));
    for port in &ports {
        fill(*port)?;
    }
    println!("\n## Milliseconds per GET, p50 / p99 / p99.9, median of {rounds} rounds\n");
    println!("| rate | {} |", names.join(" | "));
    println!("|--:|{}", "--:|".repeat(names.len()));
    for rate in RATES {
        let mut runs: Vec<Vec<Times>> = vec![Vec::new(); ports.len()];
        for round in 0..rounds {
            for turn in 0..ports.len() {
                let place = (turn + round) % ports.len();
                runs[place].push(run(ports[place], *rate)?);
            }
        }
        let cell = |runs: &Vec<Times>| {
            let of =
                |which: usize| median(&runs.iter().map(|times| times[which]).collect::<Vec<_>>());
            format!("{:.2} / {:.2} / {:.2}", of(0), of(1), of(2))
        };
        let cells: Vec<String> = runs.iter().map(cell).collect();
        println!("| {rate}/s | {} |", cells.join(" | "));
    }
    Ok(())
}

/// One run; request `n` is sent on connection `n` modulo their number.
fn run(port: u16, rate: u32) -> Outcome<Times> {
    let open = |_| {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    };
    let streams: std::io::Result<Vec<TcpStream>> = (0..CONNECTIONS).map(open).collect();
    let mut streams = streams.map_err(|error| error.to_string())?;
    let each = Duration::from_secs(1) / rate;
    let per_connection = (RUN.as_nanos() / each.as_nanos()) as usize / CONNECTIONS;
    let start = Instant::now() + Duration::from_millis(50);
    let due = move |number: usize| start + each * u32::try_from(number).unwrap_or(u32::MAX);
    let mut readers = Vec::new();
    for (place, stream) in streams.iter().enumerate() {
        let mut stream = stream.try_clone().map_err(|error| error.to_string())?;
        readers.push(thread::spawn(move || -> std::io::Result<Vec<f64>> {
            let mut times = Vec::with_capacity(per_connection);
            let mut reply = [0; REPLY];
            for turn in 0..per_connection {
                stream.read_exact(&mut reply)?;
                let late =
                    Instant::now().saturating_duration_since(due(turn * CONNECTIONS + place));
                times.push(late.as_secs_f64() * 1000.0);
            }
            Ok(times)
        }));
    }
    for number in 0..per_connection * CONNECTIONS {
        let wait = due(number).saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        let request = command(&["GET", &format!("k64:{:012}", number * 7 % 1000)]);
        streams[number % CONNECTIONS].write_all(&request).map_err(|error| error.to_string())?;
    }
    let mut times = Vec::new();
    for reader in readers {
        let more = reader.join().map_err(|_| "a reader has failed")?;
        times.extend(more.map_err(|error| format!("a reply is missing: {error}"))?);
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let place = (times.len() as f64 * part) as usize;
        times[place.min(times.len() - 1)]
    };
    Ok([at(0.5), at(0.99), at(0.999)])
}
