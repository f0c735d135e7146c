//! The text of CLUSTER NODES, as Redis 3 to 8 and Valkey write it.
//!
//! Bytes in, lines out, or the number of the line that is wrong and why: an answer that cannot be
//! read to its end is not believed at all. Nothing has a fixed size. It knows no topology: what
//! the lines mean together is `cluster_server_pool`'s business.

use std::fmt;
use std::ops::RangeInclusive;

use super::slot::{SLOTS, Slot};
use crate::base::address::Address;

/// One node, as the node that was asked sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    /// The node's id.
    pub id: Box<str>,
    /// Where it is.
    pub address: NodeAddress,
    /// What it is.
    pub flags: NodeFlags,
    /// Id of its master, if it is a replica.
    pub master: Option<Box<str>>,
    /// The configuration epoch: of two claims to a slot the later one counts.
    pub epoch: u64,
    /// Whether the node that was asked has a connection to it.
    pub link: Link,
    /// The slots it owns; ranges within a line do not overlap.
    pub slots: Vec<RangeInclusive<u16>>,
    /// Slots that are on their way to or from it. Who meets them is told by ASK.
    pub migrations: usize,
}

/// Where a node is, as far as the line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// IP address or host name; `None` where the node does not know its own.
    pub host: Option<Box<str>>,
    /// The port for clients; 0 where the address is not known.
    pub port: u16,
    /// The host name that the node announces.
    pub hostname: Option<Box<str>>,
}

/// Which of the two hosts of a node to go by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostChoice {
    /// The IP address; the host name only where there is none.
    #[default]
    Ip,
    /// The announced host name; the IP address only where there is none.
    Hostname,
}

/// The flags of a node; those that we do not know are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeFlags {
    /// The node that was asked.
    pub myself: bool,
    /// It may own slots.
    pub master: bool,
    /// It is a replica.
    pub slave: bool,
    /// The majority of the masters cannot reach it.
    pub fail: bool,
    /// The node that was asked cannot reach it: `fail?`.
    pub may_fail: bool,
    /// It is not yet part of the cluster.
    pub handshake: bool,
    /// Nobody knows its address.
    pub no_address: bool,
    /// It will not become master by itself.
    pub no_failover: bool,
}

/// Whether the node that was asked has a connection to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It has.
    Connected,
    /// It has not.
    Disconnected,
}

/// Why a text is no answer to CLUSTER NODES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodesError {
    /// Counts from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl NodeAddress {
    /// Where to connect to; `None` where the line does not say, or says nothing that can be used.
    #[must_use]
    pub fn endpoint(&self, choice: HostChoice) -> Option<Address> {
        let (first, second) = match choice {
            HostChoice::Ip => (&self.host, &self.hostname),
            HostChoice::Hostname => (&self.hostname, &self.host),
        };
        let mut hosts = first.iter().chain(second);
        hosts.find_map(|host| self.with_port(host))
    }

    /// The announced host name, with the port.
    #[must_use]
    pub fn named(&self) -> Option<Address> {
        self.with_port(self.hostname.as_ref()?)
    }

    fn with_port(&self, host: &str) -> Option<Address> {
        Address::from_host(host, self.port).ok().filter(|_| self.port != 0)
    }
}

/// Reads an answer to CLUSTER NODES.
///
/// # Errors
///
/// Says which line is wrong, and why.
pub fn parse_nodes(text: &[u8]) -> Result<Vec<NodeLine>, NodesError> {
    let mut nodes = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let at = |problem| NodesError { line: index + 1, problem };
        let line = std::str::from_utf8(line).map_err(|_| at("is not text"))?;
        if !line.trim_matches(' ').is_empty() {
            nodes.push(parse_line(line).map_err(at)?);
        }
    }
    if nodes.is_empty() {
        return Err(NodesError { line: 1, problem: "names no node" });
    }
    Ok(nodes)
}

fn parse_line(line: &str) -> Result<NodeLine, &'static str> {
    let mut fields = line.split(' ').filter(|field| !field.is_empty());
    let mut next = |missing| fields.next().ok_or(missing);
    let id = next("has no node id")?;
    let address = parse_address(next("has no address")?)?;
    let flags = parse_flags(next("has no flags")?);
    let master = Some(next("has no master id")?).filter(|master| *master != "-");
    let _ping_sent = next("has no ping time")?;
    let _pong_received = next("has no pong time")?;
    let epoch = next("has no configuration epoch")?;
    let link = match next("has no link state")? {
        "connected" => Link::Connected,
        "disconnected" => Link::Disconnected,
        _ => return Err("has a link state that is neither connected nor disconnected"),
    };
    let (mut slots, mut migrations, mut owned) = (Vec::new(), 0, 0);
    for field in fields {
        if field.starts_with('[') {
            migrations += 1;
            continue;
        }
        let range = parse_slots(field)?;
        owned += range.len();
        if owned > SLOTS {
            return Err("has more slots than there are");
        }
        slots.push(range);
    }
    Ok(NodeLine {
        id: id.into(),
        address,
        flags,
        master: master.map(Into::into),
        epoch: epoch.parse().map_err(|_| "has a configuration epoch that is no number")?,
        link,
        slots,
        migrations,
    })
}

