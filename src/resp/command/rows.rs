//! The facts about every command, as rows.
//!
//! A row is what the manual of Redis says about a command, and what the proxy does with it.
//! Minimum numbers of arguments are those of Redis, counted as Redis counts them: with the
//! command word, and with the sub-command word. Where servers differ the smallest holds. A
//! maximum is given only where nobody behind the proxy would notice one argument too many.
//!
//! Parts, in reading order:
//!
//! - `data`: keys and their values
//! - `server`: everything else that a server has
//! - `modules`: the modules that are bundled with servers

mod data;
mod server;
mod modules;

use super::specs;
use super::{Family, KeySpec, NO_LIMIT, Refusal, Rights, flag};

/// One command, or one sub-command.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// In lower case; of a sub-command with its container, as in `object|encoding`.
    pub name: &'static str,
    pub min_args: u32,
    pub max_args: u32,
    pub rights: Rights,
    pub keys: KeySpec,
    pub family: Family,
    pub flags: u8,
    pub subcommands: &'static [Row],
}

/// Every command, in no order that matters.
pub(super) const GROUPS: &[&[Row]] = &[data::ROWS, server::ROWS, modules::ROWS];

/// How many commands and sub-commands there are.
pub(super) fn count() -> usize {
    GROUPS.iter().copied().flatten().map(|row| 1 + row.subcommands.len()).sum()
}

/// Whether predixy itself has this command, so that no custom command can be called so there.
pub(super) fn is_predixy(name: &str) -> bool {
    PREDIXY.split_ascii_whitespace().any(|known| known.eq_ignore_ascii_case(name))
}

impl Row {
    pub const fn new(
        name: &'static str,
        min_args: u32,
        rights: Rights,
        keys: KeySpec,
        family: Family,
    ) -> Row {
        let (max_args, flags, subcommands) = (NO_LIMIT, 0, &[]);
        Row { name, min_args, max_args, rights, keys, family, flags, subcommands }
    }

    const fn keys(self, keys: KeySpec) -> Row {
        Row { keys, ..self }
    }

    const fn family(self, family: Family) -> Row {
        Row { family, ..self }
    }

    /// Exactly as many arguments as the minimum.
    const fn exact(self) -> Row {
        Row { max_args: self.min_args, ..self }
    }

    const fn at_most(self, max_args: u32) -> Row {
        Row { max_args, ..self }
    }

    /// A read that only a master should execute.
    const fn at_master(self) -> Row {
        Row { flags: self.flags | flag::MASTER, ..self }
    }

    /// A read that must not be sent twice.
    const fn once(self) -> Row {
        Row { flags: self.flags | flag::ONCE, ..self }
    }

    /// Allowed before the client has logged in, and whatever its rights.
    const fn always_allowed(self) -> Row {
        Row { flags: self.flags | flag::ALWAYS_ALLOWED, ..self }
    }

    const fn subcommands(self, subcommands: &'static [Row]) -> Row {
        Row { subcommands, ..self }
    }

    /// Whether a server sees it as the client sent it.
    pub const fn reaches_servers(&self) -> bool {
        match self.family {
            Family::Keyed
            | Family::Split(_)
            | Family::FanOut(_)
            | Family::Undivided
            | Family::Scan
            | Family::RandomKey
            | Family::Script(_)
            | Family::Blocking
            | Family::StreamRead
            | Family::AnyServer
            | Family::OneMaster
            | Family::Listing(_)
            | Family::Cluster(_) => true,
            Family::Transaction(_)
            | Family::PubSub(_)
            | Family::Local(_)
            | Family::Container
            | Family::Refused(_) => false,
        }
    }
}

/// Reads the key that is its first argument.
const fn read(name: &'static str, min_args: u32) -> Row {
    Row::new(name, min_args, Rights::Read, specs::READ_1, Family::Keyed)
}

/// Writes the key that is its first argument.
const fn write(name: &'static str, min_args: u32) -> Row {
    Row::new(name, min_args, Rights::Write, specs::WRITE_1, Family::Keyed)
}

/// Has no key.
const fn keyless(name: &'static str, min_args: u32, rights: Rights, family: Family) -> Row {
    Row::new(name, min_args, rights, specs::NONE, family)
}

/// Is only what its second word says.
const fn container(name: &'static str, subcommands: &'static [Row]) -> Row {
    keyless(name, 2, Rights::Read, Family::Container).subcommands(subcommands)
}

/// Concerns one server, and is not available through the proxy; so it takes any arguments.
const fn refused(name: &'static str, min_args: u32) -> Row {
    keyless(name, min_args, Rights::Admin, Family::Refused(Refusal::OneServer))
}

/// The same for what concerns the connection to a server.
const fn unshared(name: &'static str, min_args: u32) -> Row {
    keyless(name, min_args, Rights::Admin, Family::Refused(Refusal::OneConnection))
}

/// The commands that a client of predixy can use.
const PREDIXY: &str = "
    append auth bitcount bitfield bitop bitpos blpop brpop brpoplpush command config decr decrby
    del discard dump echo eval evalsha exec exists expire expireat geoadd geodist geohash geopos
    georadius georadiusbymember get getbit getrange getset hdel hexists hget hgetall hincrby
    hincrbyfloat hkeys hlen hmget hmset hscan hset hsetnx hstrlen hvals incr incrby incrbyfloat
    info lindex linsert llen lpop lpush lpushx lrange lrem lset ltrim mget move mset msetnx multi
    persist pexpire pexpireat pfadd pfcount pfmerge ping psetex psubscribe pttl publish pubsub
    punsubscribe quit randomkey rename renamenx restore rpop rpoplpush rpush rpushx sadd scan scard
    script sdiff sdiffstore select set setbit setex setnx setrange sinter sinterstore sismember
    smembers smove sort spop srandmember srem sscan strlen subscribe sunion sunionstore touch ttl
    type unlink unsubscribe unwatch watch zadd zcard zcount zincrby zinterstore zlexcount zpopmax
    zpopmin zrange zrangebylex zrangebyscore zrank zrem zremrangebylex zremrangebyrank
    zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunionstore";
