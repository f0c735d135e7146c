//! Clients that come through a proxy in front of ours, which says who they are.

use std::path::PathBuf;

use crate::support::{
    Address, Client, Lost, Proxy, RedisServer, SOON, Value, bulk, error, free_port, groups_conf,
    ok, original_differs, simple, wait_until, wire,
};

const LACKS: &str = "it knows no PROXY protocol";

/// A proxy with a plain listener, and one behind a proxy in front of it.
struct Behind {
    proxy: Proxy,
    front: Address,
    // Behind the proxy, so that it ends later.
    _server: RedisServer,
}

impl Behind {
    /// With these lines more, and this said of the second listener.
    #[track_caller]
    fn start(how: &str, lines: &str) -> Behind {
        let server = RedisServer::start();
        let port = free_port();
        let proxy = Proxy::start(&format!(
            "Bind 127.0.0.1:{{port}}\nBind 127.0.0.1:{port} {how}\nWorkerThreads 2\n\
             LogInfoSample 1\n{lines}\n{}",
            groups_conf(&[server.address()])
        ));
        Behind { proxy, front: Address::Tcp(port), _server: server }
    }

    /// A connection that begins with these bytes.
    #[track_caller]
    fn client(&self, header: impl AsRef<[u8]>) -> Client {
        let mut client = Client::connect(&self.front);
        client.send(header);
        client
    }

    /// Waits until this stands in the log.
    #[track_caller]
    fn wait_for_log(&self, want: &str) {
        wait_until(SOON, want, || self.proxy.log().contains(want));
    }
}

const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 40123 6379\r\n";

/// Version 2 over IPv4, from 192.0.2.8:40124 to 198.51.100.1:6379, with these values.
fn binary(values: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend(u16::try_from(12 + values.len()).unwrap().to_be_bytes());
    header.extend([192, 0, 2, 8, 198, 51, 100, 1]);
    header.extend([40124u16, 6379].map(u16::to_be_bytes).concat());
    header.extend(values);
    header
}

fn value(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// What a proxy says of a client with a certificate: whether it was verified, and whose it is.
fn certificate(verified: bool, name: &str) -> Vec<u8> {
    let name = value(0x22, name.as_bytes());
    binary(&value(0x20, &[&[7, 0, 0, 0, u8::from(!verified)][..], &name].concat()))
}

/// A field of CLIENT INFO, or of such a line.
fn field(line: &str, name: &str) -> String {
    let mut fields = line.split_whitespace().filter_map(|field| field.split_once('='));
    fields.find(|(known, _)| *known == name).expect("such a field").1.to_owned()
}

#[track_caller]
fn check_ends(client: &mut Client, source: &str, destination: &str) {
    let info = client.line("CLIENT INFO").text();
    let ends = (field(&info, "addr"), field(&info, "laddr"));
    assert_eq!(ends, (source.to_owned(), destination.to_owned()));
}

#[test]
fn both_versions_tell_who_the_client_is_in_any_pieces() {
    if original_differs(LACKS) {
        return;
    }
    let behind = Behind::start("ProxyProtocol", "");
    let six = "PROXY TCP6 2001:db8::7 2001:db8::1 40125 6379\r\n".as_bytes();
    for (header, source, destination) in [
        (LINE.as_bytes(), "192.0.2.7:40123", "198.51.100.1:6379"),
        (&binary(b""), "192.0.2.8:40124", "198.51.100.1:6379"),
        (&binary(&value(4, &[7; 3000])), "192.0.2.8:40124", "198.51.100.1:6379"),
        (six, "[2001:db8::7]:40125", "[2001:db8::1]:6379"),
    ] {
        check_ends(&mut behind.client(header), source, destination);
        // The first requests come in the same packet.
        let ping = wire(&["PING"]);
        let mut client = behind.client([header, &ping, &ping].concat());
        assert_eq!((client.reply(), client.reply()), (simple("PONG"), simple("PONG")));
        check_ends(&mut client, source, destination);
        // Byte by byte, as far as the network leaves it so.
        let mut client = behind.client("");
        [header, &ping].concat().chunks(1 + header.len() / 50).for_each(|piece| client.send(piece));
        assert_eq!(client.reply(), simple("PONG"));
        check_ends(&mut client, source, destination);
    }
    behind.wait_for_log("c 192.0.2.7:40123 ");
    // The other listener is as it always was.
    let info = behind.proxy.client().line("CLIENT INFO").text();
    assert!(field(&info, "addr").starts_with("127.0.0.1:"), "{info}");
}

#[test]
fn the_address_shows_wherever_clients_are_told_of() {
    if original_differs(LACKS) {
        return;
    }
    let behind = Behind::start("ProxyProtocol", "SlowlogLogSlowerThan 0");
    let mut admin = behind.proxy.client();
    let mut watcher = behind.proxy.client();
    assert_eq!(watcher.line("MONITOR"), ok());
    let mut client = behind.client(LINE);
    assert_eq!(client.line("SET behind:k v"), ok());
    assert!(
        matches!(watcher.reply(), Value::Simple(line)
            if line.ends_with("[0 192.0.2.7:40123] \"SET\" \"behind:k\" \"v\"")),
        "MONITOR"
    );
    let slow = admin.line("SLOWLOG GET");
    let address = |entry: &Value| entry.elements()[4].text();
    let is_told = slow.elements().iter().any(|entry| address(entry) == "192.0.2.7:40123");
    assert!(is_told, "{slow:?}");
    let list = admin.line("CLIENT LIST").text();
    let line = list.lines().find(|line| line.contains(" addr=192.0.2.7:40123 "));
    assert_eq!(field(line.expect("a line"), "laddr"), "198.51.100.1:6379", "{list}");
    // A client that knows clusters is told to come back the way it came.
    let slots = client.line("CLUSTER SLOTS");
    let node = slots.elements()[0].elements()[2].elements().to_vec();
    assert_eq!((node[0].text(), node[1].number()), ("198.51.100.1".to_owned(), 6379));
    assert_eq!(admin.line("CLIENT KILL 192.0.2.7:40123"), ok());
    client.expect_closed();
    behind.wait_for_log("c 192.0.2.7:40123 killed");
}

#[test]
fn a_proxy_that_speaks_for_itself_is_who_it_is() {
    if original_differs(LACKS) {
        return;
    }
    let behind = Behind::start("ProxyProtocol", "");
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN and so on\r\n", local] {
        let info = behind.client(header).line("CLIENT INFO").text();
        assert!(field(&info, "addr").starts_with("127.0.0.1:"), "{info}");
        assert_eq!(field(&info, "laddr"), behind.front.to_string());
    }
    // Whoever only looks whether somebody listens disturbs nobody.
    drop(Client::connect(&behind.front));
    behind.wait_for_log("closed before its PROXY header");
}

