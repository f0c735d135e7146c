//! A simulated server or Sentinel: its connections, and what goes wrong with them. Knows nothing of
//! clients; what a request does is the model's business.
//!
//! It is also a check of its own: nothing may come before the handshake is answered, nothing but
//! whole multi-bulk requests, and no handshake but the one that this kind of server needs.

use std::collections::{BTreeSet, VecDeque};

use predixy::base::address::Address;
use predixy::base::random::Random;
use predixy::sys::sim::World;
use predixy::sys::{ListenSocket, Progress, Socket};

use super::model::{Model, Standing};
use super::plan::{Kind, Plan};
use super::radio::{Kind as Listens, Topic};
use super::talk::Talk;
use super::wire;

/// The connections of one server, or of a Sentinel: those are counted after the servers.
pub struct Server {
    index: usize,
    listener: Option<ListenSocket>,
    connections: Vec<Connection>,
    /// It does nothing until then.
    pub stalled_until_us: u64,
    /// It refuses the handshake until then.
    pub loading_until_us: u64,
    /// Where its connections read.
    room: Box<[u8]>,
}

struct Connection {
    socket: Socket,
    inbox: Vec<u8>,
    /// Replies, each with the time when it is ready.
    replies: VecDeque<(u64, Reply)>,
    outbox: Vec<u8>,
    steps: Steps,
    standing: Standing,
    talk: Talk,
    /// What it wants to be told by a Sentinel.
    channels: Vec<Vec<u8>>,
    /// What it is subscribed to at a server, and how much of what that has heard it was told.
    topics: BTreeSet<Topic>,
    told: usize,
    /// It was subscribed to something once.
    has_listened: bool,
    speaks_resp3: bool,
    end: End,
    is_held: bool,
}

struct Reply {
    bytes: Vec<u8>,
    /// It is the last answer of the handshake.
    opens: bool,
}

/// How far the handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Steps {
    Nothing,
    Authenticated,
    /// READONLY or SELECT was said.
    Chosen,
    /// PING was answered, but the answer was not sent yet.
    Greeted,
    Open,
}

/// What becomes of a connection when all replies are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Stay,
    Close,
    ShutDown,
    HasShutDown,
}

impl Server {
    /// A server that does not listen.
    pub fn new(index: usize) -> Server {
        Server {
            index,
            listener: None,
            connections: Vec::new(),
            stalled_until_us: 0,
            loading_until_us: 0,
            room: vec![0; 8192].into(),
        }
    }

    pub fn start(&mut self, model: &Model) {
        let address = Address::Ip(model.address(self.index));
        self.listener = Some(ListenSocket::bind(&address).expect("the address is free"));
        self.stalled_until_us = 0;
    }

    /// Dies: nothing that it has read or is about to send means anything any more.
    pub fn die(&mut self) {
        self.listener = None;
        for connection in self.connections.drain(..) {
            World::cut(&connection.socket);
        }
    }

