//! The table of keys: name, unit, range, default, and when a change takes effect.
//!
//! Adding a key is adding a row. The file reader, the command line, CONFIG GET and SET and the
//! check of the manual follow the rows; what a row does not say is in its block's own file.

mod own;

use std::ops::RangeInclusive;

use super::authority::IdentityDraft;
use super::server_pool::StandaloneDraft;
use super::value;
use super::{Conf, PoolCommon, Secret};
use crate::resp::command::CustomCommand;

/// One key that has a value, in a block that becomes a `T`.
pub struct Setting<T: 'static> {
    /// As it is written, in any case.
    pub name: &'static str,
    /// What its value looks like and where it goes.
    pub kind: Kind<T>,
    /// The value that holds where the key is not given, as [`Setting::show`] shows it.
    pub default: &'static str,
    /// When a change takes effect.
    pub change: Change,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At the next start.
    Restart,
    /// When the file is read again.
    Reload,
    /// By CONFIG SET, or when the file is read again.
    Online,
}

/// What a value looks like and where it goes.
pub enum Kind<T: 'static> {
    /// Any text.
    Text(Field<T, String>),
    /// Any text; an empty one is none.
    Name(Field<T, Option<String>>),
    /// A password, which is never shown; an empty one is none.
    Password(Field<T, Option<Secret>>),
    /// `true` or `false`.
    Flag(Field<T, bool>),
    /// Any number: one of so many lines is logged.
    Sample(Field<T, i32>),
    /// A number within a range.
    Integer(Field<T, u32>, RangeInclusive<u32>),
    /// Whole seconds within a range.
    Seconds(Field<T, u32>, RangeInclusive<u32>),
    /// Whole seconds of any number, kept as microseconds.
    LongSeconds(Field<T, u64>),
    /// Bytes, with K, M or G if wanted.
    Memory(Field<T, u64>),
    /// Seconds, or with a unit; kept as microseconds.
    Duration(Field<T, u64>),
    /// A form of its own.
    Own(Read<T>, Show<T>),
    /// A form of its own; each time the key is given adds something.
    List(Read<T>, Show<T>),
}

type Read<T> = fn(&mut T, &[u8]) -> Result<(), String>;
type Show<T> = fn(&T) -> String;

/// Where a value is kept.
pub struct Field<T: 'static, V: 'static> {
    of: fn(&T) -> &V,
    of_mut: fn(&mut T) -> &mut V,
}

macro_rules! field {
    ($($path:tt)+) => {
        Field { of: |holder| &holder.$($path)+, of_mut: |holder| &mut holder.$($path)+ }
    };
}

impl<T> Setting<T> {
    /// Reads `value` into its place.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the value and what would be right; nothing is changed then.
    pub fn set(&self, holder: &mut T, value: &[u8]) -> Result<(), String> {
        let name = self.name;
        match &self.kind {
            Kind::Text(field) => *(field.of_mut)(holder) = text(value),
            Kind::Name(field) => {
                *(field.of_mut)(holder) = (!value.is_empty()).then(|| text(value));
            }
            Kind::Password(field) => *(field.of_mut)(holder) = Secret::unless_empty(value),
            Kind::Flag(field) => {
                let flag = value::flag(value);
                *(field.of_mut)(holder) =
                    flag.ok_or_else(|| format!("{name} expect true or false"))?;
            }
            Kind::Sample(field) => {
                let number = self.number(value, value::integer, "want a whole number")?;
                let range = || out_of_range(name, value, i32::MIN, i32::MAX);
                *(field.of_mut)(holder) = i32::try_from(number).map_err(|_| range())?;
            }
            Kind::Integer(field, range) => {
                let number = self.number(value, value::integer, "want a whole number")?;
                *(field.of_mut)(holder) = within(name, value, number, range)?;
            }
            Kind::Seconds(field, range) => {
                let number = self.number(value, value::seconds, WANT_SECONDS)?;
                *(field.of_mut)(holder) = within(name, value, number, range)?;
            }
            Kind::LongSeconds(field) => {
                let seconds = value::seconds(value).ok_or_else(|| {
                    format!("{name} {} is not an long integer; {WANT_SECONDS}", text(value))
                })?;
                let seconds =
                    u64::try_from(seconds).map_err(|_| out_of_range(name, value, 0, i64::MAX))?;
                *(field.of_mut)(holder) = seconds.saturating_mul(1_000_000);
            }
            Kind::Memory(field) => {
                *(field.of_mut)(holder) = value::memory(value).ok_or_else(|| {
                    format!("{name} invalid memory value \"{}\"; {WANT_MEMORY}", text(value))
                })?;
            }
            Kind::Duration(field) => {
                *(field.of_mut)(holder) = value::duration_us(value).ok_or_else(|| {
                    format!("{name} invalid duration value \"{}\"; {WANT_DURATION}", text(value))
                })?;
            }
            Kind::Own(read, _) | Kind::List(read, _) => read(holder, value)?,
        }
        Ok(())
    }

