//! A master and its replicas, and which of them gets a read.
//!
//! A group lists its candidates once, when its topology is built, with everything that the choice
//! depends on but health and load. Choosing allocates nothing and is the same in every kind of
//! pool.

use std::sync::Arc;

use super::dc::Wish;
use super::health::Health;
use super::server::ServerId;
use crate::base::order;
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
        order::sort_by_key(&mut list, |reader| reader.center.map(|(center, _)| center));
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
        // The draw is below the total, and the first centre whose sum is above it is meant: each
        // gets exactly its share (D-24).
        let drawn = random.below(total);
        let (mut sum, mut chosen) = (0, None);
        self.weights(candidates, highest, |center, weight| {
            sum += weight;
            chosen = Some(center);
            sum > drawn
        });
        // Centres without weight are not read from.
        let chosen = Some(chosen?);
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

#[cfg(test)]
mod tests {
    use super::super::health::{Failure, HealthRules};
    use super::super::test_support::{chi_square, seed};
    use super::*;

    /// A reader of server `id`, maybe in a centre: `(centre, its priority, its weight)`.
    fn reader(id: u32, priority: u32, center: Option<(usize, u32, u32)>) -> Reader {
        Reader {
            server: ServerId(id),
            priority,
            center: center.map(|(center, priority, weight)| (center, Wish { priority, weight })),
            health: Arc::new(Health::new()),
        }
    }

    fn plain(priorities: &[u32]) -> Readers {
        let list = (0..).zip(priorities).map(|(id, priority)| reader(id, *priority, None));
        Readers::new(list.collect())
    }

    /// One server in each centre of these `(priority, weight)`.
    fn in_centers(wishes: &[(u32, u32)]) -> Readers {
        let list = (0..).zip(wishes).enumerate();
        Readers::new(
            list.map(|(center, (id, (priority, weight)))| {
                reader(id, 50, Some((center, *priority, *weight)))
            })
            .collect(),
        )
    }

    fn fail(readers: &Readers, ids: &[u32]) {
        let rules = HealthRules { failure_limit: 1, retry_timeout_us: 1, probe_timeout_us: 1 };
        for reader in &readers.list {
            if ids.contains(&reader.server.0) {
                reader.health.fail(Failure::Reset, 0, &rules);
            }
        }
    }

    /// How often each of `servers` is chosen, with so many pending requests at each.
    fn draw(readers: &Readers, servers: usize, pending: &[u32], seed: u64) -> Vec<u64> {
        let mut random = Random::new(seed);
        let mut counts = vec![0; servers];
        for _ in 0..20_000 {
            let load = |id: ServerId| pending.get(id.index()).copied().unwrap_or(0);
            if let Some(id) = readers.choose(None, load, &mut random) {
                counts[id.index()] += 1;
            }
        }
        counts
    }

    /// Checks that the draws have these shares. By chance the limit is passed less than once in a
    /// million times.
    #[track_caller]
    fn check(readers: &Readers, pending: &[u32], shares: &[u64]) {
        let seed = seed();
        let counts = draw(readers, shares.len(), pending, seed);
        let (mut drawn, mut wanted) = (Vec::new(), Vec::new());
        for (count, share) in counts.iter().zip(shares) {
            if *share == 0 {
                assert_eq!(*count, 0, "seed {seed}: {counts:?} for {shares:?}");
            } else {
                drawn.push(*count);
                wanted.push(*share);
            }
        }
        if !wanted.is_empty() {
            let far = chi_square(&drawn, &wanted);
            let freedom = f64::from(u32::try_from(wanted.len() - 1).unwrap());
            let limit = freedom + 8.0 * (2.0 * freedom).sqrt() + 13.0;
            assert!(far < limit, "seed {seed}: {counts:?} for {shares:?}, chi square {far}");
        }
    }

    #[test]
    fn equal_servers_share_and_higher_priorities_have_all() {
        check(&plain(&[50, 50]), &[], &[1, 1]);
        check(&plain(&[50, 50, 50, 50, 50, 50, 50]), &[], &[1; 7]);
        check(&plain(&[60, 50]), &[], &[1, 0]);
        check(&plain(&[10, 50, 50]), &[], &[0, 1, 1]);
        check(&plain(&[10]), &[], &[1]);
        check(&plain(&[]), &[], &[]);
    }

