//! `sluice` against the real kernel: namespaces joined by a veth pair, one pair for each test.
//!
//! Needs root, so every test is ignored by plain `cargo test` and run by `cargo xtask test`.
//! `topology`, `process`, `server` and `packets` are the harness; the other files hold the tests by
//! topic. A test that cannot run on this machine says so with [`skip`] and returns. Both ends have
//! addresses of both families; here they talk IPv4, and IPv6 in `tests/netns6`, which runs the same
//! tests.

// All of it is tests, also what stands outside of test functions.
#![allow(clippy::unwrap_used)]

/// Writes a line for information; shown also when the test passes.
macro_rules! note {
    ($($part:tt)*) => { $crate::write_note(&format!($($part)*)) };
}
use note;

mod blocks;
mod capture;
mod closing;
mod cookies;
mod family;
mod guard;
mod harness;
mod hosts;
mod impair;
mod impaired;
mod junk;
mod kernel;
mod life;
mod liveness;
mod modes;
mod netlink;
mod old;
mod opening;
mod packets;
mod ports;
mod process;
mod queues;
mod refusal;
mod routes;
mod scale;
mod scans;
mod segment;
mod server;
mod steering;
mod topology;
mod transfer;
mod watch;

use std::io::Write;

/// Whether the tests run in their full sizes (`cargo xtask test --long`).
fn is_long() -> bool {
    std::env::var_os("SLUICE_LONG").is_some()
}

/// The harness keeps what a test prints, but not what goes straight to standard error.
fn write_note(line: &str) {
    // Nobody may be reading.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Notes that a test did not run, and why; `cargo xtask test` counts these lines as skipped.
fn skip(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
    let Some(path) = std::env::var_os("SLUICE_SKIPS") else { return };
    let file = std::fs::File::options().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(format!("{test}: {reason}\n").as_bytes()))
        .expect("the file for skipped tests can be written");
}
