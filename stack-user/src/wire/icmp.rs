//! ICMP for IPv4 (RFC 792): echo, and errors that quote a TCP segment of ours. What both families'
//! messages have in common, and what we answer with.

use super::{Addr, FourTuple, PROTOCOL_TCP, checksum, ipv4, tcp};
use crate::counters::DropReason;

mod answer;

pub use answer::Answer;

/// A received message that we care for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A host asks for an echo.
    EchoRequest(Echo<'a>),
    /// A host answers one.
    EchoReply(Echo<'a>),
    /// A segment of ours did not arrive.
    Error(Error, Quoted),
}

/// The body of an echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Tells the asker's requests apart.
    pub ident: u16,
    /// Counts them.
    pub seq: u16,
    /// Comes back as it was sent.
    pub payload: &'a [u8],
}

/// What an error message says; those of IPv6 are told in the words of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Type 3 but code 4: network, host, protocol or port unreachable, or prohibited.
    DestinationUnreachable {
        /// The code: why.
        code: u8,
    },
    /// Type 3, code 4: the packet is too long for a link and may not be fragmented.
    FragmentationNeeded {
        /// The link's MTU in bytes; zero from a router older than RFC 1191.
        mtu: u16,
    },
    /// Type 4, which RFC 6633 has everyone ignore.
    SourceQuench,
    /// Type 11.
    TimeExceeded {
        /// Zero: on the way; one: in reassembly.
        code: u8,
    },
    /// Type 12.
    ParameterProblem {
        /// The code.
        code: u8,
    },
}

/// The segment of ours that an error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its flow, seen from us: the quoted source is local.
    pub tuple: FourTuple,
    /// Its sequence number, to be checked against what is in flight (RFC 5927).
    pub seq: u32,
}

impl<'a> Message<'a> {
    /// Parses the payload of an IPv4 packet.
    ///
    /// # Errors
    ///
    /// [`DropReason::DropChecksum`] for a wrong checksum; [`DropReason::DropIcmp`] for a short
    /// message, a type that we do not take, and an error that does not quote eight bytes of TCP.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let Some((&[kind, code, _, _, a, b, c, d], body)) = bytes.split_first_chunk() else {
            return Err(DropReason::DropIcmp);
        };
        if checksum::finish(checksum::sum(bytes)) != 0 {
            return Err(DropReason::DropChecksum);
        }
        let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let echo = Echo { ident: first, seq: second, payload: body };
        let error = match (kind, code) {
            (ECHO_REQUEST, 0) => return Ok(Self::EchoRequest(echo)),
            (ECHO_REPLY, 0) => return Ok(Self::EchoReply(echo)),
            (DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED) => {
                Error::FragmentationNeeded { mtu: second }
            }
            (DESTINATION_UNREACHABLE, code) => Error::DestinationUnreachable { code },
            (SOURCE_QUENCH, _) => Error::SourceQuench,
            (TIME_EXCEEDED, code) => Error::TimeExceeded { code },
            (PARAMETER_PROBLEM, code) => Error::ParameterProblem { code },
            _ => return Err(DropReason::DropIcmp),
        };
        let quoted = Quoted::parse(body).ok_or(DropReason::DropIcmp)?;
        Ok(Self::Error(error, quoted))
    }
}

impl Echo<'_> {
    /// Writes the reply to this request into the front of `buf` and returns its length.
    ///
    /// # Panics
    ///
    /// If `buf` is shorter than [`Echo::reply_len`].
    pub fn emit_reply(&self, buf: &mut [u8]) -> usize {
        let len = self.reply_len();
        let answer = Answer::EchoReply { ident: self.ident, seq: self.seq };
        answer.emit(None, self.payload, &mut buf[..len])
    }

    /// The length of the reply in bytes.
    pub const fn reply_len(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }
}

impl Quoted {
    /// Parses a quoted packet: its header and at least eight bytes more (RFC 792), which have ports
    /// and sequence number.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let quote = ipv4::Quote::parse(bytes)?;
        match quote.protocol {
            PROTOCOL_TCP => Self::of((quote.src, quote.dst), quote.payload),
            _ => None,
        }
    }

    /// The first eight bytes of a quoted segment name it.
    pub(super) fn of((local, remote): (Addr, Addr), segment: &[u8]) -> Option<Self> {
        let (local_port, remote_port) = tcp::ports(segment)?;
        let (_, seq) = segment.get(..8)?.split_last_chunk()?;
        let tuple = FourTuple { local, remote, local_port, remote_port };
        Some(Self { tuple, seq: u32::from_be_bytes(*seq) })
    }
}

/// The length of a message's header, in bytes.
pub const HEADER_LEN: usize = 8;

const ECHO_REPLY: u8 = 0;
const DESTINATION_UNREACHABLE: u8 = 3;
const SOURCE_QUENCH: u8 = 4;
const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
/// The code of [`DESTINATION_UNREACHABLE`].
const FRAGMENTATION_NEEDED: u8 = 4;

#[cfg(test)]
mod tests;
