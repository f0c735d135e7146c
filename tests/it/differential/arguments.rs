//! Requests for every command, made up from what the server itself says about its arguments.
//!
//! Most are well formed and name keys that hold what the command is for; some name keys that
//! are missing or hold something else, and some are spoiled: a word too few or too many, a
//! number that is none.

use std::collections::{BTreeMap, BTreeSet};

use predixy::resp::command::{Command, Family};

use super::data::{DIGEST, KEYS, LIBRARY, SCRIPTS, TAGS};
use crate::support::{Chance, Client, Value};

/// What a server says about the arguments of its commands.
pub struct Manual {
    names: BTreeSet<String>,
    commands: BTreeMap<String, Entry>,
    /// A value as DUMP gives it.
    dump: Vec<u8>,
}

struct Entry {
    group: String,
    arguments: Vec<Argument>,
}

struct Argument {
    name: String,
    kind: String,
    token: Option<String>,
    optional: bool,
    multiple: bool,
    multiple_token: bool,
    arguments: Vec<Argument>,
}

impl Manual {
    /// Asks a server. One older than 7.0 says no more than the names of its commands, and nothing
    /// of subcommands.
    pub fn of(client: &mut Client) -> Manual {
        let mut commands = BTreeMap::new();
        let all = client.line("COMMAND");
        let names = all.elements().iter().map(|command| command.elements()[0].text()).collect();
        if let Value::Array(all) = client.line("COMMAND DOCS") {
            add_entries(&all, "", &mut commands);
        }
        client.line("SET dumped 12345");
        let Value::Bulk(dump) = client.line("DUMP dumped") else { panic!("no dump") };
        client.line("DEL dumped");
        Manual { names, commands, dump }
    }

    /// Whether the server has a command, as far as it says so.
    pub fn has(&self, command: &Command) -> bool {
        let container = command.name().split('|').next().unwrap_or_default();
        match self.commands.is_empty() {
            true => self.names.contains(container),
            false => self.commands.contains_key(command.name()),
        }
    }

    /// A request for a command.
    pub fn request(&self, command: &Command, chance: &mut Chance) -> Vec<Vec<u8>> {
        let entry = self.commands.get(command.name());
        let mut writer = Writer {
            chance,
            group: entry.map_or("generic", |entry| &entry.group),
            command,
            dump: &self.dump,
            tag: 0,
            keys: None,
            words: Vec::new(),
        };
        writer.tag = writer.chance.below(TAGS.len());
        for word in command.name().split('|') {
            let word =
                if writer.chance.percent(50) { word.to_uppercase() } else { word.to_owned() };
            writer.put(word);
        }
        match entry {
            Some(entry) => entry.arguments.iter().for_each(|argument| writer.argument(argument)),
            None => {
                let more = writer.chance.below(3);
                while writer.words.len() < command.min_args() + more {
                    let is_first = writer.words.len() == 1;
                    if is_first { writer.key("key") } else { writer.string("value") }
                }
            }
        }
        writer.spoil();
        writer.words
    }
}

/// The value of a name in a list of names and values.
fn field<'a>(fields: &'a [Value], name: &str) -> Option<&'a Value> {
    fields.chunks_exact(2).find(|pair| pair[0].text() == name).map(|pair| &pair[1])
}

fn text(fields: &[Value], name: &str) -> String {
    field(fields, name).map_or_else(String::new, Value::text)
}

fn add_entries(all: &[Value], container: &str, commands: &mut BTreeMap<String, Entry>) {
    for pair in all.chunks_exact(2) {
        let (name, fields) = (format!("{container}{}", pair[0].text()), pair[1].elements());
        if let Some(Value::Array(subcommands)) = field(fields, "subcommands") {
            add_entries(subcommands, "", commands);
        }
        let entry = Entry { group: text(fields, "group"), arguments: arguments(fields) };
        commands.insert(name, entry);
    }
}

