//! A request that was split by key, and how its parts become one reply.
//!
//! There is one part per slot of a cluster, or per group of a pool. Parts are answered in any
//! order; their replies wait here, and the last one completes the whole. An error in any part
//! is the reply of the whole: half an answer is no answer.

use super::request::ClientId;
use crate::resp::command::Merge;
use crate::resp::response_parser::ResponseParser;
use crate::resp::writer::Sink;

/// A split request whose parts are under way.
pub struct Whole {
    /// Who sent it.
    pub client: ClientId,
    /// Its number among the requests of that client.
    pub sequence: u32,
    merge: Merge,
    missing: usize,
    parts: Vec<Part>,
    // Replies of parts that came in one piece, behind each other in the order they came.
    replies: Vec<u8>,
    // The part that each key went to, in the order the client named the keys.
    part_of_key: Vec<u32>,
}

#[derive(Default)]
struct Part {
    start: usize,
    length: usize,
    // Large replies come in pieces, and those of different parts come interleaved.
    pieces: Vec<u8>,
}

impl Whole {
    /// The request `sequence` of `client`, in `parts` parts; `part_of_key` says where each key
    /// went.
    pub fn new(
        client: ClientId,
        sequence: u32,
        merge: Merge,
        parts: usize,
        part_of_key: Vec<u32>,
    ) -> Self {
        let mut whole = Whole {
            client,
            sequence,
            merge,
            missing: parts,
            parts: Vec::with_capacity(parts),
            replies: Vec::with_capacity(parts * 128),
            part_of_key,
        };
        whole.parts.resize_with(parts, Part::default);
        whole
    }

    /// A piece of a large reply to one part has come; [`Whole::answer`] brings its end.
    pub fn answer_piece(&mut self, part: u32, piece: &[u8]) {
        if let Some(part) = self.parts.get_mut(part as usize) {
            part.pieces.extend_from_slice(piece);
        }
    }

    /// Forgets the pieces of a reply whose end will not come.
    pub fn forget_pieces(&mut self, part: u32) {
        if let Some(part) = self.parts.get_mut(part as usize) {
            part.pieces = Vec::new();
        }
    }

    /// The reply to one part, or the end of it, has come. True when it was the last one missing.
    pub fn answer(&mut self, part: u32, reply: &[u8]) -> bool {
        if let Some(part) = self.parts.get_mut(part as usize) {
            if part.pieces.is_empty() {
                part.start = self.replies.len();
                part.length = reply.len();
                self.replies.extend_from_slice(reply);
            } else {
                part.pieces.extend_from_slice(reply);
            }
        }
        self.missing = self.missing.saturating_sub(1);
        self.missing == 0
    }

    /// Bytes that wait here.
    pub fn held_bytes(&self) -> usize {
        let pieces: usize = self.parts.iter().map(|part| part.pieces.len()).sum();
        pieces + self.replies.len()
    }

    /// Writes the one reply that the parts make.
    pub fn merge_into(&self, reply: &mut Vec<u8>) {
        let mut replies = (0..self.parts.len()).map(|part| self.reply_of(part));
        if let Some(error) = replies.find(|reply| matches!(reply.first(), Some(b'-' | b'!'))) {
            reply.extend_from_slice(error);
            return;
        }
        let merged = match self.merge {
            Merge::Sum => self.sum(reply),
            Merge::Concat => self.in_key_order(reply),
            _ => {
                // All parts say the same, OK.
                reply.extend_from_slice(self.reply_of(0));
                Some(())
            }
        };
        if merged.is_none() {
            reply.clear();
            reply.error("ERR unexpected reply of a server to a part of the request");
        }
    }

    fn reply_of(&self, part: usize) -> &[u8] {
        let part = &self.parts[part];
        if part.pieces.is_empty() {
            &self.replies[part.start..part.start + part.length]
        } else {
            &part.pieces
        }
    }

    fn sum(&self, reply: &mut Vec<u8>) -> Option<()> {
        let mut sum = 0i64;
        for part in 0..self.parts.len() {
            let digits = self.reply_of(part).strip_prefix(b":")?.strip_suffix(b"\r\n")?;
            let number: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
            sum = sum.checked_add(number)?;
        }
        reply.integer(sum);
        Some(())
    }

    /// Puts the elements of the parts' arrays together as the client named the keys. Within a
    /// part they are in that order already.
    fn in_key_order(&self, reply: &mut Vec<u8>) -> Option<()> {
        let mut rest = Vec::with_capacity(self.parts.len());
        for part in 0..self.parts.len() {
            let array = self.reply_of(part).strip_prefix(b"*")?;
            let header = array.iter().position(|byte| *byte == b'\n')?;
            rest.push(&array[header + 1..]);
        }
        reply.array(self.part_of_key.len());
        for part in &self.part_of_key {
            let rest = rest.get_mut(*part as usize)?;
            let end = ResponseParser::new().feed(rest).ok()??;
            let (element, later) = rest.split_at(end);
            reply.extend_from_slice(element);
            *rest = later;
        }
        rest.iter().all(|rest| rest.is_empty()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::slab::Id;

    #[track_caller]
    fn check(merge: Merge, keys: &[u32], replies: &[&[u8]], want: &[u8]) {
        for in_pieces in [false, true] {
            let mut whole = Whole::new(Id::from_u64(0), 0, merge, replies.len(), keys.to_vec());
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
