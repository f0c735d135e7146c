//! What a connection is in the middle of at its server: a transaction, a watch, a command that
//! blocks. As Redis does it: a command that cannot be queued fails the EXEC behind it, and so does
//! a key that has changed since it was watched.

use predixy::sys::sim::World;

use super::commands::{Execution, timeout_us};
use super::model::{Model, Standing};

/// The state of one connection.
#[derive(Default)]
pub struct Talk {
    queue: Option<Vec<Vec<Vec<u8>>>>,
    is_spoiled: bool,
    /// Keys with the versions that they had.
    watched: Vec<(Vec<u8>, usize)>,
    blocked: Option<Blocked>,
}

struct Blocked {
    words: Vec<Vec<u8>>,
    standing: Standing,
    until_us: u64,
}

impl Talk {
    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    pub fn is_queueing(&self) -> bool {
        self.queue.is_some()
    }

    /// Takes a request; nothing when it blocks.
    pub fn take(
        &mut self,
        model: &mut Model,
        node: usize,
        standing: Standing,
        is_loading: bool,
        words: &[Vec<u8>],
    ) -> Option<Vec<u8>> {
        let name = words[0].to_ascii_lowercase();
        let ok = Some(b"+OK\r\n".to_vec());
        let loading = is_loading.then(|| LOADING.to_vec());
        match (&*name, &mut self.queue) {
            (b"multi", None) => {
                self.queue = Some(Vec::new());
                ok
            }
            (b"multi", Some(_)) => panic!("MULTI came inside a transaction"),
            (b"exec", None) => panic!("EXEC came outside a transaction"),
            (b"exec", Some(_)) => Some(self.execute(model, node, standing, loading)),
            (b"discard", Some(_)) => {
                *self = Talk::default();
                ok
            }
            (b"discard", None) => panic!("DISCARD came outside a transaction"),
            (b"unwatch", None) => {
                self.watched.clear();
                ok
            }
            (_, Some(queue)) => {
                let hindrance = loading.or_else(|| model.hindrance(node, standing, words));
                if hindrance.is_some() {
                    self.is_spoiled = true;
                    return hindrance;
                }
                queue.push(words.to_vec());
                Some(b"+QUEUED\r\n".to_vec())
            }
            (_, None) if is_loading => loading,
            (b"watch", None) => {
                let hindrance = model.hindrance(node, standing, words);
                if hindrance.is_some() {
                    return hindrance;
                }
                let seen =
                    words[1..].iter().map(|key| (key.clone(), model.data.version(node, key)));
                self.watched.extend(seen);
                ok
            }
            (_, None) => match model.execute(node, standing, words) {
                Execution::Reply(reply) => Some(reply),
                Execution::Blocks => {
                    self.block(standing, words);
                    None
                }
            },
        }
    }

    fn block(&mut self, standing: Standing, words: &[Vec<u8>]) {
        let timeout = words.last().map(|word| String::from_utf8_lossy(word).into_owned());
        let until_us = match timeout_us(&timeout.expect("a timeout")) {
            0 => u64::MAX,
            timeout_us => World::now_us() + timeout_us,
        };
        if until_us < u64::MAX {
            World::alarm(until_us);
        }
        self.blocked = Some(Blocked { words: words.to_vec(), standing, until_us });
    }

    /// The reply to the command that blocks, if there is one now.
    pub fn unblock(&mut self, model: &mut Model, node: usize) -> Option<Vec<u8>> {
        let Blocked { words, standing, until_us } = self.blocked.as_ref()?;
        // Who waits where a slot comes to does not ask again whether it may.
        let standing = Standing { asking: true, ..*standing };
        let reply = if model.data.master_of(node).is_some() {
            b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n".to_vec()
        } else {
            match model.execute(node, standing, words) {
                Execution::Reply(reply) if !is_for_now(&reply) => reply,
                _ if World::now_us() >= *until_us => b"*-1\r\n".to_vec(),
                _ => return None,
            }
        };
        self.blocked = None;
        Some(reply)
    }

    fn execute(
        &mut self,
        model: &mut Model,
        node: usize,
        standing: Standing,
        loading: Option<Vec<u8>>,
    ) -> Vec<u8> {
        let Talk { queue, is_spoiled, watched, .. } = std::mem::take(self);
        let queue = queue.unwrap_or_default();
        let hindrance = loading
            .or_else(|| queue.iter().find_map(|words| model.hindrance(node, standing, words)));
        if let Some(hindrance) = hindrance {
            let tells_where = [&b"-MOVED"[..], b"-ASK", b"-TRYAGAIN", b"-CLUSTERDOWN"]
                .iter()
                .any(|word| hindrance.starts_with(word));
            return match tells_where {
                true => hindrance,
                false => {
                    [b"-EXECABORT Transaction discarded because of: ", &hindrance[1..]].concat()
                }
            };
        }
        if is_spoiled {
            return b"-EXECABORT Transaction discarded because of previous errors.\r\n".to_vec();
        }
        if watched.iter().any(|(key, version)| model.data.version(node, key) != *version) {
            return b"*-1\r\n".to_vec();
        }
        model.pacts.begin(queue.len());
        let mut reply = format!("*{}\r\n", queue.len()).into_bytes();
        for words in &queue {
            match model.obey(node, standing, words) {
                Execution::Reply(one) => reply.extend(one),
                // In a transaction nobody waits.
                Execution::Blocks => reply.extend_from_slice(b"*-1\r\n"),
            }
        }
        model.pacts.end();
        reply
    }
}

const LOADING: &[u8] = b"-LOADING Redis is loading the dataset in memory\r\n";

/// What is only said to who comes, not to who waits already.
fn is_for_now(reply: &[u8]) -> bool {
    reply.starts_with(b"-ASK") || reply.starts_with(b"-TRYAGAIN")
}
