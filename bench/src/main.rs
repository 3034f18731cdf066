//! Measurements of Sluice beside its peers.
fn main() {}
