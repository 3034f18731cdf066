//! Chains of entries in chunks of a shared pool.
//!
//! The pool grows by blocks that never move and keeps what was freed, so that arming allocates
//! nothing once the wheel has held as many entries before.

/// What is kept of a timer: 12 bytes.
#[derive(Clone, Copy, Default)]
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
    /// Entries in the first chunk.
    len: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self { head: NONE, len: 0 };

    pub(super) const fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

/// Four cache lines of entries.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Chunk {
    /// The next chunk of its chain or of the free list, or [`NONE`].
    next: u32,
    entries: [Entry; CHUNK_LEN],
}

/// All chunks of a wheel.
pub(super) struct Pool {
    blocks: Vec<Box<[Chunk]>>,
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
        if chain.head == NONE || chain.len as usize == CHUNK_LEN {
            let index = self.allocate();
            self.chunk(index).next = chain.head;
            *chain = Chain { head: index, len: 0 };
        }
        self.chunk(chain.head).entries[chain.len as usize] = entry;
        chain.len += 1;
    }

    /// Takes the entry that was added last.
    #[inline]
    pub(super) fn pop(&mut self, chain: &mut Chain) -> Option<Entry> {
        if chain.head == NONE {
            return None;
        }
        let head = chain.head;
        let free = self.free;
        let chunk = self.chunk(head);
        chain.len -= 1;
        let entry = chunk.entries[chain.len as usize];
        if chain.len == 0 {
            *chain = match chunk.next {
                NONE => Chain::EMPTY,
                next => Chain { head: next, len: CHUNK_LEN as u32 },
            };
            chunk.next = free;
            self.free = head;
        }
        Some(entry)
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
        let empty = Chunk { next: NONE, entries: [Entry::default(); CHUNK_LEN] };
        let mut block = vec![empty; BLOCK_LEN].into_boxed_slice();
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

/// No chunk.
const NONE: u32 = u32::MAX;
/// Entries in a chunk: with its link they fill 256 bytes.
const CHUNK_LEN: usize = 21;
/// Chunks that are allocated at once: 64 KiB.
const BLOCK_LEN: usize = 256;
const _: () = assert!(size_of::<Chunk>() == 256);
