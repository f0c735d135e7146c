//! A Linux that does not know the newer calls, as old kernels, strict sandboxes and emulators are: a
//! filter of the kernel's own answers them for one thread.

use super::support::descriptors_do_not_survive_an_exec_and_never_block;
use super::*;
use crate::sys::thread;

/// What the kernel wants to know of a call: its number, and its first argument.
const NUMBER_AT: u32 = 0;
const FIRST_ARGUMENT_AT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

fn statement(code: u32, jump: [u8; 2], value: u32) -> libc::sock_filter {
    let code = u16::try_from(code).expect("a code of the filter's language");
    libc::sock_filter { code, jt: jump[0], jf: jump[1], k: value }
}

/// Makes these calls of this thread fail from now on; false where that cannot be done.
fn refuse(calls: &[libc::c_long], family: Option<i32>) -> bool {
    let load = |at| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, [0, 0], at);
    let answer = |what| statement(libc::BPF_RET | libc::BPF_K, [0, 0], what);
    let skip_unless = |value: u32, skip: u8| {
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, [0, skip], value)
    };
    let error = |code: i32| answer(libc::SECCOMP_RET_ERRNO | code.cast_unsigned());
    let mut filter = vec![load(NUMBER_AT)];
    for call in calls {
        filter.push(skip_unless(u32::try_from(*call).expect("the number of a call"), 1));
        filter.push(error(libc::ENOSYS));
    }
    if let Some(family) = family {
        filter.push(skip_unless(u32::try_from(libc::SYS_socket).expect("a number"), 3));
        filter.push(load(FIRST_ARGUMENT_AT));
        filter.push(skip_unless(family.cast_unsigned(), 1));
        filter.push(error(libc::EAFNOSUPPORT));
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    let length = u16::try_from(filter.len()).expect("a short filter");
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    let (on, no): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: with this option prctl takes and gives integers only.
    let allowed = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, on, no, no, no) };
    let mode = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
    // SAFETY: the program names `filter` and its length, and both outlive the call, which copies.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
    allowed == 0 && set == 0
}

/// Runs `check` in a thread of its own that has less than others.
fn with_less(calls: &'static [libc::c_long], family: Option<i32>, check: fn()) {
    let body = move || {
        if refuse(calls, family) {
            check();
        } else {
            eprintln!("skipped: no filters here");
        }
    };
    thread::spawn("old kernel", body).unwrap().join().expect("what is promised also holds here");
}

/// The C library makes all its pipes with pipe2, so that stays.
#[test]
fn without_accept4_and_eventfd_nothing_is_missed() {
    with_less(&[libc::SYS_accept4, libc::SYS_eventfd2], None, || {
        // SAFETY: takes and gives integers only.
        assert_eq!(unsafe { libc::eventfd(0, 0) }, -1, "the filter works");
        descriptors_do_not_survive_an_exec_and_never_block();
        a_waker_is_readable_from_its_wake_until_it_is_drained();
        a_connect_becomes_writable_and_tells_that_it_went_well();
        unix_sockets_work_like_tcp();
    });
}

#[test]
fn without_ipv6_a_star_is_every_ipv4_address() {
    with_less(&[], Some(libc::AF_INET6), || {
        let six = Address::Ip(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
        let error = ListenSocket::bind(&six).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EAFNOSUPPORT));
        a_star_is_every_address_of_this_host();
        ipv6_works_like_ipv4();
        a_name_can_be_listened_at();
    });
}
