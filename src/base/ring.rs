//! A queue of plain records, for what is in flight.
//!
//! It does what the standard library's does for values that are only copied, and its size is a
//! power of two. What that saves is little, but two such queues are filled and emptied for every
//! request: some 40 instructions of each.

/// Values in the order they came.
#[derive(Clone, Debug)]
pub struct Ring<T> {
    /// Empty, or a power of two of them.
    slots: Box<[T]>,
    head: u32,
    length: u32,
}

/// The first memory is for so many.
const FIRST: usize = 4;

impl<T: Copy> Ring<T> {
    /// An empty one, which owns no memory yet.
    pub fn new() -> Self {
        Ring { slots: Box::default(), head: 0, length: 0 }
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many there is memory for.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Puts one behind the others.
    #[inline(always)]
    pub fn push_back(&mut self, value: T) {
        if self.len() == self.slots.len() {
            self.grow(value);
        }
        let place = self.place(self.length);
        if let Some(slot) = self.slots.get_mut(place as usize) {
            *slot = value;
            self.length += 1;
        }
    }

    /// Puts one in front of the others.
    pub fn push_front(&mut self, value: T) {
        if self.len() == self.slots.len() {
            self.grow(value);
        }
        self.head = self.place(u32::MAX);
        self.slots[self.head as usize] = value;
        self.length += 1;
    }

    /// Takes the first one out.
    #[inline(always)]
    pub fn pop_front(&mut self) -> Option<T> {
        let first = self.front().copied()?;
        self.head = self.place(1);
        self.length -= 1;
        Some(first)
    }

    /// Takes the last one out.
    pub fn pop_back(&mut self) -> Option<T> {
        let last = self.back_mut().copied()?;
        self.length -= 1;
        Some(last)
    }

    /// The first one.
    #[inline(always)]
    pub fn front(&self) -> Option<&T> {
        if self.length == 0 { None } else { self.slots.get(self.head as usize) }
    }

    /// The first one, to be changed.
    #[inline]
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.get_mut(0)
    }

    /// The last one, to be changed.
    pub fn back_mut(&mut self) -> Option<&mut T> {
        self.get_mut(self.len().checked_sub(1)?)
    }

    /// The one that has so many before it.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&T> {
        let place = self.place_of(index)?;
        self.slots.get(place)
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let place = self.place_of(index)?;
        self.slots.get_mut(place)
    }

    /// All of them, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let (begin, wrapped) = self.ends();
        let first = self.slots.get(begin).unwrap_or_default();
        first.iter().chain(&self.slots[..wrapped])
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let (begin, wrapped) = self.ends();
        let (rest, first) = self.slots.split_at_mut(begin.start);
        first[..begin.end - begin.start].iter_mut().chain(&mut rest[..wrapped])
    }

    /// Takes all of them out.
    pub fn clear(&mut self) {
        (self.head, self.length) = (0, 0);
    }

    /// Gives back memory that is not needed for those that are in it.
    pub fn shrink(&mut self) {
        match self.front().copied() {
            None => *self = Ring::new(),
            Some(first) => self.resize(self.len().next_power_of_two().max(FIRST), first),
        }
    }

    /// Where the one lies that has so many before it, if there is one.
    #[inline]
    fn place_of(&self, index: usize) -> Option<usize> {
        let index = u32::try_from(index).ok().filter(|index| *index < self.length)?;
        Some(self.place(index) as usize)
    }

    /// So many places behind the first, going round.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "there are at most 2^31 places")]
    fn place(&self, index: u32) -> u32 {
        self.head.wrapping_add(index) & (self.slots.len() as u32).wrapping_sub(1)
    }

    /// Where those lie that come first, and how many follow at the beginning of the memory.
    fn ends(&self) -> (std::ops::Range<usize>, usize) {
        let (head, length) = (self.head as usize, self.len());
        let first = length.min(self.slots.len() - head);
        (head..head + first, length - first)
    }

    /// Twice the memory, filled up with `value`, for something has to be there.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, value: T) {
        let size = (self.slots.len() * 2).max(FIRST);
        assert!(size <= 1 << 31, "more in flight than there is memory for");
        self.resize(size, value);
    }

    /// Moves to memory for `size`, which is enough for those that are in it.
    fn resize(&mut self, size: usize, value: T) {
        let mut slots = Vec::with_capacity(size);
        slots.extend(self.iter().copied());
        slots.resize(size, value);
        (self.slots, self.head) = (slots.into_boxed_slice(), 0);
    }
}

impl<T: Copy> Default for Ring<T> {
    fn default() -> Self {
        Ring::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::base::random::Random;

    #[test]
    fn it_does_what_the_standard_one_does() {
        let seed = 7;
        let (mut random, mut ring, mut other) = (Random::new(seed), Ring::new(), VecDeque::new());
        // Miri takes a thousand times as long.
        for step in 0..if cfg!(miri) { 1_200 } else { 20_000u32 } {
            // It grows for a while, then it shrinks.
            let grows = step / 500 % 2 == 0;
            match random.index(10) {
                0 => {
                    ring.push_front(step);
                    other.push_front(step);
                }
                1 => assert_eq!(ring.pop_back(), other.pop_back()),
                2..6 if grows => {
                    ring.push_back(step);
                    other.push_back(step);
                }
                2..7 => assert_eq!(ring.pop_front(), other.pop_front()),
                7 => {
                    let index = random.index(other.len() + 2);
                    assert_eq!(ring.get(index), other.get(index));
                    assert_eq!(ring.get_mut(index), other.get_mut(index));
                }
                8 => {
                    ring.iter_mut().for_each(|value| *value += 1);
                    other.iter_mut().for_each(|value| *value += 1);
                }
                _ if random.index(50) == 0 => {
                    ring.shrink();
                    assert!(ring.capacity() <= 2 * ring.len().max(FIRST), "step {step}");
                }
                _ => {}
            }
            assert!(ring.iter().eq(other.iter()), "seed {seed}, step {step}");
            assert_eq!((ring.len(), ring.is_empty()), (other.len(), other.is_empty()));
            assert_eq!(ring.front(), other.front());
            assert_eq!(ring.front_mut(), other.front_mut());
            assert_eq!(ring.back_mut(), other.back_mut());
            assert!(ring.capacity() == 0 || ring.capacity().is_power_of_two());
        }
        ring.clear();
        assert_eq!((ring.pop_front(), ring.iter().count()), (None, 0));
        ring.shrink();
        assert_eq!(ring.capacity(), 0);
    }
}
