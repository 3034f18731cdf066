//! Who is flooded: a server with its settings on a link of its own, and what its interface and its
//! memory say.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::Ebpf;
use aya::programs::XdpMode;
use stack_ebpf::generate::{self, Sink};
use zerocopy::transmute;

use super::super::bed::{Bed, LIFETIME, Room, Subject};
use super::super::memory::{Slabs, resident};
use super::super::process::Process;
use super::sample::Memory;
use super::{PATIENCE, sources};
use crate::clock::{now, pause};
use crate::generator::set;
use crate::object;
use crate::serve::Service;
use crate::topology::{Between, CLIENTS, Family, Namespace, SERVER_END};

/// A server and how it meets SYNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Sluice with `--syn-cookies`.
    Sluice(&'static str),
    /// The kernel with `tcp_syncookies`.
    Kernel(&'static str),
    /// The kernel with `tcp_syncookies` 1 behind `sluice guard`.
    Guard,
    /// XDP_DROP: what the generator alone costs.
    Drop,
}

impl Side {
    /// Those that are set beside each other.
    pub(super) const ALL: [Self; 6] = [
        Self::Sluice("never"),
        Self::Sluice("auto"),
        Self::Sluice("always"),
        Self::Guard,
        Self::Kernel("1"),
        Self::Kernel("2"),
    ];

    /// As the rows call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sluice("never") => "sluice, cookies never",
            Self::Sluice("auto") => "sluice, cookies auto",
            Self::Sluice(_) => "sluice, cookies always",
            Self::Kernel("1") => "kernel, syncookies 1",
            Self::Kernel(_) => "kernel, syncookies 2",
            Self::Guard => "kernel, sluice guard",
            Self::Drop => "XDP_DROP",
        }
    }
}

/// A server that is going to be flooded. Programs stand before the namespaces that they are in.
pub(super) struct Ground {
    pub(super) side: Side,
    /// Passes frames on to the kernel, guards it, or drops them: what XDP sends to an interface without a
    /// program is lost.
    program: Option<Attached>,
    pub(super) family: Family,
    pub(super) bed: Bed,
}

/// A program on the server's interface that is not Sluice's own.
enum Attached {
    /// That of a process, which holds it.
    By(Process),
    Drop {
        _program: Box<Ebpf>,
    },
}

impl Ground {
    pub(super) fn make(room: &Room, side: Side, family: Family) -> Result<Self> {
        let subject = match side {
            Side::Sluice(_) => Subject::Sluice,
            Side::Kernel(_) | Side::Guard | Side::Drop => Subject::Kernel,
        };
        let mut bed = Bed::make(subject, 1_500, Between::Nothing)?;
        if family == Family::V6 {
            bed.topology.speak_v6()?;
            bed.more.extend((subject == Subject::Kernel).then(|| "--ipv6".into()));
        }
        let server = &bed.topology.server;
        // Answers to forged sources leave by the same link.
        let next = family.of(CLIENTS.first);
        server.ip(&format!("route add {} via {next}", sources(family)))?;
        let program = match side {
            Side::Sluice(mode) => {
                bed.more = vec!["--syn-cookies".into(), mode.into()];
                None
            }
            Side::Kernel(setting) => {
                server.write_sysctl(SYNCOOKIES, setting)?;
                Some(Attached::By(pass(room, server)?))
            }
            Side::Guard => {
                server.write_sysctl(SYNCOOKIES, "1")?;
                Some(Attached::By(guard(room, server, family)?))
            }
            Side::Drop => Some(Attached::Drop { _program: Box::new(drop_all(server, family)?) }),
        };
        let mut ground = Self { side, program, family, bed };
        ground.start(room)?;
        Ok(ground)
    }

    /// Starts the server where it does not run, and fails where it, or what stands before it, has ended.
    pub(super) fn start(&mut self, room: &Room) -> Result<()> {
        if let Some(Attached::By(process)) = &mut self.program {
            process.check()?;
        }
        if self.side == Side::Drop { Ok(()) } else { self.bed.start(room) }
    }

    /// Where clients and flood go.
    pub(super) fn address(family: Family) -> SocketAddr {
        SocketAddr::new(family.server(), Service::Echo.port())
    }

