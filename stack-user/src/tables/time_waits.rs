//! TIME-WAIT records in the order of their end.
//!
//! 2MSL is the same for all, so the records form a queue: a new one goes to its tail, and so does
//! one whose 2MSL begins anew. The queue's links lie in the records' own entries, so that a record
//! that ends early leaves at once and leaves nothing behind, and an entry is all that a record costs
//! besides its slot in the flow table.

use super::slab::MAX_CAPACITY;
use super::steady::Steady;
use crate::tcp::TimeWait;
use crate::time::Instant;

/// The TIME-WAIT records of a shard.
pub struct TimeWaits {
    entries: Steady<Entry>,
    /// How many entries have a record.
    len: usize,
    /// The record that ends first, or [`NONE`].
    first: u32,
    /// The record that ends last, or [`NONE`].
    last: u32,
    /// The first free entry, or [`NONE`]; the others follow by `next`.
    free: u32,
}

/// A record and its place in the queue (CM-6.h).
struct Entry {
    record: Option<TimeWait>,
    /// The entry that ends before it, or [`NONE`].
    before: u32,
    /// The entry that ends after it, or the next free one, or [`NONE`].
    next: u32,
}

impl TimeWaits {
    /// A table of at most `capacity` records.
    pub fn new(capacity: usize) -> Self {
        let entries = Steady::new(capacity.min(MAX_CAPACITY));
        Self { entries, len: 0, first: NONE, last: NONE, free: NONE }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a record, whose end is not before that of any other; its index, or `None` when the table
    /// is full.
    pub fn insert(&mut self, record: TimeWait) -> Option<u32> {
        let index = match self.free {
            NONE => self.entries.push(Entry { record: None, before: NONE, next: NONE })?,
            free => free,
        };
        let entry = self.entries.get_mut(index)?;
        if self.free == index {
            self.free = entry.next;
        }
        entry.record = Some(record);
        self.len += 1;
        self.append(index);
        Some(index)
    }

    /// The record at `index`.
    pub fn get(&self, index: u32) -> Option<&TimeWait> {
        self.entries.get(index)?.record.as_ref()
    }

    /// Whether the record at `index` may answer what does not fit now: see [`TimeWait::may_answer`].
    pub fn may_answer(&mut self, index: u32, now: Instant) -> bool {
        let entry = self.entries.get_mut(index).and_then(|entry| entry.record.as_mut());
        entry.is_some_and(|record| record.may_answer(now))
    }

    /// 2MSL begins anew for the record at `index`: it ends at `deadline`, which is not before the end
    /// of any other.
    pub fn restart(&mut self, index: u32, deadline: Instant) {
        if let Some(Entry { record: Some(record), .. }) = self.entries.get_mut(index) {
            record.deadline = deadline;
            self.unlink(index);
            self.append(index);
        }
    }

    /// Ends the record at `index` before its time.
    pub fn remove(&mut self, index: u32) -> Option<TimeWait> {
        let record = self.entries.get_mut(index)?.record.take()?;
        self.unlink(index);
        let free = core::mem::replace(&mut self.free, index);
        if let Some(entry) = self.entries.get_mut(index) {
            entry.next = free;
        }
        self.len -= 1;
        Some(record)
    }

    /// When the first record ends.
    pub fn next_deadline(&self) -> Option<Instant> {
        Some(self.get(self.first)?.deadline)
    }

    /// Removes the first record if it has ended by `now`: its index and itself. The work is the same
    /// however many records there are (CM-6.i).
    pub fn expire(&mut self, now: Instant) -> Option<(u32, TimeWait)> {
        let index = self.first;
        if self.get(index)?.deadline > now {
            return None;
        }
        Some((index, self.remove(index)?))
    }

    /// Puts an entry at the tail of the queue.
    fn append(&mut self, index: u32) {
        let last = core::mem::replace(&mut self.last, index);
        if let Some(entry) = self.entries.get_mut(index) {
            (entry.before, entry.next) = (last, NONE);
        }
        match self.entries.get_mut(last) {
            Some(last) => last.next = index,
            None => self.first = index,
        }
    }

    /// Takes an entry out of the queue.
    fn unlink(&mut self, index: u32) {
        let Some(&Entry { before, next, .. }) = self.entries.get(index) else { return };
        match self.entries.get_mut(before) {
            Some(before) => before.next = next,
            None => self.first = next,
        }
        match self.entries.get_mut(next) {
            Some(next) => next.before = before,
            None => self.last = before,
        }
    }
}

/// No entry: beyond every capacity.
const NONE: u32 = u32::MAX;
// With its share of a flow table at its load, less than 11 bytes, well below 96 bytes.
const _: () = assert!(size_of::<Entry>() <= 72);

#[cfg(test)]
mod tests;
