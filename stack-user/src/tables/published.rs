//! Published records: what other threads and processes see of each connection.
//!
//! A record is one cache line of eight words. Word 0 holds the sequence count, odd while the owner
//! writes, and the state; the tuple and the figures follow. The record of the connection at place
//! `n` of its slab is the `n`-th, so a reader finds all by walking. Who needs more than what stands
//! here asks the shard.

use super::counted;
use super::sync::{AtomicU64, spin_loop};
use super::words::{LINE, Words};
use crate::tcp::{State, Summary};
use crate::wire::{Addr, FourTuple};

/// One connection, as it was when it was last published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The connection's name.
    pub tuple: FourTuple,
    /// The index of its service.
    pub service: u16,
    /// Its state and figures.
    pub summary: Summary,
}

/// The words for `count` records.
pub const fn words_for(count: usize) -> usize {
    LINE * count
}

/// All records of a shard, as their owner sees them. Only one may be made over the same words.
pub struct Records {
    words: Words,
}

impl Records {
    /// Records over `words`, none of them taken where those are zero.
    pub const fn new(words: Words) -> Self {
        Self { words }
    }

    /// Publishes the record at `index`; nothing where there is none.
    #[inline]
    pub fn put(&mut self, index: u32, record: &Record) {
        self.write(index, encode(record));
    }

    /// Marks the record at `index` as free.
    #[inline]
    pub fn clear(&mut self, index: u32) {
        self.write(index, [0; LINE]);
    }

    /// A view for others.
    pub fn reader(&self) -> RecordReader {
        RecordReader { words: self.words.clone() }
    }

    #[inline]
    fn write(&self, index: u32, record: [u64; LINE]) {
        if let Some(words) = line(self.words.as_ref(), index) {
            counted::write(words, &record);
        }
    }
}

/// The records of a shard for other threads and processes than their owner's.
#[derive(Clone)]
pub struct RecordReader {
    words: Words,
}

/// What a reader found at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// No connection.
    Free,
    /// A connection.
    Found(Record),
    /// The owner wrote at every look, or died while it did.
    Torn,
}

impl RecordReader {
    /// A view of the records over these words.
    pub const fn new(words: Words) -> Self {
        Self { words }
    }

    /// How many places there are.
    pub fn places(&self) -> u32 {
        (self.words.as_ref().len() / LINE) as u32
    }

    /// What stands at `index`.
    pub fn get(&self, index: u32) -> Look {
        let Some(words) = line(self.words.as_ref(), index) else { return Look::Free };
        for _ in 0..ATTEMPTS {
            if let Some(record) = counted::read(words) {
                return decode(&record).map_or(Look::Free, Look::Found);
            }
            spin_loop();
        }
        Look::Torn
    }

    /// Every connection among the first `places`, with its place; those that are torn are left out.
    pub fn iter(&self, places: u32) -> impl Iterator<Item = (u32, Record)> + '_ {
        (0..places.min(self.places())).filter_map(|index| match self.get(index) {
            Look::Found(record) => Some((index, record)),
            Look::Free | Look::Torn => None,
        })
    }
}

/// The words of one record.
#[inline]
fn line(words: &[AtomicU64], index: u32) -> Option<&[AtomicU64; LINE]> {
    words.as_chunks().0.get(index as usize)
}

/// The words of a record; the count's 32 bits are zero.
fn encode(record: &Record) -> [u64; LINE] {
    let Record { tuple, service, summary } = record;
    let half = |addr: &Addr, at: usize| u64::from_le_bytes(addr.0.as_chunks().0[at]);
    // State 0 is none: a free place.
    let state = summary.state as u64 + 1;
    [
        state << 32 | u64::from(*service) << 48,
        half(&tuple.local, 0),
        half(&tuple.local, 1),
        half(&tuple.remote, 0),
        half(&tuple.remote, 1),
        u64::from(tuple.local_port)
            | u64::from(tuple.remote_port) << 16
            | u64::from(summary.retransmits) << 32,
        u64::from(summary.unread) | u64::from(summary.queued) << 32,
        u64::from(summary.cwnd) | u64::from(summary.srtt) << 32,
    ]
}

fn decode(words: &[u64; LINE]) -> Option<Record> {
    let state = usize::from((words[0] >> 32) as u8).checked_sub(1)?;
    let addr = |at: usize| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&words[at].to_le_bytes());
        bytes[8..].copy_from_slice(&words[at + 1].to_le_bytes());
        Addr(bytes)
    };
    Some(Record {
        tuple: FourTuple {
            local: addr(1),
            remote: addr(3),
            local_port: words[5] as u16,
            remote_port: (words[5] >> 16) as u16,
        },
        service: (words[0] >> 48) as u16,
        summary: Summary {
            state: *State::ALL.get(state)?,
            unread: words[6] as u32,
            queued: (words[6] >> 32) as u32,
            cwnd: words[7] as u32,
            srtt: (words[7] >> 32) as u32,
            retransmits: (words[5] >> 32) as u32,
        },
    })
}

/// Looks before a reader gives up.
const ATTEMPTS: usize = 128;

#[cfg(all(test, not(loom)))]
mod tests;
