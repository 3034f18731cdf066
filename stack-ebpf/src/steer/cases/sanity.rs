//! Cases of what is ours and yet not wanted: by checksum, source, block list and flags.

use std::vec;
use std::vec::Vec;

use stack_ebpf::contract::{AddressKey, mapped};
use stack_ebpf::verdict::Verdict;

use super::build::{Ipv4, Ipv6, Tcp, from_port, icmp, to_port};
use super::{Case, ECHO, HTTP, LOCAL_PORTS, OTHER6, OWN, OWN6, PEER, SECOND, SHARED, SHARED6, SSH};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = checksums();
    cases.extend(sources());
    cases.extend(sources6());
    cases.extend(blocked());
    cases.extend(flags());
    cases.extend(flags6());
    cases
}

fn checksums() -> Vec<Case> {
    let damaged = Ipv4 { damage: 1, ..Ipv4::default() };
    let kernel = Ipv4 { payload: to_port(SSH), damage: 1, ..Ipv4::default() };
    let own = Ipv4 { destination: OWN, damage: 1, protocol: 17, ..Ipv4::default() };
    let options = Ipv4 { ihl: 7, damage: 1, ..Ipv4::default() };
    // All ones and all zeros are one number.
    let other_zero = Ipv4 { damage: 0xffff, ..Ipv4::default() };
    vec![
        Case::new("a damaged header", Verdict::DropIpChecksum, damaged.frame()),
        Case::new("a header one less", Verdict::DropIpChecksum, other_zero.frame()),
        Case::new("a damaged header for the kernel", Verdict::PassPort, kernel.frame()),
        Case::new("own: a damaged header", Verdict::DropIpChecksum, own.frame()),
        Case::new("a damaged header with options", Verdict::RedirectListener, options.frame()),
    ]
}

fn sources() -> Vec<Case> {
    let from = |source, port| Ipv4 { source, payload: to_port(port), ..Ipv4::default() }.frame();
    let own = |source| Ipv4 { source, destination: OWN, protocol: 17, ..Ipv4::default() }.frame();
    let quoted =
        Ipv4 { source: SHARED, destination: PEER, payload: from_port(HTTP), ..Ipv4::default() };
    let error =
        Ipv4 { source: OWN, protocol: 1, payload: icmp(3, &quoted.bytes()), ..Ipv4::default() };
    vec![
        Case::new("from itself", Verdict::DropMartian, from(SHARED, HTTP)),
        Case::new("from the second address", Verdict::DropMartian, from(SECOND, HTTP)),
        Case::new("from an own address", Verdict::DropMartian, from(OWN, ECHO)),
        Case::new("from this network", Verdict::DropMartian, from([0, 0, 0, 0], HTTP)),
        Case::new("from loopback", Verdict::DropMartian, from([127, 0, 0, 1], HTTP)),
        Case::new("from a group", Verdict::DropMartian, from([224, 0, 0, 1], HTTP)),
        Case::new("from reserved", Verdict::DropMartian, from([240, 0, 0, 1], HTTP)),
        Case::new("from everybody", Verdict::DropMartian, from([255; 4], LOCAL_PORTS.0)),
        Case::new("from a far host", Verdict::RedirectListener, from([223, 1, 2, 3], HTTP)),
        Case::new("from itself to the kernel", Verdict::PassPort, from(SHARED, SSH)),
        Case::new("an error from an own address", Verdict::DropMartian, error.frame()),
        Case::new("own: from itself", Verdict::DropMartian, own(OWN)),
        Case::new("own: from a group", Verdict::DropMartian, own([239, 1, 1, 1])),
    ]
}

fn sources6() -> Vec<Case> {
    let from = |source| Ipv6 { source, ..Ipv6::default() }.frame();
    let end = |first: u8, last| {
        let mut addr: AddressKey = [0; 16];
        (addr[0], addr[15]) = (first, last);
        addr
    };
    let translated = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];
    let own = |payload| {
        Ipv6 { source: OWN6, destination: OWN6, next_header: 58, payload, ..Ipv6::default() }
            .frame()
    };
    vec![
        Case::new("v6: from itself", Verdict::DropMartian, from(SHARED6)),
        Case::new("v6: from an own address", Verdict::DropMartian, from(OWN6)),
        Case::new("v6: from nobody", Verdict::DropMartian, from(end(0, 0))),
        Case::new("v6: from loopback", Verdict::DropMartian, from(end(0, 1))),
        Case::new("v6: from a group", Verdict::DropMartian, from(end(0xff, 1))),
        Case::new("v6: from mapped IPv4", Verdict::DropMartian, from(mapped(PEER))),
        // Under `::/3`.
        Case::new("v6: from a translator", Verdict::DropBlocked, from(translated)),
        Case::new("v6: own, a claim of itself", Verdict::RedirectOwn, own(icmp(136, &OWN6))),
        Case::new("v6: own, an echo from itself", Verdict::DropMartian, own(icmp(128, &[0; 4]))),
    ]
}

