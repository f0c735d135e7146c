//! What the proxy knows about every command: how many arguments it takes, where its keys
//! are, what rights it needs, and what has to happen to it.
//!
//! `CommandTable` holds the facts and finds them by name. The facts themselves are rows of
//! `rows/`, one per command and one per sub-command, in the order of the Redis manual. What
//! becomes of a request follows from its `Family`; which of its arguments are keys follows
//! from its `KeySpec`; both are data, and nothing here knows servers, clients or slots.
//!
//! Parts, in reading order:
//!
//! - `family`: what happens to a command, and how the replies of its parts become one
//! - `key_spec`: which arguments are keys, and whether they are read or written
//! - `specs`: the shapes of keys that commands have
//! - `word`: a command word packed for comparison
//! - `rows`: the facts
//! - `command_table`: finding a command, custom commands, disabled commands
//! - `describe`: a command in words for people
//! - `error_text`: the errors that Redis itself gives for bad commands

mod family;
mod key_spec;
mod specs;
mod word;
mod rows;
mod command_table;
mod describe;
pub mod error_text;

pub use command_table::{CommandTable, CustomCommand, Unresolved};
pub use family::{
    ClientCommand, ClusterCommand, ConfigCommand, Family, Listing, LocalCommand, Merge,
    ProxyCommand, PubSubCommand, Refusal, ScriptCommand, SlowlogCommand, TransactionCommand,
};
pub use key_spec::{Access, KeySpec, KeysError};

use std::borrow::Cow;

use word::Word;

/// What a client must be allowed to do before it may send a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// It changes nothing.
    Read,
    /// It may change data, or it reaches other clients.
    Write,
    /// It concerns the proxy, or everybody's data at once.
    Admin,
}

/// A command's place in its table, and the index of whatever is kept per command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(u16);

impl CommandId {
    /// The id as an index; always less than `CommandTable::len`.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One command, or one sub-command.
///
/// It is plain data, and small, because every request looks at one.
#[derive(Clone, Debug)]
pub struct Command {
    /// The name, or of a sub-command the part after the bar.
    word: Word,
    keys: KeySpec,
    min_args: u32,
    max_args: u32,
    family: Family,
    id: CommandId,
    /// The command this is a sub-command of; itself if it is none.
    container: CommandId,
    first_subcommand: u16,
    subcommand_count: u8,
    rights: Rights,
    flags: u8,
    name: Cow<'static, str>,
}

impl Command {
    /// Its place in the table.
    #[must_use]
    pub fn id(&self) -> CommandId {
        self.id
    }

    /// The name as Redis writes it: lower case, and `object|encoding` for a sub-command.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The command this is a sub-command of; its own id if it is none.
    #[must_use]
    pub fn container(&self) -> CommandId {
        self.container
    }

    /// Whether it is a sub-command.
    #[must_use]
    pub fn is_subcommand(&self) -> bool {
        self.container != self.id
    }

    /// Whether its second word may name a sub-command.
    #[must_use]
    pub fn has_subcommands(&self) -> bool {
        self.subcommand_count != 0
    }

    /// The fewest arguments it takes, the command word (and sub-command word) included.
    #[must_use]
    pub fn min_args(&self) -> usize {
        self.min_args as usize
    }

    /// The most arguments it takes, `None` if that is for the server to say.
    ///
    /// Only commands that the proxy itself answers and custom commands have such a limit:
    /// what a later server accepts must not fail here.
    #[must_use]
    pub fn max_args(&self) -> Option<usize> {
        (self.max_args != NO_LIMIT).then_some(self.max_args as usize)
    }

    /// Whether `count` arguments, the command word included, are neither too few nor too many.
    #[must_use]
    #[inline]
    pub fn accepts(&self, count: usize) -> bool {
        (self.min_args as usize..=self.max_args as usize).contains(&count)
    }

    /// What a client must be allowed to do.
    #[must_use]
    #[inline]
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// What happens to it.
    #[must_use]
    #[inline]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Which of its arguments are keys.
    #[must_use]
    #[inline]
    pub fn keys(&self) -> KeySpec {
        self.keys
    }

    /// Whether its only key is its first argument: the common case, which needs no search.
    #[must_use]
    #[inline]
    pub fn key_at_1(&self) -> bool {
        self.flags & flag::KEY_AT_1 != 0
    }

    /// Whether it goes to the server of its first argument and there is no more to it, as of most
    /// requests.
    #[must_use]
    #[inline]
    pub fn is_direct(&self) -> bool {
        self.flags & flag::DIRECT != 0
    }

    /// Whether only a master may execute it.
    #[must_use]
    #[inline]
    pub fn needs_master(&self) -> bool {
        self.flags & flag::MASTER != 0
    }

    /// Whether it may be sent a second time when nobody knows what became of the first: it
    /// changes nothing, and the second answer is as good as the first.
    #[must_use]
    #[inline]
    pub fn retry_safe(&self) -> bool {
        self.flags & flag::RETRY_SAFE != 0
    }

    /// Whether a client may send it before it has logged in, and whatever its rights are.
    #[must_use]
    #[inline]
    pub fn always_allowed(&self) -> bool {
        self.flags & flag::ALWAYS_ALLOWED != 0
    }

    /// Whether a `CustomCommand` block defined it.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        self.flags & flag::CUSTOM != 0
    }

    /// Whether this request would wait at the server until something happens.
    ///
    /// Some commands always may; XREAD and XREADGROUP only do when they say BLOCK. The
    /// arguments are those of the request: `argument(0)` is the command word.
    pub fn blocks<'a>(&self, count: usize, argument: impl Fn(usize) -> &'a [u8]) -> bool {
        match self.family {
            Family::Blocking => true,
            Family::StreamRead => key_spec::has_block(count, argument),
            _ => false,
        }
    }
}

/// The `max_args` of a command that takes any number.
const NO_LIMIT: u32 = u32::MAX;

/// Bits of `Command::flags`.
mod flag {
    pub const KEY_AT_1: u8 = 1;
    pub const MASTER: u8 = 2;
    pub const RETRY_SAFE: u8 = 4;
    pub const ALWAYS_ALLOWED: u8 = 8;
    pub const CUSTOM: u8 = 16;
    /// A read that must not be sent twice.
    pub const ONCE: u8 = 32;
    /// A custom command of an earlier configuration, of which only the id is left.
    pub const RETIRED: u8 = 64;
    /// Of the family `Keyed`, with its only key at 1.
    pub const DIRECT: u8 = 128;
}
