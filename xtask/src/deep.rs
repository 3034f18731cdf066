//! `cargo xtask loom` and `cargo xtask asan`: tests under tools that see what plain runs do not.
//!
//! Owns the two runs, each in a target folder of its own, since the compiler's flags differ.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cmd;
use crate::ebpf::target_dir;

/// Explores the interleavings of the tables' owner and readers: every test named `interleavings`.
///
/// # Errors
/// When an interleaving breaks a promise, or no test has run.
pub(crate) fn loom() -> Result<()> {
    let mut command = cmd::cargo();
    command.args(["test", "--package", "stack-user", "--no-default-features", "--lib"]);
    command.arg("--target-dir").arg(target_dir().join("loom"));
    command.env("RUSTFLAGS", "--cfg loom");
    let (ran, is_good) = counted(command.args(["--", "interleavings"]))?;
    if !is_good || ran == 0 {
        bail!("{ran} tests of interleavings ran, and not all is well: see above");
    }
    Ok(())
}

/// Runs the whole test suite of the user side with AddressSanitizer: every pure room, the
/// simulator, and with `all` also the rooms behind the feature `xdp`, their privileged tests and
/// the programs that those start.
///
/// # Errors
/// When a test fails, or there is no nightly compiler with the sanitizer's library.
pub(crate) fn asan(all: bool) -> Result<()> {
    require_sanitizer()?;
    let mut is_good = true;
    let mut ran = 0;
    let features = if all { &[][..] } else { &["--no-default-features"] };
    let mut runs = vec![Vec::new()];
    if all {
        if !cmd::is_root() {
            return Err(cmd::BadInput("the tests of namespaces and XDP need root".into()).into());
        }
        crate::setup::setup(false)?;
        crate::ebpf::build_ebpf()?;
        runs.push(vec!["--test", "verdicts", "--test", "netns"]);
    }
    for tests in runs {
        let mut command = Command::new("cargo");
        // The nightly's own cargo, whatever compiler runs this xtask.
        command.current_dir(cmd::root()).env_remove("RUSTC").env_remove("CARGO");
        command.env("RUSTUP_TOOLCHAIN", "nightly");
        command.args(["test", "--no-fail-fast", "--package", "stack-user", "--target", TARGET]);
        command.arg("--target-dir").arg(target_dir().join("asan"));
        command.args(features).args(&tests);
        // Code for the build itself is compiled without: it runs before there is a runtime.
        command.env("RUSTFLAGS", "-Zsanitizer=address -Cforce-frame-pointers=yes");
        command.env("ASAN_OPTIONS", "detect_stack_use_after_return=1:strict_init_order=1");
        // What is measured there is Sluice's memory, not the sanitizer's.
        command.args(["--", "--skip", "costs_at_most"]);
        if !tests.is_empty() {
            command.arg("--ignored");
        }
        let (tests, is_fine) = counted(&mut command)?;
        ran += tests;
        is_good &= is_fine;
    }
    println!("{ran} tests ran with AddressSanitizer");
    if !is_good || ran == 0 {
        bail!("not all is well with AddressSanitizer: see above");
    }
    Ok(())
}

/// Runs [`asan`] on the pure rooms where a compiler for it is there, else says what is missing.
///
/// # Errors
/// When a test fails.
pub(crate) fn asan_where_possible() -> Result<()> {
    if let Err(missing) = require_sanitizer() {
        println!("left out: {missing}");
        return Ok(());
    }
    asan(false)
}

/// Finds the sanitizer's library beside the nightly compiler.
fn require_sanitizer() -> Result<()> {
    let missing = || {
        let line = "AddressSanitizer needs a nightly compiler with its library; type:\n    \
                    rustup toolchain install nightly --profile minimal";
        cmd::BadInput(line.to_string())
    };
    let root = cmd::quiet("rustup run nightly rustc --print sysroot").map_err(|_| missing())?;
    let folder = std::path::Path::new(root.trim()).join(format!("lib/rustlib/{TARGET}/lib"));
    let names = std::fs::read_dir(folder).map_err(|_| missing())?;
    let mut names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    match names.any(|name| name.contains("rt.asan")) {
        true => Ok(()),
        false => Err(missing().into()),
    }
}

/// Runs tests with their output shown: how many ran, and whether all passed.
fn counted(command: &mut Command) -> Result<(usize, bool)> {
    crate::test::run_and_sum(command)
        .map(|(sum, is_complete)| (sum.ran(), is_complete && sum.failed() == 0))
        .context("the tests did not run")
}

/// What is tested: named, so that build scripts and macros are built without the flags.
const TARGET: &str = "x86_64-unknown-linux-gnu";
