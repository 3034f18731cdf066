//! Tables of the shard: flows, listeners, ports, neighbours, TIME-WAIT records, and the interface's
//! table of queues.
#![forbid(unsafe_code)]

mod counted;
pub mod flow;
pub mod listeners;
pub mod neighbours;
pub mod ports;
pub mod published;
pub mod region;
pub mod rss;
pub mod slab;
mod steady;
mod sync;
pub mod time_waits;
pub mod words;
