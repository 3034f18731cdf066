//! `cargo xtask bench`: builds the bench in release and runs it.
//!
//! What is measured, and what the options mean, is the bench's business: all of them are handed on as
//! they are.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{cmd, ebpf, run};

/// The options of the bench, handed on as they are.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// What to measure, and its options; `cargo xtask bench --help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WHAT")]
    args: Vec<String>,
}

/// Builds, then becomes the bench: signals and the exit code need no forwarding.
pub(crate) fn bench(options: &Options) -> Result<ExitCode> {
    match options.args.first().map(String::as_str) {
        // The subject itself, both sides of it.
        Some("macro" | "flood" | "pktgen") => {
            run::build()?;
        }
        Some("generate") => {
            ebpf::build_ebpf()?;
        }
        // For the verdicts alone, whose rows are absent without.
        Some("micro") if cmd::is_root() && ebpf::Route::find().is_some() => {
            if let Err(error) = ebpf::build_ebpf() {
                eprintln!("bench: {error:#}");
            }
        }
        _ => {}
    }
    cmd::check(cmd::cargo().args(["build", "--release", "--package", "bench"]))?;
    let bench = ebpf::target_dir().join("release/bench");
    let error = Command::new(&bench).args(&options.args).exec();
    Err(error).with_context(|| format!("cannot start {}", bench.display()))
}
