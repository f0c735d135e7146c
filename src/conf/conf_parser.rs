//! The file format: lines, blocks and Include. Makes a tree of keys, values and blocks.
//!
//! A line is blank, `Key`, `Key Value`, `Key Value {`, or `}`; `#` begins a comment, a value in
//! double quotes may hold anything, and `Include file` stands for the lines of that file. What
//! the keys mean is none of the parser's business. It goes on after a mistake, so that one look
//! at a file finds all of them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::conf_error::{ConfError, Place, Report};

/// A key with its value and what stands in its block.
#[derive(Debug, PartialEq)]
pub struct Node {
    /// The key as written.
    pub key: Box<[u8]>,
    /// The value without quotes and escapes; may be empty.
    pub value: Box<[u8]>,
    /// Where the key stands.
    pub place: Place,
    /// The lines between its braces; empty also where it has no braces.
    pub scope: Vec<Node>,
}

/// What a configuration file and the files that it includes say.
#[derive(Debug)]
pub struct Tree {
    /// The lines outside of all blocks.
    pub nodes: Vec<Node>,
    /// Whether each block ends where it should; if not, `nodes` must not be judged.
    pub sound: bool,
    /// Whether each included file was read; if not, something may seem to be missing.
    pub complete: bool,
}

impl Node {
    /// Whether the key is this one, in any case.
    #[must_use]
    pub fn is(&self, key: &str) -> bool {
        self.key.eq_ignore_ascii_case(key.as_bytes())
    }

    /// The key for a message.
    #[must_use]
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }

    /// The value as text for a message or a name.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

/// Reads the file at `path`, which may be relative to the current directory.
#[must_use]
pub fn load(path: &Path, report: &mut Report) -> Tree {
    let mut parser = Parser::new(report);
    match absolute(path) {
        Ok(path) => parser.open(path, None),
        Err(message) => parser.fail_to_open(None, message),
    }
    parser.run()
}

/// Reads `text` as if it were the file at `path`, beside which it looks for what is included.
#[must_use]
pub fn parse(path: &Path, text: &[u8], report: &mut Report) -> Tree {
    let mut parser = Parser::new(report);
    parser.take(path.to_owned(), text.to_vec(), None);
    parser.run()
}

/// Blocks in blocks; a file that nests deeper is refused.
const DEPTH_MAX: usize = 10;

/// Bytes of all files together. A file that includes two that include two, and so on, ends here.
const BYTES_MAX: u64 = 8 << 20;

struct Parser<'r> {
    report: &'r mut Report,
    /// The files being read, each included by the one before it.
    sources: Vec<Source>,
    bytes_left: u64,
    /// The finished lines outside of all blocks.
    root: Vec<Node>,
    /// The blocks that are open, each in the one before it.
    open: Vec<Node>,
    /// Open blocks beyond [`DEPTH_MAX`]; their lines are dropped.
    too_deep: usize,
    sound: bool,
    complete: bool,
}

