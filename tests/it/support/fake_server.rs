//! A scripted server: it says what no real one can be made to say, and remembers what it was told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::free_port;

/// A server in a thread; its connections are cut when it is dropped.
pub struct FakeServer {
    port: u16,
    shared: Arc<Shared>,
}

/// One command that the server was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The connection it came on, counted from 0 in the order of their arrival.
    pub connection: usize,
    /// Its words.
    pub words: Vec<Vec<u8>>,
}

/// What the server does with a command.
#[derive(Debug)]
pub enum Answer {
    /// What every server says to PING, AUTH, SELECT, READONLY, CLUSTER NODES and the like; an error
    /// to the rest.
    Usual,
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, one after the other.
    Bytewise(Vec<u8>),
    /// Nothing, and nothing to what comes after it on this connection: a server answers in order or
    /// not at all.
    Silence,
    /// These bytes, then the end of the connection.
    Last(Vec<u8>),
    /// Nothing before the other side has closed its half; then these bytes, and the end.
    WhenLeft(Vec<u8>),
}

struct Shared {
    script: Box<dyn Fn(&Heard) -> Answer + Send + Sync>,
    state: Mutex<State>,
    stopped: AtomicBool,
}

#[derive(Default)]
struct State {
    nodes: String,
    heard: Vec<Heard>,
    streams: Vec<TcpStream>,
}

impl FakeServer {
    /// Starts a server that answers as `script` says. It calls itself the only node of a cluster;
    /// see [`FakeServer::set_nodes`].
    pub fn start(script: impl Fn(&Heard) -> Answer + Send + Sync + 'static) -> FakeServer {
        let (listener, port) = loop {
            let port = free_port();
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                break (listener, port);
            }
        };
        FakeServer::serve_on(listener, port, script)
    }

    /// Starts one on a port of [`free_port`], which nobody listened on so far.
    pub fn start_at(
        port: u16,
        script: impl Fn(&Heard) -> Answer + Send + Sync + 'static,
    ) -> FakeServer {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is still free");
        FakeServer::serve_on(listener, port, script)
    }

    fn serve_on(
        listener: TcpListener,
        port: u16,
        script: impl Fn(&Heard) -> Answer + Send + Sync + 'static,
    ) -> FakeServer {
        let nodes = nodes_line(
            1,
            &format!("127.0.0.1:{port}@{}", port + 10_000),
            "myself,master",
            "-",
            "0-16383",
        );
        let state = Mutex::new(State { nodes, ..State::default() });
        let shared =
            Arc::new(Shared { script: Box::new(script), state, stopped: AtomicBool::new(false) });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || accept_all(&listener, &for_thread));
        FakeServer { port, shared }
    }

    /// Starts several that call themselves masters, each of an equal share of the slots, and know
    /// each other.
    pub fn start_cluster(
        count: usize,
        script: impl Fn(usize, &Heard) -> Answer + Send + Sync + 'static,
    ) -> Vec<FakeServer> {
        let script = Arc::new(script);
        let fakes: Vec<FakeServer> = (0..count)
            .map(|index| {
                let script = Arc::clone(&script);
                FakeServer::start(move |heard| script(index, heard))
            })
            .collect();
        let lines = fakes.iter().enumerate().map(|(index, fake)| {
            let (first, end) = (16384 * index / count, 16384 * (index + 1) / count);
            nodes_line(
                index + 1,
                &fake.bus_address(),
                "master",
                "-",
                &format!("{first}-{}", end - 1),
            )
        });
        let nodes: String = lines.collect();
        fakes.iter().for_each(|fake| fake.set_nodes(&nodes));
        fakes
    }

    /// A configuration with all of these as seeds, and more lines inside the pool.
    pub fn conf(fakes: &[FakeServer], lines: &str) -> String {
        let servers: String =
            fakes.iter().map(|fake| format!("        + {}\n", fake.address())).collect();
        format!(
            "ClusterServerPool {{\n{lines}\n    RefreshInterval 100ms\n    Servers {{\n{servers}    }}\n}}\n"
        )
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The address as CLUSTER NODES writes it.
    pub fn bus_address(&self) -> String {
        format!("{}@{}", self.address(), self.port + 10_000)
    }

    /// Sets what it answers to CLUSTER NODES. The line of its own address gets the flag `myself`.
    pub fn set_nodes(&self, text: &str) {
        let own = format!("127.0.0.1:{}@", self.port);
        let lines = text.lines().map(|line| {
            let is_own = line.contains(&own) && !line.contains("myself,");
            let flagged = line.replacen(" master", " myself,master", 1).replacen(
                " slave",
                " myself,slave",
                1,
            );
            if is_own { flagged + "\n" } else { line.to_owned() + "\n" }
        });
        self.state().nodes = lines.collect();
    }

    /// What it was told so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.state().heard.clone()
    }

    /// The commands of this name that it was told so far.
    pub fn heard_named(&self, name: &str) -> Vec<Heard> {
        self.state().heard.iter().filter(|heard| heard.name() == name).cloned().collect()
    }

    /// Cuts all connections.
    pub fn cut_connections(&self) {
        for stream in self.state().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.cut_connections();
    }
}

