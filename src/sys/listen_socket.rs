//! A socket that others connect to: bind, listen, accept.
//!
//! A Unix socket leaves a file behind when its process dies. Such a file is replaced, but only
//! when nobody answers on it, and a file that is not a socket is never touched.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::call::{check, length_of, retry};
use super::raw_address::RawAddress;
use super::{Endpoint, Peer, Socket, SocketAccess, connect, descriptor, handover};
use crate::base::address::Address;

/// How many connections may wait to be accepted.
const BACKLOG: libc::c_int = 511;

/// A listening socket. It never blocks; its socket file goes when it is dropped.
#[derive(Debug)]
pub struct ListenSocket {
    socket: Socket,
    /// Where it is, if that is in the file system.
    path: Option<PathBuf>,
    file: Option<SocketFile>,
}

/// Keeps a listening socket open, and its file in place, for a process that is to take it over.
#[derive(Debug)]
pub struct ListenGuard {
    fd: OwnedFd,
    file: Option<SocketFile>,
}

impl ListenGuard {
    /// Leaves the file of the socket to the process that has taken it over.
    pub fn leave_file(&mut self) {
        if let Some(file) = &mut self.file {
            file.identity = None;
        }
    }
}

impl AsFd for ListenGuard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl ListenSocket {
    /// Listens at `address`. A name is resolved here and now, and its addresses are tried in
    /// their order; `*` is every address of this host.
    ///
    /// # Errors
    ///
    /// The address is taken, not ours, or not allowed.
    pub fn bind(address: &Address) -> io::Result<ListenSocket> {
        ListenSocket::bind_for(address, SocketAccess::default())
    }

    /// The same; a Unix socket is open to nobody else at any moment.
    ///
    /// # Errors
    ///
    /// The same, or the file cannot be given to that group.
    pub fn bind_for(address: &Address, access: SocketAccess) -> io::Result<ListenSocket> {
        match address {
            Address::Ip(address) => listen_ip(*address, false),
            Address::Host { name, port } if &**name == "*" => {
                // Where the system has no IPv6, or does not let one socket listen for both.
                listen_ip((Ipv6Addr::UNSPECIFIED, *port).into(), true)
                    .or_else(|_| listen_ip((Ipv4Addr::UNSPECIFIED, *port).into(), false))
            }
            Address::Host { name, port } => listen_name(name, *port),
            Address::Unix(path) => listen_unix(path, access),
        }
    }

