//! What both parsers look for in bytes that are at hand: a short length header, and the
//! end of a line.
//!
//! These are the fast ways only. `None` never means "malformed": it means that the bytes
//! are too few or too unusual, and the caller goes on byte by byte, which also says why.

/// The bytes that end every line and every body.
pub const CRLF: [u8; 2] = *b"\r\n";

/// Reads `<marker><number>\r\n` at the head of `bytes`: the number, and the length of the
/// header. Numbers have one to five digits and no leading zero.
#[inline(always)]
#[must_use]
pub fn header(bytes: &[u8], marker: u8) -> Option<(usize, usize)> {
    let head = u32::from_le_bytes(*bytes.first_chunk::<4>()?);
    if head & 0xffff_00ff == u32::from_le_bytes([marker, 0, b'\r', b'\n']) {
        let digit = (head >> 8 & 0xff).wrapping_sub(u32::from(b'0'));
        return (digit <= 9).then_some((digit as usize, 4));
    }
    // Whatever has two digits is followed by a body that makes it longer than this.
    let head = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
    if head & 0xff != u64::from(marker) {
        return None;
    }
    let mut rest = head >> 8;
    let mut number = digit(rest);
    if !(1..=9).contains(&number) {
        return None;
    }
    let mut length = 4;
    loop {
        rest >>= 8;
        let next = digit(rest);
        if next > 9 {
            break;
        }
        number = number * 10 + next;
        length += 1;
    }
    // Six digits and more leave no room for the line's end in the word: not ours.
    (rest & 0xffff == u64::from(u16::from_le_bytes(CRLF))).then_some((number, length))
}

/// What the lowest byte is worth as a digit; above 9 if it is none.
#[inline(always)]
fn digit(text: u64) -> usize {
    usize::from(text.to_le_bytes()[0].wrapping_sub(b'0'))
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
            assert_eq!(header(wire.as_bytes(), b'$'), Some((number, length)), "{wire:?}");
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
            assert_eq!(header(wire.as_bytes(), b'$'), None, "{wire:?}");
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
