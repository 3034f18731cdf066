//! What an operator asks for, as values: listeners, connections, ports, addresses, CPUs.
//!
//! Owns the grammar of the options and the checks that need no machine. Knows no kernel.

use core::fmt;
use core::net::IpAddr;
use core::ops::RangeInclusive;
use core::str::FromStr;

use super::Refusal;
use crate::wire::{Addr, ipv4, ipv6};

/// A service that comes with Sluice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// Sends back what comes (RFC 862).
    Echo,
    /// Throws away what comes (RFC 863).
    Discard,
    /// Sends characters without end (RFC 864).
    Chargen,
    /// Serves the status page.
    Http,
}

impl ServiceKind {
    /// Every service.
    pub const ALL: [Self; 4] = [Self::Echo, Self::Discard, Self::Chargen, Self::Http];

    /// Its name in options and on the ready line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
            Self::Http => "http",
        }
    }
}

impl FromStr for ServiceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("`{text}` is no service: use echo, discard, chargen or http"))
    }
}

/// `PORT=SERVICE` or `ADDR:PORT=SERVICE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// The address; `None` for every address that is served.
    pub addr: Option<Addr>,
    /// The port.
    pub port: u16,
    /// Who accepts.
    pub service: ServiceKind,
}

impl ListenSpec {
    /// What is served when nothing is asked for.
    pub const DEFAULT: [Self; 3] = [
        Self { addr: None, port: 7, service: ServiceKind::Echo },
        Self { addr: None, port: 9, service: ServiceKind::Discard },
        Self { addr: None, port: 80, service: ServiceKind::Http },
    ];
}

impl FromStr for ListenSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "give PORT=SERVICE or ADDR:PORT=SERVICE";
        let (place, service) = text.split_once('=').ok_or(form)?;
        let (addr, port) = match place.rsplit_once(':') {
            Some((addr, port)) => (Some(parse_addr(addr)?), port),
            None => (None, place),
        };
        Ok(Self { addr, port: parse_port(port)?, service: service.parse()? })
    }
}

impl fmt::Display for ListenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(addr) = self.addr {
            write!(f, "{}:", Bracketed(addr))?;
        }
        write!(f, "{}={}", self.port, self.service.name())
    }
}

/// `ADDR:PORT=SERVICE`: a connection that is opened at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectSpec {
    /// The peer's address.
    pub addr: Addr,
    /// The peer's port.
    pub port: u16,
    /// Who talks to it.
    pub service: ServiceKind,
}

impl FromStr for ConnectSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "give ADDR:PORT=SERVICE";
        let (place, service) = text.split_once('=').ok_or(form)?;
        let (addr, port) = place.rsplit_once(':').ok_or(form)?;
        Ok(Self { addr: parse_addr(addr)?, port: parse_port(port)?, service: service.parse()? })
    }
}

/// `ADDR:PORT`: where a peer listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The peer's address.
    pub addr: Addr,
    /// The peer's port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Bracketed(self.addr), self.port)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (addr, port) = text.rsplit_once(':').ok_or("give ADDR:PORT")?;
        Ok(Self { addr: parse_addr(addr)?, port: parse_port(port)? })
    }
}

/// `LO-HI`: a range of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl PortRange {
    /// Whether `port` lies in the range.
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether the two have a port in common.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Part `index` of `count` equal parts, the last of which takes the rest; `None` when there are
    /// fewer ports than parts.
    pub fn part(&self, index: u16, count: u16) -> Option<RangeInclusive<u16>> {
        let ports = u32::from(self.last) - u32::from(self.first) + 1;
        let each = ports.checked_div(u32::from(count)).filter(|&each| each > 0)?;
        let first = u32::from(self.first) + each * u32::from(index);
        let last = if index + 1 == count { u32::from(self.last) } else { first + each - 1 };
        Some(first as u16..=last as u16)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').ok_or("give LO-HI")?;
        let (first, last) = (parse_port(first)?, parse_port(last)?);
        if first > last {
            return Err(format!("{first} is above {last}: give LO-HI"));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// `A/LEN`: an address that Sluice owns, with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAddr {
    /// The address.
    pub addr: Addr,
    /// Length of the prefix over the 128 bits of `addr`: an IPv4 /24 is 120.
    pub prefix_len: u8,
}

impl OwnAddr {
    /// Whether `other` is in the same network.
    pub fn is_on_link(&self, other: Addr) -> bool {
        let is_same = other.is_v4() == self.addr.is_v4() && self.masked(other) == self.network();
        // Whatever the network is, so is every link-local address (RFC 4291, 2.5.6).
        is_same || (!self.addr.is_v4() && ipv6::is_link_local(&other))
    }

    /// The network's address.
    pub fn network(&self) -> Addr {
        self.masked(self.addr)
    }

    fn masked(&self, addr: Addr) -> Addr {
        let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix_len)).unwrap_or(0);
        Addr((u128::from_be_bytes(addr.0) & mask).to_be_bytes())
    }
}

