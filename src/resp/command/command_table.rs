//! Finds commands by name.
//!
//! A table is a value: built from the rows, extended while the configuration is read, then
//! shared and never changed. Finding a command costs a hash, two loads and a comparison of
//! integers, and no allocation, because it happens once per request.

use std::borrow::Cow;

use super::rows::{self, Row};
use super::specs;
use super::word::Word;
use super::{Command, CommandId, Family, KeySpec, NO_LIMIT, Refusal, Rights, error_text, flag};

/// Every command the proxy knows.
#[derive(Clone, Debug)]
pub struct CommandTable {
    /// By id. The sub-commands of a command are next to each other, behind all commands.
    commands: Vec<Command>,
    /// An open-addressed hash table of ids plus one; 0 is an empty place.
    places: Vec<u16>,
    bits: u32,
    /// Custom commands whose names are too long for a `Word`.
    long_names: Vec<CommandId>,
}

/// What a `CustomCommand` block says about one command.
#[derive(Clone, Copy, Debug)]
pub struct CustomCommand {
    /// What a client must be allowed to do.
    pub rights: Rights,
    /// Which argument is its key: 1, 2 or 3.
    pub key_at: u8,
    /// The fewest arguments, the command word included.
    pub min_args: u32,
    /// The most arguments, the command word included.
    pub max_args: u32,
}

