//! CLIENT: what a client is told about itself and others, and what it may do to them.
//!
//! Clients are spread over the handlers, so whatever concerns others than the one who asks goes
//! round: each handler answers for its own.

use super::super::accept_connection::{AcceptConnection, Intake};
use super::super::client_list::{ClientFilter, ClientLine, integer};
use super::super::connect_connection::OwnId;
use super::super::lane::Lane;
use super::super::profile::Replies;
use super::super::replies;
use super::super::request::{ClientId, Errand, LinkId, Origin, Step};
use super::super::session::{Session, Unblock};
use super::Handler;
use super::dispatch::Request;
use crate::base::address::Address;
use crate::conf::Conf;
use crate::log_notice;
use crate::resp::command::ClientCommand;
use crate::resp::reply::Reply;
use crate::resp::writer::{Protocol, Sink};
use crate::sys::Peer;

const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAPA <capability> [<capability> ...]",
    "    Accepted; no capability changes what the proxy does.",
    "GETNAME",
    "    Return the name of this connection.",
    "GETREDIR",
    "    Return -1: the proxy does not do client-side caching.",
    "ID",
    "    Return the number of this connection.",
    "INFO",
    "    Return what CLIENT LIST says of this connection.",
    "KILL <ip:port>",
    "    Close the connection that comes from there.",
    "KILL <option> <value> [<option> <value> ...]",
    "    Close the connections to which all options apply, and return how many:",
    "    ID <number>, ADDR <ip:port>, LADDR <ip:port>, TYPE <normal|pubsub>, USER <name>,",
    "    MAXAGE <seconds>, SKIPME <yes|no>.",
    "LIST [TYPE <normal|pubsub>] [ID <number> [<number> ...]]",
    "    Return one line for each connection to the proxy.",
    "NO-EVICT <ON|OFF>",
    "    Do not close this connection when memory is short.",
    "NO-TOUCH <ON|OFF>",
    "    Accepted; servers do not learn of it.",
    "PAUSE <milliseconds> [WRITE|ALL]",
    "    Let the requests of all clients wait, or those that write.",
    "REPLY <ON|OFF|SKIP>",
    "    Send replies to this connection, send none, or leave out the next one.",
    "SETINFO <LIB-NAME|LIB-VER> <value>",
    "    Tell which client library this is.",
    "SETNAME <name>",
    "    Name this connection.",
    "TRACKINGINFO",
    "    Return that client-side caching is off.",
    "UNBLOCK <number> [TIMEOUT|ERROR]",
    "    End the blocking command of a client.",
    "UNPAUSE",
    "    End a pause.",
    "HELP",
    "    Print this help.",
];

/// A server that says it knows no such blocked client, although we wait for its answer, has not
/// read that command yet. It is asked again so often.
const UNBLOCK_TRIES: u8 = 50;

impl Handler {
    /// Writes the reply to a sub-command of CLIENT; nothing if others have to be asked first.
    pub(super) fn client_command(
        &mut self,
        command: ClientCommand,
        request: &Request<'_>,
        reply: &mut Vec<u8>,
    ) {
        let Some(client) = self.clients.get_mut(request.client) else { return };
        let protocol = request.lane.protocol();
        match command {
            ClientCommand::Id => {
                reply.integer(i64::try_from(client.number).unwrap_or(i64::MAX));
            }
            ClientCommand::GetName => {
                match client.name() {
                    [] => reply.null(protocol),
                    name => reply.bulk(name),
                };
            }
            ClientCommand::SetName if is_name(request.argument(2)) => {
                client.profile_mut().name = request.argument(2).into();
                reply.put(replies::OK);
            }
            ClientCommand::SetName => _ = reply.error(replies::BAD_CLIENT_NAME),
            ClientCommand::SetInfo => set_info(client, request, reply),
            ClientCommand::Capa => reply.put(replies::OK),
            ClientCommand::NoEvict | ClientCommand::NoTouch => {
                let Some(on) = on_or_off(request.argument(2)) else {
                    return reply.put(replies::SYNTAX_ERROR);
                };
                let profile = client.profile_mut();
                match command {
                    ClientCommand::NoEvict => profile.no_evict = on,
                    _ => profile.no_touch = on,
                }
                reply.put(replies::OK);
            }
            ClientCommand::Reply => {
                change_replies(client, request.sequence, request.argument(2), reply);
            }
            ClientCommand::GetRedirection => _ = reply.integer(-1),
            ClientCommand::Caching => reply.put(replies::NOT_TRACKING),
            ClientCommand::TrackingInfo => tracking_info(protocol, reply),
            ClientCommand::Help => {
                reply.array(HELP.len());
                HELP.iter().for_each(|line| _ = reply.simple(line));
            }
            ClientCommand::Info => {
                if let Some(line) = self.describe(request.client) {
                    let mut text = Vec::new();
                    line.write(&mut text);
                    text.push(b'\n');
                    reply.text(&text, protocol);
                }
            }
            ClientCommand::List => self.list_clients(request, reply),
            ClientCommand::Kill => self.kill_clients(request, reply),
            ClientCommand::Pause => self.pause_clients(request, reply),
            ClientCommand::Unpause => self.ask_all(
                (request.client, request.sequence),
                |handler| handler.hold_clients(None),
                |_, _| replies::OK.into(),
            ),
            ClientCommand::Unblock => self.unblock_client(request, reply),
        }
    }

