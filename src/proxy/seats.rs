//! At which servers a topic is subscribed to, and how far that has come.
//!
//! A topic has a *seat* at each server that must tell about it: the master of its place, or every
//! master. When the servers change it keeps each old seat until the one that replaces it is confirmed,
//! so that nothing is missed, and gives it up at that moment: what an old server has told before and
//! what comes late must not be told after the words of the new one. In a cluster both are told what is
//! published in between, and the new one may be slower: what the old one has told already is not told
//! again. Knows no connections and asks nobody.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::pool::{GroupId, ServerId};

/// The seats of one topic.
#[derive(Debug, Default)]
pub struct Seats {
    seats: Vec<Seat>,
    /// Not all servers that should have a seat are known.
    is_incomplete: bool,
    home: Option<Home>,
    /// While servers are about to replace each other, and shortly after.
    overlap: Option<Box<Overlap>>,
}

/// What servers have told while another one was asked to tell the same.
#[derive(Debug, Default)]
struct Overlap {
    /// Who has told it, and a sum over the message; oldest first.
    told: VecDeque<(ServerId, u64)>,
    /// It is over at this time, in microseconds of the monotonic clock, once that is known.
    until_us: Option<u64>,
}

/// So long after it was confirmed a server may still tell what another one has told before.
const OVERLAP_US: u64 = 1_000_000;
/// So many messages are remembered.
const OVERLAP_MAX: usize = 1024;

/// Where a topic should have seats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// At these servers.
    pub servers: Vec<ServerId>,
    /// The groups that these are the masters of: as many, or none where it does not matter.
    pub groups: Vec<GroupId>,
    /// At some more, but nobody knows who they are.
    pub is_incomplete: bool,
    /// Every server is told what clients publish, as in a cluster, and only this one is to be
    /// believed about that; about their own keys all are.
    pub home: Option<ServerId>,
}

#[derive(Debug)]
struct Seat {
    server: ServerId,
    /// Whose master it is, or was when it still was one.
    group: Option<GroupId>,
    state: State,
    /// It is kept until those that replace it are confirmed.
    is_obsolete: bool,
    /// Its server is asked once more, so that its answer tells from when on its word counts.
    mark: Mark,
}

/// How far a server that tells already has come to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    None,
    Wanted,
    Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The server was not asked yet.
    Wanted,
    /// It has yet to answer.
    Asked,
    Confirmed,
}

/// Whose word counts about what clients publish.
#[derive(Clone, Copy, Debug)]
struct Home {
    now: Option<ServerId>,
    /// From when it has confirmed. What it has told before that may be old: another one has told it
    /// already, or would have.
    next: ServerId,
}

impl Seats {
    /// There are to be seats here. Returns the servers that were asked for one in vain.
    pub fn aim(&mut self, targets: &Targets) -> Vec<ServerId> {
        let mut in_vain = Vec::new();
        self.seats.retain_mut(|seat| {
            seat.is_obsolete = !targets.servers.contains(&seat.server);
            if seat.is_obsolete && seat.state == State::Asked {
                in_vain.push(seat.server);
            }
            !seat.is_obsolete || seat.state == State::Confirmed
        });
        for (index, server) in targets.servers.iter().enumerate() {
            let group = targets.groups.get(index).copied();
            match self.seat(*server) {
                Some(seat) => seat.group = group,
                None => self.seats.push(Seat {
                    server: *server,
                    group,
                    state: State::Wanted,
                    is_obsolete: false,
                    mark: Mark::None,
                }),
            }
        }
        self.is_incomplete = targets.is_incomplete;
        let now = self.home.and_then(|home| home.now);
        self.home = targets.home.map(|next| Home { now, next });
        for seat in &mut self.seats {
            let is_next = targets.home == Some(seat.server) && now != targets.home;
            seat.mark = match (is_next, seat.state, seat.mark) {
                (true, State::Confirmed, Mark::None) => Mark::Wanted,
                (true, _, mark) => mark,
                (false, _, _) => Mark::None,
            };
        }
        in_vain
    }

    /// The servers that are to be asked.
    pub fn wanted(&self) -> impl Iterator<Item = ServerId> {
        let is_wanted = |seat: &&Seat| match seat.state {
            State::Wanted => true,
            // One answer after the other, so that it is known what each of them answers.
            State::Asked => false,
            State::Confirmed => seat.mark == Mark::Wanted,
        };
        self.seats.iter().filter(is_wanted).map(|seat| seat.server)
    }