fn arguments(fields: &[Value]) -> Vec<Argument> {
    let Some(Value::Array(all)) = field(fields, "arguments") else { return Vec::new() };
    let one = |argument: &Value| {
        let fields = argument.elements();
        let flags = field(fields, "flags").map_or(&[][..], Value::elements);
        let has = |flag: &str| flags.iter().any(|has| has.text() == flag);
        Argument {
            name: text(fields, "name"),
            kind: text(fields, "type"),
            token: field(fields, "token").map(Value::text),
            optional: has("optional"),
            multiple: has("multiple"),
            multiple_token: has("multiple_token"),
            arguments: arguments(fields),
        }
    };
    all.iter().map(one).collect()
}

/// Writes one request.
struct Writer<'a> {
    chance: &'a mut Chance,
    group: &'a str,
    command: &'a Command,
    dump: &'a [u8],
    tag: usize,
    /// How many keys have been announced.
    keys: Option<usize>,
    words: Vec<Vec<u8>>,
}

impl Writer<'_> {
    fn put(&mut self, word: impl Into<Vec<u8>>) {
        self.words.push(word.into());
    }

    fn put_one_of(&mut self, words: &[&str]) {
        let word = *self.chance.one_of(words);
        self.put(word);
    }

    fn argument(&mut self, argument: &Argument) {
        if argument.optional && self.chance.percent(60) {
            return;
        }
        let times = match (argument.multiple, self.keys) {
            (false, _) => 1,
            (true, Some(keys)) if argument.kind == "key" => keys,
            (true, _) => 1 + self.chance.below(3),
        };
        for time in 0..times {
            if let Some(token) = &argument.token
                && (time == 0 || argument.multiple_token)
            {
                let lower = self.chance.percent(20);
                self.put(if lower { token.to_lowercase() } else { token.clone() });
            }
            self.value(argument);
        }
    }

    fn value(&mut self, argument: &Argument) {
        let name = argument.name.as_str();
        match argument.kind.as_str() {
            "pure-token" => {}
            "oneof" => {
                let one = self.chance.below(argument.arguments.len());
                let one = &argument.arguments[one];
                if let Some(token) = &one.token {
                    self.put(token.clone());
                }
                self.value(one);
            }
            "block" => argument.arguments.iter().for_each(|one| self.argument(one)),
            "key" => self.key(name),
            "integer" => self.integer(name),
            "double" => self.double(name),
            "pattern" => self.put_one_of(&["*", "f*", "?", "[a-c]", "{1d}*", "h?llo", ""]),
            "unix-time" => self.put_one_of(&["4000000000", "4000000000000", "1", "x"]),
            _ => self.string(name),
        }
    }

    /// The name of a key that holds what the command is for, mostly.
    fn key(&mut self, name: &str) {
        let holds: &[&str] = match self.group {
            _ if ["destination", "destkey", "dst", "newkey"].contains(&name) => &["dest", "set2"],
            "string" => &["str", "int"],
            "list" => &["list"],
            "hash" => &["hash"],
            "set" => &["set", "set2"],
            "sorted-set" => &["zset", "zset2"],
            "geo" => &["geo"],
            "stream" => &["stream"],
            "hyperloglog" => &["hll", "hll2"],
            "bitmap" => &["bits", "str"],
            _ => &KEYS,
        };
        let key = match self.chance.below(100) {
            0..80 => self.chance.one_of(holds),
            80..90 => "none",
            _ => self.chance.one_of(&KEYS),
        };
        let is_divided = matches!(self.command.family(), Family::Split(_))
            || self.command.name() == "xread" && !self.words.iter().any(|word| is(word, "block"));
        if is_divided {
            self.tag = self.chance.below(TAGS.len());
        }
        self.put(format!("{}{key}", TAGS[self.tag]));
    }

    fn integer(&mut self, name: &str) {
        if self.chance.percent(4) && name != "milliseconds" && name != "timeout" {
            return self.put_one_of(&[
                "x",
                "9223372036854775808",
                "1.5",
                "",
                "-9223372036854775808",
            ]);
        }
        match name {
            "numkeys" => {
                let keys = 1 + self.chance.below(3);
                self.keys = Some(keys);
                let told = if self.chance.percent(8) { self.chance.below(5) } else { keys };
                self.put(told.to_string());
            }
            // Nobody waits for ever, nor long.
            "milliseconds" if self.command.name().starts_with("xread") => {
                self.put_one_of(&["1", "2", "-1"])
            }
            "timeout" => self.put_one_of(&["1", "x", "-1"]),
            "milliseconds" | "seconds" | "ttl" => {
                self.put_one_of(&["1000000", "100000000", "0", "-1"]);
            }
            "cursor" => self.put_one_of(&["0", "0", "x", "-1"]),
            "db" | "destination-db" | "index1" | "index2" => self.put_one_of(&["0", "1", "9", "x"]),
            "slot" => self.put_one_of(&["0", "5000", "16384"]),
            "protover" => self.put_one_of(&["2", "3", "4"]),
            _ => self.put_one_of(&["0", "1", "2", "3", "5", "10", "100", "-1", "-2"]),
        }
    }

    fn double(&mut self, name: &str) {
        match name {
            "timeout" => self.put_one_of(&["0.001", "0.002", "0.01", "-1", "x"]),
            "longitude" => self.put_one_of(&["13.36", "15", "0", "181", "x"]),
            "latitude" => self.put_one_of(&["38.11", "37.5", "0", "-86", "x"]),
            _ => self.put_one_of(&["0", "1", "1.5", "-2", "200", "1e3", "inf", "-inf", "nan", "x"]),
        }
    }

    fn string(&mut self, name: &str) {
        let words: &[&str] = match (self.group, name) {
            (_, "field") => &["f", "g", "none", ""],
            (_, "group" | "groupname") => &["g", "g", "none"],
            (_, "consumer" | "consumername") => &["c", "d"],
            ("stream", _) => {
                &["1-1", "2-1", "3-1", "0", "9-9", "$", ">", "-", "+", "(1-1", "5", "x", "0-0"]
            }
            (_, "min" | "max" | "start" | "stop" | "end") => {
                &["-", "+", "[a", "(b", "-inf", "+inf", "1", "(2", "0", "2", "-1", "[", "x"]
            }
            (_, "operation") => &["AND", "OR", "XOR", "NOT", "x"],
            (_, "encoding") => &["u8", "i5", "u63", "i65", "x"],
            (_, "script") => return self.put_one_of(&SCRIPTS),
            (_, "sha1") => &[DIGEST, "0123456789012345678901234567890123456789", "x"],
            (_, "function") => &["f", "g", "none"],
            (_, "function-code") => &[LIBRARY, "#!lua name=other\nnonsense", "x"],
            (_, "library-name") => &["lib", "none"],
            (_, "serialized-value") => {
                let dump = self.dump.to_vec();
                return if self.chance.percent(80) { self.put(dump) } else { self.put("x") };
            }
            (_, "command-name") => &["get", "SET", "xgroup|create", "none"],
            (_, "command") => &["get", "mset", "eval", "none"],
            (_, "section") => &["server", "none"],
            (_, "type") => &["string", "list", "zset", "none"],
            (_, "channel" | "shardchannel") => &["{1d}channel"],
            _ => &["a", "b", "c", "1", "2", "3", "10", "hello", "3.5", "", "Palermo", "Catania"],
        };
        self.put_one_of(words);
    }

    /// Makes a request wrong, now and then.
    fn spoil(&mut self) {
        let first = self.command.name().split('|').count();
        // What may wait must not be told to wait for ever.
        let waits = matches!(self.command.family(), Family::Blocking | Family::StreamRead);
        match self.chance.below(100) {
            0..7 if self.words.len() > first => drop(self.words.pop()),
            7..12 => self.put("extra"),
            12..16 if !waits && self.words.len() > first => {
                let at = first + self.chance.below(self.words.len() - first);
                self.words[at] = b"word".to_vec();
            }
            16..18 => self.words.truncate(first),
            _ => {}
        }
    }
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}
