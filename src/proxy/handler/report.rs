//! INFO: what there is to tell, gathered from whoever counts it.

use super::super::auth::{self, Verdict};
use super::super::info::{self, Info, ProxyInfo, Query, ResourceInfo, ServerInfo};
use super::super::replies;
use super::Handler;
use super::dispatch::Request;
use crate::resp::command::{Access, Rights};
use crate::resp::writer::Sink;
use crate::stats::Distribution;
use crate::sys::{clock, resource};

impl Handler {
    pub(super) fn info(&mut self, request: &Request<'_>, reply: &mut Vec<u8>) {
        let arguments = (1..request.arguments.count()).map(|index| request.argument(index));
        match info::query(arguments) {
            Query::Sections(sections) => {
                let text = self.with_info(|info| info::sections(sections, info));
                reply.bulk(text.as_bytes());
            }
            Query::ResetStats => self.reset_stats(request, reply),
            Query::Latency { monitor } => self.latency(monitor, reply),
            Query::ServerLatency { server, monitor } => {
                self.server_latency(server, monitor, reply);
            }
            Query::Wrong => {
                reply.error(info::ARGUMENT_WRONG);
            }
        }
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
        let memory = shared.handlers.iter().map(|handler| handler.memory.bytes());
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
                used_memory: memory.sum(),
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
    fn latency(&self, name: &[u8], reply: &mut Vec<u8>) {
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
        reply.bulk(info::latency(name, &all, &servers).as_bytes());
    }

    /// `INFO ServerLatency <addr> [<name>]`.
    fn server_latency(&self, address: &[u8], name: Option<&[u8]>, reply: &mut Vec<u8>) {
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
        reply.bulk(info::server_latency(&shown, &latencies).as_bytes());
    }
}

/// An error whose text is bytes that a client wrote, made safe already.
fn refuse(text: &[u8], reply: &mut Vec<u8>) {
    reply.put(b"-");
    reply.put(text);
    reply.put(b"\r\n");
}