/// Why a request names no command that could be executed.
#[derive(Clone, Copy, Debug)]
pub enum Unresolved<'a> {
    /// There is no such command.
    UnknownCommand,
    /// The command has no such sub-command.
    UnknownSubcommand(&'a Command),
    /// Too few arguments, or too many.
    WrongArity(&'a Command),
}

impl CommandTable {
    /// The table of everything that Redis, Valkey and their bundled modules have, and the
    /// proxy's own commands.
    #[must_use]
    pub fn new() -> CommandTable {
        let mut table = CommandTable {
            commands: Vec::with_capacity(rows::count()),
            places: vec![0; 1 << BITS],
            bits: BITS,
            long_names: Vec::new(),
        };
        let all = || rows::GROUPS.iter().copied().flatten();
        for row in all() {
            let id = table.push(row, None);
            table.enter(id);
        }
        for (index, row) in all().enumerate() {
            table.push_subcommands(index, row.subcommands);
        }
        table
    }

    /// The command that `word` names, in any case. Sub-commands are not found here.
    #[must_use]
    #[inline]
    pub fn lookup(&self, word: &[u8]) -> Option<&Command> {
        let Some(word) = Word::new(word) else { return self.lookup_long(word) };
        let mask = self.places.len() - 1;
        let mut place = word.hash(self.bits);
        loop {
            // The mask keeps the place inside, and an empty one is never far: see `enter`.
            let index = usize::from(*self.places.get(place & mask)?).checked_sub(1)?;
            let command = self.commands.get(index)?;
            if command.word == word {
                return Some(command);
            }
            place += 1;
        }
    }

    /// The sub-command of `container` that `word` names, in any case.
    #[must_use]
    pub fn subcommand(&self, container: &Command, word: &[u8]) -> Option<&Command> {
        let word = Word::new(word)?;
        self.subcommands(container).iter().find(|command| command.word == word)
    }

    /// The sub-commands of a command; none for most.
    #[must_use]
    pub fn subcommands(&self, container: &Command) -> &[Command] {
        let first = usize::from(container.first_subcommand);
        let count = usize::from(container.subcommand_count);
        self.commands.get(first..first + count).unwrap_or_default()
    }

    /// What the request is: the command, or the sub-command if it has such, provided that the
    /// number of its arguments is right.
    ///
    /// `argument(0)` is the command word, and `count` is the number of arguments with it. The
    /// family of what is returned is never `Container`.
    ///
    /// # Errors
    ///
    /// When there is no such command; `Unresolved::write` has the words.
    #[inline]
    pub fn resolve<'a>(
        &self,
        count: usize,
        argument: impl Fn(usize) -> &'a [u8],
    ) -> Result<&Command, Unresolved<'_>> {
        if count == 0 {
            return Err(Unresolved::UnknownCommand);
        }
        let mut command = self.lookup(argument(0)).ok_or(Unresolved::UnknownCommand)?;
        if command.has_subcommands() && count > 1 {
            command = self
                .subcommand(command, argument(1))
                .ok_or(Unresolved::UnknownSubcommand(command))?;
        }
        if command.accepts(count) { Ok(command) } else { Err(Unresolved::WrongArity(command)) }
    }

    /// The command or sub-command with this id; of an id from another table, none.
    #[must_use]
    #[inline]
    pub fn command(&self, id: CommandId) -> Option<&Command> {
        self.commands.get(id.index())
    }

    /// All commands and sub-commands, in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Command> {
        self.commands.iter()
    }

    /// How many commands and sub-commands there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there are none, which is not so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Adds a command that a `CustomCommand` block defines.
    ///
    /// A command that predixy has itself, and one that was added before, cannot be defined.
    /// One that only this table has can: files in use define commands that predixy lacks, and
    /// what they say about rights, key and arguments then holds here as it does there.
    ///
    /// # Errors
    ///
    /// When the name is taken, is no possible name, or there are too many.
    pub fn add_custom(&mut self, name: &[u8], custom: CustomCommand) -> Result<CommandId, String> {
        let shown = String::from_utf8_lossy(name);
        if name.is_empty() || name.len() > CUSTOM_NAME_MAX || !name.iter().all(u8::is_ascii_graphic)
        {
            return Err(format!("custom command {shown} is not a possible name"));
        }
        let Some(keys) = custom_keys(custom) else {
            return Err(format!("custom command {shown} must have its key at 1, 2 or 3"));
        };
        let known = self.lookup(name).map(|command| (command.id, command.is_custom()));
        let id = match known {
            Some((_, is_custom)) if is_custom || rows::is_predixy(&shown) => {
                return Err(format!("custom command {shown} is duplicated"));
            }
            Some((id, _)) => id,
            None => self.next_id().ok_or_else(|| {
                format!("custom command {shown} is one too many: there are {}", self.commands.len())
            })?,
        };
        let word = Word::new(name).unwrap_or(Word::EMPTY);
        let row = Row::new("", 0, custom.rights, keys, Family::Keyed);
        let mut command = command(&row, id, None);
        command.word = word;
        command.name = Cow::Owned(shown.to_ascii_lowercase());
        command.min_args = custom.min_args;
        command.max_args = custom.max_args;
        command.flags |= flag::CUSTOM;
        match self.commands.get_mut(id.index()) {
            Some(old) => *old = command,
            None => {
                self.commands.push(command);
                self.enter(id);
            }
        }
        Ok(id)
    }

    /// Makes a command, with all its sub-commands, or one sub-command (`config|set`, or with a
    /// blank) one that is always refused. Returns whether there is such a command.
    pub fn disable(&mut self, name: &[u8]) -> bool {
        let mut words = name.splitn(2, |&byte| byte == b'|' || byte == b' ');
        let container = words.next().and_then(|word| self.lookup(word));
        let (range, container) = match (container, words.next()) {
            (None, _) => return false,
            (Some(command), None) => {
                let first = usize::from(command.first_subcommand);
                (first..first + usize::from(command.subcommand_count), Some(command.id))
            }
            (Some(command), Some(word)) => match self.subcommand(command, word) {
                None => return false,
                Some(command) => (command.id.index()..command.id.index() + 1, None),
            },
        };
        let ids = range.chain(container.map(CommandId::index));
        for index in ids {
            if let Some(command) = self.commands.get_mut(index) {
                command.disable();
            }
        }
        true
    }

    #[cold]
    fn lookup_long(&self, word: &[u8]) -> Option<&Command> {
        if word.len() > CUSTOM_NAME_MAX {
            return None;
        }
        let mut commands = self.long_names.iter().filter_map(|&id| self.command(id));
        commands.find(|command| command.name.as_bytes().eq_ignore_ascii_case(word))
    }

    fn next_id(&self) -> Option<CommandId> {
        // A place holds the id plus one, and `first_subcommand` one past the last id.
        let id = u16::try_from(self.commands.len()).ok()?;
        (id < u16::MAX - 1).then_some(CommandId(id))
    }

    fn push(&mut self, row: &Row, container: Option<CommandId>) -> CommandId {
        // There are a few hundred rows, which a test counts.
        let id = self.next_id().unwrap_or(CommandId(u16::MAX));
        self.commands.push(command(row, id, container));
        id
    }

    fn push_subcommands(&mut self, container: usize, rows: &[Row]) {
        let first = self.next_id();
        let Some(id) = self.commands.get(container).map(|command| command.id) else { return };
        for row in rows {
            self.push(row, Some(id));
        }
        if let (Some(command), Some(first)) = (self.commands.get_mut(container), first) {
            command.first_subcommand = first.0;
            command.subcommand_count = u8::try_from(rows.len()).unwrap_or(u8::MAX);
        }
    }

    /// Makes a command findable.
    fn enter(&mut self, id: CommandId) {
        let Some(word) = self.command(id).map(|command| command.word) else { return };
        if word == Word::EMPTY {
            self.long_names.push(id);
            return;
        }
        // At most half full, so that a search ends soon.
        if self.commands.len() * 2 > self.places.len() {
            self.bits += 1;
            self.places = vec![0; 1 << self.bits];
            let old: Vec<CommandId> =
                self.iter().filter(|old| !old.is_subcommand()).map(Command::id).collect();
            old.into_iter().for_each(|id| self.place(id));
        } else {
            self.place(id);
        }
    }

    fn place(&mut self, id: CommandId) {
        let Some(word) = self.command(id).map(|command| command.word) else { return };
        if word == Word::EMPTY {
            return;
        }
        let mask = self.places.len() - 1;
        let mut index = word.hash(self.bits) & mask;
        while self.places.get(index).is_some_and(|&place| place != 0) {
            index = (index + 1) & mask;
        }
        if let Some(place) = self.places.get_mut(index) {
            *place = id.0 + 1;
        }
    }
}

