//! Fails when a request has become dearer than it is recorded to be.

use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::count::{Counts, count};
use crate::stage::{Contender, Servers, Shape};

/// How much more than recorded is let pass: somewhat more than what a busy machine adds.
const ALLOWED: f64 = 1.03;
/// So often a count that is too high is taken again before it is believed.
const TRIES: usize = 3;

const HEAD: &str = "\
# Instructions per request that `make bench-gate` allows 3 % above. They are those of a release build
# with the standard library and the C library of the machine that recorded them; another compiler or
# another C library has others: `make bench-gate UPDATE=1` writes this file anew. See doc/performance.md.
";

/// Compares what `contender` needs with what is recorded, or records it.
pub fn check(contender: &Contender, recorded: &Path, is_update: bool) -> Outcome<()> {
    let servers = Servers::start(Shape::Cluster)?;
    let mut counts = count(contender, &servers)?;
    if is_update {
        let lines = counts.iter().map(|(name, count)| format!("{name}: {count:.0}\n"));
        let text = HEAD.to_owned() + &lines.collect::<String>();
        return fs::write(recorded, text)
            .map_err(|error| format!("{}: {error}", recorded.display()));
    }
    let text =
        fs::read_to_string(recorded).map_err(|error| format!("{}: {error}", recorded.display()))?;
    let allowed = allowed(&text)?;
    for _ in 1..TRIES {
        if excesses(&counts, &allowed).is_empty() {
            break;
        }
        let again = count(contender, &servers)?;
        for (count, again) in counts.iter_mut().zip(again) {
            count.1 = count.1.min(again.1);
        }
    }
    for (name, count) in &counts {
        println!("{name:<20} {count:>8.0}");
    }
    match excesses(&counts, &allowed) {
        excesses if excesses.is_empty() => Ok(()),
        excesses => Err(format!("more than 3 % above what is recorded:\n{}", excesses.join("\n"))),
    }
}

/// What each case was recorded with.
fn allowed(text: &str) -> Outcome<Vec<(String, f64)>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let parts = line.rsplit_once(':');
            let parsed = parts.and_then(|(name, count)| {
                Some((name.to_owned(), count.trim().parse::<f64>().ok()?))
            });
            parsed.ok_or(format!("{line:?}: should be a name, a colon and a number"))
        })
        .collect()
}

/// What is too high, or not recorded at all, in words.
fn excesses(counts: &Counts, allowed: &[(String, f64)]) -> Vec<String> {
    let judge =
        |(name, count): &(&'static str, f64)| match allowed.iter().find(|(other, _)| other == name)
        {
            Some((_, most)) if *count <= most * ALLOWED => None,
            Some((_, most)) => Some(format!(
                "  {name}: {count:.0} instead of {most:.0} (+{:.1} %)",
                (count / most - 1.0) * 100.0
            )),
            None => Some(format!("  {name}: {count:.0}, and nothing is recorded")),
        };
    counts.iter().filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_more_than_three_per_cent_above_is_told() {
        let allowed = allowed("# head\nGET P1: 1000\nSET P1: 1000\n").unwrap();
        let counts = vec![("GET P1", 1029.0), ("SET P1", 1031.0), ("PING", 1.0)];
        let told = excesses(&counts, &allowed);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("SET P1: 1031 instead of 1000"), "{told:?}");
        assert!(told[1].contains("PING"), "{told:?}");
    }
}
