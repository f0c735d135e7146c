//! What both parsers look for in bytes that are at hand: a short length header, and the
//! end of a line.
//!
//! These are the fast ways only. `None` never means "malformed": it means that the bytes
//! are too few or too unusual, and the caller goes on byte by byte, which also says why.

/// The bytes that end every line and every body.
pub const CRLF: [u8; 2] = *b"\r\n";

/// The first eight bytes in one register, the first one lowest, zeros above those that are not
/// there. Less than four bytes are nothing.
#[inline(always)]
#[must_use]
pub fn head(bytes: &[u8]) -> Option<u64> {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return Some(u64::from_le_bytes(*eight));
    }
    // Two overlapping halves.
    let first = u64::from(u32::from_le_bytes(*bytes.first_chunk::<4>()?));
    let last = u64::from(u32::from_le_bytes(*bytes.last_chunk::<4>()?));
    Some(first | last << ((bytes.len() & 3) * 8))
}

/// Whether the bytes that `word` is the head of begin with `text`.
#[inline(always)]
#[must_use]
pub fn begins<const N: usize>(word: u64, text: &[u8; N]) -> bool {
    let mut wanted = [0; 8];
    wanted[..N].copy_from_slice(text);
    word << (64 - N * 8) == u64::from_le_bytes(wanted) << (64 - N * 8)
}

/// The length of `*<count>\r\n$<length>\r\n` when both are digits.
pub const OPENING: usize = 8;

/// Reads the two headers that a request begins with if both numbers are digits, as they nearly
/// always are: how many arguments, at least one, and how long the first one is.
#[inline(always)]
#[must_use]
pub fn opening(word: u64) -> Option<(usize, usize)> {
    const DIGITS: u64 = u64::from_le_bytes([0, 0x0f, 0, 0, 0, 0x0f, 0, 0]);
    if word & !DIGITS != u64::from_le_bytes(*b"*0\r\n$0\r\n") {
        return None;
    }
    let (count, length) = ((low(word) >> 8 & 0xf) as usize, (low(word >> 40) & 0xf) as usize);
    ((1..=9).contains(&count) && length <= 9).then_some((count, length))
}

/// Reads `<marker><number>\r\n` at the head of bytes, given as one word: the number, and the
/// length of the header. Numbers have one to five digits and no leading zero.
#[inline(always)]
#[must_use]
pub fn header(word: u64, marker: u8) -> Option<(usize, usize)> {
    if let Some(short) = short_header(word, marker) {
        return Some(short);
    }
    longer_header(word, marker)
}

/// The same for one to three digits.
///
/// A digit's upper half is always 3, so one masked comparison finds how many digits there are,
/// and the line's end.
#[inline(always)]
#[must_use]
pub fn short_header(word: u64, marker: u8) -> Option<(usize, usize)> {
    if word & 0xff != u64::from(marker) {
        return None;
    }
    let text = low(word >> 8);
    let digit = |shift: u32| (text >> shift & 0xf) as usize;
    if text & 0x00ff_fff0 == 0x000a_0d30 {
        return (digit(0) <= 9).then_some((digit(0), 4));
    }
    if text & 0xffff_f0f0 == 0x0a0d_3030 {
        let fine = (1..=9).contains(&digit(0)) && digit(8) <= 9;
        return fine.then_some((digit(0) * 10 + digit(8), 5));
    }
    if low(word >> 16) & 0xffff_f0f0 == 0x0a0d_3030 && text & 0xf0 == 0x30 {
        let fine = (1..=9).contains(&digit(0)) && digit(8) <= 9 && digit(16) <= 9;
        return fine.then_some((digit(0) * 100 + digit(8) * 10 + digit(16), 6));
    }
    None
}

/// The same for more digits than that.
#[inline(always)]
fn longer_header(word: u64, marker: u8) -> Option<(usize, usize)> {
    if word & 0xff != u64::from(marker) || word >> 8 & 0xff == u64::from(b'0') {
        return None;
    }
    let (mut rest, mut number, mut length) = (word >> 8, 0, 1);
    loop {
        let digit = (rest & 0xff).wrapping_sub(u64::from(b'0'));
        if digit > 9 {
            break;
        }
        number = number * 10 + digit;
        length += 1;
        rest >>= 8;
    }
    // Six digits and more leave no room for the line's end in the word: not ours.
    let fine = rest & 0xffff == u64::from(u16::from_le_bytes(CRLF)) && length >= 4;
    fine.then_some((low(number) as usize, length + CRLF.len()))
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
fn low(word: u64) -> u32 {
    word as u32
}

/// Whether the bytes at `at`, which is not far, end a line.
#[inline(always)]
#[must_use]
pub fn ends_line(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + CRLF.len()).is_some_and(|end| end == CRLF)
}

