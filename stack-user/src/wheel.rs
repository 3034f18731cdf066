//! The hierarchical timer wheel.
#![forbid(unsafe_code)]
