//! What kind of run a seed is: how many of each, and what goes wrong how often. Knows nothing of
//! how the run is made.

use predixy::base::random::Random;
use predixy::sys::sim::Faults;

/// All that is decided about a run before it begins. A chance of `n` is once in `n`, 0 is never.
#[derive(Debug)]
pub struct Plan {
    /// Threads of the proxy.
    pub handlers: usize,
    /// Nodes that own slots at the beginning.
    pub nodes: usize,
    /// A further node may join.
    pub spare_nodes: usize,
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

/// What may go wrong for a client, because something else goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// Connections to servers may fail, so that requests get errors.
    pub lossy: bool,
    /// Slots change hands.
    pub moved_slots: bool,
    /// Several keys of one slot may be in two places.
    pub split_slots: bool,
    /// Connections to clients may break.
    pub resets: bool,
    /// A server may refuse a long request.
    pub early_errors: bool,
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

impl Plan {
    /// The plan of a seed: a fifth of all runs are without any fault, a fifth have slots that move
    /// and nothing else, a fifth have difficult clients, and in the others every fault is there or
    /// not.
    pub fn draw(random: &mut Random) -> Plan {
        let sky = random.below(10);
        let mut plan = Plan::fair(random);
        match sky {
            0 | 1 => {}
            2 => plan.deeds = vec![Deed::MoveSlot],
            3 => plan.deeds = vec![Deed::MoveSlot, Deed::MigrateSlot, Deed::JoinOrLeave],
            4 => plan.add_clients_faults(random, 1),
            5 => {
                plan.deeds = vec![Deed::MoveSlot, Deed::MigrateSlot, Deed::JoinOrLeave];
                plan.add_clients_faults(random, 2);
            }
            _ => {
                plan.add_clients_faults(random, 2);
                plan.add_servers_faults(random);
            }
        }
        if !plan.deeds.is_empty() {
            plan.script_us = 1_000 << random.below(8);
        }
        plan.allows = Allowed {
            lossy: plan.is_lossy(),
            moved_slots: plan.moves_slots(),
            split_slots: plan.deeds.contains(&Deed::MigrateSlot),
            resets: plan.platform.resets > 0,
            early_errors: plan.server.early_error > 0,
        };
        plan
    }

    fn fair(random: &mut Random) -> Plan {
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
        Plan {
            handlers: 1 + random.index(2),
            nodes: 2 + random.index(2),
            spare_nodes: 1,
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
        let all = [
            Deed::MoveSlot,
            Deed::MigrateSlot,
            Deed::JoinOrLeave,
            Deed::Crash,
            Deed::Cut,
            Deed::Close,
            Deed::Stall,
            Deed::Hold,
            Deed::Unreachable,
            Deed::Loading,
        ];
        self.deeds.extend(all.into_iter().filter(|_| random.one_in(3)));
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
        let harmless = [Deed::MoveSlot, Deed::MigrateSlot, Deed::JoinOrLeave, Deed::NoDescriptors];
        chances + resets + refusals + silences > 0
            || self.deeds.iter().any(|deed| !harmless.contains(deed))
    }

    fn moves_slots(&self) -> bool {
        let moves = [Deed::MoveSlot, Deed::MigrateSlot, Deed::JoinOrLeave, Deed::Crash];
        self.deeds.iter().any(|deed| moves.contains(deed))
    }

    /// The configuration of the proxy.
    pub fn conf(&self, proxy: &str, servers: &[String]) -> String {
        let password = if self.password { "    Password sesame\n" } else { "" };
        let servers: String =
            servers.iter().map(|server| format!("        + {server}\n")).collect();
        let server_timeout = match self.server_timeout_ms {
            0 => "0".to_owned(),
            ms => format!("{ms}ms"),
        };
        format!(
            "Name sim\nBind {proxy}\nWorkerThreads {}\nClientTimeout {}\n\
             ClusterServerPool {{\n{password}    MasterReadPriority 60\n    RefreshInterval {}ms\n    \
             ServerTimeout {server_timeout}\n    ConnectTimeout {}ms\n    ServerFailureLimit {}\n    \
             ServerRetryTimeout {}ms\n    Servers {{\n{servers}    }}\n}}\n",
            self.handlers,
            self.client_timeout_s,
            self.refresh_ms,
            self.connect_timeout_ms,
            self.failure_limit,
            self.retry_ms,
        )
    }
}
