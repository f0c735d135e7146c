//! A random program for one client, that means the same on one server and on every pool.
//!
//! Its keys have one of three tags, so that they live in up to three places. What a pool can
//! only do in one place names keys of one tag; what can be divided names keys of all. The
//! replies depend on the order in which the requests are executed, never on the time it takes.

use crate::support::{Chance, server_has, servers_are_valkey, wire};

/// What one client sends, and how.
pub struct Program {
    /// One after the other, in one pipeline.
    pub requests: Vec<Request>,
    /// The keys it may have left behind, in each of [`Program::databases`].
    pub keys: Vec<String>,
    /// The databases that it may have selected.
    pub databases: Vec<usize>,
    /// It says QUIT, and more that is nobody's business.
    pub quits: bool,
    /// It closes its sending side when it has said all.
    pub shuts_down: bool,
}

/// One request.
pub struct Request {
    /// Its words.
    pub words: Vec<Vec<u8>>,
    /// It is written as a line.
    pub inline: bool,
    /// Its reply is an array in no order.
    pub unordered: bool,
}

/// A script that reads and writes, and one that only reads; loaded before any program runs.
pub const SCRIPTS: [&str; 2] = [
    "redis.call('APPEND',KEYS[1],ARGV[1]) return {redis.call('INCR',KEYS[2]),redis.call('STRLEN',KEYS[1])}",
    "return {redis.call('LLEN',KEYS[1]),redis.call('EXISTS',KEYS[1],KEYS[2])}",
];

/// Database numbers that a program may ask for; which of them there are depends on the pool.
const DATABASES: usize = 6;

impl Request {
    /// The bytes that are sent.
    pub fn bytes(&self) -> Vec<u8> {
        if !self.inline {
            return wire(&self.words);
        }
        let mut line = Vec::new();
        for word in &self.words {
            // An empty word, or one with a blank, can only be said in quotes.
            let quote: &[u8] = if word.is_empty() || word.contains(&b' ') { b"\"" } else { b"" };
            line.extend([quote, word, quote, b" "].concat());
        }
        line.pop();
        line.extend(b"\r\n");
        line
    }

