//! Writers that know what each of their keys may hold: whatever happens to servers and proxy
//! meanwhile, they tell a reply of somebody else, a write that was lost, and one that was executed
//! although its client was told that it was not.
//!
//! A value names its key and the number of the write, so nothing can be mistaken for something
//! else. Each write is a `SET` with `GET`: its reply is what the key held before.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Address, Client, SOON, Value, wait_until, wire};

/// Nothing of the request was sent.
pub const NEVER_SENT: &str = "ERR no server connection avaliable";
/// The server may have executed it.
pub const MAYBE_DONE: &str = "ERR server connection close";
/// There is no server for it.
pub const NO_SERVER: &str = "ERR no server avaliable";

/// What became of the requests of all writers.
#[derive(Default)]
pub struct Tally {
    /// Writes that were acknowledged.
    pub accepted: AtomicU64,
    /// Requests of which nothing was sent.
    pub never_sent: AtomicU64,
    /// Requests that a server may have executed.
    pub maybe_done: AtomicU64,
    /// Requests for which there was no server.
    pub no_server: AtomicU64,
    /// Requests that a server has refused.
    pub refused: AtomicU64,
    /// Keys whose last acknowledged write the new master never got: replication is asynchronous.
    pub set_back: AtomicU64,
    /// What servers may say besides CLUSTERDOWN when they refuse.
    refusals: &'static [&'static str],
    /// When the writers of the server in question were served, in the order of time.
    served: Mutex<Vec<Instant>>,
}

impl Tally {
    /// One to which servers may also say this when they refuse.
    pub fn with_refusals(refusals: &'static [&'static str]) -> Tally {
        Tally { refusals, ..Tally::default() }
    }

    /// All errors together.
    pub fn errors(&self) -> u64 {
        let all = [&self.never_sent, &self.maybe_done, &self.no_server, &self.refused];
        all.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Somebody who uses the server in question was served.
    pub fn serve(&self) {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }

    /// When somebody who uses the server in question was served for the first time since `when`.
    pub fn first_served_after(&self, when: Instant) -> Option<Instant> {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.iter().copied().filter(|at| *at >= when).min()
    }

    /// The longest time in which nobody was served.
    pub fn longest_gap(&self) -> Duration {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let gaps = served.windows(2).map(|two| two[1].saturating_duration_since(two[0]));
        gaps.max().unwrap_or_default()
    }

    /// Waits until all writers have gone on for a while.
    #[track_caller]
    pub fn some_more(&self) {
        let goal = self.accepted.load(Ordering::Relaxed) + 300;
        wait_until(SOON, "some more writes", || self.accepted.load(Ordering::Relaxed) >= goal);
    }

    /// All of it in a line.
    pub fn told(&self) -> String {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        format!(
            "{} accepted, errors: {} never sent, {} possibly applied, {} no server, {} refused; {} keys set back",
            of(&self.accepted),
            of(&self.never_sent),
            of(&self.maybe_done),
            of(&self.no_server),
            of(&self.refused),
            of(&self.set_back)
        )
    }

    /// Counts an error that a client may see, and tells what it may conclude from it.
    fn conclude(&self, error: &str) -> Option<Fate> {
        let is = |start: &&str| error.starts_with(start);
        let (count, fate) = match error {
            NEVER_SENT => (&self.never_sent, Fate::Undone),
            NO_SERVER => (&self.no_server, Fate::Undone),
            MAYBE_DONE => (&self.maybe_done, Fate::Unknown),
            _ if is(&"CLUSTERDOWN ") || self.refusals.iter().any(is) => {
                (&self.refused, Fate::Undone)
            }
            _ => return None,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Some(fate)
    }
}

/// What an error says about a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was not executed, and never will be.
    Undone,
    /// It may have been executed, or may yet be.
    Unknown,
}

/// How often acknowledged writes of a key may still be missing, because of what its servers suffer.
#[derive(Clone, Default)]
pub struct License(Arc<AtomicU32>);

impl License {
    /// From now on so many times, whatever was left.
    pub fn grant(&self, times: u32) {
        self.0.store(times, Ordering::SeqCst);
    }

