//! Finds where a request ends without copying it, and where its arguments are.
//!
//! The parser is fed whatever pieces the network delivers and keeps in its state all it
//! must remember to go on: nothing is looked at twice, except that a request found to be
//! incomplete is walked once more from its start, by its lengths, while it is at hand. It
//! knows no sockets, no clients and no commands, and it owns no memory: the positions of
//! the arguments go into an [`Arguments`] that one handler lends to all its clients.
//!
//! It accepts what Redis 7 accepts and answers as Redis 7 does, with one exception. Redis
//! skips the byte after a length's CR and the two bytes after a body without looking at
//! them; patched Valkeys refuse them, and close the connection, which here is shared with
//! other clients. So the proxy refuses them itself, in Valkey's words.

use std::fmt;
use std::ops::Range;

use crate::resp::scan::{CRLF, OPENING, ends_line, head, header, opening, short_header};
use crate::resp::writer::Sink;

mod inline;

use inline::{Line as InlineLine, Place};

/// Finds where a request ends, without copying. Fed piece by piece; one lives in every client.
#[derive(Debug)]
pub struct RequestParser {
    /// Bytes of the unfinished request that were fed before.
    fed: usize,
    state: State,
}

/// What feeding led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Everything was consumed and the request is not complete: feed more.
    Incomplete,
    /// A multi-bulk request. The arguments are filled if it began in this feed, and empty
    /// otherwise: then [`Arguments::index`] the whole message.
    Request {
        /// The first byte after it, in the bytes just fed.
        end: usize,
    },
    /// A line of words. The arguments hold the decoded words and their multi-bulk form,
    /// [`Arguments::rewritten`], if it began in this feed, and are empty otherwise: then
    /// [`Arguments::index`] the whole line.
    Inline {
        /// The first byte after it, in the bytes just fed.
        end: usize,
    },
    /// An empty line, or an array of no or a negative count: to be skipped without a reply.
    Nothing {
        /// The first byte after it, in the bytes just fed.
        end: usize,
    },
}

/// How much a client may ask for in one request. Up to 10 arguments in up to 16 KiB are always
/// allowed, so that an ordinary request need not be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest argument, in bytes.
    pub bulk_max: usize,
    /// The most arguments, the command's name included.
    pub arguments_max: usize,
    /// The longest line, be it an inline request or a length.
    pub inline_max: usize,
    /// The longest request, in bytes. What exceeds 4 GiB less one byte counts as that.
    pub request_max: usize,
    /// Whether the client has yet to log in: then 10 arguments of 16 KiB are the most.
    pub unauthenticated: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bulk_max: 512 << 20,
            arguments_max: 1 << 20,
            inline_max: 64 << 10,
            request_max: 1 << 30,
            unauthenticated: false,
        }
    }
}

/// As many arguments are always allowed, and more only after a client has logged in, as in Redis.
const ALWAYS_ARGUMENTS: usize = 10;
/// Arguments of this length, and requests, are always allowed; longer arguments only after a
/// client has logged in, as in Redis.
const ALWAYS_BYTES: usize = 16384;

impl Limits {
    /// The most arguments, once a client has logged in.
    fn arguments(&self) -> usize {
        self.arguments_max.max(ALWAYS_ARGUMENTS)
    }

    /// The longest argument, once a client has logged in.
    fn bulk(&self) -> usize {
        self.bulk_max.max(ALWAYS_BYTES)
    }

    /// The longest request that can be.
    fn request(&self) -> usize {
        self.request_max.clamp(ALWAYS_BYTES, POSITION_MAX)
    }

    /// Whether a request of so many arguments and bytes is within all limits: no argument is
    /// longer than the whole. If not, it may still be, for many short arguments.
    fn surely_allow(&self, count: usize, bytes: usize) -> bool {
        !self.unauthenticated
            && count <= self.arguments()
            && bytes <= self.bulk()
            && bytes <= self.request()
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between requests.
    Idle,
    /// In `*count\r\n`.
    Count(Number),
    /// In `$length\r\n` of the next argument, with `left` arguments to come, this one included.
    Length { left: u32, line: Number },
    /// In an argument's body, with `more` bytes to come, the line's end included.
    Body { left: u32, more: u32 },
    /// In a line of words.
    Inline(Place),
}

impl RequestParser {
    /// A parser between two requests.
    #[must_use]
    pub const fn new() -> RequestParser {
        RequestParser { fed: 0, state: State::Idle }
    }

    /// Goes on with the request in progress. `new` are the bytes that follow those fed before;
    /// positions in `arguments` count from the first byte of the request.
    ///
    /// After an error the connection cannot be understood any more and should be closed.
    ///
    /// # Errors
    /// The bytes are not a request that Redis would accept, or exceed a limit.
    // In the one loop that takes requests; by itself the compiler leaves it apart.
    #[inline(always)]
    #[cfg_attr(small, optimize(speed))]
    pub fn feed(
        &mut self,
        new: &[u8],
        limits: &Limits,
        arguments: &mut Arguments,
    ) -> Result<Parsed, ProtocolError> {
        if matches!(self.state, State::Idle)
            && let Some(end) = ordinary(new, limits, arguments)
        {
            return Ok(Parsed::Request { end });
        }
        self.feed_piece(new, limits, arguments)
    }

    /// Bytes fed so far of the unfinished request; 0 between requests.
    #[must_use]
    pub fn fed(&self) -> usize {
        self.fed
    }

    /// How many more bytes the argument in progress needs, if that is known: the least to make room for.
    #[must_use]
    pub fn wanted(&self) -> usize {
        match self.state {
            State::Body { more, .. } => more as usize,
            _ => 0,
        }
    }

