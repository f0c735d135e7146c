//! What kind of run a seed is: how many of each, and what goes wrong how often. Knows nothing of
//! how the run is made.

use predixy::base::random::Random;
use predixy::sys::sim::Faults;

/// All that is decided about a run before it begins. A chance of `n` is once in `n`, 0 is never.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: Kind,
    /// Threads of the proxy.
    pub handlers: usize,
    /// Masters at the beginning: nodes that own slots, or one for each group.
    pub masters: usize,
    /// Replicas of each.
    pub replicas: usize,
    /// Further nodes that may join.
    pub spare_nodes: usize,
    pub sentinels: usize,
    /// Whether Sentinels know the word `replicas`, and the older one.
    pub sentinel_words: [bool; 2],
    /// `MasterReadPriority`, `StaticSlaveReadPriority`, `DynamicSlaveReadPriority`.
    pub priorities: [u32; 3],
    /// The file lists the replicas too.
    pub lists_replicas: bool,
    pub read_your_writes_ms: u64,
    pub hold_ms: u64,
    /// When the clients and the script begin.
    pub begin_us: u64,
    pub databases: u32,
    pub has_transactions: bool,
    pub has_blocking: bool,
    pub has_scripts: bool,
    pub has_scans: bool,
    /// Clients publish, and are subscribed.
    pub has_channels: bool,
    /// Some clients say HELLO 3.
    pub has_resp3: bool,
    /// How often somebody else writes to a key, in microseconds.
    pub neighbour_us: u64,
    /// How far replicas are behind.
    pub lag_us: u64,
    /// Replicas without their master answer all the same.
    pub serves_stale: bool,
    pub clients: usize,
    /// How many requests each client makes.
    pub requests: u32,
    /// Hash tags of each client; several keys share one.
    pub tags: usize,
    /// The longest values; some are as long.
    pub value_max: usize,
    /// How many requests a client has in flight.
    pub window: usize,
    /// Between bursts of a client.
    pub pause_us: u64,
    /// What the platform does by itself.
    pub platform: Faults,
    /// How long a server takes for a reply.
    pub reply_us: u64,
    /// How often the script does something, in microseconds; 0 is never.
    pub script_us: u64,
    /// What the script does: each only if it is here.
    pub deeds: Vec<Deed>,
    /// The configuration changes.
    pub reloads: bool,
    /// For each executed request.
    pub server: ServerChances,
    /// For each burst.
    pub client: ClientChances,
    pub password: bool,
    /// The configuration lists the servers by name.
    pub by_name: bool,
    pub server_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub client_timeout_s: u64,
    pub refresh_ms: u64,
    pub retry_ms: u64,
    pub failure_limit: u64,
    /// What the replies may show of all this.
    pub allows: Allowed,
}

/// What the proxy stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Cluster,
    /// Groups that Sentinels look after.
    Sentinel,
    /// Groups that stay as they are.
    Standalone,
}

/// What may go wrong for a client, because something else goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// Connections to servers may fail, so that requests get errors.
    pub lossy: bool,
    /// Slots change hands.
    pub moved_slots: bool,
    /// Masters become replicas and replicas masters.
    pub role_changes: bool,
    /// Several keys of one slot may be in two places.
    pub split_slots: bool,
    /// Connections to clients may break.
    pub resets: bool,
    /// A server may refuse a long request.
    pub early_errors: bool,
    /// Servers forget scripts, or have never had them.
    pub forgotten_scripts: bool,
    /// Keys may be where SCAN has been already.
    pub missed_keys: bool,
    /// Messages of sharded channels may be published where nobody is subscribed yet.
    pub missed_shards: bool,
    /// Memory may be spent, so that connections to clients are cut off and requests refused.
    pub scarce_memory: bool,
}

