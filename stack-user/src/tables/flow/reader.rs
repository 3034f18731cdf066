//! Reading a flow table while its owner writes.
//!
//! The sequence count of a bucket covers every flow whose home it is, wherever the flow lies or moves.
//! The owner makes the count odd, then changes slots and header, then makes it even. A reader takes the
//! count, looks, and takes it again: an odd count, or two that differ, means that it looked at a
//! change halfway, and it looks again.
//!
//! Orderings. Owner: odd count (Relaxed), Release fence, change (Relaxed), even count (Release).
//! Reader: count (Relaxed), Acquire fence, slots (Relaxed), Acquire fence, count (Relaxed). If a slot
//! read shows a change, then the owner's Release fence before that change synchronizes with the
//! reader's second fence, and the second count is at least the odd one: the reader looks again. If
//! the first count is even, the first fence synchronizes with the Release store of that count, and
//! the slots are at least as new as it. No load is stronger than Relaxed: the memory may be mapped
//! for reading alone, where the language allows no other.

use super::bucket::{Buckets, Header};
use crate::tables::sync::{Ordering, fence, spin_loop};
use crate::tables::words::Words;

/// A view of a flow table for other threads than its owner's.
#[derive(Clone)]
pub struct FlowReader {
    words: Words,
}

impl FlowReader {
    /// A view of the table over these words.
    pub(in crate::tables) const fn new(words: Words) -> Self {
        Self { words }
    }

    /// Whether the table holds a flow with the bucket and fingerprint of this hash. A no is never
    /// false; a yes is false for about one absent flow in ten million.
    pub fn contains(&self, hash: u64) -> bool {
        let buckets = Buckets::of(self.words.as_ref());
        for _ in 0..ATTEMPTS {
            if let Some(found) = look(buckets, hash) {
                return found;
            }
            spin_loop();
        }
        // The owner writes flows of this home without end, or died in the middle of it. Each slot is
        // one word, so a last look is right but for a flow that is just being moved.
        let header = buckets.header(buckets.home(hash));
        fence(Ordering::Acquire);
        scan(buckets, hash, header)
    }
}

/// One look; `None` when the owner was writing.
pub(super) fn look(buckets: Buckets<'_>, hash: u64) -> Option<bool> {
    let home = buckets.home(hash);
    let header = buckets.header(home);
    fence(Ordering::Acquire);
    if !header.sequence().is_multiple_of(2) {
        return None;
    }
    let found = scan(buckets, hash, header);
    fence(Ordering::Acquire);
    let same = buckets.header(home).sequence() == header.sequence();
    same.then_some(found)
}

/// Looks through the buckets that the header of the home names.
fn scan(buckets: Buckets<'_>, hash: u64, header: Header) -> bool {
    let home = buckets.home(hash);
    let mut distances = header.distances();
    distances.any(|distance| buckets.find_at(home, distance, hash, &mut |_| true).is_some())
}

/// Looks before a reader settles for what it sees.
const ATTEMPTS: usize = 128;
