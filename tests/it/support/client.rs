//! A blocking client that speaks RESP2 and RESP3 and never waits without an end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::{Address, SOON, Value};

/// One connection.
pub struct Client {
    stream: Stream,
    received: Vec<u8>,
    /// Where in `received` the next reply begins.
    next: usize,
    deadline: Duration,
}

/// Why there is no reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Lost {
    /// The connection was closed or reset.
    Closed,
    /// Nothing, or not enough, came in time.
    TimedOut,
    /// What came is not RESP.
    Garbage(String),
}

/// How deep a reply may be nested before we no longer read it.
const DEPTH_MAX: usize = 100;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Client {
    /// Connects, or panics.
    #[track_caller]
    pub fn connect(address: &Address) -> Client {
        Client::try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// Connects, or says why not.
    pub fn try_connect(address: &Address) -> std::io::Result<Client> {
        let stream = match address {
            Address::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::At(place) => Stream::Tcp(TcpStream::connect(place)?),
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        Ok(Client { stream, received: Vec::new(), next: 0, deadline: SOON })
    }

    /// Connects to a port of this machine, or panics.
    #[track_caller]
    pub fn to_port(port: u16) -> Client {
        Client::connect(&Address::Tcp(port))
    }

    /// The same connection once more, to send on it while the first reads.
    pub fn second_handle(&self) -> Client {
        let stream = match &self.stream {
            Stream::Tcp(stream) => stream.try_clone().map(Stream::Tcp),
            Stream::Unix(stream) => stream.try_clone().map(Stream::Unix),
        };
        let stream = stream.expect("a second handle");
        Client { stream, received: Vec::new(), next: 0, deadline: self.deadline }
    }

    /// Changes how long one reply may take.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Sends one command and waits for its reply.
    #[track_caller]
    pub fn cmd<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Value {
        self.try_cmd(words).unwrap_or_else(|lost| panic!("{}: {lost:?}", shown(words)))
    }

    /// Like `cmd`, for when the connection may be lost.
    pub fn try_cmd<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Value, Lost> {
        self.try_send(&wire(words))?;
        self.try_reply()
    }

    /// Sends one command given as text that is split at blanks.
    #[track_caller]
    pub fn line(&mut self, line: &str) -> Value {
        let words: Vec<&str> = line.split(' ').collect();
        self.cmd(&words)
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).unwrap_or_else(|lost| panic!("send: {lost:?}"));
    }

    /// Sends bytes as they are, unless the other side is gone or does not read.
    pub fn try_send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        self.stream.set_write_timeout(self.deadline);
        self.stream.writer().write_all(bytes).map_err(|error| lost(&error))
    }

    /// Sends several commands in one write and waits for all replies.
    #[track_caller]
    pub fn pipeline(&mut self, lines: &[&str]) -> Vec<Value> {
        let words = lines.iter().map(|line| line.split(' ').collect::<Vec<&str>>());
        let bytes: Vec<u8> = words.flat_map(|words| wire(&words)).collect();
        self.send(bytes);
        lines.iter().map(|_| self.reply()).collect()
    }

    /// Waits for the next reply.
    #[track_caller]
    pub fn reply(&mut self) -> Value {
        self.try_reply().unwrap_or_else(|lost| panic!("no reply: {lost:?}"))
    }

    /// Waits for the next reply, or says why there is none.
    pub fn try_reply(&mut self) -> Result<Value, Lost> {
        self.received.drain(..self.next);
        self.next = 0;
        let until = Instant::now() + self.deadline;
        self.value(until, 0)
    }

    /// Waits for the next reply and tells it byte for byte.
    #[track_caller]
    pub fn raw_reply(&mut self) -> Vec<u8> {
        self.reply();
        self.received[..self.next].to_vec()
    }

    /// Waits for the next reply and tells it as a value and byte for byte, or says why there is
    /// none.
    pub fn try_raw_reply(&mut self) -> Result<(Value, Vec<u8>), Lost> {
        let value = self.try_reply()?;
        Ok((value, self.received[..self.next].to_vec()))
    }

    /// Waits until the other side closes; anything but that, data included, is a failure.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        match self.try_reply() {
            Err(Lost::Closed) => {}
            other => panic!("not closed: {other:?}"),
        }
    }

    /// Whether something has arrived that was not asked for yet; does not wait.
    pub fn has_something(&mut self) -> bool {
        if self.next == self.received.len() {
            match self.fill(Instant::now() + Duration::from_millis(1)) {
                Ok(()) => {}
                Err(lost) => return lost != Lost::TimedOut,
            }
        }
        self.next < self.received.len()
    }

    /// Closes our half: the other side sees the end of what we send.
    pub fn shut_down_write(&self) {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
        .expect("shut down for writing");
    }

    fn value(&mut self, until: Instant, depth: usize) -> Result<Value, Lost> {
        if depth > DEPTH_MAX {
            return Err(Lost::Garbage("nested too deep for a test".to_owned()));
        }
        let line = self.text_line(until)?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| Lost::Garbage(line.clone()))?;
        let garbage = || Lost::Garbage(line.clone());
        let count = || rest.parse::<usize>().map_err(|_| garbage());
        Ok(match (kind, rest) {
            ("+", _) => Value::Simple(rest.to_owned()),
            ("-", _) => Value::Error(rest.to_owned()),
            (":", _) => Value::Int(rest.parse().map_err(|_| garbage())?),
            ("$", "-1") => Value::Nil,
            ("$", _) => Value::Bulk(self.body(count()?, until)?),
            ("*", "-1") => Value::NilArray,
            ("*", _) => Value::Array(self.values(count()?, until, depth)?),
            ("_", "") => Value::Null,
            ("#", "t") => Value::Bool(true),
            ("#", "f") => Value::Bool(false),
            (",", _) => Value::Double(rest.to_owned()),
            ("(", _) => Value::Big(rest.to_owned()),
            ("!", _) => {
                Value::Error(String::from_utf8_lossy(&self.body(count()?, until)?).into_owned())
            }
            ("=", _) => Value::Verbatim(self.body(count()?, until)?),
            ("~", _) => Value::Set(self.values(count()?, until, depth)?),
            (">", _) => Value::Push(self.values(count()?, until, depth)?),
            // What an attribute tells, `raw_reply` shows.
            ("|", _) => {
                self.values(count()? * 2, until, depth)?;
                self.value(until, depth + 1)?
            }
            ("%", _) => {
                let flat = self.values(count()? * 2, until, depth)?;
                Value::Map(
                    flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
                )
            }
            _ => return Err(garbage()),
        })
    }

    fn values(&mut self, count: usize, until: Instant, depth: usize) -> Result<Vec<Value>, Lost> {
        (0..count).map(|_| self.value(until, depth + 1)).collect()
    }

    fn body(&mut self, length: usize, until: Instant) -> Result<Vec<u8>, Lost> {
        while self.received.len() < self.next + length + 2 {
            self.fill(until)?;
        }
        let end = self.next + length;
        if &self.received[end..end + 2] != b"\r\n" {
            return Err(Lost::Garbage("no end after a body".to_owned()));
        }
        let body = self.received[self.next..end].to_vec();
        self.next = end + 2;
        Ok(body)
    }

    fn text_line(&mut self, until: Instant) -> Result<String, Lost> {
        let mut seen = self.next;
        loop {
            if let Some(at) = self.received[seen..].windows(2).position(|two| two == b"\r\n") {
                let line =
                    String::from_utf8_lossy(&self.received[self.next..seen + at]).into_owned();
                self.next = seen + at + 2;
                return Ok(line);
            }
            seen = self.received.len().saturating_sub(1).max(self.next);
            self.fill(until)?;
        }
    }

    fn fill(&mut self, until: Instant) -> Result<(), Lost> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Lost::TimedOut);
        }
        self.stream.set_read_timeout(left);
        let old = self.received.len();
        self.received.resize(old + 64 * 1024, 0);
        let result = self.stream.reader().read(&mut self.received[old..]);
        self.received.truncate(old + *result.as_ref().unwrap_or(&0));
        match result {
            Ok(0) => Err(Lost::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(lost(&error)),
        }
    }
}

impl Stream {
    fn reader(&mut self) -> &mut dyn Read {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
        }
    }

    fn set_read_timeout(&self, timeout: Duration) {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
        .expect("a read time-out");
    }

    fn set_write_timeout(&self, timeout: Duration) {
        match self {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(timeout)),
            Stream::Unix(stream) => stream.set_write_timeout(Some(timeout)),
        }
        .expect("a write time-out");
    }
}

/// A command as it goes over the wire.
pub fn wire<A: AsRef<[u8]>>(words: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn lost(error: &std::io::Error) -> Lost {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Lost::TimedOut,
        _ => {
            eprintln!("connection lost: {error}");
            Lost::Closed
        }
    }
}

fn shown<A: AsRef<[u8]>>(words: &[A]) -> String {
    let shown = words.iter().take(6).map(|word| {
        let word = word.as_ref();
        word[..word.len().min(40)].escape_ascii().to_string()
    });
    shown.collect::<Vec<String>>().join(" ")
}
