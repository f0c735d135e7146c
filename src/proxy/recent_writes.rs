//! Where a client has written lately, for `ReadYourWrites`.
//!
//! A client remembers a few places, each for as long as its reads there go to the master. If it
//! has written in more places than that, its reads go to masters everywhere: what is forgotten
//! may cost a master some reads, but never shows a client less than it wrote.

use crate::pool::Place;

/// Where one client has written lately.
#[derive(Debug, Default)]
pub struct RecentWrites {
    places: [Option<Write>; RecentWrites::MAX],
    /// Until then it counts as having written everywhere, in microseconds of the monotonic clock.
    everywhere_until_us: u64,
}

#[derive(Clone, Copy, Debug)]
struct Write {
    place: Place,
    until_us: u64,
}

impl RecentWrites {
    /// How many places are remembered.
    pub const MAX: usize = 16;

    /// A write to `place` counts until `until_us`, which never goes back from one call to the
    /// next.
    pub fn note(&mut self, place: Place, now_us: u64, until_us: u64) {
        let write = Some(Write { place, until_us });
        let is_it = |known: &&mut Option<Write>| known.is_some_and(|known| known.place == place);
        if let Some(same) = self.places.iter_mut().find(is_it) {
            *same = write;
            return;
        }
        let is_free =
            |known: &&mut Option<Write>| known.is_none_or(|known| known.until_us <= now_us);
        match self.places.iter_mut().find(is_free) {
            Some(free) => *free = write,
            None => self.everywhere_until_us = until_us,
        }
    }

    /// Whether reads of `place` are to go to its master.
    pub fn covers(&self, place: Place, now_us: u64) -> bool {
        let counts = |known: &Write| known.place == place && now_us < known.until_us;
        now_us < self.everywhere_until_us || self.places.iter().flatten().any(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Slot;

    const WINDOW_US: u64 = 100;

    fn place(number: usize) -> Place {
        Place::Slot(Slot::new(number as u64).unwrap())
    }

    fn note(writes: &mut RecentWrites, number: usize, now_us: u64) {
        writes.note(place(number), now_us, now_us + WINDOW_US);
    }

    #[test]
    fn a_write_counts_for_its_place_and_for_its_time() {
        let mut writes = RecentWrites::default();
        assert!(!writes.covers(place(1), 0));
        note(&mut writes, 1, 10);
        assert!(writes.covers(place(1), 109));
        assert!(!writes.covers(place(1), 110));
        assert!(!writes.covers(place(2), 50));
        note(&mut writes, 1, 50);
        assert!(writes.covers(place(1), 149), "the later one counts");
    }

    #[test]
    fn who_writes_in_many_places_reads_from_masters_everywhere() {
        let mut writes = RecentWrites::default();
        for number in 0..RecentWrites::MAX {
            note(&mut writes, number, 0);
        }
        assert!(!writes.covers(place(1000), 1));
        note(&mut writes, RecentWrites::MAX, 20);
        assert!(writes.covers(place(1000), 119));
        assert!(!writes.covers(place(RecentWrites::MAX), 120));
    }

    #[test]
    fn places_that_no_longer_count_make_room() {
        let mut writes = RecentWrites::default();
        for number in 0..100 * RecentWrites::MAX {
            note(&mut writes, number, number as u64 * WINDOW_US);
        }
        assert!(!writes.covers(place(0), 0), "and never was everywhere");
    }
}
