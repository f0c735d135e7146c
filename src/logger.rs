//! Levels, sampling, and one line per event.
//!
//! A thread logs through its own `Log` with the macros `log_verb!` to `log_error!`. When a level
//! is off, that is a load and a branch, and nothing is formed. Lines are written by a thread of
//! their own, so that a slow disk slows nobody down: lines that find no room are dropped and
//! counted, unless the operator has asked that they be waited for.
//!
//! What reaches the log from clients and servers is escaped, so that one event is one line.
//! Secrets are not escaped but left out, by whoever writes the message.

mod line;
mod log_file_sink;
mod platform;
mod queue;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use line::Shown;
use line::{Head, Renderer};
use log_file_sink::LogFileSink;
pub use log_file_sink::Rotation;
use queue::{Batch, LogQueue, Order};

/// How long closing waits for a disk or a pipe that does not take the last lines.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// As many lines are remembered when they are not written.
const REMEMBERED_MAX: usize = 4096;

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Verb,
    /// For whoever looks for a fault in the proxy.
    Debug,
    /// What ordinarily happens: the access log.
    Info,
    /// What an operator would like to know.
    Notice,
    /// What went wrong for one client or one server.
    Warn,
    /// What went wrong for the proxy.
    Error,
}

impl Level {
    /// All levels, by rising gravity.
    pub const ALL: [Level; 6] =
        [Level::Verb, Level::Debug, Level::Info, Level::Notice, Level::Warn, Level::Error];

    /// As lines show it.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Level::Verb => 'V',
            Level::Debug => 'D',
            Level::Info => 'I',
            Level::Notice => 'N',
            Level::Warn => 'W',
            Level::Error => 'E',
        }
    }
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To standard output.
    Stdout,
    /// To the end of a file.
    File {
        /// Where it is, or with rotation, the link to it.
        path: PathBuf,
        /// When to begin a new one.
        rotation: Rotation,
    },
    /// Into memory, at once and without a thread, for tests to read; the oldest are forgotten.
    Memory,
    /// Nowhere, without a thread.
    Nowhere,
}

/// What a logger is told at the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where lines go.
    pub target: Target,
    /// By level: each thread logs every so many-th line; none if it is not positive.
    pub samples: [i32; 6],
    /// Whether a line may be dropped instead of waiting for room.
    pub allow_miss_log: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { target: Target::Stdout, samples: [0, 0, 0, 1, 1, 1], allow_miss_log: true }
    }
}

/// The log of the process, shared by all threads.
#[derive(Debug)]
pub struct Logger {
    samples: [AtomicI32; 6],
    allow_miss_log: AtomicBool,
    outlet: Outlet,
}

#[derive(Debug)]
enum Outlet {
    /// To a thread that writes.
    Writer(Arc<LogQueue>),
    Memory(Mutex<Memory>),
    Nowhere,
}

#[derive(Debug)]
struct Memory {
    renderer: Renderer,
    lines: Vec<String>,
}

impl Logger {
    /// Opens the target, and starts the thread that writes to it if there is one.
    pub fn new(settings: &Settings) -> io::Result<Arc<Logger>> {
        let outlet = match &settings.target {
            Target::Memory => {
                let renderer = Renderer::new(platform::local_time);
                Outlet::Memory(Mutex::new(Memory { renderer, lines: Vec::new() }))
            }
            Target::Nowhere => Outlet::Nowhere,
            target => {
                let sink = open(target)?;
                let queue = Arc::new(LogQueue::default());
                let writers = Arc::clone(&queue);
                platform::spawn("logger", move || write_lines(&writers, sink))?;
                Outlet::Writer(queue)
            }
        };
        Ok(Arc::new(Logger {
            samples: settings.samples.map(AtomicI32::new),
            allow_miss_log: AtomicBool::new(settings.allow_miss_log),
            outlet,
        }))
    }

    /// A logger that is off.
    #[must_use]
    pub fn nowhere() -> Arc<Logger> {
        Arc::new(Logger {
            samples: [0; 6].map(AtomicI32::new),
            allow_miss_log: AtomicBool::new(true),
            outlet: Outlet::Nowhere,
        })
    }

