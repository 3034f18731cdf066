//! `cargo xtask test`: every test, and one sum over all of them.
//!
//! Owns the order of the runs and the sum. Tests that need root are ignored by plain `cargo test`;
//! here they run on their own, and it is a failure when none of them did.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::ops::AddAssign;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::cmd::{self, BadInput};
use crate::{ebpf, packetdrill, setup};

/// What to test.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Full sizes and counts (sets SLUICE_LONG=1).
    #[arg(long)]
    long: bool,
    /// Only what an ordinary user can run: no root, no C library, no BPF toolchain.
    #[arg(long)]
    unprivileged: bool,
    /// Only tests whose names hold one of these.
    filters: Vec<String>,
}

/// Runs the tests. The last line printed is `N passed, N failed, N skipped`.
pub(crate) fn test(options: &Options) -> Result<ExitCode> {
    if !options.unprivileged {
        if !cmd::is_root() {
            let line = "the tests of namespaces and XDP need root: use sudo, or --unprivileged";
            return Err(BadInput(line.into()).into());
        }
        setup::setup(false)?;
        ebpf::build_ebpf()?;
    }
    let skips = SkipFile::create()?;
    let mut run = Run { options, skips: &skips, sum: Sum::default(), is_broken: false };
    run.unprivileged()?;
    let privileged = if options.unprivileged { 0 } else { run.privileged()? };
    let Run { mut sum, mut is_broken, .. } = run;

    for line in skips.lines()? {
        // A test that found out at run time that it cannot run says so here and then "passes".
        println!("skipped: {line}");
        sum.passed = sum.passed.saturating_sub(1);
        sum.ignored += 1;
    }
    if !options.unprivileged && options.filters.is_empty() && privileged == 0 {
        println!("no privileged test ran");
        is_broken = true;
    }
    if is_broken {
        println!("not all of it ran to its end: see above");
    }
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.ignored);
    Ok(if sum.failed > 0 || is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The runs of cargo so far.
struct Run<'a> {
    options: &'a Options,
    skips: &'a SkipFile,
    sum: Sum,
    /// Something did not compile, or a test program ended without its result.
    is_broken: bool,
}

impl Run<'_> {
    /// Units, simulations and examples of the documentation.
    fn unprivileged(&mut self) -> Result<()> {
        let mut rest = vec!["--workspace", "--exclude", "stack-ebpf"];
        if self.options.unprivileged {
            rest.push("--no-default-features");
        }
        println!("== units and simulations");
        self.cargo_test(&["--package", "stack-ebpf", "--lib"], &[])?;
        self.cargo_test(&rest, &[])?;
        println!("== the library for packet scripts");
        packetdrill::library()?;
        let build =
            ["--package", "stack-user", "--no-default-features", "--features", "packetdrill"];
        self.cargo_test(&[&build[..], &["--lib"]].concat(), &["packetdrill::"])?;
        self.cargo_test(&[&build[..], &["--test", "packetdrill"]].concat(), &[])
    }

    /// What needs root; returns how many tests of it ran.
    fn privileged(&mut self) -> Result<usize> {
        println!("== the XDP program's verdicts, and namespaces against the kernel");
        let before = self.sum;
        let mut args = vec!["--package", "stack-user"];
        args.extend(PRIVILEGED.iter().flat_map(|name| ["--test", name]));
        self.cargo_test(&args, &["--ignored"])?;
        let ran = self.sum.ran() - before.ran();
        // The same tests were counted as ignored by the first run.
        self.sum.ignored = self.sum.ignored.saturating_sub(ran);
        Ok(ran)
    }

    /// `cargo test`, its output shown and summed up. A failure to compile is remembered, not
    /// returned: the other runs go on.
    fn cargo_test(&mut self, args: &[&str], harness: &[&str]) -> Result<()> {
        let mut command = cmd::cargo();
        command.args(["test", "--no-fail-fast"]).args(args);
        command.arg("--").args(harness).args(&self.options.filters);
        command.env("SLUICE_SKIPS", &self.skips.0);
        command.env("SLUICE_PACKETDRILL_LIB", packetdrill::path());
        if self.options.long {
            command.env("SLUICE_LONG", "1");
        }
        let (sum, is_complete) = run_and_sum(&mut command)?;
        self.sum += sum;
        self.is_broken |= !is_complete;
        Ok(())
    }
}

/// Runs `command` with its output shown; gives the sum, and whether all that started was summed.
pub(crate) fn run_and_sum(command: &mut Command) -> Result<(Sum, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no output")?;
    let mut reader = Tally::default();
    for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        reader.line(&line);
    }
    let status = child.wait()?;
    // Cargo fails also where tests failed; without a failed test something else went wrong.
    let is_complete = reader.is_complete() && (status.success() || reader.sum.failed > 0);
    Ok((reader.sum, is_complete))
}

/// Reads the output of test harnesses.
#[derive(Default)]
struct Tally {
    sum: Sum,
    /// Harnesses that began.
    begun: usize,
    /// Harnesses that gave their result.
    ended: usize,
}

impl Tally {
    fn line(&mut self, line: &str) {
        if is_start(line) {
            self.begun += 1;
        } else if let Some(sum) = Sum::parse(line) {
            self.ended += 1;
            self.sum += sum;
        }
    }

    /// Whether each harness came to its end: one that crashed prints no result.
    fn is_complete(&self) -> bool {
        self.begun == self.ended
    }
}

/// Whether this is the first line of a harness: `running N tests`.
fn is_start(line: &str) -> bool {
    let rest = line.strip_prefix("running ").unwrap_or_default();
    rest.strip_suffix(" tests")
        .or(rest.strip_suffix(" test"))
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// How many tests went how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Sum {
    pub(crate) fn ran(self) -> usize {
        self.passed + self.failed
    }

    pub(crate) fn failed(self) -> usize {
        self.failed
    }

    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |name: &str| {
            counts.split("; ").find_map(|part| part.strip_suffix(name)?.trim().parse().ok())
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            ignored: count("ignored")?,
        })
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// The file where tests that cannot run on this machine write one line each: name and reason.
struct SkipFile(PathBuf);

impl SkipFile {
    fn create() -> Result<Self> {
        let path = ebpf::target_dir().join(format!("skips-{}", std::process::id()));
        fs::create_dir_all(ebpf::target_dir())?;
        fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }

    fn lines(&self) -> Result<Vec<String>> {
        let mut text = String::new();
        fs::File::open(&self.0)?.read_to_string(&mut text)?;
        Ok(text.lines().map(str::to_string).collect())
    }
}

impl Drop for SkipFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Test programs whose tests are ignored by plain `cargo test` because they need root.
const PRIVILEGED: &[&str] = &["verdicts", "netns", "netns6"];

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 3 tests\ntest a ... ok\n\
        test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s\n\
        running 1 test\ntest b ... FAILED\n\
        test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s";

    fn read(output: &str) -> Tally {
        let mut reader = Tally::default();
        output.lines().for_each(|line| reader.line(line));
        reader
    }

    #[test]
    fn results_of_all_harnesses_are_added() {
        let reader = read(OUTPUT);
        assert_eq!(reader.sum, Sum { passed: 2, failed: 1, ignored: 1 });
        assert!(reader.is_complete());
    }

    #[test]
    fn harness_without_a_result_is_noticed() {
        assert!(!read("running 1 test\ntest a ... ").is_complete());
    }

    #[test]
    fn other_lines_count_nothing() {
        let reader = read("running late tests\ntest result: unknown\n3 passed");
        assert_eq!((reader.sum, reader.begun), (Sum::default(), 0));
    }
}