/// `host:port[@cport][,hostname][,key=value]...`; a host may be IPv6, empty, or `?`.
fn parse_address(text: &str) -> Result<NodeAddress, &'static str> {
    let mut parts = text.split(',');
    let place = parts.next().unwrap_or_default();
    let place = place.split_once('@').map_or(place, |(place, _cluster_port)| place);
    let (host, port) = place.rsplit_once(':').ok_or("has an address without a port")?;
    let port = port.parse().map_err(|_| "has an address with a bad port")?;
    let known = |host: &str| !matches!(host, "" | "?");
    // Before 7.0 there was no host name; since then it comes first, and may be empty.
    let hostname = parts.next().filter(|name| known(name) && !name.contains('='));
    Ok(NodeAddress {
        host: Some(host).filter(|host| known(host)).map(Into::into),
        port,
        hostname: hostname.map(Into::into),
    })
}

/// Words between commas, taken whole: `nofailover` is not `fail` (D-20).
fn parse_flags(text: &str) -> NodeFlags {
    let mut flags = NodeFlags::default();
    for word in text.split(',') {
        match word {
            "myself" => flags.myself = true,
            "master" => flags.master = true,
            "slave" | "replica" => flags.slave = true,
            "fail" => flags.fail = true,
            "fail?" => flags.may_fail = true,
            "handshake" => flags.handshake = true,
            "noaddr" => flags.no_address = true,
            "nofailover" => flags.no_failover = true,
            _ => {}
        }
    }
    flags
}

/// `n` or `a-b`, within 0 to 16383 (D-19).
fn parse_slots(text: &str) -> Result<RangeInclusive<u16>, &'static str> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let slot = |text: &str| {
        let number = text.parse().map_err(|_| "has a slot that is no number")?;
        Slot::new(number).map(Slot::number).ok_or("has a slot above 16383")
    };
    let (first, last) = (slot(first)?, slot(last)?);
    if first > last {
        return Err("has a range of slots that ends before it begins");
    }
    Ok(first..=last)
}

impl fmt::Display for NodesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CLUSTER NODES: line {} {}", self.line, self.problem)
    }
}

impl std::error::Error for NodesError {}

#[cfg(test)]
mod tests {
    use super::super::cluster_nodes_samples as samples;
    use super::super::test_support::seed;
    use super::*;
    use crate::base::random::Random;

    const ID: &str = "07c37dfeb235213a872192d90877d0cd55635b91";

    /// A line with this address field.
    fn at(address: &str) -> String {
        format!("{ID} {address} master - 0 0 1 connected 0-1")
    }

    #[track_caller]
    fn line(text: &str) -> NodeLine {
        let mut nodes = parse_nodes(text.as_bytes()).unwrap();
        assert_eq!(nodes.len(), 1);
        nodes.remove(0)
    }

    /// Checks where a node with this address field is reached, by its IP address and by its name.
    #[track_caller]
    fn check_address(address: &str, by_ip: Option<&str>, by_name: Option<&str>) {
        let address = line(&at(address)).address;
        let text = |choice| address.endpoint(choice).map(|address| address.to_string());
        assert_eq!(text(HostChoice::Ip).as_deref(), by_ip);
        assert_eq!(text(HostChoice::Hostname).as_deref(), by_name);
    }

    #[track_caller]
    fn check_error(text: &str, number: usize, problem: &str) {
        let error = parse_nodes(text.as_bytes()).unwrap_err();
        assert_eq!((error.line, error.problem), (number, problem));
    }

