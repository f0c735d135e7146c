//! What a handler's subscribers hear, on its way to the process that goes on with them.
//!
//! Subscribers change processes together with the links on which their messages come, so that
//! none is missed and none comes twice. All of it travels in parts, as lists of words in RESP:
//! the subscribers with their topics, the links with what has come on them of a message, at which
//! server each topic has a seat, and at the end the word that this is all.

use super::subscriptions::Kind;
use crate::base::address::Address;
use crate::resp::reply::Reply;
use crate::resp::writer::Sink;

/// One part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The handler of the old process that it comes from.
    pub handler: usize,
    /// What it is.
    pub what: What,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A client that is subscribed, as a [`super::legacy::Legacy`] writes it; its socket comes along.
    Subscriber(Vec<u8>),
    /// Some of what the client of this number is subscribed to.
    Topics(u64, Vec<(Kind, Vec<u8>)>),
    /// The link to this server, and what has come of a message; its socket comes along.
    Link(Address, Vec<u8>),
    /// Some of the topics that this server tells about; whether its word alone counts about what
    /// clients publish there.
    Seats(Address, Vec<(Kind, bool, Vec<u8>)>),
    /// This was all that this handler had, of so many handlers.
    Complete(usize),
}

/// The first word of every part; nothing that is known of a client is called so.
const PART: &[u8] = b"part";
/// A list of topics is continued in another part when it has become as long as this.
pub const LIST_MAX: usize = 128 << 10;

impl Part {
    /// As it travels.
    #[must_use]
    pub fn to_message(&self) -> Vec<u8> {
        let handler = self.handler.to_string();
        let mut words: Vec<Vec<u8>> = vec![PART.to_vec(), handler.into_bytes()];
        match &self.what {
            What::Subscriber(legacy) => words.extend([b"subscriber".to_vec(), legacy.clone()]),
            What::Topics(client, topics) => {
                words.extend([b"topics".to_vec(), client.to_string().into_bytes()]);
                for (kind, name) in topics {
                    words.extend([kind.subscribe().to_vec(), name.clone()]);
                }
            }
            What::Link(server, begun) => {
                let server = server.to_string().into_bytes();
                words.extend([b"link".to_vec(), server, begun.clone()]);
            }
            What::Seats(server, topics) => {
                words.extend([b"seats".to_vec(), server.to_string().into_bytes()]);
                for (kind, is_home, name) in topics {
                    let home: &[u8] = if *is_home { b"home" } else { b"other" };
                    words.extend([kind.subscribe().to_vec(), home.to_vec(), name.clone()]);
                }
            }
            What::Complete(handlers) => {
                words.extend([b"complete".to_vec(), handlers.to_string().into_bytes()]);
            }
        }
        let mut message = Vec::new();
        message.array(words.len());
        for word in &words {
            message.bulk(word);
        }
        message
    }

    /// Reads it; `None` is no such thing.
    #[must_use]
    pub fn from_message(message: &[u8]) -> Option<Part> {
        let words: Option<Vec<&[u8]>> =
            Reply::new(message).elements()?.map(|word| word.text()).collect();
        let words = words?;
        let (&[PART, handler, what], rest) = words.split_first_chunk::<3>()? else { return None };
        let what = match (what, rest) {
            (b"subscriber", [legacy]) => What::Subscriber(legacy.to_vec()),
            (b"topics", [client, topics @ ..]) => {
                let (pairs, []) = topics.as_chunks::<2>() else { return None };
                let topics = pairs.iter().map(|[kind, name]| Some((kind_of(kind)?, name.to_vec())));
                What::Topics(number(client)?, topics.collect::<Option<_>>()?)
            }
            (b"link", [server, begun]) => What::Link(address(server)?, begun.to_vec()),
            (b"seats", [server, topics @ ..]) => {
                let (triples, []) = topics.as_chunks::<3>() else { return None };
                let topics = triples.iter().map(|[kind, home, name]| {
                    Some((kind_of(kind)?, *home == b"home", name.to_vec()))
                });
                What::Seats(address(server)?, topics.collect::<Option<_>>()?)
            }
            (b"complete", [handlers]) => What::Complete(number(handlers)?),
            _ => return None,
        };
        Some(Part { handler: number(handler)?, what })
    }
}

fn kind_of(word: &[u8]) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.subscribe() == word)
}

fn address(word: &[u8]) -> Option<Address> {
    Address::parse(std::str::from_utf8(word).ok()?).ok()
}

fn number<N: std::str::FromStr>(word: &[u8]) -> Option<N> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::legacy::Legacy;
    use super::*;
    use crate::sys::Peer;

    #[test]
    fn every_part_arrives() {
        let server = Address::parse("[::1]:7").unwrap();
        let names = [b"a\r\n".to_vec(), Vec::new()];
        let topics = vec![(Kind::Channel, names[0].clone()), (Kind::Shard, names[1].clone())];
        let seats = vec![(Kind::Pattern, true, names[0].clone()), (Kind::Channel, false, vec![0])];
        let parts = [
            What::Subscriber(Legacy::new(Peer::Unix, 7).to_message()),
            What::Topics(u64::MAX, topics),
            What::Topics(1, Vec::new()),
            What::Link(server.clone(), b"*3\r\n$7\r\nmess".to_vec()),
            What::Seats(server, seats),
            What::Complete(3),
        ];
        for what in parts {
            let part = Part { handler: 2, what };
            let message = part.to_message();
            assert_eq!(Part::from_message(&message), Some(part));
            assert_eq!(Legacy::from_message(&message), None, "it is no client");
        }
    }

    #[test]
    fn nonsense_is_no_part() {
        let list = |words: &[&str]| {
            let mut message = Vec::new();
            message.array(words.len());
            for word in words {
                message.bulk(word.as_bytes());
            }
            message
        };
        for words in [
            &["part", "1"][..],
            &["part", "x", "complete", "2"],
            &["part", "1", "complete", "x"],
            &["part", "1", "complete"],
            &["part", "1", "topics", "5", "subscribe"],
            &["part", "1", "topics", "5", "listen", "a"],
            &["part", "1", "seats", "nowhere", "subscribe", "home", "a"],
            &["part", "1", "link", "127.0.0.1:1"],
            &["part", "1", "colour", "blue"],
            &["number", "1", "complete", "2"],
        ] {
            assert_eq!(Part::from_message(&list(words)), None, "{words:?}");
        }
        assert_eq!(Part::from_message(b"+OK\r\n"), None);
        assert_eq!(Part::from_message(&Legacy::new(Peer::Unix, 1).to_message()), None);
    }
}
