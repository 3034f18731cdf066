//! The command line of the bench: `cargo xtask bench` builds it in release and hands its options on.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use bench::{compare, load, printer, serve, spin, system};
use clap::{Parser, Subcommand};

/// Measures Sluice beside its peers.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Whole systems over a veth pair: the kernel's client against Sluice and its peers; needs root.
    Macro(system::Options),
    /// The load client.
    #[command(hide = true)]
    Load(load::Options),
    /// The kernel's server.
    #[command(hide = true)]
    Serve(serve::Options),
    /// Keeps a CPU awake.
    #[command(hide = true)]
    Spin(spin::Options),
    /// Says what moved beyond its spread between two files of rows.
    Compare {
        /// The rows of the earlier run.
        old: PathBuf,
        /// The rows of the later run.
        new: PathBuf,
    },
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
        Command::Macro(options) => system::run(&options),
        Command::Load(options) => load::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Spin(options) => spin::run(&options),
        Command::Compare { old, new } => {
            let (old, new) = (printer::read_json(&old)?, printer::read_json(&new)?);
            print!("{}", compare::report(&old, &new)?);
            Ok(())
        }
    }
}
