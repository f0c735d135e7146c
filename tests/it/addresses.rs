//! Where servers can be: every form of address, and names with several meanings.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use crate::support::{Proxy, RedisServer, SOON, bulk, ok, original_differs, wait_until};

fn fixed(address: &str, lines: &str) -> String {
    format!(
        "StandaloneServerPool {{\n    RefreshMethod fixed\n    ServerRetryTimeout 50ms\n{lines}\n    Group g0 {{\n        + {address}\n    }}\n}}\n"
    )
}

/// Whether this machine has the loopback address of IPv6.
fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: no IPv6");
    }
    has
}

#[test]
fn d40_ipv6_with_and_without_brackets() {
    if original_differs("D-40: no brackets") || !has_ipv6() {
        return;
    }
    let server = RedisServer::start_with(&["--bind", "127.0.0.1", "::1"]);
    let port = server.port();
    for address in [format!("[::1]:{port}"), format!("::1:{port}"), format!("0:0::0001:{port}")] {
        let proxy = Proxy::start(&fixed(&address, ""));
        assert_eq!(proxy.client().cmd(&["SET", "k", &address]), ok());
        assert_eq!(server.client().line("GET k"), bulk(&address));
        assert_eq!(proxy.servers()[0].address, format!("[::1]:{port}"));
    }
}

#[test]
fn a_server_may_listen_on_a_unix_socket() {
    let scratch = crate::support::Scratch::new("socket");
    let path = scratch.path().join("redis.sock");
    let path = path.to_string_lossy();
    let mut server = RedisServer::start_with(&["--unixsocket", &path, "--requirepass", "secret"]);
    let proxy = Proxy::start(&fixed(&format!("secret@{path}"), "    Databases 2"));
    let mut client = proxy.client();
    assert_eq!(client.pipeline(&["SET k 1", "SELECT 1", "SET k 2"]), [ok(), ok(), ok()]);
    let mut direct = server.client();
    assert_eq!(direct.pipeline(&["AUTH secret", "GET k"]), [ok(), bulk("1")]);
    assert_eq!(proxy.servers()[0].address, path);
    server.restart();
    wait_until(SOON, "it to be found again", || client.line("SET k 3") == ok());
}

#[test]
fn d41_every_address_of_a_name_is_tried() {
    if original_differs("D-41: the first address only") || !has_ipv6() {
        return;
    }
    let hosts = "::1 both.test\n127.0.0.1 both.test\n";
    let conf = |server: &RedisServer| fixed(&format!("both.test:{}", server.port()), "");
    for bind in ["127.0.0.1", "::1"] {
        // A server on one of the addresses, nobody on the other.
        let server = RedisServer::start_on(bind, None);
        let Some(proxy) = Proxy::with(&conf(&server)).hosts(hosts).try_start_in_namespace() else {
            eprintln!("skipped: no private hosts file here");
            return;
        };
        assert_eq!(proxy.client().line("SET k 1"), ok(), "{bind}");
    }
}

#[test]
fn a_name_is_looked_up_again_for_each_connection() {
    if original_differs("D-41: once and for all") {
        return;
    }
    let first = RedisServer::start_on("127.0.0.1", None);
    let port = first.port();
    let conf = fixed(&format!("moves.test:{port}"), "");
    let start = Proxy::with(&conf).hosts("127.0.0.1 moves.test\n");
    let Some(proxy) = start.try_start_in_namespace() else {
        eprintln!("skipped: no private hosts file here");
        return;
    };
    let mut client = proxy.client();
    assert_eq!(client.line("SET k first"), ok());
    // The same port on another address of this machine: the server has moved.
    let second = RedisServer::start_on("127.0.0.2", Some(port));
    proxy.scratch().write("hosts", "127.0.0.2 moves.test\n");
    assert_eq!(client.line("GET k"), bulk("first"), "a connection stays where it is");
    first.kill_client_connections();
    wait_until(SOON, "the new place to be used", || client.line("SET k second") == ok());
    assert_eq!(second.client().line("GET k"), bulk("second"));
}

#[test]
fn localhost_is_found_whatever_it_means_here() {
    let server = RedisServer::start();
    let meanings: Vec<SocketAddr> = ("localhost", 0).to_socket_addrs().unwrap().collect();
    assert!(!meanings.is_empty());
    let proxy = Proxy::start(&fixed(&format!("localhost:{}", server.port()), ""));
    assert_eq!(proxy.client().line("SET k 1"), ok());
}

#[test]
fn a_name_that_means_nothing_is_an_error_and_no_more() {
    if original_differs("D-41: the client is cut off") {
        return;
    }
    let proxy = Proxy::start(&fixed("no-such-host.invalid:6379", "    ServerFailureLimit 2"));
    let mut client = proxy.client();
    assert!(client.line("GET k").error_text().is_some());
    assert_eq!(client.line("PING"), crate::support::simple("PONG"));
}
