//! A command word packed for comparison.
//!
//! A word of up to 24 bytes becomes three integers, so that looking for a name is comparing
//! integers, and hashing it a multiplication. Case is not changed but ignored: what a client
//! wrote is compared under a mask that follows from the name. It knows no commands.

/// A word of up to 24 bytes as it was written, or the name of a command.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    parts: [u64; 3],
    /// Of a name, the bits of the first part that matter: all but `case_bits`.
    mask: u64,
    /// NUL bytes at the end of a word are not visible in the parts.
    length: u8,
}

impl Word {
    /// The longest word that can be packed.
    pub const LENGTH_MAX: usize = 24;

    /// The empty word, which is the name of nothing.
    pub const EMPTY: Word = Word { parts: [0; 3], mask: 0, length: 0 };

    /// Packs what a client wrote, unless it is too long for any name.
    #[inline]
    pub fn new(text: &[u8]) -> Option<Word> {
        let length = u8::try_from(text.len()).ok()?;
        let parts = match text.len() {
            0..=8 => [load(text), 0, 0],
            9..=16 => {
                let (first, rest) = text.split_at(8);
                [load(first), load(rest), 0]
            }
            17..=Word::LENGTH_MAX => {
                let (first, rest) = text.split_at(8);
                let (second, rest) = rest.split_at(8);
                [load(first), load(second), load(rest)]
            }
            _ => return None,
        };
        Some(Word { parts, mask: 0, length })
    }

    /// Packs what a client wrote if it is at most eight bytes, as most commands are.
    #[inline]
    pub fn short(text: &[u8]) -> Option<Word> {
        let length = u8::try_from(text.len()).ok().filter(|&length| length <= 8)?;
        Some(Word { parts: [load(text), 0, 0], mask: 0, length })
    }

    /// Packs a name, in lower case, unless it is too long or a byte of it would be taken for
    /// a letter when it is compared.
    pub fn name(text: &[u8]) -> Option<Word> {
        let is_odd = |byte: &u8| byte & 0x60 == 0x60 && !byte.is_ascii_lowercase();
        let lower = text.to_ascii_lowercase();
        let name = if lower.iter().any(is_odd) { None } else { Word::new(&lower) };
        name.map(|name| Word { mask: !case_bits(name.parts[0]), ..name })
    }

    /// Whether this is a name, and `word` is it in any case.
    #[inline]
    pub fn is_name_of(&self, word: &Word) -> bool {
        let same = |at: usize| (self.parts[at] ^ word.parts[at]) & !case_bits(self.parts[at]) == 0;
        self.length == word.length
            && (self.parts[0] ^ word.parts[0]) & self.mask == 0
            && (word.length <= 8 || same(1) && same(2))
    }

    /// Whether it has at most eight bytes.
    pub fn is_short(&self) -> bool {
        self.length <= 8
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The upper `64 - shift` bits of a number that is the same in any case, and differs for
    /// most words; `shift` is 32 to 63.
    #[expect(clippy::cast_possible_truncation, reason = "at most 32 bits are left")]
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn hash(&self, shift: u32) -> usize {
        // What differs only in this bit is often the same letter.
        let [first, second, third] = self.parts.map(|part| part | CASE);
        let mixed = if self.length <= 8 {
            first
        } else {
            first ^ second.rotate_left(23) ^ third.rotate_left(46)
        };
        // Multiplying spreads every bit upwards, so the upper bits know all of them. This
        // multiplier is one of few that send no two short names of the core to one place.
        (mixed.wrapping_mul(0x9386_e761_5c36_5cf5) >> shift) as usize
    }
}

/// The bit by which the two cases of a letter differ, in eight bytes.
const CASE: u64 = 0x2020_2020_2020_2020;

/// The bits in which eight bytes of a name and of a word may differ: those of the case of
/// letters.
#[inline]
fn case_bits(name: u64) -> u64 {
    // The bytes of a name that have both bits, 0x40 and 0x20, are its letters.
    name & (name >> 1) & CASE
}

/// Up to eight bytes as an integer, the first byte lowest, the missing ones zero.
#[inline]
#[cfg_attr(small, optimize(speed))]
fn load(text: &[u8]) -> u64 {
    let length = text.len();
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        // The two halves overlap where there are fewer than eight; both say the same there.
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (length - 4));
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<2>(), text.last_chunk::<2>()) {
        let (first, last) = (u16::from_le_bytes(*first), u16::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (length - 2));
    }
    text.first().map_or(0, |&byte| u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `text` names the command that `name` is.
    fn names(text: &[u8], name: &[u8]) -> bool {
        let (word, name) = (Word::new(text).unwrap(), Word::name(name).unwrap());
        let same = name.is_name_of(&word);
        assert!(!same || name.hash(53) == word.hash(53), "found by no hash");
        same
    }

    #[test]
    fn case_does_not_matter() {
        for length in 0..=Word::LENGTH_MAX {
            let text: Vec<u8> = (b'a'..=b'z').cycle().take(length).collect();
            assert!(names(&text, &text), "{length}");
            assert!(names(&text.to_ascii_uppercase(), &text), "{length}");
            assert!(names(&text, &text.to_ascii_uppercase()), "{length}");
        }
    }

    #[test]
    fn every_byte_counts_as_ascii_says_and_wherever_it_stands() {
        for in_name in (0..=u8::MAX).filter(|&byte| Word::name(&[byte]).is_some()) {
            for place in [0, 3, 7, 8, 15, 16, 23] {
                let mut name = [b'q'; Word::LENGTH_MAX];
                let mut text = [b'Q'; Word::LENGTH_MAX];
                name[place] = in_name;
                for byte in 0..=u8::MAX {
                    text[place] = byte;
                    let want = byte.eq_ignore_ascii_case(&in_name);
                    assert_eq!(names(&text, &name), want, "{byte} for {in_name} at {place}");
                }
            }
        }
    }

    #[test]
    fn bytes_that_would_be_taken_for_letters_make_no_name() {
        for byte in 0..=u8::MAX {
            let is_odd = Word::name(&[byte]).is_none();
            assert_eq!(is_odd, matches!(byte & 0x7f, b'`' | b'{'..=0x7f) || byte >= 0xe0);
        }
    }

    #[test]
    fn every_byte_is_loaded() {
        for length in 0..=8 {
            let text: Vec<u8> = (1..=length).collect();
            let mut want = [0; 8];
            want[..text.len()].copy_from_slice(&text);
            assert_eq!(load(&text).to_le_bytes(), want);
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
                    assert!(!names(&other, &text), "{length} {place} {byte}");
                }
            }
        }
    }

    #[test]
    fn a_nul_at_the_end_is_seen() {
        assert!(!names(b"get\0", b"get"));
        assert!(!names(b"12345678\0", b"12345678"));
        assert!(!names(b"\0", b""));
    }

    #[test]
    fn a_word_of_25_bytes_is_too_long() {
        assert!(Word::new(&[b'x'; 24]).is_some());
        assert!(Word::new(&[b'x'; 25]).is_none());
        assert!(Word::new(&[b'x'; 256]).is_none());
        assert!(Word::new(&vec![b'x'; 1 << 20]).is_none());
    }
}
