//! What an error reply means to a proxy: go elsewhere, try again, or nothing.
//!
//! Knows the words of Redis's errors; what to do about them is for others to decide.

use crate::base::address::Address;

/// How many slots a cluster has.
const SLOTS: u16 = 16384;

/// A server says that a slot is served elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Whether only this request should go there (`ASK`), instead of all for this slot from now on (`MOVED`).
    pub ask: bool,
    /// The slot in question, below 16384.
    pub slot: u16,
    /// Where it is served.
    pub to: Target,
}

/// Where a redirect points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A place of its own.
    Address(Address),
    /// Another port of the host that answered: it does not know its own address.
    SameHost {
        /// That port.
        port: u16,
    },
}

impl Redirect {
    /// Whether `reply` begins as a redirect does: the test to make on every error.
    #[inline]
    #[must_use]
    pub fn is_at_head(reply: &[u8]) -> bool {
        reply.starts_with(b"-MOVED ") || reply.starts_with(b"-ASK ")
    }

    /// Reads `-MOVED slot host:port` or `-ASK slot host:port`. IPv6 addresses may be in brackets
    /// or not, and the host may be missing. `None` if it is not that, or the slot or the
    /// address cannot be.
    #[must_use]
    pub fn parse(reply: &[u8]) -> Option<Redirect> {
        let line = std::str::from_utf8(reply.strip_suffix(b"\r\n")?).ok()?;
        let (ask, rest) = match line.strip_prefix("-MOVED ") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("-ASK ")?),
        };
        let mut words = rest.split(' ');
        let slot = number(words.next()?).filter(|slot| *slot < SLOTS)?;
        // Other servers than Redis append words of their own.
        let to = words.next()?;
        let to = match to.strip_prefix(':').and_then(number) {
            Some(port) => Target::SameHost { port },
            None => Target::Address(
                Address::parse(to).ok().filter(|address| !matches!(address, Address::Unix(_)))?,
            ),
        };
        Some(Redirect { ask, slot, to })
    }

    /// The address to go to, given the address of the server that answered.
    #[must_use]
    pub fn address(self, answered: &Address) -> Address {
        match self.to {
            Target::Address(address) => address,
            Target::SameHost { port } => answered.with_port(port),
        }
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// What an error reply says about the server, the slot or the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The slot has moved for good.
    Moved,
    /// The key may be on the node that is about to own the slot.
    Ask,
    /// The keys are on two nodes while their slot migrates.
    TryAgain,
    /// The cluster, or the slot, is not served.
    ClusterDown,
    /// The server is still reading its data from disk.
    Loading,
    /// The replica has lost its master and may not answer with old data.
    MasterDown,
    /// A write went to a replica.
    ReadOnly,
    /// The server does not know the script.
    NoScript,
    /// The connection has not logged in.
    NoAuth,
    /// Something else, which is for the client to know.
    Other,
}

