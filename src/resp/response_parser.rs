//! Finds where a reply ends, in RESP2 and RESP3, without copying it.
//!
//! The parser is fed whatever pieces the network delivers. Of all nesting it keeps one
//! number, how many values are still to come, so depth costs nothing and counts are only
//! ever counted down: a reply cannot make it allocate. It does not know what was asked.
//!
//! It is strict where a mistake would lose the beginning of the next reply (lengths, line
//! ends of bodies) and does not judge the text of lines. Replies of unknown length (`$?`,
//! `*?`) are in the RESP3 text but no Redis sends them; here they are errors.

use std::fmt;

use crate::resp::scan::{CRLF, begins, ends_line, find_cr, head, header, short_header};

/// Finds where a reply ends. One lives in every link.
#[derive(Clone, Debug)]
pub struct ResponseParser {
    /// Bytes of the unfinished reply that were fed before.
    fed: u64,
    /// Values still to come, the one in progress included.
    left: u64,
    state: State,
}

/// The longest line, be it a status, an error or a big number. Redis has no limit of its own;
/// scripts may return long statuses, but nothing that is not a bulk has a reason to be longer.
pub const LINE_MAX: u32 = 1 << 20;
/// The longest integer, its sign included.
const INTEGER_MAX: u32 = 20;

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before the first byte of a value.
    Value,
    /// In the line of a `+`, `-`, `,` or `(`, which ends with the first CR that a LF follows.
    Text { length: u32, after_cr: bool },
    /// In the line of a `:`.
    Integer { length: u32, digits: bool },
    /// In the line of a `#`.
    Boolean,
    /// In the length of what `kind` begins.
    Length { kind: Kind, shape: Shape, number: u64 },
    /// After the CR of a length.
    LengthEnd { kind: Kind, number: u64 },
    /// In a body, with `more` bytes to come, the line's end included.
    Body { more: u64 },
    /// Where a line must end.
    LineEnd,
    /// Where a line must end, after its CR.
    LineFeed,
}

/// What a length is the length of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Bytes that may be null: `$`.
    Bulk,
    /// Bytes: `!`, `=`.
    Bytes,
    /// Values that may be null: `*`.
    Array,
    /// Values: `~`, `>`.
    Values,
    /// Pairs of values: `%`.
    Pairs,
    /// Pairs of values that precede the value they tell about: `|`.
    Attributes,
}

/// How far a length has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Empty,
    Minus,
    MinusOne,
    Zero,
    Digits,
}

/// What a byte says about where its value is.
enum Next {
    /// Go on in this state.
    Go(State),
    /// The value ends here, and so many more follow because of it.
    Ended(u64),
}

impl ResponseParser {
    /// A parser between two replies.
    #[must_use]
    pub const fn new() -> ResponseParser {
        ResponseParser { fed: 0, left: 0, state: State::Value }
    }

    /// Feeds the bytes that follow those fed before. `Some(end)` when the reply ends `end`
    /// bytes into `new`; `None` when all of them belong to it and it goes on.
    ///
    /// After an error the connection cannot be understood any more and should be closed.
    ///
    /// # Errors
    /// The bytes are not a reply.
    // In the one loop that takes replies; by itself the compiler leaves it apart.
    #[inline(always)]
    #[cfg_attr(small, optimize(speed))]
    pub fn feed(&mut self, new: &[u8]) -> Result<Option<usize>, ReplyError> {
        if self.fed == 0
            && let Some(end) = ordinary(new)
        {
            return Ok(Some(end));
        }
        self.feed_piece(new)
    }

    /// Bytes fed so far of the unfinished reply; 0 between replies.
    #[must_use]
    pub fn fed(&self) -> u64 {
        self.fed
    }

    /// How many more bytes the bulk in progress needs: the least to make room for.
    #[must_use]
    pub fn wanted(&self) -> u64 {
        match self.state {
            State::Body { more } => more,
            _ => 0,
        }
    }

