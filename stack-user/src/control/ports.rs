//! Ports that the kernel must not give to anybody else while Sluice serves them.
//!
//! A listening port on a shared address is held by a bound kernel socket that never listens. The
//! range of local ports for active opens is added to `ip_local_reserved_ports` of the namespace and
//! taken back at the end; what was added stands in a file under `/run/sluice`, so that the next
//! start takes back what a killed run left.

mod sockets;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};

use super::Refusal;
use super::config::{ListenSpec, PortRange};
use crate::wire::Addr;

/// Kernel sockets bound to the listening ports.
#[derive(Debug)]
pub struct HeldPorts {
    _sockets: Vec<OwnedFd>,
}

/// Whether a socket of the kernel's listens on the port, at any address but the loopback's.
pub fn is_listened(port: u16) -> bool {
    let mut sockets = sockets::with_port(port).into_iter();
    sockets.any(|socket| socket.is_listening && !socket.addr.is_loopback())
}

/// Binds a kernel socket to each listener's port, on its address or on all of `served`, which are
/// those of the interface with number `index`.
///
/// # Errors
/// A refusal when a kernel socket has the port.
pub fn hold(listeners: &[ListenSpec], served: &[Addr], index: u32) -> Result<HeldPorts, Refusal> {
    let mut places = BTreeSet::new();
    for spec in listeners {
        let addrs = spec.addr.as_ref().map_or(served, std::slice::from_ref);
        places.extend(addrs.iter().map(|addr| (*addr, spec.port)));
    }
    let sockets = places.into_iter().map(|(addr, port)| hold_one(place(addr, port, index)));
    Ok(HeldPorts { _sockets: sockets.collect::<Result<_, _>>()? })
}

/// An address as the kernel takes it: what holds on one link alone needs the link's number.
fn place(addr: Addr, port: u16, index: u32) -> SocketAddr {
    match IpAddr::from(addr) {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            SocketAddrV6::new(v6, port, 0, index).into()
        }
        ip => SocketAddr::new(ip, port),
    }
}

fn hold_one(place: SocketAddr) -> Result<OwnedFd, Refusal> {
    // With SO_REUSEADDR a port may be bound where old connections of the kernel are in TIME-WAIT;
    // one that another socket listens on may not.
    let port = place.port();
    bound(place, true).map_err(|errno| match errno {
        nix::Error::EADDRINUSE => Refusal::new(
            format_args!("port {port} is taken by {}", sockets::owner(port)),
            format_args!("stop it (see `ss -tlnp sport = :{port}`) or listen elsewhere"),
        ),
        nix::Error::EACCES => Refusal::new(
            format_args!("port {} may not be bound", port),
            "run as root or with CAP_NET_BIND_SERVICE",
        ),
        errno => Refusal::new(
            format_args!("port {} cannot be held with a kernel socket: {errno}", port),
            "listen elsewhere",
        ),
    })
}

/// A bound TCP socket, which does not listen.
fn bound(place: SocketAddr, is_reuse: bool) -> nix::Result<OwnedFd> {
    let (family, is_v6) = match place {
        SocketAddr::V4(_) => (AddressFamily::Inet, false),
        SocketAddr::V6(_) => (AddressFamily::Inet6, true),
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    if is_v6 {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
        // An address that the kernel is still making sure of may be bound, too.
        setsockopt(&fd, sockopt::IpFreebind, &true)?;
    }
    setsockopt(&fd, sockopt::ReuseAddr, &is_reuse)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(place))?;
    // From here on nobody else gets it to listen on, with the option or without.
    setsockopt(&fd, sockopt::ReuseAddr, &false)?;
    Ok(fd)
}

/// The range of local ports in `ip_local_reserved_ports`; taken back when dropped.
#[derive(Debug)]
pub struct ReservedPorts {
    range: PortRange,
    files: Files,
}

/// Where the kernel's list and the record of our part of it are.
#[derive(Clone, Debug)]
struct Files {
    sysctl: PathBuf,
    record: PathBuf,
}