impl Parser<'_> {
    fn new(report: &mut Report) -> Parser<'_> {
        Parser {
            report,
            sources: Vec::new(),
            bytes_left: BYTES_MAX,
            root: Vec::new(),
            open: Vec::new(),
            too_deep: 0,
            sound: true,
            complete: true,
        }
    }

    fn run(mut self) -> Tree {
        while let Some(source) = self.sources.last_mut() {
            match source.next() {
                Some((line, place)) => self.line(line, place),
                None => drop(self.sources.pop()),
            }
        }
        while let Some(block) = self.open.pop() {
            self.sound = false;
            let place = &block.place;
            self.report.error(None, format!("parse error some scope no end {place}"));
        }
        Tree { nodes: self.root, sound: self.sound, complete: self.complete }
    }

    fn line(&mut self, line: Line, place: Place) {
        match line {
            Line::Blank => {}
            Line::Pair { key, value } if key.eq_ignore_ascii_case(b"Include") => {
                self.include(&value, place);
            }
            Line::Pair { key, value } => {
                self.add(Node { key, value, place, scope: Vec::new() });
            }
            Line::Begin { key, value } => self.begin(key, value, place),
            Line::End => self.end(&place),
            Line::Wrong { why, meant } => {
                self.report.error(None, format!("parse error in {place}: {why}"));
                self.line(*meant, place);
            }
            Line::Odd { why, meant } => {
                self.report.warn(&place, why);
                self.line(*meant, place);
            }
            Line::LoneBrace => {
                self.sound = false;
                let why = "{ must stand at the end of the line of its key";
                self.report.error(None, format!("parse error in {place}: {why}"));
                self.begin([b'{'].into(), [].into(), place);
            }
        }
    }

    fn add(&mut self, node: Node) {
        if self.too_deep > 0 {
            return;
        }
        match self.open.last_mut() {
            Some(block) => block.scope.push(node),
            None => self.root.push(node),
        }
    }

    fn begin(&mut self, key: Box<[u8]>, value: Box<[u8]>, place: Place) {
        if self.too_deep > 0 {
            self.too_deep += 1;
        } else if self.open.len() == DEPTH_MAX {
            self.too_deep = 1;
            self.report.error(None, format!("node depth limit {DEPTH_MAX} in {place}"));
        } else {
            self.open.push(Node { key, value, place, scope: Vec::new() });
        }
    }

    fn end(&mut self, place: &Place) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
        } else if let Some(block) = self.open.pop() {
            self.add(block);
        } else {
            self.sound = false;
            self.report.error(None, format!("parse error unmatched end scope in {place}"));
        }
    }

    fn include(&mut self, name: &[u8], place: Place) {
        if name.is_empty() {
            return self.fail_to_open(Some(place), "filename is empty".to_owned());
        }
        let Some(parent) = self.sources.last() else { return };
        let path = beside(&parent.path, name);
        let identity = identity(&path);
        if self.sources.iter().any(|source| source.identity == identity) {
            let path = path.display();
            // This text has its own way to say where.
            let message = format!("include file {path} duplicate in {place}");
            return self.fail_to_open(None, message);
        }
        self.open(path, Some(place));
    }

    fn open(&mut self, path: PathBuf, from: Option<Place>) {
        let mut file = match File::open(&path) {
            Ok(file) => file.take(self.bytes_left + 1),
            Err(error) => {
                let message =
                    format!("open file {} fail {}", path.display(), without_number(&error));
                return self.fail_to_open(from, message);
            }
        };
        let mut bytes = Vec::new();
        if let Err(error) = file.read_to_end(&mut bytes) {
            let (path, error) = (path.display(), without_number(&error));
            return self.fail_to_open(from, format!("read file {path} error: {error}"));
        }
        self.take(path, bytes, from);
    }

    fn take(&mut self, path: PathBuf, bytes: Vec<u8>, from: Option<Place>) {
        let length = bytes.len() as u64;
        if length > self.bytes_left {
            let message = format!(
                "file {} makes the configuration longer than {BYTES_MAX} bytes",
                path.display()
            );
            return self.fail_to_open(from, message);
        }
        self.bytes_left -= length;
        self.sources.push(Source::new(path, bytes));
    }

    #[track_caller]
    fn fail_to_open(&mut self, at: Option<Place>, message: String) {
        self.complete = false;
        self.report.push(ConfError::new(at, message));
    }
}

/// A file being read.
struct Source {
    /// The path as written, made absolute.
    path: PathBuf,
    /// The same file has the same identity, however its path is written.
    identity: PathBuf,
    /// The path for messages.
    name: Arc<str>,
    bytes: Vec<u8>,
    at: usize,
    line: u32,
}

impl Source {
    fn new(path: PathBuf, bytes: Vec<u8>) -> Source {
        let name = path.display().to_string().into();
        let at = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Source { identity: identity(&path), path, name, bytes, at, line: 0 }
    }

    fn next(&mut self) -> Option<(Line, Place)> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = Line::parse(&rest[..length]);
        self.at += length + 1;
        self.line += 1;
        Some((line, Place { file: Arc::clone(&self.name), line: self.line }))
    }
}

/// Editors of some systems begin a file with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What one line is.
#[derive(Debug, PartialEq)]
enum Line {
    Blank,
    Pair {
        key: Box<[u8]>,
        value: Box<[u8]>,
    },
    Begin {
        key: Box<[u8]>,
        value: Box<[u8]>,
    },
    End,
    /// A mistake that leaves no doubt about the blocks around it.
    Wrong {
        why: &'static str,
        meant: Box<Line>,
    },
    /// Accepted, but worth a word.
    Odd {
        why: &'static str,
        meant: Box<Line>,
    },
    /// A `{` without a key: whose block it begins is anyone's guess.
    LoneBrace,
}

