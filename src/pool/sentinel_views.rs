//! Whom to believe when Sentinels name different masters of one group.
//!
//! Every failover has a configuration epoch that is higher than those before it, and all Sentinels
//! end up with the highest. So a higher epoch than the one that is known proves that a master is
//! newer. Whoever names another master without that proof may be a Sentinel that was cut off, or
//! has been started from an old file: it is believed only when more than half of all Sentinels
//! say the same and none contradicts them. Otherwise nothing changes: we do not swing back and
//! forth between two opinions.
//!
//! It asks nobody and reads no clock; groups are known by name.

use super::server::ServerId;
use crate::base::address::Address;
use crate::base::sorted_map::SortedMap;

/// What the Sentinels have said about the masters.
#[derive(Debug, Default)]
pub struct SentinelViews {
    groups: SortedMap<Box<str>, View>,
}

/// What is known of one group.
#[derive(Debug, Default)]
struct View {
    /// The configuration epoch of the master that we believe in; it may be higher, never lower.
    epoch: u64,
    /// When that was last said to be another one, in microseconds of the monotonic clock.
    changed_us: u64,
    /// The last answer of each Sentinel, while it is fresh.
    answers: SortedMap<ServerId, Answer>,
}

#[derive(Debug)]
struct Answer {
    master: Address,
    heard_us: u64,
}

/// What one Sentinel says about one group.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Who says it.
    pub sentinel: ServerId,
    /// Who the master is.
    pub master: &'a Address,
    /// The configuration epoch of that; if unknown nothing is proved. Of a switch, the one before.
    pub epoch: Option<u64>,
    /// When it was asked, in microseconds of the monotonic clock; of a switch, when it was told.
    pub asked_us: u64,
}

/// What follows from what a Sentinel has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The master is known, and stays.
    Known,
    /// There is a new master.
    Believed,
    /// It contradicts what is known and proves nothing: ask the others.
    Doubted,
}

/// An answer that is older than this does not count when Sentinels are compared.
const FRESH_US: u64 = 5_000_000;

impl SentinelViews {
    /// Judges one answer. `known` is the master that we believe in; `sentinels` is how many
    /// Sentinels there are.
    pub fn judge(
        &mut self,
        group: &str,
        said: &Said<'_>,
        known: Option<&Address>,
        sentinels: usize,
        now_us: u64,
    ) -> Verdict {
        let view = self.view(group);
        view.answers.retain(|_, answer| now_us.saturating_sub(answer.heard_us) < FRESH_US);
        let is_proved = known.is_none() || said.epoch.unwrap_or(0) > view.epoch;
        if known != Some(said.master) && said.asked_us <= view.changed_us && !is_proved {
            // It crossed with the news.
            return Verdict::Doubted;
        }
        let answer = Answer { master: said.master.clone(), heard_us: now_us };
        view.answers.insert(said.sentinel, answer);
        let epoch = said.epoch.unwrap_or(0);
        if known == Some(said.master) {
            view.epoch = view.epoch.max(epoch);
            return Verdict::Known;
        }
        if is_proved || view.is_common_opinion(said.master, sentinels) {
            // Where all agree on an epoch that is lower they have been set up anew.
            view.epoch = epoch;
            view.changed_us = now_us;
            return Verdict::Believed;
        }
        Verdict::Doubted
    }

    /// Judges a message that a Sentinel has switched a group from one master to another. It names
    /// no epoch; but if it leads on from the master that we know, its epoch is higher. Unless the
    /// Sentinel is behind: `epoch` is the one that it knew the last time it was asked. Then it may
    /// tell of a switch that was followed by one back.
    pub fn judge_switch(
        &mut self,
        group: &str,
        old: Option<&Address>,
        said: &Said<'_>,
        known: Option<&Address>,
        now_us: u64,
    ) -> Verdict {
        let Said { sentinel, master: new, epoch, .. } = *said;
        if known == Some(new) {
            return Verdict::Known;
        }
        if known.is_some() && known != old {
            return Verdict::Doubted;
        }
        let view = self.view(group);
        if known.is_some() && epoch.is_some_and(|epoch| epoch < view.epoch) {
            return Verdict::Doubted;
        }
        view.epoch = view.epoch.saturating_add(1);
        view.changed_us = now_us;
        // What they said before is history. What others may go on saying for a while is outweighed
        // by who has told.
        view.answers.clear();
        view.answers.insert(sentinel, Answer { master: new.clone(), heard_us: now_us });
        Verdict::Believed
    }

