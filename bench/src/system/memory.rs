//! Memory of connections that do nothing: how much an established one, a half-open one and one in
//! TIME-WAIT keep resident.
//!
//! Sluice's figure is what its whole process grew by, the kernel's what all of its slab caches grew by.

mod slab;
mod syns;

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bed::{Bed, Room, Subject};
use super::plan::Pace;
use super::process::Process;
use super::rows;
use crate::clock::pause;
use crate::load::{self, HELD, Report};
use crate::machine;
use crate::printer::figure;
use crate::row::{Row, SMOKE};
use crate::serve::{READY, Service};
use crate::topology::{Between, CLIENTS, SERVER};
pub(super) use slab::Slabs;

/// What connections are left in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Established,
    HalfOpen,
    TimeWait,
}

/// What one sample has found.
struct Sample {
    /// Bytes of one end.
    bytes: f64,
    /// How many ends.
    count: u64,
    /// Where the bytes are.
    notes: String,
    /// How Sluice works, as it says.
    mode: Option<String>,
}

impl State {
    pub(super) const ALL: [Self; 3] = [Self::Established, Self::HalfOpen, Self::TimeWait];

    /// As the rows call the work.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Established => "memory of an idle connection",
            Self::HalfOpen => "memory of a half-open connection",
            Self::TimeWait => "memory of a TIME-WAIT",
        }
    }

    /// Seconds of an alternation, about.
    pub(super) fn estimate(self) -> f64 {
        match self {
            Self::Established => 30.0,
            Self::HalfOpen => 10.0,
            Self::TimeWait => 45.0,
        }
    }

    /// How many ends a sample of `subject` has.
    fn count(self, subject: Subject, pace: Pace) -> u64 {
        match (self, subject) {
            _ if pace.is_smoke() => 2_000,
            // What a record of the kernel takes does not depend on how many there are.
            (Self::TimeWait, Subject::Kernel) => 250_000,
            (Self::TimeWait, _) => 1_000_000,
            _ => 100_000,
        }
    }

    /// What the server is told, so that its bounds are above what is measured.
    fn options(self, subject: Subject) -> &'static str {
        match (self, subject) {
            (Self::Established, Subject::Kernel) => "--shared",
            // Tables for what is there, as whoever knows the load would have them.
            (Self::Established, Subject::Sluice) => {
                "--max-connections 102400 --max-time-wait 4096 --max-half-open 16384"
            }
            (Self::HalfOpen, Subject::Kernel) => "--backlog 1000000",
            (Self::HalfOpen, _) => "--backlog 1000000 --max-half-open 131072 --syn-cookies never",
            (Self::TimeWait, Subject::Sluice) => "--max-time-wait 1048576 --time-wait 300",
            _ => "",
        }
    }
}

/// The row of one state.
///
/// # Errors
/// Where a connection fails, or the kernel does not tell what it uses.
pub(super) fn row(room: &Room, state: State, pace: Pace) -> Result<Row> {
    let mut pairs = Vec::new();
    let mut last = None;
    for _ in 0..pace.alternations {
        let ours = sample(room, state, Subject::Sluice, pace)?;
        let theirs = sample(room, state, Subject::Kernel, pace)?;
        eprintln!("  sluice: {} B; kernel: {} B", figure(ours.bytes), figure(theirs.bytes));
        pairs.push((ours.bytes, theirs.bytes));
        last = Some((ours, theirs));
    }
    let row = Row::measured(state.name(), "sluice", "kernel", "B", &pairs).with(machine::config());
    let Some((ours, theirs)) = last else { return Ok(row) };
    let options = [Subject::Sluice, Subject::Kernel].map(|subject| state.options(subject));
    let row = row
        .with(rows::wire(ours.mode.as_deref()))
        .with_setting("connections", format!("{} beside {}", ours.count, theirs.count))
        .with_setting("memory", format!("{}; {}", ours.notes, theirs.notes))
        .with_setting("servers", format!("sluice: {}; kernel: {}", options[0], options[1]))
        .with_setting("samples", format!("{} alternations", pace.alternations));
    let smoke = "few connections, that measure nothing";
    Ok(if pace.is_smoke() { row.with_setting(SMOKE, smoke) } else { row })
}

fn sample(room: &Room, state: State, subject: Subject, pace: Pace) -> Result<Sample> {
    let count = state.count(subject, pace);
    let mut bed = Bed::make(subject, 1_500, Between::Nothing)?;
    for (path, value) in SYSCTLS {
        bed.topology.server.write_sysctl(path, value)?;
    }
    if state == State::HalfOpen {
        syns::prepare(&bed.topology)?;
    }
    bed.more = state.options(subject).split_whitespace().map(String::from).collect();
    bed.start(room)?;
    let servers = match (state, subject) {
        (State::Established, Subject::Kernel) => more_servers(room, &bed, count)?,
        _ => Vec::new(),
    };
    // What earlier connections had is given back after a moment.
    settle(room, 1.0)?;
    let pid = bed.server_pid().context("the server runs")?;
    let before = (resident(pid)?, Slabs::read()?);
    let (clients, count) = match state {
        State::Established => hold(room, &bed, count)?,
        State::HalfOpen => (Vec::new(), syns::send(&bed.topology, count)?),
        State::TimeWait => (Vec::new(), fetch(room, &bed, count)?),
    };
    if state != State::HalfOpen {
        settle(room, 1.0)?;
    }
    let after = (resident(pid)?, Slabs::read()?);
    drop((clients, servers));
    if subject == Subject::Sluice {
        let notes = format!("sluice: resident, {:.1} MB of them before", before.0 as f64 / 1e6);
        let bytes = after.0.saturating_sub(before.0) as f64 / count as f64;
        return Ok(Sample { bytes, count, notes, mode: bed.mode.clone() });
    }
    // Both ends of an established connection are the kernel's.
    let ends = if state == State::Established { 2 * count } else { count };
    let bytes = after.1.total().saturating_sub(before.1.total()) as f64 / ends as f64;
    let notes = format!("kernel: slab of one end, {}", after.1.growth(&before.1, ends));
    Ok(Sample { bytes, count: ends, notes, mode: None })
}

