//! Socket addresses in the form in which the kernel takes and gives them.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Endpoint;
use super::call::length_of;

/// An address of any family, and how much of the space it uses.
pub(super) struct RawAddress {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl RawAddress {
    /// Room for the kernel to write an address into.
    pub(super) fn room() -> RawAddress {
        // SAFETY: a C struct of integers, for which all bits zero is a value.
        let storage = unsafe { std::mem::zeroed() };
        RawAddress { storage, length: length_of::<libc::sockaddr_storage>() }
    }

    /// The address of an end point; a path may be too long for one.
    pub(super) fn new(endpoint: &Endpoint) -> io::Result<RawAddress> {
        match endpoint {
            Endpoint::Ip(SocketAddr::V4(address)) => Ok(Self::v4(address)),
            Endpoint::Ip(SocketAddr::V6(address)) => Ok(Self::v6(address)),
            Endpoint::Unix(path) => Self::unix(path),
        }
    }

    fn v4(address: &SocketAddrV4) -> RawAddress {
        // SAFETY: a C struct of integers, for which all bits zero is a value.
        let mut raw: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        raw.sin_family = family_of(libc::AF_INET);
        raw.sin_port = address.port().to_be();
        raw.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
        Self::of(raw, length_of::<libc::sockaddr_in>())
    }

    fn v6(address: &SocketAddrV6) -> RawAddress {
        // SAFETY: a C struct of integers, for which all bits zero is a value.
        let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
        raw.sin6_family = family_of(libc::AF_INET6);
        raw.sin6_port = address.port().to_be();
        raw.sin6_addr.s6_addr = address.ip().octets();
        raw.sin6_flowinfo = address.flowinfo();
        raw.sin6_scope_id = address.scope_id();
        Self::of(raw, length_of::<libc::sockaddr_in6>())
    }

    fn unix(path: &Path) -> io::Result<RawAddress> {
        // SAFETY: a C struct of integers, for which all bits zero is a value.
        let mut raw: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        raw.sun_family = family_of(libc::AF_UNIX);
        let bytes = path.as_os_str().as_bytes();
        // The zero byte at the end needs room too.
        if bytes.is_empty() || bytes.len() >= raw.sun_path.len() || bytes.contains(&0) {
            let most = raw.sun_path.len() - 1;
            let text =
                format!("the path of a Unix socket must have 1 to {most} bytes, none of them 0");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        for (place, byte) in raw.sun_path.iter_mut().zip(bytes) {
            *place = *byte as libc::c_char;
        }
        Ok(Self::of(raw, length_of::<libc::sockaddr_un>()))
    }

    /// The address of a Unix socket as environment variables write it: a path, or with an `@` in
    /// front a name that Linux keeps apart from the file system.
    pub(super) fn of_name(name: &[u8]) -> io::Result<RawAddress> {
        let Some(name) = name.strip_prefix(b"@") else {
            return Self::unix(Path::new(OsStr::from_bytes(name)));
        };
        // SAFETY: a C struct of integers, for which all bits zero is a value.
        let mut raw: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        raw.sun_family = family_of(libc::AF_UNIX);
        if name.len() >= raw.sun_path.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Behind a zero byte; the length says where it ends.
        for (place, byte) in raw.sun_path[1..].iter_mut().zip(name) {
            *place = *byte as libc::c_char;
        }
        let head = length_of::<libc::sockaddr_un>() as usize - raw.sun_path.len();
        let length = libc::socklen_t::try_from(head + 1 + name.len()).unwrap_or(0);
        Ok(Self::of(raw, length))
    }

    /// Only for the address structs of libc, each of which fits into the storage.
    fn of<T: Copy>(raw: T, length: libc::socklen_t) -> RawAddress {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        const { assert!(align_of::<T>() <= align_of::<libc::sockaddr_storage>()) };
        let mut address = Self::room();
        // SAFETY: the storage is at least as large and as aligned as `T`, as asserted above.
        unsafe { (&raw mut address.storage).cast::<T>().write(raw) };
        address.length = length;
        address
    }

    /// The family, for the socket that is to use this address.
    pub(super) fn family(&self) -> libc::c_int {
        self.storage.ss_family.into()
    }

    pub(super) fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(super) fn length(&self) -> libc::socklen_t {
        self.length
    }

    /// Where the kernel writes an address, and where it writes how long it is.
    pub(super) fn pointers_mut(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        ((&raw mut self.storage).cast(), &raw mut self.length)
    }

    /// The IP address in here, if it is one. IPv4 inside IPv6 becomes IPv4.
    pub(super) fn ip(&self) -> Option<SocketAddr> {
        match self.family() {
            libc::AF_INET if self.length >= length_of::<libc::sockaddr_in>() => {
                let storage = &raw const self.storage;
                // SAFETY: the family says what the kernel has written here, and the length that
                // all of it is there.
                let raw = unsafe { storage.cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::from((ip, u16::from_be(raw.sin_port))))
            }
            libc::AF_INET6 if self.length >= length_of::<libc::sockaddr_in6>() => {
                let storage = &raw const self.storage;
                // SAFETY: the family says what the kernel has written here, and the length that
                // all of it is there.
                let raw = unsafe { storage.cast::<libc::sockaddr_in6>().read() };
                Some(v6_address(&raw))
            }
            _ => None,
        }
    }
}

/// A family in the type in which addresses carry it.
#[expect(clippy::cast_possible_truncation, reason = "the numbers of the families used are small")]
const fn family_of(family: libc::c_int) -> libc::sa_family_t {
    family as libc::sa_family_t
}

fn v6_address(raw: &libc::sockaddr_in6) -> SocketAddr {
    let (ip, port) = (Ipv6Addr::from(raw.sin6_addr.s6_addr), u16::from_be(raw.sin6_port));
    match ip.to_ipv4_mapped() {
        Some(ip) => SocketAddr::from((ip, port)),
        None => SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_through_the_kernels_form() {
        for text in ["127.0.0.1:7617", "0.0.0.0:0", "[::1]:65535", "[fe80::1%3]:80"] {
            let address: SocketAddr = text.parse().unwrap();
            let raw = RawAddress::new(&Endpoint::Ip(address)).unwrap();
            assert_eq!(raw.ip(), Some(address), "{text}");
        }
    }

    #[test]
    fn ipv4_inside_ipv6_is_shown_as_ipv4() {
        let inside = "[::ffff:10.1.2.3]:80".parse().unwrap();
        let raw = RawAddress::new(&Endpoint::Ip(inside)).unwrap();
        assert_eq!(raw.ip(), Some("10.1.2.3:80".parse().unwrap()));
    }

    #[test]
    fn a_path_must_fit() {
        let kind = |path: &str| {
            let raw = RawAddress::new(&Endpoint::Unix(path.into()));
            raw.map(|raw| raw.ip()).map_err(|error| error.kind())
        };
        assert_eq!(kind("/tmp/predixy"), Ok(None));
        assert_eq!(kind(""), Err(io::ErrorKind::InvalidInput));
        assert_eq!(kind("/tmp/a\0b"), Err(io::ErrorKind::InvalidInput));
        assert_eq!(kind(&format!("/{}", "a".repeat(200))), Err(io::ErrorKind::InvalidInput));
    }
}
