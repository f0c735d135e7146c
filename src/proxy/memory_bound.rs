//! How much memory a configuration can lead to at worst, from the limits that it sets and those
//! that are built in.
//!
//! It is a sum of bounds, each of which holds by itself, so it is far above what anybody will
//! see: it assumes that all clients do their worst at the same moment. What has no bound is named.
//! `MaxMemory` is a bound for all of that together.

use std::fmt::Write as _;

use super::accept_connection::AcceptConnection;
use super::settings;
use crate::conf::Conf;

/// One part of the sum.
struct Part {
    what: &'static str,
    bytes: u128,
    made_of: String,
}

const KIB: u128 = 1 << 10;
const MIB: u128 = 1 << 20;

/// What a client has at most in flight: requests in the log of a shared link, each below the size
/// from which on it travels alone, and replies that came before their turn, each below the size
/// from which on they are passed on while they come.
const IN_FLIGHT: u128 = 4096 * (64 * KIB + 16 * KIB);
/// A transaction that may have to be queued again.
const TRANSACTION: u128 = MIB;
/// A thread's buffer to read into, its spare buffers, and the links to servers.
const THREAD: u128 = 64 * KIB + 4 * MIB + MIB;
/// The requests of a thread that wait for better times.
const WAITING: u128 = 16 * MIB;
/// Lines for MONITOR on their way to a thread.
const LINES: u128 = 16 * MIB;
/// Top keys of a thread: two lists of this minute and two of the one before.
const TOP_KEYS: u128 = 4 * 128 * 256;
/// An entry of the slow log: 32 words of 128 bytes, with what belongs to them.
const SLOW_ENTRY: u128 = 32 * (128 + 64) + 256;
/// Scripts, addresses that were ever seen, log lines under way, the status over HTTP.
const PROCESS: u128 = 8 * MIB + 64 * MIB + 4 * MIB + 8 * MIB;
/// What `MaxMemory` does not count: the program itself, and what the allocator needs or wastes.
const BESIDE: u128 = 8 * MIB;
/// The same of each thread: its stack, and what it may take before it looks again.
const BESIDE_OF_THREAD: u128 = MIB;

/// The report, for people. `clients_max` is how many clients there may be where the configuration
/// leaves that to the system.
#[must_use]
pub fn report(conf: &Conf, threads: usize, clients_max: u64) -> String {
    let clients = u128::from(conf.max_clients.unwrap_or(clients_max));
    let threads = threads as u128;
    let mut unbounded = Vec::new();
    let mut limit = |name: &'static str, bytes: u64| {
        if bytes == 0 {
            unbounded.push(name);
        }
        u128::from(bytes)
    };
    let query = limit("ClientQueryLimit", conf.client_query_limit);
    let output = limit("ClientOutputLimit", conf.client_output_limit);
    let client = size_of::<AcceptConnection>() as u128 + KIB;
    let one = client + query + output + IN_FLIGHT + TRANSACTION;
    let slow_log = u128::from(conf.slowlog_max_len) * SLOW_ENTRY;
    let thread = THREAD + WAITING + LINES + TOP_KEYS + slow_log;
    let auto = if conf.max_clients.is_some() { "MaxClients" } else { "MaxClients auto" };
    let parts = [
        Part {
            what: "process",
            bytes: PROCESS,
            made_of: "scripts, addresses, log lines, status pages".to_owned(),
        },
        Part {
            what: "threads",
            bytes: threads * thread,
            made_of: format!(
                "{threads} of {}: buffers {}, waiting requests {}, lines for MONITOR {}, slow log {}",
                Amount(thread),
                Amount(THREAD),
                Amount(WAITING),
                Amount(LINES),
                Amount(slow_log)
            ),
        },
        Part {
            what: "clients",
            bytes: clients * one,
            made_of: format!(
                "{clients} ({auto}) of {}: a request {} (ClientQueryLimit), unread replies {} \
                 (ClientOutputLimit), in flight {}",
                Amount(one),
                Amount(query),
                Amount(output),
                Amount(IN_FLIGHT + TRANSACTION)
            ),
        },
    ];
    let total: u128 = parts.iter().map(|part| part.bytes).sum();
    let idle = threads * (THREAD + TOP_KEYS) + clients * client;
    let mut text = String::new();
    // A String takes everything.
    let _ = match (
        settings::memory_max(conf.max_memory, usize::try_from(threads).unwrap_or(1)),
        unbounded.is_empty(),
    ) {
        (Some(max), _) => {
            let beside = BESIDE + threads * BESIDE_OF_THREAD;
            let total = match unbounded.is_empty() {
                true => Amount(total).to_string(),
                false => "anything".to_owned(),
            };
            writeln!(
                text,
                "memory: at most {}: {} (MaxMemory), and {} for the program, its stacks and what \
                 lies between buffers\n  without MaxMemory it could be {}:",
                Amount(u128::from(max) + beside),
                Amount(u128::from(max)),
                Amount(beside),
                total
            )
        }
        (None, true) => writeln!(
            text,
            "memory: at most {}, if every client does its worst at once",
            Amount(total)
        ),
        (None, false) => writeln!(
            text,
            "memory: no bound, because of {} 0; without what that allows, at most {}",
            unbounded.join(" 0 and "),
            Amount(total)
        ),
    };
    for Part { what, bytes, made_of } in parts {
        let _ = writeln!(text, "  {what:<8} {:>8}  {made_of}", Amount(bytes).to_string());
    }
    let _ = writeln!(text, "  with all clients connected and idle, at most {}", Amount(idle));
    text
}

