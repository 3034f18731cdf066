//! Measurements of Sluice beside its peers.
//!
//! Every figure is a [`row::Row`]: what was done, by whom, beside whom, and where. Rows are printed by
//! [`printer`], and two files of them are compared by [`compare`].

mod busy;
pub mod clock;
pub mod compare;
mod cpus;
pub mod generator;
pub mod load;
pub mod machine;
pub mod micro;
mod object;
mod poller;
pub mod printer;
pub mod report;
pub mod rng;
pub mod row;
pub mod serve;
pub mod smol;
pub mod spin;
pub mod spread;
pub mod system;
mod tools;
mod topology;
mod verdict;
