//! HELLO and RESET: how a client introduces itself, and how it begins anew.
//!
//! Clients that speak RESP3 have links of their own to the servers, so a client that changes
//! its protocol changes roads: nothing of it may be under way then.

use std::sync::Arc;

use super::super::client_list::integer;
use super::super::greeting::Greeting;
use super::super::lane::Lane;
use super::super::profile::Replies;
use super::super::replies;
use super::super::request::{ClientId, Origin, Ticket};
use super::super::session::Session;
use super::super::whole::{Purpose, Whole};
use super::Handler;
use super::client_command::is_name;
use super::dispatch::{Request, Taken};
use super::waiting_room::Parcel;
use crate::log_notice;
use crate::pool::Place;
use crate::resp::command::error_text;
use crate::resp::reply::Reply;
use crate::resp::writer::{Protocol, Sink};

/// What a client wants of HELLO.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hello<'a> {
    protocol: Option<Protocol>,
    /// User and password.
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

/// What is done with a client once a server has said who it is.
pub struct Introduction {
    /// What it wants to speak from then on.
    protocol: Protocol,
    /// Its name, if it has said one.
    name: Option<Box<[u8]>>,
    /// See `Greetings::generation`.
    generation: u64,
}

impl<'a> Hello<'a> {
    /// Reads the words behind HELLO.
    ///
    /// # Errors
    ///
    /// The text of the error, in Redis's words.
    fn parse(words: &[&'a [u8]]) -> Result<Hello<'a>, Vec<u8>> {
        let mut hello = Hello::default();
        let Some((version, mut options)) = words.split_first() else { return Ok(hello) };
        hello.protocol = Some(match integer(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(b"NOPROTO unsupported protocol version".to_vec()),
            None => return Err(b"ERR Protocol version is not an integer or out of range".to_vec()),
        });
        while let Some((option, arguments)) = options.split_first() {
            options = match arguments {
                [user, password, rest @ ..] if option.eq_ignore_ascii_case(b"auth") => {
                    hello.login = Some((user, password));
                    rest
                }
                [name, rest @ ..] if option.eq_ignore_ascii_case(b"setname") => {
                    if !is_name(name) {
                        return Err(replies::BAD_CLIENT_NAME.as_bytes().to_vec());
                    }
                    hello.name = Some(name);
                    rest
                }
                _ => {
                    let mut text = b"ERR Syntax error in HELLO option '".to_vec();
                    error_text::push_shown(option, OPTION_SHOWN_MAX, &mut text);
                    text.push(b'\'');
                    return Err(text);
                }
            };
        }
        Ok(hello)
    }
}

/// So many bytes of an option that is none are repeated.
const OPTION_SHOWN_MAX: usize = 1024;

impl Handler {
    pub(super) fn hello(&mut self, request: &Request<'_>) -> Taken {
        let (id, sequence) = (request.client, request.sequence);
        let words: Vec<&[u8]> =
            (1..request.arguments.count()).map(|index| request.argument(index)).collect();
        let hello = match Hello::parse(&words) {
            Ok(hello) => hello,
            Err(text) => {
                self.refuse(id, sequence, |error| error.put(&text));
                return Taken::Now;
            }
        };
        let protocol = hello.protocol.unwrap_or(request.lane.protocol());
        if protocol != request.lane.protocol() && self.must_wait(request) {
            return Taken::Later;
        }
        match self.introduce(request, &hello, protocol) {
            Ok(()) => {}
            Err(error) => self.refuse(id, sequence, |text| text.put(error.as_bytes())),
        }
        Taken::Now
    }

    fn introduce(
        &mut self,
        request: &Request<'_>,
        hello: &Hello<'_>,
        protocol: Protocol,
    ) -> Result<(), &'static str> {
        let id = request.client;
        if let Some((user, password)) = hello.login {
            self.log_in(id, Some(user), password)?;
        }
        let Some(client) = self.clients.get(id) else { return Ok(()) };
        if client.identity.is_none() {
            return Err(NOT_LOGGED_IN);
        }
        let watches = matches!(client.session.as_deref(), Some(Session::Watching(_)));
        if watches && protocol != request.lane.protocol() {
            return Err("ERR command 'hello' is not available while keys are watched: \
                        it would change the protocol");
        }
        let generation = self.shared.greetings.generation();
        let name = hello.name.map(Box::from);
        let introduction = Introduction { protocol, name, generation };
        match self.shared.greetings.known(protocol) {
            Some((greeting, is_doubtful)) if !is_doubtful => {
                self.count_local(request);
                self.greet((id, request.sequence), introduction, &greeting);
            }
            _ => self.ask_for_greeting(request, introduction),
        }
        Ok(())
    }

    /// Asks some server who it is.
    fn ask_for_greeting(&mut self, request: &Request<'_>, introduction: Introduction) {
        let protocol = introduction.protocol;
        let mut whole = Whole::for_place(request.client, request.sequence, Place::AnyGroup);
        whole.purpose = Purpose::Hello(introduction);
        let origin = Origin::Part { whole: self.wholes.insert(whole), part: 0 };
        let ticket = Ticket { origin, repeatable: true, ..request.ticket(self.now_us) };
        let mut question = Vec::new();
        question.command(&[b"HELLO", if protocol == Protocol::Resp3 { b"3" } else { b"2" }]);
        self.send_or_wait(Parcel {
            place: Place::AnyGroup,
            master: true,
            lane: Lane::new(0, protocol),
            ticket,
            request: &question,
        });
        self.take_no_more(request.client);
    }

    /// A server has said who it is, or could not be asked.
    pub(super) fn finish_hello(&mut self, whole: &Whole, introduction: Introduction) {
        let asker = (whole.client, whole.sequence);
        let reply = whole.replies().next().unwrap_or_default();
        let protocol = introduction.protocol;
        if let Some(greeting) = Greeting::parse(reply) {
            let greeting = Arc::new(greeting);
            let greetings = &self.shared.greetings;
            greetings.remember(protocol, introduction.generation, Arc::clone(&greeting));
            return self.greet(asker, introduction, &greeting);
        }
        if protocol == Protocol::Resp3 && reply == replies::NO_RESP3 {
            return self.answer(asker.0, asker.1, replies::NO_PROTOCOL);
        }
        // Nobody is there to say something newer.
        match self.shared.greetings.known(protocol) {
            Some((greeting, _)) => self.greet(asker, introduction, &greeting),
            None if Reply::new(reply).is_error() => self.answer(asker.0, asker.1, reply),
            None => self.answer(asker.0, asker.1, replies::UNEXPECTED_HELLO),
        }
    }

    /// The client is who it says it is, and speaks as it wants to.
    fn greet(
        &mut self,
        (id, sequence): (ClientId, u32),
        introduction: Introduction,
        greeting: &Greeting,
    ) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.lane = client.lane.with_protocol(introduction.protocol);
        if let Some(name) = introduction.name {
            client.profile_mut().name = name;
        }
        let mut reply = Vec::new();
        greeting.write(introduction.protocol, client.number, &mut reply);
        self.answer_own(id, sequence, &reply);
    }

