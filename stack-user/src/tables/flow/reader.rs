//! Reading a flow table while its owner writes.
//!
//! The sequence count of a bucket covers every flow whose home it is, wherever the flow lies. The
//! owner makes the count odd, then changes slot and header, then makes it even. A reader takes the
//! count, looks, and takes it again: an odd count, or two that differ, means that it looked at a
//! change halfway, and it looks again.
//!
//! Orderings. Owner: odd count (Relaxed), Release fence, change (Relaxed), even count (Release).
//! Reader: count (Acquire), slots (Relaxed), Acquire fence, count (Relaxed). If a slot read shows a
//! change, then the owner's Release fence before that change synchronizes with the reader's Acquire
//! fence after the read, and the second count is at least the odd one: the reader looks again. If the
//! first count is even, its Acquire load synchronizes with the Release store of that count, and the
//! slots are at least as new as it.

use super::{HEADER, Header, after, bucket, home, is_slot_of};
use crate::tables::sync::{AtomicU64, Ordering, fence};

/// A view of a flow table for other threads than its owner's.
#[derive(Clone)]
pub struct FlowReader<W> {
    words: W,
    /// How many buckets there are.
    buckets: usize,
}

impl<W: AsRef<[AtomicU64]>> FlowReader<W> {
    /// A view of the table over these words.
    pub(super) fn new(words: W) -> Self {
        let buckets = words.as_ref().len() / super::WORDS;
        Self { words, buckets }
    }

    /// Whether the table holds a flow with the bucket and fingerprint of this hash: 64 bits of it
    /// less what the number of buckets loses, so that a false yes is rare; a no is never false.
    pub fn contains(&self, hash: u64) -> bool {
        for _ in 0..ATTEMPTS {
            if let Some(found) = self.look(hash) {
                return found;
            }
            core::hint::spin_loop();
        }
        // The owner writes this bucket without end, or died in the middle of it. Each slot is one
        // word, so what a last look sees is at worst a little old.
        self.scan(hash, self.header(hash))
    }

    /// One look; `None` when the owner was writing.
    fn look(&self, hash: u64) -> Option<bool> {
        let word = &bucket(self.words.as_ref(), home(hash, self.buckets))[HEADER];
        let header = Header(word.load(Ordering::Acquire));
        if !header.sequence().is_multiple_of(2) {
            return None;
        }
        let found = self.scan(hash, header);
        fence(Ordering::Acquire);
        let same = Header(word.load(Ordering::Relaxed)).sequence() == header.sequence();
        same.then_some(found)
    }

    fn header(&self, hash: u64) -> Header {
        let home = home(hash, self.buckets);
        Header(bucket(self.words.as_ref(), home)[HEADER].load(Ordering::Acquire))
    }

    /// Looks through the buckets that the header of the home names.
    fn scan(&self, hash: u64, header: Header) -> bool {
        let home = home(hash, self.buckets);
        (0..=header.reach()).any(|distance| {
            let bucket = bucket(self.words.as_ref(), after(home, distance, self.buckets));
            bucket[HEADER + 1..].iter().any(|s| is_slot_of(s.load(Ordering::Relaxed), hash))
        })
    }
}

/// Looks before a reader settles for what it sees.
const ATTEMPTS: usize = 128;
