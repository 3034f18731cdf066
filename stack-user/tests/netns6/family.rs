//! What is different between IPv4 and IPv6: this one is IPv6's.

use std::net::{Ipv6Addr, SocketAddrV6};

use nix::sys::socket::SockaddrIn6;
use sluice::wire::ndp::{Message, Solicitation};
use sluice::wire::{Addr, MacAddr, ipv4, ipv6, ndp};

use crate::topology::CLIENT_MAC;

/// An address.
pub(crate) type Ip = Ipv6Addr;
/// The family for sockets.
pub(crate) const FAMILY: nix::sys::socket::AddressFamily = nix::sys::socket::AddressFamily::Inet6;
/// Its name in tshark's filters.
pub(crate) const NET: &str = "ipv6";
/// The checksum beside TCP's that such a filter tells of.
pub(crate) const SUM: &str = "icmpv6";

/// The server's address.
pub(crate) const SERVER: Ip = host(1);
/// The client's address.
pub(crate) const CLIENT: Ip = host(2);
/// An address on the same link that neither kernel has.
pub(crate) const FREE: Ip = host(9);
/// The length of the link's prefix.
pub(crate) const PREFIX: u8 = 64;
/// What an address is added with that is to be used at once.
pub(crate) const NODAD: &str = "nodad";
/// Every address.
pub(crate) const UNSPECIFIED: Ip = Ip::UNSPECIFIED;
/// The loopback's.
pub(crate) const LOCALHOST: Ip = Ip::LOCALHOST;
/// Another network, and a host in it.
pub(crate) const ELSEWHERE: (&str, Ip) = ("fd99::/64", Ip::new(0xfd99, 0, 0, 0, 0, 0, 0, 1));
/// The router of that network.
pub(crate) const ROUTER: Ip = Ip::new(0xfd99, 0, 0, 0, 0, 0, 0, 0xfe);
/// The sysctl that makes a router.
pub(crate) const FORWARDING: &str = "net/ipv6/conf/all/forwarding";

/// Host `n` of the link.
pub(crate) const fn host(n: u8) -> Ip {
    Ip::new(0xfd77, 0, 0, 0, 0, 0, 0, n as u16)
}

/// An address in front of a colon and a port.
pub(crate) fn shown(ip: Ip) -> String {
    format!("[{ip}]")
}

/// A place for a socket call.
pub(crate) fn place(ip: Ip, port: u16) -> SockaddrIn6 {
    SocketAddrV6::new(ip, port, 0, 0).into()
}

/// The ethertype of packets.
pub(crate) const ETHERTYPE: [u8; 2] = [0x86, 0xdd];
/// The length of their header, without extensions.
pub(crate) const HEADER: usize = 40;

/// Whether a packet holds TCP right behind such a header.
pub(crate) fn is_tcp(packet: &[u8]) -> bool {
    packet[0] >> 4 == 6 && packet[6] == 6
}

/// The length that a packet says it has.
pub(crate) fn length(packet: &[u8]) -> usize {
    HEADER + usize::from(u16::from_be_bytes([packet[4], packet[5]]))
}

/// Makes the header right for the packet as it is; the sum of what TCP's checksum covers of it.
pub(crate) fn seal(packet: &mut [u8]) -> u32 {
    let len = (packet.len() - HEADER) as u16;
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    packet[8..HEADER].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum()
}

/// A header for TCP from the client to the server, to be sealed.
pub(crate) fn header() -> Vec<u8> {
    [&[0x60, 0, 0, 0, 0, 0, 6, 64][..], &CLIENT.octets(), &SERVER.octets()].concat()
}

/// Who has this address? To whom that goes on the link, and the frame from its ethertype on.
pub(crate) fn question(address: Ip) -> ([u8; 6], Vec<u8>) {
    let (src, target) = (Addr(CLIENT.octets()), Addr(address.octets()));
    let group = ipv6::solicited_node(&target);
    let source_mac = Some(MacAddr(CLIENT_MAC));
    let mut packet = [0; HEADER + ndp::LEN];
    let asked = Message::Solicitation(Solicitation { target, source_mac });
    let len = asked.emit((&src, &group), &mut packet[HEADER..]);
    let delivery = ipv4::Delivery { hop_limit: ndp::HOP_LIMIT, ..ipv4::Delivery::default() };
    let names = (&src, &group, 58);
    ipv6::emit_header_for(&mut packet[..HEADER], names, (delivery, 0), len);
    (ipv6::group_mac(&group).0, [&ETHERTYPE[..], &packet].concat())
}

/// What an answer from the host at `mac` holds: the address, and where it is.
pub(crate) fn answer(address: Ip, mac: [u8; 6]) -> Vec<u8> {
    [&address.octets()[..], &[2, 1], &mac].concat()
}
