//! Counters: one writer each, summed when somebody asks.
//!
//! `Recorder` is a handler's own end: it counts without locks and without atomic
//! read-modify-writes. `Stats` is the end that INFO, CONFIG RESETSTAT and the metrics use: it
//! sums what all handlers have counted.
//!
//! A reset does not touch the counters, whose writers would overwrite it: it notes the sums of
//! that moment, and later sums are told less these. So a reset holds at once, for handlers that
//! sleep as well, and no handler has to act on it.
//!
//! It knows servers and commands only by their numbers.

pub mod counter;
pub mod latency_monitor;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use counter::Counter;
pub use latency_monitor::{Bucket, Distribution, Feeds, LatencyMonitor, LatencyMonitorSet};
use latency_monitor::{Latencies, LatencyTotals};

/// Makes a struct of counters and the struct of their sums, from one list of fields. Gauges tell
/// how many there are now; counters tell how many there were since the last reset.
macro_rules! counted {
    (
        $(#[$stats_doc:meta])* struct $stats:ident;
        $(#[$totals_doc:meta])* struct $totals:ident;
        gauges { $($(#[$gauge_doc:meta])* $gauge:ident,)* }
        counters { $($(#[$counter_doc:meta])* $counter:ident,)* }
    ) => {
        $(#[$stats_doc])*
        #[derive(Debug, Default)]
        pub struct $stats {
            $($(#[$gauge_doc])* pub $gauge: Counter,)*
            $($(#[$counter_doc])* pub $counter: Counter,)*
        }

        $(#[$totals_doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $totals {
            $($(#[$gauge_doc])* pub $gauge: u64,)*
            $($(#[$counter_doc])* pub $counter: u64,)*
        }

        impl $totals {
            /// Adds what one writer has counted until now.
            fn add(&mut self, stats: &$stats) {
                $(self.$gauge = self.$gauge.wrapping_add(stats.$gauge.value());)*
                $(self.$counter = self.$counter.wrapping_add(stats.$counter.value());)*
            }

            /// Adds other sums.
            pub fn merge(&mut self, other: &$totals) {
                $(self.$gauge = self.$gauge.wrapping_add(other.$gauge);)*
                $(self.$counter = self.$counter.wrapping_add(other.$counter);)*
            }

            /// Takes away what was counted before a reset; a gauge is none of its business.
            fn subtract(&mut self, base: &$totals) {
                $(self.$counter = self.$counter.wrapping_sub(base.$counter);)*
            }
        }
    };
}

counted! {
    /// What a handler counts for itself, on cache lines of its own, as the next one is another
    /// thread's. (Processors fetch lines in pairs.)
    #[repr(align(128))]
    struct HandlerStats;
    /// The sums of `HandlerStats` over all handlers.
    struct HandlerTotals;
    gauges {
        /// Clients there are now.
        client_connections,
    }
    counters {
        /// Connections accepted.
        accept,
        /// Requests dispatched, each part of a split one, and the proxy's own.
        total_requests,
        /// Replies processed, local ones and pushes included.
        total_responses,
        /// Bytes read from clients.
        total_recv_client_bytes,
        /// Bytes written to servers.
        total_send_server_bytes,
        /// Bytes read from servers.
        total_recv_server_bytes,
        /// Bytes written to clients.
        total_send_client_bytes,
    }
}

counted! {
    /// What a handler counts for one server.
    #[repr(align(128))]
    struct ServerStats;
    /// The sums of `ServerStats` over all handlers.
    struct ServerTotals;
    gauges {
        /// Connections open now.
        connections,
    }
    counters {
        /// Attempts to connect.
        connect,
        /// Requests queued for it.
        requests,
        /// Replies that came.
        responses,
        /// Bytes written to it.
        send_bytes,
        /// Bytes read from it.
        recv_bytes,
    }
}

/// A handler's own end: made once, moved into its thread, and nobody else's.
#[derive(Debug)]
pub struct Recorder {
    record: Arc<HandlerRecord>,
    /// The same as in `record`, reached without its lock.
    latencies: Arc<Latencies>,
    servers: Vec<Arc<ServerRecord>>,
}

/// What one handler counts, where others find it.
#[derive(Debug)]
struct HandlerRecord {
    stats: HandlerStats,
    /// Taken by whoever sums, and by the handler when it meets a new server or new monitors.
    parts: Mutex<Parts>,
}

#[derive(Debug)]
struct Parts {
    latencies: Arc<Latencies>,
    servers: Vec<Arc<ServerRecord>>,
}

#[derive(Debug)]
struct ServerRecord {
    /// Survives a change of monitors.
    stats: Arc<ServerStats>,
    latencies: Latencies,
}

impl Recorder {
    fn new(monitors: &Arc<LatencyMonitorSet>) -> Recorder {
        let latencies = Arc::new(Latencies::new(Arc::clone(monitors)));
        let parts = Mutex::new(Parts { latencies: Arc::clone(&latencies), servers: Vec::new() });
        let record = Arc::new(HandlerRecord { stats: HandlerStats::default(), parts });
        Recorder { record, latencies, servers: Vec::new() }
    }

    /// Counts a command that took `elapsed_us` and that no server, or no single one, answered.
    #[inline]
    pub fn record_latency(&self, feeds: Feeds, elapsed_us: u64) {
        if !feeds.is_empty() {
            self.latencies.record(feeds, elapsed_us);
        }
    }

    /// Counts a command that took `elapsed_us` for the handler and for the server that answered.
    #[inline]
    pub fn record_server_latency(&mut self, feeds: Feeds, server: usize, elapsed_us: u64) {
        if !feeds.is_empty() {
            self.meet(server);
            self.latencies.record_both(&self.servers[server].latencies, feeds, elapsed_us);
        }
    }

    /// Follows other monitors from now on, at zero. Each handler does this after
    /// `Stats::change_monitors`; until then it feeds those that INFO shows no more.
    pub fn change_monitors(&mut self, monitors: &Arc<LatencyMonitorSet>) {
        self.latencies = Arc::new(Latencies::new(Arc::clone(monitors)));
        for server in &mut self.servers {
            let (stats, latencies) =
                (Arc::clone(&server.stats), Latencies::new(Arc::clone(monitors)));
            *server = Arc::new(ServerRecord { stats, latencies });
        }
        let mut parts = lock(&self.record.parts);
        parts.latencies = Arc::clone(&self.latencies);
        parts.servers.clone_from(&self.servers);
    }

    /// The handler's counters.
    #[inline]
    #[must_use]
    pub fn handler(&self) -> &HandlerStats {
        &self.record.stats
    }

    /// The counters for the server with this number; they come to be when first asked for.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    pub fn server(&mut self, server: usize) -> &ServerStats {
        self.meet(server);
        &self.servers[server].stats
    }

    /// The handler's counters, and those for the server with this number.
    #[inline]
    pub fn with_server(&mut self, server: usize) -> (&HandlerStats, &ServerStats) {
        self.meet(server);
        (&self.record.stats, &self.servers[server].stats)
    }

    /// The monitors that this handler feeds.
    #[inline]
    #[must_use]
    pub fn monitors(&self) -> &Arc<LatencyMonitorSet> {
        self.latencies.set()
    }

    /// Makes sure that there are counters for this server.
    #[inline]
    #[cfg_attr(small, optimize(speed))]
    fn meet(&mut self, server: usize) {
        if server >= self.servers.len() {
            self.grow(server);
        }
    }

    #[cold]
    fn grow(&mut self, server: usize) {
        while self.servers.len() <= server {
            let latencies = Latencies::new(Arc::clone(self.monitors()));
            self.servers.push(Arc::new(ServerRecord { stats: Arc::default(), latencies }));
        }
        lock(&self.record.parts).servers.clone_from(&self.servers);
    }
}

/// What all handlers counted, for whoever asks.
#[derive(Debug)]
pub struct Stats {
    handlers: Box<[Arc<HandlerRecord>]>,
    since: Mutex<Since>,
}

/// The sums when statistics were last reset. Sums are taken under its lock, so that none can be
/// older than the base it is compared with.
#[derive(Debug)]
struct Since {
    monitors: Arc<LatencyMonitorSet>,
    handler: HandlerTotals,
    latencies: LatencyTotals,
    servers: Vec<(ServerTotals, LatencyTotals)>,
}

impl Since {
    fn start(monitors: Arc<LatencyMonitorSet>) -> Since {
        let latencies = LatencyTotals::new(&monitors);
        Since { monitors, handler: HandlerTotals::default(), latencies, servers: Vec::new() }
    }
}

impl Stats {
    /// The common end, and one recorder for each handler, in order.
    #[must_use]
    pub fn new(handlers: usize, monitors: &Arc<LatencyMonitorSet>) -> (Stats, Vec<Recorder>) {
        let recorders: Vec<Recorder> = (0..handlers).map(|_| Recorder::new(monitors)).collect();
        let handlers = recorders.iter().map(|recorder| Arc::clone(&recorder.record)).collect();
        (Stats { handlers, since: Mutex::new(Since::start(Arc::clone(monitors))) }, recorders)
    }

    /// Everything but the gauges counts from zero again.
    pub fn reset(&self) {
        let mut since = lock(&self.since);
        since.handler = self.sum_handlers();
        since.latencies = self.sum_latencies(&since.monitors);
        let servers = self.handlers.iter().map(|handler| lock(&handler.parts).servers.len());
        since.servers = (0..servers.max().unwrap_or(0))
            .map(|server| {
                (self.sum_server(server), self.sum_server_latencies(server, &since.monitors))
            })
            .collect();
    }

    /// Shows other monitors from now on, at zero; the handlers are to follow with
    /// `Recorder::change_monitors`. Whoever reloads compares the sets first, so that a reload
    /// that does not concern them keeps what they know.
    pub fn change_monitors(&self, monitors: &Arc<LatencyMonitorSet>) {
        let mut since = lock(&self.since);
        since.latencies = LatencyTotals::new(monitors);
        for (_, latencies) in &mut since.servers {
            *latencies = LatencyTotals::new(monitors);
        }
        since.monitors = Arc::clone(monitors);
    }

    /// The monitors that are shown.
    #[must_use]
    pub fn monitors(&self) -> Arc<LatencyMonitorSet> {
        Arc::clone(&lock(&self.since).monitors)
    }

    /// What one handler has counted since it started: for its gauge, say.
    #[must_use]
    pub fn handler(&self, handler: usize) -> Option<&HandlerStats> {
        self.handlers.get(handler).map(|record| &record.stats)
    }

    /// The same as a value; nothing if there is no such handler.
    #[must_use]
    pub fn handler_figures(&self, handler: usize) -> HandlerTotals {
        let mut totals = HandlerTotals::default();
        if let Some(stats) = self.handler(handler) {
            totals.add(stats);
        }
        totals
    }

    /// What all handlers have counted for this server since the start, whatever was reset.
    #[must_use]
    pub fn server_totals_since_start(&self, server: usize) -> ServerTotals {
        self.sum_server(server)
    }

    /// How long commands took since the monitors came, whatever was reset.
    #[must_use]
    pub fn latencies_since_start(&self) -> Vec<Distribution> {
        self.sum_latencies(&self.monitors()).distributions()
    }

    /// The same for this server.
    #[must_use]
    pub fn server_latencies_since_start(&self, server: usize) -> Vec<Distribution> {
        self.sum_server_latencies(server, &self.monitors()).distributions()
    }

    /// What all handlers have counted since the last reset.
    #[must_use]
    pub fn handler_totals(&self) -> HandlerTotals {
        let since = lock(&self.since);
        let mut totals = self.sum_handlers();
        totals.subtract(&since.handler);
        totals
    }

    /// What all handlers have counted for this server since the last reset.
    #[must_use]
    pub fn server_totals(&self, server: usize) -> ServerTotals {
        let since = lock(&self.since);
        let mut totals = self.sum_server(server);
        if let Some((base, _)) = since.servers.get(server) {
            totals.subtract(base);
        }
        totals
    }

    /// How long commands took, for each monitor in the order of `monitors()`.
    #[must_use]
    pub fn latencies(&self) -> Vec<Distribution> {
        let since = lock(&self.since);
        let mut totals = self.sum_latencies(&since.monitors);
        totals.subtract(&since.latencies);
        totals.distributions()
    }

    /// How long commands took on this server, for each monitor in the order of `monitors()`.
    #[must_use]
    pub fn server_latencies(&self, server: usize) -> Vec<Distribution> {
        let since = lock(&self.since);
        let mut totals = self.sum_server_latencies(server, &since.monitors);
        if let Some((_, base)) = since.servers.get(server) {
            totals.subtract(base);
        }
        totals.distributions()
    }

    fn sum_handlers(&self) -> HandlerTotals {
        let mut totals = HandlerTotals::default();
        for handler in &self.handlers {
            totals.add(&handler.stats);
        }
        totals
    }

    fn sum_latencies(&self, monitors: &Arc<LatencyMonitorSet>) -> LatencyTotals {
        let mut totals = LatencyTotals::new(monitors);
        for handler in &self.handlers {
            totals.add(&lock(&handler.parts).latencies);
        }
        totals
    }

    fn sum_server(&self, server: usize) -> ServerTotals {
        let mut totals = ServerTotals::default();
        for handler in &self.handlers {
            if let Some(record) = lock(&handler.parts).servers.get(server) {
                totals.add(&record.stats);
            }
        }
        totals
    }

    fn sum_server_latencies(
        &self,
        server: usize,
        monitors: &Arc<LatencyMonitorSet>,
    ) -> LatencyTotals {
        let mut totals = LatencyTotals::new(monitors);
        for handler in &self.handlers {
            if let Some(record) = lock(&handler.parts).servers.get(server) {
                totals.add(&record.latencies);
            }
        }
        totals
    }
}

/// Nothing is left half done under these locks, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitors(names: &[&str]) -> Arc<LatencyMonitorSet> {
        let monitor = |name: &str| LatencyMonitor { name: name.into(), bounds_us: [100].into() };
        Arc::new(LatencyMonitorSet::new(names.iter().map(|name| (monitor(name), [0]))))
    }

    fn start(handlers: usize) -> (Stats, Vec<Recorder>) {
        Stats::new(handlers, &monitors(&["all"]))
    }

    fn total(latencies: &[Distribution]) -> Bucket {
        latencies[0].total()
    }

    #[test]
    fn handlers_are_summed() {
        let (stats, recorders) = start(2);
        recorders[0].handler().total_requests.add(3);
        recorders[1].handler().total_requests.add(4);
        recorders[1].handler().client_connections.increment();
        let want =
            HandlerTotals { total_requests: 7, client_connections: 1, ..HandlerTotals::default() };
        assert_eq!(stats.handler_totals(), want);
        assert_eq!(stats.handler(1).map(|handler| handler.client_connections.value()), Some(1));
    }

    #[test]
    fn servers_are_counted_as_handlers_meet_them() {
        let (stats, mut recorders) = start(2);
        assert_eq!(stats.server_totals(5), ServerTotals::default());
        recorders[0].server(5).requests.add(3);
        recorders[1].server(1).requests.add(10);
        recorders[1].server(5).requests.add(4);
        recorders[0].server(0).send_bytes.add(1);
        recorders[0].server(5).requests.add(1);
        assert_eq!(stats.server_totals(5), ServerTotals { requests: 8, ..ServerTotals::default() });
        assert_eq!(stats.server_totals(1).requests, 10);
        assert_eq!(stats.server_totals(0).send_bytes, 1);
    }

    #[test]
    fn a_reset_spares_the_gauges() {
        let (stats, mut recorders) = start(1);
        let handler = recorders[0].handler();
        for counter in [
            &handler.client_connections,
            &handler.accept,
            &handler.total_requests,
            &handler.total_responses,
            &handler.total_recv_client_bytes,
            &handler.total_send_server_bytes,
            &handler.total_recv_server_bytes,
            &handler.total_send_client_bytes,
        ] {
            counter.add(9);
        }
        let server = recorders[0].server(2);
        for counter in [
            &server.connections,
            &server.connect,
            &server.requests,
            &server.responses,
            &server.send_bytes,
            &server.recv_bytes,
        ] {
            counter.add(9);
        }
        stats.reset();
        assert_eq!(
            stats.handler_totals(),
            HandlerTotals { client_connections: 9, ..HandlerTotals::default() }
        );
        assert_eq!(
            stats.server_totals(2),
            ServerTotals { connections: 9, ..ServerTotals::default() }
        );

        recorders[0].handler().client_connections.decrement();
        recorders[0].handler().accept.add(2);
        recorders[0].server(2).connections.decrement();
        recorders[0].server(2).connect.increment();
        recorders[0].server(3).connect.add(5);
        let want = HandlerTotals { client_connections: 8, accept: 2, ..HandlerTotals::default() };
        assert_eq!(stats.handler_totals(), want);
        let want = ServerTotals { connections: 8, connect: 1, ..ServerTotals::default() };
        assert_eq!(stats.server_totals(2), want);
        assert_eq!(stats.server_totals(3).connect, 5);
        stats.reset();
        assert_eq!(stats.server_totals(3).connect, 0);
    }

    #[test]
    fn latencies_are_counted_for_handler_and_server() {
        let (stats, mut recorders) = start(2);
        let feeds = recorders[0].monitors().feeds(0);
        recorders[0].record_latency(feeds, 50);
        recorders[0].record_latency(Feeds::NONE, 50);
        recorders[0].record_server_latency(feeds, 3, 60);
        recorders[1].record_server_latency(feeds, 3, 500);
        recorders[1].record_server_latency(feeds, 0, 70);
        recorders[1].record_server_latency(Feeds::NONE, 0, 70);
        assert_eq!(total(&stats.latencies()), Bucket { count: 4, sum_us: 680 });
        assert_eq!(total(&stats.server_latencies(3)), Bucket { count: 2, sum_us: 560 });
        assert_eq!(stats.server_latencies(3)[0].buckets[1], Bucket { count: 1, sum_us: 500 });
        assert_eq!(total(&stats.server_latencies(0)), Bucket { count: 1, sum_us: 70 });
        assert_eq!(total(&stats.server_latencies(9)), Bucket::default());

        stats.reset();
        assert_eq!(total(&stats.latencies()), Bucket::default());
        assert_eq!(total(&stats.server_latencies(3)), Bucket::default());
        recorders[0].record_server_latency(feeds, 3, 5);
        assert_eq!(total(&stats.latencies()), Bucket { count: 1, sum_us: 5 });
        assert_eq!(total(&stats.server_latencies(3)), Bucket { count: 1, sum_us: 5 });
    }

    #[test]
    fn other_monitors_begin_at_zero_and_servers_keep_their_counts() {
        let (stats, mut recorders) = start(2);
        let feeds = recorders[0].monitors().feeds(0);
        recorders[0].record_server_latency(feeds, 0, 50);
        recorders[1].record_server_latency(feeds, 0, 50);
        recorders[0].server(0).requests.add(7);
        stats.reset();
        recorders[0].server(0).requests.add(1);

        let others = monitors(&["all", "more"]);
        stats.change_monitors(&others);
        // The second handler has not caught up: what it counts goes to monitors that are gone.
        recorders[0].change_monitors(&others);
        recorders[1].record_server_latency(feeds, 0, 50);
        let feeds = recorders[0].monitors().feeds(0);
        recorders[0].record_server_latency(feeds, 0, 10);
        recorders[0].record_server_latency(feeds, 1, 10);
        assert_eq!(stats.monitors().monitors().len(), 2);
        assert_eq!(stats.latencies().len(), 2);
        assert_eq!(total(&stats.latencies()), Bucket { count: 2, sum_us: 20 });
        assert_eq!(total(&stats.server_latencies(0)), Bucket { count: 1, sum_us: 10 });
        assert_eq!(stats.server_totals(0).requests, 1);
    }

    #[test]
    fn the_same_monitors_are_recognised() {
        assert_eq!(monitors(&["a", "b"]), monitors(&["a", "b"]));
        assert_ne!(monitors(&["a", "b"]), monitors(&["a", "c"]));
    }

    #[test]
    fn counting_and_asking_go_on_at_once() {
        let (stats, recorders) = start(2);
        let threads: Vec<_> = recorders
            .into_iter()
            .map(|mut recorder| {
                std::thread::spawn(move || {
                    let feeds = recorder.monitors().feeds(0);
                    for number in 0..20_000 {
                        recorder.handler().total_requests.increment();
                        recorder.record_server_latency(feeds, number % 40, 1);
                    }
                })
            })
            .collect();
        let mut before_reset = 0;
        while threads.iter().any(|thread| !thread.is_finished()) {
            // A sum that was smaller than its base would wrap around to a huge number.
            let totals = stats.handler_totals();
            assert!(totals.total_requests <= 40_000);
            let count =
                (0..40).map(|server| total(&stats.server_latencies(server)).count).sum::<u64>();
            assert!(count <= 40_000);
            before_reset = before_reset.max(totals.total_requests);
            stats.reset();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        stats.reset();
        assert_eq!(stats.handler_totals().total_requests, 0);
        assert_eq!(total(&stats.latencies()).count, 0);
    }
}
