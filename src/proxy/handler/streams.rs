//! XREAD of streams in several places: one part for each place, and one reply.
//!
//! A part names the streams that live there, each with its id. What servers answer names only
//! the streams that have something, so the whole keeps their names to put them in order.

use std::mem;

use super::super::request::Origin;
use super::super::whole::Whole;
use super::Handler;
use super::dispatch::Request;
use crate::base::sorted_map::SortedSet;
use crate::pool::Place;
use crate::resp::writer::Sink;

impl Handler {
    /// Sends one part for each place. `keys` are all streams of the request, behind which their
    /// ids stand in the same order; `places` says where each lives.
    pub(super) fn send_stream_parts(
        &mut self,
        request: &Request<'_>,
        keys: &[u32],
        places: &mut [(Place, u32)],
    ) {
        let (Some(first), bytes) = (keys.first(), request.message.bytes) else { return };
        let first = *first as usize;
        let key = |index: u32| request.argument(first + index as usize);
        let encoded = |index: usize| &bytes[request.arguments.encoded_range(index)];
        // Of a stream that is read twice nobody could tell which of the two has something.
        let names: SortedSet<&[u8]> = places.iter().map(|(_, index)| key(*index)).collect();
        let each_by_itself = names.len() < keys.len();
        places.sort_unstable();
        let groups = || places.chunk_by(|one, next| one.0 == next.0 && !each_by_itself);
        let mut named = vec![(0, Box::default()); keys.len()];
        for (part, group) in (0..).zip(groups()) {
            for (_, index) in group {
                named[*index as usize] = (part, key(*index).into());
            }
        }
        let whole =
            Whole::for_named_keys(request.client, request.sequence, groups().count(), named);
        let whole = self.wholes.insert(whole);
        let head = request.arguments.encoded_range(0).start
            ..request.arguments.encoded_range(first - 1).end;
        let mut part_request = mem::take(&mut self.spare.request);
        for (part, group) in (0..).zip(groups()) {
            part_request.clear();
            part_request.array(first + 2 * group.len());
            part_request.put(&bytes[head.clone()]);
            let indexes = || group.iter().map(|(_, index)| first + *index as usize);
            indexes().for_each(|index| part_request.put(encoded(index)));
            indexes().for_each(|index| part_request.put(encoded(index + keys.len())));
            self.send_part(request, group[0].0, Origin::Part { whole, part }, &part_request);
        }
        self.spare.keep_request(part_request);
    }
}
