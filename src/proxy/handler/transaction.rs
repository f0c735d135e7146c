//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.
//!
//! MULTI is answered here. The first command that names a key decides where the transaction
//! runs: a link to the master of that place is lent to the client, MULTI goes there, and then
//! every command as it comes, so that the server itself queues and checks it. EXEC follows, and
//! the link goes back when it is answered. A server that refuses a command fails the EXEC behind
//! it, so whatever goes wrong before EXEC is executed, nothing is. That makes it safe to begin
//! anew, with all that was queued, where a slot has moved to.
//!
//! A client comes to its own link only when all it has sent on others is answered, and leaves it
//! only when EXEC or WATCH is answered: what it sends is executed in the order it was sent.

use super::super::accept_connection::{AcceptConnection, Intake};
use super::super::lane::Lane;
use super::super::replies;
use super::super::request::{Awaiting, ClientId, HOPS_MAX, LinkId, Origin, Step, Ticket};
use super::super::session::{Outcome, Session, Transaction, Watch};
use super::Handler;
use super::dispatch::{Common, Request, Taken, no_server_reply};
use super::loss::Loss;
use crate::base::slab::Slab;
use crate::pool::{Place, ServerGroup, ServerId};
use crate::resp::command::{
    Family, LocalCommand, PubSubCommand, ScriptCommand, TransactionCommand, Unresolved, error_text,
};
use crate::resp::redirect::{ErrorKind, Redirect};
use crate::resp::writer::{Protocol, Sink};

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
const DISCARD: &[u8] = b"*1\r\n$7\r\nDISCARD\r\n";
const UNWATCH: &[u8] = b"*1\r\n$7\r\nUNWATCH\r\n";

/// What a server said to a step of a session.
pub(super) struct Answer<'a> {
    pub link: LinkId,
    pub client: ClientId,
    /// The number of the client's request, if it waits for this.
    pub sequence: u32,
    pub awaiting: &'a Awaiting,
    pub reply: &'a [u8],
    pub is_error: bool,
}

impl Handler {
    /// One of the five, from a client that has not said MULTI.
    pub(super) fn take_transaction_command(
        &mut self,
        command: TransactionCommand,
        request: &Request<'_>,
    ) -> Taken {
        let reply = match command {
            TransactionCommand::Exec => replies::EXEC_WITHOUT_MULTI,
            TransactionCommand::Discard => replies::DISCARD_WITHOUT_MULTI,
            TransactionCommand::Unwatch => {
                self.leave_session(request.client);
                replies::OK
            }
            TransactionCommand::Multi | TransactionCommand::Watch if self.must_wait(request) => {
                return Taken::Later;
            }
            TransactionCommand::Multi => {
                let Some(client) = self.clients.get_mut(request.client) else { return Taken::Now };
                let watch = match client.session.as_deref() {
                    Some(Session::Watching(watch)) => Some(*watch),
                    _ => None,
                };
                let transaction = Transaction::new(watch);
                client.session = Some(Box::new(Session::Queueing(transaction)));
                replies::OK
            }
            TransactionCommand::Watch => match self.watch(request) {
                Ok(()) => return Taken::Now,
                Err(error) => error,
            },
        };
        self.answer_own(request.client, request.sequence, reply);
        Taken::Now
    }

    /// Whether a client has something under way before this request, which travels another road:
    /// then the request waits where it is.
    pub(super) fn must_wait(&mut self, request: &Request<'_>) -> bool {
        let Some(client) = self.clients.get_mut(request.client) else { return false };
        if client.owed() <= 1 {
            return false;
        }
        client.expect_later();
        client.intake = Intake::Waiting;
        true
    }

