//! What happens to a command.
//!
//! A `Family` is a decision that depends on the command alone. Where a key lives, who may
//! touch it and which server is well are questions for those who know servers and clients.

/// What happens to a command: every fate there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Passed to the owner of its keys, which must all be in one place. Without a key it
    /// may run on any server that its rights allow. MSETNX is here, because it cannot be
    /// atomic in two places.
    Keyed,
    /// Divided by key when its keys live in several places, and merged again.
    Split(Merge),
    /// Sent to every master.
    FanOut(Merge),
    /// Concerns all keys at once in a way that cannot be merged: passed on where one master
    /// has them all, refused where several share them.
    Undivided,
    /// SCAN: one master after the other.
    Scan,
    /// RANDOMKEY: any master that is not empty.
    RandomKey,
    /// Concerns the script cache of the servers; EVAL and EVALSHA otherwise are `Keyed`.
    Script(ScriptCommand),
    /// `Keyed`, but it may wait at the server, so it needs a connection to itself.
    Blocking,
    /// XREAD and XREADGROUP: `Blocking` if `Command::blocks` says so. XREAD, which changes
    /// nothing, is otherwise divided by key and merged by `Merge::Named`; XREADGROUP is `Keyed`.
    StreamRead,
    /// MULTI and what belongs to it.
    Transaction(TransactionCommand),
    /// Channels and their messages.
    PubSub(PubSubCommand),
    /// Answered by the proxy itself.
    Local(LocalCommand),
    /// The same on every server, so any may answer.
    AnyServer,
    /// Not quite the same on every server, and one is as good as another: always the same master
    /// is asked, for as long as it is there.
    OneMaster,
    /// COMMAND and those of its sub-commands that list what there is: asked from any server, and
    /// shown without what is disabled.
    Listing(Listing),
    /// What a client of a cluster asks to find its way; answered for the proxy as a whole.
    Cluster(ClusterCommand),
    /// Not a command by itself, its second word says what it is: see `CommandTable::resolve`.
    Container,
    /// Answered with an error.
    Refused(Refusal),
}

/// How the replies to the parts of a request become its one reply.
///
/// Except for `FirstGood`, an error in any part is the reply of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The integers are added.
    Sum,
    /// The smallest integer.
    Min,
    /// OK, when every part says so.
    AllOk,
    /// The parts say the same, and the reply is any of them.
    Same,
    /// The first reply that is no error; if all are, one of them.
    FirstGood,
    /// The arrays become one. Of a request split by key (MGET): in the order of its keys.
    Concat,
    /// Of a request split by key (XREAD): the replies tell something about some of the keys, and
    /// name them. They become one that does so in the order of the keys; nil if all are nil.
    Named,
    /// The arrays become one in which every element appears once.
    Union,
    /// The arrays are equally long; of the integers at one place the smallest remains.
    MinEach,
}

/// Commands about scripts that need more than routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptCommand {
    /// EVAL and EVAL_RO: the body is argument 1.
    Eval,
    /// EVALSHA and EVALSHA_RO: the digest is argument 1; NOSCRIPT may be cured.
    EvalSha,
    /// SCRIPT LOAD: to every master, and remembered.
    Load,
    /// SCRIPT FLUSH: to every master, and what is remembered is forgotten.
    Flush,
}

/// The transaction commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionCommand {
    /// Begins one.
    Multi,
    /// Runs what was queued.
    Exec,
    /// Drops what was queued.
    Discard,
    /// Makes EXEC depend on keys not having changed.
    Watch,
    /// Ends that dependency.
    Unwatch,
}

/// The commands about channels; their key specification names the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubSubCommand {
    /// SUBSCRIBE.
    Subscribe,
    /// UNSUBSCRIBE.
    Unsubscribe,
    /// PSUBSCRIBE.
    PatternSubscribe,
    /// PUNSUBSCRIBE.
    PatternUnsubscribe,
    /// SSUBSCRIBE.
    ShardSubscribe,
    /// SUNSUBSCRIBE.
    ShardUnsubscribe,
    /// PUBLISH.
    Publish,
    /// SPUBLISH.
    ShardPublish,
    /// PUBSUB NUMSUB.
    NumSub,
    /// PUBSUB SHARDNUMSUB.
    ShardNumSub,
    /// PUBSUB NUMPAT.
    NumPat,
}

