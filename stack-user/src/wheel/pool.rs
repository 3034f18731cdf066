//! Chains of entries in chunks of a shared pool.
//!
//! The pool grows by blocks that never move and keeps what was freed, so that arming allocates
//! nothing once the wheel has held as many entries before.

use core::hint::black_box;

use zerocopy::FromZeros;

/// What is kept of a timer: 12 bytes.
#[derive(Clone, Copy, Default, FromZeros)]
pub(super) struct Entry {
    pub(super) key: u32,
    pub(super) generation: u32,
    /// Ticks after the start of the slot.
    pub(super) offset: u32,
}

/// A slot's entries: only the first chunk of a chain may be partly full.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    /// The first chunk, or [`NONE`].
    head: u32,
    /// Entries in the first chunk; of none as many as in one that is full: there is no room either.
    len: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { head: NONE, len: CHUNK_LEN as u32 };

    pub(super) const fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

/// Four cache lines of entries.
#[derive(FromZeros)]
#[repr(align(64))]
struct Chunk {
    /// The next chunk of its chain or of the free list, or [`NONE`].
    next: u32,
    entries: [Entry; CHUNK_LEN],
}

/// All chunks of a wheel.
pub(super) struct Pool {
    blocks: Vec<Box<[Chunk; BLOCK_LEN]>>,
    /// The first free chunk, or [`NONE`].
    free: u32,
}

impl Default for Pool {
    fn default() -> Self {
        Self { blocks: Vec::new(), free: NONE }
    }
}

impl Pool {
    /// Adds an entry to a chain.
    #[inline]
    pub(super) fn push(&mut self, chain: &mut Chain, entry: Entry) {
        if chain.len as usize >= CHUNK_LEN {
            let index = self.allocate();
            self.chunk(index).next = chain.head;
            *chain = Chain { head: index, len: 0 };
        }
        self.chunk(chain.head).entries[chain.len as usize] = entry;
        chain.len += 1;
    }

    /// Takes at most `most` entries, the last first: all of the first chunk at once if it may. Returns
    /// how many lie in `taken` then, none only where there are none.
    #[inline]
    pub(super) fn take(&mut self, chain: &mut Chain, most: usize, taken: &mut Taken) -> usize {
        if chain.head == NONE {
            return 0;
        }
        let (head, len) = (chain.head, (chain.len as usize).min(CHUNK_LEN));
        let count = len.min(most);
        let free = self.free;
        let chunk = self.chunk(head);
        taken[..count].copy_from_slice(&chunk.entries[len - count..len]);
        chain.len = (len - count) as u32;
        if count == len {
            let next = chunk.next;
            chunk.next = free;
            self.free = head;
            *chain = Chain { head: next, len: CHUNK_LEN as u32 };
            if next != NONE {
                self.touch(next);
            }
        }
        count
    }

    /// Reads every line of a chunk, so that they are on the way while the one before is worked on.
    #[inline]
    fn touch(&mut self, index: u32) {
        let chunk = self.chunk(index);
        black_box((chunk.next, [6, 11, 16].map(|at: usize| chunk.entries[at].key)));
    }

    #[inline]
    fn chunk(&mut self, index: u32) -> &mut Chunk {
        &mut self.blocks[index as usize / BLOCK_LEN][index as usize % BLOCK_LEN]
    }

    fn allocate(&mut self) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        self.free = self.chunk(index).next;
        index
    }

    /// Adds a block of free chunks.
    #[cold]
    fn grow(&mut self) {
        let first = (self.blocks.len() * BLOCK_LEN) as u32;
        let block = <[Chunk; BLOCK_LEN]>::new_box_zeroed();
        let mut block = block.expect("the address space has room for the timers");
        for (next, chunk) in (first + 1..).zip(block.iter_mut()) {
            chunk.next = next;
        }
        block[BLOCK_LEN - 1].next = self.free;
        self.blocks.push(block);
        self.free = first;
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_LEN * size_of::<Chunk>()
    }
}

/// Room for the entries of a chunk.
pub(super) type Taken = [Entry; CHUNK_LEN];

/// No chunk.
const NONE: u32 = u32::MAX;
/// Entries in a chunk: with its link they fill 256 bytes.
const CHUNK_LEN: usize = 21;
/// Chunks that are allocated at once: 64 KiB.
const BLOCK_LEN: usize = 256;
const _: () = assert!(size_of::<Chunk>() == 256);
