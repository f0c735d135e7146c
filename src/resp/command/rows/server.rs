//! Commands about the connection, channels, transactions, scripts and servers.

use super::super::specs::{GLOB_ALL, NAME_1, NAME_ALL, NAME_FROM_2, READ_ALL};
use super::super::{
    ClientCommand, ClusterCommand, ConfigCommand, Family, Listing, LocalCommand, Merge,
    ProxyCommand, PubSubCommand, Refusal, Rights, ScriptCommand, SlowlogCommand,
    TransactionCommand,
};
use super::{Row, container, keyless, refused, unshared};
use Family::{AnyServer, FanOut, OneMaster, Script};
use Rights::{Admin, Read, Write};

const fn local(name: &'static str, min_args: u32, rights: Rights, command: LocalCommand) -> Row {
    keyless(name, min_args, rights, Family::Local(command))
}

const fn client(name: &'static str, min_args: u32, rights: Rights, command: ClientCommand) -> Row {
    local(name, min_args, rights, LocalCommand::Client(command))
}

const fn config(name: &'static str, min_args: u32, command: ConfigCommand) -> Row {
    local(name, min_args, Admin, LocalCommand::Config(command))
}

const fn slowlog(name: &'static str, min_args: u32, command: SlowlogCommand) -> Row {
    local(name, min_args, Admin, LocalCommand::Slowlog(command))
}

const fn proxy(name: &'static str, min_args: u32, command: ProxyCommand) -> Row {
    local(name, min_args, Admin, LocalCommand::Proxy(command))
}

const fn cluster(name: &'static str, args: u32, command: ClusterCommand) -> Row {
    keyless(name, args, Read, Family::Cluster(command)).exact()
}

const fn cluster_admin(name: &'static str, args: u32, command: ClusterCommand) -> Row {
    keyless(name, args, Admin, Family::Cluster(command)).exact()
}

const fn cluster_change(name: &'static str, min_args: u32) -> Row {
    keyless(name, min_args, Admin, Family::Refused(Refusal::ClusterChange))
}

const fn transaction(name: &'static str, min_args: u32, command: TransactionCommand) -> Row {
    keyless(name, min_args, Write, Family::Transaction(command))
}

const fn pub_sub(name: &'static str, min_args: u32, command: PubSubCommand) -> Row {
    keyless(name, min_args, Write, Family::PubSub(command)).keys(NAME_ALL)
}

const fn pub_sub_count(name: &'static str, command: PubSubCommand) -> Row {
    keyless(name, 2, Read, Family::PubSub(command))
}