    /// The same, for whoever is in no hurry.
    ///
    /// # Errors
    /// The bytes are not a reply.
    #[inline(never)]
    #[cfg_attr(small, optimize(speed))]
    pub fn feed_piece(&mut self, new: &[u8]) -> Result<Option<usize>, ReplyError> {
        if self.fed == 0 {
            self.left = 1;
        }
        let result = self.resume(new);
        match result {
            Ok(None) => self.fed = self.fed.saturating_add(new.len() as u64),
            _ => *self = ResponseParser::new(),
        }
        result
    }

    fn resume(&mut self, new: &[u8]) -> Result<Option<usize>, ReplyError> {
        let mut at = 0;
        while at < new.len() {
            if let State::Value = self.state {
                (at, self.left) = skip_values(new, at, self.left);
                if self.left == 0 {
                    return Ok(Some(at));
                }
                if at == new.len() {
                    break;
                }
            }
            match self.state.step(new, &mut at)? {
                Next::Go(state) => self.state = state,
                Next::Ended(more) => {
                    self.state = State::Value;
                    self.left =
                        (self.left - 1).checked_add(more).ok_or(ReplyError::TooManyValues)?;
                    if self.left == 0 {
                        return Ok(Some(at));
                    }
                }
            }
        }
        Ok(None)
    }
}

impl Default for ResponseParser {
    fn default() -> ResponseParser {
        ResponseParser::new()
    }
}

/// Skips the values that are whole in `new` from `at` on, of `left` values still to come.
/// Returns where it stopped and how many are left.
fn skip_values(new: &[u8], at: usize, mut left: u64) -> (usize, u64) {
    let mut rest = &new[at..];
    while left > 0 {
        if let Some(end) = plain(rest) {
            rest = &rest[end..];
            left -= 1;
        } else if let Some((end, more)) = other(rest)
            && let Some(sum) = (left - 1).checked_add(more)
        {
            rest = &rest[end..];
            left = sum;
        } else {
            break;
        }
    }
    (new.len() - rest.len(), left)
}

/// The way nearly every reply takes: a whole value without values in it, or an array of one, which
/// is what MGET says of one key: a request with several keys is sent to a cluster key by key.
/// Returns where it ends.
#[inline(always)]
fn ordinary(bytes: &[u8]) -> Option<usize> {
    let word = head(bytes)?;
    if begins(word, ARRAY_OF_ONE) {
        return Some(ARRAY_OF_ONE.len() + plain(&bytes[ARRAY_OF_ONE.len()..])?);
    }
    plain_from(word, bytes)
}

/// A whole value without values in it, of a kind that is so frequent that it has to cost next to
/// nothing. Returns where it ends.
#[inline(always)]
fn plain(bytes: &[u8]) -> Option<usize> {
    plain_from(head(bytes)?, bytes)
}

/// The same with the head of `bytes` at hand.
#[inline(always)]
fn plain_from(word: u64, bytes: &[u8]) -> Option<usize> {
    if let Some((length, header)) = short_header(word, b'$') {
        let end = header + length;
        return ends_line(bytes, end).then_some(end + CRLF.len());
    }
    if begins(word, b"+OK\r\n") || begins(word, b"$-1\r\n") {
        return Some(5);
    }
    short_header(word, b':').map(|(_, end)| end)
}

/// The head of an array with one element.
pub const ARRAY_OF_ONE: &[u8; 4] = b"*1\r\n";

/// Any other value that is whole, if nothing is odd about it. Returns its length, or that of
/// its header if it has values in it, and how many more values follow because of it.
fn other(bytes: &[u8]) -> Option<(usize, u64)> {
    match bytes.first()? {
        b'$' => Some((bulk(bytes)?, 0)),
        b'+' | b'-' => Some((text(bytes)?, 0)),
        b':' => Some((integer(bytes)?, 0)),
        b'*' => array(bytes),
        _ => None,
    }
}

#[inline]
fn text(bytes: &[u8]) -> Option<usize> {
    let end = find_cr(bytes)?;
    (end <= LINE_MAX as usize && *bytes.get(end + 1)? == b'\n').then_some(end + CRLF.len())
}

