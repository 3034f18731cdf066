//! OPEN, active: who asks for a connection, and from where it is opened.
//!
//! Owns the choice of the local address and port. A peer's SYN is `open`'s.

use core::cell::Cell;
use core::fmt;

use super::Shard;
use super::inner::{Conn, Core, keyed_hash};
use crate::counters::Counter;
use crate::service::Peer;
use crate::tables::flow::{FlowKind, FlowRef};
use crate::tables::ports::Fit;
use crate::tables::slab::TcbId;
use crate::tcp::{CloseReason, Env, Setting, SettingError, Tcb, TimeWait, Unreachable};
use crate::time::Instant;
use crate::wire::{Addr, FourTuple, ipv4, ipv6};

/// A connection of a shard: its place and how many tenants the place had before.
pub type ConnId = TcbId;

/// An active open (RFC 9293, 3.10.1).
#[derive(Clone, Debug)]
pub struct Open {
    /// Our address; the first of the peer's family where it is `None`.
    pub local: Option<Addr>,
    /// Our port; one of the shard's range where it is `None` (RFC 6056, algorithm 3).
    pub local_port: Option<u16>,
    /// The peer's address.
    pub remote: Addr,
    /// The peer's port.
    pub remote_port: u16,
    /// The index of the service.
    pub service: u16,
    /// What the connection begins with, besides the shard's configuration.
    pub settings: Vec<Setting>,
    /// The service's word ([`Connection::user`](crate::service::Connection::user)).
    pub user: u64,
}

/// Why a connection could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// No service has this index.
    UnknownService(u16),
    /// The shard takes no new connections any more.
    ShuttingDown,
    /// The peer's address names no host: broadcast, multicast, loopback or unspecified.
    BadAddress(Addr),
    /// No route leads to the peer.
    NoRoute,
    /// The local address is not the shard's, or the shard has none of the peer's family.
    NoAddress,
    /// A connection, or a TIME-WAIT record, has this name.
    InUse,
    /// Every local port of the shard's range is taken towards this peer.
    NoPort,
    /// A table is full.
    Full,
    /// A setting is impossible.
    Setting(SettingError),
}

