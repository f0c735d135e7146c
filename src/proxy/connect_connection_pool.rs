//! The links of one handler to one server.
//!
//! There is one shared link per lane; all clients' requests travel on it. Private links are
//! lent to one request at a time and come back when it is answered. All are named by id, so a
//! link that was lost is a stale id: nobody has to take it out of here, and the next request
//! opens another.

use super::lane::Lane;
use super::request::LinkId;

/// The links of one handler to one server.
#[derive(Default)]
pub struct ConnectConnectionPool {
    // Lane 0, which is all that most pools use, without an indirection.
    first: Option<LinkId>,
    others: Vec<Option<LinkId>>,
    /// Private links that nobody uses, with their lanes; the last one used stands last.
    idle: Vec<(Lane, LinkId)>,
    /// Since when every try to connect has failed, in microseconds of the monotonic clock; 0
    /// while the last one went well, or there was none.
    pub down_since_us: u64,
    /// When the server last said that it does not speak RESP3, in microseconds of the monotonic
    /// clock; 0 is never.
    pub resp3_refused_us: u64,
}

/// Private links that are kept for the next one who needs one. A link costs little, connecting
/// anew for every large request costs more than the request.
const IDLE_MAX: usize = 64;

impl ConnectConnectionPool {
    /// The shared link of a lane, if there is or was one.
    #[inline]
    pub fn shared(&self, lane: Lane) -> Option<LinkId> {
        match lane.index() {
            0 => self.first,
            other => self.others.get(other - 1).copied().flatten(),
        }
    }

    /// Makes `link` the shared one of a lane.
    pub fn share(&mut self, lane: Lane, link: LinkId) {
        match lane.index() {
            0 => self.first = Some(link),
            other => {
                let index = other - 1;
                if self.others.len() <= index {
                    self.others.resize(index + 1, None);
                }
                self.others[index] = Some(link);
            }
        }
    }

    /// From now on no link is shared in a lane, until [`Self::share`] names another.
    pub fn unshare(&mut self, lane: Lane) {
        if self.shared(lane).is_some() {
            match lane.index() {
                0 => self.first = None,
                other => self.others[other - 1] = None,
            }
        }
    }

    /// Lends a private link, which is the borrower's alone until it is given back. It may have
    /// been lost meanwhile.
    pub fn borrow_private(&mut self, lane: Lane) -> Option<LinkId> {
        let place = self.idle.iter().rposition(|(of, _)| *of == lane)?;
        Some(self.idle.remove(place).1)
    }

    /// Takes a private link back. False when there are enough: then it is to be closed.
    pub fn give_back(&mut self, lane: Lane, link: LinkId) -> bool {
        debug_assert!(!self.idle.contains(&(lane, link)), "given back twice");
        if self.idle.len() == IDLE_MAX {
            return false;
        }
        self.idle.push((lane, link));
        true
    }

    /// Private links that nobody uses; some may have been lost.
    pub fn idle(&self) -> impl Iterator<Item = LinkId> {
        self.idle.iter().map(|(_, link)| *link)
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
    use crate::resp::writer::Protocol;

    fn lane(database: u32) -> Lane {
        Lane::new(database, Protocol::Resp2)
    }

    #[test]
    fn there_is_one_shared_link_for_each_lane() {
        let mut pool = ConnectConnectionPool::default();
        assert_eq!(pool.shared(Lane::default()), None);
        let [first, other, far] = [Lane::default(), lane(5), lane(100)];
        pool.share(first, Id::from_u64(1));
        pool.share(other, Id::from_u64(2));
        assert_eq!(
            (pool.shared(first), pool.shared(other)),
            (Some(Id::from_u64(1)), Some(Id::from_u64(2)))
        );
        assert_eq!(
            (pool.shared(other.with_protocol(Protocol::Resp3)), pool.shared(far)),
            (None, None)
        );
        assert_eq!(pool.links().count(), 2);
    }

    #[test]
    fn d07_a_private_link_is_lent_to_one_at_a_time() {
        let mut pool = ConnectConnectionPool::default();
        let (one, two) = (Id::from_u64(1), Id::from_u64(2));
        assert!(pool.give_back(lane(0), one) && pool.give_back(lane(3), two));
        assert_eq!(pool.borrow_private(lane(3).with_protocol(Protocol::Resp3)), None);
        assert_eq!(pool.borrow_private(lane(3)), Some(two));
        assert_eq!(pool.borrow_private(lane(3)), None);
        assert_eq!(pool.borrow_private(lane(0)), Some(one));
        assert_eq!(pool.borrow_private(lane(0)), None);
    }

    #[test]
    fn d43_no_more_links_are_kept_than_are_of_use() {
        let mut pool = ConnectConnectionPool::default();
        let kept = (0..100).filter(|link| pool.give_back(lane(0), Id::from_u64(*link))).count();
        assert_eq!(kept, IDLE_MAX);
    }
}
