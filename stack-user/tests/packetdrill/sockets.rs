//! Calls on sockets.

use std::mem::size_of;
use std::ptr;

use super::*;

const FIN: Flags = Flags::FIN;

/// `struct linger`.
#[repr(C)]
struct Linger(i32, i32);

fn iovec(text: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() }
}

fn message(parts: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: zero is a value of every member.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (parts.as_mut_ptr(), parts.len());
    message
}

#[test]
fn established_every_read_gives_the_peers_text() {
    let mut conn = Accepted::new("");
    let mut text = [0_u8; 20];
    let into = text.as_mut_ptr().cast();
    conn.hear(b"0123456789abcdefghijklmno");
    let mut queued = 0_i32;
    assert_eq!(call!(conn.library, ioctl, conn.fd, libc::FIONREAD, &raw mut queued), 0);
    assert_eq!(queued, 25);
    assert_eq!(call!(conn.library, recv, conn.fd, into, 3, libc::MSG_PEEK), 3);
    assert_eq!(call!(conn.library, read, conn.fd, into, 5), 5);
    assert_eq!(&text[..5], b"01234");
    assert_eq!(call!(conn.library, recv, conn.fd, into, 5, 0), 5);
    assert_eq!(&text[..5], b"56789");
    let mut len = 16;
    let null = ptr::null_mut();
    assert_eq!(call!(conn.library, recvfrom, conn.fd, into, 5, 0, null, &mut len), 5);
    assert_eq!((&text[..5], len), (&b"abcde"[..], 0));
    let (mut first, mut second) = ([0; 2], [0; 3]);
    let mut parts = [iovec(&mut first), iovec(&mut second)];
    assert_eq!(call!(conn.library, readv, conn.fd, parts.as_ptr(), 2), 5);
    let mut asked = message(&mut parts);
    assert_eq!((&first, &second), (b"fg", b"hij"));
    assert_eq!(call!(conn.library, recvmsg, conn.fd, &mut asked, 0), 5);
    assert_eq!((&first, &second), (b"kl", b"mno"));
    let dont_wait = libc::MSG_DONTWAIT;
    assert_eq!(
        (call!(conn.library, recv, conn.fd, into, 5, dont_wait), errno()),
        (-1, libc::EAGAIN)
    );
    conn.inject(FIN.union(ACK), &[]);
    assert_eq!(call!(conn.library, read, conn.fd, into, 5), 0);
}

#[test]
fn established_every_write_reaches_the_peer() {
    let mut conn = Accepted::new("");
    let mut text = *b"abcdef";
    let from = text.as_ptr().cast();
    assert_eq!(call!(conn.library, write, conn.fd, from, 6), 6);
    let mut queued = 0_i32;
    assert_eq!(call!(conn.library, ioctl, conn.fd, libc::TIOCOUTQ, &raw mut queued), 0);
    assert_eq!((queued, conn.written()), (6, b"abcdef".to_vec()));
    assert_eq!(call!(conn.library, send, conn.fd, from, 3, libc::MSG_NOSIGNAL), 3);
    assert_eq!(conn.written(), b"abc");
    assert_eq!(call!(conn.library, sendto, conn.fd, from, 2, 0, ptr::null(), 0), 2);
    assert_eq!(conn.written(), b"ab");
    let mut more = *b"XY";
    let mut parts = [iovec(&mut text), iovec(&mut more)];
    assert_eq!(call!(conn.library, writev, conn.fd, parts.as_ptr(), 2), 8);
    assert_eq!(conn.written(), b"abcdefXY");
    let asked = message(&mut parts);
    assert_eq!(call!(conn.library, sendmsg, conn.fd, &asked, 0), 8);
    assert_eq!(conn.written(), b"abcdefXY");
    assert_eq!((call!(conn.library, write, conn.fd, ptr::null(), 3), errno()), (-1, libc::EFAULT));
    assert_eq!(call!(conn.library, shutdown, conn.fd, libc::SHUT_WR), 0);
    assert!(conn.next().header.flags.contains(FIN));
    assert_eq!((call!(conn.library, write, conn.fd, from, 6), errno()), (-1, libc::EPIPE));
}

#[test]
fn established_close_sends_fin_and_what_is_no_descriptor_is_refused() {
    let conn = Accepted::new("");
    assert_eq!(call!(conn.library, close, conn.fd), 0);
    assert!(conn.next().header.flags.contains(FIN));
    let nobodys = i32::MAX;
    assert_eq!((call!(conn.library, close, nobodys), errno()), (-1, libc::EBADF));
    assert_eq!((call!(conn.library, shutdown, nobodys, 0), errno()), (-1, libc::EBADF));
}