    /// Makes somebody of a client. A login that fails leaves it who it was.
    ///
    /// # Errors
    ///
    /// The text of the error.
    pub(super) fn log_in(
        &mut self,
        id: ClientId,
        user: Option<&[u8]>,
        password: &[u8],
    ) -> Result<(), &'static str> {
        let Some(client) = self.clients.get_mut(id) else { return Ok(()) };
        match self.settings.authority.login(user, password) {
            Ok(identity) => {
                client.identity = Some(identity);
                Ok(())
            }
            Err(error) => {
                log_notice!(self.log, "h {} c {} auth invalid", self.index, client.peer);
                Err(error.text())
            }
        }
    }

    /// RESET: the client is as it was when it came.
    pub(super) fn reset(&mut self, request: &Request<'_>) -> Taken {
        if self.must_wait(request) {
            return Taken::Later;
        }
        self.count_local(request);
        self.leave_session(request.client);
        self.stop_monitoring(request.client);
        self.end_subscriptions(request.client);
        if let Some(client) = self.clients.get_mut(request.client) {
            client.lane = Lane::default();
            client.identity = self.settings.authority.default_identity();
            // Not if it was only to be skipped, as in Redis.
            if client.profile.as_ref().is_some_and(|profile| profile.replies == Replies::None) {
                client.unmute(request.sequence);
            }
            if let Some(profile) = &mut client.profile {
                profile.reset();
            }
            client.follow_profile();
        }
        self.answer_own(request.client, request.sequence, replies::RESET);
        Taken::Now
    }
}

/// HELLO from somebody who has to log in, and does not.
const NOT_LOGGED_IN: &str = "NOAUTH HELLO must be called with the client already authenticated, \
    otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client \
    and select the RESP protocol version at the same time";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], want: Result<Hello<'_>, &str>) {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(Hello::parse(&words), want.map_err(|text| text.as_bytes().to_vec()));
    }

    #[test]
    fn options_come_in_any_order() {
        let protocol = Some(Protocol::Resp3);
        check(&[], Ok(Hello::default()));
        check(&["3"], Ok(Hello { protocol, ..Hello::default() }));
        let (login, name) = (Some((&b"u"[..], &b"p"[..])), Some(&b"n"[..]));
        check(&["3", "AUTH", "u", "p", "SETNAME", "n"], Ok(Hello { protocol, login, name }));
        check(&["3", "setname", "n", "auth", "u", "p"], Ok(Hello { protocol, login, name }));
        let (login, name) = (Some((&b"setname"[..], &b"auth"[..])), Some(&b"auth"[..]));
        check(
            &["3", "auth", "setname", "auth", "setname", "auth"],
            Ok(Hello { protocol, login, name }),
        );
    }

    #[test]
    fn what_is_wrong_is_told_as_redis_tells_it() {
        let version = "ERR Protocol version is not an integer or out of range";
        for word in ["", "x", "03", "+3", "3 ", "9223372036854775808"] {
            check(&[word], Err(version));
        }
        for word in ["1", "4", "-3", "9223372036854775807"] {
            check(&[word, "NOPE"], Err("NOPROTO unsupported protocol version"));
        }
        check(&["2", "AUTH", "a"], Err("ERR Syntax error in HELLO option 'AUTH'"));
        check(&["2", "SetName"], Err("ERR Syntax error in HELLO option 'SetName'"));
        check(&["2", "x\0y", "z"], Err("ERR Syntax error in HELLO option 'x'"));
        check(&["2", "x\r\n+OK"], Err("ERR Syntax error in HELLO option 'x  +OK'"));
        check(
            &["2", "SETNAME", "a b", "NOPE"],
            Err("ERR Client names cannot contain spaces, newlines or special characters."),
        );
    }
}
