//! The `predixy` command: arguments in, exit code out; the only place that prints or exits.

use std::env;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use predixy::base::address::Address;
use predixy::conf::command_line::{self, CommandLine};
use predixy::conf::{Conf, ConfError, Override};
use predixy::proxy::explain::{self, Question};
use predixy::proxy::upgrade::Predecessor;
use predixy::proxy::{self, Proxy, memory_bound, top};
use predixy::sys::resource;
use predixy::sys::signal::Signals;
use predixy::sys::terminal::Terminal;

fn main() -> ExitCode {
    let program = env::args_os().next().unwrap_or_default();
    match CommandLine::parse(env::args_os()) {
        CommandLine::Help => {
            complain(&command_line::usage(&program));
            ExitCode::SUCCESS
        }
        CommandLine::Version => {
            complain(&command_line::version(&program));
            ExitCode::SUCCESS
        }
        CommandLine::Wrong(error) => {
            complain(&command_line::usage(&program));
            fail(&error)
        }
        CommandLine::Check { path, overrides } => check(&path, &overrides),
        CommandLine::Explain { path, user, words } => explain(&path, Question { words, user }),
        CommandLine::Top { address } => top(&address),
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
            complain("predixy will quit ASAP Bye!\n");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn check(path: &Path, overrides: &[Override]) -> ExitCode {
    match Conf::load(path, overrides) {
        Ok(conf) => {
            for warning in &conf.warnings {
                show(&format!("warning: {warning}\n"));
            }
            show("ok\n");
            let threads = proxy::threads(&conf);
            let descriptors = resource::raise_descriptor_limit();
            let clients_max = proxy::clients_max(descriptors, threads as u64);
            show(&memory_bound::report(&conf, threads, clients_max));
            ExitCode::SUCCESS
        }
        Err(errors) => {
            for error in errors {
                show(&format!("{error}\n"));
            }
            ExitCode::FAILURE
        }
    }
}

fn explain(path: &Path, question: Question) -> ExitCode {
    match Conf::load(path, &[]) {
        Ok(conf) => {
            show(&explain::explain(&conf, &question));
            ExitCode::SUCCESS
        }
        Err(errors) => {
            for error in errors {
                show(&format!("{error}\n"));
            }
            ExitCode::FAILURE
        }
    }
}

/// Shows the status again and again until somebody presses q; where there is no terminal, once.
fn top(address: &Address) -> ExitCode {
    let told = match Terminal::take() {
        Ok(Some(terminal)) => watch(address, &terminal),
        Ok(None) => top::look(address, None).map(|text| show(&text)),
        Err(error) => Err(format!("the terminal cannot be used: {error}")),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn watch(address: &Address, terminal: &Terminal) -> Result<(), String> {
    // What cannot be shown at all is told on the screen as it was.
    let mut text = top::look(address, terminal.size())?;
    let signals = Signals::install().map_err(|error| error.to_string())?;
    // Another screen, without a cursor; the one before comes back in the end.
    show("\x1b[?1049h\x1b[?25l");
    loop {
        // Each line to its end, and what is below the last one, is erased as it is written.
        show(&format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\r\n")));
        if wants_to_leave(terminal, &signals) {
            break;
        }
        text = match top::look(address, terminal.size()) {
            Ok(text) => text,
            Err(error) => format!("{error}\n"),
        };
    }
    show("\x1b[?25h\x1b[?1049l");
    Ok(())
}

/// Waits for the time to look again. True if that is not wanted any more.
fn wants_to_leave(terminal: &Terminal, signals: &Signals) -> bool {
    for _ in 0..TOP_STEPS {
        match terminal.key(TOP_STEP_US) {
            Ok(Some(b'q' | b'Q' | CONTROL_C | CONTROL_D | ESCAPE)) | Err(_) => return true,
            // Any other key looks at once.
            Ok(Some(_)) => return false,
            Ok(None) => {}
        }
        if signals.wait(Some(0)).is_some() {
            return true;
        }
    }
    false
}

/// Writes to the standard output. Nobody need be told when nobody reads it.
fn show(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// The same on the standard error.
fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

const TOP_STEPS: usize = 10;
const TOP_STEP_US: u64 = 100_000;
const CONTROL_C: u8 = 3;
const CONTROL_D: u8 = 4;
const ESCAPE: u8 = 27;

fn fail(error: &ConfError) -> ExitCode {
    complain(&format!("{}\n", error.running_exception()));
    ExitCode::FAILURE
}
