//! UDP (RFC 768), as far as it takes to say that nobody is there.

use super::{Addr, PROTOCOL_UDP, checksum};
use crate::counters::DropReason;

/// Checks a datagram: its length, and its checksum unless `is_trusted`.
///
/// # Errors
///
/// [`DropReason::DropDatagram`] for one that is cut short or longer than its packet,
/// [`DropReason::DropChecksum`] for a wrong checksum, or none over IPv6 (RFC 8200, 8.1).
pub fn check(bytes: &[u8], src: &Addr, dst: &Addr, is_trusted: bool) -> Result<(), DropReason> {
    let Some(&[_, _, _, _, a, b, c, d]) = bytes.first_chunk() else {
        return Err(DropReason::DropDatagram);
    };
    let (len, sum) = (usize::from(u16::from_be_bytes([a, b])), u16::from_be_bytes([c, d]));
    let datagram = bytes.get(..len).filter(|_| len >= HEADER_LEN);
    let datagram = datagram.ok_or(DropReason::DropDatagram)?;
    let is_unsummed = sum == 0 && dst.is_v4();
    let whole = checksum::pseudo_header(src, dst, PROTOCOL_UDP, len) + checksum::sum(datagram);
    match is_trusted || is_unsummed || (sum != 0 && checksum::finish(whole) == 0) {
        true => Ok(()),
        false => Err(DropReason::DropChecksum),
    }
}

/// The header's length in bytes.
pub const HEADER_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    fn v6(n: u16) -> Addr {
        Addr(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).octets())
    }

    fn v4(n: u8) -> Addr {
        Ipv4Addr::new(10, 0, 0, n).into()
    }

    fn datagram(src: &Addr, dst: &Addr) -> Vec<u8> {
        let mut bytes = vec![0x13, 0x88, 0, 53, 0, 11, 0, 0, 1, 2, 3];
        let sum = checksum::pseudo_header(src, dst, 17, 11) + checksum::sum(&bytes);
        bytes[6..8].copy_from_slice(&checksum::finish(sum).to_be_bytes());
        bytes
    }

    #[test]
    fn sound_datagram_passes_padded_or_not() {
        for (src, dst) in [(v4(1), v4(2)), (v6(1), v6(2))] {
            let mut bytes = datagram(&src, &dst);
            assert_eq!(check(&bytes, &src, &dst, false), Ok(()));
            bytes.extend([0xee; 4]);
            assert_eq!(check(&bytes, &src, &dst, false), Ok(()));
        }
    }

    #[test]
    fn wrong_checksum_is_dropped_and_none_passes_over_ipv4_alone() {
        for (src, dst) in [(v4(1), v4(2)), (v6(1), v6(2))] {
            let mut bytes = datagram(&src, &dst);
            bytes[8] ^= 1;
            assert_eq!(check(&bytes, &src, &dst, false), Err(DropReason::DropChecksum));
            assert_eq!(check(&bytes, &src, &dst, true), Ok(()));
            bytes[6..8].fill(0);
            assert_eq!(check(&bytes, &src, &dst, false).is_ok(), src.is_v4());
        }
    }

    #[test]
    fn impossible_length_is_dropped() {
        let bytes = datagram(&v4(1), &v4(2));
        assert_eq!(check(&bytes[..10], &v4(1), &v4(2), true), Err(DropReason::DropDatagram));
        assert_eq!(check(&bytes[..7], &v4(1), &v4(2), true), Err(DropReason::DropDatagram));
        let mut short = bytes;
        short[5] = 7;
        assert_eq!(check(&short, &v4(1), &v4(2), true), Err(DropReason::DropDatagram));
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = check(&bytes, &v6(1), &v6(2), false);
        }
    }
}
