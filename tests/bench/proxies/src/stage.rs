//! What is measured, and what it stands on: servers and proxies, ended when they are dropped.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::streams::{Connection, command};

/// A proxy that takes part.
#[derive(Clone, Debug)]
pub struct Contender {
    /// What tables call it.
    pub name: String,
    path: PathBuf,
}

/// What the proxies stand in front of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A cluster of three masters.
    Cluster,
    /// Three servers that know nothing of each other.
    Standalone,
}

/// Three servers, and a folder that goes away with them.
pub struct Servers {
    shape: Shape,
    ports: Vec<u16>,
    // Dropped in this order: the processes work in the folder.
    _servers: Vec<Running>,
    folder: Folder,
}

/// A proxy in front of some servers.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    running: Running,
}

/// A child that does not outlive us.
pub struct Running(Child);

struct Folder(PathBuf);

const PATIENCE: Duration = Duration::from_secs(60);

impl Contender {
    pub fn new(name: &str, path: PathBuf) -> Contender {
        Contender { name: name.to_owned(), path }
    }

    /// Whether it can stand in front of such servers.
    pub fn takes(&self, shape: Shape) -> bool {
        shape == Shape::Standalone || !self.is_nutcracker()
    }

    fn is_nutcracker(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "nutcracker")
    }

    /// Starts it with `threads` workers, as the last words of a command if there is one.
    pub fn start(&self, servers: &Servers, threads: usize, wrap: &[String]) -> Outcome<Proxy> {
        let port = free_port()?;
        let folder = servers.folder.0.join(format!("proxy-{port}"));
        make_folder(&folder)?;
        let conf = folder.join("conf");
        let (text, arguments) = if self.is_nutcracker() {
            let log = folder.join("log").display().to_string();
            let stats = free_port()?.to_string();
            let options = ["-c", &path_text(&conf), "-o", &log, "-v", "4", "-s", &stats];
            (nutcracker_conf(port, servers), options.map(str::to_owned).to_vec())
        } else {
            (predixy_conf(port, threads, servers, &folder), vec![path_text(&conf)])
        };
        fs::write(&conf, text).map_err(|error| format!("{}: {error}", conf.display()))?;
        let mut words = wrap.to_vec();
        words.push(path_text(&fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone())));
        words.extend(arguments);
        let running = Running::start(&words, &folder)?;
        let proxy = Proxy { port, running };
        wait_until(&format!("{} to answer", self.name), || {
            let mut connection = Connection::open(port).ok()?;
            let reply = connection.ask(&command(&["GET", "warm"])).ok()?;
            (reply.first() == Some(&b'$')).then_some(())
        })?;
        Ok(proxy)
    }
}

impl Proxy {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.running.0.id()
    }

    /// CPU time that all its threads have used, in nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id()));
        let of_thread = |entry: fs::DirEntry| -> Option<u64> {
            let told = fs::read_to_string(entry.path().join("schedstat")).ok()?;
            told.split_whitespace().next()?.parse().ok()
        };
        threads.into_iter().flatten().flatten().filter_map(of_thread).sum()
    }
}

impl Servers {
    pub fn start(shape: Shape) -> Outcome<Servers> {
        let folder = Folder::new()?;
        let mut servers = Vec::new();
        let mut ports = Vec::new();
        for _ in 0..3 {
            let port = free_port()?;
            let place = folder.0.join(port.to_string());
            make_folder(&place)?;
            let mut words = vec!["redis-server".to_owned(), "--port".to_owned(), port.to_string()];
            words.extend(["--bind", "127.0.0.1", "--save", ""].map(str::to_owned));
            if shape == Shape::Cluster {
                words.extend(["--cluster-enabled", "yes"].map(str::to_owned));
            }
            servers.push(Running::start(&words, &place)?);
            ports.push(port);
        }
        let servers = Servers { shape, ports, _servers: servers, folder };
        for port in &servers.ports {
            wait_until("redis-server to answer", || Connection::open(*port).ok()?.ok(&["PING"]))?;
        }
        if shape == Shape::Cluster {
            servers.join()?;
        }
        Ok(servers)
    }

    /// The port of the first one.
    pub fn direct(&self) -> u16 {
        self.ports[0]
    }

