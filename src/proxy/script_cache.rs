//! The scripts that clients have loaded, so that servers that come later can have them too.
//!
//! Bounded in number and in bytes; who was not used for the longest time goes first. Servers say
//! what a script's digest is, and nothing here computes one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The SHA1 of a script, in lower case, as EVALSHA names it.
type Digest = [u8; 40];

/// Remembers scripts for all handlers.
#[derive(Default)]
pub struct ScriptCache(Mutex<Scripts>);

#[derive(Default)]
struct Scripts {
    by_digest: BTreeMap<Digest, Script>,
    bytes: usize,
    /// Counts uses.
    now: u64,
}

struct Script {
    body: Arc<[u8]>,
    used: u64,
}

/// Most scripts that are remembered.
const SCRIPTS_MAX: usize = 1_000;
/// Most bytes of them.
const BYTES_MAX: usize = 8 << 20;

impl ScriptCache {
    /// Remembers a script, if all of them take no more than `most` bytes then; others are forgotten
    /// for it if need be.
    pub fn remember(&self, digest: &[u8], body: &[u8], most: usize) {
        let most = most.min(BYTES_MAX);
        let Some(digest) = digest_of(digest).filter(|_| body.len() <= most) else { return };
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = scripts.tick();
        if let Some(known) = scripts.by_digest.get_mut(&digest) {
            known.used = used;
            return;
        }
        while scripts.by_digest.len() >= SCRIPTS_MAX || scripts.bytes + body.len() > most {
            scripts.forget_one();
        }
        scripts.bytes += body.len();
        scripts.by_digest.insert(digest, Script { body: body.into(), used });
    }

    /// The text of a script.
    #[must_use]
    pub fn find(&self, digest: &[u8]) -> Option<Arc<[u8]>> {
        let digest = digest_of(digest)?;
        let mut scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = scripts.tick();
        let script = scripts.by_digest.get_mut(&digest)?;
        script.used = used;
        Some(Arc::clone(&script.body))
    }

    /// Forgets all.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Scripts::default();
    }
}

impl Scripts {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn forget_one(&mut self) {
        let oldest = self.by_digest.iter().min_by_key(|(_, script)| script.used);
        let Some(digest) = oldest.map(|(digest, _)| *digest) else { return };
        if let Some(script) = self.by_digest.remove(&digest) {
            self.bytes -= script.body.len();
        }
    }
}

fn digest_of(text: &[u8]) -> Option<Digest> {
    let mut digest: Digest = text.try_into().ok()?;
    digest.make_ascii_lowercase();
    digest.iter().all(u8::is_ascii_hexdigit).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Vec<u8> {
        format!("{number:040x}").into_bytes()
    }

    #[test]
    fn a_script_is_found_by_its_digest_in_any_case() {
        let cache = ScriptCache::default();
        cache.remember(&digest(0xabc), b"return 1", BYTES_MAX);
        assert_eq!(
            cache.find(&digest(0xabc).to_ascii_uppercase()).as_deref(),
            Some(&b"return 1"[..])
        );
        assert_eq!(cache.find(&digest(1)), None);
        assert_eq!(cache.find(b"no digest"), None);
        cache.clear();
        assert_eq!(cache.find(&digest(0xabc)), None);
    }

    #[test]
    fn who_was_not_used_for_the_longest_time_goes_first() {
        let cache = ScriptCache::default();
        for number in 0..SCRIPTS_MAX {
            cache.remember(&digest(number), b"return", BYTES_MAX);
        }
        assert!(cache.find(&digest(0)).is_some());
        cache.remember(&digest(SCRIPTS_MAX), b"return", BYTES_MAX);
        assert!(cache.find(&digest(0)).is_some() && cache.find(&digest(SCRIPTS_MAX)).is_some());
        assert_eq!(cache.find(&digest(1)), None);
    }

    #[test]
    fn what_they_are_together_is_bounded() {
        let cache = ScriptCache::default();
        let large = vec![b' '; BYTES_MAX / 2];
        for number in 0..3 {
            cache.remember(&digest(number), &large, BYTES_MAX);
            cache.remember(&digest(number), &large, BYTES_MAX);
        }
        let known: Vec<bool> = (0..3).map(|number| cache.find(&digest(number)).is_some()).collect();
        assert_eq!(known, [false, true, true]);
        cache.remember(&digest(3), &vec![b' '; BYTES_MAX + 1], BYTES_MAX);
        assert_eq!(cache.find(&digest(3)), None);
        assert!(cache.find(&digest(2)).is_some());
    }

    #[test]
    fn what_is_no_digest_is_not_remembered() {
        let cache = ScriptCache::default();
        for text in [&b"x"[..], &[b'g'; 40], b""] {
            cache.remember(text, b"return 1", BYTES_MAX);
            assert_eq!(cache.find(text), None);
        }
    }
}
