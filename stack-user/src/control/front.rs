//! The arrays by which user space and the XDP program command the front line: mapped, so that a shard
//! writes its part without a system call.
//!
//! Owns the mapping and what holds for all shards, with the keys of cookies and their renewal. What a
//! shard writes is the shard's business; layouts are stack-ebpf's.

use std::io;
use std::os::fd::AsFd;

use aya::Ebpf;
use aya::maps::{self, Map, MapData};
use stack_ebpf::contract;
use stack_ebpf::cookie::{Keys, Period};
use stack_ebpf::flows::{FEWEST_BUCKETS, SUMMARY_WORDS, WAYS};
use stack_ebpf::front::{Door, Front, Gate};
use stack_ebpf::siphash::Key;
use zerocopy::transmute;

use super::maps::MapError;
use super::sys;
use crate::shard::{FrontWords, Secrets};
use crate::tables::words::Words;
use crate::time::Instant;

/// How large the arrays are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontSize {
    /// Shards, one for each receive queue.
    pub shards: u16,
    /// The most listeners of a shard whose gates can be closed.
    pub doors: u32,
    /// Buckets of each shard's region of flows: a power of two.
    pub buckets: u32,
    /// The most sources whose SYNs are counted.
    pub sources: u32,
}

impl Default for FrontSize {
    fn default() -> Self {
        Self { shards: 1, doors: 1, buckets: FEWEST_BUCKETS, sources: 1 }
    }
}

impl FrontSize {
    /// The entries of each array, by its name.
    pub(super) fn entries(&self) -> [(&'static str, u32); 5] {
        let shards = u32::from(self.shards);
        [
            (contract::GATES, shards),
            (contract::DOORS, shards * self.doors),
            (contract::FLOWS, shards.saturating_mul(self.buckets)),
            (contract::SUMMARY, shards * SUMMARY_WORDS),
            (contract::SOURCES, self.sources),
        ]
    }
}

/// The arrays of one loaded program.
pub struct FrontMaps {
    size: FrontSize,
    front: Words,
    gates: Words,
    doors: Words,
    flows: Words,
    summary: Words,
    /// The period that the keys are for, and their secret.
    keys: (Option<Period>, Key),
    /// [`Front::nonce`].
    nonce: u64,
    /// The mappings hold the maps too; these are for whoever looks at the descriptors.
    _maps: [MapData; 5],
}

impl FrontMaps {
    pub(super) fn take(ebpf: &mut Ebpf, size: FrontSize) -> Result<Self, MapError> {
        let shards = usize::from(size.shards);
        let (front, front_map) = map(ebpf, contract::FRONT, FRONT_WORDS)?;
        let (gates, gates_map) = map(ebpf, contract::GATES, shards * Gate::WORDS)?;
        let doors = shards * size.doors as usize * Door::WORDS;
        let (doors, doors_map) = map(ebpf, contract::DOORS, doors)?;
        let flows = shards * size.buckets as usize * WAYS;
        let (flows, flows_map) = map(ebpf, contract::FLOWS, flows)?;
        let summary = shards * SUMMARY_WORDS as usize;
        let (summary, summary_map) = map(ebpf, contract::SUMMARY, summary)?;
        let _maps = [front_map, gates_map, doors_map, flows_map, summary_map];
        Ok(Self {
            size,
            front,
            gates,
            doors,
            flows,
            summary,
            keys: (None, Key::new([0; 16])),
            nonce: 0,
            _maps,
        })
    }

    /// A shard's part, after [`FrontMaps::set`].
    pub fn words(&self, shard: u16) -> FrontWords {
        let part = |words: &Words, each: usize| words.part(usize::from(shard) * each, each);
        FrontWords {
            gate: part(&self.gates, Gate::WORDS),
            doors: part(&self.doors, self.size.doors as usize * Door::WORDS),
            flows: part(&self.flows, self.size.buckets as usize * WAYS),
            summary: part(&self.summary, SUMMARY_WORDS as usize),
            nonce: self.nonce,
        }
    }

    /// Sets what holds for all shards, before a gate is closed: sizes and keys follow from what is known
    /// here.
    pub fn set(&mut self, front: &Front, secrets: &Secrets, now: Instant) {
        let secret = Key::new(secrets.isn);
        let period = Period::at(now.as_nanos());
        self.put(&Front {
            keys: Keys::at(secret, period),
            flow: Key::new(secrets.flow),
            buckets: self.size.buckets,
            shards: u32::from(self.size.shards),
            doors: self.size.doors,
            zero: 0,
            ..*front
        });
        self.keys = (Some(period), secret);
        self.nonce = front.nonce;
    }

    /// Sets every door of every shard to this one.
    pub fn put_doors(&self, door: &Door) {
        let words: [u64; Door::WORDS] = transmute!(*door);
        let doors = usize::from(self.size.shards) * self.size.doors as usize;
        for at in 0..doors {
            store(&self.doors.part(at * Door::WORDS, Door::WORDS), &words);
        }
    }

    /// Renews the keys of cookies: once a period is often enough, and once in an hour is just enough, for
    /// those of the next epoch are there from the second period of this one on.
    pub fn renew_keys(&mut self, now: Instant) {
        let period = Period::at(now.as_nanos());
        let (Some(last), secret) = self.keys else { return };
        if last != period {
            self.keys.0 = Some(period);
            let words: [u64; KEY_WORDS] = transmute!(Keys::at(secret, period));
            store(&self.front, &words);
        }
    }

    /// Sets everything that holds for all shards, as it is.
    pub fn put(&self, front: &Front) {
        let words: [u64; FRONT_WORDS] = transmute!(*front);
        store(&self.front, &words);
    }
}

/// Writes words where they differ: a key that is in use is never half of another.
fn store(to: &Words, words: &[u64]) {
    use std::sync::atomic::Ordering;
    for (place, word) in to.as_ref().iter().zip(words) {
        if place.load(Ordering::Relaxed) != *word {
            place.store(*word, Ordering::Relaxed);
        }
    }
}

fn map(ebpf: &mut Ebpf, name: &'static str, words: usize) -> Result<(Words, MapData), MapError> {
    let data = match ebpf.take_map(name) {
        Some(Map::Array(data)) => data,
        Some(_) => return Err(MapError::new(name, maps::MapError::InvalidMapType { map_type: 0 })),
        None => return Err(MapError::new(name, maps::MapError::ElementNotFound)),
    };
    let mapped = sys::map_array(data.fd().as_fd(), words)
        .map_err(|source: io::Error| MapError::new(name, maps::MapError::IoError(source)))?;
    Ok((mapped, data))
}

const FRONT_WORDS: usize = size_of::<Front>() / 8;
const KEY_WORDS: usize = size_of::<Keys>() / 8;