fn blocked() -> Vec<Case> {
    let from = |source, port| Ipv4 { source, payload: to_port(port), ..Ipv4::default() }.frame();
    let own = |source| Ipv4 { source, destination: OWN, protocol: 17, ..Ipv4::default() }.frame();
    let mut within = [0x20, 1, 0xd, 0xb8, 0xba, 0xdf, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    let inside = Ipv6 { source: within, ..Ipv6::default() };
    let advertise = Ipv6 {
        source: within,
        destination: OWN6,
        next_header: 58,
        payload: icmp(136, &OTHER6),
        ..Ipv6::default()
    };
    let advertised = advertise.frame();
    within[5] = 0xe0;
    let outside = Ipv6 { source: within, ..Ipv6::default() };
    vec![
        Case::new("from a blocked network", Verdict::DropBlocked, from([10, 9, 255, 255], HTTP)),
        Case::new("from a blocked host", Verdict::DropBlocked, from([10, 8, 7, 6], ECHO)),
        Case::new(
            "to a local port, blocked",
            Verdict::DropBlocked,
            from([10, 9, 0, 0], LOCAL_PORTS.1),
        ),
        Case::new("to the kernel, blocked", Verdict::PassPort, from([10, 9, 0, 0], SSH)),
        Case::new("beside a blocked host", Verdict::RedirectListener, from([10, 8, 7, 7], HTTP)),
        Case::new(
            "beside a blocked network",
            Verdict::RedirectListener,
            from([10, 10, 0, 0], HTTP),
        ),
        Case::new("own: from a blocked network", Verdict::DropBlocked, own([10, 9, 1, 1])),
        Case::new("v6: from a blocked network", Verdict::DropBlocked, inside.frame()),
        Case::new("v6: beside a blocked network", Verdict::RedirectListener, outside.frame()),
        Case::new("v6: own, a blocked neighbour's answer", Verdict::RedirectOwn, advertised),
    ]
}

/// Flags that no peer sends, with their verdict at a listener.
const ODD: [(u8, Verdict); 9] = [
    (0, Verdict::DropTcpNull),
    (FIN | PSH | URG, Verdict::DropTcpXmas),
    (FIN, Verdict::DropTcpXmas),
    (PSH, Verdict::DropTcpXmas),
    (SYN | FIN, Verdict::DropSynFin),
    (SYN | FIN | ACK, Verdict::DropSynFin),
    (SYN | RST, Verdict::DropSynRst),
    (SYN | RST | ACK, Verdict::DropSynRst),
    (0x3f, Verdict::DropSynRst),
];

fn segment(flags: u8, destination: u16) -> Vec<u8> {
    Tcp { flags, destination, ..Tcp::default() }.bytes()
}

fn flags() -> Vec<Case> {
    let to = |destination, port, flags| {
        Ipv4 { destination, payload: segment(flags, port), ..Ipv4::default() }.frame()
    };
    let mut cases = Vec::new();
    for (flags, verdict) in ODD {
        cases.extend([
            Case::new("odd flags", verdict, to(SHARED, HTTP, flags)),
            // Echo is listened on everywhere.
            Case::new("own: odd flags", verdict, to(OWN, ECHO, flags)),
            Case::new("own: odd flags, closed", Verdict::RedirectOwn, to(OWN, SSH, flags)),
            Case::new(
                "odd flags, a local port",
                Verdict::RedirectLocalPort,
                to(SHARED, LOCAL_PORTS.0, flags),
            ),
            Case::new("odd flags for the kernel", Verdict::PassPort, to(SHARED, SSH, flags)),
        ]);
    }
    for flags in [SYN, ACK, SYN | ACK, FIN | ACK, RST, RST | ACK, FIN | RST, 0xc0 | SYN] {
        cases.push(Case::new("usual flags", Verdict::RedirectListener, to(SHARED, HTTP, flags)));
    }
    cases
}

fn flags6() -> Vec<Case> {
    let to = |destination, port, flags| {
        Ipv6 { destination, payload: segment(flags, port), ..Ipv6::default() }.frame()
    };
    let of = |(flags, verdict)| {
        [
            Case::new("v6: odd flags", verdict, to(SHARED6, HTTP, flags)),
            Case::new("v6: own, odd flags", verdict, to(OWN6, ECHO, flags)),
            Case::new("v6: own, odd flags, closed", Verdict::RedirectOwn, to(OWN6, SSH, flags)),
        ]
    };
    ODD.into_iter().flat_map(of).collect()
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;
