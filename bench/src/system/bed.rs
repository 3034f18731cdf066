//! A subject ready to be measured: its namespaces, its server, and where both ends run.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;

use relay::Relay;

use super::loss::Path;
use super::nginx::Folder;
use super::process::Process;
use super::stop::Stop;
use crate::clock::{now, pause};
use crate::serve::{READY, Service};
use crate::smol;
use crate::topology::{BBR, Between, CONGESTION, Link, Offloads, SERVER_END, Topology};

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Sluice, whose worker sleeps when there is nothing to do.
    Sluice,
    /// Sluice with `--busy-poll`.
    SluiceBusy,
    /// smoltcp over Sluice's datapath.
    Smoltcp,
    /// Sluice at both ends: `sluice client` instead of our load client.
    SluiceBoth,
    /// The kernel's TCP under our epoll server, on a link as Sluice's.
    Kernel,
    /// The same, on a link as veth comes.
    KernelTso,
    /// As `Kernel`, with bbr on both ends.
    KernelBbr,
    /// The kernel's TCP under nginx, on a link as Sluice's.
    Nginx,
}

impl Subject {
    /// As the rows call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sluice => "sluice",
            Self::SluiceBusy => "sluice busy-polling",
            Self::Smoltcp => "smoltcp",
            Self::SluiceBoth => "sluice at both ends",
            Self::Kernel => "kernel",
            Self::KernelTso => "kernel with TSO",
            Self::KernelBbr => "kernel with bbr",
            Self::Nginx => "nginx",
        }
    }

    /// The congestion control of both ends.
    pub(super) fn congestion(self) -> &'static str {
        if self == Self::KernelBbr { BBR } else { CONGESTION }
    }

    /// What the kernel has to have for it and has not.
    pub(super) fn lacks(self) -> Option<String> {
        let known = std::fs::read_to_string(KNOWN_CONGESTION).unwrap_or_default();
        let is_known = known.split_whitespace().any(|name| name == self.congestion());
        let why = || format!("this kernel has no {} (modprobe tcp_bbr)", self.congestion());
        (self == Self::KernelBbr && !is_known).then(why)
    }

    /// Its link.
    pub(super) fn link(self, mtu: u32) -> Link {
        let offloads = match self {
            Self::KernelTso => Offloads::Default,
            _ => Offloads::Off,
        };
        Link { mtu, offloads }
    }

    /// Whether its server takes its CPU also while it has nothing to do.
    pub(super) fn is_restless(self) -> bool {
        self == Self::SluiceBusy
    }

    /// The options of the server that are not the default.
    pub(super) fn options(self) -> &'static str {
        match self {
            Self::Sluice => "--cpus",
            Self::SluiceBusy => "--cpus, --busy-poll",
            Self::Smoltcp => "over Sluice's datapath, sockets armed again at once, Nagle off",
            Self::SluiceBoth => "--cpus on both ends; the client --spread, --local-ports",
            Self::Kernel | Self::KernelTso | Self::KernelBbr => "one thread, epoll, pinned",
            Self::Nginx => "one worker, pinned, no access log",
        }
    }

    /// The program that it needs, and its package.
    pub(super) fn tools(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Nginx => &[("nginx", "nginx-light"), ("taskset", "util-linux")],
            _ => &[],
        }
    }
}

/// The programs that a run starts.
pub(super) struct Tools {
    /// This program.
    pub(super) bench: PathBuf,
    pub(super) sluice: PathBuf,
    /// The XDP program.
    pub(super) program: PathBuf,
}

/// The CPUs of server and client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) server: usize,
    pub(super) client: usize,
}

impl Places {
    /// The first and the last CPU of this process.
    pub(super) fn find() -> Result<Self> {
        let set = sched_getaffinity(Pid::from_raw(0)).context("sched_getaffinity")?;
        let allowed = |cpu: &usize| set.is_set(*cpu).unwrap_or(false);
        let mut cpus = (0..nix::sched::CpuSet::count()).filter(allowed);
        let server = cpus.next().context("no CPU at all")?;
        Ok(Self { server, client: cpus.next_back().unwrap_or(server) })
    }
}

/// What all beds of a run share.
pub(super) struct Room {
    pub(super) tools: Tools,
    pub(super) places: Places,
    pub(super) stop: Stop,
}

/// A subject with its namespaces and its server.
pub(super) struct Bed {
    pub(super) subject: Subject,
    pub(super) mtu: u32,
    /// Before the namespaces it stands in.
    server: Option<Process>,
    /// nginx's.
    folder: Option<Folder>,
    /// How Sluice's program and sockets work, as it says.
    pub(super) mode: Option<String>,
    /// What the server is told beyond the usual.
    pub(super) more: Vec<String>,
    /// Whether frames pass a relay.
    pub(super) is_relayed: bool,
    pub(super) relay: Option<Relay>,
    pub(super) topology: Topology,
}

