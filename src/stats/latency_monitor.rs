//! How long commands took, in buckets.
//!
//! A monitor is a name, a set of commands and a rising list of bounds in microseconds.
//! `LatencyMonitorSet` is the plan: which monitors there are and which of them a command
//! feeds. `Latencies` are the counters of one writer for the whole plan: each handler has
//! one for itself and one for every server it talks to. `Distribution` is what came
//! together for one monitor, and how that reads. It knows no commands, only their
//! numbers, and no clock.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::counter::Counter;

/// One monitor, but for the commands that it watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyMonitor {
    /// The name by which INFO shows it.
    pub name: Box<str>,
    /// Upper ends of the buckets in microseconds, rising; what is longer goes to one more.
    pub bounds_us: Box<[u64]>,
}

/// All monitors, and for each command those that it feeds.
#[derive(Debug, PartialEq, Eq)]
pub struct LatencyMonitorSet {
    monitors: Box<[LatencyMonitor]>,
    /// Where the buckets of each monitor begin in `Latencies`.
    offsets: Box<[usize]>,
    buckets: usize,
    /// By command number: its part of `fed`.
    feeds: Box<[Feeds]>,
    /// Monitor numbers; commands that feed the same monitors share one stretch.
    fed: Box<[u16]>,
}

/// The monitors that one command feeds: looked up once, as cheap to keep as a number.
///
/// It belongs to the set that made it. With another set it may name other monitors, or
/// none, but never harms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feeds {
    begin: u32,
    end: u32,
}

impl Feeds {
    /// Feeds nothing.
    pub const NONE: Feeds = Feeds { begin: 0, end: 0 };

    /// Whether no monitor watches the command, so that there is nothing to measure.
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.begin == self.end
    }
}

impl LatencyMonitorSet {
    /// Prepares the plan from the monitors, each with the numbers of the commands that it watches.
    /// Monitors beyond 65536 are left out.
    #[must_use]
    pub fn new<C: IntoIterator<Item = usize>>(
        plan: impl IntoIterator<Item = (LatencyMonitor, C)>,
    ) -> LatencyMonitorSet {
        let (mut monitors, mut offsets, mut buckets) = (Vec::new(), Vec::new(), 0);
        // By command number: the monitors that watch it, rising.
        let mut watching: Vec<Vec<u16>> = Vec::new();
        for (monitor, commands) in plan {
            let Ok(number) = u16::try_from(monitors.len()) else { break };
            for command in commands {
                if command >= watching.len() {
                    watching.resize(command + 1, Vec::new());
                }
                if watching[command].last() != Some(&number) {
                    watching[command].push(number);
                }
            }
            offsets.push(buckets);
            buckets += monitor.bounds_us.len() + 1;
            monitors.push(monitor);
        }
        let (mut fed, mut known) = (Vec::new(), HashMap::from([(Vec::new(), Feeds::NONE)]));
        let feeds = watching.into_iter().map(|watching| {
            *known.entry(watching).or_insert_with_key(|watching| {
                let begin = position(fed.len());
                fed.extend(watching);
                Feeds { begin, end: position(fed.len()) }
            })
        });
        let feeds = feeds.collect();
        LatencyMonitorSet {
            monitors: monitors.into(),
            offsets: offsets.into(),
            buckets,
            feeds,
            fed: fed.into(),
        }
    }

    /// Which monitors the command with this number feeds.
    #[inline]
    #[must_use]
    pub fn feeds(&self, command: usize) -> Feeds {
        self.feeds.get(command).copied().unwrap_or(Feeds::NONE)
    }

    /// The monitors, in the order of the configuration.
    #[must_use]
    pub fn monitors(&self) -> &[LatencyMonitor] {
        &self.monitors
    }

