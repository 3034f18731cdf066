//! Buckets of the flow table: what their words mean, and where a flow may lie.
//!
//! A bucket is eight words, one cache line: a header and seven slots. A flow lies in its home bucket,
//! at distance 0, or as a guest in one of 31 other buckets, by a number from 1 to 31 that is called
//! its distance. Who changes what, and in which order, is said in the table's file.

use super::FlowRef;
use crate::tables::sync::{AtomicU64, Ordering};

/// A bucket's header: the sequence count in the lower 32 bits, odd while the owner writes; in the
/// upper 32, a bit for each distance at which flows lie whose home this is. Distance 0 has none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Header(pub(super) u64);

impl Header {
    pub(super) const fn sequence(self) -> u32 {
        self.0 as u32
    }

    pub(super) const fn with_sequence(self, sequence: u32) -> Self {
        Self((self.0 >> 32 << 32) | sequence as u64)
    }

    /// The header with flows at this distance.
    pub(super) const fn with(self, distance: u32) -> Self {
        Self(self.0 | Self::bit(distance))
    }

    /// The header without flows at this distance.
    pub(super) const fn without(self, distance: u32) -> Self {
        Self(self.0 & !Self::bit(distance))
    }

    /// The largest distance at which flows lie, but 0.
    pub(super) const fn farthest(self) -> Option<u32> {
        let away = (self.0 >> 32) as u32;
        if away == 0 { None } else { Some(31 - away.leading_zeros()) }
    }

    /// Where flows lie whose home this is: 0, then the others upwards.
    #[inline]
    pub(super) fn distances(self) -> impl Iterator<Item = u32> {
        core::iter::once(0).chain(self.distances_away())
    }

    /// Where flows lie whose home this is, but 0, upwards.
    #[inline]
    pub(super) fn distances_away(self) -> impl Iterator<Item = u32> {
        let mut left = (self.0 >> 32) as u32;
        core::iter::from_fn(move || {
            let distance = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (distance < 32).then_some(distance)
        })
    }

    const fn bit(distance: u32) -> u64 {
        if distance == 0 { 0 } else { 1 << (32 + distance) }
    }
}

/// A slot: 27 bits of the hash, then five of distance, then the [`FlowRef`], which is never zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u64);

impl Slot {
    pub(super) const EMPTY: Self = Self(0);

    #[inline]
    pub(super) const fn new(hash: u64, distance: u32, flow: FlowRef) -> Self {
        Self(tag(hash, distance) << 32 | flow.0 as u64)
    }

    #[inline]
    pub(super) const fn flow(self) -> FlowRef {
        FlowRef(self.0 as u32)
    }

    /// The same flow at another distance.
    #[inline]
    pub(super) const fn at(self, distance: u32) -> Self {
        Self(self.0 & !(MAX_DISTANCE << 32) | (distance as u64) << 32)
    }

    #[inline]
    const fn distance(self) -> u32 {
        (self.0 >> 32 & MAX_DISTANCE) as u32
    }

    #[inline]
    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it holds a flow with this fingerprint and distance.
    #[inline]
    const fn has(self, tag: u64) -> bool {
        self.0 >> 32 == tag && !self.is_empty()
    }
}

/// Where a flow lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: usize,
    /// The slot's word in the bucket.
    pub(super) word: usize,
    /// The distance from the flow's home.
    pub(super) distance: u32,
}

/// All buckets of a table.
#[derive(Clone, Copy)]
pub(super) struct Buckets<'a>(&'a [[AtomicU64; WORDS]]);

impl<'a> Buckets<'a> {
    #[inline]
    pub(super) fn of(words: &'a [AtomicU64]) -> Self {
        Self(words.as_chunks().0)
    }

    #[inline]
    pub(super) const fn count(self) -> usize {
        self.0.len()
    }

    /// The bucket where a flow of this hash belongs: the hash's upper half, spread evenly. The lower
    /// half is left for the fingerprint.
    #[inline]
    pub(super) const fn home(self, hash: u64) -> usize {
        (((hash >> 32) * self.count() as u64) >> 32) as usize
    }

    /// The bucket at a distance from `home`.
    #[inline]
    fn at(self, home: usize, distance: u32) -> usize {
        if distance == 0 { home } else { (home + self.offset(distance)) % self.count() }
    }

    /// The home of the guest at `place`.
    pub(super) fn home_of_guest(self, place: Place) -> usize {
        (place.bucket + self.count() - self.offset(place.distance)) % self.count()
    }

    /// How far away a distance is. The steps grow, so that full buckets do not gather in long runs
    /// as they do when the next one is tried always; a table too small for that is walked through.
    fn offset(self, distance: u32) -> usize {
        let distance = distance as usize;
        if self.count() <= 1 + MAX_DISTANCE as usize {
            distance % self.count()
        } else {
            distance * (distance + 1) / 2 % self.count()
        }
    }

