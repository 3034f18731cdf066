//! The macro bench: whole systems over a veth pair, the same kernel client against each.
//!
//! Owns the options and the course of a run; what is measured stands in `plan`, how in `series`.

mod bed;
mod both;
mod busy;
mod nginx;
mod plan;
mod process;
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
use crate::{printer, topology};
use bed::{Bed, Places, Room, Subject, Tools};
use plan::{Case, Pace};
pub(crate) use process::quiet;
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
    let cases = plan::cases(options.smoke, options.filter.as_deref());
    ensure!(!cases.is_empty(), "no row is called so; without a filter all are measured");
    if let Some(path) = &options.json {
        // Before minutes go into measuring.
        let file = File::options().create(true).append(true).open(path);
        file.with_context(|| format!("cannot write {}", path.display()))?;
    }
    let room = Room { tools: tools(options)?, places: Places::find()?, stop: Stop::on_signals()? };
    topology::sweep();
    let pace = if options.smoke { Pace::SMOKE } else { Pace::FULL };
    let mut beds = Vec::new();
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for case in cases {
        eprintln!("{}", case.name);
        let (case, absent) = present(case);
        rows.extend(absent);
        if case.subjects.len() < 2 {
            continue;
        }
        let case = &case;
        furnish(&mut beds, case)?;
        let series = series::take(&room, &mut beds, case, pace)?;
        failures.extend(series.failure().map(|failure| format!("{}: {failure}", case.name)));
        rows.extend(rows::of(&room, &beds, case, &series));
    }
    drop(beds);
    printer::print(&rows);
    if let Some(path) = &options.json {
        printer::write_json(path, &rows)?;
    }
    if !failures.is_empty() {
        bail!("connections failed that should not: {}", failures.join("; "));
    }
    Ok(())
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
    beds.retain(|bed| bed.mtu == case.mtu);
    for subject in &case.subjects {
        if !beds.iter().any(|bed| bed.subject == *subject) {
            beds.push(Bed::make(*subject, case.mtu)?);
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
