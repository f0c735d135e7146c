//! A simulated socket that others connect to.

use std::io;

use crate::base::address::Address;
use crate::sys::sim::{leave, with};
use crate::sys::{Peer, Socket, SocketAccess};

/// A listening socket. It never blocks.
#[derive(Debug)]
pub struct ListenSocket {
    id: u32,
}

/// Keeps a listening socket open for another process, of which there is none.
#[derive(Debug)]
pub struct ListenGuard(());

impl ListenGuard {
    /// There is no file to leave.
    pub fn leave_file(&mut self) {}
}

impl ListenSocket {
    /// Finds nothing that was there before.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn inherit(_number: i32, _address: &Address) -> io::Result<ListenSocket> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What would keep it open in another thread.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn guard(&mut self) -> io::Result<ListenGuard> {
        Ok(ListenGuard(()))
    }

    /// Listens at `address`, whatever host it is of.
    ///
    /// # Errors
    ///
    /// Somebody listens there already, or the name has no address.
    pub fn bind(address: &Address) -> io::Result<ListenSocket> {
        with(|state| state.bind(address)).map(|id| ListenSocket { id })
    }

    /// The same: there are no files.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn bind_for(address: &Address, _: SocketAccess) -> io::Result<ListenSocket> {
        ListenSocket::bind(address)
    }

    /// There are no files.
    ///
    /// # Errors
    ///
    /// Never.
    pub fn grant(&self, _: SocketAccess) -> io::Result<()> {
        Ok(())
    }

    /// The next connection that waits, or `None`.
    ///
    /// # Errors
    ///
    /// No descriptor is left, if the faults have it so. The connection still waits then, and the
    /// listener stays readable.
    pub fn accept(&self) -> io::Result<Option<(Socket, Peer)>> {
        let accepted = with(|state| state.accept(self.id))?;
        Ok(accepted.map(|(id, peer)| (Socket::from_id(id), peer)))
    }

    /// Where it listens: with the port that the system chose, if that was left to it.
    pub fn local_address(&self) -> Option<Address> {
        with(|state| state.listening_at(self.id))
    }

    /// The world's number for this listener.
    pub(in crate::sys) fn id(&self) -> u32 {
        self.id
    }
}

impl Drop for ListenSocket {
    fn drop(&mut self) {
        leave(|state| state.close_listener(self.id));
    }
}
