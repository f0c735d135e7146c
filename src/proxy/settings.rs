//! What the proxy goes by, and how threads follow it when that changes.
//!
//! [`Settings`] never change: a reload or CONFIG SET makes others of them and publishes those.
//! Each handler holds the ones that it goes by until it is told that there are new ones, so a
//! request reads them for nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::auth::Authority;
use crate::conf::Conf;
use crate::conf::setting::{self, Change, GLOBAL, POOL};
use crate::stats::{LatencyMonitor, LatencyMonitorSet};

/// What the proxy goes by, at one moment.
pub struct Settings {
    version: u64,
    /// The configuration, with all that CONFIG SET has changed since it was read.
    pub conf: Conf,
    /// Who may do what; the same one as before where nothing about it has changed.
    pub authority: Arc<Authority>,
    /// What is measured; the same as before where nothing about it has changed.
    pub monitors: Arc<LatencyMonitorSet>,
    /// Most clients at a time.
    pub clients_max: u64,
}

/// The settings of this moment, shared by all threads.
pub struct CurrentSettings {
    settings: Mutex<Arc<Settings>>,
    /// Held from the look at the old settings to the publishing of the new ones.
    writer: Mutex<()>,
    /// How many clients there may be when the configuration does not say.
    clients_auto: u64,
}

/// With less memory than this, and as much for each thread, the proxy could not work: what is less
/// counts as that.
const MEMORY_LEAST: u64 = 3 << 20;
const MEMORY_LEAST_OF_THREAD: u64 = 1 << 20;

/// How much memory there may be with this `MaxMemory` and so many threads; `None` is no limit.
#[must_use]
pub fn memory_max(max_memory: u64, threads: usize) -> Option<u64> {
    let least = MEMORY_LEAST + MEMORY_LEAST_OF_THREAD * threads as u64;
    (max_memory > 0).then(|| max_memory.max(least))
}

impl Settings {
    /// Grows with each change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Most bytes of replies that wait for one client.
    #[must_use]
    pub fn client_output_limit(&self) -> u64 {
        unless_zero(self.conf.client_output_limit)
    }

    /// Most bytes of one request.
    #[must_use]
    pub fn client_query_limit(&self) -> u64 {
        unless_zero(self.conf.client_query_limit)
    }

    /// What `conf` means after these: what has not changed is not made anew.
    fn next(&self, conf: Conf, clients_auto: u64) -> Settings {
        let authority = match conf.authority == self.conf.authority {
            true => Arc::clone(&self.authority),
            false => Arc::new(Authority::new(conf.authority.as_ref())),
        };
        let monitors = monitors(&conf);
        let monitors = match monitors == *self.monitors {
            true => Arc::clone(&self.monitors),
            false => Arc::new(monitors),
        };
        let clients_max = conf.max_clients.unwrap_or(clients_auto);
        Settings { version: self.version + 1, authority, monitors, clients_max, conf }
    }
}

impl CurrentSettings {
    /// The settings as they were read; without a number of clients it is `clients_auto`.
    #[must_use]
    pub fn new(conf: Conf, clients_auto: u64) -> CurrentSettings {
        let settings = Settings {
            version: 0,
            authority: Arc::new(Authority::new(conf.authority.as_ref())),
            monitors: Arc::new(monitors(&conf)),
            clients_max: conf.max_clients.unwrap_or(clients_auto),
            conf,
        };
        CurrentSettings {
            settings: Mutex::new(Arc::new(settings)),
            writer: Mutex::new(()),
            clients_auto,
        }
    }

    /// The settings of this moment.
    #[must_use]
    pub fn load(&self) -> Arc<Settings> {
        Arc::clone(&lock(&self.settings))
    }

    /// Makes other settings of those of now. Nobody else changes them in between, and where
    /// `next` fails nothing changes. Returns what was before, and what is now.
    ///
    /// # Errors
    ///
    /// Those of `next`.
    pub fn update<E>(
        &self,
        next: impl FnOnce(&Settings) -> Result<Conf, E>,
    ) -> Result<(Arc<Settings>, Arc<Settings>), E> {
        let _writer = lock(&self.writer);
        let before = self.load();
        let conf = next(&before)?;
        let now = Arc::new(before.next(conf, self.clients_auto));
        *lock(&self.settings) = Arc::clone(&now);
        Ok((before, now))
    }

