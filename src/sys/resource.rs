//! What this process has used, and how many descriptors it may have open.

use std::io;

use super::call::check;
use super::platform::RESIDENT_UNIT_BYTES;
pub use super::shapes::Usage;

/// As many as anyone needs: where there is no limit, the kernel still has one of its own.
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// What this process has used since it started.
///
/// # Errors
///
/// None that a correct program can meet.
pub fn usage() -> io::Result<Usage> {
    // SAFETY: a C struct of integers, for which all bits zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` outlives the call.
    check(unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) })?;
    Ok(Usage {
        user_us: microseconds(usage.ru_utime),
        system_us: microseconds(usage.ru_stime),
        max_resident_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * RESIDENT_UNIT_BYTES,
    })
}

/// Asks for as many descriptors as the system lets us have; how many those are.
pub fn raise_descriptor_limit() -> u64 {
    let Ok(limit) = descriptor_limit() else { return UNKNOWN_LIMIT };
    let mut wanted = limit.rlim_max.min(DESCRIPTORS_MAX as _);
    while wanted > limit.rlim_cur {
        if set_descriptor_limit(libc::rlimit { rlim_cur: wanted, ..limit }).is_ok() {
            return wanted as _;
        }
        // macOS promises more than it gives.
        wanted /= 2;
    }
    limit.rlim_cur as _
}

/// What a system allows at the least that does not say what it allows: a strict sandbox, perhaps.
const UNKNOWN_LIMIT: u64 = 1024;

fn descriptor_limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok(limit)
}

fn set_descriptor_limit(limit: libc::rlimit) -> io::Result<()> {
    // SAFETY: `limit` outlives the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).map(drop)
}

fn microseconds(time: libc::timeval) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_has_used_something() {
        let usage = usage().unwrap();
        assert!(usage.max_resident_bytes > 100 * 1024, "{usage:?}");
        assert!(usage.max_resident_bytes < 1 << 40, "{usage:?}");
    }

    #[test]
    fn the_descriptor_limit_is_raised_as_far_as_allowed() {
        let before = descriptor_limit().unwrap();
        let allowed = before.rlim_max.min(DESCRIPTORS_MAX as _);
        // Only by one: other tests open sockets at this moment.
        set_descriptor_limit(libc::rlimit { rlim_cur: allowed - 1, ..before }).unwrap();
        assert_eq!(raise_descriptor_limit(), allowed as u64);
        assert_eq!(descriptor_limit().unwrap().rlim_cur, allowed);
        assert_eq!(raise_descriptor_limit(), allowed as u64);
    }
}
