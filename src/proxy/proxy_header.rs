//! What a proxy in front of us says of a client: the PROXY protocol, versions 1 and 2.
//!
//! One header stands before everything that a client sends. [`parse`] looks at what has come of it
//! so far and says whether it is all there; it remembers nothing, so that it does not matter in
//! which pieces a header comes. Knows no sockets and trusts nobody: whom to believe is a matter of
//! the configuration.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::sys::Peer;

/// The longest header that is taken. What the standard demands are 232 bytes; the rest is for
/// what a proxy may add, such as the certificate of a client.
pub const HEADER_MAX: usize = 16 << 10;

/// What came of looking at the bytes that have come so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// They begin a header, and more is needed.
    Incomplete,
    /// They begin with this header.
    Header(Header<'a>),
}

/// What a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header<'a> {
    /// Who the client is; `None` is whoever has connected, such as the proxy itself when it looks
    /// whether we are alive.
    pub source: Option<Peer>,
    /// The address that the client has reached the proxy by.
    pub destination: Option<SocketAddr>,
    /// The common name of the certificate that the client has shown, if the proxy has verified it.
    pub common_name: Option<&'a [u8]>,
    /// How many bytes it has. What follows is the client's own.
    pub length: usize,
}

/// Why something is no header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It begins with something else.
    NoHeader(Vec<u8>),
    /// A line of version 1 does not end.
    EndlessLine,
    /// A line of version 1 ends with a bare line feed.
    BareLineFeed,
    /// Version 1 with this instead of a protocol.
    Protocol(Vec<u8>),
    /// Version 1 with so many words behind the protocol.
    Words(usize),
    /// Version 1 with this as the address of one end.
    Address(Vec<u8>),
    /// Version 1 with this as a port.
    Port(Vec<u8>),
    /// The signature of version 2 and another version.
    Version(u8),
    /// Version 2 with this command.
    Command(u8),
    /// Version 2 with this family and transport.
    Family(u8),
    /// Version 2 that announces so many bytes in all.
    TooLong(usize),
    /// Version 2 with so few bytes behind the first 16, and how many it takes.
    NoAddresses(usize, usize),
    /// An additional value, of this kind, that reaches beyond the end of what it stands in.
    CutValue(u8),
    /// An additional value, of this kind, that has not the length that it must have.
    ValueLength(u8, usize),
    /// A checksum that is not that of the header.
    Checksum {
        /// What it should be.
        found: u32,
        /// What the header says.
        said: u32,
    },
}

/// How the line of version 1 begins.
const LINE_START: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included.
const LINE_MAX: usize = 107;
/// How version 2 begins: nothing that any other protocol would say.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The part of version 2 that says how long the rest is.
const FIXED: usize = 16;
/// So much of what is wrong is shown.
const SHOWN_MAX: usize = 48;

/// Kinds of additional values.
const TYPE_CRC32C: u8 = 0x03;
const TYPE_SSL: u8 = 0x20;
const TYPE_SSL_COMMON_NAME: u8 = 0x22;

/// Of the client's side of TLS: it was used, and a certificate was shown on this connection or on
/// an earlier one that this one resumes.
const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERTIFICATE: u8 = 0x02 | 0x04;

