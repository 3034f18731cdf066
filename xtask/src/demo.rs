//! The demo of `cargo xtask run --iface veth0`: two namespaces joined by a veth pair.
//!
//! Owns the namespaces from their making to their removal, also those that a killed run left. The
//! peer end is made ready as docs/architecture.md says under "Living with veth".

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cmd::{self, BadInput};

/// The interface whose absence asks for the demo.
pub(crate) const IFACE: &str = "veth0";

/// Says what would keep the demo from running, before minutes go into building.
pub(crate) fn refuse_early() -> Result<()> {
    if !cmd::is_root() {
        let line = "the demo makes network namespaces, which needs root: run it again with sudo";
        return Err(BadInput(line.into()).into());
    }
    Lock::take().map(drop)
}

/// Makes the namespaces, runs `sluice` with `args` in the server's, and removes them. The exit code
/// is that of `sluice`.
pub(crate) fn demo(sluice: &Path, args: &[String]) -> Result<ExitCode> {
    let stop = Stop::on_signals()?;
    let _lock = Lock::take()?;
    remove_leftovers();
    let _namespaces = Namespaces::make()?;
    let _peer = Peer::start(sluice)?;
    if stop.is_asked() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut server = Command::new("ip");
    server.args(["netns", "exec", SERVER]).arg(sluice).args(args);
    // In a group of its own the server gets each signal once: from here.
    let mut child = server.process_group(0).stdout(Stdio::piped()).spawn()?;
    stop.forward_to(&child);
    if let Some(stdout) = child.stdout.take() {
        relay(stdout);
    }
    let status = child.wait()?;
    stop.forget();
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Prints the server's lines until its output ends, and after the ready line how to try it.
fn relay(stdout: ChildStdout) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let mut text = format!("{line}\n");
        if let Some(ready) = Ready::parse(&line) {
            text += "\nTry it from another terminal (Ctrl-C here ends it):\n";
            for command in ready.commands() {
                text += &format!("{command}\n");
            }
            text.push('\n');
        }
        // A reader that went away is no reason to stop serving.
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// What the ready line tells: the addresses and the services by port.
#[derive(Debug, PartialEq, Eq)]
struct Ready {
    addresses: Vec<String>,
    services: Vec<(u16, String)>,
}

impl Ready {
    /// Reads `ready: IFACE ADDRESS,... PORT=SERVICE... KEY=VALUE...`; `None` for any other line.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("ready: ")?.split_whitespace().skip(1);
        let addresses = words.next()?.split(',').map(str::to_string).collect();
        let service = |word: &str| {
            let (port, service) = word.split_once('=')?;
            Some((port.rsplit(':').next()?.parse().ok()?, service.to_string()))
        };
        Some(Self { addresses, services: words.filter_map(service).collect() })
    }

    /// The port of the first `service`.
    fn port(&self, service: &str) -> Option<u16> {
        self.services.iter().find(|(_, name)| name == service).map(|(port, _)| *port)
    }

    /// Lines that work when pasted.
    fn commands(&self) -> Vec<String> {
        let prefix = format!("ip netns exec {CLIENT}");
        let page = self.port("http").map(|port| match port {
            80 => String::new(),
            port => format!(":{port}"),
        });
        let echo = self.port("echo");
        let mut commands = Vec::new();
        // What holds on one link alone would have to be named with the link.
        for address in self.addresses.iter().filter(|address| !address.starts_with("fe80:")) {
            let place =
                if address.contains(':') { format!("[{address}]") } else { address.clone() };
            commands.extend(page.iter().map(|port| format!("{prefix} curl http://{place}{port}/")));
            commands.extend(
                echo.iter()
                    .map(|port| format!("{prefix} sh -c 'echo hello | nc -q 1 {address} {port}'")),
            );
            commands.push(format!("{prefix} ping -c 3 {address}"));
        }
        commands
    }
}

/// The lock that says a demo is alive: the kernel drops it with its owner, however that ends.
struct Lock {
    _file: File,
}

