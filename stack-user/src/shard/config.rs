//! What a shard is told at its start, and what it is told and asks later.

use core::ops::RangeInclusive;
use std::sync::Arc;

use crate::tables::listeners::Listener;
use crate::tables::region::Layout;
use crate::tcp;
use crate::time::Instant;
use crate::wire::{Addr, MacAddr};

/// A shard's configuration.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// The shard's number.
    pub index: u16,
    /// The interface's link-layer address.
    pub mac: MacAddr,
    /// The interface's MTU: the longest IP packet in octets.
    pub mtu: u16,
    /// The VLAN that the shard's frames carry.
    pub vlan: Option<u16>,
    /// The addresses it serves.
    pub addrs: Vec<LocalAddr>,
    /// Its routes, longest prefix first.
    pub routes: Arc<[Route]>,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Its part of the local ports for active opens.
    pub local_ports: RangeInclusive<u16>,
    /// Whether received TCP checksums are verified.
    pub verify_checksums: bool,
    /// Keys that nobody outside may know.
    pub secrets: Secrets,
    /// The bounds of its tables.
    pub limits: Limits,
    /// TCP's limits and times.
    pub tcp: tcp::Config,
}

/// An address that the shard serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddr {
    /// The address.
    pub addr: Addr,
    /// Whether it is ours alone: ARP, neighbour discovery and echo are answered here, and neighbours
    /// are asked for by these.
    pub is_owned: bool,
}

/// Random keys, the same for all shards of a process.
#[derive(Clone, Copy)]
pub struct Secrets {
    /// Of the flow table's hash.
    pub flow: [u8; 16],
    /// Of initial sequence numbers (RFC 6528), of timestamp offsets, and of SYN cookies.
    pub isn: [u8; 16],
    /// Of the choice of ports (RFC 6056).
    pub port: [u8; 16],
}

impl core::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// The bounds of a shard's tables.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections.
    pub connections: usize,
    /// Half-open entries.
    pub half_open: usize,
    /// TIME-WAIT records.
    pub time_wait: usize,
    /// Next hops.
    pub neighbours: usize,
    /// Replies without state that wait for a frame.
    pub replies: usize,
    /// Connections that their users have closed for good and whose peers have not.
    pub orphans: usize,
    /// RSTs without a connection, in a second.
    pub resets_per_second: u32,
    /// ICMP errors, in a second.
    pub icmp_errors_per_second: u32,
    /// Buffer memory in bytes.
    pub buffers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1 << 18,
            half_open: 1 << 14,
            time_wait: 1 << 18,
            neighbours: 1 << 12,
            replies: 1 << 10,
            orphans: 1 << 16,
            resets_per_second: 20_000,
            // Linux's icmp_msgs_per_sec.
            icmp_errors_per_second: 1_000,
            buffers: 1 << 30,
        }
    }
}

impl Limits {
    /// What the shard's region has room for.
    pub const fn layout(&self) -> Layout {
        let flows = self.connections + self.half_open + self.time_wait;
        Layout { flows, connections: self.connections }
    }
}

/// What other threads tell a shard.
#[derive(Clone, Debug)]
pub enum Command {
    /// Takes new connections no longer, closes all with FIN, and resets what is left at `deadline`.
    Shutdown {
        /// When the rest is reset.
        deadline: Instant,
    },
    /// The routes, longest prefix first.
    Routes(Arc<[Route]>),
    /// An address more to serve.
    Address(LocalAddr),
    /// What the kernel knows of a neighbour; `None` when it cannot be resolved.
    Neighbour {
        /// The next hop.
        addr: Addr,
        /// Its link-layer address.
        mac: Option<MacAddr>,
    },
    /// A service may have something to open: see [`Shard::open_wanted`](super::Shard::open_wanted).
    Open,
    /// Opens a connection for a service.
    Connect {
        /// The peer's address.
        remote: Addr,
        /// The peer's port.
        remote_port: u16,
        /// The index of the service.
        service: u16,
    },
}

/// A route: where frames for a prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The prefix's address; IPv4 as `::ffff:a.b.c.d`.
    pub prefix: Addr,
    /// The prefix's length over the 128 bits of `prefix`: an IPv4 /24 is 120.
    pub prefix_len: u8,
    /// The gateway; `None` where the destination is on the link.
    pub gateway: Option<Addr>,
}

impl Route {
    /// The next hop for `addr`, if this route leads there.
    pub fn next_hop(&self, addr: Addr) -> Option<Addr> {
        let shift = 128 - u32::from(self.prefix_len.min(128));
        let bits = |addr: Addr| u128::from_be_bytes(addr.0).checked_shr(shift).unwrap_or(0);
        // A prefix of IPv6, the default route's above all, holds no mapped address.
        let is_within = self.prefix.is_v4() == addr.is_v4() && bits(addr) == bits(self.prefix);
        is_within.then(|| self.gateway.unwrap_or(addr))
    }
}

/// What a shard asks of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Resolve this next hop of a shared address (the answer is [`Command::Neighbour`]).
    Resolve(Addr),
}

/// Who has to see a frame that is not, or not only, this shard's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// The flow belongs to this shard.
    Owner(u16),
    /// Every shard has to see it (ARP or neighbour discovery for an address of our own).
    Every,
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    #[test]
    fn default_route_leads_to_its_own_family_alone() {
        let v4 = Addr::from(Ipv4Addr::new(192, 0, 2, 1));
        let v6 = Addr::from(IpAddr::from(Ipv6Addr::LOCALHOST));
        let of_v4 =
            Route { prefix: Ipv4Addr::UNSPECIFIED.into(), prefix_len: 96, gateway: Some(v4) };
        let of_v6 = Route {
            prefix: IpAddr::from(Ipv6Addr::UNSPECIFIED).into(),
            prefix_len: 0,
            gateway: Some(v6),
        };
        assert_eq!((of_v4.next_hop(v4), of_v4.next_hop(v6)), (Some(v4), None));
        assert_eq!((of_v6.next_hop(v4), of_v6.next_hop(v6)), (None, Some(v6)));
    }
}