/// Something that the script may do from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A slot changes hands at once, and the others learn it later.
    MoveSlot,
    /// A slot migrates key by key.
    MigrateSlot,
    /// A node joins and gets slots, or gives them back and leaves.
    JoinOrLeave,
    /// A node dies; it comes back, or another one takes over its keys and slots.
    Crash,
    /// A replica takes over from a master that is well.
    Failover,
    /// A master loses the others and is replaced, while clients still reach it.
    Partition,
    /// A replica loses its master for a while.
    Unlink,
    /// A connection of a server breaks.
    Cut,
    /// A server closes connections that are idle, or all.
    Close,
    /// A server does nothing for a while.
    Stall,
    /// The network holds back what travels on a connection for a while.
    Hold,
    /// Connects to a node are refused, or not answered, for a while.
    Unreachable,
    /// A server is loading and refuses the handshake.
    Loading,
    /// No descriptor is left for clients.
    NoDescriptors,
    /// Most memory is taken by something else for a while.
    Scarcity,
    /// A server forgets its scripts.
    ForgetScripts,
    /// The proxy gets another configuration.
    Reload,
    /// The clock on the wall is set, forward or back.
    SetClock,
    /// Two nodes refer those who ask for a slot to each other, for a while.
    Loop,
    /// A Sentinel dies for a while.
    SentinelCrash,
    /// A Sentinel does nothing for a while, or its connections break or are held.
    SentinelTrouble,
    /// A Sentinel does not know a group for a while.
    SentinelForgets,
    /// A Sentinel tells something that changes no master.
    SentinelGossip,
}

/// What a server does wrong, for each request that it executed.
#[derive(Clone, Debug, Default)]
pub struct ServerChances {
    /// It sends something that is not a reply.
    pub garbage: u64,
    /// It closes instead of replying.
    pub close: u64,
    /// It sends a part of the reply and closes.
    pub cut_reply: u64,
    /// It shuts down its half after the reply, and closes later.
    pub half_close: u64,
    /// It refuses a long request before it is whole, and closes.
    pub early_error: u64,
}

/// What a client does beside asking, for each burst.
#[derive(Clone, Debug, Default)]
pub struct ClientChances {
    /// It closes, wherever it is.
    pub leave: u64,
    /// It says that it is done, wherever it is, and waits for what it is owed.
    pub half_close: u64,
    /// It says QUIT.
    pub quit: u64,
    /// It says something that is no request.
    pub protocol_error: u64,
    /// It does not read for a while.
    pub deaf: u64,
    /// It says nothing for longer than the time-out.
    pub idle: u64,
}

/// The `MaxMemory` of the proxy, in bytes: more than it ever takes for itself.
pub const MEMORY: usize = 64 << 20;

fn forgets(deed: &Deed) -> bool {
    [Deed::Crash, Deed::ForgetScripts, Deed::JoinOrLeave].contains(deed)
}

