//! `--top`: the status in a terminal, and the bound on memory that `-t` tells.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::support::http::{METRICS, metrics_of};
use crate::support::{
    Proxy, SOON, Scratch, binary, free_port, original_differs, program_exists, shared_cluster,
    wait_until,
};

#[test]
fn piped_it_says_once_what_there_is() {
    if original_differs("no --top") {
        return;
    }
    let cluster = shared_cluster();
    let conf = format!("Name piped\n{METRICS}{}", cluster.conf());
    let proxy = Proxy::start(&conf);
    proxy.wait_for_servers(cluster.len());
    proxy.client().line("SET top:k x");
    let run = || Command::new(binary()).arg("--top").arg(metrics_of(&proxy)).output().unwrap();
    let mut text = String::new();
    wait_until(SOON, "the key to be among the first", || {
        let output = run();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        text = String::from_utf8(output.stdout).unwrap();
        text.contains("top:k")
    });
    assert!(text.starts_with("predixy piped  "), "{text}");
    assert!(text.contains("req/s") && text.contains("SERVER"), "{text}");
    let (_, servers) = text.split_once("SERVER").unwrap();
    assert_eq!(servers.matches(" master ").count(), 3, "{text}");
    assert!(!text.contains('\x1b'), "colours in a pipe: {text:?}");
}

#[test]
fn who_is_no_proxy_is_told_apart() {
    if original_differs("no --top") {
        return;
    }
    let run = |address: &str| {
        let output = Command::new(binary()).args(["--top", address]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let nobody = format!("127.0.0.1:{}", free_port());
    assert!(run(&nobody).contains(&format!("{nobody} does not answer: ")));
    // The port for clients: it answers, but in another language.
    let proxy = Proxy::start(&shared_cluster().conf());
    let port = format!("127.0.0.1:{}", proxy.port());
    assert!(run(&port).contains("give the address of MetricsBind"));
    // Somebody who means no good.
    let scratch = Scratch::new("top");
    let path = scratch.path().join("evil.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n\x1b]0;owned\x07\x1b[2Jhello\x1b[31m\n");
    });
    let output = Command::new(binary()).arg("--top").arg(&path).output().unwrap();
    server.join().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "]0;owned[2Jhello\x1b[31m\n");
}

/// In a terminal: another screen, again and again, until q; and the terminal is as before then.
#[test]
fn in_a_terminal_it_looks_again_until_q() {
    if original_differs("no --top") || !program_exists("script") {
        return;
    }
    let proxy = Proxy::start(&format!("{METRICS}{}", shared_cluster().conf()));
    let scratch = Scratch::new("top");
    let inner = format!(
        "stty rows 30 cols 90; stty -g > before; '{}' --top '{}'; echo $? > status; stty -g > after",
        binary().display(),
        metrics_of(&proxy).display()
    );
    let mut command = Command::new("script");
    command.args(["-qec", &inner, "typescript"]).current_dir(scratch.path());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    wait_until(SOON, "two looks", || {
        // Any key looks at once.
        let _ = keys.write_all(b" ");
        scratch.read("typescript").matches("\x1b[H").count() >= 2
    });
    keys.write_all(b"q").unwrap();
    let until = Instant::now() + SOON;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("it does not end: {}", scratch.read("typescript"));
        }
        thread::yield_now();
    }
    let screen = scratch.read("typescript");
    assert!(screen.contains("\x1b[?1049h") && screen.contains("\x1b[?1049l"), "{screen:?}");
    assert!(screen.contains("\x1b[?25l") && screen.contains("\x1b[?25h"), "{screen:?}");
    assert_eq!(scratch.read("status").trim(), "0");
    assert!(!scratch.read("before").is_empty());
    assert_eq!(scratch.read("before"), scratch.read("after"));
}

#[test]
fn a_check_tells_the_bound_on_memory() {
    if original_differs("no -t") {
        return;
    }
    let scratch = Scratch::new("check");
    let check = |lines: &str| {
        let path = scratch.write("predixy.conf", &format!("{lines}{}", shared_cluster().conf()));
        let output = Command::new(binary()).arg("-t").arg(path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = check("MaxClients 100\nClientQueryLimit 1M\nClientOutputLimit 1M\n");
    assert!(text.starts_with("ok\nmemory: at most 31."), "{text}");
    assert!(text.contains("100 (MaxClients) of 323 MB"), "{text}");
    assert!(check("").contains("(MaxClients auto)"));
    let none = check("ClientOutputLimit 0\n");
    assert!(none.contains("memory: no bound, because of ClientOutputLimit 0;"), "{none}");
}