impl Files {
    /// Those of this network namespace.
    fn here() -> io::Result<Self> {
        let namespace = fs::read_link("/proc/thread-self/ns/net")?;
        let number: String =
            namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        Ok(Self {
            sysctl: PathBuf::from("/proc/sys/net/ipv4/ip_local_reserved_ports"),
            record: Path::new(STATE).join(format!("reserved-ports-{number}")),
        })
    }

    /// Waits for the right to change both, which ends with the value: the list is only to be had
    /// and written as a whole.
    fn lock(&self) -> io::Result<File> {
        let folder = self.record.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let folder = File::open(folder)?;
        folder.lock()?;
        Ok(folder)
    }
}

/// Takes back what killed runs in this namespace left; says what. Runs that live keep theirs.
///
/// # Errors
/// When the kernel's list cannot be read or written.
pub fn repair() -> io::Result<Vec<PortRange>> {
    repair_in(&Files::here()?)
}

fn repair_in(files: &Files) -> io::Result<Vec<PortRange>> {
    if !files.record.exists() {
        return Ok(Vec::new());
    }
    let _lock = files.lock()?;
    let Ok(text) = fs::read_to_string(&files.record) else { return Ok(Vec::new()) };
    let records = parse_records(&text);
    let (alive, dead): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.is_alive());
    let mut repaired = Vec::new();
    for record in dead {
        if change(&files.sysctl, |ranges| remove(ranges, record.range))? {
            repaired.push(record.range);
        }
    }
    write_records(&files.record, &alive)?;
    Ok(repaired)
}

/// Refuses a range that is reserved already, or of which a kernel socket has a port.
///
/// # Errors
/// A refusal as said, or when the kernel's list cannot be read.
pub fn check_reserved(range: PortRange) -> Result<(), Refusal> {
    let files = Files::here().map_err(|err| unreadable(&err))?;
    check_list(&files, range)?;
    check_free(range)
}

fn check_list(files: &Files, range: PortRange) -> Result<(), Refusal> {
    let reserved = read(&files.sysctl).map_err(|err| unreadable(&err))?;
    match reserved.iter().find(|other| other.overlaps(&range)) {
        Some(other) => Err(Refusal::new(
            format_args!("--local-ports {range} overlaps {other}, which is reserved already"),
            "choose another range (net.ipv4.ip_local_reserved_ports lists them)",
        )),
        None => Ok(()),
    }
}

/// Refuses a range of which a kernel socket has a port where frames of an interface reach it.
fn check_free(range: PortRange) -> Result<(), Refusal> {
    let families = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    let ports = range.first..=range.last;
    for (port, ip) in ports.flat_map(|port| families.map(|ip| (port, ip))) {
        // Without SO_REUSEADDR, so that it fails wherever somebody has the port.
        match bound(SocketAddr::new(ip, port), false) {
            Err(nix::Error::EADDRINUSE) if !is_harmless(port) => {
                return Err(Refusal::new(
                    format_args!(
                        "--local-ports {range}: port {port} is taken by {}",
                        sockets::owner(port)
                    ),
                    format_args!(
                        "stop it (see `ss -tanp sport = :{port}`) or choose another range"
                    ),
                ));
            }
            // Without IPv6 nobody has a port of it.
            Ok(_) | Err(nix::Error::EADDRINUSE | nix::Error::EAFNOSUPPORT) => {}
            Err(errno) => {
                return Err(Refusal::new(
                    format_args!("--local-ports {range}: port {port} cannot be tried: {errno}"),
                    "choose another range",
                ));
            }
        }
    }
    Ok(())
}

/// Whether all who have the port are closed connections or sockets of the loopback.
fn is_harmless(port: u16) -> bool {
    let sockets = sockets::with_port(port);
    // A socket that is only bound is not shown, and may have any address.
    !sockets.is_empty()
        && sockets.iter().all(|socket| socket.is_time_wait || socket.addr.is_loopback())
}

