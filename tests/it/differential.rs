//! Every command of the table, with arguments of every kind, through the proxy and straight to
//! a server: the replies are the same bytes, or doc/compatibility.md says why not.
//!
//! Two servers are asked directly. Where they do not agree with each other, because a command
//! tells the time, the order of a set or something at random, nobody could. Arguments come from
//! a seed, so each run asks the same; `DIFFERENTIAL=n` asks for n requests of each command.

mod arguments;
mod data;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::{env, fs, thread};

use predixy::resp::command::{Command, CommandTable, Family, Rights, ScriptCommand};

use crate::support::{
    Address, Answer, Chance, Client, EveryPool, FakeServer, Lost, Proxy, RedisServer, Value,
    groups_conf, original_differs, server_has, slot_of, wire,
};
use arguments::Manual;
use data::TAGS;

/// How many requests of each command there are.
const EACH: u64 = 8;
/// How often a request is asked again before replies that differ count: time may have gone by.
const AGAIN: usize = 8;

/// What cannot be compared by sending it here.
const LEFT_OUT: &[(&str, &str)] = &[
    ("client|id", "counts the connections that there were"),
    ("lastsave", "tells when the servers were started"),
    ("host:", "closes the connection"),
    ("post", "closes the connection"),
    ("quit", "closes the connection"),
    ("monitor", "replies without end"),
    ("client|reply", "changes how many replies there are"),
    ("client|pause", "stops the servers that are compared with"),
    ("client|kill", "ends the connections that are compared"),
    ("subscribe", "replies more than once"),
    ("psubscribe", "replies more than once"),
    ("ssubscribe", "replies more than once"),
    ("unsubscribe", "replies more than once"),
    ("punsubscribe", "replies more than once"),
    ("sunsubscribe", "replies more than once"),
];

/// Somebody who is asked.
struct Side {
    address: Address,
    is_resp3: bool,
    client: Client,
}

impl Side {
    fn connect(address: &Address, is_resp3: bool) -> Side {
        let client = Client::connect(address);
        let mut side = Side { address: address.clone(), is_resp3, client };
        side.greet();
        side
    }

    fn greet(&mut self) {
        if self.is_resp3 {
            let greeting = self.client.line("HELLO 3");
            assert!(matches!(greeting, Value::Map(_)), "{greeting:?}");
        }
    }

    /// Begins anew, on another connection.
    fn renew(&mut self) {
        self.client = Client::connect(&self.address);
        self.greet();
    }

    /// What it says to a request, as a value and as bytes.
    fn ask(&mut self, request: &[u8]) -> (Value, Vec<u8>) {
        let reply = self.client.try_send(request).and_then(|()| self.client.try_raw_reply());
        reply.unwrap_or_else(|lost| {
            assert_eq!(lost, Lost::Closed, "no reply to {}", request.escape_ascii());
            self.renew();
            (Value::Nil, b"closed".to_vec())
        })
    }
}

/// The proxy, and the two servers that it is compared with.
struct Comparison {
    /// The proxy stands in the middle: where time goes by it does so between the servers, too.
    sides: [Side; 3],
    /// The keys that may have changed.
    changed: BTreeSet<String>,
    scripts_changed: bool,
}

enum Outcome {
    Same,
    /// The servers themselves do not agree, or not always.
    Unsteady,
    /// What they say and what the proxy says.
    Different(String),
    NotBuilt,
}

impl Comparison {
    fn new(direct: &[Address; 2], proxy: &Address, is_resp3: bool) -> Comparison {
        let [one, two] = direct;
        let sides = [
            Side::connect(one, is_resp3),
            Side::connect(proxy, is_resp3),
            Side::connect(two, is_resp3),
        ];
        Comparison { sides, changed: data::all_keys().collect(), scripts_changed: true }
    }

    fn put_back(&mut self) {
        for side in &mut self.sides {
            if self.scripts_changed {
                data::put_back_scripts(&mut side.client);
            }
            if !self.changed.is_empty() {
                data::put_back(&mut side.client, &self.changed);
            }
        }
        self.changed.clear();
        self.scripts_changed = false;
    }

    /// Sends a request everywhere and compares what comes.
    fn compare(&mut self, command: &Command, words: &[Vec<u8>]) -> Outcome {
        let mut last = String::new();
        for _ in 0..AGAIN {
            let replies = self.ask_all(command, words);
            let [one, ours, two] = &replies;
            if ours.1 == one.1 || ours.1 == two.1 {
                return Outcome::Same;
            }
            if ours.0.error_text().is_some_and(|text| text.ends_with(NOT_BUILT)) {
                return Outcome::NotBuilt;
            }
            if is_of_its_time(&one.0, &ours.0) {
                return Outcome::Unsteady;
            }
            last = format!("{:?}, and not {:?}", ours.0, one.0);
            // What the proxy says by itself is never like it by chance.
            let is_passed_on = !matches!(command.family(), Family::Local(_) | Family::Cluster(_));
            if is_passed_on && is_unsteady(command, &one.0, &two.0, &ours.0) {
                return Outcome::Unsteady;
            }
        }
        Outcome::Different(last)
    }

