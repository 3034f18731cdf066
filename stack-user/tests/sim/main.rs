//! Two shards on a virtual network in virtual time.
//!
//! The machinery stands in `seed` (randomness), `impairment` and `link` (what a path does to
//! frames), `node` (a shard and its configuration), `network` (the event loop), `peer` (the
//! services that talk) and `user` (connections in the hands of the scenario). The scenarios stand in the other files, by topic. A scenario with
//! randomness runs once per seed; `SLUICE_SEED=N` runs one, `SLUICE_SEEDS=N` that many,
//! `SLUICE_LONG=1` ten times as many as usual; `SLUICE_TRACE=1` prints every frame,
//! `SLUICE_STATS=1` what the random runs were like.
//!
//! The network is one of IPv4; `tests/sim6` is the same scenarios over IPv6.

mod close;
mod failure;
mod floods;
mod impairment;
mod keepalive;
mod linger;
mod link;
mod listen;
mod loss;
mod network;
mod node;
mod open;
mod path;
mod peer;
mod random;
mod recovery;
mod seed;
mod served;
mod timeout;
mod transfer;
mod urgent;
mod user;
mod window;

use node::Family;

/// What the nodes speak.
const FAMILY: Family = Family::V4;
