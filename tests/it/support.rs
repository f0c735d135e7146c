//! What the integration tests stand on: real servers, the proxy under test, a client and a scripted
//! server.
//!
//! In reading order: `scratch` (a folder that goes away), `process` (a child that never outlives
//! us), `chance` (numbers from a seed), `value` and `client` (RESP spoken by hand), `redis_server`, `redis_cluster`,
//! `redis_sentinel`, `proxy`, `fake_server`, `load`, `writers` (load that knows what each key may hold), `any_pool` and `every_pool` (the same test on every kind of pool).
//! Nothing here uses the code under test. Nothing sleeps for effect: whoever waits
//! calls [`wait_until`].

mod any_pool;
mod chance;
mod client;
mod every_pool;
mod fake_server;
pub mod http;
mod load;
mod process;
mod proxy;
mod redis_cluster;
mod redis_sentinel;
mod redis_server;
mod scratch;
mod value;
mod writers;

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use any_pool::{AnyPool, groups_conf};
pub use chance::Chance;
pub use client::{Client, Lost, wire};
pub use every_pool::EveryPool;
pub use fake_server::{Answer, FakeServer, Heard, nodes_line};
pub use load::Load;
pub use process::{Process, program_exists};
pub use proxy::{Address, Proxy, ServerLine, binary, is_original};
pub use redis_cluster::{RedisCluster, key_in_slots, slot_of};
pub use redis_sentinel::{Group, RedisSentinel, Secrets, Watched, key_in_group, monitor_lines};
pub use redis_server::{RedisServer, in_words_of_today, server_has, servers_are_valkey};
pub use scratch::Scratch;
pub use value::{Value, array, bulk, error, int, ok, simple};
pub use writers::{Key, License, MAYBE_DONE, NEVER_SENT, NO_SERVER, StopAtEnd, Tally, Writers};

/// How long a thing that should happen at once may take on a machine that is busy with something
/// else.
pub const SOON: Duration = Duration::from_secs(20);

/// Polls until `condition` holds; the only way for a test to wait.
#[track_caller]
pub fn wait_until(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < until, "after {deadline:?} still not: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// As [`wait_until`], of a condition that says what it still lacks.
#[track_caller]
pub fn wait_until_told(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<(), String>,
) {
    let until = Instant::now() + deadline;
    while let Err(lack) = condition() {
        assert!(Instant::now() < until, "after {deadline:?} still not: {what}: {lack}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A port that was free a moment ago, and that no other test of this process was given lately.
///
/// Whoever binds it must still be ready to find it taken, and ask again.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Given> = Mutex::new(Given(VecDeque::new()));
    loop {
        let probe = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let port = probe.local_addr().expect("the address of a bound socket").port();
        // A cluster node talks to its like on port + 10000, which has to be a port as well.
        let Some(bus) = port.checked_add(10_000) else { continue };
        if TcpListener::bind(("127.0.0.1", bus)).is_err() {
            continue;
        }
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).give(port, bus) {
            return port;
        }
    }
}

/// The ports that were given last, oldest first.
struct Given(VecDeque<u16>);

impl Given {
    /// Who was given a port before so many others has bound it by now, or is done with it.
    const MAX: usize = 2000;

    /// Gives away a port with that of its bus, unless either was given lately.
    fn give(&mut self, port: u16, bus: u16) -> bool {
        let is_given = |known: &u16| [port, bus].contains(known) || *known + 10_000 == port;
        if self.0.iter().any(is_given) {
            return false;
        }
        if self.0.len() == Given::MAX {
            self.0.pop_front();
        }
        self.0.push_back(port);
        true
    }
}

#[test]
fn ports_do_not_run_out() {
    let mut given = Given(VecDeque::new());
    for port in (20_000..).take(Given::MAX * 3) {
        assert!(given.give(port, port + 10_000), "{port}");
        assert!(!given.give(port, port + 10_000), "{port} twice");
    }
    // Nor is anybody's bus given, neither for itself nor as a bus.
    assert!(!given.give(35_999, 45_999));
    assert!(!given.give(15_999, 25_999));
}

/// Three masters and three replicas that all tests share; whoever changes the topology starts a
/// cluster of their own, and everybody uses keys with a prefix of their own.
pub fn shared_cluster() -> &'static RedisCluster {
    static CLUSTER: OnceLock<RedisCluster> = OnceLock::new();
    CLUSTER.get_or_init(|| RedisCluster::start(3, 1))
}

/// Says why a test is not for the original program; `true` means: leave.
///
/// The suite also runs against the C++ predixy (`make compat PROXY=path`). What it gets wrong, or
/// never had, is named by each test in one line.
pub fn original_differs(how: &str) -> bool {
    let skip = is_original();
    if skip {
        eprintln!("not for the original: {how}");
    }
    skip
}
