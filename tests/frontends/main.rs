//! HAProxy, stunnel and keepalived in front of the proxy, with the files in `conf/examples`, and a
//! browser in front of the status page.
//!
//! `make test-frontends` and `make test-page` run these; `make test` does not, because the programs have to be installed
//! first. What runs is the file itself: only addresses, ports and paths are replaced, each of which
//! must be in it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on stops and says why"
)]
#![allow(clippy::cast_possible_truncation, reason = "of the helpers of the other tests")]

#[allow(dead_code, reason = "these tests need less of it than the others")]
#[allow(unused_imports, reason = "these tests need less of it than the others")]
#[path = "../it"]
mod it {
    pub mod support;
}

mod keepalived;
mod page;
mod tls;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use it::support::{
    Address, Client, Process, Proxy, RedisCluster, SOON, Scratch, Value, bulk, free_port, ok,
    shared_cluster, simple, wait_until, wire,
};

/// The example of this name, with other addresses.
#[track_caller]
fn example(name: &str, replacements: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/examples").join(name);
    let mut text = fs::read_to_string(&path).unwrap();
    for (from, to) in replacements {
        assert!(text.contains(from), "{from} is not in {name}");
        text = text.replace(from, to);
    }
    text
}

/// Those of a configuration of predixy, for a cluster of ours; where it answers over HTTP.
fn predixy(name: &str, cluster: &RedisCluster) -> (String, u16) {
    let metrics = free_port();
    let interface = if name == "predixy.conf" { "0.0.0.0" } else { "127.0.0.1" };
    let node = |index: usize| cluster.node(index % cluster.len()).address();
    let replacements = [
        (&*format!("{interface}:7617"), "127.0.0.1:{port}".to_owned()),
        (&*format!("{interface}:9617"), format!("127.0.0.1:{metrics}")),
        ("10.0.0.21:6379", node(0)),
        ("10.0.0.22:6379", node(1)),
        ("10.0.0.23:6379", node(2)),
    ];
    (example(name, &replacements), metrics)
}

/// A program with a configuration of its own, until it is dropped.
struct Frontend {
    // Dropped in this order: the program before its files.
    process: Process,
    scratch: Scratch,
}

impl Frontend {
    /// Starts it on a file with this text, in a folder with these files.
    #[track_caller]
    fn start(program: &[&str], conf: &str, scratch: Scratch) -> Frontend {
        let conf = conf.replace("{dir}", &scratch.path().to_string_lossy());
        let path = scratch.write("conf", &conf);
        let output = fs::File::create(scratch.path().join("output")).unwrap();
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(path).current_dir(scratch.path()).stdin(Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        Frontend { process: Process::start(&mut command), scratch }
    }

    fn haproxy(conf: &str, scratch: Scratch) -> Frontend {
        Frontend::start(&["haproxy", "-db", "-f"], conf, scratch)
    }

    /// Waits until what it leads to answers.
    #[track_caller]
    fn wait_for(&mut self, port: u16) {
        wait_until(SOON, "the way through", || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "{ended:?}\n{}", self.scratch.read("output"));
            Client::try_connect(&Address::Tcp(port)).is_ok_and(|mut client| {
                client.try_cmd(&["PING"]).is_ok_and(|it| it == simple("PONG"))
            })
        });
    }
}

/// Clients that connect again when they have to, and check every reply.
struct Clients {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Clients {
    fn start(port: u16, count: usize) -> Clients {
        let stop = Arc::new(AtomicBool::new(false));
        let (done, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let threads = (0..count).map(|number| {
            let (stop, done, lost) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&lost));
            thread::spawn(move || {
                let (key, mut round) = (format!("frontend:{number}"), 0u64);
                let mut client: Option<Client> = None;
                while !stop.load(Ordering::SeqCst) {
                    round += 1;
                    let one = match &mut client {
                        Some(one) => one,
                        None => match Client::try_connect(&Address::Tcp(port)) {
                            Ok(new) => client.insert(new),
                            Err(_) => continue,
                        },
                    };
                    let value = round.to_string();
                    let replies = one
                        .try_cmd(&["SET", &key, &value])
                        .and_then(|set| Ok((set, one.try_cmd(&["GET", &key])?)));
                    match replies {
                        // The end of a connection is all that a client may ever notice.
                        Ok(replies) => {
                            assert_eq!(replies, (ok(), bulk(&value)));
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(_) => {
                            lost.fetch_add(1, Ordering::SeqCst);
                            client = None;
                        }
                    }
                }
            })
        });
        let threads = threads.collect();
        Clients { stop, done, lost, threads }
    }

