//! A request that was sent in parts, and how their replies become one.
//!
//! Split by key there is one part per slot of a cluster, or per group of a pool; what concerns
//! everything has one for each master. Parts are answered in any order; their replies wait here,
//! and the last one completes the whole. An error in any part is the reply of the whole: half an
//! answer is no answer. What else is to be done with the replies then, [`Purpose`] says.

use std::collections::BTreeMap;

use super::handler::Introduction;
use super::info::Report;
use super::lane::Lane;
use super::merge;
use super::request::{ClientId, Ticket};
use super::subscriptions::Kind;
use crate::pool::{GroupId, Place, ServerId};
use crate::resp::command::{Listing, Merge};
use crate::resp::reply::Reply;
use crate::resp::response_parser::{ARRAY_OF_ONE, ResponseParser};
use crate::resp::writer::Sink;

/// A request whose parts are under way.
pub struct Whole {
    /// Who sent it.
    pub client: ClientId,
    /// Its number among the requests of that client.
    pub sequence: u32,
    /// What is done when all parts are answered.
    pub purpose: Purpose,
    /// Bytes that are charged to the client, because they wait here for it.
    pub charged: usize,
    merge: Merge,
    missing: usize,
    /// Some part may have been answered with an error.
    has_error: bool,
    memory: Memory,
    // Large replies, by part: they come in pieces, and those of different parts interleaved.
    pieces: BTreeMap<u32, Vec<u8>>,
    order: Order,
}

/// What a [`Whole`] needs memory for, to be used again by the next one.
#[derive(Default)]
pub struct Memory {
    /// For requests that are split by key: the part that each key went to, in the order the
    /// client named them.
    pub part_of_key: Vec<u32>,
    // Where the replies of the parts are, for those that came in one piece.
    parts: Vec<Part>,
    // The replies, behind each other in the order they came.
    replies: Vec<u8>,
}

/// What is done with the replies when all are there.
pub enum Purpose {
    /// They become one by the rule of the command.
    Merge,
    /// One step of SCAN: the cursor is rewritten.
    Scan {
        /// The group that is visited.
        group: GroupId,
        /// Which of its masters the cursor is for, see `MasterGenerations`.
        generation: u8,
        /// Who has answered.
        answered_by: Option<ServerId>,
    },
    /// RANDOMKEY: while there is none, another group is asked.
    RandomKey(KeySearch),
    /// INFO: what servers say of themselves is part of what is shown.
    Report(Box<Report>),
    /// HELLO, which some server has to answer first.
    Hello(Introduction),
    /// COMMAND: what is disabled is taken out.
    Listing(Listing),
    /// PUBSUB: our clients are counted with those of the servers.
    Census(Kind),
    /// SCRIPT LOAD: the script is remembered.
    LoadScript {
        /// Its text.
        body: Box<[u8]>,
    },
}

/// What is needed to ask another group for a key.
pub struct KeySearch {
    /// The groups that were not asked.
    pub rest: Vec<GroupId>,
    /// The client's lane.
    pub lane: Lane,
    /// What is known of the request.
    pub ticket: Ticket,
}

/// What the parts are parts of.
enum Order {
    /// The keys of one request, see [`Memory::part_of_key`].
    Keys,
    /// The same for keys whose names stand in the replies.
    NamedKeys(Vec<(u32, Box<[u8]>)>),
    /// All groups: the one that each part went to.
    Groups(Vec<GroupId>),
    /// Nothing: its one part goes there.
    Place(Place),
}

#[derive(Clone, Copy, Default)]
struct Part {
    start: usize,
    length: usize,
}

/// Memory of more than so many bytes of replies is not kept.
const KEPT_MAX: usize = 4 << 10;
/// Nor are lists for more than so many parts and keys.
const KEPT_PARTS_MAX: usize = 128;

impl Memory {
    /// Whether it is worth keeping.
    pub fn is_small(&self) -> bool {
        self.replies.capacity() <= KEPT_MAX
            && self.parts.capacity() <= KEPT_PARTS_MAX
            && self.part_of_key.capacity() <= KEPT_PARTS_MAX
    }
}