fn integer(bytes: &[u8]) -> Option<usize> {
    let sign = usize::from(matches!(bytes.get(1)?, b'-' | b'+'));
    let digits = bytes.get(1 + sign..)?;
    let count = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    let line = sign + count;
    (count > 0 && line <= INTEGER_MAX as usize && ends_line(digits, count))
        .then_some(1 + line + CRLF.len())
}

/// A body of four digits' length, or five.
fn bulk(bytes: &[u8]) -> Option<usize> {
    let (length, header) = header(head(bytes)?, b'$')?;
    let end = header + length;
    ends_line(bytes, end).then_some(end + CRLF.len())
}

fn array(bytes: &[u8]) -> Option<(usize, u64)> {
    let word = head(bytes)?;
    match header(word, b'*') {
        Some((count, header)) => Some((header, count as u64)),
        None => begins(word, b"*-1\r\n").then_some((5, 0)),
    }
}

impl State {
    /// Takes the byte at `at`, or as many as are alike, and moves `at` behind them.
    fn step(self, new: &[u8], at: &mut usize) -> Result<Next, ReplyError> {
        let byte = new[*at];
        let go = |state| Ok(Next::Go(state));
        *at += 1;
        match self {
            State::Value => begin(byte).map(Next::Go),
            State::Text { length, after_cr: true } if byte == b'\n' => {
                if length > LINE_MAX {
                    Err(ReplyError::TooLongLine)
                } else {
                    Ok(Next::Ended(0))
                }
            }
            State::Text { length, after_cr } => {
                // A CR that no LF followed was text.
                let length = length + u32::from(after_cr);
                let rest = &new[*at - 1..];
                let (text, after_cr) = match find_cr(rest) {
                    Some(text) => (text, true),
                    None => (rest.len(), false),
                };
                let length = length.saturating_add(u32::try_from(text).unwrap_or(u32::MAX));
                if length > LINE_MAX {
                    return Err(ReplyError::TooLongLine);
                }
                *at += text + usize::from(after_cr) - 1;
                go(State::Text { length, after_cr })
            }
            State::Integer { length, digits } => match byte {
                b'\r' if digits => go(State::LineFeed),
                b'-' | b'+' if length == 0 => go(State::Integer { length: 1, digits }),
                b'0'..=b'9' if length < INTEGER_MAX => {
                    go(State::Integer { length: length + 1, digits: true })
                }
                _ => Err(ReplyError::InvalidInteger),
            },
            State::Boolean => match byte {
                b't' | b'f' => go(State::LineEnd),
                _ => Err(ReplyError::InvalidBoolean),
            },
            State::Length { kind, shape, number } => match byte {
                b'\r' => match (shape, kind) {
                    (Shape::Zero | Shape::Digits, _) => go(State::LengthEnd { kind, number }),
                    (Shape::MinusOne, _) => go(State::LineFeed),
                    _ => Err(ReplyError::InvalidLength),
                },
                _ => {
                    let shape = shape.after(byte, kind)?;
                    let digit = u64::from(byte.wrapping_sub(b'0'));
                    let number = match shape {
                        Shape::Digits => {
                            number.checked_mul(10).and_then(|tens| tens.checked_add(digit))
                        }
                        _ => Some(0),
                    };
                    match number {
                        Some(number) if number <= LENGTH_MAX => {
                            go(State::Length { kind, shape, number })
                        }
                        _ => Err(ReplyError::InvalidLength),
                    }
                }
            },
            State::LengthEnd { .. } | State::LineFeed if byte != b'\n' => {
                Err(ReplyError::InvalidLineEnd)
            }
            State::LengthEnd { kind, number } => match kind {
                Kind::Bulk | Kind::Bytes => go(State::Body { more: number + CRLF.len() as u64 }),
                Kind::Array | Kind::Values => Ok(Next::Ended(number)),
                Kind::Pairs => Ok(Next::Ended(number * 2)),
                Kind::Attributes => Ok(Next::Ended(number * 2 + 1)),
            },
            State::Body { more } => match more {
                1 if byte == b'\n' => Ok(Next::Ended(0)),
                2 if byte == b'\r' => go(State::Body { more: 1 }),
                1 | 2 => Err(ReplyError::InvalidLineEnd),
                _ => {
                    *at -= 1;
                    let here = (more - 2).min((new.len() - *at) as u64);
                    // Not more than what is in memory.
                    *at += usize::try_from(here).unwrap_or(0);
                    go(State::Body { more: more - here })
                }
            },
            State::LineEnd => match byte {
                b'\r' => go(State::LineFeed),
                _ => Err(ReplyError::InvalidLineEnd),
            },
            State::LineFeed => Ok(Next::Ended(0)),
        }
    }
}

