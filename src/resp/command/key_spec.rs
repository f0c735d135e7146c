//! Which arguments of a command are keys.
//!
//! A `KeySpec` is a list of parts, each a way of finding some of the keys and what the
//! command does to them. It works on the arguments of one complete request and hands out
//! their indexes; it knows neither slots nor rights.
//!
//! Where a request is malformed in a way that hides its keys, every server refuses it too.
//! The error says so, and what was found until then is of no use.

/// What a command does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only reads it.
    Read,
    /// Changes it, and maybe reads it.
    Write,
    /// It is not a key, but decides like one where the command belongs: a channel, a pattern
    /// of channels, or the name of a search index.
    Name,
    /// The pattern of keys that SORT reads (BY, GET). It decides nothing; all keys it can
    /// mean begin like the pattern does up to its first `*`.
    Pattern,
    /// A pattern of channels. All channels it can mean begin like the pattern does up to its first
    /// `*`, `?`, `[` or `\`.
    Glob,
}

/// Which arguments of a command are keys.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    pub(super) parts: &'static [Part],
}

/// One way to find keys, and what the command does to those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub find: Find,
    pub access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    /// Every `step`th argument from `first` to `last`; a negative `last` counts from the end.
    /// All of the last step must be there.
    Range { first: u32, last: i8, step: u32 },
    /// Argument `at` is the number of keys; they follow, one every `step` arguments.
    Counted { at: u32, step: u32, form: Counted },
    /// The first half of what follows the word STREAMS.
    Streams,
    /// The key after the last STORE, and the patterns after BY and GET.
    SortClauses,
    /// The key after the last STORE or STOREDIST, looked for from argument `from`.
    GeoStore { from: u32 },
    /// The two arguments after KEYS, if it is them that STRALGO compares.
    StrAlgo,
    /// Argument 3, or what follows KEYS if that is empty.
    Migrate,
}

/// How a command treats its number of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// As EVAL does: zero is a number like any other, and the errors are known.
    Script,
    /// There must be at least one key; the error depends on the command.
    AtLeastOne,
}

/// Why the keys cannot be told.
///
/// No server executes such a request, so any may be asked for the exact error, except that
/// of a client whose keys are restricted nothing should be passed on unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysError {
    /// The number of keys is not a number.
    NotANumber,
    /// The number of keys is negative.
    Negative,
    /// There are fewer arguments than keys.
    TooMany,
    /// The last key lacks what belongs to it.
    Incomplete,
    /// Something else, for which each command has its own words.
    Malformed,
}

impl KeysError {
    /// What Redis says, without `-` and line end; `None` where only the server knows, and of
    /// `Incomplete`, which is `error_text::wrong_arity`.
    #[must_use]
    pub fn text(self) -> Option<&'static str> {
        match self {
            KeysError::NotANumber => Some("ERR value is not an integer or out of range"),
            KeysError::Negative => Some("ERR Number of keys can't be negative"),
            KeysError::TooMany => Some("ERR Number of keys can't be greater than number of args"),
            KeysError::Incomplete | KeysError::Malformed => None,
        }
    }
}

impl KeySpec {
    pub(super) const fn new(parts: &'static [Part]) -> KeySpec {
        KeySpec { parts }
    }

