//! Lines that come again and again: counted, not repeated.
//!
//! What is the same, and what comes from the same place too often, is left out for a few seconds;
//! then one line tells how much. It concerns what an operator reads, Notice and above: whoever
//! asks for more detail gets all of it.

use super::Level;
use super::line::Head;

/// After so long a line is written again.
const WINDOW_US: u64 = 5_000_000;
/// So many different lines from one place are written in that time.
const PLACE_MAX: u64 = 200;
/// So many lines are remembered.
const SEEN_MAX: usize = 128;

/// The lines of the last seconds.
#[derive(Debug, Default)]
pub struct Repeats {
    lines: Vec<Seen>,
    places: Vec<Seen>,
}

/// A line, or a place of which this is the last line.
#[derive(Debug)]
struct Seen {
    head: Head,
    message: String,
    /// When its time began, in microseconds since the epoch.
    since_us: u64,
    /// How many there were since.
    count: u64,
}

impl Repeats {
    /// Whether a line is to be written; if not it is counted. `all` is whether only those may be
    /// left out that are the same as another.
    pub fn admits(&mut self, head: &Head, message: &str, all: bool) -> bool {
        if head.level < Level::Notice {
            return true;
        }
        if let Some(seen) = find(&mut self.lines, head, Some(message)) {
            seen.count += 1;
            return false;
        }
        remember(&mut self.lines, head, message);
        match find(&mut self.places, head, None) {
            Some(place) => {
                place.count += 1;
                if place.count <= PLACE_MAX || all {
                    return true;
                }
                message.clone_into(&mut place.message);
                false
            }
            None => {
                remember(&mut self.places, head, message);
                true
            }
        }
    }

    /// What is to be told at this time, or in any case if it is the `last`.
    pub fn take_due(&mut self, now_us: u64, all: bool, last: bool) -> Vec<(Head, String)> {
        let mut due = Vec::new();
        // A clock that was set back must not keep them for ever.
        let is_over = |seen: &Seen| last || now_us.abs_diff(seen.since_us) >= WINDOW_US;
        self.lines.retain(|seen| {
            let is_over = is_over(seen);
            if is_over && seen.count > 1 {
                let times = seen.count - 1;
                let text = format!("{} (repeated {times} times)", seen.message);
                due.push((Head { wall_us: now_us, ..seen.head }, text));
            }
            !is_over
        });
        self.places.retain(|seen| {
            let is_over = is_over(seen);
            if is_over && seen.count > PLACE_MAX && !all {
                let more = seen.count - PLACE_MAX;
                let text =
                    format!("{} (the last of {more} like it that were left out)", seen.message);
                due.push((Head { wall_us: now_us, ..seen.head }, text));
            }
            !is_over
        });
        due
    }

    /// Whether there will be something to tell.
    pub fn has_more(&self) -> bool {
        self.lines.iter().any(|seen| seen.count > 1)
            || self.places.iter().any(|seen| seen.count > PLACE_MAX)
    }
}

fn find<'a>(all: &'a mut [Seen], head: &Head, message: Option<&str>) -> Option<&'a mut Seen> {
    all.iter_mut().find(|seen| {
        seen.head.line == head.line
            && seen.head.file == head.file
            && message.is_none_or(|message| seen.message == message)
    })
}

/// If there are too many, one is forgotten of which there is nothing to tell, or else none is
/// remembered: then the line is written each time.
fn remember(all: &mut Vec<Seen>, head: &Head, message: &str) {
    if all.len() >= SEEN_MAX {
        match all.iter().position(|seen| seen.count == 1) {
            Some(oldest) => drop(all.remove(oldest)),
            None => return,
        }
    }
    let (message, since_us) = (message.to_owned(), head.wall_us);
    all.push(Seen { head: *head, message, since_us, count: 1 });
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { wall_us: 1_000, level: Level::Warn, file: "a.rs", line: 7 };

    fn texts(due: Vec<(Head, String)>) -> Vec<String> {
        due.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn the_same_line_is_written_once_and_then_counted() {
        let mut repeats = Repeats::default();
        assert!(repeats.admits(&HEAD, "x", false));
        assert!(!repeats.has_more());
        assert!((0..9).all(|_| !repeats.admits(&HEAD, "x", true)));
        assert!(repeats.admits(&HEAD, "y", false));
        assert!(repeats.admits(&Head { line: 8, ..HEAD }, "x", false));
        assert!(repeats.has_more());
        assert!(repeats.take_due(HEAD.wall_us + WINDOW_US - 1, false, false).is_empty());
        let due = repeats.take_due(HEAD.wall_us + WINDOW_US, false, false);
        assert_eq!((due[0].0.line, due[0].0.wall_us), (7, HEAD.wall_us + WINDOW_US));
        assert_eq!(texts(due), ["x (repeated 9 times)"]);
        assert!(!repeats.has_more());
        assert!(repeats.admits(&HEAD, "x", false), "its time is over");
    }

    #[test]
    fn a_place_that_says_too_much_is_counted() {
        let mut repeats = Repeats::default();
        let written = (0..1000).filter(|n| repeats.admits(&HEAD, &n.to_string(), false)).count();
        assert_eq!(written as u64, PLACE_MAX);
        assert!(repeats.admits(&Head { line: 8, ..HEAD }, "elsewhere", false));
        let due = texts(repeats.take_due(0, false, true));
        assert_eq!(due, ["999 (the last of 800 like it that were left out)"]);
    }

    #[test]
    fn who_wants_all_lines_gets_all_that_differ() {
        let mut repeats = Repeats::default();
        assert!((0..1000).all(|n| repeats.admits(&HEAD, &n.to_string(), true)));
        assert!(repeats.take_due(0, true, true).is_empty());
    }

    #[test]
    fn details_are_not_counted() {
        let mut repeats = Repeats::default();
        for level in [Level::Verb, Level::Debug, Level::Info] {
            assert!((0..1000).all(|_| repeats.admits(&Head { level, ..HEAD }, "x", false)));
        }
        assert!(repeats.take_due(0, false, true).is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut repeats = Repeats::default();
        for line in 0..1000 {
            repeats.admits(&Head { line, ..HEAD }, "x", false);
            repeats.admits(&Head { line, ..HEAD }, "x", false);
        }
        assert!(repeats.lines.len() <= SEEN_MAX && repeats.places.len() <= SEEN_MAX);
        assert_eq!(repeats.take_due(0, false, true).len(), SEEN_MAX);
    }
}