/// The longest length: what Redis's own 64-bit numbers can say, halved so that pairs and line
/// ends can be added without a thought.
const LENGTH_MAX: u64 = (i64::MAX as u64) / 2;

impl Shape {
    fn after(self, byte: u8, kind: Kind) -> Result<Shape, ReplyError> {
        match (self, byte) {
            (Shape::Empty, b'-') if matches!(kind, Kind::Bulk | Kind::Array) => Ok(Shape::Minus),
            (Shape::Minus, b'1') => Ok(Shape::MinusOne),
            (Shape::Empty, b'0') => Ok(Shape::Zero),
            (Shape::Empty, b'1'..=b'9') | (Shape::Digits, b'0'..=b'9') => Ok(Shape::Digits),
            (Shape::Empty, b'?') => Err(ReplyError::UnknownLength),
            _ => Err(ReplyError::InvalidLength),
        }
    }
}

/// The state after a value's first byte.
fn begin(marker: u8) -> Result<State, ReplyError> {
    let length = |kind| Ok(State::Length { kind, shape: Shape::Empty, number: 0 });
    match marker {
        b'+' | b'-' | b',' | b'(' => Ok(State::Text { length: 0, after_cr: false }),
        b':' => Ok(State::Integer { length: 0, digits: false }),
        b'_' => Ok(State::LineEnd),
        b'#' => Ok(State::Boolean),
        b'$' => length(Kind::Bulk),
        b'!' | b'=' => length(Kind::Bytes),
        b'*' => length(Kind::Array),
        b'~' | b'>' => length(Kind::Values),
        b'%' => length(Kind::Pairs),
        b'|' => length(Kind::Attributes),
        _ => Err(ReplyError::UnknownType(marker)),
    }
}

/// Why a server cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A value began with a byte that begins none.
    UnknownType(u8),
    /// A length is not a number, or negative where nothing can be null, or beyond reason.
    InvalidLength,
    /// The length is to be found out later (`$?`, `*?`), which no Redis sends.
    UnknownLength,
    /// An integer is not one.
    InvalidInteger,
    /// A boolean is neither true nor false.
    InvalidBoolean,
    /// Other bytes than CR and LF at the end of a line or a body.
    InvalidLineEnd,
    /// A line does not end.
    TooLongLine,
    /// Nested counts add up to more values than can be counted.
    TooManyValues,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::UnknownType(byte) => {
                write!(
                    f,
                    "a reply begins with '{}', which begins no known type",
                    byte.escape_ascii()
                )
            }
            ReplyError::InvalidLength => write!(f, "a reply has an invalid length"),
            ReplyError::UnknownLength => write!(f, "a reply is streamed without a length"),
            ReplyError::InvalidInteger => write!(f, "a reply has an invalid integer"),
            ReplyError::InvalidBoolean => write!(f, "a reply has an invalid boolean"),
            ReplyError::InvalidLineEnd => {
                write!(f, "a reply lacks CR and LF where a line should end")
            }
            ReplyError::TooLongLine => {
                write!(f, "a reply has a line of more than {LINE_MAX} bytes")
            }
            ReplyError::TooManyValues => {
                write!(f, "a reply announces more values than can be counted")
            }
        }
    }
}

