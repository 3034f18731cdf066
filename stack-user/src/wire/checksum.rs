//! The Internet checksum (RFC 1071): partial sums, the pseudo-header, and copying while summing.
//!
//! A [`Partial`] is the sum of the 16-bit words of a piece, not yet complemented. Sums are made in
//! the machine's byte order, which RFC 1071 section 2(B) allows, and turned round once at the end.

use core::ops::{Add, AddAssign};

use super::Addr;

/// A one's complement sum over pieces of a packet.
///
/// Pieces add up with `+`. Every piece but the last must have an even length; one that begins at an
/// odd offset of the packet is added after [`Partial::at_odd_offset`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Partial(u64);

impl Partial {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of a single word, given in the host's order.
    #[inline]
    pub const fn word(value: u16) -> Self {
        Self(value.to_be() as u64)
    }

    /// The same piece as it counts when it begins at an odd offset (RFC 1071, section 2(B)).
    #[inline]
    pub const fn at_odd_offset(self) -> Self {
        Self(fold(self.0).swap_bytes() as u64)
    }

    /// The one's complement sum in 16 bits, as it would stand on the wire, without complement.
    #[inline]
    const fn folded(self) -> u16 {
        u16::from_be(fold(self.0))
    }
}

impl Add for Partial {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        // The carry is brought round, so no number of additions overflows.
        Self(add(self.0, other.0))
    }
}

impl AddAssign for Partial {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The sum of `bytes`; an odd length counts as if a zero byte followed.
#[inline]
pub fn sum(bytes: &[u8]) -> Partial {
    // The lanes have to be gathered at the end, which short pieces need not pay for.
    if bytes.len() < 2 * BLOCK {
        return Partial(sum_rest(bytes));
    }
    sum_long(bytes)
}

/// The sum of what stands before, and of `bytes`, which mostly are few; in one piece with the caller.
#[inline(always)]
pub fn sum_behind(before: Partial, bytes: &[u8]) -> Partial {
    if bytes.len() < 2 * BLOCK {
        return Partial(add_rest(before.0, bytes));
    }
    before + sum_long(bytes)
}

/// The sum of so few words that each is counted where it stands: what lies at fixed places of a header.
#[inline(always)]
pub fn sum_words<const N: usize>(words: &[[u8; 8]; N]) -> Partial {
    let (mut sum, mut carry) = (0u64, false);
    for word in words {
        (sum, carry) = sum.carrying_add(u64::from_ne_bytes(*word), carry);
    }
    Partial(add(sum, carry.into()))
}

/// The sum of more than a few blocks.
#[inline(never)]
fn sum_long(bytes: &[u8]) -> Partial {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut lanes = [0u64; LANES];
    for block in blocks {
        add_block(&mut lanes, block);
    }
    Partial(total(&lanes) + half_fold(sum_rest(rest)))
}

/// Copies `src` to `dst` and sums it on the way.
///
/// # Panics
///
/// If the lengths differ.
#[inline]
pub fn copy_and_sum(dst: &mut [u8], src: &[u8]) -> Partial {
    assert_eq!(dst.len(), src.len(), "copy_and_sum needs equal lengths");
    let (from, from_rest) = src.as_chunks::<BLOCK>();
    let (to, to_rest) = dst.as_chunks_mut::<BLOCK>();
    let mut lanes = [0u64; LANES];
    for (to, from) in to.iter_mut().zip(from) {
        add_block(&mut lanes, from);
        *to = *from;
    }
    to_rest.copy_from_slice(from_rest);
    Partial(total(&lanes) + half_fold(sum_rest(from_rest)))
}

/// The pseudo-header's sum for an upper-layer packet of `len` bytes: RFC 9293 section 3.1 for IPv4,
/// RFC 8200 section 8.1 for IPv6.
#[inline]
pub fn pseudo_header(src: &Addr, dst: &Addr, protocol: u8, len: usize) -> Partial {
    // An IPv4 address is held as ::ffff:a.b.c.d, whose prefix adds 0xffff: zero in one's complement.
    // Both families therefore share one form; the length's upper half is zero for IPv4.
    let lengths = Partial(u64::from((len as u32).to_be()));
    let mut addresses = 0;
    for addr in [src, dst] {
        let (words, _) = addr.0.as_chunks::<4>();
        addresses += words.iter().map(|w| u64::from(u32::from_ne_bytes(*w))).sum::<u64>();
    }
    Partial(addresses) + lengths + Partial::word(u16::from(protocol))
}

/// The checksum field for a packet whose pieces sum to `partial`, the field itself taken as zero.
///
/// Over a received packet, its checksum included, the result is 0 when the checksum is right.
#[inline]
pub const fn finish(partial: Partial) -> u16 {
    !partial.folded()
}

/// Whether the checksum of a received packet is right, over all of which `partial` is the sum: as
/// `finish(partial) == 0`, in fewer steps. What is right folds to the largest number, and so is a multiple
/// of it; of the multiples zero alone does not, which is the sum of nothing but zeros.
#[inline(always)]
pub const fn is_right(partial: Partial) -> bool {
    // Multiplied by the inverse of 0xffff, its multiples and no others become small: what they are times of.
    partial.0.wrapping_mul(INVERSE).wrapping_sub(1) < u64::MAX / 0xffff
}

/// Adds a block to the lanes: halves of 64-bit words, so that nothing carries out of a lane. Masks
/// and shifts vectorise on every x86-64 and AArch64, where widening would need shuffles.
#[inline]
fn add_block(lanes: &mut [u64; LANES], block: &[u8; BLOCK]) {
    let (words, _) = block.as_chunks::<8>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane += half_fold(u64::from_ne_bytes(*word));
    }
}

