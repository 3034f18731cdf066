//! A shard's region of the XDP program's array of flows, as its shard writes it.
//!
//! The layout is stack-ebpf's. What stands there only makes frames pass to the shard, so that a flow
//! which finds no room in its bucket costs no more than the mark that says so; the program has to be
//! generous while it is set.
//!
//! The summary of the region is written with it, so that it never rules out a flow which stands there.

use core::num::NonZeroU32;

use stack_ebpf::flows::{Entry, Kind, SUMMARY_WORDS, WAYS, alike, home, mark};
use stack_ebpf::front::Gate;

use super::FlowKind;
use crate::tables::sync::{AtomicU64, Ordering};
use crate::tables::words::Words;

/// The region, for its owner.
pub struct FlowArray {
    /// The shard's gate, which has the mark.
    gate: Words,
    region: Words,
    summary: Words,
    buckets: u32,
    shard: u8,
    /// Flows that found no room, and may still live.
    missing: u64,
    /// Whether flows that were there before it began are written down too.
    has_all: bool,
    /// The bucket that is swept next.
    next_swept: u32,
}

impl FlowArray {
    /// A region over `region` with its summary, whose mark is in `gate`: incomplete until
    /// [`FlowArray::complete`].
    ///
    /// # Panics
    /// When the region is not of a power of two of buckets, or the gate or the summary is none.
    pub fn new(gate: Words, (region, summary): (Words, Words), shard: u8) -> Self {
        let buckets = (region.as_ref().len() / WAYS) as u32;
        assert!(buckets.is_power_of_two(), "a region has a power of two of buckets");
        assert!(gate.as_ref().len() >= Gate::WORDS, "a gate has its words");
        let marks = summary.as_ref().len();
        assert!(marks >= SUMMARY_WORDS as usize, "a summary has its words");
        let (missing, has_all, next_swept) = (0, false, 0);
        let array = Self { gate, region, summary, buckets, shard, missing, has_all, next_swept };
        array.tell();
        array
    }

    /// Says that every flow that there was when it began is written down now.
    pub fn complete(&mut self) {
        self.has_all = true;
        self.tell();
    }

    /// Whether every flow is written down.
    pub const fn is_complete(&self) -> bool {
        self.has_all && self.missing == 0
    }

    /// Writes a flow down.
    pub fn enter(&mut self, hash: u64, kind: FlowKind) {
        let entry = self.entry(hash, kind);
        if !self.put(hash, 0, entry.0) {
            self.missing += 1;
            self.tell();
        }
    }

    /// Writes a flow down that may be there already.
    pub fn ensure(&mut self, hash: u64, kind: FlowKind) {
        if !self.bucket(hash).any(|word| Entry(word).is_of(hash)) {
            self.enter(hash, kind);
        }
    }

    /// The flow is something else now.
    pub fn change(&mut self, hash: u64, old: FlowKind, new: FlowKind) {
        let (old, new) = (self.entry(hash, old), self.entry(hash, new));
        // One that found no room does not find it now either.
        let _ = self.put(hash, old.0, new.0);
    }

    /// The flow is gone.
    pub fn leave(&mut self, hash: u64, kind: FlowKind) {
        let entry = self.entry(hash, kind);
        // Before all are written down nobody knows whether it was missing: then the mark may stay for
        // nothing.
        if !self.put(hash, entry.0, 0) && self.has_all {
            self.missing = self.missing.saturating_sub(1);
            self.tell();
        }
    }

    /// Takes out what is no flow's any more from the next `buckets`; returns how many entries.
    pub fn sweep(&mut self, buckets: NonZeroU32, is_flow: impl Fn(u64) -> bool) -> usize {
        let mut stale = 0;
        for _ in 0..buckets.get().min(self.buckets) {
            let at = self.next_swept;
            self.next_swept = (at + 1) & (self.buckets - 1);
            let before = stale;
            for word in self.places(at) {
                let entry = Entry(word.load(Ordering::Relaxed));
                if entry.0 != 0 && !is_flow(entry.hash(at)) {
                    word.store(0, Ordering::Relaxed);
                    stale += 1;
                }
            }
            if stale != before {
                self.unmark(at);
            }
        }
        stale
    }

    fn entry(&self, hash: u64, kind: FlowKind) -> Entry {
        let kind = match kind {
            FlowKind::Tcb => Kind::Established,
            FlowKind::HalfOpen => Kind::HalfOpen,
            FlowKind::TimeWait => Kind::TimeWait,
        };
        Entry::new(hash, kind, self.shard)
    }

