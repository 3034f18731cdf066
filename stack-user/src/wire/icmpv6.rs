//! ICMP for IPv6 (RFC 4443): echo, errors that quote a TCP segment of ours, and neighbour discovery,
//! whose messages are `ndp`'s.

use super::icmp::{Echo, Error, Quoted};
use super::{Addr, PROTOCOL_ICMPV6, PROTOCOL_TCP, checksum, ipv6, ndp};
use crate::counters::DropReason;

/// A received message that we care for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A host asks for an echo.
    EchoRequest(Echo<'a>),
    /// A host answers one.
    EchoReply(Echo<'a>),
    /// A segment of ours did not arrive.
    Error(Error, Quoted),
    /// A neighbour asks or tells.
    Discovery(ndp::Message),
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Who sent it.
    pub src: Addr,
    /// Who it was sent to.
    pub dst: Addr,
    /// The hops that were left.
    pub hop_limit: u8,
    /// Whether a fragment header stood before it.
    pub is_fragment: bool,
}

impl<'a> Message<'a> {
    /// Parses what stands behind the headers of an IPv6 packet.
    ///
    /// # Errors
    ///
    /// [`DropReason::DropChecksum`] for a wrong checksum; [`DropReason::DropIcmp`] for a short
    /// message, a type that we do not take, and an error that does not quote eight bytes of TCP or
    /// claims an MTU that no link has; [`DropReason::DropNeighbour`] as `ndp` says.
    pub fn parse(bytes: &'a [u8], carried: &Carried) -> Result<Self, DropReason> {
        let Some((&[kind, code, _, _, a, b, c, d], body)) = bytes.split_first_chunk() else {
            return Err(DropReason::DropIcmp);
        };
        // RFC 4443 2.3, RFC 8200 8.1: the addresses are part of what is summed.
        let Carried { src, dst, .. } = carried;
        let pseudo = checksum::pseudo_header(src, dst, PROTOCOL_ICMPV6, bytes.len());
        if checksum::finish(pseudo + checksum::sum(bytes)) != 0 {
            return Err(DropReason::DropChecksum);
        }
        let (ident, seq) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let echo = Echo { ident, seq, payload: body };
        let error = match (kind, code) {
            (ECHO_REQUEST, 0) => return Ok(Self::EchoRequest(echo)),
            (ECHO_REPLY, 0) => return Ok(Self::EchoReply(echo)),
            (SOLICITATION | ADVERTISEMENT, _) => {
                return ndp::Message::parse(bytes, carried).map(Self::Discovery);
            }
            (DESTINATION_UNREACHABLE, code) => Error::DestinationUnreachable { code: told(code) },
            (PACKET_TOO_BIG, _) => {
                let mtu = u32::from_be_bytes([a, b, c, d]).min(u16::MAX.into()) as u16;
                // RFC 8201 4: what claims less than every link carries is discarded.
                if mtu < ipv6::MIN_MTU {
                    return Err(DropReason::DropIcmp);
                }
                Error::FragmentationNeeded { mtu }
            }
            (TIME_EXCEEDED, code) => Error::TimeExceeded { code },
            (PARAMETER_PROBLEM, code) => Error::ParameterProblem { code },
            _ => return Err(DropReason::DropIcmp),
        };
        let quote = ipv6::Quote::parse(body).filter(|quote| quote.next_header == PROTOCOL_TCP);
        let quoted = quote.and_then(|quote| Quoted::of((quote.src, quote.dst), quote.payload));
        Ok(Self::Error(error, quoted.ok_or(DropReason::DropIcmp)?))
    }
}

/// A code of destination unreachable (RFC 4443, 3.1) as IPv4 would say it; a code that IPv4 does not
/// have either for one that nobody knows.
const fn told(code: u8) -> u8 {
    match code {
        // No route.
        0 => 0,
        // Prohibited, by a filter, by the source address, by a route that rejects.
        1 | 5 | 6 => 13,
        // Beyond the scope of the source address; an address that does not answer.
        2 | 3 => 1,
        PORT => 3,
        _ => u8::MAX,
    }
}

pub(super) const DESTINATION_UNREACHABLE: u8 = 1;
const PACKET_TOO_BIG: u8 = 2;
const TIME_EXCEEDED: u8 = 3;
pub(super) const PARAMETER_PROBLEM: u8 = 4;
const ECHO_REQUEST: u8 = 128;
pub(super) const ECHO_REPLY: u8 = 129;
pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;
/// The code of [`DESTINATION_UNREACHABLE`] for a port.
pub(super) const PORT: u8 = 4;

#[cfg(test)]
mod tests;
