//! Patterns as Redis has them: `*`, `?`, `[a-z]`, `[^x]` and `\` before what is meant literally.

use std::collections::BTreeSet;

/// Whether `text` is of the form of `pattern`, whatever the case of its letters.
///
/// It takes at most the product of both lengths: of several asterisks only the last one that was
/// met ever has to be thought over again.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern_at, mut text_at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while text_at < text.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            retry = Some((pattern_at + 1, text_at));
            pattern_at += 1;
        } else if let Some(next) = match_one(pattern, pattern_at, text[text_at]) {
            pattern_at = next;
            text_at += 1;
        } else if let Some((after, from)) = retry {
            // The asterisk stands for one byte more.
            retry = Some((after, from + 1));
            (pattern_at, text_at) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[pattern_at..].iter().all(|byte| *byte == b'*')
}

/// Whether some text that begins with `prefix` may be of the form of `pattern`, whatever the case of
/// its letters. Never wrong when it says no. It takes at most the product of both lengths.
#[must_use]
pub fn may_begin_with(pattern: &[u8], prefix: &[u8]) -> bool {
    // Wherever in the pattern one can be after what was read of the prefix.
    let mut places = BTreeSet::from([0]);
    for byte in prefix {
        let mut next = BTreeSet::new();
        for mut at in places {
            // Several asterisks are no more than one, which may stand for this byte and more, or
            // for nothing more.
            while pattern[at..].starts_with(b"**") {
                at += 1;
            }
            if pattern.get(at) == Some(&b'*') {
                next.insert(at);
                at += 1;
            }
            next.extend(match_one(pattern, at, *byte));
        }
        places = next;
    }
    !places.is_empty()
}

/// Where the pattern goes on if what is at `at` stands for `byte`.
fn match_one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    let same = |one: u8| one.eq_ignore_ascii_case(&byte);
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => match_class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => same(pattern[at + 1]).then_some(at + 2),
        literal => same(literal).then_some(at + 1),
    }
}

/// The same for what is in brackets, which are closed by the pattern's end if by nothing else.
fn match_class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let byte = byte.to_ascii_lowercase();
    let is_negated = pattern.get(at) == Some(&b'^');
    at += usize::from(is_negated);
    let mut is_in = false;
    loop {
        match pattern.get(at..).unwrap_or_default() {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                is_in |= literal.to_ascii_lowercase() == byte;
                at += 2;
            }
            [one, b'-', other, ..] => {
                let [one, other] = [one, other].map(u8::to_ascii_lowercase);
                is_in |= (one.min(other)..=one.max(other)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                is_in |= literal.to_ascii_lowercase() == byte;
                at += 1;
            }
        }
    }
    (is_in != is_negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for text in bad {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn names_match_themselves_in_any_case() {
        check("MaxClients", &["maxclients", "MAXCLIENTS"], &["MaxClient", "MaxClientss", ""]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn asterisks_and_question_marks() {
        check("*", &["", "a", "abc"], &[]);
        check("log*sample", &["LogSample", "LogVerbSample"], &["LogVerbSamples", "Log"]);
        check("*a*b*", &["ab", "xaxbx", "aab"], &["ba", "a"]);
        check("a?c", &["abc", "a?c"], &["ac", "abbc"]);
        check("**?", &["a", "ab"], &[""]);
    }

    #[test]
    fn brackets_and_backslashes() {
        check("[a-c]x", &["ax", "Bx", "cx"], &["dx", "x"]);
        check("[c-a]", &["b"], &["d"]);
        check("[^a]", &["b"], &["a", "A"]);
        check("[a\\]]", &["]", "a"], &["\\"]);
        check("[ab", &["a", "b"], &["c"]);
        check("\\*", &["*"], &["a"]);
        check("a\\", &["a\\"], &["a"]);
    }

    #[test]
    fn what_a_pattern_can_begin_with_is_found_out() {
        for good in ["*", "ab*", "abcd", "a?c*", "a[bx]*", "*x", "**d", "a*z", "\\abc", "?*?*"] {
            assert!(may_begin_with(good.as_bytes(), b"abc"), "{good}");
        }
        for bad in ["", "ab", "b*", "a[xy]*", "a?d*", "x*", "??", "a\\*"] {
            assert!(!may_begin_with(bad.as_bytes(), b"abc"), "{bad}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn asterisks_without_end_are_no_work_without_end() {
        assert!(may_begin_with(&b"*".repeat(1 << 20), b"__keyspace@"));
        assert!(may_begin_with(&b"*_".repeat(1 << 19), b"__________@"));
        assert!(!may_begin_with(&b"_*".repeat(1 << 19), b"@"));
    }

    #[test]
    fn many_asterisks_take_no_time() {
        let pattern = "a*".repeat(1000) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(5000).as_bytes()));
    }
}
