//! Servers and a Sentinel in a simulated world that answer as told by a fuzzer, and otherwise just
//! well enough for a proxy to work with.

use std::collections::VecDeque;

use predixy::base::address::Address;
use predixy::sys::sim::World;
use predixy::sys::{ListenSocket, Progress, Socket};

/// One server, or the Sentinel.
pub struct Server {
    address: Address,
    is_sentinel: bool,
    listener: Option<ListenSocket>,
    links: Vec<Link>,
    /// What it answers next, whatever it is asked.
    lies: VecDeque<Lie>,
    /// It reads and says nothing.
    pub is_mute: bool,
}

/// What a server does instead of answering.
pub enum Lie {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nothing at all.
    Silence,
    /// It closes the connection.
    Close,
}

struct Link {
    socket: Socket,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    queued: Option<usize>,
}

/// What CLUSTER NODES answers: two masters.
pub const NODES: &str = "a 10.0.0.2:7000@17000 master - 0 0 1 connected 0-8191\n\
    b 10.0.0.3:7000@17000 myself,master - 0 0 2 connected 8192-16383\n";

impl Server {
    /// One that listens.
    pub fn start(address: &str, is_sentinel: bool) -> Server {
        let address = Address::parse(address).expect("an address");
        let listener = Some(ListenSocket::bind(&address).expect("it is free"));
        let (links, lies) = (Vec::new(), VecDeque::new());
        Server { address, is_sentinel, listener, links, lies, is_mute: false }
    }

    /// Answers with this once.
    pub fn lie(&mut self, lie: Lie) {
        if self.lies.len() < 64 {
            self.lies.push_back(lie);
        }
    }

    /// Says something that nobody has asked for, on one of its connections.
    pub fn blurt(&mut self, which: usize, bytes: &[u8]) {
        let count = self.links.len().max(1);
        if let Some(link) = self.links.get_mut(which % count) {
            link.outbox.extend_from_slice(bytes);
        }
    }

    /// Breaks one of its connections.
    pub fn cut(&mut self, which: usize) {
        if let Some(link) = self.links.get(which % self.links.len().max(1)) {
            World::cut(&link.socket);
        }
    }

    /// Dies, or is started again.
    pub fn toggle(&mut self) {
        if self.listener.take().is_some() {
            self.links.drain(..).for_each(|link| World::cut(&link.socket));
        } else {
            self.listener = ListenSocket::bind(&self.address).ok();
        }
    }

    /// Is well again, and knows nothing of what was before.
    pub fn heal(&mut self) {
        self.lies.clear();
        self.is_mute = false;
        if self.listener.is_some() {
            self.toggle();
        }
        self.toggle();
    }

    /// Accepts, reads and answers as far as it can now.
    pub fn turn(&mut self) {
        while let Some(listener) = &self.listener
            && let Ok(Some((socket, _))) = listener.accept()
        {
            let (inbox, outbox) = (Vec::new(), Vec::new());
            self.links.push(Link { socket, inbox, outbox, queued: None });
        }
        let Server { links, lies, is_mute, is_sentinel, .. } = self;
        links.retain_mut(|link| link.turn(lies, *is_mute, *is_sentinel));
    }
}

impl Link {
    /// False when it has ended.
    fn turn(&mut self, lies: &mut VecDeque<Lie>, is_mute: bool, is_sentinel: bool) -> bool {
        let mut room = [0; 4096];
        loop {
            match self.socket.read(&mut room) {
                Ok(Progress::Moved(size)) => self.inbox.extend_from_slice(&room[..size]),
                Ok(Progress::WouldBlock) => break,
                Ok(Progress::Closed) | Err(_) => return false,
            }
        }
        while let Some((words, size)) = take_request(&self.inbox) {
            self.inbox.drain(..size);
            if is_mute {
                continue;
            }
            match lies.pop_front() {
                Some(Lie::Bytes(bytes)) => self.outbox.extend_from_slice(&bytes),
                Some(Lie::Silence) => {}
                Some(Lie::Close) => return false,
                None => self.answer(&words, is_sentinel),
            }
        }
        while !self.outbox.is_empty() {
            match self.socket.write(&self.outbox) {
                Ok(Progress::Moved(size)) => drop(self.outbox.drain(..size)),
                Ok(Progress::WouldBlock) => break,
                Ok(Progress::Closed) | Err(_) => return false,
            }
        }
        true
    }

