//! Answers to CLUSTER NODES, with MOVED and ASK between them, in any order: whatever is believed
//! leaves a sound topology in which no id changes its meaning.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use predixy::base::address::Address;
use predixy::conf::Conf;
use predixy::pool::{HostChoice, Older, ServerId, Slot, Topology, parse_nodes};
use predixy::resp::redirect::Redirect;

#[path = "../sound.rs"]
mod sound;

/// Ends an answer; what comes before its first line says who was asked.
const END: u8 = 0;
const CONF: &str = "Bind 10.0.0.9:1\nClusterServerPool {\nServers {\n+ 127.0.0.1:7001\n+ a.example:7002\n}\n}\n";

fuzz_target!(|input: &[u8]| {
    let conf = Conf::parse(Path::new("fuzz.conf"), CONF.as_bytes(), &[]).expect("it is right");
    let mut topology = Topology::from_conf(&conf.pool, None);
    for answer in input.split(|byte| *byte == END).take(16) {
        let Some(next) = follow(&topology, answer) else { continue };
        sound::check(&next);
        for server in next.servers() {
            if let Some(before) = topology.server(server.id()) {
                assert_eq!(before.address(), server.address(), "an id has changed its meaning");
                assert!(Arc::ptr_eq(before.health(), server.health()));
            }
        }
        assert_eq!(next.servers().filter(|server| server.is_static()).count(), 2);
        topology = next;
    }
});

fn follow(topology: &Topology, answer: &[u8]) -> Option<Topology> {
    if answer.starts_with(b"-") {
        let redirect = Redirect::parse(answer)?;
        let (slot, ask) = (Slot::new(u64::from(redirect.slot))?, redirect.ask);
        let to = redirect.address(&Address::from_host("10.9.9.9", 1).ok()?);
        return if ask { topology.with_asked(&to) } else { topology.with_moved(slot, &to) };
    }
    let (choice, text) = answer.split_first()?;
    let asked = ServerId::from_index(usize::from(choice & 0x3f) % topology.ids())?;
    let hosts = if choice & 0x40 == 0 { HostChoice::Ip } else { HostChoice::Hostname };
    let nodes = match parse_nodes(text) {
        Ok(nodes) => nodes,
        Err(error) => {
            assert!(error.line >= 1 && !error.problem.is_empty());
            return None;
        }
    };
    for node in &nodes {
        for range in &node.slots {
            assert!(Slot::new(u64::from(*range.end())).is_some() && range.start() <= range.end());
        }
    }
    topology.refreshed(&nodes, asked, hosts, Older::Refuse).ok()?.topology
}