    /// Changes settings by name, all or none, as CONFIG SET does, if `accept` can go by them.
    /// Returns what was before, and what is now.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the first that is, or what `accept` says.
    pub fn change<'a>(
        &self,
        changes: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        accept: impl FnOnce(&Conf) -> Result<(), String>,
    ) -> Result<(Arc<Settings>, Arc<Settings>), String> {
        self.update(|before| {
            let mut conf = before.conf.clone();
            for (name, value) in changes {
                set(&mut conf, name, value)?;
            }
            conf.relocate()?;
            accept(&conf)?;
            Ok(conf)
        })
    }
}

fn set(conf: &mut Conf, name: &[u8], value: &[u8]) -> Result<(), String> {
    let global = setting::find(GLOBAL, name).filter(|row| row.change == Change::Online);
    let of_pool = setting::find(POOL, name).filter(|row| row.change == Change::Online);
    match (global, of_pool) {
        (Some(row), _) => row.set(conf, value),
        (None, Some(row)) => row.set(&mut conf.pool.common, value),
        (None, None) => {
            let name = String::from_utf8_lossy(name);
            Err(format!("{name} is nothing that can be changed while running"))
        }
    }
}

fn monitors(conf: &Conf) -> LatencyMonitorSet {
    LatencyMonitorSet::new(conf.latency_monitors.iter().map(|monitor| {
        let (name, bounds_us) = (monitor.name.as_str().into(), monitor.bounds_us.clone().into());
        let commands = monitor.commands.iter().map(|command| command.index());
        (LatencyMonitor { name, bounds_us }, commands)
    }))
}

/// A limit of 0 is none.
fn unless_zero(limit: u64) -> u64 {
    if limit == 0 { u64::MAX } else { limit }
}

/// Nothing is left half done under these locks, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const POOL: &str = "ClusterServerPool {\nServers {\n+ a:1\n}\n}\n";

    fn conf(more: &str) -> Conf {
        Conf::parse(Path::new("/c"), format!("{POOL}{more}").as_bytes(), &[]).unwrap()
    }

    fn current() -> CurrentSettings {
        CurrentSettings::new(conf(""), 1000)
    }

    fn change(current: &CurrentSettings, changes: &[(&str, &str)]) -> Result<(), String> {
        let bytes = changes.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        current.change(bytes, |_| Ok(())).map(drop)
    }

    fn reload(current: &CurrentSettings, more: &str) -> Arc<Settings> {
        current.update(|_| Ok::<_, ()>(conf(more))).unwrap().1
    }

    #[test]
    fn what_is_changed_is_seen_by_who_looks() {
        let current = current();
        let before = current.load();
        assert_eq!((before.conf.client_timeout_us, before.clients_max), (0, 1000));
        let changes = [("clienttimeout", "5"), ("MAXCLIENTS", "7"), ("ClientOutputLimit", "0")];
        assert_eq!(change(&current, &changes), Ok(()));
        let now = current.load();
        assert!(now.version() > before.version());
        assert_eq!((now.conf.client_timeout_us, now.clients_max), (5_000_000, 7));
        assert_eq!(now.client_output_limit(), u64::MAX);
        assert_eq!(change(&current, &[("MaxClients", "auto")]), Ok(()));
        assert_eq!(current.load().clients_max, 1000);
        assert_eq!(current.load().conf.client_timeout_us, 5_000_000);
        assert_eq!(before.clients_max, 1000, "who has not looked sees what was before");
    }

    #[test]
    fn one_mistake_and_nothing_is_changed() {
        let current = current();
        let before = current.load().version();
        for wrong in [("ClientTimeout", "x"), ("WorkerThreads", "2"), ("Nonsense", "1")] {
            assert!(change(&current, &[("MaxClients", "7"), wrong]).is_err(), "{wrong:?}");
        }
        assert_eq!((current.load().clients_max, current.load().version()), (1000, before));
    }

    #[test]
    fn what_stays_the_same_is_not_made_anew() {
        let current = current();
        let first = current.load();
        let second = reload(&current, "Name x\n");
        assert!(Arc::ptr_eq(&first.authority, &second.authority));
        assert!(Arc::ptr_eq(&first.monitors, &second.monitors));
        let block = "LatencyMonitor all {\nCommands {\n+ all\n}\nTimeSpan {\n+ 10\n}\n}\n";
        let third =
            reload(&current, &format!("Authority {{\nAuth a {{\nMode read\n}}\n}}\n{block}"));
        assert!(!Arc::ptr_eq(&second.authority, &third.authority));
        assert!(!Arc::ptr_eq(&second.monitors, &third.monitors));
        assert_eq!(third.monitors.monitors().len(), 1);
    }
}
