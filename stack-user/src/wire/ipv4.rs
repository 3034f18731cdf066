//! IPv4 headers (RFC 791). Options are skipped; fragments are not reassembled.

use core::net::Ipv4Addr;

use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Addr, checksum};
use crate::counters::DropReason;

/// A received packet whose header checksum was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The sender.
    pub src: Addr,
    /// The receiver.
    pub dst: Addr,
    /// What the payload is.
    pub protocol: u8,
    /// Hops that were left.
    pub ttl: u8,
    /// Type of service: six bits of DSCP and two of ECN.
    pub tos: u8,
    /// The identification field.
    pub ident: u16,
    /// Header and payload, without what the link padded: what an ICMP error quotes.
    pub bytes: &'a [u8],
    /// What follows the options, up to the total length.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Parses the payload of a frame and cuts it to the packet's own length.
    ///
    /// # Errors
    ///
    /// [`DropReason::DropIpHeader`] for a wrong version, length or checksum (RFC 1122 3.2.1.2),
    /// [`DropReason::DropFragment`] for any piece of a fragmented packet,
    /// [`DropReason::DropSourceRoute`] for one that says by which way it came.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let (packet, header, header_len) = parse_header(bytes)?;
        let total_len = usize::from(header.total_len.get());
        // RFC 9293 3.9.2 (MUST-50): options of IP are passed over.
        let payload = packet.get(header_len..total_len).ok_or(DropReason::DropIpHeader)?;
        let sum = match header_len {
            // Nearly every header; of known length, it is summed three times as fast.
            HEADER_LEN => checksum::sum(header.as_bytes()),
            _ => checksum::sum(&packet[..header_len]),
        };
        if checksum::finish(sum) != 0 {
            return Err(DropReason::DropIpHeader);
        }
        if header.fragment.get() & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0 {
            return Err(DropReason::DropFragment);
        }
        // RFC 7126 4.3 and 4.4: nobody outside says by which way the answer goes.
        if header_len > HEADER_LEN && has_source_route(&packet[HEADER_LEN..header_len]) {
            return Err(DropReason::DropSourceRoute);
        }
        Ok(Self {
            src: Ipv4Addr::from(header.src).into(),
            dst: Ipv4Addr::from(header.dst).into(),
            protocol: header.protocol,
            ttl: header.ttl,
            tos: header.tos,
            ident: header.ident.get(),
            bytes: &packet[..total_len],
            payload,
        })
    }

    /// The two bits of explicit congestion notification (RFC 3168).
    #[inline]
    pub const fn ecn(&self) -> u8 {
        self.tos & 0b11
    }
}

/// The start of a packet that an ICMP error quotes: its end may be missing, and its checksum may
/// have been left as some router changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote<'a> {
    pub(super) src: Addr,
    pub(super) dst: Addr,
    pub(super) protocol: u8,
    pub(super) payload: &'a [u8],
}

impl<'a> Quote<'a> {
    /// Parses as much as is there; `None` if that is no header, or a fragment but the first.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (packet, header, header_len) = parse_header(bytes).ok()?;
        if header.fragment.get() & FRAGMENT_OFFSET != 0 {
            return None;
        }
        Some(Self {
            src: Ipv4Addr::from(header.src).into(),
            dst: Ipv4Addr::from(header.dst).into(),
            protocol: header.protocol,
            payload: packet.get(header_len..)?,
        })
    }
}

/// The packet, its fixed header and its header's length; the latter is within the packet.
#[inline]
fn parse_header(bytes: &[u8]) -> Result<(&[u8], &Header, usize), DropReason> {
    let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| DropReason::DropIpHeader)?;
    let header_len = usize::from(header.version_ihl & 0x0f) * 4;
    // RFC 1122 3.2.1.1: a version other than 4 is silently discarded.
    if header.version_ihl >> 4 != 4 || header_len < HEADER_LEN || header_len > bytes.len() {
        return Err(DropReason::DropIpHeader);
    }
    Ok((bytes, header, header_len))
}

