//! Where a server or a listener is, as a value.
//!
//! Knows how addresses are written in predixy's files, in CLUSTER NODES and in redirections;
//! it never resolves a name.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// A place that can be listened on or connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// A numeric IPv4 or IPv6 address with its port.
    Ip(SocketAddr),
    /// A host name, to be resolved each time it is connected to.
    Host {
        /// The name, in lower case.
        name: Box<str>,
        /// The TCP port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// There is no `:port` at the end.
    NoPort,
    /// What stands after the last colon is not a number from 0 to 65535.
    BadPort,
    /// Nothing stands before the port.
    NoHost,
    /// What stands before the port is neither an address nor a host name.
    BadHost,
}

impl Address {
    /// Reads `host:port`, `1.2.3.4:port`, `[v6]:port`, predixy's unbracketed `v6:port`, or
    /// `/path`. The port is what follows the last colon.
    ///
    /// # Errors
    ///
    /// Says which part is wrong.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        if text.starts_with('/') {
            return Ok(Address::Unix(PathBuf::from(text)));
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
        if port.ends_with(']') {
            return Err(AddressError::NoPort);
        }
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AddressError::BadPort);
        }
        let port = port.parse().map_err(|_| AddressError::BadPort)?;
        Address::from_host(host, port)
    }

    /// An address of a host, which may be numeric (IPv6 with or without brackets), and a port.
    ///
    /// # Errors
    ///
    /// [`AddressError::NoHost`] or [`AddressError::BadHost`].
    pub fn from_host(host: &str, port: u16) -> Result<Address, AddressError> {
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        if let Some(inner) = host.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(AddressError::BadHost)?;
            let ip: Ipv6Addr = inner.parse().map_err(|_| AddressError::BadHost)?;
            return Ok(Address::Ip(SocketAddr::new(IpAddr::V6(ip), port)));
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Address::Ip(SocketAddr::new(ip, port)));
        }
        if !host.bytes().all(is_host_byte) {
            return Err(AddressError::BadHost);
        }
        Ok(Address::Host { name: host.to_ascii_lowercase().into(), port })
    }

    /// The same host with another port; a Unix socket has none and stays as it is.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Address {
        match self {
            Address::Ip(ip) => Address::Ip(SocketAddr::new(ip.ip(), port)),
            Address::Host { name, .. } => Address::Host { name: name.clone(), port },
            Address::Unix(path) => Address::Unix(path.clone()),
        }
    }
}

/// Names on the inside of a network use `_` too. `*` is every local address.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'*')
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => write!(f, "{ip}"),
            Address::Host { name, port } => write!(f, "{name}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressError::NoPort => "has no port: expected host:port or /path",
            AddressError::BadPort => "has no valid port: expected a number from 0 to 65535",
            AddressError::NoHost => "has no host before the port",
            AddressError::BadHost => "has neither an IP address nor a host name before the port",
        })
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<&str, AddressError>) {
        let got = Address::parse(text).map(|address| address.to_string());
        assert_eq!(got.as_deref().map_err(|error| *error), want);
    }

    #[test]
    fn addresses_are_read_and_written_back() {
        check("127.0.0.1:7617", Ok("127.0.0.1:7617"));
        check("[::1]:7617", Ok("[::1]:7617"));
        check("::1:7617", Ok("[::1]:7617"));
        check(":::7617", Ok("[::]:7617"));
        check("2001:db8::1:6379", Ok("[2001:db8::1]:6379"));
        check("Redis-1.example.internal:6379", Ok("redis-1.example.internal:6379"));
        check("/tmp/predixy", Ok("/tmp/predixy"));
        check("*:7617", Ok("*:7617"));
    }

    #[test]
    fn what_is_no_address_says_why() {
        check("127.0.0.1", Err(AddressError::NoPort));
        check("[::1]", Err(AddressError::NoPort));
        check("", Err(AddressError::NoPort));
        check(":7617", Err(AddressError::NoHost));
        check("localhost:65536", Err(AddressError::BadPort));
        check("localhost:", Err(AddressError::BadPort));
        check("localhost:+1", Err(AddressError::BadPort));
        check("[::1:7617", Err(AddressError::BadHost));
        check("a b:1", Err(AddressError::BadHost));
        check("::1", Err(AddressError::BadHost));
    }

    #[test]
    fn the_port_can_be_changed() {
        let address = Address::parse("[::1]:1").unwrap().with_port(2);
        assert_eq!(address.to_string(), "[::1]:2");
    }
}
