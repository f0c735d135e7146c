//! All ends of a world by their numbers. Numbers are given in order and most ends live briefly, so
//! what is open lies close together and is found without a search.

use std::collections::VecDeque;

use super::end::End;

/// Ends, each at the place that its number says.
#[derive(Default)]
pub(super) struct Ends {
    /// The number of the first place.
    first: u32,
    places: VecDeque<Option<End>>,
}

impl Ends {
    pub(super) fn insert(&mut self, id: u32, end: End) {
        if self.places.is_empty() {
            self.first = id;
        }
        // Numbers only grow, so what was let go of in front is never asked for again.
        let Some(place) = self.place(id) else { return };
        if place >= self.places.len() {
            self.places.resize_with(place + 1, || None);
        }
        self.places[place] = Some(end);
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<End> {
        let end = self.places.get_mut(self.place(id)?)?.take();
        while self.places.front().is_some_and(Option::is_none) {
            self.places.pop_front();
            self.first += 1;
        }
        end
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> Option<&End> {
        self.places.get(self.place(id)?)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut End> {
        let place = self.place(id)?;
        self.places.get_mut(place)?.as_mut()
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        self.get(id).is_some()
    }

    /// All that are open, with their numbers, in the order in which they were made.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &End)> {
        let numbered = (self.first..).zip(&self.places);
        numbered.filter_map(|(id, end)| Some((id, end.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut End> {
        self.places.iter_mut().flatten()
    }

    #[inline]
    fn place(&self, id: u32) -> Option<usize> {
        id.checked_sub(self.first).map(|place| place as usize)
    }
}
