//! Writes replies, and the requests that the proxy itself makes.
//!
//! A reply is written front to back into a [`Sink`], in the words of the protocol:
//! `reply.array(2).bulk(name).bulk(value)`. Nothing is allocated but what the sink allocates,
//! and no text that is written can break out of its line.

use crate::resp::scan::CRLF;

/// Which protocol the reader of a reply speaks. They differ where a reply is null, a map, a
/// set or a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What every client speaks until it says otherwise.
    #[default]
    Resp2,
    /// What a client speaks after `HELLO 3`.
    Resp3,
}

/// What a text in RESP3 begins with: it is plain.
const VERBATIM: &[u8] = b"txt:";

/// Takes bytes, and so everything that can be written in bytes. Only [`Sink::put`] needs
/// to be implemented.
pub trait Sink {
    /// Appends `bytes` as they are.
    fn put(&mut self, bytes: &[u8]);

    /// `+text`. CR and LF become blanks.
    fn simple(&mut self, text: &str) -> &mut Self {
        self.line(b'+', text.as_bytes())
    }

    /// `-text`, which begins with the error's code: `ERR no such thing`. CR and LF become blanks.
    fn error(&mut self, text: &str) -> &mut Self {
        self.line(b'-', text.as_bytes())
    }

    /// `-text` for text that quotes what a client sent and need not be UTF-8. CR and LF become blanks.
    fn error_bytes(&mut self, text: &[u8]) -> &mut Self {
        self.line(b'-', text)
    }

    /// `:number`.
    fn integer(&mut self, number: i64) -> &mut Self {
        self.put(Header::signed(b':', number).bytes());
        self
    }

    /// `$length` and the bytes.
    fn bulk(&mut self, bytes: &[u8]) -> &mut Self {
        self.put(Header::new(b'$', bytes.len()).bytes());
        self.put(bytes);
        self.put(&CRLF);
        self
    }

