//! What servers say of themselves in INFO, put together.
//!
//! Every answer is a list of names and values; here they are added up, or compared, over all
//! servers that have answered. A figure that nobody gave is none: nothing is made up.

use std::collections::BTreeMap;
use std::fmt;

/// What servers have answered to INFO.
#[derive(Debug, Default)]
pub struct Figures {
    servers: Vec<Answer>,
}

#[derive(Debug)]
struct Answer {
    is_master: bool,
    fields: BTreeMap<Box<str>, Box<str>>,
    /// The values of `module`, which comes once for each of them.
    modules: Vec<Box<str>>,
}

impl Figures {
    /// Takes the text that a server has answered.
    pub fn add(&mut self, is_master: bool, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let (mut fields, mut modules) = (BTreeMap::new(), Vec::new());
        for line in text.lines() {
            match line.trim_end_matches('\r').split_once(':') {
                Some(("module", module)) => modules.push(module.into()),
                Some((name, value)) => drop(fields.insert(name.into(), value.into())),
                None => {}
            }
        }
        self.servers.push(Answer { is_master, fields, modules });
    }

    /// How many masters have answered.
    #[must_use]
    pub fn masters(&self) -> usize {
        self.servers.iter().filter(|answer| answer.is_master).count()
    }

    /// A number of the masters, added up.
    #[must_use]
    pub fn sum(&self, name: &str) -> Option<u64> {
        self.numbers(name).reduce(u64::saturating_add)
    }

    /// A number of all servers, replicas too, added up.
    #[must_use]
    pub fn sum_of_all(&self, name: &str) -> Option<u64> {
        let values = self.servers.iter().filter_map(|answer| number(answer.fields.get(name)?));
        values.reduce(u64::saturating_add)
    }

    /// A limit of the masters, added up: who has none (0) makes it none.
    #[must_use]
    pub fn sum_of_limits(&self, name: &str) -> Option<u64> {
        let is_unlimited = self.numbers(name).any(|limit| limit == 0);
        self.sum(name).map(|sum| if is_unlimited { 0 } else { sum })
    }

    /// The greatest number of a master.
    #[must_use]
    pub fn max(&self, name: &str) -> Option<u64> {
        self.numbers(name).max()
    }

    /// The smallest number of a master.
    #[must_use]
    pub fn min(&self, name: &str) -> Option<u64> {
        self.numbers(name).min()
    }

    /// What masters say, if they all say the same; else what the first says that does not say
    /// `usual`.
    #[must_use]
    pub fn unless(&self, name: &str, usual: &str) -> Option<&str> {
        let odd = self.texts(name).find(|text| *text != usual);
        odd.or_else(|| self.texts(name).next())
    }

    /// The lowest version of a master, as what the others have is not there for all keys.
    #[must_use]
    pub fn lowest_version(&self, name: &str) -> Option<&str> {
        let parts = |text: &str| -> Vec<u64> {
            text.split('.').map(|part| part.parse().unwrap_or(0)).collect()
        };
        self.texts(name).min_by_key(|text| parts(text))
    }

    /// The modules that the first master has.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        let first = self.servers.iter().find(|answer| answer.is_master);
        first.into_iter().flat_map(|answer| &answer.modules).map(|module| &**module)
    }

    /// The databases, with the keys of all masters.
    #[must_use]
    pub fn keyspace(&self) -> BTreeMap<u32, Keyspace> {
        let mut databases = BTreeMap::<u32, Keyspace>::new();
        for answer in self.servers.iter().filter(|answer| answer.is_master) {
            let database = |name: &str| name.strip_prefix("db")?.parse().ok();
            for (name, value) in &answer.fields {
                if let Some(database) = database(name) {
                    databases.entry(database).or_default().add(value);
                }
            }
        }
        databases
    }

    /// What was done of each command, by all servers.
    #[must_use]
    pub fn commands(&self) -> BTreeMap<&str, Calls> {
        let mut commands = BTreeMap::<&str, Calls>::new();
        for (name, value) in self.with_prefix("cmdstat_") {
            commands.entry(name).or_default().add(value);
        }
        commands
    }

    /// How often each error was given, by all servers.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<&str, u64> {
        let mut errors = BTreeMap::<&str, u64>::new();
        for (name, value) in self.with_prefix("errorstat_") {
            add(errors.entry(name).or_default(), part(value, "count"));
        }
        errors
    }

    fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let masters = self.servers.iter().filter(|answer| answer.is_master);
        masters.filter_map(move |answer| answer.fields.get(name)).map(|text| &**text)
    }

    fn numbers(&self, name: &str) -> impl Iterator<Item = u64> {
        self.texts(name).filter_map(number)
    }

    fn with_prefix(&self, prefix: &'static str) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.servers.iter().flat_map(|answer| &answer.fields);
        fields.filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, &**value)))
    }
}

/// The keys of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyspace {
    keys: u64,
    expires: u64,
    /// The average time to live of each master, times the keys that it is an average of.
    ttl_ms: u128,
    /// Hashes with fields that expire, if servers know such.
    subexpiry: Option<u64>,
}

impl Keyspace {
    fn add(&mut self, value: &str) {
        let expires = part(value, "expires").unwrap_or(0);
        let ttl_ms = u128::from(part(value, "avg_ttl").unwrap_or(0)) * u128::from(expires);
        add(&mut self.keys, part(value, "keys"));
        add(&mut self.expires, Some(expires));
        self.ttl_ms = self.ttl_ms.saturating_add(ttl_ms);
        if let Some(subexpiry) = part(value, "subexpiry") {
            add(self.subexpiry.get_or_insert_default(), Some(subexpiry));
        }
    }
}

