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
    let bench = build(needs_sluice(&options.args))?;
    let error = Command::new(&bench).args(&options.args).exec();
    Err(error).with_context(|| format!("cannot start {}", bench.display()))
}

/// A short run of micro and macro and their report, which leaves nothing behind; without root micro
/// alone.
///
/// # Errors
/// When a part of it fails.
pub(crate) fn smoke() -> Result<()> {
    if !cmd::is_root() {
        println!("left out: the macro bench makes network namespaces, which needs root");
    }
    let bench = build(cmd::is_root())?;
    cmd::check(Command::new(bench).args(["report", "--smoke"]))
}

/// Builds the bench, and with `with_sluice` the subject of whole systems, both sides of it.
fn build(with_sluice: bool) -> Result<PathBuf> {
    if with_sluice {
        run::build()?;
    }
    cmd::check(cmd::cargo().args(["build", "--release", "--package", "bench"]))?;
    Ok(ebpf::target_dir().join("release/bench"))
}

/// Whether these options run whole systems: `macro`, and a report that is given no file of rows.
fn needs_sluice(args: &[String]) -> bool {
    let rest = || args.iter().skip(1);
    match args.first().map(String::as_str) {
        Some("macro") => true,
        Some("report") => cmd::is_root() && !rest().any(|arg| is_help(arg)) && !has_file(rest()),
        _ => false,
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
    fn micro_and_compare_need_no_sluice() {
        for line in ["micro", "compare a b", "report a.json", "report --help"] {
            let args: Vec<String> = line.split(' ').map(str::to_string).collect();
            assert!(!needs_sluice(&args), "{line}");
        }
        assert!(needs_sluice(&["macro".into()]));
    }
}
