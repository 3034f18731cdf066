//! IPv6 fixed headers (RFC 8200). Extension headers are not followed yet: the payload begins with
//! them, and `next_header` names the first.

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Addr;
use crate::counters::DropReason;

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

/// Writes a header into the last 40 bytes of `before`, what lies in front of the payload, and
/// returns its length. Traffic class and flow label are zero; it may travel [`HOP_LIMIT`] hops.
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
    debug_assert!(payload_len <= usize::from(u16::MAX), "jumbograms are not sent");
    let header = Header {
        version_class_label: (6 << 28).into(),
        payload_len: (payload_len as u16).into(),
        next_header,
        hop_limit: HOP_LIMIT,
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

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;
    use proptest::prelude::*;

    fn addr(last: u16) -> Addr {
        Addr(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).octets())
    }

    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        emit_header(&mut bytes, &addr(1), &addr(2), 6, payload.len());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn emit_begins_with_version_length_protocol_and_hops() {
        assert_eq!(packet(&[1; 3])[..8], [0x60, 0, 0, 0, 0, 3, 6, 64]);
    }

    #[test]
    fn parse_wrong_version_length_or_mapped_address_is_dropped() {
        let good = packet(&[1; 3]);
        let mut version = good.clone();
        version[0] = 0x40;
        let mut mapped = good.clone();
        mapped[8..24].copy_from_slice(&Addr::from(core::net::Ipv4Addr::new(10, 0, 0, 1)).0);
        for bytes in [&version[..], &mapped[..], &good[..good.len() - 1], &good[..39]] {
            assert_eq!(Packet::parse(bytes), Err(DropReason::DropIpHeader));
        }
    }

    #[test]
    fn martian_ranges_are_known() {
        let multicast = Addr(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
        let loopback = Addr(Ipv6Addr::LOCALHOST.octets());
        for martian in [Addr::UNSPECIFIED, loopback, multicast] {
            assert!(is_martian_source(&martian) && !is_unicast(&martian), "{martian}");
        }
        assert!(is_unicast(&addr(1)) && !is_martian_source(&addr(1)));
    }

    proptest! {
        #[test]
        fn parse_any_bytes_never_panics(mut bytes: Vec<u8>) {
            let _ = Packet::parse(&bytes);
            if let Some(first) = bytes.first_mut() {
                *first = 0x60;
            }
            let _ = Packet::parse(&bytes);
        }

        #[test]
        fn parse_what_was_emitted_is_the_same(payload: Vec<u8>, padding in 0usize..50) {
            let bytes = packet(&payload);
            let padded = [&bytes[..], &vec![0xee; padding]].concat();
            let want = Packet {
                src: addr(1), dst: addr(2), next_header: 6, hop_limit: HOP_LIMIT, traffic_class: 0,
                bytes: &bytes, payload: &payload,
            };
            prop_assert_eq!(Packet::parse(&padded), Ok(want));
        }
    }
}
