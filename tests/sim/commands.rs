//! What commands do to the keys of a server, the same in every shape of pool.

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
fn tag_of_value(key: &[u8], value: &[u8]) -> Tag {
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

impl Model {
    /// Lets a server execute a request with keys: its reply.
    pub fn execute(&mut self, node: usize, standing: Standing, words: &[Vec<u8>]) -> Vec<u8> {
        let name = words[0].to_ascii_lowercase();
        let step = if name == b"mset" { 2 } else { 1 };
        let single = [&b"get"[..], b"set", b"incr", b"append", b"strlen"].contains(&&*name);
        let keys: Vec<&[u8]> = match single {
            true => vec![&words[1]],
            false => words[1..].iter().step_by(step).map(Vec::as_slice).collect(),
        };
        let real: Vec<&[u8]> =
            keys.iter().copied().filter(|key| tag_of_marker(key).is_none()).collect();
        let reads = [&b"get"[..], b"strlen", b"mget", b"exists", b"touch"].contains(&&*name);
        if let Some(elsewhere) = self.refer(node, standing, &keys, &real, !reads) {
            return elsewhere;
        }
        match &*name {
            b"get" => self.bulk(node, keys[0]),
            b"strlen" => integer(self.data.read(node, keys[0]).map_or(0, |value| value.len())),
            b"set" => {
                self.write(node, &words[1], &words[2], false);
                b"+OK\r\n".to_vec()
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
                b"+OK\r\n".to_vec()
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
            other => panic!("a server got a command that no client sends: {}", wire::shown(other)),
        }
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

    /// Enters an execution; whether there was a value before.
    fn enter(&mut self, node: usize, key: &[u8], tag: Option<Tag>, value: Option<Vec<u8>>) -> bool {
        let durable = self.is_durable(node, key);
        if !durable {
            World::note(&format!("server {node}: what it writes to {} is lost", wire::shown(key)));
        }
        self.data.write(node, key, tag, value, durable)
    }
}

fn integer(number: usize) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}
