//! Every function of the library for packet scripts, loaded as packetdrill loads it.

mod library;
mod peer;
mod sockets;
mod waits;

use std::mem::{offset_of, size_of};
use std::ptr;

use library::{Library, call, errno};
use peer::{LOCAL, REMOTE, Seen, address, header};
use sluice::packetdrill::abi::Interface;
use sluice::wire::tcp::{Flags, Options};

const ACK: Flags = Flags::ACK;
const PORT: u16 = 8080;
const PEER_PORT: u16 = 40_000;

/// The tool's packetdrill.h, in its order: a pointer each.
#[test]
fn members_lie_in_the_order_of_the_header() {
    let offsets = [
        offset_of!(Interface, userdata),
        offset_of!(Interface, free),
        offset_of!(Interface, socket),
        offset_of!(Interface, bind),
        offset_of!(Interface, listen),
        offset_of!(Interface, accept),
        offset_of!(Interface, connect),
        offset_of!(Interface, read),
        offset_of!(Interface, readv),
        offset_of!(Interface, recv),
        offset_of!(Interface, recvfrom),
        offset_of!(Interface, recvmsg),
        offset_of!(Interface, write),
        offset_of!(Interface, writev),
        offset_of!(Interface, send),
        offset_of!(Interface, sendto),
        offset_of!(Interface, sendmsg),
        offset_of!(Interface, fcntl),
        offset_of!(Interface, ioctl),
        offset_of!(Interface, close),
        offset_of!(Interface, shutdown),
        offset_of!(Interface, getsockopt),
        offset_of!(Interface, setsockopt),
        offset_of!(Interface, poll),
        offset_of!(Interface, netdev_send),
        offset_of!(Interface, netdev_receive),
        offset_of!(Interface, usleep),
        offset_of!(Interface, gettimeofday),
        offset_of!(Interface, epoll_create),
        offset_of!(Interface, epoll_ctl),
        offset_of!(Interface, epoll_wait),
        offset_of!(Interface, pipe),
        offset_of!(Interface, splice),
    ];
    let pointers: Vec<usize> = (0..33).map(|n| n * size_of::<usize>()).collect();
    assert_eq!(offsets.to_vec(), pointers);
    assert_eq!(size_of::<Interface>(), 33 * size_of::<usize>());
}

/// A connection that the peer opened and that was accepted.
struct Accepted {
    library: Library,
    listener: i32,
    fd: i32,
    /// Our next number, and the peer's.
    ours: u32,
    theirs: u32,
}

impl Accepted {
    fn new(flags: &str) -> Self {
        let library = Library::load(flags);
        let listener = library.socket(0);
        let local = address(LOCAL, PORT);
        assert_eq!(call!(library, bind, listener, (&raw const local).cast(), 16), 0);
        assert_eq!(call!(library, listen, listener, 5), 0);
        let offer = Options { mss: Some(1000), ..Options::NONE };
        library.inject((PEER_PORT, PORT), header(99, 0, Flags::SYN), &offer, &[]);
        let answer = library.next().expect("a SYN-ACK");
        assert!(answer.header.flags.contains(Flags::SYN.union(ACK)));
        let ours = answer.header.seq.wrapping_add(1);
        library.inject((PEER_PORT, PORT), header(100, ours, ACK), &Options::NONE, &[]);
        let (mut from, mut len) = (address(LOCAL, 0), 16);
        let fd = call!(library, accept, listener, (&raw mut from).cast(), &mut len);
        assert!(fd >= 0 && fd != listener);
        let peer = address(REMOTE, PEER_PORT);
        assert_eq!(
            (len, from.sin_port, from.sin_addr.s_addr),
            (16, peer.sin_port, peer.sin_addr.s_addr)
        );
        Self { library, listener, fd, ours, theirs: 100 }
    }

    /// The peer sends text, which is acknowledged.
    fn hear(&mut self, text: &[u8]) {
        self.inject(ACK.union(Flags::PSH), text);
        self.theirs = self.theirs.wrapping_add(text.len() as u32);
        let answer = self.next();
        assert_eq!((answer.header.ack, answer.text.len()), (self.theirs, 0));
    }

    fn inject(&self, flags: Flags, text: &[u8]) {
        let header = header(self.theirs, self.ours, flags);
        self.library.inject((PEER_PORT, PORT), header, &Options::NONE, text);
    }

    fn next(&self) -> Seen {
        self.library.next().expect("a segment")
    }

    /// The segment that carries what was written, acknowledged.
    fn written(&mut self) -> Vec<u8> {
        let seen = self.next();
        assert_eq!(seen.header.seq, self.ours);
        self.ours = self.ours.wrapping_add(seen.text.len() as u32);
        self.inject(ACK, &[]);
        seen.text
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        call!(self.library, close, self.listener);
    }
}

#[test]
fn every_descriptor_can_be_closed_by_the_c_library() {
    let accepted = Accepted::new("");
    // SAFETY: a descriptor that the library gave, and that it uses no more, as the tool ends.
    assert_eq!(unsafe { libc::close(accepted.fd) }, 0);
}

#[test]
fn pipe_is_the_kernels_and_splice_is_not_supported() {
    let library = Library::load("");
    let mut ends = [0; 2];
    assert_eq!(call!(library, pipe, ends.as_mut_ptr()), 0);
    assert_eq!(call!(library, write, ends[1], b"abc".as_ptr().cast(), 3), 3);
    let mut text = [0_u8; 8];
    assert_eq!(call!(library, read, ends[0], text.as_mut_ptr().cast(), 8), 3);
    let null = ptr::null_mut();
    assert_eq!(call!(library, splice, ends[0], null, ends[1], ptr::null_mut(), 1, 0), -1);
    assert_eq!(errno(), libc::EOPNOTSUPP);
    for end in ends {
        assert_eq!(call!(library, close, end), 0);
    }
}
