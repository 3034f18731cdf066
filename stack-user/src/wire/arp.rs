//! ARP for IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use zerocopy::byteorder::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::MacAddr;
use crate::counters::DropReason;

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub op: Op,
    /// The sender's link-layer address.
    pub sender_mac: MacAddr,
    /// The sender's address; unspecified in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// The target's link-layer address; means nothing in a request.
    pub target_mac: MacAddr,
    /// The target's address.
    pub target_ip: Ipv4Addr,
}

/// What an ARP packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

impl Packet {
    /// Parses the payload of a frame; padding behind is ignored.
    ///
    /// # Errors
    ///
    /// [`DropReason::DropArp`] for a short packet, other address families, and other operations.
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        let (wire, _) = Wire::ref_from_prefix(bytes).map_err(|_| DropReason::DropArp)?;
        if wire.families != FAMILIES {
            return Err(DropReason::DropArp);
        }
        let op = match wire.op.get() {
            OP_REQUEST => Op::Request,
            OP_REPLY => Op::Reply,
            _ => return Err(DropReason::DropArp),
        };
        Ok(Self {
            op,
            sender_mac: MacAddr(wire.sender_mac),
            sender_ip: wire.sender_ip.into(),
            target_mac: MacAddr(wire.target_mac),
            target_ip: wire.target_ip.into(),
        })
    }

    /// Writes the packet into the front of `buf` and returns its length, [`LEN`].
    ///
    /// # Panics
    ///
    /// If `buf` is shorter than that.
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let op = match self.op {
            Op::Request => OP_REQUEST,
            Op::Reply => OP_REPLY,
        };
        let wire = Wire {
            families: FAMILIES,
            op: op.into(),
            sender_mac: self.sender_mac.0,
            sender_ip: self.sender_ip.octets(),
            target_mac: self.target_mac.0,
            target_ip: self.target_ip.octets(),
        };
        buf[..LEN].copy_from_slice(wire.as_bytes());
        LEN
    }
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Wire {
    families: [u8; 6],
    op: U16,
    sender_mac: [u8; 6],
    sender_ip: [u8; 4],
    target_mac: [u8; 6],
    target_ip: [u8; 4],
}

/// The packet's length in bytes.
pub const LEN: usize = size_of::<Wire>();

/// Hardware type Ethernet, protocol IPv4, and the lengths of their addresses.
const FAMILIES: [u8; 6] = [0, 1, 8, 0, 6, 4];
const OP_REQUEST: u16 = 1;
const OP_REPLY: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REQUEST: Packet = Packet {
        op: Op::Request,
        sender_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        sender_ip: Ipv4Addr::new(10, 0, 0, 1),
        target_mac: MacAddr([0; 6]),
        target_ip: Ipv4Addr::new(10, 0, 0, 2),
    };

    const BYTES: [u8; LEN] =
        [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2];

    #[test]
    fn emit_request_is_byte_for_byte() {
        let mut buf = [0; LEN];
        assert_eq!(REQUEST.emit(&mut buf), LEN);
        assert_eq!(buf, BYTES);
    }

    #[test]
    fn parse_padding_is_ignored() {
        let mut padded = BYTES.to_vec();
        padded.resize(46, 0xee);
        assert_eq!(Packet::parse(&padded), Ok(REQUEST));
    }

    #[test]
    fn parse_other_families_and_operations_are_dropped() {
        for at in 0..8 {
            let mut bytes = BYTES;
            bytes[at] ^= 0x10;
            assert_eq!(Packet::parse(&bytes), Err(DropReason::DropArp), "byte {at}");
        }
        assert_eq!(Packet::parse(&BYTES[..LEN - 1]), Err(DropReason::DropArp));
    }

    proptest! {
        #[test]
        fn parse_any_bytes_never_panics(bytes: Vec<u8>) {
            let _ = Packet::parse(&bytes);
        }

        #[test]
        fn parse_what_was_emitted_is_the_same(
            reply: bool, macs: [[u8; 6]; 2], ips: [[u8; 4]; 2],
        ) {
            let packet = Packet {
                op: if reply { Op::Reply } else { Op::Request },
                sender_mac: MacAddr(macs[0]),
                sender_ip: ips[0].into(),
                target_mac: MacAddr(macs[1]),
                target_ip: ips[1].into(),
            };
            let mut buf = [0; LEN];
            packet.emit(&mut buf);
            prop_assert_eq!(Packet::parse(&buf), Ok(packet));
        }
    }
}
