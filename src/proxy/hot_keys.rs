//! Which keys are asked for most often, and which move most bytes, from a sample.
//!
//! A [`Sketch`] is the space-saving sketch of Metwally, Agrawal and El Abbadi ("Efficient
//! computation of frequent and top-k elements in data streams", 2005): a fixed number of keys is
//! kept, and whoever is new takes the place, and the count, of the least of them. So a count may
//! be too high, by no more than is noted beside it, and never too low, and a key with more than
//! its share of the sum cannot be missed. A [`Window`] keeps two of them, of this minute and of
//! the one before; a [`Gap`] says how much may pass before the next sample is taken: nothing at
//! first, so that a proxy with little to do counts exactly, and more and more the more there is.
//! Nothing here knows clients or servers, or reads a clock.

use crate::base::order;
use crate::base::random::Random;

/// So many keys are kept in one sketch.
pub const KEYS_MAX: usize = 128;
/// No more of a key than this, in bytes, is kept.
const KEY_MAX: usize = 128;
/// Counts are kept in so many parts of one.
pub const ONE: u64 = 256;
/// A new sketch is begun so often.
const WINDOW_US: u64 = 60_000_000;
/// Lists of keys by the upper bits of their hashes.
const BUCKETS: usize = 256;
/// The end of such a list, and no key at all.
const NOBODY: u8 = u8::MAX;

const _: () = assert!(KEYS_MAX < NOBODY as usize);

/// The most frequent keys of a stream, in bounded memory.
pub struct Sketch {
    entries: Vec<Entry>,
    /// The least count first.
    heap: Vec<Counted>,
    buckets: [u8; BUCKETS],
}

/// A place of the heap.
#[derive(Clone, Copy)]
struct Counted {
    count: u64,
    /// Whose count it is.
    entry: u8,
}

struct Entry {
    hash: u64,
    /// So much of the count may be other keys'.
    error: u64,
    largest: u64,
    /// The length of the whole key.
    length: usize,
    key: Vec<u8>,
    /// The next one in the same bucket.
    next: u8,
    /// Its place in the heap.
    at: u8,
}

/// A key, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its first bytes.
    pub key: Vec<u8>,
    /// How many bytes it has in all.
    pub length: usize,
    /// How much was counted, in parts of [`ONE`].
    pub count: u64,
    /// How much of that may be other keys'.
    pub error: u64,
    /// The most that was counted at once.
    pub largest: u64,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { entries: Vec::new(), heap: Vec::new(), buckets: [NOBODY; BUCKETS] }
    }
}

impl Sketch {
    /// Counts `weight` more for `key`, of something that was as large as `size`.
    pub fn add(&mut self, key: &[u8], weight: u64, size: u64) {
        let hash = hash(key);
        let prefix = &key[..key.len().min(KEY_MAX)];
        let head = self.buckets[bucket(hash)];
        let mut place = head;
        while let Some(entry) = self.entries.get_mut(usize::from(place)) {
            if entry.hash == hash && entry.length == key.len() && entry.key == prefix {
                entry.largest = entry.largest.max(size);
                let at = usize::from(entry.at);
                let count = self.heap[at].count.saturating_add(weight);
                return self.sink(at, Counted { count, entry: place });
            }
            place = entry.next;
        }
        let length = key.len();
        if self.entries.len() < KEYS_MAX {
            let (place, at) = (small(self.entries.len()), self.heap.len());
            let key = prefix.to_vec();
            let entry =
                Entry { hash, error: 0, largest: size, length, key, next: head, at: small(at) };
            self.entries.push(entry);
            self.heap.push(Counted { count: weight, entry: place });
            self.buckets[bucket(hash)] = place;
            return self.rise(at);
        }
        let Counted { count, entry: place } = self.heap[0];
        self.leave_bucket(place);
        let entry = &mut self.entries[usize::from(place)];
        entry.next = std::mem::replace(&mut self.buckets[bucket(hash)], place);
        (entry.hash, entry.error, entry.largest, entry.length) = (hash, count, size, length);
        entry.key.clear();
        entry.key.extend_from_slice(prefix);
        self.sink(0, Counted { count: count.saturating_add(weight), entry: place });
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets everything, but keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.heap.clear();
        self.buckets = [NOBODY; BUCKETS];
    }

