//! Clients as `CLIENT LIST` shows them, and which of them are meant.
//!
//! What is here tells and chooses; it knows no sockets. Fields have the names and the order of
//! Redis, because tools read them; what a proxy has no figure for is left at what Redis says when
//! there is nothing.

use std::collections::BTreeSet;

use crate::resp::command::error_text;
use crate::resp::writer::Sink;

/// What is known of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientLine {
    /// `CLIENT ID`.
    pub id: u64,
    /// Where it comes from.
    pub address: String,
    /// Where it has reached us.
    pub local_address: String,
    /// The number of its socket.
    pub descriptor: i32,
    /// `CLIENT GETNAME`.
    pub name: Box<[u8]>,
    /// How long it has been there, in seconds.
    pub age_s: u64,
    /// How long it has said and got nothing, in seconds.
    pub idle_s: u64,
    /// One letter for each thing that is special about it.
    pub flags: String,
    /// The database that it has selected.
    pub database: u32,
    /// How many channels it is subscribed to.
    pub channels: usize,
    /// How many patterns.
    pub patterns: usize,
    /// How many channels of shards.
    pub shard_channels: usize,
    /// How many commands it has queued since MULTI.
    pub queued: Option<usize>,
    /// How many keys it has named to WATCH.
    pub watched: usize,
    /// Bytes of requests that are not complete, or wait.
    pub query: usize,
    /// Bytes for which there is room beside those.
    pub query_free: usize,
    /// Bytes of commands that are queued.
    pub queued_bytes: usize,
    /// Bytes of replies that it has not read.
    pub unread: usize,
    /// How many buffers they take.
    pub unread_buffers: usize,
    /// Bytes that all this takes.
    pub memory: usize,
    /// The last command that it has sent.
    pub command: String,
    /// Who it has shown itself to be.
    pub user: String,
    /// 2 or 3.
    pub protocol: u8,
    /// `CLIENT SETINFO lib-name`.
    pub library_name: Box<[u8]>,
    /// `CLIENT SETINFO lib-ver`.
    pub library_version: Box<[u8]>,
    /// Which handler serves it.
    pub handler: usize,
}

/// What kind of client is meant. All others that Redis has, a proxy has none of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientType {
    /// Who asks and is answered.
    Normal,
    /// Who is subscribed to something.
    Subscriber,
    /// A master, or a replica.
    Server,
}

/// Which clients are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// Those with these numbers, of which there may be many.
    pub ids: Option<BTreeSet<u64>>,
    /// Those from this address.
    pub address: Option<Box<[u8]>>,
    /// Those that have reached us at this one.
    pub local_address: Option<Box<[u8]>>,
    /// Those of this kind.
    pub kind: Option<ClientType>,
    /// Those who are this user.
    pub user: Option<Box<[u8]>>,
    /// Those who have been there for so long, in seconds.
    pub age_min_s: u64,
    /// Those who ask themselves are meant, too.
    pub with_asker: bool,
}

/// The text of an error.
pub type Wrong = Vec<u8>;

impl ClientLine {
    /// Appends its line, without the end of it.
    pub fn write(&self, text: &mut Vec<u8>) {
        let field = |text: &mut Vec<u8>, name: &str, value: &dyn std::fmt::Display| {
            text.put(format!(" {name}={value}").as_bytes());
        };
        text.put(format!("id={}", self.id).as_bytes());
        field(text, "addr", &self.address);
        field(text, "laddr", &self.local_address);
        field(text, "fd", &self.descriptor);
        text.put(b" name=");
        text.put(&self.name);
        field(text, "age", &self.age_s);
        field(text, "idle", &self.idle_s);
        field(text, "flags", &if self.flags.is_empty() { "N" } else { &self.flags });
        field(text, "db", &self.database);
        field(text, "sub", &self.channels);
        field(text, "psub", &self.patterns);
        field(text, "ssub", &self.shard_channels);
        let queued = self.queued.map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX));
        field(text, "multi", &queued);
        field(text, "watch", &self.watched);
        field(text, "qbuf", &self.query);
        field(text, "qbuf-free", &self.query_free);
        field(text, "argv-mem", &0);
        field(text, "multi-mem", &self.queued_bytes);
        field(text, "rbs", &0);
        field(text, "rbp", &0);
        field(text, "obl", &0);
        field(text, "oll", &self.unread_buffers);
        field(text, "omem", &self.unread);
        field(text, "tot-mem", &self.memory);
        field(text, "events", &if self.unread > 0 { "rw" } else { "r" });
        field(text, "cmd", &self.command);
        field(text, "user", &self.user);
        field(text, "redir", &-1);
        field(text, "resp", &self.protocol);
        text.put(b" lib-name=");
        text.put(&self.library_name);
        text.put(b" lib-ver=");
        text.put(&self.library_version);
        field(text, "io-thread", &self.handler);
    }

    fn kind(&self) -> ClientType {
        if self.channels + self.patterns + self.shard_channels > 0 {
            ClientType::Subscriber
        } else {
            ClientType::Normal
        }
    }
}

