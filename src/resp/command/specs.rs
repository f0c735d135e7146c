//! The key specifications that commands have, by what they look like.

use super::key_spec::Access::{Glob, Name, Pattern, Read, Write};
use super::key_spec::Counted::{AtLeastOne, Script};
use super::key_spec::{Access, Counted, Find, KeySpec, Part};

const fn range(first: u32, last: i8, step: u32, access: Access) -> Part {
    Part { find: Find::Range { first, last, step }, access }
}

const fn counted(at: u32, step: u32, form: Counted, access: Access) -> Part {
    Part { find: Find::Counted { at, step, form }, access }
}

/// No keys.
pub const NONE: KeySpec = KeySpec::new(&[]);
/// Reads argument 1.
pub const READ_1: KeySpec = KeySpec::new(&[range(1, 1, 1, Read)]);
/// Writes argument 1.
pub const WRITE_1: KeySpec = KeySpec::new(&[range(1, 1, 1, Write)]);
/// Reads argument 2.
pub const READ_2: KeySpec = KeySpec::new(&[range(2, 2, 1, Read)]);
/// Writes argument 2.
pub const WRITE_2: KeySpec = KeySpec::new(&[range(2, 2, 1, Write)]);
/// Reads argument 3.
pub const READ_3: KeySpec = KeySpec::new(&[range(3, 3, 1, Read)]);
/// Writes argument 3.
pub const WRITE_3: KeySpec = KeySpec::new(&[range(3, 3, 1, Write)]);
/// Reads arguments 1 and 2.
pub const READ_1_2: KeySpec = KeySpec::new(&[range(1, 2, 1, Read)]);
/// Writes arguments 1 and 2.
pub const WRITE_1_2: KeySpec = KeySpec::new(&[range(1, 2, 1, Write)]);
/// Reads argument 1, writes argument 2.
pub const READ_1_WRITE_2: KeySpec = KeySpec::new(&[range(1, 1, 1, Read), range(2, 2, 1, Write)]);
/// Writes argument 1, reads argument 2.
pub const WRITE_1_READ_2: KeySpec = KeySpec::new(&[range(1, 1, 1, Write), range(2, 2, 1, Read)]);
/// Reads all arguments.
pub const READ_ALL: KeySpec = KeySpec::new(&[range(1, -1, 1, Read)]);
/// Writes all arguments.
pub const WRITE_ALL: KeySpec = KeySpec::new(&[range(1, -1, 1, Write)]);
/// Reads all arguments but the last.
pub const READ_ALL_BUT_LAST: KeySpec = KeySpec::new(&[range(1, -2, 1, Read)]);
/// Writes all arguments but the last.
pub const WRITE_ALL_BUT_LAST: KeySpec = KeySpec::new(&[range(1, -2, 1, Write)]);
/// Writes argument 1, reads the others.
pub const WRITE_1_READ_REST: KeySpec =
    KeySpec::new(&[range(1, 1, 1, Write), range(2, -1, 1, Read)]);
/// Writes argument 2, reads those after it.
pub const WRITE_2_READ_REST: KeySpec =
    KeySpec::new(&[range(2, 2, 1, Write), range(3, -1, 1, Read)]);
/// Writes arguments 1, 3, 5…
pub const WRITE_PAIRS: KeySpec = KeySpec::new(&[range(1, -1, 2, Write)]);
/// Writes arguments 1, 4, 7…
pub const WRITE_TRIPLES: KeySpec = KeySpec::new(&[range(1, -1, 3, Write)]);
/// Reads as many as argument 1 says.
pub const COUNTED_1_READ: KeySpec = KeySpec::new(&[counted(1, 1, AtLeastOne, Read)]);
/// Writes as many as argument 1 says.
pub const COUNTED_1_WRITE: KeySpec = KeySpec::new(&[counted(1, 1, AtLeastOne, Write)]);
/// Writes as many as argument 1 says, each followed by its value.
pub const COUNTED_1_WRITE_PAIRS: KeySpec = KeySpec::new(&[counted(1, 2, AtLeastOne, Write)]);
/// Writes as many as argument 2 says.
pub const COUNTED_2_WRITE: KeySpec = KeySpec::new(&[counted(2, 1, AtLeastOne, Write)]);
/// Writes argument 1, reads as many as argument 2 says.
pub const WRITE_1_COUNTED_2_READ: KeySpec =
    KeySpec::new(&[range(1, 1, 1, Write), counted(2, 1, AtLeastOne, Read)]);
/// EVAL and its like.
pub const SCRIPT_WRITE: KeySpec = KeySpec::new(&[counted(2, 1, Script, Write)]);
/// EVAL_RO and its like.
pub const SCRIPT_READ: KeySpec = KeySpec::new(&[counted(2, 1, Script, Read)]);
/// XREAD and XREADGROUP, which changes the group but not the stream.
pub const STREAMS: KeySpec = KeySpec::new(&[Part { find: Find::Streams, access: Read }]);
/// SORT, and SORT_RO, of which no server accepts a STORE.
pub const SORT: KeySpec =
    KeySpec::new(&[range(1, 1, 1, Read), Part { find: Find::SortClauses, access: Pattern }]);
/// GEORADIUS.
pub const GEORADIUS: KeySpec =
    KeySpec::new(&[range(1, 1, 1, Read), Part { find: Find::GeoStore { from: 6 }, access: Write }]);
/// GEORADIUSBYMEMBER.
pub const GEORADIUS_BY_MEMBER: KeySpec =
    KeySpec::new(&[range(1, 1, 1, Read), Part { find: Find::GeoStore { from: 5 }, access: Write }]);
/// MIGRATE.
pub const MIGRATE: KeySpec = KeySpec::new(&[Part { find: Find::Migrate, access: Write }]);
/// Argument 1 is a name.
pub const NAME_1: KeySpec = KeySpec::new(&[range(1, 1, 1, Name)]);
/// Argument 2 is a name.
pub const NAME_2: KeySpec = KeySpec::new(&[range(2, 2, 1, Name)]);
/// All arguments are names.
pub const NAME_ALL: KeySpec = KeySpec::new(&[range(1, -1, 1, Name)]);
/// Arguments 2 and following are names.
pub const NAME_FROM_2: KeySpec = KeySpec::new(&[range(2, -1, 1, Name)]);
/// All arguments are patterns of channels.
pub const GLOB_ALL: KeySpec = KeySpec::new(&[range(1, -1, 1, Glob)]);
/// STRALGO.
pub const STRALGO: KeySpec = KeySpec::new(&[Part { find: Find::StrAlgo, access: Read }]);