    /// The number of the monitor with this name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        self.monitors.iter().position(|monitor| monitor.name.as_bytes() == name)
    }

    /// Calls `count` with the place of every bucket that a command of this length counts in.
    #[inline]
    fn each_bucket(&self, feeds: Feeds, elapsed_us: u64, mut count: impl FnMut(usize)) {
        let fed = self.fed.get(feeds.begin as usize..feeds.end as usize).unwrap_or(&[]);
        for &number in fed {
            let number = usize::from(number);
            let bounds_us = &self.monitors[number].bounds_us;
            // The first bound that is not less, or one past the last.
            count(self.offsets[number] + bounds_us.partition_point(|&bound| bound < elapsed_us));
        }
    }
}

/// Fits because the set is built from a file that was read into memory.
fn position(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The counters of one writer for all monitors of a set.
#[derive(Debug)]
pub struct Latencies {
    set: Arc<LatencyMonitorSet>,
    /// For each bucket how many there were, and how long they took together.
    buckets: Box<[BucketCounter]>,
}

#[derive(Debug, Default)]
struct BucketCounter {
    count: Counter,
    sum_us: Counter,
}

impl BucketCounter {
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    fn add(&self, elapsed_us: u64) {
        self.count.add(1);
        self.sum_us.add(elapsed_us);
    }
}

impl Latencies {
    /// All counters at zero.
    #[must_use]
    pub fn new(set: Arc<LatencyMonitorSet>) -> Latencies {
        let buckets = (0..set.buckets).map(|_| BucketCounter::default()).collect();
        Latencies { set, buckets }
    }

    /// Counts one command that took `elapsed_us`.
    #[inline]
    pub fn record(&self, feeds: Feeds, elapsed_us: u64) {
        self.set.each_bucket(feeds, elapsed_us, |place| self.buckets[place].add(elapsed_us));
    }

    /// Counts one command here and in `other`, which follows the same set; the bucket is
    /// searched once.
    #[inline]
    pub fn record_both(&self, other: &Latencies, feeds: Feeds, elapsed_us: u64) {
        self.set.each_bucket(feeds, elapsed_us, |place| {
            self.buckets[place].add(elapsed_us);
            if let Some(bucket) = other.buckets.get(place) {
                bucket.add(elapsed_us);
            }
        });
    }

    /// The set that these counters follow.
    #[must_use]
    pub fn set(&self) -> &Arc<LatencyMonitorSet> {
        &self.set
    }
}

/// What several writers counted together: a value, no longer shared.
#[derive(Clone, Debug)]
pub struct LatencyTotals {
    set: Arc<LatencyMonitorSet>,
    buckets: Vec<Bucket>,
}

/// How many commands ended in one bucket, and how long they took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// How many commands.
    pub count: u64,
    /// The microseconds they took together.
    pub sum_us: u64,
}

impl LatencyTotals {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(set: &Arc<LatencyMonitorSet>) -> LatencyTotals {
        LatencyTotals { set: Arc::clone(set), buckets: vec![Bucket::default(); set.buckets] }
    }

    /// Adds what one writer has counted until now, if it follows the same set.
    #[cfg_attr(small, optimize(speed))]
    pub fn add(&mut self, latencies: &Latencies) {
        if Arc::ptr_eq(&self.set, &latencies.set) {
            for (total, counter) in self.buckets.iter_mut().zip(&latencies.buckets) {
                total.count = total.count.wrapping_add(counter.count.value());
                total.sum_us = total.sum_us.wrapping_add(counter.sum_us.value());
            }
        }
    }

    /// Takes away what was counted before a reset.
    pub fn subtract(&mut self, base: &LatencyTotals) {
        if Arc::ptr_eq(&self.set, &base.set) {
            for (total, base) in self.buckets.iter_mut().zip(&base.buckets) {
                total.count = total.count.wrapping_sub(base.count);
                total.sum_us = total.sum_us.wrapping_sub(base.sum_us);
            }
        }
    }

