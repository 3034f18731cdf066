//! Ethernet II frames, with at most one 802.1Q tag.

use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::MacAddr;
use crate::counters::DropReason;

/// A received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The receiver's address.
    pub dst: MacAddr,
    /// The sender's address.
    pub src: MacAddr,
    /// What the payload is, behind the tag if there is one.
    pub ethertype: u16,
    /// What follows the header, padding included.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Parses a frame without its check sequence. With `vlan` it must carry exactly that tag, whose
    /// priority is ignored; without, a tag is an ethertype like any other, and refused.
    ///
    /// # Errors
    ///
    /// [`DropReason::DropEthernet`] for a short frame, a wrong tag or none, and a second tag.
    #[inline]
    pub fn parse(bytes: &'a [u8], vlan: Option<u16>) -> Result<Self, DropReason> {
        let (header, rest) = take::<Header>(bytes)?;
        let (ethertype, payload) = match vlan {
            None => (header.ethertype.get(), rest),
            Some(id) => {
                let (tag, payload) = take::<Tag>(rest)?;
                if header.ethertype.get() != ETHERTYPE_VLAN || tag.control.get() & VLAN_ID != id {
                    return Err(DropReason::DropEthernet);
                }
                (tag.ethertype.get(), payload)
            }
        };
        if matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN) {
            return Err(DropReason::DropEthernet);
        }
        Ok(Self { dst: MacAddr(header.dst), src: MacAddr(header.src), ethertype, payload })
    }
}

#[inline]
fn take<T: FromBytes + KnownLayout + Immutable + Unaligned>(
    bytes: &[u8],
) -> Result<(&T, &[u8]), DropReason> {
    T::ref_from_prefix(bytes).map_err(|_| DropReason::DropEthernet)
}

/// Writes a header, with a tag of priority zero if `vlan` names one, into the last bytes of
/// `before`: what lies in front of the payload. Returns its length, [`header_len`].
///
/// # Panics
///
/// If `before` is shorter than that.
#[inline]
pub fn emit(
    before: &mut [u8],
    dst: MacAddr,
    src: MacAddr,
    ethertype: u16,
    vlan: Option<u16>,
) -> usize {
    let len = header_len(vlan);
    let start = before.len() - len;
    let (header, tag) = before[start..].split_at_mut(HEADER_LEN);
    let outer = if vlan.is_some() { ETHERTYPE_VLAN } else { ethertype };
    header.copy_from_slice(Header { dst: dst.0, src: src.0, ethertype: outer.into() }.as_bytes());
    if let Some(id) = vlan {
        let control = (id & VLAN_ID).into();
        tag.copy_from_slice(Tag { control, ethertype: ethertype.into() }.as_bytes());
    }
    len
}

/// The length of a header with that tag, in bytes.
#[inline]
pub const fn header_len(vlan: Option<u16>) -> usize {
    if vlan.is_some() { HEADER_LEN + TAG_LEN } else { HEADER_LEN }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    dst: [u8; 6],
    src: [u8; 6],
    ethertype: U16,
}

/// What follows the ethertype of a tagged frame.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Tag {
    /// Priority and eligibility in four bits, then the VLAN id in twelve.
    control: U16,
    ethertype: U16,
}

/// The header's length without a tag, in bytes.
pub const HEADER_LEN: usize = size_of::<Header>();
/// The length that a tag adds, in bytes.
pub const TAG_LEN: usize = size_of::<Tag>();
/// The shortest payload of a frame on a real link (46 bytes): shorter ones are padded by the NIC.
pub const MIN_PAYLOAD: usize = 46;

/// IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// An 802.1Q tag follows.
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// An 802.1ad service tag follows.
pub const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

const VLAN_ID: u16 = 0x0fff;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DST: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const SRC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn frame(vlan: Option<u16>, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xaa; HEADER_LEN + TAG_LEN + 2];
        let len = emit(&mut bytes, DST, SRC, ethertype, vlan);
        let mut bytes = bytes.split_off(bytes.len() - len);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn emit_untagged_is_byte_for_byte() {
        let want = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 7];
        assert_eq!(frame(None, ETHERTYPE_IPV4, &[7]), want);
    }

    #[test]
    fn parse_tag_of_ours_with_any_priority_is_accepted() {
        let mut bytes = frame(Some(42), ETHERTYPE_IPV4, &[7]);
        assert_eq!(bytes[12..18], [0x81, 0, 0, 42, 8, 0]);
        bytes[14] |= 0xf0;
        let parsed = Frame::parse(&bytes, Some(42)).unwrap();
        assert_eq!(parsed, Frame { dst: DST, src: SRC, ethertype: ETHERTYPE_IPV4, payload: &[7] });
    }

    #[test]
    fn parse_wrong_tag_is_dropped() {
        let tagged = frame(Some(42), ETHERTYPE_IPV4, &[7; 46]);
        let untagged = frame(None, ETHERTYPE_IPV4, &[7; 46]);
        for (bytes, vlan) in [(&tagged, None), (&tagged, Some(43)), (&untagged, Some(42))] {
            assert_eq!(Frame::parse(bytes, vlan), Err(DropReason::DropEthernet));
        }
    }

    #[test]
    fn parse_second_tag_is_dropped() {
        for outer in [ETHERTYPE_VLAN, ETHERTYPE_SERVICE_VLAN] {
            let bytes = frame(Some(42), outer, &[0, 42, 8, 0]);
            assert_eq!(Frame::parse(&bytes, Some(42)), Err(DropReason::DropEthernet));
        }
    }

    proptest! {
        #[test]
        fn parse_any_bytes_never_panics(bytes: Vec<u8>, vlan: Option<u16>) {
            let _ = Frame::parse(&bytes, vlan);
        }

        #[test]
        fn parse_what_was_emitted_is_the_same(
            vlan in proptest::option::of(0u16..4096), ethertype in 0u16..0x8100, payload: Vec<u8>,
        ) {
            let bytes = frame(vlan, ethertype, &payload);
            let want = Frame { dst: DST, src: SRC, ethertype, payload: &payload };
            prop_assert_eq!(Frame::parse(&bytes, vlan), Ok(want));
            for short in 0..header_len(vlan) {
                prop_assert_eq!(Frame::parse(&bytes[..short], vlan), Err(DropReason::DropEthernet));
            }
        }
    }
}
