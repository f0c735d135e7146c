//! The links of one handler to one server.
//!
//! There is one shared link per database; all clients' requests travel on it. It is named by
//! id, so a link that was lost is a stale id and the next request opens another.

use super::request::LinkId;

/// The links of one handler to one server.
#[derive(Default)]
pub struct ConnectConnectionPool {
    // Database 0, which is all that most pools use, without an indirection.
    first: Option<LinkId>,
    others: Vec<Option<LinkId>>,
}

impl ConnectConnectionPool {
    /// The shared link for a database, if there is or was one.
    #[inline]
    pub fn shared(&self, database: u32) -> Option<LinkId> {
        match database {
            0 => self.first,
            other => self.others.get(other as usize - 1).copied().flatten(),
        }
    }

    /// Makes `link` the shared one for a database.
    pub fn share(&mut self, database: u32, link: LinkId) {
        match database {
            0 => self.first = Some(link),
            other => {
                let index = other as usize - 1;
                if self.others.len() <= index {
                    self.others.resize(index + 1, None);
                }
                self.others[index] = Some(link);
            }
        }
    }

    /// All links that are or were shared.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.first.iter().chain(self.others.iter().flatten()).copied()
    }
}
