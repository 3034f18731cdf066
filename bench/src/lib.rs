//! Measurements of Sluice beside its peers.
//!
//! Every figure is a [`row::Row`]: what was done, by whom, beside whom, and where. Rows are printed by
//! [`printer`], and two files of them are compared by [`compare`].

pub mod clock;
pub mod compare;
pub mod machine;
pub mod micro;
pub mod printer;
pub mod rng;
pub mod row;
pub mod spread;
