//! The macro bench: whole systems over a veth pair, the same kernel client against each.
//!
//! Owns the options and the course of a run; what is measured stands in `plan`, how in `series`. Works
//! that are no series of samples of clients have files of their own: `memory`, `churn`, and the relay of
//! `loss`.

mod bed;
mod busy;
mod churn;
mod loss;
mod memory;
mod nginx;
mod plan;
mod process;
mod progress;
mod rows;
mod series;
mod spinners;
mod stop;
mod wrk;

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use nix::unistd::geteuid;

use crate::row::Row;
use crate::topology::Between;
use crate::{printer, topology};
use bed::{Bed, Places, Room, Subject, Tools};
use plan::{Case, Pace};
pub(crate) use process::quiet;
use progress::Progress;
use stop::Stop;

/// The options of the macro bench.
#[derive(Debug, Args)]
pub struct Options {
    /// Only the rows whose work contains this.
    #[arg(value_name = "ROW-FILTER")]
    filter: Option<String>,
    /// Short samples, and two works unless a filter names others: shows that the instrument works, and
    /// measures nothing.
    #[arg(long)]
    smoke: bool,
    /// Only short connections at four fifths of the highest rate, for so many minutes: memory and
    /// latency are to stay as they are.
    #[arg(long, value_name = "MINUTES", num_args = 0..=1, default_missing_value = "10",
          conflicts_with = "filter")]
    churn: Option<usize>,
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
    ensure!(geteuid().is_root(), "the macro bench makes network namespaces, which needs root");
    for (program, package) in [("ip", "iproute2"), ("tc", "iproute2"), ("ethtool", "ethtool")] {
        ensure!(process::exists(program), "{program} is missing (package {package})");
    }
    let parts = parts(options);
    ensure!(!parts.is_empty(), "no row is called so; without a filter all are measured");
    if let Some(path) = &options.json {
        // Before minutes go into measuring.
        let file = File::options().create(true).append(true).open(path);
        file.with_context(|| format!("cannot write {}", path.display()))?;
    }
    let room = Room { tools: tools(options)?, places: Places::find()?, stop: Stop::on_signals()? };
    topology::sweep();
    let pace = if options.smoke { Pace::SMOKE } else { Pace::FULL };
    let estimates: Vec<f64> = parts.iter().map(|part| part.estimate(pace)).collect();
    let mut progress = Progress::of(&estimates);
    let mut run = Run { room, pace, beds: Vec::new(), rows: Vec::new(), failures: Vec::new() };
    for (part, estimate) in parts.into_iter().zip(estimates) {
        progress.next(part.name(), estimate);
        run.take(part)?;
    }
    let Run { rows, failures, .. } = run;
    printer::print(&rows);
    if let Some(path) = &options.json {
        printer::write_json(path, &rows)?;
    }
    if !failures.is_empty() {
        bail!("connections failed that should not: {}", failures.join("; "));
    }
    Ok(())
}

/// A run under way.
struct Run {
    /// Before the room they use.
    beds: Vec<Bed>,
    room: Room,
    pace: Pace,
    rows: Vec<Row>,
    /// What did not go as it should.
    failures: Vec<String>,
}

impl Run {
    fn take(&mut self, part: Part) -> Result<()> {
        let case = match part {
            Part::Case(case) => case,
            other => {
                // Their servers would be other processes of the machine.
                self.beds.clear();
                return self.take_alone(&other);
            }
        };
        let (case, absent) = present(*case);
        self.rows.extend(absent);
        if case.subjects.len() < 2 {
            return Ok(());
        }
        let case = &case;
        furnish(&mut self.beds, case)?;
        let series = series::take(&self.room, &mut self.beds, case, self.pace)?;
        self.failures.extend(series.failure().map(|failure| format!("{}: {failure}", case.name)));
        self.rows.extend(rows::of(&self.room, &self.beds, case, &series));
        Ok(())
    }

    fn take_alone(&mut self, part: &Part) -> Result<()> {
        match part {
            Part::Case(_) => {}
            Part::Memory(state) => self.rows.push(memory::row(&self.room, *state, self.pace)?),
            Part::Relay => self.rows.push(loss::ceiling(&self.room, self.pace)?),
            Part::Churn(length) => {
                let (rows, failure) = churn::rows(&self.room, *length)?;
                self.rows.extend(rows);
                self.failures.extend(failure);
            }
        }
        Ok(())
    }
}

/// A part of a run.
enum Part {
    /// Samples of clients, in turns.
    Case(Box<Case>),
    /// Memory of connections.
    Memory(memory::State),
    /// The relay of the works with loss, alone.
    Relay,
    /// Short connections for long.
    Churn(churn::Length),
}

impl Part {
    fn name(&self) -> &str {
        match self {
            Self::Case(case) => &case.name,
            Self::Memory(state) => state.name(),
            Self::Relay => loss::CEILING,
            Self::Churn(_) => "churn",
        }
    }

    /// Seconds that it takes, about.
    fn estimate(&self, pace: Pace) -> f64 {
        let rounds = pace.alternations as f64;
        match self {
            Self::Case(case) => {
                // Before a sample others are watched; starting and ending take time as well.
                rounds * case.subjects.len() as f64 * (1.1 * pace.seconds + 0.5)
            }
            Self::Memory(_) if pace.is_smoke() => rounds * 10.0,
            Self::Memory(state) => rounds * state.estimate(),
            Self::Relay => rounds * (pace.seconds / 4.0 + 0.3),
            Self::Churn(length) => 10.0 + length.minutes as f64 * 1.1 * length.seconds,
        }
    }
}

/// What is to be measured.
fn parts(options: &Options) -> Vec<Part> {
    let filter = options.filter.as_deref();
    if let Some(minutes) = options.churn {
        let seconds = if options.smoke { 2.0 } else { churn::MINUTE };
        return vec![Part::Churn(churn::Length { minutes, seconds })];
    }
    let is_wanted = |part: &Part| match filter {
        Some(wanted) => part.name().contains(wanted),
        None => !options.smoke,
    };
    let cases = plan::cases(options.smoke, filter).into_iter().map(Box::new).map(Part::Case);
    let others = memory::State::ALL.map(Part::Memory).into_iter().chain([Part::Relay]);
    cases.chain(others.filter(is_wanted)).collect()
}

/// The case with the subjects that are there, and rows for those that are not.
fn present(mut case: Case) -> (Case, Vec<Row>) {
    let (all, work) = (case.subjects.clone(), case.tools());
    let missing = |subject: &Subject| {
        let tools = work.iter().chain(subject.tools());
        tools.into_iter().find(|(program, _)| !process::exists(program))
    };
    case.subjects.retain(|subject| missing(subject).is_none());
    let absent = all.iter().skip(1).filter_map(|peer| Some((peer, missing(peer)?)));
    let rows = absent.flat_map(|(peer, (program, package))| {
        let why = format!("{program} is missing (package {package})");
        rows::absent(&case, [all[0], *peer], &why)
    });
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

fn tools(options: &Options) -> Result<Tools> {
    let bench = std::env::current_exe().context("the path of this program")?;
    let folder = bench.parent().context("this program lies in a folder")?.to_path_buf();
    let sluice = options.sluice.clone().unwrap_or_else(|| folder.join("sluice"));
    let above = folder.parent().map(|folder| folder.join(PROGRAM));
    let beside = Some(folder.join(PROGRAM)).filter(|path| path.is_file());
    let program = options.program.clone().or(beside).or(above).unwrap_or_default();
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
