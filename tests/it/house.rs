//! The scripts that people meet first: `make try` and `make install`, and what is installed.

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

/// Runs `ci/install.sh` for a folder in the place of `/`, laid out for `system`; what it printed.
fn install(what: &str, system: &str, root: &Path) -> String {
    let mut command = Command::new("sh");
    command.arg(script("install.sh")).arg(what).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("BINARY", crate::support::binary()).env("SYSTEM", system).env("DESTDIR", root);
    let output = command.output().expect("sh");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All files below a folder, by their paths in it.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                found.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn install_never_touches_a_changed_configuration() {
    let scratch = Scratch::new("install");
    let root = scratch.path();
    assert_eq!(install("install", "Linux", root), "");
    let first = files(root);
    let conf = root.join("usr/local/etc/predixy/predixy.conf");
    assert_eq!(install("install", "Linux", root), "", "what is unchanged is no news");
    fs::write(&conf, "Name mine\n").unwrap();
    assert!(install("install", "Linux", root).contains("kept"));
    assert_eq!(fs::read_to_string(&conf).unwrap(), "Name mine\n");
    assert!(root.join("usr/local/etc/predixy/predixy.conf.new").exists());
    assert_eq!(files(root).len(), first.len() + 1);
    assert!(install("uninstall", "Linux", root).contains("kept"));
    assert_eq!(files(root), ["usr/local/etc/predixy/predixy.conf"]);
}

#[test]
fn install_knows_the_layout_of_each_system_and_uninstall_leaves_nothing() {
    let layouts = [
        (
            "Linux",
            "usr/local/lib/systemd/system/predixy.service",
            "usr/local/share/man",
            "usr/local/etc",
        ),
        ("FreeBSD", "usr/local/etc/rc.d/predixy", "usr/local/share/man", "usr/local/etc"),
        ("OpenBSD", "etc/rc.d/predixy", "usr/local/man", "etc"),
        (
            "Darwin",
            "usr/local/share/examples/predixy/org.predixy.plist",
            "usr/local/share/man",
            "usr/local/etc",
        ),
    ];
    for (system, service, manual, etc) in layouts {
        let scratch = Scratch::new("layout");
        let root = scratch.path();
        assert_eq!(install("install", system, root), "");
        let found = files(root);
        let conf = format!("{etc}/predixy/predixy.conf");
        let pages = [format!("{manual}/man8/predixy.8"), format!("{manual}/man5/predixy.conf.5")];
        for file in [service, "usr/local/bin/predixy", &conf]
            .into_iter()
            .chain(["usr/local/share/examples/predixy/haproxy.cfg"])
            .chain(pages.iter().map(|page| page.as_str()))
        {
            assert!(found.iter().any(|found| found == file), "{system}: no {file} in {found:?}");
        }
        let text = fs::read_to_string(root.join(service)).unwrap();
        assert!(!text.contains("@BINDIR@") && !text.contains("@CONFDIR@"), "{text}");
        assert!(text.contains("/usr/local/bin/predixy"), "{text}");
        assert!(text.contains(&format!("/{conf}")), "{text}");
        let version = Command::new(root.join("usr/local/bin/predixy")).arg("-v").output().unwrap();
        assert!(version.status.success(), "{version:?}");
        assert_eq!(install("uninstall", system, root), "");
        assert_eq!(files(root), [""; 0], "{system}");
    }
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    if !program_exists("systemd-analyze") {
        eprintln!("skipped: no systemd-analyze");
        return;
    }
    let scratch = Scratch::new("unit");
    let prefix = scratch.path().join("usr");
    let mut command = Command::new("sh");
    command.arg(script("install.sh")).arg("install").current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("BINARY", crate::support::binary()).env("SYSTEM", "Linux").env("PREFIX", &prefix);
    assert!(command.output().expect("sh").status.success());
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(prefix.join("lib/systemd/system/predixy.service"));
    let output = verify.output().expect("systemd-analyze");
    // It is content with an unknown key, but not silent.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn scripts_can_be_read_by_their_shells() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    let folders = ["ci", "conf/package/debian", "conf/service", "conf/completion"];
    for path in folders.iter().flat_map(|folder| {
        let folder = root.join(folder);
        entries(&folder).into_iter().map(move |name| folder.join(name))
    }) {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let shell = match text.lines().next().unwrap_or_default() {
            // The Korn shell of OpenBSD; what is said here, any shell of that family reads.
            "#!/bin/sh" | "#!/bin/ksh" => "sh",
            "#compdef predixy" => "zsh",
            _ if name.ends_with(".bash") => "bash",
            _ if name.ends_with(".fish") => "fish",
            _ => continue,
        };
        if program_exists(shell) {
            let output = Command::new(shell).arg("-n").arg(&path).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked}");
}

/// Every option that help tells of can be completed.
#[test]
fn completions_know_all_options() {
    let help = Command::new(crate::support::binary()).arg("-h").output().unwrap();
    let help = String::from_utf8_lossy(&help.stderr).into_owned();
    let words = help.split(|c: char| c.is_whitespace() || "[],".contains(c));
    let options = words.filter(|word| word.len() > 1 && word.starts_with('-'));
    let options: Vec<&str> = options.map(|word| word.split('=').next().unwrap()).collect();
    assert!(options.len() > 6, "{help}");
    for file in ["predixy.bash", "_predixy", "predixy.fish"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/completion").join(file);
        let text = fs::read_to_string(path).unwrap();
        for option in &options {
            let name = option.trim_start_matches('-');
            let known = match (file, option.starts_with("--")) {
                ("predixy.fish", true) => text.contains(&format!("--long-option {name} ")),
                ("predixy.fish", false) => text.contains(&format!("--short-option {name} ")),
                _ => text.contains(option),
            };
            assert!(known, "{file} does not know {option}");
        }
    }
}

#[test]
fn completion_for_bash_offers_what_fits() {
    if !program_exists("bash") {
        eprintln!("skipped: no bash");
        return;
    }
    let complete = |words: &str| {
        let script = format!(
            "cd {}; source conf/completion/predixy.bash; COMP_WORDS=({words}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _predixy 2>/dev/null; echo ${{COMPREPLY[*]}}",
            env!("CARGO_MANIFEST_DIR")
        );
        let output = Command::new("bash").arg("-c").arg(script).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(complete("predixy --c"), "--check");
    assert_eq!(complete("predixy conf/predi"), "conf/predixy.conf");
    assert_eq!(complete("predixy -t conf/clus"), "conf/cluster.conf");
    assert_eq!(complete("predixy a.conf --W"), "--WorkerThreads=");
    assert_eq!(complete("predixy a.conf --WorkerThreads = a"), "auto");
    assert_eq!(complete("predixy a.conf --Bind = conf/predi"), "conf/predixy.conf");
    assert_eq!(complete("predixy -h --"), "");
}
