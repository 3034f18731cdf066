//! The macro bench: whole systems over a veth pair, the same kernel client against each.
//!
//! Owns the options and the course of a run; what is measured stands in `plan`, how in `series`. Works
//! that are no series of samples of clients have files of their own: `memory`, `churn`, and the relay of
//! `loss`.

mod bed;
mod both;
mod check;
mod churn;
mod counters;
mod flood;
mod loss;
mod memory;
mod nginx;
mod parts;
pub mod pktgen;
mod plan;
mod process;
mod progress;
mod rows;
mod series;
mod spinners;
mod stop;
mod wrk;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use nix::unistd::geteuid;

use crate::row::Row;
use crate::topology::{Between, Family};
use crate::{printer, tools, topology};
use bed::{Bed, Places, Room, Subject, Tools};
use parts::{Part, Run};
use plan::{Case, Pace};
pub(crate) use process::quiet;
use progress::Progress;
pub(crate) use stop::Stop;

/// The options of the macro bench.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
    /// Only short connections at four fifths of the highest rate, for so many minutes: memory and
    /// latency are to stay as they are.
    #[arg(long, value_name = "MINUTES", num_args = 0..=1, default_missing_value = "10",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=600), conflicts_with = "filter")]
    churn: Option<usize>,
}

/// The options of the floods.
#[derive(Debug, Args)]
pub struct Floods {
    #[command(flatten)]
    common: Common,
    /// Servers, clients and forged sources have IPv6 addresses.
    #[arg(long)]
    ipv6: bool,
}

