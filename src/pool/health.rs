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
    /// fails, to at most [`HealthRules::PAUSES_MAX`] times itself.
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
            self.probe_failed(now_us, rules);
            return false;
        }
        if failures < rules.failure_limit {
            return false;
        }
        self.failed_probes.store(0, Relaxed);
        self.probing.store(false, Relaxed);
        self.next_probe_us.store(now_us.saturating_add(rules.pause_us(0)), Release);
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
    fn probe_failed(&self, now_us: u64, rules: &HealthRules) {
        if !self.probing.swap(false, AcqRel) {
            return;
        }
        let failed_probes = self.failed_probes.fetch_add(1, Relaxed).saturating_add(1);
        self.next_probe_us.store(now_us.saturating_add(rules.pause_us(failed_probes)), Release);
    }
}
