//! `predixy --explain FILE COMMAND ...`: what the proxy would do with a request, and why.
//!
//! It goes by the same tables as a running proxy: the command table, the Authority, the topology.
//! Who owns a slot only servers know, so one of them is asked, within a bounded time; if none
//! answers, that is said. Nothing is sent that changes anything, and least of all the request.

use std::fmt::Write as _;

use super::ask::ask;
use super::auth::{Authority, IdentityId, Verdict};
use super::replies;
use crate::base::address::Address;
use crate::base::random::Random;
use crate::base::sorted_map::SortedMap;
use crate::conf::{AuthorityConf, Conf};
use crate::pool::{
    GroupId, HostChoice, NoServer, Older, Peer, Place, Role, Server, ServerId, Topology,
    master_address, parse_nodes,
};
use crate::resp::command::{Command, Family, KeysError, LocalCommand, Merge, Rights, error_text};
use crate::resp::reply::Reply;
use crate::resp::response_parser::ResponseParser;
use crate::resp::writer::Sink;
use crate::sys::clock;

/// A request, and who sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Its words.
    pub words: Vec<Vec<u8>>,
    /// The user whose rights are asked for; `None` is everybody's.
    pub user: Option<String>,
}

/// All servers together are given this long to answer.
const PATIENCE_US: u64 = 3_000_000;
/// One of them is given this long.
const ONE_PATIENCE_US: u64 = 1_000_000;
/// So many reads are tried to see where they go.
const TRIES: u32 = 10_000;
/// So many lines of a sort are written.
const LINES_MAX: usize = 40;

/// The explanation, one fact on a line.
#[must_use]
pub fn explain(conf: &Conf, question: &Question) -> String {
    let mut text = Text(String::new());
    let words = &question.words;
    let argument = |index: usize| -> &[u8] { words.get(index).map_or(b"", |word| word) };
    let command = match conf.commands.resolve(words.len(), argument) {
        Ok(command) => command,
        Err(unresolved) => {
            let mut error = Vec::new();
            unresolved.write(words.len(), argument, &mut error);
            text.line("answer", &format!("-{}", plain(&error)));
            return text.0;
        }
    };
    text.line("command", &kind_of(command));
    let request = Request { command, words };
    text.authority(conf, &request, question.user.as_deref());
    let mut topology = Topology::from_conf(&conf.pool, conf.data_center.as_ref());
    if needs_topology(command.family()) {
        let learned = learn(&mut topology);
        if let Some(learned) = learned {
            text.line("topology", &learned);
        }
    }
    Explainer { conf, topology: &topology, request: &request }.explain(&mut text);
    text.0
}

struct Request<'a> {
    command: &'a Command,
    words: &'a [Vec<u8>],
}

impl Request<'_> {
    fn argument(&self, index: usize) -> &[u8] {
        self.words.get(index).map_or(b"", |word| word)
    }

    fn keys(&self) -> Result<Vec<&[u8]>, KeysError> {
        let mut indexes = Vec::new();
        let argument = |index: usize| self.argument(index);
        self.command.keys().keys(self.words.len(), argument, &mut indexes)?;
        Ok(indexes.iter().map(|index| self.argument(*index as usize)).collect())
    }
}

struct Text(String);

impl Text {
    fn line(&mut self, what: &str, words: &str) {
        // A String takes everything.
        let _ = writeln!(self.0, "{what:<11}{words}");
    }

    /// Several lines under one heading, not too many.
    fn lines(&mut self, what: &str, lines: &[String]) {
        for (number, line) in lines.iter().take(LINES_MAX).enumerate() {
            self.line(if number == 0 { what } else { "" }, line);
        }
        if lines.len() > LINES_MAX {
            self.line("", &format!("and {} more", lines.len() - LINES_MAX));
        }
    }

