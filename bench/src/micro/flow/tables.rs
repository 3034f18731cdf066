//! Tables from tuple to record: ours, and its peers.
//!
//! Ours and hashbrown's `HashTable` hold an index and compare the name in the record; the maps hold
//! the name themselves, as their users would have it.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::hint::black_box;

use sluice::tables::flow::{FlowHasher, FlowKind, FlowRef, FlowTable, words_for};
use sluice::tables::words::Words;
use sluice::wire::FourTuple;

use super::BATCH;

/// From tuple to the index of its record.
pub trait Table {
    /// What rows call it.
    const NAME: &'static str;

    fn with_room_for(entries: usize) -> Self;

    /// Puts in what is not there; indices come in their order.
    fn insert(&mut self, tuple: FourTuple, index: u32);

    fn find(&self, tuple: &FourTuple) -> Option<u32>;

    /// As `find`, for many at once.
    #[inline]
    fn find_batch(&self, tuples: &[FourTuple; BATCH]) -> [Option<u32>; BATCH] {
        let mut found = [None; BATCH];
        for (found, tuple) in found.iter_mut().zip(tuples) {
            *found = self.find(tuple);
        }
        found
    }
}

/// Sluice's flow table.
pub struct Ours {
    hasher: FlowHasher,
    table: FlowTable,
    names: Vec<FourTuple>,
}

impl Ours {
    #[inline]
    fn find_hashed(&self, hash: u64, tuple: &FourTuple) -> Option<u32> {
        let is = |flow: FlowRef| self.names[flow.index() as usize] == *tuple;
        self.table.find(hash, is).map(FlowRef::index)
    }
}

impl Table for Ours {
    const NAME: &'static str = super::OURS;

    fn with_room_for(entries: usize) -> Self {
        let table = FlowTable::new(Words::zeroed(words_for(entries)));
        Self { hasher: FlowHasher::new(KEY), table, names: Vec::with_capacity(entries) }
    }

    fn insert(&mut self, tuple: FourTuple, index: u32) {
        let flow = FlowRef::new(FlowKind::Tcb, index);
        self.names.push(tuple);
        self.table.insert(self.hasher.hash(&tuple), flow).expect("the table was made for as many");
    }

    #[inline]
    fn find(&self, tuple: &FourTuple) -> Option<u32> {
        self.find_hashed(self.hasher.hash(tuple), tuple)
    }

    /// As the shard does it: all are hashed, then all buckets loaded, then what is likely found, then
    /// those records loaded, and only then names compared.
    #[inline]
    fn find_batch(&self, tuples: &[FourTuple; BATCH]) -> [Option<u32>; BATCH] {
        let hashes = tuples.each_ref().map(|tuple| self.hasher.hash(tuple));
        hashes.iter().for_each(|hash| self.table.touch(*hash));
        let likely = hashes.map(|hash| self.table.likely(hash));
        for flow in likely.iter().flatten() {
            black_box(self.names[flow.index() as usize].local_port);
        }
        let mut found = [None; BATCH];
        for ((found, flow), (hash, tuple)) in
            found.iter_mut().zip(likely).zip(hashes.iter().zip(tuples))
        {
            let is = |flow: &FlowRef| self.names[flow.index() as usize] == *tuple;
            *found = match flow.filter(is) {
                Some(flow) => Some(flow.index()),
                None => self.find_hashed(*hash, tuple),
            };
        }
        found
    }
}

/// hashbrown's `HashTable` of indices, names in the records.
pub struct Brown {
    hasher: FlowHasher,
    table: hashbrown::HashTable<u32>,
    names: Vec<FourTuple>,
}

impl Brown {
    #[inline]
    fn find_hashed(&self, hash: u64, tuple: &FourTuple) -> Option<u32> {
        self.table.find(hash, |index| self.names[*index as usize] == *tuple).copied()
    }
}

impl Table for Brown {
    const NAME: &'static str = "hashbrown";

    fn with_room_for(entries: usize) -> Self {
        let table = hashbrown::HashTable::with_capacity(entries);
        Self { hasher: FlowHasher::new(KEY), table, names: Vec::with_capacity(entries) }
    }

