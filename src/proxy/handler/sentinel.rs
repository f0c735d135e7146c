//! What the proxy asks of Sentinels, and what it does with their answers.
//!
//! Handler 0 does it for all: it asks one Sentinel after the other at intervals, all of them when
//! there is a reason, and listens to one, so that a failover is acted upon when it happens. Who
//! is believed when they disagree is decided in the pool layer.

use std::mem;
use std::sync::Arc;

use super::super::connect_connection::LinkState;
use super::super::lane::Lane;
use super::super::request::{Errand, LinkId, Question};
use super::super::shared::Mail;
use super::Handler;
use super::loss::Loss;
use super::upkeep::{Chore, REFRESH_PAUSE_US};
use crate::base::address::Address;
use crate::base::order;
use crate::base::sorted_map::{SortedMap, SortedSet};
use crate::pool::{
    GroupId, MasterSwitch, Peer, Role, Said, SentinelViews, ServerGroup, ServerId, Topology,
    Verdict, master_address,
};
use crate::resp::reply::Reply;
use crate::resp::writer::Sink;
use crate::{log_debug, log_notice, log_warn};

/// What handler 0 knows of the Sentinels beside the topology.
#[derive(Default)]
pub(super) struct SentinelWatch {
    /// The link on which one of them tells what happens.
    subscription: Option<LinkId>,
    /// Somebody has refused to; nobody is asked before, in microseconds of the monotonic clock.
    listen_after_us: u64,
    /// Counts the Sentinels that were asked in their turn, or listened to.
    turn: usize,
    /// There is a reason to ask all of them.
    ask_all: bool,
    views: SentinelViews,
    /// What a Sentinel has just said about a group, for the answers that follow.
    masters: SortedMap<(ServerId, GroupId), MasterState>,
    /// Lists that were worked through, with the version of the topology that they led to.
    lists: SortedMap<(Question, GroupId, ServerId), (u64, Vec<Peer>)>,
    /// Some Sentinel does not know the old word for replicas; those before Redis 5 know no other.
    says_replicas: bool,
    /// Groups that no Sentinel knows, as far as that was logged.
    unknown: SortedSet<GroupId>,
}

/// What `SENTINEL master` tells and the other answers do not.
#[derive(Clone)]
struct MasterState {
    epoch: Option<u64>,
    /// Whose replicas it lists. In the middle of a failover that is still the old master.
    of: Option<Address>,
    /// The Sentinel has asked the master who its replicas are since it was started.
    has_looked: bool,
}

/// What a Sentinel is listened to for: what changes masters, and what may change replicas.
const CHANNELS: [&[u8]; 7] = [
    SWITCH_MASTER,
    b"+promoted-slave",
    b"+monitor",
    b"+slave",
    b"+sdown",
    b"-sdown",
    b"+convert-to-slave",
];
const SWITCH_MASTER: &[u8] = b"+switch-master";
/// A Sentinel that has told nothing for so long is asked whether it is still there.
const QUIET_US: u64 = 2_000_000;
/// Who was refused a subscription does not ask again so soon.
const REFUSED_US: u64 = 1_000_000;
/// With many groups a reason to ask comes to nothing more often than this for each.
const PAUSE_PER_GROUP_US: u64 = 1_000;

impl Handler {
    /// Something has happened that makes what Sentinels said doubtful.
    pub(super) fn doubt_sentinels(&mut self) {
        self.sentinels.ask_all = true;
        let pause_us = self.sentinel_pause_us();
        let earliest_us = self.shared.refreshed_us() + pause_us;
        self.deadlines.advance(Chore::Refresh, earliest_us.max(self.now_us));
    }

    /// There is another configuration. What Sentinels have yet to answer would be taken for
    /// something about other groups; all of them are asked anew.
    pub(super) fn forget_sentinels(&mut self, before: &Topology) {
        if self.index != 0 || !before.is_by_sentinel() {
            return;
        }
        for id in self.links.ids() {
            let server = self.links.get(id).and_then(|link| before.server(link.server));
            if server.is_some_and(|server| server.role() == Role::Sentinel) {
                self.lose_link(id, Loss::Retired);
            }
        }
        let SentinelWatch { turn, views, says_replicas, .. } = mem::take(&mut self.sentinels);
        self.sentinels = SentinelWatch { turn, views, says_replicas, ..SentinelWatch::default() };
        self.doubt_sentinels();
    }

