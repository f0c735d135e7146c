//! What few clients say about themselves, or want otherwise than all others.
//!
//! Most clients never say anything of this, so it has a place of its own, which costs nobody
//! else anything. Knows no sockets and sends nothing.

use std::net::SocketAddr;

/// What a client has said about itself and its wishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// What `CLIENT SETNAME` said.
    pub name: Box<[u8]>,
    /// What `CLIENT SETINFO lib-name` said.
    pub library_name: Box<[u8]>,
    /// What `CLIENT SETINFO lib-ver` said.
    pub library_version: Box<[u8]>,
    /// Which replies it wants.
    pub replies: Replies,
    /// Its reads go to masters, whatever the configuration says.
    pub reads_masters: bool,
    /// It has asked not to be cut off when memory is short.
    pub no_evict: bool,
    /// It has asked not to count as a user of the keys that it reads.
    pub no_touch: bool,
    /// The address by which it has reached the proxy in front of us, if there is one.
    pub reached: Option<SocketAddr>,
}

/// Which replies a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// All.
    #[default]
    All,
    /// All but the next one.
    NotNext,
    /// None.
    None,
}

impl Profile {
    /// Whether each of its requests has to be looked at for its sake.
    pub fn is_odd(&self) -> bool {
        self.replies != Replies::All || self.reads_masters
    }

    /// Takes back what RESET takes back: not which library it is, nor where it comes from.
    pub fn reset(&mut self) {
        *self = Profile {
            library_name: std::mem::take(&mut self.library_name),
            library_version: std::mem::take(&mut self.library_version),
            reached: self.reached,
            ..Profile::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_leaves_the_library_alone() {
        let mut profile = Profile {
            name: (*b"me").into(),
            library_name: (*b"lib").into(),
            library_version: (*b"1").into(),
            replies: Replies::None,
            reads_masters: true,
            no_evict: true,
            no_touch: true,
            reached: Some(([192, 0, 2, 1], 7).into()),
        };
        assert!(profile.is_odd());
        profile.reset();
        assert!(!profile.is_odd() && profile.name.is_empty());
        assert!(!profile.no_evict && !profile.no_touch);
        assert_eq!(profile.reached, Some(([192, 0, 2, 1], 7).into()));
        assert_eq!((&*profile.library_name, &*profile.library_version), (&b"lib"[..], &b"1"[..]));
    }
}
