//! `cargo xtask bench`: builds the bench in release and runs it.
//!
//! What is measured, and what the options mean, is the bench's business: all of them are handed on as
//! they are.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
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
    let bench = build(needs(&options.args))?;
    let error = Command::new(&bench).args(&options.args).exec();
    Err(error).with_context(|| format!("cannot start {}", bench.display()))
}

/// A short run of micro, macro and flood and their report, which leaves nothing behind; without root micro
/// alone.
///
/// # Errors
/// When a part of it fails.
pub(crate) fn smoke() -> Result<()> {
    if !cmd::is_root() {
        println!("left out: the macro bench makes network namespaces, which needs root");
    }
    let bench = build(if cmd::is_root() { Needs::Sluice } else { Needs::Nothing })?;
    cmd::check(Command::new(bench).args(["report", "--smoke"]))
}

/// What a command of the bench needs besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// The XDP programs; where they cannot be built, rows are absent.
    ProgramsIfPossible,
    /// The XDP programs.
    Programs,
    /// The subject of whole systems, both sides of it.
    Sluice,
}

/// Builds the bench and what it needs.
fn build(needs: Needs) -> Result<PathBuf> {
    match needs {
        Needs::Nothing => {}
        Needs::ProgramsIfPossible => {
            if cmd::is_root()
                && ebpf::Route::find().is_some()
                && let Err(error) = ebpf::build_ebpf()
            {
                eprintln!("bench: {error:#}");
            }
        }
        Needs::Programs => drop(ebpf::build_ebpf()?),
        Needs::Sluice => drop(run::build()?),
    }
    cmd::check(cmd::cargo().args(["build", "--release", "--package", "bench"]))?;
    Ok(ebpf::target_dir().join("release/bench"))
}

/// What these options need: a report that is given no file of rows runs all.
fn needs(args: &[String]) -> Needs {
    let rest = || args.iter().skip(1);
    if rest().any(|arg| is_help(arg)) {
        return Needs::Nothing;
    }
    match args.first().map(String::as_str) {
        Some("macro" | "flood" | "pktgen") => Needs::Sluice,
        Some("report") if has_file(rest()) => Needs::Nothing,
        Some("report") if cmd::is_root() => Needs::Sluice,
        Some("generate") => Needs::Programs,
        Some("micro") => Needs::ProgramsIfPossible,
        _ => Needs::Nothing,
    }
}

fn is_help(arg: &str) -> bool {
    arg == "-h" || arg == "--help"
}

/// Whether one of the report's options is a file of rows, not the value of another option.
fn has_file<'a>(mut args: impl Iterator<Item = &'a String>) -> bool {
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" | "--into" => drop(args.next()),
            option if option.starts_with('-') => {}
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(line: &str) -> bool {
        has_file(line.split_whitespace().map(str::to_string).collect::<Vec<_>>().iter())
    }

    #[test]
    fn values_of_options_are_no_files_of_rows() {
        assert!(has("a.json") && has("--json out.json a.json"));
        assert!(!has("") && !has("--smoke --json out.json --into folder") && !has("--into=folder"));
    }

    #[test]
    fn only_commands_that_run_whole_systems_need_sluice() {
        let needs = |line: &str| needs(&line.split(' ').map(str::to_string).collect::<Vec<_>>());
        for line in ["compare a b", "report a.json", "report --help", "macro --help"] {
            assert_eq!(needs(line), Needs::Nothing, "{line}");
        }
        assert_eq!(needs("micro --smoke"), Needs::ProgramsIfPossible);
        assert_eq!(needs("generate syn"), Needs::Programs);
        for line in ["macro", "flood", "pktgen --iface veth0"] {
            assert_eq!(needs(line), Needs::Sluice, "{line}");
        }
    }
}
