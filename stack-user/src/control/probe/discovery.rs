//! The frames by which an own address of IPv6 is probed and announced (RFC 4862, 5.4; RFC 4861,
//! 7.2.6), and the group on which it is asked for.

use std::io;
use std::net::{Ipv6Addr, UdpSocket};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::Place;
use crate::datapath::PacketSocket;
use crate::time::Duration;
use crate::wire::ethernet::{self, ETHERTYPE_IPV6, ETHERTYPE_VLAN, Frame};
use crate::wire::icmpv6::{Carried, Message as Icmpv6};
use crate::wire::ipv4::Delivery;
use crate::wire::ipv6::{self, Packet};
use crate::wire::ndp::{self, Advertisement, Message, Solicitation};
use crate::wire::{Addr, MacAddr, PROTOCOL_ICMPV6};

/// Membership in the group on which an own address is asked for: the interface takes the group's
/// frames, and switches hear that it wants them, for as long as this lives.
#[derive(Debug)]
pub enum Membership {
    /// The kernel joined the group, and reports it (RFC 3810).
    Reported(UdpSocket),
    /// The interface takes the group's frames, but nobody says so: the kernel has no IPv6 there.
    Silent(PacketSocket),
}

impl Membership {
    /// Joins the group of `addr` on the interface with number `index`.
    ///
    /// # Errors
    /// When the interface does not take the group's frames.
    pub fn join(index: u32, addr: &Addr) -> io::Result<Self> {
        let group = ipv6::solicited_node(addr);
        report(index, &group).map(Self::Reported).or_else(|_| {
            // Of a protocol that there is not: it receives nothing.
            let socket = PacketSocket::open(index, 0)?;
            socket.join(index, ipv6::group_mac(&group))?;
            Ok(Self::Silent(socket))
        })
    }
}

/// A socket that is in the group, and is bound to nothing.
fn report(index: u32, group: &Addr) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = UdpSocket::from(socket(AddressFamily::Inet6, SockType::Datagram, flags, None)?);
    socket.join_multicast_v6(&Ipv6Addr::from(group.0), index)?;
    Ok(socket)
}

/// Who has this address? From nobody, to all that may have it.
pub(super) fn probe(place: Place, target: Addr) -> Vec<u8> {
    let message = Message::Solicitation(Solicitation { target, source_mac: None });
    frame(place, &message, (Addr::UNSPECIFIED, ipv6::solicited_node(&target)))
}

/// This address is here: to everybody.
pub(super) fn announcement(place: Place, target: Addr) -> Vec<u8> {
    let target_mac = Some(place.mac);
    let told = Advertisement { target, is_solicited: false, is_override: true, target_mac };
    frame(place, &Message::Advertisement(told), (target, ipv6::ALL_NODES))
}

/// A message to a group, in its frame.
fn frame(place: Place, message: &Message, (src, group): (Addr, Addr)) -> Vec<u8> {
    let mut before = [0; ethernet::HEADER_LEN + ethernet::TAG_LEN + ipv6::HEADER_LEN];
    let mut bytes = [0; ndp::LEN];
    let len = message.emit((&src, &group), &mut bytes);
    let delivery = Delivery { hop_limit: ndp::HOP_LIMIT, ..Delivery::default() };
    let names = (&src, &group, PROTOCOL_ICMPV6);
    let ip = before.len() - ipv6::emit_header_for(&mut before, names, (delivery, 0), len);
    let to = ipv6::group_mac(&group);
    let start = ip - ethernet::emit(&mut before[..ip], to, place.mac, ETHERTYPE_IPV6, place.vlan);
    [&before[start..], &bytes[..len]].concat()
}

/// Who claims `addr` with this frame, if it is a message of somebody else that does.
///
/// RFC 4862 5.4.3 and 5.4.4: an advertisement of the address, or a probe for it.
pub(super) fn claim(frame: &[u8], addr: Addr, ours: MacAddr) -> Option<MacAddr> {
    let is_tagged = frame.get(12..14)? == ETHERTYPE_VLAN.to_be_bytes();
    let vlan = match (is_tagged, frame.get(14..16)?) {
        (true, [a, b]) => Some(u16::from_be_bytes([*a, *b]) & 0x0fff),
        _ => None,
    };
    let frame = Frame::parse(frame, vlan).ok()?;
    if frame.ethertype != ETHERTYPE_IPV6 || frame.src == ours {
        return None;
    }
    let Packet { src, dst, hop_limit, next_header, payload, .. } =
        Packet::parse(frame.payload).ok()?;
    let carried = Carried { src, dst, hop_limit, is_fragment: false };
    let message = match next_header {
        PROTOCOL_ICMPV6 => Icmpv6::parse(payload, &carried).ok()?,
        _ => return None,
    };
    match message {
        Icmpv6::Discovery(Message::Advertisement(told)) if told.target == addr => {
            Some(told.target_mac.unwrap_or(frame.src))
        }
        Icmpv6::Discovery(Message::Solicitation(asked))
            if asked.target == addr && src == Addr::UNSPECIFIED =>
        {
            Some(frame.src)
        }
        _ => None,
    }
}

/// How long an answer to a probe may take (RFC 4861, 10).
pub(super) const RETRANS_TIMER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn addr(last: u16) -> Addr {
        Addr(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets())
    }

    fn place(mac: MacAddr, vlan: Option<u16>) -> Place {
        Place { index: 1, mac, vlan }
    }

    // RFC 4862 5.4.3 and 5.4.4.
    #[test]
    fn claim_by_owner_or_another_prober_is_a_conflict() {
        for vlan in [None, Some(5)] {
            let theirs = place(THEIRS, vlan);
            assert_eq!(claim(&announcement(theirs, addr(9)), addr(9), OURS), Some(THEIRS));
            assert_eq!(claim(&probe(theirs, addr(9)), addr(9), OURS), Some(THEIRS));
        }
    }

    #[test]
    fn claim_of_ourselves_or_of_other_addresses_is_none() {
        let (theirs, ours) = (place(THEIRS, None), place(OURS, None));
        assert_eq!(claim(&probe(ours, addr(9)), addr(9), OURS), None);
        assert_eq!(claim(&probe(theirs, addr(8)), addr(9), OURS), None);
        assert_eq!(claim(&announcement(theirs, addr(8)), addr(9), OURS), None);
        // A question for the address from one who has another is no claim.
        let asked = Solicitation { target: addr(9), source_mac: Some(THEIRS) };
        let group = ipv6::solicited_node(&addr(9));
        let asks = frame(theirs, &Message::Solicitation(asked), (addr(8), group));
        assert_eq!(claim(&asks, addr(9), OURS), None);
    }

    #[test]
    fn claim_cut_short_anywhere_is_none() {
        let frame = announcement(place(THEIRS, Some(5)), addr(9));
        for len in 0..frame.len() {
            assert_eq!(claim(&frame[..len], addr(9), OURS), None, "{len}");
        }
    }
}