#[test]
fn options_say_what_was_set() {
    let conn = Accepted::new("rcvbuf=200000,cc=reno");
    let (library, fd) = (&conn.library, conn.fd);
    let (socket, tcp) = (libc::SOL_SOCKET, libc::IPPROTO_TCP);
    for (level, name, value) in [
        (socket, libc::SO_REUSEADDR, 1),
        (socket, libc::SO_KEEPALIVE, 1),
        (tcp, libc::TCP_KEEPIDLE, 7),
        (tcp, libc::TCP_KEEPINTVL, 8),
        (tcp, libc::TCP_KEEPCNT, 9),
        (tcp, libc::TCP_NODELAY, 1),
        (tcp, libc::TCP_CORK, 1),
        (tcp, libc::TCP_USER_TIMEOUT, 1234),
        (tcp, libc::TCP_SYNCNT, 3),
        (tcp, libc::TCP_LINGER2, 5),
        (tcp, libc::TCP_QUICKACK, 1),
        (tcp, libc::TCP_NOTSENT_LOWAT, 4000),
        (libc::IPPROTO_IP, libc::IP_TOS, 0x10),
        (libc::IPPROTO_IP, libc::IP_TTL, 7),
    ] {
        assert_eq!(library.set(fd, level, name, value), 0, "{level} {name}");
        assert_eq!(library.number(fd, level, name), Ok(value), "{level} {name}");
    }
    assert_eq!(library.number(fd, socket, libc::SO_RCVBUF), Ok(200_000));
    for name in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
        assert_eq!(library.set(fd, socket, name, 30_000), 0);
        assert_eq!(library.number(fd, socket, name), Ok(60_000));
    }
    assert_eq!(library.number(fd, socket, libc::SO_ERROR), Ok(0));
    assert_eq!(library.number(fd, tcp, libc::TCP_MAXSEG), Ok(1000));
    assert_eq!((library.set(fd, tcp, libc::TCP_MAXSEG, 5), errno()), (-1, libc::EINVAL));
    // The lower two bits are ECN's, and a packet travels at least one hop.
    assert_eq!(library.set(fd, libc::IPPROTO_IP, libc::IP_TOS, 0x13), 0);
    assert_eq!(library.number(fd, libc::IPPROTO_IP, libc::IP_TOS), Ok(0x10));
    assert_eq!((library.set(fd, libc::IPPROTO_IP, libc::IP_TTL, 0), errno()), (-1, libc::EINVAL));
    assert_eq!((library.set(fd, tcp, 999, 5), errno()), (-1, libc::EOPNOTSUPP));
    assert_eq!(library.number(fd, tcp, 999), Err(libc::EOPNOTSUPP));
    assert_eq!(library.set(conn.listener, tcp, libc::TCP_DEFER_ACCEPT, 3), 0);
    assert_eq!(library.number(conn.listener, tcp, libc::TCP_DEFER_ACCEPT), Ok(3));

    let linger = Linger(1, 30);
    let at = (&raw const linger).cast();
    assert_eq!(call!(library, setsockopt, fd, socket, libc::SO_LINGER, at, 8), 0);
    let mut name = [0_u8; 16];
    let mut len = 16;
    let into = name.as_mut_ptr().cast();
    assert_eq!(call!(library, getsockopt, fd, tcp, libc::TCP_CONGESTION, into, &mut len), 0);
    assert_eq!(&name[..5], b"reno\0");
    let mut info = [0_u8; 512];
    let mut len = 512;
    let into = info.as_mut_ptr().cast();
    assert_eq!(call!(library, getsockopt, fd, tcp, libc::TCP_INFO, into, &mut len), 0);
    assert!(len as usize >= size_of::<libc::tcp_info>());
    assert_eq!((info[0], info[80]), (1, 10), "established, ten segments of window");
}

#[test]
fn options_of_ip_show_in_its_header() {
    let conn = Accepted::new("");
    let (library, fd) = (&conn.library, conn.fd);
    conn.inject(ACK, b"a");
    assert_eq!(conn.next().delivery, (0, 64));
    for (name, value) in [(libc::IP_TOS, 0x10), (libc::IP_TTL, 7)] {
        assert_eq!(library.set(fd, libc::IPPROTO_IP, name, value), 0);
    }
    // It was heard before: the answer is again an acknowledgment.
    conn.inject(ACK, b"a");
    assert_eq!(conn.next().delivery, (0x10, 7));
}

#[test]
fn fcntl_and_ioctl_switch_blocking() {
    let library = Library::load("");
    let fd = library.socket(libc::SOCK_NONBLOCK);
    let blocking = || call!(library, fcntl, fd, libc::F_GETFL) & libc::O_NONBLOCK == 0;
    assert!(!blocking());
    assert_eq!(call!(library, fcntl, fd, libc::F_SETFL, libc::O_RDWR), 0);
    assert!(blocking());
    let mut on = 1_i32;
    assert_eq!(call!(library, ioctl, fd, libc::FIONBIO, &raw mut on), 0);
    assert!(!blocking());
    assert_eq!(
        (call!(library, accept, fd, ptr::null_mut(), ptr::null_mut()), errno()),
        (-1, libc::EINVAL)
    );
    assert_eq!(call!(library, close, fd), 0);
}

#[test]
fn syn_sent_connect_that_is_refused_says_so_once() {
    let library = Library::load("local=192.168.7.9");
    let fd = library.socket(libc::SOCK_NONBLOCK);
    let to = address(REMOTE, 80);
    let at = (&raw const to).cast();
    assert_eq!((call!(library, connect, fd, at, 16), errno()), (-1, libc::EINPROGRESS));
    assert_eq!((call!(library, connect, fd, at, 16), errno()), (-1, libc::EALREADY));
    let syn = library.next().expect("a SYN");
    let options = [syn.options.mss, syn.options.window_scale.map(u16::from)];
    assert_eq!((syn.header.flags, options), (Flags::SYN, [Some(1460), Some(8)]));
    let reset = header(0, syn.header.seq.wrapping_add(1), Flags::RST.union(ACK));
    library.inject((80, syn.header.src_port), reset, &Options::NONE, &[]);
    let refused = Ok(libc::ECONNREFUSED);
    assert_eq!(library.number(fd, libc::SOL_SOCKET, libc::SO_ERROR), refused);
    assert_eq!(library.number(fd, libc::SOL_SOCKET, libc::SO_ERROR), Ok(0));
    assert_eq!(call!(library, close, fd), 0);
}
