//! How the replies to the parts of a request become one, by the rules of [`Merge`].
//!
//! Pure: replies in, one reply out. That an error in a part is the reply of the whole is known
//! to whoever calls, except where the rule itself is about errors. What servers should never
//! send for such a request is `None`.

use std::collections::BTreeSet;

use crate::resp::command::Merge;
use crate::resp::reply::{Elements, Kind, Reply};
use crate::resp::writer::{Protocol, Sink};

/// Writes the one reply that `replies` make; there is at least one.
pub fn merge(rule: Merge, replies: &[&[u8]], reply: &mut Vec<u8>) -> Option<()> {
    let all: Vec<Reply<'_>> = replies.iter().map(|bytes| Reply::new(bytes)).collect();
    match rule {
        Merge::Sum => integers(&all, i64::checked_add, reply),
        Merge::Min => integers(&all, |one, other| Some(one.min(other)), reply),
        Merge::AllOk | Merge::Same => {
            reply.put(replies.first()?);
            Some(())
        }
        Merge::FirstGood => first_good(&all, reply),
        Merge::Concat => concatenation(&all, reply),
        Merge::Union => union(&all, reply),
        Merge::MinEach => min_each(&all, reply),
        // Only those who know the keys can put them in order: see `named`.
        Merge::Named => None,
    }
}

/// Writes the one reply that replies about keys make. Each is an array of pairs of a key and what
/// is told about it, in RESP3 a map of the same, or nil for nothing, and in the order of `keys`:
/// the keys of the request with the index of the reply that may tell about each. No reply may be
/// about the same key twice.
pub fn named<'a>(
    replies: &[&'a [u8]],
    keys: impl Iterator<Item = (usize, &'a [u8])>,
    reply: &mut Vec<u8>,
) -> Option<()> {
    let mut told = replies
        .iter()
        .map(|bytes| Told::read(Reply::new(bytes)).map(Vec::into_iter).map(Iterator::peekable))
        .collect::<Option<Vec<_>>>()?;
    let kind_of = |bytes: &&&[u8]| Reply::new(bytes).kind();
    let Some(first) = replies.iter().find(|bytes| kind_of(bytes) != Kind::Null) else {
        reply.put(Reply::new(replies.first()?).bytes());
        return Some(());
    };
    let is_mixed = |bytes: &&[u8]| ![Kind::Null, kind_of(&first)].contains(&kind_of(&bytes));
    if replies.iter().any(is_mixed) {
        return None;
    }
    let count = told.iter().map(ExactSizeIterator::len).sum();
    match kind_of(&first) {
        Kind::Map => reply.map(count, Protocol::Resp3),
        _ => reply.array(count),
    };
    for (part, key) in keys {
        if let Some(told) = told.get_mut(part)?.next_if(|told| told.key == key) {
            reply.put(told.bytes);
        }
    }
    told.iter().all(|rest| rest.len() == 0).then_some(())
}

/// What a reply tells about one key.
struct Told<'a> {
    key: &'a [u8],
    /// The pair as it stands in the reply.
    bytes: &'a [u8],
}

