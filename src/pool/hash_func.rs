//! Which part of a key is hashed, and how.
//!
//! Every function here is total: any bytes, also none, have a hash. It knows no slots and no
//! groups.

/// CRC16 as Redis Cluster has it: XMODEM, polynomial 0x1021, starting from 0, not reflected.
///
/// Eight bytes are folded in at a time: table `k` says what a byte does to the sum when `k` more
/// bytes follow it, so the eight look-ups do not wait for each other.
#[must_use]
#[cfg_attr(small, optimize(speed))]
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut sum = 0u16;
    let (eights, rest) = bytes.as_chunks::<8>();
    for eight in eights {
        sum = eight_more(sum, eight);
    }
    for byte in rest {
        sum = one_more(sum, *byte);
    }
    sum
}

/// The same, unless `stop` is among the bytes: most keys have no tag, and this looks for one and
/// sums in one go.
#[must_use]
#[inline(always)]
pub fn crc16_without(bytes: &[u8], stop: u8) -> Option<u16> {
    let mut sum = 0u16;
    let (eights, rest) = bytes.as_chunks::<8>();
    for eight in eights {
        if hits(*eight, stop) != 0 {
            return None;
        }
        sum = eight_more(sum, eight);
    }
    let (four, rest) = match rest.split_first_chunk::<4>() {
        Some((four, rest)) => (Some(four), rest),
        None => (None, rest),
    };
    if let Some(four) = four {
        if four.contains(&stop) {
            return None;
        }
        let [high, low] = sum.to_be_bytes();
        sum = after(3, four[0] ^ high)
            ^ after(2, four[1] ^ low)
            ^ after(1, four[2])
            ^ after(0, four[3]);
    }
    for byte in rest {
        if *byte == stop {
            return None;
        }
        sum = one_more(sum, *byte);
    }
    Some(sum)
}

#[inline(always)]
fn eight_more(sum: u16, eight: &[u8; 8]) -> u16 {
    let [high, low] = sum.to_be_bytes();
    after(7, eight[0] ^ high)
        ^ after(6, eight[1] ^ low)
        ^ after(5, eight[2])
        ^ after(4, eight[3])
        ^ after(3, eight[4])
        ^ after(2, eight[5])
        ^ after(1, eight[6])
        ^ after(0, eight[7])
}

#[inline(always)]
fn one_more(sum: u16, byte: u8) -> u16 {
    let [high, low] = sum.to_be_bytes();
    (u16::from(low) << 8) ^ after(0, byte ^ high)
}

/// The number that a key begins with: a sign, then digits; 0 where there are none. It wraps
/// around in 64 bits, and a negative number is its two's complement, as in predixy.
#[must_use]
pub fn atol(key: &[u8]) -> u64 {
    let (negative, digits) = match key {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let mut number = 0u64;
    for byte in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
    }
    if negative { number.wrapping_neg() } else { number }
}

/// What is between the first `open` and the first `close` after it, unless that is nothing; else
/// the whole key.
#[must_use]
#[inline]
#[cfg_attr(small, optimize(speed))]
pub fn tagged(key: &[u8], open: u8, close: u8) -> &[u8] {
    let Some(start) = position(key, open) else { return key };
    let inner = &key[start + 1..];
    match position(inner, close) {
        None | Some(0) => key,
        Some(end) => &inner[..end],
    }
}

/// Where a byte first is, looking at eight at a time: most keys have no tag, and every one is
/// searched.
#[inline]
#[cfg_attr(small, optimize(speed))]
fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    let (eights, rest) = bytes.as_chunks::<8>();
    for (index, eight) in eights.iter().enumerate() {
        let hits = hits(*eight, wanted);
        if hits != 0 {
            return Some(index * 8 + hits.trailing_zeros() as usize / 8);
        }
    }
    let found = rest.iter().position(|byte| *byte == wanted)?;
    Some(eights.len() * 8 + found)
}

/// Zero unless the byte is among the eight; the lowest bit that is set is in the first one.
#[inline(always)]
fn hits(eight: [u8; 8], wanted: u8) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // A byte that is the wanted one becomes 0, and only a 0 borrows from its high bit. What
    // a borrow does to higher bytes does not matter: the lowest hit counts.
    let differing = u64::from_le_bytes(eight) ^ (ONES * u64::from(wanted));
    differing.wrapping_sub(ONES) & !differing & HIGHS
}

/// What `byte` does to the sum when `more` bytes follow it.
#[inline]
fn after(more: usize, byte: u8) -> u16 {
    TABLES[more][usize::from(byte)]
}

static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0u16; 256]; 8];
    let mut byte = 0u16;
    while byte < 256 {
        let mut sum = byte << 8;
        let mut more = 0;
        while more < 8 {
            let mut bit = 0;
            while bit < 8 {
                sum = if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 };
                bit += 1;
            }
            tables[more][byte as usize] = sum;
            more += 1;
        }
        byte += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn the_sum_is_that_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b"foo") & 16383, 12182);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn the_sum_is_that_of_the_reference_for_every_length() {
        let seed = 20_261;
        let mut random = Random::new(seed);
        for length in 0..600 {
            let bytes: Vec<u8> = (0..length).map(|_| random.next_u64().to_be_bytes()[0]).collect();
            let want = crc16::State::<crc16::XMODEM>::calculate(&bytes);
            assert_eq!(crc16(&bytes), want, "seed {seed}, {length} bytes");
            let want = (!bytes.contains(&b'{')).then_some(want);
            assert_eq!(crc16_without(&bytes, b'{'), want, "seed {seed}, {length} bytes");
        }
    }

    #[test]
    fn numbers_are_read_as_predixy_reads_them() {
        for (key, want) in [
            (&b""[..], 0),
            (b"12", 12),
            (b"12ab", 12),
            (b"+7:x", 7),
            (b"-1", u64::MAX),
            (b"-3x", u64::MAX - 2),
            (b"abc", 0),
            (b"-", 0),
            (b" 5", 0),
            (b"18446744073709551615", u64::MAX),
            (b"18446744073709551617", 1),
        ] {
            assert_eq!(atol(key), want, "{key:?}");
        }
    }

    #[test]
    fn a_tag_is_hashed_alone_unless_it_is_empty_or_open() {
        for (key, want) in [
            (&b"{user}.name"[..], &b"user"[..]),
            (b"a{user}b", b"user"),
            (b"{}x", b"{}x"),
            (b"{x", b"{x"),
            (b"x}", b"x}"),
            (b"}{a}", b"a"),
            (b"{{a}}", b"{a"),
            (b"{a}{b}", b"a"),
            (b"", b""),
            (b"{", b"{"),
        ] {
            assert_eq!(tagged(key, b'{', b'}'), want, "{key:?}");
        }
        assert_eq!(tagged(b"x|tag|y", b'|', b'|'), b"tag");
    }
}
