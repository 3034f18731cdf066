//! Echo, and packets that nobody takes, at addresses of our own and at shared ones, in both families.

use super::ipv6::icmpv6;
use super::raw::{Raw, carried};
use super::*;
use crate::wire::ethernet::Frame;
use crate::wire::{checksum, ipv4, ipv6};

fn at(addr: fn(u8) -> Addr, is_owned: bool, adjust: fn(&mut ShardConfig)) -> Raw {
    let all = |config: &mut ShardConfig| {
        config.addrs.iter_mut().for_each(|local| local.is_owned = is_owned);
        adjust(config);
    };
    Raw::new(all).between(addr)
}

/// A datagram from the peer to a port of ours, `len` octets of text.
fn datagram(raw: &Raw, len: usize) -> Vec<u8> {
    let (src, dst) = raw.ends;
    let whole = len + 8;
    let mut bytes = [&[0x13, 0x88, 0, 53][..], &(whole as u16).to_be_bytes(), &[0, 0]].concat();
    bytes.resize(whole, 7);
    let sum = checksum::pseudo_header(&src, &dst, 17, whole) + checksum::sum(&bytes);
    bytes[6..8].copy_from_slice(&checksum::finish(sum).to_be_bytes());
    carried(&bytes, (src, dst, 17))
}

/// An answer's ICMP message; its addresses and checksum are right.
fn answer(raw: &Raw, frame: &[u8]) -> Vec<u8> {
    let frame = Frame::parse(frame, None).expect("a frame");
    let (peer, ours) = raw.ends;
    if peer.is_v4() {
        let packet = ipv4::Packet::parse(frame.payload).expect("a packet");
        assert_eq!((packet.src, packet.dst, packet.protocol), (ours, peer, 1));
        assert_eq!(checksum::finish(checksum::sum(packet.payload)), 0);
        return packet.payload.to_vec();
    }
    let packet = ipv6::Packet::parse(frame.payload).expect("a packet");
    assert_eq!((packet.src, packet.dst, packet.next_header), (ours, peer, 58));
    let sum = checksum::pseudo_header(&ours, &peer, 58, packet.payload.len());
    assert_eq!(checksum::finish(sum + checksum::sum(packet.payload)), 0);
    packet.payload.to_vec()
}

fn only(raw: &mut Raw) -> Vec<u8> {
    let frames = raw.frames();
    assert_eq!(frames.len(), 1);
    answer(raw, &frames[0])
}

// RFC 1122 4.1.3.1, RFC 4443 3.1: with as much of the packet as every link carries.
#[test]
fn datagram_for_an_own_address_is_answered_by_port_unreachable() {
    for (addr, kind, most) in [(FAMILIES[0], [3, 3], 548), (FAMILIES[1], [1, 4], 1232)] {
        let mut raw = at(addr, true, |_| {});
        for len in [0, 100, 1400] {
            let asked = datagram(&raw, len);
            raw.take(&asked);
            let message = only(&mut raw);
            let packet = &asked[14..];
            assert_eq!((&message[..2], &message[4..8]), (&kind[..], &[0; 4][..]));
            assert_eq!(message[8..], packet[..packet.len().min(most)]);
        }
        assert_eq!((raw.count(Counter::DropDatagram), raw.count(Counter::IcmpErrorsOut)), (3, 3));
        assert_eq!(raw.shard.buffered(), 0);
    }
}

#[test]
fn datagram_for_a_shared_address_or_with_a_wrong_checksum_is_not_answered() {
    for addr in FAMILIES {
        let mut raw = at(addr, false, |_| {});
        let asked = datagram(&raw, 9);
        raw.take(&asked);
        let mut raw = at(addr, true, |_| {});
        let mut asked = asked;
        *asked.last_mut().expect("it has text") ^= 1;
        raw.take(&asked);
        assert_eq!((raw.frames().len(), raw.count(Counter::DropChecksum)), (0, 1));
    }
}

// RFC 4443 2.4 (f), RFC 1812 4.3.2.8.
#[test]
fn icmp_errors_are_limited_by_the_second() {
    for addr in FAMILIES {
        let mut raw = at(addr, true, |config| config.limits.icmp_errors_per_second = 3);
        let asked = datagram(&raw, 9);
        for second in 1..3 {
            for _ in 0..5 {
                raw.take(&asked);
            }
            assert_eq!(raw.frames().len(), 3);
            assert_eq!(raw.count(Counter::IcmpErrorsLimited), second * 2);
            raw.now = raw.now + Duration::from_secs(1);
        }
    }
}

// RFC 1122 3.2.2.1 and RFC 8200 4.
#[test]
fn protocol_that_nobody_speaks_is_answered() {
    for (addr, head) in [(FAMILIES[0], [3, 2, 0, 0, 0, 0]), (FAMILIES[1], [4, 1, 0, 0, 0, 6])] {
        let mut raw = at(addr, true, |_| {});
        let (src, dst) = raw.ends;
        raw.take(&carried(b"what?", (src, dst, 132)));
        let message = only(&mut raw);
        assert_eq!((&message[..2], &message[4..8]), (&head[..2], &head[2..]));
        assert_eq!(raw.count(Counter::DropProtocol), 1);
    }
    // RFC 8200 4.7: that nothing follows is no problem.
    let mut raw = at(addr6, true, |_| {});
    raw.take(&carried(b"", (addr6(2), addr6(1), 59)));
    assert!(raw.frames().is_empty());
}

// RFC 8200 4.2.
#[test]
fn option_that_asks_for_it_is_answered() {
    let mut raw = at(addr6, true, |_| {});
    raw.take(&carried(&[6, 0, 0x9e, 0, 0, 0, 0, 0], (addr6(2), addr6(1), 60)));
    let message = only(&mut raw);
    assert_eq!((&message[..2], &message[4..8]), (&[4, 2][..], &[0, 0, 0, 42][..]));
    assert_eq!(raw.count(Counter::DropExtension), 1);
}

// RFC 4443 2.4 (e): never about an error, however odd.
#[test]
fn icmp_error_that_is_not_understood_is_not_answered() {
    let mut raw = at(addr6, true, |_| {});
    raw.take(&icmpv6(vec![100, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3], addr6(2)));
    assert_eq!((raw.frames().len(), raw.count(Counter::DropIcmp)), (0, 1));
}

// RFC 1122 3.2.2.6, RFC 4443 4.2.
#[test]
fn echo_of_an_own_address_comes_back() {
    let mut raw = at(addr6, true, |_| {});
    raw.take(&icmpv6([&[128, 0, 0, 0, 1, 2, 3, 4][..], b"ping"].concat(), addr6(2)));
    let message = only(&mut raw);
    assert_eq!((message[0], &message[4..]), (129, &b"\x01\x02\x03\x04ping"[..]));
    assert_eq!(raw.count(Counter::EchoAnswered), 1);
    let mut raw = at(addr6, false, |_| {});
    raw.take(&icmpv6([&[128, 0, 0, 0, 1, 2, 3, 4][..], b"ping"].concat(), addr6(2)));
    assert_eq!((raw.frames().len(), raw.count(Counter::DropIcmp)), (0, 1));
}