    /// A server was asked.
    pub fn ask(&mut self, server: ServerId) {
        if let Some(seat) = self.seat(server) {
            match (seat.state, seat.mark) {
                (State::Wanted, _) => (seat.state, seat.mark) = (State::Asked, Mark::None),
                (State::Confirmed, Mark::Wanted) => seat.mark = Mark::Asked,
                _ => {}
            }
        }
        if self.confirmed().next().is_some() {
            self.overlap.get_or_insert_default().until_us = None;
        }
    }

    /// Whether some message may be told by two servers just now.
    pub fn is_overlapping(&self) -> bool {
        self.overlap.is_some()
    }

    /// Whether a message that is accepted was not told by another server before: `rest` is what
    /// differs between the messages of a topic.
    ///
    /// A server tells first what the other one has told as well. Two equal messages that are
    /// published just then may be taken for one.
    pub fn is_new(&mut self, server: ServerId, rest: &[u8], now_us: u64) -> bool {
        let is_ready = self.is_ready();
        let Some(overlap) = &mut self.overlap else { return true };
        if is_ready {
            let until_us = *overlap.until_us.get_or_insert(now_us.saturating_add(OVERLAP_US));
            if now_us >= until_us {
                self.overlap = None;
                return true;
            }
        }
        let mut hasher = DefaultHasher::new();
        rest.hash(&mut hasher);
        let sum = hasher.finish();
        let of_others = |told: &(ServerId, u64)| told.0 != server && told.1 == sum;
        if let Some(place) = overlap.told.iter().position(of_others) {
            // What came before it was told before this one began to tell.
            overlap.told.drain(..=place);
            return false;
        }
        if overlap.told.len() >= OVERLAP_MAX {
            overlap.told.pop_front();
        }
        overlap.told.push_back((server, sum));
        true
    }

    /// A server has refused, and may be asked again.
    pub fn refuse(&mut self, server: ServerId) {
        let Some(seat) = self.seat(server) else { return };
        match (seat.state, seat.mark) {
            (State::Asked, _) => seat.state = State::Wanted,
            (_, Mark::Asked) => seat.mark = Mark::Wanted,
            _ => {}
        }
    }

    /// A server has agreed.
    pub fn confirm(&mut self, server: ServerId) {
        let Some(seat) = self.seat(server) else { return };
        match (seat.state, seat.mark) {
            (State::Asked, _) => seat.state = State::Confirmed,
            (State::Confirmed, Mark::Asked) => seat.mark = Mark::None,
            _ => return,
        }
        let is_believed = seat.mark == Mark::None;
        let Some(home) = &mut self.home else { return };
        if home.next == server {
            if is_believed {
                home.now = Some(server);
            }
        } else if home.now == Some(server) {
            // It was away. Who was asked before it came back may begin with what it has missed,
            // when it has long told what was published since.
            let next = home.next;
            if let Some(next) = self.seat(next)
                && (next.state, next.mark) == (State::Asked, Mark::None)
            {
                next.mark = Mark::Wanted;
            }
        }
    }

    /// Nothing more will come from a server, until it is asked again. False when nothing was to.
    pub fn lose(&mut self, server: ServerId) -> bool {
        let Some(place) = self.seats.iter().position(|seat| seat.server == server) else {
            return false;
        };
        if self.seats[place].is_obsolete {
            self.seats.swap_remove(place);
        } else {
            self.seats[place].state = State::Wanted;
            self.seats[place].mark = Mark::None;
        }
        true
    }

    /// Gives up the seats that were replaced, each once the new master of its group has confirmed,
    /// and all once everybody has; returns where.
    pub fn give_up_obsolete(&mut self) -> Vec<ServerId> {
        let is_ready = self.is_ready();
        let is_new = |seat: &&Seat| !seat.is_obsolete && seat.state == State::Confirmed;
        let replaced: Vec<GroupId> =
            self.seats.iter().filter(is_new).filter_map(|seat| seat.group).collect();
        let home = self.home.and_then(|home| home.now);
        let mut obsolete = Vec::new();
        self.seats.retain(|seat| {
            // Who alone is believed stays until the next one is.
            let is_replaced = seat.group.is_some_and(|group| replaced.contains(&group))
                && home != Some(seat.server);
            let is_over = seat.is_obsolete && (is_ready || is_replaced);
            if is_over {
                obsolete.push(seat.server);
            }
            !is_over
        });
        obsolete
    }