    /// What the Authority says to it.
    fn authority(&mut self, conf: &Conf, request: &Request<'_>, user: Option<&str>) {
        let authority = Authority::new(conf.authority.as_ref());
        let Some(AuthorityConf { identities }) = &conf.authority else {
            return self.line("authority", "there is none: everybody may do everything");
        };
        let verdict = |identity: Option<IdentityId>| {
            let argument = |index: usize| request.argument(index);
            let (command, count) = (request.command, request.words.len());
            match authority.permit_request(identity, command, count, argument) {
                Ok(Verdict::Allowed) => "allowed",
                Ok(Verdict::NoAuth) => "refused: NOAUTH Authentication required.",
                Ok(Verdict::Denied) => "refused: ERR auth permission deny",
                Err(_) => "refused: its keys cannot be told",
            }
        };
        let mut lines = Vec::new();
        if user.is_none() {
            lines.push(format!("before AUTH: {}", verdict(authority.default_identity())));
        }
        for (number, identity) in (1..).zip(identities) {
            let name = identity.user.as_deref().unwrap_or("default");
            if user.is_some_and(|user| user != name)
                || (identity.user.is_none() && identity.password.is_empty() && user.is_none())
            {
                continue;
            }
            let id = authority.login(Some(name.as_bytes()), &identity.password).ok();
            let rights = rights_of(identity.mode);
            lines.push(format!("Auth {number}, user {name}, Mode {rights}: {}", verdict(id)));
        }
        if lines.is_empty() {
            lines.push(format!("nobody has the user {}", user.unwrap_or_default()));
        }
        self.lines("authority", &lines);
    }
}

struct Explainer<'a> {
    conf: &'a Conf,
    topology: &'a Topology,
    request: &'a Request<'a>,
}

