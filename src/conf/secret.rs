//! A password that cannot be logged by accident.

use std::fmt;
use std::ops::Deref;

/// The bytes of a password. `{:?}` does not show them, and there is no `{}`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Keeps these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Secret {
        Secret(bytes.into())
    }

    /// These bytes, or nothing where there are none: predixy's way to say "no password".
    #[must_use]
    pub fn unless_empty(bytes: &[u8]) -> Option<Secret> {
        (!bytes.is_empty()).then(|| Secret::new(bytes))
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(empty)" } else { "Secret(...)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new(b"hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(...)");
        assert_eq!(&*secret, b"hunter2");
    }

    #[test]
    fn an_empty_password_is_none() {
        assert_eq!(Secret::unless_empty(b""), None);
        assert_eq!(Secret::unless_empty(b"x"), Some(Secret::new(b"x")));
    }
}
