//! The words that shared tables lie in: one owner writes, other threads and processes read.
//!
//! Zero at first, and memory only as it is used. Tables hold no pointers, only indices, so that the
//! words may lie at another address in each process.

use std::sync::Arc;

use super::sync::AtomicU64;

/// Words of 64 bits that begin on a cache line; clones and parts share them.
#[derive(Clone)]
pub struct Words {
    memory: Memory,
    /// The first word of this part.
    start: usize,
    len: usize,
}

#[derive(Clone)]
enum Memory {
    /// Of this process alone.
    Heap(Arc<Vec<AtomicU64>>),
    /// Mapped by the IO side for the rest of the process's life; other processes may have it too.
    Mapped(&'static [AtomicU64]),
}

impl Words {
    /// `len` words of zero on the heap.
    pub fn zeroed(len: usize) -> Self {
        let words = Arc::new(allocate(len + LINE - 1));
        // What an Arc points to never moves, so the words stay aligned.
        let past = words.as_ptr().addr() / size_of::<u64>() % LINE;
        Self { memory: Memory::Heap(words), start: (LINE - past) % LINE, len }
    }

    /// Words that somebody mapped.
    pub const fn mapped(words: &'static [AtomicU64]) -> Self {
        Self { memory: Memory::Mapped(words), start: 0, len: words.len() }
    }

    /// `len` of these words from `start` on; fewer where there are no more.
    pub fn part(&self, start: usize, len: usize) -> Self {
        let start = start.min(self.len);
        let len = len.min(self.len - start);
        Self { memory: self.memory.clone(), start: self.start + start, len }
    }
}

impl AsRef<[AtomicU64]> for Words {
    #[inline]
    fn as_ref(&self) -> &[AtomicU64] {
        let all = match &self.memory {
            Memory::Heap(words) => words.as_slice(),
            Memory::Mapped(words) => words,
        };
        &all[self.start..self.start + self.len]
    }
}

/// Zeroed memory that the system gives page by page.
#[cfg(not(loom))]
fn allocate(len: usize) -> Vec<AtomicU64> {
    use zerocopy::FromZeros;
    AtomicU64::new_vec_zeroed(len).expect("the address space has room for the tables")
}

#[cfg(loom)]
fn allocate(len: usize) -> Vec<AtomicU64> {
    (0..len).map(|_| AtomicU64::new(0)).collect()
}

/// Words of a cache line.
pub(super) const LINE: usize = 8;
