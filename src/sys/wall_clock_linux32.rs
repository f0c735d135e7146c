//! The time of day on a Linux with 32 bits, where that of std may end in 2038, with a panic.

use std::time::{SystemTime, UNIX_EPOCH};

/// `clock_gettime64` has the same number on all processors; kernels have it since 5.1.
const CLOCK_GETTIME_64: libc::c_long = 403;

/// Microseconds since 1970; 0 before that.
pub(super) fn since_1970_us() -> u64 {
    let mut now = [0i64; 2];
    let (call, clock) = (CLOCK_GETTIME_64, libc::CLOCK_REALTIME);
    // SAFETY: it writes two such numbers, seconds and nanoseconds, into `now`, which outlives it.
    let answer = unsafe { libc::syscall(call, clock, now.as_mut_ptr()) };
    if answer == 0 {
        let [seconds, nanoseconds] = now.map(|part| u64::try_from(part).ok());
        let seconds_us = seconds.unwrap_or_default().saturating_mul(1_000_000);
        return seconds_us.saturating_add(nanoseconds.unwrap_or_default() / 1000);
    }
    // A kernel that cannot live beyond 2038 either.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