    /// What belongs to each monitor of the set.
    #[must_use]
    pub fn distributions(&self) -> Vec<Distribution> {
        let mut buckets = self.buckets.iter().copied();
        let monitors = self.set.monitors.iter();
        monitors
            .map(|monitor| Distribution {
                bounds_us: monitor.bounds_us.clone(),
                buckets: buckets.by_ref().take(monitor.bounds_us.len() + 1).collect(),
            })
            .collect()
    }
}

/// The buckets of one monitor, ready to be shown.
///
/// It displays as predixy writes it, byte for byte: one line for each bucket in use, one for
/// what was longer than every bound, and a total; nothing at all if nothing was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Upper ends of all buckets but the last.
    pub bounds_us: Box<[u64]>,
    /// One more than there are bounds.
    pub buckets: Vec<Bucket>,
}

impl Distribution {
    /// All buckets together.
    #[must_use]
    pub fn total(&self) -> Bucket {
        let mut total = Bucket::default();
        for bucket in &self.buckets {
            total.count = total.count.saturating_add(bucket.count);
            total.sum_us = total.sum_us.saturating_add(bucket.sum_us);
        }
        total
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        if total.count == 0 {
            return Ok(());
        }
        let mut so_far = 0;
        for (bound, bucket) in self.bounds_us.iter().zip(&self.buckets) {
            if bucket.count > 0 {
                so_far += bucket.count;
                let share = percentage(so_far, total.count);
                writeln!(
                    out,
                    "<= {bound:>12} {:>20} {:>16} {share:.2}%",
                    bucket.sum_us, bucket.count
                )?;
            }
        }
        if let Some(over) = self.buckets.get(self.bounds_us.len()).filter(|over| over.count > 0) {
            let last = self.bounds_us.last().unwrap_or(&0);
            writeln!(out, ">  {last:>12} {:>20} {:>16} 100.00%", over.sum_us, over.count)?;
        }
        let average = total.sum_us / total.count;
        writeln!(out, "T  {average:>12} {:>20} {:>16}", total.sum_us, total.count)
    }
}