    fn list_clients(&mut self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let filter = match ClientFilter::for_list(&words_of(request)) {
            Ok(filter) => filter,
            Err(text) => {
                reply.error_bytes(&text);
                return;
            }
        };
        let protocol = request.lane.protocol();
        self.ask_all(
            (request.client, request.sequence),
            move |handler| {
                let lines = handler.clients.ids().into_iter().filter_map(|id| handler.describe(id));
                lines.filter(|line| filter.admits(line, false)).collect::<Vec<ClientLine>>()
            },
            move |_, lines| {
                let mut lines: Vec<ClientLine> = lines.into_iter().flatten().collect();
                lines.sort_unstable_by_key(|line| line.id);
                let mut text = Vec::new();
                for line in lines {
                    line.write(&mut text);
                    text.push(b'\n');
                }
                let mut reply = Vec::with_capacity(text.len() + 32);
                reply.text(&text, protocol);
                reply
            },
        );
    }

    fn kill_clients(&mut self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let words = words_of(request);
        let authority = &self.settings.authority;
        let filter = match ClientFilter::for_kill(&words, |user| authority.has_user(user)) {
            Ok(filter) => filter,
            Err(text) => {
                reply.error_bytes(&text);
                return;
            }
        };
        let (asker, wants_count) = ((self.index, request.client), words.len() > 1);
        self.ask_all(
            (request.client, request.sequence),
            move |handler| handler.kill_some(&filter, asker),
            move |_, killed| {
                let mut reply = Vec::new();
                match killed.into_iter().sum() {
                    count if wants_count => _ = reply.integer(count),
                    0 => reply.put(replies::NO_SUCH_CLIENT),
                    _ => reply.put(replies::OK),
                }
                reply
            },
        );
    }

    /// Closes those of the own clients that are meant, and tells how many they were.
    fn kill_some(&mut self, filter: &ClientFilter, asker: (usize, ClientId)) -> i64 {
        let mut killed = 0;
        for id in self.clients.ids() {
            let is_asker = asker == (self.index, id);
            if !self.describe(id).is_some_and(|line| filter.admits(&line, is_asker)) {
                continue;
            }
            killed += 1;
            if let Some(client) = self.clients.get_mut(id) {
                log_notice!(self.log, "h {} c {} killed", self.index, client.peer);
                if is_asker {
                    // It still gets to know that.
                    client.intake = Intake::Closed;
                    continue;
                }
            }
            self.drop_client(id, "killed");
        }
        killed
    }

    /// What is known of a client.
    fn describe(&self, id: ClientId) -> Option<ClientLine> {
        let client = self.clients.get(id)?;
        let seconds = |since_us: u64| self.now_us.saturating_sub(since_us) / 1_000_000;
        let own = ClientLine {
            id: client.number,
            address: self.shown_address(client.peer),
            local_address: match client.reached_at() {
                Some(address) => address.to_string(),
                None => self.shown_address(client.peer),
            },
            descriptor: client.socket.number(),
            age_s: seconds(client.since_us),
            idle_s: seconds(client.active_us),
            flags: flags_of(client, self.insight.monitors.has(id), self.has_subscribed(id)),
            database: client.lane.database(),
            query: client.requests_len(),
            query_free: client.inbox.as_ref().map_or(0, |inbox| inbox.capacity() - inbox.len()),
            unread: client.unread_bytes(),
            unread_buffers: client.outbox.buffers(),
            memory: client.memory(),
            command: self.name_of_command(client),
            user: String::from_utf8_lossy(self.settings.authority.user_of(client.identity)).into(),
            protocol: if client.lane.protocol() == Protocol::Resp3 { 3 } else { 2 },
            handler: self.index,
            ..ClientLine::default()
        };
        let [channels, patterns, shard_channels] = self.subscription_counts(id);
        let own = ClientLine { channels, patterns, shard_channels, ..own };
        let own = match client.session.as_deref() {
            Some(Session::Queueing(transaction)) => ClientLine {
                queued: Some(transaction.queued as usize),
                queued_bytes: transaction.queue.bytes(),
                watched: transaction.watched as usize,
                ..own
            },
            Some(Session::Watching(watch) | Session::Blocked { watch: Some(watch), .. }) => {
                ClientLine { watched: watch.keys as usize, ..own }
            }
            Some(Session::Blocked { watch: None, .. }) | None => own,
        };
        let Some(profile) = &client.profile else { return Some(own) };
        Some(ClientLine {
            name: profile.name.clone(),
            library_name: profile.library_name.clone(),
            library_version: profile.library_version.clone(),
            ..own
        })
    }

