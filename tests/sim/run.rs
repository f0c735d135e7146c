//! One run: builds everything that a seed asks for, drives it, lets it come to rest and checks
//! that nothing is left.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use predixy::base::address::Address;
use predixy::base::random::Random;
use predixy::conf::Conf;
use predixy::logger::{Format, Logger, Settings, Target};
use predixy::proxy::handler::Handler;
use predixy::proxy::reload::take_effect;
use predixy::proxy::share;
use predixy::proxy::shared::Shared;
use predixy::sys::sim::{Faults, World};
use predixy::sys::{Endpoint, ListenSocket};

use super::client::{Client, Tally};
use super::cluster::slot_of;
use super::model::Model;
use super::neighbour::Neighbour;
use super::plan::{ClientChances, Plan, ServerChances};
use super::radio::{Kind, Topic};
use super::script::Script;
use super::server::Server;

/// Everything there is in a run.
struct Run {
    plan: Plan,
    random: Random,
    handlers: Vec<Handler>,
    clients: Vec<Client>,
    servers: Vec<Server>,
    model: Model,
    script: Script,
    neighbour: Neighbour,
    proxy: Endpoint,
    logger: Arc<Logger>,
    shared: Arc<Shared>,
    /// The names of the servers and Sentinels in the configuration.
    listed: [Vec<String>; 2],
    has_log: bool,
    /// Passes in which nothing happened although somebody did not want to sleep.
    spins: u32,
    /// How often the clock was moved on.
    naps: u64,
    passes: u64,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub fingerprint: u64,
    pub is_lossy: bool,
    pub tally: Tally,
}

const PROXY: &str = "10.0.0.1:7617";
const SECOND: u64 = 1_000_000;
/// The clients may be at work so long; what is not done then stays undone.
const WORK_US: u64 = 20 * SECOND;
/// When all faults are over, everybody has to have their replies after so long.
const PATIENCE_US: u64 = 60 * SECOND;
/// No run makes so many passes.
const PASSES_MAX: u64 = 3_000_000;

/// Runs a seed. Panics if anything is not as it has to be. With `logs` the lines of the proxy's
/// log are in the trace, whose fingerprint is another one then.
pub fn run(seed: u64, logs: bool) -> Outcome {
    let mut random = Random::new(seed);
    let mut plan = Plan::draw(&mut random);
    let mut others = Random::new(!seed);
    if others.one_in(6) {
        plan.add_scarcity(&mut others);
    }
    World::reset(seed, plan.platform.clone());
    World::note(format_args!("{plan:?}"));
    let mut run = Run::new(plan, random, logs);
    run.work();
    run.rest();
    run.audit();
    run.end()
}

impl Run {
    fn new(plan: Plan, random: Random, logs: bool) -> Run {
        let model = Model::new(&plan);
        let (nodes, sentinels) = (model.nodes.len(), model.sentinels.len());
        let mut servers: Vec<Server> = (0..nodes + sentinels).map(Server::new).collect();
        for (index, server) in servers.iter_mut().enumerate() {
            if index < plan.members() || index >= nodes {
                server.start(&model);
            }
        }
        model.note_roles();
        let name_of = |index: usize| {
            let (name, address): (String, SocketAddr) =
                (format!("node{index}"), model.address(index));
            World::slow_name(&name, &[address], 300);
            match plan.by_name {
                true => format!("{name}:{}", address.port()),
                false => address.to_string(),
            }
        };
        let listed: Vec<String> = (0..nodes).map(name_of).collect();
        let watchers: Vec<String> = (nodes..nodes + sentinels).map(name_of).collect();
        let logger = match logs {
            true => Logger::new(&Settings {
                target: Target::Memory,
                format: Format::Text,
                samples: [0, 1, 1, 1, 1, 1],
                allow_miss_log: true,
            })
            .expect("memory is there"),
            false => Logger::nowhere(),
        };
        let text = plan.conf(PROXY, &listed, &watchers);
        let conf = Conf::parse(Path::new("sim.conf"), text.as_bytes(), &[]);
        let conf = conf.unwrap_or_else(|errors| panic!("{errors:?}"));
        let address = Address::parse(PROXY).expect("an address");
        let mut listeners = vec![ListenSocket::bind(&address).expect("the address is free")];
        let (shared, recorders) = share(conf, Arc::clone(&logger), 1000).expect("wakers");
        let handlers = recorders.into_iter().enumerate().map(|(index, recorder)| {
            let listeners = std::mem::take(&mut listeners);
            Handler::new(Arc::clone(&shared), index, listeners, recorder).expect("a multiplexor")
        });
        let handlers = handlers.collect();
        let clients: Vec<Client> =
            (0..plan.clients).map(|index| Client::new(index, &plan)).collect();
        let mut slots: Vec<u16> = clients
            .iter()
            .flat_map(|client| {
                (0..client.ledger.len()).map(|key| slot_of(&client.ledger.key(key).name))
            })
            .collect();
        slots.sort_unstable();
        slots.dedup();
        let proxy = Endpoint::Ip(PROXY.parse().expect("an address"));
        Run {
            neighbour: Neighbour::new(clients.iter().map(|client| &client.ledger), &plan),
            script: Script::new(slots, &plan),
            plan,
            random,
            handlers,
            clients,
            servers,
            model,
            proxy,
            logger,
            shared,
            listed: [listed, watchers],
            has_log: logs,
            spins: 0,
            naps: 0,
            passes: 0,
        }
    }

