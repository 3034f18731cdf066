//! Sluice: a user-space TCP/IP stack fed by XDP.
//!
//! Data flows one way: rx ring, [`wire`], [`tables`], [`tcp`] input, [`tcp`] output, [`wire`], tx
//! ring. The pure rooms (everything but `datapath`, `control`, `api` and `observe`) read no clock,
//! draw no randomness and import only the rooms above them in this list.

pub mod counters;
pub mod service;
pub mod shard;
pub mod tables;
pub mod tcp;
pub mod time;
pub mod wheel;
pub mod wire;

#[cfg(feature = "xdp")]
pub mod control;
#[cfg(feature = "xdp")]
pub mod datapath;
pub mod observe;
#[cfg(feature = "packetdrill")]
pub mod packetdrill;
