//! Starting other programs: cargo in the workspace's root, and commands whose failure is an error.
//!
//! Owns no command of its own; what is run and why is said by the callers.

use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What the user asked for cannot be done as asked: exit code 2, as `sluice` itself does.
#[derive(Debug)]
pub(crate) struct BadInput(pub(crate) String);

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadInput {}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The cargo that runs this xtask, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs `command` with its output visible; anything but success is an error that names it.
pub(crate) fn check(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs `line`, split at spaces, silently; gives its standard output. The error of a failure holds
/// what it said last.
pub(crate) fn quiet(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command")?;
    // In a group of its own, so that Ctrl-C does not end what cleans up.
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .process_group(0)
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed: {}", said.lines().last().unwrap_or("it said nothing"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Sends the signal named `name` (TERM, INT, KILL) to process `pid`. That it has ended already is no
/// error.
pub(crate) fn kill(name: &str, pid: &str) {
    // The shell's own kill: the program of that name is in no package that must be there.
    let _ = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, pid])
        .stderr(Stdio::null())
        .process_group(0)
        .status();
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    // The owner of /proc/self is the effective user.
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// A command line as the user would type it.
fn shown(command: &Command) -> String {
    let mut line = String::from("`");
    line += &Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    for arg in command.get_args() {
        line.push(' ');
        line += &arg.to_string_lossy();
    }
    line.push('`');
    line
}
