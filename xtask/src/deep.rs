//! `cargo xtask loom` and `cargo xtask asan`: tests under tools that see what plain runs do not.
//!
//! Owns the two runs, each in a target folder of its own, since the compiler's flags differ.

use std::path::Path;
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

/// Runs the test suite of the user side with AddressSanitizer: the pure rooms, the simulator and the
/// library for packet scripts, and with `all` also the rooms behind the feature `xdp`, their
/// privileged tests and the programs that those start.
///
/// # Errors
/// When a test fails, or there is no nightly compiler with the sanitizer's library.
pub(crate) fn asan(all: bool) -> Result<()> {
    require_sanitizer()?;
    if all && !cmd::is_root() {
        return Err(cmd::BadInput("the tests of namespaces and XDP need root".into()).into());
    }
    let pure = "--no-default-features";
    let library = [pure, "--features", "packetdrill"];
    let mut build = sanitized("rustc");
    build.args(["--lib", "--crate-type", "cdylib"]).args(library);
    cmd::check(&mut build)?;
    // What is measured by the tests of that name is Sluice's memory, not the sanitizer's.
    let mut runs = vec![
        (vec![pure], vec!["--skip", "costs_at_most"]),
        ([&library[..], &["--lib"]].concat(), vec!["packetdrill::"]),
        ([&library[..], &["--test", "packetdrill"]].concat(), vec![]),
    ];
    if all {
        crate::setup::setup(false)?;
        lend(&crate::ebpf::build_ebpf()?)?;
        runs.push((vec!["--lib", "--bins"], vec![]));
        let names = ["verdicts", "netns", "netns6"];
        let tests = names.iter().flat_map(|name| ["--test", *name]).collect();
        runs.push((tests, vec!["--ignored"]));
    }
    let (mut sum, mut is_good) = (0, true);
    for (what, harness) in runs {
        let mut command = sanitized("test");
        command.arg("--no-fail-fast").args(what).arg("--").args(harness);
        let (ran, is_fine) = counted(&mut command)?;
        sum += ran;
        is_good &= is_fine;
    }
    println!("{sum} tests ran with AddressSanitizer");
    if !is_good || sum == 0 {
        bail!("not all is well with AddressSanitizer: see above");
    }
    Ok(())
}

/// Puts the programs of the BPF side where the tests of a build with the sanitizer look for them.
fn lend(program: &Path) -> Result<()> {
    let folder = target_dir().join("asan").join(TARGET);
    std::fs::create_dir_all(&folder)?;
    let beside = ["sluice-guard.o", "impair.o"].map(|name| program.with_file_name(name));
    for object in [program.to_path_buf()].into_iter().chain(beside) {
        let to = folder.join(object.file_name().unwrap_or_default());
        std::fs::copy(&object, to).with_context(|| format!("cannot read {}", object.display()))?;
    }
    Ok(())
}

/// The nightly's cargo, whatever compiler runs this xtask, about to build with the sanitizer.
fn sanitized(task: &str) -> Command {
    let folder = target_dir().join("asan");
    let mut command = Command::new("cargo");
    command.current_dir(cmd::root()).env_remove("RUSTC").env_remove("CARGO");
    command.env("RUSTUP_TOOLCHAIN", "nightly");
    // With a target named, what runs during the build is compiled without the sanitizer.
    command.args([task, "--package", "stack-user", "--target", TARGET]);
    command.arg("--target-dir").arg(&folder);
    // The library for packet scripts finds the runtime in the program that loads it.
    let flags = "-Zsanitizer=address -Cforce-frame-pointers=yes -Clink-arg=-rdynamic";
    command.env("RUSTFLAGS", flags);
    command.env("ASAN_OPTIONS", "detect_stack_use_after_return=1:strict_init_order=1");
    command.env("SLUICE_ASAN", "1");
    command.env("SLUICE_PACKETDRILL_LIB", folder.join(TARGET).join("debug/libsluice.so"));
    command
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
    let folder = Path::new(root.trim()).join(format!("lib/rustlib/{TARGET}/lib"));
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

/// What is tested.
const TARGET: &str = "x86_64-unknown-linux-gnu";
