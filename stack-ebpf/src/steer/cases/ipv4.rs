//! Cases of IPv4: steering by address and port, malformed headers, fragments, ICMP errors.

use std::vec;
use std::vec::Vec;

use stack_ebpf::verdict::Verdict;

use super::build::{Ipv4, Tcp, from_port, icmp, syn, to_port};
use super::{Case, ECHO, HTTP, HTTPS, LOCAL_PORTS, OTHER, OWN, PEER, SECOND, SHARED, SSH};

pub(super) fn steering() -> Vec<Case> {
    let (first, last) = LOCAL_PORTS;
    let padded = [syn(SHARED, HTTP), vec![0; 9]].concat();
    let udp = Ipv4 { protocol: 17, payload: to_port(HTTP), ..Ipv4::default() };
    let echo = Ipv4 { protocol: 1, payload: icmp(8, &[0; 8]), ..Ipv4::default() };
    vec![
        Case::new("a listener", Verdict::RedirectListener, syn(SHARED, HTTP)),
        Case::new("a listener, padded", Verdict::RedirectListener, padded),
        Case::new("a wildcard listener", Verdict::RedirectListener, syn(SHARED, ECHO)),
        Case::new("a wildcard on the second", Verdict::RedirectListener, syn(SECOND, ECHO)),
        Case::new("a listener of the second", Verdict::RedirectListener, syn(SECOND, HTTPS)),
        Case::new("another address's listener", Verdict::PassPort, syn(SHARED, HTTPS)),
        Case::new("a port of the kernel", Verdict::PassPort, syn(SHARED, SSH)),
        Case::new("the first local port", Verdict::RedirectLocalPort, syn(SHARED, first)),
        Case::new("the last local port", Verdict::RedirectLocalPort, syn(SHARED, last)),
        Case::new("before the local ports", Verdict::PassPort, syn(SHARED, first - 1)),
        Case::new("behind the local ports", Verdict::PassPort, syn(SHARED, last + 1)),
        Case::new("a wildcard's port elsewhere", Verdict::PassAddress, syn(OTHER, ECHO)),
        Case::new("a local port elsewhere", Verdict::PassAddress, syn(OTHER, first)),
        Case::new("UDP", Verdict::PassProtocol, udp.frame()),
        Case::new("an echo request", Verdict::PassIcmp, echo.frame()),
        Case::new(
            "all options that fit",
            Verdict::RedirectListener,
            Ipv4 { ihl: 15, ..Ipv4::default() }.frame(),
        ),
    ]
}

pub(super) fn malformed() -> Vec<Case> {
    let tcp = |offset, rest| {
        let payload = Tcp { offset, rest, ..Tcp::default() }.bytes();
        Ipv4 { payload, ..Ipv4::default() }.frame()
    };
    let short = Ipv4 { ihl: 4, ..Ipv4::default() };
    let lies = |lie| Ipv4 { lie, ..Ipv4::default() }.frame();
    let kernel_lies = Ipv4 { lie: 1, payload: to_port(SSH), ..Ipv4::default() };
    vec![
        Case::new(
            "version 6 in IPv4",
            Verdict::PassMalformed,
            Ipv4 { version: 6, ..Ipv4::default() }.frame(),
        ),
        Case::new("a header of four words", Verdict::DropIpHeader, short.frame()),
        Case::new(
            "a header of four words, UDP",
            Verdict::PassMalformed,
            Ipv4 { protocol: 17, ..short }.frame(),
        ),
        Case::new("longer than the frame", Verdict::DropIpLength, lies(1)),
        Case::new("shorter than its header", Verdict::DropIpLength, lies(-25)),
        Case::new("a port of the kernel, longer", Verdict::PassPort, kernel_lies.frame()),
        Case::new("no room for TCP", Verdict::DropTcpHeader, lies(-5)),
        Case::new("a data offset of four", Verdict::DropTcpHeader, tcp(4, 4)),
        Case::new("a data offset of none", Verdict::DropTcpHeader, tcp(0, 4)),
        Case::new("a data offset beyond", Verdict::DropTcpHeader, tcp(7, 7)),
        Case::new("a data offset at the end", Verdict::RedirectListener, tcp(7, 8)),
        Case::new("a header of 20 bytes", Verdict::RedirectListener, tcp(5, 0)),
        Case::new("cut before the ports", Verdict::PassMalformed, syn(SHARED, HTTP)[..37].into()),
        Case::new("cut behind the ports", Verdict::DropIpLength, syn(SHARED, HTTP)[..38].into()),
    ]
}

pub(super) fn fragments() -> Vec<Case> {
    let fragment = |flags_offset, payload| Ipv4 { flags_offset, payload, ..Ipv4::default() };
    let echo = Ipv4 { protocol: 1, ..fragment(0x2000, icmp(8, &[0; 8])) };
    vec![
        Case::new("a first part", Verdict::DropFragment, fragment(0x2000, to_port(HTTP)).frame()),
        Case::new(
            "a first part for a local port",
            Verdict::DropFragment,
            fragment(0x2000, to_port(LOCAL_PORTS.0)).frame(),
        ),
        Case::new(
            "a first part for the kernel",
            Verdict::PassFragment,
            fragment(0x2000, to_port(SSH)).frame(),
        ),
        Case::new("a later part", Verdict::PassFragment, fragment(0x2001, to_port(HTTP)).frame()),
        Case::new("the last part", Verdict::PassFragment, fragment(0x0001, to_port(HTTP)).frame()),
        Case::new("a first part of an echo", Verdict::PassFragment, echo.frame()),
    ]
}

