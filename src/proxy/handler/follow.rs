//! Going by other settings than before, with everything that is under way.

use std::sync::Arc;

use super::super::request::{ClientId, Errand, LinkId};
use super::super::session::Session;
use super::super::settings::Settings;
use super::Handler;
use super::loss::Loss;
use super::scarcity::Budget;
use super::upkeep::Chore;
use crate::log_warn;
use crate::pool::{Credentials, GroupId, Place, ServerGroup, Topology};
use crate::resp::writer::Sink;

impl Handler {
    /// Takes over what has been published since it last looked.
    pub(super) fn follow_settings(&mut self) {
        let settings = self.shared.settings.load();
        if settings.version() == self.settings.version() {
            return;
        }
        let before = std::mem::replace(&mut self.settings, settings);
        if let Some(reader) = &mut self.reader {
            reader.follow(&self.settings);
        }
        self.budget = Budget::new(&self.settings, self.shared.handlers.len());
        self.set_open();
        self.read_your_writes_us = self.settings.conf.pool.common.read_your_writes_us;
        if !Arc::ptr_eq(&before.monitors, &self.settings.monitors) {
            self.recorder.change_monitors(&self.settings.monitors);
        }
        self.set_measures();
        if !Arc::ptr_eq(&before.authority, &self.settings.authority) {
            self.identify_anew(&before);
        }
        if before.conf.client_timeout_us != self.settings.conf.client_timeout_us {
            self.watch_clients_anew();
        }
        self.follow_slow_log_settings();
        self.set_deadlines_anew(&before);
    }

    /// Sends a reply once every handler goes by the settings of now.
    pub fn answer_when_all_follow(&mut self, asker: (ClientId, u32), reply: Vec<u8>) {
        self.ask_all(asker, Handler::follow_settings, move |_, _| reply);
    }

    /// There is another Authority: clients are whom it says they are. A transaction of somebody
    /// who may do other things now than when its commands were queued fails, as in Redis.
    fn identify_anew(&mut self, before: &Settings) {
        let (old, new) = (&before.authority, &self.settings.authority);
        let (mut strangers, mut subscribers) = (Vec::new(), Vec::new());
        for id in self.clients.ids() {
            let Some(client) = self.clients.get_mut(id) else { continue };
            let was = client.identity;
            client.identity = new.carry_over(old, was);
            if new.is_as_before(client.identity, old, was) {
                continue;
            }
            if client.subscribes {
                subscribers.push(id);
            }
            let is_stranger = client.identity.is_none();
            match client.session.as_deref_mut() {
                Some(Session::Queueing(transaction)) => {
                    transaction.is_spoiled = true;
                    // A stranger may not even end it.
                    if is_stranger && transaction.executing.is_none() {
                        strangers.push(id);
                    }
                }
                Some(Session::Watching(_)) if is_stranger => strangers.push(id),
                _ => {}
            }
        }
        strangers.into_iter().for_each(|id| self.leave_session(id));
        subscribers.into_iter().for_each(|id| self.judge_subscriber(id));
    }

    fn set_deadlines_anew(&mut self, before: &Settings) {
        let (old, new) = (&before.conf.pool.common, &self.settings.conf.pool.common);
        let is_quicker = new.refresh_interval_us < old.refresh_interval_us;
        if is_quicker && self.deadlines.of(Chore::Refresh) != u64::MAX {
            self.deadlines.advance(Chore::Refresh, self.now_us + new.refresh_interval_us);
        }
        if old.server_timeout_us != new.server_timeout_us {
            self.deadlines.links_by(self.now_us);
        }
    }

    /// The topology was made anew from another configuration. What is under way under the old
    /// one is brought over, link by link and request by request.
    pub(super) fn follow_rules(&mut self, before: &Topology) {
        self.forget_sentinels(before);
        self.instruct_links(before);
        let name = |group: &ServerGroup| group.name().to_owned();
        let old: Vec<String> = before.groups().iter().map(name).collect();
        let new: Vec<String> = self.topology.groups().iter().map(name).collect();
        if !self.topology.is_cluster() && old != new {
            self.regroup(before);
        }
    }

    /// Tells servers what has changed about us, on the links that there are. It takes effect
    /// between two requests, so nobody has to wait for a new link, nor overtakes anybody.
    fn instruct_links(&mut self, before: &Topology) {
        let reads = |topology: &Topology| topology.is_cluster() && !topology.reads_go_to_masters();
        let word = match (reads(before), reads(&self.topology)) {
            (false, true) => Some(&b"READONLY"[..]),
            (true, false) => Some(&b"READWRITE"[..]),
            _ => None,
        };
        for id in self.links.ids() {
            let Some(server) = self.links.get(id).map(|link| link.server) else { continue };
            let Some(target) = self.topology.server(server).cloned() else { continue };
            let was = before.server(server).and_then(|server| server.credentials());
            let login = target.credentials().filter(|now| Some(*now) != was);
            if login.is_none() && word.is_none() {
                continue;
            }
            let Some(link) = self.links.get_mut(id) else { continue };
            if link.is_lent {
                // Somebody is in the middle of something there; nobody will use it again.
                link.is_outdated = true;
                continue;
            }
            if link.is_private && link.awaiting.is_empty() {
                self.lose_link(id, Loss::Retired);
                continue;
            }
            let mut request = Vec::new();
            if let Some(Credentials { username, password }) = login.map(|login| &**login) {
                match username {
                    Some(user) => request.command(&[b"AUTH", user.as_bytes(), password]),
                    None => request.command(&[b"AUTH", password]),
                };
                link.send_errand(&self.buffers, Errand::Instruct, &request, self.now_us);
            }
            if let Some(word) = word {
                request.clear();
                request.command(&[word]);
                link.send_errand(&self.buffers, Errand::Instruct, &request, self.now_us);
            }
            self.list_link(id);
        }
    }

    /// A server has answered to what it was told about us.
    pub(super) fn take_instructed(&mut self, id: LinkId, reply: &[u8]) {
        if reply[0] != b'-' {
            return;
        }
        let text = String::from_utf8_lossy(reply).trim_end().to_owned();
        // What is under way has been let through so far; the next link would not be.
        let address = self.links.get(id).and_then(|link| self.topology.server(link.server));
        let address = address.map(|server| server.address().to_string()).unwrap_or_default();
        log_warn!(self.log, "h {} s {} refuses new settings: {}", self.index, address, text);
    }

    /// Groups have come, gone, or stand in another order, so that keys may live elsewhere now.
    /// Who waits for a group waits for the one of that name; transactions come to nothing.
    fn regroup(&mut self, before: &Topology) {
        let topology = Arc::clone(&self.topology);
        self.readdress_waiting(|place| match place {
            Place::Group(group) => Some(Place::Group(group_like(before, group, &topology)?)),
            other => Some(other),
        });
        for id in self.clients.ids() {
            let session = self.clients.get_mut(id).and_then(|client| client.session.as_deref_mut());
            match session {
                Some(Session::Queueing(transaction)) => transaction.lose(),
                Some(Session::Watching(watch)) => {
                    let link = watch.link;
                    self.lose_link(link, Loss::Retired);
                }
                Some(Session::Blocked { .. }) | None => {}
            }
        }
    }
}

/// The group that has the name now that `group` had before.
fn group_like(before: &Topology, group: GroupId, now: &Topology) -> Option<GroupId> {
    now.group_named(before.group(group)?.name())
}
