//! Next hops and their link-layer addresses.

use std::collections::BTreeMap;

use crate::time::{Duration, Instant};
use crate::wire::{Addr, MacAddr};

/// The neighbours of a shard.
#[derive(Debug)]
pub struct Neighbours {
    index: BTreeMap<Addr, u32>,
    entries: Vec<Neighbour>,
    capacity: usize,
}

/// A next hop.
#[derive(Debug)]
pub struct Neighbour {
    /// Its address.
    pub addr: Addr,
    /// Its link-layer address, once it is known.
    pub mac: Option<MacAddr>,
    /// Requests sent since it last answered.
    pub tries: u8,
    /// When it is asked again: while it is unknown, or to see that it is still there.
    pub ask_at: Instant,
    /// Connections that wait for it.
    pub waiting: Vec<u32>,
}

impl Neighbours {
    /// A table of at most `capacity` next hops.
    pub fn new(capacity: usize) -> Self {
        Self { index: BTreeMap::new(), entries: Vec::new(), capacity }
    }

    /// The index of `addr`, which enters the table unless it is full.
    pub fn intern(&mut self, addr: Addr) -> Option<u32> {
        if let Some(index) = self.index.get(&addr) {
            return Some(*index);
        }
        if self.entries.len() == self.capacity {
            return None;
        }
        let index = self.entries.len() as u32;
        let (mac, ask_at) = (None, Instant::ZERO);
        self.entries.push(Neighbour { addr, mac, tries: 0, ask_at, waiting: Vec::new() });
        self.index.insert(addr, index);
        Some(index)
    }

    /// The neighbour at `index`.
    pub fn at(&mut self, index: u32) -> &mut Neighbour {
        &mut self.entries[index as usize]
    }

    /// Takes what was learnt of `addr`; returns the connections that waited for it. An address that
    /// nobody asked for enters the table only if `is_wanted`.
    pub fn learn(&mut self, addr: Addr, mac: MacAddr, is_wanted: bool, now: Instant) -> Vec<u32> {
        let known = self.index.get(&addr).copied();
        let Some(index) = known.or_else(|| if is_wanted { self.intern(addr) } else { None }) else {
            return Vec::new();
        };
        let entry = self.at(index);
        entry.mac = Some(mac);
        entry.tries = 0;
        entry.ask_at = now + REACHABLE;
        core::mem::take(&mut entry.waiting)
    }
}

/// How long an answer counts before the neighbour is asked again (RFC 1122, 2.3.2.1).
const REACHABLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn full_table_takes_no_more_and_keeps_what_it_has() {
        let addr = |n| Addr::from(Ipv4Addr::new(10, 0, 0, n));
        let mut table = Neighbours::new(1);
        assert_eq!(table.intern(addr(1)), Some(0));
        assert_eq!(table.intern(addr(2)), None);
        table.at(0).waiting.push(7);
        assert!(table.learn(addr(2), MacAddr([2; 6]), true, Instant::ZERO).is_empty());
        assert_eq!(table.learn(addr(1), MacAddr([2; 6]), false, Instant::ZERO), vec![7u32]);
        assert_eq!(table.at(0).mac, Some(MacAddr([2; 6])));
    }
}