    #[test]
    fn d18_addresses_are_read_in_every_form_and_length() {
        let plain = Some("127.0.0.1:7000");
        check_address("127.0.0.1:7000", plain, plain);
        check_address("127.0.0.1:7000@17000", plain, plain);
        let named = Some("redis-node-1.example.internal:7000");
        check_address("127.0.0.1:7000@17000,redis-node-1.example.internal", plain, named);
        check_address(
            "127.0.0.1:7000@17000,redis-node-1.example.internal,tls-port=0,shard-id=abc,new=1",
            plain,
            named,
        );
        check_address("127.0.0.1:7000@17000,,tls-port=0,shard-id=abc", plain, plain);
        check_address("127.0.0.1:7000@17000,shard-id=abc", plain, plain);
        assert_eq!(line(&at("127.0.0.1:7000@17000,shard-id=abc")).address.hostname, None);
        let v6 = Some("[2001:db8:1111:2222:3333:4444:5555:6666]:7000");
        check_address("2001:db8:1111:2222:3333:4444:5555:6666:7000@17000", v6, v6);
        check_address("[2001:db8:1111:2222:3333:4444:5555:6666]:7000@17000", v6, v6);
        check_address("?:7000@17000,redis-node-1.example.internal", named, named);
        check_address(":7000@17000,redis-node-1.example.internal", named, named);
        check_address("redis-node-1.example.internal:7000@17000", named, named);
        let long = format!("{}.example.internal", "n".repeat(200));
        let long_named = format!("{long}:7000");
        check_address(
            &format!("10.0.0.1:7000@17000,{long}"),
            Some("10.0.0.1:7000"),
            Some(&long_named),
        );
    }

    #[test]
    fn an_address_that_is_not_known_is_none() {
        for address in [":0", ":0@0", ":7000@17000", "?:7000@17000", "127.0.0.1:0@10000"] {
            check_address(address, None, None);
        }
        // One strange address does not make the others unknown.
        check_address("fe80::1%eth0:7000@17000", None, None);
    }

    #[test]
    fn d20_flags_are_whole_words() {
        let flags = |text: &str| line(&format!("{ID} 1.1.1.1:1 {text} - 0 0 1 connected")).flags;
        let replica = flags("slave,nofailover");
        assert!(replica.slave && replica.no_failover && !replica.fail && !replica.may_fail);
        let failing = flags("myself,master,fail?");
        assert!(failing.myself && failing.master && failing.may_fail && !failing.fail);
        let failed = flags("master,fail,noaddr");
        assert!(failed.fail && failed.no_address && !failed.may_fail);
        assert!(flags("handshake").handshake);
        assert_eq!(flags("noflags"), NodeFlags::default());
        assert_eq!(flags("masterly,failure,slaves"), NodeFlags::default());
    }

    #[test]
    fn d19_slots_are_checked() {
        let with = |slots: &str| format!("{ID} 1.1.1.1:1 master - 0 0 1 connected {slots}");
        assert_eq!(line(&with("0-16383")).slots, [0..=16383]);
        assert_eq!(line(&with("7 16383")).slots, [7..=7, 16383..=16383]);
        for (slots, problem) in [
            ("16384", "has a slot above 16383"),
            ("0-16384", "has a slot above 16383"),
            ("99999999999", "has a slot above 16383"),
            ("99999999999999999999999", "has a slot that is no number"),
            ("-1", "has a slot that is no number"),
            ("x", "has a slot that is no number"),
            ("1-", "has a slot that is no number"),
            ("5-4", "has a range of slots that ends before it begins"),
            ("0-16383 0", "has more slots than there are"),
        ] {
            check_error(&format!("{}\n{}", at("1.1.1.1:1"), with(slots)), 2, problem);
        }
    }

    #[test]
    fn slots_on_their_way_are_not_owned() {
        let slots = "0-5 [100->-abc] 9 [200-<-def]";
        let line = line(&format!("{ID} 1.1.1.1:1 master - 0 0 1 connected {slots}"));
        assert_eq!(line.slots, [0..=5, 9..=9]);
        assert_eq!(line.migrations, 2);
    }

    #[test]
    fn lines_end_with_or_without_a_carriage_return() {
        for end in ["\n", "\r\n"] {
            let text = [at("1.1.1.1:1"), at("1.1.1.2:1"), String::new()].join(end);
            let nodes = parse_nodes(text.as_bytes()).unwrap();
            assert_eq!(nodes.len(), 2);
            assert_eq!(nodes[1].slots, [0..=1]);
        }
    }

    #[test]
    fn what_is_no_answer_says_where_and_why() {
        check_error("", 1, "names no node");
        check_error("\n\r\n", 1, "names no node");
        check_error(ID, 1, "has no address");
        let words = [ID, "1.1.1.1:1", "master", "-", "0", "0", "1", "connected"];
        let problems = [
            "has no address",
            "has no flags",
            "has no master id",
            "has no ping time",
            "has no pong time",
            "has no configuration epoch",
            "has no link state",
        ];
        for (index, problem) in problems.iter().enumerate() {
            let text = format!("\n{}", words[..=index].join(" "));
            check_error(&text, 2, problem);
        }
        check_error(&at("1.1.1.1"), 1, "has an address without a port");
        check_error(&at("1.1.1.1:65536"), 1, "has an address with a bad port");
        check_error(
            &at("1.1.1.1:1").replace(" 1 ", " x "),
            1,
            "has a configuration epoch that is no number",
        );
        let error = parse_nodes(b"\xff\xfe").unwrap_err();
        assert_eq!(error.to_string(), "CLUSTER NODES: line 1 is not text");
    }