    /// Whether the command has no keys, whatever its arguments.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.parts.is_empty()
    }

    /// Whether the only key is always argument 1.
    #[must_use]
    pub fn is_key_at_1(self) -> bool {
        matches!(self.parts, [Part { find: Find::Range { first: 1, last: 1, .. }, .. }])
    }

    /// Puts the indexes of all arguments that decide where the request belongs into `found`,
    /// instead of what was there before, in the order of the specification.
    ///
    /// The arguments are those of a complete request: `argument(0)` is the command word, and
    /// `count` is their number. A key that is given twice is found twice.
    ///
    /// # Errors
    ///
    /// When the request is malformed; `found` is then empty.
    pub fn keys<'a>(
        self,
        count: usize,
        argument: impl Fn(usize) -> &'a [u8],
        found: &mut Vec<u32>,
    ) -> Result<(), KeysError> {
        found.clear();
        let outcome = self.visit(count, argument, |index, access| {
            if access != Access::Pattern {
                found.push(index);
            }
        });
        if outcome.is_err() {
            found.clear();
        }
        outcome
    }

    /// Calls `see` with the index of every key, name and pattern, and what is done to it.
    ///
    /// # Errors
    ///
    /// When the request is malformed; `see` may have been called before that is noticed.
    pub fn visit<'a>(
        self,
        count: usize,
        argument: impl Fn(usize) -> &'a [u8],
        mut see: impl FnMut(u32, Access),
    ) -> Result<(), KeysError> {
        let count = u32::try_from(count).map_err(|_| KeysError::Malformed)?;
        let arguments = Arguments { count, argument };
        self.parts.iter().try_for_each(|part| part.visit(&arguments, &mut see))
    }

    /// The first argument that decides where the request belongs, if there is one and it can
    /// be told.
    #[must_use]
    #[inline]
    pub fn first_key<'a>(
        self,
        count: usize,
        argument: impl Fn(usize) -> &'a [u8],
    ) -> Option<usize> {
        if let [Part { find: Find::Range { first, .. }, .. }, ..] = self.parts {
            return Some(*first as usize).filter(|&first| first < count);
        }
        let mut first_key = None;
        let outcome = self.visit(count, argument, |index, _| {
            first_key.get_or_insert(index as usize);
        });
        outcome.ok().and(first_key)
    }
}

/// The arguments of a request: how many, and a way to look at each.
struct Arguments<F> {
    count: u32,
    argument: F,
}

impl<'a, F: Fn(usize) -> &'a [u8]> Arguments<F> {
    fn at(&self, index: u32) -> Option<&'a [u8]> {
        (index < self.count).then(|| (self.argument)(index as usize))
    }
}

impl Part {
    fn visit<'a, F: Fn(usize) -> &'a [u8]>(
        self,
        arguments: &Arguments<F>,
        see: &mut impl FnMut(u32, Access),
    ) -> Result<(), KeysError> {
        let access = self.access;
        match self.find {
            Find::Range { first, last, step } => {
                range(arguments.count, first, last, step, |index| see(index, access))
            }
            Find::Counted { at, step, form } => {
                let keys = counted(arguments, at, step, form)?;
                (0..keys).for_each(|key| see(at + 1 + key * step, access));
                Ok(())
            }
            Find::Streams => {
                let options = stream_options(arguments);
                let first = options.streams.ok_or(KeysError::Malformed)? + 1;
                let rest = arguments.count - first;
                if rest == 0 || !rest.is_multiple_of(2) {
                    return Err(KeysError::Malformed);
                }
                (first..first + rest / 2).for_each(|index| see(index, access));
                Ok(())
            }
            Find::SortClauses => {
                sort_clauses(arguments, see);
                Ok(())
            }
            Find::GeoStore { from } => {
                if let Some(index) = geo_store(arguments, from) {
                    see(index, access);
                }
                Ok(())
            }
            Find::StrAlgo => {
                if let Some(first) = str_algo(arguments) {
                    (first..first + 2).for_each(|index| see(index, access));
                }
                Ok(())
            }
            Find::Migrate => {
                migrate(arguments, |index| see(index, access));
                Ok(())
            }
        }
    }
}

fn range(
    count: u32,
    first: u32,
    last: i8,
    step: u32,
    mut see: impl FnMut(u32),
) -> Result<(), KeysError> {
    // `end` is one past the last key and what belongs to it.
    let end = if last < 0 {
        (count + 1).saturating_sub(u32::from(last.unsigned_abs()))
    } else {
        count.min(u32::from(last.unsigned_abs()) + step)
    };
    if end <= first {
        return Ok(());
    }
    if !(end - first).is_multiple_of(step) {
        return Err(KeysError::Incomplete);
    }
    (first..end).step_by(step as usize).for_each(&mut see);
    Ok(())
}

