//! The macro bench: whole systems over a veth pair, the same kernel client against each.
//!
//! Owns the options and the course of a run; what is measured stands in `plan`, how in `series`.

mod bed;
mod check;
mod flood;
mod nginx;
pub mod pktgen;
mod plan;
mod process;
mod rows;
mod series;
mod spinners;
mod stop;
mod wrk;

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::unistd::geteuid;

use crate::row::{FAILED, Row};
use crate::{printer, tools, topology};
use bed::{Bed, Places, Room, Subject, Tools};
use plan::{Case, Pace};
pub(crate) use process::quiet;
pub(crate) use stop::Stop;

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
    let cases = plan::cases(options.smoke, options.filter.as_deref());
    take(options, cases)
}

/// Measures the floods alone.
///
/// # Errors
/// As [`run`].
pub fn run_floods(options: &Options) -> Result<()> {
    take(options, Vec::new())
}

fn take(options: &Options, cases: Vec<Case>) -> Result<()> {
    ensure!(geteuid().is_root(), "the macro bench makes network namespaces, which needs root");
    for (program, package) in [("ip", "iproute2"), ("tc", "iproute2"), ("ethtool", "ethtool")] {
        ensure!(tools::is_there(program), "{}", tools::missing(program, package));
    }
    let checks = check::all(options.filter.as_deref());
    let floods = flood::cases(options.smoke, options.filter.as_deref());
    ensure!(
        !(cases.is_empty() && checks.is_empty() && floods.is_empty()),
        "no row is called so; without a filter all are measured"
    );
    if let Some(path) = &options.json {
        // Before minutes go into measuring.
        let file = File::options().create(true).append(true).open(path);
        file.with_context(|| format!("cannot write {}", path.display()))?;
    }
    let room =
        Room { tools: programs(options)?, places: Places::find()?, stop: Stop::on_signals()? };
    topology::sweep();
    let pace = if options.smoke { Pace::SMOKE } else { Pace::FULL };
    let mut beds = Vec::new();
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    let count = cases.len() + checks.len();
    for (n, case) in cases.into_iter().enumerate() {
        eprintln!("{} ({} of {count})", case.name, n + 1);
        let (case, absent) = present(case);
        rows.extend(absent);
        if case.subjects.len() >= 2 {
            let measured = measure(&room, &mut beds, &case, pace);
            room.stop.check()?;
            let measured = measured.unwrap_or_else(|error| {
                eprintln!("  failed: {error:#}");
                // Whatever is broken about them is no matter of the next case.
                beds.clear();
                rows::failed(&case, &format!("{error:#}"))
            });
            failures.extend(failure(&case.name, &measured));
            rows.extend(measured);
        }
        if let Some(path) = &options.json {
            // What there is so far outlives whatever ends the run.
            printer::write_json(path, &rows)?;
        }
    }
    for (n, check) in checks.iter().enumerate() {
        eprintln!("{} ({} of {count})", check.name(), count - checks.len() + n + 1);
        let checked = check.rows(&room, &mut beds, pace)?;
        failures.extend(failure(check.name(), &checked));
        rows.extend(checked);
        if let Some(path) = &options.json {
            printer::write_json(path, &rows)?;
        }
    }
    drop(beds);
    rows.extend(flood::measure(&room, &floods, pace)?);
    printer::print(&rows);
    ensure!(failures.is_empty(), "not all went as it should: {}", failures.join("; "));
    Ok(())
}

/// The rows of one case.
fn measure(room: &Room, beds: &mut Vec<Bed>, case: &Case, pace: Pace) -> Result<Vec<Row>> {
    furnish(beds, case)?;
    let series = series::take(room, beds, case, pace)?;
    Ok(rows::of(room, beds, case, &series))
}

/// What went wrong with a case, as its rows say.
fn failure(name: &str, rows: &[Row]) -> Option<String> {
    let how = rows.iter().find_map(|row| row.config.get(FAILED))?;
    Some(format!("{name}: {how}"))
}

/// The case with the subjects that are there, and rows for those that are not.
fn present(mut case: Case) -> (Case, Vec<Row>) {
    let (all, work) = (case.subjects.clone(), case.tools());
    let missing = |subject: &Subject| {
        let mut needed = work.iter().chain(subject.tools());
        needed.find(|(program, _)| !tools::is_there(program))
    };
    case.subjects.retain(|subject| missing(subject).is_none());
    let absent = all.iter().skip(1).filter_map(|peer| Some((peer, missing(peer)?)));
    let rows = absent.flat_map(|(peer, (program, package))| {
        rows::absent(&case, [all[0], *peer], &tools::missing(program, package))
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

/// Where the programs of a run lie.
fn programs(options: &Options) -> Result<Tools> {
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
