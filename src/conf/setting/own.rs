//! The values that have a form of their own: how they are read, and how they are shown.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{out_of_range, text};
use crate::base::address::Address;
use crate::conf::authority::IdentityDraft;
use crate::conf::server_pool::StandaloneDraft;
use crate::conf::value;
use crate::conf::{Bind, Conf, Distribution, Hash, ProxyProtocol, RefreshMethod, Rotation};
use crate::resp::command::{CustomCommand, Rights};

pub(super) fn read_bind(conf: &mut Conf, value: &[u8]) -> Result<(), String> {
    let value = value.trim_ascii();
    let (rest, names_users) = without_word(value, USER_FROM_CERTIFICATE);
    let (place, has_header) = without_word(rest, PROXY_PROTOCOL);
    let proxy_protocol = match (has_header, names_users) {
        (true, true) => ProxyProtocol::Users,
        (true, false) => ProxyProtocol::Addresses,
        (false, false) => ProxyProtocol::No,
        (false, true) => {
            return Err("Bind UserFromCertificate without ProxyProtocol before it: certificates \
                        are told by the header of the PROXY protocol"
                .to_owned());
        }
    };
    let address = address("Bind", place)?;
    conf.binds.retain(|bind| bind.address != address);
    if conf.binds.len() == BINDS_MAX {
        return Err(format!("Bind may be given {BINDS_MAX} times at most"));
    }
    conf.binds.push(Bind { address, proxy_protocol });
    Ok(())
}

pub(super) fn show_binds(conf: &Conf) -> String {
    let shown = |bind: &Bind| match bind.proxy_protocol {
        ProxyProtocol::No => bind.address.to_string(),
        ProxyProtocol::Addresses => format!("{} ProxyProtocol", bind.address),
        ProxyProtocol::Users => format!("{} ProxyProtocol UserFromCertificate", bind.address),
    };
    conf.binds.iter().map(shown).collect::<Vec<_>>().join(", ")
}

const BINDS_MAX: usize = 64;

const PROXY_PROTOCOL: &[u8] = b"ProxyProtocol";
const USER_FROM_CERTIFICATE: &[u8] = b"UserFromCertificate";

/// What stands before `word` at the end of a value, and whether it stands there.
fn without_word<'a>(value: &'a [u8], word: &[u8]) -> (&'a [u8], bool) {
    match value.iter().rposition(u8::is_ascii_whitespace) {
        Some(blank) if value[blank + 1..].eq_ignore_ascii_case(word) => {
            (value[..blank].trim_ascii_end(), true)
        }
        _ => (value, false),
    }
}

pub(super) fn read_threads(conf: &mut Conf, value: &[u8]) -> Result<(), String> {
    if value.eq_ignore_ascii_case(b"auto") {
        conf.worker_threads = 0;
        return Ok(());
    }
    let number = value::integer(value).ok_or_else(|| {
        format!("WorkerThreads {} is not an integer; want a number or auto", text(value))
    })?;
    conf.worker_threads = usize::try_from(number)
        .ok()
        .filter(|number| *number <= THREADS_MAX)
        .ok_or_else(|| out_of_range("WorkerThreads", value, 0, THREADS_MAX))?;
    Ok(())
}

pub(super) fn show_threads(conf: &Conf) -> String {
    match conf.worker_threads {
        0 => "auto".to_owned(),
        number => number.to_string(),
    }
}

/// No machine gains from more, and each thread costs memory.
const THREADS_MAX: usize = 1_024;

pub(super) fn read_max_clients(conf: &mut Conf, value: &[u8]) -> Result<(), String> {
    if value.eq_ignore_ascii_case(b"auto") {
        conf.max_clients = None;
        return Ok(());
    }
    let number = value::integer(value).ok_or_else(|| {
        format!("MaxClients {} is not an integer; want a number or auto", text(value))
    })?;
    let number = u64::try_from(number)
        .ok()
        .filter(|number| *number >= 1)
        .ok_or_else(|| out_of_range("MaxClients", value, 1, i64::MAX))?;
    conf.max_clients = Some(number);
    Ok(())
}

