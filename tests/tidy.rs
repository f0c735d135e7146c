//! Reads the source and checks what a linter cannot. Each check is shown a bad sample, too.

use std::fs;
use std::path::Path;

/// Each may use only itself and those before it.
const LAYERS: [&str; 9] =
    ["base", "sys", "logger", "buffer", "resp", "conf", "pool", "stats", "proxy"];

/// The one file that may say what nobody else may.
const THIS: &str = "tests/tidy.rs";

/// Whether a file, by its path and text, is as it should be.
type Check = fn(&str, &str) -> bool;

fn layers_look_down(path: &str, text: &str) -> bool {
    let layer = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let Some(own) = path.strip_prefix("src/").and_then(|rest| layer(words(rest).next()?)) else {
        return true;
    };
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<&str>>().join("\n");
    code.split("crate::").skip(1).all(|rest| {
        let end = if rest.starts_with('{') { rest.find('}') } else { rest.find(':') };
        words(&rest[..end.unwrap_or(0)]).filter_map(layer).all(|used| used <= own)
    })
}

fn unsafe_stays_at_home(path: &str, text: &str) -> bool {
    let is_home = path.starts_with("src/sys") || ["src/buffer/alloc.rs", THIS].contains(&path);
    is_home || words_of_code(text).all(|word| word != "unsafe")
}

fn opens_with_its_purpose(_: &str, text: &str) -> bool {
    text.starts_with("//! ")
}

fn is_finished(path: &str, text: &str) -> bool {
    path == THIS || words(text).all(|word| !["TODO", "FIXME", "XXX", "HACK"].contains(&word))
}

/// The clock on the wall tells dates to people; whatever waits for a time goes by the other one.
fn d44_only_dates_come_from_the_wall_clock(path: &str, text: &str) -> bool {
    let tells_dates = ["src/sys", "src/logger", "tests/"].iter().any(|home| path.starts_with(home))
        || ["src/proxy/handler/monitor.rs", "src/proxy/handler/slow.rs", "src/proxy.rs"]
            .contains(&path);
    tells_dates || words_of_code(text).all(|word| !["wall_us", "SystemTime"].contains(&word))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

fn words_of_code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.split("//").next()).flat_map(words)
}

/// Whether the manual has a paragraph headed by this key: an item of a list, or a section.
fn is_explained(key: &str, manual: &str) -> bool {
    let heads =
        manual.lines().filter(|line| [".It ", ".Ss ", ".Sh "].iter().any(|m| line.starts_with(m)));
    heads.flat_map(words).any(|word| word == key)
}

/// All sources below a folder.
fn sources(folder: &str, found: &mut Vec<(String, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(root.join(folder)).expect("a folder").flatten() {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() && !path.ends_with("/target") {
            sources(&path, found);
        } else if path.ends_with(".rs") {
            found.push((path, fs::read_to_string(entry.path()).expect("a source")));
        }
    }
}

#[track_caller]
fn check(check: Check, bad: (&str, &str), good: (&str, &str)) {
    assert!(!check(bad.0, bad.1) && check(good.0, good.1), "the check does not work");
    let mut found = Vec::new();
    ["src", "tests"].iter().for_each(|folder| sources(folder, &mut found));
    let wrong = found.iter().filter(|(path, text)| !check(path, text)).map(|(path, _)| path);
    assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_source_is_tidy() {
    let (up, down) = ("use crate::proxy::Handler;", "use crate::base::Slab; crate::log_warn!();");
    check(layers_look_down, ("src/resp/a.rs", up), ("src/resp/a.rs", down));
    check(layers_look_down, ("src/conf.rs", "use crate::{base, proxy};"), ("src/main.rs", up));
    check(unsafe_stays_at_home, ("src/pool/a.rs", "unsafe {}"), ("src/sys/a.rs", "unsafe {}"));
    check(opens_with_its_purpose, ("a.rs", "use std;"), ("a.rs", "//! What it is for.\n"));
    check(is_finished, ("a.rs", "// TODO: later"), ("a.rs", "ToDo"));
    let now = "clock::wall_us()";
    check(d44_only_dates_come_from_the_wall_clock, ("src/pool/a.rs", now), ("src/logger.rs", now));
}

fn manual_of_settings() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/predixy.conf.5");
    fs::read_to_string(path).expect("the manual of the configuration")
}

#[test]
fn every_setting_is_in_the_manual() {
    assert!(is_explained("Bind", ".It Ic Bind Ar address\n") && !is_explained("Bind", "Bind it\n"));
    let manual = manual_of_settings();
    let keys = predixy::conf::setting::all().into_iter().map(|setting| setting.name);
    assert_eq!(keys.filter(|key| !is_explained(key, &manual)).collect::<Vec<_>>(), [""; 0]);
}

/// What the manual says of the default of a key, and of when a change takes effect; two keys of one
/// name are two pairs.
fn told(key: &str, manual: &str) -> Vec<(String, String)> {
    let mut items = manual.split("\n.It Ic ").skip(1);
    let mut pairs = Vec::new();
    while let Some(item) = items.next() {
        let (head, mut text) = item.split_once('\n').unwrap_or((item, ""));
        let mut same = head.split_whitespace().next() == Some(key);
        // Several keys may share a paragraph; the last of them has the text.
        while same && text.trim().is_empty() {
            let Some(next) = items.next() else { break };
            text = next.split_once('\n').unwrap_or((next, "")).1;
            same = true;
        }
        if !same {
            continue;
        }
        let after = |word: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(word));
            line.unwrap_or_default().trim().trim_end_matches('.').to_owned()
        };
        pairs.push((after("Default:"), after("Changed:")));
    }
    pairs
}

#[test]
fn the_manual_tells_the_default_of_every_setting_and_when_a_change_takes_effect() {
    let sample = "\n.It Ic A Ar x\n.It Ic B Ar x\nText.\nDefault: 1.5.\nChanged: online.\n.It Ic A\nDefault: none.\n";
    let pair = |default: &str, change: &str| (default.to_owned(), change.to_owned());
    assert_eq!(told("A", sample), [pair("1.5", "online"), pair("none", "")]);
    assert_eq!(told("B", sample), [pair("1.5", "online")]);
    let manual = manual_of_settings();
    let mut wrong = Vec::new();
    for setting in predixy::conf::setting::all() {
        let Some(default) = setting.default else { continue };
        let change = format!("{:?}", setting.change).to_lowercase();
        let says_so = |(said, when): &(String, String)| {
            let none = default.is_empty() && said.split(',').next() == Some("none");
            (none || said == default) && *when == change
        };
        let pairs = told(setting.name, &manual);
        if !pairs.iter().any(says_so) {
            wrong.push(format!("{}: {default:?} and {change}, not {pairs:?}", setting.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
