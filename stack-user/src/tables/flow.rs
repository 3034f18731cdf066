//! The flow table: from a keyed hash of the four-tuple to a record of one of three slabs.
//!
//! Built over words that the caller gives, zero at first. A bucket is one cache line: a header and
//! seven slots, each a 32-bit fingerprint and a [`FlowRef`]. A flow's home is the bucket that the
//! upper half of its hash names; where that is full the flow lies in one of the next buckets, and the
//! home's header says how many did so and how far the farthest lies. So a look-up for a flow that is
//! not there reads one bucket, and removal leaves no tombstone.
//!
//! One thread writes; others read through [`FlowReader`] (see `reader` for the protocol). The owner
//! itself looks up without the sequence count. Whether a reference is the right one of several with
//! the same fingerprint only the caller can say.

use core::hash::Hasher;
use core::hint::black_box;

use siphasher::sip::SipHasher13;

use super::sync::{AtomicU64, Ordering, fence};
use crate::wire::FourTuple;

mod reader;
mod words;

pub use reader::FlowReader;
pub use words::HeapWords;

/// What kind of record a flow has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKind {
    /// A transmission control block.
    Tcb,
    /// A half-open entry of a passive open.
    HalfOpen,
    /// A TIME-WAIT record.
    TimeWait,
}

/// A record: its kind in two bits and its index in 30. Never zero, which marks an empty slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowRef(u32);

impl FlowRef {
    /// The record of that kind at `index` of its slab; the index has 30 bits.
    #[inline]
    pub const fn new(kind: FlowKind, index: u32) -> Self {
        debug_assert!(index <= INDEX_MASK, "a slab holds at most 2^30 records");
        let kind = match kind {
            FlowKind::Tcb => 1,
            FlowKind::HalfOpen => 2,
            FlowKind::TimeWait => 3,
        };
        Self(kind << INDEX_BITS | index & INDEX_MASK)
    }

    /// The kind of record.
    #[inline]
    pub const fn kind(self) -> FlowKind {
        match self.0 >> INDEX_BITS {
            2 => FlowKind::HalfOpen,
            3 => FlowKind::TimeWait,
            _ => FlowKind::Tcb,
        }
    }

    /// The record's index in its slab.
    #[inline]
    pub const fn index(self) -> u32 {
        self.0 & INDEX_MASK
    }
}

impl core::fmt::Debug for FlowRef {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}#{}", self.kind(), self.index())
    }
}

/// The keyed hash of flows.
#[derive(Clone)]
pub struct FlowHasher(SipHasher13);

impl FlowHasher {
    /// A hash under a secret key: without it nobody can aim at one bucket.
    pub fn new(key: [u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(&key))
    }

    /// SipHash-1-3 of the tuple: local and remote address, then local and remote port.
    #[inline]
    pub fn hash(&self, flow: &FourTuple) -> u64 {
        let mut bytes = [0; 36];
        bytes[..16].copy_from_slice(&flow.local.0);
        bytes[16..32].copy_from_slice(&flow.remote.0);
        bytes[32..34].copy_from_slice(&flow.local_port.to_be_bytes());
        bytes[34..].copy_from_slice(&flow.remote_port.to_be_bytes());
        let mut hasher = self.0;
        hasher.write(&bytes);
        hasher.finish()
    }
}

/// The table has as many flows as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the flow table is full")
    }
}

impl core::error::Error for Full {}

/// The words for a table that takes `capacity` flows.
pub const fn words_for(capacity: usize) -> usize {
    let buckets = (capacity * 8).div_ceil(SLOTS * 7);
    WORDS * if buckets == 0 { 1 } else { buckets }
}

/// The table, as its owner sees it. Only one may be made over the same words.
pub struct FlowTable<W> {
    words: W,
    /// How many buckets there are.
    buckets: usize,
    /// Flows held.
    len: usize,
}

impl<W: AsRef<[AtomicU64]>> FlowTable<W> {
    /// An empty table over `words`, all of them zero; as many buckets as they hold.
    ///
    /// # Panics
    ///
    /// If there are fewer words than a bucket has.
    pub fn new(words: W) -> Self {
        let buckets = words.as_ref().len() / WORDS;
        assert!(buckets > 0, "a flow table needs a bucket");
        Self { words, buckets, len: 0 }
    }

