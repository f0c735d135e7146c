//! The arguments of the program, and what it prints about itself. Prints nothing.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::{ConfError, Override};
use crate::base::address::Address;

/// What the arguments ask for.
#[derive(Debug)]
pub enum CommandLine {
    /// Start with this file.
    Run {
        /// The configuration file.
        path: PathBuf,
        /// What the arguments set instead of the file.
        overrides: Vec<Override>,
    },
    /// Read and check this file, say `ok` or all mistakes, and end with 0 or 1.
    Check {
        /// The configuration file.
        path: PathBuf,
        /// What the arguments set instead of the file.
        overrides: Vec<Override>,
    },
    /// Say what would become of a request under this file.
    Explain {
        /// The configuration file.
        path: PathBuf,
        /// The user whose rights are asked for.
        user: Option<String>,
        /// The request.
        words: Vec<Vec<u8>>,
    },
    /// Show the status of the proxy whose `MetricsBind` is here.
    Top {
        /// The address.
        address: Address,
    },
    /// Print [`usage`] on standard error and end with 0.
    Help,
    /// Print [`version`] on standard error and end with 0.
    Version,
    /// Print [`usage`] and [`ConfError::running_exception`] on standard error and end with 1.
    Wrong(ConfError),
}

impl CommandLine {
    /// Reads the arguments; the first is the program's own name.
    #[must_use]
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> CommandLine {
        let mut arguments = arguments.into_iter();
        let program = arguments.next().unwrap_or_default();
        let Some(first) = arguments.next() else { return no_file(&program) };
        match first.as_bytes() {
            b"-h" | b"--help" => CommandLine::Help,
            b"-v" | b"--version" => CommandLine::Version,
            b"-t" | b"--check" => match arguments.next() {
                None => no_file(&program),
                Some(path) => match overrides(arguments) {
                    Ok(overrides) => CommandLine::Check { path: path.into(), overrides },
                    Err(error) => CommandLine::Wrong(error),
                },
            },
            b"--explain" => explain(&program, arguments),
            b"--top" => top(&program, arguments),
            _ => match overrides(arguments) {
                Ok(overrides) => CommandLine::Run { path: first.into(), overrides },
                Err(error) => CommandLine::Wrong(error),
            },
        }
    }
}

/// How to call the program, in predixy's words, and what we have besides.
#[must_use]
pub fn usage(program: &OsStr) -> String {
    let program = program.display();
    format!(
        "Usage: \n   \
            {program} <conf-file> [options]\n   \
            {program} -h or --help\n   \
            {program} -v or --version\n\
         \n\
         Options:\n   \
            --Name=name        set current service name\n   \
            --Bind=addr        set bind address, eg:127.0.0.1:7617, /tmp/predixy\n   \
            --WorkerThreads=N  set worker threads\n   \
            --LocalDC=dc       set local dc\n\
         \n\
         More:\n   \
            {program} -t or --check <conf-file> [options]\n   \
            {program} --explain <conf-file> [--User=name] command [argument ...]\n   \
            {program} --top <addr of MetricsBind>\n"
    )
}

/// Which program this is, as predixy says it.
#[must_use]
pub fn version(program: &OsStr) -> String {
    format!("{} predixy-{}\n", program.display(), env!("CARGO_PKG_VERSION"))
}

/// The keys that the command line may set.
const OPTIONS: &[&str] = &["Name", "Bind", "WorkerThreads", "LocalDC"];

fn overrides(arguments: impl Iterator<Item = OsString>) -> Result<Vec<Override>, ConfError> {
    arguments.map(one_override).collect()
}

fn one_override(argument: OsString) -> Result<Override, ConfError> {
    let argument = argument.into_vec();
    for &name in OPTIONS {
        if let Some(value) = value_of(&argument, name) {
            return Ok(Override { name, value: value.to_vec() });
        }
    }
    let argument = String::from_utf8_lossy(&argument);
    Err(ConfError::new(None, format!("invalid argument \"{argument}\"")))
}

/// What follows `--name=`, with the name in any case.
fn value_of<'a>(argument: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (given, value) = argument.strip_prefix(b"--")?.split_at_checked(name.len())?;
    given.eq_ignore_ascii_case(name.as_bytes()).then_some(value)?.strip_prefix(b"=")
}

/// `--explain FILE [--User=name] COMMAND ...`
fn explain(program: &OsStr, mut arguments: impl Iterator<Item = OsString>) -> CommandLine {
    let Some(path) = arguments.next() else { return no_file(program) };
    let mut words: Vec<Vec<u8>> = arguments.map(OsString::into_vec).collect();
    let user = words.first().and_then(|word| value_of(word, "User"));
    let user = user.map(|user| String::from_utf8_lossy(user).into_owned());
    if user.is_some() {
        words.remove(0);
    }
    if words.is_empty() {
        let message =
            "--explain wants a command behind the file, as in --explain predixy.conf GET key";
        return CommandLine::Wrong(ConfError::new(None, message.to_owned()));
    }
    CommandLine::Explain { path: path.into(), user, words }
}

