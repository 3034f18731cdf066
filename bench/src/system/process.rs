//! Child processes with bounds: their output is collected, and each is ended when dropped.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::stop::Stop;
use crate::clock::{now, pause};
use crate::tools;

/// A running process, in a process group of its own: a Ctrl-C reaches it through us.
pub(super) struct Process {
    name: String,
    child: Child,
    /// What the kernel's server waits on.
    _stdin: Option<ChildStdin>,
    /// Lines of its standard output, without end of line.
    lines: Receiver<String>,
    /// The last lines of its standard error, once it has ended.
    errors: Receiver<String>,
}

impl Process {
    /// Starts `command`; `name` is what messages call it.
    pub(super) fn start(name: &str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.process_group(0).spawn().with_context(|| format!("starting {name}"))?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            std::thread::spawn(move || lines.try_for_each(|line| sender.send(line)));
        }
        let (sender, errors) = channel();
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || sender.send(last_of(stderr)));
        }
        let stdin = child.stdin.take();
        Ok(Self { name: name.into(), child, _stdin: stdin, lines, errors })
    }

    /// Its number: `ip netns exec` becomes what it starts.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, which it may have done.
    pub(super) fn ask_to_end(&self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It is ours until it is waited for.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// The next line that begins with `prefix`.
    pub(super) fn line(&mut self, prefix: &str, patience: Duration, stop: &Stop) -> Result<String> {
        let last = now() + patience;
        loop {
            stop.check()?;
            match self.lines.recv_timeout(STEP) {
                Ok(line) if line.starts_with(prefix) => return Ok(line),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if now() < last => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not say `{prefix}` within {patience:?}", self.name)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended too early: {}", self.name, self.last_words())
                }
            }
        }
    }

    /// Waits for its end, and gives all of its standard output.
    pub(super) fn output(mut self, patience: Duration, stop: &Stop) -> Result<String> {
        let last = now() + patience;
        let mut output = String::new();
        loop {
            stop.check()?;
            match self.lines.recv_timeout(STEP) {
                Ok(line) => output = output + &line + "\n",
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if now() < last => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!("{} did not end within {patience:?}", self.name)
                }
            }
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{} failed ({status}): {}", self.name, self.last_words());
        }
        Ok(output)
    }

    /// Fails where it has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}): {}", self.name, self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        self.errors.recv_timeout(LAST_WORDS).unwrap_or_else(|_| "it said nothing".into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; it is ours until it is waited for.
        if let Ok(pid) = i32::try_from(self.child.id())
            && matches!(self.child.try_wait(), Ok(None))
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            let last = now() + PATIENCE;
            while matches!(self.child.try_wait(), Ok(None)) && now() < last {
                pause(Duration::from_millis(10));
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The last lines of a stream.
fn last_of(stream: impl Read) -> String {
    let mut last = Vec::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if last.len() == LINES {
            last.remove(0);
        }
        last.push(line);
    }
    if last.is_empty() { "it said nothing".into() } else { last.join("; ") }
}

/// Runs `line`, split at spaces, silently; gives its standard output.
pub(crate) fn quiet(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command")?;
    let mut command = Command::new(program);
    command.env("PATH", tools::path());
    // In a group of its own, so that Ctrl-C does not end what cleans up.
    let output = command.args(words).stdin(Stdio::null()).process_group(0).output();
    let output = output.with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed: {}", said.lines().last().unwrap_or("it said nothing"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How often a wait looks whether its end was asked for.
const STEP: Duration = Duration::from_millis(50);
/// Time to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time for the end of standard error.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The most lines of standard error that a message holds.
const LINES: usize = 3;