pub(super) fn show_max_clients(conf: &Conf) -> String {
    conf.max_clients.map_or_else(|| "auto".to_owned(), |number| number.to_string())
}

pub(super) fn read_log(conf: &mut Conf, value: &[u8]) -> Result<(), String> {
    conf.log.path = (!value.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(value)));
    Ok(())
}

pub(super) fn show_log(conf: &Conf) -> String {
    conf.log.path.as_ref().map_or_else(String::new, |path| path.display().to_string())
}

pub(super) fn read_rotation(conf: &mut Conf, value: &[u8]) -> Result<(), String> {
    conf.log.rotation = rotation(value).ok_or_else(|| {
        let value = text(value);
        format!("invalid LogRotate \"{value}\"; want 1d, 1h to 24h or 1m to 1440m, and a size in G or M, as in 1d 2G")
    })?;
    Ok(())
}

fn rotation(value: &[u8]) -> Option<Rotation> {
    let mut rotation = Rotation::default();
    for item in value.split(u8::is_ascii_whitespace).filter(|item| !item.is_empty()) {
        let (unit, number) = item.split_last()?;
        let number = value::integer(number).and_then(|number| u64::try_from(number).ok());
        let number = number.filter(|number| *number > 0)?;
        let period = |most, seconds: u32| {
            let number = u32::try_from(number).ok().filter(|number| *number <= most);
            number.map(|number| number * seconds)
        };
        match unit {
            b'd' => rotation.period_s = period(1, 86_400)?,
            b'h' => rotation.period_s = period(24, 3_600)?,
            b'm' => rotation.period_s = period(1_440, 60)?,
            b'G' => rotation.size = number.checked_mul(1 << 30)?,
            b'M' => rotation.size = number.checked_mul(1 << 20)?,
            _ => return None,
        }
    }
    Some(rotation)
}

