//! Instructions per request, in user space, as callgrind counts them.
//!
//! The requests are the same bytes every time. What a busy machine changes is into how many pieces
//! they and their replies are cut on their way, which only ever adds: the least of some runs is the
//! same within one per cent whatever else the machine does. The kernel is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::stage::{Contender, Proxy, Servers, Shape, wait_until};
use crate::streams::{cases, fill};

/// So many runs of each case.
const RUNS: usize = 4;

/// What each case costs, by its name.
pub type Counts = Vec<(&'static str, f64)>;

/// Prints what each contender needs for each case.
pub fn table(contenders: &[Contender]) -> Outcome<()> {
    let servers = Servers::start(Shape::Cluster)?;
    let contenders: Vec<_> =
        contenders.iter().filter(|contender| contender.takes(Shape::Cluster)).collect();
    let mut columns = Vec::new();
    for contender in &contenders {
        columns.push(count(contender, &servers)?);
    }
    println!("\n## Instructions per request, cluster of three, one thread\n");
    println!("| case | {} |", names(&contenders).join(" | "));
    println!("|---|{}", "--:|".repeat(contenders.len()));
    for (row, (name, _)) in columns[0].iter().enumerate() {
        let cells: Vec<String> =
            columns.iter().map(|column| format!("{:.0}", column[row].1)).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    Ok(())
}

fn names(contenders: &[&Contender]) -> Vec<String> {
    contenders.iter().map(|contender| contender.name.clone()).collect()
}

/// Counts all cases for one program.
pub fn count(contender: &Contender, servers: &Servers) -> Outcome<Counts> {
    let folder = folder(contender, servers)?;
    let proxy = start(contender, servers, &folder)?;
    let mut counts = Counts::new();
    for case in cases() {
        // The first run warms up, and what it costs is thrown away.
        case.run(proxy.port)?;
        dump(proxy.id(), &folder)?;
        let mut least = f64::MAX;
        for _ in 0..RUNS {
            let requests = case.run(proxy.port)?;
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let each = dump(proxy.id(), &folder)?.0 as f64 / requests as f64;
            least = least.min(each);
        }
        counts.push((case.name, least));
    }
    Ok(counts)
}

/// Writes where the instructions of one case go, for `callgrind_annotate`.
pub fn profile(contender: &Contender, name: &str, out: &Path) -> Outcome<()> {
    let case = cases().into_iter().find(|case| case.name == name);
    let case = case.ok_or_else(|| {
        let names: Vec<_> = cases().iter().map(|case| case.name).collect();
        format!("--case {name:?}: should be one of {names:?}")
    })?;
    let servers = Servers::start(Shape::Cluster)?;
    let folder = folder(contender, &servers)?;
    let proxy = start(contender, &servers, &folder)?;
    case.run(proxy.port)?;
    dump(proxy.id(), &folder)?;
    let requests = case.run(proxy.port)?;
    let (sum, text) = dump(proxy.id(), &folder)?;
    fs::write(out, text).map_err(|error| format!("{}: {error}", out.display()))?;
    println!("{sum} instructions for {requests} requests");
    Ok(())
}

/// A folder for the counts, with nothing in it.
fn folder(contender: &Contender, servers: &Servers) -> Outcome<PathBuf> {
    let folder = servers.folder().join(format!("counts-{}", contender.name));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    Ok(folder)
}

/// Starts a program under callgrind, and has it write what the cases read.
fn start(contender: &Contender, servers: &Servers, folder: &Path) -> Outcome<Proxy> {
    let output = format!("--callgrind-out-file={}/out", folder.display());
    // Each file is to be read on its own.
    let whole = "--compress-strings=no";
    let wrap = ["valgrind", "--tool=callgrind", "-q", &output, whole].map(str::to_owned);
    let proxy = contender.start(servers, 1, &wrap)?;
    fill(proxy.port)?;
    Ok(proxy)
}

/// Has the counts since the last time written to a file, and reads it: their sum, and all of it.
fn dump(process: u32, folder: &Path) -> Outcome<(u64, String)> {
    let mut control = Command::new("callgrind_control");
    control.args(["-d", "x", &process.to_string()]);
    let status = control.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.map_err(|error| format!("callgrind_control: {error}"))?;
    wait_until("callgrind to write its counts", || {
        let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        for path in files {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let sum = text.lines().find_map(|line| line.strip_prefix("totals:"));
            if let Some(sum) = sum.and_then(|sum| sum.trim().parse().ok()) {
                let _ = fs::remove_file(&path);
                return Some((sum, text));
            }
        }
        None
    })
}
