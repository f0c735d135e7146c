//! Groups of real servers, and the real Sentinels that look after them.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::redis_server::program;
use super::{Client, Process, RedisServer, SOON, Scratch, Value, free_port, wait_until};

/// One `redis-server --sentinel`; killed, with its folder, on drop.
pub struct RedisSentinel {
    process: Process,
    scratch: Scratch,
    port: u16,
    password: Option<String>,
}

/// A master and its replicas, under the name that Sentinel knows.
pub struct Group {
    /// `g0` and so on.
    pub name: String,
    /// The first was started as the master.
    pub servers: Vec<RedisServer>,
}

/// Groups, and Sentinels that all watch all of them.
pub struct Watched {
    /// The Sentinels.
    pub sentinels: Vec<RedisSentinel>,
    /// The groups.
    pub groups: Vec<Group>,
}

/// How Sentinels and servers are to be started; see [`Watched::with`].
#[derive(Clone, Copy, Default)]
pub struct Secrets<'a> {
    /// What the servers ask of everybody.
    pub server: Option<&'a str>,
    /// What the Sentinels ask of everybody.
    pub sentinel: Option<&'a str>,
}

/// How long Sentinels may take. On a machine so busy that their own clocks seem to jump they do
/// nothing for half a minute.
const FAILOVER: Duration = Duration::from_secs(60);

/// A server that says nothing for so long is down, for a Sentinel.
pub const DOWN_AFTER: Duration = Duration::from_millis(500);

impl RedisSentinel {
    /// Starts one with these lines in its configuration.
    pub fn start(lines: &str, password: Option<&str>) -> RedisSentinel {
        let scratch = Scratch::new("sentinel");
        for _ in 0..20 {
            let port = free_port();
            let protection = password.map_or("protected-mode no\n".to_owned(), |password| {
                format!("requirepass {password}\nsentinel sentinel-pass {password}\n")
            });
            let conf = format!("port {port}\nbind 127.0.0.1 ::1\n{protection}{lines}");
            scratch.write("sentinel.conf", &conf);
            if let Some(process) = launch(&scratch, port) {
                let password = password.map(str::to_owned);
                return RedisSentinel { process, scratch, port, password };
            }
        }
        panic!("the sentinel does not start: {}", scratch.read("sentinel.log"));
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A new connection to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        let mut client = Client::to_port(self.port);
        if let Some(password) = &self.password {
            assert_eq!(client.cmd(&["AUTH", password]), super::ok());
        }
        client
    }

    /// Where the master of a group is, if it knows.
    pub fn master_of(&self, group: &str) -> Option<u16> {
        let reply = self.client().cmd(&["SENTINEL", "get-master-addr-by-name", group]);
        match &reply {
            Value::Array(fields) => fields[1].text().parse().ok(),
            _ => None,
        }
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with what it knew.
    pub fn restart(&mut self) {
        self.process.kill();
        wait_until(SOON, "the sentinel to start again", || {
            launch(&self.scratch, self.port).map(|process| self.process = process).is_some()
        });
    }

    /// Stops it where it stands.
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Whether there is a connection on which it was asked who watches a group.
    pub fn is_asked(&self) -> bool {
        let list = self.client().line("CLIENT LIST").text();
        // Before 7.0 it does not say which command about Sentinels it was.
        list.contains("cmd=sentinel|sentinels") || list.contains("cmd=sentinel ")
    }

    /// How many connections have asked it for messages.
    pub fn listeners(&self) -> usize {
        let list = self.client().line("CLIENT LIST").text();
        // The Sentinels themselves listen at servers only.
        list.lines().filter(|line| !line.contains(" sub=0 ")).count()
    }
}

impl Watched {
    /// Starts so many Sentinels, and groups of so many servers each, and waits until every
    /// Sentinel knows all of them.
    pub fn start(sentinels: usize, groups: usize, servers: usize) -> Watched {
        Watched::with(sentinels, groups, servers, Secrets::default())
    }