/// An amount of memory, to three digits.
struct Amount(u128);

impl std::fmt::Display for Amount {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
        let mut unit = 0;
        while unit + 1 < units.len() && self.0 >> (10 * (unit + 1)) > 0 {
            unit += 1;
        }
        let (whole, step) = (self.0 >> (10 * unit), 1u128 << (10 * unit));
        let hundredths = (self.0 % step) * 100 / step;
        let text = match (unit, whole) {
            (0, _) | (_, 100..) => format!("{whole}"),
            (_, 10..) => format!("{whole}.{}", hundredths / 10),
            _ => format!("{whole}.{hundredths:02}"),
        };
        out.pad(&format!("{text} {}", units[unit]))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn report_of(lines: &str, threads: usize) -> String {
        let file = format!("{lines}\nClusterServerPool {{\nServers {{\n+ a:1\n}}\n}}");
        let conf = Conf::parse(Path::new("/c"), file.as_bytes(), &[]).unwrap();
        report(&conf, threads, 1000)
    }

    #[test]
    fn limits_make_a_bound_and_their_absence_none() {
        let small = report_of("MaxClients 10\nClientQueryLimit 1M\nClientOutputLimit 1M", 2);
        assert!(small.starts_with("memory: at most 3."), "{small}");
        assert!(small.contains("10 (MaxClients) of 323 MB"), "{small}");
        assert!(small.contains("threads") && small.contains("  2 of "), "{small}");
        assert!(report_of("", 1).contains("1000 (MaxClients auto)"));
        let capped = report_of("MaxMemory 32M\nMaxClients 10", 2);
        let want = "memory: at most 42.0 MB: 32.0 MB (MaxMemory), and 10.0 MB for the program";
        assert!(capped.starts_with(want), "{capped}");
        let tiny = report_of("MaxMemory 1\nClientQueryLimit 0", 1);
        let want = "memory: at most 13.0 MB: 4.00 MB (MaxMemory), and 9.00 MB for the program";
        assert!(tiny.starts_with(want) && tiny.contains("it could be anything:"), "{tiny}");
        let none = report_of("ClientOutputLimit 0\nClientQueryLimit 0", 1);
        let want = "memory: no bound, because of ClientQueryLimit 0 and ClientOutputLimit 0; ";
        assert!(none.starts_with(want), "{none}");
    }

    #[test]
    fn amounts_have_three_digits() {
        let shown = [0, 1023, 1024, 1536, 10 << 20, 999 << 20, 1 << 40, u128::from(u64::MAX)];
        let want =
            ["0 B", "1023 B", "1.00 KB", "1.50 KB", "10.0 MB", "999 MB", "1.00 TB", "15.9 EB"];
        assert_eq!(shown.map(|bytes| Amount(bytes).to_string()), want);
    }
}
