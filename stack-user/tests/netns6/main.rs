//! The tests of `tests/netns` over IPv6, but for those of the harness, of refusals and of routes.

// All of it is tests, also what stands outside of test functions.
#![allow(clippy::unwrap_used)]

#[macro_use]
#[path = "../netns/report.rs"]
mod report;

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

use report::{is_long, skip};
