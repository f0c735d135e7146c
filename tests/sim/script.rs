//! What happens to servers, Sentinels and network in the course of a run, and how it ends well.
//! Knows no clients but the slots of their keys.

use predixy::base::random::Random;
use predixy::sys::Endpoint;
use predixy::sys::sim::{Fate, World};

use super::model::Model;
use super::plan::{Deed, Kind, MEMORY, Plan};
use super::server::Server;

/// What is still to happen.
pub struct Script {
    random: Random,
    next_us: u64,
    has_begun: bool,
    /// A slot that has moved does not move again so soon: there and back in a round trip is more
    /// than any proxy can follow.
    pause_us: u64,
    /// A round trip may take most of a second, because the network carries so little.
    is_narrow: bool,
    slots: Vec<u16>,
    /// When each of the slots moved last.
    moved_us: Vec<u64>,
    later: Vec<(u64, Later)>,
    /// The server that is dead or cut off, and the one that gives its slots back.
    dead: Option<usize>,
    leaving: Option<usize>,
    dead_sentinel: Option<usize>,
    /// When a group last got a new master.
    promoted_us: u64,
    /// Until then accepts do not fail again.
    accepts_us: u64,
    /// Until then memory does not become short again.
    scarce_us: u64,
    /// The proxy is to get another configuration.
    pub wants_reload: bool,
    reload_us: u64,
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
    /// A server that was cut off notices it, and is found again.
    Isolate(usize),
    Heal(usize),
    /// A replica has its master again.
    Link(usize),
    /// A server of a group is told whom to follow.
    Demote(usize),
    /// A Sentinel comes back, looks at the servers, learns who the master of a group is.
    StartSentinel(usize),
    Look(usize),
    Learn(usize, usize),
    Remember(usize, usize),
    /// The memory that was taken is there again.
    Plenty,
}

/// A group does not get two new masters in a time in which not all Sentinels have heard of the
/// first, and nobody has asked them.
const TERM_US: u64 = 2_500_000;

/// How long clients are let in after descriptors were missing: otherwise nobody ever is.
const ACCEPTS_US: u64 = 1_000_000;
/// A configuration is in force for so long at least.
const RELOAD_US: u64 = 200_000;

impl Script {
    pub fn new(slots: Vec<u16>, plan: &Plan) -> Script {
        let moved_us = vec![0; slots.len()];
        let random = World::random();
        Script {
            random,
            next_us: World::now_us() + plan.begin_us,
            pause_us: if plan.is_narrow() { 2_000_000 } else { 400_000 },
            is_narrow: plan.is_narrow(),
            has_begun: false,
            slots,
            moved_us,
            later: Vec::new(),
            dead: None,
            leaving: None,
            dead_sentinel: None,
            promoted_us: 0,
            accepts_us: 0,
            scarce_us: 0,
            wants_reload: false,
            reload_us: 0,
        }
    }

    /// Does what is due.
    pub fn turn(&mut self, model: &mut Model, servers: &mut [Server], plan: &Plan) {
        let now_us = World::now_us();
        while let Some(place) = self.later.iter().position(|(at_us, _)| *at_us <= now_us) {
            let (_, later) = self.later.remove(place);
            self.follow(later, model, servers);
        }
        if plan.deeds.is_empty() || now_us < self.next_us {
            return;
        }
        if self.has_begun {
            let deed = plan.deeds[self.random.index(plan.deeds.len())];
            self.act(deed, model, servers, plan);
        }
        self.has_begun = true;
        self.next_us = now_us + 1 + self.random.below(2 * plan.script_us);
        World::alarm(self.next_us);
    }

    /// Ends all that was begun: everybody is there, and everybody knows.
    pub fn finish(&mut self, model: &mut Model, servers: &mut [Server]) {
        self.later.clear();
        for (index, server) in servers.iter_mut().enumerate() {
            server.stalled_until_us = 0;
            server.loading_until_us = 0;
            server.hold(false);
            World::set_fate(&Endpoint::Ip(model.address(index)), Fate::Answer);
            let is_member = model.nodes.get(index).is_none_or(|node| node.is_member);
            if is_member && !server.is_up() {
                server.start(model);
            }
        }
        model.settle();
        World::fail_accepts(0);
        World::take_memory(0);
    }

