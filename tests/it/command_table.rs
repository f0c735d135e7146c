//! The command table against what a live server says about its own commands.
//!
//! `REDIS_SERVER` chooses the server. Every difference is an error, unless `DIFFERENCES` has
//! it with its reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use predixy::resp::command::{
    Access, Command, CommandTable, Family, KeysError, Rights, error_text,
};

/// What may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aspect {
    Missing,
    Arity,
    Rights,
    Keys,
    Access,
}

/// Where the table differs from some server, and why it is right to.
#[rustfmt::skip]
const DIFFERENCES: &[(&str, Aspect, &str)] = &[
    ("command|getkeys", Aspect::Arity, "7.0 asks for 4 words, and so refuses a command without arguments; later ones for 3"),
    ("command|getkeysandflags", Aspect::Arity, "as command|getkeys"),
    ("pfdebug", Aspect::Arity, "6.2 says at least 3, later ones exactly 3; it is refused anyway"),
    ("bitfield", Aspect::Access, "it writes unless all it says is GET; nobody needs that told apart"),
    ("pfcount", Aspect::Access, "it may cache what it counted, which changes nothing anybody can see"),
    ("pfmerge", Aspect::Keys, "without sources it has its destination still, which COMMAND GETKEYS does not see"),
    ("vadd", Aspect::Arity, "a module says -1 and counts for itself; without its key it could not be routed"),
    ("vcard", Aspect::Arity, "as vadd"),
    ("vdim", Aspect::Arity, "as vadd"),
    ("vemb", Aspect::Arity, "as vadd"),
    ("vgetattr", Aspect::Arity, "as vadd"),
    ("vinfo", Aspect::Arity, "as vadd"),
    ("vismember", Aspect::Arity, "as vadd"),
    ("vlinks", Aspect::Arity, "as vadd"),
    ("vrandmember", Aspect::Arity, "as vadd"),
    ("vrange", Aspect::Arity, "as vadd"),
    ("vrem", Aspect::Arity, "as vadd"),
    ("vsetattr", Aspect::Arity, "as vadd"),
    ("vsim", Aspect::Arity, "as vadd"),
    ("vcard", Aspect::Access, "a module says of all its keys that they are written"),
    ("vdim", Aspect::Access, "as vcard"),
    ("vemb", Aspect::Access, "as vcard"),
    ("vgetattr", Aspect::Access, "as vcard"),
    ("vinfo", Aspect::Access, "as vcard"),
    ("vismember", Aspect::Access, "as vcard"),
    ("vlinks", Aspect::Access, "as vcard"),
    ("vrandmember", Aspect::Access, "as vcard"),
    ("vrange", Aspect::Access, "as vcard"),
    ("vsim", Aspect::Access, "as vcard"),
];

#[test]
fn every_command_of_the_server_is_known() {
    let differences = compare(|live, ours, report| {
        if ours.is_none() {
            report(Aspect::Missing, format!("the server has {}", live.name));
        }
    });
    assert_eq!(differences, "");
}

#[test]
fn the_fewest_arguments_are_those_of_the_server() {
    let differences = compare(|live, ours, report| {
        let Some(ours) = ours else { return };
        let min = live.arity.unsigned_abs();
        if ours.min_args() as u64 != min {
            report(Aspect::Arity, format!("at least {min}, we say {}", ours.min_args()));
        }
        // What is passed on is counted by the server; what is not, here.
        let counted_here = matches!(
            ours.family(),
            Family::Local(_) | Family::Transaction(_) | Family::PubSub(_) | Family::Cluster(_)
        );
        if counted_here && live.arity > 0 && ours.max_args() != Some(ours.min_args()) {
            report(Aspect::Arity, format!("exactly {min}, we say up to {:?}", ours.max_args()));
        }
    });
    assert_eq!(differences, "");
}

