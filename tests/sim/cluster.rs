//! The cluster behind the simulated servers: who owns which slot, who has which key, and what was
//! ever written. Knows no connections.
//!
//! It follows the rules of Redis Cluster for MOVED, ASK, ASKING and TRYAGAIN. Every node has a
//! view of its own of who owns what, and may be late to learn. The history of each key is what the
//! clients' ledgers are checked against.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use super::wire;

pub const SLOTS: usize = 16384;

/// Everything that the nodes know.
pub struct Cluster {
    pub nodes: Vec<Node>,
    owners: Vec<usize>,
    migrating: BTreeMap<u16, Migration>,
    history: BTreeMap<Vec<u8>, Vec<Entry>>,
}

/// One node.
pub struct Node {
    pub address: SocketAddr,
    /// The others know it.
    pub is_member: bool,
    /// It is dead, and the others have noticed.
    pub is_failed: bool,
    view: Vec<usize>,
    store: BTreeMap<Vec<u8>, Rc<[u8]>>,
}

#[derive(Clone, Copy)]
struct Migration {
    from: usize,
    to: usize,
}

/// One execution of a write.
pub struct Entry {
    /// Which request it was; what only counts has none.
    pub tag: Option<Tag>,
    /// What the key held from then on.
    pub value: Option<Rc<[u8]>>,
    /// Whether something was removed.
    pub removed: bool,
}

/// A request: the number of its client, and its number among that client's requests.
pub type Tag = (usize, u32);

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

/// The slot of a key.
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let length = rest.iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &rest[..length])
    });
    crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key)) % 16384
}

impl Cluster {
    /// Some nodes, of which the first `owning` share the slots and the rest have not joined.
    pub fn new(addresses: &[SocketAddr], owning: usize) -> Cluster {
        let owners: Vec<usize> = (0..SLOTS).map(|slot| slot * owning / SLOTS).collect();
        let node = |(index, address): (usize, &SocketAddr)| Node {
            address: *address,
            is_member: index < owning,
            is_failed: false,
            view: owners.clone(),
            store: BTreeMap::new(),
        };
        let nodes = addresses.iter().enumerate().map(node).collect();
        Cluster { nodes, owners, migrating: BTreeMap::new(), history: BTreeMap::new() }
    }

    /// What was ever written to a key.
    pub fn history(&self, key: &[u8]) -> &[Entry] {
        self.history.get(key).map_or(&[], |entries| entries.as_slice())
    }

    /// What a key holds now.
    pub fn value(&self, key: &[u8]) -> Option<&[u8]> {
        let mut found = self.nodes.iter().filter_map(|node| node.store.get(key));
        let value = found.next();
        assert!(found.next().is_none(), "the model has a key twice");
        value.map(|value| &**value)
    }

    pub fn owner(&self, slot: u16) -> usize {
        self.owners[usize::from(slot)]
    }

    pub fn is_migrating(&self, slot: u16) -> bool {
        self.migrating.contains_key(&slot)
    }

    /// The slots that migrate.
    pub fn migrations(&self) -> Vec<u16> {
        self.migrating.keys().copied().collect()
    }

    /// Gives a slot and its keys to another node at once. The two know, the others do not.
    pub fn move_slot(&mut self, slot: u16, to: usize) {
        let from = self.owner(slot);
        self.migrating.remove(&slot);
        for source in 0..self.nodes.len() {
            let here = &mut self.nodes[source].store;
            let keys: Vec<_> = here.keys().filter(|key| slot_of(key) == slot).cloned().collect();
            for key in keys {
                self.move_key(&key, source, to);
            }
        }
        self.owners[usize::from(slot)] = to;
        for node in [from, to] {
            self.nodes[node].view[usize::from(slot)] = to;
        }
    }

    /// Begins to give a slot to another node.
    pub fn begin_migration(&mut self, slot: u16, to: usize) {
        let from = self.owner(slot);
        if from != to && !self.nodes[from].is_failed {
            self.nodes[to].view[usize::from(slot)] = from;
            self.migrating.insert(slot, Migration { from, to });
        }
    }

    /// Migrates one more key of a slot; false when there is none.
    pub fn migrate_key(&mut self, slot: u16) -> bool {
        let Some(Migration { from, to }) = self.migrating.get(&slot).copied() else { return false };
        let key = self.nodes[from].store.keys().find(|key| slot_of(key) == slot).cloned();
        let Some(key) = key else { return false };
        self.move_key(&key, from, to);
        true
    }

    /// Ends a migration whose keys have all gone.
    pub fn finish_migration(&mut self, slot: u16) {
        if let Some(Migration { to, .. }) = self.migrating.get(&slot).copied() {
            self.move_slot(slot, to);
        }
    }

    /// Lets a node know what is so.
    pub fn enlighten(&mut self, node: usize) {
        self.nodes[node].view.clone_from(&self.owners);
    }

    /// Gives all that a dead node had to another one.
    pub fn take_over(&mut self, dead: usize, heir: usize) {
        self.migrating.retain(|_, migration| migration.from != dead && migration.to != dead);
        let store = std::mem::take(&mut self.nodes[dead].store);
        for (key, value) in store {
            // Where a migration was broken off, the owner gets the key.
            let owner = match self.owner(slot_of(&key)) {
                owner if owner == dead => heir,
                owner => owner,
            };
            self.nodes[owner].store.insert(key, value);
        }
        let slots: Vec<u16> =
            (0..).zip(&self.owners).filter(|(_, o)| **o == dead).map(|(s, _)| s).collect();
        for slot in slots {
            self.move_slot(slot, heir);
        }
    }

