//! The options of a peer's SYN, as user space reads them.

use super::sum::Chunk;

/// What a SYN offers, as far as a cookie and its answer need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offers {
    /// The MSS, in the lower 16 bits; [`NONE`] without.
    pub mss: u64,
    /// The window shift; [`NONE`] without.
    pub scale: u64,
    /// The timestamp; [`NONE`] without.
    pub stamp: u64,
    /// Not zero: SACK is taken.
    pub sack: u64,
}

impl Offers {
    /// Nothing is offered.
    pub const NOTHING: Self = Self { mss: NONE, scale: NONE, stamp: NONE, sack: 0 };
}

/// In place of what was not offered.
pub(super) const NONE: u64 = u64::MAX;

/// The options of a header of ten words as Linux lays them: MSS, SACK, timestamps, window scale. `None`
/// where they are others, or otherwise.
#[inline(always)]
pub(super) fn usual(header: &[u32; 10]) -> Option<Offers> {
    let [.., mss, permitted, stamp, _echo, scale] = header.map(u32::from_be);
    let differs = mss >> 16 ^ 0x0204 | permitted ^ 0x0402_080a | scale >> 8 ^ 0x01_0303;
    match differs {
        0 => Some(Offers {
            mss: mss as u16 as u64,
            scale: scale as u8 as u64,
            stamp: stamp as u64,
            sack: 1,
        }),
        _ => None,
    }
}

/// Reads the options of the header in `chunk`, which is `length` octets long; `None` where one has an
/// impossible length (RFC 9293, 3.1: MUST-7). `unknown` gives back what it is given; in the program the
/// verifier does not know that, and so has no more than one state to follow.
#[inline(always)]
pub(super) fn parse(chunk: &Chunk, length: u64, unknown: impl Fn(u64) -> u64) -> Option<Offers> {
    let nothing = unknown(NONE);
    let mut offers = Offers { mss: nothing, scale: nothing, stamp: nothing, sack: unknown(0) };
    let byte = |at: u64| chunk.octets()[at as usize & 63] as u64;
    let (mut at, end) = (FIXED, length);
    for _ in FIXED..LONGEST {
        at = unknown(at);
        if at >= end {
            return Some(offers);
        }
        let kind = byte(at);
        if kind == END {
            return Some(offers);
        }
        if kind == NOP {
            at += 1;
            continue;
        }
        let len = if at + 1 < end { byte(at + 1) } else { 0 };
        if len < 2 || at + len > end || !has_length(kind, len) {
            return None;
        }
        let two = byte(at + 2) << 8 | byte(at + 3);
        match kind {
            MSS => offers.mss = unknown(two),
            SCALE => offers.scale = unknown(byte(at + 2)),
            SACK_PERMITTED => offers.sack = unknown(1),
            STAMPS => {
                offers.stamp = unknown(two << 16 | byte(at + 4) << 8 | byte(at + 5));
            }
            _ => {}
        }
        at += len;
    }
    // Each step went on by one octet at least.
    Some(offers)
}

/// Whether an option of this kind may be so long. One that we do not know may have any length.
#[inline(always)]
const fn has_length(kind: u64, len: u64) -> bool {
    match kind {
        MSS | USER_TIMEOUT => len == 4,
        SCALE => len == 3,
        SACK_PERMITTED => len == 2,
        STAMPS => len == 10,
        SACK => len > 2 && len & 7 == 2,
        _ => true,
    }
}

/// Octets of a header without options, and of the longest one.
const FIXED: u64 = 20;
const LONGEST: u64 = 60;
const END: u64 = 0;
const NOP: u64 = 1;
const MSS: u64 = 2;
const SCALE: u64 = 3;
const SACK_PERMITTED: u64 = 4;
const SACK: u64 = 5;
const STAMPS: u64 = 8;
const USER_TIMEOUT: u64 = 28;

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with Linux's options, as words and as it is read octet by octet.
    fn header(options: [u8; 20]) -> ([u32; 10], Chunk) {
        let mut chunk = Chunk::ZERO;
        chunk.octets_mut()[20..40].copy_from_slice(&options);
        let word = |n| core::array::from_fn(|octet| chunk.octets()[4 * n + octet]);
        (core::array::from_fn(|n| u32::from_ne_bytes(word(n))), chunk)
    }

    #[test]
    fn usual_options_are_what_they_are_read_for_one_by_one() {
        let usual_ones =
            [2, 4, 5, 0xb4, 4, 2, 8, 10, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 9, 1, 3, 3, 14];
        let values = [2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 19];
        for at in 0..20 {
            for bit in 0..8 {
                let mut options = usual_ones;
                options[at] ^= 1 << bit;
                let (words, chunk) = header(options);
                let found = usual(&words);
                assert_eq!(found.is_some(), values.contains(&at), "octet {at}, bit {bit}");
                assert!(found.is_none() || found == parse(&chunk, 40, |value| value));
            }
        }
    }
}
