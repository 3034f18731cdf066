//! TIME-WAIT records in the order of their end.
//!
//! 2MSL is the same for all, so the records form a queue. A record whose 2MSL began anew is found
//! when it reaches the head, and goes to the tail.

use std::collections::VecDeque;

use super::slab::{Slab, TcbId};
use crate::tcp::TimeWait;
use crate::time::Instant;

/// The TIME-WAIT records of a shard.
pub struct TimeWaits {
    records: Slab<TimeWait>,
    queue: VecDeque<TcbId>,
}

impl TimeWaits {
    /// A table of at most `capacity` records.
    pub fn new(capacity: usize) -> Self {
        Self { records: Slab::new(capacity), queue: VecDeque::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds a record, whose end is not before that of any other; its index, or `None` when the table
    /// is full.
    pub fn insert(&mut self, record: TimeWait) -> Option<u32> {
        let id = self.records.insert(record)?;
        self.queue.push_back(id);
        Some(id.index)
    }

    /// The record at `index`.
    pub fn get(&self, index: u32) -> Option<&TimeWait> {
        self.records.get(index)
    }

    /// The record at `index`, to be changed.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut TimeWait> {
        self.records.get_mut(index)
    }

    /// Ends the record at `index` before its time.
    pub fn remove(&mut self, index: u32) -> Option<TimeWait> {
        self.records.remove(index)
    }

    /// When the first record may end.
    pub fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(id) = self.queue.front() {
            if let Some(record) = self.records.get_by_id(*id) {
                return Some(record.deadline);
            }
            self.queue.pop_front();
        }
        None
    }

    /// Removes one record that has ended by `now`: its index and itself.
    pub fn expire(&mut self, now: Instant) -> Option<(u32, TimeWait)> {
        while let Some(id) = self.queue.pop_front() {
            let Some(record) = self.records.get_by_id(id) else { continue };
            if record.deadline <= now {
                return Some((id.index, self.records.remove(id.index)?));
            }
            // The head has not ended: the queue waits, unless 2MSL began anew for it.
            let is_next_earlier = self
                .queue
                .front()
                .and_then(|next| self.records.get_by_id(*next))
                .is_none_or(|next| next.deadline < record.deadline);
            if is_next_earlier && !self.queue.is_empty() {
                self.queue.push_back(id);
                continue;
            }
            self.queue.push_front(id);
            return None;
        }
        None
    }
}
