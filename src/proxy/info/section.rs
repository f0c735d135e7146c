//! The sections of INFO by name, and sets of them.

/// A part of the text, under a heading. predixy's come first, then Redis's in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Who we are.
    Proxy,
    /// What we use.
    SystemResource,
    /// What we have done.
    Stats,
    /// What we have done with each server.
    Servers,
    /// How long it took.
    LatencyMonitor,
    /// Redis's `Server`.
    RedisServer,
    /// Redis's `Clients`.
    Clients,
    /// Redis's `Memory`.
    Memory,
    /// Redis's `Persistence`.
    Persistence,
    /// Redis's `Stats`.
    RedisStats,
    /// Redis's `Replication`.
    Replication,
    /// Redis's `CPU`.
    Cpu,
    /// Redis's `Modules`.
    Modules,
    /// Redis's `Commandstats`.
    CommandStats,
    /// Redis's `Errorstats`.
    ErrorStats,
    /// Redis's `Cluster`.
    Cluster,
    /// Redis's `Keyspace`.
    Keyspace,
}

use Section::*;

/// The sections to be shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sections(u32);

impl Sections {
    /// None: the reply is empty.
    pub const NONE: Sections = Sections(0);

    /// What is shown when nothing in particular is asked for: all of predixy's, and what Redis
    /// shows then.
    pub const DEFAULT: Sections = Sections::of(&[
        Proxy,
        SystemResource,
        Stats,
        Servers,
        LatencyMonitor,
        RedisServer,
        Clients,
        Memory,
        Persistence,
        RedisStats,
        Replication,
        Cpu,
        Modules,
        ErrorStats,
        Cluster,
        Keyspace,
    ]);

    /// Every one.
    pub const ALL: Sections = Sections::DEFAULT.and(Sections::of(&[CommandStats]));

    /// These.
    #[must_use]
    pub const fn of(sections: &[Section]) -> Sections {
        let (mut set, mut index) = (0, 0);
        while index < sections.len() {
            set |= 1 << sections[index] as u32;
            index += 1;
        }
        Sections(set)
    }

    /// What one argument of INFO asks for, in any case. A name that predixy and Redis both have
    /// means both, predixy's first.
    #[must_use]
    pub fn named(name: &[u8]) -> Sections {
        let named = NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        named.map_or(Sections::NONE, |(_, sections)| *sections)
    }

    /// These and others.
    #[must_use]
    pub const fn and(self, others: Sections) -> Sections {
        Sections(self.0 | others.0)
    }

    /// Whether this section is to be shown.
    #[must_use]
    pub fn has(self, section: Section) -> bool {
        self.has_any(&[section])
    }

    /// Whether one of these sections is to be shown.
    #[must_use]
    pub fn has_any(self, sections: &[Section]) -> bool {
        self.0 & Sections::of(sections).0 != 0
    }
}

#[rustfmt::skip]
const NAMES: &[(&str, Sections)] = &[
    ("default",        Sections::DEFAULT),
    ("all",            Sections::ALL),
    ("everything",     Sections::ALL),
    ("proxy",          Sections::of(&[Proxy])),
    ("systemresource", Sections::of(&[SystemResource])),
    ("servers",        Sections::of(&[Servers])),
    ("latencymonitor", Sections::of(&[LatencyMonitor])),
    ("server",         Sections::of(&[Proxy, RedisServer])),
    ("stats",          Sections::of(&[Stats, RedisStats])),
    ("clients",        Sections::of(&[Clients])),
    ("memory",         Sections::of(&[Memory])),
    ("persistence",    Sections::of(&[Persistence])),
    ("replication",    Sections::of(&[Replication])),
    ("cpu",            Sections::of(&[Cpu])),
    ("modules",        Sections::of(&[Modules])),
    ("commandstats",   Sections::of(&[CommandStats])),
    ("errorstats",     Sections::of(&[ErrorStats])),
    ("cluster",        Sections::of(&[Cluster])),
    ("keyspace",       Sections::of(&[Keyspace])),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(Sections::named(b"KeySpace"), Sections::of(&[Keyspace]));
        assert_eq!(Sections::named(b"bogus"), Sections::NONE);
        assert_eq!(Sections::named(b""), Sections::NONE);
        assert!(
            Sections::named(b"server").has(Proxy) && Sections::named(b"SERVER").has(RedisServer)
        );
        assert!(!Sections::named(b"proxy").has(RedisServer));
    }

    #[test]
    fn all_is_more_than_is_shown_by_default() {
        assert!(Sections::ALL.has(CommandStats) && !Sections::DEFAULT.has(CommandStats));
        for (_, sections) in NAMES {
            assert_eq!(Sections::ALL.and(*sections), Sections::ALL);
        }
        assert!(Sections::DEFAULT.has_any(&[CommandStats, Keyspace]));
        assert!(!Sections::NONE.has_any(&[CommandStats, Keyspace]));
    }
}