    /// Lets each thread log every `sample`-th line of this level; none if it is not positive.
    pub fn set_sample(&self, level: Level, sample: i32) {
        self.samples[level as usize].store(sample, Relaxed);
    }

    /// Lets lines be dropped instead of waiting for room, or not.
    pub fn set_allow_miss_log(&self, allow: bool) {
        self.allow_miss_log.store(allow, Relaxed);
    }

    /// Writes to another target from now on. Nothing changes if it cannot be opened. A logger
    /// without a writing thread stays as it is.
    pub fn change_target(&self, target: &Target) -> io::Result<()> {
        if let Outlet::Writer(queue) = &self.outlet {
            queue.command(Order::Use(Box::new(open(target)?)));
        }
        Ok(())
    }

    /// Opens the file by its name again, for it may have been moved away.
    pub fn reopen(&self) {
        if let Outlet::Writer(queue) = &self.outlet {
            queue.command(Order::Reopen);
        }
    }

    /// Writes what is under way, and takes no more. Gives up on a target that takes nothing for
    /// two seconds; tells whether all is written.
    pub fn close(&self) -> bool {
        match &self.outlet {
            Outlet::Writer(queue) => queue.close(CLOSE_PATIENCE),
            Outlet::Memory(_) | Outlet::Nowhere => true,
        }
    }

    /// The sample of this level.
    #[must_use]
    pub fn sample(&self, level: Level) -> i32 {
        self.samples[level as usize].load(Relaxed)
    }

    /// Whether lines may be dropped instead of waiting for room.
    #[must_use]
    pub fn allow_miss_log(&self) -> bool {
        self.allow_miss_log.load(Relaxed)
    }

    /// Takes the lines that are remembered, for tests with `Target::Memory`.
    #[must_use]
    pub fn take_lines(&self) -> Vec<String> {
        match &self.outlet {
            Outlet::Memory(memory) => std::mem::take(&mut lock(memory).lines),
            Outlet::Writer(_) | Outlet::Nowhere => Vec::new(),
        }
    }

    /// Forms the message and hands it over; `scratch` is what that may use.
    fn log(&self, head: Head, scratch: &mut String, message: fmt::Arguments<'_>) {
        let may_miss = self.allow_miss_log();
        if let Outlet::Writer(queue) = &self.outlet {
            if may_miss && queue.drops() {
                return;
            }
        }
        scratch.clear();
        line::compose(scratch, message);
        match &self.outlet {
            Outlet::Writer(queue) if may_miss => queue.offer(head, scratch),
            Outlet::Writer(queue) => queue.put(head, scratch),
            Outlet::Memory(memory) => lock(memory).keep(&head, scratch),
            Outlet::Nowhere => {}
        }
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        self.close();
    }
}

impl Memory {
    fn keep(&mut self, head: &Head, message: &str) {
        if self.lines.len() == REMEMBERED_MAX {
            self.lines.drain(..REMEMBERED_MAX / 2);
        }
        let mut line = String::new();
        self.renderer.render(&mut line, head, message);
        line.pop();
        self.lines.push(line);
    }
}

/// One thread's way to the log: it counts for itself which lines are sampled.
pub struct Log {
    logger: Arc<Logger>,
    /// Lines of each level since the last one that was logged.
    skipped: [Cell<u32>; 6],
    scratch: Cell<String>,
}

impl Log {
    /// A thread's own handle.
    #[must_use]
    pub fn new(logger: Arc<Logger>) -> Log {
        Log { logger, skipped: [const { Cell::new(0) }; 6], scratch: Cell::default() }
    }

    /// The log of the process.
    #[must_use]
    pub fn logger(&self) -> &Arc<Logger> {
        &self.logger
    }

    /// Whether the next line of this level is to be written; the macros ask before they form it.
    #[inline]
    #[must_use]
    pub fn wants(&self, level: Level) -> bool {
        let sample = self.logger.sample(level);
        sample > 0 && self.is_turn(level, sample)
    }

