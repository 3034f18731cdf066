//! A running `sluice run`, and what its ready line says.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::process::Process;
use crate::topology::{PATIENCE, Topology};

/// A `sluice` that serves on the server's end of a topology.
pub(crate) struct Sluice {
    process: Process,
    /// The ready line.
    pub(crate) ready: String,
}

impl Sluice {
    /// Starts `sluice run --iface veth0` with `options`, split at spaces, and waits for it to be
    /// ready.
    pub(crate) fn start(topology: &Topology, options: &str) -> Self {
        let process = Process::start(&mut command(topology, "veth0", options));
        let ready = process.line("ready: ", PATIENCE);
        Self { process, ready }
    }

    /// The value of `key=value` in the ready line.
    pub(crate) fn ready_value(&self, key: &str) -> Option<&str> {
        self.ready.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// Ends it as an operator does; it must succeed within its time of grace.
    pub(crate) fn stop(mut self) {
        self.process.signal(Signal::SIGTERM);
        self.assert_ends_well();
    }

    /// Waits for its end, which must be a success.
    pub(crate) fn assert_ends_well(&mut self) {
        let status = self.process.wait(PATIENCE);
        assert!(status.success(), "sluice ended with {status}:\n{}", self.process.errors());
    }

    /// Waits for its end; gives its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.process.wait(PATIENCE).code()
    }

    /// What it has logged until now.
    pub(crate) fn errors(&self) -> String {
        self.process.errors()
    }

    /// Ends it as a crash does.
    pub(crate) fn crash(mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait(PATIENCE);
    }

    /// Panics when it is no longer running.
    pub(crate) fn assert_alive(&mut self) {
        self.process.assert_alive();
    }

    /// Processor time it has used, in seconds of one core.
    pub(crate) fn cpu_time(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.process.pid());
        let text = std::fs::read_to_string(path).expect("sluice is running");
        // The name, in parentheses, may hold anything; utime and stime are fields 14 and 15.
        let fields: Vec<_> = text.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        // Linux shows 100 ticks a second to user space on every platform that we run on.
        Duration::from_millis(ticks * 10).as_secs_f64()
    }
}

/// `sluice run` in the server's namespace.
pub(crate) fn command(topology: &Topology, interface: &str, options: &str) -> Command {
    let mut command = topology.server.command(env!("CARGO_BIN_EXE_sluice"));
    command.args(["run", "--iface", interface, "--program"]).arg(program());
    command.args(options.split_whitespace());
    command
}

/// The XDP program, which xtask puts into cargo's target folder, two levels above the binary.
pub(crate) fn program() -> PathBuf {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_sluice"));
    let target = binary.ancestors().nth(2).expect("the binary lies in target/PROFILE");
    target.join("sluice-xdp.o")
}
