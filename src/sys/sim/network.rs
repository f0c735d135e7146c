//! What happens between two simulated ends: connects, bytes, ends and breaks.
//!
//! Bytes of one direction never overtake each other, and only a reset overtakes bytes.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Fate;
use super::end::{End, Life};
use super::state::{Happening, State};
use crate::base::address::Address;
use crate::sys::{Endpoint, Peer, Progress};

/// How many connections may wait to be accepted; as on the real platforms.
const BACKLOG: usize = 511;
/// When Linux gives up a connect that is never answered.
const CONNECT_TIMEOUT_US: u64 = 127_000_000;
/// After how long it asks again where the backlog was full.
const CONNECT_RETRY_US: u64 = 1_000_000;

/// Who waits to be accepted, and where.
pub(super) struct Listener {
    pub(super) address: Address,
    pub(super) waiting: VecDeque<u32>,
    /// Somebody has added it to a multiplexor.
    pub(super) is_watched: bool,
}

/// What a system call answers about a number that it does not know.
pub(in crate::sys) fn bad_number() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

impl State {
    /// Listens at an address; port 0 is replaced by a free one.
    pub(in crate::sys) fn bind(&mut self, address: &Address) -> io::Result<u32> {
        let mut address = match address {
            Address::Host { name, port } if &**name == "*" => {
                Address::Ip((Ipv6Addr::UNSPECIFIED, *port).into())
            }
            Address::Host { name, port } => match self.look_up(name).0.first() {
                Some(found) => Address::Ip(SocketAddr::new(found.ip(), *port)),
                None => return Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            },
            other => other.clone(),
        };
        if let Address::Ip(ip) = &address
            && ip.port() == 0
        {
            let ports = 20_000..=u16::MAX;
            let mut free = ports.map(|port| address.with_port(port));
            let taken = |address: &Address| self.is_taken(address);
            address = free.find(|address| !taken(address)).ok_or(io::ErrorKind::AddrInUse)?;
        }
        if self.is_taken(&address) {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        let id = self.new_id();
        self.note(format_args!("#{} listens at {address}", self.shown(id)));
        let waiting = VecDeque::new();
        self.listeners.insert(id, Listener { address, waiting, is_watched: false });
        Ok(id)
    }

    /// Stops to listen; who waits to be accepted is turned away.
    pub(in crate::sys) fn close_listener(&mut self, id: u32) {
        let Some(listener) = self.listeners.remove(&id) else { return };
        self.note(format_args!("#{} listens no more", self.shown(id)));
        for watcher in self.watchers.values_mut() {
            watcher.listeners.retain(|(known, _)| *known != id);
        }
        for end in listener.waiting {
            if let Some(client) = self.ends.remove(end).and_then(|end| end.peer) {
                self.part(client);
                let at_us = self.arrival_us();
                self.schedule(at_us, Happening::Reset { to: client });
            }
        }
    }

    pub(in crate::sys) fn listening_at(&self, id: u32) -> Option<Address> {
        self.listeners.get(&id).map(|listener| listener.address.clone())
    }

    /// The next connection that waits.
    pub(in crate::sys) fn accept(&mut self, id: u32) -> io::Result<Option<(u32, Peer)>> {
        self.run_due();
        let listener = self.listeners.get(&id).ok_or_else(bad_number)?;
        if listener.waiting.is_empty() {
            return Ok(None);
        }
        // The test's own listeners are not watched, and need not be prepared for this.
        if listener.is_watched {
            let told_to_fail = self.accepts_to_fail > 0;
            self.accepts_to_fail = self.accepts_to_fail.saturating_sub(1);
            if told_to_fail || self.chance(self.faults.accept_failures) {
                self.note(format_args!("#{} accept fails: no descriptor left", self.shown(id)));
                return Err(io::Error::from_raw_os_error(libc::EMFILE));
            }
        }
        let waiting = self.listeners.get_mut(&id).and_then(|known| known.waiting.pop_front());
        let Some((new, end)) = waiting.and_then(|new| Some((new, self.ends.get_mut(new)?))) else {
            return Ok(None);
        };
        end.is_held = true;
        let from = end.from;
        self.note(format_args!("#{} accepts #{} of {from}", self.shown(id), self.shown(new)));
        Ok(Some((new, from)))
    }

    /// Begins to connect. A test that names its `source` is spared the random refusals.
    pub(in crate::sys) fn connect(
        &mut self,
        endpoint: &Endpoint,
        source: Option<SocketAddr>,
    ) -> io::Result<u32> {
        self.run_due();
        let fate = self.draw_fate(endpoint, source.is_none());
        if let Endpoint::Unix(_) = endpoint {
            let code = match (fate, self.listener_at(endpoint)) {
                (Fate::Refuse, Some(_)) => libc::ECONNREFUSED,
                (Fate::Silence, Some(_)) => libc::EAGAIN,
                (_, None) => libc::ENOENT,
                (Fate::Answer, Some(_)) => 0,
            };
            if code != 0 {
                self.note(format_args!("connect to {endpoint} fails with {code}"));
                return Err(io::Error::from_raw_os_error(code));
            }
        }
        if fate == Fate::Refuse && self.chance(self.faults.instant_refusals) {
            self.note(format_args!("connect to {endpoint} is refused at once"));
            return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        }
        let id = self.new_end(Life::Connecting, Peer::Unix);
        self.note(format_args!("#{} connects to {endpoint}: {fate:?}", self.shown(id)));
        let source = source.unwrap_or_else(|| self.source_for(id, endpoint));
        let arrival_us = self.arrival_us();
        let (client, endpoint) = (id, endpoint.clone());
        match (fate, &endpoint) {
            // It is decided before the call comes back.
            (Fate::Answer, Endpoint::Unix(_)) => self.knock(client, &endpoint, source),
            (Fate::Answer, Endpoint::Ip(_)) => {
                self.schedule(arrival_us, Happening::Knock { client, endpoint, source });
            }
            (Fate::Refuse, _) => {
                let code = libc::ECONNREFUSED;
                self.schedule(arrival_us, Happening::Failure { client, code });
            }
            (Fate::Silence, _) => {
                let at_us = self.now_us.saturating_add(CONNECT_TIMEOUT_US);
                self.schedule(at_us, Happening::Failure { client, code: libc::ETIMEDOUT });
            }
        }
        Ok(id)
    }

    /// What is wrong with a socket, told once; as `SO_ERROR`.
    pub(in crate::sys) fn take_error(&mut self, id: u32) -> io::Result<()> {
        self.run_due();
        self.ends.get_mut(id).ok_or_else(bad_number)?.tell_error()
    }

    /// Whether a read would give anything but that nothing is there.
    pub(super) fn has_news(&mut self, id: u32) -> bool {
        self.run_due();
        let news = |end: &End| end.readiness().readable || end.error.is_some();
        self.ends.get(id).is_some_and(news)
    }

    pub(in crate::sys) fn read(&mut self, id: u32, room: &mut [u8]) -> io::Result<Progress> {
        self.run_due();
        let short = self.chance(self.faults.short_reads);
        let arrived = self.ends.get(id).ok_or_else(bad_number)?.inbound.len();
        let most = match arrived {
            2.. if short => 1 + self.random.index(arrived - 1),
            _ => arrived,
        };
        let end = self.ends.get_mut(id).ok_or_else(bad_number)?;
        let progress = end.take(room, most);
        let (peer, left) = (end.peer, end.inbound.len());
        match &progress {
            Ok(Progress::Moved(size)) => {
                let size = *size;
                self.note(format_args!("#{} reads {size} of {arrived}", self.shown(id)));
                // As if the rest had arrived only now. Who reads less than it has room for may
                // believe that nothing is left, and an edge must tell it otherwise.
                if left > 0 && size < room.len() {
                    self.trigger(id, true, false);
                }
                if let Some((peer, end)) = peer.and_then(|id| Some((id, self.ends.get_mut(id)?))) {
                    end.unread_by_peer = end.unread_by_peer.saturating_sub(size);
                    self.offer_room(peer);
                }
            }
            Ok(Progress::WouldBlock) => {}
            Ok(Progress::Closed) => self.note(format_args!("#{} reads the end", self.shown(id))),
            Err(error) => self.note(format_args!("#{} cannot read: {error}", self.shown(id))),
        }
        progress
    }

    /// Sends as much of `bytes`, which has `total` of them, as there is room for.
    pub(in crate::sys) fn write<'a>(
        &mut self,
        id: u32,
        total: usize,
        bytes: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<Progress> {
        self.run_due();
        let short = self.chance(self.faults.short_writes);
        let end = self.ends.get_mut(id).ok_or_else(bad_number)?;
        let room = match end.room() {
            Ok(Some(room)) => room,
            Ok(None) => return Ok(Progress::WouldBlock),
            Err(error) => {
                self.note(format_args!("#{} cannot write: {error}", self.shown(id)));
                return Err(error);
            }
        };
        let mut size = room.min(total);
        if short {
            size = self.random.index(size + 1);
        }
        let mut sent = Vec::with_capacity(size);
        for piece in bytes {
            sent.extend_from_slice(&piece[..piece.len().min(size - sent.len())]);
        }
        if let Some(end) = self.ends.get_mut(id) {
            end.unread_by_peer += size;
            end.wants_room |= size < total;
        }
        self.offer_room(id);
        if size == 0 && total > 0 {
            return Ok(Progress::WouldBlock);
        }
        self.note(format_args!("#{} writes {size} of {total}", self.shown(id)));
        self.send(id, sent);
        Ok(Progress::Moved(size))
    }

    /// Says that nothing more will come.
    pub(in crate::sys) fn shut_down_write(&mut self, id: u32) -> io::Result<()> {
        self.run_due();
        let end = self.ends.get_mut(id).ok_or_else(bad_number)?;
        if end.life != Life::Open {
            return Err(io::Error::from_raw_os_error(libc::ENOTCONN));
        }
        let (peer, was_said) = (end.peer, end.said_all);
        end.said_all = true;
        self.note(format_args!("#{} shuts down", self.shown(id)));
        if let (Some(to), false) = (peer, was_said) {
            let at_us = self.arrival_in_order_us(id);
            self.schedule(at_us, Happening::Finish { to });
        }
        // A socket that can no longer be written to counts as writable.
        self.trigger(id, true, true);
        Ok(())
    }

    /// The socket will be closed with a reset.
    pub(in crate::sys) fn close_with_reset(&mut self, id: u32) {
        if let Some(end) = self.ends.get_mut(id) {
            end.resets = true;
        }
    }

    /// The socket is closed. A peer whose bytes were not read is told so by a reset.
    pub(in crate::sys) fn close(&mut self, id: u32) {
        self.run_due();
        let at_us = self.arrival_in_order_us(id);
        let Some(end) = self.ends.remove(id) else { return };
        self.note(format_args!("#{} closes", self.shown(id)));
        let (Life::Open, Some(to)) = (end.life, end.peer) else { return };
        self.part(to);
        if !end.inbound.is_empty() || end.resets {
            let overtakes = self.chance(self.faults.overtaking_resets);
            let at_us = if overtakes { self.arrival_us() } else { at_us };
            self.schedule(at_us, Happening::Reset { to });
        } else if !end.said_all {
            self.schedule(at_us, Happening::Finish { to });
        }
    }

    /// Breaks a connection for both ends, and loses what is on its way.
    pub(super) fn cut(&mut self, id: u32) {
        let Some(end) = self.ends.get(id) else { return };
        let both = [Some(id), end.peer];
        self.note(format_args!("#{} is cut", self.shown(id)));
        for id in both.into_iter().flatten() {
            if let Some(end) = self.ends.get_mut(id)
                && end.life != Life::Broken
            {
                end.inbound.clear();
                self.break_end(id, libc::ECONNRESET);
            }
        }
    }

    pub(super) fn hold(&mut self, id: u32) {
        let peer = self.ends.get(id).and_then(|end| end.peer);
        for id in [Some(id), peer].into_iter().flatten() {
            if let Some(end) = self.ends.get_mut(id) {
                end.held_back.get_or_insert_default();
            }
        }
    }

    pub(super) fn release(&mut self, id: u32) {
        let peer = self.ends.get(id).and_then(|end| end.peer);
        for id in [Some(id), peer].into_iter().flatten() {
            let held_back = self.ends.get_mut(id).and_then(|end| end.held_back.take());
            // In front of all that comes later, in its own order.
            for happening in held_back.unwrap_or_default() {
                self.happen(happening);
            }
        }
    }

    pub(super) fn open_sockets(&self) -> usize {
        self.ends.iter().filter(|(_, end)| end.is_held).count()
    }

    /// Lets something that has come about have its effect.
    pub(super) fn happen(&mut self, happening: Happening) {
        if let Some(target) = happening.target()
            && let Some(end) = self.ends.get_mut(target)
            && let Some(held_back) = &mut end.held_back
        {
            held_back.push(happening);
            return;
        }
        match happening {
            Happening::Knock { client, endpoint, source } => self.knock(client, &endpoint, source),
            Happening::Failure { client, code } => {
                self.note(format_args!("#{} fails with {code}", self.shown(client)));
                self.break_end(client, code);
            }
            Happening::Bytes { from, to, bytes } => self.deliver(from, to, &bytes),
            Happening::Finish { to } => {
                if let Some(end) = self.ends.get_mut(to) {
                    end.heard_all = true;
                    self.note(format_args!("#{} hears the end", self.shown(to)));
                    self.trigger(to, true, false);
                }
            }
            Happening::Reset { to } => self.reset(to),
            Happening::Room { to } => self.give_room(to),
            // Not the network's.
            Happening::Answer { .. } | Happening::Alarm => {}
        }
    }

    /// A connect arrives: there is a new end for the listener, or nobody listens.
    fn knock(&mut self, client: u32, endpoint: &Endpoint, source: SocketAddr) {
        if !self.ends.contains(client) {
            return;
        }
        let Some(listener) = self.listener_at(endpoint) else {
            self.note(format_args!("#{} is refused", self.shown(client)));
            self.break_end(client, libc::ECONNREFUSED);
            return;
        };
        let is_full = self.listeners.get(&listener).is_none_or(|to| to.waiting.len() >= BACKLOG);
        if is_full {
            let (endpoint, at_us) = (endpoint.clone(), self.now_us + CONNECT_RETRY_US);
            self.schedule(at_us, Happening::Knock { client, endpoint, source });
            return;
        }
        let from = match endpoint {
            Endpoint::Ip(_) => Peer::Ip(source),
            Endpoint::Unix(_) => Peer::Unix,
        };
        let server = self.new_end(Life::Open, from);
        if let Some(end) = self.ends.get_mut(server) {
            end.is_held = false;
            end.peer = Some(client);
        }
        if let Some(end) = self.ends.get_mut(client) {
            end.life = Life::Open;
            end.peer = Some(server);
        }
        if let Some(to) = self.listeners.get_mut(&listener) {
            to.waiting.push_back(server);
        }
        self.note(format_args!("#{} is connected to #{}", self.shown(client), self.shown(server)));
        self.trigger(client, false, true);
    }

    /// Bytes arrive. If nobody is there any more, the sender is told.
    fn deliver(&mut self, from: u32, to: u32, bytes: &[u8]) {
        if self.chance(self.faults.resets) {
            self.cut(to);
            return;
        }
        match self.ends.get_mut(to) {
            Some(end) if end.life == Life::Open => {
                end.inbound.extend(bytes);
                self.note(format_args!("#{} receives {}", self.shown(to), bytes.len()));
                self.trigger(to, true, false);
            }
            Some(_) => {}
            None => {
                let at_us = self.arrival_us();
                self.schedule(at_us, Happening::Reset { to: from });
            }
        }
    }

    fn reset(&mut self, to: u32) {
        let loses = self.chance(self.faults.overtaking_resets);
        let Some(end) = self.ends.get_mut(to) else { return };
        if end.life != Life::Open {
            return;
        }
        if loses {
            end.inbound.clear();
        }
        // Linux's answer to who goes on writing after the peer has said that it is done.
        let code = if end.heard_all { libc::EPIPE } else { libc::ECONNRESET };
        self.note(format_args!("#{} is reset", self.shown(to)));
        self.break_end(to, code);
    }

    fn break_end(&mut self, id: u32, code: i32) {
        if let Some(end) = self.ends.get_mut(id) {
            end.break_with(code);
            self.trigger(id, true, true);
        }
    }

    /// The peer of this end is gone.
    fn part(&mut self, id: u32) {
        if let Some(end) = self.ends.get_mut(id) {
            end.peer = None;
        }
    }

    /// Puts bytes on their way, in one piece or in several.
    fn send(&mut self, from: u32, mut bytes: Vec<u8>) {
        let Some(to) = self.ends.get(from).map(|end| end.peer) else { return };
        let Some(to) = to else {
            // The peer is closed; its system says so when they arrive.
            let at_us = self.arrival_in_order_us(from);
            self.schedule(at_us, Happening::Reset { to: from });
            return;
        };
        while bytes.len() > 1 && self.chance(self.faults.cut_writes) {
            let rest = bytes.split_off(1 + self.random.index(bytes.len() - 1));
            let at_us = self.arrival_in_order_us(from);
            self.schedule(at_us, Happening::Bytes { from, to, bytes });
            bytes = rest;
        }
        if !bytes.is_empty() {
            let at_us = self.arrival_in_order_us(from);
            self.schedule(at_us, Happening::Bytes { from, to, bytes });
        }
    }

    /// When something that is sent now arrives, behind all that was sent before.
    fn arrival_in_order_us(&mut self, from: u32) -> u64 {
        let mut at_us = self.arrival_us();
        if let Some(end) = self.ends.get_mut(from) {
            at_us = at_us.max(end.last_arrival_us);
            end.last_arrival_us = at_us;
        }
        at_us
    }

    /// Lets a sender that found no room know when there is enough again.
    fn offer_room(&mut self, id: u32) {
        let Some(end) = self.ends.get_mut(id) else { return };
        if end.wants_room && !end.room_coming && end.has_much_room() {
            end.room_coming = true;
            let at_us = self.arrival_us();
            self.schedule(at_us, Happening::Room { to: id });
        }
    }

    fn give_room(&mut self, id: u32) {
        let Some(end) = self.ends.get_mut(id) else { return };
        end.room_coming = false;
        // It may have been used up in between; then the next read of the peer brings it.
        if end.wants_room && end.has_much_room() {
            end.wants_room = false;
            self.note(format_args!("#{} has room", self.shown(id)));
            self.trigger(id, false, true);
        }
    }

    fn new_end(&mut self, life: Life, from: Peer) -> u32 {
        let id = self.new_id();
        let (least, most) = (*self.faults.capacity.start(), *self.faults.capacity.end());
        let capacity = least + self.random.index(most.saturating_sub(least).saturating_add(1));
        self.ends.insert(id, End::new(life, from, capacity.max(1)));
        id
    }

    fn draw_fate(&mut self, endpoint: &Endpoint, with_faults: bool) -> Fate {
        let known = self.fates.iter().find(|(known, _)| known == endpoint);
        let fate = known.map_or(Fate::Answer, |(_, fate)| *fate);
        if !with_faults || fate != Fate::Answer {
            return fate;
        }
        if self.chance(self.faults.refusals) {
            return Fate::Refuse;
        }
        if self.chance(self.faults.silences) { Fate::Silence } else { Fate::Answer }
    }

    /// Where a connect comes from if nobody said so: this host.
    fn source_for(&self, id: u32, endpoint: &Endpoint) -> SocketAddr {
        let port = u16::try_from(self.shown(id) % 20_000).unwrap_or(0) + 40_000;
        match endpoint {
            Endpoint::Ip(SocketAddr::V6(_)) => (Ipv6Addr::LOCALHOST, port).into(),
            Endpoint::Ip(SocketAddr::V4(_)) | Endpoint::Unix(_) => {
                (Ipv4Addr::LOCALHOST, port).into()
            }
        }
    }

    fn is_taken(&self, address: &Address) -> bool {
        self.listeners.values().any(|listener| listener.address == *address)
    }

    fn listener_at(&self, endpoint: &Endpoint) -> Option<u32> {
        let found =
            self.listeners.iter().find(|(_, listener)| match (&listener.address, endpoint) {
                (Address::Ip(listens), Endpoint::Ip(wanted)) => {
                    listens.port() == wanted.port() && covers(listens.ip(), wanted.ip())
                }
                (Address::Unix(listens), Endpoint::Unix(wanted)) => listens == wanted,
                _ => false,
            });
        found.map(|(id, _)| *id)
    }
}

/// Whether who listens at one address hears who connects to the other.
fn covers(listens: IpAddr, wanted: IpAddr) -> bool {
    match listens {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => wanted.is_ipv4(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
        other => other == wanted,
    }
}

impl Happening {
    /// The end whose connection it travels through, if it does.
    fn target(&self) -> Option<u32> {
        match self {
            Happening::Bytes { to, .. }
            | Happening::Finish { to }
            | Happening::Reset { to }
            | Happening::Room { to } => Some(*to),
            Happening::Knock { .. }
            | Happening::Failure { .. }
            | Happening::Answer { .. }
            | Happening::Alarm => None,
        }
    }
}