impl OpenError {
    /// What a service is told that asked by a command.
    fn reason(self) -> CloseReason {
        match self {
            Self::BadAddress(_) | Self::NoRoute | Self::NoAddress => {
                CloseReason::Unreachable(Unreachable::NextHop)
            }
            _ => CloseReason::NoResources,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownService(index) => write!(f, "there is no service {index}"),
            Self::ShuttingDown => f.write_str("the shard is shutting down"),
            Self::BadAddress(addr) => write!(f, "{addr} is no address of a host"),
            Self::NoRoute => f.write_str("no route leads to the peer"),
            Self::NoAddress => f.write_str("the shard has no such local address"),
            Self::InUse => f.write_str("the addresses and ports are in use"),
            Self::NoPort => f.write_str("no local port is free towards this peer"),
            Self::Full => f.write_str("a table is full"),
            Self::Setting(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl Shard {
    /// OPEN, active: a connection in SYN-SENT, whose SYN goes with the next [`Shard::drain`].
    ///
    /// # Errors
    /// [`OpenError`], and nothing was opened.
    pub fn open(&mut self, open: &Open, now: Instant) -> Result<ConnId, OpenError> {
        self.core.wheel.keep_up(now);
        let opened = match usize::from(open.service) < self.services.len() {
            true => self.core.open_active(open, now),
            false => Err(OpenError::UnknownService(open.service)),
        };
        match opened {
            Ok(id) => self.settle(id.index, now),
            Err(_) => self.core.counters.count(Counter::FailedOpens),
        }
        opened
    }

    /// [`Command::Connect`](super::Command::Connect): the service hears of a failure by
    /// `on_closed`.
    pub(super) fn connect(&mut self, (remote, port): (Addr, u16), service: u16, now: Instant) {
        self.connect_to(Peer { local: None, addr: remote, port }, service, now);
    }

    /// Opens what the services ask for, at most a bounded number of connections; how many it tried.
    pub fn open_wanted(&mut self, now: Instant) -> usize {
        if self.core.shutdown.is_some() {
            return 0;
        }
        let mut tried = 0;
        for service in 0..self.services.len() {
            while tried < OPENS
                && let Some(peer) = self.services[service].poll_open()
            {
                tried += 1;
                self.connect_to(peer, service as u16, now);
            }
        }
        tried
    }

    fn connect_to(&mut self, peer: Peer, service: u16, now: Instant) {
        let open = Open {
            local: peer.local,
            local_port: None,
            remote: peer.addr,
            remote_port: peer.port,
            service,
            settings: Vec::new(),
            user: 0,
        };
        match self.open(&open, now) {
            Ok(_) | Err(OpenError::UnknownService(_) | OpenError::ShuttingDown) => {}
            Err(error) => self.services[usize::from(service)].on_closed(0, error.reason()),
        }
    }
}

impl Core {
    fn open_active(&mut self, open: &Open, now: Instant) -> Result<ConnId, OpenError> {
        if self.shutdown.is_some() {
            return Err(OpenError::ShuttingDown);
        }
        // RFC 9293 3.9.1.1 (MUST-46): neither broadcast nor multicast.
        if !is_host(&open.remote) {
            return Err(OpenError::BadAddress(open.remote));
        }
        self.next_hop(open.remote).ok_or(OpenError::NoRoute)?;
        let Name { tuple, hash, user } = self.choose_name(open, now)?;
        let old = match user {
            NameUser::None => None,
            NameUser::OldEnough(index) => Some(index),
            NameUser::Other => return Err(OpenError::InUse),
        };
        if self.conns.is_full() {
            self.counters.count(Counter::TableFull);
            return Err(OpenError::Full);
        }
        let above = old.and_then(|index| self.time_waits.get(index)).map(|record| record.snd_nxt);
        let offsets = self.offsets(self.hasher.hash(&tuple));
        let (iss, offset) = (Self::isn_above(offsets, above, now), offsets.stamp());
        let mss = self.mss_for(&tuple.remote);
        let Self { conns, pool, counters, census, config, start, .. } = self;
        let mut env = Env { pool, counters, census, config: &config.tcp };
        // Made in its place: it is large to be moved.
        let id = conns.insert_with(|_| {
            let tcb = Tcb::connect(tuple, (iss, offset), mss, &mut env);
            Conn { user: open.user, ..Conn::new(tcb, (open.service, true), start) }
        });
        let id = id.ok_or(OpenError::Full)?;
        let conn = conns.get_mut(id.index).ok_or(OpenError::Full)?;
        if let Err(error) = conn.tcb.begin_with(&open.settings, &mut env, now) {
            self.forget(id.index);
            return Err(OpenError::Setting(error));
        }
        if let Some(index) = old {
            self.end_time_wait(index);
            self.counters.count(Counter::TimeWaitReuses);
        }
        let flow = FlowRef::new(FlowKind::Tcb, id.index);
        if self.flows.insert(hash, flow).is_err() {
            self.forget(id.index);
            self.counters.count(Counter::TableFull);
            return Err(OpenError::Full);
        }
        Ok(id)
    }

    /// The name of a connection to be opened, with an address of ours.
    fn choose_name(&mut self, open: &Open, now: Instant) -> Result<Name, OpenError> {
        // RFC 9293 3.9.1.1 (MUST-43 to MUST-45): the address asked for, else one of ours that fits;
        // it is the connection's for good. CM-2.a: RFC 6056, algorithm 3.
        let Open { remote, remote_port, .. } = *open;
        let is_alike = |addr: &Addr| addr.is_v4() == remote.is_v4();
        let mut ours = self.config.addrs.iter().map(|local| local.addr).filter(is_alike);
        let local = match open.local {
            Some(local) => ours.find(|addr| *addr == local),
            // RFC 6724 5, rule 2: of IPv6 one of the peer's scope, where there is one.
            None => {
                ours.min_by_key(|addr| ipv6::is_link_local(addr) != ipv6::is_link_local(&remote))
            }
        };
        let local = local.ok_or(OpenError::NoAddress)?;
        let tuple = FourTuple { local, remote, local_port: 0, remote_port };
        match open.local_port {
            Some(local_port) => Ok(self.look_at(FourTuple { local_port, ..tuple }, now)),
            None => self.choose_port(&tuple, now).ok_or(OpenError::NoPort),
        }
    }

    /// This name but for our port, with one that may be chosen.
    fn choose_port(&mut self, tuple: &FourTuple, now: Instant) -> Option<Name> {
        // CM-2.a: RFC 6056, algorithm 3.
        let start = keyed_hash(&self.config.secrets.port, tuple);
        let mut ports = core::mem::take(&mut self.ports);
        let named = |local_port| FourTuple { local_port, ..*tuple };
        // The one looked at last is nearly always the one that is chosen.
        let last = Cell::new(None);
        let fit = |port| match self.listeners.has_port(port) {
            // As on Linux a port that is listened on is not chosen, though it may be asked for.
            true => Fit::Taken,
            false => {
                let name = self.look_at(named(port), now);
                last.set(Some(name));
                name.user.fit()
            }
        };
        // CM-2.b: the answers come to this shard's queue, where that can be known.
        let rss = self.rss.clone();
        let by_port = rss.as_ref().and_then(|rss| Some((rss.queues(), rss.queue_by_port(tuple)?)));
        let home = by_port.as_ref().and_then(|(queues, queue_of)| {
            let is_home = |port| queue_of(port) == self.config.index;
            ports.choose_home(start, (*queues, is_home), fit)
        });
        let port = home.or_else(|| ports.choose(start, fit));
        self.ports = ports;
        match (home, port) {
            (Some(_), _) => self.counters.count(Counter::PortsAtHome),
            (None, Some(_)) if by_port.is_some() => self.counters.count(Counter::PortsAway),
            _ => {}
        }
        let last = last.get().filter(|name| Some(name.tuple.local_port) == port);
        last.or_else(|| Some(self.look_at(named(port?), now)))
    }

    /// Looks a name up.
    fn look_at(&self, tuple: FourTuple, now: Instant) -> Name {
        let hash = self.hasher.hash(&tuple);
        Name { tuple, hash, user: self.user_of(hash, &tuple, now) }
    }

    fn user_of(&self, hash: u64, tuple: &FourTuple, now: Instant) -> NameUser {
        let Some(flow) = self.find(hash, tuple) else { return NameUser::None };
        let whole = self.config.tcp.time_wait;
        let is_old = |record: &TimeWait| record.may_be_reopened(record.age(whole, now));
        match flow.kind() {
            FlowKind::TimeWait if self.time_waits.get(flow.index()).is_some_and(is_old) => {
                NameUser::OldEnough(flow.index())
            }
            _ => NameUser::Other,
        }
    }
}

/// Connections that services may open in one turn.
const OPENS: usize = 64;

/// A name for a connection to be opened.
#[derive(Clone, Copy)]
struct Name {
    tuple: FourTuple,
    /// That of the flow table.
    hash: u64,
    user: NameUser,
}

/// What uses the name of a connection.
#[derive(Clone, Copy)]
enum NameUser {
    None,
    /// A TIME-WAIT record that may give way, at this index.
    OldEnough(u32),
    Other,
}

impl NameUser {
    /// What such a name is to the choice of a port.
    fn fit(self) -> Fit {
        match self {
            Self::None => Fit::Free,
            Self::OldEnough(_) => Fit::Spare,
            Self::Other => Fit::Taken,
        }
    }
}

/// Whether an address may be a peer's.
fn is_host(addr: &Addr) -> bool {
    if addr.is_v4() { ipv4::is_unicast(addr) } else { ipv6::is_unicast(addr) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{addr, addr6, config};
    use super::*;
    use crate::service::Discard;
    use crate::shard::{LocalAddr, Route};
    use core::net::IpAddr;

    fn shard() -> Shard {
        Shard::new(config(1, Vec::new()), vec![Box::new(Discard)])
    }

    fn open() -> Open {
        let (local, local_port) = (None, None);
        let settings = Vec::new();
        Open { local, local_port, remote: addr(2), remote_port: 7, service: 0, settings, user: 9 }
    }

    // RFC 9293 3.9.1.1 (MUST-43, MUST-44, MUST-45).
    #[test]
    fn closed_open_with_a_port_uses_it_and_refuses_it_twice() {
        let mut shard = shard();
        let asked = Open { local: Some(addr(1)), local_port: Some(5000), ..open() };
        let id = shard.open(&asked, Instant::ZERO).expect("the name is free");
        let seen = shard.with(id, Instant::ZERO, |conn| (conn.tuple().local_port, *conn.user()));
        assert_eq!(seen, Some((5000, 9)));
        assert_eq!(shard.open(&asked, Instant::ZERO), Err(OpenError::InUse));
        assert!(shard.open(&open(), Instant::ZERO).is_ok(), "another port is free");
    }

    #[test]
    fn closed_open_that_cannot_be_is_refused_by_its_reason() {
        let mut shard = shard();
        let cases = [
            (Open { service: 3, ..open() }, OpenError::UnknownService(3)),
            (Open { local: Some(addr(8)), ..open() }, OpenError::NoAddress),
            (Open { local: Some(addr6(1)), ..open() }, OpenError::NoAddress),
            (
                Open { remote: core::net::Ipv4Addr::new(8, 8, 8, 8).into(), ..open() },
                OpenError::NoRoute,
            ),
        ];
        for (asked, error) in cases {
            assert_eq!(shard.open(&asked, Instant::ZERO), Err(error));
        }
        assert_eq!(shard.counters()[Counter::FailedOpens], 4);
    }

    // RFC 6724 5, rule 2.
    #[test]
    fn closed_open_takes_an_address_of_the_peers_scope() {
        let of = |first, n: u16| Addr::from(IpAddr::from([first, 0, 0, 0, 0, 0, 0, n]));
        let mut config = config(1, Vec::new());
        let addr = of(0xfe80, 1);
        config.addrs.insert(0, LocalAddr { addr, is_owned: true });
        let link = Route { prefix: of(0xfe80, 0), prefix_len: 64, gateway: None };
        config.routes = [&config.routes[..], &[link]].concat().into();
        let mut shard = Shard::new(config, vec![Box::new(Discard)]);
        for (remote, local) in [(addr6(2), addr6(1)), (of(0xfe80, 2), addr)] {
            let id = shard.open(&Open { remote, ..open() }, Instant::ZERO).expect("it is routed");
            let seen = shard.with(id, Instant::ZERO, |conn| conn.tuple().local);
            assert_eq!(seen, Some(local));
        }
    }

    #[test]
    fn closed_connection_is_not_found_again_by_its_id() {
        let mut shard = shard();
        let id = shard.open(&open(), Instant::ZERO).expect("the name is free");
        assert_eq!(shard.with(id, Instant::ZERO, |conn| conn.abort()), Some(()));
        assert_eq!(shard.with(id, Instant::ZERO, |conn| conn.abort()), None);
        let next = shard.open(&open(), Instant::ZERO).expect("the name is free");
        assert_eq!(next.index, id.index);
        assert_eq!(shard.with(id, Instant::ZERO, |_| ()), None, "a later tenant");
    }
}
