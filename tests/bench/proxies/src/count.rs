//! Instructions per request, in user space, as callgrind counts them.
//!
//! The requests are the same bytes every time. What a busy machine changes is into how many pieces
//! they and their replies are cut on their way, which only ever adds: the least of some runs is the
//! same within one per cent whatever else the machine does. The kernel is left out.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::stage::{Contender, Servers, Shape, wait_until};
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
    let folder = servers.folder().join(format!("counts-{}", contender.name));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let output = format!("--callgrind-out-file={}/out", folder.display());
    let wrap = ["valgrind", "--tool=callgrind", "-q", &output].map(str::to_owned);
    let proxy = contender.start(servers, 1, &wrap)?;
    fill(proxy.port)?;
    let mut counts = Counts::new();
    for case in cases() {
        // The first run warms up, and what it costs is thrown away.
        case.run(proxy.port)?;
        dump(proxy.id(), &folder)?;
        let mut least = f64::MAX;
        for _ in 0..RUNS {
            let requests = case.run(proxy.port)?;
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let each = dump(proxy.id(), &folder)? as f64 / requests as f64;
            least = least.min(each);
        }
        counts.push((case.name, least));
    }
    Ok(counts)
}

/// Has the counts since the last time written to a file, and reads their sum.
fn dump(process: u32, folder: &Path) -> Outcome<u64> {
    let mut control = Command::new("callgrind_control");
    control.args(["-d", "x", &process.to_string()]);
    let status = control.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.map_err(|error| format!("callgrind_control: {error}"))?;
    wait_until("callgrind to write its counts", || {
        let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        for path in files {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let sum = text.lines().find_map(|line| line.strip_prefix("totals:"));
            if let Some(sum) = sum {
                let _ = fs::remove_file(&path);
                return sum.trim().parse().ok();
            }
        }
        None
    })
}
