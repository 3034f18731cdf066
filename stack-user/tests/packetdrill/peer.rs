//! The other end: raw IP packets in and out, as the tool's scripts say them.

use std::net::Ipv4Addr;

use sluice::wire::tcp::{Flags, Header, Options, Packet, emit, fill_checksum};
use sluice::wire::{Addr, PROTOCOL_TCP, checksum, ipv4};

use crate::library::{Library, call};

pub const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 9);
pub const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A segment that left the library.
#[derive(Debug)]
pub struct Seen {
    pub header: Header,
    pub options: Options,
    pub text: Vec<u8>,
    /// The packet's TOS and TTL.
    pub delivery: (u8, u8),
    /// When it left, in microseconds since the epoch.
    pub at: i64,
}

impl Library {
    /// Sends a segment from port `from` of the peer to port `to`.
    pub fn inject(&self, (from, to): (u16, u16), header: Header, options: &Options, text: &[u8]) {
        let (src, dst) = (Addr::from(REMOTE), Addr::from(LOCAL));
        let header = Header { src_port: from, dst_port: to, ..header };
        let mut segment = vec![0; 60 + text.len()];
        let head = emit(&header, options, &mut segment);
        segment.truncate(head + text.len());
        segment[head..].copy_from_slice(text);
        fill_checksum(&mut segment, &src, &dst, checksum::sum(text));
        let mut packet = vec![0; ipv4::HEADER_LEN];
        ipv4::emit_header(&mut packet, &src, &dst, PROTOCOL_TCP, segment.len());
        packet.extend(segment);
        assert_eq!(call!(self, netdev_send, packet.as_ptr().cast(), packet.len()), 0);
    }

    /// The next segment to leave; `None` when none can come.
    pub fn next(&self) -> Option<Seen> {
        let (mut buffer, mut count, mut at) = ([0_u8; 4096], 4096_usize, 0_i64);
        let buffer_at = buffer.as_mut_ptr().cast();
        assert_eq!(call!(self, netdev_receive, buffer_at, &mut count, &mut at), 0);
        if count == 0 {
            return None;
        }
        let packet = ipv4::Packet::parse(&buffer[..count]).expect("an IPv4 packet");
        assert_eq!(IpAddrs(packet.src, packet.dst), IpAddrs(LOCAL.into(), REMOTE.into()));
        let segment = Packet::parse(packet.payload).expect("a segment");
        assert!(sluice::wire::tcp::verify(packet.payload, &packet.src, &packet.dst));
        let (options, text) = (segment.options, segment.payload.to_vec());
        let delivery = (buffer[1], buffer[8]);
        Some(Seen { header: segment.header(), options, text, delivery, at })
    }
}

#[derive(Debug, PartialEq)]
struct IpAddrs(Addr, Addr);

/// A segment's header by its numbers and flags.
pub fn header(seq: u32, ack: u32, flags: Flags) -> Header {
    Header { src_port: 0, dst_port: 0, seq, ack, flags, window: 65_535, checksum: 0, urgent: 0 }
}

pub fn address(addr: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(addr).to_be() },
        sin_zero: [0; 8],
    }
}
