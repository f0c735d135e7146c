//! How it was before: a few minutes of counters, for rates and for curves.

use std::collections::VecDeque;

use crate::proxy::shared::Shared;
use crate::stats::{Bucket, Distribution, HandlerTotals};

/// Counters at several moments, the newest last.
#[derive(Default)]
pub struct History {
    samples: VecDeque<Sample>,
    /// The same for what is larger, and not so many of them.
    details: VecDeque<Detail>,
}

struct Sample {
    at_us: u64,
    totals: HandlerTotals,
}

struct Detail {
    at_us: u64,
    /// Requests for each server, by its number.
    servers: Vec<u64>,
    latencies: Vec<Distribution>,
}

/// What came in a second, on average, in some stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// When the stretch ended, in microseconds before now.
    pub age_us: u64,
    pub requests: f64,
    pub accepted: f64,
    /// Bytes from clients, and to them.
    pub received: f64,
    pub sent: f64,
}

/// So many samples are kept.
const SAMPLES_MAX: usize = 300;
/// Nothing older is kept.
const AGE_MAX_US: u64 = 300_000_000;
/// What is larger is kept so often, and for so long.
const DETAIL_US: u64 = 5_000_000;
const DETAILS_MAX: usize = 13;
/// A rate of now is that of the last so many microseconds.
const NOW_US: u64 = 5_000_000;

impl History {
    /// Takes down what is counted now.
    pub fn take(&mut self, shared: &Shared, now_us: u64) {
        let mut totals = HandlerTotals::default();
        for index in 0..shared.handlers.len() {
            totals.merge(&shared.stats.handler_figures(index));
        }
        self.push(now_us, totals);
        let is_due = self.details.back().is_none_or(|last| now_us >= last.at_us + DETAIL_US);
        if is_due {
            let ids = shared.current.load().ids();
            let requests = |index| shared.stats.server_totals_since_start(index).requests;
            self.details.push_back(Detail {
                at_us: now_us,
                servers: (0..ids).map(requests).collect(),
                latencies: shared.stats.latencies_since_start(),
            });
            if self.details.len() > DETAILS_MAX {
                self.details.pop_front();
            }
        }
    }

    fn push(&mut self, at_us: u64, totals: HandlerTotals) {
        self.samples.push_back(Sample { at_us, totals });
        while let Some(first) = self.samples.front()
            && (self.samples.len() > SAMPLES_MAX || at_us > first.at_us + AGE_MAX_US)
        {
            self.samples.pop_front();
        }
    }

    /// The rates between the samples, the oldest first.
    pub fn rates(&self, now_us: u64) -> Vec<Rates> {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        pairs.filter_map(|(one, next)| rates(one, next.at_us, &next.totals, now_us)).collect()
    }

    /// The rates of the last seconds, or since the start if that was just now.
    pub fn now(&self, now_us: u64, totals: &HandlerTotals) -> Rates {
        let is_old = |sample: &&Sample| now_us >= sample.at_us + NOW_US;
        let before = self.samples.iter().rev().find(is_old).or(self.samples.front());
        before.and_then(|before| rates(before, now_us, totals, now_us)).unwrap_or_default()
    }

    /// How many requests a server has got in a second lately, given how many there are by now.
    pub fn server_rate(&self, now_us: u64, server: usize, requests: u64) -> f64 {
        let is_old = |detail: &&Detail| now_us >= detail.at_us + NOW_US;
        let before = self.details.iter().rev().find(is_old).or(self.details.front());
        let Some(before) = before else { return 0.0 };
        let was = before.servers.get(server).copied().unwrap_or(0);
        per_second(requests.saturating_sub(was), now_us.saturating_sub(before.at_us))
    }