    fn after(&mut self, us: u64, later: Later) {
        let at_us = World::now_us() + us;
        World::alarm(at_us);
        self.later.push((at_us, later));
    }

    fn act(&mut self, deed: Deed, model: &mut Model, servers: &mut [Server], plan: &Plan) {
        let nodes = model.nodes.len();
        let up: Vec<usize> = (0..nodes).filter(|node| servers[*node].is_up()).collect();
        let Some(some) = up.get(self.random.index(up.len())).copied() else { return };
        let short_us = 1_000 << self.random.below(11);
        World::note(format_args!("script: {deed:?} {some}"));
        match deed {
            Deed::MoveSlot => self.move_slot(model, servers, false),
            Deed::MigrateSlot => self.move_slot(model, servers, true),
            Deed::JoinOrLeave => self.join_or_leave(model, servers),
            Deed::Crash => self.crash(some, model, servers, plan),
            Deed::Failover => self.fail_over(model, servers),
            Deed::Partition => self.cut_off(model, servers),
            Deed::Unlink => {
                if model.data.master_of(some).is_some() {
                    model.data.cut(some);
                    self.after(short_us, Later::Link(some));
                }
            }
            Deed::Cut => servers[some].cut_one(&mut self.random),
            Deed::Close => servers[some].close_some(self.random.one_in(3)),
            Deed::Stall => stall(&mut servers[some], short_us),
            Deed::Hold => {
                servers[some].hold(true);
                self.after(short_us, Later::Release(some));
            }
            Deed::Unreachable => {
                let fate = if self.random.one_in(2) { Fate::Refuse } else { Fate::Silence };
                World::set_fate(&Endpoint::Ip(model.address(some)), fate);
                self.after(short_us, Later::Reachable(some));
            }
            Deed::Loading => {
                servers[some].loading_until_us = World::now_us() + short_us;
                World::alarm(World::now_us() + short_us);
                if self.random.one_in(2) {
                    servers[some].close_some(true);
                }
            }
            Deed::ForgetScripts => model.nodes[some].knows_script = false,
            Deed::Reload if World::now_us() >= self.reload_us => {
                self.reload_us = World::now_us() + RELOAD_US;
                self.wants_reload = true;
            }
            Deed::SetClock => {
                let us = 1_i64 << self.random.below(42);
                World::shift_wall(if self.random.one_in(2) { us } else { -us });
            }
            Deed::Loop => self.confuse(model, servers, short_us),
            Deed::NoDescriptors if World::now_us() >= self.accepts_us => {
                self.accepts_us = World::now_us() + ACCEPTS_US;
                World::fail_accepts(1 + u32::try_from(self.random.below(3)).unwrap_or(0));
            }
            Deed::Scarcity if World::now_us() >= self.scarce_us => self.take_memory(plan),
            Deed::NoDescriptors | Deed::Reload | Deed::Scarcity => {}
            Deed::SentinelCrash
            | Deed::SentinelTrouble
            | Deed::SentinelForgets
            | Deed::SentinelGossip => self.trouble_a_sentinel(deed, model, servers),
        }
    }

    /// Something else takes so much memory that it becomes short, or that nobody is accepted, or that
    /// somebody has to go; or just not, so that it is what clients have that decides.
    fn take_memory(&mut self, plan: &Plan) {
        let marks = [MEMORY / 2, MEMORY / 16 * 11, MEMORY / 8 * 7, MEMORY / 64 * 59, MEMORY];
        let below = if self.random.one_in(3) { 0 } else { 1 << self.random.below(21) };
        let bytes = marks[self.random.index(marks.len())] - below;
        // For longer only if connections to servers may be lost.
        let longest = if plan.allows.lossy { 4_000_000 } else { 400_000 };
        let us = self.random.below(longest);
        World::note(format_args!("script: {bytes} bytes are taken for {us} us"));
        World::take_memory(bytes);
        self.after(us, Later::Plenty);
        self.scarce_us = World::now_us() + us + self.random.below(1_000_000);
    }

