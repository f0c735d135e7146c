//! A command word packed for comparison.
//!
//! A word of up to 24 bytes becomes three integers in lower case, so that comparing it with
//! a name is comparing integers, and hashing it a multiplication. It knows no commands.

/// A word of up to 24 bytes, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    parts: [u64; 3],
    /// NUL bytes at the end of a word are not visible in the parts.
    length: u8,
}

impl Word {
    /// The longest word that can be packed.
    pub const LENGTH_MAX: usize = 24;

    /// The empty word, which is the name of nothing.
    pub const EMPTY: Word = Word { parts: [0; 3], length: 0 };

    /// Packs `text`, unless it is too long.
    #[inline]
    pub fn new(text: &[u8]) -> Option<Word> {
        let length = u8::try_from(text.len()).ok()?;
        let parts = match text.len() {
            0..=8 => [lower(load(text)), 0, 0],
            9..=16 => {
                let (first, rest) = text.split_at(8);
                [lower(load(first)), lower(load(rest)), 0]
            }
            17..=Word::LENGTH_MAX => {
                let (first, rest) = text.split_at(8);
                let (second, rest) = rest.split_at(8);
                [lower(load(first)), lower(load(second)), lower(load(rest))]
            }
            _ => return None,
        };
        Some(Word { parts, length })
    }

    /// A number below `2^bits` that differs for most words; `bits` is 1 to 32.
    #[expect(clippy::cast_possible_truncation, reason = "at most 32 bits are left")]
    #[inline]
    pub fn hash(&self, bits: u32) -> usize {
        let [first, second, third] = self.parts;
        let mixed = first ^ second.rotate_left(23) ^ third.rotate_left(46);
        // Multiplying spreads every bit upwards, so the upper bits know all of them.
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)) as usize
    }
}

/// Up to eight bytes as an integer, the first byte lowest, the missing ones zero.
#[inline]
fn load(text: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        debug_assert_eq!(first, last, "a part of a word has eight bytes at most");
        return u64::from_le_bytes(*first);
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        // The two halves overlap where there are fewer than eight; both say the same there.
        let shift = 8 * (text.len() - 4);
        return u64::from(u32::from_le_bytes(*first))
            | u64::from(u32::from_le_bytes(*last)) << shift;
    }
    text.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Makes lower-case letters of the upper-case letters among eight bytes, all at once.
#[inline]
fn lower(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const TOP: u64 = 0x80 * EACH;
    // The top bit of a byte becomes "is at least A" and "is beyond Z". Without their top bits
    // the bytes are too small to carry into each other.
    let low = word & !TOP;
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let beyond_z = low + (0x7f - b'Z' as u64) * EACH;
    let upper = from_a & !beyond_z & !word & TOP;
    word | upper >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &[u8]) -> Word {
        Word::new(text).unwrap()
    }

    #[test]
    fn case_does_not_matter() {
        for length in 0..=Word::LENGTH_MAX {
            let text: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
            assert_eq!(word(&text), word(&text.to_ascii_uppercase()), "{length}");
        }
    }

    #[test]
    fn every_byte_is_lowered_as_ascii_says_and_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for place in 0..Word::LENGTH_MAX {
                let mut text = [b'Q'; Word::LENGTH_MAX];
                text[place] = byte;
                let lowered = text.to_ascii_lowercase();
                let packed = word(&text);
                let unpacked: Vec<u8> =
                    packed.parts.iter().flat_map(|part| part.to_le_bytes()).collect();
                assert_eq!(unpacked, lowered, "byte {byte} at {place}");
            }
        }
    }

    #[test]
    fn words_that_differ_in_one_byte_differ() {
        for length in 1..=Word::LENGTH_MAX {
            let text = vec![b'm'; length];
            for place in 0..length {
                for byte in [0, b'l', b'n', b'-', 0xed] {
                    let mut other = text.clone();
                    other[place] = byte;
                    assert_ne!(word(&text), word(&other), "{length} {place} {byte}");
                }
            }
        }
    }

    #[test]
    fn a_nul_at_the_end_is_seen() {
        assert_ne!(word(b"get"), word(b"get\0"));
        assert_ne!(word(b"12345678"), word(b"12345678\0"));
        assert_ne!(word(b""), word(b"\0"));
    }

    #[test]
    fn a_word_of_25_bytes_is_too_long() {
        assert!(Word::new(&[b'x'; 24]).is_some());
        assert_eq!(Word::new(&[b'x'; 25]), None);
        assert_eq!(Word::new(&[b'x'; 256]), None);
        assert_eq!(Word::new(&vec![b'x'; 1 << 20]), None);
    }
}