    pub fn is_up(&self) -> bool {
        self.listener.is_some()
    }

    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Everything that somebody is subscribed to here.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.connections.iter().flat_map(|connection| &connection.topics)
    }

    /// The connections on which somebody was subscribed to something.
    pub fn listeners(&self) -> usize {
        self.connections.iter().filter(|connection| connection.has_listened).count()
    }

    /// Breaks one connection.
    pub fn cut_one(&mut self, random: &mut Random) {
        if let Some(connection) = self.connections.get(random.index(self.connections.len())) {
            World::cut(&connection.socket);
        }
    }

    /// Closes connections that have nothing to do, or all.
    pub fn close_some(&mut self, all: bool) {
        self.connections.retain(|connection| {
            let idle = connection.inbox.is_empty()
                && connection.replies.is_empty()
                && connection.outbox.is_empty();
            !(all || idle)
        });
    }

    /// Holds back what travels, or lets it go.
    pub fn hold(&mut self, hold: bool) {
        for connection in &mut self.connections {
            if connection.is_held != hold {
                connection.is_held = hold;
                if hold {
                    World::hold(&connection.socket)
                } else {
                    World::release(&connection.socket)
                }
            }
        }
    }

    /// Accepts, reads, executes and replies, as far as it can now.
    pub fn turn(&mut self, model: &mut Model, plan: &Plan, random: &mut Random) {
        if World::now_us() < self.stalled_until_us {
            return;
        }
        while let Some(listener) = self.listener.as_ref().filter(|one| World::is_awaited(one))
            && let Some((socket, _)) = listener.accept().expect("the test's own listener")
        {
            let is_sentinel = self.index >= model.nodes.len();
            let is_open = is_sentinel || !plan.password;
            let steps = if is_open { Steps::Authenticated } else { Steps::Nothing };
            self.connections.push(Connection {
                socket,
                inbox: Vec::new(),
                replies: VecDeque::new(),
                outbox: Vec::new(),
                steps,
                standing: Standing::default(),
                talk: Talk::default(),
                channels: Vec::new(),
                topics: BTreeSet::new(),
                told: 0,
                has_listened: false,
                speaks_resp3: false,
                end: End::Stay,
                is_held: false,
            });
        }
        let index = self.index;
        let loading = World::now_us() < self.loading_until_us;
        let sentinel = index.checked_sub(model.nodes.len());
        let news = sentinel.map(|sentinel| model.sentinels.take_news(sentinel)).unwrap_or_default();
        let room = &mut *self.room;
        self.connections.retain_mut(|connection| {
            let mut desk = Desk { index, sentinel, loading, model, plan, random, room };
            for (channel, text) in &news {
                connection.tell(&mut desk, channel, text);
            }
            connection.turn(&mut desk)
        });
    }
}

const LOADING: &[u8] = b"-LOADING Redis is loading the dataset in memory\r\n";

/// What a connection works with.
struct Desk<'a> {
    index: usize,
    /// Which Sentinel it is, if it is one.
    sentinel: Option<usize>,
    loading: bool,
    model: &'a mut Model,
    plan: &'a Plan,
    random: &'a mut Random,
    /// Where it reads.
    room: &'a mut [u8],
}

impl Desk<'_> {
    fn chance(&mut self, chances: u64) -> bool {
        chances != 0 && self.random.one_in(chances)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // What is held back would not come any more, not even the end.
        if self.is_held {
            World::release(&self.socket);
        }
    }
}

impl Connection {
    /// False when it has ended.
    fn turn(&mut self, desk: &mut Desk<'_>) -> bool {
        if self.talk.is_blocked()
            && let Some(reply) = self.talk.unblock(desk.model, desk.index)
        {
            World::note(format_args!("server {}: unblocks -> {}", desk.index, wire::shown(&reply)));
            if !self.reply_or_fail(desk, self.spoken(reply, false)) {
                return false;
            }
        }
        if !self.topics.is_empty() && !self.tell_messages(desk) {
            return false;
        }
        let mut is_over = false;
        // It goes on reading while it has replies to send, as Redis does.
        while !is_over && World::has_news(&self.socket) {
            match self.socket.read(desk.room) {
                Ok(Progress::Moved(length)) => self.inbox.extend_from_slice(&desk.room[..length]),
                Ok(Progress::WouldBlock) => break,
                Ok(Progress::Closed) | Err(_) => is_over = true,
            }
        }
        // Requests that came before the end are executed, as Redis may.
        if !self.take_requests(desk) || is_over {
            return false;
        }
        self.send()
    }

    /// False when the connection is to be closed at once.
    fn take_requests(&mut self, desk: &mut Desk<'_>) -> bool {
        let mut at = 0;
        while self.end == End::Stay && !self.talk.is_blocked() {
            let taken = wire::take_command(&self.inbox[at..]);
            let taken =
                taken.unwrap_or_else(|error| panic!("a server got what is no request: {error}"));
            let Some((words, length)) = taken else { break };
            at += length;
            // In the order in which things happen to the server.
            if !self.topics.is_empty() && !self.tell_messages(desk) || !self.take(desk, &words) {
                return false;
            }
        }
        self.inbox.drain(..at);
        if self.end == End::Stay
            && self.inbox.len() > 1_000
            && desk.chance(desk.plan.server.early_error)
        {
            World::note(format_args!("server: refuses a request that is not whole"));
            self.reply(desk, b"-ERR Protocol error: too big for me\r\n".to_vec());
            self.end = End::Close;
        }
        true
    }

