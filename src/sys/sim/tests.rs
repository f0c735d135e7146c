//! The simulated world itself: it replays, it is as rough as asked, and it loses nothing that a
//! real network would not lose. What it has in common with the real one is in the contract.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::base::address::Address;
use crate::sys::clock::{monotonic_us, wall_us};
use crate::sys::resolver::Resolver;
use crate::sys::{Event, ListenSocket, Multiplexor, Progress, Token, Waker, connect, thread};

const LISTENER: Token = Token(0);

fn address() -> Address {
    Address::parse("10.0.0.1:6379").unwrap()
}

fn endpoint() -> Endpoint {
    Endpoint::Ip("10.0.0.1:6379".parse().unwrap())
}

/// A server that sends back what it gets, written as a handler is: by edges.
struct Echo {
    listener: ListenSocket,
    multiplexor: Multiplexor,
    next: u64,
    links: BTreeMap<u64, (Socket, Vec<u8>, bool)>,
    events: Vec<Event>,
    /// It takes a short read for the last one, as epoll(7) allows.
    trusts_short_reads: bool,
}

impl Echo {
    fn new(trusts_short_reads: bool) -> Echo {
        let listener = ListenSocket::bind(&address()).unwrap();
        let multiplexor = Multiplexor::new().unwrap();
        multiplexor.add_listener(&listener, LISTENER).unwrap();
        let (next, links, events) = (1, BTreeMap::new(), Vec::new());
        Echo { listener, multiplexor, next, links, events, trusts_short_reads }
    }

    fn turn(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        self.multiplexor.wait(&mut events, None).unwrap();
        for event in &events {
            if event.token == LISTENER {
                if let Ok(Some((socket, _))) = self.listener.accept() {
                    self.multiplexor.add(&socket, Token(self.next)).unwrap();
                    self.links.insert(self.next, (socket, Vec::new(), false));
                    self.next += 1;
                }
            } else if !self.serve(event) {
                self.links.remove(&event.token.0);
            }
        }
        self.events = events;
    }

    /// False when the connection is to be closed.
    fn serve(&mut self, event: &Event) -> bool {
        let Some((socket, owed, heard_all)) = self.links.get_mut(&event.token.0) else {
            return true;
        };
        let mut room = [0; 100];
        while event.readable && !*heard_all {
            match socket.read(&mut room) {
                Ok(Progress::Moved(size)) => {
                    owed.extend_from_slice(&room[..size]);
                    if self.trusts_short_reads && size < room.len() && !event.hang_up {
                        break;
                    }
                }
                Ok(Progress::WouldBlock) => break,
                Ok(Progress::Closed) => *heard_all = true,
                Err(_) => return false,
            }
        }
        while !owed.is_empty() {
            match socket.write(owed) {
                Ok(Progress::Moved(size)) => drop(owed.drain(..size)),
                Ok(_) => break,
                Err(_) => return false,
            }
        }
        !(*heard_all && owed.is_empty())
    }
}

/// A client that sends numbers and gets them back.
struct Client {
    socket: Socket,
    sent: usize,
    received: usize,
}

const BYTES: usize = 1_500;

fn byte(number: usize) -> u8 {
    (number % 251).to_le_bytes()[0]
}

impl Client {
    /// Ok(true) when it has everything back.
    fn turn(&mut self, random: &mut Random) -> io::Result<bool> {
        if self.sent < BYTES {
            let size = (1 + random.index(700)).min(BYTES - self.sent);
            let bytes: Vec<u8> = (self.sent..self.sent + size).map(byte).collect();
            if let Progress::Moved(size) = self.socket.write(&bytes)? {
                self.sent += size;
            }
        }
        let mut room = [0; 333];
        match self.socket.read(&mut room)? {
            Progress::Moved(size) => {
                for got in &room[..size] {
                    assert_eq!(*got, byte(self.received), "{}", World::trace().join("\n"));
                    self.received += 1;
                }
            }
            Progress::WouldBlock => {}
            Progress::Closed => return Err(ErrorKind::UnexpectedEof.into()),
        }
        Ok(self.received == BYTES)
    }
}