    /// Takes over a socket that listens at `address` since before this process was started, by
    /// its number.
    ///
    /// # Errors
    ///
    /// There is no such thing.
    pub fn inherit(number: RawFd, address: &Address) -> io::Result<ListenSocket> {
        let socket = Socket::from_descriptor(handover::adopt(number)?);
        let (fd, mut listens, mut size) = (socket.number(), 0i32, length_of::<i32>());
        let (level, name, value) =
            (libc::SOL_SOCKET, libc::SO_ACCEPTCONN, (&raw mut listens).cast());
        // SAFETY: `value` points at `listens`, which outlives the call and is `size` bytes long.
        check(unsafe { libc::getsockopt(fd, level, name, value, &raw mut size) })?;
        if listens == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
        }
        let path = match address {
            Address::Unix(path) => Some(path.clone()),
            Address::Ip(_) | Address::Host { .. } => None,
        };
        Ok(ListenSocket { socket, path, file: None })
    }

    /// Opens the file of a Unix socket to those to whom it is not open yet, and to nobody else.
    ///
    /// # Errors
    ///
    /// Somebody else's file, or a group that the process is not in.
    pub fn grant(&self, access: SocketAccess) -> io::Result<()> {
        self.path.as_ref().map_or(Ok(()), |path| grant(path, access))
    }

    /// What keeps it open in another thread. Its file goes with that one from now on, also if the
    /// socket was inherited.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn guard(&mut self) -> io::Result<ListenGuard> {
        let fd = self.socket.as_fd().try_clone_to_owned()?;
        let inherited = || {
            let path = self.path.clone()?;
            Some(SocketFile { identity: identity(&path), path })
        };
        // Not made for nothing: whoever drops one removes the file.
        Ok(ListenGuard { fd, file: self.file.take().or_else(inherited) })
    }

    /// The next connection that waits, or `None`.
    ///
    /// # Errors
    ///
    /// Most often that no descriptor is left. The connection still waits then, and the listener
    /// stays readable.
    pub fn accept(&self) -> io::Result<Option<(Socket, Peer)>> {
        loop {
            let mut peer = RawAddress::room();
            let socket = match retry(|| descriptor::accept(self.as_fd(), &mut peer)) {
                Ok(fd) => Socket::from_descriptor(fd),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    // It was given up while it waited; another may be behind it.
                    io::ErrorKind::ConnectionAborted => continue,
                    _ => return Err(error),
                },
            };
            match (&self.path, peer.ip()) {
                (Some(_), _) => return Ok(Some((socket, Peer::Unix))),
                (None, Some(address)) => return Ok(Some((socket, Peer::Ip(address)))),
                // macOS gives a connection that is already gone, without an address.
                (None, None) => {}
            }
        }
    }

    /// Where it listens: with the port that the system chose, if that was left to it.
    pub fn local_address(&self) -> Option<Address> {
        if let Some(path) = &self.path {
            return Some(Address::Unix(path.clone()));
        }
        self.socket.local_address().map(Address::Ip)
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The file of a Unix socket that we made.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Device and inode: another process may have put its own socket there since.
    identity: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// At the first of the name's addresses that is ours; else the error is that of the last.
fn listen_name(name: &str, port: u16) -> io::Result<ListenSocket> {
    let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for address in (name, port).to_socket_addrs()? {
        result = listen_ip(address, false);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn listen_ip(address: SocketAddr, both_families: bool) -> io::Result<ListenSocket> {
    let address = RawAddress::new(&Endpoint::Ip(address))?;
    let socket = Socket::from_descriptor(descriptor::open_socket(address.family())?);
    // A restart must not wait for the connections of the last run to be forgotten.
    socket.set_option(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if both_families {
        socket.set_option(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
    }
    bind(&socket, &address)?;
    listen(&socket)?;
    Ok(ListenSocket { socket, path: None, file: None })
}

fn listen_unix(path: &Path, access: SocketAccess) -> io::Result<ListenSocket> {
    let address = RawAddress::new(&Endpoint::Unix(path.to_path_buf()))?;
    let socket = Socket::from_descriptor(descriptor::open_socket(address.family())?);
    match bind(&socket, &address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            fs::remove_file(path)?;
            bind(&socket, &address)?;
        }
        result => result?,
    }
    let file = SocketFile { path: path.to_path_buf(), identity: identity(path) };
    // Nobody can connect before it listens.
    grant(path, access)?;
    listen(&socket)?;
    Ok(ListenSocket { socket, path: Some(path.to_path_buf()), file: Some(file) })
}

fn grant(path: &Path, access: SocketAccess) -> io::Result<()> {
    let now = fs::symlink_metadata(path)?;
    if let Some(group) = access.group.filter(|group| *group != now.gid()) {
        chown(path, None, Some(group))?;
    }
    match access.mode {
        Some(mode) if mode != now.mode() & 0o777 => {
            fs::set_permissions(path, Permissions::from_mode(mode))
        }
        _ => Ok(()),
    }
}

/// True when the file is a socket and nobody listens on it.
fn is_stale(path: &Path) -> bool {
    let is_socket = |file: Metadata| file.file_type().is_socket();
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    fs::symlink_metadata(path).is_ok_and(is_socket)
        && connect(&Endpoint::Unix(path.to_path_buf())).is_err_and(refused)
}

fn bind(socket: &Socket, address: &RawAddress) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the pointer and the length are those of `address`, which outlives the call.
    check(unsafe { libc::bind(fd, address.pointer(), address.length()) }).map(drop)
}

fn listen(socket: &Socket) -> io::Result<()> {
    // SAFETY: takes and gives integers only.
    check(unsafe { libc::listen(socket.as_fd().as_raw_fd(), BACKLOG) }).map(drop)
}