impl Whole {
    /// The request `sequence` of `client`, in `parts` parts; `memory.part_of_key` says where each
    /// key went.
    pub fn new(
        client: ClientId,
        sequence: u32,
        merge: Merge,
        parts: usize,
        memory: Memory,
    ) -> Self {
        Whole::with_order(client, sequence, merge, parts, Order::Keys, memory)
    }

    /// The same for a request whose replies name the keys, in which no part has a key twice.
    pub fn for_named_keys(
        client: ClientId,
        sequence: u32,
        parts: usize,
        keys: Vec<(u32, Box<[u8]>)>,
    ) -> Self {
        let order = Order::NamedKeys(keys);
        Whole::with_order(client, sequence, Merge::Named, parts, order, Memory::default())
    }

    /// The same for a request that has one part for each of these groups.
    pub fn for_groups(client: ClientId, sequence: u32, merge: Merge, groups: Vec<GroupId>) -> Self {
        let parts = groups.len();
        Whole::with_order(client, sequence, merge, parts, Order::Groups(groups), Memory::default())
    }

    /// The same for a request that has one part for each of some servers, whoever they are; what
    /// is lost with its link is not asked from others.
    pub fn for_servers(client: ClientId, sequence: u32, parts: usize) -> Self {
        Whole::new(client, sequence, Merge::Same, parts, Memory::default())
    }

    /// The same for a request that goes to one place.
    pub fn for_place(client: ClientId, sequence: u32, place: Place) -> Self {
        let order = Order::Place(place);
        Whole::with_order(client, sequence, Merge::Same, 1, order, Memory::default())
    }

    fn with_order(
        client: ClientId,
        sequence: u32,
        merge: Merge,
        parts: usize,
        order: Order,
        mut memory: Memory,
    ) -> Self {
        memory.parts.clear();
        memory.parts.resize(parts, Part::default());
        memory.replies.clear();
        Whole {
            client,
            sequence,
            purpose: Purpose::Merge,
            charged: 0,
            merge,
            missing: parts,
            has_error: false,
            memory,
            pieces: BTreeMap::new(),
            order,
        }
    }

    /// Gives back its memory.
    pub fn into_memory(self) -> Memory {
        self.memory
    }

    /// Where a part belongs, if no key of it tells.
    pub fn place_of(&self, part: u32) -> Option<Place> {
        match &self.order {
            Order::Keys | Order::NamedKeys(_) => None,
            Order::Groups(groups) => groups.get(part as usize).copied().map(Place::Group),
            Order::Place(place) => Some(*place),
        }
    }

    /// A piece of a large reply to one part has come; [`Whole::answer`] brings its end.
    pub fn answer_piece(&mut self, part: u32, piece: &[u8]) {
        if (part as usize) < self.memory.parts.len() {
            self.has_error = true;
            self.pieces.entry(part).or_default().extend_from_slice(piece);
        }
    }

    /// Forgets the pieces of a reply whose end will not come.
    pub fn forget_pieces(&mut self, part: u32) {
        self.pieces.remove(&part);
    }

    /// The reply to one part, or the end of it, has come. True when it was the last one missing.
    #[inline]
    pub fn answer(&mut self, part: u32, reply: &[u8]) -> bool {
        if self.pieces.is_empty() {
            self.put(part, reply);
        } else {
            match self.pieces.get_mut(&part) {
                Some(pieces) => pieces.extend_from_slice(reply),
                None => self.put(part, reply),
            }
        }
        self.missing = self.missing.saturating_sub(1);
        self.missing == 0
    }

    #[inline]
    fn put(&mut self, part: u32, reply: &[u8]) {
        self.has_error |= matches!(reply.first(), Some(b'-' | b'!'));
        let Memory { parts, replies, .. } = &mut self.memory;
        if let Some(part) = parts.get_mut(part as usize) {
            *part = Part { start: replies.len(), length: reply.len() };
            replies.extend_from_slice(reply);
        }
    }

    /// Bytes of memory that it takes, more or less.
    pub fn memory_bytes(&self) -> usize {
        let Memory { part_of_key, parts, replies } = &self.memory;
        let pieces: usize = self.pieces.values().map(Vec::capacity).sum();
        let body = match &self.purpose {
            Purpose::LoadScript { body } => body.len(),
            _ => 0,
        };
        body + pieces
            + replies.capacity()
            + parts.capacity() * size_of::<Part>()
            + part_of_key.capacity() * 4
    }

