//! What is wrong with a configuration, and where.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// One mistake in a configuration file or on the command line.
#[derive(Clone, Debug)]
pub struct ConfError {
    at: Option<Place>,
    message: String,
    raised: &'static Location<'static>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path as the including file and the command line spell it, made absolute.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u32,
}

impl ConfError {
    /// A mistake at a line, or of the whole. Remembers which line of our source found it.
    #[track_caller]
    #[must_use]
    pub fn new(at: Option<Place>, message: impl Into<String>) -> ConfError {
        ConfError { at, message: message.into(), raised: Location::caller() }
    }

    /// The line that predixy prints when it cannot start.
    #[must_use]
    pub fn running_exception(&self) -> String {
        let path = self.raised.file();
        let file = path.rsplit('/').next().unwrap_or(path);
        format!("predixy running exception:{file}:{} {self}", self.raised.line())
    }

    /// Where the mistake is; `None` when it is of no single line, or the message says it.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.at.as_ref()
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(at) => write!(f, "{at} {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for ConfError {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What one look at a configuration found.
#[derive(Debug, Default)]
pub struct Report {
    /// Why it cannot be used.
    pub errors: Vec<ConfError>,
    /// What is probably not meant.
    pub warnings: Vec<String>,
}

impl Report {
    /// Adds a mistake.
    #[track_caller]
    pub fn error(&mut self, at: Option<&Place>, message: impl Into<String>) {
        self.push(ConfError::new(at.cloned(), message));
    }

    /// Adds a mistake that has been put into words already.
    pub fn push(&mut self, error: ConfError) {
        if self.errors.len() < REPORTED_MAX {
            self.errors.push(error);
        }
    }

    /// Adds what is accepted but probably not meant.
    pub fn warn(&mut self, at: &Place, message: impl fmt::Display) {
        if self.warnings.len() < REPORTED_MAX {
            self.warnings.push(format!("{at} {message}"));
        }
    }
}

/// A file that is no configuration at all has a mistake in every line; nobody reads them all.
const REPORTED_MAX: usize = 1_000;
