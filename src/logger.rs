//! Levels, sampling, and one line per event.
//!
//! A thread logs through its own `Log` with the macros `log_verb!` to `log_error!`. When a level
//! is off, that is a load and a branch, and nothing is formed. Lines are written by a thread of
//! their own, so that a slow disk slows nobody down: lines that find no room are dropped and
//! counted, unless the operator has asked that they be waited for.
//!
//! What reaches the log from clients and servers is escaped, so that one event is one line.
//! What comes again and again is counted, and not repeated. Secrets are not escaped but left out, by whoever writes the message.

mod line;
mod log_file_sink;
mod queue;
mod repeats;
mod rotation;
#[cfg(test)]
mod testing;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sys::{clock, thread};
use line::{Head, Renderer};
use log_file_sink::LogFileSink;
use queue::{Batch, LogQueue, Order};
use repeats::Repeats;

pub use crate::{log_debug, log_error, log_info, log_notice, log_verb, log_warn};
pub use line::Shown;
pub use rotation::Rotation;

/// How long closing waits for a disk or a pipe that does not take the last lines.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked whether a line that was repeated is to be told of.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

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

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As predixy writes it.
    #[default]
    Text,
    /// An object with `time`, `level`, `source` and `message`.
    Json,
}

/// What a logger is told at the beginning, and when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where lines go.
    pub target: Target,
    /// What a line looks like.
    pub format: Format,
    /// By level: each thread logs every so many-th line; none if it is not positive.
    pub samples: [i32; 6],
    /// Whether a line may be dropped instead of waiting for room.
    pub allow_miss_log: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            target: Target::Stdout,
            format: Format::Text,
            samples: [0, 0, 0, 1, 1, 1],
            allow_miss_log: true,
        }
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
    Writer {
        queue: Arc<LogQueue>,
        /// What that thread was last told.
        told: Mutex<(Target, Format)>,
    },
    Memory(Mutex<Memory>),
    Nowhere,
}

impl Outlet {
    fn memory(format: Format) -> Outlet {
        let renderer = Renderer::new(clock::local_time);
        Outlet::Memory(Mutex::new(Memory { renderer, format, lines: Vec::new() }))
    }
}

#[derive(Debug)]
struct Memory {
    renderer: Renderer,
    format: Format,
    lines: Vec<String>,
}