    /// Puts `new` in the place of `old` in the flow's bucket; whether that was there.
    fn put(&self, hash: u64, old: u64, new: u64) -> bool {
        let home = home(hash, self.buckets);
        let place = self.places(home).iter().find(|word| word.load(Ordering::Relaxed) == old);
        if let Some(place) = place {
            if new != 0 {
                self.mark(home);
            }
            // Whoever sees the entry sees its bit.
            place.store(new, Ordering::Release);
            if new == 0 {
                self.unmark(home);
            }
        }
        place.is_some()
    }

    fn bucket(&self, hash: u64) -> impl Iterator<Item = u64> {
        let places = self.places(home(hash, self.buckets));
        places.iter().map(|word| word.load(Ordering::Relaxed))
    }

    fn places(&self, home: u32) -> &[AtomicU64] {
        &self.region.as_ref()[home as usize * WAYS..][..WAYS]
    }

    /// Says in the summary that something lies in a bucket.
    fn mark(&self, home: u32) {
        let (word, bit) = mark(home);
        let word = &self.summary.as_ref()[word as usize];
        let before = word.load(Ordering::Relaxed);
        if before & bit == 0 {
            // Nobody else writes it.
            word.store(before | bit, Ordering::Relaxed);
        }
    }

    /// Says no longer that something lies in a bucket, unless it does, or in another with the same bit.
    fn unmark(&self, home: u32) {
        let is_empty =
            |bucket: u32| self.places(bucket).iter().all(|word| word.load(Ordering::Relaxed) == 0);
        if is_empty(home) && alike(home, self.buckets).all(is_empty) {
            let (word, bit) = mark(home);
            let word = &self.summary.as_ref()[word as usize];
            word.store(word.load(Ordering::Relaxed) & !bit, Ordering::Relaxed);
        }
    }

