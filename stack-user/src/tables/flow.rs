//! The flow table: from a keyed hash of the four-tuple to a record of one of three slabs.
//!
//! Built over words that the caller gives, zero at first; `bucket` has their layout. A flow's home is
//! the bucket that the upper half of its hash names. The home's own flows have the first right to
//! its seven slots, and only those beyond the seventh lie elsewhere: so a look-up reads one bucket
//! unless more than seven flows have that home, and then only buckets that do hold one of them.
//! Removal leaves no trace: it brings such a flow back.
//!
//! One thread writes; others read through [`FlowReader`] (see `reader` for the protocol). The owner
//! itself looks up without the sequence count. Whether a reference is the right one of several with
//! the same fingerprint only the caller can say.

use core::hint::black_box;
use core::num::NonZeroU32;

use stack_ebpf::siphash::Key;

use super::sync::{Ordering, fence};
use super::words::Words;
use crate::wire::{Addr, FourTuple};

mod array;
mod bucket;
mod reader;

pub use array::FlowArray;
pub use reader::FlowReader;

use bucket::{Buckets, Header, Place, SLOTS, Slot, WORDS};

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
pub struct FlowHasher(Key);

impl FlowHasher {
    /// A hash under a secret key: without it nobody can aim at one bucket.
    pub fn new(key: [u8; 16]) -> Self {
        Self(Key::new(key))
    }

    /// SipHash-1-3 of the tuple: local and remote address, then local and remote port; of IPv4 only
    /// the four octets of each address, which takes three rounds less.
    #[inline]
    pub fn hash(&self, flow: &FourTuple) -> u64 {
        let ([a, b], [c, d]) = (words(&flow.local), words(&flow.remote));
        let ports = u32::from(flow.local_port) << 16 | u32::from(flow.remote_port);
        let ports = ports.swap_bytes();
        if flow.local.is_v4() && flow.remote.is_v4() {
            return self.0.hash_for_table(&[(b >> 32) | (d >> 32 << 32)], ports);
        }
        self.0.hash_for_table(&[a, b, c, d], ports)
    }

    /// The same for a tuple whose addresses are IPv4's and at hand as such.
    #[inline]
    pub fn hash_v4(&self, (local, remote): ([u8; 4], [u8; 4]), ports: (u16, u16)) -> u64 {
        let word = |addr| u64::from(u32::from_le_bytes(addr));
        let ports = u32::from(ports.0) << 16 | u32::from(ports.1);
        self.0.hash_for_table(&[word(local) | word(remote) << 32], ports.swap_bytes())
    }
}

