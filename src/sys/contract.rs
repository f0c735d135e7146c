//! What every platform promises, asked of the one that was built: the real one, or with the
//! feature `sim` the simulated one. The code above relies on nothing else.

use std::io::{ErrorKind, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::clock::monotonic_us;
use super::{Endpoint, Event, ListenSocket, Multiplexor, Peer, Progress, Socket, Token, Waker};
use super::{connect, resource};
use crate::base::address::Address;

/// What differs between the platforms: how time passes, and what a file is.
#[cfg_attr(feature = "sim", path = "contract/sim_support.rs")]
#[cfg_attr(not(feature = "sim"), path = "contract/real_support.rs")]
mod support;
#[cfg(all(target_os = "linux", not(feature = "sim")))]
mod old_kernel;

/// Long enough for a busy machine; only a test that fails waits for it.
const PATIENCE_US: u64 = 10_000_000;

/// Tries again and again until there is an answer.
#[track_caller]
fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline_us = monotonic_us() + PATIENCE_US;
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(monotonic_us() < deadline_us, "waited in vain for {what}");
        support::let_time_pass();
    }
}

/// Waits until something happened to `token`, and gives all that did until then.
#[track_caller]
fn event_for(multiplexor: &Multiplexor, token: Token) -> Event {
    let mut events = Vec::new();
    until("an event", || {
        multiplexor.wait(&mut events, Some(1000)).unwrap();
        events.iter().copied().find(|event| event.token == token)
    })
}

/// What is there without waiting.
fn events_now(multiplexor: &Multiplexor) -> Vec<Event> {
    let mut events =
        vec![Event { token: Token(99), readable: true, writable: true, hang_up: true }];
    multiplexor.wait(&mut events, Some(0)).unwrap();
    events
}