    /// A folder for whoever measures.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    fn join(&self) -> Outcome<()> {
        let first = self.ports[0].to_string();
        for (index, port) in self.ports.iter().enumerate() {
            let cut = |index: usize| 16384 * index / self.ports.len();
            let slots: Vec<String> =
                (cut(index)..cut(index + 1)).map(|slot| slot.to_string()).collect();
            let mut words = vec!["CLUSTER", "ADDSLOTS"];
            words.extend(slots.iter().map(String::as_str));
            let mut connection = Connection::open(*port).map_err(|error| error.to_string())?;
            connection.ok(&words).ok_or("CLUSTER ADDSLOTS was refused")?;
            connection.ok(&["CLUSTER", "MEET", "127.0.0.1", &first]);
        }
        for port in &self.ports {
            wait_until("the cluster to be whole", || {
                let mut connection = Connection::open(*port).ok()?;
                let info = connection.ask(&command(&["CLUSTER", "INFO"])).ok()?;
                let info = String::from_utf8_lossy(&info).into_owned();
                let is_whole = info.contains("cluster_state:ok")
                    && info.contains("cluster_known_nodes:3")
                    && info.contains("cluster_size:3");
                is_whole.then_some(())
            })?;
        }
        Ok(())
    }
}

impl Running {
    fn start(words: &[String], folder: &Path) -> Outcome<Running> {
        let output = fs::File::create(folder.join("output")).map_err(|error| error.to_string())?;
        let mut child = Command::new(&words[0]);
        child.args(&words[1..]).current_dir(folder);
        child.stdin(Stdio::null()).stderr(Stdio::null()).stdout(output);
        child.spawn().map(Running).map_err(|error| format!("{}: {error}", words[0]))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Folder {
    fn new() -> Outcome<Folder> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("predixy-bench-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        make_folder(&folder)?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn predixy_conf(port: u16, threads: usize, servers: &Servers, folder: &Path) -> String {
    let mut text = format!("Name bench\nBind 127.0.0.1:{port}\nWorkerThreads {threads}\n");
    text += &format!("Log {}\n", folder.join("log").display());
    // As in the configuration that predixy comes with.
    text += "LogVerbSample 0\nLogDebugSample 0\nLogInfoSample 10000\nLogNoticeSample 1\n";
    let list: Vec<String> =
        servers.ports.iter().map(|port| format!("+ 127.0.0.1:{port}\n")).collect();
    match servers.shape {
        Shape::Cluster => {
            text += "ClusterServerPool {\nMasterReadPriority 100\nRefreshInterval 1\nServers {\n";
            text += &list.concat();
            text += "}\n}\n";
        }
        Shape::Standalone => {
            text += "StandaloneServerPool {\nDatabases 1\nHash crc16\nDistribution modula\n";
            text += "MasterReadPriority 100\nRefreshMethod fixed\n";
            for (index, server) in list.iter().enumerate() {
                text += &format!("Group g{index} {{\n{server}}}\n");
            }
            text += "}\n";
        }
    }
    text
}

fn nutcracker_conf(port: u16, servers: &Servers) -> String {
    let mut text = format!("bench:\n  listen: 127.0.0.1:{port}\n  hash: crc16\n");
    text += "  distribution: modula\n  redis: true\n  preconnect: true\n  servers:\n";
    for (index, port) in servers.ports.iter().enumerate() {
        text += &format!("   - 127.0.0.1:{port}:1 s{index}\n");
    }
    text
}

/// Asks again and again until there is an answer.
pub fn wait_until<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> Outcome<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        match answer() {
            Some(answer) => return Ok(answer),
            None if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
            None => return Err(format!("waited in vain for {what}")),
        }
    }
}

/// A port that is free, and so is the one of a cluster's bus.
fn free_port() -> Outcome<u16> {
    for _ in 0..1000 {
        let probe = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = probe.local_addr().map_err(|error| error.to_string())?.port();
        let bus = port.checked_add(10_000);
        if bus.is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return Ok(port);
        }
    }
    Err("no free port".to_owned())
}

fn make_folder(folder: &Path) -> Outcome<()> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

/// Fills `bytes` from a connection.
pub fn read_exact(stream: &mut TcpStream, bytes: &mut [u8]) -> Outcome<()> {
    stream.read_exact(bytes).map_err(|error| format!("a reply is missing: {error}"))
}
