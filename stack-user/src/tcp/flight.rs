//! Segments in flight: a record of 16 octets for each, linked in the order of sequence numbers, from
//! a bounded pool of the shard. A connection with nothing in flight holds none.
//!
//! The records say what was sent and what became of it. What follows from that is for `sack` and
//! `recovery` to decide.

use core::ops::{BitOr, BitOrAssign};

use super::SeqNum;
use crate::time::Instant;

/// One segment in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    next: u32,
    pub seq: SeqNum,
    /// When it was last sent.
    pub sent_at: Micros,
    /// Octets of text.
    pub len: u16,
    pub marks: Marks,
}

impl Sent {
    /// The number after its last, FIN included.
    pub fn end(&self) -> SeqNum {
        self.seq + u32::from(self.len) + u32::from(self.marks.has(Marks::FIN))
    }
}

/// What became of a segment, and what it carried besides text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    pub const NONE: Self = Self(0);
    /// The peer reported it by SACK.
    pub const SACKED: Self = Self(1);
    /// It is held to be lost.
    pub const LOST: Self = Self(2);
    /// It was sent again, and that retransmission is held to be under way.
    pub const RESENT: Self = Self(4);
    /// It was sent more than once: its acknowledgment times nothing (Karn).
    pub const AMBIGUOUS: Self = Self(8);
    /// It carries our FIN.
    pub const FIN: Self = Self(16);
    /// It carries PSH.
    pub const PUSH: Self = Self(32);

    /// Whether all of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is set.
    pub fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Marks {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// A point in time in microseconds, modulo 2^32: good for spans of up to 71 minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Micros(u32);

impl From<Instant> for Micros {
    fn from(at: Instant) -> Self {
        Self(at.as_micros() as u32)
    }
}

impl Micros {
    /// Microseconds from `self` to `now`.
    pub fn age(self, now: Instant) -> u32 {
        (now.as_micros() as u32).wrapping_sub(self.0)
    }
}

/// A shard's records of segments in flight. Memory is taken in blocks as it is first needed.
#[derive(Debug)]
pub(super) struct Records {
    blocks: Vec<Box<[Sent; BLOCK]>>,
    free: u32,
    used: u32,
    limit: u32,
}

impl Records {
    /// A pool of at most `limit` records, rounded up to whole blocks.
    pub fn new(limit: u32) -> Self {
        Self { blocks: Vec::new(), free: NONE, used: 0, limit: limit.max(1) }
    }

    /// Whether one more segment can be recorded.
    pub fn has_room(&self) -> bool {
        self.used < self.limit
    }

    /// Records in use.
    #[cfg(test)]
    pub fn used(&self) -> u32 {
        self.used
    }

    /// The record with this index.
    pub fn at(&self, index: u32) -> &Sent {
        &self.blocks[index as usize / BLOCK][index as usize % BLOCK]
    }

    pub fn at_mut(&mut self, index: u32) -> &mut Sent {
        &mut self.blocks[index as usize / BLOCK][index as usize % BLOCK]
    }

    fn take(&mut self, sent: Sent) -> Option<u32> {
        if !self.has_room() {
            return None;
        }
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let slot = self.at_mut(index);
        let next = slot.next;
        *slot = sent;
        self.free = next;
        self.used += 1;
        Some(index)
    }

    fn give_back(&mut self, index: u32) {
        self.at_mut(index).next = self.free;
        self.free = index;
        self.used -= 1;
    }

    fn grow(&mut self) {
        let first = (self.blocks.len() * BLOCK) as u32;
        let mut block = Box::new([EMPTY; BLOCK]);
        for (place, slot) in block.iter_mut().enumerate() {
            let is_last = place + 1 == BLOCK;
            slot.next = if is_last { self.free } else { first + place as u32 + 1 };
        }
        self.blocks.push(block);
        self.free = first;
    }
}

/// The segments of one connection that are in flight. Dropping one that is not empty loses its
/// records: end it with [`Flight::clear`].
#[derive(Debug)]
pub(super) struct Flight {
    head: u32,
    tail: u32,
    count: u32,
}

impl Default for Flight {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, count: 0 }
    }
}