    /// The value in the form in which [`Setting::set`] reads it, and CONFIG GET shows it.
    #[must_use]
    pub fn show(&self, holder: &T) -> String {
        match &self.kind {
            Kind::Text(field) => (field.of)(holder).clone(),
            Kind::Name(field) => (field.of)(holder).clone().unwrap_or_default(),
            Kind::Password(_) => String::new(),
            Kind::Flag(field) => (field.of)(holder).to_string(),
            Kind::Sample(field) => (field.of)(holder).to_string(),
            Kind::Integer(field, _) | Kind::Seconds(field, _) => (field.of)(holder).to_string(),
            Kind::LongSeconds(field) => ((field.of)(holder) / 1_000_000).to_string(),
            Kind::Memory(field) => (field.of)(holder).to_string(),
            Kind::Duration(field) => value::show_duration(*(field.of)(holder)),
            Kind::Own(_, show) | Kind::List(_, show) => show(holder),
        }
    }

    /// Whether the key may be given several times and each time counts.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(..))
    }

    fn number(
        &self,
        value: &[u8],
        read: fn(&[u8]) -> Option<i64>,
        want: &str,
    ) -> Result<i64, String> {
        let wrong = || format!("{} {} is not an integer; {want}", self.name, text(value));
        read(value).ok_or_else(wrong)
    }
}

