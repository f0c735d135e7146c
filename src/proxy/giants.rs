//! Which requests have lately been answered with something very large.
//!
//! Whoever asks for it again is likely to get it again, and is better served on a link of its
//! own. A request is known by a hash of its bytes: an error either way costs a little speed and
//! nothing else, so nobody gains by making hashes collide. Knows no clients and no links.

/// The requests of one handler that were answered with something very large.
#[derive(Default)]
pub struct Giants {
    known: Vec<Known>,
    // Which lengths of requests are among them, modulo 64: most others are told apart by it.
    lengths: u64,
    // When the first of them is to be forgotten.
    expire_us: u64,
}

#[derive(Clone, Copy)]
struct Known {
    hash: u64,
    length: usize,
    until_us: u64,
}

/// A reply of so many bytes is a giant.
pub const GIANT: u64 = 1 << 20;
/// So many requests are remembered.
const KNOWN_MAX: usize = 64;
/// Longer requests are not worth hashing.
const REQUEST_MAX: usize = 512;
/// So long after its last large reply a request is forgotten.
const MEMORY_US: u64 = 10_000_000;

impl Giants {
    /// Whether there is any.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.lengths == 0
    }

    /// This request was answered with a giant just now.
    pub fn meet(&mut self, request: &[u8], now_us: u64) {
        if request.len() > REQUEST_MAX {
            return;
        }
        let (hash, length) = (hash(request), request.len());
        let until_us = now_us.saturating_add(MEMORY_US);
        self.known.retain(|known| known.hash != hash && known.until_us > now_us);
        if self.known.len() == KNOWN_MAX {
            // Those that were met last stand last.
            self.known.remove(0);
        }
        self.known.push(Known { hash, length, until_us });
        self.sum_up();
    }

    /// Whether this request will probably be answered with a giant.
    pub fn knows(&mut self, request: &[u8], now_us: u64) -> bool {
        if self.lengths >> (request.len() % 64) & 1 == 0 || request.len() > REQUEST_MAX {
            return false;
        }
        if now_us >= self.expire_us {
            self.known.retain(|known| known.until_us > now_us);
            self.sum_up();
        }
        let hash = hash(request);
        self.known.iter().any(|known| known.hash == hash)
    }

    fn sum_up(&mut self) {
        self.lengths = self.known.iter().fold(0, |all, known| all | 1 << (known.length % 64));
        self.expire_us = self.known.first().map_or(0, |known| known.until_us);
    }
}

/// Any function would do that spreads well and takes eight bytes at a time.
fn hash(request: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (eights, rest) = request.as_chunks::<8>();
    let mut sum = request.len() as u64;
    let mut mix = |word: u64| sum = (sum.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    eights.iter().for_each(|eight| mix(u64::from_le_bytes(*eight)));
    rest.iter().for_each(|byte| mix(u64::from(*byte)));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_is_known_for_a_while() {
        let mut giants = Giants::default();
        assert!(giants.is_empty());
        giants.meet(b"GET large", 1_000);
        assert!(!giants.is_empty());
        assert!(giants.knows(b"GET large", 1_001));
        assert!(!giants.knows(b"GET small", 1_001));
        assert!(!giants.knows(b"GET larger", 1_001));
        giants.meet(b"GET large", 9_000_000);
        assert!(giants.knows(b"GET large", 1_000 + MEMORY_US));
        assert!(!giants.knows(b"GET large", 9_000_000 + MEMORY_US));
        assert!(giants.is_empty());
    }

    #[test]
    fn the_oldest_is_forgotten_for_the_newest() {
        let mut giants = Giants::default();
        let name = |number: usize| format!("GET {number}");
        for number in 0..=KNOWN_MAX {
            giants.meet(name(number).as_bytes(), number as u64);
        }
        assert!(!giants.knows(name(0).as_bytes(), 100));
        assert!((1..=KNOWN_MAX).all(|number| giants.knows(name(number).as_bytes(), 100)));
    }

    #[test]
    fn long_requests_are_not_remembered() {
        let mut giants = Giants::default();
        giants.meet(&[b'x'; REQUEST_MAX + 1], 1);
        assert!(giants.is_empty() && !giants.knows(&[b'x'; REQUEST_MAX + 1], 2));
    }
}