    /// How long commands took in the last minute, given what was counted by now, and how many
    /// microseconds that minute has had.
    pub fn latency(&self, now_us: u64, monitor: usize, now: &Distribution) -> (Distribution, u64) {
        let before = self.details.front();
        let same = before
            .and_then(|before| before.latencies.get(monitor))
            .filter(|was| was.bounds_us == now.bounds_us);
        let (Some(before), Some(was)) = (before, same) else { return (now.clone(), 0) };
        let buckets = now.buckets.iter().zip(&was.buckets).map(|(now, was)| Bucket {
            count: now.count.saturating_sub(was.count),
            sum_us: now.sum_us.saturating_sub(was.sum_us),
        });
        let recent = Distribution { bounds_us: now.bounds_us.clone(), buckets: buckets.collect() };
        (recent, now_us.saturating_sub(before.at_us))
    }
}

fn rates(one: &Sample, at_us: u64, totals: &HandlerTotals, now_us: u64) -> Option<Rates> {
    let took_us = at_us.checked_sub(one.at_us).filter(|took_us| *took_us > 0)?;
    let rate = |was: u64, is: u64| per_second(is.saturating_sub(was), took_us);
    let was = &one.totals;
    Some(Rates {
        age_us: now_us.saturating_sub(at_us),
        requests: rate(was.total_requests, totals.total_requests),
        accepted: rate(was.accept, totals.accept),
        received: rate(was.total_recv_client_bytes, totals.total_recv_client_bytes),
        sent: rate(was.total_send_client_bytes, totals.total_send_client_bytes),
    })
}

#[expect(clippy::cast_precision_loss, reason = "for looking at")]
fn per_second(count: u64, took_us: u64) -> f64 {
    count as f64 * 1e6 / took_us.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(requests: u64) -> HandlerTotals {
        HandlerTotals { total_requests: requests, ..HandlerTotals::default() }
    }

    #[test]
    fn rates_are_those_between_samples() {
        let mut history = History::default();
        let second = 1_000_000;
        assert_eq!(history.now(9 * second, &totals(100)).requests, 0.0);
        for (at, requests) in [(10, 0), (11, 50), (13, 250), (20, 250)] {
            history.push(at * second, totals(requests));
        }
        let rates: Vec<(u64, f64)> = (history.rates(20 * second).iter())
            .map(|rates| (rates.age_us / second, rates.requests))
            .collect();
        assert_eq!(rates, [(9, 50.0), (7, 100.0), (0, 0.0)]);
        // Of the last five seconds at least, so that one odd second is no cliff.
        assert_eq!(history.now(21 * second, &totals(330)).requests, 10.0);
        assert_eq!(history.now(14 * second, &totals(250)).requests, 62.5);
    }

    #[test]
    fn it_stays_small() {
        let mut history = History::default();
        (0..10_000).for_each(|at| history.push(at * 100_000, totals(at)));
        assert_eq!(history.samples.len(), SAMPLES_MAX);
        history.push(5_000_000_000, totals(10_001));
        assert_eq!(history.samples.len(), 1);
    }

    #[test]
    fn latencies_are_those_of_the_last_minute() {
        let distribution = |counts: &[u64]| Distribution {
            bounds_us: [10, 20].into(),
            buckets: counts.iter().map(|&count| Bucket { count, sum_us: count }).collect(),
        };
        let mut history = History::default();
        let now = distribution(&[5, 6, 7]);
        assert_eq!(history.latency(7, 0, &now), (now.clone(), 0));
        let latencies = vec![distribution(&[1, 2, 3])];
        history.details.push_back(Detail { at_us: 1, servers: vec![4], latencies });
        assert_eq!(history.latency(7, 0, &now), (distribution(&[4, 4, 4]), 6));
        // There is another monitor of that number now.
        let other = Distribution { bounds_us: [10].into(), ..now.clone() };
        assert_eq!(history.latency(7, 0, &other), (other.clone(), 0));
        assert_eq!(history.server_rate(1_000_001, 0, 14), 10.0);
        assert_eq!(history.server_rate(1_000_001, 9, 3), 3.0);
    }
}
