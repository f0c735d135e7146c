//! Tells the service manager that all handlers turn, for as long as they do.
//!
//! Each is asked to say that it is there; only when all have is the manager told, and they are
//! asked anew. A handler that hangs so ends in a restart, if the manager was asked for that.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::shared::{Mail, Shared};
use crate::sys::{clock, service};

/// What the main thread knows of it.
pub struct Watchdog {
    /// Time between two looks; a quarter of what the manager allows.
    pause_us: u64,
    due_us: u64,
    /// How many handlers have answered the last question.
    answers: Arc<AtomicUsize>,
}

impl Watchdog {
    /// One that does what the service manager wants; none if it wants nothing.
    #[must_use]
    pub fn find() -> Option<Watchdog> {
        service::watchdog_us().map(Watchdog::new)
    }

    fn new(allowed_us: u64) -> Watchdog {
        Watchdog { pause_us: (allowed_us / 4).max(1), due_us: 0, answers: Arc::default() }
    }

    /// How long the main thread may wait for something else.
    #[must_use]
    pub fn patience_us(&self) -> u64 {
        self.due_us.saturating_sub(clock::monotonic_us())
    }

    /// Looks whether all handlers have answered, if it is time, and asks them again if they have.
    /// True when the service manager is to be told.
    pub fn look(&mut self, shared: &Shared) -> bool {
        let now_us = clock::monotonic_us();
        if now_us < self.due_us {
            return false;
        }
        let is_first = self.due_us == 0;
        self.due_us = now_us + self.pause_us;
        let all_are_well = self.answers.load(Relaxed) == shared.handlers.len();
        if all_are_well || is_first {
            self.answers = Arc::default();
            for handler in &shared.handlers {
                let answers = Arc::clone(&self.answers);
                handler.post(Mail::Run(Box::new(move |_| {
                    answers.fetch_add(1, Relaxed);
                })));
            }
        }
        all_are_well
    }
}

#[cfg(all(test, not(feature = "sim")))]
mod tests {
    use super::*;
    use crate::conf::Conf;
    use crate::logger::Logger;
    use crate::proxy::share;
    use std::path::Path;

    #[test]
    fn the_manager_is_told_only_when_all_handlers_have_answered() {
        let file = b"WorkerThreads 2\nClusterServerPool {\nServers {\n+ a:1\n}\n}";
        let conf = Conf::parse(Path::new("/c"), file, &[]).unwrap();
        let (shared, _recorders) = share(conf, Logger::nowhere(), 1000).unwrap();
        let mut watchdog = Watchdog::new(1);
        assert!(!watchdog.look(&shared), "nobody was asked yet");
        let asked = |index: usize| shared.handlers[index].collect().len();
        assert_eq!((asked(0), asked(1)), (1, 1));
        watchdog.due_us = 1;
        assert!(!watchdog.look(&shared), "nobody has answered");
        assert_eq!((asked(0), asked(1)), (0, 0), "nobody is asked twice");
        watchdog.answers.fetch_add(1, Relaxed);
        watchdog.due_us = 1;
        assert!(!watchdog.look(&shared), "one has not answered");
        watchdog.answers.fetch_add(1, Relaxed);
        watchdog.due_us = 1;
        assert!(watchdog.look(&shared));
        assert_eq!((asked(0), asked(1)), (1, 1));
    }
}
