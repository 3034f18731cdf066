//! Bytes of the fuzzer as numbers and choices. When they are spent everything is zero.

use std::sync::LazyLock;

/// Whether everything is printed: `SLUICE_TRACE=1`.
pub static IS_TRACED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("SLUICE_TRACE").is_some());

/// What is left of the fuzzer's bytes.
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_spent(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        match bound {
            0..=256 => usize::from(self.u8()) % bound,
            _ => self.u32() as usize % bound,
        }
    }

    /// A number from 0 to 2^`bits` whose size is as random as its digits.
    pub fn scaled(&mut self, bits: u32) -> u64 {
        let shift = u32::from(self.u8()) % (bits + 1);
        u64::from(self.u32()) & ((1u64 << shift) - 1)
    }

    /// `None`, or what `make` makes.
    pub fn option<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.bool().then(|| make(self))
    }

    /// At most `most` bytes as they are.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }
}