#[test]
fn what_is_no_header_ends_the_connection_and_the_log_says_why() {
    if original_differs(LACKS) {
        return;
    }
    let behind = Behind::start("ProxyProtocol", "");
    let mut before = behind.client(LINE);
    let request = wire(&["PING"]);
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let mut huge = binary(b"");
    huge[14..16].fill(0xff);
    for (bytes, want) in [
        (&request[..], "PROXY header does not begin with PROXY but with \"*1"),
        (b"PROXY TCP5 a b c d\r\n", "PROXY header has the protocol \"TCP5\"; want TCP4, TCP6"),
        (&endless, "PROXY header has a line of more than 107 bytes"),
        (&huge, "PROXY header announces 65551 bytes; want 16384 at most"),
        (&binary(&value(3, b"sum!")), "PROXY header has the checksum "),
    ] {
        let mut client = behind.client(bytes);
        client.expect_closed();
        behind.wait_for_log(want);
    }
    // Behind a plain listener a header is what it always was: a request like any other, or none.
    let mut plain = behind.proxy.client();
    plain.send(LINE);
    assert!(matches!(plain.reply(), Value::Error(_)));
    let mut plain = behind.proxy.client();
    plain.send(binary(b""));
    assert!(matches!(plain.try_reply(), Ok(Value::Error(_)) | Err(Lost::Closed)));
    assert_eq!(before.line("PING"), simple("PONG"));
}

#[test]
fn a_header_that_does_not_come_ends_the_connection() {
    if original_differs(LACKS) {
        return;
    }
    let behind = Behind::start("ProxyProtocol", "");
    let mut served = behind.client(LINE);
    let mut silent: Vec<Client> = ["", "PROXY", "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"]
        .iter()
        .map(|beginning| behind.client(beginning))
        .collect();
    for client in &mut silent {
        client.expect_closed();
    }
    behind.wait_for_log("PROXY header does not come");
    assert_eq!(served.line("PING"), simple("PONG"), "who has sent one stays");
    assert_eq!(behind.proxy.client().line("PING"), simple("PONG"));
    // Also while nothing else happens.
    let mut late = behind.client("PROXY TCP4");
    late.expect_closed();
}

#[test]
fn a_unix_socket_can_be_behind_a_proxy_too() {
    if original_differs(LACKS) {
        return;
    }
    let server = RedisServer::start();
    let pool = groups_conf(&[server.address()]);
    let proxy =
        Proxy::start(&format!("Bind {{dir}}/front ProxyProtocol\nBind 127.0.0.1:{{port}}\n{pool}"));
    let path: PathBuf = proxy.scratch().path().join("front");
    let connect = |header: &[u8]| {
        let mut client = Client::connect(&Address::Unix(path.clone()));
        client.send(header);
        client
    };
    check_ends(&mut connect(LINE.as_bytes()), "192.0.2.7:40123", "198.51.100.1:6379");
    let unix = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\x00\xd8"[..], &[0; 216]].concat();
    let info = connect(&unix).line("CLIENT INFO").text();
    assert_eq!(field(&info, "addr"), format!("{}:0", path.display()));
    // Who has to come through a proxy is not told to come without.
    let slots = connect(&unix).line("CLUSTER SLOTS");
    let node = slots.elements()[0].elements()[2].elements().to_vec();
    assert_eq!(node[1].number(), i64::from(proxy.port()));
}

