//! Tables of the shard: flows, listeners, ports, neighbours.
#![forbid(unsafe_code)]

pub mod flow;
pub mod slab;
mod sync;