    /// Waits until all of them together have done so much more.
    #[track_caller]
    fn go_on(&self, more: u64) {
        let before = self.done.load(Ordering::SeqCst);
        wait_until(SOON, "clients to go on", || self.done.load(Ordering::SeqCst) >= before + more);
    }

    /// Stops them; how many connections they have lost.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no wrong reply"));
        self.lost.load(Ordering::SeqCst)
    }
}

#[test]
fn clients_go_on_with_the_proxy_that_is_left() {
    let cluster = shared_cluster();
    for name in ["haproxy.cfg", "haproxy-ping.cfg"] {
        let (confs, ports): (Vec<String>, Vec<u16>) =
            (0..2).map(|_| predixy("predixy.conf", cluster)).unzip();
        let mut proxies: Vec<Proxy> = confs.iter().map(|conf| Proxy::start(conf)).collect();
        let port = free_port();
        let mut replacements = vec![
            ("bind :6379", format!("bind 127.0.0.1:{port}")),
            ("10.0.0.11:7617", proxies[0].address().to_string()),
            ("10.0.0.12:7617", proxies[1].address().to_string()),
        ];
        let (one, two);
        if name == "haproxy.cfg" {
            one = format!("{} check port 9617", proxies[0].address());
            two = format!("{} check port 9617", proxies[1].address());
            replacements.push((&one, one.replace("9617", &ports[0].to_string())));
            replacements.push((&two, two.replace("9617", &ports[1].to_string())));
        }
        let mut haproxy = Frontend::haproxy(&example(name, &replacements), Scratch::new("haproxy"));
        haproxy.wait_for(port);
        let clients = Clients::start(port, 8);
        clients.go_on(200);
        for proxy in &proxies {
            assert!(proxy.figure("ClientConnections") > 2, "both have some");
        }
        let lost_before = clients.lost.load(Ordering::SeqCst);
        assert_eq!(lost_before, 0);
        // One of them is gone without a word.
        let victim = proxies.remove(0);
        let conf = fs::read_to_string(victim.scratch().path().join("predixy.conf")).unwrap();
        victim.kill();
        clients.go_on(400);
        wait_until(SOON, "all clients to be with the other", || {
            proxies[0].figure("ClientConnections") >= 9
        });
        // It comes back, and new clients are divided again.
        let again = Proxy::start(&format!("{conf}Bind {{dir}}/again.sock\n"));
        let mut comers: Vec<Client> = Vec::new();
        wait_until(SOON, "a new client with the one that is back", || {
            comers.push(Client::to_port(port));
            assert_eq!(comers.last_mut().unwrap().line("PING"), simple("PONG"));
            again.figure("ClientConnections") > 2
        });
        assert!(clients.end() <= 8, "each client was disconnected once at most");
    }
}

#[test]
fn a_proxy_that_reaches_no_master_gets_no_clients() {
    let cluster = shared_cluster();
    let (good, good_port) = predixy("predixy.conf", cluster);
    let (bad, bad_port) = predixy("predixy.conf", cluster);
    let nobody = format!("127.0.0.1:{}", free_port());
    let bad = (0..cluster.len())
        .fold(bad, |conf, index| conf.replace(&cluster.node(index).address(), &nobody));
    let (good, bad) = (Proxy::start(&good), Proxy::start(&bad));
    let port = free_port();
    let haproxy = example(
        "haproxy.cfg",
        &[
            ("bind :6379", format!("bind 127.0.0.1:{port}")),
            ("10.0.0.11:7617 check port 9617", format!("{} check port {bad_port}", bad.address())),
            (
                "10.0.0.12:7617 check port 9617",
                format!("{} check port {good_port}", good.address()),
            ),
        ],
    );
    let mut haproxy = Frontend::haproxy(&haproxy, Scratch::new("haproxy"));
    haproxy.wait_for(port);
    wait_until(SOON, "the useless proxy to be found out", || {
        haproxy.scratch.read("output").contains("Server predixy/one is DOWN")
    });
    let mut clients: Vec<Client> = (0..10).map(|_| Client::to_port(port)).collect();
    for client in &mut clients {
        assert_eq!(client.line("SET frontend:ready 1"), ok());
    }
    assert_eq!(good.figure("ClientConnections"), 11);
}

#[test]
fn a_client_that_knows_clusters_is_sent_to_the_common_address() {
    let cluster = shared_cluster();
    let proxy = Proxy::start(&predixy("predixy.conf", cluster).0);
    let mut client = proxy.client();
    client.send(wire(&["CLUSTER", "SLOTS"]));
    let slots = client.reply();
    let node = &slots.elements()[0].elements()[2];
    assert_eq!(node.elements()[..2], [bulk("10.0.0.10"), Value::Int(6379)]);
}
