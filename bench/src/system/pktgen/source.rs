//! Who sends the frames: the kernel's pktgen or our generator of live frames.

use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result};

use super::kernel;
use crate::generator::{self, Kind, Mac};
use crate::system::bed::Room;
use crate::system::process::Process;
use crate::topology::Namespace;

/// What is sent, and where.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) kind: Kind,
    pub(super) iface: String,
    pub(super) to: SocketAddrV4,
    pub(super) mac: Mac,
    /// Bytes of a frame.
    pub(super) size: usize,
    pub(super) seconds: f64,
    /// A sender runs on each.
    pub(super) cpus: Vec<usize>,
    /// The interface that the user says is theirs.
    pub(super) owned: Option<String>,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Kernel,
    Live,
}

impl Source {
    /// The kernel's, where it is there.
    pub(super) fn find(namespace: Option<&Namespace>) -> Self {
        let has = || Ok(kernel::exists());
        let is_there = match namespace {
            Some(namespace) => namespace.inside(has).unwrap_or(false),
            None => kernel::exists(),
        };
        if is_there { Self::Kernel } else { Self::Live }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kernel => "sent by pktgen",
            Self::Live => "sent by live frames",
        }
    }

    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Kernel => "/proc/net/pktgen",
            Self::Live => "live frames of BPF_PROG_TEST_RUN: this kernel has no pktgen",
        }
    }

    /// Sends for the stream's time, and waits until the last frame has been looked at.
    pub(super) fn send(
        self,
        room: &Room,
        namespace: Option<&Namespace>,
        stream: &Stream,
    ) -> Result<generator::Report> {
        match self {
            Self::Live => live(room, namespace, stream),
            Self::Kernel => {
                generator::check_interface(&stream.iface, stream.owned.as_deref(), |line| {
                    match namespace {
                        Some(namespace) => namespace.run(line),
                        None => crate::system::quiet(line),
                    }
                })?;
                let send = || kernel::send(stream, &room.stop);
                match namespace {
                    Some(namespace) => namespace.inside(send),
                    None => send(),
                }
            }
        }
    }
}

fn live(room: &Room, namespace: Option<&Namespace>, stream: &Stream) -> Result<generator::Report> {
    let start = |cpu: &usize| {
        let options = generator::Options {
            kind: stream.kind,
            iface: stream.iface.clone(),
            to: stream.to.into(),
            mac: stream.mac,
            from: "198.18.0.0/15".parse()?,
            size: Some(stream.size),
            rate: 0,
            burst: 1,
            seconds: stream.seconds,
            frames: 1_000_000_000,
            cpu: Some(*cpu),
            seed: *cpu as u64 + 1,
            i_own_this_network: stream.owned.clone(),
        };
        let bench = &room.tools.bench;
        let mut command = match namespace {
            Some(namespace) => namespace.command(bench),
            None => std::process::Command::new(bench),
        };
        Process::start("the generator", command.arg("generate").args(options.arguments()))
    };
    let processes = stream.cpus.iter().map(start).collect::<Result<Vec<_>>>()?;
    let mut sum = generator::Report::default();
    for process in processes {
        let time = Duration::from_secs_f64(stream.seconds) + PATIENCE;
        let output = process.output(time, &room.stop)?;
        let line = output.lines().last().context("the generator said nothing")?;
        let one: generator::Report = serde_json::from_str(line).context("its report")?;
        sum.sent += one.sent;
        sum.seconds = sum.seconds.max(one.seconds);
    }
    Ok(sum)
}

/// Time for the generator to begin and to end.
const PATIENCE: Duration = Duration::from_secs(20);