/// Lets clients talk to an echo server in one world; how many got everything, and the sum.
fn run(seed: u64, faults: Faults, trusts_short_reads: bool) -> (usize, u64) {
    World::reset(seed, faults);
    let mut random = World::random();
    let mut echo = Echo::new(trusts_short_reads);
    let connected = (0..5).filter_map(|_| connect(&endpoint()).ok());
    let mut clients: Vec<Client> =
        connected.map(|socket| Client { socket, sent: 0, received: 0 }).collect();
    let mut complete = 0;
    for turn in 0.. {
        assert!(turn < 100_000, "seed {seed} never ends:\n{}", World::trace().join("\n"));
        let before = World::moves();
        echo.turn();
        clients.retain_mut(|client| {
            let result = client.turn(&mut random);
            complete += usize::from(matches!(result, Ok(true)));
            matches!(result, Ok(false))
        });
        if World::moves() == before && World::is_quiet() && !World::advance() {
            break;
        }
    }
    let trace = World::trace().join("\n");
    assert!(clients.is_empty(), "seed {seed} forgot somebody:\n{trace}");
    assert!(echo.links.is_empty(), "seed {seed} left a link:\n{trace}");
    assert_eq!(World::open_sockets(), 0, "seed {seed} leaks:\n{trace}");
    (complete, World::fingerprint())
}

#[test]
fn nothing_is_lost_however_bumpy_the_way() {
    for seed in 0..30 {
        for (trusts_short_reads, split_events) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let faults = Faults { split_events, spurious_events: 10, ..Faults::bumpy() };
            assert_eq!(run(seed, faults, trusts_short_reads).0, 5, "seed {seed}");
        }
    }
}

#[test]
fn what_breaks_breaks_for_both_and_leaves_nothing_behind() {
    let complete: usize = (0..100).map(|seed| run(seed, Faults::rough(), true).0).sum();
    assert!((50..450).contains(&complete), "{complete} of 500 got through");
}

#[test]
fn a_seed_replays_exactly_and_another_is_another() {
    for seed in 0..10 {
        let sum = run(seed, Faults::rough(), true).1;
        assert_eq!(run(seed, Faults::rough(), true).1, sum);
        assert_ne!(run(seed + 1, Faults::rough(), true).1, sum);
    }
}

#[test]
fn bytes_take_the_time_that_was_drawn_and_no_longer() {
    World::reset(1, Faults { delay_us: 500..=500, ..Faults::none() });
    let (client, server) = pair();
    let begin_us = monotonic_us();
    client.write(b"slow").unwrap();
    World::advance_by(499);
    assert_eq!(server.read(&mut [0; 8]).unwrap(), Progress::WouldBlock);
    assert!(World::advance());
    assert_eq!(monotonic_us() - begin_us, 500);
    assert_eq!(server.read(&mut [0; 8]).unwrap(), Progress::Moved(4));
}

fn pair() -> (Socket, Socket) {
    let listener = ListenSocket::bind(&address()).unwrap();
    let client = connect(&endpoint()).unwrap();
    loop {
        if let Some((server, _)) = listener.accept().unwrap() {
            return (client, server);
        }
        assert!(World::advance());
    }
}

#[test]
fn a_connect_that_takes_its_time_is_an_event_when_it_is_there() {
    World::reset(1, Faults { delay_us: 500..=500, ..Faults::none() });
    let _listener = ListenSocket::bind(&address()).unwrap();
    let multiplexor = Multiplexor::new().unwrap();
    let client = connect(&endpoint()).unwrap();
    multiplexor.add(&client, Token(1)).unwrap();
    let mut events = Vec::new();
    multiplexor.wait(&mut events, None).unwrap();
    assert_eq!(events, []);
    assert!(World::is_quiet() && World::advance());
    multiplexor.wait(&mut events, None).unwrap();
    let [event] = events[..] else { panic!("{events:?}") };
    assert!(event.writable && !event.readable && !event.hang_up, "{event:?}");
}

/// As Linux does it: a third must be free, and only who was told of no room is told of room.
#[test]
fn room_is_an_event_for_who_was_told_that_there_is_none() {
    World::reset(1, Faults { capacity: 90..=90, ..Faults::none() });
    let (client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&client, Token(1)).unwrap();
    let mut events = Vec::new();
    let mut next = || {
        multiplexor.wait(&mut events, None).unwrap();
        let event = events.first();
        event.map(|event| (event.readable, event.writable))
    };
    assert_eq!(next(), Some((false, true)));
    client.write(&[0; 70]).unwrap();
    assert_eq!(server.read(&mut [0; 90]).unwrap(), Progress::Moved(70));
    assert_eq!(next(), None, "it never ran out of room");
    client.write(&[0; 70]).unwrap();
    server.write(b"x").unwrap();
    assert_eq!(next(), Some((true, false)));
    assert_eq!(server.read(&mut [0; 9]).unwrap(), Progress::Moved(9));
    assert_eq!(next(), None, "not enough room");
    assert_eq!(server.read(&mut [0; 2]).unwrap(), Progress::Moved(2));
    assert_eq!(next(), Some((true, true)));
    assert_eq!(client.write(&[0; 90]).unwrap(), Progress::Moved(31));
    assert_eq!(server.read(&mut [0; 90]).unwrap(), Progress::Moved(90));
    assert_eq!(next(), Some((true, true)));
    assert_eq!(next(), None);
}

