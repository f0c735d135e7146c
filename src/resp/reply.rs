//! A read-only view of one complete reply, for merging replies and for reading those that
//! the proxy asked for itself.
//!
//! The bytes were found by [`ResponseParser`]; nothing is copied, and what does not fit the
//! question is `None`. Attributes before a value are skipped.

use std::ops::Range;

use crate::resp::response_parser::ResponseParser;
use crate::resp::scan::{CRLF, find_cr};

/// One complete reply, or one value in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    bytes: &'a [u8],
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `+`
    Simple,
    /// `-` or `!`
    Error,
    /// `:`
    Integer,
    /// `$`, or `=`, which is a `$` that tells its format
    Bulk,
    /// `$-1`, `*-1` or `_`
    Null,
    /// `*`
    Array,
    /// `%`
    Map,
    /// `~`
    Set,
    /// `>`: not a reply, but a message that came on its own
    Push,
    /// `#`
    Boolean,
    /// `,`
    Double,
    /// `(`
    BigNumber,
    /// Nothing that the parser would have let through.
    Malformed,
}

impl<'a> Reply<'a> {
    /// A view of `bytes`, which are one complete reply.
    #[must_use]
    pub fn new(mut bytes: &'a [u8]) -> Reply<'a> {
        while let Some(head) = Head::read(bytes)
            && head.marker == b'|'
            && let Some(end) = end_of(bytes, head.end, head.children())
        {
            bytes = &bytes[end..];
        }
        Reply { bytes }
    }

    /// The value with its header, without what precedes it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.bytes {
            [b'$' | b'*', b'-', ..] | [b'_', ..] => Kind::Null,
            [b'+', ..] => Kind::Simple,
            [b'-' | b'!', ..] => Kind::Error,
            [b':', ..] => Kind::Integer,
            [b'$' | b'=', ..] => Kind::Bulk,
            [b'*', ..] => Kind::Array,
            [b'%', ..] => Kind::Map,
            [b'~', ..] => Kind::Set,
            [b'>', ..] => Kind::Push,
            [b'#', ..] => Kind::Boolean,
            [b',', ..] => Kind::Double,
            [b'(', ..] => Kind::BigNumber,
            _ => Kind::Malformed,
        }
    }

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.kind() == Kind::Error
    }

    /// The number, if it is an integer.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        let line = self.bytes.strip_prefix(b":")?.strip_suffix(&CRLF)?;
        std::str::from_utf8(line).ok()?.parse().ok()
    }

    /// The text of a bulk, a status or an error, without a verbatim text's format.
    #[must_use]
    pub fn text(&self) -> Option<&'a [u8]> {
        let inner = self.bytes.strip_suffix(&CRLF)?;
        match self.bytes.first()? {
            b'+' | b'-' => inner.get(1..),
            b'$' | b'=' | b'!' if self.kind() != Kind::Null => {
                let body = inner.get(Head::read(self.bytes)?.end..)?;
                if self.bytes.first() == Some(&b'=') { body.get(4..) } else { Some(body) }
            }
            _ => None,
        }
    }

    /// The elements, if it is an array, a set or a push; the keys and values in turn, if it is a map.
    #[must_use]
    pub fn elements(&self) -> Option<Elements<'a>> {
        if !matches!(self.kind(), Kind::Array | Kind::Map | Kind::Set | Kind::Push) {
            return None;
        }
        let head = Head::read(self.bytes)?;
        Some(Elements { bytes: self.bytes, at: head.end, left: head.children() })
    }
}

/// The first byte of the value that `begun` is the beginning of, behind the attributes that
/// precede it; `None` while they have not come whole.
#[must_use]
pub fn marker(begun: &[u8]) -> Option<u8> {
    match Reply::new(begun).bytes().first() {
        Some(b'|') => None,
        first => first.copied(),
    }
}

/// Goes through the elements of a reply.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
    left: u64,
}

impl<'a> Elements<'a> {
    /// How many are still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Where the next element is within the reply's bytes, and steps over it.
    pub fn next_range(&mut self) -> Option<Range<usize>> {
        if self.left == 0 {
            return None;
        }
        let start = self.at;
        self.at = end_of(self.bytes, start, 1)?;
        self.left -= 1;
        Some(start..self.at)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Reply<'a>;

    fn next(&mut self) -> Option<Reply<'a>> {
        let range = self.next_range()?;
        Some(Reply::new(&self.bytes[range]))
    }
}

/// The first line of a value that has a length.
struct Head {
    marker: u8,
    number: u64,
    end: usize,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Head> {
        let marker = *bytes.first()?;
        if !matches!(marker, b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|') {
            return None;
        }
        let line = find_cr(bytes)?;
        let number = std::str::from_utf8(&bytes[1..line]).ok()?.parse().ok()?;
        Some(Head { marker, number, end: line + CRLF.len() })
    }

