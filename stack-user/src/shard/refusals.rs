//! Packets for an address of our own that nobody here takes: which of them are answered by an ICMP
//! error, and how many of those go out.

use super::demux::Parsed;
use super::inner::Core;
use crate::counters::{Counter, DropReason};
use crate::time::Instant;
use crate::wire::icmp::Answer;
use crate::wire::ipv6::{self, Problem, Stop, Upper};
use crate::wire::{Addr, MacAddr, NO_NEXT_HEADER, PROTOCOL_UDP, ipv4, udp};

/// A packet that is answered by an error. It came to one host alone, from one host alone, and is
/// neither part of another nor an error itself (RFC 1122, 3.2.2; RFC 4443, 2.4).
pub(super) struct Refused<'a> {
    mac: MacAddr,
    /// Ours and its sender's.
    addrs: (Addr, Addr),
    answer: Answer,
    /// It, from its IP header on.
    packet: &'a [u8],
}

impl Core {
    /// Nobody takes this packet: why it is dropped. It goes to `slot` where its sender is told.
    #[cold]
    pub(super) fn refuse_v4<'a>(
        &self,
        mac: MacAddr,
        packet: &ipv4::Packet<'a>,
        slot: &mut Option<Parsed<'a>>,
    ) -> DropReason {
        let addrs = (packet.dst, packet.src);
        let (answer, reason) = match packet.protocol {
            PROTOCOL_UDP => match self.check_datagram(addrs, packet.payload) {
                Err(reason) => return reason,
                // RFC 1122 4.1.3.1.
                Ok(()) => (Answer::PortUnreachable, DropReason::DropDatagram),
            },
            // RFC 1122 3.2.2.1.
            _ => (Answer::ProtocolUnreachable, DropReason::DropProtocol),
        };
        *slot = Some(Parsed::Refused(Refused { mac, addrs, answer, packet: packet.bytes }));
        reason
    }

    /// The same for IPv6.
    #[cold]
    pub(super) fn refuse_v6<'a>(
        &self,
        mac: MacAddr,
        (packet, upper): (&ipv6::Packet<'a>, &Upper<'a>),
        slot: &mut Option<Parsed<'a>>,
    ) -> DropReason {
        let addrs = (packet.dst, packet.src);
        let (answer, reason) = match upper.protocol {
            PROTOCOL_UDP => match self.check_datagram(addrs, upper.payload) {
                Err(reason) => return reason,
                // RFC 4443 3.1.
                Ok(()) => (Answer::PortUnreachable, DropReason::DropDatagram),
            },
            NO_NEXT_HEADER => return DropReason::DropProtocol,
            // RFC 8200 4: a header that we do not know.
            _ => {
                let problem = Problem { code: 1, pointer: upper.named_at };
                (Answer::Problem(problem), DropReason::DropProtocol)
            }
        };
        *slot = Some(Parsed::Refused(Refused { mac, addrs, answer, packet: packet.bytes }));
        reason
    }

    /// The same for an IPv6 packet whose extension headers stopped it.
    #[cold]
    pub(super) fn refuse_stopped<'a>(
        &self,
        mac: MacAddr,
        (packet, stop): (&ipv6::Packet<'a>, Stop),
        slot: &mut Option<Parsed<'a>>,
    ) -> DropReason {
        if let Some(problem) = stop.problem {
            let (addrs, answer) = ((packet.dst, packet.src), Answer::Problem(problem));
            *slot = Some(Parsed::Refused(Refused { mac, addrs, answer, packet: packet.bytes }));
        }
        stop.reason
    }

    fn check_datagram(
        &self,
        (local, remote): (Addr, Addr),
        bytes: &[u8],
    ) -> Result<(), DropReason> {
        udp::check(bytes, &remote, &local, !self.config.verify_checksums)
    }

    /// Answers a packet that was refused, within the budget of such answers. On a shared address that
    /// is the kernel's to do.
    pub(super) fn answer_refused(&mut self, refused: &Refused<'_>, now: Instant) {
        let Refused { mac, addrs, answer, packet } = *refused;
        if !self.local(addrs.0).is_some_and(|local| local.is_owned) {
            return;
        }
        // RFC 4443 2.4 (f); RFC 1812 4.3.2.8.
        if !self.icmp_errors.take(self.config.limits.icmp_errors_per_second, now) {
            return self.counters.count(Counter::IcmpErrorsLimited);
        }
        let quote = packet.len().min(Answer::longest_quote(!addrs.0.is_v4()));
        self.reply_icmp(mac, addrs, (answer, Counter::IcmpErrorsOut), &packet[..quote]);
    }
}