/// The commands that the proxy answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalCommand {
    /// PING, with an argument or without.
    Ping,
    /// ECHO.
    Echo,
    /// AUTH.
    Auth,
    /// HELLO.
    Hello,
    /// RESET.
    Reset,
    /// SELECT.
    Select,
    /// QUIT.
    Quit,
    /// ASKING, accepted: the proxy follows redirections by itself.
    Asking,
    /// ACL WHOAMI: the user of the `Auth` block that the client has logged in with.
    WhoAmI,
    /// READONLY: reads of this client follow the proxy's own policy.
    Readonly,
    /// READWRITE: they go to masters.
    Readwrite,
    /// ROLE: the proxy presents itself as a master without replicas.
    Role,
    /// CLIENT and a sub-command.
    Client(ClientCommand),
    /// INFO.
    Info,
    /// CONFIG and a sub-command.
    Config(ConfigCommand),
    /// SLOWLOG and a sub-command.
    Slowlog(SlowlogCommand),
    /// MONITOR.
    Monitor,
    /// HOTKEYS, the proxy's own: keys asked for most often.
    HotKeys,
    /// BIGKEYS, the proxy's own: keys that moved most bytes.
    BigKeys,
    /// POST and HOST:, which begin the lines of an HTTP request: a browser was lured here to
    /// send commands in its body. The connection is closed at once, as Redis does.
    Http,
    /// PROXY and a sub-command, the proxy's own.
    Proxy(ProxyCommand),
}

/// The sub-commands of CLIENT that work on the proxy's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCommand {
    /// CLIENT CACHING: there is no client-side caching.
    Caching,
    /// CLIENT CAPA: no capability a client may announce changes what the proxy does.
    Capa,
    /// CLIENT GETNAME.
    GetName,
    /// CLIENT GETREDIR: nor are invalidations sent elsewhere.
    GetRedirection,
    /// CLIENT HELP.
    Help,
    /// CLIENT ID.
    Id,
    /// CLIENT INFO.
    Info,
    /// CLIENT KILL.
    Kill,
    /// CLIENT LIST.
    List,
    /// CLIENT NO-EVICT.
    NoEvict,
    /// CLIENT NO-TOUCH.
    NoTouch,
    /// CLIENT PAUSE.
    Pause,
    /// CLIENT REPLY.
    Reply,
    /// CLIENT SETINFO.
    SetInfo,
    /// CLIENT SETNAME.
    SetName,
    /// CLIENT TRACKINGINFO: nor is anything tracked.
    TrackingInfo,
    /// CLIENT UNBLOCK.
    Unblock,
    /// CLIENT UNPAUSE.
    Unpause,
}

/// The sub-commands of CONFIG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigCommand {
    /// CONFIG GET.
    Get,
    /// CONFIG HELP.
    Help,
    /// CONFIG RELOAD, the proxy's own: reads the file again.
    Reload,
    /// CONFIG RESETSTAT.
    ResetStat,
    /// CONFIG SET.
    Set,
}

/// The sub-commands of SLOWLOG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowlogCommand {
    /// SLOWLOG GET.
    Get,
    /// SLOWLOG HELP.
    Help,
    /// SLOWLOG LEN.
    Len,
    /// SLOWLOG RESET.
    Reset,
}

/// The sub-commands of PROXY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyCommand {
    /// PROXY COMMANDS: the command table as the proxy applies it.
    Commands,
    /// PROXY HELP.
    Help,
    /// PROXY PAUSE: dispatch nothing more.
    Pause,
    /// PROXY RESUME: dispatch again.
    Resume,
}

/// What COMMAND lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// COMMAND: an entry for each command.
    Entries,
    /// COMMAND INFO: an entry for each command that is named, or for all.
    Info,
    /// COMMAND DOCS: what there is to read about each.
    Docs,
    /// COMMAND LIST: their names.
    Names,
    /// COMMAND COUNT: how many there are.
    Count,
}

/// The sub-commands of CLUSTER that a client of a cluster needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterCommand {
    /// CLUSTER COUNT-FAILURE-REPORTS.
    CountFailureReports,
    /// CLUSTER COUNTKEYSINSLOT: asked from the owner of the slot.
    CountKeysInSlot,
    /// CLUSTER GETKEYSINSLOT: asked from the owner of the slot.
    GetKeysInSlot,
    /// CLUSTER HELP.
    Help,
    /// CLUSTER INFO.
    Info,
    /// CLUSTER KEYSLOT.
    KeySlot,
    /// CLUSTER LINKS.
    Links,
    /// CLUSTER MYID.
    MyId,
    /// CLUSTER MYSHARDID.
    MyShardId,
    /// CLUSTER NODES.
    Nodes,
    /// CLUSTER REPLICAS, and CLUSTER SLAVES.
    Replicas,
    /// CLUSTER SHARDS.
    Shards,
    /// CLUSTER SLOTS.
    Slots,
}

/// Why a command is answered with an error; `error_text::refused` has the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It concerns one server.
    OneServer,
    /// It concerns the connection to a server, which clients share.
    OneConnection,
    /// It changes a cluster.
    ClusterChange,
    /// Client-side caching: the servers would send their invalidations to the proxy.
    Tracking,
    /// It would write to the configuration.
    OwnFile,
    /// The configuration disables it.
    Disabled,
}