    #[test]
    fn the_fewest_pending_requests_decide_among_equals() {
        check(&plain(&[50, 50, 50]), &[2, 1, 1], &[0, 1, 1]);
        check(&plain(&[50, 50, 50]), &[7, 3, 4], &[0, 1, 0]);
        check(&plain(&[60, 50]), &[1000, 0], &[1, 0]);
        check(&plain(&[50, 50]), &[u32::MAX, u32::MAX], &[1, 1]);
    }

    #[test]
    fn failed_servers_are_chosen_only_when_all_have_failed() {
        let readers = plain(&[60, 50, 50]);
        fail(&readers, &[0]);
        check(&readers, &[], &[0, 1, 1]);
        fail(&readers, &[1]);
        check(&readers, &[0, 0, 9], &[0, 0, 1]);
        fail(&readers, &[2]);
        check(&readers, &[], &[1, 0, 0]);
        let readers = plain(&[50, 50]);
        fail(&readers, &[0, 1]);
        check(&readers, &[5, 0], &[1, 1]);
    }

    #[test]
    fn a_server_can_be_left_out() {
        let mut random = Random::new(1);
        let readers = plain(&[60, 50]);
        let choice = readers.choose(Some(ServerId(0)), |_| 0, &mut random);
        assert_eq!(choice, Some(ServerId(1)));
        let only = plain(&[60]);
        assert_eq!(only.choose(Some(ServerId(0)), |_| 0, &mut random), None);
        fail(&readers, &[0, 1]);
        let choice = readers.choose(Some(ServerId(0)), |_| 0, &mut random);
        assert_eq!(choice, Some(ServerId(1)));
    }

    #[test]
    fn d24_centres_get_the_shares_of_their_weights() {
        check(&in_centers(&[(50, 1), (50, 1)]), &[], &[1, 1]);
        check(&in_centers(&[(50, 5), (50, 2)]), &[], &[5, 2]);
        check(&in_centers(&[(50, 1), (50, 9)]), &[], &[1, 9]);
        check(&in_centers(&[(50, 3), (50, 2), (50, 1)]), &[], &[3, 2, 1]);
        check(&in_centers(&[(50, u32::MAX), (50, u32::MAX)]), &[], &[1, 1]);
    }

    #[test]
    fn a_centre_gets_its_share_however_many_servers_it_has() {
        let in_center = |id, center| reader(id, 50, Some((center, 10, 1)));
        let readers = vec![in_center(0, 0), in_center(1, 1), in_center(2, 0), in_center(3, 0)];
        check(&Readers::new(readers), &[], &[1, 3, 1, 1]);
    }

    #[test]
    fn the_highest_priority_of_a_centre_that_answers_decides() {
        let readers = in_centers(&[(50, 1), (20, 5), (20, 2)]);
        check(&readers, &[9, 0, 0], &[1, 0, 0]);
        fail(&readers, &[0]);
        check(&readers, &[], &[0, 5, 2]);
        fail(&readers, &[1, 2]);
        check(&readers, &[], &[1, 0, 0]);
    }

    #[test]
    fn a_centre_without_weight_is_not_read_from() {
        check(&in_centers(&[(50, 0), (50, 3)]), &[], &[0, 1]);
        check(&in_centers(&[(50, 0), (50, 0)]), &[], &[0, 0]);
        check(&in_centers(&[(50, 0)]), &[], &[0]);
        // It is not left for one of a lower priority either.
        check(&in_centers(&[(50, 0), (20, 1)]), &[], &[0, 0]);
    }

    #[test]
    fn inside_a_centre_priorities_and_load_decide() {
        let readers = Readers::new(vec![
            reader(0, 60, Some((0, 10, 1))),
            reader(1, 50, Some((0, 10, 1))),
            reader(2, 50, Some((1, 10, 1))),
            reader(3, 50, Some((1, 10, 1))),
        ]);
        check(&readers, &[9, 0, 0, 1], &[1, 0, 1, 0]);
    }

    #[test]
    fn a_group_may_have_more_servers_than_it_reads_from() {
        let readers = plain(&[50; 100]);
        check(&readers, &[], &[&[1; 64][..], &[0; 36]].concat());
    }
}