    /// Whether everybody who must tell about the topic does.
    pub fn is_ready(&self) -> bool {
        let mut current = self.seats.iter().filter(|seat| !seat.is_obsolete).peekable();
        !self.is_incomplete
            && self.home.is_none_or(|home| home.now == Some(home.next))
            && current.peek().is_some()
            && current.all(|seat| seat.state == State::Confirmed)
    }

    /// Whether it is ready, and nobody else tells about it any more.
    pub fn is_settled(&self) -> bool {
        self.is_ready() && !self.seats.iter().any(|seat| seat.is_obsolete)
    }

    /// Takes over a seat that was confirmed to somebody else, whose place we have taken; whether it
    /// is the one whose word counts about what clients publish.
    pub fn adopt(&mut self, server: ServerId, is_home: bool) {
        if self.seat(server).is_none() {
            let (state, mark) = (State::Confirmed, Mark::None);
            self.seats.push(Seat { server, group: None, state, is_obsolete: false, mark });
        }
        if is_home {
            self.home = Some(Home { now: Some(server), next: server });
        }
    }

    /// Whether what a server tells is to be passed on. `is_published` says whether a client may
    /// have published it.
    pub fn accepts(&self, server: ServerId, is_published: impl FnOnce() -> bool) -> bool {
        self.seats.iter().any(|seat| seat.is_confirmed_at(server))
            && self.home.is_none_or(|home| home.now == Some(server) || !is_published())
    }

    /// The servers that have confirmed, or may still do.
    pub fn asked(&self) -> impl Iterator<Item = ServerId> {
        self.in_state(|state| state != State::Wanted)
    }

    /// The servers that were asked and have yet to answer.
    pub fn pending(&self) -> impl Iterator<Item = ServerId> {
        self.in_state(|state| state == State::Asked)
    }

    /// Every server that has a seat, or should have one.
    pub fn servers(&self) -> impl Iterator<Item = ServerId> {
        self.in_state(|_| true)
    }

    /// Whose word is to count about what clients publish, if that is one server's alone.
    pub fn home(&self) -> Option<ServerId> {
        self.home.map(|home| home.next)
    }

    /// The servers that have confirmed.
    pub fn confirmed(&self) -> impl Iterator<Item = ServerId> {
        self.in_state(|state| state == State::Confirmed)
    }

    fn in_state(&self, is_meant: impl Fn(State) -> bool) -> impl Iterator<Item = ServerId> {
        self.seats.iter().filter(move |seat| is_meant(seat.state)).map(|seat| seat.server)
    }

    fn seat(&mut self, server: ServerId) -> Option<&mut Seat> {
        self.seats.iter_mut().find(|seat| seat.server == server)
    }
}