#[test]
fn an_upgrade_knows_who_clients_are_and_who_is_about_to_say_so() {
    if original_differs(LACKS) {
        return;
    }
    let authority = "Authority {\nAuth {\nMode read\n}\nAuth secret {\nUser app\nMode write\n}\n}";
    let mut behind = Behind::start("ProxyProtocol UserFromCertificate", authority);
    let mut told = behind.client(LINE);
    check_ends(&mut told, "192.0.2.7:40123", "198.51.100.1:6379");
    let header = certificate(true, "app");
    let mut named = behind.client(&header);
    assert_eq!(named.line("SET behind:up 1"), ok());
    // One has sent half of its header, and another nothing.
    let settled = behind.proxy.figure("TotalRecvClientBytes");
    let mut half = behind.client(&header[..20]);
    let mut silent = behind.client("");
    wait_until(SOON, "half of the header to arrive", || {
        behind.proxy.figure("TotalRecvClientBytes") >= settled + 20
    });
    behind.proxy.upgrade();
    check_ends(&mut told, "192.0.2.7:40123", "198.51.100.1:6379");
    assert_eq!(named.line("SET behind:up 2"), ok());
    half.send(&header[20..]);
    assert_eq!(half.line("SET behind:up 3"), ok());
    check_ends(&mut half, "192.0.2.8:40124", "198.51.100.1:6379");
    silent.send(LINE);
    check_ends(&mut silent, "192.0.2.7:40123", "198.51.100.1:6379");
    assert_eq!(silent.line("SET behind:up 4"), error("ERR auth permission deny"));
    let mut new = behind.client(&header);
    assert_eq!(new.line("GET behind:up"), bulk("3"));
}

#[test]
fn a_certificate_names_a_user_only_where_the_configuration_says_so() {
    if original_differs(LACKS) {
        return;
    }
    let authority = "Authority {\nAuth secret {\nUser app\nMode write\n}\n\
                     Auth other {\nUser boss\nMode admin\n}\nAuth word {\nMode write\n}\n}";
    let no_auth = || error("NOAUTH Authentication required.");
    let behind = Behind::start("ProxyProtocol UserFromCertificate", authority);
    let mut app = behind.client(certificate(true, "app"));
    assert_eq!(app.line("SET behind:who app"), ok());
    assert_eq!(app.line("ACL WHOAMI"), bulk("app"));
    assert_eq!(app.line("CONFIG GET Name"), error("ERR auth permission deny"));
    assert_eq!(app.line("AUTH boss other"), ok(), "it may still become somebody else");
    assert_eq!(app.line("CONFIG GET Name").elements().len(), 2);
    // Not proven, or proven and unknown, or the name of those who have none.
    for header in [
        certificate(false, "app"),
        certificate(true, "nobody"),
        certificate(true, "default"),
        certificate(true, "ap"),
        binary(b""),
        LINE.as_bytes().to_vec(),
    ] {
        assert_eq!(behind.client(header).line("GET behind:who"), no_auth());
    }
    behind.wait_for_log("has a certificate of \"nobody\", who is no User");
    let plain = Behind::start("ProxyProtocol", authority);
    assert_eq!(plain.client(certificate(true, "app")).line("GET behind:who"), no_auth());
    // A reload leaves those alone whose user is still there.
    let mut again = behind.client(certificate(true, "boss"));
    assert_eq!(again.line("CONFIG GET Name").elements().len(), 2);
    let conf = std::fs::read_to_string(behind.proxy.scratch().path().join("predixy.conf")).unwrap();
    let without_app = conf.replace("User app", "User apple");
    behind.proxy.write_conf(&without_app);
    let mut app = behind.client(certificate(true, "app"));
    assert_eq!(app.line("GET behind:who"), bulk("app"));
    assert_eq!(again.line("CONFIG RELOAD"), ok());
    assert_eq!(app.line("GET behind:who"), no_auth());
    assert_eq!(again.line("CONFIG GET Name").elements().len(), 2);
    let mut apple = behind.client(certificate(true, "apple"));
    assert_eq!(apple.line("GET behind:who"), bulk("app"));
}

#[test]
fn a_stop_does_not_wait_for_headers() {
    if original_differs(LACKS) {
        return;
    }
    let mut behind = Behind::start("ProxyProtocol", "");
    let mut silent = behind.client("PROXY");
    wait_until(SOON, "it to be there", || behind.proxy.figure("ClientConnections") == 2);
    assert!(behind.proxy.terminate().success());
    silent.expect_closed();
}