    /// One pass: everybody has a turn, in any order; the clock moves on if nobody could do anything.
    fn pass(&mut self) {
        let before = World::moves();
        let start = self.random.index(4);
        for part in (start..start + 4).map(|part| part % 4) {
            match part {
                // Who sleeps has no turn, but for one who wakes without a cause.
                0 if World::is_quiet() && !self.random.one_in(16) => {}
                0 => self.turn_handlers(),
                1 => {
                    for server in &mut self.servers {
                        server.turn(&mut self.model, &self.plan, &mut self.random);
                    }
                }
                2 => {
                    for client in &mut self.clients {
                        client.turn(&mut self.model, &self.plan, &self.proxy);
                    }
                }
                _ => self.script.turn(&mut self.model, &mut self.servers, &self.plan),
            }
        }
        self.neighbour.turn(&mut self.model);
        if std::mem::take(&mut self.script.wants_reload) {
            self.reload();
        }
        self.passes += 1;
        assert!(self.passes < PASSES_MAX, "the run does not come to an end");
        if World::moves() != before {
            self.spins = 0;
        } else if World::is_quiet() {
            self.spins = 0;
            self.naps += 1;
            assert!(World::advance(), "everybody sleeps for ever");
        } else {
            self.spins += 1;
            assert!(self.spins < 20, "a handler turns and turns though nothing happens");
        }
    }

    /// Gives the proxy another configuration, as its main thread does.
    fn reload(&mut self) {
        let [listed, watchers] = &self.listed;
        let text = self.plan.varied(&mut self.random).conf(PROXY, listed, watchers);
        let conf = Conf::parse(Path::new("sim.conf"), text.as_bytes(), &[]);
        let mut conf = conf.unwrap_or_else(|errors| panic!("{errors:?}"));
        let changed = self.shared.settings.update(|before| {
            let kept = conf.keep_what_needs_a_restart(&before.conf);
            assert!(kept.is_empty(), "{kept:?} cannot be reloaded");
            Ok::<_, ()>(conf)
        });
        if let Ok((before, now)) = changed {
            take_effect(&self.shared, &before, &now);
        }
    }

    fn turn_handlers(&mut self) {
        let first = self.random.index(self.handlers.len());
        for index in 0..self.handlers.len() {
            let place = (first + index) % self.handlers.len();
            let goes_on = self.handlers[place].turn().expect("a turn");
            assert!(goes_on, "a handler has stopped");
            if self.has_log {
                for line in self.logger.take_lines() {
                    World::note(format_args!("log: {line}"));
                }
            }
        }
    }

    /// Passes until `done`, or for so long; whether it is done.
    fn until(&mut self, within_us: u64, mut done: impl FnMut(&mut Run) -> bool) -> bool {
        let deadline_us = World::now_us() + within_us;
        World::alarm(deadline_us);
        while World::now_us() < deadline_us {
            if done(self) {
                return true;
            }
            self.pass();
        }
        done(self)
    }

    /// The clients ask, and things go wrong.
    fn work(&mut self) {
        self.until(WORK_US, |run| run.clients.iter().all(Client::is_content));
    }

    /// Nothing goes wrong any more; everybody gets what they are owed, and leaves.
    fn rest(&mut self) {
        World::note(format_args!("rest"));
        let Faults { capacity, delay_us, .. } = self.plan.platform.clone();
        World::set_faults(Faults { capacity, delay_us, ..Faults::none() });
        self.script.finish(&mut self.model, &mut self.servers);
        self.plan.deeds = Vec::new();
        self.plan.server = ServerChances::default();
        self.plan.client = ClientChances::default();
        for client in &mut self.clients {
            client.calm_down();
        }
        self.neighbour.take_turns();
        let done = self.until(PATIENCE_US, |run| run.clients.iter().all(Client::is_content));
        assert!(done, "no progress: {:?} {}", self.leftovers(), self.complaints());
        if self.plan.has_channels {
            self.listen();
        }
        for client in &mut self.clients {
            client.leave(&self.model);
        }
        // Nobody waits for anything from anybody else now.
        self.neighbour.stop();
        self.until(4 * SECOND, |_| false);
    }