pub(super) fn icmp_errors() -> Vec<Case> {
    let ours = quoted(HTTP);
    let later = Ipv4 { flags_offset: 0x2001, ..quoted(HTTP) };
    let udp = Ipv4 { protocol: 17, ..quoted(HTTP) };
    // The port is ours whatever the address.
    let foreign = Ipv4 { source: OTHER, ..quoted(ECHO) };
    let sixth = Ipv4 { version: 6, ..quoted(HTTP) };
    // Its ports would lie in the destination address.
    let stub = Ipv4 { ihl: 4, destination: [0, 80, 0, 0], ..quoted(HTTP) };
    let options = Ipv4 { ihl: 15, ..quoted(HTTP) };
    let lies = Ipv4 { protocol: 1, lie: 1, payload: icmp(3, &ours.bytes()), ..Ipv4::default() };
    let local = quoted(LOCAL_PORTS.0).bytes();
    let ours = ours.bytes();
    vec![
        Case::new("unreachable, ours", Verdict::RedirectIcmpError, error(3, &ours)),
        Case::new("time exceeded, ours", Verdict::RedirectIcmpError, error(11, &ours)),
        Case::new("parameter problem, ours", Verdict::RedirectIcmpError, error(12, &ours)),
        Case::new("a local port of ours", Verdict::RedirectIcmpError, error(3, &local)),
        Case::new("a quote of eight bytes", Verdict::RedirectIcmpError, error(3, &ours[..28])),
        Case::new("a quote of the ports", Verdict::RedirectIcmpError, error(3, &ours[..24])),
        Case::new("a quote with options", Verdict::RedirectIcmpError, error(3, &options.bytes())),
        Case::new("a quote that ends early", Verdict::PassIcmp, error(3, &ours[..23])),
        Case::new("a quote of half a header", Verdict::PassIcmp, error(3, &ours[..19])),
        Case::new("no quote", Verdict::PassIcmp, error(3, &[])),
        Case::new("source quench", Verdict::PassIcmp, error(4, &ours)),
        Case::new("a redirect", Verdict::PassIcmp, error(5, &ours)),
        Case::new("a port of the kernel", Verdict::PassIcmp, error(3, &quoted(SSH).bytes())),
        Case::new("another's segment", Verdict::PassIcmp, error(3, &foreign.bytes())),
        Case::new("a datagram", Verdict::PassIcmp, error(3, &udp.bytes())),
        Case::new("a later fragment", Verdict::PassIcmp, error(3, &later.bytes())),
        Case::new("a quote of version 6", Verdict::PassIcmp, error(3, &sixth.bytes())),
        Case::new("a quote of four words", Verdict::PassIcmp, error(3, &stub.bytes())),
        Case::new("an error longer than the frame", Verdict::DropIpLength, lies.frame()),
        Case::new("cut within ICMP", Verdict::PassMalformed, error(3, &ours)[..41].into()),
    ]
}

pub(super) fn own() -> Vec<Case> {
    let own = |protocol, payload| Ipv4 { destination: OWN, protocol, payload, ..Ipv4::default() };
    let bad_offset = Tcp { offset: 4, ..Tcp::default() }.bytes();
    let fragment = |flags_offset| Ipv4 { flags_offset, ..own(6, vec![0; 24]) };
    vec![
        Case::new("own: any port", Verdict::RedirectOwn, syn(OWN, SSH)),
        Case::new("own: UDP", Verdict::RedirectOwn, own(17, to_port(53)).frame()),
        Case::new("own: echo", Verdict::RedirectOwn, own(1, icmp(8, &[0; 8])).frame()),
        Case::new("own: no payload", Verdict::RedirectOwn, own(59, Vec::new()).frame()),
        Case::new("own: a first fragment", Verdict::DropFragment, fragment(0x2000).frame()),
        Case::new("own: a later fragment", Verdict::RedirectOwn, fragment(0x0003).frame()),
        Case::new(
            "own: a header of four words",
            Verdict::DropIpHeader,
            Ipv4 { ihl: 4, ..own(17, to_port(53)) }.frame(),
        ),
        Case::new(
            "own: longer than the frame",
            Verdict::DropIpLength,
            Ipv4 { lie: 1, ..own(17, to_port(53)) }.frame(),
        ),
        Case::new("own: a bad data offset", Verdict::DropTcpHeader, own(6, bad_offset).frame()),
        Case::new("own: cut within TCP", Verdict::DropTcpHeader, own(6, vec![0x50; 19]).frame()),
    ]
}

/// A segment of ours from `port`, as a router quotes it.
fn quoted(port: u16) -> Ipv4 {
    Ipv4 { source: SHARED, destination: PEER, payload: from_port(port), ..Ipv4::default() }
}

/// An ICMP message of `kind` that quotes `packet`, from a router on the way.
fn error(kind: u8, packet: &[u8]) -> Vec<u8> {
    let payload = icmp(kind, packet);
    Ipv4 { source: OTHER, protocol: 1, payload, ..Ipv4::default() }.frame()
}