    fn ask_all(&mut self, command: &Command, words: &[Vec<u8>]) -> [(Value, Vec<u8>); 3] {
        self.put_back();
        let request = wire(words);
        let replies = self.sides.each_mut().map(|side| side.ask(&request));
        let concerns_all = matches!(command.family(), Family::FanOut(_) | Family::Undivided);
        if concerns_all && command.rights() == Rights::Admin {
            self.changed.extend(data::all_keys());
        } else if command.needs_master() {
            let named = words.iter().map(|word| String::from_utf8_lossy(word).into_owned());
            self.changed.extend(named.filter(|word| is_key(word)));
        }
        let container = command.name().split('|').next().unwrap_or_default();
        self.scripts_changed |= ["script", "function", "flushall"].contains(&container);
        let is_of_the_connection = matches!(
            command.family(),
            Family::Local(_) | Family::Transaction(_) | Family::PubSub(_) | Family::Cluster(_)
        );
        if is_of_the_connection {
            self.sides.iter_mut().for_each(Side::renew);
        }
        replies
    }
}

/// What a command says that is not built yet; doc/compatibility.md lists those.
const NOT_BUILT: &str = "' is not supported by this version of the proxy";

/// What tells how long something took or is ago.
const TIMED: [&str; 3] = ["xinfo", "xpending", "object|idletime"];

/// What comes in an order that each server chooses when it starts.
const UNORDERED: [&str; 4] = ["function|list", "keys", "sort", "command"];

/// Whether a server says what servers have said before 7.0, where the proxy has the words of today: it
/// does not know a subcommand, or how many arguments there are to be, or looks at that later.
fn is_of_its_time(server: &Value, ours: &Value) -> bool {
    let Some(said) = server.error_text().filter(|_| !server_has(7, 0)) else { return false };
    let counts = |text: &str| text.starts_with("ERR wrong number of arguments for '");
    said.starts_with("ERR Unknown subcommand or wrong number of arguments for '")
        || said == "ERR wrong number of arguments for MSET"
        || ours.error_text().is_some_and(|text| counts(text) && text.contains('|'))
}

/// Whether what the proxy says differs in nothing but what a third server would say differently.
fn is_unsteady(command: &Command, one: &Value, two: &Value, ours: &Value) -> bool {
    let is_of = |names: &[&str]| names.iter().any(|name| command.name().starts_with(name));
    if is_of(&TIMED) {
        let is_digit = |c: char| c.is_ascii_digit();
        let shape = |value| sorted(value).split(is_digit).collect::<String>();
        return shape(ours) == shape(one);
    }
    if sorted(one) == sorted(two) {
        return (one != two || is_of(&UNORDERED)) && sorted(ours) == sorted(one);
    }
    // Something at random, or of the moment: there is no more to say than what kind it is.
    std::mem::discriminant(one) == std::mem::discriminant(ours)
}

/// A reply as text, without the order of its elements.
fn sorted(value: &Value) -> String {
    let all = |elements: &[Value]| {
        let mut all: Vec<String> = elements.iter().map(sorted).collect();
        all.sort();
        format!("{all:?}")
    };
    match value {
        Value::Array(elements) | Value::Set(elements) => all(elements),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| sorted(key) + &sorted(value));
            format!("{:?}", pairs.collect::<BTreeSet<_>>())
        }
        // Of a long one the rest counts, too.
        Value::Bulk(bytes) | Value::Verbatim(bytes) => bytes.escape_ascii().to_string(),
        other => format!("{other:?}"),
    }
}

