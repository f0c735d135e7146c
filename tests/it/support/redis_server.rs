//! One real `redis-server` on loopback. `REDIS_SERVER=path` chooses which.

use std::env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::{Address, Client, Process, Scratch, Value, free_port};

/// A running server; killed, with its folder, on drop.
pub struct RedisServer {
    // Dropped in this order: first the process, then the folder it works in.
    process: Process,
    scratch: Scratch,
    host: IpAddr,
    port: u16,
    options: Vec<String>,
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl RedisServer {
    /// Starts a server with nothing in it.
    pub fn start() -> RedisServer {
        RedisServer::start_with(&[])
    }

    /// Starts a server with more options, such as `["--requirepass", "secret"]`.
    pub fn start_with(options: &[&str]) -> RedisServer {
        RedisServer::launch(LOOPBACK, None, options)
    }

    /// Starts a server that listens on one address of this machine and nowhere else.
    pub fn start_on(host: &str, port: Option<u16>) -> RedisServer {
        RedisServer::launch(host.parse().expect("a numeric address"), port, &[])
    }

    fn launch(host: IpAddr, port: Option<u16>, options: &[&str]) -> RedisServer {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let scratch = Scratch::new("redis");
        for _ in 0..20 {
            let port = port.unwrap_or_else(free_port);
            // Somebody may have taken the port in the meantime; then the server ends by itself.
            if let Some(process) = launch(&scratch, host, port, &options) {
                return RedisServer { process, scratch, host, port, options };
            }
        }
        panic!("redis-server does not start: {}", scratch.read("redis.log"));
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A new connection to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(&Address::At(SocketAddr::new(self.host, self.port)))
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on the same port and in the same folder.
    pub fn restart(&mut self) {
        self.process.kill();
        for _ in 0..20 {
            if let Some(process) = launch(&self.scratch, self.host, self.port, &self.options) {
                self.process = process;
                return;
            }
        }
        panic!("redis-server does not start again: {}", self.scratch.read("redis.log"));
    }

    /// Stops it where it stands: it accepts and never answers.
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Cuts all connections of ordinary clients, which the proxy's are, and tells how many there
    /// were.
    #[track_caller]
    pub fn kill_client_connections(&self) -> i64 {
        self.client().line("CLIENT KILL TYPE normal SKIPME yes").number()
    }
}

/// Where the server's program is.
pub fn program() -> String {
    env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// Whether the servers can do what Redis can since this version, as far as they say. Valkey says
/// the version of Redis that it is compatible with, or its own, which is higher.
pub fn server_has(major: u32, minor: u32) -> bool {
    static VERSION: OnceLock<(u32, u32)> = OnceLock::new();
    let version = VERSION.get_or_init(|| {
        let output = Command::new(program()).arg("--version").output().expect("the server");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers = told.split("v=").nth(1).unwrap_or_else(|| panic!("no version in {told}"));
        let mut numbers = numbers.split('.').map(|number| number.parse().expect("a version"));
        (numbers.next().expect("a major version"), numbers.next().expect("a minor version"))
    });
    *version >= (major, minor)
}

/// Whether the servers are Valkey's, which differ in a few words.
pub fn servers_are_valkey() -> bool {
    static VALKEY: OnceLock<bool> = OnceLock::new();
    *VALKEY.get_or_init(|| {
        let output = Command::new(program()).arg("--version").output().expect("the server");
        String::from_utf8_lossy(&output.stdout).contains("Valkey")
    })
}

/// What the servers say, in the words that Redis has had since 7.0: the proxy uses those whatever
/// the servers are.
pub fn in_words_of_today(reply: Value) -> Value {
    match reply {
        Value::Error(text) if !server_has(7, 0) && text.starts_with("ERR unknown command") => {
            let text = text.replace("`, ", "` ");
            Value::Error(text.replacen("` with", "`, with", 1).replace('`', "'"))
        }
        // 6.2 does not tell a sub-command that there is not from one with too few arguments.
        Value::Error(text) if !server_has(7, 0) && is_about_subcommand(&text) => {
            Value::Error("ERR about a sub-command".to_owned())
        }
        other => other,
    }
}

fn is_about_subcommand(text: &str) -> bool {
    let is_wrong_arity = text.starts_with("ERR wrong number of arguments for '");
    text.to_lowercase().starts_with("err unknown subcommand")
        || (is_wrong_arity && text.contains('|'))
}

fn launch(scratch: &Scratch, host: IpAddr, port: u16, options: &[String]) -> Option<Process> {
    let mut command = Command::new(program());
    let (at, bind) = (port.to_string(), host.to_string());
    command.current_dir(scratch.path()).args(["--port", &at, "--bind", &bind]);
    command.args(["--save", "", "--appendonly", "no", "--logfile", "redis.log"]);
    command.args(["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"]);
    command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(&mut command);
    let until = Instant::now() + Duration::from_secs(10);
    while process.ended().is_none() && Instant::now() < until {
        if is_ours(SocketAddr::new(host, port), process.id(), options) {
            return Some(process);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// Whether the server that answers there is the one we started, and not a stranger on the same
/// port.
fn is_ours(place: SocketAddr, id: u32, options: &[String]) -> bool {
    let Ok(mut client) = Client::try_connect(&Address::At(place)) else { return false };
    client.set_deadline(Duration::from_secs(5));
    if let Some(at) = options.iter().position(|option| option == "--requirepass") {
        let _ = client.try_cmd(&["AUTH", &options[at + 1]]);
    }
    let Ok(info) = client.try_cmd(&["INFO", "server"]) else { return false };
    matches!(&info, Value::Bulk(_)) && info.text().contains(&format!("process_id:{id}\r\n"))
}