pub(super) fn show_rotation(conf: &Conf) -> String {
    let Rotation { period_s, size } = conf.log.rotation;
    let period = match period_s {
        0 => None,
        86_400 => Some("1d".to_owned()),
        _ if period_s.is_multiple_of(3_600) => Some(format!("{}h", period_s / 3_600)),
        _ => Some(format!("{}m", period_s / 60)),
    };
    let size = match size >> 20 {
        0 => None,
        megabytes if megabytes.is_multiple_of(1_024) => Some(format!("{}G", megabytes / 1_024)),
        megabytes => Some(format!("{megabytes}M")),
    };
    [period, size].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

pub(super) fn read_log_format(conf: &mut Conf, value: &[u8]) -> Result<(), String> {
    conf.log.json = match value.to_ascii_lowercase().as_slice() {
        b"text" => false,
        b"json" => true,
        _ => return Err(format!("unknown LogFormat {}; want text or json", text(value))),
    };
    Ok(())
}

pub(super) fn show_log_format(conf: &Conf) -> String {
    if conf.log.json { "json" } else { "text" }.to_owned()
}

pub(super) fn read_announce(conf: &mut Conf, value: &[u8]) -> Result<(), String> {
    let address = optional_address("AnnounceAddr", value)?;
    if let Some(Address::Unix(_)) = address {
        let value = text(value);
        return Err(format!("AnnounceAddr invalid addr {value}: it is no host:port"));
    }
    conf.announce = address;
    Ok(())
}

pub(super) fn show_announce(conf: &Conf) -> String {
    conf.announce.as_ref().map_or_else(String::new, Address::to_string)
}

pub(super) fn read_metrics(conf: &mut Conf, value: &[u8]) -> Result<(), String> {
    conf.metrics_bind = optional_address("MetricsBind", value)?;
    Ok(())
}

pub(super) fn show_metrics(conf: &Conf) -> String {
    conf.metrics_bind.as_ref().map_or_else(String::new, Address::to_string)
}

pub(super) fn read_perm(conf: &mut Conf, value: &[u8]) -> Result<(), String> {
    let digits = text(value);
    let mode = u32::from_str_radix(&digits, 8).ok().filter(|mode| *mode <= 0o777);
    if !digits.is_empty() && (mode.is_none() || digits.starts_with('+')) {
        return Err(format!(
            "UnixSocketPerm invalid value {digits}; want octal digits, 000 to 777"
        ));
    }
    conf.unix_socket_perm = mode;
    Ok(())
}

pub(super) fn show_perm(conf: &Conf) -> String {
    conf.unix_socket_perm.map_or_else(String::new, |mode| format!("{mode:03o}"))
}

/// A number alone is microseconds, as in Redis; with a unit it is a duration like the others.
pub(super) fn read_slowlog(conf: &mut Conf, value: &[u8]) -> Result<(), String> {
    conf.slowlog_slower_than_us = match value::integer(value) {
        Some(number) => u64::try_from(number).ok(),
        None => Some(value::duration_us(value).ok_or_else(|| {
            let value = text(value);
            format!("SlowlogLogSlowerThan invalid duration value \"{value}\"; want microseconds, a number above 0 with s, ms or us, or -1")
        })?),
    };
    Ok(())
}

pub(super) fn show_slowlog(conf: &Conf) -> String {
    conf.slowlog_slower_than_us.map_or_else(|| "-1".to_owned(), |us| us.to_string())
}

pub(super) fn read_refresh_method(pool: &mut StandaloneDraft, value: &[u8]) -> Result<(), String> {
    pool.refresh = match value.to_ascii_lowercase().as_slice() {
        b"none" => None,
        b"fixed" => Some(RefreshMethod::Fixed),
        b"sentinel" => Some(RefreshMethod::Sentinel),
        _ => {
            return Err(format!("unknown RefreshMethod:{}; want fixed or sentinel", text(value)));
        }
    };
    Ok(())
}

pub(super) fn show_refresh_method(pool: &StandaloneDraft) -> String {
    match pool.refresh {
        None => "none",
        Some(RefreshMethod::Fixed) => "fixed",
        Some(RefreshMethod::Sentinel) => "sentinel",
    }
    .to_owned()
}

pub(super) fn read_distribution(pool: &mut StandaloneDraft, value: &[u8]) -> Result<(), String> {
    pool.distribution = Some(match value.to_ascii_lowercase().as_slice() {
        b"modula" => Distribution::Modula,
        b"random" => Distribution::Random,
        _ => return Err("unknown Distribution; want modula or random".to_owned()),
    });
    Ok(())
}

pub(super) fn show_distribution(pool: &StandaloneDraft) -> String {
    match pool.distribution {
        None => "",
        Some(Distribution::Modula) => "modula",
        Some(Distribution::Random) => "random",
    }
    .to_owned()
}

pub(super) fn read_hash(pool: &mut StandaloneDraft, value: &[u8]) -> Result<(), String> {
    pool.hash = Some(match value.to_ascii_lowercase().as_slice() {
        b"atol" => Hash::Atol,
        b"crc16" => Hash::Crc16,
        _ => return Err("unknown Hash; want atol or crc16".to_owned()),
    });
    Ok(())
}

pub(super) fn show_hash(pool: &StandaloneDraft) -> String {
    match pool.hash {
        None => "",
        Some(Hash::Atol) => "atol",
        Some(Hash::Crc16) => "crc16",
    }
    .to_owned()
}

pub(super) fn read_hash_tag(pool: &mut StandaloneDraft, value: &[u8]) -> Result<(), String> {
    pool.hash_tag = match value {
        [] => None,
        [open, close] => Some((*open, *close)),
        _ => return Err("HashTag invalid; want two characters, as in \"{}\"".to_owned()),
    };
    Ok(())
}

pub(super) fn show_hash_tag(pool: &StandaloneDraft) -> String {
    pool.hash_tag.map_or_else(String::new, |(open, close)| text(&[open, close]))
}

pub(super) fn read_user(auth: &mut IdentityDraft, value: &[u8]) -> Result<(), String> {
    auth.user = match std::str::from_utf8(value) {
        Ok("") => return Err("User require a name".to_owned()),
        Ok(user) => Some(user.to_owned()),
        Err(_) => return Err("User is not UTF-8".to_owned()),
    };
    Ok(())
}

pub(super) fn show_user(auth: &IdentityDraft) -> String {
    auth.user.clone().unwrap_or_default()
}

pub(super) fn read_auth_mode(auth: &mut IdentityDraft, value: &[u8]) -> Result<(), String> {
    auth.mode =
        Some(rights(value).ok_or_else(|| {
            "Auth Mode must be read or write; want read, write or admin".to_owned()
        })?);
    Ok(())
}

pub(super) fn show_auth_mode(auth: &IdentityDraft) -> String {
    auth.mode.map_or("", show_rights).to_owned()
}

/// Blanks separate the prefixes, and one more line adds more.
pub(super) fn read_prefixes(prefixes: &mut Vec<Vec<u8>>, list: &[u8]) -> Result<(), String> {
    let words = list.split(|byte| matches!(byte, b' ' | b'\t'));
    prefixes.extend(words.filter(|word| !word.is_empty()).map(<[u8]>::to_vec));
    Ok(())
}

pub(super) fn show_prefixes(prefixes: &[Vec<u8>]) -> String {
    text(&prefixes.join(&b' '))
}

/// `read`, `write` or `admin`, and where the key is, joined by `|`.
pub(super) fn read_command_mode(command: &mut CustomCommand, value: &[u8]) -> Result<(), String> {
    let (mut mode, mut key_at) = (None, None);
    for word in value.split(|byte| *byte == b'|').map(<[u8]>::trim_ascii) {
        let key = match word.to_ascii_lowercase().as_slice() {
            b"keyat1" => Some(1),
            b"keyat2" => Some(2),
            b"keyat3" => Some(3),
            _ => None,
        };
        if key.is_some() {
            exclusive(&mut key_at, key, "Mode require exclusive key pos")?;
        } else if let Some(rights) = rights(word) {
            exclusive(&mut mode, Some(rights), "Mode require exclusive mode")?;
        } else if !word.is_empty() || value.len() > word.len() {
            let want = "want read, write or admin, and keyAt1 to keyAt3, joined by |";
            return Err(format!("unknown mode {}; {want}", text(word)));
        }
    }
    command.rights = mode.unwrap_or(Rights::Write);
    command.key_at = key_at.unwrap_or(1);
    Ok(())
}

pub(super) fn show_command_mode(command: &CustomCommand) -> String {
    let rights = show_rights(command.rights);
    match command.key_at {
        1 => rights.to_owned(),
        at => format!("{rights}|keyAt{at}"),
    }
}

/// A word may be given again, but not another one of its sort.
fn exclusive<V: PartialEq>(
    known: &mut Option<V>,
    new: Option<V>,
    error: &str,
) -> Result<(), String> {
    if known.is_some() && *known != new {
        return Err(error.to_owned());
    }
    *known = new;
    Ok(())
}

fn rights(word: &[u8]) -> Option<Rights> {
    match word.to_ascii_lowercase().as_slice() {
        b"read" => Some(Rights::Read),
        b"write" => Some(Rights::Write),
        b"admin" => Some(Rights::Admin),
        _ => None,
    }
}

fn show_rights(rights: Rights) -> &'static str {
    match rights {
        Rights::Read => "read",
        Rights::Write => "write",
        Rights::Admin => "admin",
    }
}

fn optional_address(name: &str, value: &[u8]) -> Result<Option<Address>, String> {
    if value.is_empty() { Ok(None) } else { address(name, value).map(Some) }
}

/// An address to be used as it stands; the text says what is wrong and what would be right.
pub(super) fn address(name: &str, value: &[u8]) -> Result<Address, String> {
    let shown = text(value);
    match std::str::from_utf8(value).map(Address::parse) {
        Ok(Ok(address)) => Ok(address),
        Ok(Err(error)) => Err(format!("{name} invalid addr {shown}: it {error}")),
        Err(_) => Err(format!("{name} invalid addr {shown}: it is not UTF-8")),
    }
}
