//! The replies that the proxy gives of its own, as bytes ready to be sent.
//!
//! Where Redis has a reply for the case the text is Redis's, because client libraries match on
//! it. Elsewhere it is predixy's, misspellings included, because scripts match on that.

use crate::resp::writer::Protocol;

/// A request takes more memory than there is.
pub const TOO_MUCH_MEMORY: &[u8] = b"-ERR the request takes more memory than MaxMemory leaves\r\n";
/// The command was done.
pub const OK: &[u8] = b"+OK\r\n";
/// `PING` without an argument.
pub const PONG: &[u8] = b"+PONG\r\n";
/// The command waits for EXEC.
pub const QUEUED: &[u8] = b"+QUEUED\r\n";
/// EXEC had nothing to do.
pub const EMPTY_ARRAY: &[u8] = b"*0\r\n";
/// EXEC did nothing, because a command could not be queued.
pub const EXEC_ABORT: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";
/// EXEC outside a transaction.
pub const EXEC_WITHOUT_MULTI: &[u8] = b"-ERR EXEC without MULTI\r\n";
/// DISCARD outside a transaction.
pub const DISCARD_WITHOUT_MULTI: &[u8] = b"-ERR DISCARD without MULTI\r\n";
/// MULTI inside a transaction.
pub const NESTED_MULTI: &[u8] = b"-ERR MULTI calls can not be nested\r\n";
/// WATCH inside a transaction.
pub const WATCH_INSIDE_MULTI: &[u8] = b"-ERR WATCH inside MULTI is not allowed\r\n";
/// The client is as it was when it came.
pub const RESET: &[u8] = b"+RESET\r\n";
/// `HELLO 3` where servers speak RESP2 only.
pub const NO_PROTOCOL: &[u8] =
    b"-NOPROTO unsupported protocol version: the servers behind the proxy do not speak RESP3\r\n";
/// A server has answered HELLO with something else than who it is.
pub const UNEXPECTED_HELLO: &[u8] = b"-ERR unexpected reply of a server to HELLO\r\n";
/// There is no server that the request may be sent to.
pub const NO_SERVER: &[u8] = b"-ERR no server avaliable\r\n";
/// There is a server, but no connection to it: the request was never sent, it is safe to repeat.
pub const NO_SERVER_CONNECTION: &[u8] = b"-ERR no server connection avaliable\r\n";
/// The client speaks RESP3 and the server of its request does not; it was not sent.
pub const NO_RESP3: &[u8] =
    b"-ERR the server does not speak RESP3, which this client asked for; try HELLO 2\r\n";
/// The connection was lost, or its server too slow, after the request was sent: the server may
/// have executed it.
pub const SERVER_CONNECTION_CLOSE: &[u8] = b"-ERR server connection close\r\n";
/// The command waited at a server, and the proxy stops: nothing was done.
pub const UNBLOCKED: &[u8] = b"-UNBLOCKED the proxy is shutting down\r\n";
/// A server has redirected a request that was too large to be kept; nothing was done.
pub const MOVED_UPLOAD: &[u8] =
    b"-TRYAGAIN the slot of this large request has moved, and it was not kept; send it again\r\n";
/// Nobody owns the slot of the key.
pub const SLOT_NOT_SERVED: &[u8] = b"-CLUSTERDOWN Hash slot not served\r\n";
/// The keys of one command live in different places.
pub const CROSS_SLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";
/// `SELECT` of a database that is not there.
pub const DB_OUT_OF_RANGE: &[u8] = b"-ERR DB index is out of range\r\n";
/// `SELECT` of a number that no server takes for that of a database.
pub const BEYOND_32_BITS: &[u8] =
    b"-ERR value is out of range, value must between -2147483648 and 2147483647\r\n";
/// Where a number was expected.
pub const NOT_AN_INTEGER: &[u8] = b"-ERR value is not an integer or out of range\r\n";
/// `SLOWLOG GET` with a count below -1.
pub const WRONG_COUNT: &[u8] = b"-ERR count should be greater than or equal to -1\r\n";
/// A client beyond the limit; the connection is closed behind it.
pub const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";
/// A command in a state where Redis would not know what to do with it.
pub const SYNTAX_ERROR: &[u8] = b"-ERR syntax error\r\n";
/// One client is subscribed to more than anybody may be.
pub const TOO_MANY_SUBSCRIPTIONS: &[u8] = b"-ERR too many subscriptions of one client\r\n";
/// A client name with blanks or control characters; text without `-` and line end.
pub const BAD_CLIENT_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";
/// `CLIENT KILL` of an address that nobody has.
pub const NO_SUCH_CLIENT: &[u8] = b"-ERR No such client\r\n";
/// `CLIENT CACHING`, which only means something after `CLIENT TRACKING`.
pub const NOT_TRACKING: &[u8] = b"-ERR CLIENT CACHING can be called only when the client is in \
    tracking mode with OPTIN or OPTOUT mode enabled\r\n";
/// `CLIENT UNBLOCK` in another way than there is.
pub const UNBLOCK_REASON: &[u8] = b"-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n";
/// `CLIENT PAUSE` of something else.
pub const PAUSE_MODE: &[u8] = b"-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n";
/// Where a number of milliseconds was expected.
pub const TIMEOUT_NOT_AN_INTEGER: &[u8] = b"-ERR timeout is not an integer or out of range\r\n";
/// A time-out before now.
pub const TIMEOUT_NEGATIVE: &[u8] = b"-ERR timeout is negative\r\n";
/// The cursor of SCAN is none that the proxy has given.
pub const INVALID_CURSOR: &[u8] = b"-ERR invalid cursor\r\n";
/// SCAN has come to the end: there is no group left.
pub const SCAN_END: &[u8] = b"*2\r\n$1\r\n0\r\n*0\r\n";
/// A server's cursor leaves no room for what the proxy has to add.
pub const CURSOR_TOO_LARGE: &[u8] =
    b"-ERR the cursor of the server is too large to be passed on by the proxy\r\n";
/// A server has answered SCAN with something else than a cursor and keys.
pub const UNEXPECTED_SCAN: &[u8] = b"-ERR unexpected reply of a server to SCAN\r\n";

/// EXEC did nothing, because what was watched may have changed.
pub fn null_array(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Resp2 => b"*-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    }
}
