//! Tables of the shard: flows, listeners, ports, neighbours.
#![forbid(unsafe_code)]
