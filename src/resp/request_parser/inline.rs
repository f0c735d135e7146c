//! The inline form of a request: one line of words, as a person types it.
//!
//! The rules are Redis's. Words are separated by blanks. Double quotes know `\n \r \t \b \a`,
//! `\xHH` and a backslash before anything else; single quotes know `\'` only. A closing
//! quote must be followed by a blank or the end of the line. Unlike Redis, a zero byte is
//! a character like any other here; there it hides the end of the line.

/// What one byte of an inline line is part of. Small and `Copy`: the parser keeps it when
/// the line is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Between words, none so far: the line may turn out to be empty.
    #[default]
    Blank,
    /// Between words.
    Between,
    /// In a word.
    Word,
    /// Within double quotes.
    Double,
    /// After a backslash within double quotes.
    DoubleEscape,
    /// Within single quotes.
    Single,
    /// After a backslash within single quotes.
    SingleEscape,
    /// After a closing quote.
    Closed,
    /// Something followed a closing quote: only the end of the line can be awaited.
    Broken,
}

/// What a whole line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// No word in it.
    Empty,
    /// At least one word.
    Words,
    /// A quote that was not closed, or was closed in the middle of a word.
    Unbalanced,
}

impl Place {
    /// Where the next byte is, given this one. `byte` is not the line's LF.
    pub(super) fn after(self, byte: u8) -> Place {
        match (self, byte) {
            (Place::Blank | Place::Between | Place::Closed, _) if is_blank(byte) => {
                if self == Place::Blank { Place::Blank } else { Place::Between }
            }
            (Place::Closed | Place::Broken, _) => Place::Broken,
            (Place::Word, b' ' | b'\t' | b'\r') => Place::Between,
            (Place::Blank | Place::Between | Place::Word, b'"') => Place::Double,
            (Place::Blank | Place::Between | Place::Word, b'\'') => Place::Single,
            (Place::Blank | Place::Between | Place::Word, _) => Place::Word,
            (Place::Double, b'\\') => Place::DoubleEscape,
            (Place::Double, b'"') => Place::Closed,
            // The two digits of `\xHH` are ordinary characters as far as the end is concerned.
            (Place::Double | Place::DoubleEscape, _) => Place::Double,
            (Place::Single, b'\'') => Place::Closed,
            (Place::Single | Place::SingleEscape, b'\\') => Place::SingleEscape,
            (Place::Single | Place::SingleEscape, _) => Place::Single,
        }
    }

    /// What the line is, if it ends here.
    pub(super) fn end(self) -> Line {
        match self {
            Place::Blank => Line::Empty,
            Place::Between | Place::Word | Place::Closed => Line::Words,
            Place::Double
            | Place::DoubleEscape
            | Place::Single
            | Place::SingleEscape
            | Place::Broken => Line::Unbalanced,
        }
    }
}

/// Appends the next word of `line` to `word`, decoded, and returns what follows it; `None`
/// when there is no further word. `line` went through [`Place`], which found its quotes balanced.
pub(super) fn next_word<'a>(line: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    let first = line.iter().position(|&byte| !is_blank(byte))?;
    let mut rest = &line[first..];
    loop {
        match rest {
            [] => return Some(rest),
            [b' ' | b'\t' | b'\r' | b'\n', after @ ..] => return Some(after),
            [b'"', after @ ..] => return Some(double_quoted(after, word)),
            [b'\'', after @ ..] => return Some(single_quoted(after, word)),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> &'a [u8] {
    loop {
        match rest {
            [] => return rest,
            [b'"', after @ ..] => return after,
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> &'a [u8] {
    loop {
        match rest {
            [] => return rest,
            [b'\'', after @ ..] => return after,
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// C's isspace(): what may separate words.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