impl std::error::Error for ReplyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::resp::reference;
    use crate::resp::writer::{Header, Sink};

    fn parse(wire: &[u8], cuts: &[usize]) -> Result<Option<usize>, ReplyError> {
        let mut parser = ResponseParser::new();
        let mut start = 0;
        for &cut in cuts.iter().chain([&wire.len()]) {
            assert_eq!(parser.fed(), start as u64);
            if let Some(end) = parser.feed(&wire[start..cut])? {
                assert_eq!(parser.fed(), 0);
                return Ok(Some(start + end));
            }
            start = cut;
        }
        Ok(None)
    }

    /// Feeds `wire` whole, in two pieces cut everywhere, and byte by byte: the answer must not depend on it.
    #[track_caller]
    fn check(wire: &[u8], want: Result<Option<usize>, ReplyError>) {
        let shown = wire[..wire.len().min(80)].escape_ascii();
        assert_eq!(parse(wire, &[]), want, "{shown} whole");
        for cut in 0..=wire.len() {
            assert_eq!(parse(wire, &[cut]), want, "{shown} cut at {cut}");
        }
        let every: Vec<_> = (1..wire.len()).collect();
        assert_eq!(parse(wire, &every), want, "{shown} byte by byte");
    }

    /// A complete reply, which is found alone and before another, and not found before it is complete.
    #[track_caller]
    fn check_reply(wire: &str) {
        let wire = wire.as_bytes();
        check(wire, Ok(Some(wire.len())));
        check(&[wire, b"$3\r\nabc\r\n"].concat(), Ok(Some(wire.len())));
        for end in 0..wire.len() {
            check(&wire[..end], Ok(None));
        }
    }

    #[test]
    fn replies_of_resp2_are_found() {
        for wire in [
            "+OK\r\n",
            "+\r\n",
            "+PONG\r\n",
            "+OKAY, this is longer\r\n",
            "-ERR unknown command 'x'\r\n",
            ":0\r\n",
            ":1\r\n",
            ":-1\r\n",
            ":12345\r\n",
            ":123456789\r\n",
            ":-9223372036854775808\r\n",
            "$0\r\n\r\n",
            "$1\r\n\n\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*2\r\n$1\r\na\r\n$-1\r\n",
            "*1\r\n:10\r\n",
            "*2\r\n*0\r\n*1\r\n+x\r\n",
            "$64\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n",
        ] {
            check_reply(wire);
        }
    }

    #[test]
    fn replies_of_resp3_are_found() {
        for wire in [
            "_\r\n",
            "#t\r\n",
            "#f\r\n",
            ",1.5\r\n",
            ",inf\r\n",
            "(3492890328409238509324850943850943825024385\r\n",
            "!21\r\nSYNTAX invalid syntax\r\n",
            "=15\r\ntxt:Some string\r\n",
            "%1\r\n+k\r\n:1\r\n",
            "%0\r\n",
            "~2\r\n_\r\n#t\r\n",
            ">2\r\n+message\r\n*1\r\n_\r\n",
            "|1\r\n+ttl\r\n:3600\r\n$1\r\nx\r\n",
            "|0\r\n|1\r\n+a\r\n|1\r\n+b\r\n+c\r\n+d\r\n:1\r\n",
            "*2\r\n|1\r\n+k\r\n+v\r\n:1\r\n:2\r\n",
            ":+1\r\n",
        ] {
            check_reply(wire);
        }
    }

    /// D-04: an array that is null within another lost predixy the whole connection.
    #[test]
    fn d04_nulls_may_be_anywhere() {
        check_reply("*2\r\n*2\r\n$4\r\n13.3\r\n$4\r\n38.1\r\n*-1\r\n");
        check_reply("*1\r\n*-1\r\n");
        check_reply("%1\r\n$-1\r\n*-1\r\n");
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn depth_costs_nothing() {
        let deep = format!("{}:1\r\n", "*1\r\n".repeat(100_000));
        assert_eq!(parse(deep.as_bytes(), &[]), Ok(Some(deep.len())));
        let wide = format!("{}:1\r\n", "*2\r\n+a\r\n".repeat(1000));
        assert_eq!(parse(wide.as_bytes(), &[17, 4000]), Ok(Some(wide.len())));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for (wire, want) in [
            ("x", ReplyError::UnknownType(b'x')),
            ("\r\n", ReplyError::UnknownType(b'\r')),
            ("*1\r\n\n", ReplyError::UnknownType(b'\n')),
            ("$\r\n", ReplyError::InvalidLength),
            ("$x\r\n", ReplyError::InvalidLength),
            ("$01\r\n", ReplyError::InvalidLength),
            ("$-2\r\n", ReplyError::InvalidLength),
            ("$-\r\n", ReplyError::InvalidLength),
            ("$-11\r\n", ReplyError::InvalidLength),
            ("%-1\r\n", ReplyError::InvalidLength),
            ("=-1\r\n", ReplyError::InvalidLength),
            ("$9223372036854775807\r\n", ReplyError::InvalidLength),
            ("$99999999999999999999\r\n", ReplyError::InvalidLength),
            ("*+1\r\n", ReplyError::InvalidLength),
            ("*1\r\n$-\r\n", ReplyError::InvalidLength),
            ("$?\r\n", ReplyError::UnknownLength),
            ("*?\r\n", ReplyError::UnknownLength),
            (":\r\n", ReplyError::InvalidInteger),
            (":x\r\n", ReplyError::InvalidInteger),
            (":-\r\n", ReplyError::InvalidInteger),
            (":1-\r\n", ReplyError::InvalidInteger),
            (":123456789012345678901\r\n", ReplyError::InvalidInteger),
            ("#x\r\n", ReplyError::InvalidBoolean),
            ("#\r\n", ReplyError::InvalidBoolean),
            ("#tt\r\n", ReplyError::InvalidLineEnd),
            ("_x\r\n", ReplyError::InvalidLineEnd),
            ("$1\rx", ReplyError::InvalidLineEnd),
            ("$1\r\nabc", ReplyError::InvalidLineEnd),
            ("$1\r\na\rx", ReplyError::InvalidLineEnd),
            ("$-1\rx", ReplyError::InvalidLineEnd),
            (":1\rx", ReplyError::InvalidLineEnd),
        ] {
            check(wire.as_bytes(), Err(want));
        }
    }

    #[test]
    fn counts_are_added_without_overflow() {
        let most = LENGTH_MAX.to_string();
        check(format!("%{most}\r\n").as_bytes(), Ok(None));
        check(
            format!("|{most}\r\n|{most}\r\n%{most}\r\n").as_bytes(),
            Err(ReplyError::TooManyValues),
        );
    }

    #[test]
    fn a_status_may_contain_half_a_line_end() {
        check_reply("+a\rb\nc\r\n");
        check_reply("-\r\r\r\n");
        check_reply("+0123456\r789abcdef\r\n");
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn lines_end_somewhere() {
        let most = format!("+{}\r\n", "x".repeat(LINE_MAX as usize));
        let more = format!("+{}\r\n", "x".repeat(LINE_MAX as usize + 1));
        for cuts in [
            &[][..],
            &[1],
            &[2],
            &[100, 5000],
            &[LINE_MAX as usize],
            &[LINE_MAX as usize + 1],
            &[LINE_MAX as usize + 2],
        ] {
            assert_eq!(parse(most.as_bytes(), cuts), Ok(Some(most.len())), "{cuts:?}");
            assert_eq!(parse(more.as_bytes(), cuts), Err(ReplyError::TooLongLine), "{cuts:?}");
        }
        let crs = "\r".repeat(LINE_MAX as usize + 2);
        assert_eq!(parse(format!("+{crs}").as_bytes(), &[]), Err(ReplyError::TooLongLine));
    }

    #[test]
    fn the_rest_of_a_body_is_known() {
        let mut parser = ResponseParser::new();
        assert_eq!(parser.feed(b"*2\r\n$1000000\r\nabc"), Ok(None));
        assert_eq!(parser.wanted(), 1_000_000 - 3 + 2);
        assert_eq!(parser.fed(), 17);
        let mut parser = ResponseParser::new();
        assert_eq!(parser.feed(b"$4611686018427387903\r\n"), Ok(None));
        assert_eq!(parser.wanted(), LENGTH_MAX + 2);
    }

    #[test]
    fn a_parser_is_small() {
        assert!(size_of::<ResponseParser>() <= 40, "{}", size_of::<ResponseParser>());
    }

    /// Appends a random value, and knows its end because it wrote it.
    fn write_value(wire: &mut Vec<u8>, random: &mut Random, depth: u32) {
        let small = |random: &mut Random| usize::try_from(random.below(12)).unwrap();
        let count = usize::try_from(random.below(4)).unwrap();
        let kinds = if depth == 0 { 14 } else { 20 };
        match random.below(kinds) {
            0 => _ = wire.simple("OK"),
            1 => _ = wire.simple(&"status ".repeat(small(random))),
            2 => _ = wire.error(&"ERR no ".repeat(small(random))),
            3 => _ = wire.integer(random.next_u64().cast_signed() >> random.below(64)),
            4 => wire.put(b"$-1\r\n"),
            5 => wire.put(b"*-1\r\n"),
            6 => wire.put(b"_\r\n"),
            7 => wire.put(if random.below(2) == 0 { b"#t\r\n" } else { b"#f\r\n" }),
            8 => wire.put(b",-1.5e300\r\n"),
            9 => wire.put(b"(123456789012345678901234567890\r\n"),
            10 | 11 => {
                let bits = random.below(18);
                let length = usize::try_from(random.below(1 << bits)).unwrap();
                wire.bulk(&b"*1\r\n"[..].repeat(length / 4 + 1)[..length]);
            }
            12 => wire.put(b"=7\r\ntxt:\r\n\r\r\n"),
            13 => wire.put(b"!3\r\n-\r\n\r\n"),
            kind => {
                let (marker, values) = match kind {
                    14 | 15 => (b'*', count),
                    16 => (b'~', count),
                    17 => (b'>', count),
                    18 => (b'%', count * 2),
                    _ => (b'|', count * 2 + 1),
                };
                let announced = if matches!(marker, b'%' | b'|') { values / 2 } else { values };
                wire.put(Header::new(marker, announced).bytes());
                for _ in 0..values {
                    write_value(wire, random, depth - 1);
                }
            }
        }
    }

    fn seeded() -> Random {
        let seed =
            std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_240_131);
        println!("SEED={seed}");
        Random::new(seed)
    }

    fn below(random: &mut Random, n: usize) -> usize {
        usize::try_from(random.below(n as u64)).unwrap()
    }

    fn random_cuts(random: &mut Random, end: usize) -> Vec<usize> {
        let mut cuts: Vec<_> = (0..below(random, 8)).map(|_| below(random, end)).collect();
        cuts.sort_unstable();
        cuts
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn random_replies_are_found_however_they_are_cut() {
        let mut random = seeded();
        for round in 0..3000 {
            let mut wire = Vec::new();
            write_value(&mut wire, &mut random, 6);
            let end = wire.len();
            wire.put(&b"+OK\r\n"[..below(&mut random, 6)]);
            let cuts = random_cuts(&mut random, end);
            assert_eq!(
                parse(&wire, &cuts),
                Ok(Some(end)),
                "round {round}: {} cut at {cuts:?}",
                wire.escape_ascii()
            );
            assert_eq!(reference::reply(&wire, 0), Ok(end));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn damaged_replies_are_what_a_naive_parser_says() {
        let mut random = seeded();
        for round in 0..10_000 {
            let mut wire = Vec::new();
            write_value(&mut wire, &mut random, 3);
            for _ in 0..=below(&mut random, 2) {
                let at = below(&mut random, wire.len());
                let byte = b"0129-+*$:%|_#\r\n?x"[below(&mut random, 17)];
                match below(&mut random, 4) {
                    0 => wire[at] = byte,
                    1 => wire.insert(at, byte),
                    2 if wire.len() > 1 => _ = wire.remove(at),
                    _ => wire.truncate(at + 1),
                }
            }
            let cuts = random_cuts(&mut random, wire.len());
            let got = parse(&wire, &cuts).map_err(|_| reference::Stopped::Broken);
            let want = match reference::reply(&wire, 0) {
                Err(reference::Stopped::Incomplete) => Ok(None),
                other => other.map(Some),
            };
            assert_eq!(
                got,
                want,
                "round {round}: {} cut at {cuts:?}",
                wire[..wire.len().min(200)].escape_ascii()
            );
        }
    }
}