    /// Takes one request. False when the connection is to be closed at once.
    fn take(&mut self, desk: &mut Desk<'_>, words: &[Vec<u8>]) -> bool {
        let name = words[0].to_ascii_lowercase();
        if self.take_handshake(desk, &name, words) {
            return true;
        }
        assert!(
            self.steps == Steps::Open,
            "{} came before the handshake was answered ({:?})",
            wire::shown(&name),
            self.steps
        );
        let standing = self.standing;
        self.standing.asking = false;
        let reply = match (&*name, desk.sentinel) {
            // What is queued is not for here.
            (b"ping", None) if self.talk.is_queueing() => self.talk_about(desk, standing, words),
            (b"asking" | b"ping" | b"cluster" | b"sentinel" | b"subscribe", _) if desk.loading => {
                LOADING.to_vec()
            }
            (b"asking", None) => {
                self.standing.asking = true;
                b"+OK\r\n".to_vec()
            }
            (b"hello", None) => greeting(words),
            // The configuration has changed.
            (b"readonly" | b"readwrite", None) if desk.plan.may_read_replicas() => {
                self.standing.readonly = &*name == b"readonly";
                b"+OK\r\n".to_vec()
            }
            // The configuration lists a server again that had left while links to it were still in use.
            (b"auth", None) if desk.plan.reloads && words[1] == b"sesame" => b"+OK\r\n".to_vec(),
            (b"subscribe" | b"psubscribe" | b"ssubscribe", None) => self.listen(desk, &name, words),
            (b"unsubscribe" | b"punsubscribe" | b"sunsubscribe", None) => {
                self.unlisten(&name, words)
            }
            // Who listens gets it in an array, as in Redis.
            (b"ping", _) if !self.channels.is_empty() || !self.topics.is_empty() => {
                b"*2\r\n$4\r\npong\r\n$0\r\n\r\n".to_vec()
            }
            (b"ping", _) => b"+PONG\r\n".to_vec(),
            (b"cluster", None) => wire::bulk(desk.model.describe(desk.index).as_bytes()),
            (b"info", None) => wire::bulk(b"# Server\r\nredis_version:7.0.15\r\n"),
            (b"sentinel", Some(sentinel)) => desk.model.ask_sentinel(sentinel, words),
            (b"subscribe", Some(_)) => self.subscribe(&words[1..]),
            (_, None) => {
                let is_alone = self.topics.is_empty();
                assert!(is_alone, "{} came from who is subscribed", wire::shown(&name));
                self.talk_about(desk, standing, words)
            }
            (_, Some(_)) => panic!("a Sentinel was asked for {}", wire::shown(&name)),
        };
        if self.talk.is_blocked() {
            World::note(format_args!("server {}: {} blocks", desk.index, wire::shown(&name)));
            return true;
        }
        World::note(format_args!(
            "server {}: {} {} -> {}",
            desk.index,
            wire::shown(&name),
            wire::shown(words.get(1).map_or(b"", Vec::as_slice)),
            wire::shown(&reply)
        ));
        let is_map = &*name == b"hgetall" || &*name == b"hello";
        self.reply_or_fail(desk, self.spoken(reply, is_map))
    }

    /// A reply in the protocol of the connection.
    fn spoken(&self, reply: Vec<u8>, is_map: bool) -> Vec<u8> {
        if self.speaks_resp3 { wire::in_resp3(&reply, is_map) } else { reply }
    }

    /// Subscribes to what is named.
    fn listen(&mut self, desk: &mut Desk<'_>, name: &[u8], words: &[Vec<u8>]) -> Vec<u8> {
        let kind = Listens::ALL.into_iter().find(|kind| kind.subscribe().as_bytes() == name);
        let kind = kind.expect("a word for it");
        assert!(!self.speaks_resp3, "links to be told messages on speak RESP2");
        let mut reply = Vec::new();
        for name in &words[1..] {
            if kind != Listens::Pattern {
                desk.model.check_channel(desk.index, name);
            }
            if kind == Listens::Shard
                && let Some(elsewhere) = desk.model.refer_shard(desk.index, name)
            {
                return elsewhere;
            }
            if self.topics.is_empty() {
                self.told = desk.model.radio.heard(desk.index);
            }
            self.has_listened = true;
            self.topics.insert((kind, name.clone()));
            reply.extend(confirmation(kind.subscribe(), name, self.count(kind)));
        }
        reply
    }

