//! What kqueue(2) and kevent(2) promise, asked of the stand-in; a BSD would answer the same.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;

/// Long enough for a busy machine; only a test that fails waits for it.
const PATIENCE_MS: i64 = 10_000;

struct Kqueue(OwnedFd);

impl Kqueue {
    fn new() -> Kqueue {
        // SAFETY: takes nothing and gives an integer.
        let fd = check(unsafe { kqueue() }).unwrap();
        // SAFETY: we have just been given this number, so nobody else owns it.
        Kqueue(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn call(&self, changes: &[kevent], room: usize, timeout_ms: i64) -> io::Result<Vec<kevent>> {
        let mut events = vec![change_of(0, 0, 0, 0); room];
        let timeout =
            timespec { tv_sec: timeout_ms / 1000, tv_nsec: timeout_ms % 1000 * 1_000_000 };
        let (fd, counts) = (
            self.0.as_raw_fd(),
            [changes.len(), room].map(|count| c_int::try_from(count).unwrap()),
        );
        let (what, place) = (changes.as_ptr(), events.as_mut_ptr());
        // SAFETY: both pointers go with their counts, and all outlive the call.
        let count = unsafe { kevent(fd, what, counts[0], place, counts[1], &raw const timeout) };
        events.truncate(usize::try_from(check(count)?).unwrap());
        Ok(events)
    }

    fn change(&self, changes: &[kevent]) -> io::Result<()> {
        self.call(changes, 0, 0).map(drop)
    }

    fn now(&self) -> Vec<kevent> {
        self.call(&[], 8, 0).unwrap()
    }

    /// Waits for the one event that comes next.
    #[track_caller]
    fn next(&self) -> kevent {
        let events = self.call(&[], 8, PATIENCE_MS).unwrap();
        assert_eq!(events.len(), 1, "{events:?}");
        events[0]
    }
}

fn change_of(fd: RawFd, filter: i16, flags: u16, udata: usize) -> kevent {
    let (ident, udata) = (fd as usize, std::ptr::without_provenance_mut(udata));
    kevent { ident, filter, flags, fflags: 0, data: 0, udata, ext: [0; 4] }
}

fn read_of(socket: &TcpStream, flags: u16, udata: usize) -> kevent {
    change_of(socket.as_raw_fd(), EVFILT_READ, flags, udata)
}

fn write_of(socket: &TcpStream, flags: u16, udata: usize) -> kevent {
    change_of(socket.as_raw_fd(), EVFILT_WRITE, flags, udata)
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    (ours, theirs)
}

/// Waits until as many bytes have arrived, without taking them.
fn wait_for_bytes(socket: &TcpStream, size: usize) {
    socket.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS as u64))).unwrap();
    let mut room = vec![0; size];
    while socket.peek(&mut room).unwrap() < size {}
}