impl<'a> Told<'a> {
    /// All that a reply tells.
    fn read(reply: Reply<'a>) -> Option<Vec<Told<'a>>> {
        let mut all = Vec::new();
        if reply.kind() == Kind::Null {
            return Some(all);
        }
        let mut elements = reply.elements()?;
        while let Some(mut range) = elements.next_range() {
            let element = Reply::new(reply.bytes().get(range.clone())?);
            let key = if reply.kind() == Kind::Map {
                range.end = elements.next_range()?.end;
                element
            } else {
                element.elements()?.next()?
            };
            all.push(Told { key: key.text()?, bytes: reply.bytes().get(range)? });
        }
        Some(all)
    }
}

/// The bytes of the elements of an array, behind its head, and how many elements they are.
pub fn body(reply: &[u8]) -> Option<(usize, &[u8])> {
    let reply = Reply::new(reply);
    let count = usize::try_from(reply.elements()?.left()).ok()?;
    let head = reply.bytes().iter().position(|byte| *byte == b'\n')?;
    Some((count, reply.bytes().get(head + 1..)?))
}

/// Writes the head of what arrays, sets or maps become when their elements are put behind each
/// other; they are all of one kind.
pub fn head(all: &[Reply<'_>], reply: &mut Vec<u8>) -> Option<()> {
    let count = all.iter().map(|part| Some(part.elements()?.left())).sum::<Option<u64>>()?;
    head_like(all, count, reply)
}

/// Writes the head of an aggregate of `count` elements of the same kind as these all are.
fn head_like(all: &[Reply<'_>], count: u64, reply: &mut Vec<u8>) -> Option<()> {
    let kind = all.first()?.kind();
    if all.iter().any(|part| part.kind() != kind) {
        return None;
    }
    let count = usize::try_from(count).ok()?;
    match kind {
        Kind::Array => reply.array(count),
        Kind::Set => reply.set(count, Protocol::Resp3),
        Kind::Map => reply.map(count / 2, Protocol::Resp3),
        _ => return None,
    };
    Some(())
}

fn integers(
    all: &[Reply<'_>],
    combine: impl Fn(i64, i64) -> Option<i64>,
    reply: &mut Vec<u8>,
) -> Option<()> {
    let mut numbers = all.iter().map(Reply::integer);
    let mut result = numbers.next()??;
    for number in numbers {
        result = combine(result, number?)?;
    }
    reply.integer(result);
    Some(())
}

/// The first reply that is no error. Of errors the one that says most: that nothing is running
/// on one server matters less than that something cannot be stopped on another.
fn first_good(all: &[Reply<'_>], reply: &mut Vec<u8>) -> Option<()> {
    let says_little = |reply: &&Reply<'_>| reply.bytes().starts_with(b"-NOTBUSY");
    let good = all.iter().find(|reply| !reply.is_error());
    let best = good.or_else(|| all.iter().find(|reply| !says_little(reply))).or(all.first())?;
    reply.put(best.bytes());
    Some(())
}

fn concatenation(all: &[Reply<'_>], reply: &mut Vec<u8>) -> Option<()> {
    head(all, reply)?;
    for part in all {
        let (_, elements) = body(part.bytes())?;
        reply.put(elements);
    }
    Some(())
}

fn union(all: &[Reply<'_>], reply: &mut Vec<u8>) -> Option<()> {
    let mut seen = BTreeSet::new();
    let mut once = Vec::new();
    for elements in elements_of(all)? {
        for element in elements {
            if seen.insert(element.bytes()) {
                once.push(element.bytes());
            }
        }
    }
    head_like(all, once.len() as u64, reply)?;
    once.iter().for_each(|element| reply.put(element));
    Some(())
}

fn min_each(all: &[Reply<'_>], reply: &mut Vec<u8>) -> Option<()> {
    let mut each = elements_of(all)?;
    let count = each.first()?.left();
    if each.iter().any(|elements| elements.left() != count) {
        return None;
    }
    head_like(all, count, reply)?;
    for _ in 0..count {
        let mut least = i64::MAX;
        for elements in &mut each {
            least = least.min(elements.next()?.integer()?);
        }
        reply.integer(least);
    }
    Some(())
}

fn elements_of<'a>(all: &[Reply<'a>]) -> Option<Vec<Elements<'a>>> {
    all.iter().map(Reply::elements).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: Merge, replies: &[&[u8]], want: &[u8]) {
        let mut reply = Vec::new();
        assert_eq!(merge(rule, replies, &mut reply), Some(()));
        assert_eq!(reply.escape_ascii().to_string(), want.escape_ascii().to_string());
    }

    #[track_caller]
    fn check_refused(rule: Merge, replies: &[&[u8]]) {
        assert_eq!(merge(rule, replies, &mut Vec::new()), None);
    }

    #[test]
    fn integers_are_added_or_the_smallest_is_taken() {
        check(Merge::Sum, &[b":2\r\n", b":-1\r\n", b":40\r\n"], b":41\r\n");
        check(Merge::Min, &[b":20\r\n", b":3\r\n", b":40\r\n"], b":3\r\n");
        check_refused(Merge::Sum, &[b":2\r\n", b"+OK\r\n"]);
        check_refused(Merge::Sum, &[b":9223372036854775807\r\n", b":1\r\n"]);
        check_refused(Merge::Min, &[b":2\r\n", b"$1\r\n1\r\n"]);
    }

    #[test]
    fn what_all_say_is_said_once() {
        check(Merge::AllOk, &[b"+OK\r\n", b"+OK\r\n"], b"+OK\r\n");
        check(Merge::Same, &[b"$3\r\nlib\r\n", b"$3\r\nlib\r\n"], b"$3\r\nlib\r\n");
    }

    #[test]
    fn one_good_reply_is_enough() {
        let [idle, stuck] = [b"-NOTBUSY none\r\n".as_slice(), b"-UNKILLABLE it wrote\r\n"];
        check(Merge::FirstGood, &[idle, b"+OK\r\n", stuck], b"+OK\r\n");
        check(Merge::FirstGood, &[idle, stuck, idle], stuck);
        check(Merge::FirstGood, &[idle, idle], idle);
    }

    #[test]
    fn arrays_are_put_behind_each_other() {
        check(
            Merge::Concat,
            &[b"*1\r\n$1\r\na\r\n", b"*0\r\n", b"*2\r\n$1\r\na\r\n:1\r\n"],
            b"*3\r\n$1\r\na\r\n$1\r\na\r\n:1\r\n",
        );
        check(
            Merge::Concat,
            &[b"~1\r\n_\r\n", b"|1\r\n+a\r\n:1\r\n~1\r\n#t\r\n"],
            b"~2\r\n_\r\n#t\r\n",
        );
        check_refused(Merge::Concat, &[b"*0\r\n", b"+OK\r\n"]);
        check_refused(Merge::Concat, &[b"*0\r\n", b"%0\r\n"]);
    }

    #[test]
    fn a_union_has_everything_once() {
        check(
            Merge::Union,
            &[b"*2\r\n$1\r\nb\r\n$1\r\na\r\n", b"*0\r\n", b"*2\r\n$1\r\nc\r\n$1\r\nb\r\n"],
            b"*3\r\n$1\r\nb\r\n$1\r\na\r\n$1\r\nc\r\n",
        );
        check(
            Merge::Union,
            &[b"~2\r\n$1\r\na\r\n$1\r\nb\r\n", b"~1\r\n$1\r\na\r\n"],
            b"~2\r\n$1\r\na\r\n$1\r\nb\r\n",
        );
        check_refused(Merge::Union, &[b"*0\r\n", b"~0\r\n"]);
    }

    #[test]
    fn of_each_number_the_smallest_remains() {
        check(
            Merge::MinEach,
            &[b"*2\r\n:1\r\n:1\r\n", b"*2\r\n:1\r\n:0\r\n"],
            b"*2\r\n:1\r\n:0\r\n",
        );
        check_refused(Merge::MinEach, &[b"*2\r\n:1\r\n:1\r\n", b"*1\r\n:1\r\n"]);
    }
    /// Streams a, b, c and d, of which a and c are asked for in the first part.
    #[track_caller]
    fn check_named(replies: [&[u8]; 2], want: Option<&[u8]>) {
        let keys = [(0, &b"a"[..]), (1, b"b"), (0, b"c"), (1, b"d")];
        let mut reply = Vec::new();
        let merged = named(&replies, keys.into_iter(), &mut reply).map(|()| reply);
        let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(merged.as_deref().map(shown), want.map(shown));
    }

    #[test]
    fn what_is_told_of_keys_comes_in_their_order() {
        let nil = b"*-1\r\n";
        check_named([nil, nil], Some(nil));
        check_named([b"_\r\n", b"_\r\n"], Some(b"_\r\n"));
        check_named(
            [nil, b"*1\r\n*2\r\n$1\r\nd\r\n*0\r\n"],
            Some(b"*1\r\n*2\r\n$1\r\nd\r\n*0\r\n"),
        );
        check_named(
            [
                b"*2\r\n*2\r\n$1\r\na\r\n:1\r\n*2\r\n$1\r\nc\r\n:3\r\n",
                b"*2\r\n*2\r\n$1\r\nb\r\n:2\r\n*2\r\n$1\r\nd\r\n:4\r\n",
            ],
            Some(
                b"*4\r\n*2\r\n$1\r\na\r\n:1\r\n*2\r\n$1\r\nb\r\n:2\r\n*2\r\n$1\r\nc\r\n:3\r\n*2\r\n$1\r\nd\r\n:4\r\n",
            ),
        );
        check_named(
            [b"%1\r\n$1\r\nc\r\n*1\r\n:3\r\n", b"%1\r\n$1\r\nb\r\n*1\r\n:2\r\n"],
            Some(b"%2\r\n$1\r\nb\r\n*1\r\n:2\r\n$1\r\nc\r\n*1\r\n:3\r\n"),
        );
    }

    #[test]
    fn what_is_told_of_other_keys_is_refused() {
        let nil = b"*-1\r\n";
        check_named([nil, b"*1\r\n*2\r\n$1\r\na\r\n*0\r\n"], None);
        check_named([b"*1\r\n*2\r\n$1\r\nx\r\n*0\r\n", nil], None);
        check_named([nil, b"+OK\r\n"], None);
        check_named([nil, b"*1\r\n$1\r\nb\r\n"], None);
        check_named([nil, b"*1\r\n*0\r\n"], None);
        check_named([b"%0\r\n", b"*0\r\n"], None);
        check_refused(Merge::Named, &[nil, nil]);
    }
}
