//! Frames of IPv6, in and out, where they differ from those of IPv4.

use super::demux::Parsed;
use super::inner::{Core, keyed_hash};
use super::{Elsewhere, Shard};
use crate::counters::{Counter, DropReason};
use crate::tcp::HEADROOM;
use crate::time::Instant;
use crate::wire::ethernet::{self, ETHERTYPE_IPV6, Frame};
use crate::wire::icmpv6::{Carried, Message};
use crate::wire::ipv4::Delivery;
use crate::wire::ipv6::{self, Packet};
use crate::wire::{Addr, FourTuple, MacAddr, PROTOCOL_ICMPV6, PROTOCOL_TCP, tcp};

impl Core {
    /// Parses a frame of IPv6 into its slot.
    #[inline(never)]
    pub(super) fn parse_v6<'a>(
        &self,
        frame: &Frame<'a>,
        slot: &mut Option<Parsed<'a>>,
    ) -> Result<(), DropReason> {
        let packet = Packet::parse(frame.payload)?;
        if frame.dst.is_group() {
            return parse_group(frame.src, &packet, slot);
        }
        if frame.dst != self.config.mac || self.local(packet.dst).is_none() {
            return Err(DropReason::DropNotOurs);
        }
        // RFC 9293 3.9.2.3 (MUST-63), CM-7.k.
        if ipv6::is_martian_source(&packet.src) || self.local(packet.src).is_some() {
            return Err(DropReason::DropMartian);
        }
        let upper = match packet.upper() {
            Ok(upper) => upper,
            Err(stop) => return Err(self.refuse_stopped(frame.src, (&packet, stop), slot)),
        };
        match upper.protocol {
            PROTOCOL_TCP => {
                let addrs = (&packet.dst, &packet.src);
                *slot =
                    Some(Parsed::Segment(self.parse_segment(frame.src, addrs, upper.payload)?));
            }
            PROTOCOL_ICMPV6 => {
                let carried = carried(&packet, upper.is_fragment);
                *slot = Some(Parsed::Icmpv6(frame.src, carried, upper.payload));
            }
            _ => return Err(self.refuse_v6(frame.src, (&packet, &upper), slot)),
        }
        Ok(())
    }

    /// As `write_headers`, for IPv6.
    #[inline(never)]
    pub(super) fn write_headers_v6(
        &self,
        mac: MacAddr,
        ((local, remote, protocol), delivery): ((Addr, Addr, u8), Delivery),
        frame: &mut [u8],
        len: usize,
    ) -> usize {
        let (before, payload) = frame.split_at_mut(HEADROOM);
        // RFC 6437 3: the same for all packets of a flow, and nothing that can be foretold. What is of
        // no flow has none.
        let label = match tcp::ports(payload).filter(|_| protocol == PROTOCOL_TCP) {
            Some((local_port, remote_port)) => {
                let tuple = FourTuple { local, remote, local_port, remote_port };
                keyed_hash(&self.config.secrets.port, &tuple) as u32
            }
            None => 0,
        };
        let names = (&local, &remote, protocol);
        let ip = HEADROOM - ipv6::emit_header_for(before, names, (delivery, label), len);
        let (ours, vlan) = (self.config.mac, self.config.vlan);
        ip - ethernet::emit(&mut before[..ip], mac, ours, ETHERTYPE_IPV6, vlan)
    }
}

/// What was sent to a group is neighbour discovery, or not for us (RFC 9293 3.9.2.3: MUST-57).
fn parse_group<'a>(
    mac: MacAddr,
    packet: &Packet<'a>,
    slot: &mut Option<Parsed<'a>>,
) -> Result<(), DropReason> {
    let is_sound = ipv6::is_multicast(&packet.dst) && packet.next_header == PROTOCOL_ICMPV6;
    // Who has no address yet may ask whether one is free (RFC 4862, 5.4.2).
    let is_from_host = packet.src == Addr::UNSPECIFIED || ipv6::is_unicast(&packet.src);
    if !is_sound || !is_from_host {
        return Err(DropReason::DropMartian);
    }
    *slot = Some(Parsed::Icmpv6(mac, carried(packet, false), packet.payload));
    Ok(())
}

fn carried(packet: &Packet<'_>, is_fragment: bool) -> Carried {
    let Packet { src, dst, hop_limit, .. } = *packet;
    Carried { src, dst, hop_limit, is_fragment }
}

impl Shard {
    /// ICMPv6: neighbour discovery and echo for addresses of our own, and errors about our segments.
    /// Who else has to see it.
    pub(super) fn on_icmpv6(
        &mut self,
        (mac, bytes): (MacAddr, &[u8]),
        carried: &Carried,
        answers: bool,
        now: Instant,
    ) -> Option<Elsewhere> {
        let is_owned = self.core.local(carried.dst).is_some_and(|local| local.is_owned);
        match Message::parse(bytes, carried) {
            Ok(Message::Discovery(message)) => {
                self.core.on_discovery((mac, &message), carried.src, answers, now);
                return Some(Elsewhere::Every);
            }
            Ok(Message::EchoRequest(echo)) if is_owned => {
                self.core.answer_echo(mac, (carried.dst, carried.src), &echo);
            }
            // To a group nobody sends an error about a segment of ours.
            Ok(Message::Error(error, quoted)) if !ipv6::is_multicast(&carried.dst) => {
                self.on_icmp_error(error, &quoted, now);
            }
            Ok(_) => self.core.counters.count(Counter::DropIcmp),
            Err(reason) => self.core.counters.count(reason),
        }
        None
    }
}
