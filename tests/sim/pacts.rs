//! What clients want to be executed together: every transaction that a client has begun is known
//! here, and every write that belongs to one. A server that executes such a write must be in the
//! middle of EXEC, for that transaction and for all of it.

use std::collections::BTreeMap;

use super::data::Tag;
use super::wire::shown;

/// All transactions of a run.
#[derive(Default)]
pub struct Pacts {
    of_write: BTreeMap<Tag, Tag>,
    /// How many commands each has.
    sizes: BTreeMap<Tag, usize>,
    /// The transaction that a server executes just now; `None` also if it does not write.
    executing: Option<Execution>,
}

#[derive(Clone, Copy)]
struct Execution {
    commands: usize,
    pact: Option<Tag>,
}

/// Keys that end so are only ever written in transactions.
const ONLY_IN_PACTS: u8 = b'x';

impl Pacts {
    /// A command is to be queued in a transaction.
    pub fn join(&mut self, pact: Tag, command: Tag) {
        self.of_write.insert(command, pact);
        *self.sizes.entry(pact).or_default() += 1;
    }

    /// A server begins to execute so many commands at once.
    pub fn begin(&mut self, commands: usize) {
        self.executing = Some(Execution { commands, pact: None });
    }

    /// It has executed them.
    pub fn end(&mut self) {
        self.executing = None;
    }

    /// A server writes.
    pub fn check(&mut self, key: &[u8], tag: Option<Tag>) {
        let pact = tag.and_then(|tag| self.of_write.get(&tag)).copied();
        let Some(executing) = &mut self.executing else {
            let is_queued = pact.is_some() || key.last() == Some(&ONLY_IN_PACTS);
            assert!(!is_queued, "{tag:?} for {} is executed outside its transaction", shown(key));
            return;
        };
        let Some(tag) = tag else { return };
        let Some(pact) = pact else {
            panic!("{tag:?} for {} is executed in a transaction", shown(key))
        };
        let known = *executing.pact.get_or_insert(pact);
        assert_eq!(known, pact, "two transactions are executed as one");
        let size = self.sizes.get(&pact).copied();
        assert_eq!(Some(executing.commands), size, "a part of a transaction is executed");
    }
}
