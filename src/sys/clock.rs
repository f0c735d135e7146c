//! What time it is: for measuring, and for reading.

#[cfg_attr(all(target_os = "linux", target_pointer_width = "32"), path = "wall_clock_linux32.rs")]
#[cfg_attr(not(all(target_os = "linux", target_pointer_width = "32")), path = "wall_clock.rs")]
mod wall_clock;

use std::mem::MaybeUninit;

pub use super::shapes::LocalTime;

/// The calendar repeats after so many seconds, until the year 2100, which is no leap year.
const CYCLE_S: i64 = (28 * 365 + 7) * 86_400;
const CYCLE_YEARS: i32 = 28;

/// Microseconds on a clock that only goes forward, since a moment that means nothing.
#[cfg_attr(small, optimize(speed))]
pub fn monotonic_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` outlives the call. The clock exists everywhere, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

/// Microseconds since the beginning of 1970, as far as the host knows; 0 before that. It may jump.
pub fn wall_us() -> u64 {
    wall_clock::since_1970_us()
}

/// A moment, in seconds since 1970, in the time zone of the host.
pub fn local_time(wall_s: i64) -> LocalTime {
    let (seconds, cycles) = narrow(wall_s);
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are good for the call, and the reentrant form keeps no other.
    unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
    // SAFETY: a C struct of integers and a pointer, for which all bits zero, as they still are if
    // the year does not fit, is a value.
    let parts = unsafe { parts.assume_init() };
    LocalTime {
        year: parts.tm_year.saturating_add(1900 + cycles * CYCLE_YEARS),
        month: (parts.tm_mon + 1).unsigned_abs(),
        day: parts.tm_mday.unsigned_abs(),
        hour: parts.tm_hour.unsigned_abs(),
        minute: parts.tm_min.unsigned_abs(),
        second: parts.tm_sec.unsigned_abs(),
    }
}

/// The moment in the type that the C library has for it, which may end in 2038, so many cycles
/// earlier.
fn narrow<T: TryFrom<i64> + Default>(wall_s: i64) -> (T, i32) {
    let tries = (0..10).map(|cycles| (wall_s.checked_sub(i64::from(cycles) * CYCLE_S), cycles));
    let mut fitting =
        tries.filter_map(|(seconds, cycles)| Some((T::try_from(seconds?).ok()?, cycles)));
    fitting.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_type_shows_an_earlier_year_of_the_same_shape() {
        assert_eq!(narrow::<i32>(2_147_483_647), (2_147_483_647, 0));
        assert_eq!(narrow::<i32>(2_147_483_648), (1_263_870_848, 1));
        // 2040-02-29 12:00:00 and 2012-02-29 12:00:00, both Wednesdays.
        assert_eq!(narrow::<i32>(2_214_129_600), (1_330_516_800, 1));
        assert_eq!(narrow::<i64>(2_214_129_600), (2_214_129_600, 0));
        assert_eq!(narrow::<i32>(-1), (-1, 0));
        assert_eq!(narrow::<i32>(i64::MAX), (0, 0));
        assert_eq!(narrow::<i32>(i64::MIN), (0, 0));
    }

    #[test]
    fn there_is_time_before_1970_and_after_2038() {
        let middle_of = |wall_s| {
            let time = local_time(wall_s);
            (time.year, time.month)
        };
        assert_eq!(middle_of(2_213_352_000), (2040, 2));
        assert_eq!(middle_of(4_104_000_000), (2100, 1));
        assert_eq!(middle_of(-314_000_000), (1960, 1));
        // What no calendar shows is no reason to stop.
        let _ = [i64::MIN, i64::MAX].map(local_time);
    }

    #[test]
    fn time_goes_forward() {
        let (before, wall) = (monotonic_us(), wall_us());
        let deadline = before + 5_000_000;
        while monotonic_us() == before {
            assert!(monotonic_us() < deadline);
        }
        assert!(monotonic_us() > before);
        assert!(wall > 1_600_000_000_000_000, "a host that lives before 2020");
    }

    #[test]
    fn local_time_is_within_a_day_of_universal_time() {
        // 2026-11-22 12:00:00 UTC: noon is on the 22nd, or in the first hours of the 23rd.
        let time = local_time(1_795_348_800);
        assert_eq!((time.year, time.month), (2026, 11));
        assert!((22..=23).contains(&time.day), "{time:?}");
        assert!(time.hour < 24 && time.minute < 60 && time.second <= 60, "{time:?}");
    }
}
