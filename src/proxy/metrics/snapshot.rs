//! What there is to show, at one moment: asked from every handler, and gathered.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::pool::{Server, Topology};
use crate::proxy::handler::Handler;
use crate::proxy::hot_keys::{self, Keys, Top};
use crate::proxy::settings::Settings;
use crate::proxy::shared::{Mail, Shared};
use crate::proxy::slow_log::{self, Entry};
use crate::stats::{Distribution, HandlerTotals, ServerTotals};
use crate::sys::clock;
use crate::sys::resource::{self, Usage};

/// Everything that is shown, as it was at one moment.
pub struct Snapshot {
    /// When that was, in microseconds of the monotonic clock.
    pub at_us: u64,
    pub uptime_us: u64,
    pub started_s: i64,
    pub settings: Arc<Settings>,
    pub topology: Arc<Topology>,
    pub is_stopping: bool,
    /// What each handler has said; none of one that did not answer.
    pub views: Vec<Option<HandlerView>>,
    pub handlers: Vec<HandlerTotals>,
    /// Bytes of the buffers of each.
    pub memory: Vec<u64>,
    pub servers: Vec<ServerView>,
    pub latencies: Vec<(Box<str>, Distribution)>,
    pub usage: Option<Usage>,
}

/// What one handler has.
#[derive(Debug, Default)]
pub struct HandlerView {
    /// Which one it is.
    pub index: usize,
    /// For each of its links: the number of the server, whether requests flow, and how many
    /// replies it has yet to bring.
    pub links: Vec<(usize, bool, usize)>,
    /// How many requests wait for better times.
    pub waiting: usize,
    /// How many clients watch what all do.
    pub monitors: usize,
    /// The keys that are asked for most.
    pub hot_keys: Keys,
    /// The keys that move most bytes.
    pub big_keys: Keys,
    /// The newest slow requests.
    pub slow: Vec<Entry>,
    /// How many slow requests there were.
    pub slow_seen: u64,
    /// How often each command came, by its number, as far as samples tell.
    pub commands: Vec<u64>,
}

/// One server, with what all handlers say of it.
pub struct ServerView {
    pub server: Arc<Server>,
    pub center: String,
    pub is_failed: bool,
    pub totals: ServerTotals,
    pub latencies: Vec<Distribution>,
    /// Links on which requests flow.
    pub ready_links: usize,
    /// Requests that it has yet to answer.
    pub in_flight: usize,
}

/// The answers of the handlers, while they come.
struct Gathering {
    views: Mutex<(Vec<Option<HandlerView>>, usize)>,
    came: Condvar,
}

/// Handlers that have not answered in this time are left out.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many slow requests are shown.
pub const SLOW_MAX: usize = 20;
/// So many top keys are shown.
pub const KEYS_MAX: usize = 10;

impl Snapshot {
    /// Asks everybody.
    pub fn take(shared: &Shared) -> Snapshot {
        let views = gather(shared);
        let (stats, topology) = (&shared.stats, shared.current.load());
        let settings = shared.settings.load();
        let monitors = stats.monitors();
        let names = monitors.monitors().iter().map(|monitor| monitor.name.clone());
        let at_us = clock::monotonic_us();
        let servers = topology.listed().map(|server| view_of(server, shared, &topology, &views));
        Snapshot {
            at_us,
            uptime_us: at_us.saturating_sub(shared.started_us),
            started_s: shared.started_s,
            is_stopping: shared.is_stopping(),
            handlers: (0..shared.handlers.len())
                .map(|index| stats.handler_figures(index))
                .collect(),
            memory: shared.handlers.iter().map(|handler| handler.memory.bytes()).collect(),
            servers: servers.collect(),
            latencies: names.zip(stats.latencies_since_start()).collect(),
            usage: resource::usage().ok(),
            views,
            settings,
            topology,
        }
    }

    /// What all handlers have counted since the start.
    pub fn totals(&self) -> HandlerTotals {
        let mut totals = HandlerTotals::default();
        self.handlers.iter().for_each(|handler| totals.merge(handler));
        totals
    }