    fn name_of_command(&self, client: &AcceptConnection) -> String {
        let command = client.command.and_then(|id| self.settings.conf.commands.command(id));
        command.map_or_else(|| "NULL".into(), |command| command.name().to_owned())
    }

    fn shown_address(&self, peer: Peer) -> String {
        match peer {
            Peer::Ip(address) => address.to_string(),
            Peer::Unix => unix_address(&self.settings.conf),
        }
    }

    /// CLIENT UNBLOCK
    fn unblock_client(&mut self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let words = words_of(request);
        let (id, how) = match words[..] {
            [id] => (id, Unblock::TimeOut),
            [id, how] if how.eq_ignore_ascii_case(b"timeout") => (id, Unblock::TimeOut),
            [id, how] if how.eq_ignore_ascii_case(b"error") => (id, Unblock::Error),
            [_, _] => return reply.put(replies::UNBLOCK_REASON),
            _ => return too_many_words(request, reply),
        };
        let Some(id) = integer(id) else { return reply.put(replies::NOT_AN_INTEGER) };
        let id = u64::try_from(id).unwrap_or(0);
        self.ask_all(
            (request.client, request.sequence),
            move |handler| handler.unblock(id, how),
            |_, found| {
                let mut reply = Vec::new();
                reply.integer(i64::from(found.into_iter().any(|found| found)));
                reply
            },
        );
    }

    /// Ends what blocks a client, if it is one of ours. Only the server can do that without
    /// losing what may just have come.
    fn unblock(&mut self, number: u64, how: Unblock) -> bool {
        let is_meant = |(_, client): &(ClientId, &AcceptConnection)| client.number == number;
        let found = self.clients.iter().find(is_meant).map(|(id, _)| id);
        let Some(client) = found.and_then(|id| self.clients.get_mut(id)) else { return false };
        let Some(Session::Blocked { link, unblock, .. }) = client.session.as_deref_mut() else {
            return false;
        };
        let link_id = *link;
        let Some(link) = self.links.get(link_id) else { return false };
        match link.own_id {
            OwnId::Unknown => return false,
            OwnId::Asked | OwnId::Known(_) => *unblock = Some((how, UNBLOCK_TRIES)),
        }
        self.tell_unblock(link_id);
        true
    }

    /// Asks on a link on which a command is about to block by which number the server knows us
    /// there.
    pub(super) fn ask_for_own_id(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.own_id == OwnId::Unknown {
            link.own_id = OwnId::Asked;
            let mut request = Vec::new();
            request.command(&[b"CLIENT", b"ID"]);
            link.send_errand(&self.buffers, Errand::OwnId, &request, self.now_us);
        }
    }

    /// A server has told by which number it knows us.
    pub(super) fn take_own_id(&mut self, id: LinkId, reply: &[u8]) {
        if let Some(link) = self.links.get_mut(id) {
            let number = Reply::new(reply).integer();
            link.own_id = number.map_or(OwnId::Unknown, OwnId::Known);
        }
        self.tell_unblock(id);
    }

    /// Tells the server to end what blocks a link, if somebody wants that and the link's number
    /// is known; if not yet, this is called again.
    fn tell_unblock(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        let (OwnId::Known(number), server) = (link.own_id, link.server) else { return };
        let Some(how) = self.unblock_wanted(id).map(|(how, _)| *how) else { return };
        let Some(shared) = self.shared_link(server, Lane::default()) else { return };
        let number = number.to_string();
        let how: &[u8] = match how {
            Unblock::TimeOut => b"TIMEOUT",
            Unblock::Error => b"ERROR",
        };
        let mut request = Vec::new();
        request.command(&[b"CLIENT", b"UNBLOCK", number.as_bytes(), how]);
        if let Some(link) = self.links.get_mut(shared) {
            link.send_errand(&self.buffers, Errand::Unblock(id), &request, self.now_us);
            self.list_link(shared);
        }
    }

    /// How the command that blocks a link is to be ended, if it is.
    fn unblock_wanted(&mut self, id: LinkId) -> Option<&mut (Unblock, u8)> {
        let front = self.links.get(id)?.awaiting.front()?;
        let Origin::Session { client, step: Step::Block, .. } = front.origin else { return None };
        match self.clients.get_mut(client)?.session.as_deref_mut()? {
            Session::Blocked { link, unblock, .. } if *link == id => unblock.as_mut(),
            _ => None,
        }
    }