impl ErrorKind {
    /// What kind of error `reply` is; `None` if it is no error.
    #[must_use]
    pub fn of(reply: &[u8]) -> Option<ErrorKind> {
        let line = reply.strip_prefix(b"-")?;
        let word = line.split(|byte| matches!(byte, b' ' | b'\r')).next()?;
        Some(match word {
            b"MOVED" => ErrorKind::Moved,
            b"ASK" => ErrorKind::Ask,
            b"TRYAGAIN" => ErrorKind::TryAgain,
            b"CLUSTERDOWN" => ErrorKind::ClusterDown,
            b"LOADING" => ErrorKind::Loading,
            b"MASTERDOWN" => ErrorKind::MasterDown,
            b"READONLY" => ErrorKind::ReadOnly,
            b"NOSCRIPT" => ErrorKind::NoScript,
            b"NOAUTH" => ErrorKind::NoAuth,
            _ => ErrorKind::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reply: &str, want: Option<(bool, u16, &str)>) {
        let answered = Address::parse("10.0.0.9:7000").unwrap();
        let got = Redirect::parse(reply.as_bytes())
            .map(|redirect| (redirect.ask, redirect.slot, redirect.address(&answered).to_string()));
        assert_eq!(got, want.map(|(ask, slot, to)| (ask, slot, to.to_string())), "{reply:?}");
    }

    #[test]
    fn redirects_to_every_kind_of_address_are_read() {
        check("-MOVED 3999 127.0.0.1:6381\r\n", Some((false, 3999, "127.0.0.1:6381")));
        check("-ASK 0 127.0.0.1:6381\r\n", Some((true, 0, "127.0.0.1:6381")));
        check("-MOVED 16383 2001:db8::1:6381\r\n", Some((false, 16383, "[2001:db8::1]:6381")));
        check("-MOVED 1 [2001:db8::1]:6381\r\n", Some((false, 1, "[2001:db8::1]:6381")));
        let name = "a-very-long-name-of-a-redis-node.in-a-namespace.svc.cluster.local";
        check(&format!("-ASK 1 {name}:6381\r\n"), Some((true, 1, &format!("{name}:6381"))));
    }

    #[test]
    fn a_missing_host_is_the_one_that_answered() {
        check("-MOVED 1 :6381\r\n", Some((false, 1, "10.0.0.9:6381")));
        assert_eq!(
            Redirect::parse(b"-ASK 1 :6381\r\n").unwrap().to,
            Target::SameHost { port: 6381 }
        );
    }

    #[test]
    fn what_cannot_be_followed_is_no_redirect() {
        for reply in [
            "-MOVED 16384 127.0.0.1:6381\r\n",
            "-MOVED -1 127.0.0.1:6381\r\n",
            "-MOVED x 127.0.0.1:6381\r\n",
            "-MOVED +1 127.0.0.1:6381\r\n",
            "-MOVED  127.0.0.1:6381\r\n",
            "-MOVED 1\r\n",
            "-MOVED 1 \r\n",
            "-MOVED 1 127.0.0.1\r\n",
            "-MOVED 1 127.0.0.1:65536\r\n",
            "-MOVED 1 ?:6381\r\n",
            "-MOVED 1 :\r\n",
            "-MOVED 1 /tmp/socket\r\n",
            "-MOVED 1 127.0.0.1:6381",
            "-MOVED\r\n",
            "-ASKING 1 127.0.0.1:6381\r\n",
            "+MOVED 1 127.0.0.1:6381\r\n",
            "-ERR MOVED 1 127.0.0.1:6381\r\n",
            "-MOVED 1 \u{e9}:6381\r\n",
            "",
        ] {
            check(reply, None);
        }
        assert_eq!(Redirect::parse(b"-MOVED 1 \xff:6381\r\n"), None);
    }

    #[test]
    fn the_head_of_a_redirect_is_recognised() {
        assert!(Redirect::is_at_head(b"-MOVED 1 :1\r\n"));
        assert!(Redirect::is_at_head(b"-ASK 1 :1\r\n"));
        assert!(!Redirect::is_at_head(b"-ASKING\r\n"));
        assert!(!Redirect::is_at_head(b"-ERR MOVED 1 :1\r\n"));
        assert!(!Redirect::is_at_head(b""));
    }

    #[test]
    fn errors_are_told_apart_by_their_first_word() {
        let kind = |reply: &str| ErrorKind::of(reply.as_bytes());
        assert_eq!(kind("-MOVED 1 :1\r\n"), Some(ErrorKind::Moved));
        assert_eq!(kind("-ASK 1 :1\r\n"), Some(ErrorKind::Ask));
        assert_eq!(kind("-TRYAGAIN Multiple keys\r\n"), Some(ErrorKind::TryAgain));
        assert_eq!(kind("-CLUSTERDOWN The cluster is down\r\n"), Some(ErrorKind::ClusterDown));
        assert_eq!(kind("-LOADING Redis is loading\r\n"), Some(ErrorKind::Loading));
        assert_eq!(kind("-MASTERDOWN Link with MASTER\r\n"), Some(ErrorKind::MasterDown));
        assert_eq!(kind("-READONLY You can't\r\n"), Some(ErrorKind::ReadOnly));
        assert_eq!(kind("-NOSCRIPT No matching\r\n"), Some(ErrorKind::NoScript));
        assert_eq!(kind("-NOAUTH Authentication\r\n"), Some(ErrorKind::NoAuth));
        assert_eq!(kind("-LOADING\r\n"), Some(ErrorKind::Loading));
        assert_eq!(kind("-LOADINGS\r\n"), Some(ErrorKind::Other));
        assert_eq!(kind("-\r\n"), Some(ErrorKind::Other));
        assert_eq!(kind("+LOADING\r\n"), None);
        assert_eq!(kind(""), None);
    }
}