    fn trouble_a_sentinel(&mut self, deed: Deed, model: &mut Model, servers: &mut [Server]) {
        let sentinel = self.random.index(model.sentinels.len());
        let index = model.nodes.len() + sentinel;
        let short_us = 1_000 << self.random.below(11);
        match deed {
            Deed::SentinelCrash if self.dead_sentinel.is_none() => {
                self.dead_sentinel = Some(sentinel);
                servers[index].die();
                self.after(short_us, Later::StartSentinel(sentinel));
            }
            Deed::SentinelTrouble => match self.random.below(4) {
                0 => servers[index].cut_one(&mut self.random),
                1 => servers[index].close_some(true),
                2 => stall(&mut servers[index], short_us),
                _ => {
                    servers[index].hold(true);
                    self.after(short_us, Later::Release(index));
                }
            },
            Deed::SentinelForgets => {
                let group = self.random.index(model.groups().all.len());
                model.sentinels.forget(sentinel, group, true);
                self.after(short_us, Later::Remember(sentinel, group));
            }
            Deed::SentinelGossip => {
                let text = format!("slave 10.0.1.{short_us}:7001");
                model.sentinels.gossip(sentinel, text);
            }
            _ => {}
        }
    }

    /// Who may get a slot.
    fn heir(&mut self, model: &Model, servers: &[Server], from: usize) -> Option<usize> {
        let heirs: Vec<usize> = (0..model.nodes.len())
            .filter(|node| {
                let is_well = servers[*node].is_up()
                    && model.nodes[*node].is_member
                    && model.slots().is_master(*node);
                let is_free = self.leaving != Some(*node) && self.dead != Some(*node);
                is_well && is_free && *node != from
            })
            .collect();
        heirs.get(self.random.index(heirs.len())).copied()
    }

    fn move_slot(&mut self, model: &mut Model, servers: &[Server], slowly: bool) {
        let place = self.random.index(self.slots.len());
        let slot = self.slots[place];
        let from = model.slots().owner(slot);
        let is_recent = World::now_us() < self.moved_us[place] + self.pause_us;
        if is_recent || model.slots().is_migrating(slot) || Some(from) == self.dead {
            return;
        }
        let Some(to) = self.heir(model, servers, from) else { return };
        self.moved_us[place] = World::now_us();
        World::note(format_args!("script: slot {slot} from {from} to {to}, slowly: {slowly}"));
        if slowly {
            model.begin_migration(slot, to);
            let us = self.random.below(20_000);
            self.after(us, Later::MigrateKey(slot));
        } else {
            model.move_slot(slot, to);
            self.spread(model.nodes.len());
        }
    }

    /// Two nodes believe each other to be the owner of a slot.
    fn confuse(&mut self, model: &mut Model, servers: &[Server], us: u64) {
        let slot = self.slots[self.random.index(self.slots.len())];
        let owner = model.slots().owner(slot);
        let is_free = !model.slots().is_migrating(slot) && Some(owner) != self.dead;
        let Some(other) = self.heir(model, servers, owner).filter(|_| is_free) else { return };
        World::note(format_args!("script: {owner} and {other} disagree about {slot}"));
        model.slots_mut().confuse(slot, owner, other);
        for node in [owner, other] {
            self.after(us, Later::Enlighten(node));
        }
    }

    /// Lets everybody learn what is new, each in its time.
    fn spread(&mut self, nodes: usize) {
        for node in 0..nodes {
            let us = self.random.below(100_000);
            self.after(us, Later::Enlighten(node));
        }
    }

    fn join_or_leave(&mut self, model: &mut Model, servers: &mut [Server]) {
        let spare = model.nodes.len() - 1;
        if self.leaving.is_some() || self.dead.is_some() {
            return;
        }
        if !model.nodes[spare].is_member {
            servers[spare].start(model);
            model.nodes[spare].is_member = true;
            model.enlighten(spare);
            return;
        }
        // There and back within one round trip is more than any proxy can follow.
        let now_us = World::now_us();
        let pause_us = if self.is_narrow { self.pause_us } else { self.pause_us / 4 };
        let is_recent = self.moved_us.iter().any(|moved_us| now_us < moved_us + pause_us);
        if is_recent || !model.slots().migrations().is_empty() {
            return;
        }
        self.leaving = Some(spare);
        self.moved_us.fill(now_us);
        for slot in
            (0..16384).filter(|slot| model.slots().owner(*slot) == spare).collect::<Vec<_>>()
        {
            if let Some(to) = self.heir(model, servers, spare) {
                model.move_slot(slot, to);
            }
        }
        for node in 0..model.nodes.len() {
            model.enlighten(node);
        }
        self.after(3_000_000, Later::Remove(spare));
    }