impl Lock {
    fn take() -> Result<Self> {
        loop {
            let mut file = File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(LOCK)
                .with_context(|| format!("cannot open {LOCK}"))?;
            if file.try_lock().is_err() {
                let mut owner = String::new();
                let _ = file.read_to_string(&mut owner);
                let line =
                    format!("a demo is running already (pid {}): end it first", owner.trim());
                return Err(BadInput(line).into());
            }
            // The owner before us may have removed the file between our open and our lock.
            if fs::metadata(LOCK).is_ok_and(|at| file.metadata().is_ok_and(|f| f.ino() == at.ino()))
            {
                file.set_len(0)?;
                write!(file, "{}", std::process::id())?;
                return Ok(Self { _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(LOCK);
    }
}

/// Removes what a run that was killed left: its processes, then its namespaces. Called with the
/// lock held, so no run that is alive owns them.
fn remove_leftovers() {
    for name in [SERVER, CLIENT] {
        // No such namespace: nothing to do.
        let Ok(pids) = cmd::quiet(&format!("ip netns pids {name}")) else { continue };
        eprintln!("removing {name}, left by a run that was killed");
        for pid in pids.split_whitespace().filter(|pid| is_sluice(pid)) {
            cmd::kill("KILL", pid);
        }
        let _ = cmd::quiet(&format!("ip netns delete {name}"));
    }
}

/// Whether the process runs our binary; a shell that the user left in the namespace does not.
fn is_sluice(pid: &str) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| {
        exe.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sluice"))
    })
}

/// The two namespaces with the veth pair; removed when dropped.
struct Namespaces;

impl Namespaces {
    fn make() -> Result<Self> {
        // From here on a failure drops `made`, which removes what there is.
        let made = Self;
        for line in [
            format!("ip netns add {SERVER}"),
            format!("ip netns add {CLIENT}"),
            format!("ip link add {IFACE} netns {SERVER} type veth peer name {PEER} netns {CLIENT}"),
            format!("ip -n {SERVER} address add {SERVER_ADDRESS} dev {IFACE}"),
            format!("ip -n {CLIENT} address add {CLIENT_ADDRESS} dev {PEER}"),
            // Nobody else is on this link: there is no need to wait until that is sure.
            format!("ip -n {SERVER} address add {SERVER_ADDRESS_V6} dev {IFACE} nodad"),
            format!("ip -n {CLIENT} address add {CLIENT_ADDRESS_V6} dev {PEER} nodad"),
            // veth hands frames over with half-made checksums; Sluice verifies them.
            format!("ip netns exec {CLIENT} ethtool -K {PEER} tx off"),
            format!("ip -n {SERVER} link set lo up"),
            format!("ip -n {CLIENT} link set lo up"),
            format!("ip -n {SERVER} link set {IFACE} up"),
            format!("ip -n {CLIENT} link set {PEER} up"),
        ] {
            cmd::quiet(&line)?;
        }
        Ok(made)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [SERVER, CLIENT] {
            let _ = cmd::quiet(&format!("ip netns delete {name}"));
        }
    }
}

/// The program that passes everything on the client's end: without one, frames that XDP sends back
/// are never delivered to a veth.
struct Peer {
    child: Child,
}

impl Peer {
    fn start(sluice: &Path) -> Result<Self> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", CLIENT]).arg(sluice).args(["pass", "--iface", PEER]);
        let child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut peer = Self { child };
        // Bounded: 50 looks, 100 ms apart.
        for _ in 0..50 {
            let link = cmd::quiet(&format!("ip -n {CLIENT} link show dev {PEER}"))?;
            if link.contains("xdp") {
                return Ok(peer);
            }
            if let Some(status) = peer.child.try_wait()? {
                anyhow::bail!("cannot attach the passing program to {PEER} ({status})");
            }
            pause(Duration::from_millis(100));
        }
        anyhow::bail!("no XDP program appeared on {PEER}")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        cmd::kill("TERM", &self.child.id().to_string());
        let _ = self.child.wait();
    }
}

/// Waits on a channel that nobody writes.
fn pause(time: Duration) {
    let (_open, empty) = channel::<()>();
    let _ = empty.recv_timeout(time);
}

/// Signals that end the demo, forwarded to the server as long as it runs.
struct Stop(Arc<Mutex<Target>>);

/// Whom signals go to.
#[derive(Default)]
struct Target {
    /// The server's process id.
    child: Option<u32>,
    /// A signal that came before the server was started.
    early: Option<i32>,
}

impl Stop {
    fn on_signals() -> Result<Self> {
        let target = Arc::new(Mutex::new(Target::default()));
        let shared = Arc::clone(&target);
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        std::thread::spawn(move || {
            for signal in signals.forever() {
                let mut target = shared.lock().unwrap_or_else(PoisonError::into_inner);
                match target.child {
                    Some(pid) => send(signal, pid),
                    None => target.early = Some(signal),
                }
            }
        });
        Ok(Self(target))
    }

