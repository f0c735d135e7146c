//! Simulated time: it moves when the driver moves it. The time zone is UTC.

use crate::sys::sim::with;

pub use crate::sys::shapes::LocalTime;

/// Microseconds on a clock that only goes forward, since a moment that means nothing.
pub fn monotonic_us() -> u64 {
    with(|state| state.now_us)
}

/// Microseconds since the beginning of 1970, as far as the host knows. It may jump.
pub fn wall_us() -> u64 {
    with(|state| state.wall_us())
}

/// A moment, in seconds since 1970.
pub fn local_time(wall_s: i64) -> LocalTime {
    let (days, second) = (wall_s.div_euclid(86_400), wall_s.rem_euclid(86_400));
    // Counted from the first of March of year 0, so that a leap day is the last day of a year;
    // and in eras of 400 years, which are all of one length.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on, every five months have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let small = |number: i64| u32::try_from(number).unwrap_or(0);
    LocalTime {
        year: i32::try_from(400 * era + year + next_year).unwrap_or(i32::MAX),
        month: small(month),
        day: small(day),
        hour: small(second / 3600),
        minute: small(second / 60 % 60),
        second: small(second % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wall_s: i64, want: (i32, u32, u32, u32, u32, u32)) {
        let time = local_time(wall_s);
        let date = (time.year, time.month, time.day);
        assert_eq!((date.0, date.1, date.2, time.hour, time.minute, time.second), want);
    }

    #[test]
    fn days_are_counted_as_in_the_calendar() {
        check(0, (1970, 1, 1, 0, 0, 0));
        check(-1, (1969, 12, 31, 23, 59, 59));
        check(951_782_400, (2000, 2, 29, 0, 0, 0));
        check(1_700_000_000, (2023, 11, 14, 22, 13, 20));
        check(1_709_251_199, (2024, 2, 29, 23, 59, 59));
        check(1_709_251_200, (2024, 3, 1, 0, 0, 0));
        check(4_107_542_400, (2100, 3, 1, 0, 0, 0));
    }
}
