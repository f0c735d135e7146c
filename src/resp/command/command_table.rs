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
use crate::base::order;

/// Every command the proxy knows.
#[derive(Clone, Debug)]
pub struct CommandTable {
    /// By id. The sub-commands of a command are next to each other, behind all commands.
    commands: Vec<Command>,
    /// An open-addressed hash table of ids, at most half full.
    places: Vec<u16>,
    /// What turns a hash into a place: 64 less the binary logarithm of their number.
    shift: u32,
    /// Custom commands whose names fit no `Word`.
    odd_names: Vec<CommandId>,
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
            places: vec![EMPTY; 1 << BITS],
            shift: 64 - BITS,
            odd_names: Vec::new(),
        };
        let all = || rows::GROUPS.iter().copied().flatten();
        for row in all() {
            table.push(row, None);
        }
        for (index, row) in all().enumerate() {
            table.push_subcommands(index, row.subcommands);
        }
        table.fill_places();
        table
    }

    /// The table to begin with when the configuration is read again: without what the old one
    /// added, and yet no id of this table will ever mean another command in that one.
    #[must_use]
    pub fn successor(&self) -> CommandTable {
        let mut table = CommandTable::new();
        for old in self.commands.iter().skip(table.commands.len()) {
            table.commands.push(old.retired());
        }
        table
    }

    /// The command that `word` names, in any case. Sub-commands are not found here.
    #[must_use]
    #[cfg_attr(small, optimize(speed))]
    pub fn lookup(&self, word: &[u8]) -> Option<&Command> {
        self.lookup_inlined(word)
    }

    #[inline(always)]
    #[cfg_attr(small, optimize(speed))]
    fn lookup_inlined(&self, word: &[u8]) -> Option<&Command> {
        // Most words are short, and most commands are in the first place they may be.
        if let Some(short) = Word::short(word)
            && let Some(&place) = self.places.get(short.hash(self.shift))
            && let Some(command) = self.commands.get(usize::from(place))
            && command.word.is_name_of(&short)
        {
            return Some(command);
        }
        self.lookup_further(word)
    }

    /// The sub-command of `container` that `word` names, in any case.
    #[must_use]
    pub fn subcommand(&self, container: &Command, word: &[u8]) -> Option<&Command> {
        let word = Word::new(word)?;
        self.subcommands(container).iter().find(|command| command.word.is_name_of(&word))
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
    pub fn resolve<'a>(
        &self,
        count: usize,
        argument: impl Fn(usize) -> &'a [u8],
    ) -> Result<&Command, Unresolved<'_>> {
        self.resolve_inlined(count, argument)
    }

    /// The same for the one place that does it for every request.
    ///
    /// # Errors
    ///
    /// As [`CommandTable::resolve`] says.
    #[inline(always)]
    pub fn resolve_inlined<'a>(
        &self,
        count: usize,
        argument: impl Fn(usize) -> &'a [u8],
    ) -> Result<&Command, Unresolved<'_>> {
        if count == 0 {
            return Err(Unresolved::UnknownCommand);
        }
        let mut command = self.lookup_inlined(argument(0)).ok_or(Unresolved::UnknownCommand)?;
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
    pub fn iter(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter().filter(|command| !command.is_retired())
    }

    /// One more than the highest id: the size of a table by id.
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
            None => self.retired(&shown).or_else(|| self.next_id()).ok_or_else(|| {
                format!("custom command {shown} is one too many: there are {}", self.commands.len())
            })?,
        };
        let word = Word::name(name).unwrap_or(Word::EMPTY);
        let row = Row::new("", 0, custom.rights, keys, Family::Keyed);
        let mut command = command(&row, id, None);
        command.word = word;
        command.name = Cow::Owned(shown.to_ascii_lowercase());
        command.min_args = custom.min_args;
        command.max_args = custom.max_args;
        command.flags |= flag::CUSTOM;
        match self.commands.get_mut(id.index()) {
            Some(old) => *old = command,
            None => self.commands.push(command),
        }
        if known.is_none() {
            self.enter(id);
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

    /// Whether a command, or a sub-command such as `config|set`, is disabled.
    #[must_use]
    pub fn is_disabled(&self, name: &[u8]) -> bool {
        let mut words = name.splitn(2, |&byte| byte == b'|');
        let Some(command) = words.next().and_then(|word| self.lookup(word)) else { return false };
        command.is_disabled()
            || words
                .next()
                .and_then(|word| self.subcommand(command, word))
                .is_some_and(Command::is_disabled)
    }

    /// Whether anything is disabled.
    #[must_use]
    pub fn has_disabled(&self) -> bool {
        self.iter().any(Command::is_disabled)
    }

    #[inline(never)]
    fn lookup_further(&self, word: &[u8]) -> Option<&Command> {
        let packed = Word::new(word);
        packed.and_then(|packed| self.search(&packed)).or_else(|| self.lookup_odd(word))
    }

    fn search(&self, word: &Word) -> Option<&Command> {
        let mut place = word.hash(self.shift);
        loop {
            // An empty place is never far, and names no command.
            let command = self.commands.get(usize::from(*self.places.get(place)?))?;
            if command.word.is_name_of(word) {
                return Some(command);
            }
            place = (place + 1) & (self.places.len() - 1);
        }
    }

    #[cold]
    fn lookup_odd(&self, word: &[u8]) -> Option<&Command> {
        let mut commands = self.odd_names.iter().filter_map(|&id| self.command(id));
        commands.find(|command| command.name.as_bytes().eq_ignore_ascii_case(word))
    }

    /// The id that a command of this name had before the configuration was read again.
    fn retired(&self, name: &str) -> Option<CommandId> {
        let mut retired = self.commands.iter().filter(|command| command.is_retired());
        retired.find(|command| command.name.eq_ignore_ascii_case(name)).map(Command::id)
    }

    fn next_id(&self) -> Option<CommandId> {
        let id = u16::try_from(self.commands.len()).ok()?;
        (id != EMPTY).then_some(CommandId(id))
    }

    fn push(&mut self, row: &Row, container: Option<CommandId>) {
        // There are a few hundred rows, so there is an id for each.
        if let Some(id) = self.next_id() {
            self.commands.push(command(row, id, container));
        }
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
        if word.is_empty() {
            self.odd_names.push(id);
        } else if self.commands.len() * 2 <= self.places.len() {
            self.place(id, word);
        } else {
            self.shift -= 1;
            self.places = vec![EMPTY; self.places.len() * 2];
            self.fill_places();
        }
    }

    /// Puts all commands into the hash table, which is empty.
    fn fill_places(&mut self) {
        let names = self.iter().filter(|command| !command.is_subcommand());
        let mut names: Vec<_> = names.map(|command| (command.id, command.word)).collect();
        // The short ones first, so that each of them is found at its first place.
        order::sort_by_key(&mut names, |(_, word)| !word.is_short());
        names.into_iter().for_each(|(id, word)| self.place(id, word));
    }

    /// Puts a command into the hash table, which has room.
    fn place(&mut self, id: CommandId, word: Word) {
        if word.is_empty() {
            return;
        }
        let mask = self.places.len() - 1;
        let mut index = word.hash(self.shift);
        while self.places.get(index).is_some_and(|&place| place != EMPTY) {
            index = (index + 1) & mask;
        }
        if let Some(place) = self.places.get_mut(index) {
            *place = id.0;
        }
    }
}

