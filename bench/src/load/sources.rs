//! The addresses that the client's connections come from.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};

/// A range of addresses, written `FIRST+COUNT`; a lone address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The first of them.
    pub first: Ipv4Addr,
    /// How many.
    pub count: u32,
}

impl FromStr for Sources {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (first, count) = text.split_once('+').unwrap_or((text, "1"));
        let first = first.parse().with_context(|| format!("{first} is no IPv4 address"))?;
        let count = count.parse().with_context(|| format!("{count} is no number"))?;
        ensure!(count > 0, "a range of no address");
        Ok(Self { first, count })
    }
}

impl std::fmt::Display for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}", self.first, self.count)
    }
}

impl Sources {
    /// The address of the `n`-th connection.
    pub fn nth(&self, n: u64) -> Ipv4Addr {
        let offset = u32::try_from(n % u64::from(self.count)).unwrap_or(0);
        Ipv4Addr::from(u32::from(self.first).wrapping_add(offset))
    }

    /// The part of the range that the `index`-th of `of` processes takes: all of it where there are
    /// fewer addresses than processes.
    pub fn part(&self, index: u32, of: u32) -> Self {
        let count = self.count / of;
        match count {
            0 => *self,
            _ => Self { first: self.nth(u64::from(index * count)), count },
        }
    }
}

/// Where the sockets of a run come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    /// The kernel chooses address and port.
    Anywhere,
    /// These addresses in turn; the kernel chooses a port when the connection is opened, so that a
    /// port serves once for each peer.
    Spread(Sources),
    /// Each address, and of each its ports in turn: all pairs once before one comes again.
    InTurn(Sources),
    /// One address, its ports in turn: what comes after the first round meets its own TIME-WAIT.
    Single(Ipv4Addr),
}

impl From {
    /// A socket that does not block for the `n`-th connection.
    pub(super) fn socket(self, n: u64) -> nix::Result<OwnedFd> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let made = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        let at = match self {
            Self::Anywhere => return Ok(made),
            Self::Spread(sources) => {
                setsockopt(&made, sockopt::IpBindAddressNoPort, &true)?;
                SocketAddrV4::new(sources.nth(n), 0)
            }
            Self::InTurn(sources) => {
                setsockopt(&made, sockopt::ReuseAddr, &true)?;
                let port = port_in_turn(n / u64::from(sources.count));
                SocketAddrV4::new(sources.nth(n), port)
            }
            Self::Single(address) => {
                setsockopt(&made, sockopt::ReuseAddr, &true)?;
                SocketAddrV4::new(address, single_port(n))
            }
        };
        bind(std::os::fd::AsRawFd::as_raw_fd(&made), &SockaddrIn::from(at))?;
        Ok(made)
    }
}

/// How many of `connections` from one address used a port that an earlier one had, or one of the `before`
/// that an earlier run had from the first port on.
pub(crate) fn reused(connections: u64, before: u64) -> u64 {
    let first_round = connections.min(SINGLE_PORTS);
    first_round.min(before) + (connections - first_round)
}

/// The `n`-th of all ports but the first 1,024.
fn port_in_turn(n: u64) -> u16 {
    1_024 + u16::try_from(n % PORTS).unwrap_or(0)
}

/// The port of the `n`-th connection from a single address.
fn single_port(n: u64) -> u16 {
    FIRST_PORT + u16::try_from(n % SINGLE_PORTS).unwrap_or(0)
}

/// All ports but the first 1,024.
pub(crate) const PORTS: u64 = 64_512;
/// The first port of a single address, as in the kernel's default of ip_local_port_range.
const FIRST_PORT: u16 = 32_768;
/// How many ports a single address uses: as many as the kernel's default range.
pub(crate) const SINGLE_PORTS: u64 = 28_232;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_gives_the_range_and_nonsense_is_refused() {
        let first = Ipv4Addr::new(10, 0, 0, 254);
        assert_eq!("10.0.0.254+4".parse::<Sources>().unwrap(), Sources { first, count: 4 });
        assert_eq!("10.0.0.254".parse::<Sources>().unwrap(), Sources { first, count: 1 });
        for text in ["", "10.0.0", "10.0.0.1+0", "10.0.0.1+x", "+3"] {
            assert!(text.parse::<Sources>().is_err(), "{text}");
        }
    }

    #[test]
    fn connections_take_the_addresses_in_turn() {
        let sources: Sources = "10.0.0.254+4".parse().unwrap();
        let taken: Vec<_> = (3..6).map(|n| sources.nth(n).to_string()).collect();
        assert_eq!(taken, ["10.0.1.1", "10.0.0.254", "10.0.0.255"]);
    }

    #[test]
    fn processes_share_no_address_where_there_are_enough() {
        let sources: Sources = "10.0.0.1+5".parse().unwrap();
        let parts = [0, 1].map(|index| sources.part(index, 2).to_string());
        assert_eq!(parts, ["10.0.0.1+2", "10.0.0.3+2"]);
        assert_eq!(sources.part(3, 6), sources);
    }

    #[test]
    fn ports_in_turn_are_all_but_the_first() {
        assert_eq!((port_in_turn(0), port_in_turn(PORTS - 1)), (1_024, 65_535));
        assert_eq!(port_in_turn(PORTS), 1_024);
    }

    #[test]
    fn single_address_reuses_ports_after_one_round() {
        assert_eq!(single_port(0), single_port(SINGLE_PORTS));
        assert_eq!(single_port(SINGLE_PORTS - 1), 60_999);
        assert_eq!((reused(SINGLE_PORTS, 0), reused(SINGLE_PORTS + 7, 0)), (0, 7));
    }

    #[test]
    fn ports_of_an_earlier_run_are_used_again_too() {
        assert_eq!((reused(100, 30), reused(100, 100), reused(30, 100)), (30, 100, 30));
        let more = SINGLE_PORTS + 7;
        assert_eq!((reused(more, 5), reused(more, more)), (12, more));
    }
}