    fn unlisten(&mut self, name: &[u8], words: &[Vec<u8>]) -> Vec<u8> {
        let kind = Listens::ALL.into_iter().find(|kind| kind.unsubscribe().as_bytes() == name);
        let kind = kind.expect("a word for it");
        assert!(words.len() > 1, "a link gives up what it names");
        let mut reply = Vec::new();
        for name in &words[1..] {
            self.topics.remove(&(kind, name.clone()));
            reply.extend(confirmation(kind.unsubscribe(), name, self.count(kind)));
        }
        reply
    }

    fn count(&self, kind: Listens) -> usize {
        self.topics.iter().filter(|(other, _)| other.counts_with(kind)).count()
    }

    /// Passes on what its server has heard. False when the connection is to be closed at once.
    fn tell_messages(&mut self, desk: &mut Desk<'_>) -> bool {
        let index = desk.index;
        let shards = self.topics.iter().filter(|(kind, _)| *kind == Listens::Shard);
        let gone = shards.filter(|(_, name)| desk.model.refer_shard(index, name).is_some());
        for (kind, name) in gone.cloned().collect::<Vec<_>>() {
            // Its slot has moved.
            self.topics.remove(&(kind, name.clone()));
            let news = confirmation(kind.unsubscribe(), &name, self.count(kind));
            self.reply(desk, news);
        }
        while let Some(heard) = desk.model.radio.heard_at(index, self.told) {
            self.told += 1;
            let topics = self.topics.iter().filter(|topic| heard.is_for(topic));
            let messages: Vec<Vec<u8>> = topics.map(|topic| heard.message(topic)).collect();
            for message in messages {
                if self.end == End::Stay && !self.reply_or_fail(desk, message) {
                    return false;
                }
            }
        }
        true
    }

    /// The reply to what may be a part of something longer; nothing when it blocks.
    fn talk_about(
        &mut self,
        desk: &mut Desk<'_>,
        standing: Standing,
        words: &[Vec<u8>],
    ) -> Vec<u8> {
        let Desk { model, index, loading, .. } = desk;
        self.talk.take(model, *index, standing, *loading, words).unwrap_or_default()
    }

    fn subscribe(&mut self, channels: &[Vec<u8>]) -> Vec<u8> {
        let mut reply = Vec::new();
        for channel in channels {
            self.channels.push(channel.clone());
            reply.extend_from_slice(b"*3\r\n$9\r\nsubscribe\r\n");
            reply.extend(wire::bulk(channel));
            reply.extend(format!(":{}\r\n", self.channels.len()).into_bytes());
        }
        reply
    }

    /// Something has happened that it may want to be told.
    fn tell(&mut self, desk: &mut Desk<'_>, channel: &str, text: &str) {
        if self.end == End::Stay && self.channels.iter().any(|known| known == channel.as_bytes()) {
            let message = wire::command(&["message", channel, text]);
            self.reply(desk, message);
        }
    }

    fn reply_or_fail(&mut self, desk: &mut Desk<'_>, reply: Vec<u8>) -> bool {
        let chances = desk.plan.server.clone();
        if desk.chance(chances.close) {
            World::note(format_args!("server: closes instead of replying"));
            return false;
        }
        if desk.chance(chances.garbage) {
            World::note(format_args!("server: sends garbage"));
            let kinds = [
                &b"?what\r\n"[..],
                b"$x\r\n",
                b"*-7\r\n",
                b"\r\n\r\n",
                b":1x\r\n",
                b"$5\r\nabcdefg\r\n",
            ];
            let garbage = kinds[desk.random.index(kinds.len())];
            self.reply(desk, garbage.to_vec());
            return true;
        }
        if desk.chance(chances.cut_reply) {
            World::note(format_args!("server: sends a part of a reply and closes"));
            let length = desk.random.index(reply.len());
            self.reply(desk, reply[..length].to_vec());
            self.end = End::Close;
            return true;
        }
        if desk.chance(chances.half_close) {
            World::note(format_args!("server: shuts down its half"));
            self.end = End::ShutDown;
        }
        self.reply(desk, reply);
        true
    }

