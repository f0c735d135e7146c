//! Two hosts with keepalived: one address, which moves to the other host when a proxy fails.
//!
//! The hosts are network namespaces, so it takes root; without, there is nothing to be seen.

use std::process::{Command, Stdio};

use super::example;
use super::it::support::{Process, SOON, Scratch, binary, wait_until};

/// Namespaces that are connected: two hosts, and what both are connected to.
struct World(String);

impl World {
    /// `None` where the system does not allow that.
    fn start() -> Option<World> {
        let world = World(format!("predixy-{}", std::process::id()));
        let name = &world.0;
        let mut script = format!(
            "set -e; ip netns add {name}-net; ip -n {name}-net link set lo up; \
             ip -n {name}-net link add br0 type bridge; ip -n {name}-net link set br0 up; \
             ip -n {name}-net addr add 10.0.0.21/24 dev br0; "
        );
        for (host, address) in [("one", 11), ("two", 12)] {
            script += &format!(
                "ip netns add {name}-{host}; ip -n {name}-{host} link set lo up; \
                 ip -n {name}-{host} link add eth0 type veth peer name {host} netns {name}-net; \
                 ip -n {name}-{host} addr add 10.0.0.{address}/24 dev eth0; \
                 ip -n {name}-{host} link set eth0 up; \
                 ip -n {name}-net link set {host} master br0 up; "
            );
        }
        let status = Command::new("sh").args(["-c", &script]).status().unwrap();
        status.success().then_some(world)
    }

    /// A program on one of the hosts; what it prints goes to a file of its name.
    fn run(&self, host: &str, scratch: &Scratch, program: &[&str]) -> Process {
        let name = program[0].rsplit('/').next().unwrap();
        let path = scratch.path().join(format!("{host}.{name}.output"));
        let output = std::fs::File::create(path).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{host}", self.0)]).args(program);
        command.current_dir(scratch.path()).stdin(Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        Process::start(&mut command)
    }

    /// What a program on one of the hosts prints.
    fn ask(&self, host: &str, program: &[&str]) -> String {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-{host}", self.0)]).args(program);
        let output = command.stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What a client gets at the common address.
    fn redis(&self, words: &[&str]) -> String {
        let client = ["timeout", "2", "redis-cli", "-h", "10.0.0.10", "-p", "7617"];
        self.ask("net", &[&client, words].concat())
    }

    fn has_address(&self, host: &str) -> bool {
        self.ask(host, &["ip", "-4", "addr", "show", "dev", "eth0"]).contains("10.0.0.10/24")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in ["one", "two", "net"] {
            let name = format!("{}-{host}", self.0);
            // One that was never made need not go.
            let _ = Command::new("ip").args(["netns", "del", &name]).stderr(Stdio::null()).status();
        }
    }
}

#[test]
fn the_address_moves_to_the_host_whose_proxy_is_left() {
    let Some(world) = World::start() else {
        eprintln!("skipped: it takes root, and a system that has network namespaces");
        return;
    };
    let scratch = Scratch::new("keepalived");
    let server = ["redis-server", "--bind", "10.0.0.21", "--protected-mode", "no", "--save", ""];
    let _server = world.run("net", &scratch, &server);
    // One server by itself, in the place of a cluster.
    let conf = example("predixy.conf", &[("10.0.0.21:6379", "10.0.0.21:6379".into())]);
    let (globals, _) = conf.split_once("ClusterServerPool").unwrap();
    let pool = "StandaloneServerPool {\nRefreshMethod fixed\nGroup g {\n+ 10.0.0.21:6379\n}\n}\n";
    let conf = scratch.write("predixy.conf", &format!("{globals}{pool}"));
    let program = binary();
    let start = [program.to_str().unwrap(), conf.to_str().unwrap()];
    let mut proxies = ["one", "two"].map(|host| world.run(host, &scratch, &start));
    let keepers = [("one", "100"), ("two", "90")].map(|(host, priority)| {
        let text = example("keepalived.conf", &[("priority 100", format!("priority {priority}"))]);
        let conf = scratch.write(&format!("{host}.keepalived.conf"), &text);
        let ids = ["pid", "vrrp"].map(|kind| format!("{host}.{kind}"));
        let program = ["keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file"];
        let rest = [conf.to_str().unwrap(), "--pid", &ids[0], "--vrrp_pid", &ids[1]];
        world.run(host, &scratch, &[&program[..], &rest].concat())
    });
    let said = || ["one", "two"].map(|host| scratch.read(&format!("{host}.keepalived.output")));
    wait_until(SOON * 2, "somebody to have the address", || world.redis(&["PING"]) == "PONG");
    wait_until(SOON, "one of them alone to have it", || {
        world.has_address("one") != world.has_address("two")
    });
    assert_eq!(world.redis(&["SET", "frontend:k", "v"]), "OK", "{:?}", said());
    let owner = usize::from(world.has_address("two"));
    let (owner, other) = if owner == 0 { (0, "two") } else { (1, "one") };
    proxies[owner].kill();
    wait_until(SOON * 2, "the other to have the address", || world.has_address(other));
    wait_until(SOON, "the other to answer", || world.redis(&["GET", "frontend:k"]) == "v");
    drop(keepers);
}
