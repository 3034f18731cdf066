//! The state of the whole process, summed over its shards: what the status page shows.

use std::sync::{Mutex, PoisonError};

use super::{DatapathCounter, Published};
use crate::counters::Counter;
use crate::service::http::{CounterValue, Snapshot, Status};
use crate::tcp::State;
use crate::time::{Duration, Instant};
use crate::wire::Addr;

/// What does not change while the process runs.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The interface's name.
    pub interface: String,
    /// The addresses that are served.
    pub addresses: Vec<Addr>,
    /// The listening ports with their services' names.
    pub listeners: Vec<(u16, String)>,
    /// How the program is attached and the sockets are bound, such as `native,copy`.
    pub mode: String,
}

/// Reads a clock whose origin is the start of the process.
pub type ReadClock = Box<dyn Fn() -> Instant + Send + Sync>;
/// Reads the XDP program's counters, by name.
pub type ReadProgram = Box<dyn Fn() -> Vec<(String, u64)> + Send + Sync>;

/// The source of the status page.
pub struct Board {
    facts: Facts,
    shards: Vec<Published>,
    clock: ReadClock,
    program: ReadProgram,
    samples: Mutex<Samples>,
}

/// The counters at two times, at least [`INTERVAL`] apart: rates are measured from the older.
struct Samples {
    older: (Instant, Vec<u64>),
    newer: (Instant, Vec<u64>),
}

impl Board {
    /// A board over what the workers publish.
    pub fn new(
        facts: Facts,
        shards: Vec<Published>,
        clock: ReadClock,
        program: ReadProgram,
    ) -> Self {
        let zero = (clock(), vec![0; Counter::ALL.len()]);
        let samples = Mutex::new(Samples { older: zero.clone(), newer: zero });
        Self { facts, shards, clock, program, samples }
    }

    fn sum(&self, value: impl Fn(&Published) -> u64) -> u64 {
        self.shards.iter().map(value).sum()
    }

    fn rates(&self, values: &[u64], now: Instant) -> Vec<(&'static str, f64)> {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(samples.newer.0) >= INTERVAL {
            samples.older = core::mem::replace(&mut samples.newer, (now, values.to_vec()));
        }
        let (since, base) = &samples.older;
        let seconds = now.since(*since).as_secs_f64().max(f64::MIN_POSITIVE);
        let growth = values.iter().zip(base).map(|(now, then)| now.saturating_sub(*then));
        let per_second = growth.map(|grown| if grown == 0 { 0.0 } else { grown as f64 / seconds });
        Counter::ALL.iter().map(|counter| counter.name()).zip(per_second).collect()
    }
}

impl Status for Board {
    fn snapshot(&self) -> Snapshot {
        let now = (self.clock)();
        let values: Vec<u64> =
            Counter::ALL.iter().map(|c| self.sum(|shard| shard.counter(*c))).collect();
        let shard_counters = Counter::ALL.iter().zip(&values).map(|(c, value)| CounterValue {
            name: c.name(),
            help: c.help(),
            value: *value,
        });
        let datapath_counters = DatapathCounter::ALL.iter().map(|c| {
            let value = self.sum(|shard| shard.datapath(*c));
            CounterValue { name: c.name(), help: c.help(), value }
        });
        Snapshot {
            uptime: now.since(Instant::ZERO),
            interface: self.facts.interface.clone(),
            addresses: self.facts.addresses.clone(),
            listeners: self.facts.listeners.clone(),
            mode: self.facts.mode.clone(),
            queues: self.shards.len(),
            states: State::ALL
                .iter()
                .map(|state| (state.name(), self.sum(|shard| shard.state(*state))))
                .collect(),
            counters: shard_counters.chain(datapath_counters).collect(),
            program: (self.program)(),
            rates: self.rates(&values, now),
        }
    }
}

/// The least time over which a rate is measured.
const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn snapshot_sums_the_shards_and_measures_rates_over_the_last_seconds() {
        let time = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&time);
        let clock = Box::new(move || Instant::from_millis(read.load(Ordering::Relaxed)));
        let shards = vec![Published::default(), Published::default()];
        let board =
            Board::new(Facts::default(), shards.clone(), clock, Box::new(|| vec![("x".into(), 1)]));
        let put = |shard: &Published, frames: u64| {
            let mut values = vec![0; Counter::ALL.len()];
            values[Counter::FramesIn as usize] = frames;
            shard.put_counters(&values, &mut vec![u64::MAX; Counter::ALL.len()]);
        };
        put(&shards[0], 100);
        put(&shards[1], 20);
        time.store(2000, Ordering::Relaxed);
        let first = board.snapshot();
        assert_eq!(first.counters[Counter::FramesIn as usize].value, 120);
        assert_eq!(first.rate("frames_in"), 60.0);
        put(&shards[1], 1020);
        time.store(4000, Ordering::Relaxed);
        assert_eq!(board.snapshot().rate("frames_in"), 500.0);
        assert_eq!(board.snapshot().uptime, Duration::from_secs(4));
    }
}