    /// The same with passwords.
    pub fn with(sentinels: usize, groups: usize, servers: usize, secrets: Secrets<'_>) -> Watched {
        let groups: Vec<Group> =
            (0..groups).map(|index| Group::start(index, servers, secrets.server)).collect();
        let lines = monitor_lines(&groups, sentinels / 2 + 1, secrets.server);
        let sentinels: Vec<RedisSentinel> =
            (0..sentinels).map(|_| RedisSentinel::start(&lines, secrets.sentinel)).collect();
        let watched = Watched { sentinels, groups };
        watched.wait_until_known();
        watched
    }

    /// A configuration for the proxy with these Sentinels and groups, and more lines inside the
    /// pool.
    pub fn conf(&self, lines: &str) -> String {
        let servers: String =
            self.sentinels.iter().map(|one| format!("        + {}\n", one.address())).collect();
        self.conf_of("Sentinels", &servers, lines)
    }

    /// The same with this head of the block of Sentinels, and these servers in it.
    pub fn conf_of(&self, head: &str, sentinels: &str, lines: &str) -> String {
        let groups: String = self
            .groups
            .iter()
            .map(|group| format!("    Group {} {{\n    }}\n", group.name))
            .collect();
        format!(
            "SentinelServerPool {{\n    Hash crc16\n    HashTag \"{{}}\"\n    Distribution modula\n\
             {lines}\n    {head} {{\n{sentinels}    }}\n{groups}}}\n"
        )
    }

    /// A key that begins with `prefix` and belongs to this group.
    pub fn key_on(&self, group: usize, prefix: &str) -> String {
        key_in_group(group, self.groups.len(), prefix)
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.groups.iter().map(|group| group.servers.len()).sum()
    }

    /// Waits until Sentinels say that another server is master, and tells which.
    #[track_caller]
    pub fn wait_for_new_master(&self, group: usize, old: usize) -> usize {
        let group = &self.groups[group];
        let mut master = old;
        wait_until(FAILOVER, "the sentinels to choose a master", || {
            let said = self.sentinels.iter().find_map(|one| {
                let port = one.master_of(&group.name)?;
                group
                    .servers
                    .iter()
                    .position(|server| server.port() == port && port != group.servers[old].port())
            });
            said.is_some_and(|said| {
                master = said;
                true
            })
        });
        master
    }

    /// Which server of a group the Sentinels say is its master.
    #[track_caller]
    pub fn master_of(&self, group: usize) -> usize {
        let Group { name, servers } = &self.groups[group];
        let port = self.sentinels.iter().find_map(|one| one.master_of(name)).expect("a master");
        servers.iter().position(|server| server.port() == port).expect("one of ours")
    }

    /// Waits until every server does what the Sentinels say, and all of them agree.
    #[track_caller]
    pub fn wait_until_well(&self) {
        for (index, group) in self.groups.iter().enumerate() {
            let mut master = 0;
            wait_until(FAILOVER, "all Sentinels to agree", || {
                master = self.master_of(index);
                let port = Some(group.servers[master].port());
                self.sentinels.iter().all(|one| one.master_of(&group.name) == port)
            });
            for (at, server) in group.servers.iter().enumerate() {
                let role = if at == master { "role:master" } else { "master_link_status:up" };
                // A Sentinel that changes a role cuts all connections.
                wait_until(FAILOVER, "every server to have its role, and be in step", || {
                    let client = Client::try_connect(&super::Address::Tcp(server.port())).ok();
                    let told =
                        client.and_then(|mut client| client.try_cmd(&["INFO", "replication"]).ok());
                    told.is_some_and(|told| told.text().contains(role))
                });
            }
        }
        self.wait_until_known();
    }