impl ClientType {
    fn parse(word: &[u8]) -> Result<ClientType, Wrong> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"normal") {
            Ok(ClientType::Normal)
        } else if is(b"pubsub") {
            Ok(ClientType::Subscriber)
        } else if is(b"master") || is(b"replica") || is(b"slave") {
            Ok(ClientType::Server)
        } else {
            Err(quoting("ERR Unknown client type '", word))
        }
    }
}

impl ClientFilter {
    /// What stands behind `CLIENT LIST`.
    ///
    /// # Errors
    ///
    /// The text of the error, in Redis's words.
    pub fn for_list(words: &[&[u8]]) -> Result<ClientFilter, Wrong> {
        let all = ClientFilter { with_asker: true, ..ClientFilter::default() };
        match words {
            [] => Ok(all),
            [option, kind] if option.eq_ignore_ascii_case(b"type") => {
                Ok(ClientFilter { kind: Some(ClientType::parse(kind)?), ..all })
            }
            [option, ids @ ..] if option.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
                let id =
                    |word: &&[u8]| integer(word).ok_or_else(|| b"ERR Invalid client ID".to_vec());
                let ids = ids.iter().map(|word| Ok(u64::try_from(id(word)?).unwrap_or(0)));
                Ok(ClientFilter { ids: Some(ids.collect::<Result<_, Wrong>>()?), ..all })
            }
            _ => Err(SYNTAX_ERROR.to_vec()),
        }
    }

    /// What stands behind `CLIENT KILL`. One word is the address of one client, which may be the
    /// one that asks; `is_user` tells whether there is a user of that name.
    ///
    /// # Errors
    ///
    /// The text of the error, in Redis's words.
    pub fn for_kill(
        words: &[&[u8]],
        is_user: impl Fn(&[u8]) -> bool,
    ) -> Result<ClientFilter, Wrong> {
        if let [address] = words {
            let address = Some((*address).into());
            return Ok(ClientFilter { address, with_asker: true, ..ClientFilter::default() });
        }
        let mut filter = ClientFilter::default();
        let (pairs, rest) = words.as_chunks::<2>();
        for [option, value] in pairs {
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            if is(b"id") {
                let id = integer(value).filter(|id| *id > 0);
                let id = id.and_then(|id| u64::try_from(id).ok());
                let id = id.ok_or(b"ERR client-id should be greater than 0".to_vec())?;
                filter.ids = Some(BTreeSet::from([id]));
            } else if is(b"addr") {
                filter.address = Some((*value).into());
            } else if is(b"laddr") {
                filter.local_address = Some((*value).into());
            } else if is(b"type") {
                filter.kind = Some(ClientType::parse(value)?);
            } else if is(b"user") {
                if !is_user(value) {
                    return Err(quoting("ERR No such user '", value));
                }
                filter.user = Some((*value).into());
            } else if is(b"skipme") {
                filter.with_asker = match value {
                    _ if value.eq_ignore_ascii_case(b"yes") => false,
                    _ if value.eq_ignore_ascii_case(b"no") => true,
                    _ => return Err(SYNTAX_ERROR.to_vec()),
                };
            } else if is(b"maxage") {
                let age = integer(value)
                    .ok_or(b"ERR maxage is not an integer or out of range".to_vec())?;
                let age = u64::try_from(age).ok().filter(|age| *age > 0);
                filter.age_min_s = age.ok_or(b"ERR maxage should be greater than 0".to_vec())?;
            } else {
                return Err(SYNTAX_ERROR.to_vec());
            }
        }
        if rest.is_empty() { Ok(filter) } else { Err(SYNTAX_ERROR.to_vec()) }
    }

    /// Whether this client is meant; `is_asker` if it is the one that asks.
    pub fn admits(&self, client: &ClientLine, is_asker: bool) -> bool {
        let is_like = |wanted: &Option<Box<[u8]>>, own: &str| {
            wanted.as_ref().is_none_or(|wanted| **wanted == *own.as_bytes())
        };
        (self.with_asker || !is_asker)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && is_like(&self.address, &client.address)
            && is_like(&self.local_address, &client.local_address)
            && is_like(&self.user, &client.user)
            && self.kind.is_none_or(|kind| kind == client.kind())
            && client.age_s >= self.age_min_s
    }
}

const SYNTAX_ERROR: &[u8] = b"ERR syntax error";
/// So many bytes of what a client wrote are repeated.
const SHOWN_MAX: usize = 128;