    /// Asks who is in the groups: one Sentinel in its turn, or all.
    pub(super) fn ask_sentinels(&mut self) {
        if self.index != 0 {
            return self.shared.handlers[0].post(Mail::Refresh);
        }
        let interval_us = self.settings.conf.pool.common.refresh_interval_us;
        if !self.shared.claim_refresh(self.now_us, REFRESH_PAUSE_US.min(interval_us)) {
            return;
        }
        self.keep_listening();
        let is_learned = self.topology.groups().iter().all(|group| group.master().is_some());
        let ask_all = mem::take(&mut self.sentinels.ask_all) || !is_learned;
        for sentinel in self.sentinels_in_turn() {
            if self.ask_sentinel(sentinel) && !ask_all {
                return;
            }
        }
    }

    /// All Sentinels, those first that seem well, beginning with the next one in turn.
    fn sentinels_in_turn(&mut self) -> Vec<ServerId> {
        let mut ring = self.topology.sentinels().to_vec();
        if !ring.is_empty() {
            self.sentinels.turn = (self.sentinels.turn + 1) % ring.len();
            ring.rotate_left(self.sentinels.turn);
        }
        let is_unwell = |id: &ServerId| {
            let server = self.topology.server(*id);
            server.is_none_or(|server| server.is_down() || server.health().failures() > 0)
        };
        order::sort_by_key(&mut ring, is_unwell);
        ring
    }

    /// Asks one Sentinel all there is to ask. False when it still owes answers to the last time.
    fn ask_sentinel(&mut self, sentinel: ServerId) -> bool {
        let open = self.pools.get(sentinel.index()).and_then(|pool| pool.shared(Lane::default()));
        let open = open.filter(|id| self.links.get(*id).is_some());
        let Some(id) = open.or_else(|| self.open_shared_link(sentinel, Lane::default())) else {
            return false;
        };
        if self.is_overdue(id) {
            self.lose_link(id, Loss::TimeOut);
            return false;
        }
        let Some(link) = self.links.get_mut(id) else { return false };
        if link.awaiting.iter().any(|awaiting| awaiting.is_question()) {
            return false;
        }
        let mut request = Vec::new();
        for group in self.topology.groups() {
            // In this order: what is said about the address is at least as new as the epoch.
            for question in Question::ALL {
                request.clear();
                let word = self.sentinels.word(question);
                request.command(&[b"SENTINEL", word, group.name().as_bytes()]);
                let errand = Errand::Sentinel(question, group.id());
                link.send_errand(&self.buffers, errand, &request, self.now_us);
            }
        }
        self.list_link(id);
        true
    }

    /// Whether a link owes an answer to the proxy itself for too long.
    fn is_overdue(&self, id: LinkId) -> bool {
        let patience_us = self.settings.conf.pool.common.connect_timeout_us;
        let Some(link) = self.links.get(id) else { return false };
        let Some(front) = link.awaiting.front() else { return false };
        link.state == LinkState::Ready && self.now_us >= front.since_us.saturating_add(patience_us)
    }

    /// Makes sure that there is a Sentinel that tells what happens, and that it is there.
    fn keep_listening(&mut self) {
        if let Some(id) = self.sentinels.subscription
            && let Some(link) = self.links.get(id)
        {
            if !self.is_overdue(id) {
                if self.now_us >= link.heard_us.saturating_add(QUIET_US) {
                    self.ping(id);
                }
                return;
            }
            self.lose_link(id, Loss::TimeOut);
        }
        if self.now_us < self.sentinels.listen_after_us {
            return;
        }
        let Some(sentinel) = self.sentinels_in_turn().first().copied() else { return };
        let Some(id) = self.open_link(sentinel, Lane::default()) else { return };
        self.sentinels.subscription = Some(id);
        let mut words = vec![&b"SUBSCRIBE"[..]];
        words.extend(CHANNELS);
        let mut request = Vec::new();
        request.command(&words);
        if let Some(link) = self.links.get_mut(id) {
            link.send_errand(&self.buffers, Errand::Subscribe, &request, self.now_us);
            self.list_link(id);
        }
        // What happened while nobody listened is asked for.
        self.sentinels.ask_all = true;
    }

    /// A Sentinel has agreed to tell what happens, or not.
    pub(super) fn take_subscription(&mut self, id: LinkId, reply: &[u8]) {
        if reply[0] == b'-' {
            // It will not agree so soon.
            let pause_us = self.settings.conf.pool.common.refresh_interval_us.max(REFUSED_US);
            self.sentinels.listen_after_us = self.now_us + pause_us;
            let text = String::from_utf8_lossy(reply).trim_end().to_owned();
            self.lose_link(id, Loss::Refused(Errand::Subscribe, text));
        }
    }