/// An address in two words, its first octets the lowest.
#[inline]
fn words(addr: &Addr) -> [u64; 2] {
    let (words, _) = addr.0.as_chunks::<8>();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
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
pub struct FlowTable {
    words: Words,
    /// Flows held.
    len: usize,
    /// The most flows.
    capacity: usize,
    /// Where the XDP program is told of them, once it has to know.
    array: Option<FlowArray>,
}

impl FlowTable {
    /// An empty table over `words`, all of them zero; as many buckets as they hold.
    ///
    /// # Panics
    ///
    /// If there are fewer words than a bucket has.
    pub fn new(words: Words) -> Self {
        let buckets = Buckets::of(words.as_ref()).count();
        assert!(buckets > 0, "a flow table needs a bucket");
        Self { words, len: 0, capacity: buckets * SLOTS * 7 / 8, array: None }
    }

    /// From now on every change is written down for the XDP program too.
    pub fn write_down(&mut self, array: FlowArray) {
        self.array = Some(array);
    }

    /// Where that is written.
    pub fn array(&mut self) -> Option<&mut FlowArray> {
        self.array.as_mut()
    }

    /// Takes out of the next buckets of the array what is no flow's any more; returns how many entries.
    pub fn sweep(&mut self, buckets: NonZeroU32) -> usize {
        let Some(mut array) = self.array.take() else { return 0 };
        let stale = array.sweep(buckets, |hash| self.likely(hash).is_some());
        self.array = Some(array);
        stale
    }

    /// How many flows are held.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no flow is held.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most flows: seven eighths of the slots.
    #[inline]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Reads the flow's home bucket, so that its cache line is on the way. For many look-ups in a loop of
    /// its own: a processor waits for few loads at once where much else is done between them.
    #[inline]
    pub fn touch(&self, hash: u64) {
        let buckets = self.buckets();
        black_box(buckets.header(buckets.home(hash)));
    }

    /// The first reference with the fingerprint of that hash: but once in ten million it is the flow's
    /// if the table has it. It names the record that a caller with many look-ups loads ahead; which
    /// flow that is only [`FlowTable::find`] can say.
    #[inline(always)]
    pub fn likely(&self, hash: u64) -> Option<FlowRef> {
        self.buckets().first_at_home(hash).or_else(|| self.likely_away(hash))
    }

    /// The same for a flow that is not at home, which few are.
    #[inline(never)]
    fn likely_away(&self, hash: u64) -> Option<FlowRef> {
        if self.buckets().has_all_at_home(hash) { None } else { self.find(hash, |_| true) }
    }

    /// The reference of that hash for which `is_match` says yes.
    #[inline]
    pub fn find(&self, hash: u64, is_match: impl FnMut(FlowRef) -> bool) -> Option<FlowRef> {
        self.locate(hash, is_match).map(|(_, flow)| flow)
    }

    /// Puts a flow in. That it is not there already is the caller's to know.
    ///
    /// # Errors
    ///
    /// [`Full`] at capacity; below it only if many flows have hashes in common.
    pub fn insert(&mut self, hash: u64, flow: FlowRef) -> Result<(), Full> {
        if self.len >= self.capacity {
            return Err(Full);
        }
        let buckets = self.buckets();
        let home = buckets.home(hash);
        let place = match buckets.empty_at(home, 0).or_else(|| self.evict_guest(home)) {
            Some(place) => place,
            // The home has the first right to its slots: beside a guest no flow of it lies elsewhere.
            None if buckets.guests(home).next().is_some() => return Err(Full),
            None => self.room_away(home, home).ok_or(Full)?,
        };
        let header = buckets.header(home).with(place.distance);
        self.write(home, header, |buckets| {
            buckets.put(place, Slot::new(hash, place.distance, flow))
        });
        self.len += 1;
        if let Some(array) = &mut self.array {
            array.enter(hash, flow.kind());
        }
        Ok(())
    }

    /// Puts `new` in the place of `old`; at no moment does a reader see neither. Returns whether `old`
    /// was there.
    pub fn replace(&mut self, hash: u64, old: FlowRef, new: FlowRef) -> bool {
        let Some((place, _)) = self.locate(hash, |flow| flow == old) else { return false };
        // One word changes, and a reader sees the old or the new one: no sequence count is needed.
        self.buckets().put(place, Slot::new(hash, place.distance, new));
        if let Some(array) = &mut self.array {
            array.change(hash, old.kind(), new.kind());
        }
        true
    }

    /// Takes a flow out. Returns whether it was there.
    pub fn remove(&mut self, hash: u64, flow: FlowRef) -> bool {
        let Some((place, _)) = self.locate(hash, |other| other == flow) else { return false };
        let buckets = self.buckets();
        let home = buckets.home(hash);
        let header = buckets.header(home);
        // A guest's place is left empty: its host has no flow elsewhere, or it would be no host.
        let farthest = if place.distance == 0 { header.farthest() } else { None };
        match farthest.and_then(|distance| buckets.guests_of(home, distance).next()) {
            Some((away, slot)) => {
                let header = self.header_without(home, header, away);
                self.write(home, header, |buckets| {
                    buckets.put(place, slot.at(0));
                    buckets.put(away, Slot::EMPTY);
                });
            }
            None => {
                let header = self.header_without(home, header, place);
                self.write(home, header, |buckets| buckets.put(place, Slot::EMPTY));
            }
        }
        self.len -= 1;
        if let Some(array) = &mut self.array {
            array.leave(hash, flow.kind());
        }
        true
    }

    /// Moves a flow out of the full bucket `host` that is not its home, and gives the place that it
    /// leaves; `None` when all seven are at home.
    fn evict_guest(&self, host: usize) -> Option<Place> {
        let buckets = self.buckets();
        buckets.guests(host).find_map(|from| {
            let to = self.room_away(buckets.home_of_guest(from), host)?;
            self.move_guest(from, to);
            Some(Place { distance: 0, ..from })
        })
    }

    /// An empty place for a guest, made by moving another guest if need be, but not in `except`.
    fn room_away(&self, home: usize, except: usize) -> Option<Place> {
        let buckets = self.buckets();
        buckets.empty_away(home).or_else(|| {
            let mut guests = buckets.guests_around(home).filter(|(from, _)| from.bucket != except);
            guests.find_map(|(from, distance)| {
                let to = buckets.empty_away(buckets.home_of_guest(from))?;
                self.move_guest(from, to);
                Some(Place { distance, ..from })
            })
        })
    }

    /// Moves a guest to another place of its home.
    fn move_guest(&self, from: Place, to: Place) {
        let buckets = self.buckets();
        let home = buckets.home_of_guest(from);
        let header = buckets.header(home);
        let header = self.header_without(home, header, from).with(to.distance);
        self.write(home, header, |buckets| {
            buckets.put(to, buckets.slot(from).at(to.distance));
            buckets.put(from, Slot::EMPTY);
        });
    }

    /// The home's header once the flow at `place` has left it.
    fn header_without(&self, home: usize, header: Header, place: Place) -> Header {
        if place.distance == 0 {
            // There is no bit for it.
            return header;
        }
        let mut flows = self.buckets().guests_of(home, place.distance);
        let others = flows.any(|(other, _)| other.word != place.word);
        if others { header } else { header.without(place.distance) }
    }

    /// Where the flow lies for which `is_match` says yes.
    #[inline]
    fn locate(
        &self,
        hash: u64,
        mut is_match: impl FnMut(FlowRef) -> bool,
    ) -> Option<(Place, FlowRef)> {
        let buckets = self.buckets();
        let home = buckets.home(hash);
        if let Some(found) = buckets.find_at(home, 0, hash, &mut is_match) {
            return Some(found);
        }
        let mut away = buckets.header(home).distances_away();
        away.find_map(|distance| buckets.find_at(home, distance, hash, &mut is_match))
    }

    /// Changes flows of the bucket `home` so that readers notice: see `reader`.
    #[inline]
    fn write(&self, home: usize, header: Header, change: impl FnOnce(Buckets<'_>)) {
        let buckets = self.buckets();
        let word = buckets.header_word(home);
        let before = Header(word.load(Ordering::Relaxed)).sequence();
        word.store(header.with_sequence(before.wrapping_add(1)).0, Ordering::Relaxed);
        // No store of the change may be seen before the odd count.
        fence(Ordering::Release);
        change(buckets);
        // Whoever reads the even count sees the whole change.
        word.store(header.with_sequence(before.wrapping_add(2)).0, Ordering::Release);
    }

    #[inline]
    fn buckets(&self) -> Buckets<'_> {
        Buckets::of(self.words.as_ref())
    }

    /// A view for another thread.
    pub fn reader(&self) -> FlowReader {
        FlowReader::new(self.words.clone())
    }
}

const INDEX_BITS: u32 = 30;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;

#[cfg(all(test, loom))]
mod interleavings;
#[cfg(all(test, not(loom)))]
mod tests;
