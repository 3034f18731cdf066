//! `cargo xtask`: build, run and test Sluice.
//!
//! Owns the command line of xtask alone; each command stands in a file of its own.

mod bench;
mod ci;
mod cmd;
mod deep;
mod demo;
mod ebpf;
mod fuzz;
mod lex;
mod mutants;
mod packetdrill;
mod rfc;
mod rooms;
mod run;
mod setup;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs and tests Sluice.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds everything in release and serves on an interface; makes a demo where `veth0` is named
    /// and does not exist.
    Run(run::Options),
    /// Runs every test; the last line is the sum.
    Test(test::Options),
    /// Measures Sluice beside its peers: micro, macro, report, compare.
    Bench(bench::Options),
    /// Formatting, lints, documentation, the import check, then every test.
    Ci,
    /// Writes docs/rfc-compliance.md from the comments that name requirements.
    Rfc {
        /// Only compares, and fails where the file is stale or a requirement is not met.
        #[arg(long)]
        check: bool,
    },
    /// Explores the interleavings of the tables' owner and readers with loom.
    Loom,
    /// Runs the tests with AddressSanitizer, which takes a nightly compiler.
    Asan {
        /// Also the rooms of the feature `xdp` and the tests that need root.
        #[arg(long)]
        all: bool,
    },
    /// Runs the fuzz targets; needs a nightly compiler.
    Fuzz(fuzz::Options),
    /// Changes a random sample of TCP's lines, one at a time, and counts what the tests notice.
    Mutants(mutants::Options),
    /// Finds or installs what building needs.
    Setup {
        /// Also what only developers need: cargo-fuzz and the like.
        #[arg(long)]
        dev: bool,
        /// Also the peers that the bench measures beside Sluice: nginx, wrk, iperf3, valgrind. None of
        /// them is started as a service.
        #[arg(long)]
        bench: bool,
    },
    /// Builds the XDP program and prints where it lies.
    BuildEbpf,
    /// Builds the library for packet scripts; the last line is its path, for packetdrill's
    /// --so_filename.
    PacketdrillLib,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Test(options) => test::test(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Ci => ci::ci(),
        Command::Mutants(options) => mutants::mutants(&options),
        Command::Rfc { check } => rfc::rfc(check).map(|()| ExitCode::SUCCESS),
        Command::Loom => deep::loom().map(|()| ExitCode::SUCCESS),
        Command::Asan { all } => deep::asan(all).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(options) => fuzz::fuzz(&options),
        Command::Setup { dev, bench } => {
            let outcome =
                setup::setup(dev).and_then(|()| if bench { setup::peers() } else { Ok(()) });
            outcome.map(|()| ExitCode::SUCCESS)
        }
        Command::PacketdrillLib => packetdrill::library().map(|library| {
            println!("{}", library.display());
            ExitCode::SUCCESS
        }),
        Command::BuildEbpf => ebpf::build_ebpf().map(|program| {
            println!("{}", program.display());
            ExitCode::SUCCESS
        }),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        match error.downcast_ref::<cmd::BadInput>() {
            Some(_) => ExitCode::from(2),
            None => ExitCode::FAILURE,
        }
    })
}