impl Default for CommandTable {
    fn default() -> CommandTable {
        CommandTable::new()
    }
}

impl Command {
    /// What keeps the id of a custom command that is no more: nobody finds it by its name.
    fn retired(&self) -> Command {
        let mut retired = self.clone();
        retired.disable();
        retired.word = Word::EMPTY;
        retired.flags = flag::RETIRED | flag::MASTER;
        retired
    }

    fn is_retired(&self) -> bool {
        self.flags & flag::RETIRED != 0
    }

    fn is_disabled(&self) -> bool {
        self.family == Family::Refused(Refusal::Disabled) && !self.is_retired()
    }

    fn disable(&mut self) {
        self.family = Family::Refused(Refusal::Disabled);
        self.flags &= !(flag::RETRY_SAFE | flag::DIRECT);
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

/// What is in an empty place: an id that no command has.
const EMPTY: u16 = u16::MAX;

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
        if row.family == Family::Keyed {
            flags |= flag::DIRECT;
        }
    }
    if row.rights != Rights::Read {
        flags |= flag::MASTER;
    }
    if row.rights == Rights::Read && row.reaches_servers() && flags & flag::ONCE == 0 {
        flags |= flag::RETRY_SAFE;
    }
    Command {
        word: Word::name(name.as_bytes()).unwrap_or(Word::EMPTY),
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

#[cfg(test)]
mod tests {
    use super::super::{LocalCommand, Merge};
    use super::*;

    const CUSTOM: CustomCommand =
        CustomCommand { rights: Rights::Write, key_at: 1, min_args: 2, max_args: 2 };

    fn name<'a>(table: &'a CommandTable, word: &[u8]) -> Option<&'a str> {
        table.lookup(word).map(Command::name)
    }

