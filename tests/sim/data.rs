//! What the simulated servers hold, and everything that was ever done to it: keys and their
//! versions, replication with its lag, and the history of every key. Knows neither slots nor
//! groups nor connections.
//!
//! Every write gives its key the next version, on whichever server it is executed. A server holds
//! one version of a key; a replica learns of later ones when its lag is over. When a replica takes
//! over, the versions that it does not have are lost, and so is all that the old master executes
//! after that. The history keeps them, marked: it is what the ledgers of the clients are checked
//! against. Every read is noted too, with the version that it saw.

use std::collections::BTreeMap;
use std::rc::Rc;

use predixy::sys::sim::World;

use super::wire;

/// A request: the number of its client, and its number among that client's requests.
pub type Tag = (usize, u32);

/// Everything that the servers of a run hold.
#[derive(Default)]
pub struct Data {
    stores: Vec<Store>,
    history: BTreeMap<Vec<u8>, History>,
}

/// What happened to one key.
#[derive(Default)]
struct History {
    entries: Vec<Entry>,
    sights: Vec<Sight>,
}

/// One execution of a write. Its version is its place in the history, from 1.
pub struct Entry {
    /// Which request it was; what only counts has none.
    pub tag: Option<Tag>,
    /// What the key held from then on.
    pub value: Option<Rc<[u8]>>,
    /// Whether something was removed.
    pub removed: bool,
    /// What was taken from a list.
    pub taken: Option<Vec<u8>>,
    pub at_us: u64,
    /// The servers have lost it in a failover.
    pub is_lost: bool,
}

/// One execution of a read.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    pub at_us: u64,
    /// What it saw; 0 is that the key had never been written.
    pub version: usize,
    /// It was executed by a replica.
    pub at_replica: bool,
    /// Who was a master once.
    pub at_former_master: bool,
}

/// What one server holds.
#[derive(Default)]
struct Store {
    cells: BTreeMap<Vec<u8>, Cell>,
    /// Its master.
    follows: Option<usize>,
    was_master: bool,
    /// Changes when the store goes on from other data: its replicas begin anew then.
    lineage: u64,
    /// How far it has come in which lineage of its master.
    synced: Option<(u64, usize)>,
    /// When it has got all that its master has.
    sync_at_us: u64,
    /// The connection to its master is broken.
    is_cut: bool,
    lag_us: u64,
    /// What its replicas have to learn.
    backlog: Vec<Change>,
}

#[derive(Clone)]
struct Cell {
    version: usize,
    value: Option<Rc<[u8]>>,
}

struct Change {
    at_us: u64,
    key: Vec<u8>,
    /// `None` when the key has left with its slot.
    cell: Option<Cell>,
}

impl Data {
    /// So many masters that hold nothing.
    pub fn new(nodes: usize) -> Data {
        let store = || Store { was_master: true, ..Store::default() };
        Data { stores: (0..nodes).map(|_| store()).collect(), history: BTreeMap::new() }
    }

    /// What was ever written to a key.
    pub fn history(&self, key: &[u8]) -> &[Entry] {
        self.history.get(key).map_or(&[], |history| history.entries.as_slice())
    }

    /// What was ever read from a key.
    pub fn sights(&self, key: &[u8]) -> &[Sight] {
        self.history.get(key).map_or(&[], |history| history.sights.as_slice())
    }

    /// What a version of a key held.
    pub fn value_of(&self, key: &[u8], version: usize) -> Option<&[u8]> {
        self.history(key).get(version.checked_sub(1)?)?.value.as_deref()
    }

    /// What a server holds under a key now. Nobody notes it.
    pub fn peek(&self, node: usize, key: &[u8]) -> Option<&Rc<[u8]>> {
        self.stores[node].cells.get(key)?.value.as_ref()
    }

    /// Whether a server holds a key, or has removed it.
    pub fn knows(&self, node: usize, key: &[u8]) -> bool {
        self.stores[node].cells.contains_key(key)
    }

    /// Which version every server holds, and which versions are lost.
    pub fn holders(&self, key: &[u8]) -> (Vec<Option<usize>>, Vec<bool>) {
        let version = |store: &Store| store.cells.get(key).map(|cell| cell.version);
        let lost = self.history(key).iter().map(|entry| entry.is_lost);
        (self.stores.iter().map(version).collect(), lost.collect())
    }