    /// How many values it announces.
    fn children(&self) -> u64 {
        match self.marker {
            b'%' | b'|' => self.number.saturating_mul(2),
            _ => self.number,
        }
    }
}

/// The end of `count` values from `at` on, if they are all there.
fn end_of(bytes: &[u8], mut at: usize, count: u64) -> Option<usize> {
    for _ in 0..count {
        at += ResponseParser::new().feed(bytes.get(at..)?).ok()??;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_what_they_are() {
        let reply = |wire: &'static str| Reply::new(wire.as_bytes());
        assert_eq!(reply(":-42\r\n").integer(), Some(-42));
        assert_eq!(reply(":+42\r\n").integer(), Some(42));
        assert_eq!(reply("$2\r\n42\r\n").integer(), None);
        assert_eq!(reply("$5\r\na\r\nb\n\r\n").text(), Some(b"a\r\nb\n".as_slice()));
        assert_eq!(reply("$0\r\n\r\n").text(), Some(b"".as_slice()));
        assert_eq!(reply("=7\r\ntxt:abc\r\n").text(), Some(b"abc".as_slice()));
        assert_eq!(reply("+OK\r\n").text(), Some(b"OK".as_slice()));
        assert_eq!(reply("-ERR\r\n").text(), Some(b"ERR".as_slice()));
        assert_eq!(reply("!3\r\nERR\r\n").text(), Some(b"ERR".as_slice()));
        assert!(reply("!3\r\nERR\r\n").is_error());
        assert_eq!(reply("$-1\r\n").text(), None);
        for (wire, kind) in [
            ("$-1\r\n", Kind::Null),
            ("*-1\r\n", Kind::Null),
            ("_\r\n", Kind::Null),
            ("%0\r\n", Kind::Map),
            ("~0\r\n", Kind::Set),
            (">0\r\n", Kind::Push),
            ("#t\r\n", Kind::Boolean),
            (",1\r\n", Kind::Double),
            ("(1\r\n", Kind::BigNumber),
            ("*0\r\n", Kind::Array),
            ("", Kind::Malformed),
            ("+\r\n", Kind::Simple),
        ] {
            assert_eq!(reply(wire).kind(), kind, "{wire:?}");
        }
    }

    #[test]
    fn elements_are_found_whole() {
        let wire =
            b"*4\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n|1\r\n+k\r\n+v\r\n#t\r\n%1\r\n+a\r\n*1\r\n:2\r\n";
        let reply = Reply::new(wire);
        let elements: Vec<_> = reply.elements().unwrap().map(|element| element.bytes()).collect();
        let want: [&[u8]; 4] =
            [b":1\r\n", b"*2\r\n$1\r\na\r\n$-1\r\n", b"#t\r\n", b"%1\r\n+a\r\n*1\r\n:2\r\n"];
        assert_eq!(elements, want);

        let map = reply.elements().unwrap().last().unwrap();
        assert_eq!(map.kind(), Kind::Map);
        assert_eq!(map.elements().unwrap().left(), 2);
        assert_eq!(map.elements().unwrap().count(), 2);

        let mut ranges = reply.elements().unwrap();
        let (mut last, mut end) = (0..0, 4);
        while let Some(range) = ranges.next_range() {
            assert_eq!(range.start, end, "an element's attributes belong to its range");
            end = range.end;
            last = range;
        }
        assert_eq!(&wire[last], want[3]);
    }

    #[test]
    fn what_begins_is_known_behind_its_attributes() {
        for (begun, want) in [
            ("", None),
            ("$100\r\nabc", Some(b'$')),
            ("|1\r\n+ttl\r\n:36", None),
            ("|1\r\n+ttl\r\n:3600\r\n", None),
            ("|1\r\n+ttl\r\n:3600\r\n>", Some(b'>')),
            ("|1\r\n+a\r\n:1\r\n|1\r\n+b\r\n:2\r\n-", Some(b'-')),
            ("|1\r\n+a\r\n:1\r\n|1\r\n+b\r\n", None),
        ] {
            assert_eq!(marker(begun.as_bytes()), want, "{begun:?}");
        }
    }

    #[test]
    fn nulls_and_plain_values_have_no_elements() {
        assert!(Reply::new(b"*-1\r\n").elements().is_none());
        assert!(Reply::new(b"$1\r\na\r\n").elements().is_none());
        assert_eq!(Reply::new(b"*0\r\n").elements().unwrap().count(), 0);
    }

    #[test]
    fn broken_bytes_end_the_elements_early() {
        assert_eq!(Reply::new(b"*3\r\n:1\r\n:2").elements().unwrap().count(), 1);
        assert_eq!(Reply::new(b"*99999999999\r\n?").elements().unwrap().count(), 0);
    }
}
