//! What time it is: for measuring, and for reading.

use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};

pub use super::shapes::LocalTime;

/// Microseconds on a clock that only goes forward, since a moment that means nothing.
pub fn monotonic_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` outlives the call. The clock exists everywhere, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

/// Microseconds since the beginning of 1970, as far as the host knows. It may jump.
pub fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A moment, in seconds since 1970, in the time zone of the host.
pub fn local_time(wall_s: i64) -> LocalTime {
    let (seconds, mut parts) = (wall_s as _, MaybeUninit::<libc::tm>::zeroed());
    // SAFETY: both pointers are good for the call, and the reentrant form keeps no other.
    unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
    // SAFETY: a C struct of integers and a pointer, for which all bits zero, as they still are if
    // the year does not fit, is a value.
    let parts = unsafe { parts.assume_init() };
    LocalTime {
        year: parts.tm_year.saturating_add(1900),
        month: (parts.tm_mon + 1).unsigned_abs(),
        day: parts.tm_mday.unsigned_abs(),
        hour: parts.tm_hour.unsigned_abs(),
        minute: parts.tm_min.unsigned_abs(),
        second: parts.tm_sec.unsigned_abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