#[test]
fn split_events_tell_only_what_is_new() {
    World::reset(1, Faults { split_events: true, ..Faults::none() });
    let (client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add(&server, Token(1)).unwrap();
    client.write(b"x").unwrap();
    let mut events = Vec::new();
    let mut next = || {
        multiplexor.wait(&mut events, None).unwrap();
        events.iter().map(|event| (event.readable, event.writable)).collect::<Vec<_>>()
    };
    assert_eq!(next(), [(true, false), (false, true)]);
    client.write(b"y").unwrap();
    assert_eq!(next(), [(true, false)]);
    drop(client);
    assert_eq!(next(), [(true, false)]);
    assert_eq!(next(), []);
}

#[test]
fn the_clock_moves_to_the_next_deadline_and_no_further() {
    World::reset(1, Faults::none());
    let multiplexor = Multiplexor::new().unwrap();
    assert!(!World::is_quiet(), "it has never waited");
    let mut events = Vec::new();
    let (begin_us, begin_wall_us) = (monotonic_us(), wall_us());
    multiplexor.wait(&mut events, None).unwrap();
    assert!(World::is_quiet());
    assert!(!World::advance(), "everybody sleeps for ever");
    multiplexor.wait(&mut events, Some(1500)).unwrap();
    World::alarm(begin_us + 200);
    World::alarm(begin_us + 1501);
    assert!(World::is_quiet());
    assert!(World::advance());
    assert_eq!(monotonic_us() - begin_us, 200);
    assert!(World::advance());
    assert_eq!(monotonic_us() - begin_us, 1500);
    assert_eq!(wall_us() - begin_wall_us, 1500);
    assert!(!World::is_quiet(), "the deadline is there, and nobody has acted on it");
    World::shift_wall(-1_000_000);
    assert!(wall_us() < begin_wall_us);
    assert_eq!(monotonic_us() - begin_us, 1500);
}

#[test]
fn sleepers_may_oversleep_but_never_wake_early() {
    World::reset(3, Faults { late_us: 10..=20, ..Faults::none() });
    let multiplexor = Multiplexor::new().unwrap();
    let begin_us = monotonic_us();
    multiplexor.wait(&mut Vec::new(), Some(100)).unwrap();
    assert!(World::advance());
    assert!((110..=120).contains(&(monotonic_us() - begin_us)));
}

#[test]
fn a_world_is_not_quiet_while_an_event_is_owed() {
    World::reset(1, Faults::none());
    let (client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    let mut events = Vec::new();
    multiplexor.add(&server, Token(1)).unwrap();
    multiplexor.wait(&mut events, None).unwrap();
    assert_eq!(events.len(), 1);
    assert!(!World::is_quiet(), "who got an event has things to do");
    multiplexor.wait(&mut events, None).unwrap();
    assert!(World::is_quiet());
    client.write(b"x").unwrap();
    assert!(!World::is_quiet());
    multiplexor.wait(&mut events, None).unwrap();
    multiplexor.wait(&mut events, None).unwrap();
    assert!(World::is_quiet());
    let waker = Waker::new().unwrap();
    multiplexor.add_waker(&waker, Token(2)).unwrap();
    assert!(World::is_quiet());
    waker.wake();
    assert!(!World::is_quiet());
}

#[test]
fn fates_decide_about_connects() {
    World::reset(1, Faults::none());
    let _listener = ListenSocket::bind(&address()).unwrap();
    World::set_fate(&endpoint(), Fate::Refuse);
    let socket = connect(&endpoint()).unwrap();
    World::advance();
    assert_eq!(socket.connect_error().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    World::set_fate(&endpoint(), Fate::Silence);
    let (socket, begin_us) = (connect(&endpoint()).unwrap(), monotonic_us());
    socket.connect_error().unwrap();
    assert_eq!(socket.write(b"x").unwrap(), Progress::WouldBlock);
    assert!(World::advance());
    assert_eq!(monotonic_us() - begin_us, 127_000_000);
    assert_eq!(socket.connect_error().unwrap_err().kind(), ErrorKind::TimedOut);
    World::set_fate(&endpoint(), Fate::Answer);
    let source = "192.0.2.7:1234".parse().unwrap();
    let _client = World::connect_from(source, &endpoint()).unwrap();
    let (_server, peer) = _listener.accept().unwrap().unwrap();
    assert_eq!(peer.to_string(), "192.0.2.7:1234");
}

#[test]
fn a_cut_connection_is_broken_for_both() {
    World::reset(1, Faults::none());
    let (client, server) = pair();
    client.write(b"lost").unwrap();
    assert_eq!(server.read(&mut [0; 1]).unwrap(), Progress::Moved(1), "the rest has arrived too");
    client.write(b"and on its way").unwrap();
    World::cut(&client);
    for socket in [&client, &server] {
        let error = socket.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(socket.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    assert_eq!(World::open_sockets(), 2, "they are open until somebody closes them");
}

#[test]
fn what_is_held_arrives_when_it_is_released() {
    World::reset(1, Faults::none());
    let (client, server) = pair();
    World::hold(&server);
    client.write(b"first").unwrap();
    client.shut_down_write().unwrap();
    server.write(b"other way").unwrap();
    World::advance_by(60_000_000);
    assert_eq!(server.read(&mut [0; 9]).unwrap(), Progress::WouldBlock);
    assert_eq!(client.read(&mut [0; 9]).unwrap(), Progress::WouldBlock);
    World::release(&client);
    assert_eq!(server.read(&mut [0; 9]).unwrap(), Progress::Moved(5));
    assert_eq!(server.read(&mut [0; 9]).unwrap(), Progress::Closed);
    assert_eq!(client.read(&mut [0; 9]).unwrap(), Progress::Moved(9));
}

#[test]
fn a_watched_listener_can_run_out_of_descriptors() {
    World::reset(1, Faults::none());
    let listener = ListenSocket::bind(&address()).unwrap();
    let multiplexor = Multiplexor::new().unwrap();
    multiplexor.add_listener(&listener, LISTENER).unwrap();
    let _client = connect(&endpoint()).unwrap();
    World::fail_accepts(2);
    let mut events = Vec::new();
    for _ in 0..2 {
        multiplexor.wait(&mut events, None).unwrap();
        assert_eq!(events.len(), 1);
        let error = listener.accept().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    }
    assert!(listener.accept().unwrap().is_some(), "the connection was not lost");
}

#[test]
fn names_are_answered_from_the_table_and_never_within_the_question() {
    World::reset(1, Faults::none());
    World::name("redis-1", &["10.0.0.1:0".parse().unwrap(), "10.0.0.2:0".parse().unwrap()]);
    World::slow_name("redis-2", &["10.0.0.3:0".parse().unwrap()], 700);
    let answers = Arc::new(Mutex::new(Vec::new()));
    let resolver = Resolver::new();
    let ask = |name: &str| {
        let answers = Arc::clone(&answers);
        let done = move |answer: io::Result<Vec<SocketAddr>>| {
            answers.lock().unwrap().push(format!("{:?}", answer.map_err(|error| error.kind())));
        };
        resolver.resolve(name, 6379, Box::new(done));
    };
    let take = || std::mem::take(&mut *answers.lock().unwrap());
    ask("REDIS-1");
    ask("redis-2");
    ask("redis-3");
    ask("::1");
    assert!(take().is_empty());
    Multiplexor::new().unwrap().wait(&mut Vec::new(), None).unwrap();
    let want = ["Ok([10.0.0.1:6379, 10.0.0.2:6379])", "Err(NotFound)", "Ok([[::1]:6379])"];
    assert_eq!(take(), want);
    World::advance_by(699);
    assert!(take().is_empty());
    World::advance_by(1);
    assert_eq!(take(), ["Ok([10.0.0.3:6379])"]);
}

#[test]
fn a_new_world_knows_nothing_of_the_old_one() {
    World::reset(1, Faults::none());
    let (client, server) = pair();
    let multiplexor = Multiplexor::new().unwrap();
    let _listener = ListenSocket::bind(&address()).unwrap();
    let number = client.number();
    World::reset(1, Faults::none());
    assert_eq!((World::open_sockets(), World::open_listeners()), (0, 0));
    let (new_client, new_server) = pair();
    assert_eq!(new_client.number(), number, "things are shown as if there had been no other world");
    assert!(client.read(&mut [0; 8]).is_err());
    assert!(multiplexor.add(&new_client, Token(1)).is_err());
    assert!(multiplexor.wait(&mut Vec::new(), None).is_err());
    drop((client, server));
    assert_eq!(World::open_sockets(), 2);
    new_client.write(b"x").unwrap();
    assert_eq!(new_server.read(&mut [0; 8]).unwrap(), Progress::Moved(1));
}

#[test]
fn the_trace_is_bounded_and_tells_what_happened() {
    World::reset(1, Faults::none());
    World::note(format_args!("a line of the test"));
    assert_eq!(World::trace(), ["0 a line of the test"]);
    for _ in 0..10_000 {
        World::note(format_args!("and many more"));
    }
    let trace = World::trace();
    assert_eq!(trace.len(), 4096);
    assert_eq!(trace[0], "0 and many more");
}

#[test]
fn there_are_no_threads() {
    static RAN: AtomicU32 = AtomicU32::new(0);
    let result = thread::spawn("handler", || {
        RAN.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(RAN.load(Ordering::SeqCst), 0);
}
