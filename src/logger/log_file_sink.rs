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
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};

use super::Rotation;
use crate::sys::clock::LocalTime;

/// As many bytes are collected before they are written.
const COLLECTED_MAX: usize = 16 * 1024;

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
    /// The last second for which the slot was reckoned.
    checked_s: Option<i64>,
    /// The last second in which a new file was asked for in vain.
    refused_s: Option<i64>,
    /// Lines that are not yet written.
    collected: Vec<u8>,
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
        Ok(LogFileSink::new(file, PathBuf::from("(standard output)"), local_time))
    }

    /// Writes to the end of this file; with rotation, to the one that it is to link to.
    pub fn open(
        path: &Path,
        rotation: Rotation,
        local_time: fn(i64) -> LocalTime,
        now_s: i64,
    ) -> io::Result<LogFileSink> {
        let slot_s = rotation.slot_begin(now_s, local_time);
        let begun_s = if rotation.size > 0 { now_s } else { slot_s };
        let current = rotation.file_name(path, local_time(begun_s));
        let file = open_current(path, &current)?;
        let bytes = file.metadata()?.len();
        let path = Some(path.to_owned());
        Ok(LogFileSink {
            path,
            rotation,
            bytes,
            slot_s,
            ..LogFileSink::new(file, current, local_time)
        })
    }

    fn new(file: File, current: PathBuf, local_time: fn(i64) -> LocalTime) -> LogFileSink {
        LogFileSink {
            path: None,
            rotation: Rotation::default(),
            local_time,
            file,
            current,
            bytes: 0,
            slot_s: 0,
            checked_s: None,
            refused_s: None,
            collected: Vec::new(),
            torn: false,
            failing: false,
        }
    }

    /// Takes one line that was logged in that second, and begins a new file for it if it is time.
    /// Tells how many lines were lost.
    pub fn write(&mut self, now_s: i64, line: &[u8]) -> u64 {
        let mut lost = if self.rotation.is_on() { self.rotate(now_s) } else { 0 };
        if self.collected.len() + line.len() > COLLECTED_MAX {
            lost += self.flush();
        }
        self.collected.extend_from_slice(line);
        self.bytes += line.len() as u64;
        lost
    }

    /// Writes what is collected. Tells how many lines were lost.
    pub fn flush(&mut self) -> u64 {
        if self.collected.is_empty() {
            return 0;
        }
        let (written, result) = write_all(&mut self.file, &self.collected, self.torn);
        let (in_file, lost) = self.collected.split_at(written);
        if let Some(&last) = in_file.last() {
            self.torn = last != b'\n';
        }
        self.bytes = self.bytes.saturating_sub(lost.len() as u64);
        let lost = lost.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.collected.clear();
        let was_failing = mem::replace(&mut self.failing, result.is_err());
        if let (Err(error), false) = (result, was_failing) {
            complain(format_args!("write log file {} fail {error}", self.current.display()));
        }
        lost
    }

    /// Opens the file by its name again, for it may have been moved away. Tells how many lines
    /// were lost.
    pub fn reopen(&mut self) -> u64 {
        let lost = self.flush();
        if let Some(path) = self.path.clone() {
            self.change_file(&path, self.current.clone());
        }
        lost
    }

    /// Begins a new file if this second, or the size, asks for one.
    fn rotate(&mut self, now_s: i64) -> u64 {
        let Some(path) = &self.path else { return 0 };
        let mut slot_s = self.slot_s;
        if self.rotation.period_s > 0 && self.checked_s.replace(now_s) != Some(now_s) {
            // Only forward: a clock that was set back does not bring back old files.
            slot_s = slot_s.max(self.rotation.slot_begin(now_s, self.local_time));
        }
        let full = self.rotation.size > 0 && self.bytes >= self.rotation.size;
        if (!full && slot_s == self.slot_s) || self.refused_s == Some(now_s) {
            return 0;
        }
        let begun_s = if full { now_s } else { slot_s };
        let current = self.rotation.file_name(path, (self.local_time)(begun_s));
        // Within one second there is no other name, and the file just grows a little more.
        let (path, same) = (path.clone(), current == self.current);
        let lost = self.flush();
        if same || !self.change_file(&path, current) {
            self.refused_s = Some(now_s);
        } else {
            self.slot_s = slot_s;
        }
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

/// Writes as much as it can; tells how much of `bytes` that was. After a torn line, an end comes
/// first, so that the next one is whole.
fn write_all(file: &mut File, bytes: &[u8], torn: bool) -> (usize, io::Result<()>) {
    if torn && let Err(error) = file.write_all(b"\n") {
        return (0, Err(error));
    }
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Opens the file in use, and makes the configured path a link to it if it is another.
fn open_current(path: &Path, current: &Path) -> io::Result<File> {
    // A pipe is opened for both ends: otherwise that would wait until somebody reads it.
    let is_pipe = fs::metadata(current).is_ok_and(|metadata| metadata.file_type().is_fifo());
    let open = || OpenOptions::new().read(is_pipe).append(true).create(true).open(current);
    if path == current {
        return open();
    }
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) && !current.exists() {
        // A log from before there was rotation becomes the beginning of the first file. If that
        // fails, the link fails as well.
        let _ = fs::rename(path, current);
    }
    let file = open()?;
    if link(path, Path::new(current.file_name().unwrap_or_default())).is_err() {
        complain(format_args!("create symbol link for {} fail", path.display()));
    }
    Ok(file)
}

/// Makes `path` a link to `target`, unless it is one; replaces other links, but nothing else.
fn link(path: &Path, target: &Path) -> io::Result<()> {
    if let Ok(old) = fs::read_link(path) {
        if old == target {
            return Ok(());
        }
        fs::remove_file(path)?;
    }
    symlink(target, path)
}

/// Tells the operator what cannot be told in the log.
fn complain(what: fmt::Arguments<'_>) {
    // If standard error is gone as well, nobody listens.
    let _ = writeln!(io::stderr(), "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logger::testing::{Folder, utc};

    /// 2026-11-22 10:16:44
    const NOW_S: i64 = 1_795_342_604;

    fn open(path: &Path, period_s: u32, size: u64) -> LogFileSink {
        LogFileSink::open(path, Rotation { period_s, size }, utc, NOW_S).unwrap()
    }

    fn write(sink: &mut LogFileSink, now_s: i64, line: &str) {
        assert_eq!(sink.write(now_s, line.as_bytes()), 0);
        assert_eq!(sink.flush(), 0);
    }

    #[test]
    fn without_rotation_lines_are_added_to_the_file() {
        let folder = Folder::new();
        let path = folder.file("p.log", "before\n");
        write(&mut open(&path, 0, 0), NOW_S, "one\n");
        write(&mut open(&path, 0, 0), NOW_S + 90_000, "two\n");
        folder.check(&[("p.log", "before\none\ntwo\n")]);
    }

    #[test]
    fn a_new_slot_begins_a_new_file_and_moves_the_link() {
        let folder = Folder::new();
        let mut sink = open(&folder.path("p.log"), 3600, 0);
        write(&mut sink, NOW_S, "one\n");
        folder.check(&[("p.2026112210.log", "one\n"), ("p.log", "-> p.2026112210.log")]);
        // 10:59:59 and 11:00:00
        write(&mut sink, NOW_S + 2595, "two\n");
        write(&mut sink, NOW_S + 2596, "three\n");
        write(&mut sink, NOW_S + 2597, "four\n");
        folder.check(&[
            ("p.2026112210.log", "one\ntwo\n"),
            ("p.2026112211.log", "three\nfour\n"),
            ("p.log", "-> p.2026112211.log"),
        ]);
    }

    #[test]
    fn a_clock_that_is_set_back_brings_back_no_old_file() {
        let folder = Folder::new();
        let mut sink = open(&folder.path("p.log"), 3600, 0);
        write(&mut sink, NOW_S - 3600, "one\n");
        folder.check(&[("p.2026112210.log", "one\n"), ("p.log", "-> p.2026112210.log")]);
    }

    #[test]
    fn midnight_begins_a_slot_even_when_the_period_does_not_divide_the_day() {
        let folder = Folder::new();
        let mut sink = open(&folder.path("p.log"), 7 * 3600, 0);
        // 21:00:00 and 00:00:00
        write(&mut sink, NOW_S + 38_596, "one\n");
        write(&mut sink, NOW_S + 49_396, "two\n");
        let link = ("p.log", "-> p.2026112300.log");
        folder.check(&[
            ("p.2026112207.log", ""),
            ("p.2026112221.log", "one\n"),
            ("p.2026112300.log", "two\n"),
            link,
        ]);
    }

    #[test]
    fn a_full_file_is_followed_by_the_next() {
        let folder = Folder::new();
        let mut sink = open(&folder.path("p.log"), 0, 8);
        write(&mut sink, NOW_S, "1234567\n");
        // In the same second there is no other name.
        write(&mut sink, NOW_S, "more\n");
        write(&mut sink, NOW_S + 1, "next\n");
        write(&mut sink, NOW_S + 2, "fits\n");
        write(&mut sink, NOW_S + 3, "new\n");
        folder.check(&[
            ("p.20261122101644.log", "1234567\nmore\n"),
            ("p.20261122101645.log", "next\nfits\n"),
            ("p.20261122101647.log", "new\n"),
            ("p.log", "-> p.20261122101647.log"),
        ]);
    }

    #[test]
    fn what_is_collected_counts_for_the_size() {
        let folder = Folder::new();
        let mut sink = open(&folder.path("p.log"), 0, 8);
        sink.write(NOW_S, b"1234567\n");
        sink.write(NOW_S + 1, b"next\n");
        sink.flush();
        folder.check(&[
            ("p.20261122101644.log", "1234567\n"),
            ("p.20261122101645.log", "next\n"),
            ("p.log", "-> p.20261122101645.log"),
        ]);
    }

    #[test]
    fn d26_a_size_of_4_gib_is_a_size() {
        let folder = Folder::new();
        let mut sink = open(&folder.path("p.log"), 0, 4 << 30);
        sink.bytes = (4 << 30) - 1;
        write(&mut sink, NOW_S + 1, "x");
        write(&mut sink, NOW_S + 2, "y");
        let link = ("p.log", "-> p.20261122101646.log");
        folder.check(&[("p.20261122101644.log", "x"), ("p.20261122101646.log", "y"), link]);
    }

    #[test]
    fn a_size_continues_where_the_last_run_ended() {
        let folder = Folder::new();
        folder.file("p.20261122101644.log", "1234567\n");
        write(&mut open(&folder.path("p.log"), 0, 8), NOW_S + 1, "new\n");
        let link = ("p.log", "-> p.20261122101645.log");
        folder.check(&[
            ("p.20261122101644.log", "1234567\n"),
            ("p.20261122101645.log", "new\n"),
            link,
        ]);
    }

    #[test]
    fn a_log_from_before_rotation_is_not_lost() {
        let folder = Folder::new();
        let path = folder.file("p.log", "before\n");
        write(&mut open(&path, 86_400, 0), NOW_S, "one\n");
        folder.check(&[("p.20261122.log", "before\none\n"), ("p.log", "-> p.20261122.log")]);
    }

    #[test]
    fn a_file_in_the_place_of_the_link_is_not_destroyed() {
        let folder = Folder::new();
        let path = folder.file("p.log", "precious\n");
        folder.file("p.20261122.log", "before\n");
        write(&mut open(&path, 86_400, 0), NOW_S, "one\n");
        folder.check(&[("p.20261122.log", "before\none\n"), ("p.log", "precious\n")]);
    }

    #[test]
    fn reopening_makes_the_file_again_after_it_was_moved() {
        for period_s in [0, 86_400] {
            let folder = Folder::new();
            let mut sink = open(&folder.path("p.log"), period_s, 0);
            write(&mut sink, NOW_S, "one\n");
            fs::rename(&sink.current, folder.path("moved")).unwrap();
            write(&mut sink, NOW_S, "two\n");
            sink.reopen();
            write(&mut sink, NOW_S, "three\n");
            assert_eq!(fs::read_to_string(folder.path("moved")).unwrap(), "one\ntwo\n");
            assert_eq!(fs::read_to_string(folder.path("p.log")).unwrap(), "three\n");
        }
    }

    #[test]
    fn a_file_that_cannot_be_made_leaves_the_old_one_in_use() {
        let folder = Folder::new();
        let mut sink = open(&folder.path("p.log"), 3600, 0);
        fs::create_dir(folder.path("p.2026112211.log")).unwrap();
        write(&mut sink, NOW_S + 3600, "one\n");
        fs::remove_dir(folder.path("p.2026112211.log")).unwrap();
        write(&mut sink, NOW_S + 3600, "two\n");
        write(&mut sink, NOW_S + 3601, "three\n");
        let link = ("p.log", "-> p.2026112211.log");
        folder.check(&[("p.2026112210.log", "one\ntwo\n"), ("p.2026112211.log", "three\n"), link]);
    }

    #[test]
    fn a_file_that_cannot_be_opened_at_all_is_an_error() {
        let folder = Folder::new();
        let opened = LogFileSink::open(&folder.path("none/p.log"), Rotation::default(), utc, NOW_S);
        assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_costs_lines_and_says_how_many() {
        let mut sink = open(Path::new("/dev/full"), 0, 0);
        assert_eq!(sink.write(NOW_S, b"one\n") + sink.write(NOW_S, b"two\n"), 0);
        assert_eq!(sink.flush(), 2);
        assert!(sink.failing);
        assert_eq!(sink.flush(), 0);
    }

    #[test]
    fn a_line_after_a_torn_one_is_whole() {
        let folder = Folder::new();
        let mut sink = open(&folder.path("p.log"), 0, 0);
        write(&mut sink, NOW_S, "one\ntw");
        assert!(sink.torn);
        write(&mut sink, NOW_S, "three\n");
        write(&mut sink, NOW_S, "four\n");
        folder.check(&[("p.log", "one\ntw\nthree\nfour\n")]);
    }
}