/// Bytes of a process that are in memory.
pub(super) fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    rss(&text).with_context(|| format!("{path} has no Rss"))
}

fn rss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn settle(room: &Room, seconds: f64) -> Result<()> {
    room.stop.check()?;
    pause(Duration::from_secs_f64(seconds));
    room.stop.check()
}

/// The kernel's server once more for as many connections as one process may not have.
fn more_servers(room: &Room, bed: &Bed, count: u64) -> Result<Vec<Process>> {
    let start = |_| {
        let mut command = bed.topology.server.command(&room.tools.bench);
        let cpu = room.places.server.to_string();
        let mut server = Process::start(
            "the kernel's server",
            command.args(["serve", "--shared", "--cpu", &cpu]),
        )?;
        server.line(READY, PATIENCE, &room.stop)?;
        Ok(server)
    };
    (1..count.div_ceil(PER_SERVER)).map(start).collect()
}

/// Clients of the kernel that hold so many connections, and how many they are.
fn hold(room: &Room, bed: &Bed, count: u64) -> Result<(Vec<Process>, u64)> {
    let processes = count.div_ceil(PER_CLIENT);
    let each = count.div_ceil(processes);
    let to = SocketAddrV4::new(SERVER, Service::Echo.port());
    let start = |n: u64| {
        let options = load::Options {
            connections: usize::try_from(each.min(count - n * each))?,
            sources: Some(CLIENTS.part(u32::try_from(n)?, u32::try_from(processes)?)),
            cpus: vec![room.places.client],
            ..load::Options::new(load::Work::Hold, to)
        };
        let mut command = bed.topology.client.command(&room.tools.bench);
        Process::start("a client", command.arg("load").args(options.arguments()))
    };
    let mut clients = (0..processes).map(start).collect::<Result<Vec<_>>>()?;
    for client in &mut clients {
        client.line(HELD, PATIENCE, &room.stop)?;
    }
    Ok((clients, count))
}

/// Leaves so many connections in TIME-WAIT at the server, all of different ports.
fn fetch(room: &Room, bed: &Bed, count: u64) -> Result<u64> {
    let to = SocketAddrV4::new(SERVER, Service::Http.port());
    let options = load::Options {
        connections: 100,
        seconds: PATIENCE.as_secs_f64(),
        sources: Some(CLIENTS),
        most: Some(count),
        in_turn: true,
        cpus: vec![room.places.client],
        ..load::Options::new(load::Work::Fetch, to)
    };
    let mut command = bed.topology.client.command(&room.tools.bench);
    let client = Process::start("a client", command.arg("load").args(options.arguments()))?;
    let output = client.output(2 * PATIENCE, &room.stop)?;
    let report: Report = serde_json::from_str(output.lines().last().unwrap_or_default())?;
    let why = report.failure.unwrap_or_default();
    ensure!(report.failed == 0, "{} of {} fetches failed: {why}", report.failed, report.opened);
    ensure!(
        report.opened == count,
        "only {} of {count} fetches within {PATIENCE:?}",
        report.opened
    );
    Ok(count)
}

/// Bounds of the kernel's server above what is measured; they hold for its namespace alone.
const SYSCTLS: [(&str, &str); 4] = [
    ("net/core/somaxconn", "1000000"),
    ("net/ipv4/tcp_max_syn_backlog", "1000000"),
    ("net/ipv4/tcp_max_tw_buckets", "2000000"),
    // A cookie would leave nothing to be measured.
    ("net/ipv4/tcp_syncookies", "0"),
];
/// Connections of one client: below the descriptors that a process may have here.
const PER_CLIENT: u64 = 15_000;
/// The same of a server, which gets them by chance.
const PER_SERVER: u64 = 12_500;
/// Time for one step.
const PATIENCE: Duration = Duration::from_secs(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_found_in_the_rollup() {
        let text = "55e0-7fff ---p 00000000 00:00 0  [rollup]\nRss:    1234 kB\nPss:  9 kB\n";
        assert_eq!(rss(text), Some(1_234 << 10));
        assert_eq!(rss("Pss: 9 kB\n"), None);
        assert!(resident(std::process::id()).unwrap() > 1 << 20);
    }

    #[test]
    fn bounds_of_sluice_are_above_what_is_measured() {
        for state in State::ALL {
            let count = state.count(Subject::Sluice, Pace::FULL);
            let option = match state {
                State::Established => continue,
                State::HalfOpen => "--max-half-open ",
                State::TimeWait => "--max-time-wait ",
            };
            let options = state.options(Subject::Sluice);
            let (_, rest) = options.split_once(option).unwrap();
            let bound: u64 = rest.split(' ').next().unwrap().parse().unwrap();
            assert!(bound >= count, "{options}");
        }
    }
}
