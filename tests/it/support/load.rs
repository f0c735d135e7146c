//! Clients at work, each of which checks every reply: whatever happens to the proxy meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::{Proxy, bulk, ok};

/// Threads that send pipelines and check every reply until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    /// So many clients, each on a connection of its own that it never opens again.
    pub fn start(proxy: &Proxy, count: usize) -> Load {
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..count).map(|number| {
            let (mut client, stop, requests) =
                (proxy.client(), Arc::clone(&stop), Arc::clone(&requests));
            thread::spawn(move || {
                let keys: Vec<String> = (0..8).map(|key| format!("load:{number}:{key}")).collect();
                let mut round = 0u64;
                while !stop.load(Ordering::SeqCst) {
                    round += 1;
                    let mut lines: Vec<String> = Vec::new();
                    for key in &keys {
                        lines.push(format!("SET {key} {round}"));
                        lines.push(format!("GET {key}"));
                    }
                    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                    for two in client.pipeline(&lines).chunks(2) {
                        assert_eq!(two, [ok(), bulk(round.to_string())]);
                    }
                    requests.fetch_add(16, Ordering::SeqCst);
                }
            })
        });
        let threads = threads.collect();
        Load { stop, requests, threads }
    }

    /// How many requests were answered so far.
    pub fn done(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Stops, and fails if anything went wrong on the way.
    pub fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a client without errors"));
    }
}
