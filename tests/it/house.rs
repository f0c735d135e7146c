//! The scripts that people meet first: `make try` and `make install`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Client, Process, SOON, Scratch, bulk, ok, program_exists, wait_until};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ci").join(name)
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .map(|entries| entries.flatten().collect())
        .unwrap_or_else(|_| Vec::new());
    let mut names: Vec<String> =
        entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn make_try_starts_a_cluster_and_removes_everything() {
    if !program_exists("redis-cli") {
        eprintln!("skipped: no redis-cli");
        return;
    }
    let (temporary, own) = (Scratch::new("try"), Scratch::new("try-output"));
    let output = File::create(own.path().join("output")).unwrap();
    let mut command = Command::new("sh");
    command.arg(script("try.sh")).arg(crate::support::binary()).env("TMPDIR", temporary.path());
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let mut process = Process::start(&mut command);
    wait_until(SOON * 2, "it to say how to connect", || {
        assert_eq!(process.ended(), None, "{}", own.read("output"));
        own.read("output").contains("Ctrl-C ends")
    });
    let said = own.read("output");
    let number_after = |text: &str| -> u16 {
        let rest = said.split_once(text).expect(&said).1;
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().expect(&said)
    };
    let mut client = Client::to_port(number_after("redis-cli -p "));
    for number in 0..20 {
        let key = format!("try:{number}");
        assert_eq!(client.cmd(&["SET", &key, "1"]), ok());
        assert_eq!(client.cmd(&["GET", &key]), bulk("1"));
    }
    assert_eq!(entries(temporary.path()).len(), 1);
    let first = number_after("on the ports ");
    process.signal("TERM");
    assert!(process.wait(SOON).is_some(), "does not end");
    assert_eq!(entries(temporary.path()), [""; 0], "something was left behind");
    for port in first..first + 6 {
        assert!(
            Client::try_connect(&crate::support::Address::Tcp(port)).is_err(),
            "a server lives on at {port}"
        );
    }
}

/// Runs `ci/install.sh` for a folder and tells what it printed.
fn install(what: &str, root: &Path) -> String {
    let mut command = Command::new("sh");
    command.arg(script("install.sh")).arg(what).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("BINARY", crate::support::binary());
    for (name, folder) in [("BINDIR", "bin"), ("MANDIR", "man"), ("CONFDIR", "etc/predixy")] {
        command.env(name, root.join(folder));
    }
    let output = command.output().expect("sh");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn install_never_touches_a_changed_configuration() {
    let scratch = Scratch::new("install");
    let root = scratch.path();
    assert_eq!(install("install", root), "");
    assert_eq!(entries(&root.join("bin")), ["predixy"]);
    let conf = root.join("etc/predixy/predixy.conf");
    if !conf.exists() {
        eprintln!("skipped: no sample files yet");
        return;
    }
    assert_eq!(install("install", root), "", "what is unchanged is no news");
    fs::write(&conf, "Name mine\n").unwrap();
    assert!(install("install", root).contains("kept"));
    assert_eq!(fs::read_to_string(&conf).unwrap(), "Name mine\n");
    assert!(root.join("etc/predixy/predixy.conf.new").exists());
    assert!(install("uninstall", root).contains("kept"));
    assert_eq!(entries(&root.join("etc/predixy")), ["predixy.conf"]);
    assert_eq!(entries(&root.join("bin")), [""; 0]);
    assert_eq!(entries(&root.join("man/man5")), [""; 0]);
}
