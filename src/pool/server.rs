//! One server: where it is, what it is, and how to log in there.
//!
//! A `Server` is a value inside one topology; what lives on from one topology to the next is its
//! id and its [`Health`]. It knows no connections and no counters.

use std::fmt;
use std::sync::Arc;

use super::health::Health;
use super::server_group::GroupId;
use crate::base::address::Address;
use crate::conf::Secret;

/// Names a server, for as long as the process runs: an id is given to one address once and never
/// to another, also when the server is gone. Ids count up from 0, so they can index a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub(super) u32);

impl ServerId {
    /// The id of this index, for tables that are kept by it.
    #[must_use]
    pub fn from_index(index: usize) -> Option<ServerId> {
        u32::try_from(index).ok().map(ServerId)
    }

    /// Where the server is in a table by id.
    #[must_use]
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a server is, as far as we were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Nobody has said yet.
    #[default]
    Unknown,
    /// Takes writes.
    Master,
    /// A replica.
    Slave,
    /// Knows who the master is, and keeps no data.
    Sentinel,
}

impl Role {
    /// The word that INFO has for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Unknown => "unknown",
            Role::Master => "master",
            Role::Slave => "slave",
            Role::Sentinel => "sentinel",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a server is good for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Part of the pool: gets requests.
    Routed,
    /// A cluster seed that is in no answer (yet): asked about the topology, but gets no requests.
    Contact,
    /// Listed in the file for a group, but no Sentinel has named it (yet): left alone.
    Offline,
}

/// How to log in at a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user; `None` is Redis's default user.
    pub username: Option<String>,
    /// The password.
    pub password: Secret,
}

/// One server, as one topology knows it.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) id: ServerId,
    pub(super) address: Address,
    pub(super) announced: Option<Address>,
    pub(super) hostname: Option<Address>,
    pub(super) role: Role,
    pub(super) standing: Standing,
    pub(super) is_static: bool,
    pub(super) is_down: bool,
    pub(super) group: Option<GroupId>,
    pub(super) group_name: Arc<str>,
    pub(super) center: Option<usize>,
    pub(super) credentials: Option<Arc<Credentials>>,
    pub(super) node_id: Option<Arc<str>>,
    /// The configuration epoch of its node, or of the master that it follows; 0 as long as nobody
    /// has said.
    pub(super) epoch: u64,
    pub(super) health: Arc<Health>,
}

impl Server {
    /// A server of which only the address is known.
    pub(super) fn new(id: ServerId, address: Address, standing: Standing) -> Server {
        Server {
            id,
            address,
            announced: None,
            hostname: None,
            role: Role::Unknown,
            standing,
            is_static: false,
            is_down: false,
            group: None,
            group_name: Arc::from(""),
            center: None,
            credentials: None,
            node_id: None,
            epoch: 0,
            health: Arc::new(Health::new()),
        }
    }

    /// The server's name for ever.
    #[must_use]
    pub fn id(&self) -> ServerId {
        self.id
    }

    /// The address it is known by: what the file says, or what it was discovered as.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where to connect to, in the order to try.
    ///
    /// A seed whose node announces another address is that node: a name may lead to several
    /// nodes, so the announced address comes first. The one in the file comes second: it still
    /// works when the node has moved, or announces what cannot be reached from here.
    pub fn endpoints(&self) -> impl Iterator<Item = &Address> {
        self.announced.iter().chain([&self.address])
    }

    /// Every other address by which redirections and answers may name it.
    pub fn aliases(&self) -> impl Iterator<Item = &Address> {
        self.announced.iter().chain(&self.hostname)
    }

    /// What it is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// What it is good for.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether the file lists it, which decides the priority of a replica.
    #[must_use]
    pub fn is_static(&self) -> bool {
        self.is_static
    }

    /// Whether the cluster or Sentinel says that it is down. Such a replica gets no reads; such a
    /// master keeps its slots until it is replaced.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.is_down
    }

    /// The group it is in.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        self.group
    }

    /// `Group` of INFO: the node id of the master in a cluster, else the name in the file.
    #[must_use]
    pub fn group_name(&self) -> &str {
        &self.group_name
    }

    /// Index of its data centre in the configuration; see [`super::Topology::center_name`].
    #[must_use]
    pub fn center(&self) -> Option<usize> {
        self.center
    }

    /// How to log in there; `None` sends no AUTH.
    #[must_use]
    pub fn credentials(&self) -> Option<&Arc<Credentials>> {
        self.credentials.as_ref()
    }

    /// Its id in the cluster, once known.
    #[must_use]
    pub fn node_id(&self) -> Option<&str> {
        self.node_id.as_deref()
    }

    /// Whether it answers; shared by all handlers and all topologies.
    #[must_use]
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Whether both say the same about the same server; health is not compared.
    pub(super) fn says_the_same(&self, other: &Server) -> bool {
        let Server {
            id,
            address,
            announced,
            hostname,
            role,
            standing,
            is_static,
            is_down,
            group,
            group_name,
            center,
            credentials,
            node_id,
            epoch,
            health: _,
        } = self;
        *id == other.id
            && *address == other.address
            && *announced == other.announced
            && *hostname == other.hostname
            && *role == other.role
            && *standing == other.standing
            && *is_static == other.is_static
            && *is_down == other.is_down
            && *epoch == other.epoch
            && *group == other.group
            && *group_name == other.group_name
            && *center == other.center
            && *credentials == other.credentials
            && *node_id == other.node_id
    }
}