/// Reserves the range, so that the kernel does not choose from it.
///
/// # Errors
/// A refusal when it overlaps what is reserved, when a kernel socket has a port of it, or when the
/// list cannot be written.
pub fn reserve(range: PortRange) -> Result<ReservedPorts, Refusal> {
    let files = Files::here().map_err(|err| unreadable(&err))?;
    let reserved = reserve_in(files, range)?;
    // Only now can no new connection of the kernel's take a port of the range.
    check_free(range)?;
    Ok(reserved)
}

fn reserve_in(files: Files, range: PortRange) -> Result<ReservedPorts, Refusal> {
    let unwritable = |err: io::Error| {
        Refusal::new(
            format_args!("net.ipv4.ip_local_reserved_ports cannot be written: {err}"),
            "make /proc/sys and /run writable",
        )
    };
    let _lock = files.lock().map_err(unwritable)?;
    check_list(&files, range)?;
    add(&files, range).map_err(unwritable)?;
    Ok(ReservedPorts { range, files })
}

/// Adds the range to the record and to the list, or to neither.
fn add(files: &Files, range: PortRange) -> io::Result<()> {
    // The record goes first: a kill between the two leaves a record of nothing, which is harmless.
    let records = parse_records(&fs::read_to_string(&files.record).unwrap_or_default());
    let own = Record::own(range)?;
    write_records(&files.record, &[&records[..], &[own]].concat())?;
    let changed = change(&files.sysctl, |ranges| {
        ranges.push(range);
        true
    });
    if changed.is_err() {
        write_records(&files.record, &records)?;
    }
    changed.map(|_| ())
}

impl ReservedPorts {
    fn give_back(&self) -> io::Result<()> {
        let _lock = self.files.lock()?;
        change(&self.files.sysctl, |ranges| remove(ranges, self.range))?;
        let mut records =
            parse_records(&fs::read_to_string(&self.files.record).unwrap_or_default());
        let (pid, range) = (std::process::id(), self.range);
        records.retain(|record| record.pid != pid || record.range != range);
        write_records(&self.files.record, &records)
    }
}

impl Drop for ReservedPorts {
    fn drop(&mut self) {
        if let Err(err) = self.give_back() {
            tracing::warn!(range = %self.range, %err, "the reserved ports could not be given back");
        }
    }
}

fn unreadable(err: &io::Error) -> Refusal {
    Refusal::new(
        format_args!("net.ipv4.ip_local_reserved_ports cannot be read: {err}"),
        "mount /proc",
    )
}

/// A range that a run reserved; the start time tells its pid from a later process with the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    range: PortRange,
    pid: u32,
    start: u64,
}

impl Record {
    fn own(range: PortRange) -> io::Result<Self> {
        let pid = std::process::id();
        let start = start_time(pid).ok_or_else(|| io::Error::other("/proc/self/stat"))?;
        Ok(Self { range, pid, start })
    }

    fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.start)
    }
}

/// When the process started, in ticks since boot (field 22 of proc(5)'s stat).
fn start_time(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()
}