    /// Text for people: in RESP3 it says so, in RESP2 it is a bulk like any other.
    fn text(&mut self, text: &[u8], protocol: Protocol) -> &mut Self {
        match protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.put(Header::new(b'=', VERBATIM.len() + text.len()).bytes());
                self.put(VERBATIM);
                self.put(text);
                self.put(&CRLF);
                self
            }
        }
    }

    /// A number as a bulk, which is how numbers travel in requests.
    fn bulk_number(&mut self, number: i64) -> &mut Self {
        let digits = Header::signed(b'$', number);
        let bytes = digits.bytes();
        self.bulk(&bytes[1..bytes.len() - CRLF.len()])
    }

    /// No value: `$-1`, or `_`.
    fn null(&mut self, protocol: Protocol) -> &mut Self {
        self.put(match protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
        self
    }

    /// No array: `*-1`, or `_`.
    fn null_array(&mut self, protocol: Protocol) -> &mut Self {
        self.put(match protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
        self
    }

    /// The head of an array of `count` elements, which the caller writes next.
    fn array(&mut self, count: usize) -> &mut Self {
        self.put(Header::new(b'*', count).bytes());
        self
    }

    /// The head of a map of `pairs`, which the caller writes next: in RESP2 an array of keys and values in turn.
    fn map(&mut self, pairs: usize, protocol: Protocol) -> &mut Self {
        match protocol {
            Protocol::Resp2 => self.array(pairs * 2),
            Protocol::Resp3 => {
                self.put(Header::new(b'%', pairs).bytes());
                self
            }
        }
    }

    /// The head of a set of `count` elements, which the caller writes next: in RESP2 an array.
    fn set(&mut self, count: usize, protocol: Protocol) -> &mut Self {
        match protocol {
            Protocol::Resp2 => self.array(count),
            Protocol::Resp3 => {
                self.put(Header::new(b'~', count).bytes());
                self
            }
        }
    }

    /// The head of a push of `count` elements, which the caller writes next: in RESP2 an array.
    fn push_head(&mut self, count: usize, protocol: Protocol) -> &mut Self {
        match protocol {
            Protocol::Resp2 => self.array(count),
            Protocol::Resp3 => {
                self.put(Header::new(b'>', count).bytes());
                self
            }
        }
    }

    /// A whole request.
    fn command(&mut self, words: &[&[u8]]) -> &mut Self {
        self.array(words.len());
        for word in words {
            self.bulk(word);
        }
        self
    }

    /// `<marker>text`, in which CR and LF become blanks.
    #[doc(hidden)]
    fn line(&mut self, marker: u8, text: &[u8]) -> &mut Self {
        self.put(&[marker]);
        for (i, piece) in text.split(|byte| matches!(byte, b'\r' | b'\n')).enumerate() {
            if i > 0 {
                self.put(b" ");
            }
            self.put(piece);
        }
        self.put(&CRLF);
        self
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// `<marker><number>\r\n`, built without allocation.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    text: [u8; HEADER_MAX],
    start: usize,
}

/// A marker, a minus, 20 digits, CR and LF.
const HEADER_MAX: usize = 24;

impl Header {
    /// The header of `number`, such as `*2\r\n` or `$64\r\n`.
    #[inline]
    #[must_use]
    pub fn new(marker: u8, number: usize) -> Header {
        let mut header = Header::digits(number as u64);
        header.prepend(marker);
        header
    }

    /// The header of a number that may be negative, such as `:-1\r\n`.
    #[must_use]
    pub fn signed(marker: u8, number: i64) -> Header {
        let mut header = Header::digits(number.unsigned_abs());
        if number < 0 {
            header.prepend(b'-');
        }
        header.prepend(marker);
        header
    }

    /// Its bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }

    #[inline]
    fn digits(mut number: u64) -> Header {
        let mut text = [0; HEADER_MAX];
        [text[HEADER_MAX - 2], text[HEADER_MAX - 1]] = CRLF;
        let mut start = HEADER_MAX - CRLF.len();
        loop {
            start -= 1;
            text[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Header { text, start };
            }
        }
    }

    #[inline]
    fn prepend(&mut self, byte: u8) {
        self.start -= 1;
        self.text[self.start] = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl FnOnce(&mut Vec<u8>) -> &mut Vec<u8>, want: &str) {
        let mut wire = Vec::new();
        write(&mut wire);
        assert_eq!(String::from_utf8_lossy(&wire), want);
    }

    #[test]
    fn replies_are_written_as_the_protocol_says() {
        check(|out| out.simple("OK"), "+OK\r\n");
        check(|out| out.error("ERR no"), "-ERR no\r\n");
        check(|out| out.array(2).bulk(b"a").bulk(b""), "*2\r\n$1\r\na\r\n$0\r\n\r\n");
        check(|out| out.bulk_number(-42), "$3\r\n-42\r\n");
        check(|out| out.command(&[b"GET", b"key"]), "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    }

    #[test]
    fn what_differs_between_the_protocols_does() {
        check(|out| out.null(Protocol::Resp2).null(Protocol::Resp3), "$-1\r\n_\r\n");
        check(|out| out.null_array(Protocol::Resp2).null_array(Protocol::Resp3), "*-1\r\n_\r\n");
        check(|out| out.map(3, Protocol::Resp2).map(3, Protocol::Resp3), "*6\r\n%3\r\n");
        check(
            |out| out.text(b"a", Protocol::Resp2).text(b"a", Protocol::Resp3),
            "$1\r\na\r\n=5\r\ntxt:a\r\n",
        );
        check(|out| out.set(3, Protocol::Resp2).set(3, Protocol::Resp3), "*3\r\n~3\r\n");
        check(
            |out| out.push_head(3, Protocol::Resp2).push_head(3, Protocol::Resp3),
            "*3\r\n>3\r\n",
        );
    }

    #[test]
    fn numbers_of_every_length_are_written() {
        for number in [0, 1, -1, 9, 10, -10, 12_345, i64::MAX, i64::MIN] {
            check(|out| out.integer(number), &format!(":{number}\r\n"));
        }
        assert_eq!(
            Header::new(b'$', usize::MAX).bytes(),
            format!("${}\r\n", usize::MAX).as_bytes()
        );
    }

    #[test]
    fn a_line_cannot_be_broken_out_of() {
        check(|out| out.error("ERR a\r\n+b\n"), "-ERR a  +b \r\n");
        check(|out| out.simple("\r"), "+ \r\n");
        check(|out| out.error_bytes(b"ERR 'x\ny'"), "-ERR 'x y'\r\n");
    }
}