#[test]
fn what_the_server_calls_a_write_needs_the_right_to_write() {
    let differences = compare(|live, ours, report| {
        let Some(ours) = ours else { return };
        let is_refused = matches!(ours.family(), Family::Refused(_) | Family::Container);
        if is_refused {
            return;
        }
        if live.has_flag("write") && (ours.rights() == Rights::Read || !ours.needs_master()) {
            report(Aspect::Rights, "it writes, we say it reads".into());
        }
        if live.has_flag("readonly") && ours.rights() != Rights::Read {
            report(Aspect::Rights, "it only reads, we say it writes".into());
        }
        if live.has_flag("admin") && ours.rights() != Rights::Admin {
            report(Aspect::Rights, "it is for admins, we say it is not".into());
        }
    });
    assert_eq!(differences, "");
}

#[test]
fn what_the_server_says_may_block_gets_a_connection_to_itself() {
    let server = Server::start();
    let live = live_commands(&mut server.connect());
    let table = CommandTable::new();
    if !live["blpop"].has_flag("blocking") {
        // Before 7.0 servers did not say.
        return;
    }
    for ours in table.iter() {
        let blocks = matches!(ours.family(), Family::Blocking | Family::StreamRead);
        let refused = matches!(ours.family(), Family::Refused(_));
        if let Some(live) = live.get(ours.name()) {
            assert!(refused || live.has_flag("blocking") == blocks, "{}", ours.name());
        }
    }
}

/// First key, last key and step, as old clients get them.
#[test]
fn first_last_and_step_are_those_of_the_server() {
    let differences = compare(|live, ours, report| {
        let Some(ours) = ours else { return };
        let refused = matches!(ours.family(), Family::Refused(_) | Family::Container);
        if refused || live.has_flag("movablekeys") {
            return;
        }
        for extra in 0..4 {
            let count = ours.min_args() + extra;
            let words: Vec<Vec<u8>> = (0..count).map(|at| format!("w{at}").into_bytes()).collect();
            // What lacks the last value is executed by nobody.
            let Ok(seen) = kinds(ours, &words) else { continue };
            if live.first_key == 0
                && seen.iter().all(|(_, access)| matches!(access, Access::Name | Access::Glob))
            {
                continue;
            }
            let keys: Vec<usize> = seen.into_iter().map(|(index, _)| index).collect();
            let want = live.keys(count);
            if keys != want {
                report(
                    Aspect::Keys,
                    format!("of {count} words {want:?} are keys, we say {keys:?}"),
                );
            }
        }
    });
    assert_eq!(differences, "");
}

#[test]
fn the_keys_of_a_request_are_those_that_the_server_finds() {
    let (differences, compared) = compare_requests(Aspect::Keys, |client, words| {
        let command = [&[&b"COMMAND"[..], b"GETKEYS"], words].concat();
        match client.call(&command) {
            Value::Array(keys) => Some(keys.iter().map(|key| (key.text(), None)).collect()),
            // What it says to channels, and to what it cannot make sense of.
            Value::Error(_) => Some(Vec::new()),
            other => panic!("COMMAND GETKEYS answered {other:?}"),
        }
    });
    assert_eq!(differences, "");
    assert!(compared > 3000, "only {compared} requests were compared");
}

#[test]
fn keys_are_read_or_written_as_the_server_says() {
    // Before 7.0 servers did not know; then nothing is compared.
    let (differences, _) = compare_requests(Aspect::Access, |client, words| {
        let command = [&[&b"COMMAND"[..], b"GETKEYSANDFLAGS"], words].concat();
        let Value::Array(keys) = client.call(&command) else { return None };
        let writes = |key: &Value| !key.at(1).array().iter().any(|flag| flag.text() == "RO");
        Some(keys.iter().map(|key| (key.at(0).text(), Some(writes(key)))).collect())
    });
    assert_eq!(differences, "");
}

