//! A shard's region: the words that it shares with readers in other threads and processes.
//!
//! A head of 64 words, the buckets of the flow table, the published records, each at a place that the
//! head names. Word by word, little end first in every process of the machine:
//!
//! | Word | Meaning |
//! |---|---|
//! | 0 | [`MAGIC`], written last |
//! | 1 | [`VERSION`] of this layout |
//! | 2, 3 | The boot id: random, another for each run |
//! | 4 | The process, then from bit 32 the shard, then from bit 48 how many shards there are |
//! | 5, 6 | The flow table's first word and its number of words |
//! | 7, 8 | The records' first word and their number |
//! | 9 | How many records have ever been used: a reader need not look beyond |
//! | 10 | When records were last written, in nanoseconds of the shard's clock |
//!
//! The rest of the head is zero.

use super::flow::{self, FlowReader, FlowTable};
use super::published::{self, RecordReader, Records};
use super::sync::{Ordering, fence};
use super::words::{LINE, Words};
use crate::time::Instant;

/// A shard's shared words.
#[derive(Clone)]
pub struct Region {
    words: Words,
}

/// Who writes a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// A random number of this run: two runs never have the same.
    pub boot: u128,
    /// The process.
    pub process: u32,
    /// The shard.
    pub shard: u16,
    /// How many shards the process has.
    pub shards: u16,
}

/// How many flows and connections a region has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Flows: connections, half-open entries and TIME-WAIT records.
    pub flows: usize,
    /// Connections, each of which has a record.
    pub connections: usize,
}

/// Why words are no region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionError {
    /// They do not begin as a region does, or nobody has made it yet.
    Magic,
    /// It is laid out in another way.
    Version(u64),
    /// The head names words that are not there.
    Size,
}

impl core::fmt::Display for RegionError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Magic => f.write_str("not the shared memory of a shard"),
            Self::Version(found) => write!(f, "version {found} of the layout, not {VERSION}"),
            Self::Size => f.write_str("the shared memory of a shard is cut short"),
        }
    }
}

impl core::error::Error for RegionError {}

impl Layout {
    /// How many words it takes.
    pub const fn words(self) -> usize {
        HEAD + flow::words_for(self.flows) + published::words_for(self.connections)
    }
}

impl Region {
    /// Makes a region of `layout` over words of zero.
    ///
    /// # Panics
    /// When there are fewer words than [`Layout::words`].
    pub fn create(words: Words, layout: Layout, identity: Identity) -> Self {
        let all = words.as_ref();
        assert!(all.len() >= layout.words(), "the words hold the layout");
        let flow_words = flow::words_for(layout.flows);
        let Identity { boot, process, shard, shards } = identity;
        let values = [
            VERSION,
            boot as u64,
            (boot >> 64) as u64,
            u64::from(process) | u64::from(shard) << 32 | u64::from(shards) << 48,
            HEAD as u64,
            flow_words as u64,
            (HEAD + flow_words) as u64,
            layout.connections as u64,
        ];
        for (word, value) in all[1..].iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
        all[0].store(MAGIC, Ordering::Release);
        Self { words }
    }

    /// A region of the heap, for a shard that nobody outside of its process looks at.
    pub fn on_heap(layout: Layout) -> Self {
        Self::create(Words::zeroed(layout.words()), layout, Identity::default())
    }

    /// A region that somebody made.
    ///
    /// # Errors
    /// [`RegionError`] when the words are no region of this version.
    pub fn open(words: Words) -> Result<Self, RegionError> {
        let region = Self { words };
        if region.words.as_ref().len() < HEAD || region.value(0) != MAGIC {
            return Err(RegionError::Magic);
        }
        fence(Ordering::Acquire);
        if region.value(1) != VERSION {
            return Err(RegionError::Version(region.value(1)));
        }
        let len = region.words.as_ref().len() as u64;
        let ends = |first: u64, count: u64, each: usize| {
            first.checked_add(count.checked_mul(each as u64)?).filter(|end| *end <= len)
        };
        let is_whole = ends(region.value(5), region.value(6), 1).is_some()
            && ends(region.value(7), region.value(8), LINE).is_some()
            && region.value(6) >= LINE as u64;
        if is_whole { Ok(region) } else { Err(RegionError::Size) }
    }

    /// Who writes it.
    pub fn identity(&self) -> Identity {
        let who = self.value(4);
        Identity {
            boot: u128::from(self.value(2)) | u128::from(self.value(3)) << 64,
            process: who as u32,
            shard: (who >> 32) as u16,
            shards: (who >> 48) as u16,
        }
    }

    /// The flow table, for its owner. Only one may be made.
    pub(crate) fn flow_table(&self) -> FlowTable {
        FlowTable::new(self.flow_words())
    }

    /// The published records, for their owner. Only one may be made.
    pub(crate) fn records(&self) -> Records {
        Records::new(self.record_words())
    }

    /// The flow table, for others.
    pub fn flow_reader(&self) -> FlowReader {
        FlowReader::new(self.flow_words())
    }

    /// The published records, for others.
    pub fn record_reader(&self) -> RecordReader {
        RecordReader::new(self.record_words())
    }

    /// How many records have ever been used.
    pub fn records_used(&self) -> u32 {
        self.value(RECORDS_USED) as u32
    }

    /// When records were last written, by the clock of the shard.
    pub fn written_at(&self) -> Instant {
        Instant::from_nanos(self.value(WRITTEN_AT))
    }

    /// Notes that the record at `index` is used.
    #[inline]
    pub(crate) fn note_record(&self, index: u32) {
        let used = &self.words.as_ref()[RECORDS_USED];
        if used.load(Ordering::Relaxed) <= u64::from(index) {
            used.store(u64::from(index) + 1, Ordering::Release);
        }
    }

    /// Notes that records were written.
    #[inline]
    pub(crate) fn note_written(&self, now: Instant) {
        self.words.as_ref()[WRITTEN_AT].store(now.as_nanos(), Ordering::Relaxed);
    }

    fn flow_words(&self) -> Words {
        self.words.part(self.value(5) as usize, self.value(6) as usize)
    }

    fn record_words(&self) -> Words {
        self.words.part(self.value(7) as usize, published::words_for(self.value(8) as usize))
    }

    fn value(&self, word: usize) -> u64 {
        self.words.as_ref()[word].load(Ordering::Relaxed)
    }
}

/// The first word of every region.
pub const MAGIC: u64 = u64::from_le_bytes(*b"sluice\0\x01");
/// The layout described here.
pub const VERSION: u64 = 1;
/// Words of the head.
const HEAD: usize = 64;
const RECORDS_USED: usize = 9;
const WRITTEN_AT: usize = 10;

#[cfg(test)]
mod tests;