/// The row of a key, written in any case.
#[must_use]
pub fn find<T>(table: &'static [Setting<T>], key: &[u8]) -> Option<&'static Setting<T>> {
    table.iter().find(|setting| setting.name.as_bytes().eq_ignore_ascii_case(key))
}

const fn row<T>(
    name: &'static str,
    kind: Kind<T>,
    default: &'static str,
    change: Change,
) -> Setting<T> {
    Setting { name, kind, default, change }
}

use Change::{Online, Reload, Restart};
use Kind::{
    Duration, Flag, Integer, List, LongSeconds, Memory, Name, Own, Password, Sample, Seconds, Text,
};

const INT_MAX: u32 = i32::MAX.cast_unsigned();

/// The keys outside of all blocks. The first fourteen are predixy's CONFIG GET in its order.
#[rustfmt::skip]
pub const GLOBAL: &[Setting<Conf>] = &[
    row("Name",              Text(field!(name)),                              "",             Online),
    row("Bind",              List(own::read_bind, own::show_binds),           "0.0.0.0:7617", Restart),
    row("WorkerThreads",     Own(own::read_threads, own::show_threads),       "1",            Restart),
    row("BufSize",           Integer(field!(buf_size), 17..=INT_MAX),         "4096",         Restart),
    row("LocalDC",           Name(field!(local_dc)),                          "",             Online),
    row("MaxMemory",         Memory(field!(max_memory)),                      "0",            Online),
    row("ClientTimeout",     LongSeconds(field!(client_timeout_us)),          "0",            Online),
    row("AllowMissLog",      Flag(field!(log.allow_miss)),                    "true",         Online),
    row("LogVerbSample",     Sample(field!(log.samples[0])),                  "0",            Online),
    row("LogDebugSample",    Sample(field!(log.samples[1])),                  "0",            Online),
    row("LogInfoSample",     Sample(field!(log.samples[2])),                  "0",            Online),
    row("LogNoticeSample",   Sample(field!(log.samples[3])),                  "1",            Online),
    row("LogWarnSample",     Sample(field!(log.samples[4])),                  "1",            Online),
    row("LogErrorSample",    Sample(field!(log.samples[5])),                  "1",            Online),
    row("Log",               Own(own::read_log, own::show_log),               "",             Reload),
    row("LogRotate",         Own(own::read_rotation, own::show_rotation),     "",             Online),
    row("LogFormat",         Own(own::read_log_format, own::show_log_format), "text",         Online),
    row("MaxClients",        Own(own::read_max_clients, own::show_max_clients), "auto",       Online),
    row("ClientOutputLimit", Memory(field!(client_output_limit)),             "268435456",    Online),
    row("ClientQueryLimit",  Memory(field!(client_query_limit)),              "1073741824",   Online),
    row("ShutdownTimeout",   Duration(field!(shutdown_timeout_us)),           "10s",          Online),
    row("AnnounceAddr",      Own(own::read_announce, own::show_announce),     "",             Online),
    row("MetricsBind",       Own(own::read_metrics, own::show_metrics),       "",             Restart),
    row("UnixSocketPerm",    Own(own::read_perm, own::show_perm),             "",             Restart),
    row("UnixSocketGroup",   Name(field!(unix_socket_group)),                 "",             Restart),
    row("User",              Name(field!(user)),                              "",             Restart),
    row("SlowlogLogSlowerThan", Own(own::read_slowlog, own::show_slowlog),    "10000",        Online),
    row("SlowlogMaxLen",     Integer(field!(slowlog_max_len), 0..=1_000_000), "128",          Online),
];

/// The keys of every pool.
#[rustfmt::skip]
pub const POOL: &[Setting<PoolCommon>] = &[
    row("Password",                 Password(field!(password)),                           "",      Online),
    row("Username",                 Name(field!(username)),                               "",      Online),
    row("MasterReadPriority",       Integer(field!(master_read_priority), 0..=100),       "50",    Online),
    row("StaticSlaveReadPriority",  Integer(field!(static_slave_read_priority), 0..=100), "0",     Online),
    row("DynamicSlaveReadPriority", Integer(field!(dynamic_slave_read_priority), 0..=100), "0",    Online),
    row("RefreshInterval",          Duration(field!(refresh_interval_us)),                "1s",    Online),
    row("ServerTimeout",            Duration(field!(server_timeout_us)),                  "0",     Online),
    row("ConnectTimeout",           Duration(field!(connect_timeout_us)),                 "1s",    Online),
    row("ServerFailureLimit",       Integer(field!(server_failure_limit), 1..=INT_MAX),   "10",    Online),
    row("ServerRetryTimeout",       Duration(field!(server_retry_timeout_us)),            "1s",    Online),
    row("FailoverHold",             Duration(field!(failover_hold_us)),                   "500ms", Online),
    row("ReadYourWrites",           Duration(field!(read_your_writes_us)),                "0",     Online),
    row("KeepAlive",                Seconds(field!(keep_alive_s), 0..=INT_MAX),           "0",     Online),
    row("Databases",                Integer(field!(databases), 1..=128),                  "1",     Restart),
];

/// The keys that only a StandaloneServerPool or a SentinelServerPool has.
#[rustfmt::skip]
pub const STANDALONE: &[Setting<StandaloneDraft>] = &[
    row("RefreshMethod", Own(own::read_refresh_method, own::show_refresh_method), "none", Restart),
    row("Distribution",  Own(own::read_distribution, own::show_distribution),     "",     Restart),
    row("Hash",          Own(own::read_hash, own::show_hash),                     "",     Restart),
    row("HashTag",       Own(own::read_hash_tag, own::show_hash_tag),             "",     Restart),
];

/// The keys of an Auth block.
#[rustfmt::skip]
pub const AUTH: &[Setting<IdentityDraft>] = &[
    row("User",           Own(own::read_user, own::show_user), "", Reload),
    row("Mode",           Own(own::read_auth_mode, own::show_auth_mode), "", Reload),
    row("KeyPrefix",      List(|auth, list| own::read_prefixes(&mut auth.key_prefixes, list),       |auth| own::show_prefixes(&auth.key_prefixes)),       "", Reload),
    row("ReadKeyPrefix",  List(|auth, list| own::read_prefixes(&mut auth.read_key_prefixes, list),  |auth| own::show_prefixes(&auth.read_key_prefixes)),  "", Reload),
    row("WriteKeyPrefix", List(|auth, list| own::read_prefixes(&mut auth.write_key_prefixes, list), |auth| own::show_prefixes(&auth.write_key_prefixes)), "", Reload),
];

/// The keys of one command in a CustomCommand block.
#[rustfmt::skip]
pub const CUSTOM_COMMAND: &[Setting<CustomCommand>] = &[
    row("Mode",    Own(own::read_command_mode, own::show_command_mode), "write", Reload),
    row("MinArgs", Integer(field!(min_args), 1..=INT_MAX),              "2",     Reload),
    row("MaxArgs", Integer(field!(max_args), 1..=9_999),                "2",     Reload),
];

/// The keys that have no value of their own but a block or a file, with when a change takes
/// effect.
#[rustfmt::skip]
pub const BLOCKS: &[(&str, Change)] = &[
    ("Include", Reload),
    ("Authority", Reload),             ("Auth", Reload),
    ("ClusterServerPool", Restart),    ("SentinelServerPool", Restart),
    ("StandaloneServerPool", Restart), ("Servers", Reload),
    ("Sentinels", Reload),             ("Group", Reload),
    ("DataCenter", Reload),            ("DC", Reload),
    ("AddrPrefix", Reload),            ("ReadPolicy", Reload),
    ("LatencyMonitor", Reload),        ("Commands", Reload),
    ("TimeSpan", Reload),              ("CustomCommand", Reload),
    ("DisabledCommands", Reload),
];

/// A key and what the manual must tell of it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The key.
    pub name: &'static str,
    /// Its default, which may be empty; `None` for what has a block or a file and no value.
    pub default: Option<&'static str>,
    /// When a change takes effect.
    pub change: Change,
}