/// The words for commands that cannot be executed are those of the server, byte for byte.
#[test]
fn errors_are_those_of_the_server() {
    let server = Server::start();
    let mut client = server.connect();
    if !live_commands(&mut client).contains_key("command|getkeysandflags") {
        // 6.2 has other words.
        return;
    }
    let table = CommandTable::new();
    let (x, y) = ([b'x'; 300], [b'y'; 100]);
    let requests: &[&[&[u8]]] = &[
        &[b"nothing"],
        &[b"Nothing", b"a", b"", b"it's"],
        &[&x, b"a"],
        &[b"nothing", &x, b"b"],
        &[b"nothing", &y, &y, &y, &y],
        &[b"no\r\nthing", b"\r\n+OK\r\n"],
        &[b"no\0thing", b"a\0b", b"\0"],
        &[b"get"],
        &[b"GET"],
        &[b"object"],
        &[b"OBJECT", b"ENCODING"],
        &[b"object", b"Shape", b"k"],
        &[b"XGROUP", &x],
        &[b"client", b"a\r\n\0b"],
        &[b"echo", b"a", b"b"],
        &[b"client", b"getname", b"x"],
        &[b"exec", b"x"],
        &[b"select"],
        &[b"publish", b"c"],
        &[b"mset", b"a", b"1", b"b"],
        &[b"eval", b"return 1", b"3", b"a"],
        &[b"eval", b"return 1", b"-1", b"a"],
        &[b"eval", b"return 1", b"x", b"a"],
        &[b"eval", b"return 1", b"9223372036854775808", b"a"],
        &[b"eval", b"return 1", b"01", b"a"],
    ];
    for request in requests {
        let argument = |index: usize| request[index];
        let mut text = Vec::new();
        match table.resolve(request.len(), argument) {
            Err(unresolved) => unresolved.write(request.len(), argument, &mut text),
            Ok(command) => {
                let mut keys = Vec::new();
                let error = command.keys().keys(request.len(), argument, &mut keys).unwrap_err();
                match error.text() {
                    Some(words) => text.extend_from_slice(words.as_bytes()),
                    None => error_text::wrong_arity(command, &mut text),
                }
            }
        }
        let Value::Error(want) = client.call(request) else {
            panic!("{:?} was executed", request[0].escape_ascii().to_string());
        };
        assert_eq!(String::from_utf8_lossy(&text), String::from_utf8_lossy(&want));
    }
}

/// A key, and whether it is written, if that is of interest.
type Key = (String, Option<bool>);

/// Has the server tell the keys of many requests, and tells in which it disagrees with us: one
/// of each command. Returns too how many were compared.
fn compare_requests(
    aspect: Aspect,
    ask: impl Fn(&mut Client, &[&[u8]]) -> Option<Vec<Key>>,
) -> (String, usize) {
    let server = Server::start();
    let mut client = server.connect();
    let live = live_commands(&mut client);
    let knows_subcommands = live.keys().any(|name| name.contains('|'));
    let table = CommandTable::new();
    let (mut differences, mut compared) = (BTreeMap::new(), 0);
    for request in requests(&table) {
        let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let ours = table.resolve(words.len(), |index| words[index]).unwrap();
        let there = if knows_subcommands { ours } else { table.command(ours.container()).unwrap() };
        if !live.contains_key(there.name()) || listed(ours.name(), aspect) {
            continue;
        }
        if !live[there.name()].accepts(words.len()) {
            continue;
        }
        let Ok(seen) = kinds(ours, &request) else {
            // Where we see no keys the server may, but then it must not execute the request.
            let reply = client.call(&words);
            assert!(matches!(reply, Value::Error(_)), "{words:?} was executed: {reply:?}");
            continue;
        };
        let Some(mut want) = ask(&mut client, &words) else { continue };
        let with_access = want.iter().any(|(_, writes)| writes.is_some());
        let mut keys: Vec<Key> = seen
            .into_iter()
            .filter(|(_, access)| matches!(access, Access::Read | Access::Write))
            .map(|(index, access)| {
                let writes = with_access.then_some(access == Access::Write);
                (String::from_utf8_lossy(words[index]).into_owned(), writes)
            })
            .collect();
        want.sort();
        keys.sort();
        compared += 1;
        if keys != want {
            let shown = String::from_utf8_lossy(&request.join(&b' ')).into_owned();
            differences
                .entry(ours.name().to_owned())
                .or_insert_with(|| format!("{shown}: {want:?}, we say {keys:?}\n"));
        }
    }
    (differences.into_values().collect(), compared)
}

