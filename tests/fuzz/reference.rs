//! Parsers that are as plain as possible: what the real ones are compared with.
//!
//! They see all bytes at once, search, copy and recurse freely, and share no code with the
//! real ones. The unit tests use them too.

/// What a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// It goes on.
    Incomplete,
    /// It asks for nothing and ends here.
    Nothing(usize),
    /// It has these words and ends here.
    Words(Vec<Vec<u8>>, usize),
    /// It is refused with this text.
    Refused(&'static str),
}

/// What is allowed.
#[derive(Clone, Debug)]
pub struct Allowed {
    pub bulk: usize,
    pub arguments: usize,
    pub line: usize,
    pub request: usize,
    pub unauthenticated: bool,
}

/// Reads the request that `bytes` begin with.
pub fn request(bytes: &[u8], allowed: &Allowed) -> Request {
    match bytes.first() {
        None => Request::Incomplete,
        Some(b'*') => bulks(bytes, allowed).unwrap_or_else(|stopped| stopped),
        Some(_) => inline(bytes, allowed),
    }
}

/// The text of a header line, which begins at `at`, and where it ends.
fn line<'a>(
    bytes: &'a [u8],
    at: usize,
    allowed: &Allowed,
    too_long: &'static str,
) -> Result<(&'a [u8], usize), Request> {
    let rest = &bytes[at..];
    match rest.iter().position(|byte| *byte == b'\r') {
        Some(cr) if cr <= allowed.line => Ok((&rest[..cr], at + cr)),
        None if rest.len() <= allowed.line => Err(Request::Incomplete),
        _ => Err(Request::Refused(too_long)),
    }
}

/// Expects CR and LF at `at`.
fn line_end(bytes: &[u8], at: usize) -> Result<usize, Request> {
    for (i, want) in b"\r\n".iter().enumerate() {
        match bytes.get(at + i) {
            None => return Err(Request::Incomplete),
            Some(byte) if byte != want => return Err(Request::Refused("invalid CRLF in request")),
            Some(_) => {}
        }
    }
    Ok(at + 2)
}

/// A number as Redis writes it: no plus, no leading zeros.
fn number(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}

fn bulks(bytes: &[u8], allowed: &Allowed) -> Result<Request, Request> {
    let (text, end) = line(bytes, 0, allowed, "too big mbulk count string")?;
    let invalid = Request::Refused("invalid multibulk length");
    let count = number(&text[1..]).ok_or_else(|| invalid.clone())?;
    if count > allowed.arguments.max(10) as i64 {
        return Err(invalid);
    }
    if count > 10 && allowed.unauthenticated {
        return Err(Request::Refused("unauthenticated multibulk length"));
    }
    let mut at = line_end(bytes, end)?;
    if count <= 0 {
        return Ok(Request::Nothing(at));
    }
    let mut words = Vec::new();
    for _ in 0..count {
        let (text, end) = line(bytes, at, allowed, "too big bulk count string")?;
        if text.first() != Some(&b'$') {
            return Err(Request::Refused("expected '$'"));
        }
        let length = match number(&text[1..]) {
            Some(length) if length >= 0 && length <= allowed.bulk.max(16384) as i64 => {
                length as usize
            }
            _ => return Err(Request::Refused("invalid bulk length")),
        };
        if length > 16384 && allowed.unauthenticated {
            return Err(Request::Refused("unauthenticated bulk length"));
        }
        let body = line_end(bytes, end)?;
        if body + length + 2 > allowed.request.max(16384) {
            return Err(Request::Refused("too big request"));
        }
        at = line_end(bytes, body + length)?;
        words.push(bytes[body..body + length].to_vec());
    }
    Ok(Request::Words(words, at))
}

fn inline(bytes: &[u8], allowed: &Allowed) -> Request {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    if end.unwrap_or(bytes.len()) > allowed.line {
        return Request::Refused("too big inline request");
    }
    let Some(end) = end else { return Request::Incomplete };
    match split(&bytes[..end]) {
        None => Request::Refused("unbalanced quotes in request"),
        Some(words) if words.is_empty() => Request::Nothing(end + 1),
        Some(words) => Request::Words(words, end + 1),
    }
}

