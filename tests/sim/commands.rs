//! What commands do to the keys of a server, the same in every shape of pool.

use std::time::Duration;

use predixy::sys::sim::World;

use super::data::Tag;
use super::model::{Model, Standing};
use super::wire;

/// A value that says whose it is, and can be checked byte by byte.
pub fn tagged_value(tag: Tag, key: &[u8], length: usize) -> Vec<u8> {
    let mut value = format!("<{}.{}.{}.{length}>", tag.0, tag.1, key.escape_ascii()).into_bytes();
    let mut filler = u64::from(tag.1) * 31 + tag.0 as u64;
    while value.len() < length {
        filler = filler.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        value.extend_from_slice(&filler.to_be_bytes());
    }
    value
}

/// Whose value it is; panics if it is not exactly what `tagged_value` gave for this key.
pub fn tag_of_value(key: &[u8], value: &[u8]) -> Tag {
    let head = value.strip_prefix(b"<").and_then(|rest| rest.split(|byte| *byte == b'>').next());
    let head = head.map(|head| String::from_utf8_lossy(head).into_owned()).unwrap_or_default();
    let mut parts = head.split('.');
    let mut next = || parts.next().and_then(|part| part.parse::<usize>().ok());
    let (Some(client), Some(number)) = (next(), next()) else {
        panic!("a server got a value that nobody sent: {}", wire::shown(value));
    };
    let length = head.rsplit('.').next().and_then(|part| part.parse().ok()).unwrap_or(0);
    let tag = (client, u32::try_from(number).unwrap_or(0));
    let want = tagged_value(tag, key, length);
    assert!(
        value == want,
        "a server got a spoilt value for {}: {}",
        wire::shown(key),
        wire::shown(value)
    );
    tag
}

/// The name of a key that stands for no key but tells which request a DEL is: it travels with the
/// key that has the same hash tag.
pub fn marker(hash_tag: &str, tag: Tag) -> Vec<u8> {
    format!("{{{hash_tag}}}#{}.{}", tag.0, tag.1).into_bytes()
}

fn tag_of_marker(key: &[u8]) -> Option<Tag> {
    let text = std::str::from_utf8(key).ok()?;
    let (client, number) = text.split_once('#')?.1.split_once('.')?;
    Some((client.parse().ok()?, number.parse().ok()?))
}

/// The only script there is, and the name that servers give it.
pub const SCRIPT: &[u8] = b"return redis.call('SET', KEYS[1], ARGV[1])";
pub const DIGEST: &str = "8a6f3c1d5e0b9274f8a6c3e1d5b09274f8a6c3e1";

/// What a server makes of a request.
pub enum Execution {
    Reply(Vec<u8>),
    /// Nothing, until something is there to take.
    Blocks,
}

/// A request, as far as it says where it belongs.
struct Keys<'a> {
    all: Vec<&'a [u8]>,
    /// Without the markers.
    real: Vec<&'a [u8]>,
    writes: bool,
}

impl Keys<'_> {
    fn of(words: &[Vec<u8>]) -> Keys<'_> {
        let name = words[0].to_ascii_lowercase();
        let all: Vec<&[u8]> = match &*name {
            b"get" | b"set" | b"incr" | b"append" | b"strlen" | b"rpush" | b"lrange"
            | b"hgetall" => vec![&words[1]],
            b"mset" => words[1..].iter().step_by(2).map(Vec::as_slice).collect(),
            b"blpop" | b"brpop" => words[1..words.len() - 1].iter().map(Vec::as_slice).collect(),
            b"eval" | b"evalsha" => vec![&words[3]],
            b"mget" | b"exists" | b"touch" | b"del" | b"unlink" | b"watch" => {
                words[1..].iter().map(Vec::as_slice).collect()
            }
            _ => Vec::new(),
        };
        let real = all.iter().copied().filter(|key| tag_of_marker(key).is_none()).collect();
        let reads = [&b"get"[..], b"strlen", b"mget", b"exists", b"touch", b"lrange", b"hgetall"];
        let reads = reads.contains(&&*name);
        Keys { all, real, writes: !reads }
    }
}

impl Model {
    /// What keeps a server from executing a request, if anything does.
    pub fn hindrance(
        &mut self,
        node: usize,
        standing: Standing,
        words: &[Vec<u8>],
    ) -> Option<Vec<u8>> {
        let Keys { all, real, writes } = Keys::of(words);
        if all.is_empty() { None } else { self.refer(node, standing, &all, &real, writes) }
    }

    /// Lets a server execute a request.
    pub fn execute(&mut self, node: usize, standing: Standing, words: &[Vec<u8>]) -> Execution {
        match self.hindrance(node, standing, words) {
            Some(elsewhere) => Execution::Reply(elsewhere),
            None => self.obey(node, standing, words),
        }
    }

