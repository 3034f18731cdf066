//! What is different between IPv4 and IPv6: this one is IPv4's. `tests/netns6` has the other, under
//! which the same tests run once more.

use std::net::{Ipv4Addr, SocketAddrV4};

use nix::sys::socket::SockaddrIn;

use crate::topology::CLIENT_MAC;

/// An address.
pub(crate) type Ip = Ipv4Addr;
/// The family for sockets.
pub(crate) const FAMILY: nix::sys::socket::AddressFamily = nix::sys::socket::AddressFamily::Inet;
/// Its name in tshark's filters.
pub(crate) const NET: &str = "ip";
/// The checksum beside TCP's that such a filter tells of.
pub(crate) const SUM: &str = "ip";

/// The server's address.
pub(crate) const SERVER: Ip = Ip::new(10, 77, 0, 1);
/// The client's address.
pub(crate) const CLIENT: Ip = Ip::new(10, 77, 0, 2);
/// An address on the same link that neither kernel has.
pub(crate) const FREE: Ip = Ip::new(10, 77, 0, 9);
/// The length of the link's prefix.
pub(crate) const PREFIX: u8 = 24;
/// What an address is added with that is to be used at once.
pub(crate) const NODAD: &str = "";
/// Every address.
pub(crate) const UNSPECIFIED: Ip = Ip::UNSPECIFIED;
/// The loopback's.
pub(crate) const LOCALHOST: Ip = Ip::LOCALHOST;
/// Another network, and a host in it.
pub(crate) const ELSEWHERE: (&str, Ip) = ("10.99.0.0/24", Ip::new(10, 99, 0, 1));
/// The router of that network.
pub(crate) const ROUTER: Ip = Ip::new(10, 99, 0, 254);
/// The sysctl that makes a router.
pub(crate) const FORWARDING: &str = "net/ipv4/ip_forward";

/// Host `n` of the link.
pub(crate) const fn host(n: u8) -> Ip {
    Ip::new(10, 77, 0, n)
}

/// An address in front of a colon and a port.
pub(crate) fn shown(ip: Ip) -> String {
    ip.to_string()
}

/// A place for a socket call.
pub(crate) fn place(ip: Ip, port: u16) -> SockaddrIn {
    SocketAddrV4::new(ip, port).into()
}

/// The ethertype of packets.
pub(crate) const ETHERTYPE: [u8; 2] = [0x08, 0x00];
/// The length of their header, without options.
pub(crate) const HEADER: usize = 20;

/// Whether a packet holds TCP right behind such a header.
pub(crate) fn is_tcp(packet: &[u8]) -> bool {
    packet[0] == 0x45 && packet[9] == 6
}

/// The length that a packet says it has.
pub(crate) fn length(packet: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([packet[2], packet[3]]))
}

/// Makes the header right for the packet as it is; the sum of what TCP's checksum covers of it.
pub(crate) fn seal(packet: &mut [u8]) -> u32 {
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[10..12].fill(0);
    let mut sum = words(&packet[..HEADER]);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    words(&packet[12..HEADER])
}

/// A header for TCP from the client to the server, to be sealed.
pub(crate) fn header() -> Vec<u8> {
    let head = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0];
    [&head[..], &CLIENT.octets(), &SERVER.octets()].concat()
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum()
}

/// Who has this address? To whom that goes on the link, and the frame from its ethertype on.
pub(crate) fn question(address: Ip) -> ([u8; 6], Vec<u8>) {
    let sender = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &CLIENT_MAC, &CLIENT.octets()].concat();
    let frame = [&[0x08, 0x06][..], &sender, &[0; 6], &address.octets(), &[0; 18]].concat();
    ([0xff; 6], frame)
}

/// What an answer to the client from the host at `mac` holds: operation, sender and target.
pub(crate) fn answer(address: Ip, mac: [u8; 6]) -> Vec<u8> {
    [&[0, 2][..], &mac, &address.octets(), &CLIENT_MAC].concat()
}
