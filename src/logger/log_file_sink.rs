//! Where lines end up: standard output, or a file that may be rotated by time and by size.
//!
//! With rotation the configured path is a symbolic link to the file in use, which has the time
//! in its name. Whatever goes wrong here is told on standard error, once, and costs lines, but
//! nothing else: a full disk must not stop the proxy. There is no timer: files change when
//! something is written.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::platform::LocalTime;

/// As many bytes are collected before they are written.
const COLLECTED_MAX: usize = 16 * 1024;

const HOUR_S: u32 = 3600;
const DAY_S: u32 = 24 * HOUR_S;

/// When to begin a new file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// So often, counted from local midnight; 0 is never.
    pub period_s: u32,
    /// When the file is as large as this; 0 is never.
    pub bytes: u64,
}

impl Rotation {
    /// Reads `LogRotate`: `1d`, up to `24h` or `1440m`, and a size in `G` or `M`, between blanks.
    /// Of two items of a kind the last holds. `None` if it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Rotation> {
        let mut rotation = Rotation::default();
        for item in text.split_ascii_whitespace() {
            let digits = item.trim_end_matches(|c: char| !c.is_ascii_digit());
            let number: u32 =
                digits.parse().ok().filter(|&number| number > 0 && number <= 0x7fff_ffff)?;
            match (item.get(digits.len()..)?, number) {
                ("d", 1) => rotation.period_s = DAY_S,
                ("h", 1..=24) => rotation.period_s = number * HOUR_S,
                ("m", 1..=1440) => rotation.period_s = number * 60,
                ("G", _) => rotation.bytes = u64::from(number) << 30,
                ("M", _) => rotation.bytes = u64::from(number) << 20,
                _ => return None,
            }
        }
        Some(rotation)
    }

    fn is_on(self) -> bool {
        self.period_s > 0 || self.bytes > 0
    }
}

/// Takes whole lines and writes them.
pub struct LogFileSink {
    /// As configured; `None` is standard output.
    path: Option<PathBuf>,
    rotation: Rotation,
    local_time: fn(i64) -> LocalTime,
    file: File,
    /// The file in use, by name.
    current: PathBuf,
    /// How large it is, with what is collected for it.
    bytes: u64,
    /// When the time slot of the current file began.
    slot_s: i64,
    /// When a new file was last asked for in vain; not to be tried again in that second.
    failed_s: Option<i64>,
    /// Lines that are not yet written, and how many.
    collected: Vec<u8>,
    lines: u64,
    /// The last write ended within a line.
    torn: bool,
    /// The last write failed, and this was told.
    failing: bool,
}

impl fmt::Debug for LogFileSink {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LogFileSink").field("path", &self.path).finish_non_exhaustive()
    }
}

impl LogFileSink {
    /// Writes to standard output.
    pub fn stdout(local_time: fn(i64) -> LocalTime) -> io::Result<LogFileSink> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(LogFileSink::new(None, Rotation::default(), local_time, file, PathBuf::from("stdout")))
    }

    /// Writes to the end of this file, or with rotation, to the one that it links to.
    pub fn open(
        path: &Path,
        rotation: Rotation,
        local_time: fn(i64) -> LocalTime,
        now_s: i64,
    ) -> io::Result<LogFileSink> {
        let slot_s = slot_begin(now_s, rotation.period_s, local_time);
        let current =
            file_name(path, rotation, local_time(if rotation.bytes > 0 { now_s } else { slot_s }));
        let file = open_current(path, &current)?;
        let bytes = file.metadata()?.len();
        let sink = LogFileSink::new(Some(path.to_owned()), rotation, local_time, file, current);
        Ok(LogFileSink { bytes, slot_s, ..sink })
    }

    fn new(
        path: Option<PathBuf>,
        rotation: Rotation,
        local_time: fn(i64) -> LocalTime,
        file: File,
        current: PathBuf,
    ) -> LogFileSink {
        LogFileSink {
            path,
            rotation,
            local_time,
            file,
            current,
            bytes: 0,
            slot_s: 0,
            failed_s: None,
            collected: Vec::new(),
            lines: 0,
            torn: false,
            failing: false,
        }
    }

    /// Takes one line that was logged in that second, and begins a new file for it if it is time.
    /// Tells how many lines were lost.
    pub fn write(&mut self, now_s: i64, line: &[u8]) -> u64 {
        let mut lost = 0;
        if self.rotation.is_on() {
            lost += self.rotate(now_s);
        }
        self.collected.extend_from_slice(line);
        self.lines += 1;
        self.bytes += line.len() as u64;
        if self.collected.len() >= COLLECTED_MAX {
            lost += self.flush();
        }
        lost
    }

    /// Writes what is collected. Tells how many lines were lost.
    pub fn flush(&mut self) -> u64 {
        let lines = mem::take(&mut self.lines);
        if self.collected.is_empty() {
            return 0;
        }
        // What is left of a torn line gets an end, so that the next one is whole.
        let lead: &[u8] = if self.torn { b"\n" } else { b"" };
        let mut written = 0;
        let mut result = self.file.write_all(lead);
        while result.is_ok() && written < self.collected.len() {
            match self.file.write(&self.collected[written..]) {
                Ok(0) => result = Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => result = Err(error),
            }
        }
        let (in_file, not_in_file) = self.collected.split_at(written);
        if let Some(&last) = in_file.last() {
            self.torn = last != b'\n';
        }
        let lost = if result.is_ok() { 0 } else { line_ends(not_in_file).min(lines) };
        self.bytes -= (not_in_file.len() as u64).min(self.bytes);
        self.collected.clear();
        match result {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !mem::replace(&mut self.failing, true) {
                    complain(format_args!(
                        "write log file {} fail {error}",
                        self.current.display()
                    ));
                }
            }
        }
        lost
    }

    /// Opens the file by its name again, for it may have been moved away. Tells how many lines
    /// were lost.
    pub fn reopen(&mut self) -> u64 {
        let lost = self.flush();
        if let Some(path) = self.path.clone() {
            let current = self.current.clone();
            self.change_file(&path, current);
        }
        lost
    }

    /// Begins a new file if this second, or the size, asks for one.
    fn rotate(&mut self, now_s: i64) -> u64 {
        let Some(path) = self.path.clone() else { return 0 };
        let full = self.rotation.bytes > 0 && self.bytes >= self.rotation.bytes;
        let slot_s = match self.rotation.period_s {
            0 => self.slot_s,
            // Only forward: a clock that was set back does not bring back old files.
            _ if now_s < self.slot_s => self.slot_s,
            period_s => slot_begin(now_s, period_s, self.local_time),
        };
        if (!full && slot_s <= self.slot_s) || self.failed_s == Some(now_s) {
            return 0;
        }
        let current =
            file_name(&path, self.rotation, (self.local_time)(if full { now_s } else { slot_s }));
        let mut lost = 0;
        // Within one second there is no other name, so the file grows a little more.
        if current != self.current {
            lost = self.flush();
            if !self.change_file(&path, current) {
                self.failed_s = Some(now_s);
                return lost;
            }
        }
        self.slot_s = slot_s;
        lost
    }

    /// Goes on in the file `current`; stays with the old one if that fails.
    fn change_file(&mut self, path: &Path, current: PathBuf) -> bool {
        match open_current(path, &current) {
            Ok(file) => {
                self.bytes = file.metadata().map_or(0, |metadata| metadata.len());
                self.file = file;
                self.current = current;
                self.torn = false;
                true
            }
            Err(error) => {
                complain(format_args!("open log file {} fail {error}", current.display()));
                false
            }
        }
    }
}