    /// Whether a signal came before there was a server.
    fn is_asked(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).early.is_some()
    }

    fn forward_to(&self, child: &Child) {
        let mut target = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        target.child = Some(child.id());
        if let Some(signal) = target.early.take() {
            send(signal, child.id());
        }
    }

    /// The server has ended; its id may become another's.
    fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).child = None;
    }
}

/// Sends SIGINT as it is and anything else as SIGTERM.
fn send(signal: i32, pid: u32) {
    let name = if signal == SIGINT { "INT" } else { "TERM" };
    cmd::kill(name, &pid.to_string());
}

const SERVER: &str = "sluice-server";
const CLIENT: &str = "sluice-client";
const PEER: &str = "veth1";
const SERVER_ADDRESS: &str = "10.77.0.1/24";
const CLIENT_ADDRESS: &str = "10.77.0.2/24";
const SERVER_ADDRESS_V6: &str = "fd77::1/64";
const CLIENT_ADDRESS_V6: &str = "fd77::2/64";
const LOCK: &str = "/run/sluice-demo.lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_line_gives_the_three_commands() {
        let line = "ready: veth0 10.77.0.1 7=echo 9=discard 80=http mode=native,copy queues=1";
        let commands = Ready::parse(line).expect("a ready line").commands();
        assert_eq!(
            commands,
            [
                "ip netns exec sluice-client curl http://10.77.0.1/",
                "ip netns exec sluice-client sh -c 'echo hello | nc -q 1 10.77.0.1 7'",
                "ip netns exec sluice-client ping -c 3 10.77.0.1",
            ]
        );
    }

    #[test]
    fn ready_line_with_addresses_of_both_families_gives_commands_for_each() {
        let line =
            "ready: veth0 10.77.0.1,fd77::1,fe80::7 7=echo 80=http mode=native,copy queues=1";
        let commands = Ready::parse(line).expect("a ready line").commands();
        assert_eq!(commands.len(), 6, "none for the link alone");
        assert_eq!(
            commands[3..],
            [
                "ip netns exec sluice-client curl http://[fd77::1]/",
                "ip netns exec sluice-client sh -c 'echo hello | nc -q 1 fd77::1 7'",
                "ip netns exec sluice-client ping -c 3 fd77::1",
            ]
        );
    }

    #[test]
    fn ready_line_with_other_ports_names_them() {
        let ready = Ready::parse("ready: veth0 10.77.0.9 8080=http mode=native,copy queues=1");
        let commands = ready.expect("a ready line").commands();
        assert_eq!(commands[0], "ip netns exec sluice-client curl http://10.77.0.9:8080/");
        assert_eq!(commands.len(), 2);
    }

    #[test]
    fn other_lines_are_not_ready_lines() {
        assert_eq!(Ready::parse("closing 3 connections"), None);
        assert_eq!(Ready::parse("ready: veth0"), None);
    }
}
