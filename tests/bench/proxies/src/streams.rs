//! The requests that are counted: the same bytes every time, with replies of known length.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::Outcome;
use crate::stage::read_exact;

/// Requests of one kind.
pub struct Case {
    /// What tables call it.
    pub name: &'static str,
    requests: Vec<Vec<u8>>,
    reply_length: usize,
    pipeline: usize,
    total: usize,
    /// Each on a connection of its own.
    reconnects: bool,
}

const KEYS: usize = 1000;
/// What a value of 64 bytes takes in a reply, and one of 1024.
const BULK_64: usize = 5 + 64 + 2;
const BULK_1024: usize = 7 + 1024 + 2;

/// All cases.
pub fn cases() -> Vec<Case> {
    let names: Vec<String> = (0..KEYS).map(key).collect();
    let small = "x".repeat(64);
    let get: Vec<_> = names.iter().map(|name| command(&["GET", name])).collect();
    let set: Vec<_> = names.iter().map(|name| command(&["SET", name, &small])).collect();
    let get_large = (0..100).map(|index| command(&["GET", &large_key(index)])).collect();
    let ten = |index: usize| (0..10).map(move |step| key((index * 37 + step * 101) % KEYS));
    let mget: Vec<_> = (0..100)
        .map(|index| {
            let names: Vec<String> = ten(index).collect();
            let words: Vec<&str> =
                ["MGET"].into_iter().chain(names.iter().map(String::as_str)).collect();
            command(&words)
        })
        .collect();
    let mset = (0..100)
        .map(|index| {
            let names: Vec<String> = ten(index).collect();
            let pairs = names.iter().flat_map(|name| [name.as_str(), &small]);
            command(&["MSET"].into_iter().chain(pairs).collect::<Vec<_>>())
        })
        .collect();
    let case = |name, requests, reply_length, pipeline, total| Case {
        name,
        requests,
        reply_length,
        pipeline,
        total,
        reconnects: false,
    };
    let ping = || vec![command(&["PING"])];
    vec![
        case("GET P1", get.clone(), BULK_64, 1, 2000),
        case("GET P64", get, BULK_64, 64, 12_800),
        case("SET P64", set, 5, 64, 12_800),
        case("GET 1 KB P16", get_large, BULK_1024, 16, 3200),
        case("MGET 10 P1", mget.clone(), 5 + 10 * BULK_64, 1, 400),
        case("MGET 10 P16", mget, 5 + 10 * BULK_64, 16, 800),
        case("MSET 10 P1", mset, 5, 1, 400),
        case("PING P1", ping(), 7, 1, 2000),
        Case { reconnects: true, ..case("connect-PING-close", ping(), 7, 1, 400) },
    ]
}

/// Writes what the cases read.
pub fn fill(port: u16) -> Outcome<()> {
    let mut connection = Connection::open(port).map_err(|error| error.to_string())?;
    let (small, large) = ("x".repeat(64), "y".repeat(1024));
    for index in 0..KEYS {
        connection.ok(&["SET", &key(index), &small]).ok_or("SET was refused")?;
    }
    for index in 0..100 {
        connection.ok(&["SET", &large_key(index), &large]).ok_or("SET was refused")?;
    }
    Ok(())
}

fn key(index: usize) -> String {
    format!("k64:{index:012}")
}

fn large_key(index: usize) -> String {
    format!("k1k:{index:012}")
}

impl Case {
    /// Sends all requests and waits for all replies; how many there were.
    pub fn run(&self, port: u16) -> Outcome<usize> {
        let open = || Connection::open(port).map_err(|error| error.to_string());
        let mut connection = open()?;
        let mut requests = self.requests.iter().cycle();
        let rounds = self.total / self.pipeline;
        for _ in 0..rounds {
            let batch: Vec<u8> = requests.by_ref().take(self.pipeline).flatten().copied().collect();
            if self.reconnects {
                connection = open()?;
            }
            connection.exchange(&batch, self.reply_length * self.pipeline)?;
        }
        Ok(rounds * self.pipeline)
    }
}

/// A connection that waits for each reply.
pub struct Connection(TcpStream);

impl Connection {
    pub fn open(port: u16) -> io::Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Connection(stream))
    }

    /// Sends some requests and reads so many bytes of replies, none of which is an error.
    fn exchange(&mut self, requests: &[u8], length: usize) -> Outcome<()> {
        self.0.write_all(requests).map_err(|error| error.to_string())?;
        let mut replies = vec![0; length];
        read_exact(&mut self.0, &mut replies)?;
        match replies.first() {
            Some(b'-') => Err(String::from_utf8_lossy(&replies).into_owned()),
            _ if !replies.ends_with(b"\r\n") => Err("a reply of another length".to_owned()),
            _ => Ok(()),
        }
    }

    /// Sends one request, and gives what comes first of the reply.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(request)?;
        let mut reply = vec![0; 64 << 10];
        let length = self.0.read(&mut reply)?;
        reply.truncate(length);
        Ok(reply)
    }

    /// Whether a command succeeds.
    pub fn ok(&mut self, words: &[&str]) -> Option<()> {
        let reply = self.ask(&command(words)).ok()?;
        (reply.first() == Some(&b'+')).then_some(())
    }
}

/// A request on the wire.
pub fn command(words: &[&str]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    request.into_bytes()
}