/// Splits a line into words.
fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let blank = |byte: &u8| b" \t\r\n\x0b\x0c".contains(byte);
    let mut words = Vec::new();
    let mut i = 0;
    loop {
        while line.get(i).is_some_and(blank) {
            i += 1;
        }
        if i == line.len() {
            return Some(words);
        }
        let mut word = Vec::new();
        let mut quote = None;
        while let Some(&byte) = line.get(i) {
            i += 1;
            let next = line.get(i).copied();
            match quote {
                None if b" \t\r\n".contains(&byte) => break,
                None if byte == b'"' || byte == b'\'' => quote = Some(byte),
                None => word.push(byte),
                Some(open) if byte == open => {
                    quote = None;
                    if next.is_some_and(|next| !blank(&next)) {
                        return None;
                    }
                    break;
                }
                Some(b'"') if byte == b'\\' && next.is_some() => {
                    let digits =
                        line.get(i + 1..i + 3).and_then(|digits| std::str::from_utf8(digits).ok());
                    let code = digits
                        .filter(|digits| {
                            next == Some(b'x')
                                && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
                        })
                        .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                    i += if code.is_some() { 3 } else { 1 };
                    word.push(code.unwrap_or(match next {
                        Some(b'n') => b'\n',
                        Some(b'r') => b'\r',
                        Some(b't') => b'\t',
                        Some(b'b') => 8,
                        Some(b'a') => 7,
                        other => other?,
                    }));
                }
                Some(b'\'') if byte == b'\\' && next == Some(b'\'') => {
                    i += 1;
                    word.push(b'\'');
                }
                Some(_) => word.push(byte),
            }
        }
        if quote.is_some() {
            return None;
        }
        words.push(word);
    }
}

/// Why a reply has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It goes on.
    Incomplete,
    /// It is no reply.
    Broken,
}

/// Where the reply ends that `bytes` have at `at`.
pub fn reply(bytes: &[u8], at: usize) -> Result<usize, Stopped> {
    let marker = *bytes.get(at).ok_or(Stopped::Incomplete)?;
    let at = at + 1;
    match marker {
        b'+' | b'-' | b',' | b'(' => {
            let end =
                bytes[at..].windows(2).position(|two| two == b"\r\n").ok_or(Stopped::Incomplete)?;
            Ok(at + end + 2)
        }
        b':' => {
            let sign = usize::from(matches!(bytes.get(at), Some(b'-' | b'+')));
            let digits = bytes[at + sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let next = bytes.get(at + sign + digits);
            if sign + digits > 20 || digits == 0 && next.is_some() {
                return Err(Stopped::Broken);
            }
            expect(bytes, at + sign + digits, b"\r\n")
        }
        b'_' => expect(bytes, at, b"\r\n"),
        b'#' => match bytes.get(at) {
            None => Err(Stopped::Incomplete),
            Some(b't' | b'f') => expect(bytes, at + 1, b"\r\n"),
            Some(_) => Err(Stopped::Broken),
        },
        b'$' | b'*' if bytes.get(at) == Some(&b'-') => expect(bytes, at, b"-1\r\n"),
        b'$' | b'!' | b'=' => {
            let (length, at) = length(bytes, at)?;
            let end = usize::try_from(length)
                .ok()
                .and_then(|length| at.checked_add(length))
                .ok_or(Stopped::Incomplete)?;
            expect(bytes, end, b"\r\n")
        }
        b'*' | b'~' | b'>' => {
            let (count, at) = length(bytes, at)?;
            replies(bytes, at, count)
        }
        b'%' => {
            let (pairs, at) = length(bytes, at)?;
            replies(bytes, at, pairs * 2)
        }
        b'|' => {
            let (pairs, at) = length(bytes, at)?;
            replies(bytes, at, pairs * 2 + 1)
        }
        _ => Err(Stopped::Broken),
    }
}

fn replies(bytes: &[u8], mut at: usize, count: u64) -> Result<usize, Stopped> {
    for _ in 0..count {
        at = reply(bytes, at)?;
    }
    Ok(at)
}

/// Expects `want` at `at`, or the beginning of it before the bytes end.
fn expect(bytes: &[u8], at: usize, want: &[u8]) -> Result<usize, Stopped> {
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.starts_with(want) {
        Ok(at + want.len())
    } else if want.starts_with(rest) {
        Err(Stopped::Incomplete)
    } else {
        Err(Stopped::Broken)
    }
}

/// The length at `at`, and where what it is the length of begins.
fn length(bytes: &[u8], at: usize) -> Result<(u64, usize), Stopped> {
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = &bytes[at..at + digits];
    if text.is_empty() && bytes.get(at).is_some() || text.len() > 1 && text[0] == b'0' {
        return Err(Stopped::Broken);
    }
    let value = text
        .iter()
        .fold(0u128, |value, digit| (value * 10 + u128::from(digit - b'0')).min(1 << 100));
    if value > i64::MAX as u128 / 2 {
        return Err(Stopped::Broken);
    }
    let end = expect(bytes, at + digits, b"\r\n")?;
    Ok((value as u64, end))
}