    /// All keys that are kept, in no order.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.entries.iter().map(|entry| Key {
            key: entry.key.clone(),
            length: entry.length,
            count: self.heap[usize::from(entry.at)].count,
            error: entry.error,
            largest: entry.largest,
        })
    }

    /// Takes the key at this place out of the list of its bucket.
    fn leave_bucket(&mut self, place: u8) {
        let Entry { hash, next, .. } = self.entries[usize::from(place)];
        let head = &mut self.buckets[bucket(hash)];
        if *head == place {
            *head = next;
            return;
        }
        let mut before = *head;
        while let Some(entry) = self.entries.get_mut(usize::from(before)) {
            if entry.next == place {
                entry.next = next;
                return;
            }
            before = entry.next;
        }
    }

    /// Puts what has grown in the place of the heap where it was, or further down.
    fn sink(&mut self, mut at: usize, grown: Counted) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let Some(mut least) = self.heap.get(left).copied() else { break };
            let mut child = left;
            if let Some(other) = self.heap.get(right)
                && other.count < least.count
            {
                (least, child) = (*other, right);
            }
            if grown.count <= least.count {
                break;
            }
            self.put(at, least);
            at = child;
        }
        self.put(at, grown);
    }

    /// Somebody new stands at the last place of the heap.
    fn rise(&mut self, mut at: usize) {
        let new = self.heap[at];
        while at > 0 && new.count < self.heap[(at - 1) / 2].count {
            self.put(at, self.heap[(at - 1) / 2]);
            at = (at - 1) / 2;
        }
        self.put(at, new);
    }

    fn put(&mut self, at: usize, counted: Counted) {
        self.heap[at] = counted;
        self.entries[usize::from(counted.entry)].at = small(at);
    }
}

/// Places are below [`KEYS_MAX`].
fn small(place: usize) -> u8 {
    u8::try_from(place).unwrap_or(NOBODY)
}

fn bucket(hash: u64) -> usize {
    // The upper bits are those that depend on all of the key.
    usize::try_from(hash >> (u64::BITS - BUCKETS.ilog2())).unwrap_or(0)
}

/// Spreads keys over buckets. Somebody who makes keys collide makes the list of one bucket longer,
/// and there are few keys at all.
fn hash(key: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ (mixed >> 32)
    };
    let (words, rest) = key.as_chunks::<8>();
    let hash =
        words.iter().fold(key.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

/// What was counted in this minute and in the one before.
#[derive(Default)]
pub struct Window {
    now: Sketch,
    before: Sketch,
    /// When this minute began, in microseconds of the monotonic clock; 0 is never.
    since_us: u64,
    /// How long ago the earlier one began then.
    before_us: u64,
}

/// The keys of a window, and how long that was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// In no order; a key may be there more than once.
    pub keys: Vec<Key>,
    /// What was counted came in this time.
    pub period_us: u64,
}

impl Window {
    /// Counts `weight` more for `key`, of something as large as `size`.
    pub fn add(&mut self, key: &[u8], weight: u64, size: u64) {
        self.now.add(key, weight, size);
    }

    /// Begins a new minute if it is time. True when it has.
    pub fn turn(&mut self, now_us: u64) -> bool {
        if self.since_us == 0 {
            self.since_us = now_us;
            return false;
        }
        let age_us = now_us.saturating_sub(self.since_us);
        if age_us < WINDOW_US {
            return false;
        }
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
        if age_us >= 2 * WINDOW_US {
            // That was the minute before the one before.
            self.before.clear();
        }
        let is_known = !self.before.is_empty();
        self.before_us = if is_known { age_us } else { 0 };
        self.since_us = now_us;
        true
    }

    /// What is known by now.
    #[must_use]
    pub fn keys(&self, now_us: u64) -> Keys {
        let keys = self.now.keys().chain(self.before.keys()).collect();
        let age_us = if self.since_us == 0 { 0 } else { now_us.saturating_sub(self.since_us) };
        Keys { keys, period_us: age_us + self.before_us }
    }
}

/// A key as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// The key, cut if it is long, and marked then.
    pub key: Vec<u8>,
    /// How many requests, or bytes.
    pub count: u64,
    /// How many of them in a second.
    pub per_second: u64,
    /// The most at once.
    pub largest: u64,
}

/// The first `count` keys of what all handlers know.
#[must_use]
pub fn top(parts: &[Keys], count: usize) -> Vec<Top> {
    let mut keys: Vec<&Key> = parts.iter().flat_map(|part| &part.keys).collect();
    order::sort_by(&mut keys, |one, other| (&one.key, one.length).cmp(&(&other.key, other.length)));
    // Each handler has seen its own clients for as long as it has counted: the longest time is
    // that of all.
    let period_us = parts.iter().map(|part| part.period_us).max().unwrap_or(0).max(1_000_000);
    let same = |one: &&Key, other: &&Key| one.key == other.key && one.length == other.length;
    let merged = keys.chunk_by(same).map(|group| {
        let sum = group.iter().map(|key| key.count).fold(0u64, u64::saturating_add);
        let count = sum.saturating_add(ONE / 2) / ONE;
        let per_second = u128::from(count) * 1_000_000 / u128::from(period_us);
        Top {
            key: shown(group[0]),
            count,
            per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
            largest: group.iter().map(|key| key.largest).max().unwrap_or(0),
        }
    });
    let mut merged: Vec<Top> = merged.collect();
    order::sort_by(&mut merged, |one, other| {
        other.count.cmp(&one.count).then_with(|| one.key.cmp(&other.key))
    });
    merged.truncate(count);
    merged
}

