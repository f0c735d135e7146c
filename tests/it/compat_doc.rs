//! doc/compatibility.md: whether it has a row for each defect of predixy, names tests that exist, and lists the commands that
//! are answered with an error.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use predixy::resp::command::{CommandTable, Family, LocalCommand};

use crate::support::{Answer, FakeServer, Proxy, original_differs};

/// The numbers of the defects; some were never given out.
const DEFECTS: &[u32] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
    28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51,
    52, 53, 54, 55, 56, 57, 58, 60, 61, 62, 64, 65, 66, 67, 68, 69, 70,
];

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/compatibility.md");
    fs::read_to_string(path).expect("the page about compatibility")
}

/// Number, and what shows it, of each row about a defect.
fn rows(page: &str) -> Vec<(u32, &str)> {
    let row = |line: &'_ str| -> Option<(u32, usize)> {
        let cells: Vec<&str> = line.split(" | ").collect();
        let number = cells.first()?.strip_prefix("| D-")?.parse().ok()?;
        (cells.len() == 4).then(|| (number, line.len() - cells[3].len()))
    };
    page.lines().filter_map(|line| row(line).map(|(number, at)| (number, &line[at..]))).collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The commands that the page lists under a heading.
fn listed(page: &str, heading: &str) -> BTreeSet<String> {
    let rest = page.split_once(&format!("<!-- {heading} -->")).expect(heading).1;
    let list = rest.split_once("<!-- end -->").expect(heading).0;
    quoted(list).into_iter().map(str::to_owned).collect()
}

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &fs::read_to_string(path).expect("a source");
        }
    }
}

#[test]
fn each_defect_has_its_row() {
    let sample = "| D-7 | a | b | c |\n| D-08 | was | is | `shown` |\n| D-09 | was | is |";
    assert_eq!(rows(sample), [(7, "c |"), (8, "`shown` |")]);
    let page = page();
    let numbers: Vec<u32> = rows(&page).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, DEFECTS);
}

#[test]
fn the_tests_that_it_names_exist() {
    let mut text = String::new();
    for folder in ["src", "tests"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut text);
    }
    let page = page();
    let mut missing = Vec::new();
    for (number, shown_by) in rows(&page) {
        let tests = quoted(shown_by);
        let is_told = ["no test yet", "none"].iter().any(|words| shown_by.starts_with(words));
        assert!(
            tests.is_empty() == is_told,
            "D-{number:02} names no test and does not say so: {shown_by}"
        );
        missing.extend(tests.into_iter().filter(|test| !text.contains(&format!("fn {test}()"))));
    }
    assert_eq!(missing, [""; 0]);
}

#[test]
fn it_lists_what_the_proxy_answers_with_an_error() {
    if original_differs("has another command table") {
        return;
    }
    // A scripted server, as nobody knows what a command does to a real one once it is passed on.
    let fakes = FakeServer::start_cluster(1, |_, heard| match heard.name().as_str() {
        "CLUSTER" | "PING" | "READONLY" => Answer::Usual,
        _ => Answer::text("+passed on\r\n"),
    });
    let proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(1);
    let page = page();
    let mut answered = [const { BTreeSet::new() }; 6];
    for command in CommandTable::new().iter() {
        let ends_the_connection = [LocalCommand::Http, LocalCommand::Quit].map(Family::Local);
        if command.family() == Family::Container || ends_the_connection.contains(&command.family())
        {
            continue;
        }
        let mut words: Vec<&str> = command.name().split('|').collect();
        words.resize(words.len().max(command.min_args()), "1");
        // A new client for each, as some change what their client may do next.
        let reply = proxy.client().cmd(&words);
        let Some(error) = reply.error_text() else { continue };
        let reasons = [
            "' is not supported by this version of the proxy",
            "' is not available through the proxy: it concerns one server, which has to be asked \
             directly",
            "' is not available through the proxy: it concerns the connection to a server, which \
             clients share",
            "' is not available through the proxy: the servers of a cluster have to be told \
             directly",
            "' is not available: the proxy does not do client-side caching",
            "' is not available through the proxy: it does not write to its configuration, which \
             CONFIG RELOAD reads again",
        ];
        for (reason, answered) in reasons.iter().zip(&mut answered) {
            if error.ends_with(reason) {
                answered.insert(command.name().replace('|', " "));
                let name = if reason == &reasons[0] {
                    command.name()
                } else {
                    &command.name().replace('|', " ")
                };
                assert_eq!(error, format!("ERR command '{name}{reason}"));
            }
        }
    }
    for (heading, answered) in
        ["not yet", "one server", "one connection", "cluster change", "tracking", "own file"]
            .iter()
            .zip(answered)
    {
        assert_eq!(listed(&page, heading), answered, "{heading}");
    }
}