impl Logger {
    /// Opens the target, and starts the thread that writes to it if there is one.
    pub fn new(settings: &Settings) -> io::Result<Arc<Logger>> {
        let format = settings.format;
        let outlet = match &settings.target {
            Target::Memory => Outlet::memory(format),
            Target::Nowhere => Outlet::Nowhere,
            target => {
                let sink = open(target)?;
                let queue = Arc::new(LogQueue::default());
                queue.keep_all(!settings.allow_miss_log);
                let writers = Arc::clone(&queue);
                match thread::spawn("logger", move || Writer::new(sink, format).run(&writers)) {
                    Ok(_) => Outlet::Writer { queue, told: Mutex::new((target.clone(), format)) },
                    // A simulated world has no threads.
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                        Outlet::memory(format)
                    }
                    Err(error) => return Err(error),
                }
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
        if let Outlet::Writer { queue, .. } = &self.outlet {
            queue.keep_all(!allow);
        }
    }

    /// Follows other settings from now on, and opens the file again even if it is the same.
    /// Nothing changes if that is an error. Between writing and not writing it cannot change.
    pub fn change(&self, settings: &Settings) -> io::Result<()> {
        if let Outlet::Writer { queue, told } = &self.outlet {
            let mut told = lock(told);
            let new = (settings.target.clone(), settings.format);
            let sink = if new.0 == told.0 { None } else { Some(Box::new(open(&new.0)?)) };
            queue.command(Order { sink, format: new.1 });
            *told = new;
        }
        for (level, sample) in Level::ALL.into_iter().zip(settings.samples) {
            self.set_sample(level, sample);
        }
        self.set_allow_miss_log(settings.allow_miss_log);
        Ok(())
    }

    /// Writes lines in this form from now on.
    pub fn set_format(&self, format: Format) {
        if let Outlet::Writer { queue, told } = &self.outlet {
            let mut told = lock(told);
            if told.1 != format {
                told.1 = format;
                queue.command(Order { sink: None, format });
            }
        }
    }

    /// Opens the file by its name again, for it may have been moved away.
    pub fn reopen(&self) {
        if let Outlet::Writer { queue, told } = &self.outlet {
            queue.command(Order { sink: None, format: lock(told).1 });
        }
    }

    /// Writes what is under way, and takes no more. Gives up on a target that takes nothing for
    /// two seconds; tells whether all is written.
    pub fn close(&self) -> bool {
        match &self.outlet {
            Outlet::Writer { queue, .. } => queue.close(CLOSE_PATIENCE),
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
            Outlet::Memory(memory) => mem::take(&mut lock(memory).lines),
            Outlet::Writer { .. } | Outlet::Nowhere => Vec::new(),
        }
    }

    /// Forms the message and hands it over; `scratch` is what that may use. With `held`, lines stay
    /// there rather than that somebody else is waited for.
    fn log(
        &self,
        head: Head,
        scratch: &mut String,
        held: Option<&Held>,
        message: fmt::Arguments<'_>,
    ) {
        let may_miss = self.allow_miss_log();
        if let Outlet::Writer { queue, .. } = &self.outlet
            && may_miss
            && queue.drops()
        {
            return;
        }
        scratch.clear();
        line::compose(scratch, message);
        match &self.outlet {
            Outlet::Writer { queue, .. } => match held {
                Some(held) if may_miss => {
                    held.change(|held| queue.offer_or_hold(held, head, scratch));
                }
                None if may_miss => queue.offer(head, scratch),
                _ => queue.put(head, scratch),
            },
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
        self.renderer.render(&mut line, self.format, head, message);
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
    /// The thread may wait for another one that is just handing in a line.
    may_wait: bool,
    held: Held,
}

/// Lines of a thread that may not wait, and found another one handing in some.
#[derive(Default)]
struct Held {
    lines: Cell<Batch>,
    /// There are any; for a look that costs little.
    some: Cell<bool>,
}

impl Held {
    fn change(&self, change: impl FnOnce(&mut Batch)) {
        let mut lines = self.lines.take();
        change(&mut lines);
        self.some.set(lines.len() > 0);
        self.lines.set(lines);
    }
}

impl Log {
    /// A thread's own handle.
    #[must_use]
    pub fn new(logger: Arc<Logger>) -> Log {
        let (skipped, scratch) = ([const { Cell::new(0) }; 6], Cell::default());
        Log { logger, skipped, scratch, may_wait: true, held: Held::default() }
    }

    /// That of a thread that serves clients, which waits for nobody: while it [holds](Log::holds)
    /// lines, it has to [try to hand them in](Log::hand_in) before it sleeps for long.
    #[must_use]
    pub fn for_handler(logger: Arc<Logger>) -> Log {
        let mut log = Log::new(logger);
        log.may_wait = false;
        log
    }

    /// The log of the process.
    #[must_use]
    pub fn logger(&self) -> &Arc<Logger> {
        &self.logger
    }

    /// Whether the next line of this level is to be written; the macros ask before they form it.
    #[inline]
    #[must_use]
    #[cfg_attr(small, optimize(speed))]
    pub fn wants(&self, level: Level) -> bool {
        let sample = self.logger.sample(level);
        sample > 0 && self.is_turn(level, sample)
    }

    /// Whether a line is to be written among so many of this level. If not they need not ask one
    /// by one, and [`Log::skip`] counts them.
    #[inline]
    #[must_use]
    pub fn is_turn_within(&self, level: Level, lines: usize) -> bool {
        let sample = self.logger.sample(level);
        let skipped = self.skipped[level as usize].get();
        sample > 0 && lines >= sample.unsigned_abs().saturating_sub(skipped) as usize
    }

    /// So many lines of this level were not written.
    #[inline]
    pub fn skip(&self, level: Level, lines: u32) {
        let skipped = &self.skipped[level as usize];
        skipped.set(skipped.get().saturating_add(lines));
    }

    /// Writes a line; for the macros.
    #[cold]
    pub fn write(&self, level: Level, file: &'static str, line: u32, message: fmt::Arguments<'_>) {
        let head = Head { wall_us: clock::wall_us(), level, file, line };
        // Whoever logs while a message is formed finds no scratch, and makes do with a new one.
        let mut scratch = self.scratch.take();
        let held = if self.may_wait || !self.logger.allow_miss_log() {
            self.hand_over();
            None
        } else {
            Some(&self.held)
        };
        self.logger.log(head, &mut scratch, held, message);
        self.scratch.set(scratch);
    }

    /// Whether there are lines that could not be handed in without waiting.
    #[inline]
    #[must_use]
    pub fn holds(&self) -> bool {
        self.held.some.get()
    }

    /// Hands in the lines that are held, if that goes without waiting.
    #[cold]
    pub fn hand_in(&self) {
        if let Outlet::Writer { queue, .. } = &self.logger.outlet {
            self.held.change(|held| queue.try_take(held));
        }
    }

    /// Hands in the lines that are held, and waits if need be.
    fn hand_over(&self) {
        if self.holds()
            && let Outlet::Writer { queue, .. } = &self.logger.outlet
        {
            self.held.change(|held| queue.take_held(held));
        }
    }

    fn is_turn(&self, level: Level, sample: i32) -> bool {
        let skipped = &self.skipped[level as usize];
        let count = skipped.get().saturating_add(1);
        let turn = count >= sample.unsigned_abs();
        skipped.set(if turn { 0 } else { count });
        turn
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.hand_over();
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

/// Opens what a writing thread writes to.
fn open(target: &Target) -> io::Result<LogFileSink> {
    match target {
        Target::File { path, rotation } => {
            let now_s = i64::try_from(clock::wall_us() / 1_000_000).unwrap_or(i64::MAX);
            LogFileSink::open(path, *rotation, clock::local_time, now_s)
        }
        Target::Stdout | Target::Memory | Target::Nowhere => LogFileSink::stdout(clock::local_time),
    }
}

/// What the thread that writes owns.
struct Writer {
    sink: LogFileSink,
    format: Format,
    renderer: Renderer,
    line: String,
    repeats: Repeats,
    /// Lines that were dropped, or that the sink could not write: told with the next that it may
    /// be able to.
    missed: u64,
}

impl Writer {
    fn new(sink: LogFileSink, format: Format) -> Writer {
        let renderer = Renderer::new(clock::local_time);
        let (line, repeats) = (String::new(), Repeats::default());
        Writer { sink, format, renderer, line, repeats, missed: 0 }
    }

    fn run(mut self, queue: &LogQueue) {
        let mut batch = Batch::default();
        loop {
            let patience = self.repeats.has_more().then_some(LOOK_AGAIN);
            let work = queue.take(&mut batch, patience);
            if let Some(order) = work.order {
                self.follow(order);
            }
            let all = queue.keeps_all();
            for (head, message) in batch.lines() {
                if self.repeats.admits(head, message, all) {
                    self.write(head, message);
                }
            }
            for (head, message) in self.repeats.take_due(clock::wall_us(), all, work.last) {
                self.write(&head, &message);
            }
            self.missed += work.missed + self.sink.flush();
            self.tell_missed();
            if work.last {
                return queue.finish();
            }
        }
    }

    fn follow(&mut self, order: Order) {
        match order.sink {
            Some(sink) => self.sink = *sink,
            None => self.missed += self.sink.reopen(),
        }
        self.format = order.format;
    }

    fn write(&mut self, head: &Head, message: &str) {
        let second = self.renderer.render(&mut self.line, self.format, head, message);
        self.missed += self.sink.write(second, self.line.as_bytes());
    }

    /// Tells how many lines are missing. If that cannot be written either, there are that many
    /// more to tell of.
    fn tell_missed(&mut self) {
        let missed = mem::take(&mut self.missed);
        if missed > 0 {
            let (level, file) = (Level::Notice, file!());
            let head = Head { wall_us: clock::wall_us(), level, file, line: line!() };
            self.write(&head, &format!("MissLog count {missed}"));
            if self.sink.flush() > 0 {
                self.missed += missed;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::testing::Folder;
    use super::*;
    use std::fs;
    #[cfg(not(feature = "sim"))]
    use std::time::Instant;

    fn remembering() -> Log {
        let settings = Settings { target: Target::Memory, ..Settings::default() };
        Log::new(Logger::new(&settings).unwrap())
    }

    fn file(folder: &Folder, name: &str) -> Settings {
        let target = Target::File { path: folder.path(name), rotation: Rotation::default() };
        Settings { target, ..Settings::default() }
    }

    /// What remains of the lines that were logged when date and place are taken away.
    fn messages(lines: &str) -> Vec<String> {
        let after_place = |line: &str| line.splitn(5, ' ').nth(4).map(str::to_owned);
        lines
            .lines()
            .map(|line| after_place(line).unwrap_or_else(|| panic!("no line: {line}")))
            .collect()
    }

    fn remembered(log: &Log) -> Vec<String> {
        messages(&log.logger().take_lines().join("\n"))
    }

    #[cfg(not(feature = "sim"))]
    #[track_caller]
    fn until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "it never came true");
            std::thread::yield_now();
        }
    }

    #[test]
    fn levels_have_predixys_defaults() {
        let log = remembering();
        log_verb!(log, "verb");
        log_debug!(log, "debug");
        log_info!(log, "info");
        log_notice!(log, "notice");
        log_warn!(log, "warn");
        log_error!(log, "error");
        assert_eq!(remembered(&log), ["notice", "warn", "error"]);
    }

    #[test]
    fn levels_have_predixys_letters() {
        let log = remembering();
        Level::ALL.into_iter().for_each(|level| log.logger().set_sample(level, 1));
        log_verb!(log, "");
        log_debug!(log, "");
        log_info!(log, "");
        log_notice!(log, "");
        log_warn!(log, "");
        log_error!(log, "");
        let lines = log.logger().take_lines();
        let letters: String = lines.iter().map(|line| &line[27..28]).collect();
        assert_eq!(letters, "VDINWE");
    }

    #[test]
    fn a_line_names_its_place() {
        let log = remembering();
        log_notice!(log, "a {} line", 1);
        let want = format!(" N logger.rs:{} a 1 line", line!() - 1);
        let lines = log.logger().take_lines();
        assert_eq!(&lines[0][26..], want);
    }

    #[test]
    fn what_is_off_is_not_formed() {
        struct Untouchable;
        impl fmt::Display for Untouchable {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("it was formed");
            }
        }
        let log = remembering();
        log_info!(log, "{Untouchable}");
        assert!(log.logger().take_lines().is_empty());
    }

    #[test]
    fn each_thread_logs_every_nth_line_of_a_level() {
        let log = remembering();
        log.logger().set_sample(Level::Info, 3);
        let other = Log::new(Arc::clone(log.logger()));
        for number in 1..=7 {
            log_info!(log, "{number}");
            log_warn!(&log, "always");
            log_info!(other, "other {number}");
        }
        let lines: Vec<String> =
            remembered(&log).into_iter().filter(|line| line != "always").collect();
        assert_eq!(lines, ["3", "other 3", "6", "other 6"]);
    }

    #[test]
    fn a_sample_can_change_while_lines_are_skipped() {
        let log = remembering();
        log.logger().set_sample(Level::Verb, 1000);
        for _ in 0..500 {
            log_verb!(log, "not yet");
        }
        log.logger().set_sample(Level::Verb, 10);
        log_verb!(log, "now");
        log.logger().set_sample(Level::Verb, -1);
        log_verb!(log, "never");
        assert_eq!(remembered(&log), ["now"]);
    }

    #[test]
    fn a_message_may_log_while_it_is_formed() {
        struct Talkative<'a>(&'a Log);
        impl fmt::Display for Talkative<'_> {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                log_notice!(self.0, "inner");
                out.write_str("outer")
            }
        }
        let log = remembering();
        log_notice!(log, "before {} after", Talkative(&log));
        assert_eq!(remembered(&log), ["inner", "before outer after"]);
    }

    #[test]
    #[cfg(feature = "sim")]
    fn a_world_without_threads_remembers_lines() {
        let log = Log::new(Logger::new(&Settings::default()).unwrap());
        log_notice!(log, "one");
        assert_eq!(remembered(&log), ["one"]);
    }

    #[test]
    fn memory_remembers_the_newest() {
        let log = remembering();
        for number in 0..10_000 {
            log_notice!(log, "{number}");
        }
        let lines = remembered(&log);
        assert!((REMEMBERED_MAX / 2..=REMEMBERED_MAX).contains(&lines.len()));
        let newest: Vec<String> =
            (10_000 - lines.len()..10_000).map(|number| number.to_string()).collect();
        assert_eq!(lines, newest);
    }

    #[test]
    #[cfg(not(feature = "sim"))]
    fn all_lines_are_written_when_the_logger_is_closed() {
        let folder = Folder::new();
        let settings = Settings { allow_miss_log: false, ..file(&folder, "p.log") };
        let logger = Logger::new(&settings).unwrap();
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let log = Log::new(Arc::clone(&logger));
                std::thread::spawn(move || {
                    (0..3000).for_each(|line| log_notice!(log, "{thread} {line}"))
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(logger.close());
        let lines = messages(&fs::read_to_string(folder.path("p.log")).unwrap());
        for thread in ["0 ", "1 "] {
            let numbers: Vec<usize> =
                lines.iter().filter_map(|line| line.strip_prefix(thread)?.parse().ok()).collect();
            assert_eq!(numbers, (0..3000).collect::<Vec<usize>>());
        }
        log_notice!(Log::new(logger), "too late");
        assert_eq!(messages(&fs::read_to_string(folder.path("p.log")).unwrap()).len(), 6000);
    }

    #[test]
    #[cfg(not(feature = "sim"))]
    fn who_must_not_wait_loses_no_line_to_somebody_who_is_handing_in_one() {
        let folder = Folder::new();
        let logger = Logger::new(&file(&folder, "p.log")).unwrap();
        let Outlet::Writer { queue, .. } = &logger.outlet else { panic!("nobody writes") };
        let log = Log::for_handler(Arc::clone(&logger));
        let in_use = queue.in_use();
        log_notice!(log, "first");
        log_notice!(log, "second");
        log.hand_in();
        assert!(log.holds());
        drop(in_use);
        log.hand_in();
        assert!(!log.holds());
        let in_use = queue.in_use();
        log_notice!(log, "third");
        drop(in_use);
        logger.set_allow_miss_log(false);
        log_notice!(log, "fourth");
        logger.set_allow_miss_log(true);
        let in_use = queue.in_use();
        log_notice!(log, "last");
        drop(in_use);
        drop(log);
        assert!(logger.close());
        let lines = messages(&fs::read_to_string(folder.path("p.log")).unwrap());
        assert_eq!(lines, ["first", "second", "third", "fourth", "last"]);
    }

    #[test]
    fn lines_that_find_no_room_are_counted() {
        let folder = Folder::new();
        let (queue, head) =
            (LogQueue::default(), Head { wall_us: 0, level: Level::Info, file: "", line: 0 });
        for number in 0..1030 {
            if !queue.drops() {
                queue.offer(head, &number.to_string());
            }
        }
        queue.close(Duration::ZERO);
        let sink = open(&file(&folder, "p.log").target).unwrap();
        Writer::new(sink, Format::Text).run(&queue);
        let lines = messages(&fs::read_to_string(folder.path("p.log")).unwrap());
        assert_eq!(lines.len(), 1025);
        assert_eq!(lines[1023..], ["1023", "MissLog count 6"]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn lines_that_could_not_be_written_are_counted() {
        let folder = Folder::new();
        let full = Target::File { path: PathBuf::from("/dev/full"), rotation: Rotation::default() };
        let mut writer = Writer::new(open(&full).unwrap(), Format::Text);
        let head = Head { wall_us: 0, level: Level::Info, file: "", line: 0 };
        for _ in 0..2 {
            writer.write(&head, "lost");
            writer.missed += writer.sink.flush();
            writer.tell_missed();
        }
        let sink = open(&file(&folder, "p.log").target).unwrap();
        writer.follow(Order { sink: Some(Box::new(sink)), format: Format::Text });
        writer.tell_missed();
        writer.tell_missed();
        let lines = messages(&fs::read_to_string(folder.path("p.log")).unwrap());
        assert_eq!(lines, ["MissLog count 2"]);
    }

    #[test]
    #[cfg(not(feature = "sim"))]
    fn settings_change_while_it_runs() {
        let folder = Folder::new();
        let logger = Logger::new(&file(&folder, "a.log")).unwrap();
        let log = Log::new(Arc::clone(&logger));
        log_notice!(log, "one");
        let path = folder.path("a.log");
        until(|| fs::read_to_string(&path).is_ok_and(|text| text.ends_with("one\n")));

        let samples = [0, 0, 1, 0, 0, 0];
        let new = Settings { samples, format: Format::Json, ..file(&folder, "b.log") };
        logger.change(&new).unwrap();
        log_info!(log, "two");
        log_notice!(log, "off");
        // The same again opens the file again.
        let path = folder.path("b.log");
        until(|| fs::read_to_string(&path).is_ok_and(|text| text.ends_with("two\"}\n")));
        fs::remove_file(&path).unwrap();
        logger.change(&new).unwrap();
        log_info!(log, "three");
        assert!(logger.close());
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(r#""message":"three"}"#) && !text.contains("two"), "{text}");
    }

    #[test]
    #[cfg(not(feature = "sim"))]
    fn a_file_that_cannot_be_opened_changes_nothing() {
        let folder = Folder::new();
        let logger = Logger::new(&file(&folder, "a.log")).unwrap();
        let new = Settings { samples: [1; 6], ..file(&folder, "none/b.log") };
        assert!(logger.change(&new).is_err());
        assert_eq!(logger.sample(Level::Verb), 0);
        log_notice!(Log::new(Arc::clone(&logger)), "still here");
        logger.close();
        assert_eq!(messages(&fs::read_to_string(folder.path("a.log")).unwrap()), ["still here"]);
    }

    #[test]
    #[cfg(not(feature = "sim"))]
    fn a_file_that_was_moved_is_opened_again() {
        let folder = Folder::new();
        let logger = Logger::new(&file(&folder, "a.log")).unwrap();
        fs::rename(folder.path("a.log"), folder.path("moved")).unwrap();
        logger.reopen();
        log_notice!(Log::new(Arc::clone(&logger)), "one");
        logger.close();
        assert_eq!(messages(&fs::read_to_string(folder.path("a.log")).unwrap()), ["one"]);
    }
}
