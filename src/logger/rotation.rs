//! When a new log file begins, and what it is called.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::sys::clock::LocalTime;

const HOUR_S: u32 = 3600;
const DAY_S: u32 = 24 * HOUR_S;

/// When to begin a new file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// So often, counted from local midnight; 0 is never.
    pub period_s: u32,
    /// When the file has as many bytes; 0 is never.
    pub size: u64,
}

impl Rotation {
    /// Whether files ever change.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.period_s > 0 || self.size > 0
    }

    /// The file for `path` that begins at that time: its name has as much of the time as it takes
    /// to tell files apart.
    #[must_use]
    pub fn file_name(self, path: &Path, begun: LocalTime) -> PathBuf {
        if !self.is_on() {
            return path.to_owned();
        }
        let bytes = path.as_os_str().as_bytes();
        let (stem, ending) = bytes.split_at(bytes.len().saturating_sub(4));
        let stem =
            if !stem.is_empty() && ending.eq_ignore_ascii_case(b".log") { stem } else { bytes };
        let LocalTime { year, month, day, hour, minute, second } = begun;
        let mut time = format!("{year:04}{month:02}{day:02}");
        if self.size > 0 || self.period_s < DAY_S {
            time += &format!("{hour:02}");
        }
        if self.size > 0 || self.period_s < HOUR_S {
            time += &format!("{minute:02}");
        }
        if self.size > 0 {
            time += &format!("{second:02}");
        }
        PathBuf::from(OsString::from_vec([stem, b".", time.as_bytes(), b".log"].concat()))
    }

    /// When the time slot began in which this second lies. Slots are counted from local midnight.
    #[must_use]
    pub fn slot_begin(self, now_s: i64, local_time: fn(i64) -> LocalTime) -> i64 {
        if self.period_s == 0 {
            return now_s;
        }
        let guess_s = now_s - time_of_day(local_time(now_s));
        // If the clocks were changed since midnight, the guess is off by as much.
        let off_s = time_of_day(local_time(guess_s));
        let day_s = i64::from(DAY_S);
        let midnight_s = if off_s > day_s / 2 { guess_s + day_s - off_s } else { guess_s - off_s };
        let period_s = i64::from(self.period_s);
        midnight_s + (now_s - midnight_s) / period_s * period_s
    }
}

fn time_of_day(time: LocalTime) -> i64 {
    i64::from(time.hour * HOUR_S + time.minute * 60 + time.second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logger::testing::utc;

    /// 2026-11-22 10:16:44
    const NOW_S: i64 = 1_795_342_604;

    #[track_caller]
    fn check_name(path: &str, period_s: u32, size: u64, want: &str) {
        let name = Rotation { period_s, size }.file_name(Path::new(path), utc(NOW_S));
        assert_eq!(name, Path::new(want));
    }

    #[track_caller]
    fn check_slot(period_s: u32, want_after_midnight_s: i64) {
        let rotation = Rotation { period_s, size: 0 };
        let midnight_s = NOW_S - NOW_S % 86_400;
        assert_eq!(rotation.slot_begin(NOW_S, utc) - midnight_s, want_after_midnight_s);
    }

    #[test]
    fn a_file_is_named_after_its_time() {
        check_name("/var/log/predixy.log", 0, 0, "/var/log/predixy.log");
        check_name("/var/log/predixy.log", DAY_S, 0, "/var/log/predixy.20261122.log");
        check_name("/var/log/predixy.log", HOUR_S, 0, "/var/log/predixy.2026112210.log");
        check_name("/var/log/predixy.log", 1800, 0, "/var/log/predixy.202611221016.log");
        check_name("/var/log/predixy.log", 0, 1 << 20, "/var/log/predixy.20261122101644.log");
        check_name("/var/log/predixy.log", DAY_S, 1 << 20, "/var/log/predixy.20261122101644.log");
    }

    #[test]
    fn only_an_ending_is_taken_for_one() {
        check_name("a.LoG", DAY_S, 0, "a.20261122.log");
        check_name("predixy", DAY_S, 0, "predixy.20261122.log");
        check_name("predixy.log.txt", DAY_S, 0, "predixy.log.txt.20261122.log");
        check_name(".log", DAY_S, 0, ".log.20261122.log");
        check_name("log", DAY_S, 0, "log.20261122.log");
    }

    #[test]
    fn slots_are_counted_from_midnight() {
        check_slot(DAY_S, 0);
        check_slot(HOUR_S, 10 * 3600);
        check_slot(7 * HOUR_S, 7 * 3600);
        check_slot(300, 10 * 3600 + 15 * 60);
    }

    #[test]
    fn midnight_is_found_on_the_days_when_clocks_change() {
        const CHANGE_S: i64 = NOW_S - NOW_S % 86_400 + 2 * 3600;
        fn forward(wall_s: i64) -> LocalTime {
            utc(if wall_s < CHANGE_S { wall_s } else { wall_s + 3600 })
        }
        fn back(wall_s: i64) -> LocalTime {
            utc(if wall_s < CHANGE_S { wall_s } else { wall_s - 3600 })
        }
        let daily = Rotation { period_s: DAY_S, size: 0 };
        assert_eq!(daily.slot_begin(NOW_S, forward), NOW_S - NOW_S % 86_400);
        assert_eq!(daily.slot_begin(NOW_S, back), NOW_S - NOW_S % 86_400);
        // 10:16 is in the second slot of seven hours, which are hours that went by.
        let by_seven_hours = Rotation { period_s: 7 * HOUR_S, size: 0 };
        let want = NOW_S - NOW_S % 86_400 + 7 * 3600;
        assert_eq!(
            (by_seven_hours.slot_begin(NOW_S, forward), by_seven_hours.slot_begin(NOW_S, back)),
            (want, want)
        );
    }
}
