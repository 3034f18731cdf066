//! Cases of IPv6: steering, extension headers, neighbour discovery, ICMPv6 errors.

use std::vec;
use std::vec::Vec;

use stack_ebpf::verdict::Verdict;

use super::build::{Ethernet, Ipv6, Tcp, from_port, icmp, to_port};
use super::{Case, ECHO, HTTP, LOCAL_PORTS, OTHER6, OWN6, PEER6, SHARED6, SSH};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = steering();
    cases.extend(extensions());
    cases.extend(discovery());
    cases.extend(errors());
    cases
}

fn steering() -> Vec<Case> {
    let to =
        |destination, port| Ipv6 { destination, payload: to_port(port), ..Ipv6::default() }.frame();
    let offset = Tcp { offset: 4, ..Tcp::default() }.bytes();
    let lies = |lie| Ipv6 { lie, ..Ipv6::default() }.frame();
    vec![
        Case::new("v6: a listener", Verdict::RedirectListener, to(SHARED6, HTTP)),
        Case::new("v6: a wildcard listener", Verdict::RedirectListener, to(SHARED6, ECHO)),
        Case::new("v6: a local port", Verdict::RedirectLocalPort, to(SHARED6, LOCAL_PORTS.1)),
        Case::new("v6: a port of the kernel", Verdict::PassPort, to(SHARED6, SSH)),
        Case::new("v6: another address", Verdict::PassAddress, to(OTHER6, HTTP)),
        Case::new("v6: own, any port", Verdict::RedirectOwn, to(OWN6, SSH)),
        Case::new(
            "v6: UDP",
            Verdict::PassProtocol,
            Ipv6 { next_header: 17, ..Ipv6::default() }.frame(),
        ),
        Case::new(
            "v6: version 4 in IPv6",
            Verdict::PassMalformed,
            Ipv6 { version: 4, ..Ipv6::default() }.frame(),
        ),
        Case::new("v6: longer than the frame", Verdict::DropIpLength, lies(1)),
        Case::new("v6: no room for TCP", Verdict::DropTcpHeader, lies(-5)),
        Case::new(
            "v6: a data offset of four",
            Verdict::DropTcpHeader,
            Ipv6 { payload: offset, ..Ipv6::default() }.frame(),
        ),
        Case::new("v6: cut", Verdict::PassMalformed, to(SHARED6, HTTP)[..50].into()),
    ]
}

fn extensions() -> Vec<Case> {
    let behind = |headers: &[&[u8]], next_header| {
        let payload = [headers.concat(), to_port(HTTP)].concat();
        Ipv6 { next_header, payload, ..Ipv6::default() }
    };
    let long = [&[6, 1][..], &[0; 14]].concat();
    let options: &[u8] = &[60, 0, 1, 4, 0, 0, 0, 0];
    let last: &[u8] = &[6, 0, 1, 4, 0, 0, 0, 0];
    let first: &[u8] = &[6, 0, 0, 1, 0, 0, 0, 9];
    let later: &[u8] = &[6, 0, 0, 8, 0, 0, 0, 9];
    let whole: &[u8] = &[6, 0, 0, 0, 0, 0, 0, 9];
    let own = Ipv6 { destination: OWN6, ..behind(&[later], 44) };
    // What looks like a long header is the middle of something.
    let middle: &[u8] = &[60, 0, 0, 8, 0, 0, 0, 9, 6, 255];
    let middle = Ipv6 { destination: OWN6, ..behind(&[middle], 44) };
    vec![
        Case::new("hop-by-hop", Verdict::RedirectListener, behind(&[last], 0).frame()),
        Case::new("a long routing header", Verdict::RedirectListener, behind(&[&long], 43).frame()),
        Case::new(
            "four headers",
            Verdict::RedirectListener,
            behind(&[options, options, options, last], 0).frame(),
        ),
        Case::new(
            "five headers",
            Verdict::PassProtocol,
            behind(&[options, options, options, options, last], 0).frame(),
        ),
        Case::new("v6: a first part", Verdict::DropFragment, behind(&[first], 44).frame()),
        Case::new("v6: a later part", Verdict::PassFragment, behind(&[later], 44).frame()),
        Case::new("v6: the only part", Verdict::RedirectListener, behind(&[whole], 44).frame()),
        Case::new(
            "a header beyond the payload",
            Verdict::DropIpLength,
            Ipv6 { lie: -25, ..behind(&[last], 0) }.frame(),
        ),
        Case::new("v6: own, a later part", Verdict::RedirectOwn, own.frame()),
        Case::new("v6: own, a middle part", Verdict::RedirectOwn, middle.frame()),
        Case::new(
            "cut within a header",
            Verdict::PassProtocol,
            behind(&[last], 0).frame()[..55].into(),
        ),
    ]
}