fn shown(key: &Key) -> Vec<u8> {
    let mut shown = key.key.clone();
    if key.length > key.key.len() {
        shown.extend_from_slice(format!("... ({} bytes)", key.length).as_bytes());
    }
    shown
}

/// How much of a stream passes until the next sample, at random, so that nothing that comes in
/// step with the samples is counted always or never.
///
/// Whoever samples counts for all that passed since: a thing of `size` is met with a chance of
/// `size / mean`, and so counts `mean / size` times.
#[derive(Debug)]
pub struct Gap {
    steps: &'static [u64],
    step: usize,
    /// Samples of this step.
    taken: u32,
}

/// After so many samples they are taken less often.
const SAMPLES_PER_STEP: u32 = 128;

impl Gap {
    /// With these mean gaps, one after the other; 0 is every single thing.
    #[must_use]
    pub const fn new(steps: &'static [u64]) -> Gap {
        Gap { steps, step: 0, taken: 0 }
    }

    /// Begins with the first again.
    pub fn restart(&mut self) {
        *self = Gap::new(self.steps);
    }

    /// The mean gap of now.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.steps.get(self.step).copied().unwrap_or(0)
    }

    /// A sample was taken: what may pass until the next one.
    pub fn next(&mut self, random: &mut Random) -> u64 {
        self.taken += 1;
        if self.taken >= SAMPLES_PER_STEP && self.step + 1 < self.steps.len() {
            self.step += 1;
            self.taken = 0;
        }
        match self.mean() {
            0 => 0,
            mean => 1 + random.below(2 * mean - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(sketch: &Sketch) -> Vec<(String, u64)> {
        let mut counts: Vec<(String, u64)> = sketch
            .keys()
            .map(|key| (String::from_utf8_lossy(&key.key).into_owned(), key.count))
            .collect();
        counts.sort();
        counts
    }

    #[test]
    fn few_keys_are_counted_exactly() {
        let mut sketch = Sketch::default();
        for (key, weight) in [("a", 1), ("b", 5), ("a", 2), ("", 7), ("b", 1)] {
            sketch.add(key.as_bytes(), weight, weight);
        }
        let want = [("", 7), ("a", 3), ("b", 6)].map(|(key, count)| (key.to_owned(), count));
        assert_eq!(counts(&sketch), want);
        assert!(sketch.keys().all(|key| key.error == 0));
        assert_eq!(sketch.keys().find(|key| key.key == b"b").map(|key| key.largest), Some(5));
        sketch.clear();
        assert!(sketch.is_empty());
        sketch.add(b"a", 1, 1);
        assert_eq!(counts(&sketch), [("a".to_owned(), 1)]);
    }

    /// Whatever comes, the counts are between the truth and the truth and the error, none of the
    /// frequent ones is missing, and the lists are whole.
    #[test]
    fn many_keys_in_little_memory() {
        let seed = 20;
        let mut random = Random::new(seed);
        let mut sketch = Sketch::default();
        let mut truth = std::collections::HashMap::new();
        let mut sum = 0;
        for _ in 0..200_000 {
            // Zipf, more or less: half of the requests for a few keys.
            let bound = 1 + random.below(5000);
            let number = random.below(bound) * random.below(2);
            let key = format!("key:{number:012}");
            let weight = 1 + random.below(3);
            *truth.entry(key.clone()).or_insert(0) += weight;
            sum += weight;
            sketch.add(key.as_bytes(), weight, 1);
        }
        assert_eq!(sketch.entries.len(), KEYS_MAX);
        assert_eq!(counts(&sketch).iter().map(|(_, count)| count).sum::<u64>(), sum);
        let kept: std::collections::HashMap<String, Key> = sketch
            .keys()
            .map(|key| (String::from_utf8_lossy(&key.key).into_owned(), key))
            .collect();
        assert_eq!(kept.len(), KEYS_MAX, "a key is there twice, seed {seed}");
        for (name, key) in &kept {
            let true_count = truth[name];
            assert!(key.count >= true_count && key.count - key.error <= true_count, "{name}");
        }
        for (name, count) in &truth {
            assert!(*count <= sum / KEYS_MAX as u64 || kept.contains_key(name), "{name} {count}");
        }
        for at in 1..sketch.heap.len() {
            assert!(sketch.heap[(at - 1) / 2].count <= sketch.heap[at].count, "no heap");
        }
        let in_bucket = |head: &u8| {
            let next = |place: &u8| sketch.entries.get(usize::from(*place)).map(|entry| entry.next);
            let places = std::iter::successors(Some(*head), next);
            places.take_while(|place| *place != NOBODY).count()
        };
        let longest = sketch.buckets.iter().filter(|head| **head != NOBODY).map(in_bucket).max();
        assert!(longest < Some(8), "keys are badly spread: {longest:?} in one bucket");
        for place in 0..KEYS_MAX {
            let entry = &sketch.entries[place];
            assert_eq!(usize::from(sketch.heap[usize::from(entry.at)].entry), place);
        }
    }

    #[test]
    fn long_keys_are_cut_and_told_apart() {
        let mut sketch = Sketch::default();
        let long = |last: &str, length: usize| format!("{}{last}", "x".repeat(length)).into_bytes();
        sketch.add(&long("a", 300), ONE, 1);
        sketch.add(&long("b", 300), 2 * ONE, 1);
        sketch.add(&long("", KEY_MAX), 3 * ONE, 1);
        let keys = Keys { keys: sketch.keys().collect(), period_us: 1_000_000 };
        // Those that only differ where nobody looks are one in the end.
        let top = top(&[keys], 10);
        let shown: Vec<(usize, u64)> = top.iter().map(|top| (top.key.len(), top.count)).collect();
        assert_eq!(shown, [(KEY_MAX, 3), (KEY_MAX + "... (301 bytes)".len(), 3)]);
        assert!(top[1].key.ends_with(b"... (301 bytes)"));
    }

    #[test]
    fn handlers_are_put_together() {
        let part = |keys: &[(&str, u64, u64)], period_us| {
            let mut sketch = Sketch::default();
            for (key, count, size) in keys {
                sketch.add(key.as_bytes(), count * ONE, *size);
            }
            Keys { keys: sketch.keys().collect(), period_us }
        };
        let parts = [
            part(&[("a", 10, 7), ("b", 30, 1)], 2_000_000),
            part(&[("a", 25, 3), ("c", 1, 1)], 5_000_000),
        ];
        let found = top(&parts, 2);
        let want = |key: &str, count, per_second, largest| Top {
            key: key.into(),
            count,
            per_second,
            largest,
        };
        assert_eq!(found, [want("a", 35, 7, 7), want("b", 30, 6, 1)]);
        assert_eq!(top(&[], 10), []);
    }

    #[test]
    fn a_window_is_this_minute_and_the_one_before() {
        let mut window = Window::default();
        let names = |window: &Window, now_us| {
            let keys = window.keys(now_us);
            let mut names: Vec<Vec<u8>> = keys.keys.into_iter().map(|key| key.key).collect();
            names.sort();
            (String::from_utf8(names.concat()).unwrap(), keys.period_us / 1_000_000)
        };
        let second = 1_000_000;
        assert!(!window.turn(5 * second));
        window.add(b"a", ONE, 1);
        assert!(!window.turn(30 * second));
        assert_eq!(names(&window, 30 * second), ("a".into(), 25));
        assert!(window.turn(66 * second));
        window.add(b"b", ONE, 1);
        assert_eq!(names(&window, 70 * second), ("ab".into(), 65));
        assert!(window.turn(130 * second));
        assert_eq!(names(&window, 131 * second), ("b".into(), 65));
        // After a long silence nothing of it is true any more.
        window.add(b"c", ONE, 1);
        assert!(window.turn(1000 * second));
        assert_eq!(names(&window, 1001 * second), (String::new(), 1));
    }

    /// However large things are and however they are mixed, what is sampled stands for all.
    #[test]
    fn samples_stand_for_all() {
        static STEPS: &[u64] = &[0, 100, 1000];
        let seed = 7;
        let (mut gap, mut random) = (Gap::new(STEPS), Random::new(seed));
        let (mut budget, mut estimate, mut samples) = (0u64, [0u64; 2], 0);
        const COUNT: u64 = 400_000;
        for number in 0..COUNT {
            let size = if number % 2 == 0 { 10 } else { 250 };
            if budget >= size {
                budget -= size;
                continue;
            }
            let mean = gap.mean();
            let mut rest = size;
            let mut hits = 0;
            while rest > budget {
                rest -= budget;
                budget = gap.next(&mut random);
                hits += 1;
                if mean == 0 {
                    break;
                }
            }
            budget = budget.saturating_sub(rest);
            samples += 1;
            let weight = if size >= 2 * mean { ONE } else { hits * mean * ONE / size };
            estimate[(number % 2) as usize] += weight;
        }
        for estimate in estimate {
            let share = estimate as f64 / (COUNT / 2 * ONE) as f64;
            assert!((0.95..1.05).contains(&share), "{share} of the truth, seed {seed}");
        }
        assert!(samples < COUNT / 5, "{samples} samples");
    }
}
