//! The protocol as a test needs it, written apart from the proxy's own parsers: simple, whole
//! messages only, and without any trust in what it reads. Knows no sockets.

use std::fmt;

/// A reply.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// `+`
    Status(Vec<u8>),
    /// `-`
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`
    Null,
    /// `*`
    Array(Vec<Value>),
    /// `=`, of RESP3, and the others
    Verbatim(Vec<u8>),
    /// `_`
    Nil,
    /// `%`, names and values in turn
    Map(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
}

impl Value {
    /// The bytes of a bulk.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Whether it has only what this protocol has.
    pub fn suits(&self, resp3: bool) -> bool {
        match self {
            Value::Null => !resp3,
            Value::Nil | Value::Verbatim(_) => resp3,
            Value::Map(values) | Value::Push(values) => {
                resp3 && values.iter().all(|value| value.suits(resp3))
            }
            Value::Array(values) => values.iter().all(|value| value.suits(resp3)),
            _ => true,
        }
    }

    /// The same with the one null that everybody knows.
    pub fn plain(self) -> Value {
        let all = |values: Vec<Value>| values.into_iter().map(Value::plain).collect();
        match self {
            Value::Nil => Value::Null,
            Value::Verbatim(text) => Value::Bulk(text),
            Value::Map(values) => Value::Map(all(values)),
            Value::Push(values) => Value::Push(all(values)),
            Value::Array(values) => Value::Array(all(values)),
            other => other,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Status(text) => write!(formatter, "+{}", shown(text)),
            Value::Error(text) => write!(formatter, "-{}", shown(text)),
            Value::Integer(number) => write!(formatter, ":{number}"),
            Value::Bulk(bytes) => write!(formatter, "${} {}", bytes.len(), shown(bytes)),
            Value::Null | Value::Nil => write!(formatter, "null"),
            Value::Verbatim(text) => write!(formatter, "={}", shown(text)),
            Value::Array(values) => formatter.debug_list().entries(values).finish(),
            Value::Map(values) => {
                write!(formatter, "map ")?;
                formatter.debug_list().entries(values).finish()
            }
            Value::Push(values) => {
                write!(formatter, "push ")?;
                formatter.debug_list().entries(values).finish()
            }
        }
    }
}

/// The beginning of some bytes, as a trace can show it. Nothing is formatted unless it is shown.
#[derive(PartialEq, Eq)]
pub struct Shown<'a>(&'a [u8]);

pub fn shown(bytes: &[u8]) -> Shown<'_> {
    Shown(bytes)
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(bytes) = self;
        write!(formatter, "{}", bytes[..bytes.len().min(60)].escape_ascii())?;
        if bytes.len() > 60 { write!(formatter, "... ({} bytes)", bytes.len()) } else { Ok(()) }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

/// A request.
pub fn command<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A reply of one bulk.
pub fn bulk(bytes: &[u8]) -> Vec<u8> {
    let mut reply = format!("${}\r\n", bytes.len()).into_bytes();
    reply.extend_from_slice(bytes);
    reply.extend_from_slice(b"\r\n");
    reply
}

/// A reply as it is in RESP3: its nulls are others, and if it is a list of fields it is a map.
pub fn in_resp3(reply: &[u8], is_map: bool) -> Vec<u8> {
    let (mut new, mut at) = (Vec::with_capacity(reply.len()), 0);
    while at < reply.len() {
        let start = at;
        let Some(head) = line(reply, &mut at) else { break };
        match head {
            b"$-1" | b"*-1" => new.extend_from_slice(b"_\r\n"),
            _ if is_map && start == 0 && head[0] == b'*' => {
                let count = number(head).unwrap_or(0) / 2;
                new.extend(format!("%{count}\r\n").into_bytes());
            }
            _ => {
                if head[0] == b'$' {
                    at += usize::try_from(number(head).unwrap_or(0)).unwrap_or(0) + 2;
                }
                new.extend_from_slice(&reply[start..at]);
            }
        }
    }
    new
}

/// The first reply in `bytes` and how long it is, if it is whole.
pub fn take_value(bytes: &[u8]) -> Result<Option<(Value, usize)>, String> {
    let mut end = 0;
    if !skip(bytes, &mut end)? {
        return Ok(None);
    }
    let mut at = 0;
    let value = read(bytes, &mut at)?;
    Ok(Some((value, at)))
}

/// The words of a request, and how long it is.
pub type Command = (Vec<Vec<u8>>, usize);

/// The words of the first request in `bytes` and how long it is, if it is whole.
pub fn take_command(bytes: &[u8]) -> Result<Option<Command>, String> {
    if bytes.first().is_some_and(|first| *first != b'*') {
        return Err(format!("not a multi-bulk request: {}", shown(bytes)));
    }
    let Some((Value::Array(values), end)) = take_value(bytes)? else { return Ok(None) };
    let words = values.into_iter().map(|value| match value {
        Value::Bulk(word) => Ok(word),
        other => Err(format!("not a word of a request: {other:?}")),
    });
    Ok(Some((words.collect::<Result<_, _>>()?, end)))
}

/// The line at `at`, without its end.
fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = &bytes[*at..];
    let length = rest.windows(2).position(|two| two == b"\r\n")?;
    *at += length + 2;
    Some(&rest[..length])
}

fn number(line: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(&line[1..]).unwrap_or("");
    text.parse().map_err(|_| format!("not a number: {}", shown(line)))
}

/// Whether the value at `at` is whole; `at` is behind it then.
fn skip(bytes: &[u8], at: &mut usize) -> Result<bool, String> {
    let Some(head) = line(bytes, at) else { return Ok(false) };
    match head.first() {
        Some(b'+' | b'-' | b':' | b'_') => Ok(true),
        Some(b'$' | b'=') => {
            let length = number(head)?;
            if length >= 0 {
                *at += usize::try_from(length).map_err(|_| "too long")? + 2;
            }
            Ok(*at <= bytes.len())
        }
        Some(kind @ (b'*' | b'>' | b'%')) => {
            for _ in 0..number(head)? * if *kind == b'%' { 2 } else { 1 } {
                if *at >= bytes.len() || !skip(bytes, at)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => Err(format!("not a value: {}", shown(&bytes[at.saturating_sub(head.len() + 2)..]))),
    }
}

/// The value at `at`, of which is known that it is whole.
fn read(bytes: &[u8], at: &mut usize) -> Result<Value, String> {
    let head = line(bytes, at).ok_or("no line")?;
    Ok(match head[0] {
        b'+' => Value::Status(head[1..].to_vec()),
        b'-' => Value::Error(head[1..].to_vec()),
        b':' => Value::Integer(number(head)?),
        b'$' => match usize::try_from(number(head)?) {
            Err(_) => Value::Null,
            Ok(length) => {
                let (body, end) = (&bytes[*at..*at + length], &bytes[*at + length..][..2]);
                if end != b"\r\n" {
                    return Err(format!("a bulk of {length} does not end: {}", shown(body)));
                }
                *at += length + 2;
                Value::Bulk(body.to_vec())
            }
        },
        b'_' => Value::Nil,
        b'=' => {
            let length = usize::try_from(number(head)?).map_err(|_| "too short")?;
            let body = bytes[*at..*at + length].strip_prefix(b"txt:").ok_or("not a text")?;
            *at += length + 2;
            Value::Verbatim(body.to_vec())
        }
        kind => {
            let count = number(head)?;
            if count < 0 {
                return Ok(Value::Null);
            }
            let count = if kind == b'%' { 2 * count } else { count };
            let values = (0..count).map(|_| read(bytes, at)).collect::<Result<_, _>>()?;
            match kind {
                b'%' => Value::Map(values),
                b'>' => Value::Push(values),
                _ => Value::Array(values),
            }
        }
    })
}
