//! `cargo xtask fuzz`: the fuzz targets of stack-user under libFuzzer.
//!
//! Owns where cargo-fuzz is installed and where what it finds is kept: inputs go on growing under
//! target/, and only the few that together reach everything are taken into stack-user/fuzz/corpus (`--keep`).

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::cmd::{self, BadInput};
use crate::ebpf::{clean_command, target_dir};

/// What to fuzz.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// One target; without it each in turn.
    target: Option<String>,
    /// Runs the target over this file alone, to repeat what was found.
    file: Option<PathBuf>,
    /// How long each target runs.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Afterwards takes the inputs that are worth it, at most this many bytes long, into the
    /// committed corpus.
    #[arg(long, value_name = "BYTES")]
    keep: Option<u32>,
}

/// Runs the targets; the last lines say how many inputs each has tried.
pub(crate) fn fuzz(options: &Options) -> Result<ExitCode> {
    let all = targets()?;
    let chosen = match &options.target {
        None => all,
        Some(name) if all.contains(name) => vec![name.clone()],
        Some(name) => {
            let line = format!("there is no target {name}; there are {}", all.join(" "));
            return Err(BadInput(line).into());
        }
    };
    install()?;
    if let Some(file) = &options.file {
        let file = file.canonicalize().with_context(|| format!("no file {}", file.display()))?;
        return cmd::check(cargo_fuzz("run", &chosen[0]).arg(file)).map(|()| ExitCode::SUCCESS);
    }
    let mut said = Vec::new();
    for target in &chosen {
        said.push(format!("{target}: {}", run(target, options.seconds)?));
        if let Some(bytes) = options.keep {
            keep(target, bytes)?;
        }
    }
    said.iter().for_each(|line| println!("{line}"));
    Ok(ExitCode::SUCCESS)
}

/// The targets' names.
fn targets() -> Result<Vec<String>> {
    let folder = fuzz_dir().join("fuzz_targets");
    let mut names = Vec::new();
    for file in files(&folder)? {
        names.extend(file.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Installs cargo-fuzz, unless it is there.
fn install() -> Result<()> {
    if tool().is_file() {
        return Ok(());
    }
    let root = target_dir().join("tools");
    println!("fuzz: cargo-fuzz {VERSION} is installed under {}", root.display());
    let mut install = clean_command("cargo");
    install.current_dir("/").args(["install", "cargo-fuzz", "--locked", "--version", VERSION]);
    cmd::check(install.arg("--root").arg(root))
}

/// Runs one target; what libFuzzer says of it in the end.
fn run(target: &str, seconds: u32) -> Result<String> {
    let found = found_dir(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let mut command = cargo_fuzz("run", target);
    command.arg(&found).arg(corpus_dir(target)).arg("--");
    command.args([format!("-max_total_time={seconds}"), "-max_len=4096".into()]);
    command.args(["-timeout=20", "-rss_limit_mb=1024", "-print_final_stats=1"]);
    let mut child = command.stderr(Stdio::piped()).spawn().context("cannot start cargo-fuzz")?;
    let stderr = child.stderr.take().context("cargo-fuzz has no output")?;
    let mut last = String::from("it said nothing");
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        // Each new input is a line: the terminal sees those of every doubling, and everything else.
        if !line.contains("NEW ") && !line.contains("REDUCE") {
            eprintln!("{line}");
        }
        if line.starts_with("Done ") {
            last = line;
        }
    }
    if !child.wait()?.success() {
        bail!("target {target} found a fault; what repeats it stands above");
    }
    Ok(last)
}

/// Puts the fewest inputs that are short enough and together reach everything into the committed
/// corpus. Those that have a name, not a hash, repeat what was found once: they stay.
fn keep(target: &str, bytes: u32) -> Result<()> {
    let (corpus, kept) = (corpus_dir(target), target_dir().join("fuzz-kept").join(target));
    let _ = fs::remove_dir_all(&kept);
    fs::create_dir_all(&kept).with_context(|| format!("cannot make {}", kept.display()))?;
    let mut command = cargo_fuzz("run", target);
    command.args([&kept, &corpus, &found_dir(target)]).arg("--");
    cmd::check(command.args(["-set_cover_merge=1".to_string(), format!("-max_len={bytes}")]))?;
    for file in files(&corpus)? {
        if has_hash(&file) {
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    for file in files(&kept)? {
        let place = corpus.join(file.file_name().unwrap_or_default());
        fs::copy(&file, &place).with_context(|| format!("cannot write {}", place.display()))?;
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    Ok(entries.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path()).collect())
}

/// Whether libFuzzer named the file.
fn has_hash(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// cargo-fuzz with a nightly compiler. The pure rooms have no unsafe code, so that no sanitizer is
/// needed.
fn cargo_fuzz(what: &str, target: &str) -> Command {
    let mut command = clean_command(&tool().to_string_lossy());
    command.current_dir(cmd::root()).env("RUSTUP_TOOLCHAIN", "nightly");
    command.args(["fuzz", what, "--sanitizer", "none", "--fuzz-dir"]).arg(fuzz_dir());
    command.arg("--target-dir").arg(target_dir().join("fuzz")).arg(target);
    command
}

fn tool() -> PathBuf {
    target_dir().join("tools/bin/cargo-fuzz")
}

fn fuzz_dir() -> PathBuf {
    cmd::root().join("stack-user/fuzz")
}

/// The committed inputs.
fn corpus_dir(target: &str) -> PathBuf {
    fuzz_dir().join("corpus").join(target)
}

/// What was found on this machine.
fn found_dir(target: &str) -> PathBuf {
    let folder: &Path = &target_dir();
    folder.join("fuzz-found").join(target)
}

const VERSION: &str = "0.13.2";