impl fmt::Display for Keyspace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let average = self.ttl_ms / u128::from(self.expires.max(1));
        write!(out, "keys={},expires={},avg_ttl={average}", self.keys, self.expires)?;
        self.subexpiry.map_or(Ok(()), |subexpiry| write!(out, ",subexpiry={subexpiry}"))
    }
}

/// What was done of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    calls: u64,
    usec: u64,
    rejected: u64,
    failed: u64,
}

impl Calls {
    fn add(&mut self, value: &str) {
        add(&mut self.calls, part(value, "calls"));
        add(&mut self.usec, part(value, "usec"));
        add(&mut self.rejected, part(value, "rejected_calls"));
        add(&mut self.failed, part(value, "failed_calls"));
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calls { calls, usec, rejected, failed } = *self;
        // In hundredths, rounded.
        let each = (u128::from(usec) * 100 + u128::from(calls) / 2) / u128::from(calls.max(1));
        write!(out, "calls={calls},usec={usec},usec_per_call={}.{:02}", each / 100, each % 100)?;
        write!(out, ",rejected_calls={rejected},failed_calls={failed}")
    }
}

/// One number of a value such as `keys=1,expires=0`.
fn part(value: &str, name: &str) -> Option<u64> {
    let mut parts = value.split(',').filter_map(|part| part.split_once('='));
    parts.find(|(known, _)| *known == name).and_then(|(_, text)| number(text))
}

/// Adds to a number what a server has said, however much that is.
fn add(sum: &mut u64, more: Option<u64>) {
    *sum = sum.saturating_add(more.unwrap_or(0));
}

fn number(text: impl AsRef<str>) -> Option<u64> {
    text.as_ref().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(masters: &[&str], replicas: &[&str]) -> Figures {
        let mut figures = Figures::default();
        masters.iter().for_each(|text| figures.add(true, text.as_bytes()));
        replicas.iter().for_each(|text| figures.add(false, text.as_bytes()));
        figures
    }

    #[test]
    fn numbers_are_added_and_compared_over_the_masters() {
        let figures = figures(
            &["# Memory\r\nused:10\r\nlimit:5\r\n", "used:32\r\nlimit:0\r\nother:x\r\n"],
            &["used:1000\r\n"],
        );
        assert_eq!(figures.masters(), 2);
        assert_eq!((figures.sum("used"), figures.sum_of_all("used")), (Some(42), Some(1042)));
        assert_eq!((figures.min("used"), figures.max("used")), (Some(10), Some(32)));
        assert_eq!(figures.sum_of_limits("limit"), Some(0));
        assert_eq!((figures.sum("other"), figures.sum("nothing")), (None, None));
        assert_eq!(Figures::default().sum("used"), None);
    }

    #[test]
    fn what_is_odd_is_told() {
        let figures =
            figures(&["p:noeviction\nv:7.0.15\n", "p:allkeys-lru\nv:7.0.9\n"], &["v:5.0"]);
        assert_eq!(figures.unless("p", "noeviction"), Some("allkeys-lru"));
        assert_eq!(figures.unless("p", "allkeys-lru"), Some("noeviction"));
        assert_eq!(figures.unless("v", "x"), Some("7.0.15"));
        assert_eq!(figures.lowest_version("v"), Some("7.0.9"));
    }

    #[test]
    fn databases_are_added_up() {
        let figures = figures(
            &[
                "db0:keys=3,expires=1,avg_ttl=100\r\ndb10:keys=1,expires=0,avg_ttl=0\r\n",
                "db0:keys=5,expires=3,avg_ttl=20,subexpiry=2\r\n",
            ],
            &["db0:keys=100,expires=0,avg_ttl=0\r\n"],
        );
        let shown: Vec<_> =
            figures.keyspace().iter().map(|(db, keys)| format!("{db} {keys}")).collect();
        let want = ["0 keys=8,expires=4,avg_ttl=40,subexpiry=2", "10 keys=1,expires=0,avg_ttl=0"];
        assert_eq!(shown, want);
    }

    #[test]
    fn commands_and_errors_are_added_up_over_all_servers() {
        let figures = figures(
            &[
                "cmdstat_config|get:calls=1,usec=10,usec_per_call=10.00,rejected_calls=0,failed_calls=1\n\
               errorstat_ERR:count=2\n",
            ],
            &[
                "cmdstat_config|get:calls=2,usec=10,usec_per_call=5.00,rejected_calls=4,failed_calls=0\n\
               errorstat_ERR:count=40\nerrorstat_WRONGTYPE:count=1\n",
            ],
        );
        let shown: Vec<_> =
            figures.commands().iter().map(|(name, calls)| format!("{name} {calls}")).collect();
        let want = "config|get calls=3,usec=20,usec_per_call=6.67,rejected_calls=4,failed_calls=1";
        assert_eq!(shown, [want]);
        assert_eq!(
            figures.errors().into_iter().collect::<Vec<_>>(),
            [("ERR", 42), ("WRONGTYPE", 1)]
        );
    }

    #[test]
    fn nonsense_is_no_figure() {
        let figures = figures(&["\u{0}\n:\n::\ndb:keys=1\ndbx:keys=1\ndb0\nused:-1\nused\n"], &[]);
        assert_eq!(figures.sum("used"), None);
        assert!(figures.keyspace().is_empty() && figures.commands().is_empty());
        let huge = format!("db0:keys={0},expires={0},avg_ttl={0}\n", u64::MAX);
        let figures = self::figures(&[&huge, &huge], &[]);
        assert_eq!(figures.keyspace().len(), 1);
    }

    #[test]
    fn modules_are_those_of_the_first_master() {
        let figures = figures(&["module:name=a,ver=1\nmodule:name=b\n", "module:name=c\n"], &[]);
        assert_eq!(figures.modules().collect::<Vec<_>>(), ["name=a,ver=1", "name=b"]);
    }
}
