//! Going where a server says that the keys are.

use super::super::lane::Lane;
use super::super::replies;
use super::super::request::{Awaiting, Errand, HOPS_AT_ONCE, HOPS_MAX, LinkId, Origin, Ticket};
use super::Handler;
use super::links::ELEPHANT;
use super::waiting_room::Parcel;
use crate::base::address::Address;
use crate::pool::{Place, ServerId, Slot};
use crate::resp::redirect::Redirect;
use crate::resp::writer::Sink;

impl Handler {
    /// Whether the client that gets the reply watches keys, or the like: it reads from masters.
    pub(super) fn is_in_session(&self, origin: Origin) -> bool {
        let client = self.client_of(origin).and_then(|id| self.clients.get(id));
        client.is_some_and(|client| client.session.is_some())
    }

    /// Follows MOVED and ASK. False when the redirection itself has to be the reply.
    #[cold]
    #[inline(never)]
    pub(super) fn redirect(&mut self, id: LinkId, awaiting: &Awaiting, reply: &[u8]) -> bool {
        let Some((address, slot, ask)) = self.parse_redirect(id, reply) else { return false };
        let is_tossed = !ask && awaiting.redirects() >= HOPS_AT_ONCE;
        if awaiting.redirects() >= HOPS_MAX && !is_tossed {
            return false;
        }
        if awaiting.is_late() {
            // Its place is behind others now, which have not waited for it.
            self.deliver(awaiting.origin, replies::NO_SERVER_CONNECTION);
            self.refresh_soon();
            return true;
        }
        let Some(link) = self.links.get(id) else { return false };
        let Some(request) = link.log.request(awaiting.offset, awaiting.length as usize) else {
            return self.redirect_upload(awaiting, (&address, slot, ask));
        };
        let (request, lane, sender) = (request.to_vec(), link.lane, link.server);
        let is_owner = self.topology.find(&address) == self.topology.master_of_slot(slot);
        // What a replica may answer is in no order with anything.
        let is_free = awaiting.repeatable
            && !awaiting.ticket().is_pinned()
            && !self.topology.reads_go_to_masters();
        if !ask
            && awaiting.redirects() > 0
            && is_owner
            && !is_free
            && self.would_be_late(sender, awaiting, &request)
        {
            // It had gone elsewhere, say after ASK of a migration that was broken off since, and
            // its client's later requests have gone to the owner meanwhile.
            self.deliver(awaiting.origin, replies::NO_SERVER_CONNECTION);
            self.refresh_soon();
            return true;
        }
        // A server may see keys in what is no request to anybody else.
        let place = self.place_of(awaiting.origin, &request);
        let (place, master) = place.unwrap_or((Place::Slot(slot), true));
        let ticket = awaiting.again();
        let master = master || ticket.is_pinned();
        let parcel = Parcel { place, master, lane, ticket, request: &request };
        if is_tossed {
            // Also a read goes to the master next time: replicas may be the last to learn.
            let ticket = awaiting.calmed();
            if self.try_later(Parcel { master: true, ticket, ..parcel }) {
                self.server_at(&address, slot, ask);
                self.refresh_soon();
                return true;
            }
            if awaiting.redirects() >= HOPS_MAX {
                return false;
            }
        }
        if self.room.has_waiting_for(place) {
            // Some of them may be older: it takes its place among them, and goes with them.
            self.send_or_wait(parcel);
            self.server_at(&address, slot, ask);
        } else {
            let Some(server) = self.server_at(&address, slot, ask) else { return false };
            if let Err(error) = self.follow(server, ask, parcel) {
                self.wait_for_server(parcel, Some(server), error);
            }
        }
        if !ask {
            self.refresh_soon();
        }
        true
    }

    /// Where MOVED or ASK of a server points, and whether it is ASK.
    fn parse_redirect(&self, id: LinkId, reply: &[u8]) -> Option<(Address, Slot, bool)> {
        if !self.topology.is_cluster() {
            return None;
        }
        let redirect = Redirect::parse(reply)?;
        let answered = self.topology.server(self.links.get(id)?.server)?;
        let answered = answered.endpoints().next().unwrap_or(answered.address());
        let (ask, slot) = (redirect.ask, Slot::new(u64::from(redirect.slot))?);
        Some((redirect.address(answered), slot, ask))
    }

    /// Who is meant by MOVED or ASK, and whether it is ASK. MOVED is remembered.
    pub(super) fn read_redirect(&mut self, id: LinkId, reply: &[u8]) -> Option<(ServerId, bool)> {
        let (address, slot, ask) = self.parse_redirect(id, reply)?;
        let server = self.server_at(&address, slot, ask)?;
        if !ask {
            self.refresh_soon();
        }
        Some((server, ask))
    }

    /// The server that a redirection names, which may be new; MOVED also makes it the owner.
    pub(super) fn server_at(
        &mut self,
        address: &Address,
        slot: Slot,
        ask: bool,
    ) -> Option<ServerId> {
        let known = self.topology.find(address);
        match known {
            Some(server) if ask || self.topology.master_of_slot(slot) == Some(server) => {
                return Some(server);
            }
            _ => {}
        }
        self.shared.current.update(|topology| {
            if ask { topology.with_asked(address) } else { topology.with_moved(slot, address) }
        });
        self.shared.wake_all();
        self.follow_topology();
        self.topology.find(address)
    }

    /// Sends a request once more, elsewhere.
    fn follow(
        &mut self,
        server: ServerId,
        ask: bool,
        Parcel { lane, ticket, request, .. }: Parcel<'_>,
    ) -> Result<(), &'static [u8]> {
        let link = if request.len() < ELEPHANT {
            self.shared_link(server, lane)
        } else {
            self.private_link(server, lane)
        };
        let Some((id, link)) = link.and_then(|id| Some((id, self.links.get_mut(id)?))) else {
            return Err(self.why_no_link(server, lane));
        };
        if ask {
            let mut asking = Vec::new();
            asking.command(&[b"ASKING"]);
            link.send_errand(&self.buffers, Errand::Asking, &asking, self.now_us);
        }
        link.send(&self.buffers, request, ticket);
        self.list_link(id);
        Ok(())
    }

    /// Sends a request that was sent already to the same server on another link.
    pub(super) fn send_elsewhere(
        &mut self,
        (server, lane): (ServerId, Lane),
        request: &[u8],
        ticket: Ticket,
        alone: bool,
    ) {
        let link =
            if alone { self.private_link(server, lane) } else { self.shared_link(server, lane) };
        match link.and_then(|id| Some((id, self.links.get_mut(id)?))) {
            Some((id, link)) => {
                link.send(&self.buffers, request, ticket);
                self.list_link(id);
            }
            None => self.deliver(ticket.origin, replies::SERVER_CONNECTION_CLOSE),
        }
    }
}
