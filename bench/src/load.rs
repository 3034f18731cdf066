//! The load client: connections of the kernel against a server, counted and timed.
//!
//! Owns the options and the choice of the work. It is a hidden command of the bench, so that it can
//! run inside of a namespace; its last line on standard output is a [`Report`] as JSON.

mod bulk;
mod connects;
mod open;
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

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Connect, send one byte, receive one, close: the client closes first.
    Connect,
    /// Connect, fetch one byte by HTTP/1.0, close: the server closes first.
    Fetch,
    /// A request that comes back, on connections that stay.
    Request,
    /// HTTP requests for [`BODY`] bytes, on connections that stay.
    Get,
    /// Sends without pause to a server that discards.
    Send,
    /// Receives without pause.
    Receive,
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
}

impl Options {
    /// The connections' sources: a spread of them only where the kernel could run out of ports.
    fn from(&self) -> sources::From {
        match self.sources {
            None => sources::From::Anywhere,
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
        let Options { work, to, connections, seconds, sources, size, processes, cpus } = self;
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