    fn crash(&mut self, node: usize, model: &mut Model, servers: &mut [Server], plan: &Plan) {
        let well = servers[..model.nodes.len()].iter().filter(|server| server.is_up()).count();
        let is_cluster = model.is_cluster();
        if self.dead.is_some()
            || self.leaving == Some(node)
            || !model.nodes[node].is_member
            || (is_cluster && well < 2)
        {
            return;
        }
        self.dead = Some(node);
        model.lose_touch(node);
        servers[node].die();
        model.nodes[node].knows_script = false;
        let us = self.random.below(800_000);
        if plan.kind != Kind::Standalone && self.random.one_in(2) {
            self.after(us, Later::TakeOver(node));
            let more_us = self.random.below(800_000);
            self.after(us + more_us, Later::Restart(node));
        } else {
            self.after(us, Later::Restart(node));
        }
    }

    /// A replica that can take over from a server.
    fn successor(&mut self, model: &Model, servers: &[Server], old: usize) -> Option<usize> {
        let mut replicas = model.data.replicas_of(old);
        replicas.retain(|replica| servers[*replica].is_up() && model.data.has_data(*replica));
        replicas.get(self.random.index(replicas.len())).copied()
    }

    /// A master that is in use, with a replica that can take over.
    fn pair(&mut self, model: &Model, servers: &[Server]) -> Option<(usize, usize)> {
        if self.dead.is_some() {
            return None;
        }
        let is_master = |node: &usize| {
            model.is_master(*node)
                && model.data.master_of(*node).is_none()
                && servers[*node].is_up()
                && model.nodes[*node].is_member
                && !model.nodes[*node].is_isolated
                && !model.data.replicas_of(*node).is_empty()
        };
        let masters: Vec<usize> = (0..model.nodes.len()).filter(is_master).collect();
        let old = masters.get(self.random.index(masters.len())).copied()?;
        Some((old, self.successor(model, servers, old)?))
    }

    /// A master that is well hands over.
    fn fail_over(&mut self, model: &mut Model, servers: &mut [Server]) {
        let Some((old, heir)) = self.pair(model, servers) else { return };
        if !model.data.is_linked(heir) {
            return;
        }
        if model.is_cluster() {
            // Twice within one round trip is more than any proxy can follow.
            let now_us = World::now_us();
            let is_recent = self.moved_us.iter().any(|moved_us| now_us < moved_us + self.pause_us);
            if !is_recent && model.slots().migrations().is_empty() {
                World::note(format_args!("script: {heir} takes over from {old}, both are well"));
                self.moved_us.fill(now_us);
                model.swap_in_cluster(old, heir);
                self.spread(model.nodes.len());
            }
        } else if World::now_us() >= self.promoted_us + TERM_US {
            self.promote(model, servers, old, heir);
            let us = self.random.below(200_000);
            self.after(us, Later::Demote(old));
        }
    }

    /// A replica becomes master of its group, and the Sentinels learn it one after the other.
    fn promote(&mut self, model: &mut Model, servers: &mut [Server], old: usize, heir: usize) {
        let group = model.groups().group_with(old);
        self.promoted_us = World::now_us();
        World::note(format_args!("script: {heir} takes over from {old}"));
        model.promote_in_group(group, heir);
        if self.random.one_in(2) {
            servers[heir].close_some(true);
        }
        let count = model.sentinels.len();
        let first = self.random.index(count);
        for sentinel in 0..count {
            let us = if sentinel == first { 0 } else { self.random.below(300_000) };
            self.after(us, Later::Learn(sentinel, group));
        }
        for member in model.groups().all[group].members.clone() {
            if member != old && member != heir {
                let us = self.random.below(300_000);
                self.after(us, Later::Demote(member));
            }
        }
    }

    /// A master loses the others, which replace it; clients reach it all the same, for a while.
    fn cut_off(&mut self, model: &mut Model, servers: &mut [Server]) {
        let Some((old, _)) = self.pair(model, servers) else { return };
        self.dead = Some(old);
        model.lose_touch(old);
        let (notices_us, replaced_us) =
            (self.random.below(400_000), 1 + self.random.below(400_000));
        if model.is_cluster() {
            self.after(notices_us, Later::Isolate(old));
        } else if self.random.one_in(2) {
            stall(&mut servers[old], replaced_us + self.random.below(400_000));
        }
        self.after(replaced_us, Later::TakeOver(old));
        let healed_us = replaced_us + self.random.below(800_000);
        self.after(healed_us, Later::Heal(old));
    }