/// Where the first CR is, eight bytes at a time.
#[inline]
#[must_use]
pub fn find_cr(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let mut at = 0;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut eight = [0; 8];
        eight.copy_from_slice(word);
        // A byte that is CR becomes zero; the lowest high bit that comes out marks the first one.
        let zeroed = u64::from_le_bytes(eight) ^ (ONES * b'\r' as u64);
        let marks = zeroed.wrapping_sub(ONES) & !zeroed & HIGHS;
        if marks != 0 {
            return Some(at + marks.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    words.remainder().iter().position(|&byte| byte == b'\r').map(|found| at + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_to_five_digits_are_read() {
        for number in [0usize, 1, 9, 10, 64, 99, 100, 999, 1000, 9999, 10_000, 99_999] {
            let wire = format!("${number}\r\nxxxxxxxx");
            let length = wire.find('\n').unwrap() + 1;
            assert_eq!(
                head(wire.as_bytes()).and_then(|word| header(word, b'$')),
                Some((number, length)),
                "{wire:?}"
            );
        }
    }

    #[test]
    fn anything_unusual_is_left_to_the_slow_way() {
        for wire in [
            "$",
            "$1",
            "$1\r",
            "$a\r\nxxxxxx",
            "*1\r\nxxxxxx",
            "$01\r\nxxxxx",
            "$0123\r\nxx",
            "$012\r\nxxx",
            "$10:\r\nxx",
            "$1:0\r\nxx",
            "$:00\r\nxx",
            "$-1\r\nxxxxx",
            "$100000\r\nxx",
            "$1a\r\nxxxxx",
            "$12\n\nxxxxx",
            "$12\r\rxxxxx",
            "$/\r\nxxxxx",
            "$:\r\nxxxxx",
            "$1/\r\nxxxxx",
            "$1:\r\nxxx",
        ] {
            assert_eq!(head(wire.as_bytes()).and_then(|word| header(word, b'$')), None, "{wire:?}");
        }
    }

    #[test]
    fn a_head_is_what_is_there() {
        let bytes = *b"$-1\r\nabcdef";
        for length in 0..bytes.len() {
            let mut word = [0; 8];
            word[..length.min(8)].copy_from_slice(&bytes[..length.min(8)]);
            let want = (length >= 4).then_some(u64::from_le_bytes(word));
            assert_eq!(head(&bytes[..length]), want, "of {length}");
        }
        assert!(begins(head(b"$-1\r\n").unwrap(), b"$-1\r\n"));
        assert!(!begins(head(b"$-1\r").unwrap(), b"$-1\r\n"));
    }

    #[test]
    fn openings_are_read() {
        let read = |text: &[u8; 8]| opening(u64::from_le_bytes(*text));
        assert_eq!(read(b"*2\r\n$3\r\n"), Some((2, 3)));
        assert_eq!(read(b"*9\r\n$0\r\n"), Some((9, 0)));
        for odd in [
            b"*0\r\n$1\r\n",
            b"*:\r\n$1\r\n",
            b"*1\r\n$:\r\n",
            b"*1\n\n$1\r\n",
            b"*1\r\n$12\r",
            b"*A\r\n$1\r\n",
        ] {
            assert_eq!(read(odd), None, "{}", odd.escape_ascii());
        }
    }

    #[test]
    fn the_first_cr_is_found_wherever_it_is() {
        for length in 0..40 {
            let mut bytes = vec![b'x'; length];
            assert_eq!(find_cr(&bytes), None);
            for at in (0..length).rev() {
                bytes[at] = b'\r';
                assert_eq!(find_cr(&bytes), Some(at), "in {length}");
            }
        }
        assert_eq!(find_cr(b"\x0c\x0e\x8d\x0c\x0c\x0e\x0d\x0d"), Some(6));
    }
}
