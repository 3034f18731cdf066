//! The parsers of wire: they take anything, and what they took is what emission writes.

use sluice::wire::tcp::{Header, Options, Packet};
use sluice::wire::{
    Addr, PROTOCOL_ICMPV6, arp, checksum, ethernet, icmp, icmpv6, ipv4, ipv6, ndp, tcp, udp,
};

pub fn ethernet(data: &[u8]) {
    for vlan in [None, Some(1), Some(0xfff)] {
        let Ok(frame) = ethernet::Frame::parse(data, vlan) else { continue };
        let mut again = [0; 64];
        let len = ethernet::emit(&mut again, frame.dst, frame.src, frame.ethertype, vlan);
        let start = again.len() - len;
        assert_eq!(len + frame.payload.len(), data.len());
        let parsed = ethernet::Frame::parse(&again[start..], vlan).expect("what was emitted");
        assert_eq!(ethernet::Frame { payload: &[], ..frame }, parsed);
    }
}

pub fn arp(data: &[u8]) {
    let Ok(packet) = arp::Packet::parse(data) else { return };
    let mut again = [0; arp::LEN];
    assert_eq!(packet.emit(&mut again), arp::LEN);
    assert_eq!(again, data[..arp::LEN]);
}

pub fn ipv4(data: &[u8]) {
    let _ = icmp_of_quoted(data);
    let Ok(packet) = ipv4::Packet::parse(data) else { return };
    assert!(packet.bytes.ends_with(packet.payload) && data.starts_with(packet.bytes));
    let mut again = vec![0; ipv4::HEADER_LEN + packet.payload.len()];
    let (header, payload) = again.split_at_mut(ipv4::HEADER_LEN);
    ipv4::emit_header(header, &packet.src, &packet.dst, packet.protocol, payload.len());
    payload.copy_from_slice(packet.payload);
    let parsed = ipv4::Packet::parse(&again).expect("what was emitted");
    assert_eq!((parsed.src, parsed.dst), (packet.src, packet.dst));
    assert_eq!((parsed.protocol, parsed.payload), (packet.protocol, packet.payload));
    let _ = (ipv4::is_unicast(&packet.src), ipv4::is_martian_source(&packet.dst));
}

pub fn ipv6(data: &[u8]) {
    let Ok(packet) = ipv6::Packet::parse(data) else { return };
    assert!(packet.bytes.ends_with(packet.payload) && data.starts_with(packet.bytes));
    let mut again = vec![0; ipv6::HEADER_LEN + packet.payload.len()];
    let (header, payload) = again.split_at_mut(ipv6::HEADER_LEN);
    ipv6::emit_header(header, &packet.src, &packet.dst, packet.next_header, payload.len());
    payload.copy_from_slice(packet.payload);
    let parsed = ipv6::Packet::parse(&again).expect("what was emitted");
    assert_eq!((parsed.src, parsed.dst), (packet.src, packet.dst));
    assert_eq!((parsed.next_header, parsed.payload), (packet.next_header, packet.payload));
    let _ = (ipv6::is_unicast(&packet.src), ipv6::is_martian_source(&packet.dst));
    match packet.upper() {
        Ok(upper) => {
            assert!(packet.bytes.ends_with(upper.payload));
            assert_eq!(packet.bytes[upper.named_at as usize], upper.protocol);
        }
        Err(stop) => {
            let pointer = stop.problem.map_or(0, |problem| problem.pointer as usize);
            assert!(pointer < packet.bytes.len());
        }
    }
}

