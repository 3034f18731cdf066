//! The contract between the XDP program and user space: map names, keys and values, the decision that
//! the program takes for each frame, and what both compute of a connection: SYN cookies, offsets.
//!
//! Owns every type that crosses the border. Knows neither aya nor the host's libraries: the program
//! gives [`steer::classify`] its packet and its maps, a test gives it a slice and a table.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate self as stack_ebpf;
#[cfg(test)]
extern crate std;

pub mod contract;
pub mod cookie;
pub mod flow;
pub mod flows;
pub mod frame;
pub mod front;
pub mod generate;
pub mod hints;
pub mod impair;
pub mod siphash;
pub mod steer;
pub mod verdict;

pub use contract::{Address, Config, ListenerKey};
pub use verdict::{Action, Verdict};
