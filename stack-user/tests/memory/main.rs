//! What connections and records cost in resident memory, all in, and that many of them end in small
//! steps.
//!
//! Each test runs alone in a process of its own, so that no other test's memory counts. `crowd` is
//! a shard and many hand-made clients; the other files are the scenarios. `SLUICE_LONG=1` takes
//! their full sizes.

mod crowd;
mod established;
#[expect(dead_code, reason = "the simulator's, of which only the configuration is used here")]
#[path = "../sim/node.rs"]
mod node;
#[expect(dead_code, reason = "the simulator's, of which only the keys are used here")]
#[path = "../sim/seed.rs"]
mod seed;
mod time_wait;

use std::env;
use std::process::Command;

/// Runs the body of the test `name` in a process of its own.
fn alone(name: &str, body: impl FnOnce()) {
    if env::var(ALONE).is_ok_and(|chosen| chosen == name) {
        return body();
    }
    let this = env::current_exe().expect("the test program has a path");
    let mut child = Command::new(this);
    child.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(ALONE, name);
    let output = child.output().expect("the test program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "no test is called {name}");
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("procfs is mounted");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second figure of statm counts pages") * rustix::param::page_size()
}

/// How many of something: as many as `usual`, or `long` where the full sizes are asked for.
fn count(usual: u32, long: u32) -> u32 {
    if env::var_os("SLUICE_LONG").is_some() { long } else { usual }
}

/// What the simulator's configuration is of.
const FAMILY: node::Family = node::Family::V4;
/// Names the test of a process that runs it alone.
const ALONE: &str = "SLUICE_ALONE";