fn loopback() -> Address {
    Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn endpoint_of(listener: &ListenSocket) -> Endpoint {
    match listener.local_address().unwrap() {
        Address::Ip(address) => Endpoint::Ip(address),
        Address::Unix(path) => Endpoint::Unix(path),
        Address::Host { .. } => panic!("a name is not a place"),
    }
}

/// Connects to a listener: our end, and the one that it accepted.
#[track_caller]
fn pair_through(listener: &ListenSocket) -> (Socket, Socket, Peer) {
    let client = connect(&endpoint_of(listener)).unwrap();
    let (server, peer) = until("a connection", || listener.accept().unwrap());
    (client, server, peer)
}

#[track_caller]
fn pair() -> (Socket, Socket) {
    let (client, server, _) = pair_through(&ListenSocket::bind(&loopback()).unwrap());
    (client, server)
}

/// Reads until `size` bytes are there.
#[track_caller]
fn read_bytes(socket: &Socket, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    let mut have = 0;
    until("bytes", || {
        while have < size {
            match socket.read(&mut bytes[have..]).unwrap() {
                Progress::Moved(moved) => have += moved,
                Progress::WouldBlock => return None,
                Progress::Closed => panic!("the end came after {have} of {size} bytes"),
            }
        }
        Some(())
    });
    bytes
}

/// Writes until no more is taken; how much was.
fn fill(socket: &Socket) -> usize {
    let mut size = 0;
    while let Progress::Moved(moved) = socket.write(&[7; 65_536]).unwrap() {
        size += moved;
    }
    size
}

#[test]
fn a_socket_is_as_small_as_its_number() {
    assert_eq!(size_of::<Socket>(), 4);
    assert_eq!(size_of::<Option<Socket>>(), 4);
}

#[test]
fn a_connect_becomes_writable_and_tells_that_it_went_well() {
    let listener = ListenSocket::bind(&loopback()).unwrap();
    let multiplexor = Multiplexor::new().unwrap();
    let client = connect(&endpoint_of(&listener)).unwrap();
    multiplexor.add(&client, Token(u64::MAX)).unwrap();
    let event = event_for(&multiplexor, Token(u64::MAX));
    assert!(event.writable && !event.readable && !event.hang_up, "{event:?}");
    client.connect_error().unwrap();
    let (server, peer) = until("a connection", || listener.accept().unwrap());
    let Peer::Ip(address) = peer else { panic!("{peer}") };
    assert!(address.ip().is_loopback(), "{address}");
    assert_eq!(peer.to_string(), address.to_string());
    assert_eq!(client.write(b"hello").unwrap(), Progress::Moved(5));
    assert_eq!(read_bytes(&server, 5), b"hello");
    assert!(server.number() >= 0 && server.number() != client.number());
}

#[test]
fn a_refused_connect_is_an_error_at_once_or_after_an_event() {
    let listener = ListenSocket::bind(&loopback()).unwrap();
    let endpoint = endpoint_of(&listener);
    drop(listener);
    let error = match connect(&endpoint) {
        Err(error) => error,
        Ok(socket) => {
            let multiplexor = Multiplexor::new().unwrap();
            multiplexor.add(&socket, Token(1)).unwrap();
            let event = event_for(&multiplexor, Token(1));
            assert!(event.writable && event.readable && event.hang_up, "{event:?}");
            let error = socket.connect_error().unwrap_err();
            assert_eq!(socket.shut_down_write().unwrap_err().kind(), ErrorKind::NotConnected);
            assert!(socket.write(b"x").is_err());
            error
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_read_gives_what_fits_and_then_says_that_nothing_is_left() {
    let (client, server) = pair();
    assert_eq!(server.read(&mut [0; 8]).unwrap(), Progress::WouldBlock);
    assert_eq!(client.write(b"0123456789").unwrap(), Progress::Moved(10));
    assert_eq!(read_bytes(&server, 4), b"0123");
    let mut room = [0; 64];
    assert_eq!(server.read(&mut room).unwrap(), Progress::Moved(6));
    assert_eq!(&room[..6], b"456789");
    assert_eq!(server.read(&mut room).unwrap(), Progress::WouldBlock);
}

#[test]
fn arrived_bytes_are_one_event_until_more_arrive() {
    let (client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&server, Token(5)).unwrap();
    let event = event_for(&multiplexor, Token(5));
    assert!(event.writable && !event.readable, "it can be written to from the start: {event:?}");
    assert_eq!(events_now(&multiplexor), []);
    client.write(b"one").unwrap();
    assert!(event_for(&multiplexor, Token(5)).readable);
    assert_eq!(events_now(&multiplexor), [], "nothing is new, though nothing was read");
    if support::SEES_BEHIND_UNREAD_BYTES {
        client.write(b"two").unwrap();
        let event = event_for(&multiplexor, Token(5));
        assert!(event.readable && !event.hang_up, "{event:?}");
        assert_eq!(read_bytes(&server, 3), b"one");
    }
    assert_eq!(read_bytes(&server, 3).len(), 3);
    assert_eq!(events_now(&multiplexor), []);
    client.write(b"three").unwrap();
    let event = event_for(&multiplexor, Token(5));
    assert!(event.readable && !event.hang_up, "{event:?}");
    assert_eq!(read_bytes(&server, 5), b"three");
    assert_eq!(events_now(&multiplexor), []);
}

#[test]
fn bytes_that_were_there_before_the_socket_was_added_are_an_event() {
    let (client, server) = pair();
    client.write(b"early").unwrap();
    assert_eq!(read_bytes(&server, 1), b"e");
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&server, Token(5)).unwrap();
    assert!(event_for(&multiplexor, Token(5)).readable);
}

#[test]
fn a_full_socket_says_so_and_becomes_writable_when_the_peer_has_read() {
    let (client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&client, Token(2)).unwrap();
    assert!(event_for(&multiplexor, Token(2)).writable);
    // The kernel may enlarge its room a little later, so it is full when it stays full.
    let mut size = fill(&client);
    while events_now(&multiplexor).iter().any(|event| event.writable) {
        size += fill(&client);
    }
    assert!(size > 0);
    assert_eq!(client.write(b"more").unwrap(), Progress::WouldBlock);
    let (mut room, mut have) = (vec![0; 65_536], 0);
    let mut events = Vec::new();
    let event = until("room", || {
        while let Progress::Moved(moved) = server.read(&mut room).unwrap() {
            assert!(room[..moved].iter().all(|byte| *byte == 7));
            have += moved;
        }
        multiplexor.wait(&mut events, Some(1000)).unwrap();
        events.iter().copied().find(|event| event.writable)
    });
    assert_eq!(event.token, Token(2));
    assert!(matches!(client.write(b"more").unwrap(), Progress::Moved(4)));
    read_bytes(&server, size + 4 - have);
}

#[test]
fn bytes_before_the_end_are_read_before_the_end() {
    let (client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&server, Token(3)).unwrap();
    event_for(&multiplexor, Token(3));
    client.write(b"bye").unwrap();
    drop(client);
    if !support::SEES_BEHIND_UNREAD_BYTES {
        assert_eq!(read_bytes(&server, 3), b"bye");
    }
    let mut event = event_for(&multiplexor, Token(3));
    while !event.hang_up {
        event = event_for(&multiplexor, Token(3));
    }
    assert!(event.readable, "a hang-up is for the reader: {event:?}");
    if support::SEES_BEHIND_UNREAD_BYTES {
        assert_eq!(read_bytes(&server, 3), b"bye");
    }
    assert_eq!(server.read(&mut [0; 8]).unwrap(), Progress::Closed);
    assert_eq!(server.read(&mut [0; 8]).unwrap(), Progress::Closed);
}

#[test]
fn who_has_said_all_can_still_listen() {
    let (client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&server, Token(3)).unwrap();
    client.write(b"PING").unwrap();
    client.shut_down_write().unwrap();
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert!(event_for(&multiplexor, Token(3)).readable);
    assert_eq!(read_bytes(&server, 4), b"PING");
    // Nobody has to have read the end to be told of it, but it may have been told already.
    if !support::SEES_BEHIND_UNREAD_BYTES {
        while !event_for(&multiplexor, Token(3)).hang_up {}
    }
    assert_eq!(server.read(&mut [0; 8]).unwrap(), Progress::Closed);
    assert_eq!(server.write(b"PONG").unwrap(), Progress::Moved(4));
    assert_eq!(read_bytes(&client, 4), b"PONG");
}

#[test]
fn a_peer_that_discards_what_was_not_delivered_resets_the_connection() {
    let (client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&client, Token(4)).unwrap();
    event_for(&multiplexor, Token(4));
    server.discard_undelivered();
    drop(server);
    while !event_for(&multiplexor, Token(4)).hang_up {}
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_peer_that_closes_without_reading_resets_the_connection() {
    let (client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&client, Token(4)).unwrap();
    event_for(&multiplexor, Token(4));
    client.write(b"unread").unwrap();
    assert_eq!(read_bytes(&server, 1), b"u");
    drop(server);
    let event = event_for(&multiplexor, Token(4));
    assert!(event.readable && event.hang_up, "{event:?}");
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), Progress::Closed);
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn writing_to_a_peer_that_is_gone_is_an_error_in_the_end() {
    let (client, server) = pair();
    drop(server);
    let error = until("an error", || client.write(b"anyone there?").err());
    let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    assert!(kinds.contains(&error.kind()), "{error}");
}

#[test]
fn slices_are_written_in_their_order_and_as_many_as_the_system_takes() {
    let (client, server) = pair();
    let parts: [&[u8]; 4] = [b"*1\r\n", b"", b"$4\r\n", b"PING\r\n"];
    assert_eq!(client.write_vectored(&parts.map(IoSlice::new)).unwrap(), Progress::Moved(14));
    assert_eq!(read_bytes(&server, 14), b"*1\r\n$4\r\nPING\r\n");
    let many: Vec<u8> = (0..3000u32).map(|number| number.to_le_bytes()[0]).collect();
    let slices: Vec<IoSlice<'_>> = many.chunks(1).map(IoSlice::new).collect();
    let Progress::Moved(moved) = client.write_vectored(&slices).unwrap() else {
        panic!("there is room");
    };
    assert!(moved >= 1024, "{moved}");
    assert_eq!(read_bytes(&server, moved), many[..moved]);
}

#[test]
fn a_listener_is_readable_for_as_long_as_connections_wait() {
    let listener = ListenSocket::bind(&loopback()).unwrap();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add_listener(&listener, Token(8)).unwrap();
    assert_eq!(events_now(&multiplexor), []);
    assert!(listener.accept().unwrap().is_none());
    let _clients = [(); 2].map(|()| connect(&endpoint_of(&listener)).unwrap());
    let event = event_for(&multiplexor, Token(8));
    assert!(event.readable && !event.writable && !event.hang_up, "{event:?}");
    let _first = until("the first", || listener.accept().unwrap());
    assert!(event_for(&multiplexor, Token(8)).readable, "the second still waits");
    multiplexor.remove_listener(&listener).unwrap();
    assert_eq!(events_now(&multiplexor), []);
    assert!(multiplexor.remove_listener(&listener).is_err());
    multiplexor.add_listener(&listener, Token(9)).unwrap();
    assert!(event_for(&multiplexor, Token(9)).readable);
    let _second = until("the second", || listener.accept().unwrap());
    assert_eq!(events_now(&multiplexor), []);
    assert!(listener.accept().unwrap().is_none());
}

#[test]
fn an_address_is_listened_at_once() {
    let first = ListenSocket::bind(&loopback()).unwrap();
    let address = first.local_address().unwrap();
    assert!(matches!(&address, Address::Ip(ip) if ip.port() != 0), "{address}");
    let error = ListenSocket::bind(&address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    drop(first);
    ListenSocket::bind(&address).unwrap();
}

#[test]
fn an_address_is_free_again_while_old_connections_are_forgotten() {
    let listener = ListenSocket::bind(&loopback()).unwrap();
    let address = listener.local_address().unwrap();
    let (client, server, _) = pair_through(&listener);
    drop(listener);
    // Who closes first keeps the connection in TIME_WAIT.
    drop(server);
    until("the end", || match client.read(&mut [0; 8]).unwrap() {
        Progress::Closed => Some(()),
        _ => None,
    });
    drop(client);
    ListenSocket::bind(&address).unwrap();
}

#[test]
fn who_waited_at_a_listener_that_closes_is_turned_away() {
    let listener = ListenSocket::bind(&loopback()).unwrap();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add_listener(&listener, Token(1)).unwrap();
    let client = connect(&endpoint_of(&listener)).unwrap();
    event_for(&multiplexor, Token(1));
    drop(listener);
    multiplexor.add(&client, Token(2)).unwrap();
    while !event_for(&multiplexor, Token(2)).hang_up {}
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn ipv6_works_like_ipv4() {
    let address = Address::Ip(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
    let Ok(listener) = ListenSocket::bind(&address) else {
        assert!(!support::has_ipv6());
        return;
    };
    let (client, server, peer) = pair_through(&listener);
    assert!(peer.to_string().starts_with("[::1]:"), "{peer}");
    client.write(b"six").unwrap();
    assert_eq!(read_bytes(&server, 3), b"six");
}

#[test]
fn a_star_is_every_address_of_this_host() {
    let listener = ListenSocket::bind(&Address::parse("*:0").unwrap()).unwrap();
    let Address::Ip(address) = listener.local_address().unwrap() else { panic!("no port") };
    let mut addresses = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))];
    if support::has_ipv6() {
        addresses.push(SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())));
    }
    for address in addresses {
        let _client = connect(&Endpoint::Ip(address)).unwrap();
        let (_server, peer) = until("a connection", || listener.accept().unwrap());
        let Peer::Ip(from) = peer else { panic!("{peer}") };
        assert_eq!(from.ip(), address.ip());
    }
}

#[test]
fn a_name_can_be_listened_at() {
    support::know_localhost();
    let listener = ListenSocket::bind(&Address::parse("localhost:0").unwrap()).unwrap();
    pair_through(&listener);
}

#[test]
fn unix_sockets_work_like_tcp() {
    let folder = support::Folder::new();
    let address = Address::Unix(folder.path("socket"));
    let listener = ListenSocket::bind(&address).unwrap();
    assert_eq!(listener.local_address(), Some(address.clone()));
    let (client, server, peer) = pair_through(&listener);
    assert_eq!((peer, peer.to_string().as_str()), (Peer::Unix, "unix"));
    client.set_no_delay().unwrap();
    client.set_keep_alive(60).unwrap();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&client, Token(1)).unwrap();
    let event = event_for(&multiplexor, Token(1));
    assert!(event.writable && !event.hang_up, "{event:?}");
    client.connect_error().unwrap();
    server.write(b"hello").unwrap();
    drop(server);
    while !event_for(&multiplexor, Token(1)).hang_up {}
    assert_eq!(read_bytes(&client, 5), b"hello");
    assert_eq!(client.read(&mut [0; 8]).unwrap(), Progress::Closed);
    assert_eq!(ListenSocket::bind(&address).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(listener);
    assert_eq!(connect(&endpoint(&address)).unwrap_err().kind(), ErrorKind::NotFound);
    ListenSocket::bind(&address).unwrap();
}

fn endpoint(address: &Address) -> Endpoint {
    match address {
        Address::Unix(path) => Endpoint::Unix(path.clone()),
        other => panic!("{other} is no path"),
    }
}

#[test]
fn tcp_options_are_accepted() {
    let (client, _server) = pair();
    client.set_no_delay().unwrap();
    client.set_keep_alive(1).unwrap();
    client.set_keep_alive(300).unwrap();
}

#[test]
fn a_waker_is_readable_from_its_wake_until_it_is_drained() {
    let multiplexor = Multiplexor::new().unwrap();
    let waker = Waker::new().unwrap();
    waker.drain();
    multiplexor.add_waker(&waker, Token(6)).unwrap();
    assert_eq!(events_now(&multiplexor), []);
    for _ in 0..100_000 {
        waker.wake();
    }
    let event = event_for(&multiplexor, Token(6));
    assert!(event.readable && !event.hang_up, "{event:?}");
    assert_eq!(events_now(&multiplexor).len(), 1, "nobody has drained it");
    waker.drain();
    assert_eq!(events_now(&multiplexor), []);
    waker.wake();
    assert!(event_for(&multiplexor, Token(6)).readable);
}

#[test]
fn a_closed_socket_has_no_more_events() {
    let (client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&server, Token(1)).unwrap();
    client.write(b"late").unwrap();
    assert_eq!(read_bytes(&server, 1), b"l");
    drop(server);
    assert_eq!(events_now(&multiplexor), []);
    // Whoever gets its number next has its own token only.
    let (_client, server) = pair();
    multiplexor.add(&server, Token(2)).unwrap();
    event_for(&multiplexor, Token(2));
    assert!(events_now(&multiplexor).is_empty());
}

#[test]
fn a_socket_joins_once() {
    let (_client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&server, Token(1)).unwrap();
    support::check_second_join(multiplexor.add(&server, Token(1)));
}

#[test]
fn many_events_come_over_several_waits() {
    resource::raise_descriptor_limit();
    let listener = ListenSocket::bind(&loopback()).unwrap();
    let multiplexor = Multiplexor::new().unwrap();
    let mut pairs = Vec::new();
    for number in 0..600u64 {
        let (client, server, _) = pair_through(&listener);
        multiplexor.add(&client, Token(2 * number)).unwrap();
        multiplexor.add(&server, Token(2 * number + 1)).unwrap();
        pairs.push((client, server));
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut events = Vec::new();
    until("every socket", || {
        multiplexor.wait(&mut events, Some(1000)).unwrap();
        assert!(events.len() <= 1024);
        seen.extend(events.iter().map(|event| event.token));
        (seen.len() == 1200).then_some(())
    });
}
