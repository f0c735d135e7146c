//! What the logger needs from the operating system.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment as the calendar and the clock on the wall show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// With the century.
    pub year: i32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60.
    pub second: u32,
}

/// Microseconds since the epoch.
pub fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The local time of `wall_s` seconds since the epoch.
pub fn local_time(wall_s: i64) -> LocalTime {
    let days = wall_s.div_euclid(86_400);
    let part = |n: i64| u32::try_from(n).unwrap_or(0);
    let second = wall_s.rem_euclid(86_400);
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    LocalTime {
        year: i32::try_from(yoe + era * 400 + i64::from(month <= 2)).unwrap_or(0),
        month: part(month),
        day: part(doy - (153 * mp + 2) / 5 + 1),
        hour: part(second / 3600),
        minute: part(second / 60 % 60),
        second: part(second % 60),
    }
}

/// A thread that can be waited for.
#[derive(Debug)]
pub struct Join(std::thread::JoinHandle<()>);

impl Join {
    /// Waits until it has ended.
    pub fn join(self) {
        let _ = self.0.join();
    }
}

/// Starts a thread.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Join> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(Join)
}