impl FromStr for OwnAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (addr, len) = text.split_once('/').ok_or("give A/LEN")?;
        let addr: IpAddr =
            addr.parse().map_err(|_| format!("`{addr}` is no IP address: give A/LEN"))?;
        let addr = Addr::from(addr);
        let (most, before) = if addr.is_v4() { (32, 96) } else { (128, 0) };
        let prefix_len: u8 = len
            .parse()
            .ok()
            .filter(|len| (1..=most).contains(len))
            .ok_or_else(|| format!("`{len}` is no length of a prefix: give 1 to {most}"))?;
        let is_host = if addr.is_v4() { ipv4::is_unicast(&addr) } else { ipv6::is_unicast(&addr) };
        if !is_host {
            return Err(format!("{addr} is an address that no host may have"));
        }
        Ok(Self { addr, prefix_len: before + prefix_len })
    }
}

impl fmt::Display for OwnAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = if self.addr.is_v4() { 96 } else { 0 };
        write!(f, "{}/{}", self.addr, self.prefix_len - before)
    }
}

/// `RATE` or `RATE,BURST`: SYNs that a source may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynLimit {
    /// In a second.
    pub rate: u32,
    /// At once.
    pub burst: u32,
}

impl FromStr for SynLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.parse().ok().filter(|number| (1..=MAX_SYNS).contains(number));
            number.ok_or_else(|| format!("`{text}` is no limit: give 1 to {MAX_SYNS}"))
        };
        let (rate, burst) = text.split_once(',').unwrap_or((text, text));
        Ok(Self { rate: number(rate)?, burst: number(burst)? })
    }
}

/// `0,2-3`: CPUs, in the order in which workers take them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                text.parse()
                    .ok()
                    .filter(|&cpu: &usize| cpu < MAX_CPUS)
                    .ok_or_else(|| format!("`{text}` is no CPU number: give a list such as 0,2-3"))
            };
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("{first} is above {last}: give a list such as 0,2-3"));
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

/// Refuses two listeners that accept the same connections.
///
/// # Errors
/// When two name the same port and the same address, or one of them every address.
pub fn check_listeners(listeners: &[ListenSpec]) -> Result<(), Refusal> {
    for (index, one) in listeners.iter().enumerate() {
        let is_same = |other: &&ListenSpec| other.port == one.port && other.addr == one.addr;
        if let Some(other) = listeners[..index].iter().find(is_same) {
            return Err(Refusal::new(
                format_args!("--listen {one} and --listen {other} want the same port"),
                "give each a port of its own",
            ));
        }
    }
    Ok(())
}

/// Refuses a range of local ports that holds a listening port or is too small.
///
/// # Errors
/// As said.
pub fn check_local_ports(
    range: PortRange,
    listeners: &[ListenSpec],
    workers: u16,
) -> Result<(), Refusal> {
    if let Some(listener) = listeners.iter().find(|listener| range.contains(listener.port)) {
        return Err(Refusal::new(
            format_args!("--local-ports {range} holds the listening port {}", listener.port),
            "choose a range without it",
        ));
    }
    if range.part(0, workers).is_none() {
        return Err(Refusal::new(
            format_args!("--local-ports {range} has fewer ports than the {workers} workers"),
            "give a longer range",
        ));
    }
    Ok(())
}

/// An address in front of a port: one of IPv6 in brackets, so that it is clear where it ends.
fn parse_addr(text: &str) -> Result<Addr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let addr: IpAddr =
        bare.unwrap_or(text).parse().map_err(|_| format!("`{text}` is no IP address"))?;
    match addr.is_ipv6() == bare.is_some() {
        true => Ok(addr.into()),
        false => Err(format!("`{text}`: an IPv6 address, and no other, stands in brackets")),
    }
}

/// An address in front of a port.
struct Bracketed(Addr);

impl fmt::Display for Bracketed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(addr) = self;
        if addr.is_v4() { write!(f, "{addr}") } else { write!(f, "[{addr}]") }
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|&port| port != 0 && is_number)
        .ok_or_else(|| format!("`{text}` is no port: give 1 to 65535"))
}

/// The most SYNs of a source that a limit may name.
const MAX_SYNS: u32 = 1_000_000;
/// The most CPUs of a machine that an affinity mask can name.
const MAX_CPUS: usize = 1024;

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
