//! What is known of a client, on its way to the process that goes on with it.
//!
//! A list of names and values, as RESP writes it: what the other version does not know it leaves
//! out, and what it misses has its usual value.

use std::net::SocketAddr;

use super::accept_connection::Intake;
use super::profile::{Profile, Replies};
use crate::resp::reply::Reply;
use crate::resp::writer::{Protocol, Sink};
use crate::sys::Peer;

/// What is known of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// Who is at the other end.
    pub peer: Peer,
    /// Its number in CLIENT ID and the log.
    pub number: u64,
    /// How long it has been there, in microseconds.
    pub age_us: u64,
    /// What it has said about itself and its wishes.
    pub profile: Option<Box<Profile>>,
    /// How it wants to be spoken to.
    pub protocol: Protocol,
    /// The database it selected.
    pub database: u32,
    /// As whom it has logged in: a user and a password.
    pub login: Option<(Vec<u8>, Vec<u8>)>,
    /// What it has sent and nobody has looked at.
    pub inbox: Vec<u8>,
    /// What it was sent and has not read.
    pub unread: Vec<u8>,
    /// Whether requests come next from it, or the header of a proxy.
    pub intake: Intake,
}

impl Legacy {
    /// Of a client of whom nothing is known yet.
    #[must_use]
    pub fn new(peer: Peer, number: u64) -> Legacy {
        Legacy {
            peer,
            number,
            age_us: 0,
            profile: None,
            protocol: Protocol::Resp2,
            database: 0,
            login: None,
            inbox: Vec::new(),
            unread: Vec::new(),
            intake: Intake::Open,
        }
    }

    /// As it travels.
    #[must_use]
    pub fn to_message(&self) -> Vec<u8> {
        let peer = self.peer.to_string();
        let number = self.number.to_string();
        let (age, database) = (self.age_us.to_string(), self.database.to_string());
        let protocol = match self.protocol {
            Protocol::Resp2 => "2",
            Protocol::Resp3 => "3",
        };
        let mut fields: Vec<(&str, &[u8])> = vec![
            ("peer", peer.as_bytes()),
            ("number", number.as_bytes()),
            ("age", age.as_bytes()),
            ("protocol", protocol.as_bytes()),
            ("database", database.as_bytes()),
            ("inbox", &self.inbox),
            ("unread", &self.unread),
        ];
        match self.intake {
            Intake::Header => fields.push(("header", b"address")),
            Intake::HeaderWithUser => fields.push(("header", b"user")),
            _ => {}
        }
        if let Some((user, password)) = &self.login {
            fields.extend([("user", user.as_slice()), ("password", password)]);
        }
        let reached = self.profile.as_ref().and_then(|profile| profile.reached);
        let reached = reached.map(|address| address.to_string());
        if let Some(profile) = &self.profile {
            fields.extend(reached.iter().map(|address| ("reached", address.as_bytes())));
            fields.extend([
                ("name", &*profile.name),
                ("library", &profile.library_name),
                ("library-version", &profile.library_version),
                ("replies", word(profile.replies)),
            ]);
            let wishes = [
                ("reads-masters", profile.reads_masters),
                ("no-evict", profile.no_evict),
                ("no-touch", profile.no_touch),
            ];
            fields.extend(wishes.into_iter().filter(|wish| wish.1).map(|wish| (wish.0, &b""[..])));
        }
        let mut message = Vec::new();
        message.array(2 * fields.len());
        for (name, value) in fields {
            message.bulk(name.as_bytes()).bulk(value);
        }
        message
    }