    /// Executes what nothing is in the way of any more: in a transaction, whose keys were looked at
    /// before its first command.
    pub fn obey(&mut self, node: usize, standing: Standing, words: &[Vec<u8>]) -> Execution {
        let Keys { all: keys, real, .. } = Keys::of(words);
        let name = words[0].to_ascii_lowercase();
        let ok = || b"+OK\r\n".to_vec();
        Execution::Reply(match &*name {
            b"get" => self.bulk(node, keys[0]),
            b"strlen" => integer(self.data.read(node, keys[0]).map_or(0, |value| value.len())),
            // As if every value were the only field of a hash.
            b"hgetall" => match self.data.read(node, keys[0]) {
                Some(value) => wire::command(&[&b"value"[..], &value]),
                None => b"*0\r\n".to_vec(),
            },
            b"publish" => {
                self.check_channel(node, &words[1]);
                self.publish_reply(node, words, false)
            }
            b"spublish" => {
                self.check_channel(node, &words[1]);
                match self.refer_shard(node, &words[1]) {
                    Some(elsewhere) => elsewhere,
                    None => self.publish_reply(node, words, true),
                }
            }
            b"set" => {
                self.write(node, &words[1], &words[2], false);
                ok()
            }
            b"append" => integer(self.write(node, &words[1], &words[2], true)),
            b"incr" => {
                let old = self.data.peek(node, keys[0]);
                let old = old.map_or(0, |old| String::from_utf8_lossy(old).parse().unwrap_or(0));
                self.enter(node, keys[0], None, Some((old + 1).to_string().into_bytes()));
                integer(old + 1)
            }
            b"mset" => {
                for pair in words[1..].chunks(2) {
                    self.write(node, &pair[0], &pair[1], false);
                }
                ok()
            }
            b"mget" => {
                let mut reply = format!("*{}\r\n", keys.len()).into_bytes();
                for key in keys {
                    reply.extend(self.bulk(node, key));
                }
                reply
            }
            b"exists" | b"touch" => {
                integer(real.iter().filter(|key| self.data.read(node, key).is_some()).count())
            }
            b"del" | b"unlink" => {
                let mut removed = 0;
                for pair in words[1..].chunks(2) {
                    let tag = tag_of_marker(&pair[1]);
                    assert!(tag.is_some(), "a marker has lost its key: {}", wire::shown(&pair[1]));
                    removed += usize::from(self.enter(node, &pair[0], tag, None));
                }
                integer(removed)
            }
            b"rpush" => {
                let tag = tag_of_value(&words[1], &words[2]);
                integer(self.push(node, &words[1], &words[2], Some(tag)))
            }
            b"lrange" => {
                let list = self.data.read(node, keys[0]);
                wire::command(&elements(list.as_deref()))
            }
            b"blpop" | b"brpop" => match self.pop(node, &keys, name == b"blpop") {
                Some(element) => wire::command(&[keys[0], &element]),
                None => return Execution::Blocks,
            },
            b"eval" | b"evalsha" => {
                if name == b"evalsha" && !self.nodes[node].knows_script {
                    return Execution::Reply(
                        b"-NOSCRIPT No matching script. Please use EVAL.\r\n".to_vec(),
                    );
                }
                let script = if name == b"eval" { SCRIPT } else { DIGEST.as_bytes() };
                assert!(words[1] == script, "a server got another script");
                self.nodes[node].knows_script = true;
                self.write(node, &words[3], &words[4], false);
                ok()
            }
            b"script" => {
                assert!(words[2] == SCRIPT, "a server got another script");
                self.nodes[node].knows_script = true;
                wire::bulk(DIGEST.as_bytes())
            }
            b"scan" => self.scan(node, standing, words),
            b"dbsize" => integer(self.keys_in(node, standing.database).len()),
            b"keys" => wire::command(&self.keys_in(node, standing.database)),
            b"ping" => b"+PONG\r\n".to_vec(),
            // The proxy wants to know which connection to unblock, should it have to.
            b"client" => integer(1),
            _ => panic!("a server got what no client sends: {}", wire::shown(&words.concat())),
        })
    }

    fn publish_reply(&mut self, node: usize, words: &[Vec<u8>], sharded: bool) -> Vec<u8> {
        let count = self.publish(node, &words[1], &words[2], sharded);
        format!(":{count}\r\n").into_bytes()
    }

    fn bulk(&mut self, node: usize, key: &[u8]) -> Vec<u8> {
        match self.data.read(node, key) {
            Some(value) => wire::bulk(&value),
            None => b"$-1\r\n".to_vec(),
        }
    }