impl Plan {
    /// The plan of a seed: a fifth of all runs are without any fault, a fifth have slots that move
    /// and nothing else, a fifth have difficult clients, and in the others every fault is there or
    /// not.
    pub fn draw(random: &mut Random) -> Plan {
        let sky = random.below(10);
        let kind = match random.below(8) {
            0..4 => Kind::Cluster,
            4..7 => Kind::Sentinel,
            _ => Kind::Standalone,
        };
        let mut plan = Plan::fair(kind, random);
        let mut moves = vec![Deed::MoveSlot, Deed::MigrateSlot, Deed::JoinOrLeave];
        if plan.replicas > 0 {
            moves.push(Deed::Failover);
        }
        let is_cluster = kind == Kind::Cluster;
        match sky {
            0 | 1 => {}
            2 if is_cluster => plan.deeds = vec![Deed::MoveSlot],
            3 if is_cluster => plan.deeds = moves,
            2 | 3 if kind == Kind::Sentinel => {
                plan.deeds = vec![Deed::Failover, Deed::SentinelGossip, Deed::SentinelCrash];
            }
            2..5 => plan.add_clients_faults(random, 1),
            5 => {
                if is_cluster {
                    plan.deeds = moves;
                }
                plan.add_clients_faults(random, 2);
            }
            _ => {
                plan.add_clients_faults(random, 2);
                plan.add_servers_faults(random);
            }
        }
        if random.one_in(4) {
            plan.reloads = true;
            plan.deeds.push(Deed::Reload);
        }
        if random.one_in(8) {
            plan.deeds.push(Deed::SetClock);
        }
        if plan.priorities[0] == 0 {
            // A master without replicas would have nobody to read from.
            plan.deeds.retain(|deed| *deed != Deed::JoinOrLeave);
        }
        let has_others = plan.has_channels || plan.has_resp3;
        if plan.has_transactions
            || plan.has_blocking
            || plan.has_scripts
            || plan.has_scans
            || has_others
        {
            // Only requests with keys wait until the servers are known.
            plan.begin_us = 1_000_000;
        }
        if !plan.deeds.is_empty() {
            plan.script_us = 1_000 << random.below(8);
        }
        plan.allows = Allowed {
            lossy: plan.is_lossy(),
            moved_slots: plan.moves_keys(),
            role_changes: plan.changes_roles(),
            split_slots: plan.deeds.contains(&Deed::MigrateSlot),
            resets: plan.platform.resets > 0,
            early_errors: plan.server.early_error > 0,
            forgotten_scripts: plan.changes_roles() || plan.deeds.iter().any(forgets),
            missed_keys: plan.moves_keys(),
            missed_shards: plan.moves_shards(),
            scarce_memory: false,
        };
        plan
    }

    /// Memory may be short in this run too. Last, so that all else is as without it.
    pub fn add_scarcity(&mut self, random: &mut Random) {
        if self.deeds.is_empty() {
            self.script_us = 1_000 << random.below(8);
        }
        self.deeds.push(Deed::Scarcity);
        self.allows.scarce_memory = true;
    }

    fn fair(kind: Kind, random: &mut Random) -> Plan {
        let bumpy = !random.one_in(4);
        // Tiny buffers and huge values together would take for ever.
        let is_large = random.one_in(6);
        let value_max = if is_large { 300_000 } else { 200 << random.below(8) };
        let capacity = match random.below(3) {
            0 if value_max < 2_000 => 16..=600,
            1 => 65_536..=262_144,
            _ => 4_096..=65_536,
        };
        let platform = if bumpy { Faults::bumpy() } else { Faults::none() };
        let masters = match kind {
            Kind::Cluster => 2 + random.index(2),
            Kind::Sentinel | Kind::Standalone => 1 + random.index(3),
        };
        let replicas = match kind {
            Kind::Cluster => [0, 0, 1, 2][random.index(4)],
            Kind::Sentinel => 1 + random.index(2),
            Kind::Standalone => random.index(3),
        };
        let policies =
            [[60, 0, 0], [60, 0, 0], [60, 50, 50], [50, 50, 50], [40, 60, 50], [0, 50, 50]];
        let hold_ms = if random.one_in(2) { 500 } else { random.below(3) * 700 };
        // Who asks Sentinels first has no servers for a moment, and requests may not wait.
        let waits = kind == Kind::Sentinel && (random.one_in(2) || hold_ms < 500);
        let has_databases = kind != Kind::Cluster && random.one_in(2);
        Plan {
            kind,
            handlers: 1 + random.index(2),
            masters,
            replicas,
            spare_nodes: usize::from(kind == Kind::Cluster),
            sentinels: 1 + random.index(3),
            sentinel_words: [[true, true], [true, true], [true, false], [false, true]]
                [random.index(4)],
            priorities: policies[random.index(if replicas == 0 { 3 } else { 6 })],
            lists_replicas: random.one_in(2),
            read_your_writes_ms: if random.one_in(2) { 0 } else { 10 << random.below(10) },
            hold_ms,
            begin_us: if waits { 1_000_000 } else { 0 },
            databases: if has_databases {
                2 + u32::try_from(random.below(4)).unwrap_or(0)
            } else {
                1
            },
            has_transactions: random.one_in(2),
            has_blocking: random.one_in(2),
            has_scripts: random.one_in(2),
            has_scans: random.one_in(2),
            has_channels: random.one_in(2),
            has_resp3: random.one_in(2),
            neighbour_us: 1_000 << random.below(8),
            lag_us: if random.one_in(3) { 0 } else { 1 << random.below(20) },
            serves_stale: random.one_in(2),
            clients: 3 + random.index(4),
            requests: 20 + u32::try_from(random.below(if is_large { 20 } else { 60 })).unwrap_or(0),
            tags: 1 + random.index(5),
            value_max,
            window: 1 << random.below(7),
            pause_us: 1 << random.below(16),
            platform: Faults {
                capacity,
                cut_writes: if bumpy { 2 + random.below(6) } else { 0 },
                split_events: random.one_in(4),
                shuffled_events: bumpy || random.one_in(2),
                delay_us: 0..=(1 << random.below(13)),
                ..platform
            },
            reply_us: if random.one_in(2) { 0 } else { 1 << random.below(14) },
            script_us: 0,
            deeds: Vec::new(),
            reloads: false,
            server: ServerChances::default(),
            client: ClientChances::default(),
            password: random.one_in(4),
            by_name: random.one_in(4),
            server_timeout_ms: 0,
            connect_timeout_ms: 1_000,
            client_timeout_s: 0,
            refresh_ms: if random.one_in(2) { 1_000 } else { 20 << random.below(5) },
            retry_ms: 20 << random.below(4),
            failure_limit: 1 + random.below(10),
            allows: Allowed::default(),
        }
    }