/// The options of every run of whole systems.
#[derive(Debug, Args)]
pub struct Common {
    /// Only the rows whose work contains this.
    #[arg(value_name = "ROW-FILTER")]
    filter: Option<String>,
    /// Short samples, and a work or two unless a filter names others: shows that the instrument works, and
    /// measures nothing.
    #[arg(long)]
    smoke: bool,
    /// Also writes the rows to a file, as one array of JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Sluice's executable; without it `sluice` beside this program.
    #[arg(long, value_name = "FILE")]
    sluice: Option<PathBuf>,
    /// The XDP program; without it `sluice-xdp.o` beside or above this program.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Measures, prints the rows, and writes them where asked.
///
/// # Errors
/// Where the machine lacks what every row needs, where a connection failed that should not, and on
/// Ctrl-C. Namespaces and processes of the run are gone in any case.
pub fn run(options: &Options) -> Result<()> {
    take(&options.common, parts::all(options))
}

/// Measures the floods alone.
///
/// # Errors
/// As [`run`].
pub fn run_floods(options: &Floods) -> Result<()> {
    let family = if options.ipv6 { Family::V6 } else { Family::V4 };
    take(&options.common, parts::floods(&options.common, family))
}

fn take(options: &Common, parts: Vec<Part>) -> Result<()> {
    ensure!(geteuid().is_root(), "network namespaces are made, which needs root");
    for (program, package) in [("ip", "iproute2"), ("tc", "iproute2"), ("ethtool", "ethtool")] {
        ensure!(tools::is_there(program), "{}", tools::missing(program, package));
    }
    ensure!(!parts.is_empty(), "no row is called so; without a filter all are measured");
    if let Some(path) = &options.json {
        printer::check_json(path)?;
    }
    let room = Room { tools: options.tools()?, places: Places::find()?, stop: Stop::on_signals()? };
    topology::sweep();
    let pace = if options.smoke { Pace::SMOKE } else { Pace::FULL };
    let estimates: Vec<f64> = parts.iter().map(|part| part.estimate(pace)).collect();
    let mut progress = Progress::of(&estimates);
    let mut run = Run::new(room, pace);
    for (part, estimate) in parts.into_iter().zip(estimates) {
        progress.next(part.name(), estimate);
        run.take(part)?;
        if let Some(path) = &options.json {
            // What there is so far outlives whatever ends the run.
            printer::write_json(path, &run.rows)?;
        }
    }
    let Run { rows, failures, .. } = run;
    printer::print(&rows);
    ensure!(failures.is_empty(), "not all went as it should: {}", failures.join("; "));
    Ok(())
}

/// The case with the subjects that are there, and rows for those that are not.
fn present(mut case: Case) -> (Case, Vec<Row>) {
    let (all, work) = (case.subjects.clone(), case.tools());
    let missing = |subject: &Subject| {
        let mut needed = work.iter().chain(subject.tools());
        let program = needed.find(|(program, _)| !tools::is_there(program));
        let program = program.map(|(program, package)| tools::missing(program, package));
        program.or_else(|| subject.lacks())
    };
    case.subjects.retain(|subject| missing(subject).is_none());
    let absent = all.iter().skip(1).filter_map(|peer| Some((peer, missing(peer)?)));
    let rows = absent.flat_map(|(peer, why)| rows::absent(&case, [all[0], *peer], &why));
    let rows = rows.collect();
    (case, rows)
}

/// Makes the beds that the case needs, and drops those of another MTU.
fn furnish(beds: &mut Vec<Bed>, case: &Case) -> Result<()> {
    let is_relayed = case.path.is_some();
    beds.retain(|bed| bed.mtu == case.mtu && bed.is_relayed == is_relayed);
    let between = if is_relayed { Between::Room } else { Between::Nothing };
    for subject in &case.subjects {
        if !beds.iter().any(|bed| bed.subject == *subject) {
            beds.push(Bed::make(*subject, case.mtu, between)?);
        }
    }
    Ok(())
}

impl Common {
    fn tools(&self) -> Result<Tools> {
        programs(self.sluice.as_deref(), self.program.as_deref())
    }
}

/// Where the programs of a run lie; `sluice` and `program` are those that the user has named.
fn programs(sluice: Option<&Path>, program: Option<&Path>) -> Result<Tools> {
    let bench = std::env::current_exe().context("the path of this program")?;
    let folder = bench.parent().context("this program lies in a folder")?.to_path_buf();
    let sluice = sluice.map_or_else(|| folder.join("sluice"), Path::to_path_buf);
    let above = folder.parent().map(|folder| folder.join(PROGRAM));
    let beside = Some(folder.join(PROGRAM)).filter(|path| path.is_file());
    let named = program.map(Path::to_path_buf);
    let program = named.or(beside).or(above).unwrap_or_default();
    for (path, what) in [(&sluice, "Sluice's executable"), (&program, "the XDP program")] {
        ensure!(
            path.is_file(),
            "{what} is not at {}: `cargo xtask bench` builds it",
            path.display()
        );
    }
    Ok(Tools { bench, sluice, program })
}

/// The XDP program's file.
const PROGRAM: &str = "sluice-xdp.o";

/// Work, subject and peer of every row that a full run makes, churn and floods included.
#[cfg(test)]
pub(crate) fn names() -> Vec<[String; 3]> {
    let row = |work: &str, subject: &str, peer: &str| [work, subject, peer].map(String::from);
    let cases = plan::cases(false, None);
    let of_case = |case: &Case| {
        let each = case.metrics().iter().flat_map(|metric| {
            let work = format!("{}{}", case.name, metric.suffix);
            let peers = case.subjects[1..].iter();
            peers.map(move |peer| row(&work, case.subjects[0].name(), peer.name()))
        });
        each.collect::<Vec<_>>()
    };
    let mut names: Vec<_> = cases.iter().flat_map(of_case).collect();
    names.extend(memory::State::ALL.map(|state| row(state.name(), "sluice", "kernel")));
    names.extend(check::all(None).iter().map(|check| row(check.name(), "load client", "other")));
    names.extend(flood::names());
    names.push(row(loss::CEILING, "relay", ""));
    names.extend(churn::names());
    names
}