impl Explainer<'_> {
    fn explain(&self, text: &mut Text) {
        let command = self.request.command;
        match command.family() {
            Family::Refused(refusal) => {
                let mut error = Vec::new();
                error_text::refused(command, refusal, &mut error);
                text.line("answer", &format!("-{}", String::from_utf8_lossy(&error)));
            }
            Family::Local(LocalCommand::Http) => {
                text.line("answer", "none: the connection is closed, as it is HTTP");
            }
            Family::Local(_) => text.line("answer", "by the proxy itself; no server is asked"),
            Family::Cluster(_) => text.line(
                "answer",
                "by the proxy, which shows itself as one master that owns every slot; what \
                 concerns the keys of a slot is asked from its owner",
            ),
            Family::Transaction(_) => self.transaction(text),
            Family::PubSub(_) => text.line(
                "answer",
                "by the proxy, which shares one connection to each server among all subscribers",
            ),
            Family::Split(merge) => self.split(merge, text),
            Family::FanOut(merge) => self.fan_out(rule_of(merge), text),
            Family::Script(_)
                if self.request.keys().is_ok_and(|keys| keys.is_empty())
                    && command.keys().is_empty() =>
            {
                self.fan_out("the reply is that of all", text);
            }
            Family::Undivided => self.undivided(text),
            Family::Scan => {
                text.line("goes to", "one master after the other; the cursor says which is next");
                self.masters(text);
            }
            Family::RandomKey => {
                text.line("goes to", "a master at random, and the next one if that has no key");
                self.masters(text);
            }
            Family::StreamRead if !command.needs_master() && !self.blocks() => {
                self.split(Merge::Named, text);
            }
            _ => self.keyed(text),
        }
    }

    fn blocks(&self) -> bool {
        let argument = |index: usize| self.request.argument(index);
        self.request.command.blocks(self.request.words.len(), argument)
    }

    /// All keys in one place, or none.
    fn keyed(&self, text: &mut Text) {
        let keys = match self.request.keys() {
            Ok(keys) => keys,
            Err(error) => return self.malformed(error, text),
        };
        let places = self.places(&keys);
        self.tell_keys(&keys, text);
        let mut distinct: Vec<Place> = places.values().map(|(place, _)| *place).collect();
        distinct.dedup();
        match distinct[..] {
            [] => self.anywhere(text),
            [place] => {
                if self.blocks() {
                    text.line("travels", "on a connection of its own, as it may wait there");
                }
                self.one_place(place, text);
            }
            _ => text.line("answer", reply_line(replies::CROSS_SLOT)),
        }
    }

    fn malformed(&self, error: KeysError, text: &mut Text) {
        let mut reply = Vec::new();
        match error.text() {
            Some(words) => reply.extend_from_slice(words.as_bytes()),
            None if error == KeysError::Incomplete => {
                error_text::wrong_arity(self.request.command, &mut reply);
            }
            None => reply.extend_from_slice(b"ERR syntax error"),
        }
        text.line("answer", &format!("-{}", String::from_utf8_lossy(&reply)));
    }

    /// The places of keys, each once, with the keys there.
    fn places<'k>(&self, keys: &[&'k [u8]]) -> SortedMap<String, (Place, Vec<&'k [u8]>)> {
        let mut places = SortedMap::new();
        for key in keys {
            let place = self.topology.place(key);
            let entry = places.get_or_insert_with(format!("{place:?}"), || (place, Vec::new()));
            entry.1.push(*key);
        }
        places
    }

    fn tell_keys(&self, keys: &[&[u8]], text: &mut Text) {
        let line = |key: &&[u8]| {
            let place = self.topology.place(key);
            format!("{}: {}", key.escape_ascii(), self.name_of(place))
        };
        let lines: Vec<String> = keys.iter().map(line).collect();
        match lines.is_empty() {
            true => text.line("keys", "none"),
            false => text.lines(if lines.len() == 1 { "key" } else { "keys" }, &lines),
        }
    }

    fn name_of(&self, place: Place) -> String {
        match place {
            Place::Slot(slot) => format!("slot {}", slot.number()),
            Place::Group(group) => match self.topology.group(group) {
                Some(found) => format!("group {}", found.name()),
                None => "a group that there is not".to_owned(),
            },
            Place::AnyGroup => "any group (Distribution random)".to_owned(),
        }
    }

    /// Where a request for one place goes.
    fn one_place(&self, place: Place, text: &mut Text) {
        let master = self.request.command.needs_master();
        if let Some(group) = self.group_of(place) {
            self.candidates(group, text);
        }
        match self.draw(place, master) {
            Err(error) => text.line("goes to", &no_server(error)),
            Ok(drawn) => {
                let why = match (master, drawn.len()) {
                    (true, _) => "the master, as only a master may execute it".to_owned(),
                    (false, _) => self.why_read(),
                };
                if let [(server, _)] = drawn[..] {
                    return text.line("goes to", &format!("{}: {why}", self.address(server)));
                }
                let share = |(server, count): &(ServerId, u32)| {
                    let hundredths = (count * 100 + TRIES / 2) / TRIES;
                    format!("{}, {hundredths} times of 100", self.address(*server))
                };
                text.lines("goes to", &drawn.iter().map(share).collect::<Vec<String>>());
                text.line("why", &why);
            }
        }
    }

    fn why_read(&self) -> String {
        let common = &self.conf.pool.common;
        let by_center = match (&self.conf.local_dc, &self.conf.data_center) {
            (Some(center), Some(_)) => {
                format!(", of the data centre that {center} wants to read from")
            }
            _ => String::new(),
        };
        format!(
            "the highest read priority{by_center} (master {}, static slaves {}, dynamic slaves {}), \
             if all are well and have as much to do",
            common.master_read_priority,
            common.static_slave_read_priority,
            common.dynamic_slave_read_priority
        )
    }

    fn group_of(&self, place: Place) -> Option<GroupId> {
        match place {
            Place::Slot(slot) => self.topology.group_of_slot(slot),
            Place::Group(group) => Some(group),
            Place::AnyGroup => None,
        }
    }

    fn candidates(&self, group: GroupId, text: &mut Text) {
        let Some(group) = self.topology.group(group) else { return };
        let lines: Vec<String> = group
            .servers()
            .filter_map(|id| self.topology.server(id))
            .map(|server| self.describe(server))
            .collect();
        text.lines("candidates", &lines);
    }

    fn describe(&self, server: &Server) -> String {
        let common = &self.conf.pool.common;
        let (kind, priority) = match (server.role(), server.is_static()) {
            (Role::Master, _) => ("master", common.master_read_priority),
            (_, true) => ("static slave", common.static_slave_read_priority),
            _ => ("dynamic slave", common.dynamic_slave_read_priority),
        };
        let mut line = format!("{}, {kind}, read priority {priority}", server.address());
        if priority == 0 {
            line.push_str(": not read from");
        }
        let center = self.topology.center_name(server);
        if !center.is_empty() {
            let _ = write!(line, ", in {center}");
        }
        if server.is_down() {
            line.push_str(", said to be down");
        }
        line
    }

    /// Which servers a request for this place is sent to, and how often.
    fn draw(&self, place: Place, master: bool) -> Result<Vec<(ServerId, u32)>, NoServer> {
        let mut random = Random::new(1);
        let mut drawn = SortedMap::new();
        for _ in 0..TRIES {
            let server = self.topology.choose(place, master, |_| 0, &mut random)?;
            *drawn.get_or_insert_with(server, || 0) += 1;
        }
        Ok(drawn.into_iter().collect())
    }

    fn address(&self, server: ServerId) -> String {
        let server = self.topology.server(server);
        server.map_or("a server that is gone".to_owned(), |server| server.address().to_string())
    }

    fn anywhere(&self, text: &mut Text) {
        let needs_master = self.request.command.needs_master();
        let any = match needs_master {
            true => self.topology.any_master(&mut Random::new(1)),
            false => self.topology.any(&mut Random::new(1)),
        };
        match any {
            Some(_) if needs_master => text.line("goes to", "any master that is well"),
            Some(_) => text.line("goes to", "any server that is well"),
            None => text.line("answer", reply_line(replies::NO_SERVER)),
        }
    }

    /// One request for each place.
    fn split(&self, merge: Merge, text: &mut Text) {
        let keys = match self.request.keys() {
            Ok(keys) => keys,
            Err(error) => return self.malformed(error, text),
        };
        let places = self.places(&keys);
        if places.len() < 2 {
            return self.keyed(text);
        }
        self.tell_keys(&keys, text);
        let master = self.request.command.needs_master();
        let lines: Vec<String> = places
            .values()
            .map(|(place, keys)| {
                let servers = match self.draw(*place, master) {
                    Err(error) => no_server(error),
                    Ok(drawn) => {
                        let names = drawn.iter().map(|(server, _)| self.address(*server));
                        names.collect::<Vec<String>>().join(" or ")
                    }
                };
                let keys = keys.iter().map(|key| key.escape_ascii().to_string());
                let keys = keys.collect::<Vec<String>>().join(" ");
                format!("{servers}: {} ({keys})", self.name_of(*place))
            })
            .collect();
        text.line("divided", &format!("into {} requests; {}", places.len(), rule_of(merge)));
        text.lines("goes to", &lines);
    }

    fn fan_out(&self, rule: &str, text: &mut Text) {
        text.line("goes to", &format!("every master; {rule}"));
        self.masters(text);
    }

    fn masters(&self, text: &mut Text) {
        let masters: Vec<String> = match self.topology.is_cluster() {
            true => self.topology.masters().map(|id| self.address(id)).collect(),
            false => {
                let groups = self.topology.groups().iter();
                groups.filter_map(|group| group.master()).map(|id| self.address(id)).collect()
            }
        };
        match masters.is_empty() {
            true => text.line("masters", "none is known"),
            false => text.lines("masters", &masters),
        }
    }

    fn undivided(&self, text: &mut Text) {
        let groups = match self.topology.is_cluster() {
            true => self.topology.scannable().len(),
            false => self.topology.groups().len(),
        };
        if groups > 1 {
            let mut error = Vec::new();
            error_text::undivided(self.request.command, &mut error);
            return text.line("answer", &format!("-{}", String::from_utf8_lossy(&error)));
        }
        text.line("goes to", "the only master");
        self.masters(text);
    }

    fn transaction(&self, text: &mut Text) {
        let keys = self.request.keys().unwrap_or_default();
        if keys.is_empty() {
            return text.line(
                "answer",
                "by the proxy; the first key that comes chooses the server, and all others have to \
                 live in its slot or group",
            );
        }
        self.keyed(text);
        text.line("travels", "on a connection that is lent to the client");
    }
}

