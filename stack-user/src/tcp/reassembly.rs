//! Out-of-order data, kept until the gap before it is filled (RFC 9293, section 3.10.7.4, seventh).
//!
//! Ranges are disjoint, do not touch, and lie in the order of their sequence numbers. Their number
//! is bounded: a segment that would open one more is dropped and comes again.

use super::SeqNum;
use super::pool::{Chain, Pool};

/// The out-of-order data of one connection, which takes a word while there is none.
#[derive(Debug, Default)]
pub struct Early(Option<Box<Reassembly>>);

impl Early {
    /// See [`Reassembly::is_empty`].
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// See [`Reassembly::insert`].
    pub fn insert(&mut self, pool: &mut Pool, start: SeqNum, data: &[u8]) -> Insert {
        let held = self.0.get_or_insert_default();
        let insert = held.insert(pool, start, data);
        self.drop_if_empty();
        insert
    }

    /// See [`Reassembly::overlap`].
    pub fn overlap(&self, start: SeqNum, end: SeqNum) -> Option<(SeqNum, SeqNum)> {
        self.0.as_ref()?.overlap(start, end)
    }

    /// See [`Reassembly::take_from`].
    pub fn take_from(&mut self, pool: &mut Pool, next: SeqNum) -> Chain {
        let Some(held) = &mut self.0 else { return Chain::default() };
        let taken = held.take_from(pool, next);
        self.drop_if_empty();
        taken
    }

    /// See [`Reassembly::sack_blocks`].
    pub fn sack_blocks(&self, out: &mut [(u32, u32)]) -> usize {
        self.0.as_ref().map_or(0, |held| held.sack_blocks(out))
    }

    /// See [`Reassembly::chunks`].
    pub(super) fn chunks(&self, pool: &Pool) -> usize {
        self.0.as_ref().map_or(0, |held| held.chunks(pool))
    }

    /// See [`Reassembly::assert_sound`].
    pub(super) fn assert_sound(&self, next: SeqNum) {
        if let Some(held) = &self.0 {
            assert!(!held.is_empty(), "memory for nothing");
            held.assert_sound(next);
        }
    }

    /// See [`Reassembly::clear`].
    pub fn clear(&mut self, pool: &mut Pool) {
        if let Some(mut held) = self.0.take() {
            held.clear(pool);
        }
    }

    fn drop_if_empty(&mut self) {
        self.0.take_if(|held| held.is_empty());
    }
}

/// Ranges of octets that came before their turn.
#[derive(Debug, Default)]
struct Reassembly {
    ranges: Vec<Range>,
    /// Counts insertions; a range carries the count of its last one (RFC 2018, section 4).
    clock: u32,
}

#[derive(Debug)]
struct Range {
    start: SeqNum,
    end: SeqNum,
    chain: Chain,
    touched: u32,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// All of it is held now.
    Kept,
    /// There was no room for all of it.
    NoRoom,
}

impl Reassembly {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Keeps `data`, whose first octet is `start`.
    pub fn insert(&mut self, pool: &mut Pool, start: SeqNum, data: &[u8]) -> Insert {
        let end = start + data.len() as u32;
        self.clock = self.clock.wrapping_add(1);
        let at = self.ranges.partition_point(|range| range.end.is_before(start));
        if self.ranges.get(at).is_none_or(|range| end.is_before(range.start)) {
            return self.open(pool, at, (start, data));
        }
        self.ranges[at].touched = self.clock;
        if start.is_before(self.ranges[at].start) && !self.prepend(pool, at, (start, data)) {
            return Insert::NoRoom;
        }
        self.extend(pool, at, (start, data))
    }

    fn open(&mut self, pool: &mut Pool, at: usize, (start, data): (SeqNum, &[u8])) -> Insert {
        if self.ranges.len() == MAX_RANGES {
            return Insert::NoRoom;
        }
        let mut chain = Chain::default();
        let kept = chain.append(pool, data);
        if kept > 0 {
            let end = start + kept as u32;
            self.ranges.insert(at, Range { start, end, chain, touched: self.clock });
        }
        if kept == data.len() { Insert::Kept } else { Insert::NoRoom }
    }

