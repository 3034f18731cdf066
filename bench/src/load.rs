//! The load client: connections of the kernel against a server, counted and timed.
//!
//! Owns the options and the choice of the work. It is a hidden command of the bench, so that it can
//! run inside of a namespace; its last line on standard output is a [`Report`] as JSON.

mod bulk;
mod connects;
mod hold;
mod open;
mod pace;
mod processes;
mod report;
mod requests;
mod sources;
pub mod visits;
mod window;

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

pub use report::{Quantiles, Report};
pub use sources::Sources;
pub(crate) use sources::reused;

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Connect, send one byte, receive one, close: the client closes first.
    Connect,
    /// Connect, fetch one byte by HTTP/1.0, close: the server closes first.
    Fetch,
    /// A request that comes back, on connections that stay.
    Request,
    /// HTTP requests for `BODY` bytes, on connections that stay.
    Get,
    /// Sends without pause to a server that discards.
    Send,
    /// Receives without pause.
    Receive,
    /// Opens connections, sends one request on each, and keeps them open until standard input ends.
    Hold,
}

/// The options of the load client.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// What is done.
    #[arg(value_enum)]
    pub work: Work,
    /// The server.
    #[arg(long, value_name = "ADDR:PORT")]
    pub to: SocketAddrV4,
    /// Connections at once.
    #[arg(long, value_name = "N", default_value = "1")]
    pub connections: usize,
    /// The measured time in seconds; a tenth of it goes before.
    #[arg(long, value_name = "SECONDS", default_value = "2")]
    pub seconds: f64,
    /// Addresses that the connections come from in turn; a lone one uses its ports in turn.
    #[arg(long, value_name = "FIRST[+COUNT]")]
    pub sources: Option<Sources>,
    /// Bytes of a request and of its answer.
    #[arg(long, value_name = "BYTES", default_value = "64")]
    pub size: usize,
    /// Processes that share the connections.
    #[arg(long, value_name = "N", default_value = "1")]
    pub processes: u32,
    /// The CPUs of the processes, in turn.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// Short connections that are begun in a second, evenly; without it as fast as they end.
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// The most short connections in all.
    #[arg(long, value_name = "N")]
    pub most: Option<u64>,
    /// Each of the addresses uses its ports in turn, from the first on: none twice before all were used.
    #[arg(long, requires = "sources")]
    pub in_turn: bool,
    /// The congestion control of streams; without it the route's.
    #[arg(long, value_name = "NAME")]
    pub congestion: Option<String>,
    /// A stream that is sent ends with the time: what the server has acknowledged by then counts.
    #[arg(long)]
    pub acknowledged: bool,
    /// The next request waits until epoll says that the connection takes it, a round of the loop after the
    /// answer, as wrk does it: the time between is part of no latency.
    #[arg(long)]
    pub in_rounds: bool,
}

impl Options {
    /// One connection for two seconds, as the command line has it by default.
    pub fn new(work: Work, to: SocketAddrV4) -> Self {
        Self {
            work,
            to,
            connections: 1,
            seconds: 2.0,
            sources: None,
            size: 64,
            processes: 1,
            cpus: Vec::new(),
            rate: None,
            most: None,
            in_turn: false,
            congestion: None,
            acknowledged: false,
            in_rounds: false,
        }
    }

    /// The connections' sources: a spread of them only where the kernel could run out of ports.
    fn from(&self) -> sources::From {
        match self.sources {
            None => sources::From::Anywhere,
            Some(sources) if self.in_turn => sources::From::InTurn(sources),
            Some(Sources { first, count: 1 }) => sources::From::Single(first),
            Some(sources) => sources::From::Spread(sources),
        }
    }

    /// The time before the measured one.
    fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.seconds / 10.0)
    }

    /// The options as the command line has them.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let Options { work, to, connections, seconds, sources, size, processes, cpus, .. } = self;
        let Options { rate, most, in_turn, congestion, acknowledged, in_rounds, .. } = self;
        let work = work.to_possible_value().map(|value| value.get_name().to_string());
        let pairs = [
            ("--to", to.to_string()),
            ("--connections", connections.to_string()),
            ("--seconds", seconds.to_string()),
            ("--size", size.to_string()),
            ("--processes", processes.to_string()),
        ];
        let mut arguments: Vec<String> = work.into_iter().collect();
        arguments.extend(pairs.into_iter().flat_map(|(name, value)| [name.to_string(), value]));
        if let Some(sources) = sources {
            arguments.extend(["--sources".into(), sources.to_string()]);
        }
        let more = [
            ("--rate", rate.map(|rate| rate.to_string())),
            ("--most", most.map(|most| most.to_string())),
            ("--congestion", congestion.clone()),
        ];
        for (name, value) in more {
            arguments.extend(value.into_iter().flat_map(|value| [name.to_string(), value]));
        }
        let switches =
            [("--in-turn", in_turn), ("--acknowledged", acknowledged), ("--in-rounds", in_rounds)];
        for (name, is_set) in switches {
            arguments.extend(is_set.then(|| name.into()));
        }
        if !cpus.is_empty() {
            let list: Vec<String> = cpus.iter().map(usize::to_string).collect();
            arguments.extend(["--cpus".into(), list.join(",")]);
        }
        arguments
    }

    /// The measured time.
    fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// Runs the work, and prints what was found.
///
/// # Errors
/// Where the options make no sense or the kernel refuses what the client itself needs; connections
/// that fail are counted in the report instead.
pub fn run(options: &Options) -> Result<()> {
    ensure!(options.connections > 0, "no connection at all");
    ensure!(options.seconds > 0.0 && options.seconds <= 3_600.0, "0 to 3600 seconds");
    ensure!((1..=1 << 20).contains(&options.size), "a request has 1 B to 1 MiB");
    let report = match options.processes {
        0 => anyhow::bail!("no process at all"),
        1 => work(options)?,
        _ => processes::run(options)?,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// The work of one process.
fn work(options: &Options) -> Result<Report> {
    if let Some(cpu) = options.cpus.first() {
        pin(*cpu)?;
    }
    match options.work {
        Work::Connect | Work::Fetch => connects::run(options),
        Work::Request | Work::Get => requests::run(options),
        Work::Send => bulk::send_stream(options),
        Work::Receive => bulk::receive(options),
        Work::Hold => hold::run(options),
    }
}

/// Keeps this process on one CPU.
///
/// # Errors
/// Where there is no such CPU for it.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).with_context(|| format!("CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &set)
        .with_context(|| format!("CPU {cpu} is not for this process"))
}

/// Bytes of the body that is asked for by HTTP.
pub(crate) const BODY: usize = 1_024;
/// How long the client waits for what is still open when the time is over, and for connections to be
/// opened before it begins.
const PATIENCE: Duration = Duration::from_secs(5);

/// The line that says that all connections are held.
pub const HELD: &str = "held";