/// The lanes as one sum.
#[inline]
fn total(lanes: &[u64; LANES]) -> u64 {
    lanes.iter().map(|lane| half_fold(*lane)).sum::<u64>()
}

/// The sum of few bytes.
fn sum_rest(rest: &[u8]) -> u64 {
    add_rest(0, rest)
}

/// Adds few bytes to a sum, word by word with the carry brought round.
#[inline(always)]
fn add_rest(mut sum: u64, rest: &[u8]) -> u64 {
    // Four words at once, for a word alone takes no longer than the count of it.
    let (fours, rest) = rest.as_chunks::<32>();
    let (words, tail) = rest.as_chunks::<8>();
    for four in fours {
        let (words, _) = four.as_chunks::<8>();
        let mut carry = false;
        for word in words {
            (sum, carry) = sum.carrying_add(u64::from_ne_bytes(*word), carry);
        }
        // The last carry is brought round for all four.
        sum = add(sum, carry.into());
    }
    for word in words {
        sum = add(sum, u64::from_ne_bytes(*word));
    }
    // Most texts are whole words.
    if tail.is_empty() { sum } else { add(sum, sum_tail(tail)) }
}

/// The sum of less than a word.
#[inline]
fn sum_tail(mut tail: &[u8]) -> u64 {
    let mut sum = 0;
    if let Some((four, rest)) = tail.split_first_chunk() {
        sum += u64::from(u32::from_ne_bytes(*four));
        tail = rest;
    }
    if let Some((two, rest)) = tail.split_first_chunk() {
        sum += u64::from(u16::from_ne_bytes(*two));
        tail = rest;
    }
    if let [odd, ..] = *tail {
        sum += u64::from(u16::from_ne_bytes([odd, 0]));
    }
    sum
}

/// One's complement addition.
#[inline]
const fn add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

/// Folds the upper half into the lower: at most 33 bits remain.
#[inline]
const fn half_fold(sum: u64) -> u64 {
    (sum >> 32) + (sum & 0xffff_ffff)
}

/// Folds to 16 bits, still in the machine's order.
#[inline]
pub(super) const fn fold(sum: u64) -> u16 {
    // The carry of a half is brought round at once, and can make no other.
    let (sum, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let sum = sum + carry as u32;
    let (sum, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
    sum + carry as u16
}

/// Times 0xffff, modulo 2^64, it is one.
const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
const _: () = assert!(INVERSE.wrapping_mul(0xffff) == 1);
const LANES: usize = 8;
const BLOCK: usize = 8 * LANES;

#[cfg(test)]
mod tests;
