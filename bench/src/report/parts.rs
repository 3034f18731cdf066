//! The parts of a whole measurement, each in a process of its own: what ends one leaves the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::clock::pause;
use crate::machine;
use crate::printer;
use crate::row::{Row, SMOKE};
use crate::system::Stop;

/// A command of the bench that makes rows.
struct Part {
    name: &'static str,
    needs_root: bool,
}

/// Runs all parts; their rows, and what went wrong. A part that gave no rows has one that says why. With a
/// folder for its rows it is a short run, which measures nothing.
///
/// # Errors
/// On Ctrl-C, and where this program cannot be started.
pub(super) fn measure(smoke: Option<&Path>) -> Result<(Vec<Row>, Vec<String>)> {
    let stop = Stop::on_signals()?;
    let bench = std::env::current_exe().context("the path of this program")?;
    let is_smoke = smoke.is_some();
    let folder = smoke.map_or_else(|| folder(&bench), |folder| Ok(folder.to_path_buf()))?;
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (n, part) in PARTS.iter().enumerate() {
        eprintln!("report: {} ({} of {})", part.name, n + 1, PARTS.len());
        if part.needs_root && !geteuid().is_root() {
            eprintln!("report: {} is left out, since it needs root", part.name);
            rows.push(nothing(part, "it needs root", is_smoke));
            continue;
        }
        let file = folder.join(format!("{}.json", part.name));
        let status = run(&bench, part, (&file, is_smoke), &stop)?;
        let found = if file.exists() { printer::read_json(&file)? } else { Vec::new() };
        if !status.success() {
            failures.push(format!("{} ended with {status}", part.name));
        }
        if found.is_empty() {
            rows.push(nothing(part, &format!("it gave no row, and ended with {status}"), is_smoke));
        }
        rows.extend(found);
    }
    Ok((rows, failures))
}

/// Runs one part, until it has ended also when the end is asked for: it has namespaces to remove.
fn run(
    bench: &Path,
    part: &Part,
    (file, is_smoke): (&Path, bool),
    stop: &Stop,
) -> Result<ExitStatus> {
    if file.exists() {
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    let mut command = Command::new(bench);
    command.arg(part.name).arg("--json").arg(file).args(is_smoke.then_some("--smoke"));
    let mut child = command.spawn().with_context(|| format!("cannot start {}", bench.display()))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id")?);
    let mut is_told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            stop.check()?;
            return Ok(status);
        }
        if stop.check().is_err() && !is_told {
            // Ctrl-C has reached it already; a signal to this process alone has not.
            let _ = kill(pid, Signal::SIGTERM);
            is_told = true;
        }
        pause(TURN);
    }
}

/// The row of a part that gave none.
fn nothing(part: &Part, why: &str, is_smoke: bool) -> Row {
    let work = format!("all of {}", part.name);
    let row = Row::absent(&work, "sluice", "all peers", "-", why).with(machine::config());
    if is_smoke { row.with_setting(SMOKE, "nothing was to be measured") } else { row }
}

/// Where the rows of the parts of a real run lie, also after this program has ended.
fn folder(bench: &Path) -> Result<PathBuf> {
    let target = bench.parent().and_then(Path::parent).context("this program lies in a folder")?;
    let folder = target.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// All parts, in the order in which they run.
const PARTS: [Part; 3] = [
    Part { name: "micro", needs_root: false },
    Part { name: "macro", needs_root: true },
    Part { name: "flood", needs_root: true },
];
/// How often is looked whether a part has ended.
const TURN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::FAILED;

    #[test]
    fn part_without_rows_has_one_that_says_why() {
        let row = nothing(&PARTS[1], "it needs root", false);
        assert_eq!(row.absent.as_deref(), Some("it needs root"));
        assert!(row.work.contains("macro") && !row.config.contains_key(FAILED));
        assert!(!row.config.contains_key(SMOKE));
    }

    #[test]
    fn what_ends_a_part_is_told_and_its_old_rows_are_gone() {
        let path = std::env::temp_dir().join(format!("sluice-part-{}", std::process::id()));
        fs::write(&path, "[]").unwrap();
        let part = (&PARTS[0], (&*path, true));
        let status = run(Path::new("/bin/false"), part.0, part.1, &Stop::never()).unwrap();
        assert!(!status.success() && !path.exists());
    }
}