    /// What the server keeps in memory.
    pub(super) fn memory(&self) -> Result<Memory> {
        let slabs = || Ok::<_, anyhow::Error>(Slabs::read()?.total());
        let of = |pid, slabs| Ok(Memory { process: resident(pid)?, maps: maps(pid)?, slabs });
        match (self.side, self.bed.server_pid(), &self.program) {
            (Side::Sluice(_), Some(pid), _) => of(pid, 0),
            (Side::Guard, _, Some(Attached::By(guard))) => of(guard.pid(), slabs()?),
            _ => Ok(Memory { slabs: slabs()?, ..Memory::default() }),
        }
    }
}

/// Holds the program that passes everything on the server's end.
fn pass(room: &Room, server: &Namespace) -> Result<Process> {
    let mut command = server.command(&room.tools.sluice);
    command.args(["pass", "--iface", SERVER_END]).arg("--program").arg(&room.tools.program);
    let mut process = Process::start("sluice pass", &mut command)?;
    let last = now() + PATIENCE;
    while !server.ip(&format!("link show dev {SERVER_END}"))?.contains("xdp") {
        room.stop.check()?;
        process.check()?;
        ensure!(now() < last, "sluice pass did not attach within {PATIENCE:?}");
        pause(Duration::from_millis(20));
    }
    Ok(process)
}

/// Guards the server's port.
fn guard(room: &Room, server: &Namespace, family: Family) -> Result<Process> {
    let mut command = server.command(&room.tools.sluice);
    let port = Ground::address(family).port().to_string();
    command.args(["guard", "--iface", SERVER_END, "--port", &port, "--report", "0"]);
    command.args(["--mode", "native", "--for", LIFETIME]);
    let mut process = Process::start("sluice guard", &mut command)?;
    process.line("ready: ", PATIENCE, &room.stop)?;
    Ok(process)
}

/// Drops everything for the server as soon as it comes.
fn drop_all(server: &Namespace, family: Family) -> Result<Ebpf> {
    server.inside(|| {
        let mut sink = object::load("generate.o")?;
        let all: [u8; size_of::<Sink>()] = transmute!(match family.server() {
            IpAddr::V4(server) => Sink::v4(server.octets(), [u8::MAX; 4]),
            IpAddr::V6(server) => Sink { prefix: server.octets(), mask: [u8::MAX; 16] },
        });
        set(&mut sink, generate::SINK, 0, all)?;
        let program = object::program(&mut sink, generate::SINK_PROGRAM)?;
        program.attach(SERVER_END, XdpMode::Driver).context("the program that drops")?;
        Ok(sink)
    })
}

/// Bytes of the BPF maps that a process holds.
fn maps(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.clone())?;
    let texts = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    // Two descriptors may be of one map.
    let mut found: Vec<(u64, u64)> = texts.filter_map(|text| map(&text)).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found.into_iter().map(|(_, bytes)| bytes).sum())
}

/// Number and bytes of the map that a descriptor's fdinfo tells of; `None` where it is of none.
fn map(fdinfo: &str) -> Option<(u64, u64)> {
    let value = |key: &str| {
        let line = fdinfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().parse().ok()
    };
    // Programs have memory too.
    value("map_type:").map(|_: u64| ())?;
    Some((value("map_id:")?, value("memlock:")?))
}

const SYNCOOKIES: &str = "net/ipv4/tcp_syncookies";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_is_told_from_other_descriptors() {
        let text =
            "pos:\t0\nflags:\t02000002\nmap_type:\t2\nkey_size:\t4\nmemlock:\t4096\nmap_id:\t7\n";
        assert_eq!(map(text), Some((7, 4_096)));
        assert_eq!(map("pos:\t0\nprog_type:\t6\nmemlock:\t4096\nprog_id:\t7\n"), None);
        assert_eq!(map("pos:\t0\n"), None);
    }

    #[test]
    fn names_of_sides_are_unique() {
        let mut names: Vec<&str> = Side::ALL.iter().map(|side| side.name()).collect();
        names.push(Side::Drop.name());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 7);
    }
}
