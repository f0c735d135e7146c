//! Arguments in, exit code out, every word of it.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Proxy, Scratch, binary, original_differs, shared_cluster};

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the program under test")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The usage text of predixy; ours may say more at its end.
fn usage() -> String {
    let name = binary().display().to_string();
    format!(
        "Usage: \n   {name} <conf-file> [options]\n   {name} -h or --help\n   {name} -v or --version\n\nOptions:\n   \
         --Name=name        set current service name\n   \
         --Bind=addr        set bind address, eg:127.0.0.1:7617, /tmp/predixy\n   \
         --WorkerThreads=N  set worker threads\n   \
         --LocalDC=dc       set local dc\n"
    )
}

/// Every line of predixy's usage is there, in its order.
#[track_caller]
fn expect_usage(text: &str) {
    let mut lines = text.lines();
    for line in usage().lines() {
        assert!(lines.any(|have| have == line), "no {line:?} in its place in\n{text}");
    }
}

#[test]
fn help_is_on_standard_error() {
    for flag in ["-h", "--help"] {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stdout.is_empty());
        expect_usage(&printed(&output));
    }
}

#[test]
fn the_version_is_on_standard_error() {
    for flag in ["-v", "--version"] {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0));
        let text = printed(&output);
        let version = text.strip_prefix(&format!("{} predixy-", binary().display())).expect(&text);
        assert!(version.trim_end().split('.').count() == 3, "{text}");
    }
}

#[test]
fn no_argument_is_a_mistake() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    expect_usage(&printed(&output));
    assert!(printed(&output).contains("arguments invalid"), "{}", printed(&output));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let scratch = Scratch::new("missing");
    let path = scratch.path().join("missing.conf");
    let output = run(&[path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = printed(&output);
    assert!(text.contains(path.to_str().unwrap()) && text.contains("No such file"), "{text}");
}

#[test]
fn a_folder_in_its_place_is_a_mistake() {
    let output = run(&["/"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn an_option_that_does_not_exist_is_named() {
    let scratch = Scratch::new("option");
    let file = scratch.write("a.conf", &shared_cluster().conf());
    for option in ["--Nonsense=1", "nonsense", "-v", "--Name"] {
        let output = run(&[file.to_str().unwrap(), option]);
        assert_eq!(output.status.code(), Some(1), "{option}");
        assert!(
            printed(&output).contains(&format!("invalid argument \"{option}\"")),
            "{}",
            printed(&output)
        );
        expect_usage(&printed(&output));
    }
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_line() {
    let scratch = Scratch::new("mistake");
    let file = scratch.write("a.conf", "Name a\nNonsense 1\n");
    let output = run(&[file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = printed(&output);
    assert!(text.contains(&format!("{}:2", file.display())) && text.contains("Nonsense"), "{text}");
}

#[test]
fn options_override_the_file_and_the_last_one_wins() {
    let conf = format!("Name file\nWorkerThreads 1\n{}", shared_cluster().conf());
    let proxy = Proxy::with(&conf)
        .argument("--Name=first")
        .argument("--workerthreads=3")
        .argument("--NAME=last")
        .start();
    let info = proxy.client().line("INFO proxy").text();
    assert!(info.contains("\nName:last\n") && info.contains("\nWorkerThreads:3\n"), "{info}");
}

#[test]
fn check_says_ok_or_every_mistake() {
    if original_differs("has no -t") {
        return;
    }
    let scratch = Scratch::new("check");
    let good = scratch.write("good.conf", &shared_cluster().conf());
    let bad = scratch.write("bad.conf", "Nonsense 1\nWorkerThreads x\nClusterServerPool {\n}\n");
    for flag in ["-t", "--check"] {
        let output = run(&[flag, good.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let all = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8_lossy(&all).contains("ok"));
        let output = run(&[flag, bad.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let all = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        for line in [1, 2] {
            assert!(all.contains(&format!("bad.conf:{line}")), "line {line}: {all}");
        }
    }
}

#[test]
fn the_sample_files_are_accepted() {
    if original_differs("has no -t") {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let sample = folder.join("predixy.conf");
    let output =
        Command::new(binary()).arg("-t").arg(&sample).output().expect("the program under test");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

/// As with `predixy -t file | head -1`: that is not a reason to end with a panic.
#[test]
fn whoever_closes_its_output_keeps_it_from_nothing() {
    if original_differs("has no -t") {
        return;
    }
    let scratch = Scratch::new("unread");
    let good = scratch.write("good.conf", &shared_cluster().conf());
    let bad = scratch.write("bad.conf", "Nonsense 1\n");
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    for (arguments, code) in [
        (&["-t", good][..], 0),
        (&["-t", bad], 1),
        (&["--explain", good, "GET", "a"], 0),
        (&["-h"], 0),
        (&[bad], 1),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(binary());
        command.args(arguments).stdout(writer.try_clone().expect("a second end")).stderr(writer);
        let status = command.status().expect("the program under test");
        assert_eq!(status.code(), Some(code), "{arguments:?} ends with {status}");
    }
}