    fn take_over(&mut self, node: usize, model: &mut Model, servers: &mut [Server]) {
        let heir = self.successor(model, servers, node);
        if model.data.master_of(node).is_some() || !model.is_master(node) {
            return;
        }
        model.nodes[node].is_failed = true;
        match heir {
            Some(heir) if model.is_cluster() => {
                World::note(format_args!("script: {heir} takes over from {node}"));
                model.promote_in_cluster(node, heir);
                self.moved_us.fill(World::now_us());
                self.spread(model.nodes.len());
            }
            Some(heir) if World::now_us() >= self.promoted_us + TERM_US => {
                self.promote(model, servers, node, heir);
            }
            None if model.is_cluster() && model.data.replicas_of(node).is_empty() => {
                let Some(heir) = self.heir(model, servers, node) else { return };
                if !servers[node].is_up() {
                    model.inherit(node, heir);
                    self.moved_us.fill(World::now_us());
                    self.spread(model.nodes.len());
                }
            }
            _ => {}
        }
    }

    /// A server is there again, and told what is so.
    fn come_back(&mut self, node: usize, model: &mut Model) {
        model.nodes[node].is_failed = false;
        self.dead = None;
        for replica in model.data.replicas_of(node) {
            model.data.mend(replica, model.sync_us);
        }
        let us = self.random.below(50_000);
        if model.is_cluster() {
            model.nodes[node].is_isolated = true;
            self.after(us, Later::Enlighten(node));
        } else {
            self.after(us, Later::Demote(node));
        }
    }

    fn follow(&mut self, later: Later, model: &mut Model, servers: &mut [Server]) {
        World::note(format_args!("script: {later:?}"));
        match later {
            Later::Enlighten(node) => {
                if self.dead != Some(node) {
                    model.enlighten(node);
                }
            }
            Later::MigrateKey(slot) => {
                let us = self.random.below(20_000);
                if model.migrate_key(slot) {
                    self.after(us, Later::MigrateKey(slot));
                } else {
                    model.finish_migration(slot);
                    self.spread(model.nodes.len());
                }
            }
            Later::Restart(node) => {
                if !servers[node].is_up() {
                    servers[node].start(model);
                }
                self.come_back(node, model);
            }
            Later::TakeOver(node) => self.take_over(node, model, servers),
            Later::Release(node) => servers[node].hold(false),
            Later::Reachable(node) => {
                World::set_fate(&Endpoint::Ip(model.address(node)), Fate::Answer);
            }
            Later::Remove(node) => {
                model.nodes[node].is_member = false;
                self.after(2_500_000, Later::SwitchOff(node));
            }
            Later::SwitchOff(node) => {
                servers[node].die();
                self.leaving = None;
            }
            Later::Isolate(node) => {
                model.nodes[node].is_isolated |= self.dead == Some(node);
            }
            Later::Heal(node) => self.come_back(node, model),
            Later::Link(node) => model.data.mend(node, model.sync_us),
            Later::Demote(node) => {
                let was_master = model.data.master_of(node).is_none();
                model.demote_in_group(node);
                if was_master && self.random.one_in(2) {
                    servers[node].close_some(true);
                }
            }
            Later::StartSentinel(sentinel) => {
                servers[model.nodes.len() + sentinel].start(model);
                model.sentinels.restart(sentinel);
                self.dead_sentinel = None;
                let us = self.random.below(500_000);
                self.after(us, Later::Look(sentinel));
            }
            Later::Look(sentinel) => model.sentinels.look(sentinel),
            Later::Learn(sentinel, group) => model.sentinel_learns(sentinel, group),
            Later::Plenty => World::take_memory(0),
            Later::Remember(sentinel, group) => model.sentinels.forget(sentinel, group, false),
        }
    }
}

/// A server does nothing for a while.
fn stall(server: &mut Server, us: u64) {
    server.stalled_until_us = World::now_us() + us;
    World::alarm(World::now_us() + us);
}