/// The number of keys that argument `at` announces, all of which are there.
fn counted<'a, F: Fn(usize) -> &'a [u8]>(
    arguments: &Arguments<F>,
    at: u32,
    step: u32,
    form: Counted,
) -> Result<u32, KeysError> {
    let text = arguments.at(at).ok_or(KeysError::Malformed)?;
    let room = (arguments.count - at - 1) / step;
    let number = parse_integer(text);
    match (form, number) {
        (Counted::Script, None) => Err(KeysError::NotANumber),
        (Counted::Script, Some(..0)) => Err(KeysError::Negative),
        (Counted::AtLeastOne, None | Some(..=0)) => Err(KeysError::Malformed),
        (_, Some(number)) => match (u32::try_from(number), form) {
            (Ok(number), _) if number <= room => Ok(number),
            (_, Counted::Script) => Err(KeysError::TooMany),
            (_, Counted::AtLeastOne) => Err(KeysError::Malformed),
        },
    }
}

/// An integer as Redis reads it: no blanks, no plus, no leading zeros.
///
/// It must not be stricter or laxer than the server: a number of keys that only one of us
/// accepts would let a request run elsewhere than its keys are.
fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    // What is left is what std accepts too, and it knows where an i64 ends.
    if plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// What XREAD and XREADGROUP say before their keys.
struct StreamOptions {
    block: bool,
    /// Where the word STREAMS is.
    streams: Option<u32>,
}

fn stream_options<'a, F: Fn(usize) -> &'a [u8]>(arguments: &Arguments<F>) -> StreamOptions {
    let mut options = StreamOptions { block: false, streams: None };
    let mut index = 1;
    while let Some(word) = arguments.at(index) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("streams") {
            options.streams = Some(index);
            break;
        }
        options.block |= is("block");
        // A group or a consumer may be called STREAMS. The values of all other options are
        // numbers, and a word that is not known here may be the option of a later server.
        index += if is("group") { 3 } else { 1 };
    }
    options
}

/// Whether XREAD or XREADGROUP says BLOCK.
pub(super) fn has_block<'a>(count: usize, argument: impl Fn(usize) -> &'a [u8]) -> bool {
    u32::try_from(count).is_ok_and(|count| stream_options(&Arguments { count, argument }).block)
}

fn sort_clauses<'a, F: Fn(usize) -> &'a [u8]>(
    arguments: &Arguments<F>,
    see: &mut impl FnMut(u32, Access),
) {
    let mut store = None;
    let mut index = 2;
    while let Some(word) = arguments.at(index) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let value = arguments.at(index + 1);
        if is("store") && value.is_some() {
            // The last one counts.
            store = Some(index + 1);
            index += 2;
        } else if is("by") || is("get") {
            // GET # is the element itself, and BY something without a star is no key at all.
            if value.is_some_and(|pattern| pattern.contains(&b'*')) {
                see(index + 1, Access::Pattern);
            }
            index += 2;
        } else {
            index += 1;
        }
    }
    if let Some(index) = store {
        see(index, Access::Write);
    }
}

fn geo_store<'a, F: Fn(usize) -> &'a [u8]>(arguments: &Arguments<F>, from: u32) -> Option<u32> {
    let mut store = None;
    let mut index = from;
    while let Some(word) = arguments.at(index) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if (is("store") || is("storedist")) && index + 1 < arguments.count {
            // The last one counts.
            store = Some(index + 1);
            index += 1;
        }
        index += 1;
    }
    store
}

fn str_algo<'a, F: Fn(usize) -> &'a [u8]>(arguments: &Arguments<F>) -> Option<u32> {
    let mut index = 2;
    while let Some(word) = arguments.at(index) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("keys") {
            return Some(index + 1).filter(|first| first + 1 < arguments.count);
        }
        // A string may be "keys".
        index += if is("strings") { 3 } else { 1 };
    }
    None
}

