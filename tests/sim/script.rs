//! What happens to the cluster and to the network in the course of a run, and how it ends well.
//! Knows no clients but the slots of their keys.

use predixy::base::random::Random;
use predixy::sys::Endpoint;
use predixy::sys::sim::{Fate, World};

use super::cluster::Cluster;
use super::plan::{Deed, Plan};
use super::server::Server;

/// What is still to happen.
pub struct Script {
    random: Random,
    next_us: u64,
    slots: Vec<u16>,
    /// When each of the slots moved last.
    moved_us: Vec<u64>,
    later: Vec<(u64, Later)>,
    /// The node that is dead, and the one that gives its slots back.
    dead: Option<usize>,
    leaving: Option<usize>,
}

/// Something that follows from what has happened.
#[derive(Clone, Copy, Debug)]
enum Later {
    Enlighten(usize),
    MigrateKey(u16),
    Restart(usize),
    TakeOver(usize),
    Release(usize),
    Reachable(usize),
    Remove(usize),
    SwitchOff(usize),
}

/// A slot that has moved does not move again so soon, or requests would follow it for ever.
const PAUSE_US: u64 = 400_000;

impl Script {
    pub fn new(slots: Vec<u16>) -> Script {
        let moved_us = vec![0; slots.len()];
        let random = World::random();
        Script { random, next_us: 0, slots, moved_us, later: Vec::new(), dead: None, leaving: None }
    }

    /// Does what is due.
    pub fn turn(&mut self, cluster: &mut Cluster, servers: &mut [Server], plan: &Plan) {
        let now_us = World::now_us();
        while let Some(place) = self.later.iter().position(|(at_us, _)| *at_us <= now_us) {
            let (_, later) = self.later.remove(place);
            self.follow(later, cluster, servers);
        }
        if plan.deeds.is_empty() || now_us < self.next_us {
            return;
        }
        if self.next_us > 0 {
            let deed = plan.deeds[self.random.index(plan.deeds.len())];
            self.act(deed, cluster, servers);
        }
        self.next_us = now_us + 1 + self.random.below(2 * plan.script_us);
        World::alarm(self.next_us);
    }

    /// Ends all that was begun: everybody is there, and everybody knows.
    pub fn finish(&mut self, cluster: &mut Cluster, servers: &mut [Server]) {
        while let Some((_, later)) = self.later.pop() {
            // Who leaves does not come back; everything else is brought to its end.
            if !matches!(later, Later::MigrateKey(_)) {
                self.follow(later, cluster, servers);
            }
        }
        for slot in cluster.migrations() {
            cluster.finish_migration(slot);
        }
        for (node, server) in servers.iter_mut().enumerate() {
            server.stalled_until_us = 0;
            server.loading_until_us = 0;
            server.hold(false);
            World::set_fate(&Endpoint::Ip(cluster.nodes[node].address), Fate::Answer);
            if cluster.nodes[node].is_member {
                if !server.is_up() {
                    server.start(cluster);
                }
                cluster.nodes[node].is_failed = false;
                cluster.enlighten(node);
            }
        }
        World::fail_accepts(0);
    }

    fn after(&mut self, us: u64, later: Later) {
        let at_us = World::now_us() + us;
        World::alarm(at_us);
        self.later.push((at_us, later));
    }

    fn act(&mut self, deed: Deed, cluster: &mut Cluster, servers: &mut [Server]) {
        let up: Vec<usize> = (0..servers.len()).filter(|node| servers[*node].is_up()).collect();
        let some = up[self.random.index(up.len())];
        let short_us = 1_000 << self.random.below(11);
        World::note(&format!("script: {deed:?} {some}"));
        match deed {
            Deed::MoveSlot => self.move_slot(cluster, servers, false),
            Deed::MigrateSlot => self.move_slot(cluster, servers, true),
            Deed::JoinOrLeave => self.join_or_leave(cluster, servers),
            Deed::Crash => self.crash(some, cluster, servers),
            Deed::Cut => servers[some].cut_one(&mut self.random),
            Deed::Close => servers[some].close_some(self.random.one_in(3)),
            Deed::Stall => {
                servers[some].stalled_until_us = World::now_us() + short_us;
                World::alarm(World::now_us() + short_us);
            }
            Deed::Hold => {
                servers[some].hold(true);
                self.after(short_us, Later::Release(some));
            }
            Deed::Unreachable => {
                let fate = if self.random.one_in(2) { Fate::Refuse } else { Fate::Silence };
                World::set_fate(&Endpoint::Ip(cluster.nodes[some].address), fate);
                self.after(short_us, Later::Reachable(some));
            }
            Deed::Loading => {
                servers[some].loading_until_us = World::now_us() + short_us;
                servers[some].close_some(true);
            }
            Deed::NoDescriptors => {
                World::fail_accepts(1 + u32::try_from(self.random.below(3)).unwrap_or(0));
            }
        }
    }

