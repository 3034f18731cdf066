//! Child processes with bounds: their output is collected, and each is ended when dropped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running process.
pub(crate) struct Process {
    child: Child,
    /// Lines of its standard output.
    lines: Receiver<String>,
    errors: Arc<Mutex<String>>,
    /// Reads its standard error to the end.
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` with nothing on its standard input.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let errors = Arc::new(Mutex::new(String::new()));
        let (shared, stderr) =
            (Arc::clone(&errors), child.stderr.take().expect("stderr is a pipe"));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut text = shared.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { child, lines, errors, reader: Some(reader) }
    }

    /// Its process id: `ip netns exec` becomes the command it runs.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error until now; all of it once its end was waited for.
    pub(crate) fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// The next line of its standard output that begins with `prefix`; panics after `patience`
    /// without any line, or when its output ends.
    pub(crate) fn line(&self, prefix: &str, patience: Duration) -> String {
        loop {
            match self.lines.recv_timeout(patience) {
                Ok(line) if line.starts_with(prefix) => return line,
                Ok(_) => {}
                Err(error) => panic!("no line `{prefix}...` ({error}):\n{}", self.errors()),
            }
        }
    }

    /// Panics when the process has ended.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("the process is ours") {
            panic!("the process ended with {status}:\n{}", self.errors());
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a process id is positive"));
        kill(pid, signal).expect("the process is ours and not yet waited for");
    }

    /// Waits for its end; panics when that takes longer than `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", patience, || {
            status = self.child.try_wait().expect("the process is ours");
            status.is_some()
        });
        // Its last words may still lie in the pipe.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        status.expect("it has ended")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing to do where it has ended; else the program's links go with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("standard error of process {}:\n{}", self.pid(), self.errors());
        }
    }
}

/// Runs `line`, split at spaces; gives its standard output, panics when it fails.
pub(crate) fn quiet(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a command"));
    let output = command.args(words).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("`{line}`: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` failed: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `command` to its end while `read` takes its output; gives what `read` made of it. Panics
/// when the command fails.
pub(crate) fn piped<T>(command: &mut Command, read: impl FnOnce(&mut dyn Read) -> T) -> T {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let value = read(child.stdout.as_mut().expect("stdout is a pipe"));
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed with {}: {said}", output.status);
    value
}

/// Whether `program` can be started by its name.
pub(crate) fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Waits until `is_so`, looking every 20 ms; panics after `patience`.
pub(crate) fn wait_until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    const STEP: Duration = Duration::from_millis(20);
    for _ in 0..=patience.as_millis() / STEP.as_millis() {
        if is_so() {
            return;
        }
        pause(STEP);
    }
    panic!("waited {patience:?} in vain until {what}");
}

/// Lets `time` pass, on a channel that nobody writes.
pub(crate) fn pause(time: Duration) {
    let (_open, empty) = channel::<()>();
    let _ = empty.recv_timeout(time);
}
