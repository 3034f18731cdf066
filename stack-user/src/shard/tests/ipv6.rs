//! Segments over IPv6: as over IPv4, but for their headers.

use super::raw::*;
use super::*;
use crate::tcp::SynCookies;
use crate::wire::ipv6::{self, Packet};
use crate::wire::tcp::Options;
use crate::wire::{PROTOCOL_TCP, ethernet};

fn listening(adjust: impl FnOnce(&mut ShardConfig)) -> Raw {
    Raw::listening(|_| {}, adjust).0.between(addr6)
}

/// The frame of a segment of ours, without its link-layer header.
fn packet(frame: &[u8]) -> Vec<u8> {
    ethernet::Frame::parse(frame, None).expect("a frame").payload.to_vec()
}

// RFC 9293 3.7.1 (MUST-67, SHLD-5): the MTU less 60 octets.
#[test]
fn listen_syn_is_served_with_an_mss_of_1440_and_64_hops() {
    let mut raw = listening(|_| {});
    let syn_ack = raw.open(1000);
    assert_eq!((syn_ack.options.mss, syn_ack.carried), (Some(1440), (0, 64)));
    assert_eq!(raw.told(), ["1000: accepted"]);
    let text = Says { text: b"hello", ..syn(1000).answer(&syn_ack) };
    raw.hear(text);
    assert_eq!(raw.told(), ["1000: hello"]);
}

#[test]
fn listen_service_class_and_hops_of_the_configuration_are_told() {
    let mut raw = listening(|config| {
        (config.tcp.traffic_class, config.tcp.hop_limit) = (0xb8, 9);
    });
    assert_eq!(raw.answer(syn(1000)).carried, (0xb8, 9));
}

// RFC 9293 3.10.7.1, CM-7.e.
#[test]
fn closed_segment_is_answered_by_rst() {
    let mut raw = Raw::new(|_| {}).between(addr6);
    let reset = raw.answer(syn(1000));
    assert_eq!((reset.flags, reset.ack), (RST.union(ACK), IRS + 1));
}

/// The flow label of the answer to a SYN.
fn label(raw: &mut Raw, port: u16) -> u32 {
    let (src, dst) = raw.ends;
    raw.take(&frame_between(&syn(port), src, dst));
    let packet = packet(&raw.frames()[0]);
    u32::from_be_bytes([0, packet[1] & 0xf, packet[2], packet[3]])
}

// RFC 6437 3: a label of the flow's own, on every packet of it.
#[test]
fn flow_label_is_the_flows_own() {
    let mut raw = listening(|_| {});
    let ports = [1000, 1001, 1002, 1003];
    let labels = ports.map(|port| label(&mut raw, port));
    // The peer repeats its SYN, and is answered again once that is due.
    raw.now = raw.now + Duration::from_secs(1);
    assert_eq!(ports.map(|port| label(&mut raw, port)), labels);
    let mut different = labels.to_vec();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 4, "{labels:?}");
}

// CM-3.g, CM-3.h: peers of IPv6 get cookies too. RFC 9293 3.7.1 (MUST-15): one that does not say takes
// 1220 octets.
#[test]
fn listen_cookie_serves_a_peer_of_ipv6() {
    let mut raw = listening(|config| config.tcp.syn_cookies = SynCookies::Always);
    let mut asked = full_syn(1000, 700);
    let syn_ack = raw.answer(asked);
    assert_eq!((syn_ack.options.mss, raw.count(Counter::CookiesSent)), (Some(1440), 1));
    raw.hear(asked.answer(&syn_ack));
    assert_eq!(
        (raw.told(), raw.count(Counter::CookiesReceived)),
        (vec!["1000: accepted".into()], 1)
    );
    asked = Says { options: Options::NONE, ..syn(1001) };
    let syn_ack = raw.answer(asked);
    raw.hear(asked.answer(&syn_ack));
    let conns: Vec<_> = raw.shard.core.conns.iter().collect();
    let mss = |conn: &crate::shard::inner::Conn| conn.tcb.info(raw.now).snd_mss;
    let told: Vec<_> = conns.iter().map(|(_, conn)| mss(conn)).collect();
    assert!(told.contains(&1220), "{told:?}");
}