    fn insert(&mut self, tuple: FourTuple, index: u32) {
        self.names.push(tuple);
        let (hasher, names) = (&self.hasher, &self.names);
        let rehash = |index: &u32| hasher.hash(&names[*index as usize]);
        self.table.insert_unique(hasher.hash(&tuple), index, rehash);
    }

    #[inline]
    fn find(&self, tuple: &FourTuple) -> Option<u32> {
        self.find_hashed(self.hasher.hash(tuple), tuple)
    }

    /// All hashes first, so that the look-ups behind them overlap as far as the processor can.
    #[inline]
    fn find_batch(&self, tuples: &[FourTuple; BATCH]) -> [Option<u32>; BATCH] {
        let mut hashes = [0; BATCH];
        for (hash, tuple) in hashes.iter_mut().zip(tuples) {
            *hash = self.hasher.hash(tuple);
        }
        let hashes = black_box(hashes);
        let mut found = [None; BATCH];
        for ((found, hash), tuple) in found.iter_mut().zip(hashes).zip(tuples) {
            *found = self.find_hashed(hash, tuple);
        }
        found
    }
}

/// hashbrown's `HashMap`, names in the map.
pub struct BrownMap(hashbrown::HashMap<Name, u32, Keyed>);

impl Table for BrownMap {
    const NAME: &'static str = "hashbrown map";

    fn with_room_for(entries: usize) -> Self {
        Self(hashbrown::HashMap::with_capacity_and_hasher(entries, Keyed::default()))
    }

    fn insert(&mut self, tuple: FourTuple, index: u32) {
        self.0.insert(Name(tuple), index);
    }

    #[inline]
    fn find(&self, tuple: &FourTuple) -> Option<u32> {
        self.0.get(&Name(*tuple)).copied()
    }
}

/// papaya's map, which other threads may read and write.
pub struct Papaya(papaya::HashMap<Name, u32, Keyed>);

impl Table for Papaya {
    const NAME: &'static str = "papaya";

    fn with_room_for(entries: usize) -> Self {
        Self(papaya::HashMap::with_capacity_and_hasher(entries, Keyed::default()))
    }

    fn insert(&mut self, tuple: FourTuple, index: u32) {
        self.0.pin().insert(Name(tuple), index);
    }

    #[inline]
    fn find(&self, tuple: &FourTuple) -> Option<u32> {
        self.0.pin().get(&Name(*tuple)).copied()
    }

    /// One guard for all.
    #[inline]
    fn find_batch(&self, tuples: &[FourTuple; BATCH]) -> [Option<u32>; BATCH] {
        let map = self.0.pin();
        let mut found = [None; BATCH];
        for (found, tuple) in found.iter_mut().zip(tuples) {
            *found = map.get(&Name(*tuple)).copied();
        }
        found
    }
}

/// scc's map, which other threads may read and write.
pub struct Scc(scc::HashMap<Name, u32, Keyed>);

impl Table for Scc {
    const NAME: &'static str = "scc";

    fn with_room_for(entries: usize) -> Self {
        Self(scc::HashMap::with_capacity_and_hasher(entries, Keyed::default()))
    }

    fn insert(&mut self, tuple: FourTuple, index: u32) {
        let inserted = self.0.insert_sync(Name(tuple), index);
        debug_assert!(inserted.is_ok(), "no tuple comes twice");
    }

    #[inline]
    fn find(&self, tuple: &FourTuple) -> Option<u32> {
        self.0.read_sync(&Name(*tuple), |_, index| *index)
    }
}

/// A tuple that is hashed by [`FlowHasher`] itself.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name(FourTuple);

impl Hash for Name {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(FlowHasher::new(KEY).hash(&self.0));
    }
}

/// Hands the hash of a [`Name`] on as it is.
#[derive(Clone, Default)]
struct Handed(u64);

impl Hasher for Handed {
    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a name writes one word")
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

type Keyed = BuildHasherDefault<Handed>;

const KEY: [u8; 16] = [7; 16];

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;
    use crate::micro::flow::tuple;

    #[test]
    fn every_table_has_the_same_hash() {
        let ours = FlowHasher::new(KEY).hash(&tuple(5));
        assert_eq!(Keyed::default().hash_one(Name(tuple(5))), ours);
        assert_ne!(Keyed::default().hash_one(Name(tuple(6))), ours);
    }
}