    fn add_clients_faults(&mut self, random: &mut Random, share: u64) {
        let mut chance = |most: u64| {
            if random.one_in(share + 1) { 0 } else { 4 + random.below(most) }
        };
        self.client = ClientChances {
            leave: chance(60),
            half_close: chance(60),
            quit: chance(100),
            protocol_error: chance(100),
            deaf: chance(20),
            idle: chance(100),
        };
        if random.one_in(3) {
            self.deeds.push(Deed::NoDescriptors);
        }
        if random.one_in(6) {
            self.deeds.push(Deed::ForgetScripts);
        }
        if random.one_in(3) {
            self.platform.accept_failures = 10;
        }
        if random.one_in(2) {
            self.client_timeout_s = 1;
        }
        if random.one_in(2) {
            self.platform.spurious_events = 10;
        }
    }

    fn add_servers_faults(&mut self, random: &mut Random) {
        let mut all = vec![
            Deed::Crash,
            Deed::Cut,
            Deed::Close,
            Deed::Stall,
            Deed::Hold,
            Deed::Unreachable,
            Deed::Loading,
            Deed::ForgetScripts,
        ];
        match self.kind {
            Kind::Cluster => all.extend([Deed::MoveSlot, Deed::MigrateSlot, Deed::JoinOrLeave]),
            Kind::Sentinel => all.extend([
                Deed::SentinelCrash,
                Deed::SentinelTrouble,
                Deed::SentinelForgets,
                Deed::SentinelGossip,
            ]),
            Kind::Standalone => {}
        }
        if self.replicas > 0 {
            all.push(Deed::Unlink);
            if self.kind != Kind::Standalone {
                all.extend([Deed::Failover, Deed::Partition]);
            }
        }
        self.deeds.extend(all.into_iter().filter(|_| random.one_in(3)));
        if self.kind == Kind::Cluster && random.one_in(12) {
            self.deeds.push(Deed::Loop);
        }
        let mut chance = |most: u64| if random.one_in(2) { 0 } else { 20 + random.below(most) };
        self.server = ServerChances {
            garbage: chance(300),
            close: chance(300),
            cut_reply: chance(300),
            half_close: chance(300),
            early_error: chance(60),
        };
        self.platform.resets = if random.one_in(2) { 0 } else { 200 + random.below(2_000) };
        self.platform.overtaking_resets = random.below(4);
        self.platform.refusals = if random.one_in(2) { 0 } else { 3 + random.below(20) };
        self.platform.silences = if random.one_in(2) { 0 } else { 5 + random.below(50) };
        if random.one_in(2) {
            self.server_timeout_ms = 50 << random.below(6);
        }
        self.connect_timeout_ms = 50 << random.below(5);
    }

