//! COMMAND and its sub-commands: what a server says, without what is disabled.

use std::collections::BTreeSet;

use crate::support::{AnyPool, Client, Value, array, error, int, ok, original_differs};

fn skip() -> bool {
    original_differs("answers COMMAND with an empty array")
}

/// The names of an array of entries, sub-commands too.
fn names(entries: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in entries.elements() {
        let Value::Array(fields) = entry else { continue };
        names.insert(fields[0].text());
        if let Some(subcommands) = fields.get(9) {
            names.extend(self::names(subcommands));
        }
    }
    names
}

fn knows_docs(real: &mut Client) -> bool {
    // 6.2 has neither DOCS nor LIST.
    real.line("COMMAND DOCS get").error_text().is_none()
}

#[test]
fn where_nothing_is_disabled_servers_are_quoted() {
    if skip() {
        return;
    }
    AnyPool::each(|pool| {
        let (mut client, mut real) = (pool.proxy.client(), pool.masters().remove(0));
        for line in [
            "COMMAND",
            "COMMAND COUNT",
            "COMMAND INFO get nonsense mset",
            "COMMAND DOCS get config",
            "COMMAND DOCS",
            "COMMAND LIST FILTERBY PATTERN xgr*",
            "COMMAND LIST FILTERBY ACLCAT hyperloglog",
            "COMMAND GETKEYS MSET a 1 b 2",
            "COMMAND GETKEYSANDFLAGS LMOVE a b left left",
            "COMMAND GETKEYS GET",
            "COMMAND COUNT x",
            "COMMAND NOPE",
        ] {
            let (got, want) = (client.line(line), real.line(line));
            match (line, &want) {
                // Which comes first is a matter of hash tables.
                ("COMMAND", _) => assert_eq!(names(&got), names(&want)),
                ("COMMAND DOCS" | "COMMAND DOCS get config", Value::Array(all)) => {
                    assert_eq!(got.elements().len(), all.len());
                }
                (_, Value::Array(all)) => {
                    let sorted = |all: &[Value]| {
                        let mut all: Vec<String> = all.iter().map(|v| format!("{v:?}")).collect();
                        all.sort();
                        all
                    };
                    assert_eq!(sorted(got.elements()), sorted(all), "{line}");
                }
                _ if line == "COMMAND NOPE" && want.text().starts_with("ERR Unknown") => {}
                _ => assert_eq!(got, want, "{line}"),
            }
        }
    });
}

#[test]
fn what_is_disabled_is_not_there() {
    if skip() {
        return;
    }
    let disabled = "DisabledCommands {\n    + keys\n    + config|set\n    + function\n}\n";
    for groups in [1, 2] {
        let pool = AnyPool::groups(groups, disabled);
        let (mut client, mut real) = (pool.proxy.client(), pool.masters().remove(0));
        let is_left = |name: &String| {
            !(name == "keys" || name == "config|set" || name.split('|').next() == Some("function"))
        };
        let all = real.line("COMMAND");
        let want: BTreeSet<String> = names(&all).into_iter().filter(is_left).collect();
        assert!(want.len() < names(&all).len());
        assert_eq!(names(&client.line("COMMAND")), want);
        let gone = all.elements().iter().filter(|entry| !is_left(&entry.elements()[0].text()));
        let (gone, count) = (gone.count(), real.line("COMMAND COUNT").number());
        assert!(gone >= 1);
        assert_eq!(client.line("COMMAND COUNT"), int(count - gone as i64));
        assert_eq!(
            client.line("COMMAND COUNT x"),
            real.line("COMMAND COUNT x"),
            "errors are those of the server"
        );
        let got = client.line("COMMAND INFO keys get nonsense");
        let want = real.line("COMMAND INFO get nonsense");
        assert!(matches!(got.elements()[0], Value::NilArray), "{got:?}");
        assert_eq!(got.elements()[1..], *want.elements());
        if !knows_docs(&mut real) {
            continue;
        }
        assert_eq!(client.line("COMMAND DOCS keys"), array([]));
        assert_eq!(client.line("COMMAND DOCS get"), real.line("COMMAND DOCS get"));
        assert_eq!(client.line("COMMAND DOCS get keys").elements().len(), 2);
        let config = format!("{:?}", client.line("COMMAND DOCS config"));
        assert!(config.contains("config|get") && !config.contains("config|set"), "{config}");
        let listed: BTreeSet<String> =
            client.line("COMMAND LIST").elements().iter().map(Value::text).collect();
        assert_eq!(listed, names(&client.line("COMMAND")));
        assert_eq!(client.line("COMMAND LIST FILTERBY PATTERN keys"), array([]));
        // The same in RESP3.
        let (mut client, mut real) = (pool.proxy.client(), pool.masters().remove(0));
        for client in [&mut client, &mut real] {
            assert!(matches!(client.line("HELLO 3"), Value::Map(_)));
        }
        assert_eq!(names(&client.line("COMMAND")), listed);
        let got = client.line("COMMAND INFO keys get nonsense");
        assert_eq!(got.elements()[0], Value::Null);
        assert_eq!(got.elements()[1..], *real.line("COMMAND INFO get nonsense").elements());
        assert_eq!(client.line("COMMAND DOCS get keys"), real.line("COMMAND DOCS get"));
        // Also in a transaction, where they are not filtered, they can be asked.
        let replies = client.pipeline(&["MULTI", "COMMAND COUNT", "EXEC"]);
        assert_eq!(replies[0], ok());
        assert_eq!(replies[2], array([int(count)]));
        assert_eq!(
            client.line("KEYS *"),
            error("ERR command 'keys' is disabled in the configuration of the proxy")
        );
    }
}
