//! Words on the heap, for tables that no other process reads.

use std::sync::Arc;

use crate::tables::sync::AtomicU64;

/// Zeroed words that begin on a cache line, shared by the table and its readers.
#[derive(Clone)]
pub struct HeapWords {
    words: Arc<[AtomicU64]>,
    /// The first word on a cache line.
    start: usize,
    len: usize,
}

impl HeapWords {
    /// `len` words of zero.
    pub fn new(len: usize) -> Self {
        let words: Arc<[AtomicU64]> =
            (0..len + LINE_WORDS - 1).map(|_| AtomicU64::new(0)).collect();
        // What an Arc points to never moves, so the words stay aligned.
        let past = words.as_ptr().addr() / 8 % LINE_WORDS;
        Self { words, start: (LINE_WORDS - past) % LINE_WORDS, len }
    }
}

impl AsRef<[AtomicU64]> for HeapWords {
    #[inline]
    fn as_ref(&self) -> &[AtomicU64] {
        &self.words[self.start..self.start + self.len]
    }
}

/// Words of a cache line.
const LINE_WORDS: usize = 8;