    /// The same, without looking for what is ordinary first: for whoever has another place to do
    /// that, or has large pieces.
    ///
    /// # Errors
    /// As [`RequestParser::feed`] says.
    #[inline(never)]
    #[cfg_attr(small, optimize(speed))]
    pub fn feed_piece(
        &mut self,
        new: &[u8],
        limits: &Limits,
        arguments: &mut Arguments,
    ) -> Result<Parsed, ProtocolError> {
        let began_here = matches!(self.state, State::Idle);
        if began_here && let Some(end) = whole(new, limits, arguments) {
            return Ok(Parsed::Request { end });
        }
        arguments.clear();
        let parsed = self.resume(new, limits);
        match parsed {
            Ok(Parsed::Incomplete) => self.fed += new.len(),
            _ => *self = RequestParser::new(),
        }
        if began_here && let Ok(Parsed::Request { end } | Parsed::Inline { end }) = parsed {
            arguments.index(&new[..end]);
        }
        parsed
    }

    fn resume(&mut self, new: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        let mut at = 0;
        while let Some(&byte) = new.get(at) {
            match &mut self.state {
                State::Idle => {
                    self.state = match byte {
                        b'*' => State::Count(Number::new()),
                        _ => State::Inline(Place::default()),
                    }
                }
                State::Count(line) => {
                    at += 1;
                    if let Some(count) = line.take(byte, limits, Header::Count)? {
                        if count == 0 {
                            return Ok(Parsed::Nothing { end: at });
                        }
                        self.state = State::Length { left: count, line: Number::new() };
                    }
                }
                State::Length { left, line } => {
                    if line.is_new() && self.fed.saturating_add(new.len()) <= limits.request() {
                        let next = skip_arguments(new, at, left, limits);
                        if *left == 0 {
                            return Ok(Parsed::Request { end: next });
                        }
                        if next != at {
                            at = next;
                            continue;
                        }
                    }
                    at += 1;
                    if let Some(length) = line.take(byte, limits, Header::Length)? {
                        let more = length.saturating_add(2);
                        let total = self.fed.saturating_add(at).saturating_add(more as usize);
                        if total > limits.request() {
                            return Err(ProtocolError::TooBigRequest);
                        }
                        self.state = State::Body { left: *left, more };
                    }
                }
                State::Body { more, .. } if *more > 2 => {
                    let here = u32::try_from(new.len() - at).unwrap_or(u32::MAX).min(*more - 2);
                    at += here as usize;
                    *more -= here;
                }
                State::Body { left, more } => {
                    if byte != CRLF[2 - *more as usize] {
                        return Err(ProtocolError::InvalidLineEnd);
                    }
                    at += 1;
                    *more -= 1;
                    if *more == 0 {
                        let left = *left - 1;
                        if left == 0 {
                            return Ok(Parsed::Request { end: at });
                        }
                        self.state = State::Length { left, line: Number::new() };
                    }
                }
                State::Inline(place) => {
                    at += 1;
                    if byte == b'\n' {
                        return match place.end() {
                            InlineLine::Empty => Ok(Parsed::Nothing { end: at }),
                            InlineLine::Words => Ok(Parsed::Inline { end: at }),
                            InlineLine::Unbalanced => Err(ProtocolError::UnbalancedQuotes),
                        };
                    }
                    if self.fed.saturating_add(at) > limits.inline_max {
                        return Err(ProtocolError::TooBigInline);
                    }
                    *place = place.after(byte);
                }
            }
        }
        Ok(Parsed::Incomplete)
    }
}

impl Default for RequestParser {
    fn default() -> RequestParser {
        RequestParser::new()
    }
}

/// The highest position that [`Arguments`] can note.
const POSITION_MAX: usize = u32::MAX as usize;
/// The way nearly every request takes: it is whole, it has up to nine short arguments, and its
/// name is short. Returns where it ends.
#[inline(always)]
fn ordinary(new: &[u8], limits: &Limits, arguments: &mut Arguments) -> Option<usize> {
    let (count, length) = opening(head(new)?)?;
    let (first, spans) = arguments.kept().get_mut(..count)?.split_first_mut()?;
    let body = OPENING;
    let end = body + length;
    if !ends_line(new, end) {
        return None;
    }
    *first = Span::new(body, end);
    let at = end + CRLF.len();
    let end = fill(spans, &new[at..], at, short_header)?;
    arguments.accept(count, end, OPENING / 2, limits)
}

/// The same for any request that is whole and has not too many arguments.
fn whole(new: &[u8], limits: &Limits, arguments: &mut Arguments) -> Option<usize> {
    let (count, at) = header(head(new)?, b'*')?;
    let spans = arguments.kept().get_mut(..count)?;
    if spans.is_empty() {
        return None;
    }
    let end = fill(spans, new.get(at..)?, at, header)?;
    arguments.accept(count, end, at, limits)
}

/// Notes where the arguments are that `rest`, which begins at `at` of the message, begins
/// with, if they are all there. Returns where the last one ends.
#[inline(always)]
fn fill(
    spans: &mut [Span],
    mut rest: &[u8],
    mut at: usize,
    header: impl Fn(u64, u8) -> Option<(usize, usize)>,
) -> Option<usize> {
    for span in spans {
        let (length, body) = header(head(rest)?, b'$')?;
        let end = body + length;
        if !ends_line(rest, end) {
            return None;
        }
        *span = Span::new(at + body, at + end);
        rest = &rest[end + CRLF.len()..];
        at += end + CRLF.len();
    }
    Some(at)
}

/// Skips the arguments that are whole in `new` from `at` on, at most `left` of them, which
/// it counts down.
fn skip_arguments(new: &[u8], mut at: usize, left: &mut u32, limits: &Limits) -> usize {
    let bulk_max = if limits.unauthenticated { ALWAYS_BYTES } else { limits.bulk() };
    while *left > 0
        && let Some(rest) = new.get(at..)
        && let Some((length, body)) = head(rest).and_then(|word| header(word, b'$'))
        && length <= bulk_max
        && ends_line(rest, body + length)
    {
        at += body + length + CRLF.len();
        *left -= 1;
    }
    at
}

/// Which number a header line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    Count,
    Length,
}

