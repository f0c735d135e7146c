//! Which of a server's connections a client's requests travel on.
//!
//! All requests of a link are for one database and in one protocol, so there is one shared link
//! per database and protocol: a lane. What a client wants is one number, the number is an index,
//! and those who never ask for anything else stay in lane 0.

use crate::resp::writer::Protocol;

/// A database, and the protocol in which it is spoken of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane(u32);

impl Lane {
    /// The lane of this database and this protocol.
    #[must_use]
    pub fn new(database: u32, protocol: Protocol) -> Lane {
        Lane(database * 2 + u32::from(protocol == Protocol::Resp3))
    }

    /// Its number among the lanes.
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The database.
    #[must_use]
    pub fn database(self) -> u32 {
        self.0 / 2
    }

    /// The protocol.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        if self.0.is_multiple_of(2) { Protocol::Resp2 } else { Protocol::Resp3 }
    }

    /// The lane of another database in the same protocol.
    #[must_use]
    pub fn with_database(self, database: u32) -> Lane {
        Lane::new(database, self.protocol())
    }

    /// The lane of the same database in another protocol.
    #[must_use]
    pub fn with_protocol(self, protocol: Protocol) -> Lane {
        Lane::new(self.database(), protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_database_has_a_lane_for_each_protocol() {
        let mut next = 0;
        for database in [0, 1, 2, 3] {
            for protocol in [Protocol::Resp2, Protocol::Resp3] {
                let lane = Lane::new(database, protocol);
                assert_eq!(lane.index(), next);
                assert_eq!((lane.database(), lane.protocol()), (database, protocol));
                next += 1;
            }
        }
        assert_eq!(Lane::default(), Lane::new(0, Protocol::Resp2));
    }

    #[test]
    fn one_half_of_a_lane_changes_alone() {
        let lane = Lane::new(7, Protocol::Resp3);
        assert_eq!(lane.with_database(2), Lane::new(2, Protocol::Resp3));
        assert_eq!(lane.with_protocol(Protocol::Resp2), Lane::new(7, Protocol::Resp2));
    }
}