fn migrate<'a, F: Fn(usize) -> &'a [u8]>(arguments: &Arguments<F>, mut see: impl FnMut(u32)) {
    match arguments.at(3) {
        None => return,
        Some([]) => {}
        Some(_) => return see(3),
    }
    let mut index = 6;
    while let Some(word) = arguments.at(index) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("keys") {
            return (index + 1..arguments.count).for_each(see);
        }
        // A password may be "keys".
        index += if is("auth2") {
            3
        } else if is("auth") {
            2
        } else {
            1
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::CommandTable;
    use super::*;

    fn split(request: &str) -> Vec<&[u8]> {
        // `""` stands for the empty argument.
        let words = request.split(' ').map(|word| if word == "\"\"" { "" } else { word });
        words.map(str::as_bytes).collect()
    }

    fn visit(words: &[&[u8]]) -> Result<Vec<(u32, Access)>, KeysError> {
        let table = CommandTable::new();
        let command = table.resolve(words.len(), |index| words[index]).unwrap();
        let mut seen = Vec::new();
        command.keys().visit(
            words.len(),
            |index| words[index],
            |index, access| seen.push((index, access)),
        )?;

        // The other two ways to ask must agree.
        let mut keys = vec![99];
        command.keys().keys(words.len(), |index| words[index], &mut keys)?;
        let deciding = seen.iter().filter(|(_, access)| *access != Access::Pattern);
        assert_eq!(keys, deciding.map(|&(index, _)| index).collect::<Vec<_>>());
        let first = command.keys().first_key(words.len(), |index| words[index]);
        assert_eq!(first, keys.first().map(|&index| index as usize));
        if command.key_at_1() {
            assert_eq!(keys, [1]);
        }
        Ok(seen)
    }

    /// In `want` every key of the request is named, with `=` in front if it is written, `~`
    /// if it is a name, `?` if it is a pattern, `%` if it is one of channels.
    #[track_caller]
    fn check(request: &str, want: &str) {
        let words = split(request);
        let seen = visit(&words).unwrap();
        let seen: Vec<String> = seen
            .into_iter()
            .map(|(index, access)| {
                let word = String::from_utf8_lossy(words[index as usize]);
                match access {
                    Access::Read => word.into_owned(),
                    Access::Write => format!("={word}"),
                    Access::Name => format!("~{word}"),
                    Access::Pattern => format!("?{word}"),
                    Access::Glob => format!("%{word}"),
                }
            })
            .collect();
        assert_eq!(seen.join(" "), want, "{request}");
    }

    #[track_caller]
    fn check_error(request: &str, want: KeysError) {
        assert_eq!(visit(&split(request)), Err(want), "{request}");
    }

    #[test]
    fn ranges() {
        check("get k", "k");
        check("SET k v EX 10", "=k");
        check("ping", "");
        check("rename a b", "=a =b");
        check("copy a b replace", "a =b");
        check("sunion a b a", "a b a");
        check("sunionstore d a b", "=d a b");
        check("zrangestore d s 0 -1", "=d s");
        check("bitop and d a b c", "=d a b c");
        check("pfmerge d", "=d");
        check("lcs a b len", "a b");
        check("blpop a b 0", "=a =b");
        check("object encoding k", "k");
        check("OBJECT HELP", "");
        check("xgroup create k g $ mkstream", "=k");
        check("xgroup help", "");
        check("memory usage k samples 5", "k");
        check("xinfo stream k full", "k");
        check("watch a b", "a b");
        check("mset a 1 b 2", "=a =b");
        check("msetnx a 1", "=a");
        check("json.mset a $ 1 b $ 2", "=a =b");
        check("json.mget a b $", "a b");
        check("ts.madd a 1 1 b 2 2", "=a =b");
        check("ft.cursor read idx 12", "~idx");
    }

    #[test]
    fn channels_are_names() {
        check("publish c m", "~c");
        check("subscribe a b", "~a ~b");
        check("sunsubscribe", "");
        check("psubscribe a* b", "%a* %b");
        check("pubsub numsub a b", "~a ~b");
        check("ssubscribe a", "~a");
    }

    #[test]
    fn pairs_and_triples_must_be_complete() {
        check_error("mset a 1 b", KeysError::Incomplete);
        check_error("msetnx a 1 b 2 c", KeysError::Incomplete);
        check_error("json.mset a $ 1 b $", KeysError::Incomplete);
        check_error("ts.madd a 1 1 b", KeysError::Incomplete);
    }

    #[test]
    fn a_number_tells_how_many() {
        check("eval s 2 a b c", "=a =b");
        check("eval s 0", "");
        check("eval s 0 a", "");
        check("evalsha_ro s 1 a", "a");
        check("fcall f 3 a b c", "=a =b =c");
        check("lmpop 2 a b left", "=a =b");
        check("blmpop 0 1 a left", "=a");
        check("bzmpop 0.5 2 a b min count 3", "=a =b");
        check("sintercard 2 a b limit 1", "a b");
        check("zunionstore d 2 a b weights 1 2", "=d a b");
        check("zdiff 1 a withscores", "a");
        check("msetex 2 a 1 b 2 ex 10", "=a =b");
        check("tdigest.merge d 1 a override", "=d a");
    }

    #[test]
    fn a_wrong_number_of_script_keys_is_said_as_redis_says_it() {
        for (number, want) in [
            ("3", KeysError::TooMany),
            ("4294967295", KeysError::TooMany),
            ("4294967296", KeysError::TooMany),
            ("9223372036854775807", KeysError::TooMany),
            ("-1", KeysError::Negative),
            ("-9223372036854775808", KeysError::Negative),
            ("9223372036854775808", KeysError::NotANumber),
            ("-9223372036854775809", KeysError::NotANumber),
            ("99999999999999999999999999", KeysError::NotANumber),
            ("", KeysError::NotANumber),
            ("-", KeysError::NotANumber),
            ("-0", KeysError::NotANumber),
            ("+2", KeysError::NotANumber),
            ("02", KeysError::NotANumber),
            ("2.0", KeysError::NotANumber),
            ("0x2", KeysError::NotANumber),
            ("2\0", KeysError::NotANumber),
            ("two", KeysError::NotANumber),
            ("\u{662}", KeysError::NotANumber),
        ] {
            check_error(
                &format!("eval s {} a b", if number.is_empty() { "\"\"" } else { number }),
                want,
            );
        }
        assert_eq!(visit(&[b"eval", b"s", b" 2", b"a", b"b"]), Err(KeysError::NotANumber));
        assert_eq!(visit(&[b"eval", b"s", b"\xff", b"a"]), Err(KeysError::NotANumber));
        assert_eq!(
            KeysError::TooMany.text(),
            Some("ERR Number of keys can't be greater than number of args")
        );
    }

    #[test]
    fn other_wrong_numbers_of_keys_are_for_the_server() {
        check_error("lmpop 0 a left", KeysError::Malformed);
        check_error("lmpop 3 a left", KeysError::Malformed);
        check_error("lmpop -1 a left", KeysError::Malformed);
        check_error("lmpop x a left", KeysError::Malformed);
        check_error("zunionstore d 4294967297 a", KeysError::Malformed);
        check_error("msetex 2 a 1 b", KeysError::Malformed);
        check_error("msetex 9223372036854775807 a 1 b", KeysError::Malformed);
    }

    #[test]
    fn streams_are_half_of_what_follows() {
        check("xread streams a b 0 0", "a b");
        check("XREAD COUNT 2 BLOCK 0 STREAMS a $", "a");
        check("xreadgroup group g c count 1 noack streams a b > >", "a b");
        check("xread count 1 later-option streams a 0", "a");
        // Names that look like options.
        check("xreadgroup group streams streams streams k >", "k");
        check("xread streams streams 0", "streams");
        check("xread streams block 0", "block");
    }

    #[test]
    fn streams_without_pairs_are_malformed() {
        check_error("xread streams a b 0", KeysError::Malformed);
        check_error("xread count 1 streams", KeysError::Malformed);
        check_error("xread count 1 2", KeysError::Malformed);
        check_error("xread count 1 block", KeysError::Malformed);
        check_error("xreadgroup group a b c d group", KeysError::Malformed);
    }

    #[test]
    fn only_the_option_blocks() {
        let blocks = |request: &str| {
            let words = split(request);
            let table = CommandTable::new();
            let command = table.resolve(words.len(), |index| words[index]).unwrap();
            command.blocks(words.len(), |index| words[index])
        };
        assert!(blocks("xread block 0 streams a 0"));
        assert!(blocks("xread COUNT 1 BLOCK 0 streams a 0"));
        assert!(blocks("xreadgroup group block b block 1 streams a >"));
        assert!(!blocks("xreadgroup group block block streams a >"));
        assert!(!blocks("xread streams block 0"));
        assert!(!blocks("xread streams a 0"));
        assert!(blocks("blpop a 0"));
        assert!(!blocks("get block"));
    }

    #[test]
    fn sort_reads_by_pattern_and_stores() {
        check("sort k", "k");
        check("sort k by w_* get # get o_*->f limit 0 5 desc alpha store d", "k ?w_* ?o_*->f =d");
        check("SORT k BY nosort STORE d", "k =d");
        // The last STORE counts, and values are not options.
        check("sort k store a store b", "k =b");
        check("sort k by store get store", "k");
        check("sort k store", "k");
        check("sort k by", "k");
        check("sort_ro k get x*", "k ?x*");
    }

    #[test]
    fn georadius_stores() {
        check("georadius k 1 2 3 m", "k");
        check("georadius k 1 2 3 m count 1 STORE d", "k =d");
        check("georadius k 1 2 3 m storedist a store b", "k =b");
        check("georadius k 1 2 3 m store", "k");
        check("georadiusbymember k store 3 m storedist d", "k =d");
        check("georadiusbymember k store 3 m", "k");
        check("georadius_ro k 1 2 3 m store d", "k");
    }

    #[test]
    fn stralgo_compares_strings_or_keys() {
        check("stralgo lcs keys a b idx", "a b");
        check("stralgo lcs idx minmatchlen 3 keys a b", "a b");
        check("stralgo lcs strings keys a b", "");
        check("stralgo lcs keys a", "");
    }

    #[test]
    fn migrate_moves_one_or_several() {
        check("migrate h p k 0 10", "=k");
        check("migrate h p k 0 10 keys", "=k");
        check("migrate h p \"\" 0 10 keys a b", "=a =b");
        check("migrate h p \"\" 0 10 copy auth keys keys a", "=a");
        check("migrate h p \"\" 0 10 auth2 keys keys keys a", "=a");
        check("migrate h p \"\" 0 10 keys", "");
    }

    #[test]
    fn no_request_of_few_words_upsets_it() {
        // Every command with every number of arguments up to ten, of words that mean something.
        let table = CommandTable::new();
        let words: [&[u8]; 7] =
            [b"1", b"9223372036854775807", b"-1", b"streams", b"store", b"keys", b""];
        let mut keys = Vec::new();
        for command in table.iter() {
            for count in 0..10 {
                for shift in 0..words.len() {
                    for stride in 0..words.len() {
                        let argument = |index: usize| {
                            assert!(index < count, "{} looks beyond {count}", command.name());
                            words[(shift + index * stride) % words.len()]
                        };
                        let _ = command.keys().keys(count, argument, &mut keys);
                        assert!(keys.iter().all(|&key| (key as usize) < count));
                        let _ = command.keys().first_key(count, argument);
                        command.blocks(count, argument);
                    }
                }
            }
        }
    }

    #[test]
    fn a_huge_count_costs_nothing() {
        let table = CommandTable::new();
        let eval = table.lookup(b"eval").unwrap();
        let argument = |index: usize| if index == 2 { &b"4294967295"[..] } else { b"x" };
        let mut keys = Vec::new();
        assert_eq!(eval.keys().keys(4, argument, &mut keys), Err(KeysError::TooMany));
        assert_eq!(eval.keys().keys(usize::MAX, argument, &mut keys), Err(KeysError::Malformed));
        assert_eq!(keys.capacity(), 0);
    }
}
