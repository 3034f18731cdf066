//! Publishing connections: at once when their state changes, else at most every 100 ms.
//!
//! What a record holds and how it is read stands in `tables::published`; this file says when one is
//! written.

use core::hint::black_box;
use std::collections::VecDeque;

use super::Shard;
use super::inner::{Conn, Core, Mark};
use crate::tables::published::{Record, Records};
use crate::tables::region::Region;
use crate::time::{Duration, Instant};

/// A shard's records and what is not in them yet.
pub(super) struct Publisher {
    region: Region,
    records: Records,
    /// Connections that changed since their records were written.
    stale: VecDeque<u32>,
    /// How many of them the present sweep has left.
    left: usize,
    /// When the next sweep begins; [`Instant::NEVER`] while there is nothing to write.
    due: Instant,
}

impl Publisher {
    pub(super) fn new(region: Region) -> Self {
        let records = region.records();
        Self { region, records, stale: VecDeque::new(), left: 0, due: Instant::NEVER }
    }

    /// When there is something to write.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (self.due != Instant::NEVER).then_some(self.due)
    }

    pub(super) fn region(&self) -> &Region {
        &self.region
    }

    /// Something happened to a connection: a change of its state is published at once.
    #[inline]
    pub(super) fn note(&mut self, index: u32, conn: &mut Conn, now: Instant) {
        if conn.tcb.state() != conn.published {
            self.publish(index, conn, now);
        } else if !conn.marks.has(Mark::Stale) {
            conn.marks.set(Mark::Stale, true);
            self.push(index, now);
        }
    }

    fn publish(&mut self, index: u32, conn: &mut Conn, now: Instant) {
        let summary = conn.tcb.summary();
        conn.published = summary.state;
        let record = Record { tuple: *conn.tcb.tuple(), service: conn.service, summary };
        self.records.put(index, &record);
        self.region.note_record(index);
        self.region.note_written(now);
    }

    fn push(&mut self, index: u32, now: Instant) {
        if self.stale.is_empty() {
            self.due = now + INTERVAL;
        }
        self.stale.push_back(index);
    }

    /// The next of the sweep; `None` when it is over or the next is not due.
    fn pop(&mut self, now: Instant) -> Option<u32> {
        if self.left == 0 {
            if self.due > now {
                return None;
            }
            self.left = self.stale.len();
        }
        self.left -= 1;
        if self.left == 0 {
            // What changed since the sweep began waits for the next.
            self.due = now + INTERVAL;
        }
        let next = self.stale.pop_front();
        if self.stale.is_empty() {
            self.due = Instant::NEVER;
        }
        next
    }
}

impl Core {
    /// Sees that what happened to a connection is published.
    #[inline]
    pub(super) fn note_changed(&mut self, index: u32, now: Instant) {
        if let Some(conn) = self.conns.get_mut(index) {
            self.publisher.note(index, conn, now);
        }
    }

    /// Writes the records that are due, at most a bounded number of them.
    pub(super) fn publish_due(&mut self, now: Instant) {
        if self.publisher.next_deadline().is_none_or(|deadline| deadline > now)
            && self.publisher.left == 0
        {
            return;
        }
        let (mut due, mut len) = ([0; BUDGET], 0);
        while len < BUDGET
            && let Some(index) = self.publisher.pop(now)
        {
            due[len] = index;
            len += 1;
        }
        // They lie far apart: loaded here, they are not waited for one after the other.
        for index in &due[..len] {
            black_box(self.conns.get(*index).map(Conn::touch));
        }
        for index in due[..len].iter().copied() {
            // Its place may have another tenant by now, of which there is nothing to tell.
            if let Some(conn) = self.conns.get_mut(index)
                && conn.marks.take(Mark::Stale)
            {
                self.publisher.publish(index, conn, now);
            }
        }
    }

    /// The connection at `index` is gone.
    pub(super) fn unpublish(&mut self, index: u32) {
        self.publisher.records.clear(index);
    }
}

impl Shard {
    /// The words that this shard shares with readers in other threads and processes.
    pub fn region(&self) -> &Region {
        self.core.publisher.region()
    }
}

/// The least time between two writings of a record while its connection's state is the same.
const INTERVAL: Duration = Duration::from_millis(100);
/// The most records of one turn, changes of state not counted.
const BUDGET: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::region::Layout;

    fn publisher() -> Publisher {
        Publisher::new(Region::on_heap(Layout { flows: 10, connections: 10 }))
    }

    fn millis(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn due(publisher: &mut Publisher, now: Instant) -> Vec<u32> {
        core::iter::from_fn(|| publisher.pop(now)).collect()
    }

    #[test]
    fn changes_wait_for_their_sweep_and_sweeps_are_100_ms_apart() {
        let mut publisher = publisher();
        assert_eq!(publisher.next_deadline(), None);
        publisher.push(1, millis(1000));
        publisher.push(2, millis(1050));
        assert_eq!(publisher.next_deadline(), Some(millis(1100)));
        assert!(due(&mut publisher, millis(1099)).is_empty());
        assert_eq!(due(&mut publisher, millis(1100)), [1, 2]);
        assert_eq!(publisher.next_deadline(), None);
        publisher.push(1, millis(1101));
        assert!(due(&mut publisher, millis(1200)).is_empty());
        assert_eq!(due(&mut publisher, millis(1201)), [1]);
    }

    #[test]
    fn changes_during_a_sweep_wait_for_the_next() {
        let mut publisher = publisher();
        publisher.push(1, millis(0));
        publisher.push(2, millis(0));
        assert_eq!(publisher.pop(millis(100)), Some(1));
        publisher.push(1, millis(100));
        assert_eq!(due(&mut publisher, millis(105)), [2]);
        assert_eq!(publisher.next_deadline(), Some(millis(205)));
        assert!(due(&mut publisher, millis(204)).is_empty());
        assert_eq!(due(&mut publisher, millis(205)), [1]);
    }
}