    /// Writes a value or appends it; how long it is then.
    fn write(&mut self, node: usize, key: &[u8], value: &[u8], append: bool) -> usize {
        let tag = tag_of_value(key, value);
        let mut new = match self.data.peek(node, key) {
            Some(old) if append => old.to_vec(),
            _ => Vec::new(),
        };
        new.extend_from_slice(value);
        let length = new.len();
        self.enter(node, key, Some(tag), Some(new));
        length
    }

    /// Puts an element at the end of a list; how many there are then.
    fn push(&mut self, node: usize, key: &[u8], element: &[u8], tag: Option<Tag>) -> usize {
        let mut list = self.data.peek(node, key).map_or(Vec::new(), |list| list.to_vec());
        list.extend_from_slice(element);
        list.push(b'\n');
        let count = elements(Some(&list)).len();
        self.enter(node, key, tag, Some(list));
        count
    }

    /// Takes an element from a list, if there is one; a marker says for whom.
    fn pop(&mut self, node: usize, keys: &[&[u8]], first: bool) -> Option<Vec<u8>> {
        let list = self.data.peek(node, keys[0])?.to_vec();
        let mut elements = elements(Some(&list));
        let element = if first { elements.remove(0) } else { elements.pop()? };
        let rest: Vec<u8> =
            elements.iter().flat_map(|element| [*element, b"\n"].concat()).collect();
        let rest = Some(rest).filter(|rest| !rest.is_empty());
        self.enter(node, keys[0], tag_of_marker(keys[1]), rest);
        self.data.note_taken(keys[0], element);
        Some(element.to_vec())
    }

    /// How many elements a list has, where it belongs.
    pub fn length(&self, key: &[u8]) -> usize {
        let list = self.data.peek(self.home_of(key), key);
        list.map_or(0, |list| list.iter().filter(|byte| **byte == b'\n').count())
    }

    /// Somebody else writes to a key, straight at its server.
    pub fn interfere(&mut self, key: &[u8], text: &str, is_list: bool) {
        let node = self.home_of(key);
        if self.data.master_of(node).is_some() {
            return;
        }
        if is_list {
            self.push(node, key, text.as_bytes(), None);
        } else {
            self.enter(node, key, None, Some(text.as_bytes().to_vec()));
        }
    }

    /// Some of the keys that come after a cursor, in an order that has nothing to do with names.
    fn scan(&mut self, node: usize, standing: Standing, words: &[Vec<u8>]) -> Vec<u8> {
        let text = String::from_utf8_lossy(&words[1]).into_owned();
        let cursor: u64 = text.parse().expect("a cursor");
        let place = |key: &&[u8]| 1 + u64::from(crc16::State::<crc16::XMODEM>::calculate(key));
        let mut keys = self.keys_in(node, standing.database);
        keys.retain(|key| place(&key.as_slice()) >= cursor);
        keys.sort_by_key(|key| place(&key.as_slice()));
        let next = keys.get(7).map_or(0, |key| place(&key.as_slice()));
        keys.retain(|key| next == 0 || place(&key.as_slice()) < next);
        let mut reply = b"*2\r\n".to_vec();
        reply.extend(wire::bulk(next.to_string().as_bytes()));
        reply.extend(wire::command(&keys));
        reply
    }

    fn keys_in(&mut self, node: usize, database: u32) -> Vec<Vec<u8>> {
        self.data.catch_up(node);
        let keys = self.data.keys(node).filter(|key| super::groups::database_of(key) == database);
        keys.map(<[u8]>::to_vec).collect()
    }

    /// Enters an execution; whether there was a value before.
    fn enter(&mut self, node: usize, key: &[u8], tag: Option<Tag>, value: Option<Vec<u8>>) -> bool {
        self.pacts.check(key, tag);
        let durable = self.is_durable(node, key);
        if !durable {
            World::note(format_args!(
                "server {node}: what it writes to {} is lost",
                wire::shown(key)
            ));
        }
        self.data.write(node, key, tag, value, durable)
    }
}

/// The elements of a list.
pub fn elements(list: Option<&[u8]>) -> Vec<&[u8]> {
    let list = list.unwrap_or_default();
    list.split(|byte| *byte == b'\n').filter(|element| !element.is_empty()).collect()
}

/// The time-out of a command that blocks, as it stands in the request: seconds with a fraction.
pub fn timeout_us(seconds: &str) -> u64 {
    let timeout =
        seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    timeout.and_then(|timeout| u64::try_from(timeout.as_micros()).ok()).expect("a timeout")
}

fn integer(number: usize) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}
