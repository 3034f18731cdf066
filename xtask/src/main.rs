//! `cargo xtask`: build, run and test Sluice.
fn main() {}
