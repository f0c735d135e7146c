//! Everything that happens to servers and to the proxy itself, one thing after the other in an order
//! drawn from a seed, under writers that check every reply.
//!
//! `make chaos MINUTES=20` goes on so long; without `MINUTES` a few things happen once.
//! `SEED=n` draws the same order again; what the servers make of it is theirs. After each round all
//! must be well again: each key holds what it may hold, and what was lost is what the servers
//! themselves can lose, who have acknowledged writes that their replicas did not have yet.
//!
//! `make chaos` gives it a network of its own where it may, in which masters can be cut off (`WALLS`).

use std::env;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{
    Address, Chance, Client, Key, License, Proxy, RedisCluster, RedisServer, SOON, Tally, Watched,
    Writers, key_in_slots, ok, original_differs, slot_of, wait_until,
};

/// What servers may say to a write in the middle of a change.
const REFUSALS: [&str; 4] = ["READONLY ", "LOADING ", "TRYAGAIN ", "MASTERDOWN "];

/// What happens in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// A master is killed, and started again when another has taken its place.
    KillMaster,
    /// A master stands still until another has taken its place, and then goes on.
    StopMaster,
    /// A master is cut off by a network that swallows everything, until another has taken its place.
    CutOff,
    /// A replica is killed and started again.
    KillReplica,
    /// A replica takes over because somebody says so.
    Switch,
    /// Slots move to another master and back.
    Reshard,
    /// All connections to a master are cut.
    CutLinks,
    /// A Sentinel is killed and started again.
    KillSentinel,
    /// The proxy reads another configuration.
    Reload,
    /// Another process takes the place of the proxy.
    Upgrade,
}

impl Deed {
    /// Nobody is cut off: a node calls its like from any port, and who still hears it so does not
    /// give it up.
    const OF_A_CLUSTER: [Deed; 8] = [
        Deed::KillMaster,
        Deed::StopMaster,
        Deed::KillReplica,
        Deed::Switch,
        Deed::Reshard,
        Deed::CutLinks,
        Deed::Reload,
        Deed::Upgrade,
    ];
    const OF_GROUPS: [Deed; 9] = [
        Deed::KillMaster,
        Deed::StopMaster,
        Deed::CutOff,
        Deed::KillReplica,
        Deed::Switch,
        Deed::KillSentinel,
        Deed::CutLinks,
        Deed::Reload,
        Deed::Upgrade,
    ];

    /// Acknowledged writes of the group may be lost so often for each key. A master that stands
    /// still comes back with what it had, and may be believed for a moment once more.
    fn losses(self, is_cluster: bool) -> u32 {
        match self {
            Deed::KillMaster => 1,
            Deed::StopMaster | Deed::CutOff => 2,
            // A cluster's replica asks the master to wait for it; Sentinel does not.
            Deed::Switch if !is_cluster => 2,
            _ => 0,
        }
    }

    /// No client may notice.
    fn is_silent(self) -> bool {
        matches!(
            self,
            Deed::KillReplica | Deed::Reshard | Deed::KillSentinel | Deed::Reload | Deed::Upgrade
        )
    }
}

/// How long to go on, and in what order.
struct Course {
    name: &'static str,
    seed: u64,
    chance: Chance,
    deeds: Vec<Deed>,
    left: Vec<Deed>,
    until: Option<Instant>,
    /// How many rounds are enough when nobody says how long to go on.
    rounds: usize,
    round: usize,
    recoveries: Vec<(Duration, Duration)>,
}

