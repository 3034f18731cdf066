//! The XDP program's maps: what user space tells it, and what it has counted.
//!
//! Owns the maps' descriptors. The layout of keys and values is `stack_ebpf::contract`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;

use aya::Ebpf;
use aya::maps::{self, Array, HashMap, MapData, PerCpuArray, ProgramArray, XskMap};
use aya::programs::ProgramFd;
use stack_ebpf::contract::{self, Address, Config, ListenerKey};
use stack_ebpf::hints::Hints;
use stack_ebpf::verdict::Verdict;
use zerocopy::{IntoBytes, transmute};

use crate::wire::Addr;

/// The maps of one loaded program.
///
/// An address has to be set before a listener on it steers anything; a wildcard listener holds for
/// every shared IPv4 and IPv6 address that is set.
pub struct Maps {
    config: Array<MapData, [u8; size_of::<Config>()]>,
    addresses: HashMap<MapData, [u8; 16], u32>,
    listeners: HashMap<MapData, [u8; size_of::<ListenerKey>()], u32>,
    hints: Array<MapData, [u8; size_of::<Hints>()]>,
    sockets: XskMap<MapData>,
    counters: PerCpuArray<MapData, u64>,
    /// Held, for its entries go with the last descriptor.
    programs: ProgramArray<MapData>,
    /// What the hash maps hold, from which the hints follow.
    known: Known,
}

#[derive(Clone, Default)]
struct Known {
    addresses: BTreeMap<[u8; 16], Address>,
    /// Address, or zeros for any, and port.
    listeners: BTreeSet<([u8; 16], u16)>,
    /// The same at their places, which are those of every shard's listeners.
    places: Vec<Option<([u8; 16], u16)>>,
}

impl Known {
    fn hints(&self) -> Hints {
        let mut hints = Hints::EMPTY;
        self.addresses.iter().for_each(|(addr, kind)| hints.add_address(addr, *kind));
        for (addr, port) in &self.listeners {
            hints.add_port(addr, *port, self.is_everywhere(*port));
        }
        let mut names = BTreeMap::<u16, usize>::new();
        self.listeners.iter().for_each(|(_, port)| *names.entry(*port).or_default() += 1);
        for (port, count) in names {
            let name = ([0; 16], port);
            let is_lone = count == 1 && self.listeners.contains(&name);
            let place = self.places.iter().position(|place| *place == Some(name));
            let place = place.and_then(|place| u16::try_from(place).ok());
            hints.add_door(port, place.filter(|_| is_lone));
        }
        hints
    }

    /// Where a listener is or would be: at the first free place, as in a shard.
    fn place(&self, name: ([u8; 16], u16)) -> usize {
        let mut places = self.places.iter();
        let there = places.position(|place| *place == Some(name));
        let free = || self.places.iter().position(Option::is_none);
        there.or_else(free).unwrap_or(self.places.len())
    }