impl Default for CommandTable {
    fn default() -> CommandTable {
        CommandTable::new()
    }
}

impl Command {
    fn disable(&mut self) {
        self.family = Family::Refused(Refusal::Disabled);
        self.flags &= !flag::RETRY_SAFE;
        // Whatever its arguments are, the answer is that it is disabled.
        self.min_args = 1;
        self.max_args = NO_LIMIT;
        self.subcommand_count = 0;
    }
}

impl Unresolved<'_> {
    /// Writes what Redis says to such a request, without `-` and line end.
    pub fn write<'a>(
        &self,
        count: usize,
        argument: impl Fn(usize) -> &'a [u8],
        text: &mut Vec<u8>,
    ) {
        match self {
            Unresolved::UnknownCommand => error_text::unknown_command(count, argument, text),
            Unresolved::UnknownSubcommand(command) => {
                let word = if count > 1 { argument(1) } else { b"" };
                error_text::unknown_subcommand(command, word, text);
            }
            Unresolved::WrongArity(command) => error_text::wrong_arity(command, text),
        }
    }
}

/// Binary logarithm of the first size of the hash table.
const BITS: u32 = 11;

/// The longest name a custom command may have.
const CUSTOM_NAME_MAX: usize = 255;

fn custom_keys(custom: CustomCommand) -> Option<KeySpec> {
    let writes = custom.rights != Rights::Read;
    match (custom.key_at, writes) {
        (1, false) => Some(specs::READ_1),
        (1, true) => Some(specs::WRITE_1),
        (2, false) => Some(specs::READ_2),
        (2, true) => Some(specs::WRITE_2),
        (3, false) => Some(specs::READ_3),
        (3, true) => Some(specs::WRITE_3),
        _ => None,
    }
}

/// The command that a row describes.
fn command(row: &Row, id: CommandId, container: Option<CommandId>) -> Command {
    let name = row.name.rsplit('|').next().unwrap_or_default();
    let mut flags = row.flags;
    if row.keys.is_key_at_1() {
        flags |= flag::KEY_AT_1;
    }
    if row.rights != Rights::Read {
        flags |= flag::MASTER;
    }
    if row.rights == Rights::Read && row.reaches_servers() && flags & flag::ONCE == 0 {
        flags |= flag::RETRY_SAFE;
    }
    Command {
        word: Word::new(name.as_bytes()).unwrap_or(Word::EMPTY),
        keys: row.keys,
        min_args: row.min_args,
        max_args: row.max_args,
        family: row.family,
        id,
        container: container.unwrap_or(id),
        first_subcommand: 0,
        subcommand_count: 0,
        rights: row.rights,
        flags,
        name: Cow::Borrowed(row.name),
    }
}