/// What a command is, in a line.
fn kind_of(command: &Command) -> String {
    let what = match command.family() {
        Family::Keyed => "goes to the owner of its keys",
        Family::Split(_) => "is divided by its keys",
        Family::FanOut(_) | Family::Undivided => "concerns all keys",
        Family::Scan => "visits all masters in turn",
        Family::RandomKey => "asks any master",
        Family::Script(_) => "concerns scripts",
        Family::Blocking => "may wait at the server",
        Family::StreamRead => "reads streams",
        Family::Transaction(_) => "belongs to a transaction",
        Family::PubSub(_) => "is about channels",
        Family::Local(_) => "is answered here",
        Family::Cluster(_) => "is about the cluster",
        Family::Refused(_) => "is not available",
        _ => "can be answered by any server",
    };
    let custom = if command.is_custom() { ", from a CustomCommand block" } else { "" };
    format!("{}: {what}; needs the right to {}{custom}", command.name(), right_of(command))
}

fn right_of(command: &Command) -> &'static str {
    match command.rights() {
        _ if command.always_allowed() => "nothing",
        Rights::Read => "read",
        Rights::Write => "write",
        Rights::Admin => "administer",
    }
}

fn rights_of(mode: Rights) -> &'static str {
    match mode {
        Rights::Read => "read",
        Rights::Write => "write",
        Rights::Admin => "admin",
    }
}