    /// A server has answered to CLIENT UNBLOCK.
    pub(super) fn take_unblock_answer(&mut self, id: LinkId, reply: &[u8]) {
        if Reply::new(reply).integer() != Some(0) {
            return;
        }
        let Some((_, tries)) = self.unblock_wanted(id) else { return };
        *tries = tries.saturating_sub(1);
        if *tries > 0 {
            self.tell_unblock(id);
        }
    }
}

/// Whether a client may be called that.
pub(super) fn is_name(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

/// The words behind the sub-command.
fn words_of<'a>(request: &'a Request<'_>) -> Vec<&'a [u8]> {
    (2..request.arguments.count()).map(|index| request.argument(index)).collect()
}

/// A sub-command that looks at its words itself has too many; it is named as its client did.
pub(super) fn too_many_words(request: &Request<'_>, reply: &mut Vec<u8>) {
    let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
    text.put(request.argument(1));
    text.put(b"'. Try CLIENT HELP.");
    reply.error_bytes(&text);
}

fn on_or_off(word: &[u8]) -> Option<bool> {
    match word {
        _ if word.eq_ignore_ascii_case(b"on") => Some(true),
        _ if word.eq_ignore_ascii_case(b"off") => Some(false),
        _ => None,
    }
}

/// `CLIENT SETINFO`: client libraries introduce themselves.
fn set_info(client: &mut AcceptConnection, request: &Request<'_>, reply: &mut Vec<u8>) {
    let (option, value) = (request.argument(2), request.argument(3));
    let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
    let name = match option {
        _ if is(b"lib-name") => "lib-name",
        _ if is(b"lib-ver") => "lib-ver",
        _ => {
            let shown = String::from_utf8_lossy(option);
            reply.error(&format!("ERR Unrecognized option '{shown}'"));
            return;
        }
    };
    if !is_name(value) {
        let text = format!("ERR {name} cannot contain spaces, newlines or special characters.");
        reply.error(&text);
        return;
    }
    let profile = client.profile_mut();
    match name {
        "lib-name" => profile.library_name = value.into(),
        _ => profile.library_version = value.into(),
    }
    reply.put(replies::OK);
}

/// `CLIENT REPLY`. What is written to `reply` is only sent if it is wanted.
fn change_replies(client: &mut AcceptConnection, sequence: u32, word: &[u8], reply: &mut Vec<u8>) {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    let before = client.profile.as_ref().map_or(Replies::All, |profile| profile.replies);
    let wanted = match word {
        _ if is(b"on") => Replies::All,
        _ if is(b"off") => Replies::None,
        _ if is(b"skip") && before == Replies::None => Replies::None,
        _ if is(b"skip") => Replies::NotNext,
        _ => return reply.put(replies::SYNTAX_ERROR),
    };
    if wanted != before {
        client.profile_mut().replies = wanted;
        client.follow_profile();
    }
    if wanted == Replies::All {
        client.unmute(sequence);
    } else {
        client.mute_last();
    }
    reply.put(replies::OK);
}

/// `CLIENT TRACKINGINFO`: there is no tracking.
fn tracking_info(protocol: Protocol, reply: &mut Vec<u8>) {
    reply.map(3, protocol);
    reply.bulk(b"flags").set(1, protocol).bulk(b"off");
    reply.bulk(b"redirect").integer(-1);
    reply.bulk(b"prefixes").array(0);
}

/// The letters that Redis has for what is special about a client.
fn flags_of(client: &AcceptConnection, watches_all: bool, has_subscribed: bool) -> String {
    let (mut queues, mut is_void, mut is_blocked) = (false, false, false);
    match client.session.as_deref() {
        Some(Session::Queueing(transaction)) => {
            (queues, is_void) = (true, transaction.is_void);
        }
        Some(Session::Blocked { .. }) => is_blocked = true,
        Some(Session::Watching(_)) | None => {}
    }
    let profile = client.profile.as_deref();
    let letters = [
        ('O', watches_all),
        ('P', has_subscribed),
        ('x', queues),
        ('b', is_blocked),
        ('d', is_void),
        ('c', client.intake == Intake::Closed),
        ('U', client.peer == Peer::Unix),
        ('e', profile.is_some_and(|profile| profile.no_evict)),
        ('T', profile.is_some_and(|profile| profile.no_touch)),
    ];
    letters.into_iter().filter(|(_, is_so)| *is_so).map(|(letter, _)| letter).collect()
}

/// What Redis shows as the address of a client at a Unix socket: where the socket is.
fn unix_address(conf: &Conf) -> String {
    let path = conf.binds.iter().find_map(|bind| match &bind.address {
        Address::Unix(path) => Some(path.display()),
        _ => None,
    });
    path.map_or_else(|| "unix:0".into(), |path| format!("{path}:0"))
}
