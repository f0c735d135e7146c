//! The links of one handler to one server.
//!
//! There is one shared link per database; all clients' requests travel on it. Private links are
//! lent to one request at a time and come back when it is answered. All are named by id, so a
//! link that was lost is a stale id: nobody has to take it out of here, and the next request
//! opens another.

use super::request::LinkId;

/// The links of one handler to one server.
#[derive(Default)]
pub struct ConnectConnectionPool {
    // Database 0, which is all that most pools use, without an indirection.
    first: Option<LinkId>,
    others: Vec<Option<LinkId>>,
    /// Private links that nobody uses, with their databases; the last one used stands last.
    idle: Vec<(u32, LinkId)>,
    /// Since when every try to connect has failed, in microseconds of the monotonic clock; 0
    /// while the last one went well, or there was none.
    pub down_since_us: u64,
}

/// Private links that are kept for the next one who needs one. A link costs little, connecting
/// anew for every large request costs more than the request.
const IDLE_MAX: usize = 64;

impl ConnectConnectionPool {
    /// The shared link for a database, if there is or was one.
    #[inline]
    pub fn shared(&self, database: u32) -> Option<LinkId> {
        match database {
            0 => self.first,
            other => self.others.get(other as usize - 1).copied().flatten(),
        }
    }

    /// Makes `link` the shared one for a database.
    pub fn share(&mut self, database: u32, link: LinkId) {
        match database {
            0 => self.first = Some(link),
            other => {
                let index = other as usize - 1;
                if self.others.len() <= index {
                    self.others.resize(index + 1, None);
                }
                self.others[index] = Some(link);
            }
        }
    }

    /// From now on no link is shared for a database, until [`Self::share`] names another.
    pub fn unshare(&mut self, database: u32) {
        if self.shared(database).is_some() {
            match database {
                0 => self.first = None,
                other => self.others[other as usize - 1] = None,
            }
        }
    }

    /// Lends a private link, which is the borrower's alone until it is given back. It may have
    /// been lost meanwhile.
    pub fn borrow_private(&mut self, database: u32) -> Option<LinkId> {
        let place = self.idle.iter().rposition(|(of, _)| *of == database)?;
        Some(self.idle.remove(place).1)
    }

    /// Takes a private link back. False when there are enough: then it is to be closed.
    pub fn give_back(&mut self, database: u32, link: LinkId) -> bool {
        debug_assert!(!self.idle.contains(&(database, link)), "given back twice");
        if self.idle.len() == IDLE_MAX {
            return false;
        }
        self.idle.push((database, link));
        true
    }

    /// All links that are or were shared.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.first.iter().chain(self.others.iter().flatten()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slab::Id;

    #[test]
    fn there_is_one_shared_link_for_each_database() {
        let mut pool = ConnectConnectionPool::default();
        assert_eq!(pool.shared(0), None);
        pool.share(0, Id::from_u64(1));
        pool.share(5, Id::from_u64(2));
        assert_eq!(
            (pool.shared(0), pool.shared(5)),
            (Some(Id::from_u64(1)), Some(Id::from_u64(2)))
        );
        assert_eq!((pool.shared(4), pool.shared(100)), (None, None));
        assert_eq!(pool.links().count(), 2);
    }

    #[test]
    fn d07_a_private_link_is_lent_to_one_at_a_time() {
        let mut pool = ConnectConnectionPool::default();
        let (one, two) = (Id::from_u64(1), Id::from_u64(2));
        assert!(pool.give_back(0, one) && pool.give_back(3, two));
        assert_eq!(pool.borrow_private(3), Some(two));
        assert_eq!(pool.borrow_private(3), None);
        assert_eq!(pool.borrow_private(0), Some(one));
        assert_eq!(pool.borrow_private(0), None);
    }

    #[test]
    fn d43_no_more_links_are_kept_than_are_of_use() {
        let mut pool = ConnectConnectionPool::default();
        let kept = (0..100).filter(|link| pool.give_back(0, Id::from_u64(*link))).count();
        assert_eq!(kept, IDLE_MAX);
    }
}