    /// The handlers that have answered.
    pub fn answered(&self) -> impl Iterator<Item = &HandlerView> {
        self.views.iter().flatten()
    }

    /// Requests that servers have yet to answer.
    pub fn in_flight(&self) -> usize {
        let links = self.answered().flat_map(|view| &view.links);
        links.map(|(_, _, in_flight)| in_flight).sum()
    }

    pub fn hot_keys(&self) -> Vec<Top> {
        let parts: Vec<Keys> = self.answered().map(|view| view.hot_keys.clone()).collect();
        hot_keys::top(&parts, KEYS_MAX)
    }

    pub fn big_keys(&self) -> Vec<Top> {
        let parts: Vec<Keys> = self.answered().map(|view| view.big_keys.clone()).collect();
        hot_keys::top(&parts, KEYS_MAX)
    }

    /// The newest slow requests, the newest first.
    pub fn slow(&self) -> Vec<Entry> {
        let parts = self.answered().map(|view| view.slow.clone()).collect();
        slow_log::newest(parts, SLOW_MAX)
    }

    /// A slow request without the values in it: the command, and its keys. What is left out are
    /// three dots.
    pub fn without_values(&self, entry: &Entry) -> Vec<Vec<u8>> {
        let words = &entry.arguments;
        let argument = |index: usize| -> &[u8] { words.get(index).map_or(b"", |word| word) };
        let command = self.settings.conf.commands.resolve(words.len(), argument).ok();
        let mut shown = vec![true; 1];
        shown.resize(words.len(), false);
        if let Some(command) = command {
            if command.is_subcommand() && words.len() > 1 {
                shown[1] = true;
            }
            // Where the keys are may not be told of a request that was cut.
            let _ = command.keys().visit(words.len(), argument, |index, _| {
                if let Some(shown) = shown.get_mut(index as usize) {
                    *shown = true;
                }
            });
        }
        let mut result: Vec<Vec<u8>> = Vec::new();
        for (word, is_shown) in words.iter().zip(shown) {
            if is_shown {
                result.push(word.to_vec());
            } else if result.last().is_none_or(|last| last != DOTS) {
                result.push(DOTS.to_vec());
            }
        }
        result
    }
}

/// Stands for words that are not shown.
const DOTS: &[u8] = "\u{2026}".as_bytes();

fn view_of(
    server: &Arc<Server>,
    shared: &Shared,
    topology: &Topology,
    views: &[Option<HandlerView>],
) -> ServerView {
    let index = server.id().index();
    let links = views.iter().flatten().flat_map(|view| &view.links);
    let links: Vec<_> = links.filter(|(server, ..)| *server == index).collect();
    ServerView {
        server: Arc::clone(server),
        center: topology.center_name(server).to_owned(),
        is_failed: server.health().is_failed(),
        totals: shared.stats.server_totals_since_start(index),
        latencies: shared.stats.server_latencies_since_start(index),
        ready_links: links.iter().filter(|(_, is_ready, _)| *is_ready).count(),
        in_flight: links.iter().map(|(_, _, in_flight)| in_flight).sum(),
    }
}

/// What each handler says, if it answers in time.
fn gather(shared: &Shared) -> Vec<Option<HandlerView>> {
    let mut views = Vec::new();
    views.resize_with(shared.handlers.len(), || None);
    let missing = views.len();
    let gathering =
        Arc::new(Gathering { views: Mutex::new((views, missing)), came: Condvar::new() });
    for handler in &shared.handlers {
        let gathering = Arc::clone(&gathering);
        handler.post(Mail::Run(Box::new(move |handler: &mut Handler| {
            let view = handler.view();
            let mut views = gathering.views.lock().unwrap_or_else(PoisonError::into_inner);
            let (views, missing) = &mut *views;
            if let Some(place) = views.get_mut(view.index) {
                *place = Some(view);
                *missing -= 1;
            }
            gathering.came.notify_one();
        })));
    }
    let views = gathering.views.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = gathering.came.wait_timeout_while(views, PATIENCE, |(_, missing)| *missing > 0);
    let (mut views, _) = waited.unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut views.0)
}