    /// Takes nothing more from a client until it has got all it is owed.
    pub(super) fn let_wait(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id)
            && matches!(client.intake, Intake::Open | Intake::Paused)
        {
            client.intake = Intake::Waiting;
        }
    }

    /// A request of a client that is in the middle of something. False when that changes nothing.
    pub(super) fn take_in_session(&mut self, request: &Request<'_>) -> bool {
        let family = request.command.family();
        if self.transaction_of(request.client).is_none() {
            // The link that watches is for one database.
            let is_select = family == Family::Local(LocalCommand::Select);
            if is_select {
                self.refuse(request.client, request.sequence, |text| {
                    text.put(b"ERR command 'select' is not available while keys are watched");
                });
            }
            return is_select;
        }
        match family {
            Family::Transaction(TransactionCommand::Multi) => {
                self.answer_own(request.client, request.sequence, replies::NESTED_MULTI);
            }
            Family::Transaction(TransactionCommand::Watch) => {
                self.answer_own(request.client, request.sequence, replies::WATCH_INSIDE_MULTI);
            }
            Family::Transaction(TransactionCommand::Exec) => self.execute(request),
            Family::Transaction(TransactionCommand::Discard) => {
                self.leave_session(request.client);
                self.answer_own(request.client, request.sequence, replies::OK);
            }
            Family::Local(LocalCommand::Quit | LocalCommand::Http | LocalCommand::Reset) => {
                return false;
            }
            Family::Refused(refusal) => {
                self.refuse(request.client, request.sequence, |text| {
                    error_text::refused(request.command, refusal, text);
                });
                self.spoil(request.client);
            }
            family if self.may_be_queued(family) => self.queue(request),
            _ => {
                self.refuse(request.client, request.sequence, |text| {
                    let name = request.command.name().bytes();
                    text.put(b"ERR command '");
                    text.extend(name.map(|byte| if byte == b'|' { b' ' } else { byte }));
                    text.put(b"' is not available inside a transaction through the proxy");
                });
                self.spoil(request.client);
            }
        }
        true
    }

    /// Whether a server can execute such a command in a transaction as it would outside.
    fn may_be_queued(&self, family: Family) -> bool {
        match family {
            Family::Keyed
            | Family::Split(_)
            | Family::Blocking
            | Family::StreamRead
            | Family::AnyServer
            | Family::OneMaster
            | Family::Listing(_)
            | Family::Script(ScriptCommand::Eval | ScriptCommand::EvalSha)
            | Family::Local(LocalCommand::Ping | LocalCommand::Echo)
            | Family::PubSub(PubSubCommand::Publish | PubSubCommand::ShardPublish)
            | Family::Transaction(TransactionCommand::Unwatch) => true,
            // What concerns all keys is right where one server has them all.
            Family::FanOut(_)
            | Family::Undivided
            | Family::RandomKey
            | Family::PubSub(
                PubSubCommand::NumSub | PubSubCommand::ShardNumSub | PubSubCommand::NumPat,
            ) => !self.topology.is_cluster() && self.topology.groups().len() == 1,
            _ => false,
        }
    }

    /// Queues a command, at its server if that is known.
    fn queue(&mut self, request: &Request<'_>) {
        let (id, sequence) = (request.client, request.sequence);
        match self.try_to_queue(request) {
            Ok(Queued::Here) => self.answer_own(id, sequence, replies::QUEUED),
            Ok(Queued::There) => {}
            Err(Refused::With(error)) => {
                self.answer_own(id, sequence, error);
                self.spoil(id);
            }
            Err(Refused::Told) => self.spoil(id),
        }
    }

    fn try_to_queue(&mut self, request: &Request<'_>) -> Result<Queued, Refused> {
        let (id, sequence) = (request.client, request.sequence);
        let place = self.place_in_transaction(request)?;
        let with_script = self.with_its_script(request);
        let bytes = with_script.as_deref().unwrap_or(request.message.bytes);
        let is_out_of_reach = self.is_out_of_reach(id);
        let Handler { clients, buffers, .. } = self;
        let Some(transaction) = transaction_in(clients, id) else { return Ok(Queued::There) };
        if !transaction.admits(place) {
            return Err(Refused::With(replies::CROSS_SLOT));
        }
        if is_out_of_reach {
            transaction.lose();
            if transaction.is_spoiled {
                return Err(Refused::With(replies::NO_SERVER_CONNECTION));
            }
        }
        if transaction.is_spoiled || transaction.is_void {
            // It will not be executed, whatever comes.
            return Ok(Queued::Here);
        }
        match (transaction.link, place) {
            (None, None) => {
                // No key yet, so no place; it is sent ahead of the first that has one.
                if !transaction.queue.push(buffers, bytes, sequence) {
                    let error = b"-ERR too much in a transaction before its first key\r\n";
                    return Err(Refused::With(error));
                }
                transaction.queue.answer_next();
                transaction.queued += 1;
                return Ok(Queued::Here);
            }
            (None, Some(place)) => {
                let server = self.choose(place, true);
                let server = server.map_err(|error| Refused::With(no_server_reply(error)))?;
                self.begin(id, server, request.lane).map_err(Refused::With)?;
            }
            (Some(_), _) => self.begin_on_link(id),
        }
        let Handler { clients, buffers, .. } = self;
        let Some(transaction) = transaction_in(clients, id) else { return Ok(Queued::There) };
        transaction.place = transaction.place.or(place);
        transaction.queued += 1;
        transaction.queue.push(buffers, bytes, sequence);
        let link = transaction.link;
        let ticket = request.ticket(self.now_us);
        self.send_step(link, id, Step::Queued, bytes, ticket);
        Ok(Queued::There)
    }

    /// Whether the link of a transaction is lost, or what it watches is watched at a server that is
    /// no longer its master. That one may not know so yet: it executes what it is told, and has not
    /// seen what others have written to the new one, and this client has read there. In a cluster
    /// it says MOVED.
    fn is_out_of_reach(&mut self, id: ClientId) -> bool {
        let Handler { clients, links, topology, .. } = self;
        let Some(transaction) = transaction_in(clients, id) else { return false };
        let Some(link) = transaction.link else { return false };
        let Some(link) = links.get(link) else { return true };
        match transaction.place {
            Some(Place::Group(group)) if transaction.is_watching => {
                let master = topology.group(group).and_then(ServerGroup::master);
                master.is_some_and(|master| master != link.server)
            }
            _ => false,
        }
    }

    /// Where the keys of a request live, if it has any.
    fn place_in_transaction(&mut self, request: &Request<'_>) -> Result<Option<Place>, Refused> {
        // In a cluster every node passes a message on to all others.
        let is_publish = request.command.family() == Family::PubSub(PubSubCommand::Publish);
        if is_publish && self.topology.is_cluster() {
            return Ok(None);
        }
        match self.place_of_keys(request) {
            Ok(Common::None) => Ok(None),
            Ok(Common::One(place)) => Ok(Some(place)),
            Ok(Common::Several) => Err(Refused::With(replies::CROSS_SLOT)),
            Err(error) => {
                self.refuse_keys(error, request);
                Err(Refused::Told)
            }
        }
    }

    /// Begins a client's transaction on a server: MULTI, and all that is queued.
    ///
    /// # Errors
    ///
    /// The reply that says that there is no connection.
    fn begin(&mut self, id: ClientId, server: ServerId, lane: Lane) -> Result<(), &'static [u8]> {
        let link = self.lend_link(server, lane)?;
        if let Some(transaction) = self.transaction_of(id) {
            transaction.link = Some(link);
            transaction.is_begun = false;
        }
        self.begin_on_link(id);
        Ok(())
    }

    /// Sends MULTI, and all that is queued, on the link that is lent already.
    fn begin_on_link(&mut self, id: ClientId) {
        let Handler { clients, links, buffers, .. } = self;
        let Some(transaction) = transaction_in(clients, id) else { return };
        let Some((link_id, link)) =
            transaction.link.and_then(|link| Some((link, links.get_mut(link)?)))
        else {
            return;
        };
        if transaction.is_begun {
            return;
        }
        transaction.is_begun = true;
        let ticket = |step, sequence| Ticket {
            origin: Origin::Session { client: id, sequence, step },
            since_us: self.now_us,
            held_us: 0,
            command: None,
            hops: 0,
            repeatable: false,
        };
        link.send_multi(buffers, MULTI, ticket(Step::Multi, 0));
        for (request, sequence) in transaction.queue.commands() {
            let ticket = match sequence {
                Some(sequence) => ticket(Step::Queued, sequence),
                None => ticket(Step::Acknowledged, 0),
            };
            link.send(buffers, request, ticket);
        }
        if let Some(sequence) = transaction.executing {
            link.send(buffers, EXEC, ticket(Step::Exec, sequence));
        }
        if !self.topology.is_cluster() {
            // Nobody redirects, so nothing will be asked for again.
            transaction.queue.give_up();
        }
        self.list_link(link_id);
    }

    /// Sends a step of a session on its link.
    pub(super) fn send_step(
        &mut self,
        link: Option<LinkId>,
        client: ClientId,
        step: Step,
        request: &[u8],
        ticket: Ticket,
    ) {
        let sequence = match ticket.origin {
            Origin::Client { sequence, .. } | Origin::Session { sequence, .. } => sequence,
            Origin::Part { .. } | Origin::Proxy(_) | Origin::Nobody => 0,
        };
        let ticket = Ticket {
            origin: Origin::Session { client, sequence, step },
            repeatable: false,
            ..ticket
        };
        if let Some(id) = link
            && let Some(link) = self.links.get_mut(id)
        {
            link.send(&self.buffers, request, ticket);
            self.list_link(id);
        } else if step.is_answered() {
            self.answer(client, sequence, replies::NO_SERVER_CONNECTION);
        }
    }

    /// EXEC in a transaction.
    fn execute(&mut self, request: &Request<'_>) {
        let (id, sequence) = (request.client, request.sequence);
        let is_out_of_reach = self.is_out_of_reach(id);
        let Some(transaction) = self.transaction_of(id) else { return };
        if is_out_of_reach {
            transaction.lose();
        }
        let cause = transaction.cause.take();
        let reply = match transaction.outcome() {
            Outcome::Abort => match cause {
                Some(cause) => &abort_because_of(&cause),
                None => replies::EXEC_ABORT,
            },
            Outcome::Nil => replies::null_array(request.lane.protocol()),
            Outcome::Empty => replies::EMPTY_ARRAY,
            Outcome::Server => match self.execute_at_server(request) {
                Ok(()) => return,
                Err(error) => error,
            },
        };
        self.leave_session(id);
        self.answer_own(id, sequence, reply);
    }

    fn execute_at_server(&mut self, request: &Request<'_>) -> Result<(), &'static [u8]> {
        let id = request.client;
        let link = self.transaction_of(id).and_then(|transaction| transaction.link);
        if link.is_none() {
            // Not one command has named a key.
            let server = self.any_server(true).ok_or(replies::NO_SERVER)?;
            self.begin(id, server, request.lane)?;
        }
        self.begin_on_link(id);
        let Some(transaction) = self.transaction_of(id) else { return Ok(()) };
        transaction.executing = Some(request.sequence);
        let (link, place) = (transaction.link, transaction.place);
        if let Some(place) = place.filter(|_| self.read_your_writes_us > 0) {
            self.reads_own_writes(id, place, true);
        }
        self.send_step(link, id, Step::Exec, EXEC, request.ticket(self.now_us));
        self.let_wait(id);
        Ok(())
    }

    /// WATCH, of a client that has nothing else under way.
    fn watch(&mut self, request: &Request<'_>) -> Result<(), &'static [u8]> {
        let id = request.client;
        let place = match self.place_of_keys(request) {
            Ok(Common::One(place)) => place,
            Ok(Common::Several) => return Err(replies::CROSS_SLOT),
            Ok(Common::None) => return Err(replies::SYNTAX_ERROR),
            Err(error) => {
                self.refuse_keys(error, request);
                return Ok(());
            }
        };
        let link = match self.watch_of(id) {
            Some(watch) if watch.place != place => return Err(replies::CROSS_SLOT),
            // Its EXEC will answer nil; there is nothing more to find out.
            Some(watch) if self.links.get(watch.link).is_none() => return Err(replies::OK),
            Some(watch) => watch.link,
            None => {
                let server = self.choose(place, true).map_err(no_server_reply)?;
                self.lend_link(server, request.lane)?
            }
        };
        self.set_watch(id, place, link);
        if let Some(watch) = self.clients.get_mut(id).and_then(AcceptConnection::watch_mut) {
            let keys = request.arguments.count() - 1;
            watch.keys = watch.keys.saturating_add(u32::try_from(keys).unwrap_or(u32::MAX));
        }
        let ticket = request.ticket(self.now_us);
        self.send_step(Some(link), id, Step::Watch, request.message.bytes, ticket);
        self.let_wait(id);
        Ok(())
    }

    fn set_watch(&mut self, id: ClientId, place: Place, link: LinkId) {
        if let Some(client) = self.clients.get_mut(id)
            && client.session.is_none()
        {
            let watch = Watch { place, link, is_confirmed: false, keys: 0 };
            client.session = Some(Box::new(Session::Watching(watch)));
        }
    }

    /// A server has answered a step of a session.
    pub(super) fn take_session_reply(&mut self, step: Step, answer: &Answer<'_>) {
        let is_notable = answer.awaiting.since_us <= self.notable_since_us();
        if is_notable && step.is_answered() && step != Step::Block {
            self.measure(answer.link, answer.awaiting, Some(answer.reply));
        }
        match step {
            Step::Multi if answer.is_error => self.refuse_multi(answer),
            Step::Multi => {
                if let Some(link) = self.links.get_mut(answer.link) {
                    link.prove();
                    self.list_link(answer.link);
                }
            }
            Step::Acknowledged => {
                if answer.is_error && self.is_current(answer) && !self.move_transaction(answer) {
                    self.spoil(answer.client);
                    if let Some(transaction) = self.transaction_of(answer.client) {
                        transaction.cause.get_or_insert_with(|| answer.reply.into());
                    }
                }
            }
            Step::Queued => self.take_queued(answer),
            Step::Exec => self.take_executed(answer),
            // It would not be clean.
            Step::Clean if answer.is_error => self.lose_link(answer.link, Loss::Retired),
            Step::Clean => {}
            Step::Watch => self.take_watched(answer),
            Step::Block => self.take_unblocked(answer),
        }
    }

    /// Whether a session still lives on the link that has answered.
    fn is_current(&self, answer: &Answer<'_>) -> bool {
        self.lives_on(answer.client, answer.link)
    }

    pub(super) fn lives_on(&self, client: ClientId, link: LinkId) -> bool {
        let session = self.clients.get(client).and_then(|client| client.session.as_ref());
        session.is_some_and(|session| session.links()[0] == Some(link))
    }

    fn take_queued(&mut self, answer: &Answer<'_>) {
        let Answer { client, sequence, reply, is_error, .. } = *answer;
        let is_current = self.is_current(answer);
        if !is_error {
            if is_current && let Some(transaction) = self.transaction_of(client) {
                transaction.queue.answer_next();
            }
            return self.answer(client, sequence, reply);
        }
        if is_current && self.move_transaction(answer) {
            return;
        }
        let transaction = self.transaction_of(client);
        let (is_void, is_spoiled) = transaction
            .map_or((false, false), |transaction| (transaction.is_void, transaction.is_spoiled));
        let is_hopeless = !is_current || is_spoiled;
        if (is_current && is_void) || (is_hopeless && Redirect::is_at_head(reply)) {
            // It will not be executed, for a reason that is told at EXEC or does not matter.
            return self.answer(client, sequence, replies::QUEUED);
        }
        if is_current {
            self.spoil(client);
        }
        self.answer(client, sequence, reply);
    }

    /// The answer to EXEC, which ends the transaction.
    fn take_executed(&mut self, answer: &Answer<'_>) {
        let Answer { link, client, sequence, reply, is_error, .. } = *answer;
        let is_redirect = is_error && Redirect::is_at_head(reply);
        if is_redirect && self.move_transaction(answer) {
            return;
        }
        let (is_void, cause) = self
            .transaction_of(client)
            .map_or((false, None), |transaction| (transaction.is_void, transaction.cause.take()));
        if is_error && is_void {
            self.answer(client, sequence, replies::null_array(self.protocol_of(client)));
        } else if is_redirect {
            self.answer(client, sequence, &abort_because_of(reply));
        } else if let Some(cause) = cause.filter(|_| reply == replies::EXEC_ABORT) {
            self.answer(client, sequence, &abort_because_of(&cause));
        } else {
            self.answer(client, sequence, reply);
        }
        self.end_session(link, client);
        if is_error && !reply.starts_with(b"-EXECABORT") {
            // Nobody knows in what state it is.
            self.lose_link(link, Loss::Retired);
        }
    }

    /// A slot has moved while commands were being queued, or before EXEC: nothing is executed
    /// where they are. They are all queued again at the new owner. False when the answer is not
    /// that, or that cannot be done; then the transaction is spoiled, or void.
    fn move_transaction(&mut self, answer: &Answer<'_>) -> bool {
        if ErrorKind::of(answer.reply) != Some(ErrorKind::Moved) {
            let is_ask = ErrorKind::of(answer.reply) == Some(ErrorKind::Ask);
            if is_ask
                && let Some(transaction) = self.transaction_of(answer.client)
                && transaction.is_watching
            {
                transaction.lose();
            }
            return false;
        }
        let server = self.read_redirect(answer.link, answer.reply).map(|(server, _)| server);
        // Following it may have cost the link, if its server is gone.
        let Some(transaction) = self.transaction_of(answer.client) else { return false };
        if !transaction.is_repeatable() || transaction.hops >= HOPS_MAX {
            if transaction.is_watching {
                transaction.lose();
            }
            return false;
        }
        let Some(server) = server else { return false };
        transaction.hops += 1;
        let (left, sequence) = (transaction.link.take(), transaction.executing);
        let lane = self.clients.get(answer.client).map(|client| client.lane).unwrap_or_default();
        if let Some(left) = left {
            self.abandon_link(left);
        }
        if self.begin(answer.client, server, lane).is_ok() {
            return true;
        }
        // Nobody there: whoever waits is told.
        let Some(transaction) = self.transaction_of(answer.client) else { return true };
        let waiting: Vec<_> =
            transaction.queue.commands().filter_map(|(_, sequence)| sequence).collect();
        for sequence in waiting {
            self.answer(answer.client, sequence, replies::NO_SERVER_CONNECTION);
        }
        self.spoil(answer.client);
        if let Some(sequence) = sequence {
            self.answer(answer.client, sequence, replies::EXEC_ABORT);
            self.leave_session(answer.client);
        }
        true
    }

    /// A server does not know MULTI, or not from us: nothing that came behind it was sent.
    fn refuse_multi(&mut self, answer: &Answer<'_>) {
        let Some(link) = self.links.get_mut(answer.link) else { return };
        let behind: Vec<_> = link.awaiting.iter().map(|awaiting| awaiting.origin).collect();
        link.awaiting.clear();
        self.spoil(answer.client);
        for origin in behind {
            match origin {
                Origin::Session { client, sequence, step: Step::Exec } => {
                    self.answer(client, sequence, replies::EXEC_ABORT);
                    self.end_session(answer.link, client);
                }
                origin => self.deliver(origin, answer.reply),
            }
        }
        self.lose_link(answer.link, Loss::Retired);
    }

    fn take_watched(&mut self, answer: &Answer<'_>) {
        let Answer { link, client, sequence, reply, is_error, .. } = *answer;
        let Some(watch) = self.watch_of(client).filter(|watch| watch.link == link) else {
            return self.answer(client, sequence, reply);
        };
        if !is_error {
            self.confirm_watch(client);
        } else if ErrorKind::of(reply) == Some(ErrorKind::Moved) && self.move_watch(answer, watch) {
            return;
        } else if !watch.is_confirmed {
            self.end_session(link, client);
        }
        self.answer(client, sequence, reply);
    }

    fn confirm_watch(&mut self, id: ClientId) {
        let session = self.clients.get_mut(id).and_then(|client| client.session.as_mut());
        if let Some(watch) = session.and_then(|session| session.watch()) {
            watch.is_confirmed = true;
        }
    }

    /// The slot of a key that was to be watched has moved. Not one was watched before: watch at
    /// the new owner. Otherwise those may have changed, and EXEC will say so.
    fn move_watch(&mut self, answer: &Answer<'_>, watch: Watch) -> bool {
        let Answer { link, client, sequence, awaiting, .. } = *answer;
        let request = self.links.get(link).and_then(|link| {
            let request = link.log.request(awaiting.offset, awaiting.length as usize)?;
            Some((request.to_vec(), link.lane))
        });
        let Some((request, lane)) = request.filter(|_| awaiting.redirects() < HOPS_MAX) else {
            return false;
        };
        let Some((server, _)) = self.read_redirect(link, answer.reply) else { return false };
        if watch.is_confirmed {
            self.abandon_link(link);
            self.answer(client, sequence, replies::OK);
            return true;
        }
        self.end_session(link, client);
        match self.lend_link(server, lane) {
            Ok(link) => {
                self.set_watch(client, watch.place, link);
                self.send_step(Some(link), client, Step::Watch, &request, awaiting.again());
            }
            Err(error) => self.answer(client, sequence, error),
        }
        true
    }

    /// A link was lost, and a step of a session on it will not be answered; `is_unsent` when the
    /// server cannot know of it.
    pub(super) fn lose_step(
        &mut self,
        (link, step): (LinkId, Step),
        (client, sequence): (ClientId, u32),
        is_unsent: bool,
        error: &'static [u8],
    ) {
        let is_current = self.lives_on(client, link);
        if is_current && let Some(transaction) = self.transaction_of(client) {
            transaction.lose();
            let is_void = transaction.is_void;
            return match step {
                Step::Queued if is_void => self.answer(client, sequence, replies::QUEUED),
                Step::Exec if is_unsent => {
                    let nil = replies::null_array(self.protocol_of(client));
                    let nothing = if is_void { nil } else { replies::EXEC_ABORT };
                    self.end_session(link, client);
                    self.answer(client, sequence, nothing);
                }
                Step::Exec => {
                    self.end_session(link, client);
                    self.answer(client, sequence, error);
                }
                step if step.is_answered() => self.answer(client, sequence, error),
                _ => {}
            };
        }
        let is_confirmed = self.watch_of(client).is_some_and(|watch| watch.is_confirmed);
        if is_current && !(step == Step::Watch && is_confirmed) {
            self.end_session(link, client);
        }
        if step.is_answered() {
            self.answer(client, sequence, error);
        }
    }

    /// Ends what a client is in the middle of, on this link; the link goes back by itself when
    /// all on it is answered.
    pub(super) fn end_session(&mut self, link: LinkId, id: ClientId) {
        if let Some(link) = self.links.get_mut(link) {
            link.is_lent = false;
        }
        if self.lives_on(id, link)
            && let Some(client) = self.clients.get_mut(id)
        {
            client.session = match client.session.take().map(|session| *session) {
                // What it watches outlives a command that blocks.
                Some(Session::Blocked { watch: Some(watch), .. }) => {
                    Some(Box::new(Session::Watching(watch)))
                }
                _ => None,
            };
        }
    }

    /// Ends a transaction or a watch without executing anything; the link is cleaned and goes
    /// back.
    pub(super) fn leave_session(&mut self, id: ClientId) {
        let session = self.clients.get_mut(id).and_then(|client| client.session.take());
        let Some(session) = session else { return };
        let clean = match &*session {
            Session::Queueing(transaction) if transaction.is_begun => DISCARD,
            _ => UNWATCH,
        };
        let [link, _] = session.links();
        if let Some(link) = link {
            if let Some(link) = self.links.get_mut(link) {
                link.is_lent = false;
            }
            let ticket = Ticket {
                origin: Origin::Nobody,
                since_us: self.now_us,
                held_us: 0,
                command: None,
                hops: 0,
                repeatable: false,
            };
            self.send_step(Some(link), id, Step::Clean, clean, ticket);
        }
    }

    /// A client has left in the middle of something: nothing of that may go on.
    pub(super) fn close_session(&mut self, session: &Session) {
        for link in session.links().into_iter().flatten() {
            self.abandon_link(link);
        }
    }

    /// Closes a link on which nobody waits for anything any more.
    pub(super) fn abandon_link(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(id) {
            link.awaiting.clear();
            self.lose_link(id, Loss::Retired);
        }
    }

    /// A command could not be queued: EXEC will fail.
    pub(super) fn spoil(&mut self, id: ClientId) {
        if let Some(transaction) = self.transaction_of(id) {
            transaction.is_spoiled = true;
        }
    }

    /// The same for one that is none. EXEC with arguments ends the transaction, as in Redis.
    pub(super) fn spoil_by(&mut self, id: ClientId, unresolved: &Unresolved<'_>) {
        let is_exec = matches!(unresolved, Unresolved::WrongArity(command)
            if command.family() == Family::Transaction(TransactionCommand::Exec));
        self.spoil(id);
        if is_exec {
            self.leave_session(id);
        }
    }

    fn transaction_of(&mut self, id: ClientId) -> Option<&mut Transaction> {
        transaction_in(&mut self.clients, id)
    }

    fn protocol_of(&self, id: ClientId) -> Protocol {
        self.clients.get(id).map(|client| client.lane.protocol()).unwrap_or_default()
    }

    pub(super) fn watch_of(&mut self, id: ClientId) -> Option<Watch> {
        self.clients.get_mut(id)?.session.as_mut()?.watch().copied()
    }
}

/// Where a command waits for EXEC.
enum Queued {
    /// With us, or nowhere: the client is told so by us.
    Here,
    /// At its server, which will say so.
    There,
}

/// Why a command cannot be queued.
enum Refused {
    With(&'static [u8]),
    /// The client was told already.
    Told,
}

/// What EXEC answers when its client has not seen the error that keeps it from being executed.
fn abort_because_of(error: &[u8]) -> Vec<u8> {
    [b"-EXECABORT Transaction discarded because of: ", error.strip_prefix(b"-").unwrap_or(error)]
        .concat()
}

fn transaction_in(clients: &mut Slab<AcceptConnection>, id: ClientId) -> Option<&mut Transaction> {
    clients.get_mut(id)?.session.as_mut()?.transaction()
}