    #[test]
    fn real_answers_are_understood() {
        for (name, text) in samples::WHOLE {
            let nodes =
                parse_nodes(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(nodes.len(), text.lines().count(), "{name}");
            let owned: usize =
                nodes.iter().flat_map(|node| &node.slots).map(|range| range.len()).sum();
            assert_eq!(owned, SLOTS, "{name}");
            assert_eq!(nodes.iter().filter(|node| node.flags.myself).count(), 1, "{name}");
            for node in &nodes {
                assert_eq!(node.id.len(), 40, "{name}");
                assert!(node.address.endpoint(HostChoice::Ip).is_some(), "{name}");
                assert_eq!(node.flags.slave, node.master.is_some(), "{name}");
            }
        }
        let migrations = |text: &str| {
            let nodes = parse_nodes(text.as_bytes()).unwrap();
            nodes.iter().map(|node| node.migrations).sum::<usize>()
        };
        assert_eq!(migrations(samples::REDIS_6_2_MIGRATING), 2);
        assert_eq!(migrations(samples::REDIS_7_0_MIGRATING), 1);
        assert_eq!(migrations(samples::REDIS_8_2_MIGRATING), 2);
        assert_eq!(migrations(samples::VALKEY_9_1_MIGRATING), 1);
    }

    #[test]
    fn the_form_of_redis_3_is_understood() {
        let text = "\
67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 127.0.0.1:30002 master - 0 1426238316232 2 connected 5461-10922
e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca :0 myself,master - 0 0 1 connected 0-5460
07c37dfeb235213a872192d90877d0cd55635b91 127.0.0.1:30004 slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 1426238317239 4 connected
292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f :0 master,fail,noaddr - 1426238316232 1426238316000 3 disconnected
";
        let nodes = parse_nodes(text.as_bytes()).unwrap();
        let addresses: Vec<_> =
            nodes.iter().map(|node| node.address.endpoint(HostChoice::Ip).is_some()).collect();
        assert_eq!(addresses, [true, false, true, false]);
        assert_eq!(nodes[2].master.as_deref(), Some(&*nodes[1].id));
        assert_eq!((nodes[0].epoch, nodes[3].link), (2, Link::Disconnected));
    }

    #[test]
    fn ipv6_without_brackets_and_a_long_host_name_are_real() {
        let node = line(samples::REDIS_7_0_IPV6);
        let text = |address: Option<Address>| address.map(|address| address.to_string());
        let by_ip = text(node.address.endpoint(HostChoice::Ip));
        assert_eq!(by_ip.as_deref(), Some("[::1]:32211"));
        let by_name = text(node.address.named());
        let name = "a-rather-long-host-name-for-node-1.redis.example.internal:32211";
        assert_eq!(by_name.as_deref(), Some(name));
    }

    #[test]
    fn no_bytes_make_the_parser_panic_or_break_its_word() {
        let seed = seed();
        let mut random = Random::new(seed);
        let words = ["-", "0-16383", "[1->-a]", "fail?", ":0@0", ",,=", "\r\n", " ", "@", "65535"];
        for round in 0..20_000 {
            let (_, text) = samples::WHOLE[random.index(samples::WHOLE.len())];
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=random.index(6) {
                let place = random.index(bytes.len());
                match random.index(4) {
                    0 => bytes[place] = random.next_u64().to_le_bytes()[3],
                    1 => drop(bytes.drain(place..(place + random.index(40)).min(bytes.len()))),
                    2 => drop(bytes.splice(place..place, words[random.index(words.len())].bytes())),
                    _ => bytes.truncate(place.max(1)),
                }
                if bytes.is_empty() {
                    bytes.push(b' ');
                }
            }
            match parse_nodes(&bytes) {
                Ok(nodes) => {
                    for range in nodes.iter().flat_map(|node| &node.slots) {
                        let sound =
                            range.start() <= range.end() && usize::from(*range.end()) < SLOTS;
                        assert!(sound, "seed {seed}, round {round}: {range:?}");
                    }
                }
                Err(error) => {
                    let lines = bytes.split(|byte| *byte == b'\n').count();
                    let is_there = (1..=lines).contains(&error.line);
                    assert!(is_there, "seed {seed}, round {round}: {error}");
                }
            }
        }
    }
}
