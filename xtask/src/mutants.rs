//! `cargo xtask mutants`: changes one line of TCP after the other and asks whether a test notices.
//!
//! Owns the choice of the sample and the score; cargo-mutants makes the changes in a copy of the
//! workspace and runs the library's tests, the golden grid among them. No part of `ci`.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::ebpf::{clean_command, target_dir};
use crate::{cmd, setup};

/// What is sampled, and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many mutants to try.
    #[arg(long, default_value_t = 200)]
    sample: usize,
    /// Where the choice begins; a new one each time where it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Mutants tried at the same time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// After so many minutes it stops, and judges what was tried.
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    /// The files to change, as a pattern below the workspace's root.
    #[arg(long, default_value = "stack-user/src/tcp/**")]
    files: String,
}

/// Tries a sample of mutants and prints the score; the survivors stand before it.
///
/// # Errors
/// When cargo-mutants cannot be installed or run, or the tests fail without any change.
pub(crate) fn mutants(options: &Options) -> Result<ExitCode> {
    let tool = tool()?;
    let all = list(&tool, &options.files)?;
    if all.is_empty() {
        bail!(cmd::BadInput(format!("no mutant in {}", options.files)));
    }
    let seed = options.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let chosen = sample(&all, options.sample, seed);
    println!("mutants: {} of {} in {}, seed {seed}", chosen.len(), all.len(), options.files);
    println!("    again: cargo xtask mutants --sample {} --seed {seed}", options.sample);
    let outcome = run(&tool, (&chosen, &all), options)?;
    for (name, lines) in [("missed", &outcome.missed), ("timeout", &outcome.timeout)] {
        for line in lines {
            println!("    {name}: {line}");
        }
    }
    println!("{}", outcome.score(chosen.len()));
    Ok(ExitCode::SUCCESS)
}

