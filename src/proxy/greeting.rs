//! What servers say to HELLO, and what the proxy makes of it for its clients.
//!
//! Clients want to know which server and version they talk to, and which modules it has. Only
//! a server knows, so one is asked, once for each protocol, and what it said is remembered until
//! some connection is lost: servers change their version only by being started again. The rest
//! of the reply is the proxy's own.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use crate::resp::reply::{Kind, Reply};
use crate::resp::writer::{Protocol, Sink};

/// The fields of a server's reply to HELLO, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: Box<[u8]>,
    /// A whole reply.
    value: Box<[u8]>,
}

/// The greetings of both protocols, which all handlers share.
#[derive(Default)]
pub struct Greetings {
    known: Mutex<[Option<Known>; 2]>,
    /// How often servers may have been started again.
    generation: AtomicU64,
}

/// A greeting, with the generation that it was asked for in.
type Known = (u64, Arc<Greeting>);

impl Greeting {
    /// What a server has answered; `None` if it is not what servers answer.
    #[must_use]
    pub fn parse(reply: &[u8]) -> Option<Greeting> {
        let reply = Reply::new(reply);
        if !matches!(reply.kind(), Kind::Map | Kind::Array) {
            return None;
        }
        let mut elements = reply.elements()?;
        let mut fields = Vec::new();
        while elements.left() > 0 {
            let (name, value) = (elements.next()?.text()?, elements.next()?.bytes());
            fields.push(Field { name: name.into(), value: value.into() });
        }
        Some(Greeting { fields })
    }

    /// Writes the reply for client number `id`, who does not talk to one server of many, but to
    /// one that has all keys.
    pub fn write(&self, protocol: Protocol, id: u64, reply: &mut Vec<u8>) {
        reply.map(self.fields.len(), protocol);
        for Field { name, value } in &self.fields {
            reply.bulk(name);
            match &**name {
                b"proto" => reply.integer(if protocol == Protocol::Resp3 { 3 } else { 2 }),
                b"id" => reply.integer(i64::try_from(id).unwrap_or(i64::MAX)),
                b"mode" => reply.bulk(b"standalone"),
                b"role" => reply.bulk(b"master"),
                _ => {
                    reply.put(value);
                    &mut *reply
                }
            };
        }
    }
}

impl Greetings {
    /// What is known in this protocol, and whether it may have changed since.
    pub fn known(&self, protocol: Protocol) -> Option<(Arc<Greeting>, bool)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (generation, greeting) = known[index(protocol)].as_ref()?;
        Some((Arc::clone(greeting), *generation != self.generation.load(Relaxed)))
    }

    /// The generation that an answer to what is asked now will belong to.
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// A server has answered what it was asked in this generation.
    pub fn remember(&self, protocol: Protocol, generation: u64, greeting: Arc<Greeting>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known[index(protocol)] = Some((generation, greeting));
    }

    /// Some server may have been started again: what is known may be no longer true.
    pub fn doubt(&self) {
        self.generation.fetch_add(1, Relaxed);
    }
}

fn index(protocol: Protocol) -> usize {
    usize::from(protocol == Protocol::Resp3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &[u8] = b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n\
        $5\r\nproto\r\n:3\r\n$2\r\nid\r\n:77\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n\
        $7\r\nreplica\r\n$7\r\nmodules\r\n*1\r\n%1\r\n$4\r\nname\r\n$1\r\nm\r\n";

    #[test]
    fn a_node_of_a_cluster_becomes_one_server() {
        let mut reply = Vec::new();
        Greeting::parse(NODE).unwrap().write(Protocol::Resp3, 5, &mut reply);
        let want = b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n\
            $5\r\nproto\r\n:3\r\n$2\r\nid\r\n:5\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n\
            $6\r\nmaster\r\n$7\r\nmodules\r\n*1\r\n%1\r\n$4\r\nname\r\n$1\r\nm\r\n";
        assert_eq!(reply.escape_ascii().to_string(), want.escape_ascii().to_string());
    }

    #[test]
    fn fields_that_nobody_knows_yet_are_passed_on() {
        let said = b"*6\r\n$5\r\nproto\r\n:2\r\n$4\r\nzone\r\n$1\r\nb\r\n$2\r\nid\r\n:1\r\n";
        let mut reply = Vec::new();
        Greeting::parse(said).unwrap().write(Protocol::Resp2, 9, &mut reply);
        let want = b"*6\r\n$5\r\nproto\r\n:2\r\n$4\r\nzone\r\n$1\r\nb\r\n$2\r\nid\r\n:9\r\n";
        assert_eq!(reply.escape_ascii().to_string(), want.escape_ascii().to_string());
    }

    #[test]
    fn what_is_no_greeting_is_none() {
        for said in [
            &b"-ERR unknown command\r\n"[..],
            b"*1\r\n$1\r\na\r\n",
            b"+OK\r\n",
            b"%1\r\n:1\r\n:2\r\n",
        ] {
            assert_eq!(Greeting::parse(said), None, "{}", said.escape_ascii());
        }
    }

    #[test]
    fn doubt_lasts_until_somebody_has_answered_anew() {
        let greetings = Greetings::default();
        assert!(greetings.known(Protocol::Resp3).is_none());
        let greeting = Arc::new(Greeting::parse(NODE).unwrap());
        let before = greetings.generation();
        greetings.doubt();
        // It was asked before, and may not know of what has happened since.
        greetings.remember(Protocol::Resp3, before, Arc::clone(&greeting));
        assert!(greetings.known(Protocol::Resp3).unwrap().1);
        greetings.remember(Protocol::Resp3, greetings.generation(), greeting);
        assert!(!greetings.known(Protocol::Resp3).unwrap().1);
        assert!(greetings.known(Protocol::Resp2).is_none());
    }
}