/// Looks at what has come so far of a header.
///
/// # Errors
///
/// Says why it is none, as soon as that can be told.
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, HeaderError> {
    let begins = |start: &[u8]| {
        let length = bytes.len().min(start.len());
        bytes[..length] == start[..length]
    };
    if begins(LINE_START) {
        if bytes.len() < LINE_START.len() { Ok(Parsed::Incomplete) } else { parse_line(bytes) }
    } else if begins(SIGNATURE) {
        if bytes.len() < FIXED { Ok(Parsed::Incomplete) } else { parse_binary(bytes) }
    } else {
        Err(HeaderError::NoHeader(shown(bytes)))
    }
}

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 6379` and the end of the line.
fn parse_line(bytes: &[u8]) -> Result<Parsed<'_>, HeaderError> {
    let window = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        let is_endless = bytes.len() >= LINE_MAX;
        return if is_endless { Err(HeaderError::EndlessLine) } else { Ok(Parsed::Incomplete) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(HeaderError::BareLineFeed)?;
    let mut words = line[LINE_START.len()..].split(|byte| *byte == b' ');
    let protocol = words.next().unwrap_or_default();
    let is_v4 = match protocol {
        b"TCP4" => true,
        b"TCP6" => false,
        // What else the line says does not count.
        b"UNKNOWN" => return Ok(Parsed::Header(Header { length: end + 1, ..Header::default() })),
        _ => return Err(HeaderError::Protocol(shown(protocol))),
    };
    let words: Vec<&[u8]> = words.collect();
    let [source, destination, source_port, destination_port] = words[..] else {
        return Err(HeaderError::Words(words.len()));
    };
    let source = SocketAddr::new(ip(source, is_v4)?, port(source_port)?);
    let destination = SocketAddr::new(ip(destination, is_v4)?, port(destination_port)?);
    Ok(Parsed::Header(Header {
        source: Some(Peer::Ip(source)),
        destination: Some(destination),
        common_name: None,
        length: end + 1,
    }))
}

fn ip(text: &[u8], is_v4: bool) -> Result<IpAddr, HeaderError> {
    let wrong = || HeaderError::Address(shown(text));
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    if is_v4 {
        return text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| wrong());
    }
    let address = text.parse::<Ipv6Addr>().map_err(|_| wrong())?;
    Ok(IpAddr::V6(address).to_canonical())
}

/// A decimal number without leading zeros.
fn port(text: &[u8]) -> Result<u16, HeaderError> {
    let wrong = || HeaderError::Port(shown(text));
    let has_leading_zero = text.len() > 1 && text[0] == b'0';
    if has_leading_zero || !text.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(wrong)
}

/// Version 2: the signature, what it is about, how long the rest is; addresses; additional values.
fn parse_binary(bytes: &[u8]) -> Result<Parsed<'_>, HeaderError> {
    let (what, family) = (bytes[12], bytes[13]);
    if what >> 4 != 2 {
        return Err(HeaderError::Version(what >> 4));
    }
    let length = FIXED + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if length > HEADER_MAX {
        return Err(HeaderError::TooLong(length));
    }
    let is_local = match what & 0xf {
        0 => true,
        1 => false,
        command => return Err(HeaderError::Command(command)),
    };
    let Some(header) = bytes.get(..length) else { return Ok(Parsed::Incomplete) };
    let rest = &header[FIXED..];
    let nothing = Header { length, ..Header::default() };
    if is_local {
        // The proxy itself wants something, and what else it says does not count.
        return Ok(Parsed::Header(nothing));
    }
    let addresses = match family {
        0x00 => return Ok(Parsed::Header(nothing)),
        // The second half tells streams from datagrams: those of HTTP/3, say, on their way to the
        // proxy.
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err(HeaderError::Family(family)),
    };
    let Some((addresses, values)) = rest.split_at_checked(addresses) else {
        return Err(HeaderError::NoAddresses(rest.len(), addresses));
    };
    let (source, destination) = match addresses.len() {
        12 => ends::<4>(addresses),
        36 => ends::<16>(addresses),
        _ => (Some(Peer::Unix), None),
    };
    let common_name = read_values(header, values)?;
    Ok(Parsed::Header(Header { source, destination, common_name, length }))
}

/// Both addresses, of `N` bytes each, and both ports behind them.
fn ends<const N: usize>(bytes: &[u8]) -> (Option<Peer>, Option<SocketAddr>)
where
    IpAddr: From<[u8; N]>,
{
    let end = |at: usize, port: usize| {
        let address = bytes.get(at..)?.first_chunk::<N>()?;
        let port = bytes.get(port..)?.first_chunk::<2>()?;
        let address = IpAddr::from(*address).to_canonical();
        Some(SocketAddr::new(address, u16::from_be_bytes(*port)))
    };
    (end(0, 2 * N).map(Peer::Ip), end(N, 2 * N + 2))
}

/// Reads the additional values, and tells the common name if it is proven.
fn read_values<'a>(header: &[u8], values: &'a [u8]) -> Result<Option<&'a [u8]>, HeaderError> {
    let mut common_name = None;
    let mut rest = values;
    while let Some((kind, value, next)) = next_value(rest)? {
        match kind {
            TYPE_CRC32C => {
                let said = value.first_chunk::<4>().filter(|_| value.len() == 4);
                let Some(said) = said else {
                    return Err(HeaderError::ValueLength(kind, value.len()));
                };
                let place = header.len() - next.len() - value.len();
                check_sum(header, place, u32::from_be_bytes(*said))?;
            }
            TYPE_SSL => common_name = read_ssl(value)?,
            _ => {}
        }
        rest = next;
    }
    Ok(common_name)
}

/// An additional value: its kind, itself, and what follows it.
type Value<'a> = (u8, &'a [u8], &'a [u8]);

/// The next value, if there is one.
fn next_value(bytes: &[u8]) -> Result<Option<Value<'_>>, HeaderError> {
    let Some(kind) = bytes.first() else { return Ok(None) };
    let parts = bytes.split_first_chunk::<3>().and_then(|([_, high, low], rest)| {
        rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))
    });
    let (value, rest) = parts.ok_or(HeaderError::CutValue(*kind))?;
    Ok(Some((*kind, value, rest)))
}

/// What the proxy says of TLS: the common name, if the client has shown a certificate and the proxy
/// has found it to be good.
fn read_ssl(value: &[u8]) -> Result<Option<&[u8]>, HeaderError> {
    let Some(([client, verified @ ..], mut rest)) = value.split_first_chunk::<5>() else {
        return Err(HeaderError::ValueLength(TYPE_SSL, value.len()));
    };
    let is_proven =
        client & CLIENT_SSL != 0 && client & CLIENT_CERTIFICATE != 0 && *verified == [0; 4];
    let mut common_name = None;
    while let Some((kind, value, next)) = next_value(rest)? {
        if kind == TYPE_SSL_COMMON_NAME {
            common_name = Some(value);
        }
        rest = next;
    }
    Ok(common_name.filter(|name| is_proven && !name.is_empty()))
}

/// The checksum is that of the header with four zeros in its place.
fn check_sum(header: &[u8], place: usize, said: u32) -> Result<(), HeaderError> {
    let (before, rest) = header.split_at(place);
    let after = rest.get(4..).unwrap_or_default();
    let found = !crc32c(crc32c(crc32c(!0, before), &[0; 4]), after);
    if found == said { Ok(()) } else { Err(HeaderError::Checksum { found, said }) }
}

/// Goes on with a CRC-32C, half a byte at a time: headers are short.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        let crc = crc ^ u32::from(*byte);
        let crc = (crc >> 4) ^ CRC32C_STEPS[(crc & 0xf) as usize];
        (crc >> 4) ^ CRC32C_STEPS[(crc & 0xf) as usize]
    })
}

/// What four bits that leave do to the rest.
const CRC32C_STEPS: [u32; 16] = {
    let mut steps = [0; 16];
    let mut bits = 0u32;
    while bits < 16 {
        let (mut step, mut bit) = (bits, 0);
        while bit < 4 {
            step = if step & 1 == 0 { step >> 1 } else { (step >> 1) ^ 0x82f6_3b78 };
            bit += 1;
        }
        steps[bits as usize] = step;
        bits += 1;
    }
    steps
};

fn shown(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(SHOWN_MAX)].to_vec()
}

impl fmt::Display for HeaderError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::NoHeader(bytes) => {
                write!(out, "does not begin with PROXY but with \"{}\"", bytes.escape_ascii())
            }
            HeaderError::EndlessLine => write!(out, "has a line of more than {LINE_MAX} bytes"),
            HeaderError::BareLineFeed => {
                out.write_str("has a line that ends with \\n instead of \\r\\n")
            }
            HeaderError::Protocol(word) => {
                let word = word.escape_ascii();
                write!(out, "has the protocol \"{word}\"; want TCP4, TCP6 or UNKNOWN")
            }
            HeaderError::Words(count) => write!(
                out,
                "has {count} words after the protocol; want two addresses and two ports"
            ),
            HeaderError::Address(word) => {
                write!(out, "has \"{}\" as an address", word.escape_ascii())
            }
            HeaderError::Port(word) => {
                write!(out, "has \"{}\" as a port; want 0 to 65535", word.escape_ascii())
            }
            HeaderError::Version(version) => write!(out, "has version {version}; want 1 or 2"),
            HeaderError::Command(command) => {
                write!(out, "has command {command}; want 0 (LOCAL) or 1 (PROXY)")
            }
            HeaderError::Family(family) => write!(
                out,
                "has family and transport {family:#04x}; want 0x00, 0x11, 0x12, 0x21, 0x22, 0x31 or 0x32"
            ),
            HeaderError::TooLong(length) => {
                write!(out, "announces {length} bytes; want {HEADER_MAX} at most")
            }
            HeaderError::NoAddresses(length, want) => {
                write!(out, "has {length} bytes for its addresses; want {want}")
            }
            HeaderError::CutValue(kind) => {
                write!(out, "has a value of type {kind:#04x} that does not fit in")
            }
            HeaderError::ValueLength(kind, length) => {
                write!(out, "has a value of type {kind:#04x} with {length} bytes")
            }
            HeaderError::Checksum { found, said } => {
                write!(out, "has the checksum {found:08x} and says {said:08x}")
            }
        }
    }
}

impl std::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parser says when `wire` comes in pieces of every size, with something behind it;
    /// that must not depend on where it was cut.
    #[track_caller]
    fn parse_all(wire: &[u8]) -> Result<Header<'_>, HeaderError> {
        let whole = parse(wire);
        let first = (0..wire.len()).find_map(|length| match parse(&wire[..length]) {
            Ok(Parsed::Incomplete) => None,
            other => Some((length, other)),
        });
        match (whole, first) {
            (Ok(Parsed::Header(header)), None) => {
                assert_eq!(header.length, wire.len(), "known before it was all there");
                let longer = [wire, b"*1\r\n"].concat();
                assert_eq!(parse(&longer), Ok(Parsed::Header(header.clone())));
                Ok(header)
            }
            (Err(error), None) => Err(error),
            // What is wrong may be known before all of it has come.
            (Err(_), Some((_, Err(early)))) => Err(early),
            (Ok(Parsed::Incomplete), None) => panic!("incomplete: {}", wire.escape_ascii()),
            (whole, first) => panic!("{}: {whole:?}, {first:?}", wire.escape_ascii()),
        }
    }

    fn told(source: &str, destination: &str, length: usize) -> Header<'static> {
        Header {
            source: Some(Peer::Ip(source.parse().unwrap())),
            destination: Some(destination.parse().unwrap()),
            common_name: None,
            length,
        }
    }

    /// A header of version 2 with this command, family and rest.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap();
        let mut wire = SIGNATURE.to_vec();
        wire.extend([0x20 | command, family]);
        wire.extend(length.to_be_bytes());
        wire.extend(rest);
        wire
    }

    fn value(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap();
        [&[kind][..], &length.to_be_bytes(), bytes].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 0x04, 0x18, 0xeb];

    /// A header of version 2 over IPv4, with additional values.
    fn with_values(values: &[Vec<u8>]) -> Vec<u8> {
        binary(1, 0x11, &[&V4[..], &values.concat()].concat())
    }

    #[test]
    fn version_1_tells_both_ends() {
        for (line, want) in [
            (
                "PROXY TCP4 192.0.2.1 192.0.2.2 56324 6379",
                Some(("192.0.2.1:56324", "192.0.2.2:6379")),
            ),
            (
                "PROXY TCP6 2001:db8::1 2001:db8::2 65535 0",
                Some(("[2001:db8::1]:65535", "[2001:db8::2]:0")),
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2",
                Some(("192.0.2.1:1", "192.0.2.2:2")),
            ),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535", None),
        ] {
            let wire = format!("{line}\r\n").into_bytes();
            let want = match want {
                Some((source, destination)) => told(source, destination, wire.len()),
                None => Header { length: wire.len(), ..Header::default() },
            };
            assert_eq!(parse_all(&wire), Ok(want), "{line}");
        }
    }

    #[test]
    fn the_longest_line_fits_and_one_byte_more_does_not() {
        let address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let wire = format!("PROXY TCP6 {address} {address} 65535 65535\r\n").into_bytes();
        assert_eq!(wire.len(), 104);
        assert!(parse_all(&wire).is_ok());
        let unknown = |length: usize| {
            let mut wire = b"PROXY UNKNOWN ".to_vec();
            wire.resize(length - 2, b'x');
            [wire, b"\r\n".to_vec()].concat()
        };
        assert_eq!(parse_all(&unknown(107)).map(|header| header.length), Ok(107));
        assert_eq!(parse_all(&unknown(108)), Err(HeaderError::EndlessLine));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (line, want) in [
            ("*1\r\n$4\r\nPING\r\n", "does not begin with PROXY but with \"*"),
            ("proxy TCP4", "does not begin with PROXY but with \"p\""),
            ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "has the protocol \"\"; want"),
            ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "has the protocol \"UDP4\"; want"),
            ("PROXY \r\n", "has the protocol \"\"; want"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "ends with \\n instead of \\r\\n"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "has 3 words after the protocol; want two"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "has 5 words after the protocol"),
            ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", "has 5 words after the protocol"),
            ("PROXY TCP4 ::1 1.2.3.4 1 2\r\n", "has \"::1\" as an address"),
            ("PROXY TCP4 1.2.3.4 1.2.3.04 1 2\r\n", "has \"1.2.3.04\" as an address"),
            ("PROXY TCP6 1.2.3.4 ::1 1 2\r\n", "has \"1.2.3.4\" as an address"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "has \"65536\" as a port; want 0 to 65535"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 02\r\n", "has \"02\" as a port"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "has \"+1\" as a port"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n", "has \"\" as a port"),
            ("PROXY TCP4 1.2.3.\u{fc} 1.2.3.4 1 2\r\n", "has \"1.2.3.\\xc3\\xbc\" as an address"),
        ] {
            let error = parse_all(line.as_bytes()).expect_err(line).to_string();
            assert!(error.contains(want), "{line}: {error}");
        }
    }

    #[test]
    fn version_2_tells_both_ends() {
        let want = told("192.0.2.1:56324", "192.0.2.2:6379", 28);
        for family in [0x11, 0x12] {
            assert_eq!(parse_all(&binary(1, family, &V4)), Ok(want.clone()));
        }
        let (source, destination): (Ipv6Addr, Ipv6Addr) =
            ("2001:db8::1".parse().unwrap(), "::ffff:192.0.2.9".parse().unwrap());
        let v6 = [&source.octets()[..], &destination.octets(), &[0, 7, 0xff, 0xff]].concat();
        let want = told("[2001:db8::1]:7", "192.0.2.9:65535", 52);
        assert_eq!(parse_all(&binary(1, 0x21, &v6)), Ok(want));
        let unix = parse_all(&binary(1, 0x31, &[b'/'; 216])).map(|header| {
            assert_eq!(header.source, Some(Peer::Unix));
            header.length
        });
        assert_eq!(unix, Ok(232));
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_names_nobody() {
        for (command, family, rest) in
            [(0, 0x00, &b""[..]), (0, 0x11, &V4), (0, 0xff, b"abc"), (1, 0x00, b"abc")]
        {
            let wire = binary(command, family, rest);
            let want = Header { length: 16 + rest.len(), ..Header::default() };
            assert_eq!(parse_all(&wire), Ok(want), "{command} {family}");
        }
    }

    #[test]
    fn what_is_wrong_with_version_2_is_said() {
        let mut version = binary(1, 0x11, &V4);
        version[12] = 0x31;
        let mut long = binary(1, 0x11, &V4);
        long[14..16].copy_from_slice(&0x3ff1u16.to_be_bytes());
        let mut signature = binary(1, 0x11, &V4);
        signature[11] = b'X';
        for (wire, want) in [
            (version, "has version 3; want 1 or 2"),
            (long, "announces 16385 bytes; want 16384 at most"),
            (signature, "does not begin with PROXY but with \"\\r\\n\\r\\n\\x00\\r\\nQUITX\""),
            (binary(2, 0x11, &V4), "has command 2; want 0 (LOCAL) or 1 (PROXY)"),
            (binary(1, 0x13, &V4), "has family and transport 0x13; want"),
            (binary(1, 0x41, &V4), "has family and transport 0x41; want"),
            (binary(1, 0x11, &V4[..11]), "has 11 bytes for its addresses; want 12"),
            (binary(1, 0x21, &V4), "has 12 bytes for its addresses; want 36"),
            (binary(1, 0x31, &[0; 215]), "has 215 bytes for its addresses; want 216"),
            (with_values(&[vec![4]]), "has a value of type 0x04 that does not fit in"),
            (with_values(&[vec![4, 0, 2, 1]]), "has a value of type 0x04 that does not fit in"),
            (with_values(&[value(3, b"abc")]), "has a value of type 0x03 with 3 bytes"),
            (with_values(&[value(3, b"abcde")]), "has a value of type 0x03 with 5 bytes"),
            (with_values(&[value(0x20, &[7, 0, 0, 0])]), "has a value of type 0x20 with 4 bytes"),
            (
                with_values(&[value(0x20, &[7, 0, 0, 0, 0, 0x22, 0, 9, b'x'])]),
                "has a value of type 0x22 that does not fit in",
            ),
        ] {
            let error = parse_all(&wire).expect_err(want).to_string();
            assert!(error.contains(want), "{want}: {error}");
        }
    }

    #[test]
    fn the_longest_header_fits() {
        let padding = value(4, &vec![0; HEADER_MAX - FIXED - V4.len() - 3]);
        let wire = with_values(&[padding]);
        assert_eq!(wire.len(), HEADER_MAX);
        let header = parse_all(&wire).map(|header| header.length);
        assert_eq!(header, Ok(HEADER_MAX));
    }

    #[test]
    fn the_checksum_has_its_known_values() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(!crc32c(!0, &[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn a_checksum_is_checked_wherever_it_stands() {
        for (before, after) in [(0, 0), (1, 0), (0, 5), (9, 9)] {
            let mut wire = with_values(&[
                value(4, &vec![7; before]),
                value(TYPE_CRC32C, &[0; 4]),
                value(4, &vec![7; after]),
            ]);
            let place = FIXED + V4.len() + 3 + before + 3;
            let sum = !crc32c(!0, &wire);
            wire[place..place + 4].copy_from_slice(&sum.to_be_bytes());
            assert!(parse_all(&wire).is_ok(), "{before} {after}");
            for broken in [FIXED, place, wire.len() - 1] {
                let mut wire = wire.clone();
                wire[broken] ^= 1;
                assert!(parse_all(&wire).is_err(), "{before} {after} {broken}");
            }
        }
    }

    #[test]
    fn only_a_certificate_that_was_verified_names_somebody() {
        let ssl = |client: u8, verify: u32, name: &[u8]| {
            let version = value(0x21, b"TLSv1.3");
            let name = value(TYPE_SSL_COMMON_NAME, name);
            let head = [&[client][..], &verify.to_be_bytes()].concat();
            value(TYPE_SSL, &[head, version, name].concat())
        };
        for (client, verify, name, want) in [
            (0x07, 0, "app", Some("app")),
            (0x03, 0, "app", Some("app")),
            (0x05, 0, "app", Some("app")),
            (0x01, 0, "app", None),
            (0x06, 0, "app", None),
            (0x07, 1, "app", None),
            (0x07, 1 << 24, "app", None),
            (0x07, 0, "", None),
        ] {
            let wire = with_values(&[value(1, b"h2"), ssl(client, verify, name.as_bytes())]);
            let header = parse_all(&wire).unwrap();
            assert_eq!(header.common_name, want.map(str::as_bytes), "{client} {verify} {name}");
        }
        // The last word counts, and it may take back what was said before.
        let wire = with_values(&[ssl(7, 0, b"app"), ssl(1, 0, b"app")]);
        assert_eq!(parse_all(&wire).unwrap().common_name, None);
        let plain = with_values(&[value(TYPE_SSL_COMMON_NAME, b"app")]);
        assert_eq!(parse_all(&plain).unwrap().common_name, None, "it stands in no value of TLS");
    }
}
