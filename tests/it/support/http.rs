//! The little of HTTP that a test needs to look at the proxy's status.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::{Proxy, SOON};

/// A line of the configuration for a proxy of which [`metrics_of`] knows where to ask.
pub const METRICS: &str = "MetricsBind {dir}/metrics.sock\n";

/// A whole reply.
#[derive(Debug)]
pub struct HttpReply {
    /// `200` and the like; 0 if there was none.
    pub status: u32,
    /// The lines before the body.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Where a proxy with [`METRICS`] in its configuration answers.
pub fn metrics_of(proxy: &Proxy) -> PathBuf {
    proxy.scratch().path().join("metrics.sock")
}

/// Asks for a path.
#[track_caller]
pub fn get(proxy: &Proxy, path: &str) -> HttpReply {
    ask(&metrics_of(proxy), format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
}

/// Sends these bytes and reads until the other side closes.
#[track_caller]
pub fn ask(socket: &Path, request: &[u8]) -> HttpReply {
    let mut stream = UnixStream::connect(socket).expect("somebody answers over HTTP");
    stream.set_read_timeout(Some(SOON)).expect("a time-out");
    stream.write_all(request).expect("the request is taken");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("a reply, and its end");
    let reply = String::from_utf8_lossy(&reply).into_owned();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    HttpReply { status, head: head.to_owned(), body: body.to_owned() }
}
