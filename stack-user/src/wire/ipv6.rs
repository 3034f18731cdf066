//! IPv6: the fixed header (RFC 8200), and addresses with a meaning of their own (RFC 4291).
//!
//! A packet's payload begins with its extension headers, of which `next_header` names the first;
//! `extensions` steps over them.

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ipv4::Delivery;
use super::{Addr, MacAddr};
use crate::counters::DropReason;

mod extensions;

pub use extensions::{Problem, Stop, Upper};

/// A received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The sender.
    pub src: Addr,
    /// The receiver.
    pub dst: Addr,
    /// What the payload begins with.
    pub next_header: u8,
    /// Hops that were left.
    pub hop_limit: u8,
    /// Six bits of DSCP and two of ECN.
    pub traffic_class: u8,
    /// Header and payload, without what the link padded.
    pub bytes: &'a [u8],
    /// What follows the fixed header, up to the payload length.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Parses the payload of a frame and cuts it to the packet's own length.
    ///
    /// # Errors
    ///
    /// [`DropReason::DropIpHeader`] for a wrong version or length, and for an IPv4-mapped address,
    /// which has no place on the wire (RFC 4291 2.5.5.2) and would pass for one of IPv4 here.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DropReason> {
        let (header, rest) =
            Header::ref_from_prefix(bytes).map_err(|_| DropReason::DropIpHeader)?;
        let version_class_label = header.version_class_label.get();
        let len = usize::from(header.payload_len.get());
        let payload = rest.get(..len).ok_or(DropReason::DropIpHeader)?;
        let (src, dst) = (Addr(header.src), Addr(header.dst));
        if version_class_label >> 28 != 6 || src.is_v4() || dst.is_v4() {
            return Err(DropReason::DropIpHeader);
        }
        Ok(Self {
            src,
            dst,
            next_header: header.next_header,
            hop_limit: header.hop_limit,
            traffic_class: (version_class_label >> 20) as u8,
            bytes: &bytes[..HEADER_LEN + len],
            payload,
        })
    }

    /// The two bits of explicit congestion notification (RFC 3168).
    #[inline]
    pub const fn ecn(&self) -> u8 {
        self.traffic_class & 0b11
    }
}

/// The start of a packet that an ICMPv6 error quotes: its end may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote<'a> {
    pub(super) src: Addr,
    pub(super) dst: Addr,
    pub(super) next_header: u8,
    pub(super) payload: &'a [u8],
}

impl<'a> Quote<'a> {
    /// Parses as much as is there; `None` if that is no header. What we send has no extension
    /// headers, so that none are stepped over.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, payload) = Header::ref_from_prefix(bytes).ok()?;
        let (src, dst) = (Addr(header.src), Addr(header.dst));
        if header.version_class_label.get() >> 28 != 6 || src.is_v4() || dst.is_v4() {
            return None;
        }
        Some(Self { src, dst, next_header: header.next_header, payload })
    }
}

/// As [`emit_header_for`], carried as usual and without a flow label.
///
/// # Panics
///
/// If `before` is shorter than [`HEADER_LEN`].
#[inline]
pub fn emit_header(
    before: &mut [u8],
    src: &Addr,
    dst: &Addr,
    next_header: u8,
    payload_len: usize,
) -> usize {
    let delivery = Delivery { hop_limit: HOP_LIMIT, ..Delivery::default() };
    emit_header_for(before, (src, dst, next_header), (delivery, 0), payload_len)
}

/// Writes a header into the last 40 bytes of `before`, what lies in front of the payload, and
/// returns its length. Of the flow label the lower 20 bits count (RFC 6437).
///
/// # Panics
///
/// If `before` is shorter than [`HEADER_LEN`].
#[inline]
pub fn emit_header_for(
    before: &mut [u8],
    (src, dst, next_header): (&Addr, &Addr, u8),
    (delivery, label): (Delivery, u32),
    payload_len: usize,
) -> usize {
    debug_assert!(payload_len <= usize::from(u16::MAX), "jumbograms are not sent");
    let class = u32::from(delivery.traffic_class);
    let header = Header {
        version_class_label: (6 << 28 | class << 20 | label & FLOW_LABEL).into(),
        payload_len: (payload_len as u16).into(),
        next_header,
        hop_limit: delivery.hop_limit,
        src: src.0,
        dst: dst.0,
    };
    let start = before.len() - HEADER_LEN;
    before[start..].copy_from_slice(header.as_bytes());
    HEADER_LEN
}

/// Whether no packet may come from this address: unspecified, loopback, multicast or mapped IPv4
/// (RFC 4291 2.5.2, 2.5.3, 2.7; RFC 9293 MUST-57).
#[inline]
pub fn is_martian_source(addr: &Addr) -> bool {
    let loopback = u128::from_be_bytes(addr.0) <= 1;
    loopback || addr.0[0] == 0xff || addr.is_v4()
}

/// Whether an address names one host, as TCP asks of both ends (RFC 9293 MUST-57).
#[inline]
pub fn is_unicast(addr: &Addr) -> bool {
    !is_martian_source(addr)
}

/// Whether an address is a multicast group's (RFC 4291, 2.7).
#[inline]
pub const fn is_multicast(addr: &Addr) -> bool {
    addr.0[0] == 0xff
}

/// Whether an address holds on its link alone (RFC 4291, 2.5.6).
#[inline]
pub const fn is_link_local(addr: &Addr) -> bool {
    addr.0[0] == 0xfe && addr.0[1] & 0xc0 == 0x80
}

/// The group on which an address is solicited (RFC 4291, 2.7.1).
pub const fn solicited_node(addr: &Addr) -> Addr {
    let [.., a, b, c] = addr.0;
    Addr([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The link-layer address of a group (RFC 2464, 7).
pub const fn group_mac(group: &Addr) -> MacAddr {
    let [.., a, b, c, d] = group.0;
    MacAddr([0x33, 0x33, a, b, c, d])
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    /// Four bits of version, eight of traffic class, twenty of flow label.
    version_class_label: U32,
    payload_len: U16,
    next_header: u8,
    hop_limit: u8,
    src: [u8; 16],
    dst: [u8; 16],
}

/// The fixed header's length in bytes.
pub const HEADER_LEN: usize = size_of::<Header>();
/// The hops that our packets may travel.
pub const HOP_LIMIT: u8 = 64;
/// What every link carries, in bytes (RFC 8200, 5).
pub const MIN_MTU: u16 = 1280;
/// Every host of the link (RFC 4291, 2.7.1).
pub const ALL_NODES: Addr = Addr([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

const FLOW_LABEL: u32 = 0xf_ffff;

#[cfg(test)]
mod tests;