    /// How many flows are held.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no flow is held.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most flows: seven eighths of the slots.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buckets * SLOTS * 7 / 8
    }

    /// Reads the flow's home bucket, so that its cache line is on the way.
    #[inline]
    pub fn touch(&self, hash: u64) {
        black_box(self.bucket(self.home(hash))[HEADER].load(Ordering::Relaxed));
    }

    /// The reference of that hash for which `is_match` says yes.
    #[inline]
    pub fn find(&self, hash: u64, is_match: impl FnMut(FlowRef) -> bool) -> Option<FlowRef> {
        let place = self.locate(hash, is_match)?;
        Some(flow_of(self.bucket(place.bucket)[place.word].load(Ordering::Relaxed)))
    }

    /// Puts a flow in. That it is not there already is the caller's to know.
    ///
    /// # Errors
    ///
    /// [`Full`] at capacity, or when no bucket within reach of the flow's home has room.
    pub fn insert(&mut self, hash: u64, flow: FlowRef) -> Result<(), Full> {
        if self.len >= self.capacity() {
            return Err(Full);
        }
        let home = self.home(hash);
        let place = (0..self.buckets.min(REACH))
            .find_map(|distance| self.empty_word(home, distance))
            .ok_or(Full)?;
        let header = Header(self.bucket(home)[HEADER].load(Ordering::Relaxed));
        self.write(home, header.with_one_away(place.distance), |table| {
            table.bucket(place.bucket)[place.word].store(slot_of(hash, flow), Ordering::Relaxed);
        });
        self.len += 1;
        Ok(())
    }

    /// Puts `new` in the place of `old`, between two of which no reader sees neither. Returns whether
    /// `old` was there.
    pub fn replace(&mut self, hash: u64, old: FlowRef, new: FlowRef) -> bool {
        let Some(place) = self.locate(hash, |flow| flow == old) else { return false };
        // One word changes: a reader sees the old or the new one, without the sequence count.
        self.bucket(place.bucket)[place.word].store(slot_of(hash, new), Ordering::Release);
        true
    }

    /// Takes a flow out. Returns whether it was there.
    pub fn remove(&mut self, hash: u64, flow: FlowRef) -> bool {
        let Some(place) = self.locate(hash, |other| other == flow) else { return false };
        let home = self.home(hash);
        let header = Header(self.bucket(home)[HEADER].load(Ordering::Relaxed));
        self.write(home, header.with_one_back(place.distance), |table| {
            table.bucket(place.bucket)[place.word].store(0, Ordering::Relaxed);
        });
        self.len -= 1;
        true
    }

    /// Where the flow lies for which `is_match` says yes.
    #[inline]
    fn locate(&self, hash: u64, mut is_match: impl FnMut(FlowRef) -> bool) -> Option<Place> {
        let home = self.home(hash);
        let mut reach = 0;
        let mut distance = 0;
        while distance <= reach {
            let index = self.after(home, distance);
            let bucket = self.bucket(index);
            if distance == 0 {
                reach = Header(bucket[HEADER].load(Ordering::Relaxed)).reach();
            }
            for (word, slot) in bucket.iter().enumerate().skip(1) {
                let slot = slot.load(Ordering::Relaxed);
                if is_slot_of(slot, hash) && is_match(flow_of(slot)) {
                    return Some(Place { bucket: index, word, distance });
                }
            }
            distance += 1;
        }
        None
    }

    /// An empty word of the bucket that lies `distance` after `home`.
    #[inline]
    fn empty_word(&self, home: usize, distance: usize) -> Option<Place> {
        let bucket = self.after(home, distance);
        let slots = self.bucket(bucket).iter().enumerate().skip(1);
        let mut empty = slots.filter(|(_, slot)| slot.load(Ordering::Relaxed) == 0);
        empty.next().map(|(word, _)| Place { bucket, word, distance })
    }

    /// Changes a flow of the bucket `home` so that readers notice: see `reader`.
    #[inline]
    fn write(&self, home: usize, header: Header, change: impl FnOnce(&Self)) {
        let word = &self.bucket(home)[HEADER];
        let before = Header(word.load(Ordering::Relaxed)).sequence();
        word.store(header.with_sequence(before.wrapping_add(1)).0, Ordering::Relaxed);
        // No store of the change may be seen before the odd count.
        fence(Ordering::Release);
        change(self);
        // Whoever reads the even count sees the whole change.
        word.store(header.with_sequence(before.wrapping_add(2)).0, Ordering::Release);
    }

    /// The bucket where a flow of this hash belongs.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        home(hash, self.buckets)
    }

    #[inline]
    fn after(&self, home: usize, distance: usize) -> usize {
        after(home, distance, self.buckets)
    }

    #[inline]
    fn bucket(&self, index: usize) -> &Bucket {
        bucket(self.words.as_ref(), index)
    }
}

