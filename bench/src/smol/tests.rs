//! smoltcp as a worker drives it: batches of frames in, frames on a ring out.

use std::net::Ipv4Addr;

use sluice::datapath::Stack as _;
use sluice::shard::Transmit;
use sluice::tcp::HEADROOM;
use sluice::time::Instant;
use sluice::wire::tcp::{Flags, Header, Options, Packet};
use sluice::wire::{Addr, MacAddr, PROTOCOL_TCP, checksum, ethernet, ipv4, tcp};

use super::stack::Smol;
use crate::topology::{CLIENT_MAC, SERVER};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// On the network of the interface, where smoltcp believes it behind the router.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 20);
const PORT: u16 = 7;

/// A ring with so many slots.
struct Ring {
    slots: usize,
    buffer: [u8; 2_048],
    sent: Vec<Vec<u8>>,
}

impl Ring {
    fn new(slots: usize) -> Self {
        Self { slots, buffer: [0; 2_048], sent: Vec::new() }
    }

    /// What was sent to `port` since the last look: flags, number, acknowledgment, text.
    fn heard(&mut self, port: u16) -> Vec<(Flags, u32, u32, Vec<u8>)> {
        let frames = core::mem::take(&mut self.sent);
        let hear = |frame: &Vec<u8>| {
            let frame = ethernet::Frame::parse(frame, None).unwrap();
            assert_eq!((frame.dst, frame.src), (MacAddr(CLIENT_MAC), MacAddr(MAC)));
            let packet = ipv4::Packet::parse(frame.payload).unwrap();
            assert!(tcp::verify(packet.payload, &packet.src, &packet.dst), "the checksum is made");
            let segment = Packet::parse(packet.payload).unwrap();
            let flags = segment.flags.without(Flags::PSH);
            (segment.dst_port == port)
                .then(|| (flags, segment.seq, segment.ack, segment.payload.to_vec()))
        };
        frames.iter().filter_map(hear).collect()
    }
}

impl Transmit for Ring {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        (self.sent.len() < self.slots).then_some(&mut self.buffer[..])
    }

    fn commit(&mut self, start: usize, len: usize) {
        self.sent.push(self.buffer[start..start + len].to_vec());
    }
}

/// A client's frame.
fn frame(src_port: u16, (flags, seq, ack): (Flags, u32, u32), text: &[u8]) -> Vec<u8> {
    let window = 0xffff;
    let header = Header { src_port, dst_port: PORT, seq, ack, flags, window, ..Header::default() };
    let (client, server) = (Addr::from(CLIENT), Addr::from(SERVER));
    let mut buf = [0; 2_048];
    let head = HEADROOM + tcp::emit(&header, &Options::NONE, &mut buf[HEADROOM..]);
    let end = head + text.len();
    buf[head..end].copy_from_slice(text);
    tcp::fill_checksum(&mut buf[HEADROOM..end], &client, &server, checksum::sum(text));
    let before = &mut buf[..HEADROOM];
    let ip = ipv4::emit_header(before, &client, &server, PROTOCOL_TCP, end - HEADROOM);
    let ip = HEADROOM - ip;
    let (to, from) = (MacAddr(MAC), MacAddr(CLIENT_MAC));
    let start = ip - ethernet::emit(&mut before[..ip], to, from, ethernet::ETHERTYPE_IPV4, None);
    buf[start..end].to_vec()
}

/// One turn of a worker.
fn turn(smol: &mut Smol, frames: &[Vec<u8>], ring: &mut Ring, now: Instant) {
    let views: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    smol.on_frames(&views, &mut |_, _| panic!("one worker has all flows"), now);
    smol.drain(ring, now);
}

#[test]
fn batch_of_syns_finds_a_socket_for_each_and_each_echoes_and_closes() {
    let (mut smol, mut ring) = (Smol::new((MAC, 1_500), PORT), Ring::new(256));
    let now = Instant::from_millis(1);
    let ports = 40_000..40_064;
    // Twice: the second time the sockets are those of the first.
    for _ in 0..2 {
        let syns: Vec<_> =
            ports.clone().map(|port| frame(port, (Flags::SYN, 100, 0), &[])).collect();
        turn(&mut smol, &syns, &mut ring, now);
        let mut isns = Vec::new();
        let sent = core::mem::take(&mut ring.sent);
        for port in ports.clone() {
            ring.sent.clone_from(&sent);
            let heard = ring.heard(port);
            assert_eq!(heard.len(), 1, "one SYN-ACK for port {port}");
            assert_eq!((heard[0].0, heard[0].2), (Flags::SYN | Flags::ACK, 101));
            isns.push(heard[0].1);
        }
        ring.sent.clear();
        for (port, isn) in ports.clone().zip(isns) {
            let ack = isn.wrapping_add(1);
            turn(&mut smol, &[frame(port, (Flags::ACK, 101, ack), b"x")], &mut ring, now);
            assert_eq!(ring.heard(port), [(Flags::ACK, ack, 102, b"x".to_vec())]);
            let ack = ack.wrapping_add(1);
            let fin = frame(port, (Flags::FIN | Flags::ACK, 102, ack), &[]);
            turn(&mut smol, &[fin], &mut ring, now);
            let heard = ring.heard(port);
            assert_eq!(heard.last(), Some(&(Flags::FIN | Flags::ACK, ack, 103, Vec::new())));
            let ack = ack.wrapping_add(1);
            turn(&mut smol, &[frame(port, (Flags::ACK, 103, ack), &[])], &mut ring, now);
            assert_eq!(ring.heard(port), []);
        }
        assert!(smol.is_idle());
    }
}

#[test]
fn full_ring_leaves_work_that_is_done_later() {
    let (mut smol, mut none, mut ring) =
        (Smol::new((MAC, 1_500), PORT), Ring::new(0), Ring::new(8));
    let now = Instant::from_millis(1);
    turn(&mut smol, &[frame(40_000, (Flags::SYN, 100, 0), &[])], &mut none, now);
    assert!(smol.has_work());
    smol.drain(&mut ring, now);
    assert!(!smol.has_work());
    assert_eq!(ring.heard(40_000).len(), 1);
}

#[test]
fn reply_that_nobody_asked_for_waits_for_the_ring() {
    let (mut smol, mut ring) = (Smol::new((MAC, 1_500), PORT), Ring::new(8));
    let now = Instant::from_millis(1);
    // No connection: RST, which smoltcp makes while it looks at the frame.
    turn(&mut smol, &[frame(40_000, (Flags::ACK, 1, 5), b"x")], &mut ring, now);
    let heard = ring.heard(40_000);
    assert_eq!(heard.len(), 1);
    assert!(heard[0].0.has(Flags::RST));
}