impl Seat {
    fn is_confirmed_at(&self, server: ServerId) -> bool {
        self.server == server && self.state == State::Confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(index: usize) -> ServerId {
        ServerId::from_index(index).unwrap()
    }

    fn at(servers: &[usize], home: Option<usize>) -> Targets {
        let servers = servers.iter().copied().map(server).collect();
        Targets { servers, home: home.map(server), ..Targets::default() }
    }

    /// The same, each the master of a group of its own.
    fn masters(servers: &[usize], home: Option<usize>) -> Targets {
        let groups = (0..servers.len()).filter_map(GroupId::from_index).collect();
        Targets { groups, ..at(servers, home) }
    }

    /// Asks everybody who is wanted, and has them agree.
    fn fill(seats: &mut Seats) {
        for wanted in seats.wanted().collect::<Vec<_>>() {
            seats.ask(wanted);
            seats.confirm(wanted);
        }
    }

    #[test]
    fn a_seat_has_to_be_asked_for_and_confirmed() {
        let mut seats = Seats::default();
        assert!(!seats.is_ready(), "nobody tells anything");
        assert!(seats.aim(&at(&[1, 2], None)).is_empty());
        seats.ask(server(1));
        seats.confirm(server(1));
        seats.confirm(server(2));
        assert!(!seats.is_ready(), "one was not even asked");
        assert!(seats.accepts(server(1), || true) && !seats.accepts(server(2), || true));
        seats.ask(server(2));
        assert_eq!(seats.asked().count(), 2);
        seats.confirm(server(2));
        assert!(seats.is_ready() && seats.give_up_obsolete().is_empty());
    }

    #[test]
    fn an_old_seat_is_kept_until_the_new_one_is_confirmed() {
        let mut seats = Seats::default();
        seats.aim(&at(&[1], None));
        fill(&mut seats);
        seats.aim(&at(&[2], None));
        assert!(!seats.is_ready() && seats.accepts(server(1), || true));
        seats.ask(server(2));
        assert!(seats.give_up_obsolete().is_empty() && seats.accepts(server(1), || true));
        seats.confirm(server(2));
        assert_eq!(seats.give_up_obsolete(), [server(1)]);
        assert!(!seats.accepts(server(1), || true) && seats.accepts(server(2), || true));
    }

    #[test]
    fn an_old_master_is_given_up_though_another_group_has_none() {
        let mut seats = Seats::default();
        seats.aim(&masters(&[1, 2], None));
        fill(&mut seats);
        seats.lose(server(2));
        seats.aim(&masters(&[3, 2], None));
        assert!(seats.give_up_obsolete().is_empty() && seats.accepts(server(1), || true));
        seats.ask(server(3));
        seats.confirm(server(3));
        assert!(!seats.is_ready(), "the other group's is still missing");
        assert_eq!(seats.give_up_obsolete(), [server(1)]);
        assert!(!seats.accepts(server(1), || true) && seats.accepts(server(3), || true));
    }

    #[test]
    fn who_alone_is_believed_stays_until_the_next_one_is() {
        let mut seats = Seats::default();
        seats.aim(&masters(&[1, 2], Some(1)));
        fill(&mut seats);
        seats.lose(server(2));
        seats.aim(&masters(&[3, 2], Some(2)));
        seats.ask(server(3));
        seats.confirm(server(3));
        assert!(seats.give_up_obsolete().is_empty() && seats.accepts(server(1), || true));
        fill(&mut seats);
        assert_eq!(seats.give_up_obsolete(), [server(1)]);
    }

    #[test]
    fn a_change_of_mind_costs_nothing() {
        let mut seats = Seats::default();
        seats.aim(&at(&[1], None));
        fill(&mut seats);
        seats.aim(&at(&[2], None));
        seats.ask(server(2));
        assert_eq!(seats.aim(&at(&[1], None)), [server(2)], "asked in vain");
        assert!(seats.is_ready() && seats.wanted().count() == 0);
        seats.confirm(server(2));
        assert!(!seats.accepts(server(2), || true), "it has no seat any more");
    }

    #[test]
    fn a_lost_seat_is_wanted_again_unless_it_was_replaced() {
        let mut seats = Seats::default();
        seats.aim(&at(&[1, 2], None));
        fill(&mut seats);
        assert!(seats.lose(server(1)) && !seats.lose(server(3)));
        assert!(!seats.is_ready() && !seats.accepts(server(1), || true));
        assert_eq!(seats.wanted().collect::<Vec<_>>(), [server(1)]);
        seats.aim(&at(&[1], None));
        assert!(seats.lose(server(2)));
        fill(&mut seats);
        assert!(seats.is_ready() && seats.give_up_obsolete().is_empty());
    }

    #[test]
    fn a_seat_that_was_somebody_elses_is_kept_if_it_is_right() {
        let mut seats = Seats::default();
        seats.adopt(server(1), false);
        seats.adopt(server(2), true);
        assert!(seats.accepts(server(2), || true) && !seats.accepts(server(1), || true));
        assert!(seats.aim(&at(&[1, 2], Some(2))).is_empty());
        assert!(seats.is_settled() && seats.wanted().count() == 0);
        seats.aim(&at(&[3], None));
        assert!(!seats.is_ready() && seats.accepts(server(1), || true));
        fill(&mut seats);
        assert!(seats.is_ready() && !seats.is_settled());
        assert_eq!(seats.give_up_obsolete(), [server(1), server(2)]);
        assert!(seats.is_settled());
    }

    #[test]
    fn somebody_unknown_is_somebody_missing() {
        let mut seats = Seats::default();
        seats.aim(&Targets { is_incomplete: true, ..at(&[1], None) });
        fill(&mut seats);
        assert!(!seats.is_ready());
        seats.aim(&at(&[1], None));
        assert!(seats.is_ready());
    }

    #[test]
    fn one_server_alone_is_believed_about_what_clients_publish() {
        let mut seats = Seats::default();
        seats.aim(&at(&[1, 2], Some(1)));
        fill(&mut seats);
        let believed = |seats: &Seats| {
            (1..=3).filter(|index| seats.accepts(server(*index), || true)).collect::<Vec<_>>()
        };
        assert_eq!(believed(&seats), [1]);
        assert!(seats.accepts(server(2), || false), "its own keys");
        // The next one tells already, but nobody knows how far it has come.
        seats.aim(&at(&[1, 2], Some(2)));
        assert_eq!((believed(&seats), seats.is_ready()), (vec![1], false));
        assert!(seats.accepts(server(2), || false), "its own keys");
        assert_eq!(seats.wanted().collect::<Vec<_>>(), [server(2)]);
        seats.ask(server(2));
        assert!(seats.aim(&at(&[1, 2], Some(2))).is_empty() && seats.wanted().count() == 0);
        seats.confirm(server(2));
        assert_eq!((believed(&seats), seats.is_ready()), (vec![2], true));
        // It is asked for as long as it takes.
        seats.aim(&at(&[1, 2], Some(1)));
        seats.ask(server(1));
        seats.refuse(server(1));
        assert_eq!(seats.wanted().collect::<Vec<_>>(), [server(1)]);
        seats.aim(&at(&[1, 2], Some(2)));
        assert!(seats.is_ready() && seats.wanted().count() == 0, "a change of mind");
        seats.aim(&at(&[3], Some(3)));
        assert_eq!(believed(&seats), [2]);
        seats.ask(server(3));
        seats.confirm(server(3));
        assert_eq!(believed(&seats), [3]);
    }

    /// The old one was lost and came back while the next one was thinking about it: that may begin
    /// with what the old one had missed, behind what the old one has told since.
    #[test]
    fn who_was_asked_before_the_other_came_back_is_asked_once_more() {
        let mut seats = Seats::default();
        seats.aim(&at(&[1, 2], Some(1)));
        seats.ask(server(1));
        seats.confirm(server(1));
        seats.aim(&at(&[1, 2], Some(2)));
        seats.ask(server(2));
        seats.lose(server(1));
        seats.ask(server(1));
        seats.confirm(server(1));
        assert!(seats.accepts(server(1), || true), "it tells again");
        assert_eq!(seats.wanted().count(), 0, "one answer after the other");
        assert!(seats.aim(&at(&[1, 2], Some(2))).is_empty());
        seats.confirm(server(2));
        assert!(seats.accepts(server(1), || true) && !seats.accepts(server(2), || true));
        assert_eq!(
            (seats.is_ready(), seats.wanted().collect::<Vec<_>>()),
            (false, vec![server(2)])
        );
        seats.ask(server(2));
        seats.confirm(server(2));
        assert!(seats.accepts(server(2), || true) && seats.is_ready());
        assert!(!seats.accepts(server(1), || true));
    }

    #[test]
    fn what_the_old_server_has_told_is_not_told_again() {
        let mut seats = Seats::default();
        seats.aim(&at(&[1], None));
        fill(&mut seats);
        assert!(!seats.is_overlapping() && seats.is_new(server(1), b"a", 0));
        seats.aim(&at(&[2], None));
        seats.ask(server(2));
        assert!(seats.is_overlapping());
        for rest in [b"a", b"b", b"c", b"b"] {
            assert!(seats.is_new(server(1), rest, 10), "one server tells what it likes");
        }
        seats.confirm(server(2));
        seats.give_up_obsolete();
        // It was asked after the first of them was published.
        for (rest, want) in
            [(b"b", false), (b"c", false), (b"b", false), (b"b", true), (b"a", true)]
        {
            assert_eq!(seats.is_new(server(2), rest, 20), want, "{rest:?}");
        }
        assert!(seats.is_new(server(2), b"d", 20 + OVERLAP_US) && !seats.is_overlapping());
    }

    #[test]
    fn an_overlap_does_not_end_before_the_new_server_has_agreed() {
        let mut seats = Seats::default();
        seats.aim(&at(&[1], None));
        fill(&mut seats);
        seats.aim(&at(&[2], None));
        seats.ask(server(2));
        for time in 0..2_000 {
            assert!(seats.is_new(server(1), &[0, 1], time * OVERLAP_US));
        }
        assert_eq!(seats.overlap.as_ref().unwrap().told.len(), OVERLAP_MAX);
    }
}