impl<W: AsRef<[AtomicU64]> + Clone> FlowTable<W> {
    /// A view for another thread.
    pub fn reader(&self) -> FlowReader<W> {
        FlowReader::new(self.words.clone())
    }
}

/// Where a flow lies.
struct Place {
    bucket: usize,
    /// The slot's word in the bucket.
    word: usize,
    /// Buckets from the home to this one.
    distance: usize,
}

/// A bucket's header: the sequence count in the lower 32 bits, odd while its owner writes; above it
/// in 16 bits the number of flows whose home this is and which lie elsewhere; in the topmost 16 how
/// many buckets away the farthest of them lies, or did since there were none.
#[derive(Clone, Copy)]
struct Header(u64);

impl Header {
    const fn sequence(self) -> u32 {
        self.0 as u32
    }

    const fn away(self) -> u16 {
        (self.0 >> 32) as u16
    }

    const fn reach(self) -> usize {
        (self.0 >> 48) as usize
    }

    const fn with_sequence(self, sequence: u32) -> Self {
        Self(self.0 >> 32 << 32 | sequence as u64)
    }

    const fn with_flows(self, away: u16, reach: usize) -> Self {
        Self((reach as u64) << 48 | (away as u64) << 32 | self.sequence() as u64)
    }

    /// The header once one more flow lies that many buckets away.
    const fn with_one_away(self, distance: usize) -> Self {
        if distance == 0 {
            return self;
        }
        let reach = if distance > self.reach() { distance } else { self.reach() };
        self.with_flows(self.away() + 1, reach)
    }

    /// The header once one flow less lies that many buckets away.
    const fn with_one_back(self, distance: usize) -> Self {
        match (distance, self.away()) {
            (0, _) => self,
            (_, 0 | 1) => self.with_flows(0, 0),
            (_, away) => self.with_flows(away - 1, self.reach()),
        }
    }
}

/// A header and seven slots.
type Bucket = [AtomicU64; WORDS];

#[inline]
fn bucket(words: &[AtomicU64], index: usize) -> &Bucket {
    &words.as_chunks::<WORDS>().0[index]
}

/// The upper half of the hash, spread evenly over the buckets; the lower half is the fingerprint.
#[inline]
const fn home(hash: u64, buckets: usize) -> usize {
    (((hash >> 32) * buckets as u64) >> 32) as usize
}

#[inline]
const fn after(home: usize, distance: usize, buckets: usize) -> usize {
    let index = home + distance;
    if index >= buckets { index - buckets } else { index }
}

#[inline]
const fn slot_of(hash: u64, flow: FlowRef) -> u64 {
    hash << 32 | flow.0 as u64
}

/// Whether a slot is taken and has the fingerprint of this hash.
#[inline]
const fn is_slot_of(slot: u64, hash: u64) -> bool {
    slot != 0 && slot >> 32 == hash & 0xffff_ffff
}

#[inline]
const fn flow_of(slot: u64) -> FlowRef {
    FlowRef(slot as u32)
}

/// Words of a bucket: one cache line.
const WORDS: usize = 8;
/// Flows of a bucket.
const SLOTS: usize = WORDS - 1;
/// The header's word.
const HEADER: usize = 0;
/// How many buckets a flow may lie from its home, at most.
const REACH: usize = 256;

const INDEX_BITS: u32 = 30;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;

#[cfg(test)]
mod tests;