    /// Whether every shared address is listened on at `port`.
    fn is_everywhere(&self, port: u16) -> bool {
        let mut shared = self.addresses.iter().filter(|(_, kind)| **kind == Address::Shared);
        self.listeners.contains(&([0; 16], port))
            || shared.all(|(addr, _)| self.listeners.contains(&(*addr, port)))
    }
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        Ok(Self {
            config: take(ebpf, contract::CONFIG)?,
            addresses: take(ebpf, contract::ADDRESSES)?,
            listeners: take(ebpf, contract::LISTENERS)?,
            hints: take(ebpf, contract::HINTS)?,
            sockets: take(ebpf, contract::SOCKETS)?,
            counters: take(ebpf, contract::COUNTERS)?,
            programs: take(ebpf, contract::PROGRAMS)?,
            known: Known::default(),
        })
    }

    /// Puts a program where [`contract::PROGRAM`] goes on.
    pub(super) fn set_program(&mut self, place: u32, program: &ProgramFd) -> Result<(), MapError> {
        self.programs.set(place, program, 0).map_err(|e| MapError::new(contract::PROGRAMS, e))
    }

    /// Sets the interface's link-layer address, the VLAN and the local ports. Before attaching: the
    /// program may see half of a change.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn set_config(&mut self, config: Config) -> Result<(), MapError> {
        let value: [u8; size_of::<Config>()] = transmute!(config);
        self.config.set(0, value, 0).map_err(|e| MapError::new(contract::CONFIG, e))
    }

    /// Makes an address ours.
    ///
    /// # Errors
    /// When the map is full ([`contract::MAX_ADDRESSES`]) or the kernel refuses it.
    pub fn set_address(&mut self, addr: Addr, kind: Address) -> Result<(), MapError> {
        let mut known = self.known.clone();
        known.addresses.insert(addr.0, kind);
        // What holds of every address so far need not hold of this one.
        let mut before = self.known.hints();
        before.restrain(&known.hints());
        self.tell(&before)?;
        let inserted = self.addresses.insert(addr.0, kind as u32, 0);
        inserted.map_err(|e| MapError::new(contract::ADDRESSES, e))?;
        self.known = known;
        self.hint()
    }

    /// Gives an address back to the kernel.
    ///
    /// # Errors
    /// When it was not set, or the kernel refuses it.
    pub fn remove_address(&mut self, addr: Addr) -> Result<(), MapError> {
        self.addresses.remove(&addr.0).map_err(|e| MapError::new(contract::ADDRESSES, e))?;
        self.known.addresses.remove(&addr.0);
        self.hint()
    }

    /// Steers TCP for `port` of `addr`, or of every shared address where `addr` is `None`.
    ///
    /// # Errors
    /// When the map is full ([`contract::MAX_LISTENERS`]) or the kernel refuses it.
    pub fn set_listener(&mut self, addr: Option<Addr>, port: u16) -> Result<(), MapError> {
        let name = (addr.map_or([0; 16], |addr| addr.0), port);
        let place = self.known.place(name);
        let value = contract::PRESENT + place as u32;
        let inserted = self.listeners.insert(key(addr, port), value, 0);
        inserted.map_err(|e| MapError::new(contract::LISTENERS, e))?;
        self.known.listeners.insert(name);
        self.known.places.resize(self.known.places.len().max(place + 1), None);
        self.known.places[place] = Some(name);
        self.hint()
    }

    /// Steers it no longer.
    ///
    /// # Errors
    /// When it was not set, or the kernel refuses it.
    pub fn remove_listener(&mut self, addr: Option<Addr>, port: u16) -> Result<(), MapError> {
        let removed = self.listeners.remove(&key(addr, port));
        removed.map_err(|e| MapError::new(contract::LISTENERS, e))?;
        let name = (addr.map_or([0; 16], |addr| addr.0), port);
        self.known.listeners.remove(&name);
        let place = self.known.place(name);
        if let Some(place) = self.known.places.get_mut(place) {
            *place = None;
        }
        self.hint()
    }

    /// Tells the program what follows from the maps. After them when something is added: what is not
    /// told yet passes, as before.
    fn hint(&mut self) -> Result<(), MapError> {
        self.tell(&self.known.hints())
    }

    fn tell(&mut self, hints: &Hints) -> Result<(), MapError> {
        let mut bytes = [0; size_of::<Hints>()];
        bytes.copy_from_slice(hints.as_bytes());
        self.hints.set(0, bytes, 0).map_err(|e| MapError::new(contract::HINTS, e))
    }

    /// Gives the frames of receive queue `queue` to an AF_XDP socket; the entry goes with the
    /// socket.
    ///
    /// # Errors
    /// When `queue` is not below [`contract::MAX_QUEUES`] or the descriptor is no AF_XDP socket.
    pub fn set_socket(&mut self, queue: u32, socket: &impl AsRawFd) -> Result<(), MapError> {
        let set = self.sockets.set(queue, socket.as_raw_fd(), 0);
        set.map_err(|e| MapError::new(contract::SOCKETS, e))
    }

    /// Drops the frames of receive queue `queue` that are ours, with a counter.
    ///
    /// # Errors
    /// When no socket was set for it.
    pub fn remove_socket(&mut self, queue: u32) -> Result<(), MapError> {
        self.sockets.unset(queue).map_err(|e| MapError::new(contract::SOCKETS, e))
    }

    /// How many frames met each verdict, summed over all CPUs, with the verdict's name, in the order
    /// of [`Verdict::ALL`].
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn counters(&self) -> Result<Vec<(&'static str, u64)>, MapError> {
        Verdict::ALL.iter().map(|verdict| Ok((verdict.name(), self.count(*verdict)?))).collect()
    }

    /// How many frames met `verdict`, summed over all CPUs.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn count(&self, verdict: Verdict) -> Result<u64, MapError> {
        let counts = self.counters.get(&(verdict as u32), 0);
        let counts = counts.map_err(|e| MapError::new(contract::COUNTERS, e))?;
        Ok(counts.iter().sum())
    }
}

