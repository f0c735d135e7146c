//! How rough the simulated world is.

use std::ops::RangeInclusive;

/// How often things go the hard way. A chance of `n` means once in `n` times, and 0 never.
#[derive(Clone, Debug)]
pub struct Faults {
    /// How long bytes, connects and ends are on their way, in microseconds.
    pub delay_us: RangeInclusive<u64>,
    /// How many bytes one direction of a connection holds until they are read.
    pub capacity: RangeInclusive<usize>,
    /// The chance that bytes written at once arrive in pieces, each after a delay of its own.
    pub cut_writes: u64,
    /// The chance that a read gives a part only, as if the rest came right after it.
    pub short_reads: u64,
    /// The chance that a write takes a part only, or nothing, though there is room.
    pub short_writes: u64,
    /// The chance, for each arrival of bytes, that the connection breaks instead.
    pub resets: u64,
    /// The chance that a reset overtakes the bytes sent before it, which are lost then.
    pub overtaking_resets: u64,
    /// The chance that a connect is refused.
    pub refusals: u64,
    /// The chance that a refusal is known at once, as may happen on the same host.
    pub instant_refusals: u64,
    /// The chance that a connect is never answered.
    pub silences: u64,
    /// The chance that an accept of a watched listener finds no descriptor left.
    pub accept_failures: u64,
    /// The chance, for each wait, that some socket has an event without a cause.
    pub spurious_events: u64,
    /// The chance, for each wait, that it brings a few of the events only.
    pub small_batches: u64,
    /// Whether events come in a random order.
    pub shuffled_events: bool,
    /// Whether reading and writing are reported apart and only when they changed, as by kqueue.
    pub split_events: bool,
    /// By how much sleepers oversleep, in microseconds.
    pub late_us: RangeInclusive<u64>,
}

impl Faults {
    /// A world in which everything works and takes no time.
    pub fn none() -> Faults {
        Faults {
            delay_us: 0..=0,
            capacity: 65_536..=65_536,
            cut_writes: 0,
            short_reads: 0,
            short_writes: 0,
            resets: 0,
            overtaking_resets: 0,
            refusals: 0,
            instant_refusals: 0,
            silences: 0,
            accept_failures: 0,
            spurious_events: 0,
            small_batches: 0,
            shuffled_events: false,
            split_events: false,
            late_us: 0..=0,
        }
    }

    /// A world in which nothing breaks, but everything arrives late and in pieces.
    pub fn bumpy() -> Faults {
        Faults {
            delay_us: 0..=2_000,
            capacity: 16..=8_192,
            cut_writes: 2,
            short_reads: 4,
            short_writes: 4,
            instant_refusals: 4,
            small_batches: 8,
            shuffled_events: true,
            late_us: 0..=1_000,
            ..Self::none()
        }
    }

    /// A world in which things break as well.
    pub fn rough() -> Faults {
        Faults {
            resets: 500,
            overtaking_resets: 4,
            refusals: 20,
            silences: 50,
            accept_failures: 20,
            spurious_events: 20,
            ..Self::bumpy()
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}