    fn move_key(&mut self, key: &[u8], from: usize, to: usize) {
        if let Some(value) = self.nodes[from].store.remove(key) {
            self.nodes[to].store.insert(key.to_vec(), value);
        }
    }

    /// The answer of a node to CLUSTER NODES.
    pub fn describe(&self, asked: usize) -> String {
        let mut text = String::new();
        let view = &self.nodes[asked].view;
        for (index, node) in self.nodes.iter().enumerate() {
            let myself = index == asked;
            // Who is no member was reset, and knows itself only.
            if !(myself || self.nodes[asked].is_member && node.is_member) {
                continue;
            }
            let flags = match (myself, node.is_failed) {
                (true, _) => "myself,master",
                (false, true) => "master,fail",
                (false, false) => "master",
            };
            let link = if node.is_failed && !myself { "disconnected" } else { "connected" };
            let address = node.address;
            let port = u32::from(address.port()) + 10_000;
            text +=
                &format!("{:040x} {address}@{port} {flags} - 0 0 {index} {link}", index + 0xabc);
            if node.is_member {
                for (first, last) in ranges(view, index) {
                    text += &match first == last {
                        true => format!(" {first}"),
                        false => format!(" {first}-{last}"),
                    };
                }
            }
            text.push('\n');
        }
        text
    }

    /// Lets a node execute a request with keys: its reply.
    pub fn execute(&mut self, node: usize, asking: bool, words: &[Vec<u8>]) -> Vec<u8> {
        let name = words[0].to_ascii_lowercase();
        let step = if name == b"mset" { 2 } else { 1 };
        let single = [&b"get"[..], b"set", b"incr", b"append", b"strlen"].contains(&&*name);
        let keys: Vec<&[u8]> = match single {
            true => vec![&words[1]],
            false => words[1..].iter().step_by(step).map(Vec::as_slice).collect(),
        };
        let real: Vec<&[u8]> =
            keys.iter().copied().filter(|key| tag_of_marker(key).is_none()).collect();
        let slot = slot_of(keys[0]);
        if let Some(other) = keys.iter().find(|key| slot_of(key) != slot) {
            panic!("one request for two slots: {} {}", wire::shown(keys[0]), wire::shown(other));
        }
        if let Some(elsewhere) = self.refer(node, asking, slot, &real) {
            return elsewhere;
        }
        match &*name {
            b"get" => self.bulk(node, keys[0]),
            b"strlen" => {
                let length = self.nodes[node].store.get(keys[0]).map_or(0, |value| value.len());
                integer(length)
            }
            b"set" => {
                self.write(node, &words[1], &words[2], false);
                b"+OK\r\n".to_vec()
            }
            b"append" => integer(self.write(node, &words[1], &words[2], true)),
            b"incr" => {
                let old = self.nodes[node].store.get(keys[0]);
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
            b"exists" | b"touch" => integer(
                real.iter().filter(|key| self.nodes[node].store.contains_key(**key)).count(),
            ),
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

    /// Where else a request has to go, as the node says it.
    fn refer(&self, node: usize, asking: bool, slot: u16, keys: &[&[u8]]) -> Option<Vec<u8>> {
        let here = &self.nodes[node];
        let owner = here.view[usize::from(slot)];
        let missing = keys.iter().filter(|key| !here.store.contains_key(**key)).count();
        let migration = self.migrating.get(&slot);
        let try_again =
            || Some(b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n".to_vec());
        let to = |word: &str, node: usize| {
            Some(format!("-{word} {slot} {}\r\n", self.nodes[node].address).into_bytes())
        };
        if !here.is_member {
            return Some(b"-CLUSTERDOWN Hash slot not served\r\n".to_vec());
        }
        if owner == node {
            return match migration {
                Some(migration) if migration.from == node && missing == keys.len() => {
                    to("ASK", migration.to)
                }
                Some(migration) if migration.from == node && missing > 0 => try_again(),
                _ => None,
            };
        }
        match migration {
            Some(migration) if migration.to == node && asking => {
                if keys.len() > 1 && missing > 0 {
                    try_again()
                } else {
                    None
                }
            }
            _ => to("MOVED", owner),
        }
    }

    fn bulk(&self, node: usize, key: &[u8]) -> Vec<u8> {
        match self.nodes[node].store.get(key) {
            Some(value) => wire::bulk(value),
            None => b"$-1\r\n".to_vec(),
        }
    }

    /// Writes a value or appends it; how long it is then.
    fn write(&mut self, node: usize, key: &[u8], value: &[u8], append: bool) -> usize {
        let tag = tag_of_value(key, value);
        let mut new = match self.nodes[node].store.get(key) {
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
        let value: Option<Rc<[u8]>> = value.map(Rc::from);
        let store = &mut self.nodes[node].store;
        let old = match &value {
            Some(value) => store.insert(key.to_vec(), Rc::clone(value)),
            None => store.remove(key),
        };
        let entries = self.history.entry(key.to_vec()).or_default();
        if let Some(tag) = tag {
            let twice = entries.iter().any(|entry| entry.tag == Some(tag));
            assert!(!twice, "{tag:?} was executed twice for {}", wire::shown(key));
        }
        let removed = old.is_some() && value.is_none();
        entries.push(Entry { tag, value, removed });
        old.is_some()
    }
}

fn integer(number: usize) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

/// The ranges of slots that a node owns.
fn ranges(view: &[usize], node: usize) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for slot in (0..view.len()).filter(|slot| view[*slot] == node) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == slot => *last = slot,
            _ => ranges.push((slot, slot)),
        }
    }
    ranges
}
