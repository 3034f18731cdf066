//! A vector that grows by blocks: what it holds never moves, growth copies nothing, and memory is
//! touched as it is used.

/// Values at indices from 0 on.
pub(super) struct Blocks<T> {
    /// Every block but the last is full.
    blocks: Vec<Vec<T>>,
    len: usize,
    /// The most values.
    capacity: usize,
}

impl<T> Blocks<T> {
    /// Nothing yet, and at most `capacity` values.
    pub(super) fn new(capacity: usize) -> Self {
        // The list of blocks is reserved whole, so that it never moves either.
        Self { blocks: Vec::with_capacity(capacity.div_ceil(BLOCK_LEN)), len: 0, capacity }
    }

    /// The most values.
    #[inline]
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many values there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The value at `index`.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.blocks.get(index as usize / BLOCK_LEN)?.get(index as usize % BLOCK_LEN)
    }

    /// The value at `index`.
    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.blocks.get_mut(index as usize / BLOCK_LEN)?.get_mut(index as usize % BLOCK_LEN)
    }

    /// Adds a value; its index, or `None` at capacity.
    #[cold]
    pub(super) fn push(&mut self, value: T) -> Option<u32> {
        let index = self.len;
        if index >= self.capacity {
            return None;
        }
        if index.is_multiple_of(BLOCK_LEN) {
            self.blocks.push(Vec::with_capacity(BLOCK_LEN.min(self.capacity - index)));
        }
        self.blocks.last_mut()?.push(value);
        self.len += 1;
        Some(index as u32)
    }

    /// Every value, by index.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }
}

/// Values that are allocated at once.
const BLOCK_LEN: usize = 1024;