/// `--top ADDR`
fn top(program: &OsStr, mut arguments: impl Iterator<Item = OsString>) -> CommandLine {
    let (Some(address), None) = (arguments.next(), arguments.next()) else {
        return no_file(program);
    };
    match Address::parse(&address.to_string_lossy()) {
        Ok(address) => CommandLine::Top { address },
        Err(error) => {
            let message = format!("--top invalid addr {}: it {error}", address.display());
            CommandLine::Wrong(ConfError::new(None, message))
        }
    }
}

fn no_file(program: &OsStr) -> CommandLine {
    let message = format!("start {} arguments invalid", program.display());
    CommandLine::Wrong(ConfError::new(None, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> CommandLine {
        CommandLine::parse(arguments.split(' ').filter(|word| !word.is_empty()).map(OsString::from))
    }

    /// File and overrides of a start, or of a check.
    #[track_caller]
    fn check(arguments: &str, file: &str, want: &[(&str, &str)]) {
        let (path, overrides) = match parse(arguments) {
            CommandLine::Run { path, overrides } | CommandLine::Check { path, overrides } => {
                (path, overrides)
            }
            other => panic!("{arguments}: {other:?}"),
        };
        assert_eq!(path, PathBuf::from(file));
        let got: Vec<_> = overrides
            .iter()
            .map(|one| (one.name, String::from_utf8_lossy(&one.value).into_owned()))
            .collect();
        let want: Vec<_> = want.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        assert_eq!(got, want);
    }

    #[track_caller]
    fn check_wrong(arguments: &str, want: &str) {
        match parse(arguments) {
            CommandLine::Wrong(error) => assert_eq!(error.to_string(), want),
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn the_first_argument_decides() {
        assert!(matches!(parse("predixy -h"), CommandLine::Help));
        assert!(matches!(parse("predixy --help more"), CommandLine::Help));
        assert!(matches!(parse("predixy -v"), CommandLine::Version));
        assert!(matches!(parse("predixy --version"), CommandLine::Version));
        assert!(matches!(parse("predixy -t a.conf"), CommandLine::Check { .. }));
        assert!(matches!(parse("predixy a.conf"), CommandLine::Run { .. }));
        check("predixy --check a.conf --Name=x", "a.conf", &[("Name", "x")]);
        check("predixy -V", "-V", &[]);
        check_wrong("predixy", "start predixy arguments invalid");
        check_wrong("predixy -t", "start predixy arguments invalid");
        check_wrong("", "start  arguments invalid");
        check_wrong("predixy a.conf -v", "invalid argument \"-v\"");
    }

    #[test]
    fn options_are_prefixes_in_any_case() {
        check(
            "predixy a.conf --Name=a=b --BIND=/tmp/x --workerthreads=4 --LocalDC= --name=c",
            "a.conf",
            &[
                ("Name", "a=b"),
                ("Bind", "/tmp/x"),
                ("WorkerThreads", "4"),
                ("LocalDC", ""),
                ("Name", "c"),
            ],
        );
        check_wrong("predixy a.conf --Name x", "invalid argument \"--Name\"");
        check_wrong("predixy a.conf --Names=x", "invalid argument \"--Names=x\"");
        check_wrong("predixy a.conf -Name=x", "invalid argument \"-Name=x\"");
        check_wrong("predixy a.conf --Log=x", "invalid argument \"--Log=x\"");
    }

    #[test]
    fn an_explanation_is_of_a_file_and_a_request() {
        match parse("predixy --explain a.conf --user=web GET --user=x") {
            CommandLine::Explain { path, user, words } => {
                assert_eq!((path, user), (PathBuf::from("a.conf"), Some("web".to_owned())));
                assert_eq!(words, [b"GET".to_vec(), b"--user=x".to_vec()]);
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            parse("predixy --explain a GET k"),
            CommandLine::Explain { user: None, .. }
        ));
        assert!(matches!(parse("predixy --top 127.0.0.1:9617"), CommandLine::Top { .. }));
        check_wrong("predixy --explain", "start predixy arguments invalid");
        check_wrong("predixy --top", "start predixy arguments invalid");
        check_wrong("predixy --top a:1 b:2", "start predixy arguments invalid");
        assert!(matches!(parse("predixy --explain a --User=x"), CommandLine::Wrong(_)));
        assert!(matches!(parse("predixy --top 127.0.0.1"), CommandLine::Wrong(_)));
    }

    #[test]
    fn the_usage_is_predixys() {
        let want = "Usage: \n   ./p <conf-file> [options]\n   ./p -h or --help\n   \
                    ./p -v or --version\n\nOptions:\n   --Name=name        set current service name\n   \
                    --Bind=addr        set bind address, eg:127.0.0.1:7617, /tmp/predixy\n   \
                    --WorkerThreads=N  set worker threads\n   --LocalDC=dc       set local dc\n";
        let usage = usage(OsStr::new("./p"));
        assert!(usage.starts_with(want), "{usage}");
        assert!(usage.contains("./p --top <addr of MetricsBind>\n"), "{usage}");
        assert!(version(OsStr::new("./p")).starts_with("./p predixy-"));
    }

    #[test]
    fn a_wrong_argument_is_told_as_predixy_does() {
        let CommandLine::Wrong(error) = parse("predixy") else { panic!("accepted") };
        let line = error.running_exception();
        let rest = line.strip_prefix("predixy running exception:command_line.rs:").unwrap();
        assert_eq!(rest.split_once(' ').unwrap().1, "start predixy arguments invalid");
    }
}
