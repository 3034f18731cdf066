//! The connections that output has to look at, in the order in which they came there.
//!
//! Owns their order, and how many of them the wheel does not know of yet. That each is there once is for
//! its marks to say.

/// The list of such connections, by index. As a rule all of it goes in one turn: what is at its front is
/// counted, and its places are used again once all are gone, which takes less than to go round a ring.
#[derive(Default)]
pub(super) struct Dirty {
    list: Vec<u32>,
    /// How many of its front are gone.
    gone: usize,
    /// How many of the last are to be armed when output has come to them, and not before.
    unarmed: usize,
}

impl Dirty {
    pub(super) fn len(&self) -> usize {
        self.list.len() - self.gone
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        self.list[self.gone..].contains(&index)
    }

    /// One more, at the end, of whose deadline the wheel knows.
    #[inline]
    pub(super) fn push(&mut self, index: u32) {
        self.list.push(index);
    }

    /// One more, at the end, which is armed when output has come to it.
    #[inline]
    pub(super) fn push_unarmed(&mut self, index: u32) {
        self.list.push(index);
        self.unarmed += 1;
    }

    /// Takes the first.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<u32> {
        let index = *self.list.get(self.gone)?;
        self.gone += 1;
        Some(index)
    }

    /// Output could not go on with the one that was taken last: it is the first again.
    pub(super) fn put_back(&mut self, index: u32) {
        debug_assert!(self.gone > 0, "what is put back was taken");
        self.gone -= 1;
        self.list[self.gone] = index;
        self.unarmed = self.len().min(self.unarmed + 1);
    }

    /// Output has come to all that were there when it began: whoever is there now came since then.
    #[inline]
    pub(super) fn end_round(&mut self) {
        if self.is_empty() {
            self.list.clear();
            (self.gone, self.unarmed) = (0, 0);
        } else {
            self.compact();
            self.unarmed = self.len();
        }
    }

    /// Output does not come to the rest in this turn: those that are not armed.
    pub(super) fn take_unarmed(&mut self) -> Vec<u32> {
        let first = self.list.len() - core::mem::take(&mut self.unarmed).min(self.len());
        let rest = self.list[first..].to_vec();
        self.compact();
        rest
    }

    /// Frees the places of those that are gone, once they are the most.
    fn compact(&mut self) {
        if self.gone > self.list.len() / 2 {
            self.list.drain(..self.gone);
            self.gone = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(dirty: &mut Dirty) -> Vec<u32> {
        core::iter::from_fn(|| dirty.pop()).collect()
    }

    #[test]
    fn pop_gives_the_first_that_came() {
        let mut dirty = Dirty::default();
        dirty.push(1);
        dirty.push_unarmed(2);
        assert_eq!((dirty.len(), dirty.pop()), (2, Some(1)));
        assert!(dirty.contains(2) && !dirty.contains(1));
        dirty.push(3);
        assert_eq!(rest(&mut dirty), [2, 3]);
        assert!(dirty.is_empty());
        dirty.end_round();
        dirty.push(4);
        assert_eq!(rest(&mut dirty), [4]);
    }

    #[test]
    fn put_back_is_first_and_unarmed() {
        let mut dirty = Dirty::default();
        (1..=3).for_each(|index| dirty.push_unarmed(index));
        assert_eq!((dirty.pop(), dirty.pop()), (Some(1), Some(2)));
        dirty.put_back(2);
        assert_eq!(dirty.take_unarmed(), [2, 3]);
        assert!(dirty.take_unarmed().is_empty());
        assert_eq!(rest(&mut dirty), [2, 3]);
    }

    #[test]
    fn those_that_stay_for_another_round_are_unarmed_and_keep_their_order() {
        let mut dirty = Dirty::default();
        (0..100).for_each(|index| dirty.push(index));
        for index in 0..80 {
            assert_eq!(dirty.pop(), Some(index));
        }
        dirty.end_round();
        dirty.push(100);
        let stay: Vec<u32> = (80..=100).collect();
        assert_eq!(dirty.len(), stay.len());
        assert_eq!(dirty.take_unarmed(), stay[1..]);
        assert_eq!(rest(&mut dirty), stay);
    }
}
