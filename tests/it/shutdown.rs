//! How it ends, and how it starts again where another has been.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{
    Answer, Client, FakeServer, Proxy, SOON, Scratch, bulk, ok, original_differs, shared_cluster,
    simple, wait_until, wire,
};

#[test]
fn sigterm_and_sigint_end_it_with_0() {
    for signal in ["TERM", "INT"] {
        let mut proxy = Proxy::for_cluster(shared_cluster());
        let mut idle = proxy.client();
        assert_eq!(idle.line("PING"), simple("PONG"));
        proxy.process().signal(signal);
        assert_eq!(proxy.wait_for_end().code(), Some(0), "{signal}");
        idle.expect_closed();
    }
}

#[test]
fn d50_sigterm_waits_for_what_is_under_way() {
    if original_differs("D-50: drops it") {
        return;
    }
    let released = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&released);
    let fakes = FakeServer::start_cluster(1, move |_, heard| match heard.name().as_str() {
        "GET" => {
            wait_until(SOON, "the test", || seen.load(Ordering::SeqCst));
            Answer::bulk("late")
        }
        _ => Answer::Usual,
    });
    let mut proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(1);
    let mut client = proxy.client();
    client.send(wire(&["GET", "k"]).repeat(3));
    wait_until(SOON, "the server to have it", || !fakes[0].heard_named("GET").is_empty());
    proxy.process().signal("TERM");
    wait_until(SOON, "nobody to be let in any more", || {
        Client::try_connect(proxy.address()).is_err()
    });
    released.store(true, Ordering::SeqCst);
    (0..3).for_each(|_| assert_eq!(client.reply(), bulk("late")));
    assert_eq!(proxy.wait_for_end().code(), Some(0));
}

#[test]
fn a_server_that_never_answers_does_not_keep_it_for_ever() {
    let fakes = FakeServer::start_cluster(1, |_, heard| match heard.name().as_str() {
        "GET" => Answer::Silence,
        _ => Answer::Usual,
    });
    let mut proxy = Proxy::start(&FakeServer::conf(&fakes, ""));
    proxy.wait_for_servers(1);
    let mut client = proxy.client();
    client.send(wire(&["GET", "k"]));
    wait_until(SOON, "the server to have it", || !fakes[0].heard_named("GET").is_empty());
    assert_eq!(proxy.terminate().code(), Some(0));
}

#[test]
fn it_listens_on_a_unix_socket() {
    let pool = shared_cluster().conf();
    let proxy = Proxy::start(&format!("Bind {{dir}}/socket\n{pool}"));
    let mut client = proxy.client();
    assert_eq!(client.line("PING"), simple("PONG"));
    wait_until(SOON, "a write to succeed", || client.line("SET unix:a 1") == ok());
    assert_eq!(client.line("GET unix:a"), bulk("1"));
}

#[test]
fn a_unix_socket_is_open_to_whom_the_file_says() {
    if original_differs("no UnixSocketPerm") {
        return;
    }
    let scratch = Scratch::new("perm");
    let path = scratch.path().join("socket");
    let told = || {
        let file = std::fs::metadata(&path).expect("a socket in the file system");
        (file.mode() & 0o777, file.gid())
    };
    let group = std::fs::metadata(scratch.path()).expect("a folder").gid();
    let (bind, pool) = (format!("Bind {}", path.display()), shared_cluster().conf());
    let conf =
        |perm: &str| format!("{bind}\nUnixSocketPerm {perm}\nUnixSocketGroup {group}\n{pool}");
    let mut proxy = Proxy::start(&conf("606"));
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
    assert_eq!(told(), (0o606, group));
    // Not while it runs, but when another process takes over.
    proxy.write_conf(&conf("0660"));
    proxy.upgrade();
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
    assert_eq!(told(), (0o660, group));
    for (line, want) in [
        (
            "UnixSocketGroup no-such-group",
            "UnixSocketGroup no-such-group: there is no group no-such-group",
        ),
        ("UnixSocketPerm 888", "UnixSocketPerm invalid value 888; want octal digits, 000 to 777"),
    ] {
        let other = scratch.path().join("other");
        let file =
            scratch.write("wrong.conf", &format!("Bind {}\n{line}\n{pool}", other.display()));
        let output = std::process::Command::new(crate::support::binary()).arg(file).output();
        let output = output.expect("a program");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(want), "{said}");
        assert!(!other.exists(), "nothing is listened at");
    }
}

#[test]
fn d50_a_unix_socket_that_was_left_behind_is_no_obstacle() {
    if original_differs("D-50: refuses to start") {
        return;
    }
    let scratch = Scratch::new("stale");
    let path = scratch.path().join("socket");
    // A file of a socket stays when its process ends.
    drop(UnixListener::bind(&path).expect("a socket in the file system"));
    assert!(path.exists());
    let conf = format!("Bind {}\n{}", path.display(), shared_cluster().conf());
    let mut proxy = Proxy::start(&conf);
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
    assert_eq!(proxy.terminate().code(), Some(0));
    assert!(!path.exists(), "its own socket is gone with it");
}

#[test]
fn a_unix_socket_in_use_is_not_taken_away() {
    let scratch = Scratch::new("in-use");
    let path = scratch.path().join("socket");
    let conf = format!("Bind {}\n{}", path.display(), shared_cluster().conf());
    let proxy = Proxy::start(&conf);
    // The second would seem to start, since the first answers: ask for its end instead.
    let file = scratch.write("second.conf", &conf);
    let output = std::process::Command::new(crate::support::binary())
        .arg(file)
        .output()
        .expect("a second one");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(path.exists());
    assert_eq!(proxy.client().line("PING"), simple("PONG"));
}

#[test]
fn a_regular_file_in_the_place_of_the_socket_is_left_alone() {
    let scratch = Scratch::new("regular");
    let path = scratch.write("precious", "data");
    let file =
        scratch.write("a.conf", &format!("Bind {}\n{}", path.display(), shared_cluster().conf()));
    let output = std::process::Command::new(crate::support::binary())
        .arg(file)
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(scratch.read("precious"), "data");
}

#[test]
fn a_port_in_use_is_an_error_with_its_address() {
    let proxy = Proxy::for_cluster(shared_cluster());
    let scratch = Scratch::new("port-in-use");
    let bind = proxy.address().to_string();
    let file = scratch.write("a.conf", &format!("Bind {bind}\n{}", shared_cluster().conf()));
    let output = std::process::Command::new(crate::support::binary())
        .arg(file)
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(printed.contains(&bind), "{printed}");
}