impl Heard {
    /// The command's name in capitals.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.words[0]).to_uppercase()
    }

    /// One word as text; empty if there is none.
    pub fn word(&self, index: usize) -> String {
        self.words
            .get(index)
            .map_or(String::new(), |word| String::from_utf8_lossy(word).into_owned())
    }
}

impl Answer {
    /// A reply from its text.
    pub fn text(text: impl Into<String>) -> Answer {
        Answer::Bytes(text.into().into_bytes())
    }

    /// A bulk string.
    pub fn bulk(body: impl AsRef<[u8]>) -> Answer {
        Answer::Bytes(bulk_bytes(body.as_ref()))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usual(&self, heard: &Heard) -> Vec<u8> {
        let second = heard.word(1).to_uppercase();
        match (heard.name().as_str(), second.as_str()) {
            ("PING", _) => b"+PONG\r\n".to_vec(),
            ("CLUSTER", "NODES") => bulk_bytes(self.state().nodes.as_bytes()),
            ("AUTH" | "SELECT" | "READONLY" | "READWRITE" | "ASKING", _)
            | ("CLIENT", "SETNAME" | "SETINFO") => b"+OK\r\n".to_vec(),
            (name, _) => format!("-ERR the fake has no answer to {name}\r\n").into_bytes(),
        }
    }
}

/// One line of CLUSTER NODES. The node's id is made from its number.
pub fn nodes_line(number: usize, address: &str, flags: &str, master: &str, slots: &str) -> String {
    format!("{number:040x} {address} {flags} {master} 0 0 {number} connected {slots}\n")
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    for (connection, stream) in listener.incoming().enumerate() {
        let Ok(stream) = stream else { return };
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let _ = stream.set_nodelay(true);
        if let Ok(copy) = stream.try_clone() {
            shared.state().streams.push(copy);
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(stream, connection, &shared));
    }
}

fn serve(mut stream: TcpStream, connection: usize, shared: &Shared) {
    let (mut received, mut room, mut mute) = (Vec::new(), vec![0; 64 * 1024], false);
    let mut when_left = None;
    loop {
        while let Some((words, length)) = parse(&received) {
            received.drain(..length);
            let heard = Heard { connection, words };
            shared.state().heard.push(heard.clone());
            if mute {
                continue;
            }
            let (bytes, goes_on) = match (shared.script)(&heard) {
                Answer::Usual => (shared.usual(&heard), true),
                Answer::Bytes(bytes) => (bytes, true),
                Answer::Bytewise(bytes) => {
                    let is_lost = bytes.iter().any(|byte| stream.write_all(&[*byte]).is_err());
                    (Vec::new(), !is_lost)
                }
                Answer::Silence => {
                    mute = true;
                    continue;
                }
                Answer::Last(bytes) => (bytes, false),
                Answer::WhenLeft(bytes) => {
                    (mute, when_left) = (true, Some(bytes));
                    continue;
                }
            };
            if stream.write_all(&bytes).is_err() || !goes_on {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
        match stream.read(&mut room) {
            Ok(count) if count > 0 => received.extend_from_slice(&room[..count]),
            Ok(_) if let Some(bytes) = when_left => {
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            _ => return,
        }
    }
}

/// The first command in `bytes` and its length, once it is complete. Proxies send nothing but
/// arrays of bulks.
fn parse(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (count, mut at) = number_line(bytes, 0, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, body) = number_line(bytes, at, b'$')?;
        words.push(bytes.get(body..body + length)?.to_vec());
        at = body + length + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

fn number_line(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let end = at + bytes.get(at..)?.windows(2).position(|two| two == b"\r\n")?;
    assert_eq!(bytes[at], kind, "the fake was sent {:?}", bytes[at..].escape_ascii().to_string());
    let number = std::str::from_utf8(&bytes[at + 1..end]).ok()?.parse().expect("a length");
    Some((number, end + 2))
}

fn bulk_bytes(body: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}
