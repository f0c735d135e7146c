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
    /// Where to connect to; `None` where the line does not say.
    #[must_use]
    pub fn endpoint(&self, choice: HostChoice) -> Option<Address> {
        let (first, second) = match choice {
            HostChoice::Ip => (&self.host, &self.hostname),
            HostChoice::Hostname => (&self.hostname, &self.host),
        };
        let host = first.as_ref().or(second.as_ref())?;
        self.with_port(host)
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
    for host in [Some(host), hostname].into_iter().flatten().filter(|host| known(host)) {
        Address::from_host(host, port).map_err(|_| "has an address that is none")?;
    }
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