/// The commands whose replies differ, with an example for each.
type Differences = BTreeMap<(String, &'static str), String>;

/// Compares all commands on one pool.
fn compare_all(
    pool: &'static str,
    direct: &[Address; 2],
    proxy: &Address,
    is_resp3: bool,
    found: &Mutex<Differences>,
) -> [usize; 2] {
    let mut comparison = Comparison::new(direct, proxy, is_resp3);
    let manual = Manual::of(&mut Client::connect(&direct[0]));
    let each = env::var("DIFFERENTIAL").ok().and_then(|value| value.parse().ok()).unwrap_or(EACH);
    let (table, mut counts) = (CommandTable::new(), [0; 2]);
    for command in table.iter() {
        let is_refused = matches!(command.family(), Family::Refused(_) | Family::Container);
        if is_refused
            || !manual.has(command)
            || LEFT_OUT.iter().any(|(name, _)| *name == command.name())
        {
            continue;
        }
        for number in 0..each {
            let seed = command
                .name()
                .bytes()
                .fold(number + 1, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
            let mut chance = Chance::new(seed);
            let words = (0..20)
                .map(|_| manual.request(command, &mut chance))
                .find(|words| is_possible(&table, words));
            let Some(words) = words else { continue };
            match comparison.compare(command, &words) {
                Outcome::Same => counts[0] += 1,
                Outcome::Unsteady => counts[1] += 1,
                Outcome::NotBuilt => break,
                Outcome::Different(how) => {
                    let name = (command.name().to_owned(), pool);
                    let protocol = if is_resp3 { "RESP3" } else { "RESP2" };
                    let shown = words.iter().map(|word| word.escape_ascii().to_string());
                    let shown = shown.collect::<Vec<_>>().join(" ");
                    found
                        .lock()
                        .unwrap()
                        .entry(name)
                        .or_insert_with(|| format!("{protocol}: {shown}\n      {how}"));
                }
            }
        }
    }
    counts
}

/// Whether a word is one of the keys that there are.
fn is_key(word: &str) -> bool {
    TAGS.iter().any(|tag| word.strip_prefix(tag).is_some_and(|name| data::KEYS.contains(&name)))
}

/// Whether a pool can do it: all keys are in one place, or it can be divided; and whether what it
/// does can be put back.
fn is_possible(table: &CommandTable, words: &[Vec<u8>]) -> bool {
    let argument = |index: usize| words[index].as_slice();
    let Ok(command) = table.resolve(words.len(), argument) else { return true };
    let mut keys = Vec::new();
    if command.keys().keys(words.len(), argument, &mut keys).is_err() {
        return true;
    }
    let is_stray = |key: &u32| !is_key(&String::from_utf8_lossy(argument(*key as usize)));
    if command.needs_master() && keys.iter().any(is_stray) {
        return false;
    }
    let is_divided = matches!(command.family(), Family::Split(_))
        || command.name() == "xread" && !command.blocks(words.len(), argument);
    let slots: BTreeSet<u16> = keys.iter().map(|key| slot_of(argument(*key as usize))).collect();
    is_divided || slots.len() < 2
}

/// What doc/compatibility.md says may differ.
fn listed() -> BTreeSet<(String, &'static str)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/compatibility.md");
    let page = fs::read_to_string(path).expect("the page about compatibility");
    let list = page.split_once("<!-- differs -->").expect("the list of differences").1;
    let list = list.split_once("<!-- end -->").expect("its end").0;
    let mut listed = BTreeSet::new();
    for row in list.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [names, pools, why] = cells[..] else { panic!("not a row: {row}") };
        assert!(why.trim_end_matches('|').trim().len() > 10, "no reason: {row}");
        let pools: &[&str] = match pools {
            "all" => &POOLS,
            "cluster" => &POOLS[..1],
            "one group" => &POOLS[1..],
            other => panic!("not a pool: {other}"),
        };
        for name in names.split('`').skip(1).step_by(2) {
            let name = name.replace(' ', "|");
            for pool in pools {
                let pool = POOLS.into_iter().find(|known| known == pool).unwrap();
                assert!(listed.insert((name.clone(), pool)), "{name} is listed twice");
            }
        }
    }
    listed
}

/// Those that are compared.
const POOLS: [&str; 2] = ["cluster", "one group"];

#[test]
fn every_command_answers_as_the_server_itself_does() {
    if original_differs("has other commands") {
        return;
    }
    let every = EveryPool::start();
    let found = Mutex::new(Differences::new());
    thread::scope(|scope| {
        for pool in POOLS {
            let (every, found) = (&every, &found);
            scope.spawn(move || {
                let proxy = every.proxy(pool).address();
                let servers = [EveryPool::oracle_for(pool), EveryPool::oracle_for(pool)];
                let direct = servers.each_ref().map(|server| Address::Tcp(server.port()));
                for is_resp3 in [false, true] {
                    let [same, unsteady] = compare_all(pool, &direct, proxy, is_resp3, found);
                    eprintln!("{pool}, RESP3 {is_resp3}: {same} equal, {unsteady} unsteady");
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    let listed = listed();
    let mut wrong = String::new();
    for (name, example) in &found {
        if !listed.contains(name) {
            wrong += &format!("{}, {} differs: {example}\n", name.0, name.1);
        }
    }
    // What other servers say is their affair, and of its own affairs the proxy may say the same.
    let is_own = |name: &str| {
        let table = CommandTable::new();
        let command = table.iter().find(|command| command.name() == name).expect(name);
        matches!(command.family(), Family::Local(_) | Family::Cluster(_))
    };
    for name in listed.iter().filter(|_| env::var_os("REDIS_SERVER").is_none()) {
        if !found.contains_key(name) && !is_own(&name.0) {
            wrong += &format!("{}, {} is listed and does not differ\n", name.0, name.1);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A request of each command, and what the server itself says to it.
struct Sample {
    request: Vec<u8>,
    reply: Vec<u8>,
    changes_nothing: bool,
}

/// What says something else each time.
const UNSTEADY: [&str; 6] =
    ["hrandfield", "srandmember", "zrandmember", "xinfo", "xpending", "object|idletime"];

/// Asks a server about every command that is for servers. `protocol` is how it answers.
fn samples(server: &RedisServer, protocol: &str) -> Vec<Sample> {
    let mut client = server.client();
    let (manual, table) = (Manual::of(&mut client), CommandTable::new());
    data::put_back_scripts(&mut client);
    client.line(&format!("HELLO {protocol}"));
    let mut samples = Vec::new();
    for command in table.iter().filter(|command| manual.has(command)) {
        let is_for_servers = matches!(
            command.family(),
            Family::Keyed
                | Family::Split(_)
                | Family::StreamRead
                | Family::Blocking
                | Family::Script(ScriptCommand::Eval | ScriptCommand::EvalSha)
        );
        if !is_for_servers {
            continue;
        }
        let mut chance = Chance::new(command.name().len() as u64 + 77);
        for _ in 0..3 {
            data::put_back(&mut client, &data::all_keys().collect());
            let words = manual.request(command, &mut chance);
            let request = wire(&words);
            client.send(&request);
            let (_, reply) = client.try_raw_reply().unwrap();
            let is_steady = !UNSTEADY.iter().any(|name| command.name().starts_with(name));
            let changes_nothing = is_steady && !command.needs_master();
            // A server of which no manual is to be had may be older than the command.
            let is_known = !reply.starts_with(b"-ERR unknown command");
            // How many arguments there are to be the proxy says itself, in the words of today.
            let is_old = !server_has(7, 0) && reply.starts_with(b"-ERR wrong number of arguments");
            if is_known && !is_old && request.len() < 200 && reply.len() < 2000 {
                samples.push(Sample { request, reply, changes_nothing });
            }
        }
    }
    data::put_back(&mut client, &data::all_keys().collect());
    samples
}

#[test]
fn requests_may_be_cut_at_every_byte() {
    let server = RedisServer::start();
    let address = [server.address()];
    // With one thread: an answer to somebody else shows that it has read what there was.
    let proxy = Proxy::start(&format!("WorkerThreads 1\n{}", groups_conf(&address)));
    let (mut client, mut other) = (proxy.client(), proxy.client());
    let samples = samples(&server, "2");
    let least = if server_has(7, 0) { 400 } else { 300 };
    assert!(samples.len() > least, "{}", samples.len());
    let fit = samples.iter().filter(|sample| sample.changes_nothing);
    for Sample { request, reply, .. } in fit.step_by(2) {
        client.send(request);
        let (_, whole) = client.try_raw_reply().unwrap();
        if whole != *reply && original_differs("has other commands") {
            continue;
        }
        for cut in 1..request.len() {
            client.send(&request[..cut]);
            other.line("PING");
            client.send(&request[cut..]);
            let (_, pieced) = client.try_raw_reply().unwrap();
            assert_eq!(
                pieced.escape_ascii().to_string(),
                whole.escape_ascii().to_string(),
                "{} cut at {cut}",
                request.escape_ascii()
            );
        }
    }
}

#[test]
fn replies_may_be_cut_at_every_byte() {
    if original_differs("closes connections over some of them") {
        return;
    }
    let server = RedisServer::start();
    for protocol in ["2", "3"] {
        let samples = samples(&server, protocol);
        let mut replies: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for Sample { request, reply, .. } in samples {
            // What it says to one request decides; some are made up twice.
            replies.entry(request).or_insert(reply);
        }
        let known = replies.clone();
        let fake = FakeServer::start(move |heard| {
            known
                .get(&wire(&heard.words))
                .map_or(Answer::Usual, |reply| Answer::Bytewise(reply.clone()))
        });
        let proxy = Proxy::start(&groups_conf(&[format!("127.0.0.1:{}", fake.port())]));
        let mut client = proxy.client();
        for (request, reply) in &replies {
            client.send(request);
            let (_, got) = client.try_raw_reply().unwrap();
            let (got, want) = (got.escape_ascii().to_string(), reply.escape_ascii().to_string());
            assert_eq!(got, want, "{}", request.escape_ascii());
        }
    }
}