    fn prepend(&mut self, pool: &mut Pool, at: usize, (start, data): (SeqNum, &[u8])) -> bool {
        let range = &mut self.ranges[at];
        let gap = range.start.since(start) as usize;
        let mut chain = Chain::default();
        if chain.append(pool, &data[..gap]) < gap {
            chain.clear(pool);
            return false;
        }
        chain.concat(pool, core::mem::take(&mut range.chain));
        range.chain = chain;
        range.start = start;
        true
    }

    /// Appends what lies beyond range `at`, swallowing the ranges it reaches.
    fn extend(&mut self, pool: &mut Pool, at: usize, (start, data): (SeqNum, &[u8])) -> Insert {
        let end = start + data.len() as u32;
        loop {
            let (head, tail) = self.ranges.split_at_mut(at + 1);
            let range = &mut head[at];
            let next = tail.first().map_or(end, |next| next.start.min(end));
            let from = range.end.since(start) as usize;
            let wanted = next.since(range.end) as usize;
            let kept =
                if wanted > 0 { range.chain.append(pool, &data[from..from + wanted]) } else { 0 };
            range.end += kept as u32;
            if kept < wanted {
                return Insert::NoRoom;
            }
            if tail.first().is_none_or(|next| range.end.is_before(next.start)) {
                return Insert::Kept;
            }
            let next = self.ranges.remove(at + 1);
            let range = &mut self.ranges[at];
            range.chain.concat(pool, next.chain);
            range.end = next.end;
        }
    }

    /// The first part of what is held that lies within `start` to `end`.
    pub fn overlap(&self, start: SeqNum, end: SeqNum) -> Option<(SeqNum, SeqNum)> {
        let at = self.ranges.partition_point(|range| !range.end.is_after(start));
        let range = self.ranges.get(at)?;
        let (left, right) = (range.start.max(start), range.end.min(end));
        left.is_before(right).then_some((left, right))
    }

    /// Takes the data that begins at or before `next`, if there is any beyond it: the first octet of
    /// the chain is `next`.
    pub fn take_from(&mut self, pool: &mut Pool, next: SeqNum) -> Chain {
        let mut taken = Chain::default();
        while self.ranges.first().is_some_and(|range| !range.start.is_after(next)) {
            let mut range = self.ranges.remove(0);
            let stale = next.since(range.start).min(range.chain.len() as u32);
            range.chain.consume(pool, stale as usize);
            if !range.chain.is_empty() {
                taken = range.chain;
                break;
            }
        }
        taken
    }

    /// The SACK blocks to report, most recently touched first (RFC 2018, section 4).
    pub fn sack_blocks(&self, out: &mut [(u32, u32)]) -> usize {
        let mut count = 0;
        let mut below = None;
        while count < out.len() {
            let age = |range: &&Range| self.clock.wrapping_sub(range.touched);
            let Some(range) = self
                .ranges
                .iter()
                .filter(|range| below.is_none_or(|below| age(range) > below))
                .min_by_key(age)
            else {
                break;
            };
            below = Some(age(&range));
            out[count] = (range.start.0, range.end.0);
            count += 1;
        }
        count
    }

    /// Chunks held.
    pub(super) fn chunks(&self, pool: &Pool) -> usize {
        self.ranges.iter().map(|range| range.chain.chunks(pool)).sum()
    }

    /// Asserts that the ranges are as this file says, and lie behind a gap at `next`.
    pub(super) fn assert_sound(&self, next: SeqNum) {
        let mut before = next;
        for range in &self.ranges {
            assert!(range.start.is_after(before), "{self:?} from {next:?}");
            assert_eq!(range.end.since(range.start) as usize, range.chain.len());
            assert!(!range.chain.is_empty(), "an empty range");
            before = range.end;
        }
        assert!(self.ranges.len() <= MAX_RANGES);
    }