    /// Bytes that wait here.
    pub fn held_bytes(&self) -> usize {
        self.pieces.values().map(Vec::len).sum::<usize>() + self.memory.replies.len()
    }

    /// The replies to the parts, in their order.
    pub fn replies(&self) -> impl Iterator<Item = &[u8]> {
        (0..).take(self.memory.parts.len()).map(|part| self.reply_of(part))
    }

    /// Writes the one reply that the parts make.
    pub fn merge_into(&self, reply: &mut Vec<u8>) {
        if let Some(error) = self.error() {
            reply.extend_from_slice(error);
            return;
        }
        let merged = match &self.order {
            Order::Keys if self.merge == Merge::Concat => self.in_key_order(reply),
            Order::NamedKeys(keys) => {
                let keys = keys.iter().map(|(part, key)| (*part as usize, &**key));
                merge::named(&self.replies().collect::<Vec<_>>(), keys, reply)
            }
            _ => merge::merge(self.merge, &self.replies().collect::<Vec<_>>(), reply),
        };
        if merged.is_none() {
            reply.clear();
            reply.error(UNEXPECTED);
        }
    }

    /// The same, handed out in pieces; what has been handed out is no longer held. For arrays
    /// too large to be copied at one go.
    pub fn merge_by_piece(mut self, mut take: impl FnMut(&[u8])) {
        let is_plain = self.merge == Merge::Concat && matches!(self.order, Order::Groups(_));
        let mut reply = Vec::new();
        let bodies: Vec<_> = self.replies().map(Reply::new).collect();
        match merge::head(&bodies, &mut reply) {
            Some(()) if is_plain && self.error().is_none() => take(&reply),
            _ => {
                reply.clear();
                self.merge_into(&mut reply);
                return take(&reply);
            }
        }
        for part in (0..).take(self.memory.parts.len()) {
            if let Some((_, elements)) = merge::body(self.reply_of(part)) {
                take(elements);
            }
            self.forget_pieces(part);
        }
    }

    /// The error that is the reply of the whole, if there is one.
    fn error(&self) -> Option<&[u8]> {
        if !self.has_error {
            return None;
        }
        let is_error = |reply: &&[u8]| matches!(reply.first(), Some(b'-' | b'!'));
        match &self.order {
            _ if self.merge == Merge::FirstGood => None,
            // A server that has all of them looks at them in this order.
            Order::NamedKeys(keys) => {
                keys.iter().map(|(part, _)| self.reply_of(*part)).find(is_error)
            }
            _ => self.replies().find(is_error),
        }
    }

    fn reply_of(&self, part: u32) -> &[u8] {
        if !self.pieces.is_empty()
            && let Some(pieces) = self.pieces.get(&part)
        {
            return pieces;
        }
        let Part { start, length } = self.memory.parts[part as usize];
        &self.memory.replies[start..start + length]
    }

    /// Puts the elements of the parts' arrays together as the client named the keys. Within a
    /// part they are in that order already.
    fn in_key_order(&self, reply: &mut Vec<u8>) -> Option<()> {
        let part_of_key = &self.memory.part_of_key;
        reply.reserve(self.held_bytes() + HEAD_MAX);
        reply.array(part_of_key.len());
        if part_of_key.len() == self.memory.parts.len() {
            // As in nearly every request to a cluster, each key is a part of its own.
            let Memory { parts, replies, .. } = &self.memory;
            let in_one_piece = self.pieces.is_empty();
            for part in part_of_key {
                let array = match parts.get(*part as usize) {
                    Some(Part { start, length }) if in_one_piece => {
                        &replies[*start..start + length]
                    }
                    _ => self.reply_of(*part),
                };
                reply.extend_from_slice(array.strip_prefix(ARRAY_OF_ONE)?);
            }
            return Some(());
        }
        let mut rest = Vec::with_capacity(self.memory.parts.len());
        for part in (0..).take(self.memory.parts.len()) {
            let array = self.reply_of(part).strip_prefix(b"*")?;
            let header = array.iter().position(|byte| *byte == b'\n')?;
            rest.push(&array[header + 1..]);
        }
        for part in part_of_key {
            let rest = rest.get_mut(*part as usize)?;
            let end = ResponseParser::new().feed_piece(rest).ok()??;
            let (element, later) = rest.split_at(end);
            reply.extend_from_slice(element);
            *rest = later;
        }
        rest.iter().all(|rest| rest.is_empty()).then_some(())
    }
}

