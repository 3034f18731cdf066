//! `sluice` against the real kernel: namespaces joined by a veth pair, one pair for each test.
//!
//! Needs root, so every test is ignored by plain `cargo test` and run by `cargo xtask test`.
//! `topology`, `process`, `server` and `packets` are the harness; the other files hold the tests by
//! topic. A test that cannot run on this machine says so with `skip` and returns. Both ends have
//! addresses of both families; here they talk IPv4, and IPv6 in `tests/netns6`, which runs the same
//! tests.

// All of it is tests, also what stands outside of test functions.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod report;

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

use report::{is_long, skip};
