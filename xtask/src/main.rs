//! `cargo xtask`: build, run and test Sluice.
//!
//! Owns the command line alone; each command's work stands in a file of its name.

use anyhow::Result;
use clap::{Parser, Subcommand};

mod ebpf;
mod setup;

/// Build, run and test Sluice.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install what building and testing need.
    Setup {
        /// Also install the tools of development: cargo-fuzz, cargo-mutants, cargo-deny, tshark.
        #[arg(long)]
        dev: bool,
    },
    /// Build the XDP program; prints the path of the object.
    BuildEbpf,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Setup { dev } => setup::setup(dev),
        Command::BuildEbpf => {
            println!("{}", ebpf::build_ebpf()?.display());
            Ok(())
        }
    }
}
