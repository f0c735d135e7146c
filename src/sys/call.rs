//! How a system call answers, turned into a `Result` in one place.

use std::io;

/// The error behind a -1, or the number that the call gave.
pub(super) fn check(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// The error behind a -1, or how many bytes went through.
#[cfg_attr(small, optimize(speed))]
pub(super) fn check_size(answer: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// Makes the call again for as long as a signal interrupts it.
pub(super) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// A size in the type in which the kernel takes the sizes of addresses and options.
pub(super) const fn length_of<T>() -> libc::socklen_t {
    #[expect(clippy::cast_possible_truncation, reason = "only small C structs are measured")]
    {
        size_of::<T>() as libc::socklen_t
    }
}

/// A time-out as poll and epoll take it, which is negative for none. Rounded up: a wait that ended
/// a little before its deadline would be begun again and again.
pub(super) fn poll_timeout_ms(timeout_us: Option<u64>) -> libc::c_int {
    timeout_us.map_or(-1, |us| libc::c_int::try_from(us.div_ceil(1000)).unwrap_or(libc::c_int::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_never_cut_short() {
        assert_eq!(poll_timeout_ms(None), -1);
        assert_eq!(poll_timeout_ms(Some(0)), 0);
        assert_eq!(poll_timeout_ms(Some(1)), 1);
        assert_eq!(poll_timeout_ms(Some(1000)), 1);
        assert_eq!(poll_timeout_ms(Some(1001)), 2);
        assert_eq!(poll_timeout_ms(Some(u64::MAX)), i32::MAX);
    }
}
