//! What the status page shows, as plain data; the source is injected.

use crate::time::Duration;
use crate::wire::Addr;

/// A source of [`Snapshot`]s. It is asked on the worker and must not block.
pub trait Status: Send + Sync {
    /// The present state of the whole process.
    fn snapshot(&self) -> Snapshot;
}

/// The state of the process at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Time since the start.
    pub uptime: Duration,
    /// The interface's name.
    pub interface: String,
    /// The addresses that are served.
    pub addresses: Vec<Addr>,
    /// The listening ports with their services' names.
    pub listeners: Vec<(u16, String)>,
    /// How the program is attached and the sockets are bound, such as `native,copy`.
    pub mode: String,
    /// Queues of the interface, each with a worker.
    pub queues: usize,
    /// Connections and records by state.
    pub states: Vec<(&'static str, u64)>,
    /// The shards' counters, summed.
    pub counters: Vec<CounterValue>,
    /// Counters of the XDP program.
    pub program: Vec<(String, u64)>,
    /// How much the counters grew per second lately, by name.
    pub rates: Vec<(&'static str, f64)>,
}

/// One counter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterValue {
    /// Its name in `snake_case`.
    pub name: &'static str,
    /// What it counts, in one line.
    pub help: &'static str,
    /// How often that happened.
    pub value: u64,
}

impl Snapshot {
    /// The growth per second of the counter `name`; 0 when it is not known.
    pub fn rate(&self, name: &str) -> f64 {
        self.rates.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, rate)| *rate)
    }
}
