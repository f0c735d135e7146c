//! What Sentinels say, in any order: whatever is believed leaves a sound topology, and each group
//! with one master at most.
//!
//! Before each reply stands a byte that says what was asked, about which group, and whom.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use predixy::base::address::Address;
use predixy::conf::Conf;
use predixy::pool::{
    GroupId, MasterSwitch, Peer, Said, SentinelViews, ServerId, Topology, Verdict, master_address,
};
use predixy::resp::reply::Reply;
use predixy::resp::response_parser::ResponseParser;

#[path = "../sound.rs"]
mod sound;

const CONF: &str = "Bind 10.0.0.9:1\nSentinelServerPool {\nHash crc16\nDistribution modula\nSentinels {\n\
    + 10.0.0.1:26379\n+ 10.0.0.2:26379\n+ 10.0.0.3:26379\n}\nGroup g0 {\n}\nGroup g1 {\n}\n}\n";

fuzz_target!(|input: &[u8]| {
    let conf = Conf::parse(Path::new("fuzz.conf"), CONF.as_bytes(), &[]).expect("it is right");
    let mut watch = Watch {
        topology: Topology::from_conf(&conf.pool, None),
        views: SentinelViews::default(),
        epoch: None,
        now_us: 1_000_000,
    };
    let mut rest = input;
    for _ in 0..64 {
        let Some((choice, answer)) = rest.split_first() else { return };
        let Ok(Some(end)) = ResponseParser::new().feed(answer) else { return };
        watch.take(*choice, &answer[..end]);
        rest = &answer[end..];
    }
});

struct Watch {
    topology: Topology,
    views: SentinelViews,
    epoch: Option<u64>,
    now_us: u64,
}

impl Watch {
    fn take(&mut self, choice: u8, reply: &[u8]) {
        self.now_us += u64::from(choice) * 10_000;
        let sentinels = self.topology.sentinels();
        let Some(sentinel) = sentinels.get(usize::from(choice >> 4) % sentinels.len().max(1)) else {
            return;
        };
        let (sentinel, group) = (*sentinel, usize::from(choice >> 3 & 1));
        let Some(group) = GroupId::from_index(group) else { return };
        let next = match choice & 7 {
            0 => return self.take_state(reply),
            1 | 2 => self.take_address(sentinel, group, reply),
            3 => self.take_switch(sentinel, reply),
            4 | 5 => self.topology.with_replicas(group, &peers(reply)),
            _ => self.topology.with_sentinels(group, sentinel, &peers(reply)),
        };
        let Some(next) = next else { return };
        sound::check(&next);
        for server in next.servers() {
            if let Some(before) = self.topology.server(server.id()) {
                assert_eq!(before.address(), server.address(), "an id has changed its meaning");
            }
        }
        self.topology = next;
    }

    fn take_state(&mut self, reply: &[u8]) {
        let fields = fields(reply);
        let (pairs, _) = fields.as_chunks::<2>();
        let epoch = pairs.iter().find(|[key, _]| *key == b"config-epoch").map(|[_, value]| *value);
        self.epoch = epoch.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    }

    fn take_address(&mut self, sentinel: ServerId, group: GroupId, reply: &[u8]) -> Option<Topology> {
        let master = master_address(&fields(reply))?;
        let said = Said { sentinel, master: &master, epoch: self.epoch, asked_us: self.now_us };
        let known = self.master_of(group);
        let count = self.topology.sentinels().len();
        let name = self.topology.group(group)?.name();
        let verdict = self.views.judge(name, &said, known.as_ref(), count, self.now_us);
        assert!(verdict != Verdict::Known || known.as_ref() == Some(&master));
        if verdict != Verdict::Believed {
            return None;
        }
        self.topology.with_master(group, &master)
    }

    fn take_switch(&mut self, sentinel: ServerId, reply: &[u8]) -> Option<Topology> {
        let switch = MasterSwitch::parse(Reply::new(reply).text()?)?;
        let group = self.topology.group_named(switch.group)?;
        let (epoch, asked_us) = (self.epoch, self.now_us);
        let said = Said { sentinel, master: &switch.new, epoch, asked_us };
        let (known, old) = (self.master_of(group), switch.old.as_ref());
        let verdict =
            self.views.judge_switch(switch.group, old, &said, known.as_ref(), self.now_us);
        if verdict != Verdict::Believed {
            return None;
        }
        self.topology.with_master(group, &switch.new)
    }

    fn master_of(&self, group: GroupId) -> Option<Address> {
        let master = self.topology.group(group)?.master()?;
        Some(self.topology.server(master)?.address().clone())
    }
}

fn peers(reply: &[u8]) -> Vec<Peer> {
    let entries = Reply::new(reply).elements().into_iter().flatten();
    entries.filter_map(|entry| Peer::from_fields(&fields(entry.bytes()))).collect()
}

/// The texts in an array; none if it is not one.
fn fields(reply: &[u8]) -> Vec<&[u8]> {
    let elements = Reply::new(reply).elements().into_iter().flatten();
    elements.map(|element| element.text().unwrap_or_default()).collect()
}