    /// A link has been lost; if it was the one to listen on, there has to be another.
    pub(super) fn stop_listening(&mut self, id: LinkId) -> bool {
        let was_listening = self.sentinels.subscription == Some(id);
        if was_listening {
            self.sentinels.subscription = None;
            self.doubt_sentinels();
        }
        was_listening
    }

    /// Takes a reply that is the answer to no question, if it came on the link where that is as
    /// it should be: what a Sentinel tells.
    pub(super) fn take_message(&mut self, id: LinkId, reply: &[u8]) -> bool {
        if self.sentinels.subscription != Some(id) {
            return false;
        }
        let fields = fields(reply);
        let [kind, channel, payload] = fields.as_slice() else { return false };
        if *kind == b"message" {
            if *channel == SWITCH_MASTER {
                self.take_switch(id, payload);
            }
            self.doubt_sentinels();
        }
        // What else comes unasked confirms that it listens to one more channel.
        *kind == b"message" || *kind == b"subscribe"
    }

    /// A Sentinel says that a group has another master.
    fn take_switch(&mut self, id: LinkId, payload: &[u8]) {
        let Some(sentinel) = self.links.get(id).map(|link| link.server) else { return };
        let Some(switch) = MasterSwitch::parse(payload) else {
            log_warn!(self.log, "sentinel switch-master {} invalid", payload.escape_ascii());
            return;
        };
        let topology = Arc::clone(&self.topology);
        for group in topology.groups().iter().filter(|group| group.name() == switch.group) {
            let known = master_of(&topology, group);
            let SentinelWatch { views, masters, .. } = &mut self.sentinels;
            let epoch = masters.get(&(sentinel, group.id())).and_then(|state| state.epoch);
            let said = Said { sentinel, master: &switch.new, epoch, asked_us: self.now_us };
            let old = switch.old.as_ref();
            let verdict = views.judge_switch(switch.group, old, &said, known, self.now_us);
            if verdict == Verdict::Believed {
                self.change_master(group, &switch.new);
            }
        }
    }

    /// A Sentinel has answered.
    pub(super) fn take_sentinel_answer(
        &mut self,
        id: LinkId,
        (question, group): (Question, GroupId),
        asked_us: u64,
        reply: &[u8],
    ) {
        let Some(sentinel) = self.links.get(id).map(|link| link.server) else { return };
        let topology = Arc::clone(&self.topology);
        let Some(group) = topology.group(group) else { return };
        match question {
            Question::Master => self.take_master_state(sentinel, group, reply),
            Question::Address => self.take_master_address(sentinel, group, asked_us, reply),
            Question::Replicas | Question::Sentinels => {
                self.take_list(question, sentinel, group, reply);
            }
        }
    }

    fn take_master_state(&mut self, sentinel: ServerId, group: &ServerGroup, reply: &[u8]) {
        let fields = fields(reply);
        let number = |name: &[u8]| {
            let (pairs, _) = fields.as_chunks::<2>();
            let value = pairs.iter().find(|[key, _]| *key == name).map(|[_, value]| *value)?;
            std::str::from_utf8(value).ok()?.parse::<u64>().ok()
        };
        let of = Peer::from_fields(&fields).map(|master| master.address);
        let state = MasterState {
            epoch: number(b"config-epoch"),
            of,
            has_looked: number(b"info-refresh") != Some(0),
        };
        self.sentinels.masters.insert((sentinel, group.id()), state);
    }

    fn take_master_address(
        &mut self,
        sentinel: ServerId,
        group: &ServerGroup,
        asked_us: u64,
        reply: &[u8],
    ) {
        let Some(master) = master_address(&fields(reply)) else {
            self.sentinels.masters.remove(&(sentinel, group.id()));
            if self.sentinels.unknown.insert(group.id()) {
                let shown = self.name_of(sentinel);
                log_warn!(self.log, "sentinel {} does not know group {}", shown, group.name());
            }
            return;
        };
        self.sentinels.unknown.remove(&group.id());
        let state = self.sentinels.masters.get(&(sentinel, group.id()));
        let epoch = state.and_then(|state| state.epoch);
        let said = Said { sentinel, master: &master, epoch, asked_us };
        let topology = Arc::clone(&self.topology);
        let known = master_of(&topology, group);
        let count = topology.sentinels().len();
        let views = &mut self.sentinels.views;
        match views.judge(group.name(), &said, known, count, self.now_us) {
            Verdict::Known => {}
            Verdict::Believed => self.change_master(group, &master),
            Verdict::Doubted => {
                log_debug!(
                    self.log,
                    "sentinel {} says that {} is master of {}: others are asked",
                    self.name_of(sentinel),
                    master,
                    group.name()
                );
                self.doubt_sentinels();
            }
        }
    }

