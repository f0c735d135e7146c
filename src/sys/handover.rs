//! What a process hands to the one that takes its place: listening sockets when it starts it,
//! and connections, one by one, over a channel between the two.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use super::Socket;
use super::call::{check, check_size, retry};
use super::listen_socket::ListenGuard;
use super::platform::SEND_FLAGS;

/// One end of the way from one process to the other. Calls wait; a peer that does not take what
/// is sent is an error after a while.
#[derive(Debug)]
pub struct Channel(UnixStream);

/// No message is longer.
const MESSAGE_MAX: usize = 1 << 20;
/// A peer that takes nothing for so long will not take the rest either.
const SEND_PATIENCE: Duration = Duration::from_secs(5);

/// Room for one descriptor beside the bytes of a message, aligned as the kernel wants it.
#[repr(C, align(8))]
struct ControlRoom([u8; 64]);

impl Channel {
    /// Both ends.
    fn pair() -> io::Result<(Channel, Channel)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Channel(one), Channel(other)))
    }

    /// The end that this process was started with, by its number.
    ///
    /// # Errors
    ///
    /// There is no such thing.
    pub fn inherit(number: RawFd) -> io::Result<Channel> {
        Ok(Channel(UnixStream::from(adopt(number)?)))
    }

    /// Sends a message, and a connection with it.
    ///
    /// # Errors
    ///
    /// The other process is gone, or takes nothing.
    pub fn send(&self, message: &[u8], socket: Option<&Socket>) -> io::Result<()> {
        let length = u32::try_from(message.len()).ok().filter(|_| message.len() <= MESSAGE_MAX);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?.to_be_bytes();
        self.0.set_write_timeout(Some(SEND_PATIENCE))?;
        match socket {
            Some(socket) => self.send_with(&length, socket.as_fd())?,
            None => (&self.0).write_all(&length)?,
        }
        (&self.0).write_all(message)
    }

    /// The next message, and the connection that came with it; `None` when there will be no more.
    ///
    /// # Errors
    ///
    /// What came is no message.
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Option<Socket>)>> {
        let mut length = [0; 4];
        let (size, socket) = self.receive_with(&mut length)?;
        if size == 0 {
            return Ok(None);
        }
        (&self.0).read_exact(&mut length[size..])?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MESSAGE_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut message = vec![0; length];
        (&self.0).read_exact(&mut message)?;
        Ok(Some((message, socket.map(Socket::from_descriptor))))
    }

    /// Sends these few bytes with a descriptor.
    fn send_with(&self, bytes: &[u8; 4], fd: BorrowedFd<'_>) -> io::Result<()> {
        let mut room = ControlRoom([0; 64]);
        let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: 4 };
        let mut message = message_with(&mut part, &mut room);
        // SAFETY: `message` names its control room, and how large that is.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: it is null or the beginning of the control room, which is ours to write.
        let header = unsafe { header.as_mut() }.ok_or(io::ErrorKind::Other)?;
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: takes and gives integers only.
        header.cmsg_len = unsafe { libc::CMSG_LEN(FD_SIZE) } as _;
        // SAFETY: gives the place behind the header, which is within the room.
        let place = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: the room has place for the number behind the header, aligned or not.
        unsafe { place.cast::<RawFd>().write_unaligned(fd.as_raw_fd()) };
        // SAFETY: takes and gives integers only.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(FD_SIZE) } as _;
        let channel = self.0.as_raw_fd();
        let sent = retry(|| {
            // SAFETY: `message` names `bytes` and `room`, which outlive the call.
            check_size(unsafe { libc::sendmsg(channel, &raw const message, SEND_FLAGS) })
        })?;
        (&self.0).write_all(&bytes[sent..])
    }

    /// Receives some of these few bytes, none at the end, and the descriptor that came along.
    fn receive_with(&self, bytes: &mut [u8; 4]) -> io::Result<(usize, Option<OwnedFd>)> {
        let mut room = ControlRoom([0; 64]);
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 4 };
        let mut message = message_with(&mut part, &mut room);
        let channel = self.0.as_raw_fd();
        let size = retry(|| {
            // SAFETY: `message` names `bytes` and `room`, which outlive the call and are ours to write.
            check_size(unsafe { libc::recvmsg(channel, &raw mut message, 0) })
        })?;
        // SAFETY: `message` names its control room, and how much of it the kernel has used.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: it is null or the beginning of the control room, which the kernel has filled.
        let header = unsafe { header.as_ref() };
        let Some(header) = header.filter(|header| header.cmsg_type == libc::SCM_RIGHTS) else {
            return Ok((size, None));
        };
        // SAFETY: gives the place behind the header, which the kernel has filled.
        let place = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: what the kernel has put there is one number, aligned or not.
        let number = unsafe { place.cast::<RawFd>().read_unaligned() };
        Ok((size, Some(adopt(number)?)))
    }
}

/// The size of a descriptor's number.
const FD_SIZE: libc::c_uint = 4;

fn message_with(part: &mut libc::iovec, room: &mut ControlRoom) -> libc::msghdr {
    // SAFETY: a C struct of integers and pointers, for which all bits zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = room.0.as_mut_ptr().cast();
    message.msg_controllen = room.0.len() as _;
    message
}