    /// The beginning of its words, to be read by people.
    pub fn shown(&self) -> String {
        let words = self.words.iter().map(|word| {
            let cut = word[..word.len().min(30)].escape_ascii().to_string();
            if word.len() > 30 { format!("{cut}...({})", word.len()) } else { cut }
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl Program {
    /// The program of a seed. `digests` are those of [`SCRIPTS`].
    pub fn of(seed: u64, digests: &[String]) -> Program {
        let mut chance = Chance::new(seed);
        // With `Hash atol` only the digits that it begins with decide where a tag lives.
        let tags = (0..3).map(|tag| format!("{{{tag}o{seed}{}}}", letters(&mut chance))).collect();
        let mut writer = Writer {
            chance,
            tags,
            digests: digests.to_vec(),
            requests: Vec::new(),
            databases: vec![0],
            last_id: 0,
            watching: None,
        };
        let steps = 1 + writer.chance.below(30);
        (0..steps).for_each(|_| writer.step());
        let quits = writer.chance.percent(3) && writer.watching.is_none();
        if quits {
            writer.line("QUIT");
        }
        let Writer { mut chance, tags, requests, databases, .. } = writer;
        let keys = tags.iter().flat_map(|tag| NAMES.map(|name| format!("{tag}{name}"))).collect();
        let blocks = requests.iter().any(|request| request.is_blocking());
        let shuts_down = !quits && !blocks && chance.percent(10);
        Program { requests, keys, databases, quits, shuts_down }
    }
}

impl Request {
    fn is_blocking(&self) -> bool {
        let name = self.words[0].to_ascii_uppercase();
        name.starts_with(b"B") && !name.starts_with(b"BIT")
            || self.words.iter().any(|word| word.eq_ignore_ascii_case(b"block"))
    }
}

/// What the keys of a tag are called: the name says what they mostly hold.
const NAMES: [&str; 11] =
    ["n", "s", "v", "list", "list2", "hash", "set", "set2", "zset", "stream", "other"];

struct Writer {
    chance: Chance,
    tags: Vec<String>,
    digests: Vec<String>,
    requests: Vec<Request>,
    databases: Vec<usize>,
    /// Of the last entry of a stream.
    last_id: u64,
    /// The tag of the keys that are watched.
    watching: Option<usize>,
}

fn letters(chance: &mut Chance) -> String {
    (0..3).map(|_| char::from(b'a' + chance.below(26) as u8)).collect()
}

impl Writer {
    /// One request outside a transaction, or one transaction.
    fn step(&mut self) {
        match self.chance.below(100) {
            0..45 => {
                let tag = self.any_tag();
                self.plain(tag);
            }
            45..57 => self.divided(),
            57..65 => self.large(),
            65..71 => self.blocking(),
            71..76 => self.keyless(),
            76..80 => self.select(),
            80..83 => self.mistake(),
            83..86 => self.burst(),
            86..90 => self.watch(),
            _ => self.transaction(),
        }
    }

    fn any_tag(&mut self) -> usize {
        self.chance.below(self.tags.len())
    }

    /// The name of a key that mostly holds what `name` says, and now and then something else.
    fn key(&mut self, tag: usize, name: &str) -> String {
        let name = if self.chance.percent(4) { *self.chance.one_of(&NAMES) } else { name };
        format!("{}{name}", self.tags[tag])
    }

    fn push(&mut self, words: Vec<Vec<u8>>) {
        let length: usize = words.iter().map(|word| word.len() + 3).sum();
        let inline = length < 10_000 && self.chance.percent(15);
        let unordered = words[0] == b"KEYS";
        self.requests.push(Request { words, inline, unordered });
    }

    fn words(&mut self, words: &[&str]) {
        // The proxy knows them whatever the server is, so it may say something else to them.
        let is_new = ["BLMPOP", "BZMPOP", "EVALSHA_RO", "EXPIRETIME"].contains(&words[0]);
        let words = if is_new && !server_has(7, 0) { &["PING"] } else { words };
        self.push(words.iter().map(|word| word.as_bytes().to_vec()).collect());
    }

    fn line(&mut self, line: &str) {
        self.words(&line.split(' ').collect::<Vec<_>>());
    }

    fn value(&mut self, length: usize) -> String {
        let letter = char::from(b'a' + self.chance.below(26) as u8);
        letter.to_string().repeat(length)
    }

    /// Something for keys of one tag that does not wait.
    fn plain(&mut self, tag: usize) {
        let mut key = |name: &str| self.key(tag, name);
        let (n, s, v) = (key("n"), key("s"), key("v"));
        let (list, list2, hash) = (key("list"), key("list2"), key("hash"));
        let (set, set2, zset, other) = (key("set"), key("set2"), key("zset"), key("other"));
        let number = self.chance.below(9);
        let line = match self.chance.below(54) {
            0..3 => format!("INCR {n}"),
            3 => format!("INCRBY {n} {number}"),
            4 => format!("DECR {n}"),
            5..8 => format!("GET {n}"),
            8 => format!("SET {n} {number}"),
            9 => format!("SET {n} {number} GET"),
            10 => format!("GETSET {n} {number}"),
            11 => format!("SETNX {n} {number}"),
            12 => format!("GETDEL {n}"),
            13..15 => format!("APPEND {s} x{number}"),
            15..17 => format!("GET {s}"),
            17 => format!("GETRANGE {s} 1 {number}"),
            18 => format!("STRLEN {v}"),
            19 => format!("GETRANGE {v} {number} 3000"),
            20 => format!("BITCOUNT {s}"),
            21 => format!("SETBIT {s} {number} 1"),
            22..24 => format!("RPUSH {list} {number} b c"),
            24 => format!("LPUSH {list} {number}"),
            25 => format!("LPOP {list}"),
            26 => format!("RPOP {list2} 2"),
            27 => format!("LRANGE {list} 0 -1"),
            28 => format!("LMOVE {list} {list2} LEFT RIGHT"),
            29 => format!("RPOPLPUSH {list2} {list}"),
            30 => format!("LLEN {list}"),
            31 => format!("LTRIM {list} 0 5"),
            32 => format!("HINCRBY {hash} f{number} 3"),
            33 => format!("HSET {hash} g {number}"),
            34 => format!("HGETALL {hash}"),
            35 => format!("HDEL {hash} g f1"),
            36 => format!("SADD {set} {number} 3"),
            37 => format!("SMEMBERS {set}"),
            38 => format!("SINTERSTORE {set2} {set} {set2}"),
            39 => format!("SUNION {set} {set2}"),
            40 => format!("ZADD {zset} {number} m{number}"),
            41 => format!("ZINCRBY {zset} 1.5 m2"),
            42 => format!("ZRANGE {zset} 0 -1 WITHSCORES"),
            43 => format!("ZPOPMIN {zset}"),
            44 => format!("RENAME {s} {other}"),
            45 => format!("COPY {n} {other} REPLACE"),
            46 => format!("TYPE {other}"),
            47 => format!("DEL {list} {s}"),
            48 => format!("EXPIREAT {n} 4000000000"),
            49 => format!("EXPIRETIME {n}"),
            50 => format!("MSETNX {s} 1 {other} 2"),
            51 => return self.stream(tag),
            52 => return self.script(tag),
            _ => format!("LINDEX {list} {number}"),
        };
        self.line(&line);
    }

    fn stream(&mut self, tag: usize) {
        let stream = self.key(tag, "stream");
        self.last_id += 1;
        let id = self.last_id;
        let line = match self.chance.below(8) {
            0..3 => format!("XADD {stream} {id}-1 f {id}"),
            3 => format!("XLEN {stream}"),
            4 => format!("XRANGE {stream} - +"),
            5 => format!("XGROUP CREATE {stream} g 0 MKSTREAM"),
            6 => format!("XREADGROUP GROUP g c COUNT 2 STREAMS {stream} >"),
            _ => format!("XACK {stream} g {}-1", id.saturating_sub(3)),
        };
        self.line(&line);
    }

    fn script(&mut self, tag: usize) {
        let which = self.chance.below(SCRIPTS.len());
        let (one, two) = match which {
            0 => (self.key(tag, "s"), self.key(tag, "n")),
            _ => (self.key(tag, "list"), self.key(tag, "n")),
        };
        let digest = self.digests[which].clone();
        match self.chance.below(3) {
            0 => self.words(&["EVAL", SCRIPTS[which], "2", &one, &two, "x"]),
            1 if which == 1 => self.words(&["EVALSHA_RO", &digest, "2", &one, &two, "x"]),
            _ => self.words(&["EVALSHA", &digest, "2", &one, &two, "x"]),
        }
    }

    /// Something for keys of all tags.
    fn divided(&mut self) {
        let names: &[&str] = match self.chance.below(3) {
            0 => &["n", "s", "other"],
            1 => &["n", "s", "v"],
            _ => &NAMES,
        };
        let count = 1 + self.chance.below(8);
        let keys: Vec<String> = (0..count)
            .map(|_| {
                let tag = self.any_tag();
                let name = *self.chance.one_of(names);
                format!("{}{name}", self.tags[tag])
            })
            .collect();
        let command = *self.chance.one_of(&[
            "MGET", "MGET", "MGET", "MSET", "MSET", "DEL", "UNLINK", "EXISTS", "TOUCH", "XREAD",
            "KEYS",
        ]);
        let mut words = vec![command.to_owned()];
        match command {
            "MSET" => {
                for key in keys {
                    words.push(key);
                    let length = *self.chance.one_of(&[1, 1, 1, 5, 20_000]);
                    words.push(self.value(length));
                }
            }
            "XREAD" => {
                words.push("STREAMS".to_owned());
                words.extend(self.tags.iter().map(|tag| format!("{tag}stream")));
                words.extend(["0", "1-1", "$"].map(str::to_owned));
            }
            // All keys of this program, by what their tags begin with.
            "KEYS" => {
                let tag = self.tags[0].trim_end_matches(|c: char| !c.is_ascii_digit());
                words.push(format!("{{?{}[a-z]*", &tag[2..]));
            }
            _ => words.extend(keys),
        }
        self.words(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// A large request, or a small one with a large reply.
    fn large(&mut self) {
        let tag = self.any_tag();
        let v = self.key(tag, "v");
        let length = *self.chance.one_of(&[15_000, 17_000, 40_000, 66_000, 150_000, 300_000]);
        match self.chance.below(8) {
            0..3 => {
                let value = self.value(length);
                self.words(&["SET", &v, &value]);
            }
            3 => {
                let value = self.value(length);
                self.words(&["APPEND", &v, &value]);
            }
            4 => {
                let value = self.value(length / 10);
                let list = self.key(tag, "list");
                let words: Vec<&str> =
                    ["RPUSH", &list].into_iter().chain([value.as_str(); 10]).collect();
                self.words(&words);
            }
            5 => self.line(&format!("SETRANGE {v} {length} {length}")),
            6 => self.line(&format!("GET {v}")),
            _ => {
                let all = self.tags.iter().map(|tag| format!(" {tag}v")).collect::<String>();
                self.line(&format!("MGET{all}{all}"));
            }
        }
    }

    /// So much on one road that what comes behind it on another could well be faster.
    fn burst(&mut self) {
        let tag = self.any_tag();
        let (v, n) = (format!("{}v", self.tags[tag]), format!("{}n", self.tags[tag]));
        self.words(&["DEL", &v]);
        for _ in 0..10 + self.chance.below(15) {
            let value = self.value(13_000);
            self.words(&["APPEND", &v, &value]);
        }
        // What is watched already may live elsewhere.
        let roads = if self.watching.is_some() { 2 } else { 4 };
        match self.chance.below(roads) {
            0 => {
                let value = self.value(70_000);
                self.words(&["APPEND", &v, &value]);
            }
            1 => {
                let value = self.value(70_000);
                self.words(&["SET", &v, &value]);
                self.words(&["INCR", &n]);
            }
            2 => {
                self.words(&["WATCH", &v]);
                self.words(&["MULTI"]);
                self.words(&["STRLEN", &v]);
                self.words(&["EXEC"]);
            }
            _ => {
                self.words(&["BLMOVE", &v, &n, "LEFT", "LEFT", "0.002"]);
                self.words(&["MULTI"]);
                self.words(&["STRLEN", &v]);
                self.words(&["EXEC"]);
            }
        }
        self.words(&["STRLEN", &v]);
    }

    /// Something that waits, but not for long.
    fn blocking(&mut self) {
        let tag = self.any_tag();
        let timeout = *self.chance.one_of(&["0.002", "0.005", "0.01"]);
        self.blocking_of(tag, timeout);
    }

    fn blocking_of(&mut self, tag: usize, timeout: &str) {
        let (list, list2) = (self.key(tag, "list"), self.key(tag, "list2"));
        let (zset, stream) = (self.key(tag, "zset"), self.key(tag, "stream"));
        if self.chance.percent(60) {
            // Something that is there is had at once.
            self.line(&format!("RPUSH {list} 1 2"));
        }
        let line = match self.chance.below(10) {
            0 => format!("BLPOP {list} {timeout}"),
            1 => format!("BRPOP {list2} {list} {timeout}"),
            2 => format!("BLMOVE {list} {list2} LEFT LEFT {timeout}"),
            3 => format!("BRPOPLPUSH {list} {list2} {timeout}"),
            4 => format!("BLMPOP {timeout} 2 {list} {list2} LEFT COUNT 2"),
            5 => format!("BZPOPMIN {zset} {timeout}"),
            6 => format!("BZMPOP {timeout} 1 {zset} MAX"),
            7 => format!("XREAD COUNT 2 BLOCK 1 STREAMS {stream} 0"),
            8 => format!("XREAD BLOCK 1 STREAMS {stream} $"),
            _ => format!("XREADGROUP GROUP g c BLOCK 1 STREAMS {stream} >"),
        };
        self.line(&line);
    }

    fn keyless(&mut self) {
        let digest = self.digests[0].clone();
        match self.chance.below(9) {
            0 => self.words(&["PING"]),
            1 => self.words(&["PING", "a b"]),
            2 => self.words(&["ECHO", ""]),
            3 => self.words(&["COMMAND", "COUNT"]),
            4 => self.words(&["CLIENT", "SETNAME", "somebody"]),
            5 => self.words(&["CLIENT", "GETNAME"]),
            6 => self.words(&["SCRIPT", "EXISTS", &digest, "0123"]),
            7 => self.words(&["SCRIPT", "LOAD", SCRIPTS[1]]),
            _ => self.words(&["EVAL", "return ARGV[1]", "0", "x"]),
        }
    }

    fn select(&mut self) {
        // Refused while keys are watched, as their connection is for one database.
        if self.watching.is_some() {
            return self.words(&["PING"]);
        }
        let database = self.chance.below(DATABASES);
        self.line(&format!("SELECT {database}"));
        if !self.databases.contains(&database) {
            self.databases.push(database);
        }
    }

    fn mistake(&mut self) {
        let line = *self.chance.one_of(&[
            "NOSUCH a b",
            "GET",
            "SET a",
            "EXEC",
            "DISCARD",
            "UNWATCH",
            "SELECT x",
            "EVAL x",
            "CLIENT NOSUCH",
            "OBJECT ENCODING",
            "AUTH",
            "LPOP",
        ]);
        match line {
            "UNWATCH" => self.watching = None,
            "SELECT x" if self.watching.is_some() => return,
            _ => {}
        }
        self.line(line);
    }

    fn watch(&mut self) {
        let tag = match self.watching {
            Some(tag) => tag,
            None => self.any_tag(),
        };
        self.watching = Some(tag);
        let (n, s) = (self.key(tag, "n"), self.key(tag, "s"));
        self.line(&format!("WATCH {n} {s}"));
        if self.chance.percent(60) {
            self.transaction();
        }
    }

    fn transaction(&mut self) {
        let tag = match self.watching.take() {
            Some(tag) => tag,
            None => self.any_tag(),
        };
        self.words(&["MULTI"]);
        for _ in 0..self.chance.below(6) {
            match self.chance.below(40) {
                0..2 => self.words(&["PING"]),
                2 => self.words(&["UNWATCH"]),
                3 => self.words(&["ECHO", "in it"]),
                // Valkey fails the transaction for these, Redis and the proxy do not.
                4 if !servers_are_valkey() => self.words(&["MULTI"]),
                5 if !servers_are_valkey() => self.words(&["WATCH", "n"]),
                6 => self.words(&["NOSUCH"]),
                7 => self.words(&["INCR"]),
                8..11 => self.blocking_of(tag, "0"),
                11..14 => self.large_in(tag),
                14 => self.words(&["COMMAND", "COUNT"]),
                15..18 => {
                    let keys: Vec<String> =
                        ["n", "s", "v", "n"].iter().map(|name| self.key(tag, name)).collect();
                    let command = *self.chance.one_of(&["MGET", "DEL", "EXISTS", "MSET"]);
                    let words = [vec![command.to_owned()], keys].concat();
                    self.words(&words.iter().map(String::as_str).collect::<Vec<_>>());
                }
                _ => self.plain(tag),
            }
        }
        if self.chance.percent(2) {
            self.words(&["EXEC", "now"]);
        } else if self.chance.percent(15) {
            self.words(&["DISCARD"]);
        } else {
            self.words(&["EXEC"]);
        }
    }

    fn large_in(&mut self, tag: usize) {
        let v = self.key(tag, "v");
        let length = *self.chance.one_of(&[17_000, 66_000, 150_000]);
        if self.chance.percent(50) {
            let value = self.value(length);
            self.words(&["SET", &v, &value]);
        } else {
            self.line(&format!("GET {v}"));
        }
    }
}