/// A map of the program could not be found, read or written.
#[derive(Debug)]
pub struct MapError {
    /// The map's name.
    pub map: &'static str,
    /// What aya or the kernel said.
    pub source: maps::MapError,
}

impl MapError {
    pub(super) fn new(map: &'static str, source: maps::MapError) -> Self {
        Self { map, source }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Otherwise it would be said that an argument list is too long.
        if let maps::MapError::SyscallError(error) = &self.source
            && error.io_error.kind() == io::ErrorKind::ArgumentListTooLong
        {
            return match self.map {
                contract::ADDRESSES => {
                    write!(f, "more than {} addresses to serve", contract::MAX_ADDRESSES)
                }
                contract::LISTENERS => {
                    write!(f, "more than {} listeners", contract::MAX_LISTENERS)
                }
                map => write!(f, "map {map} is full"),
            };
        }
        write!(f, "map {}: {}", self.map, self.source)?;
        match &self.source {
            maps::MapError::SyscallError(error) => write!(f, ": {}", error.io_error),
            maps::MapError::CreateError { io_error, .. } => write!(f, ": {io_error}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for MapError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

pub(super) fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, MapError>
where
    M: TryFrom<maps::Map, Error = maps::MapError>,
{
    let map = ebpf.take_map(name).ok_or(maps::MapError::ElementNotFound);
    map.and_then(M::try_from).map_err(|source| MapError::new(name, source))
}

fn key(addr: Option<Addr>, port: u16) -> [u8; size_of::<ListenerKey>()] {
    transmute!(addr.map_or(ListenerKey::wildcard(port), |addr| ListenerKey::new(addr.0, port)))
}

#[cfg(test)]
mod tests {
    use stack_ebpf::contract::mapped;
    use stack_ebpf::hints::Listened;

    use super::*;

    #[test]
    fn listeners_have_the_first_free_places() {
        let mut known = Known::default();
        let name = |port| ([0; 16], port);
        for port in 0..3 {
            assert_eq!(known.place(name(port)), usize::from(port));
            known.places.push(Some(name(port)));
        }
        assert_eq!(known.place(name(1)), 1);
        known.places[1] = None;
        assert_eq!([7, 2].map(|port| known.place(name(port))), [1, 2]);
    }

    #[test]
    fn port_is_listened_on_where_its_address_or_every_one_or_a_wildcard_has_it() {
        let [one, two, own] = [1, 2, 3].map(|last| mapped([10, 0, 0, last]));
        let mut known = Known::default();
        known.addresses.extend([(one, Address::Shared), (own, Address::Own)]);
        known.listeners.extend([(one, 80), ([0; 16], 7)]);
        let told =
            |known: &Known, addr| [80, 7, 22].map(|port| known.hints().listened(&addr, port));
        let (no, yes) = (Listened::No, Listened::Yes);
        assert_eq!(told(&known, one), [yes, yes, no]);
        // Not its own yet.
        assert_eq!(told(&known, two), [yes, yes, no]);
        known.addresses.insert(two, Address::Shared);
        assert_eq!([one, two].map(|addr| told(&known, addr)), [[yes, yes, no], [no, yes, no]]);
        known.listeners.insert((two, 80));
        assert_eq!(told(&known, two), [yes, yes, no]);
    }

    #[test]
    fn door_is_told_of_a_lone_wildcard() {
        let mut known = Known::default();
        let any = [0; 16];
        known.places = vec![Some((any, 7)), Some((mapped([10, 0, 0, 1]), 80)), Some((any, 443))];
        known.listeners.extend(known.places.iter().flatten());
        assert_eq!([7, 80, 443].map(|port| known.hints().door(port)), [Some(0), None, Some(2)]);
        known.listeners.insert((mapped([10, 0, 0, 1]), 7));
        assert_eq!(known.hints().door(7), None);
    }
}