/// No head of an array is longer.
const HEAD_MAX: usize = 16;

/// What a client is told when servers have said what nobody expects of them.
const UNEXPECTED: &str = "ERR unexpected reply of a server to a part of the request";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slab::Id;

    #[track_caller]
    fn check(merge: Merge, keys: &[u32], replies: &[&[u8]], want: &[u8]) {
        for in_pieces in [false, true] {
            let memory = Memory { part_of_key: keys.to_vec(), ..Memory::default() };
            let mut whole = Whole::new(Id::from_u64(0), 0, merge, replies.len(), memory);
            // The last part is answered first: the order of the answers must not matter.
            for (part, reply) in replies.iter().enumerate().rev() {
                let (piece, end) = reply.split_at(if in_pieces { 1 } else { 0 });
                let part = u32::try_from(part).unwrap();
                if in_pieces {
                    whole.answer_piece(part, piece);
                }
                assert_eq!(whole.answer(part, end), part == 0);
            }
            let mut merged = Vec::new();
            whole.merge_into(&mut merged);
            assert_eq!(merged.escape_ascii().to_string(), want.escape_ascii().to_string());
        }
    }

    #[test]
    fn values_come_in_the_order_of_the_keys() {
        check(
            Merge::Concat,
            &[0, 1, 0, 2, 1],
            &[b"*2\r\n$1\r\na\r\n$-1\r\n", b"*2\r\n$1\r\nb\r\n$1\r\ne\r\n", b"*1\r\n_\r\n"],
            b"*5\r\n$1\r\na\r\n$1\r\nb\r\n$-1\r\n_\r\n$1\r\ne\r\n",
        );
    }

    #[test]
    fn the_first_error_is_that_of_a_server_that_has_all_keys() {
        let error = |replies: [&[u8]; 2]| {
            let keys = [(1, &b"a"[..]), (0, b"b"), (1, b"c")];
            let keys = keys.map(|(part, key)| (part, key.into())).to_vec();
            let mut whole = Whole::for_named_keys(Id::from_u64(0), 0, 2, keys);
            whole.answer(0, replies[0]);
            whole.answer(1, replies[1]);
            let mut merged = Vec::new();
            whole.merge_into(&mut merged);
            merged.escape_ascii().to_string()
        };
        assert_eq!(error([b"-ERR 0\r\n", b"-ERR 1\r\n"]), "-ERR 1\\r\\n");
        assert_eq!(error([b"-ERR 0\r\n", b"*-1\r\n"]), "-ERR 0\\r\\n");
        assert_eq!(error([b"*-1\r\n", b"-WRONGTYPE 1\r\n"]), "-WRONGTYPE 1\\r\\n");
    }

    #[test]
    fn integers_are_summed() {
        check(Merge::Sum, &[0, 1], &[b":2\r\n", b":40\r\n"], b":42\r\n");
    }

    #[test]
    fn ok_stays_ok() {
        check(Merge::AllOk, &[0, 1], &[b"+OK\r\n", b"+OK\r\n"], b"+OK\r\n");
    }

    #[test]
    fn d13_an_error_of_a_part_is_the_error_of_the_whole() {
        for merge in [Merge::Concat, Merge::Sum, Merge::AllOk] {
            check(merge, &[0, 1], &[b":1\r\n", b"-OOM no memory\r\n"], b"-OOM no memory\r\n");
        }
    }

    #[test]
    fn a_reply_of_the_wrong_kind_is_an_error() {
        let error = b"-ERR unexpected reply of a server to a part of the request\r\n";
        check(Merge::Sum, &[0, 1], &[b":2\r\n", b"+OK\r\n"], error);
        check(Merge::Concat, &[0, 1], &[b"*1\r\n:1\r\n", b"*2\r\n:1\r\n:2\r\n"], error);
        check(Merge::Concat, &[0, 0, 1], &[b"*1\r\n:1\r\n", b"*1\r\n:1\r\n"], error);
    }
}