    #[track_caller]
    fn wait_until_known(&self) {
        for sentinel in &self.sentinels {
            let mut client = sentinel.client();
            for group in &self.groups {
                wait_until(FAILOVER, "a sentinel to know the whole group", || {
                    let state = client.cmd(&["SENTINEL", "master", &group.name]);
                    let number =
                        |name: &str| field(&state, name).and_then(|text| text.parse().ok());
                    number("num-slaves") == Some(group.servers.len() - 1)
                        && number("num-other-sentinels") == Some(self.sentinels.len() - 1)
                });
                wait_until(FAILOVER, "a sentinel to find all replicas well", || {
                    let replicas = client.cmd(&["SENTINEL", "replicas", &group.name]);
                    replicas.elements().iter().all(|replica| {
                        field(replica, "flags").as_deref() == Some("slave")
                            && field(replica, "master-link-status").as_deref() == Some("ok")
                    })
                });
            }
        }
    }
}

impl Group {
    /// Starts a master and its replicas, and waits until these are in step.
    pub fn start(index: usize, servers: usize, password: Option<&str>) -> Group {
        let auth: Vec<&str> = password.map_or(Vec::new(), |password| {
            vec!["--requirepass", password, "--masterauth", password]
        });
        let master = RedisServer::start_with(&auth);
        let port = master.port().to_string();
        let mut all = vec![master];
        for _ in 1..servers {
            let more = ["--replicaof", "127.0.0.1", &port, "--repl-ping-replica-period", "1"];
            all.push(RedisServer::start_with(&[&auth[..], &more].concat()));
        }
        for replica in &all[1..] {
            let mut client = replica.client();
            if let Some(password) = password {
                client.cmd(&["AUTH", password]);
            }
            wait_until(SOON, "a replica to be in step", || {
                client.line("INFO replication").text().contains("master_link_status:up")
            });
        }
        Group { name: format!("g{index}"), servers: all }
    }
}

/// What makes Sentinels watch these groups.
pub fn monitor_lines(groups: &[Group], quorum: usize, password: Option<&str>) -> String {
    let mut lines = String::new();
    for Group { name, servers } in groups {
        let port = servers[0].port();
        let down_after = DOWN_AFTER.as_millis();
        writeln!(lines, "sentinel monitor {name} 127.0.0.1 {port} {quorum}").expect("a string");
        writeln!(lines, "sentinel down-after-milliseconds {name} {down_after}").expect("a string");
        writeln!(lines, "sentinel failover-timeout {name} 1500").expect("a string");
        if let Some(password) = password {
            writeln!(lines, "sentinel auth-pass {name} {password}").expect("a string");
        }
    }
    lines
}

/// A key that begins with `prefix` and belongs to this one of so many groups by CRC16.
pub fn key_in_group(group: usize, groups: usize, prefix: &str) -> String {
    let mut keys = (0..).map(|number| format!("{prefix}{number}"));
    let is_there = |key: &String| {
        let sum = crc16::State::<crc16::XMODEM>::calculate(key.as_bytes());
        usize::from(sum) % groups == group
    };
    keys.find(is_there).expect("endless numbers")
}

/// A value of a list of names and values.
fn field(list: &Value, name: &str) -> Option<String> {
    let Value::Array(elements) = list else { return None };
    let pairs = elements.chunks_exact(2);
    pairs.into_iter().find(|pair| pair[0].text() == name).map(|pair| pair[1].text())
}

fn launch(scratch: &Scratch, port: u16) -> Option<Process> {
    let mut command = Command::new(program());
    command.current_dir(scratch.path()).args(["sentinel.conf", "--sentinel"]);
    command.args(["--logfile", "sentinel.log"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(&mut command);
    let until = Instant::now() + Duration::from_secs(10);
    while process.ended().is_none() && Instant::now() < until {
        if let Ok(mut client) = Client::try_connect(&super::Address::Tcp(port))
            && client.try_cmd(&["PING"]).is_ok()
            && process.ended().is_none()
        {
            return Some(process);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}
