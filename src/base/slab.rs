//! Owned slots with ids that go stale.
//!
//! Nobody in this program points at anybody: things name each other by [`Id`]. An id is a
//! slot and the generation of its tenant, so asking for somebody who has left gives `None`
//! instead of a stranger.

use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;

/// Names a tenant of a [`Slab<T>`], for as long as it lives there.
pub struct Id<T> {
    slot: u32,
    generation: u32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The id as one number, to travel through the multiplexor.
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The id that [`Id::to_u64`] made `packed` from.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are cut on purpose")]
    pub fn from_u64(packed: u64) -> Self {
        Id { slot: packed as u32, generation: (packed >> 32) as u32, kind: PhantomData }
    }
}

/// A growing set of tenants in numbered slots; slots are used again, ids are not.
///
/// Slots are never given back, so the slab stays as large as it was at its fullest.
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    tenant: Option<T>,
}

impl<T> Slab<T> {
    /// An empty slab, which owns no memory yet.
    pub const fn new() -> Self {
        Slab { slots: Vec::new(), free: Vec::new() }
    }

    /// Moves `tenant` in and names it.
    ///
    /// # Panics
    ///
    /// With 2^32 tenants, for which no machine has the memory.
    #[cfg_attr(small, optimize(speed))]
    pub fn insert(&mut self, tenant: T) -> Id<T> {
        if let Some(slot) = self.free.pop() {
            let place = &mut self.slots[slot as usize];
            place.tenant = Some(tenant);
            return Id { slot, generation: place.generation, kind: PhantomData };
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 tenants");
        self.slots.push(Slot { generation: 0, tenant: Some(tenant) });
        Id { slot, generation: 0, kind: PhantomData }
    }

    /// Moves the tenant out; its id is stale from now on.
    #[cfg_attr(small, optimize(speed))]
    pub fn remove(&mut self, id: Id<T>) -> Option<T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let tenant = slot.tenant.take()?;
        // After 2^32 tenants of one slot an id could come back; by then its holder is long gone.
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(tenant)
    }

    /// The tenant, unless it has left.
    #[inline]
    pub fn get(&self, id: Id<T>) -> Option<&T> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.generation == id.generation { slot.tenant.as_ref() } else { None }
    }

    /// The tenant, to be changed, unless it has left.
    #[inline]
    pub fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation == id.generation { slot.tenant.as_mut() } else { None }
    }

    /// How many tenants there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether nobody lives here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All tenants with their ids, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let tenant = slot.tenant.as_ref()?;
            let slot_number = u32::try_from(index).ok()?;
            let id = Id { slot: slot_number, generation: slot.generation, kind: PhantomData };
            Some((id, tenant))
        })
    }

    /// The ids of all tenants, for walks that remove some of them.
    pub fn ids(&self) -> Vec<Id<T>> {
        self.iter().map(|(id, _)| id).collect()
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab::new()
    }
}

// Derived implementations would ask the same of `T`, which an id does not hold.
impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.slot == other.slot && self.generation == other.generation
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By slot, so that walks in this order are walks through the slab.
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.slot, self.generation).cmp(&(other.slot, other.generation))
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_goes_stale_when_its_tenant_leaves() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&'b'));
    }

    #[test]
    fn slots_are_used_again() {
        let mut slab = Slab::new();
        for _ in 0..100 {
            let id = slab.insert(());
            slab.remove(id);
        }
        assert_eq!(slab.slots.len(), 1);
        assert!(slab.is_empty());
    }

    #[test]
    fn an_id_survives_packing() {
        let mut slab = Slab::new();
        let gone = slab.insert(1);
        slab.remove(gone);
        let id = slab.insert(2);
        assert_eq!(Id::from_u64(id.to_u64()), id);
        assert_ne!(Id::from_u64(gone.to_u64()), id);
    }

    #[test]
    fn a_walk_sees_every_tenant_once() {
        let mut slab = Slab::new();
        let ids: Vec<_> = (0..5).map(|n| slab.insert(n)).collect();
        slab.remove(ids[2]);
        let seen: Vec<_> = slab.iter().map(|(_, n)| *n).collect();
        assert_eq!(seen, [0, 1, 3, 4]);
        assert_eq!(slab.ids().len(), slab.len());
    }
}