    /// Reads it; `None` is no such thing.
    #[must_use]
    pub fn from_message(message: &[u8]) -> Option<Legacy> {
        let mut legacy = Legacy::new(Peer::Unix, 0);
        let (mut user, mut password, mut profile) = (None, None, Profile::default());
        let mut is_client = false;
        let words: Option<Vec<&[u8]>> =
            Reply::new(message).elements()?.map(|word| word.text()).collect();
        let words = words?;
        let (pairs, _) = words.as_chunks::<2>();
        for [name, value] in pairs {
            match *name {
                b"peer" => legacy.peer = peer(value)?,
                b"number" => {
                    legacy.number = number(value)?;
                    is_client = true;
                }
                b"age" => legacy.age_us = number(value)?,
                b"name" => profile.name = (*value).into(),
                b"library" => profile.library_name = (*value).into(),
                b"library-version" => profile.library_version = (*value).into(),
                b"replies" => profile.replies = replies(value),
                b"reads-masters" => profile.reads_masters = true,
                b"no-evict" => profile.no_evict = true,
                b"no-touch" => profile.no_touch = true,
                b"reached" => profile.reached = Some(address(value)?),
                b"header" if *value == b"user" => legacy.intake = Intake::HeaderWithUser,
                b"header" => legacy.intake = Intake::Header,
                b"protocol" if *value == b"3" => legacy.protocol = Protocol::Resp3,
                b"database" => legacy.database = u32::try_from(number(value)?).ok()?,
                b"user" => user = Some(value.to_vec()),
                b"password" => password = Some(value.to_vec()),
                b"inbox" => legacy.inbox = value.to_vec(),
                b"unread" => legacy.unread = value.to_vec(),
                _ => {}
            }
        }
        legacy.login = user.zip(password);
        legacy.profile = (profile != Profile::default()).then(|| Box::new(profile));
        is_client.then_some(legacy)
    }
}

fn word(replies: Replies) -> &'static [u8] {
    match replies {
        Replies::All => b"all",
        Replies::NotNext => b"not-next",
        Replies::None => b"none",
    }
}

fn replies(word: &[u8]) -> Replies {
    match word {
        b"not-next" => Replies::NotNext,
        b"none" => Replies::None,
        _ => Replies::All,
    }
}

fn peer(text: &[u8]) -> Option<Peer> {
    if text == Peer::Unix.to_string().as_bytes() {
        return Some(Peer::Unix);
    }
    address(text).map(Peer::Ip)
}

fn address(text: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_arrives() {
        let mut legacy = Legacy {
            peer: Peer::Ip("[::1]:7".parse().unwrap()),
            number: u64::MAX,
            age_us: 5_000_000,
            profile: Some(Box::new(Profile {
                name: b"a name"[..].into(),
                library_name: b"lib"[..].into(),
                library_version: b"1.2"[..].into(),
                replies: Replies::NotNext,
                reads_masters: true,
                no_evict: true,
                no_touch: true,
                reached: Some("192.0.2.1:6379".parse().unwrap()),
            })),
            protocol: Protocol::Resp3,
            database: 9,
            login: Some((b"user".to_vec(), b"pass\r\nword".to_vec())),
            inbox: b"*1\r\n$4\r\nPI".to_vec(),
            unread: b"+OK\r\n".to_vec(),
            intake: Intake::Open,
        };
        assert_eq!(Legacy::from_message(&legacy.to_message()), Some(legacy.clone()));
        legacy.login = None;
        legacy.peer = Peer::Unix;
        legacy.protocol = Protocol::Resp2;
        legacy.profile = None;
        for intake in [Intake::Header, Intake::HeaderWithUser] {
            let legacy = Legacy { intake, ..legacy.clone() };
            assert_eq!(Legacy::from_message(&legacy.to_message()), Some(legacy));
        }
        assert_eq!(Legacy::from_message(&legacy.to_message()), Some(legacy));
    }

    #[test]
    fn what_another_version_says_more_or_less_does_no_harm() {
        let mut message = Vec::new();
        message.array(4).bulk(b"colour").bulk(b"blue").bulk(b"number").bulk(b"5");
        let legacy = Legacy::from_message(&message).unwrap();
        assert_eq!((legacy.number, legacy.database, legacy.inbox.len()), (5, 0, 0));
        let nameless = b"*2\r\n$3\r\nage\r\n$1\r\n1\r\n";
        let wrong = b"*2\r\n$6\r\nnumber\r\n$1\r\nx\r\n";
        for nonsense in [&b""[..], b"+OK\r\n", nameless, wrong] {
            assert_eq!(Legacy::from_message(nonsense), None);
        }
    }
}
