//! Sorting, for lists that are short or rarely sorted.
//!
//! The sort of std is compiled anew for each type, 5 to 25 KB each time. Here it is compiled once,
//! for the places of the items, and calls back for each comparison.

use std::cmp::Ordering;

/// Sorts; what is equal keeps its order.
pub fn sort_by<T>(items: &mut [T], mut compare: impl FnMut(&T, &T) -> Ordering) {
    let order = order_of(items.len(), &mut |one, other| compare(&items[one], &items[other]));
    arrange(items, order);
}

/// Sorts by what `key` makes of each; what is equal keeps its order.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], mut key: impl FnMut(&T) -> K) {
    sort_by(items, |one, other| key(one).cmp(&key(other)));
}

/// Sorts; what is equal keeps its order.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// Which of `count` items is to come first, second and so on.
fn order_of(count: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|one, other| compare(*one, *other));
    order
}

/// Puts the item that is now at `order[n]` to place `n`.
fn arrange<T>(items: &mut [T], mut order: Vec<usize>) {
    for place in 0..order.len() {
        // What belongs here may have made room for one of the places before.
        let mut from = order[place];
        while from < place {
            from = order[from];
        }
        items.swap(place, from);
        order[place] = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn it_sorts_as_std_does() {
        let seed = 20_261_123;
        let mut random = Random::new(seed);
        // Miri takes a thousand times as long.
        let longest = if cfg!(miri) { 30 } else { 1000 };
        for count in [0, 1, 2, 3, 10, 30, 100, longest].into_iter().filter(|n| *n <= longest) {
            for _ in 0..20 {
                let below = 1 + count as u64 / 3;
                // The second tells equal ones apart, and is not compared.
                let items: Vec<(u64, usize)> =
                    (0..count).map(|at| (random.below(below), at)).collect();
                let (mut ours, mut theirs) = (items.clone(), items);
                sort_by_key(&mut ours, |item| item.0);
                theirs.sort_by_key(|item| item.0);
                assert_eq!(ours, theirs, "seed {seed}");
                ours.reverse();
                sort(&mut ours);
                theirs.sort();
                assert_eq!(ours, theirs, "seed {seed}");
            }
        }
    }

    #[test]
    fn what_is_sorted_already_stays() {
        let mut names = ["a", "b", "c"].map(String::from);
        sort_by(&mut names, |one, other| one.cmp(other));
        assert_eq!(names, ["a", "b", "c"]);
        sort_by(&mut names, |one, other| other.cmp(one));
        assert_eq!(names, ["c", "b", "a"]);
    }
}