fn discovery() -> Vec<Case> {
    let solicit = |kind, target: &[u8]| {
        let payload = Ipv6 {
            destination: SOLICITED,
            next_header: 58,
            payload: icmp(kind, target),
            ..Ipv6::default()
        };
        let destination = [0x33, 0x33, 0xff, 0, 0, 9];
        let payload = payload.bytes();
        Ethernet { destination, ethertype: 0x86dd, payload, ..Ethernet::default() }.bytes()
    };
    let datagram = Ethernet {
        destination: [0x33, 0x33, 0, 0, 0, 1],
        ethertype: 0x86dd,
        payload: Ipv6 { next_header: 17, ..Ipv6::default() }.bytes(),
        ..Ethernet::default()
    };
    let advertise =
        Ipv6 { destination: OWN6, next_header: 58, payload: icmp(136, &PEER6), ..Ipv6::default() };
    vec![
        Case::new("who has an own address", Verdict::RedirectNeighbour, solicit(135, &OWN6)),
        Case::new("a claim of an own address", Verdict::RedirectNeighbour, solicit(136, &OWN6)),
        Case::new("who has a shared address", Verdict::PassIcmp, solicit(135, &SHARED6)),
        Case::new("a router's advertisement", Verdict::PassIcmp, solicit(134, &OWN6)),
        Case::new("an answer to an own address", Verdict::RedirectOwn, advertise.frame()),
        Case::new("a multicast datagram", Verdict::PassMac, datagram.bytes()),
        Case::new("no target", Verdict::PassMalformed, solicit(135, &OWN6[..15])),
        Case::new("cut within ICMPv6", Verdict::PassMalformed, solicit(135, &OWN6)[..61].into()),
        Case::new("cut within IPv6", Verdict::PassMalformed, solicit(135, &OWN6)[..53].into()),
    ]
}

fn errors() -> Vec<Case> {
    let quoted = |source, port| Ipv6 {
        source,
        destination: PEER6,
        payload: from_port(port),
        ..Ipv6::default()
    };
    let error = |kind, packet: &[u8]| {
        let payload = icmp(kind, packet);
        Ipv6 { source: OTHER6, next_header: 58, payload, ..Ipv6::default() }.frame()
    };
    let ours = quoted(SHARED6, HTTP).bytes();
    let udp = Ipv6 { next_header: 17, ..quoted(SHARED6, HTTP) }.bytes();
    vec![
        Case::new("v6: too big, ours", Verdict::RedirectIcmpError, error(2, &ours)),
        Case::new("v6: a quote of the ports", Verdict::RedirectIcmpError, error(1, &ours[..44])),
        Case::new("v6: a quote that ends early", Verdict::PassIcmp, error(1, &ours[..43])),
        Case::new("v6: a quote of a datagram", Verdict::PassIcmp, error(1, &udp)),
        Case::new(
            "v6: a port of the kernel",
            Verdict::PassIcmp,
            error(1, &quoted(SHARED6, SSH).bytes()),
        ),
        Case::new(
            "v6: another's segment",
            Verdict::PassIcmp,
            error(1, &quoted(OTHER6, ECHO).bytes()),
        ),
        Case::new("v6: an echo request", Verdict::PassIcmp, error(128, &ours)),
    ]
}

/// The multicast address on which [`OWN6`] is solicited.
const SOLICITED: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 9];