impl Line {
    fn parse(line: &[u8]) -> Line {
        let line = trim(line);
        if line.is_empty() || line[0] == b'#' {
            return Line::Blank;
        }
        let key_end = line.iter().position(|byte| b" \t#".contains(byte)).unwrap_or(line.len());
        let (key, rest) = line.split_at(key_end);
        let rest = trim(rest);
        if key[0] == b'}' {
            return Line::closing(key, rest);
        }
        if key == b"{" {
            return Line::LoneBrace;
        }
        if let [name @ .., b'{'] = key
            && is_comment_or_empty(rest)
        {
            let meant = Line::Begin { key: name.into(), value: [].into() };
            return Line::wrong("a blank must stand before {", meant);
        }
        match rest {
            [b'"', quoted @ ..] => Line::quoted(key, quoted),
            _ => Line::plain(key, rest),
        }
    }

    fn closing(key: &[u8], rest: &[u8]) -> Line {
        if key.len() == 1 && is_comment_or_empty(rest) {
            return Line::End;
        }
        Line::wrong("} must stand alone on its line", Line::End)
    }

    /// A value without quotes ends before the first `#`.
    fn plain(key: &[u8], rest: &[u8]) -> Line {
        let end = rest.iter().position(|byte| *byte == b'#').unwrap_or(rest.len());
        let key = key.into();
        match trim(&rest[..end]) {
            [value @ .., b'{'] => Line::Begin { key, value: trim(value).into() },
            value => Line::Pair { key, value: value.into() },
        }
    }

    /// A value after its opening quote.
    fn quoted(key: &[u8], quoted: &[u8]) -> Line {
        let key = key.into();
        let Unquoted { value, rest, odd } = unquote(quoted);
        let Some(rest) = rest else {
            // The brace is more likely a block's than a part of the value.
            let meant = match value.as_slice() {
                [inner @ .., b'{'] => Line::Begin { key, value: trim(inner).into() },
                _ => Line::Pair { key, value: value.into() },
            };
            return Line::wrong("the value has no closing \"", meant);
        };
        let value = value.into();
        let line = match trim(rest) {
            rest if is_comment_or_empty(rest) => Line::Pair { key, value },
            [b'{', after @ ..] if is_comment_or_empty(trim(after)) => Line::Begin { key, value },
            [b'{', ..] => Line::wrong("only a comment may follow {", Line::Begin { key, value }),
            [.., b'{'] => Line::wrong(AFTER_QUOTE, Line::Begin { key, value }),
            _ => Line::wrong(AFTER_QUOTE, Line::Pair { key, value }),
        };
        if odd { Line::Odd { why: ODD_ESCAPE, meant: Box::new(line) } } else { line }
    }

    fn wrong(why: &'static str, meant: Line) -> Line {
        Line::Wrong { why, meant: Box::new(meant) }
    }
}

const AFTER_QUOTE: &str =
    "only { or a comment may follow the closing \"; write \\\" for a quote inside";
const ODD_ESCAPE: &str = "only \\\" and \\\\ are escapes; other backslashes stand for themselves";

struct Unquoted<'l> {
    value: Vec<u8>,
    /// What follows the closing quote; `None` if there is none.
    rest: Option<&'l [u8]>,
    /// Whether a backslash stood before something else than a quote or a backslash.
    odd: bool,
}

/// Reads up to the closing quote. `\"` is a quote and `\\` a backslash; before anything else a
/// backslash stands for itself.
fn unquote(quoted: &[u8]) -> Unquoted<'_> {
    let mut value = Vec::with_capacity(quoted.len());
    let mut odd = false;
    let mut rest = quoted;
    loop {
        match rest {
            [] => return Unquoted { value, rest: None, odd },
            [b'"', after @ ..] => return Unquoted { value, rest: Some(after), odd },
            [b'\\', escaped @ (b'"' | b'\\'), after @ ..] => {
                value.push(*escaped);
                rest = after;
            }
            [byte, after @ ..] => {
                odd |= *byte == b'\\';
                value.push(*byte);
                rest = after;
            }
        }
    }
}

fn is_comment_or_empty(text: &[u8]) -> bool {
    matches!(text, [] | [b'#', ..])
}

/// Without blanks at both ends. A carriage return is one, or files of other systems would fail.
fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c');
    let Some(start) = text.iter().position(|byte| !blank(byte)) else { return &[] };
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    if path.as_os_str().is_empty() {
        return Err("filename is empty".to_owned());
    }
    match std::env::current_dir() {
        _ if path.is_absolute() => Ok(path.to_owned()),
        Ok(current) => Ok(current.join(path)),
        Err(error) => Err(format!("get current directory fail {}", without_number(&error))),
    }
}

/// The path that `name` means in the file `parent`: predixy joins the texts and no more.
fn beside(parent: &Path, name: &[u8]) -> PathBuf {
    if name[0] == b'/' {
        return PathBuf::from(OsStr::from_bytes(name));
    }
    let parent = parent.as_os_str().as_bytes();
    let folder_end = parent.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let path = [&parent[..folder_end], name].concat();
    PathBuf::from(OsStr::from_bytes(&path))
}