    fn take(&self) -> bool {
        let less = |times: u32| times.checked_sub(1);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}

/// A key that one writer alone writes, with what it may hold now.
pub struct Key {
    name: String,
    /// It belongs to the server in question.
    is_watched: bool,
    last: u64,
    possible: BTreeSet<u64>,
    /// Writes of which its client was told that they were not executed.
    undone: BTreeSet<u64>,
    license: License,
    errors: u64,
}

impl Key {
    /// One that nobody has written yet.
    pub fn new(name: String, is_watched: bool) -> Key {
        let (possible, undone) = (BTreeSet::from([0]), BTreeSet::new());
        let license = License::default();
        Key { name, is_watched, last: 0, possible, undone, license, errors: 0 }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it belongs to the server in question.
    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// How many errors its writer got.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// To grant more of it while the writer is at work.
    pub fn license(&self) -> License {
        self.license.clone()
    }

    /// Reads it; it must hold what it may hold.
    #[track_caller]
    pub fn look(&mut self, client: &mut Client, tally: &Tally) {
        let reply = client.cmd(&["GET", &self.name]);
        let held = self.number_in(&reply);
        self.check(held, self.last, tally);
    }

    /// The next write. Its reply is what the key held before.
    fn write(&mut self) -> Vec<u8> {
        self.last += 1;
        wire(&["SET", &self.name, &format!("{}={}", self.name, self.last), "GET"])
    }

    /// The reply to the write of `number`.
    fn take(&mut self, number: u64, reply: &Value, tally: &Tally) {
        if let Some(error) = reply.error_text() {
            match self.conclude(error, tally) {
                Fate::Undone => self.undone.insert(number),
                Fate::Unknown => self.possible.insert(number),
            };
            return;
        }
        let before = self.number_in(reply);
        self.check(before, number - 1, tally);
        self.possible = BTreeSet::from([number]);
        tally.accepted.fetch_add(1, Ordering::Relaxed);
        if self.is_watched {
            tally.serve();
        }
    }

    fn conclude(&mut self, error: &str, tally: &Tally) -> Fate {
        self.errors += 1;
        let fate = tally.conclude(error);
        fate.unwrap_or_else(|| panic!("{}: no error that a client should see: {error}", self.name))
    }

    /// Whether the key may hold this, when nothing later than `last` was sent.
    #[track_caller]
    fn check(&mut self, held: u64, last: u64, tally: &Tally) {
        if self.possible.contains(&held) {
            return;
        }
        let (name, possible) = (&self.name, &self.possible);
        assert!(held <= last, "{name} held {held}, and nothing after {last} was sent");
        assert!(!self.undone.contains(&held), "{name} held {held}, which nobody should have done");
        assert!(self.license.take(), "{name} held {held}, and could only hold {possible:?}");
        self.possible = BTreeSet::from([held]);
        tally.set_back.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of the write that a reply names.
    #[track_caller]
    fn number_in(&self, reply: &Value) -> u64 {
        let number = match reply {
            Value::Nil => Some(0),
            Value::Bulk(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| {
                let (name, number) = text.rsplit_once('=')?;
                number.parse().ok().filter(|_| name == self.name)
            }),
            _ => None,
        };
        number.unwrap_or_else(|| panic!("{}: this is not ours: {reply:?}", self.name))
    }
}

/// Writers with their keys: some send one request at a time, some send many in one go.
pub struct Writers {
    keys: Vec<Vec<Key>>,
    /// How long each rests between two rounds: a loaded machine has other things to do, too.
    rest: Duration,
}

/// How long a reply may take: on a machine so busy that their clocks seem to jump, Sentinels do
/// nothing for half a minute.
const PATIENCE: Duration = Duration::from_secs(60);
const SINGLE: usize = 4;
const PIPELINED: usize = 2;

impl Writers {
    /// Four keys for each of six writers; `make` is given the numbers of both.
    pub fn keys(mut make: impl FnMut(usize, usize) -> Key) -> Vec<Vec<Key>> {
        (0..SINGLE + PIPELINED)
            .map(|writer| (0..4).map(|number| make(writer, number)).collect())
            .collect()
    }

    /// One writer for each list of keys.
    pub fn new(keys: Vec<Vec<Key>>) -> Writers {
        Writers { keys, rest: Duration::from_millis(1) }
    }

    /// Lets them rest so long between two rounds.
    pub fn resting(self, rest: Duration) -> Writers {
        Writers { rest, ..self }
    }

    /// Has them at work while `act` does something. Tells what the keys may hold in the end.
    pub fn work(mut self, proxy: &Address, tally: &Tally, act: impl FnOnce()) -> Vec<Key> {
        let (stop, rest) = (AtomicBool::new(false), self.rest);
        thread::scope(|scope| {
            let guard = StopAtEnd(&stop);
            for (writer, keys) in self.keys.iter_mut().enumerate() {
                let (mut client, stop) = (Client::connect(proxy), &stop);
                client.set_deadline(PATIENCE);
                scope.spawn(move || {
                    // Nobody goes on alone when one has found a mistake.
                    let guard = StopIfLost(stop);
                    match writer {
                        0..SINGLE => write_singly(client, keys, tally, stop, rest),
                        _ => write_pipelined(client, keys, tally, stop, rest),
                    }
                    drop(guard);
                });
            }
            let goal = tally.accepted.load(Ordering::Relaxed) + 200;
            wait_until(SOON, "the writers to be at work", || {
                tally.accepted.load(Ordering::Relaxed) >= goal
            });
            act();
            drop(guard);
        });
        self.keys.into_iter().flatten().collect()
    }
}

/// Writes its keys one request at a time, and reads them, until told to stop.
fn write_singly(
    mut client: Client,
    keys: &mut [Key],
    tally: &Tally,
    stop: &AtomicBool,
    rest: Duration,
) {
    while !stop.load(Ordering::Relaxed) {
        for key in keys.iter_mut() {
            client.send(key.write());
            key.take(key.last, &client.reply(), tally);
            let reply = client.cmd(&["GET", &key.name]);
            match reply.error_text() {
                // A read changes nothing, whatever became of it.
                Some(error) => drop(key.conclude(error, tally)),
                None => key.check(key.number_in(&reply), key.last, tally),
            }
        }
        thread::sleep(rest);
    }
}

/// Writes its keys three times each in one go, until told to stop.
fn write_pipelined(
    mut client: Client,
    keys: &mut [Key],
    tally: &Tally,
    stop: &AtomicBool,
    rest: Duration,
) {
    while !stop.load(Ordering::Relaxed) {
        let (mut bytes, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            for (at, key) in keys.iter_mut().enumerate() {
                bytes.extend(key.write());
                sent.push((at, key.last));
            }
        }
        client.send(&bytes);
        for (at, number) in sent {
            keys[at].take(number, &client.reply(), tally);
        }
        thread::sleep(2 * rest);
    }
}

/// Tells the writers to stop, also when a test ends in a panic.
pub struct StopAtEnd<'a>(pub &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Tells the others to stop when a writer has found a mistake.
struct StopIfLost<'a>(&'a AtomicBool);

impl Drop for StopIfLost<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
