//! The command line of the bench: `cargo xtask bench` builds it in release and hands its options on.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use bench::micro::pair::Plan;
use bench::micro::{self, stack::count};
use bench::{compare, load, machine, printer, serve, smol, spin, system};
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
    /// The load client.
    #[command(hide = true)]
    Load(load::Options),
    /// The kernel's server.
    #[command(hide = true)]
    Serve(serve::Options),
    /// smoltcp's server.
    #[command(hide = true)]
    Smoltcp(smol::Options),
    /// Keeps a CPU awake.
    #[command(hide = true)]
    Spin(spin::Options),
    /// One scene of the stack some times, for callgrind: prints how many operations that were.
    #[command(hide = true)]
    Scene {
        /// Which.
        case: usize,
        /// On which stack.
        stack: String,
        /// How many rounds.
        rounds: usize,
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
        Command::Micro(Micro { smoke, json, filter }) => {
            let mut config = machine::config();
            config.extend(machine::in_memory());
            let plan = if smoke { Plan::smoke(filter, config) } else { Plan::full(filter, config) };
            let rows = micro::run(&plan)?;
            printer::print(&rows);
            json.map_or(Ok(()), |path| printer::write_json(&path, &rows))
        }
        Command::Macro(options) => system::run(&options),
        Command::Load(options) => load::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Smoltcp(options) => smol::run(&options),
        Command::Spin(options) => spin::run(&options),
        Command::Scene { case, stack, rounds } => {
            println!("{}", count::play(case, &stack, rounds)?);
            Ok(())
        }
        Command::Compare { old, new } => {
            let (old, new) = (printer::read_json(&old)?, printer::read_json(&new)?);
            print!("{}", compare::report(&old, &new)?);
            Ok(())
        }
    }
}