/// As [`emit_header_for`], carried as usual.
///
/// # Panics
///
/// If `before` is shorter than [`HEADER_LEN`].
#[inline]
pub fn emit_header(
    before: &mut [u8],
    src: &Addr,
    dst: &Addr,
    protocol: u8,
    payload_len: usize,
) -> usize {
    emit_header_for(before, (src, dst, protocol), Delivery::default(), payload_len)
}

/// How the network is asked to carry a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The octet of the Differentiated Services field and of ECN (RFC 2474, RFC 3168).
    pub traffic_class: u8,
    /// The hops that it may travel: the TTL.
    pub hop_limit: u8,
}

impl Default for Delivery {
    /// Best effort, and the hops of RFC 1700: 64.
    fn default() -> Self {
        Self { traffic_class: 0, hop_limit: TTL }
    }
}

/// As [`emit_header`], carried in a way of the caller's choice.
///
/// # Panics
///
/// If `before` is shorter than [`HEADER_LEN`].
#[inline]
pub fn emit_header_for(
    before: &mut [u8],
    (src, dst, protocol): (&Addr, &Addr, u8),
    delivery: Delivery,
    payload_len: usize,
) -> usize {
    debug_assert!(payload_len <= MAX_PAYLOAD, "an IPv4 packet has at most 65535 bytes");
    let mut header = Header {
        version_ihl: 0x45,
        tos: delivery.traffic_class,
        total_len: ((HEADER_LEN + payload_len) as u16).into(),
        ident: 0.into(),
        fragment: DONT_FRAGMENT.into(),
        ttl: delivery.hop_limit,
        protocol,
        checksum: 0.into(),
        src: octets(src),
        dst: octets(dst),
    };
    header.checksum = checksum::finish(checksum::sum(header.as_bytes())).into();
    let start = before.len() - HEADER_LEN;
    before[start..].copy_from_slice(header.as_bytes());
    HEADER_LEN
}

/// Whether one of the options is a source route, loose or strict. What is malformed says nothing.
fn has_source_route(options: &[u8]) -> bool {
    let mut rest = options;
    while let [kind, after @ ..] = rest {
        rest = match *kind {
            END_OF_OPTIONS => return false,
            NO_OPERATION => after,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return true,
            _ => match after.first() {
                Some(len) if *len >= 2 => rest.get(usize::from(*len)..).unwrap_or_default(),
                _ => return false,
            },
        };
    }
    false
}

/// Whether no packet may come from this address: "this" network, loopback, multicast, reserved and
/// broadcast (RFC 1122 3.2.1.3, RFC 6890; RFC 9293 3.9.2.3: MUST-57, MUST-63, CM-7.k), or not IPv4
/// at all. A broadcast address of the own network is for the caller to know.
#[inline]
pub fn is_martian_source(addr: &Addr) -> bool {
    let [first, ..] = octets(addr);
    // 224.0.0.0/4 and 240.0.0.0/4, which has the limited broadcast, end the range.
    matches!(first, 0 | 127 | 224..) || !addr.is_v4()
}

/// Whether an address names one host, as TCP asks of both ends (RFC 9293 MUST-57): what is no
/// martian source, for the same ranges are no destinations either (RFC 1122 3.2.1.3).
#[inline]
pub fn is_unicast(addr: &Addr) -> bool {
    !is_martian_source(addr)
}

/// The four bytes of an IPv4 address, which [`Addr`] keeps last.
#[inline]
pub const fn octets(addr: &Addr) -> [u8; 4] {
    let [.., a, b, c, d] = addr.0;
    [a, b, c, d]
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    version_ihl: u8,
    tos: u8,
    total_len: U16,
    ident: U16,
    /// Three flags, then the offset in units of eight bytes.
    fragment: U16,
    ttl: u8,
    protocol: u8,
    checksum: U16,
    src: [u8; 4],
    dst: [u8; 4],
}

/// The length of a header without options, in bytes.
pub const HEADER_LEN: usize = size_of::<Header>();
/// The most bytes of payload.
pub const MAX_PAYLOAD: usize = u16::MAX as usize - HEADER_LEN;
/// The hops that our packets may travel where nothing else was asked for (RFC 1700).
pub const TTL: u8 = 64;

/// Options of IP (RFC 791, section 3.1).
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

#[cfg(test)]
mod tests;