/// Requests of every command with keys: of plain words, of numbers, and by hand what those
/// do not reach.
fn requests(table: &CommandTable) -> Vec<Vec<Vec<u8>>> {
    let mut requests = Vec::new();
    for command in table.iter().filter(|command| !command.keys().is_empty()) {
        for extra in 0..5 {
            let mut words: Vec<Vec<u8>> =
                command.name().split('|').map(|word| word.as_bytes().to_vec()).collect();
            let prefix = words.len();
            for at in prefix..command.min_args() + extra {
                words.push(format!("w{at}").into_bytes());
            }
            if !command.accepts(words.len()) {
                continue;
            }
            for at in prefix..words.len() {
                // Where the number of keys may stand.
                for number in ["0", "1", "2", "3"] {
                    let mut numbered = words.clone();
                    numbered[at] = number.as_bytes().to_vec();
                    requests.push(numbered);
                }
            }
            requests.push(words);
        }
    }
    let by_hand = "
        xread streams a 0
        XREAD COUNT 2 BLOCK 0 STREAMS a b 0 0
        xread block 5 count 1 streams streams 0
        xreadgroup group g c streams a >
        xreadgroup GROUP g c COUNT 1 BLOCK 0 NOACK STREAMS a b c > > >
        xreadgroup group streams streams streams a >
        sort k store d
        sort k by w_* get # get o_* limit 0 5 desc alpha store d
        sort k store a store b
        sort k by store get store
        sort_ro k by w_* get #
        georadius k 1 2 3 m store d
        georadius k 1 2 3 m count 1 storedist d
        georadiusbymember k m 3 m store d
        georadiusbymember k m 3 m withdist
        migrate h 1 k 0 10
        migrate h 1 k 0 10 copy replace
        eval s 2 a b c
        evalsha s 0 a b
        fcall f 1 a b
        zunionstore d 2 a b weights 1 2 aggregate max
        zdiffstore d 1 a
        zinter 2 a b withscores
        lmpop 2 a b left count 3
        blmpop 0 2 a b right
        zmpop 1 a min
        bzmpop 0 1 a max
        sintercard 2 a b limit 1
        mset a 1 b 2 c 3
        msetnx a 1 b 2
        msetex 2 a 1 b 2 ex 10
        stralgo lcs keys a b
        stralgo lcs idx minmatchlen 3 keys a b
        stralgo lcs strings keys a
        bitop and d a b c
        blpop a b c 0
        memory usage k samples 0
        xgroup create k g $ mkstream
        pfmerge d a b
        geosearchstore d s frommember m byradius 1 m
        watch a b c";
    let by_hand = by_hand.lines().map(str::trim).filter(|line| !line.is_empty());
    let split = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    requests.extend(by_hand.map(split));
    requests
}

/// The keys and names of a request, and what is done to them.
fn kinds(command: &Command, words: &[Vec<u8>]) -> Result<Vec<(usize, Access)>, KeysError> {
    let mut seen = Vec::new();
    let see = |index: u32, access| seen.push((index as usize, access));
    command.keys().visit(words.len(), |index| words[index].as_slice(), see)?;
    Ok(seen)
}

fn listed(name: &str, aspect: Aspect) -> bool {
    DIFFERENCES.iter().any(|(listed, what, _)| *listed == name && *what == aspect)
}

/// Looks at every command of the server beside ours, and tells the differences in lines.
fn compare(look: impl Fn(&Live, Option<&Command>, &mut dyn FnMut(Aspect, String))) -> String {
    let server = Server::start();
    let live = live_commands(&mut server.connect());
    let table = CommandTable::new();
    let mut differences = String::new();
    for live in live.values() {
        let mut words = live.name.split('|').map(str::as_bytes);
        let ours = words.next().and_then(|word| table.lookup(word));
        let ours = match (ours, words.next()) {
            (Some(container), Some(word)) => table.subcommand(container, word),
            (ours, _) => ours,
        };
        look(live, ours, &mut |aspect, what| {
            if !listed(&live.name, aspect) {
                writeln!(differences, "{} {aspect:?}: {what}", live.name).unwrap();
            }
        });
    }
    differences
}

/// What a server says about one of its commands.
#[derive(Debug)]
struct Live {
    name: String,
    arity: i64,
    flags: Vec<String>,
    first_key: i64,
    last_key: i64,
    step: i64,
}