    fn is_lossy(&self) -> bool {
        let ServerChances { garbage, close, cut_reply, half_close, early_error } = &self.server;
        let chances = garbage + close + cut_reply + half_close + early_error;
        let Faults { resets, refusals, silences, .. } = &self.platform;
        let harmless = [
            Deed::MoveSlot,
            Deed::MigrateSlot,
            Deed::JoinOrLeave,
            Deed::NoDescriptors,
            Deed::ForgetScripts,
            Deed::Reload,
            Deed::SetClock,
            Deed::SentinelCrash,
            Deed::SentinelTrouble,
            Deed::SentinelGossip,
        ];
        let is_harmless = |deed: &Deed| {
            // Who hands over in a cluster loses nothing and tells where to go, but other replicas
            // may be without a master for a moment.
            let hands_over = *deed == Deed::Failover && self.kind == Kind::Cluster;
            harmless.contains(deed) || (hands_over && (self.serves_stale || self.replicas < 2))
        };
        chances + resets + refusals + silences > 0 || !self.deeds.iter().all(is_harmless)
    }

    fn moves_keys(&self) -> bool {
        let moves = [Deed::MoveSlot, Deed::MigrateSlot, Deed::JoinOrLeave, Deed::Crash];
        // What a failover loses is lost.
        self.changes_roles() || self.deeds.iter().any(|deed| moves.contains(deed))
    }

    /// Whether other servers tell about the channels of a slot than before: who publishes there
    /// at once may be earlier than the one who subscribes.
    fn moves_shards(&self) -> bool {
        let moves = [Deed::MoveSlot, Deed::MigrateSlot, Deed::JoinOrLeave, Deed::Failover];
        self.deeds.iter().any(|deed| moves.contains(deed))
    }

    /// Whether the network carries little, so that much of what is published would clog it.
    pub fn is_narrow(&self) -> bool {
        *self.platform.capacity.start() < 1_000
    }

    /// Whether SCAN may miss keys.
    pub fn may_miss_keys(&self) -> bool {
        self.allows.missed_keys
    }

    fn changes_roles(&self) -> bool {
        let changes = [Deed::Failover, Deed::Partition, Deed::Crash];
        let may_fail_over = self.replicas > 0 && self.kind != Kind::Standalone;
        may_fail_over && self.deeds.iter().any(|deed| changes.contains(deed))
    }

    /// Masters and their replicas.
    pub fn members(&self) -> usize {
        self.masters * (1 + self.replicas)
    }

    /// All servers, also those that have not joined.
    pub fn servers(&self) -> usize {
        self.members() + self.spare_nodes
    }

    /// Whom a replica follows at the beginning.
    pub fn master_of(&self, replica: usize) -> usize {
        (replica - self.masters) / self.replicas
    }

    /// The replicas of a master at the beginning.
    pub fn replicas_of(&self, master: usize) -> std::ops::Range<usize> {
        let first = self.masters + master * self.replicas;
        first..first + self.replicas
    }

    /// Whether reads may go to replicas now.
    pub fn reads_replicas(&self) -> bool {
        let [_, fixed, found] = self.priorities;
        fixed + found > 0
    }

