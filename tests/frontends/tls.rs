//! TLS in stunnel and in HAProxy: `openssl s_client` speaks to the proxy through it.

use std::io::Write;
use std::process::{Command, Stdio};

use super::it::support::{Address, Client, Proxy, Scratch, free_port, shared_cluster, wait_until};
use super::it::support::{SOON, Value};
use super::{Frontend, example, predixy};

/// An address of this host that only one client has.
const CLIENT: &str = "127.0.0.77";

/// A folder with a key and a certificate of the server in `server.pem`, and one of a client, with the
/// name `alice`, in `client.pem`; each has signed itself.
fn certificates() -> Scratch {
    let scratch = Scratch::new("tls");
    for (file, name) in [("server", "localhost"), ("client", "alice")] {
        let script = format!(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} \
             -keyout {file}.key -out {file}.crt 2>openssl.log && cat {file}.key {file}.crt >{file}.pem"
        );
        let status = Command::new("sh").args(["-c", &script]).current_dir(scratch.path()).status();
        assert!(status.unwrap().success(), "{}", scratch.read("openssl.log"));
    }
    scratch
}

/// A proxy with this example, which listens on a socket in its folder as well, without a header.
fn proxy() -> (Proxy, u16, u16) {
    let port = free_port();
    let (conf, metrics) = predixy("predixy-tunnel.conf", shared_cluster());
    let conf = conf.replace("{port}", &port.to_string());
    (Proxy::start(&format!("{conf}Bind {{dir}}/plain.sock\n")), port, metrics)
}

/// What the proxy answers to these lines through TLS.
#[track_caller]
fn through_tls(port: u16, certificates: &Scratch, arguments: &[&str], lines: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-verify_return_error", "-CAfile", "server.crt"]);
    command.args(["-connect", &format!("127.0.0.1:{port}"), "-bind", &format!("{CLIENT}:0")]);
    command.args(arguments).current_dir(certificates.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(format!("{lines}QUIT\r\n").as_bytes()).unwrap();
    // It ends when the proxy closes; the end of its input would be too early.
    let output = child.wait_with_output().unwrap();
    drop(input);
    let said = String::from_utf8_lossy(&output.stderr);
    let got = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(got.ends_with("+OK\r\n"), "{got}\n{said}");
    got
}

/// Where `CLIENT LIST` says that the one client that is no Unix socket is.
#[track_caller]
fn listed_address(list: &str) -> &str {
    let lines = list.lines().filter(|line| line.contains("addr=127"));
    let addresses: Vec<&str> =
        lines.filter_map(|line| line.split(" addr=").nth(1)?.split(' ').next()).collect();
    assert_eq!(addresses.len(), 1, "{list}");
    addresses[0]
}

/// What both tunnels promise.
#[track_caller]
fn check(port: u16, proxy: &Proxy, certificates: &Scratch) {
    let got = through_tls(
        port,
        certificates,
        &[],
        "SET frontend:tls secret\r\nGET frontend:tls\r\nCLIENT LIST\r\n",
    );
    assert!(got.starts_with("+OK\r\n$6\r\nsecret\r\n"), "{got}");
    assert!(listed_address(&got).starts_with(&format!("{CLIENT}:")), "{got}");
    // Large values, in both directions.
    let large = "x".repeat(300_000);
    let got = through_tls(
        port,
        certificates,
        &[],
        &format!("SET frontend:large {}\r\nGET frontend:large\r\n", &large[..60_000]),
    );
    assert!(got.contains(&format!("$60000\r\n{}\r\n", &large[..60_000])));
    // Nobody gets in who does not speak TLS.
    let mut plain = Client::to_port(port);
    plain.send(b"PING\r\n");
    assert!(!matches!(plain.try_reply(), Ok(Value::Simple(_))));
    wait_until(SOON, "its clients to be gone", || proxy.figure("ClientConnections") == 1);
}

#[test]
fn stunnel_lets_the_proxy_see_who_comes() {
    let certificates = certificates();
    let (proxy, target, _) = proxy();
    let port = free_port();
    let conf = example(
        "stunnel.conf",
        &[
            ("/run/stunnel-predixy.pid", "{dir}/stunnel.pid".into()),
            ("accept = 6380", format!("accept = 127.0.0.1:{port}")),
            ("127.0.0.1:7617", format!("127.0.0.1:{target}")),
            ("/etc/stunnel/redis.pem", "{dir}/server.pem".into()),
        ],
    );
    let mut stunnel =
        Frontend::start(&["stunnel"], &format!("foreground = yes\n{conf}"), certificates);
    stunnel.wait_for_listener(port);
    check(port, &proxy, &stunnel.scratch);
}

#[test]
fn stunnel_may_ask_for_certificates() {
    let certificates = certificates();
    let (proxy, target, _) = proxy();
    let port = free_port();
    let conf = example(
        "stunnel.conf",
        &[
            ("/run/stunnel-predixy.pid", "{dir}/stunnel.pid".into()),
            ("accept = 6380", format!("accept = 127.0.0.1:{port}")),
            ("127.0.0.1:7617", format!("127.0.0.1:{target}")),
            ("/etc/stunnel/redis.pem", "{dir}/server.pem".into()),
            (";verifyChain", "verifyChain".into()),
            (";CAfile = /etc/stunnel/clients.pem", "CAfile = {dir}/client.crt".into()),
        ],
    );
    let mut stunnel =
        Frontend::start(&["stunnel"], &format!("foreground = yes\n{conf}"), certificates);
    stunnel.wait_for_listener(port);
    let shown = ["-cert", "client.crt", "-key", "client.key"];
    assert!(through_tls(port, &stunnel.scratch, &shown, "PING\r\n").starts_with("+PONG\r\n"));
    let refused = std::panic::catch_unwind(|| through_tls(port, &stunnel.scratch, &[], "PING\r\n"));
    assert!(refused.is_err(), "without a certificate nobody gets in");
    assert_eq!(proxy.client().line("PING"), Value::Simple("PONG".into()));
}

#[test]
fn haproxy_lets_the_proxy_see_who_comes() {
    let certificates = certificates();
    let (proxy, target, metrics) = proxy();
    let port = free_port();
    let server = format!("127.0.0.1:{target} send-proxy-v2-ssl-cn check port 9617");
    let conf = example(
        "haproxy-tls.cfg",
        &[
            ("bind :6380", format!("bind 127.0.0.1:{port}")),
            ("/etc/haproxy/redis.pem", "{dir}/server.pem".into()),
            ("/etc/haproxy/clients.pem", "{dir}/client.crt".into()),
            ("127.0.0.1:7617", format!("127.0.0.1:{target}")),
            (&server, server.replace("9617", &metrics.to_string())),
        ],
    );
    let mut haproxy = Frontend::haproxy(&conf, certificates);
    haproxy.wait_for_listener(port);
    check(port, &proxy, &haproxy.scratch);
    let shown = ["-cert", "client.crt", "-key", "client.key"];
    let got = through_tls(port, &haproxy.scratch, &shown, "CLIENT LIST\r\n");
    assert!(listed_address(&got).starts_with(CLIENT), "{got}");
}

impl Frontend {
    /// Waits until it listens.
    #[track_caller]
    fn wait_for_listener(&mut self, port: u16) {
        wait_until(SOON, "a listener", || {
            let ended = self.process.ended();
            assert!(ended.is_none(), "{ended:?}\n{}", self.scratch.read("output"));
            Client::try_connect(&Address::Tcp(port)).is_ok()
        });
    }
}