/// Opens the file in use, and makes the configured path a link to it if it is another.
fn open_current(path: &Path, current: &Path) -> io::Result<File> {
    let linked = path != current;
    let plain = linked && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    // A log from before there was rotation: it becomes the beginning of the first file, as the
    // link would take its place.
    let kept = plain && (current.exists() || fs::rename(path, current).is_err());
    let file = OpenOptions::new().append(true).create(true).open(current)?;
    if linked {
        let target = Path::new(current.file_name().unwrap_or_default());
        let is_link = fs::read_link(path).is_ok_and(|old| old == target);
        if !is_link {
            if !kept {
                // If it is not there or not to be removed, then making the link tells.
                let _ = fs::remove_file(path);
            }
            if symlink(target, path).is_err() {
                complain(format_args!("create symbol link for {} fail", path.display()));
            }
        }
    }
    Ok(file)
}

/// The name of the file in use, which with rotation tells when it was begun.
fn file_name(path: &Path, rotation: Rotation, begun: LocalTime) -> PathBuf {
    if !rotation.is_on() {
        return path.to_owned();
    }
    let mut name = path.as_os_str().as_bytes().to_owned();
    if name.len() > 4 && name[name.len() - 4..].eq_ignore_ascii_case(b".log") {
        name.truncate(name.len() - 4);
    }
    let LocalTime { year, month, day, hour, minute, second } = begun;
    let mut time = format!("{year:04}{month:02}{day:02}");
    if rotation.bytes > 0 || rotation.period_s < DAY_S {
        time += &format!("{hour:02}");
    }
    if rotation.bytes > 0 || rotation.period_s < HOUR_S {
        time += &format!("{minute:02}");
    }
    if rotation.bytes > 0 {
        time += &format!("{second:02}");
    }
    name.extend_from_slice(format!(".{time}.log").as_bytes());
    PathBuf::from(std::ffi::OsString::from_vec(name))
}

/// When the time slot began in which this second lies: slots are counted from local midnight.
fn slot_begin(now_s: i64, period_s: u32, local_time: fn(i64) -> LocalTime) -> i64 {
    if period_s == 0 {
        return now_s;
    }
    let day_s = i64::from(DAY_S);
    let mut midnight_s = now_s - time_of_day(local_time(now_s));
    // When the clocks were changed since midnight, that missed it by as much.
    let off_s = time_of_day(local_time(midnight_s));
    midnight_s += if off_s > day_s / 2 { day_s - off_s } else { -off_s };
    let period_s = i64::from(period_s);
    midnight_s + (now_s - midnight_s) / period_s * period_s
}

fn time_of_day(time: LocalTime) -> i64 {
    i64::from(time.hour * HOUR_S + time.minute * 60 + time.second)
}

fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Tells the operator what cannot be told in the log.
fn complain(what: fmt::Arguments<'_>) {
    // If standard error is gone as well, nobody listens.
    let _ = writeln!(io::stderr(), "predixy: {what}");
}
