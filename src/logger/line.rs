//! One event as one line of text.
//!
//! The thread that logs only forms the message, in which nothing can break the line; the thread
//! that writes puts date, level and place before it, so that the calendar is asked once a second.

use std::fmt::{self, Write as _};

use super::Level;
use super::platform::LocalTime;

/// The longest line, without its end.
pub const LINE_MAX: usize = 1023;

/// When, how grave and where: what stands before the message.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Microseconds since the epoch.
    pub wall_us: u64,
    /// How grave.
    pub level: Level,
    /// The source file, as the compiler names it.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
}

/// Bytes of a client or a server, to be shown in a message: printable ASCII as it is, the rest
/// as `\xNN`.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'\\' => out.write_str("\\\\")?,
                b'\n' => out.write_str("\\n")?,
                b'\r' => out.write_str("\\r")?,
                b' '..=b'~' => out.write_char(char::from(byte))?,
                _ => write!(out, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

/// Forms `message` at the end of `text`: what would break or disguise a line is escaped, and
/// what no line could hold is cut off.
pub fn compose(text: &mut String, message: fmt::Arguments<'_>) {
    let end = text.len() + LINE_MAX;
    // The error says that the rest would be cut off; there is nobody to be told.
    let _ = Composer { text, end }.write_fmt(message);
}

struct Composer<'a> {
    text: &'a mut String,
    end: usize,
}

impl fmt::Write for Composer<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.end - self.text.len();
        if piece.len() <= room && piece.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.text.push_str(piece);
            return Ok(());
        }
        for character in piece.chars() {
            match character {
                '\n' => self.put("\\n")?,
                '\r' => self.put("\\r")?,
                '\t' => self.put("\\t")?,
                // Line and paragraph separator end a line for some readers.
                '\u{2028}' | '\u{2029}' => self.put(&character.escape_unicode().to_string())?,
                _ if character.is_control() => {
                    self.put(&format!("\\x{:02x}", u32::from(character)))?
                }
                _ => self.put(character.encode_utf8(&mut [0; 4]))?,
            }
        }
        Ok(())
    }
}

impl Composer<'_> {
    /// All of `piece` or nothing.
    fn put(&mut self, piece: &str) -> fmt::Result {
        if self.text.len() + piece.len() > self.end {
            return Err(fmt::Error);
        }
        self.text.push_str(piece);
        Ok(())
    }
}

/// Writes lines with their date; keeps the date of the last one, as most have the same.
#[derive(Debug)]
pub struct Renderer {
    local_time: fn(i64) -> LocalTime,
    second: Option<i64>,
    date: String,
}

impl Renderer {
    /// A renderer that asks `local_time` for the date.
    pub fn new(local_time: fn(i64) -> LocalTime) -> Renderer {
        Renderer { local_time, second: None, date: String::new() }
    }

    /// Makes `line` the whole line for `message`, with its end, and tells the second in which it
    /// was logged.
    pub fn render(&mut self, line: &mut String, head: &Head, message: &str) -> i64 {
        let second = i64::try_from(head.wall_us / 1_000_000).unwrap_or(i64::MAX);
        if self.second != Some(second) {
            let time = (self.local_time)(second);
            self.date.clear();
            let (year, month, day) = (time.year, time.month, time.day);
            let (hour, minute, second) = (time.hour, time.minute, time.second);
            // A String takes everything.
            let _ = write!(
                self.date,
                "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
            );
        }
        self.second = Some(second);
        let date = &self.date;
        let micros = head.wall_us % 1_000_000;
        let level = head.level.letter();
        let file = head.file.rsplit('/').next().unwrap_or_default();
        line.clear();
        let _ = write!(line, "{date}.{micros:06} {level} {file}:{} {message}", head.line);
        line.truncate(line.floor_char_boundary(LINE_MAX));
        line.push('\n');
        second
    }
}