    fn change_master(&mut self, group: &ServerGroup, master: &Address) {
        log_notice!(self.log, "sentinel group {} has master {}", group.name(), master);
        let published = (self.shared.current)
            .update_since(&self.topology, |topology| topology.with_master(group.id(), master));
        if published.is_some() {
            self.shared.wake_all();
            self.follow_topology();
        }
    }

    /// A Sentinel has listed the replicas of a group, or the other Sentinels that watch it.
    fn take_list(
        &mut self,
        question: Question,
        sentinel: ServerId,
        group: &ServerGroup,
        reply: &[u8],
    ) {
        // A Sentinel that does not know the group lists nobody, and that means nothing.
        let state = self.sentinels.masters.get(&(sentinel, group.id()));
        let Some(MasterState { of, has_looked, .. }) = state.cloned() else { return };
        let Some(entries) = Reply::new(reply).elements() else {
            if question == Question::Replicas && reply.starts_with(b"-ERR Unknown") {
                // Which word it does not know stands in its answer: several groups may have been
                // asked for at once.
                let knows_old = reply.windows(8).any(|word| word.eq_ignore_ascii_case(b"replicas"));
                self.sentinels.says_replicas = !knows_old;
                if !knows_old {
                    self.doubt_sentinels();
                }
            }
            return;
        };
        if question == Question::Replicas {
            // It has just been started, and has yet to find out.
            let is_new = !has_looked && !group.replicas().is_empty();
            // The replicas of another master are not those of this one.
            let is_other = of.is_some() && of.as_ref() != master_of(&self.topology, group);
            if is_new || is_other {
                return;
            }
        }
        let peers = entries.filter_map(|entry| Peer::from_fields(&fields(entry.bytes())));
        let mut peers: Vec<Peer> = peers.collect();
        order::sort_by(&mut peers, |one, other| one.address.cmp(&other.address));
        // What it said the last time is not worked through again.
        let key = (question, group.id(), sentinel);
        let version = self.topology.version();
        if self.sentinels.lists.get(&key).is_some_and(|last| last.0 == version && last.1 == peers) {
            return;
        }
        let published =
            self.shared.current.update_since(&self.topology, |topology| match question {
                Question::Replicas => topology.with_replicas(group.id(), &peers),
                _ => topology.with_sentinels(group.id(), sentinel, &peers),
            });
        if published.is_some() {
            self.shared.wake_all();
            self.follow_topology();
        }
        self.sentinels.lists.insert(key, (self.topology.version(), peers));
        let Handler { sentinels, topology, .. } = self;
        sentinels.forget_the_gone(topology);
    }

    /// A topology that has just been asked for is not asked for again so soon.
    fn sentinel_pause_us(&self) -> u64 {
        let groups = u64::try_from(self.topology.groups().len()).unwrap_or(u64::MAX);
        REFRESH_PAUSE_US.max(groups.saturating_mul(PAUSE_PER_GROUP_US))
    }

    fn name_of(&self, server: ServerId) -> String {
        let server = self.topology.server(server);
        server.map_or_else(String::new, |server| server.address().to_string())
    }
}

impl SentinelWatch {
    fn word(&self, question: Question) -> &'static [u8] {
        match question {
            Question::Master => b"master",
            Question::Address => b"get-master-addr-by-name",
            Question::Replicas if self.says_replicas => b"replicas",
            Question::Replicas => b"slaves",
            Question::Sentinels => b"sentinels",
        }
    }

    fn forget_the_gone(&mut self, topology: &Topology) {
        let is_there = |sentinel: &ServerId| topology.server(*sentinel).is_some();
        self.masters.retain(|(sentinel, _), _| is_there(sentinel));
        self.lists.retain(|(_, _, sentinel), _| is_there(sentinel));
    }
}

fn master_of<'a>(topology: &'a Topology, group: &ServerGroup) -> Option<&'a Address> {
    let master = topology.group(group.id())?.master()?;
    Some(topology.server(master)?.address())
}

/// The texts in an array; none if it is not one.
fn fields(reply: &[u8]) -> Vec<&[u8]> {
    let elements = Reply::new(reply).elements().into_iter().flatten();
    elements.map(|element| element.text().unwrap_or_default()).collect()
}
