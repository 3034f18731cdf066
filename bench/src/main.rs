//! The command line of the bench: `cargo xtask bench` builds it in release and hands its options on.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use bench::micro::pair::Plan;
use bench::micro::{self, stack::count};
use bench::row::{FAILED, Row};
use bench::{compare, generator, load, machine, printer, report, serve, smol, spin, system};
use clap::{Args, Parser, Subcommand};

/// Measures Sluice beside its peers.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Parts of the stack, and the whole of it in memory, beside peers that do the same.
    Micro(Micro),
    /// Whole systems over a veth pair: the kernel's client against Sluice and its peers; needs root.
    Macro(system::Options),
    /// Clients that are served during SYN floods, by Sluice and by the kernel; needs root and, for all of
    /// them, about eleven minutes, and up to twice that where others disturb it.
    Flood(system::Floods),
    /// How many frames in a second the worker, a drop and a redirect take, by size and queues; needs
    /// root.
    Pktgen(system::pktgen::Options),
    /// Sends frames with forged sources out of a veth, written and paced by a BPF program; needs root.
    Generate(generator::Options),
    /// Writes docs/benchmarks.md, its plots and the README's figures, from files of rows or from a run of
    /// micro, macro and flood.
    Report(report::Options),
    /// The load client.
    #[command(hide = true)]
    Load(load::Options),
    /// Short visits at a steady pace.
    #[command(hide = true)]
    Visit(load::visits::Options),
    /// The kernel's server.
    #[command(hide = true)]
    Serve(serve::Options),
    /// smoltcp's server.
    #[command(hide = true)]
    Smoltcp(smol::Options),
    /// Keeps a CPU awake.
    #[command(hide = true)]
    Spin(spin::Options),
    /// One scene of the stack some times, for callgrind and perf: prints how many operations that were,
    /// and on the standard error how long each took.
    #[command(hide = true)]
    Scene {
        /// Which.
        case: usize,
        /// On which stack.
        stack: String,
        /// How many rounds.
        rounds: usize,
        /// How many connections there are.
        #[arg(default_value_t = 1)]
        conns: usize,
    },
    /// Says what moved beyond its spread between two files of rows.
    Compare {
        /// The rows of the earlier run.
        old: PathBuf,
        /// The rows of the later run.
        new: PathBuf,
    },
}

#[derive(Args)]
struct Micro {
    /// Everything once at its smallest size: shows that the bench works, and measures nothing.
    #[arg(long)]
    smoke: bool,
    /// Writes the rows to this file too, as one array of JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only works whose name holds this.
    filter: Option<String>,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Micro(options) => micro(options),
        Command::Report(options) => report::run(&options),
        Command::Macro(options) => system::run(&options),
        Command::Flood(options) => system::run_floods(&options),
        Command::Pktgen(options) => system::pktgen::run(&options),
        Command::Generate(options) => generator::run(&options),
        Command::Load(options) => load::run(&options),
        Command::Visit(options) => load::visits::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Smoltcp(options) => smol::run(&options),
        Command::Spin(options) => spin::run(&options),
        Command::Scene { case, stack, rounds, conns } => {
            println!("{}", count::play(case, &stack, (rounds, conns))?);
            Ok(())
        }
        Command::Compare { old, new } => {
            let [old, new] = [old, new].map(|path| -> Result<Vec<Row>> {
                let rows = printer::read_json(&path)?;
                ensure!(!rows.is_empty(), "there is not a single row in {}", path.display());
                Ok(rows)
            });
            let (old, new) = (old?, new?);
            print!("{}", compare::report(&old, &new)?);
            Ok(())
        }
    }
}

fn micro(Micro { smoke, json, filter }: Micro) -> Result<()> {
    let mut config = machine::config();
    config.extend(machine::in_memory());
    let plan = if smoke { Plan::smoke(filter, config) } else { Plan::full(filter, config) };
    json.as_ref().map_or(Ok(()), |to| printer::check_json(to))?;
    // What there is so far outlives whatever ends the run.
    let write = |rows: &[Row]| json.as_ref().map_or(Ok(()), |to| printer::write_json(to, rows));
    let rows = micro::run(&plan, write)?;
    printer::print(&rows);
    let failed = rows.iter().filter(|row| row.config.contains_key(FAILED)).count();
    ensure!(failed == 0, "{failed} rows failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_are_taken_where_they_do_something_and_else_refused() {
        Cli::command().debug_assert();
        let is_taken =
            |line: &str| Cli::try_parse_from(format!("bench {line}").split_whitespace()).is_ok();
        for line in [
            "macro --churn",
            "macro --churn 2 --smoke",
            "flood flat",
            "flood --ipv6 highest",
            "pktgen --iface v",
        ] {
            assert!(is_taken(line), "{line}");
        }
        for line in [
            "macro --ipv6",
            "flood --churn",
            "macro connect --churn",
            "macro --churn 0",
            "pktgen --to 10.0.0.1:9",
        ] {
            assert!(!is_taken(line), "{line}");
        }
    }
}
