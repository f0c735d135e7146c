//! The contract on the real platform: time passes by itself, and Unix sockets leave files.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::sys::{SocketAccess, random, thread};

pub(super) fn let_time_pass() {
    std::thread::yield_now();
}

pub(super) fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

pub(super) fn know_localhost() {}

const HAS_EPOLL: bool =
    cfg!(all(target_os = "linux", not(any(feature = "kqueue", feature = "poll"))));
const HAS_KQUEUE: bool = cfg!(all(
    not(feature = "poll"),
    any(
        feature = "kqueue",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "macos"
    )
));

/// poll sees what is behind unread bytes only when they have been read.
pub(super) const SEES_BEHIND_UNREAD_BYTES: bool = HAS_EPOLL || HAS_KQUEUE;

/// epoll refuses it; the others take it as a change of the token.
pub(super) fn check_second_join(result: io::Result<()>) {
    if HAS_EPOLL {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}

/// A folder for socket files that goes with its test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("predixy-{}-{number}-{:x}", std::process::id(), random::seed());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_socket_file_that_nobody_answers_on_is_replaced() {
    let folder = Folder::new();
    let path = folder.path("stale");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "std leaves the file behind, as a killed process does");
    let listener = ListenSocket::bind(&Address::Unix(path.clone())).unwrap();
    UnixStream::connect(&path).unwrap();
    assert!(listener.accept().unwrap().is_some());
    drop(listener);
    assert!(!path.exists(), "a listener takes its file along");
}

#[test]
fn a_socket_file_is_open_to_whom_it_should_be() {
    let folder = Folder::new();
    let address = Address::Unix(folder.path("private"));
    let told = || {
        let file = fs::metadata(folder.path("private")).unwrap();
        (file.mode() & 0o777, file.gid())
    };
    let own_group = fs::metadata(&folder.0).unwrap().gid();
    let access = SocketAccess { mode: Some(0o640), group: Some(own_group) };
    let listener = ListenSocket::bind_for(&address, access).unwrap();
    assert_eq!(told(), (0o640, own_group));
    listener.grant(SocketAccess { mode: Some(0o606), group: None }).unwrap();
    assert_eq!(told(), (0o606, own_group));
    listener.grant(SocketAccess::default()).unwrap();
    assert_eq!(told(), (0o606, own_group));
}

#[test]
fn a_socket_file_that_somebody_answers_on_is_left_alone() {
    let folder = Folder::new();
    let path = folder.path("live");
    let other = UnixListener::bind(&path).unwrap();
    let error = ListenSocket::bind(&Address::Unix(path.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    other.set_nonblocking(true).unwrap();
    while other.accept().is_ok() {}
    UnixStream::connect(&path).unwrap();
    other.accept().unwrap();
}

#[test]
fn a_file_that_is_not_a_socket_is_left_alone() {
    let folder = Folder::new();
    let path = folder.path("precious");
    fs::write(&path, "data").unwrap();
    let error = ListenSocket::bind(&Address::Unix(path.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn a_socket_file_of_somebody_else_outlives_our_listener() {
    let folder = Folder::new();
    let path = folder.path("taken-over");
    let ours = ListenSocket::bind(&Address::Unix(path.clone())).unwrap();
    fs::rename(&path, folder.path("moved")).unwrap();
    let _theirs = UnixListener::bind(&path).unwrap();
    drop(ours);
    UnixStream::connect(&path).unwrap();
}

#[test]
pub(super) fn descriptors_do_not_survive_an_exec_and_never_block() {
    use std::os::fd::{AsFd, AsRawFd};
    let (client, server) = pair();
    let listener = ListenSocket::bind(&loopback()).unwrap();
    let waker = Waker::new().unwrap();
    for fd in [client.as_fd(), server.as_fd(), listener.as_fd(), waker.as_fd()] {
        // SAFETY: with this command fcntl takes and gives integers only.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        // SAFETY: with this command fcntl takes and gives integers only.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
        assert_eq!(flags & libc::O_NONBLOCK, libc::O_NONBLOCK);
    }
}

#[test]
fn another_thread_ends_a_wait_without_a_deadline() {
    let multiplexor = Multiplexor::new().unwrap();
    let waker = Arc::new(Waker::new().unwrap());
    multiplexor.add_waker(&waker, Token(1)).unwrap();
    for _ in 0..100 {
        let theirs = Arc::clone(&waker);
        let other = thread::spawn("other", move || theirs.wake()).unwrap();
        let mut events = Vec::new();
        while events.is_empty() {
            multiplexor.wait(&mut events, None).unwrap();
        }
        waker.drain();
        other.join().unwrap();
    }
}

#[test]
fn a_wait_lasts_as_long_as_asked_for() {
    let multiplexor = Multiplexor::new().unwrap();
    let mut events = Vec::new();
    for timeout_us in [0, 1, 999, 1_001, 5_500] {
        let begin_us = monotonic_us();
        multiplexor.wait(&mut events, Some(timeout_us)).unwrap();
        assert_eq!(events, []);
        // A signal for the whole process may end any wait, so only this one is told apart.
        assert!(monotonic_us() - begin_us >= timeout_us, "{timeout_us} us were cut short");
    }
}