    /// Whether they may at any time.
    pub fn may_read_replicas(&self) -> bool {
        self.reads_replicas() || self.reloads && self.replicas > 0
    }

    /// Another configuration for the same servers, which promises clients no less.
    pub fn varied(&self, random: &mut Random) -> Plan {
        let policies = [[60, 0, 0], [60, 50, 50], [50, 50, 50], [40, 60, 50]];
        let is_same = |random: &mut Random| random.one_in(2);
        let mut plan = self.clone();
        if !is_same(random) {
            plan.priorities = policies[random.index(if self.replicas == 0 { 1 } else { 4 })];
        }
        if !is_same(random) {
            plan.lists_replicas = random.one_in(2);
        }
        if !is_same(random) {
            plan.refresh_ms = 20 << random.below(6);
        }
        if !is_same(random) {
            plan.retry_ms = 20 << random.below(4);
            plan.failure_limit = 1 + random.below(10);
        }
        plan.read_your_writes_ms *= 1 + random.below(2);
        plan.client_timeout_s *= 1 + random.below(2);
        plan
    }

    /// The configuration of the proxy, with the names of all servers and of the Sentinels.
    pub fn conf(&self, proxy: &str, servers: &[String], sentinels: &[String]) -> String {
        let list = |names: Vec<&String>| -> String {
            names.iter().map(|name| format!("        + {name}\n")).collect()
        };
        let listed = if self.lists_replicas { self.members() } else { self.masters };
        let password = if self.password { "    Password sesame\n" } else { "" };
        let [master, fixed, found] = self.priorities;
        let duration = |ms: u64| if ms == 0 { "0".to_owned() } else { format!("{ms}ms") };
        let common = format!(
            "{password}    MasterReadPriority {master}\n    StaticSlaveReadPriority {fixed}\n    \
             DynamicSlaveReadPriority {found}\n    RefreshInterval {}\n    ServerTimeout {}\n    \
             ConnectTimeout {}\n    ServerFailureLimit {}\n    ServerRetryTimeout {}\n    \
             FailoverHold {}\n    ReadYourWrites {}\n",
            duration(self.refresh_ms),
            duration(self.server_timeout_ms),
            duration(self.connect_timeout_ms),
            self.failure_limit,
            duration(self.retry_ms),
            duration(self.hold_ms),
            duration(self.read_your_writes_ms),
        );
        let group = |master: usize| {
            let mut members = vec![&servers[master]];
            let replicas = self.replicas_of(master);
            if self.kind == Kind::Standalone || self.lists_replicas {
                members.extend(&servers[replicas]);
            }
            if self.kind == Kind::Sentinel && !self.lists_replicas {
                members.clear();
            }
            format!("    Group shard{master} {{\n{}    }}\n", list(members))
        };
        let groups: String = (0..self.masters).map(group).collect();
        let pool = match self.kind {
            Kind::Cluster => format!(
                "ClusterServerPool {{\n{common}    Servers {{\n{}    }}\n}}\n",
                list(servers[..listed].iter().collect())
            ),
            Kind::Sentinel => format!(
                "SentinelServerPool {{\n{common}    Databases {}\n    Hash crc16\n    HashTag \"{{}}\"\n    \
                 Distribution modula\n    Sentinels {{\n{}    }}\n{groups}}}\n",
                self.databases,
                list(sentinels.iter().take(1).collect()),
            ),
            Kind::Standalone => format!(
                "StandaloneServerPool {{\n    RefreshMethod fixed\n{common}    Databases {}\n    Hash crc16\n    \
                 HashTag \"{{}}\"\n    Distribution modula\n{groups}}}\n",
                self.databases,
            ),
        };
        let memory = if self.allows.scarce_memory { MEMORY } else { 0 };
        format!(
            "Name sim\nBind {proxy}\nWorkerThreads {}\nClientTimeout {}\nMaxMemory {memory}\n{pool}",
            self.handlers, self.client_timeout_s,
        )
    }
}