impl Live {
    fn accepts(&self, count: usize) -> bool {
        let count = i64::try_from(count).unwrap();
        if self.arity < 0 { count >= -self.arity } else { count == self.arity }
    }

    fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|has| has == flag)
    }

    /// The indexes that first key, last key and step mean for so many words.
    fn keys(&self, count: usize) -> Vec<usize> {
        if self.first_key == 0 {
            return Vec::new();
        }
        let count = i64::try_from(count).unwrap();
        let last = if self.last_key < 0 { count + self.last_key } else { self.last_key };
        let step = usize::try_from(self.step).unwrap();
        let keys = (self.first_key..=last.min(count - 1)).step_by(step);
        keys.map(|index| usize::try_from(index).unwrap()).collect()
    }
}

fn live_commands(client: &mut Client) -> BTreeMap<String, Live> {
    let mut commands = BTreeMap::new();
    for command in client.call(&[b"COMMAND"]).array() {
        add_live(command, &mut commands);
    }
    assert!(commands.len() > 200, "the server has only {} commands", commands.len());
    commands
}

fn add_live(command: &Value, commands: &mut BTreeMap<String, Live>) {
    let name = command.at(0).text().to_ascii_lowercase();
    let live = Live {
        arity: command.at(1).integer(),
        flags: command.at(2).array().iter().map(Value::text).collect(),
        first_key: command.at(3).integer(),
        last_key: command.at(4).integer(),
        step: command.at(5).integer(),
        name: name.clone(),
    };
    commands.insert(name, live);
    if let Some(subcommands) = command.array().get(9) {
        subcommands.array().iter().for_each(|command| add_live(command, commands));
    }
}

/// A server of one's own, which ends with the test.
struct Server {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Server {
    fn start() -> Server {
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        // Between our letting go of a port and the server's taking it somebody else may.
        for _ in 0..5 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr())
                .unwrap()
                .port();
            let folder =
                std::env::temp_dir().join(format!("command-table-{}-{port}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let process = Process::new(&program)
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
                .args(["--dir", folder.to_str().unwrap()])
                .stdout(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
            let mut server = Server { process, port, folder };
            if server.is_ready() {
                return server;
            }
        }
        panic!("{program} does not answer");
    }

    fn is_ready(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && self.process.try_wait().unwrap().is_none() {
            if let Ok(mut client) = Client::connect(self.port)
                && matches!(client.call(&[b"PING"]), Value::Text(text) if text == b"PONG")
            {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    fn connect(&self) -> Client {
        Client::connect(self.port).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
enum Value {
    Text(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Array(Vec<Value>),
    Nil,
}

impl Client {
    fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    fn call(&mut self, words: &[&[u8]]) -> Value {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).unwrap();
        self.reply()
    }

    fn reply(&mut self) -> Value {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        let line = line.strip_suffix(b"\r\n").expect("a whole line");
        let (kind, rest) = line.split_first().expect("a kind");
        let number = || std::str::from_utf8(rest).unwrap().parse::<i64>().unwrap();
        match kind {
            b'+' => Value::Text(rest.to_vec()),
            b'-' => Value::Error(rest.to_vec()),
            b':' => Value::Integer(number()),
            b'$' | b'*' if number() < 0 => Value::Nil,
            b'$' => {
                let mut text = vec![0; usize::try_from(number()).unwrap() + 2];
                self.stream.read_exact(&mut text).unwrap();
                text.truncate(text.len() - 2);
                Value::Text(text)
            }
            b'*' => Value::Array((0..number()).map(|_| self.reply()).collect()),
            _ => panic!("not a reply: {}", line.escape_ascii()),
        }
    }
}

impl Value {
    fn array(&self) -> &[Value] {
        match self {
            Value::Array(values) => values,
            other => panic!("not an array: {other:?}"),
        }
    }

    fn at(&self, index: usize) -> &Value {
        &self.array()[index]
    }

    fn text(&self) -> String {
        match self {
            Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("not a text: {other:?}"),
        }
    }

    fn integer(&self) -> i64 {
        match self {
            Value::Integer(number) => *number,
            other => panic!("not an integer: {other:?}"),
        }
    }
}
