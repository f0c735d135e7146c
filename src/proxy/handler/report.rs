//! INFO: what there is to tell, gathered from whoever counts it.

use std::mem;
use std::sync::Arc;

use super::super::accept_connection::AcceptConnection;
use super::super::auth::{self, Verdict};
use super::super::cluster_view::ID_DIGITS;
use super::super::info::{
    self, Figures, Info, ProxyInfo, Query, Rates, RedisInfo, Report, ResourceInfo, Section,
    Sections, ServerInfo,
};
use super::super::lane::Lane;
use super::super::replies;
use super::super::request::{Origin, Ticket, WholeId};
use super::super::session::Session;
use super::super::whole::{Purpose, Whole};
use super::Handler;
use super::dispatch::{Message, Request};
use super::upkeep::Chore;
use crate::base::random::Random;
use crate::resp::command::{Access, Rights};
use crate::resp::reply::Reply;
use crate::resp::response_parser::ResponseParser;
use crate::resp::writer::{Protocol, Sink};
use crate::stats::{Distribution, HandlerTotals};
use crate::sys::{clock, memory, resource};

/// What INFO needs from one time to the next.
#[derive(Default)]
pub(super) struct Reports {
    /// Those that wait for servers, and until when, in microseconds of the monotonic clock.
    waiting: Vec<(u64, WholeId)>,
    /// When rates were last worked out, from what, and what they were.
    rates: Option<(u64, HandlerTotals, Rates)>,
}

/// Servers have so long to say how they are; then INFO is shown without them.
const PATIENCE_US: u64 = 1_000_000;
/// Rates are not worked out again so soon.
const RATES_US: u64 = 1_000_000;

impl Handler {
    /// INFO. Where others have to be asked first `reply` stays empty.
    pub(super) fn info(&mut self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let arguments = (1..request.arguments.count()).map(|index| request.argument(index));
        match info::query(arguments) {
            Query::Sections(sections) => self.begin_report(sections, request),
            Query::ResetStats => self.reset_stats(request, reply),
            Query::Latency { monitor } => self.latency(monitor, request, reply),
            Query::ServerLatency { server, monitor } => {
                self.server_latency(server, monitor, request, reply);
            }
            Query::Wrong => {
                reply.error(info::ARGUMENT_WRONG);
            }
        }
    }

    /// Has whoever knows something for these sections asked.
    fn begin_report(&mut self, sections: Sections, request: &Request<'_>) {
        let (client, sequence) = (request.client, request.sequence);
        let report = Report {
            client,
            sequence,
            sections,
            blocked_clients: 0,
            watching_clients: 0,
            masters_asked: 0,
        };
        if !sections.has(Section::Clients) {
            return self.ask_servers(report);
        }
        let ask = |handler: &mut Handler| handler.count_sessions();
        self.ask_round(ask, move |handler, counts| {
            let blocked_clients = counts.iter().map(|(blocked, _)| blocked).sum();
            let watching_clients = counts.iter().map(|(_, watching)| watching).sum();
            handler.ask_servers(Report { blocked_clients, watching_clients, ..report });
        });
    }

    /// How many clients are blocked, and how many watch keys.
    fn count_sessions(&self) -> (u64, u64) {
        let (mut blocked, mut watching) = (0, 0);
        for session in self.clients.iter().filter_map(|(_, client)| client.session.as_deref()) {
            match session {
                Session::Blocked { .. } => blocked += 1,
                Session::Watching(_) => watching += 1,
                Session::Queueing(transaction) => watching += u64::from(transaction.is_watching),
            }
        }
        (blocked, watching)
    }

