//! The n-th system call of a kind fails once, with each error that it may give, for n = 1, 2, 3, ...,
//! while a program of everyday things runs: the proxy may say at its start why it does not, and may
//! close the connection in question; it never dies, hangs, leaks or stops to serve.
//!
//! strace makes them fail, so the program under test is the one that people run. It counts for each
//! thread by itself. `make faults` takes every n there is; without `FAULTS` the first ones are enough.
//!
//! Left out is what no system does: EAGAIN to a read or a write that need not wait, after which an
//! edge-triggered multiplexor rightly waits for ever (the simulation has short reads and writes
//! instead); `close`, which frees the descriptor even when it fails; errors about wrong arguments;
//! and memory for the process itself, without which Rust gives up.

use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::support::{
    Client, Lost, MAYBE_DONE, NEVER_SENT, NO_SERVER, Proxy, RedisServer, SOON, Value, array, bulk,
    int, ok, original_differs, program_exists, simple, wait_until, wire,
};

/// A system call, and the errors that it may give.
struct Call {
    name: &'static str,
    /// Only where this file is concerned.
    path: Option<&'static str>,
    errors: &'static [&'static str],
}

const fn call(name: &'static str, errors: &'static [&'static str]) -> Call {
    Call { name, path: None, errors }
}

#[rustfmt::skip]
const CALLS: &[Call] = &[
    call("socket", &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES", "EAFNOSUPPORT"]),
    call("bind", &["EACCES", "EADDRNOTAVAIL", "ENOMEM"]),
    call("listen", &["EADDRINUSE"]),
    call("setsockopt", &["ENOMEM", "ENOPROTOOPT", "EPERM"]),
    call("getsockopt", &["ENOBUFS"]),
    call("getsockname", &["ENOBUFS"]),
    call("accept4", &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EINTR", "EPROTO", "EPERM", "ENOSYS", "EAGAIN"]),
    call("connect", &["ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EACCES", "EAGAIN", "EINTR"]),
    call("recvfrom", &["ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "ENOMEM", "EINTR"]),
    call("sendto", &["ECONNRESET", "EPIPE", "ETIMEDOUT", "ENOBUFS", "ENOMEM", "EINTR"]),
    call("sendmsg", &["ECONNRESET", "EPIPE", "ENOBUFS", "ENOMEM", "EINTR"]),
    call("epoll_create1", &["EMFILE", "ENFILE", "ENOMEM"]),
    call("epoll_ctl", &["ENOMEM", "ENOSPC"]),
    call("?epoll_wait,?epoll_pwait", &["EINTR"]),
    call("?poll,?ppoll", &["EINTR", "ENOMEM"]),
    call("eventfd2", &["EMFILE", "ENFILE", "ENOMEM", "ENOSYS"]),
    call("pipe2", &["EMFILE", "ENFILE"]),
    call("read", &["EINTR", "EIO"]),
    call("openat", &["EMFILE", "ENFILE", "EACCES", "EINTR"]),
    Call { name: "write", path: Some("{dir}/predixy.log"), errors: &["ENOSPC", "EIO", "EDQUOT", "EINTR"] },
    call("prctl", &["EPERM", "EINVAL"]),
    call("prlimit64", &["EPERM"]),
    call("?clone3,?clone", &["EAGAIN", "ENOMEM"]),
    call("shutdown", &["ENOTCONN"]),
    call("fcntl", &["EMFILE", "EINTR"]),
];

const CONF: &str =
    "Bind 127.0.0.1:{port}\nWorkerThreads 2\nLog {dir}/predixy.log\nClientOutputLimit 8M\n";

/// One fault.
struct Fault {
    call: &'static Call,
    error: &'static str,
    at: usize,
}

impl Fault {
    fn told(&self) -> String {
        format!("{}: {} at number {}", self.call.name, self.error, self.at)
    }
}

/// What a proxy has at rest, after the program has run.
#[derive(Clone, Copy, Debug)]
struct Rest {
    descriptors: usize,
    memory: u64,
}

/// Small buffers that may be spare, and are less than what the program has at any time.
const SPARE: u64 = 128 << 10;

/// Replies and errors that a fault explains.
const EXCUSES: [&str; 3] = [NEVER_SENT, MAYBE_DONE, NO_SERVER];

fn can_trace() -> bool {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=read", "true"]);
    program_exists("strace") && command.output().is_ok_and(|output| output.status.success())
}

fn conf(server: &RedisServer) -> String {
    let pool = "RefreshMethod fixed\n    ServerRetryTimeout 20ms\n    ConnectTimeout 2s";
    let address = server.address();
    format!(
        "{CONF}StandaloneServerPool {{\n    {pool}\n    Group g {{\n        + {address}\n    }}\n}}\n"
    )
}

/// Starts it with a fault, and puts it through everyday things. False if the fault did not come:
/// there are not so many calls.
fn check(server: &RedisServer, fault: &Fault, usual: Rest) -> bool {
    let inject = format!("inject={}:error={}:when={}", fault.call.name, fault.error, fault.at);
    let trace = format!("trace={}", fault.call.name);
    let mut words = vec!["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", "{dir}/trace"];
    words.extend(["-e", &trace, "-e", &inject]);
    words.extend(fault.call.path.iter().flat_map(|path| ["-P", path]));
    let told = fault.told();
    let mut proxy = match Proxy::with(&conf(server)).under(&words).try_start() {
        Ok(proxy) => proxy,
        Err(said) => {
            // The loader of the system has words of its own.
            let says_why =
                ["os error", "cannot", " error: "].iter().any(|word| said.contains(word));
            assert!(says_why && !said.contains("panicked"), "{told}: it does not start: {said}");
            return true;
        }
    };
    everyday(&mut proxy, &told);
    let until = Instant::now() + SOON;
    loop {
        let rest = at_rest(&mut proxy);
        let is_usual = |rest: &Rest| {
            rest.descriptors <= usual.descriptors && rest.memory <= usual.memory + SPARE
        };
        if rest.as_ref().is_some_and(is_usual) {
            break;
        }
        assert!(Instant::now() < until, "{told}: {rest:?} at rest, and usually {usual:?}");
        thread::sleep(Duration::from_millis(20));
    }
    let has_come = proxy.scratch().read("trace").contains("(INJECTED)");
    let status = proxy.terminate();
    assert!(status.success(), "{told}: {status}\n{}", proxy.log());
    has_come
}

/// What it has when nobody but us asks it for anything, if the fault does not meet who asks.
fn at_rest(proxy: &mut Proxy) -> Option<Rest> {
    let mut client = Client::try_connect(proxy.address()).ok()?;
    let info = client.try_cmd(&["INFO"]).ok()?.text();
    let memory = info.lines().find_map(|line| line.strip_prefix("UsedMemory:"))?.parse().ok()?;
    let folder = format!("/proc/{}/fd", proxy.process().id());
    Some(Rest { descriptors: fs::read_dir(folder).ok()?.count(), memory })
}

/// Does what people do with it. Whatever the fault has done, every reply is right or one of the
/// excuses, or the connection is closed; in the end everything works.
fn everyday(proxy: &mut Proxy, told: &str) {
    let id = proxy.process().id().to_string();
    let run = |what: &str, program: &dyn Fn(&mut Client) -> Result<(), Lost>| {
        let Ok(mut client) = Client::try_connect(proxy.address()) else { return };
        match program(&mut client) {
            Ok(()) | Err(Lost::Closed) => {}
            Err(lost) => panic!("{told}: {what}: {lost:?}\n{}", proxy.log()),
        }
    };
    run("a pipeline", &|client| {
        let words = [vec!["SET", "k", "1"], vec!["GET", "k"], vec!["MGET", "k", "k"], vec!["PING"]];
        client.try_send(&words.iter().flat_map(|words| wire(words)).collect::<Vec<u8>>())?;
        expect(client, &[ok()])?;
        expect(client, &[bulk("1"), Value::Nil])?;
        expect(client, &[array(["1", "1"].map(bulk)), array([Value::Nil, Value::Nil])])?;
        expect(client, &[simple("PONG")])
    });
    run("a large value", &|client| {
        let large = "x".repeat(300_000);
        client.try_send(&wire(&["SET", "large", &large]))?;
        expect(client, &[ok()])?;
        client.try_send(&wire(&["GET", "large"]))?;
        expect(client, &[bulk(&large), Value::Nil])
    });
    run("a transaction", &|client| {
        client.try_send(&[wire(&["MULTI"]), wire(&["SET", "k", "1"]), wire(&["EXEC"])].concat())?;
        expect(client, &[ok()])?;
        let queued = client.try_reply()?;
        let reply = client.try_reply()?;
        let is_excused = |reply: &Value| {
            reply.error_text().is_some_and(|text| {
                EXCUSES.iter().any(|excuse| text.contains(excuse)) || text.starts_with("EXECABORT")
            })
        };
        assert!(queued == simple("QUEUED") || is_excused(&queued), "{told}: {queued:?}");
        assert!(reply == array([ok()]) || is_excused(&reply), "{told}: {reply:?}");
        Ok(())
    });
    run("a blocking command", &|client| {
        client.try_send(&wire(&["BLPOP", "no", "0.05"]))?;
        expect(client, &[Value::NilArray])
    });
    run("a subscriber", &|client| {
        client.try_send(&wire(&["SUBSCRIBE", "c"]))?;
        let confirmed = client.try_reply()?;
        if confirmed.error_text().is_some_and(|text| EXCUSES.contains(&text)) {
            return Ok(());
        }
        assert_eq!(confirmed, array([bulk("subscribe"), bulk("c"), int(1)]), "{told}");
        // What comes while the proxy changes its link to the server may be missed, but not for long.
        client.set_deadline(Duration::from_secs(2));
        let mut heard = Err(Lost::TimedOut);
        for _ in 0..10 {
            if let Ok(mut other) = Client::try_connect(proxy.address()) {
                let _ = other.try_cmd(&["PUBLISH", "c", "m"]);
            }
            heard = client.try_reply();
            if heard != Err(Lost::TimedOut) {
                break;
            }
        }
        assert_eq!(heard?, array(["message", "c", "m"].map(bulk)), "{told}");
        Ok(())
    });
    (0..3).for_each(|_| run("a short visit", &|client| client.try_cmd(&["PING"]).map(drop)));
    let hang_up = Command::new("kill").args(["-HUP", &id]).status();
    assert!(hang_up.is_ok_and(|status| status.success()), "{told}: it has gone\n{}", proxy.log());
    run("INFO", &|client| {
        let info = client.try_cmd(&["INFO"])?;
        assert!(info.text().contains("# Proxy"), "{told}: {info:?}");
        Ok(())
    });
    wait_until(SOON, &format!("{told}: everything to work again"), || {
        let Ok(mut client) = Client::try_connect(proxy.address()) else { return false };
        client.try_cmd(&["SET", "k", "2"]) == Ok(ok())
            && client.try_cmd(&["GET", "k"]) == Ok(bulk("2"))
    });
}

/// The next reply is one of these, or an error that a fault explains.
fn expect(client: &mut Client, wanted: &[Value]) -> Result<(), Lost> {
    let reply = client.try_reply()?;
    let is_excused = reply.error_text().is_some_and(|text| EXCUSES.contains(&text));
    assert!(is_excused || wanted.contains(&reply), "{reply:?} instead of {wanted:?}");
    Ok(())
}

/// What a proxy without a fault has at rest after the same things.
fn usual(server: &RedisServer) -> Rest {
    let mut proxy = Proxy::start(&conf(server));
    everyday(&mut proxy, "no fault");
    at_rest(&mut proxy).expect("nothing fails")
}

#[test]
fn any_system_call_may_fail() {
    if original_differs("it ends, or turns in a circle") {
        return;
    }
    if !can_trace() {
        return eprintln!("skipped: no strace, or it may not trace here");
    }
    let (all, only) = (env::var_os("FAULTS").is_some(), env::var("CALL").ok());
    let server = RedisServer::start();
    let usual = usual(&server);
    for call in CALLS.iter().filter(|call| only.as_ref().is_none_or(|only| call.name == only)) {
        let (mut runs, mut most) = (0, 0);
        for (index, &error) in call.errors.iter().enumerate() {
            // All of them take a quarter of an hour; each call fails at least once in any case.
            let numbers = if all { 1..=usize::MAX } else { index + 1..=index + 1 };
            if !all && index >= 2 {
                break;
            }
            for at in numbers {
                runs += 1;
                if !check(&server, &Fault { call, error, at }, usual) {
                    break;
                }
                most = most.max(at);
            }
        }
        eprintln!("{}: {runs} runs, the last number that failed was {most}", call.name);
    }
}
