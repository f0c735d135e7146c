//! The settings that can be changed while the proxy runs, as of now.
//!
//! Handlers read numbers, each of its own; nobody waits for anybody. What CONFIG shows, and in
//! what form, is kept beside them from the first change on.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use crate::conf::Conf;
use crate::conf::setting::{self, GLOBAL};
use crate::logger::{Level, Logger};

/// The settings of now.
pub struct Live {
    client_timeout_us: AtomicU64,
    client_output_limit: AtomicU64,
    client_query_limit: AtomicU64,
    shutdown_timeout_us: AtomicU64,
    clients_max: AtomicU64,
    /// How many clients there may be when the configuration does not say.
    clients_auto: u64,
    /// The configuration with all changes; none while there were none.
    changed: Mutex<Option<Box<Conf>>>,
}

/// A setting that CONFIG SET changes, and how the change takes effect.
struct Tunable {
    name: &'static str,
    publish: fn(&Conf, &Live, &Logger),
}

#[rustfmt::skip]
const TUNABLES: &[Tunable] = &[
    Tunable { name: "ClientTimeout",     publish: |conf, live, _| live.client_timeout_us.store(conf.client_timeout_us, Relaxed) },
    Tunable { name: "AllowMissLog",      publish: |conf, _, logger| logger.set_allow_miss_log(conf.log.allow_miss) },
    Tunable { name: "LogVerbSample",     publish: |conf, _, logger| logger.set_sample(Level::Verb, conf.log.samples[0]) },
    Tunable { name: "LogDebugSample",    publish: |conf, _, logger| logger.set_sample(Level::Debug, conf.log.samples[1]) },
    Tunable { name: "LogInfoSample",     publish: |conf, _, logger| logger.set_sample(Level::Info, conf.log.samples[2]) },
    Tunable { name: "LogNoticeSample",   publish: |conf, _, logger| logger.set_sample(Level::Notice, conf.log.samples[3]) },
    Tunable { name: "LogWarnSample",     publish: |conf, _, logger| logger.set_sample(Level::Warn, conf.log.samples[4]) },
    Tunable { name: "LogErrorSample",    publish: |conf, _, logger| logger.set_sample(Level::Error, conf.log.samples[5]) },
    Tunable { name: "MaxClients",        publish: |conf, live, _| live.clients_max.store(conf.max_clients.unwrap_or(live.clients_auto), Relaxed) },
    Tunable { name: "ClientOutputLimit", publish: |conf, live, _| live.client_output_limit.store(unless_zero(conf.client_output_limit), Relaxed) },
    Tunable { name: "ClientQueryLimit",  publish: |conf, live, _| live.client_query_limit.store(unless_zero(conf.client_query_limit), Relaxed) },
    Tunable { name: "ShutdownTimeout",   publish: |conf, live, _| live.shutdown_timeout_us.store(conf.shutdown_timeout_us, Relaxed) },
];

impl Live {
    /// The settings as they were read; without a number of clients it is `clients_auto`.
    #[must_use]
    pub fn new(conf: &Conf, clients_auto: u64) -> Live {
        Live {
            client_timeout_us: AtomicU64::new(conf.client_timeout_us),
            client_output_limit: AtomicU64::new(unless_zero(conf.client_output_limit)),
            client_query_limit: AtomicU64::new(unless_zero(conf.client_query_limit)),
            shutdown_timeout_us: AtomicU64::new(conf.shutdown_timeout_us),
            clients_max: AtomicU64::new(conf.max_clients.unwrap_or(clients_auto)),
            clients_auto,
            changed: Mutex::default(),
        }
    }

    /// After so long an idle client is closed; 0 is never.
    #[must_use]
    pub fn client_timeout_us(&self) -> u64 {
        self.client_timeout_us.load(Relaxed)
    }

    /// Most bytes of replies that wait for one client.
    #[must_use]
    pub fn client_output_limit(&self) -> u64 {
        self.client_output_limit.load(Relaxed)
    }

