//! The `predixy` command: arguments in, exit code out; the only place that prints or exits.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where it is said")]

use std::env;
use std::path::Path;
use std::process::ExitCode;

use predixy::conf::command_line::{self, CommandLine};
use predixy::conf::{Conf, ConfError, Override};
use predixy::proxy::Proxy;
use predixy::proxy::upgrade::Predecessor;

fn main() -> ExitCode {
    let program = env::args_os().next().unwrap_or_default();
    match CommandLine::parse(env::args_os()) {
        CommandLine::Help => {
            eprint!("{}", command_line::usage(&program));
            ExitCode::SUCCESS
        }
        CommandLine::Version => {
            eprint!("{}", command_line::version(&program));
            ExitCode::SUCCESS
        }
        CommandLine::Wrong(error) => {
            eprint!("{}", command_line::usage(&program));
            fail(&error)
        }
        CommandLine::Check { path, overrides } => check(&path, &overrides),
        CommandLine::Run { path, overrides } => run(&path, &overrides),
    }
}

fn run(path: &Path, overrides: &[Override]) -> ExitCode {
    let predecessor = Predecessor::find();
    let started = match Conf::load(path, overrides) {
        Ok(conf) => Proxy::new(conf, predecessor),
        Err(mut errors) => {
            if let (Some(predecessor), Some(error)) = (predecessor, errors.first()) {
                predecessor.give_up(&error.to_string());
            }
            // As predixy does, one line; `-t` shows all.
            errors.truncate(1);
            match errors.pop() {
                Some(error) => Err(error),
                None => return ExitCode::FAILURE,
            }
        }
    };
    match started.and_then(Proxy::run) {
        Ok(()) => {
            eprintln!("predixy will quit ASAP Bye!");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn check(path: &Path, overrides: &[Override]) -> ExitCode {
    match Conf::load(path, overrides) {
        Ok(conf) => {
            if let Some(missing) = Proxy::missing(&conf) {
                println!("{missing}");
                return ExitCode::FAILURE;
            }
            for warning in &conf.warnings {
                println!("warning: {warning}");
            }
            println!("ok");
            ExitCode::SUCCESS
        }
        Err(errors) => {
            for error in errors {
                println!("{error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn fail(error: &ConfError) -> ExitCode {
    eprintln!("{}", error.running_exception());
    ExitCode::FAILURE
}
