//! Sentinels: what each of them believes, and what it answers and tells.
//!
//! They do not watch anything here: the script tells each when it learns of a failover, so that
//! they can disagree for as long as it likes.

use std::net::SocketAddr;

use predixy::sys::sim::World;

use super::model::Model;
use super::plan::{Kind, Plan};
use super::wire;

/// All Sentinels of a run; none where there is nothing to watch.
pub struct Sentinels {
    all: Vec<Sentinel>,
    /// They know `SENTINEL replicas`, or else `SENTINEL slaves`, or both.
    words: [bool; 2],
}

struct Sentinel {
    beliefs: Vec<Belief>,
    /// What it has to tell those who listen: the channel and the message.
    news: Vec<(&'static str, String)>,
}

/// What a Sentinel believes of a group.
struct Belief {
    master: usize,
    epoch: u64,
    /// It has not heard of the group yet.
    is_unknown: bool,
    /// It has asked the master for its replicas since it was started.
    has_looked: bool,
}

impl Sentinels {
    pub fn new(plan: &Plan) -> Sentinels {
        let belief = |master| Belief { master, epoch: 1, is_unknown: false, has_looked: true };
        let sentinel =
            || Sentinel { beliefs: (0..plan.masters).map(belief).collect(), news: Vec::new() };
        let count = if plan.kind == Kind::Sentinel { plan.sentinels } else { 0 };
        Sentinels { all: (0..count).map(|_| sentinel()).collect(), words: plan.sentinel_words }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Where a Sentinel listens.
    pub fn address(&self, sentinel: usize) -> SocketAddr {
        ([10, 0, 3, 1 + u8::try_from(sentinel).unwrap_or(0)], 26_379).into()
    }

    /// What a Sentinel has to tell.
    pub fn take_news(&mut self, sentinel: usize) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.all[sentinel].news)
    }

    /// A Sentinel has been started from its file: it has yet to look at the servers.
    pub fn restart(&mut self, sentinel: usize) {
        let sentinel = &mut self.all[sentinel];
        sentinel.news.clear();
        sentinel.beliefs.iter_mut().for_each(|belief| belief.has_looked = false);
    }

    /// A Sentinel has looked at the servers.
    pub fn look(&mut self, sentinel: usize) {
        self.all[sentinel].beliefs.iter_mut().for_each(|belief| belief.has_looked = true);
    }

    /// A Sentinel does not know a group, or gets to know it.
    pub fn forget(&mut self, sentinel: usize, group: usize, is_unknown: bool) {
        self.all[sentinel].beliefs[group].is_unknown = is_unknown;
    }

    /// Something happens that it tells, and that changes no master.
    pub fn gossip(&mut self, sentinel: usize, text: String) {
        let channels = ["+sdown", "-sdown", "+slave", "+promoted-slave", "+monitor"];
        let channel = channels[text.len() % channels.len()];
        self.all[sentinel].news.push((channel, text));
    }
}

impl Model {
    /// A Sentinel learns who the master of a group is.
    pub fn sentinel_learns(&mut self, sentinel: usize, group: usize) {
        let (name, master, epoch) = {
            let group = &self.groups().all[group];
            (group.name.clone(), group.master, group.epoch)
        };
        let belief = &mut self.sentinels.all[sentinel].beliefs[group];
        let old = std::mem::replace(&mut belief.master, master);
        belief.epoch = epoch;
        if old != master {
            let [old, new] = [old, master].map(|node| self.nodes[node].address);
            let text = format!("{name} {} {} {} {}", old.ip(), old.port(), new.ip(), new.port());
            self.sentinels.all[sentinel].news.push(("+switch-master", text));
        }
    }

    /// Every Sentinel knows everything.
    pub fn sentinels_learn_all(&mut self) {
        for sentinel in 0..self.sentinels.len() {
            self.sentinels.look(sentinel);
            for group in 0..self.groups().all.len() {
                self.sentinels.forget(sentinel, group, false);
                self.sentinel_learns(sentinel, group);
            }
        }
    }

    /// The answer of a Sentinel.
    pub fn ask_sentinel(&mut self, sentinel: usize, words: &[Vec<u8>]) -> Vec<u8> {
        let question = String::from_utf8_lossy(&words[1]).to_ascii_lowercase();
        let name = words.get(2).map(|name| String::from_utf8_lossy(name).into_owned());
        let name = name.unwrap_or_default();
        let place = self.groups().all.iter().position(|group| group.name == name);
        let belief = place.map(|group| &self.sentinels.all[sentinel].beliefs[group]);
        let belief = belief.filter(|belief| !belief.is_unknown);
        let (Some(belief), Some(group)) = (belief, place) else {
            return match &*question {
                "get-master-addr-by-name" => b"*-1\r\n".to_vec(),
                _ => b"-ERR No such master with that name\r\n".to_vec(),
            };
        };
        World::note(format_args!("sentinel {sentinel}: {question} {name}: {}", belief.master));
        let [replicas, slaves] = self.sentinels.words;
        match &*question {
            "get-master-addr-by-name" => {
                let address = self.nodes[belief.master].address;
                wire::command(&[address.ip().to_string(), address.port().to_string()])
            }
            "master" => {
                let looked = if belief.has_looked { "100" } else { "0" };
                let epoch = belief.epoch.to_string();
                let more = [("config-epoch", &*epoch), ("info-refresh", looked)];
                self.server_fields(belief.master, "master", &more)
            }
            "replicas" if replicas => self.list_replicas(group, belief),
            "slaves" if slaves => self.list_replicas(group, belief),
            "sentinels" => {
                let others: Vec<usize> =
                    (0..self.sentinels.len()).filter(|other| *other != sentinel).collect();
                let mut reply = format!("*{}\r\n", others.len()).into_bytes();
                for other in others {
                    let address = self.sentinels.address(other);
                    reply.extend(fields(address, "sentinel", &[]));
                }
                reply
            }
            other => format!("-ERR Unknown sentinel subcommand '{other}'\r\n").into_bytes(),
        }
    }

    fn list_replicas(&self, group: usize, belief: &Belief) -> Vec<u8> {
        let members = self.groups().all[group].members.iter().copied();
        let replicas: Vec<usize> = members.filter(|node| *node != belief.master).collect();
        let mut reply = format!("*{}\r\n", replicas.len()).into_bytes();
        for node in replicas {
            let flags =
                if self.nodes[node].is_failed { "s_down,slave,disconnected" } else { "slave" };
            let is_linked = self.data.master_of(node).is_some() && self.data.is_linked(node);
            let status = if is_linked { "ok" } else { "err" };
            reply.extend(self.server_fields(node, flags, &[("master-link-status", status)]));
        }
        reply
    }

    fn server_fields(&self, node: usize, flags: &str, more: &[(&str, &str)]) -> Vec<u8> {
        fields(self.nodes[node].address, flags, more)
    }
}

/// Names and values in turn.
fn fields(address: SocketAddr, flags: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let mut words = vec!["name", "any", "ip", &ip, "port", &port, "runid", "0", "flags", flags];
    words.extend(more.iter().flat_map(|(name, value)| [*name, *value]));
    wire::command(&words)
}
