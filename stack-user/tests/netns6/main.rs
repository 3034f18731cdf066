//! The tests of `tests/netns` over IPv6, but for those of the harness, of refusals and of routes.

// All of it is tests, also what stands outside of test functions.
#![allow(clippy::unwrap_used)]

/// Writes a line for information; shown also when the test passes.
macro_rules! note {
    ($($part:tt)*) => { $crate::write_note(&format!($($part)*)) };
}
use note;

#[path = "../netns/blocks.rs"]
mod blocks;
#[path = "../netns/capture.rs"]
mod capture;
#[path = "../netns/closing.rs"]
mod closing;
#[path = "../netns/cookies.rs"]
mod cookies;
mod discovery;
mod family;
#[path = "../netns/guard.rs"]
mod guard;
#[path = "../netns/hosts.rs"]
mod hosts;
#[path = "../netns/impair.rs"]
mod impair;
#[path = "../netns/impaired.rs"]
mod impaired;
#[path = "../netns/kernel.rs"]
mod kernel;
#[path = "../netns/life.rs"]
mod life;
#[path = "../netns/liveness.rs"]
mod liveness;
#[path = "../netns/modes.rs"]
mod modes;
#[path = "../netns/netlink.rs"]
mod netlink;
#[path = "../netns/old.rs"]
mod old;
#[path = "../netns/opening.rs"]
mod opening;
#[path = "../netns/packets.rs"]
mod packets;
#[path = "../netns/ports.rs"]
mod ports;
#[path = "../netns/process.rs"]
mod process;
#[path = "../netns/queues.rs"]
mod queues;
#[path = "../netns/scale.rs"]
mod scale;
#[path = "../netns/scans.rs"]
mod scans;
#[path = "../netns/segment.rs"]
mod segment;
#[path = "../netns/server.rs"]
mod server;
#[path = "../netns/steering.rs"]
mod steering;
#[path = "../netns/topology.rs"]
mod topology;
#[path = "../netns/transfer.rs"]
mod transfer;
#[path = "../netns/watch.rs"]
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