    /// Who may get a slot.
    fn heir(&mut self, cluster: &Cluster, servers: &[Server], from: usize) -> Option<usize> {
        let heirs: Vec<usize> = (0..servers.len())
            .filter(|node| {
                let is_well = servers[*node].is_up() && cluster.nodes[*node].is_member;
                is_well && *node != from && self.leaving != Some(*node)
            })
            .collect();
        heirs.get(self.random.index(heirs.len())).copied()
    }

    fn move_slot(&mut self, cluster: &mut Cluster, servers: &[Server], slowly: bool) {
        let place = self.random.index(self.slots.len());
        let slot = self.slots[place];
        let from = cluster.owner(slot);
        let is_recent = World::now_us() < self.moved_us[place] + PAUSE_US;
        if is_recent || cluster.is_migrating(slot) || Some(from) == self.dead {
            return;
        }
        let Some(to) = self.heir(cluster, servers, from) else { return };
        self.moved_us[place] = World::now_us();
        World::note(&format!("script: slot {slot} from {from} to {to}, slowly: {slowly}"));
        if slowly {
            cluster.begin_migration(slot, to);
            let us = self.random.below(20_000);
            self.after(us, Later::MigrateKey(slot));
        } else {
            cluster.move_slot(slot, to);
            self.spread(servers.len());
        }
    }

    /// Lets everybody learn what is new, each in its time.
    fn spread(&mut self, nodes: usize) {
        for node in 0..nodes {
            let us = self.random.below(100_000);
            self.after(us, Later::Enlighten(node));
        }
    }

    fn join_or_leave(&mut self, cluster: &mut Cluster, servers: &mut [Server]) {
        let spare = servers.len() - 1;
        if self.leaving.is_some() || self.dead.is_some() {
            return;
        }
        if !cluster.nodes[spare].is_member {
            servers[spare].start(cluster);
            cluster.nodes[spare].is_member = true;
            cluster.enlighten(spare);
            return;
        }
        // There and back within one round trip is more than any proxy can follow.
        let now_us = World::now_us();
        let is_recent = self.moved_us.iter().any(|moved_us| now_us < moved_us + PAUSE_US / 4);
        if is_recent || !cluster.migrations().is_empty() {
            return;
        }
        self.leaving = Some(spare);
        self.moved_us.fill(now_us);
        for slot in (0..16384).filter(|slot| cluster.owner(*slot) == spare).collect::<Vec<_>>() {
            if let Some(to) = self.heir(cluster, servers, spare) {
                cluster.move_slot(slot, to);
            }
        }
        for node in 0..servers.len() {
            cluster.enlighten(node);
        }
        self.after(3_000_000, Later::Remove(spare));
    }

    fn crash(&mut self, node: usize, cluster: &mut Cluster, servers: &mut [Server]) {
        let well = servers.iter().filter(|server| server.is_up()).count();
        if self.dead.is_some()
            || self.leaving == Some(node)
            || !cluster.nodes[node].is_member
            || well < 2
        {
            return;
        }
        self.dead = Some(node);
        servers[node].die();
        let us = self.random.below(800_000);
        if self.random.one_in(2) {
            self.after(us, Later::TakeOver(node));
            let more_us = self.random.below(800_000);
            self.after(us + more_us, Later::Restart(node));
        } else {
            self.after(us, Later::Restart(node));
        }
    }

    fn follow(&mut self, later: Later, cluster: &mut Cluster, servers: &mut [Server]) {
        World::note(&format!("script: {later:?}"));
        match later {
            Later::Enlighten(node) => cluster.enlighten(node),
            Later::MigrateKey(slot) => {
                let us = self.random.below(20_000);
                if cluster.migrate_key(slot) {
                    self.after(us, Later::MigrateKey(slot));
                } else {
                    cluster.finish_migration(slot);
                    self.spread(servers.len());
                }
            }
            Later::Restart(node) => {
                if !servers[node].is_up() {
                    servers[node].start(cluster);
                }
                cluster.nodes[node].is_failed = false;
                cluster.enlighten(node);
                self.dead = None;
            }
            Later::TakeOver(node) => {
                let Some(heir) = self.heir(cluster, servers, node) else { return };
                if !servers[node].is_up() {
                    cluster.nodes[node].is_failed = true;
                    cluster.take_over(node, heir);
                    self.spread(servers.len());
                }
            }
            Later::Release(node) => servers[node].hold(false),
            Later::Reachable(node) => {
                World::set_fate(&Endpoint::Ip(cluster.nodes[node].address), Fate::Answer);
            }
            Later::Remove(node) => {
                cluster.nodes[node].is_member = false;
                self.after(2_500_000, Later::SwitchOff(node));
            }
            Later::SwitchOff(node) => {
                servers[node].die();
                self.leaving = None;
            }
        }
    }
}