impl Bed {
    pub(super) fn make(subject: Subject, mtu: u32, between: Between) -> Result<Self> {
        let topology = Topology::make(subject.link(mtu), between)?;
        if subject.congestion() != CONGESTION {
            topology.congestion(subject.congestion())?;
        }
        let is_relayed = between == Between::Room;
        let (server, folder, mode, relay) = (None, None, None, None);
        let more = Vec::new();
        Ok(Self { subject, mtu, server, folder, mode, more, is_relayed, relay, topology })
    }

    /// From now on frames pass a link as `path` says.
    pub(super) fn lead(&mut self, path: Path, seed: u64) -> Result<()> {
        // The old one goes first: two would carry each frame twice.
        self.relay = None;
        let relay = self.topology.relay(path.link())?;
        relay.filter(path.losses(seed));
        self.relay = Some(relay);
        Ok(())
    }

    /// Starts the server, where it does not run yet, and waits until it serves.
    pub(super) fn start(&mut self, room: &Room) -> Result<()> {
        if let Some(server) = &mut self.server {
            return server.check();
        }
        let cpu = room.places.server.to_string();
        let (mut command, ready) = match self.subject {
            Subject::Sluice | Subject::SluiceBusy | Subject::SluiceBoth => {
                (self.sluice(room, &cpu), Some("ready: "))
            }
            Subject::Kernel | Subject::KernelTso | Subject::KernelBbr => {
                let mut command = self.topology.server.command(&room.tools.bench);
                let congestion = self.subject.congestion();
                command.args(["serve", "--cpu", &cpu, "--congestion", congestion]);
                (command, Some(READY))
            }
            Subject::Smoltcp => {
                let mut command = self.topology.server.command(&room.tools.bench);
                command.args(["smoltcp", "--iface", SERVER_END, "--cpu", &cpu]);
                command.arg("--program").arg(&room.tools.program);
                (command, Some(smol::READY))
            }
            Subject::Nginx => {
                let mut command = self.topology.server.command("taskset");
                let folder = self.folder.insert(Folder::make()?);
                folder.start(&mut command, room.places.server);
                (command, None)
            }
        };
        command.args(&self.more);
        let mut server = Process::start(self.subject.name(), &mut command)?;
        let line = match ready {
            Some(prefix) => server.line(prefix, PATIENCE, &room.stop)?,
            None => self.until_it_listens(&mut server, room).map(|()| String::new())?,
        };
        self.mode = line.split(' ').find_map(|word| word.strip_prefix("mode=")).map(String::from);
        self.server = Some(server);
        Ok(())
    }

    /// The server's process, where it runs.
    pub(super) fn server_pid(&self) -> Option<u32> {
        self.server.as_ref().map(Process::pid)
    }

    /// Frames that the server's end of the link has dropped for want of room, its ring or that of the socket.
    pub(super) fn dropped(&self) -> Result<u64> {
        let line = format!("-statistics -json link show dev {SERVER_END}");
        let shown: serde_json::Value = serde_json::from_str(&self.topology.server.ip(&line)?)?;
        shown[0]["stats64"]["rx"]["dropped"].as_u64().context("`ip` shows no count of frames")
    }

    fn sluice(&self, room: &Room, cpu: &str) -> Command {
        let mut command = self.topology.server.command(&room.tools.sluice);
        command.args(["run", "--iface", SERVER_END, "--cpus", cpu, "--for", LIFETIME]);
        command.arg("--program").arg(&room.tools.program);
        for (service, name) in SERVICES {
            command.args(["--listen", &format!("{}={name}", service.port())]);
        }
        if self.subject == Subject::SluiceBusy {
            command.arg("--busy-poll");
        }
        command
    }

    /// Waits for the port of a server that does not say when it is ready.
    fn until_it_listens(&self, server: &mut Process, room: &Room) -> Result<()> {
        let last = now() + PATIENCE;
        let filter = format!("ss -Hltn sport = :{}", Service::Http.port());
        while self.topology.server.run(&filter)?.trim().is_empty() {
            room.stop.check()?;
            server.check()?;
            ensure!(now() < last, "{} did not listen within {PATIENCE:?}", self.subject.name());
            pause(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends a server that would take CPU time from the others.
    pub(super) fn rest(&mut self) {
        if self.subject.is_restless() {
            self.server = None;
        }
    }
}

/// What all servers listen with.
const SERVICES: [(Service, &str); 4] = [
    (Service::Echo, "echo"),
    (Service::Discard, "discard"),
    (Service::Chargen, "chargen"),
    (Service::Http, "http"),
];
/// Seconds after which a server ends though nobody ended it.
pub(super) const LIFETIME: &str = "5400";
/// Time for a server to begin.
const PATIENCE: Duration = Duration::from_secs(20);
/// The names of the congestion controls that the kernel has.
const KNOWN_CONGESTION: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";