    /// The keys that a server holds.
    pub fn keys(&self, node: usize) -> impl Iterator<Item = &[u8]> {
        let held = self.stores[node].cells.iter().filter(|(_, cell)| cell.value.is_some());
        held.map(|(key, _)| key.as_slice())
    }

    /// What a server answers to a read.
    pub fn read(&mut self, node: usize, key: &[u8]) -> Option<Rc<[u8]>> {
        let store = &self.stores[node];
        let cell = store.cells.get(key);
        let value = cell.and_then(|cell| cell.value.clone());
        let sight = Sight {
            at_us: World::now_us(),
            version: cell.map_or(0, |cell| cell.version),
            at_replica: store.follows.is_some(),
            at_former_master: store.was_master,
        };
        self.history.entry(key.to_vec()).or_default().sights.push(sight);
        value
    }

    /// Lets a server write or, without a value, remove a key; whether there was a value before.
    /// What is not `durable` is lost at once: another server is the master, and this one does not
    /// know it yet.
    pub fn write(
        &mut self,
        node: usize,
        key: &[u8],
        tag: Option<Tag>,
        value: Option<Vec<u8>>,
        durable: bool,
    ) -> bool {
        let at_us = World::now_us();
        let value: Option<Rc<[u8]>> = value.map(Rc::from);
        let entries = &mut self.history.entry(key.to_vec()).or_default().entries;
        if let Some(tag) = tag {
            let twice = entries.iter().any(|entry| entry.tag == Some(tag));
            assert!(!twice, "{tag:?} was executed twice for {}", wire::shown(key));
        }
        let store = &mut self.stores[node];
        let had = store.cells.get(key).is_some_and(|cell| cell.value.is_some());
        let removed = had && value.is_none();
        let is_lost = !durable;
        entries.push(Entry { tag, value: value.clone(), removed, taken: None, at_us, is_lost });
        let cell = Cell { version: entries.len(), value };
        store.cells.insert(key.to_vec(), cell.clone());
        store.backlog.push(Change { at_us, key: key.to_vec(), cell: Some(cell) });
        had
    }

    /// The last that was written to a key took this from its list.
    pub fn note_taken(&mut self, key: &[u8], element: &[u8]) {
        let history = self.history.get_mut(key);
        if let Some(entry) = history.and_then(|history| history.entries.last_mut()) {
            entry.taken = Some(element.to_vec());
        }
    }

    /// The version of a key that a server holds; 0 is none.
    pub fn version(&self, node: usize, key: &[u8]) -> usize {
        self.stores[node].cells.get(key).map_or(0, |cell| cell.version)
    }

    /// Moves a key with all that is known of it.
    pub fn move_key(&mut self, key: &[u8], from: usize, to: usize) {
        let at_us = World::now_us();
        let Some(cell) = self.stores[from].cells.remove(key) else { return };
        let key = key.to_vec();
        self.stores[from].backlog.push(Change { at_us, key: key.clone(), cell: None });
        self.stores[to].cells.insert(key.clone(), cell.clone());
        self.stores[to].backlog.push(Change { at_us, key, cell: Some(cell) });
    }

    /// The keys that a server holds or has held, and that have not left.
    pub fn known_keys(&self, node: usize, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        self.stores[node].cells.keys().filter(|key| wanted(key)).cloned().collect()
    }

    /// The master of a replica.
    pub fn master_of(&self, node: usize) -> Option<usize> {
        self.stores[node].follows
    }

    /// The replicas of a server.
    pub fn replicas_of(&self, node: usize) -> Vec<usize> {
        (0..self.stores.len()).filter(|other| self.stores[*other].follows == Some(node)).collect()
    }

    /// Whether a replica has its master, and has had all from it at least once.
    pub fn is_linked(&self, node: usize) -> bool {
        let store = &self.stores[node];
        let Some(master) = store.follows else { return true };
        !store.is_cut && store.synced.is_some_and(|(of, _)| of == self.stores[master].lineage)
    }

