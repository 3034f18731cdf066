//! The Internet checksum (RFC 1071), in the order of bytes that the machine has: the sum is the same.

use zerocopy::{transmute_mut, transmute_ref};

use crate::flow::Words;

/// So much of a frame is read at once: a whole TCP header, and zeros behind it. In words, which is how
/// it is summed.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Chunk(pub [u64; 8]);

impl Chunk {
    /// Zeros.
    pub const ZERO: Self = Self([0; 8]);

    /// Its octets.
    #[inline(always)]
    pub fn octets(&self) -> &[u8; 64] {
        transmute_ref!(&self.0)
    }

    /// Its octets, to be written.
    #[inline(always)]
    pub fn octets_mut(&mut self) -> &mut [u8; 64] {
        transmute_mut!(&mut self.0)
    }

    /// The sum of its octets.
    #[inline(always)]
    pub fn sum(&self) -> u64 {
        let mut sum = 0;
        for word in &self.0 {
            sum += (word & 0xffff_ffff) + (word >> 32);
        }
        sum
    }
}

/// The sum of words or halfwords as they lie in memory.
#[inline(always)]
pub(super) fn of<T: Copy + Into<u64>>(parts: &[T]) -> u64 {
    let mut sum = 0;
    for part in parts {
        sum += (*part).into();
    }
    sum
}

/// The sum of the pseudo-header without its addresses (RFC 9293, 3.1; RFC 8200, 8.1): the protocol and
/// the segment's length.
#[inline(always)]
pub(super) fn pseudo(length: usize) -> u64 {
    (crate::frame::TCP as u16).to_be() as u64 + (length as u16).to_be() as u64
}

/// The sum of the addresses of a name.
#[inline(always)]
pub(super) fn of_addresses<const V6: bool>(name: &Words) -> u64 {
    let of = |word: u64| (word & 0xffff_ffff) + (word >> 32);
    let ([a, b], [c, d]) = (name.local, name.remote);
    match V6 {
        true => of(a.to_le()) + of(b.to_le()) + of(c.to_le()) + of(d.to_le()),
        false => ((b >> 32) as u32).to_le() as u64 + ((d >> 32) as u32).to_le() as u64,
    }
}

/// The checksum that a sum gives, as it lies in memory; zero for that of something whose checksum is
/// right. No sum here is of so much that it had more than 47 bits.
#[inline(always)]
pub(super) fn finish(sum: u64) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_of_a_chunk_is_that_of_its_halves() {
        let bytes: [u8; 64] = core::array::from_fn(|n| (n * 37 + 200) as u8);
        let halves: [u16; 32] =
            core::array::from_fn(|n| u16::from_ne_bytes([bytes[2 * n], bytes[2 * n + 1]]));
        let mut chunk = Chunk::ZERO;
        *chunk.octets_mut() = bytes;
        assert_eq!(chunk.octets(), &bytes);
        assert_eq!(finish(chunk.sum()), finish(of(&halves)));
        // RFC 1071, section 3.
        let halves = [0x0001_u16, 0xf203, 0xf4f5, 0xf6f7].map(u16::to_be);
        assert_eq!(u16::from_be(finish(of(&halves))), !0xddf2);
        assert_eq!(finish(of(&[u16::MAX; 3])), 0);
    }
}
