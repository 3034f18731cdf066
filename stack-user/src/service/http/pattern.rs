//! The bytes of `/bytes/N`: a fixed sequence that anyone can compute, copied from a table.

use std::sync::LazyLock;

/// Bytes after which the pattern repeats: a prime, so that no misplaced segment, page or chunk
/// falls on the same bytes again.
pub const PERIOD: usize = 65_521;

/// Writes the bytes at `offset..offset + buf.len()` of the pattern.
///
/// The byte at offset `i` is, with `p = i mod 65521` and all arithmetic modulo 2^32:
/// `h = p * 0x9E3779B1; h = h xor (h >> 15); h = h * 0x85EBCA77; byte = h >> 24`.
pub fn pattern(mut offset: u64, mut buf: &mut [u8]) {
    while !buf.is_empty() {
        let source = pattern_at(offset);
        let len = source.len().min(buf.len());
        let (head, rest) = buf.split_at_mut(len);
        head.copy_from_slice(&source[..len]);
        offset += len as u64;
        buf = rest;
    }
}

/// The pattern from `offset` on, as far as the table reaches: at least [`PERIOD`] bytes.
pub(in crate::service) fn pattern_at(offset: u64) -> &'static [u8] {
    &TABLE[(offset % PERIOD as u64) as usize..]
}

/// Two periods, so that a slice of one period begins anywhere in the first.
static TABLE: LazyLock<Box<[u8]>> =
    LazyLock::new(|| (0..2 * PERIOD).map(|at| byte(at % PERIOD)).collect());

fn byte(at: usize) -> u8 {
    let hash = (at as u32).wrapping_mul(0x9E37_79B1);
    let hash = (hash ^ (hash >> 15)).wrapping_mul(0x85EB_CA77);
    (hash >> 24) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_across_a_period_continues_at_its_start() {
        let mut buf = vec![0; 3 * PERIOD];
        pattern(5, &mut buf);
        for (i, got) in buf.iter().enumerate() {
            assert_eq!(*got, byte((i + 5) % PERIOD), "offset {}", i + 5);
        }
    }

    #[test]
    fn pattern_is_the_documented_function() {
        let mut buf = [0; 8];
        pattern(65_518, &mut buf);
        // Computed by another program from the formula above.
        assert_eq!(buf, [106, 137, 86, 0, 93, 212, 14, 47]);
    }

    #[test]
    fn pattern_moved_by_any_segment_size_differs() {
        let mut buf = vec![0; PERIOD];
        pattern(0, &mut buf);
        for shift in 1..4096 {
            let equal = (0..1000).filter(|i| buf[*i] == buf[i + shift]).count();
            assert!(equal < 40, "shift {shift}: {equal} of 1000 bytes are equal");
        }
    }
}