fn code(result: io::Result<()>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

#[test]
fn a_filter_is_active_until_all_is_read_and_says_how_much_that_is() {
    let (mut ours, mut theirs) = pair();
    let queue = Kqueue::new();
    queue.change(&[read_of(&theirs, EV_ADD, 7)]).unwrap();
    assert!(queue.now().is_empty());
    ours.write_all(b"hello").unwrap();
    for _ in 0..3 {
        let event = queue.next();
        assert_eq!((event.filter, event.data, event.udata.addr()), (EVFILT_READ, 5, 7));
    }
    assert_eq!(theirs.read(&mut [0; 16]).unwrap(), 5);
    assert!(queue.now().is_empty());
}

#[test]
fn with_ev_clear_only_what_is_new_counts() {
    let (mut ours, theirs) = pair();
    let queue = Kqueue::new();
    queue.change(&[read_of(&theirs, EV_ADD | EV_CLEAR, 1)]).unwrap();
    for bytes in [b"x", b"y"] {
        ours.write_all(bytes).unwrap();
        queue.next();
        assert!(queue.now().is_empty(), "nothing is new");
    }
}

#[test]
fn a_descriptor_has_a_note_for_each_filter() {
    let (mut ours, theirs) = pair();
    let queue = Kqueue::new();
    queue.change(&[read_of(&theirs, EV_ADD, 1), write_of(&theirs, EV_ADD, 2)]).unwrap();
    ours.write_all(b"x").unwrap();
    wait_for_bytes(&theirs, 1);
    let mut seen: Vec<_> =
        queue.now().iter().map(|event| (event.filter, event.udata.addr())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [(EVFILT_WRITE, 2), (EVFILT_READ, 1)]);
    queue.change(&[write_of(&theirs, EV_DELETE, 0)]).unwrap();
    assert_eq!(queue.next().filter, EVFILT_READ);
}

#[test]
fn with_ev_receipt_each_change_is_answered() {
    let (_ours, theirs) = pair();
    let changes =
        [read_of(&theirs, EV_ADD | EV_RECEIPT, 1), write_of(&theirs, EV_DELETE | EV_RECEIPT, 1)];
    let answers = Kqueue::new().call(&changes, 2, 0).unwrap();
    assert!(answers.iter().all(|answer| answer.flags & EV_ERROR != 0), "{answers:?}");
    let codes: Vec<_> = answers.iter().map(|answer| answer.data).collect();
    assert_eq!(codes, [0, i64::from(libc::ENOENT)]);
}

#[test]
fn an_error_without_room_for_it_is_errno() {
    let queue = Kqueue::new();
    let nobody = change_of(1_000_000, EVFILT_READ, EV_ADD, 1);
    assert_eq!(code(queue.change(&[nobody])), Some(libc::EBADF));
    let answers = queue.call(&[nobody], 1, 0).unwrap();
    assert_eq!((answers[0].flags, answers[0].data), (EV_ERROR, i64::from(libc::EBADF)));
    let unknown = change_of(0, 17, EV_ADD, 1);
    assert_eq!(code(queue.change(&[unknown])), Some(libc::EINVAL));
}

#[test]
fn the_end_is_told_with_the_bytes_before_it() {
    let (mut ours, theirs) = pair();
    let queue = Kqueue::new();
    ours.write_all(b"bye").unwrap();
    drop(ours);
    queue.change(&[read_of(&theirs, EV_ADD, 1)]).unwrap();
    let mut event = queue.next();
    // The bytes may have come a moment before the end.
    while event.flags & EV_EOF == 0 {
        event = queue.next();
    }
    assert_eq!(event.data, 3);
}

#[test]
fn one_shot_is_gone_after_its_event_and_dispatch_waits_to_be_enabled() {
    let (mut ours, theirs) = pair();
    let queue = Kqueue::new();
    ours.write_all(b"x").unwrap();
    queue.change(&[read_of(&theirs, EV_ADD | EV_ONESHOT, 1)]).unwrap();
    queue.next();
    assert!(queue.now().is_empty());
    assert_eq!(code(queue.change(&[read_of(&theirs, EV_DELETE, 1)])), Some(libc::ENOENT));
    queue.change(&[read_of(&theirs, EV_ADD | EV_DISPATCH, 1)]).unwrap();
    queue.next();
    assert!(queue.now().is_empty());
    queue.change(&[read_of(&theirs, EV_ENABLE, 1)]).unwrap();
    queue.next();
    queue.change(&[read_of(&theirs, EV_ADD, 1), read_of(&theirs, EV_DISABLE, 1)]).unwrap();
    assert!(queue.now().is_empty());
}

#[test]
fn a_user_event_comes_when_it_is_triggered() {
    let queue = Kqueue::new();
    let add = change_of(42, EVFILT_USER, EV_ADD | EV_CLEAR, 9);
    let trigger = kevent { flags: 0, fflags: NOTE_TRIGGER, ..add };
    assert_eq!(code(queue.change(&[trigger])), Some(libc::ENOENT));
    queue.change(&[add]).unwrap();
    assert!(queue.now().is_empty());
    queue.change(&[trigger]).unwrap();
    assert_eq!(queue.next().udata.addr(), 9);
    assert!(queue.now().is_empty());
}

#[test]
fn a_timer_comes_again_and_again() {
    let queue = Kqueue::new();
    let timer = kevent { data: 5, ..change_of(1, EVFILT_TIMER, EV_ADD, 5) };
    queue.change(&[timer]).unwrap();
    for _ in 0..3 {
        let event = queue.next();
        assert!(event.data >= 1 && event.udata.addr() == 5, "{event:?}");
    }
    queue.change(&[kevent { flags: EV_DELETE, ..timer }]).unwrap();
    assert!(queue.call(&[], 8, 20).unwrap().is_empty());
}

#[test]
fn adding_again_replaces_what_was_asked_for() {
    let (mut ours, theirs) = pair();
    let queue = Kqueue::new();
    ours.write_all(b"x").unwrap();
    queue.change(&[read_of(&theirs, EV_ADD, 1)]).unwrap();
    queue.change(&[read_of(&theirs, EV_ADD, 2)]).unwrap();
    assert_eq!(queue.next().udata.addr(), 2);
}

#[test]
fn a_descriptor_takes_its_notes_along_and_its_number_begins_anew() {
    let (mut ours, theirs) = pair();
    let queue = Kqueue::new();
    ours.write_all(b"x").unwrap();
    queue.change(&[read_of(&theirs, EV_ADD, 1)]).unwrap();
    queue.next();
    let (mut other, next) = pair();
    let (from, number) = (next.as_fd().as_raw_fd(), theirs.as_raw_fd());
    // Closes the one and opens the other in one step, so that no other test gets the number.
    // SAFETY: takes and gives integers only; `theirs` stays the owner of the number.
    check(unsafe { libc::dup2(from, number) }).unwrap();
    other.write_all(b"z").unwrap();
    wait_for_bytes(&theirs, 1);
    assert!(queue.now().is_empty(), "nobody has asked for the new one");
    assert_eq!(code(queue.change(&[read_of(&theirs, EV_DELETE, 1)])), Some(libc::ENOENT));
    queue.change(&[read_of(&theirs, EV_ADD, 3)]).unwrap();
    assert_eq!(queue.next().udata.addr(), 3);
}

#[test]
fn what_finds_no_room_comes_with_the_next_call() {
    let (mut ours, theirs) = pair();
    let queue = Kqueue::new();
    ours.write_all(b"x").unwrap();
    let how = EV_ADD | EV_CLEAR;
    queue.change(&[read_of(&theirs, how, 1), write_of(&theirs, how, 2)]).unwrap();
    let [first, second] = [(); 2].map(|()| queue.call(&[], 1, PATIENCE_MS).unwrap());
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first[0].filter, second[0].filter);
    assert!(queue.now().is_empty());
}

#[test]
fn another_thread_can_add_while_one_waits() {
    let (mut ours, theirs) = pair();
    let queue = Kqueue::new();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| queue.next().udata.addr());
        queue.change(&[read_of(&theirs, EV_ADD, 4)]).unwrap();
        ours.write_all(b"x").unwrap();
        assert_eq!(waiter.join().unwrap(), 4);
    });
}
