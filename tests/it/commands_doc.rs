//! doc/commands.md is what `PROXY COMMANDS` says. `UPDATE=1` writes it anew, as `make commands`
//! does.

use std::path::PathBuf;
use std::{env, fs};

use crate::support::{AnyPool, Proxy, error, original_differs};

/// Where the table stands in the page.
const BEGIN: &str = "<!-- PROXY COMMANDS -->\n";
const END: &str = "<!-- end -->\n";

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("doc/commands.md")
}

/// Its lines, each with its columns.
fn commands(proxy: &Proxy) -> Vec<[String; 6]> {
    let reply = proxy.client().line("PROXY COMMANDS");
    let lines = reply.elements().iter().map(|line| {
        let (line, mut columns) = (line.text(), [const { String::new() }; 6]);
        let mut rest = line.as_str();
        for column in &mut columns[..5] {
            let (word, more) = rest.split_once(' ').unwrap_or_else(|| panic!("no column: {line}"));
            (*column, rest) = (word.to_owned(), more.trim_start());
        }
        columns[5] = rest.to_owned();
        columns
    });
    lines.collect()
}

#[test]
fn the_page_of_commands_is_what_the_proxy_says() {
    if original_differs("has no PROXY COMMANDS") {
        return;
    }
    let pool = AnyPool::groups(1, "");
    let mut table =
        "| command | words | rights | way | merge | keys |\n|---|---|---|---|---|---|\n".to_owned();
    for [name, words, rights, way, merge, keys] in commands(&pool.proxy) {
        let name = name.replace('|', " ");
        table += &format!("| `{name}` | {words} | {rights} | {way} | {merge} | {keys} |\n");
    }
    let text = fs::read_to_string(page()).expect("the page of commands");
    let (before, rest) = text.split_once(BEGIN).expect("where the table begins");
    let (_, after) = rest.split_once(END).expect("where the table ends");
    let want = format!("{before}{BEGIN}{table}{END}{after}");
    if env::var_os("UPDATE").is_some() {
        fs::write(page(), want).expect("the page of commands");
    } else {
        assert!(text == want, "doc/commands.md is out of date: make commands");
    }
}

#[test]
fn the_page_explains_every_word_of_the_table() {
    let text = fs::read_to_string(page()).expect("the page of commands");
    let (before, rest) = text.split_once(BEGIN).expect("where the table begins");
    let (table, _) = rest.split_once(END).expect("where the table ends");
    for row in table.lines().skip(2) {
        let columns: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        for word in columns[2..5].iter().filter(|word| **word != "-") {
            assert!(before.contains(&format!("| {word} |")), "{word} is not explained: {row}");
        }
    }
}

#[test]
fn what_the_configuration_changes_is_listed_so() {
    if original_differs("has no PROXY COMMANDS") {
        return;
    }
    let lines = "CustomCommand {\nmine.own {\nMode read|keyAt2\nMinArgs 3\nMaxArgs 4\n}\n}\n\
                 DisabledCommands {\n+ get\n}\n\
                 Authority {\nAuth r {\nMode write\n}\nAuth a {\nMode admin\n}\n}\n";
    let pool = AnyPool::groups(1, lines);
    let mut client = pool.proxy.client();
    client.line("AUTH r");
    assert_eq!(client.line("PROXY COMMANDS"), error("ERR auth permission deny"));
    client.line("AUTH a");
    let reply = client.line("PROXY COMMANDS");
    let all: Vec<String> = reply.elements().iter().map(|line| line.text()).collect();
    let find = |name: &str| {
        let line = all.iter().find(|line| line.starts_with(name)).expect(name);
        line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(find("mine.own "), "mine.own 3 read one - reads 2");
    assert_eq!(find("get "), "get 1 read disabled - reads 1");
    assert!(all.is_sorted());
}