/// As [`icmp`], for IPv6; what is no neighbour discovery begins with an odd octet.
pub fn icmpv6(data: &[u8]) {
    let Some((first, message)) = data.split_first() else { return };
    let (src, dst) = (Addr([0x20; 16]), Addr([0x30; 16]));
    let hop_limit = if first & 1 == 0 { ndp::HOP_LIMIT } else { *first };
    let carried = icmpv6::Carried { src, dst, hop_limit, is_fragment: first & 2 != 0 };
    let _ = icmpv6::Message::parse(message, &carried);
    let mut bytes = message.to_vec();
    if bytes.len() >= 4 {
        bytes[2..4].fill(0);
        let pseudo = checksum::pseudo_header(&src, &dst, PROTOCOL_ICMPV6, bytes.len());
        let sum = checksum::finish(pseudo + checksum::sum(&bytes));
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    match icmpv6::Message::parse(&bytes, &carried) {
        Ok(icmpv6::Message::Discovery(message)) => {
            let mut again = [0; ndp::LEN];
            let len = message.emit((&src, &dst), &mut again);
            let parsed = icmpv6::Message::parse(&again[..len], &carried);
            assert_eq!(parsed, Ok(icmpv6::Message::Discovery(message)));
        }
        Ok(icmpv6::Message::EchoRequest(echo)) => {
            let mut reply = vec![0; bytes.len()];
            let answer = icmp::Answer::EchoReply { ident: echo.ident, seq: echo.seq };
            assert_eq!(answer.emit(Some((&src, &dst)), echo.payload, &mut reply), bytes.len());
            let parsed = icmpv6::Message::parse(&reply, &carried);
            assert_eq!(parsed, Ok(icmpv6::Message::EchoReply(echo)));
        }
        Ok(icmpv6::Message::Error(_, quoted)) => {
            assert!(!quoted.tuple.local.is_v4() && !quoted.tuple.remote.is_v4());
        }
        _ => {}
    }
}

/// The checksum is made right, or nothing would get behind it.
pub fn icmp(data: &[u8]) {
    let _ = icmp::Message::parse(data);
    let mut bytes = data.to_vec();
    if bytes.len() >= 4 {
        bytes[2..4].fill(0);
        let sum = sluice::wire::checksum::finish(sluice::wire::checksum::sum(&bytes));
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    let Ok(message) = icmp::Message::parse(&bytes) else { return };
    if let icmp::Message::EchoRequest(echo) = message {
        let mut reply = vec![0; echo.reply_len()];
        assert_eq!(echo.emit_reply(&mut reply), bytes.len());
        assert_eq!(icmp::Message::parse(&reply), Ok(icmp::Message::EchoReply(echo)));
    }
}

/// An error that quotes `data`.
fn icmp_of_quoted(data: &[u8]) -> Option<()> {
    let mut bytes = vec![3, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(data);
    let sum = sluice::wire::checksum::finish(sluice::wire::checksum::sum(&bytes));
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    let icmp::Message::Error(_, quoted) = icmp::Message::parse(&bytes).ok()? else { return None };
    assert!(quoted.tuple.local.is_v4() && quoted.tuple.remote.is_v4());
    Some(())
}

pub fn tcp(data: &[u8]) {
    let _ = udp::check(data, &Addr([1; 16]), &Addr([2; 16]), false);
    let _ = (tcp::ports(data), tcp::verify(data, &Addr([1; 16]), &Addr([2; 16])));
    let Ok((header, raw, text)) = tcp::split(data) else {
        assert!(Packet::parse(data).is_err());
        return;
    };
    let mut again = vec![0; tcp::HEADER_LEN + raw.len()];
    header.emit(raw, &mut again);
    // Four bits between the data offset and the control bits are reserved, and sent as zero.
    let mut sent = data[..again.len()].to_vec();
    sent[12] &= 0xf0;
    assert_eq!(again, sent);
    let Ok(packet) = Packet::parse(data) else { return };
    assert_eq!(packet.payload, text);
    same_again(&header, &packet.options, text);
}

/// The data is options alone.
pub fn options(data: &[u8]) {
    let Ok(options) = Options::parse(data) else { return };
    let header = tcp::split(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0]);
    let (header, ..) = header.expect("a header of five words");
    same_again(&header, &options, &[]);
}

/// A segment with these options is parsed as it was emitted, and its checksum is right.
fn same_again(header: &Header, options: &Options, text: &[u8]) {
    let mut bytes = vec![0; tcp::HEADER_LEN + options.len() + text.len()];
    let len = tcp::emit(header, options, &mut bytes);
    bytes[len..].copy_from_slice(text);
    let (src, dst) = (Addr([1; 16]), Addr([2; 16]));
    tcp::fill_checksum(&mut bytes, &src, &dst, sluice::wire::checksum::sum(text));
    assert!(tcp::verify(&bytes, &src, &dst));
    let parsed = Packet::parse(&bytes).expect("what was emitted");
    assert_eq!((parsed.seq, parsed.ack, parsed.flags), (header.seq, header.ack, header.flags));
    assert_eq!((parsed.window, parsed.urgent), (header.window, header.urgent));
    // SACK blocks that find no room are left out, the last ones first.
    let fitting = parsed.options.sack.as_slice();
    assert!(options.sack.as_slice().starts_with(fitting));
    let expected = Options { sack: fitting.iter().copied().collect(), ..*options };
    assert_eq!((parsed.options, parsed.payload), (expected, text));
}
