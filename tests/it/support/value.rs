//! A reply, as a test wants to compare it: every type of RESP2 and RESP3.

use std::fmt;

/// One reply.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `+`
    Simple(String),
    /// `-`, and RESP3's `!`
    Error(String),
    /// `:`
    Int(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1`
    Nil,
    /// `*`
    Array(Vec<Value>),
    /// `*-1`
    NilArray,
    /// RESP3 `_`
    Null,
    /// RESP3 `#`
    Bool(bool),
    /// RESP3 `,` as it was written
    Double(String),
    /// RESP3 `(`
    Big(String),
    /// RESP3 `=`, with its three letters and the colon
    Verbatim(Vec<u8>),
    /// RESP3 `%`
    Map(Vec<(Value, Value)>),
    /// RESP3 `~`
    Set(Vec<Value>),
    /// RESP3 `>`
    Push(Vec<Value>),
}

impl Value {
    /// The text of an error reply.
    pub fn error_text(&self) -> Option<&str> {
        if let Value::Error(text) = self { Some(text) } else { None }
    }

    /// The text of anything that carries text.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Value::Simple(text) | Value::Error(text) | Value::Double(text) | Value::Big(text) => {
                text.clone()
            }
            Value::Bulk(bytes) | Value::Verbatim(bytes) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            other => panic!("no text: {other:?}"),
        }
    }

    /// The number of an integer reply.
    #[track_caller]
    pub fn number(&self) -> i64 {
        if let Value::Int(number) = self { *number } else { panic!("no number: {self:?}") }
    }

    /// The elements of an array, set or push.
    #[track_caller]
    pub fn elements(&self) -> &[Value] {
        match self {
            Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => elements,
            other => panic!("no elements: {other:?}"),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => write!(out, "+{text}"),
            Value::Error(text) => write!(out, "-{text}"),
            Value::Int(number) => write!(out, ":{number}"),
            Value::Bulk(bytes) | Value::Verbatim(bytes) if bytes.len() > 200 => {
                write!(out, "\"{}...\" ({} bytes)", bytes[..60].escape_ascii(), bytes.len())
            }
            Value::Bulk(bytes) => write!(out, "\"{}\"", bytes.escape_ascii()),
            Value::Verbatim(bytes) => write!(out, "={}", bytes.escape_ascii()),
            Value::Nil => write!(out, "$-1"),
            Value::NilArray => write!(out, "*-1"),
            Value::Null => write!(out, "_"),
            Value::Bool(yes) => write!(out, "#{yes}"),
            Value::Double(text) => write!(out, ",{text}"),
            Value::Big(text) => write!(out, "({text}"),
            Value::Array(elements) => out.debug_list().entries(elements).finish(),
            Value::Set(elements) => out.debug_set().entries(elements).finish(),
            Value::Push(elements) => write!(out, ">{elements:?}"),
            Value::Map(pairs) => {
                out.debug_map().entries(pairs.iter().map(|(key, value)| (key, value))).finish()
            }
        }
    }
}

/// `+OK`
pub fn ok() -> Value {
    simple("OK")
}

/// A simple string.
pub fn simple(text: &str) -> Value {
    Value::Simple(text.to_owned())
}

/// An error reply.
pub fn error(text: &str) -> Value {
    Value::Error(text.to_owned())
}

/// An integer.
pub fn int(number: i64) -> Value {
    Value::Int(number)
}

/// A bulk string.
pub fn bulk(bytes: impl AsRef<[u8]>) -> Value {
    Value::Bulk(bytes.as_ref().to_vec())
}

/// An array.
pub fn array(elements: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(elements.into_iter().collect())
}