const fn tracking(name: &'static str, min_args: u32) -> Row {
    keyless(name, min_args, Read, Family::Refused(Refusal::Tracking))
}

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // The connection.
    local("auth", 2, Read, LocalCommand::Auth).always_allowed(),
    local("echo", 2, Read, LocalCommand::Echo).exact(),
    local("hello", 1, Read, LocalCommand::Hello).always_allowed(),
    local("ping", 1, Read, LocalCommand::Ping).at_most(2).always_allowed(),
    local("quit", 1, Read, LocalCommand::Quit).always_allowed(),
    local("asking", 1, Read, LocalCommand::Asking).exact(),
    local("readonly", 1, Read, LocalCommand::Readonly).exact(),
    local("readwrite", 1, Read, LocalCommand::Readwrite).exact(),
    local("reset", 1, Read, LocalCommand::Reset).exact().always_allowed(),
    local("select", 2, Read, LocalCommand::Select).exact(),
    container("client", &[
        client("client|caching", 3, Read, ClientCommand::Caching).exact(),
        client("client|capa", 3, Read, ClientCommand::Capa),
        client("client|getname", 2, Read, ClientCommand::GetName).exact(),
        client("client|getredir", 2, Read, ClientCommand::GetRedirection).exact(),
        client("client|help", 2, Read, ClientCommand::Help).exact(),
        client("client|id", 2, Read, ClientCommand::Id).exact(),
        unshared("client|import-source", 3),
        client("client|info", 2, Read, ClientCommand::Info).exact(),
        client("client|kill", 3, Admin, ClientCommand::Kill),
        client("client|list", 2, Admin, ClientCommand::List),
        client("client|no-evict", 3, Admin, ClientCommand::NoEvict).exact(),
        client("client|no-touch", 3, Read, ClientCommand::NoTouch).exact(),
        client("client|pause", 3, Admin, ClientCommand::Pause),
        client("client|reply", 3, Read, ClientCommand::Reply).exact(),
        client("client|setinfo", 4, Read, ClientCommand::SetInfo).exact(),
        client("client|setname", 3, Read, ClientCommand::SetName).exact(),
        tracking("client|tracking", 3),
        client("client|trackinginfo", 2, Read, ClientCommand::TrackingInfo).exact(),
        client("client|unblock", 3, Admin, ClientCommand::Unblock),
        client("client|unpause", 2, Admin, ClientCommand::Unpause).exact(),
    ]),

    // Channels.
    pub_sub("psubscribe", 2, PubSubCommand::PatternSubscribe).keys(GLOB_ALL),
    pub_sub("publish", 3, PubSubCommand::Publish).keys(NAME_1).exact(),
    pub_sub("punsubscribe", 1, PubSubCommand::PatternUnsubscribe).keys(GLOB_ALL),
    pub_sub("spublish", 3, PubSubCommand::ShardPublish).keys(NAME_1).exact(),
    pub_sub("ssubscribe", 2, PubSubCommand::ShardSubscribe),
    pub_sub("subscribe", 2, PubSubCommand::Subscribe),
    pub_sub("sunsubscribe", 1, PubSubCommand::ShardUnsubscribe),
    pub_sub("unsubscribe", 1, PubSubCommand::Unsubscribe),
    container("pubsub", &[
        keyless("pubsub|channels", 2, Read, FanOut(Merge::Union)),
        keyless("pubsub|help", 2, Read, AnyServer),
        pub_sub_count("pubsub|numpat", PubSubCommand::NumPat).exact(),
        pub_sub_count("pubsub|numsub", PubSubCommand::NumSub).keys(NAME_FROM_2),
        keyless("pubsub|shardchannels", 2, Read, FanOut(Merge::Union)),
        pub_sub_count("pubsub|shardnumsub", PubSubCommand::ShardNumSub).keys(NAME_FROM_2),
    ]),

    // Transactions.
    transaction("discard", 1, TransactionCommand::Discard).exact(),
    transaction("exec", 1, TransactionCommand::Exec).exact(),
    transaction("multi", 1, TransactionCommand::Multi).exact(),
    transaction("unwatch", 1, TransactionCommand::Unwatch).exact(),
    transaction("watch", 2, TransactionCommand::Watch).keys(READ_ALL),

    // Scripts and functions.
    container("script", &[
        refused("script|debug", 3),
        keyless("script|exists", 3, Write, FanOut(Merge::MinEach)),
        keyless("script|flush", 2, Write, Script(ScriptCommand::Flush)),
        keyless("script|help", 2, Read, AnyServer),
        keyless("script|kill", 2, Write, FanOut(Merge::FirstGood)),
        keyless("script|load", 3, Write, Script(ScriptCommand::Load)).exact(),
        keyless("script|show", 3, Write, FanOut(Merge::FirstGood)),
    ]),
    container("function", &[
        keyless("function|delete", 3, Write, FanOut(Merge::AllOk)),
        keyless("function|dump", 2, Read, AnyServer),
        keyless("function|flush", 2, Write, FanOut(Merge::AllOk)),
        keyless("function|help", 2, Read, AnyServer),
        keyless("function|kill", 2, Write, FanOut(Merge::FirstGood)),
        keyless("function|list", 2, Read, AnyServer),
        keyless("function|load", 3, Write, FanOut(Merge::Same)),
        keyless("function|restore", 3, Write, FanOut(Merge::AllOk)),
        keyless("function|stats", 2, Read, AnyServer),
    ]),

    // What every server can answer.
    keyless("command", 1, Read, Family::Listing(Listing::Entries)).subcommands(&[
        keyless("command|count", 2, Read, Family::Listing(Listing::Count)),
        keyless("command|docs", 2, Read, Family::Listing(Listing::Docs)),
        keyless("command|getkeys", 3, Read, AnyServer),
        keyless("command|getkeysandflags", 3, Read, AnyServer),
        keyless("command|help", 2, Read, AnyServer),
        keyless("command|info", 2, Read, Family::Listing(Listing::Info)),
        keyless("command|list", 2, Read, Family::Listing(Listing::Names)),
    ]),
    keyless("lolwut", 1, Read, AnyServer),
    keyless("time", 1, Read, OneMaster),
    keyless("lastsave", 1, Read, FanOut(Merge::Min)),

    // The proxy's own affairs.
    local("host:", 1, Read, LocalCommand::Http).always_allowed(),
    local("post", 1, Read, LocalCommand::Http).always_allowed(),
    local("bigkeys", 1, Admin, LocalCommand::BigKeys).at_most(2),
    local("hotkeys", 1, Admin, LocalCommand::HotKeys).at_most(2),
    local("info", 1, Read, LocalCommand::Info),
    local("monitor", 1, Admin, LocalCommand::Monitor).exact(),
    local("role", 1, Read, LocalCommand::Role).exact(),
    container("config", &[
        config("config|get", 3, ConfigCommand::Get),
        config("config|help", 2, ConfigCommand::Help).exact(),
        config("config|reload", 2, ConfigCommand::Reload).exact(),
        config("config|resetstat", 2, ConfigCommand::ResetStat).exact(),
        keyless("config|rewrite", 2, Admin, Family::Refused(Refusal::OwnFile)),
        config("config|set", 4, ConfigCommand::Set),
    ]),
    container("latency", &[
        keyless("latency|doctor", 2, Admin, Family::Undivided),
        keyless("latency|graph", 3, Admin, Family::Undivided),
        keyless("latency|help", 2, Read, AnyServer),
        keyless("latency|histogram", 2, Admin, Family::Undivided),
        keyless("latency|history", 3, Admin, FanOut(Merge::Concat)),
        keyless("latency|latest", 2, Admin, FanOut(Merge::Concat)),
        keyless("latency|reset", 2, Admin, FanOut(Merge::Sum)),
    ]),
    container("proxy", &[
        proxy("proxy|commands", 2, ProxyCommand::Commands).exact(),
        proxy("proxy|help", 2, ProxyCommand::Help).exact(),
        proxy("proxy|pause", 2, ProxyCommand::Pause).at_most(3),
        proxy("proxy|resume", 2, ProxyCommand::Resume).exact(),
    ]),
    container("slowlog", &[
        slowlog("slowlog|get", 2, SlowlogCommand::Get).at_most(3),
        slowlog("slowlog|help", 2, SlowlogCommand::Help).exact(),
        slowlog("slowlog|len", 2, SlowlogCommand::Len).exact(),
        slowlog("slowlog|reset", 2, SlowlogCommand::Reset).exact(),
    ]),

    // A cluster, as which the proxy presents itself.
    container("cluster", &[
        cluster_change("cluster|addslots", 3),
        cluster_change("cluster|addslotsrange", 4),
        cluster_change("cluster|bumpepoch", 2),
        cluster_change("cluster|cancelslotmigrations", 2),
        cluster_admin("cluster|count-failure-reports", 3, ClusterCommand::CountFailureReports),
        cluster("cluster|countkeysinslot", 3, ClusterCommand::CountKeysInSlot),
        cluster_change("cluster|delslots", 3),
        cluster_change("cluster|delslotsrange", 4),
        cluster_change("cluster|failover", 2),
        cluster_change("cluster|flushslot", 3),
        cluster_change("cluster|flushslots", 2),
        cluster_change("cluster|forget", 3),
        cluster("cluster|getkeysinslot", 4, ClusterCommand::GetKeysInSlot),
        refused("cluster|getslotmigrations", 2),
        cluster("cluster|help", 2, ClusterCommand::Help),
        cluster("cluster|info", 2, ClusterCommand::Info),
        cluster("cluster|keyslot", 3, ClusterCommand::KeySlot),
        cluster("cluster|links", 2, ClusterCommand::Links),
        cluster_change("cluster|meet", 4),
        cluster_change("cluster|migrateslots", 4),
        cluster_change("cluster|migration", 3),
        cluster("cluster|myid", 2, ClusterCommand::MyId),
        cluster("cluster|myshardid", 2, ClusterCommand::MyShardId),
        cluster("cluster|nodes", 2, ClusterCommand::Nodes),
        cluster_admin("cluster|replicas", 3, ClusterCommand::Replicas),
        cluster_change("cluster|replicate", 3),
        cluster_change("cluster|reset", 2),
        cluster_change("cluster|saveconfig", 2),
        cluster_change("cluster|set-config-epoch", 3),
        cluster_change("cluster|setslot", 4),
        cluster("cluster|shards", 2, ClusterCommand::Shards),
        cluster_admin("cluster|slaves", 3, ClusterCommand::Replicas),
        refused("cluster|slot-stats", 4),
        cluster("cluster|slots", 2, ClusterCommand::Slots),
        cluster_change("cluster|syncslots", 3),
    ]),
    refused("clusterscan", 2),

    // What belongs to one server, and must be told to it directly.
    container("acl", &[
        refused("acl|cat", 2),
        refused("acl|deluser", 3),
        refused("acl|dryrun", 4),
        refused("acl|genpass", 2),
        refused("acl|getuser", 3),
        refused("acl|help", 2),
        refused("acl|list", 2),
        refused("acl|load", 2),
        refused("acl|log", 2),
        refused("acl|save", 2),
        refused("acl|setuser", 3),
        refused("acl|users", 2),
        local("acl|whoami", 2, Read, LocalCommand::WhoAmI).exact(),
    ]),
    refused("bgrewriteaof", 1),
    refused("bgsave", 1),
    container("commandlog", &[
        refused("commandlog|get", 4),
        refused("commandlog|help", 2),
        refused("commandlog|len", 3),
        refused("commandlog|reset", 3),
    ]),
    refused("debug", 2),
    refused("failover", 1),
    container("module", &[
        refused("module|help", 2),
        refused("module|list", 2),
        refused("module|load", 3),
        refused("module|loadex", 3),
        refused("module|unload", 3),
    ]),
    unshared("psync", 3),
    unshared("replconf", 1),
    refused("replicaof", 3),
    refused("save", 1),
    refused("shutdown", 1),
    refused("slaveof", 3),
    unshared("sync", 1),
    unshared("wait", 3),
    unshared("waitaof", 4),
];