    fn resolve<'a>(table: &'a CommandTable, request: &str) -> Result<&'a Command, String> {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        table.resolve(words.len(), |index| words[index]).map_err(|unresolved| {
            let mut text = Vec::new();
            unresolved.write(words.len(), |index| words[index], &mut text);
            String::from_utf8(text).unwrap()
        })
    }

    #[test]
    fn every_command_is_found_in_any_case() {
        let table = CommandTable::new();
        for command in table.iter().filter(|command| !command.is_subcommand()) {
            let mixed: Vec<u8> = command
                .name()
                .bytes()
                .enumerate()
                .map(|(at, byte)| if at % 2 == 0 { byte.to_ascii_uppercase() } else { byte })
                .collect();
            let upper = command.name().to_ascii_uppercase();
            for word in [command.name().as_bytes(), upper.as_bytes(), &mixed] {
                let found = table.lookup(word).map(Command::id);
                assert_eq!(found, Some(command.id()), "{}", command.name());
            }
        }
    }

    #[test]
    fn what_is_asked_for_most_is_found_at_once() {
        let table = CommandTable::new();
        let is_core = |command: &&Command| {
            let refused = matches!(command.family(), Family::Refused(_));
            !command.is_subcommand() && !refused && !command.name().contains('.')
        };
        let short = table.iter().filter(is_core).filter(|command| command.word.is_short());
        let away: Vec<&str> = short
            .filter(|command| table.places[command.word.hash(table.shift)] != command.id().0)
            .map(Command::name)
            .collect();
        assert!(away.is_empty(), "{away:?}: look for another multiplier");
    }

    #[test]
    fn near_misses_are_not_found() {
        let table = CommandTable::new();
        let known: std::collections::HashSet<&str> = table.iter().map(Command::name).collect();
        let check = |word: &[u8]| {
            let want = std::str::from_utf8(word).ok().map(str::to_ascii_lowercase);
            let want = want.filter(|word| !word.contains('|') && known.contains(&**word));
            assert_eq!(name(&table, word), want.as_deref(), "{}", word.escape_ascii());
        };
        for command in table.iter() {
            let text = command.name().as_bytes();
            for end in 0..=text.len() {
                check(&text[..end]);
                check(&text[end..]);
            }
            for at in 0..text.len() {
                for byte in [0, b' ', b'_', b'|', b'a', b'z', b'[', text[at] ^ 0x80] {
                    let mut word = text.to_vec();
                    word[at] = byte;
                    check(&word);
                }
            }
            for tail in [&b"\0"[..], b" ", b"s", b"\0\0\0\0\0\0\0\0"] {
                check(&[text, tail].concat());
                check(&[tail, text].concat());
            }
        }
    }

    #[test]
    fn a_word_of_any_length_is_safe() {
        let table = CommandTable::new();
        for length in (0..300).chain([1 << 16, 1 << 20]) {
            assert_eq!(name(&table, &vec![b'g'; length]), None);
            assert_eq!(name(&table, &vec![0; length]), None);
            assert_eq!(name(&table, &vec![0xff; length]), None);
        }
    }

    #[test]
    fn names_are_lower_case_and_unique_and_ids_are_places() {
        let table = CommandTable::new();
        let mut seen = std::collections::HashSet::new();
        for (index, command) in table.iter().enumerate() {
            assert_eq!(command.id().index(), index);
            assert!(seen.insert(command.name()), "{} twice", command.name());
            assert_eq!(command.name(), command.name().to_ascii_lowercase());
            let words: Vec<&str> = command.name().split('|').collect();
            assert!(words.iter().all(|word| (1..=Word::LENGTH_MAX).contains(&word.len())));
            assert_eq!(command.is_subcommand(), words.len() == 2, "{}", command.name());
            let container = table.command(command.container()).unwrap();
            assert_eq!(container.name(), words[0]);
        }
        assert_eq!(rows::count(), table.len());
    }

    #[test]
    fn rows_make_sense() {
        let table = CommandTable::new();
        for command in table.iter() {
            let name = command.name();
            let refused = matches!(command.family(), Family::Refused(_));
            assert_eq!(command.family() == Family::Container, {
                command.has_subcommands() && name != "command"
            });
            assert!(command.min_args() > usize::from(command.is_subcommand()), "{name}");
            assert!(command.max_args().is_none_or(|max| max >= command.min_args()), "{name}");
            assert!(!command.key_at_1() || command.min_args() >= 2, "{name}");
            let reads = command.rights() == Rights::Read;
            assert!(reads || command.needs_master() && !command.retry_safe(), "{name}");
            // The exceptions are those that must not be sent twice.
            let server_read = reads
                && matches!(
                    command.family(),
                    Family::Keyed | Family::Split(_) | Family::StreamRead
                );
            assert!(
                !server_read || command.retry_safe() || name.starts_with("ft.cursor"),
                "{name}"
            );
            let keys = command.keys();
            match command.family() {
                Family::Split(_) | Family::Blocking | Family::StreamRead => {
                    assert!(!keys.is_empty(), "{name}");
                }
                Family::FanOut(_)
                | Family::AnyServer
                | Family::OneMaster
                | Family::Listing(_)
                | Family::Local(_)
                | Family::Undivided => {
                    assert!(keys.is_empty(), "{name}");
                }
                _ => {}
            }
            assert!(!command.retry_safe() || !refused, "{name}");
        }
    }

    #[test]
    fn facts_that_others_rely_on() {
        let table = CommandTable::new();
        let get = table.lookup(b"GET").unwrap();
        assert!(get.key_at_1() && get.retry_safe() && !get.needs_master());
        let set = table.lookup(b"set").unwrap();
        assert!(set.key_at_1() && !set.retry_safe() && set.needs_master());
        let mget = table.lookup(b"mget").unwrap();
        assert_eq!(mget.family(), Family::Split(Merge::Concat));
        assert!(!mget.key_at_1());
        let touch = table.lookup(b"touch").unwrap();
        assert!(touch.rights() == Rights::Read && touch.needs_master());
        for word in [&b"auth"[..], b"hello", b"ping", b"quit", b"reset"] {
            assert!(table.lookup(word).unwrap().always_allowed());
        }
        assert!(!get.always_allowed());
        assert_eq!(table.lookup(b"flushall").unwrap().rights(), Rights::Admin);
        assert!(table.lookup(b"eval_ro").unwrap().retry_safe());
        assert!(!table.lookup(b"eval").unwrap().retry_safe());
        assert!(!resolve(&table, "ft.cursor read i 1").unwrap().retry_safe());
        assert!(!table.lookup(b"ping").unwrap().retry_safe());
    }

    #[test]
    fn resolving_goes_down_to_the_subcommand_and_counts_arguments() {
        let table = CommandTable::new();
        let name = |request| resolve(&table, request).map(|command| command.name().to_owned());
        assert_eq!(name("get k"), Ok("get".into()));
        assert_eq!(name("get k and more, which later servers may take"), Ok("get".into()));
        assert_eq!(name("OBJECT Encoding k"), Ok("object|encoding".into()));
        assert_eq!(name("command"), Ok("command".into()));
        assert_eq!(name("COMMAND DOCS get"), Ok("command|docs".into()));

        let wrong = |name| Err(format!("ERR wrong number of arguments for '{name}' command"));
        assert_eq!(name("get"), wrong("get"));
        assert_eq!(name("object"), wrong("object"));
        assert_eq!(name("object encoding"), wrong("object|encoding"));
        assert_eq!(name("echo a b"), wrong("echo"));
        assert_eq!(name("client getname x"), wrong("client|getname"));
        assert_eq!(
            name("Object Shape k"),
            Err("ERR unknown subcommand 'Shape'. Try OBJECT HELP.".into())
        );
        assert_eq!(
            name("nothing a b"),
            Err("ERR unknown command 'nothing', with args beginning with: 'a' 'b' ".into())
        );
        assert!(table.resolve(0, |_| b"").is_err());
    }

    #[test]
    fn custom_commands_are_added() {
        let mut table = CommandTable::new();
        let known = table.len();
        let id = table.add_custom(b"Custom.TTL", CUSTOM).unwrap();
        assert_eq!(id.index(), known);
        let command = table.lookup(b"cUSTOM.ttl").unwrap();
        assert_eq!((command.id(), command.name()), (id, "custom.ttl"));
        assert!(command.is_custom() && command.key_at_1() && command.needs_master());
        assert!(command.accepts(2) && !command.accepts(1) && !command.accepts(3));
        assert_eq!(command.family(), Family::Keyed);

        let at_3 = CustomCommand { rights: Rights::Read, key_at: 3, min_args: 2, max_args: 9999 };
        table.add_custom(b"at3", at_3).unwrap();
        let command = table.lookup(b"at3").unwrap();
        assert!(command.retry_safe() && !command.key_at_1());
        assert_eq!(command.keys().first_key(4, |_| b"x"), Some(3));
        assert_eq!(command.keys().first_key(3, |_| b"x"), None);
    }

    #[test]
    fn d53_custom_commands_have_any_case_and_length_and_number() {
        let mut table = CommandTable::new();
        let names = if cfg!(miri) { 500 } else { 5_000 };
        for number in 0..names {
            let name = format!("Custom.{number}{}", "x".repeat(number % 240));
            table.add_custom(name.as_bytes(), CUSTOM).unwrap();
        }
        for number in 0..names {
            let name = format!("CUSTOM.{number}{}", "X".repeat(number % 240));
            assert_eq!(self::name(&table, name.as_bytes()), Some(&*name.to_ascii_lowercase()));
        }
        assert_eq!(table.places.len(), 1 << (64 - table.shift));
        assert_eq!(name(&table, b"custom.5000"), None);
        assert_eq!(name(&table, b"get"), Some("get"));
        assert_eq!(name(&table, b""), None);
    }

    #[test]
    fn names_that_are_not_just_letters_are_compared_exactly() {
        let mut table = CommandTable::new();
        for name in ["a|b", "x{y}", "~", "q`", "under_score", "@home", "a\\b"] {
            table.add_custom(name.as_bytes(), CUSTOM).unwrap();
        }
        assert_eq!(name(&table, b"A|B"), Some("a|b"));
        assert_eq!(name(&table, b"A\\B"), Some("a\\b"));
        assert_eq!(name(&table, b"X{Y}"), Some("x{y}"));
        for wrong in [&b"x[y]"[..], b"^", b"q@", b"under\x7fscore", b"`home"] {
            assert_eq!(name(&table, wrong), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn there_are_never_more_commands_than_ids() {
        let mut table = CommandTable::new();
        let mut number = 0;
        let error = loop {
            match table.add_custom(format!("c{number}").as_bytes(), CUSTOM) {
                Ok(id) => assert_eq!(id.index() + 1, table.len()),
                Err(error) => break error,
            }
            number += 1;
        };
        assert!(error.contains("one too many"), "{error}");
        assert_eq!(name(&table, b"c0"), Some("c0"));
        let last = format!("c{}", number - 1);
        assert_eq!(name(&table, last.as_bytes()), Some(&*last));
    }

    #[test]
    fn an_id_never_means_another_command_when_the_configuration_is_read_again() {
        let mut first = CommandTable::new();
        let a = first.add_custom(b"mod.a", CUSTOM).unwrap();
        let b = first.add_custom(b"mod.b", CUSTOM).unwrap();
        let mut second = first.successor();
        assert!(second.lookup(b"mod.a").is_none() && second.lookup(b"mod.b").is_none());
        assert_eq!(second.iter().count(), CommandTable::new().iter().count());
        let c = second.add_custom(b"mod.c", CUSTOM).unwrap();
        assert_eq!(second.add_custom(b"MOD.B", CUSTOM), Ok(b));
        assert!(c != a && c != b);
        assert_eq!(name(&second, b"mod.b"), Some("mod.b"));
        assert!(second.command(a).is_some_and(|gone| gone.needs_master() && !gone.retry_safe()));
        let mut third = second.successor();
        assert_eq!(third.add_custom(b"mod.a", CUSTOM), Ok(a));
        assert_eq!(third.add_custom(b"mod.c", CUSTOM), Ok(c));
        assert_eq!(third.len(), second.len());
    }

    #[test]
    fn custom_commands_replace_only_what_predixy_lacks() {
        let mut table = CommandTable::new();
        let duplicated = |name| Err(format!("custom command {name} is duplicated"));
        assert_eq!(table.add_custom(b"GET", CUSTOM), duplicated("GET"));
        assert_eq!(table.add_custom(b"script", CUSTOM), duplicated("script"));
        assert!(table.add_custom(b"a.b", CUSTOM).is_ok());
        assert_eq!(table.add_custom(b"A.B", CUSTOM), duplicated("A.B"));

        // A file may define what predixy lacks; its word holds, and no second one.
        let id = table.lookup(b"object").unwrap().id();
        assert_eq!(table.add_custom(b"object", CUSTOM), Ok(id));
        let command = table.lookup(b"object").unwrap();
        assert!(command.is_custom() && !command.has_subcommands());
        assert_eq!(resolve(&table, "object encoding").unwrap().id(), id);
        assert_eq!(table.add_custom(b"object", CUSTOM), duplicated("object"));
    }

    #[test]
    fn impossible_custom_commands_are_refused() {
        let mut table = CommandTable::new();
        for name in [&b""[..], b"a b", b"a\0", b"a\r\n", b"\xff", &[b'x'; 256]] {
            assert!(table.add_custom(name, CUSTOM).is_err(), "{}", name.escape_ascii());
        }
        for key_at in [0, 4, 255] {
            assert!(table.add_custom(b"x", CustomCommand { key_at, ..CUSTOM }).is_err());
        }
        assert_eq!(name(&table, b"x"), None);
    }

    #[test]
    fn disabled_commands_are_refused_whatever_follows() {
        let mut table = CommandTable::new();
        let disabled = Family::Refused(Refusal::Disabled);
        assert!(table.disable(b"KEYS"));
        assert_eq!(resolve(&table, "keys").unwrap().family(), disabled);
        assert_eq!(resolve(&table, "keys a b c").unwrap().family(), disabled);
        assert!(table.disable(b"config|set"));
        assert_eq!(resolve(&table, "config set a b").unwrap().family(), disabled);
        assert!(matches!(
            resolve(&table, "config get a").unwrap().family(),
            Family::Local(LocalCommand::Config(_))
        ));
        assert!(table.disable(b"client kill"));
        assert_eq!(resolve(&table, "client kill x").unwrap().family(), disabled);
        assert!(table.disable(b"script"));
        assert_eq!(resolve(&table, "script").unwrap().family(), disabled);
        assert_eq!(resolve(&table, "script load x").unwrap().family(), disabled);
        assert_eq!(resolve(&table, "script nothing").unwrap().family(), disabled);
        assert!(table.disable(b"get"));
        assert!(!table.lookup(b"get").unwrap().retry_safe());

        assert!(!table.disable(b"nothing"));
        assert!(!table.disable(b"config|nothing"));
        assert!(!table.disable(b"ping|x"));
        assert!(!table.disable(b""));
    }

    #[test]
    fn every_command_of_predixy_is_known() {
        let table = CommandTable::new();
        let mut count = 0;
        for command in table.iter().filter(|command| rows::is_predixy(command.name())) {
            count += 1;
            let refused = matches!(command.family(), Family::Refused(_));
            assert!(!refused, "{} worked with predixy", command.name());
        }
        assert_eq!(count, 145);
    }

    #[test]
    fn a_command_is_small() {
        assert!(size_of::<Command>() <= 104, "{}", size_of::<Command>());
    }
}
