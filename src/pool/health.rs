//! Whether a server answers, as all handlers see it together.
//!
//! Failures are counted only while nothing succeeds in between, and only those that say something
//! about the server. A failed server is probed by one handler at a time, with growing pauses. All
//! times are microseconds of the monotonic clock, which the caller reads (D-44). It knows neither
//! connections nor databases: whichever link brings news may report it (D-10).

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

/// What became of a connection, or of a try to get one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens there, or the way there is closed.
    ConnectRefused,
    /// No answer to a connect within `ConnectTimeout`.
    ConnectTimeout,
    /// The host name has no address at the moment.
    Unresolved,
    /// The connection ended while requests were waiting for their replies.
    Reset,
    /// A reply did not come within `ServerTimeout`.
    Timeout,
    /// The handshake was refused, or what came was no reply.
    Protocol,
    /// The connection ended with nothing in flight, as Redis's own `timeout` does it.
    IdleClose,
}

impl Failure {
    /// Whether it says that the server is not well (D-49): an idle close does not.
    #[must_use]
    pub fn counts(self) -> bool {
        self != Failure::IdleClose
    }
}

/// The settings that health depends on; they may change while the proxy runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthRules {
    /// `ServerFailureLimit`: so many failures in a row make a server failed.
    pub failure_limit: u32,
    /// `ServerRetryTimeout`: the pause before the first probe. It doubles with each probe that
    /// fails, to at most [`HealthRules::PAUSES_MAX`] times itself, unless somebody needs the
    /// server. It begins shorter for a server that only ends its connections.
    pub retry_timeout_us: u64,
    /// How long a prober may keep the right to probe without saying how it went: the time that a
    /// connect and a first reply may take.
    pub probe_timeout_us: u64,
}

impl HealthRules {
    /// The longest pause between two probes, in `ServerRetryTimeout`s.
    pub const PAUSES_MAX: u64 = 8;
    /// A shorter `ServerRetryTimeout`, also 0, counts as this: no server is probed in a circle.
    pub const PAUSE_MIN_US: u64 = 10_000;

    /// The pause after so many failed probes, the last one with this failure. Who accepts a
    /// connection and then ends it is there: it is tried again nearly at once, and for a start
    /// often.
    fn pause_after(&self, failure: Failure, failed_probes: u32) -> u64 {
        let pause_us = self.pause_us(failed_probes);
        match failure {
            Failure::Reset => {
                let factor = 1u64.checked_shl(failed_probes).unwrap_or(u64::MAX);
                pause_us.min(Self::PAUSE_MIN_US.saturating_mul(factor))
            }
            _ => pause_us,
        }
    }

    /// The pause after so many failed probes.
    fn pause_us(&self, failed_probes: u32) -> u64 {
        let first = self.retry_timeout_us.max(Self::PAUSE_MIN_US);
        let factor = 1u64.checked_shl(failed_probes).unwrap_or(u64::MAX).min(Self::PAUSES_MAX);
        first.saturating_mul(factor)
    }
}

/// One server's health. It outlives every topology that names the server.
#[derive(Debug, Default)]
pub struct Health {
    /// Read on the way of every request that has a choice, written when something goes wrong.
    failed: AtomicBool,
    /// Counted failures since the last success.
    failures: AtomicU32,
    /// Whether a handler has the right to probe and has not said how it went.
    probing: AtomicBool,
    /// Probes that failed since the server was marked.
    failed_probes: AtomicU32,
    /// When the right to probe is to be had next; only means something while `failed`.
    next_probe_us: AtomicU64,
}

impl Health {
    /// A server of which nothing bad is known.
    #[must_use]
    pub fn new() -> Health {
        Health::default()
    }

    /// Reports a failure. True for the one caller whose report makes the server failed.
    ///
    /// A failure while a probe is out is taken for the probe's verdict: nobody else has a
    /// connection to a failed server.
    pub fn fail(&self, failure: Failure, now_us: u64, rules: &HealthRules) -> bool {
        if !failure.counts() {
            return false;
        }
        let failures = self.failures.fetch_add(1, AcqRel).saturating_add(1);
        if self.is_failed() {
            self.probe_failed(failure, now_us, rules);
            return false;
        }
        if failures < rules.failure_limit {
            return false;
        }
        self.failed_probes.store(0, Relaxed);
        self.probing.store(false, Relaxed);
        self.next_probe_us.store(now_us.saturating_add(rules.pause_after(failure, 0)), Release);
        !self.failed.swap(true, AcqRel)
    }

    /// Reports a reply. True for the one caller whose report makes a failed server alive again.
    /// For a healthy server this reads two words and writes none.
    pub fn succeed(&self) -> bool {
        if self.failures.load(Relaxed) == 0 && !self.is_failed() {
            return false;
        }
        self.failures.store(0, Release);
        self.failed_probes.store(0, Relaxed);
        self.probing.store(false, Relaxed);
        self.failed.swap(false, AcqRel)
    }