    /// Gives everything back.
    pub fn clear(&mut self, pool: &mut Pool) {
        for mut range in self.ranges.drain(..) {
            range.chain.clear(pool);
        }
    }
}

/// The most ranges of one connection.
const MAX_RANGES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::pool::CHUNK;

    #[test]
    fn segments_in_any_order_and_overlap_come_back_as_the_stream() {
        let stream: Vec<u8> = (0..400u32).map(|i| (i * 31) as u8).collect();
        let base = SeqNum(u32::MAX - 150);
        let mut seed = 7u64;
        for _ in 0..2000 {
            let mut pool = Pool::new(1 << 20);
            let mut held = Reassembly::default();
            let mut have = [false; 400];
            for _ in 0..30 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let from = 1 + (seed >> 33) as usize % 398;
                let len = 1 + (seed >> 20) as usize % (399 - from).min(60);
                let insert = held.insert(&mut pool, base + from as u32, &stream[from..from + len]);
                assert_eq!(insert, Insert::Kept);
                have[from..from + len].fill(true);
            }
            let mut next = 0;
            while next < 400 {
                let run = have[next..].iter().take_while(|kept| **kept).count();
                let chain = held.take_from(&mut pool, base + next as u32);
                assert_eq!(chain.into_vec(&mut pool), stream[next..next + run]);
                next += run + 1;
            }
            assert!(held.is_empty());
            assert_eq!(pool.used(), 0);
        }
    }

    // RFC 2018 section 4: the first block holds the segment that triggered this ACK.
    #[test]
    fn sack_blocks_name_the_latest_range_first() {
        let mut pool = Pool::new(1 << 20);
        let mut held = Reassembly::default();
        for start in [100, 300, 200] {
            held.insert(&mut pool, SeqNum(start), &[0; 10]);
        }
        held.insert(&mut pool, SeqNum(110), &[0; 5]);
        let mut blocks = [(0, 0); 3];
        assert_eq!(held.sack_blocks(&mut blocks), 3);
        assert_eq!(blocks, [(100, 115), (200, 210), (300, 310)]);
        held.clear(&mut pool);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn one_range_too_many_is_refused_and_the_rest_stays() {
        let mut pool = Pool::new(8 << 20);
        let mut held = Reassembly::default();
        for i in 0..MAX_RANGES as u32 {
            assert_eq!(held.insert(&mut pool, SeqNum(2 * i), &[1]), Insert::Kept);
        }
        assert_eq!(held.insert(&mut pool, SeqNum(5000), &[1]), Insert::NoRoom);
        assert_eq!(held.insert(&mut pool, SeqNum(1), &[1]), Insert::Kept);
        held.clear(&mut pool);
    }

    #[test]
    fn text_that_finds_no_chunk_is_refused_and_the_rest_stays() {
        let mut pool = Pool::new(0);
        let mut held = Reassembly::default();
        assert_eq!(held.insert(&mut pool, SeqNum(0), &[1; CHUNK]), Insert::Kept);
        assert_eq!(held.insert(&mut pool, SeqNum(9_000), &[3; CHUNK + 1]), Insert::Kept);
        assert_eq!(held.chunks(&pool), 3);
        let mut rest = Chain::default();
        while rest.append(&mut pool, &[0; CHUNK]) == CHUNK {}
        assert_eq!(held.insert(&mut pool, SeqNum(CHUNK as u32 - 5), &[2; 10]), Insert::NoRoom);
        assert_eq!(held.insert(&mut pool, SeqNum(9_000 + CHUNK as u32), &[2; 5]), Insert::Kept);
        let lens =
            [0, 9_000].map(|at| held.take_from(&mut pool, SeqNum(at)).into_vec(&mut pool).len());
        assert_eq!(lens, [CHUNK, CHUNK + 5]);
        rest.clear(&mut pool);
        assert_eq!(pool.used(), 0);
    }
}
