//! The header that a proxy in front of us puts before what a client sends.
//!
//! Where a listener is declared to be behind a proxy, each client begins as an unknown: nothing it
//! says is a request before the header has said who it is. Clients of other listeners never come
//! here.

use super::super::accept_connection::Intake;
use super::super::proxy_header::{self, Header, Parsed};
use super::super::request::ClientId;
use super::Handler;
use super::intake::{Next, Reader};
use super::upkeep::Chore;
use crate::conf::ProxyProtocol;
use crate::sys::Progress;
use crate::{log_info, log_notice};

/// A proxy sends the header as soon as it has connected. So long is enough for a packet to be lost
/// and sent again, twice.
const PATIENCE_US: u64 = 5_000_000;
/// Who has waited too long is looked for no more often than this.
const SWEEP_US: u64 = 250_000;

impl Handler {
    /// What comes first from the clients of a listener.
    pub(super) fn intake_at(&self, listener: usize) -> Intake {
        let bind = self.settings.conf.binds.get(listener);
        match bind.map_or(ProxyProtocol::No, |bind| bind.proxy_protocol) {
            ProxyProtocol::No => Intake::Open,
            ProxyProtocol::Addresses => Intake::Header,
            ProxyProtocol::Users => Intake::HeaderWithUser,
        }
    }

    /// Reads the header, and what has come behind it.
    #[cold]
    pub(super) fn read_header(&mut self, reader: &mut Reader, id: ClientId) -> Next {
        let Some(client) = self.clients.get_mut(id) else { return Next::Enough };
        let scratch = &mut reader.scratch;
        let mut total = 0;
        if let Some(inbox) = client.inbox.take() {
            total = inbox.len();
            scratch[..total].copy_from_slice(inbox.filled());
        }
        // Who has just been taken over from another process may have nothing more.
        if client.readable {
            match client.socket.read(&mut scratch[total..]) {
                Ok(Progress::Moved(length)) => {
                    total += length;
                    self.recorder.handler().total_recv_client_bytes.add(length as u64);
                    client.readable = total == scratch.len() || client.hung_up;
                }
                Ok(Progress::WouldBlock) => client.readable = false,
                Ok(Progress::Closed) => {
                    let (peer, number) = (client.peer, client.socket.number());
                    // That is how proxies look whether somebody listens.
                    log_info!(
                        self.log,
                        "h {} c {} {} closed before its PROXY header",
                        self.index,
                        peer,
                        number
                    );
                    return self.client_ended(id);
                }
                Err(error) => {
                    self.drop_client(id, &error);
                    return Next::Enough;
                }
            }
        }
        let received = &scratch[..total];
        let used = match proxy_header::parse(received) {
            Ok(Parsed::Incomplete) => 0,
            Ok(Parsed::Header(header)) => {
                self.take_header(id, &header);
                header.length
            }
            Err(error) => {
                let (peer, number) = (client.peer, client.socket.number());
                log_notice!(
                    self.log,
                    "h {} c {} {} PROXY header {}",
                    self.index,
                    peer,
                    number,
                    error
                );
                self.drop_client(id, "PROXY header");
                return Next::Enough;
            }
        };
        let Some(client) = self.clients.get_mut(id) else { return Next::Enough };
        if used < total {
            let mut inbox = self.buffers.take(total - used);
            inbox.push(&received[used..]);
            client.inbox = Some(inbox);
        }
        if client.readable || used > 0 { Next::More } else { Next::Enough }
    }

    /// A header has said who a client is.
    fn take_header(&mut self, id: ClientId, header: &Header<'_>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let names_user = client.intake == Intake::HeaderWithUser;
        client.intake = Intake::Open;
        if let Some(source) = header.source {
            let (proxy, number) = (client.peer, client.socket.number());
            log_info!(self.log, "h {} c {} {} behind {}", self.index, source, number, proxy);
            client.peer = source;
        }
        if header.destination.is_some() {
            client.profile_mut().reached = header.destination;
        }
        let Some(name) = header.common_name.filter(|_| names_user) else { return };
        match self.settings.authority.identity_of_user(name) {
            Some(identity) => client.identity = Some(identity),
            None => {
                let (peer, name) = (client.peer, name.escape_ascii());
                log_notice!(
                    self.log,
                    "h {} c {} has a certificate of \"{}\", who is no User",
                    self.index,
                    peer,
                    name
                );
            }
        }
    }

    /// A client has come; if its header does not come in time it goes.
    #[inline]
    pub(super) fn watch_headers(&mut self, intake: Intake) {
        if intake.wants_header() {
            self.deadlines.advance(Chore::Headers, self.now_us + PATIENCE_US);
        }
    }

    /// Lets go of clients whose header has not come in time.
    pub(super) fn check_headers(&mut self) {
        let mut next_us = u64::MAX;
        for id in self.clients.ids() {
            let Some(client) = self.clients.get(id) else { continue };
            if !client.intake.wants_header() {
                continue;
            }
            // One that was taken over from another process has been there for longer than here.
            let due_us = client.since_us.saturating_add(PATIENCE_US);
            if self.now_us < due_us {
                next_us = next_us.min(due_us.max(self.now_us + SWEEP_US));
                continue;
            }
            let (peer, number) = (client.peer, client.socket.number());
            log_notice!(
                self.log,
                "h {} c {} {} PROXY header does not come",
                self.index,
                peer,
                number
            );
            self.drop_client(id, "PROXY header");
        }
        self.deadlines.set(Chore::Headers, next_us);
    }
}