    /// Whether the server counts as failed: one load.
    #[must_use]
    #[inline]
    pub fn is_failed(&self) -> bool {
        self.failed.load(Acquire)
    }

    /// Counted failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }

    /// Somebody needs this server: the next probe need not wait longer than the first one did.
    /// Returns when it is due.
    pub fn hasten_probe(&self, now_us: u64, rules: &HealthRules) -> u64 {
        let due_us = self.next_probe_us.load(Acquire);
        if self.probing.load(Acquire) {
            return due_us;
        }
        let soon_us = now_us.saturating_add(rules.pause_us(0));
        if soon_us >= due_us {
            return due_us;
        }
        // Whoever has claimed the probe meanwhile has moved the time on; so it stays.
        let hastened = self.next_probe_us.compare_exchange(due_us, soon_us, AcqRel, Acquire);
        hastened.map_or_else(|moved_us| moved_us, |_| soon_us)
    }

    /// Takes the right to probe a failed server, if it is time and nobody else has it.
    ///
    /// The right ends with [`Health::fail`] or [`Health::succeed`], or by itself after
    /// `probe_timeout_us`, so that a prober that vanishes takes nothing with it.
    pub fn claim_probe(&self, now_us: u64, rules: &HealthRules) -> bool {
        if !self.is_failed() {
            return false;
        }
        let due_us = self.next_probe_us.load(Acquire);
        if now_us < due_us {
            return false;
        }
        let until_us = now_us.saturating_add(rules.probe_timeout_us.max(rules.pause_us(0)));
        // Who exchanges the time that both saw wins; the other finds it moved.
        let won = self.next_probe_us.compare_exchange(due_us, until_us, AcqRel, Relaxed).is_ok();
        if won {
            self.probing.store(true, Release);
        }
        won
    }

    /// When [`Health::claim_probe`] can succeed next; `None` while there is nothing to probe.
    #[must_use]
    pub fn next_probe_us(&self) -> Option<u64> {
        self.is_failed().then(|| self.next_probe_us.load(Acquire))
    }

    /// Ends a probe and lengthens the pause before the next one.
    fn probe_failed(&self, failure: Failure, now_us: u64, rules: &HealthRules) {
        if !self.probing.swap(false, AcqRel) {
            return;
        }
        let failed_probes = self.failed_probes.fetch_add(1, Relaxed).saturating_add(1);
        let pause_us = rules.pause_after(failure, failed_probes);
        self.next_probe_us.store(now_us.saturating_add(pause_us), Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const SECOND: u64 = 1_000_000;
    const RULES: HealthRules =
        HealthRules { failure_limit: 3, retry_timeout_us: SECOND, probe_timeout_us: 2 * SECOND };

    /// A server that was marked at the time 0.
    fn failed() -> Health {
        let health = Health::new();
        for _ in 0..2 {
            assert!(!health.fail(Failure::Timeout, 0, &RULES));
        }
        assert!(health.fail(Failure::Timeout, 0, &RULES));
        health
    }

    #[test]
    fn d49_only_failures_in_a_row_count() {
        let health = Health::new();
        for _ in 0..100 {
            assert!(!health.fail(Failure::Timeout, 0, &RULES));
            assert!(!health.fail(Failure::ConnectRefused, 0, &RULES));
            assert!(!health.succeed(), "it never failed, so it is not newly alive");
        }
        assert!(!health.is_failed());
        assert_eq!(health.failures(), 0);
    }

    #[test]
    fn d49_an_idle_close_is_no_failure() {
        let health = Health::new();
        for _ in 0..100 {
            assert!(!health.fail(Failure::IdleClose, 0, &RULES));
        }
        assert!(!health.is_failed());
        for kind in [
            Failure::ConnectRefused,
            Failure::ConnectTimeout,
            Failure::Unresolved,
            Failure::Reset,
            Failure::Timeout,
            Failure::Protocol,
        ] {
            assert!(kind.counts(), "{kind:?}");
        }
    }

    #[test]
    fn a_server_is_marked_once_and_alive_again_once() {
        let health = failed();
        assert!(health.is_failed());
        assert!(!health.fail(Failure::Reset, 1, &RULES));
        assert!(health.succeed());
        assert!(!health.is_failed());
        assert!(!health.succeed());
        assert_eq!(health.next_probe_us(), None);
    }

    #[test]
    fn of_many_threads_one_marks_one_probes_and_one_revives() {
        const THREADS: usize = 2;
        let rules = HealthRules { failure_limit: 1, ..RULES };
        let health: Vec<_> = (0..20_000).map(|_| Health::new()).collect();
        let count = |act: &(dyn Fn(&Health) -> bool + Sync)| {
            let mut counts = vec![0; health.len()];
            let arrived = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                let run = || {
                    let act = |(round, health)| {
                        // They meet before each one; only spinning is quick enough to collide.
                        arrived.fetch_add(1, AcqRel);
                        while arrived.load(Acquire) < (round + 1) * THREADS {
                            std::hint::spin_loop();
                        }
                        usize::from(act(health))
                    };
                    health.iter().enumerate().map(act).collect::<Vec<_>>()
                };
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
                for thread in threads {
                    let done = thread.join().unwrap();
                    counts.iter_mut().zip(done).for_each(|(count, done)| *count += done);
                }
            });
            counts
        };
        let once = vec![1; health.len()];
        assert_eq!(count(&|health| health.fail(Failure::Reset, 0, &rules)), once);
        assert_eq!(count(&|health| health.claim_probe(SECOND, &rules)), once);
        assert_eq!(count(&Health::succeed), once);
    }