impl Flight {
    /// How many segments there are: what Linux calls packets out.
    pub fn len(&self) -> u32 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The index of the first record.
    pub fn first(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// The index of the last record.
    pub fn last(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }

    /// The index of the record after the one at `index`.
    pub fn after(&self, records: &Records, index: u32) -> Option<u32> {
        let next = records.at(index).next;
        (next != NONE).then_some(next)
    }

    /// Appends a segment that was sent now; `false` when there is no record for it.
    pub fn push(
        &mut self,
        records: &mut Records,
        (seq, len, marks): (SeqNum, u16, Marks),
        now: Instant,
    ) -> bool {
        let sent = Sent { next: NONE, seq, sent_at: now.into(), len, marks };
        let Some(index) = records.take(sent) else { return false };
        if self.tail == NONE {
            self.head = index;
        } else {
            records.at_mut(self.tail).next = index;
        }
        self.tail = index;
        self.count += 1;
        true
    }

    /// Takes the first segment out if all of it lies before `una`; cuts off what lies before `una`
    /// if it does not.
    pub fn pop_before(&mut self, records: &mut Records, una: SeqNum) -> Option<Sent> {
        let index = self.first()?;
        let sent = *records.at(index);
        if sent.end().is_after(una) {
            let old = una.since(sent.seq);
            let slot = records.at_mut(index);
            slot.seq += old;
            slot.len -= old as u16;
            return None;
        }
        self.head = sent.next;
        if self.head == NONE {
            self.tail = NONE;
        }
        self.count -= 1;
        records.give_back(index);
        Some(sent)
    }

    /// Cuts the segment at `index` after `len` octets, which must be less than it has; the rest
    /// becomes a segment with the same fate. `false` when there is no record for it.
    pub fn split(&mut self, records: &mut Records, index: u32, len: u16) -> bool {
        let whole = *records.at(index);
        debug_assert!(len < whole.len && len > 0);
        let rest = Sent { seq: whole.seq + u32::from(len), len: whole.len - len, ..whole };
        let Some(at) = records.take(rest) else { return false };
        let first = records.at_mut(index);
        first.next = at;
        first.len = len;
        first.marks = first.marks.without(Marks::FIN | Marks::PUSH);
        if self.tail == index {
            self.tail = at;
        }
        self.count += 1;
        true
    }

    /// Makes one of the segment at `index` and the one after it; returns what that was.
    pub fn join(&mut self, records: &mut Records, index: u32) -> Option<Sent> {
        let at = self.after(records, index)?;
        let second = *records.at(at);
        let first = records.at_mut(index);
        first.len += second.len;
        let carried = Marks::FIN | Marks::PUSH | Marks::AMBIGUOUS;
        first.marks |= Marks(second.marks.0 & carried.0);
        first.next = second.next;
        if self.tail == at {
            self.tail = index;
        }
        self.count -= 1;
        records.give_back(at);
        Some(second)
    }

    /// Gives all records back.
    pub fn clear(&mut self, records: &mut Records) {
        while let Some(index) = self.first() {
            self.head = records.at(index).next;
            records.give_back(index);
        }
        *self = Self::default();
    }
}

const NONE: u32 = u32::MAX;
/// Records in a block: 16 KiB.
const BLOCK: usize = 1024;
const EMPTY: Sent =
    Sent { next: NONE, seq: SeqNum(0), sent_at: Micros(0), len: 0, marks: Marks::NONE };
const _: () = assert!(size_of::<Sent>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    fn lens(flight: &Flight, records: &Records) -> Vec<(u32, u16)> {
        let mut all = Vec::new();
        let mut at = flight.first();
        while let Some(index) = at {
            let sent = records.at(index);
            all.push((sent.seq.0, sent.len));
            at = flight.after(records, index);
        }
        assert_eq!(all.len(), flight.len() as usize);
        all
    }

    fn three(records: &mut Records) -> Flight {
        let mut flight = Flight::default();
        for seq in [0, 100, 200] {
            assert!(flight.push(records, (SeqNum(seq), 100, Marks::NONE), Instant::ZERO));
        }
        flight
    }

    #[test]
    fn pop_before_takes_whole_segments_and_trims_the_next() {
        let mut records = Records::new(10);
        let mut flight = three(&mut records);
        assert_eq!(flight.pop_before(&mut records, SeqNum(150)).map(|sent| sent.seq.0), Some(0));
        assert!(flight.pop_before(&mut records, SeqNum(150)).is_none());
        assert_eq!(lens(&flight, &records), [(150, 50), (200, 100)]);
        flight.clear(&mut records);
        assert_eq!(records.used(), 0);
    }

    #[test]
    fn split_and_join_are_each_others_reverse() {
        let mut records = Records::new(10);
        let mut flight = three(&mut records);
        let last = flight.tail;
        records.at_mut(last).marks |= Marks::FIN;
        assert!(flight.split(&mut records, last, 30));
        assert_eq!(lens(&flight, &records), [(0, 100), (100, 100), (200, 30), (230, 70)]);
        assert!(!records.at(last).marks.has(Marks::FIN));
        assert!(flight.push(&mut records, (SeqNum(301), 5, Marks::NONE), Instant::ZERO));
        let joined = flight.join(&mut records, last).map(|sent| sent.seq.0);
        assert_eq!((joined, records.at(last).end()), (Some(230), SeqNum(301)));
        assert_eq!(lens(&flight, &records).len(), 4);
        flight.clear(&mut records);
    }

    #[test]
    fn push_beyond_the_limit_is_refused_until_one_is_given_back() {
        let mut records = Records::new(3);
        let mut flight = three(&mut records);
        assert!(!flight.push(&mut records, (SeqNum(300), 1, Marks::NONE), Instant::ZERO));
        assert!(!records.has_room());
        assert!(flight.pop_before(&mut records, SeqNum(100)).is_some());
        assert!(flight.push(&mut records, (SeqNum(300), 1, Marks::NONE), Instant::ZERO));
        flight.clear(&mut records);
        assert_eq!(flight.pop_before(&mut records, SeqNum(9)).map(|sent| sent.seq), None);
    }

    #[test]
    fn age_across_the_wrap_of_the_clock_is_right() {
        let then = Instant::from_millis(u64::from(u32::MAX) / 1000);
        let later = Instant::from_millis(u64::from(u32::MAX) / 1000 + 5);
        assert_eq!(Micros::from(then).age(later), 5000);
    }
}