    #[inline]
    pub(super) fn header_word(self, bucket: usize) -> &'a AtomicU64 {
        &self.0[bucket][HEADER]
    }

    #[inline]
    pub(super) fn header(self, bucket: usize) -> Header {
        Header(self.header_word(bucket).load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn slot(self, place: Place) -> Slot {
        Slot(self.0[place.bucket][place.word].load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn put(self, place: Place, slot: Slot) {
        self.0[place.bucket][place.word].store(slot.0, Ordering::Relaxed);
    }

    /// Every slot of the bucket at a distance from `home`, with its place. The place's distance is the
    /// one given, whatever flow lies there.
    #[inline]
    fn slots(self, home: usize, distance: u32) -> impl Iterator<Item = (Place, Slot)> + use<'a> {
        let bucket = self.at(home, distance);
        (1..WORDS).map(move |word| {
            let place = Place { bucket, word, distance };
            (place, self.slot(place))
        })
    }

    /// The first flow of this hash at that distance for which `is_match` says yes.
    #[inline]
    pub(super) fn find_at(
        self,
        home: usize,
        distance: u32,
        hash: u64,
        is_match: &mut impl FnMut(FlowRef) -> bool,
    ) -> Option<(Place, FlowRef)> {
        let (bucket, tag) = (self.at(home, distance), tag(hash, distance));
        let mut left = self.tagged(bucket, tag);
        while left != 0 {
            let place = Place { bucket, word: left.trailing_zeros() as usize % WORDS, distance };
            let slot = self.slot(place);
            // Looked at again for what is empty, and for a reader, whose first look may be old.
            if slot.has(tag) && is_match(slot.flow()) {
                return Some((place, slot.flow()));
            }
            left &= left - 1;
        }
        None
    }

    /// The first flow of this hash in its home bucket.
    #[inline]
    pub(super) fn first_at_home(self, hash: u64) -> Option<FlowRef> {
        let (bucket, tag) = (self.home(hash), tag(hash, 0));
        // As in `tagged` without a branch for each; from the last to the first, which so stays. What is
        // empty has no reference, whatever the tag.
        let slots = self.0[bucket].iter().skip(HEADER + 1).rev();
        let found = slots.fold(0, |found, slot| {
            let slot = slot.load(Ordering::Relaxed);
            if slot >> 32 == tag { slot as u32 } else { found }
        });
        (found != 0).then_some(FlowRef(found))
    }

    /// Whether [`Buckets::first_at_home`] would have found a flow of this hash, if there were one: none of
    /// its home lies elsewhere, and its tag is not that of an empty slot.
    #[inline]
    pub(super) fn has_all_at_home(self, hash: u64) -> bool {
        self.header(self.home(hash)).farthest().is_none() && tag(hash, 0) != 0
    }

    /// A bit for each word of the bucket whose slot has this tag, or is empty where the tag is zero. All
    /// are compared without a branch: which of the seven it is nobody can predict, and a branch
    /// guessed wrong would throw away what the processor has begun of the next look-ups.
    #[inline]
    fn tagged(self, bucket: usize, tag: u64) -> u32 {
        let mut bits = 0;
        for (word, slot) in self.0[bucket].iter().enumerate().skip(HEADER + 1) {
            bits |= u32::from(slot.load(Ordering::Relaxed) >> 32 == tag) << word;
        }
        bits
    }

    /// An empty slot of the bucket at a distance from `home`.
    #[inline]
    pub(super) fn empty_at(self, home: usize, distance: u32) -> Option<Place> {
        self.slots(home, distance).find(|(_, slot)| slot.is_empty()).map(|(place, _)| place)
    }

    /// The nearest empty slot for a guest.
    pub(super) fn empty_away(self, home: usize) -> Option<Place> {
        (1..=MAX_DISTANCE as u32).find_map(|distance| self.empty_at(home, distance))
    }

    /// The flows with this home that lie at that distance.
    pub(super) fn guests_of(
        self,
        home: usize,
        distance: u32,
    ) -> impl Iterator<Item = (Place, Slot)> + use<'a> {
        let slots = self.slots(home, distance);
        // Bucket and distance name one home.
        slots.filter(move |(_, slot)| !slot.is_empty() && slot.distance() == distance)
    }

    /// The guests in a bucket, each with its own distance.
    pub(super) fn guests(self, host: usize) -> impl Iterator<Item = Place> + use<'a> {
        let guests = self.slots(host, 0).filter(|(_, slot)| slot.distance() != 0);
        guests.map(|(place, slot)| Place { distance: slot.distance(), ..place })
    }

    /// The guests in all buckets where a guest of `home` might lie, each with its own distance, and the
    /// distance of its bucket from `home`.
    pub(super) fn guests_around(self, home: usize) -> impl Iterator<Item = (Place, u32)> + use<'a> {
        (1..=MAX_DISTANCE as u32).flat_map(move |distance| {
            self.guests(self.at(home, distance)).map(move |place| (place, distance))
        })
    }
}

/// The upper half of a slot.
#[inline]
const fn tag(hash: u64, distance: u32) -> u64 {
    (hash & FINGERPRINT) << DISTANCE_BITS | distance as u64
}

/// Words of a bucket: one cache line.
pub(super) const WORDS: usize = 8;
/// Flows of a bucket.
pub(super) const SLOTS: usize = WORDS - 1;
/// The header's word.
const HEADER: usize = 0;

const DISTANCE_BITS: u32 = 5;
const MAX_DISTANCE: u64 = (1 << DISTANCE_BITS) - 1;
/// The bits of a hash that tell flows of one home apart.
const FINGERPRINT: u64 = (1 << (32 - DISTANCE_BITS)) - 1;
