//! Time, and calls that wait for it.

use std::sync::mpsc;
use std::thread;

use super::library::until_parked;
use super::*;

#[test]
fn time_moves_by_what_is_slept_and_spun() {
    let library = Library::load("");
    let start = library.micros();
    library.sleep(1_000_000);
    let slept = library.micros();
    assert_eq!(slept - start, 1_000_001);
    assert_eq!(library.micros() - slept, 1, "a loop that asks for the time comes to its end");
}

#[test]
fn netdev_receive_moves_the_time_to_the_next_packet_and_ends_when_none_can_come() {
    let library = Library::load("syn_retries=1,local=192.168.7.9");
    let fd = library.socket(libc::SOCK_NONBLOCK);
    let to = address(REMOTE, 80);
    call!(library, connect, fd, (&raw const to).cast(), 16);
    let first = library.next().expect("a SYN").at;
    let second = library.next().expect("a SYN again").at;
    assert!((1_000_000..1_002_000).contains(&(second - first)), "{}", second - first);
    assert!(library.next().is_none());
    let error = library.number(fd, libc::SOL_SOCKET, libc::SO_ERROR);
    assert_eq!(error, Ok(libc::ETIMEDOUT));
    call!(library, close, fd);
}

/// Runs `blocked` on a thread of its own, and `meanwhile` once it is parked. What each gave.
fn beside<R: Send>(
    library: &Library,
    blocked: impl FnOnce() -> R + Send,
    meanwhile: impl FnOnce(),
) -> (R, i64) {
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let waiting = scope.spawn(move || {
            // SAFETY: a question without arguments.
            tell.send(unsafe { libc::gettid() }).expect("the test waits for it");
            let result = blocked();
            (result, library.micros())
        });
        until_parked(told.recv().expect("the thread tells it first"));
        meanwhile();
        waiting.join().expect("no panic")
    })
}

#[test]
fn established_blocked_read_returns_at_the_instant_of_the_text() {
    let conn = Accepted::new("");
    let (fd, library) = (conn.fd, &conn.library);
    let start = library.micros();
    let read = || {
        let mut text = [0_u8; 8];
        call!(library, read, fd, text.as_mut_ptr().cast(), 8)
    };
    let (got, at) = beside(library, read, || {
        library.sleep(300_000);
        conn.inject(ACK, b"abc");
        library.sleep(500_000);
    });
    assert_eq!((got, at - start), (3, 300_000));
}

#[test]
fn established_blocked_poll_gives_up_in_time_though_nobody_moves_the_clock() {
    let conn = Accepted::new("");
    let (fd, library) = (conn.fd, &conn.library);
    let start = library.micros();
    let poll = || {
        let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        call!(library, poll, &mut entry, 1, 250)
    };
    // The test waits for the thread, as the tool does, in a futex.
    let (ready, at) = beside(library, poll, || {});
    assert_eq!((ready, at - start), (0, 250_000));
}

#[test]
fn closed_blocking_connect_by_the_home_thread_moves_the_clock_itself() {
    let library = Library::load("syn_retries=2");
    let fd = library.socket(0);
    let to = address(REMOTE, 80);
    let start = library.micros();
    assert_eq!(call!(library, connect, fd, (&raw const to).cast(), 16), -1);
    assert_eq!(errno(), libc::ETIMEDOUT);
    assert!(library.micros() - start >= 7_000_000, "1 s, 2 s and 4 s");
    call!(library, close, fd);
}

#[test]
fn poll_says_what_a_socket_is_ready_for() {
    let mut conn = Accepted::new("");
    let both = libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP;
    assert_eq!(conn.library.ready(conn.fd, both), libc::POLLOUT);
    conn.hear(b"abc");
    assert_eq!(conn.library.ready(conn.fd, both), libc::POLLIN | libc::POLLOUT);
    conn.inject(Flags::RST, &[]);
    let ready = conn.library.ready(conn.fd, both);
    assert_eq!(ready, both | libc::POLLERR | libc::POLLHUP);
    assert_eq!(conn.library.ready(9999, both), libc::POLLNVAL);
}

#[test]
fn epoll_reports_levels_edges_and_one_shots() {
    let mut conn = Accepted::new("");
    let epoll = call!(conn.library, epoll_create, 1);
    assert!(epoll >= 0);
    let (input, edge) = (libc::EPOLLIN as u32, libc::EPOLLET as u32);
    let ctl = |conn: &Accepted, op, events: u32| {
        let mut event = libc::epoll_event { events, u64: 77 };
        call!(conn.library, epoll_ctl, epoll, op, conn.fd, &mut event)
    };
    let wait = |conn: &Accepted| {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let count = call!(conn.library, epoll_wait, epoll, &mut event, 1, 0);
        let (events, data) = (event.events, event.u64);
        (count, events, data)
    };
    assert_eq!(ctl(&conn, libc::EPOLL_CTL_ADD, input), 0);
    assert_eq!((ctl(&conn, libc::EPOLL_CTL_ADD, input), errno()), (-1, libc::EEXIST));
    assert_eq!(wait(&conn).0, 0);
    conn.hear(b"abc");
    assert_eq!((wait(&conn), wait(&conn)), ((1, input, 77), (1, input, 77)));
    assert_eq!(ctl(&conn, libc::EPOLL_CTL_MOD, input | edge), 0);
    assert_eq!((wait(&conn).0, wait(&conn).0), (1, 0));
    conn.hear(b"def");
    assert_eq!((wait(&conn).0, wait(&conn).0), (1, 0));
    assert_eq!(ctl(&conn, libc::EPOLL_CTL_MOD, input | libc::EPOLLONESHOT as u32), 0);
    assert_eq!((wait(&conn).0, wait(&conn).0), (1, 0));
    conn.hear(b"ghi");
    assert_eq!(wait(&conn).0, 0);
    assert_eq!(ctl(&conn, libc::EPOLL_CTL_DEL, 0), 0);
    assert_eq!((ctl(&conn, libc::EPOLL_CTL_DEL, 0), errno()), (-1, libc::ENOENT));
    assert_eq!(call!(conn.library, close, epoll), 0);
}