fn parse_records(text: &str) -> Vec<Record> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        Some(Record {
            range: words.next().and_then(parse_range)?,
            pid: words.next()?.parse().ok()?,
            start: words.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(parse).collect()
}

fn write_records(path: &Path, records: &[Record]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if records.is_empty() {
        return match fs::remove_file(path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => {
                // It stays where others have something in it.
                let _ = fs::remove_dir(folder);
                Ok(())
            }
        };
    }
    fs::create_dir_all(folder)?;
    let lines = records.iter().map(|r| format!("{} {} {}\n", r.range, r.pid, r.start));
    fs::write(path, lines.collect::<String>())
}

/// Reads the kernel's list, lets `edit` change it, and writes it when `edit` says so.
fn change(path: &Path, edit: impl FnOnce(&mut Vec<PortRange>) -> bool) -> io::Result<bool> {
    let mut ranges = read(path)?;
    let is_changed = edit(&mut ranges);
    if is_changed {
        fs::write(path, format_list(&ranges))?;
    }
    Ok(is_changed)
}

fn read(path: &Path) -> io::Result<Vec<PortRange>> {
    Ok(fs::read_to_string(path)?.trim().split(',').filter_map(parse_range).collect())
}

/// The list as the kernel takes it; the newline makes an empty list one that clears.
fn format_list(ranges: &[PortRange]) -> String {
    let words: Vec<_> = ranges.iter().map(PortRange::to_string).collect();
    words.join(",") + "\n"
}

/// One entry of the kernel's list: `5000` or `5000-5001`.
fn parse_range(word: &str) -> Option<PortRange> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some(PortRange { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
}

/// Takes `range` out of the list, also where the kernel merged it with its neighbours; whether it
/// was there.
fn remove(ranges: &mut Vec<PortRange>, range: PortRange) -> bool {
    let Some(at) = ranges.iter().position(|r| r.first <= range.first && range.last <= r.last)
    else {
        return false;
    };
    let whole = ranges.remove(at);
    if range.last < whole.last {
        ranges.insert(at, PortRange { first: range.last + 1, last: whole.last });
    }
    if whole.first < range.first {
        ranges.insert(at, PortRange { first: whole.first, last: range.first - 1 });
    }
    true
}

/// The folder of what outlives a run that is killed.
const STATE: &str = "/run/sluice";

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Vec<PortRange> {
        text.split(',').filter_map(parse_range).collect()
    }

    /// A list and a record in a folder of their own, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, list: &str) -> (Self, Files) {
            let folder = std::env::temp_dir().join(format!("sluice-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            let files = Files { sysctl: folder.join("list"), record: folder.join("record") };
            fs::write(&files.sysctl, list).unwrap();
            (Self(folder), files)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn list_reads_and_writes_as_the_kernel_does() {
        assert_eq!(format_list(&ranges("5000-5001,41000")), "5000-5001,41000\n");
        assert_eq!(format_list(&ranges("")), "\n");
    }

    #[test]
    fn remove_from_a_merged_range_leaves_both_sides() {
        let mut list = ranges("1-2,10-30");
        assert!(remove(&mut list, PortRange { first: 15, last: 20 }));
        assert_eq!(list, ranges("1-2,10-14,21-30"));
        assert!(!remove(&mut list, PortRange { first: 14, last: 21 }));
    }

    #[test]
    fn reserved_range_is_added_and_given_back() {
        let (_scratch, files) = Scratch::new("give-back", "5000-5001\n");
        let range = PortRange { first: 45000, last: 45999 };
        let reserved = reserve_in(files.clone(), range).unwrap();
        assert_eq!(fs::read_to_string(&files.sysctl).unwrap(), "5000-5001,45000-45999\n");
        assert_eq!(repair_in(&files).unwrap(), []);
        drop(reserved);
        assert_eq!(fs::read_to_string(&files.sysctl).unwrap(), "5000-5001\n");
        assert!(!files.record.exists());
    }

    #[test]
    fn ranges_reserved_and_given_back_at_once_lose_no_update() {
        let (_scratch, files) = Scratch::new("at-once", "7\n");
        let other = |first: u16| {
            let files = files.clone();
            move || {
                for _ in 0..50 {
                    reserve_in(files.clone(), PortRange { first, last: first + 9 }).unwrap();
                }
            }
        };
        std::thread::scope(|scope| {
            for number in 1..5 {
                scope.spawn(other(number * 1000));
            }
        });
        assert_eq!(fs::read_to_string(&files.sysctl).unwrap(), "7\n");
        assert!(!files.record.exists());
    }

    #[test]
    fn range_of_a_killed_run_is_taken_back_by_repair() {
        let (_scratch, files) = Scratch::new("repair", "7,45000-45999\n");
        // Process 1 lives, but did not start at tick 1.
        fs::write(&files.record, "45000-45999 1 1\n").unwrap();
        let repaired = repair_in(&files).unwrap();
        assert_eq!(repaired, [PortRange { first: 45000, last: 45999 }]);
        assert_eq!(fs::read_to_string(&files.sysctl).unwrap(), "7\n");
        assert!(!files.record.exists());
    }
}
