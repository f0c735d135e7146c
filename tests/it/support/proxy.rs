//! The program under test, started as its users start it. `PREDIXY_BIN=path` chooses another one.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, fmt, thread};

use super::{Client, Process, RedisCluster, SOON, Scratch, free_port, wait_until};

/// A running proxy. On drop it is asked to end; one that has died before, or does not end well,
/// fails the test.
pub struct Proxy {
    process: Process,
    scratch: Scratch,
    address: Address,
    /// Set once somebody has ended it and looked at how that went.
    seen_off: bool,
}

/// Where something listens.
#[derive(Clone, Debug)]
pub enum Address {
    /// A port of 127.0.0.1
    Tcp(u16),
    /// Another address of this machine
    At(SocketAddr),
    /// A socket in the file system
    Unix(PathBuf),
}

/// One server of the `# Servers` section of INFO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLine {
    /// `Server:`
    pub address: String,
    /// `Role:`
    pub role: String,
    /// `Group:`
    pub group: String,
    /// `CurrentIsFail:`
    pub is_failed: bool,
}

/// How a proxy is to be started; see [`Proxy::with`].
pub struct Start<'a> {
    conf: &'a str,
    files: Vec<(&'a str, String)>,
    arguments: Vec<&'a str>,
    environment: Vec<(&'a str, String)>,
    program: Option<PathBuf>,
    under: Vec<String>,
    descriptor_limit: Option<u32>,
    hosts: Option<&'a str>,
    world: Option<&'a str>,
}

impl Proxy {
    /// Starts it with this configuration; without a `Bind` line it gets a port on loopback.
    #[track_caller]
    pub fn start(conf: &str) -> Proxy {
        Proxy::with(conf).start()
    }

    /// Starts it in front of a cluster, with two threads, and waits until it knows all nodes.
    #[track_caller]
    pub fn for_cluster(cluster: &RedisCluster) -> Proxy {
        let pool = cluster.conf_with("    RefreshInterval 100ms");
        let proxy = Proxy::start(&format!("WorkerThreads 2\n{pool}"));
        proxy.wait_for_servers(cluster.len());
        proxy
    }

    /// Prepares a start with more than a configuration text. `{port}` and `{dir}` in it are filled
    /// in.
    pub fn with(conf: &str) -> Start<'_> {
        Start {
            conf,
            files: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            program: None,
            under: Vec::new(),
            descriptor_limit: None,
            hosts: None,
            world: None,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its port, when it has one.
    #[track_caller]
    pub fn port(&self) -> u16 {
        if let Address::Tcp(port) = self.address {
            port
        } else {
            panic!("listens on {}", self.address)
        }
    }

    /// A new connection to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    /// The process, to signal or measure it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its folder: configuration, log, output.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Has it start a new process in its own place, and goes on with that one.
    #[track_caller]
    pub fn upgrade(&mut self) {
        let before = self.log().matches(TAKEN_OVER).count();
        self.process.signal("USR2");
        wait_until(SOON, "another process to take over", || {
            self.log().matches(TAKEN_OVER).count() > before
        });
        self.follow_upgrade();
    }

    /// Waits for the end of a process that lets another take over, and goes on with that one.
    #[track_caller]
    pub fn follow_upgrade(&mut self) {
        let log = self.log();
        let id =
            log.rsplit(TAKEN_OVER).next().and_then(|rest| rest.split(' ').next()?.parse().ok());
        let heir = Process::adopt(id.expect("a process id"));
        let mut old = std::mem::replace(&mut self.process, heir);
        let status = old.wait(SOON).unwrap_or_else(|| panic!("does not end\n{}", self.log()));
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Ends it without a word.
    #[allow(dead_code, reason = "not all tests that share this end it so")]
    pub fn kill(mut self) {
        self.seen_off = true;
        self.process.kill();
    }

    /// It listens here as well, and this is where clients are to go from now on.
    pub fn move_to(&mut self, address: Address) {
        self.address = address;
    }

    /// Writes another configuration in the place of its own, for it to read again. Without a
    /// `Bind` line it has the one that the proxy was started with.
    #[track_caller]
    pub fn write_conf(&self, conf: &str) {
        let has_bind = conf.lines().any(|line| line.trim().starts_with("Bind "));
        let bind = if has_bind { String::new() } else { format!("Bind {}\n", self.address) };
        let folder = self.scratch.path().to_string_lossy();
        let conf = format!("{bind}{conf}").replace("{dir}", &folder);
        // All at once: a reader sees the old file or the new one.
        self.scratch.write("predixy.conf.new", &conf);
        let path = |name: &str| self.scratch.path().join(name);
        std::fs::rename(path("predixy.conf.new"), path("predixy.conf")).expect("a new file");
    }

    /// What it has printed and logged.
    pub fn log(&self) -> String {
        self.scratch.read("output") + &self.scratch.read("predixy.log")
    }

    /// The servers as INFO lists them.
    pub fn servers(&self) -> Vec<ServerLine> {
        let info = self.client().line("INFO servers").text();
        let mut servers: Vec<ServerLine> = Vec::new();
        for (name, value) in info.lines().filter_map(|line| line.split_once(':')) {
            if name == "Server" {
                let line = ServerLine {
                    address: value.to_owned(),
                    role: String::new(),
                    group: String::new(),
                    is_failed: false,
                };
                servers.push(line);
            }
            let Some(server) = servers.last_mut() else { continue };
            match name {
                "Role" => value.clone_into(&mut server.role),
                "Group" => value.clone_into(&mut server.group),
                "CurrentIsFail" => server.is_failed = value == "1",
                _ => {}
            }
        }
        servers
    }

    /// A number of INFO by its name.
    #[track_caller]
    pub fn figure(&self, name: &str) -> u64 {
        let info = self.client().line("INFO").text();
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {info}"))
    }

    /// Waits until it knows the role of exactly so many servers.
    #[track_caller]
    pub fn wait_for_servers(&self, count: usize) {
        let mut seen = Vec::new();
        wait_until(SOON, &format!("{count} servers with their roles"), || {
            seen = self.servers();
            seen.len() == count
                && seen.iter().all(|server| server.role != "unknown" && !server.group.is_empty())
        });
    }

    /// Ends it with SIGTERM and tells how it ended.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.signal("TERM");
        self.wait_for_end()
    }

    /// Waits for its end and tells how it ended.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        self.seen_off = true;
        self.process.wait(SOON).unwrap_or_else(|| panic!("does not end\n{}", self.log()))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.seen_off && !thread::panicking() {
            return;
        }
        let died = self.process.ended();
        if died.is_none() {
            self.process.signal("TERM");
        }
        let status = self.process.wait(SOON);
        let well = died.is_none() && status.is_some_and(|status| status.success());
        if well && !thread::panicking() {
            return;
        }
        let log = self.log();
        let tail: Vec<&str> = log.lines().rev().take(60).collect();
        eprintln!("--- the proxy's last words:");
        tail.iter().rev().for_each(|line| eprintln!("{line}"));
        let how = match (died, status) {
            (Some(status), _) => format!("the proxy died: {status} (signal {:?})", status.signal()),
            (None, Some(status)) => format!("the proxy was asked to end and ended with {status}"),
            (None, None) => "the proxy was asked to end and did not".to_owned(),
        };
        eprintln!("--- {how}");
        assert!(well || thread::panicking(), "{how}");
    }
}

impl<'a> Start<'a> {
    /// Puts another file beside the configuration, for `Include`.
    pub fn file(mut self, name: &'a str, text: impl Into<String>) -> Start<'a> {
        self.files.push((name, text.into()));
        self
    }

    /// Adds an argument after the configuration file.
    pub fn argument(mut self, argument: &'a str) -> Start<'a> {
        self.arguments.push(argument);
        self
    }

    /// Sets a variable of its environment.
    pub fn variable(mut self, name: &'a str, value: impl Into<String>) -> Start<'a> {
        self.environment.push((name, value.into()));
        self
    }

    /// Starts this file instead of the program under test.
    pub fn program(mut self, path: PathBuf) -> Start<'a> {
        self.program = Some(path);
        self
    }

    /// Lets it be started by another program, which is given its own words first; `{dir}` in them is
    /// filled in. The process has to be the same one.
    pub fn under(mut self, words: &[&str]) -> Start<'a> {
        self.under = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Limits how many descriptors it may have.
    pub fn descriptor_limit(mut self, limit: u32) -> Start<'a> {
        self.descriptor_limit = Some(limit);
        self
    }

    /// Gives it names of its own: what it sees as `/etc/hosts` is the file `hosts` in its folder.
    pub fn hosts(mut self, hosts: &'a str) -> Start<'a> {
        self.hosts = Some(hosts);
        self
    }

    /// Lets it live where these shell commands were run before, in a mount and a network namespace
    /// of its own. `None` where the system does not allow that, or the commands fail.
    #[track_caller]
    pub fn in_world(mut self, commands: &'a str) -> Option<Start<'a>> {
        let mut command = Command::new("unshare");
        command.args(WORLD).args(["sh", "-c", commands]);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        self.world = Some(commands);
        status.is_ok_and(|status| status.success()).then_some(self)
    }

    /// Like `start`, unless the system does not let it have names of its own.
    #[track_caller]
    pub fn try_start_in_namespace(self) -> Option<Proxy> {
        let script = format!("{MOUNT} && exit 0");
        let scratch = Scratch::new("hosts");
        scratch.write("hosts", "");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).current_dir(scratch.path());
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success()).then(|| self.start())
    }

    /// Starts it and waits until it answers; what it printed instead is the panic's text.
    #[track_caller]
    pub fn start(self) -> Proxy {
        self.try_start().unwrap_or_else(|output| panic!("the proxy does not start:\n{output}"))
    }

    /// Starts it and waits until it answers, or tells what it printed instead.
    pub fn try_start(self) -> Result<Proxy, String> {
        let mut output = String::new();
        for _ in 0..5 {
            match self.attempt() {
                Err(printed) if printed.contains("ddress already in use") => output = printed,
                result => return result,
            }
        }
        Err(output)
    }

    fn attempt(&self) -> Result<Proxy, String> {
        let scratch = Scratch::new("predixy");
        let port = free_port();
        let conf = self.conf_text(&scratch, port);
        let path = scratch.write("predixy.conf", &conf);
        for (name, text) in &self.files {
            scratch.write(name, text);
        }
        let bind = conf.lines().filter_map(|line| line.trim().strip_prefix("Bind ")).next_back();
        let address = match bind.map(str::trim) {
            Some(path) if path.starts_with('/') => Address::Unix(PathBuf::from(path)),
            _ => Address::Tcp(port),
        };
        let output = File::create(scratch.path().join("output")).expect("a file for the output");
        let limit =
            self.descriptor_limit.map_or(String::new(), |limit| format!("ulimit -n {limit}; "));
        let apart = self.hosts.is_some() || self.world.is_some();
        let mut command = Command::new(if apart { "unshare" } else { "sh" });
        let world = self.world.map_or(String::new(), |commands| {
            command.args(WORLD).arg("sh");
            format!("{{ {commands}; }} && ")
        });
        let mount = self.hosts.map_or(String::new(), |hosts| {
            scratch.write("hosts", hosts);
            command.args(["--mount", "sh"]);
            format!("{MOUNT} && ")
        });
        command
            .args(["-c", &format!(r#"{limit}{world}{mount}exec "$@""#), "sh"])
            .args(
                self.under
                    .iter()
                    .map(|word| word.replace("{dir}", &scratch.path().to_string_lossy())),
            )
            .arg(self.program.clone().unwrap_or_else(binary))
            .arg(path)
            .args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(scratch.path()).stdin(Stdio::null());
        command.stdout(output.try_clone().expect("a second handle")).stderr(output);
        let mut process = Process::start(&mut command);
        let mut ended = None;
        wait_until(SOON, "the proxy to answer or to end", || {
            ended = process.ended();
            ended.is_some() || answers(&address)
        });
        if ended.is_some() {
            return Err(scratch.read("output"));
        }
        Ok(Proxy { process, scratch, address, seen_off: false })
    }

    fn conf_text(&self, scratch: &Scratch, port: u16) -> String {
        let has_bind = self.conf.lines().any(|line| line.trim().starts_with("Bind "));
        let bind = if has_bind { "" } else { "Bind 127.0.0.1:{port}\n" };
        let conf = format!("{bind}{}", self.conf);
        conf.replace("{port}", &port.to_string())
            .replace("{dir}", &scratch.path().to_string_lossy())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(port) => write!(out, "127.0.0.1:{port}"),
            Address::At(place) => write!(out, "{place}"),
            Address::Unix(path) => write!(out, "{}", path.display()),
        }
    }
}

/// What the log says before the id of a process that takes over.
const TAKEN_OVER: &str = "upgrade succ, process ";

/// What a world of its own has for itself.
const WORLD: [&str; 2] = ["--mount", "--net"];

/// Makes the file `hosts` of the current folder what the system looks names up in.
const MOUNT: &str = "mount --bind hosts /etc/hosts";

/// The program under test.
pub fn binary() -> PathBuf {
    env::var_os("PREDIXY_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_predixy")), PathBuf::from)
}

/// Whether that is the C++ predixy.
pub fn is_original() -> bool {
    static ORIGINAL: OnceLock<bool> = OnceLock::new();
    *ORIGINAL.get_or_init(|| {
        let output = Command::new(binary()).arg("-v").output().expect("the program under test");
        String::from_utf8_lossy(&output.stderr).contains("predixy-1.0.5")
    })
}

fn answers(address: &Address) -> bool {
    let Ok(mut client) = Client::try_connect(address) else { return false };
    client.set_deadline(Duration::from_secs(5));
    // Any reply will do: with an Authority a PING may be refused.
    client.try_cmd(&["PING"]).is_ok()
}