impl Course {
    fn new(name: &'static str, deeds: &[Deed], rounds: usize) -> Course {
        let seed = variable("SEED").unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
            u64::from(now.subsec_nanos())
        });
        let minutes = variable("MINUTES").map(|minutes| Duration::from_secs(minutes * 60));
        let until = minutes.map(|minutes| Instant::now() + minutes);
        eprintln!("chaos, {name}: SEED={seed}");
        let (chance, left, recoveries) = (Chance::new(seed), Vec::new(), Vec::new());
        let has_walls = env::var_os("WALLS").is_some();
        let deeds = deeds.iter().copied().filter(|deed| has_walls || *deed != Deed::CutOff);
        let deeds = deeds.collect();
        Course { name, seed, chance, deeds, left, until, rounds, round: 0, recoveries }
    }

    /// What is next, or that it is enough. Everything happens before anything happens again.
    fn next(&mut self) -> Option<Deed> {
        let is_over = self.until.map_or(self.round >= self.rounds, |end| Instant::now() > end);
        if is_over {
            return None;
        }
        if self.left.is_empty() {
            self.left.clone_from(&self.deeds);
        }
        self.round += 1;
        let at = self.chance.below(self.left.len());
        Some(self.left.swap_remove(at))
    }

    fn tell(&self, deed: Deed, group: usize, how: &str, tally: &Tally) {
        let (name, seed, round) = (self.name, self.seed, self.round);
        eprintln!(
            "chaos, {name}, SEED={seed}, round {round}: {deed:?} of group {group}{how}; {}",
            tally.told()
        );
    }

    /// Somebody wrote directly again after the first time, and through the proxy after the second.
    fn recovered(&mut self, direct: Duration, proxied: Duration) -> String {
        self.recoveries.push((direct, proxied));
        format!(": written again directly after {direct:?}, through the proxy after {proxied:?}")
    }

    fn end(mut self, tally: &Tally) {
        self.recoveries.sort_by_key(|(direct, proxied)| proxied.saturating_sub(*direct));
        let later: Vec<Duration> = self
            .recoveries
            .iter()
            .map(|(direct, proxied)| proxied.saturating_sub(*direct))
            .collect();
        let (median, most) = (later.get(later.len() / 2), later.last());
        eprintln!(
            "chaos, {}: {} rounds, {} of them with a new master; through the proxy it took longer than directly by {median:?} in the median, {most:?} at most; {}",
            self.name,
            self.round,
            later.len(),
            tally.told()
        );
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Writes through the proxy until a write is accepted.
fn write_through(proxy: &Address, key: &str) {
    let mut client = Client::connect(proxy);
    client.set_deadline(SOON);
    wait_until(SOON, "a write through the proxy", || client.cmd(&["SET", key, "1"]) == ok());
}

/// Writes directly, if that server takes writes now. Who is promoted by a Sentinel cuts all connections.
fn writes(server: &RedisServer, key: &str) -> bool {
    let client = Client::try_connect(&Address::Tcp(server.port()));
    client.is_ok_and(|mut client| client.try_cmd(&["SET", key, "1"]) == Ok(ok()))
}

/// A network that swallows what goes to some ports of this host and what comes from them, for as long
/// as this lives. Only where `WALLS` says that the network is ours alone.
struct Wall {
    table: String,
}

impl Wall {
    fn around(port: u16) -> Wall {
        let wall = Wall { table: format!("around{port}") };
        let Wall { table } = &wall;
        nft(&format!("add table inet {table}"));
        nft(&format!("add chain inet {table} in {{ type filter hook input priority 0; }}"));
        for end in ["dport", "sport"] {
            nft(&format!("add rule inet {table} in tcp {end} {port} drop"));
        }
        wall
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        nft(&format!("delete table inet {}", self.table));
    }
}

fn nft(line: &str) {
    let status = Command::new("nft").arg(line).status();
    assert!(status.is_ok_and(|status| status.success()), "nft {line}");
}

/// What happens to the proxy, whatever is behind it.
fn befall_proxy(proxy: &mut Proxy, deed: Deed, conf: &str, round: usize) {
    if deed == Deed::Upgrade {
        return proxy.upgrade();
    }
    let name = format!("round-{round}");
    proxy.write_conf(&format!("Name {name}\n{conf}"));
    proxy.process().signal("HUP");
    let mut client = proxy.client();
    wait_until(SOON, "the new configuration to be in use", || {
        client.line("CONFIG GET Name").elements()[1].text() == name
    });
}

/// Errors from before must not count for a deed that nobody may notice.
fn check_silence(deed: Deed, before: u64, tally: &Tally) {
    assert!(
        !deed.is_silent() || tally.errors() == before,
        "{deed:?} was noticed: {} errors, {}",
        tally.errors() - before,
        tally.told()
    );
}

/// Makes writers, and keeps what grants losses of the keys of each group.
fn writers(groups: usize, name: impl Fn(usize, &str) -> String) -> (Writers, Vec<Vec<License>>) {
    let mut licenses: Vec<Vec<License>> = (0..groups).map(|_| Vec::new()).collect();
    let keys = Writers::keys(|writer, number| {
        let group = (writer + number) % groups;
        let key = Key::new(name(group, &format!("c{writer}:{number}:")), false);
        licenses[group].push(key.license());
        key
    });
    (Writers::new(keys).resting(Duration::from_millis(20)), licenses)
}

fn grant(licenses: &[License], times: u32) {
    licenses.iter().for_each(|license| license.grant(times));
}

#[test]
fn nothing_is_lost_in_front_of_a_cluster() {
    if original_differs("many of them") {
        return;
    }
    const GROUPS: usize = 3;
    let mut cluster = RedisCluster::start_with(GROUPS, 1, Duration::from_secs(1));
    let conf = format!("WorkerThreads 2\n{}", cluster.conf_with("    RefreshInterval 500ms"));
    let mut proxy = Proxy::start(&conf);
    proxy.wait_for_servers(2 * GROUPS);
    let slots: Vec<_> = (0..GROUPS).map(|group| cluster.slots_of(group)).collect();
    let (writers, licenses) =
        writers(GROUPS, |group, prefix| key_in_slots(slots[group].clone(), prefix));
    let tally = Tally::with_refusals(&REFUSALS);
    let mut course = Course::new("cluster", &Deed::OF_A_CLUSTER, 8);
    let address = proxy.address().clone();
    let mut keys = writers.work(&address, &tally, || {
        while let Some(deed) = course.next() {
            let group = course.chance.below(GROUPS);
            let members = [group, cluster.replica_of(group)];
            let is_master = cluster.is_master(members[0]);
            let (master, replica) =
                if is_master { (members[0], members[1]) } else { (members[1], members[0]) };
            let errors = tally.errors();
            grant(&licenses[group], deed.losses(true));
            let began = Instant::now();
            let probe = key_in_slots(slots[group].clone(), "probe:");
            let mut how = String::new();
            match deed {
                Deed::KillMaster | Deed::StopMaster => {
                    match deed {
                        Deed::KillMaster => cluster.node_mut(master).kill(),
                        _ => cluster.node(master).pause(),
                    }
                    wait_until(SOON, "the replica to take over", || {
                        writes(cluster.node(replica), &probe)
                    });
                    let direct = began.elapsed();
                    write_through(&address, &probe);
                    how = course.recovered(direct, began.elapsed());
                    tally.some_more();
                    match deed {
                        Deed::KillMaster => cluster.node_mut(master).restart(),
                        _ => cluster.node(master).resume(),
                    }
                }
                Deed::KillReplica => {
                    cluster.node_mut(replica).kill();
                    tally.some_more();
                    cluster.node_mut(replica).restart();
                }
                Deed::Switch => cluster.fail_over_to(replica),
                Deed::Reshard => reshard(&cluster, &mut course.chance, &slots, group, master),
                Deed::CutLinks => drop(cluster.node(master).kill_client_connections()),
                Deed::Reload | Deed::Upgrade | Deed::KillSentinel | Deed::CutOff => {
                    befall_proxy(&mut proxy, deed, &conf, course.round);
                }
            }
            tally.some_more();
            cluster.wait_until_well();
            write_through(&address, &probe);
            check_silence(deed, errors, &tally);
            grant(&licenses[group], 0);
            // From now on nothing is forgiven.
            tally.some_more();
            course.tell(deed, group, &how, &tally);
        }
    });
    let mut client = proxy.client();
    for key in &mut keys {
        key.look(&mut client, &tally);
    }
    course.end(&tally);
}

/// Some slots with keys in them go to the master of the next group, and come back.
fn reshard(
    cluster: &RedisCluster,
    chance: &mut Chance,
    slots: &[std::ops::Range<u16>],
    group: usize,
    from: usize,
) {
    let next = (group + 1) % slots.len();
    let to = match cluster.is_master(next) {
        true => next,
        false => cluster.replica_of(next),
    };
    for _ in 0..3 {
        let prefix = format!("c{}:{}:", chance.below(6), chance.below(4));
        let slot = slot_of(key_in_slots(slots[group].clone(), &prefix).as_bytes());
        cluster.migrate_slot(slot, from, to);
        cluster.migrate_slot(slot, to, from);
    }
}

#[test]
fn nothing_is_lost_in_front_of_sentinel_groups() {
    if original_differs("many of them") {
        return;
    }
    const GROUPS: usize = 2;
    let mut watched = Watched::start(3, GROUPS, 2);
    let conf = format!("WorkerThreads 2\n{}", watched.conf("    RefreshInterval 500ms"));
    let mut proxy = Proxy::start(&conf);
    proxy.wait_for_servers(watched.servers());
    let (writers, licenses) = writers(GROUPS, |group, prefix| watched.key_on(group, prefix));
    let tally = Tally::with_refusals(&REFUSALS);
    let mut course = Course::new("Sentinel groups", &Deed::OF_GROUPS, 3);
    let address = proxy.address().clone();
    let mut keys = writers.work(&address, &tally, || {
        while let Some(deed) = course.next() {
            let group = course.chance.below(GROUPS);
            let master = watched.master_of(group);
            let replica = 1 - master;
            let errors = tally.errors();
            grant(&licenses[group], deed.losses(false));
            let began = Instant::now();
            let probe = watched.key_on(group, "probe:");
            let mut how = String::new();
            match deed {
                Deed::KillMaster | Deed::StopMaster | Deed::CutOff => {
                    let server = &mut watched.groups[group].servers[master];
                    let wall = match deed {
                        Deed::CutOff => Some(Wall::around(server.port())),
                        _ => None,
                    };
                    match deed {
                        Deed::KillMaster => server.kill(),
                        Deed::StopMaster => server.pause(),
                        _ => {}
                    }
                    wait_until(FAILOVER, "the replica to take over", || {
                        writes(&watched.groups[group].servers[replica], &probe)
                    });
                    let direct = began.elapsed();
                    write_through(&address, &probe);
                    how = course.recovered(direct, began.elapsed());
                    tally.some_more();
                    // One that comes back too early comes back as a master without any keys.
                    watched.wait_for_new_master(group, master);
                    match deed {
                        Deed::KillMaster => watched.groups[group].servers[master].restart(),
                        Deed::StopMaster => watched.groups[group].servers[master].resume(),
                        _ => {}
                    }
                    drop(wall);
                }
                Deed::KillReplica => {
                    watched.groups[group].servers[replica].kill();
                    tally.some_more();
                    watched.groups[group].servers[replica].restart();
                }
                Deed::Switch => {
                    let name = &watched.groups[group].name;
                    let ask = format!("SENTINEL FAILOVER {name}");
                    wait_until(SOON, "a Sentinel to agree", || {
                        watched.sentinels[0].client().line(&ask) == ok()
                    });
                    watched.wait_for_new_master(group, master);
                }
                Deed::KillSentinel => {
                    let sentinel = course.chance.below(watched.sentinels.len());
                    watched.sentinels[sentinel].kill();
                    tally.some_more();
                    watched.sentinels[sentinel].restart();
                }
                Deed::CutLinks => {
                    watched.groups[group].servers[master].kill_client_connections();
                }
                Deed::Reload | Deed::Upgrade | Deed::Reshard => {
                    befall_proxy(&mut proxy, deed, &conf, course.round);
                }
            }
            tally.some_more();
            watched.wait_until_well();
            write_through(&address, &probe);
            check_silence(deed, errors, &tally);
            grant(&licenses[group], 0);
            tally.some_more();
            course.tell(deed, group, &how, &tally);
        }
    });
    let mut client = proxy.client();
    for key in &mut keys {
        key.look(&mut client, &tally);
    }
    course.end(&tally);
}

/// How long Sentinels may take to replace a master on a machine that is very busy.
const FAILOVER: Duration = Duration::from_secs(60);