/// The same for all spellings of a path. A link to a file is not the file: what it includes is
/// looked for beside the link.
fn identity(path: &Path) -> PathBuf {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_owned();
    };
    match folder.canonicalize() {
        Ok(folder) => folder.join(name),
        Err(_) => path.to_owned(),
    }
}

/// `No such file or directory`, without std's ` (os error 2)`.
fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> Line {
        Line::Pair { key: key.as_bytes().into(), value: value.as_bytes().into() }
    }

    fn begin(key: &str, value: &str) -> Line {
        Line::Begin { key: key.as_bytes().into(), value: value.as_bytes().into() }
    }

    fn wrong(why: &'static str, meant: Line) -> Line {
        Line::wrong(why, meant)
    }

    /// A line must mean the same with a carriage return at its end, and with blanks before it.
    #[track_caller]
    fn check(line: &str, want: Line) {
        assert_eq!(Line::parse(line.as_bytes()), want, "{line:?}");
        assert_eq!(Line::parse(format!("{line}\r").as_bytes()), want, "{line:?} and CR");
        assert_eq!(Line::parse(format!(" \t{line}").as_bytes()), want, "blanks and {line:?}");
    }

    #[test]
    fn a_line_may_be_blank() {
        check("", Line::Blank);
        check(" \t ", Line::Blank);
        check("# Key value {", Line::Blank);
    }

    #[test]
    fn a_value_without_quotes_ends_before_a_comment() {
        check("K   abc   ", pair("K", "abc"));
        check("K abc#def", pair("K", "abc"));
        check("K#abc", pair("K", ""));
        check("K # abc", pair("K", ""));
        check("K", pair("K", ""));
        check("\"K\" v", pair("\"K\"", "v"));
        check("K a \"b\" c", pair("K", "a \"b\" c"));
    }

    #[test]
    fn d23_only_trailing_blanks_are_trimmed() {
        check("K\tabc def  # c", pair("K", "abc def"));
        check("LogRotate 1d 2G", pair("LogRotate", "1d 2G"));
        check("KeyPrefix ab cd\t ef", pair("KeyPrefix", "ab cd\t ef"));
        check("bj 20 5", pair("bj", "20 5"));
        check("Auth a b c {", begin("Auth", "a b c"));
    }

    #[test]
    fn a_value_in_quotes_may_hold_anything() {
        check("K \"abc#def\"", pair("K", "abc#def"));
        check("K \"a \\\"x\\\" b\"", pair("K", "a \"x\" b"));
        check("K \"a\\\\b\"", pair("K", "a\\b"));
        check("K \"a\\\\\"", pair("K", "a\\"));
        check("K \" a \" # c", pair("K", " a "));
        check("K \"\"", pair("K", ""));
        check("K \"{\"", pair("K", "{"));
    }

    #[test]
    fn another_backslash_stands_for_itself() {
        let odd = |value| Line::Odd { why: ODD_ESCAPE, meant: Box::new(pair("K", value)) };
        check("K \"a\\nb\"", odd("a\\nb"));
        check("K \"a\\n\\\"b\"", odd("a\\n\"b"));
    }

    #[test]
    fn a_string_must_end() {
        let why = "the value has no closing \"";
        check("K \"unterminated", wrong(why, pair("K", "unterminated")));
        check("K \"", wrong(why, pair("K", "")));
        check("Auth \"secret {", wrong(why, begin("Auth", "secret")));
    }

    #[test]
    fn a_brace_at_the_end_begins_a_block() {
        check("K {", begin("K", ""));
        check("K abc{", begin("K", "abc"));
        check("K abc {", begin("K", "abc"));
        check("K \"abc\" {", begin("K", "abc"));
        check("K \"abc\"{ # x", begin("K", "abc"));
        check("K {}", pair("K", "{}"));
    }

    #[test]
    fn d25_blanks_a_comment_or_a_carriage_return_may_follow_a_brace() {
        check("K abc { # c", begin("K", "abc"));
        check("K { \t", begin("K", ""));
        check("K {#", begin("K", ""));
        check("}  # note", Line::End);
        check("}", Line::End);
    }

    #[test]
    fn what_follows_a_quoted_value_or_a_brace_is_a_mistake() {
        check("K \"abc\" def", wrong(AFTER_QUOTE, pair("K", "abc")));
        check("K \"abc\" def {", wrong(AFTER_QUOTE, begin("K", "abc")));
        check("K \"abc\" { x", wrong("only a comment may follow {", begin("K", "abc")));
    }

    #[test]
    fn a_misplaced_brace_is_a_mistake_where_it_stands() {
        let alone = "} must stand alone on its line";
        check("} }", wrong(alone, Line::End));
        check("}}", wrong(alone, Line::End));
        check("}x", wrong(alone, Line::End));
        check("{", Line::LoneBrace);
        check("K{", wrong("a blank must stand before {", begin("K", "")));
        check("K{ x", pair("K{", "x"));
    }

    /// The tree as one line, and the mistakes.
    fn read(text: &str) -> (String, Vec<String>) {
        let mut report = Report::default();
        let tree = parse(Path::new("/c"), text.as_bytes(), &mut report);
        (show(&tree.nodes), report.errors.iter().map(ConfError::to_string).collect())
    }

    fn show(nodes: &[Node]) -> String {
        let show_one = |node: &Node| {
            let (key, value, line) = (node.key_text(), node.text(), node.place.line);
            match node.scope.as_slice() {
                [] => format!("{line}:{key}={value}"),
                scope => format!("{line}:{key}={value}({})", show(scope)),
            }
        };
        nodes.iter().map(show_one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn blocks_hold_lines_and_blocks() {
        let (tree, errors) = read("A 1\nB x {\n C 2\n D {\n  + 3\n }\n}\n\nE {\n}\nF");
        assert_eq!(tree, "1:A=1 2:B=x(3:C=2 4:D=(5:+=3)) 9:E= 11:F=");
        assert!(errors.is_empty(), "{errors:?}");
    }

    #[test]
    fn d25_a_file_may_have_carriage_returns_and_a_byte_order_mark() {
        let (tree, errors) = read("\u{feff}A 1\r\nB x {\r\n C 2\r\n}\r\nD\r\n");
        assert_eq!(tree, "1:A=1 2:B=x(3:C=2) 5:D=");
        assert!(errors.is_empty(), "{errors:?}");
    }

    #[test]
    fn braces_that_do_not_match_are_told() {
        check_errors("A\n}\n", &["parse error unmatched end scope in /c:2"]);
        check_errors(
            "A {\nB {\n",
            &["parse error some scope no end /c:2", "parse error some scope no end /c:1"],
        );
        check_errors(
            "A\n{\n}\n",
            &["parse error in /c:2: { must stand at the end of the line of its key"],
        );
        check_errors(
            "A {\nB \"x\" y\n}}\n",
            &[
                "parse error in /c:2: only { or a comment may follow the closing \"; write \\\" for a quote inside",
                "parse error in /c:3: } must stand alone on its line",
            ],
        );
    }

    #[track_caller]
    fn check_errors(text: &str, want: &[&str]) {
        assert_eq!(read(text).1, want);
        assert_eq!(read(&text.replace('\n', "\r\n")).1, want, "with carriage returns");
    }

    #[test]
    fn ten_blocks_may_stand_in_each_other() {
        let nested = |depth| "A {\n".repeat(depth) + "B\n" + &"}\n".repeat(depth);
        check_errors(&nested(10), &[]);
        check_errors(&nested(11), &["node depth limit 10 in /c:11"]);
        check_errors(&nested(100), &["node depth limit 10 in /c:11"]);
        let (tree, _) = read(&(nested(12) + "C 1\n"));
        assert!(tree.ends_with(" 26:C=1"), "{tree}");
    }

    #[test]
    fn a_hundred_thousand_open_blocks_are_no_harm() {
        let (_, errors) = read(&"A {\n".repeat(100_000));
        assert_eq!(errors.len(), 11);
    }

    #[test]
    fn a_path_has_one_identity() {
        let here = std::env::current_dir().unwrap();
        let plain = here.join("a.conf");
        assert_eq!(identity(&here.join("./a.conf")), identity(&plain));
        assert_eq!(identity(&here.join("src/../a.conf")), identity(&plain));
        assert_ne!(identity(&here.join("src/a.conf")), identity(&plain));
    }

    #[test]
    fn an_included_path_begins_where_the_including_file_is() {
        let check = |parent: &str, name: &str, want: &str| {
            assert_eq!(beside(Path::new(parent), name.as_bytes()), Path::new(want));
        };
        check("/etc/predixy.conf", "auth.conf", "/etc/auth.conf");
        check("/etc/./predixy.conf", "inc/auth.conf", "/etc/./inc/auth.conf");
        check("/predixy.conf", "auth.conf", "/auth.conf");
        check("/etc/predixy.conf", "/srv/auth.conf", "/srv/auth.conf");
    }
}