/// Each key there is.
#[must_use]
pub fn all() -> Vec<Entry> {
    let blocks = BLOCKS.iter().map(|&(name, change)| Entry { name, default: None, change });
    entries(GLOBAL)
        .chain(entries(POOL))
        .chain(entries(STANDALONE))
        .chain(entries(AUTH))
        .chain(entries(CUSTOM_COMMAND))
        .chain(blocks)
        .collect()
}

fn entries<T>(table: &'static [Setting<T>]) -> impl Iterator<Item = Entry> {
    table.iter().map(|&Setting { name, default, change, .. }| Entry {
        name,
        default: Some(default),
        change,
    })
}

const WANT_SECONDS: &str = "want whole seconds, as in 300";
const WANT_MEMORY: &str = "want bytes, or a number above 0 with K, M or G, as in 100M";
const WANT_DURATION: &str = "want seconds, or a number above 0 with s, ms or us, as in 300ms";

fn within(
    name: &str,
    value: &[u8],
    number: i64,
    range: &RangeInclusive<u32>,
) -> Result<u32, String> {
    u32::try_from(number)
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| out_of_range(name, value, range.start(), range.end()))
}

fn out_of_range<N: std::fmt::Display>(name: &str, value: &[u8], least: N, most: N) -> String {
    format!("{name} {} not in range [{least}, {most}]", text(value))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conf::custom_command;

    /// What is given nowhere has the table's default, and what is shown can be read back.
    #[track_caller]
    fn check_defaults<T>(table: &'static [Setting<T>], mut holder: T) {
        for setting in table {
            let shown = setting.show(&holder);
            assert_eq!(shown, setting.default, "{}", setting.name);
            if !shown.is_empty() {
                setting.set(&mut holder, shown.as_bytes()).unwrap();
                assert_eq!(setting.show(&holder), shown, "{} set to its default", setting.name);
            }
        }
    }

    #[test]
    fn the_table_and_the_values_have_the_same_defaults() {
        let file = b"ClusterServerPool {\nServers {\n+ a:1\n}\n}";
        let conf = Conf::parse(Path::new("/c"), file, &[]).unwrap();
        check_defaults(POOL, conf.pool.common.clone());
        check_defaults(GLOBAL, conf);
        check_defaults(STANDALONE, StandaloneDraft::default());
        check_defaults(AUTH, IdentityDraft::default());
        check_defaults(CUSTOM_COMMAND, custom_command::DEFAULT);
    }

    #[track_caller]
    fn check_shown<T>(
        table: &'static [Setting<T>],
        holder: &mut T,
        key: &str,
        values: &[(&str, &str)],
    ) {
        let setting = find(table, key.as_bytes()).unwrap();
        for (value, want) in values {
            setting.set(holder, value.as_bytes()).unwrap();
            assert_eq!(setting.show(holder), *want, "{key} {value}");
        }
    }

    #[test]
    fn values_are_shown_in_one_form() {
        let conf = &mut Conf::unconfigured();
        check_shown(GLOBAL, conf, "maxmemory", &[("1G", "1073741824"), ("0", "0")]);
        check_shown(GLOBAL, conf, "ClientTimeout", &[("300s", "300"), ("0", "0")]);
        check_shown(GLOBAL, conf, "AllowMissLog", &[("FALSE", "false")]);
        check_shown(GLOBAL, conf, "LogVerbSample", &[("-1", "-1"), ("+7", "7")]);
        check_shown(GLOBAL, conf, "LogRotate", &[("2048M 24h", "1d 2G"), ("90m", "90m"), ("", "")]);
        check_shown(GLOBAL, conf, "LogRotate", &[("3h 3M", "3h 3M"), ("1G", "1G")]);
        check_shown(GLOBAL, conf, "WorkerThreads", &[("0", "auto"), ("2", "2")]);
        check_shown(GLOBAL, conf, "MaxClients", &[("5", "5"), ("AUTO", "auto")]);
        check_shown(GLOBAL, conf, "ShutdownTimeout", &[("1500m", "1500ms"), ("0", "0")]);
        check_shown(GLOBAL, conf, "SlowlogLogSlowerThan", &[("5ms", "5000"), ("-9", "-1")]);
        check_shown(GLOBAL, conf, "LogFormat", &[("JSON", "json")]);
        check_shown(GLOBAL, conf, "Log", &[("./a b.log", "./a b.log")]);
        check_shown(GLOBAL, conf, "MetricsBind", &[("::1:9", "[::1]:9"), ("", "")]);
        check_shown(GLOBAL, conf, "UnixSocketPerm", &[("0660", "660"), ("007", "007"), ("", "")]);
        check_shown(GLOBAL, conf, "AnnounceAddr", &[("A:9", "a:9")]);
        let twice = [
            ("::1:1 proxyprotocol", "[::1]:1 ProxyProtocol"),
            ("a:2", "[::1]:1 ProxyProtocol, a:2"),
            (
                "[::1]:1  ProxyProtocol  userfromcertificate",
                "a:2, [::1]:1 ProxyProtocol UserFromCertificate",
            ),
        ];
        check_shown(GLOBAL, conf, "Bind", &twice);
        check_shown(POOL, &mut PoolCommon::default(), "Password", &[("secret", "")]);
        let custom = &mut custom_command::DEFAULT.clone();
        check_shown(
            CUSTOM_COMMAND,
            custom,
            "Mode",
            &[("keyAt2|READ", "read|keyAt2"), ("", "write")],
        );
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut conf = Conf::unconfigured();
        for setting in GLOBAL {
            let before = setting.show(&conf);
            if setting.set(&mut conf, b"no such: value").is_err() {
                assert_eq!(setting.show(&conf), before, "{}", setting.name);
            }
        }
    }

    #[test]
    fn config_get_has_predixys_keys_first_and_in_its_order() {
        let names: Vec<_> = GLOBAL.iter().take(14).map(|setting| setting.name).collect();
        let want = "Name Bind WorkerThreads BufSize LocalDC MaxMemory ClientTimeout AllowMissLog LogVerbSample \
                    LogDebugSample LogInfoSample LogNoticeSample LogWarnSample LogErrorSample";
        assert_eq!(names.join(" "), want);
    }

    #[test]
    fn every_key_has_its_paragraph_in_the_manual() {
        let manual = include_str!("../../man/predixy.conf.5");
        let paragraphs: Vec<&str> = manual.split("\n.It Ic ").skip(1).collect();
        for Entry { name, default, change } in all() {
            let of_key = |text: &&&str| text.split_whitespace().next() == Some(name);
            let default = default.map(|text| if text.is_empty() { "none" } else { text });
            let default = default.map_or_else(String::new, |text| format!("\nDefault: {text}."));
            let change = format!("\nChanged: {change:?}.").to_ascii_lowercase();
            let change = change.replace("changed", "Changed");
            let paragraph = paragraphs
                .iter()
                .filter(of_key)
                .find(|text| text.contains(&default) && text.contains(&change));
            assert!(paragraph.is_some(), "{name}: no paragraph with {default:?} and {change:?}");
        }
    }
}
