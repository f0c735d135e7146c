//! Takes commands out of what a server says about its commands.
//!
//! Clients learn from COMMAND what they may send. What the configuration disables is not there
//! for them, as a command is not that a server has renamed away. The bytes of all others are
//! passed on as they are, whatever fields a server gives them.

use crate::resp::command::Listing;
use crate::resp::reply::{Kind, Reply};
use crate::resp::writer::{Header, Protocol, Sink};

/// The same reply without the commands whose names `is_hidden`; `None` if it is not what servers
/// answer to this.
pub fn filter(
    listing: Listing,
    protocol: Protocol,
    reply: &[u8],
    is_hidden: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let filter = Filter { is_hidden: &is_hidden };
    let reply = Reply::new(reply);
    let mut out = Vec::with_capacity(reply.bytes().len());
    match listing {
        Listing::Entries => _ = filter.entries(&reply, None, &mut out)?,
        Listing::Info => {
            let mut none = Vec::new();
            none.null_array(protocol);
            filter.entries(&reply, Some(&none), &mut out)?;
        }
        Listing::Docs => filter.docs(&reply, &mut out)?,
        Listing::Names => filter.names(&reply, &mut out)?,
        Listing::Count => {
            let count = filter.entries(&reply, None, &mut Vec::new())?;
            out.integer(i64::try_from(count).ok()?);
        }
    }
    Some(out)
}

struct Filter<'a> {
    is_hidden: &'a dyn Fn(&[u8]) -> bool,
}

impl Filter<'_> {
    /// An array of what is known about each command; returns how many are left. Those that are
    /// hidden become `instead`, if that is something.
    fn entries(
        &self,
        reply: &Reply<'_>,
        instead: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let (mut body, mut count) = (Vec::new(), 0);
        for entry in reply.elements()? {
            if entry.kind() == Kind::Null {
                body.put(entry.bytes());
            } else if !(self.is_hidden)(entry.elements()?.next()?.text()?) {
                self.entry(&entry, &mut body)?;
            } else if let Some(instead) = instead {
                body.put(instead);
            } else {
                continue;
            }
            count += 1;
        }
        put(reply, count, &body, out);
        Some(count)
    }

    /// What is known about one command; its sub-commands are entries in it.
    fn entry(&self, entry: &Reply<'_>, out: &mut Vec<u8>) -> Option<()> {
        let mut fields = entry.elements()?;
        let count = usize::try_from(fields.left()).ok()?;
        let mut body = Vec::new();
        for (index, field) in fields.by_ref().enumerate() {
            if index == SUBCOMMANDS_AT && field.kind() != Kind::Null {
                self.entries(&field, None, &mut body)?;
            } else {
                body.put(field.bytes());
            }
        }
        put(entry, count, &body, out);
        Some(())
    }

    /// Names and what there is to read about each; that of sub-commands is in it.
    fn docs(&self, reply: &Reply<'_>, out: &mut Vec<u8>) -> Option<()> {
        let (mut body, mut count) = (Vec::new(), 0);
        let mut pairs = reply.elements()?;
        while let Some(name) = pairs.next() {
            let text = pairs.next()?;
            if (self.is_hidden)(name.text()?) {
                continue;
            }
            body.put(name.bytes());
            self.doc(&text, &mut body)?;
            count += 1;
        }
        put_pairs(reply, count, &body, out);
        Some(())
    }

    fn doc(&self, doc: &Reply<'_>, out: &mut Vec<u8>) -> Option<()> {
        let (mut body, mut count) = (Vec::new(), 0);
        let mut pairs = doc.elements()?;
        while let Some(name) = pairs.next() {
            let value = pairs.next()?;
            body.put(name.bytes());
            if name.text() == Some(b"subcommands") {
                self.docs(&value, &mut body)?;
            } else {
                body.put(value.bytes());
            }
            count += 1;
        }
        put_pairs(doc, count, &body, out);
        Some(())
    }

    fn names(&self, reply: &Reply<'_>, out: &mut Vec<u8>) -> Option<()> {
        let (mut body, mut count) = (Vec::new(), 0);
        for name in reply.elements()? {
            if !(self.is_hidden)(name.text()?) {
                body.put(name.bytes());
                count += 1;
            }
        }
        put(reply, count, &body, out);
        Some(())
    }
}

/// Which field of an entry has the sub-commands; servers before 7.0 have no such field.
const SUBCOMMANDS_AT: usize = 9;