fn rule_of(merge: Merge) -> &'static str {
    match merge {
        Merge::Sum => "the reply is the sum",
        Merge::Min => "the reply is the smallest number",
        Merge::AllOk => "the reply is OK if all say so",
        Merge::FirstGood => "the reply is the first that is no error",
        Merge::Concat | Merge::Named => "the reply is one array of all",
        Merge::Union => "the reply is one array in which each element is once",
        Merge::MinEach => "of each number the smallest remains",
        Merge::Same => "the reply is that of any of them",
    }
}

/// Words of a client, fit for a terminal.
fn plain(words: &[u8]) -> String {
    words.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

/// A reply without its line end.
fn reply_line(reply: &'static [u8]) -> &'static str {
    std::str::from_utf8(reply).unwrap_or_default().trim_end()
}

fn no_server(error: NoServer) -> String {
    match error {
        NoServer::SlotNotServed => "nobody: who owns the slot is not known".to_owned(),
        NoServer::NoMaster => "nobody: the group has no master that is known".to_owned(),
        NoServer::NoCandidate => "nobody: the read priorities leave no server".to_owned(),
    }
}

fn needs_topology(family: Family) -> bool {
    !matches!(
        family,
        Family::Refused(_) | Family::Local(_) | Family::Cluster(_) | Family::PubSub(_)
    )
}

/// Asks who owns what. What came of it, if anything had to be asked.
fn learn(topology: &mut Topology) -> Option<String> {
    let deadline_us = clock::monotonic_us() + PATIENCE_US;
    if topology.is_cluster() {
        return Some(learn_cluster(topology, deadline_us));
    }
    topology.is_by_sentinel().then(|| learn_groups(topology, deadline_us))
}

fn learn_cluster(topology: &mut Topology, deadline_us: u64) -> String {
    let seeds: Vec<_> = topology.servers().cloned().collect();
    let mut failed = Vec::new();
    for seed in seeds {
        let replies = match converse(&seed, &[&[b"CLUSTER", b"NODES"]], deadline_us) {
            Ok(replies) => replies,
            Err(error) => {
                failed.push(format!("{}: {error}", seed.address()));
                continue;
            }
        };
        let text = replies.first().and_then(|reply| text_of(reply));
        let nodes = text.and_then(|text| parse_nodes(text).ok());
        let next = nodes.map(|nodes| {
            topology.refreshed(&nodes, seed.id(), HostChoice::default(), Older::Refuse)
        });
        match next {
            Some(Ok(refreshed)) => {
                if let Some(next) = refreshed.topology {
                    *topology = next;
                }
                let (groups, servers) = (topology.scannable().len(), topology.routed().len());
                return format!("{} says: {groups} masters, {servers} servers", seed.address());
            }
            _ => {
                failed.push(format!("{}: gives no usable answer to CLUSTER NODES", seed.address()))
            }
        }
        if clock::monotonic_us() >= deadline_us {
            break;
        }
    }
    format!("nobody could be asked, so owners are not known; {}", failed.join(", "))
}

fn learn_groups(topology: &mut Topology, deadline_us: u64) -> String {
    let sentinels = topology.sentinels().iter().filter_map(|id| topology.server(*id));
    let sentinels: Vec<_> = sentinels.cloned().collect();
    let groups: Vec<(GroupId, String)> =
        topology.groups().iter().map(|group| (group.id(), group.name().to_owned())).collect();
    let mut questions: Vec<Vec<&[u8]>> = Vec::new();
    for (_, name) in &groups {
        questions.push(vec![b"SENTINEL", b"get-master-addr-by-name", name.as_bytes()]);
        questions.push(vec![b"SENTINEL", b"slaves", name.as_bytes()]);
    }
    let questions: Vec<&[&[u8]]> = questions.iter().map(Vec::as_slice).collect();
    let mut failed = Vec::new();
    for sentinel in sentinels {
        match converse(&sentinel, &questions, deadline_us) {
            Ok(replies) => {
                for ((group, _), pair) in groups.iter().zip(replies.chunks(2)) {
                    take_group(topology, *group, pair);
                }
                return format!("Sentinel {} was asked", sentinel.address());
            }
            Err(error) => failed.push(format!("{}: {error}", sentinel.address())),
        }
        if clock::monotonic_us() >= deadline_us {
            break;
        }
    }
    format!("no Sentinel could be asked, so masters are not known; {}", failed.join(", "))
}

/// Takes over what a Sentinel says of a group: its master, and who follows.
fn take_group(topology: &mut Topology, group: GroupId, replies: &[Vec<u8>]) {
    let [master, replicas] = replies else { return };
    let fields = texts_of(master);
    if let Some(next) =
        master_address(&fields).and_then(|master| topology.with_master(group, &master))
    {
        *topology = next;
    }
    let peers: Vec<Peer> = elements_of(replicas)
        .iter()
        .filter_map(|element| Peer::from_fields(&texts_of(element)))
        .collect();
    if let Some(next) = topology.with_replicas(group, &peers) {
        *topology = next;
    }
}

/// Asks one server, and splits its answers.
fn converse(
    server: &Server,
    questions: &[&[&[u8]]],
    deadline_us: u64,
) -> Result<Vec<Vec<u8>>, String> {
    let mut request = Vec::new();
    if let Some(credentials) = server.credentials() {
        let password: &[u8] = &credentials.password;
        match &credentials.username {
            Some(user) => request.command(&[b"AUTH", user.as_bytes(), password]),
            None => request.command(&[b"AUTH", password]),
        };
    }
    let is_login = usize::from(server.credentials().is_some());
    for words in questions {
        request.command(words);
    }
    let wanted = questions.len() + is_login;
    let mut last = "there is no address to connect to".to_owned();
    let endpoints: Vec<Address> = server.endpoints().cloned().collect();
    for address in endpoints {
        let left_us = deadline_us.saturating_sub(clock::monotonic_us());
        let is_complete = |answer: &[u8]| split_replies(answer).is_none_or(|r| r.len() >= wanted);
        match ask(&address, &request, left_us.min(ONE_PATIENCE_US), is_complete) {
            Err(error) => last = error.to_string(),
            Ok(answer) => {
                let mut replies = split_replies(&answer).unwrap_or_default();
                if let Some(error) = replies.iter().find(|reply| reply.starts_with(b"-")) {
                    return Err(String::from_utf8_lossy(error).trim().to_owned());
                }
                if replies.len() >= wanted {
                    return Ok(replies.split_off(is_login));
                }
                last = "it closed the connection".to_owned();
            }
        }
    }
    Err(last)
}

/// The complete replies in what has come; `None` if it is none of Redis's.
fn split_replies(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        match ResponseParser::new().feed_piece(bytes) {
            Ok(Some(end)) => {
                replies.push(bytes[..end].to_vec());
                bytes = &bytes[end..];
            }
            Ok(None) => break,
            Err(_) => return None,
        }
    }
    Some(replies)
}

fn text_of(reply: &[u8]) -> Option<&[u8]> {
    Reply::new(reply).text()
}

fn elements_of(reply: &[u8]) -> Vec<Vec<u8>> {
    let view = Reply::new(reply);
    let bytes = view.bytes();
    let mut found = Vec::new();
    if let Some(mut elements) = view.elements() {
        while let Some(range) = elements.next_range() {
            found.push(bytes.get(range).unwrap_or_default().to_vec());
        }
    }
    found
}

fn texts_of(reply: &[u8]) -> Vec<&[u8]> {
    let view = Reply::new(reply);
    let bytes = view.bytes();
    let mut found = Vec::new();
    if let Some(mut elements) = view.elements() {
        while let Some(range) = elements.next_range() {
            let text = bytes.get(range).and_then(|element| Reply::new(element).text());
            found.push(text.unwrap_or_default());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn conf(groups: usize) -> Conf {
        let groups: String = (0..groups)
            .map(|group| format!("Group g{group} {{\n+ 10.0.0.{group}:1\n}}\n"))
            .collect();
        let pool = format!(
            "StandaloneServerPool {{\nRefreshMethod fixed\nHash crc16\nDistribution modula\n{groups}}}"
        );
        Conf::parse(Path::new("/c"), pool.as_bytes(), &[]).unwrap()
    }

    /// Whatever the table has, something is said about it, and where it would go.
    #[test]
    fn every_command_of_the_table_is_explained() {
        for conf in [conf(1), conf(3)] {
            for command in conf.commands.iter() {
                let mut words: Vec<Vec<u8>> =
                    command.name().split('|').map(|word| word.as_bytes().to_vec()).collect();
                for more in 0..4 {
                    words.resize(words.len().max(command.min_args()) + more, b"1".to_vec());
                    let question = Question { words: words.clone(), user: None };
                    let text = explain(&conf, &question);
                    let is_said = ["answer ", "goes to ", "masters "]
                        .iter()
                        .any(|what| text.lines().any(|line| line.starts_with(what)));
                    assert!(is_said, "{words:?}: {text}");
                }
            }
        }
    }

    #[test]
    fn what_a_client_wrote_cannot_move_the_cursor() {
        let words = vec![b"NO\x1b[2J\n".to_vec(), b"'x'".to_vec()];
        let text = explain(&conf(1), &Question { words, user: None });
        assert!(text.contains("unknown command 'NO\\x1b[2J '"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
