//! A map and a set in the order of their keys, for what is short or seldom changed.
//!
//! The maps of std are compiled anew for each type, 3 to 8 KB each time. These are lists, and what
//! they need for each type is little more than moving an entry; the search is compiled once. Putting
//! something in moves what comes after it, so what strangers can make long belongs into a map of std.

use std::cmp::Ordering;

/// A map in the order of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortedMap<K, V> {
    entries: Vec<(K, V)>,
}

/// A set in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortedSet<K> {
    entries: SortedMap<K, ()>,
}

impl<K, V> SortedMap<K, V> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> SortedMap<K, V> {
        SortedMap { entries: Vec::new() }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Takes out what `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of it, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + ExactSizeIterator {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator {
        self.entries.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator {
        self.entries.iter().map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> + ExactSizeIterator {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// The last key, with its value.
    #[must_use]
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.entries.last().map(|(key, value)| (key, value))
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// Puts a value in; the one that was there is given back.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place_of(|known| known.cmp(&key)) {
            Ok(place) => Some(std::mem::replace(&mut self.entries[place].1, value)),
            Err(place) => {
                self.entries.insert(place, (key, value));
                None
            }
        }
    }

    /// The value of a key, which is made first if there is none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let place = match self.place_of(|known| known.cmp(&key)) {
            Ok(place) => place,
            Err(place) => {
                self.entries.insert(place, (key, make()));
                place
            }
        };
        &mut self.entries[place].1
    }

    /// The place of the key that `order` calls equal, or the one where it would have to be. `order` tells
    /// how a key stands to the wanted one.
    fn place_of(&self, order: impl Fn(&K) -> Ordering) -> Result<usize, usize> {
        search(self.entries.len(), &|place| order(&self.entries[place].0))
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let place = self.place_of(|known| known.borrow().cmp(key)).ok()?;
        Some(&self.entries[place].1)
    }

    /// The same, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let place = self.place_of(|known| known.borrow().cmp(key)).ok()?;
        Some(&mut self.entries[place].1)
    }

    /// Whether a key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.place_of(|known| known.borrow().cmp(key)).is_ok()
    }

    /// Takes a key out; its value is given back.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let place = self.place_of(|known| known.borrow().cmp(key)).ok()?;
        Some(self.entries.remove(place).1)
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> SortedMap<K, V> {
        SortedMap::new()
    }
}

impl<K, V> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// Of several values of one key the last one stays.
impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> SortedMap<K, V> {
        let mut entries: Vec<(K, V)> = pairs.into_iter().collect();
        super::order::sort_by(&mut entries, |one, other| one.0.cmp(&other.0));
        // Equal keys are in the order in which they came; the later one takes the place.
        entries.dedup_by(|later, kept| {
            let is_same = later.0 == kept.0;
            if is_same {
                std::mem::swap(later, kept);
            }
            is_same
        });
        SortedMap { entries }
    }
}

impl<K> SortedSet<K> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> SortedSet<K> {
        SortedSet { entries: SortedMap::new() }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of it, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator {
        self.entries.keys()
    }

    /// Takes out what `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.entries.retain(|key, ()| keep(key));
    }
}

impl<K: Ord> SortedSet<K> {
    /// Whether it was not there yet.
    pub fn insert(&mut self, key: K) -> bool {
        self.entries.insert(key, ()).is_none()
    }

    /// Whether a key is there.
    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.entries.contains_key(key)
    }

    /// Whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.entries.remove(key).is_some()
    }
}

impl<K> Default for SortedSet<K> {
    fn default() -> SortedSet<K> {
        SortedSet::new()
    }
}

impl<K> IntoIterator for SortedSet<K> {
    type Item = K;
    type IntoIter = std::iter::Map<std::vec::IntoIter<(K, ())>, fn((K, ())) -> K>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter().map(|(key, ())| key)
    }
}

impl<K: Ord> FromIterator<K> for SortedSet<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> SortedSet<K> {
        SortedSet { entries: keys.into_iter().map(|key| (key, ())).collect() }
    }
}

/// Where among `count` entries the wanted one is, or where it would have to be.
fn search(count: usize, order: &dyn Fn(usize) -> Ordering) -> Result<usize, usize> {
    let (mut from, mut to) = (0, count);
    while from < to {
        let middle = usize::midpoint(from, to);
        match order(middle) {
            Ordering::Less => from = middle + 1,
            Ordering::Greater => to = middle,
            Ordering::Equal => return Ok(middle),
        }
    }
    Err(from)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::random::Random;

    /// Whatever is done to it, it is what the map of std would be.
    #[test]
    fn does_as_the_map_of_std_does() {
        let mut random = Random::new(0x50_8ed);
        let (mut ours, mut theirs) = (SortedMap::new(), BTreeMap::new());
        // Miri takes a thousand times as long.
        for step in 0..if cfg!(miri) { 500 } else { 20_000_usize } {
            let key = random.index(97);
            match random.index(6) {
                0 | 1 => assert_eq!(ours.insert(key, step), theirs.insert(key, step)),
                2 => assert_eq!(ours.remove(&key), theirs.remove(&key)),
                3 => {
                    *ours.get_or_insert_with(key, || step) += 1;
                    *theirs.entry(key).or_insert(step) += 1;
                }
                4 => assert_eq!(ours.get_mut(&key), theirs.get_mut(&key)),
                _ if random.index(40) == 0 => {
                    ours.retain(|key, value| (*key + *value) % 3 != 0);
                    theirs.retain(|key, value| (*key + *value) % 3 != 0);
                }
                _ => assert_eq!(ours.contains_key(&key), theirs.contains_key(&key)),
            }
            assert_eq!(ours.get(&key), theirs.get(&key));
            assert_eq!(ours.len(), theirs.len());
            assert_eq!(ours.last_key_value(), theirs.last_key_value());
        }
        assert!(ours.iter().eq(theirs.iter()));
        assert!(ours.keys().eq(theirs.keys()));
        assert!(ours.values().eq(theirs.values()));
        assert!(ours.into_iter().eq(theirs));
    }

    #[test]
    fn of_several_values_of_a_key_the_last_one_stays() {
        let pairs = [(2, 'a'), (1, 'b'), (2, 'c'), (3, 'd'), (1, 'e'), (2, 'f')];
        let map: SortedMap<_, _> = pairs.into_iter().collect();
        assert!(map.into_iter().eq(BTreeMap::from(pairs)));
    }

    #[test]
    fn a_set_has_each_key_once() {
        let mut set: SortedSet<_> = [3, 1, 3, 2, 1].into_iter().collect();
        assert!(set.iter().eq([&1, &2, &3]));
        assert!(!set.insert(2));
        assert!(set.remove(&2));
        assert!(!set.remove(&2));
        assert!(!set.contains(&2));
        set.retain(|key| *key > 1);
        assert_eq!((set.len(), set.is_empty()), (1, false));
    }
}
