//! redis-cli and redis-benchmark, as people run them.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Proxy, program_exists, shared_cluster};

fn proxy() -> Proxy {
    Proxy::for_cluster(shared_cluster())
}

/// Runs redis-cli with these lines as its input and tells what it prints.
fn redis_cli(proxy: &Proxy, lines: &str) -> String {
    let mut command = Command::new("redis-cli");
    command
        .args(["-p", &proxy.port().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("redis-cli");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("redis-cli to read");
    let output = child.wait_with_output().expect("redis-cli to end");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_session_of_redis_cli() {
    if !program_exists("redis-cli") {
        eprintln!("skipped: no redis-cli");
        return;
    }
    let proxy = proxy();
    let session = "set cli:a 1\nincr cli:a\nmset cli:b 2 cli:c 3\nmget cli:a cli:b cli:c none\ndel cli:a cli:b cli:c\nping\n";
    let printed = redis_cli(&proxy, session);
    assert_eq!(printed.split_whitespace().collect::<Vec<&str>>().join(" "), "OK 2 OK 2 2 3 3 PONG");
    assert!(redis_cli(&proxy, "info\n").contains("# Servers"));
}

#[test]
fn redis_benchmark_runs_its_default_tests() {
    if !program_exists("redis-benchmark") {
        eprintln!("skipped: no redis-benchmark");
        return;
    }
    let proxy = proxy();
    let port = proxy.port().to_string();
    for more in [["-P", "1"], ["-P", "16"]] {
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &port, "-q", "-n", "1000", "-c", "20", "-r", "1000"]).args(more);
        let output = command.output().expect("redis-benchmark");
        let printed =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}");
        let complaint =
            printed.lines().any(|line| line.contains("rror") && !line.contains("CONFIG"));
        assert!(!complaint, "{printed}");
        for test in [
            "PING_INLINE",
            "PING_MBULK",
            "SET",
            "GET",
            "INCR",
            "LPUSH",
            "SADD",
            "LRANGE_100",
            "MSET",
        ] {
            assert!(
                printed.contains(&format!("{test}: ")) || printed.contains(&format!("{test} (")),
                "{test}: {printed}"
            );
        }
    }
}