    /// Sets the mark. After the entries: whoever reads that all are there sees them.
    fn tell(&self) {
        let is_complete = u64::from(self.is_complete());
        self.gate.as_ref()[Gate::IS_COMPLETE].store(is_complete, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use stack_ebpf::flows::{FEWEST_BUCKETS, SUMMARY_BITS, buckets_for, find};
    use std::collections::BTreeMap;

    struct Bed {
        gate: Words,
        region: Words,
        summary: Words,
        array: FlowArray,
    }

    fn bed(buckets: u32) -> Bed {
        let (gate, region) = (Words::zeroed(Gate::WORDS), Words::zeroed(buckets as usize * WAYS));
        let summary = Words::zeroed(SUMMARY_WORDS as usize);
        let array = FlowArray::new(gate.clone(), (region.clone(), summary.clone()), 7);
        Bed { gate, region, summary, array }
    }

    impl Bed {
        /// What the program finds.
        fn found(&self, hash: u64) -> Option<(Kind, u8)> {
            let words = self.region.as_ref();
            let home = home(hash, (words.len() / WAYS) as u32);
            if !self.is_marked(home) {
                return None;
            }
            let first = home as usize * WAYS;
            let bucket = core::array::from_fn(|n| words[first + n].load(Ordering::Relaxed));
            let entry = Entry(find(&bucket, hash));
            (entry.0 != 0).then(|| (entry.kind(), entry.shard()))
        }

        fn is_marked(&self, home: u32) -> bool {
            let (word, bit) = mark(home);
            self.summary.as_ref()[word as usize].load(Ordering::Relaxed) & bit != 0
        }

        /// Whether nothing stands anywhere, and the summary says so.
        fn is_empty(&self) -> bool {
            let mut words = self.region.as_ref().iter().chain(self.summary.as_ref());
            words.all(|word| word.load(Ordering::Relaxed) == 0)
        }

        fn mark(&self) -> u64 {
            self.gate.as_ref()[Gate::IS_COMPLETE].load(Ordering::Relaxed)
        }
    }

    /// A hash as good as a keyed one.
    fn mix(n: u64) -> u64 {
        let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    }

    /// The `n`th hash of one bucket.
    fn alike(n: u64) -> u64 {
        n << 40 | 5
    }

    #[test]
    fn flow_is_found_as_what_it_is_until_it_is_gone() {
        let mut bed = bed(FEWEST_BUCKETS);
        let hash = mix(1);
        assert_eq!(bed.found(hash), None);
        bed.array.enter(hash, FlowKind::HalfOpen);
        assert_eq!(bed.found(hash), Some((Kind::HalfOpen, 7)));
        bed.array.change(hash, FlowKind::HalfOpen, FlowKind::Tcb);
        assert_eq!(bed.found(hash), Some((Kind::Established, 7)));
        bed.array.change(hash, FlowKind::Tcb, FlowKind::TimeWait);
        bed.array.ensure(hash, FlowKind::TimeWait);
        bed.array.leave(hash, FlowKind::TimeWait);
        assert_eq!(bed.found(hash), None);
        assert!(bed.is_empty());
    }

    #[test]
    fn summary_says_of_each_bucket_whether_something_lies_there() {
        let mut bed = bed(FEWEST_BUCKETS);
        (0..700).for_each(|n| bed.array.enter(mix(n), FlowKind::Tcb));
        (0..700).step_by(2).for_each(|n| bed.array.leave(mix(n), FlowKind::Tcb));
        for home in 0..FEWEST_BUCKETS {
            let places = &bed.region.as_ref()[home as usize * WAYS..][..WAYS];
            let is_empty = places.iter().all(|word| word.load(Ordering::Relaxed) == 0);
            assert_eq!(bed.is_marked(home), !is_empty, "{home}");
        }
    }

    #[test]
    fn bit_of_several_buckets_goes_with_the_last_entry_of_all() {
        let mut bed = bed(4 * SUMMARY_BITS);
        let of = |nth: u64| (9 << 40) + nth * u64::from(SUMMARY_BITS) + 77;
        (0..4).for_each(|nth| bed.array.enter(of(nth), FlowKind::Tcb));
        for nth in [2, 0, 3, 1] {
            assert!(bed.is_marked(77) && bed.found(of(nth)).is_some());
            bed.array.leave(of(nth), FlowKind::Tcb);
        }
        assert!(bed.is_empty());
    }

    #[test]
    fn mark_is_set_once_all_are_written_down() {
        let mut bed = bed(FEWEST_BUCKETS);
        assert_eq!(bed.mark(), 0, "nothing is known at the start");
        bed.array.enter(mix(1), FlowKind::Tcb);
        bed.array.ensure(mix(2), FlowKind::Tcb);
        // One that was there before and has not been written down.
        bed.array.leave(mix(3), FlowKind::Tcb);
        assert_eq!(bed.mark(), 0);
        bed.array.complete();
        assert_eq!(bed.mark(), 1);
    }

    #[test]
    fn full_bucket_takes_the_mark_away_until_one_that_found_no_room_is_gone() {
        let mut bed = bed(FEWEST_BUCKETS);
        bed.array.complete();
        (0..8).for_each(|n| bed.array.enter(alike(n), FlowKind::Tcb));
        assert_eq!(bed.mark(), 1);
        for n in 8..10 {
            bed.array.enter(alike(n), FlowKind::Tcb);
            assert_eq!((bed.mark(), bed.found(alike(n))), (0, None));
        }
        // A place gets free, but those that are missing stay so.
        bed.array.leave(alike(0), FlowKind::Tcb);
        bed.array.change(alike(8), FlowKind::Tcb, FlowKind::TimeWait);
        assert_eq!(bed.mark(), 0);
        bed.array.leave(alike(8), FlowKind::TimeWait);
        assert_eq!(bed.mark(), 0);
        bed.array.leave(alike(9), FlowKind::Tcb);
        assert_eq!(bed.mark(), 1);
    }

    #[test]
    fn full_region_loses_the_mark_and_gets_it_back() {
        let mut bed = bed(FEWEST_BUCKETS);
        bed.array.complete();
        let all = u64::from(FEWEST_BUCKETS) * WAYS as u64 * 2;
        (0..all).for_each(|n| bed.array.enter(mix(n), FlowKind::Tcb));
        assert_eq!(bed.mark(), 0);
        let found = (0..all).filter(|n| bed.found(mix(*n)).is_some()).count();
        assert!(found <= FEWEST_BUCKETS as usize * WAYS && found as u64 > all / 3, "{found}");
        (0..all).for_each(|n| bed.array.leave(mix(n), FlowKind::Tcb));
        assert_eq!(bed.mark(), 1);
        assert!(bed.is_empty());
    }

    #[test]
    fn region_of_the_size_that_is_advised_has_room_for_nearly_all() {
        let flows = 50_000;
        let mut bed = bed(buckets_for(flows));
        (0..flows as u64).for_each(|n| bed.array.enter(mix(n), FlowKind::Tcb));
        assert!(bed.array.missing <= flows as u64 / 50, "{}", bed.array.missing);
    }

    #[test]
    fn sweep_takes_out_what_is_no_flow_and_nothing_else() {
        let mut bed = bed(FEWEST_BUCKETS);
        (0..1_000).for_each(|n| bed.array.enter(mix(n), FlowKind::Tcb));
        let lives: BTreeMap<u64, u64> = (0..500).map(|n| (mix(2 * n), n)).collect();
        let step = NonZeroU32::new(100).unwrap();
        let steps = FEWEST_BUCKETS.div_ceil(100);
        let stale: usize =
            (0..steps).map(|_| bed.array.sweep(step, |hash| lives.contains_key(&hash))).sum();
        assert_eq!(stale, 500);
        assert!((0..1_000).all(|n| bed.found(mix(n)).is_some() == (n % 2 == 0)));
        // It goes round.
        assert_eq!(bed.array.sweep(NonZeroU32::MAX, |_| false), 500);
        assert!(bed.is_empty());
    }
}