// RFC 9293 3.9.2.3 (MUST-57, MUST-63), CM-7.j, CM-7.k.
#[test]
fn listen_syn_from_or_to_no_host_is_ignored() {
    let mut raw = listening(|_| {});
    let martians =
        [Addr::UNSPECIFIED, Addr(Ipv6Addr::LOCALHOST.octets()), ipv6::ALL_NODES, addr6(1)];
    for (dropped, src) in martians.into_iter().enumerate() {
        raw.take(&frame_between(&syn(1000), src, addr6(1)));
        assert_eq!(raw.count(Counter::DropMartian), dropped as u64 + 1, "{src}");
    }
    raw.take(&frame_between(&syn(1000), addr6(2), ipv6::ALL_NODES));
    assert_eq!(raw.count(Counter::DropMartian), 5);
    raw.take(&frame_between(&syn(1000), addr6(2), addr6(77)));
    assert_eq!(raw.count(Counter::DropNotOurs), 1);
    assert!(raw.sent().is_empty());
    assert_eq!(raw.shard.flows(), 0);
}

// RFC 8200 4: behind headers that are stepped over; a part of a packet is no segment.
#[test]
fn listen_syn_behind_extension_headers_is_served() {
    let mut raw = listening(|_| {});
    let behind = |first: u8, header: [u8; 8]| {
        let segment = packet(&frame_between(&syn(1000), addr6(2), addr6(1)))[40..].to_vec();
        carried(&[&header[..], &segment].concat(), (addr6(2), addr6(1), first))
    };
    raw.take(&behind(44, [PROTOCOL_TCP, 0, 0, 1, 0, 0, 0, 9]));
    assert_eq!((raw.count(Counter::DropFragment), raw.sent().len()), (1, 0));
    raw.take(&behind(0, [PROTOCOL_TCP, 0, 1, 4, 0, 0, 0, 0]));
    assert!(raw.sent()[0].is(SYN.union(ACK)));
}

// RFC 8201 4 and RFC 5927 4.1: what is quoted has to be out.
#[test]
fn established_packet_too_big_shrinks_segments_to_the_mtu() {
    let mut raw = listening(|_| {});
    let syn_ack = raw.open(1000);
    let id = raw.shard.core.conns.iter().next().map(|(id, _)| id).expect("it is open");
    raw.shard.with(id, raw.now, |conn| conn.send(&[7; 3000]));
    let lengths = |raw: &mut Raw| -> Vec<usize> {
        raw.frames().iter().map(|frame| packet(frame).len()).collect()
    };
    let first = raw.frames();
    assert_eq!(first.iter().map(|frame| packet(frame).len()).max(), Some(1500));
    let too_big = |mtu: u32, seq: u32| {
        let mut quote = packet(&first[0]);
        quote[44..48].copy_from_slice(&seq.to_be_bytes());
        let body = [&[2, 0, 0, 0][..], &mtu.to_be_bytes(), &quote[..1232]].concat();
        icmpv6(body, addr6(9))
    };
    raw.take(&too_big(1300, syn_ack.seq.wrapping_add(50_000)));
    assert_eq!((lengths(&mut raw), raw.count(Counter::IcmpErrorsStale)), (vec![], 1));
    raw.take(&too_big(1279, syn_ack.seq + 1));
    assert_eq!((lengths(&mut raw), raw.count(Counter::DropIcmp)), (vec![], 1));
    raw.take(&too_big(1300, syn_ack.seq + 1));
    assert_eq!(lengths(&mut raw).into_iter().max(), Some(1300));
    assert_eq!(raw.count(Counter::PathMtuReductions), 1);
}

/// A frame with an ICMPv6 message, whose checksum is made here, for the shard.
pub(super) fn icmpv6(mut message: Vec<u8>, src: Addr) -> Vec<u8> {
    use crate::wire::checksum::{finish, pseudo_header, sum};
    let of = pseudo_header(&src, &addr6(1), 58, message.len()) + sum(&message);
    message[2..4].copy_from_slice(&finish(of).to_be_bytes());
    carried(&message, (src, addr6(1), 58))
}

// RFC 9293 3.9.2.2 (MUST-54, SHLD-26): in the words of either family.
#[test]
fn syn_sent_port_unreachable_ends_the_open() {
    let mut raw = Raw::new(|_| {}).between(addr6);
    let connect = Command::Connect { remote: addr6(2), remote_port: 1000, service: 0 };
    raw.shard.on_command(connect, raw.now);
    let ours = packet(&raw.frames()[0]);
    let asked = Packet::parse(&ours).expect("what we send parses");
    assert_eq!((asked.src, asked.dst, asked.hop_limit), (addr6(1), addr6(2), 64));
    raw.take(&icmpv6([&[1, 4, 0, 0, 0, 0, 0, 0][..], &ours].concat(), addr6(2)));
    assert_eq!(raw.told(), [format!("0: {:?}", CloseReason::Unreachable(Unreachable::Port))]);
}