/// A number as Redis reads it: digits, perhaps with a minus, and nothing else.
pub fn integer(digits: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == digits).then_some(number)
}

fn quoting(before: &str, word: &[u8]) -> Wrong {
    let mut text = before.as_bytes().to_vec();
    error_text::push_shown(word, SHOWN_MAX, &mut text);
    text.push(b'\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> ClientLine {
        ClientLine {
            id: 7,
            address: "127.0.0.1:5".into(),
            local_address: "127.0.0.1:7617".into(),
            descriptor: 9,
            name: (*b"me").into(),
            age_s: 60,
            user: "default".into(),
            command: "client|list".into(),
            protocol: 2,
            ..ClientLine::default()
        }
    }

    #[test]
    fn a_line_reads_as_redis_writes_it() {
        let mut text = Vec::new();
        line().write(&mut text);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "id=7 addr=127.0.0.1:5 laddr=127.0.0.1:7617 fd=9 name=me age=60 idle=0 flags=N db=0 \
             sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 \
             rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=client|list user=default redir=-1 \
             resp=2 lib-name= lib-ver= io-thread=0"
        );
        let mut text = Vec::new();
        let busy = ClientLine {
            flags: "xU".into(),
            queued: Some(3),
            unread: 100,
            library_name: (*b"lib").into(),
            ..line()
        };
        busy.write(&mut text);
        let text = String::from_utf8(text).unwrap();
        for part in [" flags=xU ", " multi=3 ", " omem=100 ", " events=rw ", " lib-name=lib "] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    fn words(text: &str) -> Vec<&[u8]> {
        text.split(' ').filter(|word| !word.is_empty()).map(str::as_bytes).collect()
    }

    #[track_caller]
    fn check_list(text: &str, want: Result<bool, &str>) {
        let filter = ClientFilter::for_list(&words(text));
        let admits = filter.map(|filter| filter.admits(&line(), true));
        assert_eq!(admits, want.map_err(|text| text.as_bytes().to_vec()), "{text}");
    }

    #[test]
    fn a_list_may_be_of_some_clients() {
        check_list("", Ok(true));
        check_list("type normal", Ok(true));
        check_list("TYPE Pubsub", Ok(false));
        check_list("type replica", Ok(false));
        check_list("type master", Ok(false));
        check_list("id 7", Ok(true));
        check_list("id 1 -3 7 9", Ok(true));
        check_list("id 8", Ok(false));
        check_list("id x", Err("ERR Invalid client ID"));
        check_list("type what", Err("ERR Unknown client type 'what'"));
        check_list("type what\r\nx", Err("ERR Unknown client type 'what  x'"));
        for wrong in ["id", "type", "nope", "type normal more", "normal type"] {
            check_list(wrong, Err("ERR syntax error"));
        }
    }

    #[track_caller]
    fn check_kill(text: &str, want: Result<[bool; 2], &str>) {
        let filter = ClientFilter::for_kill(&words(text), |user| user == b"default");
        let admits =
            filter.map(|filter| [filter.admits(&line(), false), filter.admits(&line(), true)]);
        assert_eq!(admits, want.map_err(|text| text.as_bytes().to_vec()), "{text}");
    }

    #[test]
    fn who_is_to_be_killed_may_be_told_in_many_ways() {
        check_kill("127.0.0.1:5", Ok([true, true]));
        check_kill("127.0.0.1:55", Ok([false, false]));
        check_kill("addr 127.0.0.1:5", Ok([true, false]));
        check_kill("ADDR 127.0.0.1:5 SkipMe no", Ok([true, true]));
        check_kill("addr 127.0.0.1:5 skipme YES", Ok([true, false]));
        check_kill("laddr 127.0.0.1:7617", Ok([true, false]));
        check_kill("laddr 127.0.0.1:7618", Ok([false, false]));
        check_kill("id 7", Ok([true, false]));
        check_kill("id 7 type normal user default maxage 60", Ok([true, false]));
        check_kill("id 7 type pubsub", Ok([false, false]));
        check_kill("maxage 61", Ok([false, false]));
        check_kill("id 0", Err("ERR client-id should be greater than 0"));
        check_kill("id x", Err("ERR client-id should be greater than 0"));
        check_kill("user joe", Err("ERR No such user 'joe'"));
        check_kill("type what", Err("ERR Unknown client type 'what'"));
        check_kill("maxage x", Err("ERR maxage is not an integer or out of range"));
        check_kill("maxage 0", Err("ERR maxage should be greater than 0"));
        for wrong in ["id 7 x", "skipme maybe", "nope 7", "id 7 skipme"] {
            check_kill(wrong, Err("ERR syntax error"));
        }
    }
}