/// Takes over a descriptor that somebody else has put into this process, and sees to it that no
/// further process gets it.
pub(super) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: with this command fcntl takes and gives integers only.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, as the call before has shown, and was given to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A copy of a descriptor that a process started from here gets under the same number.
fn inheritable(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: with this command fcntl takes and gives integers only.
    let number = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, 3) })?;
    // SAFETY: the kernel has just given us this number, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A process that is to take the place of this one.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    channel: Channel,
}

/// What a successor is given, by the numbers under which it finds it.
#[derive(Debug)]
pub struct Estate {
    /// The listening sockets, in the order in which they were given.
    pub listeners: Vec<RawFd>,
    /// The channel to this process.
    pub channel: RawFd,
}

impl Successor {
    /// Starts `program`. The environment variable `name` is to tell it what it is given, in the
    /// words of `describe`.
    ///
    /// # Errors
    ///
    /// It cannot be started, or no descriptor is left.
    pub fn start<'a>(
        program: &Path,
        arguments: &[OsString],
        listeners: impl Iterator<Item = &'a ListenGuard>,
        name: &str,
        describe: impl FnOnce(&Estate) -> String,
    ) -> io::Result<Successor> {
        let (channel, other) = Channel::pair()?;
        let copies: Vec<OwnedFd> =
            listeners.map(|guard| inheritable(guard.as_fd())).collect::<io::Result<_>>()?;
        let other = inheritable(other.0.as_fd())?;
        let estate = Estate {
            listeners: copies.iter().map(AsRawFd::as_raw_fd).collect(),
            channel: other.as_raw_fd(),
        };
        let mut command = Command::new(program);
        command.args(arguments).env(name, describe(&estate));
        // It names this process; what is asked of us is asked of the one that takes our place.
        command.env_remove("WATCHDOG_PID");
        let child = command.spawn()?;
        Ok(Successor { child, channel })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The way to it.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// What it says first, if it says anything within that time.
    ///
    /// # Errors
    ///
    /// It says nothing in time, or nonsense.
    pub fn first_word(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        self.channel.0.set_read_timeout(Some(patience))?;
        Ok(self.channel.receive()?.map(|(message, _)| message))
    }

    /// Ends it, unless it has ended by itself, and tells how that was.
    pub fn end(mut self) -> String {
        // It may have ended already.
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Waits for its end by itself, and tells how that was.
    pub fn wait(mut self) -> String {
        match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

/// The process that started this one.
#[must_use]
pub fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::address::Address;
    use crate::sys::{Endpoint, ListenSocket, Progress, connect};

    #[test]
    fn messages_arrive_whole_and_in_order_with_their_connections() {
        let listener = ListenSocket::bind(&Address::Ip(([127, 0, 0, 1], 0).into())).unwrap();
        let Some(Address::Ip(address)) = listener.local_address() else { panic!("no address") };
        let ours = connect(&Endpoint::Ip(address)).unwrap();
        let theirs = loop {
            if let Some((socket, _)) = listener.accept().unwrap() {
                break socket;
            }
        };
        let (sender, receiver) = Channel::pair().unwrap();
        sender.send(b"plain", None).unwrap();
        sender.send(b"", Some(&theirs)).unwrap();
        drop(theirs);
        sender.send(&vec![b'x'; 100_000], None).unwrap();
        drop(sender);
        let (message, socket) = receiver.receive().unwrap().unwrap();
        assert_eq!((message.as_slice(), socket.is_none()), (&b"plain"[..], true));
        let (message, socket) = receiver.receive().unwrap().unwrap();
        let socket = socket.expect("a connection");
        assert!(message.is_empty());
        assert_eq!(receiver.receive().unwrap().unwrap().0.len(), 100_000);
        assert!(receiver.receive().unwrap().is_none());
        // It is the same connection, and as before it never waits.
        assert!(matches!(socket.read(&mut [0; 9]), Ok(Progress::WouldBlock)));
        assert!(matches!(socket.write(b"hello"), Ok(Progress::Moved(5))));
        let mut room = [0; 9];
        loop {
            match ours.read(&mut room).unwrap() {
                Progress::Moved(size) => break assert_eq!(&room[..size], b"hello"),
                Progress::WouldBlock => std::thread::yield_now(),
                Progress::Closed => panic!("closed"),
            }
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_an_error_on_both_ends() {
        let (sender, receiver) = Channel::pair().unwrap();
        assert!(sender.send(&vec![0; MESSAGE_MAX + 1], None).is_err());
        (&sender.0).write_all(&[0xff; 4]).unwrap();
        assert!(receiver.receive().is_err());
    }

    #[test]
    fn a_process_that_is_not_one_of_ours_says_nothing() {
        let none = std::iter::empty();
        let path = Path::new("/bin/sh");
        let arguments = ["-c".into(), r#"test "$WHAT" = told && exit 7"#.into()];
        let child = Successor::start(path, &arguments, none, "WHAT", |_| "told".to_owned());
        let child = child.unwrap();
        assert!(child.first_word(Duration::from_secs(20)).unwrap().is_none());
        assert!(child.wait().contains('7'));
        let none = std::iter::empty();
        let nowhere = Path::new("/nonexistent/predixy");
        let started = Successor::start(nowhere, &[], none, "WHAT", |_| String::new());
        assert_eq!(started.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
