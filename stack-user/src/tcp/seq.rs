//! Sequence numbers: arithmetic modulo 2^32 (RFC 9293, section 3.4).

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A sequence or acknowledgment number. Comparisons hold for numbers less than 2^31 apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// Whether `self` precedes `other`.
    #[inline]
    pub const fn is_before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether `self` follows `other`.
    #[inline]
    pub const fn is_after(self, other: Self) -> bool {
        other.is_before(self)
    }

    /// Octets from `earlier` to `self`, 0 when `self` is not after it.
    #[inline]
    pub const fn since(self, earlier: Self) -> u32 {
        if self.is_after(earlier) { self.0.wrapping_sub(earlier.0) } else { 0 }
    }

    /// Whether `self` lies in the `len` numbers that begin with `start`.
    #[inline]
    pub const fn is_within(self, start: Self, len: u32) -> bool {
        self.0.wrapping_sub(start.0) < len
    }

    /// The later of the two.
    #[inline]
    pub const fn max(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }

    /// The earlier of the two.
    #[inline]
    pub const fn min(self, other: Self) -> Self {
        if self.is_before(other) { self } else { other }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;

    #[inline]
    fn add(self, octets: u32) -> Self {
        Self(self.0.wrapping_add(octets))
    }
}

impl AddAssign<u32> for SeqNum {
    #[inline]
    fn add_assign(&mut self, octets: u32) {
        *self = *self + octets;
    }
}

impl Sub<u32> for SeqNum {
    type Output = Self;

    #[inline]
    fn sub(self, octets: u32) -> Self {
        Self(self.0.wrapping_sub(octets))
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 9293 3.4: comparisons are modulo 2^32.
    #[test]
    fn comparison_across_the_wrap_keeps_its_order() {
        let last = SeqNum(u32::MAX);
        assert!(last.is_before(last + 1));
        assert!((last + 2).is_after(last));
        assert_eq!((last + 3).since(last), 3);
        assert_eq!(last.since(last + 3), 0);
    }

    #[test]
    fn window_across_the_wrap_holds_its_numbers_only() {
        let start = SeqNum(u32::MAX - 1);
        assert!(start.is_within(start, 4));
        assert!((start + 3).is_within(start, 4));
        assert!(!(start + 4).is_within(start, 4));
        assert!(!(start - 1).is_within(start, 4));
        assert!(!start.is_within(start, 0));
    }
}