/// Goes through single precision as predixy does: the second decimal depends on it.
#[expect(clippy::cast_possible_truncation, reason = "single precision is wanted")]
#[expect(clippy::cast_precision_loss, reason = "a percentage needs no more")]
fn percentage(part: u64, whole: u64) -> f64 {
    f64::from((part as f64 * 100.0 / whole as f64) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(name: &str, bounds_us: &[u64], commands: &[usize]) -> (LatencyMonitor, Vec<usize>) {
        (LatencyMonitor { name: name.into(), bounds_us: bounds_us.into() }, commands.to_vec())
    }

    fn set(plan: Vec<(LatencyMonitor, Vec<usize>)>) -> Arc<LatencyMonitorSet> {
        Arc::new(LatencyMonitorSet::new(plan))
    }

    fn shown(latencies: &Latencies) -> Vec<String> {
        let mut totals = LatencyTotals::new(latencies.set());
        totals.add(latencies);
        totals.distributions().iter().map(Distribution::to_string).collect()
    }

    /// Shows what these times come to in buckets that end at 100 and 200.
    #[track_caller]
    fn check(bounds_us: &[u64], elapsed_us: &[u64], want: &str) {
        let latencies = Latencies::new(set(vec![monitor("all", bounds_us, &[0])]));
        for &elapsed_us in elapsed_us {
            latencies.record(latencies.set().feeds(0), elapsed_us);
        }
        assert_eq!(shown(&latencies), [want]);
    }

    #[test]
    fn nothing_counted_is_nothing_shown() {
        check(&[100, 200], &[], "");
        check(&[], &[], "");
    }

    #[test]
    fn a_time_goes_to_the_first_bound_that_is_not_less() {
        let want = concat!(
            "<=          100                  101                3 50.00%\n",
            "<=          200                  301                2 83.33%\n",
            ">           200                  201                1 100.00%\n",
            "T           100                  603                6\n",
        );
        check(&[100, 200], &[0, 1, 100, 101, 200, 201], want);
    }

    #[test]
    fn empty_buckets_are_left_out() {
        let want = concat!(
            "<=          200                  150                1 100.00%\n",
            "T           150                  150                1\n",
        );
        check(&[100, 200, 300], &[150], want);
        let want = concat!(
            ">           100                  150                1 100.00%\n",
            "T           150                  150                1\n",
        );
        check(&[100], &[150], want);
    }

    #[test]
    fn without_bounds_all_is_beyond_zero() {
        let want = concat!(
            ">             0                  150                1 100.00%\n",
            "T           150                  150                1\n",
        );
        check(&[], &[150], want);
    }

    #[test]
    fn it_reads_as_the_example_of_predixy() {
        let buckets = [(92, 4035), (90, 17_548), (20_007, 795_632_782)];
        let buckets = buckets.map(|(count, sum_us)| Bucket { count, sum_us });
        let distribution = Distribution { bounds_us: [100, 1000].into(), buckets: buckets.into() };
        let want = concat!(
            "<=          100                 4035               92 0.46%\n",
            "<=         1000                17548               90 0.90%\n",
            ">          1000            795632782            20007 100.00%\n",
            "T         39410            795654365            20189\n",
        );
        assert_eq!(distribution.to_string(), want);
    }

    #[test]
    fn halves_of_a_percentage_are_rounded_as_c_does() {
        // 0.125, 0.375: to the even digit, as both are exact.
        let shown =
            |count| format!("{:.2} {:.2}", percentage(count, 800), percentage(3 * count, 800));
        assert_eq!(shown(1), "0.12 0.38");
    }

    #[test]
    fn a_command_feeds_the_monitors_that_name_it() {
        let set = set(vec![
            monitor("all", &[10], &[0, 1, 2, 3]),
            monitor("get", &[10, 20], &[3, 1, 1]),
            monitor("none", &[], &[]),
        ]);
        let latencies = Latencies::new(Arc::clone(&set));
        latencies.record(set.feeds(0), 1);
        latencies.record(set.feeds(1), 15);
        latencies.record(set.feeds(9), 1000);
        let want_all = concat!(
            "<=           10                    1                1 50.00%\n",
            ">            10                   15                1 100.00%\n",
            "T             8                   16                2\n",
        );
        let want_get = concat!(
            "<=           20                   15                1 100.00%\n",
            "T            15                   15                1\n",
        );
        assert_eq!(shown(&latencies), [want_all, want_get, ""]);
        assert_eq!(set.feeds(1), set.feeds(3));
        assert_ne!(set.feeds(0), set.feeds(1));
        assert!(set.feeds(9).is_empty() && !set.feeds(0).is_empty());
        assert_eq!((set.find(b"get"), set.find(b"GET")), (Some(1), None));
    }

    #[test]
    fn there_may_be_more_monitors_than_a_word_has_bits() {
        let monitors = (0..100).map(|number| monitor(&number.to_string(), &[10], &[number % 2]));
        let latencies = Latencies::new(set(monitors.collect()));
        latencies.record(latencies.set().feeds(0), 5);
        let fed: Vec<usize> =
            (0..100).filter(|&number| !shown(&latencies)[number].is_empty()).collect();
        assert_eq!(fed, (0..100).step_by(2).collect::<Vec<usize>>());
    }

    #[test]
    fn feeds_of_another_set_do_no_harm() {
        let many = set((0..50).map(|_| monitor("", &[], &[0])).collect());
        let few = Latencies::new(set(vec![monitor("", &[], &[0])]));
        few.record(many.feeds(0), 5);
        assert_eq!(shown(&few), [""]);
    }

    #[test]
    fn both_are_counted_alike() {
        let set = set(vec![monitor("a", &[10], &[0]), monitor("b", &[20], &[0])]);
        let (one, two) = (Latencies::new(Arc::clone(&set)), Latencies::new(Arc::clone(&set)));
        one.record_both(&two, set.feeds(0), 15);
        assert_eq!(shown(&one), shown(&two));
        assert!(!shown(&one)[0].is_empty());
    }
}