/// A header line on its way: `*count\r\n` or `$length\r\n`.
///
/// A malformed line is reported when it ends, as Redis does, so that the answer does not
/// depend on how the line was cut.
#[derive(Clone, Copy, Debug)]
struct Number {
    /// Bytes so far, the marker included.
    length: u32,
    /// Stays at the highest value when it overflows, which every limit refuses.
    value: u64,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The marker is still to come.
    New,
    /// The marker was there, and no more.
    Empty,
    /// A minus and nothing else.
    Minus,
    /// Digits after a minus.
    Negative,
    /// One zero, which must be all.
    Zero,
    /// Digits.
    Digits,
    /// Not a number.
    Malformed,
    /// Not our marker, but this byte.
    Stranger(u8),
    /// The CR was there and the number is good: this one.
    Ended(u32),
}

impl Number {
    fn new() -> Number {
        Number { length: 0, value: 0, shape: Shape::New }
    }

    fn is_new(&self) -> bool {
        self.shape == Shape::New
    }

    /// Takes one byte; the number, when the line is complete. A negative count is given as 0.
    #[cfg_attr(small, optimize(speed))]
    fn take(
        &mut self,
        byte: u8,
        limits: &Limits,
        what: Header,
    ) -> Result<Option<u32>, ProtocolError> {
        self.length = self.length.saturating_add(1);
        match (self.shape, byte) {
            (Shape::Ended(number), b'\n') => return Ok(Some(number)),
            (Shape::Ended(_), _) => return Err(ProtocolError::InvalidLineEnd),
            (_, b'\r') => self.shape = Shape::Ended(self.number(limits, what)?),
            _ if self.length as usize > limits.inline_max => {
                return Err(match what {
                    Header::Count => ProtocolError::TooBigCount,
                    Header::Length => ProtocolError::TooBigLength,
                });
            }
            _ => self.shape = self.after(byte, what),
        }
        Ok(None)
    }

    fn after(&mut self, byte: u8, what: Header) -> Shape {
        match (self.shape, byte) {
            (Shape::New, b'*') if what == Header::Count => Shape::Empty,
            (Shape::New, b'$') if what == Header::Length => Shape::Empty,
            (Shape::New, _) => Shape::Stranger(byte),
            (Shape::Stranger(first), _) => Shape::Stranger(first),
            (Shape::Empty, b'-') => Shape::Minus,
            (Shape::Empty, b'0') => Shape::Zero,
            (Shape::Minus, b'1'..=b'9') | (Shape::Negative, b'0'..=b'9') => {
                self.push(byte);
                Shape::Negative
            }
            (Shape::Empty, b'1'..=b'9') | (Shape::Digits, b'0'..=b'9') => {
                self.push(byte);
                Shape::Digits
            }
            _ => Shape::Malformed,
        }
    }

    #[cfg_attr(small, optimize(speed))]
    fn push(&mut self, digit: u8) {
        self.value = self.value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    }

    /// The number, judged now that its CR is there.
    fn number(&self, limits: &Limits, what: Header) -> Result<u32, ProtocolError> {
        match what {
            Header::Count => {
                let count = match self.shape {
                    Shape::Zero | Shape::Digits => self.value,
                    // Any 64-bit number will do.
                    Shape::Negative if self.value <= i64::MIN.unsigned_abs() => 0,
                    _ => return Err(ProtocolError::InvalidCount),
                };
                match u32::try_from(count) {
                    Ok(count) if count as usize > limits.arguments() => {
                        Err(ProtocolError::InvalidCount)
                    }
                    Ok(count) if limits.unauthenticated && count as usize > ALWAYS_ARGUMENTS => {
                        Err(ProtocolError::UnauthenticatedCount)
                    }
                    Ok(count) => Ok(count),
                    Err(_) => Err(ProtocolError::InvalidCount),
                }
            }
            Header::Length => {
                let length = match self.shape {
                    Shape::Zero | Shape::Digits => self.value,
                    Shape::New => return Err(ProtocolError::ExpectedDollar(b'\r')),
                    Shape::Stranger(byte) => return Err(ProtocolError::ExpectedDollar(byte)),
                    _ => return Err(ProtocolError::InvalidLength),
                };
                match u32::try_from(length) {
                    Ok(length) if length as usize > limits.bulk() => {
                        Err(ProtocolError::InvalidLength)
                    }
                    Ok(length) if limits.unauthenticated && length as usize > ALWAYS_BYTES => {
                        Err(ProtocolError::UnauthenticatedLength)
                    }
                    Ok(length) => Ok(length),
                    Err(_) => Err(ProtocolError::InvalidLength),
                }
            }
        }
    }
}

/// Where the words of one request are. Owned once by a handler and reused for every
/// request, so that the steady state allocates nothing; what one huge request made it
/// take, it gives back with the next.
#[derive(Debug)]
pub struct Arguments {
    /// `SPANS_KEPT` of them, or more after a huge request; those beyond `count` mean nothing.
    spans: Vec<Span>,
    count: usize,
    /// Where the header of the first argument is.
    body: usize,
    /// The multi-bulk form of an inline request.
    rewritten: Vec<u8>,
    /// The words of an inline request, end to end, while it is being rewritten.
    words: Vec<u8>,
}

/// Where one argument is, without its header and line end.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "callers keep positions up to POSITION_MAX"
    )]
    fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }
}

/// How many spans are kept for the next request. What has more arguments goes the slow way.
const SPANS_KEPT: usize = 1024;
/// How many bytes of rewritten words are kept for the next one.
const REWRITTEN_KEPT: usize = 4096;

impl Arguments {
    /// No arguments yet.
    #[must_use]
    pub fn new() -> Arguments {
        Arguments {
            spans: vec![Span::default(); SPANS_KEPT],
            count: 0,
            body: 0,
            rewritten: Vec::new(),
            words: Vec::new(),
        }
    }

    /// Notes where the arguments of `message` are. It is a request that the parser found, or
    /// the beginning of one: then the arguments that are whole are noted. A line of words is
    /// decoded and rewritten.
    #[cfg_attr(small, optimize(speed))]
    pub fn index(&mut self, message: &[u8]) {
        self.clear();
        if message.first().is_some_and(|&byte| byte != b'*') {
            self.rewrite(message);
            return;
        }
        let Some((count, start)) = any_header(message, b'*') else { return };
        self.body = start;
        let mut at = start;
        while self.count < count
            && let Some((length, header)) =
                message.get(at..).and_then(|rest| any_header(rest, b'$'))
            && let body = at + header
            && let end = body.saturating_add(length)
            && let next = end.saturating_add(CRLF.len())
            && next <= message.len().min(POSITION_MAX)
        {
            self.push(Span::new(body, end));
            at = next;
        }
    }

