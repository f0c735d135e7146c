//! What the tests of the logger share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::sys::clock::LocalTime;

/// The time in Greenwich, wherever the test runs.
pub fn utc(wall_s: i64) -> LocalTime {
    let part = |number: i64| u32::try_from(number).unwrap();
    let (days, second) = (wall_s.div_euclid(86_400), wall_s.rem_euclid(86_400));
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let (mut year, mut day) = (1970, days);
    while day >= 365 + i64::from(leap(year)) {
        day -= 365 + i64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    LocalTime {
        year: i32::try_from(year).unwrap(),
        month: u32::try_from(month + 1).unwrap(),
        day: part(day + 1),
        hour: part(second / 3600),
        minute: part(second / 60 % 60),
        second: part(second % 60),
    }
}

/// A folder that is gone with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let path =
            std::env::temp_dir().join(format!("predixy-log-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// These files and no others, by name, with what they contain or link to.
    #[track_caller]
    pub fn check(&self, want: &[(&str, &str)]) {
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let have: Vec<(&str, String)> =
            names.iter().map(|name| (name.as_str(), content(&self.path(name)))).collect();
        let have: Vec<(&str, &str)> =
            have.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(have, want);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn content(path: &Path) -> String {
    match fs::read_link(path) {
        Ok(target) => format!("-> {}", target.display()),
        Err(_) => fs::read_to_string(path).unwrap(),
    }
}