    /// Asks servers for what only they know. Those that cannot be reached are left out, and so
    /// are those that do not answer in time: INFO must tell something when not all is well.
    fn ask_servers(&mut self, mut report: Report) {
        let Some(words) = info::question(report.sections) else {
            return self.show_report(&report, &Figures::default());
        };
        let masters: Vec<_> = self.topology.masters().collect();
        let with_replicas =
            info::concerns_replicas(report.sections) && !self.topology.reads_go_to_masters();
        let others = self.topology.routed().iter().copied();
        let others = others.filter(|server| with_replicas && !masters.contains(server));
        let servers: Vec<_> = masters.iter().copied().chain(others).collect();
        report.masters_asked = masters.len();
        if servers.is_empty() {
            return self.show_report(&report, &Figures::default());
        }
        let mut whole = Whole::for_servers(report.client, report.sequence, servers.len());
        whole.purpose = Purpose::Report(Box::new(report));
        let id = self.wholes.insert(whole);
        let until_us = self.now_us + PATIENCE_US;
        self.reports.waiting.push((until_us, id));
        self.deadlines.advance(Chore::Report, until_us);
        let mut question = Vec::new();
        question.command(words);
        for (part, server) in (0..).zip(servers) {
            let origin = Origin::Part { whole: id, part };
            let ticket = Ticket {
                origin,
                since_us: self.now_us,
                held_us: 0,
                command: None,
                hops: 0,
                repeatable: false,
            };
            let is_down = self.topology.server(server).is_none_or(|server| server.is_down());
            let message = Message::passing(&question);
            if is_down || self.send(server, Lane::default(), message, ticket).is_err() {
                self.answer_part(id, part, replies::NO_SERVER_CONNECTION, None);
            }
        }
    }

    /// Shows what has waited for long enough, without those who have not answered.
    pub(super) fn check_reports(&mut self) {
        let now_us = self.now_us;
        let (due, rest): (Vec<_>, Vec<_>) = mem::take(&mut self.reports.waiting)
            .into_iter()
            .partition(|(until_us, _)| now_us >= *until_us);
        self.reports.waiting = rest;
        for (_, id) in due {
            self.complete(id);
        }
        let next_us = self.reports.waiting.iter().map(|(until_us, _)| *until_us).min();
        self.deadlines.set(Chore::Report, next_us.unwrap_or(u64::MAX));
    }

    /// Servers have answered, or not.
    pub(super) fn finish_report(&mut self, id: WholeId, whole: &Whole, report: &Report) {
        self.reports.waiting.retain(|(_, waiting)| *waiting != id);
        let mut figures = Figures::default();
        for (part, reply) in whole.replies().enumerate() {
            // Of one that is still on its way there may be a part.
            let is_whole = ResponseParser::new().feed_piece(reply) == Ok(Some(reply.len()));
            let reply = Reply::new(reply);
            if let Some(text) = reply.text().filter(|_| is_whole && !reply.is_error()) {
                figures.add(part < report.masters_asked, text);
            }
        }
        self.show_report(report, &figures);
    }

    /// Gives a client what it has asked for.
    fn show_report(&mut self, report: &Report, figures: &Figures) {
        let shared = Arc::clone(&self.shared);
        let totals = shared.stats.handler_totals();
        let client = self.clients.get(report.client);
        let reached = client.and_then(AcceptConnection::reached_at);
        let protocol = client.map_or(Protocol::Resp2, |client| client.lane.protocol());
        let run = shared.started_us ^ (u64::from(std::process::id()) << 32);
        let run_id = Random::new(run ^ shared.started_s.cast_unsigned()).hex(ID_DIGITS);
        let redis = RedisInfo {
            version: env!("CARGO_PKG_VERSION"),
            run_id: &run_id,
            port: reached.map_or(0, |address| address.port()),
            uptime_s: (clock::monotonic_us() - shared.started_us) / 1_000_000,
            clients: totals.client_connections,
            clients_max: self.settings.clients_max,
            blocked_clients: report.blocked_clients,
            watching_clients: report.watching_clients,
            rates: self.rates(&totals),
            totals,
            usage: resource::usage().ok(),
            masters_asked: report.masters_asked,
        };
        let mut text = self.with_info(|info| info::sections(report.sections, info));
        text += &info::redis_sections(report.sections, &redis, figures);
        let mut reply = Vec::new();
        reply.text(text.as_bytes(), protocol);
        self.answer_own(report.client, report.sequence, &reply);
    }

    /// How much is done in a second, since somebody last asked and a second at least.
    fn rates(&mut self, totals: &HandlerTotals) -> Rates {
        let begin = (self.shared.started_us, HandlerTotals::default(), Rates::default());
        let (since_us, before, rates) = self.reports.rates.unwrap_or(begin);
        let elapsed_us = self.now_us.saturating_sub(since_us);
        if self.reports.rates.is_some() && elapsed_us < RATES_US {
            return rates;
        }
        let rates = Rates::between(&before, totals, elapsed_us);
        self.reports.rates = Some((self.now_us, *totals, rates));
        rates
    }

