//! The terminal that somebody sits at: how large it is, and which keys are pressed.

use std::io;

use super::call::{check, check_size};

/// A terminal that gives each key at once and shows none; as it was before when dropped.
#[derive(Debug)]
pub struct Terminal {
    before: libc::termios,
}

const INPUT: libc::c_int = libc::STDIN_FILENO;
const OUTPUT: libc::c_int = libc::STDOUT_FILENO;

impl Terminal {
    /// Takes the terminal over; `None` if input or output is something else.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn take() -> io::Result<Option<Terminal>> {
        if !(is_terminal(INPUT) && is_terminal(OUTPUT)) {
            return Ok(None);
        }
        // SAFETY: a C struct of integers, for which all bits zero is a value.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: `before` outlives the call.
        check(unsafe { libc::tcgetattr(INPUT, &raw mut before) })?;
        let mut now = before;
        // Control-C and its kin come as keys, so that whoever takes them can put things in order.
        now.c_lflag &= !(libc::ICANON | libc::ECHO | libc::ISIG);
        set(&now)?;
        Ok(Some(Terminal { before }))
    }

    /// Columns and rows, if the system knows.
    #[must_use]
    pub fn size(&self) -> Option<(u16, u16)> {
        let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: `size` is what this request writes, and outlives the call.
        check(unsafe { libc::ioctl(OUTPUT, libc::TIOCGWINSZ, &raw mut size) }).ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
    }

    /// The next key; `None` when `timeout_us` have passed without one, or a signal has come.
    ///
    /// # Errors
    ///
    /// There will be no more keys.
    pub fn key(&self, timeout_us: u64) -> io::Result<Option<u8>> {
        let mut entry = libc::pollfd { fd: INPUT, events: libc::POLLIN, revents: 0 };
        let timeout_ms = i32::try_from(timeout_us.div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: `entry` is one entry, as the count says, and outlives the call.
        let ready = unsafe { libc::poll(&raw mut entry, 1, timeout_ms) };
        if ready <= 0 {
            return Ok(None);
        }
        let mut byte = 0u8;
        let place = (&raw mut byte).cast();
        // SAFETY: `place` points at `byte`, which outlives the call.
        match check_size(unsafe { libc::read(INPUT, place, 1) })? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(Some(byte)),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = set(&self.before);
    }
}

fn is_terminal(fd: libc::c_int) -> bool {
    // SAFETY: takes and gives integers only.
    unsafe { libc::isatty(fd) == 1 }
}

fn set(mode: &libc::termios) -> io::Result<()> {
    // SAFETY: `mode` outlives the call.
    check(unsafe { libc::tcsetattr(INPUT, libc::TCSANOW, mode) }).map(drop)
}
