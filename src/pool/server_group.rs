//! A master and its replicas, and which of them gets a read.
//!
//! A group lists its candidates once, when its topology is built, with everything that the choice
//! depends on but health and load. Choosing allocates nothing and is the same in every kind of
//! pool.

use std::sync::Arc;

use super::dc::Wish;
use super::health::Health;
use super::server::ServerId;
use crate::base::random::Random;

/// Names a group. In a pool of fixed or Sentinel groups it is the place in the file; in a cluster
/// it is given when the group is first seen, and a replica that becomes master inherits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub(super) u16);

impl GroupId {
    /// The id of this index.
    #[must_use]
    pub fn from_index(index: usize) -> Option<GroupId> {
        u16::try_from(index).ok().filter(|index| *index < u16::MAX).map(GroupId)
    }

    /// A small number that stays with the group, as SCAN's cursor needs it.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A master and its replicas.
#[derive(Clone, Debug)]
pub struct ServerGroup {
    pub(super) id: GroupId,
    pub(super) name: Arc<str>,
    pub(super) master: Option<ServerId>,
    pub(super) replicas: Vec<ServerId>,
    pub(super) slots: usize,
    pub(super) sentinels: Vec<ServerId>,
    pub(super) readers: Readers,
}

impl ServerGroup {
    /// A group without servers.
    pub(super) fn new(id: GroupId, name: &str) -> ServerGroup {
        ServerGroup {
            id,
            name: Arc::from(name),
            master: None,
            replicas: Vec::new(),
            slots: 0,
            sentinels: Vec::new(),
            readers: Readers::default(),
        }
    }

    /// The group's name for the topology.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// The master's node id in a cluster, else the name in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who takes the writes.
    #[must_use]
    pub fn master(&self) -> Option<ServerId> {
        self.master
    }

    /// The replicas, in the order in which they were told.
    #[must_use]
    pub fn replicas(&self) -> &[ServerId] {
        &self.replicas
    }

    /// The master, then the replicas.
    pub fn servers(&self) -> impl Iterator<Item = ServerId> {
        self.master.into_iter().chain(self.replicas.iter().copied())
    }

    /// How many slots the group serves; 0 outside clusters.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Whether both say the same about the same group.
    pub(super) fn says_the_same(&self, other: &ServerGroup) -> bool {
        self.id == other.id
            && self.name == other.name
            && self.master == other.master
            && self.replicas == other.replicas
            && self.slots == other.slots
            && self.sentinels == other.sentinels
    }
}

/// A server that may get reads, with what decides how many.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Which server.
    pub server: ServerId,
    /// By its role; never 0.
    pub priority: u32,
    /// Its data centre, where these are used, and how much ours wants to read from it.
    pub center: Option<(usize, Wish)>,
    /// Whether it answers.
    pub health: Arc<Health>,
}

/// The servers of a group that may get reads, those of one data centre next to each other.
#[derive(Clone, Debug, Default)]
pub struct Readers {
    list: Vec<Reader>,
}

impl Readers {
    /// A group reads from at most so many of its servers: one for each bit of a [`Mask`].
    pub const MAX: usize = 64;

    /// Takes the candidates; those beyond [`Readers::MAX`] are left out.
    #[must_use]
    pub fn new(mut list: Vec<Reader>) -> Readers {
        list.truncate(Readers::MAX);
        list.sort_by_key(|reader| reader.center.map(|(center, _)| center));
        Readers { list }
    }

    /// The server for one read, or `None` if no server may get it.
    ///
    /// Alive ones go before failed ones. By data centre first, where these are used: the highest
    /// priority, ties by weight. Then the servers with the highest priority, of these those with
    /// the fewest pending requests, of these any. If all have failed, any with the highest
    /// priority.
    pub fn choose(
        &self,
        except: Option<ServerId>,
        pending: impl Fn(ServerId) -> u32,
        random: &mut Random,
    ) -> Option<ServerId> {
        if let [only] = self.list.as_slice() {
            let allowed =
                except != Some(only.server) && only.center.is_none_or(|(_, wish)| wish.weight > 0);
            return allowed.then_some(only.server);
        }
        // Health is read once, so that no step sees another picture than the one before it.
        let candidates = self.mask(|reader| Some(reader.server) != except);
        let alive = candidates & self.mask(|reader| !reader.health.is_failed());
        let load = |server| if alive == 0 { 0 } else { pending(server) };
        let candidates = if alive == 0 { candidates } else { alive };
        let candidates = self.in_one_center(candidates, random)?;
        self.least_loaded(candidates, load, random)
    }

    /// Keeps the candidates of one data centre, or all where these are not used.
    fn in_one_center(&self, candidates: Mask, random: &mut Random) -> Option<Mask> {
        let wished = self.of(candidates).filter_map(|reader| reader.center);
        let Some(highest) = wished.map(|(_, wish)| wish.priority).max() else {
            return Some(candidates);
        };
        let mut total = 0;
        self.weights(candidates, highest, |_, weight| {
            total += weight;
            false
        });
        if total == 0 {
            return None;
        }
        // The draw is below the total, and the first centre whose sum is above it is meant: each
        // gets exactly its share (D-24).
        let drawn = random.below(total);
        let (mut sum, mut chosen) = (0, None);
        self.weights(candidates, highest, |center, weight| {
            sum += weight;
            chosen = Some(center);
            sum > drawn
        });
        Some(candidates & self.mask(|reader| reader.center.map(|(center, _)| center) == chosen))
    }

    /// Shows `see` each centre of this priority that has a candidate, once, with its weight, until
    /// it has seen enough.
    fn weights(&self, candidates: Mask, priority: u32, mut see: impl FnMut(usize, u64) -> bool) {
        let mut last = None;
        for (center, wish) in self.of(candidates).filter_map(|reader| reader.center) {
            if wish.priority != priority || last == Some(center) {
                continue;
            }
            last = Some(center);
            if wish.weight > 0 && see(center, u64::from(wish.weight)) {
                return;
            }
        }
    }

    /// Of the highest priority the one with the least load; ties are drawn.
    fn least_loaded(
        &self,
        candidates: Mask,
        load: impl Fn(ServerId) -> u32,
        random: &mut Random,
    ) -> Option<ServerId> {
        let highest = self.of(candidates).map(|reader| reader.priority).max()?;
        let (mut chosen, mut least, mut ties) = (None, u32::MAX, 0);
        for reader in self.of(candidates).filter(|reader| reader.priority == highest) {
            let load = load(reader.server);
            if chosen.is_none() || load < least {
                (chosen, least, ties) = (Some(reader.server), load, 1);
            } else if load == least {
                ties += 1;
                // Each of n ties ends up chosen with a chance of 1/n.
                if random.one_in(ties) {
                    chosen = Some(reader.server);
                }
            }
        }
        chosen
    }

    /// Which readers are so.
    fn mask(&self, is_so: impl Fn(&Reader) -> bool) -> Mask {
        let bits = self.list.iter().enumerate();
        bits.fold(0, |mask, (index, reader)| mask | (Mask::from(is_so(reader)) << index))
    }

    /// The readers whose bits are set.
    fn of(&self, mask: Mask) -> impl Iterator<Item = &Reader> {
        let bits = self.list.iter().enumerate();
        bits.filter(move |(index, _)| mask >> index & 1 == 1).map(|(_, reader)| reader)
    }
}

/// One bit for each reader.
type Mask = u64;