    /// `INFO ResetStats` changes something, so it takes the rights that CONFIG takes.
    fn reset_stats(&self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let identity = self.clients.get(request.client).and_then(|client| client.identity);
        let no_keys: [(&[u8], Access); 0] = [];
        match self.settings.authority.permit(identity, Some(Rights::Admin), no_keys) {
            Verdict::Allowed => {
                self.shared.stats.reset();
                reply.put(replies::OK);
            }
            Verdict::NoAuth => {
                reply.error(auth::NO_AUTH);
            }
            Verdict::Denied => {
                reply.error(auth::DENIED);
            }
        }
    }

    /// Everything INFO can show, as of now.
    fn with_info(&self, write: impl FnOnce(&Info<'_>) -> String) -> String {
        let shared = &self.shared;
        let binds: Vec<_> =
            self.settings.conf.binds.iter().map(|bind| bind.address.to_string()).collect();
        let addresses: Vec<_> =
            self.topology.listed().map(|server| server.address().to_string()).collect();
        let servers = self.topology.listed().zip(&addresses);
        let monitors = shared.stats.monitors();
        let names = monitors.monitors().iter().map(|monitor| &*monitor.name);
        let info = Info {
            proxy: ProxyInfo {
                version: env!("CARGO_PKG_VERSION"),
                name: &self.settings.conf.name,
                bind: &binds.join(","),
                worker_threads: shared.handlers.len(),
                started_s: shared.started_s,
                started: clock::local_time(shared.started_s),
                uptime_s: (clock::monotonic_us() - shared.started_us) / 1_000_000,
            },
            resource: ResourceInfo {
                used_memory: memory::used() as u64,
                max_memory: self.settings.conf.max_memory,
                usage: resource::usage().ok(),
            },
            stats: shared.stats.handler_totals(),
            more_stats: Vec::new(),
            servers: servers
                .map(|(server, address)| ServerInfo {
                    address,
                    role: server.role().name(),
                    group: server.group_name(),
                    dc: self.topology.center_name(server),
                    is_fail: server.health().is_failed(),
                    totals: shared.stats.server_totals(server.id().index()),
                })
                .collect(),
            latencies: names.zip(shared.stats.latencies()).collect(),
        };
        write(&info)
    }

    /// `INFO Latency <name>`.
    fn latency(&self, name: &[u8], request: &Request<'_>, reply: &mut Vec<u8>) {
        let stats = &self.shared.stats;
        let monitors = stats.monitors();
        let Some(index) = monitors.find(name) else {
            return refuse(&info::unknown_latency(name), reply);
        };
        let all = stats.latencies().swap_remove(index);
        let addresses: Vec<_> =
            self.topology.listed().map(|server| server.address().to_string()).collect();
        let servers: Vec<(&str, Distribution)> = (self.topology.listed().zip(&addresses))
            .map(|(server, address)| {
                let mut latencies = stats.server_latencies(server.id().index());
                (address.as_str(), latencies.swap_remove(index))
            })
            .collect();
        let name = &*monitors.monitors()[index].name;
        let text = info::latency(name, &all, &servers);
        reply.text(text.as_bytes(), request.lane.protocol());
    }

    /// `INFO ServerLatency <addr> [<name>]`.
    fn server_latency(
        &self,
        address: &[u8],
        name: Option<&[u8]>,
        request: &Request<'_>,
        reply: &mut Vec<u8>,
    ) {
        let stats = &self.shared.stats;
        let shown = String::from_utf8_lossy(address);
        let mut servers = self.topology.servers();
        let Some(server) = servers.find(|server| server.address().to_string() == shown) else {
            return refuse(&info::unknown_server(address), reply);
        };
        let monitors = stats.monitors();
        let wanted = match name.map(|name| monitors.find(name)) {
            None => None,
            Some(Some(index)) => Some(index),
            Some(None) => {
                return refuse(&info::unknown_latency(name.unwrap_or_default()), reply);
            }
        };
        let names = monitors.monitors().iter().map(|monitor| &*monitor.name);
        let latencies: Vec<_> = (names.zip(stats.server_latencies(server.id().index())))
            .enumerate()
            .filter(|(index, _)| wanted.is_none_or(|wanted| wanted == *index))
            .map(|(_, latency)| latency)
            .collect();
        let text = info::server_latency(&shown, &latencies);
        reply.text(text.as_bytes(), request.lane.protocol());
    }
}

/// An error whose text is bytes that a client wrote, made safe already.
fn refuse(text: &[u8], reply: &mut Vec<u8>) {
    reply.put(b"-");
    reply.put(text);
    reply.put(b"\r\n");
}