    /// Most bytes of one request.
    #[must_use]
    pub fn client_query_limit(&self) -> u64 {
        self.client_query_limit.load(Relaxed)
    }

    /// How long a stop waits for what is in flight.
    #[must_use]
    pub fn shutdown_timeout_us(&self) -> u64 {
        self.shutdown_timeout_us.load(Relaxed)
    }

    /// Most clients at a time.
    #[must_use]
    pub fn clients_max(&self) -> u64 {
        self.clients_max.load(Relaxed)
    }

    /// Shows all settings, given how they were `read`, to `look`.
    pub fn look<R>(&self, read: &Conf, look: impl FnOnce(&Conf) -> R) -> R {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        look(changed.as_deref().unwrap_or(read))
    }

    /// Changes settings, all or none.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the first that is.
    pub fn change<'a>(
        &self,
        read: &Conf,
        logger: &Logger,
        changes: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), String> {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut conf = changed.clone().unwrap_or_else(|| Box::new(read.clone()));
        let mut publications = Vec::new();
        for (name, value) in changes {
            let is_it = |tunable: &&Tunable| tunable.name.as_bytes().eq_ignore_ascii_case(name);
            let tunable = TUNABLES.iter().find(is_it);
            let (Some(tunable), Some(setting)) = (tunable, setting::find(GLOBAL, name)) else {
                let name = String::from_utf8_lossy(name);
                return Err(format!("{name} is nothing that can be changed while running"));
            };
            setting.set(&mut conf, value)?;
            publications.push(tunable.publish);
        }
        publications.iter().for_each(|publish| publish(&conf, self, logger));
        *changed = Some(conf);
        Ok(())
    }
}

/// A limit of 0 is none.
fn unless_zero(limit: u64) -> u64 {
    if limit == 0 { u64::MAX } else { limit }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conf::setting::Change;

    fn live() -> (Live, Conf) {
        let file = b"ClusterServerPool {\nServers {\n+ a:1\n}\n}";
        let conf = Conf::parse(Path::new("/c"), file, &[]).unwrap();
        (Live::new(&conf, 1000), conf)
    }

    fn change(live: &Live, conf: &Conf, changes: &[(&str, &str)]) -> Result<(), String> {
        let bytes = changes.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        live.change(conf, &Logger::nowhere(), bytes)
    }

    #[test]
    fn the_table_of_settings_says_that_all_of_these_can_be_changed() {
        for tunable in TUNABLES {
            let setting = setting::find(GLOBAL, tunable.name.as_bytes());
            assert_eq!(
                setting.map(|setting| setting.change),
                Some(Change::Online),
                "{}",
                tunable.name
            );
        }
    }

    #[test]
    fn what_is_changed_is_in_effect_and_shown() {
        let (live, conf) = live();
        assert_eq!((live.client_timeout_us(), live.clients_max()), (0, 1000));
        let changes = [("clienttimeout", "5"), ("MAXCLIENTS", "7"), ("ClientOutputLimit", "0")];
        assert_eq!(change(&live, &conf, &changes), Ok(()));
        assert_eq!((live.client_timeout_us(), live.clients_max()), (5_000_000, 7));
        assert_eq!(live.client_output_limit(), u64::MAX);
        assert_eq!(live.look(&conf, |conf| conf.max_clients), Some(7));
        assert_eq!(change(&live, &conf, &[("MaxClients", "auto")]), Ok(()));
        assert_eq!(live.clients_max(), 1000);
        assert_eq!(live.client_timeout_us(), 5_000_000);
    }

    #[test]
    fn one_mistake_and_nothing_is_changed() {
        let (live, conf) = live();
        for wrong in [("ClientTimeout", "x"), ("WorkerThreads", "2"), ("Nonsense", "1")] {
            assert!(change(&live, &conf, &[("MaxClients", "7"), wrong]).is_err(), "{wrong:?}");
        }
        assert_eq!(live.clients_max(), 1000);
        assert_eq!(live.look(&conf, |conf| conf.max_clients), None);
    }
}
