//! A vector whose values never move: address space for all of them is asked for at once, and memory is
//! touched as it is used. Finding one takes a single step.

/// Values at indices from 0 on.
pub(super) struct Steady<T> {
    /// Its capacity is never exceeded, so that it never moves.
    values: Vec<T>,
    /// The most values.
    capacity: usize,
}

impl<T> Steady<T> {
    /// Nothing yet, and at most `capacity` values.
    ///
    /// # Panics
    /// When the address space has no room for so many.
    pub(super) fn new(capacity: usize) -> Self {
        Self { values: Vec::with_capacity(capacity), capacity }
    }

    /// The most values.
    #[inline]
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many values there are.
    pub(super) const fn len(&self) -> usize {
        self.values.len()
    }

    /// The value at `index`.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.values.get(index as usize)
    }

    /// The value at `index`.
    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.values.get_mut(index as usize)
    }

    /// Adds a value; its index, or `None` at capacity.
    #[cold]
    pub(super) fn push(&mut self, value: T) -> Option<u32> {
        let index = self.values.len();
        if index >= self.capacity {
            return None;
        }
        self.values.push(value);
        Some(index as u32)
    }

    /// Every value, by index.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}
