//! What the table says about a command, in words for people: a line of `PROXY COMMANDS`.
//!
//! `doc/commands.md` is made of these lines and explains their words.

use std::fmt::Write as _;

use super::key_spec::{Access, Find, KeySpec, Part};
use super::{ClusterCommand, Command, Family, Merge, Refusal, Rights, ScriptCommand};

impl Command {
    /// Its line: name, fewest arguments, rights, way, merge and keys, in columns.
    #[must_use]
    pub fn line(&self) -> String {
        let rights = match self.rights() {
            _ if self.always_allowed() => "all",
            Rights::Read => "read",
            Rights::Write => "write",
            Rights::Admin => "admin",
        };
        let (way, merge) = self.way();
        let (name, args, keys) = (self.name(), self.min_args(), self.keys().words());
        format!("{name:<30} {args} {rights:<5} {way:<9} {merge:<11} {keys}")
    }

    /// Which way its requests go, and how the replies to their parts become one.
    fn way(&self) -> (&'static str, &'static str) {
        match self.family() {
            Family::Keyed
            | Family::Script(ScriptCommand::Eval | ScriptCommand::EvalSha)
            | Family::Cluster(ClusterCommand::CountKeysInSlot | ClusterCommand::GetKeysInSlot) => {
                ("one", "-")
            }
            Family::Split(merge) => ("split", word_of(merge)),
            Family::FanOut(merge) => ("fan-out", word_of(merge)),
            Family::Script(ScriptCommand::Load) => ("fan-out", word_of(Merge::Same)),
            Family::Script(ScriptCommand::Flush) => ("fan-out", word_of(Merge::AllOk)),
            Family::Undivided => ("undivided", "-"),
            Family::Scan => ("scan", "-"),
            Family::RandomKey => ("random", "-"),
            Family::OneMaster => ("any", "-"),
            Family::Blocking => ("waits", "-"),
            Family::StreamRead if self.needs_master() => ("waits", "-"),
            Family::StreamRead => ("split", word_of(Merge::Named)),
            Family::Transaction(_) => ("session", "-"),
            Family::PubSub(_) => ("channel", "-"),
            Family::AnyServer | Family::Listing(_) => ("any", "-"),
            Family::Local(_) | Family::Cluster(_) | Family::Container => ("local", "-"),
            Family::Refused(Refusal::Disabled) => ("disabled", "-"),
            Family::Refused(_) => ("refused", "-"),
        }
    }
}

impl KeySpec {
    /// Where its keys are and what is done to them.
    fn words(self) -> String {
        let mut words = String::new();
        for part in self.parts {
            if !words.is_empty() {
                words.push_str(", ");
            }
            part.put_words(&mut words);
        }
        if words.is_empty() { "-".to_owned() } else { words }
    }
}

impl Part {
    fn put_words(self, words: &mut String) {
        words.push_str(match self.access {
            Access::Read => "reads ",
            Access::Write => "writes ",
            Access::Name | Access::Glob => "names ",
            Access::Pattern => "",
        });
        // Writing to a string cannot fail.
        let _ = match self.find {
            Find::Range { first, last, step } => match (last, step) {
                (-1, 1) => write!(words, "{first}.."),
                (-1, _) => write!(words, "{first}, {}..", first + step),
                (-2, _) => write!(words, "{first}.. but the last"),
                _ if i64::from(last) == i64::from(first) => write!(words, "{first}"),
                _ => write!(words, "{first}..{last}"),
            },
            Find::Counted { at, step: 1, .. } => {
                write!(words, "{}.. as many as {at} says", at + 1)
            }
            Find::Counted { at, step, .. } => {
                write!(words, "{}, {}.. as many as {at} says", at + 1, at + 1 + step)
            }
            Find::Streams => write!(words, "the first half after STREAMS"),
            Find::SortClauses => write!(words, "writes after STORE, reads like BY and GET"),
            Find::GeoStore { .. } => write!(words, "after STORE or STOREDIST"),
            Find::StrAlgo => write!(words, "two after KEYS"),
            Find::Migrate => write!(words, "3 or after KEYS"),
        };
    }
}

fn word_of(merge: Merge) -> &'static str {
    match merge {
        Merge::Sum => "sum",
        Merge::Min => "min",
        Merge::AllOk => "all-ok",
        Merge::Same => "same",
        Merge::FirstGood => "first-good",
        Merge::Concat => "concat",
        Merge::Named => "named",
        Merge::Union => "union",
        Merge::MinEach => "min-each",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CommandTable, CustomCommand};
    use super::*;

    #[track_caller]
    fn check(request: &[&[u8]], want: &str) {
        let table = CommandTable::new();
        let command = table.resolve(request.len(), |index| request[index]).unwrap();
        let line = command.line();
        assert_eq!(line.split_ascii_whitespace().collect::<Vec<_>>().join(" "), want);
    }

    #[test]
    fn lines_say_what_becomes_of_a_command() {
        check(&[b"GET", b"k"], "get 2 read one - reads 1");
        check(&[b"COPY", b"a", b"b"], "copy 3 write one - reads 1, writes 2");
        check(&[b"RENAME", b"a", b"b"], "rename 3 write one - writes 1..2");
        check(&[b"MGET", b"k"], "mget 2 read split concat reads 1..");
        check(&[b"MSET", b"k", b"v"], "mset 3 write split all-ok writes 1, 3..");
        check(&[b"BLPOP", b"k", b"0"], "blpop 3 write waits - writes 1.. but the last");
        check(
            &[b"ZUNIONSTORE", b"d", b"1", b"k"],
            "zunionstore 4 write one - writes 1, reads 3.. as many as 2 says",
        );
        check(&[b"EVAL", b"s", b"0"], "eval 3 write one - writes 3.. as many as 2 says");
        check(
            &[b"XREAD", b"STREAMS", b"k", b"0"],
            "xread 4 read split named reads the first half after STREAMS",
        );
        check(
            &[b"SORT", b"k"],
            "sort 2 write one - reads 1, writes after STORE, reads like BY and GET",
        );
        check(&[b"KEYS", b"*"], "keys 2 read fan-out concat -");
        check(&[b"PING"], "ping 1 all local - -");
        check(&[b"SAVE"], "save 1 admin refused - -");
        check(&[b"OBJECT", b"FREQ", b"k"], "object|freq 3 read one - reads 2");
        check(&[b"PUBLISH", b"c", b"m"], "publish 3 write channel - names 1");
    }

    #[test]
    fn what_the_configuration_says_shows() {
        let mut table = CommandTable::new();
        let custom = CustomCommand { rights: Rights::Read, key_at: 2, min_args: 3, max_args: 9 };
        table.add_custom(b"mine", custom).unwrap();
        table.disable(b"get");
        let line = |name: &[u8]| {
            let line = table.lookup(name).unwrap().line();
            line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line(b"mine"), "mine 3 read one - reads 2");
        assert_eq!(line(b"get"), "get 1 read disabled - reads 1");
    }

    #[test]
    fn lines_are_in_columns() {
        for command in CommandTable::new().iter() {
            let line = command.line();
            assert!(line.is_ascii() && !line.ends_with(' ') && line.len() < 120, "{line}");
            assert!(command.name().len() < 30 && command.min_args() < 10, "{line}");
        }
    }
}
