//! doc/promises.md: whether each promise names tests, and each test that it names exists.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The promise and what enforces it, of each row; the heads of the tables are none.
fn rows(page: &str) -> Vec<(&str, &str)> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | "))
        .filter(|(promise, _)| *promise != "promise")
        .collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The source that a test is in: `module::name` of the integration tests, or `layer::module::name`.
fn source_of(modules: &str) -> Option<PathBuf> {
    let tests = root().join("tests/it");
    let file = format!("{}.rs", modules.replace("::", "/"));
    let places =
        [tests.join(&file), tests.join("conf").join(&file), root().join("src").join(&file)];
    places.into_iter().find(|path| path.is_file())
}

/// Whether a test of this name is in there.
fn has_test(source: &str, name: &str) -> bool {
    let function = format!("fn {name}()");
    let mut lines = source.lines().map(str::trim);
    let mut is_test = false;
    lines.any(|line| {
        let found = is_test && line.starts_with(&function);
        // Other attributes may stand between the two.
        is_test = line == "#[test]" || (is_test && line.starts_with("#["));
        found
    })
}

#[test]
fn each_promise_is_enforced_by_tests_that_exist() {
    let sample = "| promise | enforced by |\n|---|---|\n| a `b` | `c::d`, `e::f` |\n| g | none |\n";
    assert_eq!(rows(sample), [("a `b`", "`c::d`, `e::f`"), ("g", "none")]);
    assert!(has_test("    #[test]\n    fn it_is() {", "it_is"));
    assert!(!has_test("fn it_is() {", "it_is") && !has_test("#[test]\nfn it_is_not() {", "it_is"));
    let page = fs::read_to_string(root().join("doc/promises.md")).expect("the page of promises");
    let rows = rows(&page);
    assert!(rows.len() > 40, "{} promises", rows.len());
    for (promise, enforced_by) in rows {
        let tests = quoted(enforced_by);
        assert!(!tests.is_empty(), "nothing enforces: {promise}");
        for test in tests {
            let (modules, name) = test.rsplit_once("::").expect("a module and a name");
            let path = source_of(modules).unwrap_or_else(|| panic!("{promise}: no {modules}"));
            let source = fs::read_to_string(path).expect("a source");
            assert!(has_test(&source, name), "{promise}: there is no {test}");
        }
    }
}