    /// Forgets the arguments.
    pub fn clear(&mut self) {
        self.count = 0;
        self.kept();
        self.rewritten.clear();
        self.rewritten.shrink_to(REWRITTEN_KEPT);
        self.words.clear();
        self.words.shrink_to(REWRITTEN_KEPT);
    }

    /// How many arguments there are, the command's name included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Where argument `i` is in its message; an empty range if there is no such argument.
    #[inline]
    #[must_use]
    #[cfg_attr(small, optimize(speed))]
    pub fn range(&self, i: usize) -> Range<usize> {
        match self.spans[..self.count].get(i) {
            Some(span) => span.start as usize..span.end as usize,
            None => 0..0,
        }
    }

    /// Argument `i` of `message`; empty if there is no such argument. The message of an inline
    /// request is [`Arguments::rewritten`].
    #[inline]
    #[must_use]
    #[cfg_attr(small, optimize(speed))]
    pub fn of<'a>(&self, message: &'a [u8], i: usize) -> &'a [u8] {
        message.get(self.range(i)).unwrap_or_default()
    }

    /// Where argument `i` is with its `$length\r\n` and its line end, so that it can be copied into
    /// another request as it is.
    #[must_use]
    #[cfg_attr(small, optimize(speed))]
    pub fn encoded_range(&self, i: usize) -> Range<usize> {
        if i >= self.count {
            return 0..0;
        }
        let start = if i == 0 { self.body } else { self.range(i - 1).end + CRLF.len() };
        start..self.range(i).end + CRLF.len()
    }

    /// The multi-bulk form of the inline request that was parsed last, which the positions are of.
    #[must_use]
    pub fn rewritten(&self) -> &[u8] {
        &self.rewritten
    }

    /// The spans to fill in for a request that is not huge.
    #[inline(always)]
    fn kept(&mut self) -> &mut [Span] {
        if self.spans.len() != SPANS_KEPT {
            self.give_back();
        }
        &mut self.spans
    }

    #[cold]
    #[inline(never)]
    fn give_back(&mut self) {
        self.spans.truncate(SPANS_KEPT);
        self.spans.shrink_to_fit();
    }

    /// Makes the first `count` spans the arguments, of a message that ends at `end`, if the limits
    /// are sure to allow it; if not, the slow way tells.
    #[inline(always)]
    fn accept(&mut self, count: usize, end: usize, body: usize, limits: &Limits) -> Option<usize> {
        let small = count <= ALWAYS_ARGUMENTS && end <= ALWAYS_BYTES;
        if !small && !limits.surely_allow(count, end) {
            return None;
        }
        self.body = body;
        self.count = count;
        Some(end)
    }

    #[cfg_attr(small, optimize(speed))]
    fn push(&mut self, span: Span) {
        match self.spans.get_mut(self.count) {
            Some(free) => *free = span,
            None => self.spans.push(span),
        }
        self.count += 1;
    }

    fn rewrite(&mut self, line: &[u8]) {
        let mut rest = line.strip_suffix(b"\n").unwrap_or(line);
        loop {
            let start = self.words.len();
            let Some(after) = inline::next_word(rest, &mut self.words) else { break };
            rest = after;
            self.push(Span::new(start, self.words.len()));
        }
        self.rewritten.array(self.count);
        self.body = self.rewritten.len();
        for span in &mut self.spans[..self.count] {
            let word = &self.words[span.start as usize..span.end as usize];
            self.rewritten.bulk(word);
            let end = self.rewritten.len() - CRLF.len();
            *span = Span::new(end - word.len(), end);
        }
    }
}

impl Default for Arguments {
    fn default() -> Arguments {
        Arguments::new()
    }
}

/// How many arguments the multi-bulk request that begins with `message` announces, if its
/// first line is there.
#[must_use]
pub fn announced(message: &[u8]) -> Option<usize> {
    any_header(message, b'*').map(|(count, _)| count)
}

/// A header of any length, as the parser lets through.
#[cfg_attr(small, optimize(speed))]
fn any_header(bytes: &[u8], marker: u8) -> Option<(usize, usize)> {
    if let Some(short) = head(bytes).and_then(|word| header(word, marker)) {
        return Some(short);
    }
    let end = bytes.iter().position(|&byte| byte == b'\r')?;
    let digits = bytes[..end].strip_prefix(&[marker])?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, end + CRLF.len()))
}

/// Why a client cannot be understood. Its text is what Redis answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A line of words is longer than the limit.
    TooBigInline,
    /// A quote in a line of words is not closed, or is closed in the middle of a word.
    UnbalancedQuotes,
    /// The line that says how many arguments follow does not end.
    TooBigCount,
    /// The number of arguments is not a number, or above the limit.
    InvalidCount,
    /// More arguments than a client may send that has not logged in.
    UnauthenticatedCount,
    /// The line that says how long an argument is does not end.
    TooBigLength,
    /// Something else where an argument should begin.
    ExpectedDollar(u8),
    /// The length of an argument is not a number, is negative, or is above the limit.
    InvalidLength,
    /// A longer argument than a client may send that has not logged in.
    UnauthenticatedLength,
    /// Other bytes than CR and LF after a length or an argument.
    InvalidLineEnd,
    /// The request as a whole is longer than the limit.
    TooBigRequest,
}

impl ProtocolError {
    /// Writes the error reply.
    pub fn reply(&self, sink: &mut impl Sink) {
        sink.put(b"-ERR ");
        match self {
            // The byte as it came, even if it is not text; what would break the line becomes a blank.
            ProtocolError::ExpectedDollar(byte) => {
                let shown = if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
                sink.put(b"Protocol error: expected '$', got '");
                sink.put(&[shown]);
                sink.put(b"'");
            }
            other => {
                sink.put(b"Protocol error: ");
                sink.put(other.what().as_bytes());
            }
        }
        sink.put(&CRLF);
    }