    /// Whether the request was a step of the handshake.
    fn take_handshake(&mut self, desk: &mut Desk<'_>, name: &[u8], words: &[Vec<u8>]) -> bool {
        let is_cluster = desk.plan.kind == Kind::Cluster;
        let (reply, next) = match (name, self.steps) {
            (b"auth", Steps::Nothing) if words[1] == b"sesame" => ("+OK", Steps::Authenticated),
            (b"hello", Steps::Authenticated) if desk.plan.has_resp3 && !self.speaks_resp3 => {
                assert_eq!(words[1..], [b"3".to_vec()], "HELLO of a link");
                self.speaks_resp3 = true;
                let reply = wire::in_resp3(&greeting(words), true);
                self.reply(desk, reply);
                return true;
            }
            (b"readonly", Steps::Authenticated) if is_cluster && desk.plan.may_read_replicas() => {
                self.standing.readonly = true;
                ("+OK", Steps::Chosen)
            }
            (b"select", Steps::Authenticated) if !is_cluster && desk.sentinel.is_none() => {
                let text = String::from_utf8_lossy(&words[1]).into_owned();
                self.standing.database = text.parse().expect("a database");
                assert!(self.standing.database < desk.plan.databases, "no such database");
                ("+OK", Steps::Chosen)
            }
            (b"ping", Steps::Authenticated | Steps::Chosen) if desk.loading => {
                ("-LOADING Redis is loading the dataset in memory", Steps::Chosen)
            }
            (b"ping", Steps::Authenticated | Steps::Chosen) => {
                let must_say = is_cluster && desk.plan.reads_replicas() && !desk.plan.reloads;
                assert!(!must_say || self.standing.readonly, "READONLY was not said");
                ("+PONG", Steps::Greeted)
            }
            _ => return false,
        };
        self.steps = next;
        self.reply(desk, format!("{reply}\r\n").into_bytes());
        if let Some((_, last)) = self.replies.back_mut() {
            last.opens = next == Steps::Greeted;
        }
        true
    }

    fn reply(&mut self, desk: &mut Desk<'_>, bytes: Vec<u8>) {
        let before_us = self.replies.back().map_or(0, |(ready_us, _)| *ready_us);
        let takes_us = desk.random.below(desk.plan.reply_us + 1);
        let ready_us = before_us.max(World::now_us() + takes_us);
        if takes_us > 0 {
            World::alarm(ready_us);
        }
        self.replies.push_back((ready_us, Reply { bytes, opens: false }));
    }

    /// False when the connection has ended.
    fn send(&mut self) -> bool {
        loop {
            while let Some((ready_us, _)) = self.replies.front()
                && *ready_us <= World::now_us()
                && self.outbox.len() < 65_536
                && let Some((_, reply)) = self.replies.pop_front()
            {
                self.outbox.extend(reply.bytes);
                if reply.opens {
                    self.steps = Steps::Open;
                }
            }
            if self.outbox.is_empty() {
                break;
            }
            match self.socket.write(&self.outbox) {
                Ok(Progress::Moved(length)) => drop(self.outbox.drain(..length)),
                Ok(Progress::WouldBlock) => return true,
                Ok(Progress::Closed) | Err(_) => return false,
            }
        }
        if self.replies.is_empty() {
            match self.end {
                End::Close => return false,
                End::ShutDown => {
                    // What comes from now on is read and not answered.
                    self.end = End::HasShutDown;
                    return self.socket.shut_down_write().is_ok();
                }
                End::Stay | End::HasShutDown => {}
            }
        }
        true
    }
}

/// What a server says to HELLO, as a list.
fn greeting(words: &[Vec<u8>]) -> Vec<u8> {
    let version = words.get(1).map_or(&b"2"[..], Vec::as_slice);
    let mut reply = b"*8\r\n".to_vec();
    for word in ["server", "redis", "version", "7.0.15", "proto"] {
        reply.extend(wire::bulk(word.as_bytes()));
    }
    reply.extend_from_slice(&[b":", version, b"\r\n"].concat());
    reply.extend(wire::bulk(b"modules"));
    reply.extend_from_slice(b"*0\r\n");
    reply
}

fn confirmation(word: &str, name: &[u8], count: usize) -> Vec<u8> {
    let mut reply = b"*3\r\n".to_vec();
    reply.extend(wire::bulk(word.as_bytes()));
    reply.extend(wire::bulk(name));
    reply.extend(format!(":{count}\r\n").into_bytes());
    reply
}
