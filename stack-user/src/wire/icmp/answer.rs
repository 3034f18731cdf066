//! What we answer by ICMP, in either family: echo replies, and errors about what came.

use super::{DESTINATION_UNREACHABLE, ECHO_REPLY, HEADER_LEN};
use crate::wire::icmpv6;
use crate::wire::ipv6::{self, Problem};
use crate::wire::{Addr, PROTOCOL_ICMPV6, checksum, ipv4};

/// A message of ours. Behind an echo reply comes the payload of the request, behind an error the
/// packet that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The echo that was asked for.
    EchoReply {
        /// As in the request.
        ident: u16,
        /// As in the request.
        seq: u16,
    },
    /// Nobody is at the port.
    PortUnreachable,
    /// We do not speak the protocol of this IPv4 packet.
    ProtocolUnreachable,
    /// A field of this IPv6 packet makes no sense to us.
    Problem(Problem),
}

impl Answer {
    /// Writes the message to the start of `buf` and returns its length. IPv6 needs the addresses of
    /// sender and receiver for its checksum; without them the message is one of IPv4.
    ///
    /// # Panics
    ///
    /// If `buf` is shorter than header and body.
    pub fn emit(self, addrs: Option<(&Addr, &Addr)>, body: &[u8], buf: &mut [u8]) -> usize {
        let len = HEADER_LEN + body.len();
        let (header, rest) = buf[..len].split_at_mut(HEADER_LEN);
        header.copy_from_slice(&self.header(addrs.is_some()));
        let mut sum = checksum::copy_and_sum(rest, body) + checksum::sum(header);
        if let Some((src, dst)) = addrs {
            sum += checksum::pseudo_header(src, dst, PROTOCOL_ICMPV6, len);
        }
        header[2..4].copy_from_slice(&checksum::finish(sum).to_be_bytes());
        len
    }

    /// How many bytes of a packet an error may quote: a whole message is not longer than what every
    /// link carries (RFC 1812, 4.3.2.3; RFC 4443, 2.4).
    pub const fn longest_quote(is_v6: bool) -> usize {
        match is_v6 {
            true => ipv6::MIN_MTU as usize - ipv6::HEADER_LEN - HEADER_LEN,
            false => 576 - ipv4::HEADER_LEN - HEADER_LEN,
        }
    }

    /// Type, code, no checksum, and the rest.
    const fn header(self, is_v6: bool) -> [u8; HEADER_LEN] {
        match self {
            Self::EchoReply { ident, seq } => {
                let kind = if is_v6 { icmpv6::ECHO_REPLY } else { ECHO_REPLY };
                let ([a, b], [c, d]) = (ident.to_be_bytes(), seq.to_be_bytes());
                [kind, 0, 0, 0, a, b, c, d]
            }
            Self::PortUnreachable if is_v6 => {
                [icmpv6::DESTINATION_UNREACHABLE, icmpv6::PORT, 0, 0, 0, 0, 0, 0]
            }
            Self::PortUnreachable => [DESTINATION_UNREACHABLE, PORT, 0, 0, 0, 0, 0, 0],
            Self::ProtocolUnreachable => [DESTINATION_UNREACHABLE, PROTOCOL, 0, 0, 0, 0, 0, 0],
            Self::Problem(Problem { code, pointer }) => {
                let [a, b, c, d] = pointer.to_be_bytes();
                [icmpv6::PARAMETER_PROBLEM, code, 0, 0, a, b, c, d]
            }
        }
    }
}

/// Codes of destination unreachable over IPv4.
const PROTOCOL: u8 = 2;
const PORT: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;

    #[test]
    fn emit_errors_are_byte_for_byte() {
        let mut buf = [0xaa; 16];
        let len = Answer::PortUnreachable.emit(None, &[1, 2], &mut buf);
        assert_eq!(buf[..len], [3, 3, 0xfb, 0xfa, 0, 0, 0, 0, 1, 2]);
        let len = Answer::ProtocolUnreachable.emit(None, &[], &mut buf);
        assert_eq!(buf[..len], [3, 2, 0xfc, 0xfd, 0, 0, 0, 0]);
    }

    #[test]
    fn emit_over_ipv6_has_its_types_and_a_checksum_over_the_addresses() {
        let [src, dst] = [1, 2].map(|n| Addr(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n).octets()));
        let mut buf = [0xaa; 16];
        let cases = [
            (Answer::EchoReply { ident: 0x0102, seq: 3 }, [129, 0, 1, 2, 0, 3]),
            (Answer::PortUnreachable, [1, 4, 0, 0, 0, 0]),
            (Answer::Problem(Problem { code: 2, pointer: 42 }), [4, 2, 0, 0, 0, 42]),
        ];
        for (answer, [kind, code, rest @ ..]) in cases {
            let len = answer.emit(Some((&src, &dst)), b"odd", &mut buf);
            assert_eq!((buf[..2].to_vec(), buf[4..8].to_vec()), (vec![kind, code], rest.to_vec()));
            let sum = checksum::pseudo_header(&src, &dst, 58, len) + checksum::sum(&buf[..len]);
            assert_eq!((checksum::finish(sum), &buf[8..len]), (0, &b"odd"[..]));
        }
    }

    #[test]
    fn longest_quote_fills_the_least_mtu() {
        assert_eq!((Answer::longest_quote(false), Answer::longest_quote(true)), (548, 1232));
    }
}