/// cargo-mutants: the one under `target/`, one on PATH, or one that is compiled now.
fn tool() -> Result<PathBuf> {
    let root = target_dir().join("tools").join("mutants");
    let ours = root.join("bin/cargo-mutants");
    let is_there = |program: &Path| {
        let output = Command::new(program).args(["mutants", "--version"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let on_path = PathBuf::from("cargo-mutants");
    if let Some(there) = [&ours, &on_path].into_iter().find(|program| is_there(program)) {
        return Ok(there.clone());
    }
    setup::install_tool("cargo-mutants", VERSION, &root)?;
    Ok(ours)
}

/// A call of cargo-mutants in the workspace for these files.
fn call(tool: &Path, files: &str) -> Command {
    let mut command = clean_command(&tool.display().to_string());
    command.current_dir(cmd::root()).args(["mutants", "--package", "stack-user", "--file", files]);
    command
}

/// The names of all mutants, in order.
fn list(tool: &Path, files: &str) -> Result<Vec<String>> {
    let output = call(tool, files).arg("--list").output().context("cannot start cargo-mutants")?;
    if !output.status.success() {
        bail!("cargo-mutants --list failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut names: Vec<String> = text.lines().map(String::from).collect();
    names.sort();
    Ok(names)
}

/// `count` of `all`, each as likely as any other: the first steps of a shuffle.
fn sample(all: &[String], count: usize, seed: u64) -> Vec<String> {
    let mut all = all.to_vec();
    let mut state = seed;
    let count = count.min(all.len());
    for at in 0..count {
        let rest = (all.len() - at) as u128;
        let step = (u128::from(next(&mut state)) * rest) >> 64;
        all.swap(at, at + step as usize);
    }
    all.truncate(count);
    all
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What became of the mutants.
#[derive(Debug, Default)]
struct Outcome {
    caught: Vec<String>,
    missed: Vec<String>,
    timeout: Vec<String>,
    unviable: Vec<String>,
}

impl Outcome {
    /// Reads what cargo-mutants wrote so far.
    fn read(folder: &Path) -> Self {
        let lines = |name: &str| {
            let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
            text.lines().map(String::from).collect()
        };
        Self {
            caught: lines("caught.txt"),
            missed: lines("missed.txt"),
            timeout: lines("timeout.txt"),
            unviable: lines("unviable.txt"),
        }
    }

    fn tried(&self) -> impl Iterator<Item = &String> {
        [&self.caught, &self.missed, &self.timeout, &self.unviable].into_iter().flatten()
    }

    /// The result in a sentence. A mutant that makes the tests hang is noticed too.
    fn score(&self, chosen: usize) -> String {
        let [caught, missed, timeout, unviable] =
            [&self.caught, &self.missed, &self.timeout, &self.unviable].map(Vec::len);
        let tried = self.tried().count();
        let (noticed, viable) = (caught + timeout, caught + timeout + missed);
        let counts = format!(
            "mutants: {tried} of {chosen} tried: {caught} caught, {missed} missed, {timeout} timeouts, \
             {unviable} unviable"
        );
        if viable == 0 {
            return counts;
        }
        let (low, high) = wilson(noticed, viable);
        let share = 100.0 * noticed as f64 / viable as f64;
        format!(
            "{counts}\nmutants: {share:.1} % of {viable} viable ones are noticed (95 %: {:.1} to {:.1})",
            100.0 * low,
            100.0 * high
        )
    }
}

/// Wilson's interval of a share, at 95 %.
fn wilson(hits: usize, of: usize) -> (f64, f64) {
    const Z: f64 = 1.959_964;
    let (n, share) = (of as f64, hits as f64 / of as f64);
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    ((middle - half) / scale, (middle + half) / scale)
}

/// Tries the mutants of `chosen` and no others of `all`.
fn run(tool: &Path, (chosen, all): (&[String], &[String]), options: &Options) -> Result<Outcome> {
    let out = target_dir().join("mutants");
    let folder = out.join("mutants.out");
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Its filters by name do not reach every kind of mutant; what an earlier run caught, it leaves out.
    let others = all.iter().filter(|name| !chosen.contains(name));
    let others: String = others.flat_map(|name| [name, "\n"]).collect();
    fs::write(folder.join("previously_caught.txt"), others).context("cannot name the others")?;

    let mutants = call(tool, &options.files);
    let mut command = clean_command("timeout");
    command.current_dir(cmd::root()).arg("--signal=INT").arg(format!("{}m", options.minutes));
    command.arg(mutants.get_program()).args(mutants.get_args());
    // In any order: what was tried when the time is over is a random sample too.
    command.args(["--iterate", "--shuffle", "--no-times"]);
    command.args(["--no-default-features", "--profile=mutants"]);
    command.arg(format!("--jobs={}", options.jobs)).arg("--output").arg(&out);
    // A mutant may allocate without end.
    let runner = format!("target.'cfg(unix)'.runner=['prlimit','--as={MEMORY}']");
    command.arg(format!("--cargo-arg=--config={runner}"));
    command.args(["--cargo-arg=--lib", "--colors=never"]);
    // Missed ones make its exit code, as does the end of the time: what it wrote decides.
    let status = command.status().context("cannot start timeout")?;
    let outcome = Outcome::read(&folder);
    if let Some(other) = outcome.tried().find(|name| !chosen.contains(name)) {
        bail!("cargo-mutants tried what was not chosen: {other}");
    }
    if !status.success() && outcome.tried().next().is_none() {
        bail!("cargo-mutants tried nothing ({status}); its log is in {}", folder.display());
    }
    Ok(outcome)
}

const VERSION: &str = "27.1.0";
/// The address space of a test process in bytes.
const MEMORY: u64 = 8 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("mutant {n}")).collect()
    }

    #[test]
    fn sample_is_the_same_for_a_seed_and_holds_nothing_twice() {
        let all = names(1000);
        let mut first = sample(&all, 200, 7);
        assert_eq!(first, sample(&all, 200, 7));
        assert_ne!(first, sample(&all, 200, 8));
        first.sort();
        first.dedup();
        assert_eq!(first.len(), 200);
        assert!(first.iter().all(|name| all.contains(name)));
        assert_eq!(sample(&all[..3], 200, 7).len(), 3);
    }

    #[test]
    fn sample_takes_every_name_equally_often() {
        let all = names(10);
        let mut hits = [0_u32; 10];
        for seed in 0..2000 {
            for name in sample(&all, 3, seed) {
                hits[all.iter().position(|other| *other == name).expect("it is one of them")] += 1;
            }
        }
        assert!(hits.iter().all(|hits| (500..700).contains(hits)), "{hits:?}");
    }

    #[test]
    fn score_counts_viable_ones_and_gives_their_interval() {
        let outcome = Outcome {
            caught: names(150),
            missed: names(30),
            timeout: names(10),
            unviable: names(10),
        };
        let score = outcome.score(200);
        assert!(
            score.contains("200 of 200 tried: 150 caught, 30 missed, 10 timeouts, 10 unviable")
        );
        assert!(score.contains("84.2 % of 190 viable"), "{score}");
        let (low, high) = wilson(160, 190);
        assert!((low - 0.7835).abs() < 1e-3 && (high - 0.8874).abs() < 1e-3, "{low} {high}");
        assert!(!Outcome::default().score(3).contains('%'));
    }
}