    /// Writes a line; for the macros.
    #[cold]
    pub fn write(&self, level: Level, file: &'static str, line: u32, message: fmt::Arguments<'_>) {
        let head = Head { wall_us: platform::wall_us(), level, file, line };
        // Whoever logs while a message is formed finds no scratch, and makes do with a new one.
        let mut scratch = self.scratch.take();
        self.logger.log(head, &mut scratch, message);
        self.scratch.set(scratch);
    }

    fn is_turn(&self, level: Level, sample: i32) -> bool {
        let skipped = &self.skipped[level as usize];
        let count = skipped.get().saturating_add(1);
        let turn = count >= sample.unsigned_abs();
        skipped.set(if turn { 0 } else { count });
        turn
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Log").field("logger", &self.logger).finish_non_exhaustive()
    }
}

/// Logs a line of a level; `log_verb!` to `log_error!` name the level.
#[macro_export]
macro_rules! log_at {
    ($log:expr, $level:expr, $($message:tt)+) => {{
        let log: &$crate::logger::Log = &$log;
        if log.wants($level) {
            log.write($level, ::core::file!(), ::core::line!(), ::core::format_args!($($message)+));
        }
    }};
}

/// Logs every step.
#[macro_export]
macro_rules! log_verb {
    ($log:expr, $($message:tt)+) => { $crate::log_at!($log, $crate::logger::Level::Verb, $($message)+) };
}

/// Logs what helps to find a fault.
#[macro_export]
macro_rules! log_debug {
    ($log:expr, $($message:tt)+) => { $crate::log_at!($log, $crate::logger::Level::Debug, $($message)+) };
}

/// Logs what ordinarily happens.
#[macro_export]
macro_rules! log_info {
    ($log:expr, $($message:tt)+) => { $crate::log_at!($log, $crate::logger::Level::Info, $($message)+) };
}

/// Logs what an operator would like to know.
#[macro_export]
macro_rules! log_notice {
    ($log:expr, $($message:tt)+) => { $crate::log_at!($log, $crate::logger::Level::Notice, $($message)+) };
}

/// Logs what went wrong for one client or one server.
#[macro_export]
macro_rules! log_warn {
    ($log:expr, $($message:tt)+) => { $crate::log_at!($log, $crate::logger::Level::Warn, $($message)+) };
}

/// Logs what went wrong for the proxy.
#[macro_export]
macro_rules! log_error {
    ($log:expr, $($message:tt)+) => { $crate::log_at!($log, $crate::logger::Level::Error, $($message)+) };
}

pub use crate::{log_debug, log_error, log_info, log_notice, log_verb, log_warn};

/// Opens what a writing thread writes to.
fn open(target: &Target) -> io::Result<LogFileSink> {
    match target {
        Target::File { path, rotation } => {
            let now_s = i64::try_from(platform::wall_us() / 1_000_000).unwrap_or(i64::MAX);
            LogFileSink::open(path, *rotation, platform::local_time, now_s)
        }
        Target::Stdout | Target::Memory | Target::Nowhere => {
            LogFileSink::stdout(platform::local_time)
        }
    }
}

/// The thread that writes.
fn write_lines(queue: &LogQueue, mut sink: LogFileSink) {
    let mut renderer = Renderer::new(platform::local_time);
    let mut batch = Batch::default();
    let mut line = String::new();
    // Lines that were dropped, and lines that the target did not take: told with the next that
    // it may take.
    let mut lost = 0;
    loop {
        let work = queue.take(&mut batch);
        match work.order {
            Some(Order::Reopen) => lost += sink.reopen(),
            Some(Order::Use(other)) => sink = *other,
            None => {}
        }
        for (head, message) in batch.lines() {
            let second = renderer.render(&mut line, head, message);
            lost += sink.write(second, line.as_bytes());
        }
        lost += work.missed;
        if lost > 0 {
            let (level, file) = (Level::Notice, file!());
            let head = Head { wall_us: platform::wall_us(), level, file, line: line!() };
            let second = renderer.render(&mut line, &head, &format!("MissLog count {lost}"));
            let also_lost = sink.write(second, line.as_bytes());
            let unwritten = sink.flush();
            lost = if unwritten > 0 { lost + also_lost + unwritten - 1 } else { also_lost };
        } else {
            lost += sink.flush();
        }
        if work.last {
            return queue.finish();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