    fn what(&self) -> &'static str {
        match self {
            ProtocolError::TooBigInline => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::TooBigCount => "too big mbulk count string",
            ProtocolError::InvalidCount => "invalid multibulk length",
            ProtocolError::UnauthenticatedCount => "unauthenticated multibulk length",
            ProtocolError::TooBigLength => "too big bulk count string",
            ProtocolError::ExpectedDollar(_) => "expected '$'",
            ProtocolError::InvalidLength => "invalid bulk length",
            ProtocolError::UnauthenticatedLength => "unauthenticated bulk length",
            ProtocolError::InvalidLineEnd => "invalid CRLF in request",
            ProtocolError::TooBigRequest => "too big request",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::ExpectedDollar(byte) => {
                write!(f, "Protocol error: expected '$', got '{}'", byte.escape_ascii())
            }
            other => write!(f, "Protocol error: {}", other.what()),
        }
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::resp::reference;

    /// What became of a request: its words, or nothing, or an error; and where it ended.
    #[derive(Debug, PartialEq, Eq)]
    enum Outcome {
        Words(Vec<Vec<u8>>, usize),
        Nothing(usize),
        Incomplete,
        Error(ProtocolError),
    }

    /// Feeds `wire` in the pieces given by `cuts`.
    fn parse(wire: &[u8], cuts: &[usize], limits: &Limits) -> Outcome {
        let (mut parser, mut arguments) = (RequestParser::new(), Arguments::new());
        let mut start = 0;
        for &cut in cuts.iter().chain([&wire.len()]) {
            assert_eq!(parser.fed(), start);
            let parsed = match parser.feed(&wire[start..cut], limits, &mut arguments) {
                Ok(parsed) => parsed,
                Err(error) => return Outcome::Error(error),
            };
            match parsed {
                Parsed::Incomplete => {
                    assert_eq!(arguments.count(), 0);
                    start = cut;
                }
                Parsed::Nothing { end } => return Outcome::Nothing(start + end),
                Parsed::Request { end } | Parsed::Inline { end } => {
                    assert_eq!(parser.fed(), 0);
                    let message = &wire[..start + end];
                    if start > 0 {
                        assert_eq!(arguments.count(), 0);
                        arguments.index(message);
                    }
                    let inline = matches!(parsed, Parsed::Inline { .. });
                    let of = if inline { arguments.rewritten() } else { message };
                    let words =
                        (0..arguments.count()).map(|i| arguments.of(of, i).to_vec()).collect();
                    return Outcome::Words(words, start + end);
                }
            }
        }
        Outcome::Incomplete
    }

    /// Feeds `wire` whole, in two pieces cut everywhere, and byte by byte: the answer must not depend on it.
    #[track_caller]
    fn check_with(limits: &Limits, wire: &[u8], want: &Outcome) {
        let shown = wire[..wire.len().min(80)].escape_ascii();
        let same = |cuts: &[usize], how: &str| {
            let got = parse(wire, cuts, limits);
            let (mut told, mut wanted) = (format!("{got:?}"), format!("{want:?}"));
            told.truncate(200);
            wanted.truncate(200);
            assert!(got == *want, "{shown} {how}: {told}, should be {wanted}");
        };
        same(&[], "whole");
        for cut in
            (0..=wire.len()).filter(|cut| *cut < 64 || cut % 997 == 0 || cut + 64 > wire.len())
        {
            same(&[cut], &format!("cut at {cut}"));
        }
        let every: Vec<_> = (1..wire.len()).collect();
        same(&every, "byte by byte");
    }

    fn words(words: &[&str], end: usize) -> Outcome {
        Outcome::Words(words.iter().map(|word| word.as_bytes().to_vec()).collect(), end)
    }

    #[track_caller]
    fn check(wire: &str, want: &[&str]) {
        check_with(&Limits::default(), wire.as_bytes(), &words(want, wire.len()));
    }

    #[track_caller]
    fn check_nothing(wire: &str) {
        check_with(&Limits::default(), wire.as_bytes(), &Outcome::Nothing(wire.len()));
    }

    #[track_caller]
    fn check_error(wire: &str, want: ProtocolError) {
        check_with(&Limits::default(), wire.as_bytes(), &Outcome::Error(want));
    }