    /// Whether a replica has ever had something from its master.
    pub fn has_data(&self, node: usize) -> bool {
        self.stores[node].synced.is_some()
    }

    /// How far a replica is behind.
    pub fn set_lag(&mut self, node: usize, lag_us: u64) {
        self.stores[node].lag_us = lag_us;
    }

    /// Makes a server the replica of another one; it has all that that one has after a while.
    pub fn follow(&mut self, node: usize, master: usize, after_us: u64) {
        let store = &mut self.stores[node];
        store.follows = Some(master);
        store.lineage += 1;
        store.backlog.clear();
        store.synced = None;
        store.is_cut = false;
        store.sync_at_us = World::now_us() + after_us;
    }

    /// A server was never a master.
    pub fn was_never_master(&mut self, node: usize) {
        self.stores[node].was_master = false;
    }

    /// Breaks the connections of a server's replicas to it: they keep what they have.
    pub fn sever(&mut self, master: usize) {
        for replica in self.replicas_of(master) {
            self.cut(replica);
        }
    }

    /// Breaks the connection of a replica to its master.
    pub fn cut(&mut self, replica: usize) {
        self.catch_up(replica);
        self.stores[replica].is_cut = true;
    }

    /// Lets a replica reach its master again.
    pub fn mend(&mut self, replica: usize, after_us: u64) {
        let store = &mut self.stores[replica];
        store.is_cut = false;
        store.sync_at_us = World::now_us() + after_us;
    }

    /// Lets a replica learn what it can have learned by now.
    pub fn catch_up(&mut self, node: usize) {
        let lag_us = self.stores[node].lag_us;
        self.learn(node, World::now_us().saturating_sub(lag_us));
    }

    /// Lets a replica learn everything.
    pub fn catch_up_fully(&mut self, node: usize) {
        self.stores[node].sync_at_us = 0;
        self.learn(node, u64::MAX);
    }

    fn learn(&mut self, node: usize, until_us: u64) {
        let Store { follows, is_cut, sync_at_us, synced, .. } = self.stores[node];
        let Some(master) = follows.filter(|_| !is_cut && World::now_us() >= sync_at_us) else {
            return;
        };
        let source = &self.stores[master];
        if source.follows.is_some() {
            // It has no master itself that it could pass on.
            return;
        }
        let Some((_, mut at)) = synced.filter(|(lineage, _)| *lineage == source.lineage) else {
            let (cells, synced) = (source.cells.clone(), (source.lineage, source.backlog.len()));
            self.stores[node].cells = cells;
            self.stores[node].synced = Some(synced);
            return;
        };
        let lineage = source.lineage;
        let mut cells = std::mem::take(&mut self.stores[node].cells);
        while let Some(change) = self.stores[master].backlog.get(at)
            && change.at_us <= until_us
        {
            match &change.cell {
                Some(cell) => cells.insert(change.key.clone(), cell.clone()),
                None => cells.remove(&change.key),
            };
            at += 1;
        }
        self.stores[node].cells = cells;
        self.stores[node].synced = Some((lineage, at));
    }

    /// A replica becomes master, of the keys of its old master that are `wanted`. What it does not
    /// have of them is lost.
    pub fn take_over(&mut self, dead: usize, heir: usize, wanted: impl Fn(&[u8]) -> bool) {
        self.catch_up(heir);
        let [old, new] = self.stores.get_disjoint_mut([dead, heir]).expect("two servers");
        // What has left with its slot does not come back with the slot alone.
        new.cells.retain(|key, _| wanted(key) && old.cells.contains_key(key));
        for (key, cell) in old.cells.iter().filter(|(key, _)| wanted(key)) {
            let kept = new.cells.get(key).map_or(0, |cell| cell.version);
            let entries = &mut self.history.entry(key.clone()).or_default().entries;
            for entry in entries[..cell.version].iter_mut().skip(kept) {
                entry.is_lost = true;
            }
            // It may have been cut off for so long that it has what others had lost before.
            if let Some(entry) = kept.checked_sub(1).and_then(|last| entries.get_mut(last)) {
                entry.is_lost = false;
            }
        }
        new.follows = None;
        new.was_master = true;
        new.is_cut = false;
        new.lineage += 1;
        new.backlog.clear();
    }
}
