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
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Status(text) => write!(formatter, "+{}", shown(text)),
            Value::Error(text) => write!(formatter, "-{}", shown(text)),
            Value::Integer(number) => write!(formatter, ":{number}"),
            Value::Bulk(bytes) => write!(formatter, "${} {}", bytes.len(), shown(bytes)),
            Value::Null => write!(formatter, "null"),
            Value::Array(values) => formatter.debug_list().entries(values).finish(),
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
        Some(b'+' | b'-' | b':') => Ok(true),
        Some(b'$') => {
            let length = number(head)?;
            if length >= 0 {
                *at += usize::try_from(length).map_err(|_| "too long")? + 2;
            }
            Ok(*at <= bytes.len())
        }
        Some(b'*') => {
            for _ in 0..number(head)? {
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
        _ => {
            let count = number(head)?;
            if count < 0 {
                return Ok(Value::Null);
            }
            Value::Array((0..count).map(|_| read(bytes, at)).collect::<Result<_, _>>()?)
        }
    })
}
