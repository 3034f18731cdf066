//! Words that are read whole while their owner writes them, by a sequence count.
//!
//! The lower half of word 0 is the count, odd while the owner writes; its upper half and the other
//! words are the value.
//!
//! Owner: odd count (Relaxed), Release fence, words (Relaxed), even count (Release). Reader: count
//! (Relaxed), Acquire fence, words (Relaxed), Acquire fence, count (Relaxed): two equal even counts
//! frame one value. Readers load with Relaxed alone since their mapping may be read-only, where the
//! language allows no stronger load.

use super::sync::{AtomicU64, Ordering, fence};

/// Writes `value`; the lower half of its first word counts nothing.
#[inline]
pub(super) fn write<const N: usize>(words: &[AtomicU64; N], value: &[u64; N]) {
    let before = words[0].load(Ordering::Relaxed) as u32;
    let first = |count: u32| value[0] & !COUNT | u64::from(before.wrapping_add(count));
    words[0].store(first(1), Ordering::Relaxed);
    // No word may be seen before the odd count.
    fence(Ordering::Release);
    for (word, value) in words[1..].iter().zip(&value[1..]) {
        word.store(*value, Ordering::Relaxed);
    }
    // Whoever reads the even count sees the whole value.
    words[0].store(first(2), Ordering::Release);
}

/// One look, the count included; `None` when the owner was writing.
#[inline]
pub(super) fn read<const N: usize>(words: &[AtomicU64; N]) -> Option<[u64; N]> {
    let first = words[0].load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    if !first.is_multiple_of(2) {
        return None;
    }
    let mut value = [first; N];
    for (value, word) in value[1..].iter_mut().zip(&words[1..]) {
        *value = word.load(Ordering::Relaxed);
    }
    fence(Ordering::Acquire);
    (words[0].load(Ordering::Relaxed) == first).then_some(value)
}

/// The count's part of word 0.
const COUNT: u64 = u32::MAX as u64;

#[cfg(all(test, loom))]
mod interleavings {
    //! Every interleaving of an owner and readers of one value, by loom.

    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// Three words do what eight do, in less time.
    type Words = Arc<[AtomicU64; 3]>;

    /// The `n`-th value: all of its words say so.
    fn put(words: &Words, n: u64) {
        write(words, &[n << 32, n, n]);
    }

    /// One look: which value it found; `None` where it was torn.
    fn look(words: &Words) -> Option<u64> {
        let [first, second, third] = read(words)?;
        let n = first >> 32;
        assert_eq!([second, third], [n, n], "a mixture");
        Some(n)
    }

    /// Runs every interleaving of an owner that writes `last` values and of `readers` that look
    /// `looks` times each.
    fn explore(last: u64, readers: usize, looks: usize) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let words: Words = Arc::new([(); 3].map(|()| AtomicU64::new(0)));
            let readers: Vec<_> = (0..readers)
                .map(|_| {
                    let words = words.clone();
                    thread::spawn(move || (0..looks).map(|_| look(&words)).collect::<Vec<_>>())
                })
                .collect();
            (1..=last).for_each(|n| put(&words, n));
            for reader in readers {
                let seen = reader.join().unwrap();
                assert!(seen.iter().flatten().is_sorted(), "{seen:?} goes back in time");
            }
            assert_eq!(look(&words), Some(last));
        });
    }

    #[test]
    fn value_written_twice_is_read_whole_and_in_order() {
        explore(2, 1, 2);
    }

    #[test]
    fn value_read_by_two_is_whole_for_both() {
        explore(1, 2, 1);
    }
}
