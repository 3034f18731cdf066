//! SipHash over a fixed number of words (Aumasson, Bernstein: "SipHash: a fast short-input PRF",
//! 2012): SipHash-2-4 for what an outsider sees the result of, SipHash-1-3 for tables.
//!
//! The length is known to the compiler and every loop has a constant bound, so that the XDP program
//! can use it as it is; the host's crates read slices of any length. The same words give the same
//! hash on both sides.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A key of 128 bits, as a map holds it.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Key([u64; 2]);

impl Key {
    /// The key of these octets.
    #[inline(always)]
    pub const fn new(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self([
            u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            u64::from_le_bytes([i, j, k, l, m, n, o, p]),
        ])
    }

    /// The hash of `words`, each of which stands for eight octets, the lowest first.
    #[inline(always)]
    pub const fn hash<const N: usize>(&self, words: &[u64; N]) -> u64 {
        self.hash_with_tail(words, (0, 0))
    }

    /// The hash of `words` and of a tail of `octets`, at most seven and the lowest first; what lies above
    /// them is zero. Two rounds less than for one more word.
    #[inline(always)]
    pub const fn hash_with_tail<const N: usize>(
        &self,
        words: &[u64; N],
        (tail, octets): (u64, usize),
    ) -> u64 {
        let mut state = self.start();
        let mut at = 0;
        while at < N {
            state = absorb(state, words[at]);
            at += 1;
        }
        state = absorb(state, (((N * 8 + octets) as u64 & 0xff) << 56) | tail);
        state[2] ^= 0xff;
        state = round(round(round(round(state))));
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }

    /// SipHash-1-3 of `words` and of a tail of four octets, the lowest first: what a hash table needs,
    /// whose hashes nobody outside ever sees.
    #[inline(always)]
    pub const fn hash_for_table<const N: usize>(&self, words: &[u64; N], tail: u32) -> u64 {
        let mut state = self.start();
        let mut at = 0;
        while at < N {
            state[3] ^= words[at];
            state = round(state);
            state[0] ^= words[at];
            at += 1;
        }
        let last = ((N as u64 * 8 + 4) & 0xff) << 56 | tail as u64;
        state[3] ^= last;
        state = round(state);
        state[0] ^= last;
        state[2] ^= 0xff;
        state = round(round(round(state)));
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }

    #[inline(always)]
    const fn start(&self) -> [u64; 4] {
        let Self([k0, k1]) = *self;
        [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ]
    }

    /// Another key, for the purpose that `words` name.
    pub const fn derive(&self, words: [u64; 2]) -> Self {
        let [a, b] = words;
        Self([self.hash(&[a, b, 0]), self.hash(&[a, b, 1])])
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Key(..)")
    }
}

#[inline(always)]
const fn absorb(mut state: [u64; 4], word: u64) -> [u64; 4] {
    state[3] ^= word;
    state = round(round(state));
    state[0] ^= word;
    state
}

#[inline(always)]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vectors of the paper's authors: key 00 01 .. 0f, message 00 01 .. of 0, 8 and 16 octets.
    #[test]
    fn hash_known_messages_is_the_published_one() {
        let key = Key::new(core::array::from_fn(|n| n as u8));
        let first = 0x0706_0504_0302_0100;
        assert_eq!(key.hash(&[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(key.hash(&[first]), 0x93f5_f579_9a93_2462);
        assert_eq!(key.hash(&[first, 0x0f0e_0d0c_0b0a_0908]), 0x3f2a_cc7f_57c2_9bdb);
    }

    // That of 15 octets is the one that the paper works out.
    #[test]
    fn hash_with_a_tail_is_the_published_one() {
        let key = Key::new(core::array::from_fn(|n| n as u8));
        let first = 0x0706_0504_0302_0100;
        let hash = key.hash_with_tail(&[first], (0x000e_0d0c_0b0a_0908, 7));
        assert_eq!(hash, 0xa129_ca61_49be_45e5);
        assert_eq!(key.hash_with_tail(&[first], (0, 0)), key.hash(&[first]));
    }

    #[test]
    fn derived_keys_differ_by_purpose() {
        let key = Key::new([7; 16]);
        let keys = [key, key.derive([0, 0]), key.derive([0, 1]), key.derive([1, 0])];
        for (index, one) in keys.iter().enumerate() {
            assert!(keys[..index].iter().all(|other| other != one));
        }
    }
}