    fn answer(&mut self, words: &[Vec<u8>], is_sentinel: bool) {
        let word = |index: usize| words.get(index).map(|word| word.to_ascii_lowercase());
        let (name, sub) = (word(0).unwrap_or_default(), word(1).unwrap_or_default());
        let mut say = |text: &str| self.outbox.extend_from_slice(text.as_bytes());
        match (&*name, &*sub) {
            (b"multi", _) => {
                self.queued = Some(0);
                say("+OK\r\n");
            }
            (b"exec" | b"discard", _) if self.queued.is_some() => {
                let count = self.queued.take().unwrap_or_default();
                match &*name {
                    b"exec" => say(&format!("*{count}\r\n{}", "+OK\r\n".repeat(count))),
                    _ => say("+OK\r\n"),
                }
            }
            _ if self.queued.is_some() => {
                self.queued = self.queued.map(|count| count + 1);
                say("+QUEUED\r\n");
            }
            (b"ping", _) => say("+PONG\r\n"),
            (b"hello", b"3") => say("%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"),
            (b"cluster", b"nodes") => say(&format!("${}\r\n{NODES}\r\n", NODES.len())),
            (b"scan", _) => say("*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n"),
            (b"mget", _) => {
                let keys = words.len() - 1;
                say(&format!("*{keys}\r\n{}", "$1\r\nv\r\n".repeat(keys)));
            }
            (b"get", _) => say("$1\r\nv\r\n"),
            (b"del" | b"exists" | b"dbsize" | b"unlink" | b"touch" | b"publish", _) => say(":1\r\n"),
            (b"keys", _) => say("*1\r\n$1\r\nk\r\n"),
            (b"blpop", _) => say("*2\r\n$1\r\nk\r\n$1\r\nv\r\n"),
            (b"script", b"load") => say("$40\r\ne0e1f9fabfc9d4800c877a703b823ac0578ff8db\r\n"),
            (b"subscribe" | b"psubscribe" | b"ssubscribe", _) => {
                for (count, channel) in words[1..].iter().enumerate() {
                    let (kind, channel) = (&*name, &**channel);
                    let length = channel.len();
                    self.outbox.extend(format!("*3\r\n${}\r\n", kind.len()).bytes());
                    self.outbox.extend(kind.iter().chain(b"\r\n"));
                    self.outbox.extend(format!("${length}\r\n").bytes());
                    self.outbox.extend(channel.iter().chain(b"\r\n"));
                    self.outbox.extend(format!(":{}\r\n", count + 1).bytes());
                }
            }
            (b"sentinel", b"get-master-addr-by-name") => {
                let host = if words.get(2).is_some_and(|name| name == b"g0") { 2 } else { 3 };
                say(&format!("*2\r\n$8\r\n10.0.0.{host}\r\n$4\r\n7000\r\n"));
            }
            (b"sentinel", _) => say("*0\r\n"),
            _ if is_sentinel => say("-ERR unknown\r\n"),
            _ => say("+OK\r\n"),
        }
    }
}

/// The words of the request at the beginning, and its length. The proxy sends nothing else.
fn take_request(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let mut at = 0;
    let number = |mark: u8, at: &mut usize| {
        let rest = bytes.get(*at..)?;
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        assert_eq!(rest[0], mark, "a server got what is no request: {}", rest.escape_ascii());
        let text = std::str::from_utf8(&rest[1..end]).expect("digits");
        *at += end + 2;
        Some(text.parse::<usize>().expect("a number"))
    };
    let count = number(b'*', &mut at)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = number(b'$', &mut at)?;
        let word = bytes.get(at..at + length)?;
        assert!(bytes.get(at + length..at + length + 2).is_none_or(|end| end == b"\r\n"));
        bytes.get(at + length..at + length + 2)?;
        words.push(word.to_vec());
        at += length + 2;
    }
    Some((words, at))
}
