//! What a worker publishes for other threads: the shard's counters and the datapath's own.
//!
//! One writer, any number of readers; each value is whole, the set of them is not a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::counters::Counter;

/// What the datapath counts beside the shard's [`Counter`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum DatapathCounter {
    /// Frames that the kernel dropped because the receive ring was full.
    RxRingFull,
    /// Frames that the kernel dropped because the fill ring was empty.
    FillRingEmpty,
    /// Frames that the kernel dropped for other reasons (too long for a frame, no memory).
    RxDropped,
    /// Descriptors that the kernel refused on the fill ring.
    RxInvalid,
    /// Descriptors that the kernel refused on the transmit ring.
    TxInvalid,
    /// Times that the worker slept.
    Sleeps,
    /// Turns that a worker made.
    Turns,
    /// Frames handed to another shard.
    HandedOver,
    /// Frames dropped because the hand-over ring was full.
    HandOverFull,
    /// Requests to the control plane dropped because its queue was full.
    RequestsDropped,
}

impl DatapathCounter {
    /// Every counter, in the order of its index.
    pub const ALL: &'static [Self] = &[
        Self::RxRingFull,
        Self::FillRingEmpty,
        Self::RxDropped,
        Self::RxInvalid,
        Self::TxInvalid,
        Self::Sleeps,
        Self::Turns,
        Self::HandedOver,
        Self::HandOverFull,
        Self::RequestsDropped,
    ];

    /// The counter's name in `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RxRingFull => "rx_ring_full",
            Self::FillRingEmpty => "fill_ring_empty",
            Self::RxDropped => "rx_dropped",
            Self::RxInvalid => "rx_invalid",
            Self::TxInvalid => "tx_invalid",
            Self::Sleeps => "worker_sleeps",
            Self::Turns => "worker_turns",
            Self::HandedOver => "frames_handed_over",
            Self::HandOverFull => "frames_hand_over_full",
            Self::RequestsDropped => "requests_dropped",
        }
    }
}

/// One worker's published values; clones share them.
#[derive(Clone, Debug)]
pub struct Published {
    values: Arc<[AtomicU64]>,
}

impl Default for Published {
    fn default() -> Self {
        let count = Counter::ALL.len() + DatapathCounter::ALL.len();
        Self { values: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Published {
    /// The values themselves: those of [`Counter::ALL`], then those of [`DatapathCounter::ALL`].
    pub fn values(&self) -> &Arc<[AtomicU64]> {
        &self.values
    }

    /// The published value of one of the shard's counters.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Ordering::Relaxed)
    }

    /// The published value of one of the datapath's counters.
    pub fn datapath(&self, counter: DatapathCounter) -> u64 {
        self.values[Counter::ALL.len() + counter as usize].load(Ordering::Relaxed)
    }

    /// Publishes the shard's counters, writing only those that changed.
    pub(super) fn put_counters(&self, now: &[u64], last: &mut [u64]) {
        for ((value, now), last) in self.values.iter().zip(now).zip(last) {
            if now != last {
                value.store(*now, Ordering::Relaxed);
                *last = *now;
            }
        }
    }

    /// Publishes one of the datapath's counters.
    pub(super) fn put(&self, counter: DatapathCounter, value: u64) {
        self.values[Counter::ALL.len() + counter as usize].store(value, Ordering::Relaxed);
    }

    /// Adds to one of the datapath's counters; the worker is the only writer.
    pub(super) fn add(&self, counter: DatapathCounter, n: u64) {
        self.put(counter, self.datapath(counter).wrapping_add(n));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;

    #[test]
    fn published_counters_read_back_as_put() {
        let published = Published::default();
        let mut counters = Counters::default();
        let mut last = counters.values().to_vec();
        counters.add(Counter::FramesIn, 3);
        published.put_counters(counters.values(), &mut last);
        published.add(DatapathCounter::Sleeps, 2);
        assert_eq!(published.counter(Counter::FramesIn), 3);
        assert_eq!(published.counter(Counter::BytesIn), 0);
        assert_eq!(published.datapath(DatapathCounter::Sleeps), 2);
        assert_eq!(last, counters.values());
    }

    #[test]
    fn datapath_counters_lie_at_their_own_index() {
        for (index, counter) in DatapathCounter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }
}
