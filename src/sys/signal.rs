//! Signals, as values that a thread can wait for.
//!
//! The handler does the one thing that is safe in a handler: it writes the signal's number into
//! a pipe.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

use super::call::{check, check_size, poll_timeout_ms, retry};
use super::clock::monotonic_us;
use super::descriptor;
use super::platform::errno_location;
pub use super::shapes::Signal;

/// From the handler to whoever waits. It stays for as long as the process, as the handlers do.
static PIPE: OnceLock<[OwnedFd; 2]> = OnceLock::new();

/// What a thread of ours writes into the pipe; no signal has this number.
const CALL: u8 = 0;

const CAUGHT: [(libc::c_int, Signal); 4] = [
    (libc::SIGTERM, Signal::Terminate),
    (libc::SIGINT, Signal::Interrupt),
    (libc::SIGHUP, Signal::Hangup),
    (libc::SIGUSR2, Signal::User2),
];

/// A broken connection is an error where it is written to; and a stray SIGUSR1 must not kill us.
const IGNORED: [libc::c_int; 2] = [libc::SIGPIPE, libc::SIGUSR1];

/// The signals that this process has taken over.
#[derive(Debug)]
pub struct Signals {
    reader: &'static OwnedFd,
}

impl Signals {
    /// Catches and ignores signals from now on.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub fn install() -> io::Result<Signals> {
        if PIPE.get().is_none() {
            // Should another thread have been faster, ours is closed again.
            let _ = PIPE.set(descriptor::open_pipe()?);
        }
        let Some([reader, _]) = PIPE.get() else {
            return Err(io::Error::other("the signal pipe could not be kept"));
        };
        for number in IGNORED {
            set_action(number, libc::SIG_IGN)?;
        }
        for (number, _) in CAUGHT {
            set_action(number, on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t)?;
        }
        Ok(Signals { reader })
    }

    /// The next signal; `None` when `timeout_us` have passed without one.
    pub fn wait(&self, timeout_us: Option<u64>) -> Option<Signal> {
        let deadline_us = timeout_us.map(|timeout_us| monotonic_us().saturating_add(timeout_us));
        loop {
            if let Some(signal) = self.next() {
                return Some(signal);
            }
            let left_us = deadline_us.map(|deadline_us| deadline_us.saturating_sub(monotonic_us()));
            if left_us == Some(0) {
                return None;
            }
            self.poll(left_us);
        }
    }

    /// Makes [`Signals::wait`] return as if this process had been asked to stop; from any
    /// thread.
    pub fn raise_terminate() {
        // There is no way to fail: the process exists and the signal is a known one.
        // SAFETY: a call with an integer; the handler it runs does only what a handler may.
        unsafe { libc::raise(libc::SIGTERM) };
    }

    /// Makes [`Signals::wait`] return [`Signal::Call`]; from any thread.
    pub fn call() {
        if let Some([_, writer]) = PIPE.get() {
            put(writer, CALL);
        }
    }

    /// Takes a signal out of the pipe.
    fn next(&self) -> Option<Signal> {
        let (fd, mut byte) = (self.reader.as_raw_fd(), 0u8);
        let start = (&raw mut byte).cast();
        // SAFETY: `start` points at `byte`, which outlives the call.
        let read = retry(|| check_size(unsafe { libc::read(fd, start, 1) }));
        let arrived = read.is_ok_and(|size| size == 1);
        if arrived && byte == CALL {
            return Some(Signal::Call);
        }
        let caught = CAUGHT.iter().find(|(number, _)| arrived && *number == i32::from(byte));
        caught.map(|(_, signal)| *signal)
    }

    /// Waits for something in the pipe; a signal ends it too.
    fn poll(&self, timeout_us: Option<u64>) {
        let mut entry =
            libc::pollfd { fd: self.reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout_ms = poll_timeout_ms(timeout_us);
        // Whatever it answers, the pipe and the clock are asked next.
        // SAFETY: `entry` is one entry, as the count says, and outlives the call.
        unsafe { libc::poll(&raw mut entry, 1, timeout_ms) };
    }
}

fn set_action(number: libc::c_int, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: a C struct of integers and a pointer that may be null; all bits zero is a value,
    // with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    let (new, old) = (&raw const action, std::ptr::null_mut());
    // SAFETY: `new` outlives the call, and the handler it names does only what a handler may.
    check(unsafe { libc::sigaction(number, new, old) }).map(drop)
}

/// Runs in the middle of anything: it reads an atomic, writes a byte and leaves `errno` alone.
extern "C" fn on_signal(number: libc::c_int) {
    let Some([_, writer]) = PIPE.get() else { return };
    let errno = errno_location();
    // SAFETY: the pointer is this thread's own `errno`.
    let before = unsafe { errno.read() };
    #[expect(clippy::cast_possible_truncation, reason = "the four numbers caught are below 32")]
    let byte = number.unsigned_abs() as u8;
    put(writer, byte);
    // SAFETY: the pointer is this thread's own `errno`.
    unsafe { errno.write(before) };
}

/// Puts a byte into the pipe. A full one holds more than anyone needs.
fn put(writer: &OwnedFd, byte: u8) {
    // SAFETY: the pointer is that of `byte`, which outlives the call.
    unsafe { libc::write(writer.as_raw_fd(), (&raw const byte).cast(), 1) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raise(number: libc::c_int) {
        // SAFETY: takes and gives integers only.
        assert_eq!(unsafe { libc::raise(number) }, 0);
    }

    /// One test, since signals belong to the process and tests run side by side.
    #[test]
    fn signals_arrive_as_values_in_their_order_and_the_rest_is_ignored() {
        let signals = Signals::install().unwrap();
        assert_eq!(signals.wait(Some(0)), None);
        for (number, signal) in CAUGHT {
            raise(number);
            raise(libc::SIGPIPE);
            raise(libc::SIGUSR1);
            assert_eq!(signals.wait(Some(5_000_000)), Some(signal));
        }
        Signals::call();
        assert_eq!(signals.wait(Some(5_000_000)), Some(Signal::Call));
        raise(libc::SIGHUP);
        raise(libc::SIGTERM);
        let again = Signals::install().unwrap();
        assert_eq!(again.wait(Some(5_000_000)), Some(Signal::Hangup));
        assert_eq!(signals.wait(None), Some(Signal::Terminate));
        let begin_us = monotonic_us();
        assert_eq!(signals.wait(Some(1500)), None);
        assert!(monotonic_us() - begin_us >= 1500, "it came back too early");
        // A test run that hangs must still end at Control-C.
        for (number, _) in CAUGHT {
            set_action(number, libc::SIG_DFL).unwrap();
        }
    }
}