/// A body of so many elements, under the kind of head that `like` has.
fn put(like: &Reply<'_>, count: usize, body: &[u8], out: &mut Vec<u8>) {
    let marker = like.bytes().first().copied().unwrap_or(b'*');
    out.put(Header::new(marker, count).bytes());
    out.put(body);
}

/// The same for so many names with values: a map, or an array of both in turn.
fn put_pairs(like: &Reply<'_>, pairs: usize, body: &[u8], out: &mut Vec<u8>) {
    let count = if like.kind() == Kind::Map { pairs } else { pairs * 2 };
    put(like, count, body, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hides `get` and `config|set`.
    fn is_hidden(name: &[u8]) -> bool {
        name == b"get" || name == b"config|set"
    }

    #[track_caller]
    fn check(listing: Listing, reply: &str, want: &str) {
        let wire = |text: &str| text.replace('|', "\r\n").replace('/', "|").into_bytes();
        let is_resp3 = reply.contains('_') || reply.contains('~') || reply.contains('%');
        let protocol = if is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let got = filter(listing, protocol, &wire(reply), is_hidden).expect("what servers answer");
        assert_eq!(got.escape_ascii().to_string(), wire(want).escape_ascii().to_string());
    }

    const GET: &str = "*3|$3|get|:2|*0|";
    const SET: &str = "*2|$3|set|:-3|";
    const SUB: &str = "*2|$10|config/set|:-4|";
    const OTHER_SUB: &str = "*2|$10|config/get|:-3|";

    fn config(head: &str, subs: &[&str]) -> String {
        format!(
            "*10|$6|config|:-2|{head}|:0|:0|:0|*1|+@slow|*0|*0|*{}|{}",
            subs.len(),
            subs.concat()
        )
    }

    #[test]
    fn hidden_commands_are_not_in_a_list() {
        let (before, after) = (config("*0", &[OTHER_SUB, SUB]), config("*0", &[OTHER_SUB]));
        check(Listing::Entries, &format!("*3|{GET}{before}{SET}"), &format!("*2|{after}{SET}"));
        check(Listing::Count, &format!("*3|{GET}{before}{SET}"), ":2|");
        check(Listing::Names, "*3|$3|get|$10|config/set|$3|set|", "*1|$3|set|");
        check(Listing::Names, "*0|", "*0|");
    }

    #[test]
    fn who_asks_for_a_hidden_command_is_told_that_it_is_none() {
        check(Listing::Info, &format!("*3|{GET}$-1|{SET}"), &format!("*3|*-1|$-1|{SET}"));
        check(Listing::Info, &format!("*2|{GET}_|"), "*2|_|_|");
        let entry = config("~0", &[SUB]);
        check(Listing::Info, &format!("*2|{SUB}{entry}"), &format!("*2|_|{}", config("~0", &[])));
    }

    #[test]
    fn there_is_nothing_to_read_about_them() {
        let subs = "*4|$10|config/set|*2|$5|since|$1|2|$10|config/get|*2|$5|since|$1|1|";
        check(
            Listing::Docs,
            &format!(
                "*4|$3|get|*2|$5|since|$1|1|$6|config|*4|$5|since|$1|2|$11|subcommands|{subs}"
            ),
            "*2|$6|config|*4|$5|since|$1|2|$11|subcommands|*2|$10|config/get|*2|$5|since|$1|1|",
        );
        check(
            Listing::Docs,
            "%2|$3|get|%1|$5|since|$1|1|$3|set|%1|$5|since|$1|1|",
            "%1|$3|set|%1|$5|since|$1|1|",
        );
    }

    #[test]
    fn what_is_not_understood_is_not_passed_on() {
        for reply in ["-ERR no\r\n", "$-1\r\n", ":1\r\n"] {
            for listing in [Listing::Entries, Listing::Info, Listing::Docs, Listing::Names] {
                assert_eq!(
                    filter(listing, Protocol::Resp2, reply.as_bytes(), is_hidden),
                    None,
                    "{reply}"
                );
            }
        }
        assert_eq!(filter(Listing::Docs, Protocol::Resp2, b"*1\r\n$1\r\na\r\n", is_hidden), None);
        assert_eq!(filter(Listing::Entries, Protocol::Resp2, b"*1\r\n:1\r\n", is_hidden), None);
    }
}