    /// Whoever is subscribed now hears what is published, and servers are asked for nothing else.
    fn listen(&mut self) {
        self.neighbour.stop();
        let allows = self.plan.allows;
        if allows.lossy || allows.missed_shards {
            // Who has missed something for too long has lost its connection after so long.
            let patience_us = self.plan.server_timeout_ms.max(1_000) * 1_000;
            self.until(2 * patience_us + 3 * SECOND, |_| false);
            for client in &mut self.clients {
                client.forgive(&self.model, |kind| allows.lossy || kind == Kind::Shard);
            }
        }
        self.neighbour.publish_everywhere(&mut self.model);
        let missing =
            |run: &mut Run| run.clients.iter().find_map(|client| client.missing(&run.model));
        let done = self.until(PATIENCE_US, |run| missing(run).is_none());
        assert!(done, "{}", missing(self).unwrap_or_default());
        let done = self.until(10 * SECOND, |run| run.useless_topic().is_none());
        assert!(done, "nobody needs {:?} any more", self.useless_topic());
    }

    /// What some server is asked to tell though no client is subscribed to it.
    fn useless_topic(&self) -> Option<Topic> {
        let wanted: BTreeSet<&Topic> = self.clients.iter().flat_map(Client::topics).collect();
        self.servers.iter().flat_map(Server::topics).find(|topic| !wanted.contains(topic)).cloned()
    }

    fn complaints(&self) -> String {
        self.clients.iter().map(|client| client.complaint() + "\n").collect()
    }

    /// Every key is read once more, without any error, and is what the model has.
    fn audit(&mut self) {
        World::note(format_args!("audit"));
        // Nor does anything take time: a large value must not be too slow for ServerTimeout.
        let capacity = self.plan.platform.capacity.clone();
        World::set_faults(Faults { capacity, ..Faults::none() });
        self.plan.reply_us = 0;
        for client in &mut self.clients {
            client.ledger.check_end(&self.model.data);
            client.check_published(&self.model);
            client.begin_audit(&self.model);
        }
        let done = self.until(PATIENCE_US, |run| run.clients.iter().all(Client::is_content));
        assert!(done, "no progress in the audit: {}", self.complaints());
    }

    /// Nothing is left of anybody.
    fn end(mut self) -> Outcome {
        World::note(format_args!("end"));
        for client in &mut self.clients {
            client.leave(&self.model);
        }
        // Links to be told messages on are kept for a while.
        let patience_us = if self.plan.has_channels { 9 * SECOND } else { 5 * SECOND };
        let is_clean = self.until(patience_us, |run| run.leftovers().is_none());
        assert!(is_clean, "something is left: {:?}", self.leftovers());
        let naps = self.naps;
        self.until(3 * SECOND, |_| false);
        let naps = self.naps - naps;
        let refresh_ms = if self.plan.reloads { 20 } else { self.plan.refresh_ms.min(1_000) };
        let most = 3_000 / refresh_ms * 200 + 100;
        assert!(
            naps < most,
            "woke {naps} times in three seconds in which nobody asked for anything"
        );
        self.handlers.clear();
        // What was on its way still arrives.
        for _ in 0..1_000 {
            if World::open_sockets() == 0 {
                break;
            }
            for server in &mut self.servers {
                server.turn(&mut self.model, &self.plan, &mut self.random);
            }
            World::advance_by(10_000);
        }
        assert_eq!(World::open_sockets(), 0, "sockets are left open");
        let mut outcome = Outcome {
            fingerprint: World::fingerprint(),
            is_lossy: self.plan.allows.lossy,
            ..Outcome::default()
        };
        for client in &self.clients {
            outcome.tally.replies += client.tally.replies;
            outcome.tally.errors += client.tally.errors;
            outcome.tally.losses += client.tally.losses;
        }
        outcome
    }

    /// What should not be there at rest.
    fn leftovers(&self) -> Option<String> {
        for (index, handler) in self.handlers.iter().enumerate() {
            let (clients, split) = (handler.clients(), handler.split());
            let (in_flight, bytes) = (handler.in_flight(), handler.buffered_bytes());
            let lent = handler.lent_links();
            if clients + split + in_flight + lent > 0 || bytes > 0 {
                return Some(format!(
                    "handler {index} has {clients} clients, {in_flight} in flight, {split} split, \
                     {lent} links lent, {bytes} bytes"
                ));
            }
        }
        if let Some(topic) = self.useless_topic() {
            return Some(format!("a subscription to {topic:?}"));
        }
        let listening: usize = self.servers.iter().map(Server::listeners).sum();
        if listening > 0 {
            return Some(format!("{listening} links to be told messages on"));
        }
        let links: usize = self.servers.iter().map(Server::connections).sum();
        if World::open_sockets() != 2 * links {
            return Some(format!("{} sockets for {links} links", World::open_sockets()));
        }
        // A shared one for each database of each server, the private ones that are kept, of which
        // every client may have had two at a time, and one to listen to a Sentinel on.
        let databases = usize::try_from(self.plan.databases).unwrap_or(0);
        let databases = if self.plan.has_resp3 { 2 * databases } else { databases };
        let most =
            self.servers.len() * databases * (self.handlers.len() + 2 * self.plan.clients) + 1;
        (links > most).then(|| format!("{links} links, at most {most} are of use"))
    }
}
