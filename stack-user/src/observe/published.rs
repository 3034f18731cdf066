//! What a worker publishes for other threads: its shard's counters and states, and the datapath's
//! own counters.
//!
//! One writer, any number of readers; each value is whole, the set of them is not a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::counters::Counter;
use crate::tcp::State;

/// What the datapath counts beside the shard's [`Counter`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum DatapathCounter {
    /// Frames that the kernel dropped because the receive ring was full.
    RxRingFull,
    /// Times that the kernel found the fill ring empty.
    FillRingEmpty,
    /// Frames that the kernel dropped for other reasons (too long for a frame, no memory).
    RxDropped,
    /// Descriptors that the kernel refused on the fill ring.
    RxInvalid,
    /// Descriptors that the kernel refused on the transmit ring.
    TxInvalid,
    /// Times that the worker slept.
    Sleeps,
    /// Turns that the worker made.
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
            Self::RxRingFull => "xsk_rx_ring_full",
            Self::FillRingEmpty => "xsk_fill_ring_empty",
            Self::RxDropped => "xsk_rx_dropped",
            Self::RxInvalid => "xsk_rx_invalid_descs",
            Self::TxInvalid => "xsk_tx_invalid_descs",
            Self::Sleeps => "worker_sleeps",
            Self::Turns => "worker_turns",
            Self::HandedOver => "frames_handed_over",
            Self::HandOverFull => "frames_hand_over_full",
            Self::RequestsDropped => "requests_dropped",
        }
    }

    /// What the counter counts, in one line.
    pub const fn help(self) -> &'static str {
        match self {
            Self::RxRingFull => "Frames that the kernel dropped because the receive ring was full.",
            Self::FillRingEmpty => "Times that the kernel found the fill ring empty.",
            Self::RxDropped => "Frames that the kernel dropped for other reasons.",
            Self::RxInvalid => "Descriptors that the kernel refused on the fill ring.",
            Self::TxInvalid => "Descriptors that the kernel refused on the transmit ring.",
            Self::Sleeps => "Times that a worker slept.",
            Self::Turns => "Turns that the workers made.",
            Self::HandedOver => "Frames handed to another shard.",
            Self::HandOverFull => "Frames dropped because the hand-over ring was full.",
            Self::RequestsDropped => "Requests to the control plane dropped: its queue was full.",
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
        let count = DATAPATH + DatapathCounter::ALL.len();
        Self { values: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Published {
    /// The published value of one of the shard's counters.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.values[counter as usize].load(Ordering::Relaxed)
    }

    /// How many connections, records or listeners are in `state`.
    pub fn state(&self, state: State) -> u64 {
        self.values[STATES + state as usize].load(Ordering::Relaxed)
    }

    /// The published value of one of the datapath's counters.
    pub fn datapath(&self, counter: DatapathCounter) -> u64 {
        self.values[DATAPATH + counter as usize].load(Ordering::Relaxed)
    }

    /// Publishes the shard's counters, writing only those that differ from `last`.
    pub fn put_counters(&self, now: &[u64], last: &mut [u64]) {
        // Most do not: they are compared eight at a time.
        let lines = self.values.chunks(LINE).zip(now.chunks(LINE)).zip(last.chunks_mut(LINE));
        for ((values, now), last) in lines.filter(|((_, now), last)| now != last) {
            for ((value, now), last) in values.iter().zip(now).zip(last) {
                if now != last {
                    value.store(*now, Ordering::Relaxed);
                    *last = *now;
                }
            }
        }
    }

    /// Publishes the counts of states, indexed as [`State::ALL`].
    pub fn put_states(&self, now: &[u32; State::ALL.len()]) {
        for (value, now) in self.values[STATES..].iter().zip(now) {
            value.store(u64::from(*now), Ordering::Relaxed);
        }
    }

    /// Publishes one of the datapath's counters.
    pub fn put(&self, counter: DatapathCounter, value: u64) {
        self.values[DATAPATH + counter as usize].store(value, Ordering::Relaxed);
    }

    /// Adds to one of the datapath's counters; the worker is the only writer.
    pub fn add(&self, counter: DatapathCounter, n: u64) {
        self.put(counter, self.datapath(counter).wrapping_add(n));
    }
}

/// Values that are compared at once.
const LINE: usize = 8;
/// Where the counts of states begin.
const STATES: usize = Counter::ALL.len();
/// Where the datapath's counters begin.
const DATAPATH: usize = STATES + State::ALL.len();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;

    #[test]
    fn published_values_read_back_as_put() {
        let published = Published::default();
        let mut counters = Counters::default();
        let mut last = counters.values().to_vec();
        counters.add(Counter::FramesIn, 3);
        published.put_counters(counters.values(), &mut last);
        published.add(DatapathCounter::Sleeps, 2);
        let mut states = [0; State::ALL.len()];
        states[State::TimeWait as usize] = 5;
        published.put_states(&states);
        assert_eq!(published.counter(Counter::FramesIn), 3);
        assert_eq!(published.counter(Counter::BytesIn), 0);
        assert_eq!(published.datapath(DatapathCounter::Sleeps), 2);
        assert_eq!(published.datapath(DatapathCounter::RxRingFull), 0);
        assert_eq!(published.state(State::TimeWait), 5);
        assert_eq!(last, counters.values());
    }

    #[test]
    fn datapath_counters_lie_at_their_own_index() {
        for (index, counter) in DatapathCounter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }
}