    #[test]
    fn requests_are_found_however_they_are_cut() {
        check("*1\r\n$4\r\nPING\r\n", &["PING"]);
        check("*2\r\n$3\r\nGET\r\n$16\r\n0123456789abcdef\r\n", &["GET", "0123456789abcdef"]);
        check("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", &["SET", "k", ""]);
        check("*2\r\n$4\r\nECHO\r\n$6\r\n\r\n$1\r\n\r\n", &["ECHO", "\r\n$1\r\n"]);
        let long = "x".repeat(300);
        check(&format!("*2\r\n$3\r\nGET\r\n$300\r\n{long}\r\n"), &["GET", &long]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn arguments_of_six_digits_and_more_are_found() {
        let long = "x".repeat(123_456);
        let wire = format!("*3\r\n$3\r\nSET\r\n$123456\r\n{long}\r\n$1\r\ny\r\n");
        let want = words(&["SET", &long, "y"], wire.len());
        for cut in [0, 1, 13, 14, 20, 22, 23, 1000, wire.len() - 9, wire.len() - 8, wire.len() - 1]
        {
            assert_eq!(parse(wire.as_bytes(), &[cut], &Limits::default()), want, "cut at {cut}");
        }
    }

    #[test]
    fn a_pipelined_request_is_left_alone() {
        let wire = b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI";
        check_with(&Limits::default(), wire, &words(&["PING"], 14));
        check_with(&Limits::default(), b"PING\r\nPING", &words(&["PING"], 6));
        check_with(&Limits::default(), b"\r\n*1\r\n", &Outcome::Nothing(2));
    }

    #[test]
    fn unfinished_requests_wait() {
        for wire in [
            "",
            "*",
            "*1",
            "*1\r",
            "*1\r\n",
            "*1\r\n$",
            "*1\r\n$4\r\nPING",
            "*1\r\n$4\r\nPING\r",
            "PING",
        ] {
            check_with(&Limits::default(), wire.as_bytes(), &Outcome::Incomplete);
        }
    }

    #[test]
    fn what_asks_for_nothing_is_skipped() {
        for wire in
            ["*0\r\n", "*-1\r\n", "*-9223372036854775808\r\n", "\r\n", "\n", "  \t\x0b\x0c\r \r\n"]
        {
            check_nothing(wire);
        }
    }

    #[test]
    fn malformed_requests_are_refused_in_the_words_of_redis() {
        for count in [
            "",
            "x",
            "01",
            "-0",
            "-",
            "+1",
            " 1",
            "1 ",
            "1\n",
            "00",
            "1048577",
            "4294967297",
            "-9223372036854775809",
            "99999999999999999999999",
            "--1",
            "1-",
            "*1",
        ] {
            check_error(&format!("*{count}\r\n"), ProtocolError::InvalidCount);
        }
        for length in [
            "",
            "x",
            "01",
            "-1",
            "-0",
            "+1",
            "1x",
            "536870913",
            "4294967297",
            "99999999999999999999",
            "$1",
        ] {
            check_error(&format!("*1\r\n${length}\r\n"), ProtocolError::InvalidLength);
            check_error(
                &format!("*2\r\n$4\r\nECHO\r\n${length}\r\n"),
                ProtocolError::InvalidLength,
            );
        }
        check_error("*1\r\nPING\r\n", ProtocolError::ExpectedDollar(b'P'));
        check_error("*1\r\n*1\r\n", ProtocolError::ExpectedDollar(b'*'));
        check_error("*1\r\n\r\n", ProtocolError::ExpectedDollar(b'\r'));
        check_error("*1\r\n\n$4\r\n", ProtocolError::ExpectedDollar(b'\n'));
        check_error("*2\r\n$1\r\na\r\n:1\r\n", ProtocolError::ExpectedDollar(b':'));
    }

    #[test]
    fn other_line_ends_are_refused() {
        for wire in [
            "*1\rx",
            "*1\r\r",
            "*1\r\n$4\rx",
            "*1\r\n$4\r\nPINGxx",
            "*1\r\n$4\r\nPING\rx",
            "*1\r\n$4\r\nPING\n\r",
            "*1\r\n$0\r\nxx",
            "*2\r\n$4\r\nECHO\n\n$1\r\nx\r\n",
        ] {
            check_error(wire, ProtocolError::InvalidLineEnd);
        }
    }

    #[test]
    fn errors_are_told_as_redis_tells_them() {
        let reply = |error: ProtocolError| {
            let mut wire = Vec::new();
            error.reply(&mut wire);
            wire
        };
        assert_eq!(
            reply(ProtocolError::ExpectedDollar(b'x')),
            b"-ERR Protocol error: expected '$', got 'x'\r\n"
        );
        assert_eq!(
            reply(ProtocolError::ExpectedDollar(0xff)),
            b"-ERR Protocol error: expected '$', got '\xff'\r\n"
        );
        assert_eq!(
            reply(ProtocolError::ExpectedDollar(b'\r')),
            b"-ERR Protocol error: expected '$', got ' '\r\n"
        );
        assert_eq!(
            reply(ProtocolError::InvalidCount),
            b"-ERR Protocol error: invalid multibulk length\r\n"
        );
        assert_eq!(
            ProtocolError::ExpectedDollar(b'\n').to_string(),
            "Protocol error: expected '$', got '\\n'"
        );
        assert_eq!(
            ProtocolError::TooBigInline.to_string(),
            "Protocol error: too big inline request"
        );
    }

    /// A request of arguments of these lengths.
    fn request(lengths: &[usize]) -> (String, Vec<String>) {
        let words: Vec<_> = lengths.iter().map(|length| "x".repeat(*length)).collect();
        let bulks: String =
            words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        (format!("*{}\r\n{bulks}", words.len()), words)
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn limits_hold_however_a_request_is_cut() {
        let limits = Limits {
            bulk_max: 20_000,
            arguments_max: 12,
            inline_max: 12,
            request_max: 20_100,
            unauthenticated: false,
        };
        let check = |wire: &str, want| check_with(&limits, wire.as_bytes(), &want);
        let check_request = |lengths: &[usize], error| {
            let (wire, written) = request(lengths);
            let written: Vec<_> = written.iter().map(String::as_str).collect();
            check(
                &wire,
                match error {
                    None => words(&written, wire.len()),
                    Some(error) => Outcome::Error(error),
                },
            );
        };
        check_request(&[20_000], None);
        check_request(&[20_001], Some(ProtocolError::InvalidLength));
        check_request(&[1; 12], None);
        check_request(&[1; 13], Some(ProtocolError::InvalidCount));
        // 4 bytes, and 10 for each argument.
        check_request(&[10_000, 10_076], None);
        check_request(&[10_000, 10_077], Some(ProtocolError::TooBigRequest));
        check_request(&[10_000, 10_070, 0], None);
        check_request(&[10_000, 10_071, 0], Some(ProtocolError::TooBigRequest));
        check("ab cd ef gh\r\n", words(&["ab", "cd", "ef", "gh"], 13));
        check("ab cd ef gh \r\n", Outcome::Error(ProtocolError::TooBigInline));
        check("*00000000000", Outcome::Incomplete);
        check("*000000000000", Outcome::Error(ProtocolError::TooBigCount));
        check("*1\r\n$00000000000", Outcome::Incomplete);
        check("*1\r\n$000000000000", Outcome::Error(ProtocolError::TooBigLength));
        check("*1\r\nPING of death", Outcome::Error(ProtocolError::TooBigLength));
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn small_requests_are_always_allowed() {
        let limits = Limits {
            bulk_max: 0,
            arguments_max: 0,
            inline_max: 64,
            request_max: 0,
            unauthenticated: true,
        };
        let (wire, written) = request(&[1600; 10]);
        let written: Vec<_> = written.iter().map(String::as_str).collect();
        check_with(&limits, wire.as_bytes(), &words(&written, wire.len()));
        check_with(
            &limits,
            request(&[1; 11]).0.as_bytes(),
            &Outcome::Error(ProtocolError::InvalidCount),
        );
        check_with(
            &limits,
            request(&[16_385]).0.as_bytes(),
            &Outcome::Error(ProtocolError::InvalidLength),
        );
        check_with(
            &limits,
            request(&[16_384]).0.as_bytes(),
            &Outcome::Error(ProtocolError::TooBigRequest),
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn a_request_limit_may_be_shorter_than_what_was_read() {
        let limits = Limits { request_max: 16_384, ..Limits::default() };
        let wire = [request(&[9000, 7000]).0, request(&[9000, 7000]).0].concat();
        let words = vec![vec![b'x'; 9000], vec![b'x'; 7000]];
        check_with(&limits, wire.as_bytes(), &Outcome::Words(words, wire.len() / 2));
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn strangers_may_not_send_much() {
        let limits = Limits { unauthenticated: true, ..Limits::default() };
        let ten = format!("*10\r\n{}", "$1\r\nx\r\n".repeat(10));
        check_with(&limits, ten.as_bytes(), &words(&["x"; 10], ten.len()));
        check_with(&limits, b"*11\r\n", &Outcome::Error(ProtocolError::UnauthenticatedCount));
        let eleven = format!("*11\r\n{}", "$1\r\nx\r\n".repeat(11));
        check_with(
            &limits,
            eleven.as_bytes(),
            &Outcome::Error(ProtocolError::UnauthenticatedCount),
        );
        check_with(
            &limits,
            b"*1\r\n$16385\r\n",
            &Outcome::Error(ProtocolError::UnauthenticatedLength),
        );
        let most = format!("*1\r\n$16384\r\n{}\r\n", "x".repeat(16384));
        assert_eq!(parse(most.as_bytes(), &[], &limits), words(&[&"x".repeat(16384)], most.len()));
    }

    #[test]
    fn words_on_a_line_are_a_request() {
        check("PING\r\n", &["PING"]);
        check("PING\n", &["PING"]);
        check("  set\tk  v \r\n", &["set", "k", "v"]);
        check("a\x0bb \x0bc\r\n", &["a\x0bb", "c"]);
        check("nul\0l x\r\n", &["nul\0l", "x"]);
        check("a\rb\n", &["a", "b"]);
    }

    #[test]
    fn quotes_are_understood_as_redis_does() {
        check("echo \"a b\" 'c d'\r\n", &["echo", "a b", "c d"]);
        check("echo \"\" ''\r\n", &["echo", "", ""]);
        check("\"\"\r\n", &[""]);
        check("echo \"\\n\\r\\t\\b\\a\\\\\\\"\\q\"\r\n", &["echo", "\n\r\t\x08\x07\\\"q"]);
        check("echo \"\\x4A\\x6a\\x4J\\xg\"\r\n", &["echo", "Jjx4Jxg"]);
        check("echo 'it\\'s' 'a\\nb' 'a\\\\'' x\n", &["echo", "it's", "a\\nb", "a\\'", "x"]);
        check("echo a\"b c\"\r\n", &["echo", "ab c"]);
        check("\"a\"\x0bb\n", &["a", "b"]);
        check_with(
            &Limits::default(),
            b"echo \"\\xff\"\n",
            &Outcome::Words(vec![b"echo".to_vec(), vec![0xff]], 12),
        );
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for wire in [
            "echo \"a\r\n",
            "echo 'a\r\n",
            "echo \"a\"b\r\n",
            "'a'b\n",
            "\"a\"\"b\"\n",
            "\"a\\\"\r\n",
            "'a\\'\r\n",
            "\"a\\\n",
            "\"\\x4\n",
        ] {
            check_error(wire, ProtocolError::UnbalancedQuotes);
        }
    }

    /// D-33: after a blank line predixy took a request for a line of words.
    #[test]
    fn d33_a_blank_line_changes_nothing() {
        let (mut parser, mut arguments) = (RequestParser::new(), Arguments::new());
        let wire = b"\r\n\r\n*1\r\n$4\r\nPING\r\n";
        let mut feed = |from: usize| parser.feed(&wire[from..], &Limits::default(), &mut arguments);
        assert_eq!(feed(0), Ok(Parsed::Nothing { end: 2 }));
        assert_eq!(feed(2), Ok(Parsed::Nothing { end: 2 }));
        assert_eq!(feed(4), Ok(Parsed::Request { end: 14 }));
    }

    #[test]
    fn a_line_of_words_gets_its_regular_form() {
        let (mut parser, mut arguments) = (RequestParser::new(), Arguments::new());
        let wire = b"set k \"a b\"\r\n";
        assert_eq!(
            parser.feed(wire, &Limits::default(), &mut arguments),
            Ok(Parsed::Inline { end: wire.len() })
        );
        assert_eq!(arguments.rewritten(), b"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$3\r\na b\r\n");
        assert_eq!(arguments.of(arguments.rewritten(), 2), b"a b");
        assert_eq!(&arguments.rewritten()[arguments.encoded_range(1)], b"$1\r\nk\r\n");
    }

    #[test]
    fn arguments_can_be_taken_over_as_they_are() {
        let wire = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\n0123456789ab\r\n";
        let mut arguments = Arguments::new();
        arguments.index(wire);
        assert_eq!(arguments.count(), 3);
        assert_eq!(&wire[arguments.encoded_range(0)], b"$3\r\nSET\r\n");
        assert_eq!(&wire[arguments.encoded_range(1)], b"$1\r\nk\r\n");
        assert_eq!(&wire[arguments.encoded_range(2)], b"$12\r\n0123456789ab\r\n");
        assert_eq!(arguments.encoded_range(3), 0..0);
        assert_eq!(arguments.of(wire, 3), b"");
    }

    #[test]
    fn the_beginning_of_a_request_shows_its_first_arguments() {
        let mut arguments = Arguments::new();
        let wire = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nxx";
        arguments.index(wire);
        assert_eq!(arguments.count(), 2);
        assert_eq!(arguments.of(wire, 1), b"k");
        assert_eq!(announced(wire), Some(3));
        assert_eq!(announced(b"*1000000\r\n"), Some(1_000_000));
        assert_eq!(announced(b"*10"), None);
    }

    #[test]
    fn the_arguments_of_the_last_request_are_forgotten() {
        for wire in ["*1\r\n$4\r\nPI", "\r\n", "*0\r\n", "*x\r\n", "PI"] {
            let (mut parser, mut arguments) = (RequestParser::new(), Arguments::new());
            let limits = Limits::default();
            assert!(parser.feed(b"*1\r\n$4\r\nPING\r\n", &limits, &mut arguments).is_ok());
            assert_eq!(arguments.count(), 1);
            let _ = parser.feed(wire.as_bytes(), &limits, &mut arguments);
            assert_eq!(arguments.count(), 0, "{wire:?}");
        }
    }

    #[test]
    fn announced_counts_and_lengths_allocate_nothing() {
        let (mut parser, mut arguments) = (RequestParser::new(), Arguments::new());
        let wire = b"*99999\r\n$3\r\nDEL\r\n$536870912\r\nx";
        assert_eq!(parser.feed(wire, &Limits::default(), &mut arguments), Ok(Parsed::Incomplete));
        assert_eq!(arguments.spans.capacity(), SPANS_KEPT);
        assert_eq!(parser.wanted(), 536_870_912 + 2 - 1);
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn the_memory_of_a_huge_request_is_given_back() {
        let (mut parser, mut arguments) = (RequestParser::new(), Arguments::new());
        let huge = format!("*50000\r\n{}", "$1\r\nx\r\n".repeat(50_000));
        let line = format!("{}\r\n", "x ".repeat(30_000));
        for wire in [huge, line] {
            assert!(parser.feed(wire.as_bytes(), &Limits::default(), &mut arguments).is_ok());
            assert!(arguments.count() >= 30_000);
            assert!(
                parser.feed(b"*1\r\n$4\r\nPING\r\n", &Limits::default(), &mut arguments).is_ok()
            );
            assert_eq!(arguments.count(), 1);
            assert!(arguments.spans.capacity() <= SPANS_KEPT);
        }
        arguments.clear();
        assert!(arguments.rewritten.capacity() <= REWRITTEN_KEPT);
    }

    /// A request, or most of one: as random as is likely to reach every corner.
    fn write_request(random: &mut Random) -> Vec<u8> {
        let mut below = |n: u64| usize::try_from(random.below(n)).unwrap();
        let mut wire = Vec::new();
        if below(4) == 0 {
            let pieces = [
                "a", "PING", " ", "\t", "\"", "'", "\\", "\\x41", "\\n", "\x0b", "\r", "x y",
                "\"a b\"", "'c'",
            ];
            for _ in 0..below(10) {
                wire.put(pieces[below(14)].as_bytes());
            }
            wire.put([b"\r\n".as_slice(), b"\n"][below(2)]);
        } else {
            let lengths = [0, 1, 3, 9, 10, 16, 99, 100, 999, 1000, 5000, 16_384, 16_385];
            let most = [14, 4, 4, 4][below(4)];
            let count = below(most);
            wire.array(count);
            for _ in 0..count {
                let bits = [4, 8, 13][below(3)];
                wire.bulk(&b"$1\r\nx\r\n".repeat(2500)[..lengths[below(bits)]]);
            }
        }
        for _ in 0..[0, 0, 1, 2][below(4)] {
            let at = below(wire.len() as u64);
            match below(4) {
                0 => wire[at] = b"0129-+*$\r\n x\0\xff"[below(14)],
                1 => wire.insert(at, b"0129-+*$\r\n x\0\xff"[below(14)]),
                2 => drop(wire.remove(at)),
                _ => wire.truncate(at + 1),
            }
            if wire.is_empty() {
                break;
            }
        }
        wire
    }

    #[test]
    #[cfg_attr(miri, ignore = "too long for Miri")]
    fn random_requests_are_what_a_naive_parser_says() {
        let seed =
            std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_240_131);
        println!("SEED={seed}");
        let mut random = Random::new(seed);
        for round in 0..6000 {
            let mut wire = write_request(&mut random);
            let limits = Limits {
                bulk_max: 20_000,
                arguments_max: 12,
                inline_max: 24,
                request_max: 20_000,
                unauthenticated: random.below(4) == 0,
            };
            let allowed = reference::Allowed {
                bulk: limits.bulk_max,
                arguments: limits.arguments_max,
                line: limits.inline_max,
                request: limits.request_max,
                unauthenticated: limits.unauthenticated,
            };
            wire.put(&b"*1\r\n$4\r\nPING\r\n"[..usize::try_from(random.below(15)).unwrap()]);
            let mut cuts: Vec<_> = (0..random.below(6))
                .map(|_| usize::try_from(random.below(wire.len() as u64 + 1)).unwrap())
                .collect();
            cuts.sort_unstable();
            let shown = wire[..wire.len().min(200)].escape_ascii();
            match (parse(&wire, &cuts, &limits), reference::request(&wire, &allowed)) {
                (Outcome::Error(error), reference::Request::Refused(text)) => {
                    let told = error.to_string();
                    assert!(
                        told.starts_with(&format!("Protocol error: {text}")),
                        "round {round}: {told}: {shown}"
                    );
                }
                (Outcome::Words(words, end), reference::Request::Words(wanted, wanted_end)) => {
                    assert!(
                        words == wanted && end == wanted_end,
                        "round {round}: {shown} cut at {cuts:?}"
                    );
                }
                (Outcome::Nothing(end), reference::Request::Nothing(wanted)) if end == wanted => {}
                (Outcome::Incomplete, reference::Request::Incomplete) => {}
                (got, want) => {
                    let (mut got, mut want) = (format!("{got:?}"), format!("{want:?}"));
                    got.truncate(200);
                    want.truncate(200);
                    panic!("round {round}: {shown} cut at {cuts:?}: {got}, should be {want}");
                }
            }
        }
    }

    #[test]
    fn a_parser_is_small() {
        assert!(size_of::<RequestParser>() <= 48, "{}", size_of::<RequestParser>());
    }
}
