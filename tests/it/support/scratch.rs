//! A folder of its own for everything that is started; gone when its owner is.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

use super::process;

/// A temporary folder, removed on drop.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes a new, empty folder with `what` in its name.
    pub fn new(what: &str) -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        drop(process::keeper());
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = root().join(format!("{what}-{number}"));
        fs::create_dir_all(&path).expect("a temporary folder");
        Scratch { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it and tells its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, text).expect("a file in the temporary folder");
        path
    }

    /// Reads a file of it; one that is not there yet is empty.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path.join(name)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The folder that holds all folders of this run; the keeper of `process.rs` removes it in the end.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = env::temp_dir().join(format!("predixy-it-{}", std::process::id()));
        fs::create_dir_all(&root).expect("a temporary folder");
        root
    })
}
