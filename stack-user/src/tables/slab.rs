//! A slab: values at stable indices, each with a generation that tells a later tenant from an
//! earlier one.
//!
//! Growth is lazy and never moves a value; capacity is fixed at construction.

use super::steady::Steady;

/// A place in a slab and its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcbId {
    /// The place.
    pub index: u32,
    /// How many tenants the place had before; wraps.
    pub generation: u32,
}

/// Values at stable indices.
pub struct Slab<T> {
    places: Steady<Place<T>>,
    /// How many tenants each place has had: apart, so that a generation takes four bytes whatever
    /// the alignment of a value is.
    generations: Steady<u32>,
    /// The first free place, or [`NONE`].
    free: u32,
    /// Values held.
    len: usize,
}

enum Place<T> {
    Value(T),
    /// Free, with the next free place or [`NONE`].
    Free(u32),
}

impl<T> Slab<T> {
    /// An empty slab for at most `capacity` values, and never more than [`MAX_CAPACITY`].
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(MAX_CAPACITY);
        let (places, generations) = (Steady::new(capacity), Steady::new(capacity));
        Self { places, generations, free: NONE, len: 0 }
    }

    /// How many values are held.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// How many places have ever been taken: every index is below it.
    pub(crate) const fn places(&self) -> usize {
        self.generations.len()
    }

    /// Whether nothing is held.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most values that it takes.
    #[inline]
    pub const fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// Whether nothing more can be inserted.
    #[inline]
    pub const fn is_full(&self) -> bool {
        self.len >= self.capacity()
    }

    /// Takes a value in; `None`, and the value dropped, when the slab is full.
    #[inline]
    pub fn insert(&mut self, value: T) -> Option<TcbId> {
        self.insert_with(|_| value)
    }

    /// Takes in the value that `make` makes for its id; `None` when the slab is full.
    #[inline]
    pub fn insert_with(&mut self, make: impl FnOnce(TcbId) -> T) -> Option<TcbId> {
        if self.free == NONE {
            // Places are made one by one, so that memory is touched as it is used.
            self.free = self.places.push(Place::Free(NONE))?;
            self.generations.push(0);
        }
        let id = TcbId { index: self.free, generation: *self.generations.get(self.free)? };
        let place = self.places.get_mut(id.index)?;
        let Place::Free(next) = *place else { return None };
        *place = Place::Value(make(id));
        self.free = next;
        self.len += 1;
        Some(id)
    }

    /// Takes the value at `index` out; its place gets the next generation.
    #[inline]
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let place = self.places.get_mut(index)?;
        if matches!(place, Place::Free(_)) {
            return None;
        }
        let content = core::mem::replace(place, Place::Free(self.free));
        let generation = self.generations.get_mut(index)?;
        *generation = generation.wrapping_add(1);
        self.free = index;
        self.len -= 1;
        match content {
            Place::Value(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    /// Drops the value at `index` where it lies; its place gets the next generation. Whether there was
    /// one.
    #[inline]
    pub fn discard(&mut self, index: u32) -> bool {
        let Some(place @ Place::Value(_)) = self.places.get_mut(index) else { return false };
        *place = Place::Free(self.free);
        if let Some(generation) = self.generations.get_mut(index) {
            *generation = generation.wrapping_add(1);
        }
        self.free = index;
        self.len -= 1;
        true
    }

    /// The value at `index`, whatever its generation.
    #[inline]
    pub fn get(&self, index: u32) -> Option<&T> {
        match self.places.get(index)? {
            Place::Value(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    /// The value at `index`, whatever its generation.
    #[inline]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.places.get_mut(index)? {
            Place::Value(value) => Some(value),
            Place::Free(_) => None,
        }
    }

    /// The value that `id` was given for, if it is still there.
    #[inline]
    pub fn get_by_id(&self, id: TcbId) -> Option<&T> {
        if self.contains(id) { self.get(id.index) } else { None }
    }

    /// The value that `id` was given for, if it is still there.
    #[inline]
    pub fn get_mut_by_id(&mut self, id: TcbId) -> Option<&mut T> {
        if self.contains(id) { self.get_mut(id.index) } else { None }
    }

    /// Whether the value that `id` was given for is still there.
    #[inline]
    pub fn contains(&self, id: TcbId) -> bool {
        self.id(id.index) == Some(id)
    }

    /// The id of the value at `index`.
    #[inline]
    pub fn id(&self, index: u32) -> Option<TcbId> {
        match self.places.get(index)? {
            Place::Value(_) => Some(TcbId { index, generation: *self.generations.get(index)? }),
            Place::Free(_) => None,
        }
    }

    /// Every value with its id, by index.
    pub fn iter(&self) -> impl Iterator<Item = (TcbId, &T)> {
        let places = (0..).zip(self.generations.iter()).zip(self.places.iter());
        places.filter_map(|((index, generation), place)| match place {
            Place::Value(value) => Some((TcbId { index, generation: *generation }, value)),
            Place::Free(_) => None,
        })
    }
}

/// The most values of any slab: an index has 30 bits in a flow table.
pub const MAX_CAPACITY: usize = 1 << 30;

/// No place.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests;