    fn view(&mut self, group: &str) -> &mut View {
        self.groups.get_or_insert_with(group.into(), View::default)
    }
}

impl View {
    /// Whether more than half of the Sentinels say so, and none says anything else.
    fn is_common_opinion(&self, master: &Address, sentinels: usize) -> bool {
        self.answers.values().all(|answer| answer.master == *master)
            && self.answers.len() * 2 > sentinels
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::address;
    use super::*;

    const OLD: &str = "10.0.0.1:1";
    const NEW: &str = "10.0.0.2:1";

    /// Three Sentinels, the master that is believed in, and the time.
    struct Scene {
        views: SentinelViews,
        known: Option<Address>,
        now_us: u64,
    }

    impl Scene {
        fn new() -> Scene {
            Scene { views: SentinelViews::default(), known: None, now_us: 1 }
        }

        fn says(&mut self, sentinel: u32, master: &str, epoch: Option<u64>) -> Verdict {
            let master = address(master);
            self.now_us += 1;
            let asked_us = self.now_us;
            let said = Said { sentinel: ServerId(sentinel), master: &master, epoch, asked_us };
            let verdict = self.views.judge("g", &said, self.known.as_ref(), 3, self.now_us);
            if verdict == Verdict::Believed {
                self.known = Some(master);
            }
            verdict
        }

        fn switches(&mut self, old: &str, new: &str) -> Verdict {
            self.switches_at(None, old, new)
        }

        fn switches_at(&mut self, epoch: Option<u64>, old: &str, new: &str) -> Verdict {
            let (old, new) = (address(old), address(new));
            let said = Said { sentinel: ServerId(0), master: &new, epoch, asked_us: self.now_us };
            let known = self.known.as_ref();
            let verdict = self.views.judge_switch("g", Some(&old), &said, known, self.now_us);
            if verdict == Verdict::Believed {
                self.known = Some(new);
            }
            verdict
        }
    }

    #[test]
    fn the_first_answer_is_believed() {
        let mut scene = Scene::new();
        assert_eq!(scene.says(0, OLD, None), Verdict::Believed);
        assert_eq!(scene.says(1, OLD, Some(7)), Verdict::Known);
    }

    #[test]
    fn a_higher_epoch_is_believed_at_once_and_a_lower_one_is_not() {
        let mut scene = Scene::new();
        scene.says(0, OLD, Some(3));
        assert_eq!(scene.says(1, NEW, Some(4)), Verdict::Believed);
        for _ in 0..10 {
            assert_eq!(scene.says(0, OLD, Some(3)), Verdict::Doubted);
            assert_eq!(scene.says(1, NEW, Some(4)), Verdict::Known);
        }
        assert_eq!(scene.says(2, OLD, Some(4)), Verdict::Doubted, "an equal one proves nothing");
    }

    #[test]
    fn most_sentinels_together_are_believed_without_proof() {
        let mut scene = Scene::new();
        scene.says(0, OLD, Some(9));
        assert_eq!(scene.says(0, NEW, Some(0)), Verdict::Doubted);
        assert_eq!(scene.says(1, NEW, Some(0)), Verdict::Believed, "two of three, set up anew");
        assert_eq!(scene.says(1, OLD, Some(1)), Verdict::Believed, "their epochs count again");
    }

    #[test]
    fn a_single_voice_against_is_enough_to_change_nothing() {
        let mut scene = Scene::new();
        scene.says(2, OLD, None);
        assert_eq!(scene.says(0, NEW, None), Verdict::Doubted);
        assert_eq!(scene.says(1, NEW, None), Verdict::Doubted);
        assert_eq!(scene.says(2, NEW, None), Verdict::Believed);
    }

    #[test]
    fn old_answers_do_not_count() {
        let mut scene = Scene::new();
        scene.says(0, OLD, Some(5));
        assert_eq!(scene.says(1, NEW, Some(2)), Verdict::Doubted);
        scene.now_us += FRESH_US;
        assert_eq!(scene.says(2, NEW, Some(2)), Verdict::Doubted, "only one that is fresh");
        assert_eq!(scene.says(1, NEW, Some(2)), Verdict::Believed, "nobody says otherwise now");
    }

    #[test]
    fn a_switch_that_leads_on_from_what_is_known_is_believed() {
        let mut scene = Scene::new();
        scene.says(0, OLD, Some(5));
        assert_eq!(scene.switches("10.0.0.9:1", NEW), Verdict::Doubted, "it is behind");
        assert_eq!(scene.switches(OLD, NEW), Verdict::Believed);
        assert_eq!(scene.switches(OLD, NEW), Verdict::Known);
        assert_eq!(scene.says(1, OLD, Some(5)), Verdict::Doubted, "from before the switch");
        assert_eq!(scene.says(2, NEW, Some(8)), Verdict::Known);
        assert_eq!(scene.says(1, OLD, Some(8)), Verdict::Doubted);
    }

    #[test]
    fn most_sentinels_may_learn_of_a_switch_late() {
        let mut scene = Scene::new();
        for sentinel in 0..3 {
            scene.says(sentinel, OLD, Some(1));
        }
        assert_eq!(scene.switches(OLD, NEW), Verdict::Believed);
        assert_eq!(scene.says(1, OLD, Some(1)), Verdict::Doubted);
        assert_eq!(scene.says(2, OLD, Some(1)), Verdict::Doubted, "two of three, and both behind");
    }

    #[test]
    fn an_answer_that_crossed_with_the_news_changes_nothing() {
        let mut views = SentinelViews::default();
        let (old, new) = (address(OLD), address(NEW));
        let said =
            |master, asked_us| Said { sentinel: ServerId(0), master, epoch: Some(1), asked_us };
        assert_eq!(views.judge("g", &said(&old, 1), None, 1, 2), Verdict::Believed);
        let news = said(&new, 10);
        let verdict = views.judge_switch("g", Some(&old), &news, Some(&old), 10);
        assert_eq!(verdict, Verdict::Believed);
        let verdict = views.judge("g", &said(&old, 9), Some(&new), 1, 11);
        assert_eq!(verdict, Verdict::Doubted, "it was asked before, by a single Sentinel");
        let verdict = views.judge("g", &said(&old, 12), Some(&new), 1, 13);
        assert_eq!(verdict, Verdict::Believed, "asked again it has set up the group anew");
    }

    #[test]
    fn a_switch_told_by_who_is_behind_proves_nothing() {
        let mut scene = Scene::new();
        scene.says(0, OLD, Some(7));
        assert_eq!(scene.switches_at(Some(5), OLD, NEW), Verdict::Doubted, "there and back");
        assert_eq!(scene.switches_at(Some(7), OLD, NEW), Verdict::Believed);
    }

    #[test]
    fn an_epoch_after_which_there_is_no_other_is_one_like_any_other() {
        let mut scene = Scene::new();
        assert_eq!(scene.says(0, OLD, Some(u64::MAX)), Verdict::Believed);
        assert_eq!(scene.switches(OLD, NEW), Verdict::Believed);
        assert_eq!(scene.says(0, OLD, Some(1)), Verdict::Doubted, "one that is behind");
        for sentinel in 1..3 {
            scene.says(sentinel, OLD, Some(1));
        }
        assert_eq!(scene.known, Some(address(OLD)), "most of them, who have been set up anew");
    }

    #[test]
    fn groups_do_not_mix() {
        let mut views = SentinelViews::default();
        let (old, new) = (address(OLD), address(NEW));
        let said = |master| Said { sentinel: ServerId(0), master, epoch: Some(5), asked_us: 1 };
        assert_eq!(views.judge("a", &said(&old), None, 3, 0), Verdict::Believed);
        let said = Said { epoch: Some(1), ..said(&new) };
        assert_eq!(views.judge("b", &said, Some(&old), 3, 0), Verdict::Believed);
    }
}