    #[test]
    fn d10_one_prober_at_a_time() {
        let health = failed();
        assert!(!health.claim_probe(SECOND - 1, &RULES), "too early");
        assert_eq!(health.next_probe_us(), Some(SECOND));
        assert!(health.claim_probe(SECOND, &RULES));
        assert!(!health.claim_probe(SECOND, &RULES), "somebody has it");
        assert!(!health.claim_probe(SECOND + 2 * SECOND - 1, &RULES));
    }

    #[test]
    fn d10_a_prober_that_vanishes_does_not_keep_the_right() {
        let health = failed();
        assert!(health.claim_probe(SECOND, &RULES));
        assert!(health.claim_probe(3 * SECOND, &RULES));
    }

    #[test]
    fn the_pause_between_probes_doubles_up_to_eight_times() {
        let health = failed();
        let mut now_us = SECOND;
        for pause in [2, 4, 8, 8, 8] {
            assert!(health.claim_probe(now_us, &RULES), "at {now_us}");
            health.fail(Failure::ConnectRefused, now_us, &RULES);
            assert_eq!(health.next_probe_us(), Some(now_us + pause * SECOND));
            now_us += pause * SECOND;
        }
        assert!(health.claim_probe(now_us, &RULES));
        assert!(health.succeed());
        // The next time starts with a short pause again.
        for _ in 0..3 {
            health.fail(Failure::Timeout, now_us, &RULES);
        }
        assert_eq!(health.next_probe_us(), Some(now_us + SECOND));
    }

    #[test]
    fn a_server_that_ends_connections_is_tried_again_nearly_at_once() {
        let rules = HealthRules { failure_limit: 1, ..RULES };
        let health = Health::new();
        assert!(health.fail(Failure::Reset, 0, &rules));
        let mut now_us = 0;
        for pause in [10, 20, 40, 80, 160, 320, 640, 1280] {
            assert_eq!(health.next_probe_us(), Some(now_us + pause * 1_000));
            now_us += pause * 1_000;
            assert!(health.claim_probe(now_us, &rules));
            health.fail(Failure::Reset, now_us, &rules);
        }
        assert!(health.claim_probe(now_us + 8 * SECOND, &rules));
        health.fail(Failure::ConnectRefused, now_us, &rules);
        assert_eq!(health.next_probe_us(), Some(now_us + 8 * SECOND));
    }

    #[test]
    fn a_server_that_is_needed_is_probed_without_long_pauses() {
        let health = failed();
        assert_eq!(health.hasten_probe(5, &RULES), SECOND, "soon enough");
        for now_us in [1, 3, 7].map(|seconds| seconds * SECOND) {
            assert!(health.claim_probe(now_us, &RULES));
            assert!(health.hasten_probe(now_us, &RULES) > now_us + SECOND, "somebody is at it");
            health.fail(Failure::ConnectRefused, now_us, &RULES);
        }
        assert_eq!(health.next_probe_us(), Some(15 * SECOND));
        assert_eq!(health.hasten_probe(8 * SECOND, &RULES), 9 * SECOND);
        assert_eq!(health.hasten_probe(8 * SECOND + 5, &RULES), 9 * SECOND, "not put off");
        assert_eq!(health.next_probe_us(), Some(9 * SECOND));
    }

    #[test]
    fn failures_that_come_in_late_do_not_lengthen_the_pause() {
        let health = failed();
        for _ in 0..10 {
            health.fail(Failure::Reset, 5, &RULES);
        }
        assert_eq!(health.next_probe_us(), Some(SECOND));
    }

    #[test]
    fn no_setting_makes_probes_run_in_a_circle() {
        let rules = HealthRules { retry_timeout_us: 0, probe_timeout_us: 0, ..RULES };
        let health = failed();
        assert!(health.claim_probe(SECOND, &rules));
        assert!(!health.claim_probe(SECOND, &rules));
        assert!(health.claim_probe(SECOND + HealthRules::PAUSE_MIN_US, &rules));
        let rules = HealthRules { retry_timeout_us: u64::MAX, ..RULES };
        health.fail(Failure::Timeout, SECOND, &rules);
        assert_eq!(health.next_probe_us(), Some(u64::MAX));
    }
}
