//! A running `sluice run`, and what its ready line says.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::family::{Ip, shown};
use crate::process::{Process, piped};
use crate::topology::{CLIENT, Namespace, PATIENCE, SERVER, Topology};

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
        self.ask_to_end();
        self.assert_ends_well();
    }

    /// Asks it to end, as an operator does.
    pub(crate) fn ask_to_end(&self) {
        self.process.signal(Signal::SIGTERM);
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

    /// One of the counters that its status page shows to a client.
    pub(crate) fn counter(&self, client: &Namespace, name: &str) -> u64 {
        // Those of the XDP program stand apart.
        let group = if name.starts_with("xdp_") { "program" } else { "counters" };
        number(&stats(client), group, name)
    }

    /// How many connections are in a state, the one that asks included.
    pub(crate) fn state(&self, client: &Namespace, name: &str) -> u64 {
        number(&stats(client), "states", name)
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

    /// Lets it stand still, with all its workers.
    pub(crate) fn hold(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Has its threads run at once whenever they have something to do, whoever else wants the CPUs.
    /// Where that may not be asked for they run as before.
    pub(crate) fn run_first(&self) {
        let mut chrt = Command::new("chrt");
        chrt.args(["--all-tasks", "--fifo", "--pid", "1", &self.process.pid().to_string()]);
        if !chrt.status().is_ok_and(|status| status.success()) {
            note!("the threads of sluice run when it is their turn");
        }
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

/// The status page as JSON.
fn stats(client: &Namespace) -> serde_json::Value {
    stats_of(client, SERVER)
}

/// As [`stats`], of a server at another address.
///
/// A worker tells of its counters and states at the end of a turn. Where the last acknowledgment of a
/// handshake and the request come in the same turn, the page is that of the turn before, in which the
/// asking connection was half-open. Hence it asks twice: what the second answer tells is not older than
/// the first, so that whoever asks is open and counted.
pub(crate) fn stats_of(client: &Namespace, server: Ip) -> serde_json::Value {
    let mut curl = client.command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "60"]);
    let page = format!("http://{}/stats", shown(server));
    piped(curl.args([&page, &page]), |out| {
        let pages = serde_json::Deserializer::from_reader(out).into_iter();
        let mut pages: Vec<serde_json::Value> =
            pages.collect::<Result<_, _>>().expect("the pages are JSON");
        assert_eq!(pages.len(), 2, "{pages:?}");
        pages.remove(1)
    })
}

fn number(stats: &serde_json::Value, group: &str, name: &str) -> u64 {
    let found = stats[group][name].as_u64();
    found.unwrap_or_else(|| panic!("no {name} among the {group} in {stats}"))
}

/// A `sluice` that opens connections to port 9000 of the client's kernel.
pub(crate) struct Opener(Sluice);

impl Opener {
    /// Starts `sluice client --iface veth0` with `options`, split at spaces, and waits for it to be
    /// ready.
    pub(crate) fn start(topology: &Topology, options: &str) -> Self {
        let to = if options.contains("--to ") {
            ""
        } else {
            &format!("--to {}:{PEER_PORT}", shown(CLIENT))
        };
        let options = format!("{to} --summary json {options}");
        let mut command = start_command("client", topology, "veth0", &options);
        let process = Process::start(&mut command);
        let ready = process.line("ready: ", PATIENCE);
        Self(Sluice { process, ready })
    }

    /// Waits for its end and gives what it says of its connections.
    pub(crate) fn finish(mut self, patience: Duration) -> Summary {
        let line = self.0.process.line("{", patience);
        let exit_code = self.0.process.wait(PATIENCE).code();
        let json = serde_json::from_str(&line).expect("the summary is JSON");
        Summary { json, exit_code, errors: self.0.errors() }
    }
}

/// What `sluice client` said at its end.
#[derive(Debug)]
pub(crate) struct Summary {
    json: serde_json::Value,
    exit_code: Option<i32>,
    errors: String,
}

impl Summary {
    /// The number at `path`, such as `outcomes.done`.
    pub(crate) fn number(&self, path: &str) -> u64 {
        let found = path.split('.').fold(&self.json, |value, key| &value[key]);
        found.as_u64().unwrap_or_else(|| panic!("no number {path} in {}", self.json))
    }

    /// Panics unless `count` connections, and no others, ended as `outcome` says.
    pub(crate) fn assert_all(&self, outcome: &str, count: u64) {
        let outcomes = &self.json["outcomes"];
        assert_eq!(self.number(&format!("outcomes.{outcome}")), count, "{outcomes}");
        assert_eq!(self.number("connections"), count, "{outcomes}");
        let wanted = if outcome == "done" { 0 } else { 1 };
        assert_eq!(self.exit_code, Some(wanted), "{}", self.errors);
    }

    /// One line about the rate, as information.
    pub(crate) fn print_rate(&self, what: &str) {
        note!(
            "{what}: {} connections in {:.2} s, {:.0}/s, at most {} at once (information only)",
            self.json["connections"],
            self.json["seconds"].as_f64().unwrap_or(0.0),
            self.json["connections_per_second"].as_f64().unwrap_or(0.0),
            self.json["at_once"],
        );
    }
}

/// `sluice run` in the server's namespace.
pub(crate) fn command(topology: &Topology, interface: &str, options: &str) -> Command {
    start_command("run", topology, interface, options)
}

fn start_command(action: &str, topology: &Topology, interface: &str, options: &str) -> Command {
    let mut command = topology.server.command(env!("CARGO_BIN_EXE_sluice"));
    command.args([action, "--iface", interface, "--program"]).arg(program());
    command.args(options.split_whitespace());
    command
}

/// Where the client's kernel listens for an [`Opener`].
pub(crate) const PEER_PORT: u16 = 9000;

/// The XDP program, which xtask puts into cargo's target folder, two levels above the binary.
pub(crate) fn program() -> PathBuf {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_sluice"));
    let target = binary.ancestors().nth(2).expect("the binary lies in target/PROFILE");
    target.join("sluice-xdp.o")
}
